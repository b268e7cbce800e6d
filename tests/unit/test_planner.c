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
                         .exact = KITH_PLAN_SCAN,
                         .plans = KI_PLAN_BIT(KITH_PLAN_IVF) | KI_PLAN_BIT(KITH_PLAN_GRAPH)};
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

/* The lists that settings of 1 - missed/n say for a recall, interpolated between powers of two. */
static int lists_for(double missed, double recall) {
    double low = 1;
    while (1 - missed / (2 * low) < recall) low *= 2;
    if (1 - missed / low >= recall) return (int)low;
    return (int)(low + ceil((recall - 1 + missed / low) / (missed / low / 2) * low - 1e-9));
}

static void test_cheapest(void **state) {
    (void)state;
    /* k = 10: 1 - 1/n; a margin of three quarters of a standard error. */
    ki_answer answer = plan(ask(10, 1, 0.9));
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, 12);
    assert_int_equal(answer.chosen.nprobe, lists_for(1, 0.90075));
    assert_int_equal(answer.chosen.rerank, 20);
    assert_int_equal(answer.careful_nprobe, 48);
    assert_true(answer.careful_below == -7);
    assert_true(answer.considered_count >= 3);                  /* the exact plan, and the one that misses */
    assert_int_equal(plan(ask(10, 1, 0.875)).chosen.nprobe, 9); /* 0.875 of 8 lists is no proof */
    assert_int_equal(plan(ask(10, 1, 0.8742)).chosen.nprobe, 8);
    /* Never more than half of what the target leaves. */
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 0.5;
    assert_int_equal(plan(ask(10, 1, 0.9)).chosen.nprobe, 32); /* and nothing between */
}

/* A target is met, not overshot: some queries probe a list more than others. */
static void test_between(void **state) {
    (void)state;
    for (double target = 0.8; target < 0.995; target += 0.013) {
        const ki_answer answer = plan(ask(10, 1, target));
        const double margin = fmin(0.00075, (1 - target) / 2);
        assert_int_equal(answer.chosen.nprobe, lists_for(1, target + margin));
        assert_in_range(1e9 * answer.chosen.fewer, 0, 1e9);
        assert_true(fabs(answer.chosen.recall - target - margin) < 1e-9);
        assert_true(fabs(answer.chosen.query_ns - 1000 * ((double)answer.chosen.nprobe - answer.chosen.fewer)) < 1e-6);
    }
}

/* Between measured k what is lost for want of candidates weighs more: a setting that loses little is taken instead. */
static void test_lost(void **state) {
    (void)state;
    for (size_t i = 0; i < calibration.count; i++)
        if (settings[i].k == 100 && settings[i].plan == KITH_PLAN_IVF) settings[i].lost = 0.04;
    assert_int_equal(plan(ask(100, 1, 0.9)).chosen.nprobe, lists_for(1.5, 0.90075));
    const ki_answer answer = plan(ask(50, 1, 0.9));
    const double lost = 0.04 * 1.5 * (sqrt(2.0) - 1);
    assert_int_equal(answer.chosen.nprobe, lists_for(1.5, 0.90075 + lost));
    assert_in_range(1e6 * (answer.chosen.recall - 0.9), 0, 5000);
    assert_int_equal(answer.chosen.rerank, 50 + 71);
}

