/* SPDX-License-Identifier: Apache-2.0
 *
 * How many servers there should be, from how busy they are, how long calls wait and how many do.
 *
 * Each look at the fleet gives a wish: as many servers as would be busy to the wanted share, or more where the queue or
 * the 99th percentile is beyond its bound. A wish for more is granted at once; fewer are granted when no wish of the
 * last minutes was above that, and not too many at a time. So a burst is met in one or two looks, and a load that goes
 * up and down within minutes does not start and stop servers.
 *
 * 1. Never below min or above max. A pure function of what it is told: no clock is read.
 * 2. A wish never falls when a sample's busy, p99 or queue rises, all else equal.
 * 3. Under a load that stays, the figure settles: a ratio near 1 (tolerance) is no reason to change, and where p99 was
 *    beyond its bound at some share of busyness, that share is remembered as too much (it is forgotten over a day), so
 *    that the p99 does not ask for more, get it, and lose it again.
 * 4. Wishes are counted from servers that answer, not from those that were asked for: while they start, what is seen
 *    does not yet show them, and counting them would ask for the same help again and again. For the same reason queue and
 *    p99 say nothing at the first look after more have come: they tell of the time before. */
#ifndef KITH_SERVER_FLEET_SCALE_H
#define KITH_SERVER_FLEET_SCALE_H

#include <stdint.h>

typedef struct ks_scale_options {
    unsigned min, max;
    double busy;      /* share of their time that servers should be busy */
    double p99_ms;    /* bound; 0: none */
    double queue;     /* calls that may wait, a server; 0: no bound */
    double tolerance; /* of ratios: so near to 1 nothing is changed */
    double surge;     /* at most so many times the servers that answer, in one step */
    double drop;      /* at most such a share goes in one step */
    double steady_s;  /* fewer when fewer would have done for so long */
} ks_scale_options;

enum { KS_SCALE_SERVERS_MAX = 10000, KS_SCALE_SLOTS = 64 };

/* 1 to 10; busy 0.6; p99 no bound; 8 calls waiting; tolerance 0.1; 4 times; half; 300 s. */
ks_scale_options ks_scale_defaults(void);

/* What was seen since the last look. */
typedef struct ks_scale_sample {
    double time_s;    /* of any clock; never goes back */
    unsigned servers; /* that answer */
    double busy;      /* mean share of their time, 0 to 1 */
    double p99_ms;    /* the worst server's */
    double queue;     /* calls that wait, of all of them */
} ks_scale_sample;

typedef enum ks_scale_reason {
    KS_SCALE_STEADY = 0, /* nothing is to be changed */
    KS_SCALE_BUSY,       /* more: too busy */
    KS_SCALE_QUEUE,      /* more: too many wait */
    KS_SCALE_LATE,       /* more: p99 beyond its bound */
    KS_SCALE_IDLE,       /* fewer */
    KS_SCALE_PATIENCE,   /* fewer would do now, but not for long enough */
    KS_SCALE_NOBODY,     /* no server answers: what was wanted is kept */
    KS_SCALE_BOUNDS      /* brought within min and max */
} ks_scale_reason;

typedef struct ks_scale {
    ks_scale_options options;
    unsigned desired;
    double too_busy; /* I3; 1 when nothing was learned */
    double last_s;
    int looked;       /* a sample came */
    unsigned servers; /* of the last sample */
    int grown;        /* there are more than at the one before */
    unsigned late;    /* samples in a row with a p99 beyond its bound, while nothing changed */
    struct {
        int64_t number;
        unsigned wish;
    } slots[KS_SCALE_SLOTS]; /* the highest wish of each part of steady_s */
} ks_scale;

/* desired: what there is now. */
void ks_scale_start(ks_scale *scale, const ks_scale_options *options, unsigned desired);
/* What the sample alone asks for, within min and max. */
unsigned ks_scale_wish(const ks_scale *scale, const ks_scale_sample *sample, ks_scale_reason *reason);
/* Take a look: how many there should be now. */
unsigned ks_scale_next(ks_scale *scale, const ks_scale_sample *sample, ks_scale_reason *reason);
/* A sentence without a full stop: "servers are busier than they should be"; static. */
const char *ks_scale_reason_text(ks_scale_reason reason);
/* NULL, or what is wrong with the options: a sentence; static. */
const char *ks_scale_check(const ks_scale_options *options);

#endif
