/* SPDX-License-Identifier: Apache-2.0
 *
 * Codes of 1 to 7 bits a dimension, packed for storage, unpacked into the byte layout of kernel/tile.h to be scanned.
 *
 * A code is an unsigned u below 2^bits; its byte in the tile layout is 128 + c for the odd c = 2u - (2^bits - 1), so
 * that codes lie symmetrically about 0. Bits 0.. of u are split into planes of 4, 2 and 1 bits, as many as `bits` is a
 * sum of, the widest lowest. A packed block of 16 vectors is its planes, widest first; a plane of w bits is rows of 64
 * bytes, in which bit field i (bits iw.. of every byte) of row j is row 8j/w + i of the block in the tile layout.
 *
 * K1. Rows come in whole periods: quads is a multiple of ki_unpack_period(bits).
 * K2. unpack reads the packed blocks and nothing past them, and writes blocks * quads * 64 bytes. It never allocates.
 * K3. The same bytes on every tier.
 *
 * Any thread. */
#ifndef KI_KERNEL_UNPACK_H
#define KI_KERNEL_UNPACK_H

#include <stddef.h>
#include <stdint.h>

enum { KI_UNPACK_BITS_MAX = 7 };

typedef void (*ki_unpack_fn)(const uint8_t *packed, size_t blocks, size_t quads, unsigned bits, uint8_t *out);

/* The function for this process. */
ki_unpack_fn ki_unpacker(void);
/* The function that a feature mask would get: for tests and benchmarks. */
ki_unpack_fn ki_unpack_fill(uint32_t features);

/* Code rows that fill whole rows of every plane: 8, 4 or 2. */
static inline size_t ki_unpack_period(unsigned bits) {
    return bits & 1 ? 8 : bits & 2 ? 4 : 2;
}

/* Pack one block: codes u (quads rows of 64 bytes) into quads * 8 * bits bytes. */
void ki_unpack_pack(const uint8_t *codes, size_t quads, unsigned bits, uint8_t *packed);

#endif
