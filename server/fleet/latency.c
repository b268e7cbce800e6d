/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a backend takes: peak EWMA and quantiles. */
#include "fleet/latency.h"

#include <math.h>
#include <string.h>

#define SECOND     UINT64_C(1000000000)
/* The average forgets over ten seconds, as finagle's does; a guess beyond that. */
#define FORGETS_NS (10.0 * (double)SECOND)
#define WINDOW_NS  (10 * SECOND)
#define FIRST_NS   50e3 /* upper bound of the first bucket; the last one's is 64 s */
#define GROWTH     1.25

static unsigned bucket_of(uint64_t took_ns) {
    if ((double)took_ns <= FIRST_NS) return 0;
    const double place = ceil(log((double)took_ns / FIRST_NS) / log(GROWTH));
    return place < KS_LATENCY_BUCKETS - 1 ? (unsigned)place : KS_LATENCY_BUCKETS - 1;
}

static void turn_window(ks_latency *latency, uint64_t now_ns) {
    const uint64_t passed = now_ns - latency->window_began_ns;
    if (passed < WINDOW_NS) return;
    if (passed < 2 * WINDOW_NS) {
        memcpy(latency->counts[1], latency->counts[0], sizeof(latency->counts[0]));
        latency->seen[1] = latency->seen[0];
    } else {
        memset(latency->counts[1], 0, sizeof(latency->counts[1]));
        latency->seen[1] = 0;
    }
    memset(latency->counts[0], 0, sizeof(latency->counts[0]));
    latency->seen[0] = 0;
    latency->window_began_ns = now_ns;
}

void ks_latency_add(ks_latency *latency, uint64_t took_ns, uint64_t now_ns) {
    const double took = (double)took_ns;
    if (took > latency->peak_ns) {
        latency->peak_ns = took;
    } else {
        const double old = exp(-(double)(now_ns - latency->seen_ns) / FORGETS_NS);
        latency->peak_ns = latency->peak_ns * old + took * (1 - old);
    }
    latency->seen_ns = now_ns;
    turn_window(latency, now_ns);
    latency->counts[0][bucket_of(took_ns)]++;
    latency->seen[0]++;
}

double ks_latency_peak(const ks_latency *latency, uint64_t now_ns) {
    if (!(latency->peak_ns > 0)) return 0;
    return latency->peak_ns * exp(-(double)(now_ns - latency->seen_ns) / FORGETS_NS);
}

uint64_t ks_latency_quantile(const ks_latency *latency, double quantile, unsigned least) {
    const uint64_t seen = (uint64_t)latency->seen[0] + latency->seen[1];
    if (seen < least || !seen) return 0;
    const double below = quantile * (double)seen;
    uint64_t sum = 0;
    unsigned i = 0;
    while (i < KS_LATENCY_BUCKETS - 1 && (double)(sum += latency->counts[0][i] + latency->counts[1][i]) < below) i++;
    return (uint64_t)(FIRST_NS * pow(GROWTH, i));
}
