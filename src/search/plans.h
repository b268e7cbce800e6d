/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of plans: all that the library knows of a plan stands in its row. Another plan is another row, and its
 * value in kith_plan.
 *
 * Constant: any thread. */
#ifndef KI_SEARCH_PLANS_H
#define KI_SEARCH_PLANS_H

#include "search/job.h"

/* What a plan is judged by. */
typedef struct ki_plan_case {
    const ki_view *view;
    size_t queries, k; /* k 0: range search */
    int filtered, few; /* few: the filter is a list of positions alone */
    uint64_t allowed;  /* vectors that may be found */
    double touched;    /* the share of blocks that hold some of them */
    kith_scan_code code;
} ki_plan_case;

typedef struct ki_plan_row {
    kith_plan plan;
    const char *name;
    int exact; /* finds what the plain plan finds, where there are originals */
    /* What speaks against it, so that it cannot run, or NULL. */
    const char *(*obstacle)(const ki_plan_case *at);
    /* Processor time of one query, in nanoseconds, by what a vector costs; exact plans only: those of others are
     * measured (kith_tune). */
    double (*cost_ns)(const ki_plan_case *at);
    /* Take its parameters from the caller's options and the planner's answer. NULL: it has none. */
    void (*prepare)(ki_job *job, const kith_search_options *options);
    kith_status (*run)(ki_job *job);
    /* Tell its parameters. NULL: it has none. */
    void (*explain)(const ki_job *job, kith_explain *explain);
} ki_plan_row;

/* The row of a plan; NULL for AUTO and values that are no plan. */
const ki_plan_row *ki_plan_find(kith_plan plan);

/* The exact plan that costs least. There is one: an index has originals or codes. */
kith_plan ki_plan_exact(const ki_plan_case *at);
/* The same without devices. */
kith_plan ki_plan_exact_on_cpu(const ki_plan_case *at);

#endif
