/* SPDX-License-Identifier: Apache-2.0
 *
 * tiers: any
 *
 * Which backend a call goes to, in a simulated fleet with a clock of its own: shares, who is put out, who comes back,
 * what is paid from a budget. Nothing here hangs on time or chance: the same seeds give the same figures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../server/fleet/balance.h"

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* ---- A fleet ----------------------------------------------------------------------------------------------------- */

enum { UNDER_WAY_MAX = 4096 };

/* How a backend behaves at a moment: how long a call takes, and what comes of it. */
typedef ks_outcome behaviour(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns);
/* Whether /readyz answers 200. */
typedef int readiness(void *context, size_t peer, uint64_t now_ns);

struct flight {
    uint64_t ends_ns, took_ns;
    size_t peer;
    ks_outcome outcome;
};

struct fleet {
    ks_set set;
    behaviour *behave;
    readiness *ready;
    void *context;
    uint64_t now_ns, next_probe_ns;
    struct flight flights[UNDER_WAY_MAX];
    size_t flying;
    uint64_t calls[KS_BACKENDS_MAX], outcomes[KS_OUTCOMES];
};

static struct fleet *fleet_of(ks_policy policy, size_t count, behaviour *behave, readiness *ready, void *context) {
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    assert_non_null(fleet);
    fleet->now_ns = fleet->next_probe_ns = SECOND;
    ks_set_start(&fleet->set, policy, count, 17, fleet->now_ns);
    fleet->behave = behave;
    fleet->ready = ready;
    fleet->context = context;
    return fleet;
}

static void land_until(struct fleet *fleet, uint64_t until_ns) {
    for (;;) {
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < fleet->flying; i++)
            if (first == SIZE_MAX || fleet->flights[i].ends_ns < fleet->flights[first].ends_ns) first = i;
        const int landing = first != SIZE_MAX && fleet->flights[first].ends_ns <= until_ns;
        if (fleet->ready && fleet->next_probe_ns <= until_ns &&
            (!landing || fleet->next_probe_ns < fleet->flights[first].ends_ns)) {
            for (size_t i = 0; i < fleet->set.count; i++)
                ks_set_probed(&fleet->set, i, fleet->ready(fleet->context, i, fleet->next_probe_ns),
                              fleet->next_probe_ns);
            fleet->next_probe_ns += SECOND;
            continue;
        }
        if (!landing) return;
        const struct flight flight = fleet->flights[first];
        fleet->flights[first] = fleet->flights[--fleet->flying];
        ks_set_ended(&fleet->set, flight.peer, flight.outcome, flight.took_ns, flight.ends_ns);
        fleet->outcomes[flight.outcome]++;
    }
}

static void call(struct fleet *fleet) {
    ks_set_tick(&fleet->set, fleet->now_ns);
    const size_t peer = ks_set_pick(&fleet->set, 0, fleet->now_ns);
    assert_true(peer < fleet->set.count);
    assert_true(fleet->flying < UNDER_WAY_MAX);
    struct flight *flight = &fleet->flights[fleet->flying++];
    ks_set_began(&fleet->set, peer);
    fleet->calls[peer]++;
    flight->peer = peer;
    flight->outcome = fleet->behave(fleet->context, peer, fleet->now_ns, &flight->took_ns);
    flight->ends_ns = fleet->now_ns + flight->took_ns;
}

/* Calls at a steady rate for some seconds; counts begin anew. */
static void run(struct fleet *fleet, double seconds, double rate) {
    memset(fleet->calls, 0, sizeof(fleet->calls));
    memset(fleet->outcomes, 0, sizeof(fleet->outcomes));
    const uint64_t gap = (uint64_t)(1e9 / rate), end = fleet->now_ns + (uint64_t)(seconds * 1e9);
    for (; fleet->now_ns < end; fleet->now_ns += gap) {
        land_until(fleet, fleet->now_ns);
        call(fleet);
    }
    land_until(fleet, fleet->now_ns);
}

