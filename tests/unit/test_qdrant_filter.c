/* SPDX-License-Identifier: Apache-2.0
 *
 * Qdrant's filters become kith's; what cannot be said is refused by its name.
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../../server/qdrant/filter.h"

static const ks_qd_filter_rules of_texts = {.id_kind = KITH_ID_STRING, .depth_max = 8};
static const ks_qd_filter_rules of_numbers = {.id_kind = KITH_ID_U64, .depth_max = 8};

static kith_status translate(const char *filter, const ks_qd_filter_rules *rules, ks_text *to, kith_error *error) {
    json_t *tree = json_loads(filter, JSON_DECODE_ANY, NULL);
    assert_non_null(tree);
    const kith_status status = ks_qd_filter(tree, rules, to, error);
    json_decref(tree);
    return status;
}

static void becomes_of(const ks_qd_filter_rules *rules, const char *filter, const char *wanted) {
    ks_text text = {0};
    kith_error error = {0};
    assert_int_equal(translate(filter, rules, &text, &error), KITH_OK);
    ks_text_add(&text, "", 1);
    assert_string_equal(text.bytes, wanted);
    ks_text_free(&text);
}

static void becomes(const char *filter, const char *wanted) {
    becomes_of(&of_texts, filter, wanted);
}

static void refused(const char *filter, kith_status status, const char *named) {
    ks_text text = {0};
    kith_error error = {0};
    assert_int_equal(translate(filter, &of_numbers, &text, &error), status);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.text, named));
    ks_text_free(&text);
}

static void test_clauses(void **state) {
    (void)state;
    becomes("{}", "{}");
    becomes("{\"must\": null}", "{}");
    becomes("{\"must\": []}", "{\"must\":[]}");
    becomes("{\"must\": {\"key\": \"a\", \"match\": {\"value\": 1}}}",
            "{\"must\":[{\"key\":\"a\",\"match\":{\"value\":1}}]}");
    becomes("{\"should\": [{\"must\": []}], \"must_not\": [{\"has_id\": []}]}",
            "{\"should\":[{\"must\":[]}],\"must_not\":[{\"has_id\":[]}]}");
}

static void test_conditions(void **state) {
    (void)state;
    becomes("{\"must\": [{\"key\": \"a.b\", \"match\": {\"any\": [\"x\", \"y\"]}}]}",
            "{\"must\":[{\"key\":\"a.b\",\"match\":{\"any\":[\"x\",\"y\"]}}]}");
    becomes("{\"must\": [{\"key\": \"a\", \"match\": {\"prefix\": \"x\"}}]}",
            "{\"must\":[{\"key\":\"a\",\"match\":{\"prefix\":\"x\"}}]}");
    becomes("{\"must\": [{\"key\": \"a\", \"range\": {\"gte\": 3, \"lt\": null}, \"match\": null}]}",
            "{\"must\":[{\"key\":\"a\",\"range\":{\"gte\":3,\"lt\":null}}]}");
    becomes("{\"must\": [{\"is_empty\": {\"key\": \"a\"}}, {\"is_null\": {\"key\": \"b\"}}]}",
            "{\"must\":[{\"is_empty\":{\"key\":\"a\"}},{\"is_empty\":{\"key\":\"b\"}}]}");
    becomes("{\"must\": [{\"key\": \"a\", \"is_empty\": true}, {\"key\": \"a\", \"is_null\": false}]}",
            "{\"must\":[{\"is_empty\":{\"key\":\"a\"}},{\"must_not\":[{\"is_empty\":{\"key\":\"a\"}}]}]}");
}

/* An item without the field is not found by except, as in Qdrant. */
static void test_except_wants_the_field(void **state) {
    (void)state;
    becomes("{\"must\": [{\"key\": \"a\", \"match\": {\"except\": [\"x\"]}}]}",
            "{\"must\":[{\"must\":[{\"key\":\"a\",\"match\":{\"except\":[\"x\"]}},"
            "{\"must_not\":[{\"is_empty\":{\"key\":\"a\"}}]}]}]}");
}

