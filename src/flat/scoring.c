/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors that reached a threshold: scored by the defining kernel, kept if they are among the best, and what that says
 * of the threshold. */
#include "flat/lane.h"

#include "base/checked.h"
#include "base/clock.h"

int ki_lane_collect(ki_lane *lane, size_t query, float distance, uint32_t position) {
    ki_collector *collector = &lane->collector[query];
    if (lane->search->k == 0 && collector->count == collector->capacity) {
        if (!(distance <= collector->worst)) return 1;
        ki_area *buffer = &lane->grown[query];
        size_t capacity = collector->capacity;
        if (!ki_array_reserve(&buffer->data, &capacity, (uint64_t)collector->count + 64, sizeof(ki_hit))) return 0;
        buffer->bytes = capacity * sizeof(ki_hit);
        collector->hits = buffer->data;
        collector->capacity = capacity;
    }
    ki_collector_push(collector, distance, position, lane->view->labels[position]);
    return 1;
}

void ki_lane_raise(ki_lane *lane, size_t query) {
    if (lane->search->k == 0) return;
    float tau = ki_floor_value(&lane->floor[query]);
    if (lane->shared) {
        float seen = atomic_load_explicit(&lane->shared[query], memory_order_relaxed);
        while (tau > seen && !atomic_compare_exchange_weak_explicit(&lane->shared[query], &seen, tau,
                                                                    memory_order_relaxed, memory_order_relaxed)) {
        }
        if (seen > tau) tau = seen;
    }
    if (!(tau > lane->tau[query])) return;
    lane->tau[query] = tau;
    ki_lane_renew(lane, query);
}

static int score_all(ki_lane *lane, size_t query, const ki_pending *pending, size_t count) {
    const ki_view *view = lane->view;
    const float *q = ki_lane_query(lane, query), norm2 = ki_lane_norm2(lane, query);
    size_t i = 0;
    lane->counts->reranked += count;
    for (; i + 4 <= count; i += 4) {
        uint32_t position[4];
        float distance[4];
        for (int j = 0; j < 4; j++) position[j] = pending[i + (size_t)j].position;
        for (size_t j = i + 4; j < i + 8 && j < count; j++) ki_query_prefetch(view, pending[j].position);
        ki_query_distances4(view, q, norm2, position, distance);
        for (int j = 0; j < 4; j++)
            if (!ki_lane_collect(lane, query, distance[j], position[j])) return 0;
    }
    for (; i < count; i++) {
        const uint32_t position = pending[i].position;
        if (!ki_lane_collect(lane, query, ki_query_distance(view, q, norm2, position), position)) return 0;
    }
    return 1;
}

int ki_lane_flush(ki_lane *lane, size_t query) {
    ki_pending *pending = lane->pending + query * lane->pending_capacity;
    ki_collector *collector = &lane->collector[query];
    const uint64_t start = ki_now_ns();
    size_t kept = 0;
    for (size_t i = 0; i < lane->pending_count[query]; i++)
        if (pending[i].upper >= ki_lane_threshold(lane, query)) {
            if (!pending[i].known)
                pending[kept++] = pending[i];
            else if (!ki_lane_collect(lane, query, ki_distance_of_score(lane->view->metric, pending[i].estimate),
                                      pending[i].position))
                return 0;
        }
    lane->pending_count[query] = 0;
    if (!score_all(lane, query, pending, kept)) return 0;
    if (lane->search->k) { /* the floor restarts from what is known exactly */
        ki_collector_shrink(collector);
        ki_floor *floor = &lane->floor[query];
        floor->count = 0;
        for (size_t i = 0; i < collector->count; i++)
            ki_floor_push(floor, ki_score_below(lane->view->metric, collector->hits[i].distance));
        ki_lane_raise(lane, query);
    }
    lane->counts->stage_ns[KITH_STAGE_RERANK] += ki_now_ns() - start;
    return 1;
}
