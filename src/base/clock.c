/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t ki_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t ki_wall_ms(void) {
    return read_clock(CLOCK_REALTIME) / 1000000;
}

uint64_t ki_thread_ns(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t ki_process_ns(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}
