/* SPDX-License-Identifier: Apache-2.0
 *
 * Which backend a call goes to.
 *
 *   round robin   smooth weighted round robin: each gains its weight, the richest goes and pays all weights
 *   least load    fewest calls under way by weight; among equals, one by chance
 *   latency       of two drawn by weight, the one where less is to be expected: peak EWMA x (calls under way + 1). Two
 *                 choices balance nearly as well as all (Mitzenmacher 2001), and without the herd that a single best
 *                 one would have; the peak average is finagle's.
 *
 * 1. No clock and no random source but the caller's: whoever calls says what time it is, and the seed is in the set.
 * 2. A backend without weight gets no call, unless none has any: then each may be tried (panic), since being wrong
 *    about all of them is likelier than that all are gone. */
#ifndef KITH_SERVER_FLEET_BALANCE_H
#define KITH_SERVER_FLEET_BALANCE_H

#include <stddef.h>
#include <stdint.h>

#include "fleet/budget.h"
#include "fleet/health.h"
#include "fleet/latency.h"

enum { KS_BACKENDS_MAX = 64 }; /* a bit each */

typedef enum ks_policy { KS_ROUND_ROBIN = 0, KS_LEAST_LOAD, KS_LATENCY } ks_policy;

typedef enum ks_outcome {
    KS_CAME_GOOD = 0, /* answered, with whatever status says that the server is well */
    KS_CAME_BUSY,     /* 429 and 503: it is well, and has too much to do */
    KS_CAME_BAD,      /* 500, 502, 504, refused, broken off, too late */
    KS_CAME_STOPPED   /* by us: another was faster, or the client has gone. It took at least so long */
} ks_outcome;

enum { KS_OUTCOMES = 4 };

typedef struct ks_peer {
    ks_health health;
    ks_latency latency;
    unsigned under_way;
    double riches;                  /* of round robin */
    uint64_t outcomes[KS_OUTCOMES]; /* so far */
    uint64_t took_ns;               /* sum */
    uint64_t times_out, times_dead;
} ks_peer;

typedef struct ks_set {
    ks_policy policy;
    ks_health_options health;
    uint64_t random; /* the seed, then the state */
    size_t count;
    ks_peer peers[KS_BACKENDS_MAX];
    uint64_t panics; /* calls that went out with nobody fit */
} ks_set;

void ks_set_start(ks_set *set, ks_policy policy, size_t count, uint64_t seed, uint64_t now_ns);
/* SIZE_MAX: all are in `except` (a bit each), or those that are not are unfit while others are fit. */
size_t ks_set_pick(ks_set *set, uint64_t except, uint64_t now_ns);
/* A call goes to a peer; it came to something. */
void ks_set_began(ks_set *set, size_t peer);
void ks_set_ended(ks_set *set, size_t peer, ks_outcome outcome, uint64_t took_ns, uint64_t now_ns);
/* What a probe came to. Whether the state changed. */
int ks_set_probed(ks_set *set, size_t peer, int good, uint64_t now_ns);
/* Time has passed: those that were put out for a time come back. A bit for each that did. */
uint64_t ks_set_tick(ks_set *set, uint64_t now_ns);
size_t ks_set_fit(const ks_set *set);

#endif
