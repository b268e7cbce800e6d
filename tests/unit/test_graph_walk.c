/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks over small graphs that are really built: what they find by effort and filter, alone and together, at this tier
 * and at the scalar one; when they end; and that rows which hold anything do no harm (graph.h G1-G3). */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/graph.h"
#include "support/guard.h"

#include "base/rng.h"
#include "graph/graph.h"
#include "graph/patch.h"
#include "kernel/distance.h"

enum { ROWS = 1500, DIM = 24, QUERIES = KI_WALK_MAX, K = 10, SCENES = 4 };

static const struct scene {
    kith_metric metric;
    uint32_t degree, bits;
} scenes[SCENES] = {{KITH_L2SQ, 32, 1}, {KITH_COSINE, 48, 2}, {KITH_IP, 64, 4}, {KITH_L2SQ, 32, 0}};

static float *values, *queries;
static graph_of_floats graphs[SCENES];
static uint64_t labels[ROWS];

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static ki_view view_of(const graph_of_floats *g, kith_metric metric) {
    return (ki_view){.rows = g->rows,
                     .dim = g->dim,
                     .row_bytes = g->dim * sizeof(float),
                     .dtype = KITH_F32,
                     .metric = metric,
                     .lists = {.count = 1},
                     .originals = (const uint8_t *)g->values,
                     .graph = g->graph,
                     .labels = labels};
}

/* What one query finds. */
struct answer {
    size_t count, gave_up;
    ki_hit hits[2 * ROWS];
};

static ki_graph_search search_of(const ki_view *view, size_t k, size_t effort, atomic_int *stop) {
    return (ki_graph_search){.view = view, .k = k, .rerank = k + 6, .effort = effort, .limits = {.stop = stop}};
}

/* Walk queries first..first+count together. */
static ki_counts walk(ki_walker *walker, const ki_graph_search *search, size_t first, size_t count,
                      struct answer *answers) {
    ki_walk_result results[QUERIES];
    ki_counts counts = {0};
    assert_int_equal(ki_graph_walk(walker, search, queries + first * DIM, DIM, count, results, &counts, 0), KITH_OK);
    for (size_t i = 0; i < count; i++) {
        struct answer *answer = &answers[first + i];
        memset(answer, 0, sizeof(*answer));
        answer->count = results[i].count;
        answer->gave_up = (size_t)results[i].gave_up;
        assert_true(answer->count <= search->k);
        if (answer->count) memcpy(answer->hits, results[i].hits, answer->count * sizeof(*answer->hits));
    }
    return counts;
}

static struct answer *answers_make(void) {
    struct answer *answers = calloc(QUERIES, sizeof(*answers));
    assert_non_null(answers);
    return answers;
}

static float distance_to(const float *query, kith_metric metric, size_t row) {
    const float *x = values + row * DIM;
    if (metric == KITH_L2SQ) return ki_distance()->l2sq[KITH_F32](query, x, DIM);
    const float product = ki_distance()->dot[KITH_F32](query, x, DIM);
    if (metric == KITH_IP) return -product;
    const double norms = ki_distance()->norm2[KITH_F32](query, DIM) * ki_distance()->norm2[KITH_F32](x, DIM);
    return 1 - (float)((double)product / sqrt(norms));
}

/* Results are of the segment, distinct, in order, and allowed; with l2 their distances are the defining ones. */
static void check_hits(const struct answer *answer, const float *query, kith_metric metric, const uint64_t *allowed) {
    static uint8_t seen[ROWS];
    memset(seen, 0, sizeof(seen));
    for (size_t h = 0; h < answer->count; h++) {
        const ki_hit *hit = &answer->hits[h];
        assert_true(hit->position < ROWS);
        assert_int_equal(hit->label, labels[hit->position]);
        assert_int_equal(seen[hit->position]++, 0);
        if (allowed) assert_true(allowed[hit->position / 64] >> hit->position % 64 & 1);
        if (metric == KITH_L2SQ) assert_true(hit->distance == distance_to(query, metric, hit->position));
        if (h) assert_true(hit->distance >= answer->hits[h - 1].distance);
    }
}

