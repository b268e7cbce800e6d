/* SPDX-License-Identifier: Apache-2.0
 *
 * What is due when: a binary heap. */
#include "fleet/timers.h"

#include <stdlib.h>
#include <string.h>

static void put(ks_timers *timers, size_t place, ks_timer *timer) {
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static void settle(ks_timers *timers, size_t place, ks_timer *timer) {
    while (place > 1 && timers->heap[place / 2 - 1]->due_ns > timer->due_ns) {
        put(timers, place, timers->heap[place / 2 - 1]);
        place /= 2;
    }
    for (;;) {
        size_t child = 2 * place;
        if (child > timers->count) break;
        if (child < timers->count && timers->heap[child]->due_ns < timers->heap[child - 1]->due_ns) child++;
        if (timers->heap[child - 1]->due_ns >= timer->due_ns) break;
        put(timers, place, timers->heap[child - 1]);
        place = child;
    }
    put(timers, place, timer);
}

int ks_timer_set(ks_timers *timers, ks_timer *timer, uint64_t due_ns) {
    timer->due_ns = due_ns;
    if (timer->place) {
        settle(timers, timer->place, timer);
        return 1;
    }
    if (timers->count == timers->room) {
        const size_t room = timers->room ? 2 * timers->room : 64;
        ks_timer **heap = realloc(timers->heap, room * sizeof(*heap));
        if (!heap) return 0;
        timers->heap = heap;
        timers->room = room;
    }
    timers->count++;
    settle(timers, timers->count, timer);
    return 1;
}

void ks_timer_stop(ks_timers *timers, ks_timer *timer) {
    const size_t place = timer->place;
    if (!place) return;
    ks_timer *last = timers->heap[--timers->count];
    timer->place = 0;
    if (last != timer) settle(timers, place, last);
}

uint64_t ks_timers_next(const ks_timers *timers) {
    return timers->count ? timers->heap[0]->due_ns : UINT64_MAX;
}

void ks_timers_run(ks_timers *timers, uint64_t now_ns) {
    while (timers->count && timers->heap[0]->due_ns <= now_ns) {
        ks_timer *timer = timers->heap[0];
        ks_timer_stop(timers, timer);
        timer->wake(timer->context, now_ns);
    }
}

void ks_timers_free(ks_timers *timers) {
    free(timers->heap);
    *timers = (ks_timers){0};
}
