/* SPDX-License-Identifier: Apache-2.0
 *
 * What a watch is made of: for the files of this room.
 *
 * Threads. Loops and workers count (count.h), sample (recall.h) and log (log.h), and wait for nobody. A thread of the
 * watch's own looks at the counters and at the collections once a second (watch.c); another one checks samples
 * (recall_thread.c). Who writes metrics runs on a loop: all that it needs is in memory. */
#ifndef KITH_SERVER_WATCH_INNER_H
#define KITH_SERVER_WATCH_INNER_H

#include "watch/count.h"
#include "watch/figures.h"
#include "watch/log.h"
#include "watch/recall.h"
#include "watch/recent.h"
#include "watch/watch.h"

struct ks_watch {
    ks_shelf *shelf;
    _Atomic(ks_run *) run;
    _Atomic(ks_http *) http;
    _Atomic int ready;
    ks_watch_more more;
    _Atomic int doubted; /* a write ended in status 500: collections are looked at closely, until none is broken */
    _Atomic int broken;  /* one refuses writes after an I/O error */
    ks_log_to log;
    ks_counts counts;
    ks_recents recents;
    ks_recaller recaller;
    ks_proc proc;
    int started;
    pthread_t thread;
    pthread_mutex_t mutex; /* of figures and stopping */
    pthread_cond_t changed;
    ks_figures figures;
    int stopping;
};

/* health.c: why /readyz says no, or NULL. */
const char *ks_watch_trouble(ks_watch *watch);
/* metrics.c: the body of /metrics. */
void ks_watch_write(ks_watch *watch, ks_scrape *scrape);

#endif
