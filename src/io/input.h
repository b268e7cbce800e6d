/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening what is read: files, pipes and what gzip compressed, all as a file that can be read at any place.
 *
 * I1. A pipe, socket or terminal is copied to an unnamed temporary file in $TMPDIR or /tmp first, so that rows can be
 *     counted before they are read; only the disk bounds it. A signal in between ends the copying: KITH_E_CANCELLED.
 * I2. What gzip compressed is decompressed to such a file. zlib is looked for when it is needed (dlopen), so that the
 *     library depends on nothing more; without it such a file is refused by name.
 *
 * Pure functions: any thread. */
#ifndef KI_IO_INPUT_H
#define KI_IO_INPUT_H

#include "kith.h"

#include <stdbool.h>

/* Open for reading and learn the size, after decompression if `gzip` lets it be looked for. */
kith_status ki_input_open(const char *path, bool gzip, int *fd, uint64_t *bytes, kith_error *error);

/* KITH_E_UNSUPPORTED with its name when a file that should be text begins as something else does, or in another
 * encoding or with other line ends than text that is read. */
kith_status ki_input_is_text(const char *path, const unsigned char *head, size_t bytes, kith_error *error);
/* KITH_E_UNSUPPORTED with its name when a file begins as one of those do that kith does not read. */
kith_status ki_input_is_known(const char *path, const unsigned char *head, size_t bytes, kith_error *error);

#endif
