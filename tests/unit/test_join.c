/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_join: right answers in both formats, equal bytes whatever threads, batches and interruptions, what it refuses
 * and in which words, and state files that are not to be believed. Kills and full disks: tests/crash/test_join.c.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faulty_io.h" /* leaves out syncs: many thousands of joins are made */
#include "support/faulty_malloc.h"
#include "support/join.h"

#include "base/bytes.h"

#include <jansson.h>
#include <sys/file.h>
#include <sys/types.h>
#include <fcntl.h>
#include <xxhash.h>

enum { STATE_BYTES = 128, STATE_HASH_AT = 120 };

static kith_join_report report;

static kith_status join(const kith_index *index, kith_reader *queries, const char *out, kith_join_options options) {
    if (!options.threads && !options.pool) options.threads = 1;
    report = (kith_join_report)KITH_JOIN_REPORT_INIT;
    error = (kith_error){KITH_OK, ""};
    return kith_join(index, queries, out, &options, &report, &error);
}

static void good(const kith_index *index, kith_reader *queries, const char *out, kith_join_options options) {
    if (join(index, queries, out, options) != KITH_OK) fail_msg("%s", error.text);
    assert_tidy(out);
}

static void refused(kith_status status, const char *words, const kith_index *index, kith_reader *queries,
                    const char *out, kith_join_options options) {
    const kith_status got = join(index, queries, out, options);
    if (got != status) fail_msg("status %d (%s) instead of %d", (int)got, error.text, (int)status);
    if (!strstr(error.text, words)) fail_msg("'%s' does not say '%s'", error.text, words);
}

/* ---- Right answers ----------------------------------------------------------------------------------------------- */

static void check_arrays(const data_set *set, const char *out, size_t rows, size_t k, const uint64_t *right_ids,
                         const float *right_distances) {
    struct output output = output_read(out, KITH_JOIN_NPY);
    const uint64_t *ids = array_of(&output.file[0], "<u8", rows, k, sizeof(*ids));
    const float *distances = array_of(&output.file[1], "<f4", rows, k, sizeof(*distances));
    for (size_t i = 0; i < rows * k; i++)
        if (ids[i] != right_ids[i] || memcmp(&distances[i], &right_distances[i], sizeof(float)) != 0)
            fail_msg("%s %s %zu x %zu, k %zu: row %zu, rank %zu: id %llu, %.9g instead of %llu, %.9g",
                     kith_metric_name(set->metric), kith_dtype_name(set->dtype), set->rows, set->dim, k, i / k, i % k,
                     (unsigned long long)ids[i], (double)distances[i], (unsigned long long)right_ids[i],
                     (double)right_distances[i]);
    output_free(&output);
}

/* A line against a row: small ids, so that an independent JSON reader can hold them. */
static void check_line(const char *line, uint64_t id, size_t k, const uint64_t *ids, const float *distances) {
    json_error_t why;
    json_t *row = json_loads(line, 0, &why);
    if (!row) fail_msg("%s: %s", line, why.text);
    size_t found = 0;
    while (found < k && ids[found] != KITH_ID_NONE) found++;
    assert_int_equal(json_object_size(row), 3);
    assert_int_equal(json_integer_value(json_object_get(row, "id")), id);
    assert_int_equal(json_array_size(json_object_get(row, "ids")), found);
    assert_int_equal(json_array_size(json_object_get(row, "distances")), found);
    for (size_t i = 0; i < found; i++) {
        assert_int_equal(json_integer_value(json_array_get(json_object_get(row, "ids"), i)), ids[i]);
        const float distance = (float)json_number_value(json_array_get(json_object_get(row, "distances"), i));
        if (distance < distances[i] || distance > distances[i]) fail_msg("%s: distance %zu", line, i);
    }
    json_decref(row);
}

static void check_lines(const char *out, size_t rows, const uint64_t *query_ids, size_t k, const uint64_t *ids,
                        const float *distances) {
    struct output output = output_read(out, KITH_JOIN_NDJSON);
    char *at = (char *)output.file[0].data;
    assert_non_null(at);
    for (size_t i = 0; i < rows; i++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = 0;
        check_line(at, query_ids ? query_ids[i] : i, k, ids + i * k, distances + i * k);
        at = end + 1;
    }
    assert_int_equal(*at, 0);
    output_free(&output);
}

/* Ids below 2^53, which other readers of JSON can hold. */
static void tame_ids(data_set *set) {
    for (size_t i = 0; i < set->rows && set->ids; i++)
        set->ids[i] = (set->ids[i] & 0xffffff) << 20 | (i * 7919) % 1048573;
}

