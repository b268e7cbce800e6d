/* SPDX-License-Identifier: Apache-2.0
 *
 * Rounds near the last one: a row's new list is sought only among those nearest to where its last list was. The rows of
 * a list are taken together, as blocks of codes, and the centroids are what queries are elsewhere: sixteen rows compare
 * one centroid at a time in their own lanes. */
#include "kmeans/inner.h"

#include "base/checked.h"
#include "kernel/cluster.h"

#include <math.h>

struct ki_near_scratch {
    uint8_t *block; /* sixteen rows, as the kernel reads them */
};

/* Centroids near to one list, as dots want them. */
struct nearby {
    unsigned count;
    const uint32_t *list;
    const int8_t *code[KI_NEAR];
    int32_t start[KI_NEAR];
    float scale[KI_NEAR], bias[KI_NEAR];
};

void ki_near_scratch_destroy(ki_near_scratch *scratch) {
    if (!scratch) return;
    free(scratch->block);
    free(scratch);
}

ki_near_scratch *ki_near_scratch_create(size_t dim) {
    ki_near_scratch *scratch = ki_alloc_array_zeroed(1, sizeof(*scratch));
    if (!scratch) return NULL;
    scratch->block = ki_alloc_array_zeroed(ki_centroid_code_bytes(KI_BLOCK, dim), 1);
    if (scratch->block) return scratch;
    ki_near_scratch_destroy(scratch);
    return NULL;
}

static void gather(const ki_near *near, const uint32_t *list, struct nearby *nearby) {
    nearby->list = list;
    nearby->count = 0;
    for (unsigned i = 0; i < KI_NEAR && list[i] != UINT32_MAX; i++, nearby->count++) {
        nearby->code[i] = near->centroids->codes + list[i] * near->centroids->bytes;
        nearby->start[i] = near->centroids->start[list[i]];
        nearby->scale[i] = near->centroids->scale[list[i]];
        nearby->bias[i] = near->coarse->factors[list[i] / KI_BLOCK * KI_FACTORS + KI_FACTOR_BIAS + list[i] % KI_BLOCK];
    }
}

/* Rows row[0..count], at most sixteen. */
static void choose(const ki_near *near, ki_near_scratch *scratch, const struct nearby *nearby, const uint32_t *row,
                   size_t count, uint32_t *choice) {
    const size_t width = ki_tile()->dots_width, bytes = near->rows->bytes;
    const ki_level level = {scratch->block, NULL, bytes / 4, 1};
    float scale[KI_BLOCK] = {0}, best[KI_BLOCK];
    uint32_t chosen[KI_BLOCK];
    int32_t dot[KI_DOTS_MAX][KI_BLOCK];
    for (size_t v = 0; v < KI_BLOCK; v++) {
        best[v] = -INFINITY;
        chosen[v] = nearby->list[0];
        const size_t from = row[v < count ? v : 0];
        ki_tile_lay(near->rows->codes + from * bytes, level.quads, v, scratch->block);
        scale[v] = near->rows->scale[from];
    }
    for (unsigned i = 0; i < nearby->count; i += (unsigned)width) {
        const unsigned taken = (unsigned)ki_min_size(width, nearby->count - i);
        ki_tile()->dots(&level, 0, nearby->code + i, nearby->start + i, taken, dot);
        ki_cluster()->nearest((const int32_t(*)[KI_BLOCK])dot, taken, scale, nearby->scale + i, nearby->bias + i,
                              nearby->list + i, best, chosen);
    }
    for (size_t v = 0; v < count; v++) choice[row[v]] = chosen[v];
}

void ki_near_assign(const ki_near *near, ki_near_scratch *scratch, const uint32_t *list, const uint32_t *row,
                    size_t count, uint32_t *choice) {
    struct nearby nearby;
    gather(near, list, &nearby);
    for (size_t i = 0; i < count; i += KI_BLOCK)
        choose(near, scratch, &nearby, row + i, ki_min_size(KI_BLOCK, count - i), choice);
}
