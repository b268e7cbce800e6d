/* SPDX-License-Identifier: Apache-2.0
 *
 * .jsonl: an object a line with "vector" (numbers), "id" (a whole number from 0 to 2^64-2, or a string) and "name" (a
 * string). Other keys are checked and left out. The first line decides dim and whether there are ids and of which kind;
 * a line that differs is refused by its number. Names may be missing from lines: they are then empty.
 *
 * The first line also decides the keys, where the caller did not: jsonl_keys.c has them.
 *
 * Rows are counted at open; one line is in memory at a time. */
#define _GNU_SOURCE
#include "io/reader.h"

#include "base/status.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct jsonl {
    ki_text text;
    kith_id_kind id_kind; /* of the first line */
    ki_jsonl_keys keys;
} jsonl;

/* What a line holds. */
typedef struct item {
    bool has_vector, has_id, has_name;
    kith_id_kind id_kind;
    char *id, *name;
    size_t id_bytes, name_bytes;
    size_t dim;
} item;

/* The numbers after '['; those beyond `room` are counted only. */
static bool parse_vector(ki_json *json, float *to, size_t room, size_t *dim) {
    *dim = 0;
    if (!ki_json_need(json, '[', "an array of numbers")) return false;
    if (ki_json_take(json, ']')) return true;
    do {
        float value;
        if (!ki_json_float(json, &value)) return false;
        if (*dim < room) to[*dim] = value;
        ++*dim;
    } while (ki_json_take(json, ','));
    return ki_json_need(json, ']', "',' or ']'");
}

static bool parse_id(ki_json *json, item *found) {
    const bool string = ki_json_peek(json) == '"';
    found->id_kind = string ? KITH_ID_STRING : KITH_ID_U64;
    if (string) return ki_json_string(json, &found->id, &found->id_bytes);
    return ki_json_integer(json, &found->id, &found->id_bytes) ||
           (json->expected = "a string or a whole number as id", false);
}

static bool is_key(const char *text, size_t bytes, const char *key) {
    return strlen(key) == bytes && memcmp(text, key, bytes) == 0;
}

static bool parse_entry(ki_json *json, const ki_jsonl_keys *keys, item *found, float *to, size_t room) {
    char *key;
    size_t bytes;
    if (!ki_json_string(json, &key, &bytes) || !ki_json_need(json, ':', "':'")) return false;
    bool *seen = NULL;
    if (is_key(key, bytes, keys->vector)) seen = &found->has_vector;
    if (is_key(key, bytes, keys->id)) seen = &found->has_id;
    if (is_key(key, bytes, keys->name)) seen = &found->has_name;
    if (!seen) return ki_json_skip(json);
    if (*seen) return ki_json_fail(json, "each key once");
    *seen = true;
    if (seen == &found->has_vector) return parse_vector(json, to, room, &found->dim);
    if (seen == &found->has_id) return parse_id(json, found);
    return ki_json_string(json, &found->name, &found->name_bytes);
}

static bool parse_object(ki_json *json, const ki_jsonl_keys *keys, item *found, float *to, size_t room) {
    if (!ki_json_need(json, '{', "an object ('{')")) return false;
    if (!ki_json_take(json, '}')) {
        do
            if (!parse_entry(json, keys, found, to, room)) return false;
        while (ki_json_take(json, ','));
        if (!ki_json_need(json, '}', "',' or '}'")) return false;
    }
    return ki_json_end(json);
}

static kith_status parse_line(const jsonl *state, char *line, size_t bytes, item *found, float *to, size_t room,
                              kith_error *error) {
    const ki_lines *lines = &state->text.lines;
    ki_json json;
    *found = (item){0};
    ki_json_begin(&json, line, bytes);
    if (!parse_object(&json, &state->keys, found, to, room)) return ki_jsonl_error(lines, &json, error);
    if (!found->has_vector)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has no \"%s\"", lines->path,
                       (unsigned long long)lines->number, state->keys.vector);
    return KITH_OK;
}

/* The first line settles dim and the kind of ids. */
static kith_status read_first_line(kith_reader *reader, jsonl *state, const kith_reader_options *options,
                                   kith_error *error) {
    char *line;
    size_t bytes;
    item found;
    kith_status status = ki_lines_next_filled(&state->text.lines, &line, &bytes, error);
    if (status != KITH_OK) return status;
    if (!line) return ki_fail(error, KITH_E_FORMAT, "%s: is empty, a line of JSON was expected", reader->path);
    status = ki_jsonl_keys_find(&state->keys, options, &state->text.lines, line, bytes, error);
    if (status == KITH_OK) status = parse_line(state, line, bytes, &found, NULL, 0, error);
    if (status != KITH_OK) return status;
    state->id_kind = found.has_id ? found.id_kind : KITH_ID_ROW;
    return ki_reader_set_shape(reader, 0, found.dim, KITH_F32, false, error);
}

