/* SPDX-License-Identifier: Apache-2.0
 *
 * Random rows for tests of tables, written to files, and what a filter should find in them by looking at each row.
 * Include after cmocka.h. */
#ifndef KI_TESTS_TABLE_H
#define KI_TESTS_TABLE_H

#include "support/segment_file.h"
#include "table/table.h"

#include <inttypes.h>

enum { TABLE_FIELDS = 6, TABLE_TAGS = 5, TABLE_WORD_BYTES = 16 };

/* A row as it is given: a field each of tag, tags, int, float, bool, time, in this order. */
typedef struct table_row {
    uint64_t key;
    char text[24];
    uint32_t count[TABLE_FIELDS];
    char tag[TABLE_WORD_BYTES];
    char tags[TABLE_TAGS][TABLE_WORD_BYTES]; /* sorted, distinct */
    int64_t i, b, t;
    double f;
} table_row;

static const kith_field_type table_types[TABLE_FIELDS] = {KITH_FIELD_TAG,   KITH_FIELD_TAGS, KITH_FIELD_INT,
                                                          KITH_FIELD_FLOAT, KITH_FIELD_BOOL, KITH_FIELD_TIME};
static char *const table_names[TABLE_FIELDS] = {"color", "labels", "amount", "price", "sold", "made"};

/* The first `fields` of them, with the numbers 3, 4, 5, ... */
static inline ki_schema *table_schema_of(size_t fields) {
    kith_field field[TABLE_FIELDS];
    ki_schema *schema = NULL;
    for (size_t i = 0; i < TABLE_FIELDS; i++) field[i] = (kith_field){table_names[i], table_types[i], 0};
    assert_int_equal(ki_schema_create(field, fields, 3, &schema, NULL), KITH_OK);
    return schema;
}

static inline ki_schema *table_schema(void) {
    return table_schema_of(TABLE_FIELDS);
}

/* One of `words` words, "" among them. */
static inline void table_word(char *to, ki_rng *rng, uint64_t words) {
    const unsigned number = (unsigned)ki_rng_below(rng, words);
    *to = 0;
    if (number) snprintf(to, TABLE_WORD_BYTES, number % 3 ? "w%u" : "a%ub", number);
}

static inline void table_tags(table_row *row, ki_rng *rng, uint64_t words) {
    const uint32_t wanted = (uint32_t)ki_rng_below(rng, TABLE_TAGS + 1);
    row->count[1] = 0;
    for (uint32_t i = 0; i < wanted; i++) {
        char word[TABLE_WORD_BYTES];
        uint32_t at = row->count[1];
        table_word(word, rng, words);
        for (uint32_t j = 0; j < row->count[1]; j++)
            if (strcmp(row->tags[j], word) == 0) at = UINT32_MAX;
        if (at == UINT32_MAX) continue;
        for (; at > 0 && strcmp(row->tags[at - 1], word) > 0; at--) strcpy(row->tags[at], row->tags[at - 1]);
        strcpy(row->tags[at], word);
        row->count[1]++;
    }
}

/* Rows whose fields are missing once in `sparse` (0: never). */
static inline table_row *table_rows(size_t rows, uint64_t words, uint64_t sparse, uint64_t seed) {
    static const int64_t ints[] = {0, 1, -1, 2, 100, INT64_MAX, INT64_MIN, (INT64_C(1) << 53) + 1, -7, 8};
    static const double floats[] = {0.0, -0.0, 1.5, -1.5, 1e300, -1e300, 5e-324, 9007199254740992.0, 2, 3.25};
    table_row *row = calloc(rows, sizeof(*row));
    ki_rng rng = {seed};
    uint64_t key = ki_rng_below(&rng, 5);
    assert_non_null(row);
    for (size_t r = 0; r < rows; r++) {
        row[r].key = r + 1 == rows && seed % 2 ? UINT64_MAX - 1 : key;
        key += 1 + ki_rng_below(&rng, 4);
        snprintf(row[r].text, sizeof(row[r].text), "item %" PRIu64, ki_rng_next(&rng) % 1000000 * 10000000 + r);
        for (size_t i = 0; i < TABLE_FIELDS; i++) row[r].count[i] = !sparse || ki_rng_below(&rng, sparse) != 0;
        table_word(row[r].tag, &rng, words);
        if (row[r].count[1]) table_tags(&row[r], &rng, words);
        row[r].i = ints[ki_rng_below(&rng, 10)] / (1 + (int64_t)ki_rng_below(&rng, 2));
        row[r].f = floats[ki_rng_below(&rng, 10)] * (1 + (double)ki_rng_below(&rng, 2));
        row[r].b = (int64_t)ki_rng_below(&rng, 2);
        row[r].t = 1700000000000 + (int64_t)ki_rng_below(&rng, 50);
    }
    return row;
}

/* A row's values, in memory of the caller's. */
typedef struct table_given {
    ki_values values;
    ki_value value[TABLE_FIELDS];
    const char *string[1 + TABLE_TAGS];
    uint32_t bytes[1 + TABLE_TAGS];
} table_given;

static inline void table_give(const table_row *row, table_given *g) {
    memset(g, 0, sizeof(*g));
    for (uint32_t i = 0; i < 1 + row->count[1]; i++) {
        g->string[i] = i ? row->tags[i - 1] : row->tag;
        g->bytes[i] = (uint32_t)strlen(g->string[i]);
    }
    for (size_t i = 0; i < TABLE_FIELDS; i++) g->value[i].count = row->count[i];
    g->value[0].as.at = 0;
    g->value[1].as.at = 1;
    g->value[2].as.i = row->i;
    g->value[3].as.f = row->f;
    g->value[4].as.i = row->b;
    g->value[5].as.i = row->t;
    g->values = (ki_values){.count = TABLE_FIELDS,
                            .value = g->value,
                            .strings = 1 + row->count[1],
                            .string = g->string,
                            .string_bytes = g->bytes};
}

