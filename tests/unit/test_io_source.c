/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers over a caller's function, and the list of an index's ids: what clients in other languages stand on. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kith.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 10000, DIM = 3 };

struct rows {
    const char *bytes[ROWS];
    char *joined;
    uint32_t *ends;
    uint64_t ids[ROWS];
    uint64_t fail_at; /* a read that covers this row fails */
    int calls, lose_labels, end_early;
};

/* Row i is (i, i/2, 1); its string is "r<i>", its id 7i. */
static kith_status read_rows(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                             kith_error *error) {
    struct rows *rows = context;
    float *to = data;
    rows->calls++;
    if (rows->fail_at >= first && rows->fail_at < first + count) {
        snprintf(error->text, sizeof(error->text), "the well is dry");
        error->status = KITH_E_IO;
        return KITH_E_IO;
    }
    free(rows->joined);
    free(rows->ends);
    rows->joined = malloc(count * 24 + 1);
    rows->ends = malloc(count * sizeof(*rows->ends) + 1);
    uint32_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t row = first + i;
        to[i * DIM] = (float)row;
        to[i * DIM + 1] = (float)row / 2;
        to[i * DIM + 2] = 1;
        used += (uint32_t)sprintf(rows->joined + used, "r%llu", (unsigned long long)row);
        rows->ends[i] = used;
        rows->ids[i] = row * 7;
    }
    if (rows->end_early && count > 1) rows->ends[1] = rows->ends[0] - 1;
    if (rows->lose_labels) return KITH_OK;
    labels->ids = rows->ids;
    labels->id_bytes = labels->name_bytes = rows->joined;
    labels->id_ends = labels->name_ends = rows->ends;
    return KITH_OK;
}

static kith_source source_of(struct rows *rows, kith_id_kind kind, int names) {
    kith_source source = KITH_SOURCE_INIT;
    *rows = (struct rows){.fail_at = UINT64_MAX};
    source.dtype = KITH_F32;
    source.dim = DIM;
    source.rows = ROWS;
    source.id_kind = kind;
    source.has_names = names;
    source.read = read_rows;
    source.context = rows;
    return source;
}

static struct rows the_rows;

static void done(kith_reader *reader) {
    kith_reader_close(reader);
    free(the_rows.joined);
    free(the_rows.ends);
}

static const char *index_path(void) {
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/kith-source-%d.kith", (int)getpid());
    return path;
}

static void rows_in_any_order(void **state) {
    (void)state;
    const kith_source source = source_of(&the_rows, KITH_ID_STRING, 1);
    kith_reader *reader;
    kith_error error = {0};
    kith_rows got;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_OK);
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_reader_get_info(reader, &info);
    assert_int_equal(info.rows, ROWS);
    assert_int_equal(info.dim, DIM);
    assert_int_equal(info.dtype, KITH_F32);
    assert_int_equal(info.id_kind, KITH_ID_STRING);
    assert_true(info.has_names);
    assert_string_equal(kith_reader_path(reader), "(source)");
    for (const uint64_t *at = (const uint64_t[]){500, 0, 9998, UINT64_MAX}; *at != UINT64_MAX; at++) {
        assert_int_equal(kith_reader_seek(reader, *at, &error), KITH_OK);
        assert_int_equal(kith_reader_next(reader, 2, &got, &error), KITH_OK);
        assert_int_equal(got.count, 2);
        assert_int_equal(got.first, *at);
        assert_true(((const float *)got.data)[DIM] == (float)(*at + 1));
        char text[32];
        snprintf(text, sizeof(text), "r%llu", (unsigned long long)(*at + 1));
        assert_int_equal(got.id_ends[1] - got.id_ends[0], strlen(text));
        assert_memory_equal(got.id_bytes + got.id_ends[0], text, strlen(text));
        assert_memory_equal(got.name_bytes + got.name_ends[0], text, strlen(text));
        assert_null(got.ids);
    }
    assert_int_equal(kith_reader_next(reader, 5, &got, &error), KITH_OK);
    assert_int_equal(got.count, 0);
    done(reader);
}

static void an_index_from_a_source(void **state) {
    (void)state;
    for (int kind = KITH_ID_ROW; kind <= KITH_ID_STRING; kind++) {
        const kith_source source = source_of(&the_rows, (kith_id_kind)kind, 0);
        kith_reader *reader;
        kith_index *index;
        kith_error error = {0};
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.threads = 3;
        assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_OK);
        assert_int_equal(kith_build(reader, index_path(), &options, NULL, &error), KITH_OK);
        assert_int_equal(kith_index_open(index_path(), NULL, &index, &error), KITH_OK);
        const uint64_t factor = kind == KITH_ID_U64 ? 7 : 1;
        float vector[DIM];
        for (uint64_t row = 0; row < ROWS; row += 999) {
            const char *text;
            size_t bytes;
            assert_int_equal(kith_index_vector(index, row * factor, vector, &error), KITH_OK);
            assert_true(vector[0] == (float)row && vector[1] == (float)row / 2 && vector[2] == 1);
            if (kind != KITH_ID_STRING) continue;
            assert_int_equal(kith_index_string_id(index, row, &text, &bytes), KITH_OK);
            assert_int_equal(atoi(text + 1), (int)row);
        }
        uint64_t *ids = malloc(ROWS * sizeof(*ids));
        assert_int_equal(kith_index_ids(index, 0, ROWS, ids, &error), KITH_OK);
        for (uint64_t row = 0; row < ROWS; row++) assert_int_equal(ids[row], row * factor);
        free(ids);
        kith_index_close(index);
        done(reader);
    }
    unlink(index_path());
}

