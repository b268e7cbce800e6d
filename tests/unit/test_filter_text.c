/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters as texts: what each form is read as, what is refused and with which words, the bounds, the types of declared
 * fields, and rows that match or not. Random ones are tests/property/test_filters.c's.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "filter/filter.h"
#include "support/faulty_malloc.h"

static kith_error error;

static ki_filter *parse(const char *text) {
    ki_filter *filter = NULL;
    if (ki_filter_parse(text, strlen(text), &filter, &error) != KITH_OK) fail_msg("%s: %s", text, error.text);
    return filter;
}

/* ---- What is read ------------------------------------------------------------------------------------------------ */

static void test_canonical(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "true"},
        {" \n\t", "true"},
        {"true", "true"},
        {"false", "false"},
        {"not false", "true"},
        {"color = \"red\"", "color = \"red\""},
        {"color == 'red'", "color = \"red\""},
        {"color != 'red'", "color != \"red\""},
        {"color <> 'red'", "color != \"red\""},
        {"NOT color = 'red'", "color != \"red\""},
        {"not not color = 'red'", "color = \"red\""},
        {"sold", "sold = true"},
        {"not sold", "sold != true"},
        {"sold = false", "sold = false"},
        {"price<20", "price < 20"},
        {"price <= 2e1", "price <= 20"},
        {"price > 0.50", "price > 0.5"},
        {"price >= -1", "price >= -1"},
        {"price between 3 and 7", "3 <= price <= 7"},
        {"price not between 3 and 7", "not 3 <= price <= 7"},
        {"3 < price", "price > 3"},
        {"3 < price and price <= 7", "price > 3 and price <= 7"},
        {"3 < price <= 7", "3 < price <= 7"},
        {"size in (\"s\", 'm', 'm')", "size in (\"m\", \"s\")"},
        {"size in ('s')", "size = \"s\""},
        {"size not in (1, 1.0)", "size != 1"},
        {"size in ()", "false"},
        {"size not in ()", "true"},
        {"size in (true, 2, 'x', 1, 0.5)", "size in (\"x\", 1, 2, 0.5, true)"},
        {"tags has 'new'", "tags = \"new\""},
        {"tags has any ('b', 'a')", "tags in (\"a\", \"b\")"},
        {"tags has all ('b', 'a')", "tags = \"a\" and tags = \"b\""},
        {"tags has all ()", "true"},
        {"note exists", "note exists"},
        {"note missing", "note missing"},
        {"not note missing", "note exists"},
        {"name ~ 'ca*'", "name ~ \"ca*\""},
        {"name ~ '*'", "name ~ \"*\""},
        {"name ~ '\\\\**'", "name ~ \"\\\\**\""},
        {"name ~ 'a\\\\\\\\*'", "name ~ \"a\\\\\\\\*\""},
        {"not name ~ 'ca*'", "not name ~ \"ca*\""},
        {"released >= 2026-01-31", "released >= \"2026-01-31\""},
        {"released < 2026-01-31T10:00:00.5+01:00", "released < \"2026-01-31T10:00:00.5+01:00\""},
        {"2025-01-01 <= released < '2026-01-01'", "\"2025-01-01\" <= released < \"2026-01-01\""},
        {"id = 42", "id = 42"},
        {"ID != 42", "id != 42"},
        {"id in (3, 1, 2, 18446744073709551614)", "id in (1, 2, 3, 18446744073709551614)"},
        {"id = '42'", "id = 42"},
        {"id not in ('x', '042')", "id not in (\"042\", \"x\")"},
        {"`id` = 42", "`id` = 42"},
        {"`and` exists", "`and` exists"},
        {"`Not` exists", "`Not` exists"},
        {"`a b``c` exists", "`a b``c` exists"},
        {"`plain` exists", "plain exists"},
        {"shop.city-2 exists", "shop.city-2 exists"},
        {"pr\xc3\xa9nom = 'L\xc3\xa9o'", "pr\xc3\xa9nom = \"L\xc3\xa9o\""},
        {"a = 'it''s \\'so\\' \"\"\\u00e9\\n'", "a = \"it's 'so' \\\"\\\"\xc3\xa9\\u000a\""},
        {"a = \"say \"\"so\"\"\"", "a = \"say \\\"so\\\"\""},
        {"a = ''", "a = \"\""},
        {"a = 1.0", "a = 1"},
        {"a = 18446744073709551615", "a = 18446744073709551615"},
        {"a = 9007199254740993", "a = 9007199254740993"},
        {"b and a", "a = true and b = true"},
        {"b or a and c", "b = true or a = true and c = true"},
        {"(b or a) and c", "(a = true or b = true) and c = true"},
        {"not b or a", "not b = true or a = true"},
        {"not (b or a)", "not (a = true or b = true)"},
        {"not b and a", "not b = true and a = true"},
        {"a and (b and (c and a))", "a = true and b = true and c = true"},
        {"a or (b or a)", "a = true or b = true"},
        {"a and true", "a = true"},
        {"a and false", "false"},
        {"a or true", "true"},
        {"a or false", "a = true"},
        {"((a))", "a = true"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ki_filter *filter = parse(cases[i][0]), *right = parse(cases[i][1]);
        assert_string_equal(filter->canonical, right->canonical);
        assert_true(filter->hash == right->hash);
        /* Printed as here, but for the order of what is joined and for what NOT becomes. */
        if (!strstr(cases[i][1], " and ") && !strstr(cases[i][1], " or "))
            assert_string_equal(filter->canonical, cases[i][1]);
        ki_filter_free(filter);
        ki_filter_free(right);
    }
    ki_filter_free(NULL);
}

