/* SPDX-License-Identifier: Apache-2.0
 *
 * .csv and .tsv: a line a row, fields separated by ',' ';' tabs or spaces, one of which may be the id and one the name.
 *
 * C1. The separator is the one of , ; tab that makes the most numbers of the first line, or failing numbers the most
 *     fields. Where none of them makes two, it is spaces, if they make numbers of the next line.
 * C2. The first line is a header when an id, name or list column was asked for by name, when one of its fields is "id"
 *     or "name" in any case, when no field of it (besides id and name) is a number, or when the next line has a list
 *     (C5) and it has none. Another mixture is an error, so that a row with a typing mistake is never taken for a
 *     header and lost. A header names every column but the first.
 * C3. It is also a header when its fields are 0, 1, 2, ..., as data frames write it, and the next line does not go on
 *     with that; two columns of whole numbers may be either, and are refused; one column has no such header. The
 *     option `header` overrules C2 and C3.
 * C4. A first column without a heading ("Unnamed: 0" and "index" are none) holds a data frame's row numbers or keys:
 *     the ids, or where another column is, nothing.
 * C5. A field in brackets is a whole vector: then other columns than id and name are left out.
 * C6. Any field may be quoted with '"', doubled inside; a line break inside quotes is not supported. An id in quotes
 *     is a string even if it looks like a number, unless the first row's other numbers are quoted too.
 * C7. Rows are counted at open; where there are ids, all are looked at then, as one word makes them strings
 *     (labels.h).
 *
 * One line is in memory at a time, at open two. */
#define _GNU_SOURCE
#include "io/csv.h"

#include "base/status.h"
#include "io/number.h"

#include <stdlib.h>
#include <string.h>

/* The id of a line, found without looking at the numbers. */
static kith_status survey_id(ki_csv *csv, ki_id_survey *survey, char *line, size_t bytes, kith_error *error) {
    const ki_place place = {csv->text.lines.path, csv->text.lines.number};
    ki_csv_cursor c = {.at = line, .end = line + bytes, .separator = csv->separator};
    ki_csv_field f = {0};
    for (long column = 0; column <= csv->id_column; column++) {
        if (!c.at)
            return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has %ld fields, %zu were expected", place.path,
                           (unsigned long long)place.line, column, csv->fields);
        if (!ki_csv_next(&c, &f, true)) return ki_csv_quote_error(&csv->text.lines, (size_t)column, error);
    }
    return ki_labels_survey(survey, place, f.text, f.bytes, f.quoted && !csv->quoted_numbers, error);
}

/* C7. Rows whose ids are bad are found again when they are read, so that here skip_bad may pass over them. */
static kith_status count_rows(ki_csv *csv, bool ids, bool skip_bad, uint64_t *rows, kith_id_kind *kind,
                              kith_error *error) {
    char *line;
    size_t bytes;
    ki_id_survey survey = {0};
    *rows = 0;
    csv->text.row = UINT64_MAX;
    kith_status status = ki_text_goto(&csv->text, 0, error);
    while (status == KITH_OK) {
        status = ki_lines_next_filled(&csv->text.lines, &line, &bytes, error);
        if (status != KITH_OK || !line) break;
        if (ids) {
            const kith_status found = survey_id(csv, &survey, line, bytes, skip_bad ? NULL : error);
            if (!skip_bad) status = found;
        }
        (*rows)++;
    }
    csv->text.row = UINT64_MAX;
    if (skip_bad) survey.bad_line = 0;
    *kind = KITH_ID_ROW;
    return status == KITH_OK && ids ? ki_labels_kind(&survey, csv->text.lines.path, kind, error) : status;
}

/* A copy of the next line with something in it; NULL at the end. */
static kith_status copy_line(ki_lines *lines, char **copy, kith_error *error) {
    char *line;
    size_t bytes;
    *copy = NULL;
    const kith_status status = ki_lines_next_filled(lines, &line, &bytes, error);
    if (status != KITH_OK || !line) return status;
    *copy = malloc(bytes + 1);
    if (!*copy) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a line", lines->path);
    memcpy(*copy, line, bytes + 1);
    /* A NUL cannot be in a number; here it would end the line. */
    for (size_t i = 0; i < bytes; i++)
        if ((*copy)[i] == '\0') (*copy)[i] = '?';
    return KITH_OK;
}

