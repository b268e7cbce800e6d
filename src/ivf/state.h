/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of one ivf search, shared by the files of the plan; nothing outside src/ivf sees it. */
#ifndef KI_IVF_STATE_H
#define KI_IVF_STATE_H

#include "base/area.h"
#include "ivf/ivf.h"
#include "kernel/pick.h"
#include "view/query.h"

/* A list that a query probes, and what the scores of its vectors start from: with residual codes its centroid's. */
typedef struct ki_probe {
    uint32_t list;
    float base;
} ki_probe;

typedef struct ki_pair {
    uint32_t query;
    float base;
} ki_pair;

/* A super that a query looks into, or a query that looks into a super; and at which block of the query's row of scores
 * those of the super begin. */
typedef struct ki_visit {
    uint32_t name, at;
} ki_visit;

enum {
    KI_IVF_HITS = 512 /* of one call of the score kernel: their scores fill 32 KiB */
};

/* One worker's memory. Candidates are of all queries of the round: workers share queries, not lists. */
typedef struct ki_ivf_worker {
    float *score;                    /* count x capacity: estimates of candidates */
    uint32_t *position;              /* count x capacity */
    uint32_t *candidates;            /* count: how many */
    ki_tile_hit *hits;               /* KI_IVF_HITS */
    float (*scores)[KI_BLOCK];       /* KI_IVF_HITS */
    float *coarse;                   /* width x the blocks of centroids, supers or basis x 16 */
    float *row;                      /* step x row_blocks x 16: scores of the centroids looked at */
    ki_visit *visit;                 /* step x visits, in the order of supers */
    ki_visit *visitor;               /* the same by super */
    uint32_t *visits, *row_length;   /* step: how many, and how many blocks that makes */
    uint32_t *visitor_first;         /* supers + 2 */
    float *work;                     /* floats for selections */
    float *rows;                     /* dim: q' */
    float *spare;                    /* 2 x dim: of ki_second_prepare() */
    uint32_t *index;                 /* lists, rounded up to 16 */
    ki_hit *picked;                  /* candidates of all workers */
    ki_hit *ahead;                   /* candidates of the query to be finished next */
    size_t ahead_query, ahead_count; /* SIZE_MAX: none are there */
    void *packed;                    /* a panel */
    void *second_work;               /* of the second code */
    ki_area query_buffer, hit_buffer, coarse_buffer, pick_buffer, packed_buffer, second_buffer, visit_buffer;
} ki_ivf_worker;

/* A level made of a file's floats. They do not change, so that it is made once. */
typedef struct ki_ivf_level {
    ki_level level; /* blocks 0: not made yet */
    void *memory;
    size_t row_blocks; /* supers: the most blocks that the lists of those of a query touch */
} ki_ivf_level;

struct ki_ivf {
    const ki_ivf_search *search;
    const ki_view *view;
    const ki_tile_kernels *tile;
    const ki_pick_kernels *pick;
    unsigned workers;
    size_t count, stride;
    const float *queries;
    size_t nprobe, rerank, capacity;
    size_t probe_stride;                 /* most probes of a query */
    const ki_level *level;               /* whose codes are scanned, but for the second code */
    int coarse_first;                    /* lists are chosen by the first level too */
    const ki_second_lists *second_lists; /* NULL: second lists are none, or have other codes */
    ki_ivf_level basis, supers;
    size_t visits;          /* supers that a query looks into; 0: it looks at all centroids */
    size_t row_blocks;      /* most blocks that those touch */
    size_t step;            /* queries that choose together */
    size_t strip_blocks;    /* V7; 0: there are lists */
    float *inverse, *norm2; /* ki_query_inverse(), ki_query_norm2() */
    float *statistic;
    uint32_t *probes; /* count: lists that each query probes */
    uint32_t *thin;   /* count: V6 */
    ki_query_code *code;
    int8_t *bytes;       /* count x 4*quads: full codes */
    int8_t *scan_bytes;  /* count x 4*quads of the level that is scanned */
    float *scan_scale;   /* count */
    int32_t *scan_start; /* count */
    uint64_t *probed;    /* count x words: a bit for each list that a query probes; second lists only */
    size_t words;
    uint8_t *second; /* count x second.query_bytes, 64-aligned */
    _Atomic float *tau;
    ki_probe *probe;      /* count x probe_stride, in the order of lists */
    uint32_t *pair_first; /* lists + 2 */
    ki_pair *pair;        /* count x probe_stride, by list, then by query */
    ki_ivf_worker *worker;
    struct ki_ivf_device *device; /* device.c; made by the first search that needs it */
    int scanned;                  /* on devices: but for second lists */
    ki_area query_buffer, code_buffer, first_buffer, second_buffer, probe_buffer, pair_buffer, probed_buffer;
};

