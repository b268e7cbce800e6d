/* SPDX-License-Identifier: Apache-2.0
 *
 * k-means: quality against a plain Lloyd, equal results whatever the threads, balance, hostile samples, cancelling,
 * assignment against float distances, and an allocator that refuses each request in turn.
 *
 * Guards against: sums in the order of threads, empty lists kept, NaN centroids, choices that repeat a list, a super
 * whose lists are not neighbours, leaks on failure.
 *
 * tiers: any */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kmeans/kmeans.h"
#include "kernel/distance.h"
#include "support/faulty_malloc.h"

enum { DIM = 24 };

/* ---- Data -------------------------------------------------------------------------------------------------------- */

/* Gaussian clusters, the first ones larger than the last. */
static float *make_clusters(size_t rows, size_t clusters, double width, uint64_t seed) {
    ki_rng rng = {seed};
    float *centres = malloc(clusters * DIM * sizeof(float)), *data = malloc(rows * DIM * sizeof(float));
    assert_non_null(centres);
    assert_non_null(data);
    for (size_t i = 0; i < clusters * DIM; i++) centres[i] = (float)ki_rng_normal(&rng);
    for (size_t i = 0; i < rows; i++) {
        const double unit = ki_rng_unit(&rng);
        const float *centre = centres + (size_t)(unit * unit * (double)clusters) * DIM;
        for (size_t j = 0; j < DIM; j++) data[i * DIM + j] = centre[j] + (float)(width * ki_rng_normal(&rng));
    }
    free(centres);
    return data;
}

static void mean_of(const float *rows, size_t count, float mean[DIM]) {
    double sum[DIM] = {0};
    for (size_t i = 0; i < count * DIM; i++) sum[i % DIM] += (double)rows[i];
    for (size_t j = 0; j < DIM; j++) mean[j] = (float)(sum[j] / (double)count);
}

static kith_pool *make_pool(unsigned threads) {
    kith_pool *pool;
    assert_int_equal(kith_pool_create(threads, &pool, NULL), KITH_OK);
    return pool;
}

static ki_kmeans train(const float *rows, size_t count, size_t lists, unsigned threads) {
    float centre[DIM];
    kith_pool *pool = make_pool(threads);
    ki_kmeans kmeans;
    mean_of(rows, count, centre);
    assert_int_equal(ki_kmeans_train(rows, count, DIM, centre, lists, 7, pool, NULL, NULL, &kmeans), KITH_OK);
    kith_pool_destroy(pool);
    return kmeans;
}

static uint32_t (*assign(const ki_kmeans *kmeans, const float *rows, size_t count))[KI_CHOICES] {
    uint32_t(*choices)[KI_CHOICES] = malloc(count * sizeof(*choices));
    ki_assign_scratch *scratch = ki_assign_scratch_create(kmeans);
    assert_non_null(choices);
    assert_non_null(scratch);
    ki_kmeans_assign(kmeans, scratch, rows, count, choices);
    ki_assign_scratch_destroy(scratch);
    return choices;
}

static double distance(const float *x, const float *y) {
    double sum = 0;
    for (size_t j = 0; j < DIM; j++) sum += ((double)x[j] - (double)y[j]) * ((double)x[j] - (double)y[j]);
    return sum;
}

static size_t nearest(const float *row, const float *centroids, size_t lists, double *least) {
    size_t best = 0;
    *least = INFINITY;
    for (size_t l = 0; l < lists; l++) {
        const double d = distance(row, centroids + l * DIM);
        if (d < *least) {
            *least = d;
            best = l;
        }
    }
    return best;
}

static double objective(const float *rows, size_t count, const float *centroids, size_t lists) {
    double sum = 0, least;
    for (size_t i = 0; i < count; i++) {
        nearest(rows + i * DIM, centroids, lists, &least);
        sum += least;
    }
    return sum;
}

