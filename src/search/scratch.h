/* SPDX-License-Identifier: Apache-2.0
 *
 * The working memory of searches: what each worker owns, and what a request's pieces leave for each other.
 *
 * Q2. All memory belongs to the scratch and only grows: a search like an earlier one allocates nothing.
 *
 * One search at a time. */
#ifndef KI_SEARCH_SCRATCH_H
#define KI_SEARCH_SCRATCH_H

#include "base/area.h"
#include "base/pool.h"
#include "flat/flat.h"
#include "graph/graph.h"
#include "hnsw/hnsw.h"
#include "index/index.h"
#include "ivf/ivf.h"
#include "lsh/lsh.h"
#include "search/planner.h"

/* What one worker owns. */
typedef struct ki_worker {
    ki_desk *desk;
    ki_lsh_desk *lsh;       /* made by the first search that needs it */
    ki_walker *walker;      /* made by the first search of a graph */
    ki_hnsw_searcher *hnsw; /* made by the first search of an HNSW */
    ki_area hits;           /* of it */
    ki_area queries;        /* floats of a group, or bits */
    ki_counts counts;
} ki_worker;

/* Hits of one piece that must outlive its desk's next group. */
typedef struct ki_kept {
    ki_area hits; /* ki_hit */
    ki_area ends; /* size_t, one a query */
    size_t used;
} ki_kept;

enum { KI_ANSWERS = 4 };

struct kith_scratch {
    const kith_index *index;
    kith_pool *pool;
    unsigned threads;
    ki_worker *workers;
    ki_area kept; /* ki_kept, one a piece; those in use before keep their memory */
    size_t kept_count;
    ki_area shared;                          /* _Atomic float, one a query */
    ki_area offsets, ids, distances, merged; /* range results */
    ki_ivf *ivf;                             /* made by the first search that needs it */
    size_t round_bytes;                      /* of ki_ivf_search; 0 */
    ki_area floats;                          /* queries of an ivf round that had to be converted */
    ki_area poor;                            /* uint32_t: queries that an approximate plan left with too few results */
    ki_area list_counts;                     /* uint32_t: allowed vectors of each list */
    ki_question question[KI_ANSWERS];        /* the last ones that the planner was asked; calibration NULL: none */
    ki_answer answer[KI_ANSWERS];
    size_t answers;
};

/* Make `pieces` pieces' hits ready, empty; false: out of memory. */
int ki_scratch_keep(kith_scratch *scratch, size_t pieces);

#endif
