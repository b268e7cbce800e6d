/* SPDX-License-Identifier: Apache-2.0
 *
 * tiers: any
 *
 * How many servers there should be: what must hold for every sample (bounds, monotony), and what comes of loads that
 * stay, burst and swing; then the simulator, whose figures a plain queue's known ones must match. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../server/fleet/simulate.h"

static uint64_t random_state;

static double draw(void) {
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static ks_scale_sample any_sample(double time_s) {
    return (ks_scale_sample){.time_s = time_s,
                             .servers = (unsigned)(draw() * 25),
                             .busy = draw() * 1.1,
                             .p99_ms = draw() * 300,
                             .queue = draw() < 0.5 ? 0 : draw() * 1000};
}

static ks_scale_options any_options(void) {
    ks_scale_options options = ks_scale_defaults();
    options.min = 1 + (unsigned)(draw() * 5);
    options.max = options.min + (unsigned)(draw() * 30);
    options.busy = 0.3 + draw() * 0.6;
    options.p99_ms = draw() < 0.3 ? 0 : 20 + draw() * 200;
    options.queue = draw() < 0.3 ? 0 : 1 + draw() * 20;
    options.steady_s = draw() < 0.2 ? 0 : draw() * 600;
    return options;
}

/* ---- What must hold for every sample ----------------------------------------------------------------------------- */

static void test_within_bounds(void **state) {
    (void)state;
    random_state = 1;
    for (unsigned round = 0; round < 300; round++) {
        const ks_scale_options options = any_options();
        ks_scale scale;
        ks_scale_start(&scale, &options, (unsigned)(draw() * 50));
        for (unsigned i = 0; i < 200; i++) {
            const ks_scale_sample sample = any_sample(15.0 * i);
            const unsigned desired = ks_scale_next(&scale, &sample, NULL);
            assert_in_range(desired, options.min, options.max);
        }
    }
}

/* One look that is worse in one respect asks for no fewer, whatever came before. */
static void test_monotone(void **state) {
    (void)state;
    random_state = 2;
    for (unsigned round = 0; round < 2000; round++) {
        const ks_scale_options options = any_options();
        ks_scale scale;
        ks_scale_start(&scale, &options, options.min + (unsigned)(draw() * (options.max - options.min + 1)));
        const unsigned before = (unsigned)(draw() * 20);
        for (unsigned i = 0; i < before; i++) {
            const ks_scale_sample sample = any_sample(15.0 * i);
            ks_scale_next(&scale, &sample, NULL);
        }
        ks_scale_sample sample = any_sample(15.0 * before), worse = sample;
        if (!sample.servers) continue;
        const double more = draw();
        if (round % 3 == 0) worse.busy += more;
        if (round % 3 == 1) worse.p99_ms += 300 * more;
        if (round % 3 == 2) worse.queue += 1000 * more;
        ks_scale other = scale;
        const unsigned fewer = ks_scale_next(&scale, &sample, NULL), desired = ks_scale_next(&other, &worse, NULL);
        /* What is learned from a p99 counts at the busyness it was seen at: there the next sample is the judge. */
        assert_true(desired >= fewer);
    }
}

static void test_nobody_answers(void **state) {
    (void)state;
    const ks_scale_options options = ks_scale_defaults();
    ks_scale scale;
    ks_scale_reason reason;
    ks_scale_start(&scale, &options, 4);
    const ks_scale_sample sample = {.time_s = 1, .servers = 0, .busy = 0};
    for (unsigned i = 0; i < 100; i++) assert_int_equal(ks_scale_next(&scale, &sample, &reason), 4);
    assert_int_equal(reason, KS_SCALE_NOBODY);
}

/* Who begins to look at ten idle servers does not let them go at once. */
static void test_begins_patiently(void **state) {
    (void)state;
    const ks_scale_options options = ks_scale_defaults();
    ks_scale scale;
    ks_scale_reason reason;
    double time_s = 1e6;
    ks_scale_start(&scale, &options, 10);
    for (; time_s < 1e6 + options.steady_s - 15; time_s += 15) {
        const ks_scale_sample sample = {.time_s = time_s, .servers = 10, .busy = 0.01};
        assert_int_equal(ks_scale_next(&scale, &sample, &reason), 10);
        assert_int_equal(reason, KS_SCALE_PATIENCE);
    }
    for (; time_s < 1e6 + options.steady_s + 30; time_s += 15) {
        const ks_scale_sample sample = {.time_s = time_s, .servers = 10, .busy = 0.01};
        ks_scale_next(&scale, &sample, &reason);
    }
    assert_in_range(scale.desired, 1, 5);
}

