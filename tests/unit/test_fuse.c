/* SPDX-License-Identifier: Apache-2.0
 *
 * Reciprocal rank fusion against its formula.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "collection/fuse.h"

#include <stdlib.h>

enum { KEYS = 50, RANKINGS = 4 };

struct sum {
    uint64_t key;
    float distance;
};

static int before(const void *a, const void *b) {
    const struct sum *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

/* A ranking of some keys in a random order. */
static ki_ranking rank(ki_rng *rng, ki_leg_hit hits[KEYS]) {
    ki_ranking ranking = {.hits = hits, .weight = 0.5 + ki_rng_unit(rng)};
    for (uint64_t key = 0; key < KEYS; key++) {
        if (ki_rng_below(rng, 3) == 0) continue;
        const size_t at = (size_t)ki_rng_below(rng, ranking.count + 1);
        hits[ranking.count] = hits[at];
        hits[at] = (ki_leg_hit){key * 7, 0, (uint32_t)key, (uint32_t)key + 1};
        ranking.count++;
    }
    return ranking;
}

static void test_formula(void **state) {
    (void)state;
    ki_rng rng = {1};
    ki_area memory = {0};
    for (int round = 0; round < 200; round++) {
        static ki_leg_hit hits[RANKINGS][KEYS], out[KEYS];
        ki_ranking rankings[RANKINGS];
        struct sum sums[KEYS];
        const size_t count = 1 + (size_t)ki_rng_below(&rng, RANKINGS), k = 1 + (size_t)ki_rng_below(&rng, KEYS);
        const double constant = round % 2 ? KI_FUSE_RANKS : KI_FUSE_SHARES;
        size_t all = 0;
        for (size_t r = 0; r < count; r++) rankings[r] = rank(&rng, hits[r]);
        for (uint64_t key = 0; key < KEYS; key++) {
            double sum = 0;
            for (size_t r = 0; r < count; r++)
                for (size_t i = 0; i < rankings[r].count; i++)
                    if (hits[r][i].key == key * 7) sum += rankings[r].weight / (constant + 1 + (double)i);
            if (sum > 0) sums[all++] = (struct sum){key * 7, (float)-sum};
        }
        qsort(sums, all, sizeof(*sums), before);
        const size_t found = ki_fuse(rankings, count, constant, k, &memory, out);
        assert_int_equal(found, all < k ? all : k);
        for (size_t i = 0; i < found; i++) {
            assert_int_equal(out[i].key, sums[i].key);
            assert_true(out[i].distance == sums[i].distance);
            assert_int_equal(out[i].place, out[i].key / 7); /* where it lives comes along */
            assert_int_equal(out[i].row, out[i].key / 7 + 1);
        }
    }
    free(memory.data);
}

/* Equal sums are ordered by key, whichever ranking has which. */
static void test_ties(void **state) {
    (void)state;
    const ki_leg_hit a[] = {{9, 0, 0, 0}, {4, 0, 0, 0}}, b[] = {{4, 0, 0, 0}, {9, 0, 0, 0}};
    const ki_ranking rankings[] = {{a, 2, 1}, {b, 2, 1}};
    ki_area memory = {0};
    ki_leg_hit out[2];
    assert_int_equal(ki_fuse(rankings, 2, KI_FUSE_RANKS, 2, &memory, out), 2);
    assert_int_equal(out[0].key, 4);
    assert_int_equal(out[1].key, 9);
    assert_true(out[0].distance == out[1].distance);
    assert_int_equal(ki_fuse(NULL, 0, KI_FUSE_RANKS, 2, &memory, out), 0);
    free(memory.data);
}

/* Of two rankings with nothing in common, each has results by its weight, at every depth. */
static void test_shares(void **state) {
    (void)state;
    ki_leg_hit a[60], b[60], out[60];
    const ki_ranking rankings[] = {{a, 60, 0.75}, {b, 60, 0.25}};
    ki_area memory = {0};
    for (uint64_t i = 0; i < 60; i++) a[i] = (ki_leg_hit){i, 0, 0, 0}, b[i] = (ki_leg_hit){100 + i, 0, 0, 0};
    assert_int_equal(ki_fuse(rankings, 2, KI_FUSE_SHARES, 60, &memory, out), 60);
    for (size_t depth = 1, second = 0; depth <= 60; depth++) {
        second += out[depth - 1].key >= 100;
        assert_in_range(second, depth / 4 > 0 ? depth / 4 - 1 : 0, depth / 4);
    }
    free(memory.data);
}

static void test_depth(void **state) {
    (void)state;
    assert_int_equal(ki_fuse_depth(1), 100);
    assert_int_equal(ki_fuse_depth(25), 100);
    assert_int_equal(ki_fuse_depth(100), 400);
    assert_int_equal(ki_fuse_depth(KITH_K_MAX), KITH_K_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formula), cmocka_unit_test(test_ties),
                                       cmocka_unit_test(test_shares), cmocka_unit_test(test_depth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
