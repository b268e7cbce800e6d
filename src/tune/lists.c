/* SPDX-License-Identifier: Apache-2.0
 *
 * Which lists hold a query's true neighbours: from that follows, for every number of probed lists at once and without
 * searching, how many of them can be found at all. Centroids are scored by float kernels here; searches choose lists by
 * int8 estimates, and what differs counts as a loss where losses are measured. */
#include "tune/inner.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"

#include <string.h>

/* Nearness of one query to all centroids, larger is nearer: lists are Euclidean with l2, else ordered by product. */
static void score_lists(const ki_view *view, const float *query, float *score) {
    const ki_lists *lists = &view->lists;
    const size_t dim = view->dim;
    const int l2 = view->metric == KITH_L2SQ;
    const ki_distance_kernels *kernels = ki_distance();
    ki_quad_fn *const four = l2 ? kernels->l2sq4[KITH_F32] : kernels->dot4[KITH_F32];
    for (size_t l = 0; l < lists->count; l += 4) {
        const void *rows[4];
        float out[4];
        for (size_t i = 0; i < 4; i++) rows[i] = lists->centroids + ki_min_size(l + i, lists->count - 1) * dim;
        four(query, rows, dim, out);
        for (size_t i = 0; i < 4 && l + i < lists->count; i++) score[l + i] = l2 ? -out[i] : out[i];
    }
}

/* The list of a position. */
static size_t list_of(const ki_lists *lists, uint32_t position) {
    size_t low = 0, high = lists->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (lists->first_row[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint32_t rank_of(const float *score, size_t count, size_t list) {
    const float own = score[list];
    uint32_t before = 0;
    for (size_t l = 0; l < count; l++) before += score[l] > own;
    return before;
}

void ki_tune_second_lists(const ki_view *view, uint32_t *second_list_of) {
    const ki_second_lists *second_lists = &view->second_lists;
    for (uint64_t i = 0; i < view->rows; i++) second_list_of[i] = UINT32_MAX;
    for (size_t l = 0; l < view->lists.count; l++)
        for (uint32_t e = second_lists->first[l]; e < second_lists->first[l + 1]; e++) {
            const uint32_t position = second_lists->entry[e].position;
            if (position < view->rows) second_list_of[position] = (uint32_t)l;
        }
}

/* known: ranks by list that one query has asked for, UINT32_MAX: not yet. */
static uint32_t known_rank(const float *score, size_t lists, size_t list, uint32_t *known) {
    if (known[list] == UINT32_MAX) known[list] = rank_of(score, lists, list);
    return known[list];
}

static void rank_neighbours(const ki_tuning *t, size_t query, const float *score, uint32_t *known) {
    const ki_lists *lists = &t->index->view.lists;
    const size_t most = t->k[t->ks - 1];
    const uint64_t *ids = t->ids + query * t->room;
    memset(known, 0xff, lists->count * sizeof(*known));
    for (size_t i = 0; i < most; i++) {
        uint32_t position = 0;
        (void)ki_index_find(t->index, ids[i], &position); /* a search found it */
        const uint32_t rank = known_rank(score, lists->count, list_of(lists, position), known);
        t->rank[query * most + i] = rank;
        if (!t->second_list_of) continue;
        const uint32_t list = t->second_list_of[position];
        const uint32_t other = list == UINT32_MAX ? rank : known_rank(score, lists->count, list, known);
        t->nearer_rank[query * most + i] = other < rank ? other : rank;
    }
}

struct ranking {
    ki_tuning *t;
    size_t first;
    float *score; /* a row of lists for each worker */
    uint32_t *known;
};

static void rank_piece(void *context, size_t piece, unsigned worker) {
    const struct ranking *r = context;
    const ki_view *view = &r->t->index->view;
    const size_t query = r->first + piece;
    float *score = r->score + worker * view->lists.count;
    score_lists(view, ki_tune_floats(r->t, query), score);
    rank_neighbours(r->t, query, score, r->known + worker * view->lists.count);
}

kith_status ki_tune_rank(ki_tuning *t, size_t first, size_t count, kith_error *error) {
    const uint64_t workers = ki_pool_threads(t->pool);
    struct ranking r = {.t = t, .first = first};
    if (t->index->view.lists.count == 1) return KITH_OK; /* nobody asks */
    r.score = ki_alloc_array(workers * t->index->view.lists.count, sizeof(float));
    r.known = ki_alloc_array(workers * t->index->view.lists.count, sizeof(uint32_t));
    const int ready = r.score && r.known;
    if (ready) ki_pool_run(t->pool, count, rank_piece, &r);
    free(r.score);
    free(r.known);
    return ready ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
}
