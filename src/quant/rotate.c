/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rotate.h"

#include "base/rng.h"
#include "cpu/cpu.h"

#include <math.h>
#include <string.h>

/* Registers that every 64-bit processor of ours has. */
enum { LANES = 4 };
typedef float floats __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));

static floats load(const float *p) {
    floats x;
    memcpy(&x, p, sizeof x);
    return x;
}

static void store(float *p, floats x) {
    memcpy(p, &x, sizeof x);
}

void ki_rotate_make(size_t n, uint64_t seed, uint8_t *signs) {
    ki_rng rng = {seed};
    for (size_t i = 0; i < ki_rotate_bytes(n); i++) signs[i] = (uint8_t)(ki_rng_next(&rng) >> 56);
}

/* Change the sign where the bit is set. */
static void flip(const uint8_t *signs, size_t n, float *x) {
    const words low = {1, 2, 4, 8}, top = {1u << 31, 1u << 31, 1u << 31, 1u << 31};
    for (size_t j = 0; j < n; j += 2 * LANES) {
        const uint32_t byte = signs[j / 8];
        const words first = (words)((low & byte) != 0) & top, second = (words)((low & byte >> 4) != 0) & top;
        store(x + j, (floats)((words)load(x + j) ^ first));
        store(x + j + LANES, (floats)((words)load(x + j + LANES) ^ second));
    }
}

/* The steps of distance 1 and 2 of the transform, and the factor that makes it orthonormal. */
static void transform_fours(float *x, size_t n, float factor) {
    for (size_t j = 0; j < n; j += LANES) {
        const floats v = load(x + j) * factor;
        const float a = v[0] + v[1], b = v[0] - v[1], c = v[2] + v[3], d = v[2] - v[3];
        store(x + j, (floats){a + c, b + d, a - c, b - d});
    }
}

/* n: a power of two, at least 8. */
static void transform(float *x, size_t n) {
    transform_fours(x, n, 1 / sqrtf((float)n));
    for (size_t distance = LANES; distance < n; distance *= 2)
        for (size_t j = 0; j < n; j += 2 * distance)
            for (size_t i = j; i < j + distance; i += LANES) {
                const floats a = load(x + i), b = load(x + i + distance);
                store(x + i, a + b);
                store(x + i + distance, a - b);
            }
}

static void rotate(const uint8_t *signs, size_t n, size_t part, float *x) {
    for (unsigned round = 0; round < KI_ROTATE_ROUNDS; round++, signs += n / 8) {
        flip(signs, n, x);
        transform(round % 2 ? x + (n - part) : x, part);
    }
}

/* The same sums and differences, eight at a time. */
#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET __attribute__((target("avx2")))

TARGET static void flip_wide(const uint8_t *signs, size_t n, float *x) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), top = _mm256_set1_epi32(INT32_MIN);
    for (size_t j = 0; j < n; j += 8) {
        const __m256i set = _mm256_and_si256(bits, _mm256_set1_epi32(signs[j / 8]));
        const __m256i sign = _mm256_and_si256(_mm256_cmpeq_epi32(set, bits), top);
        _mm256_storeu_ps(x + j, _mm256_xor_ps(_mm256_loadu_ps(x + j), _mm256_castsi256_ps(sign)));
    }
}

/* The steps of distance 1, 2 and 4: a sum where an element is the first of its pair, a difference where it is not. */
TARGET static void transform_eights(float *x, size_t n, float factor) {
    const __m256 one = _mm256_setr_ps(0, -0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f);
    const __m256 two = _mm256_setr_ps(0, 0, -0.0f, -0.0f, 0, 0, -0.0f, -0.0f);
    const __m256 four = _mm256_setr_ps(0, 0, 0, 0, -0.0f, -0.0f, -0.0f, -0.0f);
    for (size_t j = 0; j < n; j += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + j), _mm256_set1_ps(factor));
        v = _mm256_add_ps(_mm256_moveldup_ps(v), _mm256_xor_ps(_mm256_movehdup_ps(v), one));
        v = _mm256_add_ps(_mm256_permute_ps(v, 0x44), _mm256_xor_ps(_mm256_permute_ps(v, 0xee), two));
        v = _mm256_add_ps(_mm256_permute2f128_ps(v, v, 0x00), _mm256_xor_ps(_mm256_permute2f128_ps(v, v, 0x11), four));
        _mm256_storeu_ps(x + j, v);
    }
}

/* Two steps at a time while there are two, so that elements are read and written half as often. */
TARGET static void transform_wide(float *x, size_t n) {
    transform_eights(x, n, 1 / sqrtf((float)n));
    size_t distance = 8;
    for (; 4 * distance <= n; distance *= 4)
        for (size_t j = 0; j < n; j += 4 * distance)
            for (size_t i = j; i < j + distance; i += 8) {
                const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + distance);
                const __m256 c = _mm256_loadu_ps(x + i + 2 * distance), d = _mm256_loadu_ps(x + i + 3 * distance);
                const __m256 e = _mm256_add_ps(a, b), f = _mm256_sub_ps(a, b);
                const __m256 g = _mm256_add_ps(c, d), h = _mm256_sub_ps(c, d);
                _mm256_storeu_ps(x + i, _mm256_add_ps(e, g));
                _mm256_storeu_ps(x + i + distance, _mm256_add_ps(f, h));
                _mm256_storeu_ps(x + i + 2 * distance, _mm256_sub_ps(e, g));
                _mm256_storeu_ps(x + i + 3 * distance, _mm256_sub_ps(f, h));
            }
    for (size_t i = 0; distance < n && i < distance; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + distance);
        _mm256_storeu_ps(x + i, _mm256_add_ps(a, b));
        _mm256_storeu_ps(x + i + distance, _mm256_sub_ps(a, b));
    }
}

TARGET static void rotate_wide(const uint8_t *signs, size_t n, size_t part, float *x) {
    for (unsigned round = 0; round < KI_ROTATE_ROUNDS; round++, signs += n / 8) {
        flip_wide(signs, n, x);
        transform_wide(round % 2 ? x + (n - part) : x, part);
    }
}
#endif

void ki_rotate(const uint8_t *signs, size_t n, float *x) {
    size_t part = 8;
    while (part * 2 <= n) part *= 2;
#if defined(__x86_64__)
    if (ki_cpu_features() & KI_AVX2) {
        rotate_wide(signs, n, part, x);
        return;
    }
#endif
    rotate(signs, n, part, x);
}