/* Elements of a vector, by the first row. */
static kith_status first_dim(const ki_csv *csv, char *row, size_t *dim, kith_error *error) {
    const ki_lines *lines = &csv->text.lines;
    const size_t labels = (csv->id_column != KI_CSV_NONE) + (size_t)(csv->name_column != KI_CSV_NONE) +
                          (size_t)(csv->row_column != KI_CSV_NONE);
    *dim = csv->fields - labels;
    if (csv->list_column == KI_CSV_NONE) return KITH_OK;
    if (!row)
        return ki_fail(error, KITH_E_FORMAT, "%s: has no row whose list would tell the number of elements",
                       lines->path);
    ki_csv_cursor c = {.at = row, .end = row + strlen(row), .separator = csv->separator};
    ki_csv_field f = {0};
    const char *at;
    for (long column = 0; c.at && column <= csv->list_column; column++)
        if (!ki_csv_next(&c, &f, true)) return ki_csv_quote_error(lines, (size_t)column, error);
    const char *expected = ki_csv_list(&f, NULL, 0, dim, &at);
    if (!expected) return KITH_OK;
    return ki_fail(error, KITH_E_FORMAT, "%s: column %ld of the first row: %s was expected", lines->path,
                   csv->list_column + 1, expected);
}

static kith_status open_lines(kith_reader *reader, ki_csv *csv, const kith_reader_options *options, char **first,
                              char **second, kith_error *error) {
    ki_lines *lines = &csv->text.lines;
    uint64_t rows;
    size_t dim;
    kith_status status = copy_line(lines, first, error);
    if (status != KITH_OK) return status;
    if (!*first) return ki_fail(error, KITH_E_FORMAT, "%s: is empty, a row of numbers was expected", reader->path);
    const uint64_t number = lines->number;
    status = copy_line(lines, second, error);
    if (status != KITH_OK) return status;
    csv->second_line = lines->number;
    lines->number = number;
    status = ki_csv_layout(csv, options, *first, *second, error);
    if (status != KITH_OK) return status;
    status = first_dim(csv, csv->text.header ? *second : *first, &dim, error);
    if (status == KITH_OK) status = ki_reader_set_shape(reader, 0, dim, KITH_F32, false, error);
    const bool ids = csv->id_column != KI_CSV_NONE && !options->ids_path;
    if (status == KITH_OK) status = count_rows(csv, ids, options->skip_bad != 0, &rows, &reader->id_kind, error);
    if (status == KITH_OK) status = ki_reader_set_shape(reader, rows, dim, KITH_F32, false, error);
    reader->has_names = csv->name_column != KI_CSV_NONE && !options->names_path;
    if (status != KITH_OK) return status;
    reader->guessed_header = csv->guessed;
    reader->columns = ki_csv_columns(csv, reader, options, *first);
    return reader->columns ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
}

static kith_status csv_open(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    char *first = NULL, *second = NULL;
    if (options->dtype == KITH_B1)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: packed bits (b1) are not read from text", reader->path);
    ki_csv *csv = calloc(1, sizeof(*csv));
    if (!csv || !ki_numbers_ready()) {
        free(csv);
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
    }
    reader->state = csv;
    reader->text = &csv->text;
    ki_lines_open(&csv->text.lines, reader->path, reader->fd, reader->file_bytes);
    const kith_status status = open_lines(reader, csv, options, &first, &second, error);
    free(first);
    free(second);
    return status;
}

