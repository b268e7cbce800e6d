/* SPDX-License-Identifier: Apache-2.0
 *
 * HNSW under several threads: insertions and removals beside searches, numbers used again beside them, and building on
 * a pool. What is found is right whatever the moment; at the end every invariant holds.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "hnsw/hnsw.h"
#include "kernel/distance.h"

enum { DIM = 8, NUMBERS = 300, WRITERS = 2, READERS = 2, ROUNDS = 60, K = 5 };

static float vectors[NUMBERS][DIM];
static ki_hnsw *graph;
static atomic_int writing, wrong;

static const void *vector_of(void *context, uint32_t number) {
    (void)context;
    return vectors[number];
}

static void make_graph(uint32_t capacity) {
    const ki_hnsw_options options = {.metric = KITH_L2SQ,
                                     .dtype = KITH_F32,
                                     .dim = DIM,
                                     .m = 8,
                                     .ef = 30,
                                     .seed = 1,
                                     .capacity = capacity,
                                     .vector = vector_of};
    ki_rng rng = {4};
    assert_int_equal(ki_hnsw_create(&options, &graph, NULL), KITH_OK);
    for (size_t i = 0; i < NUMBERS; i++)
        for (size_t j = 0; j < DIM; j++) vectors[i][j] = (float)ki_rng_normal(&rng);
}

static void check(uint64_t all) {
    ki_hnsw_state state;
    uint64_t number;
    kith_status status;
    const char *fault = ki_hnsw_check(graph, &state, &number, &status);
    assert_int_equal(status, KITH_OK);
    if (fault) fail_msg("vector %llu %s", (unsigned long long)number, fault);
    assert_int_equal(state.vertices + state.twins, all);
}

/* Each writer has numbers of its own: inserted, removed, given other vectors, and inserted again. */
static void *write_some(void *context) {
    const uint32_t writer = *(const uint32_t *)context;
    ki_hnsw_searcher *searcher = ki_hnsw_searcher_create();
    ki_rng rng = {writer + 100};
    for (uint32_t n = writer; n < NUMBERS; n += WRITERS)
        if (ki_hnsw_insert(graph, searcher, n, NULL) != KITH_OK) atomic_store(&wrong, 1);
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t n = (uint32_t)ki_rng_below(&rng, NUMBERS / WRITERS) * WRITERS + writer;
        if (ki_hnsw_remove(graph, searcher, n, NULL) != KITH_OK) atomic_store(&wrong, 2);
        ki_hnsw_settle(graph);
        for (size_t j = 0; j < DIM; j++) vectors[n][j] = (float)ki_rng_normal(&rng);
        if (ki_hnsw_insert(graph, searcher, n, NULL) != KITH_OK) atomic_store(&wrong, 3);
    }
    ki_hnsw_searcher_destroy(searcher);
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

static void *read_some(void *context) {
    ki_hnsw_searcher *searcher = ki_hnsw_searcher_create();
    ki_rng rng = {*(const uint32_t *)context + 200};
    while (atomic_load(&writing)) {
        float query[DIM];
        ki_hit hits[K];
        size_t count;
        for (size_t j = 0; j < DIM; j++) query[j] = (float)ki_rng_normal(&rng);
        ki_hnsw_search search = {.query = query, .k = K, .ef = 20};
        if (ki_hnsw_find(graph, searcher, &search, hits, &count) != KITH_OK) atomic_store(&wrong, 4);
        for (size_t i = 1; i < count; i++)
            if (!ki_hit_before(&hits[i - 1], &hits[i]) || hits[i].position >= NUMBERS) atomic_store(&wrong, 5);
    }
    ki_hnsw_searcher_destroy(searcher);
    return NULL;
}

static void test_beside(void **state) {
    (void)state;
    pthread_t threads[WRITERS + READERS];
    uint32_t number[WRITERS + READERS];
    make_graph(NUMBERS);
    atomic_store(&writing, WRITERS);
    for (uint32_t i = 0; i < WRITERS + READERS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, i < WRITERS ? write_some : read_some, &number[i]), 0);
    }
    for (int i = 0; i < WRITERS + READERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    check(NUMBERS);
    ki_hnsw_destroy(graph);
}

static void test_pool(void **state) {
    (void)state;
    kith_pool *pool = NULL;
    assert_int_equal(kith_pool_create(3, &pool, NULL), KITH_OK);
    make_graph(NUMBERS);
    assert_int_equal(ki_hnsw_fill(graph, pool, NULL, NULL, NULL), KITH_OK);
    check(NUMBERS);
    ki_hnsw_destroy(graph);
    kith_pool_destroy(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside), cmocka_unit_test(test_pool)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
