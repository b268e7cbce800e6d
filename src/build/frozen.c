/* SPDX-License-Identifier: Apache-2.0
 *
 * An HNSW frozen into a graph: what its vertices have edges to in layer 0 are the candidates of the graph's edges. They
 * lie in different directions already and lead back from afar, where those of a search are the nearest alone; and
 * nothing is searched for.
 *
 * The rows of a build lie in another order than those of the index with the HNSW, and have no ids yet. Vectors are
 * matched by their bytes: equal ones are one vertex in either. */
#include "base/checked.h"
#include "base/status.h"
#include "build/build.h"
#include "hnsw/hnsw.h"
#include "index/index.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { RUN = 4096 }; /* rows read at a time */

/* Vertices by the hash of their vectors: open addressing, at most half full. */
struct table {
    const ki_view *view;
    uint32_t *number; /* UINT32_MAX: free */
    uint64_t mask;
};

static const uint8_t *vector_of(const ki_view *view, uint32_t number) {
    return view->originals + (size_t)number * view->row_bytes;
}

/* Where a vector is, or would be. */
static uint64_t slot_of(const struct table *table, const uint8_t *vector) {
    const size_t bytes = table->view->row_bytes;
    uint64_t at = XXH3_64bits(vector, bytes) & table->mask;
    while (table->number[at] != UINT32_MAX && memcmp(vector_of(table->view, table->number[at]), vector, bytes) != 0)
        at = (at + 1) & table->mask;
    return at;
}

static int fill_table(struct table *table) {
    uint64_t slots = 64;
    while (slots < 2 * table->view->rows) slots *= 2;
    table->mask = slots - 1;
    table->number = ki_alloc_array(slots, sizeof(*table->number));
    if (!table->number) return 0;
    memset(table->number, 0xff, slots * sizeof(*table->number));
    for (uint32_t n = 0; n < table->view->rows; n++)
        if (ki_hnsw_view_is_vertex(table->view, n)) table->number[slot_of(table, vector_of(table->view, n))] = n;
    return 1;
}

static kith_status match_rows(ki_build *b, const struct table *table, ki_build_frozen *frozen, uint8_t *rows,
                              uint64_t first, size_t count) {
    const size_t bytes = b->recipe.row_bytes;
    const kith_status status =
        ki_segment_get(b->writer, KI_PART_ORIGINALS, first * bytes, rows, count * bytes, b->error);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        const uint32_t number = table->number[slot_of(table, rows + i * bytes)];
        if (number == UINT32_MAX)
            return ki_fail(b->error, KITH_E_ARG,
                           "%s: the index that was given for its links has not the same vectors: one of these is not "
                           "among its %llu",
                           ki_build_path(b), (unsigned long long)table->view->rows);
        frozen->number_of[first + i] = number;
        if (frozen->position_of[number] == UINT32_MAX) frozen->position_of[number] = (uint32_t)(first + i);
    }
    return status;
}

static kith_status match_all(ki_build *b, ki_build_frozen *frozen) {
    const uint64_t rows = b->source.rows;
    struct table table = {.view = frozen->view};
    uint8_t *run = ki_alloc_array(RUN, b->recipe.row_bytes);
    kith_status status = KITH_OK;
    frozen->number_of = ki_alloc_array(rows, sizeof(*frozen->number_of));
    frozen->position_of = ki_alloc_array(frozen->view->rows, sizeof(*frozen->position_of));
    if (!run || !frozen->number_of || !frozen->position_of || !fill_table(&table)) {
        status =
            ki_fail(b->error, KITH_E_NOMEM, "out of memory for the links of %llu vectors", (unsigned long long)rows);
        goto out;
    }
    memset(frozen->position_of, 0xff, frozen->view->rows * sizeof(*frozen->position_of));
    for (uint64_t first = 0; first < rows && status == KITH_OK; first += RUN)
        status = match_rows(b, &table, frozen, run, first, (size_t)ki_min_u64(RUN, rows - first));
out:
    free(table.number);
    free(run);
    return status;
}

kith_status ki_build_frozen_start(ki_build *b, ki_build_frozen *frozen) {
    *frozen = (ki_build_frozen){0};
    if (!b->options.links) return KITH_OK;
    const ki_view *view = &b->options.links->view;
    if (!view->hnsw.m || !view->originals)
        return ki_fail(b->error, KITH_E_ARG, "%s: the index that was given for its links has no HNSW",
                       ki_build_path(b));
    if (view->dtype != b->recipe.dtype || view->dim != b->recipe.dim || view->metric != b->recipe.metric)
        return ki_fail(b->error, KITH_E_ARG,
                       "%s: the index that was given for its links has vectors of another type, dimension or metric",
                       ki_build_path(b));
    frozen->view = view;
    return match_all(b, frozen);
}

void ki_build_frozen_free(ki_build_frozen *frozen) {
    free(frozen->number_of);
    free(frozen->position_of);
    *frozen = (ki_build_frozen){0};
}

static size_t add(uint32_t *found, size_t count, uint32_t position) {
    if (position == UINT32_MAX) return count;
    for (size_t i = 0; i < count; i++)
        if (found[i] == position) return count;
    found[count] = position;
    return count + 1;
}

/* What a vertex has edges to; where that is less than a graph has, what these have edges to. */
static size_t near_one(const ki_build_frozen *frozen, uint32_t number, size_t each, uint32_t *found) {
    uint32_t ids[2 * KI_HNSW_M_MAX], more[2 * KI_HNSW_M_MAX];
    const size_t all = ki_hnsw_view_neighbours(frozen->view, number, ids);
    size_t count = 0;
    for (size_t i = 0; i < all && count < each; i++) count = add(found, count, frozen->position_of[ids[i]]);
    for (size_t i = 0; i < all && count < each; i++) {
        const size_t theirs = ki_hnsw_view_neighbours(frozen->view, ids[i], more);
        for (size_t j = 0; j < theirs && count < each; j++)
            if (more[j] != number) count = add(found, count, frozen->position_of[more[j]]);
    }
    return count;
}

void ki_build_frozen_near(const ki_build_frozen *frozen, uint64_t first, size_t count, size_t each, uint32_t *found) {
    for (size_t i = 0; i < count; i++, found += each)
        for (size_t j = near_one(frozen, frozen->number_of[first + i], each, found); j < each; j++)
            found[j] = UINT32_MAX;
}
