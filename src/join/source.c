/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches of queries: rows of a reader, copied and hashed; or the index's own vectors. For arrays these come in order
 * of position, straight from the map, so that neighbouring queries lie in the same lists; for text in order of id, as
 * lines cannot be written out of order. */
#include "join/join.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>
#include <xxhash.h>

static int gathers(const ki_join_request *request) {
    return request->queries != NULL || request->format == KITH_JOIN_NDJSON;
}

kith_status ki_join_source_open(ki_join_source *source, const ki_join_request *request, kith_error *error) {
    const uint64_t most = ki_min_u64(request->batch, request->rows);
    *source = (ki_join_source){.request = request, .capacity = (size_t)most};
    const int ids = request->queries == NULL || request->id_kind == KITH_ID_U64;
    if (gathers(request)) source->rows = ki_alloc_array(most, request->row_bytes);
    if (ids) source->ids = ki_alloc_array(most, sizeof(*source->ids));
    if ((gathers(request) && !source->rows) || (ids && !source->ids))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", source->capacity);
    return KITH_OK;
}

void ki_join_source_close(ki_join_source *source) {
    free(source->rows);
    free(source->ids);
    ki_labels_free(&source->labels);
    *source = (ki_join_source){0};
}

kith_status ki_join_source_rewind(ki_join_source *source, kith_error *error) {
    source->first = source->hash = 0;
    source->count = 0;
    return source->request->queries ? kith_reader_seek(source->request->queries, 0, error) : KITH_OK;
}

/* ---- Stored vectors ---------------------------------------------------------------------------------------------- */

static kith_status own_rows(ki_join_source *source, uint64_t first, size_t count, kith_error *error) {
    const ki_join_request *request = source->request;
    const kith_index *index = request->index;
    const ki_view *view = &index->view;
    source->data = source->rows ? source->rows : view->originals + first * request->row_bytes;
    for (size_t i = 0; i < count; i++) {
        const uint64_t position = source->rows ? index->id_order[first + i] : first + i;
        if (position >= view->rows)
            return ki_fail(error, KITH_E_CORRUPT, "%s: section 'id_order' points beyond the vectors",
                           ki_segment_path(index->segment));
        source->ids[i] = view->labels[position];
        if (source->rows)
            memcpy(source->rows + i * request->row_bytes, view->originals + position * request->row_bytes,
                   request->row_bytes);
    }
    return KITH_OK;
}

/* ---- Rows of a reader -------------------------------------------------------------------------------------------- */

static void hash_more(ki_join_source *source, const void *bytes, size_t count) {
    source->hash = XXH3_64bits_withSeed(bytes, count, source->hash);
}

/* Row by row, so that batches of any size give the same hash. */
static kith_status add_rows(ki_join_source *source, size_t at, const kith_rows *rows, kith_error *error) {
    const size_t row_bytes = source->request->row_bytes;
    const ki_place place = {source->request->queries->path, 0};
    memcpy(source->rows + at * row_bytes, rows->data, rows->count * row_bytes);
    if (rows->ids) memcpy(source->ids + at, rows->ids, rows->count * sizeof(*rows->ids));
    kith_status status = KITH_OK;
    for (size_t i = 0; i < rows->count && status == KITH_OK; i++) {
        hash_more(source, (const unsigned char *)rows->data + i * row_bytes, row_bytes);
        if (rows->ids) hash_more(source, &rows->ids[i], sizeof(*rows->ids));
        if (!rows->id_ends) continue;
        const uint32_t begin = i ? rows->id_ends[i - 1] : 0, end = rows->id_ends[i];
        hash_more(source, rows->id_bytes + begin, end - begin);
        status = ki_labels_add_text(&source->labels, place, "id", rows->id_bytes + begin, end - begin, error);
    }
    return status;
}

static kith_status read_rows(ki_join_source *source, size_t count, kith_error *error) {
    kith_reader *reader = source->request->queries;
    ki_labels_clear(&source->labels);
    source->data = source->rows;
    for (size_t at = 0; at < count;) {
        kith_rows rows;
        kith_status status = kith_reader_next(reader, count - at, &rows, error);
        if (status != KITH_OK) return status;
        if (rows.count == 0)
            return ki_fail(error, KITH_E_FORMAT, "%s: ends before row %llu", reader->path,
                           (unsigned long long)(reader->first_row + source->request->rows));
        status = add_rows(source, at, &rows, error);
        if (status != KITH_OK) return status;
        at += rows.count;
    }
    return KITH_OK;
}

kith_status ki_join_source_next(ki_join_source *source, size_t count, kith_error *error) {
    const uint64_t first = source->first + source->count;
    const kith_status status =
        source->request->queries ? read_rows(source, count, error) : own_rows(source, first, count, error);
    source->first = first;
    source->count = count;
    return status;
}
