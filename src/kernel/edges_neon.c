/* SPDX-License-Identifier: Apache-2.0
 *
 * Edges by NEON: TBL looks the 16 codes of a block's half of a step up in a table of 16 bytes. Sums widen by UADDW, so
 * that a block needs two accumulators; two blocks share a pass over the tables. Products of int8 with 16 bits are
 * SMLAL's: the dot product instructions take bytes only. */
#include "kernel/edges.h"

#include "cpu/cpu.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 4, PARTS = 16 / LANES };

/* ---- Estimates --------------------------------------------------------------------------------------------------- */

/* The sums of neighbours 0..7 and 8..15 of a block. */
struct sums {
    uint16x8_t low, high;
};

INLINE void add_half(struct sums *sums, const uint8_t *codes, uint8x16_t low, uint8x16_t high) {
    const uint8x16_t c = vld1q_u8(codes);
    const uint8x16_t bytes = vaddq_u8(vqtbl1q_u8(low, vandq_u8(c, vdupq_n_u8(15))), vqtbl1q_u8(high, vshrq_n_u8(c, 4)));
    sums->low = vaddw_u8(sums->low, vget_low_u8(bytes));
    sums->high = vaddw_high_u8(sums->high, bytes);
}

/* `count` blocks from `codes` on, block_bytes apart. */
INLINE void sum_blocks(const uint8_t *codes, size_t block_bytes, const uint8_t *table, size_t steps, unsigned count,
                       const uint8_t *fetch, struct sums *sums) {
#pragma GCC unroll 2
    for (unsigned i = 0; i < count; i++) sums[i].low = sums[i].high = vdupq_n_u16(0);
    for (size_t s = 0; s < steps; s++, codes += 32, fetch += 32 * count, table += KI_EDGES_STEP_BYTES) {
        __builtin_prefetch(fetch, 0, 2);
#pragma GCC unroll 2
        for (unsigned half = 0; half < 2; half++) {
            const uint8x16_t low = vld1q_u8(table + 16 * half), high = vld1q_u8(table + 32 + 16 * half);
#pragma GCC unroll 2
            for (unsigned i = 0; i < count; i++) add_half(&sums[i], codes + i * block_bytes + 16 * half, low, high);
        }
    }
}

/* Add 2^plane times the sums of a block, less the 60s (E1), to its 16 totals. */
INLINE void add_totals(const struct sums *sums, size_t steps, unsigned plane, int32x4_t totals[PARTS]) {
    const uint16x8_t less = vdupq_n_u16((uint16_t)(KI_EDGES_BIAS * 4 * steps));
    const int16x8_t low = vreinterpretq_s16_u16(vsubq_u16(sums->low, less));
    const int16x8_t high = vreinterpretq_s16_u16(vsubq_u16(sums->high, less));
    const int16_t times = (int16_t)(1 << plane);
    totals[0] = vmlal_n_s16(totals[0], vget_low_s16(low), times);
    totals[1] = vmlal_high_n_s16(totals[1], low, times);
    totals[2] = vmlal_n_s16(totals[2], vget_low_s16(high), times);
    totals[3] = vmlal_high_n_s16(totals[3], high, times);
}

/* The estimates of four neighbours; those below. */
INLINE unsigned finish(const ki_edges *e, unsigned n, int32x4_t total, float *out) {
    static const uint32_t bits[LANES] = {1, 2, 4, 8};
    const float32x4_t product = vmulq_n_f32(vcvtq_f32_s32(total), e->unit);
    const float32x4_t base = vaddq_f32(vdupq_n_f32(e->base), vld1q_f32(e->add + n));
    const float32x4_t d = vfmaq_f32(base, vld1q_f32(e->mul + n), product);
    vst1q_f32(out + n, d);
    return vaddvq_u32(vandq_u32(vcltq_f32(d, vdupq_n_f32(e->below)), vld1q_u32(bits)));
}

INLINE uint64_t estimate_blocks(const ki_edges *e, unsigned first, unsigned count, float *out) {
    const size_t block_bytes = e->steps * 32, plane_bytes = block_bytes * e->blocks;
    const uint8_t *codes = e->codes + first * block_bytes, *fetch = e->fetch + first * block_bytes;
    int32x4_t totals[2][PARTS];
    uint64_t mask = 0;
    for (unsigned i = 0; i < count; i++)
        for (unsigned p = 0; p < PARTS; p++) totals[i][p] = vdupq_n_s32(0);
    for (unsigned b = 0; b < e->planes; b++, codes += plane_bytes, fetch += plane_bytes) {
        struct sums sums[2];
        sum_blocks(codes, block_bytes, e->table, e->steps, count, fetch, sums);
#pragma GCC unroll 2
        for (unsigned i = 0; i < count; i++) add_totals(&sums[i], e->steps, b, totals[i]);
    }
    for (unsigned i = 0; i < count; i++)
        for (unsigned p = 0; p < PARTS; p++) {
            const unsigned n = 16 * (first + i) + LANES * p;
            mask |= (uint64_t)finish(e, n, totals[i][p], out) << n;
        }
    return mask;
}