/* What every trained k-means must be. */
static void check_sound(const ki_kmeans *kmeans, size_t most) {
    assert_in_range(kmeans->lists, 1, most);
    assert_int_equal(kmeans->coarse.blocks, (kmeans->lists + KI_BLOCK - 1) / KI_BLOCK);
    for (size_t i = 0; i < kmeans->lists * kmeans->dim; i++) assert_true(isfinite(kmeans->centroids[i]));
    for (size_t l = 0; l < kmeans->lists; l++) {
        const float zero[DIM] = {0}, *centroid = kmeans->centroids + l * DIM;
        assert_true((double)kmeans->norm >= sqrt(distance(centroid, zero)));
        assert_true((double)kmeans->spread >= sqrt(distance(centroid, kmeans->centre)));
    }
    for (size_t s = 0; s < kmeans->supers; s++) assert_true(kmeans->super_end[s] > (s ? kmeans->super_end[s - 1] : 0));
    if (kmeans->supers) assert_int_equal(kmeans->super_end[kmeans->supers - 1], kmeans->lists);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void test_how_many(void **state) {
    (void)state;
    assert_int_equal(ki_kmeans_lists(0), 1);
    assert_int_equal(ki_kmeans_lists(16383), 1);
    assert_int_equal(ki_kmeans_lists(16384), 512);
    assert_int_equal(ki_kmeans_lists(115659), 1360);
    assert_int_equal(ki_kmeans_lists(1000000), 4000);
    assert_int_equal(ki_kmeans_lists(UINT32_MAX), KITH_LISTS_MAX);
    size_t before = 0;
    for (size_t lists = 1; lists <= KITH_LISTS_MAX; lists *= 2) {
        const size_t sample = ki_kmeans_sample(lists);
        assert_in_range(sample, 32 * lists, 64 * lists);
        assert_true(sample > before || lists > 4096);
        before = sample;
    }
}

/* Lloyd as in the textbook, from the first rows, which are as random as any. */
static double plain_lloyd(const float *rows, size_t count, size_t lists, int rounds) {
    float *centroids = malloc(lists * DIM * sizeof(float));
    double *sum = malloc(lists * (DIM + 1) * sizeof(double)), least;
    assert_non_null(centroids);
    assert_non_null(sum);
    memcpy(centroids, rows, lists * DIM * sizeof(float));
    for (int round = 0; round < rounds; round++) {
        memset(sum, 0, lists * (DIM + 1) * sizeof(double));
        for (size_t i = 0; i < count; i++) {
            double *to = sum + nearest(rows + i * DIM, centroids, lists, &least) * (DIM + 1);
            for (size_t j = 0; j < DIM; j++) to[j] += (double)rows[i * DIM + j];
            to[DIM]++;
        }
        for (size_t l = 0; l < lists; l++)
            for (size_t j = 0; j < DIM && sum[l * (DIM + 1) + DIM] > 0; j++)
                centroids[l * DIM + j] = (float)(sum[l * (DIM + 1) + j] / sum[l * (DIM + 1) + DIM]);
    }
    const double result = objective(rows, count, centroids, lists);
    free(centroids);
    free(sum);
    return result;
}

static void test_objective(void **state) {
    (void)state;
    static const struct {
        size_t rows, lists, clusters;
        double width;
    } scene[] = {{3000, 60, 40, 0.5}, {4000, 100, 1, 1}, {2000, 1, 5, 0.1}, {20000, 640, 150, 0.5}};
    for (size_t i = 0; i < sizeof(scene) / sizeof(*scene); i++) {
        float *rows = make_clusters(scene[i].rows, scene[i].clusters, scene[i].width, 11 + i);
        ki_kmeans kmeans = train(rows, scene[i].rows, scene[i].lists, 1);
        check_sound(&kmeans, scene[i].lists);
        assert_int_equal(kmeans.lists, scene[i].lists);
        assert_true((kmeans.supers > 0) == (scene[i].lists >= 256));
        const double ours = objective(rows, scene[i].rows, kmeans.centroids, kmeans.lists);
        const double plain = plain_lloyd(rows, scene[i].rows, scene[i].lists, 10);
        if (ours > 1.03 * plain) fail_msg("scene %zu: %g, and the plain Lloyd has %g", i, ours, plain);
        ki_kmeans_free(&kmeans);
        free(rows);
    }
}

static void test_threads_do_not_show(void **state) {
    (void)state;
    enum { ROWS = 20000, LISTS = 600 };
    float *rows = make_clusters(ROWS, 100, 0.5, 3);
    ki_kmeans one = train(rows, ROWS, LISTS, 1);
    for (unsigned threads = 2; threads <= 3; threads++) {
        ki_kmeans other = train(rows, ROWS, LISTS, threads);
        assert_int_equal(other.lists, one.lists);
        assert_int_equal(other.supers, one.supers);
        assert_memory_equal(other.centroids, one.centroids, one.lists * DIM * sizeof(float));
        assert_memory_equal(other.super_end, one.super_end, one.supers * sizeof(uint32_t));
        assert_memory_equal(other.super_centroids, one.super_centroids, one.supers * DIM * sizeof(float));
        ki_kmeans_free(&other);
    }
    ki_kmeans_free(&one);
    free(rows);
}

/* Half of all rows are one narrow cluster, still wider than what codes resolve. */
static void test_balance(void **state) {
    (void)state;
    enum { ROWS = 12000, LISTS = 200 };
    float *rows = make_clusters(ROWS, 300, 0.4, 5);
    for (size_t i = 0; i < ROWS; i += 2)
        for (size_t j = 0; j < DIM; j++) rows[i * DIM + j] = 1 + (rows[i * DIM + j] - 1) / 8;
    ki_kmeans kmeans = train(rows, ROWS, LISTS, 2);
    check_sound(&kmeans, LISTS);
    uint32_t(*choices)[KI_CHOICES] = assign(&kmeans, rows, ROWS);
    size_t held[LISTS] = {0}, most = 0;
    for (size_t i = 0; i < ROWS; i++) held[choices[i][0]]++;
    for (size_t l = 0; l < kmeans.lists; l++) most = held[l] > most ? held[l] : most;
    if (most > 3 * ROWS / kmeans.lists) fail_msg("the largest list has %zu of %d rows", most, ROWS);
    free(choices);
    ki_kmeans_free(&kmeans);
    free(rows);
}

/* Choices against distances in double. Codes err by about a hundredth of |x - m| |c - m| at most, so that the chosen
 * list may be farther by twice that in <x, c>, hence four times in the squared distance. */
static void check_choices(const ki_kmeans *kmeans, const float *rows, size_t count, double least_share) {
    uint32_t(*choices)[KI_CHOICES] = assign(kmeans, rows, count);
    size_t close = 0;
    for (size_t i = 0; i < count; i++) {
        double least, before = -INFINITY;
        nearest(rows + i * DIM, kmeans->centroids, kmeans->lists, &least);
        const double room = 0.04 * (sqrt(distance(rows + i * DIM, kmeans->centre)) * (double)kmeans->spread) + 1e-30;
        for (unsigned c = 0; c < KI_CHOICES; c++) {
            const uint32_t list = choices[i][c];
            if (c >= kmeans->lists) {
                assert_int_equal(list, UINT32_MAX);
                continue;
            }
            assert_true(list < kmeans->lists);
            for (unsigned other = 0; other < c; other++) assert_int_not_equal(list, choices[i][other]);
            const double d = distance(rows + i * DIM, kmeans->centroids + list * DIM);
            assert_true(d >= before - room);
            before = d;
        }
        close += distance(rows + i * DIM, kmeans->centroids + choices[i][0] * DIM) <= least + room;
    }
    if ((double)close < least_share * (double)count) fail_msg("%zu of %zu rows are near their list", close, count);
    free(choices);
}

static void test_assignment(void **state) {
    (void)state;
    enum { ROWS = 6000 };
    float *rows = make_clusters(ROWS, 80, 0.6, 9);
    static const size_t lists[] = {1, 2, 3, 4, 5, 16, 17, 100, 300};
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        ki_kmeans kmeans = train(rows, ROWS, lists[i], 2);
        check_sound(&kmeans, lists[i]);
        check_choices(&kmeans, rows, i % 2 ? ROWS : 37, 1);
        ki_kmeans_free(&kmeans);
    }
    free(rows);
}

