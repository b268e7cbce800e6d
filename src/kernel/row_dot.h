/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of int8 rows, each of which lies by itself in memory, with a query of 16 bits: four rows at a time, so that
 * their chains run side by side.
 *
 * D1. out[r] is the exact sum of x[r][i] * q[i]; count is a multiple of KI_ROW_DOT_STEP, and the caller sees to it that
 *     sums fit 32 bits. Rows may repeat.
 * D2. Kernels read `count` elements of each and nothing past them, and need no alignment. They never allocate.
 *
 * Any thread. */
#ifndef KI_KERNEL_ROW_DOT_H
#define KI_KERNEL_ROW_DOT_H

#include <stddef.h>
#include <stdint.h>

enum { KI_ROW_DOT_STEP = 32 };

typedef struct ki_row_dot_kernels {
    void (*dot4)(const int8_t *const x[4], const int16_t *q, size_t count, int32_t out[4]);
} ki_row_dot_kernels;

/* The table for this process; made once. */
const ki_row_dot_kernels *ki_row_dot(void);
/* The table that a feature mask would get: for tests and benchmarks. */
void ki_row_dot_fill(uint32_t features, ki_row_dot_kernels *table);
void ki_row_dot_fill_avx2(uint32_t features, ki_row_dot_kernels *table);
void ki_row_dot_fill_avx512(uint32_t features, ki_row_dot_kernels *table);

#endif
