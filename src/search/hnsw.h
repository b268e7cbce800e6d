/* SPDX-License-Identifier: Apache-2.0
 *
 * The row of plan hnsw (plans.h): a walk over the index's HNSW a query; a filter's walks pass through all vectors.
 *
 * H1. min(k, allowed) results always: a query whose walk met fewer is searched exactly.
 * H2. So is one that a filter has made look at more vectors than it lets through: those are scored sooner. */
#ifndef KI_SEARCH_HNSW_H
#define KI_SEARCH_HNSW_H

#include "search/plans.h"

const char *ki_search_hnsw_obstacle(const ki_plan_case *at);
void ki_search_hnsw_prepare(ki_job *job, const kith_search_options *options);
kith_status ki_search_hnsw_run(ki_job *job);
void ki_search_hnsw_explain(const ki_job *job, kith_explain *explain);

#endif
