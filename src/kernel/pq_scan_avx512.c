/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan of product codes by 512-bit registers: a row is a register, and VPSHUFB looks its four lanes up in the
 * tables of four sub-quantisers. The sums are those of pq_scan_avx2.c. Eight queries take 16 of the 32 registers. */
#include "kernel/pq_scan.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { WIDTH = KI_PQ_WIDTH_MAX, LANES = 16 };

/* A query's sums so far. */
struct sums {
    __m512i words, odd;
};

INLINE void add_bytes(struct sums *sums, __m512i bytes) {
    sums->words = _mm512_add_epi16(sums->words, bytes);
    sums->odd = _mm512_add_epi16(sums->odd, _mm512_srli_epi16(bytes, 8));
}

INLINE __m512i low_nibbles(__m512i codes) {
    return _mm512_and_si512(codes, _mm512_set1_epi8(15));
}

INLINE __m512i high_nibbles(__m512i codes) {
    return low_nibbles(_mm512_srli_epi16(codes, 4));
}

/* The entries of both nibbles of a row. */
INLINE __m512i look_up(const uint8_t *table, __m512i low, __m512i high) {
    return _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_loadu_si512(table), low),
                           _mm512_shuffle_epi8(_mm512_loadu_si512(table + KI_PQ_TABLE4 / 2), high));
}

INLINE void sums4(const uint8_t *codes, size_t rows, const uint8_t *const *tables, unsigned count, struct sums *sums) {
    size_t j = 0;
    for (; j + 2 <= rows; j += 2) {
        const __m512i a = _mm512_loadu_si512(codes + j * KI_QUAD_BYTES);
        const __m512i b = _mm512_loadu_si512(codes + (j + 1) * KI_QUAD_BYTES);
        const __m512i a_low = low_nibbles(a), a_high = high_nibbles(a);
        const __m512i b_low = low_nibbles(b), b_high = high_nibbles(b);
#pragma GCC unroll 8
        for (unsigned q = 0; q < count; q++) {
            const uint8_t *table = tables[q] + j * KI_PQ_TABLE4;
            add_bytes(&sums[q],
                      _mm512_add_epi8(look_up(table, a_low, a_high), look_up(table + KI_PQ_TABLE4, b_low, b_high)));
        }
    }
    if (j < rows) {
        const __m512i a = _mm512_loadu_si512(codes + j * KI_QUAD_BYTES);
        const __m512i a_low = low_nibbles(a), a_high = high_nibbles(a);
#pragma GCC unroll 8
        for (unsigned q = 0; q < count; q++) add_bytes(&sums[q], look_up(tables[q] + j * KI_PQ_TABLE4, a_low, a_high));
    }
}

INLINE void sums8(const uint8_t *codes, size_t rows, const uint8_t *const *tables, unsigned count, struct sums *sums) {
    const __m512i limit = _mm512_set1_epi8(0x70);
    for (size_t j = 0; j < rows; j++) {
        const __m512i row = _mm512_loadu_si512(codes + j * KI_QUAD_BYTES);
        __m512i found[WIDTH];
#pragma GCC unroll 16
        for (int high = 0; high < 16; high++) {
            const __m512i index = _mm512_adds_epu8(_mm512_xor_si512(row, _mm512_set1_epi8((char)(high * 16))), limit);
#pragma GCC unroll 8
            for (unsigned q = 0; q < count; q++) {
                const uint8_t *table = tables[q] + j * KI_PQ_TABLE8 + (size_t)high * 64;
                const __m512i entry = _mm512_shuffle_epi8(_mm512_loadu_si512(table), index);
                found[q] = high ? _mm512_or_si512(found[q], entry) : entry;
            }
        }
#pragma GCC unroll 8
        for (unsigned q = 0; q < count; q++) add_bytes(&sums[q], found[q]);
    }
}

