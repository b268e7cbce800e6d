/* SPDX-License-Identifier: Apache-2.0
 *
 * The vectors of events: sums of normal vectors, each the function of a purpose, a key and the generation.
 *
 * A generation's vector of a key is sqrt(1 - r^2) times that of generation 0 plus r times one of its own, r being the
 * option "reembed". So any two later generations lie alike far apart, and neighbours stay neighbours as far as r is
 * small: what a model trained again on a little more data does. */
#include "traffic.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/status.h"
#include "users.h"

struct traffic_space {
    struct traffic_options options;
    struct traffic_users users;
    uint32_t generation;
    double old_part, new_part;
    float *topics; /* topics x dim, of length about 1 */
};

/* One normal number, nearly: the sum of four uniform numbers of 16 bits, of variance (2^32 - 1) / 3. */
static float four_lanes(uint64_t bits) {
    const int sum = (int)(bits & 0xffff) + (int)(bits >> 16 & 0xffff) + (int)(bits >> 32 & 0xffff) + (int)(bits >> 48);
    return (float)(sum - 2 * 0xffff);
}

/* vector += scale x the numbers of a stream; length about 1 before scaling. */
static void add_stream(const struct traffic_space *space, ki_rng rng, double scale, float *vector) {
    const size_t dim = (size_t)space->options.dim;
    const float unit = (float)(scale / sqrt((4294967295.0 / 3) * (double)dim));
    for (size_t i = 0; i < dim; i++) vector[i] += unit * four_lanes(ki_rng_next(&rng));
}

static void add_key(const struct traffic_space *space, enum traffic_purpose purpose, uint64_t key, double scale,
                    float *vector) {
    const ki_rng rng = traffic_stream(space->options.seed, purpose, key);
    add_stream(space, rng, scale * space->old_part, vector);
    if (!space->generation) return;
    add_stream(space, traffic_stream(rng.state, purpose, space->generation), scale * space->new_part, vector);
}

static void add_topic(const struct traffic_space *space, uint16_t topic, double scale, float *vector) {
    const size_t dim = (size_t)space->options.dim;
    const float *from = space->topics + topic * dim;
    for (size_t i = 0; i < dim; i++) vector[i] += (float)scale * from[i];
}

static void clear(const struct traffic_space *space, float *vector) {
    for (size_t i = 0; i < space->options.dim; i++) vector[i] = 0;
}

/* The sum of squares in the order of elements, and a true root and quotient: the same bits everywhere. */
static void normalise(const struct traffic_space *space, float *vector) {
    const size_t dim = (size_t)space->options.dim;
    double sum = 0;
    for (size_t i = 0; i < dim; i++) sum += (double)vector[i] * vector[i];
    if (!(sum > 0)) {
        vector[0] = 1; /* one dimension can cancel out */
        return;
    }
    const double root = sqrt(sum);
    for (size_t i = 0; i < dim; i++) vector[i] = (float)(vector[i] / root);
}

void traffic_space_item(const struct traffic_space *space, const struct traffic_event *event, float *vector) {
    static const double version_part = 0.2; /* of the item's own part: an update changes a vector a little */
    const double spread = space->options.spread;
    clear(space, vector);
    add_topic(space, event->topic, 1, vector);
    add_key(space, PURPOSE_ITEM_VECTOR, event->item, spread, vector);
    add_key(space, PURPOSE_ROW_VECTOR, event->row, spread * version_part, vector);
    normalise(space, vector);
}

static void add_taste(const struct traffic_space *space, uint32_t user, uint64_t time_us, double scale, float *vector) {
    for (unsigned i = 0; i < TRAFFIC_TASTE_TOPICS; i++)
        add_topic(space, traffic_user_topic(&space->users, user, i, time_us), scale * traffic_taste_weights[i], vector);
    add_key(space, PURPOSE_USER_VECTOR, user, scale * space->options.spread, vector);
}

void traffic_space_user(const struct traffic_space *space, uint32_t user, uint64_t time_us, float *vector) {
    clear(space, vector);
    add_taste(space, user, time_us, 1, vector);
    normalise(space, vector);
}

void traffic_space_query(const struct traffic_space *space, const struct traffic_event *event, float *vector) {
    const struct traffic_options *options = &space->options;
    const uint64_t key = event->row != TRAFFIC_NONE ? event->row : event->time_us << 24 ^ event->session;
    clear(space, vector);
    add_topic(space, event->topic, options->focus, vector);
    add_taste(space, event->user, event->time_us, 1 - options->focus, vector);
    if (event->item != TRAFFIC_NONE)
        add_key(space, PURPOSE_ITEM_VECTOR, event->item, options->context * options->spread, vector);
    add_stream(space, traffic_stream(options->seed, PURPOSE_QUERY_VECTOR, key), options->noise, vector);
    normalise(space, vector);
}

struct traffic_event traffic_space_initial(const struct traffic_space *space, uint32_t item) {
    struct traffic_event event = {.user = TRAFFIC_NONE, .session = TRAFFIC_NONE, .item = item, .row = item};
    traffic_item_place(&space->users, item, &event.segment, &event.topic);
    event.kind = TRAFFIC_INSERT;
    return event;
}

void traffic_space_set_generation(struct traffic_space *space, uint32_t generation) {
    const double r = space->options.reembed;
    space->generation = generation;
    space->old_part = generation ? sqrt(1 - r * r) : 1;
    space->new_part = generation ? r : 0;
    for (uint64_t topic = 0; topic < space->options.topics; topic++) {
        float *vector = space->topics + topic * space->options.dim;
        clear(space, vector);
        add_key(space, PURPOSE_TOPIC_VECTOR, topic, 1, vector);
    }
}

kith_status traffic_space_create(const struct traffic_options *options, struct traffic_space **out, kith_error *error) {
    const kith_status status = traffic_options_check(options, error);
    if (status != KITH_OK) return status;
    struct traffic_space *space = calloc(1, sizeof(*space));
    float *topics = space ? ki_alloc_array(options->topics, options->dim * sizeof(float)) : NULL;
    if (!topics) {
        free(space);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for the vectors of %llu topics",
                       (unsigned long long)options->topics);
    }
    space->options = *options;
    space->topics = topics;
    traffic_users_init(&space->users, options);
    traffic_space_set_generation(space, 0);
    *out = space;
    return KITH_OK;
}

void traffic_space_destroy(struct traffic_space *space) {
    if (!space) return;
    free(space->topics);
    free(space);
}
