/* SPDX-License-Identifier: Apache-2.0
 *
 * Declared fields and the values of payloads: names and types, numbers and times, wrong types, malformed payloads, and
 * memory that is refused. Filters over them are tests/unit/test_filter_text.c's and tests/property/test_filters.c's.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "filter/doc.h"
#include "filter/number.h"
#include "filter/schema.h"
#include "filter/time.h"
#include "support/faulty_malloc.h"

static kith_error error;

static const kith_field fields[] = {{"color", KITH_FIELD_TAG, 0}, {"tags", KITH_FIELD_TAGS, 0},
                                    {"n", KITH_FIELD_INT, 0},     {"price", KITH_FIELD_FLOAT, 0},
                                    {"sold", KITH_FIELD_BOOL, 0}, {"at", KITH_FIELD_TIME, 0},
                                    {"a.b", KITH_FIELD_INT, 0},   {"a.b.c", KITH_FIELD_TAG, 0}};
enum { COLOR, TAGS, N, PRICE, SOLD, AT, AB, ABC, FIELDS };

static ki_schema *make_schema(void) {
    ki_schema *schema = NULL;
    assert_int_equal(ki_schema_create(fields, FIELDS, 5, &schema, &error), KITH_OK);
    return schema;
}

/* ---- Schemas ----------------------------------------------------------------------------------------------------- */

static void test_type_names(void **state) {
    (void)state;
    static const char *const names[] = {"tag", "tags", "int", "float", "bool", "time"};
    for (int i = 0; i < 6; i++) {
        kith_field_type type = 0;
        assert_string_equal(kith_field_type_name((kith_field_type)(i + 1)), names[i]);
        assert_int_equal(kith_field_type_parse(names[i], &type), 1);
        assert_int_equal(type, i + 1);
    }
    kith_field_type type = KITH_FIELD_BOOL;
    assert_string_equal(kith_field_type_name(0), "?");
    assert_string_equal(kith_field_type_name(7), "?");
    assert_int_equal(kith_field_type_parse("string", &type), 0);
    assert_int_equal(kith_field_type_parse("", &type), 0);
    assert_int_equal(kith_field_type_parse(NULL, &type), 0);
    assert_int_equal(type, KITH_FIELD_BOOL);
}

static void expect_refused(const char *name, kith_field_type type, int reserved, const char *why) {
    const kith_field both[] = {{"good", KITH_FIELD_INT, 0}, {name, type, reserved}};
    ki_schema *schema = NULL;
    assert_int_equal(ki_schema_create(both, 2, 0, &schema, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, why));
    assert_null(schema);
}

static void test_schemas_that_cannot_be(void **state) {
    (void)state;
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = '\0';
    expect_refused(NULL, KITH_FIELD_INT, 0, "1 to 255 bytes");
    expect_refused("", KITH_FIELD_INT, 0, "1 to 255 bytes");
    expect_refused(longest, KITH_FIELD_INT, 0, "1 to 255 bytes");
    expect_refused("a\nb", KITH_FIELD_INT, 0, "control");
    expect_refused("\xff", KITH_FIELD_INT, 0, "UTF-8");
    expect_refused("x", 0, 0, "\"x\" has the type 0");
    expect_refused("x", 9, 0, "\"x\" has the type 9");
    expect_refused("x", KITH_FIELD_INT, 1, "reserved");
    expect_refused("good", KITH_FIELD_INT, 0, "\"good\" is declared twice");
    longest[255] = '\0';
    const kith_field fits = {longest, KITH_FIELD_INT, 0};
    ki_schema *schema = NULL;
    assert_int_equal(ki_schema_create(&fits, 1, 0, &schema, &error), KITH_OK);
    assert_non_null(ki_schema_find(schema, longest, 255));
    ki_schema_destroy(schema);
    assert_int_equal(ki_schema_create(&fits, KITH_FIELDS_MAX + 1, 0, &schema, &error), KITH_E_LIMIT);
    assert_int_equal(ki_schema_create(NULL, 1, 0, &schema, &error), KITH_E_ARG);
}

