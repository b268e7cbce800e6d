/* SPDX-License-Identifier: Apache-2.0
 *
 * Product codes of all vectors: an index of type pq, and the plan that scans it. With as many candidates as there are
 * vectors nothing is lost, and answers are those of the reference bit for bit; with few, recall has a floor.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quant/second.h"
#include "store/segment.h"
#include "support/segment_file.h"
#include "support/subject.h"

static const kith_metric number_metrics[] = {KITH_L2SQ, KITH_IP, KITH_COSINE};
static const kith_dtype number_types[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8};

static int set_up_pq(void **state) {
    subject_type = KITH_INDEX_PQ;
    return set_up(state);
}

/* ---- Nothing is lost where all are candidates -------------------------------------------------------------------- */

static void check_all(const struct subject *s, size_t batch, size_t k, unsigned threads, int filtered) {
    check(s, (struct request){.plan = KITH_PLAN_PQ,
                              .batch = batch,
                              .k = k,
                              .threads = threads,
                              .filtered = filtered,
                              .rerank = s->set.rows < k ? k : s->set.rows});
}

static void check_subject(data_kind kind, kith_metric metric, kith_dtype dtype, size_t rows, size_t dim) {
    struct subject s = subject_make(kind, metric, dtype, dtype, rows, dim, 5, rows + 7 * dim);
    assert_int_equal(s.info.lists, 1);
    assert_int_equal(strncmp(s.info.second_code, "pq:", 3), 0);
    check_all(&s, 1, 10, 1, 0);
    check_all(&s, 37, 3, 2, 0);
    for (size_t every = 2; every < 40; every += 18) {
        set_filter(&s, every);
        check_all(&s, 9, 12, 3, 1);
    }
    set_filter(&s, 0);
    check_all(&s, 2, 4, 1, 1);
    assert_int_equal(kith_index_check(s.index, NULL, NULL, NULL, &error), KITH_OK);
    subject_free(&s);
}

static void test_types(void **state) {
    (void)state;
    for (size_t m = 0; m < 3; m++)
        for (size_t t = 0; t < 5; t++) {
            const data_kind kind = number_types[t] == KITH_I8 || number_types[t] == KITH_U8 ? DATA_WHOLE : DATA_NORMAL;
            check_subject(kind, number_metrics[m], number_types[t], 300, 24);
        }
}

static void test_shapes(void **state) {
    (void)state;
    static const size_t rows[] = {1, 2, 15, 16, 17, 100}, dims[] = {1, 2, 3, 97, 257};
    for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++)
        for (size_t d = 0; d < sizeof(dims) / sizeof(*dims); d++)
            check_subject(DATA_NORMAL, number_metrics[(r + d) % 3], KITH_F32, rows[r], dims[d]);
    check_subject(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, 7000, 8); /* several strips */
    check_subject(DATA_NORMAL, KITH_IP, KITH_F32, 40, 4096);
}

static void test_codes(void **state) {
    (void)state;
    static const char *const codes[] = {"pq:8x8", "opq:8x4", "rabitq:1", "rabitq:4"};
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        subject_code = codes[i];
        struct subject s = subject_make(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 400, 16, 5, 3);
        assert_string_equal(s.info.second_code, codes[i]);
        check_all(&s, 20, 7, 2, 0);
        subject_free(&s);
    }
    subject_code = NULL;
}

/* With several lists the plan scans all of them. */
static void test_lists(void **state) {
    (void)state;
    subject_type = KITH_INDEX_IVF;
    subject_lists = 12;
    subject_code = "pq:8x4";
    struct subject s = subject_make(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, KITH_F32, 900, 16, 5, 4);
    assert_true(s.info.lists > 1);
    check_all(&s, 20, 7, 2, 0);
    set_filter(&s, 30);
    check_all(&s, 20, 40, 1, 1);
    subject_free(&s);
    subject_type = KITH_INDEX_PQ;
    subject_lists = 1;
    subject_code = NULL;
}

/* ---- Few candidates ---------------------------------------------------------------------------------------------- */

enum { ROWS = 6000, DIM = 64, QUERIES = 60, K = 10 };

struct found {
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_explain explain;
};

static void search_all(const struct subject *s, unsigned threads, size_t batch, struct found *found) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_PQ;
    options.explain = &found->explain;
    found->explain = (kith_explain)KITH_EXPLAIN_INIT;
    for (size_t first = 0; first < QUERIES; first += batch) {
        kith_queries queries = KITH_QUERIES_INIT;
        queries.dtype = s->query_dtype;
        queries.dim = DIM;
        queries.data = s->queries + first * kith_row_bytes(s->query_dtype, DIM);
        queries.count = QUERIES - first < batch ? QUERIES - first : batch;
        if (kith_search(s->index, &queries, K, &options, s->scratch[threads], found->ids + first * K,
                        found->distances + first * K, &error) != KITH_OK)
            fail_msg("%s", error.text);
    }
}

