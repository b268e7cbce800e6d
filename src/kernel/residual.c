/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/residual.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { STEP = 16 };

static int32_t dot_scalar(const int8_t *x, const int8_t *y, size_t count) {
    int32_t sum = 0;
    for (size_t j = 0; j < count; j++) sum += x[j] * y[j];
    return sum;
}

static ki_residual_sums signs_scalar(const int8_t *x, const int8_t *y, int16_t w_x, int16_t w_y, size_t count,
                                     uint16_t *sign) {
    ki_residual_sums sums = {.uu = (int32_t)count};
    for (size_t j = 0; j < count; j += STEP) {
        unsigned mask = 0;
        for (unsigned i = 0; i < STEP; i++) {
            const int a = x[j + i], b = y[j + i], up = b * w_y >= a * w_x, u = 2 * up - 1;
            mask |= (unsigned)up << i;
            sums.xy += a * b;
            sums.xu += a * u;
            sums.yu += b * u;
        }
        sign[j / STEP] = (uint16_t)mask;
    }
    return sums;
}

static ki_residual_sums levels_scalar(const int8_t *x, const int8_t *y, float a_x, float a_y, unsigned bits,
                                      size_t count, uint8_t *level) {
    ki_residual_sums sums = {0};
    const int most = (1 << bits) - 1;
    const float half = (float)(1 << (bits - 1));
    for (size_t j = 0; j < count; j++) {
        float at = a_y * (float)y[j] - a_x * (float)x[j] + half;
        at = at > 0 ? at : 0;
        at = at < (float)most ? at : (float)most;
        const int u = 2 * (int)at - most;
        level[j] = (uint8_t)at;
        sums.xy += x[j] * y[j];
        sums.xu += x[j] * u;
        sums.yu += y[j] * u;
        sums.uu += u * u;
    }
    return sums;
}

static void plane_scalar(const uint8_t *level, unsigned plane, size_t count, uint16_t *bits) {
    for (size_t j = 0; j < count; j += STEP) {
        unsigned mask = 0;
        for (unsigned i = 0; i < STEP; i++) mask |= (unsigned)(level[j + i] >> plane & 1) << i;
        bits[j / STEP] = (uint16_t)mask;
    }
}

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline))

AVX2 INLINE __m256i wide(const int8_t *code) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)code));
}

AVX2 INLINE int32_t sum_of(__m256i eight) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/* Products of signed bytes as |x| times y with the sign of x: two of them fit 16 bits, as no code is -128. */
AVX2 INLINE __m256i products(__m256i x, __m256i y) {
    const __m256i two = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(y, x));
    return _mm256_madd_epi16(two, _mm256_set1_epi16(1));
}

AVX2 static int32_t dot_avx2(const int8_t *x, const int8_t *y, size_t count) {
    enum { BYTES = 32 };
    __m256i sum = _mm256_setzero_si256(), more = sum;
    size_t j = 0;
    for (; j + 2 * BYTES <= count; j += 2 * BYTES) {
        const __m256i *a = (const __m256i *)(const void *)(x + j), *b = (const __m256i *)(const void *)(y + j);
        sum = _mm256_add_epi32(sum, products(_mm256_loadu_si256(a), _mm256_loadu_si256(b)));
        more = _mm256_add_epi32(more, products(_mm256_loadu_si256(a + 1), _mm256_loadu_si256(b + 1)));
    }
    for (; j < count; j += STEP) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(wide(x + j), wide(y + j)));
    return sum_of(_mm256_add_epi32(sum, more));
}

/* What is summed, eight sums each. */
struct sums {
    __m256i xy, xu, yu, uu;
};

AVX2 INLINE void add_products(struct sums *sums, __m256i x, __m256i y, __m256i u) {
    sums->xy = _mm256_add_epi32(sums->xy, _mm256_madd_epi16(x, y));
    sums->xu = _mm256_add_epi32(sums->xu, _mm256_madd_epi16(x, u));
    sums->yu = _mm256_add_epi32(sums->yu, _mm256_madd_epi16(y, u));
}

