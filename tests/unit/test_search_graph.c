/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan graph: what it finds by metric and type, with filters, alone and together, and what it refuses. Results are held
 * against the defining distances of all pairs: each must be one of those, bit for bit, and min(k, allowed) must come.
 *
 * Floors of recall lie some hundredths below what was measured with these seeds. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/subject.h"

enum { K = 10, QUERIES = 40 };

static struct subject make(data_kind kind, kith_metric metric, kith_dtype dtype, kith_dtype query_dtype, size_t rows,
                           size_t dim, uint64_t seed) {
    subject_type = KITH_INDEX_GRAPH;
    return subject_make(kind, metric, dtype, query_dtype, rows, dim, QUERIES, seed);
}

static kith_queries queries_of(const struct subject *s, size_t first, size_t count) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = s->queries + first * kith_row_bytes(s->query_dtype, s->set.dim);
    queries.dtype = s->query_dtype;
    queries.count = count;
    queries.dim = s->set.dim;
    return queries;
}

static kith_search_options by_graph(const struct subject *s, size_t effort, int filtered) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_GRAPH;
    options.effort = effort;
    options.filter = filtered ? s->filter : NULL;
    return options;
}

/* How many of a query's results are as near as its k nearest, after each was held against the reference. */
static size_t count_right(const struct subject *s, size_t query, size_t k, int filtered, const uint64_t *ids,
                          const float *distances) {
    const data_hit *hits = s->hits + query * s->set.rows;
    size_t found = 0, right = 0;
    float farthest = 0;
    for (size_t i = 0, rank = 0; i < s->set.rows; i++) {
        if (filtered && !s->allowed[hits[i].row]) continue;
        if (rank++ < k) farthest = hits[i].distance;
        for (size_t h = 0; h < k; h++) {
            if (ids[h] != hits[i].id) continue;
            if (memcmp(&distances[h], &hits[i].distance, sizeof(float)) != 0)
                fail_msg("query %zu, rank %zu: other distance bits", query, h);
            found++;
            right += distances[h] <= farthest;
        }
    }
    const uint64_t allowed = filtered ? kith_filter_count(s->filter) : s->set.rows;
    const size_t expected = allowed < k ? (size_t)allowed : k;
    if (found != expected) fail_msg("query %zu: %zu results where %zu should be", query, found, expected);
    for (size_t h = 1; h < k; h++) assert_true(distances[h] >= distances[h - 1]);
    for (size_t h = expected; h < k; h++) {
        assert_true(ids[h] == KITH_ID_NONE);
        assert_true(distances[h] == INFINITY);
    }
    return right;
}

