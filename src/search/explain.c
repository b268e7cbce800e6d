/* SPDX-License-Identifier: Apache-2.0 */
#include "search/explain.h"

#include "base/clock.h"
#include "cpu/cpu.h"
#include "search/plans.h"
#include "view/on_device.h"

#include <stdio.h>

static void tell_considered(const ki_answer *answer, kith_explain *e) {
    for (size_t i = 0; i < answer->considered_count; i++) {
        const ki_choice *choice = &answer->considered[i];
        e->considered[i].plan = choice->plan;
        e->considered[i].code = choice->code;
        e->considered[i].nprobe = choice->nprobe;
        e->considered[i].rerank = choice->rerank;
        e->considered[i].query_ns = choice->query_ns;
        e->considered[i].recall = choice->recall;
        e->considered[i].why = choice->why;
    }
    e->considered_count = answer->considered_count;
}

static void tell_counts(const kith_scratch *scratch, kith_explain *e) {
    for (unsigned i = 0; i < scratch->threads; i++) {
        const ki_counts *counts = &scratch->workers[i].counts;
        e->scanned_bytes += counts->scanned_bytes;
        e->scanned_rows += counts->scanned_rows;
        e->probed_lists += counts->probed_lists;
        e->unusual += counts->unusual;
        e->level1_survivors += counts->level1_survivors;
        e->candidates += counts->candidates;
        e->reranked += counts->reranked;
        e->visited += counts->visited;
        for (int s = 0; s < KITH_STAGES; s++) e->stage_ns[s] += counts->stage_ns[s];
        e->device_upload_ns += counts->device_ns[0];
        e->device_compute_ns += counts->device_ns[1];
        e->device_download_ns += counts->device_ns[2];
    }
}

/* Whether what the plan reads most lies in the copy. */
static int reads_copy(const ki_job *job) {
    unsigned what = KI_HOT_CODES;
    if (job->row->plan == KITH_PLAN_GRAPH) what = KI_HOT_GRAPH;
    if (job->row->plan == KITH_PLAN_PLAIN || job->row->plan == KITH_PLAN_GATHER || job->row->plan == KITH_PLAN_DEVICE)
        what = KI_HOT_VECTORS;
    if (job->row->plan == KITH_PLAN_IVF && job->ivf.code == KITH_SCAN_ROWS) what = KI_HOT_VECTORS;
    return job->search.view == &job->index->hot_view && job->index->hot_what & what;
}

void ki_explain(const ki_job *job, uint64_t start_ns, kith_explain *out) {
    const kith_scratch *scratch = job->scratch;
    kith_explain e = KITH_EXPLAIN_INIT;
    e.plan = job->row->plan;
    e.plan_name = job->row->name;
    e.tier = ki_cpu_tier(ki_cpu_features());
    e.exact = job->row->exact && job->index->view.originals != NULL;
    if (job->row->explain) job->row->explain(job, &e);
    e.hot = reads_copy(job);
    tell_considered(&job->answer, &e);
    e.threads = scratch->threads;
    e.queries = job->queries->count;
    e.rows = job->index->view.rows;
    e.allowed = job->allowed;
    tell_counts(scratch, &e);
    if (e.device_compute_ns) snprintf(e.device, sizeof(e.device), "%s", job->index->view.device->name);
    e.total_ns = ki_now_ns() - start_ns;
    *out = e;
}
