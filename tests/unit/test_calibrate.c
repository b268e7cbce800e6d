/* SPDX-License-Identifier: Apache-2.0
 *
 * When segments are measured, and what is kept of it: a load is searched exactly until it was; what was measured
 * survives an opening, another table, and is seen by other readers; damage leaves exact searches; and it goes with its
 * segment. And since these are the collections with graphs: copies of graphs that are kept in memory, and filters that
 * are studied.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/unsynced.h"

#include "base/rng.h"
#include "log/measured.h"
#include "match/match.h"
#include "upkeep/calibrate.h"
#include "write/commit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 8, ROWS = KI_CALIBRATED_FROM + 1000, BATCH = ROWS / 3, QUERIES = 200, K = 10 };

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        if ((call) != KITH_OK) fail_msg("%s: %s", #call, error.text);                                                  \
    } while (0)

/* Clusters of some hundred rows. */
static void row_of(uint64_t id, float to[DIM]) {
    ki_rng centre = {id % 300 * 7919}, own = {id * 31 + 5};
    for (size_t d = 0; d < DIM; d++) to[d] = (float)(ki_rng_normal(&centre) + 0.15 * ki_rng_normal(&own));
}

static kith_collection *open_with(const char *name, int read_only, uint64_t resident_bytes) {
    kith_collection *collection = NULL;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.read_only = read_only;
    options.resident_bytes = resident_bytes;
    options.no_background = 1;
    options.threads = 1;
    OK(kith_collection_open(data_path(name), &options, &collection, &error));
    return collection;
}

static kith_collection *open_as(const char *name, int read_only) {
    return open_with(name, read_only, 0);
}

static void write_rows(kith_collection *collection, uint64_t first, size_t count) {
    static float rows[BATCH][DIM];
    static uint64_t ids[BATCH], ends[BATCH];
    static char payloads[BATCH][12]; /* by id: a tenth of the items has each size */
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = DIM};
    kith_items items = KITH_ITEMS_INIT;
    for (size_t i = 0; i < count; i++) {
        row_of(ids[i] = first + i, rows[i]);
        snprintf(payloads[i], sizeof(payloads[i]), "{\"size\":%3d", (int)(ids[i] % 10));
        payloads[i][11] = '}';
        ends[i] = (i + 1) * sizeof(payloads[i]);
    }
    items.payload_bytes = payloads[0];
    items.payload_ends = ends;
    items.ids = (kith_ids){count, ids, NULL, NULL};
    items.vectors = &vectors;
    items.vector_count = 1;
    OK(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
}

static void create(const char *name) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    const kith_vector_spec spec = {"", DIM, KITH_F32, KITH_L2SQ};
    options.vectors = &spec;
    options.vector_count = 1;
    OK(kith_collection_create(data_path(name), &options, &error));
}

/* One segment with lists and a graph, which nobody has measured. */
static kith_collection *make(const char *name) {
    size_t merged = 0;
    create(name);
    kith_collection *collection = open_as(name, 0);
    for (uint64_t id = 0; id < ROWS; id += BATCH) write_rows(collection, id, BATCH);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    ki_snapshot *now = ki_snapshot_pin(collection);
    assert_int_equal(now->sealed_count, 1);
    assert_true(now->sealed[0].sealed->flat); /* it was made in haste */
    assert_int_equal(now->sealed[0].sealed->index[0]->view.lists.count, 1);
    assert_int_equal(now->sealed[0].sealed->index[0]->view.graph.degree, 0);
    ki_snapshot_release(now);
    OK(ki_merge(collection, KI_MERGE_BUSY, NULL, &merged, &error));
    assert_int_equal(merged, 0);
    OK(ki_merge(collection, KI_MERGE_IDLE, NULL, &merged, &error));
    assert_int_equal(merged, 1);
    now = ki_snapshot_pin(collection);
    assert_false(now->sealed[0].sealed->flat);
    assert_true(now->sealed[0].sealed->index[0]->view.lists.count > 1);
    assert_int_equal(now->sealed[0].sealed->index[0]->view.graph.degree, 32);
    ki_snapshot_release(now);
    return collection;
}

