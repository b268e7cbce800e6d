/* SPDX-License-Identifier: Apache-2.0
 *
 * Learning the books of product codes, and the rotation before them. One owner at a time. */
#ifndef KI_QUANT_PQ_TRAIN_H
#define KI_QUANT_PQ_TRAIN_H

#include "quant/pq.h"

/* Rows to learn from. */
typedef struct ki_pq_rows {
    const float *rows; /* count x stride; the first model.dim of each are read */
    size_t count, stride;
} ki_pq_rows;

/* Who is told of progress; done and total count rows. */
typedef struct ki_pq_teller {
    kith_progress_fn progress; /* or NULL */
    void *context;
    size_t total;
} ki_pq_teller;

/* Tell that `part` of `parts` is done; false: cancelled. */
int ki_pq_tell(const ki_pq_teller *teller, size_t part, size_t parts);

enum { KI_PQ_FRESH = 1 };

/* At most `rounds` of Lloyd's algorithm for each part of the model, from its present centroids or (KI_PQ_FRESH) from
 * fresh ones. assigned: NULL, or count x m bytes that receive the codes of the rows. teller: NULL or told. KITH_OK,
 * KITH_E_NOMEM or KITH_E_CANCELLED. */
kith_status ki_pq_learn(const ki_pq_model *model, const ki_pq_rows *rows, int flags, unsigned rounds, uint64_t seed,
                        kith_pool *pool, const ki_pq_teller *teller, uint8_t *assigned);

/* Learn the rotation: fills model->rotation and *omega; books are left as the last round had them. Rows as they come
 * (stride dim). turned: count x dim floats, receives the rotated rows. */
kith_status ki_opq_learn(const ki_pq_model *model, const float *rows, size_t count, uint64_t seed, kith_pool *pool,
                         const ki_pq_teller *teller, float *turned, float *omega);

#endif
