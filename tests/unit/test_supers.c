/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing lists by supers, where they are many: the same in every batch, right where it must be, hardly less found
 * than by looking at all centroids, and safe from damaged supers.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "index/index.h"
#include "ivf/state.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16000, DIM = 64, LISTS = 3200, QUERIES = 150, K = 5, PROBES = 12 };

static kith_error error;

struct answers {
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
};

static kith_index *build(const data_set *set, kith_first_level first_level) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = LISTS;
    options.first_level = first_level;
    options.no_calibration = 1;
    data_build(set, data_path("two.kith"), &options);
    kith_index *index = data_open(data_path("two.kith"));
    assert_true(index->view.lists.count >= LISTS * 15 / 16);
    assert_true(index->view.lists.supers > 50);
    return index;
}

/* All queries in calls of `batch`. Returns the lists that were probed. */
static uint64_t search(const kith_index *index, const float *queries, size_t batch, unsigned threads,
                       kith_scan_code code, size_t nprobe, struct answers *out) {
    kith_pool *pool = NULL;
    kith_scratch *scratch = NULL;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    uint64_t probed = 0;
    options.plan = KITH_PLAN_IVF;
    options.code = code;
    options.nprobe = nprobe;
    options.rerank = 4 * K;
    options.explain = &explain;
    assert_int_equal(kith_pool_create(threads, &pool, &error), KITH_OK);
    assert_int_equal(kith_scratch_create(index, pool, &scratch, &error), KITH_OK);
    for (size_t first = 0; first < QUERIES; first += batch) {
        kith_queries q = KITH_QUERIES_INIT;
        q.data = queries + first * DIM;
        q.dtype = KITH_F32;
        q.count = first + batch > QUERIES ? QUERIES - first : batch;
        q.dim = DIM;
        if (kith_search(index, &q, K, &options, scratch, out->ids + first * K, out->distances + first * K, &error) !=
            KITH_OK)
            fail_msg("%s", error.text);
        probed += explain.probed_lists;
    }
    kith_scratch_destroy(scratch);
    kith_pool_destroy(pool);
    return probed;
}

static double recall_of(const data_set *set, const float *queries, const struct answers *answers) {
    unsigned found = 0;
    data_hit *truth = malloc(ROWS * sizeof(*truth));
    assert_non_null(truth);
    for (size_t i = 0; i < QUERIES; i++) {
        data_reference(set, queries + i * DIM, NULL, truth);
        for (size_t j = 0; j < K; j++) {
            found += answers->distances[i * K + j] <= truth[K - 1].distance;
            for (size_t o = 0; o < j; o++) assert_int_not_equal(answers->ids[i * K + j], answers->ids[i * K + o]);
        }
    }
    free(truth);
    return (double)found / (QUERIES * K);
}

/* floor: a hundredth or two below what was measured. least: of what one level finds, in as many lists. */
static void check(data_kind kind, kith_metric metric, kith_first_level first_level, double floor, double least) {
    static struct answers whole, other;
    data_set set = data_make(kind, KITH_F32, metric, ROWS, DIM, 31, 1);
    float *queries = data_queries(&set, kind, KITH_F32, QUERIES, 32);
    const kith_scan_code code = first_level == KITH_FIRST_LEVEL_ON ? KITH_SCAN_FIRST : KITH_SCAN_INT8;
    kith_index *index = build(&set, first_level);
    assert_int_equal(search(index, queries, QUERIES, 1, code, PROBES, &whole), (uint64_t)QUERIES * PROBES);
    const struct {
        size_t batch;
        unsigned threads;
    } ways[] = {{1, 1}, {7, 1}, {QUERIES, 3}, {100, 2}};
    for (size_t w = 0; w < sizeof(ways) / sizeof(*ways); w++) {
        memset(&other, 0, sizeof(other));
        search(index, queries, ways[w].batch, ways[w].threads, code, PROBES, &other);
        assert_memory_equal(&other, &whole, sizeof(whole));
    }
    const double two = recall_of(&set, queries, &whole);
    ((ki_lists *)&index->view.lists)->supers = 0; /* now all centroids are looked at */
    search(index, queries, QUERIES, 1, code, PROBES, &other);
    const double one = recall_of(&set, queries, &other);
    print_message("%s %s: recall %.4f, %.4f in one level\n", data_kind_name(kind), kith_metric_name(metric), two, one);
    assert_true(two >= floor);
    assert_true(two >= one * least);
    kith_index_close(index);
    free(queries);
    data_free(&set);
}

static void test_l2(void **state) {
    (void)state;
    check(DATA_CLUSTERED, KITH_L2SQ, KITH_FIRST_LEVEL_NONE, 0.61, 0.98);
}

static void test_first_level(void **state) {
    (void)state;
    check(DATA_LOW_RANK, KITH_L2SQ, KITH_FIRST_LEVEL_ON, 0.99, 0.99);
}

static void test_products(void **state) {
    (void)state;
    check(DATA_LOW_RANK, KITH_IP, KITH_FIRST_LEVEL_NONE, 0.985, 0.98);
    check(DATA_NORMAL, KITH_COSINE, KITH_FIRST_LEVEL_NONE, 0.3, 0.9); /* no list is near */
}

/* ---- Supers as codes --------------------------------------------------------------------------------------------- */

static void test_supers(void **state) {
    (void)state;
    enum { SUPERS = 4, TWO = 2 };
    const float centroids[SUPERS * TWO] = {3, 4, NAN, 0, 1e30F, 0, 1, 1}, centre[TWO] = {1, 1};
    const uint32_t end[SUPERS] = {20, 20, 64, 65}; /* blocks 0..1, none, 1..3 and 4 */
    ki_view view = {.dim = TWO, .metric = KITH_L2SQ, .centre = centre};
    view.lists.count = 65;
    view.lists.supers = SUPERS;
    view.lists.super_end = end;
    view.lists.super_centroids = centroids;
    ki_ivf_level supers = {0};
    assert_true(ki_ivf_make_supers(&view, TWO, &supers));
    assert_int_equal(supers.row_blocks, 5);
    assert_int_equal(supers.level.blocks, 1);
    const float *factors = supers.level.factors;
    assert_float_equal(factors[KI_FACTOR_BIAS], -(4 + 9) / 2.0F, 1e-6);
    assert_float_equal(factors[KI_FACTOR_SCALE] * (supers.level.codes[1] - KI_CODE_OFFSET), 3, 0.02);
    for (size_t v = 1; v < 3; v++) { /* NaN, and what overflows: never the nearest */
        assert_float_equal(factors[KI_FACTOR_BIAS + v], -FLT_MAX, 0);
        assert_float_equal(factors[KI_FACTOR_SCALE + v], 0, 0);
    }
    assert_float_equal(factors[KI_FACTOR_BIAS + 3], 0, 0);
    assert_float_equal(factors[KI_FACTOR_BIAS + SUPERS], -FLT_MAX, 0); /* padding */
    free(supers.memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supers),
        cmocka_unit_test(test_l2),
        cmocka_unit_test(test_first_level),
        cmocka_unit_test(test_products),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
