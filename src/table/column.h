/* SPDX-License-Identifier: Apache-2.0
 *
 * The columns of a table, as they lie in its file and in memory. docs/format.md draws the bytes.
 *
 * A directory has an entry a column, by ascending field id; the bytes of all columns lie in one part, each column's at
 * a multiple of 64 as a row of *runs*, each at a multiple of 8. Where runs lie follows from the entry's counts alone,
 * for writer and reader by the same function, so that no offset of the file is believed.
 *
 *   run        has                                                    of
 *   PRESENT    a bit a row: it has a value; absent where all have     all types
 *   VALUES     8 bytes a row, 0 without a value; bool: a bit a row    int, float, bool, time
 *   ORDER      u32: rows with a value, by (value, row)                int, float, time
 *   ROW_ENDS   u64 a row: where its numbers end                       tags
 *   NUMBERS    of words, in `width` bytes; tag: one a row; tags: those of all rows, ascending within a row
 *   WORD_ENDS  u64 a word: where it ends in WORDS                     tag, tags
 *   WORDS      the distinct strings, ascending bytewise, back to back
 *   UNIT_ENDS  u64 a word: where its rows end in UNITS
 *   UNITS      u32: a word's rows, ascending; or, where that takes no more, a bit for each row of the table
 *
 * U1. A word has fewer units than `ki_bits_units(rows)`, which are row numbers, or exactly so many, which are bits. So
 *     a word costs 16 bytes, its string, and at most 4 bytes a row.
 * U2. Whatever the bytes of a file say, the functions here stay within its runs. */
#ifndef KI_TABLE_COLUMN_H
#define KI_TABLE_COLUMN_H

#include "base/bytes.h"
#include "store/segment.h"
#include "table/table.h"

#include <stdbool.h>

/* An entry of the directory. */
typedef struct ki_column_entry {
    uint32_t field, type; /* the field's id; kith_field_type */
    uint64_t offset;      /* in the columns' data */
    uint64_t bytes;
    uint64_t present;    /* rows with a value */
    uint64_t words;      /* distinct strings; 0 for numbers, as all that follows */
    uint64_t word_bytes; /* of all words */
    uint64_t entries;    /* strings of all rows */
    uint64_t units;      /* of all words */
} ki_column_entry;

enum { KI_COLUMN_ALIGN = 64 };

typedef enum ki_run_id {
    KI_RUN_PRESENT,
    KI_RUN_VALUES,
    KI_RUN_ORDER,
    KI_RUN_ROW_ENDS,
    KI_RUN_NUMBERS,
    KI_RUN_WORD_ENDS,
    KI_RUN_WORDS,
    KI_RUN_UNIT_ENDS,
    KI_RUN_UNITS,
    KI_RUNS
} ki_run_id;

typedef struct ki_run {
    uint64_t offset, bytes; /* offset: from the column's start; 0 where there are no bytes */
} ki_run;

/* A column of an open table: what a run lacks is NULL. */
typedef struct ki_column {
    ki_column_entry entry;
    uint64_t rows;
    const uint64_t *present;
    const uint64_t *values; /* bits of i64 or double; bool: a bit a row */
    const uint32_t *order;
    const uint64_t *row_ends;
    const unsigned char *numbers;
    unsigned width; /* of a number: 1, 2, 4 */
    const uint64_t *word_ends;
    const char *words;
    const uint64_t *unit_ends;
    const uint32_t *units;
} ki_column;

struct ki_table {
    ki_segment *segment;
    uint64_t rows;
    kith_id_kind id_kind;
    const uint64_t *keys;
    const uint64_t *text_ends; /* string ids; else NULL, as what follows */
    const char *text_bytes;
    uint64_t text_size;
    const uint32_t *text_order;
    size_t columns;
    ki_column *column; /* by ascending field id */
};

static inline bool ki_type_is_text(uint32_t type) {
    return type == KITH_FIELD_TAG || type == KITH_FIELD_TAGS;
}

static inline uint64_t ki_bitmap_words(uint64_t rows) {
    return rows / 64 + (rows % 64 != 0);
}
/* U1: units of a word that is kept as bits. */
static inline uint64_t ki_bits_units(uint64_t rows) {
    return 2 * ki_bitmap_words(rows);
}

static inline bool ki_bitmap_get(const uint64_t *bitmap, uint64_t row) {
    return bitmap[row / 64] >> (row % 64) & 1;
}

static inline int ki_compare_text(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    const size_t both = a_bytes < b_bytes ? a_bytes : b_bytes;
    const int order = both ? memcmp(a, b, both) : 0;
    return order ? order : a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

/* Numbers that ascend as values do. -0 is +0. */
static inline uint64_t ki_order_of(uint32_t type, uint64_t value) {
    const uint64_t top = UINT64_C(1) << 63;
    if (type != KITH_FIELD_FLOAT) return value ^ top;
    if (value == top) return top;
    return value & top ? ~value : value | top;
}

/* The bytes that a number of a word takes. */
unsigned ki_column_width(uint64_t words);
/* Where the runs of a column lie, and the bytes of all: false when the entry's counts cannot be. */
bool ki_column_runs(const ki_column_entry *entry, uint64_t rows, ki_run run[KI_RUNS], uint64_t *bytes);

/* NULL: the table has none, or one of another type. */
const ki_column *ki_table_column(const ki_table *table, const ki_field *field);
static inline bool ki_column_has(const ki_column *column, uint64_t row) {
    return !column->present || ki_bitmap_get(column->present, row);
}
/* The number of a word at a place of NUMBERS. */
uint32_t ki_column_number(const ki_column *column, uint64_t place);
/* The places in NUMBERS of a row's strings; false: the file says what cannot be. */
bool ki_column_places(const ki_column *column, uint64_t row, uint64_t *first, uint64_t *count);
bool ki_column_word(const ki_column *column, uint64_t number, const char **text, size_t *bytes);
/* A word's units. */
bool ki_column_units(const ki_column *column, uint64_t number, const uint32_t **units, uint64_t *count);
/* The first word that is not below `text`; words if there is none. false: damaged. */
bool ki_column_seek(const ki_column *column, const char *text, size_t bytes, uint64_t *number);
/* Add a word's rows that lie as bits, `count` units of them, to `bits`, which has one for each row; no bits beyond. */
void ki_column_add_bits(const ki_column *column, const uint32_t *units, uint64_t count, uint64_t *bits);

/* The number of a word; *found 0: there is none. false: damaged. */
bool ki_column_find(const ki_column *column, const char *text, size_t bytes, uint64_t *number, int *found);
/* The string id of a row, bounded. */
bool ki_table_string(const ki_table *table, uint64_t row, const char **text, size_t *bytes);

kith_status ki_table_bad(const ki_table *table, uint32_t part, const char *what, kith_error *error);

#endif
