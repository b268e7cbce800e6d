/* SPDX-License-Identifier: Apache-2.0
 *
 * A table, row by row in memory, and written at the end: the sizes of its parts are known then. Memory: 8 bytes a row
 * for the key, and for each column what its values take in the file, twice while it is encoded. */
#include "table/write.h"

#include "base/checked.h"
#include "base/status.h"

#include <inttypes.h>
#include <math.h>

struct ki_table_writer {
    char *path;
    uint64_t rows, added;
    int failed; /* columns may have different numbers of rows */
    kith_id_kind id_kind;
    size_t fields; /* of the schema */
    uint64_t *key;
    uint64_t *text_ends; /* string ids; else NULL */
    char *text;
    size_t text_room;
    size_t columns;
    ki_column_writer *column; /* by ascending field id */
};

static kith_status no_memory(const ki_table_writer *writer, kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a table of %" PRIu64 " rows", writer->path,
                   writer->rows);
}

static kith_status begin_columns(ki_table_writer *writer, const ki_schema *schema, kith_error *error) {
    writer->fields = schema ? schema->count : 0;
    writer->column = ki_alloc_array_zeroed(writer->fields, sizeof(*writer->column));
    if (!writer->column) return no_memory(writer, error);
    for (size_t i = 0; i < writer->fields; i++) {
        size_t at = writer->columns++;
        for (; at > 0 && writer->column[at - 1].field->id > schema->fields[i].id; at--)
            writer->column[at] = writer->column[at - 1];
        if (!ki_column_writer_begin(&writer->column[at], &schema->fields[i], i, writer->rows))
            return no_memory(writer, error);
        if (at && writer->column[at - 1].field->id == schema->fields[i].id)
            return ki_fail(error, KITH_E_ARG, "%s: two fields have the number %" PRIu32, writer->path,
                           schema->fields[i].id);
    }
    return KITH_OK;
}

kith_status ki_table_create(const char *path, uint64_t rows, kith_id_kind id_kind, const ki_schema *schema,
                            ki_table_writer **out, kith_error *error) {
    if (rows == 0 || rows > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_ARG, "%s: a table of %" PRIu64 " rows: there are 1 to %" PRIu64, path, rows,
                       KITH_ROWS_MAX);
    if (id_kind != KITH_ID_U64 && id_kind != KITH_ID_STRING)
        return ki_fail(error, KITH_E_ARG, "%s: a table's ids are numbers or strings", path);
    if (schema && schema->count > KITH_FIELDS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: %zu fields, at most %u are possible", path, schema->count,
                       KITH_FIELDS_MAX);
    ki_table_writer *writer = ki_alloc_array_zeroed(1, sizeof(*writer));
    if (!writer) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    writer->rows = rows;
    writer->id_kind = id_kind;
    writer->path = ki_alloc_array(strlen(path) + 1, 1);
    if (writer->path) memcpy(writer->path, path, strlen(path) + 1);
    writer->key = ki_alloc_array(rows, sizeof(*writer->key));
    if (id_kind == KITH_ID_STRING) writer->text_ends = ki_alloc_array(rows, sizeof(*writer->text_ends));
    kith_status status = KITH_OK;
    if (!writer->path || !writer->key || (id_kind == KITH_ID_STRING && !writer->text_ends))
        status = ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a table of %" PRIu64 " rows", path, rows);
    if (status == KITH_OK) status = begin_columns(writer, schema, error);
    if (status == KITH_OK)
        *out = writer;
    else
        ki_table_abandon(writer);
    return status;
}