/* ---- Loads ------------------------------------------------------------------------------------------------------- */

/* Servers that take 30 s to start, and a load in servers' worth of work. */
struct fleet {
    ks_scale scale;
    double time_s;
    unsigned ready, starting[2];
    unsigned ups, downs, steps;
    double backlog; /* calls that wait */
};

static void start(struct fleet *fleet, const ks_scale_options *options, unsigned count) {
    memset(fleet, 0, sizeof(*fleet));
    ks_scale_start(&fleet->scale, options, count);
    fleet->ready = count;
}

/* An interval of 15 s. p99 grows with busyness, as queues do. */
static void step(struct fleet *fleet, double load) {
    fleet->ready += fleet->starting[0];
    fleet->starting[0] = fleet->starting[1];
    fleet->starting[1] = 0;
    const double wants = load + fleet->backlog / 1000, busy = fmin(1, wants / fleet->ready);
    fleet->backlog = fmin(fmax(0, (wants - fleet->ready) * 1000), 5000);
    const ks_scale_sample sample = {.time_s = fleet->time_s += 15,
                                    .servers = fleet->ready,
                                    .busy = busy,
                                    .p99_ms = fmin(2000, 5 / fmax(1 - busy, 0.001)),
                                    .queue = fleet->backlog};
    const unsigned have = fleet->ready + fleet->starting[0], before = fleet->scale.desired;
    const unsigned desired = ks_scale_next(&fleet->scale, &sample, NULL);
    fleet->ups += desired > before;
    fleet->downs += desired < before;
    fleet->steps++;
    if (desired > have) fleet->starting[1] = desired - have;
    if (desired < fleet->ready) fleet->ready = desired;
    if (desired < have) fleet->starting[0] = fleet->ready < desired ? desired - fleet->ready : 0;
}

/* A load that stays: the figure settles, and is not changed any more. */
static void test_settles(void **state) {
    (void)state;
    ks_scale_options options = ks_scale_defaults();
    options.max = 100;
    for (unsigned i = 1; i < 200; i++) {
        const double load = i * 0.137;
        struct fleet fleet;
        start(&fleet, &options, 1 + i % 40);
        for (unsigned s = 0; s < 200; s++) step(&fleet, load);
        assert_true(fleet.scale.desired >= load / (options.busy * (1 + options.tolerance)));
        assert_true(fleet.scale.desired <= load / options.busy * (1 + options.tolerance) + 1);
        fleet.ups = fleet.downs = 0;
        for (unsigned s = 0; s < 1000; s++) step(&fleet, load);
        assert_int_equal(fleet.ups + fleet.downs, 0);
    }
}

/* A p99 that holds only below half busy, less than what is wanted: what it takes is found, and tried anew only once in
 * two hours and more, when the tenth that was learned is forgotten (a factor e in a day: 2.5 hours). */
static void test_settles_by_p99(void **state) {
    (void)state;
    ks_scale_options options = ks_scale_defaults();
    options.max = 100;
    options.p99_ms = 10;
    for (unsigned i = 1; i < 200; i++) {
        const double load = i * 0.137;
        struct fleet fleet;
        start(&fleet, &options, 1 + i % 40);
        for (unsigned s = 0; s < 400; s++) step(&fleet, load);
        assert_true(fleet.scale.desired <= load / 0.4 + 2);
        fleet.ups = fleet.downs = 0;
        for (unsigned s = 0; s < 2880; s++) step(&fleet, load); /* twelve hours */
        assert_in_range(fleet.ups, 0, 6);
        assert_in_range(fleet.downs, 0, 12);
    }
}

