/* SPDX-License-Identifier: Apache-2.0
 *
 * What is due when: a heap of timers, each of which is a member of what it wakes. One thread. */
#ifndef KITH_SERVER_FLEET_TIMERS_H
#define KITH_SERVER_FLEET_TIMERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct ks_timer {
    uint64_t due_ns;
    size_t place; /* in the heap, from 1; 0: not in it */
    void (*wake)(void *context, uint64_t now_ns);
    void *context;
} ks_timer;

typedef struct ks_timers {
    ks_timer **heap;
    size_t count, room;
} ks_timers;

/* Set it, anew if it was. 1, or 0 without memory (never for one that is set). */
int ks_timer_set(ks_timers *timers, ks_timer *timer, uint64_t due_ns);
void ks_timer_stop(ks_timers *timers, ks_timer *timer); /* fine when it is not set */
/* The earliest; UINT64_MAX: none. */
uint64_t ks_timers_next(const ks_timers *timers);
/* Wake what is due by now. Each is taken out before it is woken, and may be set again. */
void ks_timers_run(ks_timers *timers, uint64_t now_ns);
void ks_timers_free(ks_timers *timers);

#endif