/* Count lines, and look whether the key of names occurs at all: a file without it has no names. */
static kith_status count_rows(jsonl *state, uint64_t *rows, bool *names, kith_error *error) {
    char *line;
    size_t bytes;
    const size_t name_bytes = strlen(state->keys.name);
    *rows = 0;
    *names = false;
    state->text.row = UINT64_MAX;
    kith_status status = ki_text_goto(&state->text, 0, error);
    while (status == KITH_OK) {
        status = ki_lines_next_filled(&state->text.lines, &line, &bytes, error);
        if (status != KITH_OK || !line) break;
        if (!*names) *names = memmem(line, bytes, state->keys.name, name_bytes) != NULL;
        ++*rows;
    }
    state->text.row = UINT64_MAX;
    return status;
}

/* What was made of the keys, for people. */
static kith_status tell_keys(kith_reader *reader, const jsonl *state, const kith_reader_options *options,
                             kith_error *error) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out) {
        fprintf(out, "vectors: \"%s\"", state->keys.vector);
        if (state->id_kind != KITH_ID_ROW)
            fprintf(out, "; %s: \"%s\"%s", options->ids_path ? "left out" : "ids", state->keys.id,
                    options->ids_path                  ? ""
                    : state->id_kind == KITH_ID_STRING ? " (strings)"
                                                       : " (numbers)");
        if (reader->has_names) fprintf(out, "; names: \"%s\"", state->keys.name);
        const bool failed = ferror(out) != 0;
        if (fclose(out) == 0 && !failed) {
            reader->columns = text;
            return KITH_OK;
        }
        free(text);
    }
    return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
}

static kith_status jsonl_open(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    uint64_t rows;
    bool names;
    if (options->dtype == KITH_B1)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: packed bits (b1) are not read from text", reader->path);
    jsonl *state = calloc(1, sizeof(*state));
    if (!state || !ki_numbers_ready()) {
        free(state);
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
    }
    reader->state = state;
    reader->text = &state->text;
    ki_lines_open(&state->text.lines, reader->path, reader->fd, reader->file_bytes);
    kith_status status = read_first_line(reader, state, options, error);
    if (status == KITH_OK) status = count_rows(state, &rows, &names, error);
    if (status == KITH_OK) status = ki_reader_set_shape(reader, rows, reader->dim, KITH_F32, false, error);
    if (status != KITH_OK) return status;
    reader->id_kind = options->ids_path ? KITH_ID_ROW : state->id_kind;
    reader->has_names = names && !options->names_path;
    return tell_keys(reader, state, options, error);
}

static kith_status check_id(const jsonl *state, ki_place place, const item *found, kith_error *error) {
    static const char *const words[] = {"no id", "a number as id", "a string as id"};
    const kith_id_kind kind = found->has_id ? found->id_kind : KITH_ID_ROW;
    if (kind != state->id_kind)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has %s, but the first line has %s", place.path,
                       (unsigned long long)place.line, words[kind], words[state->id_kind]);
    return KITH_OK;
}

static kith_status add_id(kith_reader *reader, const item *found, ki_place place, kith_error *error) {
    uint64_t number;
    char excerpt[48];
    if (found->id_kind == KITH_ID_STRING && found->id_bytes == 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: the id is empty", place.path,
                       (unsigned long long)place.line);
    if (found->id_kind == KITH_ID_STRING)
        return ki_labels_add_text(&reader->ids, place, "id", found->id, found->id_bytes, error);
    if (ki_parse_id(found->id, found->id_bytes, &number) == KI_ID_NUMBER)
        return ki_labels_add_number(&reader->ids, number, error);
    return ki_fail(error, KITH_E_DATA, "%s: line %llu: id %s is not between 0 and 18446744073709551614", place.path,
                   (unsigned long long)place.line, ki_excerpt(found->id, found->id_bytes, excerpt));
}

static kith_status read_row(kith_reader *reader, jsonl *state, float *to, kith_error *error) {
    char *line;
    size_t bytes;
    item found;
    kith_status status = ki_text_row(&state->text, &line, &bytes, error);
    const ki_place place = {reader->path, state->text.lines.number};
    if (status == KITH_OK) status = parse_line(state, line, bytes, &found, to, reader->dim, error);
    if (status != KITH_OK) return status;
    if (found.dim != reader->dim)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: the vector has %zu numbers, but the first line has %zu",
                       place.path, (unsigned long long)place.line, found.dim, reader->dim);
    if (!reader->id_file.path) {
        status = check_id(state, place, &found, error);
        if (status == KITH_OK && found.has_id) status = add_id(reader, &found, place, error);
    }
    if (status == KITH_OK && reader->has_names && !reader->name_file.path)
        status =
            ki_labels_add_text(&reader->names, place, "name", found.name ? found.name : "", found.name_bytes, error);
    return status;
}

/* A row that cannot be parsed leaves the lines at the next one. */
static kith_status jsonl_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error) {
    jsonl *state = reader->state;
    kith_status status = ki_text_goto(&state->text, row, error);
    for (size_t i = 0; i < count && status == KITH_OK; i++)
        status = read_row(reader, state, (float *)(void *)(reader->data + i * reader->row_bytes), error);
    return status;
}

static void jsonl_close(kith_reader *reader) {
    jsonl *state = reader->state;
    if (state) ki_lines_close(&state->text.lines);
    if (state) ki_jsonl_keys_free(&state->keys);
    free(state);
}

const ki_reader_format ki_reader_jsonl = {jsonl_open, jsonl_read, jsonl_close};
