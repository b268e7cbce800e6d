/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner on made-up frontiers: what it picks, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "search/planner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS = 1000, ROWS = 100000, ROOM = 400 };

static kith_tuned settings[ROOM];
static ki_calibration calibration;

static void add(kith_plan plan, kith_scan_code code, size_t k, size_t batch, size_t nprobe, size_t rerank,
                double recall, double recall_error, double query_ns) {
    assert_true(calibration.count < ROOM);
    settings[calibration.count++] =
        (kith_tuned){plan, code, k, batch, nprobe, rerank, recall, recall_error, 0, query_ns};
}

/* For k of 1, 10 and 100 and batches of 1 and 256: recall rises with the lists and falls with k, a list costs 1 us
 * alone and a tenth of it in a batch; codes int8, and with `second` a faster one that recalls less. */
static int make(void **state) {
    static const size_t ks[] = {1, 10, 100}, batches[] = {1, 256};
    (void)state;
    calibration = (ki_calibration){.settings = settings, .unusual_below = -7, .median = -1};
    for (size_t i = 0; i < 3; i++)
        for (size_t b = 0; b < 2; b++) {
            const double share = b ? 0.1 : 1;
            add(KITH_PLAN_SCAN, KITH_SCAN_AUTO, ks[i], batches[b], 0, 0, 1, 0, 2e6 * share);
            for (size_t n = 1; n <= 512; n *= 2)
                add(KITH_PLAN_IVF, KITH_SCAN_INT8, ks[i], batches[b], n, 2 * ks[i],
                    1 - 0.5 / (double)n * (1 + log10((double)ks[i])), 0.001, (double)n * 1000 * share);
        }
    qsort(settings, calibration.count, sizeof(*settings), ki_tuned_compare);
    return 0;
}

static ki_question ask(size_t k, size_t count, double target) {
    return (ki_question){.calibration = &calibration,
                         .k = k,
                         .count = count,
                         .lists = LISTS,
                         .rows = ROWS,
                         .allowed = ROWS,
                         .touched = 1,
                         .target = target,
                         .exact = KITH_PLAN_SCAN};
}

static ki_answer plan(ki_question question) {
    ki_answer answer;
    ki_plan(&question, &answer);
    assert_in_range(answer.considered_count, 1, KI_CONSIDERED_MAX);
    assert_int_equal(answer.considered[0].plan, answer.chosen.plan);
    assert_int_equal(answer.considered[0].nprobe, answer.chosen.nprobe);
    assert_int_equal(strncmp(answer.considered[0].why, "chosen", 6), 0);
    for (size_t i = 1; i < answer.considered_count; i++)
        assert_int_not_equal(strncmp(answer.considered[i].why, "chosen", 6), 0);
    return answer;
}

static void test_cheapest(void **state) {
    (void)state;
    /* k = 10: 1 - 1/n; a margin of 1.5 standard errors, 0.0015. */
    ki_answer answer = plan(ask(10, 1, 0.9));
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, 16);
    assert_int_equal(answer.chosen.rerank, 20);
    assert_int_equal(answer.careful_nprobe, 64);
    assert_true(answer.careful_below == -7);
    assert_true(answer.considered_count >= 3);                   /* the exact plan, and the one that misses */
    assert_int_equal(plan(ask(10, 1, 0.874)).chosen.nprobe, 16); /* 0.875 of 8 lists is no proof */
    assert_int_equal(plan(ask(10, 1, 0.873)).chosen.nprobe, 8);
    /* Never more than half of what the target leaves: else 0.96875 of 32 lists would not do. */
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 0.05;
    assert_int_equal(plan(ask(10, 1, 0.9)).chosen.nprobe, 32);
}

/* Between measured k what is lost for want of candidates weighs more: a setting that loses little is taken instead. */
static void test_lost(void **state) {
    (void)state;
    for (size_t i = 0; i < calibration.count; i++)
        if (settings[i].k == 100 && settings[i].plan == KITH_PLAN_IVF) settings[i].lost = 0.04;
    assert_int_equal(plan(ask(100, 1, 0.9)).chosen.nprobe, 16);
    const ki_answer answer = plan(ask(50, 1, 0.9)); /* 1 - 1.5 / n - 0.04 * 1.5 * 0.414 - 0.0015 */
    assert_int_equal(answer.chosen.nprobe, 32);
    assert_true(fabs(answer.chosen.recall - (1 - 1.5 / 32 - 0.04 * 1.5 * (sqrt(2.0) - 1))) < 1e-9);
    assert_int_equal(answer.chosen.rerank, 50 + 71);
}

