/* SPDX-License-Identifier: Apache-2.0
 *
 * Text formats: numbers, lines, csv, jsonl. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#include "base/rng.h"
#include "io/json.h"
#include "base/utf8.h"
#include "io/number.h"

#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <sys/stat.h>

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static ki_number parse(const char *text, bool json, float *value, size_t *used) {
    const char *next = text;
    assert_true(ki_numbers_ready());
    const ki_number result = ki_parse_float(text, text + strlen(text), json, value, &next);
    *used = (size_t)(next - text);
    return result;
}

static void numbers_that_are(void **state) {
    (void)state;
    static const struct {
        const char *text;
        float value;
    } cases[] = {
        {"0", 0},
        {"-0", -0.0f},
        {"1", 1},
        {"+1", 1},
        {"-1.5", -1.5f},
        {".5", 0.5f},
        {"5.", 5},
        {"1e3", 1000},
        {"1E-3", 0.001f},
        {"0.1", 0.1f},
        {"007", 7},
        {"1e38", 1e38f},
        {"1e-50", 0},
        {"1e-45", 1e-45f},
        {"16777217", 16777216},
        {"inf", INFINITY},
        {"-Infinity", -INFINITY},
        {"+INF", INFINITY},
        {"340282346638528859811704183484516925440", 0x1.fffffep127f},
        {"0.1000000000000000055511151231257827021181583404541015625", 0.1f},
        {"123456789012345678901234567890", 1.23456789e29f},
        {"0.000000000000000000000000000000000000000000001", 1e-45f},
        {"1e-999999999999999999999", 0},
        {"0e999999999999999999999", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        float value = 77;
        size_t used;
        assert_int_equal(parse(cases[i].text, false, &value, &used), KI_NUMBER_OK);
        if (memcmp(&value, &cases[i].value, 4) != 0) fail_msg("%s read as %.9g", cases[i].text, (double)value);
        assert_int_equal(used, strlen(cases[i].text));
    }
    float value = 0;
    size_t used;
    assert_int_equal(parse("NaN", false, &value, &used), KI_NUMBER_OK);
    assert_true(isnan(value));
}

static void numbers_that_are_not(void **state) {
    (void)state;
    static const char *const none[] = {"", "-", "+", ".", "e5", "1e", "1e+", "abc", "--1", "i", "na", "-.", "\xC2\xBD"};
    static const char *const overflow[] = {"1e39",
                                           "-1e39",
                                           "1e999",
                                           "1e999999999999999999999",
                                           "340282356779733661637539395458142568448",
                                           "3.4028235677973366e38"};
    static const char *const not_json[] = {"+1",  ".5",       "5.",   "007", "-",   "nan",
                                           "inf", "infinity", "-NaN", "00",  "1.e5"};
    float value = 77;
    size_t used;
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        if (parse(none[i], false, &value, &used) != KI_NUMBER_NONE) fail_msg("'%s' was read", none[i]);
    for (size_t i = 0; i < sizeof(overflow) / sizeof(*overflow); i++)
        if (parse(overflow[i], true, &value, &used) != KI_NUMBER_OVERFLOW) fail_msg("'%s' was read", overflow[i]);
    for (size_t i = 0; i < sizeof(not_json) / sizeof(*not_json); i++)
        if (parse(not_json[i], true, &value, &used) != KI_NUMBER_NONE) fail_msg("'%s' was read", not_json[i]);
    assert_true(value == 77);
    /* Only the front of these is a number; the callers see what follows. */
    assert_int_equal(parse("0x10", false, &value, &used), KI_NUMBER_OK);
    assert_int_equal(used, 1);
    assert_int_equal(parse("1,5", false, &value, &used), KI_NUMBER_OK);
    assert_int_equal(used, 1);
}

