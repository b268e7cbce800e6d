/* SPDX-License-Identifier: Apache-2.0
 *
 * Made-up vectors, ordinary and hostile, and what a search over them must answer by the contract's words alone:
 * kith_distance() of every pair, sorted. Nothing here looks inside the library.
 *
 * Equal seeds give equal data on every machine. Any failure ends the test program through cmocka. */
#ifndef TESTS_SUPPORT_DATA_H
#define TESTS_SUPPORT_DATA_H

#include "kith.h"

typedef enum data_kind {
    DATA_NORMAL,
    DATA_CLUSTERED,  /* clusters lie one behind the other */
    DATA_WHOLE,      /* -128..127, or 0..255 */
    DATA_EQUAL,      /* one vector n times */
    DATA_DUPLICATES, /* a handful of vectors n times */
    DATA_OUTLIER,    /* one dimension is a million times larger */
    DATA_HUGE,       /* norms close to KITH_NORM_MAX */
    DATA_DENORMAL,
    DATA_TINY,   /* 1e-22: products underflow */
    DATA_SCALES, /* vectors, and elements inside them, over 40 orders of magnitude */
    DATA_TIES,   /* many vectors at exactly equal distances */
    DATA_LOW_RANK,
    DATA_SPARSE,    /* nearly all zero, and zero vectors */
    DATA_NEAR_TIES, /* one vector, an ulp here and there */
    DATA_FAR,       /* a small cloud far from the origin: differences cancel */
    DATA_KINDS
} data_kind;

const char *data_kind_name(data_kind kind);

typedef struct data_set {
    kith_dtype dtype;
    kith_metric metric;
    size_t rows, dim, row_bytes;
    unsigned char *bytes; /* rows x row_bytes */
    uint64_t *ids;        /* distinct, in no order; NULL: row numbers */
} data_set;

/* Rows that kith_build accepts for the metric. with_ids: ids of no order instead of row numbers. */
data_set data_make(data_kind kind, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim, uint64_t seed,
                   int with_ids);
void data_free(data_set *set);
const void *data_row(const data_set *set, size_t row);
uint64_t data_id(const data_set *set, size_t row);

/* A row of `dtype` as floats, by the test's own conversion. */
void data_floats(kith_dtype dtype, const void *row, size_t dim, float *to);
/* Floats as a row of `dtype`: rounded (f16, bf16), or rounded and cut to the range (i8, u8). */
void data_convert(const float *from, kith_dtype dtype, size_t dim, void *row);

/* Queries for a set, in `dtype` (f32 or the set's): stored rows, rows nearby, strangers of the same kind and of others,
 * and where the metric allows it zero. count x dim, packed, malloced. */
void *data_queries(const data_set *set, data_kind kind, kith_dtype dtype, size_t count, uint64_t seed);

typedef struct data_hit {
    float distance;
    uint32_t row;
    uint64_t id;
} data_hit;

/* All rows that `allowed` (one char a row, or NULL) lets through, sorted as the contract says; returns how many. query:
 * floats, or bits. hits has room for all rows. */
size_t data_reference(const data_set *set, const void *query, const char *allowed, data_hit *hits);

/* A folder of this program's own: cmocka group fixtures. */
int data_folder_make(void **state);
int data_folder_remove(void **state);
/* A name in it; the last four results stay valid. */
const char *data_path(const char *name);

/* Build an index of the set in the folder; options may be NULL. */
void data_build(const data_set *set, const char *path, const kith_build_options *options);
kith_index *data_open(const char *path);

#endif
