/* SPDX-License-Identifier: Apache-2.0
 *
 * One query: its keys, the buckets that it looks into, and what is found there scored.
 *
 * Candidates are scattered, and reading a bucket waits for memory twice: for where it ends, and for its positions. So
 * buckets are taken some at a time, and each step asks for what the next one reads. Vectors are scored as they were
 * given: an int8 code lies in a block whose every line holds sixteen vectors, and scattered rows would read all of
 * it. */
#include "lsh/lsh.h"

#include "base/checked.h"
#include "kernel/distance.h"
#include "lsh/inner.h"
#include "view/query.h"

#include <string.h>

/* PROBES: buckets on their way at once. AHEAD: rows that are fetched before their turn. POLL: candidates between looks
 * at the clock. EFFORT_MAX: more buckets of one table than these are not looked into. */
enum { PROBES = 32, AHEAD = 8, POLL = 4096, EFFORT_MAX = 1 << 16, ROOM = 64 };

struct ki_lsh_desk {
    ki_lsh_hasher hasher;
    ki_area keys, others, counts, heap, candidates, seen, hits;
    uint64_t words; /* of seen, all zero between queries */
    size_t found;   /* candidates */
};

ki_lsh_desk *ki_lsh_desk_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_lsh_desk));
}

void ki_lsh_desk_destroy(ki_lsh_desk *desk) {
    if (!desk) return;
    ki_lsh_hasher_free(&desk->hasher);
    free(desk->keys.data);
    free(desk->others.data);
    free(desk->counts.data);
    free(desk->heap.data);
    free(desk->candidates.data);
    free(desk->seen.data);
    free(desk->hits.data);
    free(desk);
}

/* ---- Buckets ----------------------------------------------------------------------------------------------------- */

static int begin_query(ki_lsh_desk *desk, const ki_lsh_search *search, const void *query, ki_lsh_order *order) {
    const ki_lsh *lsh = &search->view->lsh;
    const size_t most = ki_lsh_others(lsh, search->effort), per_table = most * lsh->functions;
    const uint64_t words = (search->view->rows + 63) / 64;
    uint64_t *keys = ki_area_take(&desk->keys, lsh->tables, sizeof(*keys));
    uint32_t *counts = ki_area_take(&desk->counts, lsh->tables, sizeof(*counts));
    ki_lsh_other *others = ki_area_take(&desk->others, lsh->tables * per_table, sizeof(*others));
    if (!keys || !counts || !others) return 0;
    if (words > desk->words) {
        uint64_t *seen = ki_area_take(&desk->seen, words, sizeof(*seen));
        if (!seen) return 0;
        memset(seen, 0, words * sizeof(*seen));
        desk->words = words;
    }
    if (!ki_lsh_hash(search->view, lsh, &desk->hasher, query, 1, 0, lsh->tables, keys, others, most, counts)) return 0;
    *order = (ki_lsh_order){
        .lsh = lsh, .others = others, .per_table = per_table, .counts = counts, .keys = keys, .heap = &desk->heap};
    desk->found = 0;
    return 1;
}

/* Some positions of a bucket become candidates. */
static int take_bucket(ki_lsh_desk *desk, const ki_lsh_search *search, const uint32_t *position, uint32_t count) {
    const uint64_t rows = search->view->rows, *allowed = search->allowed;
    uint64_t *seen = desk->seen.data;
    uint32_t *candidates = ki_area_grow(&desk->candidates, (uint64_t)desk->found + count, sizeof(*candidates));
    if (!candidates) return 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t p = position[i];
        if (p >= rows || (allowed && !(allowed[p / 64] >> p % 64 & 1))) continue;
        const uint64_t bit = UINT64_C(1) << p % 64;
        candidates[desk->found] = p;
        desk->found += !(seen[p / 64] & bit);
        seen[p / 64] |= bit;
    }
    return 1;
}

/* The buckets' beginnings and ends, bounded; nothing is left of those that make no sense. */
static void read_ends(const ki_lsh *lsh, uint64_t rows, const ki_lsh_probe *probe, size_t count, uint32_t (*range)[2]) {
    for (size_t i = 0; i < count; i++) {
        const uint32_t *first = ki_lsh_first(lsh, probe[i].table) + probe[i].bucket;
        const uint32_t begin = first[0], end = first[1];
        const int sound = begin <= end && end <= rows;
        range[i][0] = sound ? begin : 0;
        range[i][1] = sound ? end : 0;
        __builtin_prefetch(ki_lsh_positions(lsh, probe[i].table) + range[i][0]);
    }
}

