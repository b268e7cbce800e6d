/* SPDX-License-Identifier: Apache-2.0
 *
 * The code of one edge, as rows of a graph hold it. Pure functions; any thread. */
#ifndef KI_GRAPH_EDGE_H
#define KI_GRAPH_EDGE_H

#include "kernel/residual.h"
#include "view/view.h"

/* An end of an edge: a vertex by its code. */
typedef struct ki_graph_end {
    const int8_t *code;
    float scale, norm; /* norm: N_x */
    double square;     /* |a c|^2 */
} ki_graph_end;

/* An edge from x to y at work, and the memory for it. */
typedef struct ki_graph_edge {
    const int8_t *from, *to;
    float a_x, a_y;
    double xx, yy; /* |a c|^2 of both ends */
    ki_residual_sums sums;
    uint16_t bits[KI_GRAPH_DIM_MAX / KI_GRAPH_STEP]; /* of a plane */
    uint8_t level[KI_GRAPH_DIM_MAX], trial[KI_GRAPH_DIM_MAX];
} ki_graph_edge;

/* Put edge n of a row: its factors and its code, not its id. bits: 1, 2 or 4. */
void ki_graph_put_edge(const ki_graph_end *from, const ki_graph_end *to, uint32_t n, uint32_t degree, uint32_t bits,
                       size_t width, ki_graph_edge *edge, uint8_t *row);

#endif
