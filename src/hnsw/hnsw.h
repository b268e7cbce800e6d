/* SPDX-License-Identifier: Apache-2.0
 *
 * A family: hierarchical navigable small worlds [Malkov, Yashunin: Efficient and robust approximate nearest neighbor
 * search using hierarchical navigable small world graphs, 2016]: a graph of neighbours over all vertices, and thinner
 * ones above it that lead to the right region. It grows and shrinks in memory over vectors that somebody else owns, and
 * can be written into a segment (view/hnsw.h), whose rows are searched as they lie.
 *
 * Departures. Walks compare int8 codes that lie in the rows beside the links, a quarter of the memory; the best are
 * scored by the vectors themselves (W6). Equal vectors are one vertex with a chain of twins, so that any number of them
 * takes no more time than others and none fills all edges of another. Edges have one direction each, and a vertex that
 * has a single edge coming in keeps it: pruning would otherwise cut vertices off. Among vectors under ip, edges are
 * chosen on the sphere that their longest one spans [Bachrach et al. 2014]. Removal repairs the vertices that had edges
 * to what goes, which a search for it finds [IP-DiskANN: Xu, Manohar, Bernstein, et al. 2025]; an edge that this misses
 * leads to a number that is nobody's, which walks pass by until pruning drops it.
 *
 * W1. Searches take no lock and wait for nobody. Any number of insertions go on side by side, a removal alone.
 * W2. A number is used again only after all searches that might have seen its last owner have ended: its insertion
 *     waits for them.
 * W3. A vector must not move or change from its insertion to the return of its removal, and
 *     then until searches that were on their way have ended (ki_hnsw_settle). They read it for the last scores only.
 * W4. An insertion or removal that fails for want of memory has changed nothing.
 * W5. Equal insertions in equal order by one thread make equal bytes, on any tier. Those of several threads make a
 *     graph that depends on who was first.
 * W6. Results are scored by the defining kernel, and sorted by (distance, label).
 * W7. Of a segment's rows nothing outside is read whatever they hold, and walks end.
 *
 * A searcher belongs to one thread at a time. */
#ifndef KI_HNSW_HNSW_H
#define KI_HNSW_HNSW_H

#include "base/pool.h"
#include "kernel/topk.h"
#include "view/view.h"
#include "view/work.h"

typedef struct ki_hnsw ki_hnsw;
typedef struct ki_hnsw_searcher ki_hnsw_searcher;

enum { KI_HNSW_M_DEFAULT = 16, KI_HNSW_EF_DEFAULT = 200, KI_HNSW_EF_MAX = 10000 };

typedef struct ki_hnsw_options {
    kith_metric metric;
    kith_dtype dtype;
    size_t dim;
    uint32_t m;  /* 2..KI_HNSW_M_MAX: edges that an insertion makes in each layer; layer 0 has room for twice as many */
    uint32_t ef; /* 1..: candidates of an insertion; at least m are kept */
    uint64_t seed;
    uint32_t capacity;   /* numbers are below; at most KI_HNSW_ROWS_MAX. Memory comes with vertices */
    int one_piece;       /* non-zero: memory for all at once, so that it can be written as it lies */
    const float *centre; /* dim, l2 and cosine: codes are relative to it; copied. NULL: zeros */
    /* The vector of a number in the stored type. From any thread. */
    const void *(*vector)(void *context, uint32_t number);
    void *context;
} ki_hnsw_options;

ki_hnsw_searcher *ki_hnsw_searcher_create(void); /* NULL: out of memory */
void ki_hnsw_searcher_destroy(ki_hnsw_searcher *searcher);

/* ---- In memory --------------------------------------------------------------------------------------------------- */

kith_status ki_hnsw_create(const ki_hnsw_options *options, ki_hnsw **graph, kith_error *error);
void ki_hnsw_destroy(ki_hnsw *graph); /* NULL is fine. Nobody uses it any more */
uint32_t ki_hnsw_count(const ki_hnsw *graph);
uint64_t ki_hnsw_memory_bytes(const ki_hnsw *graph);

