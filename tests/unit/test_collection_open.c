/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening again, and following: what a reader in another process sees of a writer, what a crash leaves behind, and
 * catalogs that are damaged or lie.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/shop.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "log/follow.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <xxhash.h>

static char path[512];

static void fresh_path(void) {
    snprintf(path, sizeof(path), "%s", fresh());
}

static char *inside(const char *name) {
    static char text[600];
    snprintf(text, sizeof(text), "%s/%s", path, name);
    return text;
}

/* ---- Replay ------------------------------------------------------------------------------------------------------ */

/* Rows in segments, in the log, replaced, removed: opened again and again, it is the same. */
static void test_opened_again_it_is_the_same(void **state) {
    (void)state;
    fresh_path();
    kith_collection *collection = make_at(path, KITH_ID_U64);
    for (uint64_t i = 0; i < 50; i++) must(put(collection, i, (float)i, "{\"color\":\"red\"}", KITH_UPSERT, NULL));
    must(kith_collection_compact(collection, NULL, NULL, &error));
    for (uint64_t i = 0; i < 50; i += 5) must(put(collection, i, 100, "{}", KITH_UPSERT, NULL));
    for (uint64_t i = 1; i < 50; i += 5)
        must(kith_collection_delete(collection, &(kith_ids){.count = 1, .ids = &i}, NULL, NULL, &error));
    for (int round = 0; round < 4; round++) {
        kith_collection_info info = KITH_COLLECTION_INFO_INIT;
        must(kith_collection_get_info(collection, &info));
        assert_int_equal(info.items, 40);
        assert_int_equal(info.version, 70);
        expect(collection, 5, 100, "{}", 52);
        expect(collection, 2, 2, "{\"color\":\"red\"}", 3);
        assert_int_equal(there(collection, 1), 0);
        if (round == 2) must(kith_collection_compact(collection, NULL, NULL, &error)); /* the log is empty then */
        kith_collection_close(collection);
        collection = open_at(path, round == 2);
    }
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    must(put(collection, 1, 1, NULL, KITH_INSERT, &report));
    assert_int_equal(report.version, 71); /* versions go on */
    kith_collection_close(collection);
}

static uint64_t insert_text(kith_collection *collection, const char *text) {
    const uint64_t end = strlen(text);
    kith_items items = KITH_ITEMS_INIT;
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    items.ids = (kith_ids){.count = 1, .id_bytes = text, .id_ends = &end};
    must(kith_collection_write(collection, &items, KITH_INSERT, NULL, &error));
    must(kith_result_create(&result, &error));
    must(kith_collection_get(collection, &items.ids, 0, result, &error));
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, 1);
    const uint64_t number = hits.ids[0];
    kith_result_destroy(result);
    return number;
}

/* Numbers of string ids are never given twice, whether the last ones are in the log, in segments or removed. */
static void test_numbers_of_strings_go_on(void **state) {
    char text[16];
    (void)state;
    fresh_path();
    kith_collection *collection = make_at(path, KITH_ID_STRING);
    for (uint64_t i = 0; i < 8; i++) {
        snprintf(text, sizeof(text), "id%d", (int)i);
        assert_int_equal(insert_text(collection, text), i);
        if (i % 2) {
            const uint64_t end = strlen(text);
            must(kith_collection_delete(collection, &(kith_ids){.count = 1, .id_bytes = text, .id_ends = &end}, NULL,
                                        NULL, &error));
        }
        if (i % 3 == 0) must(kith_collection_compact(collection, NULL, NULL, &error));
        kith_collection_close(collection);
        collection = open_at(path, 0);
    }
    assert_int_equal(count_of(collection), 4);
    kith_collection_close(collection);
}

