/* SPDX-License-Identifier: Apache-2.0
 *
 * Edges back: what a vertex chose may choose it too. All chosen edges are sorted by their end, and each vertex chooses
 * again among its own and those, by the same rule. So nothing depends on the order of work, and no locks are needed.
 * Those that were not chosen fill places before what the vertex had filled them with: they may be the only way to
 * somebody. Text embeddings: with them recall is .912 where it was .903 without, at equal steps. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

enum { RUN = 256, BACK_MAX = KI_PRUNE_MAX - KI_GRAPH_DEGREE_MAX };

struct linking {
    ki_graph_build *build;
    uint64_t *first; /* rows + 2: where the sources of edges to a vertex begin */
    uint32_t *source;
    struct linker *linkers;
};

struct linker {
    ki_graph_pruner pruner;
    float *apart; /* of sources */
    ki_hit *hits; /* of sources */
    size_t room;
};

static void count_sources(struct linking *l) {
    const ki_graph_build *build = l->build;
    const uint32_t rows = (uint32_t)build->codes.rows, degree = build->in.degree;
    for (uint32_t v = 0; v < rows; v++)
        for (uint32_t i = 0; i < build->chosen[v]; i++) l->first[build->edge[(size_t)v * degree + i] + 2]++;
    for (uint64_t v = 0; v < rows; v++) l->first[v + 2] += l->first[v + 1];
}

static void sort_sources(struct linking *l) {
    const ki_graph_build *build = l->build;
    const uint32_t rows = (uint32_t)build->codes.rows, degree = build->in.degree;
    for (uint32_t v = 0; v < rows; v++)
        for (uint32_t i = 0; i < build->chosen[v]; i++)
            l->source[l->first[build->edge[(size_t)v * degree + i] + 1]++] = v;
}

/* Hubs have more sources than can be looked at: the nearest of them. */
static size_t nearest_sources(const ki_graph_codes *codes, struct linker *linker, uint32_t v, const uint32_t *source,
                              size_t count, uint32_t *nearest) {
    ki_hit *hits = linker->hits;
    for (size_t i = 0; i < count; i++) hits[i] = (ki_hit){ki_graph_apart(codes, v, source[i]), source[i], source[i]};
    ki_hits_select(hits, count, BACK_MAX);
    ki_hits_sort(hits, BACK_MAX);
    for (size_t i = 0; i < BACK_MAX; i++) nearest[i] = hits[i].position;
    return BACK_MAX;
}

static int make_room(struct linker *linker, size_t count) {
    if (count <= linker->room) return 1;
    free(linker->hits);
    linker->room = 2 * count;
    linker->hits = ki_alloc_array(linker->room, sizeof(ki_hit));
    if (linker->hits) return 1;
    linker->room = 0;
    return 0;
}

static int link_vertex(struct linking *l, struct linker *linker, uint32_t v) {
    ki_graph_build *build = l->build;
    const ki_graph_codes *codes = &build->codes;
    ki_graph_pruner *pruner = &linker->pruner;
    const size_t degree = build->in.degree, own_count = build->count[v], back = (size_t)(l->first[v + 1] - l->first[v]);
    const uint32_t *source = l->source + l->first[v];
    uint32_t *edge = build->edge + v * degree, own[KI_GRAPH_DEGREE_MAX], nearest[BACK_MAX];
    size_t count = build->chosen[v], taken = back, chosen;
    if (!back) return 1;
    if (back > BACK_MAX) {
        if (!make_room(linker, back)) return 0;
        taken = nearest_sources(codes, linker, v, source, back, nearest);
        source = nearest;
    }
    memcpy(own, edge, own_count * sizeof(*own));
    memcpy(pruner->id, edge, count * sizeof(*edge));
    for (size_t i = 0, mine = count; i < taken; i++)
        if (!ki_graph_has(edge, mine, source[i])) pruner->id[count++] = source[i];
    pruner->count = count;
    for (size_t i = 0; i < count; i++) pruner->apart[i] = ki_graph_apart(codes, v, pruner->id[i]);
    size_t used = ki_graph_prune(codes, pruner, degree, edge, &chosen);
    for (size_t i = build->chosen[v]; i < own_count && used < degree; i++)
        if (!ki_graph_has(edge, used, own[i])) edge[used++] = own[i];
    build->count[v] = (uint8_t)used;
    build->chosen[v] = (uint8_t)chosen;
    return 1;
}

static void link_run(void *context, size_t piece, unsigned worker) {
    struct linking *l = context;
    const uint64_t first = (uint64_t)piece * RUN, end = ki_min_u64(first + RUN, l->build->codes.rows);
    kith_error error = {0};
    if (atomic_load(&l->build->stop)) return;
    for (uint64_t v = first; v < end; v++)
        if (!link_vertex(l, &l->linkers[worker], (uint32_t)v)) {
            ki_graph_fail(l->build, piece, ki_fail(&error, KITH_E_NOMEM, "out of memory for edges of a graph"), &error);
            return;
        }
}

static kith_status link_all(struct linking *l, kith_error *error) {
    ki_graph_build *build = l->build;
    const uint64_t rows = build->codes.rows;
    count_sources(l);
    l->source = ki_alloc_array(l->first[rows + 1], sizeof(*l->source));
    if (!l->source)
        return ki_fail(error, KITH_E_NOMEM, "out of memory for the edges of %llu vectors", (unsigned long long)rows);
    sort_sources(l);
    return ki_graph_run(build, (size_t)((rows + RUN - 1) / RUN), link_run, l, error);
}

kith_status ki_graph_link(ki_graph_build *build, kith_error *error) {
    const unsigned threads = ki_pool_threads(build->in.pool);
    struct linking l = {build, ki_alloc_array_zeroed(build->codes.rows + 2, sizeof(*l.first)), NULL,
                        ki_alloc_array_zeroed(threads, sizeof(*l.linkers))};
    const int ready = l.first && l.linkers;
    const kith_status status =
        ready ? link_all(&l, error) : ki_fail(error, KITH_E_NOMEM, "out of memory for edges of a graph");
    for (unsigned t = 0; t < threads && l.linkers; t++) {
        free(l.linkers[t].hits);
    }
    free(l.linkers);
    free(l.first);
    free(l.source);
    return status;
}
