/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing second lists [SOAR: Sun, Simcha, Dopson, Guo, Kumar, "SOAR: Improved Indexing for Approximate Nearest
 * Neighbor Search", NeurIPS 2023]. A query misses a vector's list when it differs from the vector along the vector's
 * residual to its centroid. A second list is of use then if its residual points elsewhere: so besides being short, it
 * should be orthogonal to the first.
 *
 * The candidates are the lists nearest to the vector, as they come from assignment.
 *
 * Pure functions; any thread. The same on every tier: only defining kernels are used. */
#ifndef KI_KMEANS_SECOND_LIST_H
#define KI_KMEANS_SECOND_LIST_H

#include "kmeans/kmeans.h"

enum { KI_SECOND_CHOICES = KI_CHOICES - 1 };

/* Order the lists choices[1..] by their merit as second list of a vector whose first is choices[0]:
 *     |r2|^2 + lambda <r2, r1/|r1|>^2,   r1 and r2 its residuals to the two centroids,
 * smaller is better. second_lists[] ends in UINT32_MAX where there are fewer. work: 2 x dim floats. */
void ki_second_list_rank(const ki_kmeans *kmeans, const float *vector, const uint32_t choices[KI_CHOICES], float *work,
                         uint32_t second_lists[KI_SECOND_CHOICES]);

#endif
