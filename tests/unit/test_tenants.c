/* SPDX-License-Identifier: Apache-2.0
 *
 * Large tenants get segments of their own: who, when, and what becomes of their rows. Items are those of sealing.h; an
 * item's tenant is its color, c0 to c4.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "match/match.h"
#include "state/tenants.h"
#include "support/faulty_io.h"
#include "support/faulty_malloc.h"
#include "support/sealing.h"

#include <pthread.h>

enum { OWN_FROM = 20, MANY = 1000 };

/* ---- Making and looking ------------------------------------------------------------------------------------------ */

static kith_collection *make_shared(const char *name, ki_rng *rng, int texts, int segments) {
    segment_field = "color";
    kith_collection *collection = make_it(name, texts);
    collection->own_from = OWN_FROM;
    for (int i = 0; i < segments; i++) {
        write_some(collection, rng, 250);
        OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    }
    return collection;
}

static kith_collection *open_again(kith_collection *collection, const char *name) {
    collection = reopen(collection, name);
    collection->own_from = OWN_FROM;
    return collection;
}

static uint64_t items_of(unsigned tenant) {
    uint64_t count = 0;
    for (uint64_t id = 0; id < IDS; id++) count += stamps[id] && stamps[id] % 5 == tenant;
    return count;
}

/* Segments of any one tenant, and of the first word's. */
static size_t own_segments(kith_collection *collection) {
    size_t count = 0;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    for (size_t i = 0; i < snapshot->sealed_count; i++) count += ki_split_group(collection, snapshot, i) != 0;
    ki_snapshot_release(snapshot);
    return count;
}

/* Whether a tenant's searches, by the segment or by a filter, see no other rows in each place that has some of it. */
static void check_alone(kith_collection *collection, const char *tenant, const char *filter) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_match *match = NULL;
    size_t places = 0;
    OK(ki_match_create(collection, snapshot, filter, tenant, &match, &error));
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        ki_match_positions positions;
        OK(ki_match_positions_of(match, i, 0, &positions, &error));
        if (!positions.count) continue;
        const ki_bits *live = snapshot->sealed[i].positions[0];
        assert_int_equal(positions.count, live->set);
        assert_null(positions.few);
        assert_ptr_equal(positions.bits, live->set < live->rows ? live : NULL);
        places++;
    }
    assert_true(places > 0);
    ki_match_destroy(match);
    ki_snapshot_release(snapshot);
}

/* An exact search of a tenant for all that it has: exactly its items that have the vector, and how many segments were
 * looked at. */
static size_t check_search(kith_collection *collection, unsigned tenant) {
    static unsigned char seen[IDS];
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    const float query[8] = {0.1f, 0.2f};
    char name[16];
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = query;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = 8;
    const kith_leg leg = {.vector = "", .queries = &queries};
    kith_ask ask = KITH_ASK_INIT;
    snprintf(name, sizeof(name), "c%u", tenant);
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.k = IDS;
    ask.segment = name;
    ask.report = &report;
    OK(kith_result_create(&result, &error));
    OK(kith_collection_search(collection, &ask, result, &error));
    OK(kith_result_hits(result, &hits));
    memset(seen, 0, sizeof(seen));
    for (uint64_t i = 0; i < hits.ends[0]; i++) {
        char text[4] = {0};
        if (with_texts) memcpy(text, hits.id_bytes + hits.id_ends[i] - 3, 3); /* "item 042" */
        const uint64_t id = with_texts ? strtoull(text, NULL, 10) : hits.ids[i];
        assert_true(id < IDS && !seen[id]++);
        assert_int_equal(stamps[id] % 5, tenant);
        if (i) assert_true(hits.distances[i] >= hits.distances[i - 1]);
    }
    for (uint64_t id = 0; id < IDS; id++)
        if (stamps[id] && stamps[id] % 5 == tenant && has_vector(id, stamps[id], 0)) assert_true(seen[id]);
    kith_result_destroy(result);
    return report.segments;
}

static void check_searches(kith_collection *collection) {
    check_all(collection);
    for (unsigned tenant = 0; tenant < 5; tenant++) (void)check_search(collection, tenant);
}

static size_t merge_once(kith_collection *collection, ki_merge_when when) {
    size_t merged = 0;
    OK(ki_merge(collection, when, NULL, &merged, &error));
    return merged;
}

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
        if (round % 3 == 0) collection->own_from = OWN_FROM;
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

/* ---- Faults ------------------------------------------------------------------------------------------------------ */

/* Whatever fails leaves the state as it was, and no files; done again it goes well. */
static void test_out_of_memory(void **state) {
    (void)state;
    ki_rng rng = {10};
    kith_collection *collection = make_shared("memory", &rng, 0, 2);
    int failed = 0;
    (void)ki_tenants_note(collection->tenants, "c1", MANY);
    for (long number = 0;; number += 1 + number / 12) {
        size_t split = 0;
        faulty_malloc_start(number, 0);
        const kith_status status = ki_split(collection, NULL, &split, &error);
        const long asked = faulty_malloc_stop();
        check_all(collection);
        assert_int_equal(own_segments(collection), split ? 1 : 0);
        assert_int_equal(entries(collection->segments_path), segments_of(collection));
        if (status == KITH_OK && (split || asked <= number)) break;
        assert_true(status == KITH_E_NOMEM || status == KITH_OK);
        failed++;
    }
    assert_true(failed > 10);
    (void)check_search(collection, 1);
    collection = open_again(collection, "memory");
    kith_collection_close(collection);
}

static void test_full_disk(void **state) {
    (void)state;
    ki_rng rng = {11};
    kith_collection *collection = make_shared("full", &rng, 0, 2);
    int refused = 0;
    for (long number = 0;; number += 1 + number / 24) {
        size_t split = 0;
        (void)ki_tenants_note(collection->tenants, "c1", MANY);
        faulty_io_start(number, 0, ENOSPC);
        const kith_status status = ki_split(collection, NULL, &split, &error);
        const long asked = faulty_io_stop();
        if (collection->poisoned != KITH_OK) collection = open_again(collection, "full");
        check_searches(collection);
        assert_int_equal(entries(collection->segments_path), segments_of(collection));
        refused += status != KITH_OK;
        if (asked <= number) break;
        if (status != KITH_OK) continue;
        write_some(collection, &rng, 200);
        OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    }
    assert_true(refused > 20);
    collection = open_again(collection, "full");
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
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
