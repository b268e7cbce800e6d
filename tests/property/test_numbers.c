/* SPDX-License-Identifier: Apache-2.0
 *
 * Small whole numbers, and vectors whose lengths differ by orders of magnitude: answers equal the reference's to the
 * bit, lists do not collapse, and few vectors are scored again. Counts, not times, of data with fixed seeds. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/subject.h"

enum shape { FEATURES, RATINGS, COUNTS, SHAPES };

/* A small whole number: 0 or 1, 1 to 5, or a count that is most often small. */
static float whole_value(ki_rng *rng, enum shape shape) {
    if (shape == FEATURES) return ki_rng_below(rng, 20) == 0;
    if (shape == RATINGS) return 1 + (float)ki_rng_below(rng, 5);
    return floorf(expf(1.2f * (float)ki_rng_normal(rng)));
}

static data_set whole_set(enum shape shape, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim,
                          uint64_t seed) {
    data_set set = data_make(DATA_EQUAL, dtype, metric, rows, dim, seed, seed % 2 != 0);
    float *row = take(dim, sizeof(float));
    ki_rng rng = {seed};
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < dim; j++) row[j] = whole_value(&rng, shape);
        data_convert(row, dtype, dim, set.bytes + i * set.row_bytes);
    }
    free(row);
    return set;
}

/* Stored rows, and among them queries of fractions, of large whole numbers, and of fractions that differences with a
 * centre round away. */
static float *whole_queries(const data_set *set, uint64_t seed) {
    float *queries = take(DISTINCT * set->dim, sizeof(float));
    for (size_t q = 0; q < DISTINCT; q++) {
        float *query = queries + q * set->dim;
        data_floats(set->dtype, data_row(set, (q * 37 + seed) % set->rows), set->dim, query);
        if (q == 3) query[1] += 0.25f;
        if (q == 5) query[0] += 1e5f;
        if (q == 7) query[set->dim - 1] = -120;
        if (q == 9) query[2] = nextafterf(query[2], 9);
        if (q == 11)
            for (size_t j = 0; j < set->dim; j++) query[j] = 0;
    }
    return queries;
}

static struct subject open_subject(data_set set, float *queries, size_t lists) {
    struct subject s = {.set = set, .query_dtype = KITH_F32, .info = KITH_INDEX_INFO_INIT, .distinct = DISTINCT};
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = lists;
    options.no_calibration = 1;
    data_build(&s.set, data_path("numbers.kith"), &options);
    s.index = data_open(data_path("numbers.kith"));
    kith_index_get_info(s.index, &s.info);
    for (unsigned t = 1; t <= THREADS_MAX; t++)
        assert_int_equal(kith_scratch_create(s.index, pools[t], &s.scratch[t], &error), KITH_OK);
    s.queries = (unsigned char *)queries;
    return s;
}

static void answer(struct subject *s) {
    s->hits = take(s->distinct * s->set.rows, sizeof(data_hit));
    for (size_t q = 0; q < s->distinct; q++)
        data_reference(&s->set, (const float *)(const void *)s->queries + q * s->set.dim, NULL,
                       s->hits + q * s->set.rows);
}

/* One search of `count` queries, k 10. */
static kith_explain explained(const struct subject *s, kith_plan plan, size_t count) {
    uint64_t ids[DISTINCT * 10];
    float distances[DISTINCT * 10];
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    options.plan = plan;
    options.explain = &explain;
    queries.data = s->queries;
    queries.dtype = KITH_F32;
    queries.count = count;
    queries.dim = s->set.dim;
    assert_int_equal(kith_search(s->index, &queries, 10, &options, s->scratch[1], ids, distances, &error), KITH_OK);
    return explain;
}

/* ---- Whole numbers ----------------------------------------------------------------------------------------------- */

static void test_whole_numbers_are_exact(void **state) {
    static const kith_dtype dtypes[] = {KITH_U8, KITH_F32, KITH_F16, KITH_I8};
    static const size_t dims[] = {24, 65, 130}, lists[] = {1, 12};
    (void)state;
    uint64_t seed = 0;
    for (int shape = 0; shape < SHAPES; shape++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            for (size_t d = 0; d < 4; d++, seed++) {
                const size_t rows = slow ? 300 : 1500, dim = dims[seed % 3];
                data_set set = whole_set((enum shape)shape, metric == KITH_COSINE ? KITH_F32 : dtypes[d],
                                         (kith_metric)metric, rows, dim, seed);
                for (size_t i = 0; i < rows && metric == KITH_COSINE; i++) /* none is zero */
                    ((float *)(void *)set.bytes)[i * dim] += 1;
                float *queries = whole_queries(&set, seed);
                for (size_t j = 0; j < dim && metric == KITH_COSINE; j++) queries[11 * dim + j] = 1;
                struct subject s = open_subject(set, queries, lists[seed % 2]);
                assert_int_equal(s.info.integer_codes, metric != KITH_COSINE);
                answer(&s);
                check_plans(&s, (struct request){.batch = 1, .k = 1});
                check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
                check_plans(&s, (struct request){.batch = 3, .k = 100, .threads = 2});
                check_plans(&s, (struct request){.batch = DISTINCT, .k = rows + 3});
                check_plans(&s, (struct request){.batch = DISTINCT, .k = 0, .radius = s.hits[17].distance});
                subject_free(&s);
            }
}

/* Scores of whole queries are known from the codes. One list: nothing else scores vectors. */
static void test_whole_numbers_are_not_scored_again(void **state) {
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++)
        for (int metric = KITH_L2SQ; metric <= KITH_IP; metric++) {
            data_set set = whole_set((enum shape)shape, KITH_U8, (kith_metric)metric, 2000, 40, 7);
            struct subject s = open_subject(set, whole_queries(&set, 7), 1);
            assert_int_equal(explained(&s, KITH_PLAN_SCAN, 3).reranked, 0);
            assert_true(explained(&s, KITH_PLAN_SCAN, 4).reranked > 0); /* the fourth is a fraction */
            subject_free(&s);
        }
}

