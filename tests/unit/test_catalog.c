/* SPDX-License-Identifier: Apache-2.0
 *
 * What every keeper of catalogs does alike: each test runs over the file and over memory. Files alone:
 * test_catalog_file.c; kills: tests/crash/test_catalog.c.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/catalog.h"
#include "support/faulty_vfs.h" /* leaves out syncs */

#include <pthread.h>
#include <stdatomic.h>

static const uint64_t MIDDLE = UINT64_C(1) << 63;

/* ---- A catalog for each test ----------------------------------------------------------------------------------- */

static int with_file(void **state) {
    static int number;
    char name[30];
    snprintf(name, sizeof name, "c%d", number++);
    *state = open_file(data_path(name), (ki_catalog_options){.create = 1, .vfs = "faulty"});
    return 0;
}

/* Small commits are gathered. */
static int with_tail(void **state) {
    static int number;
    char name[30];
    snprintf(name, sizeof name, "t%d", number++);
    *state = open_file(
        data_path(name),
        (ki_catalog_options){.create = 1, .durability = KITH_DURABILITY_RELAXED, .gather = 1, .vfs = "faulty"});
    return 0;
}

static int with_memory(void **state) {
    ki_catalog *catalog = NULL;
    OK(ki_catalog_open_memory(&catalog, &error));
    *state = catalog;
    return 0;
}

static int closed(void **state) {
    ki_catalog_close(*state);
    return 0;
}

/* ---- Items ------------------------------------------------------------------------------------------------------- */

static void test_items(void **state) {
    ki_catalog *catalog = *state;
    ki_found found = {0};
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 7, 1, NULL, "seven");
    put(catalog, 8, 1, "acht", "");
    OK(ki_catalog_commit(catalog, &error));
    assert_string_equal(payload_of(catalog, 7), "seven");
    assert_string_equal(payload_of(catalog, 9), "-");
    OK(ki_catalog_get_item(catalog, 8, &found, &error));
    assert_int_equal(found.item.version, 1);
    assert_int_equal(found.item.expires_ms, 0);
    assert_int_equal(found.item.text.bytes, 4);
    assert_memory_equal(found.item.text.data, "acht", 4);
    assert_int_equal(found.item.payload.bytes, 0);

    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 7, 2, NULL, "another");
    OK(ki_catalog_remove_item(catalog, 8, &error));
    OK(ki_catalog_remove_item(catalog, 8, &error));
    OK(ki_catalog_commit(catalog, &error));
    assert_string_equal(payload_of(catalog, 7), "another");
    assert_string_equal(payload_of(catalog, 8), "-");
    OK(ki_catalog_get_item(catalog, 7, &found, &error));
    assert_int_equal(found.item.version, 2);
    ki_found_free(&found);
    ki_found_free(NULL);
}

/* G4: the upper half of all keys comes behind the lower one. */
static void test_order_of_keys(void **state) {
    static const uint64_t keys[] = {
        0, 1, 255, 256, UINT64_C(1) << 62, (UINT64_C(1) << 63) - 1, UINT64_C(1) << 63, UINT64_MAX - 256, UINT64_MAX};
    const size_t count = sizeof keys / sizeof *keys;
    ki_catalog *catalog = *state;
    OK(ki_catalog_begin(catalog, &error));
    for (size_t i = 0; i < count; i++) { /* in another order */
        const uint64_t key = keys[(i * 5 + 3) % count];
        put(catalog, key, i, NULL, "x");
        OK(ki_catalog_append_log(catalog, key, bytes_of("log"), &error));
        OK(ki_catalog_put_segment(catalog, key, bytes_of("segment"), &error));
    }
    OK(ki_catalog_commit(catalog, &error));
    for (size_t from = 0; from < count; from++) {
        seen items = {.count = 0}, log = {.count = 0};
        OK(ki_catalog_scan_items(catalog, keys[from], see_item, &items, &error));
        assert_int_equal(items.count, count - from);
        assert_memory_equal(items.number, keys + from, (count - from) * sizeof *keys);
        OK(ki_catalog_scan_log(catalog, keys[from], see_body, &log, &error));
        assert_int_equal(log.count, count - from - 1);
        assert_memory_equal(log.number, keys + from + 1, (count - from - 1) * sizeof *keys);
    }
    seen segments = {.count = 0};
    OK(ki_catalog_scan_segments(catalog, see_body, &segments, &error));
    assert_memory_equal(segments.number, keys, sizeof keys);

    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_drop_log(catalog, MIDDLE, &error));
    OK(ki_catalog_remove_segment(catalog, MIDDLE, &error));
    OK(ki_catalog_commit(catalog, &error));
    seen rest = {.count = 0};
    OK(ki_catalog_scan_log(catalog, 0, see_body, &rest, &error));
    assert_int_equal(rest.count, 2);
    assert_true(rest.number[0] == UINT64_MAX - 256 && rest.number[1] == UINT64_MAX);
    rest.count = 0;
    OK(ki_catalog_scan_segments(catalog, see_body, &rest, &error));
    assert_int_equal(rest.count, count - 1);
}

