/* SPDX-License-Identifier: Apache-2.0
 *
 * The declared values of a row, as they were added: what a merge copies without reading payloads. */
#include "base/checked.h"
#include "table/column.h"

/* The strings of a row's column, whose places were counted. */
static bool take_strings(const ki_column *column, uint64_t first, ki_value *value, ki_values *values) {
    value->as.at = (uint32_t)values->strings;
    for (uint64_t i = 0; i < value->count; i++, values->strings++) {
        size_t bytes;
        if (!ki_column_word(column, ki_column_number(column, first + i), &values->string[values->strings], &bytes))
            return false;
        values->string_bytes[values->strings] = (uint32_t)bytes;
    }
    return true;
}

static kith_status take(const ki_table *table, const ki_schema *schema, uint32_t row, ki_values *values) {
    for (size_t i = 0; i < schema->count; i++) {
        ki_value *value = &values->value[i];
        uint64_t first = row;
        const ki_column *column = ki_table_column(table, &schema->fields[i]);
        if (!column || !value->count) continue;
        if (ki_type_is_text(column->entry.type)) {
            uint64_t count;
            if (!ki_column_places(column, row, &first, &count) || count != value->count ||
                !take_strings(column, first, value, values))
                return KITH_E_CORRUPT;
        } else if (column->entry.type == KITH_FIELD_BOOL)
            value->as.i = ki_bitmap_get(column->values, row);
        else
            memcpy(&value->as, &column->values[row], sizeof(uint64_t));
    }
    return ki_segment_damaged(table->segment) ? KITH_E_CORRUPT : KITH_OK;
}

/* Which fields have a value, and how many strings that makes. */
static bool count_values(const ki_table *table, const ki_schema *schema, uint32_t row, ki_value *value,
                         uint64_t *strings) {
    *strings = 0;
    for (size_t i = 0; i < schema->count; i++) {
        const ki_column *column = ki_table_column(table, &schema->fields[i]);
        uint64_t first, count = 0;
        value[i] = (ki_value){0};
        if (!column) continue;
        if (!ki_type_is_text(column->entry.type))
            count = ki_column_has(column, row);
        else if (!ki_column_places(column, row, &first, &count))
            return false;
        else
            *strings += count;
        value[i].count = (uint32_t)count;
    }
    return true;
}

kith_status ki_table_values(const ki_table *table, const ki_schema *schema, uint32_t row, ki_values *values) {
    uint64_t strings;
    if (row >= table->rows) return KITH_E_ARG;
    ki_values_free(values);
    values->value = ki_alloc_array_zeroed(schema->count, sizeof(*values->value));
    if (!values->value) return KITH_E_NOMEM;
    values->count = schema->count;
    if (!count_values(table, schema, row, values->value, &strings)) return KITH_E_CORRUPT;
    values->string = ki_alloc_array(strings, sizeof(*values->string));
    values->string_bytes = ki_alloc_array(strings, sizeof(*values->string_bytes));
    if (!values->string || !values->string_bytes) return KITH_E_NOMEM;
    return take(table, schema, row, values);
}
