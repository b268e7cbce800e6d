/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables: what is written is read, filters find what looking at each row finds, and what is wrong is refused.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/table.h"
#include "table/rows.h"
#include "table/words.h"

#include <float.h>
#include <math.h>

static kith_error error;

static ki_table *open_table(const char *path) {
    ki_table *table = NULL;
    if (ki_table_open(path, NULL, &table, &error) != KITH_OK) fail_msg("%s", error.text);
    if (ki_table_check(table, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    return table;
}

static ki_table *write_table(const char *path, const table_row *row, size_t rows, kith_id_kind kind,
                             const ki_schema *schema) {
    uint64_t bytes = 0, hash = 0;
    if (table_write(path, row, rows, kind, schema, &bytes, &hash, &error) != KITH_OK) fail_msg("%s", error.text);
    ki_table *table = open_table(path);
    assert_int_equal(ki_table_file_bytes(table), bytes);
    assert_int_equal(ki_table_hash(table), hash);
    assert_int_equal(ki_table_rows(table), rows);
    return table;
}

/* What the tree finds, against each row. */
static void expect_match(const ki_table *table, const ki_schema *schema, const ki_filter_node *root,
                         const table_row *row, kith_id_kind kind) {
    const ki_filter filter = {.root = root};
    roaring_bitmap_t *found = NULL;
    if (ki_table_match(table, schema, &filter, &found, &error) != KITH_OK) fail_msg("%s", error.text);
    uint64_t wanted = 0;
    for (size_t r = 0; r < ki_table_rows(table); r++) {
        const int expected = table_matches(root, &row[r], kind);
        wanted += (uint64_t)expected;
        if (roaring_bitmap_contains(found, (uint32_t)r) != (bool)expected)
            fail_msg("op %d: row %zu of %zu: expected %d", (int)root->op, r, (size_t)ki_table_rows(table), expected);
    }
    assert_int_equal(roaring_bitmap_get_cardinality(found), wanted);
    roaring_bitmap_free(found);
}

/* ---- Round trips ------------------------------------------------------------------------------------------------- */

static void expect_values(const table_row *row, const ki_values *values, const size_t *field, size_t fields) {
    table_given given;
    table_give(row, &given);
    assert_int_equal(values->count, fields);
    for (size_t i = 0; i < fields; i++) {
        const ki_value *value = &values->value[i];
        if (field[i] == SIZE_MAX) {
            assert_int_equal(value->count, 0);
            continue;
        }
        const ki_value *expected = &given.value[field[i]];
        assert_int_equal(value->count, expected->count);
        if (!value->count) continue;
        if (field[i] >= 2) {
            assert_memory_equal(&value->as, &expected->as, sizeof(value->as));
            continue;
        }
        for (uint32_t s = 0; s < value->count; s++) {
            assert_int_equal(values->string_bytes[value->as.at + s], given.bytes[expected->as.at + s]);
            assert_memory_equal(values->string[value->as.at + s], given.string[expected->as.at + s],
                                given.bytes[expected->as.at + s]);
        }
    }
}

static void round_trip(size_t rows, uint64_t words, uint64_t sparse, kith_id_kind kind) {
    static const size_t all[] = {0, 1, 2, 3, 4, 5};
    const char *path = test_path("table.kith");
    ki_schema *schema = table_schema();
    table_row *row = table_rows(rows, words, sparse, rows + words);
    ki_table *table = write_table(path, row, rows, kind, schema);
    ki_values values = {0};
    for (size_t r = 0; r < rows; r++) {
        uint32_t found = UINT32_MAX;
        size_t bytes;
        assert_int_equal(ki_table_keys(table)[r], row[r].key);
        assert_int_equal(ki_table_find(table, row[r].key, &found), 1);
        assert_int_equal(found, r);
        const char *text = ki_table_text(table, (uint32_t)r, &bytes);
        assert_int_equal(bytes, kind == KITH_ID_STRING ? strlen(row[r].text) : 0);
        assert_memory_equal(text, row[r].text, bytes);
        assert_int_equal(ki_table_values(table, schema, (uint32_t)r, &values), KITH_OK);
        expect_values(&row[r], &values, all, TABLE_FIELDS);
    }
    assert_int_equal(ki_table_values(table, schema, (uint32_t)rows, &values), KITH_E_ARG);
    assert_int_equal(ki_table_damaged(table), 0);
    ki_values_free(&values);
    ki_table_close(table);
    ki_schema_destroy(schema);
    free(row);
}

static void every_type_round_trips(void **state) {
    static const size_t rows[] = {1, 2, 63, 64, 65, 700};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (uint64_t sparse = 0; sparse < 4; sparse++) { /* 1: no row has any value */
            round_trip(rows[i], 4, sparse, KITH_ID_U64);
            round_trip(rows[i], 5000, sparse, KITH_ID_STRING);
        }
}

/* The widths of a word's number: 1, 2 and 4 bytes. */
static void many_words(void **state) {
    (void)state;
    for (uint64_t words = 255; words <= 70000; words += words < 258 ? 1 : words < 65000 ? 65000 : 2000) {
        const char *path = test_path("words.kith");
        kith_field field = {"word", KITH_FIELD_TAG, 0};
        ki_schema *schema = NULL;
        ki_table_writer *writer = NULL;
        ki_table *table;
        uint64_t bytes, hash;
        assert_int_equal(ki_schema_create(&field, 1, 0, &schema, NULL), KITH_OK);
        assert_int_equal(ki_table_create(path, words, KITH_ID_U64, schema, &writer, &error), KITH_OK);
        for (uint64_t i = 0; i < words; i++) {
            char text[20];
            const char *string = text;
            const uint32_t size = (uint32_t)snprintf(text, sizeof(text), "%" PRIu64, i * 7919 % words * 3);
            ki_value value = {.count = 1, .as.at = 0};
            const ki_values values = {
                .count = 1, .value = &value, .strings = 1, .string = &string, .string_bytes = (uint32_t[]){size}};
            assert_int_equal(ki_table_add(writer, 2 * i, NULL, 0, &values, &error), KITH_OK);
        }
        assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_OK);
        table = open_table(path);
        for (uint64_t i = 0; i < words; i += 1 + words / 500) {
            char text[20];
            const uint32_t *rows;
            const int size = snprintf(text, sizeof(text), "%" PRIu64, i * 7919 % words * 3);
            assert_int_equal(ki_table_word(table, &schema->fields[0], text, (size_t)size, &rows), 1);
            assert_int_equal(rows[0], i);
        }
        ki_table_close(table);
        ki_schema_destroy(schema);
    }
}

/* A later declaration: fields that the table lacks are absent; another order is followed by number. */
static void values_of_another_schema(void **state) {
    enum { ROWS = 50 };
    static const size_t field[] = {3, SIZE_MAX, 0, SIZE_MAX, 1};
    const char *path = test_path("later.kith");
    ki_schema *schema = table_schema();
    ki_field fields[5];
    const ki_schema later = {.count = 5, .fields = fields};
    table_row *row = table_rows(ROWS, 9, 3, 8);
    ki_table *table = write_table(path, row, ROWS, KITH_ID_U64, schema);
    ki_values values = {0};
    (void)state;
    for (size_t i = 0; i < 5; i++) fields[i] = schema->fields[field[i] == SIZE_MAX ? 2 : field[i]];
    fields[1].id = 99;                 /* a field that came later */
    fields[3].type = KITH_FIELD_FLOAT; /* a number that means another type */
    for (size_t i = 0; i < 5; i++) assert_int_equal(ki_table_has(table, &fields[i]), field[i] != SIZE_MAX);
    for (uint32_t r = 0; r < ROWS; r++) {
        assert_int_equal(ki_table_values(table, &later, r, &values), KITH_OK);
        expect_values(&row[r], &values, field, 5);
    }
    ki_values_free(&values);
    ki_table_close(table);
    ki_schema_destroy(schema);
    free(row);
}

/* tools/read_index.py was written from docs/format.md: where it finds a table good, that page is true. */
static void the_second_reader_agrees(void **state) {
    static const struct {
        size_t rows;
        uint64_t words, sparse;
        kith_id_kind kind;
    } tables[] = {
        {1, 2, 0, KITH_ID_U64}, {70, 9, 4, KITH_ID_STRING}, {300, 700, 0, KITH_ID_U64}, {64, 3, 1, KITH_ID_U64}};
    const char *source = getenv("KITH_SOURCE_DIR");
    ki_schema *schema = table_schema();
    char command[900];
    (void)state;
    for (size_t i = 0; i < 4 && source; i++) {
        const char *path = test_path("second.kith");
        table_row *row = table_rows(tables[i].rows, tables[i].words, tables[i].sparse, i);
        ki_table_close(write_table(path, row, tables[i].rows, tables[i].kind, schema));
        free(row);
        snprintf(command, sizeof(command),
                 "! command -v python3 >/dev/null || python3 '%s/tools/read_index.py' check '%s'", source, path);
        assert_int_equal(system(command), 0);
    }
    ki_schema_destroy(schema);
    if (!source) skip();
}

static void a_table_without_fields(void **state) {
    enum { ROWS = 20 };
    const char *path = test_path("bare.kith");
    const ki_schema none = {0};
    table_row *row = table_rows(ROWS, 1, 0, 4);
    ki_table *table = write_table(path, row, ROWS, KITH_ID_STRING, &none);
    const ki_filter_node all = {.op = KI_FILTER_ALL};
    ki_values values = {0};
    (void)state;
    expect_match(table, &none, &all, row, KITH_ID_STRING);
    assert_int_equal(ki_table_values(table, &none, 3, &values), KITH_OK);
    assert_int_equal(values.count, 0);
    ki_values_free(&values);
    ki_table_close(table);
    table = write_table(path, row, ROWS, KITH_ID_U64, NULL);
    ki_table_close(table);
    free(row);
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

static void match_words(const ki_table *table, const ki_schema *schema, const table_row *row, kith_id_kind kind) {
    static const char *const texts[] = {"", "w1", "w2", "a3b", "w", "a", "zz", "w11", "\x01", "a3", "w1000"};
    enum { TEXTS = sizeof(texts) / sizeof(*texts) };
    ki_operand operand[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) operand[i] = table_text(texts[i]);
    for (size_t field = 0; field < 2; field++)
        for (size_t first = 0; first < TEXTS; first++) {
            const ki_filter_node prefix = table_node(KI_FILTER_PREFIX, field, &operand[first], 1);
            expect_match(table, schema, &prefix, row, kind);
            for (size_t count = 1; first + count <= TEXTS; count += 4) {
                const ki_filter_node equal = table_node(KI_FILTER_EQ, field, &operand[first], count);
                expect_match(table, schema, &equal, row, kind);
            }
        }
}

static void match_numbers(const ki_table *table, const ki_schema *schema, const table_row *row, kith_id_kind kind) {
    const ki_operand operand[] = {table_int(0),
                                  table_int(1),
                                  table_int(-1),
                                  table_int(INT64_MAX),
                                  table_int(INT64_MIN),
                                  table_float(-0.0),
                                  table_float(0.5),
                                  table_float(1.5),
                                  table_float(-3),
                                  table_float(1e300),
                                  table_float(-1e301),
                                  table_float(5e-324),
                                  table_float(0x1p63),
                                  table_float(-0x1p63),
                                  table_int((INT64_C(1) << 53) + 1),
                                  table_float(0x1p53),
                                  table_int(1700000000020),
                                  table_int(1700000000049)};
    enum { OPERANDS = sizeof(operand) / sizeof(*operand) };
    for (size_t field = 2; field < TABLE_FIELDS; field++) {
        const ki_filter_node several = table_node(KI_FILTER_EQ, field, operand, OPERANDS);
        expect_match(table, schema, &several, row, kind);
        for (size_t i = 0; i < OPERANDS; i++) {
            const ki_filter_node equal = table_node(KI_FILTER_EQ, field, &operand[i], 1);
            expect_match(table, schema, &equal, row, kind);
            for (unsigned form = 0; form < 16; form++) {
                ki_filter_node range = table_node(KI_FILTER_RANGE, field, NULL, 0);
                range.has_low = form & 1;
                range.has_high = form >> 1 & 1;
                range.low_open = form >> 2 & 1;
                range.high_open = form >> 3 & 1;
                range.low = operand[i];
                range.high = operand[(i * 7 + form) % OPERANDS];
                expect_match(table, schema, &range, row, kind);
            }
        }
    }
    const ki_operand truth[] = {table_bool(0), table_bool(1)};
    for (size_t i = 0; i < 3; i++) {
        const ki_filter_node equal = table_node(KI_FILTER_EQ, 4, truth + i % 2, 1 + i / 2);
        expect_match(table, schema, &equal, row, kind);
    }
}

static void match_ids(const ki_table *table, const ki_schema *schema, const table_row *row, kith_id_kind kind) {
    ki_operand operand[7];
    const size_t rows = (size_t)ki_table_rows(table);
    for (size_t i = 0; i < 7; i++) {
        const table_row *of = &row[i * 5 % rows];
        operand[i] = kind == KITH_ID_U64 ? (ki_operand){.kind = KI_OPERAND_INT, .text = "", .id = of->key + i / 5}
                                         : table_text(i == 6   ? "item"
                                                      : i == 5 ? "zzz"
                                                               : of->text);
    }
    for (size_t count = 1; count <= 7; count++) {
        const ki_filter_node ids = {.op = KI_FILTER_IDS, .count = count, .operand = operand};
        expect_match(table, schema, &ids, row, kind);
    }
}

static void match_trees(const ki_table *table, const ki_schema *schema, const table_row *row, kith_id_kind kind) {
    const ki_operand word = table_text("w1"), other = table_text("w2"), ten = table_int(10);
    const ki_filter_node leaf[] = {table_node(KI_FILTER_EQ, 0, &word, 1),
                                   table_node(KI_FILTER_EXISTS, 2, NULL, 0),
                                   table_node(KI_FILTER_EQ, 1, &other, 1),
                                   table_node(KI_FILTER_EXISTS, 0, NULL, 0),
                                   table_node(KI_FILTER_EQ, 3, &ten, 1),
                                   {.op = KI_FILTER_ALL},
                                   {.op = KI_FILTER_OR}};
    enum { LEAVES = sizeof(leaf) / sizeof(*leaf) };
    const ki_filter_node *child[LEAVES];
    ki_filter_node negated[LEAVES];
    for (size_t i = 0; i < LEAVES; i++) child[i] = &leaf[i];
    for (size_t i = 0; i < LEAVES; i++) negated[i] = table_parent(KI_FILTER_NOT, &child[i], 1);
    for (unsigned set = 1; set < 1u << LEAVES; set++)
        for (unsigned turned = 0; turned < 4; turned++) { /* some of them negated */
            const ki_filter_node *some[LEAVES];
            size_t count = 0;
            for (unsigned i = 0; i < LEAVES; i++)
                if (set >> i & 1) some[count++] = (i * 3 + turned) % 4 < turned ? &negated[i] : &leaf[i];
            const ki_filter_node both = table_parent(KI_FILTER_AND, some, count);
            const ki_filter_node either = table_parent(KI_FILTER_OR, some, count);
            const ki_filter_node *inner = &either;
            const ki_filter_node none = table_parent(KI_FILTER_NOT, &inner, 1);
            expect_match(table, schema, &both, row, kind);
            expect_match(table, schema, &either, row, kind);
            expect_match(table, schema, &none, row, kind);
        }
    for (size_t field = 0; field < TABLE_FIELDS; field++) {
        const ki_filter_node exists = table_node(KI_FILTER_EXISTS, field, NULL, 0);
        expect_match(table, schema, &exists, row, kind);
    }
}

static void filters_find_what_rows_have(void **state) {
    static const struct {
        size_t rows;
        uint64_t words, sparse;
        kith_id_kind kind;
    } tables[] = {{1, 2, 0, KITH_ID_U64},      {1, 2, 1, KITH_ID_STRING},    {65, 4, 3, KITH_ID_U64},
                  {128, 3, 0, KITH_ID_STRING}, {300, 40, 5, KITH_ID_STRING}, {500, 2000, 2, KITH_ID_U64}};
    ki_schema *schema = table_schema();
    (void)state;
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        table_row *row = table_rows(tables[i].rows, tables[i].words, tables[i].sparse, 70 + i);
        ki_table *table = write_table(test_path("match.kith"), row, tables[i].rows, tables[i].kind, schema);
        match_words(table, schema, row, tables[i].kind);
        match_numbers(table, schema, row, tables[i].kind);
        match_ids(table, schema, row, tables[i].kind);
        match_trees(table, schema, row, tables[i].kind);
        ki_table_close(table);
        free(row);
    }
    ki_schema_destroy(schema);
}

/* Rows of several containers of a bitmap, and so many that lists of few rows are kept as lists. */
static void filters_of_many_rows(void **state) {
    enum { ROWS = 150000 };
    ki_schema *schema = table_schema();
    table_row *row = table_rows(ROWS, 3000, 9, 5);
    (void)state;
    for (size_t r = 0; r < ROWS; r++) {
        if (r % 3) strcpy(row[r].tag, "common");
        row[r].t = (int64_t)(r * 7919 % ROWS);
    }
    ki_table *table = write_table(test_path("many.kith"), row, ROWS, KITH_ID_U64, schema);
    const ki_operand words[] = {table_text("common"), table_text("w1"), table_text("w2"), table_text("w4")};
    for (size_t first = 0; first < 4; first++)
        for (size_t count = 1; first + count <= 4; count++) {
            const ki_filter_node equal = table_node(KI_FILTER_EQ, 0, &words[first], count);
            expect_match(table, schema, &equal, row, KITH_ID_U64);
        }
    const ki_operand prefix = table_text("w10");
    const ki_filter_node begins = table_node(KI_FILTER_PREFIX, 0, &prefix, 1);
    expect_match(table, schema, &begins, row, KITH_ID_U64);
    for (int64_t high = 1; high < 2 * ROWS; high = high * 5 + 3) {
        ki_filter_node range = table_node(KI_FILTER_RANGE, 5, NULL, 0);
        range.has_high = range.high_open = 1;
        range.high = table_int(high);
        expect_match(table, schema, &range, row, KITH_ID_U64);
    }
    match_ids(table, schema, row, KITH_ID_U64);
    ki_table_close(table);
    ki_schema_destroy(schema);
    free(row);
}

static void fields_that_are_not_there(void **state) {
    ki_schema *schema = table_schema();
    table_row *row = table_rows(30, 4, 0, 2);
    ki_schema *less = table_schema_of(2);
    ki_table *table = NULL;
    uint64_t bytes, hash;
    roaring_bitmap_t *found = NULL;
    ki_table_writer *writer = NULL;
    const ki_filter_node exists = table_node(KI_FILTER_EXISTS, 4, NULL, 0), *child = &exists;
    const ki_filter_node negated = table_parent(KI_FILTER_NOT, &child, 1), *both[] = {&negated, &negated};
    const ki_filter_node either = table_parent(KI_FILTER_OR, both, 2),
                         conjunction = table_parent(KI_FILTER_AND, both, 2);
    const ki_filter_node *const roots[] = {&exists, &negated, &either, &conjunction};
    (void)state;
    assert_int_equal(ki_table_create(test_path("less.kith"), 30, KITH_ID_U64, less, &writer, &error), KITH_OK);
    for (size_t r = 0; r < 30; r++) {
        table_given given;
        table_give(&row[r], &given);
        given.values.count = 2;
        assert_int_equal(ki_table_add(writer, row[r].key, NULL, 0, &given.values, &error), KITH_OK);
    }
    assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_OK);
    table = open_table(test_path("less.kith"));
    for (size_t i = 0; i < 4; i++) {
        const ki_filter filter = {.root = roots[i]};
        assert_int_equal(ki_table_match(table, schema, &filter, &found, &error), KITH_E_UNSUPPORTED);
        assert_non_null(strstr(error.text, "less.kith: has no column of field sold"));
        assert_int_equal(ki_table_match(table, less, &filter, &found, &error), KITH_E_UNSUPPORTED);
    }
    assert_null(found);
    ki_table_close(table);
    ki_schema_destroy(schema);
    ki_schema_destroy(less);
    free(row);
}

