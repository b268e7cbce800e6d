/* SPDX-License-Identifier: Apache-2.0
 *
 * A lane: one worker's memory for one group of queries at a time, and the queries' coded forms. Shared by the files of
 * the flat search; nothing outside src/index sees it. One owner at a time. */
#ifndef KI_INDEX_FLAT_LANE_H
#define KI_INDEX_FLAT_LANE_H

#include "index/flat.h"

enum { KI_LEVELS = 2 }; /* 0: full codes, 1: first level */

/* A query against one level: quant/int8.h B2. */
typedef struct ki_query_code {
    float scale, base;
    float a, b, c;
    int32_t start;
} ki_query_code;

/* A vector whose upper bound reached the threshold: not yet scored. */
typedef struct ki_pending {
    float upper;
    uint32_t position;
    float estimate; /* score without error terms: the answer when there are no originals */
} ki_pending;

/* Memory that grows and is kept. */
typedef struct ki_buffer {
    void *data;
    size_t bytes;
} ki_buffer;

struct ki_lane {
    const ki_flat_search *search;
    const ki_flat *flat;
    const ki_tile_kernels *tile;
    ki_flat_counts *counts;
    _Atomic float *shared;
    unsigned worker;
    size_t count;        /* queries */
    const void *queries; /* count x dim floats, or bits */
    float norm2_slack;   /* g2 */
    size_t pending_capacity;
    /* per query */
    float *inverse; /* cosine: inverse norm */
    ki_query_code *code[KI_LEVELS];
    int8_t *bytes[KI_LEVELS]; /* 4*quads each */
    ki_collector *collector;
    ki_floor *floor;
    ki_pending *pending; /* pending_capacity each */
    size_t *pending_count;
    float *tau;   /* scores below cannot enter */
    float *guess; /* -INFINITY, or a hope for tau that must be proven or taken back (flat_scan.c) */
    /* panels */
    uint32_t *slot;  /* slot[panel * width + i]: the query there */
    uint32_t *place; /* place[query]: its panel * width + i */
    ki_panel *panel[KI_LEVELS];
    size_t panels;
    ki_block_bound *bounds;
    ki_tile_hit *hits;   /* of one call of the kernel */
    ki_tile_hit *found;  /* of one group of blocks, all panels; query: the lane's, not the panel's */
    ki_tile_hit *sorted; /* the same by block */
    size_t found_count;
    size_t group_blocks;     /* KI_GROUP_BLOCKS, or KI_GROUP_BLOCKS_MAX for one panel */
    float *rows, *projected; /* query preparation */
    ki_buffer inverse_buffer, code_buffer, bytes_buffer, collector_buffer, hits_buffer, floor_buffer, pending_buffer,
        panel_buffer, packed_buffer, work_buffer, bounds_buffer, tile_hits_buffer;
    ki_buffer *grown; /* range search: one buffer a query, for results that are not bounded by k */
    size_t grown_count;
};

enum {
    /* Blocks that meet all panels while they lie in cache: measured best, a third of the L1 cache at 192 dimensions.
     * One panel reads every block once anyway, and longer stretches suit the prefetcher: 15 % faster than 16. */
    KI_GROUP_BLOCKS = 12,
    KI_GROUP_BLOCKS_MAX = 64,
    KI_TILE_HITS = 2048,
    KI_GROUP_QUERIES = 512 /* most queries of a lane: a hit numbers them in 16 bits */
};

/* Make `buffer` hold bytes; NULL when memory is refused. Contents are lost when it grows. */
void *ki_buffer_take(ki_buffer *buffer, uint64_t count, size_t size);

/* Set the lane up for these queries: memory, codes, panels, thresholds. */
kith_status ki_lane_prepare(ki_lane *lane, const ki_flat_search *search, const void *queries, size_t count);

/* Pack panels from the `count` queries listed in lane->slot. */
void ki_lane_pack(ki_lane *lane, size_t count);

/* Forget what was found for a query; its threshold stays. */
void ki_lane_restart(ki_lane *lane, size_t query);

/* Bring tau or guess of a query to its panels; call after either changed. */
void ki_lane_renew(ki_lane *lane, size_t query);

/* What a score must reach to be looked at now. */
static inline float ki_lane_threshold(const ki_lane *lane, size_t query) {
    return lane->guess[query] > lane->tau[query] ? lane->guess[query] : lane->tau[query];
}

/* Score of a distance, rounded so that it is no larger than the score of the defining kernel's result. */
float ki_score_below(kith_metric metric, float distance);
float ki_distance_of_score(kith_metric metric, float score);

/* Distance of query and stored rows by the defining kernel. */
void ki_flat_distances4(const ki_lane *lane, size_t query, const uint32_t position[4], float distance[4]);
float ki_flat_distance(const ki_lane *lane, size_t query, uint32_t position);

/* Put a scored vector into the query's collector. False: memory refused (range search only). */
int ki_lane_collect(ki_lane *lane, size_t query, float distance, uint32_t position);

/* Score all pending vectors that can still enter, and raise the threshold. False: memory refused. */
int ki_lane_flush(ki_lane *lane, size_t query);

/* Raise tau[query] from the floor and from other ranges. */
void ki_lane_raise(ki_lane *lane, size_t query);

/* Non-zero when the search must stop (sets search->stop). */
int ki_lane_stopped(ki_lane *lane);

/* The plans: fill collectors over blocks first..end. Return OK, NOMEM or the stop status. */
kith_status ki_flat_scan(ki_lane *lane, size_t first, size_t end);
kith_status ki_flat_plain(ki_lane *lane, size_t first, size_t end);

static inline int ki_flat_is_allowed(const ki_flat_search *search, uint64_t position) {
    return !search->allowed || (search->allowed[position / 64] >> (position % 64) & 1);
}

#endif
