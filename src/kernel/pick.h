/* SPDX-License-Identifier: Apache-2.0
 *
 * Picking the largest of many scores without sorting them: bounds from lane maxima, then only what reaches the bound is
 * looked at one by one.
 *
 * P1. The n-th largest of the maxima of disjoint sets is no larger than the n-th largest of all: so it is a threshold
 *     that nothing among the n largest falls below.
 *
 * Pure functions; any thread. Scores are not NaN. */
#ifndef KI_KERNEL_PICK_H
#define KI_KERNEL_PICK_H

#include "kernel/tile.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ki_pick_kernels {
    /* maxima[g * 16 + v] = max(itself, scores[b * 16 + v]) for all b with b % groups == g; groups a power of two. */
    void (*maxima)(const float *scores, size_t blocks, size_t groups, float *maxima);
    /* Indexes of the scores >= threshold, ascending, at most `capacity`; returns how many there are, stored or not. */
    size_t (*above)(const float *scores, size_t blocks, float threshold, uint32_t *index, size_t capacity);
    /* Append those of sixteen scores that the mask names and that reach the threshold once base is added: the sums to
     * score[], first + 0..15 to place[], from `used` on. Returns how many there are then; sixteen places behind `used`
     * are overwritten. */
    size_t (*collect)(const float *scores, float base, unsigned mask, float threshold, uint32_t first, float *score,
                      uint32_t *place, size_t used);
    /* Which of sixteen scores are >= threshold. */
    unsigned (*reach)(const float *scores, float threshold);
    /* The n-th largest (1..count) of the values, which are readable up to a multiple of 16; work: so many floats. */
    float (*nth)(const float *values, size_t count, size_t n, float *work);
} ki_pick_kernels;

const ki_pick_kernels *ki_pick(void);
void ki_pick_fill(uint32_t features, ki_pick_kernels *table);

/* The n-th largest (1..count) of `values`, which are reordered. */
float ki_pick_nth(float *values, size_t count, size_t n);

/* Groups of lanes whose maxima give a good bound on the n-th largest: a power of two with 16 * groups >= 2.5 n, at most
 * KI_PICK_GROUPS_MAX; 16 * groups >= n always needs n <= 16 * KI_PICK_GROUPS_MAX. */
enum { KI_PICK_GROUPS_MAX = 1024 };
static inline size_t ki_pick_groups(size_t n) {
    size_t groups = 1;
    while (groups < KI_PICK_GROUPS_MAX && 32 * groups < 5 * n) groups *= 2;
    return groups;
}

#endif
