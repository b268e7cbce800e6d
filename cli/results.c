/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_PORTION = 4096 }; /* rows of a table that are held at most */

static const char *suffix_of(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    return dot ? dot : "";
}

int results_kind(const struct arguments *arguments, enum results_kind *kind) {
    const char *output = option_text(arguments, OPTION_OUTPUT, NULL);
    *kind = option_given(arguments, OPTION_JSON) ? RESULTS_JSON : RESULTS_TABLE;
    if (!output || strcmp(output, "-") == 0) return EXIT_OK;
    if (*kind == RESULTS_JSON)
        return fail_usage(COMMAND_SEARCH, "--json prints and --output writes arrays: only one of them can be given");
    if (option_given(arguments, OPTION_RADIUS))
        return fail_usage(COMMAND_SEARCH, "--radius gives rows of different lengths, which --output cannot write; use "
                                          "--json");
    const char *suffix = suffix_of(output);
    if (strcmp(suffix, ".npy") == 0) {
        *kind = RESULTS_NPY;
    } else if (strcmp(suffix, ".ivecs") == 0) {
        *kind = RESULTS_VECS;
    } else {
        return fail_usage(COMMAND_SEARCH, "--output is \"%s\", but a name that ends in .npy or .ivecs was expected",
                          output);
    }
    return EXIT_OK;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

/* Version 1.0: magic, version, header length, then a Python literal padded with blanks so that data begins at a
 * multiple of 64 bytes. */
static void npy_header(FILE *stream, const char *type, uint64_t rows, size_t columns) {
    char text[128];
    const int used = snprintf(text, sizeof(text), "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %zu), }",
                              type, (unsigned long long)rows, columns);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, stream); /* 0x76: 118 bytes follow, 128 in all */
    fprintf(stream, "%-117.*s\n", used, text);
}

/* The file of distances beside the one of ids; NULL when memory is refused. */
static char *distances_path(const char *path, enum results_kind kind) {
    char *made = NULL;
    const int stem = (int)(suffix_of(path) - path);
    return asprintf(&made, "%.*s.distances%s", stem, path, kind == RESULTS_NPY ? ".npy" : ".fvecs") < 0 ? NULL : made;
}

int results_check(const struct arguments *arguments, enum results_kind kind) {
    const char *path = option_text(arguments, OPTION_OUTPUT, NULL);
    if (kind != RESULTS_NPY && kind != RESULTS_VECS) return EXIT_OK;
    const bool npy = kind == RESULTS_NPY;
    char *distances = distances_path(path, kind);
    int failed = distances ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    if (!failed) failed = output_replace(arguments, path, npy ? OUTPUT_SIGNED_IDS : OUTPUT_VECTORS, KITH_FORMAT_AUTO);
    if (!failed)
        failed = output_replace(arguments, distances, npy ? OUTPUT_DISTANCES : OUTPUT_VECTORS, KITH_FORMAT_AUTO);
    free(distances);
    return failed;
}

static int files_open(struct results *results, const char *path, uint64_t queries) {
    char *distances = distances_path(path, results->kind);
    const bool npy = results->kind == RESULTS_NPY;
    if (!distances) return fail(EXIT_OTHER, "out of memory");
    int failed = result_file_open(&results->ids, path);
    if (!failed) failed = result_file_open(&results->distances, distances);
    free(distances);
    if (failed) return failed;
    if (npy) {
        npy_header(results->ids.stream, "<i8", queries, results->k);
        npy_header(results->distances.stream, "<f4", queries, results->k);
    }
    return EXIT_OK;
}

/* Integers and floats go out in the machine's order, which is little-endian on every machine that kith runs on. */
static int add_npy(struct results *results, const uint64_t *ids, const float *distances, size_t count) {
    for (size_t i = 0; i < results->k; i++) {
        const bool found = i < count && ids[i] != KITH_ID_NONE;
        if (found && ids[i] > INT64_MAX)
            return fail(EXIT_INPUT, "id %llu does not fit the signed 8-byte integers of .npy results; use --json",
                        (unsigned long long)ids[i]);
        const int64_t id = found ? (int64_t)ids[i] : -1;
        const float distance = found ? distances[i] : INFINITY;
        fwrite(&id, sizeof(id), 1, results->ids.stream);
        fwrite(&distance, sizeof(distance), 1, results->distances.stream);
    }
    return EXIT_OK;
}

static int add_vecs(struct results *results, const uint64_t *ids, const float *distances, size_t count) {
    const int32_t columns = (int32_t)results->k;
    fwrite(&columns, sizeof(columns), 1, results->ids.stream);
    fwrite(&columns, sizeof(columns), 1, results->distances.stream);
    for (size_t i = 0; i < results->k; i++) {
        const bool found = i < count && ids[i] != KITH_ID_NONE;
        if (found && ids[i] > INT32_MAX)
            return fail(EXIT_INPUT, "id %llu does not fit the 4-byte integers of .ivecs; use .npy",
                        (unsigned long long)ids[i]);
        const int32_t id = found ? (int32_t)ids[i] : -1;
        const float distance = found ? distances[i] : INFINITY;
        fwrite(&id, sizeof(id), 1, results->ids.stream);
        fwrite(&distance, sizeof(distance), 1, results->distances.stream);
    }
    return EXIT_OK;
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* Id as text and name of a result; *name is NULL where the index has none. */
static int describe(const struct results *results, uint64_t id, const char **text, size_t *text_bytes,
                    const char **name, size_t *name_bytes) {
    kith_status status = KITH_OK;
    *text = *name = NULL;
    *text_bytes = *name_bytes = 0;
    if (results->info->id_kind == KITH_ID_STRING) status = kith_index_string_id(results->index, id, text, text_bytes);
    if (status == KITH_OK && results->info->has_names) status = kith_index_name(results->index, id, name, name_bytes);
    if (status == KITH_OK) return EXIT_OK;
    kith_error error = {.status = status};
    snprintf(error.text, sizeof(error.text), "%s: the text of id %llu cannot be read: %s", results->index_path,
             (unsigned long long)id, kith_status_text(status));
    return fail_status(status, &error);
}

/* Zero has no sign for people, though the negated product of ip gives it one. */
static float unsigned_zero(float number) {
    return number < 0 || number > 0 || isnan(number) ? number : 0.0f;
}

/* As few digits as tell this float from its neighbours. */
static void float_text(char text[32], float number) {
    number = unsigned_zero(number);
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, 32, "%.*g", digits, (double)number);
        const float back = strtof(text, NULL);
        if (!(back < number) && !(back > number)) return;
    }
}

