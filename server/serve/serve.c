/* SPDX-License-Identifier: Apache-2.0
 *
 * The server put together, from its options to its last call.
 *
 * Parts are made from the ground up: keys, pool, shelf, watch, processor, routes, HTTP. They end in this order: HTTP
 * answers what is there and its threads end; the processor's workers end; then what they told and used goes. The memory
 * of HTTP goes last, because workers wake its loops. */
#define _GNU_SOURCE
#include "serve/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fleet/fleet.h"
#include "serve/confine.h"
#include "serve/inner.h"

enum { DRAIN_MS = 30000 };

static kith_status refuse(kith_error *error, kith_status status, const char *text) {
    if (error) {
        error->status = status;
        snprintf(error->text, sizeof(error->text), "%s", text);
    }
    return status;
}

/* ---- Opening */

static kith_status open_keys(ks_serve_state *state, kith_error *error) {
    ks_keys *keys = NULL;
    const kith_status status =
        state->options.keys_path ? ks_keys_read(state->options.keys_path, &keys, error) : ks_keys_open(&keys, error);
    if (status != KITH_OK) return status;
    atomic_store(&state->keys, keys);
    state->app.keys = keys;
    return KITH_OK;
}

typedef struct troubles {
    const ks_serve_state *state;
    size_t count;
} troubles;

static void tell_trouble(void *context, const char *name, const kith_error *error) {
    troubles *told = context;
    told->count++;
    ks_log(NULL, KS_LOG_ERROR, "collection", "%s is not served: %s", name, error->text);
}

static kith_status make_folder(const ks_serve_options *options, kith_error *error) {
    if (!options->create || mkdir(options->path, 0777) == 0 || errno == EEXIST) return KITH_OK;
    if (error) {
        error->status = KITH_E_IO;
        snprintf(error->text, sizeof(error->text), "%s cannot be made: %s", options->path, strerror(errno));
    }
    return KITH_E_IO;
}

static kith_status open_shelf(ks_serve_state *state, kith_error *error) {
    const ks_serve_options *options = &state->options;
    troubles told = {state, 0};
    const kith_status status = kith_pool_create(0, &state->pool, error);
    if (status != KITH_OK) return status;
    const ks_shelf_options shelf = {.read_only = options->read_only,
                                    .durability = options->durability,
                                    .cache_bytes = options->cache_bytes,
                                    .resident_bytes = options->resident_bytes,
                                    .pool = state->pool};
    return ks_shelf_open(options->path, &shelf, tell_trouble, &told, &state->app.shelf, error);
}

static kith_status open_watch(ks_serve_state *state, kith_error *error) {
    const ks_watch_options options = {.log_json = state->options.log_json,
                                      .log_level = (ks_log_level)state->options.log_level,
                                      .log_fd = 2,
                                      .recall_share = state->options.recall_share,
                                      .shelf = state->app.shelf};
    return ks_watch_create(&options, &state->app.watch, error);
}

static kith_status open_run(ks_serve_state *state, kith_error *error) {
    const ks_run_options options = {.loops = state->options.loops,
                                    .workers = state->options.workers,
                                    .budget_ns = state->options.budget_ns,
                                    .shelf = state->app.shelf,
                                    .observe = ks_watch_batch,
                                    .observe_context = state->app.watch};
    return ks_run_create(&options, &state->app.run, error);
}

static uint64_t turn(void *app, unsigned loop) {
    return ks_run_turn(((ks_app *)app)->run, loop);
}

static void wake(void *context, unsigned loop) {
    ks_http_wake(context, loop);
}

static kith_status open_http(ks_serve_state *state, int socket, kith_error *error) {
    const ks_serve_options *options = &state->options;
    const size_t families =
        state->app.fleet ? ks_serve_front_families(state->families) : ks_serve_families(state->families);
    kith_status status = ks_router_create(state->families, families, &state->router, error);
    if (status != KITH_OK) return status;
    const ks_http_options http = {.address = options->address,
                                  .port = (uint16_t)options->port,
                                  .socket = socket,
                                  .loops = options->loops,
                                  .certificate = options->certificate,
                                  .private_key = options->private_key,
                                  .connections_max = options->connections_max,
                                  .body_max = options->body_max,
                                  .app = &state->app,
                                  .router = state->router,
                                  .authenticate = ks_serve_authenticate,
                                  .turn = state->app.run ? turn : NULL,
                                  .observe = ks_watch_call};
    return ks_http_start(&http, &state->app.http, error);
}

