/* SPDX-License-Identifier: Apache-2.0
 *
 * .csv and .tsv: a line a row, fields separated by ',' ';' or a tab, one of which may be the id and one the name.
 *
 * C1. The separator is the one that makes the most numbers of the first line, or failing numbers the most fields.
 * C2. The first line is a header when an id or name column was asked for by name, when one of its fields is "id" or
 *     "name", or when no field of it (besides id and name) is a number. A mixture is an error, so that a row with a
 * typing mistake is never taken for a header and lost. A header names every column. C3. Any field may be quoted with
 * '"', doubled inside; a line break inside quotes is not supported. C4. Rows are counted at open; where there are ids,
 * all are looked at then, as one word makes them strings (labels.h).
 *
 * One line is in memory at a time. */
#include "io/reader.h"

#include "base/status.h"
#include "io/number.h"

#include <stdlib.h>
#include <string.h>

enum { NO_COLUMN = -1 };

typedef struct csv {
    ki_text text;
    char separator;
    long id_column, name_column; /* from 0; NO_COLUMN */
    size_t fields;
} csv;

/* A field of a line: the bytes between spaces or quotes. */
typedef struct field {
    char *text;
    size_t bytes;
    bool quoted;
} field;

typedef struct cursor {
    char *at, *end; /* at: NULL behind the last field */
    char separator;
} cursor;

static bool is_space(const cursor *c, char letter) {
    return letter == ' ' || (letter == '\t' && c->separator != '\t');
}

static void skip_spaces(cursor *c) {
    while (c->at < c->end && is_space(c, *c->at)) c->at++;
}

/* Step over a separator, or to NULL at the end of the line; false if something else is there. */
static bool step(cursor *c) {
    skip_spaces(c);
    if (c->at == c->end) {
        c->at = NULL;
        return true;
    }
    if (*c->at != c->separator) return false;
    c->at++;
    return true;
}

/* A quoted field, whose doubled quotes are undone in place if `undo`; false if the quote is not closed. */
static bool next_quoted(cursor *c, field *f, bool undo) {
    char *to = ++c->at;
    *f = (field){.text = to, .quoted = true};
    for (; c->at < c->end; c->at++) {
        if (*c->at == '"' && (c->at + 1 == c->end || c->at[1] != '"')) break;
        const char letter = *c->at;
        c->at += letter == '"';
        if (undo) *to++ = letter;
    }
    if (c->at == c->end) return false;
    f->bytes = undo ? (size_t)(to - f->text) : (size_t)(c->at - f->text);
    c->at++;
    return step(c);
}

static bool next_field(cursor *c, field *f, bool undo) {
    skip_spaces(c);
    if (c->at < c->end && *c->at == '"') return next_quoted(c, f, undo);
    char *end = memchr(c->at, c->separator, (size_t)(c->end - c->at));
    if (!end) end = c->end;
    *f = (field){.text = c->at, .bytes = (size_t)(end - c->at)};
    while (f->bytes && is_space(c, f->text[f->bytes - 1])) f->bytes--;
    c->at = end;
    return step(c);
}

static bool is_number(const field *f) {
    float value;
    const char *next = NULL;
    const char *end = f->text + f->bytes;
    return ki_parse_float(f->text, end, false, &value, &next) != KI_NUMBER_NONE && next == end;
}

static kith_status quote_error(const ki_lines *lines, size_t number, kith_error *error) {
    return ki_fail(error, KITH_E_FORMAT,
                   "%s: line %llu: the quotes of field %zu are not closed or not followed by a separator (line breaks "
                   "inside quotes are not supported)",
                   lines->path, (unsigned long long)lines->number, number);
}

/* C1 */
static char choose_separator(char *line, size_t bytes) {
    static const char candidates[] = {'\t', ';', ','};
    char best = ',';
    size_t best_numbers = 0, best_fields = 0;
    for (size_t i = 0; i < sizeof(candidates); i++) {
        cursor c = {.at = line, .end = line + bytes, .separator = candidates[i]};
        size_t numbers = 0, fields = 0;
        field f;
        while (c.at && next_field(&c, &f, false)) {
            numbers += is_number(&f);
            fields++;
        }
        if (numbers > best_numbers || (numbers == best_numbers && fields > best_fields)) {
            best = candidates[i];
            best_numbers = numbers;
            best_fields = fields;
        }
    }
    return best;
}

/* What the caller asked of a column: its number (from 0) if it is one, else NO_COLUMN. 0 is no column's number. */
static long column_number(const char *asked) {
    long number = 0;
    if (!asked || !*asked) return NO_COLUMN;
    for (const char *at = asked; *at; at++) {
        if (*at < '0' || *at > '9' || number > (long)KITH_DIM_MAX) return NO_COLUMN;
        number = number * 10 + (*at - '0');
    }
    return number - 1;
}

static bool field_is(const field *f, const char *word) {
    return f->bytes == strlen(word) && memcmp(f->text, word, f->bytes) == 0;
}

