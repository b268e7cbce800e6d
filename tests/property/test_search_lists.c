/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists change the speed of an exact search, never its answer: every plan over an index with lists returns the very ids
 * and distance bits of the reference, on hostile data too. And the ivf plan: probing all lists and scoring all
 * candidates is exact, its answers do not depend on threads or on the company that a query is in, and a filter never
 * leaves a query with fewer results than there are. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/subject.h"

/* All lists, all rows scored. */
static void check_ivf_of_all(const struct subject *s, struct request r) {
    if (s->info.lists < 2) return;
    r.plan = KITH_PLAN_IVF;
    r.nprobe = s->info.lists;
    r.rerank = s->set.rows > r.k ? s->set.rows : r.k;
    check(s, r);
    r.code = KITH_SCAN_FIRST;
    if (s->info.first_level_dim) check(s, r);
    r.code = KITH_SCAN_ROWS;
    check(s, r);
    r.rerank = 0;
    r.code = KITH_SCAN_LEVELS;
    check(s, r);
}

static void check_kind(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    static const size_t lists[] = {2, 7, 40};
    const size_t rows = slow ? 200 : 500;
    subject_lists = lists[seed % 3];
    struct subject s = subject_make(kind, metric, dtype, KITH_F32, rows, dim, DISTINCT, seed);
    assert_true(s.info.lists <= subject_lists);
    if (kind == DATA_NORMAL) assert_true(s.info.lists > 1);
    check_plans(&s, (struct request){.batch = 1, .k = 1});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
    check_plans(&s, (struct request){.batch = 3, .k = 100, .threads = 2});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = rows + 3});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 0, .radius = s.hits[17].distance});
    check_ivf_of_all(&s, (struct request){.batch = 1, .k = 1});
    check_ivf_of_all(&s, (struct request){.batch = 2 * DISTINCT, .k = 10, .threads = 3});
    check_ivf_of_all(&s, (struct request){.batch = DISTINCT, .k = rows + 3, .threads = 2});
    set_filter(&s, 2 + seed % 30);
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 7, .filtered = 1});
    check_ivf_of_all(&s, (struct request){.batch = DISTINCT, .k = 7, .filtered = 1});
    subject_free(&s);
}

static void test_every_kind_metric_and_dtype(void **state) {
    static const size_t dims[] = {64, 65, 100, 127, 128, 3};
    (void)state;
    uint64_t seed = 0;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            for (size_t t = 0; t < NUMBER_DTYPES; t++, seed++)
                check_kind((data_kind)kind, (kith_metric)metric, number_dtypes[t],
                           kind == DATA_HUGE ? 200 : dims[(seed + seed / 6) % 6], seed);
}

/* Enough rows that thresholds come from the nearest lists, lists are skipped, and ranges are shared by threads. */
static void test_more_rows(void **state) {
    static const data_kind kinds[] = {DATA_NORMAL, DATA_CLUSTERED, DATA_LOW_RANK, DATA_FAR, DATA_WHOLE, DATA_SCALES};
    (void)state;
    if (slow) skip();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
            subject_lists = 60;
            struct subject s = subject_make(kinds[i], (kith_metric)metric, KITH_F32, KITH_F32, 6000, 32, DISTINCT, i);
            check_plans(&s, (struct request){.batch = 1, .k = 10});
            check_plans(&s, (struct request){.batch = 1, .k = 10, .threads = 3});
            check_plans(&s, (struct request){.batch = 300, .k = 10, .threads = 2});
            check_plans(&s, (struct request){.batch = 30, .k = 200});
            check_plans(&s, (struct request){.batch = 30, .radius = s.hits[400].distance, .threads = 2});
            set_filter(&s, 40);
            check_plans(&s, (struct request){.batch = 30, .k = 10, .filtered = 1, .threads = 3});
            subject_free(&s);
        }
}

enum { K = 9, QUERIES = 200 };

/* Answers of the ivf plan to all queries, in calls of `batch`. */
static void search_ivf(const struct subject *s, kith_scan_code code, size_t batch, unsigned threads, int filtered,
                       size_t nprobe, uint64_t *ids, float *distances) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_IVF;
    options.nprobe = nprobe;
    options.rerank = 2 * K;
    options.code = code;
    options.filter = filtered ? s->filter : NULL;
    for (size_t first = 0; first < QUERIES; first += batch) {
        struct request r = {.batch = QUERIES};
        unsigned char *memory;
        kith_queries queries = repeat_queries(s, &r, &memory);
        queries.data = memory + first * s->set.dim * sizeof(float);
        queries.count = QUERIES - first < batch ? QUERIES - first : batch;
        if (kith_search(s->index, &queries, K, &options, s->scratch[threads], ids + first * K, distances + first * K,
                        &error) != KITH_OK)
            fail_msg("%s", error.text);
        free(memory);
    }
}

