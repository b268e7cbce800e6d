/* SPDX-License-Identifier: Apache-2.0 */
#include "search/planner.h"

#include "base/checked.h"

#include <math.h>

enum { CAREFUL = 4, CODES = KITH_SCAN_FIRST + 1 };

double ki_gather_ns(size_t dim, size_t queries) {
    return queries < KI_GATHER_BATCH ? 20 + (double)dim / 5 : 18 + (double)dim / 32;
}

double ki_plain_ns(size_t dim, size_t row_bytes, size_t queries) {
    return queries < KI_GATHER_BATCH ? 4 + (double)row_bytes / 10 : 4 + (double)dim / 20;
}

double ki_scan_ns(size_t dim, double survivors, size_t queries) {
    return (queries < KI_GATHER_BATCH ? 7 : 1.5) + survivors * ki_gather_ns(dim, queries);
}

/* One measured setting, for the question's k and batch. */
struct setting {
    ki_choice choice;
    double safe; /* recall that may be counted on */
};

/* Cost of a batch between those of the settings first..end, which differ by batch alone. */
static double cost_of(const kith_tuned *first, const kith_tuned *end, size_t count) {
    const kith_tuned *after = first;
    while (after < end && after->batch < count) after++;
    if (after == first) return first->query_ns;
    if (after == end) return end[-1].query_ns;
    const double a = log2((double)after[-1].batch), b = log2((double)after->batch), at = log2((double)count);
    return after[-1].query_ns + (after->query_ns - after[-1].query_ns) * (at - a) / (b - a);
}

/* P1: with candidates as scale_rerank() has them, the share lost grows as 1/sqrt(k); a half more for safety. */
static double recall_at(const kith_tuned *s, size_t k) {
    const double grown = k < s->k ? 1.5 * s->lost * (sqrt((double)s->k / (double)k) - 1) : 0;
    return s->recall > grown ? s->recall - grown : 0;
}

/* P2. */
static double safe_recall(const kith_tuned *s, size_t k, double target) {
    const double margin = 1.5 * s->recall_error, most = (1 - target) / 2;
    return recall_at(s, k) - (margin < most ? margin : most);
}

/* P1: the small errors of int8 displace a neighbour by a number of ranks that grows as sqrt(k), the large ones of a
 * second code by a number that depends on k little. For more neighbours than were measured, which only a caller who
 * insists on plan ivf gets, in proportion. */
static size_t scale_rerank(const kith_tuned *s, size_t k) {
    if (k > s->k) return (s->rerank * k + s->k - 1) / s->k;
    if (s->code == KITH_SCAN_SECOND) return k + s->rerank - s->k;
    return k + (size_t)ceil((double)(s->rerank - s->k) * sqrt((double)k / (double)s->k));
}

/* P3; false: more lists than pay. */
static int scale_lists(const ki_question *q, struct setting *s) {
    if (q->allowed >= q->rows) return 1;
    const size_t before = s->choice.nprobe;
    if (s->choice.code == KITH_SCAN_LEVELS && !q->must_be_ivf) return 0;
    const double wanted = ceil((double)before * (double)q->rows / (double)(q->allowed ? q->allowed : 1));
    if (wanted > (double)q->lists / 2 && !q->must_be_ivf) return 0;
    s->choice.nprobe = wanted < (double)q->lists ? (size_t)wanted : q->lists;
    s->choice.query_ns *= (double)s->choice.nprobe / (double)before;
    return 1;
}

/* The calibrated k that stands for the question's, 0: none does. A tenth more neighbours, such as a self-join's that
 * finds each vector itself, change recall by less than it is measured to. */
static size_t calibrated_k(const ki_question *q) {
    const ki_calibration *c = q->calibration;
    for (size_t i = 0; i < c->count; i++)
        if (c->settings[i].k + c->settings[i].k / 10 >= q->k) return c->settings[i].k;
    return c->count && q->must_be_ivf ? c->settings[c->count - 1].k : 0;
}

