/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a collection: whatever was appended, cut off and published, and whichever rows live or lack a vector, a
 * search returns the very keys and distance bits that kith_distance() of every pair and a sort give, on ordinary and on
 * hostile data, while rows are still being appended, and when memory for coding is refused. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "head/head.h"
#include "support/data.h"
#include "support/faulty_malloc.h"

enum { QUERIES = 40, OTHER_DIM = 8 };

/* A set of rows that are appended one after the other, as the first of two names. */
struct subject {
    data_set set;
    data_kind kind;
    uint8_t *present; /* one a row */
    ki_head *head;
    void *queries;
    size_t query_bytes;
    data_hit *expected;
    char *allowed;
    ki_hit *hits;
    ki_desk *desk;
    ki_area area;
    ki_rng rng;
    uint64_t scanned; /* rows that searches scanned by their codes */
};

static void start(struct subject *s, data_kind kind, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim,
                  unsigned absent_of_8, uint64_t seed) {
    *s = (struct subject){.kind = kind, .rng = {seed}};
    s->set = data_make(kind, dtype, metric, rows, dim, seed, 1);
    s->queries = data_queries(&s->set, kind, dtype == KITH_B1 ? KITH_B1 : KITH_F32, QUERIES, seed + 1);
    s->query_bytes = dtype == KITH_B1 ? s->set.row_bytes : dim * sizeof(float);
    s->present = malloc(rows);
    s->allowed = malloc(rows);
    s->expected = malloc(rows * sizeof(*s->expected));
    s->hits = malloc(QUERIES * (rows + 3) * sizeof(*s->hits));
    s->desk = ki_desk_create();
    assert_true(s->present && s->allowed && s->expected && s->hits && s->desk);
    for (size_t i = 0; i < rows; i++) s->present[i] = ki_rng_below(&s->rng, 8) >= absent_of_8;
    const kith_vector_spec specs[2] = {{"first", dim, dtype, metric}, {"other", OTHER_DIM, KITH_F32, KITH_L2SQ}};
    assert_int_equal(ki_head_create(specs, 2, NULL, rows + 40, &s->head, NULL), KITH_OK);
}

static void finish(struct subject *s) {
    ki_head_release(s->head);
    ki_desk_destroy(s->desk);
    free(s->area.data);
    free(s->hits);
    free(s->expected);
    free(s->allowed);
    free(s->present);
    free(s->queries);
    data_free(&s->set);
}

static void append_one(struct subject *s, size_t row, uint64_t key, int present) {
    const float other[OTHER_DIM] = {(float)row};
    const void *const vectors[2] = {present ? data_row(&s->set, row) : NULL, other};
    const ki_head_row given = {.key = key, .version = row + 1, .vectors = vectors};
    kith_error error;
    assert_int_equal(ki_head_append(s->head, &given, &error), KITH_OK);
}

static void append(struct subject *s, size_t count) {
    while (ki_head_count(s->head) < count) {
        const size_t row = ki_head_count(s->head);
        append_one(s, row, data_id(&s->set, row), s->present[row]);
    }
}

/* Rows that nobody sees, and that are cut off again. */
static void append_in_vain(struct subject *s) {
    const size_t count = ki_head_count(s->head), more = ki_rng_below(&s->rng, 40);
    for (size_t i = 0; i < more; i++)
        append_one(s, ki_rng_below(&s->rng, s->set.rows), ki_rng_next(&s->rng), i % 5 != 0);
    ki_head_cut(s->head, count);
    assert_int_equal(ki_head_count(s->head), count);
}

/* Rows of the first `count` that live: about live_of_64 in 64 of them. */
static ki_bits *choose_live(struct subject *s, size_t count, unsigned live_of_64) {
    ki_bits *live = ki_bits_create(count, 1);
    assert_non_null(live);
    for (size_t i = 0; i < count; i++)
        if (ki_rng_below(&s->rng, 64) >= live_of_64) ki_bits_clear(live, i);
    return live;
}

static void check_hits(const struct subject *s, size_t query, size_t k, size_t found) {
    const size_t all =
        data_reference(&s->set, (const char *)s->queries + query * s->query_bytes, s->allowed, s->expected);
    assert_int_equal(found, all < k ? all : k);
    for (size_t i = 0; i < found; i++) {
        const ki_hit *hit = &s->hits[query * k + i];
        assert_int_equal(hit->label, s->expected[i].id);
        assert_int_equal(hit->position, s->expected[i].row);
        assert_memory_equal(&hit->distance, &s->expected[i].distance, sizeof(float));
    }
}

