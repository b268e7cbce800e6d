/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan device: exact, and not always there.
 *
 * Where the caller demands it, it is taken for everything that it can answer, and its failures are the caller's. Where
 * he leaves it to us, a call is searched on both once for each size of batch, by the clock; from then on the faster one
 * is taken, and a device that fails leaves its work to the processor. */
#ifndef KI_SEARCH_DEVICE_H
#define KI_SEARCH_DEVICE_H

#include "search/plans.h"

const char *ki_search_device_obstacle(const ki_plan_case *at);
double ki_search_device_ns(const ki_plan_case *at);
kith_status ki_search_device_run(ki_job *job);

/* Whether devices scan the lists of plan ivf: where they are demanded, and hold them. */
int ki_search_device_takes_lists(const ki_job *job);

/* Whether this call is to be searched on both. */
int ki_search_device_is_tried(const ki_plan_case *at);

/* What devices change in a question: demanded ones are asked for what they can do alone. */
void ki_search_device_ask(const ki_plan_case *at, unsigned threads, ki_question *question);

/* The exact plan for queries that another plan leaves: devices only where a failure is the caller's. */
kith_plan ki_search_device_rest(const ki_job *job, kith_plan exact);

/* After a failure: fill *error if it was the device's; 0: it was not. */
int ki_search_device_fail(const ki_job *job, kith_status status, kith_error *error);

#endif