/* How many settings are known of the only segment; some are of walks, if any. */
static size_t settings_of(kith_collection *collection) {
    ki_snapshot *now = ki_snapshot_pin(collection);
    assert_int_equal(now->sealed_count, 1);
    const ki_sealed *sealed = now->sealed[0].sealed;
    const ki_calibration *calibration = &sealed->index[0]->calibration;
    const size_t count = calibration->count;
    size_t walks = 0;
    for (size_t i = 0; i < count; i++) walks += calibration->settings[i].plan == KITH_PLAN_GRAPH;
    assert_int_equal(count != 0, walks != 0);
    assert_int_equal(sealed->tuned[0].known, count != 0);
    ki_snapshot_release(now);
    return count;
}

static int wanted(kith_collection *collection) {
    ki_snapshot *now = ki_snapshot_pin(collection);
    const int is = ki_calibrate_wanted(collection, now);
    ki_snapshot_release(now);
    return is;
}

static kith_status count_record(void *context, ki_bytes name, ki_bytes body, kith_error *unused) {
    (void)name;
    (void)body;
    (void)unused;
    ++*(size_t *)context;
    return KITH_OK;
}

static size_t records_of(kith_collection *collection) {
    size_t count = 0;
    OK(ki_catalog_scan_records(collection->catalog, KI_RECORD_CALIBRATION, count_record, &count, &error));
    return count;
}

/* One query a call: each finds K living items, of which so many are as near as the true ones. *visited: vertices that
 * walks looked at. */
static double recall_alone(kith_collection *collection, uint64_t dead, double target, uint64_t *visited) {
    enum { ALONE = 100 };
    kith_result *result = NULL;
    size_t found = 0;
    *visited = 0;
    OK(kith_result_create(&result, &error));
    for (uint64_t q = 0; q < ALONE; q++) {
        float query[DIM], last = 0;
        kith_queries asked = {.struct_size = sizeof(asked), .data = query, .dtype = KITH_F32, .count = 1, .dim = DIM};
        kith_ask ask = KITH_ASK_INIT;
        kith_explain explain = KITH_EXPLAIN_INIT;
        kith_hits hits = KITH_HITS_INIT;
        row_of(1000000 + q * 13, query);
        ask.legs = &(kith_leg){.queries = &asked};
        ask.leg_count = 1;
        ask.k = K;
        for (int exact = 1; exact >= 0; exact--) {
            ask.target_recall = exact ? 0 : target;
            ask.explain = exact ? NULL : &explain;
            OK(kith_collection_search(collection, &ask, result, &error));
            OK(kith_result_hits(result, &hits));
            assert_int_equal(hits.count, K);
            if (exact) last = hits.distances[K - 1];
        }
        for (size_t i = 0; i < K; i++) {
            assert_true(hits.ids[i] >= dead);
            found += hits.distances[i] <= last;
        }
        *visited += explain.visited;
    }
    kith_result_destroy(result);
    return (double)found / (ALONE * K);
}

/* Searches with a target: what share of the true neighbours they find, and whether they are exact. */
static double recall_of(kith_collection *collection, double target, int *exact) {
    static float queries[QUERIES][DIM], truth[QUERIES * K];
    kith_result *result = NULL;
    kith_queries asked = KITH_QUERIES_INIT;
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits hits = KITH_HITS_INIT;
    kith_ask ask = KITH_ASK_INIT;
    size_t found = 0;
    for (uint64_t q = 0; q < QUERIES; q++) row_of(1000000 + q * 13, queries[q]);
    asked.data = queries;
    asked.dtype = KITH_F32;
    asked.count = QUERIES;
    asked.dim = DIM;
    ask.legs = &(kith_leg){.queries = &asked};
    ask.leg_count = 1;
    ask.k = K;
    ask.report = &report;
    OK(kith_result_create(&result, &error));
    OK(kith_collection_search(collection, &ask, result, &error));
    OK(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, QUERIES * K);
    memcpy(truth, hits.distances, sizeof(truth));
    ask.target_recall = target;
    OK(kith_collection_search(collection, &ask, result, &error));
    OK(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, QUERIES * K);
    for (size_t i = 0; i < QUERIES * K; i++) found += hits.distances[i] <= truth[i / K * K + K - 1];
    *exact = report.exact;
    kith_result_destroy(result);
    return (double)found / (QUERIES * K);
}