static int by_distance(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The share of hits that are as near as the k nearest. */
static double recall_of(const struct answer *answers, kith_metric metric, size_t k, const uint64_t *allowed) {
    float distances[ROWS], sorted[ROWS];
    size_t found = 0, wanted = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        size_t count = 0;
        for (size_t row = 0; row < ROWS; row++) {
            distances[row] = distance_to(queries + q * DIM, metric, row);
            if (!allowed || (allowed[row / 64] >> row % 64 & 1)) sorted[count++] = distances[row];
        }
        qsort(sorted, count, sizeof(*sorted), by_distance);
        const size_t most = count < k ? count : k;
        for (size_t h = 0; h < answers[q].count; h++)
            found += distances[answers[q].hits[h].position] <= sorted[most - 1];
        wanted += most;
    }
    return (double)found / (double)wanted;
}

static uint64_t fingerprint(uint64_t sum, const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) sum = (sum ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
    return sum;
}

/* All queries of all scenes, each alone; a scene begins with its rows. */
static void answer_all(struct answer *answers, uint64_t *prints) {
    ki_walker *walker = ki_walker_create();
    assert_non_null(walker);
    for (int i = 0; i < SCENES; i++) {
        const ki_view view = view_of(&graphs[i], scenes[i].metric);
        atomic_int stop = 0;
        const ki_graph_search search = search_of(&view, K, 150, &stop);
        prints[i] = fingerprint(1, graphs[i].bytes, ROWS * graphs[i].row_bytes);
        for (size_t q = 0; q < QUERIES; q++) walk(walker, &search, q, 1, answers);
        prints[i] = fingerprint(prints[i], answers, QUERIES * sizeof(*answers));
    }
    ki_walker_destroy(walker);
}

/* ---- Before all -------------------------------------------------------------------------------------------------- */

static void make_data(void) {
    ki_rng rng = {31};
    float middle[20 * DIM];
    values = calloc((ROWS + QUERIES) * DIM, sizeof(*values));
    assert_non_null(values);
    queries = values + ROWS * DIM;
    for (size_t i = 0; i < 20 * DIM; i++) middle[i] = (float)ki_rng_normal(&rng);
    for (size_t i = 0; i < ROWS; i++) labels[i] = 3 * i + 1;
    for (size_t r = 0; r < ROWS + QUERIES; r++)
        for (size_t j = 0; j < DIM; j++) values[r * DIM + j] = middle[r % 20 * DIM + j] + (float)ki_rng_normal(&rng);
}

static void make_graphs(void) {
    for (int i = 0; i < SCENES; i++) {
        graphs[i] = (graph_of_floats){.values = values, .rows = ROWS, .dim = DIM};
        ki_graph_input input = graph_input(&graphs[i], scenes[i].metric);
        input.degree = scenes[i].degree;
        input.bits = scenes[i].bits;
        graph_make(&graphs[i], &input);
    }
}

static uint64_t scalar_prints[SCENES];

/* Another process at the scalar tier builds and answers first: this one has no tables of kernels yet. */
static void ask_scalar(void) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint64_t prints[SCENES];
        setenv("KITH_CPU", "scalar", 1);
        make_graphs();
        answer_all(answers_make(), prints);
        _exit(write(ends[1], prints, sizeof(prints)) == sizeof(prints) ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], scalar_prints, sizeof(scalar_prints)), sizeof(scalar_prints));
    close(ends[0]);
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int is_scalar(void) {
    const char *tier = getenv("KITH_CPU");
    return tier && strcmp(tier, "scalar") == 0;
}

static int set_up(void **state) {
    (void)state;
    make_data();
    if (!is_scalar()) ask_scalar();
    make_graphs();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < SCENES; i++) graph_free(&graphs[i]);
    free(values);
    return 0;
}

