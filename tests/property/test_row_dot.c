/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of rows (kernel/row_dot.h) at every feature mask that this machine can run: exact sums, at every length up
 * to some hundreds and at a long one, extreme values, rows that repeat, and nothing read past the operands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/row_dot.h"
#include "support/guard.h"

enum { ROWS = 4, MOST = 4096 };

static guard row_room[ROWS], query_room;

static int set_up(void **state) {
    (void)state;
    for (int r = 0; r < ROWS; r++) guard_make(&row_room[r], MOST);
    guard_make(&query_room, MOST * sizeof(int16_t));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (int r = 0; r < ROWS; r++) guard_free(&row_room[r]);
    guard_free(&query_room);
    return 0;
}

static void check(const ki_row_dot_kernels *kernels, size_t count, int16_t limit, ki_rng *rng) {
    int8_t *x[ROWS];
    int16_t *q = guard_end(&query_room, count * sizeof(*q));
    int32_t out[ROWS];
    for (size_t i = 0; i < count; i++)
        q[i] = ki_rng_below(rng, 8) ? (int16_t)((int)ki_rng_below(rng, 2 * (uint64_t)limit + 1) - limit) : limit;
    for (int r = 0; r < ROWS; r++) {
        x[r] = guard_end(&row_room[r], count);
        for (size_t i = 0; i < count; i++) x[r][i] = ki_rng_below(rng, 8) ? (int8_t)ki_rng_next(rng) : -127;
    }
    const int8_t *rows[ROWS] = {x[0], x[1], x[2], x[1]};
    kernels->dot4(rows, q, count, out);
    for (int r = 0; r < ROWS; r++) {
        int64_t sum = 0;
        for (size_t i = 0; i < count; i++) sum += rows[r][i] * q[i];
        if (out[r] != sum) fail_msg("%zu elements, row %d: %d, not %lld", count, r, out[r], (long long)sum);
    }
}

static void test_sums(void **state) {
    static const char *const settings[] = {"", "scalar", "avx2", "avx512", "neon"};
    const uint32_t found = ki_cpu_features_found();
    ki_rng rng = {1};
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        uint32_t features;
        ki_row_dot_kernels kernels;
        assert_true(ki_cpu_lower(found, settings[i], &features));
        ki_row_dot_fill(features, &kernels);
        for (size_t count = 0; count <= 512; count += KI_ROW_DOT_STEP) check(&kernels, count, INT16_MAX / 2, &rng);
        check(&kernels, MOST, INT32_MAX / 128 / MOST, &rng);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
