/* SPDX-License-Identifier: Apache-2.0
 *
 * Edges by 256-bit registers. A register of codes is a block's half of a step: its lanes are looked up in the tables of
 * two groups of dimensions by one VPSHUFB. Sums are taken as in pq_scan_avx2.c: the 16-bit words as they lie, in which
 * a neighbour of even number has its sum and one of odd number adds 256 times its own, and the odd bytes shifted down.
 *
 * One-bit codes of 32 neighbours, which most graphs have, take both blocks in one pass over the tables. */
#include "kernel/edges.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { LANES = 8 };

INLINE __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The sums of one block so far. */
struct sums {
    __m256i words, odd;
};

INLINE void add_bytes(struct sums *sums, __m256i bytes) {
    sums->words = _mm256_add_epi16(sums->words, bytes);
    sums->odd = _mm256_add_epi16(sums->odd, _mm256_srli_epi16(bytes, 8));
}

/* `count` blocks from `codes` on, block_bytes apart: 16 sums each as words, even neighbours, then odd ones. As many bytes
 * from `fetch` on are asked for. */
INLINE void sum_blocks(const uint8_t *codes, size_t block_bytes, const uint8_t *table, size_t steps, unsigned count,
                       const uint8_t *fetch, struct sums *sums) {
    const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; i++) sums[i].words = sums[i].odd = _mm256_setzero_si256();
    for (size_t s = 0; s < steps; s++, codes += 32, table += KI_EDGES_STEP_BYTES) {
        const __m256i low = load(table), high = load(table + 32);
        _mm_prefetch((const char *)fetch, _MM_HINT_T1);
        fetch += 32 * count;
#pragma GCC unroll 4
        for (unsigned i = 0; i < count; i++) {
            const __m256i c = load(codes + i * block_bytes);
            const __m256i first = _mm256_shuffle_epi8(low, _mm256_and_si256(c, nibble));
            const __m256i second = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble));
            add_bytes(&sums[i], _mm256_add_epi8(first, second));
        }
    }
}

INLINE __m128i fold(__m256i v) {
    return _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* Add 2^plane times the sums of a block, less the 60s (E1), to its 16 totals. */
INLINE void add_totals(const struct sums *sums, size_t steps, unsigned plane, __m256i totals[2]) {
    const __m128i less = _mm_set1_epi16((short)(uint16_t)(KI_EDGES_BIAS * 4 * steps));
    const __m128i odd = fold(sums->odd), even = _mm_sub_epi16(fold(sums->words), _mm_slli_epi16(odd, 8));
    const __m256i a = _mm256_cvtepi16_epi32(_mm_sub_epi16(_mm_unpacklo_epi16(even, odd), less));
    const __m256i b = _mm256_cvtepi16_epi32(_mm_sub_epi16(_mm_unpackhi_epi16(even, odd), less));
    totals[0] = _mm256_add_epi32(totals[0], _mm256_slli_epi32(a, (int)plane));
    totals[1] = _mm256_add_epi32(totals[1], _mm256_slli_epi32(b, (int)plane));
}

/* The estimates of eight neighbours; those below. */
INLINE unsigned finish(const ki_edges *e, unsigned n, __m256i total, float *out) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(total), _mm256_set1_ps(e->unit));
    const __m256 base = _mm256_add_ps(_mm256_set1_ps(e->base), _mm256_loadu_ps(e->add + n));
    const __m256 d = _mm256_fmadd_ps(_mm256_loadu_ps(e->mul + n), product, base);
    _mm256_storeu_ps(out + n, d);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(d, _mm256_set1_ps(e->below), _CMP_LT_OQ));
}

INLINE uint64_t estimate_blocks(const ki_edges *e, unsigned first, unsigned count, unsigned planes, float *out) {
    const size_t block_bytes = e->steps * 32, plane_bytes = block_bytes * e->blocks;
    const uint8_t *codes = e->codes + first * block_bytes, *fetch = e->fetch + first * block_bytes;
    __m256i totals[2][2];
    uint64_t mask = 0;
    for (unsigned i = 0; i < count; i++) totals[i][0] = totals[i][1] = _mm256_setzero_si256();
    for (unsigned b = 0; b < planes; b++, codes += plane_bytes, fetch += plane_bytes) {
        struct sums sums[2];
        sum_blocks(codes, block_bytes, e->table, e->steps, count, fetch, sums);
#pragma GCC unroll 2
        for (unsigned i = 0; i < count; i++) add_totals(&sums[i], e->steps, b, totals[i]);
    }
#pragma GCC unroll 2
    for (unsigned i = 0; i < count; i++) {
        const unsigned n = 16 * (first + i);
        const unsigned below = finish(e, n, totals[i][0], out) | finish(e, n + LANES, totals[i][1], out) << LANES;
        mask |= (uint64_t)below << n;
    }
    return mask;
}

TARGET static uint64_t estimate_avx2(const ki_edges *e, float *out) {
    if (e->blocks == 2 && e->planes == 1) return estimate_blocks(e, 0, 2, 1, out);
    uint64_t mask = 0;
    unsigned block = 0;
    for (; block + 2 <= e->blocks; block += 2) mask |= estimate_blocks(e, block, 2, e->planes, out);
    if (block < e->blocks) mask |= estimate_blocks(e, block, 1, e->planes, out);
    return mask;
}