static void test_many_fields_are_found(void **state) {
    (void)state;
    static char names[KITH_FIELDS_MAX][16];
    static kith_field many[KITH_FIELDS_MAX];
    for (unsigned i = 0; i < KITH_FIELDS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "field%u", i);
        many[i] = (kith_field){names[i], KITH_FIELD_INT, 0};
    }
    ki_schema *schema = NULL, *more = NULL;
    assert_int_equal(ki_schema_create(many, KITH_FIELDS_MAX, 7, &schema, &error), KITH_OK);
    for (unsigned i = 0; i < KITH_FIELDS_MAX; i++) {
        const ki_field *field = ki_schema_find(schema, names[i], strlen(names[i]));
        assert_ptr_equal(field, &schema->fields[i]);
        assert_int_equal(field->id, 7 + i);
    }
    assert_null(ki_schema_find(schema, "field", 5));
    assert_null(ki_schema_find(schema, "field1024", 9));
    assert_null(ki_schema_find(NULL, "field1", 6));
    const kith_field another = {"another", KITH_FIELD_INT, 0};
    assert_int_equal(ki_schema_add(schema, &another, 9999, &more, &error), KITH_E_LIMIT);
    assert_null(more);
    ki_schema_destroy(schema);
}

static void test_a_field_is_added(void **state) {
    (void)state;
    ki_schema *old = NULL, *with = NULL, *same = NULL, *none = NULL;
    const kith_field added = {"x", KITH_FIELD_TIME, 0}, other = {"x", KITH_FIELD_INT, 0}, bad = {"", KITH_FIELD_INT, 0};
    assert_int_equal(ki_schema_create(NULL, 0, 1, &old, &error), KITH_OK);
    assert_null(ki_schema_find(old, "x", 1));
    assert_int_equal(ki_schema_add(old, &added, 42, &with, &error), KITH_OK);
    assert_int_equal(with->count, 1);
    assert_int_equal(ki_schema_find(with, "x", 1)->id, 42);
    assert_int_equal(ki_schema_add(with, &added, 43, &same, &error), KITH_OK);
    assert_int_equal(same->count, 1);
    assert_int_equal(ki_schema_find(same, "x", 1)->id, 42);
    assert_int_equal(ki_schema_add(with, &other, 43, &none, &error), KITH_E_ARG);
    assert_string_equal(error.text, "the field \"x\" is declared as time already, so it cannot become int");
    assert_int_equal(ki_schema_add(with, &bad, 43, &none, &error), KITH_E_ARG);
    assert_null(none);
    ki_schema_destroy(old);
    ki_schema_destroy(with);
    ki_schema_destroy(same);
    ki_schema_destroy(NULL);
}

/* ---- Numbers and times ------------------------------------------------------------------------------------------- */

static void expect_number(const char *text, int whole, int64_t i, double f, const char *printed) {
    ki_decimal number;
    char again[KI_DECIMAL_TEXT];
    assert_ptr_equal(ki_decimal_scan(text, text + strlen(text)), text + strlen(text));
    assert_true(ki_decimal_parse(text, strlen(text), &number));
    assert_int_equal(number.whole, whole);
    if (whole) assert_true(number.i == i);
    assert_true(number.f == f);
    assert_int_equal(number.large, !printed);
    if (!printed) return;
    assert_int_equal(ki_decimal_print(&number, again), strlen(printed));
    assert_memory_equal(again, printed, strlen(printed));
}

