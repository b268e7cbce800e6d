/* SPDX-License-Identifier: Apache-2.0
 *
 * What a search tells of itself. */
#ifndef KI_SEARCH_EXPLAIN_H
#define KI_SEARCH_EXPLAIN_H

#include "search/job.h"

/* Fill *out from a job that is done; start_ns: when it came. */
void ki_explain(const ki_job *job, uint64_t start_ns, kith_explain *out);

#endif
