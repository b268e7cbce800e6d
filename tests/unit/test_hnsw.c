/* SPDX-License-Identifier: Apache-2.0
 *
 * HNSW in memory: what it finds after insertions, removals and churn, beside what a fresh one finds; every invariant
 * after each; few and equal vectors; every metric and type; memory that is refused.
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

#include "base/rng.h"
#include "hnsw/hnsw.h"
#include "kernel/distance.h"
#include "support/data.h"
#include "support/faulty_malloc.h"

enum { K = 10, QUERIES = 50 };

/* A graph over a set; `row[number]` is the set's row that a number stands for. */
struct world {
    data_set set;
    uint32_t *row;
    char *in;
    size_t numbers;
    ki_hnsw *graph;
    ki_hnsw_searcher *searcher;
    data_kind kind;
};

static kith_error error;

static const void *vector_of(void *context, uint32_t number) {
    const struct world *w = context;
    return data_row(&w->set, w->row[number]);
}

static ki_hnsw *graph_over(struct world *w, uint32_t m, uint32_t ef) {
    const ki_hnsw_options options = {.metric = w->set.metric,
                                     .dtype = w->set.dtype,
                                     .dim = w->set.dim,
                                     .m = m,
                                     .ef = ef,
                                     .seed = 7,
                                     .capacity = (uint32_t)w->numbers,
                                     .vector = vector_of,
                                     .context = w};
    ki_hnsw *graph = NULL;
    assert_int_equal(ki_hnsw_create(&options, &graph, &error), KITH_OK);
    return graph;
}

static void begin(struct world *w, data_kind kind, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim,
                  size_t numbers) {
    *w = (struct world){.set = data_make(kind, dtype, metric, rows, dim, 5, 0), .numbers = numbers, .kind = kind};
    w->row = malloc(numbers * sizeof(*w->row));
    w->in = calloc(numbers, 1);
    for (size_t i = 0; i < numbers; i++) w->row[i] = (uint32_t)(i % rows);
    w->graph = graph_over(w, 12, 80);
    w->searcher = ki_hnsw_searcher_create();
    assert_non_null(w->searcher);
}

static void end(struct world *w) {
    ki_hnsw_searcher_destroy(w->searcher);
    ki_hnsw_destroy(w->graph);
    data_free(&w->set);
    free(w->row);
    free(w->in);
}

static void insert(struct world *w, uint32_t number) {
    assert_int_equal(ki_hnsw_insert(w->graph, w->searcher, number, &error), KITH_OK);
    w->in[number] = 1;
}

static void take_out(struct world *w, uint32_t number) {
    assert_int_equal(ki_hnsw_remove(w->graph, w->searcher, number, &error), KITH_OK);
    w->in[number] = 0;
}

static ki_hnsw_state check(const ki_hnsw *graph) {
    ki_hnsw_state state;
    uint64_t number;
    kith_status status;
    const char *wrong = ki_hnsw_check(graph, &state, &number, &status);
    assert_int_equal(status, KITH_OK);
    if (wrong) fail_msg("vector %llu %s", (unsigned long long)number, wrong);
    return state;
}

