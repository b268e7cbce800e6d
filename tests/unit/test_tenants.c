/* SPDX-License-Identifier: Apache-2.0
 *
 * Large tenants get segments of their own: who, when, and what becomes of their rows.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/tenants.h"

#include <pthread.h>

/* ---- Who, and when ----------------------------------------------------------------------------------------------- */

static void splits(int texts, const char *name) {
    ki_rng rng = {1};
    kith_collection *collection = make_shared(name, &rng, texts, 2);
    assert_true(items_of(1) >= OWN_FROM);
    check_searches(collection);
    assert_int_equal(check_search(collection, 1), 2);
    assert_int_equal(merge_once(collection, KI_MERGE_HASTE), 0); /* it is never done in haste */
    (void)ki_tenants_note(collection->tenants, "c1", MANY);
    assert_int_equal(merge_once(collection, KI_MERGE_HASTE), 0);
    assert_int_equal(own_segments(collection), 0);
    assert_int_equal(merge_once(collection, KI_MERGE_BUSY), 2); /* rows of two segments */
    assert_int_equal(segments_of(collection), 3);
    assert_int_equal(own_segments(collection), 1);
    check_searches(collection);
    assert_int_equal(check_search(collection, 1), 1);
    assert_int_equal(check_search(collection, 2), 2);
    collection = open_again(collection, name);
    assert_int_equal(own_segments(collection), 1);
    check_searches(collection);
    /* All others become one, and it stays. */
    OK(ki_merge_all(collection, NULL, &error));
    assert_int_equal(segments_of(collection), 2);
    check_searches(collection);
    assert_int_equal(check_search(collection, 1), 1);
    assert_int_equal(check_search(collection, 2), 1);
    check_alone(collection, "c1", NULL);
    check_alone(collection, NULL, "color = \"c1\"");
    collection = open_again(collection, name);
    while (merge_once(collection, KI_MERGE_IDLE)) {
    }
    assert_int_equal(segments_of(collection), 2);
    kith_collection_close(collection);
}

static void test_numbers(void **state) {
    (void)state;
    splits(0, "numbers");
}

static void test_texts(void **state) {
    (void)state;
    splits(1, "texts");
}

/* Who is small, who was not asked for, and whose searches are outnumbered by those of everything, stay. */
static void test_stays(void **state) {
    (void)state;
    ki_rng rng = {2};
    kith_collection *collection = make_shared("stays", &rng, 0, 1);
    collection->own_from = items_of(3) + 1;
    (void)ki_tenants_note(collection->tenants, "c3", MANY);
    (void)ki_tenants_note(collection->tenants, "nobody", MANY);
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    assert_false(ki_split_wanted(collection, snapshot));
    collection->own_from = items_of(3);
    assert_true(ki_split_wanted(collection, snapshot));
    ki_tenants_note_all(collection->tenants, MANY - items_of(3) + 1);
    assert_false(ki_split_wanted(collection, snapshot));
    (void)ki_tenants_note(collection->tenants, "c3", 1);
    assert_true(ki_split_wanted(collection, snapshot));
    ki_tenants_spend(collection->tenants, "c3");
    assert_false(ki_split_wanted(collection, snapshot));
    ki_snapshot_release(snapshot);
    /* Searches note themselves. */
    for (int i = 0; i < 5; i++) (void)check_search(collection, 3);
    uint64_t surplus;
    char *name = ki_tenants_get(collection->tenants, 0, &surplus);
    assert_string_equal(name, "c3");
    assert_int_equal(surplus, 5);
    free(name);
    assert_null(ki_tenants_get(collection->tenants, 9, &surplus));
    kith_collection_close(collection);
}

/* What comes later is shared until there is enough of it, and is merged with what the tenant has. */
static void test_grows(void **state) {
    (void)state;
    ki_rng rng = {3};
    kith_collection *collection = make_shared("grows", &rng, 0, 1);
    for (int round = 0; round < 3; round++) {
        (void)ki_tenants_note(collection->tenants, "c4", MANY);
        (void)ki_tenants_note(collection->tenants, "c2", MANY);
        while (merge_once(collection, KI_MERGE_IDLE)) {
        }
        assert_int_equal(own_segments(collection), 2);
        assert_int_equal(segments_of(collection), 3);
        check_searches(collection);
        write_some(collection, &rng, 200);
        OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
        check_searches(collection);
        collection = open_again(collection, "grows");
    }
    kith_collection_close(collection);
}

/* A tenant that has lost most of what it had is merged with the others. */
static void test_shrinks(void **state) {
    (void)state;
    ki_rng rng = {4};
    kith_collection *collection = make_shared("shrinks", &rng, 0, 2);
    (void)ki_tenants_note(collection->tenants, "c0", MANY);
    assert_int_equal(merge_once(collection, KI_MERGE_IDLE), 2);
    for (uint64_t id = 0; id < IDS && items_of(0) >= OWN_FROM / 2; id++)
        if (stamps[id] && stamps[id] % 5 == 0) write_one(collection, id, id % 2 ? 0 : stamps[id] + 1);
    assert_int_equal(own_segments(collection), 0);
    check_searches(collection);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    OK(ki_merge_all(collection, NULL, &error));
    assert_int_equal(segments_of(collection), 1);
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    assert_false(snapshot->sealed[0].sealed->own);
    ki_snapshot_release(snapshot);
    check_searches(collection);
    collection = open_again(collection, "shrinks");
    kith_collection_close(collection);
}

