/* SPDX-License-Identifier: Apache-2.0
 *
 * The watch: beginning, end, and what is called while calls are answered. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "watch/inner.h"
#include "watch/thread.h"

/* Looking may take a fiftieth of the thread's time: with very many collections it is done less often. */
enum { LOOK_NS = 1000000000, LOOK_REST = 50 };

/* ---- The thread that looks --------------------------------------------------------------------------------------- */

/* Wait until a time. Whether it came: 0 when the watch ends. */
static int wait_until(ks_watch *watch, uint64_t at_ns) {
    const struct timespec until = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};
    int late = 0;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->stopping && !late) late = pthread_cond_timedwait(&watch->changed, &watch->mutex, &until) != 0;
    const int stopping = watch->stopping;
    pthread_mutex_unlock(&watch->mutex);
    return !stopping;
}

static void look(ks_watch *watch) {
    ks_figures seen = {0}, before;
    const int doubt = atomic_exchange(&watch->doubted, 0);
    ks_figures_look(&seen, watch->shelf, &watch->counts, &watch->proc, doubt);
    if (doubt && (seen.broken || !seen.shops)) atomic_store(&watch->doubted, 1);
    if (!seen.shops) return;
    atomic_store(&watch->broken, seen.broken > 0);
    pthread_mutex_lock(&watch->mutex);
    before = watch->figures;
    watch->figures = seen;
    pthread_mutex_unlock(&watch->mutex);
    ks_figures_free(&before);
}

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *keep_looking(void *context) {
    ks_watch *watch = context;
    uint64_t next_look = 0, tick = monotonic_ns();
    do {
        ks_sums sums;
        ks_counts_sum(&watch->counts, &sums);
        ks_recents_look(&watch->recents, &sums, monotonic_ns());
        const uint64_t began = monotonic_ns();
        if (began >= next_look) {
            look(watch);
            next_look = began + (monotonic_ns() - began) * LOOK_REST;
        }
        tick += LOOK_NS;
        if (tick < monotonic_ns()) tick = monotonic_ns() + LOOK_NS;
    } while (wait_until(watch, tick));
    return NULL;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static kith_status refuse(kith_error *error, kith_status status, const char *sentence) {
    if (error) {
        error->status = status;
        snprintf(error->text, sizeof(error->text), "%s", sentence);
    }
    return status;
}

static void init(ks_watch *watch, const ks_watch_options *options) {
    pthread_condattr_t monotonic;
    watch->shelf = options->shelf;
    watch->log.fd = options->log_fd > 0 ? options->log_fd : STDERR_FILENO;
    watch->log.json = options->log_json;
    watch->log.level = options->log_level;
    ks_counts_init(&watch->counts);
    ks_recents_init(&watch->recents);
    ks_proc_open(&watch->proc);
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

kith_status ks_watch_create(const ks_watch_options *options, ks_watch **made, kith_error *error) {
    if (!(options->recall_share >= 0 && options->recall_share <= 1))
        return refuse(error, KITH_E_ARG, "the share of searches that are checked for live recall must lie in 0 to 1");
    ks_watch *watch = calloc(1, sizeof(*watch));
    if (!watch) return refuse(error, KITH_E_NOMEM, "there is no memory for the server's metrics");
    init(watch, options);
    kith_status status = ks_recaller_start(&watch->recaller, watch->shelf, &watch->log, options->recall_share, error);
    if (status == KITH_OK) {
        /* The first metrics have all collections. */
        look(watch);
        status = ks_thread_start(&watch->thread, keep_looking, watch, "watches collections", error);
        watch->started = status == KITH_OK;
    }
    if (status == KITH_OK) {
        *made = watch;
    } else {
        ks_watch_destroy(watch);
    }
    return status;
}

void ks_watch_destroy(ks_watch *watch) {
    if (!watch) return;
    pthread_mutex_lock(&watch->mutex);
    watch->stopping = 1;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->mutex);
    if (watch->started) pthread_join(watch->thread, NULL);
    ks_recaller_stop(&watch->recaller);
    ks_figures_free(&watch->figures);
    ks_proc_close(&watch->proc);
    ks_recents_destroy(&watch->recents);
    ks_counts_destroy(&watch->counts);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
}

void ks_watch_follow(ks_watch *watch, ks_run *run, ks_http *http) {
    atomic_store(&watch->run, run);
    atomic_store(&watch->http, http);
}

void ks_watch_also(ks_watch *watch, const ks_watch_more *more) {
    watch->more = more ? *more : (ks_watch_more){0};
}

void ks_watch_ready(ks_watch *watch, int ready) {
    atomic_store(&watch->ready, ready);
}

/* ---- While calls are answered ------------------------------------------------------------------------------------ */

void ks_watch_call(const ks_call *call, uint64_t total_ns, size_t sent_bytes) {
    ks_watch *watch = ks_app_of(call)->watch;
    if (!watch) return;
    const int status = call->reply.status ? call->reply.status : 200;
    const ks_counted counted = {.op = call->route ? call->route->op : NULL,
                                .collection = call->collection,
                                .status = status,
                                .total_ns = total_ns,
                                .queries = call->queries,
                                .received_bytes = call->body_bytes,
                                .sent_bytes = sent_bytes};
    ks_counts_call(&watch->counts, call->loop, &counted);
    ks_log_call(&watch->log, call, total_ns, sent_bytes);
    /* After an I/O error a collection takes no more writes until it is opened anew, and each of them ends in a 500. */
    if (status == 500 && call->route && call->route->role >= KS_WRITE) atomic_store(&watch->doubted, 1);
}

void ks_watch_batch(void *context, ks_search *const *searches, const ks_found *found, size_t count) {
    ks_watch *watch = context;
    ks_counts_batch(&watch->counts, searches, found, count);
    ks_recaller_batch(&watch->recaller, &watch->counts, searches, found, count);
}

void ks_log(ks_watch *watch, ks_log_level level, const char *event, const char *format, ...) {
    ks_log_to plain = {.fd = STDERR_FILENO, .level = KS_LOG_DEBUG};
    ks_log_to *to = watch ? &watch->log : &plain;
    char message[1024];
    va_list values;
    ks_line line;
    if (!ks_line_wanted(to, level)) return;
    va_start(values, format);
    vsnprintf(message, sizeof(message), format, values);
    va_end(values);
    ks_line_begin(&line, to, level, event, message);
    ks_line_end(&line);
}

int ks_watch_recall(ks_watch *watch, unsigned shop, ks_recall *recall) {
    return ks_recaller_tell(&watch->recaller, shop, recall);
}

void ks_watch_recent(ks_watch *watch, ks_recent *recent) {
    ks_recents_tell(&watch->recents, recent);
}
