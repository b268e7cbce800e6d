/* SPDX-License-Identifier: Apache-2.0
 *
 * A family: a graph of neighbours, walked from vertex to nearer vertex. SymphonyQG [Gou, Gao, Xu, Long 2025] and its
 * like: a vertex's row holds small codes of its neighbours, relative to itself, and one pass of table lookups
 * estimates the distances of all of them; a vertex that the walk comes to is scored by its own int8 code, and the best
 * of those at last by the defining kernel. view/graph.h draws the bytes. This is the search; building is in build.h.
 *
 * Departures. A vertex is marked when it enters the pool, not when it leaves it; the pool is not sorted; the walk ends
 * where the nearest vertex in sight is `reach` times as far as the k-th nearest that was met, in place of a pool of
 * fixed size; self codes are int8; edge codes may have 1, 2 or 4 bits, whose planes share one table; several vertices
 * are on their way from memory at any time, of one query or of several.
 *
 * G1. Results do not depend on other queries of the call, nor on threads or tier. (Estimates are sums of exact integers
 *     and a few float operations in fixed order.)
 * G2. No more than min(k, allowed) results, and fewer only where fewer were met: the caller makes up for that.
 * G3. Whatever rows hold, nothing outside of the graph is read, and walks end.
 * G4. A walker allocates only while it grows.
 *
 * A ki_walker belongs to one worker at a time. */
#ifndef KI_GRAPH_GRAPH_H
#define KI_GRAPH_GRAPH_H

#include "kernel/topk.h"
#include "view/view.h"
#include "view/work.h"

typedef struct ki_graph_search {
    const ki_view *view;     /* with a graph and originals, or results are estimates */
    size_t k, rerank;        /* rerank >= k: those met nearest are scored by the defining kernel */
    size_t effort;           /* thousandths: reach = 1 + effort / 1000 */
    uint64_t patience;       /* vertices without a nearer result after which a walk that has k ends; 0: all */
    const uint64_t *allowed; /* bit per position, or NULL: what may be a result; walks pass through all */
    /* Not 0: what is not allowed is thought not to be in the graph at all (patch.h), for measuring; a number of its own
     * for each set of them. */
    uint32_t absent;
    uint64_t visits_max; /* vertices that one query may come to before it gives up; 0: all */
    ki_limits limits;
} ki_graph_search;

typedef struct ki_walker ki_walker;

ki_walker *ki_walker_create(void); /* NULL: out of memory */
void ki_walker_destroy(ki_walker *walker);

enum { KI_WALK_MAX = 8 }; /* queries of one call: they are walked side by side */

/* What became of one query. hits: in the walker, sorted, until its next call. */
typedef struct ki_walk_result {
    const ki_hit *hits;
    size_t count;
    int gave_up; /* visits_max came before the walk's end */
} ki_walk_result;

/* Walk `count` (1..KI_WALK_MAX) queries, floats, stride apart, checked. OK, KITH_E_NOMEM, or the stop status. */
kith_status ki_graph_walk(ki_walker *walker, const ki_graph_search *search, const float *queries, size_t stride,
                          size_t count, ki_walk_result *results, ki_counts *counts, unsigned worker);

#endif
