/* SPDX-License-Identifier: Apache-2.0
 *
 * A small reproducible random source: SplitMix64 (Steele, Lea, Flood 2014). Equal seeds give equal sequences on every
 * machine. Not for secrets. One owner at a time. */
#ifndef KI_BASE_RNG_H
#define KI_BASE_RNG_H

#include <stdint.h>

typedef struct ki_rng {
    uint64_t state;
} ki_rng;

static inline uint64_t ki_rng_next(ki_rng *rng) {
    uint64_t z = (rng->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Uniform in [0, bound), bound > 0; the bias of at most bound/2^64 does not matter to sampling. */
static inline uint64_t ki_rng_below(ki_rng *rng, uint64_t bound) {
    return (uint64_t)(((unsigned __int128)ki_rng_next(rng) * bound) >> 64);
}

/* Uniform in [0, 1). */
static inline double ki_rng_unit(ki_rng *rng) {
    return (double)(ki_rng_next(rng) >> 11) * 0x1p-53;
}

/* About normal(0, 1): the sum of twelve uniforms less six. */
static inline double ki_rng_normal(ki_rng *rng) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += ki_rng_unit(rng);
    return sum;
}

#endif
