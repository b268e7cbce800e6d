/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters over the columns of a table, as roaring bitmaps of rows. Leaves:
 *
 *   strings   words are found in the dictionary by binary search; their rows lie there, as numbers or bits
 *   numbers   rows lie in the order of their values: a range is a slice of it, found by binary search. Where it holds
 *             most of the rows, those outside of it are taken away from those with a value instead
 *   ids       keys and string ids are found by binary search
 *
 * A missing field makes a comparison false, so a leaf has rows with a value only, and its negation all others.
 *
 * M1. What is read from the file is bounded before it is used (T1): orders that do not ascend, words beyond the
 *     dictionary and rows beyond the table are KITH_E_CORRUPT. A binary search over what does not ascend finds
 *     something within bounds; ki_table_check tells.
 * M2. Bits and lists of rows are copied from the file before bitmaps are made of them (rows.h, R1). */
#include "base/checked.h"
#include "base/status.h"
#include "table/column.h"
#include "table/rows.h"

/* One evaluation. */
typedef struct matching {
    const ki_table *table;
    const ki_schema *schema;
    kith_error *error;
} matching;

static kith_status damaged(const matching *m, uint32_t part) {
    return ki_table_bad(m->table, part, "holds what cannot be", m->error);
}

/* The rows that a maker made, or no memory. */
static kith_status made(const matching *m, roaring_bitmap_t *rows, roaring_bitmap_t **out) {
    if (!rows)
        return ki_fail(m->error, KITH_E_NOMEM, "%s: out of memory for a filter", ki_segment_path(m->table->segment));
    *out = rows;
    return KITH_OK;
}

static kith_status all_rows(const matching *m, roaring_bitmap_t **out) {
    return made(m, roaring_bitmap_from_range(0, m->table->rows, 1), out);
}

/* The file's bits, in memory of our own (rows.h, R1). */
static kith_status rows_of_bits(const matching *m, const void *file_bits, roaring_bitmap_t **out) {
    const uint64_t rows = m->table->rows, words = ki_bitmap_words(rows);
    uint64_t *bits = ki_alloc_array(words, sizeof(*bits));
    if (!bits) return made(m, NULL, out);
    memcpy(bits, file_bits, words * sizeof(*bits));
    roaring_bitmap_t *set = ki_rows_of_bits(bits, rows);
    free(bits);
    return made(m, set, out);
}

static kith_status present_rows(const matching *m, const ki_column *column, roaring_bitmap_t **out) {
    return column->present ? rows_of_bits(m, column->present, out) : all_rows(m, out);
}

/* A gather ends. */
static kith_status gathered(const matching *m, ki_gather *gather, bool good, uint32_t part, roaring_bitmap_t **out) {
    if (good && !gather->bad) return made(m, ki_gather_end(gather), out);
    ki_gather_drop(gather);
    return damaged(m, part);
}

/* ---- Words ------------------------------------------------------------------------------------------------------- */

/* Words of a column, as ranges of their numbers. */
typedef struct word_range {
    uint64_t first, end;
} word_range;

static kith_status rows_of_word(const matching *m, const ki_column *column, uint64_t word, roaring_bitmap_t **out) {
    const uint32_t *units;
    uint64_t count;
    if (!ki_column_units(column, word, &units, &count)) return damaged(m, KI_PART_COLUMN_DATA);
    if (count == ki_bits_units(column->rows)) return rows_of_bits(m, units, out);
    uint32_t *row = ki_alloc_array(count, sizeof(*row));
    if (!row) return made(m, NULL, out);
    memcpy(row, units, count * sizeof(*row));
    const bool good = ki_rows_ascend(row, count, column->rows);
    roaring_bitmap_t *set = good ? ki_rows_of_sorted(row, count) : NULL;
    free(row);
    return good ? made(m, set, out) : damaged(m, KI_PART_COLUMN_DATA);
}

