/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/query.h"

#include "kernel/distance.h"
#include "quant/rotate.h"

#include <math.h>
#include <string.h>

void ki_graph_place(const ki_graph *graph, size_t dim, const float *x, float factor, float *to) {
    for (size_t j = 0; j < dim; j++) to[j] = x[j] * factor - graph->centre[j];
    memset(to + dim, 0, (graph->width - dim) * sizeof(float));
    ki_rotate(graph->signs, graph->width, to);
}

/* What the query is multiplied by before it is centred. */
static float factor_of(const ki_view *view, const float *query) {
    if (view->metric == KITH_L2SQ) return 1;
    const float norm = (float)sqrt(ki_distance()->norm2[KITH_F32](query, view->dim));
    if (!(norm > 0)) return 1; /* only with ip: all products are zero */
    return (view->metric == KITH_IP ? view->graph.limit : 1) / norm;
}

/* C_q with ip. */
static float product_start(const ki_view *view, const float *query, float factor) {
    const ki_graph *graph = &view->graph;
    const float product = factor * ki_distance()->dot[KITH_F32](query, graph->centre, view->dim);
    return 2 * (graph->limit * graph->limit - product);
}

/* What makes `largest` as large as `most`. 0 where that is no number: a query of zeros, or of numbers so small that
 * squares of them are zero. */
static float inverse_of(float most, float largest) {
    const float inverse = most / largest;
    return isfinite(inverse) ? inverse : 0;
}

/* Whole numbers of at most 2^15, whose products with a code fit 32 bits. */
static void make_wide(const float *placed, size_t width, float largest, ki_graph_query *made) {
    const float fit = (float)(INT32_MAX / 127) / (float)width, most = fit < 32767 ? floorf(fit) : 32767;
    made->step = largest / most;
    made->kernels->wide(placed, inverse_of(most, largest), width, made->wide);
}

/* Of numbers up to `largest`; its unit. */
static float make_table(const float *numbers, size_t width, float largest, uint8_t *table) {
    const float most = (float)(KI_EDGES_Z / (int)((width + 2047) / 2048));
    ki_edges_kernel()->table(numbers, inverse_of(most, largest), width / KI_GRAPH_STEP, table);
    return largest / most;
}

float ki_graph_query_rest(const ki_graph *graph, const ki_graph_query *query, float *work, uint8_t *table) {
    const float inverse = query->unit > 0 ? 1 / query->unit : 0;
    if (!isfinite(inverse)) return make_table(query->placed, graph->width, 0, table);
    for (size_t j = 0; j < graph->width; j++)
        work[j] = query->placed[j] - rintf(query->placed[j] * inverse) * query->unit;
    return make_table(work, graph->width, ki_edges_kernel()->largest(work, graph->width), table);
}

int ki_graph_query_make(const ki_view *view, const float *query, float *work, ki_graph_query *made) {
    const ki_graph *graph = &view->graph;
    const float factor = factor_of(view, query);
    ki_graph_place(graph, view->dim, query, factor, work);
    made->kernels = ki_edges_kernel();
    const float largest = made->kernels->largest(work, graph->width);
    made->factor = factor;
    made->norm2 = (float)ki_distance()->norm2[KITH_F32](work, graph->width);
    made->start = view->metric == KITH_IP ? product_start(view, query, factor) : made->norm2;
    if (!isfinite(made->start) || !isfinite(largest)) return 0;
    make_wide(work, graph->width, largest, made);
    made->placed = work;
    if (graph->bits) made->unit = make_table(work, graph->width, largest, made->table);
    return 1;
}

/* From the product with the first `count` coordinates, times `share` for those left out. */
static float distance_by(const ki_graph_query *query, const uint8_t *row, const uint8_t *self, size_t count,
                         float share) {
    ki_graph_head head;
    memcpy(&head, row, sizeof(head));
    const int32_t dot = query->kernels->dot((const int8_t *)self, query->wide, count);
    const float d = fmaf((float)dot * query->step, -2 * share * head.scale, query->start + head.norm);
    return d > 0 ? d : 0; /* a NaN of a damaged file too */
}

float ki_graph_query_distance(const ki_graph *graph, const ki_graph_query *query, const uint8_t *row,
                              const uint8_t *self) {
    return distance_by(query, row, self, graph->width, 1);
}

float ki_graph_query_guess(const ki_graph *graph, const ki_graph_query *query, const uint8_t *row,
                           const uint8_t *self) {
    const size_t half = graph->width < 128 ? graph->width : graph->width / 2 / KI_GRAPH_STEP * KI_GRAPH_STEP;
    return distance_by(query, row, self, half, (float)graph->width / (float)half);
}

float ki_graph_query_result(const ki_view *view, const ki_graph_query *query, float distance) {
    if (view->metric == KITH_COSINE) return distance < 4 ? distance / 2 : 2;
    if (view->metric == KITH_L2SQ) return distance;
    return (distance / 2 - view->graph.limit * view->graph.limit) / query->factor;
}
