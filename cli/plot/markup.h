/* SPDX-License-Identifier: Apache-2.0
 *
 * What every kind of plot is made of: lines, texts and the frame around them. For the files of this folder.
 *
 * Text cannot be measured here, since the reader's font is not known: widths are estimated from the count of characters
 * (svg_text_units), generously, so that a wider font still fits. */
#ifndef KITH_CLI_PLOT_MARKUP_H
#define KITH_CLI_PLOT_MARKUP_H

#include "plot/svg.h"

#define SVG_COLORS     6
#define SVG_TITLE_SIZE 15.0
#define SVG_TEXT_SIZE  12.0

enum svg_anchor { SVG_ANCHOR_START, SVG_ANCHOR_MIDDLE, SVG_ANCHOR_END };

struct svg_layout {
    double width, height;
    double left, right, top, bottom; /* edges of the plotting area */
};

/* "%.*f" with a point, whatever the locale calls it (I3). |value| < 1e16. */
void svg_fixed(double value, int decimals, char text[32]);

/* An attribute: ` name="value"`. */
void svg_put_number(struct html *out, const char *name, double value);
/* A command of a path, and its point. */
void svg_put_point(struct html *out, const char *command, double x, double y);
void svg_put_line(struct html *out, const char *class, double x1, double y1, double x2, double y2);
/* Room that a text takes, estimated. */
double svg_text_units(const char *text, double size);
void svg_put_text(struct html *out, const char *class, enum svg_anchor anchor, double x, double y, const char *text);
/* The same, cut with an ellipsis to the room it has. */
void svg_put_text_in(struct html *out, const char *class, enum svg_anchor anchor, double x, double y, double room,
                     const char *text);

/* The frame: a side within limits (0: otherwise), the picture with its title, and where the title block ends. */
double svg_side(unsigned side, double otherwise);
void svg_open(struct html *out, const struct svg_frame *frame, const struct svg_layout *layout);
double svg_title_bottom(const struct svg_frame *frame);
void svg_close(struct html *out);

#endif
