/* SPDX-License-Identifier: Apache-2.0
 *
 * A head that has grown is linked by the background thread once searches ask for it, beside all else: searches with a
 * target recall walk then, and say so, exact ones stay exact; writing, deleting, sealing and reopening go on as ever.
 * What walks find is unit/test_head_links.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/shop.h"
#include "support/unsynced.h"

#include <time.h>

enum { WIDE = 2048, ROWS = 1200, BATCH = 100, ASKED = 400, K = 5 };

static int8_t rows[ROWS + 2 * BATCH][WIDE];

/* Rows of few dimensions: walks among them are short. */
static void make_rows(void) {
    enum { RANK = 6 };
    static float axis[RANK][WIDE];
    ki_rng rng = {5};
    for (size_t r = 0; r < RANK; r++)
        for (size_t j = 0; j < WIDE; j++) axis[r][j] = (float)ki_rng_normal(&rng);
    for (size_t i = 0; i < ROWS + 2 * BATCH; i++) {
        float z[RANK];
        for (size_t r = 0; r < RANK; r++) z[r] = (float)ki_rng_normal(&rng) * 10;
        for (size_t j = 0; j < WIDE; j++) {
            float x = 0;
            for (size_t r = 0; r < RANK; r++) x += z[r] * axis[r][j];
            rows[i][j] = (int8_t)(x > 127 ? 127 : x < -127 ? -127 : x);
        }
    }
}

/* So many rows that the head is not sealed because nobody writes. */
static kith_collection *open_it(const char *path) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.threads = 1;
    options.head_bytes = UINT64_C(32) * ROWS * WIDE;
    must(kith_collection_open(path, &options, &collection, &error));
    return collection;
}

static void write_rows(kith_collection *collection, uint64_t first, uint64_t count) {
    uint64_t ids[BATCH];
    for (uint64_t at = first; at < first + count; at += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) ids[i] = at + i;
        const kith_item_vectors vectors = {.data = rows[at], .dtype = KITH_I8, .dim = WIDE};
        kith_items items = KITH_ITEMS_INIT;
        items.ids = (kith_ids){.count = BATCH, .ids = ids};
        items.vectors = &vectors, items.vector_count = 1;
        must(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
    }
}

/* Ask for a stored row. */
static void ask_for(kith_collection *collection, uint64_t id, double target, kith_result *result,
                    kith_ask_report *report, kith_explain *explain) {
    kith_queries queries = KITH_QUERIES_INIT;
    kith_ask ask = KITH_ASK_INIT;
    static float query[WIDE];
    for (size_t j = 0; j < WIDE; j++) query[j] = rows[id][j];
    queries.data = query, queries.dtype = KITH_F32, queries.count = 1, queries.dim = WIDE;
    ask.legs = &(kith_leg){.queries = &queries};
    ask.leg_count = 1;
    ask.k = K;
    ask.target_recall = target;
    ask.report = report, ask.explain = explain;
    must(kith_collection_search(collection, &ask, result, &error));
}

/* Ask often, and until a search walks; one without a target does not. */
static void wait_for_links(kith_collection *collection, kith_result *result) {
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    for (uint64_t i = 0; !explain.visited; i++) {
        if (i >= ASKED) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        ask_for(collection, i % ROWS, 0.9, result, &report, &explain);
        assert_int_equal(report.exact, !explain.visited);
        assert_string_equal(explain.plan_name, explain.visited ? "hnsw" : "plain");
    }
    ask_for(collection, 0, 0, result, &report, &explain);
    assert_int_equal(explain.visited, 0);
    assert_int_equal(report.exact, 1);
}

/* A collection with the first rows. */
static kith_collection *make_it(const char *path) {
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    const kith_vector_spec spec = {.name = "", .dim = WIDE, .dtype = KITH_I8, .metric = KITH_L2SQ};
    made.vectors = &spec, made.vector_count = 1;
    make_rows();
    must(kith_collection_create(path, &made, &error));
    kith_collection *collection = open_it(path);
    write_rows(collection, 0, ROWS);
    return collection;
}

/* Of rows that were asked for, how many are found first. Dead ones must not be. */
static size_t count_found(kith_collection *collection, kith_result *result, uint64_t first, uint64_t end) {
    kith_hits hits = KITH_HITS_INIT;
    size_t found = 0;
    for (uint64_t id = first; id < end; id++) {
        ask_for(collection, id, 0.9, result, NULL, NULL);
        must(kith_result_hits(result, &hits));
        assert_int_equal(hits.count, K);
        for (size_t i = 0; i < K; i++) found += hits.ids[i] == id;
    }
    return found;
}

static void test_links(void **state) {
    (void)state;
    const char *path = fresh();
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_result *result = NULL;
    uint64_t dead[BATCH];
    must(kith_result_create(&result, &error));
    kith_collection *collection = make_it(path);
    wait_for_links(collection, result);
    assert_true(count_found(collection, result, 0, 60) >= 54);

    write_rows(collection, ROWS, BATCH); /* beyond what is linked */
    for (uint64_t i = 0; i < BATCH; i++) dead[i] = i;
    must(kith_collection_delete(collection, &(kith_ids){.count = BATCH, .ids = dead}, NULL, NULL, &error));
    assert_int_equal(count_found(collection, result, 0, 60), 0);
    assert_true(count_found(collection, result, ROWS, ROWS + 60) == 60);

    kith_collection_close(collection); /* what was linked is made again where it is asked for */
    collection = open_it(path);
    wait_for_links(collection, result);
    assert_int_equal(count_found(collection, result, 0, 60), 0);
    must(kith_collection_compact(collection, NULL, NULL, &error)); /* sealed */
    must(kith_collection_get_info(collection, &info));
    assert_int_equal(info.head_rows, 0);
    assert_int_equal(info.items, ROWS);
    assert_string_equal(info.trouble, "");
    assert_int_equal(count_found(collection, result, 0, 10), 0);
    kith_collection_close(collection);
    kith_result_destroy(result);
}

/* A head that searches scan for long while somebody writes becomes a segment, though it is far from full, and nobody
 * would seal it in a pause. What is written here are deletes: they add no rows. */
static void test_sealed_while_written(void **state) {
    enum { ENOUGH = 1000, EACH = 20 };
    (void)state;
    const char *path = fresh();
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_result *result = NULL;
    must(kith_result_create(&result, &error));
    kith_collection *collection = make_it(path);
    for (uint64_t q = 0; q < ENOUGH; q++) ask_for(collection, q, 0.9, result, NULL, NULL);
    for (uint64_t i = ROWS; i-- > 60 && !info.segments;) {
        must(kith_collection_delete(collection, &(kith_ids){.count = 1, .ids = &i}, NULL, NULL, &error));
        for (uint64_t q = 0; q < EACH; q++) ask_for(collection, q, 0.9, result, NULL, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        must(kith_collection_get_info(collection, &info));
    }
    assert_true(info.segments > 0);
    assert_string_equal(info.trouble, "");
    assert_true(count_found(collection, result, 0, 60) >= 54);
    kith_collection_close(collection);
    kith_result_destroy(result);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_links), cmocka_unit_test(test_sealed_while_written)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
