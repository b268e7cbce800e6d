/* SPDX-License-Identifier: Apache-2.0
 *
 * A device's answers are the processor's: every backend that is present gives the very ids and distance bits of the
 * reference, on ordinary and on hostile data, whatever the device holds and what is brought to it, one device or two.
 * Skipped where there is no device; PoCL (Debian: pocl-opencl-icd) makes one of any processor.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/subject.h"

enum { SKIPPED = 77 };

/* The subject's index once more, on devices that give it so many bytes; 0: all. */
static void to_device_as(struct subject *s, kith_device_use use, uint64_t bytes) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.device = use;
    options.device_bytes = bytes;
    for (unsigned t = 1; t <= THREADS_MAX; t++) kith_scratch_destroy(s->scratch[t]);
    kith_index_close(s->index);
    s->index = NULL;
    if (kith_index_open(data_path("search.kith"), &options, &s->index, &error) != KITH_OK) fail_msg("%s", error.text);
    for (unsigned t = 1; t <= THREADS_MAX; t++)
        assert_int_equal(kith_scratch_create(s->index, pools[t], &s->scratch[t], &error), KITH_OK);
}

static void to_device(struct subject *s, uint64_t bytes) {
    to_device_as(s, KITH_DEVICE_OPENCL, bytes);
}

static void check_device(const struct subject *s, struct request r) {
    r.plan = KITH_PLAN_DEVICE;
    check(s, r);
}

static void check_kind(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    static const size_t lists[] = {1, 7, 40};
    const size_t rows = 600;
    subject_lists = lists[seed % 3];
    struct subject s = subject_make(kind, metric, dtype, KITH_F32, rows, dim, DISTINCT, seed);
    to_device(&s, 0);
    check_device(&s, (struct request){.batch = 1, .k = 1});
    check_device(&s, (struct request){.batch = DISTINCT, .k = 10});
    check_device(&s, (struct request){.batch = 40, .k = 100, .threads = 2});
    check_device(&s, (struct request){.batch = DISTINCT, .k = rows + 3});
    check_device(&s, (struct request){.batch = DISTINCT, .k = 0, .radius = s.hits[17].distance});
    set_filter(&s, 2 + seed % 30);
    check_device(&s, (struct request){.batch = DISTINCT, .k = 7, .filtered = 1});
    subject_free(&s);
    subject_lists = 1;
}

static void test_every_kind_metric_and_dtype(void **state) {
    static const size_t dims[] = {64, 65, 100, 127, 3, 200};
    (void)state;
    each_kind(dims, check_kind);
}

static void test_bits(void **state) {
    static const data_kind kinds[] = {DATA_NORMAL, DATA_EQUAL, DATA_DUPLICATES, DATA_SPARSE, DATA_TIES};
    static const size_t dims[] = {8, 64, 72, 1000};
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (size_t j = 0; j < sizeof(dims) / sizeof(*dims); j++) {
            struct subject s = subject_make(kinds[i], (i + j) % 2 ? KITH_HAMMING : KITH_JACCARD, KITH_B1, KITH_B1,
                                            i % 2 ? 700 : 9000, dims[j], 9, i + j);
            to_device(&s, j % 2 ? 0 : 50000);
            check_device(&s, (struct request){.batch = 1, .k = 1});
            check_device(&s, (struct request){.batch = 40, .k = 33, .threads = 2});
            check_device(&s, (struct request){.batch = 9, .k = 1000});
            check_device(&s, (struct request){.batch = 9, .radius = s.hits[100].distance});
            check_device(&s, (struct request){.batch = 9, .radius = 0});
            set_filter(&s, 9);
            check_device(&s, (struct request){.batch = 9, .k = 10, .filtered = 1});
            subject_free(&s);
        }
}

