/* SPDX-License-Identifier: Apache-2.0 */
#include "search/settings.h"

#include "base/checked.h"

#include <math.h>

/* Numbers of candidates that one code was measured with. */
enum { RERANKS = 8 };

/* Lists and candidates for what a filter leaves, with survey->growth times the lists of the setting; false: more than
 * pay. */
static int heed_filter(const ki_question *q, const kith_tuned *measured, double growth, ki_setting *s) {
    const double share = ki_share_of(q), rank = fmin(ki_rank_of(q), 1e9);
    const int must = q->must == KITH_PLAN_IVF;
    if (share >= 1) return 1;
    if (s->choice.code == KITH_SCAN_LEVELS && !must) return 0;
    const double wanted = ceil((double)measured->nprobe * growth);
    if (wanted > (double)q->lists / 2 && !must) return 0;
    const double among = share * (double)ki_setting_rerank(measured, (size_t)rank);
    const double rerank = fmax((double)q->k, ceil(among + 2 * sqrt(among)));
    s->choice.fewer = 0;
    s->choice.nprobe = wanted < (double)q->lists ? (size_t)wanted : q->lists;
    s->choice.rerank = rerank < 4.0 * KITH_K_MAX ? (size_t)rerank : 4 * KITH_K_MAX;
    s->choice.query_ns *= (double)s->choice.nprobe / (double)measured->nprobe;
    return 1;
}

/* The code whose settings tell which lists hold what a scan of rows finds: it looks at second lists where there are
 * some. Without, all codes tell the same. */
static int tells_rows(const ki_question *q, kith_scan_code code) {
    return q->second_lists == KITH_SCAN_AUTO || q->second_lists == code;
}

/* What a list costs a query whose allowed vectors are scored by themselves. Its own and those whose second list it is,
 * of which four in five were not met before, are each scored by fours, so that few of them cost as many more. They come
 * from memory for the first query that probes the list, and from the cache for others. */
static double rows_list_ns(const ki_question *q, size_t nprobe, const ki_survey *survey) {
    static const double MEETING_NS = 40;
    const double allowed = (double)q->rows / (double)q->lists * ki_share_of(q), twice = allowed * 0.8;
    const double share_a_list = fmax(1, (double)q->count * (double)nprobe / (double)q->lists);
    const double together_ns = ki_row_ns(q, survey->scan_ns);
    const double alone_ns = fmax(fmax(together_ns, ki_gather_ns(q->dim, 1)), ki_row_ns(q, survey->scan_alone_ns));
    const double row_ns = together_ns + (alone_ns - together_ns) / share_a_list;
    const double own_ns = MEETING_NS + row_ns * allowed + together_ns * 1.5 * (1 - exp(-allowed));
    if (q->second_lists == KITH_SCAN_AUTO) return own_ns;
    return own_ns + MEETING_NS + row_ns * twice + together_ns * 1.5 * (1 - exp(-twice));
}

/* The setting of KITH_SCAN_ROWS that a measured one tells of. */
static ki_setting rows_setting(const ki_question *q, const ki_setting *s, const kith_tuned *measured,
                               const ki_survey *survey) {
    ki_setting made = *s;
    made.choice.code = KITH_SCAN_ROWS;
    made.choice.rerank = q->k;
    made.choice.recall = fmin(1, measured->recall + measured->lost);
    made.choice.query_ns =
        ki_begin_ns(q->lists, q->count) + (double)s->choice.nprobe * rows_list_ns(q, s->choice.nprobe, survey);
    made.safe = made.choice.recall - (measured->recall - ki_setting_safe(q, measured, measured->k));
    return made;
}

static double with_thin_ns(const ki_survey *survey, double query_ns) {
    return (1 - survey->thin) * query_ns + survey->thin * survey->thin_ns;
}

/* With a filter neighbours of a rank beyond the measured k are as those of the k that it stands for. */
static size_t k_of(const ki_question *q, const kith_tuned *s) {
    if (ki_share_of(q) >= 1) return q->k;
    return ki_rank_of(q) < (double)s->k ? (size_t)ki_rank_of(q) : s->k;
}