static void test_string_ids(void **state) {
    ki_catalog *catalog = *state;
    uint64_t key = 5;
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 1, 1, "one", "1");
    put(catalog, MIDDLE + 2, 1, "two", "2");
    OK(ki_catalog_find_text(catalog, bytes_of("two"), &key, &error)); /* its own change */
    assert_true(key == MIDDLE + 2);
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_find_text(catalog, bytes_of("one"), &key, &error));
    assert_true(key == 1);
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_find_text(catalog, bytes_of("on"), &key, &error));
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_find_text(catalog, bytes_of("one "), &key, &error));
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_find_text(catalog, bytes_of(""), &key, &error));
    assert_true(key == 1 && !error.text[0]);

    /* The same key with another id, and an id that is free again. */
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 1, 2, "uno", "1");
    put(catalog, 3, 2, "one", "3");
    OK(ki_catalog_remove_item(catalog, MIDDLE + 2, &error));
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_find_text(catalog, bytes_of("one"), &key, &error));
    assert_true(key == 3);
    OK(ki_catalog_find_text(catalog, bytes_of("uno"), &key, &error));
    assert_true(key == 1);
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_find_text(catalog, bytes_of("two"), &key, &error));

    /* An id that belongs to another key, which undoes all (G1). */
    const ki_catalog_item taken = item_of(9, 3, "uno", "9");
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 4, 3, "four", "4");
    FAILS(KITH_E_ARG, "id of item 9", ki_catalog_put_item(catalog, &taken, &error));
    FAILS(KITH_E_ARG, "undid all", ki_catalog_remove_item(catalog, 1, &error));
    FAILS(KITH_E_ARG, "undid all", ki_catalog_commit(catalog, &error));
    FAILS(KITH_E_ARG, "between begin and commit", ki_catalog_commit(catalog, &error));
    assert_string_equal(payload_of(catalog, 4), "-");
    assert_string_equal(payload_of(catalog, 1), "1");
}

