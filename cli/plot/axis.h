/* SPDX-License-Identifier: Apache-2.0
 *
 * Axes: from values to picture units, ranges taken from data, and ticks. */
#ifndef KITH_CLI_PLOT_AXIS_H
#define KITH_CLI_PLOT_AXIS_H

#include "plot/markup.h"

#define SVG_TICKS_MAX 24

/* One axis: values go through `transform` to a straight line from t_min to t_max, and from there to picture units. */
struct svg_axis_scale {
    enum svg_scale kind;
    double t_min, t_max;
    double from, to;
    double step;              /* linear, range taken from the data: its ends are multiples of this; else 0 */
    bool zero_edge, one_edge; /* logit: the data has values <= 0, >= 1, drawn at the ends */
    size_t tick_count;
    double ticks[SVG_TICKS_MAX];
    char labels[SVG_TICKS_MAX][32];
};

/* What set_range_from_data learns of one coordinate over all series. */
struct svg_extent {
    double min, max; /* transformed; min > max: nothing */
    bool zero_edge, one_edge;
};

/* Picture units of a value; NaN when the axis cannot show it (I2). */
double svg_position(const struct svg_axis_scale *scale, double value);
void svg_extend(struct svg_extent *extent, enum svg_scale kind, const double *values, size_t count);
/* The range: the caller's, or from data, in about so many parts. */
void svg_set_scale(struct svg_axis_scale *scale, const struct svg_axis *axis, const struct svg_extent *data, int parts);
int svg_wanted_ticks(const struct svg_axis_scale *scale, bool horizontal);
void svg_set_ticks(struct svg_axis_scale *scale, const struct svg_axis *axis, bool horizontal);
void svg_put_axes(struct html *out, const struct svg_frame *frame, const struct svg_layout *layout,
                  const struct svg_axis_scale *x, const struct svg_axis_scale *y);

#endif