typedef struct first_line {
    size_t fields, numbers, words; /* numbers and words: besides columns that are ids or names */
    size_t first_word, unnamed;    /* from 1; 0: none */
    bool labelled;                 /* an id or name column was found by its name */
    char excerpt[48];              /* of the first word */
} first_line;

/* Count the fields of the first line and find the columns in it. */
static kith_status survey_first_line(csv *state, const kith_reader_options *options, char *line, size_t bytes,
                                     first_line *found, kith_error *error) {
    const char *id_word = options->id_column ? options->id_column : "id";
    const char *name_word = options->name_column ? options->name_column : "name";
    state->id_column = column_number(options->id_column);
    state->name_column = column_number(options->name_column);
    const bool id_by_word = state->id_column == NO_COLUMN, name_by_word = state->name_column == NO_COLUMN;
    cursor c = {.at = line, .end = line + bytes, .separator = state->separator};
    for (long column = 0; c.at; column++) {
        field f;
        if (!next_field(&c, &f, true)) return quote_error(&state->text.lines, (size_t)column + 1, error);
        const bool is_id = id_by_word && state->id_column == NO_COLUMN && field_is(&f, id_word);
        const bool is_name = !is_id && name_by_word && state->name_column == NO_COLUMN && field_is(&f, name_word);
        if (is_id) state->id_column = column;
        if (is_name) state->name_column = column;
        found->labelled |= is_id || is_name;
        found->fields++;
        if (column == state->id_column || column == state->name_column) continue;
        if (f.bytes == 0 && !found->unnamed) found->unnamed = (size_t)column + 1;
        if (is_number(&f)) {
            found->numbers++;
        } else if (found->words++ == 0) {
            found->first_word = (size_t)column + 1;
            ki_excerpt(f.text, f.bytes, found->excerpt);
        }
    }
    return KITH_OK;
}

/* An asked-for column must be there. */
static kith_status check_column(const ki_lines *lines, const char *asked, long column, size_t fields,
                                kith_error *error) {
    if (!asked) return KITH_OK;
    if (column >= 0 && (size_t)column < fields) return KITH_OK;
    return ki_fail(error, KITH_E_NOTFOUND, "%s: line %llu: there is no column '%s' among its %zu columns", lines->path,
                   (unsigned long long)lines->number, asked, fields);
}

/* C2 */
static kith_status settle_header(csv *state, const kith_reader_options *options, const first_line *found,
                                 kith_error *error) {
    const ki_lines *lines = &state->text.lines;
    kith_status status = check_column(lines, options->id_column, state->id_column, found->fields, error);
    if (status == KITH_OK) status = check_column(lines, options->name_column, state->name_column, found->fields, error);
    if (status != KITH_OK) return status;
    if (state->id_column != NO_COLUMN && state->id_column == state->name_column)
        return ki_fail(error, KITH_E_ARG, "%s: one column cannot be both the id and the name", lines->path);
    state->text.header = found->labelled || (found->words && !found->numbers);
    if (!state->text.header && found->words)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: field %zu is '%s', a number was expected", lines->path,
                       (unsigned long long)lines->number, found->first_word, found->excerpt);
    if (state->text.header && found->unnamed)
        return ki_fail(
            error, KITH_E_FORMAT,
            "%s: line %llu: column %zu has no name in the header; if it holds ids, give its number as the id "
            "column",
            lines->path, (unsigned long long)lines->number, found->unnamed);
    state->fields = found->fields;
    return KITH_OK;
}

/* The id of a line, found without looking at the numbers. */
static kith_status survey_id(csv *state, kith_id_kind *kind, char *line, size_t bytes, kith_error *error) {
    const ki_place place = {state->text.lines.path, state->text.lines.number};
    cursor c = {.at = line, .end = line + bytes, .separator = state->separator};
    field f = {0};
    for (long column = 0; column <= state->id_column; column++) {
        if (!c.at)
            return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has %ld fields, %zu were expected", place.path,
                           (unsigned long long)place.line, column, state->fields);
        if (!next_field(&c, &f, true)) return quote_error(&state->text.lines, (size_t)column + 1, error);
    }
    return ki_labels_survey(kind, place, f.text, f.bytes, error);
}

/* C4 */
static kith_status count_rows(csv *state, bool ids, uint64_t *rows, kith_id_kind *kind, kith_error *error) {
    char *line;
    size_t bytes;
    *kind = ids ? KITH_ID_U64 : KITH_ID_ROW;
    *rows = 0;
    state->text.row = UINT64_MAX;
    kith_status status = ki_text_goto(&state->text, 0, error);
    while (status == KITH_OK) {
        status = ki_lines_next_filled(&state->text.lines, &line, &bytes, error);
        if (status != KITH_OK || !line) break;
        if (ids) status = survey_id(state, kind, line, bytes, error);
        (*rows)++;
    }
    state->text.row = UINT64_MAX;
    return status;
}

