/* SPDX-License-Identifier: Apache-2.0
 *
 * project, centre and quantise at every feature mask that this machine can run against double, within the bounds that
 * kernel/project.h states, for all dimensions 1..200 and some large; every operand ends at a forbidden page. Guards
 * against: a tail left out or read past, a row block of the wide kernels mixed up, codes off by one, sums that
 * overflow. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/project.h"
#include "support/guard.h"

enum { MASKS_MAX = 4, DIM_MAX = 65536, ROWS_MAX = 14, COLUMNS_MAX = 2 * KI_PROJECT_COLUMNS, BASIS_DIM_MAX = 1000 };

static struct mask {
    const char *name;
    uint32_t features;
    ki_project_kernels table;
} masks[MASKS_MAX];
static size_t mask_count;

static guard first_room, second_room, out_room;

static int set_up(void **state) {
    static const char *const settings[MASKS_MAX] = {"", "avx512", "avx2", "scalar"};
    (void)state;
    for (size_t i = 0; i < MASKS_MAX; i++) {
        struct mask *m = &masks[mask_count];
        m->name = settings[i];
        assert_true(ki_cpu_lower(ki_cpu_features_found(), settings[i], &m->features));
        ki_project_fill(m->features, &m->table);
        mask_count += mask_count == 0 || m->features != masks[mask_count - 1].features;
    }
    guard_make(&first_room, DIM_MAX * sizeof(float));
    guard_make(&second_room, (size_t)BASIS_DIM_MAX * COLUMNS_MAX * sizeof(float));
    guard_make(&out_room, DIM_MAX * sizeof(float));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    guard_free(&first_room);
    guard_free(&second_room);
    guard_free(&out_room);
    return 0;
}

static float *floats_at_end(const guard *room, size_t count, ki_rng *rng) {
    float *x = guard_end(room, count * sizeof(*x));
    for (size_t i = 0; i < count; i++) x[i] = (float)ki_rng_normal(rng);
    return x;
}

/* 1..200, then some large ones. */
static size_t next_dim(size_t dim, size_t most) {
    static const size_t large[] = {255, 256, 257, 384, 999, 1000, 4096, 65535, 65536};
    if (dim < 200) return dim + 1;
    for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++)
        if (large[i] > dim) return large[i] <= most ? large[i] : 0;
    return 0;
}

/* ---- project ----------------------------------------------------------------------------------------------------- */

static void check_project(const struct mask *m, size_t count, size_t dim, size_t columns, ki_rng *rng) {
    const float *rows = floats_at_end(&first_room, count * dim, rng);
    const float *basis = floats_at_end(&second_room, dim * columns, rng);
    float *out = guard_end(&out_room, count * columns * sizeof(*out));
    m->table.project(rows, count, dim, basis, columns, out);
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < columns; c++) {
            double sum = 0, magnitude = 0;
            for (size_t j = 0; j < dim; j++) {
                const double term = (double)rows[i * dim + j] * (double)basis[j * columns + c];
                sum += term;
                magnitude += fabs(term);
            }
            const double bound = (KI_PROJECT_RUN + (double)dim / KI_PROJECT_RUN + 1) * 0x1p-24 * magnitude;
            if (fabs((double)out[i * columns + c] - sum) > bound)
                fail_msg("\"%s\": %zu rows, dim %zu, %zu columns: row %zu, column %zu is %g, should be %g", m->name,
                         count, dim, columns, i, c, (double)out[i * columns + c], sum);
        }
}

static void test_project(void **state) {
    ki_rng rng = {1};
    (void)state;
    for (const struct mask *m = masks; m < masks + mask_count; m++) {
        for (size_t dim = 1; dim; dim = next_dim(dim, BASIS_DIM_MAX))
            check_project(m, 1 + dim % 3, dim, KI_PROJECT_COLUMNS, &rng);
        for (size_t count = 1; count <= ROWS_MAX; count++) {
            check_project(m, count, 130, COLUMNS_MAX, &rng);
            check_project(m, count, 17, KI_PROJECT_COLUMNS, &rng);
        }
    }
}

/* ---- centre ------------------------------------------------------------------------------------------------------ */

static void check_centre(const struct mask *m, size_t dim, float scale, ki_rng *rng) {
    const float *x = floats_at_end(&first_room, dim, rng), *centre = floats_at_end(&second_room, dim, rng);
    float *out = guard_end(&out_room, dim * sizeof(*out)), largest = -1, norm2 = -1;
    double square = 0, top = 0;
    m->table.centre(x, scale, centre, dim, out, &largest, &norm2);
    for (size_t j = 0; j < dim; j++) {
        const double product = (double)x[j] * (double)scale, exact = product - (double)centre[j];
        /* The product is rounded, and the difference, or with fma the difference only. */
        assert_true(fabs((double)out[j] - exact) <= 0x1p-24 * (fabs(product) + fabs(exact)) * (1 + 0x1p-20));
        square += (double)out[j] * (double)out[j];
        top = fmax(top, fabs((double)out[j]));
    }
    assert_true((double)largest == top);
    assert_true(fabs((double)norm2 - square) <= ((double)dim / 16 + 6) * 0x1p-24 * square);
}

