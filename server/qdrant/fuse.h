/* SPDX-License-Identifier: Apache-2.0
 *
 * Making one ranking of several, as Qdrant does. */
#ifndef KITH_SERVER_QDRANT_FUSE_H
#define KITH_SERVER_QDRANT_FUSE_H

#include <stddef.h>
#include <stdint.h>

/* One place of a ranking: `number` says which item it is. Larger scores are better. */
typedef struct ks_qd_ranked {
    uint64_t number;
    double score;
    size_t list, place; /* where it stands; of a fused one, where it stood first */
} ks_qd_ranked;

/* Reciprocal rank fusion [Cormack 2009]: the score of a place p (0 and up) is 1 / ((p + 1) / weight + k - 1). A weight
 * that is not above 0 gives 0. */
double ks_qd_reciprocal(size_t place, double weight, double k);
/* Distribution-based score fusion: scores of one list become (score - low) / (high - low), low and high three standard
 * deviations from the mean; 0.5 where all are one. */
void ks_qd_normalise(ks_qd_ranked *list, size_t count);
/* Sum the scores of equal numbers, in place, and sort: best first, ties by where they stood first. Returns how
 * many are left. */
size_t ks_qd_fuse(ks_qd_ranked *places, size_t count);

#endif
