/* SPDX-License-Identifier: Apache-2.0
 *
 * The traffic generator: its random numbers against the C library and against the laws they claim, its processes
 * against their parameters, and the rules that every event keeps, checked by a bookkeeping of this file's own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../../bench/traffic/describe.h"
#include "../../bench/traffic/draw.h"
#include "../../bench/traffic/items.h"
#include "../../bench/traffic/sessions.h"
#include "../../bench/traffic/trace.h"
#include "../../bench/traffic/zipf.h"

/* ---- Random numbers ---------------------------------------------------------------------------------------------- */

static double relative(double a, double b) {
    return a == b ? 0 : fabs(a - b) / fmax(fabs(a), fabs(b));
}

static void test_exp_and_log_are_right(void **state) {
    (void)state;
    ki_rng rng = {.state = 1};
    for (int i = 0; i < 20000; i++) {
        const double x = (ki_rng_unit(&rng) - 0.5) * 1400, y = exp((ki_rng_unit(&rng) - 0.5) * 80);
        assert_true(relative(traffic_exp(x), exp(x)) < 4e-16 * (1 + fabs(x) / 8));
        assert_true(fabs(traffic_log(y) - log(y)) < 4e-16 * fmax(1, fabs(log(y))));
        const double t = (ki_rng_unit(&rng) - 0.5) * pow(10, -6 * ki_rng_unit(&rng));
        assert_true(relative(traffic_log1p_over(t), log1p(t) / t) < 1e-15);
        assert_true(relative(traffic_expm1_over(4 * t), expm1(4 * t) / (4 * t)) < 2e-15);
    }
    assert_true(traffic_exp(0) == 1 && traffic_log(1) == 0);
    assert_true(traffic_log1p_over(0) == 1 && traffic_expm1_over(0) == 1);
    assert_true(traffic_exp(-1e300) == 0 && traffic_exp(1e300) == DBL_MAX);
}

/* Chi-squared of drawn ranks against rank^-s; the bound is passed by chance once in a million runs of another seed. */
static void check_zipf_law(double s, unsigned n, double bound) {
    enum { DRAWS = 200000 };
    unsigned seen[64] = {0};
    double weights = 0, chi = 0;
    struct traffic_zipf zipf;
    ki_rng rng = {.state = n};
    traffic_zipf_init(&zipf, s);
    const double limit = traffic_zipf_limit(&zipf, n);
    for (int i = 0; i < DRAWS; i++) {
        const uint64_t rank = traffic_zipf_draw(&zipf, n, limit, &rng);
        assert_in_range(rank, 1, n);
        seen[rank - 1]++;
    }
    for (unsigned i = 1; i <= n; i++) weights += pow(i, -s);
    for (unsigned i = 1; i <= n; i++) {
        const double expected = DRAWS * pow(i, -s) / weights, off = seen[i - 1] - expected;
        if (expected > 5) chi += off * off / expected;
    }
    if (chi > bound) fail_msg("s %g, n %u: chi squared %g", s, n, chi);
}

static void test_zipf_is_exact(void **state) {
    (void)state;
    static const double exponents[] = {0, 0.3, 0.999999, 1, 1.000001, 1.7, 4, 8};
    for (size_t i = 0; i < sizeof(exponents) / sizeof(*exponents); i++) {
        check_zipf_law(exponents[i], 1, 1e-9);
        check_zipf_law(exponents[i], 2, 24);
        check_zipf_law(exponents[i], 60, 122);
    }
}

static void test_zipf_exponent_is_found_again(void **state) {
    (void)state;
    enum { N = 3000 };
    for (double s = 0.6; s < 1.6; s += 0.3) {
        static uint32_t counts[N];
        struct traffic_zipf zipf;
        ki_rng rng = {.state = 5};
        memset(counts, 0, sizeof(counts));
        traffic_zipf_init(&zipf, s);
        const double limit = traffic_zipf_limit(&zipf, 1000000000);
        for (int i = 0; i < 300000; i++) {
            const uint64_t rank = traffic_zipf_draw(&zipf, 1000000000, limit, &rng);
            if (rank <= N) counts[rank - 1]++;
        }
        const double found = traffic_zipf_fit(counts, N);
        if (fabs(found - s) > 0.02) fail_msg("drawn with %g, found %g", s, found);
    }
    assert_true(isnan(traffic_zipf_fit((const uint32_t[]){1, 1}, 2)));
    assert_true(isnan(traffic_zipf_fit((const uint32_t[]){0, 0, 0}, 3)));
}

