/* SPDX-License-Identifier: Apache-2.0
 *
 * Studies of filters: when they are made, what they cost, and that searches of many threads go on meanwhile.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "index/index.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6000, QUERIES = 200, DIM = 16, K = 10, THREADS = 4 };

static kith_error error;

struct subject {
    data_set set;
    kith_index *index;
    kith_filter *filter;
    const float *queries;
};

static struct subject subject;

/* One that lets every fourth vector of a half of them through: some of its queries lie far from what it allows. */
static kith_filter *make_filter(void) {
    uint64_t *ids = calloc(ROWS, sizeof(*ids));
    kith_filter *filter = NULL;
    size_t count = 0;
    assert_non_null(ids);
    for (size_t i = 0; i < ROWS; i++)
        if (((const float *)data_row(&subject.set, i))[0] > 0 && i % 4) ids[count++] = data_id(&subject.set, i);
    assert_int_equal(kith_filter_create(subject.index, ids, count, NULL, &filter, &error), KITH_OK);
    free(ids);
    return filter;
}

static int set_up(void **state) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    assert_int_equal(data_folder_make(state), 0);
    subject.set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, ROWS + QUERIES, DIM, 3, 0);
    subject.set.rows = ROWS;
    options.lists = 96;
    options.index = KITH_INDEX_GRAPH;
    data_build(&subject.set, data_path("study.kith"), &options);
    subject.index = data_open(data_path("study.kith"));
    subject.queries = (const float *)data_row(&subject.set, ROWS);
    return 0;
}

static int tear_down(void **state) {
    kith_index_close(subject.index);
    data_free(&subject.set);
    return data_folder_remove(state);
}

/* Search for queries first..first+count; the distances of the last neighbours, or of all. */
static void search(kith_scratch *scratch, const kith_filter *filter, size_t first, size_t count, double target,
                   uint64_t timeout_ns, float *distances) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    uint64_t ids[QUERIES * K];
    queries.data = subject.queries + first * DIM;
    queries.dtype = KITH_F32;
    queries.dim = DIM;
    queries.count = count;
    options.filter = filter;
    options.target_recall = target;
    options.timeout_ns = timeout_ns;
    if (kith_search(subject.index, &queries, K, &options, scratch, ids, distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < count * K; i++) assert_true(ids[i] != KITH_ID_NONE);
}

static kith_scratch *make_scratch(void) {
    kith_scratch *scratch = NULL;
    assert_int_equal(kith_scratch_create(subject.index, NULL, &scratch, &error), KITH_OK);
    return scratch;
}

static void test_who_pays(void **state) {
    static float distances[QUERIES * K], truth[QUERIES * K];
    kith_scratch *scratch = make_scratch();
    kith_filter *filter = make_filter();
    const ki_filter_notes *notes = filter->notes;
    size_t found = 0;
    (void)state;
    for (size_t i = 0; i < 10; i++) search(scratch, filter, i, 1, 0.95, 0, distances); /* used a few times */
    assert_null(atomic_load(&filter->notes->studies));
    assert_true(atomic_load(&filter->notes->studied_ns) == 0);
    search(scratch, filter, 0, QUERIES, 0, 0, truth); /* exact searches are planned by nobody */
    const uint64_t spent_ns = atomic_load(&filter->notes->spent_ns);
    search(scratch, filter, 0, QUERIES, 0, 0, truth);
    assert_true(atomic_load(&filter->notes->spent_ns) == spent_ns);
    atomic_fetch_add(&filter->notes->spent_ns, UINT64_C(1) << 40); /* as if it had been used for minutes */
    for (size_t turn = 0; turn < 10 && !atomic_load(&filter->notes->studies); turn++)
        search(scratch, filter, 0, QUERIES, 0.95, 0, distances);
    assert_non_null(atomic_load(&filter->notes->studies));
    assert_in_range(notes->asked_count, 64, UINT32_MAX);
    search(scratch, filter, 0, QUERIES, 0.95, 0, distances);
    for (size_t i = 0; i < QUERIES * K; i++) found += distances[i] <= truth[i / K * K + K - 1];
    assert_in_range(found, (size_t)(0.93 * QUERIES * K), QUERIES * K);
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
}

/* A search that has no time to spare has none for a study. */
static void test_time_limit(void **state) {
    static float distances[QUERIES * K];
    kith_scratch *scratch = make_scratch();
    kith_filter *filter = make_filter();
    (void)state;
    atomic_store(&filter->notes->spent_ns, UINT64_C(1) << 50);
    for (size_t i = 0; i < 100; i++) {
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        kith_queries queries = KITH_QUERIES_INIT;
        uint64_t ids[K];
        queries.data = subject.queries + i * DIM;
        queries.dtype = KITH_F32;
        queries.dim = DIM;
        queries.count = 1;
        options.filter = filter;
        options.target_recall = 0.9;
        options.timeout_ns = 1000000;
        const kith_status status = kith_search(subject.index, &queries, K, &options, scratch, ids, distances, &error);
        assert_true(status == KITH_OK || status == KITH_E_DEADLINE);
    }
    assert_null(atomic_load(&filter->notes->studies));
    for (size_t i = 0; i < 100; i++) search(scratch, filter, i, 1, 0.9, 0, distances);
    assert_non_null(atomic_load(&filter->notes->studies));
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
}

/* The same filter in all threads: one studies it, others search. */
static void *search_alone(void *context) {
    kith_scratch *scratch = make_scratch();
    float distances[16 * K];
    for (size_t turn = 0; turn < 40; turn++)
        search(scratch, context, turn % (QUERIES / 16) * 16, turn % 3 ? 16 : 1, turn % 2 ? 0.9 : 0.99, 0, distances);
    kith_scratch_destroy(scratch);
    return NULL;
}

static void test_threads(void **state) {
    kith_filter *filter = make_filter();
    pthread_t threads[THREADS];
    (void)state;
    atomic_store(&filter->notes->spent_ns, UINT64_C(1) << 50); /* whoever comes first studies */
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, search_alone, filter), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_non_null(atomic_load(&filter->notes->studies));
    assert_non_null(atomic_load(&filter->counts->lists));
    kith_filter_destroy(filter);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_who_pays), cmocka_unit_test(test_time_limit),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