void ki_table_abandon(ki_table_writer *writer) {
    if (!writer) return;
    for (size_t i = 0; i < writer->columns; i++) ki_column_writer_free(&writer->column[i]);
    free(writer->column);
    free(writer->key);
    free(writer->text_ends);
    free(writer->text);
    free(writer->path);
    free(writer);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* A row's strings get their numbers. Forward places that a failure leaves behind are written again by the next try. */
static bool add_strings(ki_column_writer *column, uint64_t row, const ki_values *values, const ki_value *value) {
    uint32_t count = column->row_ends ? value->count : value->count != 0;
    uint64_t at = row;
    if (column->row_ends) {
        void *number = column->number;
        const bool ready =
            ki_array_reserve(&number, &column->number_room, column->entries + count, sizeof(*column->number));
        column->number = number;
        if (!ready) return false;
        at = column->entries;
        column->row_ends[row] = column->entries + count;
    }
    for (uint32_t i = 0; i < count; i++) {
        const size_t string = (size_t)value->as.at + i;
        if (!ki_words_number(&column->words, values->string[string], values->string_bytes[string],
                             &column->number[at + i]))
            return false;
    }
    column->entries += count;
    return true;
}

static kith_status add_value(const ki_table_writer *writer, ki_column_writer *column, const ki_values *values,
                             kith_error *error) {
    const ki_value *value = &values->value[column->place];
    const uint64_t row = writer->added;
    if (!column->value) {
        if (!add_strings(column, row, values, value)) return no_memory(writer, error);
    } else if (value->count) {
        if (column->field->type == KITH_FIELD_FLOAT && !isfinite(value->as.f))
            return ki_fail(error, KITH_E_ARG, "%s: row %" PRIu64 ": field %s is no finite number", writer->path, row,
                           column->field->name);
        memcpy(&column->value[row], &value->as, sizeof(uint64_t));
    }
    column->present += value->count != 0;
    column->bitmap[row / 64] |= (uint64_t)(value->count != 0) << (row % 64);
    return KITH_OK;
}

static kith_status add_text(ki_table_writer *writer, const char *text, size_t bytes, kith_error *error) {
    const uint64_t row = writer->added, start = row ? writer->text_ends[row - 1] : 0;
    void *to = writer->text;
    if (bytes == 0 || bytes > KITH_STRING_MAX)
        return ki_fail(error, KITH_E_ARG, "%s: row %" PRIu64 ": a string id of %zu bytes, 1 to %u are possible",
                       writer->path, row, bytes, KITH_STRING_MAX);
    const bool ready = ki_array_reserve(&to, &writer->text_room, start + bytes, 1);
    writer->text = to;
    if (!ready) return no_memory(writer, error);
    memcpy(writer->text + start, text, bytes);
    writer->text_ends[row] = start + bytes;
    return KITH_OK;
}

kith_status ki_table_add(ki_table_writer *writer, uint64_t key, const char *text, size_t text_bytes,
                         const ki_values *values, kith_error *error) {
    const uint64_t row = writer->added;
    if (row == writer->rows)
        return ki_fail(error, KITH_E_ARG, "%s: more than the %" PRIu64 " rows it was begun with", writer->path,
                       writer->rows);
    if (key == KITH_ID_NONE || (row && key <= writer->key[row - 1]))
        return ki_fail(error, KITH_E_ARG, "%s: row %" PRIu64 ": key %" PRIu64 " is reserved, or does not ascend",
                       writer->path, row, key);
    if (writer->columns && values->count != writer->fields)
        return ki_fail(error, KITH_E_ARG, "%s: row %" PRIu64 ": values of %zu fields, expected %zu", writer->path, row,
                       values->count, writer->fields);
    kith_status status = KITH_OK;
    if (writer->text_ends) status = add_text(writer, text, text_bytes, error);
    for (size_t i = 0; status == KITH_OK && i < writer->columns; i++)
        status = add_value(writer, &writer->column[i], values, error);
    if (status != KITH_OK) {
        writer->failed = 1;
        return status;
    }
    writer->key[writer->added++] = key;
    return KITH_OK;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

enum { PARTS = 6 };

/* What is put as it lies in memory. */
typedef struct parts {
    size_t count;
    ki_part_plan plan[PARTS];
    const void *data[PARTS]; /* NULL: the columns' data */
} parts;

static void plan_part(parts *p, uint32_t kind, const void *data, uint64_t count, uint64_t size) {
    p->plan[p->count] = (ki_part_plan){kind, count * size, count};
    p->data[p->count++] = data;
}

/* Rows by ascending string id. */
static kith_status sort_texts(const ki_table_writer *writer, uint32_t **order, kith_error *error) {
    *order = ki_sorted_strings(writer->text, writer->text_ends, writer->rows);
    if (!*order) return no_memory(writer, error);
    for (uint64_t i = 1; i < writer->rows; i++) {
        const uint64_t a = (*order)[i - 1], b = (*order)[i];
        const uint64_t a_start = a ? writer->text_ends[a - 1] : 0, b_start = b ? writer->text_ends[b - 1] : 0;
        const uint64_t bytes = writer->text_ends[a] - a_start;
        if (bytes == writer->text_ends[b] - b_start &&
            memcmp(writer->text + a_start, writer->text + b_start, (size_t)bytes) == 0)
            return ki_fail(error, KITH_E_ARG, "%s: rows %" PRIu64 " and %" PRIu64 " have the same string id",
                           writer->path, a, b);
    }
    return KITH_OK;
}

/* The entries of the directory, and the bytes of all columns. */
static kith_status measure(ki_table_writer *writer, ki_column_entry *directory, uint64_t *bytes, kith_error *error) {
    *bytes = 0;
    for (size_t i = 0; i < writer->columns; i++) {
        ki_column_writer *column = &writer->column[i];
        const kith_status status = ki_column_measure(column, writer->rows, error);
        if (status != KITH_OK) return status;
        column->entry.offset = ki_round_up(*bytes, KI_COLUMN_ALIGN);
        if (!ki_add(column->entry.offset, column->entry.bytes, bytes) || *bytes > (uint64_t)INT64_MAX / 2)
            return ki_fail(error, KITH_E_LIMIT, "%s: its columns are too large", writer->path);
        directory[i] = column->entry;
    }
    return KITH_OK;
}

static kith_status put_columns(ki_table_writer *writer, ki_segment_writer *file, kith_error *error) {
    for (size_t i = 0; i < writer->columns; i++) {
        ki_column_writer *column = &writer->column[i];
        unsigned char *bytes = ki_column_encode(column, writer->rows);
        if (!bytes) return no_memory(writer, error);
        const kith_status status =
            ki_segment_put(file, KI_PART_COLUMN_DATA, column->entry.offset, bytes, column->entry.bytes, error);
        free(bytes);
        if (status != KITH_OK) return status;
        ki_column_writer_free(column);
        *column = (ki_column_writer){.entry = column->entry};
    }
    return KITH_OK;
}

static kith_status write_file(ki_table_writer *writer, const parts *p, uint64_t *file_bytes, uint64_t *hash,
                              kith_error *error) {
    const ki_segment_head head = {
        .rows = writer->rows, .id_kind = (uint32_t)writer->id_kind, .feature_incompat = KI_SEGMENT_TABLE};
    ki_segment_writer *file = NULL;
    kith_status status = ki_segment_create(writer->path, p->plan, p->count, &file, error);
    for (size_t i = 0; status == KITH_OK && i < p->count; i++)
        if (p->data[i]) status = ki_segment_put(file, p->plan[i].kind, 0, p->data[i], p->plan[i].bytes, error);
    if (status == KITH_OK) status = put_columns(writer, file, error);
    if (status != KITH_OK) {
        ki_segment_abandon(file);
        return status;
    }
    ki_segment_want_hash(file, hash);
    return ki_segment_finish(file, &head, NULL, NULL, NULL, file_bytes, error);
}

kith_status ki_table_finish(ki_table_writer *writer, uint64_t *file_bytes, uint64_t *hash, kith_error *error) {
    parts p = {0};
    uint32_t *order = NULL;
    uint64_t bytes = 0;
    ki_column_entry *directory = ki_alloc_array(writer->columns, sizeof(*directory));
    kith_status status = directory ? KITH_OK : no_memory(writer, error);
    if (status == KITH_OK && (writer->failed || writer->added != writer->rows))
        status = ki_fail(error, KITH_E_ARG, "%s: %" PRIu64 " of %" PRIu64 " rows were added", writer->path,
                         writer->added, writer->rows);
    if (status == KITH_OK && writer->text_ends) status = sort_texts(writer, &order, error);
    if (status == KITH_OK) status = measure(writer, directory, &bytes, error);
    if (status == KITH_OK) {
        plan_part(&p, KI_PART_KEYS, writer->key, writer->rows, sizeof(uint64_t));
        if (order) {
            plan_part(&p, KI_PART_TEXT_ENDS, writer->text_ends, writer->rows, sizeof(uint64_t));
            plan_part(&p, KI_PART_TEXT_BYTES, writer->text, writer->text_ends[writer->rows - 1], 1);
            plan_part(&p, KI_PART_TEXT_ORDER, order, writer->rows, sizeof(uint32_t));
        }
        if (writer->columns) {
            plan_part(&p, KI_PART_DIRECTORY, directory, writer->columns, sizeof(*directory));
            plan_part(&p, KI_PART_COLUMN_DATA, NULL, bytes, 1);
        }
        status = write_file(writer, &p, file_bytes, hash, error);
    }
    free(directory);
    free(order);
    ki_table_abandon(writer);
    return status;
}
