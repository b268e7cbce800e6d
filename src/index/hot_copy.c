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
    ki_hot_part part[KI_HOT_PARTS_MAX];
    size_t parts, room;
    void *memory; /* room + HUGE */
    uint8_t *copy;
    pid_t owner; /* the process whose thread it is */
    pthread_t thread;
    atomic_int stop;
    atomic_int there;
    atomic_size_t copied;
};

/* The pages that were read for the copy count as memory of this process, beside it. They are let go; a search that is
 * still at work there gets them again. */
static void leave_map(const ki_hot_part *part) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)part->from, end = start + part->bytes;
    const uintptr_t first = (start + page - 1) & ~(page - 1), last = end & ~(page - 1);
    if (last > first) (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

/* Zero: stopped, or the file is damaged. */
static int copy_part(ki_hot_copy *hot, const ki_hot_part *part) {
    for (size_t at = 0; at < part->bytes; at += STEP) {
        if (atomic_load_explicit(&hot->stop, memory_order_relaxed)) return 0;
        const size_t count = ki_min_size(STEP, part->bytes - at);
        memcpy(hot->copy + part->at + at, part->from + at, count);
        if (ki_segment_damaged(hot->segment)) return 0;
        atomic_fetch_add_explicit(&hot->copied, count, memory_order_relaxed);
    }
    return 1;
}

static void *copy_all(void *context) {
    ki_hot_copy *hot = context;
    for (size_t p = 0; p < hot->parts; p++)
        if (!copy_part(hot, &hot->part[p])) return NULL;
    atomic_store_explicit(&hot->there, 1, memory_order_release);
    for (size_t p = 0; p < hot->parts; p++) leave_map(&hot->part[p]);
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

ki_hot_copy *ki_hot_copy_start(const ki_segment *segment, const ki_hot_part *parts, size_t count, size_t room) {
    uint64_t all;
    ki_hot_copy *hot = ki_alloc_array_zeroed(1, sizeof(*hot));
    if (!hot || !ki_add(room, HUGE, &all) || all > SIZE_MAX) goto out;
    void *memory = mmap(NULL, (size_t)all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) goto out;
    hot->segment = segment;
    memcpy(hot->part, parts, count * sizeof(*parts));
    hot->parts = count;
    hot->room = room;
    hot->memory = memory;
    hot->copy = (uint8_t *)(((uintptr_t)memory + HUGE - 1) & ~((uintptr_t)HUGE - 1));
    hot->owner = getpid();
    atomic_init(&hot->stop, 0);
    atomic_init(&hot->there, 0);
    atomic_init(&hot->copied, 0);
#ifdef MADV_HUGEPAGE
    (void)madvise(hot->copy, room, MADV_HUGEPAGE); /* a system without them copies into what it has */
#endif
    if (start_thread(hot)) return hot;
    (void)munmap(memory, (size_t)all);
out:
    free(hot);
    return NULL;
}

void ki_hot_copy_stop(ki_hot_copy *hot) {
    if (!hot) return;
    atomic_store(&hot->stop, 1);
    if (hot->owner == getpid()) pthread_join(hot->thread, NULL); /* T3 */
    (void)munmap(hot->memory, hot->room + HUGE);
    free(hot);
}

const uint8_t *ki_hot_copy_place(const ki_hot_copy *hot) {
    return hot->copy;
}

int ki_hot_copy_done(const ki_hot_copy *hot) {
    return hot && atomic_load_explicit(&hot->there, memory_order_acquire);
}

uint64_t ki_hot_copy_bytes(const ki_hot_copy *hot) {
    return hot ? atomic_load_explicit(&hot->copied, memory_order_relaxed) : 0;
}
