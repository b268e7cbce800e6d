/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of one word of a tag field. They are found by binary search in the dictionary, and lie there as a list or as
 * bits; what is read is bounded before it is used (T1). */
#include "base/status.h"
#include "table/column.h"
#include "table/rows.h"

uint64_t ki_table_word(const ki_table *table, const ki_field *field, const char *word, size_t bytes,
                       const uint32_t **rows) {
    const ki_column *column = ki_table_column(table, field);
    const uint32_t *units;
    uint64_t number, count, set = 0;
    int found;
    *rows = NULL;
    if (!column || !ki_type_is_text(column->entry.type)) return 0;
    if (!ki_column_find(column, word, bytes, &number, &found)) return 1; /* damaged: ki_table_match says so */
    if (!found) return 0;
    if (!ki_column_units(column, number, &units, &count)) return 1;
    if (count < ki_bits_units(column->rows)) {
        if (ki_rows_ascend(units, count, column->rows)) *rows = units;
        return count;
    }
    for (uint64_t i = 0; i < count / 2; i++) set += (uint64_t)__builtin_popcountll(ki_load_u64(units + 2 * i));
    return set;
}

/* false: damaged. */
static bool set_rows(const ki_column *column, uint64_t number, uint64_t *bits) {
    const uint32_t *units;
    uint64_t count;
    if (!ki_column_units(column, number, &units, &count)) return false;
    if (count == ki_bits_units(column->rows)) {
        ki_column_add_bits(column, units, count, bits);
        return true;
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t row = units[i];
        if (row >= column->rows) return false;
        bits[row / 64] |= UINT64_C(1) << (row % 64);
    }
    return true;
}

kith_status ki_table_word_rows(const ki_table *table, const ki_field *field, const char *word, size_t bytes,
                               uint64_t *bits, kith_error *error) {
    const ki_column *column = ki_table_column(table, field);
    uint64_t number;
    int found;
    if (!column || !ki_type_is_text(column->entry.type)) return KITH_OK;
    if (!ki_column_find(column, word, bytes, &number, &found) || (found && !set_rows(column, number, bits)))
        return ki_table_bad(table, KI_PART_COLUMN_DATA, "holds what cannot be", error);
    if (!ki_segment_damaged(table->segment)) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: was cut or overwritten while it was read",
                   ki_segment_path(table->segment));
}

int ki_table_only_word(const ki_table *table, const ki_field *field, const char **word, size_t *bytes) {
    const ki_column *column = ki_table_column(table, field);
    return column && column->entry.type == KITH_FIELD_TAG && column->entry.words == 1 &&
           column->entry.present == column->rows && ki_column_word(column, 0, word, bytes);
}
