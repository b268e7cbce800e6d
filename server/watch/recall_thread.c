/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that checks samples, at idle priority (recall.h). */
#define _GNU_SOURCE
#include "watch/recall.h"
#include "watch/thread.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* However long a check took, the next one is tried within a minute. */
enum { REST_MAX_S = 60 };

static void become_idle(void) {
    const struct sched_param nothing = {0};
    /* setpriority() of "this process" is of this thread, on Linux. Where neither is allowed it runs as others do. */
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &nothing) != 0) (void)setpriority(PRIO_PROCESS, 0, 19);
}

static uint64_t worked_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Take the oldest sample, once `until` has come. NULL: it is to stop. */
static ks_sample *next_sample(ks_recaller *recaller, const struct timespec *until) {
    ks_sample *sample = NULL;
    int late = 0;
    pthread_mutex_lock(&recaller->mutex);
    while (!atomic_load(&recaller->stopping) && !sample) {
        if (!late) {
            late = pthread_cond_timedwait(&recaller->changed, &recaller->mutex, until) != 0;
        } else if (recaller->queued) {
            sample = recaller->queue[recaller->first];
            recaller->first = (recaller->first + 1) % KS_RECALL_QUEUE;
            recaller->queued--;
        } else {
            pthread_cond_wait(&recaller->changed, &recaller->mutex);
        }
    }
    pthread_mutex_unlock(&recaller->mutex);
    return sample;
}

static void *check_samples(void *context) {
    ks_recaller *recaller = context;
    struct timespec until;
    become_idle();
    clock_gettime(CLOCK_MONOTONIC, &until);
    for (ks_sample *sample; (sample = next_sample(recaller, &until));) {
        const uint64_t began = worked_ns();
        ks_recaller_check(recaller, sample);
        free(sample);
        double rest_s = (double)(worked_ns() - began) / 1e9 * (1 / KS_RECALL_TIME - 1);
        if (rest_s > REST_MAX_S) rest_s = REST_MAX_S;
        clock_gettime(CLOCK_MONOTONIC, &until);
        const uint64_t nanoseconds = (uint64_t)until.tv_nsec + (uint64_t)(rest_s * 1e9);
        until.tv_sec += (time_t)(nanoseconds / 1000000000u);
        until.tv_nsec = (long)(nanoseconds % 1000000000u);
    }
    return NULL;
}

kith_status ks_recaller_start(ks_recaller *recaller, ks_shelf *shelf, ks_log_to *log, double share, kith_error *error) {
    pthread_condattr_t monotonic;
    struct timespec now;
    memset(recaller, 0, sizeof(*recaller));
    recaller->shelf = shelf;
    recaller->log = log;
    clock_gettime(CLOCK_REALTIME, &now);
    recaller->seed = (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec << 20;
    recaller->share = share;
    pthread_mutex_init(&recaller->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&recaller->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!(share > 0)) return KITH_OK;
    kith_status status = kith_result_create(&recaller->truth, error);
    if (status == KITH_OK) status = kith_result_create(&recaller->now, error);
    if (status != KITH_OK) return status;
    status = ks_thread_start(&recaller->thread, check_samples, recaller, "measures live recall", error);
    recaller->started = status == KITH_OK;
    return status;
}

void ks_recaller_stop(ks_recaller *recaller) {
    pthread_mutex_lock(&recaller->mutex);
    atomic_store(&recaller->stopping, 1);
    pthread_cond_broadcast(&recaller->changed);
    pthread_mutex_unlock(&recaller->mutex);
    if (recaller->started) pthread_join(recaller->thread, NULL);
    for (; recaller->queued; recaller->queued--) {
        free(recaller->queue[recaller->first]);
        recaller->first = (recaller->first + 1) % KS_RECALL_QUEUE;
    }
    for (size_t i = 0; i < KS_RECALL_SHOPS; i++) free(recaller->shops[i]);
    kith_result_destroy(recaller->truth);
    kith_result_destroy(recaller->now);
    pthread_cond_destroy(&recaller->changed);
    pthread_mutex_destroy(&recaller->mutex);
}
