/* SPDX-License-Identifier: Apache-2.0 */
#include "io/element.h"

#include "base/bytes.h"
#include "base/half.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

static const struct {
    const char *name;
    size_t bytes;
    kith_dtype dtype;
} elements[KI_ELEMENTS] = {
    [KI_ELEMENT_F4] = {"f4", 4, KITH_F32}, [KI_ELEMENT_F2] = {"f2", 2, KITH_F16}, [KI_ELEMENT_I1] = {"i1", 1, KITH_I8},
    [KI_ELEMENT_U1] = {"u1", 1, KITH_U8},  [KI_ELEMENT_F8] = {"f8", 8, KITH_F32}, [KI_ELEMENT_I2] = {"i2", 2, KITH_F32},
    [KI_ELEMENT_I4] = {"i4", 4, KITH_F32}, [KI_ELEMENT_I8] = {"i8", 8, KITH_F32}, [KI_ELEMENT_U2] = {"u2", 2, KITH_F32},
    [KI_ELEMENT_U4] = {"u4", 4, KITH_F32}, [KI_ELEMENT_U8] = {"u8", 8, KITH_F32},
};

size_t ki_element_bytes(ki_element element) {
    return elements[element].bytes;
}
kith_dtype ki_element_dtype(ki_element element) {
    return elements[element].dtype;
}
const char *ki_element_name(ki_element element) {
    return elements[element].name;
}

/* An integer is exact as float when it has at most 24 significant bits. */
static bool exact_magnitude(uint64_t magnitude) {
    return magnitude <= UINT64_C(1) << 24 || (magnitude >> (unsigned)__builtin_ctzll(magnitude)) < UINT64_C(1) << 24;
}

static bool narrow_unsigned(uint64_t value, float *to) {
    *to = (float)value;
    return exact_magnitude(value);
}

static bool narrow_signed(int64_t value, float *to) {
    *to = (float)value;
    return exact_magnitude(value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Also whether it was finite and stayed so, when exactness is not asked for. */
static bool narrow_double(double value, bool round, float *to) {
    if (isfinite(value) && fabs(value) >= 0x1.ffffffp127) return false; /* would round to infinity */
    *to = (float)value;
    return round || (double)*to == value || isnan(value);
}

/* False: not exact, or for a double to be rounded, too large. */
static bool narrow(ki_element element, const unsigned char *at, bool round, float *to) {
    switch (element) {
    case KI_ELEMENT_F8:
        return narrow_double(ki_load_f64(at), round, to);
    case KI_ELEMENT_I2:
        return narrow_signed((int16_t)ki_load_u16(at), to) || round;
    case KI_ELEMENT_I4:
        return narrow_signed((int32_t)ki_load_u32(at), to) || round;
    case KI_ELEMENT_I8:
        return narrow_signed((int64_t)ki_load_u64(at), to) || round;
    case KI_ELEMENT_U2:
        return narrow_unsigned(ki_load_u16(at), to) || round;
    case KI_ELEMENT_U4:
        return narrow_unsigned(ki_load_u32(at), to) || round;
    case KI_ELEMENT_U8:
        return narrow_unsigned(ki_load_u64(at), to) || round;
    default:
        return false;
    }
}

size_t ki_element_narrow(ki_element element, const void *from, size_t count, bool round, float *to) {
    const unsigned char *at = from;
    const size_t step = ki_element_bytes(element);
    for (size_t i = 0; i < count; i++)
        if (!narrow(element, at + i * step, round, to + i)) return i;
    return count;
}

void ki_element_print(ki_element element, const void *at, char *text, size_t text_bytes) {
    switch (element) {
    case KI_ELEMENT_F8:
        snprintf(text, text_bytes, "%.17g", ki_load_f64(at));
        break;
    case KI_ELEMENT_I4:
        snprintf(text, text_bytes, "%ld", (long)(int32_t)ki_load_u32(at));
        break;
    case KI_ELEMENT_I8:
        snprintf(text, text_bytes, "%lld", (long long)ki_load_u64(at));
        break;
    case KI_ELEMENT_U4:
        snprintf(text, text_bytes, "%lu", (unsigned long)ki_load_u32(at));
        break;
    case KI_ELEMENT_U8:
        snprintf(text, text_bytes, "%llu", (unsigned long long)ki_load_u64(at));
        break;
    default:
        snprintf(text, text_bytes, "?"); /* the others are always exact */
        break;
    }
}

float ki_dtype_float(kith_dtype dtype, const void *row, size_t position) {
    const unsigned char *at = row;
    switch (dtype) {
    case KITH_F32:
        return ki_load_f32(at + position * 4);
    case KITH_F16:
        return ki_f16_to_f32(ki_load_u16(at + position * 2));
    case KITH_BF16:
        return ki_bf16_to_f32(ki_load_u16(at + position * 2));
    case KITH_I8:
        return (float)(int8_t)at[position];
    default:
        return (float)at[position];
    }
}
