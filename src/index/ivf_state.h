/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of one ivf search, shared by the files of the plan; nothing outside src/index sees it. */
#ifndef KI_INDEX_IVF_STATE_H
#define KI_INDEX_IVF_STATE_H

#include "index/flat_lane.h"
#include "index/ivf.h"
#include "kernel/pick.h"

/* A list that a query probes, and what the scores of its vectors start from: with residual codes its centroid's. */
typedef struct ki_probe {
    uint32_t list;
    float base;
} ki_probe;

typedef struct ki_pair {
    uint32_t query;
    float base;
} ki_pair;

enum {
    KI_IVF_HITS = 512, /* of one call of the score kernel: their scores fill 32 KiB */
    KI_IVF_ROUND_MAX = 8192
};

/* One worker's memory. Candidates are of all queries of the round: workers share queries, not lists. */
typedef struct ki_ivf_worker {
    float *score;                    /* count x capacity: estimates of candidates */
    uint32_t *position;              /* count x capacity */
    uint32_t *candidates;            /* count: how many */
    ki_tile_hit *hits;               /* KI_IVF_HITS */
    float (*scores)[KI_BLOCK];       /* KI_IVF_HITS */
    float *coarse;                   /* width x 16 coarse blocks, or basis blocks */
    float *work;                     /* floats for selections */
    float *rows;                     /* dim: q' */
    float *spare;                    /* 2 x dim: of ki_second_prepare() */
    uint32_t *index;                 /* lists, rounded up to 16 */
    ki_hit *picked;                  /* candidates of all workers */
    ki_hit *ahead;                   /* candidates of the query to be finished next */
    size_t ahead_query, ahead_count; /* SIZE_MAX: none are there */
    void *packed;                    /* a panel */
    void *second_work;               /* of the second code */
    ki_buffer query_buffer, hit_buffer, coarse_buffer, pick_buffer, packed_buffer, second_buffer;
} ki_ivf_worker;

/* The first level's basis as codes: its directions are to the queries what centroids are, vectors to be multiplied
 * with, so that a query's place in it comes from integer products too, the same on every tier and in every batch. Its
 * errors, of 1 %, are far below what the first level leaves out. */
typedef struct ki_ivf_basis {
    ki_level level; /* blocks 0: not made yet */
    void *memory;
} ki_ivf_basis;

struct ki_ivf {
    const ki_ivf_search *search;
    const ki_flat *flat;
    const ki_tile_kernels *tile;
    const ki_pick_kernels *pick;
    unsigned workers;
    size_t count, stride;
    const float *queries;
    size_t nprobe, rerank, capacity;
    size_t probe_stride;   /* most probes of a query */
    const ki_level *level; /* whose codes are scanned, but for the second code */
    int coarse_first;      /* lists are chosen by the first level too */
    const ki_spill *spill; /* NULL: second lists are none, or have other codes */
    ki_ivf_basis basis;
    float *inverse;
    float *statistic;
    uint32_t *probes; /* count: lists that each query probes */
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
    uint32_t *pair_first; /* lists + 1 */
    ki_pair *pair;        /* count x probe_stride, by list, then by query */
    ki_ivf_worker *worker;
    ki_buffer query_buffer, code_buffer, first_buffer, second_buffer, probe_buffer, pair_buffer, probed_buffer;
};

static inline const float *ki_ivf_query(const ki_ivf *ivf, size_t query) {
    return ivf->queries + query * ivf->stride;
}

#endif
