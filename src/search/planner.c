/* SPDX-License-Identifier: Apache-2.0 */
#include "search/planner.h"

#include "base/checked.h"
#include "search/settings.h"

enum { CAREFUL = 4 };

/* Cost of the plan that the calibration measured for exact answers. */
static double scan_ns(const ki_question *q, size_t k) {
    const ki_calibration *c = q->calibration;
    double cost = 0;
    for (size_t first = 0, end; first < c->count; first = end) {
        const kith_tuned s = ki_setting_at(q, first, &end);
        if (s.k == k && s.plan < KITH_PLAN_IVF) cost = s.query_ns;
    }
    return cost;
}

static void look(const ki_question *q, size_t k, ki_survey *survey) {
    survey->scan_ns = survey->exact_ns = scan_ns(q, k);
    survey->has_exact = survey->scan_ns > 0 || q->exact == KITH_PLAN_GATHER;
    ki_question alone = *q;
    alone.count = 1;
    survey->scan_alone_ns = scan_ns(&alone, k);
    if (ki_share_of(q) < 1) {
        survey->thin = ki_thin_share(q);
        /* What lies together is read as a scan reads. */
        const double row = ki_row_ns(q, survey->scan_ns * (1 - survey->thin / 3));
        survey->exact_ns = q->exact == KITH_PLAN_GATHER
                               ? row * (double)q->allowed
                               : ki_begin_ns(q->lists, q->count) + q->touched * survey->scan_ns +
                                     row * ki_filtered_survivors(q->allowed);
        survey->thin_ns = 2 * ki_begin_ns(q->lists, q->count) + survey->exact_ns; /* with a threshold from lists */
    }
    if (q->exact_ns > 0) survey->exact_ns = q->exact_ns;
    if (q->plans & KI_PLAN_BIT(KITH_PLAN_IVF)) ki_survey_lists(q, k, survey);
    ki_survey_efforts(q, survey);
}

/* The calibrated k that stands for the question's, 0: none does. */
static size_t calibrated_k(const ki_question *q) {
    const size_t k = ki_calibrated_for(q->calibration, (double)q->k);
    return k || !q->must ? k : ki_calibrated_below(q->calibration, (double)KITH_K_MAX + 1);
}

static void consider(ki_answer *answer, ki_choice choice, const char *why) {
    choice.why = why;
    if (answer->considered_count < KI_CONSIDERED_MAX) answer->considered[answer->considered_count++] = choice;
}

/* Choose the exact plan; why: what spoke against all others, or for it. */
static void take_exact(const ki_question *q, double query_ns, const char *why, ki_answer *answer) {
    answer->chosen = (ki_choice){.plan = q->exact, .recall = 1, .query_ns = query_ns, .why = why};
    consider(answer, answer->chosen, why);
}

/* What plan ivf is told beside its parameters. least: the fewest lists of a query; 0: not known. */
static void tell_ivf(const ki_question *q, size_t least, ki_answer *answer) {
    const ki_choice *choice = &answer->chosen;
    if (choice->plan != KITH_PLAN_IVF) return;
    answer->careful_below = q->calibration->unusual_below;
    answer->careful_nprobe = ki_min_size(CAREFUL * choice->nprobe, q->lists);
    if (q->allowed >= q->rows || q->unguarded) return;
    answer->presumed = (double)q->allowed / (double)q->rows;
    answer->least_nprobe = least ? ki_min_size(least, choice->nprobe) : choice->nprobe;
}

void ki_plan_as(const ki_question *q, const ki_choice *choice, ki_answer *answer) {
    *answer = (ki_answer){.chosen = *choice};
    tell_ivf(q, 0, answer);
}

static void take(const ki_question *q, size_t k, const ki_setting *s, const char *why, ki_answer *answer) {
    answer->chosen = s->choice;
    answer->chosen.why = why;
    consider(answer, s->choice, why);
    tell_ivf(q, q->studied ? 0 : ki_fewest_lists(q, k, s->choice.code), answer);
}

/* Whether all that a filter leaves is scored before lists would have begun well. */
static int is_little(const ki_question *q) {
    return q->exact == KITH_PLAN_GATHER && !q->must && !(q->plans >> KITH_PLAN_GRAPH) &&
           ki_gather_ns(q->dim, q->count) * (double)q->allowed <= 2 * ki_begin_ns(q->lists, q->count);
}

/* A question with a calibration and a target to reach. */
static void weigh(const ki_question *q, size_t k, ki_answer *answer) {
    ki_survey survey = {0};
    look(q, k, &survey);
    int best = -1;
    for (int c = 0; c < KI_RIVALS; c++)
        if (survey.has_best[c] && (best < 0 || survey.best[c].choice.query_ns < survey.best[best].choice.query_ns))
            best = c;
    const ki_choice exact = {.plan = q->exact, .recall = 1, .query_ns = survey.has_exact ? survey.exact_ns : 0};
    const int beaten = best >= 0 && survey.has_exact && survey.exact_ns <= survey.best[best].choice.query_ns;
    const int exactly = !q->must && (best < 0 || beaten);
    if (exactly)
        take_exact(q, exact.query_ns, best < 0 ? "chosen: nothing measured reaches the target" : "chosen: cheapest",
                   answer);
    else if (best >= 0)
        take(q, k, &survey.best[best], "chosen: cheapest that reaches the target", answer);
    else if (survey.has_short)
        take(q, k, &survey.nearest, "chosen: nearest to the target", answer);
    if (!exactly) consider(answer, exact, q->must ? "not asked for" : "costs more");
    for (int c = 0; c < KI_RIVALS; c++)
        if (survey.has_best[c] && (exactly || c != best)) consider(answer, survey.best[c].choice, "costs more");
    if (survey.has_short && (exactly || best >= 0))
        consider(answer, survey.nearest.choice, "is expected to miss the target");
}

void ki_plan(const ki_question *q, ki_answer *answer) {
    *answer = (ki_answer){0};
    const int approximate = q->target > 0 && q->target < 1 && q->k > 0;
    const size_t k = approximate ? calibrated_k(q) : 0;
    if (!approximate)
        take_exact(q, 0, "chosen: exact answers were asked for", answer);
    else if (q->calibration->count == 0)
        take_exact(q, 0, "chosen: there is no calibration", answer);
    else if (k == 0)
        take_exact(q, 0, "chosen: k is larger than any that was measured", answer);
    else if (is_little(q))
        take_exact(q, ki_gather_ns(q->dim, q->count) * (double)q->allowed, "chosen: cheapest", answer);
    else
        weigh(q, k, answer);
}
