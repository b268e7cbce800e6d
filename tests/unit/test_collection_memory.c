/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is refused: every allocation of every verb in turn, once and for good (of making one not every). The
 * verb says so or does without, nothing has changed, and nothing is lost for good.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/faulty_malloc.h"
#include "support/shop.h"

#include "state/collection.h"

enum { ITEMS = 20, CALLS_MOST = 4000 };

static char path[512];

static kith_collection_open_options quiet(void) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.no_background = 1, options.threads = 1;
    return options;
}

static kith_collection *filled(void) {
    const kith_collection_options made = options_of(KITH_ID_U64);
    const kith_collection_open_options options = quiet();
    kith_collection *collection = NULL;
    must(kith_collection_open_memory(&made, &options, &collection, &error));
    for (uint64_t i = 0; i < ITEMS; i++) must(put(collection, i, (float)i, "{\"price\":1}", KITH_UPSERT, NULL));
    return collection;
}

/* ---- Verbs of an open collection --------------------------------------------------------------------------------- */

static kith_result *result;

static kith_status do_insert(kith_collection *collection) {
    return put(collection, 99, 1, "{\"color\":\"red\"}", KITH_INSERT, NULL);
}
static kith_status do_merge(kith_collection *collection) {
    return put(collection, 3, 1, "{\"price\":2,\"a\":{}}", KITH_MERGE, NULL);
}
static kith_status do_delete(kith_collection *collection) {
    const uint64_t ids[] = {9, 5, 5, 1000};
    return kith_collection_delete(collection, &(kith_ids){.count = 4, .ids = ids}, NULL, NULL, &error);
}
static kith_status do_delete_where(kith_collection *collection) {
    return kith_collection_delete_where(collection, "price < 5", NULL, &error);
}
static kith_status do_declare(kith_collection *collection) {
    return kith_collection_declare(collection, &(kith_field){.name = "a", .type = KITH_FIELD_TAG}, &error);
}
static kith_status do_get(kith_collection *collection) {
    const uint64_t ids[] = {9, 5};
    return kith_collection_get(collection, &(kith_ids){.count = 2, .ids = ids}, 7, result, &error);
}
static kith_status do_scroll(kith_collection *collection) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    scroll.filter = "price = 1", scroll.with = 7;
    return kith_collection_scroll(collection, &scroll, result, &error);
}

static const struct {
    const char *name;
    kith_status (*verb)(kith_collection *collection);
    uint64_t items, versions; /* afterwards, and how many were made */
} verbs[] = {{"insert", do_insert, ITEMS + 1, 1}, {"merge", do_merge, ITEMS, 1},
             {"delete", do_delete, ITEMS - 2, 1}, {"delete_where", do_delete_where, 0, 1},
             {"declare", do_declare, ITEMS, 0},   {"get", do_get, ITEMS, 0},
             {"scroll", do_scroll, ITEMS, 0}};

static void holds(kith_collection *collection, const char *name, uint64_t items, uint64_t version) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    if (snapshot->items != items || snapshot->version != version)
        fail_msg("%s: %d items at version %d", name, (int)snapshot->items, (int)snapshot->version);
    ki_snapshot_release(snapshot);
    assert_int_equal(collection->version, version);
}

static void try_verb(size_t v, int for_good) {
    for (long number = 0;; number++) {
        kith_collection *collection = filled();
        assert_true(number < CALLS_MOST);
        must(kith_result_create(&result, &error));
        faulty_malloc_start(number, for_good);
        const kith_status status = verbs[v].verb(collection);
        const long asked = faulty_malloc_stop();
        if (status != KITH_OK && status != KITH_E_NOMEM)
            fail_msg("%s, allocation %ld: status %d: %s", verbs[v].name, number, (int)status, error.text);
        if (status != KITH_OK) {
            holds(collection, verbs[v].name, ITEMS, ITEMS);
            must(verbs[v].verb(collection)); /* now that there is memory */
        }
        holds(collection, verbs[v].name, verbs[v].items, ITEMS + verbs[v].versions);
        kith_result_destroy(result);
        kith_collection_close(collection);
        if (asked <= number) break;
    }
}

static void test_every_allocation_of_every_verb(void **state) {
    (void)state;
    for (size_t v = 0; v < sizeof(verbs) / sizeof(*verbs); v++)
        for (int for_good = 0; for_good < 2; for_good++) try_verb(v, for_good);
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

/* Each try costs synchronisations: the first ones one by one, then fewer. */
static long after(long number) {
    return number + 1 + number / 8;
}

static void test_allocations_of_making(void **state) {
    const kith_collection_options options = options_of(KITH_ID_STRING);
    (void)state;
    kith_collection_close(make_at(fresh(), KITH_ID_U64)); /* SQLite has made itself ready */
    int for_good = 0;
    for (long number = 0;; number = after(number), for_good = !for_good) {
        snprintf(path, sizeof(path), "%s", fresh());
        faulty_malloc_start(number, for_good);
        const kith_status status = kith_collection_create(path, &options, &error);
        const long asked = faulty_malloc_stop();
        if (status != KITH_OK && status != KITH_E_NOMEM)
            fail_msg("allocation %ld: status %d: %s", number, (int)status, error.text);
        if (status != KITH_OK) assert_int_equal(access(path, F_OK), -1);
        if (asked <= number) break;
        assert_true(number < CALLS_MOST);
    }
    kith_collection_close(open_at(path, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_of_every_verb),
        cmocka_unit_test(test_allocations_of_making),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
