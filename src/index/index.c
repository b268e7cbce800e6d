/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening an index: the segment's sections are given their types, each size held against the header's counts, so that
 * no later read leaves its section whatever the bytes say. Contents (ids, orders, string ends) are bounded where they
 * are read, and checked as a whole by kith_index_verify. */
#include "index/index.h"

#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "cpu/cpu.h"
#include "kernel/distance.h"
#include "quant/int8.h"
#include "quant/level1.h"
#include "view/on_device.h"

#include <float.h>
#include <string.h>

static kith_status check_head(const ki_segment *segment, kith_error *error) {
    const ki_segment_head *head = ki_segment_get_head(segment);
    const char *path = ki_segment_path(segment), *what = NULL;
    if (head->feature_incompat & KI_SEGMENT_TABLE)
        return ki_fail(error, KITH_E_CORRUPT, "%s: not an index: it is the table of a collection's segment", path);
    const int bits = head->metric == KITH_HAMMING || head->metric == KITH_JACCARD;
    if (head->rows == 0 || head->rows > KITH_ROWS_MAX) what = "row count";
    if (head->dim > KITH_DIM_MAX || !kith_row_bytes((kith_dtype)head->dtype, head->dim)) what = "dimension or dtype";
    if (head->metric < KITH_L2SQ || head->metric > KITH_JACCARD || bits != (head->dtype == KITH_B1)) what = "metric";
    if (head->id_kind > KITH_ID_STRING) what = "id kind";
    if (head->lists == 0 || head->lists > KITH_LISTS_MAX || (bits && head->lists != 1)) what = "list count";
    if ((head->lists > 1) != ((head->feature_incompat & KI_SEGMENT_LISTS) != 0)) what = "list count or features";
    for (int i = 1; i <= 3; i++) /* lengths, and the second code's error */
        if (!(head->parameter[i] >= 0 && head->parameter[i] <= (double)FLT_MAX)) what = "parameters";
    if (head->level1_dim && (bits || head->level1_dim % KI_LEVEL1_STEP || head->level1_dim > KI_LEVEL1_MAX))
        what = "first-level dimension";
    /* How far the basis is from orthonormal: far below 1, and a NaN here would spread into every bound. */
    if (head->level1_dim && !(head->parameter[0] >= 0 && head->parameter[0] <= 1)) what = "first-level constant";
    if (bits && head->feature_incompat & KI_SEGMENT_FLAT_CODE) what = "features";
    if (bits && !(head->flags & KI_SEGMENT_ORIGINALS)) what = "flags";
    if (!what) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: the header's %s is out of range", path, what);
}

/* ---- Codes ------------------------------------------------------------------------------------------------------- */

static kith_status view_centroids(kith_index *index, kith_error *error) {
    ki_view *view = &index->view;
    const size_t dim = view->dim, count = view->lists.count;
    const void *data = NULL;
    const uint64_t centres = count > 1 ? count + 1 : 1;
    const kith_status status =
        ki_part_of(index->segment, KI_PART_CENTROIDS, centres, dim * sizeof(float), &data, error);
    if (status != KITH_OK) return status;
    view->centre = (const float *)data + (centres - 1) * dim;
    if (count > 1) view->lists.centroids = data;
    view->centre_norm = ki_length_above(ki_distance()->dot[KITH_F32](view->centre, view->centre, dim), dim);
    if (view->residual && view->lists.norm > view->centre_norm) view->centre_norm = view->lists.norm;
    return KITH_OK;
}

static kith_status view_second(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const ki_part_view model = ki_segment_part(s, KI_PART_SECOND_MODEL);
    const void *codes = NULL, *factors = NULL;
    const int flat = (ki_segment_get_head(s)->feature_incompat & KI_SEGMENT_FLAT_CODE) != 0;
    if (flat != (model.data && view->lists.count == 1))
        return ki_fail(error, KITH_E_CORRUPT, "%s: the header's features and %s do not fit", ki_segment_path(s),
                       ki_part_place(KI_PART_SECOND_MODEL));
    if (!model.data) return KITH_OK;
    if (!ki_second_view(model.data, (size_t)model.bytes, view->dim, &view->second))
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s is no model of a code for these vectors", ki_segment_path(s),
                       ki_part_place(KI_PART_SECOND_MODEL));
    kith_status status = ki_part_of(s, KI_PART_SECOND_CODES, view->blocks, view->second.block_bytes, &codes, error);
    if (status == KITH_OK)
        status = ki_part_of(s, KI_PART_SECOND_FACTORS, view->blocks, KI_FACTORS * sizeof(float), &factors, error);
    view->second_codes = codes;
    view->second_factors = factors;
    return status;
}