static kith_status gather(ki_lsh_desk *desk, const ki_lsh_search *search, ki_lsh_order *order, ki_counts *counts,
                          unsigned worker) {
    const ki_lsh *lsh = order->lsh;
    uint64_t left = (uint64_t)ki_min_size(search->effort, EFFORT_MAX) * lsh->tables;
    int more = 1;
    while (more > 0 && left) {
        ki_lsh_probe probe[PROBES];
        uint32_t range[PROBES][2];
        size_t count = 0;
        const kith_status status = ki_limits_reached(&search->limits, worker);
        if (status != KITH_OK) return status;
        for (; count < PROBES && left && (more = ki_lsh_order_next(order, &probe[count])) > 0; count++, left--)
            __builtin_prefetch(ki_lsh_first(lsh, probe[count].table) + probe[count].bucket);
        if (more < 0) return KITH_E_NOMEM;
        read_ends(lsh, search->view->rows, probe, count, range);
        for (size_t i = 0; i < count; i++) {
            const uint32_t entries = range[i][1] - range[i][0];
            if (!take_bucket(desk, search, ki_lsh_positions(lsh, probe[i].table) + range[i][0], entries))
                return KITH_E_NOMEM;
            counts->visited += entries;
        }
    }
    return KITH_OK;
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

static void fetch(const ki_view *view, const uint32_t *position, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) ki_query_prefetch(view, position[i]);
}

static void score_bits(const ki_view *view, const uint8_t *query, const uint32_t *position, size_t count,
                       ki_collector *best) {
    const ki_distance_kernels *kernels = ki_distance();
    for (size_t i = 0; i < count; i++) {
        const uint8_t *x = view->originals + (size_t)position[i] * view->row_bytes;
        float distance;
        if (i + AHEAD < count) ki_query_prefetch(view, position[i + AHEAD]);
        if (view->metric == KITH_HAMMING) {
            distance = (float)kernels->hamming(query, x, view->row_bytes);
        } else {
            uint64_t both, either;
            kernels->bits(query, x, view->row_bytes, &both, &either);
            distance = ki_jaccard_distance(both, either);
        }
        ki_collector_push(best, distance, position[i], view->labels[position[i]]);
    }
}

static void score_numbers(const ki_view *view, const float *query, float norm2, const uint32_t *position, size_t count,
                          ki_collector *best) {
    for (size_t i = 0; i < count; i += 4) {
        const size_t taken = ki_min_size(4, count - i);
        uint32_t four[4];
        float distance[4];
        for (size_t j = 0; j < 4; j++) four[j] = position[i + ki_min_size(j, taken - 1)];
        fetch(view, position, ki_min_size(i + AHEAD, count), ki_min_size(i + AHEAD + 4, count));
        ki_query_distances4(view, query, norm2, four, distance);
        for (size_t j = 0; j < taken; j++) ki_collector_push(best, distance[j], four[j], view->labels[four[j]]);
    }
}

static kith_status score(ki_lsh_desk *desk, const ki_lsh_search *search, const void *query, ki_collector *best,
                         ki_counts *counts, unsigned worker) {
    const ki_view *view = search->view;
    const uint32_t *candidates = desk->candidates.data;
    const float norm2 = view->dtype == KITH_B1 ? 1 : ki_query_norm2(view, query);
    for (size_t done = 0; done < desk->found; done += POLL) {
        const size_t count = ki_min_size(POLL, desk->found - done);
        const kith_status status = ki_limits_reached(&search->limits, worker);
        if (status != KITH_OK) return status;
        fetch(view, candidates + done, 0, ki_min_size(AHEAD, count));
        if (view->dtype == KITH_B1)
            score_bits(view, query, candidates + done, count, best);
        else
            score_numbers(view, query, norm2, candidates + done, count, best);
    }
    counts->candidates += desk->found;
    counts->reranked += desk->found;
    counts->scanned_bytes += desk->found * view->row_bytes;
    return KITH_OK;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status find(ki_lsh_desk *desk, const ki_lsh_search *search, const void *query, ki_collector *best,
                        ki_counts *counts, unsigned worker) {
    ki_lsh_order order;
    const uint64_t start = ki_now_ns();
    best->capacity = 2 * search->k + ROOM;
    best->hits = ki_area_take(&desk->hits, best->capacity, sizeof(ki_hit));
    ki_collector_reset(best, search->k);
    if (!best->hits || !begin_query(desk, search, query, &order)) return KITH_E_NOMEM;
    const uint64_t hashed = ki_now_ns();
    kith_status status = gather(desk, search, &order, counts, worker);
    const uint64_t gathered = ki_now_ns();
    if (status == KITH_OK) status = score(desk, search, query, best, counts, worker);
    counts->stage_ns[KITH_STAGE_PREPARE] += hashed - start;
    counts->stage_ns[KITH_STAGE_SCAN] += gathered - hashed;
    counts->stage_ns[KITH_STAGE_RERANK] += ki_now_ns() - gathered;
    return status;
}

kith_status ki_lsh_find(ki_lsh_desk *desk, const ki_lsh_search *search, const void *query, const ki_hit **hits,
                        size_t *count, ki_counts *counts, unsigned worker) {
    ki_collector best = {0};
    desk->found = 0;
    const kith_status status = find(desk, search, query, &best, counts, worker);
    const uint32_t *candidates = desk->candidates.data;
    uint64_t *seen = desk->seen.data;
    for (size_t i = 0; i < desk->found; i++) seen[candidates[i] / 64] = 0;
    if (status != KITH_OK) return status;
    ki_collector_shrink(&best);
    ki_hits_sort(best.hits, best.count);
    *hits = best.hits;
    *count = best.count;
    return KITH_OK;
}