static int same_setting(const kith_tuned *a, const kith_tuned *b) {
    return a->k == b->k && a->plan == b->plan && a->code == b->code && a->nprobe == b->nprobe && a->rerank == b->rerank;
}

/* What the search has gathered about the settings of one k. */
struct survey {
    int has_best[CODES], has_short, has_exact;
    struct setting best[CODES]; /* the cheapest of each code that reaches the target */
    struct setting nearest;     /* the one of largest safe recall that does not */
    double exact_ns;
};

static void look_at(const ki_question *q, const kith_tuned *first, const kith_tuned *end, struct survey *survey) {
    if (first->plan != KITH_PLAN_IVF) {
        survey->has_exact = 1;
        survey->exact_ns = cost_of(first, end, q->count);
        return;
    }
    if (first->nprobe > q->lists || (q->code != KITH_SCAN_AUTO && q->code != first->code)) return;
    struct setting s = {.choice = {.plan = KITH_PLAN_IVF,
                                   .code = first->code,
                                   .nprobe = first->nprobe,
                                   .rerank = scale_rerank(first, q->k),
                                   .recall = recall_at(first, q->k),
                                   .query_ns = cost_of(first, end, q->count)},
                        .safe = safe_recall(first, q->k, q->target)};
    if (!scale_lists(q, &s)) return;
    if (s.safe < q->target) {
        if (!survey->has_short || s.safe > survey->nearest.safe) survey->nearest = s;
        survey->has_short = 1;
        return;
    }
    struct setting *best = &survey->best[s.choice.code];
    if (!survey->has_best[s.choice.code] || s.choice.query_ns < best->choice.query_ns) *best = s;
    survey->has_best[s.choice.code] = 1;
}

static void look(const ki_question *q, size_t k, struct survey *survey) {
    const ki_calibration *c = q->calibration;
    for (size_t first = 0, end; first < c->count; first = end) {
        for (end = first + 1; end < c->count && same_setting(&c->settings[first], &c->settings[end]);) end++;
        if (c->settings[first].k == k) look_at(q, &c->settings[first], &c->settings[end], survey);
    }
    if (q->exact != KITH_PLAN_GATHER) return;
    survey->has_exact = 1;
    survey->exact_ns = ki_gather_ns(q->dim, q->count) * (double)q->allowed;
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

static void take_ivf(const ki_question *q, const struct setting *s, const char *why, ki_answer *answer) {
    answer->chosen = s->choice;
    answer->chosen.why = why;
    consider(answer, s->choice, why);
    answer->careful_below = q->calibration->unusual_below;
    answer->careful_nprobe = ki_min_size(CAREFUL * s->choice.nprobe, q->lists);
    if (q->allowed < q->rows) answer->presumed = (double)q->allowed / (double)q->rows;
}

/* A question with a calibration and a target to reach. */
static void weigh(const ki_question *q, size_t k, ki_answer *answer) {
    struct survey survey = {0};
    look(q, k, &survey);
    int best = -1;
    for (int c = 0; c < CODES; c++)
        if (survey.has_best[c] && (best < 0 || survey.best[c].choice.query_ns < survey.best[best].choice.query_ns))
            best = c;
    const ki_choice exact = {.plan = q->exact, .recall = 1, .query_ns = survey.has_exact ? survey.exact_ns : 0};
    const int beaten = best >= 0 && survey.has_exact && survey.exact_ns <= survey.best[best].choice.query_ns;
    const int exactly = !q->must_be_ivf && (best < 0 || beaten);
    if (exactly)
        take_exact(q, exact.query_ns, best < 0 ? "chosen: nothing measured reaches the target" : "chosen: cheapest",
                   answer);
    else if (best >= 0)
        take_ivf(q, &survey.best[best], "chosen: cheapest that reaches the target", answer);
    else if (survey.has_short)
        take_ivf(q, &survey.nearest, "chosen: nearest to the target", answer);
    if (!exactly) consider(answer, exact, q->must_be_ivf ? "not asked for" : "costs more");
    for (int c = 0; c < CODES; c++)
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
    else
        weigh(q, k, answer);
}
