/* SPDX-License-Identifier: Apache-2.0
 *
 * Plots as SVG; svg.h has the invariants I1..I3. A picture is laid out from the outside in: title, legend and labels
 * take their room first, the axes share what is left.
 *
 * Text cannot be measured here, since the reader's font is not known: widths are estimated from the count of characters
 * (text_units), generously, so that a wider font still fits. */
#include "plot/svg.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define COLORS     6
#define TICKS_MAX  24
#define TITLE_SIZE 15.0
#define TEXT_SIZE  12.0

/* No custom properties: viewers other than browsers draw these files too. Every selector begins with .kp, because an
 * embedded picture shares its page's rules. Colours keep apart for colour-blind readers and reach 3:1 on both papers.
 */
static const char style[] =
    ".kp{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;font-size:12px}"
    ".kp text{fill:#1c252c}.kp .kp-title{font-size:15px;font-weight:600}.kp .kp-soft{fill:#5a6872}"
    ".kp .kp-num{font-variant-numeric:tabular-nums}.kp .kp-paper{fill:#fff}.kp .kp-on{fill:#fff}"
    ".kp .kp-grid{stroke:#e3e8eb;stroke-width:1;fill:none}.kp .kp-axis{stroke:#97a3ab;stroke-width:1;fill:none}"
    ".kp .kp-line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.kp .kp-area{fill-opacity:.16}"
    ".kp .kp-s0{stroke:#a9b3ba}.kp .kp-f0{fill:#a9b3ba}.kp .kp-s1{stroke:#1f6fc4}.kp .kp-f1{fill:#1f6fc4}"
    ".kp .kp-s2{stroke:#cc5a12}.kp .kp-f2{fill:#cc5a12}.kp .kp-s3{stroke:#12876f}.kp .kp-f3{fill:#12876f}"
    ".kp .kp-s4{stroke:#8a55b8}.kp .kp-f4{fill:#8a55b8}.kp .kp-s5{stroke:#b8437c}.kp .kp-f5{fill:#b8437c}"
    ".kp .kp-s6{stroke:#80781a}.kp .kp-f6{fill:#80781a}"
    "@media(prefers-color-scheme:dark){.kp text{fill:#e6ebee}.kp .kp-soft{fill:#9fadb6}.kp .kp-paper{fill:#14191d}"
    ".kp .kp-on{fill:#0f1417}.kp .kp-grid{stroke:#2a333a}.kp .kp-axis{stroke:#5f6d76}"
    ".kp .kp-s0{stroke:#5d6a73}.kp .kp-f0{fill:#5d6a73}.kp .kp-s1{stroke:#62a8f2}.kp .kp-f1{fill:#62a8f2}"
    ".kp .kp-s2{stroke:#f0935a}.kp .kp-f2{fill:#f0935a}.kp .kp-s3{stroke:#49c2a4}.kp .kp-f3{fill:#49c2a4}"
    ".kp .kp-s4{stroke:#bb95e6}.kp .kp-f4{fill:#bb95e6}.kp .kp-s5{stroke:#ea8cb8}.kp .kp-f5{fill:#ea8cb8}"
    ".kp .kp-s6{stroke:#c6bd52}.kp .kp-f6{fill:#c6bd52}}";

