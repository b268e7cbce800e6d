/* SPDX-License-Identifier: Apache-2.0
 *
 * tiers: any
 *
 * What a front reads and decides by itself: answers in pieces of every size and broken ones, which requests read, where
 * backends are, timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../server/fleet/inner.h"

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

struct example {
    const char *bytes;
    int ends; /* the connection ends behind it */
    ks_answer_part part;
    int status, keeps_alive;
    const char *body, *wrong;
};

static const struct example examples[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, KS_ANSWER_WHOLE, 200, 1, "hello", NULL},
    {"HTTP/1.1 200 OK\ncontent-length:5\n\nhello", 0, KS_ANSWER_WHOLE, 200, 1, "hello", NULL},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 0, KS_ANSWER_WHOLE, 200, 0, "hi", NULL},
    {"HTTP/1.1 200 OK\r\nConnection: x, Close \r\nContent-Length: 0\r\n\r\n", 0, KS_ANSWER_WHOLE, 200, 0, "", NULL},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 0, KS_ANSWER_WHOLE, 200, 0, "hi", NULL},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 0, KS_ANSWER_WHOLE, 200, 1, "hi",
     NULL},
    {"HTTP/1.1 204 None\r\n\r\n", 0, KS_ANSWER_WHOLE, 204, 1, "", NULL},
    {"HTTP/1.1 304 Same\r\nContent-Length: 17\r\n\r\n", 0, KS_ANSWER_WHOLE, 304, 1, "", NULL},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\nx", 0, KS_ANSWER_WHOLE, 201, 1, "x",
     NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, world...\r\n0\r\n\r\n", 0,
     KS_ANSWER_WHOLE, 200, 1, "hello, world...", NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\nx\n0\nTrailer: 1\n\n", 0, KS_ANSWER_WHOLE, 200, 1, "x",
     NULL},
    {"HTTP/1.1 200 OK\r\n\r\nto the end", 1, KS_ANSWER_WHOLE, 200, 0, "to the end", NULL},
    {"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n", 0, KS_ANSWER_WHOLE, 503, 1, "", NULL},
    /* broken */
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 1, KS_ANSWER_BAD, 200, 0, NULL, "broke off"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", 1, KS_ANSWER_BAD, 200, 0, NULL, "broke off"},
    {"HTTP/1.1 200 OK\r\nContent-Len", 1, KS_ANSWER_BAD, 0, 0, NULL, "broke off"},
    {"", 1, KS_ANSWER_BAD, 0, 0, NULL, "did not come"},
    {"SSH-2.0-OpenSSH\r\n\r\n", 0, KS_ANSWER_BAD, 0, 0, NULL, "does not begin"},
    {"\r\n", 0, KS_ANSWER_BAD, 0, 0, NULL, "does not begin"},
    {"HTTP/2 200 OK\r\n\r\n", 0, KS_ANSWER_BAD, 0, 0, NULL, "does not begin"},
    {"HTTP/1.1 2x0 OK\r\n\r\n", 0, KS_ANSWER_BAD, 0, 0, NULL, "does not begin"},
    {"HTTP/1.1 101 Other\r\n\r\n", 0, KS_ANSWER_BAD, 101, 0, NULL, "protocol"},
    {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "folds"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "how long"},
    {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "how long"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "how long"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "larger"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL,
     "coded"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "coded"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "no number"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "no number"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL,
     "larger"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", 0, KS_ANSWER_BAD, 200, 0, NULL, "longer"},
};

/* Feed it in pieces of a size; at the end, the count that was not used. */
static size_t feed(ks_answer *answer, const char *bytes, size_t count, size_t piece) {
    ks_answer_begin(answer);
    for (size_t at = 0; at < count;) {
        const size_t some = count - at < piece ? count - at : piece;
        const size_t used = ks_answer_feed(answer, bytes + at, some);
        at += used;
        if (used < some) return count - at;
        if (answer->part == KS_ANSWER_WHOLE || answer->part == KS_ANSWER_BAD) return count - at;
    }
    return 0;
}

