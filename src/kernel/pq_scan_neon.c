/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan of product codes by NEON: TBL looks 16 codes up in a table of 16 bytes, and for 8-bit codes in a chain of
 * tables of 64. Sums widen by UADDW, so that a query needs two accumulators. */
#include "kernel/pq_scan.h"

#include "cpu/cpu.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { WIDTH = 4, LANES = 4 };

/* The sums of vectors 0..7 and 8..15. */
struct sums {
    uint16x8_t low, high;
};

INLINE void add_bytes(struct sums *sums, uint8x16_t bytes) {
    sums->low = vaddw_u8(sums->low, vget_low_u8(bytes));
    sums->high = vaddw_high_u8(sums->high, bytes);
}

INLINE uint8x16_t look_up(const uint8_t *table, uint8x16_t low, uint8x16_t high) {
    return vaddq_u8(vqtbl1q_u8(vld1q_u8(table), low), vqtbl1q_u8(vld1q_u8(table + KI_PQ_TABLE4 / 2), high));
}

INLINE void sums4(const uint8_t *codes, size_t rows, const uint8_t *const *tables, unsigned count, struct sums *sums) {
    const uint8x16_t nibble = vdupq_n_u8(15);
    size_t j = 0;
    for (; j + 2 <= rows; j += 2)
#pragma GCC unroll 4
        for (size_t part = 0; part < 64; part += 16) {
            const uint8x16_t a = vld1q_u8(codes + j * KI_QUAD_BYTES + part);
            const uint8x16_t b = vld1q_u8(codes + (j + 1) * KI_QUAD_BYTES + part);
            const uint8x16_t a_low = vandq_u8(a, nibble), a_high = vshrq_n_u8(a, 4);
            const uint8x16_t b_low = vandq_u8(b, nibble), b_high = vshrq_n_u8(b, 4);
#pragma GCC unroll 4
            for (unsigned q = 0; q < count; q++) {
                const uint8_t *table = tables[q] + j * KI_PQ_TABLE4 + part;
                add_bytes(&sums[q],
                          vaddq_u8(look_up(table, a_low, a_high), look_up(table + KI_PQ_TABLE4, b_low, b_high)));
            }
        }
    if (j < rows)
        for (size_t part = 0; part < 64; part += 16) {
            const uint8x16_t a = vld1q_u8(codes + j * KI_QUAD_BYTES + part);
#pragma GCC unroll 4
            for (unsigned q = 0; q < count; q++)
                add_bytes(&sums[q],
                          look_up(tables[q] + j * KI_PQ_TABLE4 + part, vandq_u8(a, nibble), vshrq_n_u8(a, 4)));
        }
}

/* Four tables of 16 bytes that lie 64 apart. */
INLINE uint8x16x4_t quarter(const uint8_t *table) {
    return (uint8x16x4_t){{vld1q_u8(table), vld1q_u8(table + 64), vld1q_u8(table + 128), vld1q_u8(table + 192)}};
}

INLINE void sums8(const uint8_t *codes, size_t rows, const uint8_t *const *tables, unsigned count, struct sums *sums) {
    const uint8x16_t step = vdupq_n_u8(64);
    for (size_t at = 0; at < rows * KI_QUAD_BYTES; at += 16) {
        const size_t first = at / KI_QUAD_BYTES * KI_PQ_TABLE8 + at % KI_QUAD_BYTES;
        const uint8x16_t code = vld1q_u8(codes + at), second = vsubq_u8(code, step);
        const uint8x16_t third = vsubq_u8(second, step), fourth = vsubq_u8(third, step);
        for (unsigned q = 0; q < count; q++) {
            const uint8_t *table = tables[q] + first;
            uint8x16_t found = vqtbl4q_u8(quarter(table), code); /* 0 where the code is beyond */
            found = vqtbx4q_u8(found, quarter(table + 256), second);
            found = vqtbx4q_u8(found, quarter(table + 512), third);
            found = vqtbx4q_u8(found, quarter(table + 768), fourth);
            add_bytes(&sums[q], found);
        }
    }
}

/* Scores of four vectors; the mask of those that reach the need. */
INLINE unsigned finish_part(const ki_pq_scan *scan, unsigned q, const float *factors, uint16x4_t sum, float *score) {
    static const uint32_t bits[LANES] = {1, 2, 4, 8};
    const float32x4_t estimate =
        vfmaq_f32(vdupq_n_f32(scan->low[q]), vcvtq_f32_u32(vmovl_u16(sum)), vdupq_n_f32(scan->delta[q]));
    const float32x4_t s =
        vfmaq_f32(vld1q_f32(factors + KI_FACTOR_BIAS), estimate, vld1q_f32(factors + KI_FACTOR_SCALE));
    vst1q_f32(score, s);
    return vaddvq_u32(vandq_u32(vcgeq_f32(s, vdupq_n_f32(scan->need[q])), vld1q_u32(bits)));
}

