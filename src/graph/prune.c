/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing edges among candidates. */
#include "graph/inner.h"

#include "base/checked.h"

#include <string.h>

int ki_graph_pruner_create(const ki_graph_codes *codes, ki_graph_pruner *pruner) {
    pruner->codes = codes;
    pruner->blocks = ki_alloc_array_zeroed((uint64_t)KI_PRUNE_MAX * codes->bytes + KI_TILE_OVERREAD, 1);
    return pruner->blocks != NULL;
}

void ki_graph_pruner_free(ki_graph_pruner *pruner) {
    free(pruner->blocks);
}

static ki_level level_of(const ki_graph_pruner *pruner, size_t count) {
    return (ki_level){pruner->blocks, NULL, pruner->codes->bytes / 4, (count + KI_BLOCK - 1) / KI_BLOCK};
}

static void lay(ki_graph_pruner *pruner, const uint32_t *id, size_t count) {
    const size_t bytes = pruner->codes->bytes;
    for (size_t i = 0; i < count; i++)
        ki_tile_lay(ki_graph_code(pruner->codes, id[i]), bytes / 4, i % KI_BLOCK,
                    pruner->blocks + i / KI_BLOCK * KI_BLOCK * bytes);
}

/* Distances of x and block `block` of what is laid, whose first is id[0]. */
static void apart_block(const ki_graph_pruner *pruner, uint32_t x, size_t block, const uint32_t *id, size_t count,
                        float *apart) {
    const ki_graph_codes *codes = pruner->codes;
    const ki_level level = level_of(pruner, (block + 1) * KI_BLOCK);
    const int8_t *query = ki_graph_code(codes, x);
    int32_t dot[1][KI_BLOCK];
    ki_tile()->dots(&level, block, &query, &codes->start[x], 1, dot);
    for (size_t i = 0; i < count; i++) apart[i] = ki_graph_apart(codes, x, id[i], dot[0][i]);
}

static void apart_laid(const ki_graph_pruner *pruner, uint32_t x, const uint32_t *id, size_t count, float *apart) {
    for (size_t i = 0; i < count; i += KI_BLOCK)
        apart_block(pruner, x, i / KI_BLOCK, id + i, ki_min_size(KI_BLOCK, count - i), apart + i);
}

void ki_graph_apart_all(ki_graph_pruner *pruner, uint32_t x, const uint32_t *id, size_t count, float *apart) {
    for (size_t i = 0; i < count; i += KI_PRUNE_MAX) {
        const size_t taken = ki_min_size(KI_PRUNE_MAX, count - i);
        lay(pruner, id + i, taken);
        apart_laid(pruner, x, id + i, taken, apart + i);
    }
}

/* By (apart, id): candidates are few. */
static void sort(ki_graph_pruner *pruner) {
    for (size_t i = 0; i < pruner->count; i++) {
        const float apart = pruner->apart[i];
        size_t at = i;
        for (; at; at--) {
            const uint16_t before = pruner->order[at - 1];
            if (pruner->apart[before] < apart || (pruner->apart[before] == apart && pruner->id[before] < pruner->id[i]))
                break;
            pruner->order[at] = before;
        }
        pruner->order[at] = (uint16_t)i;
    }
}

/* Strike out what the chosen one is nearer to than x. */
static void strike(ki_graph_pruner *pruner, size_t chosen, float alpha) {
    float apart[KI_PRUNE_MAX];
    apart_laid(pruner, pruner->id[chosen], pruner->id, pruner->count, apart);
    for (size_t i = 0; i < pruner->count; i++)
        if (alpha * apart[i] <= pruner->apart[i]) pruner->out[i] = 1;
}

size_t ki_graph_prune(ki_graph_pruner *pruner, uint32_t x, const uint32_t *id, size_t count, size_t degree, float alpha,
                      uint32_t *edge, size_t *chosen) {
    size_t used = 0;
    pruner->count = count;
    memcpy(pruner->id, id, count * sizeof(*id));
    memset(pruner->out, 0, count);
    lay(pruner, id, count);
    apart_laid(pruner, x, id, count, pruner->apart);
    sort(pruner);
    for (size_t i = 0; i < count && used < degree; i++) {
        const uint16_t at = pruner->order[i];
        if (pruner->out[at]) continue;
        edge[used++] = id[at];
        strike(pruner, at, alpha);
        pruner->out[at] = 2; /* it is nearest to itself */
    }
    *chosen = used;
    for (size_t i = 0; i < count && used < degree; i++)
        if (pruner->out[pruner->order[i]] != 2) edge[used++] = id[pruner->order[i]];
    return used;
}