/* ---- Users ------------------------------------------------------------------------------------------------------- */

static struct traffic_options small_options(void) {
    struct traffic_options options;
    traffic_options_default(&options);
    options.users = 2000;
    options.items = 3000;
    options.topics = 8;
    options.segments = 4;
    options.dim = 16;
    options.rate = 0.5;
    return options;
}

static void test_ranks_and_users_are_one_to_one(void **state) {
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 4, 5, 16, 17, 1000, 1025, 4097};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        struct traffic_options options = small_options();
        struct traffic_users users;
        options.users = counts[i];
        traffic_users_init(&users, &options);
        char *seen = calloc(counts[i], 1);
        for (uint64_t rank = 0; rank < counts[i]; rank++) {
            const uint32_t user = traffic_user_of_rank(&users, rank);
            assert_true(user < counts[i] && !seen[user]);
            seen[user] = 1;
        }
        free(seen);
    }
}

static void test_tastes_change_one_topic_at_a_time(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    struct traffic_users users;
    options.topics = 60000; /* a new topic is a different one, then */
    options.topic_zipf = 0;
    traffic_users_init(&users, &options);
    unsigned changes = 0, days = 140, count = 300;
    for (uint32_t user = 0; user < count; user++) {
        assert_int_equal(traffic_user_segment(&users, user), traffic_user_segment(&users, user));
        for (unsigned which = 0; which < TRAFFIC_TASTE_TOPICS; which++)
            for (unsigned day = 1; day <= days; day++)
                changes += traffic_user_topic(&users, user, which, day * TRAFFIC_DAY_US) !=
                           traffic_user_topic(&users, user, which, (day - 1) * TRAFFIC_DAY_US);
    }
    const double expected = count * TRAFFIC_TASTE_TOPICS * days / options.taste_days;
    assert_true(fabs(changes - expected) < 0.01 * expected);
    options.taste_days = 0;
    traffic_users_init(&users, &options);
    assert_int_equal(traffic_user_topic(&users, 7, 0, 0), traffic_user_topic(&users, 7, 0, 999 * TRAFFIC_DAY_US));
}

/* ---- Items ------------------------------------------------------------------------------------------------------- */

static void check_catalog(const struct traffic_catalog *catalog, size_t lists) {
    size_t listed = 0;
    for (size_t l = 0; l < lists; l++) {
        const struct traffic_list *list = &catalog->lists[l];
        for (uint32_t rank = 0; rank < list->count; rank++) {
            const uint32_t slot = ((const uint32_t *)list->slots)[rank];
            assert_true(slot < catalog->live);
            assert_int_equal(traffic_catalog_slot(catalog, slot)->list, l);
            assert_int_equal(traffic_catalog_slot(catalog, slot)->rank, rank);
        }
        listed += list->count;
    }
    assert_int_equal(listed, catalog->live);
}

static void test_catalog_stays_whole(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    struct traffic_users users;
    struct traffic_catalog catalog;
    ki_rng rng = {.state = 3};
    options.items = 50;
    traffic_users_init(&users, &options);
    assert_true(traffic_catalog_init(&catalog, &options, &users));
    for (uint32_t i = 0; i < 4000; i++) {
        uint32_t slot;
        if (catalog.live < 2 || ki_rng_below(&rng, 100) < (i < 2000 ? 60 : 40)) {
            assert_true(traffic_catalog_insert(&catalog, 50 + i, 50 + i, &slot));
            assert_int_equal(traffic_catalog_slot(&catalog, slot)->item, 50 + i);
        } else {
            traffic_catalog_delete(&catalog, traffic_catalog_any(&catalog));
        }
        check_catalog(&catalog, 32);
    }
    traffic_catalog_destroy(&catalog);
}

