/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening an index: its hash tables; and checking them. */
#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"
#include "lsh/build.h"

#include <stdlib.h>

kith_status ki_index_view_lsh(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const ki_part_view model = ki_segment_part(s, KI_PART_LSH_MODEL);
    const void *table;
    ki_lsh lsh;
    if (!model.data) return KITH_OK;
    if (!view->originals || !ki_lsh_view(model.data, model.bytes, view->rows, view->dim, view->metric, &lsh))
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s is no model of hash tables for these vectors", ki_segment_path(s),
                       ki_part_place(KI_PART_LSH_MODEL));
    const kith_status status = ki_part_of(s, KI_PART_LSH_TABLES, lsh.tables, lsh.table_bytes, &table, error);
    if (status != KITH_OK) return status;
    lsh.table = table;
    view->lsh = lsh;
    return KITH_OK;
}

kith_status ki_index_check_lsh(const kith_index *index, kith_error *error) {
    const ki_view *view = &index->view;
    const char *path = ki_segment_path(index->segment), *wrong;
    if (view->lsh.kind == KI_LSH_NONE) return KITH_OK;
    wrong = ki_lsh_check_model(&view->lsh, view->dim, view->metric);
    if (wrong) return ki_fail(error, KITH_E_CORRUPT, "%s: %s: %s", path, ki_part_place(KI_PART_LSH_MODEL), wrong);
    uint64_t *seen = ki_alloc_array((view->rows + 63) / 64, sizeof(*seen)), place = 0;
    if (!seen) return ki_fail(error, KITH_E_NOMEM, "out of memory checking hash tables");
    kith_status status = KITH_OK;
    for (size_t t = 0; t < view->lsh.tables && status == KITH_OK; t++) {
        wrong = ki_lsh_check_table(&view->lsh, t, view->rows, seen, &place);
        if (wrong)
            status = ki_fail(error, KITH_E_CORRUPT, "%s: %s, table %zu, entry %llu: %s", path,
                             ki_part_place(KI_PART_LSH_TABLES), t, (unsigned long long)place, wrong);
    }
    free(seen);
    return status;
}