/* Five times the load from one moment to the next: enough servers are asked for within a few looks. */
static void test_burst(void **state) {
    (void)state;
    ks_scale_options options = ks_scale_defaults();
    options.max = 1000;
    for (unsigned base = 1; base <= 50; base++) {
        struct fleet fleet;
        start(&fleet, &options, base * 2);
        for (unsigned s = 0; s < 60; s++) step(&fleet, base);
        const double needed = 5 * base / (options.busy * (1 + options.tolerance));
        unsigned looks = 0;
        while (fleet.scale.desired < needed) {
            step(&fleet, 5 * base);
            assert_true(++looks <= 5);
        }
        for (unsigned s = 0; s < 20; s++) step(&fleet, 5 * base);
        assert_true(fleet.backlog <= 0);
        /* And it does not overshoot: what waited before they came asks for no more. (In the smallest fleets what waits
         * is many times what they do in a look.) */
        assert_true(fleet.scale.desired <= 5 * base / options.busy * (base < 10 ? options.surge : 1.5));
    }
}

/* A load that goes up and down within minutes does not start and stop servers. */
static void test_no_flapping(void **state) {
    (void)state;
    ks_scale_options options = ks_scale_defaults();
    options.max = 100;
    struct fleet fleet;
    start(&fleet, &options, 10);
    for (unsigned s = 0; s < 40; s++) step(&fleet, s % 8 < 4 ? 9 : 4.5);
    fleet.ups = fleet.downs = 0;
    for (unsigned s = 0; s < 400; s++) step(&fleet, s % 8 < 4 ? 9 : 4.5);
    assert_int_equal(fleet.ups + fleet.downs, 0);
}

/* ---- The simulator ----------------------------------------------------------------------------------------------- */

static char *write_file(const void *bytes, size_t count) {
    char *path = strdup("/tmp/kith-scale-XXXXXX");
    assert_non_null(path);
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, count), (ssize_t)count);
    close(fd);
    return path;
}

static ks_arrivals *open_text(const char *text, unsigned times) {
    kith_error error = {0};
    ks_arrivals *arrivals = NULL;
    char *path = write_file(text, strlen(text));
    assert_int_equal(ks_arrivals_open(path, times, &arrivals, &error), KITH_OK);
    unlink(path);
    free(path);
    return arrivals;
}

static void test_arrivals(void **state) {
    (void)state;
    kith_error error = {0};
    double first[6], time_s = -1;
    ks_arrivals *arrivals = open_text("time,calls\n10,4\n# a remark\n\n12,0\n13,2\n", 1);
    for (unsigned round = 0; round < 2; round++) {
        double before = 0;
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(ks_arrivals_next(arrivals, &time_s, &error), 1);
            assert_true(time_s >= before && time_s >= (i < 4 ? 0 : 3) && time_s <= (i < 4 ? 2 : 4));
            if (round) assert_true(time_s <= first[i] && time_s >= first[i]); /* the same again */
            first[i] = before = time_s;
        }
        assert_int_equal(ks_arrivals_next(arrivals, &time_s, &error), 0);
        assert_int_equal(ks_arrivals_next(arrivals, &time_s, &error), 0);
        ks_arrivals_rewind(arrivals);
    }
    ks_arrivals_close(arrivals);
    /* At random within a part: its halves and quarters have their share. */
    unsigned quarters[4] = {0};
    arrivals = open_text("0,5000\n10,5000\n", 2);
    while (ks_arrivals_next(arrivals, &time_s, &error) == 1) quarters[(unsigned)(time_s * 4 / 20.001)]++;
    for (size_t i = 0; i < 4; i++) assert_in_range(quarters[i], 4700, 5300);
    ks_arrivals_close(arrivals);
}

/* Calls of a trace stand where they were; copies are spread over their minute. */
static void test_trace(void **state) {
    (void)state;
    static const unsigned seconds[] = {5, 6, 7, 70, 71};
    unsigned char bytes[512 + 32 * 6] = "\x93KTRAFFC";
    bytes[8] = 1;
    bytes[24] = 6;
    for (size_t i = 0; i < 6; i++) {
        const uint64_t time_us = i < 5 ? seconds[i] * UINT64_C(1000000) : 72000000;
        for (unsigned b = 0; b < 8; b++) bytes[512 + 32 * i + b] = (unsigned char)(time_us >> 8 * b);
        bytes[512 + 32 * i + 28] = i < 5 ? (unsigned char)(1 + i % 2) : 3; /* the last is a view */
    }
    kith_error error = {0};
    ks_arrivals *arrivals = NULL;
    double time_s, before = 0;
    unsigned first_minute = 0, count = 0;
    char *path = write_file(bytes, sizeof(bytes));
    assert_int_equal(ks_arrivals_open(path, 1, &arrivals, &error), KITH_OK);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ks_arrivals_next(arrivals, &time_s, &error), 1);
        assert_true(fabs(time_s - (seconds[i] - 5)) < 1e-9);
    }
    assert_int_equal(ks_arrivals_next(arrivals, &time_s, &error), 0);
    ks_arrivals_close(arrivals);
    assert_int_equal(ks_arrivals_open(path, 100, &arrivals, &error), KITH_OK);
    for (; ks_arrivals_next(arrivals, &time_s, &error) == 1; count++) {
        assert_true(time_s >= before && time_s <= 120);
        before = time_s;
        first_minute += time_s < 60;
    }
    assert_int_equal(count, 500);
    assert_int_equal(first_minute, 300);
    ks_arrivals_close(arrivals);
    unlink(path);
    free(path);
}