/* Take in the vector of a number. KITH_E_ARG: the number is in; KITH_E_LIMIT: beyond the capacity; KITH_E_NOMEM. */
kith_status ki_hnsw_insert(ki_hnsw *graph, ki_hnsw_searcher *searcher, uint32_t number, kith_error *error);
/* Take it out. KITH_E_NOTFOUND: the number is not in. */
kith_status ki_hnsw_remove(ki_hnsw *graph, ki_hnsw_searcher *searcher, uint32_t number, kith_error *error);
/* Wait for searches that may still read vectors of numbers that were removed (W3). */
void ki_hnsw_settle(ki_hnsw *graph);

/* Find about the k nearest. query: floats, checked; of bits the bytes. ef: candidates, at least k are taken. allowed: a
 * bit a number, or NULL; numbers from `allowed_count` on are not allowed. hits: room for k; labels are numbers. */
typedef struct ki_hnsw_search {
    const void *query;
    size_t k, ef;
    const uint64_t *allowed;
    uint64_t allowed_count; /* with `allowed`: how many numbers it has bits of */
    uint64_t visits_max;    /* with `allowed`: vertices that may be looked at before the search gives up; 0: all */
    int gave_up;            /* set */
    uint64_t visited;       /* set: vertices that were compared */
} ki_hnsw_search;
kith_status ki_hnsw_find(ki_hnsw *graph, ki_hnsw_searcher *searcher, ki_hnsw_search *search, ki_hit *hits,
                         size_t *count);

/* ---- Building ---------------------------------------------------------------------------------------------------- */

/* Insert the numbers 0..capacity on the threads of a pool, and make all of them reachable. Progress: "linking". */
kith_status ki_hnsw_fill(ki_hnsw *graph, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                         kith_error *error);
/* Let every vertex be reached from the entry along edges of layer 0. Alone. KITH_E_NOMEM. */
kith_status ki_hnsw_connect(ki_hnsw *graph, ki_hnsw_searcher *searcher, kith_error *error);

/* Bytes of the parts of a segment, for graphs of one piece whose numbers are all in: rows are borrowed, the model is to
 * be freed. */
kith_status ki_hnsw_save(const ki_hnsw *graph, void **model, size_t *model_bytes, const void **rows,
                         uint64_t *rows_bytes, kith_error *error);

/* ---- Segments ---------------------------------------------------------------------------------------------------- */

/* Read a model; 0: the bytes are none for such vectors. out->rows stays to be set: rows x ki_hnsw_row_bytes(). */
int ki_hnsw_view_model(const void *model, size_t bytes, uint64_t rows, kith_metric metric, size_t dim,
                       ki_hnsw_view *out);

/* Whether a number below the view's rows is a vertex, and what it has edges to in layer 0: ids below rows, room for
 * 2 m. */
int ki_hnsw_view_is_vertex(const ki_view *view, uint32_t number);
size_t ki_hnsw_view_neighbours(const ki_view *view, uint32_t number, uint32_t *ids);

/* As ki_hnsw_find(): labels and positions are the view's. */
kith_status ki_hnsw_find_view(const ki_view *view, ki_hnsw_searcher *searcher, ki_hnsw_search *search, ki_hit *hits,
                              size_t *count, ki_counts *counts);

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

typedef struct ki_hnsw_state {
    uint64_t vertices, twins, edges; /* of layer 0 */
    uint64_t stale;                  /* edges of all layers to what is no vertex there any more */
    uint64_t unreached;              /* vertices that edges of layer 0 do not lead to from the entry */
} ki_hnsw_state;

/* What is wrong, as static text, and *number: where; NULL: nothing. Of a graph in memory nobody changes it meanwhile.
 * *status: KITH_E_NOMEM, then nothing else means anything. A segment's has no stale edges and nothing unreached. */
const char *ki_hnsw_check(const ki_hnsw *graph, ki_hnsw_state *state, uint64_t *number, kith_status *status);
const char *ki_hnsw_check_view(const ki_view *view, ki_hnsw_state *state, uint64_t *number, kith_status *status);

#endif