static const struct {
    data_kind kind;
    kith_dtype dtype;
    kith_metric metric;
    size_t rows, dim;
    int with_ids;
} cases[] = {
    {DATA_NORMAL, KITH_F32, KITH_L2SQ, 90, 17, 0},    {DATA_CLUSTERED, KITH_F32, KITH_IP, 120, 32, 1},
    {DATA_NORMAL, KITH_F16, KITH_COSINE, 70, 24, 1},  {DATA_NORMAL, KITH_BF16, KITH_L2SQ, 70, 9, 0},
    {DATA_WHOLE, KITH_I8, KITH_L2SQ, 100, 16, 1},     {DATA_WHOLE, KITH_U8, KITH_COSINE, 100, 16, 0},
    {DATA_WHOLE, KITH_B1, KITH_HAMMING, 100, 64, 1},  {DATA_WHOLE, KITH_B1, KITH_JACCARD, 60, 24, 0},
    {DATA_DUPLICATES, KITH_F32, KITH_L2SQ, 80, 8, 1}, {DATA_EQUAL, KITH_F32, KITH_COSINE, 50, 8, 1},
    {DATA_TIES, KITH_F32, KITH_L2SQ, 90, 8, 0},       {DATA_NEAR_TIES, KITH_F32, KITH_IP, 60, 20, 1},
    {DATA_EQUAL, KITH_U8, KITH_L2SQ, 40, 8, 0},       {DATA_HUGE, KITH_F32, KITH_L2SQ, 40, 8, 1},
};
enum { CASES = sizeof(cases) / sizeof(*cases), QUERIES = 23 };

static data_set case_set(size_t i) {
    data_set set = data_make(cases[i].kind, cases[i].dtype, cases[i].metric, cases[i].rows, cases[i].dim, i + 1,
                             cases[i].with_ids);
    tame_ids(&set);
    return set;
}

static void test_queries_against_brute_force(void **state) {
    static const size_t ks[] = {1, 5, 70, 200};
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        data_set set = case_set(c);
        const char *path = data_path("queries.kith"), *out = data_path("queries");
        data_build(&set, path, NULL);
        kith_index *index = data_open(path);
        const kith_dtype dtype = set.dtype == KITH_B1 ? KITH_B1 : c % 2 ? set.dtype : KITH_F32;
        void *queries = data_queries(&set, cases[c].kind, dtype, QUERIES, c + 100);
        float *floats = take(set.dim, sizeof(*floats));
        for (size_t k = 0; k < 4; k++) {
            uint64_t *ids = take(QUERIES * ks[k], sizeof(*ids)), query_ids[QUERIES];
            float *distances = take(QUERIES * ks[k], sizeof(*distances));
            for (size_t i = 0; i < QUERIES; i++) {
                const void *query = (char *)queries + i * kith_row_bytes(dtype, set.dim);
                if (dtype != KITH_B1) data_floats(dtype, query, set.dim, floats);
                right_row(&set, dtype == KITH_B1 ? query : floats, NULL, SIZE_MAX, ks[k], ids + i * ks[k],
                          distances + i * ks[k]);
                query_ids[i] = 1000 - i * i;
            }
            kith_join_options options = KITH_JOIN_OPTIONS_INIT;
            options.k = ks[k];
            options.batch = k == 1 ? 4 : 0;
            kith_reader *reader = reader_of(queries, dtype, QUERIES, set.dim, k % 2 ? query_ids : NULL);
            good(index, reader, out, options);
            check_arrays(&set, out, QUERIES, ks[k], ids, distances);
            assert_int_equal(report.queries, QUERIES);
            assert_true(report.exact && !report.resumed && !*report.restarted);
            options.format = KITH_JOIN_NDJSON;
            good(index, reader, out, options);
            check_lines(out, QUERIES, k % 2 ? query_ids : NULL, ks[k], ids, distances);
            join_clean(out);
            kith_reader_close(reader);
            free(ids);
            free(distances);
        }
        free(floats);
        free(queries);
        kith_index_close(index);
        data_free(&set);
    }
}

static int compare_ids(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t row_of_id(const data_set *set, uint64_t id) {
    for (size_t i = 0; i < set->rows; i++)
        if (data_id(set, i) == id) return i;
    fail_msg("no id %llu", (unsigned long long)id);
    return 0;
}

static void check_self(const data_set *set, const kith_index *index, const kith_filter *filter, const char *allowed,
                       size_t k) {
    const char *out = data_path("self");
    uint64_t *ids = take(set->rows * k, sizeof(*ids)), *order = take(set->rows, sizeof(*order));
    float *distances = take(set->rows * k, sizeof(*distances)), *floats = take(set->dim, sizeof(*floats));
    for (size_t i = 0; i < set->rows; i++) order[i] = data_id(set, i);
    qsort(order, set->rows, sizeof(*order), compare_ids);
    for (size_t i = 0; i < set->rows; i++) {
        const size_t row = row_of_id(set, order[i]);
        if (set->dtype != KITH_B1) data_floats(set->dtype, data_row(set, row), set->dim, floats);
        right_row(set, set->dtype == KITH_B1 ? data_row(set, row) : floats, allowed, row, k, ids + i * k,
                  distances + i * k);
    }
    kith_join_options options = KITH_JOIN_OPTIONS_INIT;
    options.k = k;
    options.filter = filter;
    options.batch = k % 3 ? 7 : 0;
    options.threads = k % 2 ? 1 : 3;
    good(index, NULL, out, options);
    check_arrays(set, out, set->rows, k, ids, distances);
    options.format = KITH_JOIN_NDJSON;
    good(index, NULL, out, options);
    check_lines(out, set->rows, order, k, ids, distances);
    join_clean(out);
    free(ids);
    free(order);
    free(distances);
    free(floats);
}

static void test_self_join_against_brute_force(void **state) {
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        data_set set = case_set(c);
        const char *path = data_path("self.kith");
        data_build(&set, path, NULL);
        kith_index *index = data_open(path);
        check_self(&set, index, NULL, NULL, 1);
        check_self(&set, index, NULL, NULL, 6);
        check_self(&set, index, NULL, NULL, set.rows - 1);
        check_self(&set, index, NULL, NULL, set.rows + 20);
        kith_index_close(index);
        data_free(&set);
    }
}