/* Against the C library, and print against parse. */
static void numbers_at_random(void **state) {
    (void)state;
    ki_rng rng = {.state = 5};
    for (int i = 0; i < 30000; i++) {
        const uint32_t bits = (uint32_t)ki_rng_next(&rng);
        float value, back;
        size_t used;
        char text[64];
        memcpy(&value, &bits, 4);
        if (!isfinite(value)) continue;
        text[ki_print_float(value, text)] = '\0';
        assert_int_equal(parse(text, true, &back, &used), KI_NUMBER_OK);
        if (memcmp(&value, &back, 4) != 0) fail_msg("%.9g printed as %s", (double)value, text);
        snprintf(text, sizeof(text), "%.*e", (int)ki_rng_below(&rng, 25),
                 ldexp(ki_rng_unit(&rng), (int)ki_rng_below(&rng, 200) - 100));
        assert_int_equal(parse(text, true, &back, &used), KI_NUMBER_OK);
        if (back != (float)strtod(text, NULL)) fail_msg("%s read as %.9g", text, (double)back);
    }
}

static void ids_as_text(void **state) {
    (void)state;
    uint64_t value = 5;
    assert_int_equal(ki_parse_id("0", 1, &value), KI_ID_NUMBER);
    assert_int_equal(value, 0);
    assert_int_equal(ki_parse_id("18446744073709551614", 20, &value), KI_ID_NUMBER);
    assert_true(value == UINT64_MAX - 1);
    assert_int_equal(ki_parse_id("18446744073709551615", 20, &value), KI_ID_LARGE);
    assert_int_equal(ki_parse_id("18446744073709551616", 20, &value), KI_ID_LARGE);
    assert_int_equal(ki_parse_id("99999999999999999999", 20, &value), KI_ID_LARGE);
    assert_int_equal(ki_parse_id("100000000000000000000", 21, &value), KI_ID_LARGE);
    assert_int_equal(ki_parse_id("00000000000000000000001", 23, &value), KI_ID_WORD);
    assert_int_equal(ki_parse_id("007", 3, &value), KI_ID_WORD);
    assert_int_equal(ki_parse_id("-5", 2, &value), KI_ID_NEGATIVE);
    assert_int_equal(ki_parse_id("-", 1, &value), KI_ID_WORD);
    assert_int_equal(ki_parse_id("", 0, &value), KI_ID_WORD);
}

