/* SPDX-License-Identifier: Apache-2.0
 *
 * Indexes with an HNSW: built, checked, reopened, searched with and without filters by plan hnsw; equal bytes from one
 * thread; options that are refused; and files whose rows and models say what they like.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "hnsw/hnsw.h"
#include "index/index.h"
#include "support/amend.h"
#include "support/data.h"

enum { ROWS = 2000, DIM = 24, K = 10, QUERIES = 40 };

static kith_error error;

static kith_build_options hnsw_options(void) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.index = KITH_INDEX_HNSW;
    options.hnsw_m = 12;
    options.hnsw_ef = 80;
    options.threads = 1;
    options.no_calibration = 1;
    return options;
}

/* The share of true neighbours that plan hnsw finds; all that come are allowed and sorted, and min(k, allowed) do. */
static double recall(const data_set *set, const kith_index *index, size_t effort, const char *allowed,
                     size_t *visited) {
    const int bits = set->dtype == KITH_B1;
    const size_t row = bits ? set->row_bytes : set->dim * sizeof(float);
    unsigned char *rows = data_queries(set, DATA_NORMAL, bits ? KITH_B1 : KITH_F32, QUERIES, 3);
    data_hit *truth = malloc(set->rows * sizeof(*truth));
    uint64_t ids[QUERIES * K], few[ROWS], count = 0;
    float distances[QUERIES * K];
    kith_scratch *scratch = NULL;
    kith_filter *filter = NULL;
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    for (size_t i = 0; allowed && i < set->rows; i++)
        if (allowed[i]) few[count++] = data_id(set, i);
    if (allowed) assert_int_equal(kith_filter_create(index, few, (size_t)count, NULL, &filter, &error), KITH_OK);
    queries.data = rows;
    queries.dtype = bits ? KITH_B1 : KITH_F32;
    queries.count = QUERIES;
    queries.dim = set->dim;
    options.plan = KITH_PLAN_HNSW;
    options.effort = effort;
    options.filter = filter;
    options.explain = &explain;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search(index, &queries, K, &options, scratch, ids, distances, &error), KITH_OK);
    assert_int_equal(explain.plan, KITH_PLAN_HNSW);
    assert_int_equal(explain.effort, effort < K ? K : effort);
    assert_true(explain.visited > 0);
    *visited = (size_t)explain.visited;
    size_t found = 0, wanted = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        const size_t all = data_reference(set, rows + q * row, allowed, truth), k = all < K ? all : K;
        for (size_t i = 0; i < K; i++) {
            if (i >= k) {
                assert_true(ids[q * K + i] == KITH_ID_NONE);
                continue;
            }
            assert_true(ids[q * K + i] != KITH_ID_NONE);
            found += distances[q * K + i] <= truth[k - 1].distance;
            if (i) assert_true(distances[q * K + i - 1] <= distances[q * K + i]);
        }
        wanted += k;
    }
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
    free(rows);
    free(truth);
    return (double)found / (double)wanted;
}

static void test_searches(void **state) {
    (void)state;
    static const struct {
        kith_dtype dtype;
        kith_metric metric;
        size_t dim;
    } kinds[] = {{KITH_F32, KITH_L2SQ, DIM},
                 {KITH_F16, KITH_COSINE, DIM},
                 {KITH_I8, KITH_IP, DIM},
                 {KITH_B1, KITH_HAMMING, 128}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        data_set set = data_make(DATA_NORMAL, kinds[i].dtype, kinds[i].metric, ROWS, kinds[i].dim, 8, 1);
        const kith_build_options options = hnsw_options();
        size_t little, much;
        char allowed[ROWS] = {0};
        data_build(&set, data_path("h.kith"), &options);
        assert_int_equal(kith_index_verify(data_path("h.kith"), NULL, NULL, NULL, &error), KITH_OK);
        kith_index *index = data_open(data_path("h.kith"));
        kith_index_info info = KITH_INDEX_INFO_INIT;
        assert_int_equal(kith_index_get_info(index, &info), KITH_OK);
        assert_int_equal(info.hnsw_m, 12);
        recall(&set, index, 10, NULL, &little);
        const double got = recall(&set, index, 200, NULL, &much);
        if (got < .95) fail_msg("%s: recall %.3f", kith_metric_name(kinds[i].metric), got);
        assert_true(much > 2 * little);
        ki_rng rng = {2};
        for (size_t n = 0; n < ROWS; n++) allowed[n] = ki_rng_below(&rng, 10) == 0;
        assert_true(recall(&set, index, 100, allowed, &much) > .9);
        memset(allowed, 0, sizeof(allowed));
        allowed[3] = allowed[1999] = 1; /* fewer than k: all of them */
        assert_true(recall(&set, index, 10, allowed, &much) == 1);
        kith_index_close(index);
        data_free(&set);
    }
}

