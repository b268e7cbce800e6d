/* SPDX-License-Identifier: Apache-2.0
 *
 * Plots as SVG: lines and points over linear, log and logit axes, bar charts, heat maps. Text stays text; colours
 * follow the reader's light or dark setting; series differ by marker shape as well as by colour.
 *
 * I1. Output is well-formed XML for every input: NaN and infinity, empty series, equal values, any bytes in labels.
 * I2. A value that its axis cannot show (not finite; <= 0 on a log axis) is left out and breaks its line. On a logit
 *     axis values >= 1 are drawn at the upper edge, labelled 1, and values <= 0 at the lower edge, labelled 0.
 * I3. Equal plots give equal bytes, whatever the locale.
 *
 * A typical use:
 *
 *     struct html out = HTML_INIT;
 *     struct svg_series series = {.name = "1 thread", .marks = SVG_LINE_AND_POINTS, .x = x, .y = y, .count = n};
 *     struct svg_plot plot = {.frame = {.title = "Recall and speed", .x.label = "recall@10", .x.scale = SVG_LOGIT,
 *                                       .y.label = "queries a second", .y.scale = SVG_LOG},
 *                             .series = &series, .series_count = 1};
 *     svg_plot(&out, &plot);
 *     if (!html_write(&out, stream)) ...
 *     html_free(&out); */
#ifndef KITH_CLI_SVG_H
#define KITH_CLI_SVG_H

#include "plot/html.h"

enum svg_scale { SVG_LINEAR, SVG_LOG, SVG_LOGIT };

struct svg_axis {
    const char *label; /* NULL: none */
    enum svg_scale scale;
    double min, max; /* equal: taken from the data; else the range shown, data beyond it is left out */
    bool from_zero;  /* linear: the range taken from the data includes 0 */
    /* Tick positions of the caller's choice with their texts; count 0: chosen here. */
    const double *ticks;
    const char *const *tick_labels; /* NULL: the numbers */
    size_t tick_count;
};

struct svg_frame {
    const char *title;       /* NULL: none; drawn at the top, left-aligned */
    const char *subtitle;    /* NULL: none */
    const char *description; /* for people who hear the page; NULL: the title */
    unsigned width, height;  /* units of the view box; 0: 640 x 400. The picture scales with its container */
    bool embedded;           /* inside an HTML page that has svg_style() in its head: no style of its own */
    struct svg_axis x, y;
};

enum svg_marks { SVG_POINTS = 1, SVG_LINE = 2, SVG_LINE_AND_POINTS = 3, SVG_STEPS = 4, SVG_AREA = 8 };

struct svg_series {
    const char *name;     /* in the legend, which is drawn when there are two series or more; NULL: not in it */
    enum svg_marks marks; /* 0: SVG_LINE_AND_POINTS; SVG_STEPS: y[i] holds from x[i] to x[i+1]; AREA: fill below */
    const double *x, *y;
    size_t count;
    const char *const *labels; /* a text a point, shown on hovering; NULL: the numbers */
    bool quiet;                /* drawn in grey: context, not subject; takes no colour */
    bool continues;            /* has the colour and shape of the series before it */
};

struct svg_plot {
    struct svg_frame frame;
    const struct svg_series *series;
    size_t series_count;
};

/* Horizontal bars, one below the other, value printed at each. */
struct svg_bars {
    struct svg_frame frame; /* x: the value axis (scale LINEAR or LOG); y is not used; height 0: from the count */
    const char *const *labels;
    const double *values;
    const char *const *value_labels; /* NULL: the numbers */
    const bool *quiet;               /* true: grey; NULL: all in colour */
    size_t count;
};

/* A matrix of values, rows x columns, darker is more; each cell shows its number when it fits. */
struct svg_heat {
    struct svg_frame frame; /* x.label, y.label; scales are not used */
    const char *const *row_labels;
    const char *const *column_labels;
    const double *values; /* row-major; NaN: an empty cell */
    size_t rows, columns;
    double max;       /* value of the full colour; 0: the largest */
    double full_from; /* cells below this print no number */
    const char *unit; /* after the number on hovering, such as " %"; NULL: none */
};

/* The style sheet of embedded plots: CSS text for a <style> element, once a page. */
const char *svg_style(void);

/* Each appends one <svg> element; a stand-alone one (not embedded) can be saved as a file as it is. */
void svg_plot(struct html *out, const struct svg_plot *plot);
void svg_bars(struct html *out, const struct svg_bars *bars);
void svg_heat(struct html *out, const struct svg_heat *heat);

/* A short number: 0.95, 12, 3.4k, 1.2M. `text` holds at least 32 bytes. Also used in tables. */
void svg_number(double value, char text[32]);

#endif
