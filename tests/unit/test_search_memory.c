/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of searches over lists: approximate ones by every code, and exact ones that begin with near lists. Once
 * warm they ask for none, and when any allocation is refused they say so, and their scratch is as good as before.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/subject.h"

enum { ROWS = 4000, DIM = 64, LISTS = 40, K = 10, QUERIES = 70 };

/* One index with several searches over it. */
static const struct way {
    const char *name;
    kith_plan plan;
    kith_scan_code code;
    size_t nprobe, rerank;
    int filtered; /* so few that most queries find less than k in their lists, and are searched again exactly */
} ways[] = {{"int8", KITH_PLAN_IVF, KITH_SCAN_INT8, 4, 20, 0},
            {"int8, many candidates", KITH_PLAN_IVF, KITH_SCAN_INT8, 4, 200, 0},
            {"int8, filtered", KITH_PLAN_IVF, KITH_SCAN_INT8, 2, 20, 1},
            {"second", KITH_PLAN_IVF, KITH_SCAN_SECOND, 4, 40, 0},
            {"second, filtered", KITH_PLAN_IVF, KITH_SCAN_SECOND, 2, 40, 1},
            {"levels", KITH_PLAN_IVF, KITH_SCAN_LEVELS, 4, 0, 0},
            {"rows", KITH_PLAN_IVF, KITH_SCAN_ROWS, 4, 0, 0},
            {"rows, filtered", KITH_PLAN_IVF, KITH_SCAN_ROWS, 2, 0, 1},
            {"levels, filtered", KITH_PLAN_IVF, KITH_SCAN_LEVELS, 2, 0, 1},
            {"scan", KITH_PLAN_SCAN, KITH_SCAN_AUTO, 0, 0, 0},
            {"scan by levels", KITH_PLAN_LEVELS, KITH_SCAN_AUTO, 0, 0, 0}};
enum { WAYS = sizeof(ways) / sizeof(*ways) };

static const char *const codes[] = {"opq:8x4", "pq:4x8", "rabitq:3"};
enum { CODES = sizeof(codes) / sizeof(*codes) };

static data_set set;
static kith_index *indexes[CODES];
static kith_filter *filters[CODES];
static float *rows;

struct answer {
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
};

static int make_indexes(void **state) {
    if (set_up(state) != 0) return -1;
    uint64_t few[8];
    set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 3, 0);
    for (size_t i = 0; i < 8; i++) few[i] = i * 499;
    for (size_t c = 0; c < CODES; c++) {
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.first_level = KITH_FIRST_LEVEL_ON;
        options.lists = LISTS;
        options.code = codes[c];
        options.no_calibration = 1;
        data_build(&set, data_path("memory.kith"), &options);
        indexes[c] = data_open(data_path("memory.kith"));
        if (kith_filter_create(indexes[c], few, 8, NULL, &filters[c], &error) != KITH_OK) return -1;
    }
    rows = data_queries(&set, DATA_CLUSTERED, KITH_F32, QUERIES, 17);
    return 0;
}

static int free_indexes(void **state) {
    for (size_t c = 0; c < CODES; c++) {
        kith_filter_destroy(filters[c]);
        kith_index_close(indexes[c]);
    }
    data_free(&set);
    free(rows);
    return tear_down(state);
}

static kith_status search(size_t index, const struct way *way, kith_scratch *scratch, struct answer *answer) {
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    queries.data = rows;
    queries.dtype = KITH_F32;
    queries.count = QUERIES;
    queries.dim = DIM;
    options.plan = way->plan;
    options.code = way->code;
    options.nprobe = way->nprobe;
    options.rerank = way->rerank;
    options.filter = way->filtered ? filters[index] : NULL;
    error = (kith_error){KITH_OK, ""};
    return kith_search(indexes[index], &queries, K, &options, scratch, answer->ids, answer->distances, &error);
}

static void test_warm_searches_allocate_nothing(void **state) {
    static struct answer answer;
    (void)state;
    for (size_t index = 0; index < CODES; index++)
        for (size_t w = 0; w < WAYS; w++)
            for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
                kith_scratch *scratch = NULL;
                long asked = 0;
                assert_int_equal(kith_scratch_create(indexes[index], pools[threads], &scratch, &error), KITH_OK);
                /* Workers warm up one by one: the claim is that asking ends. */
                for (int round = 0; round < 60; round++) {
                    faulty_malloc_start(-1, 0);
                    const kith_status status = search(index, &ways[w], scratch, &answer);
                    asked = faulty_malloc_stop();
                    if (status != KITH_OK) fail_msg("%s, %s: %s", codes[index], ways[w].name, error.text);
                    if (round == 0) assert_true(asked > 0);
                    if (asked == 0) break;
                    if (threads == 1) assert_int_equal(round, 0);
                }
                kith_scratch_destroy(scratch);
                if (asked) fail_msg("%s, %s, %u threads: still %ld", codes[index], ways[w].name, threads, asked);
            }
}

/* A scratch is made and used while allocation `number` is refused, then used once more. Returns how many were asked for
 * until then. */
static long refuse(size_t index, const struct way *way, unsigned threads, long number, int for_good,
                   const struct answer *expected, long *refused) {
    static struct answer answer;
    kith_scratch *scratch = NULL;
    error = (kith_error){KITH_OK, ""};
    faulty_malloc_start(number, for_good);
    kith_status status = kith_scratch_create(indexes[index], pools[threads], &scratch, &error);
    if (status == KITH_OK) status = search(index, way, scratch, &answer);
    const long asked = faulty_malloc_stop();
    if (status != KITH_OK && status != KITH_E_NOMEM) fail_msg("%s, allocation %ld: %s", way->name, number, error.text);
    if (error.status != status || (status != KITH_OK && !error.text[0])) fail_msg("no sentence");
    *refused += status == KITH_E_NOMEM;
    if (scratch) {
        assert_int_equal(search(index, way, scratch, &answer), KITH_OK);
        assert_memory_equal(&answer, expected, sizeof(answer));
    }
    kith_scratch_destroy(scratch);
    return asked;
}

static void test_memory_refused_while_searching(void **state) {
    static struct answer expected;
    (void)state;
    for (size_t index = 0; index < CODES; index++)
        for (size_t w = 0; w < WAYS; w++)
            for (unsigned threads = 1; threads <= 2; threads++) {
                long refused = 0;
                kith_scratch *scratch = NULL;
                assert_int_equal(kith_scratch_create(indexes[index], NULL, &scratch, &error), KITH_OK);
                assert_int_equal(search(index, &ways[w], scratch, &expected), KITH_OK);
                kith_scratch_destroy(scratch);
                for (int for_good = 0; for_good < 2; for_good++)
                    for (long number = 0, asked = 0; asked >= number; number++)
                        asked = refuse(index, &ways[w], threads, number, for_good, &expected, &refused);
                assert_true(refused > 10);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_searches_allocate_nothing),
        cmocka_unit_test(test_memory_refused_while_searching),
    };
    return cmocka_run_group_tests(tests, make_indexes, free_indexes);
}
