/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph of an open index: what is told of it, files whose graph was changed as a hostile author would, and the copy
 * in memory that searches turn to.
 *
 * Whatever a graph's bytes say, opening refuses it or searches give results of the contract's shape, and verifying
 * names section and part.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/amend.h"
#include "support/data.h"
#include "support/segment_file.h"

#include "index/index.h"
#include "quant/rotate.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { ROWS = 400, DIM = 20, WIDTH = 32, K = 10, QUERIES = 20 };

static kith_error error;
static data_set set;
static float *queries;
static test_bytes good; /* a file with a graph */
static size_t rows_at, model_at, row_bytes;
static kith_index_info info = KITH_INDEX_INFO_INIT;

struct answer {
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_explain explain;
};

static int make_files(void **state) {
    if (data_folder_make(state) != 0 || test_folder_make(state) != 0) return -1;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.index = KITH_INDEX_GRAPH;
    options.no_calibration = 1;
    set = data_make(DATA_CLUSTERED, KITH_F32, KITH_COSINE, ROWS, DIM, 3, 1);
    queries = data_queries(&set, DATA_CLUSTERED, KITH_F32, QUERIES, 4);
    data_build(&set, data_path("good.kith"), &options);
    good = test_read(data_path("good.kith"));
    uint64_t bytes;
    rows_at = test_find(good, KI_PART_GRAPH_ROWS, &bytes);
    model_at = test_find(good, KI_PART_GRAPH_MODEL, NULL);
    row_bytes = (size_t)bytes / ROWS;
    return 0;
}

static int remove_files(void **state) {
    free(good.data);
    free(queries);
    data_free(&set);
    return data_folder_remove(state) | test_folder_remove(state);
}

static void search_by(const kith_index *index, struct answer *answer, const kith_filter *filter, kith_plan plan) {
    kith_scratch *scratch = NULL;
    kith_queries q = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    q.data = queries;
    q.dtype = KITH_F32;
    q.count = QUERIES;
    q.dim = DIM;
    options.plan = plan;
    options.filter = filter;
    options.explain = &answer->explain;
    answer->explain = (kith_explain)KITH_EXPLAIN_INIT;
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    if (kith_search(index, &q, K, &options, scratch, answer->ids, answer->distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    kith_scratch_destroy(scratch);
}

/* Search by the graph; every distance is one of the defining ones, as many come as there are, and none twice. */
static void search(const kith_index *index, struct answer *answer, const kith_filter *filter) {
    search_by(index, answer, filter, KITH_PLAN_GRAPH);
}

static void check_shape(const struct answer *answer) {
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t h = 0; h < K; h++) {
            assert_true(answer->ids[i * K + h] != KITH_ID_NONE);
            if (isnan(answer->distances[i * K + h])) fail_msg("a distance is no number");
            for (size_t o = 0; o < h; o++) assert_true(answer->ids[i * K + h] != answer->ids[i * K + o]);
            if (h) assert_true(answer->distances[i * K + h] >= answer->distances[i * K + h - 1]);
        }
}

/* ---- What is told of it ------------------------------------------------------------------------------------------ */

static void test_info(void **state) {
    (void)state;
    kith_index *index = data_open(data_path("good.kith"));
    assert_int_equal(kith_index_get_info(index, &info), KITH_OK);
    assert_int_equal(info.graph_degree, 32);
    assert_true(info.graph_bits == 1 || info.graph_bits == 2 || info.graph_bits == 4);
    assert_int_equal(info.hot_bytes, 0);
    assert_int_equal(row_bytes, ki_graph_row_bytes(32, info.graph_bits, WIDTH));
    kith_index_close(index);
    assert_int_equal(kith_index_verify(data_path("good.kith"), NULL, NULL, NULL, &error), KITH_OK);
}

struct stages {
    uint64_t checked;
    int stop;
};

static int watch(void *context, const kith_progress *progress) {
    struct stages *stages = context;
    if (strcmp(progress->stage, "checking") != 0) return 0;
    assert_string_equal(progress->unit, "vectors");
    assert_int_equal(progress->total, ROWS);
    stages->checked = progress->done;
    return stages->stop;
}

static void test_check_tells_progress(void **state) {
    struct stages stages = {0, 0};
    kith_pool *pool = NULL;
    (void)state;
    assert_int_equal(kith_pool_create(1, &pool, &error), KITH_OK);
    assert_int_equal(kith_index_verify(data_path("good.kith"), pool, watch, &stages, &error), KITH_OK);
    assert_int_equal(stages.checked, ROWS);
    stages.stop = 1;
    assert_int_equal(kith_index_verify(data_path("good.kith"), pool, watch, &stages, &error), KITH_E_CANCELLED);
    kith_pool_destroy(pool);
}

/* ---- Hostile bytes ----------------------------------------------------------------------------------------------- */

static uint32_t *ids_of(unsigned char *file, size_t vertex) {
    return (uint32_t *)(void *)(file + rows_at + vertex * row_bytes + KI_GRAPH_IDS_AT);
}

static void beyond(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++)
        for (size_t i = v % 3; i < 32; i += 3) ids_of(file, v)[i] = i % 2 ? ROWS : UINT32_MAX - (uint32_t)i;
}
static void all_beyond(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++) memset(ids_of(file, v), 0xff, 32 * sizeof(uint32_t));
}
static void cycle(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++)
        for (size_t i = 0; i < 32; i++) ids_of(file, v)[i] = (uint32_t)(v + 1) % ROWS;
}
static void itself(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++)
        for (size_t i = 0; i < 32; i++) ids_of(file, v)[i] = (uint32_t)v;
}
static void sink(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++)
        for (size_t i = 0; i < 32; i++) ids_of(file, v)[i] = (uint32_t)i + (v < 32 && i >= v);
}
static void counts(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++) ids_of(file, v)[-2] = v % 2 ? UINT32_MAX : 33;
}
static void one_lost(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++)
        for (size_t i = 0; i < 32; i++)
            if (ids_of(file, v)[i] == 7) ids_of(file, v)[i] = v == 8 ? 9 : 8;
}
static void not_numbers(unsigned char *file) {
    for (size_t v = 0; v < ROWS; v++) memset(ids_of(file, v) + 32, v % 2 ? 0xff : 0x7f, 64 * sizeof(float));
}
static void infinite(unsigned char *file) {
    static const float pair[2] = {INFINITY, -INFINITY};
    for (size_t v = 0; v < ROWS; v++) memcpy(file + rows_at + v * row_bytes, pair, sizeof(pair));
}
static void nothing(unsigned char *file) {
    memset(file + rows_at, 0, ROWS * row_bytes);
}
static void noise(unsigned char *file) {
    test_fill(file + rows_at, ROWS * row_bytes, 12);
}
static void entries_beyond(unsigned char *file) {
    const size_t signs = model_at + KI_GRAPH_MODEL_HEAD_BYTES + (DIM * sizeof(float) + 63) / 64 * 64;
    const uint32_t beyond_last = ROWS;
    memcpy(file + signs + (ki_rotate_bytes(WIDTH) + 63) / 64 * 64, &beyond_last, sizeof(beyond_last));
}
static void centre_not_a_number(unsigned char *file) {
    memset(file + model_at + KI_GRAPH_MODEL_HEAD_BYTES, 0xff, 3 * sizeof(float));
}

