/* SPDX-License-Identifier: Apache-2.0
 *
 * Each edge's residual becomes a code, and what the code needs to be an estimate of a distance (view/graph.h).
 *
 * Residuals come from the codes of both ends, r = a_y c_y - a_x c_x, and products of codes are exact, so edges need no
 * vector again and are the same on every tier. With 2 and 4 bits several scales of the code are tried, and the one
 * with the largest <r,u>^2 / <u,u> stays. */
#include "graph/edge.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { WEIGHT = 256 };

/* The step between neighbouring values of a code, in standard deviations of the residual's elements: what keeps most of
 * a normal distribution [Max 1960], times these. */
static const float trials[] = {1.0f, 0.8f, 0.9f, 1.12f, 1.25f, 1.5f};
enum { TRIALS = sizeof(trials) / sizeof(*trials) };

static float best_step(uint32_t bits) {
    return bits == 2 ? 0.9957f : 0.3352f;
}

static double product_ru(const ki_graph_edge *e, const ki_residual_sums *sums) {
    return (double)e->a_y * sums->yu - (double)e->a_x * sums->xu;
}

static void code_signs(ki_graph_edge *e, size_t width) {
    const float most = e->a_x > e->a_y ? e->a_x : e->a_y, factor = most > 0 ? WEIGHT / most : 0;
    const int known = isfinite(factor) != 0;
    const int16_t w_x = (int16_t)(known ? e->a_x * factor + 0.5f : 0);
    const int16_t w_y = (int16_t)(known ? e->a_y * factor + 0.5f : 0);
    e->sums = ki_residual()->signs(e->from, e->to, w_x, w_y, width, e->bits);
}

static void code_levels(ki_graph_edge *e, size_t width, uint32_t bits) {
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

static void put_code(ki_graph_edge *e, size_t width, uint32_t bits, uint32_t n, size_t plane_bytes, uint8_t *planes) {
    for (uint32_t b = 0; b < bits; b++) {
        if (bits > 1) ki_residual()->plane(e->level, b, width, e->bits);
        put_plane(e->bits, width, n, planes + b * plane_bytes);
    }
}

static float cut(double x) {
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : (float)x;
}

void ki_graph_put_edge(const ki_graph_end *from, const ki_graph_end *to, uint32_t n, uint32_t degree, uint32_t bits,
                       size_t width, ki_graph_edge *e, uint8_t *row) {
    float *add = (float *)(void *)(row + KI_GRAPH_IDS_AT + degree * sizeof(uint32_t));
    e->from = from->code;
    e->to = to->code;
    e->a_x = from->scale;
    e->a_y = to->scale;
    e->xx = from->square;
    e->yy = to->square;
    if (bits == 1)
        code_signs(e, width);
    else
        code_levels(e, width, bits);
    const double xy = (double)e->a_x * e->a_y * e->sums.xy, r2 = e->xx + e->yy - 2 * xy;
    const double ru = product_ru(e, &e->sums), rho = ru > 0 && r2 > 0 ? r2 / ru : 0;
    add[n] = cut((double)to->norm - from->norm - 2 * (xy - e->xx) + 2 * rho * e->a_x * e->sums.xu);
    add[degree + n] = cut(-2 * rho);
    put_code(e, width, bits, n, ki_graph_plane_bytes(degree, width), row + ki_graph_codes_at(degree, bits, width));
}
