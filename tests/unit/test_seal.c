/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing: heads become segments, and what dies meanwhile is dead in them; what fails changes nothing.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faulty_io.h"
#include "support/faulty_malloc.h"
#include "support/sealing.h"

/* ---- Ordinary sealing -------------------------------------------------------------------------------------------- */

static void seals(int texts, const char *name) {
    ki_rng rng = {5};
    kith_collection *collection = make_it(name, texts);
    for (int round = 0; round < 4; round++) {
        uint64_t rows = 0;
        write_some(collection, &rng, 150);
        check_all(collection);
        OK(ki_seal(collection, KI_SEAL_ALL, NULL, &rows, &error));
        assert_true(rows > 0);
        check_all(collection);
        assert_int_equal(segments_of(collection), round + 1);
        assert_int_equal(heads_of(collection), 1);
        if (round % 2) collection = reopen(collection, name);
    }
    kith_collection_close(collection);
}

static void test_numbers(void **state) {
    (void)state;
    seals(0, "numbers");
}

static void test_texts(void **state) {
    (void)state;
    seals(1, "texts");
}

static void test_nothing_to_seal(void **state) {
    (void)state;
    uint64_t rows = 7;
    kith_collection *collection = make_it("nothing", 0);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, &rows, &error));
    assert_int_equal(segments_of(collection), 0);
    write_one(collection, 3, 1);
    write_one(collection, 3, 0);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, &rows, &error)); /* nothing of it lives */
    assert_int_equal(rows, 0);
    assert_int_equal(segments_of(collection), 0);
    assert_int_equal(heads_of(collection), 1);
    collection = reopen(collection, "nothing");
    write_one(collection, 4, 9);
    collection = reopen(collection, "nothing");
    kith_collection_close(collection);
}

static kith_status count_entry(void *context, uint64_t number, ki_bytes body, kith_error *unused) {
    (void)number;
    (void)body;
    (void)unused;
    ++*(size_t *)context;
    return KITH_OK;
}

static size_t log_of(kith_collection *collection) {
    size_t count = 0;
    OK(ki_catalog_scan_log(collection->catalog, 0, count_entry, &count, &error));
    return count;
}

/* Removing makes no rows to seal, and cuts the log all the same: what the rows of a head need of it stays. */
static void test_deaths_are_saved(void **state) {
    (void)state;
    ki_rng rng = {7};
    kith_collection *collection = make_it("deaths", 0);
    write_some(collection, &rng, 300);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    for (uint64_t id = 0; id < IDS; id += 3) write_one(collection, id, 0);
    assert_true(log_of(collection) > 50);
    ki_snapshot *now = ki_snapshot_pin(collection);
    assert_true(ki_seal_unsaved(now) > 50);
    OK(ki_seal(collection, KI_SEAL_SOME, NULL, NULL, &error));
    assert_int_equal(ki_seal_unsaved(now), 0);
    ki_snapshot_release(now);
    assert_int_equal(log_of(collection), 0);
    check_all(collection);
    collection = reopen(collection, "deaths");
    write_one(collection, 3, 5);
    for (uint64_t id = 1; id < 30; id += 3) write_one(collection, id, 0);
    const size_t entries_before = log_of(collection);
    OK(ki_seal(collection, KI_SEAL_FROZEN, NULL, NULL, &error));
    assert_int_equal(log_of(collection), entries_before); /* the head's row was written before them */
    collection = reopen(collection, "deaths");
    kith_collection_close(collection);
}