/* Rows of a word, as those of a segment key are asked for. */
static void rows_of_a_word(void **state) {
    enum { ROWS = 700 };
    ki_schema *schema = table_schema();
    table_row *row = table_rows(ROWS, 90, 4, 12);
    (void)state;
    for (size_t r = 0; r < ROWS; r += 3) strcpy(row[r].tag, "often");
    ki_table *table = write_table(test_path("word.kith"), row, ROWS, KITH_ID_U64, schema);
    static const char *const words[] = {"often", "w1", "w2", "", "absent", "zzz"};
    for (size_t i = 0; i < 6; i++) {
        const uint32_t *rows = NULL;
        const ki_operand operand = table_text(words[i]);
        const uint64_t count = ki_table_word(table, &schema->fields[0], words[i], strlen(words[i]), &rows);
        uint64_t seen = 0;
        for (uint32_t r = 0; r < ROWS; r++) {
            if (!row[r].count[0] || !table_has_word(&row[r], 0, &operand, 0)) continue;
            if (rows) assert_int_equal(rows[seen], r);
            seen++;
        }
        assert_int_equal(count, seen);
        assert_int_equal(rows != NULL, i > 0 && count > 0);
    }
    const uint32_t *rows = NULL;
    assert_int_equal(ki_table_word(table, &schema->fields[2], "0", 1, &rows), 0);
    ki_table_close(table);
    ki_schema_destroy(schema);
    free(row);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static ki_table_writer *begin(uint64_t rows, kith_id_kind kind, const ki_schema *schema) {
    ki_table_writer *writer = NULL;
    assert_int_equal(ki_table_create(test_path("refused.kith"), rows, kind, schema, &writer, &error), KITH_OK);
    return writer;
}

static void wrong_rows_are_refused(void **state) {
    ki_table_writer *writer = NULL;
    ki_schema *schema = table_schema();
    table_row *row = table_rows(3, 4, 0, 2);
    table_given given;
    uint64_t bytes, hash;
    char long_text[KITH_STRING_MAX + 1];
    (void)state;
    table_give(&row[0], &given);
    memset(long_text, 'a', sizeof(long_text));
    assert_int_equal(ki_table_create("x", 0, KITH_ID_U64, schema, &writer, &error), KITH_E_ARG);
    assert_int_equal(ki_table_create("x", KITH_ROWS_MAX + 1, KITH_ID_U64, schema, &writer, &error), KITH_E_ARG);
    assert_int_equal(ki_table_create("x", 1, KITH_ID_ROW, schema, &writer, &error), KITH_E_ARG);
    schema->fields[5].id = schema->fields[0].id;
    assert_int_equal(ki_table_create("x", 1, KITH_ID_U64, schema, &writer, &error), KITH_E_ARG);
    assert_null(writer);
    ki_schema_destroy(schema);
    schema = table_schema();

    writer = begin(2, KITH_ID_U64, schema);
    assert_int_equal(ki_table_add(writer, 7, NULL, 0, &given.values, &error), KITH_OK);
    assert_int_equal(ki_table_add(writer, 7, NULL, 0, &given.values, &error), KITH_E_ARG);
    assert_int_equal(ki_table_add(writer, UINT64_MAX, NULL, 0, &given.values, &error), KITH_E_ARG);
    assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_E_ARG);

    writer = begin(1, KITH_ID_U64, schema);
    assert_int_equal(ki_table_add(writer, 7, NULL, 0, &given.values, &error), KITH_OK);
    assert_int_equal(ki_table_add(writer, 8, NULL, 0, &given.values, &error), KITH_E_ARG);
    ki_table_abandon(writer);

    for (int i = 0; i < 3; i++) {
        writer = begin(1, KITH_ID_STRING, schema);
        given.value[3].as.f = i == 0 ? NAN : 1;
        const size_t text_bytes = i == 1 ? 0 : i == 2 ? sizeof(long_text) : 3;
        assert_int_equal(ki_table_add(writer, 7, long_text, text_bytes, &given.values, &error), KITH_E_ARG);
        assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_E_ARG);
    }
    writer = begin(2, KITH_ID_STRING, schema);
    assert_int_equal(ki_table_add(writer, 7, "same", 4, &given.values, &error), KITH_OK);
    assert_int_equal(ki_table_add(writer, 8, "same", 4, &given.values, &error), KITH_OK);
    assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "have the same string id"));

    writer = begin(1, KITH_ID_U64, schema); /* a string of tags twice */
    given.value[1].count = 2;
    given.string[1] = given.string[2] = "twin";
    given.bytes[1] = given.bytes[2] = 4;
    assert_int_equal(ki_table_add(writer, 7, NULL, 0, &given.values, &error), KITH_OK);
    assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_E_ARG);
    assert_int_not_equal(access(test_path("refused.kith"), F_OK), 0);
    ki_table_abandon(NULL);
    ki_schema_destroy(schema);
    free(row);
}

