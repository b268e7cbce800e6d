/* SPDX-License-Identifier: Apache-2.0
 *
 * The distance kernels for aarch64's NEON, which every such processor has. The sixteen partial sums of D1 are four
 * registers of four floats, so a pair already has four chains of fma side by side.
 *
 * I1. Tails never read past the operand: they are copied to a block of zeros first.
 * I2. Only explicit fma: no multiplication stands where a compiler could fuse it with an addition (here fma belongs to
 *     the base instruction set, so it would).
 *
 * Any thread. */
#include "kernel/distance.h"

#include "cpu/cpu.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/distance_types.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, BITS_STEP = 16 };

typedef struct block {
    float32x4_t part[4]; /* elements 0..3, 4..7, 8..11, 12..15 */
} block;

/* ---- Loads ------------------------------------------------------------------------------------------------------- */

INLINE size_t element_bytes(kith_dtype type) {
    return type == KITH_F32 ? 4 : type == KITH_F16 || type == KITH_BF16 ? 2 : 1;
}

INLINE float32x4_t widen_bf16(uint16x4_t half) {
    return vreinterpretq_f32_u32(vshll_n_u16(half, 15 + 1));
}

INLINE block of_s16(int16x8_t low, int16x8_t high) {
    return (block){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
                    vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}

/* Sixteen elements from `bytes`, any alignment: all loads are by byte. */
INLINE block load(kith_dtype type, const uint8_t *bytes) {
    switch (type) {
    case KITH_F32:
        return (block){{vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16)),
                        vreinterpretq_f32_u8(vld1q_u8(bytes + 32)), vreinterpretq_f32_u8(vld1q_u8(bytes + 48))}};
    case KITH_F16: {
        const float16x8_t low = vreinterpretq_f16_u8(vld1q_u8(bytes));
        const float16x8_t high = vreinterpretq_f16_u8(vld1q_u8(bytes + 16));
        return (block){{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
                        vcvt_high_f32_f16(high)}};
    }
    case KITH_BF16: {
        const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(bytes));
        const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(bytes + 16));
        return (block){{widen_bf16(vget_low_u16(low)), widen_bf16(vget_high_u16(low)), widen_bf16(vget_low_u16(high)),
                        widen_bf16(vget_high_u16(high))}};
    }
    case KITH_I8: {
        const int8x16_t all = vreinterpretq_s8_u8(vld1q_u8(bytes));
        return of_s16(vmovl_s8(vget_low_s8(all)), vmovl_high_s8(all));
    }
    default: {
        const uint8x16_t all = vld1q_u8(bytes);
        return of_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(all))), vreinterpretq_s16_u16(vmovl_high_u8(all)));
    }
    }
}

/* The first `count` < 16 elements, then zeros. */
INLINE block load_tail(kith_dtype type, const uint8_t *bytes, size_t count) {
    uint8_t padded[LANES * 4] = {0};
    memcpy(padded, bytes, count * element_bytes(type));
    return load(type, padded);
}

INLINE block load_some(kith_dtype type, const uint8_t *bytes, size_t left) {
    return left >= LANES ? load(type, bytes) : load_tail(type, bytes, left);
}

/* ---- Sums (D1, D3) ----------------------------------------------------------------------------------------------- */

INLINE float32x4_t step4(enum pair_op op, float32x4_t q, float32x4_t x, float32x4_t sum) {
    if (op == PAIR_DOT) return vfmaq_f32(sum, q, x);
    const float32x4_t difference = vsubq_f32(q, x);
    return vfmaq_f32(sum, difference, difference);
}

INLINE block step(enum pair_op op, block q, block x, block sum) {
    return (block){{step4(op, q.part[0], x.part[0], sum.part[0]), step4(op, q.part[1], x.part[1], sum.part[1]),
                    step4(op, q.part[2], x.part[2], sum.part[2]), step4(op, q.part[3], x.part[3], sum.part[3])}};
}

INLINE block zero_block(void) {
    const float32x4_t zero = vdupq_n_f32(0);
    return (block){{zero, zero, zero, zero}};
}

INLINE float reduce(block sum) {
    const float32x4_t r4 = vaddq_f32(vaddq_f32(sum.part[0], sum.part[2]), vaddq_f32(sum.part[1], sum.part[3]));
    const float32x2_t r2 = vadd_f32(vget_low_f32(r4), vget_high_f32(r4));
    return vget_lane_f32(r2, 0) + vget_lane_f32(r2, 1);
}

INLINE float pair_any(enum pair_op op, kith_dtype type, const float *q, const void *x, size_t dim) {
    const uint8_t *q_bytes = (const uint8_t *)q, *x_bytes = x;
    const size_t size = element_bytes(type);
    block sum = zero_block();

    for (size_t i = 0; i < dim; i += LANES)
        sum =
            step(op, load_some(KITH_F32, q_bytes + i * 4, dim - i), load_some(type, x_bytes + i * size, dim - i), sum);
    return reduce(sum);
}

INLINE void quad_any(enum pair_op op, kith_dtype type, const float *q, const void *const x[4], size_t dim,
                     float out[4]) {
    const uint8_t *q_bytes = (const uint8_t *)q, *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    const size_t size = element_bytes(type);
    block sum0 = zero_block(), sum1 = sum0, sum2 = sum0, sum3 = sum0;

    for (size_t i = 0; i < dim; i += LANES) {
        const block query = load_some(KITH_F32, q_bytes + i * 4, dim - i);
        sum0 = step(op, query, load_some(type, x0 + i * size, dim - i), sum0);
        sum1 = step(op, query, load_some(type, x1 + i * size, dim - i), sum1);
        sum2 = step(op, query, load_some(type, x2 + i * size, dim - i), sum2);
        sum3 = step(op, query, load_some(type, x3 + i * size, dim - i), sum3);
    }
    out[0] = reduce(sum0);
    out[1] = reduce(sum1);
    out[2] = reduce(sum2);
    out[3] = reduce(sum3);
}

