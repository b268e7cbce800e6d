/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a backend takes: a moving average that jumps up at once and sinks slowly (peak EWMA), for choosing, and
 * quantiles of the last ten to twenty seconds, for hedging.
 *
 * No clock is read here: whoever calls says what time it is. */
#ifndef KITH_SERVER_FLEET_LATENCY_H
#define KITH_SERVER_FLEET_LATENCY_H

#include <stdint.h>

enum { KS_LATENCY_BUCKETS = 64 };

typedef struct ks_latency {
    double peak_ns; /* 0: nothing was seen yet */
    uint64_t seen_ns;
    uint64_t window_began_ns;
    uint32_t counts[2][KS_LATENCY_BUCKETS]; /* this window and the one before */
    uint32_t seen[2];
} ks_latency;

void ks_latency_add(ks_latency *latency, uint64_t took_ns, uint64_t now_ns);
/* The average as of now: what was seen long ago counts less, so that a backend that was slow is tried again. */
double ks_latency_peak(const ks_latency *latency, uint64_t now_ns);
/* Upper bound of the bucket that the quantile lies in (buckets grow by a quarter); 0 with fewer than `least` seen. */
uint64_t ks_latency_quantile(const ks_latency *latency, double quantile, unsigned least);

#endif
