/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles of collections: durable, read by others, searched by; what was seen left out, several interests, results that
 * differ; and what is refused. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "upkeep/seal.h"
#include "support/shop.h"

#include <math.h>

enum { ITEMS = 200, WIDE = 8 };

static float rows[ITEMS][WIDE];
static kith_result *result;
static kith_hits hits;

static const kith_vector_spec specs[] = {
    {"", WIDE, KITH_F32, KITH_COSINE}, {"plain", WIDE, KITH_F16, KITH_L2SQ}, {"bits", 8, KITH_B1, KITH_HAMMING}};

/* ---- A collection in two groups: even ids lie about one axis, odd ones about another ----------------------------- */

static kith_status write_rows(kith_collection *collection, uint64_t first, uint64_t count, int with_vectors) {
    uint64_t ids[ITEMS], ends[ITEMS];
    char *payloads = calloc(ITEMS, 32);
    size_t used = 0;
    assert_non_null(payloads);
    for (uint64_t i = 0; i < count; i++) {
        ids[i] = first + i;
        used += (size_t)sprintf(payloads + used, "{\"third\": %s}", (first + i) % 3 ? "false" : "true");
        ends[i] = used;
    }
    const kith_item_vectors vectors[] = {{.name = "", .data = rows[first], .dtype = KITH_F32, .dim = WIDE},
                                         {.name = "plain", .data = rows[first], .dtype = KITH_F32, .dim = WIDE}};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = count, .ids = ids};
    items.vectors = vectors;
    items.vector_count = with_vectors ? 2 : 0;
    items.payload_bytes = payloads;
    items.payload_ends = ends;
    const kith_status status = kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error);
    free(payloads);
    return status;
}

static kith_collection *filled(const char *path) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    ki_rng rng = {5};
    options.vectors = specs;
    options.vector_count = 3;
    for (int i = 0; i < ITEMS; i++)
        for (int d = 0; d < WIDE; d++)
            rows[i][d] = (float)ki_rng_below(&rng, 1000) * 0.0005f + (d == i % 2 ? 1.f : 0.f);
    must(kith_collection_create(path, &options, &error));
    kith_collection *collection = open_at(path, 0);
    must(write_rows(collection, 0, ITEMS / 2, 1));
    must(kith_collection_compact(collection, NULL, NULL, &error)); /* half of them sealed, half in memory */
    must(write_rows(collection, ITEMS / 2, ITEMS / 2, 1));
    return collection;
}

static kith_status tell(kith_collection *collection, const char *name, kith_event_kind kind, uint64_t id,
                        const kith_profile_options *options) {
    const kith_profile_event event = {.kind = kind};
    return kith_collection_profile_event(collection, name, &(kith_ids){.count = 1, .ids = &id}, &event, options,
                                         &error);
}

static kith_profile_report report_of(kith_collection *collection, const char *name, float *vectors) {
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    must(kith_collection_profile_get(collection, name, &report, vectors, KITH_INTERESTS_MAX * WIDE, &error));
    return report;
}

static kith_ask ask_of(const char *profile, size_t k) {
    kith_ask ask = KITH_ASK_INIT;
    ask.profile = profile;
    ask.k = k;
    return ask;
}

static void search(kith_collection *collection, const kith_ask *ask) {
    must(kith_collection_search(collection, ask, result, &error));
    hits = (kith_hits)KITH_HITS_INIT;
    must(kith_result_hits(result, &hits));
}

static int found(uint64_t id) {
    for (size_t i = 0; i < hits.count; i++)
        if (hits.ids[i] == id) return 1;
    return 0;
}