/* Say what is wrong with a field that is no number. */
static kith_status bad_number(const ki_csv *csv, ki_csv_cursor c, size_t column, kith_error *error) {
    const ki_lines *lines = &csv->text.lines;
    char excerpt[48];
    float value;
    const char *next;
    ki_csv_field f;
    if (!ki_csv_next(&c, &f, false)) return ki_csv_quote_error(lines, column, error);
    if (f.bytes == 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: field %zu is empty, a number was expected", lines->path,
                       (unsigned long long)lines->number, column + 1);
    ki_excerpt(f.text, f.bytes, excerpt);
    if (ki_parse_float(f.text, f.text + f.bytes, false, &value, &next) == KI_NUMBER_OVERFLOW && ki_csv_is_number(&f))
        return ki_fail(error, KITH_E_DATA, "%s: line %llu: field %zu is %s, which is beyond 32-bit floats", lines->path,
                       (unsigned long long)lines->number, column + 1, excerpt);
    return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: field %zu is '%s', a number was expected%s", lines->path,
                   (unsigned long long)lines->number, column + 1, excerpt,
                   csv->text.header && lines->number == csv->second_line
                       ? " (the line before was taken for a header; , ; tabs or spaces separate fields)"
                       : "");
}

static kith_status take_list(const kith_reader *reader, const ki_csv *csv, const ki_csv_field *f, float *to,
                             kith_error *error) {
    const char *path = csv->text.lines.path, *at;
    const unsigned long long line = csv->text.lines.number;
    size_t count;
    char excerpt[48];
    const char *expected = ki_csv_list(f, to, reader->dim, &count, &at);
    if (expected)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: column %ld: %s was expected at '%s'", path, line,
                       csv->list_column + 1, expected, ki_excerpt(at, (size_t)(f->text + f->bytes - at), excerpt));
    if (count == reader->dim) return KITH_OK;
    return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: the list has %zu numbers, but the first one has %zu", path,
                   line, count, reader->dim);
}

/* A field that is no element: the id, the name, a list, or nothing. */
static kith_status take_field(kith_reader *reader, const ki_csv *csv, long column, const ki_csv_field *f, float *to,
                              kith_error *error) {
    const ki_place place = {reader->path, csv->text.lines.number};
    if (column == csv->id_column && !reader->id_file.path && reader->id_kind != KITH_ID_ROW)
        return ki_labels_add_id(&reader->ids, reader->id_kind, place, f->text, f->bytes, error);
    if (column == csv->name_column && reader->has_names && !reader->name_file.path)
        return ki_labels_add_text(&reader->names, place, "name", f->text, f->bytes, error);
    if (column == csv->list_column) return take_list(reader, csv, f, to, error);
    return KITH_OK;
}

static kith_status parse_row(kith_reader *reader, ki_csv *csv, char *line, size_t bytes, float *to, kith_error *error) {
    const ki_place place = {reader->path, csv->text.lines.number};
    const bool lists = csv->list_column != KI_CSV_NONE;
    ki_csv_cursor c = {.at = line, .end = line + bytes, .separator = csv->separator};
    size_t column = 0;
    for (; c.at && column < csv->fields; column++) {
        const long at = (long)column;
        if (!lists && at != csv->id_column && at != csv->name_column && at != csv->row_column) {
            const ki_csv_cursor before = c;
            if (!ki_csv_number(&c, to++)) return bad_number(csv, before, column, error);
            continue;
        }
        ki_csv_field f;
        if (!ki_csv_next(&c, &f, true)) return ki_csv_quote_error(&csv->text.lines, column, error);
        const kith_status status = take_field(reader, csv, at, &f, to, error);
        if (status != KITH_OK) return status;
    }
    if (c.at)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has more than the %zu fields that were expected",
                       place.path, (unsigned long long)place.line, csv->fields);
    if (column < csv->fields)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has %zu fields, %zu were expected", place.path,
                       (unsigned long long)place.line, column, csv->fields);
    return KITH_OK;
}

/* A row that cannot be parsed leaves the lines at the next one. */
static kith_status csv_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error) {
    ki_csv *csv = reader->state;
    kith_status status = ki_text_goto(&csv->text, row, error);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        char *line;
        size_t bytes;
        status = ki_text_row(&csv->text, &line, &bytes, error);
        if (status == KITH_OK)
            status =
                parse_row(reader, csv, line, bytes, (float *)(void *)(reader->data + i * reader->row_bytes), error);
    }
    return status;
}

static void csv_close(kith_reader *reader) {
    ki_csv *csv = reader->state;
    if (csv) ki_lines_close(&csv->text.lines);
    free(csv);
}

const ki_reader_format ki_reader_csv = {csv_open, csv_read, csv_close};
