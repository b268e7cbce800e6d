/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool of pool.h: one mutex guards the work's description, an atomic counter hands out its pieces. Workers sleep on
 * a condition variable between works: a search is long against the microseconds of a wake-up, and a spinning worker
 * would take a core from the caller's other threads. */
#define _GNU_SOURCE
#include "base/pool.h"

#include "base/checked.h"
#include "base/cores.h"
#include "base/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

struct kith_pool {
    unsigned threads;
    _Atomic pid_t owner;  /* the process whose threads these are; REMAKING while a child takes the pool over */
    unsigned started;     /* threads made, without the caller; turn */
    pthread_t *thread;    /* threads - 1 */
    pthread_mutex_t turn; /* held by the caller whose work runs */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake, done;
    uint64_t generation; /* number of the current work */
    unsigned busy;       /* workers that have not finished the current work */
    bool stop;
    ki_pool_fn fn;
    void *context;
    size_t pieces;
    atomic_size_t next; /* next piece to hand out; reset under lock */
};

enum { REMAKING = -1 };

struct start {
    kith_pool *pool;
    unsigned worker;
    uint64_t generation; /* works up to this one are not for the new thread */
};

static void take_pieces(kith_pool *pool, unsigned worker) {
    for (;;) {
        const size_t piece = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (piece >= pool->pieces) return;
        pool->fn(pool->context, piece, worker);
    }
}

static void *worker_main(void *argument) {
    kith_pool *pool = ((struct start *)argument)->pool;
    const unsigned worker = ((struct start *)argument)->worker;
    uint64_t seen = ((struct start *)argument)->generation;
    free(argument);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && pool->generation == seen) pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->stop) break;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->lock);
        take_pieces(pool, worker);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void reset_locks(kith_pool *pool) {
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
}

/* I2: in a child the parent's threads did not come along, and its locks may be held by one of them for ever. */
static void take_over_after_fork(kith_pool *pool) {
    const pid_t self = getpid();
    pid_t owner = atomic_load(&pool->owner);
    while (owner != self) {
        if (owner != REMAKING && atomic_compare_exchange_weak(&pool->owner, &owner, REMAKING)) {
            pthread_mutex_init(&pool->turn, NULL);
            reset_locks(pool);
            pool->generation = 0;
            pool->busy = 0;
            pool->started = 0;
            atomic_store(&pool->owner, self);
            return;
        }
        sched_yield();
        owner = atomic_load(&pool->owner);
    }
}

/* Called with `turn` held and no work running. */
static void start_threads(kith_pool *pool) {
    while (pool->started < pool->threads - 1) {
        struct start *start = malloc(sizeof(*start));
        if (!start) return;
        *start = (struct start){pool, pool->started + 1, pool->generation};
        pthread_mutex_lock(&pool->lock);
        const int failed = pthread_create(&pool->thread[pool->started], NULL, worker_main, start);
        if (!failed) pool->started++;
        pthread_mutex_unlock(&pool->lock);
        if (failed) {
            free(start);
            return;
        }
    }
}

kith_status kith_pool_create(unsigned threads, kith_pool **out, kith_error *error) {
    if (!out) return ki_fail(error, KITH_E_ARG, "kith_pool_create: pool is NULL");
    if (threads > KITH_THREADS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%u threads asked for: the limit is %u", threads, KITH_THREADS_MAX);
    if (threads == 0) {
        const kith_status status = ki_default_threads(&threads, error);
        if (status != KITH_OK) return status;
    }
    kith_pool *pool = ki_alloc_array_zeroed(1, sizeof(*pool));
    pthread_t *thread = ki_alloc_array_zeroed(threads, sizeof(*thread));
    if (!pool || !thread) {
        free(pool);
        free(thread);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a pool of %u threads", threads);
    }
    pool->threads = threads;
    pool->thread = thread;
    atomic_init(&pool->owner, getpid());
    pthread_mutex_init(&pool->turn, NULL);
    reset_locks(pool);
    atomic_init(&pool->next, 0);
    *out = pool;
    return KITH_OK;
}

unsigned kith_pool_threads(const kith_pool *pool) {
    return pool ? pool->threads : 0;
}

unsigned ki_pool_threads(const kith_pool *pool) {
    return pool ? pool->threads : 1;
}

void kith_pool_destroy(kith_pool *pool) {
    if (!pool) return;
    if (atomic_load(&pool->owner) == getpid()) {
        pthread_mutex_lock(&pool->lock);
        pool->stop = true;
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
        for (unsigned i = 0; i < pool->started; i++) pthread_join(pool->thread[i], NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_cond_destroy(&pool->done);
        pthread_mutex_destroy(&pool->lock);
        pthread_mutex_destroy(&pool->turn);
    }
    free(pool->thread);
    free(pool);
}

void ki_pool_run(kith_pool *pool, size_t pieces, ki_pool_fn fn, void *context) {
    if (!pool || pool->threads == 1 || pieces <= 1) {
        for (size_t piece = 0; piece < pieces; piece++) fn(context, piece, 0);
        return;
    }
    take_over_after_fork(pool);
    pthread_mutex_lock(&pool->turn);
    start_threads(pool);
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->context = context;
    pool->pieces = pieces;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pool->busy = pool->started;
    pool->generation++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    take_pieces(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->turn);
}