static void test_k(void **state) {
    (void)state;
    assert_int_equal(plan(ask(1, 1, 0.9)).chosen.nprobe, lists_for(0.5, 0.90075));
    for (size_t k = 2; k <= 10; k++) assert_int_equal(plan(ask(k, 1, 0.9)).chosen.nprobe, 12);
    for (size_t k = 11; k <= 100; k += 13) {
        const ki_answer answer = plan(ask(k, 1, 0.9));
        assert_int_equal(answer.chosen.nprobe, k == 11 ? 12 : lists_for(1.5, 0.90075));
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
    const double alone = plan(ask(10, 1, 0.9)).chosen.query_ns;
    assert_in_range(alone, 11000, 12000);
    assert_true(fabs(plan(ask(10, 256, 0.9)).chosen.query_ns - alone / 10) < 1e-6);
    assert_true(fabs(plan(ask(10, 100000, 0.9)).chosen.query_ns - alone / 10) < 1e-6);
    assert_true(fabs(plan(ask(10, 16, 0.9)).chosen.query_ns - (alone + alone / 10) / 2) < 1e-6);
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
    const int among_hundred = lists_for(1.5, 0.9375);
    (void)state;
    ki_question question = ask(10, 1, 0.95);
    assert_int_equal(plan(question).chosen.nprobe, lists_for(1, 0.95075));
    question.target = 0.9375;
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 0;
    assert_int_equal(plan(question).chosen.nprobe, 16);
    assert_int_equal(plan(ask(100, 1, 0.9375)).chosen.nprobe, among_hundred);
    question.allowed = ROWS / 10;
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, among_hundred);
    assert_int_equal(answer.least_nprobe, 16);
    assert_true(answer.presumed == 0.1);
    assert_in_range(answer.chosen.query_ns, 1000 * (among_hundred - 1), 1000 * among_hundred);
    assert_in_range(answer.chosen.rerank, 20, 30); /* of the 200 for a hundred a tenth, and what chance adds */
    question.allowed = ROWS / 2;                   /* between: as the power of the rank that was measured */
    answer = plan(question);
    assert_int_equal(answer.chosen.nprobe, (int)ceil(16 * pow(2, log10(2))));
    question.allowed = ROWS / 200; /* beyond: twenty times the largest k, halfway to proportion */
    answer = plan(question);
    assert_int_equal(answer.chosen.nprobe, (int)ceil(among_hundred * pow(20, (1 + log10(2)) / 2)));
    question.allowed = ROWS / 1000; /* more than half of the lists */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
    question.exact = KITH_PLAN_GATHER; /* so few are scored at once */
    question.allowed = 100;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GATHER);
    question.allowed = 0;
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GATHER);
}

/* Settings that were measured with the filter are taken as they are. */
static void test_studied(void **state) {
    (void)state;
    ki_question question = ask(10, 1, 0.9375);
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 0;
    question.allowed = ROWS / 100;
    question.studied = 1;
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, 16);
    assert_int_equal(answer.least_nprobe, 16);
    assert_true(answer.presumed == 0.01);
    question.unguarded = 1;
    assert_true(plan(question).presumed == 0);
    /* Few queries: a margin of one and a half errors, up to nine tenths of what the target leaves. */
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 0.02;
    assert_int_equal(plan(question).chosen.nprobe, lists_for(1, 0.9675));
    for (size_t i = 0; i < calibration.count; i++) settings[i].recall_error = 1;
    assert_int_equal(plan(question).chosen.nprobe, lists_for(1, 0.9375 + 0.9 * 0.0625));
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

/* A graph whose walks find 1 - misses/effort of 10 neighbours for 100 ns an effort and k, in batches for 80, and of 100
 * as much by a third of the effort for twice the cost. */
static void add_graph(void) {
    for (size_t k = 1; k <= 100; k *= 10)
        for (size_t batch = 1; batch <= 256; batch += 255)
            for (size_t effort = 25; effort <= 400; effort *= 2) {
                const double cost = (batch == 1 ? 100 : 80) * (double)effort * (k == 100 ? 2 : 1);
                add(KITH_PLAN_GRAPH, KITH_SCAN_AUTO, k, batch, k == 100 ? effort / 3 : effort, 0,
                    1 - 5.0 / (double)effort, 0, cost);
            }
    qsort(settings, calibration.count, sizeof(*settings), ki_tuned_compare);
}

