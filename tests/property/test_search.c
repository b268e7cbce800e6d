/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact means exact: every plan, batch size, thread count and filter returns the very ids and distance bits that
 * kith_distance() of every pair and a sort give, on ordinary and on hostile data. The reference is support/data.c's and
 * uses the public contract only. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/segment_file.h"
#include "support/subject.h"

/* ---- What is searched -------------------------------------------------------------------------------------------- */

static void check_kind(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    const size_t rows = slow ? 200 : 500;
    const kith_dtype query_dtype = seed % 4 == 3 ? dtype : KITH_F32;
    struct subject s = subject_make(kind, metric, dtype, query_dtype, rows, dim, DISTINCT, seed);
    if (metric != KITH_HAMMING && metric != KITH_JACCARD) assert_int_not_equal(s.info.first_level_dim, 0);
    check_plans(&s, (struct request){.batch = 1, .k = 1});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
    check_plans(&s, (struct request){.batch = 3, .k = 100});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = rows + 3});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 0, .radius = s.hits[17].distance});
    set_filter(&s, 2 + seed % 30);
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 7, .filtered = 1});
    subject_free(&s);
}

static void test_every_kind_metric_and_dtype(void **state) {
    static const size_t dims[] = {64, 65, 100, 127, 128, 200};
    (void)state;
    each_kind(dims, check_kind);
}

static void test_bits(void **state) {
    static const data_kind kinds[] = {DATA_NORMAL, DATA_EQUAL, DATA_DUPLICATES, DATA_SPARSE, DATA_TIES};
    static const size_t dims[] = {8, 64, 72, 1000};
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (size_t j = 0; j < sizeof(dims) / sizeof(*dims); j++) {
            struct subject s = subject_make(kinds[i], (i + j) % 2 ? KITH_HAMMING : KITH_JACCARD, KITH_B1, KITH_B1, 700,
                                            dims[j], 9, i + j);
            check_plans(&s, (struct request){.batch = 1, .k = 1});
            check_plans(&s, (struct request){.batch = 40, .k = 33, .threads = 2});
            check_plans(&s, (struct request){.batch = 9, .k = 1000});
            check_plans(&s, (struct request){.batch = 9, .radius = s.hits[100].distance});
            check_plans(&s, (struct request){.batch = 9, .radius = 0});
            set_filter(&s, 9);
            check_plans(&s, (struct request){.batch = 9, .k = 10, .filtered = 1});
            subject_free(&s);
        }
}

static void test_shapes(void **state) {
    static const size_t rows[] = {1, 2, 15, 16, 17, 33, 1000}, dims[] = {1, 2, 3, 4, 5, 63, 64, 65, 100, 384, 1000};
    (void)state;
    uint64_t seed = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t j = 0; j < sizeof(dims) / sizeof(*dims); j++, seed++) {
            if (slow && dims[j] > 100 && rows[i] != 16 && rows[i] < 1000) continue;
            const size_t n =
                rows[i] == 1000 && (slow || dims[j] == 1000) ? 299 + (size_t)(dims[j] < 1000 || !slow) : rows[i];
            struct subject s = subject_make((data_kind)(seed * 7 % DATA_KINDS), (kith_metric)(KITH_L2SQ + seed % 3),
                                            number_dtypes[seed / 2 % NUMBER_DTYPES], KITH_F32, n, dims[j], 6, seed);
            check_plans(&s, (struct request){.batch = 1, .k = 1});
            check_plans(&s, (struct request){.batch = 6, .k = n});
            check_plans(&s, (struct request){.batch = 13, .k = n + 1, .threads = 3});
            check_plans(&s, (struct request){.batch = 2, .k = KITH_K_MAX});
            check_plans(&s, (struct request){.batch = 6, .radius = s.hits[n / 2].distance});
            set_filter(&s, 2);
            check_plans(&s, (struct request){.batch = 6, .k = 3, .filtered = 1});
            subject_free(&s);
        }
}

static void test_widest(void **state) {
    (void)state;
    for (size_t t = 0; t < NUMBER_DTYPES; t++) {
        const data_kind kind = t == 0 ? DATA_SCALES : t % 2 ? DATA_WHOLE : DATA_NORMAL;
        struct subject s =
            subject_make(kind, (kith_metric)(KITH_L2SQ + t % 3), number_dtypes[t], KITH_F32, 19, KITH_DIM_MAX, 4, t);
        check_plans(&s, (struct request){.batch = 1, .k = 3});
        check_plans(&s, (struct request){.batch = 4, .k = 19});
        subject_free(&s);
    }
}