static void test_filter(void **state) {
    (void)state;
    for (size_t c = 0; c < 7; c += 3) {
        data_set set = case_set(c);
        const char *path = data_path("filter.kith");
        data_build(&set, path, NULL);
        kith_index *index = data_open(path);
        uint64_t *ids = take(set.rows, sizeof(*ids));
        char *allowed = take(set.rows, 1);
        size_t count = 0;
        for (size_t i = 0; i < set.rows; i += 4) {
            allowed[i] = 1;
            ids[count++] = data_id(&set, i);
        }
        kith_filter *filter = NULL;
        assert_int_equal(kith_filter_create(index, ids, count, NULL, &filter, &error), KITH_OK);
        check_self(&set, index, filter, allowed, 5);
        check_self(&set, index, filter, allowed, count + 4);
        kith_filter_destroy(filter);
        kith_index_close(index);
        data_free(&set);
        free(ids);
        free(allowed);
    }
}

/* ---- Labels ------------------------------------------------------------------------------------------------------ */

static void test_string_ids(void **state) {
    static const char items[] = "{\"id\":\"b\",\"vector\":[1,0],\"name\":\"one\"}\n"
                                "{\"id\":\"a\\\"\\\\\\n\",\"vector\":[2,0],\"name\":\"two\"}\n"
                                "{\"id\":\"\xc3\xa9\",\"vector\":[4,0],\"name\":\"four\"}\n";
    static const char queries[] = "{\"id\":\"q \\\"1\\\"\",\"vector\":[0,0]}\n{\"id\":\"2\",\"vector\":[5,0.5]}\n";
    (void)state;
    const char *rows = data_path("items.jsonl"), *path = data_path("strings.kith"), *asked = data_path("queries.jsonl");
    spill(rows, items, strlen(items));
    spill(asked, queries, strlen(queries));
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_open(rows, NULL, &reader, &error), KITH_OK);
    assert_int_equal(kith_build(reader, path, NULL, NULL, &error), KITH_OK);
    kith_reader_close(reader);
    kith_index *index = data_open(path);
    assert_int_equal(kith_reader_open(asked, NULL, &reader, &error), KITH_OK);
    kith_join_options options = KITH_JOIN_OPTIONS_INIT;
    options.k = 2;
    const char *out = data_path("strings.ndjson");
    good(index, reader, out, options); /* by the suffix */
    struct bytes file = slurp(out);
    assert_string_equal(
        (char *)file.data,
        "{\"id\": \"q \\\"1\\\"\", \"ids\": [\"b\", \"a\\\"\\\\\\u000a\"], \"distances\": [1, 4]}\n"
        "{\"id\": \"2\", \"ids\": [\"\xc3\xa9\", \"a\\\"\\\\\\u000a\"], \"distances\": [1.25, 9.25]}\n");
    free(file.data);
    good(index, NULL, out, options);
    file = slurp(out);
    assert_string_equal((char *)file.data,
                        "{\"id\": \"b\", \"ids\": [\"a\\\"\\\\\\u000a\", \"\xc3\xa9\"], \"distances\": [1, 9]}\n"
                        "{\"id\": \"a\\\"\\\\\\u000a\", \"ids\": [\"b\", \"\xc3\xa9\"], \"distances\": [1, 4]}\n"
                        "{\"id\": \"\xc3\xa9\", \"ids\": [\"a\\\"\\\\\\u000a\", \"b\"], \"distances\": [4, 9]}\n");
    free(file.data);
    options.format = KITH_JOIN_NPY;
    good(index, reader, data_path("strings.npy"), options);
    struct output output = output_read(data_path("strings"), KITH_JOIN_NPY);
    const uint64_t expected[] = {0, 1, 2, 1};
    assert_memory_equal(array_of(&output.file[0], "<u8", 2, 2, 8), expected, sizeof(expected));
    output_free(&output);
    kith_reader_close(reader);
    kith_index_close(index);
}

