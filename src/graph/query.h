/* SPDX-License-Identifier: Apache-2.0
 *
 * A query in a graph's space (view/graph.h): as tables for the codes of edges, and as whole numbers for those of
 * vertices. Pure functions; any thread. */
#ifndef KI_GRAPH_QUERY_H
#define KI_GRAPH_QUERY_H

#include "kernel/edges.h"
#include "view/view.h"

typedef struct ki_graph_query {
    int16_t *wide;  /* in: room for width numbers; out: q' in units of `step` */
    uint8_t *table; /* in: room for 4 * width bytes; out: kernel/edges.h */
    float factor;   /* what the query was multiplied by */
    float start;    /* C_q */
    float step, unit;
    const float *placed; /* q', in the memory that was lent to make it */
    float norm2;         /* |q'|^2 */
    const ki_edges_kernels *kernels;
} ki_graph_query;

/* Put x * factor, centred and rotated, to `to`: width floats. */
void ki_graph_place(const ki_graph *graph, size_t dim, const float *x, float factor, float *to);

/* work: width floats, which the query keeps. False: numbers are too large for floats, and a walk has nothing to go by. */
int ki_graph_query_make(const ki_view *view, const float *query, float *work, ki_graph_query *made);

/* The table of what `table` leaves out of q', 4 * width bytes, and its unit. */
float ki_graph_query_rest(const ki_graph *graph, const ki_graph_query *query, float *work, uint8_t *table);

/* D(q,x) of a vertex by its own code; row: its head, and self. */
float ki_graph_query_distance(const ki_graph *graph, const ki_graph_query *query, const uint8_t *row,
                              const uint8_t *self);

/* The same from the first half of the coordinates, about. */
float ki_graph_query_guess(const ki_graph *graph, const ki_graph_query *query, const uint8_t *row, const uint8_t *self);

/* The metric's distance that a D stands for. */
float ki_graph_query_result(const ki_view *view, const ki_graph_query *query, float distance);

#endif