static uint64_t estimate_neon(const ki_edges *e, float *out) {
    uint64_t mask = 0;
    unsigned block = 0;
    for (; block + 2 <= e->blocks; block += 2) mask |= estimate_blocks(e, block, 2, out);
    if (block < e->blocks) mask |= estimate_blocks(e, block, 1, out);
    return mask;
}

/* ---- A query ----------------------------------------------------------------------------------------------------- */

static float largest_neon(const float *x, size_t count) {
    float32x4_t most = vdupq_n_f32(0);
    for (size_t i = 0; i < count; i += LANES) {
        const float32x4_t size = vabsq_f32(vld1q_f32(x + i));
        most = vbslq_f32(vcgtq_f32(size, most), size, most);
    }
    return vmaxvq_f32(most);
}

INLINE int16x4_t whole_of(const float *x, float inverse) {
    return vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse)));
}

static void wide_neon(const float *x, float inverse, size_t count, int16_t *to) {
    for (size_t i = 0; i < count; i += LANES) vst1_s16(to + i, whole_of(x + i, inverse));
}

/* Number i of a group of four in all bytes of its table, with the signs that the patterns give it. */
static void table_neon(const float *x, float inverse, size_t steps, uint8_t *table) {
    static const int8_t signs[4][16] = {{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
                                        {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
                                        {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
                                        {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1}};
    for (size_t s = 0; s < steps; s++, x += 16) {
        const int8x8_t low = vmovn_s16(vcombine_s16(whole_of(x, inverse), whole_of(x + 4, inverse)));
        const int8x8_t high = vmovn_s16(vcombine_s16(whole_of(x + 8, inverse), whole_of(x + 12, inverse)));
        const int8x16_t z = vcombine_s8(low, high);
        for (unsigned group = 0; group < 4; group++, table += 16) {
            int8x16_t sum = vdupq_n_s8(KI_EDGES_BIAS);
#pragma GCC unroll 4
            for (unsigned i = 0; i < 4; i++)
                sum = vmlaq_s8(sum, vqtbl1q_s8(z, vdupq_n_u8((uint8_t)(4 * group + i))), vld1q_s8(signs[i]));
            vst1q_u8(table, vreinterpretq_u8_s8(sum));
        }
    }
}

/* ---- Products and places ----------------------------------------------------------------------------------------- */

static int32_t dot_neon(const int8_t *x, const int16_t *q, size_t count) {
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    for (size_t i = 0; i < count; i += 16) {
        const int8x16_t codes = vld1q_s8(x + i);
        const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_high_s8(codes);
        const int16x8_t first = vld1q_s16(q + i), second = vld1q_s16(q + i + 8);
        a = vmlal_s16(a, vget_low_s16(low), vget_low_s16(first));
        b = vmlal_high_s16(b, low, first);
        c = vmlal_s16(c, vget_low_s16(high), vget_low_s16(second));
        d = vmlal_high_s16(d, high, second);
    }
    return vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
}

/* The least value of each lane, and where it was met first; then the last few. */
static size_t least_neon(const float *values, size_t count) {
    static const uint32_t lanes[LANES] = {0, 1, 2, 3};
    const size_t whole = count / LANES * LANES;
    uint32x4_t at = vld1q_u32(lanes), best_at = at;
    float32x4_t best = vdupq_n_f32(INFINITY);
    for (size_t i = 0; i < whole; i += LANES, at = vaddq_u32(at, vdupq_n_u32(LANES))) {
        const float32x4_t v = vld1q_f32(values + i);
        const uint32x4_t less = vcltq_f32(v, best);
        best = vbslq_f32(less, v, best);
        best_at = vbslq_u32(less, at, best_at);
    }
    float value = vminvq_f32(best);
    size_t place = vminvq_u32(vornq_u32(best_at, vceqq_f32(best, vdupq_n_f32(value))));
    for (size_t i = whole; i < count; i++)
        if (values[i] < value) {
            value = values[i];
            place = i;
        }
    return place;
}

void ki_edges_fill_neon(uint32_t features, ki_edges_kernels *table) {
    if (!(features & KI_NEON)) return;
    *table = (ki_edges_kernels){.largest = largest_neon,
                                .wide = wide_neon,
                                .table = table_neon,
                                .estimate = estimate_neon,
                                .dot = dot_neon,
                                .least = least_neon};
}

#else
void ki_edges_fill_neon(uint32_t features, ki_edges_kernels *table) {
    (void)features;
    (void)table;
}
#endif
