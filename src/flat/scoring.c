/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors that reached a threshold: scored by the defining kernel, kept if they are among the best, and what that says
 * of the threshold. */
#include "flat/desk.h"

#include "base/checked.h"
#include "base/clock.h"

int ki_desk_collect(ki_desk *desk, size_t query, float distance, uint32_t position) {
    ki_collector *collector = &desk->collector[query];
    if (desk->search->k == 0 && collector->count == collector->capacity) {
        if (!(distance <= collector->worst)) return 1;
        ki_area *buffer = &desk->grown[query];
        size_t capacity = collector->capacity;
        if (!ki_array_reserve(&buffer->data, &capacity, (uint64_t)collector->count + 64, sizeof(ki_hit))) return 0;
        buffer->bytes = capacity * sizeof(ki_hit);
        collector->hits = buffer->data;
        collector->capacity = capacity;
    }
    ki_collector_push(collector, distance, position, desk->view->labels[position]);
    return 1;
}

void ki_desk_raise(ki_desk *desk, size_t query) {
    if (desk->search->k == 0) return;
    float tau = ki_floor_value(&desk->floor[query]);
    if (desk->shared) {
        float seen = atomic_load_explicit(&desk->shared[query], memory_order_relaxed);
        while (tau > seen && !atomic_compare_exchange_weak_explicit(&desk->shared[query], &seen, tau,
                                                                    memory_order_relaxed, memory_order_relaxed)) {
        }
        if (seen > tau) tau = seen;
    }
    if (!(tau > desk->tau[query])) return;
    desk->tau[query] = tau;
    ki_desk_renew(desk, query);
}

enum {
    AHEAD = 8 /* vectors that are fetched before their turn: as many as in ivf/finish.c, and for the same reason */
};

/* Ask for those of the pending vectors first..end that there are and that will be scored. */
static void fetch(const ki_desk *desk, const ki_pending *pending, size_t count, size_t first, size_t end) {
    for (size_t i = first; i < ki_min_size(end, count); i++) {
        if (pending[i].known) continue;
        ki_query_prefetch(desk->view, pending[i].position);
        __builtin_prefetch(desk->view->labels + pending[i].position);
    }
}

void ki_desk_expect(const ki_desk *desk, size_t query) {
    if (!desk->view->originals) return;
    fetch(desk, desk->pending + query * desk->pending_capacity, desk->pending_count[query], 0, AHEAD);
}

static int score_all(ki_desk *desk, size_t query, const ki_pending *pending, size_t count) {
    const ki_view *view = desk->view;
    const float *q = ki_desk_query(desk, query), norm2 = ki_desk_norm2(desk, query);
    size_t i = 0;
    desk->counts->reranked += count;
    fetch(desk, pending, count, 0, AHEAD);
    for (; i + 4 <= count; i += 4) {
        uint32_t position[4];
        float distance[4];
        for (int j = 0; j < 4; j++) position[j] = pending[i + (size_t)j].position;
        fetch(desk, pending, count, i + AHEAD, i + AHEAD + 4);
        ki_query_distances4(view, q, norm2, position, distance);
        for (int j = 0; j < 4; j++)
            if (!ki_desk_collect(desk, query, distance[j], position[j])) return 0;
    }
    for (; i < count; i++) {
        const uint32_t position = pending[i].position;
        if (!ki_desk_collect(desk, query, ki_query_distance(view, q, norm2, position), position)) return 0;
    }
    return 1;
}

int ki_desk_flush(ki_desk *desk, size_t query) {
    ki_pending *pending = desk->pending + query * desk->pending_capacity;
    ki_collector *collector = &desk->collector[query];
    const uint64_t start = ki_now_ns();
    size_t kept = 0;
    for (size_t i = 0; i < desk->pending_count[query]; i++)
        if (pending[i].upper >= ki_desk_threshold(desk, query)) {
            if (!pending[i].known)
                pending[kept++] = pending[i];
            else if (!ki_desk_collect(desk, query, ki_distance_of_score(desk->view->metric, pending[i].estimate),
                                      pending[i].position))
                return 0;
        }
    desk->pending_count[query] = 0;
    if (!score_all(desk, query, pending, kept)) return 0;
    if (desk->search->k) { /* the floor restarts from what is known exactly */
        ki_collector_shrink(collector);
        ki_floor *floor = &desk->floor[query];
        floor->count = 0;
        for (size_t i = 0; i < collector->count; i++)
            ki_floor_push(floor, ki_score_below(desk->view->metric, collector->hits[i].distance));
        ki_desk_raise(desk, query);
    }
    desk->counts->stage_ns[KITH_STAGE_RERANK] += ki_now_ns() - start;
    return 1;
}
