/* SPDX-License-Identifier: Apache-2.0
 *
 * What a walk over a graph computes at each vertex: the estimates of its neighbours, by table lookups as in pq_scan.h,
 * and its own product. Codes are those of a graph's row (view/graph.h).
 *
 * A query's coordinates become whole numbers z in -limit..limit, limit = KI_EDGES_Z / ceil(width / 2048). Table entry p
 * (0..15) of dimensions 4g..4g+3 is 4*15 + the sum of z_i where bit i of p is set and of -z_i where it is not. The
 * tables of a step of 16 dimensions are 64 bytes: those of dimensions 0.., 4.., 8.. and 12.. of it.
 *
 * E1. Two entries sum to 255 at most, so that a byte holds them. What is left of a plane's entries without their 60s
 *     fits 16 bits with a sign, so that sums may be taken modulo 2^16. Width is at most 4096.
 * E2. estimate is, for neighbour n of `blocks` * 16,
 *         s = sum over planes b of 2^b * (entries - 60 each), a whole number below 2^20,
 *         out[n] = fma(mul[n], fl(s * unit), fl(base + add[n])),
 *     the same bits on every tier. The result has bit n where out[n] < below.
 * E3. dot is the exact sum of x[i] * q[i], count a multiple of 16; the caller sees to it that it fits.
 * E4. Kernels read what is drawn and nothing past it. They never allocate.
 * E5. What `fetch` points to is never read: it may be anywhere. Lines are asked for one by one between lookups: asked for
 *     all at once, more than a core can wait for, they would stop it until the last but few have come (row of 37
 *     lines: 800 ns with its lookups, 570 so).
 *
 * Any thread. */
#ifndef KI_KERNEL_EDGES_H
#define KI_KERNEL_EDGES_H

#include <stddef.h>
#include <stdint.h>

enum { KI_EDGES_Z = 15, KI_EDGES_STEP_BYTES = 64, KI_EDGES_MAX = 64, KI_EDGES_BIAS = 60 };

/* The neighbours of one vertex, and a query. */
typedef struct ki_edges {
    const uint8_t *codes, *table;
    const float *add, *mul;
    const uint8_t *fetch;    /* as many bytes as codes has, which are asked for from memory meanwhile; codes: none */
    size_t steps;            /* of 16 dimensions */
    unsigned blocks, planes; /* 16 neighbours each, at most 4; 1..4 */
    float unit, base, below;
} ki_edges;

typedef struct ki_edges_kernels {
    /* The greatest magnitude of `count` floats, a multiple of 16; NaNs are passed over. */
    float (*largest)(const float *x, size_t count);
    /* to[i] = x[i] * inverse rounded to the nearest whole number, ties to even, which fits 16 bits; count a multiple of
     * 16. */
    void (*wide)(const float *x, float inverse, size_t count, int16_t *to);
    /* The tables of z[i] = x[i] * inverse, rounded likewise, of `steps` steps. */
    void (*table)(const float *x, float inverse, size_t steps, uint8_t *table);
    uint64_t (*estimate)(const ki_edges *edges, float *out);
    int32_t (*dot)(const int8_t *x, const int16_t *q, size_t count);
    /* The place of the least of `count` floats, 1.., of equal ones the first; none is a NaN. Readable up to a multiple
     * of 8. */
    size_t (*least)(const float *values, size_t count);
} ki_edges_kernels;

/* The table for this process; made once. */
const ki_edges_kernels *ki_edges_kernel(void);
/* The table that a feature mask would get: for tests and benchmarks. */
void ki_edges_fill(uint32_t features, ki_edges_kernels *table);
void ki_edges_fill_avx2(uint32_t features, ki_edges_kernels *table);
void ki_edges_fill_avx512(uint32_t features, ki_edges_kernels *table);
void ki_edges_fill_neon(uint32_t features, ki_edges_kernels *table);

#endif