static double share(const struct fleet *fleet, size_t peer) {
    uint64_t all = 0;
    for (size_t i = 0; i < fleet->set.count; i++) all += fleet->calls[i];
    return (double)fleet->calls[peer] / (double)all;
}

/* ---- How backends behave ----------------------------------------------------------------------------------------- */

static int always_ready(void *context, size_t peer, uint64_t now_ns) {
    (void)context, (void)peer, (void)now_ns;
    return 1;
}

static ks_outcome alike(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    (void)context, (void)peer, (void)now_ns;
    *took_ns = 5 * MS;
    return KS_CAME_GOOD;
}

/* Peer 0 takes ten times as long. */
static ks_outcome first_is_slow(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    (void)context, (void)now_ns;
    *took_ns = peer == 0 ? 50 * MS : 5 * MS;
    return KS_CAME_GOOD;
}

/* Peer 0 refuses at once, which is quicker than any answer. */
static ks_outcome first_refuses(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    (void)context, (void)now_ns;
    *took_ns = peer == 0 ? MS / 10 : 5 * MS;
    return peer == 0 ? KS_CAME_BAD : KS_CAME_GOOD;
}

static ks_outcome all_refuse(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    (void)context, (void)peer, (void)now_ns;
    *took_ns = MS / 10;
    return KS_CAME_BAD;
}

static ks_outcome all_busy(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    (void)context, (void)peer, (void)now_ns;
    *took_ns = MS / 10;
    return KS_CAME_BUSY;
}

/* Peer 0 is well for four seconds and broken for four. */
static int broken_now(size_t peer, uint64_t now_ns) {
    return peer == 0 && now_ns / (4 * SECOND) % 2 == 1;
}

static ks_outcome first_flaps(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    (void)context;
    *took_ns = 5 * MS;
    return broken_now(peer, now_ns) ? KS_CAME_BAD : KS_CAME_GOOD;
}

/* The context is a mask of peers that are gone. */
static int ready_by_mask(void *context, size_t peer, uint64_t now_ns) {
    (void)now_ns;
    return !(*(const uint64_t *)context >> peer & 1);
}

static ks_outcome by_mask(void *context, size_t peer, uint64_t now_ns, uint64_t *took_ns) {
    *took_ns = 5 * MS;
    return ready_by_mask(context, peer, now_ns) ? KS_CAME_GOOD : KS_CAME_BAD;
}

/* ---- Shares ------------------------------------------------------------------------------------------------------ */

static void test_equal_shares(void **state) {
    (void)state;
    for (ks_policy policy = KS_ROUND_ROBIN; policy <= KS_LATENCY; policy++) {
        struct fleet *fleet = fleet_of(policy, 4, alike, always_ready, NULL);
        run(fleet, 10, 1000);
        for (size_t i = 0; i < 4; i++) {
            assert_true(share(fleet, i) > 0.22);
            assert_true(share(fleet, i) < 0.28);
        }
        free(fleet);
    }
}

static void test_round_robin_is_even_to_one(void **state) {
    (void)state;
    struct fleet *fleet = fleet_of(KS_ROUND_ROBIN, 3, alike, NULL, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        call(fleet);
        land_until(fleet, UINT64_MAX);
        uint64_t least = UINT64_MAX, most = 0;
        for (size_t peer = 0; peer < 3; peer++) {
            if (fleet->calls[peer] < least) least = fleet->calls[peer];
            if (fleet->calls[peer] > most) most = fleet->calls[peer];
        }
        assert_true(most - least <= 1);
    }
    free(fleet);
}

/* Round robin gives the slow one its third; the others see how full or how slow it is. */
static void test_slow_backend(void **state) {
    (void)state;
    const double most[] = {0.34, 0.12, 0.12};
    for (ks_policy policy = KS_ROUND_ROBIN; policy <= KS_LATENCY; policy++) {
        struct fleet *fleet = fleet_of(policy, 3, first_is_slow, always_ready, NULL);
        run(fleet, 10, 2000);
        assert_true(share(fleet, 0) < most[policy]);
        assert_true(share(fleet, 0) > 0); /* it is well, and gets some */
        if (policy == KS_ROUND_ROBIN) assert_true(share(fleet, 0) > 0.32);
        assert_int_equal(ks_set_fit(&fleet->set), 3);
        free(fleet);
    }
}