/* ---- One output whatever the circumstances ----------------------------------------------------------------------- */

enum { ROWS = 260, DIM = 12, ASKED = 150 };

struct subject {
    data_set set;
    float *queries;
    kith_index *index;
    kith_reader *reader; /* NULL: a self-join */
    kith_join_options options;
    const char *out;
    struct output right;
};

static struct subject subject_make(int self, kith_join_format format) {
    static unsigned made;
    char name[32];
    struct subject s = {.options = KITH_JOIN_OPTIONS_INIT};
    kith_build_options build = KITH_BUILD_OPTIONS_INIT;
    build.lists = 8;
    build.no_calibration = 1;
    s.set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 77, 1);
    snprintf(name, sizeof(name), "subject%u.kith", made);
    data_build(&s.set, data_path(name), &build);
    s.index = data_open(data_path(name));
    s.queries = data_queries(&s.set, DATA_CLUSTERED, KITH_F32, ASKED, 78);
    if (!self) s.reader = reader_of(s.queries, KITH_F32, ASKED, DIM, NULL);
    s.options.k = 9;
    s.options.format = format;
    snprintf(name, sizeof(name), "subject%u", made++);
    s.out = strdup(data_path(name));
    good(s.index, s.reader, s.out, s.options);
    s.right = output_read(s.out, format);
    assert_non_null(s.right.file[0].data);
    join_clean(s.out);
    return s;
}

static void subject_free(struct subject *s) {
    join_clean(s->out);
    free((char *)s->out);
    output_free(&s->right);
    kith_reader_close(s->reader);
    kith_index_close(s->index);
    free(s->queries);
    data_free(&s->set);
}

static void check_output(const struct subject *s, const char *what) {
    struct output output = output_read(s->out, s->options.format);
    if (!output_same(&output, &s->right)) fail_msg("%s: another output", what);
    output_free(&output);
    assert_tidy(s->out);
    assert_int_equal(report.queries, s->reader ? ASKED : ROWS);
    join_clean(s->out);
}

#define FOR_EACH_SUBJECT(s)                                                                                            \
    for (int which_ = 0; which_ < 4; which_++)                                                                         \
        for (struct subject s = subject_make(which_ & 1, which_ & 2 ? KITH_JOIN_NDJSON : KITH_JOIN_NPY); s.out;        \
             subject_free(&s), s.out = NULL)

static void test_threads_and_batches(void **state) {
    static const size_t batches[] = {1, 7, 64, ASKED, 10000};
    (void)state;
    kith_pool *pool = NULL;
    assert_int_equal(kith_pool_create(2, &pool, &error), KITH_OK);
    FOR_EACH_SUBJECT(s) for (unsigned threads = 1; threads <= 3; threads++) for (size_t b = 0; b < 5; b++) {
        kith_join_options options = s.options;
        options.pool = threads == 2 ? pool : NULL;
        options.threads = threads;
        options.batch = batches[b];
        options.memory_bytes = b % 2 ? UINT64_C(16) << 20 : 0;
        options.checkpoint_ns = b == 1 ? 1 : 0;
        good(s.index, s.reader, s.out, options);
        check_output(&s, "threads and batches");
    }
    kith_pool_destroy(pool);
}

/* The ivf plan is approximate, and yet the same for all batches. */
static void test_batches_of_the_ivf_plan(void **state) {
    static const size_t batches[] = {1, 7, 64};
    (void)state;
    FOR_EACH_SUBJECT(s) {
        s.options.plan = KITH_PLAN_IVF;
        s.options.nprobe = 2;
        good(s.index, s.reader, s.out, s.options);
        assert_false(report.exact);
        assert_string_equal(report.plan_name, "ivf");
        output_free(&s.right);
        s.right = output_read(s.out, s.options.format);
        for (size_t b = 0; b < 3; b++) {
            s.options.batch = batches[b];
            s.options.threads = 1 + (unsigned)b;
            good(s.index, s.reader, s.out, s.options);
            check_output(&s, "ivf");
        }
    }
}

/* Memory and threads do not bear on what a target recall finds, though the planner looks at the size of a batch. */
static void test_target_recall(void **state) {
    (void)state;
    struct subject s = subject_make(0, KITH_JOIN_NPY);
    data_set many = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 3000, DIM, 4, 0);
    kith_build_options build = KITH_BUILD_OPTIONS_INIT;
    build.lists = 24;
    data_build(&many, data_path("tuned.kith"), &build);
    kith_index *index = data_open(data_path("tuned.kith"));
    s.options.target_recall = 0.9;
    s.options.batch = 64;
    good(index, s.reader, s.out, s.options);
    output_free(&s.right);
    s.right = output_read(s.out, KITH_JOIN_NPY);
    for (unsigned threads = 2; threads <= 3; threads++) {
        s.options.threads = threads;
        s.options.memory_bytes = UINT64_C(16) << (20 + threads);
        good(index, s.reader, s.out, s.options);
        check_output(&s, "target recall");
    }
    kith_index_close(index);
    data_free(&many);
    subject_free(&s);
}

