/* SPDX-License-Identifier: Apache-2.0
 *
 * An edge: whether it is chosen, and its code as rows of a graph hold it. Pure functions; any thread. */
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

/* ---- The rule by which edges are chosen -------------------------------------------------------------------------- */

/* Candidates of each vertex that are taken from anywhere. */
enum { KI_GRAPH_FAR = 4 };

/* Whether a chosen neighbour strikes a candidate out, which is so far `between` from it and `apart` from the vertex. */
static inline int ki_graph_strikes(float between, float apart) {
    return 1.2f * between <= apart;
}

static inline int ki_graph_has(const uint32_t *id, size_t count, uint32_t what) {
    for (size_t i = 0; i < count; i++)
        if (id[i] == what) return 1;
    return 0;
}

/* ---- Its code ---------------------------------------------------------------------------------------------------- */

/* Put edge n of a row: its factors and its code, not its id. bits: 1, 2 or 4. */
void ki_graph_put_edge(const ki_graph_end *from, const ki_graph_end *to, uint32_t n, uint32_t degree, uint32_t bits,
                       size_t width, ki_graph_edge *edge, uint8_t *row);

#endif
