/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan pq: the second code of every vector is scanned, and the best are scored by the defining kernel [Jegou,
 * Douze, Schmid 2011]. The ivf plan's rounds do it: with one list over strips of it (ivf.h V7), with several over all
 * of them.
 *
 * Constant: any thread. */
#ifndef KI_SEARCH_PQ_H
#define KI_SEARCH_PQ_H

#include "search/plans.h"

const char *ki_pq_plan_obstacle(const ki_plan_case *at);
void ki_pq_plan_prepare(ki_job *job, const kith_search_options *options);
void ki_pq_plan_explain(const ki_job *job, kith_explain *explain);

#endif