AVX2 static ki_residual_sums signs_avx2(const int8_t *x, const int8_t *y, int16_t w_x, int16_t w_y, size_t count,
                                        uint16_t *sign) {
    const __m256i wide_x = _mm256_set1_epi16(w_x), wide_y = _mm256_set1_epi16(w_y), one = _mm256_set1_epi16(1);
    struct sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t j = 0; j < count; j += STEP) {
        const __m256i a = wide(x + j), b = wide(y + j);
        const __m256i down = _mm256_cmpgt_epi16(_mm256_mullo_epi16(a, wide_x), _mm256_mullo_epi16(b, wide_y));
        const unsigned mask = (unsigned)_mm256_movemask_epi8(_mm256_packs_epi16(down, _mm256_setzero_si256()));
        sign[j / STEP] = (uint16_t) ~((mask & 0xff) | (mask >> 8 & 0xff00));
        add_products(&sums, a, b, _mm256_or_si256(down, one));
    }
    return (ki_residual_sums){sum_of(sums.xy), sum_of(sums.xu), sum_of(sums.yu), (int32_t)count};
}

/* Eight levels as whole numbers of 32 bits. */
AVX2 INLINE __m256i eight_levels(const int8_t *x, const int8_t *y, __m256 a_x, __m256 a_y, __m256 half, __m256 most) {
    const __m256 a = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x)));
    const __m256 b = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)y)));
    const __m256 at = _mm256_add_ps(_mm256_sub_ps(_mm256_mul_ps(a_y, b), _mm256_mul_ps(a_x, a)), half);
    return _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(at, _mm256_setzero_ps()), most));
}

AVX2 static ki_residual_sums levels_avx2(const int8_t *x, const int8_t *y, float a_x, float a_y, unsigned bits,
                                         size_t count, uint8_t *level) {
    const __m256 wide_x = _mm256_set1_ps(a_x), wide_y = _mm256_set1_ps(a_y);
    const __m256 half = _mm256_set1_ps((float)(1 << (bits - 1))), most = _mm256_set1_ps((float)((1 << bits) - 1));
    const __m256i least = _mm256_set1_epi16((int16_t)((1 << bits) - 1));
    struct sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t j = 0; j < count; j += STEP) {
        const __m256i low = eight_levels(x + j, y + j, wide_x, wide_y, half, most);
        const __m256i high = eight_levels(x + j + 8, y + j + 8, wide_x, wide_y, half, most);
        const __m256i levels = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        const __m256i u = _mm256_sub_epi16(_mm256_add_epi16(levels, levels), least);
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(levels, levels), 0xd8);
        _mm_storeu_si128((__m128i *)(void *)(level + j), _mm256_castsi256_si128(bytes));
        add_products(&sums, wide(x + j), wide(y + j), u);
        sums.uu = _mm256_add_epi32(sums.uu, _mm256_madd_epi16(u, u));
    }
    return (ki_residual_sums){sum_of(sums.xy), sum_of(sums.xu), sum_of(sums.yu), sum_of(sums.uu)};
}

AVX2 static void plane_avx2(const uint8_t *level, unsigned plane, size_t count, uint16_t *bits) {
    const __m128i shift = _mm_cvtsi32_si128(7 - (int)plane);
    for (size_t j = 0; j < count; j += STEP) {
        const __m128i levels = _mm_loadu_si128((const __m128i *)(const void *)(level + j));
        bits[j / STEP] = (uint16_t)_mm_movemask_epi8(_mm_sll_epi16(levels, shift));
    }
}
#endif

void ki_residual_fill(uint32_t features, ki_residual_kernels *table) {
    *table = (ki_residual_kernels){dot_scalar, signs_scalar, levels_scalar, plane_scalar};
#if defined(__x86_64__)
    if (features & KI_AVX2) *table = (ki_residual_kernels){dot_avx2, signs_avx2, levels_avx2, plane_avx2};
#else
    (void)features;
#endif
}
