/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment's hash tables as searches see them, and their bytes. Every vector lies in one bucket of each table, the one
 * that `functions` hash functions of the table's own choose.
 *
 * The model, in the file: a ki_lsh_head, then, each from a multiple of 64 bytes on
 *       u64 multiplier[functions]
 *     and by kind
 *       cross    float centre[dim] (ip: and one more, for the dimension that puts vectors on a sphere),
 *                the signs of all rotations, one after the other: ki_rotate_bytes(width) each
 *       bits     u32 bit[tables * functions]: which bit of a vector each function takes
 *       minima   u64 seed[tables]
 * The tables, one after the other, each
 *       u32 first[buckets + 1]: bucket b holds position[first[b]..first[b + 1]]; zeros up to a multiple of 64 bytes
 *       u32 position[rows], in each bucket ascending; zeros likewise
 *
 * A key is the sum of value * multiplier over a table's functions, mod 2^64. Where as many different keys are possible
 * as there are buckets (a small `reach`) the key is the bucket; otherwise it is mixed into one: ki_lsh_bucket().
 *
 * S1. All of this is read from a file: counts are held against sizes when it is opened; bits, ends and positions are
 *     bounded where they are read; floats may be anything. */
#ifndef KI_VIEW_LSH_H
#define KI_VIEW_LSH_H

#include <stddef.h>
#include <stdint.h>

typedef enum ki_lsh_kind {
    KI_LSH_NONE = 0,
    KI_LSH_CROSS = 1, /* a vector's largest coordinate among `reach` of a random rotation [Andoni et al. 2015] */
    KI_LSH_BITS = 2,  /* one of its bits [Indyk, Motwani 1998] */
    KI_LSH_MINIMA = 3 /* the first of its bits that are set, in a random order [Broder 1997] */
} ki_lsh_kind;

enum { KI_LSH_TABLES_MAX = 1024, KI_LSH_FUNCTIONS_MAX = 64, KI_LSH_BUCKETS_MAX = 1 << 26, KI_LSH_ALIGN = 64 };

#define KI_LSH_MAGIC "KITHLSH1"

/* The first 64 bytes of a model. */
typedef struct ki_lsh_head {
    char magic[8];
    uint32_t kind, tables, functions;
    uint32_t reach;   /* coordinates of a function; bits, minima: 1 */
    uint32_t width;   /* of rotations; bits, minima: 0 */
    uint32_t buckets; /* of a table */
    float limit;      /* ip: the longest vector; else 0 */
    uint32_t zero[7];
} ki_lsh_head;

typedef struct ki_lsh {
    uint32_t kind; /* KI_LSH_NONE: no tables */
    uint32_t tables, functions, reach, width, buckets;
    int mixed;           /* keys are more than buckets */
    size_t per_rotation; /* functions that one rotation serves */
    float limit;
    const uint64_t *multiplier, *seed;
    const float *centre;
    const uint8_t *signs;
    const uint32_t *bit;
    size_t table_bytes;
    const uint8_t *table; /* the first */
} ki_lsh;

static inline const uint32_t *ki_lsh_first(const ki_lsh *lsh, size_t table) {
    return (const uint32_t *)(const void *)(lsh->table + table * lsh->table_bytes);
}

static inline size_t ki_lsh_positions_at(uint32_t buckets) {
    return (((size_t)buckets + 1) * sizeof(uint32_t) + KI_LSH_ALIGN - 1) / KI_LSH_ALIGN * KI_LSH_ALIGN;
}

static inline const uint32_t *ki_lsh_positions(const ki_lsh *lsh, size_t table) {
    return (const uint32_t *)(const void *)(lsh->table + table * lsh->table_bytes + ki_lsh_positions_at(lsh->buckets));
}

/* A mixer whose every output bit depends on every input bit: the finaliser of SplitMix64. */
static inline uint64_t ki_lsh_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Below lsh->buckets, whatever the key. */
static inline uint32_t ki_lsh_bucket(const ki_lsh *lsh, uint64_t key) {
    if (lsh->mixed) return (uint32_t)((ki_lsh_mix(key) >> 32) * lsh->buckets >> 32);
    return key < lsh->buckets ? (uint32_t)key : lsh->buckets - 1;
}

#endif
