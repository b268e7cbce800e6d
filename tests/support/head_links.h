/* SPDX-License-Identifier: Apache-2.0
 *
 * A head of rows of few real dimensions, linked and searched, for tests of its links. Include after cmocka.h, in one
 * source of a program. */
#ifndef TESTS_SUPPORT_HEAD_LINKS_H
#define TESTS_SUPPORT_HEAD_LINKS_H

#include "base/rng.h"
#include "head/head.h"

#include <stdlib.h>
#include <string.h>

enum { DIM_MOST = 1000, ROOM = 2000, RANK = 6, QUERIES = 25 };

static atomic_int never; /* stops */

/* A head, and which rows of it live. */
struct subject {
    kith_dtype dtype;
    size_t dim;
    ki_head *head;
    ki_bits *live;
    float (*axes)[DIM_MOST];
    ki_rng rng;
    ki_desk *desk;
    ki_hnsw_searcher *walker;
    ki_area area;
};

static inline void make_row(struct subject *s, float *row) {
    float z[RANK];
    for (size_t r = 0; r < RANK; r++) z[r] = (float)ki_rng_normal(&s->rng);
    for (size_t j = 0; j < s->dim; j++) {
        row[j] = 0;
        for (size_t r = 0; r < RANK; r++) row[j] += z[r] * s->axes[r][j];
    }
}

/* The row's key is its serial: a new key each time. */
static inline void append(struct subject *s, size_t rows) {
    float row[DIM_MOST];
    uint8_t bits[DIM_MOST / 8];
    for (size_t i = 0; i < rows; i++) {
        make_row(s, row);
        for (size_t j = 0; j < s->dim; j++)
            bits[j / 8] = (uint8_t)(bits[j / 8] & ~(1U << j % 8)) | (uint8_t)((row[j] > 0) << j % 8);
        const void *const vector = s->dtype == KITH_B1 ? (const void *)bits : row;
        const uint64_t key = UINT64_C(1000000) - ki_head_count(s->head);
        const ki_head_row given = {.key = key, .vectors = &vector};
        assert_int_equal(ki_head_append(s->head, &given, NULL), KITH_OK);
    }
    ki_bits *longer = s->live ? ki_bits_longer(s->live, ki_head_count(s->head)) : ki_bits_create(rows, 1);
    assert_non_null(longer);
    ki_bits_release(s->live);
    s->live = longer;
}

static inline void start(struct subject *s, kith_dtype dtype, kith_metric metric, size_t dim, size_t rows,
                         uint64_t seed) {
    const kith_vector_spec spec = {"", dim, dtype, metric};
    *s = (struct subject){.dtype = dtype, .dim = dim, .rng = {seed}};
    s->axes = malloc(RANK * sizeof(*s->axes));
    s->desk = ki_desk_create();
    s->walker = ki_hnsw_searcher_create();
    assert_true(s->axes && s->desk && s->walker);
    for (size_t r = 0; r < RANK; r++)
        for (size_t j = 0; j < dim; j++) s->axes[r][j] = (float)ki_rng_normal(&s->rng);
    assert_int_equal(ki_head_create(&spec, 1, NULL, ROOM, &s->head, NULL), KITH_OK);
    append(s, rows);
}

static inline void finish(struct subject *s) {
    ki_head_release(s->head);
    ki_bits_release(s->live);
    ki_desk_destroy(s->desk);
    ki_hnsw_searcher_destroy(s->walker);
    free(s->area.data);
    free(s->axes);
}

static inline void link_all(struct subject *s) {
    assert_int_equal(ki_head_link(s->head, 0, ki_head_count(s->head), s->live, &never, NULL), KITH_OK);
}

/* Another set with about a share of the rows of one. */
static inline ki_bits *some_of(struct subject *s, const ki_bits *bits, double share) {
    ki_bits *some = ki_bits_copy(bits);
    assert_non_null(some);
    for (size_t i = 0; i < bits->rows; i++)
        if (ki_rng_unit(&s->rng) >= share) ki_bits_clear(some, i);
    return some;
}

static inline size_t search(struct subject *s, const ki_bits *live, const float *query, size_t k, double target,
                            ki_hit *hits, uint64_t *visited) {
    uint8_t bits[DIM_MOST / 8] = {0};
    for (size_t j = 0; j < s->dim && s->dtype == KITH_B1; j++) bits[j / 8] |= (uint8_t)((query[j] > 0) << j % 8);
    ki_counts counts = {0};
    atomic_int stop = 0;
    size_t found = 0;
    const ki_head_search asked = {.head = s->head,
                                  .count = (size_t)live->rows,
                                  .live = live,
                                  .queries = s->dtype == KITH_B1 ? (const void *)bits : query,
                                  .query_count = 1,
                                  .k = k,
                                  .limits = {.stop = &stop},
                                  .desk = s->desk,
                                  .area = &s->area,
                                  .counts = &counts,
                                  .target_recall = target,
                                  .walker = s->walker};
    assert_int_equal(ki_head_run(&asked, hits, &found, NULL), KITH_OK);
    if (visited) *visited += counts.visited;
    return found;
}

/* Searches of one state, held against exact ones: rows of it, as many as there are, and their distances. Returns the
 * share of the nearest that was found. */
static inline double recall_of(struct subject *s, const ki_bits *live, size_t k, double target, uint64_t *visited) {
    static ki_hit exact[ROOM], hits[ROOM];
    static float distance_of[ROOM];
    float query[DIM_MOST];
    size_t good = 0, all = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        make_row(s, query);
        const size_t matches = search(s, live, query, live->rows, 0, exact, NULL);
        const size_t found = search(s, live, query, k, target, hits, visited), wanted = matches < k ? matches : k;
        assert_int_equal(matches, live->set);
        assert_int_equal(found, wanted);
        for (size_t i = 0; i < matches; i++) distance_of[exact[i].position] = exact[i].distance;
        for (size_t i = 0; i < found; i++) {
            assert_true(hits[i].position < live->rows && ki_bits_get(live, hits[i].position));
            assert_memory_equal(&hits[i].distance, &distance_of[hits[i].position], sizeof(float));
            assert_int_equal(hits[i].label, ki_head_key(s->head, hits[i].position));
            assert_true(i == 0 || ki_hit_before(&hits[i - 1], &hits[i]));
            good += hits[i].distance <= exact[wanted - 1].distance;
        }
        all += wanted;
    }
    return all ? (double)good / (double)all : 1;
}

#endif
