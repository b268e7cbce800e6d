/* SPDX-License-Identifier: Apache-2.0
 *
 * ki_table_check: first the bytes against their checksums, then their meaning: that what is there twice, by row and by
 * value, is the same. */
#include "base/status.h"
#include "table/column.h"
#include "table/rows.h"

#include <inttypes.h>
#include <math.h>

static kith_status bad_row(const ki_table *table, uint32_t part, uint64_t row, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s, entry %" PRIu64 ": %s", ki_segment_path(table->segment),
                   ki_part_place(part), row, what);
}

/* what: about an entry of a run of a column. */
static kith_status bad(const ki_table *table, const ki_column *column, uint64_t entry, const char *what,
                       kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s, field number %" PRIu32 ", entry %" PRIu64 ": %s",
                   ki_segment_path(table->segment), ki_part_place(KI_PART_COLUMN_DATA), column->entry.field, entry,
                   what);
}

static kith_status check_rows(const ki_table *table, kith_error *error) {
    const char *before = NULL, *text = NULL;
    size_t before_bytes = 0, bytes = 0;
    uint64_t end = 0;
    for (uint64_t i = 0; i < table->rows; i++)
        if (table->keys[i] == KITH_ID_NONE || (i && table->keys[i] <= table->keys[i - 1]))
            return bad_row(table, KI_PART_KEYS, i, "is reserved, or does not ascend", error);
    if (table->id_kind != KITH_ID_STRING) return KITH_OK;
    for (uint64_t i = 0; i < table->rows; i++) {
        if (!ki_table_string(table, i, &text, &bytes))
            return bad_row(table, KI_PART_TEXT_ENDS, i, "is no end of a string", error);
        end = table->text_ends[i];
    }
    if (end != table->text_size) return bad_row(table, KI_PART_TEXT_ENDS, table->rows, "bytes are left over", error);
    for (uint64_t i = 0; i < table->rows; i++, before = text, before_bytes = bytes) {
        if (!ki_table_string(table, table->text_order[i], &text, &bytes))
            return bad_row(table, KI_PART_TEXT_ORDER, i, "is beyond the last row", error);
        if (before && ki_compare_text(before, before_bytes, text, bytes) >= 0)
            return bad_row(table, KI_PART_TEXT_ORDER, i, "strings do not ascend", error);
    }
    return KITH_OK;
}

/* Zeros lie between runs, and between columns. */
static kith_status check_padding(const ki_table *table, const ki_column *column, kith_error *error) {
    const unsigned char *data = ki_segment_part(table->segment, KI_PART_COLUMN_DATA).data;
    const uint64_t first = column->entry.offset;
    const uint64_t before = column == table->column ? 0 : column[-1].entry.offset + column[-1].entry.bytes;
    ki_run run[KI_RUNS];
    uint64_t total, at = before;
    if (!ki_column_runs(&column->entry, table->rows, run, &total))
        return bad(table, column, 0, "its counts cannot be", error);
    for (size_t i = 0; i < KI_RUNS; i++) {
        if (!run[i].bytes) continue;
        for (; at < first + run[i].offset; at++)
            if (data[at]) return bad(table, column, at - before, "a byte between runs is not zero", error);
        at += run[i].bytes;
    }
    return KITH_OK;
}

/* As many rows as the directory says have a value, and none is beyond the last one. */
static kith_status check_present(const ki_table *table, const ki_column *column, kith_error *error) {
    const uint64_t words = ki_bitmap_words(table->rows);
    uint64_t set = 0;
    if (!column->present) return KITH_OK;
    for (uint64_t i = 0; i < words; i++) set += (uint64_t)__builtin_popcountll(column->present[i]);
    if (set != column->entry.present) return bad(table, column, set, "is not the number of rows with a value", error);
    if (table->rows % 64 && column->present[words - 1] >> (table->rows % 64))
        return bad(table, column, table->rows, "a row beyond the last one has a value", error);
    return KITH_OK;
}

static kith_status check_bools(const ki_table *table, const ki_column *column, kith_error *error) {
    for (uint64_t row = 0; row < 64 * ki_bitmap_words(table->rows); row++)
        if (ki_bitmap_get(column->values, row) && (row >= table->rows || !ki_column_has(column, row)))
            return bad(table, column, row, "has a bit, but no value", error);
    return KITH_OK;
}

/* Rows with a value ascend by (value, row): as there are as many, each is there once. */
static kith_status check_numbers(const ki_table *table, const ki_column *column, kith_error *error) {
    uint64_t key_before = 0;
    if (column->entry.type == KITH_FIELD_BOOL) return check_bools(table, column, error);
    for (uint64_t row = 0; row < table->rows; row++) {
        double value;
        memcpy(&value, &column->values[row], sizeof(value));
        if (!ki_column_has(column, row) && column->values[row])
            return bad(table, column, row, "has bytes, but no value", error);
        if (column->entry.type == KITH_FIELD_FLOAT && !isfinite(value))
            return bad(table, column, row, "is no finite number", error);
    }
    for (uint64_t i = 0; i < column->entry.present; i++) {
        const uint32_t row = column->order[i];
        if (row >= table->rows || !ki_column_has(column, row))
            return bad(table, column, i, "of the order is a row without a value", error);
        const uint64_t key = ki_order_of(column->entry.type, column->values[row]);
        if (i && (key < key_before || (key == key_before && row <= column->order[i - 1])))
            return bad(table, column, i, "of the order does not ascend", error);
        key_before = key;
    }
    return KITH_OK;
}

