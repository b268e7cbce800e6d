/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading items: by ids, in order, by filters, while others are written; and what a collection tells of itself.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/shop.h"

enum { ITEMS = 60 };

/* Ids in no order: 0, 7, 14, ... modulo 61, spread over a segment, dead rows and the head. Multiples of 4 lack "small",
 * those of 3 have no payload. */
static uint64_t id_of(uint64_t n) {
    return n * 7 % 61;
}

static void put_full(kith_collection *collection, uint64_t id) {
    const float row[DIM] = {(float)id, 1, 2, 3}, small[2] = {1, (float)id};
    const uint8_t present = id % 4 != 0;
    const kith_item_vectors vectors[2] = {
        {.data = row, .dtype = KITH_F32, .dim = DIM},
        {.name = "small", .data = small, .dtype = KITH_F32, .dim = 2, .present = &present}};
    char payload[64];
    snprintf(payload, sizeof(payload), "{\"color\":\"%s\",\"price\":%d}", id % 2 ? "red" : "blue", (int)id);
    const uint64_t end = id % 3 ? strlen(payload) : 0;
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.vectors = vectors, items.vector_count = 2;
    items.payload_bytes = payload, items.payload_ends = &end;
    must(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
}

static kith_collection *filled(void) {
    char path[512];
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *collection = make_at(path, KITH_ID_U64);
    for (uint64_t n = 0; n < ITEMS; n++) {
        put_full(collection, id_of(n));
        if (n == 35) must(kith_collection_compact(collection, NULL, NULL, &error));
    }
    for (uint64_t n = 0; n < 10; n++) put_full(collection, id_of(n)); /* from the segment into the head */
    return collection;
}

static void check_vectors(const kith_result *result, const kith_hits *hits) {
    const uint8_t *present = NULL;
    const float *rows = kith_result_vectors(result, NULL, &present), *small;
    assert_non_null(rows);
    for (size_t i = 0; i < hits->count; i++) assert_true(present[i] && rows[i * DIM] == (float)hits->ids[i]);
    small = kith_result_vectors(result, "small", &present);
    assert_non_null(small);
    for (size_t i = 0; i < hits->count; i++) {
        assert_int_equal(present[i], hits->ids[i] % 4 != 0);
        assert_true(small[2 * i] == (present[i] ? 1 : 0));
        assert_true(small[2 * i + 1] == (present[i] ? (float)hits->ids[i] : 0));
    }
    assert_null(kith_result_vectors(result, "large", &present));
}

static void check_payloads(const kith_hits *hits) {
    char payload[64];
    for (size_t i = 0; i < hits->count; i++) {
        const uint64_t id = hits->ids[i], begin = i ? hits->payload_ends[i - 1] : 0;
        snprintf(payload, sizeof(payload), "{\"color\":\"%s\",\"price\":%d}", id % 2 ? "red" : "blue", (int)id);
        const size_t bytes = id % 3 ? strlen(payload) : 0;
        assert_int_equal(hits->payload_ends[i] - begin, bytes);
        assert_memory_equal(hits->payload_bytes + begin, payload, bytes);
        assert_int_equal(hits->expires_ms[i], 0);
        assert_true(hits->versions[i] >= 1 && hits->versions[i] <= ITEMS + 10);
    }
}

static void test_get(void **state) {
    const uint64_t wanted[] = {5, 1000, 28, 5, 60, 54}; /* 54 is id_of(60), which nobody wrote */
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    (void)state;
    kith_collection *collection = filled();
    const kith_ids ids = {.count = 6, .ids = wanted};
    must(kith_result_create(&result, &error));
    must(kith_collection_get(collection, &ids, KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS, result,
                             &error));
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, 4);
    assert_int_equal(hits.queries, 1);
    const uint64_t found[] = {5, 28, 5, 60};
    assert_memory_equal(hits.ids, found, sizeof(found));
    assert_null(hits.distances);
    check_vectors(result, &hits);
    check_payloads(&hits);
    must(kith_collection_get(collection, &(kith_ids){0}, 0, result, &error)); /* none */
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, 0);
    refused(kith_collection_get(collection, &ids, 8, result, &error), KITH_E_ARG, "");
    uint8_t exists[6];
    must(kith_collection_exists(collection, &ids, exists, &error));
    assert_memory_equal(exists, ((uint8_t[]){1, 0, 1, 1, 1, 0}), 6);
    kith_result_destroy(result);
    kith_collection_close(collection);
}