static void calibrate(kith_collection *collection) {
    int done = 1;
    OK(ki_calibrate(collection, NULL, &done, &error));
    assert_false(done);
    OK(ki_calibrate(collection, NULL, &done, &error));
    assert_true(done);
}

static void test_measured_once(void **state) {
    (void)state;
    int exact = 0;
    kith_collection *collection = make("once"), *reader = open_as("once", 1);
    assert_int_equal(settings_of(collection), 0);
    assert_true(recall_of(collection, 0.9, &exact) == 1 && exact);
    assert_true(wanted(collection));
    calibrate(collection);
    const size_t settings = settings_of(collection);
    assert_true(settings > 0 && !wanted(collection));
    assert_int_equal(records_of(collection), 1);
    assert_true(recall_of(collection, 0.9, &exact) >= 0.88);
    assert_true(recall_of(reader, 0.9, &exact) >= 0.88);
    assert_int_equal(settings_of(reader), settings); /* it follows */
    kith_collection_close(reader);
    kith_collection_close(collection);
    collection = open_as("once", 0);
    assert_int_equal(settings_of(collection), settings);
    assert_false(wanted(collection));
    /* Another table, and the same indexes. */
    const kith_field field = {"size", KITH_FIELD_INT, 0};
    OK(kith_collection_declare(collection, &field, &error));
    assert_int_equal(settings_of(collection), settings);
    assert_false(wanted(collection));
    kith_collection_close(collection);
    OK(kith_collection_verify(data_path("once"), NULL, NULL, NULL, &error));
}

/* What is made of a segment that was measured is measured before it takes its place. */
static void test_goes_with_its_segment(void **state) {
    (void)state;
    int exact = 0;
    kith_collection *collection = make("goes");
    calibrate(collection);
    write_rows(collection, 0, 100);
    OK(kith_collection_compact(collection, NULL, NULL, &error));
    assert_true(settings_of(collection) > 0);
    assert_int_equal(records_of(collection), 0);
    assert_true(recall_of(collection, 0.9, &exact) >= 0.88);
    kith_collection_close(collection);
    collection = open_as("goes", 0);
    assert_true(settings_of(collection) > 0 && !wanted(collection));
    kith_collection_close(collection);
}

/* What is said of the newest segment. */
static void check_newest(kith_collection *collection, size_t segments, int listed, int known) {
    ki_snapshot *now = ki_snapshot_pin(collection);
    assert_int_equal(now->sealed_count, segments);
    const ki_sealed *sealed = now->sealed[segments - 1].sealed;
    assert_int_equal(sealed->flat, listed);
    assert_int_equal(sealed->index[0]->view.lists.count > 1, listed);
    assert_int_equal(sealed->index[0]->view.graph.degree, 0);
    assert_int_equal(sealed->index[0]->view.second_lists.level.blocks, 0);
    assert_int_equal(sealed->tuned[0].known, known);
    ki_snapshot_release(now);
}

static void merge(kith_collection *collection, ki_merge_when when, size_t expected) {
    size_t merged = 0;
    OK(ki_merge(collection, when, NULL, &merged, &error));
    assert_int_equal(merged, expected);
}

/* Where searches with a target recall ask for it, what is made in haste has lists, which are measured at once; so has
 * what is merged of it in haste, until there is time to do it well. */
static void test_lists_in_haste(void **state) {
    (void)state;
    int exact = 0;
    create("haste");
    kith_collection *collection = open_as("haste", 0), *reader = open_as("haste", 1);
    write_rows(collection, 0, BATCH);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    check_newest(collection, 1, 0, 0); /* nobody asked */
    assert_false(ki_seal_asked(collection));
    write_rows(collection, BATCH, BATCH);
    for (int i = 0; i < 4; i++) assert_true(recall_of(collection, 0.9, &exact) == 1 && exact);
    assert_true(ki_seal_asked(collection));
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    assert_false(ki_seal_asked(collection));
    check_newest(collection, 2, 1, 1);
    assert_int_equal(records_of(collection), 1);
    assert_true(recall_of(collection, 0.9, &exact) >= 0.88 && !exact);
    assert_true(recall_of(reader, 0.9, &exact) >= 0.88 && !exact);
    write_rows(collection, 2 * BATCH, BATCH);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    check_newest(collection, 3, 0, 0);

    merge(collection, KI_MERGE_HASTE, 3);
    check_newest(collection, 1, 1, 1);
    assert_int_equal(records_of(collection), 1); /* that of the segment that went went with it */
    assert_true(recall_of(collection, 0.9, &exact) >= 0.88 && !exact);
    kith_collection_close(collection);
    collection = open_as("haste", 0);
    check_newest(collection, 1, 1, 1);
    assert_false(wanted(collection));

    merge(collection, KI_MERGE_IDLE, 1);
    assert_true(settings_of(collection) > 0); /* with a graph: searches with a target stay what they are */
    assert_int_equal(records_of(collection), 0);
    kith_collection_close(reader);
    kith_collection_close(collection);
    OK(kith_collection_verify(data_path("haste"), NULL, NULL, NULL, &error));
}

