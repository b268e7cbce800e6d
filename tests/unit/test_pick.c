/* SPDX-License-Identifier: Apache-2.0
 *
 * Picking the largest of many scores: every tier's passes against a sort. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/pick.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MAX = 40, SCORES_MAX = BLOCKS_MAX * KI_BLOCK };

static ki_pick_kernels scalar;

/* Scores with ties, infinities and both zeros among them. */
static void make_scores(ki_rng *rng, float *scores, size_t count) {
    const uint64_t kind = ki_rng_below(rng, 4);
    for (size_t i = 0; i < count; i++) {
        scores[i] = kind == 0 ? (float)ki_rng_below(rng, 5) - 2 : (float)ki_rng_normal(rng) * 1e3f;
        if (kind == 2 && ki_rng_below(rng, 9) == 0) scores[i] = -INFINITY;
        if (kind == 3 && ki_rng_below(rng, 9) == 0) scores[i] = -0.0f;
    }
}

static int descending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static float sorted_nth(const float *scores, size_t count, size_t n) {
    float copy[SCORES_MAX];
    memcpy(copy, scores, count * sizeof(*copy));
    qsort(copy, count, sizeof(*copy), descending);
    return copy[n - 1];
}

static void test_nth(void **state) {
    (void)state;
    ki_rng rng = {1};
    for (int round = 0; round < 3000; round++) {
        const size_t count = 1 + ki_rng_below(&rng, SCORES_MAX), n = 1 + ki_rng_below(&rng, count);
        float scores[SCORES_MAX], work[SCORES_MAX];
        make_scores(&rng, scores, SCORES_MAX); /* those behind the last do not count */
        const float expected = sorted_nth(scores, count, n);
        assert_true(ki_pick()->nth(scores, count, n, work) == expected);
        assert_true(ki_pick_nth(scores, count, n) == expected);
    }
}

static void test_nth_ends_on_nan(void **state) {
    (void)state;
    float scores[3 * KI_BLOCK], work[3 * KI_BLOCK];
    for (size_t n = 1; n <= 2 * KI_BLOCK; n++) {
        for (size_t i = 0; i < 3 * KI_BLOCK; i++) scores[i] = i % 3 ? NAN : (float)i;
        (void)ki_pick()->nth(scores, 2 * KI_BLOCK, n, work);
        (void)ki_pick_nth(scores, 3 * KI_BLOCK, n); /* any value, but it must come back */
    }
}

static void test_maxima(void **state) {
    (void)state;
    ki_rng rng = {2};
    for (int round = 0; round < 500; round++) {
        const size_t blocks = 1 + ki_rng_below(&rng, BLOCKS_MAX), groups = (size_t)1 << ki_rng_below(&rng, 3);
        float scores[SCORES_MAX], maxima[4 * KI_BLOCK], expected[4 * KI_BLOCK];
        make_scores(&rng, scores, blocks * KI_BLOCK);
        for (size_t i = 0; i < 4 * KI_BLOCK; i++) maxima[i] = expected[i] = -INFINITY;
        ki_pick()->maxima(scores, blocks, groups, maxima);
        for (size_t i = 0; i < blocks * KI_BLOCK; i++) {
            float *to = &expected[i / KI_BLOCK % groups * KI_BLOCK + i % KI_BLOCK];
            if (scores[i] > *to) *to = scores[i];
        }
        assert_memory_equal(maxima, expected, sizeof(maxima));
    }
}

static void test_collect(void **state) {
    (void)state;
    ki_rng rng = {4};
    for (int round = 0; round < 2000; round++) {
        enum { USED = 5 };
        float scores[KI_BLOCK], score[USED + 2 * KI_BLOCK];
        uint32_t place[USED + 2 * KI_BLOCK];
        make_scores(&rng, scores, KI_BLOCK);
        if (round % 7 == 0) scores[3] = NAN; /* reaches nothing */
        for (size_t i = 0; i < USED + 2 * KI_BLOCK; i++) {
            score[i] = -1.5F;
            place[i] = 77;
        }
        const unsigned mask = (unsigned)ki_rng_below(&rng, 0x10000);
        const float base = (float)ki_rng_normal(&rng), threshold = scores[ki_rng_below(&rng, KI_BLOCK)] + base;
        size_t expected = USED;
        const size_t end = ki_pick()->collect(scores, base, mask, threshold, 1000, score, place, USED);
        for (unsigned v = 0; v < KI_BLOCK; v++) {
            if (!(mask >> v & 1) || !(scores[v] + base >= threshold)) continue;
            assert_true(score[expected] == scores[v] + base);
            assert_int_equal(place[expected++], 1000 + v);
        }
        assert_int_equal(end, expected);
        for (size_t i = 0; i < USED; i++) assert_true(score[i] == -1.5F && place[i] == 77);
        for (size_t i = USED + KI_BLOCK; i < USED + 2 * KI_BLOCK; i++) assert_true(score[i] == -1.5F && place[i] == 77);
    }
}

static void test_above_and_reach(void **state) {
    (void)state;
    ki_rng rng = {3};
    for (int round = 0; round < 1000; round++) {
        const size_t blocks = 1 + ki_rng_below(&rng, BLOCKS_MAX), count = blocks * KI_BLOCK;
        const size_t capacity = ki_rng_below(&rng, count + 1);
        float scores[SCORES_MAX];
        uint32_t index[SCORES_MAX + 1];
        make_scores(&rng, scores, count);
        const float threshold = scores[ki_rng_below(&rng, count)];
        index[capacity] = 12345;
        const size_t found = ki_pick()->above(scores, blocks, threshold, index, capacity);
        size_t expected = 0;
        for (size_t i = 0; i < count; i++) {
            if (!(scores[i] >= threshold)) continue;
            if (expected < capacity) assert_int_equal(index[expected], i);
            expected++;
        }
        assert_int_equal(found, expected);
        assert_int_equal(index[capacity], 12345);
        assert_int_equal(ki_pick()->reach(scores, threshold), scalar.reach(scores, threshold));
    }
}

static void test_groups(void **state) {
    (void)state;
    for (size_t n = 1; n < 3000; n++) {
        const size_t groups = ki_pick_groups(n);
        assert_int_equal(groups & (groups - 1), 0);
        assert_true(2 * groups * KI_BLOCK >= 5 * n);
    }
}

static int set_up(void **state) {
    (void)state;
    ki_pick_fill(0, &scalar);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth),     cmocka_unit_test(test_nth_ends_on_nan), cmocka_unit_test(test_maxima),
        cmocka_unit_test(test_collect), cmocka_unit_test(test_above_and_reach), cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