static void test_expiry(void **state) {
    static const uint64_t expires[] = {0, 500, 100, 0, 300, 100, INT64_MAX};
    ki_catalog *catalog = *state;
    uint64_t next = 7;
    seen due = {.count = 0};
    OK(ki_catalog_next_expiry(catalog, &next, &error));
    assert_true(next == 0);
    OK(ki_catalog_begin(catalog, &error));
    for (size_t i = 0; i < 7; i++) {
        ki_catalog_item item = item_of(i, 1, NULL, "payload");
        item.expires_ms = expires[i];
        OK(ki_catalog_put_item(catalog, &item, &error));
    }
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_next_expiry(catalog, &next, &error));
    assert_true(next == 100);
    OK(ki_catalog_scan_expired(catalog, 99, see_item, &due, &error));
    assert_int_equal(due.count, 0);
    OK(ki_catalog_scan_expired(catalog, 300, see_item, &due, &error));
    assert_int_equal(due.count, 3);
    assert_true(due.number[0] == 2 && due.number[1] == 5 && due.number[2] == 4);
    assert_int_equal(due.bytes, 0); /* payloads are left out */
    due.count = 0;
    OK(ki_catalog_scan_expired(catalog, UINT64_MAX, see_item, &due, &error));
    assert_int_equal(due.count, 5);

    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 2, 2, NULL, "never");
    OK(ki_catalog_remove_item(catalog, 5, &error));
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_next_expiry(catalog, &next, &error));
    assert_true(next == 300);
    ki_catalog_item item = item_of(1, 1, NULL, "");
    item.expires_ms = UINT64_C(1) << 63;
    OK(ki_catalog_begin(catalog, &error));
    FAILS(KITH_E_LIMIT, "too far", ki_catalog_put_item(catalog, &item, &error));
    ki_catalog_rollback(catalog);
}

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

static void *look_from_elsewhere(void *context) {
    static char text[200];
    snprintf(text, sizeof text, "%s", payload_of(context, 1));
    return text;
}

static const char *elsewhere(ki_catalog *catalog) {
    pthread_t thread;
    void *text = NULL;
    assert_int_equal(pthread_create(&thread, NULL, look_from_elsewhere, catalog), 0);
    assert_int_equal(pthread_join(thread, &text), 0);
    return text;
}

/* G3. */
static void test_who_sees_what(void **state) {
    ki_catalog *catalog = *state;
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 1, 1, NULL, "old");
    assert_string_equal(payload_of(catalog, 1), "old");
    assert_string_equal(elsewhere(catalog), "-");
    OK(ki_catalog_commit(catalog, &error));
    assert_string_equal(elsewhere(catalog), "old");

    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 1, 2, NULL, "new");
    put(catalog, 2, 2, NULL, "new");
    OK(ki_catalog_append_log(catalog, 2, bytes_of("new"), &error));
    assert_string_equal(payload_of(catalog, 1), "new");
    assert_int_equal(count_items(catalog), 2);
    assert_int_equal(count_log(catalog), 1);
    assert_string_equal(elsewhere(catalog), "old");
    ki_catalog_rollback(catalog);
    assert_string_equal(payload_of(catalog, 1), "old");
    assert_int_equal(count_items(catalog), 1);
    assert_int_equal(count_log(catalog), 0);
}

static void *change_elsewhere(void *context) {
    ki_catalog *catalog = context;
    kith_error text;
    const ki_catalog_item item = item_of(1, 1, NULL, "x");
    if (ki_catalog_put_item(catalog, &item, &text) != KITH_E_ARG) return "changes";
    if (ki_catalog_commit(catalog, &text) != KITH_E_ARG) return "commits";
    ki_catalog_rollback(catalog);
    return NULL;
}

