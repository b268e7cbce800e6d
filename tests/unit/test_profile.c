/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles as pure functions: what events do to interests, what is remembered as seen, bytes and back, and results that
 * differ, against the definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "base/status.h"
#include "profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { DIM = 4, DAY = 86400000 };

static kith_error error;

static void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

static ki_profile made(kith_metric metric, uint32_t interests, uint32_t seen, uint64_t half_life_ms) {
    ki_profile profile = {.dim = DIM, .metric = metric};
    must(ki_profile_set(&profile, &(ki_profile_settings){interests, seen, half_life_ms, 0.7}, &error));
    return profile;
}

static void tell(ki_profile *profile, kith_event_kind kind, uint64_t key, const float *vector, uint64_t time_ms) {
    ki_profile_apply(profile, &(ki_profile_event){kind, 1, key, time_ms, vector});
}

static const float *mean(const ki_profile *profile, uint32_t interest) {
    return profile->mean + (size_t)interest * DIM;
}

static void near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-6)) fail_msg("%.9g, not %.9g", value, expected);
}

static void vector_near(const float *value, double a, double b, double c, double d) {
    near((double)value[0], a);
    near((double)value[1], b);
    near((double)value[2], c);
    near((double)value[3], d);
}

static const float EAST[DIM] = {1, 0, 0, 0}, NORTH[DIM] = {0, 1, 0, 0}, WEST[DIM] = {-1, 0, 0, 0};

/* ---- Weights and time -------------------------------------------------------------------------------------------- */

static void test_weights_halve(void **state) {
    (void)state;
    ki_profile p = made(KITH_COSINE, 2, 10, DAY);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 10 * (uint64_t)DAY);
    tell(&p, KITH_EVENT_LIKE, 2, NORTH, 12 * (uint64_t)DAY);
    assert_int_equal(p.interest_count, 2);
    near(p.weight[0], 0.25);
    near(p.weight[1], 1);
    tell(&p, KITH_EVENT_LIKE, 3, EAST, 11 * (uint64_t)DAY); /* late: a day has passed since */
    near(p.weight[0], 0.75);
    assert_int_equal(p.time_ms, 12 * (uint64_t)DAY);
    tell(&p, KITH_EVENT_SEEN, 4, NULL, 100 * (uint64_t)DAY);
    assert_int_equal(p.interest_count, 0); /* forgotten */
    assert_int_equal(p.seen_count, 4);
    assert_int_equal(p.events, 4);
    ki_profile_free(&p);
}

static void test_late_events_count_as_if_in_time(void **state) {
    (void)state;
    ki_profile a = made(KITH_L2SQ, 1, 10, DAY), b = made(KITH_L2SQ, 1, 10, DAY);
    tell(&a, KITH_EVENT_LIKE, 1, EAST, 1 * (uint64_t)DAY);
    tell(&a, KITH_EVENT_LIKE, 2, NORTH, 3 * (uint64_t)DAY);
    tell(&b, KITH_EVENT_LIKE, 2, NORTH, 3 * (uint64_t)DAY);
    tell(&b, KITH_EVENT_LIKE, 1, EAST, 1 * (uint64_t)DAY);
    near(a.weight[0], b.weight[0]);
    vector_near(mean(&a, 0), 0.2, 0.8, 0, 0);
    vector_near(mean(&b, 0), 0.2, 0.8, 0, 0);
    ki_profile_free(&a);
    ki_profile_free(&b);
}

static void test_without_half_life_weights_stay(void **state) {
    (void)state;
    ki_profile p = made(KITH_IP, 1, 10, UINT64_MAX);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 1);
    tell(&p, KITH_EVENT_LIKE, 2, EAST, UINT64_C(1) << 60);
    near(p.weight[0], 2);
    ki_profile_free(&p);
}

/* ---- Interests --------------------------------------------------------------------------------------------------- */

static void noisy(ki_rng *rng, const float *center, float *to) {
    for (int d = 0; d < DIM; d++) to[d] = 3 * (center[d] + (float)ki_rng_below(rng, 100) * 0.001f);
}

