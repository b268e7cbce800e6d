/* SPDX-License-Identifier: Apache-2.0 */
#include "flat/lane.h"

#include "base/checked.h"
#include "base/clock.h"
#include "kernel/distance.h"
#include "kernel/project.h"
#include "quant/int8.h"
#include "quant/level1.h"

#include <math.h>
#include <string.h>

ki_lane *ki_lane_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_lane));
}

void ki_lane_destroy(ki_lane *lane) {
    if (!lane) return;
    ki_area *const all[] = {&lane->inverse_buffer,   &lane->code_buffer,     &lane->bytes_buffer,
                            &lane->collector_buffer, &lane->hits_buffer,     &lane->floor_buffer,
                            &lane->pending_buffer,   &lane->panel_buffer,    &lane->packed_buffer,
                            &lane->work_buffer,      &lane->bounds_buffer,   &lane->tile_hits_buffer,
                            &lane->needed_buffer,    &lane->gathered_buffer, &lane->centroid_buffer};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]->data);
    for (size_t i = 0; i < lane->grown_count; i++) free(lane->grown[i].data);
    free(lane->grown);
    free(lane);
}

static size_t collector_capacity(size_t k) {
    return k + (k / 2 > 128 ? k / 2 : 128);
}
static size_t pending_capacity(size_t k) {
    return 192 + 2 * ki_min_size(k, 1024);
}

