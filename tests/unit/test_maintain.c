/* SPDX-License-Identifier: Apache-2.0
 *
 * Background work: what it does by itself, beside writers and callers that compact, when it fails and when it is
 * stopped. Tests wait for what they need, however long that takes on a busy machine.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/sealing.h"
#include "support/unsynced.h"
#include "upkeep/maintain.h"

#include <time.h>
#include <unistd.h>

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static kith_collection_info info_of(kith_collection *collection) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    OK(kith_collection_get_info(collection, &info));
    return info;
}

/* A collection whose heads are small, with its thread or without. */
static kith_collection *start(const char *name, int background) {
    head_bytes = 1 << 20;
    kith_collection_close(make_it(name, 0));
    head_bytes = 1; /* as few rows as a head may have */
    return open_as(name, 1, background);
}

static void test_seals_and_merges(void **state) {
    (void)state;
    ki_rng rng = {41};
    kith_collection *collection = start("alone", 1);
    for (int round = 0; round < 3; round++) {
        write_some(collection, &rng, 900);
        while (heads_of(collection) > 1) rest();
        check_all(collection);
    }
    while (segments_of(collection) > 3) rest(); /* it has time now */
    check_all(collection);
    assert_string_equal(info_of(collection).trouble, "");
    while (entries(collection->segments_path) > segments_of(collection)) rest(); /* old files go */
    collection = reopen(collection, "alone");
    kith_collection_close(collection);
}

static void test_writers_seal(void **state) {
    (void)state;
    ki_rng rng = {42};
    kith_collection *collection = start("writers", 0);
    write_some(collection, &rng, 700);
    assert_int_equal(heads_of(collection), 1);
    assert_true(segments_of(collection) > 5); /* nothing is merged */
    check_all(collection);
    OK(kith_collection_declare(collection, &later_field, &error)); /* indexed at once */
    ki_snapshot *now = ki_snapshot_pin(collection);
    assert_int_equal(now->head_count, 1);
    for (size_t i = 0; i < now->sealed_count; i++) assert_false(ki_fields_lacking(now->sealed[i].sealed, now->schema));
    ki_snapshot_release(now);
    check_all(collection);
    collection = reopen(collection, "writers");
    kith_collection_close(collection);
}

static void test_fields(void **state) {
    (void)state;
    ki_rng rng = {43};
    kith_collection *collection = start("fields", 1);
    write_some(collection, &rng, 500);
    OK(kith_collection_declare(collection, &later_field, &error));
    for (int lacking = 1; lacking; rest()) {
        ki_snapshot *now = ki_snapshot_pin(collection);
        lacking = now->head_count > 1;
        for (size_t i = 0; i < now->sealed_count; i++) lacking |= ki_fields_lacking(now->sealed[i].sealed, now->schema);
        ki_snapshot_release(now);
    }
    check_all(collection);
    kith_collection_close(collection);
}

/* When nobody writes, the catalog holds what is in no segment, and little more. */
static void test_catalog_is_tidied(void **state) {
    (void)state;
    enum { DIM = 256, ROWS = 1000, BATCHES = 16 };
    static float rows[ROWS][DIM];
    static uint64_t ids[ROWS];
    const kith_vector_spec spec = {"", DIM, KITH_F32, KITH_L2SQ};
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = DIM};
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    kith_items items = KITH_ITEMS_INIT;
    ki_rng rng = {48};
    options.vectors = &spec;
    options.vector_count = 1;
    OK(kith_collection_create(data_path("tidied"), &options, &error));
    head_bytes = 1 << 20;
    kith_collection *collection = open_as("tidied", 1, 1);
    items.vectors = &vectors;
    items.vector_count = 1;
    items.ids = (kith_ids){ROWS, ids, NULL, NULL};
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        for (size_t i = 0; i < ROWS; i++) {
            ids[i] = batch * ROWS + i;
            for (size_t d = 0; d < DIM; d++) rows[i][d] = (float)ki_rng_unit(&rng);
        }
        OK(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
    }
    while (heads_of(collection) > 1 || info_of(collection).catalog_bytes > (5 << 20)) rest();
    assert_string_equal(info_of(collection).trouble, "");
    assert_int_equal(info_of(collection).items, ROWS * BATCHES);
    kith_collection_close(collection);
    OK(kith_collection_verify(data_path("tidied"), NULL, NULL, NULL, &error));
}

/* ---- Beside others ----------------------------------------------------------------------------------------------- */

static atomic_int over;

static void *compact_again_and_again(void *collection) {
    kith_error own = {0};
    int compacted = 0;
    for (; !atomic_load(&over) || !compacted; compacted++)
        if (kith_collection_compact(collection, NULL, NULL, &own) != KITH_OK) return strdup(own.text);
    return NULL;
}

/* Readers look at what they pinned: it must stay as it is, whatever goes on. */
static void *read_again_and_again(void *collection) {
    while (!atomic_load(&over)) {
        ki_snapshot *now = ki_snapshot_pin(collection);
        uint64_t found = 0;
        for (uint64_t id = 0; id < IDS; id++) {
            ki_place place;
            found += (uint64_t)ki_snapshot_find(now, id, &place);
        }
        const uint64_t items = now->items;
        ki_snapshot_release(now);
        if (found != items) return strdup("a snapshot does not hold what it says");
    }
    return NULL;
}

