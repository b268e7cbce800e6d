/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries in a graph's space: the bits of rotations, whole numbers and tables, by plain code that is the same on every
 * tier; distances to vertices of real graphs near the true ones; and numbers that floats hardly hold. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/graph.h"
#include "support/guard.h"

#include "base/rng.h"
#include "graph/query.h"
#include "kernel/edges.h"
#include "quant/rotate.h"

enum { WIDTH_MAX = 4096 };

static void *take(size_t count, size_t size) {
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

static float draw(ki_rng *rng, float size) {
    return (float)(2 * ki_rng_unit(rng) - 1) * size;
}

/* ---- Rotations --------------------------------------------------------------------------------------------------- */

/* rotate.h, element by element. */
static void plain_rotate(const uint8_t *signs, size_t n, float *x) {
    size_t part = 8;
    while (part * 2 <= n) part *= 2;
    for (unsigned round = 0; round < KI_ROTATE_ROUNDS; round++, signs += n / 8) {
        float *from = round % 2 ? x + (n - part) : x;
        for (size_t i = 0; i < n; i++) x[i] = signs[i / 8] >> i % 8 & 1 ? -x[i] : x[i];
        for (size_t i = 0; i < part; i++) from[i] *= 1 / sqrtf((float)part);
        for (size_t distance = 1; distance < part; distance *= 2)
            for (size_t i = 0; i < part; i++)
                if (!(i & distance)) {
                    const float a = from[i], b = from[i + distance];
                    from[i] = a + b;
                    from[i + distance] = a - b;
                }
    }
}

static void check_rotation(size_t n, uint64_t seed, float size) {
    static float expected[WIDTH_MAX];
    uint8_t signs[WIDTH_MAX * KI_ROTATE_ROUNDS / 8];
    guard room;
    ki_rng rng = {seed};
    double before = 0, after = 0;
    guard_make(&room, n * sizeof(float));
    float *x = guard_end(&room, n * sizeof(float));
    ki_rotate_make(n, seed, signs);
    for (size_t i = 0; i < n; i++) {
        x[i] = expected[i] = ki_rng_below(&rng, 8) ? draw(&rng, size) : ki_rng_below(&rng, 2) ? 0 : -0.0f;
        before += (double)x[i] * (double)x[i];
    }
    plain_rotate(signs, n, expected);
    ki_rotate(signs, n, x);
    assert_memory_equal(x, expected, n * sizeof(float));
    for (size_t i = 0; i < n; i++) after += (double)x[i] * (double)x[i];
    if (size > 1e-30f) assert_true(fabs(sqrt(after) - sqrt(before)) <= 0x1p-17 * sqrt(before)); /* R1 */
    guard_free(&room);
}

static void test_rotations_have_equal_bits(void **state) {
    (void)state;
    for (size_t n = 8; n <= WIDTH_MAX; n += n < 300 ? 8 : n < 1100 ? 80 : 368) check_rotation(n, n, 3);
    check_rotation(WIDTH_MAX, 5, 1e18f);
    check_rotation(384, 6, 1e-40f);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

struct made {
    int16_t wide[WIDTH_MAX];
    uint8_t table[4 * WIDTH_MAX];
    float work[WIDTH_MAX];
    ki_graph_query query;
};

static int make(const ki_view *view, const float *query, struct made *made) {
    made->query = (ki_graph_query){.wide = made->wide, .table = made->table};
    return ki_graph_query_make(view, query, made->work, &made->query);
}

/* A view of a graph that has no vertices. */
static ki_view view_of(size_t dim, kith_metric metric, const float *centre, uint8_t *signs, float limit) {
    const size_t width = ki_graph_width(dim);
    ki_rotate_make(width, dim, signs);
    return (ki_view){
        .dim = dim,
        .metric = metric,
        .graph = {.degree = 32, .bits = 1, .width = width, .limit = limit, .centre = centre, .signs = signs}};
}

static void check_made(const ki_view *view, const struct made *made) {
    const size_t width = view->graph.width;
    const ki_graph_query *query = &made->query;
    float largest = 0;
    for (size_t i = 0; i < width; i++) largest = fmaxf(largest, fabsf(made->work[i]));
    const int wide_most = (int)fminf(32767, (float)(INT32_MAX / 127) / (float)width);
    const int most = KI_EDGES_Z / (int)((width + 2047) / 2048);
    const float to_wide = (float)wide_most / largest, to_table = (float)most / largest;
    for (size_t i = 0; i < width; i++) {
        const long whole = isfinite(to_wide) ? lrintf(made->work[i] * to_wide) : 0;
        assert_true(labs(whole) <= wide_most);
        assert_int_equal(query->wide[i], whole);
    }
    for (size_t i = 0; i < 4 * width; i++) {
        long entry = KI_EDGES_BIAS;
        for (size_t j = 0; j < 4 && isfinite(to_table); j++) {
            const long z = lrintf(made->work[i / 16 * 4 + j] * to_table);
            assert_true(labs(z) <= most);
            entry += i % 16 >> j & 1 ? z : -z;
        }
        assert_int_equal(query->table[i], entry);
    }
    assert_true(query->step == largest / (float)wide_most);
    assert_true(query->unit == largest / (float)most);
}

static void check_query(size_t dim, kith_metric metric, float size, ki_rng *rng, struct made *made) {
    float *x = take(dim, sizeof(*x)), *centre = take(dim, sizeof(*centre)), *placed = take(WIDTH_MAX, sizeof(*placed));
    uint8_t *signs = take(WIDTH_MAX, KI_ROTATE_ROUNDS);
    ki_view view = view_of(dim, metric, centre, signs, metric == KITH_IP ? 2 : 0);
    for (size_t i = 0; i < dim; i++) {
        x[i] = draw(rng, size);
        centre[i] = draw(rng, size > 1 ? 1 : size);
    }
    assert_true(make(&view, x, made));
    for (size_t i = 0; i < dim; i++) placed[i] = x[i] * made->query.factor - centre[i];
    plain_rotate(signs, view.graph.width, placed);
    assert_memory_equal(placed, made->work, view.graph.width * sizeof(float));
    check_made(&view, made);
    free(x);
    free(centre);
    free(placed);
    free(signs);
}

static void test_tables(void **state) {
    static const size_t dims[] = {1, 2, 15, 16, 17, 100, 384, 1000, 1536, 2048, 2049, 4095, 4096};
    struct made *made = take(1, sizeof(*made));
    ki_rng rng = {2};
    (void)state;
    for (size_t i = 0; i < sizeof(dims) / sizeof(*dims); i++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            check_query(dims[i], (kith_metric)metric, 3, &rng, made);
    for (int power = -44; power <= 12; power++) check_query(48, KITH_L2SQ, powf(10, (float)power), &rng, made);
    free(made);
}

/* Zeros have tables, and numbers that are too large for floats do not. */
static void test_extremes(void **state) {
    enum { DIM = 32 };
    static float zeros[DIM], x[DIM];
    static uint8_t signs[DIM * KI_ROTATE_ROUNDS];
    struct made *made = take(1, sizeof(*made));
    (void)state;
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
        ki_view view = view_of(DIM, (kith_metric)metric, zeros, signs, 1);
        assert_true(make(&view, zeros, made));
        for (size_t i = 0; i < DIM; i++) assert_int_equal(made->wide[i], 0);
        for (size_t i = 0; i < 4 * DIM; i++) assert_int_equal(made->table[i], KI_EDGES_BIAS);
        for (size_t i = 0; i < DIM; i++) x[i] = FLT_MAX;
        if (metric == KITH_L2SQ) assert_false(make(&view, x, made));
        for (size_t i = 0; i < DIM; i++) x[i] = 1e15f;
        assert_true(make(&view, x, made));
    }
    ki_view view = view_of(DIM, KITH_IP, zeros, signs, FLT_MAX);
    assert_false(make(&view, x, made));
    free(made);
}

/* ---- Distances --------------------------------------------------------------------------------------------------- */

static double length_of(const float *x, size_t dim, double factor, const float *less) {
    double square = 0;
    for (size_t i = 0; i < dim; i++) square += pow((double)x[i] * factor - (less ? (double)less[i] : 0), 2);
    return sqrt(square);
}

/* What the distances of a view's metric are, and of D. */
static double true_result(kith_metric metric, const float *q, const float *x, size_t dim) {
    double square = 0, product = 0;
    for (size_t i = 0; i < dim; i++) {
        square += ((double)q[i] - (double)x[i]) * ((double)q[i] - (double)x[i]);
        product += (double)q[i] * (double)x[i];
    }
    if (metric == KITH_L2SQ) return square;
    return metric == KITH_IP ? -product : 1 - product / length_of(q, dim, 1, NULL) / length_of(x, dim, 1, NULL);
}

static double true_distance(const ki_view *view, const ki_graph_query *query, double result) {
    const double limit = (double)view->graph.limit;
    if (view->metric == KITH_L2SQ) return result;
    return view->metric == KITH_COSINE ? 2 * result : 2 * (limit * limit + result * (double)query->factor);
}

static void check_vertex(const ki_view *view, const struct made *made, const float *q, const float *x, uint32_t v) {
    const ki_graph *graph = &view->graph;
    const uint8_t *row = ki_graph_row(graph, v), *self = row + ki_graph_self_at(graph->degree, graph->bits);
    ki_graph_head head;
    memcpy(&head, row, sizeof(head));
    const double own = view->metric == KITH_COSINE ? 1 / length_of(x, view->dim, 1, NULL) : 1;
    const double q_length = length_of(q, view->dim, (double)made->query.factor, graph->centre);
    const double x_length = length_of(x, view->dim, own, graph->centre), root = sqrt((double)graph->width);
    const double code = (double)head.scale / 2 * root; /* at most so much is lost by x's code */
    const double whole = (double)made->query.step / 2 * root, both = q_length + x_length + (double)graph->limit;
    const double bound =
        2 * (q_length + x_length) * code + code * code + 2 * (x_length + code) * whole + 0x1p-15 * both * both;
    const double result = true_result(view->metric, q, x, view->dim);
    const double truth = true_distance(view, &made->query, result);
    const float got = ki_graph_query_distance(graph, &made->query, row, self);
    if (!(fabs((double)got - truth) <= bound))
        fail_msg("%s, %zu dimensions: %g is %g, bound %g", kith_metric_name(view->metric), view->dim, truth,
                 (double)got, bound);
    const double back = ki_graph_query_result(view, &made->query, (float)truth);
    const double rounding = 0x1p-22 * (fabs(truth) + (double)graph->limit * (double)graph->limit);
    const double share = view->metric == KITH_IP ? 2 / (double)made->query.factor : 1;
    assert_true(fabs(back - result) <= share * rounding + 1e-30);
    const float guess = ki_graph_query_guess(graph, &made->query, row, self);
    assert_true(graph->width < 128 ? guess == got : guess >= 0 && (double)guess <= 8 * both * both);
}

static void check_graph(size_t dim, kith_metric metric, uint32_t bits) {
    enum { ROWS = 40, QUERIES = 5 };
    float *values = take((ROWS + QUERIES) * dim, sizeof(*values));
    struct made *made = take(1, sizeof(*made));
    graph_of_floats g = {.values = values, .rows = ROWS, .dim = dim};
    ki_rng rng = {dim + bits};
    for (size_t i = 0; i < (ROWS + QUERIES) * dim; i++) values[i] = 0.3f + (float)ki_rng_normal(&rng);
    memcpy(values + ROWS * dim, values + 7 * dim, dim * sizeof(*values)); /* one query is a vector */
    ki_graph_input input = graph_input(&g, metric);
    input.bits = bits;
    graph_make(&g, &input);
    const ki_view view = {.rows = ROWS, .dim = dim, .dtype = KITH_F32, .metric = metric, .graph = g.graph};
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = values + (ROWS + q) * dim;
        assert_true(make(&view, query, made));
        for (uint32_t v = 0; v < ROWS; v++) check_vertex(&view, made, query, values + v * dim, v);
    }
    graph_free(&g);
    free(made);
    free(values);
}

static void test_distances(void **state) {
    static const size_t dims[] = {1, 2, 16, 31, 100, 384, 1536, 4096};
    (void)state;
    for (size_t i = 0; i < sizeof(dims) / sizeof(*dims); i++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            check_graph(dims[i], (kith_metric)metric, i % 3 ? 1 : 0);
}

/* Heads of damaged rows: what comes is no NaN. */
static void test_damaged_heads(void **state) {
    enum { DIM = 16 };
    static const float zeros[DIM], hostile[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0, 1};
    static uint8_t signs[DIM * KI_ROTATE_ROUNDS], self[64];
    static float x[DIM] = {1, -2, 3};
    const size_t count = sizeof(hostile) / sizeof(*hostile);
    struct made *made = take(1, sizeof(*made));
    const ki_view view = view_of(DIM, KITH_L2SQ, zeros, signs, 1);
    (void)state;
    memset(self, 100, DIM);
    assert_true(make(&view, x, made));
    for (size_t i = 0; i < count * count; i++) {
        const ki_graph_head head = {hostile[i / count], hostile[i % count], 3, 0};
        uint8_t row[sizeof(head)];
        memcpy(row, &head, sizeof(head));
        assert_true(ki_graph_query_distance(&view.graph, &made->query, row, self) >= 0);
        assert_true(ki_graph_query_guess(&view.graph, &made->query, row, self) >= 0);
    }
    free(made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotations_have_equal_bits),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_damaged_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