INLINE __m128i fold(__m512i v) {
    const __m256i half = _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* The sixteen sums, in the order of the vectors. */
INLINE __m512i unfold(const struct sums *sums) {
    const __m128i odd = fold(sums->odd);
    const __m128i even = _mm_sub_epi16(fold(sums->words), _mm_slli_epi16(odd, 8));
    const __m256i words = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(even, odd)),
                                                  _mm_unpackhi_epi16(even, odd), 1);
    return _mm512_cvtepu16_epi32(words);
}

INLINE size_t scan_any(int bits, unsigned count, const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    size_t block = first, n = *used;
    for (; block < end && n + KI_PQ_WIDTH_MAX <= capacity; block++) {
        const uint8_t *codes = scan->codes + block * scan->rows * KI_QUAD_BYTES;
        const float *factors = scan->factors + block * KI_FACTORS;
        const __m512 scale = _mm512_loadu_ps(factors + KI_FACTOR_SCALE);
        const __m512 bias = _mm512_loadu_ps(factors + KI_FACTOR_BIAS);
        struct sums sums[WIDTH];
#pragma GCC unroll 8
        for (unsigned q = 0; q < count; q++) sums[q].words = sums[q].odd = _mm512_setzero_si512();
        if (bits == 4)
            sums4(codes, scan->rows, scan->tables, count, sums);
        else
            sums8(codes, scan->rows, scan->tables, count, sums);
#pragma GCC unroll 8
        for (unsigned q = 0; q < count; q++) {
            const __m512 sum = _mm512_cvtepi32_ps(unfold(&sums[q]));
            const __m512 estimate = _mm512_fmadd_ps(sum, _mm512_set1_ps(scan->delta[q]), _mm512_set1_ps(scan->low[q]));
            const __m512 score = _mm512_fmadd_ps(estimate, scale, bias);
            const unsigned mask = _mm512_cmp_ps_mask(score, _mm512_set1_ps(scan->need[q]), _CMP_GE_OQ);
            _mm512_storeu_ps(scores[n], score);
            ki_tile_note(&hits[n], block, q, mask);
            n += mask != 0;
        }
    }
    *used = n;
    return block;
}

/* One function for each number of queries, so that all sums stay in registers. */
#define SCAN(bits, count)                                                                                              \
    TARGET static size_t scan##bits##_##count(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,     \
                                              float(*scores)[KI_BLOCK], size_t capacity, size_t *used) {               \
        return scan_any(bits, count, scan, first, end, hits, scores, capacity, used);                                  \
    }
#define SCANS(bits)                                                                                                    \
    SCAN(bits, 1)                                                                                                      \
    SCAN(bits, 2)                                                                                                      \
    SCAN(bits, 3)                                                                                                      \
    SCAN(bits, 4)                                                                                                      \
    SCAN(bits, 5)                                                                                                      \
    SCAN(bits, 6)                                                                                                      \
    SCAN(bits, 7)                                                                                                      \
    SCAN(bits, 8)

SCANS(4)
SCANS(8)

static size_t score4_avx512(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                            float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    static ki_pq_score_fn *const of_count[WIDTH] = {scan4_1, scan4_2, scan4_3, scan4_4,
                                                    scan4_5, scan4_6, scan4_7, scan4_8};
    return of_count[scan->count - 1](scan, first, end, hits, scores, capacity, used);
}

static size_t score8_avx512(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                            float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    static ki_pq_score_fn *const of_count[WIDTH] = {scan8_1, scan8_2, scan8_3, scan8_4,
                                                    scan8_5, scan8_6, scan8_7, scan8_8};
    return of_count[scan->count - 1](scan, first, end, hits, scores, capacity, used);
}

/* ---- Float passes ------------------------------------------------------------------------------------------------ */

/* acc[i] += x[j] * book[j][16i..], in ascending j. */
INLINE void chains(const float *x, const float *book, size_t dim, size_t columns, unsigned count, __m512 *acc) {
    for (size_t j = 0; j < dim; j++, book += columns) {
        const __m512 value = _mm512_set1_ps(x[j]);
#pragma GCC unroll 8
        for (unsigned i = 0; i < count; i++) acc[i] = _mm512_fmadd_ps(value, _mm512_loadu_ps(book + LANES * i), acc[i]);
    }
}

