/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a backend is fit for calls: by what calls came to (passive) and by probes of /readyz (active).
 *
 * A backend is UP, DEAD (probes failed, several in a row) or OUT (put out for a time because calls failed: several in a
 * row, or too large a share of the last seconds). Each time it goes, it stays away twice as long as before, up to a
 * bound; a long calm makes that forgotten. One that comes back begins with a tenth of its weight and gets all of it
 * over some seconds: what has just started has cold caches.
 *
 * 1. No clock is read here: whoever calls says what time it is. Times never go back.
 * 2. OUT needs the caller's leave (may_leave), who looks at the whole set; DEAD does not: nobody answers there. */
#ifndef KITH_SERVER_FLEET_HEALTH_H
#define KITH_SERVER_FLEET_HEALTH_H

#include <stdint.h>

typedef struct ks_health_options {
    unsigned failures_in_row; /* of calls */
    unsigned calls_min;       /* in the last seconds, before their share counts */
    double success_min;
    uint64_t window_ns;              /* "the last seconds" are one to two of these */
    unsigned probes_down, probes_up; /* in a row */
    uint64_t away_ns, away_max_ns;   /* the first time; at most */
    uint64_t calm_ns, slow_start_ns;
} ks_health_options;

/* Guesses, near what proxies use: 5 in a row; half of 20 calls; 3 probes down, 2 up; 1 s doubling to 60 s, forgotten
 * after 5 minutes; 10 s of slow start. */
ks_health_options ks_health_defaults(void);

typedef enum ks_health_state { KS_HEALTH_UP, KS_HEALTH_DEAD, KS_HEALTH_OUT } ks_health_state;

typedef struct ks_health {
    ks_health_state state;
    uint64_t since_ns;                          /* of the state */
    uint64_t until_ns;                          /* DEAD and OUT: not back before */
    unsigned times_away;                        /* since the last calm */
    unsigned failures, probes_bad, probes_good; /* in a row */
    int returned;                               /* it has been away: slow start counts */
    uint64_t window_began_ns;
    unsigned good[2], bad[2]; /* this window and the one before */
} ks_health;

void ks_health_start(ks_health *health, uint64_t now_ns);
/* What a call came to. Whether the backend went OUT by it. */
int ks_health_call(ks_health *health, const ks_health_options *options, int good, int may_leave, uint64_t now_ns);
/* What a probe came to. Whether the state changed. */
int ks_health_probe(ks_health *health, const ks_health_options *options, int good, uint64_t now_ns);
/* Time has passed: OUT ends. Whether the state changed. */
int ks_health_tick(ks_health *health, const ks_health_options *options, uint64_t now_ns);
/* 0: not fit; otherwise its share of a full weight, 0.1 to 1. */
double ks_health_weight(const ks_health *health, const ks_health_options *options, uint64_t now_ns);

#endif
