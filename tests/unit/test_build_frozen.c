/* SPDX-License-Identifier: Apache-2.0
 *
 * An HNSW frozen into a graph: walks find as much as over a graph whose candidates were searched for, whatever order
 * the rows come in and however many are equal; indexes that have no links, other vectors or another metric are refused,
 * and nothing is left of the build.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/data.h"

enum { ROWS = 1500, DIM = 20, K = 10, QUERIES = 60 };

static kith_error error;

static kith_index *build(const data_set *set, const char *name, kith_index_type type, const kith_index *links) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.index = type;
    options.links = links;
    options.threads = 1;
    options.no_calibration = 1;
    data_build(set, data_path(name), &options);
    assert_int_equal(kith_index_verify(data_path(name), NULL, NULL, NULL, &error), KITH_OK);
    return data_open(data_path(name));
}

/* The share of true neighbours that walks find. */
static double recall_of(const data_set *set, const kith_index *index) {
    float *rows = data_queries(set, DATA_NORMAL, KITH_F32, QUERIES, 3);
    data_hit *truth = malloc(set->rows * sizeof(*truth));
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_scratch *scratch = NULL;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    size_t found = 0;
    assert_non_null(truth);
    queries.data = rows, queries.dtype = KITH_F32, queries.count = QUERIES, queries.dim = set->dim;
    options.plan = KITH_PLAN_GRAPH;
    options.effort = 100;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search(index, &queries, K, &options, scratch, ids, distances, &error), KITH_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        data_reference(set, rows + q * set->dim, NULL, truth);
        for (size_t i = 0; i < K; i++) found += distances[q * K + i] <= truth[K - 1].distance;
    }
    kith_scratch_destroy(scratch);
    free(rows);
    free(truth);
    return (double)found / (QUERIES * K);
}

static void check_frozen(data_kind kind, kith_dtype dtype, kith_metric metric, double least) {
    data_set set = data_make(kind, dtype, metric, ROWS, DIM, 8, 1);
    kith_index *links = build(&set, "links.kith", KITH_INDEX_HNSW, NULL);
    kith_index *searched = build(&set, "searched.kith", KITH_INDEX_GRAPH, NULL);
    for (size_t i = 0; i < ROWS / 2; i++) { /* the other way round */
        unsigned char row[DIM * sizeof(float)];
        const size_t other = ROWS - 1 - i, bytes = set.row_bytes;
        const uint64_t id = set.ids[i];
        memcpy(row, set.bytes + i * bytes, bytes);
        memcpy(set.bytes + i * bytes, set.bytes + other * bytes, bytes);
        memcpy(set.bytes + other * bytes, row, bytes);
        set.ids[i] = set.ids[other];
        set.ids[other] = id;
    }
    kith_index *frozen = build(&set, "frozen.kith", KITH_INDEX_GRAPH, links);
    const double now = recall_of(&set, frozen);
    assert_true(now >= recall_of(&set, searched) - 0.04);
    assert_true(now >= least);
    kith_index_close(frozen);
    kith_index_close(searched);
    kith_index_close(links);
    data_free(&set);
}

static void test_recall(void **state) {
    (void)state;
    check_frozen(DATA_NORMAL, KITH_F32, KITH_L2SQ, 0.93);
    check_frozen(DATA_CLUSTERED, KITH_F16, KITH_COSINE, 0.93);
    check_frozen(DATA_NORMAL, KITH_I8, KITH_IP, 0.9);
    check_frozen(DATA_DUPLICATES, KITH_F32, KITH_L2SQ, 0.97);
}

static void refuse(const data_set *set, const kith_index *links, const char *part) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_reader *reader = NULL;
    options.index = KITH_INDEX_GRAPH;
    options.links = links;
    options.metric = set->metric;
    options.no_calibration = 1;
    assert_int_equal(kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, NULL, &reader, &error),
                     KITH_OK);
    assert_int_equal(kith_build(reader, data_path("refused.kith"), &options, NULL, &error), KITH_E_ARG);
    if (!strstr(error.text, part)) fail_msg("'%s' does not say '%s'", error.text, part);
    assert_int_not_equal(access(data_path("refused.kith"), F_OK), 0);
    kith_reader_close(reader);
}

static void test_refusals(void **state) {
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 300, DIM, 1, 1);
    data_set other = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 300, DIM, 2, 1);
    data_set wide = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 300, DIM + 1, 1, 1);
    kith_index *plain = build(&set, "plain.kith", KITH_INDEX_GRAPH, NULL);
    kith_index *links = build(&set, "some.kith", KITH_INDEX_HNSW, NULL);
    refuse(&set, plain, "has no HNSW");
    refuse(&other, links, "not the same vectors");
    refuse(&wide, links, "another type, dimension or metric");
    set.metric = KITH_IP;
    refuse(&set, links, "another type, dimension or metric");
    set.metric = KITH_L2SQ;
    kith_index_close(build(&set, "lists.kith", KITH_INDEX_IVF, plain)); /* no graph: no links are looked at */
    kith_index_close(plain);
    kith_index_close(links);
    data_free(&set);
    data_free(&other);
    data_free(&wide);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recall), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
