/* SPDX-License-Identifier: Apache-2.0
 *
 * Building graphs: what must hold of any (build.h B1-B3), and that walks find neighbours in them.
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/graph.h"

#include "base/rng.h"
#include "graph/graph.h"
#include "kernel/distance.h"

#include <math.h>
#include <stdio.h>

static kith_error error;

/* Clusters of normal vectors. */
static float *clouds(size_t rows, size_t dim, size_t clusters, uint64_t seed) {
    float *values = malloc(rows * dim * sizeof(float)), *middle = malloc(clusters * dim * sizeof(float));
    ki_rng rng = {seed};
    assert_true(values && middle);
    for (size_t i = 0; i < clusters * dim; i++) middle[i] = (float)(2 * ki_rng_normal(&rng));
    for (size_t r = 0; r < rows; r++) {
        const float *from = middle + ki_rng_below(&rng, clusters) * dim;
        for (size_t j = 0; j < dim; j++) values[r * dim + j] = from[j] + (float)ki_rng_normal(&rng);
    }
    free(middle);
    return values;
}

/* ---- B1 ---------------------------------------------------------------------------------------------------------- */

static void test_threads_do_not_matter(void **state) {
    (void)state;
    enum { ROWS = 4500, DIM = 24 }; /* more than are compared all with all */
    float *values = clouds(ROWS, DIM, 40, 1);
    for (int metric = KITH_L2SQ; metric <= KITH_IP; metric++) {
        graph_of_floats one = {.values = values, .rows = ROWS, .dim = DIM}, four = one;
        ki_graph_input input = graph_input(&one, (kith_metric)metric);
        graph_make(&one, &input);
        free(one.centre);
        input = graph_input(&four, (kith_metric)metric);
        assert_int_equal(kith_pool_create(4, &input.pool, &error), KITH_OK);
        graph_make(&four, &input);
        assert_memory_equal(one.model, four.model, one.model_bytes);
        assert_memory_equal(one.bytes, four.bytes, ROWS * one.row_bytes);
        kith_pool_destroy(input.pool);
        graph_is_sound(&one);
        one.centre = NULL;
        graph_free(&one);
        graph_free(&four);
    }
    free(values);
}

/* ---- B2 ---------------------------------------------------------------------------------------------------------- */

static void sound_with(const float *values, size_t rows, size_t dim, kith_metric metric, uint32_t degree,
                       uint32_t bits) {
    graph_of_floats g = {.values = values, .rows = rows, .dim = dim};
    ki_graph_input input = graph_input(&g, metric);
    input.degree = degree;
    input.bits = bits;
    graph_make(&g, &input);
    graph_is_sound(&g);
    assert_int_equal(g.graph.degree, degree);
    assert_int_equal(g.graph.bits, bits);
    graph_free(&g);
}

static void test_few_rows(void **state) {
    (void)state;
    static const uint32_t degrees[] = {32, 48, 64}, bits[] = {0, 1, 2, 4};
    float *values = clouds(100, 20, 3, 2);
    for (size_t rows = 1; rows <= 100; rows++)
        sound_with(values, rows, 20, (kith_metric)(KITH_L2SQ + (int)(rows % 3)), degrees[rows % 3], bits[rows % 4]);
    free(values);
}

static void test_dimensions(void **state) {
    (void)state;
    static const size_t dims[] = {1, 2, 7, 15, 16, 17, 100, 1000, 1536, 4095, 4096};
    for (size_t i = 0; i < sizeof(dims) / sizeof(*dims); i++) {
        float *values = clouds(90, dims[i], 4, 3);
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            sound_with(values, 90, dims[i], (kith_metric)metric, 32, 1u << i % 3);
        free(values);
    }
}

static void test_hostile_values(void **state) {
    (void)state;
    enum { ROWS = 300, DIM = 19 };
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
            data_set set = data_make((data_kind)kind, KITH_F32, (kith_metric)metric, ROWS, DIM, 5, 0);
            sound_with((const float *)(const void *)set.bytes, ROWS, DIM, (kith_metric)metric, 32, kind % 2 ? 1 : 4);
            data_free(&set);
        }
}

/* Islands: of each, all nearest neighbours lie in it. */
static void test_islands(void **state) {
    (void)state;
    enum { ROWS = 3000, DIM = 8, ISLANDS = 30 };
    float *values = clouds(ROWS, DIM, 1, 4);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t j = 0; j < DIM; j++) values[r * DIM + j] += 1000.0F * (float)(r % ISLANDS * (j + 1) % ISLANDS);
    sound_with(values, ROWS, DIM, KITH_L2SQ, 32, 4);
    free(values);
}

