/* SPDX-License-Identifier: Apache-2.0
 *
 * Edges by 512-bit registers. A register of codes is a block's two next steps: its lanes are looked up in tables of
 * four groups of dimensions by one VPSHUFB. All blocks are looked up in one pass over the tables. A last odd step fills
 * half of a register; the other half is looked up in tables of zeros. Sums are taken as in edges_avx2.c. */
#include "kernel/edges.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define VNNI   __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { LANES = 16, BLOCKS_MAX = KI_EDGES_MAX / 16, HALF_STEP = KI_EDGES_STEP_BYTES / 2 };

INLINE __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

/* Two runs of 32 bytes. */
INLINE __m512i load_both(const uint8_t *a, const uint8_t *b) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(load(a)), load(b), 1);
}

INLINE __m512i load_one(const uint8_t *a) {
    return _mm512_inserti64x4(_mm512_setzero_si512(), load(a), 0);
}

/* ---- Estimates --------------------------------------------------------------------------------------------------- */

/* The sums of one block so far. */
struct sums {
    __m512i words, odd;
};

INLINE void look_up(struct sums *sums, __m512i codes, __m512i low, __m512i high) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i first = _mm512_shuffle_epi8(low, _mm512_and_si512(codes, nibble));
    const __m512i second = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble));
    const __m512i bytes = _mm512_add_epi8(first, second);
    sums->words = _mm512_add_epi16(sums->words, bytes);
    sums->odd = _mm512_add_epi16(sums->odd, _mm512_srli_epi16(bytes, 8));
}

/* `count` blocks from `codes` on, block_bytes apart. */
INLINE void sum_blocks(const uint8_t *codes, size_t block_bytes, const uint8_t *table, size_t steps, unsigned count,
                       const uint8_t *fetch, struct sums *sums) {
    size_t s = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; i++) sums[i].words = sums[i].odd = _mm512_setzero_si512();
    for (; s + 2 <= steps; s += 2, codes += 64, fetch += 64, table += 2 * KI_EDGES_STEP_BYTES) {
        const __m512i low = load_both(table, table + KI_EDGES_STEP_BYTES);
        const __m512i high = load_both(table + HALF_STEP, table + KI_EDGES_STEP_BYTES + HALF_STEP);
#pragma GCC unroll 4
        for (unsigned i = 0; i < count; i++) {
            _mm_prefetch((const char *)fetch + i * block_bytes, _MM_HINT_T1);
            look_up(&sums[i], _mm512_loadu_si512((const void *)(codes + i * block_bytes)), low, high);
        }
    }
    if (s == steps) return;
    const __m512i low = load_one(table), high = load_one(table + HALF_STEP);
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; i++) look_up(&sums[i], load_one(codes + i * block_bytes), low, high);
}

INLINE __m128i fold(__m512i v) {
    const __m256i half = _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* 2^plane times the sums of a block, less the 60s (E1), in the order of the neighbours. */
INLINE __m512i total_of(const struct sums *sums, size_t steps, unsigned plane) {
    const __m256i less = _mm256_set1_epi16((short)(uint16_t)(KI_EDGES_BIAS * 4 * steps));
    const __m128i odd = fold(sums->odd), even = _mm_sub_epi16(fold(sums->words), _mm_slli_epi16(odd, 8));
    const __m256i words = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(even, odd)),
                                                  _mm_unpackhi_epi16(even, odd), 1);
    return _mm512_slli_epi32(_mm512_cvtepi16_epi32(_mm256_sub_epi16(words, less)), plane);
}

/* The estimates of a block; those below. */
INLINE uint64_t finish(const ki_edges *e, unsigned block, __m512i total, float *out) {
    const unsigned n = LANES * block;
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(e->unit));
    const __m512 base = _mm512_add_ps(_mm512_set1_ps(e->base), _mm512_loadu_ps(e->add + n));
    const __m512 d = _mm512_fmadd_ps(_mm512_loadu_ps(e->mul + n), product, base);
    _mm512_storeu_ps(out + n, d);
    return (uint64_t)_mm512_cmp_ps_mask(d, _mm512_set1_ps(e->below), _CMP_LT_OQ) << n;
}

INLINE uint64_t estimate_blocks(const ki_edges *e, unsigned count, float *out) {
    const size_t block_bytes = e->steps * HALF_STEP;
    const uint8_t *codes = e->codes;
    __m512i totals[BLOCKS_MAX];
    uint64_t mask = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; i++) totals[i] = _mm512_setzero_si512();
    for (unsigned b = 0; b < e->planes; b++, codes += count * block_bytes) {
        struct sums sums[BLOCKS_MAX];
        sum_blocks(codes, block_bytes, e->table, e->steps, count, e->fetch + (codes - e->codes), sums);
#pragma GCC unroll 4
        for (unsigned i = 0; i < count; i++) totals[i] = _mm512_add_epi32(totals[i], total_of(&sums[i], e->steps, b));
    }
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; i++) mask |= finish(e, i, totals[i], out);
    return mask;
}

/* Each number of blocks for itself, so that all sums stay in registers. */
TARGET static uint64_t estimate_avx512(const ki_edges *e, float *out) {
    if (e->blocks == 2) return estimate_blocks(e, 2, out);
    if (e->blocks == 3) return estimate_blocks(e, 3, out);
    return e->blocks == 4 ? estimate_blocks(e, 4, out) : estimate_blocks(e, 1, out);
}

/* ---- A query ----------------------------------------------------------------------------------------------------- */

