/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile scan: int8 products of many coded vectors with one or many coded queries, compared with each query's
 * threshold while still in registers. Only (block, query) pairs that may matter leave the kernel.
 *
 * Layout of codes. A block is 16 vectors. It is `quads` rows of 64 bytes; row j holds, for vector v = 0..15, the four
 * code bytes of dimensions 4j..4j+3 at byte 4v. A code byte is 128 + c with c in -128..127. This order feeds VPDPBUSD
 * (unsigned codes against broadcast signed query bytes), TDPBSUD (a run of 16 rows is a B operand as it lies there),
 * and plain code alike. The kernel computes sum (128 + c) v and starts from -128 * sum v, so codes need no correction.
 *
 * Layout of factors. Beside each block 64 floats: scale a[16], bias[16], norm[16], error[16]. For a vector x and a
 * query with scale b the estimate is a*b*dot + bias and its error at most A*norm + B*error + slack (see quant/int8.h).
 *
 * T1. A kernel reports every (block, query) pair in which some vector has
 *         a*b*dot + bias >= need - A*max(norm) - B*max(error) - slack        (maxima over the block)
 *     evaluated in float with a relative rounding of at most 2^-21 of the largest term, which `need` must have room
 *     for. It may report more, up to that rounding. With a panel of one query a kernel may take each vector's own norm,
 *     error and slack (norm2_slack * norm^2) in place of the maxima, and then reports fewer pairs, all that matter. All
 *     tiers report supersets of the same true set; dots are equal on every tier (integers).
 * T2. Kernels may read up to 1 KiB past the last block of the codes; nothing past the factors. They never allocate.
 * T3. AMX tiles are configured and released inside one call.
 * T4. score reports the pairs in which some vector has
 *         s = fma(fl(fl(dot) * b), a, bias) >= need        (each step rounded once)
 *     and all sixteen s: the same bits on every tier; a, b and the bounds' part of a panel are not read.
 * T5. score may ask memory for ahead_lines lines of 64 bytes from `ahead` on, which will be read after this call: at most
 *     one for each row of a block that it reads, so that asking never waits. Who calls it in turns moves `ahead` on.
 *
 * Any thread. */
#ifndef KI_KERNEL_TILE_H
#define KI_KERNEL_TILE_H

#include "kith.h"

#include <string.h>

enum {
    KI_BLOCK = 16,      /* vectors of a block */
    KI_QUAD_BYTES = 64, /* bytes of a row of a block */
    KI_FACTORS = 64,    /* floats beside a block */
    KI_FACTOR_SCALE = 0,
    KI_FACTOR_BIAS = 16,
    KI_FACTOR_NORM = 32,
    KI_FACTOR_ERROR = 48,
    KI_DOTS_MAX = 8,        /* most queries of one call of dots on any tier */
    KI_PANEL_MAX = 32,      /* most queries of a panel on any tier */
    KI_TILE_OVERREAD = 1024 /* T2 */
};

/* One level of codes of a segment. */
typedef struct ki_level {
    const uint8_t *codes;
    const float *factors;
    size_t quads, blocks;
} ki_level;

/* Largest (and least) factors of a block, made by ki_tile_bounds(). */
typedef struct ki_block_bound {
    float norm, error, slack; /* maxima; slack = norm2_slack * norm^2 */
    float bias;               /* maximum */
    float scale_max, scale_min;
} ki_block_bound;

/* Some queries packed together. Entries past `count` must hold scale 0, need +INFINITY and zero codes. */
typedef struct ki_panel {
    const void *packed; /* ki_tile_kernels.pack */
    unsigned count;
    float scale[KI_PANEL_MAX]; /* b */
    float need[KI_PANEL_MAX];  /* threshold less all terms that do not depend on the vector */
    float a[KI_PANEL_MAX], b[KI_PANEL_MAX];
    int32_t start[KI_PANEL_MAX]; /* -128 * sum of the query's code */
    float norm2_slack;           /* what ki_tile_bounds was given; read where bounds are NULL */
    const void *ahead;           /* T5 */
    size_t ahead_lines;          /* 0: nothing is known */
} ki_panel;

typedef struct ki_tile_hit {
    uint32_t block;
    uint16_t query; /* in the panel */
    uint16_t mask;  /* vectors of the block */
} ki_tile_hit;

