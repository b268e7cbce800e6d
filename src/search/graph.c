/* SPDX-License-Identifier: Apache-2.0 */
#include "search/graph.h"

#include "base/checked.h"
#include "search/poor.h"

#include <math.h>

const char *ki_search_graph_obstacle(const ki_plan_case *at) {
    if (at->k == 0) return "a range search has no k-th neighbour for a walk to stop at";
    if (!at->view->graph.degree) return "the index has no graph";
    return at->few ? "the filter is a short list, whose vectors are all scored" : NULL;
}

/* ---- Parameters -------------------------------------------------------------------------------------------------- */

/* H2: as many vertices as cost what the exact plan does for one query. */
static uint64_t visits_max(const ki_job *job) {
    enum { LEAST = 256, VISIT_NS = 150, ROW_BYTES_A_NS = 16 };
    const ki_view *view = &job->index->view;
    const double visit_ns = VISIT_NS + (double)view->graph.row_bytes / ROW_BYTES_A_NS;
    const double scan_ns = ki_scan_ns(view->dim, view->survivors, 1) * (double)view->rows;
    const double gather_ns = ki_gather_ns(view->dim, 1) * (double)job->allowed;
    const uint64_t most = (uint64_t)(fmin(scan_ns, gather_ns) / visit_ns), least = LEAST + 2 * (uint64_t)job->k;
    return most > least ? most : least;
}

/* Where a filter leaves few, the nearest change more rarely. */
static uint64_t patience_of(const ki_job *job, size_t effort) {
    const double share = (double)(job->allowed ? job->allowed : 1) / (double)job->index->view.rows;
    return (uint64_t)fmin((10 + (double)effort / 4 + (double)job->k / 4) / share, 1e9);
}

void ki_search_graph_prepare(ki_job *job, const kith_search_options *options) {
    /* The effort gives recall .99 at 115,659 text embeddings. The vertices' own codes err by little: a few more than k
     * are scored by the vectors themselves. */
    enum { EFFORT = 200, EFFORT_MAX = 1000000, MORE = 22, RERANK_MAX = 4 * KITH_K_MAX };
    const ki_choice *chosen = &job->answer.chosen;
    const int planned = chosen->plan == KITH_PLAN_GRAPH, wished = options->plan == KITH_PLAN_GRAPH;
    const size_t effort = wished && options->effort ? options->effort : planned ? chosen->nprobe : EFFORT;
    const size_t given = wished && options->rerank ? options->rerank : planned ? chosen->rerank : 0;
    const size_t rerank = given ? given : job->k + MORE + job->k / 2;
    job->graph = (ki_graph_search){.view = job->search.view,
                                   .k = job->k,
                                   .rerank = ki_min_size(rerank > job->k ? rerank : job->k, RERANK_MAX),
                                   .effort = ki_min_size(effort, EFFORT_MAX),
                                   .patience = patience_of(job, effort),
                                   .allowed = job->search.allowed,
                                   .absent = options->filter ? options->filter->absent : 0,
                                   .visits_max = visits_max(job),
                                   .limits = job->search.limits};
}

void ki_search_graph_explain(const ki_job *job, kith_explain *explain) {
    explain->effort = job->graph.effort;
    explain->rerank = job->graph.rerank;
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static void walk_piece(void *context, size_t piece, unsigned number) {
    ki_job *job = context;
    ki_worker *worker = &job->scratch->workers[number];
    const size_t dim = job->index->view.dim, first = piece * job->group;
    const size_t count = ki_min_size(job->group, job->queries->count - first);
    ki_walk_result result[KI_WALK_MAX];
    size_t stride = dim;
    /* After a refused query the pieces before it are still checked: one of them may hold a lower one. */
    const int stop = atomic_load(&job->stop);
    if (stop ? stop != KITH_E_DATA || first > atomic_load(&job->bad) / KI_FAULTS
             : ki_limits_reached(&job->graph.limits, number) != KITH_OK)
        return;
    const float *rows = ki_job_floats(job, first, &stride);
    if (!rows && !ki_area_grow(&worker->queries, count * dim, sizeof(float))) {
        ki_job_stop(job, KITH_E_NOMEM);
        return;
    }
    const int fine =
        rows ? ki_job_check(job, first, count, rows, stride) : ki_job_load(job, first, count, worker->queries.data);
    if (!fine || stop) return;
    const kith_status status = ki_graph_walk(worker->walker, &job->graph, rows ? rows : worker->queries.data, stride,
                                             count, result, &worker->counts, number);
    if (status != KITH_OK) {
        ki_job_stop(job, status);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        worker->counts.unusual += result[i].gave_up != 0;
        ki_poor_seed(job, first + i, result[i].hits, result[i].count);
        ki_job_write(job, first + i, result[i].hits, result[i].gave_up ? 0 : result[i].count);
    }
}

static int take_walkers(kith_scratch *scratch) {
    for (unsigned i = 0; i < scratch->threads; i++) {
        ki_worker *worker = &scratch->workers[i];
        if (!worker->walker && !(worker->walker = ki_walker_create())) return 0;
    }
    return 1;
}

/* Two queries of a worker go side by side. Where memory brings no more lines than one walk asks for, as on Zen 3, that
 * is as fast as one; four and eight are 5 to 10 % slower, since each has its table, marks and pool in the cache. */
kith_status ki_search_graph_run(ki_job *job) {
    enum { TOGETHER = 2 };
    kith_scratch *scratch = job->scratch;
    const size_t count = job->queries->count, threads = scratch->threads;
    if (!take_walkers(scratch) || !ki_poor_begin(job, count) ||
        !ki_area_grow(&scratch->shared, count, sizeof(_Atomic float)))
        return KITH_E_NOMEM;
    job->group = ki_min_size((count + threads - 1) / threads, TOGETHER);
    ki_pool_run(scratch->pool, (count + job->group - 1) / job->group, walk_piece, job);
    const int stop = atomic_load(&job->stop);
    return stop ? (kith_status)stop : ki_poor_search(job, 0);
}
