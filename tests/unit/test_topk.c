/* SPDX-License-Identifier: Apache-2.0
 *
 * Selection against the C library's qsort: select, sort, the collector and the floor, on orders that are hard on
 * quickselect and heaps, with ties that only labels decide, up to k = 10,000. Guards against: lost or doubled hits,
 * ties that depend on the order of arrival, a threshold tightened too early. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kernel/topk.h"

enum { HITS_MAX = 20000, K_MAX = 10000 };

enum order { RANDOM, EQUAL, FEW, ASCENDING, DESCENDING, SAW, ORDERS };

static ki_hit given[HITS_MAX], sorted[HITS_MAX], work[HITS_MAX];
static float values[HITS_MAX], heap[K_MAX];
static const size_t sizes[] = {1, 2, 3, 10, 31, 32, 33, 100, 1000, 10000};
enum { SIZES = sizeof(sizes) / sizeof(*sizes) };

static int compare(const void *a, const void *b) {
    const ki_hit *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->label < y->label ? -1 : x->label > y->label;
}

static float distance_at(enum order order, size_t i, size_t count, ki_rng *rng) {
    switch (order) {
    case RANDOM:
        return (float)ki_rng_normal(rng);
    case EQUAL:
        return 0.5f;
    case FEW:
        return (float)ki_rng_below(rng, 3);
    case ASCENDING:
        return (float)i;
    case DESCENDING:
        return (float)(count - i);
    default:
        return (float)(i % 7);
    }
}

/* `count` hits with distinct labels in random order, and the same sorted. */
static void make(enum order order, size_t count) {
    ki_rng rng = {count + 100 * (size_t)order};
    for (size_t i = 0; i < count; i++) {
        given[i].distance = distance_at(order, i, count, &rng);
        given[i].position = (uint32_t)i;
        given[i].label = i;
    }
    for (size_t i = count; i > 1; i--) { /* labels shuffled */
        const size_t j = ki_rng_below(&rng, i);
        const uint64_t label = given[i - 1].label;
        given[i - 1].label = given[j].label;
        given[j].label = label;
    }
    memcpy(sorted, given, count * sizeof(*given));
    qsort(sorted, count, sizeof(*sorted), compare);
}

static void assert_same(const ki_hit *hits, const ki_hit *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hits[i].label, expected[i].label);
        assert_int_equal(hits[i].position, expected[i].position);
        assert_true(hits[i].distance == expected[i].distance);
    }
}

static void check_select(size_t count, size_t k) {
    memcpy(work, given, count * sizeof(*work));
    ki_hits_select(work, count, k);
    qsort(work, k, sizeof(*work), compare);
    qsort(work + k, count - k, sizeof(*work), compare);
    assert_same(work, sorted, count);
}

static void test_select(void **state) {
    (void)state;
    for (int order = 0; order < ORDERS; order++)
        for (size_t n = 0; n < SIZES; n++) {
            const size_t count = sizes[n], ks[] = {0, 1, 2, 10, 16, 17, count / 3, count / 2, count - 1, count};
            make((enum order)order, count);
            for (size_t i = 0; i < sizeof(ks) / sizeof(*ks); i++)
                if (ks[i] <= count) check_select(count, ks[i]);
        }
    ki_hits_select(NULL, 0, 0);
}

/* Callers may hold the same hit twice. */
static void test_select_of_equal_hits(void **state) {
    (void)state;
    for (size_t i = 0; i < 1000; i++) given[i] = (ki_hit){(float)(i % 3), (uint32_t)(i % 3), i % 3};
    ki_hits_select(given, 1000, 500);
    for (size_t i = 0; i < 500; i++) assert_true(given[i].distance <= 1);
    for (size_t i = 500; i < 1000; i++) assert_true(given[i].distance >= 1);
    for (size_t i = 0; i < 100; i++) given[i] = (ki_hit){(float)(i % 3), (uint32_t)(i % 3), i % 3};
    ki_hits_select(given, 100, 10);
    for (size_t i = 0; i < 10; i++) assert_true(given[i].distance == 0);
}

static void test_sort(void **state) {
    (void)state;
    for (int order = 0; order < ORDERS; order++)
        for (size_t n = 0; n < SIZES; n++) {
            make((enum order)order, sizes[n]);
            memcpy(work, given, sizes[n] * sizeof(*work));
            ki_hits_sort(work, sizes[n]);
            assert_same(work, sorted, sizes[n]);
        }
    ki_hits_sort(NULL, 0);
}

