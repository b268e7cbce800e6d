/* SPDX-License-Identifier: Apache-2.0
 *
 * Markup of plots; svg.h has the invariants I1..I3. */
#include "plot/markup.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* No custom properties: viewers other than browsers draw these files too. Every selector begins with .kp, because an
 * embedded picture shares its page's rules. Colours keep apart for colour-blind readers and reach 3:1 on both
 * papers. */
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
void svg_fixed(double value, int decimals, char text[32]) {
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
        svg_fixed(part, shown, text);
        if (trim) trim_zeros(text);
        size_t end = strlen(text);
        text[end] = suffixes[i].letter;
        text[end + 1] = '\0';
        return;
    }
    svg_fixed(value, decimals < 0 ? 0 : decimals, text);
    if (trim) trim_zeros(text);
}

static void scientific(double value, char text[32]) {
    int exponent = (int)floor(log10(fabs(value)));
    double part = value / pow(10.0, exponent);
    if (!isfinite(part)) part = value > 0 ? 1 : -1; /* subnormal */
    char digits[32];
    svg_fixed(part, 1, digits);
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
        svg_fixed(value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0, text);
        trim_zeros(text);
    } else {
        /* Enough digits to tell 0.9995 from 1, and three that count for small numbers. */
        double left = 1 - size;
        int near_one = left > 0 ? (int)ceil(-log10(left)) + 1 : 7;
        int small = 2 - (int)floor(log10(size));
        int decimals = near_one > small ? near_one : small;
        svg_fixed(value, decimals > 7 ? 7 : decimals, text);
        trim_zeros(text);
    }
}

/* ---- Pieces of markup -------------------------------------------------------------------------------------------- */

/* ` name="12.34"`; keeps a hundredth, which is finer than any screen shows. */
void svg_put_number(struct html *out, const char *name, double value) {
    char text[32];
    if (!(fabs(value) < 1e7)) value = 0; /* layout never gets here; I1 must hold even so */
    svg_fixed(value, 2, text);
    trim_zeros(text);
    html_printf(out, " %s=\"%s\"", name, text);
}

void svg_put_point(struct html *out, const char *command, double x, double y) {
    char left[32], right[32];
    svg_fixed(x, 1, left);
    svg_fixed(y, 1, right);
    trim_zeros(left);
    trim_zeros(right);
    html_printf(out, "%s%s %s", command, left, right);
}

void svg_put_line(struct html *out, const char *class, double x1, double y1, double x2, double y2) {
    html_printf(out, "<path class=\"%s\" d=\"", class);
    svg_put_point(out, "M", x1, y1);
    svg_put_point(out, "L", x2, y2);
    html_raw(out, "\"/>");
}

/* Width of text in units of the view box at a font size; every UTF-8 character counts alike. */
double svg_text_units(const char *text, double size) {
    size_t characters = 0;
    for (const char *s = text; s && *s; s++) characters += (*s & 0xc0) != 0x80;
    return (double)characters * size * 0.58;
}

static void open_text(struct html *out, const char *class, enum svg_anchor anchor, double x, double y) {
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    html_raw(out, "<text");
    if (class) html_printf(out, " class=\"%s\"", class);
    html_raw(out, anchors[anchor]);
    svg_put_number(out, "x", x);
    svg_put_number(out, "y", y);
}

void svg_put_text(struct html *out, const char *class, enum svg_anchor anchor, double x, double y, const char *text) {
    open_text(out, class, anchor, x, y);
    html_raw(out, ">");
    html_text(out, text);
    html_raw(out, "</text>");
}

/* Text in at most `room` units: cut with an ellipsis, and then whole in the hover text. */
void svg_put_text_in(struct html *out, const char *class, enum svg_anchor anchor, double x, double y, double room,
                     const char *text) {
    if (!text) text = "";
    if (svg_text_units(text, SVG_TEXT_SIZE) <= room) {
        svg_put_text(out, class, anchor, x, y, text);
        return;
    }
    char cut[128];
    size_t end = 0, keep = room > 4 * SVG_TEXT_SIZE ? (size_t)(room / (SVG_TEXT_SIZE * 0.58)) - 1 : 3;
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

double svg_side(unsigned side, double otherwise) {
    return side == 0 ? otherwise : fmin(fmax((double)side, 120), 8000);
}

void svg_open(struct html *out, const struct svg_frame *frame, const struct svg_layout *layout) {
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
    if (frame->title) svg_put_text_in(out, "kp-title", SVG_ANCHOR_START, 2, y += 18, layout->width / 1.3, frame->title);
    if (frame->subtitle) svg_put_text_in(out, "kp-soft", SVG_ANCHOR_START, 2, y + 18, layout->width, frame->subtitle);
}

/* Where the title block ends. */
double svg_title_bottom(const struct svg_frame *frame) {
    return (frame->title ? 24.0 : 4.0) + (frame->subtitle ? 18.0 : 0.0);
}

void svg_close(struct html *out) {
    html_raw(out, "</svg>\n");
}
