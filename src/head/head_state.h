/* SPDX-License-Identifier: Apache-2.0
 *
 * A head from the inside: what head.c (rows), head_keys.c, head_block.c (vectors and their codes), head_search.c,
 * head_graph.c and head_measure.c (links between vectors) and head_walk.c share.
 *
 * Memory is reserved for the whole capacity when a head is made, and the system gives pages as they are first written:
 * so nothing ever moves, and a search sees one run of blocks. */
#ifndef KI_HEAD_HEAD_STATE_H
#define KI_HEAD_HEAD_STATE_H

#include "flat/build.h"
#include "head/head.h"

/* What walks find and cost is known for these depths, and so many candidates a result (head_measure.c). */
enum { KI_HEAD_DEPTHS = 2, KI_HEAD_RATIOS = 12 };

/* An HNSW over the vectors of one name. Its numbers are places. */
typedef struct ki_head_graph {
    ki_hnsw *hnsw;
    ki_hnsw_searcher *searcher; /* who links has these five */
    ki_desk *desk;
    uint64_t *in;          /* by place: is in the graph */
    size_t tried;          /* of the places below all that lived then are in */
    size_t measured;       /* `tried` when walks were measured last */
    _Atomic size_t linked; /* for searches: whole blocks below `tried`; 0 until walks are measured */
    _Atomic uint32_t found[KI_HEAD_DEPTHS][KI_HEAD_RATIOS]; /* of a million true neighbours; 0: not measured */
    _Atomic uint32_t visits[KI_HEAD_DEPTHS][KI_HEAD_RATIOS];
} ki_head_graph;

/* The vectors of one name. Row r of the head has its vector at place[r], or, with KI_HEAD_ABSENT set there, has none
 * and place[r] says how many vectors the rows before it have. */
typedef struct ki_head_block {
    kith_metric metric;
    kith_dtype dtype;
    size_t dim, row_bytes;
    size_t places;      /* the writer's count */
    size_t block_bytes; /* of codes, 0: bits, which have none */
    uint8_t *originals; /* by place */
    uint64_t *labels;   /* by place: the keys */
    float *norms2;      /* by place; cosine, else NULL */
    uint32_t *serial;   /* by place */
    uint32_t *place;    /* by serial */
    uint8_t *codes;     /* of whole blocks */
    float *factors;
    void *memory;     /* all of these */
    ki_recipe recipe; /* centre NULL: not made yet. Constant once `coded` is not 0 */
    float centre_norm;
    ki_run run;           /* of one block; memory NULL: none yet. The writer's */
    int uncodable;        /* a row did not fit: what comes stays plain */
    _Atomic size_t coded; /* blocks 0..coded are coded: stored with release, so that who loads it with acquire may read
                           * them. Blocks that a reader's count takes in are never coded anew (head.h H1) */
    _Atomic(ki_head_graph *) graph; /* NULL: nobody linked; stays from then on */
    _Atomic uint64_t asked;         /* queries that scanned what they might have walked, since it was linked last */
} ki_head_block;

#define KI_HEAD_ABSENT (UINT32_C(1) << 31)

typedef struct ki_head_strings ki_head_strings;

typedef struct ki_head_table ki_head_table; /* head_keys.c */

/* The keys of rows, and where each is. All but `table` is by serial. */
typedef struct ki_head_keys {
    uint64_t *key;
    _Atomic uint32_t *newer; /* the next row of the same key, or 0 */
    uint32_t *newest;        /* of a key's first row: its last one. The writer's, as are the next two */
    uint32_t *previous;      /* the row of the same key before, or UINT32_MAX */
    size_t distinct;         /* keys */
    _Atomic(ki_head_table *) table;
} ki_head_keys;

/* One row but for its vectors and its key. */
typedef struct ki_head_entry {
    ki_head_view view;
    const ki_value *value; /* one a field of the schema */
    const ki_head_strings *strings;
    size_t mark, used; /* the arena before the row: how many pieces, and bytes used of the last one */
} ki_head_entry;

/* The strings that a row's values name. */
struct ki_head_strings {
    size_t count;
    const char **string;
    uint32_t *bytes;
};

typedef struct ki_head_piece {
    char *data;
    size_t bytes, used;
} ki_head_piece;

struct ki_head {
    _Atomic uint64_t references;
    _Atomic uint64_t arena_bytes; /* for ki_head_memory_bytes() of any thread */
    _Atomic size_t count;         /* appended; only the writer changes it */
    size_t capacity, specs;
    const ki_schema *schema;
    ki_head_keys keys;
    ki_head_entry *entries;
    ki_head_block *blocks; /* one a spec; without memory: of dimension 0 */
    void *pieces;          /* ki_head_piece: payloads, texts, values; the writer's */
    size_t piece_count, piece_capacity;
};

