/* SPDX-License-Identifier: Apache-2.0
 *
 * A recall that was asked for holds with filters too: those that pick vectors at random, those that follow the vectors'
 * places near to and far from the queries; and min(k, allowed) results come, whatever is let through. What is read for
 * that is bounded by what the filter leaves, also for queries whose nearest lists it empties.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 12000, QUERIES = 500, ALL = ROWS + QUERIES, DIM = 32, K = 10 };

static kith_error error;

struct subject {
    data_set set;
    kith_index *index;
    kith_scratch *scratch;
    float *queries, *distances, *truth;
    uint64_t *ids;
    float *place; /* how far each stored row is from one of them */
    uint64_t *chosen;
};

static void *take(size_t count, size_t size) {
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

static struct subject make(data_kind kind, kith_metric metric) {
    struct subject s = {.set = data_make(kind, KITH_F32, metric, ALL, DIM, 7, 0),
                        .queries = take(QUERIES * DIM, sizeof(float)),
                        .distances = take(QUERIES * K, sizeof(float)),
                        .truth = take(QUERIES * K, sizeof(float)),
                        .ids = take(QUERIES * K, sizeof(uint64_t)),
                        .place = take(ROWS, sizeof(float)),
                        .chosen = take(ROWS, sizeof(uint64_t))};
    size_t stored = 0, held = 0;
    for (size_t i = 0; i < ALL; i++) {
        float *row = (float *)(void *)(s.set.bytes + i * s.set.row_bytes);
        if (i % (ALL / QUERIES) == 2 && held < QUERIES)
            memcpy(s.queries + held++ * DIM, row, s.set.row_bytes);
        else
            memmove(s.set.bytes + stored++ * s.set.row_bytes, row, s.set.row_bytes);
    }
    assert_int_equal(stored, ROWS);
    s.set.rows = ROWS;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = 128;
    data_build(&s.set, data_path("filtered.kith"), &options);
    s.index = data_open(data_path("filtered.kith"));
    assert_int_equal(kith_scratch_create(s.index, NULL, &s.scratch, &error), KITH_OK);
    for (size_t i = 0; i < ROWS; i++)
        assert_int_equal(kith_distance(metric, KITH_F32, DIM, data_row(&s.set, 77), data_row(&s.set, i), &s.place[i]),
                         KITH_OK);
    return s;
}

static void release(struct subject *s) {
    kith_scratch_destroy(s->scratch);
    kith_index_close(s->index);
    data_free(&s->set);
    void *const all[] = {s->queries, s->distances, s->truth, s->ids, s->place, s->chosen};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]);
}

enum how { RANDOM, NEAR, FAR, HOWS };
static const char *const how_names[] = {"random", "near one", "far from one"};

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The rows that a filter of about this share picks. */
static size_t choose(struct subject *s, enum how how, double share) {
    float *sorted = take(ROWS, sizeof(float));
    ki_rng rng = {5};
    memcpy(sorted, s->place, ROWS * sizeof(float));
    qsort(sorted, ROWS, sizeof(*sorted), compare);
    const size_t wanted = (size_t)(share * ROWS);
    const float border = sorted[how == FAR ? ROWS - wanted : wanted - 1];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (how == RANDOM ? ki_rng_unit(&rng) < share : how == NEAR ? s->place[i] <= border : s->place[i] >= border)
            s->chosen[count++] = data_id(&s->set, i);
    free(sorted);
    return count;
}

/* Search for queries first..first+count. */
static void search(struct subject *s, size_t first, size_t count, const kith_filter *filter, double target,
                   kith_plan plan, float *distances, kith_explain *explain) {
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    queries.data = s->queries + first * DIM;
    queries.dtype = KITH_F32;
    queries.count = count;
    queries.dim = DIM;
    options.filter = filter;
    options.target_recall = target;
    options.plan = plan;
    options.explain = explain;
    if (kith_search(s->index, &queries, K, &options, s->scratch, s->ids + first * K, distances + first * K, &error) !=
        KITH_OK)
        fail_msg("%s", error.text);
}

/* What a search read, of codes and vectors. */
static uint64_t work_of(const kith_explain *explain) {
    return explain->scanned_rows + explain->reranked;
}

/* Searches in calls of `batch`; returns what they read, and how many calls ran plan ivf. */
static uint64_t search_all(struct subject *s, size_t batch, const kith_filter *filter, double target, kith_plan plan,
                           kith_explain *explain, unsigned *planned) {
    uint64_t work = 0, unusual = 0;
    unsigned calls = 0;
    for (size_t first = 0; first < QUERIES; first += batch) {
        *explain = (kith_explain)KITH_EXPLAIN_INIT;
        search(s, first, batch, filter, target, plan, s->distances, explain);
        work += work_of(explain);
        unusual += explain->unusual;
        calls += explain->plan == KITH_PLAN_IVF;
    }
    *planned += calls != 0;
    explain->unusual = unusual;
    return work;
}

