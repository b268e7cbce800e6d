/* SPDX-License-Identifier: Apache-2.0
 *
 * The calibration section: what was encoded is decoded; every flipped byte, every cut and another version leave an
 * index without calibration, which opens, searches and can be tuned again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/amend.h"
#include "support/data.h"

#include "base/bytes.h"
#include "index/calibration.h"
#include "store/segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { SETTINGS = 5 };

static kith_error error;

static ki_calibration sample(kith_tuned settings[SETTINGS]) {
    for (size_t i = 0; i < SETTINGS; i++)
        settings[i] = (kith_tuned){.plan = i ? KITH_PLAN_IVF : KITH_PLAN_SCAN,
                                   .code = i ? KITH_SCAN_INT8 : KITH_SCAN_AUTO,
                                   .k = 10,
                                   .batch = 16,
                                   .nprobe = i,
                                   .rerank = i ? 20 : 0,
                                   .recall = i ? 0.1 * (double)i : 1,
                                   .recall_error = 0.01,
                                   .lost = 0.002 * (double)i,
                                   .query_ns = 1e5 / (double)(i + 1)};
    return (ki_calibration){.settings = settings,
                            .count = SETTINGS,
                            .queries = 777,
                            .held_out = 1,
                            .seed = 42,
                            .unusual_below = -3.5f,
                            .median = -1.25f,
                            .near_duplicates = 0.37};
}

static unsigned char *encoded(size_t *bytes) {
    kith_tuned settings[SETTINGS];
    const ki_calibration calibration = sample(settings);
    *bytes = ki_calibration_bytes(SETTINGS);
    unsigned char *data = malloc(*bytes);
    assert_non_null(data);
    ki_calibration_encode(&calibration, data);
    return data;
}

static void reseal(unsigned char *data, size_t bytes) {
    ki_store_u64(data + bytes - 8, XXH3_64bits(data, bytes - 8));
}

static void test_round_trip(void **state) {
    (void)state;
    size_t bytes;
    unsigned char *data = encoded(&bytes);
    kith_tuned settings[SETTINGS];
    const ki_calibration before = sample(settings);
    ki_calibration after = {0};
    assert_int_equal(ki_calibration_decode(data, bytes, &after), KI_CALIBRATION_GOOD);
    assert_int_equal(after.count, SETTINGS);
    assert_int_equal(after.queries, 777);
    assert_int_equal(after.held_out, 1);
    assert_int_equal(after.seed, 42);
    assert_true(after.unusual_below == before.unusual_below && after.median == before.median);
    assert_true(after.near_duplicates == before.near_duplicates);
    for (size_t i = 0; i < SETTINGS; i++) {
        assert_int_equal(ki_tuned_compare(&after.settings[i], &settings[i]), 0);
        assert_true(after.settings[i].recall == settings[i].recall);
        assert_true(after.settings[i].recall_error == settings[i].recall_error);
        assert_true(after.settings[i].lost == settings[i].lost);
        assert_true(after.settings[i].query_ns == settings[i].query_ns);
    }
    ki_calibration_free(&after);
    free(data);
}

static void test_damage(void **state) {
    (void)state;
    size_t bytes;
    unsigned char *data = encoded(&bytes);
    ki_calibration calibration = {0};
    for (size_t i = 0; i < bytes; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            data[i] ^= (unsigned char)(1 << bit);
            assert_int_equal(ki_calibration_decode(data, bytes, &calibration), KI_CALIBRATION_DAMAGED);
            data[i] ^= (unsigned char)(1 << bit);
        }
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(ki_calibration_decode(data, cut, &calibration), KI_CALIBRATION_DAMAGED);
    assert_int_equal(calibration.count, 0);
    free(data);
}

/* Bytes under a valid hash that no kith writes. */
static void test_hostile(void **state) {
    (void)state;
    static const struct {
        size_t at;
        uint32_t word;
    } words[] = {{12, 0},
                 {12, 4},
                 {12, UINT32_MAX},
                 {20, 2},
                 {64, 0},
                 {64, 6},
                 {68, 5},
                 {72, 0},
                 {72, KITH_K_MAX + 1},
                 {76, 0},
                 {64 + 56 + 16, 0},
                 {64 + 56 + 20, 9},
                 {64 + 56 + 20, 4 * KITH_K_MAX + 1},
                 {64 + 56 + 16, 3},
                 {64 + 56 + 16, KITH_LISTS_MAX + 1}};
    static const struct {
        size_t at;
        double value;
    } reals[] = {{32, NAN},      {40, INFINITY}, {48, NAN},       {48, 1.5},          {48, -0.1},
                 {64 + 24, NAN}, {64 + 24, 1.5}, {64 + 24, -0.1}, {64 + 32, NAN},     {64 + 48, NAN},
                 {64 + 48, 2},   {64 + 40, 0},   {64 + 40, NAN},  {64 + 40, INFINITY}};
    ki_calibration calibration = {0};
    size_t bytes;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        unsigned char *data = encoded(&bytes);
        ki_store_u32(data + words[i].at, words[i].word);
        reseal(data, bytes);
        if (ki_calibration_decode(data, bytes, &calibration) != KI_CALIBRATION_DAMAGED)
            fail_msg("word %zu is accepted", i);
        free(data);
    }
    for (size_t i = 0; i < sizeof(reals) / sizeof(*reals); i++) {
        unsigned char *data = encoded(&bytes);
        ki_store_f64(data + reals[i].at, reals[i].value);
        reseal(data, bytes);
        if (ki_calibration_decode(data, bytes, &calibration) != KI_CALIBRATION_DAMAGED)
            fail_msg("real %zu is accepted", i);
        free(data);
    }
}

