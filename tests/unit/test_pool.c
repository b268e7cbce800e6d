/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread pool's promises: each piece once and in order of start, no two pieces of one worker at a time, works of
 * several callers in turns, a child process that starts anew, and a machine that has no threads to give. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faulty_malloc.h"

#include "base/cores.h"
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECES = 1000, WORKERS = 8 };

static kith_error error;

struct work {
    atomic_uint done[PIECES];
    atomic_int inside[WORKERS];
    atomic_int broken;
    unsigned threads;
    pthread_t caller;
};

static void piece_of_work(void *context, size_t piece, unsigned worker) {
    struct work *work = context;
    if (worker >= work->threads) abort();
    if (atomic_fetch_add(&work->inside[worker], 1) != 0) atomic_store(&work->broken, 1);
    if ((worker == 0) != (pthread_equal(work->caller, pthread_self()) != 0)) atomic_store(&work->broken, 2);
    atomic_fetch_add(&work->done[piece], 1);
    if (piece % 97 == 0) sched_yield();
    atomic_fetch_sub(&work->inside[worker], 1);
}

static void run_and_check(kith_pool *pool, size_t pieces) {
    struct work *work = calloc(1, sizeof(*work));
    assert_non_null(work);
    work->threads = ki_pool_threads(pool);
    work->caller = pthread_self();
    ki_pool_run(pool, pieces, piece_of_work, work);
    for (size_t i = 0; i < PIECES; i++) assert_int_equal(atomic_load(&work->done[i]), i < pieces);
    assert_int_equal(atomic_load(&work->broken), 0);
    free(work);
}

static kith_pool *make_pool(unsigned threads) {
    kith_pool *pool = NULL;
    assert_int_equal(kith_pool_create(threads, &pool, &error), KITH_OK);
    return pool;
}

static void test_each_piece_once(void **state) {
    static const size_t pieces[] = {0, 1, 2, 3, 7, 8, 100, PIECES};
    (void)state;
    for (unsigned threads = 1; threads <= WORKERS; threads++) {
        kith_pool *pool = make_pool(threads);
        assert_int_equal(kith_pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
            for (int round = 0; round < 5; round++) run_and_check(pool, pieces[i]);
        kith_pool_destroy(pool);
    }
    run_and_check(NULL, PIECES); /* no pool: the caller alone */
    assert_int_equal(ki_pool_threads(NULL), 1);
}

static void test_creating(void **state) {
    kith_pool *pool = (kith_pool *)&error;
    (void)state;
    assert_int_equal(kith_pool_create(KITH_THREADS_MAX + 1, &pool, &error), KITH_E_LIMIT);
    assert_non_null(strstr(error.text, "257"));
    assert_ptr_equal(pool, &error);
    assert_int_equal(kith_pool_create(1, NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_pool_create(KITH_THREADS_MAX + 1, &pool, NULL), KITH_E_LIMIT);
    unsetenv("KITH_THREADS");
    pool = make_pool(0);
    assert_int_equal(kith_pool_threads(pool), ki_cores() < KITH_THREADS_MAX ? ki_cores() : KITH_THREADS_MAX);
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    assert_in_range(ki_cores(), 1, CPU_COUNT(&set));
    kith_pool_destroy(pool);
    kith_pool_destroy(make_pool(5)); /* never used: no thread was made */
    kith_pool_destroy(NULL);
    assert_int_equal(kith_pool_threads(NULL), 0);
}

/* All workers are at work at the same time: none waits for another's piece to end. */
static void wait_for_all(void *context, size_t piece, unsigned worker) {
    atomic_uint *arrived = context;
    (void)piece, (void)worker;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < 4) sched_yield();
}

static void test_workers_are_at_work_together(void **state) {
    (void)state;
    kith_pool *pool = make_pool(4);
    for (int round = 0; round < 20; round++) {
        atomic_uint arrived = 0;
        ki_pool_run(pool, 4, wait_for_all, &arrived);
        assert_int_equal(atomic_load(&arrived), 4);
    }
    kith_pool_destroy(pool);
}

static void *call_again_and_again(void *context) {
    for (int round = 0; round < 60; round++) {
        struct work *work = calloc(1, sizeof(*work));
        if (!work) abort();
        work->threads = ki_pool_threads(context);
        work->caller = pthread_self();
        ki_pool_run(context, 100, piece_of_work, work);
        for (size_t i = 0; i < 100; i++)
            if (atomic_load(&work->done[i]) != 1) abort();
        if (atomic_load(&work->broken)) abort();
        free(work);
    }
    return NULL;
}

static void test_callers_take_turns(void **state) {
    pthread_t thread[4];
    (void)state;
    kith_pool *pool = make_pool(3);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, call_again_and_again, pool), 0);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    kith_pool_destroy(pool);
}

