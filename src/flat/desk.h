/* SPDX-License-Identifier: Apache-2.0
 *
 * A desk: one worker's memory for one group of queries at a time, and the queries' coded forms. Shared by the files of
 * the flat search; nothing outside src/flat sees it. One owner at a time. */
#ifndef KI_FLAT_DESK_H
#define KI_FLAT_DESK_H

#include "base/area.h"
#include "flat/flat.h"
#include "view/query.h"

#include <math.h>

enum { KI_LEVELS = 2 }; /* 0: full codes, 1: first level */

/* A vector whose upper bound reached the threshold: not yet scored. */
typedef struct ki_pending {
    float upper;
    uint32_t position;
    float estimate; /* score without error terms: the answer when there are no originals */
    int known;      /* the estimate is the score: nothing is to be scored again */
} ki_pending;

struct ki_desk {
    const ki_flat_search *search;
    const ki_view *view;
    const ki_tile_kernels *tile;
    ki_counts *counts;
    _Atomic float *shared;
    unsigned worker;
    size_t count;        /* queries */
    const void *queries; /* count x dim floats, or bits */
    float norm2_slack;   /* g2 */
    size_t pending_capacity;
    /* per query */
    float *inverse, *norm2; /* cosine, else NULL: ki_query_inverse(), ki_query_norm2() */
    ki_query_code *code[KI_LEVELS];
    int8_t *bytes[KI_LEVELS]; /* 4*quads each */
    ki_collector *collector;
    ki_floor *floor;
    ki_pending *pending; /* pending_capacity each */
    size_t *pending_count;
    float *tau;   /* scores below cannot enter */
    float *guess; /* -INFINITY, or a hope for tau that must be proven or taken back (scan.c) */
    /* panels */
    uint32_t *slot;  /* slot[panel * width + i]: the query there */
    uint32_t *place; /* place[query]: its panel * width + i */
    ki_panel *panel[KI_LEVELS];
    size_t panels;
    ki_block_bound *bounds;
    ki_tile_hit *hits;   /* of one call of the kernel */
    ki_tile_hit *found;  /* of one group of blocks, all panels; query: the desk's, not the panel's */
    ki_tile_hit *sorted; /* the same by block */
    size_t found_count;
    float *reach;            /* lists.c; reach[list * count + query] */
    int reach_known;         /* of all queries */
    float *centroid_scores;  /* count + 1 rows of coarse blocks x 16; searches of the nearest lists only */
    uint32_t *gathered;      /* the queries that need one list */
    void *gathered_packed;   /* a panel of them */
    size_t group_blocks;     /* ki_group_blocks(), or KI_GROUP_BLOCKS_ALONE for one panel */
    float *rows, *projected; /* query preparation */
    ki_area norm_buffer, code_buffer, bytes_buffer, collector_buffer, hits_buffer, floor_buffer, pending_buffer,
        panel_buffer, packed_buffer, work_buffer, bounds_buffer, tile_hits_buffer, reach_buffer, gathered_buffer,
        centroid_buffer;
    struct ki_device_desk *device; /* device.c; made by the first search that needs it */
    ki_area *grown;                /* range search: one buffer a query, for results that are not bounded by k */
    size_t grown_count;
};

enum {
    KI_GROUP_BLOCKS_MAX = 128,
    /* One panel reads every block once anyway, and longer stretches suit the prefetcher: 15 % faster than 16. */
    KI_GROUP_BLOCKS_ALONE = 64,
    KI_TILE_HITS = 2048,
    KI_GROUP_QUERIES_LEAST = 512,
    KI_GROUP_QUERIES_MAX = 2048 /* a hit numbers them in 16 bits */
};

/* How many blocks meet all panels of a group in turn, and how many queries a group has at most: the more blocks, the
 * less often the panels are read, and the more queries, the less often the codes are. Both lie in the L2 cache
 * meanwhile. 512 KiB of it (Zen 3, 192 dimensions, queries of two bytes): 512 queries with 12 to 32 blocks and 1,024
 * with 32 were within 3 %, 2,048 with 64 a tenth slower; 2 MiB (Sapphire Rapids, one byte): 2,048 with 64 to 128 were
 * 24 % faster than 512 with 12 on tiles, 15 % on avx512. */
static inline size_t ki_group_blocks(size_t l2_bytes, size_t block_bytes) {
    enum { PART = 10, LEAST = 8 };
    const size_t fit = l2_bytes / PART / block_bytes;
    return fit < LEAST ? LEAST : fit > KI_GROUP_BLOCKS_MAX ? KI_GROUP_BLOCKS_MAX : fit;
}

/* query_bytes: of a query in its panel. */
static inline size_t ki_group_queries(size_t l2_bytes, size_t query_bytes) {
    const size_t fit = l2_bytes / 4 / query_bytes;
    return fit < KI_GROUP_QUERIES_LEAST ? KI_GROUP_QUERIES_LEAST
           : fit > KI_GROUP_QUERIES_MAX ? KI_GROUP_QUERIES_MAX
                                        : fit;
}

