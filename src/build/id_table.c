/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "build/id_table.h"

#include "base/checked.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

kith_status ki_id_table_start(ki_id_table *labels, const kith_reader_info *source, kith_error *error) {
    const uint64_t rows = source->rows;
    *labels = (ki_id_table){.rows = rows, .kind = source->id_kind, .has_names = source->has_names};
    labels->row_at = ki_alloc_array(rows, sizeof(uint32_t));
    labels->position_of = ki_alloc_array(rows, sizeof(uint32_t));
    int ready = labels->row_at && labels->position_of;
    if (source->id_kind == KITH_ID_U64) ready &= (labels->ids = ki_alloc_array(rows, sizeof(uint64_t))) != NULL;
    if (source->id_kind == KITH_ID_STRING)
        ready &= (labels->strings.ends = ki_alloc_array(rows, sizeof(uint64_t))) != NULL;
    if (source->has_names) ready &= (labels->names.ends = ki_alloc_array(rows, sizeof(uint64_t))) != NULL;
    if (ready) return KITH_OK;
    ki_id_table_free(labels);
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the ids of %llu rows", (unsigned long long)rows);
}

void ki_id_table_free(ki_id_table *labels) {
    free(labels->ids);
    free(labels->row_at);
    free(labels->position_of);
    free(labels->strings.bytes);
    free(labels->strings.ends);
    free(labels->names.bytes);
    free(labels->names.ends);
    *labels = (ki_id_table){0};
}

static kith_status add_strings(ki_strings *to, uint64_t row, const char *bytes, const uint32_t *ends, size_t count,
                               int may_be_empty, const char *what, const char *path, kith_error *error) {
    const size_t size = count ? ends[count - 1] : 0;
    if (!ki_array_reserve((void **)&to->bytes, &to->capacity, (uint64_t)to->used + size, 1))
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory: each row has %s", path, what);
    if (size) memcpy(to->bytes + to->used, bytes, size);
    for (size_t i = 0; i < count; i++) {
        const uint32_t length = ends[i] - (i ? ends[i - 1] : 0);
        if (length > KITH_STRING_MAX || (length == 0 && !may_be_empty))
            return ki_fail(error, KITH_E_DATA, "%s: row %llu has %s of %u bytes (1 to %u are allowed)", path,
                           (unsigned long long)(row + i), what, length, KITH_STRING_MAX);
        to->ends[row + i] = to->used + ends[i];
    }
    to->used += size;
    return KITH_OK;
}

kith_status ki_id_table_add(ki_id_table *labels, const kith_rows *rows, const char *path, kith_error *error) {
    const uint64_t row = labels->added;
    kith_status status = KITH_OK;
    if (labels->kind == KITH_ID_U64)
        for (size_t i = 0; i < rows->count; i++) {
            if (rows->ids[i] == KITH_ID_NONE)
                return ki_fail(error, KITH_E_DATA, "%s: row %llu has the id %llu, which is reserved", path,
                               (unsigned long long)(row + i), (unsigned long long)KITH_ID_NONE);
            labels->ids[row + i] = rows->ids[i];
        }
    if (labels->kind == KITH_ID_STRING)
        status =
            add_strings(&labels->strings, row, rows->id_bytes, rows->id_ends, rows->count, 0, "an id", path, error);
    if (status == KITH_OK && labels->has_names)
        status =
            add_strings(&labels->names, row, rows->name_bytes, rows->name_ends, rows->count, 1, "a name", path, error);
    if (status == KITH_OK) labels->added += rows->count;
    return status;
}

void ki_id_table_place(ki_id_table *labels, uint64_t first, const uint32_t *order, size_t count) {
    for (size_t p = 0; p < count; p++) {
        labels->row_at[first + p] = (uint32_t)(first + order[p]);
        labels->position_of[first + order[p]] = (uint32_t)(first + p);
    }
}

void ki_id_table_move(ki_id_table *labels, uint64_t first, const uint32_t *order, size_t count, uint32_t *room) {
    memcpy(room, labels->row_at + first, count * sizeof(*room));
    for (size_t p = 0; p < count; p++) {
        labels->row_at[first + p] = room[order[p]];
        labels->position_of[room[order[p]]] = (uint32_t)(first + p);
    }
}

static int compare_ids(const void *a, const void *b, void *context) {
    const uint64_t *ids = context;
    const uint64_t x = ids[*(const uint32_t *)a], y = ids[*(const uint32_t *)b];
    return x < y ? -1 : x > y;
}

static const char *string_at(const ki_strings *strings, uint32_t row, size_t *bytes) {
    const uint64_t start = row ? strings->ends[row - 1] : 0;
    *bytes = (size_t)(strings->ends[row] - start);
    return strings->bytes + start;
}

static int compare_strings(const void *a, const void *b, void *context) {
    size_t x_bytes, y_bytes;
    const char *x = string_at(context, *(const uint32_t *)a, &x_bytes);
    const char *y = string_at(context, *(const uint32_t *)b, &y_bytes);
    const int order = memcmp(x, y, ki_min_size(x_bytes, y_bytes));
    return order ? order : x_bytes < y_bytes ? -1 : x_bytes > y_bytes;
}

