/* SPDX-License-Identifier: Apache-2.0
 *
 * Measures and judges: all test pictures in batches, some one at a time, some by the plain scan, whose answers every
 * other must equal bit for bit; then lets the neighbours vote on what each picture shows.
 *
 * M1. Times enclose the searches alone: no copying, no printing.
 * M2. Slow tiers and machines measure fewer queries rather than taking longer; counts are reported beside the times. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "demo/demo.h"
#include "stats.h"

#define PLAIN_BLOCK        25u
#define PLAIN_MAX          500u
#define PLAIN_SECONDS      3.0
#define SINGLE_SECONDS     6.0
#define SWEEP_SECONDS      0.5 /* a size is repeated this long */
#define SWEEP_CALL_SECONDS 2.5 /* a size whose one call would take longer is left out */

static double seconds_since(uint64_t start_ns) {
    return (double)(now_ns() - start_ns) * 1e-9;
}

static const uint8_t *test_picture(const struct demo *demo, size_t row) {
    return demo->test.data + row * DEMO_DIM;
}

int demo_search(struct demo *demo, const void *vectors, kith_dtype dtype, size_t count, size_t k, kith_plan plan,
                kith_explain *explain, uint64_t *ids, float *distances) {
    kith_error error = {0};
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    queries.data = vectors;
    queries.dtype = dtype;
    queries.count = count;
    queries.dim = DEMO_DIM;
    options.plan = plan;
    options.cancelled = interrupt_asked;
    options.explain = explain;
    kith_status status = kith_search(demo->index, &queries, k, &options, demo->scratch, ids, distances, &error);
    if (!status) return EXIT_OK;
    progress_end(&demo->progress);
    return fail_status(status, &error);
}

static int interrupted(struct demo *demo) {
    progress_end(&demo->progress);
    return fail(interrupt_exit_code(), "interrupted");
}

/* Sum what the batches did, so that the page can tell of all queries at once. */
static void add_explain(kith_explain *sum, const kith_explain *part) {
    const kith_explain before = *sum;
    *sum = *part;
    sum->queries += before.queries;
    sum->scanned_bytes += before.scanned_bytes;
    sum->level1_survivors += before.level1_survivors;
    sum->candidates += before.candidates;
    sum->reranked += before.reranked;
    sum->total_ns += before.total_ns;
    for (int i = 0; i < KITH_STAGES; i++) sum->stage_ns[i] += before.stage_ns[i];
}

/* The first searches grow the scratch and bring the file into memory; they are not timed. */
static int warm_up(struct demo *demo) {
    size_t count = demo->test.count < 64 ? demo->test.count : 64;
    int failed =
        demo_search(demo, demo->test.data, KITH_U8, count, DEMO_K, KITH_PLAN_AUTO, NULL, demo->ids, demo->distances);
    if (failed) return failed;
    return demo_search(demo, demo->test.data, KITH_U8, 1, DEMO_K, KITH_PLAN_AUTO, NULL, demo->ids, demo->distances);
}

static int measure_batches(struct demo *demo) {
    for (size_t done = 0; done < demo->test.count;) {
        size_t count = demo->test.count - done < DEMO_BATCH ? demo->test.count - done : DEMO_BATCH;
        kith_explain explain = KITH_EXPLAIN_INIT;
        uint64_t start = now_ns();
        int failed = demo_search(demo, test_picture(demo, done), KITH_U8, count, DEMO_K, KITH_PLAN_AUTO, &explain,
                                 demo->ids + done * DEMO_K, demo->distances + done * DEMO_K);
        if (failed) return failed;
        demo->batch_seconds += seconds_since(start);
        add_explain(&demo->explain, &explain);
        done += count;
        if (progress_step(&demo->progress, "searching", "queries", done, demo->test.count)) return interrupted(demo);
    }
    return EXIT_OK;
}

/* Equal ids and equal bits of every distance. */
static size_t count_identical(const struct demo *demo, size_t first, size_t count, const uint64_t *ids,
                              const float *distances) {
    size_t identical = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (first + i) * DEMO_K;
        identical += memcmp(ids + i * DEMO_K, demo->ids + at, DEMO_K * sizeof(*ids)) == 0 &&
                     memcmp(distances + i * DEMO_K, demo->distances + at, DEMO_K * sizeof(*distances)) == 0;
    }
    return identical;
}

/* One query a call. Their answers must be those of the batch. */
static int measure_singles(struct demo *demo) {
    uint64_t ids[DEMO_K], begin = now_ns();
    float distances[DEMO_K];
    size_t wanted = demo->test.count < DEMO_SINGLES ? demo->test.count : DEMO_SINGLES;
    for (size_t i = 0; i < wanted && (i < 20 || seconds_since(begin) < SINGLE_SECONDS); i++) {
        uint64_t start = now_ns();
        int failed = demo_search(demo, test_picture(demo, i), KITH_U8, 1, DEMO_K, KITH_PLAN_AUTO, NULL, ids, distances);
        if (failed) return failed;
        demo->latency_ns[demo->latencies++] = now_ns() - start;
        if (count_identical(demo, i, 1, ids, distances) != 1) {
            progress_end(&demo->progress);
            return fail(EXIT_OTHER,
                        "picture %zu gets one answer alone and another in a batch: this is a defect of kith", i);
        }
        if (progress_step(&demo->progress, "one by one", "queries", i + 1, wanted)) return interrupted(demo);
    }
    stats_sort(demo->latency_ns, demo->latencies);
    return EXIT_OK;
}

