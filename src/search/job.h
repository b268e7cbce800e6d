/* SPDX-License-Identifier: Apache-2.0
 *
 * One request at work: its queries, its plan, and where its results go.
 *
 * Q1. Queries are converted and checked inside the pieces; the lowest offending query is the one reported. */
#ifndef KI_SEARCH_JOB_H
#define KI_SEARCH_JOB_H

#include "graph/graph.h"
#include "quant/row_check.h"
#include "search/planner.h"
#include "search/scratch.h"

typedef struct ki_job {
    const kith_index *index;
    kith_scratch *scratch;
    const kith_queries *queries;
    const kith_filter *filter; /* NULL: none */
    const ki_answer *given;    /* what the planner is to have said; NULL: it is asked */
    const uint32_t *which;     /* the queries that this is about, or NULL: all */
    size_t k, group, groups, ranges, stride;
    uint64_t allowed;                  /* vectors that may be found */
    size_t first;                      /* of the queries at work: pieces count from here */
    size_t count;                      /* queries at work */
    const struct ki_plan_row *row;     /* the plan that runs (plans.h) */
    const struct ki_plan_row *instead; /* plan DEVICE: what runs where it fails or is tried */
    int on_device;                     /* plan IVF: lists are scanned there */
    ki_device_fault fault;
    ki_answer answer; /* of the planner, where it was asked */
    ki_flat_search search;
    ki_ivf_search ivf;     /* plan IVF, or what seeds the thresholds of an exact plan */
    ki_graph_search graph; /* plan GRAPH */
    ki_lsh_search lsh;     /* plan LSH */
    size_t hnsw_ef;        /* plan HNSW */
    int levels;     /* plan IVF by exact scans of the probed lists (KITH_SCAN_LEVELS): the ivf rounds seed them */
    uint32_t *poor; /* queries that their lists left with too few results, or that are thin (ivf.h V6) */
    atomic_size_t poor_count;
    int seeded; /* scratch->shared holds thresholds of the queries at work */
    uint64_t *ids;
    float *distances;
    int keep; /* hits go to kept, not to ids and distances */
    atomic_int stop;
    atomic_uint_fast64_t bad; /* the lowest refused query, and why: query * KI_FAULTS + fault */
} ki_job;

enum { KI_FAULTS = 4 };

/* Stop the job, unless it was stopped before: the first reason is the one that is told. */
static inline void ki_job_stop(ki_job *job, kith_status status) {
    int none = 0;
    atomic_compare_exchange_strong(&job->stop, &none, (int)status);
}

/* The caller's number of the job's query i. */
static inline size_t ki_job_query(const ki_job *job, size_t i) {
    return job->which ? job->which[i] : i;
}

/* Check float rows, which are queries first..first+count; false: one was refused, and noted. */
int ki_job_check(ki_job *job, size_t first, size_t count, const float *rows, size_t stride);

/* Queries from `first` on, where they are floats that can be read as they lie, *stride floats apart; else NULL. */
const float *ki_job_floats(const ki_job *job, size_t first, size_t *stride);

/* Convert and check queries first..first+count into floats (bits: bytes). */
int ki_job_load(ki_job *job, size_t first, size_t count, void *to);

/* Fill one row of the output; plan IVF notes a query with too few results. */
void ki_job_write(ki_job *job, size_t i, const ki_hit *hits, size_t count);

/* Why the job stopped, as a sentence. */
kith_status ki_job_fail(const ki_job *job, kith_status status, kith_error *error);

#endif
