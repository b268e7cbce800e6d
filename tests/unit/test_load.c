/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_collection_load: all of it or nothing, whatever was there before or came meanwhile; what is refused, by its row;
 * going on with what a stopped load left; and what a collection that was opened again, or followed, has of it.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/shop.h"

#include <glob.h>
#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

enum { ROWS = 200 };

/* ---- What is loaded ---------------------------------------------------------------------------------------------- */

/* Row i of a load: a vector of equal elements `base + i`, a vector "small", and a payload. */
static float rows[ROWS][DIM], small[ROWS][2];
static uint64_t ids[ROWS];
static char payloads[ROWS * 64];
static uint64_t payload_ends[ROWS];
static const char *wrong_payload; /* of row 7 */

static const char *payload_of(size_t row) {
    static char text[64];
    if (row == 7 && wrong_payload) return wrong_payload;
    if (row % 10 == 9) return "";
    snprintf(text, sizeof(text), "{\"color\":\"c%zu\",\"price\":%zu}", row % 3, row);
    return text;
}

static void prepare(float base) {
    uint64_t end = 0;
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t d = 0; d < DIM; d++) rows[i][d] = base + (float)i;
        small[i][0] = 1 + (float)i;
        small[i][1] = 2;
        ids[i] = (i * 7919) % 1000; /* in no order, distinct */
        end += (uint64_t)snprintf(payloads + end, sizeof(payloads) - end, "%s", payload_of(i));
        payload_ends[i] = end;
    }
    wrong_payload = NULL;
}

static kith_status give_payloads(void *context, uint64_t first, size_t count, kith_payloads *to, kith_error *why) {
    static uint64_t ends[ROWS];
    const uint64_t begin = first ? payload_ends[first - 1] : 0;
    (void)context;
    (void)why;
    for (size_t i = 0; i < count; i++) ends[i] = payload_ends[first + i] - begin;
    *to = (kith_payloads){payloads + begin, ends};
    return KITH_OK;
}

static kith_reader *reader_of(const void *from, size_t dim, size_t count, const uint64_t *of) {
    kith_reader *reader = NULL;
    must(kith_reader_from_memory(from, KITH_F32, count, dim, 0, of, &reader, &error));
    return reader;
}

static kith_load_options some_options(kith_write_mode mode) {
    kith_load_options options = KITH_LOAD_OPTIONS_INIT;
    options.mode = mode;
    options.payloads = give_payloads;
    options.threads = 1;
    return options;
}

/* Both vectors of `count` rows; `of` NULL: row numbers. */
static kith_status load_some(kith_collection *shop, size_t count, const uint64_t *of, const kith_load_options *options,
                             kith_load_report *report) {
    kith_reader *first = reader_of(rows, DIM, count, of), *second = reader_of(small, 2, count, NULL);
    const kith_load_vectors vectors[] = {{"", first}, {"small", second}};
    const kith_status status = kith_collection_load(shop, vectors, 2, options, report, &error);
    kith_reader_close(first);
    kith_reader_close(second);
    return status;
}

static kith_load_report load_all(kith_collection *shop, kith_write_mode mode) {
    const kith_load_options options = some_options(mode);
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    must(load_some(shop, ROWS, ids, &options, &report));
    return report;
}

static void expect_all(kith_collection *shop, float base, uint64_t version) {
    for (size_t i = 0; i < ROWS; i++) expect(shop, ids[i], base + (float)i, payload_of(i), version);
}

static int has_folder(const char *path) {
    char name[4096];
    struct stat about;
    snprintf(name, sizeof(name), "%s/load", path);
    return stat(name, &about) == 0;
}