static inline kith_status table_write(const char *path, const table_row *row, size_t rows, kith_id_kind kind,
                                      const ki_schema *schema, uint64_t *bytes, uint64_t *hash, kith_error *error) {
    ki_table_writer *writer = NULL;
    kith_status status = ki_table_create(path, rows, kind, schema, &writer, error);
    for (size_t r = 0; status == KITH_OK && r < rows; r++) {
        table_given given;
        table_give(&row[r], &given);
        status = ki_table_add(writer, row[r].key, row[r].text, strlen(row[r].text), &given.values, error);
    }
    if (status == KITH_OK) return ki_table_finish(writer, bytes, hash, error);
    ki_table_abandon(writer);
    return status;
}

/* ---- Trees by hand ----------------------------------------------------------------------------------------------- */

static inline ki_operand table_text(const char *text) {
    return (ki_operand){
        .kind = KI_OPERAND_TEXT, .text = text, .text_bytes = (uint32_t)strlen(text), .id = KITH_ID_NONE};
}
static inline ki_operand table_int(int64_t i) {
    return (ki_operand){
        .kind = KI_OPERAND_INT, .i = i, .f = (double)i, .text = "", .id = i < 0 ? KITH_ID_NONE : (uint64_t)i};
}
static inline ki_operand table_float(double f) {
    return (ki_operand){.kind = KI_OPERAND_FLOAT, .f = f, .text = "", .id = KITH_ID_NONE};
}
static inline ki_operand table_bool(int b) {
    return (ki_operand){
        .kind = KI_OPERAND_BOOL, .i = b, .text = b ? "true" : "false", .text_bytes = b ? 4 : 5, .id = KITH_ID_NONE};
}

static inline ki_filter_node table_node(ki_filter_op op, size_t field, const ki_operand *operand, size_t count) {
    return (ki_filter_node){.op = op,
                            .name = table_names[field],
                            .name_bytes = (uint32_t)strlen(table_names[field]),
                            .count = count,
                            .operand = operand};
}

static inline ki_filter_node table_parent(ki_filter_op op, const ki_filter_node *const *child, size_t count) {
    return (ki_filter_node){.op = op, .count = count, .child = child};
}

/* ---- What should be found ---------------------------------------------------------------------------------------- */

static inline size_t table_field(const ki_filter_node *node) {
    for (size_t i = 0; i < TABLE_FIELDS; i++)
        if (strcmp(node->name, table_names[i]) == 0) return i;
    fail_msg("no field %s", node->name);
    return 0;
}

/* Both as long double, which holds i64 and double exactly. */
static inline long double table_number(const table_row *row, size_t field) {
    return field == 3 ? (long double)row->f : field == 2 ? row->i : field == 4 ? row->b : row->t;
}
static inline long double table_operand(const ki_operand *operand) {
    return operand->kind == KI_OPERAND_FLOAT ? (long double)operand->f : (long double)operand->i;
}

static inline int table_has_word(const table_row *row, size_t field, const ki_operand *operand, int prefix) {
    for (uint32_t i = 0; i < row->count[field]; i++) {
        const char *word = field ? row->tags[i] : row->tag;
        if (strlen(word) < operand->text_bytes || memcmp(word, operand->text, operand->text_bytes) != 0) continue;
        if (prefix || strlen(word) == operand->text_bytes) return 1;
    }
    return 0;
}

static inline int table_matches(const ki_filter_node *node, const table_row *row, kith_id_kind kind) {
    size_t hits = 0;
    switch (node->op) {
    case KI_FILTER_ALL:
        return 1;
    case KI_FILTER_NOT:
        return !table_matches(node->child[0], row, kind);
    case KI_FILTER_AND:
    case KI_FILTER_OR:
        for (size_t i = 0; i < node->count; i++) hits += (size_t)table_matches(node->child[i], row, kind);
        return node->op == KI_FILTER_AND ? hits == node->count : hits > 0;
    case KI_FILTER_IDS:
        for (size_t i = 0; i < node->count; i++)
            hits += kind == KITH_ID_U64
                        ? node->operand[i].id == row->key
                        : strlen(row->text) == node->operand[i].text_bytes &&
                              memcmp(row->text, node->operand[i].text, node->operand[i].text_bytes) == 0;
        return hits > 0;
    default:
        break;
    }
    const size_t field = table_field(node);
    if (!row->count[field]) return 0;
    if (node->op == KI_FILTER_EXISTS) return 1;
    if (node->op == KI_FILTER_PREFIX) return table_has_word(row, field, &node->operand[0], 1);
    if (node->op == KI_FILTER_RANGE) {
        const long double value = table_number(row, field), low = table_operand(&node->low);
        const long double high = table_operand(&node->high);
        if (node->has_low && (node->low_open ? value <= low : value < low)) return 0;
        return !node->has_high || (node->high_open ? value < high : value <= high);
    }
    for (size_t i = 0; i < node->count; i++)
        hits += field < 2 ? (size_t)table_has_word(row, field, &node->operand[i], 0)
                          : (size_t)(table_number(row, field) == table_operand(&node->operand[i]));
    return hits > 0;
}

#endif
