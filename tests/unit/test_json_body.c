/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of the server's calls: numbers as text in both directions against the C library, random trees against jansson,
 * what is refused and where it is said to be, members, and that nothing a sender writes is taken for what stands in the
 * place of numbers.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../server/json/json.h"
#include "../../server/json/number.h"
#include "support/calls.h"
#include "support/faulty_malloc.h"

static uint64_t state = 20261130;

static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static void check_float(const char *text) {
    float value = -1;
    const char *next = NULL, *end = text + strlen(text);
    if (!ks_number_float(text, end, &value, &next)) fail_msg("%s is not read", text);
    assert_ptr_equal(next, end);
    const float right = strtof(text, NULL);
    if (bits_of(value) != bits_of(right)) fail_msg("%s is read as %a, and is %a", text, value, right);
}

static void test_floats_are_strtofs(void **unused) {
    (void)unused;
    static const char *const cases[] = {"0",
                                        "-0",
                                        "0.0",
                                        "1",
                                        "-1",
                                        "16777216",
                                        "16777217",
                                        "16777218",
                                        "16777219",
                                        "16777217.0000000000000000001",
                                        "16777216.99999999999999999999",
                                        "33554433.5",
                                        "3.4028235e38",
                                        "3.4028235677973366e38",
                                        "3.4028236e38",
                                        "1e39",
                                        "-1e400",
                                        "1e-45",
                                        "7e-46",
                                        "7.1e-46",
                                        "1.17549435e-38",
                                        "1.1754943e-38",
                                        "1.17549429e-38",
                                        "1e-400",
                                        "0.1",
                                        "0.10000000149011612",
                                        "0.30000001192092896",
                                        "123456789012345678901234567890",
                                        "1e22",
                                        "1e23",
                                        "9007199254740993",
                                        "8388608.5",
                                        "8388609.5",
                                        "0.000000000000000000001",
                                        "1E5",
                                        "1e+5",
                                        "1.5e-7",
                                        "18446744073709551615",
                                        "9999999999999999999",
                                        "1e-999999999999",
                                        "1e999999999999",
                                        "0e999999999999"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_float(cases[i]);
}

/* Texts at, just above and just below the midpoints of floats, where rounding twice goes wrong. */
static void test_midpoints(void **unused) {
    (void)unused;
    char text[256];
    for (int i = 0; i < 20000; i++) {
        const uint32_t bits = (uint32_t)(draw() % 0x7f000000);
        const double middle = ((double)float_of(bits) + (double)float_of(bits + 1)) / 2;
        for (int digits = 15; digits <= 25; digits += 1 + (int)(draw() % 4)) {
            snprintf(text, sizeof text, "%.*e", digits, middle);
            check_float(text);
        }
        snprintf(text, sizeof text, "%.120f", middle); /* exact: halfway */
        check_float(text);
        strcat(text, "1");
        if (strlen(text) < sizeof text) check_float(text);
    }
}

static void test_random_floats(void **unused) {
    (void)unused;
    char text[64];
    for (int i = 0; i < 200000; i++) {
        const float value = float_of((uint32_t)draw());
        if (!isfinite(value)) continue;
        snprintf(text, sizeof text, "%.17g", (double)value);
        check_float(text);
        snprintf(text, sizeof text, "%.*f", (int)(draw() % 12), (double)(int64_t)draw() / 0x1p60);
        check_float(text);
        snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)(draw() % 1000),
                 (unsigned long long)(draw() >> draw() % 64), (int)(draw() % 60) - 30);
        check_float(text);
    }
}

static void test_not_numbers(void **unused) {
    (void)unused;
    static const char *const cases[] = {"",   "-",   "+1",  ".5",       "1.", "01", "-01",
                                        "1e", "1e+", "NaN", "Infinity", "x",  "--1"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float value;
        const char *next;
        if (ks_number_float(cases[i], cases[i] + strlen(cases[i]), &value, &next)) fail_msg("%s is read", cases[i]);
    }
    uint64_t whole;
    assert_int_equal(ks_number_uint("18446744073709551615", 20, &whole), 1);
    assert_true(whole == UINT64_MAX);
    assert_int_equal(ks_number_uint("18446744073709551616", 20, &whole), 0);
    assert_int_equal(ks_number_uint("012", 3, &whole), 0);
    assert_int_equal(ks_number_uint("-1", 2, &whole), 0);
    assert_int_equal(ks_number_uint("", 0, &whole), 0);
}