static void test_json(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "true"},
        {" {\"must\": []}", "true"},
        {"{\"should\": [], \"must_not\": null}", "true"},
        {"{\"key\": \"color\", \"match\": {\"value\": \"red\"}}", "color = \"red\""},
        {"{\"match\": {\"value\": 7}, \"key\": \"code\"}", "code = 7"},
        {"{\"must\": {\"key\": \"sold\", \"match\": {\"value\": true}}}", "sold"},
        {"{\"must\": [{\"key\": \"a\", \"match\": {\"any\": [2, 1]}}]}", "a in (1, 2)"},
        {"{\"key\": \"a\", \"match\": {\"any\": []}}", "false"},
        {"{\"key\": \"a\", \"match\": {\"except\": [2, \"x\"]}}", "a not in (2, \"x\")"},
        {"{\"key\": \"a\", \"match\": {\"prefix\": \"c*\"}}", "a ~ \"c\\\\**\""},
        {"{\"key\": \"p\", \"range\": {\"gt\": 1, \"gte\": null, \"lte\": 2.5}}", "1 < p <= 2.5"},
        {"{\"key\": \"p\", \"range\": {\"lt\": \"2026-01-01T00:00:00Z\"}}", "p < 2026-01-01T00:00:00Z"},
        {"{\"is_empty\": {\"key\": \"a\"}}", "a missing"},
        {"{\"is_null\": {\"key\": \"a\"}}", "a missing"},
        {"{\"has_id\": [1, \"x\", 18446744073709551614]}", "id in (1, 18446744073709551614, \"x\")"},
        {"{\"has_id\": []}", "false"},
        {"{\"key\": \"id\", \"match\": {\"value\": 1}}", "`id` = 1"},
        {"{\"key\": \"a.b\\u0063\", \"match\": {\"value\": \"\\u00e9\"}}", "a.bc = \"\xc3\xa9\""},
        {"{\"must\": [{\"has_id\": [1]}], \"should\": [{\"has_id\": [2]}, {\"has_id\": [3]}], \"must_not\": "
         "[{\"has_id\": "
         "[4]}, {\"has_id\": [5]}]}",
         "id = 1 and (id = 2 or id = 3) and id != 4 and id != 5"},
        {"{\"must_not\": [{\"should\": [{\"has_id\": [1]}, {\"must\": [{\"has_id\": [2]}]}]}]}",
         "not (id = 1 or id = 2)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ki_filter *filter = parse(cases[i][0]), *right = parse(cases[i][1]);
        assert_string_equal(filter->canonical, right->canonical);
        ki_filter_free(filter);
        ki_filter_free(right);
    }
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void expect_refused(const char *text, kith_status status, const char *why) {
    ki_filter *filter = NULL;
    memset(&error, 0, sizeof error);
    assert_int_equal(ki_filter_parse(text, strlen(text), &filter, &error), status);
    assert_null(filter);
    if (!strstr(error.text, why)) fail_msg("%s: %s", text, error.text);
}