static void test_k(void **state) {
    (void)state;
    assert_int_equal(plan(ask(1, 1, 0.9)).chosen.nprobe, 8);
    for (size_t k = 2; k <= 10; k++) assert_int_equal(plan(ask(k, 1, 0.9)).chosen.nprobe, 16);
    for (size_t k = 11; k <= 100; k += 13) {
        const ki_answer answer = plan(ask(k, 1, 0.9));
        assert_int_equal(answer.chosen.nprobe, 16);
        assert_in_range(answer.chosen.rerank, 2 * k, 200);
    }
    assert_int_equal(plan(ask(11, 1, 0.9)).chosen.rerank, 22); /* a tenth more than 10: its candidates in proportion */
    assert_int_equal(plan(ask(12, 1, 0.9)).chosen.rerank, 12 + 35);
    assert_int_equal(plan(ask(110, 1, 0.9)).chosen.rerank, 220);
    const ki_answer larger = plan(ask(111, 1, 0.9));
    assert_int_equal(larger.chosen.plan, KITH_PLAN_SCAN);
}

static void test_batch(void **state) {
    (void)state;
    assert_true(plan(ask(10, 1, 0.9)).chosen.query_ns == 16000);
    assert_true(plan(ask(10, 256, 0.9)).chosen.query_ns == 1600);
    assert_true(plan(ask(10, 100000, 0.9)).chosen.query_ns == 1600);
    assert_true(fabs(plan(ask(10, 16, 0.9)).chosen.query_ns - (16000 + 1600) / 2.0) < 1e-6);
}

static void test_code(void **state) {
    (void)state;
    add(KITH_PLAN_IVF, KITH_SCAN_SECOND, 10, 1, 16, 40, 0.95, 0.001, 9000);
    add(KITH_PLAN_IVF, KITH_SCAN_SECOND, 10, 256, 16, 40, 0.95, 0.001, 2900);
    qsort(settings, calibration.count, sizeof(*settings), ki_tuned_compare);
    assert_int_equal(plan(ask(10, 1, 0.9)).chosen.code, KITH_SCAN_SECOND);
    assert_int_equal(plan(ask(10, 256, 0.9)).chosen.code, KITH_SCAN_INT8);
    ki_question question = ask(10, 1, 0.9);
    question.code = KITH_SCAN_INT8;
    assert_int_equal(plan(question).chosen.code, KITH_SCAN_INT8);
    question.code = KITH_SCAN_LEVELS; /* was not measured */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
}

/* The lists of the k nearest of a share f are those of the k/f nearest of all. */
static void test_filter(void **state) {
    (void)state;
    ki_question question = ask(10, 1, 0.95); /* 16 lists for 10, 32 for 100 */
    assert_int_equal(plan(question).chosen.nprobe, 32);
    question.target = 0.9375;
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 0;
    assert_int_equal(plan(question).chosen.nprobe, 16);
    assert_int_equal(plan(ask(100, 1, 0.9375)).chosen.nprobe, 32);
    question.allowed = ROWS / 10;
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, 32);
    assert_int_equal(answer.least_nprobe, 16);
    assert_true(answer.presumed == 0.1);
    assert_true(answer.chosen.query_ns == 32000);
    assert_in_range(answer.chosen.rerank, 20, 30); /* of the 200 for a hundred a tenth, and what chance adds */
    question.allowed = ROWS / 2;                   /* between: as the power of the rank that was measured */
    answer = plan(question);
    assert_int_equal(answer.chosen.nprobe, (int)ceil(16 * pow(2, log10(2))));
    question.allowed = ROWS / 200; /* beyond: twenty times the largest k, halfway to proportion */
    answer = plan(question);
    assert_int_equal(answer.chosen.nprobe, (int)ceil(32 * pow(20, (1 + log10(2)) / 2)));
    question.allowed = ROWS / 1000; /* more than half of the lists */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
    question.exact = KITH_PLAN_GATHER; /* so few are scored at once */
    question.allowed = 100;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GATHER);
    question.allowed = 0;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GATHER);
}

