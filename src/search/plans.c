/* SPDX-License-Identifier: Apache-2.0 */
#include "search/plans.h"

#include "base/checked.h"
#include "search/device.h"
#include "search/exact.h"
#include "search/graph.h"
#include "search/hnsw.h"
#include "search/pq.h"
#include "search/lsh.h"
#include "search/rounds.h"

#include <math.h>
#include <string.h>

/* ---- Costs of the exact plans ------------------------------------------------------------------------------------ */

/* With a filter some of it is no matter of rows: coding the query, the lists that give a threshold, and what bounds do
 * not rule out. */
static double scan_ns(const ki_plan_case *at) {
    const ki_view *view = at->view;
    const double all = ki_scan_ns(view->dim, view->survivors, at->queries) * (double)view->rows;
    if (!at->filtered) return all;
    return ki_begin_ns(view->lists.count, at->queries) + all * at->touched +
           ki_filtered_survivors(at->allowed) * ki_gather_ns(view->dim, at->queries);
}

static double gather_ns(const ki_plan_case *at) {
    return ki_gather_ns(at->view->dim, at->queries) * (double)at->allowed;
}

/* Where bounds let most vectors through, as the build found out, nothing beats scoring them as they come; where it is
 * not known, they are taken to do their work. */
static double plain_ns(const ki_plan_case *at) {
    const ki_view *view = at->view;
    if (!view->full.blocks) return ki_gather_ns(view->dim, at->queries) * (double)view->rows;
    return view->survivors > 0 ? ki_plain_ns(view->dim, view->row_bytes, at->queries) * (double)view->rows : INFINITY;
}

/* ---- What speaks against a plan ---------------------------------------------------------------------------------- */

static const char *plain_obstacle(const ki_plan_case *at) {
    return at->view->originals ? NULL : "the index was built without originals";
}

static const char *gather_obstacle(const ki_plan_case *at) {
    return at->filtered ? plain_obstacle(at) : "there is no filter";
}

static const char *few_obstacle(const ki_plan_case *at) {
    return at->few ? "the filter is a short list, whose vectors are all scored" : NULL;
}

static const char *scan_obstacle(const ki_plan_case *at) {
    return at->view->full.blocks ? few_obstacle(at) : "bit vectors have no codes";
}

static const char *levels_obstacle(const ki_plan_case *at) {
    return at->view->level1.blocks ? few_obstacle(at) : "the index has no first level";
}

static const char *ivf_obstacle(const ki_plan_case *at) {
    const ki_view *view = at->view;
    if (at->k == 0) return "a range search has no lists to stop at";
    if (at->code == KITH_SCAN_SECOND && view->second.spec.kind == KI_SECOND_NONE) return "the index has no second code";
    if (at->code == KITH_SCAN_FIRST && !view->level1.blocks) return "the index has no first level";
    if (at->code == KITH_SCAN_ROWS && !view->originals) return "the index was built without originals";
    return view->lists.count > 1 ? few_obstacle(at) : "the index has one list";
}

/* ---- Parameters -------------------------------------------------------------------------------------------------- */

/* Those of the options before those of the planner. */
static void ivf_prepare(ki_job *job, const kith_search_options *options) {
    enum { NPROBE = 16, RERANK_MAX = 4 * KITH_K_MAX };
    const ki_choice *chosen = &job->answer.chosen;
    const int planned = chosen->plan == KITH_PLAN_IVF, wished = options->plan == KITH_PLAN_IVF;
    const size_t rerank = wished && options->rerank ? options->rerank : planned ? chosen->rerank : 2 * job->k;
    const kith_scan_code code = planned ? chosen->code : options->code;
    ki_careful careful = {0};
    if (planned) careful = (ki_careful){job->answer.careful_below, job->answer.careful_nprobe};
    job->ivf.nprobe = planned ? chosen->nprobe : options->nprobe ? options->nprobe : NPROBE;
    job->ivf.rerank = ki_min_size(rerank, RERANK_MAX);
    job->levels = code == KITH_SCAN_LEVELS;
    job->ivf.code = job->levels || code == KITH_SCAN_AUTO ? KITH_SCAN_INT8 : code;
    job->on_device = !job->levels && ki_search_device_takes_lists(job);
    if (!job->levels) {
        job->ivf.careful = careful;
        job->ivf.fewer = planned ? chosen->fewer : 0;
        if (planned) job->ivf.share = (ki_ivf_share){NULL, job->answer.presumed, job->answer.least_nprobe};
        return;
    }
    job->search.careful = careful;
    job->search.nprobe = job->ivf.nprobe;
    job->search.plan = job->index->view.level1.blocks ? KITH_PLAN_LEVELS : KITH_PLAN_SCAN;
}

