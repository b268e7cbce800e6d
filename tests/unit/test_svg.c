/* SPDX-License-Identifier: Apache-2.0
 *
 * The SVG writer and the escaping below it. Whatever goes in, what comes out must be well-formed: a small checker here
 * walks the tags, attributes, entities and characters of every picture that a test makes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/plot/html.h"
#include "../../cli/plot/svg.h"

/* ---- A checker of well-formedness -------------------------------------------------------------------------------- */

#define DEPTH_MAX 32

struct checker {
    const char *at;
    char open[DEPTH_MAX][16];
    size_t depth;
};

/* &amp; &lt; &gt; &quot; &#39; and nothing else. */
static bool check_entity(struct checker *checker) {
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < sizeof(entities) / sizeof(*entities); i++) {
        size_t bytes = strlen(entities[i]);
        if (strncmp(checker->at, entities[i], bytes) != 0) continue;
        checker->at += bytes;
        return true;
    }
    return false;
}

/* One character of content or of an attribute's value. */
static bool check_character(struct checker *checker) {
    unsigned char c = (unsigned char)*checker->at;
    if (c == '&') return check_entity(checker);
    if (c == '<' || c == 0x7f) return c == 0x7f ? (checker->at++, true) : false;
    if (c < 0x20 && c != '\n' && c != '\t' && c != '\r') return false;
    if (c < 0x80) {
        checker->at++;
        return true;
    }
    size_t bytes = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
    for (size_t i = 1; i < bytes; i++)
        if (((unsigned char)checker->at[i] & 0xc0) != 0x80) return false;
    checker->at += bytes;
    return bytes > 0;
}

static size_t name_bytes(const char *text) {
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
}

/* Behind "<": a start tag with its attributes. */
static bool check_start_tag(struct checker *checker) {
    size_t bytes = name_bytes(checker->at);
    char name[16];
    if (bytes == 0 || bytes >= sizeof(name)) return false;
    memcpy(name, checker->at, bytes);
    name[bytes] = '\0';
    checker->at += bytes;
    while (*checker->at == ' ') {
        checker->at++;
        bytes = name_bytes(checker->at);
        if (bytes == 0 || checker->at[bytes] != '=' || checker->at[bytes + 1] != '"') return false;
        checker->at += bytes + 2;
        while (*checker->at && *checker->at != '"')
            if (!check_character(checker)) return false;
        if (*checker->at++ != '"') return false;
    }
    if (strncmp(checker->at, "/>", 2) == 0) {
        checker->at += 2;
        return true;
    }
    if (*checker->at++ != '>' || checker->depth == DEPTH_MAX) return false;
    memcpy(checker->open[checker->depth++], name, sizeof(name));
    return true;
}

static bool check_end_tag(struct checker *checker) {
    size_t bytes = name_bytes(checker->at);
    if (checker->depth == 0) return false;
    const char *name = checker->open[--checker->depth];
    bool same = bytes == strlen(name) && strncmp(checker->at, name, bytes) == 0;
    checker->at += bytes;
    return same && *checker->at++ == '>';
}

static bool well_formed(const char *text) {
    struct checker checker = {.at = text};
    while (*checker.at) {
        bool fine;
        if (strncmp(checker.at, "</", 2) == 0) {
            checker.at += 2;
            fine = check_end_tag(&checker);
        } else if (*checker.at == '<') {
            checker.at++;
            fine = check_start_tag(&checker);
        } else {
            fine = check_character(&checker);
        }
        if (!fine) return false;
    }
    return checker.depth == 0;
}

static void assert_picture(const struct html *html) {
    assert_true(html_ok(html));
    assert_non_null(html->text);
    assert_int_equal(strlen(html->text), html->bytes);
    assert_memory_equal(html->text, "<svg ", 5);
    if (!well_formed(html->text)) fail_msg("not well-formed: %s", html->text);
    assert_null(strstr(html->text, "nan"));
    assert_null(strstr(html->text, "inf"));
}

static size_t count_of(const char *text, const char *what) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) count++;
    return count;
}

/* ---- The checker is tested first: it must be able to say no ------------------------------------------------------ */

static void test_checker_refuses(void **state) {
    (void)state;
    assert_true(well_formed("<a b=\"1\">x<c/>&amp;</a>"));
    static const char *const bad[] = {"<a>",          "</a>",           "<a></b>",     "<a b=1/>",
                                      "<a b=\"<\"/>", "<a>&nbsp;</a>",  "<a>\x01</a>", "<a>\xff</a>",
                                      "<a b/>",       "<a b=\"1/></a>", "a & b",       "<a>\xc3</a>"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) assert_false(well_formed(bad[i]));
}

/* ---- Escaping ---------------------------------------------------------------------------------------------------- */