const char *svg_style(void) {
    return style;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

/* "%.*f" with a point, whatever the locale calls it (I3). |value| < 1e16. */
static void fixed(double value, int decimals, char text[32]) {
    snprintf(text, 32, "%.*f", decimals, value);
    size_t digits = strspn(text, "-0123456789");
    if (text[digits] != '\0') {
        size_t fraction = strlen(text) - (size_t)decimals;
        text[digits] = '.';
        memmove(text + digits + 1, text + fraction, (size_t)decimals + 1);
    }
    if (strspn(text, "-0.") == strlen(text) && text[0] == '-') memmove(text, text + 1, strlen(text));
}

static void trim_zeros(char *text) {
    if (!strchr(text, '.')) return;
    char *end = text + strlen(text);
    while (end[-1] == '0') *--end = '\0';
    if (end[-1] == '.') *--end = '\0';
}

static void fixed_with_suffix(double value, int decimals, char text[32], bool trim) {
    static const struct {
        double from;
        char letter;
    } suffixes[] = {{1e12, 'T'}, {1e9, 'G'}, {1e6, 'M'}, {1e3, 'k'}};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (fabs(value) < suffixes[i].from * 0.9995) continue;
        double part = value / suffixes[i].from;
        int shown = decimals >= 0 ? decimals : fabs(part) < 9.995 ? 2 : fabs(part) < 99.95 ? 1 : 0;
        fixed(part, shown, text);
        if (trim) trim_zeros(text);
        size_t end = strlen(text);
        text[end] = suffixes[i].letter;
        text[end + 1] = '\0';
        return;
    }
    fixed(value, decimals < 0 ? 0 : decimals, text);
    if (trim) trim_zeros(text);
}

static void scientific(double value, char text[32]) {
    int exponent = (int)floor(log10(fabs(value)));
    double part = value / pow(10.0, exponent);
    if (!isfinite(part)) part = value > 0 ? 1 : -1; /* subnormal */
    char digits[32];
    fixed(part, 1, digits);
    trim_zeros(digits);
    snprintf(text, 32, "%.8se%d", digits, exponent);
}

void svg_number(double value, char text[32]) {
    double size = fabs(value);
    if (!isfinite(value)) {
        snprintf(text, 32, "%s", isnan(value) ? "\xe2\x80\x93" : value > 0 ? "\xe2\x88\x9e" : "-\xe2\x88\x9e");
    } else if (size == 0) {
        snprintf(text, 32, "0");
    } else if (size >= 999.5e12 || size < 1e-4) {
        scientific(value, text);
    } else if (size >= 999.5) {
        fixed_with_suffix(value, -1, text, true);
    } else if (size >= 1) {
        fixed(value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0, text);
        trim_zeros(text);
    } else {
        /* Enough digits to tell 0.9995 from 1, and three that count for small numbers. */
        double left = 1 - size;
        int near_one = left > 0 ? (int)ceil(-log10(left)) + 1 : 7;
        int small = 2 - (int)floor(log10(size));
        int decimals = near_one > small ? near_one : small;
        fixed(value, decimals > 7 ? 7 : decimals, text);
        trim_zeros(text);
    }
}

/* ---- Pieces of markup -------------------------------------------------------------------------------------------- */

/* ` name="12.34"`; keeps a hundredth, which is finer than any screen shows. */
static void number_attribute(struct html *out, const char *name, double value) {
    char text[32];
    if (!(fabs(value) < 1e7)) value = 0; /* layout never gets here; I1 must hold even so */
    fixed(value, 2, text);
    trim_zeros(text);
    html_printf(out, " %s=\"%s\"", name, text);
}

static void put_point(struct html *out, const char *command, double x, double y) {
    char left[32], right[32];
    fixed(x, 1, left);
    fixed(y, 1, right);
    trim_zeros(left);
    trim_zeros(right);
    html_printf(out, "%s%s %s", command, left, right);
}

static void put_line(struct html *out, const char *class, double x1, double y1, double x2, double y2) {
    html_printf(out, "<path class=\"%s\" d=\"", class);
    put_point(out, "M", x1, y1);
    put_point(out, "L", x2, y2);
    html_raw(out, "\"/>");
}

/* Width of text in units of the view box at a font size; every UTF-8 character counts alike. */
static double text_units(const char *text, double size) {
    size_t characters = 0;
    for (const char *s = text; s && *s; s++) characters += (*s & 0xc0) != 0x80;
    return (double)characters * size * 0.58;
}

