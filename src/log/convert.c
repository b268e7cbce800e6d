/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows on their way to the stored type of a vector. */
#include "log/convert.h"

#include "base/status.h"
#include "kernel/distance.h"
#include "quant/row_check.h"

#include <math.h>
#include <string.h>

/* Bits are as they are; a norm tells of all faults of numbers. */
static ki_row_fault check(const ki_vector *vector, kith_dtype dtype, const void *row) {
    double norm2;
    return dtype == KITH_B1 ? KI_ROW_FINE : ki_row_check(vector->metric, dtype, row, vector->dim, &norm2);
}

static kith_status explain(const ki_vector *vector, ki_row_fault fault, const char *item, kith_error *error) {
    switch (fault) {
    case KI_ROW_FINE:
        return KITH_OK;
    case KI_ROW_NOT_FINITE:
        return ki_fail(error, KITH_E_DATA, "%s: vector \"%s\" holds a NaN or an infinity", item, vector->name);
    case KI_ROW_TOO_LONG:
        return ki_fail(error, KITH_E_DATA, "%s: vector \"%s\" is longer than 2^62, the largest norm", item,
                       vector->name);
    default:
        return ki_fail(error, KITH_E_DATA, "%s: vector \"%s\" is a zero vector (norm below 2^-40), which has no cosine",
                       item, vector->name);
    }
}

/* Floats as whole numbers of 8 bits; the place of the first that is none of them, or dim. */
static size_t to_bytes(kith_dtype dtype, const float *floats, size_t dim, unsigned char *to) {
    const float least = dtype == KITH_I8 ? -128 : 0, most = dtype == KITH_I8 ? 127 : 255;
    for (size_t i = 0; i < dim; i++) {
        if (!(floats[i] >= least && floats[i] <= most) || floats[i] != floorf(floats[i])) return i;
        to[i] = dtype == KITH_I8 ? (unsigned char)(int8_t)floats[i] : (unsigned char)floats[i];
    }
    return dim;
}

kith_status ki_convert_row(const ki_vector *vector, kith_dtype from, const void *row, void *to, float *floats,
                           const char *item, kith_error *error) {
    const ki_distance_kernels *kernels = ki_distance();
    if (!to || from == vector->dtype) {
        if (to) memcpy(to, row, vector->row_bytes);
        return explain(vector, check(vector, vector->dtype, row), item, error);
    }
    kernels->to_f32[from](row, vector->dim, floats);
    kith_status status = explain(vector, check(vector, KITH_F32, floats), item, error);
    if (status != KITH_OK) return status;
    if (vector->dtype == KITH_F32) {
        memcpy(to, floats, vector->row_bytes);
        return KITH_OK;
    }
    if (vector->dtype == KITH_I8 || vector->dtype == KITH_U8) {
        const size_t bad = to_bytes(vector->dtype, floats, vector->dim, to);
        if (bad == vector->dim) return KITH_OK;
        return ki_fail(error, KITH_E_DATA, "%s: element %zu of vector \"%s\" is %.9g, which %s cannot hold", item, bad,
                       vector->name, (double)floats[bad], kith_dtype_name(vector->dtype));
    }
    kernels->from_f32[vector->dtype](floats, vector->dim, to);
    const ki_row_fault fault = check(vector, vector->dtype, to);
    return fault == KI_ROW_NOT_FINITE
               ? ki_fail(error, KITH_E_DATA, "%s: vector \"%s\" has a value that is too large for %s", item,
                         vector->name, kith_dtype_name(vector->dtype))
               : explain(vector, fault, item, error);
}

void ki_convert_back(const ki_vector *vector, const float *floats, void *row) {
    if (vector->dtype == KITH_F32 || vector->dtype == KITH_B1)
        memcpy(row, floats, vector->row_bytes);
    else if (vector->dtype == KITH_I8 || vector->dtype == KITH_U8)
        to_bytes(vector->dtype, floats, vector->dim, row);
    else
        ki_distance()->from_f32[vector->dtype](floats, vector->dim, row);
}