/* One store: who reads a hit soon would wait for three. */
static inline __attribute__((always_inline)) void ki_tile_note(ki_tile_hit *hit, size_t block, unsigned query,
                                                               unsigned mask) {
    const uint64_t bytes = (uint32_t)block | (uint64_t)(uint16_t)query << 32 | (uint64_t)mask << 48;
    memcpy(hit, &bytes, sizeof(bytes));
}

/* What a kernel asks for beside each row of codes (T5); step 0: nothing, and `at` is in cache. */
typedef struct ki_tile_ask {
    const char *at;
    size_t step;
} ki_tile_ask;

/* Beside `lines` rows, after `asked` rows of the same call: for all of them or for none. */
static inline __attribute__((always_inline)) ki_tile_ask ki_tile_ask_beside(const ki_panel *panel, size_t asked,
                                                                            size_t lines) {
    if (asked + lines > panel->ahead_lines) return (ki_tile_ask){panel->packed, 0};
    return (ki_tile_ask){(const char *)panel->ahead + asked * KI_QUAD_BYTES, KI_QUAD_BYTES};
}

/* One line, into the second cache. A kernel that never asks has NULL for this, and nothing is compiled. */
static inline __attribute__((always_inline)) void ki_tile_ask_next(ki_tile_ask *beside) {
    __builtin_prefetch(beside->at, 0, 2);
    beside->at += beside->step;
}

typedef struct ki_tile_kernels {
    unsigned width;      /* queries of a full panel */
    unsigned dots_width; /* queries that one call of dots takes at most, 1..KI_DOTS_MAX */
    int bounds_single;   /* non-zero: scan takes bounds NULL with a panel of one query, and bounds each vector itself */
    /* Bytes of a packed panel. */
    size_t (*packed_bytes)(size_t quads, unsigned count);
    /* Pack `count` query codes of 4*quads signed bytes each. */
    void (*pack)(const int8_t *const *rows, unsigned count, size_t quads, void *packed);
    /* Scan blocks first..end, append hits; returns the block to go on with: `end`, or less when there may
     * not have been room for the next blocks' hits. Never more than `capacity`, which is at least 8 * KI_PANEL_MAX. */
    size_t (*scan)(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first, size_t end,
                   ki_tile_hit *hits, size_t capacity, size_t *count);
    /* Like scan, but by estimates alone (T4), and with them: scores[h][v] of hit h. As many scores as hits;
     * places of both from *count on may be overwritten, up to the capacity. */
    size_t (*score)(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                    float (*scores)[KI_BLOCK], size_t capacity, size_t *count);
    /* dot[i][v] = sum c*q over one block for `count` (1..dots_width) queries: the exact integer products. */
    void (*dots)(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                 unsigned count, int32_t (*dot)[KI_BLOCK]);
} ki_tile_kernels;

/* The table for this process; made once. */
const ki_tile_kernels *ki_tile(void);
/* The table that a feature mask would get: for tests and benchmarks. */
void ki_tile_fill(uint32_t features, ki_tile_kernels *table);
void ki_tile_fill_scalar(ki_tile_kernels *table);
void ki_tile_fill_avx2(uint32_t features, ki_tile_kernels *table);
void ki_tile_fill_avx512(uint32_t features, ki_tile_kernels *table);
void ki_tile_fill_amx(uint32_t features, ki_tile_kernels *table);
void ki_tile_fill_neon(uint32_t features, ki_tile_kernels *table);

/* Lay a code of 4*quads signed bytes into a block as its vector v. */
void ki_tile_lay(const int8_t *code, size_t quads, size_t v, uint8_t *block);

/* A level under construction. */
typedef struct ki_tile_room {
    uint8_t *codes;
    float *factors;
    size_t quads;
} ki_tile_room;

/* Blocks first..end get zeros as codes, and factors that never win. */
void ki_tile_clear(const ki_tile_room *room, size_t first, size_t end);
/* Vector v of the level: a code of 4*quads signed bytes; scale, bias, norm and error. */
void ki_tile_put(const ki_tile_room *room, size_t v, const int8_t *code, const float factors[4]);

/* bounds[i] for blocks first..end, at bounds[0..end-first]. */
void ki_tile_bounds(const ki_level *level, size_t first, size_t end, float norm2_slack, ki_block_bound *bounds);

#endif