static size_t significant(const char *text) {
    size_t count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (count == 0 && *text == '0')) continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

/* Reads back as itself, and %.*g with a digit less does not. */
static void check_print(float value) {
    char text[KS_NUMBER_TEXT + 1], less[64];
    const size_t bytes = ks_number_print_float(value, text);
    assert_true(bytes > 0 && bytes <= 24);
    text[bytes] = 0;
    check_float(text);
    if (bits_of(strtof(text, NULL)) != bits_of(value)) fail_msg("%a is written %s", (double)value, text);
    if (significant(text) < 2) return;
    snprintf(less, sizeof less, "%.*e", (int)significant(text) - 2, (double)value);
    if (strtof(less, NULL) == value) fail_msg("%a is written %s, and %s would do", (double)value, text, less);
}

static void test_floats_as_text(void **unused) {
    (void)unused;
    static const struct {
        float value;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.0f, "-0"},
                 {1, "1"},
                 {-2.5f, "-2.5"},
                 {0.1f, "0.1"},
                 {1e-5f, "0.00001"},
                 {1e-7f, "1e-07"},
                 {100, "100"},
                 {123456.7f, "123456.7"},
                 {1e6f, "1000000"},
                 {1e20f, "1e+20"},
                 {0.3f, "0.3"},
                 {FLT_MAX, "3.4028235e+38"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[KS_NUMBER_TEXT];
        const size_t bytes = ks_number_print_float(cases[i].value, text);
        if (bytes != strlen(cases[i].text) || memcmp(text, cases[i].text, bytes) != 0)
            fail_msg("%s is written %.*s", cases[i].text, (int)bytes, text);
    }
    for (int i = 0; i < 200000; i++) {
        const float any = float_of((uint32_t)draw()), usual = (float)((double)(int64_t)draw() / 0x1p62);
        if (isfinite(any)) check_print(any);
        check_print(usual);
        check_print((float)(draw() % 100000) / 1000);
    }
    check_print(float_of(1));
    check_print(FLT_MIN);
    check_print(9.9999994e11f);
    check_print(999999.94f);
}

/* ---- Trees ------------------------------------------------------------------------------------------------------- */

static ks_call call;
static struct ks_wire wire;

static const json_t *parse(const char *text, kith_error *error) {
    calls_begin(&call, &wire, text, strlen(text));
    return ks_parse(&call, text, strlen(text), error);
}

static void add_number(ks_text *text) {
    switch (draw() % 4) {
    case 0:
        ks_text_format(text, "%lld", (long long)(int64_t)draw());
        break;
    case 1:
        ks_text_format(text, "%.17g", (double)(int64_t)draw() / 0x1p60);
        break;
    case 2:
        ks_text_format(text, "%d", (int)(draw() % 100));
        break;
    default:
        ks_text_format(text, "%.3e", (double)(int64_t)draw());
    }
}

static void add_space(ks_text *text) {
    static const char *const spaces[] = {"", "", "", " ", "\n", " \t\r\n"};
    ks_text_add_line(text, spaces[draw() % 6]);
}

static void add_string(ks_text *text) {
    static const char *const strings[] = {"\"\"",
                                          "\"a\"",
                                          "\"[1,2]\"",
                                          "\"\\\"[1,2\"",
                                          "\"\\\\\"",
                                          "\"\\\\u0000\"",
                                          "\"n0000000000000000\"",
                                          "\"\\u00e9\\n\"",
                                          "\"\xc3\xa9]\"",
                                          "\"9223372036854775808\""};
    ks_text_add_line(text, strings[draw() % 10]);
}

