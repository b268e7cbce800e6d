/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "store/map.h"

#include "base/status.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct slot {
    atomic_int taken;
    atomic_int damaged;
    atomic_uintptr_t start; /* 0: not published (M5) */
    atomic_uintptr_t end;
};

static struct slot slots[KI_MAPS_MAX];
static atomic_int slots_used; /* one past the highest slot ever taken: the handler looks no further */

enum { HANDLER_ABSENT, HANDLER_COMING, HANDLER_PRESENT };
static atomic_int handler_state;                   /* HANDLER_COMING is a lock around install() */
static struct sigaction original;                  /* what the first installation found; constant afterwards */
static struct sigaction fallback;                  /* SIG_DFL; constant */
static _Atomic(const struct sigaction *) previous; /* where foreign faults go (M4): &original or &fallback */
static uintptr_t page_bytes;

/* Raw, because only system calls are certain to be safe inside a handler. */
static int zeros_over(uintptr_t from, uintptr_t end) {
#ifdef SYS_mmap
    return syscall(SYS_mmap, from, end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
                   0L) == (long)from;
#else
    return mmap((void *)from, end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) !=
           MAP_FAILED;
#endif
}

static int handle_own(uintptr_t address) {
    const int used = atomic_load_explicit(&slots_used, memory_order_acquire);
    for (int i = 0; i < used; i++) {
        struct slot *slot = &slots[i];
        const uintptr_t start = atomic_load_explicit(&slot->start, memory_order_acquire);
        if (start == 0 || address < start) continue;
        const uintptr_t end = atomic_load_explicit(&slot->end, memory_order_acquire);
        /* The slot may have changed hands between the two loads; its new start then says so. */
        if (address >= end || atomic_load_explicit(&slot->start, memory_order_acquire) != start) continue;
        atomic_store_explicit(&slot->damaged, 1, memory_order_release); /* M2 */
        return zeros_over(address & ~(page_bytes - 1), end);
    }
    return 0;
}

/* Only SIGBUS is blocked here, so a fault that returns unchanged happens again at once under the default action. A
 * SIGBUS that was sent (si_code <= 0) does not, and is raised anew. */
static void chain(int number, siginfo_t *info, void *context) {
    const struct sigaction *next = atomic_load(&previous);
    if (next->sa_flags & SA_SIGINFO) {
        next->sa_sigaction(number, info, context);
    } else if (next->sa_handler == SIG_DFL || (next->sa_handler == SIG_IGN && info->si_code > 0)) {
        sigaction(SIGBUS, &fallback, NULL);
        if (info->si_code <= 0) raise(SIGBUS);
    } else if (next->sa_handler != SIG_IGN) {
        next->sa_handler(number);
    }
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
    const int saved = errno;
    if (info->si_code <= 0 || !handle_own((uintptr_t)info->si_addr)) chain(number, info, context);
    errno = saved;
}

static void handler_action(struct sigaction *action) {
    memset(action, 0, sizeof(*action));
    action->sa_sigaction = on_sigbus;
    action->sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action->sa_mask);
}

static int same_handler(const struct sigaction *a, const struct sigaction *b) {
    if ((a->sa_flags & SA_SIGINFO) != (b->sa_flags & SA_SIGINFO)) return 0;
    return a->sa_flags & SA_SIGINFO ? a->sa_sigaction == b->sa_sigaction : a->sa_handler == b->sa_handler;
}

/* Where the handler must go behind, given what is installed now; NULL: leave things alone. A handler that came after
 * ours is expected to call ours, and going before it would make the two call each other for ever. But the default
 * action and the handler that was there first never call us: then somebody took ours away, and it is put back. */
static const struct sigaction *behind(const struct sigaction *now, int first) {
    if (first) {
        original = *now;
        return &original;
    }
    if (same_handler(now, &original)) return &original;
    return !(now->sa_flags & SA_SIGINFO) && now->sa_handler == SIG_DFL ? &fallback : NULL;
}

/* SA_ONSTACK because some hosts (Go, for one) run their threads on small stacks and require it of every handler. */
static kith_status install(kith_error *error) {
    int state = atomic_load(&handler_state);
    while (state == HANDLER_COMING || !atomic_compare_exchange_weak(&handler_state, &state, HANDLER_COMING)) {
        sched_yield();
        state = atomic_load(&handler_state);
    }
    struct sigaction action, now;
    int failed = sigaction(SIGBUS, NULL, &now), number = errno;
    const struct sigaction *next = NULL;
    if (!failed) next = behind(&now, state == HANDLER_ABSENT);
    if (next) {
        if (state == HANDLER_ABSENT) {
            fallback.sa_handler = SIG_DFL;
            page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
        }
        /* All that the handler reads is complete before it can run. */
        atomic_store(&previous, next);
        handler_action(&action);
        failed = sigaction(SIGBUS, &action, NULL);
        number = errno;
    }
    atomic_store(&handler_state, failed ? state : HANDLER_PRESENT);
    return failed ? ki_fail_errno(error, number, "cannot install the SIGBUS handler") : KITH_OK;
}

static void raise_used(int used) {
    int seen = atomic_load(&slots_used);
    while (seen < used && !atomic_compare_exchange_weak(&slots_used, &seen, used)) {
    }
}

kith_status ki_map_protect(const void *start, size_t bytes, int *out, kith_error *error) {
    const kith_status status = install(error);
    if (status != KITH_OK) return status;
    for (int i = 0; i < KI_MAPS_MAX; i++) {
        int expected = 0;
        if (!atomic_compare_exchange_strong(&slots[i].taken, &expected, 1)) continue;
        const uintptr_t end = ((uintptr_t)start + bytes + page_bytes - 1) & ~(page_bytes - 1);
        atomic_store(&slots[i].damaged, 0);
        raise_used(i + 1);
        atomic_store_explicit(&slots[i].end, end, memory_order_release);
        atomic_store_explicit(&slots[i].start, (uintptr_t)start, memory_order_release);
        *out = i;
        return KITH_OK;
    }
    return ki_fail(error, KITH_E_LIMIT,
                   "%d index files are open in this process: that is as many as can be protected against truncation",
                   (int)KI_MAPS_MAX);
}

void ki_map_release(int slot) {
    if (slot < 0 || slot >= KI_MAPS_MAX) return;
    atomic_store(&slots[slot].start, 0);
    atomic_store(&slots[slot].taken, 0);
}

int ki_map_damaged(int slot) {
    return slot >= 0 && slot < KI_MAPS_MAX && atomic_load_explicit(&slots[slot].damaged, memory_order_acquire);
}
