/* SPDX-License-Identifier: Apache-2.0
 *
 * Recall of approximate searches, with fixed seeds: every code, after building and after opening anew, with all kinds
 * of originals and without. The truth is support/data.c's. Floors lie some hundredths below what was measured.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6000, DIM = 64, QUERIES = 60, K = 10, LISTS = 60 };

static kith_error error;

struct setting {
    kith_scan_code code;
    size_t nprobe, rerank;
};

static double recall_of(const float *queries, const data_hit *truth, const char *path, struct setting setting) {
    kith_index *index = data_open(path);
    kith_scratch *scratch = NULL;
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_queries q = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    q.data = queries;
    q.dtype = KITH_F32;
    q.count = QUERIES;
    q.dim = DIM;
    options.plan = KITH_PLAN_IVF;
    options.code = setting.code;
    options.nprobe = setting.nprobe;
    options.rerank = setting.rerank;
    options.explain = &explain;
    if (kith_search(index, &q, K, &options, scratch, ids, distances, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_int_equal(explain.exact, 0);
    assert_int_equal(explain.nprobe, setting.nprobe);
    assert_true(explain.probed_lists >= QUERIES);
    unsigned found = 0;
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < K; j++)
            for (size_t t = 0; t < K; t++) found += ids[i * K + j] == truth[i * ROWS + t].id;
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    return (double)found / (QUERIES * K);
}

struct world {
    data_set set;
    float *queries;
    data_hit *truth;
};

static struct world make_world(data_kind kind, kith_metric metric, kith_dtype dtype) {
    struct world w = {.set = data_make(kind, dtype, metric, ROWS, DIM, 21, 1)};
    w.queries = data_queries(&w.set, kind, KITH_F32, QUERIES, 22);
    w.truth = malloc((size_t)QUERIES * ROWS * sizeof(*w.truth));
    assert_non_null(w.truth);
    for (size_t i = 0; i < QUERIES; i++) data_reference(&w.set, w.queries + i * DIM, NULL, w.truth + i * ROWS);
    return w;
}

static void free_world(struct world *w) {
    free(w->queries);
    free(w->truth);
    data_free(&w->set);
}

static void build(const struct world *w, const char *path, const char *code, kith_originals originals) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = LISTS;
    options.code = code;
    options.originals = originals;
    options.no_calibration = 1;
    options.first_level = KITH_FIRST_LEVEL_ON;
    data_build(&w->set, path, &options);
}

/* Half of the lists and four times k candidates: what a code loses shows, what the lists lose is small. */
static void check_code(const struct world *w, const char *code, double floor_reranked, double floor_alone) {
    const struct setting second = {KITH_SCAN_SECOND, LISTS / 2, 4 * K};
    build(w, data_path("code.kith"), code, KITH_ORIGINALS_KEEP);
    const double reranked = recall_of(w->queries, w->truth, data_path("code.kith"), second);
    assert_true(reranked == recall_of(w->queries, w->truth, data_path("code.kith"), second)); /* opened anew */
    kith_index *index = data_open(data_path("code.kith"));
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index_get_info(index, &info);
    assert_string_equal(info.second_code, code);
    assert_true(info.second_code_bytes > 0 && info.second_code_error > 0);
    const double bytes = (double)info.second_code_bytes / ROWS, code_error = info.second_code_error;
    kith_index_close(index);
    build(w, data_path("alone.kith"), code, KITH_ORIGINALS_NONE);
    const double alone = recall_of(w->queries, w->truth, data_path("alone.kith"), second);
    print_message("%-10s %6.1f bytes, error %.3f: recall@%d %.4f, without originals %.4f\n", code, bytes, code_error, K,
                  reranked, alone);
    assert_true(reranked >= floor_reranked);
    assert_true(alone >= floor_alone);
}

static void test_second_codes(void **state) {
    (void)state;
    struct world w = make_world(DATA_CLUSTERED, KITH_L2SQ, KITH_F32);
    check_code(&w, "pq:16x4", 0.56, 0.32);
    check_code(&w, "pq:32x4", 0.67, 0.41);
    check_code(&w, "pq:16x8", 0.74, 0.47);
    check_code(&w, "opq:16x4", 0.56, 0.30);
    check_code(&w, "rabitq:1", 0.67, 0.38);
    check_code(&w, "rabitq:2", 0.75, 0.54);
    check_code(&w, "rabitq:3", 0.79, 0.64);
    check_code(&w, "rabitq:4", 0.84, 0.71);
    check_code(&w, "rabitq:8", 0.93, 0.88);
    free_world(&w);
    w = make_world(DATA_NORMAL, KITH_COSINE, KITH_F32);
    check_code(&w, "pq:32x4", 0.75, 0.48);
    check_code(&w, "rabitq:4", 0.82, 0.75);
    free_world(&w);
}

static void check_types(data_kind kind, kith_metric metric, kith_dtype dtype, double floor_of_lists) {
    struct world w = make_world(kind, metric, dtype);
    build(&w, data_path("types.kith"), NULL, KITH_ORIGINALS_KEEP);
    const struct setting few = {KITH_SCAN_INT8, LISTS / 4, 2 * K}, levels = {KITH_SCAN_LEVELS, LISTS / 4, 0};
    const struct setting first = {KITH_SCAN_FIRST, LISTS / 4, 20 * K};
    const double by_int8 = recall_of(w.queries, w.truth, data_path("types.kith"), few);
    const double by_levels = recall_of(w.queries, w.truth, data_path("types.kith"), levels);
    const double by_first = recall_of(w.queries, w.truth, data_path("types.kith"), first);
    build(&w, data_path("none.kith"), NULL, KITH_ORIGINALS_NONE);
    const double alone = recall_of(w.queries, w.truth, data_path("none.kith"), few);
    print_message("%-10s %-6s %-4s int8 %.4f, levels %.4f, first %.4f, int8 without originals %.4f\n",
                  data_kind_name(kind), kith_metric_name(metric), kith_dtype_name(dtype), by_int8, by_levels, by_first,
                  alone);
    assert_true(by_int8 >= floor_of_lists);
    assert_true(by_levels >= floor_of_lists);
    assert_true(by_first >= floor_of_lists);
    assert_true(alone >= floor_of_lists - 0.1);
    free_world(&w);
}

static void test_types(void **state) {
    (void)state;
    check_types(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, 0.90);
    check_types(DATA_CLUSTERED, KITH_IP, KITH_F16, 0.80);
    check_types(DATA_CLUSTERED, KITH_COSINE, KITH_BF16, 0.80);
    check_types(DATA_WHOLE, KITH_L2SQ, KITH_U8, 0.50);
    check_types(DATA_LOW_RANK, KITH_L2SQ, KITH_F32, 0.90);
    check_types(DATA_NORMAL, KITH_COSINE, KITH_F32, 0.50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_codes),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
