/* SPDX-License-Identifier: Apache-2.0 */
#include "search/lsh.h"

#include "base/checked.h"
#include "search/poor.h"

/* EFFORT: about that of recall .9 for text embeddings. */
enum { PIECE_QUERIES = 8, EFFORT = 16 };

const char *ki_search_lsh_obstacle(const ki_plan_case *at) {
    if (at->k == 0) return "a range search has no buckets to stop at";
    if (at->few) return "the filter is a short list, whose vectors are all scored";
    return at->view->lsh.kind == KI_LSH_NONE ? "the index has no hash tables" : NULL;
}

void ki_search_lsh_prepare(ki_job *job, const kith_search_options *options) {
    const ki_choice *chosen = &job->answer.chosen;
    const int planned = chosen->plan == KITH_PLAN_LSH, wished = options->plan == KITH_PLAN_LSH;
    const size_t effort = wished && options->effort ? options->effort : planned ? chosen->nprobe : EFFORT;
    job->lsh = (ki_lsh_search){.view = job->search.view,
                               .k = job->k,
                               .effort = effort ? effort : EFFORT,
                               .allowed = job->search.allowed,
                               .limits = job->search.limits};
}

void ki_search_lsh_explain(const ki_job *job, kith_explain *explain) {
    explain->effort = job->lsh.effort;
}

static void answer_piece(void *context, size_t piece, unsigned number) {
    ki_job *job = context;
    ki_worker *worker = &job->scratch->workers[number];
    const ki_view *view = &job->index->view;
    const size_t first = piece * PIECE_QUERIES, count = ki_min_size(PIECE_QUERIES, job->queries->count - first);
    const size_t row = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    /* After a refused query the pieces before it are still checked: one of them may hold a lower one. */
    const int stop = atomic_load(&job->stop);
    if (stop && stop != KITH_E_DATA) return;
    if (!worker->lsh) worker->lsh = ki_lsh_desk_create();
    if (!worker->lsh || !ki_area_grow(&worker->queries, count * row, 1)) {
        ki_job_stop(job, KITH_E_NOMEM);
        return;
    }
    if (!ki_job_load(job, first, count, worker->queries.data) || stop) return;
    for (size_t i = 0; i < count; i++) {
        const ki_hit *hits;
        size_t found;
        const uint8_t *query = (const uint8_t *)worker->queries.data + i * row;
        const kith_status status = ki_lsh_find(worker->lsh, &job->lsh, query, &hits, &found, &worker->counts, number);
        if (status != KITH_OK) {
            ki_job_stop(job, status);
            return;
        }
        ki_poor_seed(job, first + i, hits, found);
        ki_job_write(job, first + i, hits, found);
    }
}

kith_status ki_search_lsh_run(ki_job *job) {
    kith_scratch *scratch = job->scratch;
    const size_t count = job->queries->count;
    if (!ki_poor_begin(job, count) || !ki_area_grow(&scratch->shared, count, sizeof(_Atomic float)))
        return KITH_E_NOMEM;
    ki_pool_run(scratch->pool, (count + PIECE_QUERIES - 1) / PIECE_QUERIES, answer_piece, job);
    const kith_status status = (kith_status)atomic_load(&job->stop);
    return status == KITH_OK ? ki_poor_search(job, 0) : status;
}