static void utf8(void **state) {
    (void)state;
    static const char *const good[] = {"", "a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x8D\x8E", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {
        "\x80",     "\xC3",  "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80",
        "\xE2\x82", "a\xFFz"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) assert_true(ki_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) assert_false(ki_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(ki_utf8_valid("a\0b", 3));
}

/* ---- csv --------------------------------------------------------------------------------------------------------- */

static void expect_rows(const char *path, const float *expected, size_t rows, size_t dim) {
    kith_reader *reader = io_open(path, NULL);
    assert_int_equal(io_info(reader).rows, rows);
    assert_int_equal(io_info(reader).dim, dim);
    const kith_rows batch = io_next(reader, rows + 1);
    assert_int_equal(batch.count, rows);
    assert_memory_equal(batch.data, expected, rows * dim * sizeof(float));
    kith_reader_close(reader);
}

static void csv_plain(void **state) {
    (void)state;
    static const char *const same[] = {
        "1,2.5\n-3,4e1\n",
        "1,2.5\r\n-3,4e1\r\n",
        "\xEF\xBB\xBF\x31,2.5\n-3,4e1",
        "\n\n1 , 2.5\n   \n-3,\t4e1\n\n",
        "1;2.5\n-3;4e1",
        "1\t2.5\n-3\t4e1\n",
        "x,y\n1,2.5\n-3,4e1\n",
        "\"1\",\"2.5\"\n\"-3\",4e1\n",
        "\"x, first\";y\n1;2.5\n-3;4e1\n",
    };
    const float expected[4] = {1, 2.5f, -3, 40};
    for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
        expect_rows(io_put_text("a.csv", same[i]), expected, 2, 2);
    expect_rows(io_put_text("one.csv", "1,2.5,-3,40"), expected, 1, 4);
    expect_rows(io_put_text("column.tsv", "1\n2.5\n-3\n40"), expected, 4, 1);
}

static void csv_ids_and_names(void **state) {
    (void)state;
    kith_reader *reader =
        io_open(io_put_text("i.csv", "id,v0,name,v1\n7,1,apple,2\n18446744073709551614,3,\"a \"\"b\"\", c\",4\n"
                                     "0,5,,6\n"),
                NULL);
    kith_reader_info info = io_info(reader);
    assert_int_equal(info.id_kind, KITH_ID_U64);
    assert_true(info.has_names);
    assert_int_equal(info.dim, 2);
    assert_int_equal(info.rows, 3);
    const kith_rows rows = io_next(reader, 10);
    assert_int_equal(rows.ids[0], 7);
    assert_true(rows.ids[1] == UINT64_MAX - 1);
    assert_int_equal(rows.ids[2], 0);
    assert_memory_equal(rows.name_bytes, "applea \"b\", c", 13);
    assert_int_equal(rows.name_ends[0], 5);
    assert_int_equal(rows.name_ends[1], 13);
    assert_int_equal(rows.name_ends[2], 13);
    assert_memory_equal(rows.data, ((float[]){1, 2, 3, 4, 5, 6}), 24);
    assert_null(rows.id_bytes);
    kith_reader_close(reader);
}

static void csv_string_ids(void **state) {
    (void)state;
    /* Quotes make a string of a number, unless they are around all numbers; and one word makes strings of all. */
    static const char *const texts[] = {"id,x\n7,1\n007,2\n", "id,x\n7,1\nb,2\n",
                                        "id,x\n7,1\n\"18446744073709551615\",2\n", "id,x\n\"7\",1\n\"-8\",2\n",
                                        "id,x\n7,1\n-8,2\nb,3\n"};
    static const char *const bytes[] = {"7007", "7b", "718446744073709551615", "7-8", "7-8"};
    for (int i = 0; i < 5; i++) {
        kith_reader *reader = io_open(io_put_text("s.csv", texts[i]), NULL);
        assert_int_equal(io_info(reader).id_kind, KITH_ID_STRING);
        const kith_rows rows = io_next(reader, 10);
        assert_null(rows.ids);
        assert_int_equal(rows.id_ends[0], 1);
        assert_int_equal(rows.id_ends[1], strlen(bytes[i]));
        assert_memory_equal(rows.id_bytes, bytes[i], strlen(bytes[i]));
        kith_reader_close(reader);
    }
}

static void csv_columns_by_option(void **state) {
    (void)state;
    const char *path = io_put_text("o.csv", "a,1,2\nb,3,4\n");
    const kith_reader_options first = {.struct_size = sizeof(first), .id_column = "1"};
    kith_reader *reader = io_open(path, &first);
    assert_int_equal(io_info(reader).rows, 2);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_STRING);
    assert_memory_equal(io_next(reader, 2).id_bytes, "ab", 2);
    kith_reader_close(reader);
    const char *named = io_put_text("n.csv", "sku,title,0,1\n5,x,1,2\n6,y,3,4\n");
    const kith_reader_options words = {.struct_size = sizeof(words), .id_column = "sku", .name_column = "title"};
    reader = io_open(named, &words);
    assert_int_equal(io_info(reader).rows, 2);
    assert_int_equal(io_info(reader).dim, 2);
    kith_rows rows = io_next(reader, 2);
    assert_int_equal(rows.ids[1], 6);
    assert_memory_equal(rows.name_bytes, "xy", 2);
    kith_reader_close(reader);
    const kith_reader_options missing = {.struct_size = sizeof(missing), .id_column = "ean"};
    io_refuse_with(named, &missing, KITH_E_NOTFOUND, "no column 'ean' among its 4 columns");
    const kith_reader_options beyond = {.struct_size = sizeof(beyond), .name_column = "4"};
    io_refuse_with(path, &beyond, KITH_E_NOTFOUND, "no column '4' among its 3 columns");
    const kith_reader_options zero = {.struct_size = sizeof(zero), .id_column = "0"};
    io_refuse_with(path, &zero, KITH_E_NOTFOUND, "no column '0'");
    const kith_reader_options both = {.struct_size = sizeof(both), .id_column = "1", .name_column = "1"};
    io_refuse_with(path, &both, KITH_E_ARG, "both the id and the name");
}

static void csv_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text;
        kith_status status;
        const char *words;
    } cases[] = {
        {"", KITH_E_FORMAT, "is empty"},
        {"\n \n\r\n", KITH_E_FORMAT, "is empty"},
        {"1,2\n3,abc\n", KITH_E_FORMAT, "line 2: field 2 is 'abc', a number was expected"},
        {"1,2\n\n\n3,abc\n", KITH_E_FORMAT, "line 4: field 2 is 'abc'"},
        {"1,abc\n3,4\n", KITH_E_FORMAT, "line 1: field 2 is 'abc'"},
        {"1,2\n3\n", KITH_E_FORMAT, "line 2: has 1 fields, 2 were expected"},
        {"1,2\n3,4,5\n", KITH_E_FORMAT, "line 2: has more than the 2 fields"},
        {"1,2\n3,4,\n", KITH_E_FORMAT, "line 2: has more than the 2 fields"},
        {"1,2\n3,\n", KITH_E_FORMAT, "line 2: field 2 is empty"},
        {"1,2\n,4\n", KITH_E_FORMAT, "line 2: field 1 is empty"},
        {"1,2\n3,1e999\n", KITH_E_DATA, "line 2: field 2 is 1e999, which is beyond"},
        {"1,2\n3,0x10\n", KITH_E_FORMAT, "field 2 is '0x10'"},
        {"1,2\n3,4 5\n", KITH_E_FORMAT, "field 2 is '4 5'"},
        {"1,2\n3,\"4\n", KITH_E_FORMAT, "quotes of field 2 are not closed"},
        {"1,2\n3,\"4\"x\n", KITH_E_FORMAT, "quotes of field 2"},
        {"1;2\n3;4,5\n", KITH_E_FORMAT, "line 2: field 2 is '4,5'"},
        {"id,x\n-5,1\n", KITH_E_DATA, "line 2: id -5 is negative"},
        {"id,x\n1,1\n18446744073709551615,1\n", KITH_E_DATA,
         "line 3: id 18446744073709551615 is not between 0 and 18446744073709551614"},
        {"id,x\n,1\n", KITH_E_FORMAT, "line 2: the id is empty"},
        {"id,x\na\xFF,1\n", KITH_E_FORMAT, "line 2: the id is not valid UTF-8"},
        {"name,x\n\"b\n", KITH_E_FORMAT, "line 2: the quotes of field 1"},
        {"id,name\n1,a\n", KITH_E_FORMAT, "no elements"},
        {"x,y,\n1,2,\n", KITH_E_FORMAT, "column 3 has no name"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        io_refuse(io_put_text("bad.csv", cases[i].text), cases[i].status, cases[i].words);
    io_refuse(io_put("nul.csv", "1,2\n3,\0\n", 8), KITH_E_FORMAT, "field 2");
}

static void csv_specials(void **state) {
    (void)state;
    kith_reader *reader = io_open(io_put_text("n.csv", "nan,inf\n-inf,NaN\n"), NULL);
    assert_int_equal(io_info(reader).rows, 2);
    const kith_rows rows = io_next(reader, 2);
    const float *x = rows.data;
    assert_true(isnan(x[0]) && x[1] == INFINITY && x[2] == -INFINITY && isnan(x[3]));
    kith_reader_close(reader);
    reader = io_open(io_put_text("h.csv", "x,y,z\n"), NULL);
    assert_int_equal(io_info(reader).rows, 0);
    assert_int_equal(io_info(reader).dim, 3);
    assert_int_equal(io_next(reader, 2).count, 0);
    kith_reader_close(reader);
}

static char *wide_csv(size_t dim) {
    char *text = malloc(dim * 2 + 1);
    for (size_t i = 0; i < dim; i++) memcpy(text + 2 * i, "5,", 2);
    text[dim * 2 - 1] = '\n';
    text[dim * 2] = '\0';
    return text;
}

static void csv_limits(void **state) {
    (void)state;
    char *text = wide_csv(65536);
    kith_reader *reader = io_open(io_put_text("w.csv", text), NULL);
    assert_int_equal(io_info(reader).dim, 65536);
    assert_int_equal(io_next(reader, 1).count, 1);
    kith_reader_close(reader);
    free(text);
    text = wide_csv(65537);
    io_refuse(io_put_text("w.csv", text), KITH_E_LIMIT, "65537 elements, 65536");
    free(text);
    const size_t most = (size_t)16 << 20;
    text = malloc(most + 8);
    memset(text, ' ', most + 8);
    memcpy(text, "1,2\n3,4", 7);
    io_refuse(io_put("l.csv", text, most + 8), KITH_E_LIMIT, "line 2 is longer than 16777216 bytes");
    expect_rows(io_put("l.csv", text, most + 4), (float[]){1, 2, 3, 4}, 2, 2);
    free(text);
    char label[4200] = "id,x\n";
    memset(label + 5, 'a', 4097);
    strcpy(label + 5 + 4097, ",1\n");
    io_refuse(io_put_text("i.csv", label), KITH_E_LIMIT, "line 2: the id has 4097 bytes, 4096 are the most");
    strcpy(label + 5 + 4096, ",1\n");
    reader = io_open(io_put_text("i.csv", label), NULL);
    assert_int_equal(io_next(reader, 1).id_ends[0], 4096);
    kith_reader_close(reader);
}

/* Lines that straddle the read buffer, read in several batches, sought back and forth. */
static void csv_large(void **state) {
    (void)state;
    enum { ROWS = 60000 };
    char *text = malloc(ROWS * 32);
    size_t bytes = 0;
    for (int i = 0; i < ROWS; i++)
        bytes += (size_t)sprintf(text + bytes, "%d,%d.5,%d\n%s", i, i, -i, i % 7 ? "" : "\n");
    kith_reader *reader = io_open(io_put("large.csv", text, bytes), NULL);
    free(text);
    assert_int_equal(io_info(reader).rows, ROWS);
    static const uint64_t starts[] = {0, 59999, 5, 30000, 30001, 0, 60000};
    for (size_t s = 0; s < sizeof(starts) / sizeof(*starts); s++) {
        assert_int_equal(kith_reader_seek(reader, starts[s], NULL), KITH_OK);
        uint64_t row = starts[s];
        for (int k = 0; k < 3; k++) {
            const kith_rows rows = io_next(reader, 977);
            assert_int_equal(rows.first, row);
            const float *x = rows.data;
            for (size_t i = 0; i < rows.count; i++, row++)
                assert_true(x[3 * i] == (float)row && x[3 * i + 1] == (float)row + 0.5f && x[3 * i + 2] == -(float)row);
        }
    }
    kith_reader_close(reader);
}

/* After a failure the reader still knows where its rows are. */
static void csv_after_failure(void **state) {
    (void)state;
    kith_reader *reader = io_open(io_put_text("f.csv", "id,x\n1,10\n2,oops\n3,30\n"), NULL);
    kith_rows rows = {0};
    kith_error error = {0};
    assert_int_equal(kith_reader_next(reader, 3, &rows, &error), KITH_E_FORMAT);
    assert_int_equal(rows.count, 0);
    rows = io_next(reader, 1);
    assert_int_equal(rows.ids[0], 1);
    assert_int_equal(kith_reader_seek(reader, 2, NULL), KITH_OK);
    rows = io_next(reader, 1);
    assert_int_equal(rows.ids[0], 3);
    assert_true(*(const float *)rows.data == 30);
    kith_reader_close(reader);
}

/* ---- Locale ------------------------------------------------------------------------------------------------------ */

/* A locale that differs from C in its decimal comma only, as the C library keeps it on disk. */
static void make_comma_locale(void) {
    static const unsigned char numeric[50] = {
        0x14, 0x11, 0x03, 0x20, 6, 0, 0, 0,    0x20, 0, 0, 0,    0x22, 0, 0, 0, 0x23, 0, 0, 0, 0x24, 0, 0, 0, 0x28,
        0,    0,    0,    0x2c, 0, 0, 0, 0x2e, 0,    0, 0, 0x2e, 0,    0, 0, 0, 0,    0, 0, 0, 0,    0, 0, 0, 0,
    };
    unsigned char file[50];
    memcpy(file, numeric, sizeof(file));
    file[0x20] = ',';
    file[0x24] = ',';
    memcpy(file + 0x2c, "UTF-8", 6);
    mkdir(io_path("comma"), 0777);
    io_put("comma/LC_NUMERIC", file, sizeof(file));
    setenv("LOCPATH", io_folder, 1);
}

static void decimal_comma_locale(void **state) {
    (void)state;
    const char *path = io_put_text("c.csv", "1.5,0.12345678901234567890123\n2.5,1.25\n");
    const char *json =
        io_put_text("c.jsonl", "{\"vector\": [1.5, 0.12345678901234567890123]}\n{\"vector\": [2.5, 1.25]}\n");
    make_comma_locale();
    const char *set = setlocale(LC_NUMERIC, "de_DE.UTF-8");
    if (!set) set = setlocale(LC_NUMERIC, "comma");
    if (!set || strcmp(localeconv()->decimal_point, ",") != 0) {
        setlocale(LC_NUMERIC, "C");
        skip();
    }
    const float expected[4] = {1.5f, 0.12345679f, 2.5f, 1.25f};
    expect_rows(path, expected, 2, 2);
    expect_rows(json, expected, 2, 2);
    char text[KI_FLOAT_TEXT];
    text[ki_print_float(0.1f, text)] = '\0';
    assert_string_equal(text, "0.1");
    assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
}

/* ---- jsonl ------------------------------------------------------------------------------------------------------- */

static void jsonl_read(void **state) {
    (void)state;
    kith_reader *reader = io_open(
        io_put_text(
            "a.jsonl",
            "\xEF\xBB\xBF{\"id\": 18446744073709551614, \"vector\": [1, 2.5e0], \"x\": {\"y\": [null, {}]}}\r\n\n"
            "{\"vector\":[-3,4], \"name\": \"a \\u00e9 \\uD83C\\uDF4E \\n\\\"\" , \"id\":0}\n"
            "{ \"v\\u0065ctor\" : [ 0 , NaN ] , \"id\" : 7 }"),
        NULL);
    const kith_reader_info info = io_info(reader);
    assert_int_equal(info.id_kind, KITH_ID_U64);
    assert_int_equal(info.rows, 3);
    assert_int_equal(info.dim, 2);
    assert_true(info.has_names);
    const kith_rows rows = io_next(reader, 9);
    const float *x = rows.data;
    assert_true(x[0] == 1 && x[1] == 2.5f && x[2] == -3 && x[3] == 4 && x[4] == 0 && isnan(x[5]));
    assert_true(rows.ids[0] == UINT64_MAX - 1 && rows.ids[1] == 0 && rows.ids[2] == 7);
    assert_int_equal(rows.name_ends[0], 0);
    assert_int_equal(rows.name_ends[1], rows.name_ends[2]);
    assert_int_equal(rows.name_ends[1], 12);
    assert_memory_equal(rows.name_bytes, "a \xC3\xA9 \xF0\x9F\x8D\x8E \n\"", 12);
    kith_reader_close(reader);
}

static void jsonl_strings_and_rows(void **state) {
    (void)state;
    kith_reader *reader =
        io_open(io_put_text("s.ndjson", "{\"id\":\"7\",\"vector\":[1]}\n{\"id\":\"x\",\"vector\":[2]}\n"), NULL);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_STRING);
    assert_false(io_info(reader).has_names);
    kith_rows rows = io_next(reader, 9);
    assert_memory_equal(rows.id_bytes, "7x", 2);
    assert_null(rows.ids);
    assert_null(rows.name_ends);
    kith_reader_close(reader);
    reader = io_open(io_put_text("r.jsonl", "{\"vector\":[1]}\n{\"vector\":[2]}\n"), NULL);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_ROW);
    rows = io_next(reader, 9);
    assert_null(rows.ids);
    assert_null(rows.id_bytes);
    kith_reader_close(reader);
}