static void tables_and_indexes_are_told_apart(void **state) {
    static const uint64_t bytes[] = {100, 200};
    ki_schema *schema = table_schema();
    table_row *row = table_rows(10, 4, 0, 2);
    ki_table *table = NULL;
    kith_index *index = NULL;
    (void)state;
    ki_table_close(write_table(test_path("told.kith"), row, 10, KITH_ID_U64, schema));
    assert_int_equal(kith_index_open(test_path("told.kith"), NULL, &index, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "told.kith: not an index: it is the table of a collection's segment"));
    test_make(test_path("index.kith"), bytes, 2);
    assert_int_equal(ki_table_open(test_path("index.kith"), NULL, &table, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "index.kith: not a table of a collection's segment"));
    assert_int_equal(ki_table_open(test_path("absent.kith"), NULL, &table, &error), KITH_E_NOTFOUND);
    ki_table_close(NULL);
    ki_schema_destroy(schema);
    free(row);
}

/* ---- Sets of rows ------------------------------------------------------------------------------------------------ */

static void bitmaps_are_made_whole(void **state) {
    static const uint64_t tables[] = {1, 63, 64, 65, 65536, 65537, 200000};
    ki_rng rng = {9};
    (void)state;
    for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
        for (uint64_t one_in = 1; one_in < 100000; one_in *= 11) {
            const uint64_t rows = tables[t];
            roaring_bitmap_t *expected = roaring_bitmap_create();
            uint64_t *bits = calloc(rows / 64 + 1, sizeof(*bits));
            uint32_t *sorted = calloc(rows, sizeof(*sorted));
            size_t count = 0;
            ki_gather gather;
            assert_true(ki_gather_begin(&gather, rows, one_in > 5000 ? rows / 5000 : rows));
            for (uint64_t row = 0; row < rows; row++) {
                if (ki_rng_below(&rng, one_in) || (gather.few && count >= gather.room)) continue;
                roaring_bitmap_add(expected, (uint32_t)row);
                bits[row / 64] |= UINT64_C(1) << (row % 64);
                sorted[count++] = (uint32_t)row;
            }
            for (size_t i = count; i-- > 0;) ki_gather_put(&gather, sorted[i]);
            assert_false(gather.bad);
            assert_true(ki_rows_ascend(sorted, count, rows));
            if (rows % 64) bits[rows / 64] |= UINT64_MAX << (rows % 64); /* beyond the rows */
            roaring_bitmap_t *const made[] = {ki_rows_of_bits(bits, rows), ki_rows_of_sorted(sorted, count),
                                              ki_gather_end(&gather)};
            for (int i = 0; i < 3; i++) {
                assert_non_null(made[i]);
                assert_true(roaring_bitmap_equals(made[i], expected));
                roaring_bitmap_free(made[i]);
            }
            roaring_bitmap_free(expected);
            free(bits);
            free(sorted);
        }
}

