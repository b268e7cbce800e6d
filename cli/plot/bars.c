/* SPDX-License-Identifier: Apache-2.0
 *
 * Horizontal bars. */
#include "plot/axis.h"

#include <math.h>
#include <string.h>

#define BAR_PITCH 32.0
#define BAR_THICK 18.0

static void put_bar(struct html *out, const struct svg_bars *bars, size_t i, const struct svg_axis_scale *scale,
                    double top) {
    char number[32];
    svg_number(bars->values[i], number);
    const char *value_label = bars->value_labels && bars->value_labels[i] ? bars->value_labels[i] : number;
    const char *label = bars->labels ? bars->labels[i] : "";
    double end = svg_position(scale, bars->values[i]);
    double middle = top + BAR_THICK / 2 + 4;
    svg_put_text_in(out, NULL, SVG_ANCHOR_END, scale->from - 10, middle, scale->from - 12, label);
    if (isnan(end)) end = scale->from;
    html_printf(out, "<rect class=\"kp-f%d\" rx=\"2\"", bars->quiet && bars->quiet[i] ? 0 : 1);
    svg_put_number(out, "x", scale->from);
    svg_put_number(out, "y", top);
    svg_put_number(out, "width", fmax(end - scale->from, 1.5));
    svg_put_number(out, "height", BAR_THICK);
    html_raw(out, "/>");
    svg_put_text(out, "kp-num", SVG_ANCHOR_START, fmax(end, scale->from) + 8, middle, value_label);
}

void svg_bars(struct html *out, const struct svg_bars *bars) {
    const struct svg_frame *frame = &bars->frame;
    struct svg_layout layout = {.width = svg_side(frame->width, 640)};
    double labels = 0, numbers = 40;
    for (size_t i = 0; i < bars->count; i++) {
        if (bars->labels) labels = fmax(labels, svg_text_units(bars->labels[i], SVG_TEXT_SIZE));
        if (bars->value_labels) numbers = fmax(numbers, svg_text_units(bars->value_labels[i], SVG_TEXT_SIZE) + 10);
    }
    layout.top = svg_title_bottom(frame) + 10;
    layout.bottom = layout.top + (double)(bars->count < 200 ? bars->count : 200) * BAR_PITCH;
    layout.height = layout.bottom + (frame->x.label ? 20 : 2);
    struct svg_extent data = {.min = INFINITY, .max = -INFINITY};
    struct svg_axis axis = frame->x;
    axis.from_zero = true;
    svg_extend(&data, axis.scale, bars->values, bars->count);
    if (axis.scale == SVG_LOG && data.min <= data.max) data.min = floor(data.min) - 0.5;
    struct svg_axis_scale scale = {.from = fmin(labels + 12, layout.width * 0.42)};
    scale.to = fmax(layout.width - numbers - 8, scale.from + 20);
    svg_set_scale(&scale, &axis, &data, 4);
    /* No ticks are shown, so the longest bar may as well fill the width. */
    if (axis.min >= axis.max && scale.kind == SVG_LINEAR && data.max > 0) scale.t_max = data.max;
    svg_open(out, frame, &layout);
    for (size_t i = 0; i < bars->count && i < 200; i++)
        put_bar(out, bars, i, &scale, layout.top + (double)i * BAR_PITCH);
    if (frame->x.label) svg_put_text(out, "kp-soft", SVG_ANCHOR_START, scale.from, layout.bottom + 12, frame->x.label);
    svg_close(out);
}
