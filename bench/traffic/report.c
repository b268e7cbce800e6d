/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/plot/html.h"
#include "../../cli/json.h"
#include "../../cli/plot/svg.h"
#include "../../cli/table.h"
#include "../../cli/terminal.h"
#include "base/status.h"
#include "output.h"

/* ---- Text -------------------------------------------------------------------------------------------------------- */

static void popularity_line(FILE *stream, const char *label, const struct traffic_popularity *popularity,
                            const char *times) {
    char seen[HUMAN_BYTES], total[HUMAN_BYTES], fit[64] = "";
    if (!isnan(popularity->exponent))
        snprintf(fit, sizeof(fit), "; Zipf exponent %.2f over %zu ranks", popularity->exponent, popularity->fit_ranks);
    pair_line(stream, label, "%s seen, %s %s; first 1 %%: %.0f %%, first 10 %%: %.0f %%%s",
              human_count(seen, popularity->seen), human_count(total, popularity->total), times,
              100 * popularity->top_percent, 100 * popularity->top_tenth, fit);
}

static void kinds_table(FILE *stream, const struct traffic_counts *counts) {
    static const struct table_column columns[] = {
        {"kind", TABLE_LEFT}, {"events", TABLE_RIGHT}, {"share", TABLE_RIGHT}};
    struct table *table = table_create(stream, columns, 3);
    if (!table) return;
    for (unsigned kind = 1; kind < TRAFFIC_KINDS; kind++) {
        const char *name = traffic_kind_name(kind);
        table_text(table, name, strlen(name));
        table_format(table, "%llu", (unsigned long long)counts->kinds[kind]);
        table_format(table, "%.2f %%",
                     counts->events ? 100.0 * (double)counts->kinds[kind] / (double)counts->events : 0.0);
    }
    table_flush(table);
    table_destroy(table);
}