static void test_order_of_calls(void **state) {
    ki_catalog *catalog = *state;
    pthread_t thread;
    void *went_wrong = NULL;
    const ki_catalog_item item = item_of(1, 1, NULL, "x");
    ki_catalog_rollback(catalog);
    ki_catalog_rollback(NULL);
    FAILS(KITH_E_ARG, "between begin and commit", ki_catalog_put_item(catalog, &item, &error));
    FAILS(KITH_E_ARG, "between begin and commit", ki_catalog_drop_log(catalog, 1, &error));
    FAILS(KITH_E_ARG, "between begin and commit", ki_catalog_commit(catalog, &error));
    OK(ki_catalog_begin(catalog, &error));
    FAILS(KITH_E_ARG, "begun", ki_catalog_begin(catalog, &error));
    assert_int_equal(pthread_create(&thread, NULL, change_elsewhere, catalog), 0);
    pthread_join(thread, &went_wrong);
    if (went_wrong) fail_msg("another thread %s", (char *)went_wrong);
    put(catalog, 1, 1, NULL, "x");
    FAILS(KITH_E_ARG, "not copied", ki_catalog_copy(catalog, "nowhere", &error));
    OK(ki_catalog_commit(catalog, &error));
    assert_string_equal(payload_of(catalog, 1), "x");

    FAILS(KITH_E_ARG, "NULL", ki_catalog_begin(NULL, &error));
    FAILS(KITH_E_ARG, "NULL", ki_catalog_get_item(catalog, 1, NULL, &error));
    FAILS(KITH_E_ARG, "NULL", ki_catalog_scan_items(catalog, 0, NULL, NULL, &error));
    OK(ki_catalog_begin(catalog, &error));
    FAILS(KITH_E_ARG, "NULL", ki_catalog_append_log(catalog, 1, (ki_bytes){NULL, 3}, &error));
    FAILS(KITH_E_LIMIT, "bytes", ki_catalog_append_log(catalog, 1, (ki_bytes){"", SIZE_MAX}, &error));
    FAILS(KITH_E_ARG, "name", ki_catalog_put_setting(catalog, "", bytes_of("x"), &error));
    FAILS(KITH_E_ARG, "name", ki_catalog_put_setting(catalog, NULL, bytes_of("x"), &error));
    /* What was not even tried undoes nothing. */
    OK(ki_catalog_append_log(catalog, 1, bytes_of("1"), &error));
    FAILS(KITH_E_ARG, "number 1", ki_catalog_append_log(catalog, 1, bytes_of("1"), &error));
    ki_catalog_rollback(catalog);
    assert_int_equal(count_log(catalog), 0);
}

/* Two threads change the same number: none of it is lost. */
static void *count_up(void *context) {
    ki_catalog *catalog = context;
    kith_error text;
    ki_found found = {0};
    for (int i = 0; i < 50; i++) {
        unsigned value = 0;
        if (ki_catalog_begin(catalog, &text) != KITH_OK) return "begin";
        if (ki_catalog_get_setting(catalog, "n", &found, &text) == KITH_OK)
            memcpy(&value, found.body.data, sizeof value);
        value++;
        if (ki_catalog_put_setting(catalog, "n", (ki_bytes){&value, sizeof value}, &text) != KITH_OK) return "put";
        if (ki_catalog_commit(catalog, &text) != KITH_OK) return "commit";
    }
    ki_found_free(&found);
    return NULL;
}

static void test_begin_waits(void **state) {
    pthread_t thread[2];
    void *went_wrong;
    unsigned value = 0;
    ki_found found = {0};
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, count_up, *state), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], &went_wrong);
        if (went_wrong) fail_msg("%s failed", (char *)went_wrong);
    }
    OK(ki_catalog_get_setting(*state, "n", &found, &error));
    memcpy(&value, found.body.data, sizeof value);
    assert_int_equal(value, 100);
    ki_found_free(&found);
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

/* Each commit gives all items the same new version; a scan and what it reads meanwhile must never see two. */
static atomic_int stop;

static void *rewrite(void *context) {
    ki_catalog *catalog = context;
    kith_error text;
    for (uint64_t version = 2; !atomic_load(&stop); version++) {
        if (ki_catalog_begin(catalog, &text) != KITH_OK) return "begin";
        for (uint64_t key = 0; key < 50; key++) {
            const ki_catalog_item item = item_of(key, version, NULL, "x");
            if (ki_catalog_put_item(catalog, &item, &text) != KITH_OK) return "put";
        }
        if (ki_catalog_put_segment(catalog, 1, (ki_bytes){&version, sizeof version}, &text) != KITH_OK) return "put";
        if (ki_catalog_commit(catalog, &text) != KITH_OK) return "commit";
    }
    return NULL;
}

typedef struct one_state {
    ki_catalog *catalog;
    uint64_t version;
    size_t count;
    int deeper;
} one_state;

static kith_status see_segment_version(void *context, uint64_t number, ki_bytes body, kith_error *unused) {
    (void)unused;
    (void)number;
    memcpy(context, body.data, sizeof(uint64_t));
    return KITH_OK;
}

