/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls over real sockets: handlers that answer at once, by a turn, or from another thread; bodies, streams, HEAD,
 * pipelines, conditions, and clients that leave.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../../server/http/call.h"
#include "../../server/http/http.h"
#include "support/http_client.h"

enum { LOOPS = 2, STREAM_BYTES = 300000 };

struct app {
    ks_call *queued[LOOPS][64];
    size_t count[LOOPS], turns_to_wait;
    atomic_size_t observed, observed_bytes, forgotten, freed_streams, gone_seen;
    atomic_int last_status, release;
    pthread_t threads[64];
    atomic_size_t thread_count;
};

/* ---- Handlers */

static void echo(ks_call *call) {
    const char *what = ks_call_argument(call, "what");
    ks_text_format(&call->reply.body, "{\"part\":\"%s\",\"what\":\"%s\",\"bytes\":%zu}",
                   call->parts[0] ? call->parts[0] : "", what ? what : "-", call->body_bytes);
    call->reply.etag = "\"v1\"";
    call->reply.cache_control = "no-cache";
    ks_call_done(call);
}

static void mirror(ks_call *call) {
    assert_int_equal(call->body[call->body_bytes], 0);
    call->reply.type = "application/octet-stream";
    ks_text_add(&call->reply.body, call->body, call->body_bytes);
    ks_call_done(call);
}

static void by_turn(ks_call *call) {
    struct app *app = call->app;
    app->queued[call->loop][app->count[call->loop]++] = call;
}

static uint64_t turn(void *context, unsigned loop) {
    struct app *app = context;
    /* A search that waits for company: only the turn after next answers, and nothing comes meanwhile. */
    if (app->count[loop] && app->turns_to_wait) {
        app->turns_to_wait--;
        return 20000000;
    }
    const size_t count = app->count[loop];
    app->count[loop] = 0;
    for (size_t i = 0; i < count; i++) {
        ks_call *call = app->queued[loop][i];
        ks_text_format(&call->reply.body, "[%zu]", count);
        ks_call_done(call);
    }
    return UINT64_MAX;
}

static void *end_later(void *context) {
    ks_call *call = context;
    struct app *app = call->app;
    while (!atomic_load(&app->release) && !ks_call_gone(call)) usleep(500);
    atomic_fetch_add(&app->gone_seen, (size_t)ks_call_gone(call));
    const char *header = ks_call_header(call, "x-TEST");
    ks_text_format(&call->reply.body, "\"%s\"", header ? header : "");
    ks_call_done(call);
    return NULL;
}

static void by_thread(ks_call *call) {
    struct app *app = call->app;
    const size_t number = atomic_fetch_add(&app->thread_count, 1);
    assert_int_equal(pthread_create(&app->threads[number], NULL, end_later, call), 0);
}

static ptrdiff_t write_stream(void *context, char *to, size_t room) {
    size_t *left = context;
    const size_t count = room < *left ? room : *left;
    memset(to, 'x', count);
    *left -= count;
    return (ptrdiff_t)count;
}

static atomic_size_t streams_freed;

static void free_stream(void *context) {
    free(context);
    atomic_fetch_add(&streams_freed, 1);
}

static void stream(ks_call *call) {
    size_t *left = malloc(sizeof(*left));
    assert_non_null(left);
    *left = STREAM_BYTES;
    call->reply.type = "application/x-ndjson";
    call->reply.stream = write_stream;
    call->reply.free_stream = free_stream;
    call->reply.stream_context = left;
    ks_call_done(call);
}

/* A stream whose pieces another thread makes, each after the loop has asked for it. */
struct pieces {
    ks_call *call;
    size_t made, sent;
    int ended;
};
enum { PIECES = 20, PIECE_BYTES = 40000, MAKERS_MAX = 4 * PIECES };
static pthread_t makers[MAKERS_MAX];
static atomic_size_t maker_count;

static void *make_piece(void *context) {
    struct pieces *pieces = context;
    if (pieces->made == (size_t)PIECES * PIECE_BYTES)
        pieces->ended = 1;
    else
        pieces->made += PIECE_BYTES;
    ks_call_more(pieces->call);
    return NULL;
}

