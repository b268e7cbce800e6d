/* SPDX-License-Identifier: Apache-2.0
 *
 * Where runs lie, and reading them with every number bounded. */
#include "table/column.h"

#include "base/checked.h"
#include "base/status.h"

unsigned ki_column_width(uint64_t words) {
    return words <= 256 ? 1 : words <= 65536 ? 2 : 4;
}

/* The bytes of each run. */
static bool run_bytes(const ki_column_entry *entry, uint64_t rows, uint64_t bytes[KI_RUNS]) {
    const uint64_t bitmap = ki_bitmap_words(rows) * sizeof(uint64_t);
    memset(bytes, 0, KI_RUNS * sizeof(*bytes));
    if (rows > KITH_ROWS_MAX || entry->present > rows) return false;
    bytes[KI_RUN_PRESENT] = entry->present < rows ? bitmap : 0;
    if (!ki_type_is_text(entry->type)) {
        bytes[KI_RUN_VALUES] = entry->type == KITH_FIELD_BOOL ? bitmap : rows * sizeof(uint64_t);
        bytes[KI_RUN_ORDER] = entry->type == KITH_FIELD_BOOL ? 0 : entry->present * sizeof(uint32_t);
        return entry->type >= KITH_FIELD_INT && entry->type <= KITH_FIELD_TIME && !entry->words && !entry->word_bytes &&
               !entry->entries && !entry->units;
    }
    const int one = entry->type == KITH_FIELD_TAG;
    if (entry->words > entry->entries || entry->words > UINT32_MAX || entry->words > entry->units) return false;
    if (entry->entries < entry->present || (one && entry->entries > entry->present)) return false;
    bytes[KI_RUN_ROW_ENDS] = one ? 0 : rows * sizeof(uint64_t);
    bytes[KI_RUN_WORD_ENDS] = bytes[KI_RUN_UNIT_ENDS] = entry->words * sizeof(uint64_t);
    bytes[KI_RUN_WORDS] = entry->word_bytes;
    return ki_mul(one ? rows : entry->entries, ki_column_width(entry->words), &bytes[KI_RUN_NUMBERS]) &&
           ki_mul(entry->units, sizeof(uint32_t), &bytes[KI_RUN_UNITS]);
}

bool ki_column_runs(const ki_column_entry *entry, uint64_t rows, ki_run run[KI_RUNS], uint64_t *total) {
    uint64_t bytes[KI_RUNS], end = 0;
    if (!run_bytes(entry, rows, bytes)) return false;
    for (size_t i = 0; i < KI_RUNS; i++) {
        run[i] = (ki_run){bytes[i] ? ki_round_up(end, sizeof(uint64_t)) : 0, bytes[i]};
        if (!bytes[i]) continue;
        /* Far below 2^63, so that no rounding overflows. */
        if (!ki_add(run[i].offset, bytes[i], &end) || end > (uint64_t)INT64_MAX / 2) return false;
    }
    *total = end;
    return true;
}

const ki_column *ki_table_column(const ki_table *table, const ki_field *field) {
    size_t low = 0, high = table->columns;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const ki_column *column = &table->column[middle];
        if (column->entry.field == field->id) return column->entry.type == (uint32_t)field->type ? column : NULL;
        if (column->entry.field < field->id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

uint32_t ki_column_number(const ki_column *column, uint64_t place) {
    const unsigned char *at = column->numbers + place * column->width;
    return column->width == 1 ? *at : column->width == 2 ? ki_load_u16(at) : ki_load_u32(at);
}

bool ki_column_places(const ki_column *column, uint64_t row, uint64_t *first, uint64_t *count) {
    *first = row;
    *count = ki_column_has(column, row);
    if (column->entry.type == KITH_FIELD_TAG) return true;
    *first = row ? column->row_ends[row - 1] : 0;
    const uint64_t end = column->row_ends[row];
    if (*first > end || end > column->entry.entries || (end > *first) != (*count != 0)) return false;
    *count = end - *first;
    return *count <= UINT32_MAX;
}

bool ki_column_word(const ki_column *column, uint64_t number, const char **text, size_t *bytes) {
    if (number >= column->entry.words) return false;
    const uint64_t start = number ? column->word_ends[number - 1] : 0, end = column->word_ends[number];
    if (start > end || end > column->entry.word_bytes || end - start > UINT32_MAX) return false;
    *text = column->words + start;
    *bytes = (size_t)(end - start);
    return true;
}

bool ki_column_units(const ki_column *column, uint64_t number, const uint32_t **units, uint64_t *count) {
    if (number >= column->entry.words) return false;
    const uint64_t start = number ? column->unit_ends[number - 1] : 0, end = column->unit_ends[number];
    if (start >= end || end > column->entry.units || end - start > ki_bits_units(column->rows)) return false;
    *units = column->units + start;
    *count = end - start;
    return true;
}

bool ki_column_seek(const ki_column *column, const char *text, size_t bytes, uint64_t *number) {
    uint64_t low = 0, high = column->entry.words;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const char *word;
        size_t word_bytes;
        if (!ki_column_word(column, middle, &word, &word_bytes)) return false;
        if (ki_compare_text(word, word_bytes, text, bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *number = low;
    return true;
}

void ki_column_add_bits(const ki_column *column, const uint32_t *units, uint64_t count, uint64_t *bits) {
    const uint64_t rows = column->rows, last = rows % 64 ? (UINT64_C(1) << (rows % 64)) - 1 : UINT64_MAX;
    for (uint64_t i = 0; i < count / 2; i++)
        bits[i] |= ki_load_u64(units + 2 * i) & (i + 1 < count / 2 ? UINT64_MAX : last);
}

bool ki_column_find(const ki_column *column, const char *text, size_t bytes, uint64_t *number, int *found) {
    const char *word;
    size_t word_bytes;
    *found = 0;
    if (!ki_column_seek(column, text, bytes, number)) return false;
    if (*number == column->entry.words) return true;
    if (!ki_column_word(column, *number, &word, &word_bytes)) return false;
    *found = ki_compare_text(word, word_bytes, text, bytes) == 0;
    return true;
}

bool ki_table_string(const ki_table *table, uint64_t row, const char **text, size_t *bytes) {
    if (!table->text_ends || row >= table->rows) return false;
    const uint64_t start = row ? table->text_ends[row - 1] : 0, end = table->text_ends[row];
    if (start >= end || end > table->text_size || end - start > KITH_STRING_MAX) return false;
    *text = table->text_bytes + start;
    *bytes = (size_t)(end - start);
    return true;
}

kith_status ki_table_bad(const ki_table *table, uint32_t part, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s: %s", ki_segment_path(table->segment), ki_part_place(part), what);
}