/* Recall of a search for all queries at once. */
static double recall_of(const struct subject *s, kith_search_options options, size_t k, unsigned threads) {
    const kith_queries queries = queries_of(s, 0, QUERIES);
    const int filtered = options.filter != NULL;
    const uint64_t allowed = filtered ? kith_filter_count(s->filter) : s->set.rows;
    const size_t expected = allowed < k ? (size_t)allowed : k;
    uint64_t *ids = take(QUERIES * k, sizeof(*ids));
    float *distances = take(QUERIES * k, sizeof(*distances));
    size_t right = 0;
    if (kith_search(s->index, &queries, k, &options, s->scratch[threads], ids, distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    for (size_t q = 0; q < QUERIES; q++) right += count_right(s, q, k, filtered, ids + q * k, distances + q * k);
    free(ids);
    free(distances);
    return expected ? (double)right / (double)(expected * QUERIES) : 1;
}

/* ---- What it finds ----------------------------------------------------------------------------------------------- */

static const struct found {
    data_kind kind;
    kith_metric metric;
    kith_dtype dtype, query_dtype;
    size_t rows, dim, effort;
    double floor;
} found[] = {
    {DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 3000, 48, 0, 0.8},
    {DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 3000, 24, 300, 0.95},
    {DATA_WHOLE, KITH_L2SQ, KITH_U8, KITH_F32, 2500, 16, 200, 0.95},
    {DATA_WHOLE, KITH_IP, KITH_I8, KITH_I8, 2500, 20, 300, 0.95},
    {DATA_LOW_RANK, KITH_IP, KITH_F16, KITH_F32, 3000, 64, 200, 0.95},
    {DATA_LOW_RANK, KITH_COSINE, KITH_F32, KITH_F32, 3000, 100, 200, 0.95},
    {DATA_CLUSTERED, KITH_COSINE, KITH_BF16, KITH_BF16, 3000, 33, 100, 0.85},
    {DATA_NORMAL, KITH_COSINE, KITH_F16, KITH_F16, 3000, 20, 200, 0.93},
    {DATA_FAR, KITH_L2SQ, KITH_F32, KITH_F32, 2000, 16, 200, 0.95},
    {DATA_OUTLIER, KITH_L2SQ, KITH_F32, KITH_F32, 2000, 16, 200, 0.9},
    {DATA_DUPLICATES, KITH_L2SQ, KITH_F32, KITH_F32, 2000, 16, 100, 0.95},
    {DATA_EQUAL, KITH_COSINE, KITH_F32, KITH_F32, 1500, 16, 100, 1},
    {DATA_TIES, KITH_L2SQ, KITH_F32, KITH_F32, 2000, 12, 100, 0.95},
    {DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 1000, 1, 100, 0.93},
    {DATA_NORMAL, KITH_IP, KITH_F32, KITH_F32, 1000, 2, 100, 0.95},
    {DATA_NORMAL, KITH_IP, KITH_F32, KITH_F32, 3000, 40, 60, 0.9}, /* of many lengths */
};

static void test_recall(void **state) {
    (void)state;
    /* Graphs and walks are the same bits on every tier (property/test_edges): slow ones see some. */
    for (size_t i = 0; i < sizeof(found) / sizeof(*found); i += slow ? 4 : 1) {
        const struct found *f = &found[i];
        struct subject s = make(f->kind, f->metric, f->dtype, f->query_dtype, f->rows, f->dim, 40 + i);
        const double recall = recall_of(&s, by_graph(&s, f->effort, 0), K, 1 + (unsigned)(i % THREADS_MAX));
        print_message("%s, %s, %s, %zu x %zu: recall %.3f\n", data_kind_name(f->kind), kith_metric_name(f->metric),
                      kith_dtype_name(f->dtype), f->rows, f->dim, recall);
        if (recall < f->floor) fail_msg("below %.3f", f->floor);
        subject_free(&s);
    }
}

/* Numbers that floats hardly hold: results are defined all the same. */
static void test_extremes(void **state) {
    static const data_kind kinds[] = {DATA_HUGE, DATA_DENORMAL, DATA_TINY, DATA_SCALES, DATA_SPARSE, DATA_NEAR_TIES};
    static const kith_metric metrics[] = {KITH_L2SQ, KITH_IP, KITH_COSINE};
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (size_t m = 0; m < 3; m++) {
            if (metrics[m] == KITH_COSINE && kinds[i] != DATA_HUGE && kinds[i] != DATA_NEAR_TIES) continue;
            struct subject s = make(kinds[i], metrics[m], KITH_F32, KITH_F32, 300, 24, 7 + i);
            (void)recall_of(&s, by_graph(&s, 100, 0), K, 1);
            subject_free(&s);
        }
}

/* Of few vectors all are found: those that a walk does not come to are searched for exactly. */
static void test_few_vectors(void **state) {
    static const size_t rows[] = {1, 2, 3, 15, 16, 17, 33, 70, 100};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
            struct subject s = make(DATA_NORMAL, (kith_metric)metric, KITH_F32, KITH_F32, rows[i], 7, 3 + i);
            assert_true(recall_of(&s, by_graph(&s, 1, 0), 120, 1) == 1);
            assert_true(recall_of(&s, by_graph(&s, 0, 0), rows[i], 2) == 1);
            (void)recall_of(&s, by_graph(&s, 0, 0), 1, 1);
            subject_free(&s);
        }
}

/* H2: a walk with everything in reach ends as the exact plan. */
static void test_all_in_reach(void **state) {
    struct subject s = make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 1500, 40, 5);
    kith_search_options options = by_graph(&s, 1000000000, 0);
    kith_explain explain = KITH_EXPLAIN_INIT;
    (void)state;
    options.explain = &explain;
    options.rerank = 1500;
    assert_true(recall_of(&s, options, K, 1) == 1);
    assert_int_equal(explain.plan, KITH_PLAN_GRAPH);
    assert_string_equal(explain.plan_name, "graph");
    assert_int_equal(explain.exact, 0);
    assert_int_equal(explain.unusual, QUERIES); /* that is how it ends for all */
    assert_int_equal(explain.effort, 1000000);
    assert_int_equal(explain.rerank, 1500);
    options = by_graph(&s, 0, 0);
    options.explain = &explain;
    (void)recall_of(&s, options, K, 1);
    assert_true(explain.effort > 0);
    options.effort = 1;
    (void)recall_of(&s, options, K, 1);
    assert_int_equal(explain.effort, 1);
    assert_true(explain.unusual < QUERIES / 4);
    assert_true(explain.visited >= QUERIES);
    assert_true(explain.visited < (uint64_t)QUERIES * 1500);
    assert_true(explain.reranked >= QUERIES * K);
    assert_int_equal(explain.hot, 0);
    subject_free(&s);
}

