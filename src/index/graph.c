/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph of an open index: its view, and whether it is one. Sizes are held against the header's counts while
 * opening; the ids in its rows are bounded where walks read them. */
#include "base/checked.h"
#include "base/status.h"
#include "graph/build.h"
#include "index/index.h"

#include <stdatomic.h>

kith_status ki_index_view_graph(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const ki_part_view model = ki_segment_part(s, KI_PART_GRAPH_MODEL);
    ki_graph graph = {0};
    const void *rows = NULL;
    if (!model.data && !ki_segment_part(s, KI_PART_GRAPH_ROWS).data) return KITH_OK;
    if (view->dtype == KITH_B1 || !model.data ||
        !ki_graph_view(model.data, (size_t)model.bytes, view->rows, view->dim, &graph))
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s is no model of a graph for these vectors", ki_segment_path(s),
                       ki_part_place(KI_PART_GRAPH_MODEL));
    const kith_status status = ki_part_of(s, KI_PART_GRAPH_ROWS, view->rows, graph.row_bytes, &rows, error);
    if (status != KITH_OK) return status;
    graph.rows = rows;
    view->graph = graph;
    return KITH_OK;
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

/* Rows a piece: some milliseconds. */
enum { PIECE_ROWS = 4096 };

struct check {
    const kith_index *index;
    kith_progress_fn progress;
    void *progress_context;
    atomic_uint_fast64_t done, first_bad; /* first_bad: the lowest vertex with a fault; UINT64_MAX: none */
    atomic_int cancelled;
};

static void report(struct check *check) {
    const uint64_t rows = check->index->view.rows;
    if (!check->progress) return;
    const kith_progress progress = {sizeof(progress), "checking", "vectors",
                                    ki_min_u64(atomic_load(&check->done), rows), rows};
    if (check->progress(check->progress_context, &progress)) atomic_store(&check->cancelled, 1);
}

static void check_piece(void *context, size_t piece, unsigned worker) {
    struct check *check = context;
    const ki_view *view = &check->index->view;
    const uint64_t first = (uint64_t)piece * PIECE_ROWS, end = ki_min_u64(first + PIECE_ROWS, view->rows);
    uint64_t vertex, lowest = atomic_load(&check->first_bad);
    if (atomic_load(&check->cancelled) || first > lowest) return;
    if (ki_graph_check_rows(&view->graph, view->rows, first, end, &vertex))
        while (vertex < lowest && !atomic_compare_exchange_weak(&check->first_bad, &lowest, vertex)) {
        }
    atomic_fetch_add(&check->done, end - first);
    if (worker == 0) report(check); /* the caller's own thread, as kith_progress_fn promises */
}

static kith_status check_rows(struct check *check, kith_pool *pool, kith_error *error) {
    const ki_view *view = &check->index->view;
    ki_pool_run(pool, (size_t)((view->rows + PIECE_ROWS - 1) / PIECE_ROWS), check_piece, check);
    const uint64_t first = atomic_load(&check->first_bad);
    uint64_t vertex = first;
    if (atomic_load(&check->cancelled)) return ki_fail(error, KITH_E_CANCELLED, "cancelled while checking a graph");
    if (first == UINT64_MAX) return KITH_OK;
    const char *what = ki_graph_check_rows(&view->graph, view->rows, first, first + 1, &vertex);
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s, entry %llu: %s", ki_segment_path(check->index->segment),
                   ki_part_place(KI_PART_GRAPH_ROWS), (unsigned long long)first,
                   what ? what : "was changed while it was checked");
}

kith_status ki_index_check_graph(const kith_index *index, kith_pool *pool, kith_progress_fn progress,
                                 void *progress_context, kith_error *error) {
    struct check check = {.index = index, .progress = progress, .progress_context = progress_context};
    uint64_t unreached = 0;
    if (!index->view.graph.degree) return KITH_OK;
    atomic_init(&check.first_bad, UINT64_MAX);
    kith_status status = check_rows(&check, pool, error);
    if (status != KITH_OK) return status;
    status = ki_graph_unreached(&index->view.graph, index->view.rows, &unreached);
    if (status != KITH_OK)
        return ki_fail(error, status, "out of memory for a walk over %llu vectors",
                       (unsigned long long)index->view.rows);
    if (!unreached) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s: no path leads to %llu of the %llu vectors",
                   ki_segment_path(index->segment), ki_part_place(KI_PART_GRAPH_ROWS), (unsigned long long)unreached,
                   (unsigned long long)index->view.rows);
}
