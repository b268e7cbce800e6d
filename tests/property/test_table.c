/* SPDX-License-Identifier: Apache-2.0
 *
 * A filter finds the same rows in a table as row by row in the values that the table was made of, and in the payloads
 * that those came from: random tables, random filters of both forms.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/segment_file.h"
#include "table/table.h"

#include <inttypes.h>

enum { FIELDS = 6, TEXT_BYTES = 4000, PAYLOAD_BYTES = 600 };

static kith_error error;
static const kith_field fields[FIELDS] = {{"color", KITH_FIELD_TAG, 0},  {"labels", KITH_FIELD_TAGS, 0},
                                          {"amount", KITH_FIELD_INT, 0}, {"price.net", KITH_FIELD_FLOAT, 0},
                                          {"sold", KITH_FIELD_BOOL, 0},  {"made", KITH_FIELD_TIME, 0}};

/* ---- Text that is written piece by piece ------------------------------------------------------------------------- */

typedef struct text {
    char at[TEXT_BYTES];
    size_t used;
} text;

__attribute__((format(printf, 2, 3))) static void put(text *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int wrote = vsnprintf(t->at + t->used, sizeof(t->at) - t->used, format, arguments);
    va_end(arguments);
    assert_true(wrote >= 0 && (size_t)wrote < sizeof(t->at) - t->used);
    t->used += (size_t)wrote;
}

static const char *one_of(const char *const *words, size_t count, ki_rng *rng) {
    return words[ki_rng_below(rng, count)];
}
#define ONE_OF(words, rng) one_of(words, sizeof(words) / sizeof(*(words)), rng)

/* As JSON, and as values of filters. */
static const char *const tags[] = {"\"red\"",       "\"green\"", "\"r\"",   "\"\"",        "7",     "true",
                                   "\"re\\u0064\"", "1.5",       "\"x y\"", "\"\\u00e9\"", "\"7\"", "70"};
static const char *const ints[] = {
    "0", "-1", "1", "7", "3.0", "9007199254740993", "9223372036854775807", "-9223372036854775808", "12", "70"};
static const char *const floats[] = {"0",      "-0.0", "0.5", "7", "-2.25", "1e300", "9007199254740993",
                                     "1e-320", "3",    "-1"};
static const char *const truths[] = {"true", "false"};
static const char *const times[] = {
    "0", "1700000000000", "\"2023-11-14T22:13:20Z\"", "\"2024-02-29\"", "-1", "\"1970-01-01T00:00:00.001Z\""};