static void add_any(ks_text *text, int depth) {
    const unsigned what = (unsigned)(draw() % (depth > 0 ? 8 : 4));
    add_space(text);
    if (what < 2)
        add_number(text);
    else if (what == 2)
        add_string(text);
    else if (what == 3)
        ks_text_add_line(text, draw() % 2 ? "true" : "null");
    else {
        const int object = what > 5, numbers = what == 4;
        const unsigned count = (unsigned)(draw() % 6);
        ks_text_add(text, object ? "{" : "[", 1);
        for (unsigned i = 0; i < count; i++) {
            if (i > 0) ks_text_add(text, ",", 1);
            if (object) ks_text_format(text, "\"key%u\":", i);
            if (numbers) {
                add_space(text);
                add_number(text);
            } else
                add_any(text, depth - 1);
        }
        add_space(text);
        ks_text_add(text, object ? "}" : "]", 1);
    }
    add_space(text);
}

/* Written again and read by jansson, a tree is what jansson makes of the text. */
static void test_random_trees(void **unused) {
    (void)unused;
    for (int i = 0; i < 4000; i++) {
        ks_text text = {0}, again = {0};
        add_any(&text, 5);
        ks_text_add(&text, "", 1);
        kith_error error = {0};
        const json_t *tree = parse(text.bytes, &error);
        if (!tree) fail_msg("%s: %s", text.bytes, error.text);
        ks_json json = KS_JSON(&again);
        ks_json_value(&json, NULL, tree);
        json_t *right = json_loads(text.bytes, JSON_DECODE_ANY, NULL);
        json_t *ours = json_loadb(again.bytes, again.used, JSON_DECODE_ANY, NULL);
        assert_non_null(right);
        if (!ours || !json_equal(right, ours)) fail_msg("%s became %.*s", text.bytes, (int)again.used, again.bytes);
        json_decref(right);
        json_decref(ours);
        calls_end(&call);
        ks_text_free(&text);
        ks_text_free(&again);
    }
}

static void test_floats_of_arrays(void **unused) {
    (void)unused;
    kith_error error = {0};
    const json_t *tree =
        parse("{\"v\": [ 1, -2.5 ,3e2,1e99], \"e\": [], \"w\": [1, \"x\"], \"n\": [[1,2],[3]], \"s\": \"t\"}", &error);
    assert_non_null(tree);
    size_t count = 9;
    const float *floats = ks_floats(&call, json_object_get(tree, "v"), &count);
    assert_int_equal(count, 4);
    assert_true(floats[0] == 1 && floats[1] == -2.5f && floats[2] == 300 && isinf(floats[3]));
    assert_non_null(ks_floats(&call, json_object_get(tree, "e"), &count));
    assert_int_equal(count, 0);
    assert_true(ks_is_numbers(json_object_get(tree, "v")) && ks_is_numbers(json_object_get(tree, "e")));
    assert_false(ks_is_numbers(json_object_get(tree, "w")));
    assert_false(ks_is_numbers(json_object_get(tree, "s")));
    assert_false(ks_is_numbers(json_object_get(tree, "absent")));
    assert_int_equal(wire.status, 0);
    assert_null(ks_floats(&call, json_object_get(tree, "w"), &count));
    assert_int_equal(wire.status, 400);
    const json_t *rows = json_object_get(tree, "n");
    assert_int_equal(json_array_size(rows), 2);
    assert_non_null(ks_floats(&call, json_array_get(rows, 1), &count));
    assert_int_equal(count, 1);
    calls_end(&call);
}