static void test_segment_without_items_is_told(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    struct traffic_users users;
    struct traffic_catalog catalog;
    ki_rng rng = {.state = 3};
    options.items = 1;
    traffic_users_init(&users, &options);
    assert_true(traffic_catalog_init(&catalog, &options, &users));
    const uint32_t segment = traffic_catalog_slot(&catalog, 0)->list / 8;
    assert_int_equal(traffic_catalog_draw(&catalog, segment, 5, &rng), 0);
    assert_int_equal(traffic_catalog_draw(&catalog, (segment + 1) % 4, 5, &rng), TRAFFIC_NONE);
    traffic_catalog_destroy(&catalog);
}

/* ---- Sessions ---------------------------------------------------------------------------------------------------- */

static void test_arrivals_follow_the_hour(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    ki_rng rng = {.state = 11};
    double hours[24] = {0}, sum = 0;
    enum { DAYS = 40 };
    for (uint64_t at = 0; (at = traffic_next_arrival(&options, 0.05, at, &rng)) < DAYS * TRAFFIC_DAY_US;)
        hours[at % TRAFFIC_DAY_US / UINT64_C(3600000000)]++;
    for (uint64_t hour = 0; hour < 24; hour++) {
        const double density = traffic_day_density(options.day_swing, (2 * hour + 1) * UINT64_C(1800000000));
        const double expected = 0.05 * 3600 * DAYS * density; /* 7,200 on average: 1.2 % is one sigma */
        assert_true(fabs(hours[hour] - expected) < 0.06 * expected);
        sum += hours[hour];
    }
    assert_true(fabs(sum - 0.05 * 86400 * DAYS) < 0.012 * 0.05 * 86400 * DAYS);
}

static double mean_length(const struct traffic_options *options, double *variance) {
    enum { N = 200000 };
    ki_rng rng = {.state = 2};
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        const double length = traffic_session_length(options, &rng);
        assert_true(length >= 1);
        sum += length;
        squares += length * length;
    }
    *variance = squares / N - sum / N * sum / N;
    return sum / N;
}

static void test_session_lengths(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    double variance;
    options.session_shape = TRAFFIC_GEOMETRIC;
    assert_true(fabs(mean_length(&options, &variance) - 12) < 0.15);
    assert_true(fabs(variance - 12 * 11) < 4); /* of the geometric law on 1, 2, ...: mean (mean - 1) */
    options.session_length = 1;
    assert_true(mean_length(&options, &variance) == 1);
    options.session_shape = TRAFFIC_LOGNORMAL;
    options.session_length = 40;
    assert_true(fabs(mean_length(&options, &variance) - 40) < 0.6);
    assert_true(fabs(variance / (1600 * (exp(1) - 1)) - 1) < 0.1);
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

struct made {
    struct traffic_event *events;
    size_t count;
    struct traffic_counts counts;
};

static struct made make(const struct traffic_options *options, size_t room) {
    struct made made = {.events = NULL};
    size_t capacity = 0, got = 1;
    struct traffic *traffic;
    kith_error error;
    if (traffic_create(options, &traffic, &error) != KITH_OK) fail_msg("%s", error.text);
    while (got) {
        if (capacity - made.count < room) {
            capacity = capacity * 2 + room;
            made.events = realloc(made.events, capacity * sizeof(*made.events));
        }
        if (traffic_read(traffic, made.events + made.count, room, &got, &error) != KITH_OK) fail_msg("%s", error.text);
        for (size_t i = 0; i + 1 < got; i++) assert_int_not_equal(made.events[made.count + i].kind, TRAFFIC_FLIP);
        made.count += got;
    }
    made.counts = *traffic_get_counts(traffic);
    assert_int_equal(made.counts.events, made.count);
    traffic_destroy(traffic);
    return made;
}

static uint64_t hash_of(const struct made *made) {
    uint64_t hash = 0;
    for (size_t i = 0; i < made->count; i++) {
        uint8_t record[TRACE_RECORD_BYTES];
        traffic_record_encode(&made->events[i], record);
        hash = XXH3_64bits_withSeed(record, sizeof(record), hash);
    }
    return hash;
}

static void test_reading_in_other_steps_changes_nothing(void **state) {
    (void)state;
    static const size_t rooms[] = {1, 7, 4096, 1000000};
    const struct traffic_options options = small_options();
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
        struct made made = make(&options, rooms[i]);
        const uint64_t hash = hash_of(&made);
        if (i == 0) first = hash;
        assert_int_equal(hash, first);
        free(made.events);
    }
    struct traffic_options other = options;
    other.seed++;
    struct made made = make(&other, 4096);
    assert_int_not_equal(hash_of(&made), first);
    free(made.events);
}

