/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph of floats in memory, for tests. Any failure ends the test program through cmocka. */
#ifndef TESTS_SUPPORT_GRAPH_H
#define TESTS_SUPPORT_GRAPH_H

#include "graph/build.h"

#include <stdlib.h>
#include <string.h>

typedef struct graph_of_floats {
    const float *values; /* rows x dim */
    size_t rows, dim;
    float *centre;
    unsigned char *bytes; /* the graph's rows */
    void *model;
    size_t model_bytes, row_bytes;
    ki_graph graph;
} graph_of_floats;

static inline kith_status graph_read(void *context, uint64_t first, size_t count, float *to, kith_error *error) {
    const graph_of_floats *g = context;
    (void)error;
    memcpy(to, g->values + first * g->dim, count * g->dim * sizeof(float));
    return KITH_OK;
}

static inline kith_status graph_write(void *context, uint64_t first, size_t count, const void *rows,
                                      kith_error *error) {
    const graph_of_floats *g = context;
    (void)error;
    memcpy(g->bytes + first * g->row_bytes, rows, count * g->row_bytes);
    return KITH_OK;
}

/* What a build of such values is given, but for what a test changes; the centre is the mean. */
static inline ki_graph_input graph_input(graph_of_floats *g, kith_metric metric) {
    g->centre = calloc(g->dim, sizeof(float));
    assert_non_null(g->centre);
    for (size_t i = 0; i < g->rows * g->dim && metric != KITH_COSINE; i++)
        g->centre[i % g->dim] += g->values[i] / (float)g->rows;
    return (ki_graph_input){.rows = g->rows,
                            .dim = g->dim,
                            .metric = metric,
                            .centre = g->centre,
                            .lists = 1,
                            .degree = 32,
                            .bits = 1,
                            .seed = 7,
                            .read = graph_read,
                            .write = graph_write,
                            .context = g};
}

static inline void graph_make(graph_of_floats *g, const ki_graph_input *input) {
    ki_graph_build *build = NULL;
    kith_error error = {0};
    assert_int_equal(ki_graph_build_start(input, &build, &error), KITH_OK);
    const void *model = ki_graph_build_model(build, &g->model_bytes, &g->row_bytes);
    assert_int_equal(g->model_bytes, ki_graph_model_bytes(g->dim, g->rows));
    g->model = aligned_alloc(64, (g->model_bytes + 63) / 64 * 64);
    g->bytes = aligned_alloc(64, g->rows * g->row_bytes);
    assert_true(g->model && g->bytes);
    memcpy(g->model, model, g->model_bytes);
    assert_int_equal(ki_graph_build_rows(build, &error), KITH_OK);
    ki_graph_build_free(build);
    assert_true(ki_graph_view(g->model, g->model_bytes, g->rows, g->dim, &g->graph));
    assert_int_equal(g->graph.row_bytes, g->row_bytes);
    g->graph.rows = g->bytes;
}

static inline void graph_free(graph_of_floats *g) {
    free(g->centre);
    free(g->model);
    free(g->bytes);
}

/* All that must hold of a graph. */
static inline void graph_is_sound(const graph_of_floats *g) {
    uint64_t vertex = 0, unreached = 1;
    assert_null(ki_graph_check_rows(&g->graph, g->rows, 0, g->rows, &vertex));
    assert_int_equal(ki_graph_unreached(&g->graph, g->rows, &unreached), KITH_OK);
    assert_int_equal(unreached, 0);
}

#endif
