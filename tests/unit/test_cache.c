/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache: what it holds, what it lets go of, and that frequency beats recency where a scan passes by.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cache/cache.h"
#include "cache/sketch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_BYTES = 1000 };

/* A value that says whose it is, from its first byte to the last. */
static int put(ki_cache *cache, uint64_t key, size_t bytes) {
    void *value;
    ki_cache_entry *entry = ki_cache_entry_create(&key, sizeof(key), bytes, &value);
    if (!entry) return 0;
    memset(value, (int)(key % 251), bytes);
    ki_cache_put(cache, entry);
    return 1;
}

/* -1: not there; else whether it is the key's. */
static int get(ki_cache *cache, uint64_t key) {
    size_t bytes;
    int fine = 1;
    ki_cache_entry *entry = ki_cache_get(cache, &key, sizeof(key));
    if (!entry) return -1;
    const unsigned char *value = ki_cache_value(entry, &bytes);
    for (size_t i = 0; i < bytes; i++) fine &= value[i] == key % 251;
    ki_cache_release(entry);
    return fine;
}

static int ask(ki_cache *cache, uint64_t key, size_t bytes) {
    const int found = get(cache, key);
    if (found < 0) assert_true(put(cache, key, bytes));
    assert_int_not_equal(found, 0);
    return found == 1;
}

static void test_keys_are_compared_in_full(void **state) {
    (void)state;
    ki_cache *cache = ki_cache_create(1 << 20);
    void *value;
    assert_non_null(cache);
    assert_null(ki_cache_get(cache, "", 0));
    const char *keys[] = {"", "a", "ab", "abc", "abd"};
    for (size_t i = 0; i < 5; i++) {
        ki_cache_entry *entry = ki_cache_entry_create(keys[i], strlen(keys[i]), i, &value);
        assert_non_null(entry);
        assert_int_equal((uintptr_t)value % 8, 0);
        memset(value, (int)i, i);
        ki_cache_put(cache, entry);
    }
    for (size_t i = 0; i < 5; i++) {
        size_t bytes;
        ki_cache_entry *entry = ki_cache_get(cache, keys[i], strlen(keys[i]));
        assert_non_null(entry);
        (void)ki_cache_value(entry, &bytes);
        assert_int_equal(bytes, i);
        ki_cache_release(entry);
    }
    assert_null(ki_cache_get(cache, "b", 1));
    const ki_cache_counts counts = ki_cache_count(cache);
    assert_int_equal(counts.hits, 5);
    assert_int_equal(counts.misses, 2);
    assert_int_equal(counts.entries, 5);
    assert_int_equal(counts.evictions, 0);
    ki_cache_destroy(cache);
}

static void test_a_key_that_is_there_stays(void **state) {
    (void)state;
    ki_cache *cache = ki_cache_create(1 << 20);
    assert_true(put(cache, 7, 100));
    const uint64_t bytes = ki_cache_count(cache).bytes;
    assert_true(put(cache, 7, 100));
    assert_int_equal(ki_cache_count(cache).entries, 1);
    assert_int_equal(ki_cache_count(cache).bytes, bytes);
    assert_int_equal(get(cache, 7), 1);
    ki_cache_destroy(cache);
}

static void test_the_budget_is_kept(void **state) {
    (void)state;
    static const uint64_t budgets[] = {0, 1, 4096, 100000, 1 << 20, 3000000, 20 << 20};
    for (size_t b = 0; b < sizeof(budgets) / sizeof(*budgets); b++) {
        ki_cache *cache = ki_cache_create(budgets[b]);
        ki_rng rng = {b};
        assert_non_null(cache);
        for (int i = 0; i < 8000; i++) {
            const uint64_t key = ki_rng_below(&rng, 3000);
            (void)ask(cache, key, (size_t)(key * key % (key % 50 ? 3000 : 300000)));
            if (i % 64 == 0 && budgets[b] >= 4096) assert_true(ki_cache_count(cache).bytes <= budgets[b]);
        }
        const ki_cache_counts counts = ki_cache_count(cache);
        if (budgets[b] >= 100000 && budgets[b] <= 1 << 20) {
            assert_true(counts.entries > 0 && counts.evictions > 0 && counts.hits > 0);
            assert_true(counts.bytes > budgets[b] / 2); /* and it is used */
        }
        ki_cache_destroy(cache);
    }
}

