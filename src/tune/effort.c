/* SPDX-License-Identifier: Apache-2.0
 *
 * Recall and cost of plans whose only parameter is an effort: of a graph, of layers of graphs, of hash tables; or,
 * which is treated alike, the number of candidates of product codes.
 *
 * E1. Nothing tells recall without searching. So few queries scout efforts that double, until recall no longer rises or
 *     exact answers cost less; from that follow the efforts at which recalls that are asked for come out, and those are
 *     measured with as many queries as time allows. The planner interpolates.
 * E2. Cost is measured at a few efforts and interpolated over what searches looked at, which they count: cost is all
 *     but proportional to that.
 * E3. A setting that finds no more than one of less effort is not kept. */
#include "tune/inner.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "search/plans.h"

#include <math.h>

enum { POINTS_MAX = 32, SCOUTS = 64, TIMED = 4 };

/* Recall that is not worth looking for more, less than which is no sign of an end, and a gain that is none. */
static const double ENOUGH = 0.9995, TOO_LITTLE = 0.4, GAIN = 0.0005;

/* Times the cost of an exact answer in a batch: alone that costs more. */
static const double DEAR = 2;

/* Efforts double from `first` on, or from k on, and are at most `most`. */
struct ladder {
    kith_plan plan;
    int from_k;
    size_t first, most;
};

static const struct ladder ladders[] = {
    {KITH_PLAN_GRAPH, 0, 20, 20000},
    {KITH_PLAN_HNSW, 1, 10, KI_CALIBRATION_EFFORT_MAX},
    {KITH_PLAN_LSH, 0, 1, KI_CALIBRATION_EFFORT_MAX},
    {KITH_PLAN_PQ, 1, 1, 4 * KITH_K_MAX - 1}, /* one more is asked for where a stored query finds itself */
};
enum { LADDERS = sizeof(ladders) / sizeof(*ladders) };

struct point {
    size_t effort, rerank;
    double recall, error;
    double work;     /* what cost goes with */
    double query_ns; /* processor time of one query while recall was measured */
};

struct curve {
    ki_tuning *t;
    const struct ladder *ladder;
    size_t k, count;
    size_t queries; /* that the last point was measured with */
    float *share;   /* of each of them, what it found of its neighbours */
    struct point at[POINTS_MAX];
};

static int has(const kith_index *index, kith_plan plan) {
    const ki_plan_row *row = ki_plan_find(plan);
    const ki_plan_case at = {.view = &index->view, .queries = 1, .k = 1, .allowed = index->view.rows, .touched = 1};
    return row && !row->obstacle(&at);
}

size_t ki_tune_effort_plans(const kith_index *index) {
    size_t count = 0;
    for (int i = 0; i < LADDERS; i++) count += (size_t)has(index, ladders[i].plan);
    return count;
}

/* ---- Recall ------------------------------------------------------------------------------------------------------ */

static kith_search_options options_of(const struct curve *c, size_t effort) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = c->ladder->plan;
    if (options.plan == KITH_PLAN_PQ)
        options.rerank = effort;
    else
        options.effort = effort;
    return options;
}

/* Recall of the first `count` queries, by what the last search found. A point that follows another and cannot afford as
 * many queries has the other's recall, and what these gain on it. */
static void learn_recall(struct curve *c, size_t count, struct point *point) {
    const struct point *last = c->count ? &c->at[c->count - 1] : NULL;
    const double n = (double)count;
    double sum = 0, squares = 0, before = 0;
    for (size_t i = 0; i < count; i++) {
        const double share = ki_tune_found(c->t, i, c->k);
        sum += share;
        squares += share * share;
        before += (double)c->share[i];
        c->share[i] = (float)share;
    }
    point->recall = sum / n;
    point->error = sqrt(ki_tune_variance(squares, sum / n, n, (double)c->k));
    if (last && count < c->queries) {
        point->recall = fmin(1, fmax(0, last->recall + (sum - before) / n));
        point->error = fmin(point->error, last->error);
    }
    c->queries = count;
}

static kith_status measure(struct curve *c, size_t effort, size_t count, struct point *point, kith_error *error) {
    ki_tuning *t = c->t;
    const kith_search_options options = options_of(c, effort);
    const uint64_t start = ki_process_ns();
    const kith_status status = ki_tune_search_held(t, count, c->k, &options, error);
    if (status != KITH_OK) return status;
    const double query_ns = (double)(ki_process_ns() - start) / (double)count;
    *point = (struct point){effort, t->reranked, 0, 0, (double)t->visited / (double)count, query_ns};
    if (c->ladder->plan == KITH_PLAN_PQ) point->work = (double)effort;
    learn_recall(c, count, point);
    return KITH_OK;
}