static void check_whole(kith_collection *shop, const char *path) {
    kith_collection_close(shop);
    assert_false(has_folder(path));
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

static void test_into_nothing(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    prepare(0);
    const kith_load_report report = load_all(shop, KITH_INSERT);
    assert_int_equal(report.version, 1);
    assert_int_equal(report.inserted, ROWS);
    assert_int_equal(report.replaced, 0);
    assert_int_equal(report.resumed, 0);
    expect_all(shop, 0, 1);
    uint64_t count = 0;
    must(kith_collection_count(shop, "color = \"c1\" and price < 100", &count, &error));
    size_t wanted = 0;
    for (size_t i = 0; i < 100; i++) wanted += i % 3 == 1 && i % 10 != 9;
    assert_int_equal(count, wanted);
    check_whole(shop, path);
    shop = open_at(path, 0);
    expect_all(shop, 0, 1);
    kith_collection_close(shop);
}

static void test_row_numbers(void **state) {
    (void)state;
    kith_collection *shop = make_at(fresh(), KITH_ID_U64);
    kith_load_options options = some_options(KITH_UPSERT);
    options.payloads = NULL;
    prepare(3);
    must(load_some(shop, ROWS, NULL, &options, NULL));
    assert_int_equal(count_of(shop), ROWS);
    expect(shop, 17, 20, "", 1);
    kith_collection_close(shop);
}

static void test_no_rows(void **state) {
    (void)state;
    kith_collection *shop = make_at(fresh(), KITH_ID_U64);
    const kith_load_options options = some_options(KITH_UPSERT);
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    must(put(shop, 1, 1, NULL, KITH_UPSERT, NULL));
    must(load_some(shop, 0, NULL, &options, &report));
    assert_int_equal(report.version, 1);
    assert_int_equal(report.inserted, 0);
    kith_collection_close(shop);
}

static void test_one_vector_of_two(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    kith_load_options options = some_options(KITH_INSERT);
    prepare(0);
    kith_reader *reader = reader_of(small, 2, ROWS, ids);
    const kith_load_vectors vectors = {"small", reader};
    must(kith_collection_load(shop, &vectors, 1, &options, NULL, &error));
    kith_reader_close(reader);
    kith_result *result = NULL;
    const uint8_t *present;
    must(kith_result_create(&result, &error));
    must(kith_collection_get(shop, &(kith_ids){.count = 1, .ids = &ids[5]}, KITH_WITH_VECTORS, result, &error));
    assert_non_null(kith_result_vectors(result, "small", &present));
    assert_int_equal(present[0], 1);
    const float *lacks = kith_result_vectors(result, "", &present);
    assert_true(!lacks || !present[0]);
    kith_result_destroy(result);
    check_whole(shop, path);
}

static void test_in_memory(void **state) {
    (void)state;
    const kith_collection_options made = options_of(KITH_ID_U64);
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *shop = NULL;
    options.no_background = 1;
    must(kith_collection_open_memory(&made, &options, &shop, &error));
    prepare(0);
    load_all(shop, KITH_INSERT);
    prepare(1000);
    assert_int_equal(load_all(shop, KITH_UPSERT).replaced, ROWS);
    expect_all(shop, 1000, 2);
    must(kith_collection_compact(shop, NULL, NULL, &error));
    expect_all(shop, 1000, 2);
    kith_collection_close(shop);
}

static void test_expiry(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    kith_load_options options = some_options(KITH_INSERT);
    options.expires_ms = 1000;
    prepare(0);
    must(put(shop, 5000, 1, NULL, KITH_UPSERT, NULL));
    must(load_some(shop, ROWS, ids, &options, NULL));
    assert_int_equal(count_of(shop), 1);
    kith_collection_close(shop);
    shop = open_at(path, 0);
    assert_int_equal(count_of(shop), 1);
    options.expires_ms = 0;
    must(load_some(shop, ROWS, ids, &options, NULL));
    assert_int_equal(count_of(shop), ROWS + 1);
    kith_collection_close(shop);
}

/* ---- What was there before, and what comes after ----------------------------------------------------------------- */

/* Rows in the log, in a segment, and removed ones: the load is newer than all of them, also for who reads the log. */
static void test_replaces(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64), *follower;
    prepare(0);
    for (size_t i = 0; i < 20; i++) must(put(shop, ids[i], -5, "{\"color\":\"old\"}", KITH_UPSERT, NULL));
    must(kith_collection_compact(shop, NULL, NULL, &error));
    for (size_t i = 10; i < 40; i++) must(put(shop, ids[i], -6, "{\"color\":\"older\"}", KITH_UPSERT, NULL));
    must(put(shop, 5001, -7, "{}", KITH_UPSERT, NULL));
    for (size_t i = 30; i < 35; i++)
        must(kith_collection_delete(shop, &(kith_ids){.count = 1, .ids = &ids[i]}, NULL, NULL, &error));
    follower = open_at(path, 1);
    const kith_load_report report = load_all(shop, KITH_UPSERT);
    assert_int_equal(report.replaced, 35);
    assert_int_equal(report.inserted, ROWS - 35);
    expect_all(shop, 0, report.version);
    assert_int_equal(count_of(follower), ROWS + 1);
    expect_all(follower, 0, report.version);
    kith_collection_close(follower);
    check_whole(shop, path);
    shop = open_at(path, 0); /* replays the log, which the load is not in */
    expect_all(shop, 0, report.version);
    expect(shop, 5001, -7, "{}", 51);
    assert_int_equal(count_of(shop), ROWS + 1);
    kith_collection_close(shop);
}