static void test_keys(void **state) {
    (void)state;
    becomes("{\"must\": [{\"key\": \"a[]\", \"match\": {\"value\": true}}]}",
            "{\"must\":[{\"key\":\"a\",\"match\":{\"value\":true}}]}");
    becomes("{\"must\": [{\"key\": \"\\\"a b.c\\\"\", \"match\": {\"value\": true}}]}",
            "{\"must\":[{\"key\":\"a b.c\",\"match\":{\"value\":true}}]}");
    refused("{\"must\": [{\"key\": \"a[].b\", \"match\": {\"value\": 1}}]}", KITH_E_UNSUPPORTED, "a[].b");
    refused("{\"must\": [{\"key\": \"a[0]\", \"match\": {\"value\": 1}}]}", KITH_E_UNSUPPORTED, "a[0]");
    refused("{\"must\": [{\"key\": \"\\\"a\\\".b\", \"match\": {\"value\": 1}}]}", KITH_E_UNSUPPORTED, "quotes");
    refused("{\"must\": [{\"key\": \"\", \"match\": {\"value\": 1}}]}", KITH_E_ARG, "empty");
    refused("{\"must\": [{\"key\": 3, \"match\": {\"value\": 1}}]}", KITH_E_ARG, "text");
}

static void test_ids(void **state) {
    (void)state;
    static const char mixed[] = "{\"must\": [{\"has_id\": [7, \"0123ABCD456789abcdef0123456789ab\", \"x\"]}]}";
    becomes(mixed, "{\"must\":[{\"has_id\":[\"7\",\"0123abcd-4567-89ab-cdef-0123456789ab\",\"x\"]}]}");
    refused(mixed, KITH_E_ARG, "number 1");
    becomes_of(&of_numbers, "{\"must\": [{\"has_id\": [7, 8]}]}", "{\"must\":[{\"has_id\":[7,8]}]}");
    refused("{\"must\": [{\"has_id\": 7}]}", KITH_E_ARG, "array");
    refused("{\"must\": [{\"has_id\": [-7]}]}", KITH_E_ARG, "number 0");
}

#define A "{\"key\":\"a\",\"match\":{\"value\":1}}"
#define B "{\"key\":\"b\",\"match\":{\"value\":1}}"
#define C "{\"key\":\"c\",\"match\":{\"value\":1}}"

static void test_min_should_is_spelled_out(void **state) {
    (void)state;
    becomes("{\"min_should\": {\"conditions\": [" A ", " B ", " C "], \"min_count\": 2}}",
            "{\"must\":[{},{\"should\":[{\"must\":[" A "," B "]},{\"must\":[" A "," C "]},{\"must\":[" B "," C
            "]}]}]}");
    becomes("{\"min_should\": {\"conditions\": [" A ", " B "], \"min_count\": 2}}",
            "{\"must\":[{},{\"should\":[{\"must\":[" A "," B "]}]}]}");
    becomes("{\"min_should\": {\"conditions\": [" A ", " B "], \"min_count\": 0}}", "{\"must\":[{},{\"should\":[]}]}");
    /* More than there are: never. */
    becomes("{\"must\": [" A "], \"min_should\": {\"conditions\": [" B "], \"min_count\": 2}}",
            "{\"must\":[{\"must\":[" A "]},{\"must_not\":[{}]}]}");
    refused("{\"min_should\": {\"conditions\": []}}", KITH_E_ARG, "min_count");
    refused("{\"min_should\": {\"conditions\": [], \"min_count\": -1}}", KITH_E_ARG, "min_count");
}

static void test_min_should_with_too_many_choices(void **state) {
    char filter[2048];
    size_t at = (size_t)snprintf(filter, sizeof filter, "{\"min_should\": {\"conditions\": [");
    (void)state;
    for (int i = 0; i < 20; i++) at += (size_t)snprintf(filter + at, sizeof filter - at, "%s%s", i ? "," : "", A);
    snprintf(filter + at, sizeof filter - at, "], \"min_count\": 10}}");
    refused(filter, KITH_E_UNSUPPORTED, "min_should");
    ks_text text = {0};
    kith_error error = {0};
    snprintf(filter + at, sizeof filter - at, "], \"min_count\": 19}}");
    assert_int_equal(translate(filter, &of_texts, &text, &error), KITH_OK);
    ks_text_free(&text);
}