struct stop {
    uint64_t after, calls, last;
    uint64_t done; /* not before so many queries were done */
};

static int stop_after(void *context, const kith_progress *progress) {
    struct stop *stop = context;
    assert_int_equal(progress->struct_size, sizeof(*progress));
    assert_string_equal(progress->unit, "queries");
    assert_true(progress->done <= progress->total);
    if (strcmp(progress->stage, "joining") == 0) {
        assert_true(progress->done >= stop->last);
        stop->last = progress->done;
    } else {
        assert_string_equal(progress->stage, "checking");
    }
    return stop->calls++ >= stop->after && progress->done >= stop->done;
}

/* Cancelled wherever it can be, again and again until it is through. */
static void test_cancelled_and_resumed(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) for (uint64_t after = 0; after < 30; after += 3) {
        unsigned cancelled = 0;
        uint64_t resumed = 0;
        for (;;) {
            struct stop stop = {.after = after + cancelled};
            s.options.batch = 20 + cancelled % 3;
            s.options.threads = 1 + cancelled % 2;
            s.options.progress = stop_after;
            s.options.progress_context = &stop;
            const kith_status status = join(s.index, s.reader, s.out, s.options);
            if (status == KITH_OK) break;
            assert_int_equal(status, KITH_E_CANCELLED);
            assert_false(exists(s.out, s.options.format == KITH_JOIN_NPY ? ".ids.npy" : ""));
            resumed = stop.last;
            assert_true(cancelled++ < 100);
        }
        assert_string_equal(report.restarted, "");
        assert_true(report.resumed >= resumed || cancelled == 0);
        check_output(&s, "cancelled");
    }
}

/* Do 60 queries in three batches, and stop. */
static void interrupt(struct subject *s) {
    struct stop stop = {.done = 60};
    kith_join_options options = s->options;
    options.batch = 20;
    options.progress = stop_after;
    options.progress_context = &stop;
    assert_int_equal(join(s->index, s->reader, s->out, options), KITH_E_CANCELLED);
    assert_true(exists(s->out, ".join"));
    assert_true(exists(s->out, ".part"));
}

static void test_restart_is_obeyed(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        interrupt(&s);
        kith_join_options options = s.options;
        options.restart = 1;
        good(s.index, s.reader, s.out, options);
        assert_int_equal(report.resumed, 0);
        assert_string_equal(report.restarted, "");
        check_output(&s, "restart");
    }
}

static void expect_restart(struct subject *s, const char *words) {
    good(s->index, s->reader, s->out, s->options);
    assert_int_equal(report.resumed, 0);
    if (!strstr(report.restarted, words)) fail_msg("'%s' does not say '%s'", report.restarted, words);
}

static void test_other_options_start_over(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        const kith_join_options before = s.options;
        interrupt(&s);
        s.options.k = 8;
        expect_restart(&s, "options");
        join_clean(s.out);
        s.options = before;
        interrupt(&s);
        s.options.plan = KITH_PLAN_IVF;
        expect_restart(&s, "options");
        join_clean(s.out);
        s.options = before;
        interrupt(&s);
        const uint64_t id = data_id(&s.set, 3);
        kith_filter *filter = NULL;
        assert_int_equal(kith_filter_create(s.index, &id, 1, NULL, &filter, &error), KITH_OK);
        s.options.filter = filter;
        expect_restart(&s, "options");
        kith_filter_destroy(filter);
        join_clean(s.out);
        s.options = before;
        /* The other format of the same name finds the state, and takes its place. */
        interrupt(&s);
        s.options.format = before.format == KITH_JOIN_NPY ? KITH_JOIN_NDJSON : KITH_JOIN_NPY;
        expect_restart(&s, "options");
        s.options = before;
        join_clean(s.out);
    }
}

static void test_another_index_starts_over(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        interrupt(&s);
        data_set other = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 99, 1);
        data_build(&other, data_path("other.kith"), NULL);
        kith_index *own = s.index;
        s.index = data_open(data_path("other.kith"));
        expect_restart(&s, "index");
        join_clean(s.out);
        kith_index_close(s.index);
        s.index = own;
        data_free(&other);
    }
}

/* Queries that were done are compared, every one; the others are free to change, but not their number. */
static void test_other_queries_start_over(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        if (!s.reader) continue;
        interrupt(&s);
        const float before = s.queries[14 * DIM + 5];
        s.queries[14 * DIM + 5] = before > 3 ? 1 : 5;
        expect_restart(&s, "queries");
        s.queries[14 * DIM + 5] = before;
        interrupt(&s);
        kith_reader *own = s.reader;
        s.reader = reader_of(s.queries, KITH_F32, ASKED - 1, DIM, NULL);
        expect_restart(&s, "queries");
        kith_reader_close(s.reader);
        s.reader = own;
        interrupt(&s);
        s.queries[(ASKED - 1) * DIM] = 3;
        good(s.index, s.reader, s.out, s.options);
        assert_true(report.resumed > 0);
    }
}

