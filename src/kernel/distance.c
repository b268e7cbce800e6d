/* SPDX-License-Identifier: Apache-2.0
 *
 * The scalar distance kernels, which are the reference in code for D1..D4 of distance.h, and what a tier's table holds.
 *
 * I1. Nothing here lets a compiler fuse a product with a sum of its own accord (gcc does so in gnu modes): products
 *     appear only inside fmaf() and fma(), or alone.
 * I2. Pure functions: any thread. */
#include "kernel/distance.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernel/distance_types.h"

enum { LANES = 16 }; /* partial sums */

/* ---- Element types ----------------------------------------------------------------------------------------------- */

/* Element i of a row, of any alignment. `type` is a constant where this is called. */
static inline float element(kith_dtype type, const void *row, size_t i) {
    const unsigned char *bytes = row;
    uint16_t half;
    float value;

    switch (type) {
    case KITH_F32:
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        return value;
    case KITH_F16:
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        return ki_f16_to_f32(half);
    case KITH_BF16:
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        return ki_bf16_to_f32(half);
    case KITH_I8:
        return (float)(int8_t)bytes[i];
    default:
        return (float)bytes[i];
    }
}

/* ---- Sums (D1, D3) ----------------------------------------------------------------------------------------------- */

static inline float step(enum pair_op op, float q, float x, float sum) {
    if (op == PAIR_DOT) return fmaf(q, x, sum);
    const float difference = q - x;
    return fmaf(difference, difference, sum);
}

static inline float pair_any(enum pair_op op, kith_dtype type, const float *q, const void *x, size_t dim) {
    float sum[LANES] = {0};

    for (size_t i = 0; i < dim; i++)
        sum[i % LANES] = step(op, element(KITH_F32, q, i), element(type, x, i), sum[i % LANES]);
    if (dim % LANES)
        for (size_t lane = dim % LANES; lane < LANES; lane++) sum[lane] = step(op, 0, 0, sum[lane]);
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; lane++) sum[lane] += sum[lane + half];
    return sum[0];
}

static inline void quad_any(enum pair_op op, kith_dtype type, const float *q, const void *const x[4], size_t dim,
                            float out[4]) {
    for (size_t row = 0; row < 4; row++) out[row] = pair_any(op, type, q, x[row], dim);
}

static inline double norm2_any(kith_dtype type, const void *x, size_t dim) {
    double sum[LANES] = {0};

    for (size_t i = 0; i < dim; i++) {
        const double value = (double)element(type, x, i);
        sum[i % LANES] = fma(value, value, sum[i % LANES]);
    }
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; lane++) sum[lane] += sum[lane + half];
    return sum[0];
}

static inline void to_f32_any(kith_dtype type, const void *x, size_t count, float *out) {
    for (size_t i = 0; i < count; i++) {
        const float value = element(type, x, i);
        memcpy((char *)out + i * sizeof value, &value, sizeof value);
    }
}

KI_DISTANCE_TYPES(, scalar)

static void from_f32_f16_scalar(const float *x, size_t count, void *out) {
    for (size_t i = 0; i < count; i++) {
        const uint16_t half = ki_f32_to_f16(element(KITH_F32, x, i));
        memcpy((char *)out + i * sizeof half, &half, sizeof half);
    }
}

static void from_f32_bf16_scalar(const float *x, size_t count, void *out) {
    for (size_t i = 0; i < count; i++) {
        const uint16_t half = ki_f32_to_bf16(element(KITH_F32, x, i));
        memcpy((char *)out + i * sizeof half, &half, sizeof half);
    }
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

/* The word at `offset`, padded with zero bits past the end. */
static uint64_t word_at(const uint8_t *row, size_t offset, size_t bytes) {
    uint64_t word = 0;
    if (bytes - offset >= sizeof word)
        memcpy(&word, row + offset, sizeof word); /* one load: its size is a constant */
    else
        memcpy(&word, row + offset, bytes - offset);
    return word;
}

static void bits_scalar(const uint8_t *a, const uint8_t *b, size_t bytes, uint64_t *both, uint64_t *either) {
    uint64_t sum_both = 0, sum_either = 0;

    for (size_t offset = 0; offset < bytes; offset += sizeof(uint64_t)) {
        const uint64_t word_a = word_at(a, offset, bytes), word_b = word_at(b, offset, bytes);
        sum_both += (uint64_t)__builtin_popcountll(word_a & word_b);
        sum_either += (uint64_t)__builtin_popcountll(word_a | word_b);
    }
    *both = sum_both;
    *either = sum_either;
}

static uint64_t hamming_scalar(const uint8_t *a, const uint8_t *b, size_t bytes) {
    uint64_t sum = 0;
    for (size_t offset = 0; offset < bytes; offset += sizeof(uint64_t))
        sum += (uint64_t)__builtin_popcountll(word_at(a, offset, bytes) ^ word_at(b, offset, bytes));
    return sum;
}

/* ---- From sums to distances -------------------------------------------------------------------------------------- */

float ki_inverse_norm(double norm2) {
    const double inverse = 1.0 / sqrt(norm2);
    return inverse < (double)FLT_MAX ? (float)inverse : FLT_MAX;
}

float ki_square(const ki_distance_kernels *kernels, kith_dtype dtype, const void *x, size_t dim) {
    /* The other operand is always float, and 0 - x has the square of x. Never written; without const, which would make
     * it 256 KiB of the library's file. */
    static float zeros[KITH_DIM_MAX];
    return dtype == KITH_F32 ? kernels->dot[KITH_F32](x, x, dim) : kernels->l2sq[dtype](zeros, x, dim);
}

float ki_cosine_distance(float dot, float q2, float x2) {
    const double distance = 1.0 - (double)dot / sqrt((double)q2 * (double)x2);
    return distance < 0 ? 0 : distance > 2 ? 2 : (float)distance;
}

float ki_jaccard_distance(uint64_t both, uint64_t either) {
    if (!either) return 0;
    /* Counts stay below 2^24 (KITH_DIM_MAX), so the conversions are exact and the quotient is rounded once. */
    return (float)(either - both) / (float)either;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

void ki_distance_fill_scalar(ki_distance_kernels *table) {
    KI_DISTANCE_SET_ALL(table, scalar);
    table->from_f32[KITH_F16] = from_f32_f16_scalar;
    table->from_f32[KITH_BF16] = from_f32_bf16_scalar;
    table->bits = bits_scalar;
    table->hamming = hamming_scalar;
}

void ki_distance_fill(uint32_t features, ki_distance_kernels *table) {
    memset(table, 0, sizeof *table);
    ki_distance_fill_scalar(table);
    ki_distance_fill_avx2(features, table);
    ki_distance_fill_avx512(features, table);
    ki_distance_fill_neon(features, table);
}
