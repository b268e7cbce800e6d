/* SPDX-License-Identifier: Apache-2.0
 *
 * Calibrations of segments: what their plans find and cost. What is made of segments that have none takes its place
 * without one, and searches of it are exact; it is measured later, in the background. What is made of others is
 * measured by its build, and they go on meanwhile: so a search with a target recall gets slower at no time. Lists that
 * were made in haste are measured at once, with few queries, whose larger error is kept back by the planner.
 *
 * What is kept of it is log/measured.h's. */
#ifndef KI_UPKEEP_CALIBRATE_H
#define KI_UPKEEP_CALIBRATE_H

#include "upkeep/seal.h"

/* Measuring takes as long as half of a build, and what it saves a search grows with the rows. From here on kith_build()
 * makes a graph (build/graph.c), and a graph that nobody measured is searched by nobody. */
enum { KI_CALIBRATED_FROM = 20000 };

/* Whether a segment waits to be measured; measuring one. *done: there was none. */
int ki_calibrate_wanted(const kith_collection *collection, const ki_snapshot *snapshot);
/* Measure the lists of what a job made in haste, or of few rows, with few queries: job->sealed, which nobody else has yet. */
kith_status ki_calibrate_hastily(ki_job *job, kith_error *error);
kith_status ki_calibrate(kith_collection *collection, ki_watch *watch, int *done, kith_error *error);

#endif