/* Every value at the end of the range that codes hold, in the widest vector: the integer sums come close to 2^31. */
static void test_largest_sums(void **state) {
    (void)state;
    for (int sign = 0; sign < 4; sign++) {
        const size_t dim = KITH_DIM_MAX;
        data_set set = data_make(DATA_WHOLE, KITH_I8, KITH_IP, 17, dim, 5, 0);
        memset(set.bytes, sign & 1 ? 127 : -128, set.rows * dim);
        memset(set.bytes, 127, dim / 2);
        data_build(&set, data_path("sums.kith"), NULL);
        kith_index *index = data_open(data_path("sums.kith"));
        kith_scratch *scratch;
        assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
        int8_t *query = take(dim, 1);
        float *floats = take(dim, sizeof(float)), distances[17];
        uint64_t ids[17];
        data_hit hits[17];
        memset(query, sign & 2 ? 127 : -128, dim);
        data_floats(KITH_I8, query, dim, floats);
        data_reference(&set, floats, NULL, hits);
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = query;
        queries.dtype = KITH_I8;
        queries.count = 1;
        queries.dim = dim;
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        options.plan = KITH_PLAN_SCAN;
        assert_int_equal(kith_search(index, &queries, 17, &options, scratch, ids, distances, &error), KITH_OK);
        for (size_t i = 0; i < 17; i++) {
            assert_int_equal(ids[i], hits[i].id);
            assert_memory_equal(&distances[i], &hits[i].distance, sizeof(float));
        }
        free(query);
        free(floats);
        kith_scratch_destroy(scratch);
        kith_index_close(index);
        data_free(&set);
    }
}

/* Whole numbers are coded without error, so what is left of the bounds covers rounding alone: sums far beyond 2^24
 * whose exact values differ by less than the defining kernel's own errors. */
static void test_rounding_alone_decides(void **state) {
    static const size_t dims[] = {900, 5000, 40000};
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        const size_t dim = dims[i % 3], rows = 60000 / (size_t)(50 + dim / 100);
        const kith_metric metric = i / 3 ? KITH_IP : KITH_L2SQ;
        data_set set = data_make(DATA_WHOLE, KITH_U8, metric, rows, dim, i, 1);
        for (size_t j = 0; j < dim; j++) set.bytes[j] = (unsigned char)(200 + set.bytes[j] % 50);
        for (size_t r = rows; r-- > 0;) {
            unsigned char *row = set.bytes + r * dim;
            const size_t at = row[0] * 7u % dim, other = row[1] * 11u % dim; /* still the random bytes here */
            memcpy(row, set.bytes, dim);
            row[at]++;
            row[other]--;
            row[r % dim]++;
        }
        struct subject s = {.set = set, .query_dtype = KITH_F32, .info = KITH_INDEX_INFO_INIT, .distinct = 2};
        data_build(&s.set, data_path("rounding.kith"), NULL);
        s.index = data_open(data_path("rounding.kith"));
        kith_index_get_info(s.index, &s.info);
        assert_true(s.info.integer_codes);
        assert_int_equal(kith_scratch_create(s.index, NULL, &s.scratch[1], &error), KITH_OK);
        float *queries = take(2 * dim, sizeof(float));
        for (size_t j = 0; j < 2 * dim; j++)
            queries[j] = (float)((int)(j * 7919 % 255) - (metric == KITH_IP ? 0 : 100));
        s.queries = (unsigned char *)queries;
        s.hits = take(2 * rows, sizeof(data_hit));
        for (size_t q = 0; q < 2; q++) data_reference(&s.set, queries + q * dim, NULL, s.hits + q * rows);
        check_plans(&s, (struct request){.batch = 1, .k = 1});
        check_plans(&s, (struct request){.batch = 2, .k = 10});
        check_plans(&s, (struct request){.batch = 2, .k = rows / 2});
        check_plans(&s, (struct request){.batch = 2, .radius = s.hits[rows / 3].distance});
        subject_free(&s);
    }
}

/* Large enough for a first pass over a sample of blocks, guessed thresholds, and ranges of blocks by several threads;
 * the rows' order follows their content, which is what makes guesses wrong. */
