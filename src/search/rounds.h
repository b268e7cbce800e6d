/* SPDX-License-Identifier: Apache-2.0
 *
 * Rounds of the ivf plan. A round's queries choose lists, lists are scanned, and results finished, each step cut into
 * pieces for the pool. What they find is the answer, or else the thresholds that an exact scan starts from: the k-th
 * distance among a query's nearest lists is proven, and most often within a few percent of the final one.
 *
 * R1. min(k, allowed) results always: a query that its lists did not give so many is searched exactly.
 * R2. So is one whose lists hold clearly fewer allowed vectors than the planner presumes (planner.h P3). */
#ifndef KI_SEARCH_ROUNDS_H
#define KI_SEARCH_ROUNDS_H

#include "search/job.h"

/* Run an exact scan, from thresholds of the nearest lists where that pays. */
kith_status ki_rounds_seed(ki_job *job);

/* Run the ivf plan: what the nearest lists hold is the answer. */
kith_status ki_rounds_answer(ki_job *job);

#endif
