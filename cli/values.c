/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* value >> shift, rounded to nearest, ties to even. shift: 1..31 */
static uint32_t shift_rounded(uint32_t value, unsigned shift) {
    const uint32_t whole = value >> shift, rest = value & ((UINT32_C(1) << shift) - 1);
    const uint32_t middle = UINT32_C(1) << (shift - 1);
    return whole + (rest > middle || (rest == middle && whole & 1));
}

static uint16_t half_of(float value) {
    const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff)); /* NaN, its upper bits kept */
    if (size >= 0x47800000) return (uint16_t)(sign | 0x7c00);
    if (size >= 0x38800000)
        return (uint16_t)(sign | shift_rounded(size - 0x38000000, 13)); /* may round up to infinity */
    const uint32_t exponent = size >> 23;
    if (exponent < 102) return (uint16_t)sign; /* below half of the least half */
    return (uint16_t)(sign | shift_rounded((size & 0x7fffff) | 0x800000, 126 - exponent));
}

static float float_of_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent > 0) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
}

static uint16_t brain_of(float value) {
    const uint32_t bits = bits_of(value);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)shift_rounded(bits, 16);
}

void values_to_float(kith_dtype type, const void *from, size_t count, float *to) {
    const uint16_t *shorts = from;
    for (size_t i = 0; i < count; i++) {
        switch (type) {
        case KITH_F16:
            to[i] = float_of_half(shorts[i]);
            break;
        case KITH_BF16:
            to[i] = float_of((uint32_t)shorts[i] << 16);
            break;
        case KITH_I8:
            to[i] = ((const int8_t *)from)[i];
            break;
        case KITH_U8:
            to[i] = ((const uint8_t *)from)[i];
            break;
        default:
            to[i] = ((const float *)from)[i];
            break;
        }
    }
}

/* Both signs of zero are the same number, and every NaN is as good as another. */
static bool same(float a, float b) {
    return (isnan(a) && isnan(b)) || !(a < b || a > b || isnan(a) || isnan(b));
}

static bool put_short(float value, uint16_t made, float back, bool round, uint16_t *to) {
    *to = made;
    return same(value, back) || (round && isfinite(value) && isfinite(back));
}

static bool put_integer(float value, float least, float most, bool round, float *whole) {
    *whole = rintf(value);
    return *whole >= least && *whole <= most && (round || same(value, *whole));
}

static bool put(kith_dtype type, float value, size_t at, bool round, void *to) {
    uint16_t *shorts = to;
    float whole;
    switch (type) {
    case KITH_F16: {
        const uint16_t half = half_of(value);
        return put_short(value, half, float_of_half(half), round, &shorts[at]);
    }
    case KITH_BF16: {
        const uint16_t brain = brain_of(value);
        return put_short(value, brain, float_of((uint32_t)brain << 16), round, &shorts[at]);
    }
    case KITH_I8:
        if (!put_integer(value, -128, 127, round, &whole)) return false;
        ((int8_t *)to)[at] = (int8_t)whole;
        return true;
    case KITH_U8:
        if (!put_integer(value, 0, 255, round, &whole)) return false;
        ((uint8_t *)to)[at] = (uint8_t)whole;
        return true;
    default:
        ((float *)to)[at] = value;
        return true;
    }
}

size_t values_from_float(kith_dtype type, const float *from, size_t count, bool round, void *to) {
    for (size_t i = 0; i < count; i++)
        if (!put(type, from[i], i, round, to)) return i;
    return count;
}
