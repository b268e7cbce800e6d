/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_build() with a graph: what is refused, and that rows of the graph belong to the rows of the file.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "graph/build.h"
#include "graph/query.h"
#include "index/index.h"
#include "kernel/distance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kith_error error;
static kith_build_options graph_options(kith_metric metric) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = metric;
    options.index = KITH_INDEX_GRAPH;
    options.threads = 2;
    options.no_calibration = 1;
    return options;
}

static kith_status build(const data_set *set, const kith_build_options *options) {
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, NULL, &reader, &error),
                     KITH_OK);
    const kith_status status = kith_build(reader, data_path("graph.kith"), options, NULL, &error);
    kith_reader_close(reader);
    return status;
}

/* Every row of the graph holds the code of the vector at its position. */
static void selves_hold(const kith_index *index, const ki_graph *graph) {
    const ki_view *view = &index->view;
    float *values = malloc(view->dim * sizeof(float)), *placed = malloc(graph->width * sizeof(float));
    assert_true(values && placed);
    for (uint32_t v = 0; v < view->rows; v++) {
        const uint8_t *row = ki_graph_row(graph, v);
        const int8_t *self = (const int8_t *)row + ki_graph_self_at(graph->degree, graph->bits);
        ki_graph_head head;
        memcpy(&head, row, sizeof(head));
        data_floats(view->dtype, view->originals + v * view->row_bytes, view->dim, values);
        const double norm2 = ki_distance()->norm2[KITH_F32](values, view->dim);
        ki_graph_place(graph, view->dim, values, view->metric == KITH_COSINE ? (float)(1 / sqrt(norm2)) : 1, placed);
        for (size_t j = 0; j < graph->width; j++)
            assert_true(fabsf(placed[j] - head.scale * self[j]) <= 0.51F * head.scale + 1e-6F);
    }
    free(values);
    free(placed);
}

static void built_graph_holds(const kith_build_options *options, kith_dtype dtype, size_t lists) {
    enum { ROWS = 3000, DIM = 33 };
    data_set set = data_make(DATA_CLUSTERED, dtype, options->metric, ROWS, DIM, 3, 0);
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    kith_build_options asked = *options;
    kith_index *index = NULL;
    ki_graph graph;
    uint64_t vertex, unreached = 1;
    asked.lists = lists;
    assert_int_equal(build(&set, &asked), KITH_OK);
    assert_int_equal(kith_index_open(data_path("graph.kith"), &open, &index, &error), KITH_OK);
    const ki_part_view model = ki_segment_part(index->segment, KI_PART_GRAPH_MODEL);
    const ki_part_view rows = ki_segment_part(index->segment, KI_PART_GRAPH_ROWS);
    assert_true(ki_graph_view(model.data, model.bytes, ROWS, DIM, &graph));
    assert_int_equal(rows.bytes, ROWS * graph.row_bytes);
    assert_int_equal(rows.count, ROWS);
    graph.rows = rows.data;
    assert_int_equal(graph.degree, options->graph_degree ? options->graph_degree : 32);
    assert_int_equal(graph.bits, options->graph_lean ? 0 : options->graph_bits ? options->graph_bits : 4);
    assert_null(ki_graph_check_rows(&graph, ROWS, 0, ROWS, &vertex));
    assert_int_equal(ki_graph_unreached(&graph, ROWS, &unreached), KITH_OK);
    assert_int_equal(unreached, 0);
    selves_hold(index, &graph);
    kith_index_close(index);
    data_free(&set);
}

static void test_graphs(void **state) {
    (void)state;
    kith_build_options options = graph_options(KITH_L2SQ);
    built_graph_holds(&options, KITH_F32, 1);
    options.graph_degree = 48;
    options.graph_bits = 2;
    built_graph_holds(&options, KITH_F32, 40);
    options = graph_options(KITH_IP);
    options.graph_lean = 1;
    built_graph_holds(&options, KITH_F16, 20);
    options = graph_options(KITH_COSINE);
    options.graph_degree = 64;
    options.graph_bits = 1;
    built_graph_holds(&options, KITH_U8, 20);
}

static void test_no_graph(void **state) {
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 500, 8, 3, 0);
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    kith_build_options options = graph_options(KITH_L2SQ);
    kith_index *index = NULL;
    options.index = KITH_INDEX_IVF;
    assert_int_equal(build(&set, &options), KITH_OK);
    assert_int_equal(kith_index_open(data_path("graph.kith"), &open, &index, &error), KITH_OK);
    assert_null(ki_segment_part(index->segment, KI_PART_GRAPH_ROWS).data);
    kith_index_close(index);
    data_free(&set);
}

static void refused(const data_set *set, const kith_build_options *options, kith_status expected, const char *part) {
    unlink(data_path("graph.kith"));
    memset(&error, 0, sizeof(error));
    assert_int_equal(build(set, options), expected);
    if (!strstr(error.text, part)) fail_msg("'%s' is not in: %s", part, error.text);
    assert_int_not_equal(access(data_path("graph.kith"), F_OK), 0);
}

static void test_what_is_refused(void **state) {
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 300, 8, 3, 0);
    data_set bits = data_make(DATA_NORMAL, KITH_B1, KITH_HAMMING, 300, 64, 3, 0);
    data_set wide = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 3, 4097, 3, 0);
    data_set many = data_make(DATA_EQUAL, KITH_U8, KITH_L2SQ, 60000, 16, 3, 0);
    kith_build_options options = graph_options(KITH_L2SQ);
    options.graph_degree = 33;
    refused(&set, &options, KITH_E_ARG, "graph_degree is 32, 48 or 64, not 33");
    options = graph_options(KITH_L2SQ);
    options.graph_bits = 3;
    refused(&set, &options, KITH_E_ARG, "graph_bits is 1, 2 or 4, not 3");
    options.graph_bits = 5;
    refused(&set, &options, KITH_E_ARG, "not 5");
    options.graph_bits = 1;
    options.graph_lean = 1;
    refused(&set, &options, KITH_E_ARG, "a lean graph has no codes of edges");
    options = graph_options(KITH_L2SQ);
    options.originals = KITH_ORIGINALS_NONE;
    refused(&set, &options, KITH_E_UNSUPPORTED, "a graph needs the stored vectors");
    options = graph_options(KITH_L2SQ);
    refused(&wide, &options, KITH_E_UNSUPPORTED, "at most 4096 dimensions, these vectors have 4097");
    options.memory_bytes = 16 << 20;
    refused(&many, &options, KITH_E_LIMIT, "16 MiB may be used");
    options = graph_options(KITH_HAMMING);
    refused(&bits, &options, KITH_E_UNSUPPORTED, "a graph needs vectors of numbers");
    data_free(&set);
    data_free(&bits);
    data_free(&wide);
    data_free(&many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_no_graph),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
