/* SPDX-License-Identifier: Apache-2.0
 *
 * The proofs of quant/int8.h (B2) and quant/level1.h (L2), tried: for ordinary and hostile vectors and queries, the
 * true score in long double and the score of the defining kernel both lie within what a desk's query terms and a run's
 * factors say. Codes are read back from the blocks by the layout that kernel/tile.h draws. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/rng.h"
#include "index/index.h"
#include "flat/build.h"
#include "flat/desk.h"
#include "kernel/project.h"
#include "kernel/tile.h"
#include "quant/int8.h"
#include "quant/level1.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
enum { ROWS = 40, QUERIES = 4 }; /* long double is software there, and often under an emulator */
#else
enum { ROWS = 150, QUERIES = 14 };
#endif

/* A coded set as the search sees it. */
struct coded {
    data_set set;
    data_kind kind;
    ki_recipe recipe;
    ki_run run;
    ki_view view;
    float *values; /* rows as floats, in the run's order */
};

static float *take_floats(size_t count) {
    float *memory = calloc(count, sizeof(float));
    assert_non_null(memory);
    return memory;
}

static int is_whole(const float *x, size_t count) {
    return ki_int8_is_whole(x, count, 0, 255) || ki_int8_is_whole(x, count, -128, 127);
}

static struct coded code(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    struct coded c = {.kind = kind, .set = data_make(kind, dtype, metric, ROWS, dim, seed, 0)};
    float *sample = take_floats(ROWS * dim);
    size_t bad;
    c.values = take_floats(ROWS * dim);
    for (size_t i = 0; i < ROWS; i++) {
        float *row = sample + i * dim;
        data_floats(dtype, data_row(&c.set, i), dim, row);
        double norm2 = 0;
        for (size_t j = 0; j < dim; j++) norm2 += (double)row[j] * (double)row[j];
        for (size_t j = 0; j < dim && metric == KITH_COSINE; j++) row[j] = (float)(row[j] / sqrt(norm2));
    }
    const int is = metric != KITH_COSINE && dtype != KITH_BF16 && is_whole(sample, ROWS * dim);
    const ki_whole whole = is ? KI_WHOLE_WIDE : KI_WHOLE_NOT;
    /* Half of the rows are the sample: the others lie where the recipe does not expect them. */
    assert_int_equal(
        ki_recipe_make(sample, ROWS / 2, ROWS, metric, dtype, dim, whole, KITH_FIRST_LEVEL_ON, seed, &c.recipe),
        KITH_OK);
    assert_true(ki_run_create(&c.recipe, ROWS, &c.run));
    memcpy(c.run.rows, c.set.bytes, ROWS * c.set.row_bytes);
    c.run.count = ROWS;
    c.run.piece_count = 1;
    c.run.pieces[0] = (ki_run_piece){.count = ROWS};
    assert_int_equal(ki_run_code(&c.recipe, &c.run, &bad), KI_ROW_FINE);
    for (size_t p = 0; p < ROWS; p++) data_floats(dtype, data_row(&c.set, c.run.order[p]), dim, c.values + p * dim);
    free(sample);
    const size_t blocks = (ROWS + KI_BLOCK - 1) / KI_BLOCK;
    c.view = (ki_view){.rows = ROWS,
                       .dim = dim,
                       .row_bytes = c.set.row_bytes,
                       .blocks = blocks,
                       .dtype = dtype,
                       .metric = metric,
                       .whole = is,
                       .full = {c.run.codes[0], c.run.factors[0], (dim + 3) / 4, blocks},
                       .centre = c.recipe.centre,
                       .level1_centre = c.recipe.level1_centre,
                       .basis = c.recipe.basis,
                       .kappa = c.recipe.kappa,
                       .lists = {.count = 1},
                       .originals = c.run.originals,
                       .norms2 = metric == KITH_COSINE ? c.run.norms2 : NULL};
    double centre2 = 0;
    for (size_t j = 0; j < dim; j++) centre2 += (double)c.recipe.centre[j] * (double)c.recipe.centre[j];
    c.view.centre_norm = ki_length_above((float)centre2, dim);
    if (c.recipe.level1_columns)
        c.view.level1 = (ki_level){c.run.codes[1], c.run.factors[1], c.recipe.level1_columns / 4, blocks};
    return c;
}

static void coded_free(struct coded *c) {
    ki_run_free(&c->run);
    ki_recipe_free(&c->recipe);
    data_free(&c->set);
    free(c->values);
}

