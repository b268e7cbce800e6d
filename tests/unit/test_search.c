/* SPDX-License-Identifier: Apache-2.0
 *
 * What kith_search() and kith_search_range() promise beside right answers: deadlines, cancelling, explain, no
 * allocation once warm, refusals with a sentence, and many threads on one index. Right answers are
 * tests/property/test_search.c's. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/subject.h"

#include <pthread.h>

static kith_status search(const struct subject *s, size_t batch, size_t k, unsigned threads,
                          kith_search_options *options) {
    static uint64_t ids[BATCH_MAX * 10];
    static float distances[BATCH_MAX * 10];
    unsigned char *memory;
    const kith_queries queries = repeat_queries(s, &(struct request){.batch = batch}, &memory);
    error = (kith_error){KITH_OK, ""};
    const kith_status status = kith_search(s->index, &queries, k, options, s->scratch[threads], ids, distances, &error);
    assert_int_equal(error.status, status);
    free(memory);
    return status;
}

static void test_deadline(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 5000, 64, 6, 3);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_LEVELS; plan++)
        for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = (kith_plan)plan;
            options.timeout_ns = 1;
            assert_int_equal(search(&s, 40, 5, threads, &options), KITH_E_DEADLINE);
            options.timeout_ns = UINT64_C(600000000000);
            assert_int_equal(search(&s, 40, 5, threads, &options), KITH_OK);
            options.timeout_ns = UINT64_MAX; /* added to the clock it overflows */
            assert_int_equal(search(&s, 40, 5, threads, &options), KITH_OK);
        }
    check_plans(&s, (struct request){.batch = 6, .k = 10}); /* the scratch is as good as before */
    subject_free(&s);
}

struct canceller {
    pthread_t caller;
    int calls, after;
};

static int cancel(void *context) {
    struct canceller *c = context;
    if (!pthread_equal(c->caller, pthread_self())) abort();
    return ++c->calls > c->after;
}

static void test_cancelling(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 5000, 64, 6, 3);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_LEVELS; plan++)
        for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
            struct canceller c = {pthread_self(), 0, plan % 2};
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = (kith_plan)plan;
            options.cancelled = cancel;
            options.cancelled_context = &c;
            const kith_status status = search(&s, 40, 5, threads, &options);
            /* With several threads the others may have done all the work before the caller got any. */
            if (threads == 1 || c.calls > c.after) assert_int_equal(status, KITH_E_CANCELLED);
            c.after = 1 << 30;
            assert_int_equal(search(&s, 40, 5, threads, &options), KITH_OK);
        }
    check_plans(&s, (struct request){.batch = 6, .k = 10});
    subject_free(&s);
}

static void test_explain(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 5000, 64, 6, 3);
    set_filter(&s, 10);
    kith_cpu cpu = KITH_CPU_INIT;
    assert_int_equal(kith_cpu_info(&cpu, &error), KITH_OK);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_GATHER; plan++)
        for (unsigned threads = 1; threads <= 2; threads++) {
            kith_explain explain = KITH_EXPLAIN_INIT;
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = (kith_plan)plan;
            options.filter = plan == KITH_PLAN_GATHER ? s.filter : NULL;
            options.explain = &explain;
            assert_int_equal(search(&s, 20, 5, threads, &options), KITH_OK);
            if (plan == KITH_PLAN_AUTO)
                assert_int_not_equal(explain.plan, KITH_PLAN_AUTO);
            else
                assert_int_equal(explain.plan, plan);
            assert_string_equal(explain.tier, cpu.tier);
            assert_true(explain.plan_name && *explain.plan_name);
            assert_true(explain.exact);
            assert_int_equal(explain.threads, threads);
            assert_int_equal(explain.queries, 20);
            assert_int_equal(explain.rows, 5000);
            const uint64_t allowed = plan == KITH_PLAN_GATHER ? kith_filter_count(s.filter) : 5000;
            assert_int_equal(explain.allowed, allowed);
            assert_true(explain.reranked >= 20 * 5 && explain.reranked <= 20 * 5000 * 2);
            assert_true(explain.total_ns > 0 && explain.stage_ns[KITH_STAGE_SCAN] > 0);
            if (plan == KITH_PLAN_PLAIN || plan == KITH_PLAN_GATHER) {
                assert_int_equal(explain.reranked, 20 * allowed);
                assert_int_equal(explain.scanned_bytes, 20 * allowed * 64 * 4);
            } else {
                assert_true(explain.candidates >= 20 * 5);
                assert_true(explain.scanned_bytes >= 20 * 5000 * 64);
                assert_true(explain.reranked < 20 * 5000); /* bounds rule something out */
            }
            if (explain.plan == KITH_PLAN_LEVELS) assert_true(explain.level1_survivors > 0);
        }
    subject_free(&s);
}