static void test_refused_texts(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"color = ", "column 9: expected a value, and the filter ends there"},
        {"color = red", "column 9: expected a value (a text needs quotes), and there is red"},
        {"color = \n  \xc3\xa9 ^", "line 2, column 3: expected a value (a text needs quotes), and there is \xc3\xa9"},
        {"\xc3\xa9 = \"x\" ^", "line 1, column 9: no word of a filter begins with this character"},
        {"a = 1 b = 2", "column 7: expected `and`, `or` or the end, and there is b"},
        {"a = 1 and", "expected a condition, as color = \"red\", and the filter ends there"},
        {"(a = 1", "expected `and`, `or` or ), and the filter ends there"},
        {"a = 1)", "expected `and`, `or` or the end, and there is )"},
        {"and", "column 1: expected the name of a field, and there is and"},
        {".5 = x", "expected the name of a field"},
        {"`` exists", "a name of 1 to 255 bytes"},
        {"`a\nb` exists", "without control characters"},
        {"`abc", "column 1: this backquote"},
        {"a = \"abc", "column 5: this quote"},
        {"a = 'abc\\", "column 5: this quote"},
        {"a = '\\q'", "column 6: a backslash is followed by"},
        {"a = '\\ud800'", "column 6: a backslash is followed by"},
        {"a = 007", "column 5: this is no number"},
        {"a = 3abc", "column 5: this is no number"},
        {"a in (1, 2.x, 3)", "column 10: this is no number"},
        {"a = -", "column 5: this is no number"},
        {"a = 1e999", "column 5: this number is beyond"},
        {"a = 2026-02-30", "column 5: this is no time"},
        {"a < \"x\"", "column 5: expected a number or a time, and there is \"x\""},
        {"a < true", "expected a number or a time"},
        {"a between 1 or 2", "column 13: expected `and` with the other end"},
        {"a between 1 and 2026-01-01", "column 17: expected two numbers or two times"},
        {"1 < a < 2026-01-01", "column 9: expected two numbers or two times"},
        {"1 > a", "column 3: expected < or <= (with"},
        {"1 < a > 2", "column 7: expected < or <=, as before"},
        {"1 < 2", "column 5: expected the name of a field"},
        {"a in 1", "column 6: expected a list in brackets"},
        {"a in (1", "expected a comma or )"},
        {"a in (1,)", "column 9: expected a value, and there is )"},
        {"a not exists", "column 7: expected `in` or `between` behind `not`"},
        {"a ~ 3", "column 5: expected a text in quotes that ends in *"},
        {"a ~ 'x'", "column 5: expected a text with a * at its end"},
        {"a ~ 'x*y*'", "column 5: expected a text with a * at its end"},
        {"a ~ 'x\\\\*'", "column 5: expected a text with a * at its end"},
        {"id < 3", "column 4: expected =, != or `in` behind `id`"},
        {"id = 1.5", "column 6: expected an id: a whole number or a text"},
        {"id = -1", "column 6: expected an id: numbers of items go from 0"},
        {"id = 18446744073709551615", "column 6: expected an id: numbers of items go from 0"},
        {"id = true", "column 6: expected an id"},
        {"a = \xff", "column 5: this is no valid UTF-8"},
        {"a & b", "column 3: no word of a filter begins with this character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refused(cases[i][0], KITH_E_ARG, cases[i][1]);
}

