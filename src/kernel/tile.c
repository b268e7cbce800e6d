/* SPDX-License-Identifier: Apache-2.0
 *
 * The scalar reference of the tile scan, and what a tier's table holds. */
#include "kernel/tile.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SCALAR_WIDTH = 4 };

static size_t scalar_packed_bytes(size_t quads, unsigned count) {
    return quads * 4 * count;
}

static void scalar_pack(const int8_t *const *rows, unsigned count, size_t quads, void *packed) {
    for (unsigned i = 0; i < count; i++) memcpy((int8_t *)packed + i * quads * 4, rows[i], quads * 4);
}

static void one_query(const ki_level *level, size_t block, const int8_t *query, int32_t start, int32_t dot[KI_BLOCK]) {
    const uint8_t *codes = level->codes + block * level->quads * KI_QUAD_BYTES;
    for (int v = 0; v < KI_BLOCK; v++) dot[v] = start;
    for (size_t j = 0; j < level->quads; j++, codes += KI_QUAD_BYTES, query += 4)
        for (int v = 0; v < KI_BLOCK; v++)
            dot[v] += codes[4 * v] * query[0] + codes[4 * v + 1] * query[1] + codes[4 * v + 2] * query[2] +
                      codes[4 * v + 3] * query[3];
}

static void scalar_dots(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                        unsigned count, int32_t (*dot)[KI_BLOCK]) {
    for (unsigned i = 0; i < count; i++) one_query(level, block, queries[i], starts[i], dot[i]);
}

static size_t scalar_scan(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                          size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    size_t used = *count, block = first;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++, bounds++) {
        const float *factors = level->factors + block * KI_FACTORS;
        for (unsigned q = 0; q < panel->count; q++) {
            int32_t dot[KI_BLOCK];
            one_query(level, block, (const int8_t *)panel->packed + q * level->quads * 4, panel->start[q], dot);
            const float need =
                panel->need[q] - panel->a[q] * bounds->norm - panel->b[q] * bounds->error - bounds->slack;
            unsigned mask = 0;
            for (int v = 0; v < KI_BLOCK; v++) {
                const float estimate =
                    (float)dot[v] * panel->scale[q] * factors[KI_FACTOR_SCALE + v] + factors[KI_FACTOR_BIAS + v];
                mask |= (unsigned)(estimate >= need) << v;
            }
            if (mask) hits[used++] = (ki_tile_hit){(uint32_t)block, (uint16_t)q, (uint16_t)mask};
        }
    }
    *count = used;
    return block;
}

static size_t scalar_score(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                           float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    size_t used = *count, block = first;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++) {
        const float *factors = level->factors + block * KI_FACTORS;
        for (unsigned q = 0; q < panel->count; q++) {
            int32_t dot[KI_BLOCK];
            one_query(level, block, (const int8_t *)panel->packed + q * level->quads * 4, panel->start[q], dot);
            unsigned mask = 0;
            for (int v = 0; v < KI_BLOCK; v++) {
                scores[used][v] =
                    fmaf((float)dot[v] * panel->scale[q], factors[KI_FACTOR_SCALE + v], factors[KI_FACTOR_BIAS + v]);
                mask |= (unsigned)(scores[used][v] >= panel->need[q]) << v;
            }
            if (mask) hits[used++] = (ki_tile_hit){(uint32_t)block, (uint16_t)q, (uint16_t)mask};
        }
    }
    *count = used;
    return block;
}

void ki_tile_lay(const int8_t *code, size_t quads, size_t v, uint8_t *block) {
    for (size_t j = 0; j < quads; j++) {
        uint32_t four;
        memcpy(&four, code + 4 * j, 4);
        four ^= 0x80808080u; /* 128 + code, byte by byte */
        memcpy(block + j * KI_QUAD_BYTES + 4 * v, &four, 4);
    }
}

void ki_tile_clear(const ki_tile_room *room, size_t first, size_t end) {
    memset(room->codes + first * room->quads * KI_QUAD_BYTES, 128, (end - first) * room->quads * KI_QUAD_BYTES);
    memset(room->factors + first * KI_FACTORS, 0, (end - first) * KI_FACTORS * sizeof(float));
    for (size_t block = first; block < end; block++)
        for (size_t v = 0; v < KI_BLOCK; v++) room->factors[block * KI_FACTORS + KI_FACTOR_BIAS + v] = -FLT_MAX;
}

void ki_tile_put(const ki_tile_room *room, size_t v, const int8_t *code, const float factors[4]) {
    const size_t block = v / KI_BLOCK;
    float *to = room->factors + block * KI_FACTORS + v % KI_BLOCK;
    ki_tile_lay(code, room->quads, v % KI_BLOCK, room->codes + block * room->quads * KI_QUAD_BYTES);
    to[KI_FACTOR_SCALE] = factors[0];
    to[KI_FACTOR_BIAS] = factors[1];
    to[KI_FACTOR_NORM] = factors[2];
    to[KI_FACTOR_ERROR] = factors[3];
}

void ki_tile_bounds(const ki_level *level, size_t first, size_t end, float norm2_slack, ki_block_bound *bounds) {
    for (size_t block = first; block < end; block++, bounds++) {
        const float *factors = level->factors + block * KI_FACTORS;
        ki_block_bound bound = {.bias = factors[KI_FACTOR_BIAS],
                                .scale_max = factors[KI_FACTOR_SCALE],
                                .scale_min = factors[KI_FACTOR_SCALE]};
        for (int v = 0; v < KI_BLOCK; v++) {
            const float scale = factors[KI_FACTOR_SCALE + v], bias = factors[KI_FACTOR_BIAS + v];
            const float norm = factors[KI_FACTOR_NORM + v], error = factors[KI_FACTOR_ERROR + v];
            if (norm > bound.norm) bound.norm = norm;
            if (error > bound.error) bound.error = error;
            if (bias > bound.bias) bound.bias = bias;
            if (scale > bound.scale_max) bound.scale_max = scale;
            if (scale < bound.scale_min) bound.scale_min = scale;
        }
        bound.slack = norm2_slack * bound.norm * bound.norm;
        *bounds = bound;
    }
}

void ki_tile_fill_scalar(ki_tile_kernels *table) {
    *table = (ki_tile_kernels){.width = SCALAR_WIDTH,
                               .dots_width = KI_DOTS_MAX,
                               .packed_bytes = scalar_packed_bytes,
                               .pack = scalar_pack,
                               .scan = scalar_scan,
                               .score = scalar_score,
                               .dots = scalar_dots};
}

void ki_tile_fill(uint32_t features, ki_tile_kernels *table) {
    ki_tile_fill_scalar(table);
    ki_tile_fill_avx2(features, table);
    ki_tile_fill_avx512(features, table);
    ki_tile_fill_amx(features, table);
    ki_tile_fill_neon(features, table);
    if (table->dots_width == 0) table->dots_width = 4;
}