static int say_stop(void *context, const kith_progress *progress) {
    (void)progress;
    return ++*(int *)context > 3;
}

/* In a pause small segments are made well, but for lists that were asked for; and that once. */
static void test_small_in_a_pause(void **state) {
    (void)state;
    int exact = 0;
    create("pause");
    kith_collection *collection = open_as("pause", 0);
    write_rows(collection, 0, BATCH);
    for (int i = 0; i < 4; i++) (void)recall_of(collection, 0.9, &exact);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    check_newest(collection, 1, 1, 1);
    for (int segments = 1; segments <= 2; segments++) {
        merge(collection, KI_MERGE_IDLE, (size_t)segments);
        ki_snapshot *now = ki_snapshot_pin(collection);
        assert_int_equal(now->sealed_count, 1);
        assert_false(now->sealed[0].sealed->flat);
        assert_true(now->sealed[0].sealed->index[0]->view.lists.count > 1);
        assert_true(now->sealed[0].sealed->tuned[0].known);
        ki_snapshot_release(now);
        assert_int_equal(records_of(collection), 1);
        assert_true(recall_of(collection, 0.9, &exact) >= 0.88 && !exact);
        merge(collection, KI_MERGE_IDLE, 0);
        write_rows(collection, BATCH, BATCH);
        OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error)); /* not asked for */
    }
    kith_collection_close(collection);
    OK(kith_collection_verify(data_path("pause"), NULL, NULL, NULL, &error));
}

/* Sealing that was stopped while it measured leaves the head as it was. */
static void test_haste_cancelled(void **state) {
    (void)state;
    int exact = 0;
    kith_collection *collection = open_as("haste", 0);
    write_rows(collection, 0, BATCH);
    for (int i = 0; i < 4; i++) (void)recall_of(collection, 0.9, &exact);
    for (int most = 0;; most += 1 + most / 4) {
        int calls = -most;
        ki_watch watch = {.progress = say_stop, .progress_context = &calls, .threads = 1};
        const kith_status status = ki_seal(collection, KI_SEAL_ALL, &watch, NULL, &error);
        if (status == KITH_OK) break;
        assert_int_equal(status, KITH_E_CANCELLED);
        ki_snapshot *now = ki_snapshot_pin(collection);
        assert_int_equal(now->sealed_count, 1);
        ki_snapshot_release(now);
        assert_int_equal(records_of(collection), 0);
    }
    check_newest(collection, 2, 1, 1);
    kith_collection_close(collection);
    OK(kith_collection_verify(data_path("haste"), NULL, NULL, NULL, &error));
}

/* The size of the only segment's graph. */
static uint64_t graph_bytes(kith_collection *collection) {
    ki_snapshot *now = ki_snapshot_pin(collection);
    const uint64_t bytes = ki_index_hot_size(now->sealed[0].sealed->index[0], KI_HOT_GRAPH);
    ki_snapshot_release(now);
    return bytes;
}

static uint64_t resident_bytes(kith_collection *collection) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    OK(kith_collection_get_info(collection, &info));
    assert_true(info.memory_bytes >= info.resident_bytes);
    return info.resident_bytes;
}

/* Whether walks read a copy. */
static int is_resident(kith_collection *collection) {
    ki_snapshot *now = ki_snapshot_pin(collection);
    const int is = ki_hot_copy_done(now->sealed[0].sealed->index[0]->hot);
    ki_snapshot_release(now);
    return is;
}

