/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: when they begin, and those under way, ordered by the time of their next event (a binary heap). */
#ifndef KITH_TRAFFIC_SESSIONS_H
#define KITH_TRAFFIC_SESSIONS_H

#include "users.h"

struct traffic_session {
    uint64_t next_us;
    ki_rng rng;
    uint32_t number, user, segment;
    uint32_t left; /* events to come */
    uint32_t item; /* last seen, or TRAFFIC_NONE */
    uint32_t slot; /* where it was then */
    uint16_t topic;
    bool likes; /* the next event is a like of the item */
};

struct traffic_sessions {
    void *heap; /* struct traffic_session each */
    size_t count, room;
};

/* NULL: none under way. */
struct traffic_session *traffic_sessions_first(const struct traffic_sessions *sessions);
/* False when memory is refused. */
bool traffic_sessions_add(struct traffic_sessions *sessions, const struct traffic_session *session);
/* After the first one's next_us grew; or remove it. */
void traffic_sessions_settle(struct traffic_sessions *sessions);
void traffic_sessions_remove_first(struct traffic_sessions *sessions);

/* 1 + swing x shape(hour): the density of arrivals at a moment, 1 on average over a day. */
double traffic_day_density(double swing, uint64_t time_us);
/* The next arrival after a moment, of a Poisson process with `a_second` arrivals on average, by thinning. */
uint64_t traffic_next_arrival(const struct traffic_options *options, double a_second, uint64_t after_us, ki_rng *rng);
/* Events of a session, 1 or more. */
uint32_t traffic_session_length(const struct traffic_options *options, ki_rng *rng);
uint64_t traffic_session_gap_us(const struct traffic_options *options, ki_rng *rng);
/* Microseconds of a time in seconds; at most a hundred years, so that sums stay in range. */
uint64_t traffic_us(double seconds);

#endif
