/* SPDX-License-Identifier: Apache-2.0
 *
 * The live items. Every (segment, topic) has a list of its items, hottest first, and a view draws its rank from the
 * Zipf law over the list; so popularity follows that law exactly at every moment, while items move through the ranks.
 *
 * A new item enters at some rank and displaces the item there, which moves down by at most a factor of two and
 * displaces in turn, until one is appended. So an item ages by what is newer, and its share of views falls like a power
 * of the number of later ones. A deleted item's rank is filled from below in the same steps.
 *
 * I1. slots[0..live-1] are the live items in no order; lists hold slot numbers; slots[lists[l][r]] has list l, rank r.
 * I2. Memory is that of the most items that lived at once. */
#ifndef KITH_TRAFFIC_ITEMS_H
#define KITH_TRAFFIC_ITEMS_H

#include "users.h"

struct traffic_slot {
    uint32_t item, row;
    uint32_t list; /* segment x topics + topic */
    uint32_t rank; /* in the list, from 0 */
};

struct traffic_list {
    void *slots; /* uint32_t each */
    size_t room;
    uint32_t count;
    double limit; /* of the Zipf law over count */
};

struct traffic_catalog {
    const struct traffic_users *users;
    struct traffic_zipf popularity;
    double trend;
    ki_rng rng;
    struct traffic_list *lists;
    void *slots; /* struct traffic_slot each */
    size_t slot_room;
    uint32_t live;
};

/* Takes the initial items, in ranks that have nothing to do with their numbers. False when memory is refused; destroy
 * either way. */
bool traffic_catalog_init(struct traffic_catalog *catalog, const struct traffic_options *options,
                          const struct traffic_users *users);
void traffic_catalog_destroy(struct traffic_catalog *catalog);

struct traffic_slot *traffic_catalog_slot(const struct traffic_catalog *catalog, uint32_t slot);
/* False when memory is refused, and then nothing changed. */
bool traffic_catalog_insert(struct traffic_catalog *catalog, uint32_t item, uint32_t row, uint32_t *slot);
void traffic_catalog_delete(struct traffic_catalog *catalog, uint32_t slot);
/* The slot of an item to view: of the topic, or where the segment has none of it, of the next topic that it has.
 * TRAFFIC_NONE for a segment without items. */
uint32_t traffic_catalog_draw(const struct traffic_catalog *catalog, uint32_t segment, uint16_t topic, ki_rng *rng);
/* Any live item, all alike; there must be one. */
uint32_t traffic_catalog_any(struct traffic_catalog *catalog);

#endif
