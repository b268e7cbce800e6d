/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of rows for AVX-512: 32 elements of each row at a time, by VPDPWSSD where the processor has it.
 *
 * Any thread, on a processor with KI_AVX512. */
#include "kernel/row_dot.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define VNNI   __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE static inline __attribute__((always_inline))

TARGET INLINE __m512i widen(const int8_t *x) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)x));
}

TARGET INLINE __m512i load_query(const int16_t *q) {
    return _mm512_loadu_si512((const void *)q);
}

TARGET INLINE __m256i halve(__m512i v) {
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

/* Pairs are added across, so that lane r of each half is row r's. */
TARGET INLINE void put_sums(__m512i a, __m512i b, __m512i c, __m512i d, int32_t out[4]) {
    const __m256i sums =
        _mm256_hadd_epi32(_mm256_hadd_epi32(halve(a), halve(b)), _mm256_hadd_epi32(halve(c), halve(d)));
    const __m128i all = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storeu_si128((__m128i *)(void *)out, all);
}

TARGET static void dot4_avx512(const int8_t *const x[4], const int16_t *q, size_t count, int32_t out[4]) {
    const int8_t *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < count; i += KI_ROW_DOT_STEP) {
        const __m512i z = load_query(q + i);
        a = _mm512_add_epi32(a, _mm512_madd_epi16(widen(x0 + i), z));
        b = _mm512_add_epi32(b, _mm512_madd_epi16(widen(x1 + i), z));
        c = _mm512_add_epi32(c, _mm512_madd_epi16(widen(x2 + i), z));
        d = _mm512_add_epi32(d, _mm512_madd_epi16(widen(x3 + i), z));
    }
    put_sums(a, b, c, d, out);
}

VNNI static void dot4_vnni(const int8_t *const x[4], const int16_t *q, size_t count, int32_t out[4]) {
    const int8_t *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < count; i += KI_ROW_DOT_STEP) {
        const __m512i z = load_query(q + i);
        a = _mm512_dpwssd_epi32(a, widen(x0 + i), z);
        b = _mm512_dpwssd_epi32(b, widen(x1 + i), z);
        c = _mm512_dpwssd_epi32(c, widen(x2 + i), z);
        d = _mm512_dpwssd_epi32(d, widen(x3 + i), z);
    }
    put_sums(a, b, c, d, out);
}

void ki_row_dot_fill_avx512(uint32_t features, ki_row_dot_kernels *table) {
    if (!(features & KI_AVX512)) return;
    *table = (ki_row_dot_kernels){features & KI_AVX512VNNI ? dot4_vnni : dot4_avx512};
}

#else
void ki_row_dot_fill_avx512(uint32_t features, ki_row_dot_kernels *table) {
    (void)features;
    (void)table;
}
#endif
