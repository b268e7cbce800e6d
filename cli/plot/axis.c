/* SPDX-License-Identifier: Apache-2.0 */
#include "plot/axis.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static double transform(enum svg_scale kind, double value) {
    switch (kind) {
    case SVG_LOG:
        return value > 0 && isfinite(value) ? log10(value) : NAN;
    case SVG_LOGIT:
        if (isnan(value)) return NAN;
        if (value >= 1) return INFINITY;
        return value <= 0 ? -INFINITY : log(value / (1 - value));
    case SVG_LINEAR:
        break;
    }
    return isfinite(value) ? value : NAN;
}

/* Picture units of a value; NaN when the axis cannot show it (I2). Halves keep differences of huge values finite. */
double svg_position(const struct svg_axis_scale *scale, double value) {
    double t = transform(scale->kind, value);
    if (isinf(t)) t = t > 0 ? scale->t_max : scale->t_min;
    double part = (t / 2 - scale->t_min / 2) / (scale->t_max / 2 - scale->t_min / 2);
    if (!(part >= -1e-9 && part <= 1 + 1e-9)) return NAN;
    return scale->from + part * (scale->to - scale->from);
}

static void set_range(struct svg_axis_scale *scale, double t_min, double t_max) {
    double least = scale->kind == SVG_LINEAR ? fmax(fabs(t_min), fabs(t_max)) * 1e-9 : 1e-3;
    if (!(t_max - t_min > least)) {
        double pad = scale->kind == SVG_LINEAR ? fmin(fmax(fabs(t_min) / 2, 0.5), DBL_MAX / 4) : 0.5;
        t_min = fmax(t_min - pad, -DBL_MAX);
        t_max = fmin(t_max + pad, DBL_MAX);
    }
    scale->t_min = t_min;
    scale->t_max = t_max;
}

void svg_extend(struct svg_extent *extent, enum svg_scale kind, const double *values, size_t count) {
    for (size_t i = 0; values && i < count; i++) {
        double t = transform(kind, values[i]);
        if (isnan(t)) continue;
        if (isinf(t)) {
            *(t > 0 ? &extent->one_edge : &extent->zero_edge) = true;
            continue;
        }
        extent->min = fmin(extent->min, t);
        extent->max = fmax(extent->max, t);
    }
}

/* 1, 2 or 5 times a power of ten, about range / parts; 0 when there is no such number. */
static double nice_step(double range, int parts) {
    double rough = range / parts;
    if (!(rough > 0) || !isfinite(rough)) return 0;
    double power = pow(10.0, floor(log10(rough)));
    if (!(power > 0) || !isfinite(power)) return 0;
    double digit = rough / power;
    return (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10) * power;
}

int svg_wanted_ticks(const struct svg_axis_scale *scale, bool horizontal) {
    double parts = fabs(scale->to - scale->from) / (horizontal ? 90 : 52);
    return parts < 2 ? 2 : parts > 10 ? 10 : (int)parts;
}

static void set_range_from_data(struct svg_axis_scale *scale, const struct svg_axis *axis,
                                const struct svg_extent *data, int parts) {
    static const double empty[][2] = {{0, 1}, {0, 1}, {0, 4.6}};
    bool none = data->min > data->max;
    double min = none ? empty[scale->kind][0] : data->min, max = none ? empty[scale->kind][1] : data->max;
    scale->zero_edge = data->zero_edge;
    scale->one_edge = data->one_edge;
    if (scale->kind == SVG_LINEAR && axis->from_zero) {
        min = fmin(min, 0);
        max = fmax(max, 0);
    }
    set_range(scale, min, max);
    if (scale->kind == SVG_LINEAR) {
        double step = nice_step(scale->t_max - scale->t_min, parts);
        double low = step > 0 ? floor(scale->t_min / step + 1e-9) * step : NAN;
        double high = step > 0 ? ceil(scale->t_max / step - 1e-9) * step : NAN;
        if (isfinite(low) && isfinite(high) && high > low) {
            set_range(scale, low, high);
            scale->step = step;
        }
        return;
    }
    double pad = (scale->t_max - scale->t_min) * 0.04;
    /* The edge stands a decade beyond the last value short of it. */
    scale->t_min -= scale->kind == SVG_LOGIT && scale->zero_edge ? fmax(pad, 1.8) : pad;
    scale->t_max += scale->kind == SVG_LOGIT && scale->one_edge ? fmax(pad, 1.8) : pad;
}