/* ---- head_keys.c ------------------------------------------------------------------------------------------------- */

int ki_head_keys_create(size_t capacity, ki_head_keys *keys); /* 0: no memory; to be destroyed all the same */
void ki_head_keys_destroy(ki_head_keys *keys);
/* Room for one more key behind `count` rows; 0: no memory. */
int ki_head_keys_reserve(ki_head_keys *keys, size_t count);
/* The key of the next row; room was reserved. */
void ki_head_keys_append(ki_head_keys *keys, uint32_t serial, uint64_t key);
/* Forget the last row. */
void ki_head_keys_cut(ki_head_keys *keys, uint32_t serial);
/* The newest row of a key among all `count`, for the writer; and among the first `count`, for any thread. */
int ki_head_keys_newest(const ki_head_keys *keys, size_t count, uint64_t key, uint32_t *serial);
int ki_head_keys_find(const ki_head_keys *keys, size_t count, uint64_t key, uint32_t *serial);
uint64_t ki_head_keys_bytes(const ki_head_keys *keys, size_t rows);

/* ---- head_block.c ------------------------------------------------------------------------------------------------ */

kith_status ki_head_block_create(const kith_vector_spec *spec, size_t capacity, ki_head_block *block,
                                 kith_error *error);
void ki_head_block_destroy(ki_head_block *block);
/* The vector of the next row, or NULL; cannot fail. Codes what has become whole. */
void ki_head_block_append(ki_head_block *block, uint32_t serial, uint64_t key, const void *vector);
/* Forget the vectors of the rows from `count` on, of which there is at least one. */
void ki_head_block_cut(ki_head_block *block, size_t count);
/* How many vectors the first `count` rows have. */
size_t ki_head_block_places(const ki_head_block *block, size_t count);
uint64_t ki_head_block_bytes(const ki_head_block *block, size_t rows);

/* ---- head_search.c ----------------------------------------------------------------------------------------------- */

/* Search the blocks first..end of the first `rows` places exactly: the best of the places in `allowed` (NULL: all) are
 * merged into what each of at most ki_flat_group() queries has. Hits have places as positions. */
typedef struct ki_head_scan {
    const ki_head_block *block;
    ki_view view;            /* of the first `rows` places */
    size_t coded;            /* blocks before are scanned by their codes; the rest is scored */
    const uint64_t *allowed; /* by place */
    size_t k;
    ki_limits limits;
    ki_desk *desk;
    ki_counts *counts;
} ki_head_scan;
void ki_head_scan_view(const ki_head_block *block, size_t rows, ki_head_scan *scan); /* fills the first three */
kith_status ki_head_scan_run(const ki_head_scan *scan, size_t first, size_t end, const void *queries, size_t count,
                             ki_hit *hits, size_t *hit_count);

/* ---- head_graph.c, head_measure.c -------------------------------------------------------------------------------- */

void ki_head_graph_destroy(ki_head_graph *graph); /* NULL is fine */
/* What a row costs a scan, in units of a twentieth of a nanosecond, about. */
uint64_t ki_head_row_cost(const ki_head_block *block);
/* Rows of that cost are worth links, and so many vectors at the end of them. */
int ki_head_worth_links(const ki_head_block *block, size_t rows, size_t linked);
/* Measure walks with the vectors of so many places, none of which is linked yet, of the first `rows`. */
kith_status ki_head_measure(const ki_head_block *block, ki_head_graph *graph, size_t rows, const uint32_t *places,
                            size_t count, const atomic_int *stop);
/* Candidates that find a share `target` of the k nearest, and how many vertices such walks look at; 0: none that was
 * measured does. */
size_t ki_head_effort(const ki_head_graph *graph, size_t k, double target, double *visits);

/* ---- head_walk.c ------------------------------------------------------------------------------------------------- */

/* How a search walks. */
typedef struct ki_head_walk {
    ki_head_graph *graph;
    size_t linked; /* places before are walked to; 0: no walk pays, all is scanned */
    size_t ef, matches;
    uint64_t visits_max;
    const uint64_t *allowed; /* by place */
} ki_head_walk;
/* Decide, and note that links would have been used. allowed: bits by place, or NULL. */
void ki_head_walk_plan(const ki_head_search *search, const uint64_t *allowed, size_t rows, ki_head_walk *walk);
/* The k nearest of what is linked; 0: fewer than there are were found, or there was no memory. */
int ki_head_walk_run(const ki_head_search *search, const ki_head_walk *walk, const void *query, ki_hit *hits,
                     size_t *count);

#endif