INLINE void products_step(const float *x, const float *book, size_t dim, size_t columns, unsigned count, float *out,
                          __m512 *low, __m512 *high) {
    const __m512 most = _mm512_set1_ps(KI_PQ_PRODUCT_MAX), least = _mm512_set1_ps(-KI_PQ_PRODUCT_MAX);
    __m512 acc[8];
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) acc[i] = _mm512_setzero_ps();
    chains(x, book, dim, columns, count, acc);
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) {
        acc[i] = _mm512_max_ps(_mm512_min_ps(acc[i], most), least);
        *low = _mm512_min_ps(acc[i], *low);
        *high = _mm512_max_ps(acc[i], *high);
        _mm512_storeu_ps(out + LANES * i, acc[i]);
    }
}

TARGET static void products_avx512(const float *x, const float *book, size_t dim, size_t columns, float *out,
                                   float *low, float *high) {
    __m512 least = _mm512_set1_ps(KI_PQ_PRODUCT_MAX), most = _mm512_set1_ps(-KI_PQ_PRODUCT_MAX);
    size_t k = 0;
    for (; k + 128 <= columns; k += 128) products_step(x, book + k, dim, columns, 8, out + k, &least, &most);
    for (; k < columns; k += 16) products_step(x, book + k, dim, columns, 1, out + k, &least, &most);
    *low = _mm512_reduce_min_ps(least);
    *high = _mm512_reduce_max_ps(most);
}

/* The best value of each lane so far, and its number. */
struct best {
    __m512 value;
    __m512i at;
};

INLINE __m512i lane_numbers(void) {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

INLINE void nearest_step(const float *x, const float *book, const float *bias, size_t dim, size_t columns,
                         unsigned count, size_t k, struct best *best) {
    __m512 acc[8];
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) acc[i] = _mm512_loadu_ps(bias + k + LANES * i);
    chains(x, book + k, dim, columns, count, acc);
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) {
        const __mmask16 better = _mm512_cmp_ps_mask(acc[i], best->value, _CMP_GT_OQ);
        const __m512i at = _mm512_add_epi32(lane_numbers(), _mm512_set1_epi32((int)(k + LANES * i)));
        best->value = _mm512_mask_mov_ps(best->value, better, acc[i]);
        best->at = _mm512_mask_mov_epi32(best->at, better, at);
    }
}

TARGET static unsigned nearest_avx512(const float *x, const float *book, const float *bias, size_t dim, size_t columns,
                                      float *value) {
    struct best best = {_mm512_set1_ps(-INFINITY), lane_numbers()};
    size_t k = 0;
    for (; k + 128 <= columns; k += 128) nearest_step(x, book, bias, dim, columns, 8, k, &best);
    for (; k < columns; k += 16) nearest_step(x, book, bias, dim, columns, 1, k, &best);
    *value = _mm512_reduce_max_ps(best.value);
    const __mmask16 equal = _mm512_cmp_ps_mask(best.value, _mm512_set1_ps(*value), _CMP_EQ_OQ);
    return _mm512_reduce_min_epu32(_mm512_mask_mov_epi32(_mm512_set1_epi32(-1), equal, best.at));
}

TARGET static void to_bytes_avx512(const float *values, float low, float inverse, uint8_t *out) {
    const __m512 above = _mm512_sub_ps(_mm512_loadu_ps(values), _mm512_set1_ps(low));
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(above, _mm512_set1_ps(inverse)));
    _mm_storeu_si128((__m128i *)(void *)out, _mm512_cvtepi32_epi8(whole));
}

void ki_pq_fill_avx512(uint32_t features, ki_pq_kernels *table) {
    if (!(features & KI_AVX512)) return;
    *table = (ki_pq_kernels){.width = WIDTH,
                             .score4 = score4_avx512,
                             .score8 = score8_avx512,
                             .products = products_avx512,
                             .nearest = nearest_avx512,
                             .to_bytes = to_bytes_avx512};
}

#else
void ki_pq_fill_avx512(uint32_t features, ki_pq_kernels *table) {
    (void)features;
    (void)table;
}
#endif