static void test_graph(void **state) {
    (void)state;
    add_graph();
    ki_answer answer = plan(ask(10, 1, 0.9)); /* 0.9 at an effort of 50, 5,000 ns; lists cost 12,000 */
    assert_int_equal(answer.chosen.plan, KITH_PLAN_GRAPH);
    assert_int_equal(answer.chosen.nprobe, 50);
    assert_int_equal(answer.chosen.rerank, 0);
    assert_int_equal(answer.careful_nprobe, 0);
    assert_true(answer.presumed == 0);
    assert_int_equal(plan(ask(10, 1, 0.925)).chosen.nprobe, 75); /* halfway */
    assert_true(fabs(plan(ask(10, 1, 0.925)).chosen.query_ns - 7500) < 1e-6);
    assert_int_equal(plan(ask(10, 256, 0.9)).chosen.plan, KITH_PLAN_IVF); /* 1,200 ns against 4,000 */
    answer = plan(ask(30, 1, 0.9));                                       /* between: powers of k */
    assert_int_equal(answer.chosen.plan, KITH_PLAN_GRAPH);
    assert_int_equal(answer.chosen.nprobe, (int)ceil(50 * pow(16 / 50.0, log10(3))));
    assert_true(fabs(answer.chosen.query_ns - 5000 * pow(2, log10(3))) < 1e-6);
    assert_int_equal(plan(ask(10, 1, 0.99)).chosen.plan, KITH_PLAN_IVF); /* no walk was measured to find so much */
    ki_question question = ask(10, 1, 0.99);
    question.must = KITH_PLAN_GRAPH;
    question.plans = KI_PLAN_BIT(KITH_PLAN_GRAPH);
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GRAPH);
    assert_int_equal(plan(question).chosen.nprobe, 400);
    question = ask(1000, 1, 0.9); /* beyond what was measured only a caller who insists gets it */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_SCAN);
    question.must = KITH_PLAN_GRAPH;
    question.plans = KI_PLAN_BIT(KITH_PLAN_GRAPH);
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GRAPH);
    question = ask(10, 1, 0.9); /* an index without one, whatever the calibration says */
    question.plans = KI_PLAN_BIT(KITH_PLAN_IVF);
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_IVF);
    question = ask(10, 1, 0.9);
    question.code = KITH_SCAN_INT8; /* graphs have no such */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_IVF);
}

/* A walk among a tenth of the vectors is one for ten times the neighbours. Where it would be in vain for queries of
 * other places, it costs twice what scoring that tenth does. */
static void test_graph_filtered(void **state) {
    (void)state;
    add_graph();
    ki_question question = ask(10, 1, 0.9);
    question.dim = 100;
    question.exact = KITH_PLAN_GATHER; /* 40 ns a vector */
    question.allowed = ROWS / 10;
    question.touched = 1 - pow(0.9, 16);
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_GRAPH);
    assert_int_equal(answer.chosen.nprobe, 16);
    assert_true(fabs(answer.chosen.query_ns - 10000) < 1e-6);
    question.allowed = ROWS / 1000; /* so few are scored */
    assert_int_equal(plan(question).chosen.plan, KITH_PLAN_GATHER);
    question.allowed = ROWS / 10; /* of queries in another place walks would be in vain */
    question.touched = 0.1;
    answer = plan(question);
    assert_true(answer.chosen.query_ns > 100000);
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
    question.must = KITH_PLAN_IVF;
    ki_answer answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, 512);
    question = ask(1000, 1, 0.9);
    question.must = KITH_PLAN_IVF;
    answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_true(answer.chosen.rerank >= 1000);
    question = ask(10, 1, 0.9);
    question.must = KITH_PLAN_IVF;
    question.allowed = 1;
    answer = plan(question);
    assert_int_equal(answer.chosen.plan, KITH_PLAN_IVF);
    assert_int_equal(answer.chosen.nprobe, LISTS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_cheapest, make),
                                       cmocka_unit_test_setup(test_between, make),
                                       cmocka_unit_test_setup(test_k, make),
                                       cmocka_unit_test_setup(test_lost, make),
                                       cmocka_unit_test_setup(test_batch, make),
                                       cmocka_unit_test_setup(test_code, make),
                                       cmocka_unit_test_setup(test_filter, make),
                                       cmocka_unit_test_setup(test_studied, make),
                                       cmocka_unit_test_setup(test_filter_in_few_blocks, make),
                                       cmocka_unit_test_setup(test_filter_rows, make),
                                       cmocka_unit_test_setup(test_graph, make),
                                       cmocka_unit_test_setup(test_graph_filtered, make),
                                       cmocka_unit_test_setup(test_exact, make),
                                       cmocka_unit_test_setup(test_must_be_ivf, make)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