/* Four floats squared into two pairs of double sums. */
INLINE void norm2_step(float32x4_t x, float64x2_t sum[2]) {
    const float64x2_t low = vcvt_f64_f32(vget_low_f32(x)), high = vcvt_high_f64_f32(x);
    sum[0] = vfmaq_f64(sum[0], low, low);
    sum[1] = vfmaq_f64(sum[1], high, high);
}

INLINE double norm2_any(kith_dtype type, const void *x, size_t dim) {
    const uint8_t *bytes = x;
    const size_t size = element_bytes(type);
    float64x2_t sum[8]; /* sum[p] holds partial sums 2p and 2p + 1 */

    for (size_t p = 0; p < 8; p++) sum[p] = vdupq_n_f64(0);
    for (size_t i = 0; i < dim; i += LANES) {
        const block b = load_some(type, bytes + i * size, dim - i);
        for (size_t part = 0; part < 4; part++) norm2_step(b.part[part], sum + 2 * part);
    }
    for (size_t half = 4; half; half /= 2)
        for (size_t p = 0; p < half; p++) sum[p] = vaddq_f64(sum[p], sum[p + half]);
    return vgetq_lane_f64(sum[0], 0) + vgetq_lane_f64(sum[0], 1);
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

INLINE void store_some(float *out, block b, size_t left) {
    if (left >= LANES) {
        for (size_t part = 0; part < 4; part++) vst1q_f32(out + 4 * part, b.part[part]);
    } else {
        memcpy(out, b.part, left * sizeof(float));
    }
}

INLINE void to_f32_any(kith_dtype type, const void *x, size_t count, float *out) {
    const uint8_t *bytes = x;
    const size_t size = element_bytes(type);

    for (size_t i = 0; i < count; i += LANES)
        store_some(out + i, load_some(type, bytes + i * size, count - i), count - i);
}

/* Eight floats to the nearest bf16, ties to even; NaN is cut and made quiet. */
INLINE uint16x4_t to_bf16(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000));
    const uint32x4_t is_number = vceqq_f32(x, x);
    return vshrn_n_u32(vbslq_u32(is_number, rounded, quiet), 16);
}

INLINE uint16x4_t to_half(kith_dtype type, float32x4_t x) {
    return type == KITH_F16 ? vreinterpret_u16_f16(vcvt_f16_f32(x)) : to_bf16(x);
}

INLINE void from_f32_any(kith_dtype type, const float *x, size_t count, void *out) {
    const uint8_t *from = (const uint8_t *)x;
    uint8_t *to = out;

    for (size_t i = 0; i < count; i += LANES) {
        const block b = load_some(KITH_F32, from + i * 4, count - i);
        uint16x4_t halves[4];
        for (size_t part = 0; part < 4; part++) halves[part] = to_half(type, b.part[part]);
        memcpy(to + i * 2, halves, (count - i < LANES ? count - i : LANES) * 2);
    }
}

static void from_f32_f16_neon(const float *x, size_t count, void *out) {
    from_f32_any(KITH_F16, x, count, out);
}

static void from_f32_bf16_neon(const float *x, size_t count, void *out) {
    from_f32_any(KITH_BF16, x, count, out);
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

INLINE uint8x16_t load_bits(const uint8_t *bytes, size_t left) {
    if (left >= BITS_STEP) return vld1q_u8(bytes);
    uint8_t padded[BITS_STEP] = {0};
    memcpy(padded, bytes, left);
    return vld1q_u8(padded);
}

/* sum + the set bits of each 8 bytes of v. */
INLINE uint64x2_t add_bits(uint64x2_t sum, uint8x16_t v) {
    return vpadalq_u32(sum, vpaddlq_u16(vpaddlq_u8(vcntq_u8(v))));
}

static void bits_neon(const uint8_t *a, const uint8_t *b, size_t bytes, uint64_t *both, uint64_t *either) {
    uint64x2_t sum_both = vdupq_n_u64(0), sum_either = sum_both;

    for (size_t i = 0; i < bytes; i += BITS_STEP) {
        const uint8x16_t block_a = load_bits(a + i, bytes - i), block_b = load_bits(b + i, bytes - i);
        sum_both = add_bits(sum_both, vandq_u8(block_a, block_b));
        sum_either = add_bits(sum_either, vorrq_u8(block_a, block_b));
    }
    *both = vaddvq_u64(sum_both);
    *either = vaddvq_u64(sum_either);
}

static uint64_t hamming_neon(const uint8_t *a, const uint8_t *b, size_t bytes) {
    uint64x2_t sum = vdupq_n_u64(0);
    for (size_t i = 0; i < bytes; i += BITS_STEP)
        sum = add_bits(sum, veorq_u8(load_bits(a + i, bytes - i), load_bits(b + i, bytes - i)));
    return vaddvq_u64(sum);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

KI_DISTANCE_TYPES(, neon)

void ki_distance_fill_neon(uint32_t features, ki_distance_kernels *table) {
    if (!(features & KI_NEON)) return;
    KI_DISTANCE_SET_ALL(table, neon);
    table->from_f32[KITH_F16] = from_f32_f16_neon;
    table->from_f32[KITH_BF16] = from_f32_bf16_neon;
    table->bits = bits_neon;
    table->hamming = hamming_neon;
}

#else

void ki_distance_fill_neon(uint32_t features, ki_distance_kernels *table) {
    (void)features;
    (void)table;
}

#endif