static void test_equal_bytes(void **state) {
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 8, 0);
    const kith_build_options options = hnsw_options();
    kith_index *index[2];
    data_build(&set, data_path("a.kith"), &options);
    data_build(&set, data_path("b.kith"), &options);
    for (int i = 0; i < 2; i++) index[i] = data_open(data_path(i ? "b.kith" : "a.kith"));
    for (uint32_t kind = KI_PART_HNSW_MODEL; kind <= KI_PART_HNSW_LINKS; kind++) {
        const ki_part_view a = ki_segment_part(index[0]->segment, kind), b = ki_segment_part(index[1]->segment, kind);
        assert_int_equal(a.bytes, b.bytes);
        assert_memory_equal(a.data, b.data, a.bytes);
    }
    for (int i = 0; i < 2; i++) kith_index_close(index[i]);
    data_free(&set);
}

static void test_few(void **state) {
    (void)state;
    for (size_t rows = 1; rows <= 20; rows += rows < 4 ? 1 : 8) {
        data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_COSINE, rows, 1 + rows % 3, 8, 0);
        const kith_build_options options = hnsw_options();
        size_t visited;
        data_build(&set, data_path("f.kith"), &options);
        assert_int_equal(kith_index_verify(data_path("f.kith"), NULL, NULL, NULL, &error), KITH_OK);
        kith_index *index = data_open(data_path("f.kith"));
        assert_true(recall(&set, index, 64, NULL, &visited) > .99);
        kith_index_close(index);
        data_free(&set);
    }
}

static kith_status try_options(const kith_build_options *options) {
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 20, 4, 8, 0);
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_from_memory(set.bytes, KITH_F32, 20, 4, 0, NULL, &reader, &error), KITH_OK);
    const kith_status status = kith_build(reader, data_path("no.kith"), options, NULL, &error);
    kith_reader_close(reader);
    data_free(&set);
    return status;
}

static void test_refused(void **state) {
    (void)state;
    kith_build_options options = hnsw_options();
    options.hnsw_m = 1;
    assert_int_equal(try_options(&options), KITH_E_ARG);
    options.hnsw_m = 129;
    assert_int_equal(try_options(&options), KITH_E_ARG);
    options.hnsw_m = 16;
    options.hnsw_ef = 15;
    assert_int_equal(try_options(&options), KITH_E_ARG);
    options.hnsw_ef = 10001;
    assert_int_equal(try_options(&options), KITH_E_ARG);
    options.hnsw_ef = 0;
    options.originals = KITH_ORIGINALS_NONE;
    assert_int_equal(try_options(&options), KITH_E_UNSUPPORTED);
}

/* A file with these bytes for a part: refused while opening, or found by the check and harmless to searches. */
static void try_bytes(const data_set *set, uint32_t kind, const void *data, uint64_t bytes, int must_be_seen) {
    const char *path = data_path("odd.kith");
    const kith_build_options build = hnsw_options();
    kith_index *index = NULL;
    data_build(set, path, &build);
    assert_int_equal(amend_file(path, kind, data, bytes, set->rows, &error), KITH_OK);
    if (kith_index_open(path, NULL, &index, &error) != KITH_OK) return;
    const kith_status status = kith_index_check(index, NULL, NULL, NULL, &error);
    if (must_be_seen) assert_int_equal(status, KITH_E_CORRUPT);
    uint64_t ids[K];
    float distances[K];
    kith_scratch *scratch = NULL;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_HNSW;
    queries.data = set->bytes;
    queries.dtype = set->dtype;
    queries.count = 1;
    queries.dim = set->dim;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search(index, &queries, K, &options, scratch, ids, distances, &error), KITH_OK);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
}

static void test_hostile(void **state) {
    (void)state;
    data_set set = data_make(DATA_DUPLICATES, KITH_F32, KITH_L2SQ, 200, 8, 8, 0);
    const kith_build_options build = hnsw_options();
    data_build(&set, data_path("good.kith"), &build);
    kith_index *index = data_open(data_path("good.kith"));
    ki_rng rng = {77};
    for (uint32_t kind = KI_PART_HNSW_MODEL; kind <= KI_PART_HNSW_LINKS; kind++) {
        const ki_part_view part = ki_segment_part(index->segment, kind);
        unsigned char *bytes = malloc(part.bytes);
        for (int round = 0; round < 60; round++) {
            memcpy(bytes, part.data, part.bytes);
            const int much = round % 2; /* all of it, or a word at a place that means something */
            for (uint64_t i = 0; i + 4 <= part.bytes && much; i += 4)
                if (ki_rng_below(&rng, 4) == 0) memset(bytes + i, (int)ki_rng_next(&rng), 4);
            const uint64_t row = kind == KI_PART_HNSW_LINKS ? ki_rng_below(&rng, 200) * (part.bytes / 200) : 8;
            const uint32_t odd = (uint32_t)ki_rng_next(&rng) >> round % 32;
            memcpy(bytes + row + 4 * ki_rng_below(&rng, 7), &odd, sizeof(odd));
            try_bytes(&set, kind, bytes, part.bytes, 0);
        }
        try_bytes(&set, kind, bytes, part.bytes / 2, 1);
        memset(bytes, 0xff, part.bytes);
        try_bytes(&set, kind, bytes, part.bytes, 1);
        memset(bytes, 0, part.bytes);
        try_bytes(&set, kind, bytes, part.bytes, 1);
        free(bytes);
    }
    kith_index_close(index);
    data_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_searches), cmocka_unit_test(test_equal_bytes),
                                       cmocka_unit_test(test_few), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
