/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith autoscale --simulate`: the controller beside an oracle and two fixed sizes, on the same traffic. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autoscale.h"
#include "json.h"
#include "plot/svg.h"
#include "table.h"
#include "terminal.h"

enum { ROWS = 4, POINTS_MAX = 1500 };

struct row {
    char name[40];
    ks_outcome_of_run outcome;
};

struct simulation {
    const ks_scale_options *scale;
    ks_model model;
    ks_arrivals *arrivals;
    ks_load load;
    struct row rows[ROWS];
    size_t count;
};

static int read_model(const struct arguments *arguments, const ks_scale_options *scale, double interval_s,
                      ks_model *model) {
    *model = ks_model_defaults();
    model->interval_s = interval_s;
    model->service_ms =
        (double)option_number(arguments, OPTION_SERVICE_TIME, (uint64_t)(model->service_ms * 1e6)) / 1e6;
    model->threads = (unsigned)option_number(arguments, OPTION_SERVER_THREADS, model->threads);
    model->start_s = (double)option_number(arguments, OPTION_START_UP, (uint64_t)(model->start_s * 1e9)) / 1e9;
    model->late_ms = scale->p99_ms > 0 ? scale->p99_ms : model->late_ms;
    model->seed = option_number(arguments, OPTION_SEED, 0);
    const char *wrong = ks_model_check(model);
    return wrong ? fail_usage(COMMAND_AUTOSCALE, "%s", wrong) : EXIT_OK;
}

static kith_status add(struct simulation *simulation, const char *name, ks_chooser chooser, unsigned fixed,
                       kith_error *error) {
    struct row *row = &simulation->rows[simulation->count];
    snprintf(row->name, sizeof(row->name), "%s", name);
    const kith_status status = ks_simulate(simulation->arrivals, &simulation->load, &simulation->model,
                                           simulation->scale, chooser, fixed, &row->outcome, error);
    simulation->count += status == KITH_OK;
    return status;
}

static kith_status add_fixed(struct simulation *simulation, unsigned servers, const char *why, kith_error *error) {
    char name[40];
    snprintf(name, sizeof(name), "always %u%s", servers, why);
    return add(simulation, name, KS_CHOOSE_FIXED, servers, error);
}

static kith_status run_all(const struct arguments *arguments, struct simulation *simulation, kith_error *error) {
    kith_status status = ks_load_read(simulation->arrivals, &simulation->model, &simulation->load, error);
    if (status == KITH_OK) status = add(simulation, "autoscale", KS_CHOOSE_SCALE, 0, error);
    if (status == KITH_OK) status = add(simulation, "an oracle", KS_CHOOSE_ORACLE, 0, error);
    if (status != KITH_OK) return status;
    if (option_given(arguments, OPTION_FIXED))
        return add_fixed(simulation, (unsigned)option_number(arguments, OPTION_FIXED, 1), "", error);
    const unsigned mean = (unsigned)fmax(1, round(simulation->rows[0].outcome.mean));
    const unsigned most = simulation->rows[1].outcome.most;
    status = add_fixed(simulation, mean, ", at the same cost", error);
    if (status == KITH_OK) status = add_fixed(simulation, most, ", for the peak", error);
    return status;
}

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

static double share(uint64_t part, uint64_t all) {
    return all ? (double)part / (double)all : 0;
}

static int tell_table(const struct simulation *simulation) {
    static const struct table_column columns[] = {
        {"servers", TABLE_LEFT},  {"server hours", TABLE_RIGHT}, {"most", TABLE_RIGHT},
        {"p50", TABLE_RIGHT},     {"p99", TABLE_RIGHT},          {"late", TABLE_RIGHT},
        {"refused", TABLE_RIGHT}, {"changes", TABLE_RIGHT},      {"flaps", TABLE_RIGHT}};
    struct table *table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    char text[HUMAN_BYTES];
    for (size_t i = 0; table && i < simulation->count; i++) {
        const ks_outcome_of_run *outcome = &simulation->rows[i].outcome;
        table_format(table, "%s", simulation->rows[i].name);
        table_format(table, "%.1f", outcome->server_hours);
        table_format(table, "%u", outcome->most);
        table_format(table, "%s", human_duration(text, outcome->p50_ms / 1e3));
        table_format(table, "%s", human_duration(text, outcome->p99_ms / 1e3));
        table_format(table, "%.3f %%", 100 * share(outcome->late, outcome->calls));
        table_format(table, "%.3f %%", 100 * share(outcome->refused, outcome->calls));
        table_format(table, "%llu", (unsigned long long)outcome->changes);
        table_format(table, "%llu", (unsigned long long)outcome->flaps);
    }
    const bool printed = table && table_flush(table);
    table_destroy(table);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static void tell_json(const char *path, const struct simulation *simulation) {
    struct json json = JSON_PRETTY(stdout);
    emit_object(&json, NULL);
    emit_text(&json, "traffic", path);
    emit_uint(&json, "calls", simulation->load.all);
    emit_real(&json, "hours", (double)simulation->load.count * simulation->model.interval_s / 3600);
    emit_real(&json, "service_ms", simulation->model.service_ms);
    emit_uint(&json, "server_threads", simulation->model.threads);
    emit_real(&json, "start_s", simulation->model.start_s);
    emit_real(&json, "late_ms", simulation->model.late_ms);
    emit_array(&json, "runs");
    for (size_t i = 0; i < simulation->count; i++) {
        const ks_outcome_of_run *outcome = &simulation->rows[i].outcome;
        emit_object(&json, NULL);
        emit_text(&json, "servers", simulation->rows[i].name);
        emit_real(&json, "server_hours", outcome->server_hours);
        emit_real(&json, "mean", outcome->mean);
        emit_uint(&json, "most", outcome->most);
        emit_real(&json, "p50_ms", outcome->p50_ms);
        emit_real(&json, "p99_ms", outcome->p99_ms);
        emit_real(&json, "p999_ms", outcome->p999_ms);
        emit_uint(&json, "calls", outcome->calls);
        emit_uint(&json, "late", outcome->late);
        emit_uint(&json, "refused", outcome->refused);
        emit_uint(&json, "changes", outcome->changes);
        emit_uint(&json, "flaps", outcome->flaps);
        emit_object_end(&json);
    }
    emit_array_end(&json);
    emit_object_end(&json);
}

/* ---- The picture ------------------------------------------------------------------------------------------------- */

struct picture {
    double hours[POINTS_MAX], load[POINTS_MAX], scale[POINTS_MAX], oracle[POINTS_MAX];
    size_t count;
};

/* Of several intervals that fall on one point the highest counts, so that no burst is lost. */
static void draw_points(const struct simulation *simulation, struct picture *picture) {
    const size_t each = (simulation->load.count + POINTS_MAX - 1) / POINTS_MAX;
    for (size_t i = 0; i < simulation->load.count; i++) {
        const size_t point = i / each;
        if (point == picture->count) picture->hours[picture->count++] = (double)i * simulation->model.interval_s / 3600;
        picture->load[point] =
            fmax(picture->load[point], ks_load_servers(&simulation->load, &simulation->model, simulation->scale, i));
        picture->scale[point] = fmax(picture->scale[point], simulation->rows[0].outcome.servers[i]);
        picture->oracle[point] = fmax(picture->oracle[point], simulation->rows[1].outcome.servers[i]);
    }
}

static void draw(struct html *out, const struct simulation *simulation, const struct picture *picture) {
    char subtitle[200], hours[HUMAN_BYTES];
    const double *x = picture->hours;
    const struct svg_series series[] = {
        {.name = "load", .marks = SVG_AREA, .x = x, .y = picture->load, .count = picture->count, .quiet = true},
        {.name = "an oracle", .marks = SVG_STEPS, .x = x, .y = picture->oracle, .count = picture->count},
        {.name = "autoscale", .marks = SVG_STEPS, .x = x, .y = picture->scale, .count = picture->count}};
    snprintf(subtitle, sizeof(subtitle), "%s calls; servers start in %g s, should be busy %.0f %% of their time",
             human_count(hours, simulation->load.all), simulation->model.start_s, 100 * simulation->scale->busy);
    const struct svg_plot plot = {.frame = {.title = "Servers over time",
                                            .subtitle = subtitle,
                                            .width = 860,
                                            .height = 380,
                                            .x = {.label = "hours"},
                                            .y = {.label = "servers", .from_zero = true}},
                                  .series = series,
                                  .series_count = sizeof(series) / sizeof(*series)};
    svg_plot(out, &plot);
}

static int tell_svg(const char *path, const struct simulation *simulation) {
    struct html out = HTML_INIT;
    struct result_file file;
    struct picture *picture = calloc(1, sizeof(*picture));
    int failed = picture ? result_file_open(&file, path) : fail(EXIT_OTHER, "out of memory");
    if (!failed) {
        draw_points(simulation, picture);
        draw(&out, simulation, picture);
        html_write(&out, file.stream);
        failed = html_ok(&out) ? result_file_commit(&file) : fail(EXIT_OTHER, "out of memory");
        if (!html_ok(&out)) result_file_discard(&file);
    }
    html_free(&out);
    free(picture);
    return failed;
}

int autoscale_simulate(const struct arguments *arguments, const ks_scale_options *scale, double interval_s) {
    const char *path = option_text(arguments, OPTION_SIMULATE, NULL), *svg = option_text(arguments, OPTION_SVG, NULL);
    kith_error error = {0};
    struct simulation *simulation = calloc(1, sizeof(*simulation));
    if (!simulation) return fail(EXIT_OTHER, "out of memory");
    simulation->scale = scale;
    int failed = read_model(arguments, scale, interval_s, &simulation->model);
    if (!failed && svg) failed = output_replace(arguments, svg, OUTPUT_SVG, KITH_FORMAT_AUTO);
    if (failed) goto out;
    kith_status status =
        ks_arrivals_open(path, (unsigned)option_number(arguments, OPTION_TIMES, 1), &simulation->arrivals, &error);
    if (status == KITH_OK) status = run_all(arguments, simulation, &error);
    if (status != KITH_OK) {
        failed = fail_status(status, &error);
        goto out;
    }
    if (option_given(arguments, OPTION_JSON)) {
        tell_json(path, simulation);
    } else {
        failed = tell_table(simulation);
    }
    if (!failed && svg) failed = tell_svg(svg, simulation);
out:
    for (size_t i = 0; i < simulation->count; i++) free(simulation->rows[i].outcome.servers);
    ks_load_free(&simulation->load);
    ks_arrivals_close(simulation->arrivals);
    free(simulation);
    return failed;
}
