/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a backend is fit for calls. */
#include "fleet/health.h"

#include <string.h>

#define SECOND UINT64_C(1000000000)

enum { DOUBLINGS_MAX = 16 };

ks_health_options ks_health_defaults(void) {
    return (ks_health_options){.failures_in_row = 5,
                               .calls_min = 20,
                               .success_min = 0.5,
                               .window_ns = 5 * SECOND,
                               .probes_down = 3,
                               .probes_up = 2,
                               .away_ns = SECOND,
                               .away_max_ns = 60 * SECOND,
                               .calm_ns = 300 * SECOND,
                               .slow_start_ns = 10 * SECOND};
}

void ks_health_start(ks_health *health, uint64_t now_ns) {
    memset(health, 0, sizeof(*health));
    health->since_ns = health->window_began_ns = now_ns;
}

static void leave(ks_health *health, const ks_health_options *options, ks_health_state state, uint64_t now_ns) {
    if (health->state == KS_HEALTH_UP && now_ns - health->since_ns >= options->calm_ns) health->times_away = 0;
    const unsigned doublings = health->times_away < DOUBLINGS_MAX ? health->times_away : DOUBLINGS_MAX;
    const uint64_t away = options->away_ns << doublings;
    health->until_ns = now_ns + (away < options->away_max_ns ? away : options->away_max_ns);
    health->times_away++;
    health->state = state;
    health->since_ns = now_ns;
    health->failures = health->probes_good = 0;
    memset(health->good, 0, sizeof(health->good));
    memset(health->bad, 0, sizeof(health->bad));
}

static void come_back(ks_health *health, uint64_t now_ns) {
    health->state = KS_HEALTH_UP;
    health->since_ns = now_ns;
    health->returned = 1;
    health->failures = 0;
}

static void turn_window(ks_health *health, const ks_health_options *options, uint64_t now_ns) {
    const uint64_t passed = now_ns - health->window_began_ns;
    if (passed < options->window_ns) return;
    const int one = passed < 2 * options->window_ns;
    health->good[1] = one ? health->good[0] : 0;
    health->bad[1] = one ? health->bad[0] : 0;
    health->good[0] = health->bad[0] = 0;
    health->window_began_ns = now_ns;
}

static int share_too_small(const ks_health *health, const ks_health_options *options) {
    const unsigned good = health->good[0] + health->good[1], all = good + health->bad[0] + health->bad[1];
    return all >= options->calls_min && (double)good < options->success_min * (double)all;
}

int ks_health_call(ks_health *health, const ks_health_options *options, int good, int may_leave, uint64_t now_ns) {
    turn_window(health, options, now_ns);
    if (good) {
        health->good[0]++;
        health->failures = 0;
    } else {
        health->bad[0]++;
        health->failures++;
    }
    /* A good call never puts out, even where the share is small: it is on its way up. */
    if (health->state != KS_HEALTH_UP || good || !may_leave) return 0;
    if (health->failures < options->failures_in_row && !share_too_small(health, options)) return 0;
    leave(health, options, KS_HEALTH_OUT, now_ns);
    return 1;
}

int ks_health_probe(ks_health *health, const ks_health_options *options, int good, uint64_t now_ns) {
    if (!good) {
        health->probes_good = 0;
        if (++health->probes_bad < options->probes_down || health->state == KS_HEALTH_DEAD) return 0;
        leave(health, options, KS_HEALTH_DEAD, now_ns);
        return 1;
    }
    health->probes_bad = 0;
    health->probes_good++;
    if (health->state != KS_HEALTH_DEAD || health->probes_good < options->probes_up || now_ns < health->until_ns)
        return 0;
    come_back(health, now_ns);
    return 1;
}

int ks_health_tick(ks_health *health, const ks_health_options *options, uint64_t now_ns) {
    (void)options;
    if (health->state != KS_HEALTH_OUT || now_ns < health->until_ns || health->probes_bad) return 0;
    come_back(health, now_ns);
    return 1;
}

double ks_health_weight(const ks_health *health, const ks_health_options *options, uint64_t now_ns) {
    if (health->state != KS_HEALTH_UP) return 0;
    const uint64_t up = now_ns - health->since_ns;
    if (!health->returned || up >= options->slow_start_ns) return 1;
    return 0.1 + 0.9 * (double)up / (double)options->slow_start_ns;
}
