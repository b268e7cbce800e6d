/* SPDX-License-Identifier: Apache-2.0
 *
 * Coding for the flat family: how a sample becomes a recipe, and rows by a recipe become the bytes of the segment's
 * sections. Files and ids are the business of src/build.
 *
 * Rows are coded a run at a time and, inside a piece of a run, ordered by coding error, so that the sixteen vectors of
 * a block have nearly equal bounds and the block's maxima are tight (kernel/tile.h T1). Without lists a run is one
 * piece; with lists a piece is a list or part of one, and begins with a fresh block.
 *
 * A recipe is constant once made: any thread. A ki_run belongs to one worker. */
#ifndef KI_FLAT_BUILD_H
#define KI_FLAT_BUILD_H

#include "kernel/tile.h"
#include "kith.h"
#include "quant/row_check.h"
#include "quant/second.h"

/* Whether values are coded as themselves (quant/int8.h B3): not; around a centre that every value of a byte fits
 * around; or around one in the midst of the sample, which values far outside of what the sample holds do not fit
 * around. */
typedef enum ki_whole { KI_WHOLE_NOT, KI_WHOLE_WIDE, KI_WHOLE_CLOSE } ki_whole;

typedef struct ki_recipe {
    kith_metric metric;
    kith_dtype dtype; /* stored */
    size_t dim, row_bytes;
    ki_whole whole;
    float *centre;         /* dim; whole numbers where values are */
    size_t level1_columns; /* 0: none */
    float *level1_centre;  /* dim: the middle of the rows, whatever they are; also that of k-means */
    float *basis;          /* dim x level1_columns */
    double omega;
    float kappa;
    /* Borrowed. */
    size_t lists;            /* 0: none */
    const float *centroids;  /* lists x dim */
    const ki_second *second; /* NULL: none; without lists it codes what vectors are beside the centre */
} ki_recipe;

/* Make a recipe from `count` sample rows (float, packed; cosine: already of unit length). KITH_E_NOMEM or OK. */
kith_status ki_recipe_make(const float *sample, size_t count, uint64_t rows, kith_metric metric, kith_dtype dtype,
                           size_t dim, ki_whole whole, kith_first_level first_level, uint64_t seed, ki_recipe *recipe);
void ki_recipe_free(ki_recipe *recipe);

/* Whether a row fits the codes of a recipe of whole numbers: FINE, NOT_WHOLE or OUTSIDE. */
ki_row_fault ki_recipe_holds(const ki_recipe *recipe, const float *row);

/* Bytes of one block's codes at the full and the first level; 0 without. */
size_t ki_recipe_block_bytes(const ki_recipe *recipe, int level1);

/* Some rows of a run that belong together. All but a list's last piece hold a multiple of 16. */
typedef struct ki_run_piece {
    uint32_t list, count;
    float radius; /* out, with lists: at least the longest |x - centroid| */
} ki_run_piece;

/* Input and output of coding one run of rows; all memory is the run's own. */
typedef struct ki_run {
    size_t capacity; /* rows, and 16 times the blocks */
    size_t count;
    size_t piece_count;   /* in: at least 1 */
    ki_run_piece *pieces; /* in: at most a piece a block; their rows in turn. Bits have none */
    int in_order;         /* in: rows keep their order, for those whose originals lie somewhere already */
    uint8_t *rows;        /* in: capacity x row_bytes, stored type, input order */
    uint32_t *order;      /* out: order[p] = input row at place p */
    uint8_t *originals;   /* out, in the run's order */
    size_t blocks;        /* out */
    uint8_t *codes[2];    /* out: blocks */
    float *factors[2];
    uint8_t *second_codes; /* out, with a second code */
    float *second_factors;
    float *norms2;       /* out, cosine: ki_square() of each, in the run's order */
    double error_sum[3]; /* adds |coding error| / |r|, for the first level |rest| / |r|, and of the second code */
    void *memory;
    /* inner */
    float *inverse_norms; /* cosine, in the order of rows */
    float *residual, *projected, *values;
    int8_t *flat_codes[2];
    float *facts;
    void *second_work;
} ki_run;

/* Rows that one worker's run needs this many bytes each for. */
size_t ki_run_bytes_per_row(const ki_recipe *recipe);
int ki_run_create(const ki_recipe *recipe, size_t capacity, ki_run *run); /* 0: out of memory */
void ki_run_free(ki_run *run);

/* Code run->count rows. On a fault *row is the offending input row of the run. */
ki_row_fault ki_run_code(const ki_recipe *recipe, ki_run *run, size_t *row);

/* What the header and the coarse sections say about the lists of a recipe. */
typedef struct ki_coarse {
    size_t blocks;
    uint8_t *codes; /* blocks of the centroids, coded as vectors of one list around recipe->centre */
    float *factors;
    uint8_t *first_codes; /* and in the first level; NULL without */
    float *first_factors;
    float spread, norm; /* at least max |centroid - centre| and max |centroid| */
} ki_coarse;

int ki_coarse_create(const ki_recipe *recipe, ki_coarse *coarse); /* 0: out of memory */
void ki_coarse_free(ki_coarse *coarse);

/* -(<c - m, r> + |r|^2/2) of quant/int8.h B4, in double precision and rounded once. */
float ki_residual_bias(const float *centroid, const float *centre, const float *residual, size_t dim);

#endif