static size_t count_collections(ks_shelf *shelf) {
    for (size_t place = 0;; place++) {
        ks_shop *shop = ks_shelf_at(shelf, place);
        if (!shop) return place;
        ks_shelf_return(shelf, shop);
    }
}

static void settle_app(ks_serve_state *state) {
    ks_app *app = &state->app;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    app->started_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    app->read_only = state->options.read_only;
    app->limits = (ks_limits){.k_max = 1024,
                              .queries_max = 1024,
                              .points_max = 100000,
                              .filter_depth = 32,
                              .target_recall = state->options.target_recall > 0 ? state->options.target_recall : 0.95};
    app->public_url = state->url;
}

/* The address that texts name, before anything answers. A socket that was handed over knows its own; a port that any
 * will do for is known later, and asked for by nobody before it is printed. */
static void name_url(ks_serve_state *state, int socket) {
    const ks_serve_options *options = &state->options;
    char text[KS_ADDRESS_BYTES];
    const char *address = options->address ? options->address : "127.0.0.1";
    unsigned port = (unsigned)options->port;
    if (socket >= 0 && ks_serve_address_of(socket, text, &port)) address = text;
    if (state->app.http) port = ks_http_port(state->app.http);
    const int six = strchr(address, ':') != NULL;
    snprintf(state->url, sizeof(state->url), "%s://%s%s%s:%u", options->certificate ? "https" : "http", six ? "[" : "",
             address, six ? "]" : "", port);
}

/* Before the first thread: what is given up is given up by those that a thread starts. */
static void confine_files(ks_serve_state *state) {
    const ks_serve_options *options = &state->options;
    const ks_confines confines = {
        options->path, {options->keys_path, options->certificate, options->private_key, options->backends_path}};
    if (!options->unconfined) ks_confine_files(&confines, state->lacks_files, sizeof(state->lacks_files));
}

static kith_status open_all(ks_serve_state *state, int socket, kith_error *error) {
    name_url(state, socket);
    settle_app(state);
    kith_status status = open_keys(state, error);
    const int front = ks_serve_is_front(&state->options);
    if (status == KITH_OK && !front) status = make_folder(&state->options, error);
    if (status == KITH_OK) confine_files(state);
    if (status == KITH_OK && !front) status = open_shelf(state, error);
    if (status == KITH_OK) status = open_watch(state, error);
    if (status == KITH_OK) status = front ? ks_serve_open_front(state, error) : open_run(state, error);
    if (status == KITH_OK) status = open_http(state, socket, error);
    if (status != KITH_OK) return status;
    if (!front) ks_run_wake_by(state->app.run, wake, state->app.http);
    ks_watch_follow(state->app.watch, state->app.run, state->app.http);
    if (!state->options.unconfined) ks_confine_calls(state->lacks_calls, sizeof(state->lacks_calls));
    return KITH_OK;
}

/* ---- Running */

static void tell_confines(ks_serve_state *state) {
    const char *lacks[] = {state->lacks_files, state->lacks_calls};
    for (int i = 0; i < 2; i++)
        if (lacks[i][0])
            ks_log(state->app.watch, KS_LOG_WARNING, "confine", "The server is less confined: %s", lacks[i]);
}

static void say_ready(ks_serve_state *state, int socket) {
    const int front = state->app.fleet != NULL;
    const size_t count = front ? ks_serve_front_count(state) : count_collections(state->app.shelf);
    if (!state->options.port && socket < 0) name_url(state, socket);
    ks_watch_ready(state->app.watch, 1); /* before it is said: who waits for the line asks at once */
    if (front) {
        printf("kith forwards to %zu backend%s at %s/\n", count, count == 1 ? "" : "s", state->url);
    } else {
        printf("kith serves %zu collection%s at %s/ (page /ui)\n", count, count == 1 ? "" : "s", state->url);
    }
    fflush(stdout);
    ks_log(state->app.watch, KS_LOG_INFO, "ready", "%zu %s%s at %s", count, front ? "backend" : "collection",
           count == 1 ? "" : "s", state->url);
    tell_confines(state);
    ks_serve_notify("READY=1");
}

