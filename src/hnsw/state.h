/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this room share. A net is what walks read, of a segment or of a graph in memory: memory.c makes and
 * keeps it, code.c compares, walk.c walks, select.c chooses edges, insert.c, remove.c and connect.c make them.
 *
 * S1. What of a row may change while others read it (state, count, ids, next, counts and ids of blocks) is written and
 *     read as atomic numbers; an id is stored with release after all of its vertex, and loaded with acquire. A list
 *     that is read while it is written is a mix of both: all of it are vertices, or were.
 * S2. The rest of a row is constant from the moment that its state says VERTEX or TWIN to the end of that life (W2).
 * S3. Lists and counts of edges coming in are changed under the lock of their vertex, or alone. */
#ifndef KI_HNSW_STATE_H
#define KI_HNSW_STATE_H

#include "base/area.h"
#include "hnsw/hnsw.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    KI_HNSW_LOCKS = 256, /* a power of two */
    KI_HNSW_STATE_AT = 8,
    KI_HNSW_COUNT_AT = 12,
    KI_HNSW_UPPER_AT = 16,
    KI_HNSW_LEVEL_AT = 20,
    KI_HNSW_NEXT_AT = 24
};

/* Chunks of 2^shift rows (or blocks), made as they are needed. */
typedef struct ki_hnsw_chunks {
    _Atomic(uint8_t *) *chunk;
    size_t chunks, each_bytes, chunk_count; /* in a chunk so many */
    unsigned shift;
} ki_hnsw_chunks;

typedef struct ki_hnsw_net {
    kith_metric metric;
    kith_dtype dtype;
    size_t dim, code_bytes, ids_at;
    uint32_t m;
    uint64_t blocks_limit; /* blocks from here on are not there */
    const float *centre;
    ki_hnsw_chunks rows, blocks;
} ki_hnsw_net;

/* What is compared with rows: code.c. */
typedef struct ki_hnsw_query {
    const int16_t *z;
    const uint8_t *bits;
    float unit, add, weight;
    float lift, limit2; /* ip, stored vectors: height over the plane, of this one; limit2 0: no heights */
} ki_hnsw_query;

/* Beside each row of a graph in memory. */
typedef struct ki_hnsw_side {
    _Atomic uint32_t in; /* edges of layer 0 that come in */
    uint32_t before;     /* of a twin: who is before it in the chain */
    uint32_t ticket;     /* of a number that is GONE: when it went */
} ki_hnsw_side;

struct ki_hnsw {
    ki_hnsw_options options;
    ki_hnsw_net net;
    ki_hnsw_chunks sides;
    _Atomic uint32_t limit;                           /* numbers are below */
    _Atomic uint32_t count;                           /* vertices and twins */
    _Atomic uint64_t entry;                           /* level << 32 | number; UINT64_MAX: none */
    _Atomic uint32_t limit2;                          /* ip: the largest |x|^2, as bits of a float */
    _Atomic uint32_t at_level[KI_HNSW_LEVEL_MAX + 1]; /* vertices of that level */
    _Atomic uint64_t bytes;
    pthread_rwlock_t changing; /* read: insertions; write: removals */
    pthread_mutex_t lock[KI_HNSW_LOCKS];
    pthread_mutex_t allocating; /* chunks and blocks; the next two */
    uint32_t blocks_used;
    uint32_t free_run[KI_HNSW_LEVEL_MAX + 1]; /* runs of so many blocks that are free, by their first id */
    pthread_mutex_t raising;                  /* the entry */
    pthread_mutex_t twinning;                 /* chains */
    pthread_mutex_t waiting;                  /* W2: a grace at a time */
    _Atomic uint32_t phase;
    _Atomic uint64_t readers[2];
    _Atomic uint32_t begun, ended; /* graces */
};

/* Candidates of a walk, ascending: ordered distance << 32 | number << 1 | expanded. */
typedef struct ki_hnsw_pool {
    uint64_t *entry;
    size_t count, capacity, next;
} ki_hnsw_pool;

