/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of codes and codes of residuals: this tier's kernels against the scalar ones, at every length, with extreme
 * values, at the edge of a page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/guard.h"

#include "base/rng.h"
#include "kernel/residual.h"

#include <string.h>

enum { MOST = 4112, STEP = 16 };

static void fill(ki_rng *rng, int extreme, int8_t *code, size_t count) {
    for (size_t i = 0; i < count; i++)
        code[i] = (int8_t)(extreme ? ki_rng_below(rng, 2) ? 127 : -127 : (int)ki_rng_below(rng, 255) - 127);
}

static void compare(ki_rng *rng, guard rooms[3], size_t count, int extreme) {
    ki_residual_kernels scalar;
    const ki_residual_kernels *here = ki_residual();
    int8_t *x = guard_end(&rooms[0], count), *y = guard_end(&rooms[1], count);
    uint16_t expected[MOST / STEP], *got = guard_end(&rooms[2], count / STEP * sizeof(*got));
    static uint8_t level[MOST], other[MOST];
    ki_residual_fill(0, &scalar);
    fill(rng, extreme, x, count);
    fill(rng, extreme, y, count);
    assert_int_equal(here->dot(x, y, count), scalar.dot(x, y, count));
    const int16_t w_x = (int16_t)ki_rng_below(rng, 257), w_y = (int16_t)ki_rng_below(rng, 257);
    ki_residual_sums a = scalar.signs(x, y, w_x, w_y, count, expected), b = here->signs(x, y, w_x, w_y, count, got);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_equal(expected, got, count / STEP * sizeof(*got));
    for (unsigned bits = 2; bits <= 4; bits++) {
        const float a_x = (float)ki_rng_unit(rng) / 8, a_y = extreme ? 1e30F : (float)ki_rng_unit(rng) / 8;
        a = scalar.levels(x, y, a_x, a_y, bits, count, level);
        b = here->levels(x, y, a_x, a_y, bits, count, other);
        assert_memory_equal(&a, &b, sizeof(a));
        assert_memory_equal(level, other, count);
        for (unsigned plane = 0; plane < bits; plane++) {
            scalar.plane(level, plane, count, expected);
            here->plane(level, plane, count, got);
            assert_memory_equal(expected, got, count / STEP * sizeof(*got));
        }
    }
}

static void test_tiers_agree(void **state) {
    (void)state;
    guard rooms[3];
    ki_rng rng = {11};
    for (int i = 0; i < 3; i++) guard_make(&rooms[i], MOST);
    for (size_t count = STEP; count <= 400; count += STEP)
        for (int extreme = 0; extreme < 2; extreme++) compare(&rng, rooms, count, extreme);
    compare(&rng, rooms, MOST, 0);
    compare(&rng, rooms, MOST, 1);
    for (int i = 0; i < 3; i++) guard_free(&rooms[i]);
}

/* By the words of the contract. */
static void test_what_they_are(void **state) {
    (void)state;
    int8_t x[STEP], y[STEP];
    uint16_t bits;
    uint8_t level[STEP];
    for (int i = 0; i < STEP; i++) {
        x[i] = (int8_t)(i - 8);
        y[i] = 2;
    }
    const ki_residual_sums signs = ki_residual()->signs(x, y, 1, 1, STEP, &bits);
    assert_int_equal(bits, 0x07ff); /* up to x = 2 */
    assert_int_equal(signs.yu, 2 * (11 - 5));
    assert_int_equal(signs.xu, (-8 - 7 - 6 - 5 - 4 - 3 - 2 - 1 + 1 + 2) - (3 + 4 + 5 + 6 + 7));
    assert_int_equal(signs.xy, 2 * -8);
    assert_int_equal(ki_residual()->dot(x, y, STEP), 2 * -8);
    ki_residual()->levels(x, y, 0.5F, 0.5F, 2, STEP, level); /* 1 - x/2 + 2, cut to 0..3 */
    for (int i = 0; i < STEP; i++) {
        const int at = (6 - x[i]) >= 6 ? 3 : (6 - x[i]) < 0 ? 0 : (6 - x[i]) / 2;
        assert_int_equal(level[i], at);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers_agree),
        cmocka_unit_test(test_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