size_t ki_flat_group(const ki_view *view, size_t k) {
    enum { BYTES = 32 << 20 };
    const size_t each = collector_capacity(k) * sizeof(ki_hit) + k * sizeof(float) +
                        pending_capacity(k) * sizeof(ki_pending) + view->dim * 6 + view->row_bytes;
    const size_t fit = BYTES / each;
    return fit < 1 ? 1 : fit > KI_GROUP_QUERIES ? KI_GROUP_QUERIES : fit;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static int take_range_memory(ki_lane *lane) {
    if (lane->grown_count < lane->count) {
        ki_area *grown = ki_alloc_array_zeroed(lane->count, sizeof(*grown));
        if (!grown) return 0;
        if (lane->grown_count) memcpy(grown, lane->grown, lane->grown_count * sizeof(*grown));
        free(lane->grown);
        lane->grown = grown;
        lane->grown_count = lane->count;
    }
    for (size_t i = 0; i < lane->count; i++)
        lane->collector[i] = (ki_collector){.hits = lane->grown[i].data,
                                            .capacity = lane->grown[i].bytes / sizeof(ki_hit),
                                            .worst = lane->search->radius};
    return 1;
}

static int take_result_memory(ki_lane *lane) {
    const size_t n = lane->count, k = lane->search->k, capacity = collector_capacity(k);
    lane->collector = ki_area_take(&lane->collector_buffer, n, sizeof(ki_collector));
    if (!lane->collector) return 0;
    if (k == 0) return take_range_memory(lane);
    ki_hit *hits = ki_area_take(&lane->hits_buffer, (uint64_t)n * capacity, sizeof(ki_hit));
    if (!hits) return 0;
    for (size_t i = 0; i < n; i++) {
        lane->collector[i] = (ki_collector){.hits = hits + i * capacity, .capacity = capacity};
        ki_collector_reset(&lane->collector[i], k);
    }
    return 1;
}

static int take_scan_memory(ki_lane *lane) {
    const ki_view *view = lane->view;
    const ki_tile_kernels *tile = lane->tile;
    const size_t n = lane->count, k = lane->search->k, levels = view->level1.blocks ? 2 : 1;
    const size_t bytes[KI_LEVELS] = {4 * view->full.quads, levels == 2 ? 4 * view->level1.quads : 0};
    lane->pending_capacity = pending_capacity(k);
    lane->group_blocks = n <= tile->width ? KI_GROUP_BLOCKS_MAX : KI_GROUP_BLOCKS;
    lane->panels = (n + tile->width - 1) / tile->width;
    ki_query_code *codes = ki_area_take(&lane->code_buffer, n * KI_LEVELS, sizeof(*codes));
    int8_t *coded = ki_area_take(&lane->bytes_buffer, n, bytes[0] + bytes[1]);
    float *floors =
        ki_area_take(&lane->floor_buffer, n, (k + 6) * sizeof(float) + sizeof(ki_floor) + 2 * sizeof(size_t));
    lane->pending = ki_area_take(&lane->pending_buffer, n, lane->pending_capacity * sizeof(ki_pending));
    ki_panel *panels = ki_area_take(&lane->panel_buffer, lane->panels * KI_LEVELS, sizeof(*panels));
    const size_t packed[KI_LEVELS] = {ki_round_up(tile->packed_bytes(view->full.quads, tile->width), 64),
                                      levels == 2 ? ki_round_up(tile->packed_bytes(view->level1.quads, tile->width), 64)
                                                  : 0};
    char *area = ki_area_take(&lane->packed_buffer, lane->panels, packed[0] + packed[1]);
    lane->rows = ki_area_take(&lane->work_buffer, n, (view->dim + bytes[1]) * sizeof(float));
    lane->bounds = ki_area_take(&lane->bounds_buffer, KI_GROUP_BLOCKS_MAX, sizeof(ki_block_bound));
    lane->hits =
        ki_area_take(&lane->tile_hits_buffer, KI_TILE_HITS + 2 * (uint64_t)n * lane->group_blocks, sizeof(ki_tile_hit));
    lane->gathered_packed = ki_area_take(&lane->gathered_buffer, 1, packed[0] + packed[1] + n * sizeof(uint32_t) + 64);
    if (!lane->gathered_packed || !codes || !coded || !floors || !lane->pending || !panels || !area || !lane->rows ||
        !lane->bounds || !lane->hits)
        return 0;
    lane->gathered = (uint32_t *)(void *)((char *)lane->gathered_packed + packed[0] + packed[1]);
    lane->found = lane->hits + KI_TILE_HITS;
    lane->sorted = lane->found + n * lane->group_blocks;
    lane->projected = lane->rows + n * view->dim;
    lane->floor = (ki_floor *)(void *)floors;
    lane->pending_count = (size_t *)(void *)(lane->floor + n);
    lane->tau = (float *)(void *)(lane->pending_count + n);
    lane->guess = lane->tau + n;
    lane->slot = (uint32_t *)(void *)(lane->guess + n);
    lane->place = lane->slot + n;
    float *heaps = lane->tau + 4 * n;
    for (size_t i = 0; i < n; i++) lane->floor[i] = (ki_floor){.heap = heaps + i * k, .k = k};
    for (size_t l = 0; l < KI_LEVELS; l++) {
        lane->code[l] = codes + l * n;
        lane->bytes[l] = coded + l * n * bytes[0];
        lane->panel[l] = panels + l * lane->panels;
        for (size_t p = 0; p < lane->panels; p++)
            lane->panel[l][p] = (ki_panel){.packed = area + l * lane->panels * packed[0] + p * packed[l]};
    }
    return 1;
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

/* Code every query against the full codes; leaves q' in lane->rows. False: see ki_query_encode(). */
static int code_full(ki_lane *lane) {
    const size_t dim = lane->view->dim, bytes = 4 * lane->view->full.quads;
    for (size_t i = 0; i < lane->count; i++)
        if (!ki_query_encode(lane->view, ki_lane_query(lane, i), ki_lane_inverse(lane, i), lane->rows + i * dim,
                             lane->bytes[0] + i * bytes, &lane->code[0][i]))
            return 0;
    return 1;
}

/* False as above. */
static int code_level1(ki_lane *lane) {
    const ki_view *view = lane->view;
    const size_t dim = view->dim, columns = 4 * view->level1.quads;
    const float *centre = view->level1_centre;
    const float centre_norm2 = ki_distance()->dot[KITH_F32](centre, centre, dim);
    if (view->metric == KITH_L2SQ && centre != view->centre)
        for (size_t i = 0; i < lane->count; i++) {
            float largest, norm2;
            ki_projector()->centre((const float *)lane->queries + i * dim, 1, centre, dim, lane->rows + i * dim,
                                   &largest, &norm2);
        }
    ki_projector()->project(lane->rows, lane->count, dim, view->basis, columns, lane->projected);
    for (size_t i = 0; i < lane->count; i++) {
        const float *row = lane->rows + i * dim;
        const float norm2 = ki_distance()->dot[KITH_F32](row, row, dim);
        const float base = view->metric == KITH_L2SQ ? -norm2 / 2 : ki_distance()->dot[KITH_F32](row, centre, dim);
        const float *h = lane->projected + i * columns;
        if (!isfinite(norm2) || !isfinite(base) || !isfinite(ki_distance()->dot[KITH_F32](h, h, columns))) return 0;
        ki_int8_facts facts;
        ki_level1_encode(lane->projected + i * columns, dim, columns, norm2, view->kappa, lane->bytes[1] + i * columns,
                         &facts);
        ki_query_terms(view, &facts, base, ki_length_above(centre_norm2, dim), view->kappa, &lane->code[1][i]);
    }
    return 1;
}

void ki_lane_pack_panel(const ki_lane *lane, size_t level, const uint32_t *query, size_t count, ki_panel *panel) {
    const size_t quads = level ? lane->view->level1.quads : lane->view->full.quads;
    const int8_t *rows[KI_PANEL_MAX];
    *panel = (ki_panel){.packed = panel->packed, .norm2_slack = lane->norm2_slack, .count = (unsigned)count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel->need[i] = INFINITY;
    for (unsigned i = 0; i < count; i++) {
        const ki_query_code *code = &lane->code[level][query[i]];
        rows[i] = lane->bytes[level] + query[i] * 4 * quads;
        panel->scale[i] = code->scale;
        panel->a[i] = code->a;
        panel->b[i] = code->b;
        panel->start[i] = code->start;
        panel->need[i] = ki_lane_need(lane, query[i], code->base, level || lane->view->originals ? code->c : 0);
    }
    lane->tile->pack(rows, panel->count, quads, (void *)(uintptr_t)panel->packed);
}

static void pack_level(ki_lane *lane, size_t l, size_t count) {
    const size_t width = lane->tile->width;
    for (size_t p = 0; p < lane->panels; p++) {
        const uint32_t *slot = lane->slot + p * width;
        const size_t taken = ki_min_size(width, count - p * width);
        ki_lane_pack_panel(lane, l, slot, taken, &lane->panel[l][p]);
        for (size_t i = 0; i < taken; i++) lane->place[slot[i]] = (uint32_t)(p * width + i);
    }
}

void ki_lane_pack(ki_lane *lane, size_t count) {
    lane->panels = (count + lane->tile->width - 1) / lane->tile->width;
    pack_level(lane, 0, count);
    if (lane->search->plan == KITH_PLAN_LEVELS) pack_level(lane, 1, count);
}

void ki_lane_renew(ki_lane *lane, size_t query) {
    const size_t panel = lane->place[query] / lane->tile->width, inside = lane->place[query] % lane->tile->width;
    for (size_t l = 0; l < 1 + (size_t)(lane->search->plan == KITH_PLAN_LEVELS); l++) {
        const ki_query_code *code = &lane->code[l][query];
        const float slack = l || lane->view->originals ? code->c : 0;
        lane->panel[l][panel].need[inside] = ki_lane_need(lane, query, code->base, slack);
    }
}

void ki_lane_restart(ki_lane *lane, size_t query) {
    lane->pending_count[query] = 0;
    lane->floor[query].count = 0;
    ki_collector_reset(&lane->collector[query], lane->search->k);
}

static int take_inverse_norms(ki_lane *lane) {
    lane->inverse = NULL;
    if (lane->view->metric != KITH_COSINE) return 1;
    lane->inverse = ki_area_take(&lane->inverse_buffer, lane->count, sizeof(float));
    if (!lane->inverse) return 0;
    for (size_t i = 0; i < lane->count; i++)
        lane->inverse[i] = ki_inverse_norm(
            ki_distance()->norm2[KITH_F32]((const float *)lane->queries + i * lane->view->dim, lane->view->dim));
    return 1;
}

kith_status ki_lane_prepare(ki_lane *lane, const ki_flat_search *search, const void *queries, size_t count) {
    const ki_view *view = search->view;
    lane->search = search;
    lane->view = view;
    lane->tile = ki_tile();
    lane->queries = queries;
    lane->count = count;
    if (!take_inverse_norms(lane) || !take_result_memory(lane)) return KITH_E_NOMEM;
    if (search->plan != KITH_PLAN_SCAN && search->plan != KITH_PLAN_LEVELS) return KITH_OK;
    if (!take_scan_memory(lane)) return KITH_E_NOMEM;
    lane->found_count = 0;
    lane->norm2_slack = view->metric == KITH_L2SQ ? 2 * ki_rounding(view->dim) : 0;
    const float start = search->k ? -INFINITY : ki_score_below(view->metric, search->radius);
    for (size_t i = 0; i < count; i++) {
        lane->tau[i] = start;
        lane->guess[i] = -INFINITY;
        lane->pending_count[i] = 0;
        lane->slot[i] = (uint32_t)i;
    }
    if (!code_full(lane) || (search->plan == KITH_PLAN_LEVELS && !code_level1(lane))) return KITH_E_CORRUPT;
    ki_lane_pack(lane, count);
    return KITH_OK;
}

/* ---- Scoring ----------------------------------------------------------------------------------------------------- */

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
    const float *q = ki_lane_query(lane, query), inverse = ki_lane_inverse(lane, query);
    size_t i = 0;
    lane->counts->reranked += count;
    for (; i + 4 <= count; i += 4) {
        uint32_t position[4];
        float distance[4];
        for (int j = 0; j < 4; j++) position[j] = pending[i + (size_t)j].position;
        for (size_t j = i + 4; j < i + 8 && j < count; j++) ki_query_prefetch(view, pending[j].position);
        ki_query_distances4(view, q, inverse, position, distance);
        for (int j = 0; j < 4; j++)
            if (!ki_lane_collect(lane, query, distance[j], position[j])) return 0;
    }
    for (; i < count; i++) {
        const uint32_t position = pending[i].position;
        if (!ki_lane_collect(lane, query, ki_query_distance(view, q, inverse, position), position)) return 0;
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
