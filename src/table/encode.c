/* SPDX-License-Identifier: Apache-2.0
 *
 * A column's values by row become its runs (column.h): words are sorted and renumbered by their rank, rows are sorted
 * by value, and every word gets its rows. */
#include "table/write.h"

#include "base/checked.h"
#include "base/status.h"

bool ki_column_writer_begin(ki_column_writer *column, const ki_field *field, size_t place, uint64_t rows) {
    *column = (ki_column_writer){.field = field, .place = place};
    column->bitmap = ki_alloc_array_zeroed(ki_bitmap_words(rows), sizeof(uint64_t));
    if (field->type == KITH_FIELD_TAG)
        column->number = ki_alloc_array_zeroed(rows, sizeof(uint32_t));
    else if (field->type == KITH_FIELD_TAGS)
        column->row_ends = ki_alloc_array(rows, sizeof(uint64_t));
    else
        column->value = ki_alloc_array_zeroed(rows, sizeof(uint64_t));
    return column->bitmap && (column->number || column->row_ends || column->value);
}

void ki_column_writer_free(ki_column_writer *column) {
    free(column->bitmap);
    free(column->value);
    free(column->row_ends);
    free(column->number);
    free(column->order);
    free(column->rank);
    free(column->unit_ends);
    ki_words_free(&column->words);
}

/* ---- Measuring --------------------------------------------------------------------------------------------------- */

/* The places in `number` of a row's strings. */
static uint64_t places_of(const ki_column_writer *column, uint64_t row, uint64_t *end) {
    if (!column->row_ends) {
        *end = row + ki_bitmap_get(column->bitmap, row);
        return row;
    }
    *end = column->row_ends[row];
    return row ? column->row_ends[row - 1] : 0;
}

/* Numbers become ranks; those of a row ascend. */
static kith_status rank_row(ki_column_writer *column, uint64_t row, kith_error *error) {
    uint64_t end;
    const uint64_t first = places_of(column, row, &end);
    for (uint64_t i = first; i < end; i++) {
        const uint32_t rank = column->rank[column->number[i]];
        uint64_t at = i;
        for (; at > first && column->number[at - 1] >= rank; at--) {
            if (column->number[at - 1] == rank)
                return ki_fail(error, KITH_E_ARG, "row %llu of a table has a string of field %s twice",
                               (unsigned long long)row, column->field->name);
            column->number[at] = column->number[at - 1];
        }
        column->number[at] = rank;
        column->unit_ends[rank]++;
    }
    return KITH_OK;
}

static kith_status no_memory(const ki_column_writer *column, kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the column of field %s", column->field->name);
}

static kith_status measure_words(ki_column_writer *column, uint64_t rows, kith_error *error) {
    const uint32_t words = column->words.count;
    column->order = ki_words_sorted(&column->words);
    column->rank = ki_alloc_array(words, sizeof(uint32_t));
    column->unit_ends = ki_alloc_array_zeroed(words, sizeof(uint64_t));
    if (!column->order || !column->rank || !column->unit_ends) return no_memory(column, error);
    for (uint32_t i = 0; i < words; i++) column->rank[column->order[i]] = i;
    for (uint64_t row = 0; row < rows; row++) {
        const kith_status status = rank_row(column, row, error);
        if (status != KITH_OK) return status;
    }
    uint64_t units = 0;
    for (uint32_t i = 0; i < words; i++) /* U1 */
        column->unit_ends[i] = units += ki_min_u64(column->unit_ends[i], ki_bits_units(rows));
    column->entry.words = words;
    column->entry.word_bytes = column->words.used;
    column->entry.entries = column->entries;
    column->entry.units = units;
    return KITH_OK;
}

kith_status ki_column_measure(ki_column_writer *column, uint64_t rows, kith_error *error) {
    ki_run run[KI_RUNS];
    column->entry = (ki_column_entry){
        .field = column->field->id, .type = (uint32_t)column->field->type, .present = column->present};
    if (!column->value) {
        const kith_status status = measure_words(column, rows, error);
        if (status != KITH_OK) return status;
    }
    if (ki_column_runs(&column->entry, rows, run, &column->entry.bytes)) return KITH_OK;
    return ki_fail(error, KITH_E_LIMIT, "the column of field %s is too large", column->field->name);
}

/* ---- Encoding ---------------------------------------------------------------------------------------------------- */

