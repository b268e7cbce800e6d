/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/fuse.h"

#include "base/checked.h"

enum { DEPTH = 4, DEPTH_LEAST = 100 };

size_t ki_fuse_depth(size_t k) {
    const size_t depth = k > DEPTH_LEAST / DEPTH ? k * DEPTH : DEPTH_LEAST;
    return ki_min_size(depth, KITH_K_MAX);
}

/* One item of one ranking. In memory as a hit whose label is the key and whose position numbers it: sorted by key,
 * those of one item lie together. */
static const ki_leg_hit *entry(const ki_ranking *rankings, uint32_t number, double constant, double *share) {
    size_t r = 0;
    for (; number >= rankings[r].count; r++) number -= (uint32_t)rankings[r].count;
    *share = rankings[r].weight / (constant + 1 + (double)number);
    return &rankings[r].hits[number];
}

/* Entries of one item, which are few, in the order of rankings. */
static void order_entries(ki_hit *entries, size_t count) {
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && entries[j].position < entries[j - 1].position; j--) {
            const ki_hit moved = entries[j];
            entries[j] = entries[j - 1];
            entries[j - 1] = moved;
        }
}

/* Make one of the entries of each item, with minus the sum as its distance; how many are left. */
static size_t add_up(const ki_ranking *rankings, double constant, ki_hit *entries, size_t count) {
    size_t kept = 0;
    for (size_t first = 0, end; first < count; first = end) {
        double sum = 0;
        for (end = first + 1; end < count && entries[end].label == entries[first].label;) end++;
        order_entries(entries + first, end - first);
        for (size_t i = first; i < end; i++) {
            double share;
            (void)entry(rankings, entries[i].position, constant, &share);
            sum += share;
        }
        entries[kept] = entries[first];
        entries[kept++].distance = (float)-sum;
    }
    return kept;
}

size_t ki_fuse(const ki_ranking *rankings, size_t count, double constant, size_t k, ki_area *memory, ki_leg_hit *out) {
    uint64_t all = 0;
    for (size_t r = 0; r < count; r++) all += rankings[r].count;
    ki_hit *entries = ki_area_take(memory, all, sizeof(*entries));
    size_t used = 0;
    if (!entries) return SIZE_MAX;
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < rankings[r].count; i++, used++)
            entries[used] = (ki_hit){0, (uint32_t)used, rankings[r].hits[i].key};
    ki_hits_sort(entries, used);
    used = add_up(rankings, constant, entries, used);
    ki_hits_select(entries, used, k);
    used = ki_min_size(used, k);
    ki_hits_sort(entries, used);
    for (size_t i = 0; i < used; i++) {
        double share;
        out[i] = *entry(rankings, entries[i].position, constant, &share);
        out[i].distance = entries[i].distance;
    }
    return used;
}
