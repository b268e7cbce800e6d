/* SPDX-License-Identifier: Apache-2.0
 *
 * What a trace holds, measured from its events. */
#ifndef KITH_TRAFFIC_DESCRIBE_H
#define KITH_TRAFFIC_DESCRIBE_H

#include "tally.h"
#include "traffic.h"

/* How often each of many was seen. */
struct traffic_popularity {
    struct traffic_tally tally;
    size_t seen;        /* different ones */
    uint64_t total;     /* times */
    size_t fit_ranks;   /* that the fit used */
    double exponent;    /* of the Zipf law that fits best; NaN where there is too little */
    double top_percent; /* share of all that the first hundredth of the seen took */
    double top_tenth;
};

struct traffic_description {
    struct traffic_options options;
    struct traffic_counts counts;
    double mean_rate, peak_rate; /* events of users a second: over all, and in the busiest full hour */
    uint64_t *hours;             /* events of users in each hour */
    size_t hour_count;
    double session_mean, session_seconds; /* events, and from first to last event */
    uint32_t session_p50, session_p95, session_max;
    double gap_p50;                         /* seconds between events of a session; NaN: there are none */
    struct traffic_popularity users, items; /* users by sessions, items by views */
    uint64_t filtered_segment, filtered_topic;
    uint64_t nightly_inserts, nightly_deletes;
    uint32_t nights; /* with churn */
};

/* Called now and then; non-zero stops with KITH_E_CANCELLED. */
typedef int traffic_progress_fn(void *context, uint64_t done, uint64_t total);

/* Reads the whole trace. Errors as of traffic_reader_open and traffic_reader_next. */
kith_status traffic_describe(const char *path, traffic_progress_fn *progress, void *context,
                             struct traffic_description *description, kith_error *error);
void traffic_description_free(struct traffic_description *description); /* fine on a zeroed struct */

/* The exponent s of the bounded Zipf law under which counts[0..n-1], in descending order, are likeliest, looking only
 * at these ranks. NaN for n < 3 or equal counts of zero. */
double traffic_zipf_fit(const uint32_t *counts, size_t n);

#endif
