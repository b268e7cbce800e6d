/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator of a test program, replaced by one that counts and refuses: include it in one source of the program.
 * It stands on top of the sanitizer's allocator where there is one, so that those programs lose nothing.
 *
 * Counting is for all threads; refusing numbers allocations in the order in which they happen. faulty_live and
 * faulty_peak mean something only where all that is freed while they count was also allocated then. */
#ifndef TESTS_SUPPORT_FAULTY_MALLOC_H
#define TESTS_SUPPORT_FAULTY_MALLOC_H

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULTY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FAULTY_SANITIZED 1
#endif
#endif

/* These run before the sanitizers have set themselves up, when checked code would crash. */
#define FAULTY_PLAIN __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

#ifdef FAULTY_SANITIZED
#define FAULTY_REAL(name) __interceptor_##name
#else
#define FAULTY_REAL(name) __libc_##name
#endif

extern void *FAULTY_REAL(malloc)(size_t bytes);
extern void *FAULTY_REAL(calloc)(size_t count, size_t bytes);
extern void *FAULTY_REAL(realloc)(void *memory, size_t bytes);
extern void *FAULTY_REAL(memalign)(size_t alignment, size_t bytes);
extern void FAULTY_REAL(free)(void *memory);

static atomic_int faulty_counting; /* non-zero: the numbers below are kept */
static atomic_long faulty_count;   /* allocations asked for */
static atomic_long faulty_live;    /* given and not yet freed */
static atomic_long faulty_bytes;   /* of these */
static atomic_long faulty_peak;    /* the most bytes at a time */
static atomic_long faulty_first;   /* the first one refused; -1: none */
static atomic_int faulty_for_good; /* all later ones are refused too */

/* From now on; number -1 refuses nothing. */
static inline void faulty_malloc_start(long number, int for_good) {
    atomic_store(&faulty_count, 0);
    atomic_store(&faulty_live, 0);
    atomic_store(&faulty_bytes, 0);
    atomic_store(&faulty_peak, 0);
    atomic_store(&faulty_first, number);
    atomic_store(&faulty_for_good, for_good);
    atomic_store(&faulty_counting, 1);
}

/* The number of allocations asked for since the start. */
static inline long faulty_malloc_stop(void) {
    atomic_store(&faulty_counting, 0);
    return atomic_load(&faulty_count);
}

static FAULTY_PLAIN int faulty_refused(void) {
    if (!atomic_load_explicit(&faulty_counting, memory_order_relaxed)) return 0;
    const long number = atomic_fetch_add(&faulty_count, 1), first = atomic_load(&faulty_first);
    if (first < 0 || number < first || (number > first && !atomic_load(&faulty_for_good))) return 0;
    errno = ENOMEM;
    return 1;
}

static FAULTY_PLAIN void *faulty_given(void *memory) {
    if (!memory || !atomic_load_explicit(&faulty_counting, memory_order_relaxed)) return memory;
    const long size = (long)malloc_usable_size(memory), bytes = atomic_fetch_add(&faulty_bytes, size) + size;
    long peak = atomic_load(&faulty_peak);
    while (bytes > peak && !atomic_compare_exchange_weak(&faulty_peak, &peak, bytes)) {
    }
    atomic_fetch_add(&faulty_live, 1);
    return memory;
}

static FAULTY_PLAIN void faulty_taken(void *memory) {
    if (!memory || !atomic_load_explicit(&faulty_counting, memory_order_relaxed)) return;
    atomic_fetch_sub(&faulty_bytes, (long)malloc_usable_size(memory));
    atomic_fetch_sub(&faulty_live, 1);
}

FAULTY_PLAIN void *malloc(size_t bytes) {
    return faulty_refused() ? NULL : faulty_given(FAULTY_REAL(malloc)(bytes));
}

FAULTY_PLAIN void *calloc(size_t count, size_t bytes) {
    return faulty_refused() ? NULL : faulty_given(FAULTY_REAL(calloc)(count, bytes));
}

FAULTY_PLAIN void *aligned_alloc(size_t alignment, size_t bytes) {
    return faulty_refused() ? NULL : faulty_given(FAULTY_REAL(memalign)(alignment, bytes));
}

FAULTY_PLAIN void *realloc(void *memory, size_t bytes) {
    if (faulty_refused()) return NULL;
    const long before = memory ? (long)malloc_usable_size(memory) : 0;
    void *grown = FAULTY_REAL(realloc)(memory, bytes);
    if (!grown) return NULL;
    if (memory && atomic_load_explicit(&faulty_counting, memory_order_relaxed)) {
        atomic_fetch_sub(&faulty_bytes, before);
        atomic_fetch_sub(&faulty_live, 1);
    }
    return faulty_given(grown);
}

FAULTY_PLAIN void free(void *memory) {
    faulty_taken(memory);
    FAULTY_REAL(free)(memory);
}

#endif