/* What a segment holds expires after opening too, though only the catalog knows when. */
static void test_expiry_after_opening(void **state) {
    kith_items items = KITH_ITEMS_INIT;
    const uint64_t id = 4, soon = ki_wall_ms() + 60;
    (void)state;
    fresh_path();
    kith_collection *collection = make_at(path, KITH_ID_U64);
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.expires_ms = &soon;
    must(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
    must(put(collection, 5, 1, NULL, KITH_UPSERT, NULL));
    must(kith_collection_compact(collection, NULL, NULL, &error));
    kith_collection_close(collection);
    collection = open_at(path, 0);
    kith_collection *reader = open_at(path, 1);
    while (ki_wall_ms() < soon) usleep(1000);
    assert_int_equal(there(collection, 4), 0);
    assert_int_equal(there(reader, 4), 0);
    assert_int_equal(count_of(collection), 1);
    assert_int_equal(count_of(reader), 1);
    kith_collection_close(reader);
    kith_collection_close(collection);
}

static void test_orphans_go(void **state) {
    (void)state;
    fresh_path();
    kith_collection *collection = make_at(path, KITH_ID_U64);
    must(put(collection, 1, 1, NULL, KITH_UPSERT, NULL));
    must(kith_collection_compact(collection, NULL, NULL, &error));
    kith_collection_close(collection);
    assert_int_equal(mkdir(inside("segments/0000000099"), 0777), 0);
    FILE *file = fopen(inside("segments/0000000099/table"), "w");
    assert_non_null(file);
    fclose(file);
    kith_collection_close(open_at(path, 1));
    assert_int_equal(access(inside("segments/0000000099"), F_OK), 0); /* a reader removes nothing */
    collection = open_at(path, 0);
    assert_int_equal(access(inside("segments/0000000099"), F_OK), -1);
    expect(collection, 1, 1, "", 1);
    kith_collection_close(collection);
}

/* ---- Following --------------------------------------------------------------------------------------------------- */

/* In a child: open, tell, and after each byte from the writer look at what is there. */
static int follow(int from, int to) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *reader = NULL;
    kith_result *result = NULL;
    uint64_t version;
    options.read_only = 1, options.threads = 1;
    if (kith_collection_open(path, &options, &reader, &error) != KITH_OK) return 10;
    if (kith_result_create(&result, &error) != KITH_OK) return 11;
    if (write(to, "r", 1) != 1) return 12;
    while (read(from, &version, sizeof(version)) == sizeof(version)) {
        const float query[DIM] = {(float)version, (float)version, (float)version, (float)version};
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = query, queries.dtype = KITH_F32, queries.count = 1, queries.dim = DIM;
        const kith_leg leg = {.queries = &queries};
        kith_hits hits = KITH_HITS_INIT;
        kith_ask ask = KITH_ASK_INIT;
        ask.legs = &leg, ask.leg_count = 1, ask.k = 1, ask.min_version = version;
        if (kith_collection_search(reader, &ask, result, &error) != KITH_OK) return 13;
        if (kith_result_hits(result, &hits) != KITH_OK || hits.count != 1) return 14;
        if (hits.ids[0] != version || hits.distances[0] != 0) return 15; /* the item of that write */
        if (write(to, "r", 1) != 1) return 16;
    }
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (kith_collection_get_info(reader, &info) != KITH_OK || info.fields != 3) return 17;
    kith_result_destroy(result);
    kith_collection_close(reader);
    return 0;
}

static void test_a_reader_in_another_process_follows(void **state) {
    int down[2], up[2], ended = -1;
    char ready;
    (void)state;
    fresh_path();
    const kith_collection_options made = options_of(KITH_ID_U64);
    must(kith_collection_create(path, &made, &error));
    assert_true(pipe(down) == 0 && pipe(up) == 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(down[1]);
        close(up[0]);
        _exit(follow(down[0], up[1]));
    }
    close(down[0]);
    close(up[1]);
    assert_int_equal(read(up[0], &ready, 1), 1);
    kith_collection *collection = open_at(path, 0);
    for (uint64_t i = 1; i <= 40; i++) {
        kith_write_report report = KITH_WRITE_REPORT_INIT;
        must(put(collection, i, (float)i, "{}", KITH_UPSERT, &report));
        assert_int_equal(report.version, i);
        if (i % 10 == 0) must(kith_collection_compact(collection, NULL, NULL, &error)); /* segments come and go */
        if (i == 15)
            must(kith_collection_declare(collection, &(kith_field){.name = "n", .type = KITH_FIELD_INT}, &error));
        assert_int_equal(write(down[1], &i, sizeof(i)), sizeof(i));
        if (read(up[0], &ready, 1) != 1) break;
    }
    close(down[1]);
    close(up[0]);
    assert_int_equal(waitpid(child, &ended, 0), child);
    if (!WIFEXITED(ended) || WEXITSTATUS(ended)) fail_msg("the reader ended with %d", ended);
    kith_collection_close(collection);
}