/* Writes behind the load, sealed, merged and opened again: no row of before comes back. */
static void test_later_writes(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    prepare(0);
    for (size_t i = 0; i < 40; i++) must(put(shop, ids[i], -6, "{\"color\":\"older\"}", KITH_UPSERT, NULL));
    const kith_load_report report = load_all(shop, KITH_UPSERT);
    must(kith_collection_delete(shop, &(kith_ids){.count = 1, .ids = &ids[3]}, NULL, NULL, &error));
    must(put(shop, ids[4], 77, "{}", KITH_UPSERT, NULL));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(count_of(shop), ROWS - 1);
        assert_false(there(shop, ids[3]));
        expect(shop, ids[4], 77, "{}", report.version + 2);
        expect(shop, ids[5], 5, payload_of(5), report.version);
        if (round == 1) must(kith_collection_compact(shop, NULL, NULL, &error));
        check_whole(shop, path);
        shop = open_at(path, 0);
    }
    prepare(500);
    assert_int_equal(load_all(shop, KITH_UPSERT).replaced, ROWS - 1);
    check_whole(shop, path);
    shop = open_at(path, 0);
    expect_all(shop, 500, report.version + 3);
    kith_collection_close(shop);
}

/* A loaded segment whose vectors are gone: what the log has of its keys is older, and does not come back in their place. */
static void test_repaired(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    kith_repair_report report = KITH_REPAIR_REPORT_INIT;
    char pattern[4096];
    glob_t found;
    prepare(0);
    for (size_t i = 0; i < 10; i++) must(put(shop, ids[i], -6, "{}", KITH_UPSERT, NULL));
    load_all(shop, KITH_UPSERT);
    must(put(shop, ids[20], 7, "{}", KITH_UPSERT, NULL));
    kith_collection_close(shop);
    snprintf(pattern, sizeof(pattern), "%s/segments/*/vectors.*.kith", path);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 2);
    for (size_t i = 0; i < found.gl_pathc; i++) assert_int_equal(truncate(found.gl_pathv[i], 100), 0);
    globfree(&found);
    must(kith_collection_repair(path, NULL, NULL, NULL, NULL, &report, &error));
    assert_int_equal(report.items, 1);
    assert_int_equal(report.lost, ROWS - 1);
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
    shop = open_at(path, 0);
    assert_int_equal(count_of(shop), 1);
    expect(shop, ids[20], 7, "{}", 12);
    kith_collection_close(shop);
}

static void test_insert_refuses(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    const kith_load_options options = some_options(KITH_INSERT);
    char part[64];
    prepare(0);
    must(put(shop, ids[9], -1, NULL, KITH_UPSERT, NULL));
    snprintf(part, sizeof(part), "row 9 (id %llu): is there already", (unsigned long long)ids[9]);
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, part);
    must(kith_collection_compact(shop, NULL, NULL, &error));
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, part);
    assert_int_equal(count_of(shop), 1);
    check_whole(shop, path);
}

/* ---- What comes meanwhile ---------------------------------------------------------------------------------------- */

static kith_collection *busy_shop;
static kith_status busy_status;
static void (*busy_work)(void);

static void *run_busy(void *context) {
    (void)context;
    busy_work();
    return NULL;
}