struct ki_hnsw_searcher {
    ki_area seen_area, pool_area, heap_area, floats, z_area, wide_area, ids_area, distances_area, list_area;
    uint8_t *seen;     /* a number: == epoch: seen by this walk */
    uint64_t entry;    /* where walks begin, below limit; UINT64_MAX: nowhere */
    uint32_t limit;    /* numbers from here on are not looked at */
    size_t seen_count; /* of bytes that are kept */
    uint8_t epoch;
    uint64_t visited; /* vertices whose distances were computed */
    int16_t *z, *wide;
    uint32_t *ids; /* of a list, or of candidates */
    float *distances;
    ki_hnsw_pool pool;
    uint64_t *list, *spare; /* candidates that edges are chosen from, and room for as many */
    size_t heap_count;
    uint32_t picked[KI_HNSW_LEVEL_MAX + 1][2 * KI_HNSW_M_MAX];
    size_t picked_count[KI_HNSW_LEVEL_MAX + 1];
};

static inline uint32_t ki_hnsw_load(const uint8_t *at) {
    return atomic_load_explicit((const _Atomic uint32_t *)(const void *)at, memory_order_acquire);
}
static inline void ki_hnsw_store(uint8_t *at, uint32_t value) {
    atomic_store_explicit((_Atomic uint32_t *)(void *)at, value, memory_order_release);
}

static inline uint8_t *ki_hnsw_at(const ki_hnsw_chunks *chunks, uint64_t i) {
    uint8_t *chunk = atomic_load_explicit(&chunks->chunk[i >> chunks->shift], memory_order_acquire);
    return chunk + (size_t)(i & ((UINT64_C(1) << chunks->shift) - 1)) * chunks->each_bytes;
}
static inline uint8_t *ki_hnsw_row(const ki_hnsw_net *net, uint32_t number) {
    return ki_hnsw_at(&net->rows, number);
}
static inline const uint8_t *ki_hnsw_code(const uint8_t *row) {
    return row + KI_HNSW_HEAD_BYTES;
}
static inline ki_hnsw_side *ki_hnsw_beside(const ki_hnsw *h, uint32_t number) {
    return (ki_hnsw_side *)(void *)ki_hnsw_at(&h->sides, number);
}

/* Order of floats as order of numbers. */
static inline uint64_t ki_hnsw_entry(float distance, uint32_t number) {
    union {
        float f;
        uint32_t u;
    } bits = {distance};
    const uint32_t ordered = bits.u & UINT32_C(0x80000000) ? ~bits.u : bits.u | UINT32_C(0x80000000);
    return (uint64_t)ordered << 32 | (uint64_t)number << 1;
}
static inline uint32_t ki_hnsw_number(uint64_t entry) {
    return (uint32_t)entry >> 1;
}

/* ---- memory.c ---------------------------------------------------------------------------------------------------- */

/* The net of a segment's view. memory: two pointers that it leans on. */
void ki_hnsw_net_of_view(const ki_view *view, _Atomic(uint8_t *) memory[2], ki_hnsw_net *net);
int ki_hnsw_reserve_row(ki_hnsw *h, uint32_t number); /* 0: no memory */
/* A run of `level` blocks, 1.., of no neighbours; 0: no memory. */
int ki_hnsw_take_blocks(ki_hnsw *h, uint32_t level, uint32_t *first);
void ki_hnsw_give_blocks(ki_hnsw *h, uint32_t level, uint32_t first);
uint32_t ki_hnsw_level(const ki_hnsw_options *options, uint32_t number);
/* Reading: between the two a number that was seen keeps what it is (W2). Returns what to hand to leave. */
unsigned ki_hnsw_enter(ki_hnsw *h);
void ki_hnsw_leave(ki_hnsw *h, unsigned phase);
/* Wait until all who might have seen what went at `ticket` have left. Not between enter and leave. */
void ki_hnsw_wait(ki_hnsw *h, uint32_t ticket);
/* Room in a searcher for walks of `ef` candidates among numbers below `limit`; 0: no memory. */
int ki_hnsw_ready(ki_hnsw_searcher *s, const ki_hnsw_net *net, uint32_t limit, size_t ef);