static void test_whole_numbers(void **unused) {
    (void)unused;
    kith_error error = {0};
    uint64_t value = 0;
    const json_t *tree =
        parse("{\"a\": 18446744073709551614, \"b\": [18446744073709551614, 7 , 0], \"c\": -1, \"d\": "
              "1.5, \"e\": [1, -1], \"f\": [1, 1.0], \"g\": 9223372036854775808, \"h\": [], \"i\": [\"1\"]}",
              &error);
    assert_non_null(tree);
    assert_int_equal(ks_uint(json_object_get(tree, "a"), &value), 1);
    assert_true(value == UINT64_MAX - 1);
    assert_int_equal(ks_uint(json_object_get(tree, "g"), &value), 1);
    assert_true(value == UINT64_C(1) << 63);
    assert_int_equal(ks_uint(json_object_get(tree, "c"), &value), 0);
    assert_int_equal(ks_uint(json_object_get(tree, "d"), &value), 0);
    assert_int_equal(ks_uint(json_object_get(tree, "b"), &value), 0);
    size_t count = 0;
    const uint64_t *all = ks_uints(&call, json_object_get(tree, "b"), "b", &count);
    assert_int_equal(count, 3);
    assert_true(all[0] == UINT64_MAX - 1 && all[1] == 7 && all[2] == 0);
    assert_non_null(ks_uints(&call, json_object_get(tree, "h"), "h", &count));
    assert_int_equal(count, 0);
    assert_int_equal(wire.status, 0);
    assert_null(ks_uints(&call, json_object_get(tree, "e"), "e", &count));
    assert_non_null(strstr(wire.sentence, "number 2"));
    assert_null(ks_uints(&call, json_object_get(tree, "f"), "f", &count));
    assert_null(ks_uints(&call, json_object_get(tree, "i"), "i", &count));
    assert_null(ks_uints(&call, json_object_get(tree, "a"), "a", &count));
    /* Its numbers as jansson has them, too: what is beyond an i64 as ks_uint() takes it. */
    const json_t *array = NULL;
    assert_int_equal(ks_member_array(&call, tree, "b", &array), 1);
    assert_int_equal(json_array_size(array), 3);
    assert_int_equal(ks_uint(json_array_get(array, 0), &value), 1);
    assert_true(value == UINT64_MAX - 1);
    assert_int_equal(json_integer_value(json_array_get(array, 1)), 7);
    size_t bytes = 0;
    assert_string_equal(ks_dump(&call, tree, &bytes),
                        "{\"a\":18446744073709551614,\"b\":[18446744073709551614, 7 , 0],\"c\":-1,\"d\":1.5,\"e\":[1, "
                        "-1],\"f\":[1, 1.0],\"g\":9223372036854775808,\"h\":[],\"i\":[\"1\"]}");
    calls_end(&call);
}