/* Once, while indexes are built, another thread does something. */
static int meanwhile(void *context, const kith_progress *progress) {
    pthread_t thread;
    int *done = context;
    if (*done || strcmp(progress->unit, "items") == 0) return 0;
    *done = 1;
    assert_int_equal(pthread_create(&thread, NULL, run_busy, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return 0;
}

static void write_meanwhile(void) {
    busy_status = put(busy_shop, ids[11], -9, "{}", KITH_UPSERT, NULL);
}

static void load_meanwhile(void) {
    kith_reader *reader = NULL;
    busy_status = kith_reader_from_memory(rows, KITH_F32, 3, DIM, 0, NULL, &reader, &error);
    const kith_load_vectors vectors = {NULL, reader};
    busy_status = kith_collection_load(busy_shop, &vectors, 1, NULL, NULL, &error);
    kith_reader_close(reader);
}

static void compact_meanwhile(void) {
    busy_status = kith_collection_compact(busy_shop, NULL, NULL, &error);
}

static kith_status load_beside(kith_collection *shop, kith_write_mode mode, void (*work)(void)) {
    kith_load_options options = some_options(mode);
    int done = 0;
    busy_shop = shop;
    busy_work = work;
    busy_status = KITH_E_CANCELLED;
    options.progress = meanwhile;
    options.progress_context = &done;
    const kith_status status = load_some(shop, ROWS, ids, &options, NULL);
    assert_int_equal(done, 1);
    return status;
}

static void test_meanwhile(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    prepare(0);
    refused(load_beside(shop, KITH_INSERT, write_meanwhile), KITH_E_DATA, "row 11 (id ");
    assert_int_equal(busy_status, KITH_OK);
    assert_int_equal(count_of(shop), 1);
    must(load_beside(shop, KITH_UPSERT, write_meanwhile));
    expect_all(shop, 0, 3);
    prepare(100);
    must(load_beside(shop, KITH_UPSERT, compact_meanwhile));
    must(busy_status);
    expect_all(shop, 100, 4);
    must(load_beside(shop, KITH_UPSERT, load_meanwhile));
    refused(busy_status, KITH_E_BUSY, "another load");
    check_whole(shop, path);
}

/* ---- String ids -------------------------------------------------------------------------------------------------- */

static char texts[ROWS * 8];
static uint32_t text_ends[ROWS];

static kith_status read_texts(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                              kith_error *why) {
    static uint32_t ends[ROWS];
    const uint32_t begin = first ? text_ends[first - 1] : 0;
    (void)context;
    (void)why;
    memcpy(data, rows[first], count * sizeof(rows[0]));
    for (size_t i = 0; i < count; i++) ends[i] = text_ends[first + i] - begin;
    labels->id_bytes = texts + begin;
    labels->id_ends = ends;
    return KITH_OK;
}

static kith_status load_texts(kith_collection *shop, const kith_load_options *options, kith_load_report *report) {
    kith_source source = KITH_SOURCE_INIT;
    kith_reader *reader = NULL;
    source.dtype = KITH_F32, source.id_kind = KITH_ID_STRING, source.dim = DIM, source.rows = ROWS;
    source.read = read_texts;
    must(kith_reader_from_source(&source, &reader, &error));
    const kith_load_vectors vectors = {NULL, reader};
    const kith_status status = kith_collection_load(shop, &vectors, 1, options, report, &error);
    kith_reader_close(reader);
    return status;
}

static void prepare_texts(size_t twice) {
    uint32_t end = 0;
    for (size_t i = 0; i < ROWS; i++) {
        end += (uint32_t)sprintf(texts + end, "n%zu", i == twice ? 4 : i);
        text_ends[i] = end;
    }
}

static kith_status put_text(kith_collection *shop, const char *id, float value) {
    const float row[DIM] = {value, value, value, value};
    const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
    const uint64_t end = strlen(id);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .id_bytes = id, .id_ends = &end};
    items.vectors = &vectors, items.vector_count = 1;
    return kith_collection_write(shop, &items, KITH_UPSERT, NULL, &error);
}

static void write_texts(void) {
    busy_status = put_text(busy_shop, "n8", -8);
    if (busy_status == KITH_OK) busy_status = put_text(busy_shop, "other", -9);
}

static void expect_text(kith_collection *shop, const char *id, float value) {
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    const uint8_t *present;
    const uint64_t end = strlen(id);
    must(kith_result_create(&result, &error));
    must(kith_collection_get(shop, &(kith_ids){.count = 1, .id_bytes = id, .id_ends = &end}, KITH_WITH_VECTORS, result,
                             &error));
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, 1);
    assert_true(*(const float *)kith_result_vectors(result, "", &present) == value);
    kith_result_destroy(result);
}

