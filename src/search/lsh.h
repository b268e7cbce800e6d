/* SPDX-License-Identifier: Apache-2.0
 *
 * The lsh plan: queries in pieces for the pool.
 *
 * R1. min(k, allowed) results always: a query whose buckets held fewer is searched exactly. */
#ifndef KI_SEARCH_LSH_H
#define KI_SEARCH_LSH_H

#include "search/plans.h"

const char *ki_search_lsh_obstacle(const ki_plan_case *at);
void ki_search_lsh_prepare(ki_job *job, const kith_search_options *options);
kith_status ki_search_lsh_run(ki_job *job);
void ki_search_lsh_explain(const ki_job *job, kith_explain *explain);

#endif