static bool gather_word(const ki_column *column, uint64_t word, ki_gather *gather) {
    const uint32_t *units;
    uint64_t count;
    if (!ki_column_units(column, word, &units, &count)) return false;
    if (count < ki_bits_units(column->rows)) {
        for (uint64_t i = 0; i < count; i++) ki_gather_put(gather, units[i]);
        return true;
    }
    if (!gather->bits) return false; /* the file changed since its words were counted */
    ki_column_add_bits(column, units, count, gather->bits);
    return true;
}

/* Those of several words: where one of them is kept as bits, so are they. */
static kith_status rows_of_words(const matching *m, const ki_column *column, const word_range *range, size_t ranges,
                                 roaring_bitmap_t **out) {
    uint64_t words = 0, most = 0;
    ki_gather gather;
    for (size_t i = 0; i < ranges; i++) {
        words += range[i].end - range[i].first;
        for (uint64_t word = range[i].first; word < range[i].end; word++) {
            const uint32_t *units;
            uint64_t count;
            if (!ki_column_units(column, word, &units, &count)) return damaged(m, KI_PART_COLUMN_DATA);
            most += count < ki_bits_units(column->rows) ? count : column->rows;
        }
    }
    if (words == 0) return made(m, roaring_bitmap_create(), out);
    if (words == 1)
        for (size_t i = 0; i < ranges; i++)
            if (range[i].first < range[i].end) return rows_of_word(m, column, range[i].first, out);
    if (!ki_gather_begin(&gather, column->rows, most)) return made(m, NULL, out);
    bool good = true;
    for (size_t i = 0; i < ranges; i++)
        for (uint64_t word = range[i].first; good && word < range[i].end; word++)
            good = gather_word(column, word, &gather);
    return gathered(m, &gather, good, KI_PART_COLUMN_DATA, out);
}

static kith_status equal_words(const matching *m, const ki_column *column, const ki_filter_node *node,
                               roaring_bitmap_t **out) {
    size_t ranges = 0;
    word_range *range = ki_alloc_array(node->count, sizeof(*range));
    if (!range) return made(m, NULL, out);
    kith_status status = KITH_OK;
    for (size_t i = 0; status == KITH_OK && i < node->count; i++) {
        uint64_t number;
        int found;
        if (!ki_column_find(column, node->operand[i].text, node->operand[i].text_bytes, &number, &found))
            status = damaged(m, KI_PART_COLUMN_DATA);
        else if (found)
            range[ranges++] = (word_range){number, number + 1};
    }
    if (status == KITH_OK) status = rows_of_words(m, column, range, ranges, out);
    free(range);
    return status;
}

static bool begins_with(const char *word, size_t bytes, const ki_operand *prefix) {
    return bytes >= prefix->text_bytes &&
           (prefix->text_bytes == 0 || memcmp(word, prefix->text, prefix->text_bytes) == 0);
}

/* Words that begin so stand together, from the first that is not below the prefix on. */
static kith_status prefixed_words(const matching *m, const ki_column *column, const ki_operand *prefix,
                                  roaring_bitmap_t **out) {
    word_range range;
    if (!ki_column_seek(column, prefix->text, prefix->text_bytes, &range.first)) return damaged(m, KI_PART_COLUMN_DATA);
    uint64_t low = range.first, high = column->entry.words;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const char *word;
        size_t bytes;
        if (!ki_column_word(column, middle, &word, &bytes)) return damaged(m, KI_PART_COLUMN_DATA);
        if (begins_with(word, bytes, prefix))
            low = middle + 1;
        else
            high = middle;
    }
    range.end = low;
    return rows_of_words(m, column, &range, 1, out);
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static int compare_int_float(int64_t i, double f) {
    if (f >= 0x1p63) return -1;
    if (!(f >= -0x1p63)) return 1;
    const int64_t whole = (int64_t)f; /* towards 0 */
    if (i != whole) return i < whole ? -1 : 1;
    const double rest = f - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

/* A value of the column against an operand, exactly, whatever kinds of number they are. */
static int compare_value(uint32_t type, uint64_t bits, const ki_operand *operand) {
    const int64_t i = (int64_t)bits;
    double f;
    memcpy(&f, &bits, sizeof(f));
    if (type == KITH_FIELD_FLOAT) {
        if (operand->kind != KI_OPERAND_FLOAT) return -compare_int_float(operand->i, f);
        return f < operand->f ? -1 : f > operand->f;
    }
    if (operand->kind == KI_OPERAND_FLOAT) return compare_int_float(i, operand->f);
    return i < operand->i ? -1 : i > operand->i;
}

/* The first place of the order whose value is not below the operand; `beyond`: that is above it. false: damaged. */
static bool seek_value(const ki_column *column, const ki_operand *operand, int beyond, uint64_t *place) {
    uint64_t low = 0, high = column->entry.present;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const uint32_t row = column->order[middle];
        if (row >= column->rows) return false;
        if (compare_value(column->entry.type, column->values[row], operand) < beyond)
            low = middle + 1;
        else
            high = middle;
    }
    *place = low;
    return true;
}

