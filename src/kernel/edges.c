/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference. */
#include "kernel/edges.h"

#include "cpu/cpu.h"

#include <math.h>
#include <string.h>

static float largest_scalar(const float *x, size_t count) {
    float largest = 0;
    for (size_t i = 0; i < count; i++) largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    return largest;
}

static void wide_scalar(const float *x, float inverse, size_t count, int16_t *to) {
    for (size_t i = 0; i < count; i++) to[i] = (int16_t)lrintf(x[i] * inverse);
}

static void table_scalar(const float *x, float inverse, size_t steps, uint8_t *table) {
    for (size_t group = 0; group < 4 * steps; group++, x += 4, table += 16)
        for (int p = 0; p < 16; p++) {
            long sum = KI_EDGES_BIAS;
            for (int i = 0; i < 4; i++) sum += p >> i & 1 ? lrintf(x[i] * inverse) : -lrintf(x[i] * inverse);
            table[p] = (uint8_t)sum;
        }
}

/* What neighbour n of a block adds to a plane's sum. */
static int32_t sum_of(const uint8_t *codes, const uint8_t *table, size_t steps, unsigned n) {
    int32_t sum = 0;
    for (size_t s = 0; s < steps; s++, codes += 32, table += KI_EDGES_STEP_BYTES)
        for (unsigned half = 0; half < 2; half++) {
            const uint8_t byte = codes[16 * half + n];
            sum += table[16 * half + (byte & 15)] + table[32 + 16 * half + (byte >> 4)] - 2 * KI_EDGES_BIAS;
        }
    return sum;
}

static uint64_t estimate_scalar(const ki_edges *e, float *out) {
    uint64_t mask = 0;
    const size_t block_bytes = e->steps * 32, plane_bytes = block_bytes * e->blocks;
    for (size_t at = 0; at < e->planes * plane_bytes; at += 64) __builtin_prefetch(e->fetch + at, 0, 2);
    for (unsigned n = 0; n < 16 * e->blocks; n++) {
        int32_t sum = 0;
        for (unsigned b = 0; b < e->planes; b++)
            sum += sum_of(e->codes + b * plane_bytes + n / 16 * block_bytes, e->table, e->steps, n % 16) * (1 << b);
        out[n] = fmaf(e->mul[n], (float)sum * e->unit, e->base + e->add[n]);
        if (out[n] < e->below) mask |= UINT64_C(1) << n;
    }
    return mask;
}

static int32_t dot_scalar(const int8_t *x, const int16_t *q, size_t count) {
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * q[i];
    return sum;
}

static size_t least_scalar(const float *values, size_t count) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (values[i] < values[best]) best = i;
    return best;
}

void ki_edges_fill(uint32_t features, ki_edges_kernels *table) {
    *table = (ki_edges_kernels){largest_scalar, wide_scalar, table_scalar, estimate_scalar, dot_scalar, least_scalar};
    ki_edges_fill_avx2(features, table);
    ki_edges_fill_avx512(features, table);
    ki_edges_fill_neon(features, table);
}