/* Whether its queries are coded and have panels: bits have no codes. */
static inline int ki_desk_scans(const ki_desk *desk) {
    const kith_plan plan = desk->search->plan;
    return plan == KITH_PLAN_SCAN || plan == KITH_PLAN_LEVELS ||
           (plan == KITH_PLAN_DEVICE && desk->view->dtype != KITH_B1);
}

/* What a score must reach to be looked at now. */
static inline float ki_desk_threshold(const ki_desk *desk, size_t query) {
    return desk->guess[query] > desk->tau[query] ? desk->guess[query] : desk->tau[query];
}

static inline float ki_desk_inverse(const ki_desk *desk, size_t query) {
    return desk->inverse ? desk->inverse[query] : 1;
}
static inline float ki_desk_norm2(const ki_desk *desk, size_t query) {
    return desk->norm2 ? desk->norm2[query] : 1;
}
static inline const float *ki_desk_query(const ki_desk *desk, size_t query) {
    return (const float *)desk->queries + query * desk->view->dim;
}

/* What a panel's estimates must reach: the threshold less all terms that do not depend on the vector. */
static inline float ki_desk_need(const ki_desk *desk, size_t query, float base, float slack) {
    const float threshold = ki_desk_threshold(desk, query);
    return threshold - base - slack - 0x1p-20f * __builtin_fabsf(threshold);
}

/* ---- memory.c ---------------------------------------------------------------------------------------------------- */

/* Memory for results of desk->count queries, and for scans; 0: out of memory. */
int ki_desk_take_results(ki_desk *desk);
int ki_desk_take_scan(ki_desk *desk);

/* ---- queries.c --------------------------------------------------------------------------------------------------- */

/* Set the desk up for these queries: memory, codes, panels, thresholds. */
kith_status ki_desk_prepare(ki_desk *desk, const ki_flat_search *search, const void *queries, size_t count);

/* Pack panels from the `count` queries listed in desk->slot. */
void ki_desk_pack(ki_desk *desk, size_t count);

/* Forget what was found for a query; its threshold stays. */
void ki_desk_restart(ki_desk *desk, size_t query);

/* Pack one panel of the `count` queries listed, at one level. Its needs are those of the moment. */
void ki_desk_pack_panel(const ki_desk *desk, size_t level, const uint32_t *query, size_t count, ki_panel *panel);

/* Bring tau or guess of a query to its panels; call after either changed. */
void ki_desk_renew(ki_desk *desk, size_t query);

/* ---- scoring.c --------------------------------------------------------------------------------------------------- */

/* Put a scored vector into the query's collector. False: memory refused (range search only). */
int ki_desk_collect(ki_desk *desk, size_t query, float distance, uint32_t position);

/* Score all pending vectors that can still enter, and raise the threshold. False: memory refused. */
int ki_desk_flush(ki_desk *desk, size_t query);

/* Ask memory for the first of a query's pending vectors, which will be scored soon. */
void ki_desk_expect(const ki_desk *desk, size_t query);

/* Raise tau[query] from the floor and from other ranges. */
void ki_desk_raise(ki_desk *desk, size_t query);

/* ---- lists.c ----------------------------------------------------------------------------------------------------- */

/* Find out how far each query reaches in the lists of the blocks first..end, unless a few queries say that it is of no
 * use. 1: they need so few, by their thresholds, that panels should be gathered list by list; 0: not; -1: out of
 * memory. Fills desk->reach, where reach_known says so. */
int ki_desk_mark_lists(ki_desk *desk, size_t first, size_t end);

/* Whether a query cannot do without a list, by its threshold of the moment. */
static inline int ki_desk_needs(const ki_desk *desk, size_t list, size_t query) {
    const float reach = desk->reach[list * desk->count + query], threshold = ki_desk_threshold(desk, query);
    if (reach <= -INFINITY) return 0; /* none of the nearest */
    return !(reach < threshold - 0x1p-20f * __builtin_fabsf(threshold));
}

/* The queries that need a list, into query[]; how many. */
size_t ki_desk_needing(const ki_desk *desk, size_t list, uint32_t *query);

/* ---- scan.c, plain.c, device.c ----------------------------------------------------------------------------------- */

/* The plans: fill collectors over blocks first..end. Return OK, NOMEM or the stop status. */
kith_status ki_flat_scan(ki_desk *desk, size_t first, size_t end);
kith_status ki_flat_plain(ki_desk *desk, size_t first, size_t end);
kith_status ki_flat_device(ki_desk *desk); /* of all blocks */

/* Keep the masked vectors of a block that the full codes let through. False: memory refused. */
int ki_desk_bound(ki_desk *desk, size_t query, size_t block, unsigned mask, const int32_t dot[KI_BLOCK]);
/* All panels against blocks first..end, of one group of blocks, by the full codes. */
kith_status ki_desk_scan_blocks(ki_desk *desk, size_t first, size_t end);
/* One query, bits, against a block. False: memory refused. */
int ki_desk_score_bits(ki_desk *desk, size_t query, size_t block, unsigned mask);

void ki_device_desk_destroy(struct ki_device_desk *device); /* NULL is fine */

#endif