static kith_status see_one_state(void *context, const ki_catalog_item *item, kith_error *text) {
    one_state *one = context;
    uint64_t version = 0;
    ki_found found = {0};
    if (!one->count++) one->version = item->version;
    if (item->version != one->version) return KITH_E_CORRUPT;
    kith_status status = ki_catalog_get_item(one->catalog, 49 - item->key, &found, text);
    if (status == KITH_OK && found.item.version != one->version) status = KITH_E_CORRUPT;
    ki_found_free(&found);
    if (status == KITH_OK) status = ki_catalog_scan_segments(one->catalog, see_segment_version, &version, text);
    if (status == KITH_OK && version != one->version) status = KITH_E_CORRUPT;
    if (status == KITH_OK && item->key == 20 && !one->deeper) { /* a scan of the same kind inside */
        one_state inner = {.catalog = one->catalog, .deeper = 1};
        status = ki_catalog_scan_items(one->catalog, 10, see_one_state, &inner, text);
        if (status == KITH_OK && (inner.version != one->version || inner.count != 40)) status = KITH_E_CORRUPT;
    }
    return status;
}

/* Rows one by one, of one state; once more inside, and scans there. */
static void see_rows(ki_catalog *catalog, uint64_t rows) {
    ki_found found = {0};
    one_state one = {.catalog = catalog};
    uint64_t version = 0;
    OK(ki_catalog_read_rows(catalog, rows, &error));
    for (uint64_t key = 0; key < 50; key++) {
        if (key == 20) OK(ki_catalog_read_rows(catalog, rows, &error));
        OK(ki_catalog_get_item(catalog, key, &found, &error));
        if (!version) version = found.item.version;
        assert_true(found.item.version == version);
        if (key == 20) OK(ki_catalog_scan_items(catalog, 0, see_one_state, &one, &error));
        if (key == 30) ki_catalog_read_end(catalog);
    }
    ki_catalog_read_end(catalog);
    assert_int_equal(one.count, 50);
    assert_true(one.version == version);
    ki_found_free(&found);
}

static void test_scans_see_one_state(void **state) {
    ki_catalog *catalog = *state;
    pthread_t thread;
    void *went_wrong = NULL;
    uint64_t stamp = 0, before, version = 1;
    OK(ki_catalog_begin(catalog, &error));
    for (uint64_t key = 0; key < 50; key++) put(catalog, key, 1, NULL, "x");
    OK(ki_catalog_put_segment(catalog, 1, (ki_bytes){&version, sizeof version}, &error));
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_stamp(catalog, &before, &error));
    atomic_store(&stop, 0);
    assert_int_equal(pthread_create(&thread, NULL, rewrite, catalog), 0);
    for (int round = 0; round < 30; round++) {
        one_state one = {.catalog = catalog};
        OK(ki_catalog_scan_items(catalog, 0, see_one_state, &one, &error));
        assert_int_equal(one.count, 50);
        one_state several = {.catalog = catalog};
        OK(ki_catalog_read_begin(catalog, &error));
        OK(ki_catalog_scan_segments(catalog, see_segment_version, &version, &error));
        OK(ki_catalog_read_begin(catalog, &error)); /* once more inside */
        OK(ki_catalog_scan_items(catalog, 0, see_one_state, &several, &error));
        ki_catalog_read_end(catalog);
        OK(ki_catalog_scan_items(catalog, 0, see_one_state, &several, &error));
        ki_catalog_read_end(catalog);
        assert_true(several.version == version);
        see_rows(catalog, 50);
        see_rows(catalog, 100);
    }
    do OK(ki_catalog_stamp(catalog, &stamp, &error));
    while (stamp == before);
    atomic_store(&stop, 1);
    pthread_join(thread, &went_wrong);
    if (went_wrong) fail_msg("%s failed", (char *)went_wrong);
    ki_catalog_read_end(catalog); /* nothing was begun */
}

