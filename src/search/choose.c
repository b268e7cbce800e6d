/* SPDX-License-Identifier: Apache-2.0 */
#include "search/choose.h"

#include "base/status.h"

static kith_status check_options(const kith_search_options *options, size_t k, kith_error *error) {
    if (options->plan != KITH_PLAN_AUTO && !ki_plan_find(options->plan))
        return ki_fail(error, KITH_E_ARG, "search: plan %d is unknown", (int)options->plan);
    if ((unsigned)options->code > KITH_SCAN_FIRST)
        return ki_fail(error, KITH_E_ARG, "search: code %d is unknown", (int)options->code);
    if (!(options->target_recall >= 0 && options->target_recall <= 1))
        return ki_fail(error, KITH_E_ARG, "search: target_recall is %g, 0 to 1 are possible", options->target_recall);
    if (options->rerank && options->rerank < k)
        return ki_fail(error, KITH_E_ARG, "search: rerank is %zu, less than k, which is %zu", options->rerank, k);
    return KITH_OK;
}

/* Leaves job->answer zero where the options say all. */
static void ask_planner(ki_job *job, const kith_search_options *options, kith_plan exact) {
    const ki_view *view = &job->index->view;
    const int must_be_ivf = options->plan == KITH_PLAN_IVF;
    if (must_be_ivf ? options->nprobe || !(options->target_recall > 0) : options->plan != KITH_PLAN_AUTO) return;
    const ki_question question = {.calibration = &job->index->calibration,
                                  .k = job->k,
                                  .count = job->queries->count,
                                  .lists = view->lists.count,
                                  .dim = view->dim,
                                  .rows = view->rows,
                                  .allowed = job->allowed,
                                  .target = options->target_recall,
                                  .exact = exact,
                                  .must_be_ivf = must_be_ivf,
                                  .code = options->code};
    ki_plan(&question, &job->answer);
}

kith_status ki_choose(ki_job *job, const kith_search_options *options, kith_error *error) {
    const kith_status status = check_options(options, job->k, error);
    if (status != KITH_OK) return status;
    const ki_plan_case at = {.view = &job->index->view,
                             .queries = job->queries->count,
                             .k = job->k,
                             .filtered = options->filter != NULL,
                             .few = options->filter && !options->filter->allowed,
                             .allowed = job->allowed,
                             .code = options->code};
    const ki_plan_row *asked = ki_plan_find(options->plan);
    const char *obstacle = asked ? asked->obstacle(&at) : NULL;
    if (obstacle) return ki_fail(error, KITH_E_UNSUPPORTED, "search: the plan asked for cannot run: %s", obstacle);
    const kith_plan exact = ki_plan_exact(&at);
    if (!at.few)
        ask_planner(job, options, exact);
    else if (!asked)
        asked = ki_plan_find(KITH_PLAN_GATHER);
    job->row = asked ? asked : ki_plan_find(job->answer.chosen.plan);
    job->search.plan = job->row->exact ? job->row->plan : exact;
    if (job->row->prepare) job->row->prepare(job, options);
    return KITH_OK;
}
