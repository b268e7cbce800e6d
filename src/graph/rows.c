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

#include <float.h>
#include <math.h>
#include <string.h>

enum { RUN = 64 /* rows of a piece */, PLANES = 4 };

/* The step between neighbouring values of a code, in standard deviations of the residual's elements: what keeps most of
 * a normal distribution [Max 1960], times these. */
static const float trials[] = {1.0f, 0.8f, 0.9f, 1.12f, 1.25f, 1.5f};
enum { TRIALS = sizeof(trials) / sizeof(*trials) };

static float best_step(uint32_t bits) {
    return bits == 2 ? 0.9957f : 0.3352f;
}

struct edge_sums {
    int32_t xu, yu, uu;
};

/* Code r: u into `code`, and its products with both ends. inverse: of the step; not read with one bit. */
static struct edge_sums code_edge(const float *r, const int8_t *x, const int8_t *y, size_t width, uint32_t bits,
                                  float inverse, int8_t *code) {
    struct edge_sums sums = {0, 0, 0};
    const int most = (1 << bits) - 1;
    for (size_t j = 0; j < width; j++) {
        int level = r[j] >= 0;
        if (bits > 1) {
            const float at = r[j] * inverse + (float)(1 << (bits - 1));
            level = at < 0 ? 0 : at >= (float)most ? most : (int)at;
        }
        const int u = 2 * level - most;
        code[j] = (int8_t)u;
        sums.xu += x[j] * u;
        sums.yu += y[j] * u;
        sums.uu += u * u;
    }
    return sums;
}

/* The four bits of a nibble. */
static unsigned nibble(const int8_t *code, unsigned most, unsigned plane) {
    unsigned bits = 0;
    for (unsigned i = 0; i < 4; i++) bits |= (((unsigned)(code[i] + (int)most) / 2) >> plane & 1) << i;
    return bits;
}

static void put_code(const int8_t *code, size_t width, uint32_t bits, uint32_t n, size_t plane_bytes, uint8_t *planes) {
    const unsigned most = (1u << bits) - 1;
    for (uint32_t b = 0; b < bits; b++) {
        uint8_t *block = planes + b * plane_bytes + n / 16 * (width / 16 * 32);
        for (size_t s = 0; s < width / 16; s++)
            for (unsigned h = 0; h < 2; h++) {
                const int8_t *four = code + 16 * s + 4 * h;
                block[s * 32 + 16 * h + n % 16] = (uint8_t)(nibble(four, most, b) | nibble(four + 8, most, b) << 4);
            }
    }
}

static float cut(double x) {
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : (float)x;
}

/* Edge n of x, to y. */
static void put_edge(const ki_graph_build *build, uint32_t x, uint32_t y, uint32_t n, float *work, uint8_t *row) {
    const ki_graph_codes *codes = &build->codes;
    const size_t width = codes->width;
    const uint32_t bits = build->bits, degree = build->in.degree;
    const int8_t *cx = ki_graph_code(codes, x), *cy = ki_graph_code(codes, y);
    const float ax = codes->scale[x], ay = codes->scale[y];
    int8_t *trial = (int8_t *)(work + width), *code = trial + width;
    int32_t xx = 0, xy = 0, yy = 0;
    for (size_t j = 0; j < width; j++) {
        work[j] = ay * cy[j] - ax * cx[j];
        xx += cx[j] * cx[j];
        xy += cx[j] * cy[j];
        yy += cy[j] * cy[j];
    }
    const double axx = (double)ax * ax * xx, axy = (double)ax * ay * xy, r2 = axx + (double)ay * ay * yy - 2 * axy;
    const double deviation = r2 > 0 ? sqrt(r2 / (double)width) : 0;
    double best = -1, ru = 0;
    struct edge_sums sums = {0, 0, 0};
    for (size_t t = 0; t < (bits > 1 ? TRIALS : 1); t++) {
        const double inverse = deviation > 0 ? 1 / (deviation * best_step(bits) * trials[t]) : 0;
        const struct edge_sums s =
            code_edge(work, cx, cy, width, bits, isfinite((float)inverse) ? (float)inverse : 0, trial);
        const double product = (double)ay * s.yu - (double)ax * s.xu, share = product * fabs(product) / s.uu;
        if (share <= best) continue;
        best = share;
        ru = product;
        sums = s;
        memcpy(code, trial, width);
    }
    const double rho = ru > 0 ? r2 / ru : 0;
    float *add = (float *)(void *)(row + KI_GRAPH_IDS_AT + degree * sizeof(uint32_t));
    add[n] = cut((double)codes->norm[y] - codes->norm[x] - 2 * (axy - axx) + 2 * rho * ax * sums.xu);
    add[degree + n] = cut(-2 * rho);
    if (ru > 0)
        put_code(code, width, bits, n, ki_graph_plane_bytes(degree, width),
                 row + ki_graph_codes_at(degree, bits, width));
}

static void put_row(const ki_graph_build *build, uint32_t x, float *work, uint8_t *row) {
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
    for (uint32_t n = 0; n < count; n++) put_edge(build, x, edge[n], n, work, row);
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
    float *work = ki_alloc_array(build->codes.width, sizeof(float) + 2);
    kith_status status = KITH_OK;
    if (!rows || !work) status = ki_fail(&error, KITH_E_NOMEM, "out of memory for %zu rows of a graph", count);
    for (size_t i = 0; i < count && status == KITH_OK; i++)
        put_row(build, (uint32_t)(first + i), work, rows + i * build->row_bytes);
    if (status == KITH_OK) status = build->in.write(build->in.context, first, count, rows, &error);
    if (status != KITH_OK) ki_graph_fail(build, piece, status, &error);
    free(rows);
    free(work);
}

kith_status ki_graph_build_rows(ki_graph_build *build, kith_error *error) {
    return ki_graph_run(build, (size_t)((build->codes.rows + RUN - 1) / RUN), write_run, build, error);
}
