/* SPDX-License-Identifier: Apache-2.0 */
#include "search/choose.h"

#include "base/status.h"
#include "search/device.h"
#include "search/study.h"

#include <math.h>
#include <string.h>

static kith_status check_options(const kith_search_options *options, size_t k, kith_error *error) {
    if (options->plan != KITH_PLAN_AUTO && !ki_plan_find(options->plan))
        return ki_fail(error, KITH_E_ARG, "search: plan %d is unknown", (int)options->plan);
    if ((unsigned)options->code > KITH_SCAN_ROWS)
        return ki_fail(error, KITH_E_ARG, "search: code %d is unknown", (int)options->code);
    if (!(options->target_recall >= 0 && options->target_recall <= 1))
        return ki_fail(error, KITH_E_ARG, "search: target_recall is %g, 0 to 1 are possible", options->target_recall);
    if (options->rerank && options->rerank < k)
        return ki_fail(error, KITH_E_ARG, "search: rerank is %zu, less than k, which is %zu", options->rerank, k);
    return KITH_OK;
}

/* The same by counting runs of as many positions, which do not begin where blocks do: near enough for a cost. */
static double count_touched(const uint64_t *allowed, uint64_t rows) {
    const uint64_t ones = UINT64_C(0x0001000100010001), words = rows / 64 + 1;
    uint64_t runs = 0;
    for (uint64_t at = 0; at < words; at++) {
        uint64_t any = allowed[at];
        any |= any >> 8 & UINT64_C(0x00ff00ff00ff00ff);
        any |= any >> 4 & UINT64_C(0x000f000f000f000f);
        any |= any >> 2 & UINT64_C(0x0003000300030003);
        any |= any >> 1;
        runs += (any & ones) * ones >> 48;
    }
    const double share = (double)runs * KI_BLOCK / (double)rows;
    return share < 1 ? share : 1;
}

/* The same, counted once where it can be kept. */
static double touched_kept(ki_filter_counts *counts, const uint64_t *allowed, uint64_t rows) {
    double touched = counts ? atomic_load_explicit(&counts->touched, memory_order_relaxed) : -1;
    if (touched >= 0) return touched;
    touched = count_touched(allowed, rows);
    if (counts) atomic_store_explicit(&counts->touched, touched, memory_order_relaxed);
    return touched;
}

/* The share of blocks that a filter leaves something of. Where it leaves so few that scoring all of them costs less
 * than a scan does before its first block, what chance would make of it will do. */
static double touched_share(const ki_job *job, const uint64_t *allowed) {
    const ki_view *view = &job->index->view;
    ki_filter_counts *counts = job->filter ? job->filter->counts : NULL;
    const size_t queries = job->queries->count;
    const double row = ki_gather_ns(view->dim, queries), share = (double)job->allowed / (double)view->rows;
    if (!allowed) return 1;
    if (row * (double)job->allowed >
        ki_begin_ns(view->lists.count, queries) + row * ki_filtered_survivors(job->allowed))
        return touched_kept(counts, allowed, view->rows);
    return 1 - pow(1 - share, KI_BLOCK);
}

/* Bytes that an exact scan reads of a vector. */
static double scan_bytes(const ki_view *view) {
    const ki_level *level = view->level1.blocks ? &view->level1 : &view->full;
    return 4 * (double)level->quads + (double)(KI_FACTORS * sizeof(float)) / KI_BLOCK;
}

/* What the planner says, or said before to the same question: weighing hundreds of settings takes 19 us (Zen 3, lists
 * of 115,659 vectors), as long as the search of one query. Questions that differ in padding are just asked again. */
static const ki_answer *answer_to(kith_scratch *scratch, const ki_question *question) {
    for (size_t i = 0; i < KI_ANSWERS; i++)
        if (memcmp(&scratch->question[i], question, sizeof(*question)) == 0) return &scratch->answer[i];
    const size_t place = scratch->answers++ % KI_ANSWERS;
    memcpy(&scratch->question[place], question, sizeof(*question));
    ki_plan(question, &scratch->answer[place]);
    return &scratch->answer[place];
}

