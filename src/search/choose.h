/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a request asks for to the plan that answers it: the caller's word first, then the planner's. */
#ifndef KI_SEARCH_CHOOSE_H
#define KI_SEARCH_CHOOSE_H

#include "search/plans.h"

/* Set job->row, and all that the plan needs in the job. KITH_E_ARG, KITH_E_UNSUPPORTED. */
kith_status ki_choose(ki_job *job, const kith_search_options *options, kith_error *error);

#endif
