/* SPDX-License-Identifier: Apache-2.0
 *
 * What the catalog keeps of a sealed segment, as bytes. Little-endian:
 *
 *   0   "KSEG"              8   u64 rows          24  u32 specs
 *   4   u32 version, 1      16  u64 generation    28  u32 bytes of the dead rows
 *   32  1 + specs files of 64 bytes: u64 bytes, u64 hash, a name of up to 47 bytes and zeros. First the table, then
 *       the index of each named vector; all zeros where no row has it
 *   then the dead rows as a Roaring bitmap in its portable form [https://github.com/RoaringBitmap/RoaringFormatSpec],
 *   of array and bitmap containers: what is dense is copied from the bits as it lies.
 *
 * B1. Every count, size, name and row is bounded before use; what is not exactly of this form is refused. */
#ifndef KI_SEGMENT_BODY_H
#define KI_SEGMENT_BODY_H

#include "head/bits.h"

#include "kith.h"

enum { KI_BODY_NAME_BYTES = 48 };

typedef struct ki_body_file {
    uint64_t bytes, hash;
    char name[KI_BODY_NAME_BYTES]; /* "": there is none */
} ki_body_file;

typedef struct ki_body {
    uint64_t rows, generation;
    size_t specs;
    ki_body_file table, index[KITH_VECTORS_MAX];
} ki_body;

/* The caller frees *data. KITH_E_NOMEM. */
kith_status ki_body_encode(const ki_body *body, const ki_bits *alive, void **data, size_t *bytes, kith_error *error);
/* number: of the segment, for messages. KITH_E_CORRUPT, KITH_E_VERSION, KITH_E_NOMEM. */
kith_status ki_body_decode(const void *data, size_t bytes, uint64_t number, ki_body *body, ki_bits **alive,
                           kith_error *error);
/* The same in two steps, so that nothing is allocated for rows before somebody has seen the file that has so many. */
kith_status ki_body_files(const void *data, size_t bytes, uint64_t number, ki_body *body, kith_error *error);
kith_status ki_body_alive(const void *data, size_t bytes, uint64_t number, const ki_body *body, ki_bits **alive,
                          kith_error *error);

#endif
