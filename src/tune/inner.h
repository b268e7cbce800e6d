/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of measuring share. Each stands on those before it:
 *
 *     ask.c      searches for the queries at work, with rows held out or not
 *     near.c     which of a row's neighbours are its near-duplicates
 *     queries.c  queries: rows of a reader, or stored ones
 *     lists.c    which lists hold their true neighbours
 *     truth.c    their true neighbours, and what queries look like
 *     cost.c     what a search costs
 *     measure.c  recall and cost of lists: which settings are worth it, which are kept
 *     effort.c   the same of plans that have an effort, and no lists
 *     tune.c     the whole, and where the result is kept
 *
 * T1. Queries are held out from the index (a reader's rows), or stored rows that are held out while recall is measured:
 *     each with its near-duplicates (near.c), as if neither had been stored. A query that is new to the index has no
 *     such near neighbours, and would miss what was promised. Rows are held out by a filter, a fold of the queries at a
 *     time, so that few are missing at once.
 * T2. Recall does not depend on the batch: it is measured once for all batch sizes, with all threads. A result counts
 *     when it is no farther than the k-th true neighbour: ties are true neighbours.
 * T3. Cost is the processor time of the calling thread, which load by others hardly moves, a batch size at a time;
 *     between measured numbers of lists it is interpolated, linearly.
 * T4. Time is bounded by a budget: slow indexes are measured with fewer queries, and the error of their recall says so.
 * T5. Bits have no lists and no codes: only plans that have an effort are measured.
 * T6. Where too few queries are left, since all rows are copies of few, only the exact plan is measured: searches with
 *     a target are exact then. */
#ifndef KI_TUNE_INNER_H
#define KI_TUNE_INNER_H

#include "base/pool.h"
#include "index/index.h"

enum {
    KI_TUNE_KS = 3,
    KI_TUNE_BATCHES = 4,
    KI_TUNE_QUERIES = 1000,
    KI_TUNE_QUERIES_LEAST = 100, /* of a reader; and what the budget does not take away */
    KI_TUNE_SPARE = 64           /* neighbours beyond the largest k that a stored row is looked up with */
};

/* Queries whose rows are held out together: those from the last fold's end to this one's. */
typedef struct ki_tune_fold {
    size_t end, held_end; /* of queries, and of ki_tuning.held */
} ki_tune_fold;

typedef struct ki_tuning {
    const kith_index *index;
    kith_pool *pool;
    kith_scratch *wide, *narrow;            /* of the pool, and of the calling thread */
    double threads;                         /* of wide */
    uint64_t seed, budget_ns, memory_bytes; /* memory_bytes: 0: no bound */
    size_t count;                           /* queries */
    size_t query_bytes;                     /* of one */
    unsigned char *queries;                 /* count x query_bytes, floats or bits, in random order */
    uint32_t *self;                         /* the position of each, NULL: they are a reader's */
    double copied;                          /* share of rows drawn that were copies of one drawn before */
    size_t ks, batches;
    size_t k[KI_TUNE_KS], batch[KI_TUNE_BATCHES];
    float *truth;             /* count x k[ks - 1]: distances of the true neighbours */
    uint32_t *rank;           /* likewise: how many lists are nearer to the query than the neighbour's */
    uint32_t *nearer_rank;    /* likewise, than the nearer of the neighbour's two lists; NULL without second lists */
    uint32_t *second_list_of; /* by position: the second list, UINT32_MAX without one; NULL likewise */
    size_t room;              /* results that a query has room for, in the next two */
    uint64_t *ids;            /* count x room: of the search at work */
    float *distances;         /* likewise */
    uint32_t *held;           /* positions of stored queries and of their near-duplicates */
    size_t held_count, held_capacity;
    ki_tune_fold *folds; /* stored queries have some */
    size_t fold_count;
    kith_filter unheld; /* all rows but those of the fold at work */
    uint64_t visited;   /* pairs that the last search with rows held out looked at */
    size_t reranked;    /* and its explain.rerank */
    int blind;          /* recall cannot be measured (T6) */
    double exact_ns;    /* processor time of one query */
    ki_calibration out;
    size_t capacity; /* of out.settings */
    kith_progress_fn progress;
    void *progress_context;
} ki_tuning;

/* ---- ask.c ------------------------------------------------------------------------------------------------------- */

/* A query, of an index of numbers. */
static inline const float *ki_tune_floats(const ki_tuning *t, size_t query) {
    return (const float *)(const void *)(t->queries + query * t->query_bytes);
}

kith_status ki_tune_tell(const ki_tuning *t, const char *stage, const char *unit, uint64_t done, uint64_t total,
                         kith_error *error);

/* Search queries first..first+count, options NULL: exactly. The k results of query i begin at i * k in t->ids and
 * t->distances; k is at most t->room. */
kith_status ki_tune_search(const ki_tuning *t, kith_scratch *scratch, size_t first, size_t count, size_t k,
                           const kith_search_options *options, kith_error *error);

/* Forbid the rows of a fold in t->unheld, or allow them again. */
void ki_tune_hold(ki_tuning *t, size_t fold);
void ki_tune_let(ki_tuning *t, size_t fold);

/* Search the first `count` queries with all threads, fold by fold where there are some. Sets t->visited and
 * t->reranked. */
kith_status ki_tune_search_held(ki_tuning *t, size_t count, size_t k, const kith_search_options *options,
                                kith_error *error);

/* ---- near.c ------------------------------------------------------------------------------------------------------ */

/* How many of a row's nearest rows are its near-duplicates. near2: squared distances of rows to it, ascending, itself
 * left out; all of `count` where there is no end to them. */
size_t ki_tune_near(const float *near2, size_t count);

/* The same for what users are told of: rows that are surely no neighbours by chance. */
int ki_tune_surely_near(const float *near2, size_t count);

/* The share of rows for which the last is true by chance, in data of so few dimensions that nearest neighbours differ
 * much. inverse_dimension: mean of ki_tune_inverse_dimension() over rows. */
double ki_tune_near_by_chance(double inverse_dimension);

/* One over the dimension of the data around a row [Levina, Bickel 2004], from a few rows beyond its near-duplicates:
 * many would lie in other clusters. */
double ki_tune_inverse_dimension(const float *near2, size_t count);

/* ---- queries.c --------------------------------------------------------------------------------------------------- */

/* Make t->queries, and room for their answers: rows of a reader, or of the index (NULL); at most `wanted`, 0: as many
 * as are good. */
kith_status ki_tune_take(ki_tuning *t, kith_reader *reader, size_t wanted, kith_error *error);

/* Move query `from`, and what was found for it, to the place of query `to`. */
void ki_tune_move(ki_tuning *t, size_t to, size_t from);

/* ---- lists.c ----------------------------------------------------------------------------------------------------- */

/* The second list of each position. */
void ki_tune_second_lists(const ki_view *view, uint32_t *second_list_of);

/* Fill t->rank of queries first..first+count from the ids of their true neighbours, which lie t->room apart. */
kith_status ki_tune_rank(ki_tuning *t, size_t first, size_t count, kith_error *error);

/* ---- truth.c ----------------------------------------------------------------------------------------------------- */

/* Find true neighbours, of as many queries as two fifths of the budget allow, and what these look like. Queries that
 * are of no use are dropped; where hardly one is left, all stay and t->blind is set. */
kith_status ki_tune_truth(ki_tuning *t, kith_error *error);

/* ---- cost.c ------------------------------------------------------------------------------------------------------ */

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

/* ---- measure.c --------------------------------------------------------------------------------------------------- */

/* The share of a query's true k neighbours that its k results hold (T2). */
double ki_tune_found(const ki_tuning *t, size_t query, size_t k);

/* The variance of a mean over n queries of shares of k, whose squares add up to this. */
double ki_tune_variance(double squares, double mean, double n, double k);

/* Queries that a measurement can afford, where one takes so long. */
size_t ki_tune_affordable(const ki_tuning *t, double query_ns, double budget_ns);

/* Add a setting to t->out; what is beyond a calibration's room is left out. */
kith_status ki_tune_keep(ki_tuning *t, kith_tuned setting, kith_error *error);

/* ---- effort.c ---------------------------------------------------------------------------------------------------- */

/* How many plans with an effort the index has; 0 and one list: there is nothing to measure. */
size_t ki_tune_effort_plans(const kith_index *index);

/* Measure those plans for one of t->k. */
kith_status ki_tune_efforts(ki_tuning *t, size_t which, uint64_t budget_ns, kith_error *error);

/* ---- measure.c, the whole ---------------------------------------------------------------------------------------- */

/* Fill t->out.settings. */
kith_status ki_tune_measure(ki_tuning *t, kith_error *error);

#endif
