/* SPDX-License-Identifier: Apache-2.0
 *
 * Building hash tables, and reading what was built.
 *
 *   measure   ip only: the longest vector, and how far the others are from a sphere of that radius
 *   hash      runs of rows into bucket numbers, for as many tables as memory allows
 *   sort      each table's rows by bucket
 *
 * B1. Equal input, options and seed make equal bytes, for any number of threads, any memory and on any tier. */
#ifndef KI_LSH_BUILD_H
#define KI_LSH_BUILD_H

#include "base/pool.h"
#include "view/view.h"

/* What is known before any row is. */
typedef struct ki_lsh_shape {
    uint32_t kind, tables, functions, reach, width, buckets;
    uint64_t model_bytes, table_bytes; /* table_bytes: of one */
} ki_lsh_shape;

/* tables 1..KI_LSH_TABLES_MAX, functions 1..KI_LSH_FUNCTIONS_MAX; 0: by rows and metric. */
ki_lsh_shape ki_lsh_plan(uint64_t rows, size_t dim, kith_metric metric, uint32_t tables, uint32_t functions);

typedef struct ki_lsh_input {
    ki_lsh_shape shape;
    uint64_t rows;
    size_t dim, row_bytes;
    kith_dtype dtype;
    kith_metric metric;
    const float *centre; /* dim: of all vectors (cosine: of unit length); NULL for bits */
    uint64_t seed;
    uint64_t memory_bytes; /* for what waits to be sorted, about */
    kith_pool *pool;
    /* Fill `to` with rows first..first+count as they are stored. Calls come from any thread of the pool, at a time. */
    kith_status (*read)(void *context, uint64_t first, size_t count, void *to, kith_error *error);
    /* Take some bytes of the tables. Likewise. */
    kith_status (*write)(void *context, uint64_t offset, const void *data, uint64_t bytes, kith_error *error);
    void *context;
    kith_progress_fn progress; /* stage "hashing vectors", of tables x vectors; the calling thread only */
    void *progress_context;
} ki_lsh_input;

/* Fill the model (shape.model_bytes, aligned to 64), and hand all tables to input->write. */
kith_status ki_lsh_build(const ki_lsh_input *input, void *model, kith_error *error);

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Read a model, aligned to 64; 0: the bytes are no model for such vectors. lsh->table stays to be set: tables x
 * table_bytes. */
int ki_lsh_view(const void *model, uint64_t bytes, uint64_t rows, size_t dim, kith_metric metric, ki_lsh *lsh);

/* What is wrong with the model's numbers, as static text; NULL: nothing (floats finite, bits inside). */
const char *ki_lsh_check_model(const ki_lsh *lsh, size_t dim, kith_metric metric);

/* What is wrong with one table, as static text, and *place: with which of its numbers; NULL: nothing (ends ascend,
 * every position is there once, ascending in each bucket). seen: (rows + 63) / 64 words of room. */
const char *ki_lsh_check_table(const ki_lsh *lsh, size_t table, uint64_t rows, uint64_t *seen, uint64_t *place);

#endif