static void test_what_is_refused(void **unused) {
    (void)unused;
    static const char *const cases[][2] = {
        {"", "line 1, column 1"},
        {"{", "line 1, column 1"},
        {"{\"a\": [1, 2}", "line 1, column 12"},
        {"{\"a\" [1, 2]}", "line 1, column 11"},
        {"{\"v\": [1.5, 2.5],\n \"w\": [1, 2, 3], \"x\": y}", "line 2, column 23: invalid token"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": \"\\u0000n0000000000000000\"}", "line 1, column 8: a text with the character U+0000"},
        {"{\"\\u0000\": 1}", "U+0000"},
        {"{\"a\": \"\\\\\\u0000\"}", "U+0000"},
        {"{\"a\": \"x", "premature end"},
        {"{\"a\": \"x\\", "line 1"},
        {"[[1,2],]", "line 1"},
        {"[1,2,]", "line 1, column 6"},
        {"[01]", "line 1"},
        {"{\"a\": 1} x", "end of file expected"},
        {"{\"a\": 99999999999999999999}", "too big"},
        {"{\"a\": \"\xff\"}", "unable to decode byte 0xff"},
        {"[nan]", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_error error = {0};
        if (parse(cases[i][0], &error)) fail_msg("%s is taken", cases[i][0]);
        assert_int_equal(error.status, KITH_E_FORMAT);
        if (!strstr(error.text, cases[i][1])) fail_msg("%s: %s", cases[i][0], error.text);
        if (strstr(error.text, "u0000n") || strstr(error.text, "near")) fail_msg("%s is told", error.text);
        calls_end(&call);
    }
}

static void test_depth(void **unused) {
    (void)unused;
    char text[256];
    for (int depth = 63; depth <= 66; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = 0;
        kith_error error = {0};
        const json_t *tree = parse(text, &error);
        if (depth <= 64) {
            /* And is written, also within something else. */
            ks_text out = {0};
            ks_json json = KS_JSON(&out);
            assert_non_null(tree);
            ks_json_array(&json, NULL);
            ks_json_value(&json, NULL, tree);
            ks_json_value(&json, NULL, tree);
            ks_json_array_end(&json);
            assert_int_equal(out.used, 2 * 2 * (size_t)depth + 3);
            ks_text_free(&out);
        } else {
            assert_null(tree);
            assert_non_null(strstr(error.text, "column 65"));
        }
        calls_end(&call);
    }
}

static void test_many_values(void **unused) {
    (void)unused;
    const size_t bytes = (size_t)8 << 21;
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    for (size_t i = 0; i < bytes; i += 2) memcpy(text + i, i ? ",0" : "[0", 2);
    memcpy(text + bytes - 2, "x]", 2);
    text[bytes] = 0;
    kith_error error = {0};
    assert_null(parse(text, &error));
    assert_non_null(strstr(error.text, "more than 4194304 values"));
    calls_end(&call);
    free(text);
}

static void test_bodies(void **unused) {
    (void)unused;
    static const char *const cases[][2] = {
        {"", "the body is empty; it must be an object with points"},
        {"[1,2]", "must be an object with points, and is an array"},
        {"\"x\"", "and is a string"},
        {"18446744073709551614", "and is a number"},
        {"null", "and is null"},
        {"{]", "line 1, column 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        calls_begin(&call, &wire, cases[i][0], strlen(cases[i][0]));
        assert_null(ks_body(&call, "an object with points"));
        assert_int_equal(wire.status, 400);
        if (!strstr(wire.sentence, cases[i][1])) fail_msg("%s: %s", cases[i][0], wire.sentence);
        calls_end(&call);
    }
}

static void test_members(void **unused) {
    (void)unused;
    kith_error error = {0};
    const json_t *tree =
        parse("{\"t\": \"text\", \"u\": 7, \"r\": 0.5, \"b\": true, \"a\": [\"x\"], \"n\": [1], \"o\": {}, "
              "\"z\": null, \"big\": 18446744073709551614}",
              &error);
    assert_non_null(tree);
    const char *text = "as it was";
    uint64_t whole = 1;
    double real = 1;
    int flag = 0;
    const json_t *value = NULL;
    assert_int_equal(ks_member_text(&call, tree, "absent", &text), 0);
    assert_int_equal(ks_member_text(&call, tree, "z", &text), 0);
    assert_string_equal(text, "as it was");
    assert_int_equal(ks_member_text(&call, tree, "t", &text), 1);
    assert_string_equal(text, "text");
    assert_int_equal(ks_member_uint(&call, tree, "u", 7, &whole), 1);
    assert_int_equal(whole, 7);
    assert_int_equal(ks_member_uint(&call, tree, "big", UINT64_MAX, &whole), 1);
    assert_int_equal(ks_member_real(&call, tree, "r", 0, 1, &real), 1);
    assert_true(real == 0.5);
    assert_int_equal(ks_member_real(&call, tree, "u", 0, 10, &real), 1);
    assert_int_equal(ks_member_bool(&call, tree, "b", &flag), 1);
    assert_int_equal(ks_member_array(&call, tree, "a", &value), 1);
    assert_int_equal(ks_member_array(&call, tree, "n", &value), 1);
    assert_int_equal(json_array_size(value), 1);
    assert_int_equal(ks_member_object(&call, tree, "o", &value), 1);
    assert_int_equal(wire.status, 0);
    assert_int_equal(ks_member_text(&call, tree, "n", &text), -1); /* numbers are strings inside only */
    assert_string_equal(wire.sentence, "\"n\" must be a string");
    assert_int_equal(ks_member_text(&call, tree, "big", &text), -1);
    assert_int_equal(ks_member_uint(&call, tree, "u", 6, &whole), -1);
    assert_string_equal(wire.sentence, "\"u\" must be a whole number of 0..6");
    assert_int_equal(ks_member_uint(&call, tree, "r", 6, &whole), -1);
    assert_int_equal(ks_member_real(&call, tree, "r", 0.6, 1, &real), -1);
    assert_int_equal(ks_member_real(&call, tree, "t", 0, 1, &real), -1);
    assert_int_equal(ks_member_bool(&call, tree, "u", &flag), -1);
    assert_int_equal(ks_member_array(&call, tree, "o", &value), -1);
    assert_int_equal(ks_member_array(&call, tree, "t", &value), -1);
    assert_int_equal(ks_member_object(&call, tree, "n", &value), -1);
    static const char *const all[] = {"t", "u", "r", "b", "a", "n", "o", "z", "big", NULL}, *const some[] = {"t", "u",
                                                                                                             NULL};
    assert_int_equal(ks_members_only(&call, tree, all), 0);
    assert_int_equal(ks_members_only(&call, tree, some), -1);
    assert_string_equal(wire.sentence, "there is no member \"r\" here; known are \"t\" and \"u\"");
    calls_end(&call);
}

static void test_writing(void **unused) {
    (void)unused;
    ks_text text = {0};
    ks_json json = KS_JSON(&text);
    ks_json_object(&json, NULL);
    ks_json_text(&json, "a\"b", "\x01 \t\\ \xc3\xa9");
    ks_json_text(&json, "none", NULL);
    ks_json_array(&json, "list");
    ks_json_uint(&json, NULL, UINT64_MAX);
    ks_json_int(&json, NULL, INT64_MIN);
    ks_json_real(&json, NULL, 0.1);
    ks_json_real(&json, NULL, HUGE_VAL);
    ks_json_float(&json, NULL, -NAN);
    ks_json_object(&json, NULL);
    ks_json_object_end(&json);
    ks_json_array_end(&json);
    const float floats[] = {0.25f, 3};
    ks_json_floats(&json, "floats", floats, 2);
    ks_json_floats(&json, "no", floats, 0);
    ks_json_bool(&json, "yes", 2);
    ks_json_verbatim(&json, "there", "{\"x\":1}", 7);
    ks_json_verbatim(&json, "not", NULL, 0);
    ks_json_object_end(&json);
    ks_text_add(&text, "", 1);
    assert_string_equal(text.bytes,
                        "{\"a\\\"b\":\"\\u0001 \\t\\\\ \xc3\xa9\",\"none\":null,\"list\":[18446744073709551615,"
                        "-9223372036854775808,0.1,null,null,{}],\"floats\":[0.25,3],\"no\":[],\"yes\":true,"
                        "\"there\":{\"x\":1},\"not\":null}");
    assert_int_equal(json.depth, 0);
    ks_text_free(&text);
}

/* Whatever allocation is refused, the tree is whole or there is none, and nothing is lost. */
static void test_without_memory(void **unused) {
    (void)unused;
    static const char text[] =
        "{\"a\": [1, 2, 3], \"b\": {\"c\": \"d\", \"e\": 18446744073709551614}, \"f\": [[4], true]}";
    for (int for_good = 0; for_good < 2; for_good++) {
        int refused = 1;
        for (long number = 0; refused; number++) {
            kith_error error = {0};
            size_t bytes = 0;
            calls_begin(&call, &wire, text, strlen(text));
            faulty_malloc_start(number, for_good);
            const json_t *tree = ks_parse(&call, text, strlen(text), &error);
            const char *again = tree ? ks_dump(&call, tree, &bytes) : NULL;
            calls_end(&call);
            refused = faulty_malloc_stop() > number;
            assert_int_equal(atomic_load(&faulty_live), 0);
            assert_true(tree || error.text[0]); /* jansson does not always tell want of memory from a wrong text */
            assert_true(again || refused);
            assert_true(number < 1000);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats_are_strtofs),
        cmocka_unit_test(test_midpoints),
        cmocka_unit_test(test_random_floats),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_floats_as_text),
        cmocka_unit_test(test_random_trees),
        cmocka_unit_test(test_floats_of_arrays),
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