static int rises_no_more(const struct curve *c) {
    const struct point *last = &c->at[c->count - 1];
    return c->count >= 3 && last->recall >= TOO_LITTLE && last->recall - last[-2].recall < GAIN;
}

/* Efforts that double, with few queries. */
static kith_status scout(struct curve *c, double budget_ns, kith_error *error) {
    const uint64_t start = ki_process_ns();
    const struct ladder *ladder = c->ladder;
    const size_t count = ki_min_size(SCOUTS, c->t->count);
    size_t effort = ladder->from_k && ladder->first < c->k ? c->k : ladder->first;
    for (c->count = 0; c->count < POINTS_MAX; effort = ki_min_size(2 * effort, ladder->most)) {
        const kith_status status = measure(c, effort, count, &c->at[c->count], error);
        if (status != KITH_OK) return status;
        if (c->at[c->count++].recall >= ENOUGH || rises_no_more(c) || effort == ladder->most) break;
        if (c->at[c->count - 1].query_ns > DEAR * c->t->exact_ns) break; /* than that exact answers are better */
        if (c->count > 3 && (double)(ki_process_ns() - start) > budget_ns * c->t->threads) break;
    }
    return KITH_OK;
}

/* The effort at which a curve comes to some recall, about: what is missed falls as a power of the effort, piece by
 * piece. 0: nowhere. */
static size_t effort_at(const struct curve *c, double recall) {
    size_t after = 0;
    while (after < c->count && c->at[after].recall < recall) after++;
    if (after == c->count) return 0;
    if (after == 0) return c->at[0].effort;
    const struct point *a = &c->at[after - 1], *b = &c->at[after];
    const double missed_a = log(1 - a->recall), missed_b = log(fmax(1 - b->recall, 1e-4));
    const double part = (log(1 - recall) - missed_a) / (missed_b - missed_a);
    return (size_t)ceil((double)a->effort * pow((double)b->effort / (double)a->effort, part));
}

/* What a query of some effort takes: as long as one of the next larger effort that was scouted. */
static double expected_ns(const struct curve *scouted, size_t effort) {
    size_t at = 0;
    while (at + 1 < scouted->count && scouted->at[at].effort < effort) at++;
    return scouted->at[at].query_ns;
}

/* Queries that a point can be measured with; never more than the one before. */
static size_t affordable(const struct curve *c, double query_ns, double budget_ns) {
    const size_t fit = ki_tune_affordable(c->t, query_ns, budget_ns);
    return ki_min_size(fit, c->count ? c->queries : c->t->count);
}

/* Measure with more queries, where scouts say that recalls come out which may be asked for, and where they end. */
static kith_status measure_wanted(struct curve *c, double budget_ns, kith_error *error) {
    static const double wanted[] = {0.7, 0.8, 0.86, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.996};
    enum { WANTED = sizeof(wanted) / sizeof(*wanted) };
    const struct curve scouted = *c;
    size_t efforts[WANTED + 1], count = 0;
    for (size_t i = 0; i <= WANTED; i++) {
        const size_t effort = i < WANTED ? effort_at(&scouted, wanted[i]) : scouted.at[scouted.count - 1].effort;
        if (count && (effort <= efforts[count - 1] || expected_ns(&scouted, effort) > DEAR * c->t->exact_ns)) continue;
        if (effort) efforts[count++] = effort;
    }
    kith_status status = KITH_OK;
    for (c->count = 0; c->count < count && status == KITH_OK;) {
        const size_t effort = efforts[c->count];
        const size_t queries = affordable(c, expected_ns(&scouted, effort), budget_ns / (double)count);
        status = measure(c, effort, queries, &c->at[c->count], error);
        c->count++;
    }
    return status;
}

/* E3. */
static void drop_useless(struct curve *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++)
        if (kept == 0 || c->at[i].recall > c->at[kept - 1].recall) c->at[kept++] = c->at[i];
    c->count = kept;
}

/* ---- Cost -------------------------------------------------------------------------------------------------------- */

/* Places in the curve that are timed: the ends, and some between. */
static size_t choose_timed(const struct curve *c, size_t timed[TIMED]) {
    size_t count = 0;
    for (size_t i = 0; i < TIMED; i++) {
        const size_t place = (c->count - 1) * i / (TIMED - 1);
        if (count == 0 || place > timed[count - 1]) timed[count++] = place;
    }
    return count;
}

/* A stored query is timed where it is stored, and has a short walk to itself: how much longer those are that recall was
 * measured with, by what they looked at. */