static size_t segments_of(kith_collection *collection, const ki_sealed **first, uint64_t *alive) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const size_t count = snapshot->sealed_count;
    if (count) *first = snapshot->sealed[0].sealed, *alive = snapshot->sealed[0].alive->set;
    ki_snapshot_release(snapshot);
    return count;
}

/* A reader keeps the segments that it has open, with the dead rows of now. */
static void test_a_reader_keeps_what_it_has_open(void **state) {
    const kith_collection_options made = options_of(KITH_ID_U64);
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    const ki_sealed *first = NULL, *now = NULL;
    uint64_t alive = 0, id = 0;
    (void)state;
    fresh_path();
    must(kith_collection_create(path, &made, &error));
    options.no_background = 1, options.threads = 1, options.head_bytes = 1; /* heads of the least size */
    must(kith_collection_open(path, &options, &collection, &error));
    while (segments_of(collection, &now, &alive) < 1) must(put(collection, id++, 1, "{}", KITH_UPSERT, NULL));
    kith_collection *reader = open_at(path, 1);
    assert_int_equal(segments_of(reader, &first, &alive), 1);
    const uint64_t rows = alive, gone = 3, edition = reader->edition;
    must(kith_collection_delete(collection, &(kith_ids){.count = 1, .ids = &gone}, NULL, NULL, &error));
    while (segments_of(collection, &now, &alive) < 2) must(put(collection, id++, 1, "{}", KITH_UPSERT, NULL));
    assert_int_equal(count_of(reader), id - 1);
    assert_true(reader->edition > edition);
    assert_int_equal(segments_of(reader, &now, &alive), 2);
    assert_ptr_equal(now, first);
    assert_int_equal(alive, rows - 1);
    assert_int_equal(there(reader, 3), 0);
    assert_int_equal(there(reader, 4), 1);
    kith_collection_close(reader);
    kith_collection_close(collection);
}

static int third_time(void *context) {
    int *asked = context;
    return ++*asked >= 3;
}

static void test_waiting_has_an_end(void **state) {
    (void)state;
    fresh_path();
    kith_collection *collection = make_at(path, KITH_ID_U64), *reader = open_at(path, 1);
    must(put(collection, 1, 1, NULL, KITH_UPSERT, NULL));
    must(ki_collection_wait(collection, 1, 0, NULL, NULL, &error));
    must(ki_collection_wait(reader, 1, UINT64_MAX, NULL, NULL, &error));
    refused(ki_collection_wait(collection, 2, 1000, NULL, NULL, &error), KITH_E_DEADLINE, "the collection is at 1");
    refused(ki_collection_wait(reader, 2, 1000, NULL, NULL, &error), KITH_E_DEADLINE, "the collection is at 1");
    int asked[2] = {0};
    refused(ki_collection_wait(collection, 2, UINT64_MAX, third_time, &asked[0], &error), KITH_E_CANCELLED,
            "cancelled");
    refused(ki_collection_wait(reader, 2, UINT64_MAX, third_time, &asked[1], &error), KITH_E_CANCELLED, "cancelled");
    assert_int_equal(asked[0] + asked[1], 6);
    kith_collection_close(reader);
    kith_collection_close(collection);
}

/* ---- Catalogs that are damaged or lie ---------------------------------------------------------------------------- */

static void change_catalog(const char *setting, ki_bytes value, uint64_t sequence, ki_bytes body) {
    const ki_catalog_options options = {0};
    ki_catalog *catalog = NULL;
    must(ki_catalog_open_sqlite(inside("catalog.sqlite"), &options, &catalog, &error));
    must(ki_catalog_begin(catalog, &error));
    if (setting) must(ki_catalog_put_setting(catalog, setting, value, &error));
    if (body.bytes) must(ki_catalog_append_log(catalog, sequence, body, &error));
    must(ki_catalog_commit(catalog, &error));
    ki_catalog_close(catalog);
}