/* ---- Files that are not to be believed --------------------------------------------------------------------------- */

static void test_damaged_state_files(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        /* A bit of each byte flipped, then each other length, one byte too many last; the subjects take turns. */
        for (size_t i = (size_t)which_; i <= 2 * STATE_BYTES + 1; i += 4) {
            unsigned char bytes[STATE_BYTES + 1] = {0};
            size_t length = i < STATE_BYTES ? STATE_BYTES : i - STATE_BYTES;
            if (length == STATE_BYTES && i > STATE_BYTES) length = 0;
            interrupt(&s);
            struct bytes now = slurp(path_of(s.out, ".join"));
            assert_int_equal(now.bytes, STATE_BYTES);
            memcpy(bytes, now.data, STATE_BYTES);
            if (i < STATE_BYTES) bytes[i] ^= (unsigned char)(1u << i % 8);
            spill(path_of(s.out, ".join"), bytes, length);
            expect_restart(&s, i >= 8 && i < 12 ? "version" : "state file");
            check_output(&s, "damaged state");
            free(now.data);
        }
    }
}

/* With a right checksum but numbers that lie. */
static void test_hostile_state_files(void **state) {
    static const uint64_t lies[] = {0,         1,    61,         ASKED - 1,      ASKED,
                                    ASKED + 1, ROWS, UINT32_MAX, UINT64_MAX / 8, UINT64_MAX};
    (void)state;
    FOR_EACH_SUBJECT(s) for (size_t number = 0; number < 10; number++) for (size_t lie = 0; lie < 10; lie++) {
        interrupt(&s);
        struct bytes now = slurp(path_of(s.out, ".join"));
        ki_store_u64(now.data + 16 + 8 * number, lies[lie]);
        ki_store_u64(now.data + STATE_HASH_AT, XXH3_64bits(now.data, STATE_HASH_AT));
        spill(path_of(s.out, ".join"), now.data, now.bytes);
        free(now.data);
        /* It may be believed where the lie says less than was done, or about nothing that is looked at; a count of
         * queries or bytes within what is there cannot be told from the truth, but must do no harm. */
        good(s.index, s.reader, s.out, s.options);
        assert_int_equal(report.queries, s.reader ? ASKED : ROWS);
        join_clean(s.out);
    }
}

static void test_other_versions_of_the_state(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        interrupt(&s);
        struct bytes now = slurp(path_of(s.out, ".join"));
        ki_store_u32(now.data + 8, 2);
        ki_store_u64(now.data + STATE_HASH_AT, XXH3_64bits(now.data, STATE_HASH_AT));
        spill(path_of(s.out, ".join"), now.data, now.bytes);
        free(now.data);
        expect_restart(&s, "version");
        check_output(&s, "another version");
    }
}

static void test_part_files_are_missing_or_others(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) for (int way = 0; way < 4; way++) {
        interrupt(&s);
        const char *part = path_of(s.out, way % 2 && s.options.format == KITH_JOIN_NPY ? ".distances.part" : ".part");
        if (way < 2) {
            unlink(part);
        } else {
            assert_int_equal(truncate(part, 100), 0);
        }
        expect_restart(&s, ".part files");
        check_output(&s, "missing parts");
    }
}

static void test_two_at_once(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        interrupt(&s);
        struct bytes before = slurp(path_of(s.out, ".join"));
        const int fd = open(path_of(s.out, ".part"), O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
        refused(KITH_E_BUSY, "another process", s.index, s.reader, s.out, s.options);
        s.options.restart = 1;
        refused(KITH_E_BUSY, "another process", s.index, s.reader, s.out, s.options);
        s.options.restart = 0;
        close(fd);
        struct bytes after = slurp(path_of(s.out, ".join"));
        assert_int_equal(after.bytes, before.bytes);
        assert_memory_equal(after.data, before.data, before.bytes);
        free(before.data);
        free(after.data);
        good(s.index, s.reader, s.out, s.options);
        assert_true(report.resumed > 0);
        check_output(&s, "after the other one");
    }
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void test_bad_requests(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        const kith_join_options fine = s.options;
        kith_join_options o;
#define REFUSED(status, words, change) (o = fine, change, refused(status, words, s.index, s.reader, s.out, o))
        interrupt(&s);
        REFUSED(KITH_E_ARG, "k is 0", o.k = 0);
        REFUSED(KITH_E_ARG, "are possible", o.k = KITH_K_MAX + (s.reader != NULL));
        REFUSED(KITH_E_ARG, "format 3", o.format = (kith_join_format)3);
        REFUSED(KITH_E_ARG, "memory_bytes", o.memory_bytes = (16 << 20) - 1);
        REFUSED(KITH_E_ARG, "INIT", o.struct_size = 8);
        REFUSED(KITH_E_ARG, "plan 77", o.plan = (kith_plan)77);
        REFUSED(KITH_E_ARG, "target_recall", o.target_recall = 1.5);
        REFUSED(KITH_E_ARG, "target_recall", o.target_recall = -0.5);
        REFUSED(KITH_E_UNSUPPORTED, "second code", (o.plan = KITH_PLAN_IVF, o.code = KITH_SCAN_SECOND));
        REFUSED(KITH_E_LIMIT, "threads", o.threads = KITH_THREADS_MAX + 1);
        refused(KITH_E_ARG, "NULL", NULL, s.reader, s.out, fine);
        refused(KITH_E_ARG, "NULL", s.index, s.reader, NULL, fine);
        refused(KITH_E_ARG, "empty", s.index, s.reader, "", fine);
        refused(KITH_E_ARG, "not the name of a file", s.index, s.reader, data_path("x/"), fine);
        refused(KITH_E_NOTFOUND, "no/such", s.index, s.reader, data_path("no/such"), fine);
        /* None of them harmed what was done. */
        good(s.index, s.reader, s.out, fine);
        assert_true(report.resumed > 0);
        check_output(&s, "after bad requests");
    }
}