enum anchor { ANCHOR_START, ANCHOR_MIDDLE, ANCHOR_END };

static void open_text(struct html *out, const char *class, enum anchor anchor, double x, double y) {
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    html_raw(out, "<text");
    if (class) html_printf(out, " class=\"%s\"", class);
    html_raw(out, anchors[anchor]);
    number_attribute(out, "x", x);
    number_attribute(out, "y", y);
}

static void put_text(struct html *out, const char *class, enum anchor anchor, double x, double y, const char *text) {
    open_text(out, class, anchor, x, y);
    html_raw(out, ">");
    html_text(out, text);
    html_raw(out, "</text>");
}

/* Text in at most `room` units: cut with an ellipsis, and then whole in the hover text. */
static void put_text_in(struct html *out, const char *class, enum anchor anchor, double x, double y, double room,
                        const char *text) {
    if (!text) text = "";
    if (text_units(text, TEXT_SIZE) <= room) {
        put_text(out, class, anchor, x, y, text);
        return;
    }
    char cut[128];
    size_t end = 0, keep = room > 4 * TEXT_SIZE ? (size_t)(room / (TEXT_SIZE * 0.58)) - 1 : 3;
    for (size_t characters = 0; text[end] && end + 8 < sizeof cut; end++) {
        if ((text[end] & 0xc0) != 0x80 && ++characters > keep) break;
        cut[end] = text[end];
    }
    memcpy(cut + end, "\xe2\x80\xa6", 4);
    open_text(out, class, anchor, x, y);
    html_raw(out, "><title>");
    html_text(out, text);
    html_raw(out, "</title>");
    html_text(out, cut);
    html_raw(out, "</text>");
}

/* ---- Frame ------------------------------------------------------------------------------------------------------- */

struct layout {
    double width, height;
    double left, right, top, bottom; /* edges of the plotting area */
};

static double clamp_side(unsigned side, double otherwise) {
    return side == 0 ? otherwise : fmin(fmax((double)side, 120), 8000);
}

static void open_svg(struct html *out, const struct svg_frame *frame, const struct layout *layout) {
    const char *name = frame->title ? frame->title : "Plot";
    const char *description = frame->description ? frame->description : name;
    html_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"kp\" role=\"img\" viewBox=\"0 0 %d %d\"",
                (int)layout->width, (int)layout->height);
    html_raw(out, " aria-label=\"");
    html_text(out, description);
    html_raw(out, "\"");
    if (!frame->embedded) html_printf(out, " width=\"%d\" height=\"%d\"", (int)layout->width, (int)layout->height);
    html_raw(out, ">");
    if (!frame->embedded) {
        html_raw(out, "<title>");
        html_text(out, name);
        html_raw(out, "</title><style>");
        html_raw(out, style);
        html_raw(out, "</style><rect class=\"kp-paper\" width=\"100%\" height=\"100%\"/>");
    }
    double y = 0;
    if (frame->title) put_text_in(out, "kp-title", ANCHOR_START, 2, y += 18, layout->width / 1.3, frame->title);
    if (frame->subtitle) put_text_in(out, "kp-soft", ANCHOR_START, 2, y + 18, layout->width, frame->subtitle);
}

/* Where the title block ends. */
static double title_bottom(const struct svg_frame *frame) {
    return (frame->title ? 24.0 : 4.0) + (frame->subtitle ? 18.0 : 0.0);
}

static void close_svg(struct html *out) {
    html_raw(out, "</svg>\n");
}

/* ---- Axes -------------------------------------------------------------------------------------------------------- */

