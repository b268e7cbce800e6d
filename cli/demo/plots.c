/* SPDX-License-Identifier: Apache-2.0
 *
 * The plots of the demo's page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "demo/demo.h"
#include "stats.h"
#include "plot/svg.h"
#include "terminal.h"

#define QUANTILES 90
#define PARTS     10 /* of the queries, by distance of their nearest neighbour */

static void open_figure(struct html *out) {
    html_raw(out, "<figure class=\"plot\">");
}

static void close_figure(struct html *out, const char *caption) {
    html_raw(out, "<figcaption>");
    html_text(out, caption);
    html_raw(out, "</figcaption></figure>\n");
}

static void plot_sweep(struct html *out, const struct demo *demo) {
    double batch[DEMO_SWEEP_MAX], rate[DEMO_SWEEP_MAX], ends[2] = {1, 1}, plain[2];
    const char *labels[DEMO_SWEEP_MAX];
    const char *tick_labels[DEMO_SWEEP_MAX];
    char text[DEMO_SWEEP_MAX][96], number[32], sizes[DEMO_SWEEP_MAX][HUMAN_BYTES], caption[256];
    for (size_t i = 0; i < demo->sweep_count; i++) {
        batch[i] = (double)demo->sweep[i].batch;
        rate[i] = demo->sweep[i].per_second;
        svg_number(rate[i], number);
        snprintf(text[i], sizeof(text[i]), "%s at once: %s queries a second",
                 human_count(sizes[i], demo->sweep[i].batch), number);
        tick_labels[i] = sizes[i];
        labels[i] = text[i];
        ends[1] = batch[i];
    }
    plain[0] = plain[1] = demo_plain_rate(demo);
    struct svg_series series[] = {
        {.name = "kith", .x = batch, .y = rate, .count = demo->sweep_count, .labels = labels},
        {.name = "plain scan", .marks = SVG_LINE, .x = ends, .y = plain, .count = 2, .quiet = true}};
    struct svg_plot plot = {.series = series, .series_count = 2};
    plot.frame = (struct svg_frame){.title = "Load makes it faster", .embedded = true, .width = 560, .height = 340};
    plot.frame.description = "Line plot: queries a second against the number of queries asked at once.";
    plot.frame.x = (struct svg_axis){.label = "queries asked at once",
                                     .scale = SVG_LOG,
                                     .ticks = batch,
                                     .tick_labels = tick_labels,
                                     .tick_count = demo->sweep_count};
    plot.frame.y = (struct svg_axis){.label = "queries a second", .scale = SVG_LOG};
    open_figure(out);
    svg_plot(out, &plot);
    snprintf(caption, sizeof(caption),
             "Many queries at once share each vector that is read from memory. All on %u thread%s.", demo->threads,
             demo->threads == 1 ? "" : "s");
    close_figure(out, caption);
}