static const struct hostile {
    const char *name, *part;
    void (*change)(unsigned char *file);
} hostile[] = {{"ids beyond the last vector", "rows", beyond},
               {"all ids beyond the last vector", "rows", all_beyond},
               {"each leads to the next", "rows", cycle},
               {"each leads to itself", "rows", itself},
               {"all lead to a few", "rows", sink},
               {"more neighbours than places", "rows", counts},
               {"one that nobody leads to", "rows", one_lost},
               {"factors that are no numbers", "rows", not_numbers},
               {"scales and norms without end", "rows", infinite},
               {"zeros", "rows", nothing},
               {"noise", "rows", noise},
               {"entries beyond the last vector", "model", entries_beyond},
               {"a centre that is no number", "model", centre_not_a_number}};

static void test_hostile_rows(void **state) {
    static struct answer answer;
    (void)state;
    for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
        test_bytes file = {malloc(good.bytes), good.bytes};
        char part[60];
        assert_non_null(file.data);
        memcpy(file.data, good.data, good.bytes);
        hostile[i].change(file.data);
        test_reseal(file);
        test_write(data_path("hostile.kith"), file.data, file.bytes);
        free(file.data);
        if (kith_index_verify(data_path("hostile.kith"), NULL, NULL, NULL, &error) != KITH_E_CORRUPT)
            fail_msg("%s: passes", hostile[i].name);
        snprintf(part, sizeof(part), "section 'graph', part '%s'", hostile[i].part);
        if (!strstr(error.text, part) || !strstr(error.text, "hostile.kith"))
            fail_msg("%s: %s", hostile[i].name, error.text);
        kith_index *index = NULL;
        if (kith_index_open(data_path("hostile.kith"), NULL, &index, &error) != KITH_OK) {
            assert_int_equal(error.status, KITH_E_CORRUPT);
            continue;
        }
        search(index, &answer, NULL);
        check_shape(&answer);
        kith_index_close(index);
    }
}