/* ---- A query ----------------------------------------------------------------------------------------------------- */

INLINE float greatest_of(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_permute_ps(m, 0x4e));
    m = _mm_max_ps(m, _mm_permute_ps(m, 0xb1));
    return _mm_cvtss_f32(m);
}

/* Of a NaN and a number VMAXPS takes its second operand. */
TARGET static float largest_avx2(const float *x, size_t count) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_setzero_ps();
    for (size_t i = 0; i < count; i += LANES)
        most = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), most);
    return greatest_of(most);
}

/* Sixteen floats as whole numbers, in order. */
INLINE __m256i whole_of(const float *x, __m256 inverse) {
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + LANES), inverse));
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

TARGET static void wide_avx2(const float *x, float inverse, size_t count, int16_t *to) {
    for (size_t i = 0; i < count; i += 16)
        _mm256_storeu_si256((__m256i *)(void *)(to + i), whole_of(x + i, _mm256_set1_ps(inverse)));
}

/* Byte i of each group of four in all sixteen bytes of its table, with the signs that the patterns give it. Two groups
 * at a time. */
TARGET static void table_avx2(const float *x, float inverse, size_t steps, uint8_t *table) {
    const __m256i s0 = _mm256_set1_epi16(0x01ff), s1 = _mm256_set1_epi32(0x0101ffff);
    const __m256i s2 = _mm256_set1_epi64x(0x01010101ffffffff);
    const __m256i s3 = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0101010101010101, -1));
    const __m256i bias = _mm256_set1_epi8(KI_EDGES_BIAS);
    for (size_t s = 0; s < steps; s++, x += 16, table += KI_EDGES_STEP_BYTES) {
        const __m256i words = whole_of(x, _mm256_set1_ps(inverse));
        const __m128i z = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        const __m256i both = _mm256_broadcastsi128_si256(z);
#pragma GCC unroll 2
        for (int pair = 0; pair < 2; pair++) {
            const __m256i at = _mm256_setr_m128i(_mm_set1_epi8((char)(8 * pair)), _mm_set1_epi8((char)(8 * pair + 4)));
            const __m256i one = _mm256_set1_epi8(1), two = _mm256_set1_epi8(2), three = _mm256_set1_epi8(3);
            __m256i sum = _mm256_add_epi8(bias, _mm256_sign_epi8(_mm256_shuffle_epi8(both, at), s0));
            sum = _mm256_add_epi8(sum, _mm256_sign_epi8(_mm256_shuffle_epi8(both, _mm256_add_epi8(at, one)), s1));
            sum = _mm256_add_epi8(sum, _mm256_sign_epi8(_mm256_shuffle_epi8(both, _mm256_add_epi8(at, two)), s2));
            sum = _mm256_add_epi8(sum, _mm256_sign_epi8(_mm256_shuffle_epi8(both, _mm256_add_epi8(at, three)), s3));
            _mm256_storeu_si256((__m256i *)(void *)(table + 32 * pair), sum);
        }
    }
}

/* ---- Products and places ----------------------------------------------------------------------------------------- */

TARGET static int32_t dot_avx2(const int8_t *x, const int16_t *q, size_t count) {
    __m256i a = _mm256_setzero_si256(), b = a;
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m256i first = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x + i)));
        const __m256i second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x + i + 16)));
        a = _mm256_add_epi32(a, _mm256_madd_epi16(first, load(q + i)));
        b = _mm256_add_epi32(b, _mm256_madd_epi16(second, load(q + i + 16)));
    }
    if (i < count) {
        const __m256i last = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x + i)));
        a = _mm256_add_epi32(a, _mm256_madd_epi16(last, load(q + i)));
    }
    a = _mm256_add_epi32(a, b);
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    return _mm_cvtsi128_si32(v);
}

INLINE float least_of(__m256 v) {
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_min_ps(m, _mm_permute_ps(m, 0x4e));
    m = _mm_min_ps(m, _mm_permute_ps(m, 0xb1));
    return _mm_cvtss_f32(m);
}

/* The least value first, then where it is. */
TARGET static size_t least_avx2(const float *values, size_t count) {
    const size_t whole = count / LANES * LANES;
    __m256 low = _mm256_set1_ps(INFINITY);
    for (size_t i = 0; i < whole; i += LANES) low = _mm256_min_ps(low, _mm256_loadu_ps(values + i));
    float least = least_of(low);
    for (size_t i = whole; i < count; i++) least = values[i] < least ? values[i] : least;
    const __m256 wanted = _mm256_set1_ps(least);
    for (size_t i = 0; i < count; i += LANES) {
        const unsigned mask =
            (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(values + i), wanted, _CMP_EQ_OQ));
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
    return 0;
}

void ki_edges_fill_avx2(uint32_t features, ki_edges_kernels *table) {
    if (!(features & KI_AVX2)) return;
    *table = (ki_edges_kernels){largest_avx2, wide_avx2, table_avx2, estimate_avx2, dot_avx2, least_avx2};
}

#else
void ki_edges_fill_avx2(uint32_t features, ki_edges_kernels *table) {
    (void)features;
    (void)table;
}
#endif
