/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers of a shape, with the same bits on every machine.
 *
 * The C library's exp and log differ in their last bits between versions and processors, and one differing bit makes
 * another trace. Those here use additions, multiplications and divisions of doubles only, which IEEE 754 defines to the
 * bit, and are right to about two units in the last place. Needs a compiler that keeps doubles as doubles and fuses
 * nothing (-ffp-contract=off). */
#ifndef KITH_TRAFFIC_DRAW_H
#define KITH_TRAFFIC_DRAW_H

#include <float.h>
#include <stdint.h>

#include "base/rng.h"

_Static_assert(FLT_EVAL_METHOD == 0, "traces need doubles that are computed as doubles");

/* What a stream of random numbers is for; streams of different purpose or key do not meet. */
enum traffic_purpose {
    PURPOSE_ARRIVALS = 1,
    PURPOSE_CATALOG,
    PURPOSE_CHANGES,
    PURPOSE_SESSION,
    PURPOSE_PERMUTATION,
    PURPOSE_USER_SEGMENT,
    PURPOSE_USER_TOPIC,
    PURPOSE_USER_PHASE,
    PURPOSE_USER_VECTOR,
    PURPOSE_ITEM_PLACE,
    PURPOSE_ITEM_VECTOR,
    PURPOSE_ROW_VECTOR,
    PURPOSE_QUERY_VECTOR,
    PURPOSE_TOPIC_VECTOR
};

ki_rng traffic_stream(uint64_t seed, enum traffic_purpose purpose, uint64_t key);

/* x > 0 and normal. */
double traffic_log(double x);
/* 0 below -708, the largest double above 709. */
double traffic_exp(double x);
/* log(1 + x) / x for x > -1, and (exp(x) - 1) / x; 1 at x = 0, and exact to rounding near it. */
double traffic_log1p_over(double x);
double traffic_expm1_over(double x);

/* Mean 1. */
double traffic_exponential(ki_rng *rng);
/* exp(mu + sigma z), z about normal. */
double traffic_lognormal(ki_rng *rng, double mu, double sigma);

#endif