static void test_an_end_after_events(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    struct made whole = make(&options, 100), part;
    options.events = 777;
    part = make(&options, 100);
    assert_int_equal(part.count, 777);
    for (size_t i = 0; i < part.count; i++) {
        uint8_t a[TRACE_RECORD_BYTES], b[TRACE_RECORD_BYTES];
        traffic_record_encode(&part.events[i], a);
        traffic_record_encode(&whole.events[i], b);
        assert_memory_equal(a, b, sizeof(a));
    }
    free(whole.events);
    free(part.events);
}

struct ledger {
    char *live;                 /* a byte an item */
    struct traffic_event *last; /* of each session */
    uint64_t items, item_rows, query_rows, live_items, sessions;
    uint32_t generation;
};

static void keep_session(struct ledger *ledger, const struct traffic_event *event) {
    if (event->session == ledger->sessions) {
        assert_true(event->kind == TRAFFIC_QUERY_USER || event->kind == TRAFFIC_QUERY_VECTOR);
        ledger->sessions++;
    } else {
        assert_true(event->session < ledger->sessions);
        const struct traffic_event *last = &ledger->last[event->session];
        assert_int_equal(event->user, last->user);
        assert_int_equal(event->segment, last->segment);
        if (event->kind == TRAFFIC_LIKE) {
            assert_int_equal(last->kind, TRAFFIC_VIEW);
            assert_int_equal(last->item, event->item);
        }
    }
    ledger->last[event->session] = *event;
}

static void keep(struct ledger *ledger, const struct traffic_event *event) {
    switch (event->kind) {
    case TRAFFIC_QUERY_VECTOR:
        assert_int_equal(event->row, ledger->query_rows++);
        break;
    case TRAFFIC_VIEW:
    case TRAFFIC_LIKE:
    case TRAFFIC_UPDATE:
    case TRAFFIC_DELETE:
        assert_true(event->item < ledger->items && ledger->live[event->item]);
        if (event->kind == TRAFFIC_UPDATE) assert_int_equal(event->row, ledger->item_rows++);
        if (event->kind == TRAFFIC_DELETE) ledger->live[event->item] = 0, ledger->live_items--;
        break;
    case TRAFFIC_INSERT:
        assert_int_equal(event->item, ledger->items);
        assert_int_equal(event->row, ledger->item_rows++);
        ledger->live[ledger->items++] = 1;
        ledger->live_items++;
        break;
    case TRAFFIC_FLIP:
        assert_int_equal(event->row, ++ledger->generation);
        break;
    default:
        assert_int_equal(event->kind, TRAFFIC_QUERY_USER);
    }
    if (event->session != TRAFFIC_NONE) keep_session(ledger, event);
}

static void test_events_keep_the_rules(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    options.days = 4;
    options.delete_share = 0.6; /* shrinks to a tenth */
    struct made made = make(&options, 512);
    struct ledger ledger = {.live = calloc(options.items + made.count, 1),
                            .last = calloc(made.counts.sessions, sizeof(struct traffic_event)),
                            .items = options.items,
                            .item_rows = options.items,
                            .live_items = options.items};
    memset(ledger.live, 1, options.items);
    for (size_t i = 0; i < made.count; i++) {
        if (i) assert_true(made.events[i].time_us >= made.events[i - 1].time_us);
        keep(&ledger, &made.events[i]);
    }
    assert_int_equal(ledger.generation, 4);
    assert_int_equal(ledger.sessions, made.counts.sessions);
    assert_int_equal(ledger.item_rows, made.counts.item_rows);
    assert_int_equal(ledger.query_rows, made.counts.query_rows);
    assert_int_equal(ledger.live_items, made.counts.live_items);
    assert_true(made.counts.kinds[TRAFFIC_DELETE] > options.items / 2);
    free(ledger.live);
    free(ledger.last);
    free(made.events);
}

