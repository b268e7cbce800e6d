/* SPDX-License-Identifier: Apache-2.0
 *
 * Indexes of hash tables: built, checked, opened and searched by every metric. Recall has a floor and does not fall
 * with effort; there are always min(k, allowed) results with the distances of the contract; bytes do not depend on
 * threads.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/segment_file.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 10 };

static kith_error error;

static const struct {
    kith_metric metric;
    kith_dtype dtype;
} kinds[] = {{KITH_L2SQ, KITH_F32},   {KITH_IP, KITH_F16},     {KITH_COSINE, KITH_F32},
             {KITH_HAMMING, KITH_B1}, {KITH_JACCARD, KITH_B1}, {KITH_L2SQ, KITH_U8}};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

static kith_build_options with_tables(unsigned tables, unsigned functions) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.index = KITH_INDEX_LSH;
    options.lsh_tables = tables;
    options.lsh_functions = functions;
    options.no_calibration = 1;
    options.threads = 1;
    return options;
}

static kith_index *build(const data_set *set, kith_build_options options) {
    const char *path = data_path("tables.kith");
    data_build(set, path, &options);
    if (kith_index_verify(path, NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    return data_open(path);
}

static kith_dtype query_type(const data_set *set) {
    return set->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
}

struct results {
    uint64_t ids[K];
    float distances[K];
};

/* One query by plan lsh. */
static struct results search(const kith_index *index, const data_set *set, const void *query, size_t effort,
                             const kith_filter *filter, kith_explain *explain) {
    struct results results;
    kith_scratch *scratch = NULL;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    queries.data = query;
    queries.dtype = query_type(set);
    queries.dim = set->dim;
    queries.count = 1;
    options.plan = KITH_PLAN_LSH;
    options.effort = effort;
    options.filter = filter;
    options.explain = explain;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    if (kith_search(index, &queries, K, &options, scratch, results.ids, results.distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    kith_scratch_destroy(scratch);
    return results;
}

/* Results are as many as there can be, in order, distinct, allowed, and their distances true. Returns how many of them
 * are as near as the true ones. */
static size_t assert_results(const data_set *set, const void *query, const char *allowed, const struct results *r,
                             data_hit *truth) {
    const size_t all = data_reference(set, query, allowed, truth), expected = all < K ? all : K;
    size_t found = 0;
    for (size_t i = 0; i < K; i++) {
        size_t at = 0;
        if (i >= expected) {
            assert_true(r->ids[i] == KITH_ID_NONE && isinf(r->distances[i]));
            continue;
        }
        while (at < all && truth[at].id != r->ids[i]) at++;
        if (at == all) fail_msg("result %zu is no vector that may be found", i);
        assert_true(truth[at].distance == r->distances[i]);
        if (i)
            assert_true(r->distances[i - 1] < r->distances[i] ||
                        (r->distances[i - 1] == r->distances[i] && r->ids[i - 1] < r->ids[i]));
        found += r->distances[i] <= truth[expected - 1].distance;
    }
    return found;
}

/* ---- Recall ------------------------------------------------------------------------------------------------------ */

/* Groups of bits that differ in some; sparse for jaccard. */
static data_set grouped_bits(kith_metric metric, size_t rows, size_t dim) {
    data_set set = data_make(metric == KITH_JACCARD ? DATA_SPARSE : DATA_NORMAL, KITH_B1, metric, rows, dim, 5, 0);
    ki_rng rng = {17};
    for (size_t i = 1; i < rows; i++) {
        if (i % 20 == 0) continue;
        memcpy(set.bytes + i * set.row_bytes, set.bytes + (i - i % 20) * set.row_bytes, set.row_bytes);
        for (size_t j = 0; j < dim / (metric == KITH_JACCARD ? 40 : 12); j++) {
            const uint64_t bit = ki_rng_below(&rng, dim);
            set.bytes[i * set.row_bytes + bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
    return set;
}

static void test_recall(void **state) {
    (void)state;
    enum { ROWS = 3000, QUERIES = 40 };
    /* At an effort of 1 and of 64. Found: .925 and 1, .652 and 1, .953 and 1, .97 and 1, .915 and .948. */
    static const double floor[KINDS][2] = {{.8, .98}, {.5, .96}, {.85, .98}, {.9, .98}, {.8, .9}, {.8, .98}};
    data_hit *truth = calloc(ROWS, sizeof(*truth));
    assert_non_null(truth);
    for (size_t m = 0; m < KINDS; m++) {
        const size_t dim = kinds[m].dtype == KITH_B1 ? 512 : 48;
        data_set set = kinds[m].dtype == KITH_B1
                           ? grouped_bits(kinds[m].metric, ROWS, dim)
                           : data_make(DATA_LOW_RANK, kinds[m].dtype, kinds[m].metric, ROWS, dim, 4, 1);
        kith_index *index = build(&set, with_tables(kinds[m].dtype == KITH_B1 ? 6 : 2, 0));
        double before = 0;
        for (size_t effort = 1; effort <= 64; effort *= 4) {
            size_t found = 0;
            for (size_t q = 0; q < QUERIES; q++) {
                float query[512];
                const void *row = data_row(&set, q * (ROWS / QUERIES));
                if (set.dtype == KITH_B1)
                    memcpy(query, row, set.row_bytes);
                else
                    data_floats(set.dtype, row, dim, query);
                for (size_t j = 0; j < dim && set.dtype != KITH_B1; j++) query[j] *= 1 + (float)(j % 3) / 20;
                const struct results results = search(index, &set, query, effort, NULL, NULL);
                found += assert_results(&set, query, NULL, &results, truth);
            }
            const double recall = (double)found / (QUERIES * K);
            if (recall < before) fail_msg("kind %zu: recall falls to %.3f at effort %zu", m, recall, effort);
            if (effort == 1 && recall < floor[m][0]) fail_msg("kind %zu: recall %.3f at effort 1", m, recall);
            if (effort == 64 && recall < floor[m][1]) fail_msg("kind %zu: recall %.3f at effort 64", m, recall);
            if (getenv("TEST_SHOW")) printf("kind %zu effort %zu recall %.3f\n", m, effort, recall);
            before = recall;
        }
        kith_index_close(index);
        data_free(&set);
    }
    free(truth);
}

/* ---- Shapes of data ---------------------------------------------------------------------------------------------- */

static void try_set(const data_set *set, data_kind kind, kith_build_options options, size_t effort) {
    enum { QUERIES = 4 };
    data_hit *truth = calloc(set->rows, sizeof(*truth));
    char *allowed = calloc(set->rows, 1);
    uint64_t *ids = calloc(set->rows, sizeof(*ids));
    unsigned char *queries = data_queries(set, kind, query_type(set), QUERIES, 3);
    const size_t row = kith_row_bytes(query_type(set), set->dim);
    kith_index *index = build(set, options);
    kith_filter *filter = NULL;
    size_t count = 0;
    assert_true(truth && allowed && ids && queries);
    for (size_t i = 0; i < set->rows; i += 3) {
        allowed[i] = 1;
        ids[count++] = data_id(set, i);
    }
    assert_int_equal(kith_filter_create(index, ids, count, NULL, &filter, &error), KITH_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        struct results results = search(index, set, queries + q * row, effort, NULL, NULL);
        assert_results(set, queries + q * row, NULL, &results, truth);
        results = search(index, set, queries + q * row, effort, filter, NULL);
        assert_results(set, queries + q * row, allowed, &results, truth);
    }
    kith_filter_destroy(filter);
    kith_index_close(index);
    free(queries);
    free(ids);
    free(allowed);
    free(truth);
}

static void test_few_rows(void **state) {
    (void)state;
    static const size_t rows[] = {1, 2, 3, 17, 100};
    for (size_t m = 0; m < KINDS; m++)
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
            data_set set = data_make(DATA_NORMAL, kinds[m].dtype, kinds[m].metric, rows[i], 16, 1 + i, 1);
            try_set(&set, DATA_NORMAL, with_tables(i % 2 ? 0 : 3, i % 3 ? 0 : 5), i ? 2 : 100000);
            data_free(&set);
        }
}

static void test_dimensions(void **state) {
    (void)state;
    static const size_t dims[] = {1, 2, 9, 4096};
    for (size_t m = 0; m < KINDS; m++)
        for (size_t i = 0; i < sizeof(dims) / sizeof(*dims); i++) {
            const size_t dim = kinds[m].dtype == KITH_B1 ? dims[i] * 8 : dims[i];
            data_set set = data_make(DATA_NORMAL, kinds[m].dtype, kinds[m].metric, 90, dim, 6, 0);
            try_set(&set, DATA_NORMAL, with_tables(4, 0), 2);
            data_free(&set);
        }
}

static void test_kinds_of_data(void **state) {
    (void)state;
    for (size_t m = 0; m < KINDS; m++)
        for (data_kind kind = 0; kind < DATA_KINDS; kind++) {
            data_set set = data_make(kind, kinds[m].dtype, kinds[m].metric, 160, 24, 8, 1);
            try_set(&set, kind, with_tables(4, kind % 4 == 1 ? 64 : 0), 3);
            data_free(&set);
        }
}

/* Beside lists, whose order of vectors is another. */
static void test_lists(void **state) {
    (void)state;
    kith_build_options options = with_tables(8, 0);
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 1200, 20, 9, 1);
    options.lists = 12;
    try_set(&set, DATA_CLUSTERED, options, 4);
    data_free(&set);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static void test_threads(void **state) {
    (void)state;
    for (size_t m = 0; m < KINDS; m++) {
        data_set set = data_make(DATA_CLUSTERED, kinds[m].dtype, kinds[m].metric, 2500, 24, 12, 0);
        test_bytes file[2];
        for (unsigned i = 0; i < 2; i++) {
            kith_build_options options = with_tables(6, 0);
            options.threads = 1 + 2 * i;
            data_build(&set, data_path("threads.kith"), &options);
            file[i] = test_read(data_path("threads.kith"));
        }
        for (uint32_t part = KI_PART_LSH_MODEL; part <= KI_PART_LSH_TABLES; part++) {
            uint64_t bytes[2];
            const size_t at[2] = {test_find(file[0], part, &bytes[0]), test_find(file[1], part, &bytes[1])};
            assert_true(at[0] && at[1] && bytes[0] == bytes[1]);
            assert_memory_equal(file[0].data + at[0], file[1].data + at[1], bytes[0]);
        }
        for (int i = 0; i < 2; i++) free(file[i].data);
        data_free(&set);
    }
}

/* Changed as a malicious author would: opening or verifying says so, and searches stay inside. */
static void test_hostile_file(void **state) {
    (void)state;
    enum { ROWS = 500 };
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_COSINE, ROWS, 16, 13, 0);
    const kith_build_options options = with_tables(4, 0);
    const char *path = data_path("hostile.kith");
    ki_rng rng = {19};
    data_build(&set, path, &options);
    test_bytes file = test_read(path);
    uint64_t bytes;
    const size_t tables = test_find(file, KI_PART_LSH_TABLES, &bytes), model = test_find(file, KI_PART_LSH_MODEL, NULL);
    file.data[model + 12]++; /* a table more */
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    kith_index *index = NULL;
    assert_int_equal(kith_index_open(path, NULL, &index, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "section 'lsh'"));
    file.data[model + 12]--;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 200; i++) file.data[tables + ki_rng_below(&rng, bytes)] = (unsigned char)ki_rng_next(&rng);
        test_reseal(file);
        test_write(path, file.data, file.bytes);
        assert_int_equal(kith_index_open(path, NULL, &index, &error), KITH_OK);
        for (size_t q = 0; q < 5; q++) {
            const struct results results = search(index, &set, data_row(&set, q), 50, NULL, NULL);
            for (size_t i = 0; i < K; i++) assert_true(results.ids[i] < ROWS);
        }
        assert_int_equal(kith_index_check(index, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
        assert_non_null(strstr(error.text, "section 'lsh', part 'tables'"));
        kith_index_close(index);
    }
    free(file.data);
    data_free(&set);
}

/* ---- The contract ------------------------------------------------------------------------------------------------ */

static kith_status try_build(const data_set *set, kith_build_options options) {
    kith_reader *reader = NULL;
    options.metric = set->metric;
    assert_int_equal(kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, NULL, &reader, &error),
                     KITH_OK);
    const kith_status status = kith_build(reader, data_path("refused.kith"), &options, NULL, &error);
    kith_reader_close(reader);
    return status;
}

static int cancel(void *context, const kith_progress *progress) {
    return strcmp(progress->stage, context) == 0;
}

static void test_options(void **state) {
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 400, 8, 2, 0);
    static char stage[] = "hashing vectors";
    kith_build_options without = with_tables(0, 0), cancelled = with_tables(0, 0);
    without.originals = KITH_ORIGINALS_NONE;
    cancelled.progress = cancel;
    cancelled.progress_context = stage;
    assert_int_equal(try_build(&set, with_tables(1025, 0)), KITH_E_ARG);
    assert_int_equal(try_build(&set, with_tables(0, 65)), KITH_E_ARG);
    assert_int_equal(try_build(&set, without), KITH_E_UNSUPPORTED);
    assert_int_equal(try_build(&set, cancelled), KITH_E_CANCELLED);
    assert_int_equal(try_build(&set, with_tables(1024, 64)), KITH_OK);
    data_free(&set);
}

static void test_told(void **state) {
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_IP, 2000, 32, 2, 0);
    kith_index *index = build(&set, with_tables(9, 0));
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_scratch *scratch = NULL;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_ranges ranges;
    assert_int_equal(kith_index_get_info(index, &info), KITH_OK);
    assert_int_equal(info.lsh_tables, 9);
    (void)search(index, &set, data_row(&set, 7), 5, NULL, &explain);
    assert_int_equal(explain.plan, KITH_PLAN_LSH);
    assert_string_equal(explain.plan_name, "lsh");
    assert_false(explain.exact);
    assert_int_equal(explain.effort, 5);
    assert_true(explain.visited >= explain.candidates && explain.candidates >= K);
    assert_int_equal(explain.candidates, explain.reranked);
    queries.data = data_row(&set, 7);
    queries.dtype = KITH_F32;
    queries.dim = set.dim;
    queries.count = 1;
    options.plan = KITH_PLAN_LSH;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search_range(index, &queries, 1, &options, scratch, &ranges, &error), KITH_E_UNSUPPORTED);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    kith_build_options flat = KITH_BUILD_OPTIONS_INIT;
    flat.lists = 1;
    data_build(&set, data_path("flat.kith"), &flat);
    index = data_open(data_path("flat.kith"));
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    uint64_t ids[K];
    float distances[K];
    assert_int_equal(kith_search(index, &queries, K, &options, scratch, ids, distances, &error), KITH_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "the index has no hash tables"));
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    data_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall),        cmocka_unit_test(test_few_rows), cmocka_unit_test(test_dimensions),
        cmocka_unit_test(test_kinds_of_data), cmocka_unit_test(test_lists),    cmocka_unit_test(test_threads),
        cmocka_unit_test(test_hostile_file),  cmocka_unit_test(test_options),  cmocka_unit_test(test_told),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