/* The thread sanitizer does not let a child of a threaded process make threads, and the address sanitizer's allocator
 * may be locked for ever in one. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define FORKS 1
#else
#define FORKS 0
#endif

#if FORKS
static void count_piece(void *context, size_t piece, unsigned worker) {
    (void)piece, (void)worker;
    atomic_fetch_add((atomic_uint *)context, 1);
}

/* In a child: the pool works, also after more forks, and can be destroyed used or unused. */
static int use_in_child(kith_pool *pool, int depth) {
    for (int round = 0; round < 3; round++) {
        atomic_uint done = 0;
        ki_pool_run(pool, 50, count_piece, &done);
        if (atomic_load(&done) != 50) return 1;
    }
    if (depth) {
        const pid_t child = fork();
        if (child < 0) return 2;
        if (child == 0) _exit(use_in_child(pool, depth - 1));
        int status;
        if (waitpid(child, &status, 0) != child || status != 0) return 3;
    }
    kith_pool_destroy(pool);
    return 0;
}

static void test_fork(void **state) {
    (void)state;
    kith_pool *pool = make_pool(3);
    for (int used = 0; used < 2; used++) {
        for (int mode = 0; mode < 2; mode++) {
            const pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                alarm(60);
                if (mode == 0) _exit(use_in_child(pool, 2));
                kith_pool_destroy(pool);
                _exit(0);
            }
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(status, 0);
        }
        run_and_check(pool, PIECES); /* the parent's threads are still there */
    }
    kith_pool_destroy(pool);
}

static void *fork_while_others_work(void *context) {
    for (int i = 0; i < 25; i++) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(60);
            _exit(use_in_child(context, 0));
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) abort();
    }
    return NULL;
}

/* The fork catches the pool in the middle of a work, its locks held. */
static void test_fork_during_work(void **state) {
    pthread_t worker, forker;
    (void)state;
    kith_pool *pool = make_pool(3);
    assert_int_equal(pthread_create(&worker, NULL, call_again_and_again, pool), 0);
    assert_int_equal(pthread_create(&forker, NULL, fork_while_others_work, pool), 0);
    pthread_join(worker, NULL);
    pthread_join(forker, NULL);
    kith_pool_destroy(pool);
}

/* No thread can be made: the caller does it all (I4). */
static int work_without_threads(void) {
    kith_pool *pool = NULL;
    if (kith_pool_create(6, &pool, &error) != KITH_OK) return 1;
    faulty_malloc_start(0, 1);
    for (int round = 0; round < 3; round++) {
        atomic_uint done = 0;
        ki_pool_run(pool, 50, count_piece, &done);
        if (atomic_load(&done) != 50) return 2;
    }
    faulty_malloc_stop();
    atomic_uint done = 0; /* and when memory is back, threads come */
    ki_pool_run(pool, 50, count_piece, &done);
    kith_pool_destroy(pool);
    return atomic_load(&done) != 50;
}

static void test_no_threads_to_have(void **state) {
    (void)state;
    assert_int_equal(work_without_threads(), 0);
}
#endif

static void test_running_allocates_nothing(void **state) {
    (void)state;
    kith_pool *pool = make_pool(3);
    run_and_check(pool, PIECES);
    struct work *work = calloc(1, sizeof(*work));
    assert_non_null(work);
    work->threads = 3;
    work->caller = pthread_self();
    faulty_malloc_start(-1, 0);
    for (int round = 0; round < 10; round++) ki_pool_run(pool, PIECES, piece_of_work, work);
    const long asked = faulty_malloc_stop();
    assert_int_equal(asked, 0);
    free(work);
    kith_pool_destroy(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_piece_once),
        cmocka_unit_test(test_creating),
        cmocka_unit_test(test_workers_are_at_work_together),
        cmocka_unit_test(test_callers_take_turns),
#if FORKS
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_fork_during_work),
        cmocka_unit_test(test_no_threads_to_have),
#endif
        cmocka_unit_test(test_running_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