/* More effort does not find less. */
static void test_effort(void **state) {
    struct subject s = make(DATA_NORMAL, KITH_COSINE, KITH_F32, KITH_F32, 4000, 32, 5);
    double before = 0;
    (void)state;
    for (size_t effort = 10; effort <= 640; effort *= 4) {
        const double recall = recall_of(&s, by_graph(&s, effort, 0), K, 1);
        print_message("effort %zu: recall %.3f\n", effort, recall);
        assert_true(recall >= before - 0.01);
        before = recall;
    }
    assert_true(before >= 0.95);
    subject_free(&s);
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

/* Allow the rows first..end alone: of clustered data, a place. */
static void allow_place(struct subject *s, size_t first, size_t end) {
    set_filter(s, 0);
    kith_filter_destroy(s->filter);
    uint64_t *ids = take(end - first, sizeof(*ids));
    for (size_t i = first; i < end; i++) {
        s->allowed[i] = 1;
        ids[i - first] = data_id(&s->set, i);
    }
    assert_int_equal(kith_filter_create(s->index, ids, end - first, NULL, &s->filter, &error), KITH_OK);
    free(ids);
}

static void test_filters(void **state) {
    static const size_t every[] = {1, 2, 10, 100, 1000, 0};
    struct subject s = make(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 3700, 32, 9);
    (void)state;
    for (size_t i = 0; i < sizeof(every) / sizeof(*every); i++) {
        set_filter(&s, every[i]);
        const double recall = recall_of(&s, by_graph(&s, 0, 1), K, 1 + (unsigned)(i % THREADS_MAX));
        print_message("one of %zu: recall %.3f\n", every[i], recall);
        assert_true(recall >= (every[i] < 10 ? 0.8 : 0.95));
        assert_true(recall_of(&s, by_graph(&s, 1, 1), 200, 1) >= (every[i] < 10 ? 0.75 : 0.95));
    }
    for (size_t end = 101; end <= 1100; end += 333) {
        allow_place(&s, 100, end);
        const double recall = recall_of(&s, by_graph(&s, 0, 1), K, 1);
        print_message("%zu of one place: recall %.3f\n", end - 100, recall);
        assert_true(recall >= 0.93);
    }
    subject_free(&s);
}

/* ---- Alone and together ------------------------------------------------------------------------------------------ */

struct answer {
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
};

/* G1: what a query finds does not depend on what else is asked, on threads, or on how queries lie. */
static void test_alone_and_together(void **state) {
    static struct answer alone, together;
    struct subject s = make(DATA_NORMAL, KITH_COSINE, KITH_F32, KITH_F32, 3000, 30, 11);
    const size_t dim = s.set.dim;
    unsigned char *odd = take(QUERIES, dim * sizeof(float) + 8);
    (void)state;
    for (size_t i = 0; i < QUERIES; i++)
        memcpy(odd + 1 + i * (dim * sizeof(float) + 7), s.queries + i * dim * sizeof(float), dim * sizeof(float));
    for (int filtered = 0; filtered < 2; filtered++) {
        set_filter(&s, 4);
        const kith_search_options options = by_graph(&s, 60, filtered);
        for (size_t i = 0; i < QUERIES; i++) {
            const kith_queries queries = queries_of(&s, i, 1);
            assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[1], alone.ids + i * K,
                                         alone.distances + i * K, &error),
                             KITH_OK);
        }
        for (unsigned threads = 1; threads <= THREADS_MAX; threads++)
            for (int way = 0; way < 2; way++) {
                kith_queries queries = queries_of(&s, 0, QUERIES);
                if (way) {
                    queries.data = odd + 1;
                    queries.stride_bytes = dim * sizeof(float) + 7;
                }
                memset(&together, 0, sizeof(together));
                assert_int_equal(kith_search(s.index, &queries, K, &options, s.scratch[threads], together.ids,
                                             together.distances, &error),
                                 KITH_OK);
                assert_memory_equal(&alone, &together, sizeof(alone));
            }
    }
    free(odd);
    subject_free(&s);
}

/* Allocations of one search of all queries. */
static long asked_by(const struct subject *s, const kith_search_options *options, kith_scratch *scratch,
                     struct answer *answer, kith_status *status) {
    const kith_queries queries = queries_of(s, 0, QUERIES);
    error = (kith_error){KITH_OK, ""};
    *status = kith_search(s->index, &queries, K, options, scratch, answer->ids, answer->distances, &error);
    return faulty_malloc_stop();
}