static int add_table(struct results *results, uint64_t query, const uint64_t *ids, const float *distances,
                     size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *text, *name;
        size_t text_bytes, name_bytes;
        char number[32];
        /* A range may have millions of results: what is complete need not wait for the rest. */
        if (i % TABLE_PORTION == TABLE_PORTION - 1 && !table_flush(results->table))
            return fail(EXIT_OTHER, "out of memory");
        const int failed = describe(results, ids[i], &text, &text_bytes, &name, &name_bytes);
        if (failed) return failed;
        table_format(results->table, "%llu", (unsigned long long)query);
        table_format(results->table, "%zu", i + 1);
        if (text) {
            table_text(results->table, text, text_bytes);
        } else {
            table_format(results->table, "%llu", (unsigned long long)ids[i]);
        }
        float_text(number, distances[i]);
        table_text(results->table, number, strlen(number));
        if (results->info->has_names) table_text(results->table, name ? name : "", name_bytes);
    }
    return EXIT_OK;
}

static int add_json(struct results *results, uint64_t query, const uint64_t *ids, const float *distances,
                    size_t count) {
    struct json *json = &results->json;
    emit_object(json, NULL);
    emit_uint(json, "query", query);
    emit_array(json, "results");
    int failed = EXIT_OK;
    for (size_t i = 0; i < count && !failed; i++) {
        const char *text, *name;
        size_t text_bytes, name_bytes;
        failed = describe(results, ids[i], &text, &text_bytes, &name, &name_bytes);
        if (failed) break;
        emit_object(json, NULL);
        if (text) {
            emit_bytes(json, "id", text, text_bytes);
        } else {
            emit_uint(json, "id", ids[i]);
        }
        emit_float(json, "distance", unsigned_zero(distances[i]));
        if (name) emit_bytes(json, "name", name, name_bytes);
        emit_object_end(json);
    }
    emit_array_end(json);
    emit_object_end(json);
    return failed;
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

int results_open(struct results *results, const char *path, uint64_t queries) {
    static const struct table_column columns[] = {{"query", TABLE_RIGHT},
                                                  {"rank", TABLE_RIGHT},
                                                  {"id", TABLE_RIGHT},
                                                  {"distance", TABLE_RIGHT},
                                                  {"name", TABLE_LEFT}};
    static const struct table_column string_columns[] = {{"query", TABLE_RIGHT},
                                                         {"rank", TABLE_RIGHT},
                                                         {"id", TABLE_LEFT},
                                                         {"distance", TABLE_RIGHT},
                                                         {"name", TABLE_LEFT}};
    switch (results->kind) {
    case RESULTS_TABLE:
        results->table = table_create(stdout, results->info->id_kind == KITH_ID_STRING ? string_columns : columns,
                                      results->info->has_names ? 5 : 4);
        return results->table ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    case RESULTS_JSON:
        results->json = (struct json)JSON_LINES(stdout);
        return EXIT_OK;
    case RESULTS_NPY:
    case RESULTS_VECS:
        break;
    }
    return files_open(results, path, queries);
}

int results_add(struct results *results, uint64_t query, const uint64_t *ids, const float *distances, size_t count) {
    while (count > 0 && ids[count - 1] == KITH_ID_NONE) count--;
    switch (results->kind) {
    case RESULTS_TABLE:
        return add_table(results, query, ids, distances, count);
    case RESULTS_JSON:
        return add_json(results, query, ids, distances, count);
    case RESULTS_NPY:
        return add_npy(results, ids, distances, count);
    case RESULTS_VECS:
        break;
    }
    return add_vecs(results, ids, distances, count);
}

int results_flush(struct results *results) {
    if (results->kind == RESULTS_TABLE && !table_flush(results->table)) return fail(EXIT_OTHER, "out of memory");
    if (results->kind == RESULTS_NPY || results->kind == RESULTS_VECS)
        /* The commit tells of a full disk; stop early, though. */
        return ferror(results->ids.stream) || ferror(results->distances.stream) ? results_commit(results) : EXIT_OK;
    return ferror(stdout) ? EXIT_BROKEN : EXIT_OK;
}

int results_commit(struct results *results) {
    if (!results->ids.stream) return EXIT_OK;
    /* Distances first: ids are the file that people name, and its presence says that both are there. */
    const int failed = result_file_commit(&results->distances);
    return failed ? failed : result_file_commit(&results->ids);
}

void results_close(struct results *results) {
    table_destroy(results->table);
    result_file_discard(&results->ids);
    result_file_discard(&results->distances);
    results->table = NULL;
}