static inline const float *ki_ivf_query(const ki_ivf *ivf, size_t query) {
    return ivf->queries + query * ivf->stride;
}

/* The pairs of a list, or of a strip: all of them. */
static inline size_t ki_ivf_first_pair(const ki_ivf *ivf, size_t list) {
    return ivf->pair_first[ivf->strip_blocks ? 0 : list];
}
static inline size_t ki_ivf_end_pair(const ki_ivf *ivf, size_t list) {
    return ivf->pair_first[ivf->strip_blocks ? 1 : list + 1];
}

/* The blocks of centroids that hold those of a super: the first, and one after the last. An empty super, which a
 * damaged file may have, has none. */
static inline size_t ki_super_first_block(const ki_lists *lists, size_t super) {
    return (super ? lists->super_end[super - 1] : 0) / KI_BLOCK;
}
static inline size_t ki_super_end_block(const ki_lists *lists, size_t super) {
    const size_t first = super ? lists->super_end[super - 1] : 0, end = lists->super_end[super];
    return end > first ? (end - 1) / KI_BLOCK + 1 : first / KI_BLOCK;
}

/* levels.c: out of memory: 0. */
int ki_ivf_make_basis(const ki_view *view, ki_ivf_level *basis);
int ki_ivf_make_supers(const ki_view *view, size_t visits, ki_ivf_level *supers);

/* score.c: pack queries, by their full codes or by those that are scanned, for scores without thresholds. */
void ki_ivf_pack(const ki_ivf *ivf, const ki_ivf_worker *w, int full, const uint32_t *query, unsigned count,
                 ki_panel *panel);

/* The scores of a panel's queries with the vectors of blocks first..end: sixteen a block to to[i]. */
void ki_ivf_score(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel, const ki_level *level, size_t first,
                  size_t end, float *const *to);

/* The places of the `wanted` best of `blocks` x 16 scores by (score, place), ascending, into w->index. Places from
 * `count` on are padding. Returns how many: fewer only where there are no more, or a damaged file's scores are NaN or
 * those of padding not least. */
size_t ki_ivf_pick(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t blocks, size_t count,
                   size_t wanted);

/* scan.c: take some of a query's candidates, up to KI_BLOCK. */
void ki_ivf_keep(ki_ivf *ivf, ki_ivf_worker *w, size_t query, const float *score, const uint32_t *position,
                 size_t count);

/* device.c; NULL is fine. */
void ki_ivf_device_destroy(struct ki_ivf_device *device);

/* rows.c: scan lists first..end by the vectors themselves. */
kith_status ki_ivf_scan_rows(ki_ivf *ivf, unsigned worker, size_t first, size_t end, ki_counts *counts);

/* visit.c: query `at` of a step looks into the best supers by these scores. */
void ki_ivf_visit(const ki_ivf *ivf, ki_ivf_worker *w, size_t at, const float *scores);

/* The rows of scores of queries first..first+count, a step, with the centroids of the supers that they look into. */
void ki_ivf_score_visits(const ki_ivf *ivf, ki_ivf_worker *w, size_t first, size_t count);

#endif
