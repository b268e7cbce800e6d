/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/int8.h"

#include "kernel/project.h"

#include <math.h>

float ki_rounding(size_t dim) {
    return ((float)dim / 16 + 16) * 0x1p-23f;
}

float ki_length_above(float norm2, size_t dim) {
    return sqrtf(norm2) * (1 + 0x1p-11f) + 0x1p-60f * sqrtf((float)dim);
}

void ki_int8_encode(const float *r, size_t dim, float largest, float norm2, int8_t *code, ki_int8_facts *facts) {
    /* Below this size 1/scale would overflow or squares vanish: code nothing, the error is the vector itself. */
    const float smallest = 0x1p-100f;
    const float scale = largest > smallest ? largest / (float)KI_CODE_MAX : 0;
    const float inverse = scale > 0 ? (float)KI_CODE_MAX / largest : 0;
    const float error2 = ki_projector()->quantise(r, inverse, scale, dim, code, &facts->sum, &facts->square);
    facts->scale = scale;
    facts->norm = ki_length_above(norm2, dim);
    /* r - a*u is rounded once or twice an element: at most 2^-22 of |r| over the whole vector. */
    facts->error = ki_length_above(error2, dim) + 0x1p-21f * facts->norm;
}

int ki_int8_is_whole(const float *x, size_t dim, float low, float high) {
    int whole = 1;
    for (size_t j = 0; j < dim; j++) {
        const float inside = x[j] < low ? low : x[j] > high ? high : x[j]; /* NaN passes, and is not whole */
        whole &= inside == x[j] && (float)(int32_t)inside == x[j];
    }
    return whole;
}

void ki_int8_encode_whole(const float *r, size_t dim, float norm2, int8_t *code, ki_int8_facts *facts) {
    int32_t sum = 0;
    int64_t square = 0;
    for (size_t j = 0; j < dim; j++) {
        const int32_t value = (int32_t)r[j];
        code[j] = (int8_t)value;
        sum += value;
        square += value * value;
    }
    *facts = (ki_int8_facts){.scale = 1, .norm = ki_length_above(norm2, dim), .error = 0, .sum = sum, .square = square};
}