static void test_two_far_interests_are_told_apart(void **state) {
    (void)state;
    ki_rng rng = {7};
    ki_profile p = made(KITH_COSINE, 4, 100, UINT64_MAX);
    for (uint64_t i = 0; i < 40; i++) {
        float v[DIM];
        noisy(&rng, i % 2 ? NORTH : EAST, v);
        tell(&p, KITH_EVENT_LIKE, i, v, 1);
    }
    assert_int_equal(p.interest_count, 2);
    near(p.weight[0], 20);
    near(p.weight[1], 20);
    float q[DIM];
    ki_profile_query(&p, 0, q);
    assert_true(q[0] > 0.99f && q[1] < 0.1f);
    ki_profile_query(&p, 1, q);
    assert_true(q[1] > 0.99f && q[0] < 0.1f);
    near(sqrt((double)(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])), 1);
    ki_profile_free(&p);
}

static void test_the_nearest_merge_when_there_are_too_many(void **state) {
    (void)state;
    const float northeast[DIM] = {1, 1.5f, 0, 0}, up[DIM] = {0, 0, 1, 0};
    ki_profile p = made(KITH_COSINE, 2, 10, UINT64_MAX);
    p.threshold = 0.9;
    tell(&p, KITH_EVENT_LIKE, 1, NORTH, 1);
    tell(&p, KITH_EVENT_LIKE, 2, northeast, 1);
    tell(&p, KITH_EVENT_LIKE, 3, up, 1); /* the two before are more alike than either is to it */
    assert_int_equal(p.interest_count, 2);
    near(p.weight[0], 2);
    near(p.weight[1], 1);
    vector_near(mean(&p, 1), 0, 0, 1, 0);
    const double length = sqrt(1 + 1.5 * 1.5);
    vector_near(mean(&p, 0), 0.5 / length, 0.5 + 0.75 / length, 0, 0);
    /* One interest alone takes all. */
    must(ki_profile_set(&p, &(ki_profile_settings){1, 2, DAY, 0.5}, &error));
    assert_int_equal(p.interest_count, 1);
    near(p.weight[0], 3);
    assert_int_equal(p.seen_count, 2);
    assert_int_equal(p.seen[0].key, 2);
    tell(&p, KITH_EVENT_LIKE, 4, WEST, 1);
    assert_int_equal(p.interest_count, 1);
    near(p.weight[0], 4);
    ki_profile_free(&p);
}

static void test_l2_tells_lengths_apart(void **state) {
    (void)state;
    const float far[DIM] = {9, 0, 0, 0}, close[DIM] = {1.25f, 0, 0, 0};
    ki_profile p = made(KITH_L2SQ, 3, 10, UINT64_MAX);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 1);
    tell(&p, KITH_EVENT_LIKE, 2, far, 1);
    tell(&p, KITH_EVENT_LIKE, 3, close, 1);
    assert_int_equal(p.interest_count, 2);
    float q[DIM];
    ki_profile_query(&p, 0, q);
    vector_near(q, 1.125, 0, 0, 0);
    ki_profile_query(&p, 1, q);
    vector_near(q, 9, 0, 0, 0);
    ki_profile_free(&p);
}

static void test_a_dislike_pushes_away(void **state) {
    (void)state;
    const float between[DIM] = {1, 1, 0, 0};
    ki_profile p = made(KITH_COSINE, 2, 10, UINT64_MAX);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 1);
    tell(&p, KITH_EVENT_LIKE, 2, EAST, 1);
    tell(&p, KITH_EVENT_DISLIKE, 3, WEST, 1); /* nothing like it was liked */
    near(p.weight[0], 2);
    tell(&p, KITH_EVENT_DISLIKE, 4, between, 1);
    assert_int_equal(p.interest_count, 1);
    near(p.weight[0], 2 - sqrt(0.5));
    assert_true(mean(&p, 0)[1] < -0.1f && mean(&p, 0)[0] > 0.9f);
    assert_int_equal(p.seen_count, 4);
    ki_profile_free(&p);
}

static void test_a_like_is_taken_back(void **state) {
    (void)state;
    const kith_metric metrics[] = {KITH_COSINE, KITH_IP, KITH_L2SQ};
    for (int m = 0; m < 3; m++) {
        ki_profile p = made(metrics[m], 2, 10, UINT64_MAX);
        tell(&p, KITH_EVENT_DISLIKE, 1, EAST, 1); /* before anything is liked */
        tell(&p, KITH_EVENT_LIKE, 1, EAST, 2);
        assert_int_equal(p.interest_count, 1);
        tell(&p, KITH_EVENT_DISLIKE, 1, EAST, 3);
        assert_int_equal(p.interest_count, 0);
        ki_profile_free(&p);
    }
}