static double check_recall(const struct subject *s, const char *name, double target, size_t hits,
                           const kith_explain *explain) {
    size_t found = 0;
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < hits; j++) {
            assert_true(s->ids[i * K + j] != KITH_ID_NONE);
            found += s->distances[i * K + j] <= s->truth[i * K + hits - 1];
        }
    const double recall = (double)found / (double)(QUERIES * hits);
    if (recall < target - 0.01)
        fail_msg("%s: recall is %.4f, asked for was %.2f; plan %s, code %s, nprobe %zu", name, recall, target,
                 explain->plan_name, kith_scan_code_name(explain->code), explain->nprobe);
    return recall;
}

static unsigned check(struct subject *s, const char *kind, enum how how, double share) {
    static const double targets[] = {0.95, 0.99};
    static const size_t batches[] = {QUERIES, 1};
    const size_t count = choose(s, how, share), hits = count < K ? count : K;
    unsigned planned = 0;
    char name[100];
    kith_filter *filter = NULL;
    kith_explain explain = KITH_EXPLAIN_INIT;
    assert_int_equal(kith_filter_create(s->index, s->chosen, count, NULL, &filter, &error), KITH_OK);
    search(s, 0, QUERIES, filter, 0, KITH_PLAN_AUTO, s->truth, &explain);
    snprintf(name, sizeof(name), "%s, %s, %g%%", kind, how_names[how], 100 * share);
    for (size_t t = 0; t < 2; t++)
        for (size_t b = 0; b <= t; b++) { /* one by one at the higher target only: it takes long */
            (void)search_all(s, batches[b], filter, targets[t], KITH_PLAN_AUTO, &explain, &planned);
            const double recall = check_recall(s, name, targets[t], hits, &explain);
            /* Met, not overshot, where neither few lists nor queries that are searched exactly give more: settings are
             * some thousandths apart, and costs, which differ from machine to machine, choose among them. What was
             * expected of the chosen one is near what is found. */
            const double expected = explain.considered[0].recall;
            assert_true(expected < targets[t] + 0.02 || explain.nprobe < 20);
            if (how == RANDOM && explain.nprobe >= 20 && recall > expected + 0.03)
                fail_msg("%s: recall is %.4f, expected was %.4f, nprobe %zu", name, recall, expected, explain.nprobe);
        }
    kith_filter_destroy(filter);
    return planned;
}

static void check_kind(data_kind kind, kith_metric metric) {
    static const double shares[] = {0.5, 0.3, 0.1, 0.01, 0.001};
    struct subject s = make(kind, metric);
    unsigned planned = 0;
    for (int how = RANDOM; how < HOWS; how++)
        for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++)
            planned += check(&s, data_kind_name(kind), (enum how)how, shares[i]);
    print_message("%-10s %-6s %u of 45 searches by plan ivf\n", data_kind_name(kind), kith_metric_name(metric),
                  planned);
    release(&s);
}

static void test_filtered(void **state) {
    (void)state;
    check_kind(DATA_CLUSTERED, KITH_L2SQ);
    check_kind(DATA_LOW_RANK, KITH_IP);
    check_kind(DATA_NORMAL, KITH_COSINE);
}

/* Filters that follow places leave many a query's nearest lists empty. Such queries are searched exactly, and still
 * queries read, on average, not many more codes and vectors than the filter allows, as blocks have others too. */
static void check_work(data_kind kind, kith_metric metric) {
    static const double shares[] = {0.3, 0.15};
    static const size_t batches[] = {QUERIES, 1};
    struct subject s = make(kind, metric);
    for (int how = NEAR; how < HOWS; how++)
        for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++)
            for (size_t b = 0; b < 2; b++) {
                const size_t count = choose(&s, (enum how)how, shares[i]);
                unsigned planned = 0;
                kith_filter *filter = NULL;
                kith_explain explain = KITH_EXPLAIN_INIT;
                assert_int_equal(kith_filter_create(s.index, s.chosen, count, NULL, &filter, &error), KITH_OK);
                search(&s, 0, QUERIES, filter, 0, KITH_PLAN_AUTO, s.truth, &explain);
                const uint64_t work = search_all(&s, batches[b], filter, 0.99, KITH_PLAN_IVF, &explain, &planned);
                (void)check_recall(&s, data_kind_name(kind), 0.99, K, &explain);
                assert_int_equal(planned, 1);
                assert_true(explain.unusual >= QUERIES / 4);
                assert_true(work <= (uint64_t)QUERIES * (count + ROWS / 8));
                kith_filter_destroy(filter);
            }
    release(&s);
}

static void test_work_is_bounded(void **state) {
    (void)state;
    check_work(DATA_CLUSTERED, KITH_L2SQ);
    check_work(DATA_LOW_RANK, KITH_IP);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_filtered), cmocka_unit_test(test_work_is_bounded)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