/* The integer product of a query's code with vector `position`, from the blocks' bytes. */
static long product(const ki_level *level, size_t position, const int8_t *query) {
    const uint8_t *block = level->codes + position / KI_BLOCK * level->quads * KI_QUAD_BYTES;
    long sum = 0;
    for (size_t i = 0; i < level->quads * 4; i++)
        sum += (block[i / 4 * KI_QUAD_BYTES + position % KI_BLOCK * 4 + i % 4] - KI_CODE_OFFSET) * (long)query[i];
    return sum;
}

/* The score of the true, real-numbered distance. */
static long double true_score(kith_metric metric, const float *q, const float *x, size_t dim) {
    long double dot = 0, l2 = 0, qq = 0, xx = 0;
    for (size_t j = 0; j < dim; j++) {
        const long double a = (long double)q[j], b = (long double)x[j];
        dot += a * b;
        l2 += (a - b) * (a - b);
        qq += a * a;
        xx += b * b;
    }
    return metric == KITH_L2SQ ? -l2 / 2 : metric == KITH_IP ? dot : dot / sqrtl(qq) / sqrtl(xx);
}

static long double kernel_score(const struct coded *c, const float *query, size_t position) {
    float distance;
    assert_int_equal(kith_distance(c->view.metric, c->view.dtype, c->view.dim, query,
                                   c->view.originals + position * c->view.row_bytes, &distance),
                     KITH_OK);
    const long double d = (long double)distance;
    return c->view.metric == KITH_L2SQ ? -d / 2 : c->view.metric == KITH_IP ? -d : 1 - d;
}

/* The tightest that a bound came to being broken, as a share of it: shows that the test could fail. */
static long double closest[2];

static void check_pair(const struct coded *c, const ki_desk *desk, size_t query, size_t position, int level) {
    const ki_level *codes = level ? &c->view.level1 : &c->view.full;
    const ki_query_code *terms = &desk->code[level][query];
    const float *factors = codes->factors + position / KI_BLOCK * KI_FACTORS + position % KI_BLOCK;
    const float *q = (const float *)desk->queries + query * c->view.dim, *x = c->values + position * c->view.dim;
    const long double norm = (long double)factors[KI_FACTOR_NORM], error = (long double)factors[KI_FACTOR_ERROR];
    const long double dot = (long double)product(codes, position, desk->bytes[level] + query * 4 * codes->quads);
    const long double middle = (long double)terms->base +
                               dot * (long double)terms->scale * (long double)factors[KI_FACTOR_SCALE] +
                               (long double)factors[KI_FACTOR_BIAS];
    const long double slack = (long double)terms->a * norm + (long double)terms->b * error +
                              (long double)desk->norm2_slack * norm * norm + (long double)terms->c;
    const long double score[2] = {true_score(c->view.metric, q, x, c->view.dim), kernel_score(c, q, position)};
    for (int i = 0; i < 2; i++) {
        const long double off = level ? score[i] - middle : fabsl(score[i] - middle);
        if (!(off <= slack))
            fail_msg("%s, %s, %s, dim %zu, level %d, query %zu, position %zu: %s score %Lg, estimate %Lg +- %Lg",
                     data_kind_name(c->kind), kith_metric_name(c->view.metric), kith_dtype_name(c->view.dtype),
                     c->view.dim, level, query, position, i ? "the kernel's" : "true", score[i], middle, slack);
        if (slack > 0 && off / slack > closest[level]) closest[level] = off / slack;
    }
}

static void check_bounds(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    struct coded c = code(kind, metric, dtype, dim, seed);
    /* Every other set of queries comes from another kind of data: other sizes, other directions. */
    float *queries = data_queries(&c.set, seed % 2 ? kind : (data_kind)(seed % DATA_KINDS), KITH_F32, QUERIES, seed);
    ki_desk *desk = ki_desk_create();
    ki_counts counts = {0};
    atomic_int stop = 0;
    assert_non_null(desk);
    const int levels = c.view.level1.blocks ? 2 : 1;
    ki_flat_search search = {
        .view = &c.view, .plan = levels == 2 ? KITH_PLAN_LEVELS : KITH_PLAN_SCAN, .k = 5, .limits = {.stop = &stop}};
    desk->counts = &counts;
    assert_int_equal(ki_desk_prepare(desk, &search, queries, QUERIES), KITH_OK);
    for (int level = 0; level < levels; level++)
        for (size_t q = 0; q < QUERIES; q++)
            for (size_t p = 0; p < ROWS; p++) check_pair(&c, desk, q, p, level);
    ki_desk_destroy(desk);
    free(queries);
    coded_free(&c);
}

