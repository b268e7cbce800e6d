/* SPDX-License-Identifier: Apache-2.0 */
#include "search/settings.h"

#include "base/checked.h"
#include "kernel/tile.h"

#include <math.h>

/* ---- What reading vectors costs ---------------------------------------------------------------------------------- */

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

/* As ki_gather_ns() has it, or more where this machine's scans say that bytes cost more; scattered ones half as much
 * again as those in a row. */
double ki_row_ns(const ki_question *q, double exact_ns) {
    const double own = ki_gather_ns(q->dim, q->count);
    return q->scan_bytes > 0 ? fmax(own, 1.5 * exact_ns / (double)q->rows * q->row_bytes / q->scan_bytes) : own;
}

/* ---- One setting ------------------------------------------------------------------------------------------------- */

/* Cost of a batch between those of the settings first..end, which differ by batch alone. */
static double cost_of(const kith_tuned *first, const kith_tuned *end, size_t count) {
    const kith_tuned *after = first;
    while (after < end && after->batch < count) after++;
    if (after == first) return first->query_ns;
    if (after == end) return end[-1].query_ns;
    const double a = log2((double)after[-1].batch), b = log2((double)after->batch), at = log2((double)count);
    return after[-1].query_ns + (after->query_ns - after[-1].query_ns) * (at - a) / (b - a);
}

kith_tuned ki_setting_at(const ki_question *q, size_t first, size_t *end) {
    const ki_calibration *c = q->calibration;
    kith_tuned s = c->settings[first];
    size_t next = first + 1;
    while (next < c->count && ki_tuned_same(&s, &c->settings[next])) next++;
    s.query_ns = cost_of(c->settings + first, c->settings + next, q->count);
    *end = next;
    return s;
}

/* With candidates as ki_setting_rerank() has them, the share lost grows as 1/sqrt(k); a half more for safety. */
double ki_setting_recall(const kith_tuned *s, size_t k) {
    const double grown = k < s->k ? 1.5 * s->lost * (sqrt((double)s->k / (double)k) - 1) : 0;
    return s->recall > grown ? s->recall - grown : 0;
}

int ki_setting_precise(const kith_tuned *s) {
    return s->recall_error < 0.006;
}

double ki_setting_safe(const ki_question *q, const kith_tuned *s, size_t k) {
    const double errors = ki_share_of(q) < 1 || !ki_setting_precise(s) ? 1.5 : 0.75;
    const double most = (q->studied ? 0.9 : 0.5) * (1 - q->target);
    return ki_setting_recall(s, k) - fmin(errors * s->recall_error, most);
}

size_t ki_setting_rerank(const kith_tuned *s, size_t k) {
    if (!s->rerank) return 0; /* the plan's own affair */
    if (k > s->k) return (s->rerank * k + s->k - 1) / s->k;
    if (s->code == KITH_SCAN_SECOND || s->plan == KITH_PLAN_PQ) return k + s->rerank - s->k;
    return k + (size_t)ceil((double)(s->rerank - s->k) * sqrt((double)k / (double)s->k));
}

double ki_setting_between(const kith_tuned *low, double low_safe, const kith_tuned *high, double high_safe,
                          double wanted, kith_tuned *s) {
    const double part = (wanted - low_safe) / (high_safe - low_safe);
    const double lists = (double)high->nprobe - (double)low->nprobe;
    const double candidates = (double)high->rerank - (double)low->rerank;
    const double more = ceil(part * lists - 1e-9);
    *s = *high;
    s->nprobe = low->nprobe + (size_t)more;
    if (lists <= 0) s->rerank = low->rerank + (size_t)ceil(part * candidates - 1e-9);
    s->recall = low->recall + (high->recall - low->recall) * part;
    s->recall_error = low->recall_error + (high->recall_error - low->recall_error) * part;
    s->lost = low->lost + (high->lost - low->lost) * part;
    s->query_ns = low->query_ns + (high->query_ns - low->query_ns) * part;
    return fmin(1, fmax(0, more - part * lists));
}

/* ---- Numbers of neighbours --------------------------------------------------------------------------------------- */

size_t ki_calibrated_for(const ki_calibration *c, double k) {
    for (size_t i = 0; i < c->count; i++)
        if ((double)(c->settings[i].k + c->settings[i].k / 10) >= k) return c->settings[i].k;
    return 0;
}

size_t ki_calibrated_below(const ki_calibration *c, double k) {
    size_t below = 0;
    for (size_t i = 0; i < c->count && (double)c->settings[i].k < k; i++) below = c->settings[i].k;
    return below;
}

/* ---- Filters (P3) ------------------------------------------------------------------------------------------------ */

double ki_share_of(const ki_question *q) {
    if (q->allowed >= q->rows || q->studied) return 1;
    return (double)(q->allowed ? q->allowed : 1) / (double)q->rows;
}

double ki_rank_of(const ki_question *q) {
    return ceil((double)q->k / ki_share_of(q));
}

/* As far as what a filter allows lies in fewer blocks than chance would have it, queries whose own place is elsewhere
 * are thin. */
double ki_thin_share(const ki_question *q) {
    const double share = ki_share_of(q), by_chance = 1 - pow(1 - share, KI_BLOCK);
    return fmax(0, 1 - q->touched / by_chance) * (1 - share);
}

/* ---- A survey ---------------------------------------------------------------------------------------------------- */

void ki_survey_take(const ki_question *q, const ki_setting *s, ki_survey *survey) {
    const int ivf = s->choice.plan == KITH_PLAN_IVF;
    const int rival = ivf ? (int)s->choice.code : KI_CODES + (int)(s->choice.plan - KITH_PLAN_GRAPH);
    if (q->code != KITH_SCAN_AUTO && q->code != s->choice.code) return;
    if (s->safe < q->target) {
        if (!survey->has_short || s->safe > survey->nearest.safe) survey->nearest = *s;
        survey->has_short = 1;
        return;
    }
    ki_setting *best = &survey->best[rival];
    if (!survey->has_best[rival] || s->choice.query_ns < best->choice.query_ns) *best = *s;
    survey->has_best[rival] = 1;
}