/* One axis: values go through `transform` to a straight line from t_min to t_max, and from there to picture units. */
struct scale {
    enum svg_scale kind;
    double t_min, t_max;
    double from, to;
    double step;              /* linear, range taken from the data: its ends are multiples of this; else 0 */
    bool zero_edge, one_edge; /* logit: the data has values <= 0, >= 1, drawn at the ends */
    size_t tick_count;
    double ticks[TICKS_MAX];
    char labels[TICKS_MAX][32];
};

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
static double position(const struct scale *scale, double value) {
    double t = transform(scale->kind, value);
    if (isinf(t)) t = t > 0 ? scale->t_max : scale->t_min;
    double part = (t / 2 - scale->t_min / 2) / (scale->t_max / 2 - scale->t_min / 2);
    if (!(part >= -1e-9 && part <= 1 + 1e-9)) return NAN;
    return scale->from + part * (scale->to - scale->from);
}

static void set_range(struct scale *scale, double t_min, double t_max) {
    double least = scale->kind == SVG_LINEAR ? fmax(fabs(t_min), fabs(t_max)) * 1e-9 : 1e-3;
    if (!(t_max - t_min > least)) {
        double pad = scale->kind == SVG_LINEAR ? fmin(fmax(fabs(t_min) / 2, 0.5), DBL_MAX / 4) : 0.5;
        t_min = fmax(t_min - pad, -DBL_MAX);
        t_max = fmin(t_max + pad, DBL_MAX);
    }
    scale->t_min = t_min;
    scale->t_max = t_max;
}

/* What set_range_from_data learns of one coordinate over all series. */
struct extent {
    double min, max; /* transformed; min > max: nothing */
    bool zero_edge, one_edge;
};