/* The same answer as a search by a vector gives. */
static void expect_search_by(kith_collection *collection, const float *vector, const char *name, size_t k,
                             const kith_ask *ask) {
    static uint64_t ids[KITH_K_MAX];
    static float distances[KITH_K_MAX];
    kith_queries queries = KITH_QUERIES_INIT;
    const kith_leg leg = {.vector = name, .queries = &queries};
    kith_ask plain = KITH_ASK_INIT;
    search(collection, ask);
    const size_t count = hits.count;
    memcpy(ids, hits.ids, count * sizeof(*ids));
    memcpy(distances, hits.distances, count * sizeof(*distances));
    queries.data = vector, queries.dtype = KITH_F32, queries.count = 1, queries.dim = WIDE;
    plain.legs = &leg, plain.leg_count = 1, plain.k = k;
    search(collection, &plain);
    assert_int_equal(hits.count, count);
    assert_memory_equal(hits.ids, ids, count * sizeof(*ids));
    assert_memory_equal(hits.distances, distances, count * sizeof(*distances));
}

/* ---- Kept -------------------------------------------------------------------------------------------------------- */

static void test_durable_and_followed(void **state) {
    char path[512];
    float before[KITH_INTERESTS_MAX * WIDE], after[KITH_INTERESTS_MAX * WIDE];
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    kith_profile_report report;
    (void)state;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *collection = filled(path), *reader = open_at(path, 1);
    options.interests = 3;
    options.half_life_ms = 1000;
    options.seen = 2;
    must(tell(collection, "ann", KITH_EVENT_LIKE, 4, &options));
    must(tell(collection, "ann", KITH_EVENT_LIKE, 105, NULL));
    must(tell(collection, "ann", KITH_EVENT_SEEN, 6, NULL));
    report = report_of(collection, "ann", before);
    assert_int_equal(report.interests, 2);
    assert_int_equal(report.interests_max, 3);
    assert_int_equal(report.dim, WIDE);
    assert_string_equal(report.vector, "");
    assert_int_equal(report.seen, 2);
    assert_int_equal(report.events, 3);
    assert_int_equal(report.half_life_ms, 1000);
    assert_true(report.weights[0] > 0.1 && report.weights[0] <= 1 && report.weights[1] > 0.1);
    report = report_of(reader, "ann", after);
    assert_memory_equal(before, after, 2 * WIDE * sizeof(float));
    refused(tell(reader, "ann", KITH_EVENT_LIKE, 8, NULL), KITH_E_ARG, "reading only");
    refused(kith_collection_profile_delete(reader, "ann", &error), KITH_E_ARG, "reading only");
    kith_collection_close(collection);
    collection = open_at(path, 0);
    report = report_of(collection, "ann", after);
    assert_int_equal(report.events, 3);
    assert_memory_equal(before, after, 2 * WIDE * sizeof(float));
    must(kith_collection_profile_delete(collection, "ann", &error));
    refused(kith_collection_profile_delete(collection, "ann", &error), KITH_E_NOTFOUND, "no profile \"ann\"");
    const kith_ask ask = ask_of("ann", 3);
    refused(kith_collection_search(reader, &ask, result, &error), KITH_E_NOTFOUND, "no profile \"ann\"");
    kith_collection_close(reader);
    kith_collection_close(collection);
}

/* ---- Searched by ------------------------------------------------------------------------------------------------- */

static void test_a_search_by_the_profiles_vector(void **state) {
    float vectors[KITH_INTERESTS_MAX * WIDE], blended[WIDE];
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    (void)state;
    kith_collection *collection = filled(fresh());
    must(tell(collection, "bo", KITH_EVENT_LIKE, 4, NULL));
    must(tell(collection, "bo", KITH_EVENT_LIKE, 8, NULL));
    must(tell(collection, "bo", KITH_EVENT_DISLIKE, 110, NULL));
    kith_ask ask = ask_of("bo", 20);
    (void)report_of(collection, "bo", vectors);
    expect_search_by(collection, vectors, "", 20, &ask);

    options.vector = "plain"; /* l2: the mean */
    must(tell(collection, "cy", KITH_EVENT_LIKE, 4, &options));
    must(tell(collection, "cy", KITH_EVENT_LIKE, 120, NULL));
    ask = ask_of("cy", 20);
    assert_string_equal(report_of(collection, "cy", vectors).vector, "plain");
    expect_search_by(collection, vectors, "plain", 20, &ask);

    kith_queries context = KITH_QUERIES_INIT;
    const kith_leg leg = {.vector = "plain", .queries = &context};
    context.data = rows[3], context.dtype = KITH_F32, context.count = 1, context.dim = WIDE;
    ask.legs = &leg, ask.leg_count = 1, ask.blend = 0.25;
    for (int d = 0; d < WIDE; d++) blended[d] = (float)(0.75 * (double)vectors[d] + 0.25 * (double)rows[3][d]);
    expect_search_by(collection, blended, "plain", 20, &ask);
    ask.blend = 1;
    expect_search_by(collection, rows[3], "plain", 20, &ask);
    kith_collection_close(collection);
}