static void test_answers(void **state) {
    (void)state;
    ks_answer answer = {.body_max = 1000};
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct example *example = &examples[i];
        const size_t count = strlen(example->bytes);
        for (size_t piece = 1; piece <= count + 1; piece++) {
            feed(&answer, example->bytes, count, piece);
            if (example->ends) ks_answer_end(&answer);
            if (answer.part != example->part) fail_msg("example %zu in pieces of %zu: part %d", i, piece, answer.part);
            assert_int_equal(answer.status, example->status);
            if (example->wrong) {
                assert_non_null(strstr(answer.wrong, example->wrong));
                continue;
            }
            assert_int_equal(answer.keeps_alive, example->keeps_alive);
            assert_int_equal(answer.body.used, strlen(example->body));
            if (answer.body.used) assert_memory_equal(answer.body.bytes, example->body, answer.body.used);
        }
    }
    ks_answer_free(&answer);
}

/* Every beginning of a whole answer asks for more, and what stands behind it is left alone. */
static void test_beginnings(void **state) {
    (void)state;
    ks_answer answer = {.body_max = 1000};
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct example *example = &examples[i];
        char more[512];
        if (example->part != KS_ANSWER_WHOLE || example->ends) continue;
        const size_t count = strlen(example->bytes);
        for (size_t some = 0; some < count; some++) {
            feed(&answer, example->bytes, some, SIZE_MAX);
            assert_true(answer.part != KS_ANSWER_WHOLE && answer.part != KS_ANSWER_BAD);
            ks_answer_end(&answer);
            assert_int_equal(answer.part, KS_ANSWER_BAD);
        }
        snprintf(more, sizeof(more), "%sHTTP/1.1 2", example->bytes);
        assert_int_equal(feed(&answer, more, strlen(more), SIZE_MAX), 10);
        assert_int_equal(answer.part, KS_ANSWER_WHOLE);
    }
    ks_answer_free(&answer);
}

static void test_bounds(void **state) {
    (void)state;
    ks_answer answer = {.body_max = 1000};
    static char bytes[40000];
    memset(bytes, 'a', sizeof(bytes));
    memcpy(bytes, "HTTP/1.1 200 OK\r\nX: ", 20);
    for (size_t piece = 100; piece <= sizeof(bytes); piece *= 20) {
        feed(&answer, bytes, sizeof(bytes), piece);
        assert_int_equal(answer.part, KS_ANSWER_BAD);
        assert_true(answer.head.used <= KS_HEAD_BYTES_MAX);
    }
    /* A body of chunks, and one to the end, which nobody said the length of. */
    const char *const heads[] = {"HTTP/1.1 200 OK\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n"};
    for (size_t i = 0; i < 2; i++) {
        memset(bytes, 'a', sizeof(bytes));
        memcpy(bytes, heads[i], strlen(heads[i]));
        feed(&answer, bytes, strlen(heads[i]) + 2000, 64);
        assert_int_equal(answer.part, KS_ANSWER_BAD);
        assert_true(answer.body.used <= 1000);
    }
    /* Zeros in a head, and a chunk's line without end. */
    memcpy(bytes, "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", 27);
    feed(&answer, bytes, 27, 5);
    assert_int_equal(answer.part, KS_ANSWER_BAD);
    memset(bytes, '0', sizeof(bytes));
    memcpy(bytes, heads[1], strlen(heads[1]) - 5);
    feed(&answer, bytes, 2000, 7);
    assert_int_equal(answer.part, KS_ANSWER_BAD);
    ks_answer_free(&answer);
}

