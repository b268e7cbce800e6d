/* SPDX-License-Identifier: Apache-2.0 */
#include "users.h"

const double traffic_taste_weights[TRAFFIC_TASTE_TOPICS] = {0.6, 0.3, 0.1};

void traffic_users_init(struct traffic_users *users, const struct traffic_options *options) {
    *users = (struct traffic_users){.seed = options->seed,
                                    .count = options->users,
                                    .topic_count = options->topics,
                                    .segment_count = options->segments,
                                    .taste_us = options->taste_days * (double)TRAFFIC_DAY_US};
    traffic_zipf_init(&users->rank, options->user_zipf);
    traffic_zipf_init(&users->topic, options->topic_zipf);
    traffic_zipf_init(&users->segment, options->segment_zipf);
    users->rank_limit = traffic_zipf_limit(&users->rank, users->count);
    users->topic_limit = traffic_zipf_limit(&users->topic, users->topic_count);
    users->segment_limit = traffic_zipf_limit(&users->segment, users->segment_count);
    users->half_bits = 1;
    while ((UINT64_C(1) << (2 * users->half_bits)) < users->count) users->half_bits++;
    ki_rng rng = traffic_stream(options->seed, PURPOSE_PERMUTATION, 0);
    for (int i = 0; i < 4; i++) users->keys[i] = ki_rng_next(&rng);
}

/* A Feistel network over the smallest even number of bits; results beyond the count go through it again, which ends,
 * because a permutation leads back to where it began. */
uint32_t traffic_user_of_rank(const struct traffic_users *users, uint64_t rank) {
    const uint64_t mask = (UINT64_C(1) << users->half_bits) - 1;
    do {
        uint64_t left = rank >> users->half_bits, right = rank & mask;
        for (int i = 0; i < 4; i++) {
            ki_rng rng = {.state = users->keys[i] ^ right};
            const uint64_t next = left ^ (ki_rng_next(&rng) & mask);
            left = right;
            right = next;
        }
        rank = left << users->half_bits | right;
    } while (rank >= users->count);
    return (uint32_t)rank;
}

uint32_t traffic_user_draw(const struct traffic_users *users, ki_rng *rng) {
    return traffic_user_of_rank(users, traffic_zipf_draw(&users->rank, users->count, users->rank_limit, rng) - 1);
}

static uint16_t draw_topic(const struct traffic_users *users, ki_rng *rng) {
    return (uint16_t)(traffic_zipf_draw(&users->topic, users->topic_count, users->topic_limit, rng) - 1);
}

static uint32_t draw_segment(const struct traffic_users *users, ki_rng *rng) {
    return (uint32_t)(traffic_zipf_draw(&users->segment, users->segment_count, users->segment_limit, rng) - 1);
}

uint32_t traffic_user_segment(const struct traffic_users *users, uint32_t user) {
    ki_rng rng = traffic_stream(users->seed, PURPOSE_USER_SEGMENT, user);
    return draw_segment(users, &rng);
}

/* Each of a user's topics lives for taste_us; the moments of change are spread by a phase of each user and topic. */
uint16_t traffic_user_topic(const struct traffic_users *users, uint32_t user, unsigned which, uint64_t time_us) {
    const uint64_t key = (uint64_t)user * TRAFFIC_TASTE_TOPICS + which;
    ki_rng phase = traffic_stream(users->seed, PURPOSE_USER_PHASE, key);
    uint64_t epoch = 0;
    if (users->taste_us > 0) epoch = (uint64_t)((double)time_us / users->taste_us + ki_rng_unit(&phase));
    ki_rng rng = traffic_stream(ki_rng_next(&phase), PURPOSE_USER_TOPIC, epoch);
    return draw_topic(users, &rng);
}

uint16_t traffic_user_session_topic(const struct traffic_users *users, uint32_t user, uint64_t time_us, double explore,
                                    ki_rng *rng) {
    if (ki_rng_unit(rng) < explore) return draw_topic(users, rng);
    double left = ki_rng_unit(rng);
    unsigned which = 0;
    while (which + 1 < TRAFFIC_TASTE_TOPICS && left >= traffic_taste_weights[which])
        left -= traffic_taste_weights[which++];
    return traffic_user_topic(users, user, which, time_us);
}

void traffic_item_place(const struct traffic_users *users, uint32_t item, uint32_t *segment, uint16_t *topic) {
    ki_rng rng = traffic_stream(users->seed, PURPOSE_ITEM_PLACE, item);
    *segment = draw_segment(users, &rng);
    *topic = draw_topic(users, &rng);
}