static double recall_of(const struct subject *s, const struct found *found) {
    size_t hit = 0;
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < K; j++)
            for (size_t t = 0; t < K; t++) hit += found->ids[i * K + j] == s->hits[i * ROWS + t].id;
    return (double)hit / (QUERIES * K);
}

static void check_recall(data_kind kind, kith_metric metric, kith_dtype dtype, double least) {
    struct subject s = subject_make(kind, metric, dtype, KITH_F32, ROWS, DIM, QUERIES, 21);
    struct found one, many, threads;
    search_all(&s, 1, 1, &one);
    search_all(&s, 1, QUERIES, &many);
    search_all(&s, 3, QUERIES, &threads);
    const double recall = recall_of(&s, &one);
    print_message("%-10s %-6s %-4s %s: recall@%d %.4f\n", data_kind_name(kind), kith_metric_name(metric),
                  kith_dtype_name(dtype), s.info.second_code, K, recall);
    assert_true(recall >= least);
    assert_memory_equal(one.ids, many.ids, sizeof(one.ids)); /* whatever the batch and the threads */
    assert_memory_equal(one.ids, threads.ids, sizeof(one.ids));
    assert_memory_equal(one.distances, threads.distances, sizeof(one.distances));
    assert_int_equal(many.explain.plan, KITH_PLAN_PQ);
    assert_string_equal(many.explain.plan_name, "pq");
    assert_int_equal(many.explain.exact, 0);
    assert_int_equal(many.explain.code, KITH_SCAN_SECOND);
    assert_int_equal(many.explain.rerank, 64);
    assert_int_equal(many.explain.scanned_rows, (uint64_t)QUERIES * ROWS);
    assert_int_equal(many.explain.reranked, QUERIES * 64);
    subject_free(&s);
}

static void test_recall(void **state) {
    (void)state;
    check_recall(DATA_CLUSTERED, KITH_L2SQ, KITH_F32, 0.70);
    check_recall(DATA_NORMAL, KITH_COSINE, KITH_F16, 0.90);
    check_recall(DATA_LOW_RANK, KITH_IP, KITH_F32, 0.79);
    check_recall(DATA_WHOLE, KITH_L2SQ, KITH_U8, 0.95);
}

/* Vectors that are all the same are found as often as asked for. */
static void test_equal(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_EQUAL, KITH_L2SQ, KITH_F32, KITH_F32, 1000, 8, 3, 1);
    check_all(&s, 3, 20, 2, 0);
    set_filter(&s, 100);
    check_all(&s, 3, 20, 1, 1);
    subject_free(&s);
}

/* Vectors of all kinds, whatever their estimates are worth: as many results as asked for, in order, none twice. */
static void test_kinds(void **state) {
    (void)state;
    enum { MANY = 80, ASKED = 30 };
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        struct subject s = subject_make((data_kind)kind, number_metrics[kind % 3], KITH_F32, KITH_F32, MANY, 12, 6, 9);
        const struct request request = {.batch = 6};
        unsigned char *memory;
        const kith_queries queries = repeat_queries(&s, &request, &memory);
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        uint64_t ids[6 * ASKED];
        float distances[6 * ASKED];
        options.plan = KITH_PLAN_PQ;
        set_filter(&s, 2);
        for (int filtered = 0; filtered < 2; filtered++) {
            options.filter = filtered ? s.filter : NULL;
            assert_int_equal(kith_search(s.index, &queries, ASKED, &options, s.scratch[2], ids, distances, &error), 0);
            for (size_t i = 0; i < 6 * ASKED; i++) {
                assert_true(ids[i] != KITH_ID_NONE);
                if (i % ASKED) assert_true(distances[i] >= distances[i - 1]);
                for (size_t j = i / ASKED * ASKED; j < i; j++) assert_true(ids[i] != ids[j]);
            }
        }
        free(memory);
        subject_free(&s);
    }
}

/* Without originals the estimates are the answers, as many as there are. */
static void test_without_originals(void **state) {
    (void)state;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 500, 16, 5, 1);
    options.index = KITH_INDEX_PQ;
    options.originals = KITH_ORIGINALS_NONE;
    data_build(&set, data_path("none.kith"), &options);
    kith_index *index = data_open(data_path("none.kith"));
    kith_scratch *scratch = NULL;
    float *query = data_queries(&set, DATA_CLUSTERED, KITH_F32, 1, 6);
    uint64_t ids[600];
    float distances[600];
    kith_queries q = KITH_QUERIES_INIT;
    q.data = query;
    q.dtype = KITH_F32;
    q.dim = 16;
    q.count = 1;
    kith_search_options search = KITH_SEARCH_OPTIONS_INIT;
    search.plan = KITH_PLAN_PQ;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_search(index, &q, 600, &search, scratch, ids, distances, &error), KITH_OK);
    for (size_t i = 1; i < 500; i++) assert_true(distances[i] >= distances[i - 1]);
    assert_true(ids[499] != KITH_ID_NONE && ids[500] == KITH_ID_NONE);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    free(query);
    data_free(&set);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void refuse_build(kith_build_options options, kith_dtype dtype, kith_status status, const char *why) {
    const kith_metric metric = dtype == KITH_B1 ? KITH_HAMMING : KITH_L2SQ;
    data_set set = data_make(DATA_NORMAL, dtype, metric, 64, 16, 5, 1);
    kith_reader *reader = NULL;
    options.metric = metric;
    assert_int_equal(kith_reader_from_memory(set.bytes, dtype, set.rows, set.dim, 0, set.ids, &reader, &error), 0);
    assert_int_equal(kith_build(reader, data_path("refused.kith"), &options, NULL, &error), status);
    if (!strstr(error.text, why)) fail_msg("%s", error.text);
    kith_reader_close(reader);
    data_free(&set);
}

