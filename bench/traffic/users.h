/* SPDX-License-Identifier: Apache-2.0
 *
 * Users: who comes, to which segment a user belongs, and what a user likes. All of it is computed from the user's
 * number and the time, so a million users take no memory. */
#ifndef KITH_TRAFFIC_USERS_H
#define KITH_TRAFFIC_USERS_H

#include "traffic.h"
#include "zipf.h"

struct traffic_users {
    uint64_t seed, count, topic_count, segment_count;
    double taste_us; /* life of one of a user's topics; 0: for ever */
    struct traffic_zipf rank, topic, segment;
    double rank_limit, topic_limit, segment_limit;
    unsigned half_bits;
    uint64_t keys[4]; /* of the permutation of ranks */
};

/* The share of each of a user's topics in the lasting taste; they sum to 1. */
extern const double traffic_taste_weights[TRAFFIC_TASTE_TOPICS];

void traffic_users_init(struct traffic_users *users, const struct traffic_options *options);
/* The user of an activity rank, 0..count-1: a permutation, so that numbers say nothing of activity. */
uint32_t traffic_user_of_rank(const struct traffic_users *users, uint64_t rank);
uint32_t traffic_user_draw(const struct traffic_users *users, ki_rng *rng);
uint32_t traffic_user_segment(const struct traffic_users *users, uint32_t user);
uint16_t traffic_user_topic(const struct traffic_users *users, uint32_t user, unsigned which, uint64_t time_us);
/* The topic of a session, or its next one: of the user's own by their weights, or with chance `explore` any. */
uint16_t traffic_user_session_topic(const struct traffic_users *users, uint32_t user, uint64_t time_us, double explore,
                                    ki_rng *rng);
/* The place that an item gets: segment and topic by their popularity. */
void traffic_item_place(const struct traffic_users *users, uint32_t item, uint32_t *segment, uint16_t *topic);

#endif