static void wait_until_resident(kith_collection *collection) {
    while (resident_bytes(collection) < graph_bytes(collection)) usleep(1000);
    while (!is_resident(collection)) usleep(1000);
}

/* Graphs are copied where there is room for them, also of what takes the place of a segment, and for a reader. */
static void test_resident(void **state) {
    (void)state;
    kith_collection *collection = open_as("goes", 0);
    const uint64_t bytes = graph_bytes(collection);
    assert_true(bytes > 0);
    assert_int_equal(resident_bytes(collection), 0);
    assert_int_equal(is_resident(collection), 0);
    kith_collection_close(collection);
    collection = open_with("goes", 0, bytes - 1);
    assert_int_equal(resident_bytes(collection), 0);
    kith_collection_close(collection);
    collection = open_with("goes", 0, bytes);
    kith_collection *reader = open_with("goes", 1, bytes);
    wait_until_resident(collection);
    wait_until_resident(reader);
    const kith_field field = {"size", KITH_FIELD_INT, 0};
    OK(kith_collection_declare(collection, &field, &error));
    wait_until_resident(collection);
    wait_until_resident(reader);
    kith_collection_close(reader);
    kith_collection_close(collection);
    collection = open_with("goes", 0, 64 * bytes); /* room for codes too */
    wait_until_resident(collection);
    assert_true(resident_bytes(collection) > bytes);
    kith_collection_close(collection);
}

/* Of a segment whose rows die searches with a target find what lives: walks go through the dead. */
static void test_dead_rows(void **state) {
    enum { DEAD = ROWS * 2 / 5 };
    static uint64_t ids[DEAD];
    (void)state;
    uint64_t visited = 0;
    kith_collection *collection = make("dead");
    calibrate(collection);
    assert_true(recall_alone(collection, 0, 0.9, &visited) >= 0.85);
    for (uint64_t i = 0; i < DEAD; i++) ids[i] = i;
    OK(kith_collection_delete(collection, &(kith_ids){DEAD, ids, NULL, NULL}, NULL, NULL, &error));
    assert_true(recall_alone(collection, DEAD, 0.9, &visited) >= 0.85);
    kith_collection_close(collection);
}

static kith_status put_garbage(kith_collection *collection, void *context, kith_error *why) {
    unsigned char name[12] = {0};
    const ki_bytes *body = context;
    ki_snapshot *now = ki_snapshot_pin(collection);
    memcpy(name, &(uint64_t){now->sealed[0].sealed->number}, 8);
    ki_snapshot_release(now);
    return ki_catalog_put_record(collection->catalog, KI_RECORD_CALIBRATION, (ki_bytes){name, sizeof(name)}, *body,
                                 why);
}

static void test_damaged(void **state) {
    (void)state;
    static const unsigned char garbage[300] = {1};
    static const ki_bytes bodies[] = {{garbage, 0}, {garbage, 8}, {garbage, 300}, {garbage + 1, 200}};
    kith_collection *collection = make("damaged");
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        int exact = 0;
        pthread_mutex_lock(&collection->writing);
        OK(ki_commit_records(collection, put_garbage, (void *)(uintptr_t)&bodies[i], &error));
        pthread_mutex_unlock(&collection->writing);
        kith_collection_close(collection);
        collection = open_as("damaged", 0);
        assert_int_equal(settings_of(collection), 0);
        assert_true(recall_of(collection, 0.9, &exact) == 1 && exact);
        assert_true(wanted(collection));
    }
    calibrate(collection);
    assert_true(settings_of(collection) > 0);
    assert_int_equal(records_of(collection), 1); /* in the place of what was there */
    kith_collection_close(collection);
}

static void test_cancelled(void **state) {
    (void)state;
    kith_collection *collection = make("cancelled");
    int calls = 0, done = 1;
    ki_watch watch = {.progress = say_stop, .progress_context = &calls, .threads = 1};
    assert_int_equal(ki_calibrate(collection, &watch, &done, &error), KITH_E_CANCELLED);
    assert_true(done == 1 && wanted(collection));
    assert_int_equal(settings_of(collection), 0);
    assert_int_equal(records_of(collection), 0);
    kith_collection_close(collection);
    OK(kith_collection_verify(data_path("cancelled"), NULL, NULL, NULL, &error));
}