static void check_search(struct subject *s, size_t count, const ki_bits *live, size_t queries, size_t k) {
    size_t found[QUERIES];
    ki_counts counts = {0};
    atomic_int stop = 0;
    const ki_head_search search = {.head = s->head,
                                   .count = count,
                                   .live = live,
                                   .queries = s->queries,
                                   .query_count = queries,
                                   .k = k,
                                   .limits = {.stop = &stop},
                                   .desk = s->desk,
                                   .area = &s->area,
                                   .counts = &counts};
    assert_int_equal(ki_head_run(&search, s->hits, found, NULL), KITH_OK);
    for (size_t i = 0; i < s->set.rows; i++)
        s->allowed[i] = i < count && s->present[i] && (!live || ki_bits_get(live, i));
    for (size_t q = 0; q < queries; q++) check_hits(s, q, k, found[q]);
    s->scanned += counts.scanned_rows;
}

/* Searches of what is there now. */
static void check_state(struct subject *s, size_t count) {
    check_search(s, count, NULL, 1, 1);
    check_search(s, count, NULL, 9, 10);
    ki_bits *some = choose_live(s, count, 50), *few = choose_live(s, count, 2);
    check_search(s, count, some, 1, 10);
    check_search(s, count, some, QUERIES, 3);
    check_search(s, count, few, 2, 5);
    check_search(s, count, some, 1, count + 3);
    ki_bits_release(some);
    ki_bits_release(few);
}

static void check_kind(data_kind kind, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim, unsigned absent,
                       uint64_t seed) {
    struct subject s;
    start(&s, kind, dtype, metric, rows, dim, absent, seed);
    for (size_t count = 1; count < rows; count += rows / 4 + ki_rng_below(&s.rng, 40)) {
        append(&s, count);
        append_in_vain(&s);
        check_state(&s, count);
    }
    append(&s, rows);
    check_state(&s, rows - rows / 3); /* readers of older states */
    check_state(&s, rows);
    if (dtype != KITH_B1 && !absent) assert_true(s.scanned > 0);
    if (dtype == KITH_B1) assert_int_equal(s.scanned, 0);
    finish(&s);
}

/* ---- Every kind of data ------------------------------------------------------------------------------------------ */

static void test_every_kind_metric_and_dtype(void **state) {
    static const kith_dtype dtypes[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8};
    static const size_t dims[] = {3, 64, 65, 100};
    uint64_t seed = 0;
    (void)state;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++, seed++)
            check_kind((data_kind)kind, dtypes[(seed + seed / 5) % 5], (kith_metric)metric, 300 + 60 * (seed % 4),
                       dims[seed % 4], seed % 3 ? 0 : 2, seed);
}

static void test_every_dtype(void **state) {
    (void)state;
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
        for (int dtype = KITH_F32; dtype <= KITH_U8; dtype++) {
            check_kind(DATA_CLUSTERED, (kith_dtype)dtype, (kith_metric)metric, 400, 40, 0, 77);
            check_kind(DATA_TIES, (kith_dtype)dtype, (kith_metric)metric, 400, 24, 1, 78);
        }
}

static void test_bits(void **state) {
    (void)state;
    check_kind(DATA_NORMAL, KITH_B1, KITH_HAMMING, 500, 72, 0, 1);
    check_kind(DATA_NORMAL, KITH_B1, KITH_JACCARD, 500, 8, 2, 2);
    check_kind(DATA_SPARSE, KITH_B1, KITH_JACCARD, 300, 1000, 0, 3);
}

/* So many rows that a scan guesses thresholds, and enough words of bits. */
static void test_many_rows(void **state) {
    struct subject s;
    (void)state;
    start(&s, DATA_CLUSTERED, KITH_F32, KITH_COSINE, 10000, 24, 0, 5);
    append(&s, 10000);
    check_search(&s, 9999, NULL, 3, 10);
    check_search(&s, 8200, NULL, 1, 1);
    finish(&s);
    start(&s, DATA_NORMAL, KITH_F32, KITH_IP, 9000, 16, 1, 6);
    append(&s, 9000);
    check_search(&s, 9000, NULL, 3, 10);
    finish(&s);
}

/* ---- Memory refused ---------------------------------------------------------------------------------------------- */

