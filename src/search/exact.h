/* SPDX-License-Identifier: Apache-2.0
 *
 * The exact plans over a segment: the work cut into pieces for the pool.
 *
 * Many queries: a piece is a group of queries over all blocks, and writes its own rows of the output. Few queries: a
 * piece is a range of blocks for all queries, the ranges tell each other their thresholds, and their hits are merged at
 * the end. Either way a worker uses its own desk. */
#ifndef KI_SEARCH_EXACT_H
#define KI_SEARCH_EXACT_H

#include "search/job.h"

/* Run an exact plan for queries first..first+count, with job->search as it is. */
kith_status ki_exact_run(ki_job *job, size_t first, size_t count);

/* Hits of one query in all ranges of its group, gathered into scratch->merged; the count, or SIZE_MAX on no memory. For
 * jobs whose hits are kept: range searches, and queries whose blocks were shared out. */
size_t ki_exact_gather(const ki_job *job, size_t query);

#endif