static void test_scans_end_early(void **state) {
    ki_catalog *catalog = *state;
    OK(ki_catalog_begin(catalog, &error));
    for (uint64_t key = 0; key < 10; key++) {
        ki_catalog_item item = item_of(key, 1, NULL, "x");
        item.expires_ms = key + 1;
        OK(ki_catalog_put_item(catalog, &item, &error));
        OK(ki_catalog_append_log(catalog, key + 1, bytes_of("x"), &error));
    }
    OK(ki_catalog_commit(catalog, &error));
    for (int i = 0; i < 3; i++) {
        seen three = {.end = KITH_E_CANCELLED};
        const kith_status status = i == 0   ? ki_catalog_scan_items(catalog, 0, see_item, &three, &error)
                                   : i == 1 ? ki_catalog_scan_expired(catalog, 99, see_item, &three, &error)
                                            : ki_catalog_scan_log(catalog, 0, see_body, &three, &error);
        assert_int_equal(status, KITH_E_CANCELLED);
        assert_int_equal(three.count, 3);
    }
    assert_int_equal(count_items(catalog), 10);
}

static void test_stamps(void **state) {
    ki_catalog *catalog = *state;
    uint64_t first, second;
    OK(ki_catalog_stamp(catalog, &first, &error));
    assert_int_equal(count_items(catalog), 0);
    OK(ki_catalog_stamp(catalog, &second, &error));
    assert_true(first == second);
    for (uint64_t i = 0; i < 3; i++) {
        OK(ki_catalog_begin(catalog, &error));
        put(catalog, 1, i, NULL, "x");
        OK(ki_catalog_commit(catalog, &error));
        OK(ki_catalog_stamp(catalog, &second, &error));
        assert_true(first != second);
        first = second;
    }
    OK(ki_catalog_sync(catalog, &error));
}

/* ---- Bodies ------------------------------------------------------------------------------------------------------ */

static void test_records(void **state) {
    ki_catalog *catalog = *state;
    ki_found found = {0};
    seen all = {.count = 0};
    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_put_setting(catalog, "made", bytes_of("{}"), &error));
    OK(ki_catalog_put_record(catalog, 1, bytes_of("made"), bytes_of("a record"), &error));
    OK(ki_catalog_put_record(catalog, 1, bytes_of("b"), bytes_of(""), &error));
    OK(ki_catalog_put_record(catalog, 1, bytes_of("a"), bytes_of("old"), &error));
    OK(ki_catalog_put_record(catalog, 1, bytes_of("a"), bytes_of("new"), &error));
    OK(ki_catalog_put_record(catalog, 2, bytes_of("a"), bytes_of("other"), &error));
    OK(ki_catalog_put_record(catalog, UINT32_MAX, bytes_of("z"), bytes_of("last"), &error));
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_get_setting(catalog, "made", &found, &error));
    assert_int_equal(found.body.bytes, 2);
    OK(ki_catalog_get_record(catalog, 1, bytes_of("a"), &found, &error));
    assert_memory_equal(found.body.data, "new", 3);
    OK(ki_catalog_get_record(catalog, 1, bytes_of("b"), &found, &error));
    assert_int_equal(found.body.bytes, 0);
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_get_record(catalog, 3, bytes_of("a"), &found, &error));
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_get_setting(catalog, "a", &found, &error));
    OK(ki_catalog_scan_records(catalog, 1, see_record, &all, &error));
    assert_int_equal(all.count, 3);
    assert_string_equal(all.name[0], "a");
    assert_string_equal(all.name[2], "made");

    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_remove_record(catalog, 1, bytes_of("a"), &error));
    OK(ki_catalog_remove_record(catalog, 1, bytes_of("nobody"), &error));
    OK(ki_catalog_commit(catalog, &error));
    FAILS(KITH_E_NOTFOUND, "", ki_catalog_get_record(catalog, 1, bytes_of("a"), &found, &error));
    OK(ki_catalog_get_record(catalog, 2, bytes_of("a"), &found, &error));
    ki_found_free(&found);
}