static void test_scores_lie_within_their_bounds(void **state) {
    static const kith_dtype dtypes[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8};
    static const size_t dims[] = {1, 3, 17, 64, 65, 100, 128, 200};
    (void)state;
    uint64_t seed = 1;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            for (size_t t = 0; t < 5; t++, seed++)
                check_bounds((data_kind)kind, (kith_metric)metric, dtypes[t], dims[seed % 8], seed);
    for (int kind = 0; kind < DATA_KINDS; kind++, seed++) /* where the first level is sure to be there */
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            check_bounds((data_kind)kind, (kith_metric)metric, KITH_F32, 64 + seed % 100, seed);
    check_bounds(DATA_WHOLE, KITH_L2SQ, KITH_U8, 20000, 1);
    check_bounds(DATA_NORMAL, KITH_IP, KITH_F32, 9000, 3);
    print_message("closest approach to a bound: full codes %.3Lf, first level %.3Lf of it\n", closest[0], closest[1]);
    assert_true(closest[0] > 0.3L); /* far looser bounds would prove little and pass everything */
}

/* The score of the true distance between a query and a stored row. */
static long double true_score_of(const ki_view *view, const float *query, size_t position, float *row) {
    data_floats(view->dtype, view->originals + position * view->row_bytes, view->dim, row);
    return true_score(view->metric, query, row, view->dim);
}

/* Codes of lists: quant/int8.h B4, on whole indexes. */
static void check_list_bounds(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    data_set set = data_make(kind, dtype, metric, ROWS, dim, seed, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = 9;
    options.no_calibration = 1;
    data_build(&set, data_path("lists.kith"), &options);
    kith_index *index = data_open(data_path("lists.kith"));
    const ki_view *view = &index->view;
    float *queries = data_queries(&set, seed % 2 ? kind : (data_kind)(seed % DATA_KINDS), KITH_F32, QUERIES, seed);
    float *row = take_floats(dim);
    ki_desk *desk = ki_desk_create();
    ki_counts counts = {0};
    atomic_int stop = 0;
    ki_flat_search search = {.view = view, .plan = KITH_PLAN_SCAN, .k = 5, .limits = {.stop = &stop}};
    assert_non_null(desk);
    desk->counts = &counts;
    assert_int_equal(ki_desk_prepare(desk, &search, queries, QUERIES), KITH_OK);
    for (size_t block = 0; block < view->blocks && view->lists.count > 1; block++)
        for (size_t q = 0; q < QUERIES; q++) {
            const ki_query_code *code = &desk->code[0][q];
            const ki_list_terms terms =
                ki_query_list_terms(view, code, queries + q * dim, desk->rows + q * dim, view->lists.of_block[block]);
            const float *factors = view->full.factors + block * KI_FACTORS;
            unsigned count;
            const uint32_t first = ki_view_block_row(view, block, &count);
            for (unsigned v = 0; v < count; v++) {
                const long dot = product(&view->full, block * KI_BLOCK + v, desk->bytes[0] + q * 4 * view->full.quads);
                const long double norm = (long double)factors[KI_FACTOR_NORM + v];
                const long double middle =
                    (long double)terms.base +
                    (long double)dot * (long double)code->scale * (long double)factors[KI_FACTOR_SCALE + v] +
                    (long double)factors[KI_FACTOR_BIAS + v];
                const long double slack = (long double)terms.a * norm +
                                          (long double)code->b * (long double)factors[KI_FACTOR_ERROR + v] +
                                          (long double)desk->norm2_slack * norm * norm + (long double)terms.c;
                const long double score = true_score_of(view, queries + q * dim, first + v, row);
                if (!(fabsl(score - middle) <= slack))
                    fail_msg("%s, %s, %s, dim %zu, block %zu, query %zu: score %Lg, estimate %Lg +- %Lg",
                             data_kind_name(kind), kith_metric_name(metric), kith_dtype_name(dtype), dim, block, q,
                             score, middle, slack);
                if (slack > 0 && fabsl(score - middle) / slack > closest[0]) closest[0] = fabsl(score - middle) / slack;
            }
        }
    ki_desk_destroy(desk);
    free(row);
    free(queries);
    kith_index_close(index);
    data_free(&set);
}

static void test_scores_of_lists_lie_within_their_bounds(void **state) {
    static const kith_dtype dtypes[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8};
    static const size_t dims[] = {200, 17, 64, 65, 100, 128};
    (void)state;
    uint64_t seed = 1;
    closest[0] = 0;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++, seed++)
            check_list_bounds((data_kind)kind, (kith_metric)metric, dtypes[seed % 5],
                              kind == DATA_HUGE ? 200 : dims[seed % 6], seed);
    print_message("closest approach to a bound: %.3Lf of it\n", closest[0]);
    assert_true(closest[0] > 0.3L);
}

