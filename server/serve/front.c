/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that forwards: it has no collections, and every path but its own health and metrics goes to its backends.
 *
 * Keys are passed on and checked there. So a front asks for none, and says nothing of what a key may do. */
#include <stdio.h>
#include <string.h>

#include "fleet/fleet.h"
#include "serve/inner.h"

static void forward(ks_call *call) {
    ks_fleet_send(ks_app_of(call)->fleet, call);
}

#define EVERY_METHOD(pattern)                                                                                          \
    {KS_GET, pattern, KS_NOBODY, "forward", forward}, {KS_POST, pattern, KS_NOBODY, "forward", forward},               \
        {KS_PUT, pattern, KS_NOBODY, "forward", forward}, {KS_PATCH, pattern, KS_NOBODY, "forward", forward},          \
        {KS_DELETE, pattern, KS_NOBODY, "forward", forward}, {                                                         \
        KS_OPTIONS, pattern, KS_NOBODY, "forward", forward                                                             \
    }

/* As many parts as any path of a backend has. */
static const ks_route routes[] = {EVERY_METHOD("/"),
                                  EVERY_METHOD("/{}"),
                                  EVERY_METHOD("/{}/{}"),
                                  EVERY_METHOD("/{}/{}/{}"),
                                  EVERY_METHOD("/{}/{}/{}/{}"),
                                  EVERY_METHOD("/{}/{}/{}/{}/{}"),
                                  EVERY_METHOD("/{}/{}/{}/{}/{}/{}")};

size_t ks_serve_front_families(ks_family families[KS_FAMILIES]) {
    families[0] = ks_watch_family;
    families[1] =
        (ks_family){.prefix = "", .fail = ks_fleet_fail, .routes = routes, .count = sizeof(routes) / sizeof(*routes)};
    return 2;
}

int ks_serve_is_front(const ks_serve_options *options) {
    return options->backends || options->backends_path;
}

static void tell(void *context, int trouble, const char *sentence) {
    ks_log(context, trouble ? KS_LOG_WARNING : KS_LOG_INFO, "backend", "%s", sentence);
}

static void write_metrics(void *context, ks_text *text, int open) {
    ks_fleet_metrics(context, text, open);
}

/* Calls go out nevertheless, since all may be thought unfit wrongly; but another front may know better ones. */
static const char *trouble(void *context) {
    ks_fleet_state now;
    ks_fleet_state_of(context, &now);
    return now.fit ? NULL : "not ready: none of the backends is fit for calls";
}

kith_status ks_serve_open_front(ks_serve_state *state, kith_error *error) {
    const ks_serve_options *options = &state->options;
    const ks_fleet_options fleet = {.backends = options->backends,
                                    .file = options->backends_path,
                                    .write_to = options->write_to,
                                    .policy = (ks_policy)options->policy,
                                    .retry_share = options->retry_share,
                                    .hedge_share = options->hedge_share,
                                    .tell = tell,
                                    .tell_context = state->app.watch};
    const kith_status status = ks_fleet_start(&fleet, &state->app.fleet, error);
    const ks_watch_more more = {write_metrics, trouble, state->app.fleet};
    if (status == KITH_OK) ks_watch_also(state->app.watch, &more);
    return status;
}

void ks_serve_reload_front(ks_serve_state *state) {
    kith_error error = {0};
    if (ks_fleet_reload(state->app.fleet, &error) == KITH_OK) {
        ks_fleet_state now;
        ks_fleet_state_of(state->app.fleet, &now);
        ks_log(state->app.watch, KS_LOG_INFO, "backends", "%zu backends, after they were read anew", now.backends);
    } else {
        ks_log(state->app.watch, KS_LOG_ERROR, "backends", "The backends stay as they were: %s", error.text);
    }
}

size_t ks_serve_front_count(const ks_serve_state *state) {
    ks_fleet_state now;
    ks_fleet_state_of(state->app.fleet, &now);
    return now.backends;
}
