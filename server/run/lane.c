/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes and desks: what a thread that answers has. */
#define _GNU_SOURCE
#include "run/inner.h"

#include <stdlib.h>
#include <string.h>

enum { SECOND_NS = 1000000000 };

int ks_lane_init(ks_lane *lane, const ks_run_options *options) {
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lane->finishing, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->came, NULL);
    lane->slice_ns = (double)options->budget_ns;
    return ks_queue_init(&lane->queue, options->queue_max);
}

void ks_lane_free(ks_lane *lane) {
    ks_queue_free(&lane->queue);
    pthread_cond_destroy(&lane->came);
    pthread_mutex_destroy(&lane->lock);
    pthread_mutex_destroy(&lane->finishing);
}

int ks_desk_init(ks_desk *desk, size_t batch_max, kith_error *error) {
    desk->batch = calloc(batch_max, sizeof(ks_search *));
    desk->found = calloc(batch_max, sizeof(ks_found));
    if (!desk->batch || !desk->found) return -1;
    return kith_result_create(&desk->result, error) == KITH_OK ? 0 : -1;
}

void ks_desk_free(ks_desk *desk) {
    kith_result_destroy(desk->result);
    free(desk->batch);
    free(desk->found);
    free(desk->packed);
}

/* What others cost that come before it, in as many turns as that takes, and the gaps between those. */
double ks_lane_wait(const ks_lane *lane, const ks_search *search) {
    const double cost = ks_queue_wait(&lane->queue, search);
    return cost > 0 ? cost + (1 + cost / lane->slice_ns) * lane->gap_ns : 0;
}

/* Some twenty turns are remembered, and five where gaps have become shorter: one that is thought too long refuses
 * searches, and then there are few turns to learn from. Guesses. */
void ks_lane_turns(ks_lane *lane, const ks_search *leader, uint64_t now_ns) {
    const uint64_t since = lane->turned_ns > leader->queued_ns ? lane->turned_ns : leader->queued_ns;
    if (leader->budget_ns || now_ns <= since) return;
    const double more = (double)(now_ns - since) - lane->gap_ns;
    lane->gap_ns += more * (more > 0 ? 0.05 : 0.2);
}

/* Two whole seconds are kept, the running one and the one before. */
static void move_to(ks_lane *lane, uint64_t second) {
    if (second == lane->second) return;
    lane->busy_ns[1] = second == lane->second + 1 ? lane->busy_ns[0] : 0;
    lane->busy_ns[0] = 0;
    lane->second = second;
}

void ks_lane_was_busy(ks_lane *lane, uint64_t from_ns, uint64_t to_ns) {
    move_to(lane, to_ns / SECOND_NS);
    lane->busy_ns[0] += to_ns - from_ns;
    lane->turned_ns = to_ns;
}

double ks_lane_busy(ks_lane *lane, uint64_t now_ns) {
    pthread_mutex_lock(&lane->lock);
    move_to(lane, now_ns / SECOND_NS);
    const double into = (double)(now_ns % SECOND_NS) / SECOND_NS;
    const double busy = ((double)lane->busy_ns[0] + (1 - into) * (double)lane->busy_ns[1]) / SECOND_NS;
    pthread_mutex_unlock(&lane->lock);
    return busy < 1 ? busy : 1;
}
