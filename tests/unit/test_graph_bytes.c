/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of graphs: rows decoded by the words of view/graph.h alone, models and rows that were damaged.
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/graph.h"

#include "base/rng.h"
#include "graph/patch.h"

#include <float.h>
#include <math.h>

enum { ROWS = 400, DIM = 70, WIDTH = 80 };

static float *normal_values(uint64_t seed) {
    float *values = malloc(ROWS * DIM * sizeof(float));
    ki_rng rng = {seed};
    assert_non_null(values);
    for (size_t i = 0; i < ROWS * DIM; i++) values[i] = (float)ki_rng_normal(&rng) * (1 + (float)(i / DIM % 5));
    return values;
}

static graph_of_floats made(const float *values, kith_metric metric, uint32_t degree, uint32_t bits) {
    graph_of_floats g = {.values = values, .rows = ROWS, .dim = DIM};
    ki_graph_input input = graph_input(&g, metric);
    input.degree = degree;
    input.bits = bits;
    graph_make(&g, &input);
    return g;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

struct row {
    ki_graph_head head;
    const uint32_t *id;
    const float *add, *mul;
    const int8_t *self;
    const uint8_t *codes;
};

static struct row row_of(const graph_of_floats *g, uint32_t v) {
    const size_t degree = g->graph.degree, bits = g->graph.bits;
    const uint8_t *at = g->bytes + v * g->row_bytes;
    struct row row;
    memcpy(&row.head, at, sizeof(row.head));
    row.id = (const uint32_t *)(const void *)(at + 16);
    row.add = (const float *)(const void *)(row.id + degree);
    row.mul = row.add + degree;
    row.self = (const int8_t *)at + (16 + 4 * degree * (bits ? 3 : 1) + 63) / 64 * 64;
    row.codes = (const uint8_t *)row.self + (WIDTH + 63) / 64 * 64;
    return row;
}

/* u of neighbour n, dimension by dimension. */
static int element(const graph_of_floats *g, const struct row *row, unsigned n, unsigned j) {
    int u = 0;
    for (unsigned b = 0; b < g->graph.bits; b++) {
        const uint8_t *block = row->codes + b * (g->graph.degree * WIDTH / 8) + n / 16 * (WIDTH / 16 * 32);
        const unsigned s = j / 16, in_step = j % 16, high = in_step / 8, h = in_step % 8 / 4, bit = in_step % 4;
        const unsigned byte = block[s * 32 + 16 * h + n % 16];
        u += (1 << b) * (2 * (int)(byte >> (4 * high + bit) & 1) - 1);
    }
    return u;
}

/* mul and add of an edge, and how well its code points where the residual does. */
static double edge_holds(const graph_of_floats *g, uint32_t x, unsigned n) {
    const struct row from = row_of(g, x), to = row_of(g, from.id[n]);
    double r2 = 0, ru = 0, uu = 0, xr = 0, xu = 0;
    for (unsigned j = 0; j < WIDTH; j++) {
        const double a = (double)from.head.scale * from.self[j], r = (double)to.head.scale * to.self[j] - a;
        const int u = element(g, &from, n, j);
        r2 += r * r;
        ru += r * u;
        uu += (double)u * u;
        xr += a * r;
        xu += a * u;
    }
    const double rho = r2 / ru, add = (double)to.head.norm - from.head.norm - 2 * xr + 2 * rho * xu;
    const double size = fabs(to.head.norm) + fabs(from.head.norm) + 2 * fabs(xr) + 2 * fabs(rho * xu);
    assert_true(ru > 0);
    assert_true(fabs(from.mul[n] + 2 * rho) <= 1e-5 * rho);
    assert_true(fabs(from.add[n] - add) <= 1e-5 * size);
    return ru / sqrt(r2 * uu);
}

static void test_edges(void **state) {
    (void)state;
    static const double floors[] = {0, 0.76, 0.92, 0, 0.99};
    float *values = normal_values(1);
    for (uint32_t bits = 1; bits <= 4; bits *= 2)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
            graph_of_floats g = made(values, (kith_metric)metric, 48, bits);
            double sum = 0, count = 0;
            for (uint32_t x = 0; x < ROWS; x += 7) {
                const uint32_t edges = row_of(&g, x).head.count;
                for (unsigned n = 0; n < edges; n++, count++) sum += edge_holds(&g, x, n);
            }
            assert_true(sum / count > floors[bits]);
            graph_free(&g);
        }
    free(values);
}

