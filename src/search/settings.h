/* SPDX-License-Identifier: Apache-2.0
 *
 * What the planner's parts share: the settings of a calibration as one question sees them, and what was found of them.
 *
 *   settings.c       a setting's recall and cost, for another k and another batch; between two settings; filters' ranks
 *   survey_lists.c   plan ivf
 *   survey_effort.c  plans that have an effort
 *   planner.c        the choice
 *
 * Pure functions of their arguments: any thread. */
#ifndef KI_SEARCH_SETTINGS_H
#define KI_SEARCH_SETTINGS_H

#include "search/planner.h"

/* What competes: each code of plan ivf, and each plan with an effort. */
enum {
    KI_CODES = KITH_SCAN_ROWS + 1,
    KI_EFFORT_PLANS = KITH_PLAN_PQ - KITH_PLAN_GRAPH + 1,
    KI_RIVALS = KI_CODES + KI_EFFORT_PLANS
};

/* One setting, for the question's k and batch. */
typedef struct ki_setting {
    ki_choice choice;
    double safe; /* recall that may be counted on */
} ki_setting;

/* What has been gathered about the settings that a question may be answered with. */
typedef struct ki_survey {
    int has_best[KI_RIVALS], has_short, has_exact;
    ki_setting best[KI_RIVALS]; /* the cheapest of each rival that reaches the target */
    ki_setting nearest;         /* the one of largest safe recall that does not */
    double exact_ns, scan_ns;   /* of the exact plan; of the measured one without a filter, 0: none was */
    double scan_alone_ns;       /* of that, one query a call */
    double growth;              /* times the lists that settings were measured with */
    double thin, thin_ns;       /* the share of thin queries, and what one costs plan ivf */
} ki_survey;

/* ---- settings.c -------------------------------------------------------------------------------------------------- */

/* The setting that begins at settings[first]: its cost is that of the question's batch. *end: where the next begins. */
kith_tuned ki_setting_at(const ki_question *q, size_t first, size_t *end);

double ki_setting_recall(const kith_tuned *s, size_t k);                     /* P1 */
double ki_setting_safe(const ki_question *q, const kith_tuned *s, size_t k); /* P2 */

int ki_setting_precise(const kith_tuned *s); /* P2 */

/* P1: the small errors of int8 displace a neighbour by a number of ranks that grows as sqrt(k), the large ones of
 * product codes by a number that depends on k little. For more neighbours than were measured, which only a caller who
 * insists on a plan gets, in proportion. */
size_t ki_setting_rerank(const kith_tuned *s, size_t k);

/* P4: the least between two settings that is as safe as `wanted`; low is less safe than that, high is not, and they
 * differ by nprobe or by rerank. The share of queries for which nprobe less one is enough is returned. */
double ki_setting_between(const kith_tuned *low, double low_safe, const kith_tuned *high, double high_safe,
                          double wanted, kith_tuned *s);

/* The calibrated k that stands for another, 0: none does. A tenth more neighbours, such as a self-join's that finds
 * each vector itself, change recall by less than it is measured to. */
size_t ki_calibrated_for(const ki_calibration *c, double k);
/* The largest calibrated k that is less than another, 0: none is. */
size_t ki_calibrated_below(const ki_calibration *c, double k);

/* The share of vectors that a question's filter lets through, more than 0; 1 where settings were measured with it. */
double ki_share_of(const ki_question *q);
/* The rank among all vectors that the last of the question's neighbours has, about. */
double ki_rank_of(const ki_question *q);
/* The share of queries that a filter which follows places leaves thin. */
double ki_thin_share(const ki_question *q);
/* What a vector costs that is read by itself. exact_ns: of a scan of all, 0: not known. */
double ki_row_ns(const ki_question *q, double exact_ns);

/* Take a setting for the cheapest of its kind, or the nearest, if it is. */
void ki_survey_take(const ki_question *q, const ki_setting *s, ki_survey *survey);

/* ---- The surveys ------------------------------------------------------------------------------------------------- */

/* survey->scan_ns, exact_ns and what is beside it are set. k: the calibrated one. */
void ki_survey_lists(const ki_question *q, size_t k, ki_survey *survey);
void ki_survey_efforts(const ki_question *q, ki_survey *survey);

/* The fewest lists of a k's settings that hold what the target asks for; 0: none do. */
size_t ki_fewest_lists(const ki_question *q, size_t k, kith_scan_code code);

#endif