static void test_recommendations_change_at_once(void **state) {
    (void)state;
    kith_collection *collection = filled(fresh());
    kith_ask ask = ask_of("di", 10);
    ask.leave_out_seen = 1;
    must(tell(collection, "di", KITH_EVENT_LIKE, 4, NULL));
    search(collection, &ask);
    assert_int_equal(hits.count, 10);
    for (size_t i = 0; i < 10; i++) assert_true(hits.ids[i] % 2 == 0 && hits.ids[i] != 4);
    const uint64_t best = hits.ids[0];
    must(tell(collection, "di", KITH_EVENT_SEEN, best, NULL));
    search(collection, &ask);
    assert_int_equal(hits.count, 10);
    assert_false(found(best));
    const kith_profile_event strong = {.kind = KITH_EVENT_LIKE, .weight = 50};
    const uint64_t odd = 7;
    must(kith_collection_profile_event(collection, "di", &(kith_ids){.count = 1, .ids = &odd}, &strong, NULL, &error));
    search(collection, &ask);
    for (size_t i = 0; i < 10; i++) assert_true(hits.ids[i] % 2 == 1 && hits.ids[i] != 7);
    kith_collection_close(collection);
}

static void test_several_interests_are_all_served(void **state) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    size_t odd = 0;
    (void)state;
    kith_collection *collection = filled(fresh());
    options.interests = 4;
    options.threshold = 0.75;
    for (uint64_t id = 0; id < 10; id++) must(tell(collection, "ed", KITH_EVENT_LIKE, id, &options));
    assert_int_equal(report_of(collection, "ed", NULL).interests, 2);
    kith_ask ask = ask_of("ed", 20);
    ask.leave_out_seen = 1;
    search(collection, &ask);
    assert_int_equal(hits.count, 20);
    for (size_t i = 0; i < 20; i++) {
        assert_true(hits.ids[i] >= 10);
        odd += hits.ids[i] % 2;
        for (size_t j = 0; j < i; j++) assert_int_not_equal(hits.ids[i], hits.ids[j]);
    }
    assert_in_range(odd, 8, 12);
    /* One that is liked less has less, and not nothing. */
    for (uint64_t id = 10; id < 30; id += 2) must(tell(collection, "ed", KITH_EVENT_LIKE, id, NULL));
    search(collection, &ask);
    for (size_t i = odd = 0; i < 20; i++) odd += hits.ids[i] % 2;
    assert_in_range(odd, 3, 7);
    kith_collection_close(collection);
}