/* Nearest-rank quantiles, dense towards the slow end, where the logit axis spreads them. */
static void plot_latency(struct html *out, const struct demo *demo) {
    double ms[QUANTILES], share[QUANTILES], marked_ms[3], marked_share[3] = {0.5, 0.9, 0.99};
    char text[3][64], number[32], caption[256];
    const char *labels[3];
    for (size_t i = 0; i < QUANTILES; i++) {
        double t = -4.2 + 10.8 * (double)i / (QUANTILES - 1);
        share[i] = 1 / (1 + exp(-t));
        ms[i] = demo_latency_ms(demo, 100 * share[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        marked_ms[i] = demo_latency_ms(demo, 100 * marked_share[i]);
        svg_number(marked_ms[i], number);
        snprintf(text[i], sizeof(text[i]), "%.0f %% within %s ms", 100 * marked_share[i], number);
        labels[i] = text[i];
    }
    struct svg_series series[] = {
        {.marks = SVG_LINE, .x = ms, .y = share, .count = QUANTILES},
        {.marks = SVG_POINTS, .x = marked_ms, .y = marked_share, .count = 3, .labels = labels, .continues = true}};
    struct svg_plot plot = {.series = series, .series_count = 2};
    plot.frame =
        (struct svg_frame){.title = "How long one answer takes", .embedded = true, .width = 560, .height = 340};
    plot.frame.description = "Line plot: the share of single queries answered within a time.";
    plot.frame.x = (struct svg_axis){.label = "milliseconds", .from_zero = true};
    plot.frame.y = (struct svg_axis){.label = "share of queries answered by then", .scale = SVG_LOGIT};
    open_figure(out);
    svg_plot(out, &plot);
    char half[32], most[32], count[HUMAN_BYTES];
    svg_number(marked_ms[0], half);
    svg_number(marked_ms[2], most);
    snprintf(caption, sizeof(caption), "%s queries, one a call. Half are answered within %s ms, 99 %% within %s ms.",
             human_count(count, demo->latencies), half, most);
    close_figure(out, caption);
}

static void plot_confusion(struct html *out, const struct demo *demo) {
    double shares[DEMO_CLASSES * DEMO_CLASSES], most = 0;
    size_t from = 0, to = 0;
    for (size_t row = 0; row < DEMO_CLASSES; row++) {
        double total = 0;
        for (size_t column = 0; column < DEMO_CLASSES; column++) total += demo->confusion[row][column];
        for (size_t column = 0; column < DEMO_CLASSES; column++) {
            double share = total > 0 ? 100.0 * demo->confusion[row][column] / total : 0;
            shares[row * DEMO_CLASSES + column] = round(share * 10) / 10;
            if (row == column || share <= most) continue;
            most = share;
            from = row;
            to = column;
        }
    }
    struct svg_heat heat = {.row_labels = demo_class_names,
                            .column_labels = demo_class_names,
                            .values = shares,
                            .rows = DEMO_CLASSES,
                            .columns = DEMO_CLASSES,
                            .max = 100,
                            .full_from = 1,
                            .unit = " %"};
    heat.frame = (struct svg_frame){.title = "What is taken for what", .embedded = true, .width = 560};
    heat.frame.description = "Heat map: for each kind of picture, the share of answers of each kind.";
    heat.frame.x.label = "what the five nearest say";
    heat.frame.y.label = "what it is, in per cent of its pictures";
    open_figure(out);
    svg_heat(out, &heat);
    char caption[256];
    snprintf(caption, sizeof(caption),
             "The largest mistake: %.1f %% of the pictures of kind \xe2\x80\x9c%s\xe2\x80\x9d are taken for "
             "\xe2\x80\x9c%s\xe2\x80\x9d.",
             most, demo_class_names[from], demo_class_names[to]);
    close_figure(out, caption);
}

static void plot_votes(struct html *out, const struct demo *demo) {
    double votes[DEMO_K], accuracy[DEMO_K];
    const char *labels[DEMO_K];
    char text[DEMO_K][64];
    for (size_t i = 0; i < DEMO_K; i++) {
        votes[i] = (double)(i + 1);
        accuracy[i] = 100.0 * (double)demo->right_by_votes[i] / (double)demo->test.count;
        snprintf(text[i], sizeof(text[i]), "%zu neighbour%s: %.2f %%", i + 1, i == 0 ? "" : "s", accuracy[i]);
        labels[i] = text[i];
    }
    struct svg_series series = {.x = votes, .y = accuracy, .count = DEMO_K, .labels = labels};
    struct svg_plot plot = {.series = &series, .series_count = 1};
    plot.frame = (struct svg_frame){.title = "How many neighbours should vote", .embedded = true, .width = 560};
    plot.frame.height = 300;
    plot.frame.description = "Line plot: accuracy against the number of neighbours that vote.";
    plot.frame.x = (struct svg_axis){.label = "neighbours", .ticks = votes, .tick_count = DEMO_K};
    plot.frame.y.label = "pictures recognised, %";
    open_figure(out);
    svg_plot(out, &plot);
    close_figure(out, "A few neighbours outvote a single odd one; ties go to whoever is nearest.");
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* One query's distance of the nearest neighbour (not squared), and whether the vote was right. */
struct judged {
    double distance;
    double right;
};

static double nearest(const struct demo *demo, size_t query) {
    return sqrt((double)demo->distances[query * DEMO_K]);
}

static void plot_trust(struct html *out, const struct demo *demo) {
    size_t count = demo->test.count;
    double part[PARTS], right[PARTS];
    char text[PARTS][96];
    const char *labels[PARTS];
    struct judged *judged = calloc(count, sizeof(*judged));
    if (!judged) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        judged[i] = (struct judged){nearest(demo, i), demo->answers[i] == demo->test_labels.data[i]};
    qsort(judged, count, sizeof(*judged), by_value);
    for (size_t p = 0; p < PARTS; p++) {
        size_t first = count * p / PARTS, end = count * (p + 1) / PARTS;
        double sum = 0;
        for (size_t i = first; i < end; i++) sum += judged[i].right;
        part[p] = (double)(p + 1);
        right[p] = 100 * sum / (double)(end - first);
        snprintf(text[p], sizeof(text[p]), "nearest at %.0f to %.0f: %.1f %% recognised", judged[first].distance,
                 judged[end - 1].distance, right[p]);
        labels[p] = text[p];
    }
    free(judged);
    struct svg_series series = {.x = part, .y = right, .count = PARTS, .labels = labels};
    struct svg_plot plot = {.series = &series, .series_count = 1};
    static const double ticks[] = {1, 10};
    static const char *const tick_labels[] = {"nearest tenth", "farthest"};
    plot.frame = (struct svg_frame){.title = "The distance says when to doubt", .embedded = true, .width = 560};
    plot.frame.height = 300;
    plot.frame.description =
        "Line plot: accuracy in each tenth of the queries, ordered by the distance of their nearest "
        "neighbour.";
    plot.frame.x = (struct svg_axis){.label = "queries in ten equal parts, by distance of the nearest neighbour",
                                     .ticks = ticks,
                                     .tick_labels = tick_labels,
                                     .tick_count = 2,
                                     .min = 0.4,
                                     .max = 10.7};
    plot.frame.y.label = "pictures recognised, %";
    open_figure(out);
    svg_plot(out, &plot);
    close_figure(out, "Pictures that lie close to a known one are recognised almost always, strays less often.");
}

static double median_of_class(const struct demo *demo, unsigned class, double *room) {
    size_t count = 0;
    for (size_t i = 0; i < demo->test.count; i++)
        if (demo->test_labels.data[i] == class) room[count++] = sqrt((double)demo->distances[i * DEMO_K + DEMO_K - 1]);
    qsort(room, count, sizeof(*room), by_value);
    return count ? room[count / 2] : NAN;
}

static void plot_distances(struct html *out, const struct demo *demo) {
    double values[DEMO_CLASSES], *room = malloc(demo->test.count * sizeof(*room));
    const char *labels[DEMO_CLASSES];
    if (!room) {
        out->failed = true;
        return;
    }
    for (unsigned class = 0; class < DEMO_CLASSES; class ++) {
        /* Inserted in ascending order. */
        double median = round(median_of_class(demo, class, room));
        size_t at = class;
        for (; at > 0 && values[at - 1] > median; at--) {
            values[at] = values[at - 1];
            labels[at] = labels[at - 1];
        }
        values[at] = median;
        labels[at] = demo_class_names[class];
    }
    free(room);
    char text[DEMO_CLASSES][32];
    const char *value_labels[DEMO_CLASSES];
    for (size_t i = 0; i < DEMO_CLASSES; i++) {
        snprintf(text[i], sizeof(text[i]), "%.0f", values[i]);
        value_labels[i] = text[i];
    }
    struct svg_bars bars = {.labels = labels, .values = values, .value_labels = value_labels, .count = DEMO_CLASSES};
    bars.frame = (struct svg_frame){.title = "Who has close relatives", .embedded = true, .width = 560};
    bars.frame.description = "Bar chart: median distance of the tenth neighbour, by kind of picture.";
    bars.frame.x.label = "median distance of the tenth neighbour";
    open_figure(out);
    svg_bars(out, &bars);
    char caption[160];
    snprintf(caption, sizeof(caption), "Closest to its like: %s. Farthest from it: %s.", labels[0],
             labels[DEMO_CLASSES - 1]);
    close_figure(out, caption);
}

void demo_plots(struct html *out, const struct demo *demo) {
    html_raw(out, "<div class=\"plots\">\n");
    plot_sweep(out, demo);
    plot_latency(out, demo);
    plot_confusion(out, demo);
    plot_distances(out, demo);
    plot_votes(out, demo);
    plot_trust(out, demo);
    html_raw(out, "</div>\n");
}
