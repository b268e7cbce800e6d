/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sources of k-means share. See kmeans.h.
 *
 * Rows and centroids are coded relative to the same centre m, so that one int8 product serves
 *     -|x - c|^2/2 + |x - m|^2/2 = <x - m, c - m> - |c - m|^2/2:
 * the score of a list; the largest is the nearest. */
#ifndef KI_KMEANS_INNER_H
#define KI_KMEANS_INNER_H

#include "kmeans/kmeans.h"

enum {
    KI_SUPERS_LEAST = 256, /* lists, below which there are no supers */
    KI_ASSIGN_LEAST = 512  /* lists, below which assignment looks at all of them */
};

/* Rows as the tile kernels' dots want their queries. */
typedef struct ki_coded {
    size_t bytes;   /* of a row's code: dim rounded up to a multiple of four */
    int8_t *codes;  /* rows x bytes */
    float *scale;   /* rows */
    int32_t *start; /* rows: -128 * sum of the code */
} ki_coded;

int ki_coded_create(size_t rows, size_t dim, ki_coded *coded); /* 0: out of memory */
void ki_coded_free(ki_coded *coded);
/* Code one row as number `at`. residual: dim floats to work in. */
void ki_coded_set(ki_coded *coded, size_t at, const float *row, const float *centre, size_t dim, float *residual);

/* Bytes of the codes of `lists` centroids with what kernels read past them (kernel/tile.h T2), and their factors. */
size_t ki_centroid_code_bytes(size_t lists, size_t dim);
size_t ki_centroid_factors(size_t lists);
/* Code centroids into such memory. code: a row's, residual: dim floats, to work in. */
ki_level ki_centroids_code(const float *centroids, size_t lists, size_t dim, const float *centre, int8_t *code,
                           float *residual, const ki_tile_room *room);

/* A scratch for at most `keep` choices a row; codes 0: for ki_assign_coded() only. NULL: out of memory. */
ki_assign_scratch *ki_assign_scratch_make(const ki_kmeans *kmeans, unsigned keep, int codes);
/* Rows that are best assigned together. */
size_t ki_assign_rows(const ki_assign_scratch *scratch);
/* The `keep` best lists of the coded rows first..first+count, where count is at most ki_assign_rows(); UINT32_MAX where
 * there are not so many. hasty: look into half as many supers. choices: count x keep. */
void ki_assign_coded(ki_assign_scratch *scratch, const ki_coded *rows, size_t first, size_t count, unsigned keep,
                     int hasty, uint32_t *choices);

/* Assignment to lists near to a known one: so many are looked at. Text embeddings, 1,360 lists: training that does is
 * three times as fast, and leaves squared residuals 0.7 % larger (with 64 about 0.6 %, with 32 about 0.9 %). */
enum { KI_NEAR = 48 };

typedef struct ki_near {
    const ki_coded *rows, *centroids; /* relative to the same centre */
    const ki_level *coarse;           /* of the centroids, for their biases */
} ki_near;

typedef struct ki_near_scratch ki_near_scratch;
ki_near_scratch *ki_near_scratch_create(size_t dim); /* NULL: out of memory */
void ki_near_scratch_destroy(ki_near_scratch *scratch);
/* choice[r] = the best for row r of list[0..KI_NEAR], which UINT32_MAX ends early; r: row[0..count]. At least one. */
void ki_near_assign(const ki_near *near, ki_near_scratch *scratch, const uint32_t *list, const uint32_t *row,
                    size_t count, uint32_t *choice);

/* Order `lists` centroids by supers, and make all of *out from them. rank: lists, where each list went (may be NULL).
 * KITH_E_NOMEM or OK. */
kith_status ki_kmeans_make(const float *centroids, size_t lists, size_t dim, const float *centre, uint64_t seed,
                           kith_pool *pool, uint32_t *rank, ki_kmeans *out);

/* The members of each list, as a counting sort leaves them: list l has the rows order[first[l]..first[l+1]]. */
typedef struct ki_members {
    const float *sample;
    size_t dim, lists;
    const uint32_t *place; /* where coded row i lies in the sample */
    const uint32_t *order;
    const uint32_t *first; /* lists + 1 */
} ki_members;

static inline const float *ki_member(const ki_members *members, size_t at) {
    return members->sample + (size_t)members->place[members->order[at]] * members->dim;
}

/* Split the largest lists into the places of the emptiest, as far as balance asks for. empty_only: only to fill lists
 * that have no rows. rows: lists, how many each has, brought up to date. *splits is how many were made. KITH_E_NOMEM or
 * OK. */
kith_status ki_kmeans_balance(const ki_members *members, int empty_only, float *centroids, uint32_t *rows,
                              size_t *splits);

#endif