INLINE size_t scan_any(int bits, unsigned count, const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    size_t block = first, n = *used;
    for (; block < end && n + KI_PQ_WIDTH_MAX <= capacity; block++) {
        const uint8_t *codes = scan->codes + block * scan->rows * KI_QUAD_BYTES;
        const float *factors = scan->factors + block * KI_FACTORS;
        struct sums sums[WIDTH];
#pragma GCC unroll 4
        for (unsigned q = 0; q < count; q++) sums[q].low = sums[q].high = vdupq_n_u16(0);
        if (bits == 4)
            sums4(codes, scan->rows, scan->tables, count, sums);
        else
            sums8(codes, scan->rows, scan->tables, count, sums);
#pragma GCC unroll 4
        for (unsigned q = 0; q < count; q++) {
            const unsigned mask = finish_part(scan, q, factors, vget_low_u16(sums[q].low), scores[n]) |
                                  finish_part(scan, q, factors + 4, vget_high_u16(sums[q].low), scores[n] + 4) << 4 |
                                  finish_part(scan, q, factors + 8, vget_low_u16(sums[q].high), scores[n] + 8) << 8 |
                                  finish_part(scan, q, factors + 12, vget_high_u16(sums[q].high), scores[n] + 12) << 12;
            ki_tile_note(&hits[n], block, q, mask);
            n += mask != 0;
        }
    }
    *used = n;
    return block;
}

static size_t score4_neon(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                          float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    switch (scan->count) {
    case 1:
        return scan_any(4, 1, scan, first, end, hits, scores, capacity, used);
    case 2:
        return scan_any(4, 2, scan, first, end, hits, scores, capacity, used);
    case 3:
        return scan_any(4, 3, scan, first, end, hits, scores, capacity, used);
    default:
        return scan_any(4, 4, scan, first, end, hits, scores, capacity, used);
    }
}

static size_t score8_neon(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                          float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    return scan_any(8, scan->count, scan, first, end, hits, scores, capacity, used);
}

/* ---- Float passes ------------------------------------------------------------------------------------------------ */

/* acc[i] += x[j] * book[j][4i..] for 16 columns, in ascending j. */
INLINE void chains(const float *x, const float *book, size_t dim, size_t columns, float32x4_t *acc) {
    for (size_t j = 0; j < dim; j++, book += columns)
#pragma GCC unroll 4
        for (unsigned i = 0; i < 4; i++) acc[i] = vfmaq_n_f32(acc[i], vld1q_f32(book + LANES * i), x[j]);
}

static void products_neon(const float *x, const float *book, size_t dim, size_t columns, float *out, float *low,
                          float *high) {
    const float32x4_t most = vdupq_n_f32(KI_PQ_PRODUCT_MAX), least = vdupq_n_f32(-KI_PQ_PRODUCT_MAX);
    float32x4_t lows = most, highs = least;
    for (size_t k = 0; k < columns; k += 16) {
        float32x4_t acc[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
        chains(x, book + k, dim, columns, acc);
        for (unsigned i = 0; i < 4; i++) {
            acc[i] = vmaxq_f32(vminq_f32(acc[i], most), least);
            lows = vminq_f32(lows, acc[i]);
            highs = vmaxq_f32(highs, acc[i]);
            vst1q_f32(out + k + LANES * i, acc[i]);
        }
    }
    *low = vminvq_f32(lows);
    *high = vmaxvq_f32(highs);
}

static unsigned nearest_neon(const float *x, const float *book, const float *bias, size_t dim, size_t columns,
                             float *value) {
    static const uint32_t lanes[LANES] = {0, 1, 2, 3};
    float32x4_t best = vdupq_n_f32(-INFINITY);
    uint32x4_t best_at = vld1q_u32(lanes);
    for (size_t k = 0; k < columns; k += 16) {
        float32x4_t acc[4];
        for (unsigned i = 0; i < 4; i++) acc[i] = vld1q_f32(bias + k + LANES * i);
        chains(x, book + k, dim, columns, acc);
        for (unsigned i = 0; i < 4; i++) {
            const uint32x4_t better = vcgtq_f32(acc[i], best);
            const uint32x4_t at = vaddq_u32(vld1q_u32(lanes), vdupq_n_u32((uint32_t)k + LANES * i));
            best = vbslq_f32(better, acc[i], best);
            best_at = vbslq_u32(better, at, best_at);
        }
    }
    *value = vmaxvq_f32(best);
    return vminvq_u32(vornq_u32(best_at, vceqq_f32(best, vdupq_n_f32(*value))));
}

static void to_bytes_neon(const float *values, float low, float inverse, uint8_t *out) {
    for (unsigned i = 0; i < 16; i += 4) {
        const float32x4_t above = vsubq_f32(vld1q_f32(values + i), vdupq_n_f32(low));
        const uint32x4_t whole = vcvtnq_u32_f32(vmulq_n_f32(above, inverse));
        out[i] = (uint8_t)vgetq_lane_u32(whole, 0);
        out[i + 1] = (uint8_t)vgetq_lane_u32(whole, 1);
        out[i + 2] = (uint8_t)vgetq_lane_u32(whole, 2);
        out[i + 3] = (uint8_t)vgetq_lane_u32(whole, 3);
    }
}

void ki_pq_fill_neon(uint32_t features, ki_pq_kernels *table) {
    if (!(features & KI_NEON)) return;
    *table = (ki_pq_kernels){.width = WIDTH,
                             .score4 = score4_neon,
                             .score8 = score8_neon,
                             .products = products_neon,
                             .nearest = nearest_neon,
                             .to_bytes = to_bytes_neon};
}

#else
void ki_pq_fill_neon(uint32_t features, ki_pq_kernels *table) {
    (void)features;
    (void)table;
}
#endif