static kith_status read_first_line(kith_reader *reader, csv *state, const kith_reader_options *options,
                                   kith_error *error) {
    char *line;
    size_t bytes;
    first_line found = {0};
    kith_status status = ki_lines_next_filled(&state->text.lines, &line, &bytes, error);
    if (status != KITH_OK) return status;
    if (!line) return ki_fail(error, KITH_E_FORMAT, "%s: is empty, a row of numbers was expected", reader->path);
    state->separator = choose_separator(line, bytes);
    status = survey_first_line(state, options, line, bytes, &found, error);
    return status == KITH_OK ? settle_header(state, options, &found, error) : status;
}

static kith_status csv_open(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    uint64_t rows;
    if (options->dtype == KITH_B1)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: packed bits (b1) are not read from text", reader->path);
    csv *state = calloc(1, sizeof(*state));
    if (!state || !ki_numbers_ready()) {
        free(state);
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
    }
    reader->state = state;
    ki_lines_open(&state->text.lines, reader->path, reader->fd, reader->file_bytes);
    kith_status status = read_first_line(reader, state, options, error);
    if (status != KITH_OK) return status;
    const size_t labels = (state->id_column != NO_COLUMN) + (size_t)(state->name_column != NO_COLUMN);
    status = ki_reader_set_shape(reader, 0, state->fields - labels, KITH_F32, false, error);
    const bool ids = state->id_column != NO_COLUMN && !options->ids_path;
    if (status == KITH_OK) status = count_rows(state, ids, &rows, &reader->id_kind, error);
    if (status == KITH_OK) status = ki_reader_set_shape(reader, rows, reader->dim, KITH_F32, false, error);
    reader->has_names = state->name_column != NO_COLUMN && !options->names_path;
    return status;
}

/* Say what is wrong with a field that is no number. */
static kith_status bad_number(const csv *state, cursor c, size_t column, kith_error *error) {
    const ki_lines *lines = &state->text.lines;
    char excerpt[48];
    float value;
    const char *next;
    field f;
    if (!next_field(&c, &f, false)) return quote_error(lines, column + 1, error);
    if (f.bytes == 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: field %zu is empty, a number was expected", lines->path,
                       (unsigned long long)lines->number, column + 1);
    ki_excerpt(f.text, f.bytes, excerpt);
    if (ki_parse_float(f.text, f.text + f.bytes, false, &value, &next) == KI_NUMBER_OVERFLOW && is_number(&f))
        return ki_fail(error, KITH_E_DATA, "%s: line %llu: field %zu is %s, which is beyond 32-bit floats", lines->path,
                       (unsigned long long)lines->number, column + 1, excerpt);
    return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: field %zu is '%s', a number was expected", lines->path,
                   (unsigned long long)lines->number, column + 1, excerpt);
}

/* A number, in quotes or not, and the separator behind it. */
static bool take_number(cursor *c, float *value) {
    const char *next;
    skip_spaces(c);
    const bool quoted = c->at < c->end && *c->at == '"';
    if (quoted) c->at++;
    if (ki_parse_float(c->at, c->end, false, value, &next) != KI_NUMBER_OK) return false;
    c->at += next - c->at;
    if (quoted && (c->at == c->end || *c->at++ != '"')) return false;
    return step(c);
}

static kith_status parse_row(kith_reader *reader, csv *state, char *line, size_t bytes, float *to, kith_error *error) {
    const ki_place place = {reader->path, state->text.lines.number};
    cursor c = {.at = line, .end = line + bytes, .separator = state->separator};
    size_t column = 0;
    kith_status status = KITH_OK;
    for (; c.at && column < state->fields; column++) {
        const bool is_id = (long)column == state->id_column, is_name = (long)column == state->name_column;
        if (!is_id && !is_name) {
            const cursor before = c;
            if (!take_number(&c, to++)) return bad_number(state, before, column, error);
            continue;
        }
        field f;
        if (!next_field(&c, &f, true)) return quote_error(&state->text.lines, column + 1, error);
        if (is_id && !reader->id_file.path && reader->id_kind != KITH_ID_ROW)
            status = ki_labels_add_id(&reader->ids, reader->id_kind, place, f.text, f.bytes, error);
        else if (is_name && reader->has_names && !reader->name_file.path)
            status = ki_labels_add_text(&reader->names, place, "name", f.text, f.bytes, error);
        if (status != KITH_OK) return status;
    }
    if (c.at)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has more than the %zu fields that were expected",
                       place.path, (unsigned long long)place.line, state->fields);
    if (column < state->fields)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has %zu fields, %zu were expected", place.path,
                       (unsigned long long)place.line, column, state->fields);
    return KITH_OK;
}

static kith_status csv_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error) {
    csv *state = reader->state;
    kith_status status = ki_text_goto(&state->text, row, error);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        char *line;
        size_t bytes;
        status = ki_text_row(&state->text, &line, &bytes, error);
        if (status == KITH_OK)
            status =
                parse_row(reader, state, line, bytes, (float *)(void *)(reader->data + i * reader->row_bytes), error);
    }
    if (status != KITH_OK) state->text.row = UINT64_MAX;
    return status;
}

static void csv_close(kith_reader *reader) {
    csv *state = reader->state;
    if (state) ki_lines_close(&state->text.lines);
    free(state);
}

const ki_reader_format ki_reader_csv = {csv_open, csv_read, csv_close};
