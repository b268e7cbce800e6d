/* SPDX-License-Identifier: Apache-2.0
 *
 * What HTTP refuses, over real sockets: requests that are malformed, too large, too slow or too many, paths that climb,
 * methods that are not there, callers who may not.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "../../server/http/call.h"
#include "../../server/http/http.h"
#include "support/http_client.h"

enum { BODY_MAX = 1000, BODIES_MAX = 70000, CONNECTIONS_MAX = 4, LONG_REPLY = 40 << 20 };

struct server {
    ks_router *router;
    ks_http *http;
    uint16_t port;
    atomic_int handled, unroutable;
};

static void accept_body(ks_call *call) {
    struct server *server = call->app;
    atomic_fetch_add(&server->handled, 1);
    ks_text_format(&call->reply.body, "%zu", call->body_bytes);
    ks_call_done(call);
}

static void say_error(ks_call *call, int status, const char *sentence) {
    call->reply.status = status;
    ks_text_format(&call->reply.body, "family: %s", sentence);
}

static void reply_at_length(ks_call *call) {
    if (ks_text_reserve(&call->reply.body, LONG_REPLY)) {
        memset(call->reply.body.bytes, 'x', LONG_REPLY);
        call->reply.body.used = LONG_REPLY;
    }
    ks_call_done(call);
}

static const ks_route routes[] = {
    {KS_GET, "/things", KS_READ, "long", reply_at_length}, {KS_GET, "/things/{}", KS_READ, "get", accept_body},
    {KS_PUT, "/things/{}", KS_WRITE, "put", accept_body},  {KS_DELETE, "/things/{}", KS_WRITE, "drop", accept_body},
    {KS_POST, "/things", KS_WRITE, "post", accept_body},   {KS_POST, "/secret", KS_ADMIN, "secret", accept_body},
};
static const ks_family family = {"/things", say_error, routes, sizeof(routes) / sizeof(*routes)};

static int authenticate(ks_call *call) {
    if (call->route->role != KS_ADMIN) return 0;
    const char *key = ks_call_header(call, "API-Key");
    if (key && strcmp(key, "right") == 0) return 0;
    ks_call_fail(call, key ? 403 : 401, "no");
    return 401;
}

static void observe(const ks_call *call, uint64_t total_ns, size_t sent_bytes) {
    struct server *server = call->app;
    (void)total_ns, (void)sent_bytes;
    if (!call->route) atomic_fetch_add(&server->unroutable, 1);
}

static void start_with(void **state, ks_http_options options) {
    struct server *made = calloc(1, sizeof(*made));
    kith_error error = {0};
    assert_non_null(made);
    assert_int_equal(ks_router_create(&family, 1, &made->router, &error), KITH_OK);
    options.address = "localhost";
    options.socket = -1;
    options.app = made;
    options.router = made->router;
    options.authenticate = authenticate;
    options.observe = observe;
    if (!options.body_max) options.body_max = BODY_MAX;
    options.connections_max = CONNECTIONS_MAX;
    if (ks_http_start(&options, &made->http, &error) != KITH_OK) fail_msg("%s", error.text);
    made->port = ks_http_port(made->http);
    *state = made;
}

static int start(void **state) {
    start_with(state, (ks_http_options){.bodies_max = BODIES_MAX});
    return 0;
}

static int start_small(void **state) {
    start_with(state, (ks_http_options){.bodies_max = 500});
    return 0;
}

static int start_for_long_replies(void **state) {
    start_with(state, (ks_http_options){.replies_max = 100 << 20});
    return 0;
}

static int start_hasty(void **state) {
    start_with(state, (ks_http_options){.request_ms = 150});
    return 0;
}

static int start_for_long_bodies(void **state) {
    start_with(state, (ks_http_options){.request_ms = 1500, .body_max = 10 << 20});
    return 0;
}

static int stop(void **state) {
    struct server *server = *state;
    ks_http_stop(server->http);
    ks_router_destroy(server->router);
    free(server);
    return 0;
}

/* ---- Tests */