static void test_many_rows(void **state) {
    static const struct {
        data_kind kind;
        kith_metric metric;
        kith_dtype dtype;
        size_t dim;
    } cases[] = {{DATA_CLUSTERED, KITH_L2SQ, KITH_F32, 64},  {DATA_CLUSTERED, KITH_COSINE, KITH_F16, 96},
                 {DATA_WHOLE, KITH_L2SQ, KITH_U8, 33},       {DATA_NORMAL, KITH_IP, KITH_F32, 64},
                 {DATA_DUPLICATES, KITH_L2SQ, KITH_BF16, 8}, {DATA_SCALES, KITH_IP, KITH_F32, 7},
                 {DATA_TIES, KITH_COSINE, KITH_I8, 70}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        subject_type = i ? KITH_INDEX_IVF : KITH_INDEX_AUTO; /* with a graph, of so many rows */
        struct subject s = subject_make(cases[i].kind, cases[i].metric, cases[i].dtype, KITH_F32,
                                        slow ? 12000 : 20000 + 7 * i, cases[i].dim, 6, i + 1);
        for (unsigned threads = 1; threads <= THREADS_MAX; threads += slow ? THREADS_MAX - 1 : 1) {
            check_plans(&s, (struct request){.batch = 1, .k = 1, .threads = threads});
            check_plans(&s, (struct request){.batch = 6, .k = 10, .threads = threads});
            check_plans(&s, (struct request){.batch = 13, .k = 100, .threads = threads});
        }
        check_plans(&s, (struct request){.batch = 40, .k = 10, .threads = 2});
        check_plans(&s, (struct request){.batch = 2, .k = 1000, .threads = 1});
        check_plans(&s, (struct request){.batch = 2, .k = KITH_K_MAX, .threads = 2});
        check_plans(&s, (struct request){.batch = 6, .radius = s.hits[500].distance, .threads = 3});
        if (i < (slow ? 1 : 2)) check_plans(&s, (struct request){.batch = BATCH_MAX, .k = 10, .threads = 3});
        set_filter(&s, 50);
        check_plans(&s, (struct request){.batch = 6, .k = 10, .threads = 3, .filtered = 1});
        set_filter(&s, 500);
        check_plans(&s, (struct request){.batch = 13, .k = 10, .filtered = 1});
        subject_free(&s);
    }
    subject_type = KITH_INDEX_AUTO;
}

/* All vectors are equal, so that every one is a candidate, and every multiple of what a desk can hold waits at some
 * moment: also exactly when the first pass over a sample ends, which is the case for k = 32 and these 80 blocks of
 * 16. */
static void test_lists_of_candidates_fill_up(void **state) {
    (void)state;
    subject_type = KITH_INDEX_IVF;
    struct subject s = subject_make(DATA_EQUAL, KITH_L2SQ, KITH_F32, KITH_F32, 20480, 64, 2, 3);
    subject_type = KITH_INDEX_AUTO;
    static const size_t ks[] = {32, 64, 128, 224, 1, 1000};
    for (size_t i = 0; i < sizeof(ks) / sizeof(*ks); i++) {
        check_plans(&s, (struct request){.batch = 1, .k = ks[i]});
        check_plans(&s, (struct request){.batch = 2, .k = ks[i]});
    }
    subject_free(&s);
}

/* Rows in every so many blocks are near the query and all others far, or the other way round: a sample of blocks then
 * says nothing about the rest. Whole numbers keep their order in the file, so that the blocks are known. */
static void test_misleading_samples(void **state) {
    (void)state;
    for (unsigned shape = 0; shape < 12; shape += slow ? 5 : 1) {
        const size_t dim = 64, rows = 20000, period = (size_t)1 << shape % 6, phase = shape / 6 ? period - 1 : 0;
        data_set set = data_make(DATA_WHOLE, KITH_U8, KITH_L2SQ, rows, dim, shape, 0);
        for (size_t i = 0; i < rows; i++) {
            unsigned char *row = set.bytes + i * dim;
            const int near = i / 16 % period == phase;
            for (size_t j = 0; j < dim; j++) row[j] = (unsigned char)(near ? row[j] / 16 : 100 + row[j] / 2);
        }
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.index = KITH_INDEX_IVF;
        data_build(&set, data_path("sample.kith"), &options);
        kith_index *index = data_open(data_path("sample.kith"));
        data_hit *hits = take(rows, sizeof(*hits));
        float query[64] = {0};
        data_reference(&set, query, NULL, hits);
        for (unsigned threads = 1; threads <= 2; threads++) {
            kith_scratch *scratch;
            assert_int_equal(kith_scratch_create(index, pools[threads], &scratch, &error), KITH_OK);
            static const size_t ks[] = {1, 10, 40, 100, 1000};
            for (size_t c = 0; c < sizeof(ks) / sizeof(*ks); c++) {
                static uint64_t ids[1000];
                static float distances[1000];
                kith_queries queries = KITH_QUERIES_INIT;
                queries.data = query;
                queries.dtype = KITH_F32;
                queries.count = 1;
                queries.dim = dim;
                assert_int_equal(kith_search(index, &queries, ks[c], NULL, scratch, ids, distances, &error), KITH_OK);
                for (size_t i = 0; i < ks[c]; i++)
                    if (ids[i] != hits[i].id || memcmp(&distances[i], &hits[i].distance, sizeof(float)) != 0)
                        fail_msg("shape %u, k %zu, %u threads: rank %zu is wrong", shape, ks[c], threads, i);
            }
            kith_scratch_destroy(scratch);
        }
        free(hits);
        kith_index_close(index);
        data_free(&set);
    }
}

