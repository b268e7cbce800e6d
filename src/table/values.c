/* SPDX-License-Identifier: Apache-2.0
 *
 * The declared values of a row, as they were added: what a merge copies without reading payloads. */
#include "table/column.h"

/* How many strings a row has in all its columns. false: the file says what cannot be. */
static bool count_strings(const ki_table *table, const ki_schema *schema, uint32_t row, uint64_t *strings) {
    *strings = 0;
    for (size_t i = 0; i < schema->count; i++) {
        uint64_t first, count = 0;
        const ki_column *column = ki_table_column(table, &schema->fields[i]);
        if (!column || !ki_type_is_text(column->entry.type)) continue;
        if (!ki_column_places(column, row, &first, &count)) return false;
        *strings += count;
    }
    return true;
}

/* The strings of a row's column; room: how many there may be in all. */
static bool take_strings(const ki_column *column, uint32_t row, uint64_t room, ki_value *value, ki_values *values) {
    uint64_t first, count;
    if (!ki_column_places(column, row, &first, &count) || count > room - values->strings) return false;
    *value = (ki_value){.count = (uint32_t)count, .as.at = (uint32_t)values->strings};
    for (uint64_t i = first; i < first + count; i++, values->strings++) {
        size_t bytes;
        if (!ki_column_word(column, ki_column_number(column, i), &values->string[values->strings], &bytes))
            return false;
        values->string_bytes[values->strings] = (uint32_t)bytes;
    }
    return true;
}

kith_status ki_table_values(const ki_table *table, const ki_schema *schema, uint32_t row, ki_values *values) {
    uint64_t strings;
    if (row >= table->rows) return KITH_E_ARG;
    if (!count_strings(table, schema, row, &strings) || strings > UINT32_MAX) return KITH_E_CORRUPT;
    if (!ki_values_reserve(schema, (size_t)strings, values)) return KITH_E_NOMEM;
    for (size_t i = 0; i < schema->count; i++) {
        ki_value *value = &values->value[i];
        const ki_column *column = ki_table_column(table, &schema->fields[i]);
        if (!column) continue;
        if (ki_type_is_text(column->entry.type)) {
            if (!take_strings(column, row, strings, value, values)) return KITH_E_CORRUPT;
            continue;
        }
        value->count = ki_column_has(column, row);
        if (!value->count) continue;
        if (column->entry.type == KITH_FIELD_BOOL)
            value->as.i = ki_bitmap_get(column->values, row);
        else
            memcpy(&value->as, &column->values[row], sizeof(uint64_t));
    }
    return ki_segment_damaged(table->segment) ? KITH_E_CORRUPT : KITH_OK;
}
