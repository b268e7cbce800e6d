/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a file that are left out because they are bad (the reader's option skip_bad).
 *
 * P1. They are found in a pass at open, so that the number of rows is known before the first is read, as of any reader.
 * P2. Rows are read in runs without bad ones; a batch is one run, or a part of it.
 *
 * One owner at a time. */
#ifndef KI_IO_SKIP_H
#define KI_IO_SKIP_H

#include "kith.h"

enum { KI_SKIP_WHYS = 10 };

typedef struct ki_skip {
    uint64_t *rows; /* in the window, ascending */
    size_t count, capacity;
    char *why[KI_SKIP_WHYS]; /* of the first ones */
} ki_skip;

/* Look at every row of the reader's window. */
kith_status ki_skip_find(kith_reader *reader, const kith_reader_options *options, kith_error *error);
/* The window's row that is number `row` of those that are not left out; *count is cut to the run that begins there. */
uint64_t ki_skip_row(const ki_skip *skip, uint64_t row, size_t *count);
void ki_skip_free(ki_skip *skip);

#endif
