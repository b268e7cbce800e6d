/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids of points as Qdrant's clients write them, and back.
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../server/qdrant/id.h"

static const char uuid[] = "0123abcd-4567-89ab-cdef-0123456789ab";

/* The text that an id of a body becomes, and whether it is a number. */
static int expect_text(const char *json, const char *text) {
    ks_qd_id id;
    const char *why = NULL;
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_int_equal(ks_qd_id_of(value, &id, &why), 0);
    assert_int_equal(id.bytes, strlen(text));
    assert_memory_equal(id.text, text, id.bytes);
    json_decref(value);
    return id.is_number;
}

static void test_integers_are_their_digits(void **state) {
    (void)state;
    assert_true(expect_text("0", "0"));
    assert_true(expect_text("42", "42"));
    assert_true(expect_text("9223372036854775807", "9223372036854775807"));
}

static void test_all_forms_of_a_uuid_are_one(void **state) {
    (void)state;
    expect_text("\"0123abcd-4567-89ab-cdef-0123456789ab\"", uuid);
    expect_text("\"0123ABCD-4567-89AB-CDEF-0123456789AB\"", uuid);
    assert_false(expect_text("\"0123abcd456789abcdef0123456789ab\"", uuid));
    expect_text("\"0123ABCD456789ABCDEF0123456789AB\"", uuid);
    expect_text("\"urn:uuid:0123abcd-4567-89ab-cdef-0123456789ab\"", uuid);
}

static void test_other_texts_are_ids_as_they_are(void **state) {
    (void)state;
    expect_text("\"shoe 7\"", "shoe 7");
    expect_text("\"0123abcd-4567-89ab-cdef-0123456789a\"", "0123abcd-4567-89ab-cdef-0123456789a");
    expect_text("\"0123abcd_4567_89ab_cdef_0123456789ab\"", "0123abcd_4567_89ab_cdef_0123456789ab");
    expect_text("\"g123abcd456789abcdef0123456789ab\"", "g123abcd456789abcdef0123456789ab");
    expect_text("\"urn:uuid:0123abcd456789abcdef0123456789ab\"", "urn:uuid:0123abcd456789abcdef0123456789ab");
}

static void test_what_is_no_id(void **state) {
    static const char *const wrong[] = {"-1", "1.5", "true", "null", "[1]", "{}", "\"\""};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ks_qd_id id;
        const char *why = NULL;
        json_t *value = json_loads(wrong[i], JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_int_equal(ks_qd_id_of(value, &id, &why), -1);
        assert_non_null(why);
        json_decref(value);
    }
    char longest[KITH_STRING_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ks_qd_id id;
    const char *why = NULL;
    assert_int_equal(ks_qd_id_of_text(longest, &id, &why), -1);
    longest[KITH_STRING_MAX] = '\0';
    assert_int_equal(ks_qd_id_of_text(longest, &id, &why), 0);
    assert_int_equal(ks_qd_id_of_text("", &id, &why), -1);
}

static void test_ids_of_paths(void **state) {
    ks_qd_id id;
    const char *why = NULL;
    (void)state;
    assert_int_equal(ks_qd_id_of_text("18446744073709551615", &id, &why), 0);
    assert_true(id.is_number);
    assert_true(id.number == UINT64_MAX);
    assert_int_equal(ks_qd_id_of_text("007", &id, &why), 0);
    assert_false(id.is_number);
    assert_int_equal(id.bytes, 3);
    assert_int_equal(ks_qd_id_of_text("0123ABCD456789abcdef0123456789ab", &id, &why), 0);
    assert_string_equal(id.text, uuid);
}

static void expect_written(const char *text, const char *json) {
    ks_text out = {0};
    ks_json writer = KS_JSON(&out);
    ks_qd_id_write(&writer, NULL, text, strlen(text));
    assert_int_equal(out.used, strlen(json));
    assert_memory_equal(out.bytes, json, out.used);
    ks_text_free(&out);
}

/* What is written as a number must be one that reads back as the same text. */
static void test_writing(void **state) {
    (void)state;
    expect_written("0", "0");
    expect_written("42", "42");
    expect_written("18446744073709551615", "18446744073709551615");
    expect_written("18446744073709551616", "\"18446744073709551616\"");
    expect_written("99999999999999999999", "\"99999999999999999999\"");
    expect_written("123456789012345678901", "\"123456789012345678901\"");
    expect_written("007", "\"007\"");
    expect_written("00", "\"00\"");
    expect_written("-1", "\"-1\"");
    expect_written("1e3", "\"1e3\"");
    expect_written("4 2", "\"4 2\"");
    expect_written(uuid, "\"0123abcd-4567-89ab-cdef-0123456789ab\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_are_their_digits),
        cmocka_unit_test(test_all_forms_of_a_uuid_are_one),
        cmocka_unit_test(test_other_texts_are_ids_as_they_are),
        cmocka_unit_test(test_what_is_no_id),
        cmocka_unit_test(test_ids_of_paths),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
