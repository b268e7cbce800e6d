/* SPDX-License-Identifier: Apache-2.0
 *
 * Several rankings of one query made into one. What stands at rank r of a ranking (from 1) gets weight / (constant + r)
 * from it, nothing from rankings that do not have it, and the sums decide.
 *
 *   KI_FUSE_RANKS, 60   reciprocal rank fusion [Cormack, Clarke, Buettcher 2009]: what is good in several rankings
 *                       beats what is best in one. Weights tip the scales: at 2 : 1 the first sixty of the heavier come
 *                       first
 *   KI_FUSE_SHARES, 0   each ranking has a share of the results, by its weight: the divisors of d'Hondt [1882]
 *
 * Sums are made in the order of rankings and rounded to float once; equal ones are ordered by key. Pure functions. */
#ifndef KI_COLLECTION_FUSE_H
#define KI_COLLECTION_FUSE_H

#include "base/area.h"
#include "collection/leg.h"

/* How deep each ranking is looked at for k results of the fusion: what stands deeper adds little, and four times k
 * leave room for what is good in several and best in none. */
size_t ki_fuse_depth(size_t k);

enum { KI_FUSE_SHARES = 0, KI_FUSE_RANKS = 60 };

typedef struct ki_ranking {
    const ki_leg_hit *hits; /* ascending */
    size_t count;
    double weight; /* > 0 */
} ki_ranking;

/* The k best of the fusion into out, their distances minus the sums; how many, or SIZE_MAX without memory. */
size_t ki_fuse(const ki_ranking *rankings, size_t count, double constant, size_t k, ki_area *memory, ki_leg_hit *out);

#endif