static void test_opposite_ones_that_merge_are_dropped(void **state) {
    (void)state;
    const float nothing[DIM] = {0};
    ki_profile p = made(KITH_COSINE, 1, 10, UINT64_MAX);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 1);
    tell(&p, KITH_EVENT_LIKE, 2, WEST, 1);
    assert_int_equal(p.interest_count, 0);
    tell(&p, KITH_EVENT_LIKE, 3, nothing, 1); /* no direction */
    assert_int_equal(p.interest_count, 0);
    assert_int_equal(p.seen_count, 3);
    ki_profile_free(&p);
}

/* Whatever comes, what is left can be searched by. */
static void test_any_events_leave_fit_interests(void **state) {
    (void)state;
    const kith_metric metrics[] = {KITH_COSINE, KITH_IP, KITH_L2SQ};
    for (int m = 0; m < 3; m++) {
        ki_rng rng = {(uint64_t)m + 1};
        ki_profile p = made(metrics[m], 5, 7, 1000);
        for (int i = 0; i < 3000; i++) {
            float v[DIM];
            const float length = (float)ldexp(1, (int)ki_rng_below(&rng, 90) - 30);
            for (int d = 0; d < DIM; d++) v[d] = length * ((float)ki_rng_below(&rng, 5) - 2);
            const ki_profile_event event = {.kind = (kith_event_kind)(1 + ki_rng_below(&rng, 4)),
                                            .weight = ldexp(1, (int)ki_rng_below(&rng, 40) - 20),
                                            .key = ki_rng_below(&rng, 20),
                                            .time_ms = (uint64_t)i * 100 + ki_rng_below(&rng, 5000),
                                            .vector = v};
            ki_profile_apply(&p, &event);
            assert_true(p.interest_count <= 5 && p.seen_count <= 7);
            for (uint32_t n = 0; n < p.interest_count; n++) {
                float q[DIM];
                double sum = 0;
                ki_profile_query(&p, n, q);
                for (int d = 0; d < DIM; d++) sum += (double)q[d] * (double)q[d];
                assert_true(isfinite(p.weight[n]) && p.weight[n] > 0);
                assert_true(sqrt(sum) <= KITH_NORM_MAX);
                if (metrics[m] != KITH_L2SQ) near(sum, 1);
            }
        }
        ki_profile_free(&p);
    }
}

static void test_blending(void **state) {
    (void)state;
    float q[DIM];
    const float long_north[DIM] = {0, 5, 0, 0};
    ki_profile p = made(KITH_COSINE, 1, 10, UINT64_MAX);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 1);
    ki_profile_query(&p, 0, q);
    assert_true(ki_profile_blend(&p, long_north, 0.5, q));
    vector_near(q, sqrt(0.5), sqrt(0.5), 0, 0);
    ki_profile_query(&p, 0, q);
    assert_true(ki_profile_blend(&p, long_north, 1, q));
    vector_near(q, 0, 1, 0, 0);
    ki_profile_query(&p, 0, q);
    assert_false(ki_profile_blend(&p, WEST, 0.5, q)); /* they cancel out */
    vector_near(q, 1, 0, 0, 0);
    ki_profile_free(&p);
    p = made(KITH_L2SQ, 1, 10, UINT64_MAX);
    tell(&p, KITH_EVENT_LIKE, 1, EAST, 1);
    ki_profile_query(&p, 0, q);
    assert_true(ki_profile_blend(&p, long_north, 0.2, q));
    vector_near(q, 0.8, 1, 0, 0);
    ki_profile_free(&p);
}

/* ---- Seen -------------------------------------------------------------------------------------------------------- */

static void test_the_oldest_seen_go(void **state) {
    (void)state;
    ki_profile p = made(KITH_COSINE, 1, 3, UINT64_MAX);
    for (uint64_t key = 1; key <= 3; key++) tell(&p, KITH_EVENT_SEEN, key, NULL, key);
    tell(&p, KITH_EVENT_SEEN, 1, NULL, 4); /* again: it is the latest now */
    assert_int_equal(p.seen_count, 3);
    tell(&p, KITH_EVENT_SEEN, 9, NULL, 5);
    const uint64_t expected[] = {3, 1, 9}, times[] = {3, 4, 5};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p.seen[i].key, expected[i]);
        assert_int_equal(p.seen[i].time_ms, times[i]);
    }
    ki_profile_free(&p);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static ki_profile some(void) {
    ki_profile p = made(KITH_COSINE, 3, 5, DAY);
    tell(&p, KITH_EVENT_LIKE, UINT64_MAX - 1, EAST, DAY);
    tell(&p, KITH_EVENT_LIKE, 2, NORTH, 2 * (uint64_t)DAY);
    return p;
}