static void test_refused_json(void **state) {
    (void)state;
    static const struct {
        const char *text;
        kith_status status;
        const char *why;
    } cases[] = {
        {"{", KITH_E_ARG, "column 2: expected a key in double quotes"},
        {"{} {}", KITH_E_ARG, "column 4: expected nothing more"},
        {"{\"must\": 7}", KITH_E_ARG, "column 10: expected an object"},
        {"{\"must\": [{}, 7]}", KITH_E_ARG, "column 15: expected an object"},
        {"{\n \"musk\": []}", KITH_E_ARG, "line 2, column 3: a condition has no \"musk\""},
        {"{\"key\": \"a\"}", KITH_E_ARG, "wants either \"match\" or \"range\""},
        {"{\"match\": {\"value\": 1}}", KITH_E_ARG, "wants either \"match\" or \"range\""},
        {"{\"key\": \"a\", \"match\": {\"value\": 1}, \"range\": {\"gt\": 1}}", KITH_E_ARG, "wants either"},
        {"{\"key\": 1, \"match\": {\"value\": 1}}", KITH_E_ARG, "column 9: expected a text in double quotes"},
        {"{\"key\": \"\", \"match\": {\"value\": 1}}", KITH_E_ARG, "a name of 1 to 255 bytes"},
        {"{\"key\": \"a\", \"match\": {}}", KITH_E_ARG, "\"match\" wants one of"},
        {"{\"key\": \"a\", \"match\": {\"value\": 1, \"any\": []}}", KITH_E_ARG, "\"match\" wants one of"},
        {"{\"key\": \"a\", \"match\": {\"value\": [1]}}", KITH_E_ARG, "column 33: expected a text, a number"},
        {"{\"key\": \"a\", \"match\": {\"any\": [null]}}", KITH_E_ARG, "found by \"is_empty\""},
        {"{\"key\": \"a\", \"match\": {\"any\": 1}}", KITH_E_ARG, "column 31: expected an array"},
        {"{\"key\": \"a\", \"range\": {}}", KITH_E_ARG, "\"range\" wants one of"},
        {"{\"key\": \"a\", \"range\": {\"gt\": 1, \"gte\": 2}}", KITH_E_ARG, "either \"gt\" or \"gte\""},
        {"{\"key\": \"a\", \"range\": {\"gt\": 1, \"lt\": \"2026-01-01\"}}", KITH_E_ARG, "two numbers or two times"},
        {"{\"key\": \"a\", \"range\": {\"gt\": \"x\"}}", KITH_E_ARG, "column 30: expected a number or a time"},
        {"{\"key\": \"a\", \"range\": {\"from\": 1}}", KITH_E_ARG, "\"range\" has no \"from\""},
        {"{\"is_empty\": {}}", KITH_E_ARG, "expected an object with a \"key\""},
        {"{\"is_empty\": \"a\"}", KITH_E_ARG, "column 14: expected an object"},
        {"{\"has_id\": 1}", KITH_E_ARG, "column 12: expected an array"},
        {"{\"has_id\": [-1]}", KITH_E_ARG, "column 13: expected an id"},
        {"{\"has_id\": [1.5]}", KITH_E_ARG, "column 13: expected an id"},
        {"{\"has_id\": [true]}", KITH_E_ARG, "column 13: expected an id"},
        {"{\"has_id\": [18446744073709551615]}", KITH_E_ARG, "column 13: expected an id"},
        {"{\"has_id\": [1], \"must\": []}", KITH_E_ARG, "several conditions at once"},
        {"{\"has_id\": [1], \"is_empty\": {\"key\": \"a\"}}", KITH_E_ARG, "several conditions at once"},
        {"{\"min_should\": {}}", KITH_E_UNSUPPORTED, "column 3: \"min_should\" is not offered"},
        {"{\"must\": [{\"key\": \"a\", \"geo_radius\": {}}]}", KITH_E_UNSUPPORTED, "\"geo_radius\" is not offered"},
        {"{\"key\": \"a\", \"values_count\": {\"gt\": 1}}", KITH_E_UNSUPPORTED, "\"values_count\" is not offered"},
        {"{\"nested\": {}}", KITH_E_UNSUPPORTED, "\"nested\" is not offered"},
        {"{\"key\": \"a\", \"match\": {\"text\": \"x\"}}", KITH_E_UNSUPPORTED, "\"text\" is not offered"},
        {"{\"key\": \"a[].b\", \"match\": {\"value\": 1}}", KITH_E_UNSUPPORTED, "paths through arrays"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i].text, cases[i].status, cases[i].why);
}

/* `count` times the text. */
static char *repeated(const char *text, size_t count, const char *middle, const char *end) {
    char *made = malloc(strlen(text) * count + strlen(middle) + strlen(end) * count + 1), *at = made;
    assert_non_null(made);
    for (size_t i = 0; i < count; i++) at = stpcpy(at, text);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < count; i++) at = stpcpy(at, end);
    return made;
}

