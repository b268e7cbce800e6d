/* SPDX-License-Identifier: Apache-2.0
 *
 * A random rotation that costs n log n: KI_ROTATE_ROUNDS rounds of random sign flips and an orthonormal Hadamard
 * transform. The transform wants a power of two, so rounds take turns with the first and the last 2^floor(log2 n)
 * elements [Ailon & Chazelle 2009; Andoni et al. 2015].
 *
 * R1. Lengths and inner products are kept but for rounding: at most 2^-17 of a length.
 * R2. The same bits on every tier and machine: only additions, subtractions and products, in a fixed order.
 *
 * Any thread. */
#ifndef KI_QUANT_ROTATE_H
#define KI_QUANT_ROTATE_H

#include <stddef.h>
#include <stdint.h>

enum { KI_ROTATE_ROUNDS = 4 };

/* Bytes of the signs of a rotation of n elements, n a multiple of 8: a bit for each element and round. */
static inline size_t ki_rotate_bytes(size_t n) {
    return KI_ROTATE_ROUNDS * n / 8;
}

void ki_rotate_make(size_t n, uint64_t seed, uint8_t *signs);

/* Rotate x (n floats, a multiple of 8) in place. */
void ki_rotate(const uint8_t *signs, size_t n, float *x);

#endif
