/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of a row's neighbours are its near-duplicates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tune/inner.h"

#include <math.h>

enum { MOST = 200 };

/* Squared distances: `copies` of them from `from` on, then such as a row has in n dimensions. */
static size_t neighbours(float near2[MOST], size_t copies, double from, double dimensions) {
    for (size_t i = 0; i < MOST; i++) {
        const double distance =
            i < copies ? from * (1 + (double)i / 1000) : pow((double)(i - copies + 1), 1 / dimensions);
        near2[i] = (float)(distance * distance);
    }
    return MOST;
}

static void test_ordinary(void **state) {
    (void)state;
    float near2[MOST];
    for (double dimensions = 4; dimensions <= 1024; dimensions *= 2) {
        assert_int_equal(ki_tune_near(near2, neighbours(near2, 0, 0, dimensions)), 0);
        assert_false(ki_tune_surely_near(near2, MOST));
        assert_true(fabs(ki_tune_inverse_dimension(near2, MOST) * dimensions - 1) < 0.2);
    }
}

static void test_groups(void **state) {
    (void)state;
    static const double nearness[] = {0, 1e-3, 0.1, 0.45, 0.7};
    static const size_t copies[] = {1, 2, 9, 30};
    float near2[MOST];
    for (size_t i = 0; i < sizeof(nearness) / sizeof(*nearness); i++)
        for (size_t c = 0; c < sizeof(copies) / sizeof(*copies); c++) {
            assert_int_equal(ki_tune_near(near2, neighbours(near2, copies[c], nearness[i], 20)), copies[c]);
            assert_int_equal(ki_tune_surely_near(near2, MOST), nearness[i] < 0.5);
        }
}

/* Many are a cluster, unless they are the same but for noise; without an end, all are near. */
static void test_many(void **state) {
    (void)state;
    float near2[MOST];
    assert_int_equal(ki_tune_near(near2, neighbours(near2, 100, 0.1, 20)), 0);
    assert_int_equal(ki_tune_near(near2, neighbours(near2, 100, 1e-3, 20)), 100);
    assert_int_equal(ki_tune_near(near2, neighbours(near2, 100, 0, 20)), 100);
    assert_int_equal(ki_tune_near(near2, neighbours(near2, MOST, 0, 20)), MOST);
    assert_int_equal(ki_tune_near(near2, 0), 0);
    assert_false(ki_tune_surely_near(near2, 0));
    assert_true(ki_tune_inverse_dimension(near2, 0) == 0);
}

static void test_chance(void **state) {
    (void)state;
    assert_true(ki_tune_near_by_chance(0) == 0);
    assert_true(ki_tune_near_by_chance(1) == 1);
    assert_true(fabs(ki_tune_near_by_chance(0.5) - 1.0 / 3) < 1e-9);
    assert_true(ki_tune_near_by_chance(0.05) < 1e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ordinary), cmocka_unit_test(test_groups),
                                       cmocka_unit_test(test_many), cmocka_unit_test(test_chance)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