/* The reference: the defining kernel against every vector, on the same threads. */
static int measure_plain(struct demo *demo) {
    uint64_t ids[PLAIN_BLOCK * DEMO_K];
    float distances[PLAIN_BLOCK * DEMO_K];
    size_t wanted = demo->test.count < PLAIN_MAX ? demo->test.count : PLAIN_MAX;
    while (demo->checked < wanted && demo->plain_seconds < PLAIN_SECONDS) {
        size_t count = wanted - demo->checked < PLAIN_BLOCK ? wanted - demo->checked : PLAIN_BLOCK;
        uint64_t start = now_ns();
        int failed = demo_search(demo, test_picture(demo, demo->checked), KITH_U8, count, DEMO_K, KITH_PLAN_PLAIN, NULL,
                                 ids, distances);
        if (failed) return failed;
        demo->plain_seconds += seconds_since(start);
        demo->identical += count_identical(demo, demo->checked, count, ids, distances);
        demo->checked += count;
        if (progress_step(&demo->progress, "plain scan", "queries", demo->checked, wanted)) return interrupted(demo);
    }
    return EXIT_OK;
}

static int measure_size(struct demo *demo, size_t batch, uint64_t *ids, float *distances, double *per_second) {
    double spent = 0;
    size_t done = 0, at = 0;
    while (spent < SWEEP_SECONDS) {
        if (at + batch > demo->test.count) at = 0;
        uint64_t start = now_ns();
        int failed =
            demo_search(demo, test_picture(demo, at), KITH_U8, batch, DEMO_K, KITH_PLAN_AUTO, NULL, ids, distances);
        if (failed) return failed;
        spent += seconds_since(start);
        done += batch;
        at += batch;
    }
    *per_second = (double)done / spent;
    return EXIT_OK;
}

static int measure_sweep(struct demo *demo) {
    static const size_t sizes[DEMO_SWEEP_MAX] = {1, 4, 16, 64, 256, 1024, 4096, 10000};
    size_t largest = demo->test.count < sizes[DEMO_SWEEP_MAX - 1] ? demo->test.count : sizes[DEMO_SWEEP_MAX - 1];
    uint64_t *ids = calloc(largest * DEMO_K, sizeof(*ids));
    float *distances = calloc(largest * DEMO_K, sizeof(*distances));
    int failed = ids && distances ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    for (size_t i = 0; !failed && i < DEMO_SWEEP_MAX; i++) {
        struct demo_rate rate = {.batch = sizes[i]};
        if (sizes[i] > largest || (double)sizes[i] / demo_batch_rate(demo) > SWEEP_CALL_SECONDS) break;
        failed = measure_size(demo, sizes[i], ids, distances, &rate.per_second);
        if (failed) break;
        demo->sweep[demo->sweep_count++] = rate;
        if (progress_step(&demo->progress, "batch sizes", "sizes", i + 1, DEMO_SWEEP_MAX)) failed = interrupted(demo);
    }
    free(ids);
    free(distances);
    return failed;
}

/* The class most of the first `votes` neighbours have; among equals the one whose nearest member comes first. */
static uint8_t vote(const struct demo *demo, size_t query, size_t votes) {
    unsigned count[DEMO_CLASSES] = {0}, most = 0;
    uint8_t answer = 0;
    const uint64_t *ids = demo->ids + query * DEMO_K;
    for (size_t i = 0; i < votes; i++) {
        unsigned cast = ++count[demo->train_labels.data[ids[i]]];
        if (cast > most) most = cast;
    }
    for (size_t i = votes; i-- > 0;) {
        uint8_t label = demo->train_labels.data[ids[i]];
        if (count[label] == most) answer = label;
    }
    return answer;
}

static int judge(struct demo *demo) {
    for (size_t i = 0; i < demo->test.count * DEMO_K; i++)
        if (demo->ids[i] >= demo->train.count)
            return fail(EXIT_OTHER, "a search returned a picture that does not exist: this is a defect of kith");
    for (size_t query = 0; query < demo->test.count; query++) {
        uint8_t truth = demo->test_labels.data[query];
        for (size_t votes = 1; votes <= DEMO_K; votes++)
            demo->right_by_votes[votes - 1] += vote(demo, query, votes) == truth;
        demo->answers[query] = vote(demo, query, DEMO_VOTES);
        demo->confusion[truth][demo->answers[query]]++;
    }
    return EXIT_OK;
}

int demo_measure(struct demo *demo) {
    demo->ids = calloc(demo->test.count * DEMO_K, sizeof(*demo->ids));
    demo->distances = calloc(demo->test.count * DEMO_K, sizeof(*demo->distances));
    demo->latency_ns = calloc(DEMO_SINGLES, sizeof(*demo->latency_ns));
    demo->answers = calloc(demo->test.count, 1);
    if (!demo->ids || !demo->distances || !demo->latency_ns || !demo->answers) return fail(EXIT_OTHER, "out of memory");
    int failed = warm_up(demo);
    if (!failed) failed = measure_batches(demo);
    if (!failed) failed = measure_singles(demo);
    if (!failed) failed = measure_plain(demo);
    if (!failed) failed = measure_sweep(demo);
    return failed ? failed : judge(demo);
}

double demo_batch_rate(const struct demo *demo) {
    return (double)demo->test.count / fmax(demo->batch_seconds, 1e-9);
}

double demo_plain_rate(const struct demo *demo) {
    return (double)demo->checked / fmax(demo->plain_seconds, 1e-9);
}

double demo_accuracy(const struct demo *demo) {
    return (double)demo->right_by_votes[DEMO_VOTES - 1] / (double)demo->test.count;
}

double demo_latency_ms(const struct demo *demo, double percent) {
    return (double)stats_percentile(demo->latency_ns, demo->latencies, percent) * 1e-6;
}
