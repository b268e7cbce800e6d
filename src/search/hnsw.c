/* SPDX-License-Identifier: Apache-2.0 */
#include "search/hnsw.h"

#include "base/checked.h"
#include "search/poor.h"

/* EFFORT: recall .99 at 115,659 text embeddings, M 24. */
enum { PIECE_QUERIES = 4, EFFORT = 64, EFFORT_MAX = 4 * KITH_K_MAX, VISITS_LEAST = 256 };

const char *ki_search_hnsw_obstacle(const ki_plan_case *at) {
    if (at->k == 0) return "a range search has no k-th neighbour for a walk to stop at";
    if (!at->view->hnsw.m) return "the index has no HNSW";
    return at->few ? "the filter is a short list, whose vectors are all scored" : NULL;
}

void ki_search_hnsw_prepare(ki_job *job, const kith_search_options *options) {
    const ki_choice *chosen = &job->answer.chosen;
    const int planned = chosen->plan == KITH_PLAN_HNSW, wished = options->plan == KITH_PLAN_HNSW;
    const size_t effort = wished && options->effort ? options->effort : planned ? chosen->nprobe : EFFORT;
    job->hnsw_ef = ki_min_size(effort > job->k ? effort : job->k, EFFORT_MAX);
}

void ki_search_hnsw_explain(const ki_job *job, kith_explain *explain) {
    explain->effort = job->hnsw_ef;
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static kith_status answer(ki_job *job, ki_worker *worker, size_t i, const void *query) {
    const ki_view *view = &job->index->view;
    const uint64_t least = VISITS_LEAST + 2 * (uint64_t)job->k;
    ki_hnsw_search search = {.query = query,
                             .k = job->k,
                             .ef = job->hnsw_ef,
                             .allowed = job->search.allowed,
                             .allowed_count = view->rows,
                             .visits_max = job->allowed > least ? job->allowed : least};
    size_t found;
    ki_hit *hits = ki_area_grow(&worker->hits, job->k, sizeof(ki_hit));
    if (!hits) return KITH_E_NOMEM;
    const kith_status status =
        ki_hnsw_find_view(job->search.view, worker->hnsw, &search, hits, &found, &worker->counts);
    if (status != KITH_OK) return status;
    worker->counts.unusual += search.gave_up != 0;
    ki_poor_seed(job, i, hits, view->dtype == KITH_B1 ? 0 : found); /* thresholds are scores, which bits have not */
    ki_job_write(job, i, hits, search.gave_up ? 0 : found);
    return KITH_OK;
}

static void answer_piece(void *context, size_t piece, unsigned number) {
    ki_job *job = context;
    ki_worker *worker = &job->scratch->workers[number];
    const ki_view *view = &job->index->view;
    const size_t first = piece * PIECE_QUERIES, count = ki_min_size(PIECE_QUERIES, job->queries->count - first);
    const size_t row = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    /* After a refused query the pieces before it are still checked: one of them may hold a lower one. */
    const int stop = atomic_load(&job->stop);
    if (stop && (stop != KITH_E_DATA || first > atomic_load(&job->bad) / KI_FAULTS)) return;
    if (!worker->hnsw) worker->hnsw = ki_hnsw_searcher_create();
    if (!worker->hnsw || !ki_area_grow(&worker->queries, count * row, 1)) {
        ki_job_stop(job, KITH_E_NOMEM);
        return;
    }
    if (!ki_job_load(job, first, count, worker->queries.data) || stop) return;
    for (size_t i = 0; i < count; i++) {
        kith_status status = ki_limits_reached(&job->search.limits, number);
        if (status == KITH_OK) status = answer(job, worker, first + i, (uint8_t *)worker->queries.data + i * row);
        if (status == KITH_OK) continue;
        ki_job_stop(job, status);
        return;
    }
}

kith_status ki_search_hnsw_run(ki_job *job) {
    kith_scratch *scratch = job->scratch;
    const size_t count = job->queries->count;
    if (!ki_poor_begin(job, count) || !ki_area_grow(&scratch->shared, count, sizeof(_Atomic float)))
        return KITH_E_NOMEM;
    ki_pool_run(scratch->pool, (count + PIECE_QUERIES - 1) / PIECE_QUERIES, answer_piece, job);
    const int stop = atomic_load(&job->stop);
    return stop ? (kith_status)stop : ki_poor_search(job, 0);
}