static void refuses_to_open(kith_status expected, const char *part) {
    kith_collection *collection = NULL;
    refused(kith_collection_open(path, NULL, &collection, &error), expected, part);
    assert_null(collection);
}

static void test_settings_that_lie(void **state) {
    static const struct {
        const char *setting, *value;
        kith_status status;
        const char *part;
    } lies[] = {{"made", "{}", KITH_E_CORRUPT, "setting \"made\" is damaged"},
                {"made", "{\"version\":9}", KITH_E_VERSION, "version 9"},
                {"fields", "{\"version\":1,\"fields\":3}", KITH_E_CORRUPT, "setting \"fields\" is damaged"},
                {"fields", "{\"version\":9}", KITH_E_VERSION, "version 9"},
                {"state", "", KITH_E_CORRUPT, "setting \"state\" is damaged"}};
    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        fresh_path();
        kith_collection_close(make_at(path, KITH_ID_U64));
        change_catalog(lies[i].setting, (ki_bytes){lies[i].value, strlen(lies[i].value)}, 0, (ki_bytes){0});
        refuses_to_open(lies[i].status, lies[i].part);
    }
}

/* The log is right to the last bit, and says what cannot be: a vector with a NaN, a payload that is no object. */
static void test_logs_that_lie(void **state) {
    enum { HEAD = 32, PUT = 40 };
    (void)state;
    for (int lie = 0; lie < 3; lie++) {
        uint64_t words[32] = {0};
        unsigned char *body = (unsigned char *)words;
        const char *payload = lie == 1 ? "[1,2,3]" : "{\"a\":1}";
        const float row[DIM] = {1, 2, 3, 4};
        ki_store_u32(body, 1);
        ki_store_u32(body + 4, 1);
        ki_store_u64(body + 8, 1);
        ki_store_u32(body + 24, 2);
        ki_store_u32(body + HEAD, 1);
        ki_store_u64(body + HEAD + 8, 77);
        ki_store_u64(body + HEAD + 24, 1);
        ki_store_u32(body + HEAD + 32, 7);
        memcpy(body + HEAD + PUT, payload, 7);
        memcpy(body + HEAD + PUT + 8, row, sizeof(row));
        if (lie == 0) memset(body + HEAD + PUT + 8, 0xff, 4);
        const size_t bytes = HEAD + PUT + 8 + sizeof(row);
        ki_store_u64(body + bytes, XXH3_64bits(body, bytes));
        fresh_path();
        kith_collection_close(make_at(path, KITH_ID_U64));
        change_catalog(NULL, (ki_bytes){0}, 1, (ki_bytes){body, bytes + 8});
        if (lie < 2) {
            refuses_to_open(KITH_E_CORRUPT, "log of version 1 is damaged: key 77");
            continue;
        }
        kith_collection *collection = open_at(path, 0); /* what is true is taken */
        assert_int_equal(there(collection, 77), 1);
        kith_collection_close(collection);
    }
}

static void test_a_commit_that_fails_poisons(void **state) {
    (void)state;
    fresh_path();
    kith_collection *collection = make_at(path, KITH_ID_U64);
    must(put(collection, 1, 1, NULL, KITH_UPSERT, NULL));
    collection->poisoned = KITH_E_IO;
    snprintf(collection->poison, sizeof(collection->poison), "the disk is gone");
    refused(put(collection, 2, 1, NULL, KITH_UPSERT, NULL), KITH_E_IO, "open it anew (the disk is gone)");
    assert_int_equal(there(collection, 1), 1); /* reads go on */
    assert_int_equal(there(collection, 2), 0);
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opened_again_it_is_the_same),
        cmocka_unit_test(test_numbers_of_strings_go_on),
        cmocka_unit_test(test_expiry_after_opening),
        cmocka_unit_test(test_orphans_go),
        cmocka_unit_test(test_a_reader_in_another_process_follows),
        cmocka_unit_test(test_a_reader_keeps_what_it_has_open),
        cmocka_unit_test(test_waiting_has_an_end),
        cmocka_unit_test(test_settings_that_lie),
        cmocka_unit_test(test_logs_that_lie),
        cmocka_unit_test(test_a_commit_that_fails_poisons),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
