/* SPDX-License-Identifier: Apache-2.0
 *
 * Coding by RaBitQ: the grid point nearest in direction, and the factors that go with it. */
#include "base/checked.h"
#include "kernel/unpack.h"
#include "quant/int8.h"
#include "quant/rabitq.h"
#include "quant/rabitq_inner.h"
#include "quant/rotate.h"
#include "quant/second_model.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LANES = 4, COARSE = 14, FINE = 3 };
typedef float floats __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(16)));

/* The grid of a number of bits: a magnitude x goes to cell k = min(floor(x * inverse + half), top), whose grid point is
 * step * k + first. */
typedef struct grid {
    float half, top, step, first;
    float width; /* of a cell, best for normal data of variance 1 [Max 1960] */
} grid;

static grid grid_of(unsigned bits) {
    static const float widths[KI_RABITQ_BITS_MAX + 1] = {0,       1.596f,  0.9957f, 0.5860f, 0.3352f,
                                                         0.1881f, 0.1041f, 0.0569f, 0.0308f};
    if (bits == KI_RABITQ_BITS_MAX) return (grid){.5f, 127, 1, 0, widths[bits]};
    return (grid){0, (float)((1 << bits >> 1) - 1), 2, 1, widths[bits]};
}

/* <r,c>^2 / <c,c> for the grid of this scale: its square root is |r| cos(r,c). n is a multiple of 8. */
static float fit(const float *r, size_t n, float inverse, const grid *g) {
    floats dot[2] = {{0}}, square[2] = {{0}};
    const floats half = (floats){0} + g->half, top = (floats){0} + g->top;
    const ints no_sign = (ints){0} + INT32_MAX;
    for (size_t j = 0; j < n; j += 2 * LANES)
        for (int i = 0; i < 2; i++) {
            floats x;
            memcpy(&x, r + j + LANES * i, sizeof x);
            x = (floats)((ints)x & no_sign);
            const floats at = x * inverse + half;
            const ints inside = at < top;
            const floats clipped = (floats)(((ints)at & inside) | ((ints)top & ~inside));
            const floats c =
                __builtin_convertvector(__builtin_convertvector(clipped, ints), floats) * g->step + g->first;
            dot[i] += x * c;
            square[i] += c * c;
        }
    float dots = 0, squares = 0;
    for (int i = 0; i < 2 * LANES; i++) dots += dot[i / LANES][i % LANES], squares += square[i / LANES][i % LANES];
    return squares > 0 ? dots / squares * dots : 0;
}

/* The 1/width of the cells that fit best, near `inverse`: a rough search, then a finer one. The error as a function of
 * the scale has many shallow dips, of which all near the least are as good: more steps gain nothing that can be
 * seen. */
static float best_inverse(const float *r, size_t n, float inverse, const grid *g) {
    float best = 0, best_fit = -1, factor = 0.6f;
    const float ratio = 1.08f;
    for (int i = 0; i < COARSE; i++, factor *= ratio) {
        const float now = fit(r, n, inverse * factor, g);
        if (now > best_fit) best = factor, best_fit = now;
    }
    float step = 0.04f;
    for (int i = 0; i < FINE; i++, step /= 2) {
        const float middle = best;
        for (int side = -1; side <= 1; side += 2) {
            const float tried = middle * (1 + (float)side * step), now = fit(r, n, inverse * tried, g);
            if (now > best_fit) best = tried, best_fit = now;
        }
    }
    return inverse * best;
}

/* The grid point of one element, with its sign. */
static int point_of(float x, float inverse, const grid *g) {
    const float at = fabsf(x) * inverse + g->half;
    const int k = (int)(at < g->top ? at : g->top), c = k * (int)g->step + (int)g->first;
    return x < 0 ? -c : c;
}

/* A rotated residual's place on its grid. */
typedef struct placed {
    float inverse;              /* 0: nothing is coded */
    double norm2, dot, square2; /* |r|^2, <r,c>, |c|^2 */
} placed;

static placed place(const float *r, size_t n, unsigned bits) {
    const grid g = grid_of(bits);
    placed p = {0};
    for (size_t j = 0; j < n; j++) p.norm2 += (double)r[j] * (double)r[j];
    const double deviation = sqrt(p.norm2 / (double)n);
    if (deviation < 0x1p-100) return p; /* as in quant/int8.c: quotients could overflow */
    const float inverse = (float)(1 / (deviation * (double)g.width));
    p.inverse = bits == 1 ? inverse : best_inverse(r, n, inverse, &g);
    for (size_t j = 0; j < n; j++) {
        const int c = point_of(r[j], p.inverse, &g);
        p.dot += (double)r[j] * c;
        p.square2 += (double)(c * c);
    }
    return p;
}

