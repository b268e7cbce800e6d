/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment's graph as searches see it, and the bytes of its rows. Vertex v is position v.
 *
 * Everything of a graph lives in its own space: a vector x (cosine: of unit length) is centred by the graph's centre and
 * rotated (quant/rotate.h), padded with zeros to `width` dimensions. What walks compare is
 *     D(q,x) = C_q + N_x - 2<q',x'>,       q', x' in that space:
 *     l2, cosine    q' of q,                            C_q = |q'|^2,              N_x = |x'|^2
 *     ip            q' of q * limit/|q|, C_q = 2 limit^2 - 2<q limit/|q|, centre>,  N_x = -2<centre, x - centre>
 * limit: the longest stored vector. So D is a squared distance: with ip that of x and q put on a sphere of that radius
 * in one dimension more [Bachrach et al. 2014], whose order is that of products.
 *
 * A row is `row_bytes` long, a multiple of 64, and has, with R = degree and x' = scale * self:
 *       0  float scale, float norm (N_x), u32 count of neighbours, u32 zero
 *      16  u32 id[R]: neighbours, distinct, none of them v; from `count` on v itself
 *          float add[R], float mul[R]       not in lean graphs; from `count` on +infinity and 0
 *          zeros up to a multiple of 64
 *          i8 self[width], zeros up to a multiple of 64
 *          edge codes: `bits` planes, the least first, of R/16 blocks of width/16 x 32 bytes    not in lean graphs
 * An edge's code u of r = y' - x' has odd elements of -(2^bits - 1)..2^bits - 1: u = sum over planes b of 2^b (2 p_b - 1)
 * [RaBitQ: Gao, Long 2024]. With rho = |r|^2 / <r,u> the edge's estimate is
 *     D(q,y) ~ D(q,x) + add + mul <q',u>,  mul = -2 rho, add = N_y - N_x - 2<x',r> + 2 rho <x',u>.
 * A block of a plane has 16 neighbours: byte 16 h + n of step s (h = 0, 1) has neighbour n's bits of dimensions
 * 16 s + 4 h + 0..3 in its low nibble, and of 16 s + 8 + 4 h + 0..3 in its high one, the first in the least bit.
 *
 * The model, in the file: magic "KITHGRA1", u32 degree, bits, width, entries, float limit, 36 zeros; then float
 * centre[dim], the rotation's signs (ki_rotate_bytes(width)), u32 entry[entries] (vertices that walks may begin at), and for
 * each of these the 16 bytes that its row begins with, zeros up to 64, and its self with its zeros; each of the four from
 * a multiple of 64 bytes on.
 *
 * R1. Rows are read from a file: ids are bounded before use, whatever the file says; floats may be anything. */
#ifndef KI_VIEW_GRAPH_H
#define KI_VIEW_GRAPH_H

#include <stddef.h>
#include <stdint.h>

enum {
    KI_GRAPH_DEGREE_MAX = 64, /* 32, 48 or 64 */
    KI_GRAPH_DIM_MAX = 4096,
    KI_GRAPH_ENTRIES_MAX = 4096,
    KI_GRAPH_STEP = 16,   /* dimensions of a step of edge codes: width is a multiple */
    KI_GRAPH_IDS_AT = 16, /* of a row */
    KI_GRAPH_MODEL_HEAD_BYTES = 64
};

typedef struct ki_graph {
    uint32_t degree, bits; /* degree 0: no graph; bits 0: lean */
    size_t width, row_bytes;
    float limit;
    const float *centre; /* dim */
    const uint8_t *signs;
    uint32_t entries;
    const uint32_t *entry;
    const uint8_t *entry_rows; /* entries x ki_graph_entry_bytes(width) */
    const uint8_t *rows;
} ki_graph;

/* The first of a row's 16 bytes. */
typedef struct ki_graph_head {
    float scale, norm;
    uint32_t count, zero;
} ki_graph_head;

static inline size_t ki_graph_width(size_t dim) {
    return (dim + KI_GRAPH_STEP - 1) / KI_GRAPH_STEP * KI_GRAPH_STEP;
}

static inline size_t ki_graph_self_at(uint32_t degree, uint32_t bits) {
    return (KI_GRAPH_IDS_AT + degree * sizeof(uint32_t) * (bits ? 3 : 1) + 63) / 64 * 64;
}

static inline size_t ki_graph_self_bytes(size_t width) {
    return (width + 63) / 64 * 64;
}

enum { KI_GRAPH_ENTRY_SELF_AT = 64 };
static inline size_t ki_graph_entry_bytes(size_t width) {
    return KI_GRAPH_ENTRY_SELF_AT + ki_graph_self_bytes(width);
}

static inline size_t ki_graph_codes_at(uint32_t degree, uint32_t bits, size_t width) {
    return ki_graph_self_at(degree, bits) + ki_graph_self_bytes(width);
}

/* Bytes of one plane of edge codes. */
static inline size_t ki_graph_plane_bytes(uint32_t degree, size_t width) {
    return degree * width / 8;
}

static inline size_t ki_graph_row_bytes(uint32_t degree, uint32_t bits, size_t width) {
    return (ki_graph_codes_at(degree, bits, width) + bits * ki_graph_plane_bytes(degree, width) + 63) / 64 * 64;
}

static inline const uint8_t *ki_graph_row(const ki_graph *graph, uint32_t vertex) {
    return graph->rows + (size_t)vertex * graph->row_bytes;
}

#endif