/* Several frozen heads become one segment; the growing one stays unless it is asked for. */
static void test_several_heads(void **state) {
    (void)state;
    ki_rng rng = {6};
    kith_collection *collection = make_it("several", 0);
    for (int h = 0; h < 3; h++) {
        ki_edit *edit = NULL;
        write_some(collection, &rng, 60);
        pthread_mutex_lock(&collection->writing);
        OK(ki_edit_begin(collection, &edit, &error));
        OK(ki_edit_freeze(edit, &error));
        ki_edit_publish(edit, collection->version);
        pthread_mutex_unlock(&collection->writing);
    }
    write_some(collection, &rng, 20);
    assert_int_equal(heads_of(collection), 4);
    OK(ki_seal(collection, KI_SEAL_SOME, NULL, NULL, &error));
    assert_int_equal(heads_of(collection), 1);
    assert_int_equal(segments_of(collection), 1);
    check_all(collection);
    collection = reopen(collection, "several"); /* the growing one's rows are still in the log */
    OK(ki_seal(collection, KI_SEAL_FROZEN, NULL, NULL, &error));
    assert_int_equal(segments_of(collection), 1);
    OK(ki_seal(collection, KI_SEAL_SOME, NULL, NULL, &error));
    assert_int_equal(segments_of(collection), 2);
    collection = reopen(collection, "several");
    kith_collection_close(collection);
}

/* Deaths in older segments, whose log goes when a later head is sealed, are kept. */
static void test_deaths_in_older_segments(void **state) {
    (void)state;
    kith_collection *collection = make_it("older", 0);
    for (uint64_t id = 0; id < 100; id++) write_one(collection, id, 1 + id);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    for (uint64_t id = 0; id < 100; id += 3) write_one(collection, id, 0);
    for (uint64_t id = 1; id < 100; id += 3) write_one(collection, id, 500 + id);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    collection = reopen(collection, "older");
    for (uint64_t id = 2; id < 100; id += 3) write_one(collection, id, 0);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error)); /* a head without rows */
    collection = reopen(collection, "older");
    kith_collection_close(collection);
}

/* ---- Writes while files are built -------------------------------------------------------------------------------- */

struct meddler {
    kith_collection *collection;
    ki_rng rng;
    int calls, cancel_at; /* 0: never */
    size_t writes;
};

static int meddle(void *context, const kith_progress *progress) {
    struct meddler *meddler = context;
    assert_true(progress->struct_size == sizeof(*progress));
    if (meddler->writes) write_some(meddler->collection, &meddler->rng, meddler->writes);
    return ++meddler->calls == meddler->cancel_at;
}

static void test_writes_meanwhile(void **state) {
    (void)state;
    kith_collection *collection = make_it("meanwhile", 0);
    struct meddler meddler = {.collection = collection, .rng = {8}, .writes = 10};
    for (int round = 0; round < 6; round++) {
        ki_watch watch = {.progress = meddle, .progress_context = &meddler, .threads = 1};
        write_some(collection, &meddler.rng, 80);
        meddler.calls = 0;
        OK(ki_seal(collection, KI_SEAL_ALL, &watch, NULL, &error));
        assert_true(meddler.calls > 3);
        check_all(collection);
        if (round == 3) meddler.collection = collection = reopen(collection, "meanwhile");
    }
    collection = reopen(collection, "meanwhile");
    kith_collection_close(collection);
}

/* All rows die while they are sealed: there is no segment then, and no files. */
static int remove_all(void *context, const kith_progress *progress) {
    (void)progress;
    for (uint64_t id = 0; id < 20; id++)
        if (stamps[id]) write_one(context, id, 0);
    return 0;
}

static void test_all_die_meanwhile(void **state) {
    (void)state;
    kith_collection *collection = make_it("die", 0);
    ki_watch watch = {.progress = remove_all, .progress_context = collection, .threads = 1};
    for (uint64_t id = 0; id < 20; id++) write_one(collection, id, 2);
    OK(ki_seal(collection, KI_SEAL_ALL, &watch, NULL, &error));
    assert_int_equal(segments_of(collection), 0);
    assert_int_equal(entries(collection->segments_path), 0);
    collection = reopen(collection, "die");
    kith_collection_close(collection);
}

/* ---- What fails -------------------------------------------------------------------------------------------------- */