static void expect_bound(const char *text, size_t most, const char *middle, const char *end, const char *why) {
    char *fits = repeated(text, most, middle, end), *beyond = repeated(text, most + 1, middle, end);
    ki_filter_free(parse(fits));
    expect_refused(beyond, KITH_E_LIMIT, why);
    free(fits);
    free(beyond);
}

static void test_bounds(void **state) {
    (void)state;
    expect_bound("(", KI_FILTER_DEPTH_MAX, "a = 1", ")", "column 65: more than 64 levels of brackets and `not`");
    expect_bound("not ", KI_FILTER_DEPTH_MAX, "a = 1", "", "more than 64 levels");
    expect_bound("a or b and (", 31, "c", ")", "nested more than 64 levels deep");
    char *deep = repeated("{\"must\": [", 40, "{}", "]}"), *large = repeated(" ", KI_FILTER_BYTES_MAX + 1, "", "");
    expect_refused(deep, KITH_E_ARG, "at most 64 levels of objects and arrays");
    expect_refused(large, KITH_E_LIMIT, "4194304 are the most");
    large[KI_FILTER_BYTES_MAX] = '\0';
    ki_filter_free(parse(large));
    free(deep);
    free(large);
    char *many = repeated("a and ", KI_FILTER_NODES_MAX, "a", "");
    expect_refused(many, KITH_E_LIMIT, "more than 65536 conditions");
    free(many);
    /* What a text becomes when it is spelled out must be a filter again. */
    char *controls = repeated("\n", 1000000, "", ""), *whole = malloc(1000100);
    sprintf(whole, "a = \"%s\"", controls);
    expect_refused(whole, KITH_E_LIMIT, "spelled out, is longer than 4194304 bytes");
    free(controls);
    free(whole);
}

/* A list of a million ids is one condition, and is found in by halves. */
static void test_many_ids(void **state) {
    (void)state;
    char *text = malloc(KI_FILTER_BYTES_MAX), *at = stpcpy(text, "id in (");
    assert_non_null(text);
    for (unsigned i = 500000; i > 0; i--) at += sprintf(at, "%u,", 2 * i);
    strcpy(at - 1, ")");
    ki_filter *filter = parse(text);
    assert_int_equal(filter->root->count, 500000);
    for (uint64_t id = 0; id < 1000; id++) {
        char string[24];
        sprintf(string, "%u", (unsigned)id);
        assert_int_equal(ki_filter_matches(filter, NULL, NULL, id, NULL, 0), id > 0 && id % 2 == 0);
        assert_int_equal(ki_filter_matches(filter, NULL, NULL, 0, string, strlen(string)), id > 0 && id % 2 == 0);
    }
    assert_int_equal(ki_filter_matches(filter, NULL, NULL, 4, "04", 2), 0);
    assert_int_equal(ki_filter_matches(filter, NULL, NULL, KITH_ID_NONE - 1, NULL, 0), 0);
    ki_filter_free(filter);
    free(text);
}

/* ---- Types ------------------------------------------------------------------------------------------------------- */

static const kith_field fields[] = {{"color", KITH_FIELD_TAG, 0}, {"tags", KITH_FIELD_TAGS, 0},
                                    {"n", KITH_FIELD_INT, 0},     {"price", KITH_FIELD_FLOAT, 0},
                                    {"sold", KITH_FIELD_BOOL, 0}, {"at", KITH_FIELD_TIME, 0}};
enum { FIELDS = sizeof fields / sizeof *fields };

static ki_schema *make_schema(void) {
    ki_schema *schema = NULL;
    assert_int_equal(ki_schema_create(fields, FIELDS, 1, &schema, &error), KITH_OK);
    return schema;
}