/* Of few dimensions in truth, so that edges strike others out. */
static float *flat_values(uint64_t seed) {
    enum { TRUE_DIM = 12 };
    float *values = normal_values(seed), axes[TRUE_DIM * DIM];
    memcpy(axes, values, sizeof(axes));
    for (size_t i = 0; i < ROWS; i++) {
        float place[TRUE_DIM];
        memcpy(place, values + i * DIM, sizeof(place));
        for (size_t j = 0; j < DIM; j++) values[i * DIM + j] = 0;
        for (size_t a = 0; a < TRUE_DIM; a++)
            for (size_t j = 0; j < DIM; j++) values[i * DIM + j] += place[a] * axes[a * DIM + j];
    }
    return values;
}

/* Edges that stand in for those to absent vertices are coded as the build codes its own. */
static void test_patched_edges(void **state) {
    (void)state;
    uint64_t there[ROWS / 64 + 1];
    float *values = flat_values(4);
    for (uint32_t bits = 1; bits <= 4; bits *= 2) {
        graph_of_floats g = made(values, KITH_L2SQ, 32, bits);
        const ki_view view = {.rows = ROWS, .dim = DIM, .graph = g.graph};
        ki_graph_search search = {.view = &view, .allowed = there};
        ki_graph_patches *patches = ki_graph_patches_create();
        uint8_t *kept = malloc(g.row_bytes);
        size_t filled = 0;
        assert_true(patches && kept);
        for (uint32_t at = 0; at < 12 * ROWS; at++) {
            const uint32_t x = at / 12, n = at % 12, gone = row_of(&g, x).id[n];
            uint8_t *row = g.bytes + x * g.row_bytes;
            memset(there, 0xff, sizeof(there));
            there[gone / 64] ^= UINT64_C(1) << gone % 64;
            search.absent = at + 1;
            memcpy(kept, row, g.row_bytes);
            memcpy(row, ki_graph_patched(patches, &search, x), g.row_bytes);
            assert_true(row_of(&g, x).id[n] != gone);
            if (row_of(&g, x).id[n] != x) {
                edge_holds(&g, x, n);
                filled++;
            }
            memcpy(row, kept, g.row_bytes);
        }
        assert_true(filled >= 10);
        ki_graph_patches_destroy(patches);
        free(kept);
        graph_free(&g);
    }
    free(values);
}

/* The norm is that of the code: D(x, x) is next to nothing. */
static void test_selves(void **state) {
    (void)state;
    float *values = normal_values(2);
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric += 2) {
        graph_of_floats g = made(values, (kith_metric)metric, 32, 1);
        for (uint32_t x = 0; x < ROWS; x++) {
            const struct row row = row_of(&g, x);
            double square = 0, true_square = 0, length2 = 0;
            for (unsigned j = 0; j < WIDTH; j++)
                square += (double)row.head.scale * row.head.scale * row.self[j] * row.self[j];
            for (unsigned j = 0; j < DIM; j++) length2 += (double)values[x * DIM + j] * values[x * DIM + j];
            for (unsigned j = 0; j < DIM; j++) {
                const double factor = metric == KITH_COSINE ? 1 / sqrt(length2) : 1;
                const double d = values[x * DIM + j] * factor - g.centre[j];
                true_square += d * d;
            }
            assert_true(fabs(row.head.norm - square) <= 1e-5 * square);
            assert_true(fabs(square - true_square) <= 0.03 * true_square);
        }
        graph_free(&g);
    }
    free(values);
}

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