static void test_numbers(void **state) {
    (void)state;
    expect_number("0", 1, 0, 0, "0");
    expect_number("-0", 1, 0, 0, "0");
    expect_number("-0.0e5", 1, 0, 0, "0");
    expect_number("3.0", 1, 3, 3, "3");
    expect_number("30e-1", 1, 3, 3, "3");
    expect_number("1e18", 1, INT64_C(1000000000000000000), 1e18, "1000000000000000000");
    expect_number("9223372036854775807", 1, INT64_MAX, 0x1p63, "9223372036854775807");
    expect_number("-9223372036854775808", 1, INT64_MIN, -0x1p63, "-9223372036854775808");
    expect_number("9007199254740993", 1, INT64_C(9007199254740993), 0x1p53, "9007199254740993");
    expect_number("9007199254740993.000000000", 1, INT64_C(9007199254740993), 0x1p53, "9007199254740993");
    expect_number("9223372036854775808", 0, 0, 0x1p63, NULL);
    expect_number("-9223372036854775809", 0, 0, -0x1p63, NULL);
    expect_number("18446744073709551615", 0, 0, 0x1p64, NULL);
    expect_number("9223372036854775808.0", 0, 0, 0x1p63, "9.223372036854776e+18");
    expect_number("0.1", 0, 0, 0.1, "0.1");
    expect_number("1.50", 0, 0, 1.5, "1.5");
    expect_number("-2.5e-7", 0, 0, -2.5e-7, "-2.5e-07");
    expect_number("1e22", 0, 0, 1e22, "1e+22");
    expect_number("0.30000000000000004", 0, 0, 0.1 + 0.2, "0.30000000000000004");
    expect_number("1.7976931348623157e308", 0, 0, 0x1.fffffffffffffp1023, "1.7976931348623157e+308");
    expect_number("4.9e-324", 0, 0, 0x1p-1074, "4.94065645841247e-324");
    expect_number("1e-100000", 1, 0, 0, "0"); /* the nearest double is whole */
    /* Half way between two doubles, decided by a digit far behind. */
    expect_number("9007199254740993.00000000000000000000000000000000000000001", 1, INT64_C(9007199254740994),
                  0x1.0000000000001p53, "9007199254740994");
}

static void test_texts_that_are_no_numbers(void **state) {
    (void)state;
    static const char *const bad[] = {"", "-", "+1", ".5", "01", "1.", "1e", "1e+", "x", "NaN", "Infinity"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_null(ki_decimal_scan(bad[i], bad[i] + strlen(bad[i])));
    ki_decimal number;
    assert_false(ki_decimal_parse("1e309", 5, &number));
    assert_false(ki_decimal_parse("-1e99999999999999999999", 23, &number));
}

static void test_whole_numbers_beside_doubles(void **state) {
    (void)state;
    assert_true(ki_compare_int_float(0, -0.0) == 0);
    assert_true(ki_compare_int_float(3, 3.5) < 0);
    assert_true(ki_compare_int_float(-3, -3.5) > 0);
    assert_true(ki_compare_int_float((INT64_C(1) << 53) + 1, 0x1p53) > 0);
    assert_true(ki_compare_int_float(INT64_MAX, 0x1p63) < 0);
    assert_true(ki_compare_int_float(INT64_MAX, 1e300) < 0);
    assert_true(ki_compare_int_float(INT64_MIN, -0x1p63) == 0);
    assert_true(ki_compare_int_float(INT64_MIN, -1e300) > 0);
    assert_true(ki_compare_int_float(INT64_MIN, -0x1.0000000000001p63) > 0);
}

static void expect_time(const char *text, int64_t right) {
    int64_t ms = 1;
    if (!ki_time_parse(text, strlen(text), &ms)) fail_msg("%s is no time", text);
    if (ms != right) fail_msg("%s is %lld", text, (long long)ms);
}

static void test_times(void **state) {
    (void)state;
    expect_time("1970-01-01", 0);
    expect_time("1970-01-01T00:00", 0);
    expect_time("1970-01-01t00:00:00z", 0);
    expect_time("1970-01-01 00:00:00.0019", 1);
    expect_time("1969-12-31T23:59:59.999Z", -1);
    expect_time("2000-02-29T12:00:00Z", INT64_C(951825600000));
    expect_time("2026-01-01T01:30:00+01:30", INT64_C(1767225600000));
    expect_time("2025-12-31T19:00:00-05:00", INT64_C(1767225600000));
    expect_time("2016-12-31T23:59:60Z", INT64_C(1483228800000));
    expect_time("0000-01-01", INT64_C(-62167219200000));
    expect_time("0000-03-01", INT64_C(-62162035200000));
    expect_time("9999-12-31T23:59:59.999Z", INT64_C(253402300799999));
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-1-1",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2025-02-29",
                                      "1900-02-29",
                                      "2026-04-31",
                                      "2026-01-01T",
                                      "2026-01-01T24:00",
                                      "26-01-01",
                                      "2026-01-01Z",
                                      "2026-01-01x",
                                      "2026-01-01T12:60",
                                      "2026-01-01T12:00:61",
                                      "2026-01-01T12:00:00.",
                                      "2026-01-01T12:00:00+1",
                                      "2026-01-01T12:00+24:00"};
    int64_t ms;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(ki_time_parse(bad[i], strlen(bad[i]), &ms));
}