/* By supers: a few rows may find a list that is only nearly the nearest. */
static void test_assignment_by_supers(void **state) {
    (void)state;
    enum { ROWS = 24000, LISTS = 700 };
    float *rows = make_clusters(ROWS, 200, 0.5, 10);
    ki_kmeans kmeans = train(rows, ROWS, LISTS, 2);
    check_sound(&kmeans, LISTS);
    assert_in_range(kmeans.supers, 32, 64);
    check_choices(&kmeans, rows, ROWS, 0.97);
    /* M2: a list is nearer to its own super than to most others. */
    size_t own = 0;
    for (size_t s = 0, l = 0; s < kmeans.supers; s++)
        for (; l < kmeans.super_end[s]; l++) {
            double least;
            own += nearest(kmeans.centroids + l * DIM, kmeans.super_centroids, kmeans.supers, &least) == s;
        }
    assert_true(own >= LISTS * 9 / 10);
    ki_kmeans_free(&kmeans);
    free(rows);
}

static void test_few_rows(void **state) {
    (void)state;
    float *rows = make_clusters(40, 10, 1, 4);
    static const size_t counts[] = {1, 2, 5, 40};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        ki_kmeans kmeans = train(rows, counts[i], 64, 2);
        check_sound(&kmeans, counts[i]);
        assert_int_equal(kmeans.lists, counts[i]); /* all rows differ */
        check_choices(&kmeans, rows, 40, 1);
        ki_kmeans_free(&kmeans);
    }
    const float centre[DIM] = {3};
    ki_kmeans none;
    assert_int_equal(ki_kmeans_train(rows, 0, DIM, centre, 5, 1, NULL, NULL, NULL, &none), KITH_OK);
    check_sound(&none, 1);
    assert_memory_equal(none.centroids, centre, sizeof(centre));
    ki_kmeans_free(&none);
    free(rows);
}

