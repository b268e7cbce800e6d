/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines and points. A picture is laid out from the outside in: title, legend and labels take their room first, the
 * axes share what is left. */
#include "plot/axis.h"

#include <math.h>
#include <string.h>

static void put_marker(struct html *out, int color, double x, double y, const char *hover) {
    static const char *const shapes[] = {"m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
                                         "m-3.2 -3.2h6.4v6.4h-6.4z",
                                         "m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
                                         "m0 -4.4l4.4 7.6h-8.8z",
                                         "m0 4.4l4.4 -7.6h-8.8z",
                                         "m-4.5 -1.4h9v2.8h-9z"};
    html_printf(out, "<path class=\"kp-f%d\" d=\"", color);
    svg_put_point(out, "M", x, y);
    html_raw(out, shapes[color == 0 ? 0 : color - 1]);
    if (!hover) {
        html_raw(out, "\"/>");
        return;
    }
    html_raw(out, "\"><title>");
    html_text(out, hover);
    html_raw(out, "</title></path>");
}

struct place {
    double x, y;
};

static struct place place_of(const struct svg_series *series, size_t i, const struct svg_axis_scale *x,
                             const struct svg_axis_scale *y) {
    struct place place = {svg_position(x, series->x[i]), svg_position(y, series->y[i])};
    if (isnan(place.x) || isnan(place.y)) place.x = place.y = NAN;
    return place;
}

/* The unbroken runs of a series (I2), as a line, steps, or the area between it and the axis. */
static void put_runs(struct html *out, const struct svg_series *series, int color, bool area,
                     const struct svg_axis_scale *x, const struct svg_axis_scale *y) {
    double floor_y = y->from;
    for (size_t i = 0; i < series->count; i++) {
        struct place first = place_of(series, i, x, y), last = first;
        if (isnan(first.x)) continue;
        if (area) {
            html_printf(out, "<path class=\"kp-area kp-f%d\" d=\"", color);
            svg_put_point(out, "M", first.x, floor_y);
            svg_put_point(out, "L", first.x, first.y);
        } else {
            html_printf(out, "<path class=\"kp-line kp-s%d\" d=\"", color);
            svg_put_point(out, "M", first.x, first.y);
        }
        bool alone = true;
        for (; i + 1 < series->count; i++, alone = false) {
            struct place next = place_of(series, i + 1, x, y);
            if (isnan(next.x)) break;
            if (series->marks & SVG_STEPS) svg_put_point(out, "L", next.x, last.y);
            svg_put_point(out, "L", next.x, next.y);
            last = next;
        }
        if (area) svg_put_point(out, "L", last.x, floor_y);
        html_raw(out, area ? "z\"/>" : alone ? "h0\"/>" : "\"/>"); /* h0: a round cap shows a single point */
    }
}

static void put_points(struct html *out, const struct svg_series *series, int color, const struct svg_axis_scale *x,
                       const struct svg_axis_scale *y) {
    for (size_t i = 0; i < series->count; i++) {
        struct place at = place_of(series, i, x, y);
        if (isnan(at.x)) continue;
        char x_text[32], y_text[32], numbers[72];
        svg_number(series->x[i], x_text);
        svg_number(series->y[i], y_text);
        snprintf(numbers, sizeof numbers, "%s, %s", x_text, y_text);
        put_marker(out, color, at.x, at.y, series->labels ? series->labels[i] : numbers);
    }
}

static void put_series(struct html *out, const struct svg_series *series, int color, const struct svg_axis_scale *x,
                       const struct svg_axis_scale *y) {
    enum svg_marks marks = series->marks ? series->marks : SVG_LINE_AND_POINTS;
    if (!series->x || !series->y) return;
    if (marks & SVG_AREA) put_runs(out, series, color, true, x, y);
    if (marks & (SVG_LINE | SVG_STEPS)) put_runs(out, series, color, false, x, y);
    if (marks & SVG_POINTS) put_points(out, series, color, x, y);
}

/* Colours are given in order to the series that are not quiet, and repeat beyond the sixth. */
static int color_of(const struct svg_plot *plot, size_t index) {
    if (plot->series[index].quiet) return 0;
    size_t loud = 0;
    for (size_t i = 0; i <= index; i++) loud += !plot->series[i].quiet && !plot->series[i].continues;
    return (int)((loud + SVG_COLORS - 1) % SVG_COLORS) +
           1; /* loud is 0 when the first series claims to continue another */
}

