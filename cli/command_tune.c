/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith tune`: measures an index's plans and prints the frontier of recall and speed that is kept in it. */
#include <stdlib.h>
#include <string.h>

#include "approximate.h"
#include "json.h"
#include "progress.h"
#include "source.h"
#include "plot/svg.h"
#include "table.h"
#include "terminal.h"

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

/* Settings that differ by batch alone stand together: the end of those that begin at `first`. Not every plan is measured
 * with every batch. */
static size_t group_end(const kith_tuned *tuned, size_t count, size_t first) {
    size_t end = first + 1;
    while (end < count && tuned[end].k == tuned[first].k && tuned[end].plan == tuned[first].plan &&
           tuned[end].code == tuned[first].code && tuned[end].nprobe == tuned[first].nprobe &&
           tuned[end].rerank == tuned[first].rerank)
        end++;
    return end;
}

/* Of a group the setting of a batch; NULL: it was not measured. */
static const kith_tuned *of_batch(const kith_tuned *tuned, size_t count, const kith_tuned *group, size_t batch) {
    const size_t first = (size_t)(group - tuned), end = group_end(tuned, count, first);
    for (size_t i = first; i < end; i++)
        if (tuned[i].batch == batch) return &tuned[i];
    return NULL;
}

/* The batches that there are, ascending; at most `most`. */
static size_t list_batches(const kith_tuned *tuned, size_t count, size_t most, size_t *batches) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = found;
        while (at && batches[at - 1] > tuned[i].batch) at--;
        if ((at && batches[at - 1] == tuned[i].batch) || found == most) continue;
        memmove(batches + at + 1, batches + at, (found - at) * sizeof(*batches));
        batches[at] = tuned[i].batch;
        found++;
    }
    return found;
}

/* Whether another setting of the same k and batch recalls as much for less. */
static bool beaten(const kith_tuned *tuned, size_t count, size_t at) {
    for (size_t i = 0; i < count; i++)
        if (tuned[i].k == tuned[at].k && tuned[i].batch == tuned[at].batch && tuned[i].recall >= tuned[at].recall &&
            tuned[i].query_ns < tuned[at].query_ns)
            return true;
    return false;
}

static int by_recall(const void *a, const void *b) {
    const kith_tuned *x = *(const kith_tuned *const *)a, *y = *(const kith_tuned *const *)b;
    if (x->k != y->k) return x->k < y->k ? -1 : 1;
    if (x->recall != y->recall) return x->recall < y->recall ? -1 : 1;
    return x < y ? -1 : 1;
}

/* The first of each group that is on the frontier of some batch size, by k and recall; NULL: out of memory. */
static const kith_tuned **frontier(const kith_tuned *tuned, size_t count, size_t *groups) {
    const kith_tuned **first = calloc(count + 1, sizeof(*first));
    *groups = 0;
    for (size_t i = 0, end; first && i < count; i = end) {
        bool kept = false;
        end = group_end(tuned, count, i);
        for (size_t j = i; j < end; j++) kept = kept || !beaten(tuned, count, j);
        if (kept) first[(*groups)++] = &tuned[i];
    }
    if (first) qsort(first, *groups, sizeof(*first), by_recall);
    return first;
}

/* ---- Table ------------------------------------------------------------------------------------------------------- */

static void count_cell(struct table *table, int there, size_t count) {
    if (there)
        table_format(table, "%zu", count);
    else
        table_format(table, "%s", "");
}

static void rate_cell(struct table *table, const kith_tuned *setting) {
    char text[HUMAN_BYTES] = "";
    if (setting) human_count(text, (uint64_t)(1e9 / setting->query_ns + 0.5));
    table_format(table, "%s", text);
}

static int tell_table(const kith_tuned *tuned, size_t count) {
    struct table_column columns[TABLE_COLUMNS_MAX] = {
        {"k", TABLE_RIGHT},      {"plan", TABLE_LEFT},    {"code", TABLE_LEFT},   {"nprobe", TABLE_RIGHT},
        {"effort", TABLE_RIGHT}, {"rerank", TABLE_RIGHT}, {"recall", TABLE_RIGHT}};
    enum { FIXED = 7 };
    char heading[TABLE_COLUMNS_MAX][32];
    size_t groups = 0, batches[TABLE_COLUMNS_MAX + 1];
    const size_t used = FIXED + list_batches(tuned, count, TABLE_COLUMNS_MAX - FIXED, batches);
    for (size_t i = FIXED; i < used; i++) {
        snprintf(heading[i], sizeof(heading[i]), "q/s, batch %zu", batches[i - FIXED]);
        columns[i] = (struct table_column){heading[i], TABLE_RIGHT};
    }
    struct table *table = table_create(stdout, columns, used);
    const kith_tuned **first = frontier(tuned, count, &groups);
    for (size_t g = 0; table && first && g < groups; g++) {
        const kith_tuned *setting = first[g];
        const int ivf = setting->plan == KITH_PLAN_IVF, walks = plan_walks(setting->plan);
        table_format(table, "%zu", setting->k);
        table_format(table, "%s", kith_plan_name(setting->plan));
        table_format(table, "%s", ivf ? kith_scan_code_name(setting->code) : "");
        count_cell(table, ivf, setting->nprobe);
        count_cell(table, walks, setting->nprobe);
        count_cell(table, setting->rerank != 0 && (!ivf || setting->code != KITH_SCAN_LEVELS), setting->rerank);
        table_format(table, "%.4f", setting->recall);
        for (size_t i = FIXED; i < used; i++) rate_cell(table, of_batch(tuned, count, setting, batches[i - FIXED]));
    }
    const bool printed = table && first && table_flush(table);
    table_destroy(table);
    free(first);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static void tell_json(const char *path, const kith_index_info *info, const kith_tuned *tuned, size_t count) {
    struct json json = JSON_PRETTY(stdout);
    emit_object(&json, NULL);
    emit_text(&json, "path", path);
    emit_real(&json, "near_duplicates", info->near_duplicates);
    emit_array(&json, "settings");
    for (size_t i = 0; i < count; i++) {
        emit_object(&json, NULL);
        emit_text(&json, "plan", kith_plan_name(tuned[i].plan));
        emit_text(&json, "code", kith_scan_code_name(tuned[i].code));
        emit_uint(&json, "k", tuned[i].k);
        emit_uint(&json, "batch", tuned[i].batch);
        emit_uint(&json, "nprobe", plan_walks(tuned[i].plan) ? 0 : tuned[i].nprobe);
        emit_uint(&json, "effort", plan_walks(tuned[i].plan) ? tuned[i].nprobe : 0);
        emit_uint(&json, "rerank", tuned[i].rerank);
        emit_real(&json, "recall", tuned[i].recall);
        emit_real(&json, "recall_error", tuned[i].recall_error);
        emit_real(&json, "query_ns", tuned[i].query_ns);
        emit_object_end(&json);
    }
    emit_array_end(&json);
    emit_object_end(&json);
}

/* ---- Picture ----------------------------------------------------------------------------------------------------- */

enum { SERIES_MAX = 6, POINTS_MAX = 256 };

struct picture {
    struct svg_series series[SERIES_MAX];
    char names[SERIES_MAX][32];
    double x[SERIES_MAX][POINTS_MAX], y[SERIES_MAX][POINTS_MAX];
    size_t count;
};

/* One line a k: its frontier at one batch size. */
static void add_points(struct picture *picture, const kith_tuned *tuned, size_t count, const kith_tuned **first,
                       size_t groups, size_t batch) {
    for (size_t g = 0; g < groups; g++) {
        const kith_tuned *setting = of_batch(tuned, count, first[g], batch);
        if (!setting || setting->plan < KITH_PLAN_IVF) continue;
        size_t s = 0;
        char name[32];
        snprintf(name, sizeof(name), "k = %zu", setting->k);
        while (s < picture->count && strcmp(picture->names[s], name) != 0) s++;
        if (s == SERIES_MAX) continue;
        struct svg_series *series = &picture->series[s];
        if (s == picture->count) {
            picture->count++;
            memcpy(picture->names[s], name, sizeof(name));
            *series = (struct svg_series){
                .name = picture->names[s], .marks = SVG_LINE_AND_POINTS, .x = picture->x[s], .y = picture->y[s]};
        }
        /* By rising recall: a point that is slower and no better than one to come is not on the line. */
        while (series->count && picture->y[s][series->count - 1] <= 1e9 / setting->query_ns) series->count--;
        if (series->count == POINTS_MAX) continue;
        picture->x[s][series->count] = setting->recall;
        picture->y[s][series->count++] = 1e9 / setting->query_ns;
    }
}

static int tell_svg(const char *path, const char *index, const kith_tuned *tuned, size_t count) {
    struct html out = HTML_INIT;
    struct result_file file;
    char subtitle[256];
    size_t groups = 0;
    size_t batch = 0;
    for (size_t i = 0; i < count; i++) batch = tuned[i].batch > batch ? tuned[i].batch : batch;
    struct picture *picture = calloc(1, sizeof(*picture));
    const kith_tuned **first = frontier(tuned, count, &groups);
    int failed = picture && first ? result_file_open(&file, path) : fail(EXIT_OTHER, "out of memory");
    if (!failed) {
        add_points(picture, tuned, count, first, groups, batch);
        snprintf(subtitle, sizeof(subtitle), "%s, batches of %zu, one thread", index, batch);
        const struct svg_plot plot = {.frame = {.title = "Recall and speed",
                                                .subtitle = subtitle,
                                                .x = {.label = "recall", .scale = SVG_LOGIT},
                                                .y = {.label = "queries a second", .scale = SVG_LOG}},
                                      .series = picture->series,
                                      .series_count = picture->count};
        svg_plot(&out, &plot);
        html_write(&out, file.stream);
        failed = html_ok(&out) ? result_file_commit(&file) : fail(EXIT_OTHER, "out of memory");
        if (!html_ok(&out)) result_file_discard(&file);
    }
    html_free(&out);
    free(first);
    free(picture);
    return failed;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int tune(const struct arguments *arguments, const char *path) {
    kith_error error = {0};
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    kith_reader *reader = NULL;
    kith_reader_info about = KITH_READER_INFO_INIT;
    struct progress progress;
    int failed = EXIT_OK;
    if (option_given(arguments, OPTION_QUERIES))
        failed = source_open(arguments, option_text(arguments, OPTION_QUERIES, ""), KITH_DTYPE_NONE, &reader, &about);
    if (failed) return failed;
    options.queries = (size_t)option_number(arguments, OPTION_COUNT, 0);
    options.seed = option_number(arguments, OPTION_SEED, 0);
    options.progress = progress_report;
    options.progress_context = &progress;
    kith_status status = kith_pool_create((unsigned)option_number(arguments, OPTION_THREADS, 0), &options.pool, &error);
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    if (status == KITH_OK) status = kith_tune(path, reader, &options, &error);
    progress_end(&progress);
    kith_pool_destroy(options.pool);
    kith_reader_close(reader);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

int command_tune(const struct arguments *arguments) {
    const char *path = arguments->operands[0], *svg = option_text(arguments, OPTION_SVG, NULL);
    kith_index *index = NULL;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    const kith_tuned *tuned = NULL;
    int failed = svg ? output_replace(arguments, svg, OUTPUT_SVG, KITH_FORMAT_AUTO) : EXIT_OK;
    if (!failed) failed = tune(arguments, path);
    if (!failed) failed = index_open(path, &index, &info);
    if (failed) return failed;
    const size_t count = kith_index_tuned(index, &tuned);
    if (count && option_given(arguments, OPTION_JSON)) {
        tell_json(path, &info, tuned, count);
    } else if (count && !option_given(arguments, OPTION_QUIET)) {
        failed = tell_table(tuned, count);
        if (!failed) near_duplicates_line(stdout, &info);
    }
    if (count && !failed && svg) failed = tell_svg(svg, path, tuned, count);
    kith_index_close(index);
    return failed;
}
