/* SPDX-License-Identifier: Apache-2.0 */
#include "flat/flat.h"

#include "base/clock.h"
#include "flat/lane.h"

const ki_hit *ki_lane_hits(const ki_lane *lane, size_t query, size_t *count) {
    *count = lane->collector[query].count;
    return lane->collector[query].hits;
}

kith_status ki_flat_run(const ki_flat_search *search, ki_lane *lane, const void *queries, size_t count, size_t first,
                        size_t end, _Atomic float *shared, unsigned worker, ki_counts *counts) {
    const uint64_t start = ki_now_ns(), rerank_before = counts->stage_ns[KITH_STAGE_RERANK];
    lane->counts = counts;
    lane->shared = shared;
    lane->worker = worker;
    kith_status status = ki_lane_prepare(lane, search, queries, count);
    if (status != KITH_OK) return status;
    const uint64_t prepared = ki_now_ns();
    const int scans = search->plan == KITH_PLAN_SCAN || search->plan == KITH_PLAN_LEVELS;
    status = scans ? ki_flat_scan(lane, first, end) : ki_flat_plain(lane, first, end);
    if (status != KITH_OK) return status;
    const uint64_t scanned = ki_now_ns(), rerank = counts->stage_ns[KITH_STAGE_RERANK] - rerank_before;
    for (size_t i = 0; i < count; i++) {
        if (search->k) ki_collector_shrink(&lane->collector[i]);
        ki_hits_sort(lane->collector[i].hits, lane->collector[i].count);
    }
    counts->stage_ns[KITH_STAGE_PREPARE] += prepared - start;
    counts->stage_ns[KITH_STAGE_SCAN] += scanned - prepared - rerank;
    counts->stage_ns[KITH_STAGE_SELECT] += ki_now_ns() - scanned;
    return KITH_OK;
}