static void test_bytes_and_back(void **state) {
    (void)state;
    ki_profile p = some(), back;
    void *data, *again;
    size_t bytes, more;
    must(ki_profile_encode(&p, &data, &bytes, &error));
    must(ki_profile_decode(data, bytes, "p", &back, &error));
    must(ki_profile_encode(&back, &again, &more, &error));
    assert_int_equal(bytes, more);
    assert_memory_equal(data, again, bytes);
    tell(&p, KITH_EVENT_DISLIKE, 3, EAST, 3 * (uint64_t)DAY);
    tell(&back, KITH_EVENT_DISLIKE, 3, EAST, 3 * (uint64_t)DAY); /* it goes on as if it had never left memory */
    assert_memory_equal(p.weight, back.weight, p.interest_count * sizeof(double));
    assert_memory_equal(p.mean, back.mean, p.interest_count * DIM * sizeof(float));
    free(data);
    free(again);
    ki_profile_free(&p);
    ki_profile_free(&back);
}

/* ---- Anew -------------------------------------------------------------------------------------------------------- */

enum { THINGS = 40 };

struct things {
    float vector[THINGS][DIM];
    uint64_t gone; /* keys up to it */
};

static kith_status vector_of(void *context, uint64_t key, float *vector, kith_error *why) {
    const struct things *things = context;
    if (key == THINGS) return ki_fail(why, KITH_E_IO, "the disk is gone");
    if (key <= things->gone) return KITH_E_NOTFOUND;
    memcpy(vector, things->vector[key], sizeof(things->vector[key]));
    return KITH_OK;
}

static void something_happens(ki_profile *p, const struct things *things, ki_rng *rng, int times) {
    for (int i = 0; i < times; i++) {
        const uint64_t key = 1 + ki_rng_below(rng, THINGS - 1);
        const ki_profile_event event = {.kind = (kith_event_kind)(1 + ki_rng_below(rng, 4)),
                                        .weight = 0.1 + ki_rng_unit(rng),
                                        .key = key,
                                        .time_ms = p->time_ms + 100 - ki_rng_below(rng, 90),
                                        .vector = things->vector[key]};
        ki_profile_apply(p, &event);
    }
}

static void same_interests(const ki_profile *a, const ki_profile *b) {
    assert_int_equal(a->interest_count, b->interest_count);
    for (uint32_t i = 0; i < a->interest_count; i++) {
        assert_true(fabs(a->weight[i] - b->weight[i]) < 1e-9 * a->weight[i]);
        for (int d = 0; d < DIM; d++) assert_true(fabsf(mean(a, i)[d] - mean(b, i)[d]) < 1e-4f);
    }
}

/* P4; and in another space, as if all had happened there. */
static void test_made_anew(void **state) {
    (void)state;
    const kith_metric metrics[] = {KITH_COSINE, KITH_L2SQ};
    for (int m = 0; m < 2; m++) {
        struct things old, other;
        ki_rng rng = {(uint64_t)m + 5};
        for (int i = 0; i < THINGS; i++)
            for (int d = 0; d < DIM; d++) {
                old.vector[i][d] = (float)ki_rng_unit(&rng);
                other.vector[i][d] = (float)ki_rng_unit(&rng) - 0.3f;
            }
        old.gone = other.gone = 0;
        ki_profile p = made(metrics[m], 4, 500, 5000), q = made(metrics[1 - m], 4, 500, 5000);
        ki_rng one = {9}, two = {9};
        something_happens(&p, &old, &one, 300);
        something_happens(&q, &other, &two, 300);
        ki_profile before = p, again = made(metrics[m], 4, 500, 5000);
        one.state = 9;
        something_happens(&again, &old, &one, 300);
        const ki_profile_space here = {0, 1, DIM, metrics[m]}, there = {3, 2, DIM, metrics[1 - m]};
        uint64_t skipped = 99;
        must(ki_profile_again(&again, &here, vector_of, &old, &skipped, &error));
        same_interests(&again, &before);
        assert_int_equal(skipped, 0);
        must(ki_profile_again(&again, &there, vector_of, &other, &skipped, &error));
        same_interests(&again, &q);
        assert_int_equal(again.vector, 3);
        assert_int_equal(again.tenant, 2);
        assert_int_equal(again.events, p.events);
        assert_int_equal(again.seen_count, p.seen_count);
        assert_memory_equal(again.log, p.log, p.log_count * sizeof(*p.log));
        ki_profile_free(&p);
        ki_profile_free(&q);
        ki_profile_free(&again);
    }
}