/* ---- G1 ---------------------------------------------------------------------------------------------------------- */

static void test_tiers_agree(void **state) {
    uint64_t prints[SCENES];
    (void)state;
    if (is_scalar()) skip();
    struct answer *answers = answers_make();
    answer_all(answers, prints);
    for (int i = 0; i < SCENES; i++)
        if (prints[i] != scalar_prints[i]) fail_msg("scene %d: other graphs or answers than the scalar tier's", i);
    free(answers);
}

static void test_alone_and_together(void **state) {
    struct answer *alone = answers_make(), *together = answers_make();
    ki_walker *walker = ki_walker_create();
    (void)state;
    for (int i = 0; i < SCENES; i++) {
        const ki_view view = view_of(&graphs[i], scenes[i].metric);
        atomic_int stop = 0;
        const ki_graph_search search = search_of(&view, K, 150, &stop);
        ki_counts one = {0};
        for (size_t q = 0; q < QUERIES; q++) {
            one.visited += walk(walker, &search, q, 1, alone).visited;
            check_hits(&alone[q], queries + q * DIM, scenes[i].metric, NULL);
        }
        for (size_t count = 1; count <= QUERIES; count++) {
            uint64_t visited = 0;
            for (size_t q = 0; q < QUERIES; q += count)
                visited += walk(walker, &search, q, q + count < QUERIES ? count : QUERIES - q, together).visited;
            assert_memory_equal(alone, together, QUERIES * sizeof(*alone));
            assert_int_equal(visited, one.visited);
        }
        assert_true(recall_of(alone, scenes[i].metric, K, NULL) >= 0.85);
    }
    ki_walker_destroy(walker);
    free(alone);
    free(together);
}

/* ---- Effort ------------------------------------------------------------------------------------------------------ */

static double recall_by(int scene, size_t k, size_t effort, struct answer *answers, ki_counts *counts) {
    const ki_view view = view_of(&graphs[scene], scenes[scene].metric);
    atomic_int stop = 0;
    const ki_graph_search search = search_of(&view, k, effort, &stop);
    ki_walker *walker = ki_walker_create();
    *counts = walk(walker, &search, 0, QUERIES, answers);
    ki_walker_destroy(walker);
    return recall_of(answers, scenes[scene].metric, k, NULL);
}

/* A lean graph has the same edges, and finds as much. */
static void test_lean_graphs(void **state) {
    struct answer *answers = answers_make();
    ki_counts counts;
    (void)state;
    const double lean = recall_by(3, K, 150, answers, &counts), more = recall_by(3, K, 500, answers, &counts);
    const double coded = recall_by(0, K, 150, answers, &counts);
    print_message("lean %.3f and %.3f, 1 bit %.3f\n", lean, more, coded);
    assert_true(more >= coded && more >= lean - 0.01);
    assert_true(more >= 0.98);
    free(answers);
}

/* Pool, marks and hits grow; more is asked for than there is. */
static void test_growth(void **state) {
    struct answer *answers = answers_make();
    ki_counts counts;
    (void)state;
    for (int scene = 0; scene < SCENES; scene++) {
        const double recall = recall_by(scene, 1000, 2000, answers, &counts);
        for (size_t q = 0; q < QUERIES; q++) {
            assert_int_equal(answers[q].count, 1000);
            check_hits(&answers[q], queries + q * DIM, scenes[scene].metric, NULL);
        }
        if (recall < 0.98) fail_msg("scene %d: recall %.3f", scene, recall);
        assert_true(recall_by(scene, ROWS + 70, 0, answers, &counts) == 1);
        for (size_t q = 0; q < QUERIES; q++) assert_int_equal(answers[q].count, ROWS);
        assert_int_equal(counts.visited, QUERIES * ROWS);
        assert_int_equal(counts.reranked, QUERIES * ROWS);
    }
    free(answers);
}