static void test_texts(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_STRING);
    kith_load_options options = some_options(KITH_UPSERT);
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    int done = 0;
    prepare(0);
    prepare_texts(6);
    refused(load_texts(shop, &options, NULL), KITH_E_DATA, "row 6 (id \"n4\"): has the id of row 4");
    prepare_texts(ROWS);
    must(put_text(shop, "n3", -3));
    busy_shop = shop;
    busy_work = write_texts;
    options.progress = meanwhile, options.progress_context = &done;
    must(load_texts(shop, &options, &report));
    must(busy_status);
    assert_int_equal(report.replaced, 2);
    assert_int_equal(report.inserted, ROWS - 2);
    assert_int_equal(count_of(shop), ROWS + 1);
    for (int round = 0; round < 2; round++) {
        expect_text(shop, "n3", 3);
        expect_text(shop, "n8", 8);
        expect_text(shop, "n199", 199);
        expect_text(shop, "other", -9);
        must(put_text(shop, "later", 1)); /* gets a number of its own */
        assert_int_equal(count_of(shop), ROWS + 2);
        check_whole(shop, path);
        shop = open_at(path, 0);
    }
    options.mode = KITH_INSERT;
    refused(load_texts(shop, &options, NULL), KITH_E_DATA, "row 3 (id \"n3\"): is there already");
    kith_collection_close(shop);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void test_rows_refused(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    const kith_load_options options = some_options(KITH_INSERT);
    prepare(0);
    rows[5][2] = NAN;
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, "row 5");
    prepare(0);
    small[6][0] = small[6][1] = 0;
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, "row 6");
    prepare(0);
    ids[8] = ids[3];
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, "row 8");
    prepare(0);
    ids[8] = KITH_ID_NONE;
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, "row 8");
    static const char *const wrong[] = {"{\"price\":\"x\"}", "{\"color\":", "[1]", "7"};
    for (size_t w = 0; w < sizeof(wrong) / sizeof(*wrong); w++) {
        wrong_payload = wrong[w];
        prepare(0);
        refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_DATA, "row 7 (id ");
    }
    assert_int_equal(count_of(shop), 0);
    prepare(0);
    load_all(shop, KITH_INSERT);
    check_whole(shop, path);
}

static void test_arguments(void **state) {
    (void)state;
    kith_collection *shop = make_at(fresh(), KITH_ID_U64);
    kith_load_options options = some_options(KITH_MERGE);
    prepare(0);
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_ARG, "mode");
    options = some_options(KITH_INSERT);
    options.payloads_path = "x";
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_ARG, "not from both");
    kith_reader *wide = reader_of(rows, 8, ROWS / 2, NULL), *right = reader_of(rows, DIM, ROWS, NULL),
                *fewer = reader_of(small, 2, ROWS - 1, NULL);
    options.payloads_path = NULL;
    const kith_load_vectors width = {"", wide}, nobody = {"none", right}, none = {"", NULL};
    refused(kith_collection_load(shop, &width, 1, &options, NULL, &error), KITH_E_ARG, "8 elements");
    refused(kith_collection_load(shop, &nobody, 1, &options, NULL, &error), KITH_E_NOTFOUND, "none");
    refused(kith_collection_load(shop, &none, 1, &options, NULL, &error), KITH_E_ARG, "reader");
    const kith_load_vectors twice[] = {{"", right}, {"", right}}, differ[] = {{"", right}, {"small", fewer}};
    refused(kith_collection_load(shop, twice, 2, &options, NULL, &error), KITH_E_ARG, "twice");
    refused(kith_collection_load(shop, differ, 2, &options, NULL, &error), KITH_E_ARG, "rows");
    kith_collection_close(shop);
    shop = make_at(fresh(), KITH_ID_STRING);
    refused(kith_collection_load(shop, differ, 1, &options, NULL, &error), KITH_E_ARG, "numbers of its rows");
    kith_collection_close(shop);
    kith_reader_close(wide);
    kith_reader_close(right);
    kith_reader_close(fewer);
}