/* min(k, matches that were not seen), however many were. */
static void test_seen_items_leave_no_gap(void **state) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    (void)state;
    kith_collection *collection = filled(fresh());
    const size_t ks[] = {1, 3, 10, 60, 150, ITEMS};
    uint64_t ids[ITEMS];
    kith_profile_event events[ITEMS] = {{0}};
    options.interests = 2;
    must(tell(collection, "flo", KITH_EVENT_LIKE, 4, &options));
    must(tell(collection, "flo", KITH_EVENT_LIKE, 5, NULL));
    for (size_t seen = 0; seen <= ITEMS; seen += 40) {
        for (uint64_t i = 0; i < seen; i++) ids[i] = i, events[i].kind = KITH_EVENT_SEEN;
        must(kith_collection_profile_event(collection, "flo", &(kith_ids){.count = seen, .ids = ids}, events, NULL,
                                           &error));
        size_t left[2] = {0, 0};
        for (uint64_t id = 0; id < ITEMS; id++) {
            const int is_seen = id < seen || id == 4 || id == 5;
            left[0] += !is_seen;
            left[1] += !is_seen && id % 3 == 0;
        }
        for (size_t i = 0; i < sizeof(ks) / sizeof(*ks); i++)
            for (int filtered = 0; filtered < 2; filtered++)
                for (int spread = 0; spread < 2; spread++) {
                    kith_ask ask = ask_of("flo", ks[i]);
                    ask.filter = filtered ? "third" : NULL;
                    ask.diversity = spread ? 0.4 : 0;
                    ask.leave_out_seen = 1;
                    search(collection, &ask);
                    assert_int_equal(hits.count, ks[i] < left[filtered] ? ks[i] : left[filtered]);
                    for (size_t h = 0; h < hits.count; h++)
                        assert_true(hits.ids[h] >= seen && hits.ids[h] != 4 && hits.ids[h] != 5);
                }
    }
    kith_collection_close(collection);
}

static void test_diversity_of_any_search(void **state) {
    kith_queries queries = KITH_QUERIES_INIT;
    const kith_leg leg = {.queries = &queries};
    uint64_t nearest[10];
    size_t same = 0;
    (void)state;
    kith_collection *collection = filled(fresh());
    queries.data = rows[4], queries.dtype = KITH_F32, queries.count = 1, queries.dim = WIDE;
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg, ask.leg_count = 1;
    search(collection, &ask);
    memcpy(nearest, hits.ids, sizeof(nearest));
    ask.diversity = 1e-9; /* as good as none */
    search(collection, &ask);
    assert_memory_equal(hits.ids, nearest, sizeof(nearest));
    ask.diversity = 0.8;
    search(collection, &ask);
    assert_int_equal(hits.count, 10);
    assert_int_equal(hits.ids[0], 4);
    for (size_t i = 0; i < 10; i++)
        for (size_t j = 0; j < 10; j++) same += hits.ids[i] == nearest[j];
    assert_true(same < 10);
    ask.with = KITH_WITH_VECTORS | KITH_WITH_PAYLOAD;
    search(collection, &ask);
    const float *vectors = kith_result_vectors(result, "", NULL);
    for (size_t i = 0; i < 10; i++) assert_memory_equal(vectors + i * WIDE, rows[hits.ids[i]], sizeof(rows[0]));
    kith_collection_close(collection);
}

/* ---- Anew -------------------------------------------------------------------------------------------------------- */

static int stop_second(void *context, const kith_progress *progress) {
    int *calls = context;
    assert_string_equal(progress->stage, "rebuilding");
    return ++*calls == 2;
}

