/* SPDX-License-Identifier: Apache-2.0
 *
 * The bounded Zipf law, P(rank) proportional to rank^-exponent for rank 1..n, drawn by rejection-inversion (Hoermann
 * and Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", 1996): no table,
 * constant time, exact for every exponent >= 0 and every n, up to the rounding of doubles. */
#ifndef KITH_TRAFFIC_ZIPF_H
#define KITH_TRAFFIC_ZIPF_H

#include "draw.h"

struct traffic_zipf {
    double exponent;
    double first;    /* the integral's value where the hat over rank 1 begins */
    double shortcut; /* ranks this near above the inverted point need no test */
};

void traffic_zipf_init(struct traffic_zipf *zipf, double exponent);
/* What depends on n, 1..2^40; kept by the caller, for n may change. */
double traffic_zipf_limit(const struct traffic_zipf *zipf, uint64_t n);
/* 1..n. */
uint64_t traffic_zipf_draw(const struct traffic_zipf *zipf, uint64_t n, double limit, ki_rng *rng);

#endif
