/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a table: parts and columns are given their types, each size held against the header's rows and the
 * directory's counts, so that no later read leaves its run (T1). What runs say is bounded where they are read, and
 * checked as a whole by ki_table_check. */
#include "base/checked.h"
#include "base/status.h"
#include "table/column.h"

#include <inttypes.h>

static kith_status part_of(const ki_table *table, uint32_t kind, uint64_t count, uint64_t size, const void **data,
                           kith_error *error) {
    const ki_part_view part = ki_segment_part(table->segment, kind);
    uint64_t bytes;
    if (part.data && ki_mul(count, size, &bytes) && bytes == part.bytes) {
        *data = part.data;
        return KITH_OK;
    }
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s: has %" PRIu64 " bytes, expected %" PRIu64 " times %" PRIu64,
                   ki_segment_path(table->segment), ki_part_place(kind), part.bytes, count, size);
}

static kith_status view_rows(ki_table *table, kith_error *error) {
    const void *data = NULL;
    kith_status status = part_of(table, KI_PART_KEYS, table->rows, sizeof(uint64_t), &data, error);
    table->keys = data;
    if (status != KITH_OK || table->id_kind != KITH_ID_STRING) return status;
    status = part_of(table, KI_PART_TEXT_ENDS, table->rows, sizeof(uint64_t), &data, error);
    table->text_ends = data;
    if (status == KITH_OK) status = part_of(table, KI_PART_TEXT_ORDER, table->rows, sizeof(uint32_t), &data, error);
    table->text_order = data;
    const ki_part_view bytes = ki_segment_part(table->segment, KI_PART_TEXT_BYTES);
    table->text_bytes = bytes.data ? bytes.data : "";
    table->text_size = bytes.bytes;
    return status;
}

static const void *run_of(const unsigned char *data, const ki_run *run) {
    return run->bytes ? data + run->offset : NULL;
}

/* data: the column's, of the size that its runs make. */
static void view_column(ki_column *column, const unsigned char *data, const ki_run *run) {
    column->present = run_of(data, &run[KI_RUN_PRESENT]);
    column->values = run_of(data, &run[KI_RUN_VALUES]);
    column->order = run_of(data, &run[KI_RUN_ORDER]);
    column->row_ends = run_of(data, &run[KI_RUN_ROW_ENDS]);
    column->numbers = run_of(data, &run[KI_RUN_NUMBERS]);
    column->width = ki_column_width(column->entry.words);
    column->word_ends = run_of(data, &run[KI_RUN_WORD_ENDS]);
    column->words = run[KI_RUN_WORDS].bytes ? run_of(data, &run[KI_RUN_WORDS]) : "";
    column->unit_ends = run_of(data, &run[KI_RUN_UNIT_ENDS]);
    column->units = run_of(data, &run[KI_RUN_UNITS]);
}

