/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries, and every vertex reachable from them (build.h B2). Vertices are reached breadth first; the edge by which one
 * was reached stays. One that is not reached takes the place of an edge that reached nobody, at a vertex near to it
 * that is, and those that can be reached from it follow. Edges that reach somebody are fewer than vertices, so there
 * always is one to give way: at worst at the first vertex that has one. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"

#include <math.h>
#include <string.h>

enum {
    ENTRIES = 128, /* as many: 512 cost more than they save */
    PER_ENTRY = 8,
    NEARBY = 256 /* positions to both sides of a vertex where one that is reached is sought */
};

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

uint32_t ki_graph_entries(uint64_t rows) {
    return (uint32_t)ki_min_u64((rows + PER_ENTRY - 1) / PER_ENTRY, ENTRIES);
}

static int is_entry(const ki_graph_build *build, uint32_t v) {
    for (uint32_t e = 0; e < build->entries; e++)
        if (build->entry[e] == v) return 1;
    return 0;
}

/* The member of a cell that is nearest to its mean and no entry yet; UINT32_MAX: there is none. */
static uint32_t middle_of(const ki_graph_build *build, size_t cell, float *work) {
    const ki_graph_codes *codes = &build->codes;
    const float *centre = build->cells.centre + cell * codes->bytes;
    float best = INFINITY;
    uint32_t middle = UINT32_MAX;
    for (uint32_t i = build->cells.first[cell]; i < build->cells.first[cell + 1]; i++) {
        const uint32_t v = build->cells.member[i];
        const int8_t *code = ki_graph_code(codes, v);
        for (size_t j = 0; j < codes->bytes; j++) work[j] = codes->scale[v] * code[j];
        const float apart = ki_distance()->l2sq[KITH_F32](work, centre, codes->bytes);
        if (apart >= best || is_entry(build, v)) continue;
        best = apart;
        middle = v;
    }
    return middle;
}

kith_status ki_graph_choose_entries(ki_graph_build *build, kith_error *error) {
    const uint32_t wanted = ki_graph_entries(build->codes.rows);
    float *work = ki_alloc_array(build->codes.bytes, sizeof(*work));
    build->entry = ki_alloc_array(wanted, sizeof(*build->entry));
    if (!work || !build->entry) {
        free(work);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for the entries of a graph");
    }
    for (uint32_t e = 0; e < wanted; e++) {
        const uint32_t middle = middle_of(build, (size_t)e * build->cells.count / wanted, work);
        if (middle != UINT32_MAX) build->entry[build->entries++] = middle;
    }
    for (uint32_t v = 0; build->entries < wanted; v++) /* twins too, where elders are few */
        if (!is_entry(build, v)) build->entry[build->entries++] = v;
    free(work);
    return KITH_OK;
}

/* ---- Reaching ---------------------------------------------------------------------------------------------------- */

struct reaching {
    ki_graph_build *build;
    uint32_t *parent; /* UINT32_MAX: not reached */
    uint32_t *queue;  /* the reached, in turn */
    size_t reached, looked_at;
    size_t room; /* of those before, none has an edge to give */
};

static void reach(struct reaching *r, uint32_t v, uint32_t parent) {
    r->parent[v] = parent;
    r->queue[r->reached++] = v;
}

static void spread(struct reaching *r) {
    const ki_graph_build *build = r->build;
    while (r->looked_at < r->reached) {
        const uint32_t v = r->queue[r->looked_at++];
        const uint32_t *edge = build->edge + (size_t)v * build->in.degree;
        for (uint32_t i = 0; i < build->count[v]; i++)
            if (r->parent[edge[i]] == UINT32_MAX) reach(r, edge[i], v);
    }
}

/* An edge from `holder` to v, in place of its last that reached nobody. False: all did. */
static int give_edge(const struct reaching *r, uint32_t holder, uint32_t v) {
    ki_graph_build *build = r->build;
    uint32_t *edge = build->edge + (size_t)holder * build->in.degree;
    if (build->count[holder] < build->in.degree) {
        edge[build->count[holder]++] = v;
        return 1;
    }
    for (uint32_t i = build->in.degree; i--;)
        if (r->parent[edge[i]] != holder) {
            edge[i] = v;
            return 1;
        }
    return 0;
}

static uint32_t find_holder(struct reaching *r, uint32_t v) {
    const ki_graph_build *build = r->build;
    const uint32_t *edge = build->edge + (size_t)v * build->in.degree;
    const uint64_t rows = build->codes.rows;
    for (uint32_t i = 0; i < build->count[v]; i++)
        if (r->parent[edge[i]] != UINT32_MAX && give_edge(r, edge[i], v)) return edge[i];
    for (uint32_t step = 1; step <= NEARBY; step++) {
        if (step <= v && r->parent[v - step] != UINT32_MAX && give_edge(r, v - step, v)) return v - step;
        if (v + (uint64_t)step < rows && r->parent[v + step] != UINT32_MAX && give_edge(r, v + step, v))
            return v + step;
    }
    while (!give_edge(r, r->queue[r->room], v)) r->room++;
    return r->queue[r->room];
}

kith_status ki_graph_connect(ki_graph_build *build, kith_error *error) {
    const uint64_t rows = build->codes.rows;
    struct reaching r = {.build = build,
                         .parent = ki_alloc_array(rows, sizeof(*r.parent)),
                         .queue = ki_alloc_array(rows, sizeof(*r.queue))};
    kith_status status = KITH_OK;
    if (r.parent && r.queue) {
        memset(r.parent, 0xff, rows * sizeof(*r.parent));
        for (uint32_t e = 0; e < build->entries; e++) reach(&r, build->entry[e], build->entry[e]);
        spread(&r);
        for (uint32_t v = 0; v < rows; v++) {
            if (r.parent[v] != UINT32_MAX) continue;
            reach(&r, v, find_holder(&r, v));
            spread(&r);
        }
    } else {
        status = ki_fail(error, KITH_E_NOMEM, "out of memory for %llu vectors", (unsigned long long)rows);
    }
    free(r.parent);
    free(r.queue);
    return status;
}