static void places_of_ids(void **state) {
    (void)state;
    static const float rows[5][2] = {{1, 0}, {0, 1}, {1, 1}, {2, 1}, {1, 2}};
    static const uint64_t given[5] = {9, UINT64_MAX - 1, 0, 77, 3};
    kith_reader *reader;
    kith_index *index;
    kith_error error = {0};
    uint64_t ids[5];
    assert_int_equal(kith_reader_from_memory(rows, KITH_F32, 5, 2, 0, given, &reader, &error), KITH_OK);
    assert_int_equal(kith_build(reader, index_path(), NULL, NULL, &error), KITH_OK);
    kith_reader_close(reader);
    assert_int_equal(kith_index_open(index_path(), NULL, &index, &error), KITH_OK);
    assert_int_equal(kith_index_ids(index, 1, 4, ids, &error), KITH_OK);
    assert_memory_equal(ids, ((const uint64_t[]){3, 9, 77, UINT64_MAX - 1}), sizeof(uint64_t) * 4);
    ids[0] = 42;
    assert_int_equal(kith_index_ids(index, 5, 0, NULL, &error), KITH_OK);
    assert_int_equal(kith_index_ids(index, 5, 1, ids, &error), KITH_E_ARG);
    assert_int_equal(kith_index_ids(index, UINT64_MAX, 2, ids, &error), KITH_E_ARG);
    assert_int_equal(kith_index_ids(index, 1, SIZE_MAX, ids, &error), KITH_E_ARG);
    assert_int_equal(kith_index_ids(index, 0, 1, NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_index_ids(NULL, 0, 1, ids, NULL), KITH_E_ARG);
    assert_int_equal(ids[0], 42);
    kith_index_close(index);
    unlink(index_path());
}

/* The status of reading row 0 on, and its text. */
static kith_status first_read(const kith_source *source, kith_error *error) {
    kith_reader *reader;
    kith_rows got;
    memset(error, 0, sizeof(*error));
    assert_int_equal(kith_reader_from_source(source, &reader, error), KITH_OK);
    const kith_status status = kith_reader_next(reader, 100, &got, error);
    done(reader);
    the_rows.joined = NULL;
    the_rows.ends = NULL;
    return status;
}

static void bad_sources(void **state) {
    (void)state;
    kith_error error;
    kith_reader *reader = NULL;
    kith_source source = source_of(&the_rows, KITH_ID_ROW, 0);
    the_rows.fail_at = 50;
    assert_int_equal(first_read(&source, &error), KITH_E_IO);
    assert_string_equal(error.text, "the well is dry");
    for (int kind = KITH_ID_U64; kind <= KITH_ID_STRING; kind++) {
        source = source_of(&the_rows, (kith_id_kind)kind, 0);
        the_rows.lose_labels = 1;
        assert_int_equal(first_read(&source, &error), KITH_E_ARG);
        assert_non_null(strstr(error.text, "id"));
    }
    source = source_of(&the_rows, KITH_ID_ROW, 1);
    the_rows.end_early = 1;
    assert_int_equal(first_read(&source, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "row 1"));
    source = source_of(&the_rows, KITH_ID_ROW, 0);
    assert_int_equal(kith_reader_from_source(NULL, &reader, &error), KITH_E_ARG);
    assert_int_equal(kith_reader_from_source(&source, NULL, &error), KITH_E_ARG);
    source.dim = KITH_DIM_MAX + 1;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_E_LIMIT);
    source.dim = 0;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_E_ARG);
    source.dim = DIM;
    source.rows = KITH_ROWS_MAX + 1;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_E_LIMIT);
    source.rows = 1;
    source.id_kind = (kith_id_kind)9;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_E_ARG);
    source.id_kind = KITH_ID_ROW;
    source.read = NULL;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_E_ARG);
    source.read = read_rows;
    source.struct_size = 3;
    assert_int_equal(kith_reader_from_source(&source, &reader, &error), KITH_E_ARG);
    assert_null(reader);
}

/* What one read lends as its strings, for a source of one row. */
static kith_status read_text(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                             kith_error *error) {
    static uint32_t end;
    (void)first;
    (void)count;
    (void)error;
    const char *text = context;
    end = (uint32_t)strlen(text);
    memset(data, 0, DIM * sizeof(float));
    labels->id_bytes = labels->name_bytes = text;
    labels->id_ends = labels->name_ends = &end;
    return KITH_OK;
}

static void bad_strings(void **state) {
    (void)state;
    char *longest = calloc(1, KITH_STRING_MAX + 2);
    memset(longest, 'x', KITH_STRING_MAX);
    static const char broken[] = {(char)0xC3, 0};
    for (int names = 0; names < 2; names++) {
        kith_source source = source_of(&the_rows, names ? KITH_ID_ROW : KITH_ID_STRING, names);
        kith_error error;
        source.rows = 1;
        source.read = read_text;
        source.context = longest;
        longest[KITH_STRING_MAX] = 0;
        assert_int_equal(first_read(&source, &error), KITH_OK);
        longest[KITH_STRING_MAX] = 'x';
        assert_int_equal(first_read(&source, &error), KITH_E_DATA);
        assert_non_null(strstr(error.text, "row 0"));
        source.context = (void *)(uintptr_t)broken;
        assert_int_equal(first_read(&source, &error), KITH_E_DATA);
        assert_non_null(strstr(error.text, "UTF-8"));
        source.context = (void *)(uintptr_t) "";
        assert_int_equal(first_read(&source, &error), names ? KITH_OK : KITH_E_DATA);
    }
    free(longest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_in_any_order), cmocka_unit_test(an_index_from_a_source),
        cmocka_unit_test(places_of_ids),     cmocka_unit_test(bad_sources),
        cmocka_unit_test(bad_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
