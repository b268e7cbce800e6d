/* SPDX-License-Identifier: Apache-2.0
 *
 * Product quantisation [Jegou, Douze, Schmid: Product quantization for nearest neighbor search, 2011], with an optional
 * learned rotation [Ge, He, Ke, Sun: Optimized product quantization, 2013]. The functions of quant/second.h for
 * "pq:MxB" and "opq:MxB": y = R r (R = I without rotation) is cut into M parts of dim/M, each part coded as the nearest
 * of 2^B centroids; B is 4 or 8. Scanned by kernel/pq_scan.h.
 *
 * Departure: each vector keeps a = <y,c>/<c,c> for its joined centroids c, so that r^ = a R'c is the best multiple.
 *
 * The model:
 *      0  the header, with f32 omega >= |R'R - I| at byte 32 and zeros behind;
 *     64  floats: for each part dim/M x 2^B (centroid k is column k),
 *         then for each part 2^B values -|centroid|^2/2,
 *         then, if rotated, R, dim x dim.
 *
 * A prepared query: floats delta and low, zeros to byte 64, the tables of kernel/pq_scan.h. For a vector with codes k_s
 * the sum T of its entries makes
 *     |low + delta * T - <R q',c>| <= (0.5 + 2^-12) M delta + 2^-20 S,
 * S the sum over parts of the greatest sum_j |q'_j c_j|: low is the sum of the least products of all parts, delta one
 * step for all tables, entries are rounded to the nearest. delta is the least for which P1 of kernel/pq_scan.h holds,
 * and no less than 2^-125. (Products are clamped to 2^110, far beyond what vectors of any use have.)
 *
 * Q1. The error that encode states holds for r^ as above:
 *         |r - a R'c| <= (1 + omega)(|y - a c| + gamma |r|) + omega |r|
 *     where gamma bounds the rounding of y.
 * Q2. Training depends on the seed and the tier, not on the threads.
 * Q3. Encoding, preparing and scoring give the same bits on every tier.
 *
 * Any thread. */
#ifndef KI_QUANT_PQ_H
#define KI_QUANT_PQ_H

#include "quant/second.h"

enum { KI_PQ_PARTS_MAX = 8192, KI_PQ_ROTATED_DIM_MAX = 2048 };

/* Where the parts of a model lie. */
typedef struct ki_pq_model {
    size_t dim, m, part, columns; /* part: dimensions of one; columns: centroids of one */
    float *books, *bias, *rotation;
} ki_pq_model;

/* KITH_E_ARG: no such code for this dim. */
kith_status ki_pq_check(const ki_second_spec *spec, size_t dim, kith_error *error);
/* Bytes of a model. */
uint64_t ki_pq_model_bytes(const ki_second_spec *spec, size_t dim);
/* The parts of a model of that many bytes. */
ki_pq_model ki_pq_model_of(const ki_second_spec *spec, size_t dim, void *bytes);

size_t ki_pq_sample(const ki_second_spec *spec);
kith_status ki_pq_train(const ki_second_spec *spec, const float *residuals, size_t count, size_t dim, uint64_t seed,
                        kith_pool *pool, kith_progress_fn progress, void *progress_context, void **model,
                        size_t *model_bytes);
int ki_pq_view(ki_second *second);
size_t ki_pq_encode_bytes(const ki_second *second);
void ki_pq_encode(const ki_second *second, const float *residuals, unsigned count, const float *bias, void *work,
                  uint8_t *block, float *factors);
void ki_pq_prepare(const ki_second *second, const float *query, float *work, void *prepared);
size_t ki_pq_score(const ki_second *second, const uint8_t *codes, const float *factors, size_t first, size_t end,
                   const void *const *prepared, const float *need, unsigned count, void *work, ki_tile_hit *hits,
                   float (*scores)[KI_BLOCK], size_t capacity, size_t *used);

#endif
