/* SPDX-License-Identifier: Apache-2.0
 *
 * Crews: threads for calls that block. One reads (scrolls, counts, snapshots), one writes: several writes at a time
 * share a synchronisation, and none of them keeps a reader waiting. */
#define _GNU_SOURCE
#include "run/inner.h"

#include <stdlib.h>
#include <string.h>

/* Lies in the call's memory. */
struct ks_work {
    ks_call *call;
    void (*work)(ks_call *call, void *context);
    void *context;
    uint64_t queued_ns;
    int more; /* a piece of the call's stream */
    ks_work *next;
};

static void refuse(ks_run *run, ks_call *call, const char *sentence) {
    ks_count(&run->refused, 1);
    ks_call_fail(call, 503, "%s", sentence);
    call->reply.retry_after_s = 1;
    ks_call_done(call);
}

static void run_one(ks_run *run, const ks_work *work) {
    ks_call *call = work->call;
    const uint64_t now = ks_now_ns();
    if (work->more) {
        ks_count(&run->working, 1);
        work->work(call, work->context);
        ks_call_more(call);
        atomic_fetch_sub_explicit(&run->working, 1, memory_order_relaxed);
    } else if (ks_call_gone(call)) {
        ks_count(&run->gone, 1);
        ks_call_fail(call, 499, "The client has gone.");
        ks_call_done(call);
    } else if (call->deadline_ns && now >= call->deadline_ns) {
        ks_count(&run->late, 1);
        refuse(run, call, "The server is busy: the time of this call was over before its turn came. Try again later.");
    } else {
        ks_count(&run->working, 1);
        call->waited_ns = now - work->queued_ns;
        work->work(call, work->context);
        ks_call_done(call);
        atomic_fetch_sub_explicit(&run->working, 1, memory_order_relaxed);
    }
}

static void *run_works(void *context) {
    ks_crew *crew = context;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        const ks_work *work = crew->first;
        if (!work && crew->stop) break;
        if (!work) {
            pthread_cond_wait(&crew->came, &crew->lock);
            continue;
        }
        crew->first = work->next;
        if (!crew->first) crew->last = NULL;
        crew->waiting--;
        pthread_mutex_unlock(&crew->lock);
        run_one(crew->run, work);
        pthread_mutex_lock(&crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* Under its lock. */
static void append(ks_crew *crew, ks_work *item) {
    *(crew->last ? &crew->last->next : &crew->first) = item;
    crew->last = item;
    crew->waiting++;
    pthread_cond_signal(&crew->came);
}

static void enqueue(ks_crew *crew, ks_call *call, void (*work)(ks_call *call, void *context), void *context) {
    ks_work *item = ks_call_alloc(call, sizeof(*item));
    if (!item) {
        ks_call_no_memory(call);
        ks_call_done(call);
        return;
    }
    *item = (ks_work){.call = call, .work = work, .context = context, .queued_ns = ks_now_ns()};
    pthread_mutex_lock(&crew->lock);
    const int full = crew->waiting >= crew->max;
    if (!full) append(crew, item);
    pthread_mutex_unlock(&crew->lock);
    if (full) refuse(crew->run, call, "The server is busy: too many calls wait already. Try again later.");
}

void ks_run_work(ks_run *run, ks_call *call, void (*work)(ks_call *call, void *context), void *context) {
    enqueue(&run->readers, call, work, context);
}

int ks_run_more(ks_run *run, ks_call *call, ks_more *more) {
    if (!more->item) more->item = ks_call_alloc(call, sizeof(*more->item));
    if (!more->item) return -1;
    *more->item = (ks_work){.call = call, .work = more->work, .context = more->context, .more = 1};
    pthread_mutex_lock(&run->readers.lock);
    append(&run->readers, more->item);
    pthread_mutex_unlock(&run->readers.lock);
    return 0;
}

void ks_run_write(ks_run *run, ks_call *call, void (*work)(ks_call *call, void *context), void *context) {
    enqueue(&run->writers, call, work, context);
}

kith_status ks_crew_start(ks_crew *crew, ks_run *run, unsigned threads, size_t max, kith_error *error) {
    crew->threads = calloc(threads, sizeof(*crew->threads));
    if (!crew->threads) return ks_run_fail(error, KITH_E_NOMEM, "out of memory");
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->came, NULL);
    crew->run = run;
    crew->max = max;
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&crew->threads[i], NULL, run_works, crew) != 0)
            return ks_run_fail(error, KITH_E_NOMEM, "cannot start a thread for calls");
        crew->count++;
    }
    return KITH_OK;
}

void ks_crew_stop(ks_crew *crew) {
    if (!crew->threads) return;
    pthread_mutex_lock(&crew->lock);
    crew->stop = 1;
    pthread_cond_broadcast(&crew->came);
    pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < crew->count; i++) pthread_join(crew->threads[i], NULL);
    pthread_cond_destroy(&crew->came);
    pthread_mutex_destroy(&crew->lock);
    free(crew->threads);
}

size_t ks_crew_waiting(ks_crew *crew) {
    pthread_mutex_lock(&crew->lock);
    const size_t waiting = crew->waiting;
    pthread_mutex_unlock(&crew->lock);
    return waiting;
}
