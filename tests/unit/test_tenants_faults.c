/* SPDX-License-Identifier: Apache-2.0
 *
 * Large tenants' rows are moved to segments of their own while memory or the disk runs out.
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
#include "support/tenants.h"

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
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