static void test_text_is_escaped(void **state) {
    (void)state;
    struct html html = HTML_INIT;
    html_text(&html, "a<b>&\"'");
    assert_string_equal(html.text, "a&lt;b&gt;&amp;&quot;&#39;");
    html_free(&html);
    html_text(&html, "\xff|\xc3|\xed\xa0\x80|\x01|\xf4\x90\x80\x80|\xc3\xa9");
    assert_true(well_formed(html.text));
    assert_non_null(strstr(html.text, "\xef\xbf\xbd|"));
    assert_non_null(strstr(html.text, "|\xc3\xa9"));
    html_free(&html);
    html_text(&html, NULL);
    assert_true(html_ok(&html));
    html_free(&html);
}

/* Every byte, and every pair that begins a UTF-8 character, cut off by the end of the text. */
static void test_any_bytes_are_well_formed(void **state) {
    (void)state;
    for (unsigned first = 1; first < 256; first++)
        for (unsigned second = 0; second < 256; second += first < 0x80 ? 255 : 1) {
            char text[3] = {(char)first, (char)second, 0};
            struct html html = HTML_INIT;
            html_text(&html, text);
            assert_true(well_formed(html.text));
            html_free(&html);
        }
}

static void test_script_text_cannot_leave_its_string(void **state) {
    (void)state;
    struct html html = HTML_INIT;
    html_script_text(&html, "</script>\"'\\\n\xe2\x80\xa8`");
    assert_null(strpbrk(html.text, "<>\"'\n`"));
    assert_non_null(strstr(html.text, "\\u003c/script\\u003e"));
    assert_non_null(strstr(html.text, "\\u2028"));
    html_free(&html);
}

