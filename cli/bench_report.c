/* SPDX-License-Identifier: Apache-2.0
 *
 * The results of `kith bench` as a table, as JSON and as a picture. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "json.h"
#include "plot/svg.h"
#include "table.h"
#include "terminal.h"

/* ---- Table ------------------------------------------------------------------------------------------------------- */

static void head(const struct bench *bench) {
    char a[HUMAN_BYTES];
    pair_line(stdout, "index", "%s: %s x %zu %s, %s", bench->index_path, human_count(a, bench->info.rows),
              bench->info.dim, kith_dtype_name(bench->info.dtype), kith_metric_name(bench->info.metric));
    pair_line(stdout, "machine", "%s, %u cores, tier %s", bench->cpu.model[0] ? bench->cpu.model : "unknown processor",
              bench->cpu.cores, bench->cpu.tier);
    pair_line(stdout, "queries", "%s of %s, k = %zu, plan %s", human_count(a, bench->queries), bench->queries_path,
              bench->k, bench->plan);
    pair_line(stdout, "opened in", "%s", human_duration(a, (double)bench->open_ns * 1e-9));
    pair_line(stdout, "first touch", "%s a query, of which the table knows nothing",
              human_duration(a, (double)bench->first_ns * 1e-9));
    char label[32];
    snprintf(label, sizeof(label), "recall@%zu", bench->k);
    if (bench->truth_queries) {
        pair_line(stdout, label, "%.4f over %s queries%s", bench->recall, human_count(a, bench->truth_queries),
                  bench->identical ? ", bit-identical to the plain scan" : "");
    } else if (!bench->info.has_originals) {
        pair_line(stdout, label, "not measured: the index has no originals to compare with; see --against");
    }
    putchar('\n');
}

static void add_time(struct table *table, uint64_t ns) {
    char text[HUMAN_BYTES];
    table_format(table, "%s", human_duration(text, (double)ns * 1e-9));
}

