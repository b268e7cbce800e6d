/* SPDX-License-Identifier: Apache-2.0
 *
 * What the first two lines of a .csv say of its columns. csv.c has the rules C1 to C6 that are cited here.
 *
 * Both lines are looked at several times, with the separators that may be meant; only the last look, which compares
 * headings, undoes quotes in place. */
#define _GNU_SOURCE
#include "io/csv.h"

#include "base/status.h"
#include "io/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What is seen of a line without knowing its columns. */
typedef struct look {
    size_t fields, numbers, wholes, quoted_numbers, lists;
    size_t list; /* the first list's column; from 0 */
    bool counts; /* the fields are start, start + 1, ... in plain digits */
} look;

static look look_at(char *line, char separator, uint64_t start) {
    look seen = {.counts = true};
    ki_csv_cursor c = {.at = line, .end = line + strlen(line), .separator = separator};
    while (c.at) {
        ki_csv_field f;
        uint64_t whole;
        if (!ki_csv_next(&c, &f, false)) break; /* told when the line is read */
        const bool number = ki_csv_is_number(&f), is_whole = ki_parse_id(f.text, f.bytes, &whole) == KI_ID_NUMBER;
        seen.numbers += number;
        seen.quoted_numbers += number && f.quoted;
        seen.wholes += is_whole;
        seen.counts = seen.counts && is_whole && whole == start + seen.fields;
        if (ki_csv_is_list(&f) && seen.lists++ == 0) seen.list = seen.fields;
        seen.fields++;
    }
    return seen;
}

/* C1 */
static char choose_separator(char *first, char *second) {
    static const char candidates[] = {'\t', ';', ','};
    char best = ',';
    look most = {0};
    for (size_t i = 0; i < sizeof(candidates); i++) {
        const look seen = look_at(first, candidates[i], 0);
        if (seen.numbers < most.numbers || (seen.numbers == most.numbers && seen.fields <= most.fields)) continue;
        best = candidates[i];
        most = seen;
    }
    if (most.fields > 1 || most.lists) return best;
    const look seen = look_at(first, ' ', 0), below = second ? look_at(second, ' ', 0) : seen;
    return seen.fields > 1 && below.fields == seen.fields && below.numbers == below.fields ? ' ' : best;
}

/* What the caller asked of a column: its number (from 0) if it is one, else KI_CSV_NONE. 0 is no column's number. */
static long column_number(const char *asked) {
    long number = 0;
    if (!asked || !*asked) return KI_CSV_NONE;
    for (const char *at = asked; *at; at++) {
        if (*at < '0' || *at > '9' || number > (long)KITH_DIM_MAX) return KI_CSV_NONE;
        number = number * 10 + (*at - '0');
    }
    return number - 1;
}

/* A column that is looked for by its heading. */
typedef struct wanted {
    const char *word;
    bool any_case; /* the word is ours, not the caller's */
    long *column;
    long twice; /* another column of that heading */
} wanted;

static wanted want(const char *asked, const char *usual, long *column) {
    *column = column_number(asked);
    const wanted one = {.word = *column == KI_CSV_NONE ? (asked ? asked : usual) : NULL,
                        .any_case = !asked,
                        .column = column,
                        .twice = KI_CSV_NONE};
    return one;
}

static bool is_wanted(wanted *one, const ki_csv_field *f, long column) {
    if (!one->word || f->bytes != strlen(one->word)) return false;
    if (one->any_case ? strncasecmp(f->text, one->word, f->bytes) != 0 : memcmp(f->text, one->word, f->bytes) != 0)
        return false;
    if (*one->column == KI_CSV_NONE)
        *one->column = column;
    else
        one->twice = column;
    return true;
}