/* ---- B3 ---------------------------------------------------------------------------------------------------------- */

/* Most edges of a vertex lead elsewhere than to vectors equal to it. */
static void test_equal_vectors(void **state) {
    (void)state;
    enum { EQUAL = 100000, OTHERS = 2000, ROWS = EQUAL + OTHERS, DIM = 4 };
    float *values = clouds(ROWS, DIM, 20, 6);
    for (size_t r = OTHERS; r < ROWS; r++) memcpy(values + r * DIM, values, DIM * sizeof(float));
    graph_of_floats g = {.values = values, .rows = ROWS, .dim = DIM};
    const ki_graph_input input = graph_input(&g, KITH_L2SQ);
    graph_make(&g, &input);
    graph_is_sound(&g);
    for (uint32_t v = OTHERS; v < ROWS; v += 997) {
        const unsigned char *row = ki_graph_row(&g.graph, v);
        const uint32_t *id = (const uint32_t *)(const void *)(row + KI_GRAPH_IDS_AT);
        ki_graph_head head;
        uint32_t equals = 0;
        memcpy(&head, row, sizeof(head));
        for (uint32_t i = 0; i < head.count; i++) equals += id[i] == 0 || id[i] >= OTHERS;
        assert_in_range(equals, 1, 9);
        assert_true(head.count > 2 * equals);
    }
    graph_free(&g);
    free(values);
}

static void test_nothing_but_equal_vectors(void **state) {
    (void)state;
    float *values = calloc(100000, sizeof(float));
    assert_non_null(values);
    sound_with(values, 100000, 1, KITH_L2SQ, 32, 1);
    sound_with(values, 20000, 5, KITH_IP, 64, 0);
    free(values);
}

/* ---- Recall ------------------------------------------------------------------------------------------------------ */

enum { K = 10, QUERIES = 60 };

static void nearest(const float *values, size_t rows, size_t dim, const float *query, uint32_t best[K]) {
    float distance[K];
    size_t count = 0;
    for (size_t r = 0; r < rows; r++) {
        const float d = ki_distance()->l2sq[KITH_F32](query, values + r * dim, dim);
        if (count == K && d >= distance[K - 1]) continue;
        size_t at = count < K ? count++ : K - 1;
        for (; at && distance[at - 1] > d; at--) {
            distance[at] = distance[at - 1];
            best[at] = best[at - 1];
        }
        distance[at] = d;
        best[at] = (uint32_t)r;
    }
}

/* Mean recall of walks with `effort`. lists: of equally many rows, by the first coordinate of sorted values. */
static double recall_of(float *values, size_t rows, size_t dim, const float *queries, uint32_t bits, size_t effort) {
    graph_of_floats g = {.values = values, .rows = rows, .dim = dim};
    ki_graph_input input = graph_input(&g, KITH_L2SQ);
    input.bits = bits;
    graph_make(&g, &input);
    graph_is_sound(&g);
    uint64_t *labels = malloc(rows * sizeof(*labels));
    assert_non_null(labels);
    for (size_t r = 0; r < rows; r++) labels[r] = r;
    const ki_view view = {.rows = rows,
                          .dim = dim,
                          .row_bytes = dim * sizeof(float),
                          .dtype = KITH_F32,
                          .metric = KITH_L2SQ,
                          .lists = {.count = 1},
                          .originals = (const uint8_t *)values,
                          .graph = g.graph,
                          .labels = labels};
    atomic_int stop = 0;
    ki_walker *walker = ki_walker_create();
    size_t found = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        const ki_graph_search search = {
            .view = &view, .k = K, .rerank = K + 6, .effort = effort, .limits = {.stop = &stop}};
        ki_walk_result result;
        ki_counts counts = {0};
        uint32_t truth[K];
        nearest(values, rows, dim, queries + q * dim, truth);
        assert_int_equal(ki_graph_walk(walker, &search, queries + q * dim, dim, 1, &result, &counts, 0), KITH_OK);
        for (size_t i = 0; i < result.count; i++)
            for (size_t t = 0; t < K; t++) found += result.hits[i].position == truth[t];
    }
    ki_walker_destroy(walker);
    free(labels);
    graph_free(&g);
    return (double)found / (K * QUERIES);
}