/* In memory alone no file can be opened once more: the build measures. */
static void test_in_memory(void **state) {
    (void)state;
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    const kith_vector_spec spec = {"", DIM, KITH_F32, KITH_L2SQ};
    kith_collection *collection = NULL;
    made.vectors = &spec;
    made.vector_count = 1;
    options.no_background = 1;
    options.threads = 1;
    OK(kith_collection_open_memory(&made, &options, &collection, &error));
    for (uint64_t id = 0; id < ROWS; id += BATCH) write_rows(collection, id, BATCH);
    OK(kith_collection_compact(collection, NULL, NULL, &error));
    assert_true(settings_of(collection) > 0 && !wanted(collection));
    kith_collection_close(collection);
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

/* The notes of a filter in the only segment, held. */
static ki_filter_notes *notes_of(kith_collection *collection, const char *filter) {
    ki_match *match = NULL;
    ki_match_positions positions;
    ki_snapshot *now = ki_snapshot_pin(collection);
    OK(ki_match_create(collection, now, filter, NULL, &match, &error));
    OK(ki_match_positions_of(match, 0, 0, &positions, &error));
    assert_non_null(positions.bits);
    ki_filter_notes *notes = ki_match_notes(match, 0, 0);
    assert_non_null(notes);
    ki_match_destroy(match);
    ki_snapshot_release(now);
    return notes;
}

/* Searches find ten items that the filter lets through. */
static void search_filtered(kith_collection *collection, const char *filter, uint64_t least) {
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    float row[16][DIM];
    for (uint64_t i = 0; i < 16; i++) row_of(500000 + i, row[i]);
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = row, queries.dtype = KITH_F32, queries.count = 16, queries.dim = DIM;
    const kith_leg leg = {"", &queries, 0};
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg, ask.leg_count = 1, ask.k = K, ask.filter = filter, ask.target_recall = 0.9;
    OK(kith_result_create(&result, &error));
    OK(kith_collection_search(collection, &ask, result, &error));
    OK(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, 16 * K);
    for (size_t i = 0; i < hits.count; i++) assert_in_range(hits.ids[i] % 10, least, least + 4);
    kith_result_destroy(result);
}

/* A filter that comes again is studied: by the background thread, and where there is none by its searches. What was
 * found stays while items die. */
static void test_studied(void **state) {
    (void)state;
    for (int background = 0; background < 2; background++) {
        kith_collection *collection = NULL;
        kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
        const char *filter = background ? "size < 5" : "size >= 5";
        const uint64_t least = background ? 0 : 5; /* of five sizes */
        options.no_background = !background;
        options.threads = 1;
        OK(kith_collection_open(data_path("goes"), &options, &collection, &error));
        search_filtered(collection, filter, least);
        ki_filter_notes *notes = notes_of(collection, filter);
        assert_true(atomic_load(&notes->spent_ns) > 0);
        assert_null(atomic_load(&notes->studies));
        atomic_fetch_add(&notes->spent_ns, UINT64_C(1) << 40); /* as if it had been used for minutes */
        for (int i = 0; i < 200 && !atomic_load(&notes->studies); i++) {
            search_filtered(collection, filter, least);
            if (background && i > 8) usleep(100000);
        }
        assert_non_null(atomic_load(&notes->studies));
        const uint64_t gone = least, many = ki_match_cache_bytes(collection->matches);
        assert_true(many > atomic_load(&notes->bytes));
        const kith_ids ids = {1, &gone, NULL, NULL};
        OK(kith_collection_delete(collection, &ids, NULL, NULL, &error));
        search_filtered(collection, filter, least);
        ki_filter_notes *after = notes_of(collection, filter);
        assert_ptr_equal(after, notes);
        ki_filter_notes_release(after);
        kith_collection_close(collection);
        ki_filter_notes_release(notes); /* which outlive it */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_once),    cmocka_unit_test(test_goes_with_its_segment),
        cmocka_unit_test(test_damaged),          cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_in_memory),        cmocka_unit_test(test_dead_rows),
        cmocka_unit_test(test_resident),         cmocka_unit_test(test_studied),
        cmocka_unit_test(test_small_in_a_pause), cmocka_unit_test(test_lists_in_haste),
        cmocka_unit_test(test_haste_cancelled),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
