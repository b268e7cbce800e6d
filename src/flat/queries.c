/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries of a lane: their codes at each level, their thresholds, and the panels that they are packed into. */
#include "flat/lane.h"

#include "base/checked.h"
#include "kernel/distance.h"
#include "kernel/project.h"
#include "quant/level1.h"

#include <math.h>

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

static int take_norms(ki_lane *lane) {
    lane->inverse = lane->norm2 = NULL;
    if (lane->view->metric != KITH_COSINE) return 1;
    lane->inverse = ki_area_take(&lane->norm_buffer, lane->count, 2 * sizeof(float));
    if (!lane->inverse) return 0;
    lane->norm2 = lane->inverse + lane->count;
    for (size_t i = 0; i < lane->count; i++) {
        lane->inverse[i] = ki_query_inverse(lane->view, ki_lane_query(lane, i));
        lane->norm2[i] = ki_query_norm2(lane->view, ki_lane_query(lane, i));
    }
    return 1;
}

kith_status ki_lane_prepare(ki_lane *lane, const ki_flat_search *search, const void *queries, size_t count) {
    const ki_view *view = search->view;
    lane->search = search;
    lane->view = view;
    lane->tile = ki_tile();
    lane->queries = queries;
    lane->count = count;
    if (!take_norms(lane) || !ki_lane_take_results(lane)) return KITH_E_NOMEM;
    if (search->plan != KITH_PLAN_SCAN && search->plan != KITH_PLAN_LEVELS) return KITH_OK;
    if (!ki_lane_take_scan(lane)) return KITH_E_NOMEM;
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
