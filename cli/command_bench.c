/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith bench`: what searching a given index with given queries takes. Each cell of the table is a closed loop: one
 * call after another for a given time, over queries that go round, so that no call repeats the one before it. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "approximate.h"
#include "bench.h"
#include "progress.h"
#include "source.h"
#include "stats.h"
#include "terminal.h"

#define QUERY_BYTES_MAX (UINT64_C(1) << 30)
#define RESULTS_MAX     (UINT64_C(1) << 27) /* ids of one call: 1 GiB */
#define SAMPLES_MAX     ((size_t)1 << 22)
#define CALLS_MIN       3u

struct workload {
    const struct arguments *arguments;
    struct bench *bench;
    kith_index *index;
    kith_index *truth_index; /* of --against; NULL: index */
    kith_dtype dtype;
    size_t row_bytes, batch_max;
    unsigned char *queries; /* bench->queries rows, then batch_max - 1 more from the start: a call never wraps */
    uint64_t *ids, *samples;
    float *distances;
    kith_search_options wishes; /* plan and parameters, as the options say */
    char plan[64];              /* in words */
    struct progress progress;
};

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

static int read_rows(kith_reader *reader, struct workload *work, size_t wanted) {
    kith_error error = {0};
    size_t done = 0;
    while (done < wanted) {
        kith_rows rows;
        const kith_status status = kith_reader_next(reader, wanted - done < 4096 ? wanted - done : 4096, &rows, &error);
        if (status != KITH_OK) return fail_status(status, &error);
        if (rows.count == 0) break;
        memcpy(work->queries + done * work->row_bytes, rows.data, rows.count * work->row_bytes);
        done += rows.count;
    }
    if (done == 0) return fail(EXIT_INPUT, "%s holds no queries", work->bench->queries_path);
    work->bench->queries = done;
    for (size_t i = 0; i + 1 < work->batch_max; i++)
        memcpy(work->queries + (done + i) * work->row_bytes, work->queries + i * work->row_bytes, work->row_bytes);
    return EXIT_OK;
}

static int load_queries(struct workload *work) {
    kith_reader *reader = NULL;
    kith_reader_info about = KITH_READER_INFO_INIT;
    struct bench *bench = work->bench;
    int failed = queries_open(work->arguments, bench->queries_path, bench->index_path, &bench->info, &reader, &about);
    if (failed) return failed;
    work->dtype = about.dtype;
    work->row_bytes = kith_row_bytes(about.dtype, about.dim);
    const uint64_t most = QUERY_BYTES_MAX / work->row_bytes;
    const size_t wanted = (size_t)(about.rows < most ? about.rows : most);
    if (wanted < about.rows && !option_given(work->arguments, OPTION_QUIET))
        note("only the first %zu queries of %s are used", wanted, bench->queries_path);
    work->queries = calloc(wanted + work->batch_max, work->row_bytes);
    failed = work->queries ? read_rows(reader, work, wanted) : fail(EXIT_OTHER, "out of memory");
    kith_reader_close(reader);
    return failed;
}

/* ---- Recall ------------------------------------------------------------------------------------------------------ */

static int answer(struct workload *work, const kith_index *index, kith_scratch *scratch,
                  const kith_search_options *wishes, size_t first, size_t count, uint64_t *ids, float *distances) {
    kith_error error = {0};
    kith_queries queries = KITH_QUERIES_INIT;
    kith_search_options options = *wishes;
    queries.data = work->queries + first * work->row_bytes;
    queries.dtype = work->dtype;
    queries.count = count;
    queries.dim = work->bench->info.dim;
    options.cancelled = interrupt_asked;
    const kith_status status = kith_search(index, &queries, work->bench->k, &options, scratch, ids, distances, &error);
    if (status == KITH_OK) return EXIT_OK;
    progress_end(&work->progress);
    return fail_status(status, &error);
}

/* Ids in both rows; sorts them. */
static size_t count_common(uint64_t *truth, uint64_t *found, size_t k, size_t *truths) {
    size_t common = 0;
    stats_sort(truth, k);
    stats_sort(found, k);
    for (size_t i = 0, j = 0; i < k && truth[i] != KITH_ID_NONE; i++) {
        ++*truths;
        while (j < k && found[j] < truth[i]) j++;
        common += j < k && found[j] == truth[i];
    }
    return common;
}

/* Where the true answers of some queries are kept, and what finds them. */
struct truth {
    const kith_index *index;
    kith_pool *pool;
    kith_scratch *scratch, *truth_scratch;
    uint64_t *ids;
    float *distances;
};

static int compare_answers(struct workload *work, struct truth *truth, size_t count) {
    struct bench *bench = work->bench;
    const size_t k = bench->k;
    size_t common = 0, truths = 0;
    int failed = EXIT_OK;
    kith_search_options plain = KITH_SEARCH_OPTIONS_INIT;
    plain.plan = KITH_PLAN_PLAIN;
    bench->identical = true;
    for (size_t done = 0; done < count && !failed;) {
        const size_t step = count - done < work->batch_max ? count - done : work->batch_max;
        failed = answer(work, truth->index, truth->truth_scratch, &plain, done, step, truth->ids, truth->distances);
        if (!failed)
            failed = answer(work, work->index, truth->scratch, &work->wishes, done, step, work->ids, work->distances);
        if (failed) break;
        bench->identical = bench->identical && memcmp(truth->ids, work->ids, step * k * sizeof(*truth->ids)) == 0 &&
                           memcmp(truth->distances, work->distances, step * k * sizeof(*truth->distances)) == 0;
        for (size_t i = 0; i < step; i++) common += count_common(truth->ids + i * k, work->ids + i * k, k, &truths);
        done += step;
        progress_step(&work->progress, "comparing", "queries", done, count);
    }
    bench->truth_queries = count;
    bench->recall = truths ? (double)common / (double)truths : 1;
    return failed;
}

static int open_truth(struct workload *work, struct truth *truth) {
    kith_error error = {0};
    const size_t results = work->batch_max * work->bench->k;
    truth->index = work->truth_index ? work->truth_index : work->index;
    truth->ids = calloc(results, sizeof(*truth->ids));
    truth->distances = calloc(results, sizeof(*truth->distances));
    if (!truth->ids || !truth->distances) return fail(EXIT_OTHER, "out of memory");
    kith_status status = kith_pool_create(0, &truth->pool, &error);
    if (status == KITH_OK) status = kith_scratch_create(work->index, truth->pool, &truth->scratch, &error);
    if (status == KITH_OK) status = kith_scratch_create(truth->index, truth->pool, &truth->truth_scratch, &error);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

static int measure_recall(struct workload *work) {
    struct truth truth = {.index = NULL};
    size_t count = (size_t)option_number(work->arguments, OPTION_TRUTH, 100);
    if (count > work->bench->queries) count = work->bench->queries;
    /* Without originals there is nothing that a plain scan could read. */
    if (count == 0 || (!work->bench->info.has_originals && !work->truth_index)) return EXIT_OK;
    int failed = open_truth(work, &truth);
    if (!failed) failed = compare_answers(work, &truth, count);
    kith_scratch_destroy(truth.truth_scratch);
    kith_scratch_destroy(truth.scratch);
    kith_pool_destroy(truth.pool);
    free(truth.distances);
    free(truth.ids);
    return failed;
}

/* ---- Speed ------------------------------------------------------------------------------------------------------- */

static void fill_run(struct bench_run *run, uint64_t *samples, size_t calls, uint64_t took_ns) {
    run->calls = calls;
    run->queries_per_second = (double)calls * (double)run->batch / ((double)took_ns * 1e-9);
    run->mean_ns = stats_mean(samples, calls);
    stats_sort(samples, calls);
    run->p50_ns = stats_percentile(samples, calls, 50);
    run->p95_ns = stats_percentile(samples, calls, 95);
    run->p99_ns = stats_percentile(samples, calls, 99);
    run->p999_ns = stats_percentile(samples, calls, 99.9);
}

static int measure(struct workload *work, kith_scratch *scratch, struct bench_run *run, uint64_t done_ns,
                   uint64_t all_ns) {
    const uint64_t time_ns = (uint64_t)(option_real(work->arguments, OPTION_SECONDS, 1) * 1e9);
    size_t first = 0, calls = 0;
    int failed = answer(work, work->index, scratch, &work->wishes, 0, run->batch, work->ids,
                        work->distances); /* warms the scratch */
    const uint64_t start_ns = now_ns();
    uint64_t before_ns = start_ns;
    while (!failed && calls < SAMPLES_MAX && (calls < CALLS_MIN || before_ns - start_ns < time_ns)) {
        failed = answer(work, work->index, scratch, &work->wishes, first, run->batch, work->ids, work->distances);
        const uint64_t after_ns = now_ns();
        work->samples[calls++] = after_ns - before_ns;
        first = (first + run->batch) % work->bench->queries;
        const uint64_t part_ns = after_ns - start_ns < time_ns ? after_ns - start_ns : time_ns;
        progress_step(&work->progress, "measuring", "", done_ns + part_ns, all_ns);
        before_ns = now_ns(); /* drawing is not part of any call */
    }
    if (!failed) {
        uint64_t took_ns = 0;
        for (size_t i = 0; i < calls; i++) took_ns += work->samples[i];
        fill_run(run, work->samples, calls, took_ns ? took_ns : 1);
    }
    return failed;
}

/* What is read for the first time is slow: pages have to be found, or made. So all queries are answered once, as far as
 * a line of the table takes, in calls of the largest batch. */
static int touch(struct workload *work, kith_scratch *scratch, uint64_t most_ns) {
    struct bench *bench = work->bench;
    const uint64_t start_ns = now_ns();
    size_t done = 0;
    int failed = EXIT_OK;
    while (!failed && done < bench->queries && (!done || now_ns() - start_ns < most_ns)) {
        failed = answer(work, work->index, scratch, &work->wishes, done, work->batch_max, work->ids, work->distances);
        done += work->batch_max;
    }
    bench->first_ns = (now_ns() - start_ns) / (done ? done : 1);
    return failed;
}

static int measure_threads(struct workload *work, size_t begin, size_t end, uint64_t one_ns) {
    kith_error error = {0};
    struct bench *bench = work->bench;
    kith_pool *pool = NULL;
    kith_scratch *scratch = NULL;
    kith_status status = kith_pool_create(bench->runs[begin].threads, &pool, &error);
    if (status == KITH_OK) status = kith_scratch_create(work->index, pool, &scratch, &error);
    int failed = status == KITH_OK ? EXIT_OK : fail_status(status, &error);
    if (!failed && begin == 0) failed = touch(work, scratch, one_ns);
    for (size_t i = begin; i < end && !failed; i++)
        failed = measure(work, scratch, &bench->runs[i], i * one_ns, bench->run_count * one_ns);
    kith_scratch_destroy(scratch);
    kith_pool_destroy(pool);
    return failed;
}

static int measure_speed(struct workload *work) {
    struct bench *bench = work->bench;
    const uint64_t one_ns = (uint64_t)(option_real(work->arguments, OPTION_SECONDS, 1) * 1e9);
    int failed = EXIT_OK;
    for (size_t begin = 0, end; begin < bench->run_count && !failed; begin = end) {
        for (end = begin; end < bench->run_count && bench->runs[end].threads == bench->runs[begin].threads;) end++;
        failed = measure_threads(work, begin, end, one_ns);
    }
    return failed;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

/* Runs for every number of threads and batch size, those of one number of threads together. */
static int plan_runs(struct workload *work) {
    struct bench *bench = work->bench;
    uint64_t batches[OPTION_NUMBERS_MAX], threads[OPTION_NUMBERS_MAX];
    size_t batch_count = option_numbers(work->arguments, OPTION_BATCH, batches);
    size_t thread_count = option_numbers(work->arguments, OPTION_THREADS, threads);
    if (batch_count == 0) {
        batches[batch_count++] = 1;
        batches[batch_count++] = 32;
        batches[batch_count++] = 1000;
    }
    if (thread_count == 0) {
        threads[thread_count++] = 1;
        if (bench->cpu.threads > 1) threads[thread_count++] = bench->cpu.threads;
    }
    bench->runs = calloc(batch_count * thread_count, sizeof(*bench->runs));
    if (!bench->runs) return fail(EXIT_OTHER, "out of memory");
    for (size_t t = 0; t < thread_count; t++) {
        for (size_t b = 0; b < batch_count; b++) {
            bench->runs[bench->run_count++] =
                (struct bench_run){.threads = (unsigned)threads[t], .batch = (size_t)batches[b]};
            if (batches[b] > work->batch_max) work->batch_max = (size_t)batches[b];
        }
    }
    if (work->batch_max > RESULTS_MAX / bench->k)
        return fail_usage(COMMAND_BENCH, "--batch %zu with -k %zu gives more than %llu results a call", work->batch_max,
                          bench->k, (unsigned long long)RESULTS_MAX);
    return EXIT_OK;
}

static int check_outputs(const struct arguments *arguments) {
    const double seconds = option_real(arguments, OPTION_SECONDS, 1);
    if (!(seconds > 0 && seconds <= 3600))
        return fail_usage(COMMAND_BENCH, "--seconds is \"%s\", but more than 0 and at most 3600 was expected",
                          option_text(arguments, OPTION_SECONDS, ""));
    if (option_number(arguments, OPTION_PLAN, 0) == KITH_PLAN_GATHER)
        return fail_usage(COMMAND_BENCH, "--plan gather needs allowed ids, which bench does not take");
    const char *json = option_text(arguments, OPTION_JSON_FILE, "-"), *svg = option_text(arguments, OPTION_SVG, NULL);
    const int refused =
        strcmp(json, "-") == 0 ? EXIT_OK : output_replace(arguments, json, OUTPUT_JSON, KITH_FORMAT_AUTO);
    return refused || !svg ? refused : output_replace(arguments, svg, OUTPUT_SVG, KITH_FORMAT_AUTO);
}

/* Until what --resident copies is there, which is when nothing was added for a while. */
static void wait_for_copy(struct workload *work) {
    const struct timespec moment = {.tv_nsec = 250000000};
    kith_index_info *info = &work->bench->info;
    uint64_t before = UINT64_MAX;
    while (before != info->hot_bytes) {
        before = info->hot_bytes;
        nanosleep(&moment, NULL);
        kith_index_get_info(work->index, info);
    }
}

static int open_indexes(struct workload *work) {
    struct bench *bench = work->bench;
    const uint64_t start_ns = now_ns();
    int failed = index_open_resident(work->arguments, bench->index_path, &work->index, &bench->info);
    bench->open_ns = now_ns() - start_ns;
    if (!failed && option_number(work->arguments, OPTION_COPY, KITH_RESIDENT_NONE)) wait_for_copy(work);
    if (failed || !option_given(work->arguments, OPTION_AGAINST)) return failed;
    kith_index_info truth = KITH_INDEX_INFO_INIT;
    const char *path = option_text(work->arguments, OPTION_AGAINST, "");
    failed = index_open(path, &work->truth_index, &truth);
    if (failed) return failed;
    if (!truth.has_originals) return fail(EXIT_INPUT, "%s has no originals, so its answers are not the truth", path);
    if (truth.rows == bench->info.rows && truth.dim == bench->info.dim && truth.metric == bench->info.metric &&
        (truth.dtype == KITH_B1) == (bench->info.dtype == KITH_B1))
        return EXIT_OK;
    return fail(EXIT_INPUT, "%s and %s are not made of the same vectors with the same metric", path, bench->index_path);
}

static int prepare(struct workload *work) {
    kith_error error = {0};
    struct bench *bench = work->bench;
    int failed = check_outputs(work->arguments);
    if (failed) return failed;
    const kith_status status = kith_cpu_info(&bench->cpu, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    bench->k = (size_t)option_number(work->arguments, OPTION_K, 10);
    work->wishes = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    failed = approximate_options(work->arguments, &work->wishes);
    if (failed) return failed;
    snprintf(work->plan, sizeof(work->plan), "%s", kith_plan_name(work->wishes.plan));
    if (work->wishes.target_recall > 0)
        snprintf(work->plan, sizeof(work->plan), "%s for a recall of %g", kith_plan_name(work->wishes.plan),
                 work->wishes.target_recall);
    bench->plan = work->plan;
    failed = plan_runs(work);
    if (failed) return failed;
    failed = open_indexes(work);
    if (!failed) failed = load_queries(work);
    if (failed) return failed;
    work->ids = calloc(work->batch_max * bench->k, sizeof(*work->ids));
    work->distances = calloc(work->batch_max * bench->k, sizeof(*work->distances));
    work->samples = calloc(SAMPLES_MAX, sizeof(*work->samples));
    return work->ids && work->distances && work->samples ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static int tell(const struct arguments *arguments, const struct bench *bench) {
    const char *json = option_text(arguments, OPTION_JSON_FILE, NULL), *svg = option_text(arguments, OPTION_SVG, NULL);
    int failed = EXIT_OK;
    if (!json || strcmp(json, "-") != 0) failed = bench_table(bench);
    if (json && !failed) failed = bench_json(bench, json);
    if (svg && !failed) failed = bench_svg(bench, svg);
    return failed;
}

int command_bench(const struct arguments *arguments) {
    struct bench bench = {.index_path = arguments->operands[0], .queries_path = arguments->operands[1]};
    struct workload work = {.arguments = arguments, .bench = &bench};
    bench.info = (kith_index_info)KITH_INDEX_INFO_INIT;
    bench.cpu = (kith_cpu)KITH_CPU_INIT;
    int failed = prepare(&work);
    progress_start(&work.progress, option_given(arguments, OPTION_QUIET));
    if (!failed) failed = measure_recall(&work);
    if (!failed) failed = measure_speed(&work);
    progress_end(&work.progress);
    if (!failed) failed = tell(arguments, &bench);
    kith_index_close(work.truth_index);
    kith_index_close(work.index);
    free(work.queries);
    free(work.ids);
    free(work.distances);
    free(work.samples);
    free(bench.runs);
    return failed;
}