static void test_lists_of_whole_numbers(void **state) {
    enum { ROWS = 8000, LISTS = 100 };
    static const kith_dtype dtypes[] = {KITH_U8, KITH_F16, KITH_F32};
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        data_set set = whole_set((enum shape)shape, dtypes[shape], KITH_L2SQ, ROWS, 32, 3);
        struct subject s = open_subject(set, whole_queries(&set, 3), LISTS);
        assert_true(s.info.lists > LISTS * 9 / 10);
        assert_true(s.info.list_rows_max <= 4 * ROWS / s.info.lists);
        assert_true(explained(&s, KITH_PLAN_SCAN, 3).reranked <= 3 * 10); /* what thresholds begin with */
        subject_free(&s);
    }
}

/* The sample of a build sees small values only. What bytes can hold has codes around another centre; the rest has no
 * codes of whole numbers. */
static void test_values_beyond_the_sample(void **state) {
    enum { ROWS = 9000, DIM = 6 };
    static const float values[] = {1, 200, 300};
    (void)state;
    for (size_t lists = 1; lists <= 30; lists += 29)
        for (size_t v = 0; v < 3; v++) {
            data_set set = whole_set(RATINGS, KITH_F32, KITH_L2SQ, ROWS, DIM, 4);
            ((float *)(void *)set.bytes)[70 * DIM + 2] = values[v]; /* no row of the sample */
            struct subject s = open_subject(set, whole_queries(&set, 70), lists);
            assert_int_equal(s.info.integer_codes, values[v] < 256);
            answer(&s);
            check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
            subject_free(&s);
        }
}

/* ---- Lengths of many orders -------------------------------------------------------------------------------------- */

/* Clusters whose rows are each exp(sigma N) times as long; or, sigma 0, one in sixty a million times. */
static data_set long_and_short(size_t rows, size_t dim, float sigma) {
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, rows, dim, 11, 0);
    ki_rng rng = {5};
    for (size_t i = 0; i < rows; i++) {
        const float factor = sigma > 0 ? expf(sigma * (float)ki_rng_normal(&rng)) : ki_rng_below(&rng, 60) ? 1 : 1e6f;
        float *row = (float *)(void *)(set.bytes + i * set.row_bytes);
        for (size_t j = 0; j < dim; j++) row[j] *= factor;
    }
    return set;
}

static void test_lengths_of_many_orders(void **state) {
    static const float sigmas[] = {0, 1, 2, 3};
    const size_t rows = slow ? 3000 : 12000;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        data_set set = long_and_short(rows, 32, sigmas[i]);
        float *queries = take(DISTINCT * set.dim, sizeof(float));
        for (size_t q = 0; q < DISTINCT; q++)
            memcpy(queries + q * set.dim, data_row(&set, q * 211 % rows), set.row_bytes);
        struct subject s = open_subject(set, queries, 150);
        const kith_explain explain = explained(&s, KITH_PLAN_AUTO, DISTINCT);
        if (explain.plan == KITH_PLAN_PLAIN || explain.reranked > DISTINCT * rows / 50)
            fail_msg("sigma %g: plan %s scored %llu vectors a query", (double)sigmas[i], explain.plan_name,
                     (unsigned long long)(explain.reranked / DISTINCT));
        answer(&s);
        check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
        check_plans(&s, (struct request){.batch = 1, .k = 100});
        subject_free(&s);
    }
}

/* ---- Plans ------------------------------------------------------------------------------------------------------- */

/* Where bounds let everything through the plain plan runs, and elsewhere it does not. */
static void test_plain_where_bounds_fail(void **state) {
    static const data_kind kinds[] = {DATA_NEAR_TIES, DATA_NORMAL};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        data_set set = data_make(kinds[i], KITH_F32, KITH_L2SQ, 3000, 64, 5, 0);
        struct subject s = open_subject(set, data_queries(&set, kinds[i], KITH_F32, DISTINCT, 5), 1);
        const kith_explain scan = explained(&s, KITH_PLAN_SCAN, DISTINCT), chosen = explained(&s, KITH_PLAN_AUTO, 14);
        assert_int_equal(scan.reranked > DISTINCT * s.set.rows / 2, kinds[i] == DATA_NEAR_TIES);
        assert_int_equal(chosen.plan == KITH_PLAN_PLAIN, kinds[i] == DATA_NEAR_TIES);
        answer(&s);
        check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
        check_plans(&s, (struct request){.batch = 1, .k = 10});
        subject_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers_are_exact), cmocka_unit_test(test_whole_numbers_are_not_scored_again),
        cmocka_unit_test(test_lists_of_whole_numbers),  cmocka_unit_test(test_values_beyond_the_sample),
        cmocka_unit_test(test_lengths_of_many_orders),  cmocka_unit_test(test_plain_where_bounds_fail)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