void traffic_report_text(FILE *stream, const struct traffic_description *description) {
    const struct traffic_counts *counts = &description->counts;
    const double queries = (double)(counts->kinds[TRAFFIC_QUERY_VECTOR] + counts->kinds[TRAFFIC_QUERY_USER]);
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    pair_line(stream, "events", "%s over %.2f days, seed %llu", human_count(a, counts->events),
              (double)counts->last_us / (double)TRAFFIC_DAY_US, (unsigned long long)description->options.seed);
    pair_line(stream, "rate", "%s of users on average, %s in the busiest hour", human_rate(a, description->mean_rate),
              human_rate(b, description->peak_rate));
    pair_line(stream, "sessions", "%s; events: mean %.1f, p50 %u, p95 %u, most %u; %s long on average",
              human_count(a, counts->sessions), description->session_mean, description->session_p50,
              description->session_p95, description->session_max, human_duration(b, description->session_seconds));
    if (!isnan(description->gap_p50))
        pair_line(stream, "gaps", "%s between events of a session (median)", human_duration(a, description->gap_p50));
    popularity_line(stream, "users", &description->users, "sessions");
    popularity_line(stream, "items", &description->items, "views");
    pair_line(stream, "catalogue", "%s items at first, %s at the end; %s vectors written",
              human_count(a, description->options.items), human_count(b, counts->live_items),
              human_count(c, counts->item_rows));
    pair_line(stream, "nights", "%u with churn, %s items replaced; %s flips", description->nights,
              human_count(a, description->nightly_deletes), human_count(b, counts->kinds[TRAFFIC_FLIP]));
    pair_line(stream, "filters", "by segment %.1f %% of queries, by topic %.1f %%",
              queries > 0 ? 100 * (double)description->filtered_segment / queries : 0.0,
              queries > 0 ? 100 * (double)description->filtered_topic / queries : 0.0);
    fputc('\n', stream);
    kinds_table(stream, counts);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

void traffic_report_options(struct json *json, const struct traffic_options *options) {
    emit_object(json, "options");
    for (const struct traffic_option *option = traffic_option_table; option->name; option++) {
        if (option->real) {
            emit_real(json, option->name, traffic_option_get(options, option));
        } else {
            emit_uint(json, option->name, (uint64_t)traffic_option_get(options, option));
        }
    }
    emit_object_end(json);
}

void traffic_report_counts(struct json *json, const struct traffic_counts *counts) {
    emit_uint(json, "events", counts->events);
    emit_object(json, "kinds");
    for (unsigned kind = 1; kind < TRAFFIC_KINDS; kind++) emit_uint(json, traffic_kind_name(kind), counts->kinds[kind]);
    emit_object_end(json);
    emit_uint(json, "sessions", counts->sessions);
    emit_uint(json, "item_rows", counts->item_rows);
    emit_uint(json, "query_rows", counts->query_rows);
    emit_uint(json, "live_items", counts->live_items);
    emit_real(json, "last_seconds", (double)counts->last_us * 1e-6);
}

static void json_popularity(struct json *json, const char *name, const struct traffic_popularity *popularity) {
    emit_object(json, name);
    emit_uint(json, "seen", popularity->seen);
    emit_uint(json, "times", popularity->total);
    emit_real(json, "zipf_exponent", popularity->exponent);
    emit_uint(json, "zipf_ranks", popularity->fit_ranks);
    emit_real(json, "share_of_first_percent", popularity->top_percent);
    emit_real(json, "share_of_first_tenth", popularity->top_tenth);
    emit_object_end(json);
}

void traffic_report_json(FILE *stream, const struct traffic_description *description) {
    struct json json = JSON_PRETTY(stream);
    emit_object(&json, NULL);
    traffic_report_counts(&json, &description->counts);
    emit_real(&json, "events_per_second", description->mean_rate);
    emit_real(&json, "events_per_second_peak_hour", description->peak_rate);
    emit_object(&json, "session");
    emit_real(&json, "mean_events", description->session_mean);
    emit_uint(&json, "p50_events", description->session_p50);
    emit_uint(&json, "p95_events", description->session_p95);
    emit_uint(&json, "max_events", description->session_max);
    emit_real(&json, "mean_seconds", description->session_seconds);
    emit_real(&json, "gap_p50_seconds", description->gap_p50);
    emit_object_end(&json);
    json_popularity(&json, "users", &description->users);
    json_popularity(&json, "items", &description->items);
    emit_uint(&json, "nights", description->nights);
    emit_uint(&json, "nightly_inserts", description->nightly_inserts);
    emit_uint(&json, "nightly_deletes", description->nightly_deletes);
    emit_uint(&json, "filtered_by_segment", description->filtered_segment);
    emit_uint(&json, "filtered_by_topic", description->filtered_topic);
    traffic_report_options(&json, &description->options);
    emit_object_end(&json);
}

/* ---- Picture ----------------------------------------------------------------------------------------------------- */

enum { WIDTH = 640, HEIGHT = 340, GAP = 24, CURVE_POINTS = 200 };

struct curve {
    double x[CURVE_POINTS], y[CURVE_POINTS];
    size_t count;
};

static void draw(struct html *out, const struct svg_plot *plot, unsigned which) {
    html_printf(out, "<svg x=\"%d\" y=\"%u\" width=\"%d\" height=\"%d\">", GAP, GAP + which * (HEIGHT + GAP), WIDTH,
                HEIGHT);
    svg_plot(out, plot);
    html_raw(out, "</svg>\n");
}

static void draw_rates(struct html *out, const struct traffic_description *description) {
    const size_t n = (size_t)(description->counts.last_us / UINT64_C(3600000000)) + 1;
    double *x = calloc(n, sizeof(double)), *y = calloc(n, sizeof(double));
    if (x && y) {
        for (size_t i = 0; i < n; i++) {
            x[i] = (double)i / 24;
            y[i] = (double)description->hours[i] / 3600;
        }
        const struct svg_series series = {.marks = SVG_STEPS, .x = x, .y = y, .count = n};
        const struct svg_plot plot = {.frame = {.title = "Events of users",
                                                .width = WIDTH,
                                                .height = HEIGHT,
                                                .embedded = true,
                                                .x = {.label = "days"},
                                                .y = {.label = "a second", .from_zero = true}},
                                      .series = &series,
                                      .series_count = 1};
        draw(out, &plot, 0);
    } else {
        out->failed = true;
    }
    free(x);
    free(y);
}

/* Ranks evenly spread on a log scale. */
static void make_curve(const struct traffic_popularity *popularity, struct curve *curve) {
    double rank = 1;
    curve->count = 0;
    while (curve->count < CURVE_POINTS && rank <= (double)popularity->seen) {
        const size_t at = (size_t)rank;
        curve->x[curve->count] = (double)at;
        curve->y[curve->count++] = popularity->tally.counts[at - 1];
        const double next = rank * 1.12;
        rank = next < rank + 1 ? rank + 1 : next;
    }
}

static void draw_curve(struct html *out, const struct traffic_popularity *popularity, const char *title,
                       const char *label, unsigned which) {
    char subtitle[64] = "";
    struct curve curve;
    make_curve(popularity, &curve);
    if (!isnan(popularity->exponent)) snprintf(subtitle, sizeof(subtitle), "Zipf exponent %.2f", popularity->exponent);
    const struct svg_series series = {.x = curve.x, .y = curve.y, .count = curve.count};
    const struct svg_plot plot = {.frame = {.title = title,
                                            .subtitle = subtitle,
                                            .width = WIDTH,
                                            .height = HEIGHT,
                                            .embedded = true,
                                            .x = {.label = "rank", .scale = SVG_LOG},
                                            .y = {.label = label, .scale = SVG_LOG}},
                                  .series = &series,
                                  .series_count = 1};
    draw(out, &plot, which);
}

static void draw_all(struct html *out, const struct traffic_description *description) {
    const int width = WIDTH + 2 * GAP, height = 3 * HEIGHT + 4 * GAP;
    html_printf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"kp\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                "height=\"%d\"><title>kith-traffic</title><style>",
                width, height, width, height);
    html_raw(out, svg_style());
    html_raw(out, "</style><rect class=\"kp-paper\" width=\"100%\" height=\"100%\"/>\n");
    draw_rates(out, description);
    draw_curve(out, &description->users, "Users by sessions", "sessions", 1);
    draw_curve(out, &description->items, "Items by views", "views", 2);
    html_raw(out, "</svg>\n");
}

kith_status traffic_report_svg(const char *path, const struct traffic_description *description, kith_error *error) {
    struct html out = HTML_INIT;
    struct traffic_output file = {.open = false};
    draw_all(&out, description);
    kith_status status = html_ok(&out) ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for the picture");
    if (status == KITH_OK) status = traffic_output_open(&file, path, false, error);
    if (status == KITH_OK) status = traffic_output_write(&file, out.text, out.bytes, error);
    if (status == KITH_OK) status = traffic_output_commit(&file, error);
    traffic_output_discard(&file);
    html_free(&out);
    return status;
}