/* A field that is declared later: the segment with another table is the tenant's still. */
static void test_fields(void **state) {
    (void)state;
    ki_rng rng = {5};
    kith_collection *collection = make_shared("fields", &rng, 0, 1);
    (void)ki_tenants_note(collection->tenants, "c0", MANY);
    assert_int_equal(merge_once(collection, KI_MERGE_IDLE), 1);
    OK(kith_collection_declare(collection, &later_field, &error));
    for (int done = 0; !done;) OK(ki_fields_index(collection, NULL, &done, &error));
    assert_int_equal(own_segments(collection), 1);
    check_searches(collection);
    kith_collection_close(collection);
}

static void test_memory_alone(void **state) {
    (void)state;
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    ki_rng rng = {6};
    made.vectors = specs;
    made.vector_count = SPECS;
    made.fields = fields;
    made.field_count = 2;
    made.segment_field = "color";
    options.no_background = 1;
    options.threads = 1;
    OK(kith_collection_open_memory(&made, &options, &collection, &error));
    collection->own_from = OWN_FROM;
    memset(stamps, 0, sizeof(stamps));
    with_texts = 0;
    write_some(collection, &rng, 400);
    (void)ki_tenants_note(collection->tenants, "c1", MANY);
    OK(kith_collection_compact(collection, NULL, NULL, &error));
    assert_int_equal(segments_of(collection), 2);
    assert_int_equal(check_search(collection, 1), 1);
    check_searches(collection);
    kith_collection_close(collection);
}

/* ---- Meanwhile --------------------------------------------------------------------------------------------------- */

struct meddler {
    kith_collection *collection;
    ki_rng rng;
};

static int meddle(void *context, const kith_progress *progress) {
    struct meddler *meddler = context;
    (void)progress;
    write_some(meddler->collection, &meddler->rng, 12);
    return 0;
}

static int remove_all(void *context, const kith_progress *progress) {
    (void)progress;
    for (uint64_t id = 0; id < IDS; id++)
        if (stamps[id]) write_one(context, id, 0);
    return 0;
}

/* Rows that die, or move to another tenant, while the files are built. */
static void test_writes_meanwhile(void **state) {
    (void)state;
    ki_rng rng = {7};
    size_t split = 0;
    kith_collection *collection = make_shared("meanwhile", &rng, 0, 2);
    struct meddler meddler = {collection, {8}};
    ki_watch watch = {.progress = meddle, .progress_context = &meddler, .threads = 1, .polite = 1};
    (void)ki_tenants_note(collection->tenants, "c1", MANY);
    OK(ki_split(collection, &watch, &split, &error));
    assert_int_equal(split, 2);
    check_searches(collection);
    collection = open_again(collection, "meanwhile");
    check_searches(collection);
    (void)ki_tenants_note(collection->tenants, "c2", MANY);
    watch = (ki_watch){.progress = remove_all, .progress_context = collection, .threads = 1};
    OK(ki_split(collection, &watch, &split, &error));
    assert_true(split);
    check_searches(collection);
    OK(ki_merge_all(collection, NULL, &error));
    assert_int_equal(segments_of(collection), 0);
    assert_int_equal(entries(collection->segments_path), 0);
    collection = open_again(collection, "meanwhile");
    kith_collection_close(collection);
}

/* Searches of a tenant find the same all the time: its rows are in one place or the other. */
struct searcher {
    kith_collection *collection;
    atomic_int stop;
    atomic_uint searches;
};

static void *search_on(void *context) {
    struct searcher *searcher = context;
    while (!atomic_load(&searcher->stop)) {
        kith_result *result = NULL;
        kith_hits hits = KITH_HITS_INIT;
        const float query[8] = {0};
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = query;
        queries.dtype = KITH_F32;
        queries.count = 1;
        queries.dim = 8;
        const kith_leg leg = {.vector = "", .queries = &queries};
        kith_ask ask = KITH_ASK_INIT;
        ask.legs = &leg;
        ask.leg_count = 1;
        ask.k = IDS;
        ask.segment = "c1";
        uint64_t expected = 0;
        for (uint64_t id = 0; id < IDS; id++)
            expected += stamps[id] && stamps[id] % 5 == 1 && has_vector(id, stamps[id], 0);
        if (kith_result_create(&result, NULL) != KITH_OK) abort();
        if (kith_collection_search(searcher->collection, &ask, result, NULL) != KITH_OK) abort();
        if (kith_result_hits(result, &hits) != KITH_OK || hits.ends[0] != expected) abort();
        kith_result_destroy(result);
        atomic_fetch_add(&searcher->searches, 1);
    }
    return NULL;
}

static void test_searches_meanwhile(void **state) {
    (void)state;
    ki_rng rng = {9};
    kith_collection *collection = make_shared("searches", &rng, 0, 2);
    struct searcher searcher = {.collection = collection};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, search_on, &searcher), 0);
    for (int round = 0; round < 6; round++) {
        const unsigned before = atomic_load(&searcher.searches);
        (void)ki_tenants_note(collection->tenants, round % 2 ? "c1" : "c3", MANY);
        OK(ki_merge_all(collection, NULL, &error));
        while (atomic_load(&searcher.searches) < before + 3) sched_yield();
    }
    atomic_store(&searcher.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(own_segments(collection), 2);
    check_searches(collection);
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_stays),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_memory_alone),
        cmocka_unit_test(test_writes_meanwhile),
        cmocka_unit_test(test_searches_meanwhile),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
