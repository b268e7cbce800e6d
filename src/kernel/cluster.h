/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes of k-means beside the tile kernels' dots: from integer products to scores, and sums of coded rows.
 *
 * Pure functions; any thread. Tiers may round differently. */
#ifndef KI_KERNEL_CLUSTER_H
#define KI_KERNEL_CLUSTER_H

#include "kernel/tile.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ki_cluster_kernels {
    /* scores[i][v] = dot[i][v] * scale[i] * a[v] + bias[v] for `count` queries and the factors of a block. */
    void (*estimate)(const int32_t (*dot)[KI_BLOCK], unsigned count, const float *factors, const float *scale,
                     float (*scores)[KI_BLOCK]);
    /* The other way round: each row of a block seeks the best of `count` queries, whose scores for row v are
     *     dot[i][v] * scale[i] * a[v] + bias[i].
     * best and choice: sixteen, the best score so far and its name; equals do not replace. */
    void (*nearest)(const int32_t (*dot)[KI_BLOCK], unsigned count, const float *a, const float *scale,
                    const float *bias, const uint32_t *name, float *best, uint32_t *choice);
    /* sum[j] += scale * code[j], j < dim. */
    void (*add)(const int8_t *code, float scale, size_t dim, float *sum);
} ki_cluster_kernels;

/* The table for this process; made once. */
const ki_cluster_kernels *ki_cluster(void);
/* The table that a feature mask would get: for tests. */
void ki_cluster_fill(uint32_t features, ki_cluster_kernels *table);

#endif