static void test_other_version(void **state) {
    (void)state;
    ki_calibration calibration = {0};
    size_t bytes;
    unsigned char *data = encoded(&bytes);
    ki_store_u32(data + 8, KI_CALIBRATION_VERSION + 1);
    reseal(data, bytes);
    assert_int_equal(ki_calibration_decode(data, bytes, &calibration), KI_CALIBRATION_OTHER_VERSION);
    assert_int_equal(calibration.count, 0);
    free(data);
}

/* ---- In an index ------------------------------------------------------------------------------------------------- */

static size_t settings_of(const char *path, double target, kith_plan *plan) {
    kith_index *index = data_open(path);
    const kith_tuned *tuned = NULL;
    const size_t count = kith_index_tuned(index, &tuned);
    kith_scratch *scratch = NULL;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    uint64_t id;
    float distance, query[64] = {1};
    kith_index_get_info(index, &info);
    assert_true(info.dim <= 64);
    queries.data = query;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = info.dim;
    options.target_recall = target;
    options.explain = &explain;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search(index, &queries, 1, &options, scratch, &id, &distance, &error), KITH_OK);
    *plan = explain.plan;
    assert_true(explain.considered_count >= 1);
    assert_non_null(strstr(explain.considered[0].why, "chosen"));
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    return count;
}

/* Damage a built index's section under valid checksums: searches go on, verify tells, tuning mends. */
static void test_index(void **state) {
    (void)state;
    const char *path = data_path("tuned.kith");
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 3000, 16, 5, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_plan plan;
    size_t bytes;
    options.lists = 50;
    data_build(&set, path, &options);
    assert_true(settings_of(path, 0.9, &plan) > 0);
    assert_int_equal(kith_index_verify(path, NULL, NULL, NULL, &error), KITH_OK);

    unsigned char *data = encoded(&bytes);
    data[70] ^= 1;
    assert_int_equal(amend_file(path, KI_PART_CALIBRATION, data, bytes, SETTINGS, &error), KITH_OK);
    assert_int_equal(settings_of(path, 0.9, &plan), 0);
    assert_int_not_equal(plan, KITH_PLAN_IVF);
    assert_int_equal(kith_index_verify(path, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "calibration"));

    data[70] ^= 1;
    ki_store_u32(data + 8, KI_CALIBRATION_VERSION + 1);
    reseal(data, bytes);
    assert_int_equal(amend_file(path, KI_PART_CALIBRATION, data, bytes, SETTINGS, &error), KITH_OK);
    assert_int_equal(settings_of(path, 0.9, &plan), 0);
    assert_int_equal(kith_index_verify(path, NULL, NULL, NULL, &error), KITH_OK);

    assert_int_equal(kith_tune(path, NULL, NULL, &error), KITH_OK);
    assert_true(settings_of(path, 0.9, &plan) > 0);
    assert_int_equal(kith_index_verify(path, NULL, NULL, NULL, &error), KITH_OK);
    settings_of(path, 1, &plan);
    assert_int_not_equal(plan, KITH_PLAN_IVF);
    free(data);
    data_free(&set);
}

static int stop(void *context, const kith_progress *progress) {
    (void)progress;
    ++*(int *)context;
    return 1;
}

static void test_refused(void **state) {
    (void)state;
    const char *path = data_path("refused.kith");
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 1000, 16, 6, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_tune_options tune = KITH_TUNE_OPTIONS_INIT;
    kith_reader *reader = NULL;
    kith_plan plan;
    int calls = 0;
    assert_int_equal(kith_tune(NULL, NULL, NULL, &error), KITH_E_ARG);
    assert_int_equal(kith_tune(data_path("absent.kith"), NULL, NULL, &error), KITH_E_NOTFOUND);
    options.lists = 1;
    data_build(&set, path, &options);
    assert_int_equal(kith_tune(path, NULL, NULL, &error), KITH_E_UNSUPPORTED);
    options.lists = 20;
    options.originals = KITH_ORIGINALS_NONE;
    data_build(&set, path, &options);
    assert_int_equal(kith_tune(path, NULL, NULL, &error), KITH_E_UNSUPPORTED);
    options.originals = KITH_ORIGINALS_KEEP;
    options.no_calibration = 1;
    data_build(&set, path, &options);
    assert_int_equal(settings_of(path, 0.9, &plan), 0);
    /* Too few queries, of another dimension, with a NaN in row 57. */
    assert_int_equal(kith_reader_from_memory(set.bytes, KITH_F32, 99, 16, 0, NULL, &reader, &error), KITH_OK);
    assert_int_equal(kith_tune(path, reader, NULL, &error), KITH_E_DATA);
    kith_reader_close(reader);
    assert_int_equal(kith_reader_from_memory(set.bytes, KITH_F32, 200, 8, 0, NULL, &reader, &error), KITH_OK);
    assert_int_equal(kith_tune(path, reader, NULL, &error), KITH_E_ARG);
    kith_reader_close(reader);
    const float bad = NAN;
    memcpy(set.bytes + 57 * set.row_bytes, &bad, sizeof(bad));
    assert_int_equal(kith_reader_from_memory(set.bytes, KITH_F32, 300, 16, 0, NULL, &reader, &error), KITH_OK);
    assert_int_equal(kith_tune(path, reader, NULL, &error), KITH_E_DATA);
    assert_non_null(strstr(error.text, "row 57"));
    kith_reader_close(reader);
    tune.progress = stop;
    tune.progress_context = &calls;
    assert_int_equal(kith_tune(path, NULL, &tune, &error), KITH_E_CANCELLED);
    assert_int_equal(calls, 1);
    assert_int_equal(settings_of(path, 0.9, &plan), 0);
    data_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_damage),
                                       cmocka_unit_test(test_hostile),    cmocka_unit_test(test_other_version),
                                       cmocka_unit_test(test_index),      cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