/* Coding is given up when its memory is refused, and the rows are found all the same. */
static void test_refused_memory(void **state) {
    (void)state;
    for (long number = 0; number < 12; number++) {
        struct subject s;
        start(&s, DATA_NORMAL, KITH_F32, KITH_L2SQ, 300, 20, 0, 9);
        append(&s, 255);
        const void *const vectors[2] = {data_row(&s.set, 255), NULL};
        const ki_head_row row = {.key = data_id(&s.set, 255), .vectors = vectors};
        faulty_malloc_start(number, 1);
        const kith_status status = ki_head_append(s.head, &row, NULL);
        faulty_malloc_stop();
        assert_true(status == KITH_OK || status == KITH_E_NOMEM);
        assert_int_equal(ki_head_count(s.head), status == KITH_OK ? 256 : 255);
        check_state(&s, ki_head_count(s.head));
        append(&s, 300);
        check_state(&s, 300);
        finish(&s);
    }
}

/* ---- Readers beside the writer ----------------------------------------------------------------------------------- */

enum { SHARED_ROWS = 700, READERS = 2 };

struct shared {
    struct subject s;
    _Atomic size_t published;
    float distance[SHARED_ROWS]; /* of query 0 */
    atomic_int wrong;
};

/* Whether the answer to query 0 is the k nearest of the first `count` rows. */
static int is_right(const struct shared *shared, size_t count, const ki_hit *hits, size_t found, size_t k) {
    if (found != (count < k ? count : k)) return 0;
    size_t nearer = 0;
    for (size_t i = 0; i < count; i++) {
        const ki_hit row = {.distance = shared->distance[i], .label = data_id(&shared->s.set, i)};
        nearer += ki_hit_before(&row, &hits[found - 1]);
    }
    for (size_t i = 0; i < found; i++)
        if (hits[i].position >= count || hits[i].distance != shared->distance[hits[i].position]) return 0;
    return nearer == found - 1;
}

static void *read_on(void *context) {
    enum { K = 7 };
    struct shared *shared = context;
    ki_desk *desk = ki_desk_create();
    ki_area area = {0};
    size_t count = 0;
    while (count < SHARED_ROWS && !atomic_load(&shared->wrong)) {
        count = atomic_load_explicit(&shared->published, memory_order_acquire);
        if (!count) continue;
        ki_hit hits[K];
        size_t found;
        ki_counts counts = {0};
        atomic_int stop = 0;
        const ki_head_search search = {.head = shared->s.head,
                                       .count = count,
                                       .queries = shared->s.queries,
                                       .query_count = 1,
                                       .k = K,
                                       .limits = {.stop = &stop},
                                       .desk = desk,
                                       .area = &area,
                                       .counts = &counts};
        uint32_t serial;
        const uint64_t key = data_id(&shared->s.set, count / 2);
        if (ki_head_run(&search, hits, &found, NULL) != KITH_OK || !is_right(shared, count, hits, found, K) ||
            !ki_head_find(shared->s.head, count, key, &serial) || serial != count / 2 ||
            ki_head_row_at(shared->s.head, serial).key != key)
            atomic_store(&shared->wrong, 1);
    }
    free(area.data);
    ki_desk_destroy(desk);
    return NULL;
}

static void check_readers(kith_metric metric) {
    static struct shared shared;
    pthread_t reader[READERS];
    atomic_store(&shared.published, 0);
    atomic_store(&shared.wrong, 0);
    start(&shared.s, DATA_NORMAL, KITH_F32, metric, SHARED_ROWS, 48, 0, 11);
    for (size_t i = 0; i < SHARED_ROWS; i++)
        assert_int_equal(
            kith_distance(metric, KITH_F32, 48, shared.s.queries, data_row(&shared.s.set, i), &shared.distance[i]),
            KITH_OK);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_create(&reader[i], NULL, read_on, &shared), 0);
    for (size_t count = 0; count < SHARED_ROWS;) {
        count = count + 1 + ki_rng_below(&shared.s.rng, 9);
        if (count > SHARED_ROWS) count = SHARED_ROWS;
        append_in_vain(&shared.s);
        append(&shared.s, count);
        atomic_store_explicit(&shared.published, count, memory_order_release);
    }
    for (int i = 0; i < READERS; i++) pthread_join(reader[i], NULL);
    assert_int_equal(atomic_load(&shared.wrong), 0);
    finish(&shared.s);
}

static void test_readers_beside_the_writer(void **state) {
    (void)state;
    check_readers(KITH_L2SQ);
    check_readers(KITH_COSINE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_metric_and_dtype),
        cmocka_unit_test(test_every_dtype),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
