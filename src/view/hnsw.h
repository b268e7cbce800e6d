/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment's HNSW as searches see it, and the bytes of its rows. Vertex v is position v; so are those of graphs in
 * memory (hnsw/hnsw.h), whose rows are drawn alike.
 *
 * A row is `row_bytes` long, a multiple of 64:
 *       0  float scale, float norm, u32 state, u32 count of neighbours in layer 0
 *      16  u32 first block of its upper layers, u32 level (how many upper layers it is in), u32 next twin, u32 zero
 *      32  the code: numbers are int8, zeros up to a multiple of 32; bits as they are, zeros likewise
 *          u32 id[2 M]: its neighbours in layer 0; from `count` on anything
 *          zeros up to a multiple of 64
 * Numbers are coded relative to a centre c as x' = scale * code: x - c (l2), x/|x| - c (cosine), x (ip, which has no
 * centre). norm is |scale * code|^2 there; for ip |x|^2. Bits have scale 0 and norm 0.
 *
 * An upper layer's block: u32 count, u32 id[M]. A row of level L has the blocks upper .. upper + L - 1, of layers 1..L.
 *
 * Vectors with equal bytes are one vertex, of which the others are *twins*: they hang in a chain by `next`, have no
 * neighbours, and are nobody's.
 *
 * The model, in the file: magic "KITHNSW1", u32 m, u32 ef (of its building), u32 entry, u32 top level, u64 blocks,
 * 32 zeros; then float centre[dim] from byte 64 on, and the blocks from the next multiple of 64.
 *
 * V1. Rows are read from a file: ids are bounded before use, whatever the file says; floats may be anything. */
#ifndef KI_VIEW_HNSW_H
#define KI_VIEW_HNSW_H

#include "kith.h"

#include <stddef.h>
#include <stdint.h>

enum {
    KI_HNSW_M_MAX = 128,
    KI_HNSW_LEVEL_MAX = 15,
    KI_HNSW_HEAD_BYTES = 32,
    KI_HNSW_CODE_STEP = 32,
    KI_HNSW_MODEL_HEAD_BYTES = 64
};

/* Vertices that an HNSW holds at most: a walk keeps a mark beside each number. */
#define KI_HNSW_ROWS_MAX (UINT32_C(1) << 31)
#define KI_HNSW_NONE     UINT32_MAX

/* What a row is. */
enum { KI_HNSW_FREE = 0, KI_HNSW_VERTEX = 1, KI_HNSW_TWIN = 2, KI_HNSW_GONE = 3 };

typedef struct ki_hnsw_view {
    uint32_t m; /* 0: none */
    uint32_t ef, entry, top;
    uint64_t blocks;
    const float *centre; /* dim; NULL: zeros */
    const uint8_t *upper;
    const uint8_t *rows;
} ki_hnsw_view;

static inline size_t ki_hnsw_code_bytes(kith_dtype dtype, size_t dim) {
    const size_t bytes = dtype == KITH_B1 ? kith_row_bytes(dtype, dim) : dim;
    return (bytes + KI_HNSW_CODE_STEP - 1) / KI_HNSW_CODE_STEP * KI_HNSW_CODE_STEP;
}

static inline size_t ki_hnsw_row_bytes(uint32_t m, size_t code_bytes) {
    return (KI_HNSW_HEAD_BYTES + code_bytes + 2 * m * sizeof(uint32_t) + 63) / 64 * 64;
}

static inline size_t ki_hnsw_block_bytes(uint32_t m) {
    return (1 + (size_t)m) * sizeof(uint32_t);
}

/* Where the blocks begin in the model. */
static inline size_t ki_hnsw_blocks_at(size_t dim) {
    return (KI_HNSW_MODEL_HEAD_BYTES + dim * sizeof(float) + 63) / 64 * 64;
}

#endif
