/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids and names on their way from a reader into a segment: kept in memory by row, checked for duplicates, written in
 * the segment's order.
 *
 * ki_id_table_add is called in row order under the caller's lock; ki_id_table_place and ki_id_table_move from any
 * worker, for its own rows. */
#ifndef KI_BUILD_ID_TABLE_H
#define KI_BUILD_ID_TABLE_H

#include "kith.h"
#include "store/segment.h"

/* Strings by row, back to back. */
typedef struct ki_strings {
    char *bytes;
    size_t used, capacity;
    uint64_t *ends; /* rows */
} ki_strings;

typedef struct ki_id_table {
    uint64_t rows, added;
    kith_id_kind kind;
    int has_names;
    uint64_t *ids;         /* by row; KITH_ID_U64 only */
    uint32_t *row_at;      /* by position: the row there */
    uint32_t *position_of; /* by row */
    ki_strings strings, names;
} ki_id_table;

kith_status ki_id_table_start(ki_id_table *labels, const kith_reader_info *source, kith_error *error);
kith_status ki_id_table_add(ki_id_table *labels, const kith_rows *rows, const char *path, kith_error *error);
/* Rows first + order[p] lie at positions first + p. */
void ki_id_table_place(ki_id_table *labels, uint64_t first, const uint32_t *order, size_t count);
/* The row at position first + order[p] moves to first + p: of rows that are placed already. room: count. */
void ki_id_table_move(ki_id_table *labels, uint64_t first, const uint32_t *order, size_t count, uint32_t *room);
/* KITH_E_DATA names two rows with the same id. */
kith_status ki_id_table_write(ki_id_table *labels, ki_segment_writer *writer, const char *path, kith_error *error);
void ki_id_table_free(ki_id_table *labels);

#endif
