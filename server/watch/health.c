/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /metrics, /healthz, /livez and /readyz.
 *
 * Liveness says that the process answers, which is reason enough to leave it alone; readiness, that it should be sent
 * calls: not while it starts and stops, not after an I/O error, which refuses all later writes of a collection, and not
 * where it only forwards and no backend is fit. A full disk, and other trouble that passes, is none of that: reads go
 * on.
 *
 * Both are told to everybody, and nothing else is: metrics name collections, so they need a key that may read, and that
 * is bound to nothing less than all. */
#include "watch/inner.h"

/* The type of a body must be static. */
static const char text_plain[] = "text/plain; charset=utf-8";
static const char text_metrics[] = "text/plain; version=0.0.4; charset=utf-8";
static const char text_open[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static void say(ks_call *call, int status, const char *sentence) {
    call->reply.status = status;
    call->reply.type = text_plain;
    call->reply.cache_control = "no-store";
    ks_text_clear(&call->reply.body);
    ks_text_add_line(&call->reply.body, sentence);
    ks_text_add(&call->reply.body, "\n", 1);
}

static void fail_plainly(ks_call *call, int status, const char *sentence) {
    say(call, status, sentence);
}

static void show_live(ks_call *call) {
    say(call, 200, "alive");
    ks_call_done(call);
}

const char *ks_watch_trouble(ks_watch *watch) {
    if (!atomic_load(&watch->ready)) return "not ready: the server is starting, or stopping";
    if (atomic_load(&watch->broken))
        return "not ready: a collection refuses writes after an I/O error until the server is started anew; "
               "kith_collection_trouble names it";
    return watch->more.trouble ? watch->more.trouble(watch->more.context) : NULL;
}

static void show_ready(ks_call *call) {
    ks_watch *watch = ks_app_of(call)->watch;
    const char *trouble = ks_watch_trouble(watch);
    say(call, trouble ? 503 : 200, trouble ? trouble : "ready");
    ks_call_done(call);
}

static void show_metrics(ks_call *call) {
    ks_watch *watch = ks_app_of(call)->watch;
    if (call->key->segment || call->key->collections) {
        ks_call_fail(call, 403, "this key is bound to some of the collections or segments, but metrics tell of all");
        ks_call_done(call);
        return;
    }
    ks_scrape scrape = {.text = &call->reply.body, .open = ks_call_accepts(call, "application/openmetrics-text")};
    call->reply.status = 200;
    call->reply.type = scrape.open ? text_open : text_metrics;
    call->reply.cache_control = "no-store";
    ks_watch_write(watch, &scrape);
    if (call->reply.body.failed) ks_call_no_memory(call);
    ks_call_done(call);
}

static const ks_route routes[] = {
    {KS_GET, "/metrics", KS_READ, "metrics", show_metrics},
    {KS_GET, "/healthz", KS_NOBODY, "health", show_live},
    {KS_GET, "/livez", KS_NOBODY, "health", show_live},
    {KS_GET, "/readyz", KS_NOBODY, "health", show_ready},
};

/* Its prefix is no path: nothing else answers under it. */
const ks_family ks_watch_family = {"/metrics", fail_plainly, routes, sizeof(routes) / sizeof(*routes)};
