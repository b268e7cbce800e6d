/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing neighbours (Algorithm 4, without filling up): of candidates in ascending order one is chosen unless a chosen
 * one is nearer to it than the base is. Here each chosen one strikes out those that come after it and are nearer to it:
 * the same comparisons, but one code is met with many at a time. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "hnsw/state.h"

#include <string.h>

static const uint64_t struck = 1; /* in the place of `expanded` */

/* Strike out candidates from `first` on that are nearer to candidate `chosen` than to the base. */
static void strike(ki_hnsw_searcher *s, const ki_hnsw_net *net, float limit2, uint64_t *list, size_t chosen,
                   size_t count) {
    ki_hnsw_query q;
    size_t left = 0;
    for (size_t i = chosen + 1; i < count; i++)
        if (!(list[i] & struck)) s->ids[left++] = ki_hnsw_number(list[i]);
    if (!left) return;
    ki_hnsw_query_of_row(net, ki_hnsw_row(net, ki_hnsw_number(list[chosen])), s->wide, limit2, &q);
    ki_hnsw_score(net, &q, s->ids, left, s->distances);
    left = 0;
    for (size_t i = chosen + 1; i < count; i++) {
        if (list[i] & struck) continue;
        const uint64_t apart = ki_hnsw_entry(s->distances[left++], 0);
        if (apart >> 32 < list[i] >> 32) list[i] |= struck;
    }
}

size_t ki_hnsw_select(ki_hnsw_searcher *s, const ki_hnsw_net *net, float limit2, uint64_t *list, size_t count,
                      size_t most) {
    size_t chosen = 0, left = 0;
    for (size_t i = 0; i < count; i++) list[i] &= ~struck;
    for (size_t i = 0; i < count; i++) {
        if (list[i] & struck || chosen == most) {
            s->spare[left++] = list[i] & ~struck;
            continue;
        }
        if (chosen + 1 < most) strike(s, net, limit2, list, i, count);
        list[chosen++] = list[i];
    }
    memcpy(list + chosen, s->spare, left * sizeof(*list));
    return chosen;
}