/* An exact scan that a filter leaves few blocks of is cheaper than lists that are scanned whole. */
static void test_filter_in_few_blocks(void **state) {
    (void)state;
    ki_question question = ask(10, 1, 0.9375);
    for (size_t i = 0; i < calibration.count; i++) settings[i].query_ns *= 10;
    question.allowed = ROWS / 10;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_IVF);
    question.touched = 0.01;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
}

/* The vectors themselves are scanned where that costs less than codes: for few of them, not for half. What candidates
 * lose is not lost to them. */
static void test_filter_rows(void **state) {
    (void)state;
    ki_question question = ask(10, 1, 0.9375);
    question.row_bytes = 1536;
    question.scan_bytes = 208;
    question.second_lists = KITH_SCAN_INT8;
    for (size_t i = 0; i < calibration.count; i++) {
        settings[i].recall_error = 0;
        settings[i].query_ns *= 10;
        if (settings[i].plan == KITH_PLAN_SCAN) settings[i].query_ns = 1e6;
    }
    question.allowed = ROWS / 100;
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.code, KITH_SCAN_ROWS);
    assert_int_equal(answer.chosen.rerank, 10);
    question.allowed = ROWS / 2;
    assert_int_equal(plan(question).chosen.code, KITH_SCAN_INT8);
    question.allowed = ROWS / 10;
    for (size_t i = 0; i < calibration.count; i++)
        if (settings[i].k == 100 && settings[i].plan == KITH_PLAN_IVF) {
            settings[i].recall -= 0.05;
            settings[i].lost = 0.05;
        }
    question.code = KITH_SCAN_ROWS;
    assert_int_equal(plan(question).chosen.nprobe, 32);
    question.row_bytes = 0; /* no originals */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
    question.row_bytes = 1536;
    question.second_lists = KITH_SCAN_FIRST; /* of which nothing was measured */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
}

static void test_exact(void **state) {
    (void)state;
    assert_int_equal(plan(ask(10, 1, 0)).chosen.plan, KITH_PLAN_SCAN);
    assert_int_equal(plan(ask(10, 1, 1)).chosen.plan, KITH_PLAN_SCAN);
    assert_int_equal(plan(ask(0, 1, 0.9)).chosen.plan, KITH_PLAN_SCAN);
    assert_int_equal(plan(ask(10, 1, 0.9999)).chosen.plan, KITH_PLAN_SCAN); /* beyond all that was measured */
    ki_question question = ask(10, 1, 0.9);
    const ki_calibration none = {0};
    question.calibration = &none;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
    for (size_t i = 0; i < calibration.count; i++)
        if (settings[i].plan == KITH_PLAN_SCAN) settings[i].query_ns = 500;
    assert_int_equal(plan(ask(10, 1, 0.9)).chosen.plan, KITH_PLAN_SCAN); /* it is cheaper */
}

/* Plan ivf asked for by name: the target decides on the lists, and where it is out of reach the nearest is taken. */
static void test_must_be_ivf(void **state) {
    (void)state;
    ki_question question = ask(10, 1, 0.9999);
    question.must_be_ivf = 1;
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, 512);
    question = ask(1000, 1, 0.9);
    question.must_be_ivf = 1;
    answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_true(answer.chosen.rerank >= 1000);
    question = ask(10, 1, 0.9);
    question.must_be_ivf = 1;
    question.allowed = 1;
    answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, LISTS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_cheapest, make),
                                       cmocka_unit_test_setup(test_k, make),
                                       cmocka_unit_test_setup(test_lost, make),
                                       cmocka_unit_test_setup(test_batch, make),
                                       cmocka_unit_test_setup(test_code, make),
                                       cmocka_unit_test_setup(test_filter, make),
                                       cmocka_unit_test_setup(test_filter_in_few_blocks, make),
                                       cmocka_unit_test_setup(test_filter_rows, make),
                                       cmocka_unit_test_setup(test_exact, make),
                                       cmocka_unit_test_setup(test_must_be_ivf, make)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
