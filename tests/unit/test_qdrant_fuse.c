/* SPDX-License-Identifier: Apache-2.0
 *
 * One ranking of several.
 * tiers: any */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../server/qdrant/fuse.h"

static void test_reciprocal_ranks(void **state) {
    (void)state;
    assert_true(ks_qd_reciprocal(0, 1, 2) == 0.5);
    assert_true(ks_qd_reciprocal(2, 1, 2) == 0.25);
    assert_true(ks_qd_reciprocal(0, 1, 60) == 1 / 60.0);
    assert_true(ks_qd_reciprocal(1, 2, 2) == 0.5); /* a weight of two halves the rank */
    assert_true(ks_qd_reciprocal(0, 0, 2) == 0);
    assert_true(ks_qd_reciprocal(0, -1, 2) == 0);
    assert_true(ks_qd_reciprocal(0, NAN, 2) == 0);
}

static void test_sums_and_order(void **state) {
    ks_qd_ranked places[] = {{7, 0.5, 0, 0}, {8, 0.25, 0, 1}, {9, 0.2, 0, 2}, {8, 0.5, 1, 0}, {5, 0.2, 1, 1}};
    static const uint64_t numbers[] = {8, 7, 9, 5}; /* of 9 and 5, which are equal, the one of the first list */
    (void)state;
    assert_int_equal(ks_qd_fuse(places, 5), 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(places[i].number, numbers[i]);
    assert_true(places[0].score == 0.75);
    assert_int_equal(places[0].list, 0);
    assert_int_equal(places[0].place, 1);
    assert_int_equal(ks_qd_fuse(places, 0), 0);
}

static void test_normalised_scores(void **state) {
    ks_qd_ranked list[] = {{1, 1, 0, 0}, {2, 2, 0, 1}, {3, 3, 0, 2}};
    ks_qd_ranked same[] = {{1, 4, 0, 0}, {2, 4, 0, 1}}, one[] = {{1, -3, 0, 0}};
    (void)state;
    ks_qd_normalise(list, 3); /* mean 2, deviation 1: -1 to 5 */
    assert_true(fabs(list[0].score - 2.0 / 6) < 1e-12);
    assert_true(fabs(list[1].score - 3.0 / 6) < 1e-12);
    assert_true(fabs(list[2].score - 4.0 / 6) < 1e-12);
    ks_qd_normalise(same, 2);
    assert_true(same[0].score == 0.5 && same[1].score == 0.5);
    ks_qd_normalise(one, 1);
    assert_true(one[0].score == 0.5);
    ks_qd_normalise(one, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reciprocal_ranks),
        cmocka_unit_test(test_sums_and_order),
        cmocka_unit_test(test_normalised_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
