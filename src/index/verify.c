/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_index_check: first the bytes against their checksums, then their meaning. */
#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"
#include "kernel/distance.h"
#include "quant/row_check.h"

#include <math.h>
#include <string.h>

static kith_status bad(const kith_index *index, uint32_t kind, uint64_t place, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s, entry %llu: %s", ki_segment_path(index->segment),
                   ki_part_place(kind), (unsigned long long)place, what);
}

static kith_status check_ids(const kith_index *index, kith_error *error) {
    const uint64_t rows = index->view.rows, *labels = index->view.labels;
    for (uint64_t i = 0; i < rows; i++) {
        if (index->id_order[i] >= rows) return bad(index, KI_PART_ID_ORDER, i, "is beyond the last vector", error);
        if (labels[i] == KITH_ID_NONE) return bad(index, KI_PART_IDS, i, "is the reserved id", error);
        if (index->id_kind != KITH_ID_U64 && labels[i] >= rows)
            return bad(index, KI_PART_IDS, i, "is beyond the last row", error);
    }
    for (uint64_t i = 1; i < rows; i++)
        if (labels[index->id_order[i - 1]] >= labels[index->id_order[i]])
            return bad(index, KI_PART_ID_ORDER, i, "ids do not ascend", error);
    return KITH_OK;
}

static kith_status check_ends(const kith_index *index, uint32_t kind, const uint64_t *ends, uint64_t size, int empty,
                              kith_error *error) {
    uint64_t before = 0;
    for (uint64_t i = 0; i < index->view.rows; i++) {
        if (ends[i] < before || ends[i] > size || ends[i] - before > KITH_STRING_MAX || (ends[i] == before && !empty))
            return bad(index, kind, i, "is no end of a string", error);
        before = ends[i];
    }
    return before == size ? KITH_OK : bad(index, kind, index->view.rows - 1, "leaves bytes over", error);
}

static kith_status check_string_order(const kith_index *index, kith_error *error) {
    const char *before = NULL;
    size_t before_bytes = 0;
    for (uint64_t i = 0; i < index->view.rows; i++) {
        const char *text = NULL;
        size_t bytes = 0;
        if (kith_index_string_id(index, index->string_order[i], &text, &bytes) != KITH_OK)
            return bad(index, KI_PART_STRING_ORDER, i, "is beyond the last row", error);
        if (before) {
            const int order = memcmp(before, text, ki_min_size(before_bytes, bytes));
            if (order > 0 || (order == 0 && before_bytes >= bytes))
                return bad(index, KI_PART_STRING_ORDER, i, "ids do not ascend", error);
        }
        before = text;
        before_bytes = bytes;
    }
    return KITH_OK;
}

static kith_status check_floats(const kith_index *index, uint32_t kind, const float *values, uint64_t count,
                                kith_error *error) {
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return bad(index, kind, i, "is not finite", error);
    return KITH_OK;
}

/* Centroids, radii and coarse codes; no vector of a list is farther from its centroid than the radius says. */
static kith_status check_list_floats(const kith_index *index, kith_error *error) {
    const ki_view *view = &index->view;
    const ki_lists *lists = &view->lists;
    kith_status status =
        check_floats(index, KI_PART_COARSE_FACTORS, lists->coarse.factors, lists->coarse.blocks * KI_FACTORS, error);
    if (status == KITH_OK && lists->coarse_first.blocks)
        status = check_floats(index, KI_PART_COARSE_FIRST_FACTORS, lists->coarse_first.factors,
                              lists->coarse_first.blocks * KI_FACTORS, error);
    if (status == KITH_OK) status = check_floats(index, KI_PART_LIST_BOUNDS, lists->radius, lists->count, error);
    if (status == KITH_OK && lists->supers)
        status = check_floats(index, KI_PART_SUPERS, lists->super_centroids, lists->supers * view->dim, error);
    for (size_t l = 0; l < lists->count && status == KITH_OK; l++) {
        if (!(lists->radius[l] >= 0)) return bad(index, KI_PART_LIST_BOUNDS, l, "is negative", error);
        for (uint32_t row = lists->first_row[l]; view->residual && row < lists->first_row[l + 1]; row++) {
            const uint32_t in_list = row - lists->first_row[l];
            const size_t block = lists->first_block[l] + in_list / KI_BLOCK;
            if (view->full.factors[block * KI_FACTORS + KI_FACTOR_NORM + in_list % KI_BLOCK] > lists->radius[l])
                return bad(index, KI_PART_LIST_BOUNDS, l, "is less than a vector's distance", error);
        }
    }
    return status;
}

