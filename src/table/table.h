/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of a sealed segment: what its rows are called, and the columns of declared fields, in a file of the format
 * of index files (store/segment.h), with sections and checksums of its own. Immutable; a later declaration makes
 * another file.
 *
 * Rows are numbered 0..rows-1 by ascending key. A key is a u64: the item's id, or the number that stands for a string.
 *
 *   keys      u64 a row, ascending
 *   strings   with string ids: ends and bytes by row, and the rows by ascending string
 *   a field   forward: by row its value (i64, double, or the numbers of its strings in the dictionary), and a bitmap of
 *             rows that have one; inverted: for strings a sorted dictionary and for each word its rows (a bit a row
 *             where they are many, sorted u32 where few); for numbers the rows by ascending value
 *
 * T1. Every count, offset, row number and order read from the file is bounded before use; ki_table_open checks sizes,
 *     ki_table_check everything.
 * T2. A word with a few rows costs their numbers and some bytes, so that a million words of 100 rows each are cheap.
 * T3. An index is refused as a table, and a table as an index (KITH_E_CORRUPT says what it is).
 *
 * Constant once open: any thread. */
#ifndef KI_TABLE_TABLE_H
#define KI_TABLE_TABLE_H

#include "filter/filter.h"

#include <roaring/roaring.h>

typedef struct ki_table ki_table;
typedef struct ki_table_writer ki_table_writer;

/* Begin a table of `rows` (1..KITH_ROWS_MAX) rows with the columns of `schema` (borrowed until finish or abandon; NULL:
 * none). Rows stay in memory until finish. KITH_E_ARG, KITH_E_LIMIT, KITH_E_NOMEM. */
kith_status ki_table_create(const char *path, uint64_t rows, kith_id_kind id_kind, const ki_schema *schema,
                            ki_table_writer **writer, kith_error *error);
/* The next row; keys ascend, KITH_ID_NONE is none. text: of string ids, distinct. values: of the schema's fields,
 * copied (without fields: may be NULL). KITH_E_ARG, KITH_E_NOMEM: finish refuses then. */
kith_status ki_table_add(ki_table_writer *writer, uint64_t key, const char *text, size_t text_bytes,
                         const ki_values *values, kith_error *error);
/* Write, sync, read back, rename; frees the writer, also on failure. *hash: of the whole file. */
kith_status ki_table_finish(ki_table_writer *writer, uint64_t *file_bytes, uint64_t *hash, kith_error *error);
void ki_table_abandon(ki_table_writer *writer); /* NULL is fine */

kith_status ki_table_open(const char *path, const kith_open_options *options, ki_table **table, kith_error *error);
void ki_table_close(ki_table *table); /* NULL is fine */
kith_status ki_table_check(const ki_table *table, kith_pool *pool, kith_error *error);
/* Non-zero once the file under the map was cut. Ask after reading; match and values do so themselves. */
int ki_table_damaged(const ki_table *table);

uint64_t ki_table_rows(const ki_table *table);
uint64_t ki_table_file_bytes(const ki_table *table);
uint64_t ki_table_hash(const ki_table *table);
const uint64_t *ki_table_keys(const ki_table *table);
/* The row of a key; 0: there is none. */
int ki_table_find(const ki_table *table, uint64_t key, uint32_t *row);
/* The string id of a row; bytes 0 without. */
const char *ki_table_text(const ki_table *table, uint32_t row, size_t *bytes);
/* The values of a row for the fields of `schema`, by field id; those that the table lacks are absent. values: {0}, or
 * as ki_values_of() or this function left it, and ended by ki_values_free(); its strings live as long as the table.
 * KITH_E_ARG (no such row), KITH_E_NOMEM, KITH_E_CORRUPT. */
kith_status ki_table_values(const ki_table *table, const ki_schema *schema, uint32_t row, ki_values *values);
/* Whether it has the column of a field. */
int ki_table_has(const ki_table *table, const ki_field *field);

/* The rows that match, dead ones included; the caller frees the bitmap. Every field of the tree must be declared and
 * there: KITH_E_UNSUPPORTED names one that is not. KITH_E_NOMEM, KITH_E_CORRUPT. */
kith_status ki_table_match(const ki_table *table, const ki_schema *schema, const ki_filter *filter,
                           roaring_bitmap_t **rows, kith_error *error);

/* ---- word.c: rows of one word of a tag field, for segment keys -------------------------------------------------- */

/* How many they are, ascending: *rows lives as long as the table, or is NULL where they are many, and then only
 * ki_table_match and ki_table_word_rows find them. 0 when the word is not there. Where the file is damaged the answer
 * is not 0 and *rows NULL: these say what is wrong. */
uint64_t ki_table_word(const ki_table *table, const ki_field *field, const char *word, size_t bytes,
                       const uint32_t **rows);
/* Set their bits, in memory that has one for each row of the table. KITH_E_CORRUPT. */
kith_status ki_table_word_rows(const ki_table *table, const ki_field *field, const char *word, size_t bytes,
                               uint64_t *bits, kith_error *error);
/* The word that all rows have, each as its only one; it lives as long as the table. 0: there is none. */
int ki_table_only_word(const ki_table *table, const ki_field *field, const char **word, size_t *bytes);

#endif
