/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of src/lsh share: from a vector to the values of a table's functions, and to the other values that a
 * neighbour may have instead. */
#ifndef KI_LSH_INNER_H
#define KI_LSH_INNER_H

#include "base/area.h"
#include "view/view.h"

/* Another value of one of a table's functions. */
typedef struct ki_lsh_other {
    float cost;        /* larger: less likely */
    uint32_t function; /* of the table */
    uint64_t change;   /* of the key */
} ki_lsh_other;

/* One vector's memory; zero-initialise. */
typedef struct ki_lsh_hasher {
    ki_area point, rotated, values;
} ki_lsh_hasher;

void ki_lsh_hasher_free(ki_lsh_hasher *hasher);

/* ---- point.c ----------------------------------------------------------------------------------------------------- */

/* Dimensions that are hashed: one more than there are under ip. */
static inline size_t ki_lsh_dim(size_t dim, kith_metric metric) {
    return dim + (metric == KITH_IP);
}

/* Bring a stored vector (floats) or a query to where hashing takes place: centred, on the sphere under ip, of unit
 * length; zeros where that is not finite. point: lsh->width floats. */
void ki_lsh_point(const ki_lsh *lsh, const float *x, size_t dim, kith_metric metric, int query, float *point);

/* ---- hash.c ------------------------------------------------------------------------------------------------------ */

/* Other values that are kept of each function, for this many buckets of each table. */
size_t ki_lsh_others(const ki_lsh *lsh, size_t effort);

/* keys[t - first]: the keys of a vector (floats, or bits) in tables first..end. others: NULL, or room for `most` of
 * each function of each table, table by table: then counts[t - first] of them are filled, by ascending cost. query:
 * it is one. False: out of memory. */
int ki_lsh_hash(const ki_view *view, const ki_lsh *lsh, ki_lsh_hasher *hasher, const void *x, int query, size_t first,
                size_t end, uint64_t *keys, ki_lsh_other *others, size_t most, uint32_t *counts);

/* ---- probe.c ----------------------------------------------------------------------------------------------------- */

typedef struct ki_lsh_probe {
    uint32_t table, bucket;
} ki_lsh_probe;

/* A set of other values on its way: those that `used` functions and `key` tell of, and `last` of the table's. */
typedef struct ki_lsh_node {
    float cost, before; /* of all, and without the last */
    uint32_t table, last;
    uint64_t used, key; /* without the last */
} ki_lsh_node;

/* The next buckets of a query, likeliest first. */
typedef struct ki_lsh_order {
    const ki_lsh *lsh;
    const ki_lsh_other *others; /* per_table each, ascending */
    size_t per_table;
    const uint32_t *counts; /* of each table */
    const uint64_t *keys;
    ki_area *heap; /* ki_lsh_node */
    size_t used;
    uint32_t given; /* tables whose own bucket was */
} ki_lsh_order;

/* 1: *probe is the next; 0: there are no more; -1: out of memory. Begin with used and given 0. */
int ki_lsh_order_next(ki_lsh_order *order, ki_lsh_probe *probe);

#endif