static kith_status compare_body(void *context, uint64_t number, ki_bytes body, kith_error *unused) {
    unsigned char *expected = malloc(body.bytes + 1);
    size_t *count = context;
    (void)unused;
    assert_non_null(expected);
    fill(expected, body.bytes, number);
    if (body.bytes) assert_memory_equal(body.data, expected, body.bytes);
    free(expected);
    ++*count;
    return KITH_OK;
}

static void test_bodies_of_all_sizes(void **state) {
    static const size_t sizes[] = {0, 1, 100, 4000, 4095, 4096, 4097, 65536, 1 << 20, 4 << 20};
    const size_t count = sizeof sizes / sizeof *sizes;
    ki_catalog *catalog = *state;
    ki_found found = {0};
    size_t log = 0, segments = 0;
    unsigned char *body = malloc(4 << 20);
    assert_non_null(body);
    OK(ki_catalog_begin(catalog, &error));
    for (size_t i = 0; i < count; i++) {
        fill(body, sizes[i], i + 1);
        const ki_bytes bytes = {body, sizes[i]};
        const ki_catalog_item item = {.key = i + 1, .payload = bytes};
        OK(ki_catalog_append_log(catalog, i + 1, bytes, &error));
        OK(ki_catalog_put_segment(catalog, i + 1, bytes_of("shorter, and replaced"), &error));
        OK(ki_catalog_put_segment(catalog, i + 1, bytes, &error));
        OK(ki_catalog_put_item(catalog, &item, &error));
    }
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_scan_log(catalog, 0, compare_body, &log, &error));
    OK(ki_catalog_scan_segments(catalog, compare_body, &segments, &error));
    assert_int_equal(log, count);
    assert_int_equal(segments, count);
    for (size_t i = 0; i < count; i++) {
        OK(ki_catalog_get_item(catalog, i + 1, &found, &error));
        assert_int_equal(found.item.payload.bytes, sizes[i]);
        OK(compare_body(&log, i + 1, found.item.payload, &error));
    }
    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_drop_log(catalog, 5, &error));
    OK(ki_catalog_commit(catalog, &error));
    assert_int_equal(count_log(catalog), count - 5);
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    ki_found_free(&found);
    free(body);
}

/* ---- Against a list ---------------------------------------------------------------------------------------------- */

enum { MODEL_KEYS = 200 };

static uint64_t next_random(uint64_t *x) {
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x * 0x2545f4914f6cdd1du >> 20;
}

/* Random changes, committed or undone: what is there is what a plain table says. */
static void test_random_changes(void **state) {
    uint64_t there[MODEL_KEYS] = {0}, working[MODEL_KEYS], x = 4711; /* versions; 0: not there */
    ki_catalog *catalog = *state;
    for (uint64_t round = 1; round <= 60; round++) {
        memcpy(working, there, sizeof there);
        OK(ki_catalog_begin(catalog, &error));
        for (int i = 0; i < 20; i++) {
            const uint64_t key = next_random(&x) % MODEL_KEYS, scattered = key * UINT64_C(92233720368547758);
            char text[20];
            snprintf(text, sizeof text, "id %d", (int)key);
            if (next_random(&x) % 3) {
                put(catalog, scattered, round, key % 2 ? text : NULL, text);
                working[key] = round;
            } else {
                OK(ki_catalog_remove_item(catalog, scattered, &error));
                working[key] = 0;
            }
        }
        if (next_random(&x) % 4) {
            OK(ki_catalog_commit(catalog, &error));
            memcpy(there, working, sizeof there);
        } else {
            ki_catalog_rollback(catalog);
        }
        seen rows = {.count = 0};
        size_t place = 0;
        OK(ki_catalog_scan_items(catalog, 0, see_item, &rows, &error));
        for (uint64_t key = 0; key < MODEL_KEYS; key++) {
            uint64_t found = 0;
            char text[20];
            snprintf(text, sizeof text, "id %d", (int)key);
            const kith_status status = ki_catalog_find_text(catalog, bytes_of(text), &found, &error);
            assert_int_equal(status == KITH_OK, key % 2 && there[key]);
            if (!there[key]) continue;
            assert_true(place < rows.count && rows.number[place++] == key * UINT64_C(92233720368547758));
        }
        assert_int_equal(place, rows.count);
    }
}

