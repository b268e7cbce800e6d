/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan of product codes by 256-bit registers. Half a row is a register, whose two lanes are looked up in the tables
 * of two sub-quantisers by one VPSHUFB. Both halves add to the same sums, so that a query needs two accumulators: the
 * 16-bit words as they lie, in which a vector of even number has its sum and one of odd number adds 256 times its own,
 * and the odd bytes shifted down; the difference is exact modulo 2^16. Four queries take 8 of the 16 registers.
 *
 * 8-bit codes: sixteen shuffles, one for each high nibble. An index whose high nibble is not the wanted one gets its
 * top bit set, for which VPSHUFB gives 0, so the results are joined by OR. */
#include "kernel/pq_scan.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { WIDTH = 4, LANES = 8 };

INLINE __m256i load(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* A query's sums so far. */
struct sums {
    __m256i words, odd;
};

INLINE void add_bytes(struct sums *sums, __m256i bytes) {
    sums->words = _mm256_add_epi16(sums->words, bytes);
    sums->odd = _mm256_add_epi16(sums->odd, _mm256_srli_epi16(bytes, 8));
}

INLINE __m256i low_nibbles(__m256i codes) {
    return _mm256_and_si256(codes, _mm256_set1_epi8(15));
}

INLINE __m256i high_nibbles(__m256i codes) {
    return low_nibbles(_mm256_srli_epi16(codes, 4));
}

/* The entries of both nibbles of half a row. */
INLINE __m256i look_up(const uint8_t *table, __m256i low, __m256i high) {
    return _mm256_add_epi8(_mm256_shuffle_epi8(load(table), low),
                           _mm256_shuffle_epi8(load(table + KI_PQ_TABLE4 / 2), high));
}

INLINE void sums4(const uint8_t *codes, size_t rows, const uint8_t *const *tables, unsigned count, struct sums *sums) {
    size_t j = 0;
    for (; j + 2 <= rows; j += 2)
#pragma GCC unroll 2
        for (size_t half = 0; half < 64; half += 32) {
            const __m256i a = load(codes + j * KI_QUAD_BYTES + half), b = load(codes + (j + 1) * KI_QUAD_BYTES + half);
            const __m256i a_low = low_nibbles(a), a_high = high_nibbles(a);
            const __m256i b_low = low_nibbles(b), b_high = high_nibbles(b);
#pragma GCC unroll 4
            for (unsigned q = 0; q < count; q++) {
                const uint8_t *table = tables[q] + j * KI_PQ_TABLE4 + half;
                add_bytes(&sums[q],
                          _mm256_add_epi8(look_up(table, a_low, a_high), look_up(table + KI_PQ_TABLE4, b_low, b_high)));
            }
        }
    if (j < rows)
        for (size_t half = 0; half < 64; half += 32) {
            const __m256i a = load(codes + j * KI_QUAD_BYTES + half);
            const __m256i a_low = low_nibbles(a), a_high = high_nibbles(a);
#pragma GCC unroll 4
            for (unsigned q = 0; q < count; q++)
                add_bytes(&sums[q], look_up(tables[q] + j * KI_PQ_TABLE4 + half, a_low, a_high));
        }
}

INLINE void sums8(const uint8_t *codes, size_t rows, const uint8_t *const *tables, unsigned count, struct sums *sums) {
    const __m256i limit = _mm256_set1_epi8(0x70);
    for (size_t at = 0; at < rows * KI_QUAD_BYTES; at += 32) {
        const __m256i row = load(codes + at);
        const size_t first = at / KI_QUAD_BYTES * KI_PQ_TABLE8 + at % KI_QUAD_BYTES;
        __m256i found[WIDTH];
#pragma GCC unroll 16
        for (int high = 0; high < 16; high++) {
            const __m256i index = _mm256_adds_epu8(_mm256_xor_si256(row, _mm256_set1_epi8((char)(high * 16))), limit);
#pragma GCC unroll 4
            for (unsigned q = 0; q < count; q++) {
                const __m256i entry = _mm256_shuffle_epi8(load(tables[q] + first + (size_t)high * 64), index);
                found[q] = high ? _mm256_or_si256(found[q], entry) : entry;
            }
        }
#pragma GCC unroll 4
        for (unsigned q = 0; q < count; q++) add_bytes(&sums[q], found[q]);
    }
}

INLINE __m128i fold(__m256i v) {
    return _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* Scores of eight vectors; the mask of those that reach the need. */
INLINE unsigned finish_half(const ki_pq_scan *scan, unsigned q, const float *factors, __m128i sum, float *score) {
    const __m256 sums = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(sum));
    const __m256 estimate = _mm256_fmadd_ps(sums, _mm256_set1_ps(scan->delta[q]), _mm256_set1_ps(scan->low[q]));
    const __m256 s = _mm256_fmadd_ps(estimate, _mm256_loadu_ps(factors + KI_FACTOR_SCALE),
                                     _mm256_loadu_ps(factors + KI_FACTOR_BIAS));
    _mm256_storeu_ps(score, s);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, _mm256_set1_ps(scan->need[q]), _CMP_GE_OQ));
}