static void test_recall(void **state) {
    (void)state;
    enum { MOST = 4500 };
    static const struct {
        size_t rows, dim;
        uint32_t bits;
        double floor;
    } cases[] = {{2000, 64, 1, 0.97}, {2000, 32, 2, 0.98}, {4500, 16, 4, 0.98}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        float *values = clouds(MOST + QUERIES, cases[c].dim, 60, 8);
        const double recall =
            recall_of(values, cases[c].rows, cases[c].dim, values + MOST * cases[c].dim, cases[c].bits, 300);
        if (recall < cases[c].floor) fail_msg("case %zu: recall %.4f", c, recall);
        free(values);
    }
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

/* Normal in `inner` directions of `dim`, or in all. */
static float *plane(size_t rows, size_t inner, size_t dim) {
    float *values = calloc(rows * dim, sizeof(float)), *basis = calloc(inner * dim, sizeof(float));
    ki_rng rng = {77};
    assert_non_null(values);
    for (size_t i = 0; i < inner * dim; i++)
        basis[i] = inner < dim ? (float)ki_rng_normal(&rng) : (float)(i % (dim + 1) == 0);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < inner; i++) {
            const float x = (float)ki_rng_normal(&rng);
            for (size_t j = 0; j < dim; j++) values[r * dim + j] += x * basis[i * dim + j];
        }
    free(basis);
    return values;
}

/* Vectors that fill their dimensions need more bits than those that follow a few. */
static void test_bits(void **state) {
    static const struct {
        size_t rows, inner, dim;
        uint32_t bits;
    } cases[] = {{2000, 8, 96, 1}, {2000, 24, 96, 2}, {2000, 96, 96, 4}, {200, 8, 96, 4}};
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        float *values = plane(cases[c].rows, cases[c].inner, cases[c].dim);
        assert_int_equal(ki_graph_bits(values, cases[c].rows, cases[c].dim), cases[c].bits);
        free(values);
    }
    float *equal = calloc(300 * 8, sizeof(float));
    assert_non_null(equal);
    assert_int_equal(ki_graph_bits(equal, 300, 8), 1);
    ki_rng rng = {3};
    for (size_t i = 0; i < 300 * 8; i++) equal[i] = ki_rng_normal(&rng) > 0 ? 3e38f : -3e38f; /* squares are infinite */
    assert_int_equal(ki_graph_bits(equal, 300, 8), 4);
    free(equal);
}

/* ---- Failing ----------------------------------------------------------------------------------------------------- */

static kith_status refuse_read(void *context, uint64_t first, size_t count, float *to, kith_error *e) {
    (void)context, (void)count, (void)to;
    snprintf(e->text, sizeof(e->text), "no row %llu", (unsigned long long)first);
    return KITH_E_IO;
}

static kith_status refuse_write(void *context, uint64_t first, size_t count, const void *rows, kith_error *e) {
    (void)context, (void)count, (void)rows;
    snprintf(e->text, sizeof(e->text), "no place for row %llu", (unsigned long long)first);
    return KITH_E_NOSPACE;
}

static int stop_linking(void *context, const kith_progress *progress) {
    assert_string_equal(progress->stage, "linking");
    assert_true(progress->done <= progress->total);
    return --*(int *)context == 0;
}

static void test_failures_are_told(void **state) {
    (void)state;
    float *values = clouds(2000, 8, 5, 9);
    graph_of_floats g = {.values = values, .rows = 2000, .dim = 8};
    ki_graph_input input = graph_input(&g, KITH_L2SQ);
    ki_graph_build *build = NULL;
    size_t bytes, row_bytes;
    assert_int_equal(kith_pool_create(3, &input.pool, &error), KITH_OK);
    input.read = refuse_read;
    assert_int_equal(ki_graph_build_start(&input, &build, &error), KITH_E_IO);
    assert_string_equal(error.text, "no row 0");
    assert_null(build);
    input.read = graph_read;
    int calls = 3;
    input.progress = stop_linking;
    input.progress_context = &calls;
    assert_int_equal(ki_graph_build_start(&input, &build, &error), KITH_E_CANCELLED);
    assert_null(build);
    calls = 1 << 30;
    input.write = refuse_write;
    assert_int_equal(ki_graph_build_start(&input, &build, &error), KITH_OK);
    assert_non_null(ki_graph_build_model(build, &bytes, &row_bytes));
    assert_int_equal(ki_graph_build_rows(build, &error), KITH_E_NOSPACE);
    assert_string_equal(error.text, "no place for row 0");
    ki_graph_build_free(build);
    ki_graph_build_free(NULL);
    kith_pool_destroy(input.pool);
    graph_free(&g);
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_few_rows),
        cmocka_unit_test(test_dimensions),
        cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_islands),
        cmocka_unit_test(test_equal_vectors),
        cmocka_unit_test(test_nothing_but_equal_vectors),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