static void look_at(const ki_question *q, const kith_tuned *measured, double fewer, ki_survey *survey) {
    const size_t k = k_of(q, measured);
    ki_setting s = {.choice = {.plan = KITH_PLAN_IVF,
                               .code = measured->code,
                               .nprobe = measured->nprobe,
                               .rerank = ki_setting_rerank(measured, q->k),
                               .fewer = fewer,
                               .recall = ki_setting_recall(measured, k),
                               .query_ns = measured->query_ns},
                    .safe = ki_setting_safe(q, measured, k)};
    if (!heed_filter(q, measured, survey->growth, &s)) return;
    ki_setting rows = rows_setting(q, &s, measured, survey);
    if (ki_share_of(q) < 1) s.choice.query_ns = with_thin_ns(survey, s.choice.query_ns);
    ki_survey_take(q, &s, survey);
    if (ki_share_of(q) >= 1 || !(q->row_bytes > 0) || !tells_rows(q, measured->code)) return;
    rows.choice.query_ns = with_thin_ns(survey, rows.choice.query_ns);
    ki_survey_take(q, &rows, survey);
}

/* P4: what lies between a setting that falls short and one that does not. */
static void look_between(const ki_question *q, const kith_tuned *low, const kith_tuned *high, ki_survey *survey) {
    const double low_safe = ki_setting_safe(q, low, k_of(q, low));
    const double high_safe = ki_setting_safe(q, high, k_of(q, high));
    if (!(low_safe < q->target) || !(high_safe >= q->target) || (!q->studied && !ki_setting_precise(high))) return;
    kith_tuned s;
    const double fewer = ki_setting_between(low, low_safe, high, high_safe, q->target, &s);
    look_at(q, &s, fewer, survey);
}

/* All settings of a k. They ascend by code, lists and candidates: the last of as many candidates has fewer lists. */
static void look_through(const ki_question *q, size_t k, ki_survey *survey) {
    const ki_calibration *c = q->calibration;
    kith_tuned last[RERANKS];
    size_t lasts = 0;
    for (size_t first = 0, end; first < c->count; first = end) {
        const kith_tuned s = ki_setting_at(q, first, &end);
        if (s.k != k || s.plan != KITH_PLAN_IVF || s.nprobe > q->lists) continue;
        if (lasts && last[0].code != s.code) lasts = 0;
        look_at(q, &s, 0, survey);
        size_t place = 0;
        while (place < lasts && last[place].rerank != s.rerank) place++;
        if (place < lasts) look_between(q, &last[place], &s, survey);
        if (place < RERANKS) last[place] = s;
        if (place == lasts && lasts < RERANKS) lasts++;
    }
}

size_t ki_fewest_lists(const ki_question *q, size_t k, kith_scan_code code) {
    const ki_calibration *c = q->calibration;
    const int rows = code == KITH_SCAN_ROWS; /* whatever candidates lose */
    size_t fewest = 0;
    for (size_t i = 0; i < c->count; i++) {
        const kith_tuned *s = &c->settings[i];
        if (s->plan != KITH_PLAN_IVF || s->k != k || (rows ? !tells_rows(q, s->code) : s->code != code)) continue;
        const double safe = ki_setting_safe(q, s, ki_min_size(q->k, k)) + (rows ? s->lost : 0);
        if (safe >= q->target && (!fewest || s->nprobe < fewest)) fewest = s->nprobe;
    }
    return fewest;
}

/* The power of a rank that lists grow with from one calibrated k to a larger one: that of what was measured. */
static double growth_power(const ki_question *q, size_t k, size_t larger) {
    const size_t a = ki_fewest_lists(q, k, KITH_SCAN_ROWS), b = ki_fewest_lists(q, larger, KITH_SCAN_ROWS);
    if (!a || !b || larger <= k) return 1;
    return fmin(1, fmax(0, log((double)b / (double)a) / log((double)larger / (double)k)));
}

/* P3: the settings of the calibrated k on both sides of the rank. Beyond the largest, lists grow halfway between the
 * power measured and proportion: neighbours that fill many lists need as many. */
static void look_around(const ki_question *q, ki_survey *survey) {
    const ki_calibration *c = q->calibration;
    const double rank = ki_rank_of(q);
    const size_t above = ki_calibrated_for(c, rank);
    const size_t below = ki_calibrated_below(c, above ? (double)above : INFINITY);
    survey->growth = 1;
    if (above) look_through(q, above, survey);
    if (!below || rank > 1e9) return;
    const size_t before = ki_calibrated_below(c, (double)below);
    const double power =
        above ? growth_power(q, below, above) : (1 + growth_power(q, before ? before : below, below)) / 2;
    survey->growth = pow(fmax(1, rank / (double)below), power);
    look_through(q, below, survey);
}

void ki_survey_lists(const ki_question *q, size_t k, ki_survey *survey) {
    survey->growth = 1;
    if (ki_share_of(q) < 1)
        look_around(q, survey);
    else
        look_through(q, k, survey);
}
