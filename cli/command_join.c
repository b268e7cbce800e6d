/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith join`. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "approximate.h"
#include "command.h"
#include "json.h"
#include "progress.h"
#include "source.h"
#include "table.h"
#include "terminal.h"

struct join {
    const struct arguments *arguments;
    const char *queries_path; /* NULL: --self */
    const char *index_path, *out;
    kith_index *index;
    kith_index_info info;
    kith_reader *reader;
    kith_reader_info about;
    kith_filter *filter;
    kith_join_report report;
};

static int check_operands(struct join *join) {
    const struct arguments *arguments = join->arguments;
    const bool self = option_given(arguments, OPTION_SELF);
    if (self && arguments->operand_count != 1)
        return fail_usage(COMMAND_JOIN, "join --self needs the index and nothing else");
    if (!self && arguments->operand_count != 2)
        return fail_usage(COMMAND_JOIN, "join needs QUERIES and INDEX, or --self and INDEX");
    if (!option_given(arguments, OPTION_OUTPUT))
        return fail_usage(COMMAND_JOIN, "join needs --output, the name of what it writes");
    join->queries_path = self ? NULL : arguments->operands[0];
    join->index_path = arguments->operands[self ? 0 : 1];
    join->out = option_text(arguments, OPTION_OUTPUT, "");
    return EXIT_OK;
}

/* Whether the files that the library will make of OUT may be written. */
static int check_outputs(const struct join *join) {
    const struct arguments *arguments = join->arguments;
    const size_t bytes = strlen(join->out),
                 suffix = bytes > 4 && strcasecmp(join->out + bytes - 4, ".npy") == 0 ? 4 : 0;
    const char *dot = strrchr(join->out, '.');
    const bool lines = dot && (strcasecmp(dot, ".ndjson") == 0 || strcasecmp(dot, ".jsonl") == 0);
    kith_join_format format = (kith_join_format)option_number(arguments, OPTION_TO, KITH_JOIN_AUTO);
    if (format == KITH_JOIN_AUTO) format = lines ? KITH_JOIN_NDJSON : KITH_JOIN_NPY;
    if (format == KITH_JOIN_NDJSON) return output_replace(arguments, join->out, OUTPUT_JSON, KITH_FORMAT_AUTO);
    char *ids = NULL, *distances = NULL;
    if (asprintf(&ids, "%.*s.ids.npy", (int)(bytes - suffix), join->out) < 0) ids = NULL;
    if (asprintf(&distances, "%.*s.distances.npy", (int)(bytes - suffix), join->out) < 0) distances = NULL;
    int failed = ids && distances ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    if (!failed) failed = output_replace(arguments, ids, OUTPUT_IDS, KITH_FORMAT_AUTO);
    if (!failed) failed = output_replace(arguments, distances, OUTPUT_DISTANCES, KITH_FORMAT_AUTO);
    free(ids);
    free(distances);
    return failed;
}

static int open_inputs(struct join *join) {
    const struct arguments *arguments = join->arguments;
    int failed = index_open_resident(arguments, join->index_path, &join->index, &join->info);
    if (!failed && join->queries_path)
        failed =
            queries_open(arguments, join->queries_path, join->index_path, &join->info, &join->reader, &join->about);
    if (!failed) failed = filter_open(arguments, join->index, &join->info, &join->filter);
    return failed;
}

static void set_options(const struct join *join, const kith_search_options *wishes, kith_join_options *options,
                        struct progress *progress) {
    const struct arguments *arguments = join->arguments;
    options->k = (size_t)option_number(arguments, OPTION_K, 10);
    options->format = (kith_join_format)option_number(arguments, OPTION_TO, KITH_JOIN_AUTO);
    options->filter = join->filter;
    options->plan = wishes->plan;
    options->target_recall = wishes->target_recall;
    options->nprobe = wishes->nprobe;
    options->rerank = wishes->rerank;
    options->effort = wishes->effort;
    options->code = wishes->code;
    options->restart = option_given(arguments, OPTION_RESTART);
    options->threads = (unsigned)option_number(arguments, OPTION_THREADS, 0);
    options->memory_bytes = option_number(arguments, OPTION_MEMORY, 0);
    options->progress = progress_report;
    options->progress_context = progress;
}

static void summary_json(const struct join *join) {
    const kith_join_report *report = &join->report;
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    if (join->queries_path) {
        emit_text(&json, "input", join->queries_path);
    } else {
        emit_null(&json, "input");
    }
    emit_text(&json, "index", join->index_path);
    emit_text(&json, "output", join->out);
    emit_uint(&json, "k", option_number(join->arguments, OPTION_K, 10));
    emit_uint(&json, "queries", report->queries);
    emit_uint(&json, "resumed", report->resumed);
    emit_text(&json, "restarted", report->restarted);
    emit_text(&json, "plan", report->plan_name);
    emit_bool(&json, "exact", report->exact != 0);
    emit_uint(&json, "output_bytes", report->output_bytes);
    emit_uint(&json, "total_ns", report->total_ns);
    emit_uint(&json, "search_ns", report->search_ns);
    emit_object_end(&json);
}

static void summary_text(const struct join *join) {
    const kith_join_report *report = &join->report;
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    const double seconds = (double)report->total_ns * 1e-9;
    const uint64_t fresh = report->queries - report->resumed;
    printf("%s%s%s\n", terminal_style(stdout, STYLE_BOLD), join->out, terminal_style(stdout, STYLE_PLAIN));
    pair_line(stdout, "queries", "%s, %llu neighbours each", human_count(a, report->queries),
              (unsigned long long)option_number(join->arguments, OPTION_K, 10));
    if (report->resumed) pair_line(stdout, "done before", "%s", human_count(a, report->resumed));
    pair_line(stdout, "size", "%s", human_bytes(a, report->output_bytes));
    pair_line(stdout, "took", "%s, %s", human_duration(a, seconds),
              human_rate(b, seconds > 0 ? (double)fresh / seconds : 0));
    pair_line(stdout, "answers", "%s%s%s", report->exact ? "exact" : "approximate", *report->plan_name ? ", plan " : "",
              report->plan_name);
}

static void say_outcome(const struct join *join) {
    const bool quiet = option_given(join->arguments, OPTION_QUIET);
    if (*join->report.restarted && !quiet)
        note("an interrupted join of %s was not gone on with: %s", join->out, join->report.restarted);
    if (option_given(join->arguments, OPTION_JSON)) {
        summary_json(join);
    } else if (!quiet) {
        summary_text(join);
    }
}

/* Whether there is a state file to go on from: <out>.join, of arrays without the suffix .npy. */
static bool is_kept(const char *out) {
    const size_t bytes = strlen(out);
    const size_t stems[] = {bytes, bytes > 4 && strcasecmp(out + bytes - 4, ".npy") == 0 ? bytes - 4 : bytes};
    bool kept = false;
    for (int i = 0; i < 2 && !kept; i++) {
        char *path = NULL;
        if (asprintf(&path, "%.*s.join", (int)stems[i], out) < 0) return false;
        kept = access(path, F_OK) == 0;
        free(path);
    }
    return kept;
}

static int fail_join(const struct join *join, kith_status status, const kith_error *error) {
    const int code = fail_status(status, error);
    const bool quiet = option_given(join->arguments, OPTION_QUIET);
    if (status != KITH_E_BUSY && status != KITH_E_ARG && !quiet && is_kept(join->out))
        note("what was done is kept beside %s: the same command goes on from there, --restart begins anew", join->out);
    return code;
}

static int run_join(struct join *join) {
    kith_join_options options = KITH_JOIN_OPTIONS_INIT;
    kith_error error = {0};
    struct progress progress;
    kith_search_options wishes = KITH_SEARCH_OPTIONS_INIT;
    const int unfit = approximate_options(join->arguments, &wishes);
    if (unfit) return unfit;
    progress_start(&progress, option_given(join->arguments, OPTION_QUIET));
    set_options(join, &wishes, &options, &progress);
    const kith_status status = kith_join(join->index, join->reader, join->out, &options, &join->report, &error);
    progress_end(&progress);
    if (status != KITH_OK) return fail_join(join, status, &error);
    say_outcome(join);
    return EXIT_OK;
}

int command_join(const struct arguments *arguments) {
    struct join join = {.arguments = arguments};
    join.info = (kith_index_info)KITH_INDEX_INFO_INIT;
    join.about = (kith_reader_info)KITH_READER_INFO_INIT;
    join.report = (kith_join_report)KITH_JOIN_REPORT_INIT;
    int failed = check_operands(&join);
    if (!failed) failed = check_outputs(&join);
    if (!failed) failed = open_inputs(&join);
    if (!failed) failed = run_join(&join);
    kith_filter_destroy(join.filter);
    kith_reader_close(join.reader);
    kith_index_close(join.index);
    return failed;
}