static void test_ivf_does_not_depend_on_company(void **state) {
    static const size_t batches[] = {1, 3, 13, 64, QUERIES};
    (void)state;
    static const kith_scan_code codes[] = {KITH_SCAN_INT8, KITH_SCAN_LEVELS, KITH_SCAN_FIRST, KITH_SCAN_ROWS};
    for (int trial = 0; trial < 8; trial++) {
        const kith_metric metric = (kith_metric)(KITH_L2SQ + trial % 3);
        const kith_scan_code code = codes[trial % 4];
        const int filtered = trial >= 3;
        subject_lists = 30;
        /* A first level needs 64 dimensions and more; without one second lists have full codes. */
        struct subject s = subject_make(DATA_CLUSTERED, metric, KITH_F32, KITH_F32, slow ? 900 : 3000,
                                        code == KITH_SCAN_FIRST ? 96 : 48, slow ? 20 : QUERIES, 5);
        uint64_t *expected = take(QUERIES * K, sizeof(*expected)), *ids = take(QUERIES * K, sizeof(*ids));
        float *distances = take(2 * QUERIES * K, sizeof(*distances)), *others = distances + QUERIES * K;
        assert_int_equal(code == KITH_SCAN_FIRST, s.info.first_level_dim != 0);
        assert_true(s.info.spilled_rows > 0);
        set_filter(&s, 3);
        search_ivf(&s, code, QUERIES, 1, filtered, 4, expected, distances);
        for (size_t b = 0; b < sizeof(batches) / sizeof(*batches); b++)
            for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
                search_ivf(&s, code, batches[b], threads, filtered, 4, ids, others);
                assert_memory_equal(ids, expected, QUERIES * K * sizeof(*ids));
                assert_memory_equal(others, distances, QUERIES * K * sizeof(*distances));
            }
        free(expected);
        free(ids);
        free(distances);
        subject_free(&s);
    }
}

static void test_ivf_always_fills_rows(void **state) {
    (void)state;
    subject_lists = 30;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 1000, 24, DISTINCT, 5);
    static const kith_scan_code codes[] = {KITH_SCAN_INT8, KITH_SCAN_LEVELS, KITH_SCAN_ROWS};
    uint64_t *ids = take(QUERIES * K, sizeof(*ids));
    float *distances = take(QUERIES * K, sizeof(*distances));
    for (size_t every = 10; every <= 400; every *= 2) {
        set_filter(&s, every);
        const uint64_t allowed = kith_filter_count(s.filter), wanted = allowed < K ? allowed : K;
        search_ivf(&s, codes[every / 10 % 3], 50, 2, 1, 1, ids, distances);
        for (size_t i = 0; i < QUERIES; i++)
            for (size_t j = 0; j < K; j++) {
                assert_int_equal(ids[i * K + j] == KITH_ID_NONE, j >= wanted);
                if (j && j < wanted) assert_true(distances[i * K + j] >= distances[i * K + j - 1]);
            }
    }
    free(ids);
    free(distances);
    subject_free(&s);
}

/* Explain counts the lists that queries probe, also where nprobe leaves none of them out. */
static void test_probed_lists_are_counted(void **state) {
    (void)state;
    for (int kind = DATA_NORMAL; kind <= DATA_CLUSTERED; kind++) {
        subject_lists = 20;
        struct subject s = subject_make((data_kind)kind, KITH_L2SQ, KITH_F32, KITH_F32, 1000, 24, DISTINCT, 5);
        uint64_t ids[DISTINCT * K];
        float distances[DISTINCT * K];
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = s.queries;
        queries.dtype = KITH_F32;
        queries.count = DISTINCT;
        queries.dim = 24;
        for (size_t nprobe = 1; nprobe <= s.info.lists + 3; nprobe++) {
            kith_explain explain = KITH_EXPLAIN_INIT;
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = KITH_PLAN_IVF;
            options.code = KITH_SCAN_LEVELS;
            options.nprobe = nprobe;
            options.explain = &explain;
            assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[1], ids, distances, &error),
                             KITH_OK);
            const size_t most = nprobe < s.info.lists ? nprobe : s.info.lists;
            if (explain.probed_lists < DISTINCT || explain.probed_lists > DISTINCT * most)
                fail_msg("%llu lists probed with nprobe %zu of %zu", (unsigned long long)explain.probed_lists, nprobe,
                         s.info.lists);
        }
        subject_free(&s);
    }
}

static void test_refusals(void **state) {
    (void)state;
    subject_lists = 30;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 1000, 24, DISTINCT, 5);
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    uint64_t ids[DISTINCT * K];
    float distances[DISTINCT * K], *rows = (float *)(void *)s.queries;
    queries.data = rows;
    queries.dtype = KITH_F32;
    queries.count = DISTINCT;
    queries.dim = 24;
    options.plan = KITH_PLAN_IVF;
    options.rerank = K - 1;
    assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[1], ids, distances, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "rerank"));
    options.rerank = 0;
    options.code = KITH_SCAN_SECOND;
    assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[1], ids, distances, &error),
                     KITH_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "second code"));
    options.code = KITH_SCAN_AUTO;
    static const double bad[] = {-0.1, 1.5, NAN};
    for (size_t i = 0; i < 3; i++) {
        options.target_recall = bad[i];
        assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[1], ids, distances, &error), KITH_E_ARG);
        assert_non_null(strstr(error.text, "target_recall"));
    }
    options.target_recall = 0;
    rows[11 * 24 + 3] = NAN; /* one bad row in a batch is named, whatever the threads */
    rows[13 * 24 + 3] = INFINITY;
    for (unsigned threads = 1; threads <= THREADS_MAX; threads++)
        for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_IVF; plan += KITH_PLAN_IVF) {
            options.plan = (kith_plan)plan;
            assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[threads], ids, distances, &error),
                             KITH_E_DATA);
            assert_non_null(strstr(error.text, "query 11 "));
        }
    subject_free(&s);
    subject_lists = 1;
    s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 100, 24, DISTINCT, 5);
    queries.data = s.queries;
    options.plan = KITH_PLAN_IVF;
    assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[1], ids, distances, &error),
                     KITH_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "one list"));
    subject_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_metric_and_dtype),    cmocka_unit_test(test_more_rows),
        cmocka_unit_test(test_ivf_does_not_depend_on_company), cmocka_unit_test(test_ivf_always_fills_rows),
        cmocka_unit_test(test_probed_lists_are_counted),       cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