/* The factors themselves: no norm or error is below the truth. */
static void test_facts_are_upper_bounds(void **state) {
    static const float sizes[] = {1, 1e-22f, 1e-38f, 1e-45f, 1e-30f, 1e15f, 3e17f};
    (void)state;
    ki_rng rng = {7};
    for (size_t round = 0; round < 300; round++) {
        const size_t dim = 1 + ki_rng_below(&rng, 150);
        float r[150], largest, norm2, zero[150] = {0};
        int8_t bytes[150];
        ki_int8_facts facts;
        for (size_t j = 0; j < dim; j++) r[j] = (float)ki_rng_normal(&rng) * sizes[ki_rng_below(&rng, round % 7 + 1)];
        ki_projector()->centre(r, 1, zero, dim, r, &largest, &norm2);
        ki_int8_encode(r, dim, largest, norm2, bytes, &facts);
        long double length2 = 0, error2 = 0;
        long sum = 0, square = 0;
        for (size_t j = 0; j < dim; j++) {
            const long double value = (long double)r[j], rest = value - (long double)facts.scale * bytes[j];
            length2 += value * value;
            error2 += rest * rest;
            sum += bytes[j];
            square += bytes[j] * bytes[j];
        }
        assert_true((long double)facts.norm >= sqrtl(length2));
        assert_true((long double)facts.error >= sqrtl(error2));
        assert_true((long double)facts.norm <= sqrtl(length2) * 1.01L + 1e-16L);
        assert_int_equal(facts.sum, sum);
        assert_int_equal(facts.square, square);
    }
}

static void test_whole_numbers(void **state) {
    (void)state;
    const float fine[] = {-128, 127, 0, -0.0f, 5}, fraction[] = {1, 2, 2.5f}, large[] = {0, 128}, strange[] = {NAN};
    assert_true(ki_int8_is_whole(fine, 5, -128, 127));
    assert_false(ki_int8_is_whole(fine, 5, 0, 255));
    assert_false(ki_int8_is_whole(fraction, 3, -128, 127));
    assert_false(ki_int8_is_whole(large, 2, -128, 127));
    assert_true(ki_int8_is_whole(large, 2, 0, 255));
    assert_false(ki_int8_is_whole(strange, 1, 0, 255));
    const float endless[] = {INFINITY}, below[] = {-INFINITY};
    assert_false(ki_int8_is_whole(endless, 1, 0, 255));
    assert_false(ki_int8_is_whole(below, 1, 0, 255));
    int8_t bytes[5];
    ki_int8_facts facts;
    ki_int8_encode_whole(fine, 5, 0, bytes, &facts);
    for (size_t i = 0; i < 5; i++) assert_int_equal(bytes[i], (int)fine[i]);
    assert_true(facts.scale == 1 && facts.error == 0 && facts.sum == 4 && facts.square == 128 * 128 + 127 * 127 + 25);
}

/* omega and the basis it belongs to: columns of length one at right angles, up to omega. */
static void test_basis_is_nearly_orthonormal(void **state) {
    static const data_kind kinds[] = {DATA_NORMAL, DATA_LOW_RANK, DATA_EQUAL, DATA_HUGE, DATA_TINY, DATA_OUTLIER};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
        struct coded c = code(kinds[k], KITH_L2SQ, KITH_F32, 100, k);
        const size_t columns = c.recipe.level1_columns, directions = ki_level1_directions(columns);
        assert_int_not_equal(columns, 0);
        long double sum = 0;
        for (size_t a = 0; a < directions; a++)
            for (size_t b = 0; b < directions; b++) {
                long double dot = a == b ? -1 : 0;
                for (size_t j = 0; j < 100; j++)
                    dot += (long double)c.recipe.basis[j * columns + a] * (long double)c.recipe.basis[j * columns + b];
                sum += dot * dot;
            }
        assert_true(sqrtl(sum) <= (long double)c.recipe.omega);
        assert_true(c.recipe.omega < 1e-4);
        for (size_t j = 0; j < 100; j++)
            for (size_t a = directions; a < columns; a++) assert_true(c.recipe.basis[j * columns + a] == 0);
        coded_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_lie_within_their_bounds),
        cmocka_unit_test(test_scores_of_lists_lie_within_their_bounds),
        cmocka_unit_test(test_facts_are_upper_bounds),
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_basis_is_nearly_orthonormal),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