static void test_scroll_in_order(void **state) {
    kith_result *result = NULL;
    (void)state;
    kith_collection *collection = filled();
    must(kith_result_create(&result, &error));
    for (size_t limit = 1; limit <= 64; limit = limit * 3 + 1) {
        kith_scroll scroll = KITH_SCROLL_INIT;
        kith_hits hits = KITH_HITS_INIT;
        uint64_t next = 0;
        scroll.limit = limit, scroll.with = KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS;
        do {
            must(kith_collection_scroll(collection, &scroll, result, &error));
            must(kith_result_hits(result, &hits));
            for (size_t i = 0; i < hits.count; i++) {
                next += next == 54; /* the one that is not there */
                assert_int_equal(hits.ids[i], next++);
            }
            check_vectors(result, &hits);
            check_payloads(&hits);
            scroll.from_start = 0;
            if (hits.count) scroll.after = hits.ids[hits.count - 1];
        } while (hits.count == limit);
        assert_int_equal(next, 61);
    }
    kith_result_destroy(result);
    kith_collection_close(collection);
}

static void test_scroll_and_count_with_filters(void **state) {
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    kith_scroll scroll = KITH_SCROLL_INIT;
    uint64_t count = 0, expected = 0;
    (void)state;
    kith_collection *collection = filled();
    must(kith_result_create(&result, &error));
    scroll.filter = "color = \"red\" and price > 10";
    must(kith_collection_scroll(collection, &scroll, result, &error));
    must(kith_result_hits(result, &hits));
    for (uint64_t id = 11; id < 61; id++)
        if (id % 2 && id % 3) assert_int_equal(hits.ids[expected++], id);
    assert_int_equal(hits.count, expected);
    must(kith_collection_count(collection, scroll.filter, &count, &error));
    assert_int_equal(count, expected);
    must(kith_collection_count(collection, NULL, &count, &error));
    assert_int_equal(count, ITEMS);
    refused(kith_collection_count(collection, "color =", &count, &error), KITH_E_ARG, "");
    scroll.filter = "price = \"dear\"";
    refused(kith_collection_scroll(collection, &scroll, result, &error), KITH_E_ARG, "price");
    scroll.filter = NULL, scroll.limit = KITH_K_MAX + 1;
    refused(kith_collection_scroll(collection, &scroll, result, &error), KITH_E_ARG, "limit is 10001");
    kith_result_destroy(result);
    kith_collection_close(collection);
}

static void test_info(void **state) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    (void)state;
    kith_collection *collection = filled();
    must(kith_collection_get_info(collection, &info));
    assert_int_equal(info.items, ITEMS);
    assert_int_equal(info.version, ITEMS + 10);
    assert_int_equal(info.segments, 1);
    assert_int_equal(info.segment_rows, 36);
    assert_int_equal(info.dead_rows, 10);
    assert_int_equal(info.head_rows, ITEMS - 36 + 10);
    assert_true(info.segment_bytes > 0 && info.catalog_bytes > 0);
    assert_int_equal(info.disk_bytes, info.segment_bytes + info.catalog_bytes);
    assert_true(info.head_memory_bytes > 0 && info.memory_bytes > info.head_memory_bytes);
    assert_string_equal(info.work, "");
    assert_string_equal(info.trouble, "");
    assert_int_equal(info.working, 0);
    must(kith_collection_compact(collection, NULL, NULL, &error));
    must(kith_collection_get_info(collection, &info));
    assert_int_equal(info.segments, 1);
    assert_int_equal(info.segment_rows, ITEMS);
    assert_int_equal(info.dead_rows, 0);
    assert_int_equal(info.head_rows, 0);
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_scroll_in_order),
        cmocka_unit_test(test_scroll_and_count_with_filters),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
