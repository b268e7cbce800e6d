/* SPDX-License-Identifier: Apache-2.0
 *
 * Second lists: which are chosen, what a build makes of them, and what they do for searches. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "index/index.h"
#include "kmeans/second_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6000, DIM = 64, QUERIES = 80, K = 10, LISTS = 80 };

static kith_error error;

/* ---- Choosing ---------------------------------------------------------------------------------------------------- */

/* In the plane: the vector lies right of its first centroid. */
static void test_rank_prefers_another_direction(void **state) {
    (void)state;
    float centroids[] = {0, 0, 3, 0, 1, 2.2F, -1, 0, 50, 50}, work[4];
    const ki_kmeans kmeans = {.lists = 5, .dim = 2, .centroids = centroids};
    const float vector[] = {1, 0};
    const uint32_t choices[KI_CHOICES] = {0, 1, 3, 2, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    uint32_t second_lists[KI_SECOND_CHOICES];
    ki_second_list_rank(&kmeans, vector, choices, work, second_lists);
    /* Lists 1 and 3 are 2 away, both along the residual, and cost 4 + 1.5 * 4; list 2 is 2.2 away, across it: 4.84. */
    const uint32_t expected[KI_SECOND_CHOICES] = {2, 1, 3, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    assert_memory_equal(second_lists, expected, sizeof(expected));
}

static void test_rank_of_a_centroid(void **state) {
    (void)state;
    float centroids[] = {0, 0, 3, 0, 0, 2}, work[4];
    const ki_kmeans kmeans = {.lists = 3, .dim = 2, .centroids = centroids};
    const float vector[] = {0, 0}; /* its residual has no direction */
    uint32_t second_lists[KI_SECOND_CHOICES], choices[KI_CHOICES] = {0, 1, 2};
    for (size_t i = 3; i < KI_CHOICES; i++) choices[i] = UINT32_MAX;
    ki_second_list_rank(&kmeans, vector, choices, work, second_lists);
    assert_int_equal(second_lists[0], 2);
    assert_int_equal(second_lists[1], 1);
    assert_int_equal(second_lists[2], UINT32_MAX);
    choices[0] = UINT32_MAX; /* no list at all */
    ki_second_list_rank(&kmeans, vector, choices, work, second_lists);
    assert_int_equal(second_lists[0], UINT32_MAX);
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

static kith_build_options with_lists(kith_first_level first_level) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = LISTS;
    options.threads = 2;
    options.first_level = first_level;
    options.no_calibration = 1;
    return options;
}

static void check_lists(const data_set *set, kith_first_level first_level) {
    const kith_build_options options = with_lists(first_level);
    const char *path = data_path("second_list.kith");
    data_build(set, path, &options);
    if (kith_index_verify(path, NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    kith_index *index = data_open(path);
    const ki_view *view = &index->view;
    const ki_second_lists *second_lists = &view->second_lists;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index_get_info(index, &info);
    assert_true(second_lists->level.blocks > 0);
    assert_int_equal(second_lists->level.quads, view->level1.blocks ? view->level1.quads : view->full.quads);
    assert_int_equal(view->level1.blocks != 0, first_level == KITH_FIRST_LEVEL_ON);
    assert_int_equal(info.spilled_rows, second_lists->first[view->lists.count]);
    assert_true(info.spilled_rows > ROWS * 9 / 10); /* hardly any vector finds no list with room */
    for (size_t l = 0; l < view->lists.count; l++)
        assert_true(second_lists->first[l + 1] - second_lists->first[l] <= 4 * ROWS / view->lists.count);
    kith_index_close(index);
}

static void test_build(void **state) {
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 3, 1);
    check_lists(&set, KITH_FIRST_LEVEL_ON);
    check_lists(&set, KITH_FIRST_LEVEL_NONE);
    data_free(&set);
    set = data_make(DATA_WHOLE, KITH_U8, KITH_IP, ROWS, DIM, 3, 0);
    check_lists(&set, KITH_FIRST_LEVEL_NONE);
    check_lists(&set, KITH_FIRST_LEVEL_ON);
    data_free(&set);
    set = data_make(DATA_NORMAL, KITH_F16, KITH_COSINE, ROWS, DIM, 3, 0);
    check_lists(&set, KITH_FIRST_LEVEL_ON);
    data_free(&set);
}

static void check_none(const data_set *set, kith_build_options options) {
    data_build(set, data_path("none.kith"), &options);
    kith_index *index = data_open(data_path("none.kith"));
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index_get_info(index, &info);
    assert_int_equal(info.spilled_rows, 0);
    for (size_t s = 0; s < info.sections; s++) assert_null(strstr(info.section[s].name, "second_lists"));
    kith_index_close(index);
}

static void test_left_out(void **state) {
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 500, DIM, 3, 1);
    kith_build_options options = with_lists(KITH_FIRST_LEVEL_ON);
    options.no_spill = 1;
    check_none(&set, options);
    options.no_spill = 0;
    options.originals = KITH_ORIGINALS_NONE;
    check_none(&set, options);
    options.originals = KITH_ORIGINALS_KEEP;
    options.lists = 1;
    check_none(&set, options);
    data_free(&set);
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

struct world {
    data_set set;
    float *queries;
    data_hit *truth;
};

static struct world make_world(data_kind kind, kith_metric metric) {
    struct world w = {.set = data_make(kind, KITH_F32, metric, ROWS, DIM, 21, 1)};
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

/* Recall of a search, none of whose results comes twice. allowed: NULL or the only ids. */
static double recall_of(const struct world *w, const kith_index *index, kith_scan_code code, size_t nprobe,
                        const uint64_t *allowed, size_t allowed_count) {
    kith_scratch *scratch = NULL;
    kith_filter *filter = NULL;
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_queries q = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    if (allowed) assert_int_equal(kith_filter_create(index, allowed, allowed_count, NULL, &filter, &error), KITH_OK);
    q.data = w->queries;
    q.dtype = KITH_F32;
    q.count = QUERIES;
    q.dim = DIM;
    options.plan = KITH_PLAN_IVF;
    options.code = code;
    options.nprobe = nprobe;
    options.rerank = 4 * K;
    options.filter = filter;
    if (kith_search(index, &q, K, &options, scratch, ids, distances, &error) != KITH_OK) fail_msg("%s", error.text);
    unsigned found = 0;
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < K; j++) {
            for (size_t t = 0; t < K; t++) found += ids[i * K + j] == w->truth[i * ROWS + t].id;
            for (size_t o = 0; o < j; o++) assert_int_not_equal(ids[i * K + j], ids[i * K + o]);
            int in = allowed == NULL;
            for (size_t a = 0; a < allowed_count && !in; a++) in = ids[i * K + j] == allowed[a];
            assert_true(in);
        }
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
    return (double)found / (QUERIES * K);
}

/* With as many vectors looked at, second lists find more; `least`: how much, some hundredths below what was
 * measured. */
static void check_gain(data_kind kind, kith_metric metric, kith_first_level first_level, double least, double floor) {
    struct world w = make_world(kind, metric);
    const kith_scan_code code = first_level == KITH_FIRST_LEVEL_ON ? KITH_SCAN_FIRST : KITH_SCAN_INT8;
    kith_build_options options = with_lists(first_level);
    data_build(&w.set, data_path("with.kith"), &options);
    options.no_spill = 1;
    data_build(&w.set, data_path("without.kith"), &options);
    kith_index *with = data_open(data_path("with.kith")), *without = data_open(data_path("without.kith"));
    const double twice = recall_of(&w, with, code, 6, NULL, 0), once = recall_of(&w, without, code, 6, NULL, 0);
    print_message("%s %s: recall %.4f in 6 lists, without second lists %.4f\n", data_kind_name(kind),
                  kith_metric_name(metric), twice, once);
    assert_true(twice >= once + least);
    assert_true(twice >= floor);
    uint64_t allowed[ROWS / 3];
    for (size_t i = 0; i < ROWS / 3; i++) allowed[i] = w.truth[3 * i].id;
    (void)recall_of(&w, with, code, 9, allowed, ROWS / 3);
    kith_index_close(with);
    kith_index_close(without);
    free_world(&w);
}

static void test_gain(void **state) {
    (void)state;
    check_gain(DATA_NORMAL, KITH_COSINE, KITH_FIRST_LEVEL_NONE, 0.12, 0.52);
    check_gain(DATA_NORMAL, KITH_L2SQ, KITH_FIRST_LEVEL_NONE, 0.11, 0.41);
    check_gain(DATA_CLUSTERED, KITH_L2SQ, KITH_FIRST_LEVEL_NONE, 0, 0.93);
    check_gain(DATA_LOW_RANK, KITH_L2SQ, KITH_FIRST_LEVEL_ON, -0.01, 0.95);
    check_gain(DATA_LOW_RANK, KITH_IP, KITH_FIRST_LEVEL_ON, 0, 0.88);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rank_prefers_another_direction),
        cmocka_unit_test(test_rank_of_a_centroid),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_gain),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