static void test_memory(void **state) {
    static struct answer expected, answer;
    struct subject s = make(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 3000, 30, 11);
    kith_status status;
    (void)state;
    for (int filtered = 0; filtered < 2; filtered++) { /* with the filter most queries are searched exactly after it */
        set_filter(&s, 300);
        const kith_search_options options = by_graph(&s, filtered ? 1 : 60, filtered);
        kith_scratch *scratch = NULL;
        assert_int_equal(kith_scratch_create(s.index, NULL, &scratch, &error), KITH_OK);
        faulty_malloc_start(-1, 0);
        assert_true(asked_by(&s, &options, scratch, &expected, &status) > 0);
        faulty_malloc_start(-1, 0);
        assert_int_equal(asked_by(&s, &options, scratch, &answer, &status), 0);
        assert_int_equal(status, KITH_OK);
        kith_scratch_destroy(scratch);
        for (long number = 0, asked = 0; asked >= number; number++) {
            assert_int_equal(kith_scratch_create(s.index, NULL, &scratch, &error), KITH_OK);
            faulty_malloc_start(number, (int)(number % 2));
            asked = asked_by(&s, &options, scratch, &answer, &status);
            if (asked > number) assert_int_equal(status, KITH_E_NOMEM);
            if (status != KITH_OK && (error.status != KITH_E_NOMEM || !error.text[0])) fail_msg("no sentence");
            (void)asked_by(&s, &options, scratch, &answer, &status);
            assert_int_equal(status, KITH_OK);
            assert_memory_equal(&answer, &expected, sizeof(answer));
            kith_scratch_destroy(scratch);
        }
    }
    subject_free(&s);
}

/* ---- What it refuses --------------------------------------------------------------------------------------------- */

static kith_status search(const struct subject *s, const kith_queries *queries, const kith_search_options *options,
                          unsigned threads) {
    static struct answer answer;
    error = (kith_error){KITH_OK, ""};
    const kith_status status =
        kith_search(s->index, queries, K, options, s->scratch[threads], answer.ids, answer.distances, &error);
    assert_true(status == KITH_OK || (error.status == status && error.text[0]));
    return status;
}

static int at_once(void *context) {
    (void)context;
    return 1;
}

static void test_limits(void **state) {
    struct subject s = make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 2000, 30, 11);
    const kith_queries all = queries_of(&s, 0, QUERIES);
    (void)state;
    for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
        kith_search_options options = by_graph(&s, 0, 0);
        options.timeout_ns = 1;
        assert_int_equal(search(&s, &all, &options, threads), KITH_E_DEADLINE);
        options.timeout_ns = UINT64_MAX;
        assert_int_equal(search(&s, &all, &options, threads), KITH_OK);
        options.cancelled = at_once;
        const kith_status status = search(&s, &all, &options, threads); /* another thread may have done it all */
        assert_true(status == KITH_E_CANCELLED || (threads > 1 && status == KITH_OK));
    }
    subject_free(&s);
}

static void test_bad_queries(void **state) {
    struct subject s = make(DATA_NORMAL, KITH_COSINE, KITH_F32, KITH_F32, 500, 30, 11);
    const kith_queries all = queries_of(&s, 0, QUERIES);
    const kith_search_options options = by_graph(&s, 0, 0);
    float *rows = (float *)(void *)s.queries;
    (void)state;
    rows[31 * 30 + 4] = NAN;
    memset(rows + 17 * 30, 0, 30 * sizeof(float));
    for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
        assert_int_equal(search(&s, &all, &options, threads), KITH_E_DATA);
        assert_non_null(strstr(error.text, "query 17 is a zero vector"));
    }
    subject_free(&s);
}

static void test_refusals(void **state) {
    struct subject s = make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 300, 30, 11);
    kith_queries all = queries_of(&s, 0, QUERIES);
    kith_search_options options = by_graph(&s, 0, 0);
    kith_ranges ranges;
    (void)state;
    assert_int_equal(kith_search_range(s.index, &all, 1, &options, s.scratch[1], &ranges, &error), KITH_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "range search"));
    options.rerank = K - 1;
    assert_int_equal(search(&s, &all, &options, 1), KITH_E_ARG);
    options.rerank = K;
    assert_int_equal(search(&s, &all, &options, 1), KITH_OK);
    all.count = 0;
    assert_int_equal(search(&s, &all, &options, 1), KITH_OK);
    subject_free(&s);
    subject_type = KITH_INDEX_FLAT;
    s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 300, 30, QUERIES, 11);
    options = by_graph(&s, 0, 0);
    all = queries_of(&s, 0, QUERIES);
    assert_int_equal(search(&s, &all, &options, 1), KITH_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "the index has no graph"));
    subject_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_few_vectors),
        cmocka_unit_test(test_all_in_reach),
        cmocka_unit_test(test_effort),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_alone_and_together),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bad_queries),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
