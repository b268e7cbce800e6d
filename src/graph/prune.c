/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing edges among candidates: an edge stays if no chosen neighbour is nearer to its end. */
#include "graph/inner.h"

#include "base/rng.h"

void ki_graph_add_far(const ki_graph_build *build, ki_graph_pruner *pruner, uint32_t v) {
    ki_rng rng = {build->in.seed ^ (uint64_t)v * UINT64_C(0x9e3779b97f4a7c15)};
    for (int i = 0; i < KI_GRAPH_FAR && pruner->count < KI_PRUNE_MAX; i++) {
        const uint32_t id = build->elder[ki_rng_below(&rng, build->codes.rows)];
        if (id == v || ki_graph_has(pruner->id, pruner->count, id)) continue;
        pruner->id[pruner->count] = id;
        pruner->apart[pruner->count++] = ki_graph_apart(&build->codes, v, id);
    }
}

/* By (apart, id): candidates are few. */
static void sort(ki_graph_pruner *p) {
    for (size_t i = 0; i < p->count; i++) {
        const float apart = p->apart[i];
        size_t at = i;
        for (; at; at--) {
            const uint16_t before = p->order[at - 1];
            if (p->apart[before] < apart || (p->apart[before] == apart && p->id[before] < p->id[i])) break;
            p->order[at] = before;
        }
        p->order[at] = (uint16_t)i;
    }
}

/* Strike out those behind place `from` of the order that the one there is nearer to than their vertex. */
static void strike(const ki_graph_codes *codes, ki_graph_pruner *p, size_t from) {
    const uint32_t chosen = p->id[p->order[from]];
    for (size_t i = from + 1; i < p->count; i++) {
        const uint16_t at = p->order[i];
        if (!p->out[at] && ki_graph_strikes(ki_graph_apart(codes, chosen, p->id[at]), p->apart[at])) p->out[at] = 1;
    }
}

size_t ki_graph_prune(const ki_graph_codes *codes, ki_graph_pruner *p, size_t degree, uint32_t *edge, size_t *chosen) {
    size_t used = 0;
    sort(p);
    for (size_t i = 0; i < p->count; i++) p->out[i] = 0;
    for (size_t i = 0; i < p->count && used < degree; i++) {
        if (p->out[p->order[i]]) continue;
        edge[used++] = p->id[p->order[i]];
        strike(codes, p, i);
    }
    *chosen = used;
    for (size_t i = 0; i < p->count && used < degree; i++)
        if (p->out[p->order[i]]) edge[used++] = p->id[p->order[i]];
    return used;
}

void ki_graph_choose(ki_graph_build *build, ki_graph_pruner *pruner, uint32_t v) {
    const uint32_t degree = build->in.degree;
    size_t chosen;
    build->count[v] = (uint8_t)ki_graph_prune(&build->codes, pruner, degree, build->edge + (size_t)v * degree, &chosen);
    build->chosen[v] = (uint8_t)chosen;
}