/* ---- code.c ------------------------------------------------------------------------------------------------------ */

/* Write scale, norm and code of a vector into a row. floats: room for dim. */
void ki_hnsw_encode(const ki_hnsw_net *net, const void *vector, float *floats, uint8_t *row);
/* A query of a search; of bits it is borrowed. */
void ki_hnsw_query_of(const ki_hnsw_net *net, const void *query, ki_hnsw_searcher *s, ki_hnsw_query *q);
/* A stored vector that is compared with others. wide: room for code_bytes; limit2: of the graph. */
void ki_hnsw_query_of_row(const ki_hnsw_net *net, const uint8_t *row, int16_t *wide, float limit2, ki_hnsw_query *q);
/* Distances to rows; infinite where a number is no vertex. */
void ki_hnsw_score(const ki_hnsw_net *net, const ki_hnsw_query *q, const uint32_t *ids, size_t count, float *distances);
float ki_hnsw_limit2(const ki_hnsw *h);

/* ---- walk.c ------------------------------------------------------------------------------------------------------ */

/* A list of neighbours, bounded; 0 where there is none. ids: room for 2 m. */
size_t ki_hnsw_neighbours(const ki_hnsw_net *net, uint32_t number, uint32_t layer, uint32_t limit, uint32_t *ids);
/* Walk down from the entry to the nearest vertex of `layer` that greed finds; the pool then holds it alone. `entry`
 * must be a vertex below s->limit. */
void ki_hnsw_descend(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, uint64_t entry,
                     uint32_t layer);
/* Fill the pool with the nearest vertices of a layer, from those that it holds. */
void ki_hnsw_walk(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, uint32_t layer, size_t ef);
/* The same in layer 0 where not all may be results. 0: no memory. */
int ki_hnsw_walk_allowed(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, size_t ef,
                         ki_hnsw_search *search);
int ki_hnsw_is_allowed(const ki_hnsw_search *search, uint32_t number);
void ki_hnsw_begin_walk(ki_hnsw_searcher *s); /* nothing is seen */

/* ---- select.c ---------------------------------------------------------------------------------------------------- */

/* Choose at most `most` of `count` ascending candidates that lie in different directions (Algorithm 4). The chosen ones
 * come first, both parts ascending; returns how many. */
size_t ki_hnsw_select(ki_hnsw_searcher *s, const ki_hnsw_net *net, float limit2, uint64_t *list, size_t count,
                      size_t most);

/* ---- insert.c ---------------------------------------------------------------------------------------------------- */

/* Take the entry, and room in the searcher for walks from it; 0: no memory. */
int ki_hnsw_ready_in(ki_hnsw *h, ki_hnsw_searcher *s, size_t ef);
/* Give `number`, whose row is coded and not seen by others, its place among vertices. allow_twin: where an equal one is
 * found it becomes its twin. 0: there was no entry, and now there is: the searcher is to be made ready again. */
int ki_hnsw_place(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number, int allow_twin);
/* Let `from` have an edge to `to`; edges that have to go for it do, but for those that are some vertex's last. */
void ki_hnsw_link(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t to, uint32_t layer);
/* Make s->ids (count) a list, s->list, by distance from a vertex, without those that are none; how many are left. Room
 * for edges: their counts are in. */
size_t ki_hnsw_rank(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t layer, size_t count);
/* Make `list` (ascending by distance from `from`) the neighbours of `from`: as many as were chosen of it, and such as
 * would have no edge coming in otherwise. Under its lock, or alone. */
void ki_hnsw_relist(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t layer, uint64_t *list, size_t count,
                    size_t least);

#endif