static void test_names_that_are_taken(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        const char *taken = path_of(s.out, s.options.format == KITH_JOIN_NPY ? ".ids.npy" : "");
        assert_int_equal(mkdir(taken, 0700), 0);
        refused(KITH_E_ARG, "not a regular file", s.index, s.reader, s.out, s.options);
        assert_int_equal(rmdir(taken), 0);
        assert_int_equal(symlink("/dev/null", path_of(s.out, ".part")), 0);
        assert_int_not_equal(join(s.index, s.reader, s.out, s.options), KITH_OK);
        join_clean(s.out);
        s.options.format = KITH_JOIN_NDJSON;
        data_build(&s.set, data_path("victim.kith"), NULL);
        kith_index *victim = data_open(data_path("victim.kith"));
        refused(KITH_E_ARG, "file of the vectors", victim, s.reader, data_path("victim.kith"), s.options);
        kith_index_close(victim);
    }
}

static void test_queries_are_not_replaced(void **state) {
    (void)state;
    struct subject s = subject_make(0, KITH_JOIN_NDJSON);
    const char *path = data_path("asked.jsonl");
    spill(path, "{\"vector\":[1,2,3,4,5,6,7,8,9,10,11,12]}\n", 41);
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_open(path, NULL, &reader, &error), KITH_OK);
    refused(KITH_E_ARG, "file of the queries", s.index, reader, path, s.options);
    kith_reader_close(reader);
    subject_free(&s);
}

static void test_queries_that_do_not_fit(void **state) {
    (void)state;
    struct subject s = subject_make(0, KITH_JOIN_NPY);
    kith_reader *reader = reader_of(s.queries, KITH_F32, 10, DIM - 1, NULL);
    refused(KITH_E_ARG, "11 dimensions", s.index, reader, s.out, s.options);
    kith_reader_close(reader);
    subject_free(&s);
}

static void test_bad_query_is_named_by_its_row(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) {
        if (!s.reader) continue;
        const float good_value = s.queries[101 * DIM + 3];
        s.queries[101 * DIM + 3] = (float)(0.0 / 0.0 * 1.0);
        s.options.batch = 20;
        refused(KITH_E_DATA, "row 101 holds a NaN", s.index, s.reader, s.out, s.options);
        assert_false(exists(s.out, ".ids.npy"));
        /* What came before it was kept, and serves once it is mended. */
        s.queries[101 * DIM + 3] = good_value;
        good(s.index, s.reader, s.out, s.options);
        assert_int_equal(report.resumed, 100);
        check_output(&s, "mended");
    }
    /* The row of the file, also where its first rows are left out. */
    struct subject s = subject_make(0, KITH_JOIN_NPY);
    char text[4096] = "";
    for (int i = 0; i < 9; i++) strcat(text, i == 7 ? "nan,0,0,0,0,0,0,0,0,0,0,0\n" : "1,0,0,0,0,0,0,0,0,0,0,0\n");
    spill(data_path("bad.csv"), text, strlen(text));
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    options.first_row = 5;
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_open(data_path("bad.csv"), &options, &reader, &error), KITH_OK);
    refused(KITH_E_DATA, "bad.csv: row 7 holds a NaN", s.index, reader, s.out, s.options);
    kith_reader_close(reader);
    subject_free(&s);
}

