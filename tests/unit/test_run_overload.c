/* SPDX-License-Identifier: Apache-2.0
 *
 * More than a server can do, over real connections: who is refused is told 503 with Retry-After and is never searched,
 * all others are answered, nothing is lost, and the server is as before when it is over; and while all workers stand
 * still, who is one too many for them is told so, and searches go on. The server's loop is a thread (pthread_create).
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/keys/keys.h"
#include "../../server/run/run.h"
#include "support/http_client.h"
#include "support/shop.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CLIENTS = 60, EACH = 5, QUEUE = 8, BATCH = 4, WORKERS = 2, WORK_QUEUE = 3 };

static ks_run *run;
static ks_http *http;
static ks_shop shop;
static atomic_uint searched, handled, wrong; /* wrong: failures that are no refusals */

/* The loop stands still in its first batch until the test lets it go on: then more has come than it has room for. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int held, open_gate, standing, searches_pass;

static void observe(void *context, ks_search *const *searches, const ks_found *found, size_t count) {
    (void)context, (void)searches, (void)found;
    searched += (unsigned)count;
    pthread_mutex_lock(&lock);
    held = 1;
    pthread_cond_broadcast(&changed);
    while (!open_gate && !searches_pass) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void finish(ks_search *search, const ks_found *found) {
    ks_call *call = search->call;
    if (found->status != KITH_OK) {
        if (!found->refused && found->status != KITH_E_CANCELLED) wrong++;
        ks_call_fail(call, 503, "%s", found->error->text);
        call->reply.retry_after_s = 1;
    } else {
        const uint64_t from = found->first ? found->hits->ends[found->first - 1] : 0;
        ks_text_format(&call->reply.body, "%zu", (size_t)(found->hits->ends[found->first] - from));
    }
    ks_call_done(call);
}

struct asked {
    ks_search search;
    kith_queries queries;
    kith_leg leg;
    float row[DIM];
};

static void handle(ks_call *call) {
    struct asked *asked = ks_call_alloc(call, sizeof(*asked));
    handled++;
    asked->queries = (kith_queries)KITH_QUERIES_INIT;
    asked->queries.data = asked->row;
    asked->queries.dtype = KITH_F32;
    asked->queries.count = 1;
    asked->queries.dim = DIM;
    asked->leg = (kith_leg){.queries = &asked->queries};
    asked->search = (ks_search){.call = call, .shop = &shop, .ask = KITH_ASK_INIT, .finish = finish};
    asked->search.ask.legs = &asked->leg;
    asked->search.ask.leg_count = 1;
    asked->search.ask.k = 3;
    ks_run_search(run, &asked->search);
}

/* A worker stands still at the same gate as the loop. */
static void stand(ks_call *call, void *context) {
    (void)context;
    pthread_mutex_lock(&lock);
    standing++;
    pthread_cond_broadcast(&changed);
    while (!open_gate) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    ks_text_add_line(&call->reply.body, "3");
}

static void handle_work(ks_call *call) {
    ks_run_work(run, call, stand, NULL);
}

static uint64_t turn(void *app, unsigned loop) {
    (void)app;
    return ks_run_turn(run, loop);
}

static void wake(void *context, unsigned loop) {
    ks_http_wake(context, loop);
}

static void write_failure(ks_call *call, int status, const char *sentence) {
    ks_text_clear(&call->reply.body);
    ks_text_add_line(&call->reply.body, sentence);
    call->reply.status = status;
}

static int authenticate(ks_call *call) {
    static const ks_key everybody = {.name = "everybody", .role = KS_ADMIN, .share = 1};
    call->key = &everybody;
    return 0;
}

static const ks_route routes[] = {{KS_POST, "/search", KS_READ, "search", handle},
                                  {KS_POST, "/work", KS_READ, "work", handle_work}};
static const ks_family family = {"", write_failure, routes, 2};
static ks_router *router;

static int start(void **state) {
    if (data_folder_make(state) != 0) return -1;
    shop.name = "shop";
    shop.collection = make_at(fresh(), KITH_ID_U64);
    for (uint64_t id = 0; id < 50; id++) must(put(shop.collection, id, (float)id, NULL, KITH_UPSERT, NULL));
    const ks_run_options options = {.loops = 1,
                                    .budget_ns = UINT64_C(3600000000000),
                                    .batch_max = BATCH,
                                    .queue_max = QUEUE,
                                    .workers = WORKERS,
                                    .work_max = WORK_QUEUE,
                                    .observe = observe};
    must(ks_run_create(&options, &run, &error));
    must(ks_router_create(&family, 1, &router, &error));
    const ks_http_options served = {.address = "127.0.0.1",
                                    .socket = -1,
                                    .loops = 1,
                                    .router = router,
                                    .turn = turn,
                                    .authenticate = authenticate,
                                    .answer_ms = 3600000};
    must(ks_http_start(&served, &http, &error));
    ks_run_wake_by(run, wake, http);
    return 0;
}