/* Where the point is a comma, numbers are what they are. */
static void test_numbers_in_another_locale(void **state) {
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) skip();
    expect_number("0.30000000000000004", 0, 0, 0.1 + 0.2, "0.30000000000000004");
    expect_number("1.50", 0, 0, 1.5, "1.5");
    setlocale(LC_ALL, "C");
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static void take(const ki_schema *schema, const char *payload, ki_values *values) {
    if (ki_values_of(schema, payload, strlen(payload), 1, values, &error) != KITH_OK) fail_msg("%s", error.text);
}

/* Strings joined by |. */
static void expect_words(const ki_values *values, size_t field, const char *right) {
    char joined[256] = "";
    const ki_value *value = &values->value[field];
    for (uint32_t i = value->as.at; i < value->as.at + value->count; i++) {
        strncat(joined, values->string[i], values->string_bytes[i]);
        strcat(joined, "|");
    }
    assert_string_equal(joined, right);
}

static void test_values(void **state) {
    (void)state;
    ki_schema *schema = make_schema();
    ki_values values = {0};
    take(schema,
         " {\"color\": \"r\\u00e9d\\ud83d\\ude00\", \"tags\": [\"b\", \"a\", \"b\", 3.0, true, \"\"], \"n\": 3e0,"
         "\"price\": 7, \"sold\": true, \"at\": \"1970-01-01T00:00:01Z\", \"a\": {\"x\": 1, \"b\": -4}, \"z\": [{}]}\n",
         &values);
    assert_int_equal(values.count, FIELDS);
    expect_words(&values, COLOR,
                 "r\xc3\xa9"
                 "d\xf0\x9f\x98\x80|");
    expect_words(&values, TAGS, "|3|a|b|true|");
    assert_int_equal(values.value[N].as.i, 3);
    assert_true(values.value[PRICE].count == 1 && values.value[PRICE].as.f == 7);
    assert_true(values.value[SOLD].count == 1 && values.value[SOLD].as.i == 1);
    assert_int_equal(values.value[AT].as.i, 1000);
    assert_int_equal(values.value[AB].as.i, -4);
    assert_int_equal(values.value[ABC].count, 0);
    take(schema, "{\"tags\": \"one\", \"color\": 18446744073709551615, \"at\": -5, \"sold\": false, \"n\": null}",
         &values);
    expect_words(&values, TAGS, "one|");
    expect_words(&values, COLOR, "18446744073709551615|");
    assert_int_equal(values.value[AT].as.i, -5);
    assert_true(values.value[SOLD].count == 1 && values.value[SOLD].as.i == 0);
    assert_int_equal(values.value[N].count, 0);
    assert_int_equal(values.value[PRICE].count, 0);
    assert_int_equal(ki_values_of(schema, NULL, 0, 1, &values, &error), KITH_OK);
    for (size_t i = 0; i < FIELDS; i++) assert_int_equal(values.value[i].count, 0);
    take(schema, "{\"tags\": []}", &values);
    assert_int_equal(values.value[TAGS].count, 0);
    assert_int_equal(ki_values_of(NULL, "{\"x\": 1}", 8, 1, &values, &error), KITH_OK);
    assert_int_equal(values.count, 0);
    ki_values_free(&values);
    ki_values_free(&values);
    ki_schema_destroy(schema);
}

/* Of equal keys the last counts, and a key with dots is nearer than a path; both on all levels. */
static void test_which_value_counts(void **state) {
    (void)state;
    ki_schema *schema = make_schema();
    ki_values values = {0};
    static const struct {
        const char *payload;
        int64_t ab; /* -1: absent */
        const char *abc;
    } cases[] = {{"{\"a\": {\"b\": 1}, \"a\": {\"b\": 2}}", 2, ""},
                 {"{\"a\": {\"b\": 1}, \"a\": 2}", -1, ""},
                 {"{\"a\": {\"b\": 1, \"b\": null}}", -1, ""},
                 {"{\"a.b\": 3, \"a\": {\"b\": 1}}", 3, ""},
                 {"{\"a\": {\"b\": 1}, \"a.b\": 3}", 3, ""},
                 {"{\"a\": {\"b\": 1}, \"a.b\": null}", -1, ""},
                 {"{\"a\": {\"b\": {\"c\": \"x\"}}}", -1, "x|"},
                 {"{\"a\": {\"b\": {\"c\": \"x\"}, \"b\": 5}}", 5, ""},
                 {"{\"a\": {\"b\": {\"c\": \"x\"}}, \"a.b.c\": \"y\"}", -1, "y|"},
                 {"{\"a\": {\"b.c\": \"x\"}}", -1, ""},
                 {"{\"a.b\": {\"c\": \"x\"}}", -1, ""},
                 {"{\"a\": [{\"b\": 1}]}", -1, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ki_values_of(schema, cases[i].payload, strlen(cases[i].payload), 0, &values, &error), KITH_OK);
        assert_int_equal(values.value[AB].count ? values.value[AB].as.i : -1, cases[i].ab);
        expect_words(&values, ABC, cases[i].abc);
    }
    ki_values_free(&values);
    ki_schema_destroy(schema);
}