static void test_visits_max(void **state) {
    static const uint64_t most[] = {1, 2, 17, 100};
    struct answer *answers = answers_make(), *all = answers_make();
    ki_walker *walker = ki_walker_create();
    const ki_view view = view_of(&graphs[0], scenes[0].metric);
    atomic_int stop = 0;
    ki_graph_search search = search_of(&view, K, 5000, &stop);
    (void)state;
    for (size_t i = 0; i < sizeof(most) / sizeof(*most); i++) {
        search.visits_max = most[i];
        assert_int_equal(walk(walker, &search, 0, QUERIES, answers).visited, QUERIES * most[i]);
        for (size_t q = 0; q < QUERIES; q++) {
            assert_int_equal(answers[q].gave_up, 1);
            assert_int_equal(answers[q].count, most[i] < K ? most[i] : K);
            check_hits(&answers[q], queries + q * DIM, scenes[0].metric, NULL);
        }
    }
    search.visits_max = 0;
    walk(walker, &search, 0, QUERIES, all);
    search.visits_max = ROWS + 1;
    walk(walker, &search, 0, QUERIES, answers);
    assert_memory_equal(answers, all, QUERIES * sizeof(*all));
    for (size_t q = 0; q < QUERIES; q++) assert_int_equal(answers[q].gave_up, 0);
    ki_walker_destroy(walker);
    free(answers);
    free(all);
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

static void test_filters(void **state) {
    static const size_t every[] = {1, 3, 20, 400, ROWS};
    uint64_t allowed[ROWS / 64 + 2];
    struct answer *answers = answers_make(), *unfiltered = answers_make();
    ki_walker *walker = ki_walker_create();
    (void)state;
    for (int i = 0; i < SCENES; i++) {
        const ki_view view = view_of(&graphs[i], scenes[i].metric);
        atomic_int stop = 0;
        ki_graph_search search = search_of(&view, K, 300, &stop);
        walk(walker, &search, 0, QUERIES, unfiltered);
        search.allowed = allowed;
        for (size_t e = 0; e < sizeof(every) / sizeof(*every); e++) {
            size_t count = 0;
            memset(allowed, 0, sizeof(allowed));
            for (size_t row = 7 % every[e]; row < ROWS; row += every[e], count++)
                allowed[row / 64] |= UINT64_C(1) << row % 64;
            walk(walker, &search, 0, QUERIES, answers);
            for (size_t q = 0; q < QUERIES; q++) {
                assert_int_equal(answers[q].count, count < K ? count : K);
                check_hits(&answers[q], queries + q * DIM, scenes[i].metric, allowed);
            }
            assert_true(recall_of(answers, scenes[i].metric, K, allowed) >= 0.93);
            if (every[e] == 1) assert_memory_equal(answers, unfiltered, QUERIES * sizeof(*answers));
        }
        memset(allowed, 0, sizeof(allowed));
        walk(walker, &search, 0, QUERIES, answers);
        for (size_t q = 0; q < QUERIES; q++) assert_int_equal(answers[q].count, 0);
    }
    ki_walker_destroy(walker);
    free(answers);
    free(unfiltered);
}

/* ---- What is absent ---------------------------------------------------------------------------------------------- */

static int is_in(const uint64_t *rows, uint32_t row) {
    return rows[row / 64] >> row % 64 & 1;
}

/* Whether an absent vertex that u had an edge to leads to v, or one that it leads to does. */
static int leads_to(const ki_view *view, const uint64_t *there, uint32_t u, uint32_t v, int depth) {
    const uint32_t *ids = (const uint32_t *)(const void *)(ki_graph_row(&view->graph, u) + KI_GRAPH_IDS_AT);
    for (uint32_t n = 0; n < view->graph.degree && depth < 4; n++) {
        if (ids[n] == v && depth) return 1;
        if (ids[n] != u && !is_in(there, ids[n]) && leads_to(view, there, ids[n], v, depth + 1)) return 1;
    }
    return 0;
}

/* The row keeps its edges to what is there; others are holes, or lead to where an absent vertex led. Returns how many
 * of these are filled. */
static size_t check_patched(const ki_view *view, const uint64_t *there, uint32_t u, const uint8_t *row) {
    const ki_graph *graph = &view->graph;
    const uint8_t *old_row = ki_graph_row(graph, u);
    const uint32_t *ids = (const uint32_t *)(const void *)(row + KI_GRAPH_IDS_AT);
    const uint32_t *old = (const uint32_t *)(const void *)(old_row + KI_GRAPH_IDS_AT);
    const float *add = (const float *)(const void *)(ids + graph->degree);
    size_t filled = 0, absent = 0;
    assert_memory_equal(row, old_row, KI_GRAPH_IDS_AT);
    for (uint32_t n = 0; n < graph->degree; n++) {
        assert_true(ids[n] == u || is_in(there, ids[n]));
        for (uint32_t m = 0; m < n; m++) assert_true(ids[n] == u || ids[m] != ids[n]);
        if (old[n] == u || is_in(there, old[n])) {
            assert_int_equal(ids[n], old[n]);
            continue;
        }
        absent++;
        if (ids[n] == u) {
            if (graph->bits) assert_true(add[n] == INFINITY);
            continue;
        }
        filled++;
        assert_true(leads_to(view, there, u, ids[n], 0));
        if (graph->bits) assert_true(isfinite(add[n]) && isfinite(add[graph->degree + n]));
    }
    if (!absent) assert_ptr_equal(row, old_row);
    return filled;
}

static void test_absent(void **state) {
    uint64_t there[ROWS / 64 + 2];
    struct answer *answers = answers_make();
    ki_walker *walker = ki_walker_create();
    (void)state;
    memset(there, 0, sizeof(there));
    for (uint32_t row = 0; row < ROWS; row++)
        if (row % 10) there[row / 64] |= UINT64_C(1) << row % 64;
    for (int i = 0; i < SCENES; i++) {
        const ki_view view = view_of(&graphs[i], scenes[i].metric);
        atomic_int stop = 0;
        ki_graph_search search = search_of(&view, K, 300, &stop);
        ki_graph_patches *patches = ki_graph_patches_create();
        size_t filled = 0, again = 0;
        assert_non_null(patches);
        search.allowed = there;
        search.absent = 1;
        for (uint32_t u = 0; u < ROWS; u++)
            filled += check_patched(&view, there, u, ki_graph_patched(patches, &search, u));
        for (uint32_t u = 0; u < ROWS; u++)
            again += check_patched(&view, there, u, ki_graph_patched(patches, &search, u));
        assert_int_equal(filled, again);
        assert_true(filled > ROWS / 10);
        ki_graph_patches_destroy(patches);
        walk(walker, &search, 0, QUERIES, answers);
        for (size_t q = 0; q < QUERIES; q++) check_hits(&answers[q], queries + q * DIM, scenes[i].metric, there);
        assert_true(recall_of(answers, scenes[i].metric, K, there) >= 0.85);
    }
    ki_walker_destroy(walker);
    free(answers);
}

/* ---- Limits ------------------------------------------------------------------------------------------------------ */

static int at_once(void *context) {
    ++*(int *)context;
    return 1;
}

/* A walk that is stopped leaves a walker that walks as a fresh one. */
static void test_limits(void **state) {
    struct answer *answers = answers_make(), *expected = answers_make();
    ki_walker *walker = ki_walker_create(), *fresh = ki_walker_create();
    const ki_view view = view_of(&graphs[1], scenes[1].metric);
    ki_walk_result results[QUERIES];
    ki_counts counts = {0};
    int asked = 0;
    (void)state;
    for (int way = 0; way < 4; way++) {
        atomic_int stop = way == 0 ? KITH_E_CORRUPT : KITH_OK;
        ki_graph_search search = search_of(&view, 100, 3000, &stop);
        if (way == 1) search.limits.deadline_ns = 1;
        if (way >= 2) {
            search.limits.cancelled = at_once;
            search.limits.cancelled_context = &asked;
        }
        const kith_status status =
            ki_graph_walk(walker, &search, queries, DIM, QUERIES, results, &counts, way == 3 ? 1 : 0);
        assert_int_equal(status, way == 0   ? KITH_E_CORRUPT
                                 : way == 1 ? KITH_E_DEADLINE
                                 : way == 2 ? KITH_E_CANCELLED
                                            : KITH_OK); /* only worker 0 asks */
        assert_int_equal(stop, status);
        assert_int_equal(asked, way >= 2);
        stop = KITH_OK;
        search = search_of(&view, K, 150, &stop);
        walk(walker, &search, 0, QUERIES, answers);
        walk(fresh, &search, 0, QUERIES, expected);
        assert_memory_equal(answers, expected, QUERIES * sizeof(*expected));
    }
    ki_walker_destroy(walker);
    ki_walker_destroy(fresh);
    free(answers);
    free(expected);
}

/* ---- G3 ---------------------------------------------------------------------------------------------------------- */

enum harm { IDS_BEYOND, SELF_LOOPS, CYCLE, ONE_PLACE, FACTORS, HEADS, CODES, GARBAGE, HARMS };

static float hostile(ki_rng *rng) {
    static const float kinds[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0, 1};
    return kinds[ki_rng_below(rng, sizeof(kinds) / sizeof(*kinds))];
}

static void put(uint8_t *row, size_t at, const void *from) {
    memcpy(row + at, from, 4);
}

static void harm_row(ki_rng *rng, const ki_graph *graph, enum harm harm, uint32_t v, uint8_t *row) {
    for (uint32_t n = 0; n < graph->degree; n++) {
        uint32_t id = harm == IDS_BEYOND ? ROWS + (uint32_t)ki_rng_below(rng, UINT32_MAX - ROWS + UINT64_C(1)) : v;
        if (harm == CYCLE) id = (v + 1) % ROWS;
        if (harm == ONE_PLACE) id = v % 2 ? UINT32_MAX : 5;
        if (harm <= ONE_PLACE && (harm != IDS_BEYOND || n % 2)) put(row, KI_GRAPH_IDS_AT + 4 * n, &id);
        if (harm != FACTORS || !graph->bits) continue;
        const float add = hostile(rng), mul = hostile(rng);
        put(row, KI_GRAPH_IDS_AT + 4 * (graph->degree + n), &add);
        put(row, KI_GRAPH_IDS_AT + 4 * (2 * graph->degree + n), &mul);
    }
    for (size_t at = 0; harm == HEADS && at < 16; at += 4) {
        const float value = hostile(rng);
        put(row, at, &value);
    }
    const size_t from = harm == GARBAGE ? 0 : ki_graph_self_at(graph->degree, graph->bits);
    for (size_t at = from; harm >= CODES && at < graph->row_bytes; at++) row[at] = (uint8_t)ki_rng_next(rng);
}

static void walk_harmed(ki_rng *rng, ki_walker *walker, int scene, enum harm harm, unsigned share,
                        struct answer *answers) {
    const graph_of_floats *g = &graphs[scene];
    ki_view view = view_of(g, scenes[scene].metric);
    atomic_int stop = 0;
    guard room;
    guard_make(&room, ROWS * g->row_bytes);
    uint8_t *rows = guard_end(&room, ROWS * g->row_bytes);
    memcpy(rows, g->bytes, ROWS * g->row_bytes);
    for (uint32_t v = 0; v < ROWS; v++)
        if (ki_rng_below(rng, share) == 0) harm_row(rng, &g->graph, harm, v, rows + v * g->row_bytes);
    view.graph.rows = rows;
    for (size_t effort = 10; effort <= 1000; effort *= 100) {
        const ki_graph_search search = search_of(&view, K, effort, &stop);
        const ki_counts counts = walk(walker, &search, 0, QUERIES, answers);
        assert_true(counts.visited <= QUERIES * ROWS);
        for (size_t q = 0; q < QUERIES; q++) check_hits(&answers[q], queries + q * DIM, scenes[scene].metric, NULL);
    }
    guard_free(&room);
}

static void test_hostile_rows(void **state) {
    struct answer *answers = answers_make();
    ki_walker *walker = ki_walker_create();
    ki_rng rng = {9};
    (void)state;
    for (int i = 0; i < 2 * HARMS; i++) { /* of few rows, then of all */
        const int scene = i % 3 ? i % 3 - 1 : 3;
        walk_harmed(&rng, walker, scene, (enum harm)(i % HARMS), i < HARMS ? 9 : 1, answers);
    }
    ki_walker_destroy(walker);
    free(answers);
}

/* Entries that lead nowhere, and rows of entries that hold anything. */
static void test_hostile_entries(void **state) {
    struct answer *answers = answers_make();
    ki_walker *walker = ki_walker_create();
    ki_rng rng = {10};
    (void)state;
    for (int scene = 0; scene < SCENES; scene++) {
        ki_view view = view_of(&graphs[scene], scenes[scene].metric);
        atomic_int stop = 0;
        const ki_graph_search search = search_of(&view, K, 100, &stop);
        const size_t bytes = view.graph.entries * ki_graph_entry_bytes(view.graph.width);
        uint32_t *entry = calloc(view.graph.entries, sizeof(*entry));
        uint8_t *rows = malloc(bytes);
        assert_true(entry && rows);
        for (uint32_t e = 0; e < view.graph.entries; e++) entry[e] = e % 2 ? UINT32_MAX - e : ROWS + e;
        view.graph.entry = entry;
        assert_int_equal(walk(walker, &search, 0, QUERIES, answers).visited, 0);
        for (size_t q = 0; q < QUERIES; q++) assert_int_equal(answers[q].count, 0);
        for (size_t i = 0; i < bytes; i++) rows[i] = (uint8_t)ki_rng_next(&rng);
        for (uint32_t e = 0; e < view.graph.entries; e++) entry[e] = e % 3;
        view.graph.entry_rows = rows;
        walk(walker, &search, 0, QUERIES, answers);
        for (size_t q = 0; q < QUERIES; q++) {
            check_hits(&answers[q], queries + q * DIM, scenes[scene].metric, NULL);
            assert_true(answers[q].count > 0);
        }
        free(entry);
        free(rows);
    }
    ki_walker_destroy(walker);
    free(answers);
}

/* A query that is no number to walk by finds nothing; one beside it all that it finds alone. */
static void test_queries_too_large(void **state) {
    float pair[2 * DIM];
    struct answer *answers = answers_make();
    ki_walker *walker = ki_walker_create();
    const ki_view view = view_of(&graphs[0], KITH_L2SQ);
    atomic_int stop = 0;
    const ki_graph_search search = search_of(&view, K, 150, &stop);
    ki_walk_result results[2];
    ki_counts counts = {0};
    (void)state;
    walk(walker, &search, 0, 1, answers);
    for (size_t j = 0; j < DIM; j++) pair[j] = FLT_MAX;
    memcpy(pair + DIM, queries, DIM * sizeof(float));
    assert_int_equal(ki_graph_walk(walker, &search, pair, DIM, 2, results, &counts, 0), KITH_OK);
    assert_int_equal(results[0].count, 0);
    assert_int_equal(results[1].count, answers[0].count);
    for (size_t h = 0; h < results[1].count; h++)
        assert_int_equal(results[1].hits[h].position, answers[0].hits[h].position);
    ki_walker_destroy(walker);
    free(answers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers_agree),
        cmocka_unit_test(test_alone_and_together),
        cmocka_unit_test(test_lean_graphs),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_visits_max),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_hostile_rows),
        cmocka_unit_test(test_hostile_entries),
        cmocka_unit_test(test_queries_too_large),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