/* A slice of the order, or several. */
typedef struct slice {
    uint64_t first, end;
} slice;

/* All rows with a value but those outside of the slice. */
static kith_status rows_but_outside(const matching *m, const ki_column *column, const slice *s,
                                    roaring_bitmap_t **out) {
    const uint64_t words = ki_bitmap_words(column->rows);
    uint64_t *bits = ki_alloc_array(words, sizeof(*bits));
    if (!bits) return made(m, NULL, out);
    if (column->present)
        memcpy(bits, column->present, words * sizeof(*bits));
    else
        memset(bits, 0xff, words * sizeof(*bits));
    bool good = true;
    for (uint64_t i = 0; good && i < column->entry.present; i++) {
        if (i == s->first) i = s->end;
        if (i == column->entry.present) break;
        const uint32_t row = column->order[i];
        good = row < column->rows;
        if (good) bits[row / 64] &= ~(UINT64_C(1) << (row % 64));
    }
    roaring_bitmap_t *rows = good ? ki_rows_of_bits(bits, column->rows) : NULL;
    free(bits);
    return good ? made(m, rows, out) : damaged(m, KI_PART_COLUMN_DATA);
}

static kith_status rows_of_slices(const matching *m, const ki_column *column, const slice *s, size_t slices,
                                  roaring_bitmap_t **out) {
    uint64_t most = 0;
    ki_gather gather;
    for (size_t i = 0; i < slices; i++) most += s[i].end - s[i].first;
    if (most == 0) return made(m, roaring_bitmap_create(), out);
    if (slices == 1 && most > column->entry.present / 2) return rows_but_outside(m, column, s, out);
    if (!ki_gather_begin(&gather, column->rows, most)) return made(m, NULL, out);
    for (size_t i = 0; i < slices; i++)
        for (uint64_t at = s[i].first; at < s[i].end; at++) ki_gather_put(&gather, column->order[at]);
    return gathered(m, &gather, true, KI_PART_COLUMN_DATA, out);
}

static bool is_number(const ki_operand *operand) {
    return operand->kind != KI_OPERAND_TEXT || operand->is_time;
}

/* true and false of a bool column. */
static kith_status rows_of_bools(const matching *m, const ki_column *column, int ones, int zeros,
                                 roaring_bitmap_t **out) {
    if (ones && zeros) return present_rows(m, column, out);
    if (!ones && !zeros) return made(m, roaring_bitmap_create(), out);
    const uint64_t words = ki_bitmap_words(column->rows);
    uint64_t *bits = ki_alloc_array(words, sizeof(*bits));
    if (!bits) return made(m, NULL, out);
    for (uint64_t i = 0; i < words; i++)
        bits[i] = (ones ? column->values[i] : ~column->values[i]) & (column->present ? column->present[i] : UINT64_MAX);
    roaring_bitmap_t *rows = ki_rows_of_bits(bits, column->rows);
    free(bits);
    return made(m, rows, out);
}