static void test_ranges(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 9; seed++) {
        struct subject s = subject_make((data_kind)(seed * 4 % DATA_KINDS), (kith_metric)(KITH_L2SQ + seed % 3),
                                        KITH_F32, KITH_F32, 600, 64 + seed, 6, seed);
        const float edge = s.hits[40].distance;
        const float radii[] = {
            edge,  nextafterf(edge, INFINITY), nextafterf(edge, -INFINITY), s.hits[0].distance, -INFINITY, INFINITY, 0,
            -0.0f, s.hits[599].distance};
        for (size_t i = 0; i < sizeof(radii) / sizeof(*radii); i++)
            check_plans(&s,
                        (struct request){.batch = i % 2 ? 6 : 1, .radius = radii[i], .threads = 1 + (unsigned)i % 3});
        set_filter(&s, 3);
        for (size_t i = 0; i < 4; i++) check_plans(&s, (struct request){.batch = 6, .radius = radii[i], .filtered = 1});
        subject_free(&s);
    }
}

/* Stored vectors as queries: each is at distance +0 from itself and its equals, which a radius of 0 finds. */
static void check_cosine_of_itself(data_kind kind, kith_dtype dtype, size_t lists, uint64_t seed) {
    subject_lists = lists;
    struct subject s = subject_make(kind, KITH_COSINE, dtype, dtype, 700, 70 + seed % 3, DISTINCT, seed);
    subject_lists = 1;
    float *floats = take(s.set.dim, sizeof(float));
    for (size_t i = 0; i < DISTINCT; i++) {
        const size_t row = i * 49 + seed % 49;
        const float zero = 0;
        data_hit *hits = s.hits + i * s.set.rows;
        size_t equal = 0;
        memcpy(s.queries + i * s.set.row_bytes, data_row(&s.set, row), s.set.row_bytes);
        data_floats(dtype, data_row(&s.set, row), s.set.dim, floats);
        data_reference(&s.set, floats, NULL, hits);
        for (size_t j = 0; j < s.set.rows; j++) {
            assert_true(hits[j].distance >= 0 && hits[j].distance <= 2);
            if (memcmp(data_row(&s.set, hits[j].row), data_row(&s.set, row), s.set.row_bytes) != 0) continue;
            assert_memory_equal(&hits[j].distance, &zero, sizeof(float));
            equal++;
        }
        assert_true(equal >= 1);
    }
    free(floats);
    check_plans(&s, (struct request){.batch = 1, .k = 1});
    check_plans(&s, (struct request){.batch = DISTINCT, .k = 10});
    check_plans(&s, (struct request){.batch = DISTINCT, .radius = 0, .threads = 2});
    check_plans(&s, (struct request){.batch = DISTINCT, .radius = -0x1p-149f});
    subject_free(&s);
}

static void test_cosine_of_itself(void **state) {
    static const data_kind kinds[] = {DATA_NORMAL,  DATA_DUPLICATES, DATA_CLUSTERED,
                                      DATA_OUTLIER, DATA_SCALES,     DATA_NEAR_TIES};
    (void)state;
    uint64_t seed = 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (size_t t = 0; t < NUMBER_DTYPES; t++, seed++)
            check_cosine_of_itself(kinds[i], number_dtypes[t], seed % 2 ? 9 : 1, seed);
}