/* Items swap their vectors: a profile that is rebuilt is as one that is told only then. Many, in several parts. */
static void test_rebuilt_for_new_vectors(void **state) {
    enum { MANY = 150 };
    kith_rebuild_report report = KITH_REBUILD_REPORT_INIT;
    float before[KITH_INTERESTS_MAX * WIDE], after[KITH_INTERESTS_MAX * WIDE], fresh_one[KITH_INTERESTS_MAX * WIDE];
    const uint64_t gone = 9;
    char name[16];
    int calls = 0;
    (void)state;
    kith_collection *collection = filled(fresh());
    for (uint64_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "p%d", (int)i);
        must(tell(collection, name, KITH_EVENT_LIKE, 4, NULL));
        must(tell(collection, name, KITH_EVENT_SEEN, 5, NULL));
    }
    must(tell(collection, "p7", KITH_EVENT_LIKE, gone, NULL));
    for (int d = 0; d < WIDE; d++) rows[4][d] = rows[3][d]; /* it belongs to the other group now */
    must(write_rows(collection, 4, 1, 1));
    must(kith_collection_delete(collection, &(kith_ids){.count = 1, .ids = &gone}, NULL, NULL, &error));
    (void)report_of(collection, "p99", before);
    refused(kith_collection_profile_rebuild(collection, NULL, stop_second, &calls, &report, &error), KITH_E_CANCELLED,
            "after 64 of 150");
    (void)report_of(collection, "p99", after);
    assert_memory_equal(before, after, WIDE * sizeof(float));
    must(kith_collection_profile_rebuild(collection, NULL, NULL, NULL, &report, &error));
    assert_int_equal(report.profiles, MANY);
    assert_int_equal(report.events, MANY + 1);
    assert_int_equal(report.skipped, 1);
    must(tell(collection, "new", KITH_EVENT_LIKE, 4, NULL));
    (void)report_of(collection, "new", fresh_one);
    for (uint64_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "p%d", (int)i);
        const kith_profile_report now = report_of(collection, name, after);
        assert_memory_equal(after, fresh_one, WIDE * sizeof(float));
        assert_int_equal(now.seen, i == 7 ? 3 : 2);
        assert_int_equal(now.events, now.seen);
    }
    must(kith_collection_profile_rebuild(collection, "p7", NULL, NULL, &report, &error));
    assert_int_equal(report.profiles * 100 + report.events * 10 + report.skipped, 121);
    refused(kith_collection_profile_rebuild(collection, "nobody", NULL, NULL, NULL, &error), KITH_E_NOTFOUND,
            "no profile \"nobody\"");
    refused(kith_collection_profile_rebuild(collection, "", NULL, NULL, NULL, &error), KITH_E_ARG, "name");
    kith_collection *reader = open_at(collection->path, 1);
    refused(kith_collection_profile_rebuild(reader, NULL, NULL, NULL, NULL, &error), KITH_E_ARG, "reading only");
    kith_collection_close(reader);
    kith_collection_close(collection);
}

/* ---- Refused ----------------------------------------------------------------------------------------------------- */

static void test_events_are_checked(void **state) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    const uint64_t some[] = {3, 999};
    kith_profile_event events[] = {{.kind = KITH_EVENT_LIKE}, {.kind = KITH_EVENT_LIKE}};
    const kith_ids ids = {.count = 2, .ids = some};
    (void)state;
    kith_collection *collection = filled(fresh());
    must(write_rows(collection, 150, 1, 0)); /* an item without vectors now */
    refused(tell(collection, "x", KITH_EVENT_LIKE, 999, NULL), KITH_E_NOTFOUND, "item 0 (id 999)");
    refused(kith_collection_profile_get(collection, "x", &report, NULL, 0, &error), KITH_E_NOTFOUND, "no profile");
    refused(tell(collection, "x", KITH_EVENT_LIKE, 150, NULL), KITH_E_DATA, "no vector \"\"");
    must(tell(collection, "x", KITH_EVENT_SEEN, 150, NULL));
    refused(kith_collection_profile_event(collection, "x", &ids, events, NULL, &error), KITH_E_NOTFOUND, "999");
    assert_int_equal(report_of(collection, "x", NULL).events, 1); /* none of the two */
    refused(tell(collection, "x", (kith_event_kind)9, 3, NULL), KITH_E_ARG, "no kind");
    refused(tell(collection, "", KITH_EVENT_LIKE, 3, NULL), KITH_E_ARG, "name");
    refused(tell(collection, "a\nb", KITH_EVENT_LIKE, 3, NULL), KITH_E_ARG, "name");
    events[0].weight = NAN;
    refused(kith_collection_profile_event(collection, "x", &ids, events, NULL, &error), KITH_E_ARG, "weight");
    events[0].weight = 0, events[0].time_ms = UINT64_C(1) << 60;
    refused(kith_collection_profile_event(collection, "x", &ids, events, NULL, &error), KITH_E_ARG, "a day ahead");
    options.interests = 17;
    refused(tell(collection, "x", KITH_EVENT_LIKE, 3, &options), KITH_E_ARG, "at most 16");
    options.interests = 0, options.seen = 5001;
    refused(tell(collection, "x", KITH_EVENT_LIKE, 3, &options), KITH_E_ARG, "at most 5000");
    options.seen = 0, options.vector = "plain";
    refused(tell(collection, "x", KITH_EVENT_LIKE, 3, &options), KITH_E_ARG, "is of the vector \"\"");
    options.vector = "bits";
    refused(tell(collection, "y", KITH_EVENT_LIKE, 3, &options), KITH_E_ARG, "of bits");
    options.vector = "nothing";
    refused(tell(collection, "y", KITH_EVENT_LIKE, 3, &options), KITH_E_NOTFOUND, "nothing");
    kith_collection_close(collection);
}