/* A heading that data frames give to their row numbers. */
static bool heads_rows(const ki_csv_field *f) {
    static const char *const words[] = {"", "Unnamed: 0", "index"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (f->bytes == strlen(words[i]) && strncasecmp(f->text, words[i], f->bytes) == 0) return true;
    return false;
}

typedef struct first_line {
    size_t fields, numbers, words; /* numbers and words: besides columns that are ids, names or lists */
    size_t first_word, unnamed;    /* from 1; 0: none */
    bool labelled;                 /* an id, name or list column was found by its heading */
    bool rows, counts_behind;      /* the first heading is one of row numbers; behind it stand 0, 1, 2, ... */
    char excerpt[48];              /* of the first word */
} first_line;

static void survey_count(first_line *found, const ki_csv_field *f, size_t column) {
    uint64_t whole;
    if (column == 0) {
        found->rows = heads_rows(f);
        return;
    }
    const bool counts = ki_parse_id(f->text, f->bytes, &whole) == KI_ID_NUMBER && whole == column - 1;
    found->counts_behind = counts && (found->counts_behind || column == 1);
}

static void survey_element(first_line *found, const ki_csv_field *f, size_t column) {
    if (column && f->bytes == 0 && !found->unnamed) found->unnamed = column + 1;
    if (ki_csv_is_number(f)) {
        found->numbers++;
    } else if (found->words++ == 0) {
        found->first_word = column + 1;
        ki_excerpt(f->text, f->bytes, found->excerpt);
    }
}

/* Count the fields of the first line and find the columns in it. */
static kith_status survey_first_line(ki_csv *csv, const kith_reader_options *options, char *line, first_line *found,
                                     kith_error *error) {
    wanted wishes[] = {want(options->id_column, "id", &csv->id_column),
                       want(options->name_column, "name", &csv->name_column),
                       want(options->vector_key, NULL, &csv->list_column)};
    const size_t wish_count = sizeof(wishes) / sizeof(*wishes);
    ki_csv_cursor c = {.at = line, .end = line + strlen(line), .separator = csv->separator};
    for (long column = 0; c.at; column++) {
        ki_csv_field f;
        bool taken = false;
        if (!ki_csv_next(&c, &f, true)) return ki_csv_quote_error(&csv->text.lines, (size_t)column, error);
        for (size_t i = 0; i < wish_count && !taken && options->header != KITH_HEADER_NO; i++)
            taken = is_wanted(&wishes[i], &f, column);
        found->labelled |= taken;
        found->fields++;
        survey_count(found, &f, (size_t)column);
        if (column == csv->id_column || column == csv->name_column || column == csv->list_column) continue;
        survey_element(found, &f, (size_t)column);
    }
    for (size_t i = 0; i < wish_count; i++)
        if (wishes[i].twice != KI_CSV_NONE)
            return ki_fail(error, KITH_E_FORMAT, "%s: columns %ld and %ld are both called '%s'; give the number of one",
                           csv->text.lines.path, *wishes[i].column + 1, wishes[i].twice + 1, wishes[i].word);
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

static kith_status check_columns(const ki_csv *csv, const kith_reader_options *options, kith_error *error) {
    const ki_lines *lines = &csv->text.lines;
    const long id = csv->id_column, name = csv->name_column, list = csv->list_column;
    kith_status status = check_column(lines, options->id_column, id, csv->fields, error);
    if (status == KITH_OK) status = check_column(lines, options->name_column, name, csv->fields, error);
    if (status == KITH_OK) status = check_column(lines, options->vector_key, list, csv->fields, error);
    if (status != KITH_OK) return status;
    if (id != KI_CSV_NONE && id == name)
        return ki_fail(error, KITH_E_ARG, "%s: one column cannot be both the id and the name", lines->path);
    if (list != KI_CSV_NONE && (id == list || name == list))
        return ki_fail(error, KITH_E_ARG, "%s: one column cannot be both the vector and the %s", lines->path,
                       id == list ? "id" : "name");
    return KITH_OK;
}

/* C3 */
static kith_status header_of_numbers(const ki_csv *csv, char *first, char *second, bool *header, kith_error *error) {
    const look seen = look_at(first, csv->separator, 0);
    const look below = second ? look_at(second, csv->separator, seen.fields) : (look){0};
    *header = seen.counts && seen.fields > 1 && second && !below.counts;
    if (!*header || seen.fields > 2 || below.wholes < below.fields) return KITH_OK;
    return ki_fail(error, KITH_E_FORMAT,
                   "%s: line %llu: 0 and 1 may be a header or a vector; say which (the reader's option header, the "
                   "command's --header yes or no)",
                   csv->text.lines.path, (unsigned long long)csv->text.lines.number);
}

/* C2, C3; first and second are as they stand in the file. */
static kith_status settle_header(ki_csv *csv, const kith_reader_options *options, const first_line *found, char *first,
                                 char *second, kith_error *error) {
    const bool lists = look_at(first, csv->separator, 0).lists > 0;
    const bool above_lists = !lists && second && look_at(second, csv->separator, 0).lists > 0;
    csv->text.header =
        options->header == KITH_HEADER_YES || found->labelled || above_lists || (found->words && !found->numbers);
    if (options->header == KITH_HEADER_NO || (lists && options->header == KITH_HEADER_AUTO)) csv->text.header = false;
    if (csv->text.header || options->header == KITH_HEADER_NO || lists) return KITH_OK;
    if (found->rows && found->counts_behind) {
        csv->text.header = csv->guessed = true;
        return KITH_OK;
    }
    const kith_status status = header_of_numbers(csv, first, second, &csv->guessed, error);
    csv->text.header = csv->guessed;
    return status;
}

/* C4 */
static void settle_row_numbers(ki_csv *csv, const first_line *found) {
    if (!csv->text.header || !found->rows) return;
    if (csv->id_column == 0 || csv->name_column == 0 || csv->list_column == 0) return;
    *(csv->id_column == KI_CSV_NONE ? &csv->id_column : &csv->row_column) = 0;
}

/* C5, C6; row is the first line that is one. */
static kith_status settle_row(ki_csv *csv, const kith_reader_options *options, char *row, kith_error *error) {
    const look seen = row ? look_at(row, csv->separator, 0) : (look){0};
    csv->quoted_numbers = seen.numbers && seen.quoted_numbers == seen.numbers;
    if (options->vector_key || seen.lists == 0) return KITH_OK;
    if (seen.lists > 1)
        return ki_fail(error, KITH_E_FORMAT,
                       "%s: has %zu columns of lists; say which holds the vector (the reader's option vector_key, the "
                       "command's --vector-key)",
                       csv->text.lines.path, seen.lists);
    if ((long)seen.list != csv->id_column && (long)seen.list != csv->name_column) csv->list_column = (long)seen.list;
    return KITH_OK;
}

kith_status ki_csv_layout(ki_csv *csv, const kith_reader_options *options, char *first, char *second,
                          kith_error *error) {
    const ki_lines *lines = &csv->text.lines;
    first_line found = {0};
    csv->separator = choose_separator(first, second);
    csv->row_column = KI_CSV_NONE;
    char *copy = strdup(first);
    if (!copy) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", lines->path);
    kith_status status = survey_first_line(csv, options, copy, &found, error);
    free(copy);
    csv->fields = found.fields;
    if (status == KITH_OK) status = check_columns(csv, options, error);
    if (status == KITH_OK) status = settle_header(csv, options, &found, first, second, error);
    if (status != KITH_OK) return status;
    settle_row_numbers(csv, &found);
    status = settle_row(csv, options, csv->text.header ? second : first, error);
    if (status != KITH_OK || csv->list_column != KI_CSV_NONE) return status;
    if (!csv->text.header && found.words)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: field %zu is '%s', a number was expected", lines->path,
                       (unsigned long long)lines->number, found.first_word, found.excerpt);
    if (csv->text.header && found.unnamed)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: column %zu has no name in the header", lines->path,
                       (unsigned long long)lines->number, found.unnamed);
    return KITH_OK;
}