/* Stored vectors that are no numbers: their distances have no place among results. */
static void test_hostile_vectors(void **state) {
    static struct answer answer;
    test_bytes file = {malloc(good.bytes), good.bytes};
    (void)state;
    assert_non_null(file.data);
    memcpy(file.data, good.data, good.bytes);
    unsigned char *rows = file.data + test_find(file, KI_PART_ORIGINALS, NULL);
    for (size_t v = 0; v < ROWS; v += 2) memset(rows + v * DIM * sizeof(float), 0xff, sizeof(float));
    test_reseal(file);
    test_write(data_path("hostile.kith"), file.data, file.bytes);
    free(file.data);
    kith_index *index = data_open(data_path("hostile.kith"));
    search(index, &answer, NULL);
    for (size_t i = 0; i < QUERIES * K; i++) {
        if (isnan(answer.distances[i])) fail_msg("a distance is no number");
        if (i % K) assert_true(answer.distances[i] >= answer.distances[i - 1]);
    }
    kith_index_close(index);
}

/* Numbers of the model that do not fit the vectors or the rows. */
static void test_hostile_models(void **state) {
    static const struct {
        size_t at;
        uint32_t value;
    } word[] = {{0, 0},  {8, 31},      {8, 0},           {8, 64},          {8, UINT32_MAX}, {12, 3},
                {12, 8}, {12, 255},    {16, 0},          {16, 48},         {16, 31},        {16, UINT32_MAX},
                {20, 0}, {20, 100000}, {20, UINT32_MAX}, {24, 0x7fc00000}, {40, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof(word) / sizeof(*word); i++) {
        test_bytes file = {malloc(good.bytes), good.bytes};
        kith_index *index = NULL;
        assert_non_null(file.data);
        memcpy(file.data, good.data, good.bytes);
        memcpy(file.data + model_at + word[i].at, &word[i].value, sizeof(uint32_t));
        test_reseal(file);
        test_write(data_path("hostile.kith"), file.data, file.bytes);
        free(file.data);
        if (kith_index_open(data_path("hostile.kith"), NULL, &index, &error) != KITH_E_CORRUPT)
            fail_msg("byte %zu of the model may be %u", word[i].at, word[i].value);
        assert_non_null(strstr(error.text, "section 'graph', part '"));
        assert_null(index);
    }
}

/* Parts that are shorter or longer than they should be. */
static void test_hostile_sizes(void **state) {
    static const struct {
        uint32_t part;
        int change;
    } size[] = {{KI_PART_GRAPH_ROWS, -64}, {KI_PART_GRAPH_ROWS, 64},  {KI_PART_GRAPH_ROWS, -1},
                {KI_PART_GRAPH_MODEL, -1}, {KI_PART_GRAPH_MODEL, 64}, {KI_PART_GRAPH_MODEL, -200}};
    (void)state;
    for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++) {
        uint64_t bytes;
        const size_t at = test_find(good, size[i].part, &bytes);
        kith_index *index = NULL;
        test_write(data_path("hostile.kith"), good.data, good.bytes);
        bytes = (uint64_t)((int64_t)bytes + size[i].change);
        if (amend_file(data_path("hostile.kith"), size[i].part, good.data + at, bytes, 1, &error) != KITH_OK)
            fail_msg("%s", error.text);
        if (kith_index_open(data_path("hostile.kith"), NULL, &index, &error) != KITH_E_CORRUPT)
            fail_msg("a part may have %llu bytes", (unsigned long long)bytes);
        assert_non_null(strstr(error.text, "section 'graph', part '"));
    }
}

/* ---- The copy ---------------------------------------------------------------------------------------------------- */

static kith_index *open_hot(void) {
    kith_index *index = NULL;
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.copy_hot = 1;
    if (kith_index_open(data_path("good.kith"), &options, &index, &error) != KITH_OK) fail_msg("%s", error.text);
    return index;
}

/* Until the copy is there, and searches use it. */
static void wait_hot(const kith_index *index, struct answer *answer) {
    const struct timespec pause = {0, 1000000};
    for (;;) {
        search(index, answer, NULL);
        if (answer->explain.hot) break;
        nanosleep(&pause, NULL);
    }
    assert_int_equal(kith_index_get_info(index, &info), KITH_OK);
    assert_int_equal(info.hot_bytes, ROWS * row_bytes);
}

static int same(const struct answer *a, const struct answer *b) {
    return memcmp(a->ids, b->ids, sizeof(a->ids)) == 0 && memcmp(a->distances, b->distances, sizeof(a->distances)) == 0;
}

static void test_copy(void **state) {
    static struct answer map, hot;
    kith_index *index = data_open(data_path("good.kith"));
    (void)state;
    search(index, &map, NULL);
    assert_int_equal(map.explain.hot, 0);
    kith_index_close(index);
    index = open_hot();
    search(index, &hot, NULL); /* by the map, or by the copy already */
    assert_true(same(&map, &hot));
    wait_hot(index, &hot);
    assert_true(same(&map, &hot));
    kith_index_close(index);
    for (int i = 0; i < 20; i++) kith_index_close(open_hot()); /* before it is there */
}

