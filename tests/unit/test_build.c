/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_build: what it refuses and in which words, what it stores and gives back, and that a failure leaves the old file
 * as it was. Whether searches over it are right is tests/property/test_search.c's.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/faulty_malloc.h"

#include "base/file.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static kith_error error;

static void *take(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

struct bytes {
    unsigned char *data;
    uint64_t bytes;
};

static struct bytes read_whole(const char *path) {
    int fd;
    struct bytes file;
    assert_int_equal(ki_open_read(path, &fd, &file.bytes, &error), KITH_OK);
    file.data = take(file.bytes, 1);
    assert_int_equal(ki_read_at(fd, path, file.data, file.bytes, 0, &error), KITH_OK);
    close(fd);
    return file;
}

/* Files in the test's folder, hidden ones too. */
static size_t count_files(void) {
    DIR *folder = opendir(data_path("."));
    size_t count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

static kith_reader *memory_reader(const void *rows, kith_dtype dtype, uint64_t count, size_t dim, const uint64_t *ids) {
    kith_reader *reader = NULL;
    if (kith_reader_from_memory(rows, dtype, count, dim, 0, ids, &reader, &error) != KITH_OK)
        fail_msg("%s", error.text);
    return reader;
}

static kith_status build(const void *rows, kith_dtype dtype, uint64_t count, size_t dim, const uint64_t *ids,
                         const char *path, const kith_build_options *options) {
    kith_reader *reader = memory_reader(rows, dtype, count, dim, ids);
    error = (kith_error){KITH_OK, ""};
    const kith_status status = kith_build(reader, path, options, NULL, &error);
    kith_reader_close(reader);
    return status;
}

/* Building is refused with this status and word; the file of that name stays as it was, and nothing else appears. */
static void refused(const void *rows, kith_dtype dtype, uint64_t count, size_t dim, const uint64_t *ids,
                    const kith_build_options *options, kith_status expected, const char *word) {
    const char *path = data_path("refused.kith");
    FILE *old = fopen(path, "wb");
    assert_non_null(old);
    fputs("the old file", old);
    fclose(old);
    const size_t files = count_files();
    const kith_status status = build(rows, dtype, count, dim, ids, path, options);
    if (status != expected || error.status != expected || !strstr(error.text, word))
        fail_msg("status %d, expected %d with '%s': %s", (int)status, (int)expected, word, error.text);
    struct bytes kept = read_whole(path);
    assert_int_equal(kept.bytes, 12);
    assert_memory_equal(kept.data, "the old file", 12);
    free(kept.data);
    assert_int_equal(count_files(), files);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void test_bad_rows_are_named(void **state) {
    enum { ROWS = 9000, DIM = 5 };
    static const struct {
        float value;
        kith_metric metric;
        const char *word;
    } cases[] = {{NAN, KITH_L2SQ, "row 4321 holds a NaN or an infinity"},
                 {INFINITY, KITH_IP, "row 4321 holds a NaN or an infinity"},
                 {-INFINITY, KITH_COSINE, "row 4321 holds a NaN or an infinity"},
                 {4.7e18f, KITH_L2SQ, "row 4321 is longer than 2^62"},
                 {3e38f, KITH_COSINE, "row 4321 is longer than 2^62"},
                 {0, KITH_COSINE, "row 4321 is a zero vector"},
                 {0x1p-41f, KITH_COSINE, "row 4321 is a zero vector"}};
    (void)state;
    float *rows = take(ROWS * DIM, sizeof(float));
    for (size_t i = 0; i < ROWS * DIM; i++) rows[i] = (float)(i % 97) - 40.5f;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (unsigned threads = 1; threads <= 3; threads += 2) {
            kith_build_options options = KITH_BUILD_OPTIONS_INIT;
            options.metric = cases[i].metric;
            options.threads = threads;
            for (size_t j = 0; j < DIM; j++) rows[4321 * DIM + j] = j == 3 ? cases[i].value : 0;
            refused(rows, KITH_F32, ROWS, DIM, NULL, &options, KITH_E_DATA, cases[i].word);
        }
    /* Just inside the limits. */
    rows[4321 * DIM + 3] = 4.6e18f;
    assert_int_equal(build(rows, KITH_F32, ROWS, DIM, NULL, data_path("inside.kith"), NULL), KITH_OK);
    rows[4321 * DIM + 3] = 0x1.01p-40f;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = KITH_COSINE;
    assert_int_equal(build(rows, KITH_F32, ROWS, DIM, NULL, data_path("inside.kith"), &options), KITH_OK);
    free(rows);
}

/* Several workers meet several bad rows: the first one is named all the same. */
static void test_first_bad_row_is_named(void **state) {
    enum { ROWS = 40000, DIM = 16 };
    (void)state;
    float *rows = take(ROWS * DIM, sizeof(float));
    for (size_t i = 0; i < ROWS * DIM; i++) rows[i] = (float)(i % 89) - 40.5f;
    rows[4000 * DIM] = NAN; /* late in the first run of rows */
    for (size_t i = 4096; i < ROWS; i += 100) rows[i * DIM] = INFINITY;
    for (int round = 0; round < 10; round++) {
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.threads = 3;
        refused(rows, KITH_F32, ROWS, DIM, NULL, &options, KITH_E_DATA, "row 4000 holds a NaN");
    }
    free(rows);
}

static void test_halves_that_cannot_hold_the_value(void **state) {
    (void)state;
    const float rows[] = {1, 2, 3, 65520, 5, 6};
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.dtype = KITH_F16;
    refused(rows, KITH_F32, 3, 2, NULL, &options, KITH_E_DATA, "row 1 has a value that is too large for f16");
    const float strange[] = {1, 2, NAN, 4};
    refused(strange, KITH_F32, 2, 2, NULL, &options, KITH_E_DATA, "row 1 holds a NaN");
    const uint16_t endless[] = {0x3c00, 0x7c00};
    refused(endless, KITH_F16, 2, 1, NULL, NULL, KITH_E_DATA, "row 1 holds a NaN or an infinity");
}

static void test_bad_ids_are_named(void **state) {
    (void)state;
    const float rows[] = {1, 2, 3, 4, 5, 6};
    const uint64_t twice[] = {9, 8, 7, 6, 8, 5}, reserved[] = {9, 8, 7, UINT64_MAX, 1, 2};
    refused(rows, KITH_F32, 6, 1, twice, NULL, KITH_E_DATA, "rows 1 and 4 have the same id 8");
    refused(rows, KITH_F32, 6, 1, reserved, NULL, KITH_E_DATA, "row 3 has the id 18446744073709551615");
    const uint64_t largest[] = {0, UINT64_MAX - 1, 2, 3, 4, 5};
    assert_int_equal(build(rows, KITH_F32, 6, 1, largest, data_path("ids.kith"), NULL), KITH_OK);
}

static void test_bad_requests(void **state) {
    (void)state;
    const float rows[] = {1, 2, 3, 4};
    const unsigned char bits[] = {1, 2, 3, 4};
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    refused(rows, KITH_F32, 0, 2, NULL, NULL, KITH_E_DATA, "no rows");
    options.metric = KITH_HAMMING;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "hamming needs b1");
    options.metric = KITH_JACCARD;
    refused(bits, KITH_U8, 2, 2, NULL, &options, KITH_E_ARG, "jaccard needs b1");
    options.metric = KITH_COSINE;
    refused(bits, KITH_B1, 2, 16, NULL, &options, KITH_E_ARG, "cosine needs number");
    options.metric = (kith_metric)77;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "77");
    options.metric = (kith_metric)-1;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "metric");
    options = (kith_build_options)KITH_BUILD_OPTIONS_INIT;
    options.memory_bytes = (16u << 20) - 1;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "16 MiB");
    options.memory_bytes = 16u << 20;
    assert_int_equal(build(rows, KITH_F32, 2, 2, NULL, data_path("fine.kith"), &options), KITH_OK);
    options.dtype = KITH_I8;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_UNSUPPORTED, "stored as i8");
    options.dtype = KITH_B1;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "b1");
    options.dtype = (kith_dtype)55;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "stored as");
    options = (kith_build_options)KITH_BUILD_OPTIONS_INIT;
    options.originals = KITH_ORIGINALS_NONE;
    refused(bits, KITH_B1, 2, 16, NULL, &options, KITH_E_UNSUPPORTED, "without originals");
    options.originals = (kith_originals)9;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "originals");
    options = (kith_build_options)KITH_BUILD_OPTIONS_INIT;
    options.first_level = (kith_first_level)-3;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "first_level");
    options = (kith_build_options)KITH_BUILD_OPTIONS_INIT;
    options.threads = KITH_THREADS_MAX + 1;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_LIMIT, "257 threads");
    options.struct_size = 1;
    refused(rows, KITH_F32, 2, 2, NULL, &options, KITH_E_ARG, "INIT");
    kith_reader *reader = memory_reader(rows, KITH_F32, 2, 2, NULL);
    assert_int_equal(kith_build(NULL, "x", NULL, NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_build(reader, NULL, NULL, NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_build(reader, "", NULL, NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_build(reader, data_path("no/such/folder.kith"), NULL, NULL, &error), KITH_E_NOTFOUND);
    assert_int_equal(kith_build(reader, data_path("."), NULL, NULL, &error), KITH_E_ARG);
    kith_reader_close(reader);
}

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static kith_status build_file(const char *from, const char *to) {
    kith_reader *reader = NULL;
    kith_status status = kith_reader_open(from, NULL, &reader, &error);
    if (status == KITH_OK) status = kith_build(reader, to, NULL, NULL, &error);
    kith_reader_close(reader);
    return status;
}

static void test_string_ids_and_names(void **state) {
    enum { ROWS = 500 };
    (void)state;
    FILE *file = fopen(data_path("strings.jsonl"), "wb");
    assert_non_null(file);
    for (int i = 0; i < ROWS; i++) /* some names are empty, ids have very different lengths */
        fprintf(file, "{\"id\": \"id-%d-%.*s\", \"vector\": [%d.5, %d, 3], \"name\": \"%.*s\"}\n", i * 7919 % 1000,
                i % 60, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", i, -i, i % 3 * 2,
                "\xC3\xA4\xC3\xB6");
    assert_int_equal(fclose(file), 0);
    if (build_file(data_path("strings.jsonl"), data_path("strings.kith")) != KITH_OK) fail_msg("%s", error.text);
    kith_index *index = data_open(data_path("strings.kith"));
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index_get_info(index, &info);
    assert_int_equal(info.id_kind, KITH_ID_STRING);
    assert_true(info.has_names);
    for (unsigned i = 0; i < ROWS; i++) {
        char id[100];
        const int length = snprintf(id, sizeof(id), "id-%d-%.*s", (int)i * 7919 % 1000, (int)i % 60,
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        const char *text;
        size_t bytes;
        uint64_t number = 0;
        float vector[3];
        assert_int_equal(kith_index_lookup(index, id, (size_t)length, &number), KITH_OK);
        assert_int_equal(number, i);
        assert_int_equal(kith_index_string_id(index, i, &text, &bytes), KITH_OK);
        assert_int_equal(bytes, length);
        assert_memory_equal(text, id, bytes);
        assert_int_equal(kith_index_name(index, i, &text, &bytes), KITH_OK);
        assert_int_equal(bytes, i % 3 * 2);
        assert_memory_equal(text, "\xC3\xA4\xC3\xB6", bytes);
        assert_int_equal(kith_index_vector(index, i, vector, &error), KITH_OK);
        assert_true(vector[0] == (float)i + 0.5f && vector[1] == -(float)i && vector[2] == 3);
        number = 5;
        assert_int_equal(kith_index_lookup(index, id, (size_t)length - 1, &number), KITH_E_NOTFOUND);
        assert_int_equal(number, 5);
    }
    const char *text = NULL;
    size_t bytes = 0;
    uint64_t number;
    assert_int_equal(kith_index_lookup(index, "", 0, &number), KITH_E_NOTFOUND);
    assert_int_equal(kith_index_lookup(index, "zzz", 3, &number), KITH_E_NOTFOUND);
    assert_int_equal(kith_index_string_id(index, ROWS, &text, &bytes), KITH_E_NOTFOUND);
    assert_int_equal(kith_index_name(index, UINT64_MAX, &text, &bytes), KITH_E_NOTFOUND);
    assert_null(text);
    kith_index_close(index);

    write_text(data_path("twice.jsonl"), "{\"id\":\"a\",\"vector\":[1]}\n{\"id\":\"b\",\"vector\":[1]}\n"
                                         "{\"id\":\"c\",\"vector\":[1]}\n{\"id\":\"b\",\"vector\":[1]}\n");
    assert_int_equal(build_file(data_path("twice.jsonl"), data_path("twice.kith")), KITH_E_DATA);
    assert_non_null(strstr(error.text, "rows 1 and 3 have the same id \"b\""));
    assert_int_equal(access(data_path("twice.kith"), F_OK), -1);
}

static void test_names_without_string_ids(void **state) {
    (void)state;
    write_text(data_path("names.csv"), "id,a,b,name\n30,1,2,thirty\n10,3,4,\n20,5,6,twenty\n");
    assert_int_equal(build_file(data_path("names.csv"), data_path("names.kith")), KITH_OK);
    kith_index *index = data_open(data_path("names.kith"));
    const char *text;
    size_t bytes;
    uint64_t number;
    assert_int_equal(kith_index_name(index, 30, &text, &bytes), KITH_OK);
    assert_int_equal(bytes, 6);
    assert_memory_equal(text, "thirty", 6);
    assert_int_equal(kith_index_name(index, 10, &text, &bytes), KITH_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(kith_index_name(index, 0, &text, &bytes), KITH_E_NOTFOUND);
    assert_int_equal(kith_index_string_id(index, 30, &text, &bytes), KITH_E_UNSUPPORTED);
    assert_int_equal(kith_index_lookup(index, "30", 2, &number), KITH_E_UNSUPPORTED);
    kith_index_close(index);
}

/* Rows of every type come back by id, whatever order the file keeps them in. */
static void test_vectors_come_back(void **state) {
    static const kith_dtype dtypes[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8};
    enum { ROWS = 5000, DIM = 7 };
    (void)state;
    float vector[DIM], expected[DIM];
    for (size_t t = 0; t < 5; t++) {
        data_set set = data_make(DATA_OUTLIER, dtypes[t], KITH_COSINE, ROWS, DIM, 1, 1);
        data_build(&set, data_path("back.kith"), NULL);
        kith_index *index = data_open(data_path("back.kith"));
        for (size_t i = 0; i < ROWS; i++) {
            data_floats(set.dtype, data_row(&set, i), DIM, expected);
            assert_int_equal(kith_index_vector(index, data_id(&set, i), vector, &error), KITH_OK);
            assert_memory_equal(vector, expected, sizeof(vector));
        }
        assert_int_equal(kith_index_vector(index, 1, vector, &error), KITH_E_NOTFOUND);
        assert_non_null(strstr(error.text, "no id 1"));
        kith_index_close(index);
        data_free(&set);
    }
    data_set set = data_make(DATA_NORMAL, KITH_B1, KITH_HAMMING, 300, 40, 1, 1);
    data_build(&set, data_path("back.kith"), NULL);
    kith_index *index = data_open(data_path("back.kith"));
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(kith_index_vector(index, data_id(&set, i), vector, &error), KITH_OK);
        assert_memory_equal(vector, data_row(&set, i), 5);
    }
    kith_index_close(index);
    data_free(&set);
}

static void test_stored_types(void **state) {
    static const kith_dtype to[] = {KITH_F16, KITH_BF16};
    enum { ROWS = 400, DIM = 33 };
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, ROWS, DIM, 3, 0);
    float vector[DIM], expected[DIM];
    uint16_t halves[DIM];
    for (size_t t = 0; t < 2; t++) {
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.dtype = to[t];
        data_build(&set, data_path("stored.kith"), &options);
        kith_index *index = data_open(data_path("stored.kith"));
        kith_index_info info = KITH_INDEX_INFO_INIT;
        kith_index_get_info(index, &info);
        assert_int_equal(info.dtype, to[t]);
        for (size_t i = 0; i < ROWS; i++) {
            data_convert(data_row(&set, i), to[t], DIM, halves);
            data_floats(to[t], halves, DIM, expected);
            assert_int_equal(kith_index_vector(index, i, vector, &error), KITH_OK);
            assert_memory_equal(vector, expected, sizeof(vector));
        }
        kith_index_close(index);
    }
    data_free(&set);
}

static kith_build_report report_of(const void *rows, kith_dtype dtype, uint64_t count, size_t dim, kith_metric metric) {
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_reader *reader = memory_reader(rows, dtype, count, dim, NULL);
    options.metric = metric;
    options.index = KITH_INDEX_IVF;
    if (kith_build(reader, data_path("whole.kith"), &options, &report, &error) != KITH_OK) fail_msg("%s", error.text);
    kith_reader_close(reader);
    if (kith_index_verify(data_path("whole.kith"), NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_int_equal(report.rows, count);
    assert_int_equal(report.dim, dim);
    return report;
}

static void test_whole_numbers_are_seen(void **state) {
    enum { ROWS = 60000, DIM = 4 };
    (void)state;
    float *rows = take(ROWS * DIM, sizeof(float));
    for (size_t i = 0; i < ROWS * DIM; i++) rows[i] = (float)(i * 31 % 256);
    assert_true(report_of(rows, KITH_F32, ROWS, DIM, KITH_L2SQ).integer_codes);
    assert_true(report_of(rows, KITH_F32, ROWS, DIM, KITH_IP).integer_codes);
    assert_false(report_of(rows, KITH_F32, ROWS, DIM, KITH_COSINE).integer_codes);
    /* A sample of 4,096 rows does not see these: the build has to start over. */
    static const float others[] = {0.5f, 256, -1, 1e9f};
    for (size_t i = 0; i < 4; i++) {
        rows[50001 * DIM + 2] = others[i];
        assert_false(report_of(rows, KITH_F32, ROWS, DIM, KITH_L2SQ).integer_codes);
    }
    /* The assumption fails first, and then there is a row that is refused in any case. */
    rows[50001 * DIM + 2] = 0.5f;
    rows[59990 * DIM] = NAN;
    refused(rows, KITH_F32, ROWS, DIM, NULL, NULL, KITH_E_DATA, "row 59990 holds");
    free(rows);
    const int8_t bytes[] = {-128, 127, 0, 1};
    assert_true(report_of(bytes, KITH_I8, 2, 2, KITH_IP).integer_codes);
    const uint8_t more[] = {255, 0, 0, 1};
    assert_true(report_of(more, KITH_U8, 2, 2, KITH_L2SQ).integer_codes);
}

static void test_without_originals(void **state) {
    enum { ROWS = 3000, DIM = 100 };
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 3, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.originals = KITH_ORIGINALS_NONE;
    options.first_level = KITH_FIRST_LEVEL_ON;
    data_build(&set, data_path("none.kith"), &options);
    assert_int_equal(kith_index_verify(data_path("none.kith"), NULL, NULL, NULL, &error), KITH_OK);
    kith_index *index = data_open(data_path("none.kith"));
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index_get_info(index, &info);
    assert_false(info.has_originals);
    float vector[DIM], distances[50];
    uint64_t ids[50];
    assert_int_equal(kith_index_vector(index, 1, vector, &error), KITH_E_UNSUPPORTED);
    kith_scratch *scratch;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = set.bytes;
    queries.dtype = KITH_F32;
    queries.count = 5;
    queries.dim = DIM;
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options search = KITH_SEARCH_OPTIONS_INIT;
    search.explain = &explain;
    assert_int_equal(kith_search(index, &queries, 10, &search, scratch, ids, distances, &error), KITH_OK);
    assert_false(explain.exact);
    for (size_t i = 0; i < 50; i++) {
        assert_true(ids[i] < ROWS && distances[i] >= 0);
        if (i % 10) assert_true(distances[i] >= distances[i - 1]);
    }
    kith_filter *filter;
    assert_int_equal(kith_filter_create(index, ids, 3, NULL, &filter, &error), KITH_OK);
    search.filter = filter;
    assert_int_equal(kith_search(index, &queries, 10, &search, scratch, ids, distances, &error), KITH_OK);
    assert_true(ids[2] != KITH_ID_NONE && ids[3] == KITH_ID_NONE);
    for (int plan = KITH_PLAN_PLAIN; plan <= KITH_PLAN_GATHER; plan++) {
        search.plan = (kith_plan)plan;
        const kith_status status = kith_search(index, &queries, 10, &search, scratch, ids, distances, &error);
        const int codes = plan == KITH_PLAN_SCAN || plan == KITH_PLAN_LEVELS;
        assert_int_equal(status, codes ? KITH_OK : KITH_E_UNSUPPORTED);
    }
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    data_free(&set);
}

/* ---- How it is done ---------------------------------------------------------------------------------------------- */

/* The same rows and options make the same file, bit for bit, on any number of threads. */
static void test_files_are_reproducible(void **state) {
    (void)state;
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
        const data_kind kind = metric == KITH_IP ? DATA_SCALES : DATA_CLUSTERED; /* sums that depend on their order */
        data_set set = data_make(kind, KITH_F32, (kith_metric)metric, 20000, 70, 3, 1);
        struct bytes file[3];
        for (unsigned i = 0; i < 3; i++) {
            kith_build_options options = KITH_BUILD_OPTIONS_INIT;
            options.threads = 1 + i % 2 * 2;
            options.first_level = KITH_FIRST_LEVEL_ON;
            options.no_calibration = 1; /* which is measured times */
            data_build(&set, data_path("same.kith"), &options);
            file[i] = read_whole(data_path("same.kith"));
        }
        for (unsigned i = 1; i < 3; i++) {
            assert_int_equal(file[i].bytes, file[0].bytes);
            for (uint64_t b = 0; b < file[0].bytes; b++)
                if (file[i].data[b] != file[0].data[b])
                    fail_msg("%s: byte %llu differs between builds 0 and %u", kith_metric_name((kith_metric)metric),
                             (unsigned long long)b, i);
        }
        for (unsigned i = 0; i < 3; i++) free(file[i].data);
        data_free(&set);
    }
}

struct canceller {
    int calls, after;
};

static int cancel(void *context, const kith_progress *progress) {
    struct canceller *c = context;
    if (progress->struct_size != sizeof(*progress) || !progress->stage || !progress->unit) abort();
    if (progress->done > progress->total) abort();
    return c->calls++ == c->after;
}

static void test_cancelling(void **state) {
    enum { ROWS = 12000, DIM = 8 };
    (void)state;
    float *rows = take(ROWS * DIM, sizeof(float));
    for (size_t i = 0; i < ROWS * DIM; i++) rows[i] = (float)(i % 1013) * 0.37f;
    int done = 0;
    for (int after = 0; !done; after++) {
        struct canceller c = {0, after};
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.threads = 1;
        options.progress = cancel;
        options.progress_context = &c;
        done = build(rows, KITH_F32, ROWS, DIM, NULL, data_path("cancelled.kith"), &options) == KITH_OK;
        if (done) {
            assert_true(c.calls <= after && after > 3);
        } else {
            refused(rows, KITH_F32, ROWS, DIM, NULL, (c.calls = 0, &options), KITH_E_CANCELLED, "cancelled");
            assert_int_equal(access(data_path("cancelled.kith"), F_OK), -1);
        }
        assert_true(after < 1000);
    }
    free(rows);
}

static void test_replaces_an_older_index(void **state) {
    (void)state;
    const float one[] = {1, 2}, two[] = {3, 4, 5, 6};
    assert_int_equal(build(one, KITH_F32, 1, 2, NULL, data_path("old.kith"), NULL), KITH_OK);
    kith_index *before = data_open(data_path("old.kith"));
    assert_int_equal(build(two, KITH_F32, 2, 2, NULL, data_path("old.kith"), NULL), KITH_OK);
    kith_index *after = data_open(data_path("old.kith"));
    float vector[2];
    assert_int_equal(kith_index_vector(before, 0, vector, &error), KITH_OK); /* the open one goes on as it was */
    assert_true(vector[0] == 1);
    assert_int_equal(kith_index_vector(after, 0, vector, &error), KITH_OK);
    assert_true(vector[0] == 3);
    kith_index_close(before);
    kith_index_close(after);
}

/* Working memory stays near what was asked for, whatever the rows' width, the threads and the first level. */
static void test_memory_is_bounded(void **state) {
    static const struct { size_t rows, dim; } cases[] = {{60000, 64}, {9000, 1000}, {400, 20000}};
    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (unsigned threads = 1; threads <= 3; threads += 2) {
            data_set set = data_make(DATA_NORMAL, KITH_U8, KITH_L2SQ, cases[i].rows, cases[i].dim, 1, 0);
            float *rows = take(cases[i].rows * cases[i].dim, sizeof(float));
            for (size_t j = 0; j < cases[i].rows * cases[i].dim; j++) rows[j] = (float)set.bytes[j] + 0.25f;
            kith_build_options options = KITH_BUILD_OPTIONS_INIT;
            options.threads = threads;
            options.memory_bytes = 16u << 20;
            options.first_level = i == 1 ? KITH_FIRST_LEVEL_NONE : KITH_FIRST_LEVEL_AUTO;
            kith_reader *reader = memory_reader(rows, KITH_F32, cases[i].rows, cases[i].dim, NULL);
            faulty_malloc_start(-1, 0);
            const kith_status status = kith_build(reader, data_path("memory.kith"), &options, NULL, &error);
            faulty_malloc_stop();
            const long peak = atomic_load(&faulty_peak), ids = (long)cases[i].rows * 24;
            assert_int_equal(status, KITH_OK);
            if (peak > (20 << 20) + ids)
                fail_msg("%zu x %zu, %u threads: %ld bytes at once", cases[i].rows, cases[i].dim, threads, peak);
            kith_reader_close(reader);
            free(rows);
            data_free(&set);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_rows_are_named),
        cmocka_unit_test(test_first_bad_row_is_named),
        cmocka_unit_test(test_halves_that_cannot_hold_the_value),
        cmocka_unit_test(test_bad_ids_are_named),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_string_ids_and_names),
        cmocka_unit_test(test_names_without_string_ids),
        cmocka_unit_test(test_vectors_come_back),
        cmocka_unit_test(test_stored_types),
        cmocka_unit_test(test_whole_numbers_are_seen),
        cmocka_unit_test(test_without_originals),
        cmocka_unit_test(test_files_are_reproducible),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_replaces_an_older_index),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
