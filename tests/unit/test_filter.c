/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters made of filters: everything but what another one lets through. Filters of ids are
 * tests/property/test_search.c's and tests/unit/test_search.c's. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/subject.h"

/* Put the filter of everything but s->filter in its place. */
static void invert(struct subject *s) {
    kith_filter *rest = NULL;
    size_t right = 0;
    assert_int_equal(kith_filter_create_except(NULL, s->filter, &rest, &error), KITH_OK);
    for (size_t i = 0; i < s->set.rows; i++) {
        s->allowed[i] = !s->allowed[i];
        right += s->allowed[i] != 0;
    }
    assert_int_equal(kith_filter_count(rest), right);
    kith_filter_destroy(s->filter); /* the new one does not need it */
    s->filter = rest;
}

/* Rows around the edges of words, and answers of every plan among what is left. */
static void test_everything_but(void **state) {
    (void)state;
    static const size_t rows[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};
    static const size_t every[] = {0, 1, 2, 20};
    for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
        struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, rows[r], 24, 4, r);
        for (size_t e = 0; e < sizeof(every) / sizeof(*every); e++) {
            set_filter(&s, every[e]);
            invert(&s);
            check_plans(&s, (struct request){.batch = 4, .k = 10, .filtered = 1});
            invert(&s);
            check_plans(&s, (struct request){.batch = 4, .k = 10, .filtered = 1});
        }
        subject_free(&s);
    }
}

static void test_some_but(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 300, 16, 4, 5);
    uint64_t ids[300];
    kith_filter *allow = NULL, *both = NULL;
    for (size_t i = 0; i < 300; i++) ids[i] = data_id(&s.set, i);
    assert_int_equal(kith_filter_create(s.index, ids, 100, NULL, &allow, &error), KITH_OK);
    kith_filter_destroy(s.filter);
    assert_int_equal(kith_filter_create(s.index, ids + 60, 200, NULL, &s.filter, &error), KITH_OK);
    assert_int_equal(kith_filter_create_except(allow, s.filter, &both, &error), KITH_OK);
    assert_int_equal(kith_filter_count(both), 60);
    kith_filter_destroy(s.filter);
    kith_filter_destroy(allow);
    s.filter = both;
    s.allowed = take(300, 1);
    memset(s.allowed, 1, 60);
    check_plans(&s, (struct request){.batch = 4, .k = 70, .filtered = 1});
    subject_free(&s);
}

static void test_refusals(void **state) {
    (void)state;
    struct subject a = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 50, 8, 2, 1);
    struct subject b = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 50, 8, 2, 2);
    kith_filter *made = NULL;
    set_filter(&a, 2);
    set_filter(&b, 2);
    assert_int_equal(kith_filter_create_except(a.filter, b.filter, &made, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "different indexes"));
    assert_int_equal(kith_filter_create_except(NULL, NULL, &made, &error), KITH_E_ARG);
    assert_int_equal(kith_filter_create_except(NULL, a.filter, NULL, &error), KITH_E_ARG);
    assert_null(made);
    subject_free(&b);
    subject_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_but),
        cmocka_unit_test(test_some_but),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