/* One that was slow and is not any more gets its share back, though nothing but its age spoke against it. */
static void test_slow_backend_recovers(void **state) {
    (void)state;
    struct fleet *fleet = fleet_of(KS_LATENCY, 3, first_is_slow, always_ready, NULL);
    run(fleet, 10, 1000);
    fleet->behave = alike;
    run(fleet, 60, 1000);
    run(fleet, 10, 1000);
    assert_true(share(fleet, 0) > 0.25);
    free(fleet);
}

/* ---- Who is put out ---------------------------------------------------------------------------------------------- */

static void test_fast_failure_attracts_nothing(void **state) {
    (void)state;
    for (ks_policy policy = KS_ROUND_ROBIN; policy <= KS_LATENCY; policy++) {
        struct fleet *fleet = fleet_of(policy, 3, first_refuses, always_ready, NULL);
        run(fleet, 120, 1000);
        /* Five in a row each time it is tried, after 1, 2, 4, .. 60 s. */
        assert_true(fleet->set.peers[0].times_out >= 6);
        assert_true(fleet->set.peers[0].times_out <= 9);
        assert_true(fleet->outcomes[KS_CAME_BAD] <= 9 * 6);
        free(fleet);
    }
}

/* Never more than half is put out; all fail, so two of four are always tried. */
static void test_half_stays(void **state) {
    (void)state;
    for (size_t count = 1; count <= 7; count++) {
        struct fleet *fleet = fleet_of(KS_LEAST_LOAD, count, all_refuse, always_ready, NULL);
        for (unsigned second = 0; second < 30; second++) {
            run(fleet, 1, 500);
            assert_true(2 * (count - ks_set_fit(&fleet->set)) <= count);
        }
        assert_int_equal(count - ks_set_fit(&fleet->set), count / 2);
        free(fleet);
    }
}

/* Too busy is not ill: where all have too much to do, nobody is put out, for the others would have more. */
static void test_busy_is_not_ill(void **state) {
    (void)state;
    struct fleet *fleet = fleet_of(KS_LATENCY, 4, all_busy, always_ready, NULL);
    run(fleet, 10, 1000);
    assert_int_equal(ks_set_fit(&fleet->set), 4);
    assert_int_equal(fleet->set.panics, 0);
    free(fleet);
}

static void test_share_of_failures(void **state) {
    (void)state;
    ks_health health;
    const ks_health_options options = ks_health_defaults();
    ks_health_start(&health, 0);
    /* Two bad, one good: never five in a row, but two thirds are bad. */
    unsigned calls = 0;
    for (; health.state == KS_HEALTH_UP && calls < 100; calls++)
        ks_health_call(&health, &options, calls % 3 == 2, 1, calls * MS);
    assert_in_range(calls, options.calls_min, options.calls_min + 2);
    /* One bad, two good: stays. */
    ks_health_start(&health, 0);
    for (calls = 1; calls < 10000; calls++) ks_health_call(&health, &options, calls % 3 != 0, 1, calls * MS);
    assert_int_equal(health.state, KS_HEALTH_UP);
    /* What failed long ago does not count: 15 bad ones, eleven seconds later 6 that are bad with good ones between. */
    ks_health_start(&health, 0);
    for (calls = 0; calls < 15; calls++) ks_health_call(&health, &options, calls % 4 == 3, 1, calls);
    for (calls = 0; calls < 8; calls++) ks_health_call(&health, &options, calls % 2 == 0, 1, 11 * SECOND + calls);
    assert_int_equal(health.state, KS_HEALTH_UP);
}

