/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner: from what calibration measured to the plan and the parameters of one search.
 *
 * P1. Settings are measured at a few k and batch sizes. For another k those of the next larger one (or one smaller by a
 *     tenth at most) are taken: what unprobed lists hold of the neighbours grows with k. What is lost for want of
 *     candidates shrinks with it, as 1/sqrt(k): that part of the measured loss is scaled. A k beyond the largest
 *     measured one is searched exactly. The cost of another batch size is interpolated over its logarithm.
 *     Between two calibrated k an effort and its cost are powers of k, each measured at both.
 * P2. A setting is expected to reach a target when its measured recall does so by three quarters of a standard error,
 *     at most half of what the target leaves. All settings are measured with the same queries and err alike, so that
 *     choosing the cheapest of many picks few errors; and what is promised is the target, not more. One and a half are
 *     asked where few queries, or single neighbours, leave an error above 0.006, and with a filter, whose settings are
 *     told from those without; of the few queries of a study, nine tenths of what the target leaves.
 * P3. With a filter that lets a share f through at random, the k nearest of what is allowed have ranks up to about k/f
 *     among all: the lists that hold the k/f nearest of all hold them. So the settings of a calibrated k of at least
 *     k/f are taken; beyond the largest, lists grow in proportion. Candidates are counted among the allowed, of which
 *     an estimate's error spans f times as many. Whether a filter follows the vectors' places instead shows query by
 *     query (`presumed`; ivf/ivf.h V6). Beyond half of the lists the exact plan runs. Scans with bounds
 *     (KITH_SCAN_LEVELS), which do not tell what they met, are left out. In place of codes the vectors themselves
 *     may be scanned (KITH_SCAN_ROWS), which loses nothing for want of candidates: not measured, but told from what
 *     was.
 *     Walks pass through all vertices and end by the k-th nearest of what is allowed: they are as those for k/f
 *     neighbours. One that comes to little of that gives up when it has cost what the exact plan does, which then
 *     answers.
 *     All this is assumed, for as long as a filter was not studied (study.h): then settings were measured with it, and
 *     are taken as they are.
 * P4. A target is met, not overshot: between two settings that differ by lists or by effort alone, recall and cost are
 *     interpolated, and the setting in between that just reaches the target competes; lists, where recall is known well
 *     enough. Where lists are few, some queries probe one more than others.
 * P5. Exact: without a calibration, at target 0 or 1, for range searches, and where nothing measured reaches the
 *     target.
 * P6. Queries whose statistic is below that of one in two hundred of the calibration's probe CAREFUL times the lists.
 *
 * Pure functions of their arguments: any thread. */
#ifndef KI_SEARCH_PLANNER_H
#define KI_SEARCH_PLANNER_H

#include "index/calibration.h"

enum { KI_CONSIDERED_MAX = 8 };
#define KI_PLAN_BIT(plan) (1u << (unsigned)(plan))

typedef struct ki_choice {
    kith_plan plan;
    kith_scan_code code;
    size_t nprobe, rerank;   /* nprobe: of plans graph, hnsw and lsh the effort; rerank: 0 where the plan sees to it */
    double fewer;            /* plan ivf: the share of queries that probe a list less */
    double recall, query_ns; /* as expected; query_ns 0: not known */
    const char *why;         /* static */
} ki_choice;

typedef struct ki_question {
    const ki_calibration *calibration; /* count 0: none */
    size_t k, count, lists, dim;
    uint64_t rows, allowed;
    double touched;               /* the share of blocks that hold some of the allowed vectors */
    double row_bytes, scan_bytes; /* of a vector, 0: not kept; and what an exact scan reads of one, 0: not known */
    kith_scan_code second_lists;  /* whose scans look at second lists; AUTO: there are none */
    double target;
    kith_plan exact;     /* the exact plan that would run */
    double exact_ns;     /* what it was measured to cost; 0: what the calibration says */
    unsigned plans;      /* KI_PLAN_BIT() of those that are not exact and can run */
    kith_plan must;      /* the caller insists: what is nearest to the target is taken where nothing reaches it */
    kith_scan_code code; /* AUTO: any */
    int studied;         /* the calibration's settings were measured with this filter (study.h) */
    int unguarded;       /* and no query is thin */
    uint64_t study;      /* its name, by which one question is told from another */
} ki_question;

typedef struct ki_answer {
    ki_choice chosen;
    size_t careful_nprobe; /* plan ivf: for queries below careful_below; 0: no such */
    float careful_below;
    double presumed;     /* plan ivf with a filter: the share of allowed vectors; 0: no filter, or no query is thin */
    size_t least_nprobe; /* with it: lists where all in them is allowed */
    size_t considered_count;
    ki_choice considered[KI_CONSIDERED_MAX]; /* the chosen one first */
} ki_answer;

/* Processor time of one vector and query in plan gather: alone it comes from memory, in batches of KI_GATHER_BATCH and
 * more from the cache. Measured on Zen 4 at 384 dimensions (100 ns, 29 ns) and 100 (24 ns in batches). */
enum { KI_GATHER_BATCH = 12 };
double ki_gather_ns(size_t dim, size_t queries);

/* Processor time of one vector and query in plan plain: alone memory gives some ten bytes a nanosecond, in batches a
 * strip stays in the cache. And in a scan, of whose vectors a share is scored again: 7 ns alone and 1.5 ns in a batch
 * (measured at 64 and 384 dimensions), and plan gather's time for the share. */
double ki_plain_ns(size_t dim, size_t row_bytes, size_t queries);
double ki_scan_ns(size_t dim, double survivors, size_t queries);

/* Processor time that a query takes before its first list or block: it is coded, and meets the centroids. Measured on
 * Zen 3: 1,360 lists at 384 dimensions. */
double ki_begin_ns(size_t lists, size_t queries);

/* Vectors that a scan with bounds scores again where a filter leaves so many: those of a place far from the query are
 * about equally far, and bounds tell them apart the less the fewer they are. Counted on text embeddings: of 1,158
 * vectors of a category 583, of 11,916 1,585; of as many picked at random 341. In vectors of plan gather: one that a
 * scan finds is not expected, and costs two and a half. */
double ki_filtered_survivors(uint64_t allowed);

void ki_plan(const ki_question *question, ki_answer *answer);

/* The answer that one choice makes, whatever it costs. */
void ki_plan_as(const ki_question *question, const ki_choice *choice, ki_answer *answer);

#endif
