/* SPDX-License-Identifier: Apache-2.0 */
#include "search/planner.h"

#include "base/checked.h"
#include "kernel/tile.h"

#include <math.h>

enum { CAREFUL = 4, CODES = KITH_SCAN_ROWS + 1 };

double ki_gather_ns(size_t dim, size_t queries) {
    return queries < KI_GATHER_BATCH ? 20 + (double)dim / 5 : 18 + (double)dim / 32;
}

double ki_plain_ns(size_t dim, size_t row_bytes, size_t queries) {
    return queries < KI_GATHER_BATCH ? 4 + (double)row_bytes / 10 : 4 + (double)dim / 20;
}

double ki_scan_ns(size_t dim, double survivors, size_t queries) {
    return (queries < KI_GATHER_BATCH ? 7 : 1.5) + survivors * ki_gather_ns(dim, queries);
}

double ki_begin_ns(size_t lists, size_t queries) {
    return queries < KI_GATHER_BATCH ? 40000 + 45 * (double)lists : 5000 + 3 * (double)lists;
}

double ki_filtered_survivors(uint64_t allowed) {
    return 2.5 * fmin(fmin(20 * sqrt((double)allowed), 2000), (double)allowed);
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

/* The calibrated k that stands for another, 0: none does. A tenth more neighbours, such as a self-join's that finds
 * each vector itself, change recall by less than it is measured to. */
static size_t calibrated_for(const ki_calibration *c, double k) {
    for (size_t i = 0; i < c->count; i++)
        if ((double)(c->settings[i].k + c->settings[i].k / 10) >= k) return c->settings[i].k;
    return 0;
}

static size_t largest_k(const ki_calibration *c) {
    return c->count ? c->settings[c->count - 1].k : 0;
}

static size_t calibrated_k(const ki_question *q) {
    const size_t k = calibrated_for(q->calibration, (double)q->k);
    return k || !q->must_be_ivf ? k : largest_k(q->calibration);
}

/* ---- Filters (P3) ------------------------------------------------------------------------------------------------ */

static double share_of(const ki_question *q) {
    if (q->allowed >= q->rows) return 1;
    return (double)(q->allowed ? q->allowed : 1) / (double)q->rows;
}

/* The rank among all vectors that the last of the question's neighbours has, about. */
static double rank_of(const ki_question *q) {
    return ceil((double)q->k / share_of(q));
}

/* Lists and candidates for what a filter leaves, with `growth` times the lists of the setting; false: more than pay. */
static int heed_filter(const ki_question *q, const kith_tuned *first, double growth, struct setting *s) {
    const double share = share_of(q), rank = fmin(rank_of(q), 1e9);
    if (share >= 1) return 1;
    if (s->choice.code == KITH_SCAN_LEVELS && !q->must_be_ivf) return 0;
    const double wanted = ceil((double)first->nprobe * growth);
    if (wanted > (double)q->lists / 2 && !q->must_be_ivf) return 0;
    const double among = share * (double)scale_rerank(first, (size_t)rank);
    const double rerank = fmax((double)q->k, ceil(among + 2 * sqrt(among)));
    s->choice.nprobe = wanted < (double)q->lists ? (size_t)wanted : q->lists;
    s->choice.rerank = rerank < 4.0 * KITH_K_MAX ? (size_t)rerank : 4 * KITH_K_MAX;
    s->choice.query_ns *= (double)s->choice.nprobe / (double)first->nprobe;
    return 1;
}

/* What a vector costs that is read by itself: as ki_gather_ns() has it, or more where this machine's scans say that
 * bytes cost more; scattered ones half as much again as those in a row. exact_ns: of a scan of all, 0: not known. */
static double row_ns(const ki_question *q, double exact_ns) {
    const double own = ki_gather_ns(q->dim, q->count);
    return q->scan_bytes > 0 ? fmax(own, 1.5 * exact_ns / (double)q->rows * q->row_bytes / q->scan_bytes) : own;
}

/* The share of queries that a filter which follows places leaves thin: as far as what it allows lies in fewer blocks
 * than chance would have it, those whose own place is elsewhere. They are scanned exactly after all. */
static double thin_share(const ki_question *q) {
    const double share = share_of(q), by_chance = 1 - pow(1 - share, KI_BLOCK);
    return fmax(0, 1 - q->touched / by_chance) * (1 - share);
}

/* The code whose settings tell which lists hold what a scan of rows finds: it looks at second lists where there are
 * some. Without, all codes tell the same. */
static int tells_rows(const ki_question *q, kith_scan_code code) {
    return q->second_lists == KITH_SCAN_AUTO || q->second_lists == code;
}

/* The setting of KITH_SCAN_ROWS that a measured one tells of. */
static struct setting rows_setting(const ki_question *q, const struct setting *s, const kith_tuned *first,
                                   double exact_ns) {
    const double met_twice = q->second_lists == KITH_SCAN_AUTO ? 1 : 1.8;
    const double rows = (double)s->choice.nprobe * (double)q->rows / (double)q->lists * met_twice * share_of(q);
    struct setting made = *s;
    made.choice.code = KITH_SCAN_ROWS;
    made.choice.rerank = q->k;
    made.choice.recall = fmin(1, first->recall + first->lost);
    made.choice.query_ns = ki_begin_ns(q->lists, q->count) + rows * row_ns(q, exact_ns);
    made.safe = made.choice.recall - (first->recall - safe_recall(first, first->k, q->target));
    return made;
}

static int same_setting(const kith_tuned *a, const kith_tuned *b) {
    return a->k == b->k && a->plan == b->plan && a->code == b->code && a->nprobe == b->nprobe && a->rerank == b->rerank;
}

/* What the search has gathered about the settings of one k. */
struct survey {
    int has_best[CODES], has_short, has_exact;
    struct setting best[CODES]; /* the cheapest of each code that reaches the target */
    struct setting nearest;     /* the one of largest safe recall that does not */
    double exact_ns, scan_ns;   /* of the exact plan; of the measured one without a filter, 0: none was */
    double growth;              /* times the lists that settings were measured with */
    double thin, thin_ns;       /* the share of thin queries, and what one costs */
};

static double with_thin_ns(const struct survey *survey, double query_ns) {
    return (1 - survey->thin) * query_ns + survey->thin * survey->thin_ns;
}

static void look_at(const ki_question *q, const struct setting *s, struct survey *survey) {
    if (q->code != KITH_SCAN_AUTO && q->code != s->choice.code) return;
    if (s->safe < q->target) {
        if (!survey->has_short || s->safe > survey->nearest.safe) survey->nearest = *s;
        survey->has_short = 1;
        return;
    }
    struct setting *best = &survey->best[s->choice.code];
    if (!survey->has_best[s->choice.code] || s->choice.query_ns < best->choice.query_ns) *best = *s;
    survey->has_best[s->choice.code] = 1;
}

/* The settings first..end, which differ by batch alone. */
static void look_at_one(const ki_question *q, const kith_tuned *first, const kith_tuned *end, struct survey *survey) {
    if (first->plan != KITH_PLAN_IVF || first->nprobe > q->lists) return;
    struct setting s = {.choice = {.plan = KITH_PLAN_IVF,
                                   .code = first->code,
                                   .nprobe = first->nprobe,
                                   .rerank = scale_rerank(first, q->k),
                                   .recall = recall_at(first, q->k),
                                   .query_ns = cost_of(first, end, q->count)},
                        .safe = safe_recall(first, q->k, q->target)};
    if (share_of(q) < 1) { /* those of a rank beyond the measured k are as those of the k that it stands for */
        const size_t k = rank_of(q) < (double)first->k ? (size_t)rank_of(q) : first->k;
        s.choice.recall = recall_at(first, k);
        s.safe = safe_recall(first, k, q->target);
    }
    if (!heed_filter(q, first, survey->growth, &s)) return;
    struct setting rows = rows_setting(q, &s, first, survey->scan_ns);
    if (share_of(q) < 1) s.choice.query_ns = with_thin_ns(survey, s.choice.query_ns);
    look_at(q, &s, survey);
    if (share_of(q) >= 1 || !(q->row_bytes > 0) || !tells_rows(q, first->code)) return;
    rows.choice.query_ns = with_thin_ns(survey, rows.choice.query_ns);
    look_at(q, &rows, survey);
}

/* Call for each setting of a k, with those that differ from it by batch alone. */
static void look_through(const ki_question *q, size_t k, struct survey *survey,
                         void look_one(const ki_question *q, const kith_tuned *first, const kith_tuned *end,
                                       struct survey *survey)) {
    const ki_calibration *c = q->calibration;
    for (size_t first = 0, end; first < c->count; first = end) {
        for (end = first + 1; end < c->count && same_setting(&c->settings[first], &c->settings[end]);) end++;
        if (c->settings[first].k == k) look_one(q, &c->settings[first], &c->settings[end], survey);
    }
}

static void look_for_scan(const ki_question *q, const kith_tuned *first, const kith_tuned *end, struct survey *survey) {
    if (first->plan != KITH_PLAN_IVF) survey->scan_ns = cost_of(first, end, q->count);
}

/* The fewest lists of a k's settings that hold what the target asks for; 0: none do. rows: whatever candidates lose. */
static size_t fewest_lists(const ki_question *q, size_t k, kith_scan_code code) {
    const ki_calibration *c = q->calibration;
    const int rows = code == KITH_SCAN_ROWS;
    size_t fewest = 0;
    for (size_t i = 0; i < c->count; i++) {
        const kith_tuned *s = &c->settings[i];
        if (s->plan != KITH_PLAN_IVF || s->k != k || (rows ? !tells_rows(q, s->code) : s->code != code)) continue;
        const double safe = safe_recall(s, ki_min_size(q->k, k), q->target) + (rows ? s->lost : 0);
        if (safe >= q->target && (!fewest || s->nprobe < fewest)) fewest = s->nprobe;
    }
    return fewest;
}

/* The power of a rank that lists grow with from one calibrated k to a larger one: that of what was measured. */
static double growth_power(const ki_question *q, size_t k, size_t larger) {
    const size_t a = fewest_lists(q, k, KITH_SCAN_ROWS), b = fewest_lists(q, larger, KITH_SCAN_ROWS);
    if (!a || !b || larger <= k) return 1;
    return fmin(1, fmax(0, log((double)b / (double)a) / log((double)larger / (double)k)));
}

/* P3: the settings of the calibrated k on both sides of the rank. Beyond the largest, lists grow halfway between the
 * power measured and proportion: neighbours that fill many lists need as many. */
static void look_around(const ki_question *q, struct survey *survey) {
    const ki_calibration *c = q->calibration;
    const double rank = rank_of(q);
    const size_t above = calibrated_for(c, rank);
    size_t below = 0, before = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->settings[i].k != below && (!above || c->settings[i].k < above)) {
            before = below;
            below = c->settings[i].k;
        }
    survey->growth = 1;
    if (above) look_through(q, above, survey, look_at_one);
    if (!below || rank > 1e9) return;
    const double power =
        above ? growth_power(q, below, above) : (1 + growth_power(q, before ? before : below, below)) / 2;
    survey->growth = pow(fmax(1, rank / (double)below), power);
    look_through(q, below, survey, look_at_one);
}