static void test_cancelled(void **state) {
    (void)state;
    kith_collection *collection = make_it("cancelled", 0);
    struct meddler meddler = {.collection = collection, .rng = {9}};
    write_some(collection, &meddler.rng, 200);
    int cancelled = 0;
    for (int at = 1;; at++) {
        ki_watch watch = {.progress = meddle, .progress_context = &meddler, .threads = 1, .polite = at % 2};
        meddler.calls = 0;
        meddler.cancel_at = at;
        const kith_status status = ki_seal(collection, KI_SEAL_ALL, &watch, NULL, &error);
        check_all(collection);
        if (status == KITH_OK) break;
        assert_int_equal(status, KITH_E_CANCELLED);
        assert_int_equal(segments_of(collection), 0);
        assert_int_equal(entries(collection->segments_path), 0);
        cancelled++;
    }
    assert_true(cancelled > 3);
    assert_int_equal(segments_of(collection), 1);
    collection = reopen(collection, "cancelled");
    kith_collection_close(collection);
}

/* Where folders cannot be made nothing changes, and it goes well afterwards. */
static void test_no_folder(void **state) {
    (void)state;
    ki_rng rng = {10};
    kith_collection *collection = make_it("folder", 0);
    write_some(collection, &rng, 50);
    char *real = collection->segments_path;
    collection->segments_path = (char *)"/nowhere/at/all";
    assert_int_equal(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error), KITH_E_NOTFOUND);
    assert_non_null(strstr(error.text, "/nowhere/at/all"));
    collection->segments_path = real;
    check_all(collection);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    collection = reopen(collection, "folder");
    kith_collection_close(collection);
}

/* Each allocation refused once. A commit that fails poisons the collection: that is the catalog's to say. */
static void test_memory(void **state) {
    (void)state;
    ki_rng rng = {11};
    kith_collection *collection = make_it("memory", 0);
    write_some(collection, &rng, 60);
    long refused = 0;
    for (long number = 0;; number += 1 + number / 16) {
        faulty_malloc_start(number, 0);
        const kith_status status = ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error);
        const long asked = faulty_malloc_stop();
        if (collection->poisoned != KITH_OK) {
            collection = reopen(collection, "memory");
            continue;
        }
        check_all(collection);
        if (status == KITH_OK) {
            if (asked <= number) break;
            write_some(collection, &rng, 30);
            continue;
        }
        assert_true(status == KITH_E_NOMEM || status == KITH_E_IO);
        refused++;
    }
    assert_true(refused > 20);
    check_all(collection);
    assert_int_equal(entries(collection->segments_path), segments_of(collection));
    collection = reopen(collection, "memory");
    kith_collection_close(collection);
}

/* A full disk at each call that writes, once: nothing changes, and the next attempt goes well. What fails in the
 * catalog's own commit poisons it: then opening tells. */
static void test_disk_full(void **state) {
    (void)state;
    ki_rng rng = {12};
    kith_collection *collection = make_it("full", 0);
    write_some(collection, &rng, 60);
    long refused = 0;
    for (long number = 0;; number += 1 + number / 24) {
        error = (kith_error){0};
        faulty_io_start(number, 0, ENOSPC);
        const kith_status status = ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error);
        const long asked = faulty_io_stop();
        assert_true(status == KITH_OK || error.text[0]);
        if (collection->poisoned != KITH_OK)
            collection = reopen(collection, "full");
        else
            check_all(collection);
        if (status == KITH_OK) {
            if (asked <= number) break;
            write_some(collection, &rng, 30);
        } else {
            refused++;
        }
        assert_int_equal(entries(collection->segments_path), segments_of(collection));
    }
    assert_true(refused > 20);
    collection = reopen(collection, "full");
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),          cmocka_unit_test(test_texts),
        cmocka_unit_test(test_nothing_to_seal),  cmocka_unit_test(test_deaths_are_saved),
        cmocka_unit_test(test_several_heads),    cmocka_unit_test(test_deaths_in_older_segments),
        cmocka_unit_test(test_writes_meanwhile), cmocka_unit_test(test_all_die_meanwhile),
        cmocka_unit_test(test_cancelled),        cmocka_unit_test(test_no_folder),
        cmocka_unit_test(test_memory),           cmocka_unit_test(test_disk_full),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