static int stop(void **state) {
    (void)ks_http_drain(http, 1);
    ks_run_destroy(run);
    ks_http_stop(http); /* last, as workers wake its loops */
    ks_router_destroy(router);
    kith_collection_close(shop.collection);
    return data_folder_remove(state);
}

static const char REQUEST[] = "POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";

/* Read an answer: 1 for a whole one of a search, 0 for a refusal as it should be. */
static int answered(int fd) {
    char *answer = client_read(fd);
    const int status = client_status(answer);
    if (status == 503)
        assert_non_null(strcasestr(answer, "\r\nRetry-After: "));
    else if (status != 200 || strcmp(strstr(answer, "\r\n\r\n") + 4, "3") != 0)
        fail_msg("neither an answer nor a refusal: %s", answer);
    free(answer);
    return status == 200;
}

static void wait_until_held(void) {
    pthread_mutex_lock(&lock);
    while (!held) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void set_gate(int open_now) {
    pthread_mutex_lock(&lock);
    open_gate = open_now;
    held = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void test_twice_the_load_and_more(void **state) {
    (void)state;
    int clients[CLIENTS];
    unsigned good = 0, refused = 0;
    for (size_t i = 0; i < CLIENTS; i++) clients[i] = client_open(ks_http_port(http));
    for (int round = 0; round < EACH; round++) {
        set_gate(0);
        client_say(clients[0], REQUEST);
        wait_until_held();
        for (size_t i = 1; i < CLIENTS; i++) client_say(clients[i], REQUEST);
        set_gate(1);
        for (size_t i = 0; i < CLIENTS; i++) *(answered(clients[i]) ? &good : &refused) += 1;
    }
    assert_int_equal(good + refused, CLIENTS * EACH); /* none is lost */
    assert_int_equal(handled, CLIENTS * EACH);
    assert_int_equal(wrong, 0);
    assert_int_equal(searched, good); /* and none that was refused was searched */
    assert_true(refused > 0);
    assert_true(good >= EACH * (1 + QUEUE)); /* what there was room for was answered */
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.refused, refused);
    assert_int_equal(now.searches, good);
    assert_int_equal(now.queued + now.working, 0);
    assert_true(now.batches < now.searches);
    for (size_t i = 0; i < CLIENTS; i++) { /* it is over: one at a time, everybody is answered */
        client_say(clients[i], REQUEST);
        assert_int_equal(answered(clients[i]), 1);
        close(clients[i]);
    }
}

/* Clients that leave without waiting for their answers take nothing from the others. */
static void test_clients_that_leave(void **state) {
    (void)state;
    int clients[CLIENTS];
    const unsigned before = handled;
    for (size_t i = 0; i < CLIENTS; i++) clients[i] = client_open(ks_http_port(http));
    set_gate(0);
    client_say(clients[0], REQUEST);
    wait_until_held();
    for (size_t i = 1; i < CLIENTS; i++) {
        client_say(clients[i], REQUEST);
        if (i % 2) close(clients[i]);
    }
    set_gate(1);
    for (size_t i = 0; i < CLIENTS; i += 2) {
        (void)answered(clients[i]);
        close(clients[i]);
    }
    assert_true(handled - before >= CLIENTS / 2);
    assert_int_equal(client_asks(ks_http_port(http), REQUEST), 200);
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.queued, 0);
    assert_int_equal(wrong, 0);
}

/* Refusals do not wait behind what they are refused for. */
static void test_refusals_while_workers_are_held(void **state) {
    static const char WORK[] = "POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    enum { TAKEN = WORKERS + WORK_QUEUE };
    (void)state;
    int clients[TAKEN + 5];
    for (size_t i = 0; i < TAKEN + 5; i++) clients[i] = client_open(ks_http_port(http));
    set_gate(0);
    pthread_mutex_lock(&lock);
    searches_pass = 1;
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < WORKERS; i++) client_say(clients[i], WORK);
    pthread_mutex_lock(&lock);
    while (standing < WORKERS) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    for (size_t i = WORKERS; i < TAKEN; i++) client_say(clients[i], WORK);
    ks_run_state now;
    do ks_run_state_of(run, &now);
    while (now.work_queued < WORK_QUEUE);
    for (size_t i = TAKEN; i < TAKEN + 5; i++) {
        client_say(clients[i], WORK);
        assert_int_equal(answered(clients[i]), 0);
        client_say(clients[i], REQUEST);
        assert_int_equal(answered(clients[i]), 1);
    }
    assert_int_equal(standing, WORKERS);
    set_gate(1);
    for (size_t i = 0; i < TAKEN; i++) assert_int_equal(answered(clients[i]), 1);
    for (size_t i = 0; i < TAKEN + 5; i++) close(clients[i]);
    searches_pass = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twice_the_load_and_more),
        cmocka_unit_test(test_clients_that_leave),
        cmocka_unit_test(test_refusals_while_workers_are_held),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
