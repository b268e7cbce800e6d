/* SPDX-License-Identifier: Apache-2.0
 *
 * Stored vectors by id, one and many. Where an id lies and what lies there are each a miss or two of the cache, and ids
 * come in any order: so for a handful of ids at a time all searches take each step together, and rows are fetched a few
 * before they are copied. Allocates nothing. Any thread. */
#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"
#include "kernel/distance.h"
#include "view/query.h"

#include <string.h>

/* Ids looked up side by side, a guess: more than a core has loads under way at a time. Rows fetched before their turn,
 * as when they are scored again. */
enum { TOGETHER = 32, AHEAD = 8 };

/* One id on its way: the places low..high of the order may hold it. */
struct lookup {
    uint64_t low, high;
    uint32_t position;
};

static uint64_t middle_of(const struct lookup *l) {
    return l->low + (l->high - l->low) / 2;
}

static void narrow(struct lookup *l, uint32_t position, uint64_t label, uint64_t id) {
    const uint64_t middle = middle_of(l);
    if (label == id) {
        l->position = position;
        l->low = l->high;
    } else if (label < id) {
        l->low = middle + 1;
    } else {
        l->high = middle;
    }
}

/* Positions of count <= TOGETHER ids; returns the number of the first that is not there, or count. An order that names
 * rows beyond the last is damaged, and those are no ids. */
static size_t find_together(const kith_index *index, const uint64_t *ids, size_t count, uint32_t *positions) {
    const uint64_t rows = index->view.rows, *labels = index->view.labels;
    const uint32_t *order = index->id_order;
    struct lookup of[TOGETHER];
    for (size_t i = 0; i < count; i++) of[i] = (struct lookup){0, rows, UINT32_MAX};
    for (uint64_t widest = rows; widest; widest /= 2) {
        for (size_t i = 0; i < count; i++) __builtin_prefetch(&order[middle_of(&of[i])]);
        for (size_t i = 0; i < count; i++) {
            positions[i] = of[i].low < of[i].high ? order[middle_of(&of[i])] : 0;
            __builtin_prefetch(&labels[positions[i] < rows ? positions[i] : 0]);
        }
        for (size_t i = 0; i < count; i++)
            if (of[i].low < of[i].high)
                narrow(&of[i], positions[i], positions[i] < rows ? labels[positions[i]] : KITH_ID_NONE, ids[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (of[i].position >= rows) return i;
        positions[i] = of[i].position;
    }
    return count;
}

static const uint8_t *row_at(const ki_view *view, uint32_t position) {
    return view->originals + (size_t)position * view->row_bytes;
}

static void copy(const ki_view *view, uint32_t position, void *to) {
    if (view->dtype == KITH_B1)
        memcpy(to, row_at(view, position), view->row_bytes);
    else
        ki_distance()->to_f32[view->dtype](row_at(view, position), view->dim, to);
}

/* Rows of ids one after the other; returns the number of the first id that is not there, or count. */
static size_t copy_all(const kith_index *index, const uint64_t *ids, size_t count, unsigned char *to) {
    const ki_view *view = &index->view;
    const size_t bytes = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    uint32_t positions[TOGETHER];
    for (size_t done = 0; done < count; done += TOGETHER) {
        const size_t some = ki_min_size(TOGETHER, count - done);
        const size_t found = find_together(index, ids + done, some, positions);
        if (found < some) return done + found;
        for (size_t i = 0; i < some && i < AHEAD; i++) ki_query_prefetch(view, positions[i]);
        for (size_t i = 0; i < some; i++, to += bytes) {
            if (i + AHEAD < some) ki_query_prefetch(view, positions[i + AHEAD]);
            copy(view, positions[i], to);
        }
    }
    return count;
}

kith_status kith_index_vectors(const kith_index *index, const uint64_t *ids, size_t count, void *vectors,
                               kith_error *error) {
    if (!index || (count && (!ids || !vectors)))
        return ki_fail(error, KITH_E_ARG, "kith_index_vectors: index, ids or vectors is NULL");
    const char *path = ki_segment_path(index->segment);
    if (!index->view.originals) return ki_fail(error, KITH_E_UNSUPPORTED, "%s: was built without originals", path);
    const size_t copied = copy_all(index, ids, count, vectors);
    if (ki_segment_damaged(index->segment))
        return ki_fail(error, KITH_E_CORRUPT, "%s: the file was truncated or lost pages while it was open", path);
    if (copied < count && count == 1)
        return ki_fail(error, KITH_E_NOTFOUND, "%s: has no id %llu", path, (unsigned long long)*ids);
    if (copied < count)
        return ki_fail(error, KITH_E_NOTFOUND, "%s: has no id %llu, which ids[%zu] asks for", path,
                       (unsigned long long)ids[copied], copied);
    return KITH_OK;
}

kith_status kith_index_vector(const kith_index *index, uint64_t id, void *vector, kith_error *error) {
    if (!index || !vector) return ki_fail(error, KITH_E_ARG, "kith_index_vector: index or vector is NULL");
    return kith_index_vectors(index, &id, 1, vector, error);
}