static void jsonl_refusals(void **state) {
    (void)state;
#define GOOD "{\"id\":1,\"vector\":[1,2]}\n"
    static const struct {
        const char *text;
        kith_status status;
        const char *words;
    } cases[] = {
        {"", KITH_E_FORMAT, "is empty"},
        {"[1,2]\n", KITH_E_FORMAT, "line 1, byte 1: an object"},
        {GOOD "{\"id\":2}\n", KITH_E_FORMAT, "line 2: has no \"vector\""},
        {GOOD "{\"id\":2,\"vector\":[1,2,3]}\n", KITH_E_FORMAT,
         "line 2: the vector has 3 numbers, but the first line has 2"},
        {GOOD "{\"id\":2,\"vector\":[1]}\n", KITH_E_FORMAT, "line 2: the vector has 1 numbers"},
        {GOOD "{\"id\":\"b\",\"vector\":[1,2]}\n", KITH_E_FORMAT,
         "line 2: has a string as id, but the first line has a number"},
        {GOOD "{\"vector\":[1,2]}\n", KITH_E_FORMAT, "line 2: has no id"},
        {GOOD "{\"id\":-5,\"vector\":[1,2]}\n", KITH_E_DATA, "line 2: id -5 is not between 0 and"},
        {GOOD "{\"id\":18446744073709551615,\"vector\":[1,2]}\n", KITH_E_DATA, "id 18446744073709551615"},
        {GOOD "{\"id\":1.5,\"vector\":[1,2]}\n", KITH_E_FORMAT, "line 2, byte 7: a string or a whole number as id"},
        {GOOD "{\"id\":1e3,\"vector\":[1,2]}\n", KITH_E_FORMAT, "as id was expected"},
        {GOOD "{\"id\":null,\"vector\":[1,2]}\n", KITH_E_FORMAT, "as id was expected"},
        {GOOD "{\"id\":2,\"vector\":[1,null]}\n", KITH_E_FORMAT, "line 2, byte 21: a number was expected"},
        {GOOD "{\"id\":2,\"vector\":[1,1e999]}\n", KITH_E_DATA, "line 2, byte 21: a number that a 32-bit float"},
        {GOOD "{\"id\":2,\"vector\":[1,2}\n", KITH_E_FORMAT, "',' or ']' was expected"},
        {GOOD "{\"id\":2,\"vector\":[1,2,]}\n", KITH_E_FORMAT, "a number was expected"},
        {GOOD "{\"id\":2,\"vector\":\"x\"}\n", KITH_E_FORMAT, "an array of numbers"},
        {GOOD "{\"id\":2,\"id\":3,\"vector\":[1,2]}\n", KITH_E_FORMAT, "each key once"},
        {GOOD "{\"id\":2,\"vector\":[1,2]} x\n", KITH_E_FORMAT, "the end of the line"},
        {GOOD "{\"id\":2,\"vector\":[1,2],}\n", KITH_E_FORMAT, "a string was expected"},
        {GOOD "{\"id\":2 \"vector\":[1,2]}\n", KITH_E_FORMAT, "',' or '}' was expected"},
        {GOOD "{\"id\":2,\"x\":[1,{\"a\":tru}],\"vector\":[1,2]}\n", KITH_E_FORMAT, "a value was expected"},
        {GOOD "{\"id\":2,\"name\":5,\"vector\":[1,2]}\n", KITH_E_FORMAT, "a string was expected"},
        {GOOD "{\"id\":2,\"name\":\"\\ud83c\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "surrogate pair"},
        {GOOD "{\"id\":2,\"name\":\"\\udf4e\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "surrogate pair"},
        {GOOD "{\"id\":2,\"name\":\"\\u0000\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "NUL"},
        {GOOD "{\"id\":2,\"name\":\"\\q\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "after a backslash"},
        {GOOD "{\"id\":2,\"name\":\"\\u12g4\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "hexadecimal"},
        {GOOD "{\"id\":2,\"name\":\"\xFF\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "valid UTF-8"},
        {GOOD "{\"id\":2,\"name\":\"a\tb\",\"vector\":[1,2]}\n", KITH_E_FORMAT, "no control character"},
        {GOOD "{\"id\":2,\"name\":\"a\n", KITH_E_FORMAT, "the end of a string"},
        {"{\"id\":1,\"vector\":[]}\n", KITH_E_FORMAT, "no elements"},
        {"{\"id\":\"\",\"vector\":[1]}\n", KITH_E_FORMAT, "line 1: the id is empty"},
    };
#undef GOOD
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        io_refuse(io_put_text("bad.jsonl", cases[i].text), cases[i].status, cases[i].words);
}

static void jsonl_limits(void **state) {
    (void)state;
    for (int more = 0; more < 2; more++) {
        const size_t dim = 65536 + (size_t)more;
        char *text = malloc(dim * 2 + 64), *at = text + sprintf(text, "{\"vector\":[");
        for (size_t i = 0; i < dim; i++, at += 2) memcpy(at, "1,", 2);
        strcpy(at - 1, "]}\n");
        const char *path = io_put_text("w.jsonl", text);
        free(text);
        if (more) {
            io_refuse(path, KITH_E_LIMIT, "65537 elements");
            continue;
        }
        kith_reader *reader = io_open(path, NULL);
        assert_int_equal(io_next(reader, 1).count, 1);
        kith_reader_close(reader);
    }
    char deep[400] = "{\"vector\":[1],\"x\":";
    memset(deep + 18, '[', 65);
    memset(deep + 83, ']', 65);
    strcpy(deep + 148, "}\n");
    io_refuse(io_put_text("deep.jsonl", deep), KITH_E_FORMAT, "fewer than 64 nested brackets");
}

static void cut_anywhere(void **state) {
    (void)state;
    io_cut_everywhere(io_put_text("whole.csv", "id,x,y,name\n1,2.5,3,\"a \"\"b\"\"\"\n2,1e3,-4,c\n"), "cut.csv", 1);
    io_cut_everywhere(
        io_put_text("whole.jsonl", "{\"id\":1,\"vector\":[1,2],\"name\":\"\\uD83C\\uDF4E\",\"x\":{\"y\":[1]}}\n"),
        "cut.jsonl", 1);
    /* Every cut inside of the only object is seen. */
    io_cut_everywhere(
        io_put_text("one.jsonl", "{\"id\":1,\"vector\":[1,2],\"name\":\"a\\n\",\"x\":{\"y\":[true,null]}}"),
        "cut.jsonl", 0);
}

/* Our reader of JSON accepts what the JSON library accepts, on texts made by changing a byte or two of a good one. */
static void json_like_the_library(void **state) {
    (void)state;
    static const char good[] = "{\"a\":[1,-2.5e3,{\"b\":\"x\\u00e9\\n\"},true,null,[]],\"c\":{},\"d\":\"\xC3\xA9\"}";
    static const char letters[] = "{}[]\",:\\0123456789-+.eEutnaflrs \t\x01\xC3\xA9";
    ki_rng rng = {.state = 11};
    size_t accepted = 0;
    for (int i = 0; i < 60000; i++) {
        char text[sizeof(good)];
        memcpy(text, good, sizeof(good));
        for (uint64_t k = ki_rng_below(&rng, 3); k < 3; k++)
            text[ki_rng_below(&rng, sizeof(good) - 1)] = letters[ki_rng_below(&rng, sizeof(letters) - 1)];
        json_error_t problem;
        json_t *tree = json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &problem);
        /* It refuses numbers beyond doubles, which a skipped value may have. */
        const bool overflow = !tree && json_error_code(&problem) == json_error_numeric_overflow;
        char copy[sizeof(text)];
        memcpy(copy, text, sizeof(text));
        ki_json json;
        ki_json_begin(&json, copy, strlen(copy));
        const bool ours = ki_json_skip(&json) && ki_json_end(&json);
        if (!overflow && ours != (tree != NULL))
            fail_msg("%s: ours %d, library %d: %s", text, ours, tree != NULL, problem.text);
        accepted += ours;
        json_decref(tree);
    }
    assert_true(accepted > 1000 && accepted < 50000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_are),
        cmocka_unit_test(numbers_that_are_not),
        cmocka_unit_test(numbers_at_random),
        cmocka_unit_test(ids_as_text),
        cmocka_unit_test(utf8),
        cmocka_unit_test(csv_plain),
        cmocka_unit_test(csv_ids_and_names),
        cmocka_unit_test(csv_string_ids),
        cmocka_unit_test(csv_columns_by_option),
        cmocka_unit_test(csv_refusals),
        cmocka_unit_test(csv_specials),
        cmocka_unit_test(csv_limits),
        cmocka_unit_test(csv_large),
        cmocka_unit_test(csv_after_failure),
        cmocka_unit_test(decimal_comma_locale),
        cmocka_unit_test(jsonl_read),
        cmocka_unit_test(jsonl_strings_and_rows),
        cmocka_unit_test(jsonl_refusals),
        cmocka_unit_test(jsonl_limits),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(json_like_the_library),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
