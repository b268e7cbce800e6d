/* SPDX-License-Identifier: Apache-2.0
 *
 * What share of the rows a scan of an index scores again: counted, not timed, with a few stored rows as queries, at the
 * end of a build. Bounds that let nearly everything through make a scan slower than the plain plan, which the planner
 * then takes.
 *
 * One thread, so that threads do not show in the file. */
#include "tune/tune.h"

#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"
#include "kernel/distance.h"

enum { QUERIES = 48, K = 10, ROWS_LEAST = 1024 };

static kith_status count_survivors(const kith_index *index, const float *rows, size_t count, double *share,
                                   kith_error *error) {
    kith_scratch *scratch = NULL;
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    options.explain = &explain;
    options.plan = index->view.level1.blocks ? KITH_PLAN_LEVELS : KITH_PLAN_SCAN;
    queries.data = rows;
    queries.dtype = KITH_F32;
    queries.count = count;
    queries.dim = index->view.dim;
    kith_status status = kith_scratch_create(index, NULL, &scratch, error);
    if (status == KITH_OK) status = kith_search(index, &queries, K, &options, scratch, ids, distances, error);
    if (status == KITH_OK) {
        const double all = (double)count * (double)index->view.rows, scored = (double)explain.reranked / all;
        *share = scored < 1 ? scored : 1; /* first guesses of thresholds may be taken back, and all scanned again */
    }
    kith_scratch_destroy(scratch);
    return status;
}

kith_status ki_tune_survivors(ki_segment_writer *writer, const ki_segment_head *head, const kith_open_options *open,
                              double *share, kith_error *error) {
    ki_segment *segment = NULL;
    kith_index *index = NULL;
    *share = 0;
    if (head->dtype == KITH_B1 || head->rows < ROWS_LEAST || !(head->flags & KI_SEGMENT_ORIGINALS)) return KITH_OK;
    kith_status status = ki_segment_preview(writer, head, open, &segment, error);
    if (status == KITH_OK) status = ki_index_of_segment(segment, &index, error);
    if (status != KITH_OK) return status;
    const ki_view *view = &index->view;
    float *rows = ki_alloc_array(QUERIES * (uint64_t)view->dim, sizeof(float));
    for (uint64_t i = 0; i < QUERIES && rows; i++)
        ki_distance()->to_f32[view->dtype](view->originals + i * view->rows / QUERIES * view->row_bytes, view->dim,
                                           rows + i * view->dim);
    status = rows ? count_survivors(index, rows, QUERIES, share, error)
                  : ki_fail(error, KITH_E_NOMEM, "out of memory for %d queries", (int)QUERIES);
    free(rows);
    kith_index_close(index);
    return status;
}