static kith_status compare_walks(const struct curve *c, const struct point *p, double *longer, kith_error *error) {
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = options_of(c, p->effort);
    *longer = 1;
    if (!c->t->self || c->ladder->plan == KITH_PLAN_PQ || c->k >= c->t->room) return KITH_OK;
    if (c->ladder->plan == KITH_PLAN_HNSW) options.effort++; /* as it is timed */
    options.explain = &explain;
    const kith_status status = ki_tune_search(c->t, c->t->wide, 0, c->queries, c->k + 1, &options, error);
    const double seen = (double)explain.visited / (double)c->queries;
    if (seen > 0 && p->work > seen) *longer = fmin(p->work / seen, 4);
    return status;
}

static kith_status time_curve(const struct curve *c, const double *longer, size_t batch, double budget_ns,
                              double cost_ns[POINTS_MAX], kith_error *error) {
    size_t timed[TIMED];
    const size_t count = choose_timed(c, timed);
    for (size_t i = 0; i < count; i++) {
        const kith_search_options options = options_of(c, c->at[timed[i]].effort);
        double *cost = &cost_ns[timed[i]];
        const double expected_ns = i ? 1.5 * cost_ns[timed[i - 1]] : c->at[0].query_ns;
        const kith_status status =
            ki_tune_time(c->t, c->k, batch, budget_ns / (double)count, expected_ns, &options, cost, error);
        if (status != KITH_OK) return status;
        *cost *= longer[i];
        if (i == 0) continue;
        const size_t last = timed[i - 1];
        *cost = fmax(*cost, cost_ns[last]);
        const double all = c->at[timed[i]].work - c->at[last].work;
        for (size_t p = last + 1; p < timed[i]; p++) {
            const double part = all > 0 ? fmin(1, fmax(0, (c->at[p].work - c->at[last].work) / all)) : 1;
            cost_ns[p] = cost_ns[last] + (*cost - cost_ns[last]) * part;
        }
    }
    return KITH_OK;
}

/* What the plan took; a calibration has none that is less than k. */
static size_t rerank_of(const struct curve *c, const struct point *p) {
    if (c->ladder->plan == KITH_PLAN_PQ) return p->effort;
    return p->rerank < c->k ? 0 : ki_min_size(p->rerank, 4 * KITH_K_MAX);
}

static kith_status keep_curve(const struct curve *c, size_t batch, const double cost_ns[POINTS_MAX],
                              kith_error *error) {
    const int candidates = c->ladder->plan == KITH_PLAN_PQ;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < c->count && status == KITH_OK; i++)
        status = ki_tune_keep(c->t,
                              (kith_tuned){.plan = c->ladder->plan,
                                           .k = c->k,
                                           .batch = batch,
                                           .nprobe = candidates ? 0 : c->at[i].effort,
                                           .rerank = rerank_of(c, &c->at[i]),
                                           .recall = c->at[i].recall,
                                           .recall_error = fmin(1, c->at[i].error),
                                           .query_ns = cost_ns[i]},
                              error);
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

/* A fourth of the time is for scouts, a half for recall, the last fourth for costs; where that is too little, more. */
static kith_status measure_plan(ki_tuning *t, const struct ladder *ladder, size_t k, double budget_ns,
                                kith_error *error) {
    struct curve c = {.t = t, .ladder = ladder, .k = k, .share = ki_alloc_array_zeroed(t->count, sizeof(float))};
    double cost_ns[POINTS_MAX], longer[TIMED];
    size_t timed[TIMED];
    kith_status status =
        c.share ? scout(&c, budget_ns / 4, error) : ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    if (status == KITH_OK) status = measure_wanted(&c, budget_ns / 2, error);
    if (status == KITH_OK) drop_useless(&c);
    const size_t timed_count = status == KITH_OK ? choose_timed(&c, timed) : 0;
    for (size_t i = 0; i < timed_count && status == KITH_OK; i++)
        status = compare_walks(&c, &c.at[timed[i]], &longer[i], error);
    for (size_t b = 0; b < t->batches && status == KITH_OK; b++) {
        status = time_curve(&c, longer, t->batch[b], budget_ns / 4 / (double)t->batches, cost_ns, error);
        if (status == KITH_OK) status = keep_curve(&c, t->batch[b], cost_ns, error);
    }
    free(c.share);
    return status;
}

kith_status ki_tune_efforts(ki_tuning *t, size_t which, uint64_t budget_ns, kith_error *error) {
    const size_t plans = ki_tune_effort_plans(t->index);
    kith_status status = KITH_OK;
    for (int i = 0; i < LADDERS && status == KITH_OK; i++)
        if (has(t->index, ladders[i].plan))
            status = measure_plan(t, &ladders[i], t->k[which], (double)budget_ns / (double)plans, error);
    return status;
}
