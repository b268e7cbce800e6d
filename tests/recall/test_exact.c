/* SPDX-License-Identifier: Apache-2.0
 *
 * Recall, with fixed seeds, after building and after opening anew: 1 with originals by every plan, and without
 * originals not below a floor. The truth is support/data.c's. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4000, DIM = 96, QUERIES = 40, K = 10 };

static kith_error error;

/* Share of the true k nearest that were found; *stretch: the largest relative error of a distance. */
static double recall_of(const data_set *set, const float *queries, const data_hit *truth, const char *path,
                        kith_plan plan, double *stretch) {
    kith_index *index = data_open(path);
    kith_scratch *scratch = NULL;
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_queries q = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    q.data = queries;
    q.dtype = KITH_F32;
    q.count = QUERIES;
    q.dim = DIM;
    options.plan = plan;
    if (kith_search(index, &q, K, &options, scratch, ids, distances, &error) != KITH_OK) fail_msg("%s", error.text);
    unsigned found = 0;
    *stretch = 0;
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < K; j++) {
            const data_hit *hits = truth + i * set->rows;
            for (size_t t = 0; t < K; t++) found += ids[i * K + j] == hits[t].id;
            const double size = fabs((double)hits[j].distance) + 1e-3;
            const double off = fabs((double)distances[i * K + j] - (double)hits[j].distance) / size;
            *stretch = off > *stretch ? off : *stretch;
        }
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    return (double)found / (QUERIES * K);
}

static void check(data_kind kind, kith_metric metric, kith_dtype dtype, double floor_of_codes) {
    data_set set = data_make(kind, dtype, metric, ROWS, DIM, 11, 1);
    float *queries = data_queries(&set, kind, KITH_F32, QUERIES, 12);
    data_hit *truth = malloc((size_t)QUERIES * ROWS * sizeof(*truth));
    double stretch;
    assert_non_null(truth);
    for (size_t i = 0; i < QUERIES; i++) data_reference(&set, queries + i * DIM, NULL, truth + i * ROWS);

    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.first_level = KITH_FIRST_LEVEL_ON;
    data_build(&set, data_path("kept.kith"), &options);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_LEVELS; plan++) {
        const double recall = recall_of(&set, queries, truth, data_path("kept.kith"), (kith_plan)plan, &stretch);
        if (recall < 1 || stretch > 0)
            fail_msg("%s, %s, %s: plan %d recalls %.4f", data_kind_name(kind), kith_metric_name(metric),
                     kith_dtype_name(dtype), plan, recall);
    }
    options.originals = KITH_ORIGINALS_NONE;
    data_build(&set, data_path("none.kith"), &options);
    const double scan = recall_of(&set, queries, truth, data_path("none.kith"), KITH_PLAN_SCAN, &stretch);
    const double levels = recall_of(&set, queries, truth, data_path("none.kith"), KITH_PLAN_LEVELS, &stretch);
    print_message("%-10s %-6s %-4s without originals: recall@%d %.4f, by the first level %.4f\n", data_kind_name(kind),
                  kith_metric_name(metric), kith_dtype_name(dtype), K, scan, levels);
    assert_true(scan >= floor_of_codes);
    assert_true(levels >= floor_of_codes); /* the first level rules out nothing that its bounds cannot */
    free(truth);
    free(queries);
    data_free(&set);
}

static void test_recall(void **state) {
    (void)state;
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
        check(DATA_NORMAL, (kith_metric)metric, KITH_F32, 0.97);
        check(DATA_CLUSTERED, (kith_metric)metric, KITH_F32, 0.80);
        check(DATA_LOW_RANK, (kith_metric)metric, KITH_F16, 0.74);
    }
    check(DATA_WHOLE, KITH_L2SQ, KITH_U8, 0.95); /* here only the queries are rounded */
    check(DATA_WHOLE, KITH_IP, KITH_I8, 0.95);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recall)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