int bench_table(const struct bench *bench) {
    static const struct table_column columns[] = {
        {"threads", TABLE_RIGHT}, {"batch", TABLE_RIGHT}, {"queries/s", TABLE_RIGHT}, {"p50", TABLE_RIGHT},
        {"p95", TABLE_RIGHT},     {"p99", TABLE_RIGHT},   {"p99.9", TABLE_RIGHT},     {"calls", TABLE_RIGHT}};
    struct table *table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    if (!table) return fail(EXIT_OTHER, "out of memory");
    head(bench);
    for (size_t i = 0; i < bench->run_count; i++) {
        const struct bench_run *run = &bench->runs[i];
        char text[HUMAN_BYTES];
        table_format(table, "%u", run->threads);
        table_format(table, "%s", human_count(text, run->batch));
        if (run->queries_per_second >= 100) {
            table_format(table, "%s", human_count(text, (uint64_t)(run->queries_per_second + 0.5)));
        } else {
            table_format(table, "%.1f", run->queries_per_second);
        }
        add_time(table, run->p50_ns);
        add_time(table, run->p95_ns);
        add_time(table, run->p99_ns);
        add_time(table, run->p999_ns);
        table_format(table, "%s", human_count(text, run->calls));
    }
    const bool printed = table_flush(table);
    table_destroy(table);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void write_json(const struct bench *bench, FILE *stream) {
    struct json json = JSON_PRETTY(stream);
    emit_object(&json, NULL);
    emit_text(&json, "kith", kith_version());
    emit_text(&json, "index", bench->index_path);
    emit_text(&json, "queries_file", bench->queries_path);
    emit_uint(&json, "rows", bench->info.rows);
    emit_uint(&json, "dim", bench->info.dim);
    emit_text(&json, "dtype", kith_dtype_name(bench->info.dtype));
    emit_text(&json, "metric", kith_metric_name(bench->info.metric));
    emit_bool(&json, "exact", bench->info.has_originals != 0);
    emit_text(&json, "machine", bench->cpu.model);
    emit_uint(&json, "cores", bench->cpu.cores);
    emit_text(&json, "tier", bench->cpu.tier);
    emit_uint(&json, "queries", bench->queries);
    emit_uint(&json, "k", bench->k);
    emit_text(&json, "plan", bench->plan);
    emit_uint(&json, "open_ns", bench->open_ns);
    emit_uint(&json, "first_touch_ns", bench->first_ns);
    emit_uint(&json, "truth_queries", bench->truth_queries);
    if (bench->truth_queries) {
        emit_real(&json, "recall", bench->recall);
        emit_bool(&json, "identical", bench->identical);
    } else {
        emit_null(&json, "recall");
        emit_null(&json, "identical");
    }
    emit_array(&json, "runs");
    for (size_t i = 0; i < bench->run_count; i++) {
        const struct bench_run *run = &bench->runs[i];
        emit_object(&json, NULL);
        emit_uint(&json, "threads", run->threads);
        emit_uint(&json, "batch", run->batch);
        emit_uint(&json, "calls", run->calls);
        emit_real(&json, "queries_per_second", run->queries_per_second);
        emit_object(&json, "call_ns");
        emit_real(&json, "mean", run->mean_ns);
        emit_uint(&json, "p50", run->p50_ns);
        emit_uint(&json, "p95", run->p95_ns);
        emit_uint(&json, "p99", run->p99_ns);
        emit_uint(&json, "p99_9", run->p999_ns);
        emit_object_end(&json);
        emit_object_end(&json);
    }
    emit_array_end(&json);
    emit_object_end(&json);
}

int bench_json(const struct bench *bench, const char *path) {
    if (strcmp(path, "-") == 0) {
        write_json(bench, stdout);
        return EXIT_OK;
    }
    struct result_file file;
    const int failed = result_file_open(&file, path);
    if (failed) return failed;
    write_json(bench, file.stream);
    return result_file_commit(&file);
}

/* ---- Picture ----------------------------------------------------------------------------------------------------- */

#define SERIES_MAX  6 /* colors that a reader can tell apart */
#define RUNS_MAX    (OPTION_NUMBERS_MAX)
#define PLOT_WIDTH  640
#define PLOT_HEIGHT 360
#define GAP         24

struct picture {
    struct svg_series series[SERIES_MAX];
    char names[SERIES_MAX][48];
    double x[SERIES_MAX][RUNS_MAX], y[SERIES_MAX][RUNS_MAX];
    size_t count;
};

/* What of a run a line shows: speed, or the time of a call in milliseconds. */
static double speed_of(const struct bench_run *run) {
    return run->queries_per_second;
}

static double median_of(const struct bench_run *run) {
    return (double)run->p50_ns * 1e-6;
}

static double slow_of(const struct bench_run *run) {
    return (double)run->p99_ns * 1e-6;
}

static void add_series(struct picture *picture, const struct bench *bench, unsigned threads, const char *suffix,
                       double (*value)(const struct bench_run *)) {
    if (picture->count == SERIES_MAX) return;
    const size_t at = picture->count++;
    size_t points = 0;
    for (size_t i = 0; i < bench->run_count && points < RUNS_MAX; i++) {
        if (bench->runs[i].threads != threads) continue;
        picture->x[at][points] = (double)bench->runs[i].batch;
        picture->y[at][points++] = value(&bench->runs[i]);
    }
    snprintf(picture->names[at], sizeof(picture->names[at]), "%u thread%s%s", threads, threads == 1 ? "" : "s", suffix);
    picture->series[at] = (struct svg_series){.name = picture->names[at],
                                              .marks = SVG_LINE_AND_POINTS,
                                              .x = picture->x[at],
                                              .y = picture->y[at],
                                              .count = points};
}

/* A thread count's runs stand together; its first one is where the count changes. */
static bool begins_threads(const struct bench *bench, size_t run) {
    return run == 0 || bench->runs[run].threads != bench->runs[run - 1].threads;
}

static void draw(struct html *out, const struct bench *bench, const struct picture *picture, const char *title,
                 const char *subtitle, struct svg_axis y, unsigned top) {
    double ticks[RUNS_MAX];
    size_t tick_count = 0;
    for (size_t i = 0; i < bench->run_count && tick_count < RUNS_MAX; i++)
        if (bench->runs[i].threads == bench->runs[0].threads) ticks[tick_count++] = (double)bench->runs[i].batch;
    const struct svg_plot plot = {
        .frame = {.title = title,
                  .subtitle = subtitle,
                  .width = PLOT_WIDTH,
                  .height = PLOT_HEIGHT,
                  .embedded = true,
                  .x = {.label = "queries in a call", .scale = SVG_LOG, .ticks = ticks, .tick_count = tick_count},
                  .y = y},
        .series = picture->series,
        .series_count = picture->count};
    html_printf(out, "<svg x=\"%d\" y=\"%u\" width=\"%d\" height=\"%d\">", GAP, top, PLOT_WIDTH, PLOT_HEIGHT);
    svg_plot(out, &plot);
    html_raw(out, "</svg>\n");
}

static void write_svg(struct html *out, const struct bench *bench, struct picture *picture) {
    char subtitle[256], rows[HUMAN_BYTES];
    const int width = PLOT_WIDTH + 2 * GAP, height = 2 * PLOT_HEIGHT + 3 * GAP;
    html_printf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"kp\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                "height=\"%d\"><title>kith bench</title><style>",
                width, height, width, height);
    html_raw(out, svg_style());
    html_raw(out, "</style><rect class=\"kp-paper\" width=\"100%\" height=\"100%\"/>\n");
    snprintf(subtitle, sizeof(subtitle), "%s x %zu %s, %s, k = %zu, tier %s%s", human_count(rows, bench->info.rows),
             bench->info.dim, kith_dtype_name(bench->info.dtype), kith_metric_name(bench->info.metric), bench->k,
             bench->cpu.tier, bench->truth_queries && bench->identical ? ", exact" : "");
    for (size_t i = 0; i < bench->run_count; i++)
        if (begins_threads(bench, i)) add_series(picture, bench, bench->runs[i].threads, "", speed_of);
    draw(out, bench, picture, "Queries a second", subtitle,
         (struct svg_axis){.label = "queries a second", .from_zero = true}, GAP);
    picture->count = 0;
    for (size_t i = 0; i < bench->run_count; i++) {
        if (!begins_threads(bench, i)) continue;
        add_series(picture, bench, bench->runs[i].threads, ", p50", median_of);
        add_series(picture, bench, bench->runs[i].threads, ", p99", slow_of);
    }
    draw(out, bench, picture, "Time of a call", "half of the calls, and 99 of 100, take no longer",
         (struct svg_axis){.label = "milliseconds", .scale = SVG_LOG}, PLOT_HEIGHT + 2 * GAP);
    html_raw(out, "</svg>\n");
}

int bench_svg(const struct bench *bench, const char *path) {
    struct html out = HTML_INIT;
    struct result_file file;
    struct picture *picture = calloc(1, sizeof(*picture));
    if (!picture) return fail(EXIT_OTHER, "out of memory");
    int failed = result_file_open(&file, path);
    if (!failed) {
        write_svg(&out, bench, picture);
        html_write(&out, file.stream);
        if (html_ok(&out)) {
            failed = result_file_commit(&file);
        } else {
            failed = fail(EXIT_OTHER, "out of memory");
            result_file_discard(&file);
        }
    }
    html_free(&out);
    free(picture);
    return failed;
}
