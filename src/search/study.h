/* SPDX-License-Identifier: Apache-2.0
 *
 * What a filter does to the plans, measured: some of the queries that are asked with it are searched exactly, and by
 * the plans that compete at a few settings each. What these find and cost takes the place of the index's calibration,
 * which was measured without a filter, for all further searches with this one (planner.h P3). So nothing needs to be
 * assumed about how a filter's vectors lie, nor where its callers' queries do.
 *
 * S1. A study begins when all of them are thought to come to a quarter of what searches with the filter have taken, or
 *     the present one is going to, and what they took counts: a filter that is used a few times pays nothing. Where
 *     searches have taken four times as much it is studied again, with more and with other queries.
 * S2. A study ends after TOO_LONG times what was thought or after DEAREST_NS, and is thought to take a fourth of a
 *     search's time limit at most. If it ends so behind searches it is dropped, since there is another time for it; what
 *     a search learned is kept. Its memory is what its queries take.
 * S3. Queries are kept from when half of a first study is paid for: some of each call, in the place of older ones.
 *
 * Any thread; see index/filter_notes.h. */
#ifndef KI_SEARCH_STUDY_H
#define KI_SEARCH_STUDY_H

#include "search/job.h"

/* What the planner answers to a question, from the filter's study where there is one. ask: how it is asked. */
typedef const ki_answer *ki_ask_fn(kith_scratch *scratch, const ki_question *question);
const ki_answer *ki_study_answer(const ki_job *job, const ki_question *question, ki_ask_fn *ask);

/* Study the filter if that pays, where the question has this answer; 0: it was not. */
int ki_study_make(const ki_job *job, const kith_search_options *options, const ki_question *question,
                  const ki_answer *answer);

/* A search that the planner planned has taken so long. */
void ki_study_count(const ki_job *job, uint64_t ns);

#endif
