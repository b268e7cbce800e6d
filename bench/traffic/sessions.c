/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrivals follow Lewis and Shedler, "Simulation of nonhomogeneous Poisson processes by thinning" (1979): arrivals of
 * the greatest density are drawn, and one at time t is kept with chance density(t) / greatest density. */
#include "sessions.h"

#include "base/checked.h"

#define HOUR_US        UINT64_C(3600000000)
#define LENGTH_MAX     1000000
#define SECONDS_AT_ALL 3.2e9

/* ---- Times ------------------------------------------------------------------------------------------------------- */

/* Hundredths, at full hours, of the swing: least at four in the morning, most at nine in the evening. Their sum is 0,
 * so the swing does not change the day's total. A guess at the usual shape of consumer services, not a fit. */
static const int day_shape[24] = {-40, -65, -85, -97, -100, -95, -75, -45, -15, 5,   15, 22,
                                  30,  28,  22,  25,  32,   45,  60,  80,  95,  100, 58, 0};

double traffic_day_density(double swing, uint64_t time_us) {
    const uint64_t in_day = time_us % TRAFFIC_DAY_US, hour = in_day / HOUR_US;
    const double part = (double)(in_day % HOUR_US) / (double)HOUR_US;
    const double from = day_shape[hour], to = day_shape[(hour + 1) % 24];
    return 1 + swing * 0.01 * (from + (to - from) * part);
}

uint64_t traffic_us(double seconds) {
    return seconds < SECONDS_AT_ALL ? (uint64_t)(seconds * 1e6) : (uint64_t)(SECONDS_AT_ALL * 1e6);
}

uint64_t traffic_next_arrival(const struct traffic_options *options, double a_second, uint64_t after_us, ki_rng *rng) {
    const double greatest = 1 + options->day_swing;
    for (;;) {
        after_us += traffic_us(traffic_exponential(rng) / (a_second * greatest));
        if (after_us > TRAFFIC_DAY_US * 36500) return after_us; /* beyond the last day that options allow */
        if (ki_rng_unit(rng) * greatest < traffic_day_density(options->day_swing, after_us)) return after_us;
    }
}

uint32_t traffic_session_length(const struct traffic_options *options, ki_rng *rng) {
    const double mean = options->session_length;
    double length = 1;
    if (options->session_shape == TRAFFIC_LOGNORMAL) {
        const double sigma = options->session_sigma;
        length = traffic_lognormal(rng, traffic_log(mean) - sigma * sigma / 2, sigma) + 0.5;
    } else if (mean > 1) {
        length = 1 + traffic_exponential(rng) / -traffic_log(1 - 1 / mean);
    }
    return length < 1 ? 1 : length < LENGTH_MAX ? (uint32_t)length : LENGTH_MAX;
}

uint64_t traffic_session_gap_us(const struct traffic_options *options, ki_rng *rng) {
    if (!(options->gap > 0)) return 0;
    return traffic_us(options->gap * traffic_lognormal(rng, 0, options->gap_sigma));
}

/* ---- Heap -------------------------------------------------------------------------------------------------------- */

/* Numbers decide between equal times, so the order never depends on how the heap happens to lie. */
static bool before(const struct traffic_session *a, const struct traffic_session *b) {
    return a->next_us != b->next_us ? a->next_us < b->next_us : a->number < b->number;
}

struct traffic_session *traffic_sessions_first(const struct traffic_sessions *sessions) {
    return sessions->count ? sessions->heap : NULL;
}

bool traffic_sessions_add(struct traffic_sessions *sessions, const struct traffic_session *session) {
    if (!ki_array_reserve(&sessions->heap, &sessions->room, (uint64_t)sessions->count + 1, sizeof(*session)))
        return false;
    struct traffic_session *heap = sessions->heap;
    size_t at = sessions->count++;
    while (at && before(session, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = *session;
    return true;
}

void traffic_sessions_settle(struct traffic_sessions *sessions) {
    struct traffic_session *heap = sessions->heap;
    const struct traffic_session moved = heap[0];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sessions->count) break;
        if (child + 1 < sessions->count && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

void traffic_sessions_remove_first(struct traffic_sessions *sessions) {
    struct traffic_session *heap = sessions->heap;
    heap[0] = heap[--sessions->count];
    if (sessions->count) traffic_sessions_settle(sessions);
}
