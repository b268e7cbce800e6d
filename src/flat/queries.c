/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries of a desk: their codes at each level, their thresholds, and the panels that they are packed into. */
#include "flat/desk.h"

#include "base/checked.h"
#include "kernel/distance.h"
#include "kernel/project.h"
#include "quant/level1.h"

#include <math.h>

/* Code every query against the full codes; leaves q' in desk->rows. False: see ki_query_encode(). */
static int code_full(ki_desk *desk) {
    const size_t dim = desk->view->dim, bytes = 4 * desk->view->full.quads;
    for (size_t i = 0; i < desk->count; i++)
        if (!ki_query_encode(desk->view, ki_desk_query(desk, i), ki_desk_inverse(desk, i), desk->rows + i * dim,
                             desk->bytes[0] + i * bytes, &desk->code[0][i]))
            return 0;
    return 1;
}

/* False as above. */
static int code_level1(ki_desk *desk) {
    const ki_view *view = desk->view;
    const size_t dim = view->dim, columns = 4 * view->level1.quads;
    const float *centre = view->level1_centre;
    const float centre_norm2 = ki_distance()->dot[KITH_F32](centre, centre, dim);
    if (view->metric == KITH_L2SQ && centre != view->centre)
        for (size_t i = 0; i < desk->count; i++) {
            float largest, norm2;
            ki_projector()->centre((const float *)desk->queries + i * dim, 1, centre, dim, desk->rows + i * dim,
                                   &largest, &norm2);
        }
    ki_projector()->project(desk->rows, desk->count, dim, view->basis, columns, desk->projected);
    for (size_t i = 0; i < desk->count; i++) {
        const float *row = desk->rows + i * dim;
        const float norm2 = ki_distance()->dot[KITH_F32](row, row, dim);
        const float base = view->metric == KITH_L2SQ ? -norm2 / 2 : ki_distance()->dot[KITH_F32](row, centre, dim);
        const float *h = desk->projected + i * columns;
        if (!isfinite(norm2) || !isfinite(base) || !isfinite(ki_distance()->dot[KITH_F32](h, h, columns))) return 0;
        ki_int8_facts facts;
        ki_level1_encode(desk->projected + i * columns, dim, columns, norm2, view->kappa, desk->bytes[1] + i * columns,
                         &facts);
        ki_query_terms(view, &facts, base, ki_length_above(centre_norm2, dim), view->kappa, &desk->code[1][i]);
    }
    return 1;
}

void ki_desk_pack_panel(const ki_desk *desk, size_t level, const uint32_t *query, size_t count, ki_panel *panel) {
    const size_t quads = level ? desk->view->level1.quads : desk->view->full.quads;
    const int8_t *rows[KI_PANEL_MAX];
    *panel = (ki_panel){.packed = panel->packed, .norm2_slack = desk->norm2_slack, .count = (unsigned)count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel->need[i] = INFINITY;
    for (unsigned i = 0; i < count; i++) {
        const ki_query_code *code = &desk->code[level][query[i]];
        rows[i] = desk->bytes[level] + query[i] * 4 * quads;
        panel->scale[i] = code->scale;
        panel->a[i] = code->a;
        panel->b[i] = code->b;
        panel->start[i] = code->start;
        panel->need[i] = ki_desk_need(desk, query[i], code->base, level || desk->view->originals ? code->c : 0);
    }
    desk->tile->pack(rows, panel->count, quads, (void *)(uintptr_t)panel->packed);
}

static void pack_level(ki_desk *desk, size_t l, size_t count) {
    const size_t width = desk->tile->width;
    for (size_t p = 0; p < desk->panels; p++) {
        const uint32_t *slot = desk->slot + p * width;
        const size_t taken = ki_min_size(width, count - p * width);
        ki_desk_pack_panel(desk, l, slot, taken, &desk->panel[l][p]);
        for (size_t i = 0; i < taken; i++) desk->place[slot[i]] = (uint32_t)(p * width + i);
    }
}

void ki_desk_pack(ki_desk *desk, size_t count) {
    desk->panels = (count + desk->tile->width - 1) / desk->tile->width;
    pack_level(desk, 0, count);
    if (desk->search->plan == KITH_PLAN_LEVELS) pack_level(desk, 1, count);
}

void ki_desk_renew(ki_desk *desk, size_t query) {
    const size_t panel = desk->place[query] / desk->tile->width, inside = desk->place[query] % desk->tile->width;
    for (size_t l = 0; l < 1 + (size_t)(desk->search->plan == KITH_PLAN_LEVELS); l++) {
        const ki_query_code *code = &desk->code[l][query];
        const float slack = l || desk->view->originals ? code->c : 0;
        desk->panel[l][panel].need[inside] = ki_desk_need(desk, query, code->base, slack);
    }
}

void ki_desk_restart(ki_desk *desk, size_t query) {
    desk->pending_count[query] = 0;
    desk->floor[query].count = 0;
    ki_collector_reset(&desk->collector[query], desk->search->k);
}

static int take_norms(ki_desk *desk) {
    desk->inverse = desk->norm2 = NULL;
    if (desk->view->metric != KITH_COSINE) return 1;
    desk->inverse = ki_area_take(&desk->norm_buffer, desk->count, 2 * sizeof(float));
    if (!desk->inverse) return 0;
    desk->norm2 = desk->inverse + desk->count;
    for (size_t i = 0; i < desk->count; i++) {
        desk->inverse[i] = ki_query_inverse(desk->view, ki_desk_query(desk, i));
        desk->norm2[i] = ki_query_norm2(desk->view, ki_desk_query(desk, i));
    }
    return 1;
}

kith_status ki_desk_prepare(ki_desk *desk, const ki_flat_search *search, const void *queries, size_t count) {
    const ki_view *view = search->view;
    desk->search = search;
    desk->view = view;
    desk->tile = ki_tile();
    desk->queries = queries;
    desk->count = count;
    if (!take_norms(desk) || !ki_desk_take_results(desk)) return KITH_E_NOMEM;
    if (!ki_desk_scans(desk)) return KITH_OK;
    if (!ki_desk_take_scan(desk)) return KITH_E_NOMEM;
    desk->found_count = 0;
    desk->reach_known = 0;
    desk->norm2_slack = view->metric == KITH_L2SQ ? 2 * ki_rounding(view->dim) : 0;
    const float start = search->k ? -INFINITY : ki_score_below(view->metric, search->radius);
    for (size_t i = 0; i < count; i++) {
        desk->tau[i] = start;
        desk->guess[i] = -INFINITY;
        desk->pending_count[i] = 0;
        desk->slot[i] = (uint32_t)i;
    }
    if (!code_full(desk) || (search->plan == KITH_PLAN_LEVELS && !code_level1(desk))) return KITH_E_CORRUPT;
    ki_desk_pack(desk, count);
    return KITH_OK;
}