static kith_status view_level1(kith_index *index, size_t columns, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const void *data[3] = {0};
    const uint64_t blocks = view->blocks;
    kith_status status = ki_part_of(s, KI_PART_LEVEL1_BASIS, view->dim, (columns + 1) * sizeof(float), &data[0], error);
    if (status == KITH_OK) status = ki_part_of(s, KI_PART_LEVEL1_CODES, blocks, columns * KI_BLOCK, &data[1], error);
    if (status == KITH_OK)
        status = ki_part_of(s, KI_PART_LEVEL1_FACTORS, blocks, KI_FACTORS * sizeof(float), &data[2], error);
    if (status != KITH_OK) return status;
    view->level1_centre = data[0];
    view->basis = view->level1_centre + view->dim;
    view->level1 = (ki_level){data[1], data[2], columns / 4, view->blocks};
    view->kappa = ki_level1_kappa(view->dim, columns, ki_segment_get_head(s)->parameter[0]);
    return KITH_OK;
}

static kith_status view_codes(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const void *codes = NULL, *factors = NULL;
    const size_t columns = ki_segment_get_head(s)->level1_dim;
    kith_status status = ki_index_view_lists(index, error);
    if (status == KITH_OK) status = view_centroids(index, error);
    if (status != KITH_OK) return status;
    const uint64_t blocks = view->blocks, quads = (view->dim + 3) / 4;
    status = ki_part_of(s, KI_PART_CODES, blocks, quads * KI_QUAD_BYTES, &codes, error);
    if (status == KITH_OK) status = ki_part_of(s, KI_PART_FACTORS, blocks, KI_FACTORS * sizeof(float), &factors, error);
    if (status != KITH_OK) return status;
    view->full = (ki_level){codes, factors, quads, blocks};
    if (columns) status = view_level1(index, columns, error);
    return status == KITH_OK ? view_second(index, error) : status;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

static kith_status view_strings(kith_index *index, uint32_t ends_kind, uint32_t bytes_kind, const uint64_t **ends,
                                const char **bytes, uint64_t *size, kith_error *error) {
    const void *data;
    const kith_status status = ki_part_of(index->segment, ends_kind, index->view.rows, sizeof(uint64_t), &data, error);
    const ki_part_view part = ki_segment_part(index->segment, bytes_kind);
    if (status != KITH_OK) return status;
    *ends = data;
    *bytes = part.data ? part.data : "";
    *size = part.bytes;
    return KITH_OK;
}

/* Files of version 1 hold 1/|x| instead of |x|^2, which distances are not made of: there the vectors tell. */
static kith_status view_norms(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    const int old = !ki_segment_part(s, KI_PART_NORMS2).data && ki_segment_part(s, KI_PART_INVERSE_NORMS).data;
    const void *data = NULL;
    const kith_status status =
        ki_part_of(s, old ? KI_PART_INVERSE_NORMS : KI_PART_NORMS2, index->view.rows, sizeof(float), &data, error);
    index->view.norms2 = old ? NULL : data;
    return status;
}

static kith_status view_rows(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const void *data = NULL;
    kith_status status = ki_part_of(s, KI_PART_IDS, view->rows, sizeof(uint64_t), &data, error);
    view->labels = data;
    if (status == KITH_OK) status = ki_part_of(s, KI_PART_ID_ORDER, view->rows, sizeof(uint32_t), &data, error);
    index->id_order = data;
    if (status == KITH_OK && ki_segment_get_head(s)->flags & KI_SEGMENT_ORIGINALS) {
        status = ki_part_of(s, KI_PART_ORIGINALS, view->rows, view->row_bytes, &data, error);
        view->originals = data;
    }
    if (status == KITH_OK && view->metric == KITH_COSINE && view->originals) status = view_norms(index, error);
    if (status == KITH_OK && index->id_kind == KITH_ID_STRING) {
        status = view_strings(index, KI_PART_STRING_ENDS, KI_PART_STRING_BYTES, &index->string_ends,
                              &index->string_bytes, &index->string_size, error);
        if (status == KITH_OK) status = ki_part_of(s, KI_PART_STRING_ORDER, view->rows, sizeof(uint32_t), &data, error);
        index->string_order = data;
    }
    if (status == KITH_OK && index->has_names)
        status = view_strings(index, KI_PART_NAME_ENDS, KI_PART_NAME_BYTES, &index->name_ends, &index->name_bytes,
                              &index->name_size, error);
    return status;
}

/* Whether an index has what the settings of a calibration use. Plans that it has not are passed over by the planner. */
static int fits(const ki_calibration *calibration, const ki_view *view) {
    for (size_t i = 0; i < calibration->count; i++) {
        const kith_scan_code code = calibration->settings[i].code;
        if (calibration->settings[i].plan == KITH_PLAN_IVF && view->lists.count == 1) return 0;
        if (code == KITH_SCAN_SECOND && view->second.spec.kind == KI_SECOND_NONE) return 0;
        if (code == KITH_SCAN_FIRST && !view->level1.blocks) return 0;
    }
    return 1;
}

ki_calibration_state ki_index_take_calibration(kith_index *index, const void *data, uint64_t bytes) {
    ki_calibration taken = {0};
    if (!index->view.originals) return KI_CALIBRATION_DAMAGED;
    const ki_calibration_state state = ki_calibration_decode(data, bytes, &taken);
    if (state != KI_CALIBRATION_GOOD) return state;
    if (!fits(&taken, &index->view)) {
        ki_calibration_free(&taken);
        return KI_CALIBRATION_DAMAGED;
    }
    ki_calibration_free(&index->calibration);
    index->calibration = taken;
    return KI_CALIBRATION_GOOD;
}

/* A calibration that is damaged or of another version is left aside: searches go on without, verify tells. */
static kith_status view_calibration(kith_index *index, kith_error *error) {
    const ki_part_view part = ki_segment_part(index->segment, KI_PART_CALIBRATION);
    if (!part.data) return KITH_OK;
    if (ki_index_take_calibration(index, part.data, part.bytes) != KI_CALIBRATION_NO_MEMORY) return KITH_OK;
    return ki_fail(error, KITH_E_NOMEM, "out of memory opening %s", ki_segment_path(index->segment));
}

static kith_status view(kith_index *index, kith_error *error) {
    const kith_status checked = check_head(index->segment, error);
    if (checked != KITH_OK) return checked;
    const ki_segment_head *head = ki_segment_get_head(index->segment);
    index->id_kind = (kith_id_kind)head->id_kind;
    index->has_names = (head->flags & KI_SEGMENT_NAMES) != 0;
    ki_view *view = &index->view;
    view->rows = head->rows;
    view->dim = head->dim;
    view->dtype = (kith_dtype)head->dtype;
    view->metric = (kith_metric)head->metric;
    view->row_bytes = kith_row_bytes(view->dtype, view->dim);
    view->blocks = (size_t)((head->rows + KI_BLOCK - 1) / KI_BLOCK);
    view->whole = (head->flags & KI_SEGMENT_INTEGER_CODES) != 0;
    view->survivors = head->parameter[4] <= 1 ? head->parameter[4] : 0;
    view->lists.count = 1;
    view->lists.longest = (uint32_t)head->rows;
    kith_status status = view->dtype == KITH_B1 ? KITH_OK : view_codes(index, error);
    if (status == KITH_OK) status = view_rows(index, error);
    if (status == KITH_OK) status = ki_index_view_second_lists(index, error);
    if (status == KITH_OK) status = ki_index_view_graph(index, error);
    if (status == KITH_OK) status = ki_index_view_lsh(index, error);
    if (status == KITH_OK) status = ki_index_view_hnsw(index, error);
    return status == KITH_OK ? view_calibration(index, error) : status;
}

kith_status ki_index_of_segment(ki_segment *segment, kith_index **out, kith_error *error) {
    kith_index *index = ki_alloc_array_zeroed(1, sizeof(*index));
    if (!index) {
        const kith_status status = ki_fail(error, KITH_E_NOMEM, "out of memory opening %s", ki_segment_path(segment));
        ki_segment_close(segment);
        return status;
    }
    index->segment = segment;
    const kith_status status = view(index, error);
    if (status == KITH_OK)
        *out = index;
    else
        kith_index_close(index);
    return status;
}

/* What options ask to be copied. */
static unsigned hot_parts(const kith_open_options *options) {
    unsigned what = options->copy_hot ? KI_HOT_GRAPH : 0;
    if (options->resident != KITH_RESIDENT_NONE) what |= KI_HOT_GRAPH | KI_HOT_CODES;
    if (options->resident == KITH_RESIDENT_ALL) what |= KI_HOT_VECTORS;
    return what;
}

kith_status kith_index_open(const char *path, const kith_open_options *options, kith_index **out, kith_error *error) {
    if (!path || !out) return ki_fail(error, KITH_E_ARG, "kith_index_open: path or index is NULL");
    kith_open_options today = KITH_OPEN_OPTIONS_INIT;
    kith_cpu cpu = KITH_CPU_INIT;
    kith_status status = ki_grown_read(KI_GROWN_OPEN_OPTIONS, options, &today, error);
    if (status == KITH_OK && (unsigned)today.resident > KITH_RESIDENT_ALL)
        status = ki_fail(error, KITH_E_ARG, "kith_index_open: resident is %d, one of kith_resident was expected",
                         (int)today.resident);
    if (status == KITH_OK && (unsigned)today.device > KITH_DEVICE_OPENCL)
        status = ki_fail(error, KITH_E_ARG, "kith_index_open: device is %d, one of kith_device_use was expected",
                         (int)today.device);
    if (status == KITH_OK) status = kith_cpu_info(&cpu, error);
    if (status != KITH_OK) return status;
    ki_segment *segment = NULL;
    kith_index *index = NULL;
    status = ki_segment_open(path, &today, &segment, error);
    if (status == KITH_OK) status = ki_index_of_segment(segment, &index, error);
    if (status == KITH_OK && today.verify) status = kith_index_check(index, NULL, NULL, NULL, error);
    if (status == KITH_OK) status = ki_index_to_device(index, &today, error);
    if (status != KITH_OK) {
        kith_index_close(index);
        return status;
    }
    const unsigned what = hot_parts(&today);
    if (what) ki_index_copy_hot(index, what);
    *out = index;
    return KITH_OK;
}

void kith_index_close(kith_index *index) {
    if (!index) return;
    ki_hot_copy_stop(index->hot);
    ki_on_device_release(index->view.device);
    ki_segment_close(index->segment);
    free(index->list_first);
    free(index->list_of_block);
    free(index->super_ends);
    free(index->second_list_first);
    ki_calibration_free(&index->calibration);
    free(index);
}

size_t kith_index_tuned(const kith_index *index, const kith_tuned **tuned) {
    if (!index) return 0;
    if (tuned) *tuned = index->calibration.settings;
    return index->calibration.count;
}

static void fill_info(const kith_index *index, kith_index_info *info) {
    const ki_segment_head *head = ki_segment_get_head(index->segment);
    ki_segment_info(index->segment, info);
    info->rows = index->view.rows;
    info->dim = index->view.dim;
    info->dtype = index->view.dtype;
    info->metric = index->view.metric;
    info->id_kind = index->id_kind;
    info->has_names = index->has_names;
    info->has_originals = index->view.originals != NULL;
    info->integer_codes = index->view.whole;
    info->lists = index->view.lists.count;
    info->list_rows_max = index->view.lists.longest;
    info->spilled_rows =
        index->view.second_lists.level.blocks ? index->view.second_lists.first[index->view.lists.count] : 0;
    info->first_level_dim = head->level1_dim;
    info->near_duplicates = index->calibration.near_duplicates;
    info->graph_degree = index->view.graph.degree;
    info->graph_bits = index->view.graph.bits;
    info->hot_bytes = ki_hot_copy_bytes(index->hot);
    info->lsh_tables = index->view.lsh.tables;
    info->hnsw_m = index->view.hnsw.m;
    info->code_error = head->code_error;
    info->first_level_error = head->level1_error;
    if (index->view.second.spec.kind == KI_SECOND_NONE) return;
    ki_second_text(&index->view.second.spec, info->second_code);
    info->second_code_error = head->parameter[3];
    for (uint32_t kind = KI_PART_SECOND_MODEL; kind <= KI_PART_SECOND_FACTORS; kind++)
        info->second_code_bytes += ki_segment_part(index->segment, kind).bytes;
}

kith_status kith_index_get_info(const kith_index *index, kith_index_info *info) {
    if (!index || !info || ki_grown_check(KI_GROWN_INDEX_INFO, info, NULL) != KITH_OK) return KITH_E_ARG;
    kith_index_info today = KITH_INDEX_INFO_INIT;
    fill_info(index, &today);
    ki_grown_write(KI_GROWN_INDEX_INFO, &today, info);
    return KITH_OK;
}

size_t kith_index_sections(const kith_index *index) {
    return index ? ki_segment_parts(index->segment) : 0;
}

kith_status kith_index_section(const kith_index *index, size_t number, kith_section *section) {
    if (!index || !section || ki_grown_check(KI_GROWN_SECTION, section, NULL) != KITH_OK) return KITH_E_ARG;
    if (number >= ki_segment_parts(index->segment)) return KITH_E_NOTFOUND;
    const kith_section_info part = ki_segment_part_info(index->segment, number);
    const kith_section today = {sizeof(today), part.name, part.offset, part.bytes, part.count};
    ki_grown_write(KI_GROWN_SECTION, &today, section);
    return KITH_OK;
}

int ki_index_find_place(const kith_index *index, uint64_t id, uint32_t *position, uint64_t *rank) {
    uint64_t low = 0, high = index->view.rows;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const uint32_t place = index->id_order[middle];
        if (place >= index->view.rows) return 0;
        const uint64_t label = index->view.labels[place];
        if (label == id) {
            *position = place;
            *rank = middle;
            return 1;
        }
        if (label < id)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

int ki_index_find(const kith_index *index, uint64_t id, uint32_t *position) {
    uint64_t place;
    return ki_index_find_place(index, id, position, &place);
}

kith_status kith_index_ids(const kith_index *index, uint64_t first, size_t count, uint64_t *ids, kith_error *error) {
    if (!index || (!ids && count)) return ki_fail(error, KITH_E_ARG, "kith_index_ids: index or ids is NULL");
    const uint64_t rows = index->view.rows;
    if (first > rows || count > rows - first)
        return ki_fail(error, KITH_E_ARG, "%s: has %llu ids, %zu from place %llu on were asked for",
                       ki_segment_path(index->segment), (unsigned long long)rows, count, (unsigned long long)first);
    for (size_t i = 0; i < count; i++)
        if (index->id_order[first + i] >= rows)
            return ki_fail(error, KITH_E_CORRUPT, "%s: section 'ids', part 'order' names a row that is not there",
                           ki_segment_path(index->segment));
    for (size_t i = 0; i < count; i++) ids[i] = index->view.labels[index->id_order[first + i]];
    return KITH_OK;
}

/* The string of a row (names: of a position), bounded by its section. */
static kith_status string_of(const uint64_t *ends, const char *bytes, uint64_t size, uint64_t row, const char **text,
                             size_t *length) {
    const uint64_t start = row ? ends[row - 1] : 0, end = ends[row];
    if (start > end || end > size || end - start > KITH_STRING_MAX) return KITH_E_CORRUPT;
    *text = bytes + start;
    *length = (size_t)(end - start);
    return KITH_OK;
}

kith_status kith_index_string_id(const kith_index *index, uint64_t id, const char **text, size_t *bytes) {
    if (!index || !text || !bytes) return KITH_E_ARG;
    if (index->id_kind != KITH_ID_STRING) return KITH_E_UNSUPPORTED;
    if (id >= index->view.rows) return KITH_E_NOTFOUND;
    return string_of(index->string_ends, index->string_bytes, index->string_size, id, text, bytes);
}

kith_status kith_index_name(const kith_index *index, uint64_t id, const char **text, size_t *bytes) {
    if (!index || !text || !bytes) return KITH_E_ARG;
    if (!index->has_names) return KITH_E_UNSUPPORTED;
    uint32_t position;
    if (!ki_index_find(index, id, &position)) return KITH_E_NOTFOUND;
    return string_of(index->name_ends, index->name_bytes, index->name_size, position, text, bytes);
}

kith_status kith_index_lookup(const kith_index *index, const char *text, size_t bytes, uint64_t *id) {
    if (!index || !text || !id) return KITH_E_ARG;
    if (index->id_kind != KITH_ID_STRING) return KITH_E_UNSUPPORTED;
    uint64_t low = 0, high = index->view.rows;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const uint32_t row = index->string_order[middle];
        const char *other;
        size_t other_bytes;
        if (row >= index->view.rows || kith_index_string_id(index, row, &other, &other_bytes) != KITH_OK)
            return KITH_E_CORRUPT;
        int order = memcmp(other, text, ki_min_size(other_bytes, bytes));
        if (order == 0) order = other_bytes < bytes ? -1 : other_bytes > bytes;
        if (order == 0) {
            *id = row;
            return KITH_OK;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return KITH_E_NOTFOUND;
}