/* Turn the index's norms2 into the inverse_norms that files of version 1 have, or into a part of no known number. */
static void reopen_with(struct subject *s, uint32_t number, kith_status expected) {
    test_bytes file = test_read(data_path("search.kith"));
    const ki_section_entry *section = (const ki_section_entry *)(void *)(file.data + KI_HEADER_BYTES);
    while (section->family != KI_FAMILY_ORIGINALS) section++;
    const ki_section_head *head = (const ki_section_head *)(void *)(file.data + section->offset);
    ki_part_entry *part = (ki_part_entry *)(uintptr_t)(head + 1);
    for (uint32_t i = 0; i < head->parts; i++) {
        if (part[i].number != KI_PART_NUMBER(KI_PART_NORMS2)) continue;
        part[i].number = number;
        for (size_t row = 0; row < s->set.rows; row++) {
            float norm;
            unsigned char *at = file.data + section->offset + part[i].offset + row * sizeof(norm);
            memcpy(&norm, at, sizeof(norm));
            norm = 1 / sqrtf(norm);
            memcpy(at, &norm, sizeof(norm));
        }
    }
    test_reseal(file);
    test_write(data_path("old.kith"), file.data, file.bytes);
    free(file.data);
    kith_index *index = NULL;
    assert_int_equal(kith_index_open(data_path("old.kith"), NULL, &index, &error), expected);
    if (expected != KITH_OK) return;
    for (unsigned t = 1; t <= THREADS_MAX; t++) kith_scratch_destroy(s->scratch[t]);
    kith_index_close(s->index);
    s->index = index;
    for (unsigned t = 1; t <= THREADS_MAX; t++)
        assert_int_equal(kith_scratch_create(s->index, pools[t], &s->scratch[t], &error), KITH_OK);
}

static void test_files_with_inverse_norms(void **state) {
    (void)state;
    for (size_t t = 0; t < NUMBER_DTYPES; t++) {
        subject_lists = t % 2 ? 7 : 1;
        struct subject s = subject_make(DATA_CLUSTERED, KITH_COSINE, number_dtypes[t], KITH_F32, 600, 65, DISTINCT, t);
        subject_lists = 1;
        reopen_with(&s, 99, KITH_E_CORRUPT);
        assert_non_null(strstr(error.text, "norms2"));
        reopen_with(&s, KI_PART_NUMBER(KI_PART_INVERSE_NORMS), KITH_OK);
        assert_int_equal(kith_index_verify(data_path("old.kith"), NULL, NULL, NULL, &error), KITH_OK);
        check_plans(&s, (struct request){.batch = 1, .k = 3});
        check_plans(&s, (struct request){.batch = DISTINCT, .k = 10, .threads = 2});
        check_plans(&s, (struct request){.batch = DISTINCT, .radius = s.hits[40].distance});
        if (s.info.lists > 1) /* all lists, all candidates: exact */
            check(&s, (struct request){
                          .plan = KITH_PLAN_IVF, .batch = DISTINCT, .k = 5, .nprobe = s.info.lists, .rerank = 600});
        subject_free(&s);
    }
}

static void test_filters(void **state) {
    static const size_t every[] = {0, 5000, 600, 100, 17, 2, 1};
    (void)state;
    struct subject s = subject_make(DATA_CLUSTERED, KITH_COSINE, KITH_F32, KITH_F32, 3000, 65, 8, 4);
    for (size_t i = 0; i < sizeof(every) / sizeof(*every); i++) {
        set_filter(&s, every[i]);
        check_plans(&s, (struct request){.batch = 1, .k = 10, .filtered = 1});
        check_plans(&s, (struct request){.batch = 13, .k = 1, .filtered = 1, .threads = 2});
        check_plans(&s, (struct request){.batch = 8, .k = 100, .filtered = 1});
        check_plans(&s, (struct request){.batch = 8, .radius = s.hits[20].distance, .filtered = 1});
    }
    subject_free(&s);
}

static void test_query_types_and_strides(void **state) {
    (void)state;
    for (size_t t = 0; t < NUMBER_DTYPES; t++)
        for (size_t q = 0; q < NUMBER_DTYPES; q++) {
            const size_t dim = 68, bytes = kith_row_bytes(number_dtypes[q], dim);
            struct subject s =
                subject_make(q > 2 || t > 2 ? DATA_WHOLE : DATA_NORMAL, (kith_metric)(KITH_L2SQ + (t + q) % 3),
                             number_dtypes[t], number_dtypes[q], 150, dim, 6, t * 5 + q);
            check_plans(&s, (struct request){.batch = 6, .k = 10});
            check_plans(&s, (struct request){.batch = 6, .k = 10, .stride = bytes + 4});
            check_plans(&s, (struct request){.batch = 30, .k = 10, .stride = 3 * bytes, .threads = 2});
            subject_free(&s);
        }
    struct subject s = subject_make(DATA_NORMAL, KITH_JACCARD, KITH_B1, KITH_B1, 150, 72, 6, 1);
    check_plans(&s, (struct request){.batch = 6, .k = 10, .stride = 9 + 2});
    subject_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_metric_and_dtype),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_widest),
        cmocka_unit_test(test_largest_sums),
        cmocka_unit_test(test_rounding_alone_decides),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_lists_of_candidates_fill_up),
        cmocka_unit_test(test_misleading_samples),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_cosine_of_itself),
        cmocka_unit_test(test_files_with_inverse_norms),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_query_types_and_strides),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
