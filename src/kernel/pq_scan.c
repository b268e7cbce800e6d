/* SPDX-License-Identifier: Apache-2.0
 *
 * The scalar reference of the scan of product codes, and what a tier's table holds. */
#include "kernel/pq_scan.h"

#include <math.h>

enum { WIDTH = 4 };

static void sums4(const uint8_t *codes, size_t rows, const uint8_t *tables, uint32_t sum[KI_BLOCK]) {
    for (unsigned v = 0; v < KI_BLOCK; v++) sum[v] = 0;
    for (size_t j = 0; j < rows; j++, codes += KI_QUAD_BYTES, tables += KI_PQ_TABLE4)
        for (unsigned i = 0; i < KI_QUAD_BYTES; i++) {
            const uint8_t *low = tables + i / KI_BLOCK * 16, *high = low + KI_PQ_TABLE4 / 2;
            sum[i % KI_BLOCK] += (uint32_t)(low[codes[i] & 15] + high[codes[i] >> 4]);
        }
}

static void sums8(const uint8_t *codes, size_t rows, const uint8_t *tables, uint32_t sum[KI_BLOCK]) {
    for (unsigned v = 0; v < KI_BLOCK; v++) sum[v] = 0;
    for (size_t j = 0; j < rows; j++, codes += KI_QUAD_BYTES, tables += KI_PQ_TABLE8)
        for (unsigned i = 0; i < KI_QUAD_BYTES; i++)
            sum[i % KI_BLOCK] += tables[(codes[i] >> 4) * 64 + i / KI_BLOCK * 16 + (codes[i] & 15)];
}

/* Scores of one block for query q from its sums; the mask of those that reach its need. */
static unsigned finish(const ki_pq_scan *scan, unsigned q, const float *factors, const uint32_t sum[KI_BLOCK],
                       float score[KI_BLOCK]) {
    unsigned mask = 0;
    for (unsigned v = 0; v < KI_BLOCK; v++) {
        const float estimate = fmaf((float)sum[v], scan->delta[q], scan->low[q]);
        score[v] = fmaf(estimate, factors[KI_FACTOR_SCALE + v], factors[KI_FACTOR_BIAS + v]);
        mask |= (unsigned)(score[v] >= scan->need[q]) << v;
    }
    return mask;
}

static size_t scan_any(int bits, const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    size_t block = first, n = *used;
    for (; block < end && n + KI_PQ_WIDTH_MAX <= capacity; block++) {
        const uint8_t *codes = scan->codes + block * scan->rows * KI_QUAD_BYTES;
        for (unsigned q = 0; q < scan->count; q++) {
            uint32_t sum[KI_BLOCK];
            (bits == 4 ? sums4 : sums8)(codes, scan->rows, scan->tables[q], sum);
            const unsigned mask = finish(scan, q, scan->factors + block * KI_FACTORS, sum, scores[n]);
            if (mask) hits[n++] = (ki_tile_hit){(uint32_t)block, (uint16_t)q, (uint16_t)mask};
        }
    }
    *used = n;
    return block;
}

static size_t score4(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits, float (*scores)[KI_BLOCK],
                     size_t capacity, size_t *used) {
    return scan_any(4, scan, first, end, hits, scores, capacity, used);
}

static size_t score8(const ki_pq_scan *scan, size_t first, size_t end, ki_tile_hit *hits, float (*scores)[KI_BLOCK],
                     size_t capacity, size_t *used) {
    return scan_any(8, scan, first, end, hits, scores, capacity, used);
}

static void products(const float *x, const float *book, size_t dim, size_t columns, float *out, float *low,
                     float *high) {
    *low = KI_PQ_PRODUCT_MAX, *high = -KI_PQ_PRODUCT_MAX;
    for (size_t k = 0; k < columns; k++) {
        float sum = 0;
        for (size_t j = 0; j < dim; j++) sum = fmaf(x[j], book[j * columns + k], sum);
        sum = sum < KI_PQ_PRODUCT_MAX ? sum : KI_PQ_PRODUCT_MAX;
        sum = sum > -KI_PQ_PRODUCT_MAX ? sum : -KI_PQ_PRODUCT_MAX;
        *low = sum < *low ? sum : *low;
        *high = sum > *high ? sum : *high;
        out[k] = sum;
    }
}

static unsigned nearest(const float *x, const float *book, const float *bias, size_t dim, size_t columns, float *best) {
    unsigned at = 0;
    for (size_t k = 0; k < columns; k++) {
        float sum = bias[k];
        for (size_t j = 0; j < dim; j++) sum = fmaf(x[j], book[j * columns + k], sum);
        if (k == 0 || sum > *best) at = (unsigned)k, *best = sum;
    }
    return at;
}

static void to_bytes(const float *values, float low, float inverse, uint8_t *out) {
    for (int i = 0; i < 16; i++) out[i] = (uint8_t)(int)rintf((values[i] - low) * inverse);
}

void ki_pq_fill(uint32_t features, ki_pq_kernels *table) {
    *table = (ki_pq_kernels){.width = WIDTH,
                             .score4 = score4,
                             .score8 = score8,
                             .products = products,
                             .nearest = nearest,
                             .to_bytes = to_bytes};
    ki_pq_fill_avx2(features, table);
    ki_pq_fill_avx512(features, table);
    ki_pq_fill_neon(features, table);
}