INLINE size_t scan_any(int bits, unsigned count, const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    size_t block = first, n = *used;
    for (; block < end && n + KI_PQ_WIDTH_MAX <= capacity; block++) {
        const uint8_t *codes = scan->codes + block * scan->rows * KI_QUAD_BYTES;
        const float *factors = scan->factors + block * KI_FACTORS;
        struct sums sums[WIDTH];
#pragma GCC unroll 4
        for (unsigned q = 0; q < count; q++) sums[q].words = sums[q].odd = _mm256_setzero_si256();
        if (bits == 4)
            sums4(codes, scan->rows, scan->tables, count, sums);
        else
            sums8(codes, scan->rows, scan->tables, count, sums);
#pragma GCC unroll 4
        for (unsigned q = 0; q < count; q++) {
            const __m128i odd = fold(sums[q].odd);
            const __m128i even = _mm_sub_epi16(fold(sums[q].words), _mm_slli_epi16(odd, 8));
            const unsigned mask =
                finish_half(scan, q, factors, _mm_unpacklo_epi16(even, odd), scores[n]) |
                finish_half(scan, q, factors + LANES, _mm_unpackhi_epi16(even, odd), scores[n] + LANES) << LANES;
            ki_tile_note(&hits[n], block, q, mask);
            n += mask != 0;
        }
    }
    *used = n;
    return block;
}

TARGET static size_t score4_avx2(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
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

TARGET static size_t score8_avx2(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                                 float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    switch (scan->count) {
    case 1:
        return scan_any(8, 1, scan, first, end, hits, scores, capacity, used);
    case 2:
        return scan_any(8, 2, scan, first, end, hits, scores, capacity, used);
    case 3:
        return scan_any(8, 3, scan, first, end, hits, scores, capacity, used);
    default:
        return scan_any(8, 4, scan, first, end, hits, scores, capacity, used);
    }
}

/* ---- Float passes ------------------------------------------------------------------------------------------------ */

/* acc[i] += x[j] * book[j][8i..], in ascending j. */
INLINE void chains(const float *x, const float *book, size_t dim, size_t columns, unsigned count, __m256 *acc) {
    for (size_t j = 0; j < dim; j++, book += columns) {
        const __m256 value = _mm256_set1_ps(x[j]);
#pragma GCC unroll 8
        for (unsigned i = 0; i < count; i++) acc[i] = _mm256_fmadd_ps(value, _mm256_loadu_ps(book + LANES * i), acc[i]);
    }
}

INLINE __m256 greatest(__m256 v) {
    v = _mm256_max_ps(v, _mm256_permute2f128_ps(v, v, 1));
    v = _mm256_max_ps(v, _mm256_permute_ps(v, 0x4e));
    return _mm256_max_ps(v, _mm256_permute_ps(v, 0xb1));
}

INLINE __m256 least_of(__m256 v) {
    v = _mm256_min_ps(v, _mm256_permute2f128_ps(v, v, 1));
    v = _mm256_min_ps(v, _mm256_permute_ps(v, 0x4e));
    return _mm256_min_ps(v, _mm256_permute_ps(v, 0xb1));
}

INLINE void products_step(const float *x, const float *book, size_t dim, size_t columns, unsigned count, float *out,
                          __m256 *low, __m256 *high) {
    const __m256 most = _mm256_set1_ps(KI_PQ_PRODUCT_MAX), least = _mm256_set1_ps(-KI_PQ_PRODUCT_MAX);
    __m256 acc[8];
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) acc[i] = _mm256_setzero_ps();
    chains(x, book, dim, columns, count, acc);
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) {
        acc[i] = _mm256_max_ps(_mm256_min_ps(acc[i], most), least);
        *low = _mm256_min_ps(acc[i], *low);
        *high = _mm256_max_ps(acc[i], *high);
        _mm256_storeu_ps(out + LANES * i, acc[i]);
    }
}

