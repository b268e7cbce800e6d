/* SPDX-License-Identifier: Apache-2.0
 *
 * Second codes: smaller than int8, for approximate scans. Product quantisation (quant/pq.h) and RaBitQ (quant/rabitq.h)
 * behind one face, so that an index does not care which it holds.
 *
 * A code stands for the residual r = x - c_l of a vector to its list's centroid. Blocks hold 16 vectors, the same as
 * the int8 blocks, beside 64 floats of factors with the meaning of kernel/tile.h: for a prepared query q' the score is
 *     scale[v] * (estimate of <q',r> from the code) + bias[v],
 *     error[v] >= |r - code(r)|, norm[v] >= |r|.
 *
 * C1. A model is one run of bytes, position-independent, stored as a section: ki_second_view() bounds everything in it
 *     before anything is read through it.
 * C2. Scores are the same bits on every tier.
 * C3. Kernels may read KI_TILE_OVERREAD bytes past the codes.
 *
 * Views and models: any thread. */
#ifndef KI_QUANT_SECOND_H
#define KI_QUANT_SECOND_H

#include "base/pool.h"
#include "kernel/tile.h"
#include "kith.h"

typedef enum ki_second_kind { KI_SECOND_NONE = 0, KI_SECOND_PQ = 1, KI_SECOND_RABITQ = 2 } ki_second_kind;

/* What a spec says: "pq:MxB", "opq:MxB", "rabitq:B". */
typedef struct ki_second_spec {
    ki_second_kind kind;
    unsigned m, bits; /* rabitq: m is 0 */
    int rotated;      /* opq */
} ki_second_spec;

/* KITH_E_ARG names what is wrong with `text` for this dim. */
kith_status ki_second_parse(const char *text, size_t dim, ki_second_spec *spec, kith_error *error);
/* The text of a spec, as parsed. */
void ki_second_text(const ki_second_spec *spec, char text[32]);

/* The text of the code that an index of codes has where none is named. */
void ki_second_default(size_t dim, char text[32]);

/* A model ready for use: borrowed bytes. */
typedef struct ki_second {
    ki_second_spec spec;
    size_t dim;
    size_t block_bytes; /* of 16 vectors */
    size_t query_bytes; /* of a prepared query, a multiple of 64 */
    size_t work_bytes;  /* of the memory that ki_second_score() works in, a multiple of 64 */
    unsigned width;     /* most queries of one call of ki_second_score */
    const void *model;
    size_t model_bytes;
} ki_second;

/* Sample rows that training takes. */
size_t ki_second_sample(const ki_second_spec *spec);

/* Learn from `count` residuals (count x dim floats). *model is malloced. KITH_E_NOMEM, KITH_E_CANCELLED. */
kith_status ki_second_train(const ki_second_spec *spec, const float *residuals, size_t count, size_t dim, uint64_t seed,
                            kith_pool *pool, kith_progress_fn progress, void *progress_context, void **model,
                            size_t *model_bytes);

/* False: the bytes are no model for this dim. */
int ki_second_view(const void *model, size_t bytes, size_t dim, ki_second *second);

/* Bytes of memory that one worker's encoding needs. */
size_t ki_second_encode_bytes(const ki_second *second);
/* Code `count` (1..16) residuals (packed) into one block and its factors; bias: of each, copied. Absent vectors get
 * code 0, scale 0, bias -FLT_MAX. */
void ki_second_encode(const ki_second *second, const float *residuals, unsigned count, const float *bias, void *work,
                      uint8_t *block, float *factors);

/* Prepare q' (dim floats, finite) into query_bytes (64-aligned). work: dim x 2 floats. */
void ki_second_prepare(const ki_second *second, const float *query, float *work, void *prepared);

/* As ki_tile_kernels.score over blocks first..end, for `count` (1..width) prepared queries; hits' `query` is the number
 * in `prepared`. work: work_bytes, 64-aligned. */
size_t ki_second_score(const ki_second *second, const uint8_t *codes, const float *factors, size_t first, size_t end,
                       const void *const *prepared, const float *need, unsigned count, void *work, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used);

#endif