static void test_shapes(void **state) {
    static const size_t rows[] = {1, 2, 15, 16, 17, 33, 100}, dims[] = {1, 2, 3, 4, 5, 63, 64, 384, 1000};
    (void)state;
    uint64_t seed = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t j = 0; j < sizeof(dims) / sizeof(*dims); j++, seed++) {
            const size_t n = rows[i];
            struct subject s = subject_make((data_kind)(seed * 7 % DATA_KINDS), (kith_metric)(KITH_L2SQ + seed % 3),
                                            number_dtypes[seed / 2 % NUMBER_DTYPES], KITH_F32, n, dims[j], 6, seed);
            to_device(&s, 0);
            check_device(&s, (struct request){.batch = 1, .k = 1});
            check_device(&s, (struct request){.batch = 6, .k = n});
            check_device(&s, (struct request){.batch = 17, .k = n + 1, .threads = 3});
            check_device(&s, (struct request){.batch = 6, .radius = s.hits[n / 2].distance});
            set_filter(&s, 2);
            check_device(&s, (struct request){.batch = 6, .k = 3, .filtered = 1});
            set_filter(&s, 0);
            check_device(&s, (struct request){.batch = 6, .k = 3, .filtered = 1});
            subject_free(&s);
        }
}

/* Enough rows for a sample and several passes; with little memory most of them are brought piece by piece. */
static void test_many_rows(void **state) {
    static const struct {
        data_kind kind;
        kith_metric metric;
        kith_dtype dtype;
        size_t dim, lists;
    } cases[] = {{DATA_CLUSTERED, KITH_L2SQ, KITH_F32, 64, 50}, {DATA_CLUSTERED, KITH_COSINE, KITH_F16, 96, 1},
                 {DATA_WHOLE, KITH_L2SQ, KITH_U8, 33, 20},      {DATA_NORMAL, KITH_IP, KITH_F32, 64, 50},
                 {DATA_DUPLICATES, KITH_L2SQ, KITH_BF16, 8, 1}, {DATA_SCALES, KITH_IP, KITH_F32, 7, 1},
                 {DATA_TIES, KITH_COSINE, KITH_I8, 70, 30},     {DATA_EQUAL, KITH_L2SQ, KITH_F32, 16, 1}};
    static const uint64_t bytes[] = {0, 200000, 3000};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        subject_lists = cases[i].lists;
        subject_type = KITH_INDEX_IVF;
        struct subject s = subject_make(cases[i].kind, cases[i].metric, cases[i].dtype, KITH_F32,
                                        i % 2 ? 20000 + 7 * i : 6000, cases[i].dim, 6, i + 1);
        for (size_t b = 0; b < sizeof(bytes) / sizeof(*bytes); b++) {
            if (b == 2 && i % 2) continue; /* piece by piece of one block: few rows are enough */
            to_device(&s, bytes[b]);
            check_device(&s, (struct request){.batch = 1, .k = 1});
            check_device(&s, (struct request){.batch = 6, .k = 10, .threads = 2});
            check_device(&s, (struct request){.batch = 40, .k = 100});
            check_device(&s, (struct request){.batch = 2, .k = 1000});
            check_device(&s, (struct request){.batch = 6, .radius = s.hits[500].distance, .threads = 3});
            set_filter(&s, 50);
            check_device(&s, (struct request){.batch = 6, .k = 10, .filtered = 1});
            kith_filter_destroy(s.filter);
            s.filter = NULL;
        }
        check_device(&s, (struct request){.batch = 2, .k = KITH_K_MAX});
        subject_free(&s);
    }
    subject_lists = 1;
    subject_type = KITH_INDEX_AUTO;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

enum { K = 9, QUERIES = 1100 }; /* more than a device has at a time */

