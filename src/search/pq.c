/* SPDX-License-Identifier: Apache-2.0 */
#include "search/pq.h"

#include "base/checked.h"

const char *ki_pq_plan_obstacle(const ki_plan_case *at) {
    if (at->k == 0) return "a range search cannot rely on estimates";
    if (at->view->second.spec.kind == KI_SECOND_NONE) return "the index has no second code";
    if (at->code != KITH_SCAN_AUTO && at->code != KITH_SCAN_SECOND) return "it scans the second code, not another one";
    return at->few ? "the filter is a short list, whose vectors are all scored" : NULL;
}

void ki_pq_plan_prepare(ki_job *job, const kith_search_options *options) {
    enum { RERANK_OF_K = 4, RERANK_LEAST = 64, RERANK_MAX = 4 * KITH_K_MAX };
    const ki_choice *chosen = &job->answer.chosen;
    const size_t usual = RERANK_OF_K * job->k < RERANK_LEAST ? RERANK_LEAST : RERANK_OF_K * job->k;
    const size_t planned = chosen->plan == KITH_PLAN_PQ && chosen->rerank ? chosen->rerank : usual;
    const int wished = options->plan == KITH_PLAN_PQ && options->rerank;
    job->ivf.code = KITH_SCAN_SECOND;
    job->ivf.nprobe = job->index->view.lists.count;
    job->ivf.rerank = ki_min_size(wished ? options->rerank : planned, RERANK_MAX);
    job->ivf.first_lists_only = 1;
}

void ki_pq_plan_explain(const ki_job *job, kith_explain *explain) {
    explain->rerank = job->ivf.rerank;
    explain->code = job->ivf.code;
}