static const char *value_of(size_t field, ki_rng *rng) {
    switch (field) {
    case 0:
    case 1:
        return ONE_OF(tags, rng);
    case 2:
        return ONE_OF(ints, rng);
    case 3:
        return ki_rng_below(rng, 3) ? ONE_OF(floats, rng) : ONE_OF(ints, rng);
    case 4:
        return ONE_OF(truths, rng);
    default:
        return ONE_OF(times, rng);
    }
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

typedef struct item {
    uint64_t key;
    char id[24];
    char payload[PAYLOAD_BYTES];
    ki_values values;
} item;

static void make_payload(item *to, uint64_t lacking, ki_rng *rng) {
    text t = {.used = 0};
    put(&t, "{\"other\": [1, {\"color\": 3}]");
    for (size_t field = 0; field < FIELDS; field++) {
        if (ki_rng_below(rng, 5) < lacking) continue;
        if (field == 3)
            put(&t, ", \"price\": {\"net\": %s, \"gross\": 1}", ONE_OF(floats, rng));
        else if (field != 1 || ki_rng_below(rng, 6) == 0)
            put(&t, ", \"%s\": %s", fields[field].name, ki_rng_below(rng, 20) ? value_of(field, rng) : "null");
        else {
            put(&t, ", \"labels\": [");
            for (uint64_t i = 0, count = ki_rng_below(rng, 5); i < count; i++)
                put(&t, "%s%s", i ? ", " : "", ONE_OF(tags, rng));
            put(&t, "]");
        }
    }
    put(&t, "}");
    assert_true(t.used < PAYLOAD_BYTES);
    strcpy(to->payload, t.at);
}

static item *make_items(size_t count, const ki_schema *schema, uint64_t lacking, ki_rng *rng) {
    item *items = calloc(count, sizeof(*items));
    uint64_t key = ki_rng_below(rng, 3);
    assert_non_null(items);
    for (size_t i = 0; i < count; i++, key += 1 + ki_rng_below(rng, 3)) {
        items[i].key = key;
        snprintf(items[i].id, sizeof(items[i].id), "%s%" PRIu64, i % 2 ? "item " : "", key);
        make_payload(&items[i], lacking, rng);
        if (ki_values_of(schema, items[i].payload, strlen(items[i].payload), 1, &items[i].values, &error) != KITH_OK)
            fail_msg("%s: %s", items[i].payload, error.text);
    }
    return items;
}

static ki_table *make_table(const item *items, size_t count, kith_id_kind kind, const ki_schema *schema) {
    const char *path = test_path("random.kith");
    ki_table_writer *writer = NULL;
    ki_table *table = NULL;
    uint64_t bytes, hash;
    assert_int_equal(ki_table_create(path, count, kind, schema, &writer, &error), KITH_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ki_table_add(writer, items[i].key, items[i].id, strlen(items[i].id), &items[i].values, &error),
                         KITH_OK);
    if (ki_table_finish(writer, &bytes, &hash, &error) != KITH_OK) fail_msg("%s", error.text);
    if (ki_table_open(path, NULL, &table, &error) != KITH_OK) fail_msg("%s", error.text);
    if (ki_table_check(table, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    return table;
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

static void put_list(text *t, size_t field, ki_rng *rng) {
    put(t, "(");
    for (uint64_t i = 0, count = 1 + ki_rng_below(rng, 4); i < count; i++)
        put(t, "%s%s", i ? ", " : "", value_of(field, rng));
    put(t, ")");
}

static void put_id(text *t, ki_rng *rng) {
    static const char *const ids[] = {"1", "2", "\"7\"", "\"item 3\"", "\"item 10\"", "12", "25", "\"absent\""};
    put(t, "id in (%s, %s, %s)", ONE_OF(ids, rng), ONE_OF(ids, rng), ONE_OF(ids, rng));
}

static void put_condition(text *t, ki_rng *rng) {
    static const char *const orders[] = {"<", "<=", ">", ">="};
    static const char *const beginnings[] = {"\"r*\"", "\"*\"", "\"7*\"", "\"green*\"", "\"\\u00e9*\"", "\"zz*\""};
    const size_t field = ki_rng_below(rng, FIELDS);
    const char *name = fields[field].name;
    switch (ki_rng_below(rng, 8)) {
    case 0:
        put_id(t, rng);
        return;
    case 1:
        put(t, "%s %s", name, ki_rng_below(rng, 2) ? "exists" : "missing");
        return;
    case 2:
        put(t, "%s %s ", name, ki_rng_below(rng, 2) ? "in" : "not in");
        put_list(t, field, rng);
        return;
    case 3:
    case 4:
        if (field < 2)
            put(t, "%s ~ %s", name, ONE_OF(beginnings, rng));
        else if (field == 4)
            put(t, "%s%s", ki_rng_below(rng, 2) ? "not " : "", name);
        else if (field == 5 || ki_rng_below(rng, 2)) /* both ends of a range are numbers, or both times */
            put(t, "%s %s %s", name, ONE_OF(orders, rng), value_of(field, rng));
        else
            put(t, "%s <= %s < %s", value_of(field, rng), name, value_of(field, rng));
        return;
    default:
        put(t, "%s %s %s", name, ki_rng_below(rng, 3) ? "=" : "!=", value_of(field, rng));
        return;
    }
}

static void put_filter(text *t, unsigned depth, ki_rng *rng) {
    const uint64_t form = depth ? ki_rng_below(rng, 5) : 4;
    if (form >= 3) {
        put_condition(t, rng);
        return;
    }
    put(t, form == 2 ? "not (" : "(");
    for (uint64_t i = 0, count = form == 2 ? 1 : 2 + ki_rng_below(rng, 3); i < count; i++) {
        if (i) put(t, form ? " or " : " and ");
        put_filter(t, depth - 1, rng);
    }
    put(t, ")");
}

/* ---- The property ------------------------------------------------------------------------------------------------ */

static void compare(const ki_table *table, const ki_schema *schema, const item *items, size_t count, kith_id_kind kind,
                    const char *words) {
    ki_filter *filter = NULL;
    const char *undeclared = NULL;
    roaring_bitmap_t *found = NULL;
    if (ki_filter_parse(words, strlen(words), &filter, &error) != KITH_OK) fail_msg("%s: %s", words, error.text);
    if (ki_filter_check(filter, schema, &undeclared, &error) != KITH_OK) fail_msg("%s: %s", words, error.text);
    assert_null(undeclared);
    if (ki_table_match(table, schema, filter, &found, &error) != KITH_OK) fail_msg("%s: %s", words, error.text);
    assert_true(roaring_bitmap_is_empty(found) || roaring_bitmap_maximum(found) < count);
    for (size_t i = 0; i < count; i++) {
        const char *id = kind == KITH_ID_STRING ? items[i].id : NULL;
        const size_t id_bytes = id ? strlen(id) : 0;
        const bool here = roaring_bitmap_contains(found, (uint32_t)i);
        const int values = ki_filter_matches(filter, schema, &items[i].values, items[i].key, id, id_bytes);
        const int payload = ki_filter_matches_payload(filter, schema, items[i].payload, strlen(items[i].payload),
                                                      items[i].key, id, id_bytes);
        if (here != (values != 0) || here != (payload != 0))
            fail_msg("%s: row %zu, %s: table %d, values %d, payload %d", words, i, items[i].payload, here, values,
                     payload);
    }
    roaring_bitmap_free(found);
    ki_filter_free(filter);
}

static void filters_find_the_same_rows(void **state) {
    static const size_t counts[] = {1, 7, 64, 200, 450};
    enum { FILTERS = 500 };
    ki_rng rng = {2026};
    ki_schema *schema = NULL;
    (void)state;
    assert_int_equal(ki_schema_create(fields, FIELDS, 1, &schema, &error), KITH_OK);
    for (size_t t = 0; t < sizeof(counts) / sizeof(*counts); t++)
        for (int kind = KITH_ID_U64; kind <= KITH_ID_STRING; kind++) {
            item *items = make_items(counts[t], schema, t, &rng);
            ki_table *table = make_table(items, counts[t], (kith_id_kind)kind, schema);
            for (size_t i = 0; i < FILTERS; i++) {
                text words = {.used = 0};
                put_filter(&words, (unsigned)(i % 4), &rng);
                compare(table, schema, items, counts[t], (kith_id_kind)kind, words.at);
            }
            compare(table, schema, items, counts[t], (kith_id_kind)kind, "");
            compare(table, schema, items, counts[t], (kith_id_kind)kind, "false");
            compare(table, schema, items, counts[t], (kith_id_kind)kind,
                    "{\"must\": [{\"key\": \"amount\", \"range\": {\"gte\": 0}}], \"must_not\": [{\"key\": \"color\", "
                    "\"match\": {\"any\": [\"red\", \"7\"]}}], \"should\": [{\"has_id\": [1, 2, 3, 4, \"item 3\"]}, "
                    "{\"is_empty\": {\"key\": \"made\"}}]}");
            ki_table_close(table);
            for (size_t i = 0; i < counts[t]; i++) ki_values_free(&items[i].values);
            free(items);
        }
    ki_schema_destroy(schema);
}

/* What a merge does: values are read from one table into another, and nothing is lost. */
static void values_survive_tables(void **state) {
    enum { ITEMS = 300 };
    ki_rng rng = {7};
    ki_schema *schema = NULL;
    ki_table_writer *writer = NULL;
    ki_table *first, *second = NULL;
    ki_values values = {0};
    uint64_t bytes, hash;
    (void)state;
    assert_int_equal(ki_schema_create(fields, FIELDS, 1, &schema, &error), KITH_OK);
    item *items = make_items(ITEMS, schema, 1, &rng);
    first = make_table(items, ITEMS, KITH_ID_U64, schema);
    assert_int_equal(ki_table_create(test_path("again.kith"), ITEMS, KITH_ID_U64, schema, &writer, &error), KITH_OK);
    for (uint32_t i = 0; i < ITEMS; i++) {
        assert_int_equal(ki_table_values(first, schema, i, &values), KITH_OK);
        assert_int_equal(ki_table_add(writer, items[i].key, NULL, 0, &values, &error), KITH_OK);
    }
    assert_int_equal(ki_table_finish(writer, &bytes, &hash, &error), KITH_OK);
    assert_int_equal(ki_table_open(test_path("again.kith"), NULL, &second, &error), KITH_OK);
    assert_int_equal(ki_table_hash(second), ki_table_hash(first));
    ki_table_close(first);
    ki_table_close(second);
    ki_values_free(&values);
    for (size_t i = 0; i < ITEMS; i++) ki_values_free(&items[i].values);
    free(items);
    ki_schema_destroy(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_find_the_same_rows),
        cmocka_unit_test(values_survive_tables),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