static void beside_others(int background) {
    ki_rng rng = {44};
    kith_collection *collection = start(background ? "both" : "callers", background);
    pthread_t thread[3];
    atomic_store(&over, 0);
    for (int t = 0; t < 3; t++)
        assert_int_equal(
            pthread_create(&thread[t], NULL, t < 2 ? compact_again_and_again : read_again_and_again, collection), 0);
    write_some(collection, &rng, 1500);
    atomic_store(&over, 1);
    for (int t = 0; t < 3; t++) {
        void *why = NULL;
        pthread_join(thread[t], &why);
        if (why) fail_msg("%s", (char *)why);
    }
    check_all(collection);
    OK(kith_collection_compact(collection, NULL, NULL, &error));
    check_all(collection);
    collection = reopen(collection, background ? "both" : "callers");
    kith_collection_close(collection);
}

static void test_compacting_meanwhile(void **state) {
    (void)state;
    beside_others(0);
    beside_others(1);
}

/* ---- The end, and trouble ---------------------------------------------------------------------------------------- */

static void test_closed_at_work(void **state) {
    (void)state;
    ki_rng rng = {45};
    kith_collection *collection = start("closed", 1);
    for (int round = 0; round < 10; round++) {
        write_some(collection, &rng, 50 + ki_rng_below(&rng, 200));
        kith_collection_close(collection);
        collection = open_as("closed", 1, 1);
        check_all(collection);
    }
    kith_collection_close(collection);
}

static void test_trouble(void **state) {
    (void)state;
    ki_rng rng = {46};
    kith_collection *collection = start("trouble", 1);
    char *real = collection->segments_path;
    pthread_mutex_lock(&collection->writing);
    collection->segments_path = (char *)"/nowhere/at/all";
    pthread_mutex_unlock(&collection->writing);
    write_some(collection, &rng, 150);
    while (!*info_of(collection).trouble) rest();
    assert_non_null(strstr(info_of(collection).trouble, "sealing failed, and is tried again in"));
    assert_non_null(strstr(info_of(collection).trouble, "/nowhere/at/all"));
    write_some(collection, &rng, 50); /* writes go on */
    check_all(collection);
    pthread_mutex_lock(&collection->writing);
    collection->segments_path = real;
    pthread_mutex_unlock(&collection->writing);
    while (*info_of(collection).trouble || heads_of(collection) > 1) rest();
    check_all(collection);
    collection = reopen(collection, "trouble");
    kith_collection_close(collection);
}

/* What was told stays what it is while others ask, and what is told is not kept without bound. */
static void test_trouble_stays_readable(void **state) {
    (void)state;
    kith_collection *collection = start("told", 0);
    kith_error first = {.text = "the disk is full"}, second = {.text = "the disk has gone"}, more = {0};
    ki_maintain_note(collection->maintainer, KI_WORK_SEAL, KITH_E_NOSPACE, &first);
    const char *told = info_of(collection).trouble;
    assert_non_null(strstr(told, "the disk is full"));
    assert_ptr_equal(info_of(collection).trouble, told);
    ki_maintain_note(collection->maintainer, KI_WORK_SEAL, KITH_E_IO, &second);
    assert_non_null(strstr(info_of(collection).trouble, "the disk has gone"));
    assert_non_null(strstr(told, "the disk is full"));
    for (int i = 0; i < 2 * KI_TOLD_MAX; i++) {
        snprintf(more.text, sizeof more.text, "reason %d", i);
        ki_maintain_note(collection->maintainer, KI_WORK_SEAL, KITH_E_IO, &more);
        assert_true(*info_of(collection).trouble);
    }
    assert_int_equal(collection->maintainer->told_count, KI_TOLD_MAX);
    assert_non_null(strstr(info_of(collection).trouble, "more reasons than are kept"));
    assert_non_null(strstr(told, "the disk is full"));
    ki_maintain_note(collection->maintainer, KI_WORK_SEAL, KITH_OK, &more);
    assert_string_equal(info_of(collection).trouble, "");
    assert_non_null(strstr(told, "the disk is full"));
    kith_collection_close(collection);
}

static void test_expired(void **state) {
    (void)state;
    kith_collection *collection = start("expired", 1);
    const uint64_t id = 5, expires = collection->now_ms() + 20;
    const float vector[8] = {1};
    const kith_item_vectors vectors = {.data = vector, .dtype = KITH_F32, .dim = 8};
    kith_items items = KITH_ITEMS_INIT;
    ki_found found = {0};
    items.ids = (kith_ids){1, &id, NULL, NULL};
    items.vectors = &vectors;
    items.vector_count = 1;
    items.expires_ms = &expires;
    OK(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
    while (ki_catalog_get_item(collection->catalog, id, &found, &error) == KITH_OK) rest();
    ki_found_free(&found);
    check_all(collection);
    kith_collection_close(collection);
}

/* ---- In memory alone --------------------------------------------------------------------------------------------- */

static void test_in_memory(void **state) {
    (void)state;
    ki_rng rng = {47};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    made.vectors = specs;
    made.vector_count = SPECS;
    made.fields = fields;
    made.field_count = 2;
    options.no_background = 1;
    options.head_bytes = 1;
    memset(stamps, 0, sizeof(stamps));
    with_texts = 0;
    OK(kith_collection_open_memory(&made, &options, &collection, &error));
    write_some(collection, &rng, 400);
    check_all(collection);
    OK(kith_collection_declare(collection, &later_field, &error));
    check_all(collection);
    OK(kith_collection_compact(collection, NULL, NULL, &error));
    check_all(collection);
    assert_int_equal(segments_of(collection), 1);
    assert_int_equal(entries(collection->segments_path), 0); /* files without names */
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seals_and_merges),
        cmocka_unit_test(test_writers_seal),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_catalog_is_tidied),
        cmocka_unit_test(test_compacting_meanwhile),
        cmocka_unit_test(test_closed_at_work),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_trouble_stays_readable),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_in_memory),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
