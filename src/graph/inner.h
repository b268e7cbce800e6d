/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph under construction, as the files of building share it. See build.h for the verbs, in their order.
 *
 * I1. Distances of the build are those between codes: |x|^2 + |y|^2 - 2 a_x a_y <c_x, c_y>, in float from an exact
 *     product, so that equal codes are 0 apart, and the same bits come on every tier. With ip a code has KI_GRAPH_STEP
 *     bytes more, which hold the vector's height on the sphere.
 * I2. Vectors with equal codes are twins of the first of them, their elder. Only elders are candidates for edges; twins
 *     are hung below them at last.
 * I3. What a stage writes depends on what stages before it wrote, never on which worker did it, or when. */
#ifndef KI_GRAPH_INNER_H
#define KI_GRAPH_INNER_H

#include "graph/build.h"
#include "graph/edge.h"
#include "kernel/residual.h"
#include "kernel/tile.h"
#include "kernel/topk.h"

#include <pthread.h>
#include <stdatomic.h>

/* Vectors in the graph's space. */
typedef struct ki_graph_codes {
    uint64_t rows;
    size_t width, bytes; /* of a code: what rows of the graph hold, and with the height */
    int8_t *code;        /* rows x bytes */
    float *scale;        /* rows, each array */
    float *square;       /* |a c|^2 */
    int32_t *product;    /* <c, c> without the height */
    float *norm;         /* N_x */
    int32_t *start;      /* -128 * sum of the code */
} ki_graph_codes;

static inline const int8_t *ki_graph_code(const ki_graph_codes *codes, uint32_t v) {
    return codes->code + (size_t)v * codes->bytes;
}

/* Ask memory for a code that will be read. */
static inline void ki_graph_fetch_code(const ki_graph_codes *codes, uint32_t v) {
    enum { LINE = 64 };
    for (size_t at = 0; at < codes->bytes; at += LINE) __builtin_prefetch(ki_graph_code(codes, v) + at);
}

/* I1 */
static inline float ki_graph_apart_by(const ki_graph_codes *codes, uint32_t x, uint32_t y, int32_t dot) {
    const float apart = codes->square[x] + codes->square[y] - 2 * (codes->scale[x] * codes->scale[y] * (float)dot);
    return apart > 0 ? apart : 0;
}

static inline float ki_graph_apart(const ki_graph_codes *codes, uint32_t x, uint32_t y) {
    const int32_t dot = ki_residual()->dot(ki_graph_code(codes, x), ki_graph_code(codes, y), codes->bytes);
    return ki_graph_apart_by(codes, x, y, dot);
}

/* Elders in small groups of vectors that lie near each other. */
typedef struct ki_graph_cells {
    size_t count;
    uint32_t *first;  /* count + 1 */
    uint32_t *member; /* elders, by cell */
    float *centre;    /* count x codes.bytes: the means */
} ki_graph_cells;

struct ki_graph_build {
    ki_graph_input in;
    float limit;
    uint8_t *signs;
    ki_graph_codes codes;
    uint32_t *elder; /* rows: itself, or whose twin it is */
    ki_graph_cells cells;
    uint32_t *edge;  /* rows x degree */
    uint8_t *count;  /* rows: how many there are */
    uint8_t *chosen; /* rows: how many of them, the first, were chosen by the rule; the others fill places */
    uint32_t entries, *entry;
    uint32_t bits;
    size_t row_bytes, model_bytes;
    void *model;
    atomic_uint_fast64_t done; /* vectors of the stage at work */
    atomic_int stop;
    pthread_mutex_t failing; /* guards the three below */
    kith_status status;
    size_t failed_piece;
    kith_error failure;
};

/* ---- build.c ----------------------------------------------------------------------------------------------------- */

/* Remember a failure of a piece of work, that of the lowest piece. */
void ki_graph_fail(ki_graph_build *build, size_t piece, kith_status status, const kith_error *failure);
/* Say how far the stage is; from worker 0 only. */
void ki_graph_tell(ki_graph_build *build, uint64_t done);
/* Run pieces on the pool, and return what failed. */
kith_status ki_graph_run(ki_graph_build *build, size_t pieces, ki_pool_fn fn, void *context, kith_error *error);

/* ---- A file each ------------------------------------------------------------------------------------------------- */

kith_status ki_graph_code_rows(ki_graph_build *build, kith_error *error);
kith_status ki_graph_find_twins(ki_graph_build *build, kith_error *error);
kith_status ki_graph_make_cells(ki_graph_build *build, kith_error *error);
kith_status ki_graph_find_near(ki_graph_build *build, kith_error *error);
kith_status ki_graph_take_near(ki_graph_build *build, kith_error *error);
kith_status ki_graph_widen(ki_graph_build *build, kith_error *error);
kith_status ki_graph_link(ki_graph_build *build, kith_error *error);
kith_status ki_graph_hang_twins(ki_graph_build *build, kith_error *error);
kith_status ki_graph_choose_entries(ki_graph_build *build, kith_error *error);
kith_status ki_graph_connect(ki_graph_build *build, kith_error *error);
kith_status ki_graph_make_model(ki_graph_build *build, kith_error *error);

/* How many entries a graph of so many vectors has. */
uint32_t ki_graph_entries(uint64_t rows);

/* ---- prune.c ----------------------------------------------------------------------------------------------------- */

enum { KI_PRUNE_MAX = 256 };

/* Candidates of one vertex. */
typedef struct ki_graph_pruner {
    size_t count;
    uint32_t id[KI_PRUNE_MAX]; /* distinct, none of them the vertex */
    float apart[KI_PRUNE_MAX]; /* from the vertex */
    uint16_t order[KI_PRUNE_MAX];
    uint8_t out[KI_PRUNE_MAX];
} ki_graph_pruner;

/* The edges of v, among the candidates. */
void ki_graph_choose(ki_graph_build *build, ki_graph_pruner *pruner, uint32_t v);

/* Add a few vertices from anywhere to the candidates of v: without them tight clusters would lead nowhere. */
void ki_graph_add_far(const ki_graph_build *build, ki_graph_pruner *pruner, uint32_t v);

/* Choose at most `degree` of them: first those that no chosen one is nearer to, by alpha, the nearest first; *chosen is
 * how many. Then the nearest of the others, while there are places. Returns how many there are in all. */
size_t ki_graph_prune(const ki_graph_codes *codes, ki_graph_pruner *pruner, size_t degree, uint32_t *edge,
                      size_t *chosen);

#endif