static void test_lines(void **state) {
    (void)state;
    kith_collection *shop = make_at(fresh(), KITH_ID_U64);
    kith_load_options options = some_options(KITH_UPSERT);
    const char *path = data_path("payloads.jsonl");
    options.payloads = NULL;
    options.payloads_path = path;
    prepare(0);
    static const int counts[] = {ROWS - 1, ROWS + 1, ROWS};
    for (size_t c = 0; c < 3; c++) {
        FILE *file = fopen(path, "w");
        for (int i = 0; i < counts[c]; i++) fprintf(file, "%s\n", payload_of((size_t)i % ROWS));
        if (counts[c] > ROWS) fputs("{}\n", file);
        fclose(file);
        if (counts[c] == ROWS)
            must(load_some(shop, ROWS, ids, &options, NULL));
        else
            refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_FORMAT, "lines");
    }
    expect_all(shop, 0, 1);
    options.payloads_path = data_path("nothing");
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_NOTFOUND, "nothing");
    kith_collection_close(shop);
}

/* ---- Stopped, and gone on with ----------------------------------------------------------------------------------- */

/* Cancel at the n-th call. */
static int stop_at(void *context, const kith_progress *progress) {
    unsigned *left = context;
    (void)progress;
    return *left && --*left == 0;
}

/* Cancelled at every call there is: nothing is seen of it, and the next one goes on and gives the same. */
static void test_resumed(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    kith_load_options options = some_options(KITH_INSERT);
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    uint64_t most = 0;
    options.progress = stop_at;
    prepare(0);
    for (unsigned n = 1;; n++) {
        unsigned left = n;
        options.progress_context = &left;
        options.resume = 0;
        const kith_status status = load_some(shop, ROWS, ids, &options, &report);
        if (status == KITH_OK) break;
        refused(status, KITH_E_CANCELLED, "");
        assert_int_equal(count_of(shop), 0);
        if (n % 2) { /* another process may come and go */
            kith_collection_close(shop);
            must(kith_collection_verify(path, NULL, NULL, NULL, &error));
            shop = open_at(path, 0);
        }
        left = 0;
        options.resume = 1;
        must(load_some(shop, ROWS, ids, &options, &report));
        if (report.resumed > most) most = report.resumed;
        assert_int_equal(report.inserted, ROWS);
        expect_all(shop, 0, report.version);
        for (size_t i = 0; i < ROWS; i++)
            must(kith_collection_delete(shop, &(kith_ids){.count = 1, .ids = &ids[i]}, NULL, NULL, &error));
        assert_false(has_folder(path));
    }
    assert_int_equal(most, 3); /* the table and both indexes */
    check_whole(shop, path);
}

static void test_other_source(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection *shop = make_at(path, KITH_ID_U64);
    kith_load_options options = some_options(KITH_INSERT);
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    unsigned left = 6;
    options.progress = stop_at, options.progress_context = &left;
    prepare(0);
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_CANCELLED, "");
    assert_true(has_folder(path));
    left = 0;
    options.resume = 1;
    prepare(1);
    refused(load_some(shop, ROWS, ids, &options, NULL), KITH_E_ARG, "(memory) (200 rows), which differs");
    assert_true(has_folder(path));
    prepare(0);
    must(load_some(shop, ROWS, ids, &options, &report));
    assert_true(report.resumed > 0);
    expect_all(shop, 0, 1);
    check_whole(shop, path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_into_nothing),      cmocka_unit_test(test_row_numbers),  cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_one_vector_of_two), cmocka_unit_test(test_in_memory),    cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_replaces),          cmocka_unit_test(test_later_writes), cmocka_unit_test(test_repaired),
        cmocka_unit_test(test_insert_refuses),    cmocka_unit_test(test_meanwhile),    cmocka_unit_test(test_texts),
        cmocka_unit_test(test_rows_refused),      cmocka_unit_test(test_arguments),    cmocka_unit_test(test_lines),
        cmocka_unit_test(test_resumed),           cmocka_unit_test(test_other_source),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