static kith_status view_columns(ki_table *table, kith_error *error) {
    const ki_part_view directory = ki_segment_part(table->segment, KI_PART_DIRECTORY);
    const ki_part_view data = ki_segment_part(table->segment, KI_PART_COLUMN_DATA);
    const uint64_t count = directory.bytes / sizeof(ki_column_entry);
    uint64_t end = 0;
    if (directory.bytes % sizeof(ki_column_entry) || count > KITH_FIELDS_MAX || !directory.data != !data.data)
        return ki_table_bad(table, KI_PART_DIRECTORY, "has no possible size", error);
    table->column = ki_alloc_array_zeroed(count, sizeof(*table->column));
    if (!table->column)
        return ki_fail(error, KITH_E_NOMEM, "out of memory opening %s", ki_segment_path(table->segment));
    table->columns = (size_t)count;
    for (size_t i = 0; i < table->columns; i++) {
        ki_column *column = &table->column[i];
        ki_run run[KI_RUNS];
        uint64_t bytes;
        memcpy(&column->entry, (const unsigned char *)directory.data + i * sizeof(column->entry),
               sizeof(column->entry));
        column->rows = table->rows;
        if (i && column->entry.field <= table->column[i - 1].entry.field)
            return ki_table_bad(table, KI_PART_DIRECTORY, "its fields do not ascend", error);
        if (!ki_column_runs(&column->entry, table->rows, run, &bytes) || bytes != column->entry.bytes)
            return ki_table_bad(table, KI_PART_DIRECTORY, "a column's counts and bytes cannot be", error);
        if (column->entry.offset != ki_round_up(end, KI_COLUMN_ALIGN) || column->entry.offset > data.bytes ||
            bytes > data.bytes - column->entry.offset)
            return ki_table_bad(table, KI_PART_DIRECTORY, "a column does not lie behind the one before, or in the data",
                                error);
        view_column(column, (const unsigned char *)data.data + column->entry.offset, run);
        end = column->entry.offset + bytes;
    }
    return end == data.bytes ? KITH_OK : ki_table_bad(table, KI_PART_COLUMN_DATA, "bytes are left over", error);
}

static kith_status view(ki_table *table, kith_error *error) {
    const ki_segment_head *head = ki_segment_get_head(table->segment);
    const char *path = ki_segment_path(table->segment);
    if (!(head->feature_incompat & KI_SEGMENT_TABLE))
        return ki_fail(error, KITH_E_CORRUPT, "%s: not a table of a collection's segment: it is an index", path);
    if (head->rows == 0 || head->rows > KITH_ROWS_MAX ||
        (head->id_kind != KITH_ID_U64 && head->id_kind != KITH_ID_STRING) || head->lists ||
        head->feature_incompat != KI_SEGMENT_TABLE)
        return ki_fail(error, KITH_E_CORRUPT, "%s: the header's row count, id kind or features are out of range", path);
    table->rows = head->rows;
    table->id_kind = (kith_id_kind)head->id_kind;
    const kith_status status = view_rows(table, error);
    return status == KITH_OK ? view_columns(table, error) : status;
}

kith_status ki_table_open(const char *path, const kith_open_options *options, ki_table **out, kith_error *error) {
    ki_table *table = ki_alloc_array_zeroed(1, sizeof(*table));
    if (!table) return ki_fail(error, KITH_E_NOMEM, "out of memory opening %s", path);
    kith_status status = ki_segment_open(path, options, &table->segment, error);
    if (status == KITH_OK) status = view(table, error);
    if (status == KITH_OK && options && options->verify) status = ki_table_check(table, NULL, error);
    if (status == KITH_OK)
        *out = table;
    else
        ki_table_close(table);
    return status;
}

void ki_table_close(ki_table *table) {
    if (!table) return;
    ki_segment_close(table->segment);
    free(table->column);
    free(table);
}

uint64_t ki_table_rows(const ki_table *table) {
    return table->rows;
}

uint64_t ki_table_file_bytes(const ki_table *table) {
    return ki_segment_file_bytes(table->segment);
}

uint64_t ki_table_hash(const ki_table *table) {
    return ki_segment_hash(table->segment);
}

int ki_table_damaged(const ki_table *table) {
    return ki_segment_damaged(table->segment);
}

const uint64_t *ki_table_keys(const ki_table *table) {
    return table->keys;
}

int ki_table_find(const ki_table *table, uint64_t key, uint32_t *row) {
    uint64_t low = 0, high = table->rows;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (table->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == table->rows || table->keys[low] != key) return 0;
    *row = (uint32_t)low;
    return 1;
}

const char *ki_table_text(const ki_table *table, uint32_t row, size_t *bytes) {
    const char *text = "";
    *bytes = 0;
    (void)ki_table_string(table, row, &text, bytes);
    return text;
}

int ki_table_has(const ki_table *table, const ki_field *field) {
    return ki_table_column(table, field) != NULL;
}