static void test_without_originals(void **state) {
    (void)state;
    struct subject s = subject_make(0, KITH_JOIN_NPY);
    kith_build_options build = KITH_BUILD_OPTIONS_INIT;
    build.originals = KITH_ORIGINALS_NONE;
    data_build(&s.set, data_path("codes.kith"), &build);
    kith_index *index = data_open(data_path("codes.kith"));
    refused(KITH_E_UNSUPPORTED, "without originals", index, NULL, s.out, s.options);
    good(index, s.reader, s.out, s.options);
    assert_false(report.exact);
    struct output whole = output_read(s.out, KITH_JOIN_NPY);
    s.options.batch = 11;
    s.options.threads = 2;
    good(index, s.reader, s.out, s.options);
    struct output parts = output_read(s.out, KITH_JOIN_NPY);
    assert_true(output_same(&whole, &parts));
    output_free(&whole);
    output_free(&parts);
    kith_index_close(index);
    subject_free(&s);
}

static void test_no_queries(void **state) {
    (void)state;
    struct subject s = subject_make(0, KITH_JOIN_NPY);
    kith_reader *reader = reader_of(s.queries, KITH_F32, 0, DIM, NULL);
    good(s.index, reader, s.out, s.options);
    struct output output = output_read(s.out, KITH_JOIN_NPY);
    array_of(&output.file[0], "<u8", 0, 9, 8);
    array_of(&output.file[1], "<f4", 0, 9, 4);
    output_free(&output);
    s.options.format = KITH_JOIN_NDJSON;
    good(s.index, reader, s.out, s.options);
    output = output_read(s.out, KITH_JOIN_NDJSON);
    assert_non_null(output.file[0].data);
    assert_int_equal(output.file[0].bytes, 0);
    output_free(&output);
    kith_reader_close(reader);
    subject_free(&s);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void test_memory_refused(void **state) {
    (void)state;
    FOR_EACH_SUBJECT(s) for (int for_good = 0; for_good < 2; for_good++) {
        long refusals = 0;
        s.options.batch = 40;
        s.options.checkpoint_ns = 1;
        for (long number = 0, asked = 0; asked >= number; number++) { /* until a number is not reached */
            faulty_malloc_start(number, for_good);
            const kith_status status = join(s.index, s.reader, s.out, s.options);
            asked = faulty_malloc_stop();
            if (status != KITH_OK && status != KITH_E_NOMEM) fail_msg("allocation %ld: %s", number, error.text);
            refusals += status != KITH_OK;
            if (status != KITH_OK) good(s.index, s.reader, s.out, s.options);
            check_output(&s, "memory was refused");
            assert_true(number < 5000);
        }
        assert_true(refusals > 10);
    }
}

/* Twice the queries take no more memory. */
static void test_memory_is_bounded(void **state) {
    enum { MANY = 40000, LITTLE = 8 };
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 40, LITTLE, 5, 0);
    data_build(&set, data_path("little.kith"), NULL);
    kith_index *index = data_open(data_path("little.kith"));
    float *queries = take(MANY * LITTLE, sizeof(*queries));
    for (size_t i = 0; i < MANY * LITTLE; i++) queries[i] = (float)(i % 97);
    kith_join_options options = KITH_JOIN_OPTIONS_INIT;
    options.k = 30;
    options.memory_bytes = 16 << 20;
    options.batch = 1000;
    options.threads = 1;
    long peak[2];
    for (size_t i = 0; i < 2; i++) {
        kith_reader *reader = reader_of(queries, KITH_F32, MANY / 2 * (i + 1), LITTLE, NULL);
        faulty_malloc_start(-1, 0);
        assert_int_equal(kith_join(index, reader, data_path("little"), &options, NULL, &error), KITH_OK);
        faulty_malloc_stop();
        peak[i] = atomic_load(&faulty_peak);
        kith_reader_close(reader);
    }
    assert_true(peak[1] <= peak[0] + 65536);
    free(queries);
    kith_index_close(index);
    data_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries_against_brute_force),
        cmocka_unit_test(test_self_join_against_brute_force),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_string_ids),
        cmocka_unit_test(test_threads_and_batches),
        cmocka_unit_test(test_batches_of_the_ivf_plan),
        cmocka_unit_test(test_target_recall),
        cmocka_unit_test(test_cancelled_and_resumed),
        cmocka_unit_test(test_restart_is_obeyed),
        cmocka_unit_test(test_other_options_start_over),
        cmocka_unit_test(test_another_index_starts_over),
        cmocka_unit_test(test_other_queries_start_over),
        cmocka_unit_test(test_damaged_state_files),
        cmocka_unit_test(test_hostile_state_files),
        cmocka_unit_test(test_other_versions_of_the_state),
        cmocka_unit_test(test_part_files_are_missing_or_others),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_names_that_are_taken),
        cmocka_unit_test(test_queries_are_not_replaced),
        cmocka_unit_test(test_queries_that_do_not_fit),
        cmocka_unit_test(test_bad_query_is_named_by_its_row),
        cmocka_unit_test(test_without_originals),
        cmocka_unit_test(test_no_queries),
        cmocka_unit_test(test_memory_refused),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
