/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring an index's plans: shared by tune.c (queries, exact answers, the whole), lists.c (which lists hold
 * the true neighbours) and measure.c (recall and cost of settings).
 *
 * T1. Queries are rows held out from the index, or stored rows; a stored row is left out of its own exact answers and
 * of what a search finds for it. T2. Recall does not depend on the batch: it is measured once for all batch sizes, with
 * all threads. A result counts when it is no farther than the k-th true neighbour: ties are true neighbours. T3. Cost
 * is the processor time of the calling thread, which load by others hardly moves, a batch size at a time; between
 * measured numbers of lists it is interpolated, linearly. T4. Time is bounded by a budget: slow indexes are measured
 * with fewer queries, and the error of their recall says so. */
#ifndef KI_TUNE_TUNE_H
#define KI_TUNE_TUNE_H

#include "base/pool.h"
#include "index/index.h"

enum { KI_TUNE_KS = 3, KI_TUNE_BATCHES = 4, KI_TUNE_QUERIES = 1000, KI_TUNE_QUERIES_LEAST = 100 };

typedef struct ki_tuning {
    const kith_index *index;
    kith_pool *pool;
    kith_scratch *wide, *narrow;            /* of the pool, and of the calling thread */
    double threads;                         /* of wide */
    uint64_t seed, budget_ns, memory_bytes; /* memory_bytes: 0: no bound */
    size_t count;                           /* queries */
    float *queries;                         /* count x dim, in random order */
    uint64_t *self;                         /* the id of each, NULL: held out */
    size_t ks, batches;
    size_t k[KI_TUNE_KS], batch[KI_TUNE_BATCHES];
    float *truth;           /* count x k[ks - 1]: distances of the true neighbours */
    uint32_t *rank;         /* likewise: how many lists are nearer to the query than the neighbour's */
    uint32_t *spilled_rank; /* likewise, than the nearer of the neighbour's two lists; NULL without second lists */
    uint32_t *second_of;    /* by position: the second list, UINT32_MAX without one; NULL likewise */
    uint64_t *ids;          /* count x (k[ks - 1] + 1): of the search at work */
    float *distances;       /* likewise */
    double exact_ns;        /* processor time of one query */
    ki_calibration out;
    size_t capacity; /* of out.settings */
    kith_progress_fn progress;
    void *progress_context;
} ki_tuning;

kith_status ki_tune_tell(const ki_tuning *t, const char *stage, const char *unit, uint64_t done, uint64_t total,
                         kith_error *error);

/* The second list of each position. */
void ki_tune_second_lists(const ki_view *view, uint32_t *second_of);

/* Fill t->rank of queries first..first+count from the ids of their true neighbours, k[ks - 1] each. */
kith_status ki_tune_rank(ki_tuning *t, size_t first, size_t count, const uint64_t *ids, kith_error *error);

/* Search queries first..first+count, k results each; options NULL: exactly. */
kith_status ki_tune_search(const ki_tuning *t, kith_scratch *scratch, size_t first, size_t count, size_t k,
                           const kith_search_options *options, kith_error *error);

/* ---- cost.c ---- */

enum { KI_COST_POINTS = 4 };

/* Cost of one code's settings at one batch size. */
typedef struct ki_tune_cost {
    size_t points, nprobe[KI_COST_POINTS], rerank;
    double query_ns[KI_COST_POINTS]; /* with `rerank` candidates; does not fall */
    double candidate_ns;             /* of each candidate more */
} ki_tune_cost;

kith_search_options ki_tune_options(kith_scan_code code, size_t nprobe, size_t rerank);

/* Nanoseconds of one query in batches, of fewer queries than `batch` where a slice cannot afford so many that cost what
 * is expected: fewer queries cost more each, so that the cost is overstated. */
kith_status ki_tune_time(const ki_tuning *t, size_t k, size_t batch, double slice_ns, double expected_ns,
                         const kith_search_options *options, double *query_ns, kith_error *error);
kith_status ki_tune_cost_measure(const ki_tuning *t, kith_scan_code code, size_t batch, double budget_ns,
                                 ki_tune_cost *cost, kith_error *error);
double ki_tune_cost_at(const ki_tune_cost *cost, size_t nprobe, size_t rerank);

/* ---- measure.c ---- */

/* Fill t->out.settings. */
kith_status ki_tune_measure(ki_tuning *t, kith_error *error);

/* Measure an index that is about to be finished, and append the calibration to it. build_ns: what the build took;
 * memory_bytes: what measuring may take, about. Does nothing for one list or without originals. */
kith_status ki_tune_build(ki_segment_writer *writer, const ki_segment_head *head, const kith_tune_options *options,
                          uint64_t build_ns, uint64_t memory_bytes, kith_error *error);

/* ---- survivors.c ---- */

/* The share of rows that scans of an index that is about to be finished score again; 0 where it is not measured: few
 * rows, bits, or no originals. */
kith_status ki_tune_survivors(ki_segment_writer *writer, const ki_segment_head *head, double *share, kith_error *error);

#endif