static void check_collector(size_t count, size_t k, size_t capacity) {
    const size_t expected = k < count ? k : count;
    ki_collector c = {.hits = work, .capacity = capacity};
    float worst = INFINITY;
    ki_collector_reset(&c, k);
    assert_true(isinf(c.worst) && c.count == 0);
    for (size_t i = 0; i < count; i++) {
        ki_collector_push(&c, given[i].distance, given[i].position, given[i].label);
        assert_true(c.count <= c.capacity);
        assert_true(c.worst <= worst);
        assert_true(c.worst >= sorted[expected - 1].distance); /* a hit that belongs to the result can still enter */
        worst = c.worst;
    }
    ki_collector_shrink(&c);
    assert_int_equal(c.count, expected);
    if (k <= count) assert_true(c.worst == sorted[k - 1].distance);
    ki_hits_sort(c.hits, c.count);
    assert_same(c.hits, sorted, expected);
}

static void test_collector(void **state) {
    (void)state;
    for (int order = 0; order < ORDERS; order++)
        for (size_t n = 0; n < SIZES; n++) {
            const size_t count = sizes[n], ks[] = {1, 2, 10, count, count + 5, K_MAX};
            make((enum order)order, count);
            for (size_t i = 0; i < sizeof(ks) / sizeof(*ks); i++) {
                if (count * ks[i] <= 1000000) check_collector(count, ks[i], ks[i] + 1);
                check_collector(count, ks[i], ks[i] + 129 + ks[i] / 2);
            }
        }
}

static void test_collector_refuses_nan(void **state) {
    ki_collector c = {.hits = work, .capacity = 4};
    (void)state;
    ki_collector_reset(&c, 2);
    ki_collector_push(&c, NAN, 0, 0);
    assert_int_equal(c.count, 0);
    ki_collector_push(&c, INFINITY, 1, 1);
    assert_int_equal(c.count, 1);
}

/* A collector is used again after a reset without what it held. */
static void test_collector_reset(void **state) {
    ki_collector c = {.hits = work, .capacity = 4};
    (void)state;
    ki_collector_reset(&c, 2);
    for (size_t i = 0; i < 10; i++) ki_collector_push(&c, (float)i, (uint32_t)i, i);
    ki_collector_reset(&c, 1);
    ki_collector_push(&c, 100, 7, 7);
    ki_collector_shrink(&c);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.hits[0].label, 7);
}

static int compare_descending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return x > y ? -1 : x < y;
}

/* The k-th largest after every push, against a sorted copy at a few places. */
static void check_floor(size_t count, size_t k) {
    static float copy[HITS_MAX];
    ki_floor f = {.heap = heap, .k = k};
    for (size_t i = 0; i < count; i++) {
        const float before = ki_floor_value(&f);
        ki_floor_push(&f, values[i]);
        assert_true(ki_floor_value(&f) >= before);
        if (i + 1 < k) assert_true(isinf(ki_floor_value(&f)) && ki_floor_value(&f) < 0);
        if (i + 1 != count && i + 1 != k && i + 1 != k + 1 && i + 1 != count / 2) continue;
        if (i + 1 < k) continue;
        memcpy(copy, values, (i + 1) * sizeof(*copy));
        qsort(copy, i + 1, sizeof(*copy), compare_descending);
        assert_true(ki_floor_value(&f) == copy[k - 1]);
    }
}

static void test_floor(void **state) {
    (void)state;
    for (int order = 0; order < ORDERS; order++)
        for (size_t n = 0; n < SIZES; n++) {
            const size_t count = sizes[n], ks[] = {1, 2, 10, count, K_MAX};
            ki_rng rng = {count};
            for (size_t i = 0; i < count; i++) values[i] = distance_at((enum order)order, i, count, &rng);
            for (size_t i = 0; i < sizeof(ks) / sizeof(*ks); i++) check_floor(count, ks[i]);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_select_of_equal_hits),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_collector),
        cmocka_unit_test(test_collector_refuses_nan),
        cmocka_unit_test(test_collector_reset),
        cmocka_unit_test(test_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
