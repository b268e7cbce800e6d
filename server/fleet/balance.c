/* SPDX-License-Identifier: Apache-2.0
 *
 * Which backend a call goes to. */
#include "fleet/balance.h"

#include <string.h>

/* SplitMix64 (Steele, Lea, Flood 2014); 0 <= result < 1. */
static double draw(ks_set *set) {
    uint64_t z = set->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

void ks_set_start(ks_set *set, ks_policy policy, size_t count, uint64_t seed, uint64_t now_ns) {
    memset(set, 0, sizeof(*set));
    set->policy = policy;
    set->health = ks_health_defaults();
    set->random = seed;
    set->count = count;
    for (size_t i = 0; i < count; i++) ks_health_start(&set->peers[i].health, now_ns);
}

size_t ks_set_fit(const ks_set *set) {
    size_t fit = 0;
    for (size_t i = 0; i < set->count; i++) fit += set->peers[i].health.state == KS_HEALTH_UP;
    return fit;
}

/* One by its share of the weights; SIZE_MAX: none has any. */
static size_t by_weight(ks_set *set, const double *weights) {
    double sum = 0;
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < set->count; i++) sum += weights[i];
    double left = draw(set) * sum;
    for (size_t i = 0; i < set->count; i++) {
        if (!(weights[i] > 0)) continue;
        last = i;
        left -= weights[i];
        if (left < 0) break;
    }
    return last;
}

static size_t next_in_turn(ks_set *set, const double *weights) {
    double sum = 0;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < set->count; i++) {
        if (!(weights[i] > 0)) continue;
        set->peers[i].riches += weights[i];
        sum += weights[i];
        if (best == SIZE_MAX || set->peers[i].riches > set->peers[best].riches) best = i;
    }
    if (best != SIZE_MAX) set->peers[best].riches -= sum;
    return best;
}

static size_t least_loaded(ks_set *set, const double *weights) {
    double least = 0;
    size_t best = SIZE_MAX, equal = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!(weights[i] > 0)) continue;
        const double load = (set->peers[i].under_way + 1) / weights[i];
        if (best == SIZE_MAX || load < least) {
            least = load;
            best = i;
            equal = 1;
        } else if (!(load > least) && draw(set) * (double)++equal < 1) {
            best = i;
        }
    }
    return best;
}

/* What a call would have to expect. Of a peer that nothing is known of: nothing, until one call is under way; then as
 * much as anything, so that it does not get all calls before its first answer. */
static double expected(const ks_peer *peer, double weight, uint64_t now_ns) {
    const double peak = ks_latency_peak(&peer->latency, now_ns);
    if (!(peak > 0)) return peer->under_way ? 1e18 * peer->under_way : 0;
    return peak * (peer->under_way + 1) / weight;
}

static size_t better_of_two(ks_set *set, double *weights, uint64_t now_ns) {
    const size_t first = by_weight(set, weights);
    if (first == SIZE_MAX) return first;
    const double weight = weights[first];
    weights[first] = 0;
    const size_t second = by_weight(set, weights);
    if (second == SIZE_MAX) return first;
    const double one = expected(&set->peers[first], weight, now_ns);
    const double other = expected(&set->peers[second], weights[second], now_ns);
    return other < one ? second : first;
}

size_t ks_set_pick(ks_set *set, uint64_t except, uint64_t now_ns) {
    double weights[KS_BACKENDS_MAX];
    int fit = 0;
    for (size_t i = 0; i < set->count; i++) {
        weights[i] = ks_health_weight(&set->peers[i].health, &set->health, now_ns);
        fit |= weights[i] > 0;
    }
    if (!fit) set->panics++;
    for (size_t i = 0; i < set->count; i++) {
        if (!fit) weights[i] = 1;
        if (except >> i & 1) weights[i] = 0;
    }
    switch (set->policy) {
    case KS_LEAST_LOAD:
        return least_loaded(set, weights);
    case KS_LATENCY:
        return better_of_two(set, weights, now_ns);
    case KS_ROUND_ROBIN:
    default:
        return next_in_turn(set, weights);
    }
}

void ks_set_began(ks_set *set, size_t peer) {
    set->peers[peer].under_way++;
}

void ks_set_ended(ks_set *set, size_t peer, ks_outcome outcome, uint64_t took_ns, uint64_t now_ns) {
    ks_peer *ended = &set->peers[peer];
    if (ended->under_way) ended->under_way--;
    ended->outcomes[outcome]++;
    ended->took_ns += took_ns;
    if (outcome == KS_CAME_BUSY) return; /* quick, and says nothing of how long an answer takes */
    const double peak = ks_latency_peak(&ended->latency, now_ns);
    if (outcome == KS_CAME_STOPPED) {
        /* It would have taken longer: news only where that is longer than was thought. */
        if ((double)took_ns > peak) ks_latency_add(&ended->latency, took_ns, now_ns);
        return;
    }
    /* Failing fast must not look like being fast. */
    if (outcome == KS_CAME_GOOD || (double)took_ns > peak) ks_latency_add(&ended->latency, took_ns, now_ns);
    const int may_leave = 2 * (set->count - ks_set_fit(set) + 1) <= set->count;
    if (ks_health_call(&ended->health, &set->health, outcome == KS_CAME_GOOD, may_leave, now_ns)) ended->times_out++;
}

int ks_set_probed(ks_set *set, size_t peer, int good, uint64_t now_ns) {
    ks_peer *probed = &set->peers[peer];
    const int changed = ks_health_probe(&probed->health, &set->health, good, now_ns);
    if (changed && probed->health.state == KS_HEALTH_DEAD) probed->times_dead++;
    return changed;
}

uint64_t ks_set_tick(ks_set *set, uint64_t now_ns) {
    uint64_t back = 0;
    for (size_t i = 0; i < set->count; i++)
        if (ks_health_tick(&set->peers[i].health, &set->health, now_ns)) back |= UINT64_C(1) << i;
    return back;
}