/* Equal rows, two different rows, numbers at both ends of what floats hold. */
static void test_hostile_rows(void **state) {
    (void)state;
    enum { ROWS = 3000 };
    float *rows = make_clusters(ROWS, 50, 0.5, 6), *changed = malloc(ROWS * DIM * sizeof(float));
    assert_non_null(changed);
    for (int kind = 0; kind < 7; kind++) {
        for (size_t i = 0; i < ROWS * DIM; i++) {
            const float x = rows[i], values[] = {2,
                                                 (float)(i / DIM % 2),
                                                 x * 0x1p60f,
                                                 x * 0x1p-140f,
                                                 x * 0x1p-100f,
                                                 i % DIM ? x : x * 0x1p40f,
                                                 i < DIM ? 0x1p60f : x};
            changed[i] = values[kind];
        }
        ki_kmeans kmeans = train(changed, ROWS, 300, 2);
        check_sound(&kmeans, 300);
        if (kind < 2) assert_int_equal(kmeans.lists, (size_t)kind + 1);
        uint32_t(*choices)[KI_CHOICES] = assign(&kmeans, changed, ROWS);
        for (size_t i = 0; i < ROWS; i++) assert_true(choices[i][0] < kmeans.lists);
        free(choices);
        ki_kmeans_free(&kmeans);
    }
    free(rows);
    free(changed);
}

struct watcher {
    int calls, stop_at;
    uint64_t last;
};

static int watch(void *context, const kith_progress *progress) {
    struct watcher *w = context;
    assert_string_equal(progress->stage, "clustering");
    assert_true(progress->done >= w->last && progress->done <= progress->total);
    w->last = progress->done;
    return ++w->calls == w->stop_at;
}

static void test_cancelling(void **state) {
    (void)state;
    enum { ROWS = 5000 };
    float *rows = make_clusters(ROWS, 50, 0.5, 8), centre[DIM];
    mean_of(rows, ROWS, centre);
    struct watcher all = {0, 0, 0};
    ki_kmeans kmeans;
    assert_int_equal(ki_kmeans_train(rows, ROWS, DIM, centre, 50, 1, NULL, watch, &all, &kmeans), KITH_OK);
    ki_kmeans_free(&kmeans);
    assert_true(all.calls > 5);
    for (int at = 1; at <= all.calls; at += 3) {
        struct watcher some = {0, at, 0};
        assert_int_equal(ki_kmeans_train(rows, ROWS, DIM, centre, 50, 1, NULL, watch, &some, &kmeans),
                         KITH_E_CANCELLED);
        assert_int_equal(some.calls, at);
    }
    free(rows);
}

/* Every allocation refused in turn: no crash, nothing lost. */
static void test_memory_failure(void **state) {
    (void)state;
    enum { ROWS = 1200, LISTS = 520 };
    float *rows = make_clusters(ROWS, 50, 0.5, 12), centre[DIM];
    mean_of(rows, ROWS, centre);
    long requests = 1;
    for (long number = -1; number < requests; number += 1 + number / 40) {
        ki_kmeans kmeans = {0};
        faulty_malloc_start(number, 1);
        const kith_status status = ki_kmeans_train(rows, ROWS, DIM, centre, LISTS, 1, NULL, NULL, NULL, &kmeans);
        ki_assign_scratch *scratch = status ? NULL : ki_assign_scratch_create(&kmeans);
        const int made = scratch != NULL;
        ki_assign_scratch_destroy(scratch);
        if (!status) ki_kmeans_free(&kmeans);
        const long asked = faulty_malloc_stop();
        if (number < 0) requests = asked;
        assert_int_equal(atomic_load(&faulty_live), 0);
        assert_int_equal(made, number < 0);
        if (status) assert_int_equal(status, KITH_E_NOMEM);
    }
    assert_true(requests > 50);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_how_many),
        cmocka_unit_test(test_objective),
        cmocka_unit_test(test_threads_do_not_show),
        cmocka_unit_test(test_balance),
        cmocka_unit_test(test_assignment),
        cmocka_unit_test(test_assignment_by_supers),
        cmocka_unit_test(test_few_rows),
        cmocka_unit_test(test_hostile_rows),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_memory_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
