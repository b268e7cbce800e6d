/* SPDX-License-Identifier: Apache-2.0
 *
 * The flat index: every vector is looked at, through codes with proven bounds, and the survivors are scored by the
 * defining kernel. This header is the typed view of a segment's sections and the search over it; building is in
 * flat_build.h.
 *
 * F1. blocks = ceil(rows / 16); codes, factors and level-1 twins cover blocks*16 vectors; padding vectors have scale 0
 * and bias -FLT_MAX and are masked out by position. F2. Results equal those of the plain scan bit for bit when
 * originals are present (quant/int8.h B2, quant/level1.h L2). F3. A lane allocates only while it grows; a search like
 * an earlier one allocates nothing.
 *
 * A ki_flat is constant once filled: any thread. A ki_lane belongs to one worker at a time. */
#ifndef KI_INDEX_FLAT_H
#define KI_INDEX_FLAT_H

#include "kernel/tile.h"
#include "kernel/topk.h"
#include "kith.h"

#include <stdatomic.h>

typedef struct ki_flat {
    uint64_t rows;
    size_t dim, row_bytes, blocks;
    kith_dtype dtype;
    kith_metric metric;
    int whole;                  /* codes are the values (quant/int8.h B3) */
    ki_level full, level1;      /* level1.blocks == 0: none. full.blocks == 0: bits */
    const float *centre;        /* dim */
    const float *level1_centre; /* dim */
    const float *basis;         /* dim x 4*level1.quads */
    float kappa;
    const uint8_t *originals;   /* rows x row_bytes, or NULL */
    const float *inverse_norms; /* cosine: rows */
    const uint64_t *labels;     /* rows: id, or row number with string ids */
} ki_flat;

/* One query's hits of one range of blocks, or all of them. */
typedef struct ki_flat_search {
    const ki_flat *flat;
    kith_plan plan;           /* PLAIN, SCAN, LEVELS or GATHER */
    size_t k;                 /* 0: range search */
    float radius;             /* range search */
    const uint64_t *allowed;  /* bit per position, or NULL */
    uint64_t deadline_ns;     /* 0: none */
    atomic_int *stop;         /* becomes a kith_status; polled */
    int (*cancelled)(void *); /* polled by worker 0 only */
    void *cancelled_context;
} ki_flat_search;

/* What a lane did; summed by the caller. */
typedef struct ki_flat_counts {
    uint64_t scanned_bytes, level1_survivors, candidates, reranked;
    uint64_t stage_ns[KITH_STAGES];
} ki_flat_counts;

typedef struct ki_lane ki_lane;

ki_lane *ki_lane_create(void); /* NULL: out of memory */
void ki_lane_destroy(ki_lane *lane);

/* Queries a lane takes at a time for this k, 1.. (memory and cache bound it). */
size_t ki_flat_group(const ki_flat *flat, size_t k);

/* Search `count` (at most ki_flat_group) queries over blocks first..end. queries: count x dim floats, checked; for bits
 * count x row_bytes. shared: per query the best threshold that other ranges have found, or NULL; worker: 0 polls
 * `cancelled`. Afterwards ki_lane_hits() gives each query's hits: sorted, at most k. Returns OK or the stop status or
 * KITH_E_NOMEM. */
kith_status ki_flat_run(const ki_flat_search *search, ki_lane *lane, const void *queries, size_t count, size_t first,
                        size_t end, _Atomic float *shared, unsigned worker, ki_flat_counts *counts);
const ki_hit *ki_lane_hits(const ki_lane *lane, size_t query, size_t *count);

#endif
