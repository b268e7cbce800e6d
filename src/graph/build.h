/* SPDX-License-Identifier: Apache-2.0
 *
 * Building a graph [PiPNN, arXiv 2602.21247: pick in partitions, prune by nearest-neighbour rules]: from vectors that
 * lie list by list to rows (view/graph.h).
 *
 *   code    vectors become int8 in the graph's space, all of them in memory; equal ones are set aside
 *   near    each list's vectors against the vectors of the lists around it, by tile kernels: each keeps its nearest
 *   widen   and meets the neighbours of its neighbours
 *   prune   of those an edge stays if no kept neighbour is nearer to its end, by alpha [relative neighbourhood graph;
 *           robust pruning of Vamana: Subramanya et al. 2019]
 *   link    edges back, pruned again where they are too many; free places are filled with the nearest left out
 *   connect every vertex becomes reachable from the entries
 *   rows    edge codes and factors, a run of rows at a time
 *
 * B1. Equal input, options and seed make equal bytes, for any number of threads and on any tier.
 * B2. Every vertex can be reached from some entry along edges.
 * B3. Duplicates of one vector, however many, do not fill all edges of each other: they are chained. */
#ifndef KI_GRAPH_BUILD_H
#define KI_GRAPH_BUILD_H

#include "base/pool.h"
#include "view/view.h"

typedef struct ki_graph_input {
    uint64_t rows;
    size_t dim;
    kith_metric metric;
    const float *centre;       /* dim: of all vectors (cosine: of unit length) */
    size_t lists;              /* 1..: vectors lie by list */
    const uint32_t *first_row; /* lists + 1 */
    const float *centroids;    /* lists x dim; NULL where lists is 1 */
    uint32_t degree;           /* 32, 48 or 64 */
    uint32_t bits;             /* 0 (lean), 1, 2, 4 */
    uint64_t seed;
    kith_pool *pool;
    /* Fill `to` with vectors first..first+count as floats, packed, as they were given. Calls come from any thread of
     * the pool, side by side. */
    kith_status (*read)(void *context, uint64_t first, size_t count, float *to, kith_error *error);
    /* Take rows first..first+count of the finished graph, row_bytes each. Likewise. */
    kith_status (*write)(void *context, uint64_t first, size_t count, const void *rows, kith_error *error);
    /* NULL, or: put the about `each` vectors nearest to each of first..first+count, but not it itself, to found: each of
     * every vector, UINT32_MAX where there are fewer. Called from the thread that builds. */
    kith_status (*near)(void *context, uint64_t first, size_t count, size_t each, uint32_t *found, kith_error *error);
    void *context;
    kith_progress_fn progress; /* stage "linking", unit "vectors" */
    void *progress_context;
} ki_graph_input;

/* The bits that suit vectors of which this is a sample, count x dim: 1, 2 or 4. */
uint32_t ki_graph_bits(const float *sample, size_t count, size_t dim);
/* The size of a graph's model. */
uint64_t ki_graph_model_bytes(size_t dim, uint64_t rows);

/* A graph under construction. */
typedef struct ki_graph_build ki_graph_build;

/* A model as such a build makes it, but for what it says; malloced, NULL: out of memory. */
void *ki_graph_first_model(size_t dim, uint64_t rows, uint32_t degree, uint32_t bits);

/* Bytes of memory that a build takes, about. */
uint64_t ki_graph_build_bytes(const ki_graph_input *input);

/* Make all but the rows' bytes: the model's are then known. */
kith_status ki_graph_build_start(const ki_graph_input *input, ki_graph_build **build, kith_error *error);
/* Its model, and the size of a row; borrowed. */
const void *ki_graph_build_model(const ki_graph_build *build, size_t *bytes, size_t *row_bytes);
/* Hand all rows to input->write. */
kith_status ki_graph_build_rows(ki_graph_build *build, kith_error *error);
void ki_graph_build_free(ki_graph_build *build); /* NULL is fine */

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

/* Read a model; 0: the bytes are no model for such vectors. graph->rows stays to be set: rows x row_bytes. */
int ki_graph_view(const void *model, size_t bytes, uint64_t rows, size_t dim, ki_graph *graph);

/* What is wrong with rows first..end of a graph, as static text, and *vertex: where; NULL: nothing (ids distinct,
 * inside, not the vertex itself, counts, factors finite, padding zero). */
const char *ki_graph_check_rows(const ki_graph *graph, uint64_t rows, uint64_t first, uint64_t end, uint64_t *vertex);

/* Vertices that no walk from the entries comes to. KITH_E_NOMEM. */
kith_status ki_graph_unreached(const ki_graph *graph, uint64_t rows, uint64_t *unreached);

#endif
