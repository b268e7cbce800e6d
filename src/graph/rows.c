/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a graph, as view/graph.h draws them: each edge's residual becomes a code, and what the code needs to be an
 * estimate of a distance.
 *
 * Residuals come from the codes of both ends, r = a_y c_y - a_x c_x, and products of codes are exact, so rows need no
 * vector again and are the same on every tier. With 2 and 4 bits several scales of the code are tried, and the one
 * with the largest <r,u>^2 / <u,u> stays. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/residual.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { RUN = 64 /* rows of a piece */, WEIGHT = 256 };

/* The step between neighbouring values of a code, in standard deviations of the residual's elements: what keeps most of
 * a normal distribution [Max 1960], times these. */
static const float trials[] = {1.0f, 0.8f, 0.9f, 1.12f, 1.25f, 1.5f};
enum { TRIALS = sizeof(trials) / sizeof(*trials) };

static float best_step(uint32_t bits) {
    return bits == 2 ? 0.9957f : 0.3352f;
}

/* An edge from x to y at work, and the memory for it. */
struct edge {
    const int8_t *from, *to;
    float a_x, a_y;
    double xx, yy; /* |a c|^2 of both ends */
    ki_residual_sums sums;
    uint16_t bits[KI_GRAPH_DIM_MAX / KI_GRAPH_STEP]; /* of a plane */
    uint8_t level[KI_GRAPH_DIM_MAX], trial[KI_GRAPH_DIM_MAX];
};

static double product_ru(const struct edge *e, const ki_residual_sums *sums) {
    return (double)e->a_y * sums->yu - (double)e->a_x * sums->xu;
}

static void code_signs(struct edge *e, size_t width) {
    const float most = e->a_x > e->a_y ? e->a_x : e->a_y, factor = most > 0 ? WEIGHT / most : 0;
    const int known = isfinite(factor) != 0;
    const int16_t w_x = (int16_t)(known ? e->a_x * factor + 0.5f : 0);
    const int16_t w_y = (int16_t)(known ? e->a_y * factor + 0.5f : 0);
    e->sums = ki_residual()->signs(e->from, e->to, w_x, w_y, width, e->bits);
}

static void code_levels(struct edge *e, size_t width, uint32_t bits) {
    e->sums = ki_residual()->signs(e->from, e->to, 1, 1, width, e->bits); /* for <x,y> */
    const double r2 = e->xx + e->yy - 2 * (double)e->a_x * e->a_y * e->sums.xy;
    const double deviation = r2 > 0 ? sqrt(r2 / (double)width) : 0;
    double best = -1;
    for (size_t t = 0; t < TRIALS; t++) {
        const double factor = deviation > 0 ? 1 / (deviation * best_step(bits) * trials[t]) : 0;
        const double f_x = e->a_x * factor, f_y = e->a_y * factor;
        const ki_residual_sums sums =
            ki_residual()->levels(e->from, e->to, isfinite((float)f_x) ? (float)f_x : 0,
                                  isfinite((float)f_y) ? (float)f_y : 0, bits, width, e->trial);
        const double ru = product_ru(e, &sums), share = ru * fabs(ru) / sums.uu;
        if (share <= best) continue;
        best = share;
        e->sums = sums;
        memcpy(e->level, e->trial, width);
    }
}

/* The bits of one plane, as neighbour n of its block. */
static void put_plane(const uint16_t *bits, size_t width, uint32_t n, uint8_t *plane) {
    uint8_t *to = plane + n / KI_BLOCK * (width * 2) + n % KI_BLOCK;
    for (size_t s = 0; s < width / KI_GRAPH_STEP; s++, to += 2 * KI_BLOCK) {
        const unsigned b = bits[s];
        to[0] = (uint8_t)((b & 15) | (b >> 4 & 0xf0));
        to[KI_BLOCK] = (uint8_t)((b >> 4 & 15) | (b >> 8 & 0xf0));
    }
}

static void put_code(struct edge *e, size_t width, uint32_t bits, uint32_t n, size_t plane_bytes, uint8_t *planes) {
    for (uint32_t b = 0; b < bits; b++) {
        if (bits > 1) ki_residual()->plane(e->level, b, width, e->bits);
        put_plane(e->bits, width, n, planes + b * plane_bytes);
    }
}

