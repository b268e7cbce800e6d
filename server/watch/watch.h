/* SPDX-License-Identifier: Apache-2.0
 *
 * Watching the server: metrics for Prometheus, live recall, the log, health. */
#ifndef KITH_SERVER_WATCH_WATCH_H
#define KITH_SERVER_WATCH_WATCH_H

#include "app.h"

typedef struct ks_watch ks_watch;

typedef enum ks_log_level { KS_LOG_ERROR, KS_LOG_WARNING, KS_LOG_INFO, KS_LOG_DEBUG } ks_log_level;

typedef struct ks_watch_options {
    int log_json;           /* a JSON object a line; otherwise words for people */
    ks_log_level log_level; /* DEBUG: a line a call */
    int log_fd;             /* 2 */
    double recall_share;    /* of searches that are checked exactly, at idle priority; 0: none */
    ks_shelf *shelf;        /* NULL: there are no collections */
} ks_watch_options;

kith_status ks_watch_create(const ks_watch_options *options, ks_watch **watch, kith_error *error);
void ks_watch_destroy(ks_watch *watch); /* NULL is fine */
/* The processor and HTTP, once they are there, for what they count. */
void ks_watch_follow(ks_watch *watch, ks_run *run, ks_http *http);
/* What else there is to be told; not while calls are answered. */
typedef struct ks_watch_more {
    /* NULL, or adds families to /metrics; open: as OpenMetrics names them. */
    void (*write)(void *context, ks_text *text, int open);
    /* NULL, or says why /readyz is to say no: a sentence, static; NULL: it is not. Any thread. */
    const char *(*trouble)(void *context);
    void *context;
} ks_watch_more;
void ks_watch_also(ks_watch *watch, const ks_watch_more *more); /* NULL: nothing */
void ks_watch_ready(ks_watch *watch, int ready);                /* /readyz: 200 or 503 */

/* Of ks_http_options.observe and ks_run_options.observe (context: the watch). */
void ks_watch_call(const ks_call *call, uint64_t total_ns, size_t sent_bytes);
void ks_watch_batch(void *context, ks_search *const *searches, const ks_found *found, size_t count);

/* GET /metrics, /healthz, /livez, /readyz. */
extern const ks_family ks_watch_family;

/* A line of the log: an event's name and a sentence; neither vectors nor secrets. Any thread. watch NULL: stderr. */
void ks_log(ks_watch *watch, ks_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Live recall of a collection (its number): mean, and the bounds that it lies between with 95 % confidence; 0 when
 * nothing was checked yet. */
typedef struct ks_recall {
    double mean, low, high;
    uint64_t checked;
} ks_recall;
int ks_watch_recall(ks_watch *watch, unsigned shop, ks_recall *recall);
/* The last seconds, for pages and `kith top`: calls and queries a second, quantiles of their time. */
typedef struct ks_recent {
    double calls_per_s, queries_per_s, errors_per_s, p50_ns, p99_ns, batch_mean;
} ks_recent;
void ks_watch_recent(ks_watch *watch, ks_recent *recent);

#endif