/* Plans of all kinds find the same by the copy, with vectors in it or without. */
static void compare_copy(const char *path, kith_resident resident, const kith_plan *plans, size_t count) {
    static struct answer map, hot;
    const struct timespec pause = {0, 1000000};
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    kith_index *index = NULL, *cold = data_open(path);
    options.resident = resident;
    assert_int_equal(kith_index_open(path, &options, &index, &error), KITH_OK);
    assert_non_null(index->hot);
    while (!ki_hot_copy_done(index->hot)) nanosleep(&pause, NULL);
    assert_int_equal(kith_index_get_info(index, &info), KITH_OK);
    assert_int_equal(info.hot_bytes, ki_index_hot_size(index, index->hot_what));
    assert_true(info.hot_bytes > ROWS * row_bytes);
    for (size_t p = 0; p < count; p++) {
        search_by(cold, &map, NULL, plans[p]);
        search_by(index, &hot, NULL, plans[p]);
        assert_true(same(&map, &hot));
        assert_int_equal(map.explain.hot, 0);
        assert_int_equal(hot.explain.hot, plans[p] != KITH_PLAN_PLAIN || resident == KITH_RESIDENT_ALL);
    }
    kith_index_close(index);
    kith_index_close(cold);
}

static void test_copy_of_codes(void **state) {
    static const kith_plan plans[] = {KITH_PLAN_GRAPH, KITH_PLAN_SCAN, KITH_PLAN_PLAIN, KITH_PLAN_IVF};
    kith_build_options lists = KITH_BUILD_OPTIONS_INIT;
    kith_open_options unknown = KITH_OPEN_OPTIONS_INIT;
    kith_index *index = NULL;
    (void)state;
    lists.index = KITH_INDEX_GRAPH;
    lists.lists = 12;
    lists.no_calibration = 1;
    data_build(&set, data_path("lists.kith"), &lists);
    for (kith_resident resident = KITH_RESIDENT_CODES; resident <= KITH_RESIDENT_ALL; resident++) {
        compare_copy(data_path("good.kith"), resident, plans, 3);
        compare_copy(data_path("lists.kith"), resident, plans, 4);
    }
    unknown.resident = (kith_resident)3;
    assert_int_equal(kith_index_open(data_path("good.kith"), &unknown, &index, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "resident is 3"));
}

/* An index without a graph has nothing to copy. */
static void test_copy_of_nothing(void **state) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    kith_build_options flat = KITH_BUILD_OPTIONS_INIT;
    kith_index *index = NULL;
    (void)state;
    flat.index = KITH_INDEX_FLAT;
    data_build(&set, data_path("flat.kith"), &flat);
    options.copy_hot = 1;
    assert_int_equal(kith_index_open(data_path("flat.kith"), &options, &index, &error), KITH_OK);
    assert_int_equal(kith_index_get_info(index, &info), KITH_OK);
    assert_int_equal(info.hot_bytes, 0);
    assert_int_equal(info.graph_degree, 0);
    kith_index_close(index);
}

#if !defined(__SANITIZE_THREAD__) /* which takes a thread of the parent for one of the child */
/* T3: a child searches by what was there when it was made, and closes without waiting for a thread that it lacks. */
static void test_copy_after_fork(void **state) {
    static struct answer map, hot;
    (void)state;
    for (int wait = 0; wait < 2; wait++) {
        kith_index *index = open_hot();
        search(index, &map, NULL);
        if (wait) wait_hot(index, &hot);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            search(index, &hot, NULL);
            const int fine = same(&map, &hot) && (!wait || hot.explain.hot);
            kith_index_close(index);
            _exit(fine ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        kith_index_close(index);
    }
}
#endif

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* T2: in a child that may have no more memory. */
static void test_copy_refused(void **state) {
    static struct answer map;
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kith_index *index = data_open(data_path("good.kith"));
        search(index, &map, NULL); /* takes what it needs for another one */
        kith_open_options options = KITH_OPEN_OPTIONS_INIT;
        kith_index *other = NULL;
        options.copy_hot = 1;
        struct rlimit data;
        int fine = getrlimit(RLIMIT_DATA, &data) == 0;
        data.rlim_cur = 4096;                              /* 0 would be no limit */
        fine = fine && setrlimit(RLIMIT_DATA, &data) == 0; /* counts private memory, not maps of files */
        fine = fine && kith_index_open(data_path("good.kith"), &options, &other, &error) == KITH_OK;
        fine = fine && !other->hot;
        _exit(fine ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_check_tells_progress),
        cmocka_unit_test(test_hostile_rows),
        cmocka_unit_test(test_hostile_vectors),
        cmocka_unit_test(test_hostile_models),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_of_codes),
        cmocka_unit_test(test_copy_of_nothing),
#if !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_copy_after_fork),
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_copy_refused),
#endif
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