/* Whether nothing is left to choose: an exact plan was asked for, or another with its parameter or without a target. */
static int says_all(const kith_search_options *options) {
    if (options->plan == KITH_PLAN_AUTO) return 0;
    const ki_plan_row *row = ki_plan_find(options->plan);
    const size_t given = options->plan == KITH_PLAN_IVF  ? options->nprobe
                         : options->plan == KITH_PLAN_PQ ? options->rerank
                                                         : options->effort;
    return row->exact || given || !(options->target_recall > 0);
}

/* KI_PLAN_BIT() of the plans that are not exact and can run; of the one asked for. */
static unsigned plans_that_run(const ki_plan_case *at, kith_plan asked) {
    unsigned plans = 0;
    for (kith_plan plan = KITH_PLAN_IVF; plan <= KITH_PLAN_PQ; plan++) {
        const ki_plan_row *row = ki_plan_find(plan);
        if (row && (asked == KITH_PLAN_AUTO || asked == plan) && !row->obstacle(at)) plans |= KI_PLAN_BIT(plan);
    }
    return plans;
}

/* Leaves job->answer zero where the options say all. */
static void ask_planner(ki_job *job, const kith_search_options *options, kith_plan exact, const ki_plan_case *at) {
    const ki_view *view = at->view;
    if (job->given) job->answer = *job->given;
    if (job->given || says_all(options)) return;
    ki_question question;
    memset(&question, 0, sizeof(question)); /* its padding too is compared */
    question.calibration = &job->index->calibration;
    question.k = job->k;
    question.count = job->queries->count;
    question.lists = view->lists.count;
    question.dim = view->dim;
    question.rows = view->rows;
    question.allowed = job->allowed;
    question.touched = at->touched;
    question.row_bytes = view->originals ? (double)view->row_bytes : 0;
    question.scan_bytes = scan_bytes(view);
    question.second_lists = ki_second_lists_code(view);
    question.target = options->target_recall;
    question.exact = exact;
    question.plans = plans_that_run(at, options->plan);
    question.must = options->plan;
    question.code = options->code;
    ki_search_device_ask(at, job->scratch->threads, &question);
    job->answer = *ki_study_answer(job, &question, answer_to);
    if (ki_study_make(job, options, &question, &job->answer)) job->answer = *ki_study_answer(job, &question, answer_to);
}

kith_status ki_choose(ki_job *job, const kith_search_options *options, kith_error *error) {
    const kith_status status = check_options(options, job->k, error);
    if (status != KITH_OK) return status;
    const uint64_t *bits = options->filter ? options->filter->allowed : NULL;
    const ki_plan_case at = {.view = &job->index->view,
                             .queries = job->queries->count,
                             .k = job->k,
                             .filtered = options->filter != NULL,
                             .few = options->filter && !bits,
                             .allowed = job->allowed,
                             .touched = touched_share(job, bits),
                             .code = options->code};
    const ki_plan_row *asked = ki_plan_find(options->plan);
    const char *obstacle = asked ? asked->obstacle(&at) : NULL;
    if (obstacle) return ki_fail(error, KITH_E_UNSUPPORTED, "search: the plan asked for cannot run: %s", obstacle);
    const kith_plan exact = ki_plan_exact(&at);
    job->instead = ki_plan_find(ki_plan_exact_on_cpu(&at));
    if (!asked && !job->given && ki_search_device_is_tried(&at)) asked = ki_plan_find(KITH_PLAN_DEVICE);
    if (!at.few)
        ask_planner(job, options, exact, &at);
    else if (!asked)
        asked = ki_plan_find(KITH_PLAN_GATHER);
    job->row = asked ? asked : ki_plan_find(job->answer.chosen.plan);
    job->search.plan = job->row->exact ? job->row->plan : ki_search_device_rest(job, exact);
    if (job->row->prepare) job->row->prepare(job, options);
    return KITH_OK;
}
