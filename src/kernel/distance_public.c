/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_distance(): the defining distance, one pair at a time. Everything that searches must return these bits. Any
 * thread. */
#include "kernel/distance.h"

#include <stdbool.h>

static bool arguments_fit(kith_metric metric, kith_dtype dtype, size_t dim) {
    if (dim < 1 || dim > KITH_DIM_MAX) return false;
    if (metric == KITH_HAMMING || metric == KITH_JACCARD) return dtype == KITH_B1 && dim % 8 == 0;
    const bool number_metric = metric == KITH_L2SQ || metric == KITH_IP || metric == KITH_COSINE;
    return number_metric && dtype >= KITH_F32 && dtype <= KITH_U8;
}

/* What a build takes: float sums neither vanish nor overflow. */
static bool has_cosine(double norm2) {
    return norm2 >= KITH_COSINE_NORM_MIN * KITH_COSINE_NORM_MIN && norm2 <= KITH_NORM_MAX * KITH_NORM_MAX;
}

static kith_status cosine(const ki_distance_kernels *kernels, kith_dtype dtype, size_t dim, const void *q,
                          const void *x, float *distance) {
    if (!has_cosine(kernels->norm2[KITH_F32](q, dim)) || !has_cosine(kernels->norm2[dtype](x, dim))) return KITH_E_DATA;
    *distance = ki_cosine_distance(kernels->dot[dtype](q, x, dim), ki_square(kernels, KITH_F32, q, dim),
                                   ki_square(kernels, dtype, x, dim));
    return KITH_OK;
}

kith_status kith_distance(kith_metric metric, kith_dtype dtype, size_t dim, const void *q, const void *x,
                          float *distance) {
    uint64_t both, either;

    if (!q || !x || !distance || !arguments_fit(metric, dtype, dim)) return KITH_E_ARG;
    const ki_distance_kernels *kernels = ki_distance();
    switch (metric) {
    case KITH_L2SQ:
        *distance = kernels->l2sq[dtype](q, x, dim);
        return KITH_OK;
    case KITH_IP:
        *distance = -kernels->dot[dtype](q, x, dim);
        return KITH_OK;
    case KITH_COSINE:
        return cosine(kernels, dtype, dim, q, x, distance);
    case KITH_HAMMING:
        *distance = (float)kernels->hamming(q, x, dim / 8);
        return KITH_OK;
    default:
        kernels->bits(q, x, dim / 8, &both, &either);
        *distance = ki_jaccard_distance(both, either);
        return KITH_OK;
    }
}