static void test_types_are_checked(void **state) {
    (void)state;
    ki_schema *schema = make_schema();
    static const char *const cases[][2] = {
        {"color = 1 and tags = true and color exists and tags ~ 'x*' and color ~ '*'", ""},
        {"n = 1 and n = 1.5 and n < 1.5 and price = 1 and price > 0.5", ""},
        {"sold and at > 2026-01-01 and at < 7 and at = 1.5 and at = '2026-01-01'", ""},
        {"n = 'red'", "the field \"n\" is an int, and \"red\" is text"},
        {"n in (1, 2, 'red')", "the field \"n\" is an int, and \"red\" is text"},
        {"not (sold or price != 'red')", "the field \"price\" is a float, and \"red\" is text"},
        {"price", "the field \"price\" is a float, and true is a truth value"},
        {"sold = 1", "the field \"sold\" is a bool, and 1 is a number"},
        {"sold = 'true'", "the field \"sold\" is a bool, and \"true\" is text"},
        {"at = 'soon'", "the field \"at\" is a time, and \"soon\" is text that is no time"},
        {"at = true", "the field \"at\" is a time, and true is a truth value"},
        {"n > 2026-01-01", "the field \"n\" is an int, and \"2026-01-01\" is text"},
        {"color > 3", "the field \"color\" is a tag, and only int, float and time have ranges"},
        {"1 < sold < 2", "the field \"sold\" is a bool, and only int, float and time have ranges"},
        {"n ~ 'x*'", "the field \"n\" is an int, and only tags have beginnings that ~ compares"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ki_filter *filter = parse(cases[i][0]);
        const char *undeclared = "untouched";
        memset(&error, 0, sizeof error);
        const kith_status status = ki_filter_check(filter, schema, &undeclared, &error);
        assert_int_equal(status, cases[i][1][0] ? KITH_E_ARG : KITH_OK);
        assert_string_equal(error.text, cases[i][1]);
        if (status == KITH_OK)
            assert_null(undeclared);
        else
            assert_string_equal(undeclared, "untouched");
        ki_filter_free(filter);
    }
    ki_filter *filter = parse("n = 1 and other = 'x' and id = 7");
    const char *undeclared = NULL;
    assert_int_equal(ki_filter_check(filter, schema, &undeclared, &error), KITH_OK);
    assert_string_equal(undeclared, "other");
    ki_filter_free(filter);
    ki_schema_destroy(schema);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

static const char row[] =
    "{\"color\": \"r\\u00e9d\", \"tags\": [\"new\", \"1\", 2.50], \"n\": 9007199254740993, \"price\": "
    "9007199254740992, "
    "\"sold\": false, \"at\": \"2026-01-01T12:00:00Z\", \"free\": [1, \"q\", true, \"2026-01-01T00:00:00Z\", [5], "
    "null], "
    "\"shop\": {\"city\": \"Bern\"}, \"nothing\": [null, null], \"big\": 18446744073709551615, \"empty\": [], "
    "\"object\": {}}";

static void test_rows(void **state) {
    (void)state;
    ki_schema *schema = make_schema();
    ki_values values = {0};
    assert_int_equal(ki_values_of(schema, row, sizeof row - 1, 1, &values, &error), KITH_OK);
    static const struct {
        const char *text;
        int right;
    } cases[] = {{"", 1},
                 {"false", 0},
                 {"color = 'r\xc3\xa9"
                  "d'",
                  1},
                 {"color in ('x', 'r\\u00e9d')", 1},
                 {"color = 'R\xc3\xa9"
                  "d'",
                  0},
                 {"color ~ 'r\xc3\xa9*'", 1},
                 {"color ~ 'r\xc3\xa9"
                  "da*'",
                  0},
                 {"tags = 1 and tags = '1' and tags = 2.5 and tags = '2.5'", 1},
                 {"tags has all ('new', 'old')", 0},
                 {"tags has any ('new', 'old')", 1},
                 {"tags != 'new'", 0},
                 {"n = 9007199254740993", 1},
                 {"n = 9007199254740992", 0},
                 {"n > 9007199254740992.0", 1},
                 {"n < 9.1e18 and n > -9.3e18", 1},
                 {"price = 9007199254740992", 1},
                 {"price = 9007199254740993", 0},
                 {"price < 9007199254740993", 1},
                 {"9007199254740991 < price < 9007199254740993", 1},
                 {"sold", 0},
                 {"not sold", 1},
                 {"sold exists", 1},
                 {"at = 2026-01-01T13:00:00+01:00", 1},
                 {"at = 1767268800000", 1},
                 {"2026-01-01 <= at < 2026-01-02", 1},
                 {"at < 2026-01-01T12:00", 0},
                 {"id = 7", 1},
                 {"id != 7", 0},
                 {"id = '7x'", 0},
                 /* Not declared. */
                 {"free = 1 and free = 'q' and free = true", 1},
                 {"free = '1'", 0},
                 {"free = 5", 0},
                 {"free = 2026-01-01", 1},
                 {"free >= 2026-01-01 and free < 2", 1},
                 {"shop.city = 'Bern' and shop exists", 1},
                 {"shop.city ~ 'B*'", 1},
                 {"shop = 'Bern'", 0},
                 {"nothing missing and empty missing and absent missing and object exists", 1},
                 {"absent = 1 or absent < 1 or absent ~ '*' or absent exists or absent", 0},
                 {"absent != 1 and not absent < 1 and not absent ~ '*' and absent missing and not absent", 1},
                 {"big = 18446744073709551615 and big > 9223372036854775807", 1},
                 {"big = 18446744073709551615.0", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ki_filter *filter = parse(cases[i].text);
        const char *undeclared;
        if (ki_filter_check(filter, schema, &undeclared, &error) != KITH_OK) fail_msg("%s", error.text);
        if (ki_filter_matches_payload(filter, schema, row, sizeof row - 1, 7, NULL, 0) != cases[i].right)
            fail_msg("by payload: %s", cases[i].text);
        if (!undeclared && ki_filter_matches(filter, schema, &values, 7, NULL, 0) != cases[i].right)
            fail_msg("by values: %s", cases[i].text);
        ki_filter_free(filter);
    }
    ki_values_free(&values);
    ki_schema_destroy(schema);
}

/* More members than are kept in one walk, with one that comes twice at the end. */
static void test_payloads_of_many_members(void **state) {
    (void)state;
    for (unsigned members = 60; members < 70; members++) {
        char payload[2048] = "{\"a\": {\"b\": 1}, \"twice\": 1", *at = payload + strlen(payload);
        for (unsigned i = 2; i < members; i++) at += sprintf(at, ", \"m%u\": %u", i, i);
        strcpy(at, ", \"twice\": 2}");
        static const char *const texts[] = {"a.b = 1 and twice = 2 and m59 = 59", "twice = 1", "m70 exists",
                                            "a.c exists"};
        for (size_t i = 0; i < 4; i++) {
            ki_filter *filter = parse(texts[i]);
            assert_int_equal(ki_filter_matches_payload(filter, NULL, payload, strlen(payload), 0, NULL, 0), i == 0);
            ki_filter_free(filter);
        }
    }
}

/* No payload has no field; what is no payload matches as if it had none, and never crashes. */
static void test_rows_without_payload(void **state) {
    (void)state;
    static const char *const payloads[] = {"", "{", "7", "{\"a\": 1", "{\"a\": tru}", "{\"a\": [1, }"};
    ki_filter *with = parse("a exists or a = 1"), *without = parse("a missing and a != 1");
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        const size_t bytes = strlen(payloads[i]);
        assert_int_equal(ki_filter_matches_payload(with, NULL, payloads[i], bytes, 0, NULL, 0), 0);
        assert_int_equal(ki_filter_matches_payload(without, NULL, payloads[i], bytes, 0, NULL, 0), 1);
    }
    ki_filter_free(with);
    ki_filter_free(without);
}

static void test_refused_memory(void **state) {
    (void)state;
    static const char *const texts[] = {
        "a in (1, 2, 3) or not (b = 'x' and c ~ 'y*') or 1 < d < 2 or `e``f` exists or id in (1, 'x')",
        "{\"must\": [{\"key\": \"a\", \"match\": {\"any\": [1, 2]}}, {\"key\": \"b\", \"range\": {\"gt\": 1}}], "
        "\"must_not\": [{\"is_empty\": {\"key\": \"c\"}}, {\"has_id\": [1, \"x\"]}]}"};
    for (size_t i = 0; i < 2; i++) {
        kith_status status = KITH_E_NOMEM;
        for (long number = 0; status != KITH_OK; number++) {
            ki_filter *filter = NULL;
            faulty_malloc_start(number, 0);
            status = ki_filter_parse(texts[i], strlen(texts[i]), &filter, &error);
            faulty_malloc_stop();
            assert_true(status == KITH_OK || (status == KITH_E_NOMEM && !filter));
            if (status != KITH_OK) assert_int_equal(faulty_live, 0); /* all was given back */
            ki_filter_free(filter);
            assert_true(number < 1000);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_refused_json),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_many_ids),
        cmocka_unit_test(test_types_are_checked),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_payloads_of_many_members),
        cmocka_unit_test(test_rows_without_payload),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