static void test_searches_are_checked(void **state) {
    float shorter[WIDE];
    kith_queries queries = KITH_QUERIES_INIT;
    kith_leg leg = {.queries = &queries};
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    (void)state;
    kith_collection *collection = filled(fresh());
    must(tell(collection, "x", KITH_EVENT_SEEN, 3, NULL));
    kith_ask ask = ask_of("x", 5);
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_NOTFOUND, "no interests yet");
    queries.data = rows[5], queries.dtype = KITH_F32, queries.count = 1, queries.dim = WIDE;
    ask.legs = &leg, ask.leg_count = 1; /* the context alone */
    ask.leave_out_seen = 1;
    search(collection, &ask);
    assert_int_equal(hits.ids[0], 5);
    must(tell(collection, "x", KITH_EVENT_LIKE, 3, NULL));
    queries.dim = WIDE - 1;
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_ARG, "7 dimensions");
    queries.dim = WIDE, queries.count = 2;
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_ARG, "2 queries");
    queries.count = 1, leg.vector = "plain";
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_ARG, "another vector");
    leg.vector = NULL, ask.blend = 2;
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_ARG, "blend");
    ask.blend = 0, ask.diversity = -1;
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_ARG, "diversity");
    ask.diversity = 0, ask.profile = NULL;
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_ARG, "needs a profile");
    refused(kith_collection_profile_get(collection, "x", &report, shorter, WIDE - 1, &error), KITH_E_ARG, "room");
    must(kith_collection_profile_get(collection, "x", &report, shorter, WIDE, &error));
    kith_collection_close(collection);
}

static void test_a_damaged_profile(void **state) {
    (void)state;
    kith_collection *collection = filled(fresh());
    must(tell(collection, "x", KITH_EVENT_LIKE, 3, NULL));
    must(ki_catalog_begin(collection->catalog, &error));
    must(ki_catalog_put_record(collection->catalog, 1, (ki_bytes){"x", 1}, (ki_bytes){"nonsense", 8}, &error));
    must(ki_catalog_commit(collection->catalog, &error));
    const kith_ask ask = ask_of("x", 5);
    refused(kith_collection_search(collection, &ask, result, &error), KITH_E_CORRUPT, "\"x\" is damaged");
    refused(tell(collection, "x", KITH_EVENT_LIKE, 3, NULL), KITH_E_CORRUPT, "\"x\" is damaged");
    must(kith_collection_profile_delete(collection, "x", &error));
    must(tell(collection, "x", KITH_EVENT_LIKE, 3, NULL));
    search(collection, &ask);
    assert_int_equal(hits.ids[0], 3);
    kith_collection_close(collection);
}

static int set_up(void **state) {
    (void)state;
    return kith_result_create(&result, &error) != KITH_OK || data_folder_make(state);
}

static int tear_down(void **state) {
    kith_result_destroy(result);
    return data_folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durable_and_followed),
        cmocka_unit_test(test_a_search_by_the_profiles_vector),
        cmocka_unit_test(test_recommendations_change_at_once),
        cmocka_unit_test(test_several_interests_are_all_served),
        cmocka_unit_test(test_seen_items_leave_no_gap),
        cmocka_unit_test(test_diversity_of_any_search),
        cmocka_unit_test(test_events_are_checked),
        cmocka_unit_test(test_searches_are_checked),
        cmocka_unit_test(test_rebuilt_for_new_vectors),
        cmocka_unit_test(test_a_damaged_profile),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
