/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "index/hot_copy.h"

#include "base/checked.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* STEP: copied between two looks at `stop`; some tenths of a millisecond. HUGE: the size of a huge page, where there
 * are any: the copy begins at a multiple. */
enum { STEP = 1 << 20, HUGE = 2 << 20 };

struct ki_hot_copy {
    const ki_segment *segment;
    const uint8_t *from;
    size_t bytes;
    void *memory; /* bytes + HUGE */
    uint8_t *copy;
    pid_t owner; /* the process whose thread it is */
    pthread_t thread;
    atomic_int stop;
    atomic_size_t done;
    _Atomic(const uint8_t *) data;
};

/* The pages that were read for the copy count as memory of this process, beside it. They are let go; a search that is
 * still at work there gets them again. */
static void leave_map(const ki_hot_copy *hot) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)hot->from, end = start + hot->bytes;
    const uintptr_t first = (start + page - 1) & ~(page - 1), last = end & ~(page - 1);
    if (last > first) (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

static void *copy_all(void *context) {
    ki_hot_copy *hot = context;
    for (size_t at = 0; at < hot->bytes; at += STEP) {
        if (atomic_load_explicit(&hot->stop, memory_order_relaxed)) return NULL;
        const size_t count = ki_min_size(STEP, hot->bytes - at);
        memcpy(hot->copy + at, hot->from + at, count);
        if (ki_segment_damaged(hot->segment)) return NULL;
        atomic_store_explicit(&hot->done, at + count, memory_order_relaxed);
    }
    atomic_store_explicit(&hot->data, hot->copy, memory_order_release);
    leave_map(hot);
    return NULL;
}

/* Signals are for the program's own threads; those that this one causes itself (a file cut under the map) reach it
 * nevertheless, unless they are blocked. */
static int start_thread(ki_hot_copy *hot) {
    sigset_t none, before;
    sigfillset(&none);
    sigdelset(&none, SIGBUS);
    sigdelset(&none, SIGSEGV);
    sigdelset(&none, SIGFPE);
    sigdelset(&none, SIGILL);
    if (pthread_sigmask(SIG_SETMASK, &none, &before)) return 0;
    const int failed = pthread_create(&hot->thread, NULL, copy_all, hot);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

ki_hot_copy *ki_hot_copy_start(const ki_segment *segment, const uint8_t *from, size_t bytes) {
    uint64_t room;
    ki_hot_copy *hot = ki_alloc_array_zeroed(1, sizeof(*hot));
    if (!hot || !ki_add(bytes, HUGE, &room) || room > SIZE_MAX) goto out;
    void *memory = mmap(NULL, (size_t)room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) goto out;
    hot->segment = segment;
    hot->from = from;
    hot->bytes = bytes;
    hot->memory = memory;
    hot->copy = (uint8_t *)(((uintptr_t)memory + HUGE - 1) & ~((uintptr_t)HUGE - 1));
    hot->owner = getpid();
    atomic_init(&hot->stop, 0);
    atomic_init(&hot->done, 0);
    atomic_init(&hot->data, NULL);
#ifdef MADV_HUGEPAGE
    (void)madvise(hot->copy, bytes, MADV_HUGEPAGE); /* a system without them copies into what it has */
#endif
    if (start_thread(hot)) return hot;
    (void)munmap(memory, (size_t)room);
out:
    free(hot);
    return NULL;
}

void ki_hot_copy_stop(ki_hot_copy *hot) {
    if (!hot) return;
    atomic_store(&hot->stop, 1);
    if (hot->owner == getpid()) pthread_join(hot->thread, NULL); /* T3 */
    (void)munmap(hot->memory, hot->bytes + HUGE);
    free(hot);
}

const uint8_t *ki_hot_copy_data(const ki_hot_copy *hot) {
    return hot ? atomic_load_explicit(&hot->data, memory_order_acquire) : NULL;
}

uint64_t ki_hot_copy_bytes(const ki_hot_copy *hot) {
    return hot ? atomic_load_explicit(&hot->done, memory_order_relaxed) : 0;
}