/* `scale` makes the estimate unbiased. The error is that of this scale; the last term is for the rotation (R1 of
 * quant/rotate.h) and the roundings here. */
static void set_factors(const placed *p, size_t n, unsigned v, float *factors) {
    const float norm = ki_length_above((float)p->norm2, n);
    const float scale = p->inverse > 0 ? (float)(p->norm2 / p->dot) : 0;
    const double error2 = p->norm2 - 2 * (double)scale * p->dot + (double)scale * (double)scale * p->square2;
    factors[KI_FACTOR_SCALE + v] = scale;
    factors[KI_FACTOR_NORM + v] = norm;
    factors[KI_FACTOR_ERROR + v] = ki_length_above((float)fmax(error2, 0), n) + 0x1p-15f * norm;
}

void ki_rabitq_rotate(const ki_second *second, const float *x, float *rotated) {
    const size_t padded = ki_rabitq_padded(second->dim, second->spec.bits);
    memcpy(rotated, x, second->dim * sizeof(float));
    memset(rotated + second->dim, 0, (padded - second->dim) * sizeof(float));
    ki_rotate((const uint8_t *)second->model + KI_SECOND_HEADER, padded, rotated);
}

float ki_rabitq_mean_error(const ki_second *second, const float *residuals, size_t count, float *work) {
    const size_t padded = ki_rabitq_padded(second->dim, second->spec.bits);
    double sum = 0;
    size_t counted = 0;
    for (size_t i = 0; i < count; i++) {
        ki_rabitq_rotate(second, residuals + i * second->dim, work);
        const placed p = place(work, padded, second->spec.bits);
        if (!(p.inverse > 0)) continue;
        sum += sqrt(fmax(0, 1 - p.dot * p.dot / (p.square2 * p.norm2)));
        counted++;
    }
    return counted ? (float)(sum / (double)counted) : 0;
}

size_t ki_rabitq_encode_bytes(const ki_second *second) {
    const size_t padded = ki_rabitq_padded(second->dim, second->spec.bits);
    return ki_round_up(padded * sizeof(float), 64) + padded * KI_BLOCK;
}

/* The codes of one vector, in the tile layout: u below 2^bits, or the byte of kernel/tile.h for 8 bits. */
static void write_codes(const float *r, size_t n, unsigned bits, float inverse, unsigned v, uint8_t *codes) {
    const grid g = grid_of(bits);
    for (size_t j = 0; j < n; j++) {
        const int c = point_of(r[j], inverse, &g);
        const int u = bits == KI_RABITQ_BITS_MAX ? c + KI_CODE_OFFSET : (c + (1 << bits) - 1) / 2;
        codes[j / 4 * KI_QUAD_BYTES + 4 * v + j % 4] = (uint8_t)u;
    }
}

void ki_rabitq_encode(const ki_second *second, const float *residuals, unsigned count, const float *bias, void *work,
                      uint8_t *block, float *factors) {
    const unsigned bits = second->spec.bits;
    const size_t padded = ki_rabitq_padded(second->dim, bits);
    float *rotated = work;
    uint8_t *codes = bits == KI_RABITQ_BITS_MAX ? block : (uint8_t *)work + ki_round_up(padded * sizeof(float), 64);
    memset(codes, 0, padded * KI_BLOCK);
    memset(factors, 0, KI_FACTORS * sizeof(float));
    for (unsigned v = 0; v < KI_BLOCK; v++) factors[KI_FACTOR_BIAS + v] = v < count ? bias[v] : -FLT_MAX;
    for (unsigned v = 0; v < count; v++) {
        ki_rabitq_rotate(second, residuals + v * second->dim, rotated);
        const placed p = place(rotated, padded, bits);
        set_factors(&p, padded, v, factors);
        if (p.inverse > 0) write_codes(rotated, padded, bits, p.inverse, v, codes);
    }
    if (bits < KI_RABITQ_BITS_MAX) ki_unpack_pack(codes, padded / 4, bits, block);
}