static void test_headers(void **state) {
    (void)state;
    ks_answer answer = {.body_max = 10};
    size_t count = 99;
    const char *bytes =
        "HTTP/1.1 200 OK\r\nContent-Type:  application/json \r\netag: \"x\"\r\nEmpty:\r\nContent-Length: 0\r\n\r\n";
    feed(&answer, bytes, strlen(bytes), SIZE_MAX);
    const char *type = ks_answer_header(&answer, "content-type", &count);
    assert_int_equal(count, 16);
    assert_memory_equal(type, "application/json", 16);
    assert_non_null(ks_answer_header(&answer, "ETag", &count));
    assert_int_equal(count, 3);
    assert_non_null(ks_answer_header(&answer, "Empty", &count));
    assert_int_equal(count, 0);
    assert_null(ks_answer_header(&answer, "Content", &count));
    assert_null(ks_answer_header(&answer, "Retry-After", &count));
    ks_answer_free(&answer);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static void test_kinds(void **state) {
    (void)state;
    static const struct {
        ks_method method;
        const char *path;
        ks_kind kind;
    } rows[] = {
        {KS_GET, "/", KS_KIND_READ},
        {KS_GET, "/v1/collections/shop", KS_KIND_READ},
        {KS_GET, "/collections/shop/points/7", KS_KIND_READ},
        {KS_POST, "/v1/collections/shop/query", KS_KIND_READ},
        {KS_POST, "/v1/collections/shop/points/get", KS_KIND_READ},
        {KS_POST, "/v1/collections/shop/points/exists", KS_KIND_READ},
        {KS_POST, "/v1/collections/shop/points/count", KS_KIND_READ},
        {KS_POST, "/v1/collections/shop/points/scroll", KS_KIND_READ},
        {KS_POST, "/collections/shop/points/query", KS_KIND_READ},
        {KS_POST, "/collections/shop/points/query/batch", KS_KIND_READ},
        {KS_POST, "/collections/shop/points/query/groups", KS_KIND_READ},
        {KS_POST, "/collections/shop/points/search/", KS_KIND_READ},
        {KS_POST, "/collections/shop/points", KS_KIND_READ}, /* by their ids */
        {KS_POST, "/collections/query", KS_KIND_WRITE},      /* a collection of that name */
        {KS_POST, "/v1/collections/shop/points", KS_KIND_WRITE},
        {KS_PUT, "/collections/shop/points", KS_KIND_WRITE},
        {KS_POST, "/collections/shop/points/delete", KS_KIND_WRITE},
        {KS_POST, "/collections/shop/points/payload", KS_KIND_WRITE},
        {KS_POST, "/v1/collections/shop/points/delete", KS_KIND_WRITE},
        {KS_POST, "/v1/collections/shop/compact", KS_KIND_WRITE},
        {KS_POST, "/v1/collections/shop/tune", KS_KIND_WRITE},
        {KS_POST, "/v1/collections/shop/profiles/ann/events", KS_KIND_WRITE},
        {KS_POST, "/query", KS_KIND_WRITE},
        {KS_PUT, "/v1/collections/shop", KS_KIND_WRITE},
        {KS_PATCH, "/collections/shop", KS_KIND_WRITE},
        {KS_DELETE, "/v1/collections/shop", KS_KIND_WRITE},
        {KS_GET, "/v1/jobs/3", KS_KIND_OWN},
        {KS_GET, "/v1/collections/shop/snapshots", KS_KIND_OWN},
        {KS_GET, "/collections/shop/snapshots/a.tar", KS_KIND_OWN},
        {KS_GET, "/v1/collections/snapshots/points/1", KS_KIND_READ},
        {KS_GET, "/v1/collections/shop/profiles/ann", KS_KIND_OWN},
        {KS_POST, "/v1/collections/profiles/query", KS_KIND_READ},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (ks_kind_of(rows[i].method, rows[i].path) != rows[i].kind) fail_msg("%d %s", rows[i].method, rows[i].path);
}

/* ---- Places ------------------------------------------------------------------------------------------------------ */

static void test_places(void **state) {
    (void)state;
    ks_place places[KS_BACKENDS_MAX];
    size_t count = 0;
    kith_error error = {0};
    assert_int_equal(ks_places_find("http://127.0.0.1:6333/, http://[::1]:80\n# none\n  http://127.0.0.2 # x\n", places,
                                    &count, &error),
                     KITH_OK);
    assert_int_equal(count, 3);
    assert_string_equal(places[0].url, "http://127.0.0.1:6333");
    assert_string_equal(places[0].host, "127.0.0.1:6333");
    assert_string_equal(places[1].host, "[::1]:80");
    assert_string_equal(places[2].host, "127.0.0.2");
    /* The same place twice is one backend. */
    assert_int_equal(ks_places_find("http://127.0.0.1:1,http://127.0.0.1:1", places, &count, &error), KITH_OK);
    assert_int_equal(count, 1);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "no server"},
        {" # only a remark", "no server"},
        {"127.0.0.1:6333", "http://"},
        {"https://127.0.0.1:6333", "TLS"},
        {"http://", "http://"},
        {"http://:80", "HOST:PORT"},
        {"http://a:0", "HOST:PORT"},
        {"http://a:65536", "HOST:PORT"},
        {"http://a:80/x", "HOST:PORT"},
        {"http://name.invalid b", "no address"},
        {"http://[::1:80", "HOST:PORT"},
        {"http://u@h:80", "HOST:PORT"},
        {"http://name.invalid:80", "no address"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        memset(&error, 0, sizeof(error));
        const kith_status status = ks_places_find(bad[i].text, places, &count, &error);
        if (status == KITH_OK || !strstr(error.text, bad[i].says)) fail_msg("%s: \"%s\"", bad[i].text, error.text);
    }
    char many[KS_BACKENDS_MAX * 32 + 64];
    size_t used = 0;
    for (unsigned i = 0; i <= KS_BACKENDS_MAX; i++)
        used += (size_t)snprintf(many + used, sizeof(many) - used, "http://127.0.0.1:%u ", 1 + i);
    assert_int_equal(ks_places_find(many, places, &count, &error), KITH_E_LIMIT);
    assert_int_equal(ks_places_read("/nowhere/at/all", &error) == NULL, 1);
    assert_int_equal(error.status, KITH_E_NOTFOUND);
}

/* ---- Timers ------------------------------------------------------------------------------------------------------ */

enum { TIMERS = 200 };

struct woken {
    ks_timers timers;
    ks_timer all[TIMERS];
    uint64_t last_ns, count;
};

static void wake(void *context, uint64_t now_ns) {
    struct woken *woken = context;
    (void)now_ns;
    woken->count++;
}

static void test_timers(void **state) {
    (void)state;
    struct woken woken = {0};
    uint64_t random = 7;
    for (unsigned round = 0; round < 20000; round++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        ks_timer *timer = &woken.all[random >> 33 & 127];
        timer->wake = wake;
        timer->context = &woken;
        if (random >> 60 < 4) {
            ks_timer_stop(&woken.timers, timer);
        } else {
            assert_int_equal(ks_timer_set(&woken.timers, timer, random >> 20 & 0xffff), 1);
        }
        uint64_t least = UINT64_MAX, set = 0;
        for (size_t i = 0; i < TIMERS; i++) {
            if (!woken.all[i].place) continue;
            set++;
            if (woken.all[i].due_ns < least) least = woken.all[i].due_ns;
        }
        assert_int_equal(set, woken.timers.count);
        assert_true(ks_timers_next(&woken.timers) == least);
    }
    while (woken.timers.count) {
        const uint64_t due = ks_timers_next(&woken.timers), before = woken.count;
        assert_true(due >= woken.last_ns);
        woken.last_ns = due;
        ks_timers_run(&woken.timers, due);
        assert_true(woken.count > before);
    }
    assert_true(ks_timers_next(&woken.timers) == UINT64_MAX);
    ks_timers_free(&woken.timers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_beginnings), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_headers), cmocka_unit_test(test_kinds),      cmocka_unit_test(test_places),
        cmocka_unit_test(test_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
