/* SPDX-License-Identifier: Apache-2.0
 *
 * Edges among candidates that the caller found: a search finds better ones, in less time, than the cells of near.c
 * (text embeddings, 115,659 x 384, walks of 50 steps: recall .975 in place of .950).
 *
 * By inner products a search prefers what is long, while the graph lies on a sphere where a height makes up for what a
 * vector lacks in length. What it finds are better candidates all the same, since walks look for what has large products:
 * .941 in place of .770 where lengths differ by a tenth, .933 in place of .276 where they differ by a third (walks of 27
 * to 49 steps). Vectors that nobody's product favours are reached by the edges back and by connect.c. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

enum { RUN = 8192, PIECE = 64, AHEAD = 8 /* codes asked for before they are used */ };

struct taking {
    ki_graph_build *build;
    ki_graph_pruner *pruners;
    uint64_t first;
    size_t count, each;
    const uint32_t *found; /* each of every vector of the run */
};

/* Elders only, each once, and not v itself. */
static void choose(const struct taking *t, ki_graph_pruner *pruner, uint32_t v) {
    ki_graph_build *build = t->build;
    const ki_graph_codes *codes = &build->codes;
    const uint32_t *found = t->found + (v - t->first) * t->each;
    size_t count = 0;
    for (size_t i = 0; i < t->each && count < KI_PRUNE_MAX; i++) {
        if (i + AHEAD < t->each && found[i + AHEAD] < codes->rows) ki_graph_fetch_code(codes, found[i + AHEAD]);
        if (found[i] >= codes->rows) continue;
        const uint32_t id = build->elder[found[i]];
        if (id == v || ki_graph_has(pruner->id, count, id)) continue;
        pruner->apart[count] = ki_graph_apart(codes, v, id);
        pruner->id[count++] = id;
    }
    pruner->count = count;
    ki_graph_add_far(build, pruner, v);
    ki_graph_choose(build, pruner, v);
}

static void choose_piece(void *context, size_t piece, unsigned worker) {
    const struct taking *t = context;
    const uint64_t first = t->first + (uint64_t)piece * PIECE, end = ki_min_u64(first + PIECE, t->first + t->count);
    if (atomic_load(&t->build->stop)) return;
    for (uint64_t v = first; v < end; v++)
        if (t->build->elder[v] == v) choose(t, &t->pruners[worker], (uint32_t)v);
}

static kith_status take_runs(struct taking *t, uint32_t *found, kith_error *error) {
    ki_graph_build *build = t->build;
    const uint64_t rows = build->codes.rows;
    kith_status status = KITH_OK;
    for (uint64_t first = 0; first < rows && status == KITH_OK; first += RUN) {
        t->first = first;
        t->count = (size_t)ki_min_u64(RUN, rows - first);
        status = build->in.near(build->in.context, first, t->count, t->each, found, error);
        if (status == KITH_OK) status = ki_graph_run(build, (t->count + PIECE - 1) / PIECE, choose_piece, t, error);
        ki_graph_tell(build, first + t->count);
    }
    if (status == KITH_OK && build->status != KITH_OK) {
        status = build->status;
        if (error) *error = build->failure;
    }
    return status;
}

kith_status ki_graph_take_near(ki_graph_build *build, kith_error *error) {
    struct taking t = {.build = build, .each = build->in.degree + build->in.degree / 2};
    uint32_t *found = ki_alloc_array((uint64_t)RUN * t.each, sizeof(*found));
    t.pruners = ki_alloc_array(ki_pool_threads(build->in.pool), sizeof(*t.pruners));
    t.found = found;
    const kith_status status = found && t.pruners
                                   ? take_runs(&t, found, error)
                                   : ki_fail(error, KITH_E_NOMEM, "out of memory for candidates of a graph's edges");
    free(found);
    free(t.pruners);
    return status;
}
