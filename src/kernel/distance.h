/* SPDX-License-Identifier: Apache-2.0
 *
 * The distance kernels: one table of functions, filled from the scalar reference upward for the tier in use.
 *
 * D1. All tiers give the same bits. Element i of both operands, converted to float exactly, goes to partial sum i mod
 *     16 by one fma in ascending i, as if both were padded with zeros to a multiple of 16 (the padding takes part:
 *     fma(0, 0, s) turns a sum of -0 into +0). l2sq:
 *         t = q - x (rounded),   s = fma(t, t, s).
 *     The sixteen sums are added as
 *         r8[j] = s[j] + s[j+8],   r4[j] = r8[j] + r8[j+4],   r2[j] = r4[j] + r4[j+2],   r = r2[0] + r2[1].
 * D2. No kernel reads a byte past its operands, needs alignment, or allocates.
 * D3. norm2 is the same scheme in double: sixteen sums
 *         s[i mod 16] = fma(x, x, s), same tree.
 *
 * Any thread. Rows are `dim` elements; q is always float. */
#ifndef KI_KERNEL_DISTANCE_H
#define KI_KERNEL_DISTANCE_H

#include "kith.h"

enum { KI_NUMBER_TYPES = 6 }; /* tables are indexed by kith_dtype, KITH_F32..KITH_U8 */

typedef float ki_pair_fn(const float *q, const void *x, size_t dim);
/* Four rows at once, out[r] with the bits of the pair kernel on x[r]: four chains of fma run side by side, so that
 * their latency hides. Rows may repeat. */
typedef void ki_quad_fn(const float *q, const void *const x[4], size_t dim, float out[4]);
typedef double ki_norm2_fn(const void *x, size_t dim);
/* bits: *both = |a & b|, *either = |a | b|; hamming = either - both. */
typedef void ki_bits_fn(const uint8_t *a, const uint8_t *b, size_t bytes, uint64_t *both, uint64_t *either);
/* Exact conversion of `count` elements. */
typedef void ki_to_f32_fn(const void *x, size_t count, float *out);
/* Round to nearest even; overflow gives infinity (the caller refuses it); a NaN stays one. */
typedef void ki_from_f32_fn(const float *x, size_t count, void *out);

typedef struct ki_distance_kernels {
    ki_pair_fn *dot[KI_NUMBER_TYPES];
    ki_pair_fn *l2sq[KI_NUMBER_TYPES];
    ki_quad_fn *dot4[KI_NUMBER_TYPES];
    ki_quad_fn *l2sq4[KI_NUMBER_TYPES];
    ki_norm2_fn *norm2[KI_NUMBER_TYPES];
    ki_to_f32_fn *to_f32[KI_NUMBER_TYPES];
    ki_from_f32_fn *from_f32[KI_NUMBER_TYPES]; /* F16 and BF16 only; others NULL */
    ki_bits_fn *bits;
    uint64_t (*hamming)(const uint8_t *a, const uint8_t *b, size_t bytes);
} ki_distance_kernels;

/* The table for this process; made once, then constant. */
const ki_distance_kernels *ki_distance(void);

/* The table a given feature mask would get: for tests and benchmarks. Only masks that this machine has may be used. */
void ki_distance_fill(uint32_t features, ki_distance_kernels *table);

/* Each tier's part of the fill; overwrites what it has. */
void ki_distance_fill_scalar(ki_distance_kernels *table);
void ki_distance_fill_avx2(uint32_t features, ki_distance_kernels *table);
void ki_distance_fill_avx512(uint32_t features, ki_distance_kernels *table);
void ki_distance_fill_neon(uint32_t features, ki_distance_kernels *table);

/* |x|^2 of a vector of any type: the bits of dot() of the vector with itself. */
float ki_square(const ki_distance_kernels *kernels, kith_dtype dtype, const void *x, size_t dim);
/* D4. The cosine distance from dot(q, x), dot(q, q) and dot(x, x):
 *         1 - dot / sqrt(q2 * x2)
 *     in double, cut to 0..2, then rounded to float. Equal vectors give three equal sums s; s * s is exact in double,
 *     so the quotient is 1 and the distance 0. Both norms are within KITH_COSINE_NORM_MIN..KITH_NORM_MAX; a NaN stays
 *     one. */
float ki_cosine_distance(float dot, float q2, float x2);
/* (float)(1 / sqrt(norm2)), FLT_MAX where that is infinite. norm2 > 0. */
float ki_inverse_norm(double norm2);
float ki_jaccard_distance(uint64_t both, uint64_t either);

#endif