/* Results are in, distinct, sorted, and have their own distances; returns the share of the true neighbours found. */
static double recall(struct world *w, ki_hnsw *graph, size_t ef, const uint64_t *allowed) {
    const int bits = w->set.dtype == KITH_B1;
    const size_t row = bits ? w->set.row_bytes : w->set.dim * sizeof(float);
    unsigned char *queries = data_queries(&w->set, w->kind, bits ? KITH_B1 : KITH_F32, QUERIES, 23);
    data_hit *truth = malloc(w->set.rows * sizeof(*truth));
    char *lets = calloc(w->set.rows, 1);
    size_t found = 0, wanted = 0;
    for (size_t i = 0; i < w->numbers; i++)
        if (w->in[i] && (!allowed || allowed[i / 64] >> i % 64 & 1)) lets[w->row[i]] = 1;
    for (size_t q = 0; q < QUERIES; q++) {
        ki_hnsw_search search = {
            .query = queries + q * row, .k = K, .ef = ef, .allowed = allowed, .allowed_count = w->numbers};
        ki_hit hits[K];
        size_t count;
        assert_int_equal(ki_hnsw_find(graph, w->searcher, &search, hits, &count), KITH_OK);
        const size_t all = data_reference(&w->set, search.query, lets, truth), k = all < K ? all : K;
        for (size_t i = 0; i < count; i++) {
            assert_true(w->in[hits[i].position] && lets[w->row[hits[i].position]]);
            for (size_t j = 0; j < i; j++) assert_int_not_equal(hits[i].position, hits[j].position);
            if (i) assert_true(ki_hit_before(&hits[i - 1], &hits[i]));
            found += k && hits[i].distance <= truth[k - 1].distance && i < k;
        }
        wanted += k;
    }
    free(queries);
    free(truth);
    free(lets);
    return wanted ? (double)found / (double)wanted : 1;
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

static void test_metrics(void **state) {
    (void)state;
    static const struct {
        kith_dtype dtype;
        kith_metric metric;
    } kinds[] = {{KITH_F32, KITH_L2SQ}, {KITH_F16, KITH_COSINE}, {KITH_F32, KITH_IP},     {KITH_I8, KITH_L2SQ},
                 {KITH_U8, KITH_IP},    {KITH_BF16, KITH_L2SQ},  {KITH_B1, KITH_HAMMING}, {KITH_B1, KITH_JACCARD}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct world w;
        begin(&w, DATA_CLUSTERED, kinds[i].dtype, kinds[i].metric, 1500, kinds[i].dtype == KITH_B1 ? 128 : 24, 1500);
        for (uint32_t n = 0; n < 1500; n++) insert(&w, n);
        const ki_hnsw_state now = check(w.graph);
        assert_int_equal(now.stale, 0);
        assert_int_equal(now.unreached, 0);
        const double got = recall(&w, w.graph, 200, NULL);
        if (got < (kinds[i].metric == KITH_IP ? .93 : .98)) /* lengths differ by much: ip is harder */
            fail_msg("%s %s: recall %.3f", kith_dtype_name(kinds[i].dtype), kith_metric_name(kinds[i].metric), got);
        end(&w);
    }
}

static void test_filter(void **state) {
    (void)state;
    struct world w;
    begin(&w, DATA_NORMAL, KITH_F32, KITH_L2SQ, 2000, 16, 2000);
    uint64_t allowed[2000 / 64 + 1] = {0};
    for (uint32_t n = 0; n < 2000; n++) insert(&w, n);
    for (uint32_t n = 0; n < 2000; n += 5) allowed[n / 64] |= UINT64_C(1) << n % 64;
    assert_true(recall(&w, w.graph, 60, allowed) > .95);
    end(&w);
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

static void test_removal(void **state) {
    (void)state;
    struct world w;
    begin(&w, DATA_CLUSTERED, KITH_F32, KITH_COSINE, 2000, 24, 2000);
    for (uint32_t n = 0; n < 2000; n++) insert(&w, n);
    ki_rng rng = {3};
    for (int i = 0; i < 1200; i++) {
        const uint32_t n = (uint32_t)ki_rng_below(&rng, 2000);
        if (w.in[n]) take_out(&w, n);
        if (i % 200 == 0) check(w.graph);
    }
    const ki_hnsw_state now = check(w.graph);
    assert_true(now.unreached <= now.vertices / 100);
    assert_true(now.stale <= now.edges / 20);
    const double got = recall(&w, w.graph, 80, NULL);
    if (got < .95) fail_msg("recall %.3f", got);
    for (uint32_t n = 0; n < 2000; n++)
        if (w.in[n]) take_out(&w, n);
    assert_int_equal(check(w.graph).vertices, 0);
    assert_int_equal(ki_hnsw_count(w.graph), 0);
    assert_int_equal(ki_hnsw_remove(w.graph, w.searcher, 5, &error), KITH_E_NOTFOUND);
    insert(&w, 17);
    assert_int_equal(check(w.graph).vertices, 1);
    end(&w);
}

/* Ten times as many vectors as there is room for, in no order: as good as a fresh graph of what is left. */
static void test_churn(void **state) {
    (void)state;
    enum { NUMBERS = 800, ROWS = 8800 };
    struct world w;
    begin(&w, DATA_NORMAL, KITH_F32, KITH_L2SQ, ROWS, 16, NUMBERS);
    for (uint32_t n = 0; n < NUMBERS; n++) insert(&w, n);
    ki_rng rng = {11};
    for (uint32_t row = NUMBERS; row < ROWS; row++) {
        const uint32_t n = (uint32_t)ki_rng_below(&rng, NUMBERS);
        take_out(&w, n);
        w.row[n] = row;
        insert(&w, n);
    }
    const ki_hnsw_state now = check(w.graph);
    assert_int_equal(now.vertices, NUMBERS);
    assert_true(now.unreached <= NUMBERS / 100);
    ki_hnsw *fresh = graph_over(&w, 12, 80);
    for (uint32_t n = 0; n < NUMBERS; n++) assert_int_equal(ki_hnsw_insert(fresh, w.searcher, n, &error), KITH_OK);
    const double old_recall = recall(&w, w.graph, 40, NULL), new_recall = recall(&w, fresh, 40, NULL);
    if (old_recall < new_recall - .01) fail_msg("recall %.4f after churn, %.4f fresh", old_recall, new_recall);
    assert_int_equal(ki_hnsw_connect(w.graph, w.searcher, &error), KITH_OK);
    assert_int_equal(check(w.graph).unreached, 0);
    ki_hnsw_destroy(fresh);
    end(&w);
}

/* ---- Equal vectors ----------------------------------------------------------------------------------------------- */

static void test_equal(void **state) {
    (void)state;
    enum { NUMBERS = 20000 };
    struct world w;
    begin(&w, DATA_DUPLICATES, KITH_F32, KITH_L2SQ, NUMBERS, 8, NUMBERS);
    for (uint32_t n = 0; n < NUMBERS; n++) insert(&w, n);
    ki_hnsw_state now = check(w.graph);
    assert_int_equal(now.vertices + now.twins, NUMBERS);
    assert_int_equal(now.unreached, 0);
    assert_true(now.vertices < 1000);
    uint64_t one[NUMBERS / 64 + 1] = {0};
    one[19999 / 64] |= UINT64_C(1) << 19999 % 64; /* a twin, and its vertex is not allowed */
    float query[8];
    data_floats(KITH_F32, data_row(&w.set, 19999), 8, query);
    ki_hnsw_search search = {.query = query, .k = K, .ef = K, .allowed = one, .allowed_count = NUMBERS};
    ki_hit hits[K];
    size_t count;
    assert_int_equal(ki_hnsw_find(w.graph, w.searcher, &search, hits, &count), KITH_OK);
    assert_int_equal(count, 1);
    assert_int_equal(hits[0].position, 19999);
    for (uint32_t n = 0; n < NUMBERS; n += n % 7 == 0 ? 1 : 3) take_out(&w, n); /* vertices too: twins become some */
    now = check(w.graph);
    assert_int_equal(now.vertices + now.twins, ki_hnsw_count(w.graph));
    const double got = recall(&w, w.graph, 40, NULL);
    if (got < .99) fail_msg("recall %.3f", got);
    end(&w);
}

static void test_few(void **state) {
    (void)state;
    for (uint32_t rows = 1; rows <= 40; rows += rows < 5 ? 1 : 7)
        for (size_t dim = 1; dim <= 4096; dim *= 16) {
            struct world w;
            begin(&w, DATA_NORMAL, KITH_F32, KITH_L2SQ, rows, dim, rows);
            for (uint32_t n = 0; n < rows; n++) insert(&w, n);
            assert_int_equal(check(w.graph).unreached, 0);
            assert_true(recall(&w, w.graph, 64, NULL) > .999);
            end(&w);
        }
}

static void test_hostile_numbers(void **state) {
    (void)state;
    for (data_kind kind = DATA_NORMAL; kind < DATA_KINDS; kind++) {
        struct world w;
        begin(&w, kind, KITH_F32, KITH_L2SQ, 300, 12, 300);
        for (uint32_t n = 0; n < 300; n++) insert(&w, n);
        assert_int_equal(ki_hnsw_connect(w.graph, w.searcher, &error), KITH_OK);
        assert_int_equal(check(w.graph).unreached, 0);
        recall(&w, w.graph, 40, NULL);
        for (uint32_t n = 0; n < 300; n += 2) take_out(&w, n);
        check(w.graph);
        end(&w);
    }
}

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

static void test_bounds(void **state) {
    (void)state;
    struct world w;
    begin(&w, DATA_NORMAL, KITH_F32, KITH_L2SQ, 50, 8, 50);
    ki_hnsw *none = NULL;
    ki_hnsw_options options = {.metric = KITH_L2SQ, .dtype = KITH_F32, .dim = 8, .m = 1, .ef = 10, .capacity = 5};
    assert_int_equal(ki_hnsw_create(&options, &none, &error), KITH_E_ARG);
    options.m = 8;
    options.ef = 0;
    assert_int_equal(ki_hnsw_create(&options, &none, &error), KITH_E_ARG);
    options.ef = 10;
    options.capacity = UINT32_MAX;
    assert_int_equal(ki_hnsw_create(&options, &none, &error), KITH_E_LIMIT);
    insert(&w, 3);
    assert_int_equal(ki_hnsw_insert(w.graph, w.searcher, 3, &error), KITH_E_ARG);
    assert_int_equal(ki_hnsw_insert(w.graph, w.searcher, 50, &error), KITH_E_LIMIT);
    assert_int_equal(ki_hnsw_remove(w.graph, w.searcher, 49, &error), KITH_E_NOTFOUND);
    assert_int_equal(ki_hnsw_remove(w.graph, w.searcher, UINT32_MAX, &error), KITH_E_NOTFOUND);
    assert_int_equal(check(w.graph).vertices, 1);
    end(&w);
}

/* Whichever allocation is refused, the graph is as it was, and the same call succeeds afterwards. */
static void test_memory(void **state) {
    (void)state;
    enum { NUMBERS = 3000 };
    struct world w;
    begin(&w, DATA_DUPLICATES, KITH_F32, KITH_L2SQ, NUMBERS, 8, NUMBERS);
    ki_rng rng = {9};
    size_t refused = 0;
    for (uint32_t n = 0; n < NUMBERS; n++) {
        faulty_malloc_start(0, 1);
        kith_status status = ki_hnsw_insert(w.graph, w.searcher, n, NULL);
        faulty_malloc_stop();
        if (status == KITH_E_NOMEM) {
            refused++;
            check(w.graph);
            for (long at = 1; status == KITH_E_NOMEM; at++) {
                faulty_malloc_start(at, 1);
                status = ki_hnsw_insert(w.graph, w.searcher, n, NULL);
                faulty_malloc_stop();
            }
        }
        assert_int_equal(status, KITH_OK);
        w.in[n] = 1;
        const uint32_t gone = (uint32_t)ki_rng_below(&rng, n + 1);
        if (n % 2 && w.in[gone]) {
            faulty_malloc_start(0, 1);
            status = ki_hnsw_remove(w.graph, w.searcher, gone, NULL);
            faulty_malloc_stop();
            if (status == KITH_OK) w.in[gone] = 0;
        }
    }
    assert_true(refused > 3);
    check(w.graph);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics), cmocka_unit_test(test_filter),          cmocka_unit_test(test_removal),
        cmocka_unit_test(test_churn),   cmocka_unit_test(test_equal),           cmocka_unit_test(test_few),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_hostile_numbers), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
