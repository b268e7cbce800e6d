/* SPDX-License-Identifier: Apache-2.0
 *
 * Coding for the flat index: how a sample becomes a recipe, and rows by a recipe become the bytes of the segment's
 * sections. Files and ids are the engine's business.
 *
 * Rows are coded a run at a time and, inside a run, ordered by coding error, so that the sixteen vectors of a block
 * have nearly equal bounds and the block's maxima are tight (kernel/tile.h T1).
 *
 * A recipe is constant once made: any thread. A ki_run belongs to one worker. */
#ifndef KI_INDEX_FLAT_BUILD_H
#define KI_INDEX_FLAT_BUILD_H

#include "kith.h"

typedef struct ki_recipe {
    kith_metric metric;
    kith_dtype dtype; /* stored */
    size_t dim, row_bytes;
    int whole;
    float low, high; /* range of whole values */
    float *centre;
    size_t level1_columns; /* 0: none */
    float *level1_centre;  /* dim; equals centre unless whole */
    float *basis;          /* dim x level1_columns */
    double omega;
    float kappa;
} ki_recipe;

/* Make a recipe from `count` sample rows (float, packed; cosine: already of unit length). KITH_E_NOMEM or OK. */
kith_status ki_recipe_make(const float *sample, size_t count, uint64_t rows, kith_metric metric, kith_dtype dtype,
                           size_t dim, int whole, kith_first_level first_level, uint64_t seed, ki_recipe *recipe);
void ki_recipe_free(ki_recipe *recipe);

/* Bytes of one block's codes at the full and the first level; 0 without. */
size_t ki_recipe_block_bytes(const ki_recipe *recipe, int level1);

/* Why a row was refused. */
typedef enum ki_row_fault {
    KI_ROW_FINE = 0,
    KI_ROW_NOT_FINITE,
    KI_ROW_TOO_LONG,
    KI_ROW_ZERO,
    KI_ROW_NOT_WHOLE, /* the recipe assumed whole numbers: build again without */
    KI_ROW_NO_MEMORY
} ki_row_fault;

/* Input and output of coding one run of rows; all memory is the run's own. */
typedef struct ki_run {
    size_t capacity; /* rows */
    size_t count;
    uint8_t *rows;      /* in: capacity x row_bytes, stored type, input order */
    uint32_t *order;    /* out: order[p] = input row at place p */
    uint8_t *originals; /* out, in the run's order */
    uint8_t *codes[2];  /* out: blocks */
    float *factors[2];
    float *inverse_norms; /* out, cosine */
    double error_sum[2];  /* adds |coding error| / |r|, and for the first level |rest| / |r| */
    void *memory;
    /* inner */
    float *residual, *projected, *values;
    int8_t *flat_codes[2];
    float *facts;
} ki_run;

/* Rows that one worker's run needs this many bytes each for. */
size_t ki_run_bytes_per_row(const ki_recipe *recipe);
int ki_run_create(const ki_recipe *recipe, size_t capacity, ki_run *run); /* 0: out of memory */
void ki_run_free(ki_run *run);

/* Code run->count rows. On a fault *row is the offending input row of the run. */
ki_row_fault ki_run_code(const ki_recipe *recipe, ki_run *run, size_t *row);

/* Check one row of the stored type: finite, norm in bounds. */
ki_row_fault ki_row_check(kith_metric metric, kith_dtype dtype, const void *row, size_t dim, double *norm2);

#endif
