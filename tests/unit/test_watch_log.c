/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of the log, as words and as JSON: what is in them, what never is, and that nobody waits for their reader.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/watch/log.h"
#include "../../server/watch/trace.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a call's headers are here: HTTP's own are of no concern. */
static const char *headers[8][2];

const char *ks_call_header(const ks_call *call, const char *name) {
    (void)call;
    for (size_t i = 0; i < 8 && headers[i][0]; i++)
        if (strcmp(headers[i][0], name) == 0) return headers[i][1];
    return NULL;
}

/* ---- A pipe that is read ----------------------------------------------------------------------------------------- */

static int ends[2];
static ks_log_to to;
static char got[1 << 17];

static int pipe_setup(void **state) {
    (void)state;
    memset(headers, 0, sizeof(headers));
    if (pipe(ends) != 0) return -1;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    to = (ks_log_to){.fd = ends[1], .json = 1, .level = KS_LOG_DEBUG};
    return 0;
}

static int pipe_teardown(void **state) {
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static const char *take(void) {
    size_t used = 0;
    for (ssize_t count; (count = read(ends[0], got + used, sizeof(got) - 1 - used)) > 0;) used += (size_t)count;
    got[used] = 0;
    return got;
}

/* The only line there is, as an object. */
static json_t *take_object(void) {
    json_error_t error;
    const char *line = take();
    assert_true(*line && line[strlen(line) - 1] == '\n');
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (!object) fail_msg("%s: %s", error.text, line);
    return object;
}

static void assert_member(const json_t *object, const char *name, const char *text) {
    const char *found = json_string_value(json_object_get(object, name));
    if (!found || strcmp(found, text) != 0) fail_msg("%s is %s, but %s was expected", name, found, text);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static void test_json_lines_are_json(void **state) {
    (void)state;
    ks_line line;
    ks_line_begin(&line, &to, KS_LOG_WARNING, "start", "a \"quoted\"\\ text\nwith \x01\x7f, \xc3\xa4 and \xff\xc3");
    ks_line_uint(&line, "count", UINT64_MAX / 2);
    ks_line_real(&line, "ms", 1.5);
    ks_line_text(&line, "none", NULL);
    ks_line_end(&line);
    json_t *object = take_object();
    assert_member(object, "level", "warning");
    assert_member(object, "event", "start");
    assert_member(object, "message", "a \"quoted\"\\ text\nwith \x01\x7f, \xc3\xa4 and \xc3\xbf\xc3\x83");
    assert_int_equal(json_integer_value(json_object_get(object, "count")), INT64_MAX);
    assert_true(json_real_value(json_object_get(object, "ms")) == 1.5);
    assert_null(json_object_get(object, "none"));
    const char *time = json_string_value(json_object_get(object, "time"));
    assert_int_equal(strlen(time), strlen("2026-01-01T00:00:00.000Z"));
    assert_true(time[10] == 'T' && time[23] == 'Z');
    json_decref(object);
}

static void test_lines_for_people(void **state) {
    (void)state;
    ks_line line;
    to.json = 0;
    ks_line_begin(&line, &to, KS_LOG_INFO, "start", "serving \"shop\"");
    ks_line_text(&line, "plain", "/v1");
    ks_line_text(&line, "forged", "x\n2026 error y=1");
    ks_line_uint(&line, "count", 7);
    ks_line_end(&line);
    assert_string_equal(take() + 24, " info start: serving \\\"shop\\\" plain=/v1 "
                                     "forged=\"x\\u000a2026 error y=1\" count=7\n");
}

/* However long what comes from outside is, and whatever is in it: a line of JSON, within its bound. */
static void test_long_texts_are_cut(void **state) {
    (void)state;
    static char text[8000];
    static const char *const pieces[] = {"a", "\"", "\x01", "\xff", "\xf0\x9f\x90\x9f", "\xe2\x82\xac"};
    for (size_t p = 0; p < sizeof(pieces) / sizeof(*pieces); p++) {
        const size_t bytes = strlen(pieces[p]);
        for (size_t i = 0; i < sizeof(text) - 1; i++) text[i] = pieces[p][i % bytes];
        ks_line line;
        ks_line_begin(&line, &to, KS_LOG_DEBUG, "call", text);
        for (int i = 0; i < 20; i++) {
            char name[32];
            snprintf(name, sizeof(name), "field%d", i);
            ks_line_text(&line, name, text + i);
            ks_line_uint(&line, name + 1, 1);
        }
        ks_line_end(&line);
        json_t *object = take_object();
        const char *message = json_string_value(json_object_get(object, "message"));
        assert_true(strlen(message) > 200);
        assert_string_equal(message + strlen(message) - 3, "...");
        assert_true(strlen(got) <= KS_LINE_BYTES);
        json_decref(object);
    }
}

static void test_levels(void **state) {
    (void)state;
    to.level = KS_LOG_WARNING;
    assert_true(ks_line_wanted(&to, KS_LOG_ERROR) && ks_line_wanted(&to, KS_LOG_WARNING));
    assert_false(ks_line_wanted(&to, KS_LOG_INFO) || ks_line_wanted(&to, KS_LOG_DEBUG));
}

/* A reader that stands still costs lines, not time; the next line that is taken says how many. */
static void test_nobody_waits_for_the_reader(void **state) {
    (void)state;
    uint64_t written = 0;
    ks_line line;
    while (!atomic_load(&to.lost) && written < 100000) {
        ks_line_begin(&line, &to, KS_LOG_INFO, "event", "some words that fill the pipe, again and again");
        ks_line_end(&line);
        written++;
    }
    assert_true(written < 100000);
    ks_line_begin(&line, &to, KS_LOG_INFO, "event", "one more");
    ks_line_end(&line);
    assert_int_equal(atomic_load(&to.lost), 2);
    take();
    ks_line_begin(&line, &to, KS_LOG_INFO, "event", "and on");
    ks_line_end(&line);
    assert_int_equal(atomic_load(&to.lost), 0);
    assert_non_null(strstr(take(), "\"lines\":2}"));
    assert_non_null(strstr(got, "and on"));
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static const ks_route query_route = {KS_POST, "/v1/collections/{}/query", KS_READ, "query", NULL};
static const ks_key web_key = {.name = "shop-web"};

static ks_call some_call(void) {
    return (ks_call){.method = KS_POST,
                     .path = "/v1/collections/shop/query",
                     .parts = {"shop"},
                     .body = "{\"vector\": [0.125, 0.25], \"filter\": \"secret = 1\"}",
                     .body_bytes = 50,
                     .route = &query_route,
                     .key = &web_key,
                     .reply = {.status = 200, .body = {.bytes = "{\"results\": []}", .used = 15}}};
}

static void test_a_call_is_a_line_without_what_it_says(void **state) {
    (void)state;
    ks_call call = some_call();
    headers[0][0] = "traceparent", headers[0][1] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers[1][0] = "X-Request-Id", headers[1][1] = "r-17";
    headers[2][0] = "Authorization", headers[2][1] = "Bearer kith_topsecret";
    ks_log_call(&to, &call, 1250000, 115);
    json_t *object = take_object();
    assert_member(object, "level", "debug");
    assert_member(object, "event", "call");
    assert_member(object, "method", "POST");
    assert_member(object, "path", "/v1/collections/shop/query");
    assert_member(object, "op", "query");
    assert_member(object, "key", "shop-web");
    assert_member(object, "request_id", "r-17");
    assert_member(object, "trace_id", "0af7651916cd43dd8448eb211c80319c");
    assert_member(object, "parent_id", "b7ad6b7169203331");
    assert_int_equal(json_integer_value(json_object_get(object, "status")), 200);
    assert_int_equal(json_integer_value(json_object_get(object, "received_bytes")), 50);
    assert_int_equal(json_integer_value(json_object_get(object, "sent_bytes")), 115);
    assert_true(json_real_value(json_object_get(object, "ms")) == 1.25);
    static const char *const never[] = {"0.125", "secret", "results", "Bearer"};
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) assert_null(strstr(got, never[i]));
    json_decref(object);
}

static void test_ids_that_are_none_stay_out(void **state) {
    (void)state;
    ks_call call = some_call();
    headers[0][0] = "traceparent", headers[0][1] = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    headers[1][0] = "X-Request-Id", headers[1][1] = "forged\" level=error";
    ks_log_call(&to, &call, 1, 1);
    take();
    assert_null(strstr(got, "trace_id"));
    assert_null(strstr(got, "forged"));
}

static void test_slow_calls_are_told_at_warning(void **state) {
    (void)state;
    ks_call call = some_call();
    to.level = KS_LOG_WARNING;
    ks_log_call(&to, &call, 999999999, 1);
    assert_string_equal(take(), "");
    ks_log_call(&to, &call, 1000000000, 1);
    json_t *object = take_object();
    assert_member(object, "event", "slow");
    assert_member(object, "level", "warning");
    json_decref(object);
}

/* ---- Trace headers ----------------------------------------------------------------------------------------------- */

static void test_traceparent(void **state) {
    (void)state;
    static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    static const struct {
        size_t place;
        char byte;
    } bad[] = {{0, 'f'}, {2, '0'}, {3, 'A'}, {10, 'g'}, {35, '0'}, {40, ' '}, {52, '_'}, {54, 'x'}, {1, '\n'}};
    char text[80];
    ks_trace trace;
    assert_int_equal(ks_trace_parse(good, &trace), 1);
    assert_string_equal(trace.trace, "0af7651916cd43dd8448eb211c80319c");
    assert_string_equal(trace.parent, "b7ad6b7169203331");
    assert_int_equal(trace.sampled, 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(text, sizeof(text), "%s", good);
        text[bad[i].place] = bad[i].byte;
        if (bad[i].place == 0) text[1] = 'f';
        assert_int_equal(ks_trace_parse(text, &trace), 0);
    }
    for (size_t cut = 0; cut < strlen(good); cut++) {
        snprintf(text, sizeof(text), "%.*s", (int)cut, good);
        assert_int_equal(ks_trace_parse(text, &trace), 0);
    }
    assert_int_equal(ks_trace_parse("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", &trace), 0);
    assert_int_equal(ks_trace_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", &trace), 0);
    assert_int_equal(ks_trace_parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02-more", &trace), 1);
    assert_int_equal(trace.sampled, 0);
    assert_int_equal(ks_trace_parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", &trace), 0);
    assert_int_equal(ks_trace_parse(NULL, &trace), 0);
}

static void test_ids_of_requests(void **state) {
    (void)state;
    char longest[130];
    memset(longest, 'a', sizeof(longest));
    longest[128] = 0;
    assert_true(ks_trace_is_id("4bf92f35-77b3/4da6"));
    assert_true(ks_trace_is_id(longest));
    longest[128] = 'a', longest[129] = 0;
    assert_false(ks_trace_is_id(longest));
    assert_false(ks_trace_is_id(""));
    assert_false(ks_trace_is_id(NULL));
    assert_false(ks_trace_is_id("a b"));
    assert_false(ks_trace_is_id("a\"b"));
}

#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, pipe_setup, pipe_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_PIPE(test_json_lines_are_json),         WITH_PIPE(test_lines_for_people),
        WITH_PIPE(test_long_texts_are_cut),          WITH_PIPE(test_levels),
        WITH_PIPE(test_nobody_waits_for_the_reader), WITH_PIPE(test_a_call_is_a_line_without_what_it_says),
        WITH_PIPE(test_ids_that_are_none_stay_out),  WITH_PIPE(test_slow_calls_are_told_at_warning),
        cmocka_unit_test(test_traceparent),          cmocka_unit_test(test_ids_of_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
