/* SPDX-License-Identifier: Apache-2.0
 *
 * The view: a segment's sections with their types, as every family of indexes searches them. Filled by src/index from
 * an open file; it owns nothing.
 *
 * F1. Codes, factors and first-level twins cover blocks*16 vectors, where every list begins with a fresh block; padding
 *     vectors have scale 0 and bias -FLT_MAX and are masked out by position.
 *
 * Constant once filled: any thread. */
#ifndef KI_VIEW_VIEW_H
#define KI_VIEW_VIEW_H

#include "kernel/tile.h"
#include "kith.h"
#include "quant/second.h"
#include "view/graph.h"
#include "view/lsh.h"
#include "view/hnsw.h"

/* How a segment's vectors are divided into k-means lists. List l holds the positions first_row[l]..first_row[l+1] and
 * the blocks first_block[l]..first_block[l+1]: every list begins with a fresh block, so that position first_row[l] + i
 * is vector i % 16 of block first_block[l] + i / 16. */
typedef struct ki_lists {
    size_t count;              /* 1: one list of all, and all below is NULL */
    const uint32_t *first_row; /* count + 1 */
    const uint32_t *first_block;
    const uint32_t *of_block; /* blocks: the list of each */
    const float *centroids;   /* count x dim */
    const float *radius;      /* count: at least the longest |x - centroid| of the list */
    ki_level coarse;          /* the centroids less the global centre, coded as vectors are: for choosing lists */
    ki_level coarse_first;    /* the centroids in the first level; blocks 0: none */
    size_t supers;            /* lists of lists, 0: none. Super s holds the lists super_end[s-1]..super_end[s] */
    const uint32_t *super_end;
    const float *super_centroids; /* supers x dim */
    float spread;                 /* at least max |centroid - centre| */
    float norm;                   /* at least max |centroid| */
    uint32_t longest;             /* rows of the longest list */
} ki_lists;

/* A vector's place in its second list. */
typedef struct ki_second_entry {
    uint32_t position, list; /* of the vector in its first list; both read from the file: to be bounded before use */
} ki_second_entry;

/* Second lists: most vectors are coded once more in another list, one whose centroid errs in another direction than
 * their own [SOAR: Sun, Simcha, Dopson, Guo, Kumar 2023]. A query whose nearest lists miss one of the two most often
 * meets the other. List l has the entries first[l]..first[l+1] and as many blocks as those fill. */
typedef struct ki_second_lists {
    ki_level level; /* of the first level where there is one, else full codes; blocks 0: no second lists */
    const uint32_t *first, *first_block; /* lists + 1 */
    const ki_second_entry *entry;
} ki_second_lists;

typedef struct ki_on_device ki_on_device; /* on_device.h */

typedef struct ki_view {
    uint64_t rows;
    size_t dim, row_bytes, blocks;
    kith_dtype dtype;
    kith_metric metric;
    int whole;    /* codes are the values (quant/int8.h B3) */
    int residual; /* the full codes are relative to their list's centroid (quant/int8.h B4) */
    ki_lists lists;
    ki_level full, level1; /* level1.blocks == 0: none. full.blocks == 0: bits */
    ki_second_lists second_lists;
    const float *centre;        /* dim: of all vectors */
    float centre_norm;          /* at least its length, and with residual codes that of every centroid */
    const float *level1_centre; /* dim */
    const float *basis;         /* dim x 4*level1.quads */
    float kappa;
    const uint8_t *originals; /* rows x row_bytes, or NULL */
    const float *norms2;      /* cosine, with originals: |x|^2 of each (ki_square); NULL: files of version 1 */
    ki_second second;         /* second.spec.kind == KI_SECOND_NONE: no second code */
    const uint8_t *second_codes;
    const float *second_factors;
    ki_graph graph;         /* degree 0: none */
    ki_lsh lsh;             /* kind KI_LSH_NONE: no tables */
    ki_hnsw_view hnsw;      /* m 0: none */
    const uint64_t *labels; /* rows: id, or row number with string ids */
    ki_on_device *device;   /* what of it lies on devices, or NULL */
    double survivors;       /* the share of rows that a scan scores again, as the build found it; 0: not known */
} ki_view;

/* The codes of second lists: scans of these look at them too. */
static inline kith_scan_code ki_second_lists_code(const ki_view *view) {
    if (!view->second_lists.level.blocks) return KITH_SCAN_AUTO; /* none do */
    return view->level1.blocks ? KITH_SCAN_FIRST : KITH_SCAN_INT8;
}

/* Position of vector 0 of a block, and how many vectors the block has (16 but at the end of a list). */
static inline uint32_t ki_view_block_row(const ki_view *view, size_t block, unsigned *count) {
    const ki_lists *lists = &view->lists;
    if (lists->count == 1) {
        const uint64_t row = (uint64_t)block * KI_BLOCK, left = view->rows - row;
        *count = left < KI_BLOCK ? (unsigned)left : KI_BLOCK;
        return (uint32_t)row;
    }
    const size_t list = lists->of_block[block];
    const uint32_t row = lists->first_row[list] + (uint32_t)(block - lists->first_block[list]) * KI_BLOCK;
    const uint32_t left = lists->first_row[list + 1] - row;
    *count = left < KI_BLOCK ? left : KI_BLOCK;
    return row;
}

/* Vectors before a block, 0..blocks. */
static inline uint64_t ki_view_row_before(const ki_view *view, size_t block) {
    unsigned count;
    const size_t blocks = view->lists.count == 1 ? (size_t)((view->rows + KI_BLOCK - 1) / KI_BLOCK) : view->blocks;
    return block >= blocks ? view->rows : ki_view_block_row(view, block, &count);
}

/* Sixteen bits of a filter from a position on: a filter has one word more than its rows need. */
static inline unsigned ki_allowed_bits(const uint64_t *allowed, uint32_t position) {
    const unsigned shift = position % 64;
    uint64_t bits = allowed[position / 64] >> shift;
    if (shift > 48) bits |= allowed[position / 64 + 1] << (64 - shift);
    return (unsigned)bits & 0xffffu;
}

/* Bits of a block's vectors that exist and, with a filter, are allowed; *row: the position of vector 0. */
static inline unsigned ki_view_valid_mask(const ki_view *view, const uint64_t *allowed, size_t block, uint32_t *row) {
    unsigned count;
    *row = ki_view_block_row(view, block, &count);
    const unsigned mask = (1u << count) - 1;
    return allowed ? mask & ki_allowed_bits(allowed, *row) : mask;
}

#endif
