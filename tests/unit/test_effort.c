/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring plans that have an effort: a graph is measured, with lists beside it and with one list; what was measured
 * rises with the effort; searches with a target walk it with an effort that meets the target; and a calibration that
 * tells of a graph is of no harm to an index without one.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/amend.h"
#include "support/data.h"

#include "index/calibration.h"
#include "store/segment.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 3000, DIM = 24, QUERIES = 400, K = 10 };

static kith_error error;

/* Those beyond ROWS are the queries, of all clusters: each is made to change places with one from all over. */
static data_set rows(void) {
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS + QUERIES, DIM, 77, 0);
    for (size_t i = 0; i < QUERIES; i++) {
        float kept[DIM], *one = (float *)(void *)set.bytes + i * 7 * DIM,
                         *other = (float *)(void *)set.bytes + (ROWS + i) * DIM;
        memcpy(kept, one, sizeof(kept));
        memcpy(one, other, sizeof(kept));
        memcpy(other, kept, sizeof(kept));
    }
    return set;
}

static void build(const char *path, size_t lists, kith_index_type type) {
    data_set set = rows();
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    set.rows = ROWS;
    options.lists = lists;
    options.index = type;
    data_build(&set, path, &options);
    data_free(&set);
}

/* The share of true neighbours that a search of queries that are not stored finds. */
static double recall_of(const kith_index *index, kith_plan plan, double target, kith_explain *explain) {
    static float distances[QUERIES * K], truth[QUERIES * K];
    static uint64_t ids[QUERIES * K];
    data_set set = rows();
    kith_scratch *scratch = NULL;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    float *data = calloc(QUERIES * DIM, sizeof(float));
    size_t found = 0;
    assert_non_null(data);
    for (size_t i = 0; i < QUERIES; i++) memcpy(data + i * DIM, data_row(&set, ROWS + i), DIM * sizeof(float));
    queries.data = data;
    queries.dtype = KITH_F32;
    queries.count = QUERIES;
    queries.dim = DIM;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search(index, &queries, K, NULL, scratch, ids, truth, &error), KITH_OK);
    *explain = (kith_explain)KITH_EXPLAIN_INIT;
    options.plan = plan;
    options.target_recall = target;
    options.explain = explain;
    if (kith_search(index, &queries, K, &options, scratch, ids, distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < QUERIES * K; i++) found += distances[i] <= truth[i / K * K + K - 1];
    kith_scratch_destroy(scratch);
    free(data);
    data_free(&set);
    return (double)found / (QUERIES * K);
}

/* How many settings are of plan graph; recall rises with the effort. */
static size_t count_graph(const kith_index *index) {
    const kith_tuned *tuned = NULL;
    const size_t count = kith_index_tuned(index, &tuned);
    size_t graph = 0;
    for (size_t i = 0; i < count; i++) {
        if (tuned[i].plan != KITH_PLAN_GRAPH) continue;
        graph++;
        assert_in_range(tuned[i].nprobe, 1, KI_CALIBRATION_EFFORT_MAX);
        assert_true(tuned[i].rerank == 0 || tuned[i].rerank >= tuned[i].k);
        if (i && tuned[i - 1].plan == KITH_PLAN_GRAPH && tuned[i - 1].k == tuned[i].k &&
            tuned[i - 1].nprobe < tuned[i].nprobe)
            assert_true(tuned[i].recall > tuned[i - 1].recall);
    }
    return graph;
}

static void check(const char *name, size_t lists) {
    const char *path = data_path(name);
    kith_explain explain;
    build(path, lists, KITH_INDEX_GRAPH);
    kith_index *index = data_open(path);
    assert_true(count_graph(index) >= 8);
    for (double target = 0.9; target < 0.99; target += 0.04) {
        const double recall = recall_of(index, KITH_PLAN_GRAPH, target, &explain);
        assert_int_equal(explain.plan, KITH_PLAN_GRAPH);
        assert_true(explain.effort >= 1);
        if (recall < target - 0.03) fail_msg("%s: asked for %.2f, found %.4f", name, target, recall);
    }
    const double recall = recall_of(index, KITH_PLAN_AUTO, 0.9, &explain);
    assert_true(recall >= 0.87);
    assert_non_null(strstr(explain.considered[0].why, "chosen"));
    kith_index_close(index);
}

static void test_beside_lists(void **state) {
    (void)state;
    check("lists.kith", 40);
}

static void test_one_list(void **state) {
    (void)state;
    check("one.kith", 1);
    assert_int_equal(kith_tune(data_path("one.kith"), NULL, NULL, &error), KITH_OK);
}

/* What an index has not, its calibration may name: nobody takes it. */
static void test_of_another(void **state) {
    (void)state;
    const char *path = data_path("bare.kith");
    kith_tuned settings[2] = {
        {.plan = KITH_PLAN_PLAIN, .k = K, .batch = 1, .recall = 1, .query_ns = 1e6},
        {.plan = KITH_PLAN_GRAPH, .k = K, .batch = 1, .nprobe = 50, .rerank = 18, .recall = 0.99, .query_ns = 1}};
    const ki_calibration calibration = {.settings = settings, .count = 2, .queries = 100};
    unsigned char bytes[512];
    kith_explain explain;
    build(path, 40, KITH_INDEX_IVF);
    assert_true(ki_calibration_bytes(2) <= sizeof(bytes));
    ki_calibration_encode(&calibration, bytes);
    assert_int_equal(amend_file(path, KI_PART_CALIBRATION, bytes, ki_calibration_bytes(2), 2, &error), KITH_OK);
    kith_index *index = data_open(path);
    assert_int_equal(count_graph(index), 1);
    assert_true(recall_of(index, KITH_PLAN_AUTO, 0.9, &explain) == 1);
    assert_true(explain.exact);
    kith_index_close(index);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside_lists), cmocka_unit_test(test_one_list),
                                       cmocka_unit_test(test_of_another)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