static void test_sizes(void **state) {
    ki_catalog *catalog = *state;
    uint64_t disk = 1, memory = 1, later_disk, later_memory;
    ki_catalog_sizes(catalog, &disk, &memory);
    char *body = calloc(1, 1 << 20);
    assert_non_null(body);
    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_append_log(catalog, 1, (ki_bytes){body, 1 << 20}, &error));
    OK(ki_catalog_commit(catalog, &error));
    ki_catalog_sizes(catalog, &later_disk, &later_memory);
    assert_true(later_memory >= memory && (later_disk >= disk + (1 << 20) || later_memory >= memory + (1 << 20)));
    ki_catalog_sizes(catalog, NULL, NULL);
    ki_catalog_sizes(NULL, &disk, &memory);
    assert_true(!disk && !memory);
    OK(ki_catalog_tidy(catalog, &error));
    free(body);
}

static void test_copy(void **state) {
    static int number;
    ki_catalog *catalog = *state;
    char name[30];
    snprintf(name, sizeof name, "copy%d", number++);
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 1, 1, "one", "first");
    OK(ki_catalog_append_log(catalog, 1, bytes_of("log"), &error));
    OK(ki_catalog_put_segment(catalog, 1, bytes_of("segment"), &error));
    OK(ki_catalog_put_setting(catalog, "made", bytes_of("so"), &error));
    OK(ki_catalog_put_record(catalog, 3, bytes_of("r"), bytes_of("record"), &error));
    OK(ki_catalog_commit(catalog, &error));
    OK(ki_catalog_copy(catalog, data_path(name), &error));
    FAILS(KITH_E_BUSY, "already", ki_catalog_copy(catalog, data_path(name), &error));
    ki_catalog *copy = open_file(data_path(name), (ki_catalog_options){.read_only = 1});
    ki_found found = {0};
    assert_string_equal(payload_of(copy, 1), "first");
    assert_int_equal(count_log(copy), 1);
    OK(ki_catalog_get_setting(copy, "made", &found, &error));
    OK(ki_catalog_get_record(copy, 3, bytes_of("r"), &found, &error));
    assert_memory_equal(found.body.data, "record", 6);
    OK(ki_catalog_check(copy, NULL, NULL, &error));
    ki_found_free(&found);
    ki_catalog_close(copy);
    ki_catalog_close(NULL);
}

#define ON_DISK_AND_MEMORY(test)                                                                                       \
    {#test " in a file", test, with_file, closed, NULL}, {                                                             \
#test " in memory", test, with_memory, closed, NULL                                                            \
    }
#define EVERYWHERE(test) {#test " with a tail", test, with_tail, closed, NULL}, ON_DISK_AND_MEMORY(test)

static int prepare(void **state) {
    faulty_vfs_install();
    return data_folder_make(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_items),
        EVERYWHERE(test_order_of_keys),
        EVERYWHERE(test_string_ids),
        EVERYWHERE(test_expiry),
        EVERYWHERE(test_order_of_calls),
        EVERYWHERE(test_begin_waits),
        EVERYWHERE(test_scans_end_early),
        EVERYWHERE(test_scans_see_one_state),
        EVERYWHERE(test_stamps),
        EVERYWHERE(test_records),
        EVERYWHERE(test_random_changes),
        EVERYWHERE(test_bodies_of_all_sizes),
        EVERYWHERE(test_sizes),
        EVERYWHERE(test_copy),
        ON_DISK_AND_MEMORY(test_who_sees_what), /* waits between begin and commit */
    };
    return cmocka_run_group_tests(tests, prepare, data_folder_remove);
}