static void test_what_is_too_large_is_not_taken(void **state) {
    (void)state;
    const uint64_t key = 1;
    ki_cache *cache = ki_cache_create(1 << 20);
    assert_false(ki_cache_takes(cache, sizeof(key), 1 << 20));
    assert_false(ki_cache_takes(cache, sizeof(key), UINT64_MAX));
    assert_true(ki_cache_takes(cache, sizeof(key), 1000));
    assert_true(put(cache, key, 1 << 20));
    assert_int_equal(get(cache, key), -1);
    assert_int_equal(ki_cache_count(cache).entries, 0);
    void *value;
    assert_null(ki_cache_entry_create(&key, sizeof(key), UINT64_MAX, &value));
    assert_null(ki_cache_entry_create(&key, sizeof(key), UINT64_MAX / 2, &value));
    ki_cache_destroy(cache);
}

static void test_what_is_held_outlives_its_eviction(void **state) {
    (void)state;
    const uint64_t key = 3;
    ki_cache *cache = ki_cache_create(100000);
    assert_true(put(cache, key, VALUE_BYTES));
    ki_cache_entry *held = ki_cache_get(cache, &key, sizeof(key));
    assert_non_null(held);
    for (uint64_t i = 0; i < 20000 && get(cache, key) >= 0; i++) {
        for (int times = 0; times < 20; times++) (void)ask(cache, 100 + i % 90, VALUE_BYTES);
        (void)ask(cache, 1000 + i, VALUE_BYTES);
    }
    for (uint64_t i = 0; i < 5000; i++) (void)ask(cache, 100 + i % 90, VALUE_BYTES);
    ki_cache_destroy(cache);
    size_t bytes;
    const unsigned char *value = ki_cache_value(held, &bytes);
    assert_int_equal(bytes, VALUE_BYTES);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(value[i], 3);
    ki_cache_release(held);
}

/* ---- How good it is ---------------------------------------------------------------------------------------------- */

enum { KEYS = 4000, ASKED = 200000, ROOM = 200 };

/* The keys that are asked for: by Zipf's law, 1 / rank; between them, time and again, a scan of keys that never
 * return. */
struct trace {
    ki_rng rng;
    double sum[KEYS];
    uint64_t scanned;
    int scan; /* of so many requests, in a hundred */
};

static void begin_trace(struct trace *trace, int scan) {
    double sum = 0;
    for (int i = 0; i < KEYS; i++) trace->sum[i] = sum += 1.0 / (i + 1);
    trace->rng = (ki_rng){42};
    trace->scanned = 1000000;
    trace->scan = scan;
}

