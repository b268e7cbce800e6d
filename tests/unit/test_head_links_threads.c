/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a head are linked while others are appended, cut off and killed, and while searches walk: each finds as many
 * rows of the state that it was given as there are, and none that is dead there.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/head_links.h"

enum { DIM = 1000, FIRST = 400, MORE = 200, READERS = 2 };

/* The published state: `mutex` guards the pointer. */
struct shared {
    struct subject s;
    pthread_mutex_t mutex;
    ki_bits *now;
    atomic_int over, wrong;
};

static ki_bits *pin(struct shared *shared) {
    pthread_mutex_lock(&shared->mutex);
    ki_bits *live = ki_bits_hold(shared->now);
    pthread_mutex_unlock(&shared->mutex);
    return live;
}

static void publish(struct shared *shared, ki_bits *live) {
    pthread_mutex_lock(&shared->mutex);
    ki_bits *old = shared->now;
    shared->now = live;
    pthread_mutex_unlock(&shared->mutex);
    ki_bits_release(old);
}

static void *read_on(void *context) {
    struct shared *shared = context;
    struct subject mine = {.dim = DIM, .head = shared->s.head, .axes = shared->s.axes, .rng = {7}};
    mine.desk = ki_desk_create();
    mine.walker = ki_hnsw_searcher_create();
    float query[DIM];
    ki_hit hits[7];
    while (!atomic_load(&shared->over)) {
        ki_bits *live = pin(shared);
        make_row(&mine, query);
        const size_t found = search(&mine, live, query, 7, 0.5, hits, NULL);
        if (found != (live->set < 7 ? live->set : 7)) atomic_store(&shared->wrong, 1);
        for (size_t i = 0; i < found; i++)
            if (hits[i].position >= live->rows || !ki_bits_get(live, hits[i].position)) atomic_store(&shared->wrong, 2);
        ki_bits_release(live);
    }
    ki_desk_destroy(mine.desk);
    ki_hnsw_searcher_destroy(mine.walker);
    free(mine.area.data);
    return NULL;
}

static void *link_on(void *context) {
    struct shared *shared = context;
    while (!atomic_load(&shared->over)) {
        ki_bits *live = pin(shared);
        if (ki_head_link(shared->s.head, 0, live->rows, live, &never, NULL) != KITH_OK) atomic_store(&shared->wrong, 3);
        ki_bits_release(live);
    }
    return NULL;
}

static void test_beside(void **state) {
    static struct shared shared;
    pthread_t reader[READERS], linker;
    (void)state;
    start(&shared.s, KITH_F32, KITH_COSINE, DIM, FIRST, 61);
    pthread_mutex_init(&shared.mutex, NULL);
    shared.now = ki_bits_hold(shared.s.live);
    assert_int_equal(pthread_create(&linker, NULL, link_on, &shared), 0);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_create(&reader[i], NULL, read_on, &shared), 0);
    struct subject *s = &shared.s;
    while (ki_head_count(s->head) < FIRST + MORE) {
        append(s, 20);
        ki_head_cut(s->head, ki_head_count(s->head) - 5); /* of a commit that failed */
        ki_bits *left = ki_bits_create(ki_head_count(s->head), 0);
        assert_non_null(left);
        for (size_t i = 0; i < left->rows; i++)
            if (ki_bits_get(s->live, i) && ki_rng_below(&s->rng, 100)) ki_bits_put(left, i);
        ki_bits_release(s->live);
        s->live = left;
        publish(&shared, ki_bits_hold(left));
    }
    atomic_store(&shared.over, 1);
    pthread_join(linker, NULL);
    for (int i = 0; i < READERS; i++) pthread_join(reader[i], NULL);
    assert_int_equal(atomic_load(&shared.wrong), 0);
    link_all(s);
    uint64_t visited = 0;
    assert_true(recall_of(s, s->live, 7, 0.5, &visited) >= 0.5);
    assert_true(visited > 0);
    publish(&shared, NULL);
    pthread_mutex_destroy(&shared.mutex);
    finish(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
