/* SPDX-License-Identifier: Apache-2.0
 * tiers: any
 *
 * What a desk skips, and the sizes of its groups. No vector's score may lie above the reach of its list (flat/lists.c
 * L1, L2), where a search would lose it: on hostile data, and with queries that make both inequalities of the proof
 * equalities. And the other way round: a reach that says nothing would pass that too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "flat/desk.h"
#include "index/index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS = 12, ROWS = 400, QUERIES = 10, TIGHT = 2 * LISTS, ALL = QUERIES + TIGHT };

static uint64_t skipped, pairs;

/* The vector of a list that is farthest from the centroid, less the centroid. */
static void farthest(const ki_view *view, size_t list, float *apart) {
    const float *centroid = view->lists.centroids + list * view->dim;
    float row[256], most = -1;
    for (uint32_t at = view->lists.first_row[list]; at < view->lists.first_row[list + 1]; at++) {
        float norm2 = 0;
        data_floats(view->dtype, view->originals + at * view->row_bytes, view->dim, row);
        for (size_t j = 0; j < view->dim; j++) {
            row[j] -= centroid[j];
            norm2 += row[j] * row[j];
        }
        if (!(norm2 > most)) continue;
        most = norm2;
        memcpy(apart, row, view->dim * sizeof(float));
    }
}

/* Queries in the direction from a centroid to the farthest vector of its list: <q, x - c> is |q| R, and |q - x| is
 * |q - c| - R where q lies beyond x. */
static void make_tight(const ki_view *view, float *queries) {
    for (size_t i = 0; i < TIGHT; i++) {
        const size_t list = i / 2 % view->lists.count;
        float apart[256] = {0}, *query = queries + i * view->dim, norm2 = 0;
        farthest(view, list, apart);
        for (size_t j = 0; j < view->dim; j++) {
            const float from = view->metric == KITH_L2SQ ? view->lists.centroids[list * view->dim + j] : 0;
            query[j] = from + (i % 2 ? 7.5f : 1.0f) * apart[j];
            norm2 += query[j] * query[j];
        }
        /* Without a direction, or longer than a search takes: the centroid. */
        if (!(norm2 > 0x1p-60f && norm2 < 0x1p120f))
            memcpy(query, view->lists.centroids + list * view->dim, view->dim * sizeof(float));
    }
}

/* What the search allows a threshold to be: the best score of a list by the defining kernel. */
static float best_score(const ki_desk *desk, size_t query, size_t list) {
    const ki_view *view = desk->view;
    float best = -INFINITY;
    for (uint32_t at = view->lists.first_row[list]; at < view->lists.first_row[list + 1]; at++) {
        const float distance = ki_query_distance(view, ki_desk_query(desk, query), ki_desk_norm2(desk, query), at);
        best = fmaxf(best, ki_score_below(view->metric, distance));
    }
    return best;
}

static void check_reach(data_kind kind, kith_metric metric, kith_dtype dtype, size_t dim, uint64_t seed) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    data_set set = data_make(kind, dtype, metric, ROWS, dim, seed, 0);
    options.lists = LISTS;
    options.index = KITH_INDEX_IVF;
    options.no_calibration = 1;
    options.threads = 1;
    data_build(&set, data_path("desk.kith"), &options);
    kith_index *index = data_open(data_path("desk.kith"));
    const ki_view *view = &index->view;
    float *const given = data_queries(&set, kind, KITH_F32, QUERIES, seed), *const queries = calloc(ALL * dim, 4);
    assert_non_null(queries);
    memcpy(queries, given, QUERIES * dim * sizeof(float));
    if (view->lists.count > 1) make_tight(view, queries + QUERIES * dim);
    atomic_int stop = 0;
    const ki_flat_search search = {.view = view, .plan = KITH_PLAN_SCAN, .k = 3, .limits = {.stop = &stop}};
    ki_counts counts = {0};
    ki_desk *desk = ki_desk_create();
    assert_non_null(desk);
    desk->counts = &counts;
    const size_t asked = view->lists.count > 1 ? ALL : 0;
    if (asked && ki_desk_prepare(desk, &search, queries, asked) == KITH_OK) {
        assert_true(ki_desk_mark_lists(desk, 0, view->blocks) >= 0);
        assert_true(desk->reach_known);
        for (size_t query = 0; query < asked; query++)
            for (size_t list = 0; list < view->lists.count; list++) {
                if (view->lists.first_row[list] == view->lists.first_row[list + 1]) continue;
                const float best = best_score(desk, query, list);
                desk->tau[query] = best;
                if (best > -INFINITY && !ki_desk_needs(desk, list, query))
                    fail_msg("%s, metric %d, dtype %d, %zu dimensions, query %zu, list %zu: reach %.9g, score %.9g",
                             data_kind_name(kind), metric, dtype, dim, query, list,
                             (double)desk->reach[list * asked + query], (double)best);
            }
        /* With the best score of all lists as a threshold. */
        for (size_t query = 0; query < QUERIES && kind == DATA_CLUSTERED; query++) {
            float best = -INFINITY;
            for (size_t list = 0; list < view->lists.count; list++) best = fmaxf(best, best_score(desk, query, list));
            desk->tau[query] = best;
            for (size_t list = 0; list < view->lists.count; list++) skipped += !ki_desk_needs(desk, list, query);
            pairs += view->lists.count;
        }
    }
    ki_desk_destroy(desk);
    free(queries);
    free(given);
    kith_index_close(index);
    data_free(&set);
}

static void no_score_is_above_its_reach(void **state) {
    static const kith_dtype dtypes[] = {KITH_F32, KITH_F16, KITH_I8};
    static const size_t dims[] = {3, 24, 100};
    (void)state;
    uint64_t seed = 1;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++, seed++)
            check_reach((data_kind)kind, (kith_metric)metric, dtypes[seed % 5 < 3 ? 0 : seed % 5 - 2], dims[seed % 3],
                        seed);
    assert_true(skipped * 3 > pairs);
}

static void groups_fit_the_cache(void **state) {
    (void)state;
    /* What was measured: desk.h. */
    assert_in_range(ki_group_blocks(512 << 10, 48 * 64 + 256), 12, 32);
    assert_in_range(ki_group_blocks(2 << 20, 48 * 64 + 256), 60, 128);
    assert_in_range(ki_group_queries(512 << 10, 2 * 192), 512, 1024);
    assert_int_equal(ki_group_queries(2 << 20, 192), KI_GROUP_QUERIES_MAX);
    for (size_t l2 = 1; l2 < (size_t)1 << 40; l2 *= 3)
        for (size_t bytes = 1; bytes < 1 << 20; bytes *= 5) {
            assert_in_range(ki_group_blocks(l2, bytes), 1, KI_GROUP_BLOCKS_MAX);
            assert_in_range(ki_group_queries(l2, bytes), KI_GROUP_QUERIES_LEAST, KI_GROUP_QUERIES_MAX);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_score_is_above_its_reach),
        cmocka_unit_test(groups_fit_the_cache),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
