/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of searching share: an index of made-up vectors with its queries and right answers, and requests that are
 * held against these by every plan. Include after cmocka.h, in one source of a program. */
#ifndef TESTS_SUPPORT_SUBJECT_H
#define TESTS_SUPPORT_SUBJECT_H

#include "support/data.h"
#include "support/faulty_malloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { THREADS_MAX = 3, DISTINCT = 14, BATCH_MAX = 500 };

static const kith_dtype number_dtypes[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8};
enum { NUMBER_DTYPES = sizeof(number_dtypes) / sizeof(*number_dtypes) };

static kith_pool *pools[THREADS_MAX + 1]; /* by threads; [1]: NULL */
static int quick;                         /* KITH_TEST_QUICK is set, as under an emulator: one request of six is made */
static int slow;                          /* the scalar tier and sanitizers get smaller sizes */

/* One index, some queries and the right answers. */
struct subject {
    data_set set;
    data_kind kind;
    kith_dtype query_dtype;
    kith_index *index;
    kith_index_info info;
    kith_scratch *scratch[THREADS_MAX + 1];
    size_t distinct;
    unsigned char *queries; /* distinct x kith_row_bytes(query_dtype, dim) */
    data_hit *hits;         /* distinct x rows, sorted */
    char *allowed;          /* a row each; with a filter */
    kith_filter *filter;
};

struct request {
    kith_plan plan;
    size_t batch, k, stride;
    unsigned threads;
    float radius; /* k == 0 */
    int filtered;
    size_t nprobe, rerank; /* plan IVF */
    kith_scan_code code;
};

static kith_error error;
/* Of the indexes that subject_make() builds. */
static size_t subject_lists = 1;
static kith_index_type subject_type = KITH_INDEX_AUTO;
static const char *subject_code = NULL;