static kith_status equal_numbers(const matching *m, const ki_column *column, const ki_filter_node *node,
                                 roaring_bitmap_t **out) {
    if (column->entry.type == KITH_FIELD_BOOL) {
        int has[2] = {0, 0};
        for (size_t i = 0; i < node->count; i++)
            for (uint64_t value = 0; value < 2 && is_number(&node->operand[i]); value++)
                has[value] |= compare_value(KITH_FIELD_BOOL, value, &node->operand[i]) == 0;
        return rows_of_bools(m, column, has[1], has[0], out);
    }
    slice *s = ki_alloc_array(node->count, sizeof(*s));
    size_t slices = 0;
    if (!s) return made(m, NULL, out);
    kith_status status = KITH_OK;
    for (size_t i = 0; status == KITH_OK && i < node->count; i++) {
        slice *next = &s[slices];
        if (!is_number(&node->operand[i])) continue;
        if (!seek_value(column, &node->operand[i], 0, &next->first) ||
            !seek_value(column, &node->operand[i], 1, &next->end))
            status = damaged(m, KI_PART_COLUMN_DATA);
        else
            slices += next->first < next->end;
    }
    if (status == KITH_OK) status = rows_of_slices(m, column, s, slices, out);
    free(s);
    return status;
}

static bool within(const ki_filter_node *node, uint32_t type, uint64_t value) {
    if (node->has_low && compare_value(type, value, &node->low) < node->low_open) return false;
    return !node->has_high || compare_value(type, value, &node->high) <= -node->high_open;
}

static kith_status range_of_numbers(const matching *m, const ki_column *column, const ki_filter_node *node,
                                    roaring_bitmap_t **out) {
    slice s = {0, column->entry.present};
    if ((node->has_low && !is_number(&node->low)) || (node->has_high && !is_number(&node->high)))
        return made(m, roaring_bitmap_create(), out);
    if (column->entry.type == KITH_FIELD_BOOL)
        return rows_of_bools(m, column, within(node, KITH_FIELD_BOOL, 1), within(node, KITH_FIELD_BOOL, 0), out);
    if (node->has_low && !seek_value(column, &node->low, node->low_open, &s.first))
        return damaged(m, KI_PART_COLUMN_DATA);
    if (node->has_high && !seek_value(column, &node->high, !node->high_open, &s.end))
        return damaged(m, KI_PART_COLUMN_DATA);
    if (s.first > s.end) s.first = s.end;
    return rows_of_slices(m, column, &s, 1, out);
}

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

