/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of searching share: the scratch, and one request at work. */
#ifndef KI_SEARCH_JOB_H
#define KI_SEARCH_JOB_H

#include "base/area.h"
#include "base/pool.h"
#include "flat/flat.h"
#include "index/index.h"
#include "ivf/ivf.h"
#include "quant/row_check.h"
#include "search/planner.h"
#include "view/query.h"

/* What one worker owns. */
typedef struct ki_worker {
    ki_lane *lane;
    ki_area queries; /* floats of a group, or bits */
    ki_counts counts;
} ki_worker;

struct kith_scratch {
    const kith_index *index;
    kith_pool *pool;
    unsigned threads;
    ki_worker *workers;
    ki_area kept; /* struct kept, one a piece; those in use before keep their memory */
    size_t kept_count;
    ki_area shared;                          /* _Atomic float, one a query */
    ki_area offsets, ids, distances, merged; /* range results */
    ki_ivf *ivf;                             /* made by the first search that needs it */
    size_t round_bytes;                      /* of ki_ivf_search; 0 */
    ki_area floats;                          /* queries of an ivf round that had to be converted */
    ki_area poor;                            /* uint32_t: queries of an ivf round with too few results */
};

typedef struct ki_job {
    const kith_index *index;
    kith_scratch *scratch;
    const kith_queries *queries;
    const uint32_t *which; /* the queries that this is about, or NULL: all */
    size_t k, group, groups, ranges, stride;
    uint64_t allowed; /* vectors that may be found */
    size_t first;     /* of the queries at work: pieces count from here */
    size_t count;     /* queries at work */
    kith_plan plan;   /* IVF, or that of search */
    ki_answer answer; /* of the planner, where it was asked */
    ki_flat_search search;
    ki_ivf_search ivf; /* plan IVF, or what seeds the thresholds of an exact plan */
    int levels;        /* plan IVF by exact scans of the probed lists (KITH_SCAN_LEVELS): the ivf rounds seed them */
    uint32_t *poor;    /* queries that their lists left with too few results */
    atomic_size_t poor_count;
    int seeded; /* scratch->shared holds thresholds of the queries at work */
    uint64_t *ids;
    float *distances;
    int keep; /* hits go to kept, not to ids and distances */
    atomic_int stop;
    atomic_uint_fast64_t bad; /* the lowest refused query, and why: query * KI_FAULTS + fault */
} ki_job;

enum { KI_FAULTS = 4 };

/* Stop the job, unless it was stopped before. */
static inline void ki_job_stop(ki_job *job, kith_status status) {
    int none = 0;
    atomic_compare_exchange_strong(&job->stop, &none, (int)status);
}

/* Check float rows, which are queries first..first+count; false: one was refused, and noted. */
int ki_job_check(ki_job *job, size_t first, size_t count, const float *rows, size_t stride);

/* Convert and check queries first..first+count into floats (bits: bytes). */
int ki_job_load(ki_job *job, size_t first, size_t count, void *to);

/* Fill one row of the output; plan IVF notes a query with too few results. */
void ki_job_write(ki_job *job, size_t i, const ki_hit *hits, size_t count);

/* Run an exact plan for queries first..first+count, with job->search as it is. */
kith_status ki_job_exact(ki_job *job, size_t first, size_t count);

/* Run the job in rounds that begin with the ivf plan, where that is the answer or gives thresholds to start from; else
 * exactly, in one go. */
kith_status ki_job_run(ki_job *job);

#endif
