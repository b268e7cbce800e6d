/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: one thread does one at a time, in the order in which they came. A ring remembers what became of the last 256;
 * one that is not over is never forgotten, so that no more than that many wait. */
#define _GNU_SOURCE
#include "run/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REMEMBERED = 256 };

typedef struct job {
    ks_job_info info;
    ks_shop *shop;
    ks_job_fn *work;
    void (*forget)(void *context);
    void *context;
    int over;      /* the thread is done with it */
    int cancelled; /* asked for */
} job;

struct ks_jobs {
    pthread_mutex_t lock;
    pthread_cond_t came;
    pthread_t thread;
    ks_run *run;
    int stop;
    uint64_t made, next; /* numbers begin with 1: the last one that was made, the next one to do */
    job ring[REMEMBERED];
};

static job *at(ks_jobs *jobs, uint64_t number) {
    return &jobs->ring[number % REMEMBERED];
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_state(job *one, const char *state) {
    snprintf(one->info.state, sizeof(one->info.state), "%s", state);
}

struct watcher {
    ks_jobs *jobs;
    job *one;
};

static int progress(void *context, const kith_progress *progress) {
    const struct watcher *watcher = context;
    ks_job_info *info = &watcher->one->info;
    pthread_mutex_lock(&watcher->jobs->lock);
    snprintf(info->stage, sizeof(info->stage), "%s", progress->stage);
    snprintf(info->unit, sizeof(info->unit), "%s", progress->unit);
    info->done = progress->done;
    info->total = progress->total;
    const int stop = watcher->one->cancelled || watcher->jobs->stop;
    pthread_mutex_unlock(&watcher->jobs->lock);
    return stop;
}

/* What it made, if there is room for all of it: half of a JSON text would be none. */
static void take_text(ks_job_info *info, const ks_text *made) {
    const int fits = !made->failed && made->used < sizeof(info->text);
    if (fits && made->used) memcpy(info->text, made->bytes, made->used);
    info->text[fits ? made->used : 0] = 0;
}

static void end(ks_jobs *jobs, job *one, kith_status status, const ks_text *made, const kith_error *error) {
    pthread_mutex_lock(&jobs->lock);
    set_state(one, status == KITH_OK ? "done" : status == KITH_E_CANCELLED ? "cancelled" : "failed");
    if (status == KITH_OK)
        take_text(&one->info, made);
    else
        snprintf(one->info.text, sizeof(one->info.text), "%s", error->text);
    one->info.status = status;
    one->info.ended_ms = now_ms();
    pthread_mutex_unlock(&jobs->lock);
}

static void do_one(ks_jobs *jobs, job *one, int cancelled) {
    struct watcher watcher = {jobs, one};
    ks_text made = {0};
    kith_error error = {0};
    if (!cancelled) {
        const kith_status status = one->work(one->context, one->shop, progress, &watcher, &made, &error);
        end(jobs, one, status, &made, &error);
    }
    ks_text_free(&made);
    if (one->forget) one->forget(one->context);
    if (jobs->run->options.shelf) ks_shelf_return(jobs->run->options.shelf, one->shop);
}

static void *run_jobs(void *context) {
    ks_jobs *jobs = context;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        if (jobs->next > jobs->made) {
            if (jobs->stop) break;
            pthread_cond_wait(&jobs->came, &jobs->lock);
            continue;
        }
        job *one = at(jobs, jobs->next++);
        if (jobs->stop && !one->cancelled) {
            one->cancelled = 1;
            set_state(one, "cancelled");
        }
        const int cancelled = one->cancelled;
        if (!cancelled) {
            set_state(one, "running");
            one->info.started_ms = now_ms();
        }
        pthread_mutex_unlock(&jobs->lock);
        do_one(jobs, one, cancelled);
        pthread_mutex_lock(&jobs->lock);
        one->over = 1;
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

kith_status ks_run_job(ks_run *run, const char *kind, ks_shop *shop, ks_job_fn *work, void (*forget)(void *context),
                       void *context, uint64_t *number, kith_error *error) {
    ks_jobs *jobs = run->jobs;
    pthread_mutex_lock(&jobs->lock);
    job *one = at(jobs, jobs->made + 1);
    const int full = jobs->stop || (one->info.number && !one->over);
    if (!full) {
        *one = (job){.shop = shop, .work = work, .forget = forget, .context = context};
        one->info.number = ++jobs->made;
        snprintf(one->info.kind, sizeof(one->info.kind), "%s", kind);
        snprintf(one->info.collection, sizeof(one->info.collection), "%s", shop ? shop->name : "");
        set_state(one, "waiting");
        *number = one->info.number;
        pthread_cond_signal(&jobs->came);
    }
    pthread_mutex_unlock(&jobs->lock);
    if (!full) return KITH_OK;
    if (forget) forget(context);
    if (run->options.shelf) ks_shelf_return(run->options.shelf, shop);
    return ks_run_fail(error, KITH_E_LIMIT, "Too many jobs wait already: cancel some, or try again later.");
}

int ks_run_job_at(ks_run *run, size_t place, ks_job_info *info) {
    ks_jobs *jobs = run->jobs;
    pthread_mutex_lock(&jobs->lock);
    const int there = place < jobs->made && place < REMEMBERED;
    if (there) *info = at(jobs, jobs->made - place)->info;
    pthread_mutex_unlock(&jobs->lock);
    return there;
}

int ks_run_job_cancel(ks_run *run, uint64_t number) {
    ks_jobs *jobs = run->jobs;
    pthread_mutex_lock(&jobs->lock);
    job *one = at(jobs, number);
    const int there = number && one->info.number == number;
    if (there && !one->over) {
        one->cancelled = 1;
        if (number >= jobs->next) { /* it has not begun, and will not */
            set_state(one, "cancelled");
            one->info.ended_ms = now_ms();
        }
    }
    pthread_mutex_unlock(&jobs->lock);
    return there;
}

kith_status ks_jobs_start(ks_run *run, kith_error *error) {
    ks_jobs *jobs = calloc(1, sizeof(*jobs));
    if (!jobs) return ks_run_fail(error, KITH_E_NOMEM, "out of memory");
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->came, NULL);
    jobs->run = run;
    jobs->next = 1;
    if (pthread_create(&jobs->thread, NULL, run_jobs, jobs) != 0) {
        free(jobs);
        return ks_run_fail(error, KITH_E_NOMEM, "cannot start a thread for jobs");
    }
    run->jobs = jobs;
    return KITH_OK;
}

void ks_jobs_stop(ks_run *run) {
    ks_jobs *jobs = run->jobs;
    if (!jobs) return;
    pthread_mutex_lock(&jobs->lock);
    jobs->stop = 1;
    pthread_cond_broadcast(&jobs->came);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->thread, NULL);
    pthread_cond_destroy(&jobs->came);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
    run->jobs = NULL;
}
