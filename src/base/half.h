/* SPDX-License-Identifier: Apache-2.0
 *
 * 16-bit floats one by one, by integers: what the kernels of every tier do by the row. f16 is IEEE binary16 (a sign
 * bit, 5 bits of exponent with bias 15, 10 of fraction), bf16 the upper half of a float.
 *
 * H1. To float is exact; a NaN of f16 comes out quiet, as every processor's own conversion makes it, so that all tiers
 *     agree on those bits too.
 * H2. From float rounds to nearest, ties to even; overflow gives infinity, and a NaN stays one, quiet.
 *
 * Pure functions: any thread. */
#ifndef KI_BASE_HALF_H
#define KI_BASE_HALF_H

#include "base/bytes.h"

#include <stdint.h>

static inline float ki_f16_to_f32(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u;
    uint32_t bits;
    if (exponent == 31) {
        bits = 0x7F800000u | (fraction ? 0x00400000u : 0) | fraction << 13;
    } else if (exponent == 0) { /* a multiple of 2^-24: exact in float */
        const float magnitude = (float)fraction * 0x1p-24f;
        bits = ki_load_u32(&magnitude);
    } else {
        bits = (exponent + 127 - 15) << 23 | fraction << 13;
    }
    bits |= sign;
    return ki_load_f32(&bits);
}

static inline float ki_bf16_to_f32(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    return ki_load_f32(&bits);
}

/* value / 2^shift to the nearest integer, ties to even; 1 <= shift <= 31. */
static inline uint32_t ki_shift_to_even(uint32_t value, unsigned shift) {
    const uint32_t quotient = value >> shift, rest = value & ((1u << shift) - 1), half = 1u << (shift - 1);
    return quotient + (rest > half || (rest == half && (quotient & 1)));
}

static inline uint16_t ki_f32_to_f16(float value) {
    const uint32_t bits = ki_load_u32(&value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    uint32_t half;
    if (magnitude > 0x7F800000u)
        half = 0x7E00u | (magnitude >> 13 & 1023u); /* NaN, quiet */
    else if (magnitude >= 0x477FF000u)
        half = 0x7C00u; /* from 65520, half-way past the largest, to infinity */
    else if (magnitude >= 0x38800000u)
        half = ki_shift_to_even(magnitude - 0x38000000u, 13); /* normal; a carry moves on into the exponent */
    else if (magnitude >= 0x33000000u)
        half =
            ki_shift_to_even((magnitude & 0x007FFFFFu) | 0x00800000u, 126 - (magnitude >> 23)); /* multiple of 2^-24 */
    else
        half = 0; /* below 2^-25 */
    return (uint16_t)(sign | half);
}

static inline uint16_t ki_f32_to_bf16(float value) {
    const uint32_t bits = ki_load_u32(&value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x0040u); /* rounding could carry a NaN into infinity: cut it, make it quiet */
    return (uint16_t)ki_shift_to_even(bits, 16);
}

#endif