static void test_flapping(void **state) {
    (void)state;
    for (ks_policy policy = KS_ROUND_ROBIN; policy <= KS_LATENCY; policy++) {
        struct fleet *fleet = fleet_of(policy, 3, first_flaps, always_ready, NULL);
        run(fleet, 120, 1000);
        /* Broken half the time, of a third of the calls: 20,000 would fail if nobody looked. */
        assert_true(fleet->outcomes[KS_CAME_BAD] < 200);
        assert_true(share(fleet, 0) < 0.2);
        free(fleet);
    }
}

/* ---- Death, return, panic ---------------------------------------------------------------------------------------- */

static void test_dead_and_back(void **state) {
    (void)state;
    uint64_t gone = 0;
    struct fleet *fleet = fleet_of(KS_LEAST_LOAD, 4, by_mask, ready_by_mask, &gone);
    run(fleet, 5, 1000);
    gone = 0x7; /* three of four: more than half, and known not to be there */
    run(fleet, 5, 1000);
    assert_int_equal(ks_set_fit(&fleet->set), 1);
    run(fleet, 5, 1000);
    assert_int_equal(fleet->outcomes[KS_CAME_BAD], 0);
    assert_int_equal(fleet->calls[3], 5000);
    gone = 0;
    run(fleet, 3, 1000);
    assert_int_equal(ks_set_fit(&fleet->set), 4);
    assert_true(share(fleet, 0) < 0.2); /* slowly */
    run(fleet, 20, 1000);
    run(fleet, 5, 1000);
    assert_true(share(fleet, 0) > 0.23);
    free(fleet);
}

static void test_slow_start(void **state) {
    (void)state;
    ks_health health;
    ks_health_options options = ks_health_defaults();
    ks_health_start(&health, 0);
    assert_true(ks_health_weight(&health, &options, 0) >= 1); /* a fleet that starts: all at once */
    for (unsigned i = 1; i <= 3; i++) ks_health_probe(&health, &options, 0, i * SECOND);
    assert_int_equal(health.state, KS_HEALTH_DEAD);
    assert_true(ks_health_weight(&health, &options, 3 * SECOND) <= 0);
    assert_false(ks_health_probe(&health, &options, 1, 4 * SECOND)); /* one good probe is not enough */
    assert_true(ks_health_probe(&health, &options, 1, 5 * SECOND));
    double before = 0;
    for (unsigned i = 0; i <= 10; i++) {
        const double weight = ks_health_weight(&health, &options, (5 + i) * SECOND);
        assert_true(weight > before);
        before = weight;
    }
    assert_true(before >= 1);
}

static void test_away_doubles_and_is_forgotten(void **state) {
    (void)state;
    ks_health health;
    const ks_health_options options = ks_health_defaults();
    uint64_t now = 0, before = 0;
    ks_health_start(&health, now);
    for (unsigned round = 0; round < 10; round++) {
        while (health.state == KS_HEALTH_UP) ks_health_call(&health, &options, 0, 1, now += MS);
        const uint64_t away = health.until_ns - now;
        assert_true(away == options.away_max_ns || away == (before ? 2 * before : options.away_ns));
        before = away;
        assert_false(ks_health_tick(&health, &options, health.until_ns - 1));
        assert_true(ks_health_tick(&health, &options, now = health.until_ns));
    }
    assert_int_equal(before, options.away_max_ns);
    now += options.calm_ns;
    while (health.state == KS_HEALTH_UP) ks_health_call(&health, &options, 0, 1, now += MS);
    assert_int_equal(health.until_ns - now, options.away_ns);
    /* While probes fail, it does not come back by time alone. */
    ks_health_probe(&health, &options, 0, now);
    assert_false(ks_health_tick(&health, &options, now + 10 * SECOND));
    ks_health_probe(&health, &options, 1, now);
    assert_true(ks_health_tick(&health, &options, now + 10 * SECOND));
}

static void test_panic(void **state) {
    (void)state;
    uint64_t gone = 0xf;
    struct fleet *fleet = fleet_of(KS_LATENCY, 4, by_mask, ready_by_mask, &gone);
    run(fleet, 5, 1000);
    assert_int_equal(ks_set_fit(&fleet->set), 0);
    run(fleet, 5, 1000);
    assert_int_equal(fleet->set.panics > 4000, 1);
    for (size_t i = 0; i < 4; i++) assert_true(fleet->calls[i] > 500); /* all are tried */
    free(fleet);
}