static void reload_keys(ks_serve_state *state) {
    kith_error error = {0};
    ks_keys *keys = NULL;
    ks_retired *retired = NULL;
    kith_status status = ks_keys_read(state->options.keys_path, &keys, &error);
    if (status == KITH_OK && !(retired = malloc(sizeof(*retired))))
        status = refuse(&error, KITH_E_NOMEM, "there is no memory to remember the keys that were");
    if (status != KITH_OK) {
        ks_keys_destroy(keys);
        ks_log(state->app.watch, KS_LOG_ERROR, "keys", "The keys stay as they were: %s", error.text);
        return;
    }
    *retired = (ks_retired){state->retired, atomic_exchange(&state->keys, keys)};
    state->retired = retired;
    ks_log(state->app.watch, KS_LOG_INFO, "keys", "%zu keys were read anew", ks_keys_count(keys));
}

static void reload_certificate(ks_serve_state *state) {
    kith_error error = {0};
    if (ks_http_renew(state->app.http, &error) == KITH_OK) {
        ks_log(state->app.watch, KS_LOG_INFO, "tls", "The certificate was read anew.");
    } else {
        ks_log(state->app.watch, KS_LOG_ERROR, "tls", "The certificate stays as it was: %s", error.text);
    }
}

static void reload(ks_serve_state *state) {
    if (state->app.fleet) ks_serve_reload_front(state);
    if (state->options.keys_path) reload_keys(state);
    if (state->options.certificate) reload_certificate(state);
}

/* Until a signal ends it. */
static void wait_for_end(ks_serve_state *state, const sigset_t *signals) {
    for (;;) {
        const int number = sigwaitinfo(signals, NULL);
        if (number == SIGHUP) {
            ks_serve_notify("RELOADING=1");
            reload(state);
            ks_serve_notify("READY=1");
        } else if (number == SIGTERM || number == SIGINT) {
            ks_log(state->app.watch, KS_LOG_INFO, "stopping", "%s: calls that are here are answered",
                   number == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
    }
}

/* ---- Closing */

static void drain(ks_serve_state *state, const sigset_t *before) {
    const uint64_t limit_ms = state->options.drain_ms ? state->options.drain_ms : DRAIN_MS;
    ks_serve_notify("STOPPING=1");
    ks_watch_ready(state->app.watch, 0);
    /* The second signal kills at once: what was acknowledged is on the disk. */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, before, NULL);
    if (!ks_http_drain(state->app.http, limit_ms))
        ks_log(state->app.watch, KS_LOG_WARNING, "stopping", "some calls were not answered within %llu ms",
               (unsigned long long)limit_ms);
}

static void close_all(ks_serve_state *state) {
    if (state->app.watch) ks_watch_follow(state->app.watch, NULL, NULL);
    if (state->app.watch) ks_watch_also(state->app.watch, NULL);
    ks_fleet_stop(state->app.fleet);
    ks_run_destroy(state->app.run);
    ks_http_stop(state->app.http);
    ks_watch_destroy(state->app.watch);
    ks_router_destroy(state->router);
    if (state->app.shelf) ks_shelf_close(state->app.shelf);
    kith_pool_destroy(state->pool);
    ks_keys_destroy(atomic_load(&state->keys));
    while (state->retired) {
        ks_retired *next = state->retired->next;
        ks_keys_destroy(state->retired->keys);
        free(state->retired);
        state->retired = next;
    }
    free(state);
}

kith_status ks_serve(const ks_serve_options *options, kith_error *error) {
    int socket = -1;
    sigset_t signals, before;
    kith_status status = ks_serve_activated(&socket, error);
    if (status == KITH_OK) status = ks_serve_is_safe(options, socket, error);
    if (status != KITH_OK) return status;
    ks_serve_state *state = calloc(1, sizeof(*state));
    if (!state) return refuse(error, KITH_E_NOMEM, "there is no memory for a server");
    state->options = *options;
    if (!state->options.loops) state->options.loops = 1;
    /* Blocked before the first thread is made, so that all leave these signals to this one. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    status = open_all(state, socket, error);
    if (status == KITH_OK) {
        say_ready(state, socket);
        wait_for_end(state, &signals);
        drain(state, &before);
    }
    close_all(state);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}
