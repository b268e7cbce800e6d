/* SPDX-License-Identifier: Apache-2.0
 *
 * Pairs of int8 codes, for the edges of a graph (view/graph.h): their products, and codes of their residuals: what
 * a_y y - a_x x is, dimension by dimension, in 1 bit or a few.
 *
 * R1. All results are whole numbers, and the same on every tier: signs compares w_y y with w_x x in whole numbers, and
 *     levels computes fl(fl(fl(a_y y) - fl(a_x x)) + 2^(bits-1)), cut to 0..2^bits - 1, then to a whole number.
 * R2. count is a multiple of 16, at most 4112; codes are -127..127; weights 0..256; bits 2..4. Nothing is read or
 *     written past that.
 *
 * Any thread. */
#ifndef KI_KERNEL_RESIDUAL_H
#define KI_KERNEL_RESIDUAL_H

#include <stddef.h>
#include <stdint.h>

/* Products of both codes x and y, and of u, the code of the residual. */
typedef struct ki_residual_sums {
    int32_t xy, xu, yu, uu;
} ki_residual_sums;

typedef struct ki_residual_kernels {
    int32_t (*dot)(const int8_t *x, const int8_t *y, size_t count);
    /* u is +1 where w_y y >= w_x x, else -1; bit i % 16 of sign[i / 16] is set where it is +1. */
    ki_residual_sums (*signs)(const int8_t *x, const int8_t *y, int16_t w_x, int16_t w_y, size_t count, uint16_t *sign);
    /* u is 2 level - (2^bits - 1), with the level of R1. */
    ki_residual_sums (*levels)(const int8_t *x, const int8_t *y, float a_x, float a_y, unsigned bits, size_t count,
                               uint8_t *level);
    /* Bit i % 16 of bits[i / 16] is bit `plane` of level[i]. */
    void (*plane)(const uint8_t *level, unsigned plane, size_t count, uint16_t *bits);
} ki_residual_kernels;

/* The table for this process; made once. */
const ki_residual_kernels *ki_residual(void);
/* The table that a feature mask would get: for tests. */
void ki_residual_fill(uint32_t features, ki_residual_kernels *table);

#endif