/* Of a NaN and a number VMAXPS takes its second operand. */
TARGET static float largest_avx512(const float *x, size_t count) {
    __m512 most = _mm512_setzero_ps();
    for (size_t i = 0; i < count; i += LANES) most = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i)), most);
    return _mm512_reduce_max_ps(most);
}

INLINE __m512i whole_of(const float *x, float inverse) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse)));
}

TARGET static void wide_avx512(const float *x, float inverse, size_t count, int16_t *to) {
    for (size_t i = 0; i < count; i += LANES)
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm512_cvtepi32_epi16(whole_of(x + i, inverse)));
}

/* Number i of each group of four in all bytes of its table, less where the patterns lack bit i. */
TARGET static void table_avx512(const float *x, float inverse, size_t steps, uint8_t *table) {
    static const __mmask64 lacks[4] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f, 0x00ff00ff00ff00ff};
    const __m512i zero = _mm512_setzero_si512();
    const __m512i at =
        _mm512_setr_epi32(0, 0, 0, 0, 0x04040404, 0x04040404, 0x04040404, 0x04040404, 0x08080808, 0x08080808,
                          0x08080808, 0x08080808, 0x0c0c0c0c, 0x0c0c0c0c, 0x0c0c0c0c, 0x0c0c0c0c);
    for (size_t s = 0; s < steps; s++, x += LANES, table += KI_EDGES_STEP_BYTES) {
        const __m512i z = _mm512_broadcast_i32x4(_mm512_cvtepi32_epi8(whole_of(x, inverse)));
        __m512i sum = _mm512_set1_epi8(KI_EDGES_BIAS);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m512i number = _mm512_shuffle_epi8(z, _mm512_add_epi8(at, _mm512_set1_epi8((char)i)));
            sum = _mm512_add_epi8(sum, _mm512_mask_sub_epi8(number, lacks[i], zero, number));
        }
        _mm512_storeu_si512((void *)table, sum);
    }
}

/* ---- Products and places ----------------------------------------------------------------------------------------- */

INLINE int32_t sum_of(__m256i v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* The sums so far of 32 at a time, and the last 16 where they are left. */
INLINE int32_t dot_end(__m512i sum, const int8_t *x, const int16_t *q, size_t i, size_t count) {
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    if (i < count) {
        const __m256i last = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x + i)));
        half = _mm256_add_epi32(half, _mm256_madd_epi16(last, load(q + i)));
    }
    return sum_of(half);
}

TARGET static int32_t dot_avx512(const int8_t *x, const int16_t *q, size_t count) {
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m512i wide = _mm512_cvtepi8_epi16(load(x + i));
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(wide, _mm512_loadu_si512((const void *)(q + i))));
    }
    return dot_end(sum, x, q, i, count);
}

VNNI static int32_t dot_vnni(const int8_t *x, const int16_t *q, size_t count) {
    __m512i a = _mm512_setzero_si512(), b = a;
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        a = _mm512_dpwssd_epi32(a, _mm512_cvtepi8_epi16(load(x + i)), _mm512_loadu_si512((const void *)(q + i)));
        b = _mm512_dpwssd_epi32(b, _mm512_cvtepi8_epi16(load(x + i + 32)),
                                _mm512_loadu_si512((const void *)(q + i + 32)));
    }
    if (i + 32 <= count) {
        a = _mm512_dpwssd_epi32(a, _mm512_cvtepi8_epi16(load(x + i)), _mm512_loadu_si512((const void *)(q + i)));
        i += 32;
    }
    return dot_end(_mm512_add_epi32(a, b), x, q, i, count);
}

/* The least value of each lane so far, and where it was met first. */
struct least {
    __m512 value;
    __m512i at;
};

INLINE void look_at(struct least *least, __m512 values, __m512i at) {
    const __mmask16 less = _mm512_cmp_ps_mask(values, least->value, _CMP_LT_OQ);
    least->value = _mm512_mask_mov_ps(least->value, less, values);
    least->at = _mm512_mask_mov_epi32(least->at, less, at);
}

TARGET static size_t least_avx512(const float *values, size_t count) {
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    struct least least = {_mm512_set1_ps(INFINITY), at};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES, at = _mm512_add_epi32(at, _mm512_set1_epi32(LANES)))
        look_at(&least, _mm512_loadu_ps(values + i), at);
    const __mmask16 left = (__mmask16)((1u << (count - i)) - 1);
    if (left) look_at(&least, _mm512_mask_mov_ps(least.value, left, _mm512_maskz_loadu_ps(left, values + i)), at);
    const float value = _mm512_reduce_min_ps(least.value);
    const __mmask16 equal = _mm512_cmp_ps_mask(least.value, _mm512_set1_ps(value), _CMP_EQ_OQ);
    return _mm512_reduce_min_epu32(_mm512_mask_mov_epi32(_mm512_set1_epi32(-1), equal, least.at));
}

void ki_edges_fill_avx512(uint32_t features, ki_edges_kernels *table) {
    if (!(features & KI_AVX512)) return;
    *table = (ki_edges_kernels){.largest = largest_avx512,
                                .wide = wide_avx512,
                                .table = table_avx512,
                                .estimate = estimate_avx512,
                                .dot = features & KI_AVX512VNNI ? dot_vnni : dot_avx512,
                                .least = least_avx512};
}

#else
void ki_edges_fill_avx512(uint32_t features, ki_edges_kernels *table) {
    (void)features;
    (void)table;
}
#endif
