/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes and desks: what a thread that answers has. */
#define _GNU_SOURCE
#include "run/inner.h"

#include <stdlib.h>
#include <string.h>

enum { SECOND_NS = 1000000000 };

int ks_lane_init(ks_lane *lane, size_t max) {
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lane->finishing, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->came, NULL);
    lane->stretch = 1;
    return ks_queue_init(&lane->queue, max);
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

/* What comes before it is not all that happens: calls are read and written too, and other processes have the processor
 * for a while. How much that is shows in how long others had to wait. */
double ks_lane_wait(const ks_lane *lane, ks_search *search) {
    search->wait_ns = ks_queue_wait(&lane->queue, search);
    return search->wait_ns * lane->stretch;
}

void ks_lane_has_waited(ks_lane *lane, const ks_search *search, uint64_t now_ns) {
    const double least_ns = 100000, weight = 0.05; /* less says little; some twenty turns are remembered: a guess */
    if (search->wait_ns < least_ns || search->budget_ns || now_ns < search->queued_ns) return;
    const double ratio = (double)(now_ns - search->queued_ns) / search->wait_ns;
    lane->stretch += weight * ((ratio < 0.25 ? 0.25 : ratio > 64 ? 64 : ratio) - lane->stretch);
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
}

double ks_lane_busy(ks_lane *lane, uint64_t now_ns) {
    pthread_mutex_lock(&lane->lock);
    move_to(lane, now_ns / SECOND_NS);
    const double into = (double)(now_ns % SECOND_NS) / SECOND_NS;
    const double busy = ((double)lane->busy_ns[0] + (1 - into) * (double)lane->busy_ns[1]) / SECOND_NS;
    pthread_mutex_unlock(&lane->lock);
    return busy < 1 ? busy : 1;
}
