/* SPDX-License-Identifier: Apache-2.0
 *
 * A stable counting sort in four steps, whose loops the caller writes, as only it knows where its items lie:
 *
 *     uint32_t first[groups + 2];
 *     ki_sort_begin(first, groups);
 *     for each item                      ki_sort_count(first, its group);
 *     ki_sort_starts(first, groups);
 *     for each item, in the same order   sorted[ki_sort_place(first, its group)] = the item;
 *
 * S1. Afterwards group g has sorted[first[g]] to sorted[first[g + 1] - 1], in the order in which its items came.
 *     (Counts are two places on, starts one, so that placing leaves the starts where they belong.)
 * S2. Groups are below `groups`, items fewer than 2^32.
 *
 * One owner at a time. */
#ifndef KI_BASE_COUNTING_SORT_H
#define KI_BASE_COUNTING_SORT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void ki_sort_begin(uint32_t *first, size_t groups) {
    memset(first, 0, (groups + 2) * sizeof(*first));
}

static inline void ki_sort_count(uint32_t *first, size_t group) {
    first[group + 2]++;
}

static inline void ki_sort_starts(uint32_t *first, size_t groups) {
    for (size_t g = 0; g < groups; g++) first[g + 2] += first[g + 1];
}

static inline uint32_t ki_sort_place(uint32_t *first, size_t group) {
    return first[group + 1]++;
}

#endif