static ptrdiff_t write_pieces(void *context, char *to, size_t room) {
    struct pieces *pieces = context;
    if (pieces->ended) return 0;
    if (pieces->sent == pieces->made) {
        const size_t number = atomic_load(&maker_count);
        assert_true(number < MAKERS_MAX);
        assert_int_equal(pthread_create(&makers[number], NULL, make_piece, pieces), 0);
        atomic_store(&maker_count, number + 1);
        return KS_STREAM_LATER;
    }
    const size_t left = pieces->made - pieces->sent, count = room < left ? room : left;
    memset(to, 'z', count);
    pieces->sent += count;
    return (ptrdiff_t)count;
}

static void stream_of_pieces(ks_call *call) {
    struct pieces *pieces = calloc(1, sizeof(*pieces));
    assert_non_null(pieces);
    pieces->call = call;
    call->reply.stream = write_pieces;
    call->reply.free_stream = free_stream;
    call->reply.stream_context = pieces;
    ks_call_done(call);
}

static ptrdiff_t break_stream(void *context, char *to, size_t room) {
    int *times = context;
    if ((*times)++) return -1;
    memset(to, 'y', room > 10 ? 10 : room);
    return room > 10 ? 10 : (ptrdiff_t)room;
}

static void broken_stream(ks_call *call) {
    call->reply.stream = break_stream;
    call->reply.stream_context = ks_call_alloc(call, sizeof(int));
    ks_call_done(call);
}

static void forget(void *context) {
    struct app *app = context;
    atomic_fetch_add(&app->forgotten, 1);
}

static void memory(ks_call *call) {
    char *last = NULL;
    for (size_t i = 1; i < 3000; i = i * 3 / 2 + 1) {
        char *bytes = ks_call_alloc(call, i);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % 16, 0);
        for (size_t j = 0; j < i; j++) assert_int_equal(bytes[j], 0);
        memset(bytes, 0xff, i);
        last = bytes;
    }
    assert_non_null(last);
    assert_null(ks_call_alloc(call, SIZE_MAX));
    assert_string_equal(ks_call_copy(call, "abcdef", 3), "abc");
    assert_int_equal(ks_call_defer(call, forget, call->app), 0);
    assert_int_equal(ks_call_defer(call, forget, call->app), 0);
    ks_call_fail(call, 409, "No%s.", "pe");
    ks_call_done(call);
}

static void out_of_memory(ks_call *call) {
    ks_text_add_line(&call->reply.body, "half of");
    call->reply.body.failed = 1;
    ks_call_done(call);
}

static void no_memory(ks_call *call) {
    ks_call_no_memory(call);
    ks_call_done(call);
}

static void unready(ks_call *call) {
    kith_error error = {KITH_E_NOSPACE, "The disk is full."};
    ks_call_fail_status(call, error.status, &error);
    ks_call_done(call);
}

static void say_error(ks_call *call, int status, const char *sentence) {
    call->reply.status = status;
    ks_text_format(&call->reply.body, "{\"error\":\"%s\"}", sentence);
}

static const ks_route routes[] = {
    {KS_GET, "/echo/{}", KS_READ, "echo", echo},
    {KS_POST, "/mirror", KS_WRITE, "mirror", mirror},
    {KS_GET, "/turn", KS_READ, "turn", by_turn},
    {KS_GET, "/thread", KS_READ, "thread", by_thread},
    {KS_GET, "/stream", KS_READ, "stream", stream},
    {KS_GET, "/broken", KS_READ, "broken", broken_stream},
    {KS_GET, "/pieces", KS_READ, "pieces", stream_of_pieces},
    {KS_GET, "/memory", KS_READ, "memory", memory},
    {KS_GET, "/half", KS_READ, "half", out_of_memory},
    {KS_GET, "/nomem", KS_READ, "nomem", no_memory},
    {KS_GET, "/full", KS_READ, "full", unready},
};

static const ks_family family = {"", say_error, routes, sizeof(routes) / sizeof(*routes)};

/* ---- The server */

static void observe(const ks_call *call, uint64_t total_ns, size_t sent_bytes) {
    struct app *app = call->app;
    (void)total_ns;
    atomic_store(&app->last_status, call->reply.status);
    atomic_fetch_add(&app->observed_bytes, sent_bytes);
    atomic_fetch_add(&app->observed, 1);
}

