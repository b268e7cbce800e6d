/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan of product codes: table lookups summed over the sub-quantisers of a vector, for several queries at a time,
 * and the few float passes that encoding and the making of tables need.
 *
 * Fast scan [Andre, Kermarrec, Le Scouarnec: Cache locality is not enough, VLDB 2015; Quicker ADC, 2017]: tables of 16
 * bytes stay in registers and one byte shuffle looks up 16 codes. Departures: a byte first sums the entries of up to
 * four sub-quantisers, and only then grows to 16 bits, which is why tables are scaled so that those four fit a byte;
 * that makes ten instructions of sixteen. And vectors come in blocks of 16 rather than 32, as everywhere in kith.
 *
 * Layout. A block is 16 vectors in rows of 64 bytes.
 *   4 bits: row j, byte v + 16s (s = 0..3) has vector v's code of sub-quantiser 8j + s in its low nibble and of
 *           8j + 4 + s in its high one. A query's tables: rows x 8 x 16 bytes, entry k of sub-quantiser i at 16i + k.
 *   8 bits: row j, byte v + 16s has the code of sub-quantiser 4j + s. Tables: rows x 16 x 4 x 16 bytes, entry k of
 *           sub-quantiser 4j + s at 1024j + 64(k / 16) + 16s + k % 16.
 * Sub-quantisers past the last have codes and entries of zero.
 *
 * P1. 4 bits: of one query's entries any four of sub-quantisers 16i + s, +4, +8, +12 (s = 0..3) sum to 255 at most. All
 *     sums over a vector are at most 65535.
 * P2. score is
 *         s = fma(fma(sum, delta, low), scale, bias),
 *     each operation rounded once, the sum exact: the same bits on every tier. So are products, nearest and to_bytes.
 * P3. Kernels read whole rows of blocks first..end, their factors, and the operands; nothing past them, whatever the
 *     bytes of the codes say. They never allocate.
 *
 * Any thread. */
#ifndef KI_KERNEL_PQ_SCAN_H
#define KI_KERNEL_PQ_SCAN_H

#include "kernel/tile.h"

enum {
    KI_PQ_WIDTH_MAX = 8,   /* most queries of one call on any tier */
    KI_PQ_ROW4 = 8,        /* sub-quantisers of a row of 4-bit codes */
    KI_PQ_ROW8 = 4,        /* and of 8-bit codes */
    KI_PQ_TABLE4 = 128,    /* bytes of tables for a row of 4-bit codes */
    KI_PQ_TABLE8 = 1024,   /* and of 8-bit codes */
    KI_PQ_GROUP_MAX = 255, /* P1 */
    KI_PQ_SUM_MAX = 65535
};

/* What products clamps to: sums of 2^16 such values, and differences, stay finite. */
#define KI_PQ_PRODUCT_MAX 0x1p110f

/* Some queries that scan the same blocks. */
typedef struct ki_pq_scan {
    const uint8_t *codes;
    const float *factors; /* kernel/tile.h; scale and bias are read */
    size_t rows;          /* of a block */
    unsigned count;       /* of queries */
    const uint8_t *tables[KI_PQ_WIDTH_MAX];
    float delta[KI_PQ_WIDTH_MAX], low[KI_PQ_WIDTH_MAX], need[KI_PQ_WIDTH_MAX];
} ki_pq_scan;

/* Append a hit and its scores for each (block, query) in which some vector has s >= need, in ascending order of both;
 * returns the block to go on with: `end`, or less when there may not have been room for the next block's hits. Goes on
 * while *used + KI_PQ_WIDTH_MAX <= capacity. */
typedef size_t ki_pq_score_fn(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                              float (*scores)[KI_BLOCK], size_t capacity, size_t *used);

typedef struct ki_pq_kernels {
    unsigned width; /* most queries of a call of score4 and score8, 1..KI_PQ_WIDTH_MAX */
    ki_pq_score_fn *score4, *score8;
    /* out[k] = sum_j x[j] * book[j][k], by fma in ascending j from 0, clamped to +-KI_PQ_PRODUCT_MAX; book: dim x
     * columns, columns a multiple of 16. *low, *high: the least and the greatest. */
    void (*products)(const float *x, const float *book, size_t dim, size_t columns, float *out, float *low,
                     float *high);
    /* The least k with the greatest bias[k] + sum_j x[j] * book[j][k], by fma in ascending j from bias[k]. With bias
     * -|c|^2/2 that is the nearest centroid. *best: that value. Sums must not become NaN. */
    unsigned (*nearest)(const float *x, const float *book, const float *bias, size_t dim, size_t columns, float *best);
    /* out[i] = (values[i] - low) * inverse rounded to the nearest integer, ties to even; 16 of them. The caller keeps
     * it inside 0..255. */
    void (*to_bytes)(const float *values, float low, float inverse, uint8_t *out);
} ki_pq_kernels;

/* The table for this process; made once. */
const ki_pq_kernels *ki_pq(void);
/* The table that a feature mask would get: for tests and benchmarks. */
void ki_pq_fill(uint32_t features, ki_pq_kernels *table);
void ki_pq_fill_avx2(uint32_t features, ki_pq_kernels *table);
void ki_pq_fill_avx512(uint32_t features, ki_pq_kernels *table);
void ki_pq_fill_neon(uint32_t features, ki_pq_kernels *table);

#endif
