/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the reader of .csv: fields of a line (csv_field.c), what the first lines say of the columns (csv_layout.c),
 * and rows (csv.c), each on top of the one before.
 *
 * One owner at a time. */
#ifndef KI_IO_CSV_H
#define KI_IO_CSV_H

#include "io/reader.h"

enum { KI_CSV_NONE = -1 };

/* A field of a line: the bytes between spaces or quotes. */
typedef struct ki_csv_field {
    char *text;
    size_t bytes;
    bool quoted;
} ki_csv_field;

typedef struct ki_csv_cursor {
    char *at, *end; /* at: NULL behind the last field */
    char separator; /* ' ': any number of spaces and tabs */
} ki_csv_cursor;

/* The next field, at not being NULL; doubled quotes are undone in place if `undo`. False if quotes are not closed, or
 * not followed by a separator. */
bool ki_csv_next(ki_csv_cursor *cursor, ki_csv_field *field, bool undo);
/* A number, in quotes or not, and the separator behind it. */
bool ki_csv_number(ki_csv_cursor *cursor, float *value);
bool ki_csv_is_number(const ki_csv_field *field);
/* "[...]": a vector in one field. */
bool ki_csv_is_list(const ki_csv_field *field);
/* The numbers of a list, between which are commas or white space or both; those beyond `room` are counted only. NULL,
 * or what was expected, with *at where it was. */
const char *ki_csv_list(const ki_csv_field *field, float *to, size_t room, size_t *count, const char **at);

kith_status ki_csv_quote_error(const ki_lines *lines, size_t column, kith_error *error);

typedef struct ki_csv {
    ki_text text;
    char separator;
    bool quoted_numbers;          /* the file quotes what needs no quotes, so that they mean nothing (C6) */
    bool guessed;                 /* a header was made out where no column is called id or name */
    size_t fields;                /* of a line */
    uint64_t second_line;         /* its number in the file */
    long id_column, name_column;  /* from 0; KI_CSV_NONE */
    long list_column, row_column; /* the one that holds the vector; one of row numbers that is left out */
} ki_csv;

/* Find out what the columns are from the first line and the next one (NULL: there is none). csv->text.lines stands at
 * the first. */
kith_status ki_csv_layout(ki_csv *csv, const kith_reader_options *options, char *first, char *second,
                          kith_error *error);
/* What was made of the columns, for people; NULL when memory is refused. */
char *ki_csv_columns(const ki_csv *csv, const kith_reader *reader, const kith_reader_options *options, char *header);

#endif
