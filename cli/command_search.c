/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith search`: queries in batches from a file, or one from the command line; results to one of the sinks of
 * results.h. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "approximate.h"
#include "progress.h"
#include "query_text.h"
#include "results.h"
#include "source.h"
#include "terminal.h"

/* Bounds of one call: large enough that queries share every pass over the index, small enough for memory and for a
 * progress bar that moves. */
#define BATCH_QUERIES 2048u
#define BATCH_RESULTS (UINT64_C(1) << 21)
#define BATCH_BYTES   (UINT64_C(64) << 20)
#define BATCH_RANGES  256u                /* queries of a range search, fewer where they have many results: */
#define RANGE_RESULTS (UINT64_C(1) << 18) /* as many as this, or one query's */

struct search {
    const struct arguments *arguments;
    const char *index_path;
    kith_index *index;
    kith_index_info info;
    kith_pool *pool;
    kith_scratch *scratch;
    kith_filter *filter;
    kith_reader *reader;
    kith_search_options wishes; /* plan and parameters, as the options say */
    void *single;               /* the one query of --query or --id */
    uint64_t left_out;          /* --id: the id itself; else KITH_ID_NONE */
    uint64_t query_count;
    size_t k; /* as printed */
    bool ranged;
    float radius;
    size_t batch;         /* queries of the next call */
    uint64_t deadline_ns; /* 0: none */
    uint64_t *ids;
    float *distances;
    kith_explain explain; /* of all batches */
    struct results results;
    struct progress progress;
};

/* ---- One query from the command line ----------------------------------------------------------------------------- */

static int single_from_id(struct search *search, const char *text) {
    uint64_t id = 0;
    kith_error error = {0};
    const int failed = id_parse(search->index, &search->info, search->index_path, text, &id);
    if (failed) return failed;
    const kith_status status = kith_index_vector(search->index, id, search->single, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    search->left_out = id;
    return EXIT_OK;
}

static int open_single(struct search *search) {
    search->single = calloc(search->info.dim, sizeof(float)); /* enough for bits too */
    if (!search->single) return fail(EXIT_OTHER, "out of memory");
    search->query_count = 1;
    if (option_given(search->arguments, OPTION_QUERY))
        return query_parse(option_text(search->arguments, OPTION_QUERY, ""), search->index_path,
                           search->info.dtype == KITH_B1, search->info.dim, search->single);
    return single_from_id(search, option_text(search->arguments, OPTION_ID, ""));
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

static void add_explain(kith_explain *sum, const kith_explain *one) {
    const kith_explain before = *sum;
    *sum = *one;
    sum->queries += before.queries;
    sum->scanned_bytes += before.scanned_bytes;
    sum->scanned_rows += before.scanned_rows;
    sum->probed_lists += before.probed_lists;
    sum->unusual += before.unusual;
    sum->level1_survivors += before.level1_survivors;
    sum->candidates += before.candidates;
    sum->reranked += before.reranked;
    sum->total_ns += before.total_ns;
    for (int i = 0; i < KITH_STAGES; i++) sum->stage_ns[i] += before.stage_ns[i];
    sum->device_upload_ns += before.device_upload_ns;
    sum->device_compute_ns += before.device_compute_ns;
    sum->device_download_ns += before.device_download_ns;
}

/* Options of the next call. False when the time is up already. */
static bool call_options(struct search *search, kith_search_options *options, kith_explain *explain) {
    *options = search->wishes;
    options->filter = search->filter;
    options->cancelled = interrupt_asked;
    options->explain = explain;
    if (!search->deadline_ns) return true;
    const uint64_t now = now_ns();
    if (now >= search->deadline_ns) return false;
    options->timeout_ns = search->deadline_ns - now;
    return true;
}

static int fail_late(const struct search *search) {
    return fail(EXIT_STOPPED, "the search did not end within %s", option_text(search->arguments, OPTION_TIMEOUT, ""));
}

/* The library counts queries within a call: "query 3 holds a NaN". People need the row of their file. */
static int fail_query(const struct search *search, const kith_error *error, uint64_t first) {
    unsigned long long query = 0;
    int used = 0;
    if (!search->reader || sscanf(error->text, "query %llu %n", &query, &used) != 1 || used == 0)
        return fail_status(KITH_E_DATA, error);
    return fail(EXIT_INPUT, "%s: row %llu %s", search->arguments->operands[1], (unsigned long long)(first + query),
                error->text + used);
}

static int fail_search(const struct search *search, kith_status status, const kith_error *error, uint64_t first) {
    if (status == KITH_E_DATA) return fail_query(search, error, first);
    return status == KITH_E_DEADLINE ? fail_late(search) : fail_status(status, error);
}

/* Add a query's results without the id that is left out; at most k unless a radius was asked for. */
static int add_results(struct search *search, uint64_t query, uint64_t *ids, float *distances, size_t count) {
    if (search->left_out != KITH_ID_NONE) {
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            if (ids[i] == search->left_out) continue;
            ids[kept] = ids[i];
            distances[kept++] = distances[i];
        }
        count = kept;
    }
    if (!search->ranged && count > search->k) count = search->k;
    return results_add(&search->results, query, ids, distances, count);
}

static int search_nearest(struct search *search, const kith_queries *queries, uint64_t first, size_t k) {
    kith_error error = {0};
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    if (!call_options(search, &options, &explain)) return fail_late(search);
    const kith_status status =
        kith_search(search->index, queries, k, &options, search->scratch, search->ids, search->distances, &error);
    if (status != KITH_OK) return fail_search(search, status, &error, first);
    add_explain(&search->explain, &explain);
    int failed = EXIT_OK;
    for (size_t i = 0; i < queries->count && !failed; i++)
        failed = add_results(search, first + i, search->ids + i * k, search->distances + i * k, k);
    return failed;
}

/* The results of one query of a range search, copied only where one of them is to be left out. */
static int add_range(struct search *search, uint64_t query, const kith_ranges *ranges, size_t at) {
    const uint64_t begin = ranges->offsets[at];
    const size_t count = (size_t)(ranges->offsets[at + 1] - begin);
    if (search->left_out == KITH_ID_NONE)
        return results_add(&search->results, query, ranges->ids + begin, ranges->distances + begin, count);
    uint64_t *ids = malloc(count * sizeof(*ids) + 1);
    float *distances = malloc(count * sizeof(*distances) + 1);
    int failed = ids && distances ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    if (!failed && count) {
        memcpy(ids, ranges->ids + begin, count * sizeof(*ids));
        memcpy(distances, ranges->distances + begin, count * sizeof(*distances));
    }
    if (!failed) failed = add_results(search, query, ids, distances, count);
    free(ids);
    free(distances);
    return failed;
}

static int search_radius(struct search *search, const kith_queries *queries, uint64_t first) {
    kith_error error = {0};
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_ranges ranges;
    if (!call_options(search, &options, &explain)) return fail_late(search);
    const kith_status status =
        kith_search_range(search->index, queries, search->radius, &options, search->scratch, &ranges, &error);
    if (status != KITH_OK) return fail_search(search, status, &error, first);
    add_explain(&search->explain, &explain);
    int failed = EXIT_OK;
    for (size_t i = 0; i < ranges.queries && !failed; i++) failed = add_range(search, first + i, &ranges, i);
    /* The size of the next call follows from the results of this one. */
    const uint64_t mean = ranges.queries ? ranges.offsets[ranges.queries] / ranges.queries : 0;
    search->batch = mean > RANGE_RESULTS / BATCH_RANGES ? (size_t)(RANGE_RESULTS / mean) : BATCH_RANGES;
    if (search->batch == 0) search->batch = 1;
    return failed;
}

static int search_batch(struct search *search, const void *data, kith_dtype dtype, size_t count, uint64_t first,
                        size_t k) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = data;
    queries.dtype = dtype;
    queries.count = count;
    queries.dim = search->info.dim;
    const int failed =
        search->ranged ? search_radius(search, &queries, first) : search_nearest(search, &queries, first, k);
    return failed ? failed : results_flush(&search->results);
}

static size_t batch_size(const struct search *search, size_t k, size_t row_bytes) {
    uint64_t count = search->ranged ? 1 : BATCH_QUERIES; /* the first range tells how large they are */
    if (!search->ranged && count > BATCH_RESULTS / k) count = BATCH_RESULTS / k;
    if (count > BATCH_BYTES / row_bytes) count = BATCH_BYTES / row_bytes;
    if (count > search->query_count) count = search->query_count;
    return count ? (size_t)count : 1;
}

static int search_file(struct search *search, kith_dtype dtype, size_t k) {
    kith_error error = {0};
    /* A bar beside a table that scrolls on the same terminal would only tear it. */
    const bool printing = search->results.kind == RESULTS_TABLE || search->results.kind == RESULTS_JSON;
    progress_start(&search->progress,
                   option_given(search->arguments, OPTION_QUIET) || (printing && terminal_is(stdout)));
    const uint64_t row0 = option_number(search->arguments, OPTION_FIRST_ROW, 0);
    int failed = EXIT_OK;
    for (uint64_t done = 0; !failed;) {
        kith_rows rows;
        const kith_status status = kith_reader_next(search->reader, search->batch, &rows, &error);
        if (status != KITH_OK) {
            failed = fail_status(status, &error);
            break;
        }
        if (rows.count == 0) break;
        failed = search_batch(search, rows.data, dtype, rows.count, row0 + done, k);
        done += rows.count;
        progress_step(&search->progress, "searching", "queries", done, search->query_count);
    }
    progress_end(&search->progress);
    return failed;
}

static int run_search(struct search *search) {
    kith_reader_info about = KITH_READER_INFO_INIT;
    const kith_dtype single_type = search->info.dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    about.dtype = single_type;
    if (search->reader) kith_reader_get_info(search->reader, &about);
    /* One more when the query's own id is to be left out, so that k others come. */
    const size_t k = search->k + (search->left_out != KITH_ID_NONE && search->k < KITH_K_MAX);
    const size_t batch = batch_size(search, k, kith_row_bytes(about.dtype, search->info.dim));
    const size_t results = search->ranged ? 1 : batch * k;
    search->batch = batch;
    search->ids = calloc(results, sizeof(*search->ids));
    search->distances = calloc(results, sizeof(*search->distances));
    if (!search->ids || !search->distances) return fail(EXIT_OTHER, "out of memory");
    if (!search->reader) return search_batch(search, search->single, single_type, 1, 0, k);
    return search_file(search, about.dtype, k);
}

/* ---- Explaining -------------------------------------------------------------------------------------------------- */

static const char *const stage_names[KITH_STAGES] = {"prepare", "scan", "rerank", "select"};

static void considered_json(struct json *json, const kith_explain *explain) {
    emit_array(json, "considered");
    for (size_t i = 0; i < explain->considered_count; i++) {
        const bool walks = plan_walks(explain->considered[i].plan);
        emit_object(json, NULL);
        emit_text(json, "plan", kith_plan_name(explain->considered[i].plan));
        emit_text(json, "code", kith_scan_code_name(explain->considered[i].code));
        emit_uint(json, "nprobe", walks ? 0 : explain->considered[i].nprobe);
        emit_uint(json, "effort", walks ? explain->considered[i].nprobe : 0);
        emit_uint(json, "rerank", explain->considered[i].rerank);
        emit_real(json, "recall", explain->considered[i].recall);
        emit_real(json, "query_ns", explain->considered[i].query_ns);
        emit_text(json, "why", explain->considered[i].why);
        emit_object_end(json);
    }
    emit_array_end(json);
}

/* The plans that were weighed, the chosen one first. */
static void considered_table(const kith_explain *explain) {
    for (size_t i = 0; i < explain->considered_count; i++) {
        char what[PLAN_WORDS + 32] = "", words[PLAN_WORDS], time[HUMAN_BYTES] = "";
        const double query_ns = explain->considered[i].query_ns;
        if (*plan_words(words, explain->considered[i].plan, explain->considered[i].code, explain->considered[i].nprobe))
            snprintf(what, sizeof(what), " (%s), recall %.4f", words, explain->considered[i].recall);
        if (query_ns > 0) human_duration(time, query_ns * 1e-9);
        pair_line(stderr, i ? "" : "considered", "%s%s%s%s%s: %s", kith_plan_name(explain->considered[i].plan), what,
                  *time ? ", " : "", time, *time ? " a query" : "", explain->considered[i].why);
    }
}

static void explain_json(const kith_explain *explain) {
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    emit_object(&json, "explain");
    emit_text(&json, "plan", explain->plan_name);
    emit_text(&json, "tier", explain->tier);
    emit_bool(&json, "exact", explain->exact != 0);
    emit_uint(&json, "threads", explain->threads);
    emit_uint(&json, "queries", explain->queries);
    emit_uint(&json, "rows", explain->rows);
    emit_uint(&json, "allowed", explain->allowed);
    emit_uint(&json, "nprobe", explain->nprobe);
    emit_uint(&json, "effort", explain->effort);
    emit_uint(&json, "rerank", explain->rerank);
    emit_text(&json, "code", kith_scan_code_name(explain->code));
    emit_uint(&json, "unusual", explain->unusual);
    considered_json(&json, explain);
    emit_uint(&json, "scanned_bytes", explain->scanned_bytes);
    emit_uint(&json, "scanned_rows", explain->scanned_rows);
    emit_uint(&json, "probed_lists", explain->probed_lists);
    emit_uint(&json, "level1_survivors", explain->level1_survivors);
    emit_uint(&json, "candidates", explain->candidates);
    emit_uint(&json, "reranked", explain->reranked);
    emit_uint(&json, "visited", explain->visited);
    emit_bool(&json, "hot", explain->hot != 0);
    emit_uint(&json, "total_ns", explain->total_ns);
    emit_object(&json, "stage_ns");
    for (int i = 0; i < KITH_STAGES; i++) emit_uint(&json, stage_names[i], explain->stage_ns[i]);
    emit_object_end(&json);
    emit_text(&json, "device", explain->device);
    emit_object(&json, "device_ns");
    emit_uint(&json, "upload", explain->device_upload_ns);
    emit_uint(&json, "compute", explain->device_compute_ns);
    emit_uint(&json, "download", explain->device_download_ns);
    emit_object_end(&json);
    emit_object_end(&json);
    emit_object_end(&json);
}

/* What an approximate plan looked at, by its parameters. */
static void parameters_line(const kith_explain *explain) {
    char words[PLAN_WORDS];
    if (explain->plan == KITH_PLAN_IVF && explain->rerank)
        pair_line(stderr, "parameters", "%zu lists of each query, %s codes, %zu candidates re-ranked", explain->nprobe,
                  kith_scan_code_name(explain->code), explain->rerank);
    else if (explain->plan == KITH_PLAN_IVF)
        pair_line(stderr, "parameters", "%zu lists of each query, searched exactly", explain->nprobe);
    else if (*plan_words(words, explain->plan, explain->code, explain->effort))
        pair_line(stderr, "parameters", "%s, %zu candidates re-ranked", words, explain->rerank);
}

static void explain_table(const kith_explain *explain) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    const double seconds = (double)explain->total_ns * 1e-9;
    const double queries = explain->queries ? (double)explain->queries : 1;
    const double pairs = queries * (double)(explain->allowed ? explain->allowed : 1);
    const bool approximate = explain->plan >= KITH_PLAN_IVF && explain->plan != KITH_PLAN_DEVICE;
    pair_line(stderr, "plan", "%s on %s, %u thread%s%s", explain->plan_name, explain->tier, explain->threads,
              explain->threads == 1 ? "" : "s",
              explain->exact ? ""
              : approximate  ? " (approximate)"
                             : " (approximate: the index has no originals)");
    parameters_line(explain);
    if (explain->unusual)
        pair_line(stderr, "unusual", "%s queries differ from the calibration's: more is looked at for them",
                  human_count(a, explain->unusual));
    considered_table(explain);
    pair_line(stderr, "queries", "%s in %s, %s", human_count(a, explain->queries), human_duration(b, seconds),
              seconds > 0 ? human_rate((char[HUMAN_BYTES]){0}, queries / seconds) : "-");
    pair_line(stderr, "vectors", "%s, %s of them allowed", human_count(a, explain->rows),
              human_count(b, explain->allowed));
    pair_line(stderr, "scanned", "%s, %s a query", human_bytes(a, explain->scanned_bytes),
              human_bytes(b, (uint64_t)((double)explain->scanned_bytes / queries)));
    if (explain->level1_survivors)
        pair_line(stderr, "first level", "%s pairs passed, %.4g %%", human_count(a, explain->level1_survivors),
                  100 * (double)explain->level1_survivors / pairs);
    if (explain->visited)
        pair_line(stderr, "visited", "%s pairs, %.1f a query%s", human_count(a, explain->visited),
                  (double)explain->visited / queries, explain->hot ? ", in the copy in memory" : "");
    pair_line(stderr, "candidates", "%s pairs, %.4g %%", human_count(a, explain->candidates),
              100 * (double)explain->candidates / pairs);
    pair_line(stderr, "re-ranked", "%s pairs, %.1f a query", human_count(a, explain->reranked),
              (double)explain->reranked / queries);
    for (int i = 0; i < KITH_STAGES; i++)
        pair_line(stderr, stage_names[i], "%s", human_duration(a, (double)explain->stage_ns[i] * 1e-9));
    if (!explain->device[0]) return;
    pair_line(stderr, "device", "%s", explain->device);
    pair_line(stderr, "upload", "%s", human_duration(a, (double)explain->device_upload_ns * 1e-9));
    pair_line(stderr, "compute", "%s", human_duration(a, (double)explain->device_compute_ns * 1e-9));
    pair_line(stderr, "download", "%s", human_duration(a, (double)explain->device_download_ns * 1e-9));
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int check_sources(const struct arguments *arguments) {
    const int sources =
        (arguments->operand_count > 1) + option_given(arguments, OPTION_QUERY) + option_given(arguments, OPTION_ID);
    if (sources == 0)
        return fail_usage(COMMAND_SEARCH, "search needs a file of queries, --query or --id after %s",
                          arguments->operands[0]);
    if (sources > 1)
        return fail_usage(COMMAND_SEARCH, "search takes one of a file of queries, --query and --id, but %d were given",
                          sources);
    if (option_given(arguments, OPTION_RADIUS) && option_given(arguments, OPTION_K))
        return fail_usage(COMMAND_SEARCH,
                          "--radius finds all vectors within a distance and -k the nearest ones: only one "
                          "of them can be given");
    return EXIT_OK;
}

static int open_queries(struct search *search) {
    kith_reader_info about = KITH_READER_INFO_INIT;
    search->left_out = KITH_ID_NONE;
    if (search->arguments->operand_count < 2) return open_single(search);
    const int failed = queries_open(search->arguments, search->arguments->operands[1], search->index_path,
                                    &search->info, &search->reader, &about);
    search->query_count = about.rows;
    return failed;
}

static int open_workers(struct search *search) {
    kith_error error = {0};
    const unsigned threads = (unsigned)option_number(search->arguments, OPTION_THREADS, 0);
    kith_status status = kith_pool_create(threads, &search->pool, &error);
    if (status == KITH_OK) status = kith_scratch_create(search->index, search->pool, &search->scratch, &error);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

static int prepare(struct search *search) {
    const struct arguments *arguments = search->arguments;
    int failed = results_check(arguments, search->results.kind);
    if (!failed) failed = index_open_resident(arguments, search->index_path, &search->index, &search->info);
    if (!failed) failed = open_queries(search);
    if (!failed) failed = filter_open(arguments, search->index, &search->info, &search->filter);
    if (!failed && search->filter == NULL && option_number(arguments, OPTION_PLAN, 0) == KITH_PLAN_GATHER)
        failed = fail_usage(COMMAND_SEARCH, "--plan gather scores only allowed vectors: it needs --allow or --deny");
    if (!failed) failed = open_workers(search);
    if (failed) return failed;
    search->k = (size_t)option_number(arguments, OPTION_K, 10);
    search->ranged = option_given(arguments, OPTION_RADIUS);
    search->radius = (float)option_real(arguments, OPTION_RADIUS, 0);
    const uint64_t timeout_ns = option_number(arguments, OPTION_TIMEOUT, 0);
    const uint64_t now = now_ns();
    search->deadline_ns = timeout_ns == 0 ? 0 : timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    search->results.index = search->index;
    search->results.info = &search->info;
    search->results.index_path = search->index_path;
    search->results.k = search->k;
    return results_open(&search->results, option_text(arguments, OPTION_OUTPUT, NULL), search->query_count);
}

static void finish(struct search *search) {
    results_close(&search->results);
    free(search->ids);
    free(search->distances);
    free(search->single);
    kith_reader_close(search->reader);
    kith_scratch_destroy(search->scratch);
    kith_filter_destroy(search->filter);
    kith_pool_destroy(search->pool);
    kith_index_close(search->index);
}

static void say_where(const struct search *search) {
    char a[HUMAN_BYTES];
    const char *output = option_text(search->arguments, OPTION_OUTPUT, NULL);
    if (output && strcmp(output, "-") != 0 && !option_given(search->arguments, OPTION_QUIET))
        printf("%s: ids of %s queries x %zu, distances beside it\n", output, human_count(a, search->query_count),
               search->k);
}

int command_search(const struct arguments *arguments) {
    struct search search = {.arguments = arguments, .index_path = arguments->operands[0]};
    search.info = (kith_index_info)KITH_INDEX_INFO_INIT;
    search.explain = (kith_explain)KITH_EXPLAIN_INIT;
    search.wishes = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    int failed = check_sources(arguments);
    if (!failed) failed = approximate_options(arguments, &search.wishes);
    if (!failed) failed = results_kind(arguments, &search.results.kind);
    if (failed) return failed;
    failed = prepare(&search);
    if (!failed) failed = run_search(&search);
    if (!failed) failed = results_commit(&search.results);
    if (!failed && option_given(arguments, OPTION_EXPLAIN) && search.explain.plan_name) {
        fflush(stdout);
        if (search.results.kind == RESULTS_JSON) {
            explain_json(&search.explain);
        } else {
            explain_table(&search.explain);
        }
    }
    if (!failed) say_where(&search);
    if (!failed && !search.info.has_originals && !option_given(arguments, OPTION_QUIET) && terminal_is(stderr))
        note("%s has no originals: answers are approximate", search.index_path);
    finish(&search);
    return failed;
}
