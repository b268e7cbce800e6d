/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls without a connection, and a clock that tests move: what server/run needs of server/http, so that a test sees
 * each step by itself. Include after cmocka.h, in one source of a program, which must need nothing else of http's
 * calls. */
#ifndef TESTS_SUPPORT_UNWIRED_CALLS_H
#define TESTS_SUPPORT_UNWIRED_CALLS_H

#include "../../server/http/call.h"
#include "../../server/keys/keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct fake_block {
    struct fake_block *next;
    max_align_t bytes[];
};

struct fake_call {
    ks_call call;
    struct fake_block *blocks;
    atomic_int gone, done, more;
    char sentence[512];
};

static atomic_uint_fast64_t fake_ahead_ns; /* of the real clock */
static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fake_changed = PTHREAD_COND_INITIALIZER;

uint64_t ks_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + fake_ahead_ns;
}

static inline struct fake_call *fake_new(const ks_key *key) {
    struct fake_call *fake = calloc(1, sizeof(*fake));
    assert_non_null(fake);
    fake->call.key = key;
    fake->call.arrived_ns = ks_now_ns();
    return fake;
}

static inline void fake_free(struct fake_call *fake) {
    for (struct fake_block *next; fake->blocks; fake->blocks = next) {
        next = fake->blocks->next;
        free(fake->blocks);
    }
    free(fake);
}

void *ks_call_alloc(ks_call *call, size_t bytes) {
    struct fake_call *fake = (struct fake_call *)call;
    struct fake_block *block = calloc(1, sizeof(*block) + bytes);
    assert_non_null(block);
    block->next = fake->blocks;
    fake->blocks = block;
    return block->bytes;
}

int ks_call_gone(const ks_call *call) {
    return ((const struct fake_call *)call)->gone;
}

void ks_call_fail(ks_call *call, int status, const char *format, ...) {
    struct fake_call *fake = (struct fake_call *)call;
    va_list values;
    va_start(values, format);
    vsnprintf(fake->sentence, sizeof(fake->sentence), format, values);
    va_end(values);
    call->reply.status = status;
}

void ks_call_no_memory(ks_call *call) {
    ks_call_fail(call, 503, "out of memory");
}

void ks_call_done(ks_call *call) {
    pthread_mutex_lock(&fake_lock);
    ((struct fake_call *)call)->done++;
    pthread_cond_broadcast(&fake_changed);
    pthread_mutex_unlock(&fake_lock);
}

void ks_call_more(ks_call *call) {
    pthread_mutex_lock(&fake_lock);
    ((struct fake_call *)call)->more++;
    pthread_cond_broadcast(&fake_changed);
    pthread_mutex_unlock(&fake_lock);
}

/* Wait for what another thread changes under the lock and tells by fake_changed. A minute is for ever. */
static inline void fake_wait(atomic_int *number, int least) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&fake_lock);
    while (*number < least)
        if (pthread_cond_timedwait(&fake_changed, &fake_lock, &until) != 0) fail_msg("waited in vain");
    pthread_mutex_unlock(&fake_lock);
}

static inline void fake_tell(atomic_int *number, int value) {
    pthread_mutex_lock(&fake_lock);
    *number = value;
    pthread_cond_broadcast(&fake_changed);
    pthread_mutex_unlock(&fake_lock);
}

#endif