static void test_except(void **state) {
    (void)state;
    for (ks_policy policy = KS_ROUND_ROBIN; policy <= KS_LATENCY; policy++) {
        ks_set set;
        ks_set_start(&set, policy, 3, 5, 0);
        for (unsigned i = 0; i < 200; i++) assert_int_equal(ks_set_pick(&set, 0x5, 0), 1);
        assert_int_equal(ks_set_pick(&set, 0x7, 0), SIZE_MAX);
        /* The only one left is dead while others are well: nobody. */
        for (unsigned i = 0; i < 3; i++) ks_set_probed(&set, 1, 0, i);
        assert_int_equal(ks_set_pick(&set, 0x5, 10), SIZE_MAX);
    }
}

/* ---- Budgets and quantiles --------------------------------------------------------------------------------------- */

static void test_budget(void **state) {
    (void)state;
    ks_budget budget = {.share = 0.2, .least = 3};
    uint64_t now = 100 * SECOND;
    unsigned paid = 0;
    for (unsigned i = 0; i < 100; i++) paid += (unsigned)ks_budget_take(&budget, now);
    assert_int_equal(paid, 3); /* though there was no call */
    for (unsigned second = 0; second < 60; second++, now += SECOND) {
        for (unsigned i = 0; i < 1000; i++) {
            ks_budget_call(&budget, now);
            paid += (unsigned)ks_budget_take(&budget, now);
        }
    }
    assert_in_range(paid, 11900, 12003); /* a fifth of 60,000 */
    assert_int_equal(budget.taken, paid);
    now += 100 * SECOND; /* nothing is left of what was earned */
    for (paid = 0; paid < 100 && ks_budget_take(&budget, now);) paid++;
    assert_int_equal(paid, 3);
}

static void test_quantile(void **state) {
    (void)state;
    ks_latency latency = {0};
    for (unsigned i = 0; i < 19; i++) ks_latency_add(&latency, 10 * MS, SECOND);
    assert_int_equal(ks_latency_quantile(&latency, 0.95, 20), 0);
    for (unsigned i = 0; i < 81; i++) ks_latency_add(&latency, (i < 76 ? 10 : 900) * MS, SECOND);
    const uint64_t p95 = ks_latency_quantile(&latency, 0.95, 20), p99 = ks_latency_quantile(&latency, 0.99, 20);
    assert_in_range(p95, 10 * MS, 12500 * MS / 1000);
    assert_in_range(p99, 900 * MS, 1125 * MS);
    /* Twenty seconds later they are forgotten. */
    for (unsigned i = 0; i < 20; i++) ks_latency_add(&latency, 2 * MS, 30 * SECOND);
    assert_in_range(ks_latency_quantile(&latency, 0.99, 20), 2 * MS, 2500 * MS / 1000);
    /* The peak jumps up at once and sinks. */
    ks_latency_add(&latency, 50 * MS, 31 * SECOND);
    assert_true(ks_latency_peak(&latency, 31 * SECOND) >= 50e6);
    assert_true(ks_latency_peak(&latency, 51 * SECOND) < 10e6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_shares),
        cmocka_unit_test(test_round_robin_is_even_to_one),
        cmocka_unit_test(test_slow_backend),
        cmocka_unit_test(test_slow_backend_recovers),
        cmocka_unit_test(test_fast_failure_attracts_nothing),
        cmocka_unit_test(test_half_stays),
        cmocka_unit_test(test_busy_is_not_ill),
        cmocka_unit_test(test_share_of_failures),
        cmocka_unit_test(test_flapping),
        cmocka_unit_test(test_dead_and_back),
        cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_away_doubles_and_is_forgotten),
        cmocka_unit_test(test_panic),
        cmocka_unit_test(test_except),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_quantile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
