/* SPDX-License-Identifier: Apache-2.0
 *
 * How a search ends, and how one begins: taking a batch out of a queue. */
#define _GNU_SOURCE
#include "run/inner.h"

#include <stdio.h>

void ks_finish(ks_run *run, ks_search *search, const ks_found *found) {
    ks_shop *shop = search->shop; /* finish may take the search away */
    ks_lane *lane = &run->lanes[search->call->loop % run->options.loops];
    pthread_mutex_lock(&lane->finishing);
    search->finish(search, found);
    pthread_mutex_unlock(&lane->finishing);
    if (run->options.shelf) ks_shelf_return(run->options.shelf, shop);
}

static void finish_unbegun(ks_run *run, ks_search *search, kith_status status, int refused, const char *sentence) {
    kith_error error = {.status = status};
    snprintf(error.text, sizeof(error.text), "%s", sentence);
    const uint64_t now = ks_now_ns();
    const ks_found found = {.status = status,
                            .refused = refused,
                            .error = &error,
                            .waited_ns = search->queued_ns && now > search->queued_ns ? now - search->queued_ns : 0};
    ks_finish(run, search, &found);
}

void ks_refuse(ks_run *run, ks_search *search, kith_status status, const char *sentence) {
    ks_count(&run->refused, 1);
    finish_unbegun(run, search, status, 1, sentence);
}

/* A quarter of its time is left for what was not foreseen, and for its own batch: an answer that comes too late is
 * worth nothing, and has kept others waiting. Of its own cost half counts: in a batch it may be quicker than alone. */
int ks_is_hopeless(const ks_search *search, uint64_t now_ns, double wait_ns) {
    if (search->deadline_ns == UINT64_MAX) return 0;
    if (now_ns >= search->deadline_ns) return 1;
    return wait_ns > 0 && wait_ns + search->cost_ns / 2 > 0.75 * (double)(search->deadline_ns - now_ns);
}

int ks_dropped(ks_run *run, ks_search *search, uint64_t now_ns, int others) {
    if (ks_call_gone(search->call)) {
        ks_count(&run->gone, 1);
        finish_unbegun(run, search, KITH_E_CANCELLED, 0, "The client has gone.");
        return 1;
    }
    if (!ks_is_hopeless(search, now_ns, others ? 1 : 0)) return 0;
    ks_count(&run->late, 1);
    ks_refuse(run, search, KITH_E_DEADLINE,
              "The server is busy: the time of this search was over before its turn came. Try again later.");
    return 1;
}

size_t ks_drop_some(ks_run *run, ks_desk *desk, size_t count, int others) {
    const uint64_t now = ks_now_ns();
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (!ks_dropped(run, desk->batch[i], now, others)) desk->batch[left++] = desk->batch[i];
    return left;
}

size_t ks_gather(ks_run *run, ks_queue *queue, ks_desk *desk, double ns) {
    size_t count = 1;
    if (desk->batch[0]->mark && queue->queued) {
        const size_t fit = ks_learnt_fit(&run->learnt, desk->batch[0]->kind, ns, run->options.batch_max);
        ks_queue_gather(queue, desk->batch, &count, run->options.batch_max, fit);
    }
    return count;
}
