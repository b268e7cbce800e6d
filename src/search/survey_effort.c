/* SPDX-License-Identifier: Apache-2.0 */
#include "search/settings.h"

#include "base/checked.h"

#include <math.h>

/* Where one plan comes to the target, for one calibrated k. */
struct point {
    int known; /* 0: nothing was measured */
    kith_tuned s;
    double safe;
};

/* The least effort that reaches the target, between settings or at one; where none does, the one that comes nearest. */
static struct point solve(const ki_question *q, kith_plan plan, size_t k) {
    const ki_calibration *c = q->calibration;
    struct point found = {0};
    for (size_t first = 0, end; first < c->count; first = end) {
        const kith_tuned s = ki_setting_at(q, first, &end);
        if (s.k != k || s.plan != plan) continue;
        const struct point next = {1, s, ki_setting_safe(q, &s, k)};
        const struct point last = found;
        if (!last.known || next.safe > last.safe) found = next;
        if (next.safe < q->target) continue;
        if (last.known && last.safe < q->target) {
            (void)ki_setting_between(&last.s, last.safe, &s, next.safe, q->target, &found.s);
            found.safe = q->target;
        }
        break;
    }
    return found;
}

static double between(double a, double b, double part) {
    return a > 0 && b > 0 ? a * pow(b / a, part) : a + (b - a) * part;
}

/* For a rank between two calibrated k: efforts, candidates beyond k, and costs as powers of it. */
static struct point mix(const struct point *low, const struct point *high, double rank) {
    const double low_more = (double)low->s.rerank - (double)low->s.k;
    const double high_more = (double)high->s.rerank - (double)high->s.k;
    struct point p = *low;
    const double part = log(rank / (double)low->s.k) / log((double)high->s.k / (double)low->s.k);
    p.s.k = (size_t)rank;
    p.s.nprobe = (size_t)ceil(between((double)low->s.nprobe, (double)high->s.nprobe, part));
    if (low->s.rerank) p.s.rerank = p.s.k + (size_t)ceil(between(low_more, fmax(0, high_more), part));
    p.s.query_ns = between(low->s.query_ns, high->s.query_ns, part);
    p.s.recall = low->s.recall + (high->s.recall - low->s.recall) * part;
    p.safe = fmin(low->safe, high->safe);
    return p;
}

/* Beyond the largest calibrated k: costs grow halfway between the power measured and proportion, as lists do (P3). */
static struct point extend(const ki_question *q, kith_plan plan, size_t below, double rank) {
    const size_t before = ki_calibrated_below(q->calibration, (double)below);
    struct point p = solve(q, plan, below);
    if (!p.known) return p;
    const struct point smaller = before ? solve(q, plan, before) : p;
    double power = 1;
    if (before && smaller.known) power = log(p.s.query_ns / smaller.s.query_ns) / log((double)below / (double)before);
    p.s.query_ns *= pow(rank / (double)below, (1 + fmin(1, fmax(0, power))) / 2);
    return p;
}

/* Hnsw counts what a filter lets through, and looks at more until it has enough of that; others look at what lies
 * around, of which a filter leaves some. */
static double rank_for(const ki_question *q, kith_plan plan) {
    return plan == KITH_PLAN_HNSW ? (double)q->k : fmin(ki_rank_of(q), 1e9);
}

static struct point point_for(const ki_question *q, kith_plan plan) {
    const ki_calibration *c = q->calibration;
    const double rank = rank_for(q, plan);
    const size_t above = ki_calibrated_for(c, rank);
    const size_t below = ki_calibrated_below(c, above ? fmin((double)above, rank) : INFINITY);
    const int beyond = q->must == plan || (ki_share_of(q) < 1 && plan != KITH_PLAN_LSH);
    if (!above) return below && beyond ? extend(q, plan, below, rank) : (struct point){0};
    const struct point high = solve(q, plan, above);
    if (!below || (double)above <= rank || !high.known) return high;
    const struct point low = solve(q, plan, below);
    if (high.safe < q->target && low.safe >= q->target) return extend(q, plan, below, rank); /* measured no further */
    return low.known ? mix(&low, &high, rank) : high;
}

/* Product codes err by numbers of ranks; others score some more than k, whatever a filter lets through. */
static size_t rerank_for(const ki_question *q, const kith_tuned *s) {
    if (s->plan == KITH_PLAN_PQ) return ki_setting_rerank(s, (size_t)rank_for(q, s->plan));
    return s->rerank ? q->k + (s->rerank - s->k) : 0;
}

/* What a filter makes of a setting that was measured without. A walk that meets little of what is allowed goes on until
 * it has cost what the exact plan does, and then that runs. */
static void heed_filter(const ki_question *q, ki_survey *survey, ki_setting *s) {
    const double share = ki_share_of(q);
    ki_choice *choice = &s->choice;
    if (share >= 1) return;
    if (choice->plan == KITH_PLAN_PQ) { /* candidates are counted among the allowed, as in plan ivf */
        const double among = share * (double)choice->rerank;
        choice->rerank = ki_min_size((size_t)fmax((double)q->k, ceil(among + 2 * sqrt(among))), 4 * KITH_K_MAX);
    }
    if (choice->plan == KITH_PLAN_HNSW) choice->query_ns /= share;
    if (choice->plan != KITH_PLAN_GRAPH && choice->plan != KITH_PLAN_HNSW) return;
    choice->query_ns = (1 - survey->thin) * choice->query_ns + survey->thin * 2 * survey->exact_ns;
}

void ki_survey_efforts(const ki_question *q, ki_survey *survey) {
    for (kith_plan plan = KITH_PLAN_GRAPH; plan <= KITH_PLAN_PQ; plan++) {
        if (!(q->plans & KI_PLAN_BIT(plan))) continue;
        const struct point p = point_for(q, plan);
        if (!p.known) continue;
        ki_setting s = {.choice = {.plan = plan,
                                   .nprobe = p.s.nprobe,
                                   .rerank = rerank_for(q, &p.s),
                                   .recall = p.s.recall,
                                   .query_ns = p.s.query_ns},
                        .safe = p.safe};
        heed_filter(q, survey, &s);
        ki_survey_take(q, &s, survey);
    }
}
