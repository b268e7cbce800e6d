/* SPDX-License-Identifier: Apache-2.0
 *
 * A front: a server that answers nothing by itself, but forwards calls to backends, which hold the same collections.
 *
 * One thread of its own has all connections to backends and decides everything (balance.h); calls are handed to it, and
 * ended from it. Reads go to whichever backend the policy says; one that fails is tried once at another, and one that
 * takes longer than 95 % of that backend's calls do is asked of another too, whose answer wins if it is the first: both
 * within budgets, a share of the calls, since a fleet in trouble must not get more work for being in trouble.
 *
 * Backends do not copy writes to each other. So a front with several takes none, unless one backend is named that they
 * all go to; whoever names it sees to it that the others follow.
 *
 * Answers are held until they are whole, up to answer_max bytes each, since only then is it known whether another must
 * be asked. */
#ifndef KITH_SERVER_FLEET_FLEET_H
#define KITH_SERVER_FLEET_FLEET_H

#include "fleet/balance.h"
#include "http/call.h"

typedef struct ks_fleet ks_fleet;

typedef struct ks_fleet_options {
    const char *backends; /* "http://a:6333,http://b:6333"; a name with several addresses is as many backends */
    const char *file;     /* or a file with one a line ("#" begins a remark), which ks_fleet_reload() reads again */
    const char *write_to; /* the one of them that writes go to; NULL: with several, writes are refused */
    ks_policy policy;
    uint64_t connect_ms;    /* 0: 1,000 */
    uint64_t probe_ms;      /* between looks at /readyz, and their patience; 0: 1,000 */
    uint64_t resolve_ms;    /* between looks at the addresses of names; 0: 10,000 */
    double retry_share;     /* of calls that may be tried again; 0: 0.2; below 0: none */
    double hedge_share;     /* of reads that may be asked twice; 0: 0.05; below 0: none */
    size_t calls_max;       /* at once; 0: 10,000; beyond, 503 */
    size_t connections_max; /* to a backend; 0: 1,024 */
    size_t answer_max;      /* bytes; 0: 64 MiB */
    size_t answers_max;     /* bytes of all that are held; 0: 512 MiB */
    uint64_t seed;          /* of chance; 0: from the clock */
    /* NULL, or told, in a sentence, when backends come and go. Any thread. */
    void (*tell)(void *context, int trouble, const char *sentence);
    void *tell_context;
} ks_fleet_options;

/* Options are copied. KITH_E_ARG, KITH_E_FORMAT (a line of the file), KITH_E_NOTFOUND (a name without address). */
kith_status ks_fleet_start(const ks_fleet_options *options, ks_fleet **fleet, kith_error *error);
/* Ends what is under way with 503 and waits for the thread. NULL is fine. */
void ks_fleet_stop(ks_fleet *fleet);
/* Read the file and look names up again; backends that stay keep what is known of them. On failure all stays as it is.
 * Blocks; any thread. */
kith_status ks_fleet_reload(ks_fleet *fleet, kith_error *error);

/* Forward a call; it is ended when an answer is there. What a handler of every method and path does. */
void ks_fleet_send(ks_fleet *fleet, ks_call *call);
/* Errors as the path's API writes them: /v1 or Qdrant's. Of ks_family.fail. */
void ks_fleet_fail(ks_call *call, int status, const char *sentence);

typedef struct ks_fleet_state {
    size_t backends, fit;
    uint64_t under_way, retries, retries_refused, hedges, hedges_refused, hedges_won, panics;
} ks_fleet_state;
void ks_fleet_state_of(ks_fleet *fleet, ks_fleet_state *state);
/* kith_backend_* and kith_fleet_*, as Prometheus reads them; open: OpenMetrics, whose families lack "_total". */
void ks_fleet_metrics(ks_fleet *fleet, ks_text *text, int open);

#endif