static kith_status check_words(const ki_table *table, const ki_column *column, kith_error *error) {
    const char *before = NULL, *word = NULL;
    size_t before_bytes = 0, bytes = 0;
    const uint64_t words = column->entry.words;
    for (uint64_t i = 0; i < words; i++, before = word, before_bytes = bytes) {
        if (!ki_column_word(column, i, &word, &bytes)) return bad(table, column, i, "is no end of a word", error);
        if (before && ki_compare_text(before, before_bytes, word, bytes) >= 0)
            return bad(table, column, i, "words do not ascend", error);
    }
    if ((words ? column->word_ends[words - 1] : 0) != column->entry.word_bytes)
        return bad(table, column, words, "bytes of words are left over", error);
    if ((words ? column->unit_ends[words - 1] : 0) != column->entry.units)
        return bad(table, column, words, "rows of words are left over", error);
    return KITH_OK;
}

/* By row: known words, ascending. */
static kith_status check_forward(const ki_table *table, const ki_column *column, kith_error *error) {
    uint64_t entries = 0;
    for (uint64_t row = 0; row < table->rows; row++) {
        uint64_t first, count;
        if (!ki_column_places(column, row, &first, &count)) return bad(table, column, row, "has no places", error);
        for (uint64_t i = first; i < first + count; i++)
            if (ki_column_number(column, i) >= column->entry.words ||
                (i > first && ki_column_number(column, i - 1) >= ki_column_number(column, i)))
                return bad(table, column, row, "has a word that is not there, or that does not ascend", error);
        if (column->entry.type == KITH_FIELD_TAG && !count && ki_column_number(column, row))
            return bad(table, column, row, "has a word, but no value", error);
        entries += count;
    }
    return entries == column->entry.entries ? KITH_OK
                                            : bad(table, column, entries, "is not the number of strings", error);
}

static bool row_has_word(const ki_column *column, uint64_t row, uint64_t word) {
    uint64_t first, count;
    if (row >= column->rows || !ki_column_places(column, row, &first, &count)) return false;
    for (uint64_t i = first; i < first + count; i++)
        if (ki_column_number(column, i) == word) return true;
    return false;
}

/* A word's rows ascend and have it. */
static kith_status check_units(const ki_table *table, const ki_column *column, uint64_t word, uint64_t *entries,
                               kith_error *error) {
    const uint32_t *units;
    uint64_t count, set = 0;
    const uint64_t dense = ki_bits_units(table->rows);
    if (!ki_column_units(column, word, &units, &count)) return bad(table, column, word, "has no rows", error);
    for (uint64_t i = 0; i < count; i++) {
        if (count == dense) {
            for (uint32_t bits = units[i]; bits; bits &= bits - 1, set++)
                if (!row_has_word(column, 32 * i + (uint64_t)__builtin_ctz(bits), word))
                    return bad(table, column, word, "has a row that does not have it", error);
            continue;
        }
        if ((i && units[i] <= units[i - 1]) || !row_has_word(column, units[i], word))
            return bad(table, column, word, "has a row that does not ascend or does not have it", error);
        set++;
    }
    if (count == dense && set < dense) return bad(table, column, word, "is kept as bits, but has few rows", error);
    *entries += set;
    return KITH_OK;
}

/* Each word's rows have it, and there are as many pairs as by row: so they are the same. */
static kith_status check_texts(const ki_table *table, const ki_column *column, kith_error *error) {
    uint64_t entries = 0;
    kith_status status = check_words(table, column, error);
    if (status == KITH_OK) status = check_forward(table, column, error);
    for (uint64_t word = 0; status == KITH_OK && word < column->entry.words; word++)
        status = check_units(table, column, word, &entries, error);
    if (status == KITH_OK && entries != column->entry.entries)
        status = bad(table, column, entries, "is the number of words' rows, and another by row", error);
    return status;
}

kith_status ki_table_check(const ki_table *table, kith_pool *pool, kith_error *error) {
    kith_status status = ki_segment_verify(table->segment, pool, NULL, NULL, error);
    if (status == KITH_OK) status = check_rows(table, error);
    for (size_t i = 0; status == KITH_OK && i < table->columns; i++) {
        const ki_column *column = &table->column[i];
        status = check_padding(table, column, error);
        if (status == KITH_OK) status = check_present(table, column, error);
        if (status == KITH_OK)
            status = ki_type_is_text(column->entry.type) ? check_texts(table, column, error)
                                                         : check_numbers(table, column, error);
    }
    return status;
}
