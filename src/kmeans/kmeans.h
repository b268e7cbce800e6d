/* SPDX-License-Identifier: Apache-2.0
 *
 * k-means: the centroids that divide a segment into lists, and the assignment of vectors to them.
 *
 * Lloyd's algorithm on a sample, assignment by the int8 tile kernel (the codes' error moves a vector between lists that
 * are equally near: harmless), centroids as float means. Balance matters more than optimality: after each round a list
 * above twice the mean is split and the emptiest one given up for it.
 *
 * M1. Deterministic for a seed on one tier, whatever the threads.
 * M2. Lists are ordered so that lists of one super, a cluster of centroids, are neighbours.
 * M3. There may be fewer lists than asked for (fewer different rows), never more, and at least one.
 *
 * A ki_kmeans is constant once trained: any thread. A ki_assign_scratch belongs to one worker. */
#ifndef KI_KMEANS_KMEANS_H
#define KI_KMEANS_KMEANS_H

#include "base/pool.h"
#include "kernel/tile.h"
#include "kith.h"

typedef struct ki_kmeans {
    size_t lists, dim;
    float *centroids; /* lists x dim */
    float *centre;    /* dim: what the coarse codes are relative to */
    ki_level coarse;  /* int8 tiles of centroids - centre; bias -|centroid - centre|^2/2: the score of l2 */
    size_t supers;    /* 0: none (few lists) */
    uint32_t *super_end;
    float *super_centroids; /* supers x dim */
    float spread, norm;     /* >= max |centroid - centre|, >= max |centroid| */
    void *memory;
} ki_kmeans;

/* Lists for so many rows when nobody says: about 4 sqrt(rows), 1 where lists would not pay. */
size_t ki_kmeans_lists(uint64_t rows);

/* Sample rows that training takes for so many lists. */
size_t ki_kmeans_sample(size_t lists);

/* Learn from `count` sample rows (packed floats; cosine: of unit length), which are distinct places of the input.
 * KITH_E_NOMEM, KITH_E_CANCELLED or OK. Progress stage "clustering". */
kith_status ki_kmeans_train(const float *sample, size_t count, size_t dim, const float *centre, size_t lists,
                            uint64_t seed, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                            ki_kmeans *out);
void ki_kmeans_free(ki_kmeans *kmeans);

enum { KI_CHOICES = 8 };

typedef struct ki_assign_scratch ki_assign_scratch;
ki_assign_scratch *ki_assign_scratch_create(const ki_kmeans *kmeans); /* NULL: out of memory */
void ki_assign_scratch_destroy(ki_assign_scratch *scratch);

/* The KI_CHOICES nearest lists of each row, nearest first (Euclidean); fewer lists than that: filled with UINT32_MAX.
 * rows: count x dim floats. */
void ki_kmeans_assign(const ki_kmeans *kmeans, ki_assign_scratch *scratch, const float *rows, size_t count,
                      uint32_t (*choices)[KI_CHOICES]);

#endif