static void test_the_last_item_stays(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    options.items = 5;
    options.insert_share = options.update_share = 0;
    options.delete_share = 100;
    options.churn = 1;
    struct made made = make(&options, 64);
    assert_int_equal(made.counts.live_items, 1);
    free(made.events);
}

static void test_nightly_churn_has_its_share(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    options.churn = 0.1;
    options.days = 3;
    options.flip_days = 2;
    options.insert_share = options.delete_share = 0;
    struct made made = make(&options, 64);
    uint64_t inserts = 0, deletes = 0, old = 0;
    for (size_t i = 0; i < made.count; i++) {
        const struct traffic_event *event = &made.events[i];
        if (event->kind == TRAFFIC_FLIP) assert_int_equal(event->time_us, 27 * UINT64_C(3600000000));
        if (!(event->flags & TRAFFIC_NIGHTLY)) continue;
        assert_int_equal(event->time_us % TRAFFIC_DAY_US, 3 * UINT64_C(3600000000));
        inserts += event->kind == TRAFFIC_INSERT;
        deletes += event->kind == TRAFFIC_DELETE;
        old += event->kind == TRAFFIC_DELETE && event->item < options.items / 2;
    }
    assert_int_equal(inserts, 3 * 300);
    assert_int_equal(deletes, 3 * 300);
    assert_int_equal(made.counts.live_items, 3000);
    assert_int_equal(made.counts.kinds[TRAFFIC_FLIP], 1);
    assert_true(old > deletes * 6 / 10); /* of two the older goes: 3 of 4, were no new items there */
    free(made.events);
}

static void test_shares_are_those_asked_for(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    options.rate = 1.5;
    options.day_swing = 0;
    options.like_share = 0;
    options.session_shape = TRAFFIC_GEOMETRIC;
    struct made made = make(&options, 4096);
    const uint64_t *kinds = made.counts.kinds;
    const double queries = (double)(kinds[TRAFFIC_QUERY_VECTOR] + kinds[TRAFFIC_QUERY_USER]);
    const double all = queries + (double)kinds[TRAFFIC_VIEW];
    assert_true(fabs(all / (2 * 86400) - 1.5) < 0.06);
    assert_true(fabs((double)kinds[TRAFFIC_QUERY_USER] / queries - 0.5) < 0.01);
    assert_true(fabs(queries / all - (1 + 11 * 0.4) / 12) < 0.01); /* the first always, of the others 0.4 */
    assert_true(fabs((double)kinds[TRAFFIC_INSERT] - (2 * 0.02 + 2 * 0.05) * 3000) < 40);
    free(made.events);
}