static void test_what_is_gone_is_left_out(void **state) {
    (void)state;
    struct things things = {.gone = 2};
    uint64_t skipped = 0;
    ki_profile p = made(KITH_COSINE, 2, 3, UINT64_MAX);
    const ki_profile_space space = {0, 1, DIM, KITH_COSINE};
    memcpy(things.vector[3], NORTH, sizeof(NORTH));
    memcpy(things.vector[4], EAST, sizeof(EAST));
    for (uint64_t key = 1; key <= 4; key++) tell(&p, KITH_EVENT_LIKE, key, EAST, key);
    assert_int_equal(p.log_count, 3); /* the first was one too many */
    must(ki_profile_again(&p, &space, vector_of, &things, &skipped, &error));
    assert_int_equal(skipped, 1);
    assert_int_equal(p.interest_count, 2);
    vector_near(mean(&p, 0), 0, 1, 0, 0);
    assert_int_equal(p.time_ms, 4);
    /* One that cannot be read: nothing changed. */
    tell(&p, KITH_EVENT_LIKE, THINGS, EAST, 5);
    const double weight = p.weight[1];
    assert_int_equal(ki_profile_again(&p, &space, vector_of, &things, &skipped, &error), KITH_E_IO);
    assert_non_null(strstr(error.text, "the disk"));
    assert_true(p.interest_count == 2 && p.weight[1] == weight);
    ki_profile_free(&p);
}

static void sign(unsigned char *data, size_t bytes) {
    ki_store_u64(data + bytes - 8, XXH3_64bits(data, bytes - 8));
}

static void test_damage_is_found(void **state) {
    (void)state;
    ki_profile p = some(), back;
    void *encoded;
    size_t bytes;
    must(ki_profile_encode(&p, &encoded, &bytes, &error));
    unsigned char *data = encoded;
    for (size_t at = 0; at < bytes; at++) {
        data[at] ^= 0x10;
        assert_int_equal(ki_profile_decode(data, bytes, "p", &back, &error), KITH_E_CORRUPT);
        data[at] ^= 0x10;
    }
    for (size_t less = 0; less < bytes; less++)
        assert_int_equal(ki_profile_decode(data, less, "p", &back, &error), KITH_E_CORRUPT);
    /* With a right checksum, each count beyond its bounds. */
    const struct {
        size_t at;
        uint32_t value;
        kith_status status;
    } wrong[] = {{4, 3, KITH_E_VERSION},   {12, 0, KITH_E_CORRUPT},  {12, 1u << 30, KITH_E_CORRUPT},
                 {16, 99, KITH_E_CORRUPT}, {20, 17, KITH_E_CORRUPT}, {20, 0, KITH_E_CORRUPT},
                 {24, 4, KITH_E_CORRUPT},  {24, 1, KITH_E_CORRUPT},  {28, 5001, KITH_E_CORRUPT},
                 {32, 6, KITH_E_CORRUPT},  {36, 6, KITH_E_CORRUPT},  {68, ~0u, KITH_E_CORRUPT},
                 {36, 1, KITH_E_CORRUPT},  {84, ~0u, KITH_E_CORRUPT}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const uint32_t was = ki_load_u32(data + wrong[i].at);
        ki_store_u32(data + wrong[i].at, wrong[i].value);
        sign(data, bytes);
        assert_int_equal(ki_profile_decode(data, bytes, "p", &back, &error), wrong[i].status);
        assert_non_null(strstr(error.text, "\"p\""));
        ki_store_u32(data + wrong[i].at, was);
    }
    sign(data, bytes);
    must(ki_profile_decode(data, bytes, "p", &back, &error));
    ki_profile_free(&back);
    free(encoded);
    ki_profile_free(&p);
}

/* ---- Results that differ ----------------------------------------------------------------------------------------- */

enum { CANDIDATES = 60 };

static double cosine(const float *a, const float *b) {
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < DIM; d++) {
        ab += (double)a[d] * (double)b[d];
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
    }
    return ab > 0 ? ab / sqrt(aa * bb) : 0;
}