static void test_searching_allocates_nothing(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_CLUSTERED, KITH_COSINE, KITH_F32, KITH_F32, 6000, 64, 6, 3);
    set_filter(&s, 20);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_GATHER; plan++)
        for (unsigned threads = 1; threads <= THREADS_MAX; threads++)
            for (size_t batch = 1; batch <= 125; batch = batch * 5) {
                uint64_t ids[125 * 10];
                float distances[125 * 10];
                unsigned char *memory;
                const kith_queries queries = repeat_queries(&s, &(struct request){.batch = batch}, &memory);
                kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
                kith_explain explain = KITH_EXPLAIN_INIT;
                kith_ranges ranges;
                long asked = 0;
                options.plan = (kith_plan)plan;
                options.filter = plan == KITH_PLAN_GATHER || batch == 25 ? s.filter : NULL;
                options.explain = &explain;
                /* Which worker takes which piece changes from run to run, and each worker warms up by itself: the
                 * claim is that asking ends. */
                for (int round = 0; round < 60; round++) {
                    faulty_malloc_start(-1, 0);
                    const kith_status one =
                        kith_search(s.index, &queries, 10, &options, s.scratch[threads], ids, distances, &error);
                    const kith_status two = kith_search_range(s.index, &queries, s.hits[30].distance, &options,
                                                              s.scratch[threads], &ranges, &error);
                    asked = faulty_malloc_stop();
                    assert_int_equal(one, KITH_OK);
                    assert_int_equal(two, KITH_OK);
                    if (asked == 0 && round > 0) break;
                    if (threads == 1) assert_int_equal(round, 0);
                }
                free(memory);
                if (asked)
                    fail_msg("plan %d, %u threads, batch %zu: still %ld allocations", plan, threads, batch, asked);
            }
    subject_free(&s);
}

/* A request that is refused: status and a word of the sentence. */
static void refused(const struct subject *s, const kith_queries *queries, size_t k, const kith_search_options *options,
                    kith_status expected, const char *word) {
    uint64_t ids[64];
    float distances[64];
    kith_ranges ranges = {.queries = 77};
    error = (kith_error){KITH_OK, ""};
    const kith_status status = kith_search(s->index, queries, k, options, s->scratch[1], ids, distances, &error);
    if (status != expected || error.status != expected || !strstr(error.text, word))
        fail_msg("status %d, expected %d with '%s': %s", (int)status, (int)expected, word, error.text);
    if (k == 0 || k > KITH_K_MAX) return;
    assert_int_equal(kith_search_range(s->index, queries, 1, options, s->scratch[1], &ranges, &error), expected);
    assert_int_equal(ranges.queries, 77);
}

