/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference. (Compilers make of it what 64-bit ARM has for it.) */
#include "kernel/row_dot.h"

static void dot4_scalar(const int8_t *const x[4], const int16_t *q, size_t count, int32_t out[4]) {
    for (int r = 0; r < 4; r++) {
        const int8_t *row = x[r];
        int32_t sum = 0;
        for (size_t i = 0; i < count; i++) sum += row[i] * q[i];
        out[r] = sum;
    }
}

void ki_row_dot_fill(uint32_t features, ki_row_dot_kernels *table) {
    *table = (ki_row_dot_kernels){dot4_scalar};
    ki_row_dot_fill_avx2(features, table);
    ki_row_dot_fill_avx512(features, table);
}
