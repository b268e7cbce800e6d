/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rotate.h"

#include "base/rng.h"

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

void ki_rotate(const uint8_t *signs, size_t n, float *x) {
    size_t part = 8;
    while (part * 2 <= n) part *= 2;
    for (unsigned round = 0; round < KI_ROTATE_ROUNDS; round++, signs += n / 8) {
        flip(signs, n, x);
        transform(round % 2 ? x + (n - part) : x, part);
    }
}