static void refuses_what_is_malformed(void **state) {
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET /things/1\r\n\r\n", 0}, /* HTTP 0.9, and no Host: closed or 400 */
        {"GET /things/1 HTTP/1.1\r\n\r\n", 400},
        {"GET things HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/a%0ab HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/%c3%28 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/.. HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/%2e%2e HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/..%2f..%2fetc HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/x%5c..%5cy HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/. HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/1?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/1?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /things/1 HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n", 400},
        {"POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", 400},
        {"POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
        {"POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST /things HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
        {"GET /things/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET /things/1 HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400},
        {"GET /things/1 HTTP/9.9\r\nHost: a\r\n\r\n", 505},
        {"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET /things/ HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET //things/1 HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET /a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"POST /things/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405},
        {"TRACE /things/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"BREW /things/1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"get /things/1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET http://elsewhere:80/things/1?x HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET /things/http%3a%2f%2fa%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET /things/%252e%252e HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET /things/...%20 HTTP/1.0\r\n\r\n", 200},
    };
    struct server *server = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *answer = client_ask(server->port, rows[i].request);
        const int status = client_status(answer);
        if (status != rows[i].status && (rows[i].status || (status != 400 && answer[0])))
            fail_msg("%s gave %d: %s", rows[i].request, status, answer);
        free(answer);
    }
    assert_int_equal(atomic_load(&server->handled), 5);
    assert_int_equal(client_asks(server->port, "GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
}

static void says_whose_error_it_is(void **state) {
    struct server *server = *state;
    char *answer = client_ask(server->port, "PATCH /things/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_status(answer), 405);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD, PUT, DELETE\r\n"));
    assert_non_null(strstr(answer, "family: PATCH is not what can be done at /things/1, but GET, HEAD, PUT, DELETE."));
    free(answer);
    answer = client_ask(server->port, "GET /things/1/2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(answer, "family: There is nothing at /things/1/2."));
    free(answer);
    answer = client_ask(server->port, "GET /thingsabc HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_null(strstr(answer, "family"));
    assert_non_null(strstr(answer, "There is nothing at /thingsabc."));
    free(answer);
    while (atomic_load(&server->unroutable) < 3) usleep(500);
}

static void asks_who_it_is(void **state) {
    struct server *server = *state;
    char *answer = client_ask(server->port, "POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(client_status(answer), 401);
    assert_non_null(strstr(answer, "\r\nWWW-Authenticate: Bearer\r\n"));
    free(answer);
    /* The connection goes on after a body that nobody wanted. */
    const int fd = client_open(server->port);
    client_say(fd, "POST /secret HTTP/1.1\r\nHost: a\r\nAPI-Key: wrong\r\nContent-Length: 3\r\n\r\nabc");
    answer = client_read(fd);
    assert_int_equal(client_status(answer), 403);
    free(answer);
    client_say(fd, "POST /secret HTTP/1.1\r\nHost: a\r\nAPI-Key: right\r\nContent-Length: 3\r\n\r\nabc");
    answer = client_read(fd);
    assert_int_equal(client_status(answer), 200);
    free(answer);
    close(fd);
}

static void bounds_bodies(void **state) {
    struct server *server = *state;
    char request[2 * BODY_MAX + 200];
    int length =
        snprintf(request, sizeof(request), "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY_MAX);
    memset(request + length, 'x', BODY_MAX);
    request[length + BODY_MAX] = 0;
    assert_int_equal(client_asks(server->port, request), 200);
    /* Before the body is sent. */
    char *answer = client_ask(server->port, "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    assert_int_equal(client_status(answer), 413);
    assert_non_null(strstr(answer, "family: The body has 1001 bytes; at most 1000 are taken."));
    free(answer);
    assert_int_equal(
        client_asks(server->port, "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n"),
        413);
    /* In the middle of a chunked one. */
    length = snprintf(request, sizeof(request),
                      "POST /things HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    memset(request + length, 'x', BODY_MAX + 1);
    request[length + BODY_MAX + 1] = 0;
    strcat(request, "\r\n0\r\n\r\n");
    assert_int_equal(client_asks(server->port, request), 413);
    ks_http_state about;
    ks_http_state_of(server->http, &about);
    for (int i = 0; i < 10000 && about.body_bytes; i++) {
        usleep(500);
        ks_http_state_of(server->http, &about);
    }
    assert_int_equal(about.body_bytes, 0);
}

static void waits_for_leave_to_send(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    client_say(fd, "POST /things HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    char *answer = client_read(fd);
    assert_int_equal(client_status(answer), 100);
    free(answer);
    client_say(fd, "abc");
    answer = client_read(fd);
    assert_int_equal(client_status(answer), 200);
    free(answer);
    close(fd);
    /* Refused before a byte of the body is sent. */
    assert_int_equal(client_asks(server->port, "POST /nothing HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                               "Content-Length: 30\r\n\r\n"),
                     404);
    assert_int_equal(client_asks(server->port, "POST /things HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                               "Content-Length: 3000\r\n\r\n"),
                     413);
}

static void has_no_room_for_all_bodies(void **state) {
    struct server *server = *state;
    char *answer = client_ask(server->port, "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
    assert_int_equal(client_status(answer), 503);
    assert_non_null(strstr(answer, "\r\nRetry-After: 1\r\n"));
    free(answer);
    answer =
        client_ask(server->port, "POST /things HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_int_equal(client_status(answer), 503);
    free(answer);
    assert_int_equal(client_asks(server->port, "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
                     200);
    ks_http_state about;
    ks_http_state_of(server->http, &about);
    assert_int_equal(about.refused, 2);
}

static void does_not_wait_for_the_slow(void **state) {
    static const char *const begun[] = {"GET /things/1 HT", "GET /things/1 HTTP/1.1\r\nHost: a\r\nX-Slow",
                                        "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
                                        "POST /things HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                                        /* After a whole request, on the same connection. */
                                        "GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n"};
    struct server *server = *state;
    for (size_t i = 0; i < sizeof(begun) / sizeof(*begun); i++) {
        const int fd = client_open(server->port);
        client_say(fd, begun[i]);
        char *answer = client_read(fd);
        if (client_status(answer) == 200) {
            free(answer);
            /* Longer than a request may take, the connection is idle, which is fine. */
            usleep(300000);
            static const char slow[] = "GET /things/1 HTTP/1.1";
            for (int byte = 0; byte < 20; byte++) {
                client_send(fd, &slow[byte], 1);
                usleep(20000);
            }
            answer = client_read(fd);
        }
        if (client_status(answer) != 408) fail_msg("%s gave %s", begun[i], answer);
        free(answer);
        char *rest = client_read_until(fd, NULL);
        assert_string_equal(rest, "");
        free(rest);
        close(fd);
    }
}

static void waits_for_long_bodies_that_come(void **state) {
    enum { PIECES = 20, PIECE_BYTES = 200000 };
    struct server *server = *state;
    char head[96], *piece = calloc(1, PIECE_BYTES);
    assert_non_null(piece);
    const int fd = client_open(server->port);
    snprintf(head, sizeof(head), "POST /things HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
             PIECES * PIECE_BYTES);
    client_say(fd, head);
    for (int i = 0; i < PIECES; i++) {
        client_send(fd, piece, PIECE_BYTES);
        usleep(100000);
    }
    char *answer = client_read(fd);
    assert_int_equal(client_status(answer), 200);
    free(answer);
    /* And not for one that stops. */
    client_say(fd, head);
    client_send(fd, piece, PIECE_BYTES);
    answer = client_read(fd);
    assert_int_equal(client_status(answer), 408);
    free(answer);
    free(piece);
    close(fd);
}

static void keeps_who_is_idle(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    usleep(400000);
    for (int i = 0; i < 3; i++) {
        client_say(fd, "GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        char *answer = client_read(fd);
        assert_int_equal(client_status(answer), 200);
        free(answer);
        usleep(400000);
    }
    close(fd);
}

static void refuses_more_connections(void **state) {
    struct server *server = *state;
    int fds[CONNECTIONS_MAX];
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        fds[i] = client_open(server->port);
        client_say(fds[i], "GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        char *answer = client_read(fds[i]);
        assert_int_equal(client_status(answer), 200);
        free(answer);
    }
    const int more = client_open(server->port);
    char *answer = client_read_until(more, NULL);
    assert_int_equal(client_status(answer), 503);
    assert_non_null(strstr(answer, "\r\nRetry-After: 1\r\n"));
    free(answer);
    close(more);
    ks_http_state about;
    ks_http_state_of(server->http, &about);
    assert_int_equal(about.connections, CONNECTIONS_MAX);
    assert_int_equal(about.refused, 1);
    close(fds[0]);
    for (int i = 0; i < 10000 && about.connections == CONNECTIONS_MAX; i++) {
        usleep(500);
        ks_http_state_of(server->http, &about);
    }
    assert_int_equal(client_asks(server->port, "GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    for (int i = 1; i < CONNECTIONS_MAX; i++) close(fds[i]);
}

static void bounds_headers(void **state) {
    struct server *server = *state;
    const size_t room = 200000;
    char *request = malloc(room);
    assert_non_null(request);
    size_t used = (size_t)snprintf(request, room, "GET /things/1 HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 150; i++) used += (size_t)snprintf(request + used, room - used, "X-%d: y\r\n", i);
    snprintf(request + used, room - used, "\r\n");
    assert_int_equal(client_asks(server->port, request), 431);
    used = (size_t)snprintf(request, room, "GET /things/1 HTTP/1.1\r\nHost: a\r\nX: ");
    memset(request + used, 'y', 100000);
    snprintf(request + used + 100000, room - used - 100000, "\r\n\r\n");
    const int status = client_asks(server->port, request);
    assert_true(status == 431 || status == 413);
    /* And a path that is longer than can be. */
    used = (size_t)snprintf(request, room, "GET /things/");
    memset(request + used, 'y', 100000);
    snprintf(request + used + 100000, room - used - 100000, " HTTP/1.1\r\nHost: a\r\n\r\n");
    const int long_path = client_asks(server->port, request);
    assert_true(long_path == 414 || long_path == 431 || long_path == 413);
    free(request);
    assert_int_equal(client_asks(server->port, "GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
}

/* One that does not read holds 64 MiB, as its text grew; the next is told to come again, and short replies are sent.
 * When the first one leaves, there is room. */
static void has_no_room_for_all_replies(void **state) {
    const struct server *server = *state;
    const char *request = "GET /things HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const int first = client_open(server->port);
    client_say(first, request);
    char byte;
    assert_int_equal(recv(first, &byte, 1, 0), 1);
    char *answer = client_ask(server->port, request);
    assert_int_equal(client_status(answer), 503);
    assert_non_null(strstr(answer, "family: There is no room for the reply"));
    assert_non_null(strstr(answer, "Retry-After: 1"));
    free(answer);
    assert_int_equal(client_asks(server->port, "GET /things/a HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    close(first);
    int status = 503;
    for (int i = 0; i < 1000 && status == 503; i++) {
        status = client_asks(server->port, request);
        if (status == 503) usleep(10000);
    }
    assert_int_equal(status, 200);
}

static void refuses_to_start(void **state) {
    struct server *server = *state;
    ks_http *other = NULL;
    kith_error error = {0};
    ks_http_options options = {.address = "127.0.0.1", .port = server->port, .socket = -1, .router = server->router};
    assert_int_equal(ks_http_start(&options, &other, &error), KITH_E_BUSY);
    assert_non_null(strstr(error.text, "is taken"));
    options.address = "example.org";
    assert_int_equal(ks_http_start(&options, &other, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "\"example.org\" is no address"));
    options.address = NULL;
    options.socket = 0;
    assert_int_equal(ks_http_start(&options, &other, &error), KITH_E_ARG);
    options.socket = -1;
    options.port = 0;
    options.certificate = "/nowhere/cert.pem";
    assert_int_equal(ks_http_start(&options, &other, &error), KITH_E_ARG);
    options.private_key = "/nowhere/key.pem";
    assert_int_equal(ks_http_start(&options, &other, &error), KITH_E_IO);
    assert_non_null(strstr(error.text, "/nowhere/cert.pem: the certificate cannot be read: No such file"));
    assert_null(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refuses_what_is_malformed, start, stop),
        cmocka_unit_test_setup_teardown(says_whose_error_it_is, start, stop),
        cmocka_unit_test_setup_teardown(asks_who_it_is, start, stop),
        cmocka_unit_test_setup_teardown(bounds_bodies, start, stop),
        cmocka_unit_test_setup_teardown(waits_for_leave_to_send, start, stop),
        cmocka_unit_test_setup_teardown(has_no_room_for_all_bodies, start_small, stop),
        cmocka_unit_test_setup_teardown(has_no_room_for_all_replies, start_for_long_replies, stop),
        cmocka_unit_test_setup_teardown(does_not_wait_for_the_slow, start_hasty, stop),
        cmocka_unit_test_setup_teardown(waits_for_long_bodies_that_come, start_for_long_bodies, stop),
        cmocka_unit_test_setup_teardown(keeps_who_is_idle, start_hasty, stop),
        cmocka_unit_test_setup_teardown(refuses_more_connections, start, stop),
        cmocka_unit_test_setup_teardown(bounds_headers, start, stop),
        cmocka_unit_test_setup_teardown(refuses_to_start, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