struct server {
    struct app app;
    ks_router *router;
    ks_http *http;
    uint16_t port;
};

static int start(void **state) {
    struct server *made = calloc(1, sizeof(*made));
    kith_error error = {0};
    assert_non_null(made);
    assert_int_equal(ks_router_create(&family, 1, &made->router, &error), KITH_OK);
    const ks_http_options options = {.address = "127.0.0.1",
                                     .socket = -1,
                                     .loops = LOOPS,
                                     .app = &made->app,
                                     .router = made->router,
                                     .turn = turn,
                                     .observe = observe};
    if (ks_http_start(&options, &made->http, &error) != KITH_OK) fail_msg("%s", error.text);
    made->port = ks_http_port(made->http);
    assert_int_not_equal(made->port, 0);
    *state = made;
    return 0;
}

static int stop(void **state) {
    struct server *server = *state;
    atomic_store(&server->app.release, 1);
    for (size_t i = 0; i < atomic_load(&server->app.thread_count); i++) pthread_join(server->app.threads[i], NULL);
    ks_http_stop(server->http);
    ks_router_destroy(server->router);
    free(server);
    return 0;
}

/* ---- Tests */

static void answers_at_once(void **state) {
    struct server *server = *state;
    char *answer = client_ask(server->port, "GET /echo/caf%C3%A9?what=a+b%26c&x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_status(answer), 200);
    assert_non_null(strstr(answer, "{\"part\":\"caf\xc3\xa9\",\"what\":\"a b&c\",\"bytes\":0}"));
    assert_non_null(strstr(answer, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(answer, "Server: kith\r\n"));
    assert_non_null(strstr(answer, "ETag: \"v1\"\r\n"));
    assert_non_null(strstr(answer, "Cache-Control: no-cache\r\n"));
    free(answer);
}

static void keeps_the_connection(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    for (int i = 0; i < 20; i++) {
        client_say(fd, i % 2 ? "GET /turn HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        char *answer = client_read(fd);
        assert_int_equal(client_status(answer), 200);
        assert_non_null(strstr(answer, i % 2 ? "[1]" : "\"part\":\"1\""));
        free(answer);
    }
    close(fd);
}

static void answers_by_a_turn_of_its_own(void **state) {
    struct server *server = *state;
    server->app.turns_to_wait = 3;
    char *answer = client_ask(server->port, "GET /turn HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_status(answer), 200);
    free(answer);
}

static int has_three(const char *text, size_t count) {
    size_t found = 0;
    (void)count;
    for (const char *at = strstr(text, "[1]"); at; at = strstr(at + 1, "[1]")) found++;
    return found == 3;
}

static void pipelines(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    client_say(fd, "GET /turn HTTP/1.1\r\nHost: a\r\n\r\nGET /turn HTTP/1.1\r\nHost: a\r\n\r\n"
                   "GET /turn HTTP/1.1\r\nHost: a\r\n\r\n");
    char *answers = client_read_until(fd, has_three);
    assert_true(has_three(answers, 0));
    free(answers);
    close(fd);
}

static void ends_from_another_thread(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    client_say(fd, "GET /thread HTTP/1.1\r\nHost: a\r\nX-Test: here\r\nX-Request-Id: 77\r\n\r\n");
    while (!atomic_load(&server->app.thread_count)) usleep(500);
    usleep(20000); /* so that it is suspended, mostly */
    atomic_store(&server->app.release, 1);
    char *answer = client_read(fd);
    assert_int_equal(client_status(answer), 200);
    assert_non_null(strstr(answer, "\"here\""));
    assert_non_null(strstr(answer, "X-Request-Id: 77\r\n"));
    free(answer);
    close(fd);
    assert_int_equal(atomic_load(&server->app.gone_seen), 0);
}

static void notices_who_leaves(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    client_say(fd, "GET /thread HTTP/1.1\r\nHost: a\r\nX-Test: here\r\n\r\n");
    while (!atomic_load(&server->app.thread_count)) usleep(500);
    close(fd);
    while (!atomic_load(&server->app.gone_seen)) usleep(500);
    while (!atomic_load(&server->app.observed)) usleep(500);
    assert_int_equal(client_asks(server->port, "GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
}

static void sends_bodies_back(void **state) {
    struct server *server = *state;
    char head[128];
    const size_t bytes = 3000000;
    char *body = malloc(bytes);
    assert_non_null(body);
    for (size_t i = 0; i < bytes; i++) body[i] = (char)(i * 7 + i / 1000);
    const int fd = client_open(server->port);
    snprintf(head, sizeof(head), "POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", bytes);
    client_say(fd, head);
    client_send(fd, body, bytes);
    char *answer = client_read(fd);
    assert_int_equal(client_status(answer), 200);
    assert_memory_equal(strstr(answer, "\r\n\r\n") + 4, body, bytes);
    free(answer);
    /* Chunked, and on the same connection. */
    client_say(fd, "POST /mirror HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
    client_say(fd, "3\r\nefg\r\n0\r\n\r\n");
    answer = client_read(fd);
    assert_string_equal(strstr(answer, "\r\n\r\n") + 4, "abcdefg");
    free(answer);
    client_say(fd, "POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    answer = client_read(fd);
    assert_int_equal(client_status(answer), 200);
    free(answer);
    close(fd);
    free(body);
    ks_http_state about;
    ks_http_state_of(server->http, &about);
    assert_int_equal(about.requests, 3);
}

static int is_end_of_chunks(const char *text, size_t count) {
    return count > 7 && memcmp(text + count - 7, "\r\n0\r\n\r\n", 7) == 0;
}

static void streams(void **state) {
    struct server *server = *state;
    atomic_store(&streams_freed, 0);
    const int fd = client_open(server->port);
    client_say(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    char *answer = client_read_until(fd, is_end_of_chunks);
    size_t count = 0;
    for (const char *at = strstr(answer, "\r\n\r\n"); *at; at++) count += *at == 'x';
    assert_int_equal(count, STREAM_BYTES);
    assert_non_null(strstr(answer, "Content-Type: application/x-ndjson\r\n"));
    free(answer);
    /* One that is broken off closes the connection without the last chunk. */
    client_say(fd, "GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
    answer = client_read_until(fd, NULL);
    assert_non_null(strstr(answer, "yyyyyyyyyy"));
    assert_false(is_end_of_chunks(answer, strlen(answer)));
    free(answer);
    close(fd);
    while (atomic_load(&server->app.observed) < 2) usleep(500);
    assert_int_equal(atomic_load(&streams_freed), 1);
    assert_int_equal(atomic_load(&server->app.observed_bytes), STREAM_BYTES + 10);
}

/* Pieces that another thread makes; and a client that goes while one is made. */
static void streams_of_pieces(void **state) {
    struct server *server = *state;
    atomic_store(&streams_freed, 0);
    int fd = client_open(server->port);
    for (int round = 0; round < 2; round++) {
        client_say(fd, "GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n");
        char *answer = client_read_until(fd, is_end_of_chunks);
        size_t count = 0;
        for (const char *at = strstr(answer, "\r\n\r\n"); *at; at++) count += *at == 'z';
        assert_int_equal(count, PIECES * PIECE_BYTES);
        free(answer);
    }
    client_say(fd, "GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n");
    close(fd);
    while (atomic_load(&streams_freed) < 3) usleep(500);
    /* Whoever has said that there is more may still be waking the loop. */
    for (size_t i = 0; i < atomic_load(&maker_count); i++) pthread_join(makers[i], NULL);
    assert_int_equal(client_asks(server->port, "GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
}

static int is_head(const char *text, size_t count) {
    (void)count;
    return strstr(text, "\r\n\r\n") != NULL;
}

static int has_turn(const char *text, size_t count) {
    (void)count;
    return strstr(text, "[1]") != NULL;
}

static void answers_head(void **state) {
    struct server *server = *state;
    const int fd = client_open(server->port);
    client_say(fd, "HEAD /echo/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /turn HTTP/1.1\r\nHost: a\r\n\r\n");
    char *answers = client_read_until(fd, has_turn);
    assert_int_equal(client_status(answers), 200);
    assert_non_null(strstr(answers, "Content-Length: 33\r\n"));
    assert_null(strstr(answers, "\"part\""));
    free(answers);
    close(fd);
}

static void knows_what_the_client_has(void **state) {
    struct server *server = *state;
    static const struct {
        const char *header;
        int status;
    } rows[] = {{"\"v1\"", 304}, {"W/\"v1\"", 304}, {"\"v0\", \"v1\"", 304}, {"*", 304}, {"\"v10\"", 200}, {"v1", 200}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char request[128];
        snprintf(request, sizeof(request), "GET /echo/1 HTTP/1.1\r\nHost: a\r\nIf-None-Match: %s\r\n\r\n",
                 rows[i].header);
        const int fd = client_open(server->port);
        client_say(fd, request);
        char *answer = client_read_until(fd, is_head);
        assert_int_equal(client_status(answer), rows[i].status);
        free(answer);
        close(fd);
    }
}

static void gives_memory_and_errors(void **state) {
    struct server *server = *state;
    char *answer = client_ask(server->port, "GET /memory HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_status(answer), 409);
    assert_non_null(strstr(answer, "{\"error\":\"Nope.\"}"));
    free(answer);
    while (!atomic_load(&server->app.observed)) usleep(500);
    assert_int_equal(atomic_load(&server->app.last_status), 409);
    assert_int_equal(client_asks(server->port, "GET /half HTTP/1.1\r\nHost: a\r\n\r\n"), 500);
    answer = client_ask(server->port, "GET /nomem HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_status(answer), 503);
    assert_non_null(strstr(answer, "Retry-After: 1\r\n"));
    free(answer);
    assert_int_equal(client_asks(server->port, "GET /full HTTP/1.1\r\nHost: a\r\n\r\n"), 507);
    assert_int_equal(atomic_load(&server->app.forgotten), 2);
}

static void drains(void **state) {
    struct server *server = *state;
    const int idle = client_open(server->port), busy = client_open(server->port);
    client_say(busy, "GET /thread HTTP/1.1\r\nHost: a\r\n\r\n");
    while (!atomic_load(&server->app.thread_count)) usleep(500);
    assert_int_equal(ks_http_drain(server->http, 1), 0); /* the time is up; it was told so */
    assert_int_equal(atomic_load(&server->app.gone_seen), 1);
    char *rest = client_read_until(idle, NULL);
    assert_string_equal(rest, "");
    free(rest);
    close(idle);
    close(busy);
}

static void *release_soon(void *context) {
    struct app *app = context;
    usleep(50000);
    atomic_store(&app->release, 1);
    return NULL;
}

static void drains_whole(void **state) {
    struct server *server = *state;
    pthread_t thread;
    const int busy = client_open(server->port);
    client_say(busy, "GET /thread HTTP/1.1\r\nHost: a\r\nX-Test: late\r\n\r\n");
    while (!atomic_load(&server->app.thread_count)) usleep(500);
    assert_int_equal(pthread_create(&thread, NULL, release_soon, &server->app), 0);
    assert_int_equal(ks_http_drain(server->http, CLIENT_PATIENCE_MS), 1);
    pthread_join(thread, NULL);
    char *answer = client_read_until(busy, NULL);
    assert_int_equal(client_status(answer), 200);
    assert_non_null(strstr(answer, "\"late\""));
    assert_non_null(strcasestr(answer, "Connection: close"));
    free(answer);
    close(busy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_at_once, start, stop),
        cmocka_unit_test_setup_teardown(keeps_the_connection, start, stop),
        cmocka_unit_test_setup_teardown(answers_by_a_turn_of_its_own, start, stop),
        cmocka_unit_test_setup_teardown(pipelines, start, stop),
        cmocka_unit_test_setup_teardown(ends_from_another_thread, start, stop),
        cmocka_unit_test_setup_teardown(notices_who_leaves, start, stop),
        cmocka_unit_test_setup_teardown(sends_bodies_back, start, stop),
        cmocka_unit_test_setup_teardown(streams, start, stop),
        cmocka_unit_test_setup_teardown(streams_of_pieces, start, stop),
        cmocka_unit_test_setup_teardown(answers_head, start, stop),
        cmocka_unit_test_setup_teardown(knows_what_the_client_has, start, stop),
        cmocka_unit_test_setup_teardown(gives_memory_and_errors, start, stop),
        cmocka_unit_test_setup_teardown(drains, start, stop),
        cmocka_unit_test_setup_teardown(drains_whole, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