static void test_base64(void **state) {
    (void)state;
    static const struct {
        const char *plain, *coded;
    } cases[] = {{"", ""},        {"f", "Zg=="},          {"fo", "Zm8="},
                 {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct html html = HTML_INIT;
        html_base64(&html, cases[i].plain, strlen(cases[i].plain));
        assert_true(html_ok(&html));
        assert_string_equal(html.text, cases[i].coded);
        html_free(&html);
    }
}

static void test_failure_is_sticky(void **state) {
    (void)state;
    struct html html = HTML_INIT;
    html_base64(&html, "", HTML_BYTES_MAX); /* refused by its size, before a byte is read */
    assert_false(html_ok(&html));
    html_raw(&html, "more");
    assert_int_equal(html.bytes, 0);
    FILE *stream = tmpfile();
    assert_non_null(stream);
    assert_false(html_write(&html, stream));
    fclose(stream);
    html_free(&html);
    html_raw(&html, "new");
    assert_true(html_ok(&html));
    html_free(&html);
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {1, "1"},
                 {-1.5, "-1.5"},
                 {0.95, "0.95"},
                 {0.9995, "0.9995"},
                 {12.34, "12.3"},
                 {999.4, "999"},
                 {999.9, "1k"},
                 {1500, "1.5k"},
                 {123456, "123k"},
                 {1234567, "1.23M"},
                 {999960000, "1G"},
                 {0.001, "0.001"},
                 {0.00012, "0.00012"},
                 {1e-7, "1e-7"},
                 {2.5e20, "2.5e20"},
                 {0.1 + 0.2, "0.3"},
                 {INFINITY, "\xe2\x88\x9e"},
                 {NAN, "\xe2\x80\x93"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[32];
        svg_number(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
    for (int exponent = -330; exponent < 310; exponent++) {
        char text[32];
        svg_number(pow(10, exponent) * 9.99999, text);
        assert_true(strlen(text) < sizeof(text) - 1);
    }
}

/* ---- Plots ------------------------------------------------------------------------------------------------------- */

static const double some_x[] = {1, 2, 3, 4}, some_y[] = {10, 30, 20, 40};

static void draw(struct html *out, enum svg_scale scale, const double *x, const double *y, size_t count,
                 enum svg_marks marks) {
    struct svg_series series = {.name = "a", .x = x, .y = y, .count = count, .marks = marks};
    struct svg_plot plot = {.series = &series, .series_count = 1};
    plot.frame.title = "Title";
    plot.frame.x = (struct svg_axis){.label = "x", .scale = scale};
    plot.frame.y = (struct svg_axis){.label = "y", .scale = scale};
    svg_plot(out, &plot);
}

static void test_plain_plot(void **state) {
    (void)state;
    struct html html = HTML_INIT;
    draw(&html, SVG_LINEAR, some_x, some_y, 4, SVG_LINE_AND_POINTS);
    assert_picture(&html);
    assert_int_equal(count_of(html.text, "kp-line kp-s1\""), 1);
    assert_int_equal(count_of(html.text, "<path class=\"kp-f1\""), 4);
    assert_non_null(strstr(html.text, "<title>Title</title>"));
    assert_non_null(strstr(html.text, ">Title</text>"));
    assert_non_null(strstr(html.text, "prefers-color-scheme:dark"));
    html_free(&html);
}

static void test_empty_plots(void **state) {
    (void)state;
    for (int scale = SVG_LINEAR; scale <= SVG_LOGIT; scale++) {
        struct html html = HTML_INIT;
        draw(&html, (enum svg_scale)scale, some_x, some_y, 0, SVG_LINE_AND_POINTS);
        assert_picture(&html);
        html_free(&html);
        draw(&html, (enum svg_scale)scale, NULL, NULL, 4, SVG_AREA | SVG_LINE);
        assert_picture(&html);
        html_free(&html);
        struct svg_plot nothing = {.series_count = 0};
        nothing.frame.x.scale = nothing.frame.y.scale = (enum svg_scale)scale;
        svg_plot(&html, &nothing);
        assert_picture(&html);
        html_free(&html);
    }
}

/* Values that no axis can show, and ranges at the ends of what a double can hold. */
static void test_hostile_values(void **state) {
    (void)state;
    static const double sets[][4] = {{NAN, NAN, NAN, NAN},
                                     {INFINITY, -INFINITY, 1, 2},
                                     {0, 0, 0, 0},
                                     {5, 5, 5, 5},
                                     {-1, -2, -3, -4},
                                     {DBL_MAX, -DBL_MAX, 0, 1},
                                     {DBL_MIN, DBL_TRUE_MIN, 0, 1},
                                     {DBL_MAX, DBL_MAX, DBL_MAX, DBL_MAX},
                                     {1e300, 1e-300, 1, 0},
                                     {1, 1 + DBL_EPSILON, 1, 1},
                                     {0.5, 1, 0, 2},
                                     {-0.0, 0.0, 1, NAN}};
    for (int scale = SVG_LINEAR; scale <= SVG_LOGIT; scale++)
        for (size_t set = 0; set < sizeof(sets) / sizeof(*sets); set++)
            for (int marks = 0; marks < 16; marks++) {
                struct html html = HTML_INIT;
                draw(&html, (enum svg_scale)scale, sets[set], sets[(set + 3) % 12], 4, (enum svg_marks)marks);
                assert_picture(&html);
                html_free(&html);
                draw(&html, (enum svg_scale)scale, some_x, sets[set], 4, (enum svg_marks)marks);
                assert_picture(&html);
                html_free(&html);
            }
}

/* A zero on a log axis is left out and breaks the line. */
static void test_log_axis_with_zeros(void **state) {
    (void)state;
    const double y[] = {10, 100, 0, 1000, 10000};
    const double x[] = {1, 2, 3, 4, 5};
    struct svg_series series = {.x = x, .y = y, .count = 5};
    struct svg_plot plot = {.series = &series, .series_count = 1};
    plot.frame.y.scale = SVG_LOG;
    struct html html = HTML_INIT;
    svg_plot(&html, &plot);
    assert_picture(&html);
    assert_int_equal(count_of(html.text, "kp-line kp-s1\""), 2);
    assert_int_equal(count_of(html.text, "<path class=\"kp-f1\""), 4);
    assert_non_null(strstr(html.text, ">1k</text>"));
    html_free(&html);
}

/* Recall of exactly 1 has a place on a logit axis, and the axis says so. */
static void test_logit_axis_shows_one(void **state) {
    (void)state;
    const double x[] = {0.9, 0.99, 1}, y[] = {1, 2, 3};
    struct svg_series series = {.x = x, .y = y, .count = 3};
    struct svg_plot plot = {.series = &series, .series_count = 1};
    plot.frame.x.scale = SVG_LOGIT;
    struct html html = HTML_INIT;
    svg_plot(&html, &plot);
    assert_picture(&html);
    assert_int_equal(count_of(html.text, "<path class=\"kp-f1\""), 3);
    assert_non_null(strstr(html.text, ">0.99</text>"));
    assert_non_null(strstr(html.text, ">1</text>"));
    html_free(&html);
}

static void test_hostile_labels(void **state) {
    (void)state;
    static const char *const hostile[] = {
        "<script>alert(1)</script>",
        "\"onload=\"x",
        "\xff\xfe",
        "",
        "a\x01|b",
        "a very long label that has no chance of fitting into the room it is given, at all"};
    for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
        const char *labels[] = {hostile[i], hostile[i], hostile[i], hostile[i]};
        struct svg_series series[] = {{.name = hostile[i], .x = some_x, .y = some_y, .count = 4, .labels = labels},
                                      {.name = hostile[i], .x = some_x, .y = some_y, .count = 4, .quiet = true}};
        struct svg_frame frame = {.title = hostile[i], .subtitle = hostile[i], .description = hostile[i]};
        frame.x = frame.y =
            (struct svg_axis){.label = hostile[i], .ticks = some_x, .tick_labels = labels, .tick_count = 4};
        struct svg_plot plot = {.frame = frame, .series = series, .series_count = 2};
        struct svg_bars bars = {.frame = frame, .labels = labels, .values = some_y, .value_labels = labels, .count = 4};
        struct svg_heat heat = {.frame = frame,
                                .row_labels = labels,
                                .column_labels = labels,
                                .values = some_y,
                                .rows = 2,
                                .columns = 2,
                                .unit = hostile[i]};
        struct html html = HTML_INIT;
        svg_plot(&html, &plot);
        assert_picture(&html);
        html_free(&html);
        svg_bars(&html, &bars);
        assert_picture(&html);
        html_free(&html);
        svg_heat(&html, &heat);
        assert_picture(&html);
        assert_null(strstr(html.text, "<script"));
        html_free(&html);
    }
}

/* Many series: colours repeat, the legend wraps and makes room for itself. */
static void test_many_series(void **state) {
    (void)state;
    struct svg_series series[40];
    for (size_t i = 0; i < 40; i++)
        series[i] = (struct svg_series){.name = "a series of some name", .x = some_x, .y = some_y, .count = 4};
    struct svg_plot plot = {.series = series, .series_count = 40};
    struct html html = HTML_INIT;
    svg_plot(&html, &plot);
    assert_picture(&html);
    assert_int_equal(count_of(html.text, ">a series of some name</text>"), 40);
    assert_null(strstr(html.text, "kp-s7"));
    html_free(&html);
}

static void test_bars(void **state) {
    (void)state;
    static const double values[] = {3, 0, NAN, INFINITY, -2, 1e300};
    for (int scale = SVG_LINEAR; scale <= SVG_LOG; scale++) {
        struct svg_bars bars = {.values = values, .count = 6};
        bars.frame.x.scale = (enum svg_scale)scale;
        struct html html = HTML_INIT;
        svg_bars(&html, &bars);
        assert_picture(&html);
        assert_int_equal(count_of(html.text, "<rect class=\"kp-f1\""), 6);
        html_free(&html);
        bars.count = 0;
        svg_bars(&html, &bars);
        assert_picture(&html);
        html_free(&html);
    }
}

static void test_heat(void **state) {
    (void)state;
    static const double values[] = {1, 2, NAN, -1, 0, INFINITY};
    struct svg_heat heat = {.values = values, .rows = 2, .columns = 3};
    struct html html = HTML_INIT;
    svg_heat(&html, &heat);
    assert_picture(&html);
    assert_int_equal(count_of(html.text, "<g>"), 4);
    html_free(&html);
    heat = (struct svg_heat){.values = NULL};
    svg_heat(&html, &heat);
    assert_picture(&html);
    html_free(&html);
}

/* An embedded picture brings no style: the page has it once. */
static void test_embedded(void **state) {
    (void)state;
    struct svg_series series = {.x = some_x, .y = some_y, .count = 4};
    struct svg_plot plot = {.frame.embedded = true, .series = &series, .series_count = 1};
    struct html html = HTML_INIT;
    svg_plot(&html, &plot);
    assert_picture(&html);
    assert_null(strstr(html.text, "<style"));
    assert_non_null(strstr(svg_style(), ".kp"));
    assert_null(strchr(svg_style(), '<'));
    html_free(&html);
}

/* Numbers have a point also where the locale has a comma. Only locales that are installed can be tried. */
static void test_locale_changes_nothing(void **state) {
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "pl_PL.UTF-8"};
    struct html plain = HTML_INIT, other = HTML_INIT;
    draw(&plain, SVG_LINEAR, some_x, some_y, 4, SVG_LINE_AND_POINTS);
    bool found = false;
    for (size_t i = 0; !found && i < sizeof(commas) / sizeof(*commas); i++)
        found = setlocale(LC_ALL, commas[i]) != NULL;
    draw(&other, SVG_LINEAR, some_x, some_y, 4, SVG_LINE_AND_POINTS);
    setlocale(LC_ALL, "C");
    assert_string_equal(plain.text, other.text);
    html_free(&plain);
    html_free(&other);
    if (!found) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checker_refuses),
        cmocka_unit_test(test_text_is_escaped),
        cmocka_unit_test(test_any_bytes_are_well_formed),
        cmocka_unit_test(test_script_text_cannot_leave_its_string),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_failure_is_sticky),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_plain_plot),
        cmocka_unit_test(test_empty_plots),
        cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_log_axis_with_zeros),
        cmocka_unit_test(test_logit_axis_shows_one),
        cmocka_unit_test(test_hostile_labels),
        cmocka_unit_test(test_many_series),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_heat),
        cmocka_unit_test(test_embedded),
        cmocka_unit_test(test_locale_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
