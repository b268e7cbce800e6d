/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's transport: its start, what others may ask of it, its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/wire.h"

static kith_status no_memory(kith_error *error) {
    if (error) *error = (kith_error){KITH_E_NOMEM, "there is no memory for the server"};
    return KITH_E_NOMEM;
}

static void settle(ks_http_options *options) {
    if (!options->loops) options->loops = 1;
    if (!options->connections_max) options->connections_max = 10000;
    if (!options->body_max) options->body_max = (size_t)64 << 20;
    if (!options->bodies_max) options->bodies_max = (size_t)512 << 20;
    if (!options->replies_max) options->replies_max = (size_t)512 << 20;
    if (!options->idle_ms) options->idle_ms = 60000;
    if (!options->request_ms) options->request_ms = 15000;
    if (!options->answer_ms) options->answer_ms = 10000;
}

/* Descriptors for all connections, and as many as collections may want besides; where the system allows fewer, fewer
 * connections. */
static void raise_descriptors(ks_http_options *options) {
    enum { OTHERS = 4096, OTHERS_LEAST = 256 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const rlim_t want = options->connections_max + OTHERS;
    if (limit.rlim_cur < want) {
        limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    }
    if (limit.rlim_cur <= options->connections_max + OTHERS_LEAST)
        options->connections_max =
            limit.rlim_cur > 2 * OTHERS_LEAST ? limit.rlim_cur - OTHERS_LEAST : limit.rlim_cur / 2;
}

static kith_status start_loops(ks_http *http, kith_error *error) {
    kith_status status = KITH_OK;
    for (unsigned i = 0; i < http->loop_count && status == KITH_OK; i++) status = ks_loop_open(&http->loops[i], error);
    for (unsigned i = 0; i < http->loop_count && status == KITH_OK; i++) {
        const int code = pthread_create(&http->loops[i].thread, NULL, ks_loop_run, &http->loops[i]);
        http->loops[i].started = code == 0;
        if (code == 0) continue;
        status = KITH_E_NOMEM;
        if (!error) continue;
        error->status = status;
        snprintf(error->text, sizeof(error->text), "thread %u of the server cannot be started: %s", i, strerror(code));
    }
    return status;
}

kith_status ks_http_start(const ks_http_options *options, ks_http **http, kith_error *error) {
    ks_http *made = calloc(1, sizeof(*made));
    if (!made) return no_memory(error);
    made->options = *options;
    made->listener = -1;
    settle(&made->options);
    raise_descriptors(&made->options);
    made->loops = calloc(made->options.loops, sizeof(*made->loops));
    kith_status status = made->loops ? KITH_OK : no_memory(error);
    for (unsigned i = 0; i < made->options.loops && made->loops; i++) {
        made->loops[i].http = made;
        made->loops[i].number = i;
        made->loops[i].epoll = made->loops[i].event = -1;
        pthread_mutex_init(&made->loops[i].lock, NULL);
        made->loop_count++;
    }
    if (status == KITH_OK) status = ks_tls_open(&made->options, &made->tls, error);
    if (status == KITH_OK) status = ks_listen(made, error);
    if (status == KITH_OK) status = start_loops(made, error);
    if (status == KITH_OK) {
        *http = made;
    } else {
        ks_http_stop(made);
    }
    return status;
}

uint16_t ks_http_port(const ks_http *http) {
    return http->port;
}

void ks_http_state_of(const ks_http *http, ks_http_state *state) {
    *state = (ks_http_state){.requests = atomic_load(&http->requests),
                             .refused = atomic_load(&http->refused),
                             .body_bytes = atomic_load(&http->body_bytes)};
    for (unsigned i = 0; i < http->loop_count; i++) state->connections += atomic_load(&http->loops[i].count);
}

kith_status ks_http_renew(ks_http *http, kith_error *error) {
    return http->tls ? ks_tls_renew(http->tls, &http->options, error) : KITH_OK;
}

void ks_http_wake(ks_http *http, unsigned loop) {
    if (loop < http->loop_count) ks_loop_wake(&http->loops[loop]);
}

static void wake_all(ks_http *http) {
    for (unsigned i = 0; i < http->loop_count; i++) ks_loop_wake(&http->loops[i]);
}

/* Wait for a loop's thread until a time of CLOCK_REALTIME; NULL: as long as it takes. Whether it has ended. */
static int join(ks_loop *loop, const struct timespec *until) {
    if (!loop->started) return 1;
    const int code = until ? pthread_timedjoin_np(loop->thread, NULL, until) : pthread_join(loop->thread, NULL);
    if (code == 0) loop->started = 0;
    return code == 0;
}

static void stop_loops(ks_http *http) {
    atomic_store(&http->stopping, 1);
    atomic_store(&http->draining, 1);
    wake_all(http);
    for (unsigned i = 0; i < http->loop_count; i++) join(&http->loops[i], NULL);
}

int ks_http_drain(ks_http *http, uint64_t limit_ms) {
    struct timespec until;
    int all = 1;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(limit_ms / 1000);
    until.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    atomic_store(&http->draining, 1);
    wake_all(http);
    for (unsigned i = 0; i < http->loop_count; i++) all &= join(&http->loops[i], &until);
    stop_loops(http);
    return all;
}

void ks_http_stop(ks_http *http) {
    if (!http) return;
    stop_loops(http);
    for (unsigned i = 0; i < http->loop_count; i++) ks_loop_close(&http->loops[i]);
    if (http->own_listener) close(http->listener);
    ks_tls_close(http->tls);
    free(http->loops);
    free(http);
}