/* ---- For people -------------------------------------------------------------------------------------------------- */

/* "column 3, 'text'" */
static void tell_column(FILE *out, const ki_csv *csv, char *header, long wanted_column, const char *before) {
    char excerpt[48];
    fprintf(out, "%scolumn %ld", before, wanted_column + 1);
    if (!header) return;
    ki_csv_cursor c = {.at = header, .end = header + strlen(header), .separator = csv->separator};
    ki_csv_field f = {0};
    for (long column = 0; c.at && column <= wanted_column; column++)
        if (!ki_csv_next(&c, &f, false)) return;
    if (f.bytes) fprintf(out, ", '%s'", ki_excerpt(f.text, f.bytes, excerpt));
}

static bool is_label(const ki_csv *csv, long column) {
    return column == csv->id_column || column == csv->name_column || column == csv->row_column;
}

static void tell_vectors(FILE *out, const ki_csv *csv, char *header) {
    enum { NAMED_MOST = 5 };
    long first = KI_CSV_NONE, last = 0, left = 0;
    if (csv->list_column != KI_CSV_NONE) {
        tell_column(out, csv, header, csv->list_column, "; vectors: lists in ");
        for (long column = 0; column < (long)csv->fields; column++) {
            if (column == csv->list_column || (is_label(csv, column) && column != csv->row_column)) continue;
            if (left++ < NAMED_MOST) tell_column(out, csv, header, column, left == 1 ? "; left out: " : ", ");
        }
        if (left > NAMED_MOST) fprintf(out, " and %ld more", left - NAMED_MOST);
        return;
    }
    for (long column = 0; column < (long)csv->fields; column++) {
        if (is_label(csv, column)) continue;
        if (first == KI_CSV_NONE) first = column;
        last = column;
    }
    if (csv->row_column != KI_CSV_NONE) tell_column(out, csv, header, csv->row_column, "; left out: ");
    tell_column(out, csv, header, first, "; vectors: ");
    if (last > first) tell_column(out, csv, header, last, " to ");
}

char *ki_csv_columns(const ki_csv *csv, const kith_reader *reader, const kith_reader_options *options, char *header) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return NULL;
    fprintf(out, "%s", csv->text.header ? csv->guessed ? "header of numbers" : "header" : "no header");
    if (!csv->text.header) header = NULL;
    if (csv->id_column != KI_CSV_NONE) {
        tell_column(out, csv, header, csv->id_column, options->ids_path ? "; left out: " : "; ids: ");
        if (!options->ids_path) fprintf(out, reader->id_kind == KITH_ID_STRING ? " (strings)" : " (numbers)");
    }
    if (csv->name_column != KI_CSV_NONE)
        tell_column(out, csv, header, csv->name_column, options->names_path ? "; left out: " : "; names: ");
    tell_vectors(out, csv, header);
    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