void svg_set_scale(struct svg_axis_scale *scale, const struct svg_axis *axis, const struct svg_extent *data,
                   int parts) {
    double low = transform(axis->scale, axis->min), high = transform(axis->scale, axis->max);
    scale->kind = axis->scale;
    if (axis->min < axis->max && isfinite(low) && isfinite(high)) {
        set_range(scale, low, high);
        scale->zero_edge = scale->one_edge = false;
    } else {
        set_range_from_data(scale, axis, data, parts);
    }
}

/* Add a tick unless it lies outside or within `gap` units of one that is already there. */
static void add_tick(struct svg_axis_scale *scale, double value, double gap, const char *label) {
    if (scale->tick_count == SVG_TICKS_MAX) return;
    double at = svg_position(scale, value);
    if (isnan(at)) return;
    for (size_t i = 0; i < scale->tick_count; i++)
        if (fabs(svg_position(scale, scale->ticks[i]) - at) < gap) return;
    char *text = scale->labels[scale->tick_count];
    if (label) {
        snprintf(text, 32, "%.31s", label);
    } else {
        svg_number(value, text);
    }
    scale->ticks[scale->tick_count++] = value;
}

/* Decimals that tell neighbours of a step apart, after a suffix for thousands where all ticks are whole thousands. */
static void linear_ticks(struct svg_axis_scale *scale, int parts) {
    double step = scale->step > 0 ? scale->step : nice_step(scale->t_max - scale->t_min, parts);
    if (!(step > 0)) return;
    double first = ceil(scale->t_min / step - 1e-9);
    double largest = fmax(fabs(scale->t_min), fabs(scale->t_max));
    double unit = largest >= 1e12 ? 1e12 : largest >= 1e9 ? 1e9 : largest >= 1e6 ? 1e6 : largest >= 1e4 ? 1e3 : 1;
    bool extreme = largest >= 1e15 || largest < 1e-4;
    int decimals = extreme ? 0 : (int)ceil(-log10(step / unit) - 1e-9);
    if (decimals > 4 && unit > 1) {
        unit = 1;
        decimals = 0;
    }
    for (int i = 0; i < SVG_TICKS_MAX - 1; i++) {
        double value = (first + i) * step;
        char label[32], number[32];
        if (!isfinite(value) || value > scale->t_max + step / 2) break;
        if (extreme) {
            svg_number(value, label);
        } else {
            svg_fixed(value / unit, decimals < 0 ? 0 : decimals > 12 ? 12 : decimals, number);
            bool bare = unit == 1 || value == 0;
            snprintf(label, sizeof label, "%.30s%s", value == 0 ? "0" : number,
                     bare           ? ""
                     : unit >= 1e12 ? "T"
                     : unit >= 1e9  ? "G"
                     : unit >= 1e6  ? "M"
                                    : "k");
        }
        add_tick(scale, value, 1, label);
    }
}

/* Powers of ten first; between them 3, or 2 and 5, or more, as a decade has room. */
static void log_ticks(struct svg_axis_scale *scale, double gap) {
    static const double digits[] = {1, 2, 5, 3, 1.5, 7, 4};
    double first = floor(scale->t_min), last = ceil(scale->t_max);
    double stride = fmax(1, ceil((last - first) / 12));
    double decade = fabs(scale->to - scale->from) / (scale->t_max - scale->t_min);
    bool halves = decade < 3.4 * gap; /* between 1 and 2 lies 0.3 of a decade */
    size_t used = stride > 1 || decade < 2.1 * gap ? 1 : decade < 8 * gap ? 3 : sizeof digits / sizeof digits[0];
    for (size_t d = 0; d < used; d++) {
        double digit = halves && d == 1 ? 3 : digits[d];
        if (halves && d > 1) break;
        for (double power = ceil(first / stride) * stride; power <= last; power += stride)
            add_tick(scale, digit * pow(10.0, power), gap, NULL);
    }
}