static kith_explain search_lists(const struct subject *s, const struct request *r, uint64_t *ids, float *distances) {
    unsigned char *memory;
    const kith_queries queries = repeat_queries(s, r, &memory);
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_IVF;
    options.code = KITH_SCAN_INT8;
    options.nprobe = r->nprobe;
    options.rerank = r->rerank;
    options.filter = r->filtered ? s->filter : NULL;
    options.explain = &explain;
    if (kith_search(s->index, &queries, r->k, &options, s->scratch[r->threads], ids, distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    free(memory);
    return explain;
}

/* The same plan with the same parameters, without the device and with it. */
static void check_lists(struct subject *without, struct subject *with, struct request r) {
    uint64_t *ids = take(2 * r.batch * r.k, sizeof(*ids));
    float *distances = take(2 * r.batch * r.k, sizeof(*distances));
    const kith_explain here = search_lists(without, &r, ids, distances);
    const kith_explain there = search_lists(with, &r, ids + r.batch * r.k, distances + r.batch * r.k);
    assert_string_equal(here.device, "");
    assert_string_not_equal(there.device, "");
    assert_int_equal(here.probed_lists, there.probed_lists);
    for (size_t i = 0; i < r.batch * r.k; i++)
        if (ids[i] != ids[r.batch * r.k + i] || memcmp(&distances[i], &distances[r.batch * r.k + i], sizeof(float)))
            fail_request(with, &r, i / r.k, i % r.k, "another answer than on the processor");
    free(ids);
    free(distances);
}

static void test_lists(void **state) {
    static const data_kind kinds[] = {DATA_CLUSTERED, DATA_NORMAL, DATA_DUPLICATES, DATA_WHOLE,
                                      DATA_TIES,      DATA_SCALES, DATA_EQUAL,      DATA_FAR};
    (void)state;
    for (unsigned i = 0; i < 3 * sizeof(kinds) / sizeof(*kinds); i++) {
        const size_t rows = i % 5 ? 3000 : 30000, dim = i % 2 ? 48 : 96; /* with a first level, second lists have it */
        subject_lists = i % 5 ? 30 : 12;
        subject_type = KITH_INDEX_IVF;
        struct subject there = subject_make(kinds[i / 3], (kith_metric)(KITH_L2SQ + i % 3),
                                            number_dtypes[i % NUMBER_DTYPES], KITH_F32, rows, dim, DISTINCT, i);
        struct subject here = there;
        if (there.info.lists > 1) {
            here.index = data_open(data_path("search.kith"));
            for (unsigned t = 1; t <= THREADS_MAX; t++)
                assert_int_equal(kith_scratch_create(here.index, pools[t], &here.scratch[t], &error), KITH_OK);
            to_device(&there, 0);
            for (unsigned threads = 1; threads <= 2; threads++) {
                check_lists(&here, &there,
                            (struct request){.batch = 1, .k = 1, .nprobe = 3, .rerank = 5, .threads = threads});
                check_lists(&here, &there,
                            (struct request){.batch = 40, .k = K, .nprobe = 4, .rerank = 2 * K, .threads = threads});
                check_lists(&here, &there,
                            (struct request){.batch = 13, .k = 100, .nprobe = 10, .rerank = 300, .threads = threads});
            }
            check_lists(&here, &there,
                        (struct request){.batch = QUERIES, .k = K, .nprobe = 2, .rerank = K, .threads = 1});
            set_filter(&here, 7);
            set_filter(&there, 7);
            check_lists(&here, &there,
                        (struct request){.batch = 40, .k = K, .nprobe = 4, .rerank = 20, .filtered = 1, .threads = 2});
            kith_filter_destroy(here.filter);
            free(here.allowed);
            for (unsigned t = 1; t <= THREADS_MAX; t++) kith_scratch_destroy(here.scratch[t]);
            kith_index_close(here.index);
        }
        subject_free(&there);
    }
    subject_lists = 1;
    subject_type = KITH_INDEX_AUTO;
}

/* ---- What is told ------------------------------------------------------------------------------------------------ */

static int on_two(void) {
    kith_device device = KITH_DEVICE_INIT;
    return kith_device_get(1, &device, &error) == KITH_OK;
}

static void test_explain_names_the_device(void **state) {
    (void)state;
    struct subject s = subject_make(DATA_NORMAL, KITH_L2SQ, KITH_F32, KITH_F32, 3000, 32, DISTINCT, 5);
    to_device(&s, 0);
    kith_device device = KITH_DEVICE_INIT;
    assert_int_equal(kith_device_get(0, &device, &error), KITH_OK);
    assert_string_equal(device.backend, "opencl");
    assert_int_equal(kith_device_get(1000, &device, &error), KITH_E_NOTFOUND);
    unsigned char *memory;
    const struct request r = {.batch = 20, .k = 10};
    const kith_queries queries = repeat_queries(&s, &r, &memory);
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.explain = &explain;
    static uint64_t ids[200];
    static float distances[200];
    assert_int_equal(kith_search(s.index, &queries, 10, &options, s.scratch[1], ids, distances, &error), KITH_OK);
    assert_int_equal(explain.plan, KITH_PLAN_DEVICE); /* demanded devices answer what they can */
    assert_true(explain.exact);
    assert_memory_equal(explain.device, device.name, strlen(device.name));
    assert_int_equal(strstr(explain.device, " more") != NULL, on_two());
    assert_true(explain.device_compute_ns > 0 && explain.device_upload_ns > 0 && explain.device_download_ns > 0);
    options.plan = KITH_PLAN_SCAN;
    assert_int_equal(kith_search(s.index, &queries, 10, &options, s.scratch[1], ids, distances, &error), KITH_OK);
    assert_int_equal(explain.plan, KITH_PLAN_SCAN);
    assert_string_equal(explain.device, "");
    free(memory);
    subject_free(&s);
}

/* The first call of its size is searched on both, and the rest by the faster one; all answers are right. */
static void test_auto_measures(void **state) {
    static const size_t batches[] = {1, 1, 2, 3, 40, 40, 33};
    (void)state;
    struct subject s = subject_make(DATA_CLUSTERED, KITH_COSINE, KITH_F32, KITH_F32, 3000, 40, DISTINCT, 6);
    to_device_as(&s, KITH_DEVICE_AUTO, 0);
    uint64_t *ids = take(40 * 5, sizeof(*ids));
    float *distances = take(40 * 5, sizeof(*distances));
    for (size_t i = 0; i < sizeof(batches) / sizeof(*batches); i++) {
        const int first = i == 0 || i == 2 || i == 4;
        const struct request r = {.batch = batches[i], .k = 5};
        unsigned char *memory;
        const kith_queries queries = repeat_queries(&s, &r, &memory);
        kith_explain explain = KITH_EXPLAIN_INIT;
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        options.explain = &explain;
        assert_int_equal(kith_search(s.index, &queries, 5, &options, s.scratch[1], ids, distances, &error), KITH_OK);
        for (size_t q = 0; q < batches[i]; q++) compare(&s, &r, q, ids + 5 * q, distances + 5 * q, 5);
        if (first) assert_int_equal(explain.plan, KITH_PLAN_DEVICE);
        assert_int_equal(explain.plan == KITH_PLAN_DEVICE, explain.device[0] != 0);
        free(memory);
    }
    set_filter(&s, 4);
    check_plans(&s, (struct request){.batch = 20, .k = 5, .filtered = 1});
    check_plans(&s, (struct request){.batch = 20, .radius = s.hits[30].distance});
    check_device(&s, (struct request){.batch = 20, .k = 5, .filtered = 1, .threads = 2});
    free(ids);
    free(distances);
    subject_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_measures),
        cmocka_unit_test(test_explain_names_the_device),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_every_kind_metric_and_dtype),
    };
    kith_device device = KITH_DEVICE_INIT;
    if (kith_device_get(0, &device, &error) != KITH_OK) {
        printf("skipped: %s\n", error.text);
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
