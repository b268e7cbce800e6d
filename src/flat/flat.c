/* SPDX-License-Identifier: Apache-2.0 */
#include "flat/flat.h"

#include "base/clock.h"
#include "flat/desk.h"

const ki_hit *ki_desk_hits(const ki_desk *desk, size_t query, size_t *count) {
    *count = desk->collector[query].count;
    return desk->collector[query].hits;
}

kith_status ki_flat_run(const ki_flat_search *search, ki_desk *desk, const void *queries, size_t count, size_t first,
                        size_t end, _Atomic float *shared, unsigned worker, ki_counts *counts) {
    const uint64_t start = ki_now_ns(), rerank_before = counts->stage_ns[KITH_STAGE_RERANK];
    desk->counts = counts;
    desk->shared = shared;
    desk->worker = worker;
    kith_status status = ki_desk_prepare(desk, search, queries, count);
    if (status != KITH_OK) return status;
    const uint64_t prepared = ki_now_ns();
    if (search->plan == KITH_PLAN_DEVICE)
        status = ki_flat_device(desk);
    else if (ki_desk_scans(desk))
        status = ki_flat_scan(desk, first, end);
    else
        status = ki_flat_plain(desk, first, end);
    if (status != KITH_OK) return status;
    const uint64_t scanned = ki_now_ns(), rerank = counts->stage_ns[KITH_STAGE_RERANK] - rerank_before;
    for (size_t i = 0; i < count; i++) {
        if (search->k) ki_collector_shrink(&desk->collector[i]);
        ki_hits_sort(desk->collector[i].hits, desk->collector[i].count);
    }
    counts->stage_ns[KITH_STAGE_PREPARE] += prepared - start;
    counts->stage_ns[KITH_STAGE_SCAN] += scanned - prepared - rerank;
    counts->stage_ns[KITH_STAGE_SELECT] += ki_now_ns() - scanned;
    return KITH_OK;
}
