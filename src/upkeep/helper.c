/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "upkeep/helper.h"

#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

enum { LOOK_NS = 50000000 };

struct helper {
    ki_help_fn fn;
    void *context;
    int niceness;
    pthread_mutex_t mutex; /* guards `done` */
    pthread_cond_t changed;
    int done;
};

/* On Linux priorities are threads', and those that a thread makes inherit its own: so do the pools of its builds. */
static void *help(void *context) {
    struct helper *helper = context;
    if (helper->niceness) (void)setpriority(PRIO_PROCESS, 0, helper->niceness); /* or it is done as it is */
    helper->fn(helper->context);
    pthread_mutex_lock(&helper->mutex);
    helper->done = 1;
    pthread_cond_signal(&helper->changed);
    pthread_mutex_unlock(&helper->mutex);
    return NULL;
}

/* Wait a little; 1: it is done. */
static int look(struct helper *helper) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&helper->mutex);
    if (!helper->done) pthread_cond_timedwait(&helper->changed, &helper->mutex, &until);
    const int done = helper->done;
    pthread_mutex_unlock(&helper->mutex);
    return done;
}

void ki_help(ki_help_fn fn, void *context, int niceness, ki_help_fn meanwhile, void *meanwhile_context) {
    struct helper helper = {.fn = fn, .context = context, .niceness = niceness};
    pthread_condattr_t attributes;
    pthread_t thread;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&helper.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&helper.mutex, NULL);
    if (pthread_create(&thread, NULL, help, &helper) == 0) {
        while (!look(&helper))
            if (meanwhile) meanwhile(meanwhile_context);
        pthread_join(thread, NULL);
    } else {
        fn(context);
    }
    pthread_cond_destroy(&helper.changed);
    pthread_mutex_destroy(&helper.mutex);
}
