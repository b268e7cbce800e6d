/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets of rows made into roaring bitmaps, all at once: their portable form is written down and read by the library,
 * which is many times faster than adding row by row, and depends on nothing but its documented interface.
 *
 * R1. Rows and bits are looked at twice, so they are the caller's own memory and never the map of a file, which others
 *     may change. A gather takes rows as they come from there: it bounds each itself.
 *
 * Room only. */
#ifndef KI_TABLE_ROWS_H
#define KI_TABLE_ROWS_H

#include <roaring/roaring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows that ascend. NULL: no memory. */
roaring_bitmap_t *ki_rows_of_sorted(const uint32_t *row, uint64_t count);
/* A bit a row; bits beyond `rows` are passed over. NULL: no memory. */
roaring_bitmap_t *ki_rows_of_bits(const uint64_t *bits, uint64_t rows);
/* Whether rows ascend and lie below `rows`. */
bool ki_rows_ascend(const uint32_t *row, uint64_t count, uint64_t rows);

/* Rows as they come, also twice: a bit each, or a list where they are few beside the table's. */
typedef struct ki_gather {
    uint64_t rows;
    uint64_t *bits; /* or */
    uint32_t *few;
    size_t count, room;
    bool bad; /* rows were put that are beyond the last one, or more than were said */
} ki_gather;

/* At most `most` rows will be put. false: no memory. */
bool ki_gather_begin(ki_gather *gather, uint64_t rows, uint64_t most);
static inline void ki_gather_put(ki_gather *gather, uint32_t row) {
    if (row >= gather->rows)
        gather->bad = true;
    else if (gather->bits)
        gather->bits[row / 64] |= UINT64_C(1) << (row % 64);
    else if (gather->count < gather->room)
        gather->few[gather->count++] = row;
    else
        gather->bad = true;
}
/* Frees the gather's memory. NULL: no memory. */
roaring_bitmap_t *ki_gather_end(ki_gather *gather);
void ki_gather_drop(ki_gather *gather);

#endif