static bool encode_numbers(const ki_column_writer *column, uint64_t rows, const ki_run *run, unsigned char *bytes) {
    uint64_t *value = (uint64_t *)(void *)(bytes + run[KI_RUN_VALUES].offset);
    if (column->field->type == KITH_FIELD_BOOL) {
        for (uint64_t row = 0; row < rows; row++) value[row / 64] |= (uint64_t)(column->value[row] != 0) << (row % 64);
        return true;
    }
    uint32_t *order = (uint32_t *)(void *)(bytes + run[KI_RUN_ORDER].offset);
    uint64_t *key = ki_alloc_array(rows, sizeof(*key)), count = 0;
    if (!key) return false;
    for (uint64_t row = 0; row < rows; row++) {
        key[row] = ki_order_of((uint32_t)column->field->type, column->value[row]);
        if (ki_bitmap_get(column->bitmap, row)) order[count++] = (uint32_t)row;
    }
    memcpy(value, column->value, rows * sizeof(*value));
    const bool sorted = ki_sort_rows(order, count, key);
    free(key);
    return sorted;
}

static void encode_forward(const ki_column_writer *column, uint64_t rows, const ki_run *run, unsigned char *bytes) {
    const uint64_t count = column->row_ends ? column->entries : rows;
    const unsigned width = ki_column_width(column->words.count);
    unsigned char *to = bytes + run[KI_RUN_NUMBERS].offset;
    if (column->row_ends) memcpy(bytes + run[KI_RUN_ROW_ENDS].offset, column->row_ends, rows * sizeof(uint64_t));
    for (uint64_t i = 0; i < count; i++, to += width) memcpy(to, &column->number[i], width); /* little-endian */
}

static void encode_words(const ki_column_writer *column, const ki_run *run, unsigned char *bytes) {
    unsigned char *to = bytes + run[KI_RUN_WORDS].offset;
    uint64_t *ends = (uint64_t *)(void *)(bytes + run[KI_RUN_WORD_ENDS].offset), end = 0;
    for (uint32_t i = 0; i < column->words.count; i++) {
        size_t word_bytes;
        const char *word = ki_words_at(&column->words, column->order[i], &word_bytes);
        if (word_bytes) memcpy(to + end, word, word_bytes);
        ends[i] = end += word_bytes;
    }
    if (column->words.count)
        memcpy(bytes + run[KI_RUN_UNIT_ENDS].offset, column->unit_ends, column->words.count * sizeof(uint64_t));
}

/* Every word's rows, ascending because rows come so. */
static bool encode_units(const ki_column_writer *column, uint64_t rows, const ki_run *run, unsigned char *bytes) {
    const uint64_t dense = ki_bits_units(rows);
    uint32_t *units = (uint32_t *)(void *)(bytes + run[KI_RUN_UNITS].offset);
    uint64_t *next = ki_alloc_array(column->words.count, sizeof(*next));
    if (!next) return false;
    for (uint32_t i = 0; i < column->words.count; i++) next[i] = i ? column->unit_ends[i - 1] : 0;
    for (uint64_t row = 0; row < rows; row++) {
        uint64_t end;
        for (uint64_t i = places_of(column, row, &end); i < end; i++) {
            const uint32_t word = column->number[i];
            const uint64_t start = word ? column->unit_ends[word - 1] : 0;
            if (column->unit_ends[word] - start == dense)
                units[start + row / 32] |= UINT32_C(1) << (row % 32);
            else
                units[next[word]++] = (uint32_t)row;
        }
    }
    free(next);
    return true;
}

unsigned char *ki_column_encode(const ki_column_writer *column, uint64_t rows) {
    ki_run run[KI_RUNS];
    uint64_t total;
    if (!ki_column_runs(&column->entry, rows, run, &total)) return NULL;
    unsigned char *bytes = ki_alloc_array_zeroed(total, 1);
    if (!bytes) return NULL;
    if (run[KI_RUN_PRESENT].bytes) memcpy(bytes, column->bitmap, run[KI_RUN_PRESENT].bytes);
    bool ready;
    if (column->value)
        ready = encode_numbers(column, rows, run, bytes);
    else {
        encode_forward(column, rows, run, bytes);
        encode_words(column, run, bytes);
        ready = encode_units(column, rows, run, bytes);
    }
    if (ready) return bytes;
    free(bytes);
    return NULL;
}
