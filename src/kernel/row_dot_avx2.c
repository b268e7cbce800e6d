/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of rows for AVX2. Two chains a row would gain nothing: four rows give the multiplier enough to do.
 *
 * Any thread, on a processor with KI_AVX2. */
#include "kernel/row_dot.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE __m256i step(__m256i sum, const int8_t *x, __m256i q) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(wide, q));
}

TARGET static void dot4_avx2(const int8_t *const x[4], const int16_t *q, size_t count, int32_t out[4]) {
    const int8_t *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < count; i += 16) {
        const __m256i z = _mm256_loadu_si256((const __m256i *)(const void *)(q + i));
        a = step(a, x0 + i, z);
        b = step(b, x1 + i, z);
        c = step(c, x2 + i, z);
        d = step(d, x3 + i, z);
    }
    /* Pairs are added across, so that lane r of each half is row r's. */
    const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    const __m128i all = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storeu_si128((__m128i *)(void *)out, all);
}

void ki_row_dot_fill_avx2(uint32_t features, ki_row_dot_kernels *table) {
    if (features & KI_AVX2) *table = (ki_row_dot_kernels){dot4_avx2};
}

#else
void ki_row_dot_fill_avx2(uint32_t features, ki_row_dot_kernels *table) {
    (void)features;
    (void)table;
}
#endif