static double squared(const float *a, const float *b) {
    double sum = 0;
    for (int d = 0; d < DIM; d++) sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    return sum;
}

/* The definition: the value of each that is left, from all that are chosen. */
static double value_of(const ki_spread *s, const size_t *chosen, size_t count, size_t i) {
    double alike = 0, scale = 0;
    for (size_t c = 0; c < s->count; c++) scale += squared(s->vectors, s->vectors + c * DIM) / (double)s->count;
    for (size_t c = 0; c < count; c++) {
        const float *a = s->vectors + chosen[c] * DIM, *b = s->vectors + i * DIM;
        double one = s->metric == KITH_L2SQ ? scale / (scale + squared(a, b)) : cosine(a, b);
        if (!s->present[i] || !s->present[chosen[c]]) one = 0;
        if (one > alike) alike = one;
    }
    const double first = (double)s->distances[0], last = (double)s->distances[s->count - 1];
    return (1 - s->diversity) * (last - (double)s->distances[i]) / (last - first) - s->diversity * alike;
}

static void test_choosing_against_the_definition(void **state) {
    (void)state;
    ki_rng rng = {3};
    float vectors[CANDIDATES * DIM], distances[CANDIDATES];
    uint8_t present[CANDIDATES];
    double memory[3 * CANDIDATES];
    size_t chosen[CANDIDATES];
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < CANDIDATES * DIM; i++) vectors[i] = (float)ki_rng_below(&rng, 1000) * 0.01f - 5;
        for (int i = 0; i < CANDIDATES; i++) {
            distances[i] = (float)i + (float)ki_rng_below(&rng, 100) * 0.01f;
            present[i] = i == 0 || ki_rng_below(&rng, 10) != 0 || round % 2;
        }
        ki_spread s = {vectors, present, distances, CANDIDATES, DIM, KITH_COSINE, (double)(round % 11) / 10};
        if (round % 4 == 1) s.metric = KITH_L2SQ; /* all present */
        assert_int_equal(ki_spread_choose(&s, 20, chosen, memory), 20);
        if (round % 11 == 0)
            for (size_t i = 0; i < 20; i++) assert_int_equal(chosen[i], i);
        uint8_t taken[CANDIDATES] = {0};
        for (size_t n = 0; n < 20; n++) {
            assert_true(chosen[n] < CANDIDATES && !taken[chosen[n]]);
            const double value = value_of(&s, chosen, n, chosen[n]);
            for (size_t i = 0; i < CANDIDATES; i++)
                if (!taken[i]) assert_true(value_of(&s, chosen, n, i) <= value + 1e-5);
            taken[chosen[n]] = 1;
        }
    }
}

static void test_choosing_among_few(void **state) {
    (void)state;
    const float vectors[] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0}, distances[] = {0, 0, 0.5f};
    const uint8_t present[] = {1, 1, 1};
    double memory[9];
    size_t chosen[3];
    const ki_spread s = {vectors, present, distances, 3, DIM, KITH_COSINE, 0.7};
    assert_int_equal(ki_spread_choose(&s, 9, chosen, memory), 3);
    assert_int_equal(chosen[0], 0);
    assert_int_equal(chosen[1], 2); /* the copy of the first one comes last */
    assert_int_equal(chosen[2], 1);
    const ki_spread none = {vectors, present, distances, 0, DIM, KITH_COSINE, 0.7};
    assert_int_equal(ki_spread_choose(&none, 9, chosen, memory), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_halve),
        cmocka_unit_test(test_late_events_count_as_if_in_time),
        cmocka_unit_test(test_without_half_life_weights_stay),
        cmocka_unit_test(test_two_far_interests_are_told_apart),
        cmocka_unit_test(test_the_nearest_merge_when_there_are_too_many),
        cmocka_unit_test(test_l2_tells_lengths_apart),
        cmocka_unit_test(test_a_dislike_pushes_away),
        cmocka_unit_test(test_a_like_is_taken_back),
        cmocka_unit_test(test_opposite_ones_that_merge_are_dropped),
        cmocka_unit_test(test_any_events_leave_fit_interests),
        cmocka_unit_test(test_blending),
        cmocka_unit_test(test_the_oldest_seen_go),
        cmocka_unit_test(test_bytes_and_back),
        cmocka_unit_test(test_made_anew),
        cmocka_unit_test(test_what_is_gone_is_left_out),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_choosing_against_the_definition),
        cmocka_unit_test(test_choosing_among_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