static void test_wrong_types(void **state) {
    (void)state;
    ki_schema *schema = make_schema();
    ki_values values = {0};
    static const char *const bad[][2] = {
        {"{\"n\": 1.5}", "the field \"n\" is declared as int, and the payload has 1.5"},
        {"{\"n\": 9223372036854775808}", "declared as int, and the payload has 9223372036854775808"},
        {"{\"n\": \"3\"}", "declared as int, and the payload has \"3\""},
        {"{\"n\": true}", "declared as int, and the payload has true"},
        {"{\"price\": \"1\"}", "declared as float"},
        {"{\"sold\": 1}", "declared as bool"},
        {"{\"at\": \"2026-02-30\"}", "declared as time, and the payload has \"2026-02-30\""},
        {"{\"at\": 1.5}", "declared as time"},
        {"{\"color\": [\"red\"]}", "declared as tag, and the payload has [\"red\"]"},
        {"{\"tags\": {}}", "declared as tags"},
        {"{\"tags\": [\"a\", null]}", "declared as tags"},
        {"{\"tags\": [\"a\", [\"b\"]]}", "declared as tags"},
        {"{\"n\": "
         "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
         "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"}",
         "\xc3\xa9..."},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ki_values_of(schema, bad[i][0], strlen(bad[i][0]), 1, &values, &error), KITH_E_DATA);
        if (!strstr(error.text, bad[i][1])) fail_msg("%s", error.text);
        assert_int_equal(ki_values_of(schema, bad[i][0], strlen(bad[i][0]), 0, &values, &error), KITH_OK);
        for (size_t j = 0; j < FIELDS; j++) assert_int_equal(values.value[j].count, 0);
    }
    ki_values_free(&values);
    ki_schema_destroy(schema);
}

