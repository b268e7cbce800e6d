/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries that an approximate plan served poorly, so that they are searched exactly after it: with fewer results than
 * there are, or with reason to think that others were passed by. ki_job_write() notes them.
 *
 * One job's, by the thread that runs it; seeds are kept, and poor ones noted, by its workers side by side. */
#ifndef KI_SEARCH_POOR_H
#define KI_SEARCH_POOR_H

#include "search/job.h"

/* Be ready to note any of `count` queries; 0: out of memory. */
int ki_poor_begin(ki_job *job, size_t count);

/* Keep the threshold that a query's results prove. i: counted from the first of those at work; scratch->shared has room
 * for all of them. */
void ki_poor_seed(const ki_job *job, size_t i, const ki_hit *hits, size_t count);

/* Search those noted of the queries from `first` on in all lists, from the thresholds kept. */
kith_status ki_poor_search(ki_job *job, size_t first);

#endif