/* Draws (or with out NULL only measures) the legend from `top` on; returns where it ends. */
static double put_legend(struct html *out, const struct svg_plot *plot, double top, double width) {
    size_t named = 0;
    for (size_t i = 0; i < plot->series_count; i++) named += plot->series[i].name != NULL;
    if (named < 2) return top;
    double x = 2, y = top + 16;
    for (size_t i = 0; i < plot->series_count; i++) {
        const struct svg_series *series = &plot->series[i];
        if (!series->name) continue;
        double needed = fmin(24 + svg_text_units(series->name, SVG_TEXT_SIZE) + 18, width - 4);
        if (x > 2 && x + needed > width) {
            x = 2;
            y += 20;
        }
        if (out) {
            char class[16];
            int color = color_of(plot, i);
            enum svg_marks marks = series->marks ? series->marks : SVG_LINE_AND_POINTS;
            snprintf(class, sizeof class, "kp-line kp-s%d", color);
            if (marks & ~(unsigned)SVG_POINTS) svg_put_line(out, class, x, y - 4, x + 18, y - 4);
            if (marks & SVG_POINTS) put_marker(out, color, x + 9, y - 4, NULL);
            svg_put_text_in(out, NULL, SVG_ANCHOR_START, x + 24, y, needed - 24, series->name);
        }
        x += needed;
    }
    return y + 6;
}

/* The y axis is settled first: the width of its labels decides where the x axis begins. */
static void lay_out_plot(const struct svg_plot *plot, struct svg_layout *layout, struct svg_axis_scale *x,
                         struct svg_axis_scale *y) {
    const struct svg_frame *frame = &plot->frame;
    struct svg_extent x_data = {.min = INFINITY, .max = -INFINITY}, y_data = x_data;
    for (size_t i = 0; i < plot->series_count; i++) {
        const struct svg_series *series = &plot->series[i];
        svg_extend(&x_data, frame->x.scale, series->x, series->count);
        svg_extend(&y_data, frame->y.scale, series->y, series->count);
    }
    layout->width = svg_side(frame->width, 640);
    layout->height = svg_side(frame->height, 400);
    layout->top = put_legend(NULL, plot, svg_title_bottom(frame), layout->width) + (frame->y.label ? 34 : 14);
    layout->bottom = layout->height - (frame->x.label ? 44 : 26);
    if (layout->bottom < layout->top + 40) { /* a legend of many lines makes the picture taller, not the plot flat */
        layout->bottom = layout->top + 160;
        layout->height = layout->bottom + (frame->x.label ? 44 : 26);
    }
    y->from = layout->bottom;
    y->to = layout->top;
    svg_set_scale(y, &frame->y, &y_data, svg_wanted_ticks(y, false));
    svg_set_ticks(y, &frame->y, false);
    double widest = 0;
    for (size_t i = 0; i < y->tick_count; i++) widest = fmax(widest, svg_text_units(y->labels[i], SVG_TEXT_SIZE));
    layout->left = fmin(widest + 14, layout->width / 3);
    layout->right = layout->width - 18;
    x->from = layout->left + 6;
    x->to = layout->right;
    svg_set_scale(x, &frame->x, &x_data, svg_wanted_ticks(x, true));
    svg_set_ticks(x, &frame->x, true);
}

void svg_plot(struct html *out, const struct svg_plot *plot) {
    struct svg_layout layout;
    struct svg_axis_scale x = {0}, y = {0};
    lay_out_plot(plot, &layout, &x, &y);
    svg_open(out, &plot->frame, &layout);
    put_legend(out, plot, svg_title_bottom(&plot->frame), layout.width);
    svg_put_axes(out, &plot->frame, &layout, &x, &y);
    /* Context lies below the subject. */
    for (int quiet = 1; quiet >= 0; quiet--)
        for (size_t i = 0; i < plot->series_count; i++)
            if (plot->series[i].quiet == quiet) put_series(out, &plot->series[i], color_of(plot, i), &x, &y);
    svg_close(out);
}
