/* SPDX-License-Identifier: Apache-2.0
 *
 * How often each number was seen. Memory grows with the different numbers seen, not with their size: a hash table with
 * open addressing, at most half full. */
#ifndef KITH_TRAFFIC_TALLY_H
#define KITH_TRAFFIC_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct traffic_tally {
    uint32_t *keys, *counts; /* counts: 0 where there is no key */
    size_t room, used;       /* room: a power of two, or 0 */
};

/* False when memory is refused, and then nothing changed. Counts stop at 2^32 - 1. */
bool traffic_tally_add(struct traffic_tally *tally, uint32_t key);
uint32_t traffic_tally_count(const struct traffic_tally *tally, uint32_t key);
/* The counts, greatest first, and how many there are; the tally can only be freed then. */
size_t traffic_tally_sort(struct traffic_tally *tally);
void traffic_tally_free(struct traffic_tally *tally);

#endif