static void extend(struct extent *extent, enum svg_scale kind, const double *values, size_t count) {
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

static int wanted_ticks(const struct scale *scale, bool horizontal) {
    double parts = fabs(scale->to - scale->from) / (horizontal ? 90 : 52);
    return parts < 2 ? 2 : parts > 10 ? 10 : (int)parts;
}

static void set_range_from_data(struct scale *scale, const struct svg_axis *axis, const struct extent *data,
                                int parts) {
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

static void set_scale(struct scale *scale, const struct svg_axis *axis, const struct extent *data, int parts) {
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
static void add_tick(struct scale *scale, double value, double gap, const char *label) {
    if (scale->tick_count == TICKS_MAX) return;
    double at = position(scale, value);
    if (isnan(at)) return;
    for (size_t i = 0; i < scale->tick_count; i++)
        if (fabs(position(scale, scale->ticks[i]) - at) < gap) return;
    char *text = scale->labels[scale->tick_count];
    if (label) {
        snprintf(text, 32, "%.31s", label);
    } else {
        svg_number(value, text);
    }
    scale->ticks[scale->tick_count++] = value;
}

/* Decimals that tell neighbours of a step apart, after a suffix for thousands where all ticks are whole thousands. */
static void linear_ticks(struct scale *scale, int parts) {
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
    for (int i = 0; i < TICKS_MAX - 1; i++) {
        double value = (first + i) * step;
        char label[32], number[32];
        if (!isfinite(value) || value > scale->t_max + step / 2) break;
        if (extreme) {
            svg_number(value, label);
        } else {
            fixed(value / unit, decimals < 0 ? 0 : decimals > 12 ? 12 : decimals, number);
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
static void log_ticks(struct scale *scale, double gap) {
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

static void logit_ticks(struct scale *scale, double gap) {
    static const double values[] = {0.5,   0.9,   0.99, 0.1, 0.999, 0.01, 0.9999, 0.001, 0.95, 0.8,  0.2,   0.05,
                                    0.995, 0.005, 0.7,  0.3, 0.98,  0.02, 0.6,    0.4,   0.97, 0.85, 0.9995};
    if (scale->one_edge) add_tick(scale, 1, gap, NULL);
    if (scale->zero_edge) add_tick(scale, 0, gap, NULL);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) add_tick(scale, values[i], gap, NULL);
}

static void set_ticks(struct scale *scale, const struct svg_axis *axis, bool horizontal) {
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
    if (!axis->ticks && scale->kind == SVG_LINEAR) linear_ticks(scale, wanted_ticks(scale, horizontal));
}

static void put_axes(struct html *out, const struct svg_frame *frame, const struct layout *layout,
                     const struct scale *x, const struct scale *y) {
    for (size_t i = 0; i < y->tick_count; i++) {
        double at = position(y, y->ticks[i]);
        if (isnan(at)) continue;
        put_line(out, "kp-grid", layout->left, at, layout->right, at);
        put_text(out, "kp-soft kp-num", ANCHOR_END, layout->left - 8, at + 4, y->labels[i]);
    }
    put_line(out, "kp-axis", layout->left, layout->bottom, layout->right, layout->bottom);
    for (size_t i = 0; i < x->tick_count; i++) {
        double at = position(x, x->ticks[i]);
        if (isnan(at)) continue;
        put_line(out, "kp-axis", at, layout->bottom, at, layout->bottom + 4);
        put_text(out, "kp-soft kp-num", ANCHOR_MIDDLE, at, layout->bottom + 18, x->labels[i]);
    }
    if (frame->y.label) put_text_in(out, "kp-soft", ANCHOR_START, 2, layout->top - 12, layout->width, frame->y.label);
    if (frame->x.label)
        put_text_in(out, "kp-soft", ANCHOR_END, layout->right, layout->bottom + 36, layout->width, frame->x.label);
}

/* ---- Series ------------------------------------------------------------------------------------------------------ */

static void put_marker(struct html *out, int color, double x, double y, const char *hover) {
    static const char *const shapes[] = {"m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
                                         "m-3.2 -3.2h6.4v6.4h-6.4z",
                                         "m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
                                         "m0 -4.4l4.4 7.6h-8.8z",
                                         "m0 4.4l4.4 -7.6h-8.8z",
                                         "m-4.5 -1.4h9v2.8h-9z"};
    html_printf(out, "<path class=\"kp-f%d\" d=\"", color);
    put_point(out, "M", x, y);
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

static struct place place_of(const struct svg_series *series, size_t i, const struct scale *x, const struct scale *y) {
    struct place place = {position(x, series->x[i]), position(y, series->y[i])};
    if (isnan(place.x) || isnan(place.y)) place.x = place.y = NAN;
    return place;
}

/* The unbroken runs of a series (I2), as a line, steps, or the area between it and the axis. */
static void put_runs(struct html *out, const struct svg_series *series, int color, bool area, const struct scale *x,
                     const struct scale *y) {
    double floor_y = y->from;
    for (size_t i = 0; i < series->count; i++) {
        struct place first = place_of(series, i, x, y), last = first;
        if (isnan(first.x)) continue;
        if (area) {
            html_printf(out, "<path class=\"kp-area kp-f%d\" d=\"", color);
            put_point(out, "M", first.x, floor_y);
            put_point(out, "L", first.x, first.y);
        } else {
            html_printf(out, "<path class=\"kp-line kp-s%d\" d=\"", color);
            put_point(out, "M", first.x, first.y);
        }
        bool alone = true;
        for (; i + 1 < series->count; i++, alone = false) {
            struct place next = place_of(series, i + 1, x, y);
            if (isnan(next.x)) break;
            if (series->marks & SVG_STEPS) put_point(out, "L", next.x, last.y);
            put_point(out, "L", next.x, next.y);
            last = next;
        }
        if (area) put_point(out, "L", last.x, floor_y);
        html_raw(out, area ? "z\"/>" : alone ? "h0\"/>" : "\"/>"); /* h0: a round cap shows a single point */
    }
}

static void put_points(struct html *out, const struct svg_series *series, int color, const struct scale *x,
                       const struct scale *y) {
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

static void put_series(struct html *out, const struct svg_series *series, int color, const struct scale *x,
                       const struct scale *y) {
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
    return (int)((loud + COLORS - 1) % COLORS) + 1; /* loud is 0 when the first series claims to continue another */
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
        double needed = fmin(24 + text_units(series->name, TEXT_SIZE) + 18, width - 4);
        if (x > 2 && x + needed > width) {
            x = 2;
            y += 20;
        }
        if (out) {
            char class[16];
            int color = color_of(plot, i);
            enum svg_marks marks = series->marks ? series->marks : SVG_LINE_AND_POINTS;
            snprintf(class, sizeof class, "kp-line kp-s%d", color);
            if (marks & ~(unsigned)SVG_POINTS) put_line(out, class, x, y - 4, x + 18, y - 4);
            if (marks & SVG_POINTS) put_marker(out, color, x + 9, y - 4, NULL);
            put_text_in(out, NULL, ANCHOR_START, x + 24, y, needed - 24, series->name);
        }
        x += needed;
    }
    return y + 6;
}

/* ---- Plots ------------------------------------------------------------------------------------------------------- */

/* The y axis is settled first: the width of its labels decides where the x axis begins. */
static void lay_out_plot(const struct svg_plot *plot, struct layout *layout, struct scale *x, struct scale *y) {
    const struct svg_frame *frame = &plot->frame;
    struct extent x_data = {.min = INFINITY, .max = -INFINITY}, y_data = x_data;
    for (size_t i = 0; i < plot->series_count; i++) {
        const struct svg_series *series = &plot->series[i];
        extend(&x_data, frame->x.scale, series->x, series->count);
        extend(&y_data, frame->y.scale, series->y, series->count);
    }
    layout->width = clamp_side(frame->width, 640);
    layout->height = clamp_side(frame->height, 400);
    layout->top = put_legend(NULL, plot, title_bottom(frame), layout->width) + (frame->y.label ? 34 : 14);
    layout->bottom = layout->height - (frame->x.label ? 44 : 26);
    if (layout->bottom < layout->top + 40) { /* a legend of many lines makes the picture taller, not the plot flat */
        layout->bottom = layout->top + 160;
        layout->height = layout->bottom + (frame->x.label ? 44 : 26);
    }
    y->from = layout->bottom;
    y->to = layout->top;
    set_scale(y, &frame->y, &y_data, wanted_ticks(y, false));
    set_ticks(y, &frame->y, false);
    double widest = 0;
    for (size_t i = 0; i < y->tick_count; i++) widest = fmax(widest, text_units(y->labels[i], TEXT_SIZE));
    layout->left = fmin(widest + 14, layout->width / 3);
    layout->right = layout->width - 18;
    x->from = layout->left + 6;
    x->to = layout->right;
    set_scale(x, &frame->x, &x_data, wanted_ticks(x, true));
    set_ticks(x, &frame->x, true);
}

void svg_plot(struct html *out, const struct svg_plot *plot) {
    struct layout layout;
    struct scale x = {0}, y = {0};
    lay_out_plot(plot, &layout, &x, &y);
    open_svg(out, &plot->frame, &layout);
    put_legend(out, plot, title_bottom(&plot->frame), layout.width);
    put_axes(out, &plot->frame, &layout, &x, &y);
    /* Context lies below the subject. */
    for (int quiet = 1; quiet >= 0; quiet--)
        for (size_t i = 0; i < plot->series_count; i++)
            if (plot->series[i].quiet == quiet) put_series(out, &plot->series[i], color_of(plot, i), &x, &y);
    close_svg(out);
}

/* ---- Bars -------------------------------------------------------------------------------------------------------- */

#define BAR_PITCH 32.0
#define BAR_THICK 18.0

static void put_bar(struct html *out, const struct svg_bars *bars, size_t i, const struct scale *scale, double top) {
    char number[32];
    svg_number(bars->values[i], number);
    const char *value_label = bars->value_labels && bars->value_labels[i] ? bars->value_labels[i] : number;
    const char *label = bars->labels ? bars->labels[i] : "";
    double end = position(scale, bars->values[i]);
    double middle = top + BAR_THICK / 2 + 4;
    put_text_in(out, NULL, ANCHOR_END, scale->from - 10, middle, scale->from - 12, label);
    if (isnan(end)) end = scale->from;
    html_printf(out, "<rect class=\"kp-f%d\" rx=\"2\"", bars->quiet && bars->quiet[i] ? 0 : 1);
    number_attribute(out, "x", scale->from);
    number_attribute(out, "y", top);
    number_attribute(out, "width", fmax(end - scale->from, 1.5));
    number_attribute(out, "height", BAR_THICK);
    html_raw(out, "/>");
    put_text(out, "kp-num", ANCHOR_START, fmax(end, scale->from) + 8, middle, value_label);
}

void svg_bars(struct html *out, const struct svg_bars *bars) {
    const struct svg_frame *frame = &bars->frame;
    struct layout layout = {.width = clamp_side(frame->width, 640)};
    double labels = 0, numbers = 40;
    for (size_t i = 0; i < bars->count; i++) {
        if (bars->labels) labels = fmax(labels, text_units(bars->labels[i], TEXT_SIZE));
        if (bars->value_labels) numbers = fmax(numbers, text_units(bars->value_labels[i], TEXT_SIZE) + 10);
    }
    layout.top = title_bottom(frame) + 10;
    layout.bottom = layout.top + (double)(bars->count < 200 ? bars->count : 200) * BAR_PITCH;
    layout.height = layout.bottom + (frame->x.label ? 20 : 2);
    struct extent data = {.min = INFINITY, .max = -INFINITY};
    struct svg_axis axis = frame->x;
    axis.from_zero = true;
    extend(&data, axis.scale, bars->values, bars->count);
    if (axis.scale == SVG_LOG && data.min <= data.max) data.min = floor(data.min) - 0.5;
    struct scale scale = {.from = fmin(labels + 12, layout.width * 0.42)};
    scale.to = fmax(layout.width - numbers - 8, scale.from + 20);
    set_scale(&scale, &axis, &data, 4);
    /* No ticks are shown, so the longest bar may as well fill the width. */
    if (axis.min >= axis.max && scale.kind == SVG_LINEAR && data.max > 0) scale.t_max = data.max;
    open_svg(out, frame, &layout);
    for (size_t i = 0; i < bars->count && i < 200; i++)
        put_bar(out, bars, i, &scale, layout.top + (double)i * BAR_PITCH);
    if (frame->x.label) put_text(out, "kp-soft", ANCHOR_START, scale.from, layout.bottom + 12, frame->x.label);
    close_svg(out);
}

/* ---- Heat map ---------------------------------------------------------------------------------------------------- */

struct heat_grid {
    double left, top, cell_width, cell_height, max;
};

static void put_cell(struct html *out, const struct svg_heat *heat, const struct heat_grid *grid, size_t row,
                     size_t column) {
    double value = heat->values[row * heat->columns + column];
    double x = grid->left + (double)column * grid->cell_width, y = grid->top + (double)row * grid->cell_height;
    if (!isfinite(value)) return;
    /* The root makes small values visible beside large ones; opacity serves both papers. */
    double share = grid->max > 0 ? fmin(fmax(value / grid->max, 0), 1) : 0;
    double opacity = value > 0 ? 0.06 + 0.94 * sqrt(share) : 0.03;
    char number[32];
    svg_number(value, number);
    html_raw(out, "<g><rect class=\"kp-f1\" rx=\"2\"");
    number_attribute(out, "x", x + 1);
    number_attribute(out, "y", y + 1);
    number_attribute(out, "width", grid->cell_width - 2);
    number_attribute(out, "height", grid->cell_height - 2);
    number_attribute(out, "fill-opacity", opacity);
    html_raw(out, "/>");
    if (value >= heat->full_from && text_units(number, TEXT_SIZE) < grid->cell_width)
        put_text(out, opacity > 0.55 ? "kp-on kp-num" : "kp-num", ANCHOR_MIDDLE, x + grid->cell_width / 2,
                 y + grid->cell_height / 2 + 4, number);
    html_raw(out, "<title>");
    html_text(out, heat->row_labels ? heat->row_labels[row] : "");
    html_raw(out, " \xe2\x86\x92 ");
    html_text(out, heat->column_labels ? heat->column_labels[column] : "");
    html_raw(out, ": ");
    html_text(out, number);
    html_text(out, heat->unit);
    html_raw(out, "</title></g>");
}

static void put_heat_labels(struct html *out, const struct svg_heat *heat, const struct heat_grid *grid, bool slanted) {
    for (size_t row = 0; heat->row_labels && row < heat->rows; row++)
        put_text_in(out, NULL, ANCHOR_END, grid->left - 8, grid->top + ((double)row + 0.5) * grid->cell_height + 4,
                    grid->left - 8, heat->row_labels[row]);
    double bottom = grid->top + (double)heat->rows * grid->cell_height;
    for (size_t column = 0; heat->column_labels && column < heat->columns; column++) {
        double x = grid->left + ((double)column + 0.5) * grid->cell_width;
        if (!slanted) {
            put_text(out, NULL, ANCHOR_MIDDLE, x, bottom + 16, heat->column_labels[column]);
            continue;
        }
        char across[32], down[32];
        fixed(x + 4, 1, across);
        fixed(bottom + 14, 1, down);
        html_printf(out, "<text text-anchor=\"end\" transform=\"translate(%s %s) rotate(-38)\">", across, down);
        html_text(out, heat->column_labels[column]);
        html_raw(out, "</text>");
    }
}

void svg_heat(struct html *out, const struct svg_heat *heat) {
    const struct svg_frame *frame = &heat->frame;
    struct layout layout = {.width = clamp_side(frame->width, 640)};
    struct heat_grid grid = {.max = heat->max};
    double row_labels = 0, column_labels = 0;
    for (size_t i = 0; heat->row_labels && i < heat->rows; i++)
        row_labels = fmax(row_labels, text_units(heat->row_labels[i], TEXT_SIZE));
    for (size_t i = 0; heat->column_labels && i < heat->columns; i++)
        column_labels = fmax(column_labels, text_units(heat->column_labels[i], TEXT_SIZE));
    for (size_t i = 0; !(heat->max > 0) && heat->values && i < heat->rows * heat->columns; i++)
        if (isfinite(heat->values[i])) grid.max = fmax(grid.max, heat->values[i]);
    grid.left = fmin(row_labels + 12, layout.width / 3);
    grid.top = title_bottom(frame) + (frame->y.label ? 26 : 8);
    grid.cell_width = (layout.width - grid.left - 4) / (double)(heat->columns ? heat->columns : 1);
    grid.cell_height = fmin(fmax(grid.cell_width * 0.62, 14), 40);
    bool slanted = column_labels > grid.cell_width - 4;
    layout.bottom = grid.top + (double)heat->rows * grid.cell_height;
    double below = heat->column_labels ? (slanted ? 14 + column_labels * 0.62 : 22) : 4;
    layout.height = layout.bottom + below + (frame->x.label ? 20 : 2);
    open_svg(out, frame, &layout);
    if (frame->y.label) put_text(out, "kp-soft", ANCHOR_START, 2, grid.top - 10, frame->y.label);
    for (size_t row = 0; heat->values && row < heat->rows; row++)
        for (size_t column = 0; column < heat->columns; column++) put_cell(out, heat, &grid, row, column);
    put_heat_labels(out, heat, &grid, slanted);
    if (frame->x.label)
        put_text(out, "kp-soft", ANCHOR_END, layout.width - 4, layout.bottom + below + 12, frame->x.label);
    close_svg(out);
}