static float cut(double x) {
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : (float)x;
}

static double square_of(const ki_graph_codes *codes, uint32_t v) {
    return (double)codes->scale[v] * codes->scale[v] * codes->product[v];
}

/* Edge n of x, to y. */
static void put_edge(const ki_graph_build *build, uint32_t x, uint32_t y, uint32_t n, struct edge *e, uint8_t *row) {
    const ki_graph_codes *codes = &build->codes;
    const size_t width = codes->width;
    const uint32_t bits = build->bits, degree = build->in.degree;
    float *add = (float *)(void *)(row + KI_GRAPH_IDS_AT + degree * sizeof(uint32_t));
    e->from = ki_graph_code(codes, x);
    e->to = ki_graph_code(codes, y);
    e->a_x = codes->scale[x];
    e->a_y = codes->scale[y];
    e->xx = square_of(codes, x);
    e->yy = square_of(codes, y);
    if (bits == 1)
        code_signs(e, width);
    else
        code_levels(e, width, bits);
    const double xy = (double)e->a_x * e->a_y * e->sums.xy, r2 = e->xx + e->yy - 2 * xy;
    const double ru = product_ru(e, &e->sums), rho = ru > 0 && r2 > 0 ? r2 / ru : 0;
    add[n] = cut((double)codes->norm[y] - codes->norm[x] - 2 * (xy - e->xx) + 2 * rho * e->a_x * e->sums.xu);
    add[degree + n] = cut(-2 * rho);
    put_code(e, width, bits, n, ki_graph_plane_bytes(degree, width), row + ki_graph_codes_at(degree, bits, width));
}

static void put_row(const ki_graph_build *build, uint32_t x, struct edge *edge_room, uint8_t *row) {
    const ki_graph_codes *codes = &build->codes;
    const uint32_t degree = build->in.degree, count = build->count[x];
    const uint32_t *edge = build->edge + (size_t)x * degree;
    const ki_graph_head head = {codes->scale[x], codes->norm[x], count, 0};
    uint32_t *id = (uint32_t *)(void *)(row + KI_GRAPH_IDS_AT);
    float *add = (float *)(void *)(id + degree);
    memset(row, 0, build->row_bytes);
    memcpy(row, &head, sizeof(head));
    memcpy(row + ki_graph_self_at(degree, build->bits), ki_graph_code(codes, x), codes->width);
    for (uint32_t n = 0; n < degree; n++) id[n] = n < count ? edge[n] : x;
    if (!build->bits) return;
    for (uint32_t n = 0; n < count; n++) put_edge(build, x, edge[n], n, edge_room, row);
    for (uint32_t n = count; n < degree; n++) add[n] = INFINITY;
}

static void write_run(void *context, size_t piece, unsigned worker) {
    ki_graph_build *build = context;
    const uint64_t first = (uint64_t)piece * RUN;
    const size_t count = (size_t)ki_min_u64(RUN, build->codes.rows - first);
    kith_error error = {0};
    (void)worker;
    if (atomic_load(&build->stop)) return;
    uint8_t *rows = ki_alloc_array(count, build->row_bytes);
    struct edge *edge = ki_alloc_array(1, sizeof(*edge));
    kith_status status = KITH_OK;
    if (!rows || !edge) status = ki_fail(&error, KITH_E_NOMEM, "out of memory for %zu rows of a graph", count);
    for (size_t i = 0; i < count && status == KITH_OK; i++)
        put_row(build, (uint32_t)(first + i), edge, rows + i * build->row_bytes);
    if (status == KITH_OK) status = build->in.write(build->in.context, first, count, rows, &error);
    if (status != KITH_OK) ki_graph_fail(build, piece, status, &error);
    free(rows);
    free(edge);
}

kith_status ki_graph_build_rows(ki_graph_build *build, kith_error *error) {
    return ki_graph_run(build, (size_t)((build->codes.rows + RUN - 1) / RUN), write_run, build, error);
}