static uint64_t next_key(struct trace *trace) {
    if (ki_rng_below(&trace->rng, 100) < (uint64_t)trace->scan) return trace->scanned++;
    const double at =
        (double)ki_rng_below(&trace->rng, UINT64_C(1) << 40) / (double)(UINT64_C(1) << 40) * trace->sum[KEYS - 1];
    int low = 0, high = KEYS - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (trace->sum[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint64_t)low;
}

/* What least recently used of as many entries would have hit. */
static double ratio_of_lru(struct trace *trace) {
    static uint64_t key[ROOM], used[ROOM];
    int hits = 0;
    memset(used, 0, sizeof(used));
    for (uint64_t i = 1; i <= ASKED; i++) {
        const uint64_t wanted = next_key(trace);
        int oldest = 0, found = -1;
        for (int e = 0; e < ROOM && found < 0; e++) {
            if (used[e] && key[e] == wanted) found = e;
            if (used[e] < used[oldest]) oldest = e;
        }
        hits += found >= 0;
        key[found >= 0 ? found : oldest] = wanted;
        used[found >= 0 ? found : oldest] = i;
    }
    return (double)hits / ASKED;
}

/* A budget for about ROOM entries at most, the tables included. */
static double ratio_of_cache(struct trace *trace) {
    ki_cache *cache = ki_cache_create((uint64_t)ROOM * (VALUE_BYTES + 168));
    int hits = 0;
    for (int i = 0; i < ASKED; i++) hits += ask(cache, next_key(trace), VALUE_BYTES);
    assert_true(ki_cache_count(cache).entries <= ROOM);
    ki_cache_destroy(cache);
    return (double)hits / ASKED;
}

static void test_hit_ratio_beats_recency(void **state) {
    static struct trace trace;
    static const int scans[] = {0, 30, 60};
    (void)state;
    for (size_t i = 0; i < sizeof(scans) / sizeof(*scans); i++) {
        begin_trace(&trace, scans[i]);
        const double lru = ratio_of_lru(&trace);
        begin_trace(&trace, scans[i]);
        const double ours = ratio_of_cache(&trace);
        print_message("%d %% scanned: hit ratio %.3f, of LRU %.3f\n", scans[i], ours, lru);
        assert_true(ours > lru + 0.03);
        assert_true(ours > (100 - scans[i]) / 100.0 * 0.58);
    }
}

/* What was asked for often yesterday goes, once something else is. */
static void test_the_past_is_forgotten(void **state) {
    (void)state;
    ki_cache *cache = ki_cache_create((uint64_t)ROOM * (VALUE_BYTES + 168));
    for (uint64_t i = 0; i < 20000; i++) (void)ask(cache, i % 150, VALUE_BYTES);
    for (uint64_t i = 0; i < 30000; i++) (void)ask(cache, 1000 + i % 150, VALUE_BYTES);
    int hits = 0;
    for (uint64_t i = 0; i < 150; i++) hits += ask(cache, 1000 + i, VALUE_BYTES);
    assert_true(hits > 120);
    ki_cache_destroy(cache);
}

static void test_sketch_counts_and_ages(void **state) {
    ki_sketch sketch;
    (void)state;
    assert_true(ki_sketch_create(&sketch, 1024));
    for (int i = 0; i < 40; i++) {
        assert_true(ki_sketch_count(&sketch, UINT64_C(0x123456789abcdef)) >= (unsigned)(i < 15 ? i : 15));
        ki_sketch_note(&sketch, UINT64_C(0x123456789abcdef));
    }
    assert_int_equal(ki_sketch_count(&sketch, UINT64_C(0x123456789abcdef)), 15);
    ki_rng rng = {1};
    int seen = 0;
    for (int i = 0; i < 1000; i++) seen += ki_sketch_count(&sketch, ki_rng_next(&rng)) != 0;
    assert_true(seen < 10);
    for (int i = 0; i < 10240; i++) ki_sketch_note(&sketch, 5);
    assert_int_equal(ki_sketch_count(&sketch, UINT64_C(0x123456789abcdef)), 7);
    ki_sketch_free(&sketch);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

enum { EACH = 10000 };

static void *hammer(void *context) {
    ki_cache *cache = context;
    ki_rng rng = {(uint64_t)(uintptr_t)&rng};
    uintptr_t wrong = 0;
    for (int i = 0; i < EACH; i++) {
        const uint64_t key = ki_rng_below(&rng, 1 + ki_rng_below(&rng, 600));
        const int found = get(cache, key);
        wrong += found == 0;
        if (found < 0) wrong += !put(cache, key, (size_t)(key * 7));
        if (i % 1000 == 0) wrong += ki_cache_count(cache).bytes > 500000;
    }
    return (void *)wrong;
}

static void test_threads(void **state) {
    pthread_t thread[4];
    (void)state;
    ki_cache *cache = ki_cache_create(500000);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, hammer, cache), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
    const ki_cache_counts counts = ki_cache_count(cache);
    assert_int_equal(counts.hits + counts.misses, 4 * EACH);
    ki_cache_destroy(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_compared_in_full),
        cmocka_unit_test(test_a_key_that_is_there_stays),
        cmocka_unit_test(test_the_budget_is_kept),
        cmocka_unit_test(test_what_is_too_large_is_not_taken),
        cmocka_unit_test(test_what_is_held_outlives_its_eviction),
        cmocka_unit_test(test_hit_ratio_beats_recency),
        cmocka_unit_test(test_the_past_is_forgotten),
        cmocka_unit_test(test_sketch_counts_and_ages),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