static void test_refusals(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_COSINE, KITH_F32, KITH_F32, 50, 8, 6, 3);
    struct subject bits = subject_make(DATA_NORMAL, KITH_HAMMING, KITH_B1, KITH_B1, 50, 8, 6, 3);
    float rows[4][8];
    for (size_t i = 0; i < 32; i++) rows[i / 8][i % 8] = (float)i + 1;
    kith_queries good = KITH_QUERIES_INIT;
    good.data = rows;
    good.dtype = KITH_F32;
    good.count = 4;
    good.dim = 8;
    uint64_t ids[16];
    float distances[16];
    assert_int_equal(kith_search(s.index, &good, 4, NULL, s.scratch[1], ids, distances, NULL), KITH_OK);

    refused(&s, &good, 0, NULL, KITH_E_ARG, "k is 0");
    refused(&s, &good, KITH_K_MAX + 1, NULL, KITH_E_ARG, "k is");
    kith_queries bad = good;
    bad.struct_size = 0;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "INIT");
    bad = good;
    bad.dim = 7;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "7 dimensions");
    bad = good;
    bad.dtype = KITH_B1;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "b1");
    refused(&bits, &good, 4, NULL, KITH_E_ARG, "f32");
    bad = good;
    bad.dtype = (kith_dtype)99;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "?");
    bad = good;
    bad.stride_bytes = 31;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "stride");
    bad = good;
    bad.data = NULL;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "NULL");
    bad = good;
    bad.count = KITH_QUERIES_MAX + 1;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "16777216");
    bad.count = SIZE_MAX;
    refused(&s, &bad, 4, NULL, KITH_E_ARG, "16777216");

    const struct {
        float value;
        const char *word;
    } values[] = {{NAN, "query 2 holds a NaN"}, {-INFINITY, "query 2 holds"}, {3e19f, "query 2 is longer"}};
    for (size_t i = 0; i < 3; i++) {
        rows[2][5] = values[i].value;
        refused(&s, &good, 4, NULL, KITH_E_DATA, values[i].word);
        rows[2][5] = 1;
    }
    memset(rows[3], 0, sizeof(rows[3]));
    refused(&s, &good, 4, NULL, KITH_E_DATA, "query 3 is a zero vector");
    rows[3][0] = 0x1p-39f;
    assert_int_equal(kith_search(s.index, &good, 4, NULL, s.scratch[1], ids, distances, NULL), KITH_OK);

    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_LEVELS;
    refused(&s, &good, 4, &options, KITH_E_UNSUPPORTED, "first level");
    options.plan = KITH_PLAN_GATHER;
    refused(&s, &good, 4, &options, KITH_E_UNSUPPORTED, "filter");
    options.plan = (kith_plan)99;
    refused(&s, &good, 4, &options, KITH_E_ARG, "plan 99");
    options.plan = KITH_PLAN_AUTO;
    set_filter(&bits, 2);
    options.filter = bits.filter;
    refused(&s, &good, 4, &options, KITH_E_ARG, "filter");
    options.filter = NULL;
    options.struct_size = 3;
    refused(&s, &good, 4, &options, KITH_E_ARG, "INIT");
    bad = good;
    bad.dtype = KITH_B1;
    options.struct_size = sizeof(options);
    options.plan = KITH_PLAN_SCAN;
    refused(&bits, &bad, 4, &options, KITH_E_UNSUPPORTED, "codes");

    kith_ranges ranges;
    assert_int_equal(kith_search_range(s.index, &good, NAN, NULL, s.scratch[1], &ranges, &error), KITH_E_ARG);
    assert_int_equal(kith_search_range(s.index, &good, 1, NULL, s.scratch[1], NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_search(s.index, &good, 4, NULL, bits.scratch[1], ids, distances, &error), KITH_E_ARG);
    assert_int_equal(kith_search(s.index, &good, 4, NULL, NULL, ids, distances, &error), KITH_E_ARG);
    assert_int_equal(kith_search(NULL, &good, 4, NULL, s.scratch[1], ids, distances, &error), KITH_E_ARG);
    assert_int_equal(kith_search(s.index, NULL, 4, NULL, s.scratch[1], ids, distances, &error), KITH_E_ARG);
    assert_int_equal(kith_search(s.index, &good, 4, NULL, s.scratch[1], NULL, distances, &error), KITH_E_ARG);
    assert_int_equal(kith_search(s.index, &good, 4, NULL, s.scratch[1], ids, NULL, &error), KITH_E_ARG);
    bad = good;
    bad.count = 0;
    bad.data = NULL;
    assert_int_equal(kith_search(s.index, &bad, 4, NULL, s.scratch[1], NULL, NULL, &error), KITH_OK);
    assert_int_equal(kith_search_range(s.index, &bad, 1, NULL, s.scratch[1], &ranges, &error), KITH_OK);
    assert_int_equal(ranges.queries, 0);
    assert_int_equal(ranges.offsets[0], 0);
    subject_free(&s);
    subject_free(&bits);
}