/* Views a day of items that entered in the first hours: they begin above the average, and fall. */
static void test_new_items_trend_then_decay(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    options.trend = 1;
    options.days = 16;
    options.rate = 2;
    options.insert_share = 0.2;
    options.delete_share = options.update_share = options.churn = 0;
    options.flip_days = 0;
    struct made made = make(&options, 4096);
    double young = 0, old = 0, all_young = 0;
    for (size_t i = 0; i < made.count; i++) {
        const struct traffic_event *event = &made.events[i];
        if (event->kind != TRAFFIC_VIEW) continue;
        const uint64_t day = event->time_us / TRAFFIC_DAY_US;
        const bool of_first_days = event->item >= 3000 && event->item < 3000 + 600; /* made in the first day */
        if (day == 1) all_young++;
        if (of_first_days && day == 1) young++;
        if (of_first_days && day == 15) old++;
    }
    assert_true(young / all_young > 1.5 * 600 / 4200); /* more than their part of the items there on day 1 */
    assert_true(old < 0.5 * young);
    free(made.events);
}

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void test_vectors_mean_what_they_say(void **state) {
    (void)state;
    struct traffic_options options = small_options();
    struct traffic_space *space;
    kith_error error;
    float items[200][64], query[64], other[64];
    double same = 0, different = 0;
    options.dim = 64;
    assert_int_equal(traffic_space_create(&options, &space, &error), KITH_OK);
    for (uint32_t i = 0; i < 200; i++) {
        const struct traffic_event event = traffic_space_initial(space, i);
        traffic_space_item(space, &event, items[i]);
        assert_true(fabs(dot(items[i], items[i], 64) - 1) < 1e-6);
        const struct traffic_event ask = {
            .kind = TRAFFIC_QUERY_VECTOR, .user = i, .item = i, .row = i, .topic = event.topic};
        traffic_space_query(space, &ask, query);
        assert_true(fabs(dot(query, query, 64) - 1) < 1e-6);
        same += dot(query, items[i], 64) / 200;
        if (i) different += dot(query, items[i - 1], 64) / 199;
    }
    assert_true(same > 0.6 && same > different + 0.3);
    /* A generation turns every vector by about the same angle; the generations between them twice as far in squares. */
    double turned = 0, between = 0;
    for (uint32_t i = 0; i < 200; i++) {
        const struct traffic_event event = traffic_space_initial(space, i);
        traffic_space_set_generation(space, 1);
        traffic_space_item(space, &event, query);
        traffic_space_set_generation(space, 2);
        traffic_space_item(space, &event, other);
        turned += dot(query, items[i], 64) / 200;
        between += dot(query, other, 64) / 200;
    }
    assert_true(fabs(turned - sqrt(1 - 0.04)) < 0.02);
    assert_true(fabs(between - (1 - 0.04)) < 0.02);
    traffic_space_destroy(space);
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */

static void test_options_are_checked_by_name(void **state) {
    (void)state;
    struct traffic_options options;
    struct traffic *traffic = NULL;
    static const char *const bad[] = {"", "x", "1x", "nan", "inf", "-1", "1e99"};
    for (const struct traffic_option *option = traffic_option_table; option->name; option++) {
        traffic_options_default(&options);
        assert_true(traffic_option_get(&options, option) == option->standard);
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            kith_error error = {.status = KITH_OK};
            assert_int_equal(traffic_option_parse(&options, option, bad[i], &error), KITH_E_ARG);
            assert_non_null(strstr(error.text, option->name));
        }
        if (!option->real) assert_int_equal(traffic_option_parse(&options, option, "1.5", NULL), KITH_E_ARG);
        assert_true(traffic_option_get(&options, option) == option->standard);
    }
    options.churn = NAN;
    assert_int_equal(traffic_create(&options, &traffic, NULL), KITH_E_ARG);
    traffic_options_default(&options);
    options.topics = options.segments = 65535;
    assert_int_equal(traffic_create(&options, &traffic, NULL), KITH_E_ARG);
    assert_null(traffic);
    assert_in_range(traffic_option_count(), 1, TRACE_OPTIONS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_and_log_are_right),
        cmocka_unit_test(test_zipf_is_exact),
        cmocka_unit_test(test_zipf_exponent_is_found_again),
        cmocka_unit_test(test_ranks_and_users_are_one_to_one),
        cmocka_unit_test(test_tastes_change_one_topic_at_a_time),
        cmocka_unit_test(test_catalog_stays_whole),
        cmocka_unit_test(test_segment_without_items_is_told),
        cmocka_unit_test(test_arrivals_follow_the_hour),
        cmocka_unit_test(test_session_lengths),
        cmocka_unit_test(test_reading_in_other_steps_changes_nothing),
        cmocka_unit_test(test_an_end_after_events),
        cmocka_unit_test(test_events_keep_the_rules),
        cmocka_unit_test(test_the_last_item_stays),
        cmocka_unit_test(test_nightly_churn_has_its_share),
        cmocka_unit_test(test_shares_are_those_asked_for),
        cmocka_unit_test(test_new_items_trend_then_decay),
        cmocka_unit_test(test_vectors_mean_what_they_say),
        cmocka_unit_test(test_options_are_checked_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