static void ivf_explain(const ki_job *job, kith_explain *explain) {
    const size_t nprobe = job->levels ? job->search.nprobe : job->ivf.nprobe;
    explain->nprobe = ki_min_size(nprobe, job->index->view.lists.count);
    explain->rerank = job->levels ? 0 : job->ivf.rerank;
    explain->code = job->levels ? KITH_SCAN_LEVELS : job->ivf.code;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static kith_status run_whole(ki_job *job) {
    return ki_exact_run(job, 0, job->queries->count);
}

/* Of exact plans that cost the same the first is taken: a first level is there because a sample said that it pays. */
static const ki_plan_row table[] = {
    {KITH_PLAN_LEVELS, "levels", 1, levels_obstacle, scan_ns, NULL, ki_rounds_seed, NULL},
    {KITH_PLAN_SCAN, "scan", 1, scan_obstacle, scan_ns, NULL, ki_rounds_seed, NULL},
    {KITH_PLAN_GATHER, "gather", 1, gather_obstacle, gather_ns, NULL, run_whole, NULL},
    {KITH_PLAN_PLAIN, "plain", 1, plain_obstacle, plain_ns, NULL, run_whole, NULL},
    {KITH_PLAN_DEVICE, "device", 1, ki_search_device_obstacle, ki_search_device_ns, NULL, ki_search_device_run, NULL},
    {KITH_PLAN_IVF, "ivf", 0, ivf_obstacle, NULL, ivf_prepare, ki_rounds_answer, ivf_explain},
    {KITH_PLAN_GRAPH, "graph", 0, ki_search_graph_obstacle, NULL, ki_search_graph_prepare, ki_search_graph_run,
     ki_search_graph_explain},
    {KITH_PLAN_HNSW, "hnsw", 0, ki_search_hnsw_obstacle, NULL, ki_search_hnsw_prepare, ki_search_hnsw_run,
     ki_search_hnsw_explain},
    {KITH_PLAN_PQ, "pq", 0, ki_pq_plan_obstacle, NULL, ki_pq_plan_prepare, ki_rounds_answer, ki_pq_plan_explain},
    {KITH_PLAN_LSH, "lsh", 0, ki_search_lsh_obstacle, NULL, ki_search_lsh_prepare, ki_search_lsh_run,
     ki_search_lsh_explain},
};
enum { ROWS = sizeof(table) / sizeof(*table) };

const ki_plan_row *ki_plan_find(kith_plan plan) {
    for (int i = 0; i < ROWS; i++)
        if (table[i].plan == plan) return &table[i];
    return NULL;
}

static kith_plan cheapest(const ki_plan_case *at, kith_plan but) {
    kith_plan best = KITH_PLAN_PLAIN;
    double least = INFINITY;
    for (int i = 0; i < ROWS; i++) {
        if (!table[i].exact || table[i].plan == but || table[i].obstacle(at)) continue;
        const double cost = table[i].cost_ns(at);
        if (!(cost < least)) continue;
        least = cost;
        best = table[i].plan;
    }
    return best;
}

kith_plan ki_plan_exact(const ki_plan_case *at) {
    return cheapest(at, KITH_PLAN_AUTO);
}

kith_plan ki_plan_exact_on_cpu(const ki_plan_case *at) {
    return cheapest(at, KITH_PLAN_DEVICE);
}

/* ---- Words ------------------------------------------------------------------------------------------------------- */

const char *kith_plan_name(kith_plan plan) {
    const ki_plan_row *row = ki_plan_find(plan);
    return row ? row->name : plan == KITH_PLAN_AUTO ? "auto" : "?";
}

int kith_plan_parse(const char *word, kith_plan *plan) {
    if (!word || !plan) return 0;
    for (int i = 0; i < ROWS; i++)
        if (strcmp(word, table[i].name) == 0) {
            *plan = table[i].plan;
            return 1;
        }
    if (strcmp(word, "auto") != 0) return 0;
    *plan = KITH_PLAN_AUTO;
    return 1;
}

static const char *const codes[] = {"auto", "int8", "second", "levels", "first", "rows"};
enum { CODES = sizeof(codes) / sizeof(*codes) };

const char *kith_scan_code_name(kith_scan_code code) {
    return (unsigned)code < CODES ? codes[code] : "?";
}

int kith_scan_code_parse(const char *word, kith_scan_code *code) {
    for (int i = 0; word && code && i < CODES; i++)
        if (strcmp(word, codes[i]) == 0) {
            *code = (kith_scan_code)i;
            return 1;
        }
    return 0;
}
