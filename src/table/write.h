/* SPDX-License-Identifier: Apache-2.0
 *
 * What a table on its way is made of: taken row by row (write.c), encoded column by column (encode.c). One owner. Room
 * only. */
#ifndef KI_TABLE_WRITE_H
#define KI_TABLE_WRITE_H

#include "table/column.h"
#include "table/words.h"

/* A column, its values by row. */
typedef struct ki_column_writer {
    const ki_field *field;
    size_t place;       /* of the field in the schema */
    uint64_t present;   /* rows with a value */
    uint64_t *bitmap;   /* which */
    uint64_t *value;    /* numbers: bits of i64 or double; else NULL */
    uint64_t *row_ends; /* tags; else NULL */
    uint32_t *number;   /* of words: tag one a row, tags those of all rows */
    size_t number_room; /* tags */
    uint64_t entries;   /* strings of all rows */
    ki_words words;
    uint32_t *order, *rank; /* once measured: words by ascending string, and back */
    uint64_t *unit_ends;    /* once measured: of the words in that order */
    ki_column_entry entry;  /* once measured */
} ki_column_writer;

/* Memory for `rows` rows, all without a value. false: no memory; what there is is freed by ki_column_writer_free. */
bool ki_column_writer_begin(ki_column_writer *column, const ki_field *field, size_t place, uint64_t rows);
void ki_column_writer_free(ki_column_writer *column);
/* The entry, but for its offset: words are sorted, and their rows counted. KITH_E_NOMEM; KITH_E_ARG: a row has a string
 * twice. */
kith_status ki_column_measure(ki_column_writer *column, uint64_t rows, kith_error *error);
/* entry.bytes bytes, to be freed. NULL: no memory. */
unsigned char *ki_column_encode(const ki_column_writer *column, uint64_t rows);

#endif