static inline void *take(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static inline struct subject subject_make(data_kind kind, kith_metric metric, kith_dtype dtype, kith_dtype query_dtype,
                                          size_t rows, size_t dim, size_t distinct, uint64_t seed) {
    struct subject s = {.kind = kind, .query_dtype = query_dtype, .info = KITH_INDEX_INFO_INIT, .distinct = distinct};
    const size_t query_bytes = kith_row_bytes(query_dtype, dim);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    /* Learning hundreds of directions from a handful of wide rows takes longer than all the searches. */
    options.first_level = dim < 384 || rows == 16 || rows >= 300 ? KITH_FIRST_LEVEL_ON : KITH_FIRST_LEVEL_NONE;
    options.lists = subject_lists;
    options.index = subject_type;
    options.code = subject_code;
    options.no_calibration = 1;
    s.set = data_make(kind, dtype, metric, rows, dim, seed, seed % 3 != 0);
    data_build(&s.set, data_path("search.kith"), &options);
    s.index = data_open(data_path("search.kith"));
    kith_index_get_info(s.index, &s.info);
    for (unsigned t = 1; t <= THREADS_MAX; t++)
        assert_int_equal(kith_scratch_create(s.index, pools[t], &s.scratch[t], &error), KITH_OK);
    s.queries = data_queries(&s.set, kind, query_dtype, distinct, seed + 1000);
    s.hits = take(distinct * rows, sizeof(data_hit));
    float *floats = take(dim, sizeof(float));
    for (size_t i = 0; i < distinct; i++) {
        const void *query = s.queries + i * query_bytes;
        if (query_dtype != KITH_B1) data_floats(query_dtype, query, dim, floats);
        data_reference(&s.set, query_dtype == KITH_B1 ? query : floats, NULL, s.hits + i * rows);
    }
    free(floats);
    return s;
}

static inline void subject_free(struct subject *s) {
    kith_filter_destroy(s->filter);
    for (unsigned t = 1; t <= THREADS_MAX; t++) kith_scratch_destroy(s->scratch[t]);
    kith_index_close(s->index);
    data_free(&s->set);
    free(s->queries);
    free(s->hits);
    free(s->allowed);
}

/* Allow the rows for which (row * 7 + row / 5) % every is 0; every == 0: none. */
static inline void set_filter(struct subject *s, size_t every) {
    kith_filter_destroy(s->filter);
    free(s->allowed);
    s->allowed = take(s->set.rows, 1);
    uint64_t *ids = take(s->set.rows + 3, sizeof(*ids));
    size_t count = 0, unknown = 0, right = 0;
    for (size_t i = 0; i < s->set.rows && every; i++) {
        if ((i * 7 + i / 5) % every) continue;
        s->allowed[i] = 1;
        right++;
        ids[count++] = data_id(&s->set, i);
    }
    if (count) ids[count++] = ids[0]; /* twice the same one, and two that are not there */
    ids[count++] = UINT64_MAX;
    ids[count++] = UINT64_MAX - 5;
    assert_int_equal(kith_filter_create(s->index, ids, count, &unknown, &s->filter, &error), KITH_OK);
    assert_int_equal(unknown, 2);
    assert_int_equal(kith_filter_count(s->filter), right);
    free(ids);
}

static inline void fail_request(const struct subject *s, const struct request *r, size_t query, size_t rank,
                                const char *what) {
    fail_msg(
        "%s, %s, %s: %zu x %zu, plan %d, k %zu, radius %.9g, batch %zu, %u threads, filter %d: query %zu, rank %zu: "
        "%s",
        data_kind_name(s->kind), kith_metric_name(s->set.metric), kith_dtype_name(s->set.dtype), s->set.rows,
        s->set.dim, (int)r->plan, r->k, (double)r->radius, r->batch, r->threads, r->filtered, query, rank, what);
}

/* The answer of one query against the reference. */
static inline void compare(const struct subject *s, const struct request *r, size_t query, const uint64_t *ids,
                           const float *distances, size_t count) {
    const data_hit *hits = s->hits + query % s->distinct * s->set.rows;
    size_t rank = 0;
    for (size_t i = 0; i < s->set.rows && (r->k == 0 || rank < r->k); i++) {
        if (r->filtered && !s->allowed[hits[i].row]) continue;
        if (r->k == 0 && !(hits[i].distance <= r->radius)) break;
        if (rank >= count) fail_request(s, r, query, rank, "missing");
        if (ids[rank] != hits[i].id) fail_request(s, r, query, rank, "another id");
        if (memcmp(&distances[rank], &hits[i].distance, sizeof(float)) != 0)
            fail_request(s, r, query, rank, "other distance bits");
        rank++;
    }
    if (r->k == 0 && rank != count) fail_request(s, r, query, rank, "too many");
    for (; rank < count; rank++)
        if (ids[rank] != KITH_ID_NONE || distances[rank] != INFINITY) fail_request(s, r, query, rank, "no filler");
}

static inline kith_queries repeat_queries(const struct subject *s, const struct request *r, unsigned char **memory) {
    const size_t bytes = kith_row_bytes(s->query_dtype, s->set.dim), stride = r->stride ? r->stride : bytes;
    kith_queries queries = KITH_QUERIES_INIT;
    *memory = take(r->batch * stride + 1, 1);
    memset(*memory, 0xff, r->batch * stride); /* between strided rows lie NaNs */
    for (size_t i = 0; i < r->batch; i++) memcpy(*memory + i * stride, s->queries + i % s->distinct * bytes, bytes);
    queries.data = *memory;
    queries.dtype = s->query_dtype;
    queries.count = r->batch;
    queries.dim = s->set.dim;
    queries.stride_bytes = r->stride;
    return queries;
}

static inline void check(const struct subject *s, struct request r) {
    unsigned char *memory;
    const kith_queries queries = repeat_queries(s, &r, &memory);
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    if (r.threads == 0) r.threads = 1;
    options.plan = r.plan;
    options.filter = r.filtered ? s->filter : NULL;
    options.nprobe = r.nprobe;
    options.rerank = r.rerank;
    options.code = r.code;
    if (r.k) {
        uint64_t *ids = take(r.batch * r.k, sizeof(*ids));
        float *distances = take(r.batch * r.k, sizeof(*distances));
        if (kith_search(s->index, &queries, r.k, &options, s->scratch[r.threads], ids, distances, &error) != KITH_OK)
            fail_request(s, &r, 0, 0, error.text);
        for (size_t i = 0; i < r.batch; i++) compare(s, &r, i, ids + i * r.k, distances + i * r.k, r.k);
        free(ids);
        free(distances);
    } else {
        kith_ranges ranges = {0};
        if (kith_search_range(s->index, &queries, r.radius, &options, s->scratch[r.threads], &ranges, &error) !=
            KITH_OK)
            fail_request(s, &r, 0, 0, error.text);
        assert_int_equal(ranges.queries, r.batch);
        assert_int_equal(ranges.offsets[0], 0);
        for (size_t i = 0; i < r.batch; i++)
            compare(s, &r, i, ranges.ids + ranges.offsets[i], ranges.distances + ranges.offsets[i],
                    (size_t)(ranges.offsets[i + 1] - ranges.offsets[i]));
    }
    free(memory);
}

/* The request by every plan that the index has. */
static inline void check_plans(const struct subject *s, struct request r) {
    static unsigned requests;
    if (requests++ % 6 && quick) return;
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_GATHER; plan++) {
        if (plan == KITH_PLAN_SCAN && s->set.dtype == KITH_B1) continue;
        if (plan == KITH_PLAN_LEVELS && !s->info.first_level_dim) continue;
        if (plan == KITH_PLAN_GATHER && !r.filtered) continue;
        r.plan = (kith_plan)plan;
        check(s, r);
    }
}

static inline int set_up(void **state) {
    kith_cpu cpu = KITH_CPU_INIT;
    if (kith_cpu_info(&cpu, &error) != KITH_OK) return -1;
    quick = getenv("KITH_TEST_QUICK") != NULL;
    slow = quick || strcmp(cpu.tier, "scalar") == 0;
#ifdef FAULTY_SANITIZED
    slow = 1;
#endif
    for (unsigned t = 2; t <= THREADS_MAX; t++)
        if (kith_pool_create(t, &pools[t], &error) != KITH_OK) return -1;
    return data_folder_make(state);
}

/* A check of every kind of data by every metric and type of numbers, of six dimensions in turn. */
static inline void each_kind(const size_t dims[6], void (*check_kind)(data_kind kind, kith_metric metric,
                                                                      kith_dtype dtype, size_t dim, uint64_t seed)) {
    uint64_t seed = 0;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            for (size_t t = 0; t < NUMBER_DTYPES; t++, seed++)
                check_kind((data_kind)kind, (kith_metric)metric, number_dtypes[t], dims[(seed + seed / 6) % 6], seed);
}

static inline int tear_down(void **state) {
    for (unsigned t = 2; t <= THREADS_MAX; t++) kith_pool_destroy(pools[t]);
    return data_folder_remove(state);
}

#endif
