/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads IDX files, the format of the MNIST family, gzipped or plain:
 *
 *   byte 0    1    2      3        4..              then
 *        0    0    type   sizes    size[0], ...     elements
 *
 * type 8 is u8, the only one read here; each size is a big-endian u32. Images have three sizes (count, rows, columns),
 * labels one.
 *
 * I1. No count from the file sizes an allocation: memory grows with the bytes that really came.
 * I2. A file is valid if and only if header and elements are all there is: one byte less or more is refused, as is a
 *     gzip stream whose checksum is wrong. */
#ifndef KITH_CLI_IDX_H
#define KITH_CLI_IDX_H

#include <stddef.h>
#include <stdint.h>

#include "kith.h"

#define IDX_COUNT_MAX 1000000u /* pictures or labels */
#define IDX_SIDE_MAX  256u     /* rows or columns of a picture, so that one fits KITH_DIM_MAX */

struct idx {
    uint8_t *data;               /* count x rows x columns, or count */
    size_t count, rows, columns; /* rows and columns are 1 for labels */
};

/* dimensions: 3 for images, 1 for labels. KITH_E_NOTFOUND, KITH_E_IO, KITH_E_FORMAT (names the byte), KITH_E_LIMIT,
 * KITH_E_NOMEM. On failure *idx is untouched. */
kith_status idx_read(const char *path, unsigned dimensions, struct idx *idx, kith_error *error);
void idx_free(struct idx *idx); /* fine on a zeroed struct and when called again */

#endif