static void test_malformed_payloads(void **state) {
    (void)state;
    ki_schema *schema = make_schema();
    ki_values values = {0};
    static const struct {
        const char *payload;
        size_t byte;
        const char *expected;
    } bad[] = {{" ", 2, "an object"},
               {"[1]", 1, "an object"},
               {"7", 1, "an object"},
               {"{", 2, "a key"},
               {"{\"n\"}", 5, "a colon"},
               {"{\"n\": }", 7, "a value"},
               {"{\"n\": 1", 8, "a comma or }"},
               {"{\"n\": 1,}", 9, "a key"},
               {"{\"n\": 1} x", 10, "nothing more"},
               {"{\"n\": 01}", 7, "a number"},
               {"{\"n\": 1x}", 7, "a number"},
               {"{\"n\": 1e999}", 7, "the range of doubles"},
               {"{\"n\": NaN}", 7, "a value"},
               {"{\"n\": nulll}", 7, "a value"},
               {"{\"n\": tru}", 7, "true or false"},
               {"{n: 1}", 2, "a key"},
               {"{\"x\": [1,]}", 10, "a value"},
               {"{\"x\": [1 2]}", 10, "a comma or ]"},
               {"{\"x\": [1}", 9, "a comma or ]"},
               {"{\"x\": \"a", 9, "the quote"},
               {"{\"x\": \"a\nb\"}", 9, "control character"},
               {"{\"x\": \"\\x\"}", 8, "an escape"},
               {"{\"x\": \"\\u12g4\"}", 8, "an escape"},
               {"{\"x\": \"\\ud800\"}", 8, "an escape"},
               {"{\"x\": \"\\udc00\\ud800\"}", 8, "an escape"},
               {"{\"x\": \"\\ud800\\u0041\"}", 8, "an escape"},
               {"{\"x\": \"\xff\"}", 8, "valid UTF-8"},
               {"{\"x\": \"\xc0\x80\"}", 8, "valid UTF-8"},
               {"{\"x\": \"\xed\xa0\x80\"}", 8, "valid UTF-8"},
               {"{\"x\": \"12345678\xc3\"}", 16, "valid UTF-8"},
               {"{\"x\": \"1234567\n\"}", 15, "control character"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char start[64];
        snprintf(start, sizeof start, "no JSON object: byte %zu: expected", bad[i].byte);
        assert_int_equal(ki_values_of(schema, bad[i].payload, strlen(bad[i].payload), 0, &values, &error), KITH_E_DATA);
        if (!strstr(error.text, start) || !strstr(error.text, bad[i].expected))
            fail_msg("%s: %s", bad[i].payload, error.text);
    }
    ki_values_free(&values);
    ki_schema_destroy(schema);
}

static void test_depth_is_bounded(void **state) {
    (void)state;
    ki_values values = {0};
    for (size_t levels = KI_DOC_DEPTH - 1; levels <= KI_DOC_DEPTH + 1; levels++)
        for (int objects = 0; objects < 2; objects++) {
            char payload[1024] = "{\"a\": ";
            for (size_t i = 1; i < levels; i++) strcat(payload, objects ? "{\"a\":" : "[");
            strcat(payload, "1");
            for (size_t i = 1; i < levels; i++) strcat(payload, objects ? "}" : "]");
            strcat(payload, "}");
            /* With a path through objects too, which is walked by recursion. */
            const kith_field path = {"a.a.a.a", KITH_FIELD_INT, 0};
            ki_schema *schema = NULL;
            assert_int_equal(ki_schema_create(&path, 1, 0, &schema, &error), KITH_OK);
            const kith_status status = ki_values_of(schema, payload, strlen(payload), 0, &values, &error);
            assert_int_equal(status, levels <= KI_DOC_DEPTH ? KITH_OK : KITH_E_DATA);
            if (status != KITH_OK) assert_non_null(strstr(error.text, "at most 64 levels"));
            ki_schema_destroy(schema);
        }
    ki_values_free(&values);
}

/* Whatever is refused, it is said, nothing is lost, and the same values serve the next payload. */
static void test_refused_memory(void **state) {
    (void)state;
    static const char payload[] = "{\"color\": \"red\", \"tags\": [\"b\", \"a\"], \"n\": 1, \"a\": {\"b\": 2}}";
    int done = 0;
    for (long number = 0; !done; number++) {
        ki_schema *schema = NULL, *more = NULL;
        ki_values values = {0};
        const kith_field another = {"another", KITH_FIELD_INT, 0};
        faulty_malloc_start(number, 0);
        kith_status status = ki_schema_create(fields, FIELDS, 0, &schema, &error);
        if (status == KITH_OK) status = ki_schema_add(schema, &another, 20, &more, &error);
        if (status == KITH_OK) status = ki_values_of(more, payload, sizeof payload - 1, 1, &values, &error);
        faulty_malloc_stop();
        done = status == KITH_OK;
        if (!done) assert_int_equal(status, KITH_E_NOMEM);
        if (more) take(more, payload, &values);
        if (more) expect_words(&values, TAGS, "a|b|");
        ki_values_free(&values);
        ki_schema_destroy(more);
        ki_schema_destroy(schema);
        assert_true(number < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_type_names),
                                       cmocka_unit_test(test_schemas_that_cannot_be),
                                       cmocka_unit_test(test_many_fields_are_found),
                                       cmocka_unit_test(test_a_field_is_added),
                                       cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_texts_that_are_no_numbers),
                                       cmocka_unit_test(test_whole_numbers_beside_doubles),
                                       cmocka_unit_test(test_times),
                                       cmocka_unit_test(test_numbers_in_another_locale),
                                       cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_which_value_counts),
                                       cmocka_unit_test(test_wrong_types),
                                       cmocka_unit_test(test_malformed_payloads),
                                       cmocka_unit_test(test_depth_is_bounded),
                                       cmocka_unit_test(test_refused_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
