/* SPDX-License-Identifier: Apache-2.0
 *
 * A head from the inside: what head.c (rows), head_block.c (vectors and their codes) and head_search.c share.
 *
 * Memory is reserved for the whole capacity when a head is made, and the system gives pages as they are first written:
 * so nothing ever moves, and a search sees one run of blocks. */
#ifndef KI_COLLECTION_HEAD_STATE_H
#define KI_COLLECTION_HEAD_STATE_H

#include "collection/head.h"
#include "flat/build.h"

/* The vectors of one name. Row r of the head has its vector at place[r], or, with KI_HEAD_ABSENT set there, has none and
 * place[r] says how many vectors the rows before it have. */
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
} ki_head_block;

#define KI_HEAD_ABSENT (UINT32_C(1) << 31)

typedef struct ki_head_strings ki_head_strings;

/* One row but for its vectors and its key. */
typedef struct ki_head_entry {
    ki_head_view view;
    const ki_value *value; /* one a field of the schema */
    const ki_head_strings *strings;
    uint32_t previous; /* the older row of its key, or UINT32_MAX: what cutting brings back */
    uint32_t mark;     /* arena as it was before the row: the block, */
    size_t used;       /* and bytes used in it */
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
    uint64_t *keys; /* by serial */
    ki_head_entry *entries;
    ki_head_block *blocks; /* one a name */
    /* The writer's */
    uint32_t *slots; /* hash table of keys: the newest row's serial + 1, or 0 */
    size_t slot_count;
    size_t used_keys;
    void *pieces; /* ki_head_piece: payloads, texts, values */
    size_t piece_count, piece_capacity;
};

/* ---- head_block.c -------------------------------------------------------------------------------------------------- */

kith_status ki_head_block_create(const kith_vector_spec *spec, size_t capacity, ki_head_block *block,
                                 kith_error *error);
void ki_head_block_destroy(ki_head_block *block);
/* The vector of the next row, or NULL; cannot fail. Codes what has become whole. */
void ki_head_block_append(ki_head_block *block, uint32_t serial, uint64_t key, const void *vector);
/* Forget the vectors of the rows from `count` on, of which there is at least one. */
void ki_head_block_cut(ki_head_block *block, size_t count);
/* How many vectors the first `count` rows have; at most `known` rows may be asked about. */
size_t ki_head_block_places(const ki_head_block *block, size_t count);
uint64_t ki_head_block_bytes(const ki_head_block *block, size_t rows);

#endif
