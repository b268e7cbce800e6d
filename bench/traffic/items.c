/* SPDX-License-Identifier: Apache-2.0 */
#include "items.h"

#include <stdlib.h>

#include "base/checked.h"

struct traffic_slot *traffic_catalog_slot(const struct traffic_catalog *catalog, uint32_t slot) {
    return (struct traffic_slot *)catalog->slots + slot;
}

static uint32_t *ranks_of(const struct traffic_list *list) {
    return list->slots;
}

static void put(struct traffic_catalog *catalog, struct traffic_list *list, uint32_t rank, uint32_t slot) {
    ranks_of(list)[rank] = slot;
    traffic_catalog_slot(catalog, slot)->rank = rank;
}

static void set_count(struct traffic_catalog *catalog, struct traffic_list *list, uint32_t count) {
    list->count = count;
    if (count) list->limit = traffic_zipf_limit(&catalog->popularity, count);
}

/* The next rank of a chain, counted from 0: one half to one whole octave down. */
static uint64_t further(struct traffic_catalog *catalog, uint64_t rank) {
    return rank + 1 + ki_rng_below(&catalog->rng, rank + 1);
}

/* A new slot at the end of its list. False when memory is refused. */
static bool append(struct traffic_catalog *catalog, uint32_t item, uint32_t row) {
    uint32_t segment;
    uint16_t topic;
    traffic_item_place(catalog->users, item, &segment, &topic);
    const uint32_t number = segment * (uint32_t)catalog->users->topic_count + topic;
    struct traffic_list *list = &catalog->lists[number];
    if (!ki_array_reserve(&catalog->slots, &catalog->slot_room, (uint64_t)catalog->live + 1,
                          sizeof(struct traffic_slot)) ||
        !ki_array_reserve(&list->slots, &list->room, (uint64_t)list->count + 1, sizeof(uint32_t)))
        return false;
    const uint32_t slot = catalog->live++;
    *traffic_catalog_slot(catalog, slot) = (struct traffic_slot){.item = item, .row = row, .list = number};
    put(catalog, list, list->count, slot);
    list->count++;
    return true;
}

/* Where a new item enters a list of n: near the top, each octave alike, or anywhere. 0..n. */
static uint64_t entry_rank(struct traffic_catalog *catalog, uint32_t n) {
    if (ki_rng_unit(&catalog->rng) >= catalog->trend) return ki_rng_below(&catalog->rng, (uint64_t)n + 1);
    const double octaves = traffic_log((double)n + 2);
    const uint64_t rank = (uint64_t)traffic_exp(ki_rng_unit(&catalog->rng) * octaves) - 1;
    return ki_min_u64(rank, n);
}

bool traffic_catalog_insert(struct traffic_catalog *catalog, uint32_t item, uint32_t row, uint32_t *slot) {
    if (!append(catalog, item, row)) return false;
    const uint32_t added = catalog->live - 1;
    struct traffic_list *list = &catalog->lists[traffic_catalog_slot(catalog, added)->list];
    const uint32_t last = list->count - 1;
    uint32_t carried = added;
    for (uint64_t rank = entry_rank(catalog, last); rank < last; rank = further(catalog, rank)) {
        const uint32_t displaced = ranks_of(list)[rank];
        put(catalog, list, (uint32_t)rank, carried);
        carried = displaced;
    }
    put(catalog, list, last, carried);
    set_count(catalog, list, list->count);
    *slot = added;
    return true;
}

static void close_rank(struct traffic_catalog *catalog, struct traffic_list *list, uint32_t hole) {
    const uint32_t last = list->count - 1;
    for (uint64_t next = further(catalog, hole); next < last; next = further(catalog, next)) {
        put(catalog, list, hole, ranks_of(list)[next]);
        hole = (uint32_t)next;
    }
    if (hole < last) put(catalog, list, hole, ranks_of(list)[last]);
    set_count(catalog, list, last);
}

void traffic_catalog_delete(struct traffic_catalog *catalog, uint32_t slot) {
    const struct traffic_slot gone = *traffic_catalog_slot(catalog, slot);
    close_rank(catalog, &catalog->lists[gone.list], gone.rank);
    const uint32_t last = --catalog->live;
    if (slot == last) return;
    const struct traffic_slot moved = *traffic_catalog_slot(catalog, last);
    *traffic_catalog_slot(catalog, slot) = moved;
    ranks_of(&catalog->lists[moved.list])[moved.rank] = slot;
}

uint32_t traffic_catalog_draw(const struct traffic_catalog *catalog, uint32_t segment, uint16_t topic, ki_rng *rng) {
    const uint32_t topics = (uint32_t)catalog->users->topic_count;
    for (uint32_t step = 0; step < topics; step++) {
        const struct traffic_list *list = &catalog->lists[segment * topics + (topic + step) % topics];
        if (!list->count) continue;
        return ranks_of(list)[traffic_zipf_draw(&catalog->popularity, list->count, list->limit, rng) - 1];
    }
    return TRAFFIC_NONE;
}

uint32_t traffic_catalog_any(struct traffic_catalog *catalog) {
    return (uint32_t)ki_rng_below(&catalog->rng, catalog->live);
}

static void shuffle(struct traffic_catalog *catalog, struct traffic_list *list) {
    for (uint32_t i = list->count; i > 1; i--) {
        const uint32_t j = (uint32_t)ki_rng_below(&catalog->rng, i), kept = ranks_of(list)[j];
        put(catalog, list, j, ranks_of(list)[i - 1]);
        put(catalog, list, i - 1, kept);
    }
    set_count(catalog, list, list->count);
}

bool traffic_catalog_init(struct traffic_catalog *catalog, const struct traffic_options *options,
                          const struct traffic_users *users) {
    const uint64_t lists = options->topics * options->segments;
    *catalog = (struct traffic_catalog){.users = users,
                                        .trend = options->trend,
                                        .rng = traffic_stream(options->seed, PURPOSE_CATALOG, 0),
                                        .lists = ki_alloc_array_zeroed(lists, sizeof(struct traffic_list))};
    traffic_zipf_init(&catalog->popularity, options->item_zipf);
    if (!catalog->lists) return false;
    for (uint64_t i = 0; i < options->items; i++)
        if (!append(catalog, (uint32_t)i, (uint32_t)i)) return false;
    for (uint64_t i = 0; i < lists; i++) shuffle(catalog, &catalog->lists[i]);
    return true;
}

void traffic_catalog_destroy(struct traffic_catalog *catalog) {
    if (catalog->lists) {
        const uint64_t lists = catalog->users->topic_count * catalog->users->segment_count;
        for (uint64_t i = 0; i < lists; i++) free(catalog->lists[i].slots);
    }
    free(catalog->lists);
    free(catalog->slots);
}
