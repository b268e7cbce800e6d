/* SPDX-License-Identifier: Apache-2.0
 *
 * What a search costs: measured with few parameters, for one code and batch size. Beyond what a query costs anyway,
 * lists cost in proportion, nearly, and candidates likewise; the number of neighbours hardly counts. So some numbers of
 * lists, and one more number of candidates, tell the rest. */
#include "tune/inner.h"

#include "base/checked.h"
#include "base/clock.h"

#include <math.h>

kith_search_options ki_tune_options(kith_scan_code code, size_t nprobe, size_t rerank) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_IVF;
    options.nprobe = nprobe;
    options.rerank = rerank;
    options.code = code;
    return options;
}

/* Nanoseconds of one query in calls of `batch`: the best of three stretches, each of at least one call. */
static kith_status time_batch(const ki_tuning *t, size_t k, size_t batch, double slice_ns,
                              const kith_search_options *options, double *best_ns, kith_error *error) {
    enum { STRETCHES = 3 };
    const size_t self = t->self && k < t->room; /* else stored queries would find themselves, and at once */
    kith_search_options given = *options;
    size_t first = 0;
    double spent = 0;
    if (given.rerank) given.rerank += self;
    if (given.plan == KITH_PLAN_HNSW) given.effort += self; /* at least k */
    *best_ns = INFINITY;
    for (int s = 0; s < STRETCHES && (s == 0 || spent < slice_ns); s++) {
        double stretch = 0;
        size_t queries = 0;
        while (queries == 0 || stretch < slice_ns / STRETCHES) {
            if (first + batch > t->count) first = 0;
            const uint64_t start = ki_thread_ns();
            const kith_status status = ki_tune_search(t, t->narrow, first, batch, k + self, &given, error);
            if (status != KITH_OK) return status;
            stretch += (double)(ki_thread_ns() - start) + 1;
            queries += batch;
            first += batch;
        }
        spent += stretch;
        if (stretch / (double)queries < *best_ns) *best_ns = stretch / (double)queries;
    }
    return KITH_OK;
}

kith_status ki_tune_time(const ki_tuning *t, size_t k, size_t batch, double slice_ns, double expected_ns,
                         const kith_search_options *options, double *query_ns, kith_error *error) {
    const double fit = slice_ns / (expected_ns > 1 ? expected_ns : 1);
    const size_t most = ki_min_size(batch, t->count);
    return time_batch(t, k, fit >= (double)most ? most : fit < 1 ? 1 : (size_t)fit, slice_ns, options, query_ns, error);
}

/* Numbers of lists that are measured: a few, and at most half of all. */
static size_t choose_points(const ki_tuning *t, size_t nprobe[KI_COST_POINTS]) {
    static const size_t wished[KI_COST_POINTS] = {1, 8, 32, 128};
    const size_t most = t->index->view.lists.count / 2 ? t->index->view.lists.count / 2 : 1;
    size_t points = 0;
    for (int i = 0; i < KI_COST_POINTS; i++) {
        const size_t n = ki_min_size(wished[i], most);
        if (points == 0 || n > nprobe[points - 1]) nprobe[points++] = n;
    }
    return points;
}

kith_status ki_tune_cost_measure(const ki_tuning *t, kith_scan_code code, size_t batch, double budget_ns,
                                 ki_tune_cost *cost, kith_error *error) {
    const size_t k = t->k[t->ks > 1 ? 1 : 0];
    ki_tune_cost made = {.rerank = 2 * k};
    made.points = choose_points(t, made.nprobe);
    const double slice_ns = budget_ns / (double)(made.points + 1);
    double expected_ns = t->exact_ns / 4;
    for (size_t i = 0; i < made.points; i++) {
        const kith_search_options options = ki_tune_options(code, made.nprobe[i], made.rerank);
        const kith_status status = ki_tune_time(t, k, batch, slice_ns, expected_ns, &options, &made.query_ns[i], error);
        if (status != KITH_OK) return status;
        if (i > 0 && made.query_ns[i] < made.query_ns[i - 1]) made.query_ns[i] = made.query_ns[i - 1];
        expected_ns = 1.5 * made.query_ns[i];
    }
    const size_t middle = made.points / 2, more = 4 * made.rerank;
    const kith_search_options options = ki_tune_options(code, made.nprobe[middle], more);
    double longer;
    const kith_status status =
        ki_tune_time(t, k, batch, slice_ns, 1.5 * made.query_ns[middle], &options, &longer, error);
    if (status != KITH_OK) return status;
    made.candidate_ns = fmax(0, longer - made.query_ns[middle]) / (double)(more - made.rerank);
    *cost = made;
    return KITH_OK;
}

double ki_tune_cost_at(const ki_tune_cost *cost, size_t nprobe, size_t rerank) {
    const double more = cost->candidate_ns * ((double)rerank - (double)cost->rerank);
    double base = cost->query_ns[0];
    size_t after = 1;
    while (after + 1 < cost->points && cost->nprobe[after] < nprobe) after++;
    if (after < cost->points) {
        const double a = (double)cost->nprobe[after - 1], b = (double)cost->nprobe[after];
        const double slope = (cost->query_ns[after] - cost->query_ns[after - 1]) / (b - a);
        base = cost->query_ns[after - 1] + slope * ((double)nprobe - a);
    }
    return fmax(base + more, cost->query_ns[0] / 4); /* few candidates do not make a query free */
}
