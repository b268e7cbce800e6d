/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells how many servers there should be, over HTTP. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/fleet.h"
#include "http/http.h"
#include "json/json.h"
#include "keys/keys.h"
#include "serve/scale.h"

struct ks_teller {
    ks_router *router;
    ks_http *http;
    pthread_mutex_t lock;
    ks_told told;
};

static ks_told get(const ks_call *call) {
    ks_teller *teller = call->app;
    pthread_mutex_lock(&teller->lock);
    const ks_told told = teller->told;
    pthread_mutex_unlock(&teller->lock);
    return told;
}

static void tell_json(ks_call *call) {
    const ks_told told = get(call);
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "desired", told.desired);
    ks_json_text(&json, "reason", ks_scale_reason_text(told.reason));
    ks_json_uint(&json, "servers", told.servers);
    ks_json_uint(&json, "asked", told.asked);
    ks_json_real(&json, "busy", told.sample.busy);
    ks_json_real(&json, "p99_ms", told.sample.p99_ms);
    ks_json_real(&json, "queue", told.sample.queue);
    ks_json_object_end(&json);
    ks_call_done(call);
}

static void gauge(ks_text *text, const char *name, const char *help, double value) {
    ks_text_format(text, "# HELP %s %s\n# TYPE %s gauge\n%s %.12g\n", name, help, name, name, value);
}

static void tell_metrics(ks_call *call) {
    const ks_told told = get(call);
    ks_text *text = &call->reply.body;
    call->reply.type = "text/plain; version=0.0.4; charset=utf-8";
    gauge(text, "kith_desired_replicas", "How many servers there should be.", told.desired);
    gauge(text, "kith_answering_replicas", "Servers that answered at the last look.", told.servers);
    gauge(text, "kith_fleet_busy_ratio", "Mean share of their time that they are busy.", told.sample.busy);
    gauge(text, "kith_fleet_queue_depth", "Calls that wait, of all of them.", told.sample.queue);
    gauge(text, "kith_fleet_p99_seconds", "99th percentile of the slowest of them.", told.sample.p99_ms / 1e3);
    ks_text_format(text,
                   "# HELP kith_looks_total Looks at the servers.\n# TYPE kith_looks_total counter\n"
                   "kith_looks_total %llu\n",
                   (unsigned long long)told.looks);
    ks_call_done(call);
}

static void tell_life(ks_call *call) {
    call->reply.type = "text/plain; charset=utf-8";
    ks_text_add_line(&call->reply.body, "alive\n");
    ks_call_done(call);
}

static void tell_ready(ks_call *call) {
    const int ready = get(call).looks > 0;
    call->reply.status = ready ? 200 : 503;
    call->reply.type = "text/plain; charset=utf-8";
    ks_text_add_line(&call->reply.body, ready ? "ready\n" : "no look at the servers was taken yet\n");
    ks_call_done(call);
}

static const ks_route routes[] = {{KS_GET, "/", KS_NOBODY, "desired", tell_json},
                                  {KS_GET, "/metrics", KS_NOBODY, "metrics", tell_metrics},
                                  {KS_GET, "/livez", KS_NOBODY, "livez", tell_life},
                                  {KS_GET, "/readyz", KS_NOBODY, "readyz", tell_ready}};

/* Nothing told here is a secret, and nothing can be changed. */
static const ks_key anybody = {.name = "anybody", .role = KS_READ, .share = 1};

static int let_in(ks_call *call) {
    call->key = &anybody;
    return 0;
}

kith_status ks_teller_start(const char *address, uint16_t port, ks_teller **out, kith_error *error) {
    static const ks_family family = {
        .prefix = "", .fail = ks_fleet_fail, .routes = routes, .count = sizeof(routes) / sizeof(*routes)};
    ks_teller *teller = calloc(1, sizeof(*teller));
    if (!teller) {
        if (error) *error = (kith_error){KITH_E_NOMEM, "There is no memory for a server."};
        return KITH_E_NOMEM;
    }
    pthread_mutex_init(&teller->lock, NULL);
    kith_status status = ks_router_create(&family, 1, &teller->router, error);
    if (status == KITH_OK) {
        const ks_http_options options = {.address = address,
                                         .port = port,
                                         .socket = -1,
                                         .connections_max = 64,
                                         .body_max = 1024,
                                         .app = teller,
                                         .router = teller->router,
                                         .authenticate = let_in};
        status = ks_http_start(&options, &teller->http, error);
    }
    if (status != KITH_OK) {
        ks_teller_stop(teller);
        return status;
    }
    *out = teller;
    return KITH_OK;
}

uint16_t ks_teller_port(const ks_teller *teller) {
    return ks_http_port(teller->http);
}

void ks_teller_tell(ks_teller *teller, const ks_told *told) {
    pthread_mutex_lock(&teller->lock);
    teller->told = *told;
    pthread_mutex_unlock(&teller->lock);
}

void ks_teller_stop(ks_teller *teller) {
    if (!teller) return;
    ks_http_stop(teller->http);
    ks_router_destroy(teller->router);
    pthread_mutex_destroy(&teller->lock);
    free(teller);
}
