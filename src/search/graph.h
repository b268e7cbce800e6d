/* SPDX-License-Identifier: Apache-2.0
 *
 * The row of plan graph (plans.h): walks over the index's graph, several queries of a worker side by side.
 *
 * H1. min(k, allowed) results always: a query whose walk did not meet so many is searched exactly.
 * H2. So is one whose walk has come to so many vertices that the exact plan costs as little as going on: no query costs
 *     much more than twice the exact plan. The bound depends on the index, the filter and k alone, not on what else the
 *     call asks (graph/graph.h G1). */
#ifndef KI_SEARCH_GRAPH_H
#define KI_SEARCH_GRAPH_H

#include "search/plans.h"

const char *ki_search_graph_obstacle(const ki_plan_case *at);
void ki_search_graph_prepare(ki_job *job, const kith_search_options *options);
kith_status ki_search_graph_run(ki_job *job);
void ki_search_graph_explain(const ki_job *job, kith_explain *explain);

#endif