/* Choices within choices multiply: 252 of 252 of 252 ones would be gigabytes. */
static void test_choices_within_choices_are_bounded(void **state) {
    char filter[16384], inner[16384] = A;
    ks_text text = {0};
    kith_error error = {0};
    (void)state;
    for (int level = 0; level < 3; level++) {
        size_t at = (size_t)snprintf(filter, sizeof filter, "{\"min_should\":{\"conditions\":[%s", inner);
        for (int i = 0; i < 9; i++) at += (size_t)snprintf(filter + at, sizeof filter - at, ",%s", level ? B : inner);
        snprintf(filter + at, sizeof filter - at, "],\"min_count\":5}}");
        memcpy(inner, filter, sizeof inner);
    }
    assert_int_equal(translate(inner, &of_texts, &text, &error), KITH_E_LIMIT);
    assert_true(text.used < 8 << 20);
    ks_text_free(&text);
}

static void test_what_is_not_offered_is_named(void **state) {
    static const struct {
        const char *condition, *named;
    } cases[] = {
        {"{\"key\": \"a\", \"match\": {\"text\": \"x\"}}", "text"},
        {"{\"key\": \"a\", \"match\": {\"phrase\": \"x\"}}", "phrase"},
        {"{\"key\": \"a\", \"match\": {\"substring\": \"x\"}}", "substring"},
        {"{\"key\": \"a\", \"geo_radius\": {}}", "geo_radius"},
        {"{\"key\": \"a\", \"values_count\": {\"gt\": 1}}", "values_count"},
        {"{\"nested\": {\"key\": \"a\", \"filter\": {}}}", "nested"},
        {"{\"has_vector\": \"a\"}", "has_vector"},
        {"{\"slice\": {}}", "slice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char filter[256];
        snprintf(filter, sizeof filter, "{\"should\": [{\"must_not\": %s}]}", cases[i].condition);
        refused(filter, KITH_E_UNSUPPORTED, cases[i].named);
    }
}

static void test_what_is_no_filter(void **state) {
    (void)state;
    refused("[]", KITH_E_ARG, "object");
    refused("\"a = 1\"", KITH_E_ARG, "object");
    refused("{\"must\": [1]}", KITH_E_ARG, "object");
    refused("{\"must\": \"x\"}", KITH_E_ARG, "object");
    refused("{\"must\": [{\"key\": \"a\"}]}", KITH_E_ARG, "match");
    refused("{\"must\": [{\"key\": \"a\", \"match\": {}}]}", KITH_E_ARG, "match");
    refused("{\"must\": [{\"key\": \"a\", \"match\": 3}]}", KITH_E_ARG, "match");
    refused("{\"must\": [{\"key\": \"a\", \"match\": {\"value\": 1}, \"range\": {\"gt\": 1}}]}", KITH_E_ARG, "one of");
    refused("{\"must\": [{\"key\": \"a\", \"is_empty\": 1}]}", KITH_E_ARG, "true or false");
    refused("{\"must\": [{\"is_empty\": {}}]}", KITH_E_ARG, "key");
    refused("{\"mst\": []}", KITH_E_UNSUPPORTED, "mst");
}

static void nest(char *filter, size_t room, int levels, const char *open, const char *close) {
    size_t at = 0;
    for (int i = 0; i < levels; i++) at += (size_t)snprintf(filter + at, room - at, "%s", open);
    at += (size_t)snprintf(filter + at, room - at, "%s", A);
    for (int i = 0; i < levels; i++) at += (size_t)snprintf(filter + at, room - at, "%s", close);
}

static void test_depth_is_bounded(void **state) {
    char filter[8192];
    ks_text text = {0};
    kith_error error = {0};
    const ks_qd_filter_rules deep = {.id_kind = KITH_ID_STRING, .depth_max = 1000};
    (void)state;
    nest(filter, sizeof filter, 8, "{\"must\":[", "]}");
    assert_int_equal(translate(filter, &of_texts, &text, &error), KITH_OK);
    nest(filter, sizeof filter, 9, "{\"must\":[", "]}");
    refused(filter, KITH_E_LIMIT, "deeper");
    /* The writer's own bound is not passed either, whatever the limit. */
    nest(filter, sizeof filter, 60, "{\"min_should\":{\"conditions\":[", "],\"min_count\":1}}");
    assert_int_equal(translate(filter, &deep, &text, &error), KITH_E_LIMIT);
    ks_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clauses),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_except_wants_the_field),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_min_should_is_spelled_out),
        cmocka_unit_test(test_min_should_with_too_many_choices),
        cmocka_unit_test(test_choices_within_choices_are_bounded),
        cmocka_unit_test(test_what_is_not_offered_is_named),
        cmocka_unit_test(test_what_is_no_filter),
        cmocka_unit_test(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
