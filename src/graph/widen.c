/* SPDX-License-Identifier: Apache-2.0
 *
 * Another round of candidates: the neighbours of neighbours [NN-descent: Dong, Moses, Li 2011]. Cells cut through
 * neighbourhoods, and what lies beyond the cells around one's own was not met; some neighbour met it. All vertices
 * choose at once, from the graph as it was before. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

enum {
    RUN = 256,
    TABLE = 8192, /* places for at most 64 * 65 ids */
    AHEAD = 8     /* codes asked for before they are used */
};

struct widener {
    ki_graph_pruner pruner;
    uint32_t table[TABLE];
    uint32_t id[KI_GRAPH_DEGREE_MAX * (KI_GRAPH_DEGREE_MAX + 1)];
    ki_hit hit[KI_GRAPH_DEGREE_MAX * (KI_GRAPH_DEGREE_MAX + 1)];
};

struct widening {
    ki_graph_build *build;
    uint32_t *edge; /* what comes of it, as in build */
    uint8_t *count, *chosen;
    struct widener *wideners;
};

/* Add what is not there yet. */
static size_t add_ids(struct widener *w, const uint32_t *id, size_t count, size_t used) {
    for (size_t i = 0; i < count; i++) {
        size_t at = id[i] * UINT32_C(2654435769) >> 19;
        while (w->table[at] != UINT32_MAX && w->table[at] != id[i]) at = (at + 1) & (TABLE - 1);
        if (w->table[at] == id[i]) continue;
        w->table[at] = id[i];
        w->id[used++] = id[i];
    }
    return used;
}

/* Neighbours of v, and theirs; not itself. */
static size_t collect(const ki_graph_build *build, struct widener *w, uint32_t v) {
    const uint32_t degree = build->in.degree, *edge = build->edge + (size_t)v * degree;
    memset(w->table, 0xff, sizeof(w->table));
    size_t used = add_ids(w, &v, 1, 0);
    used = add_ids(w, edge, build->count[v], used);
    for (uint32_t i = 0; i < build->count[v]; i++)
        used = add_ids(w, build->edge + (size_t)edge[i] * degree, build->count[edge[i]], used);
    memmove(w->id, w->id + 1, --used * sizeof(*w->id));
    return used;
}

static void widen_vertex(struct widening *s, struct widener *w, uint32_t v) {
    ki_graph_build *build = s->build;
    const ki_graph_codes *codes = &build->codes;
    const uint32_t degree = build->in.degree;
    const size_t met = collect(build, w, v), kept = ki_min_size(met, degree * 3 / 2);
    size_t chosen;
    for (size_t i = 0; i < met; i++) {
        if (i + AHEAD < met) ki_graph_fetch_code(codes, w->id[i + AHEAD]);
        w->hit[i] = (ki_hit){ki_graph_apart(codes, v, w->id[i]), w->id[i], w->id[i]};
    }
    ki_hits_select(w->hit, met, kept);
    ki_hits_sort(w->hit, kept);
    w->pruner.count = kept;
    for (size_t i = 0; i < kept; i++) {
        w->pruner.id[i] = w->hit[i].position;
        w->pruner.apart[i] = w->hit[i].distance;
    }
    ki_graph_add_far(build, &w->pruner, v);
    s->count[v] = (uint8_t)ki_graph_prune(codes, &w->pruner, degree, s->edge + (size_t)v * degree, &chosen);
    s->chosen[v] = (uint8_t)chosen;
}

static void widen_run(void *context, size_t piece, unsigned worker) {
    struct widening *s = context;
    ki_graph_build *build = s->build;
    const uint64_t first = (uint64_t)piece * RUN, end = ki_min_u64(first + RUN, build->codes.rows);
    if (atomic_load(&build->stop)) return;
    for (uint64_t v = first; v < end; v++)
        if (build->elder[v] == v) widen_vertex(s, &s->wideners[worker], (uint32_t)v);
    atomic_fetch_add(&build->done, end - first);
    if (worker == 0) ki_graph_tell(build, atomic_load(&build->done));
}

static void swap_bytes(uint8_t **a, uint8_t **b) {
    uint8_t *other = *a;
    *a = *b;
    *b = other;
}

kith_status ki_graph_widen(ki_graph_build *build, kith_error *error) {
    const uint64_t rows = build->codes.rows;
    const unsigned threads = ki_pool_threads(build->in.pool);
    struct widening s = {build, ki_alloc_array(rows, build->in.degree * sizeof(*s.edge)),
                         ki_alloc_array_zeroed(rows, 1), ki_alloc_array_zeroed(rows, 1),
                         ki_alloc_array(threads, sizeof(*s.wideners))};
    kith_status status =
        s.edge && s.count && s.chosen && s.wideners
            ? KITH_OK
            : ki_fail(error, KITH_E_NOMEM, "out of memory for the edges of %llu vectors", (unsigned long long)rows);
    atomic_store(&build->done, 0);
    if (status == KITH_OK) status = ki_graph_run(build, (size_t)((rows + RUN - 1) / RUN), widen_run, &s, error);
    if (status == KITH_OK) {
        uint32_t *edge = build->edge;
        build->edge = s.edge;
        s.edge = edge;
        swap_bytes(&build->count, &s.count);
        swap_bytes(&build->chosen, &s.chosen);
    }
    free(s.edge);
    free(s.count);
    free(s.chosen);
    free(s.wideners);
    return status;
}