/* The row of a string id; *found 0: there is none. false: damaged. */
static bool find_text(const ki_table *table, const ki_operand *operand, uint32_t *row, int *found) {
    uint64_t low = 0, high = table->rows;
    *found = 0;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const char *text;
        size_t bytes;
        if (!ki_table_string(table, table->text_order[middle], &text, &bytes)) return false;
        const int order = ki_compare_text(text, bytes, operand->text, operand->text_bytes);
        if (order == 0) {
            *row = table->text_order[middle];
            *found = 1;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

static kith_status rows_of_ids(const matching *m, const ki_filter_node *node, roaring_bitmap_t **out) {
    const ki_table *table = m->table;
    ki_gather gather;
    bool good = true;
    if (!ki_gather_begin(&gather, table->rows, node->count)) return made(m, NULL, out);
    for (size_t i = 0; good && i < node->count; i++) {
        const ki_operand *operand = &node->operand[i];
        uint32_t row = 0;
        int found = 0;
        if (table->id_kind == KITH_ID_U64)
            found = operand->id != KITH_ID_NONE && ki_table_find(table, operand->id, &row);
        else
            good = find_text(table, operand, &row, &found);
        if (found) ki_gather_put(&gather, row);
    }
    return gathered(m, &gather, good, KI_PART_TEXT_ORDER, out);
}

/* ---- The tree ---------------------------------------------------------------------------------------------------- */

static kith_status match(const matching *m, const ki_filter_node *node, roaring_bitmap_t **out);

/* Begins with the first child that is no negation, and takes the negated ones away. */
static kith_status match_and(const matching *m, const ki_filter_node *node, roaring_bitmap_t **out) {
    roaring_bitmap_t *rows = NULL;
    kith_status status = KITH_OK;
    for (int negated = 0; status == KITH_OK && negated < 2; negated++) {
        if (negated && !rows) status = all_rows(m, &rows);
        for (size_t i = 0; status == KITH_OK && i < node->count; i++) {
            const ki_filter_node *child = node->child[i];
            roaring_bitmap_t *part = NULL;
            if ((child->op == KI_FILTER_NOT) != negated) continue;
            if (rows && roaring_bitmap_is_empty(rows)) break;
            status = match(m, negated ? child->child[0] : child, &part);
            if (status != KITH_OK) break;
            if (!rows) {
                rows = part;
                continue;
            }
            if (negated)
                roaring_bitmap_andnot_inplace(rows, part);
            else
                roaring_bitmap_and_inplace(rows, part);
            roaring_bitmap_free(part);
        }
    }
    if (status == KITH_OK)
        *out = rows;
    else if (rows)
        roaring_bitmap_free(rows);
    return status;
}

static kith_status match_or(const matching *m, const ki_filter_node *node, roaring_bitmap_t **out) {
    size_t made_parts = 0;
    roaring_bitmap_t **part = ki_alloc_array(node->count, sizeof(*part));
    if (!part) return made(m, NULL, out);
    kith_status status = KITH_OK;
    while (status == KITH_OK && made_parts < node->count) {
        status = match(m, node->child[made_parts], &part[made_parts]);
        made_parts += status == KITH_OK;
    }
    if (status == KITH_OK)
        status = made(m, roaring_bitmap_or_many(made_parts, (const roaring_bitmap_t **)(void *)part), out);
    for (size_t i = 0; i < made_parts; i++) roaring_bitmap_free(part[i]);
    free(part);
    return status;
}

static kith_status match_field(const matching *m, const ki_filter_node *node, roaring_bitmap_t **out) {
    const ki_field *field = ki_schema_find(m->schema, node->name, node->name_bytes);
    const ki_column *column = field ? ki_table_column(m->table, field) : NULL;
    if (!column)
        return ki_fail(m->error, KITH_E_UNSUPPORTED, "%s: has no column of field %.*s",
                       ki_segment_path(m->table->segment), (int)node->name_bytes, node->name);
    const int text = ki_type_is_text(column->entry.type);
    if (node->op == KI_FILTER_EXISTS) return present_rows(m, column, out);
    if (node->op == KI_FILTER_EQ) return text ? equal_words(m, column, node, out) : equal_numbers(m, column, node, out);
    if (node->op == KI_FILTER_PREFIX && text && node->count) return prefixed_words(m, column, &node->operand[0], out);
    if (node->op == KI_FILTER_RANGE && !text) return range_of_numbers(m, column, node, out);
    return made(m, roaring_bitmap_create(), out);
}

/* Trees are at most KI_FILTER_DEPTH_MAX deep. */
static kith_status match(const matching *m, const ki_filter_node *node, roaring_bitmap_t **out) {
    kith_status status;
    switch (node->op) {
    case KI_FILTER_ALL:
        return all_rows(m, out);
    case KI_FILTER_AND:
        return match_and(m, node, out);
    case KI_FILTER_OR:
        return match_or(m, node, out);
    case KI_FILTER_NOT:
        status = match(m, node->child[0], out);
        if (status == KITH_OK) roaring_bitmap_flip_inplace(*out, 0, m->table->rows);
        return status;
    case KI_FILTER_IDS:
        return rows_of_ids(m, node, out);
    default:
        return match_field(m, node, out);
    }
}

kith_status ki_table_match(const ki_table *table, const ki_schema *schema, const ki_filter *filter,
                           roaring_bitmap_t **out, kith_error *error) {
    const matching m = {table, schema, error};
    roaring_bitmap_t *rows = NULL;
    const kith_status status = match(&m, filter->root, &rows);
    if (status != KITH_OK) return status;
    if (ki_segment_damaged(table->segment)) {
        roaring_bitmap_free(rows);
        return ki_fail(error, KITH_E_CORRUPT, "%s: was cut or overwritten while it was read",
                       ki_segment_path(table->segment));
    }
    *out = rows;
    return KITH_OK;
}
