/* SPDX-License-Identifier: Apache-2.0
 *
 * What a way of choosing the number of servers would have done with recorded traffic: every call of it is queued in a
 * model of the servers and its time taken.
 *
 * The model: a server has `threads` that work at the same time, and calls wait for them in the order they came. A call
 * takes half of service_ms and another half on average, exponentially distributed. It goes to the server with less to
 * do of two drawn by chance, as a front with the policy latency does. One that would have to wait longer than shed_ms
 * is refused at once, as a full queue does. A server that is asked for answers start_s later, and costs from the
 * beginning; one that is let go gets no more calls and costs no more, and ends what it has.
 *
 * What the model leaves out: caches that are cold at first, calls that cost more than others for a reason, and that
 * servers share a machine. The same file and options give the same figures, on every machine. */
#ifndef KITH_SERVER_FLEET_SIMULATE_H
#define KITH_SERVER_FLEET_SIMULATE_H

#include "fleet/arrivals.h"
#include "fleet/scale.h"

typedef struct ks_model {
    double service_ms; /* of a call */
    unsigned threads;  /* of a server, 1 to 256 */
    double start_s;    /* until a new server answers */
    double shed_ms;    /* calls that would wait longer are refused */
    double late_ms;    /* later answers, and refusals, miss what was promised */
    double interval_s; /* between looks */
    uint64_t seed;
} ks_model;

/* 5 ms; 2 threads; 30 s; 1,000 ms; 100 ms; 15 s. */
ks_model ks_model_defaults(void);
const char *ks_model_check(const ks_model *model); /* NULL, or what is wrong: a sentence; static */

enum { KS_INTERVALS_MAX = 1 << 22 };

/* The load: calls of each interval. */
typedef struct ks_load {
    uint32_t *calls;
    size_t count;
    uint64_t all;
} ks_load;

kith_status ks_load_read(ks_arrivals *arrivals, const ks_model *model, ks_load *load, kith_error *error);
void ks_load_free(ks_load *load);
/* Servers that would be busy to the wanted share in an interval, not rounded. */
double ks_load_servers(const ks_load *load, const ks_model *model, const ks_scale_options *scale, size_t interval);

/* Who chooses. */
typedef enum ks_chooser {
    KS_CHOOSE_SCALE,  /* the controller of scale.h */
    KS_CHOOSE_FIXED,  /* always so many */
    KS_CHOOSE_ORACLE, /* knows each interval's load before it comes, and starts servers in time */
} ks_chooser;

typedef struct ks_outcome_of_run {
    double p50_ms, p99_ms, p999_ms; /* of calls that were answered */
    uint64_t calls, refused, late;  /* late: answered, but too late */
    double server_hours, mean;      /* mean servers that cost */
    unsigned most;
    uint64_t changes, flaps; /* a flap: more again within steady_s of fewer */
    uint16_t *servers;       /* that were wanted, an interval; load->count of them, the caller's to free */
} ks_outcome_of_run;

/* fixed: of KS_CHOOSE_FIXED. */
kith_status ks_simulate(ks_arrivals *arrivals, const ks_load *load, const ks_model *model,
                        const ks_scale_options *scale, ks_chooser chooser, unsigned fixed, ks_outcome_of_run *outcome,
                        kith_error *error);

#endif
