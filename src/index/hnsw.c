/* SPDX-License-Identifier: Apache-2.0
 *
 * The HNSW of an open index: its view, and whether it is one. Sizes are held against the header's counts while opening;
 * ids are bounded where walks read them. */
#include "base/status.h"
#include "hnsw/hnsw.h"
#include "index/index.h"

kith_status ki_index_view_hnsw(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const ki_part_view model = ki_segment_part(s, KI_PART_HNSW_MODEL);
    ki_hnsw_view hnsw = {0};
    const void *rows = NULL;
    if (!model.data && !ki_segment_part(s, KI_PART_HNSW_LINKS).data) return KITH_OK;
    if (!view->originals || !model.data ||
        !ki_hnsw_view_model(model.data, (size_t)model.bytes, view->rows, view->metric, view->dim, &hnsw))
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s is no model of an HNSW of these vectors", ki_segment_path(s),
                       ki_part_place(KI_PART_HNSW_MODEL));
    const size_t row_bytes = ki_hnsw_row_bytes(hnsw.m, ki_hnsw_code_bytes(view->dtype, view->dim));
    const kith_status status = ki_part_of(s, KI_PART_HNSW_LINKS, view->rows, row_bytes, &rows, error);
    if (status != KITH_OK) return status;
    hnsw.rows = rows;
    view->hnsw = hnsw;
    return KITH_OK;
}

kith_status ki_index_check_hnsw(const kith_index *index, kith_error *error) {
    ki_hnsw_state state;
    uint64_t number;
    kith_status status;
    if (!index->view.hnsw.m) return KITH_OK;
    const char *wrong = ki_hnsw_check_view(&index->view, &state, &number, &status);
    if (status != KITH_OK)
        return ki_fail(error, status, "out of memory to check an HNSW of %llu vectors",
                       (unsigned long long)index->view.rows);
    if (!wrong) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s, entry %llu: %s", ki_segment_path(index->segment),
                   ki_part_place(KI_PART_HNSW_LINKS), (unsigned long long)number, wrong);
}