static void test_centre(void **state) {
    ki_rng rng = {2};
    (void)state;
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (size_t dim = 1; dim; dim = next_dim(dim, DIM_MAX))
            for (int i = 0; i < 3; i++) check_centre(m, dim, i == 0 ? 1 : (float)ki_rng_normal(&rng), &rng);
}

/* The largest magnitude at each place, of both signs; zeros alone. */
static void test_largest(void **state) {
    enum { DIM = 67 };
    static const float zeros[DIM];
    (void)state;
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (size_t at = 0; at <= DIM; at++) {
            float x[DIM], out[DIM], largest, norm2;
            for (size_t j = 0; j < DIM; j++) x[j] = j % 2 ? 0.5f : -0.25f;
            if (at < DIM)
                x[at] = at % 3 ? -3 : 3;
            else
                memset(x, 0, sizeof(x));
            m->table.centre(x, 1, zeros, DIM, out, &largest, &norm2);
            assert_true(largest == (at < DIM ? 3 : 0));
            assert_memory_equal(out, x, sizeof(x));
        }
}

/* ---- quantise ---------------------------------------------------------------------------------------------------- */

static void check_quantise(const struct mask *m, size_t dim, float step, ki_rng *rng) {
    float *r = floats_at_end(&first_room, dim, rng);
    int8_t *code = guard_end(&out_room, dim);
    int32_t sum = -1, expected_sum = 0;
    int64_t square = -1, expected_square = 0;
    double error = 0, room = 0;
    for (size_t j = 0; j < dim; j++) r[j] = (float)((2 * ki_rng_unit(rng) - 1) * 127.4 * (double)step);
    r[dim / 2] = 127 * step;
    const float got = m->table.quantise(r, 1 / step, step, dim, code, &sum, &square);
    for (size_t j = 0; j < dim; j++) {
        const double e = (double)r[j] - (double)step * code[j], rounding = 0x1p-23 * fabs((double)r[j]);
        /* Half a step, and the rounding of r * inverse, which is at most 127.4. */
        if (fabs((double)r[j] / (double)step - code[j]) > 0.5 + 128 * 0x1p-22)
            fail_msg("\"%s\": dim %zu, %g steps got code %d", m->name, dim, (double)(r[j] / step), code[j]);
        expected_sum += code[j];
        expected_square += code[j] * code[j];
        error += e * e;
        room += 2 * fabs(e) * rounding + rounding * rounding;
    }
    assert_int_equal(code[dim / 2], 127);
    assert_int_equal(sum, expected_sum);
    assert_int_equal(square, expected_square);
    assert_true(fabs((double)got - error) <= ((double)dim / 16 + 6) * 0x1p-24 * error + room);
}

static void test_quantise(void **state) {
    ki_rng rng = {3};
    (void)state;
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (size_t dim = 1; dim; dim = next_dim(dim, DIM_MAX))
            for (int exponent = -30; exponent <= 30; exponent += 20)
                check_quantise(m, dim, ldexpf(1 + (float)ki_rng_unit(&rng), exponent), &rng);
}

/* Whole steps have no error, at any dimension; the sums are the largest that can be. */
static void test_quantise_whole(void **state) {
    (void)state;
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (int value = -127; value <= 127; value += 127) {
            float *r = guard_end(&first_room, DIM_MAX * sizeof(*r));
            int8_t *code = guard_end(&out_room, DIM_MAX);
            int32_t sum;
            int64_t square;
            for (size_t j = 0; j < DIM_MAX; j++) r[j] = (float)value / 4;
            assert_true(m->table.quantise(r, 4, 0.25f, DIM_MAX, code, &sum, &square) == 0);
            for (size_t j = 0; j < DIM_MAX; j++) assert_int_equal(code[j], value);
            assert_int_equal(sum, value * DIM_MAX);
            assert_int_equal(square, (int64_t)value * value * DIM_MAX);
        }
}

static void test_table_of_process(void **state) {
    ki_project_kernels table;
    (void)state;
    ki_project_fill(ki_cpu_features(), &table);
    assert_ptr_equal(ki_projector(), ki_projector());
    assert_ptr_equal(ki_projector()->project, table.project);
    assert_ptr_equal(ki_projector()->centre, table.centre);
    assert_ptr_equal(ki_projector()->quantise, table.quantise);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_project),  cmocka_unit_test(test_centre),         cmocka_unit_test(test_largest),
        cmocka_unit_test(test_quantise), cmocka_unit_test(test_quantise_whole), cmocka_unit_test(test_table_of_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