TARGET static void products_avx2(const float *x, const float *book, size_t dim, size_t columns, float *out, float *low,
                                 float *high) {
    __m256 least = _mm256_set1_ps(KI_PQ_PRODUCT_MAX), most = _mm256_set1_ps(-KI_PQ_PRODUCT_MAX);
    size_t k = 0;
    for (; k + 64 <= columns; k += 64) products_step(x, book + k, dim, columns, 8, out + k, &least, &most);
    for (; k < columns; k += 16) products_step(x, book + k, dim, columns, 2, out + k, &least, &most);
    *low = _mm256_cvtss_f32(least_of(least));
    *high = _mm256_cvtss_f32(greatest(most));
}

/* The best value of each lane so far, and its number. */
struct best {
    __m256 value;
    __m256i at;
};

INLINE void nearest_step(const float *x, const float *book, const float *bias, size_t dim, size_t columns,
                         unsigned count, size_t k, struct best *best) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 acc[8];
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) acc[i] = _mm256_loadu_ps(bias + k + LANES * i);
    chains(x, book + k, dim, columns, count, acc);
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) {
        const __m256 better = _mm256_cmp_ps(acc[i], best->value, _CMP_GT_OQ);
        const __m256i at = _mm256_add_epi32(lanes, _mm256_set1_epi32((int)(k + LANES * i)));
        best->value = _mm256_blendv_ps(best->value, acc[i], better);
        best->at = _mm256_blendv_epi8(best->at, at, _mm256_castps_si256(better));
    }
}

TARGET static unsigned nearest_avx2(const float *x, const float *book, const float *bias, size_t dim, size_t columns,
                                    float *value) {
    struct best best = {_mm256_set1_ps(-INFINITY), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)};
    size_t k = 0;
    for (; k + 64 <= columns; k += 64) nearest_step(x, book, bias, dim, columns, 8, k, &best);
    for (; k < columns; k += 16) nearest_step(x, book, bias, dim, columns, 2, k, &best);
    const __m256 top = greatest(best.value);
    const __m256i equal = _mm256_castps_si256(_mm256_cmp_ps(best.value, top, _CMP_EQ_OQ));
    const __m256i at = _mm256_or_si256(best.at, _mm256_andnot_si256(equal, _mm256_set1_epi32(-1)));
    __m128i first = _mm_min_epu32(_mm256_castsi256_si128(at), _mm256_extracti128_si256(at, 1));
    first = _mm_min_epu32(first, _mm_shuffle_epi32(first, 0x4e));
    first = _mm_min_epu32(first, _mm_shuffle_epi32(first, 0xb1));
    *value = _mm256_cvtss_f32(top);
    return (unsigned)_mm_cvtsi128_si32(first);
}

TARGET static void to_bytes_avx2(const float *values, float low, float inverse, uint8_t *out) {
    const __m256 least = _mm256_set1_ps(low), times = _mm256_set1_ps(inverse);
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(values), least), times));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(values + LANES), least), times));
    const __m128i low_words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i high_words = _mm_packs_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
    _mm_storeu_si128((__m128i *)(void *)out, _mm_packus_epi16(low_words, high_words));
}

void ki_pq_fill_avx2(uint32_t features, ki_pq_kernels *table) {
    if (!(features & KI_AVX2)) return;
    *table = (ki_pq_kernels){.width = WIDTH,
                             .score4 = score4_avx2,
                             .score8 = score8_avx2,
                             .products = products_avx2,
                             .nearest = nearest_avx2,
                             .to_bytes = to_bytes_avx2};
}

#else
void ki_pq_fill_avx2(uint32_t features, ki_pq_kernels *table) {
    (void)features;
    (void)table;
}
#endif
