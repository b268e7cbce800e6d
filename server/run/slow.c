/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches that would hold up a loop: threads of their own answer them, from a lane like those of loops. */
#define _GNU_SOURCE
#include "run/inner.h"

#include "run/shape.h"

#include <stdlib.h>

/* Whether the state that it waits for is not there yet. */
static int must_wait(const ks_search *search) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (!search->ask.min_version) return 0;
    return kith_collection_get_info(search->shop->collection, &info) != KITH_OK ||
           info.version < search->ask.min_version;
}

int ks_is_slow(ks_run *run, const ks_search *search) {
    if (search->queries > run->options.batch_max || must_wait(search)) return 1;
    double expected = ks_learnt_expect(&run->learnt, search->kind, search->queries);
    if (expected < 0) expected = ks_shape_guess(search);
    return expected > KS_LOOP_TURNS * (double)run->options.budget_ns;
}

void ks_slow_push(ks_run *run, ks_search *search) {
    ks_search *shed = NULL;
    const uint64_t now = ks_now_ns();
    pthread_mutex_lock(&run->slow.lock);
    const double wait = ks_queue_wait(&run->slow.queue, search) / run->searcher_count;
    const int hopeless = ks_is_hopeless(search, now, wait);
    const int failed = hopeless || ks_queue_push(&run->slow.queue, search, &shed) != 0;
    if (!failed) pthread_cond_signal(&run->slow.came);
    pthread_mutex_unlock(&run->slow.lock);
    if (failed)
        ks_refuse(run, search, hopeless ? KITH_E_DEADLINE : KITH_E_LIMIT,
                  "The server is busy with long searches: this one was not begun. Try again later.");
    if (shed)
        ks_refuse(run, shed, KITH_E_LIMIT,
                  "The server is busy with long searches, and others have a right to go first. Try again later.");
}

static void *run_searches(void *context) {
    ks_searcher *searcher = context;
    ks_run *run = searcher->run;
    ks_desk *desk = &searcher->desk;
    const double time = KS_WORKER_TURNS * (double)run->options.budget_ns;
    pthread_mutex_lock(&run->slow.lock);
    for (;;) {
        desk->batch[0] = ks_queue_lead(&run->slow.queue);
        if (!desk->batch[0] && run->stop) break;
        if (!desk->batch[0]) {
            pthread_cond_wait(&run->slow.came, &run->slow.lock);
            continue;
        }
        const int others = run->slow.queue.queued != 0;
        const size_t count = ks_gather(run, &run->slow.queue, desk, time);
        pthread_mutex_unlock(&run->slow.lock);
        const size_t left = ks_drop_some(run, desk, count, others);
        if (left) ks_answer(run, desk, left);
        pthread_mutex_lock(&run->slow.lock);
    }
    pthread_mutex_unlock(&run->slow.lock);
    return NULL;
}

kith_status ks_slow_start(ks_run *run, unsigned threads, kith_error *error) {
    run->searchers = calloc(threads, sizeof(*run->searchers));
    if (!run->searchers) return ks_run_fail(error, KITH_E_NOMEM, "out of memory");
    for (unsigned i = 0; i < threads; i++) {
        ks_searcher *searcher = &run->searchers[i];
        searcher->run = run;
        const int failed = ks_desk_init(&searcher->desk, run->options.batch_max, error) != 0 ||
                           pthread_create(&searcher->thread, NULL, run_searches, searcher) != 0;
        if (failed) {
            ks_desk_free(&searcher->desk);
            return ks_run_fail(error, KITH_E_NOMEM, "cannot start a thread for searches");
        }
        run->searcher_count++;
    }
    return KITH_OK;
}

void ks_slow_stop(ks_run *run) {
    pthread_mutex_lock(&run->slow.lock);
    run->stop = 1;
    pthread_cond_broadcast(&run->slow.came);
    pthread_mutex_unlock(&run->slow.lock);
    for (unsigned i = 0; i < run->searcher_count; i++) {
        pthread_join(run->searchers[i].thread, NULL);
        ks_desk_free(&run->searchers[i].desk);
    }
    free(run->searchers);
}