/* With the first bad query in the second half of a large batch, and another behind it, by several threads. */
static void test_lowest_bad_query_is_named(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_IP, KITH_F32, KITH_F32, 50, 4, 6, 3);
    float *rows = take(3000 * 4, sizeof(float));
    uint64_t *ids = take(3000, sizeof(*ids));
    float *distances = take(3000, sizeof(*distances));
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = rows;
    queries.dtype = KITH_F32;
    queries.count = 3000;
    queries.dim = 4;
    for (int round = 0; round < 20; round++) {
        rows[2990 * 4] = NAN;
        rows[2 * 4] = INFINITY;
        assert_int_equal(kith_search(s.index, &queries, 1, NULL, s.scratch[3], ids, distances, &error), KITH_E_DATA);
        /* A worker that has not begun stops: then the other is the lowest that was seen. */
        assert_true(strstr(error.text, "query 2 ") || strstr(error.text, "query 2990 "));
        assert_int_equal(kith_search(s.index, &queries, 1, NULL, s.scratch[1], ids, distances, &error), KITH_E_DATA);
        assert_non_null(strstr(error.text, "query 2 "));
    }
    free(rows);
    free(ids);
    free(distances);
    subject_free(&s);
}

/* ---- Many threads on one index ----------------------------------------------------------------------------------- */

struct searcher {
    const struct subject *subject;
    kith_pool *pool;
    unsigned number;
    int wrong;
};

static void *search_for_ever(void *context) {
    struct searcher *me = context;
    const struct subject *s = me->subject;
    kith_scratch *scratch = NULL;
    kith_error own;
    if (kith_scratch_create(s->index, me->pool, &scratch, &own) != KITH_OK) me->wrong = 1;
    for (unsigned round = 0; round < 12 && !me->wrong; round++) {
        uint64_t ids[DISTINCT * 10];
        float distances[DISTINCT * 10];
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = s->queries;
        queries.dtype = KITH_F32;
        queries.count = round % 3 ? s->distinct : 1;
        queries.dim = s->set.dim;
        me->wrong |= kith_search(s->index, &queries, 10, NULL, scratch, ids, distances, &own) != KITH_OK;
        for (size_t i = 0; i < queries.count * 10; i++)
            me->wrong |= ids[i] != s->hits[i / 10 * s->set.rows + i % 10].id;
    }
    kith_scratch_destroy(scratch);
    return NULL;
}

static void test_threads_share_index_and_pool(void **state) {
    enum { SEARCHERS = 4 };
    pthread_t thread[SEARCHERS];
    struct searcher searcher[SEARCHERS];
    (void)state;
    struct subject s = subject_make(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 6000, 64, DISTINCT, 9);
    for (unsigned i = 0; i < SEARCHERS; i++) {
        searcher[i] = (struct searcher){&s, pools[2 + i % 2], i, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, search_for_ever, &searcher[i]), 0);
    }
    for (unsigned i = 0; i < SEARCHERS; i++) {
        pthread_join(thread[i], NULL);
        assert_false(searcher[i].wrong);
    }
    subject_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_searching_allocates_nothing),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lowest_bad_query_is_named),
        cmocka_unit_test(test_threads_share_index_and_pool),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