static void logit_ticks(struct svg_axis_scale *scale, double gap) {
    static const double values[] = {0.5,   0.9,   0.99, 0.1, 0.999, 0.01, 0.9999, 0.001, 0.95, 0.8,  0.2,   0.05,
                                    0.995, 0.005, 0.7,  0.3, 0.98,  0.02, 0.6,    0.4,   0.97, 0.85, 0.9995};
    if (scale->one_edge) add_tick(scale, 1, gap, NULL);
    if (scale->zero_edge) add_tick(scale, 0, gap, NULL);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) add_tick(scale, values[i], gap, NULL);
}

void svg_set_ticks(struct svg_axis_scale *scale, const struct svg_axis *axis, bool horizontal) {
    double gap = horizontal ? 44 : 24;
    scale->tick_count = 0;
    if (axis->ticks) {
        for (size_t i = 0; i < axis->tick_count; i++)
            add_tick(scale, axis->ticks[i], 0, axis->tick_labels ? axis->tick_labels[i] : NULL);
    } else if (scale->kind == SVG_LOG) {
        log_ticks(scale, gap);
    } else if (scale->kind == SVG_LOGIT) {
        logit_ticks(scale, gap);
    }
    /* Too narrow a range for round powers and shares: plain steps lie inside it. */
    if (!axis->ticks && scale->kind != SVG_LINEAR && scale->tick_count < 2) {
        double low = scale->kind == SVG_LOG ? pow(10, scale->t_min) : 1 / (1 + exp(-scale->t_min));
        double high = scale->kind == SVG_LOG ? pow(10, scale->t_max) : 1 / (1 + exp(-scale->t_max));
        double step = nice_step(high - low, 4);
        for (int i = 0; step > 0 && i < 8; i++) add_tick(scale, (ceil(low / step) + i) * step, gap, NULL);
    }
    if (!axis->ticks && scale->kind == SVG_LINEAR) linear_ticks(scale, svg_wanted_ticks(scale, horizontal));
}

void svg_put_axes(struct html *out, const struct svg_frame *frame, const struct svg_layout *layout,
                  const struct svg_axis_scale *x, const struct svg_axis_scale *y) {
    for (size_t i = 0; i < y->tick_count; i++) {
        double at = svg_position(y, y->ticks[i]);
        if (isnan(at)) continue;
        svg_put_line(out, "kp-grid", layout->left, at, layout->right, at);
        svg_put_text(out, "kp-soft kp-num", SVG_ANCHOR_END, layout->left - 8, at + 4, y->labels[i]);
    }
    svg_put_line(out, "kp-axis", layout->left, layout->bottom, layout->right, layout->bottom);
    for (size_t i = 0; i < x->tick_count; i++) {
        double at = svg_position(x, x->ticks[i]);
        if (isnan(at)) continue;
        svg_put_line(out, "kp-axis", at, layout->bottom, at, layout->bottom + 4);
        svg_put_text(out, "kp-soft kp-num", SVG_ANCHOR_MIDDLE, at, layout->bottom + 18, x->labels[i]);
    }
    if (frame->y.label)
        svg_put_text_in(out, "kp-soft", SVG_ANCHOR_START, 2, layout->top - 12, layout->width, frame->y.label);
    if (frame->x.label)
        svg_put_text_in(out, "kp-soft", SVG_ANCHOR_END, layout->right, layout->bottom + 36, layout->width,
                        frame->x.label);
}