static void test_bad_arrivals(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"0,1\n-1,1\n", "line 2 is earlier"}, {"0,1\n1;\n", "line 2 is not"},
        {"0,1\n1,-2\n", "line 2 has calls"},  {"0,1\n1,2 x\n", "line 2 is not"},
        {"0,1\n1,nan\n", "line 2 has calls"}, {"0,1\nnan,1\n", "ten years"},
        {"0,1\n1e300,1\n", "ten years"},      {"0,1\n1,1e10\n", "line 2 has calls"},
        {"heading\nabc\n", "line 2 is not"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        kith_error error = {0};
        double time_s;
        int got;
        ks_arrivals *arrivals = open_text(bad[i].text, 1);
        while ((got = ks_arrivals_next(arrivals, &time_s, &error)) == 1) {
        }
        assert_int_equal(got, -1);
        if (!strstr(error.text, bad[i].says)) fail_msg("\"%s\" does not say \"%s\"", error.text, bad[i].says);
        ks_arrivals_close(arrivals);
    }
    kith_error error = {0};
    ks_arrivals *arrivals = NULL;
    assert_int_equal(ks_arrivals_open("/nowhere/at/all", 1, &arrivals, &error), KITH_E_NOTFOUND);
    assert_int_equal(ks_arrivals_open("/dev/null", 0, &arrivals, &error), KITH_E_ARG);
}

/* A trace whose header claims more than there is, and one of another version. */
static void test_bad_trace(void **state) {
    (void)state;
    unsigned char bytes[512 + 32] = "\x93KTRAFFC";
    bytes[8] = 1;
    bytes[24] = 2;
    bytes[512 + 28] = 1;
    kith_error error = {0};
    ks_arrivals *arrivals = NULL;
    double time_s;
    char *path = write_file(bytes, sizeof(bytes));
    assert_int_equal(ks_arrivals_open(path, 1, &arrivals, &error), KITH_OK);
    assert_int_equal(ks_arrivals_next(arrivals, &time_s, &error), -1);
    assert_non_null(strstr(error.text, "is missing"));
    ks_arrivals_close(arrivals);
    unlink(path);
    free(path);
    path = write_file(bytes, 100);
    assert_int_equal(ks_arrivals_open(path, 1, &arrivals, &error), KITH_E_FORMAT);
    unlink(path);
    free(path);
    bytes[8] = 9;
    path = write_file(bytes, sizeof(bytes));
    assert_int_equal(ks_arrivals_open(path, 1, &arrivals, &error), KITH_E_VERSION);
    unlink(path);
    free(path);
}

static ks_outcome_of_run simulate(ks_arrivals *arrivals, const ks_model *model, const ks_scale_options *scale,
                                  ks_chooser chooser, unsigned fixed) {
    kith_error error = {0};
    ks_load load = {0};
    ks_outcome_of_run outcome;
    assert_int_equal(ks_load_read(arrivals, model, &load, &error), KITH_OK);
    assert_int_equal(ks_simulate(arrivals, &load, model, scale, chooser, fixed, &outcome, &error), KITH_OK);
    assert_int_equal(outcome.calls, load.all);
    ks_load_free(&load);
    free(outcome.servers);
    outcome.servers = NULL;
    return outcome;
}