static void look(const ki_question *q, size_t k, struct survey *survey) {
    survey->growth = 1;
    look_through(q, k, survey, look_for_scan);
    survey->has_exact = survey->scan_ns > 0 || q->exact == KITH_PLAN_GATHER;
    survey->exact_ns = survey->scan_ns;
    if (share_of(q) >= 1) {
        look_through(q, k, survey, look_at_one);
        return;
    }
    survey->thin = thin_share(q);
    /* What lies together is read as a scan reads. */
    const double row = row_ns(q, survey->scan_ns * (1 - survey->thin / 3));
    survey->exact_ns = q->exact == KITH_PLAN_GATHER ? row * (double)q->allowed
                                                    : ki_begin_ns(q->lists, q->count) + q->touched * survey->scan_ns +
                                                          row * ki_filtered_survivors(q->allowed);
    survey->thin_ns = 2 * ki_begin_ns(q->lists, q->count) + survey->exact_ns; /* with a threshold from lists */
    look_around(q, survey);
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

static void take_ivf(const ki_question *q, size_t k, const struct setting *s, const char *why, ki_answer *answer) {
    answer->chosen = s->choice;
    answer->chosen.why = why;
    consider(answer, s->choice, why);
    answer->careful_below = q->calibration->unusual_below;
    answer->careful_nprobe = ki_min_size(CAREFUL * s->choice.nprobe, q->lists);
    if (q->allowed >= q->rows) return;
    answer->presumed = (double)q->allowed / (double)q->rows;
    answer->least_nprobe = ki_min_size(fewest_lists(q, k, s->choice.code), s->choice.nprobe);
    if (!answer->least_nprobe) answer->least_nprobe = s->choice.nprobe;
}

/* Whether all that a filter leaves is scored before another plan would have begun well. */
static int is_little(const ki_question *q) {
    return q->exact == KITH_PLAN_GATHER && !q->must_be_ivf &&
           ki_gather_ns(q->dim, q->count) * (double)q->allowed <= 2 * ki_begin_ns(q->lists, q->count);
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
        take_ivf(q, k, &survey.best[best], "chosen: cheapest that reaches the target", answer);
    else if (survey.has_short)
        take_ivf(q, k, &survey.nearest, "chosen: nearest to the target", answer);
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
    else if (is_little(q))
        take_exact(q, ki_gather_ns(q->dim, q->count) * (double)q->allowed, "chosen: cheapest", answer);
    else
        weigh(q, k, answer);
}