static void test_refused_builds(void **state) {
    (void)state;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.index = (kith_index_type)99;
    refuse_build(options, KITH_F32, KITH_E_ARG, "index type 99");
    options.index = KITH_INDEX_PQ;
    refuse_build(options, KITH_B1, KITH_E_UNSUPPORTED, "no product codes");
    options.lists = 5;
    refuse_build(options, KITH_F32, KITH_E_UNSUPPORTED, "type pq has one");
    options.lists = 0;
    options.code = "pq:5x4";
    refuse_build(options, KITH_F32, KITH_E_ARG, "do not divide");
    options.index = KITH_INDEX_FLAT;
    options.code = "pq:4x4";
    refuse_build(options, KITH_F32, KITH_E_UNSUPPORTED, "index type pq");
    options.index = KITH_INDEX_IVF;
    options.code = NULL;
    refuse_build(options, KITH_B1, KITH_E_UNSUPPORTED, "no lists");
}

static void refuse_search(const struct subject *s, kith_scan_code code, float radius, const char *why) {
    const struct request request = {.batch = 1};
    unsigned char *memory;
    const kith_queries queries = repeat_queries(s, &request, &memory);
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    uint64_t ids[5];
    float distances[5];
    kith_ranges ranges;
    options.plan = KITH_PLAN_PQ;
    options.code = code;
    const kith_status status =
        radius > 0 ? kith_search_range(s->index, &queries, radius, &options, s->scratch[1], &ranges, &error)
                   : kith_search(s->index, &queries, 5, &options, s->scratch[1], ids, distances, &error);
    assert_int_equal(status, KITH_E_UNSUPPORTED);
    if (!strstr(error.text, why)) fail_msg("%s", error.text);
    free(memory);
}

static void test_refused_searches(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 100, 8, 3, 1);
    refuse_search(&s, KITH_SCAN_AUTO, 1, "range search");
    refuse_search(&s, KITH_SCAN_INT8, 0, "second code");
    subject_free(&s);
    subject_type = KITH_INDEX_FLAT;
    s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 100, 8, 3, 1);
    assert_string_equal(s.info.second_code, "");
    refuse_search(&s, KITH_SCAN_AUTO, 0, "no second code");
    subject_free(&s);
    subject_type = KITH_INDEX_PQ;
}

/* A file whose header does not say what its sections hold. */
static void test_hostile(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 100, 8, 3, 1);
    assert_int_equal(s.info.feature_incompat, KI_SEGMENT_FLAT_CODE);
    subject_free(&s);
    test_bytes file = test_read(data_path("search.kith"));
    ((ki_header *)(void *)file.data)->feature_incompat = 0;
    reseal(file.data, file.bytes);
    test_write(data_path("hostile.kith"), file.data, file.bytes);
    kith_index *index = NULL;
    assert_int_equal(kith_index_open(data_path("hostile.kith"), NULL, &index, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "features"));
    free(file.data);
}

static void test_default_code(void **state) {
    (void)state;
    static const struct {
        size_t dim;
        const char *code;
    } rows[] = {{1, "pq:1x4"},    {2, "pq:1x4"},    {3, "pq:1x4"},      {96, "pq:48x4"},     {97, "pq:97x4"},
                {384, "pq:96x4"}, {385, "pq:77x4"}, {1024, "pq:256x4"}, {1543, "pq:1543x4"}, {65536, "pq:8192x4"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[32];
        ki_second_spec spec;
        ki_second_default(rows[i].dim, text);
        assert_string_equal(text, rows[i].code);
        assert_int_equal(ki_second_parse(text, rows[i].dim, &spec, &error), KITH_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),          cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_codes),          cmocka_unit_test(test_lists),
        cmocka_unit_test(test_recall),         cmocka_unit_test(test_equal),
        cmocka_unit_test(test_kinds),          cmocka_unit_test(test_without_originals),
        cmocka_unit_test(test_refused_builds), cmocka_unit_test(test_refused_searches),
        cmocka_unit_test(test_hostile),        cmocka_unit_test(test_default_code),
    };
    return cmocka_run_group_tests(tests, set_up_pq, tear_down);
}