static void test_model(void **state) {
    (void)state;
    ks_model model = ks_model_defaults();
    ks_scale_options scale = ks_scale_defaults();
    model.threads = 1;
    model.service_ms = 10;
    /* Calls so far apart that none ever waits: the half that is sure, and an exponential one. */
    ks_arrivals *arrivals = open_text("0,5\n10,5\n20,5\n", 100);
    ks_outcome_of_run outcome = simulate(arrivals, &model, &scale, KS_CHOOSE_FIXED, 500);
    assert_true(fabs(outcome.p50_ms - (5 + 5 * log(2))) < 0.7);
    assert_int_equal(outcome.refused, 0);
    assert_true(fabs(outcome.server_hours - 500 * 30 / 3600.0) < 1e-6);
    /* One server has 100 calls a second in it, and 150 come: a third is refused, and all others wait. */
    ks_arrivals_close(arrivals);
    arrivals = open_text("0,1500\n10,1500\n20,1500\n", 1);
    outcome = simulate(arrivals, &model, &scale, KS_CHOOSE_FIXED, 1);
    const double refused = (double)outcome.refused / (double)outcome.calls;
    assert_true(refused > 0.25 && refused < 0.36);
    assert_true(outcome.p99_ms > 900 && outcome.p99_ms < 1200);
    ks_arrivals_close(arrivals);
}

/* A day with a burst: the controller is cheaper than as many as the peak needs, later than the oracle, and calm. */
static void test_day(void **state) {
    (void)state;
    enum { MINUTES = 600, ROOM = MINUTES * 24 };
    char *text = malloc(ROOM);
    size_t used = 0;
    assert_non_null(text);
    for (unsigned minute = 0; minute < MINUTES; minute++) {
        const double day = 1 + 0.8 * sin(minute * 6.283 / MINUTES), burst = minute >= 300 && minute < 320 ? 5 : 1;
        used += (size_t)snprintf(text + used, ROOM - used, "%u,%.0f\n", minute * 60, 1200 * day * burst);
    }
    ks_arrivals *arrivals = open_text(text, 1);
    ks_model model = ks_model_defaults();
    ks_scale_options options = ks_scale_defaults();
    model.service_ms = 50;
    model.late_ms = 300; /* an exponential half of it is beyond 100 once in twenty */
    options.max = 40;
    const ks_outcome_of_run oracle = simulate(arrivals, &model, &options, KS_CHOOSE_ORACLE, 0);
    const ks_outcome_of_run scale = simulate(arrivals, &model, &options, KS_CHOOSE_SCALE, 0);
    const ks_outcome_of_run fixed = simulate(arrivals, &model, &options, KS_CHOOSE_FIXED, oracle.most);
    assert_true(scale.server_hours < 0.6 * fixed.server_hours);
    assert_true(scale.server_hours < 1.5 * oracle.server_hours);
    assert_true(oracle.late + oracle.refused <= scale.late + scale.refused);
    assert_true((double)(scale.late + scale.refused) < 0.02 * (double)scale.calls);
    assert_int_equal(scale.flaps, 0);
    assert_in_range(scale.changes, 2, 40);
    assert_int_equal(fixed.changes, 0);
    ks_arrivals_close(arrivals);
    free(text);
}

static void test_checks(void **state) {
    (void)state;
    ks_scale_options options = ks_scale_defaults();
    ks_model model = ks_model_defaults();
    assert_null(ks_scale_check(&options));
    assert_null(ks_model_check(&model));
    options.min = 11;
    assert_non_null(ks_scale_check(&options));
    options = ks_scale_defaults();
    options.busy = NAN;
    assert_non_null(ks_scale_check(&options));
    model.threads = 0;
    assert_non_null(ks_model_check(&model));
    model = ks_model_defaults();
    model.service_ms = INFINITY;
    assert_non_null(ks_model_check(&model));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_bounds),  cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_nobody_answers), cmocka_unit_test(test_begins_patiently),
        cmocka_unit_test(test_settles),        cmocka_unit_test(test_settles_by_p99),
        cmocka_unit_test(test_burst),          cmocka_unit_test(test_no_flapping),
        cmocka_unit_test(test_arrivals),       cmocka_unit_test(test_trace),
        cmocka_unit_test(test_bad_arrivals),   cmocka_unit_test(test_bad_trace),
        cmocka_unit_test(test_model),          cmocka_unit_test(test_day),
        cmocka_unit_test(test_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