static void rows_that_cannot_be(void **state) {
    const uint32_t rows[] = {1, 5, 5, 9, 8};
    ki_gather gather;
    (void)state;
    assert_true(ki_rows_ascend(rows, 2, 6));
    assert_false(ki_rows_ascend(rows, 2, 5));
    assert_false(ki_rows_ascend(rows, 3, 100));
    assert_false(ki_rows_ascend(rows + 3, 2, 100));
    assert_true(ki_rows_ascend(rows, 0, 0));
    for (uint64_t table = 100; table <= 1000000; table *= 10000) {
        assert_true(ki_gather_begin(&gather, table, 2));
        ki_gather_put(&gather, (uint32_t)table);
        assert_true(gather.bad);
        ki_gather_drop(&gather);
    }
    assert_true(ki_gather_begin(&gather, 1000000, 2));
    for (uint32_t row = 0; row < 3; row++) ki_gather_put(&gather, row);
    assert_true(gather.bad);
    ki_gather_drop(&gather);
}

static void rows_are_sorted_by_key(void **state) {
    enum { ROWS = 3000 };
    static uint64_t key[ROWS];
    static uint32_t row[ROWS];
    ki_rng rng = {3};
    (void)state;
    for (unsigned shift = 0; shift < 64; shift += 9) {
        for (uint32_t i = 0; i < ROWS; i++) {
            key[i] = ki_rng_next(&rng) >> shift;
            row[i] = i;
        }
        assert_true(ki_sort_rows(row, ROWS, key));
        for (size_t i = 1; i < ROWS; i++)
            assert_true(key[row[i - 1]] < key[row[i]] || (key[row[i - 1]] == key[row[i]] && row[i - 1] < row[i]));
    }
    assert_true(ki_sort_rows(row, 0, key));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_round_trips),
        cmocka_unit_test(many_words),
        cmocka_unit_test(values_of_another_schema),
        cmocka_unit_test(the_second_reader_agrees),
        cmocka_unit_test(a_table_without_fields),
        cmocka_unit_test(filters_find_what_rows_have),
        cmocka_unit_test(filters_of_many_rows),
        cmocka_unit_test(fields_that_are_not_there),
        cmocka_unit_test(rows_of_a_word),
        cmocka_unit_test(wrong_rows_are_refused),
        cmocka_unit_test(tables_and_indexes_are_told_apart),
        cmocka_unit_test(bitmaps_are_made_whole),
        cmocka_unit_test(rows_that_cannot_be),
        cmocka_unit_test(rows_are_sorted_by_key),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
