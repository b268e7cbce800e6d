/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith build`. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "approximate.h"
#include "command.h"
#include "json.h"
#include "progress.h"
#include "source.h"
#include "table.h"
#include "terminal.h"

/* "dir/items.npy" and "dir/items.csv.gz" to "dir/items.kith". NULL when memory is refused. */
static char *default_output(const char *input) {
    const char *slash = strrchr(input, '/');
    const char *name = slash ? slash + 1 : input;
    size_t bytes = strlen(input);
    if (bytes > 3 && strcasecmp(input + bytes - 3, ".gz") == 0) bytes -= 3;
    const char *dot = memrchr(name, '.', bytes - (size_t)(name - input));
    const size_t stem = dot && dot > name ? (size_t)(dot - input) : bytes;
    char *output = NULL;
    return asprintf(&output, "%.*s.kith", (int)stem, input) < 0 ? NULL : output;
}

/* A pipe has no name that an index could take. */
static int check_named(const char *input) {
    struct stat about;
    const char *path = source_path(input);
    if (path == input && (stat(path, &about) != 0 || S_ISREG(about.st_mode) || S_ISDIR(about.st_mode))) return EXIT_OK;
    return fail_usage(COMMAND_BUILD, "build needs --output, as INPUT is %s", path == input ? "no file" : "a pipe");
}

/* What the index has besides the vectors and their codes. --no-graph: what auto makes but for the graph. */
static void set_index(const struct arguments *arguments, kith_dtype read, kith_build_options *options) {
    options->index = (kith_index_type)option_number(arguments, OPTION_INDEX, KITH_INDEX_AUTO);
    if (options->index == KITH_INDEX_AUTO && option_given(arguments, OPTION_NO_GRAPH))
        options->index = read == KITH_B1 ? KITH_INDEX_FLAT : KITH_INDEX_IVF;
    options->graph_degree = (unsigned)option_number(arguments, OPTION_GRAPH_DEGREE, 0);
    options->graph_bits = (unsigned)option_number(arguments, OPTION_GRAPH_BITS, 0);
    options->graph_lean = option_given(arguments, OPTION_LEAN);
    options->hnsw_m = (unsigned)option_number(arguments, OPTION_HNSW_M, 0);
    options->hnsw_ef = (unsigned)option_number(arguments, OPTION_HNSW_EF, 0);
    options->lsh_tables = (unsigned)option_number(arguments, OPTION_LSH_TABLES, 0);
    options->lsh_functions = (unsigned)option_number(arguments, OPTION_LSH_FUNCTIONS, 0);
}

static void set_options(const struct arguments *arguments, kith_build_options *options, struct progress *progress) {
    const kith_dtype dtype = (kith_dtype)option_number(arguments, OPTION_DTYPE, KITH_DTYPE_NONE);
    options->metric = (kith_metric)option_number(arguments, OPTION_METRIC, KITH_METRIC_NONE);
    options->dtype = dtype;
    options->originals = (kith_originals)option_number(arguments, OPTION_ORIGINALS, KITH_ORIGINALS_KEEP);
    options->first_level = (kith_first_level)option_number(arguments, OPTION_FIRST_LEVEL, KITH_FIRST_LEVEL_AUTO);
    options->no_spill = option_given(arguments, OPTION_NO_SPILL);
    options->no_calibration = option_given(arguments, OPTION_NO_CALIBRATION);
    options->lists = (size_t)option_number(arguments, OPTION_LISTS, 0);
    options->code = option_text(arguments, OPTION_CODE, NULL);
    options->threads = (unsigned)option_number(arguments, OPTION_THREADS, 0);
    options->memory_bytes = option_number(arguments, OPTION_MEMORY, 0);
    options->seed = option_number(arguments, OPTION_SEED, 0);
    options->progress = progress_report;
    options->progress_context = progress;
}

static void summary_json(const char *input, const char *output, const kith_reader_info *about,
                         const kith_build_report *report, const kith_index_info *info) {
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    emit_text(&json, "input", input);
    emit_text(&json, "output", output);
    emit_text(&json, "columns", about->columns);
    emit_uint(&json, "skipped", about->skipped);
    emit_uint(&json, "rows", report->rows);
    emit_uint(&json, "dim", report->dim);
    emit_text(&json, "dtype", kith_dtype_name(info->dtype));
    emit_text(&json, "metric", kith_metric_name(info->metric));
    emit_bool(&json, "exact", info->has_originals != 0);
    emit_bool(&json, "integer_codes", report->integer_codes != 0);
    emit_uint(&json, "first_level_dim", report->first_level_dim);
    emit_uint(&json, "lists", report->lists);
    emit_uint(&json, "list_rows_max", info->list_rows_max);
    index_type_members(&json, info);
    emit_text(&json, "second_code", info->second_code);
    emit_real(&json, "second_code_error", info->second_code_error);
    emit_real(&json, "near_duplicates", info->near_duplicates);
    emit_uint(&json, "input_bytes", report->input_bytes);
    emit_uint(&json, "file_bytes", report->file_bytes);
    emit_uint(&json, "total_ns", report->total_ns);
    emit_uint(&json, "read_ns", report->read_ns);
    emit_uint(&json, "train_ns", report->train_ns);
    emit_uint(&json, "code_ns", report->code_ns);
    emit_uint(&json, "write_ns", report->write_ns);
    emit_uint(&json, "verify_ns", report->verify_ns);
    emit_object_end(&json);
}

static void summary_text(const char *input, const char *output, const kith_reader_info *about,
                         const kith_build_report *report, const kith_index_info *info) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    const double seconds = (double)report->total_ns * 1e-9;
    const uint64_t raw = report->rows * kith_row_bytes(info->dtype, info->dim);
    printf("%s%s%s\n", terminal_style(stdout, STYLE_BOLD), output, terminal_style(stdout, STYLE_PLAIN));
    pair_line(stdout, "vectors", "%s x %zu %s, %s", human_count(a, report->rows), report->dim,
              kith_dtype_name(info->dtype), kith_metric_name(info->metric));
    if (*about->columns) pair_line(stdout, "columns", "%s", about->columns);
    if (about->skipped)
        pair_line(stdout, "left out", "%s rows%s%s", human_count(a, about->skipped),
                  about->row_ids ? "; ids are the row numbers of " : "", about->row_ids ? input : "");
    pair_line(stdout, "size", "%s; the vectors themselves are %s", human_bytes(a, report->file_bytes),
              human_bytes(b, raw));
    pair_line(stdout, "took", "%s, %s of input", human_duration(a, seconds),
              human_byte_rate(b, seconds > 0 ? (double)report->input_bytes / seconds : 0));
    if (report->first_level_dim) pair_line(stdout, "first level", "%zu dimensions", report->first_level_dim);
    if (info->lists > 1)
        pair_line(stdout, "lists", "%s, the longest of %s vectors", human_count(a, info->lists),
                  human_count(b, info->list_rows_max));
    if (*info->second_code)
        pair_line(stdout, "second code", "%s, mean error %.1f %%", info->second_code, 100 * info->second_code_error);
    index_type_lines(stdout, info);
    near_duplicates_line(stdout, info);
    pair_line(stdout, "answers", "%s",
              info->has_originals ? "exact" : "approximate answers: the original vectors are not stored");
}

static int build(const struct arguments *arguments, const char *input, const char *output) {
    kith_error error = {0};
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    kith_reader_info about = KITH_READER_INFO_INIT;
    kith_reader_options reading = source_options(arguments);
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_reader *reader = NULL;
    kith_index *index = NULL, *links = NULL;
    struct progress progress;
    const bool quiet = option_given(arguments, OPTION_QUIET);
    progress_start(&progress, quiet);
    set_options(arguments, &options, &progress);
    reading.dtype = options.dtype == KITH_B1 ? KITH_B1 : KITH_DTYPE_NONE;
    reading.skip_zero = reading.skip_bad && options.metric == KITH_COSINE;
    int failed = source_open_with(arguments, input, &reading, &reader, &about);
    if (failed) return failed;
    set_index(arguments, about.dtype, &options);
    if (option_given(arguments, OPTION_LINKS))
        failed = index_open(option_text(arguments, OPTION_LINKS, ""), &links, &info);
    options.links = links;
    const kith_status status = failed ? KITH_OK : kith_build(reader, output, &options, &report, &error);
    progress_end(&progress);
    if (!failed) failed = status == KITH_OK ? index_open(output, &index, &info) : fail_status(status, &error);
    if (!failed && option_given(arguments, OPTION_JSON)) {
        summary_json(input, output, &about, &report, &info);
    } else if (!failed && !quiet) {
        summary_text(input, output, &about, &report, &info);
    }
    kith_reader_close(reader); /* `about` borrows from it */
    kith_index_close(index);
    kith_index_close(links);
    return failed;
}

/* Options that name other types than the one that is made. */
static int check_index(const struct arguments *arguments) {
    static const struct {
        enum option_id option;
        kith_index_type type;
        const char *name, *of;
    } rows[] = {
        {OPTION_GRAPH_DEGREE, KITH_INDEX_GRAPH, "graph-degree", "graph"},
        {OPTION_GRAPH_BITS, KITH_INDEX_GRAPH, "graph-bits", "graph"},
        {OPTION_LEAN, KITH_INDEX_GRAPH, "lean", "graph"},
        {OPTION_LINKS, KITH_INDEX_GRAPH, "links", "graph"},
        {OPTION_HNSW_M, KITH_INDEX_HNSW, "hnsw-m", "hnsw"},
        {OPTION_HNSW_EF, KITH_INDEX_HNSW, "hnsw-ef", "hnsw"},
        {OPTION_LSH_TABLES, KITH_INDEX_LSH, "lsh-tables", "lsh"},
        {OPTION_LSH_FUNCTIONS, KITH_INDEX_LSH, "lsh-functions", "lsh"},
    };
    const kith_index_type type = (kith_index_type)option_number(arguments, OPTION_INDEX, KITH_INDEX_AUTO);
    const bool no_graph = option_given(arguments, OPTION_NO_GRAPH);
    if (no_graph && type == KITH_INDEX_GRAPH)
        return fail_usage(COMMAND_BUILD, "--no-graph and --index graph ask for opposites");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const bool fits =
            type == rows[i].type || (type == KITH_INDEX_AUTO && rows[i].type == KITH_INDEX_GRAPH && !no_graph);
        if (!option_given(arguments, rows[i].option) || fits) continue;
        return fail_usage(COMMAND_BUILD, "--%s is an option of --index %s", rows[i].name, rows[i].of);
    }
    if (option_given(arguments, OPTION_LEAN) && option_number(arguments, OPTION_GRAPH_BITS, 0))
        return fail_usage(COMMAND_BUILD, "--lean leaves out the codes of edges that --graph-bits is about");
    return EXIT_OK;
}

int command_build(const struct arguments *arguments) {
    const char *input = arguments->operands[0];
    const int unfit = check_index(arguments);
    if (unfit) return unfit;
    const int unnamed = option_given(arguments, OPTION_OUTPUT) ? EXIT_OK : check_named(input);
    if (unnamed) return unnamed;
    char *made = option_given(arguments, OPTION_OUTPUT) ? NULL : default_output(input);
    const char *output = option_text(arguments, OPTION_OUTPUT, made);
    if (!output) return fail(EXIT_OTHER, "out of memory");
    int failed = output_replace(arguments, output, OUTPUT_INDEX, KITH_FORMAT_AUTO);
    if (!failed) failed = build(arguments, input, output);
    free(made);
    return failed;
}