/* Rows in ascending order of their ids; KITH_E_DATA when two are equal. */
static kith_status sort_rows(const ki_id_table *labels, uint32_t *row, const char *path, kith_error *error) {
    const int text = labels->kind == KITH_ID_STRING;
    for (uint64_t i = 0; i < labels->rows; i++) row[i] = (uint32_t)i;
    if (labels->kind == KITH_ID_ROW) return KITH_OK;
    void *context = text ? (void *)(uintptr_t)&labels->strings : labels->ids;
    int (*compare)(const void *, const void *, void *) = text ? compare_strings : compare_ids;
    qsort_r(row, labels->rows, sizeof(*row), compare, context);
    for (uint64_t i = 1; i < labels->rows; i++) {
        if (compare(&row[i - 1], &row[i], context) != 0) continue;
        const uint32_t one = row[i - 1] < row[i] ? row[i - 1] : row[i], two = row[i - 1] < row[i] ? row[i] : row[i - 1];
        size_t bytes = 0;
        if (text) {
            const char *id = string_at(&labels->strings, one, &bytes);
            return ki_fail(error, KITH_E_DATA, "%s: rows %u and %u have the same id \"%.*s\"", path, one, two,
                           (int)ki_min_size(bytes, 64), id);
        }
        return ki_fail(error, KITH_E_DATA, "%s: rows %u and %u have the same id %llu", path, one, two,
                       (unsigned long long)labels->ids[one]);
    }
    return KITH_OK;
}

static kith_status put_ids(const ki_id_table *labels, ki_segment_writer *writer, kith_error *error) {
    enum { PIECE = 8192 };
    uint64_t piece[PIECE];
    for (uint64_t first = 0; first < labels->rows; first += PIECE) {
        const size_t count = (size_t)ki_min_u64(PIECE, labels->rows - first);
        for (size_t i = 0; i < count; i++) {
            const uint32_t row = labels->row_at[first + i];
            piece[i] = labels->kind == KITH_ID_U64 ? labels->ids[row] : row;
        }
        const kith_status status =
            ki_segment_put(writer, KI_PART_IDS, first * sizeof(uint64_t), piece, count * sizeof(uint64_t), error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* Strings by row become strings by position. */
static kith_status reorder(const ki_strings *from, const uint32_t *row_at, uint64_t rows, ki_strings *to,
                           kith_error *error) {
    to->bytes = ki_alloc_array(from->used, 1);
    to->ends = ki_alloc_array(rows, sizeof(uint64_t));
    if (!to->bytes || !to->ends)
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu bytes of names", from->used);
    for (uint64_t position = 0; position < rows; position++) {
        size_t bytes;
        const char *text = string_at(from, row_at[position], &bytes);
        if (bytes) memcpy(to->bytes + to->used, text, bytes);
        to->used += bytes;
        to->ends[position] = to->used;
    }
    return KITH_OK;
}

/* Ends and bytes, and what is there beside them. */
static kith_status append_strings(const ki_strings *strings, uint64_t rows, uint32_t ends_kind, uint32_t bytes_kind,
                                  const ki_part_data *more, ki_segment_writer *writer, kith_error *error) {
    const ki_part_data parts[] = {
        {{ends_kind, rows * sizeof(uint64_t), rows}, strings->ends},
        {{bytes_kind, strings->used, strings->used}, strings->bytes ? strings->bytes : ""},
        more ? *more : (ki_part_data){{0, 0, 0}, NULL},
    };
    return ki_segment_append(writer, parts, more ? 3 : 2, error);
}

kith_status ki_id_table_write(ki_id_table *labels, ki_segment_writer *writer, const char *path, kith_error *error) {
    const uint64_t rows = labels->rows;
    uint32_t *row = ki_alloc_array(rows, sizeof(uint32_t));
    if (!row) return ki_fail(error, KITH_E_NOMEM, "out of memory for the ids of %llu rows", (unsigned long long)rows);
    kith_status status = sort_rows(labels, row, path, error);
    if (status == KITH_OK) status = put_ids(labels, writer, error);
    const int text = labels->kind == KITH_ID_STRING;
    const ki_part_data order = {{KI_PART_STRING_ORDER, rows * sizeof(uint32_t), rows}, row};
    if (status == KITH_OK && text)
        status =
            append_strings(&labels->strings, rows, KI_PART_STRING_ENDS, KI_PART_STRING_BYTES, &order, writer, error);
    /* String ids are numbered by row: their order by number is the order of rows. */
    for (uint64_t i = 0; i < rows; i++) row[i] = labels->position_of[text ? (uint32_t)i : row[i]];
    if (status == KITH_OK) status = ki_segment_put(writer, KI_PART_ID_ORDER, 0, row, rows * sizeof(uint32_t), error);
    free(row);
    if (status == KITH_OK && labels->has_names) {
        ki_strings names = {0};
        status = reorder(&labels->names, labels->row_at, rows, &names, error);
        if (status == KITH_OK)
            status = append_strings(&names, rows, KI_PART_NAME_ENDS, KI_PART_NAME_BYTES, NULL, writer, error);
        free(names.bytes);
        free(names.ends);
    }
    return status;
}