static void test_damaged_models(void **state) {
    (void)state;
    enum { ENTRIES_AT = 448 /* behind 70 floats and 40 bytes of signs */ };
    float *values = normal_values(3);
    graph_of_floats g = made(values, KITH_IP, 32, 2);
    ki_graph graph;
    assert_int_equal(g.graph.entries, 50);
    assert_false(ki_graph_view(g.model, g.model_bytes - 1, ROWS, DIM, &graph));
    assert_false(ki_graph_view(g.model, 63, ROWS, DIM, &graph));
    assert_false(ki_graph_view(g.model, 0, ROWS, DIM, &graph));
    assert_false(ki_graph_view(g.model, g.model_bytes, ROWS, DIM + 16, &graph));
    assert_false(ki_graph_view(g.model, g.model_bytes, ROWS, 0, &graph));
    assert_false(ki_graph_view(g.model, g.model_bytes, ROWS, SIZE_MAX, &graph));
    assert_false(ki_graph_view(g.model, g.model_bytes, 49, DIM, &graph));
    static const struct {
        size_t at;
        uint32_t word;
    } damage[] = {
        {0, 0},           {4, 0},           {8, 0},           {8, 31}, {8, 96},  {12, 3},          {12, 8},
        {12, UINT32_MAX}, {16, WIDTH - 16}, {16, 0},          {20, 0}, {20, 49}, {20, 51},         {20, UINT32_MAX},
        {24, 0x7f800000}, {24, 0xbf800000}, {24, 0x7fc00000}, {28, 1}, {60, 1},  {64, 0x7fc00000}, {64, 0xff800000},
    };
    for (size_t i = 0; i < sizeof(damage) / sizeof(*damage); i++) {
        uint32_t *word = (uint32_t *)(void *)((unsigned char *)g.model + damage[i].at), before = *word;
        *word = damage[i].word;
        assert_false(ki_graph_view(g.model, g.model_bytes, ROWS, DIM, &graph));
        *word = before;
    }
    uint32_t *last = (uint32_t *)(void *)((unsigned char *)g.model + ENTRIES_AT) + 49;
    *last = ROWS;
    assert_false(ki_graph_view(g.model, g.model_bytes, ROWS, DIM, &graph));
    *last = ROWS - 1;
    assert_true(ki_graph_view(g.model, g.model_bytes, ROWS, DIM, &graph));
    graph_free(&g);
    free(values);
}

static void refused(const graph_of_floats *g, uint32_t v, size_t at, uint32_t word, const char *why) {
    uint32_t *to = (uint32_t *)(void *)(g->bytes + v * g->row_bytes + at), before = *to;
    uint64_t vertex = UINT64_MAX, unreached;
    *to = word;
    const char *said = ki_graph_check_rows(&g->graph, g->rows, 0, g->rows, &vertex);
    assert_non_null(said);
    assert_string_equal(said, why);
    assert_int_equal(vertex, v);
    assert_int_equal(ki_graph_unreached(&g->graph, g->rows, &unreached), KITH_OK); /* harmless */
    *to = before;
}

static void test_damaged_rows(void **state) {
    (void)state;
    enum { SELF_AT = 448, CODES_AT = SELF_AT + 128, V = 123 };
    float *values = flat_values(4);
    graph_of_floats g = made(values, KITH_L2SQ, 32, 1);
    graph_is_sound(&g);
    const struct row row = row_of(&g, V);
    assert_int_equal(row.head.count, 32);
    refused(&g, V, 0, 0x7fc00000, "a vertex has no finite scale and norm");
    refused(&g, V, 0, 0xbf800000, "a vertex has no finite scale and norm");
    refused(&g, V, 4, 0xff800000, "a vertex has no finite scale and norm");
    refused(&g, V, 8, 33, "a vertex has more neighbours than places");
    refused(&g, V, 8, 31, "a place without a neighbour names another vertex");
    refused(&g, V, 12, 1, "bytes that should be zero are not");
    refused(&g, V, 16, ROWS, "a neighbour lies outside of the graph");
    refused(&g, V, 16, UINT32_MAX, "a neighbour lies outside of the graph");
    refused(&g, V, 16, V, "a vertex is its own neighbour");
    refused(&g, V, 20, row.id[0], "a neighbour is named twice");
    refused(&g, V, 16 + 4 * 32, 0x7f800000, "a factor of an edge is not finite");
    refused(&g, V, 16 + 8 * 32, 0x7fc00000, "a factor of an edge is not finite");
    refused(&g, V, 16 + 12 * 32, 1, "bytes that should be zero are not");
    refused(&g, V, SELF_AT + WIDTH, 1, "bytes that should be zero are not");
    assert_int_equal(g.row_bytes, CODES_AT + 32 * WIDTH / 8);
    graph_free(&g);
    free(values);
}

/* A walk from the entries comes nowhere else. */
static void test_unreached(void **state) {
    (void)state;
    float *values = normal_values(5);
    graph_of_floats g = made(values, KITH_L2SQ, 32, 0);
    for (uint32_t v = 0; v < ROWS; v++) {
        const ki_graph_head head = {1, 1, 0, 0};
        memcpy(g.bytes + v * g.row_bytes, &head, sizeof(head));
    }
    uint64_t unreached = 0;
    assert_int_equal(ki_graph_unreached(&g.graph, ROWS, &unreached), KITH_OK);
    assert_int_equal(unreached, ROWS - g.graph.entries);
    graph_free(&g);
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),          cmocka_unit_test(test_patched_edges), cmocka_unit_test(test_selves),
        cmocka_unit_test(test_damaged_models), cmocka_unit_test(test_damaged_rows),  cmocka_unit_test(test_unreached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