/* Every vector is in one second list at most, and not in its first. seen: a bit a vector, zeros. */
static kith_status check_entries(const kith_index *index, uint64_t *seen, kith_error *error) {
    const ki_view *view = &index->view;
    for (size_t l = 0; l < view->lists.count; l++)
        for (uint32_t e = view->second_lists.first[l]; e < view->second_lists.first[l + 1]; e++) {
            const ki_second_entry entry = view->second_lists.entry[e];
            if (entry.position >= view->rows || entry.list >= view->lists.count)
                return bad(index, KI_PART_SECOND_LIST_ENTRIES, e, "is beyond the last vector or list", error);
            if (entry.list == l || entry.position < view->lists.first_row[entry.list] ||
                entry.position >= view->lists.first_row[entry.list + 1])
                return bad(index, KI_PART_SECOND_LIST_ENTRIES, e, "does not name the vector's first list", error);
            if (seen[entry.position / 64] >> entry.position % 64 & 1)
                return bad(index, KI_PART_SECOND_LIST_ENTRIES, e, "is the vector's second one", error);
            seen[entry.position / 64] |= UINT64_C(1) << entry.position % 64;
        }
    return KITH_OK;
}

static kith_status check_second_lists(const kith_index *index, kith_error *error) {
    const ki_view *view = &index->view;
    uint64_t *seen = ki_alloc_array_zeroed(view->rows / 64 + 1, sizeof(*seen));
    if (!seen) return ki_fail(error, KITH_E_NOMEM, "out of memory for %llu vectors", (unsigned long long)view->rows);
    kith_status status = check_entries(index, seen, error);
    free(seen);
    if (status != KITH_OK) return status;
    return check_floats(index, KI_PART_SECOND_LIST_FACTORS, view->second_lists.level.factors,
                        (uint64_t)view->second_lists.level.blocks * KI_FACTORS, error);
}

static kith_status check_codes(const kith_index *index, kith_error *error) {
    const ki_view *view = &index->view;
    const uint64_t factors = (uint64_t)view->full.blocks * KI_FACTORS;
    const uint64_t centres = view->lists.count > 1 ? view->lists.count + 1 : 1;
    const float *centroids = view->lists.count > 1 ? view->lists.centroids : view->centre;
    kith_status status = check_floats(index, KI_PART_CENTROIDS, centroids, centres * view->dim, error);
    if (status == KITH_OK) status = check_floats(index, KI_PART_FACTORS, view->full.factors, factors, error);
    if (status == KITH_OK && view->level1.blocks) {
        const uint64_t basis = (uint64_t)view->dim * (4 * view->level1.quads + 1);
        status = check_floats(index, KI_PART_LEVEL1_BASIS, view->level1_centre, basis, error);
        if (status == KITH_OK)
            status = check_floats(index, KI_PART_LEVEL1_FACTORS, view->level1.factors, factors, error);
    }
    if (status == KITH_OK && view->lists.count > 1) status = check_list_floats(index, error);
    if (status == KITH_OK && view->second_lists.level.blocks) status = check_second_lists(index, error);
    if (status == KITH_OK && view->second_factors)
        status = check_floats(index, KI_PART_SECOND_FACTORS, view->second_factors, factors, error);
    return status;
}

