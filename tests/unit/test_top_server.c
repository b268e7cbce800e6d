/* SPDX-License-Identifier: Apache-2.0
 *
 * What `kith top` of a server rests on: URLs, answers in HTTP/1.1, and figures as a server says them, strange ones too.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cli/collection/top.h"
#include "../../cli/http_get.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

static void assert_target(const char *url, bool tls, const char *host, const char *port, const char *prefix) {
    struct http_target target;
    if (http_target_parse(url, &target) != 0) fail_msg("%s was refused", url);
    assert_true(target.tls == tls);
    assert_string_equal(target.host, host);
    assert_string_equal(target.port, port);
    assert_string_equal(target.prefix, prefix);
}

static void test_urls(void **state) {
    (void)state;
    assert_target("http://127.0.0.1:6333", false, "127.0.0.1", "6333", "");
    assert_target("http://localhost", false, "localhost", "80", "");
    assert_target("HTTPS://search.example/", true, "search.example", "443", "");
    assert_target("https://search.example:8443/kith/a/", true, "search.example", "8443", "/kith/a");
    assert_target("http://[::1]:6333/x", false, "::1", "6333", "/x");
    assert_target("http://[fe80::1]", false, "fe80::1", "80", "");
    static const char *const bad[] = {
        "ftp://x",     "http://",       "http://:80",   "http://x:",         "http://x:0",      "http://x:65536",
        "http://x:8o", "http://user@x", "http://x?a=b", "http://x/#a",       "http://x /",      "http://x\r\nA: b",
        "http://[::1", "http://[::1]x", "http://[]:80", "http://x/\xc3\xa4", "http://x:999999", "localhost:6333"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct http_target target;
        if (http_target_parse(bad[i], &target) == 0) fail_msg("%s was taken", bad[i]);
    }
    char *longest = malloc(3000);
    memset(longest, 'a', 3000);
    memcpy(longest, "http://", 7);
    longest[2999] = 0;
    struct http_target target;
    assert_int_not_equal(http_target_parse(longest, &target), 0);
    longest[10] = '/';
    assert_int_not_equal(http_target_parse(longest, &target), 0);
    free(longest);
    assert_true(http_is_url("http://x") && http_is_url("HTTPS://x"));
    assert_false(http_is_url("shop") || http_is_url("httpshop") || http_is_url("./http://x"));
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void assert_answer(const char *bytes, int status, const char *body) {
    struct http_answer answer;
    if (!http_answer_parse(bytes, strlen(bytes), &answer)) fail_msg("refused: %s", bytes);
    assert_int_equal(answer.status, status);
    assert_int_equal(answer.body_bytes, strlen(body));
    assert_string_equal(answer.body, body);
    free(answer.body);
}

static void test_answers(void **state) {
    (void)state;
    assert_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello");
    assert_answer("HTTP/1.1 200 OK\r\nX: y\r\ncontent-length:  4\r\n\r\nhello", 200, "hell");
    assert_answer("HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nnothing", 404, "nothing");
    assert_answer("HTTP/1.1 503 \r\n\r\n", 503, "");
    assert_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, world...\r\n0\r\n\r\n",
                  200, "hello, world...");
    /* What stands in a body is no header. */
    assert_answer("HTTP/1.1 200 OK\r\nA: b\r\n\r\nTransfer-Encoding: chunked\r\n\r\n", 200,
                  "Transfer-Encoding: chunked\r\n\r\n");
    static const char *const bad[] = {
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 xyz\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct http_answer answer;
        if (http_answer_parse(bad[i], strlen(bad[i]), &answer)) fail_msg("taken: %s", bad[i]);
    }
}

/* An answer that is cut anywhere is none, or says less: it is never read behind its end (the sanitizers watch). */
static void test_cut_answers(void **state) {
    (void)state;
    static const char whole[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n";
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
        struct http_answer answer = {0};
        char *bytes = malloc(cut + 1);
        memcpy(bytes, whole, cut);
        bytes[cut] = 0;
        const bool taken = http_answer_parse(bytes, cut, &answer);
        assert_true(!taken || cut >= sizeof(whole) - 3);
        free(answer.body);
        free(bytes);
    }
}

/* ---- Figures ----------------------------------------------------------------------------------------------------- */

static char *screen_of(const char *text, size_t lines) {
    char *shown = NULL;
    size_t bytes = 0;
    json_error_t error;
    json_t *stats = json_loads(text, 0, &error);
    assert_non_null(stats);
    FILE *stream = open_memstream(&shown, &bytes);
    top_screen(stream, "http://x", stats, lines);
    fclose(stream);
    json_decref(stats);
    return shown;
}

static void assert_shown(const char *screen, const char *part) {
    if (!strstr(screen, part)) fail_msg("\"%s\" is not in:\n%s", part, screen);
}

static void test_screen(void **state) {
    (void)state;
    char *screen =
        screen_of("{\"calls_per_s\": 12345, \"queries_per_s\": 23456.7, \"errors_per_s\": 0, \"p50_ms\": 0.42,"
                  "\"p99_ms\": 12.5, \"batch_mean\": 3.25, \"queue\": 7, \"busy\": 0.43, \"connections\": 64,"
                  "\"memory_bytes\": 1073741824, \"collections\": [{\"name\": \"shop\", \"items\": 115659,"
                  "\"segments\": 3, \"head_rows\": 120, \"cache_hits\": 3, \"cache_misses\": 1,"
                  "\"work\": \"merging\", \"work_done\": 40, \"work_total\": 80,"
                  "\"recall\": {\"mean\": 0.953, \"low\": 0.947, \"high\": 0.959, \"checked\": 1234}}]}",
                  24);
    static const char *const parts[] = {"http://x",
                                        "12,345/s",
                                        "420 us",
                                        "12.5 ms",
                                        "3.2 queries",
                                        "43 %",
                                        "64",
                                        "1.00 GiB",
                                        "shop",
                                        "115,659",
                                        "120",
                                        "75.0 %",
                                        "0.953 (0.947 to 0.959) of 1,234",
                                        "merging 50 %"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) assert_shown(screen, parts[i]);
    free(screen);
}

/* A server may say anything: nothing of it steers the terminal, and no number is taken beyond its range. */
static void test_strange_figures(void **state) {
    (void)state;
    char *screen =
        screen_of("{\"calls_per_s\": \"many\", \"p50_ms\": -1, \"p99_ms\": 1e308, \"queue\": 1e300, \"busy\": null,"
                  "\"memory_bytes\": -5, \"collections\": [{\"name\": \"\\u001b[2Jx\\n\", \"items\": 1e30,"
                  "\"recall\": 7, \"work\": 3}, 5, null, {\"work\": \"\\u0007\", \"recall\": {\"checked\": 1}}]}",
                  24);
    assert_null(strchr(screen, '\033'));
    assert_null(strchr(screen, '\007'));
    assert_shown(screen, "?[2Jx");
    free(screen);
    /* More collections than lines. */
    screen = screen_of(
        "{\"collections\": [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]}", 15);
    assert_shown(screen, "and 15 more");
    free(screen);
    free(screen_of("{}", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),   cmocka_unit_test(test_answers),         cmocka_unit_test(test_cut_answers),
        cmocka_unit_test(test_screen), cmocka_unit_test(test_strange_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