static kith_status check_vectors(const kith_index *index, kith_error *error) {
    const ki_view *view = &index->view;
    kith_status status = check_codes(index, error);
    if (status == KITH_OK && view->metric == KITH_COSINE && view->originals && !view->norms2)
        status = check_floats(index, KI_PART_INVERSE_NORMS, ki_segment_part(index->segment, KI_PART_INVERSE_NORMS).data,
                              view->rows, error);
    for (uint64_t i = 0; i < view->rows && status == KITH_OK && view->originals; i++) {
        const uint8_t *row = view->originals + i * view->row_bytes;
        double norm2;
        if (ki_row_check(view->metric, view->dtype, row, view->dim, &norm2) != KI_ROW_FINE)
            status = bad(index, KI_PART_ORIGINALS, i, "is not a vector that could have been stored", error);
        else if (view->norms2 && view->norms2[i] != ki_square(ki_distance(), view->dtype, row, view->dim))
            status = bad(index, KI_PART_NORMS2, i, "is not the squared norm of its vector", error);
    }
    return status;
}

/* One list of all rows; the table of several was checked by opening. */
static kith_status check_lists(const kith_index *index, kith_error *error) {
    const ki_part_view lists = ki_segment_part(index->segment, KI_PART_LISTS);
    const uint64_t expected[2] = {0, index->view.rows};
    if (index->view.lists.count > 1) return KITH_OK;
    if (lists.bytes == sizeof(expected) && memcmp(lists.data, expected, sizeof(expected)) == 0) return KITH_OK;
    return bad(index, KI_PART_LISTS, 0, "is not the list of all vectors", error);
}

/* One of another version is as good as none. */
static kith_status check_calibration(const kith_index *index, kith_error *error) {
    const ki_part_view part = ki_segment_part(index->segment, KI_PART_CALIBRATION);
    ki_calibration calibration = {0};
    if (!part.data) return KITH_OK;
    const ki_calibration_state state = ki_calibration_decode(part.data, part.bytes, &calibration);
    ki_calibration_free(&calibration);
    if (state == KI_CALIBRATION_NO_MEMORY) return ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
    if (state != KI_CALIBRATION_DAMAGED) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s is damaged: kith tune measures it again",
                   ki_segment_path(index->segment), ki_part_place(KI_PART_CALIBRATION));
}

/* The meaning of an open index's sections: orders ascend, ids are distinct, strings end where they should, floats are
 * finite. What checksums cannot see. */
static kith_status check_meaning(const kith_index *index, kith_error *error) {
    kith_status status = check_lists(index, error);
    if (status == KITH_OK) status = check_calibration(index, error);
    if (status == KITH_OK) status = check_ids(index, error);
    if (status == KITH_OK && index->id_kind == KITH_ID_STRING) {
        status = check_ends(index, KI_PART_STRING_ENDS, index->string_ends, index->string_size, 0, error);
        if (status == KITH_OK) status = check_string_order(index, error);
    }
    if (status == KITH_OK && index->has_names)
        status = check_ends(index, KI_PART_NAME_ENDS, index->name_ends, index->name_size, 1, error);
    if (status == KITH_OK && index->view.dtype != KITH_B1) status = check_vectors(index, error);
    if (status == KITH_OK) status = ki_index_check_lsh(index, error);
    return status;
}

kith_status kith_index_check(const kith_index *index, kith_pool *pool, kith_progress_fn progress,
                             void *progress_context, kith_error *error) {
    if (!index) return ki_fail(error, KITH_E_ARG, "kith_index_check: index is NULL");
    kith_status status = ki_segment_verify(index->segment, pool, progress, progress_context, error);
    if (status == KITH_OK) status = check_meaning(index, error);
    if (status == KITH_OK) status = ki_index_check_graph(index, pool, progress, progress_context, error);
    if (status == KITH_OK) status = ki_index_check_hnsw(index, error);
    if (status == KITH_OK && ki_segment_damaged(index->segment))
        status =
            ki_fail(error, KITH_E_CORRUPT, "%s: was changed while it was checked", ki_segment_path(index->segment));
    return status;
}

kith_status kith_index_verify(const char *path, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                              kith_error *error) {
    kith_index *index = NULL;
    kith_status status = kith_index_open(path, NULL, &index, error);
    if (status == KITH_OK) status = kith_index_check(index, pool, progress, progress_context, error);
    kith_index_close(index);
    return status;
}
