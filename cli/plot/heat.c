/* SPDX-License-Identifier: Apache-2.0
 *
 * Heat maps. */
#include "plot/markup.h"

#include <math.h>
#include <string.h>

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
    svg_put_number(out, "x", x + 1);
    svg_put_number(out, "y", y + 1);
    svg_put_number(out, "width", grid->cell_width - 2);
    svg_put_number(out, "height", grid->cell_height - 2);
    svg_put_number(out, "fill-opacity", opacity);
    html_raw(out, "/>");
    if (value >= heat->full_from && svg_text_units(number, SVG_TEXT_SIZE) < grid->cell_width)
        svg_put_text(out, opacity > 0.55 ? "kp-on kp-num" : "kp-num", SVG_ANCHOR_MIDDLE, x + grid->cell_width / 2,
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
        svg_put_text_in(out, NULL, SVG_ANCHOR_END, grid->left - 8,
                        grid->top + ((double)row + 0.5) * grid->cell_height + 4, grid->left - 8, heat->row_labels[row]);
    double bottom = grid->top + (double)heat->rows * grid->cell_height;
    for (size_t column = 0; heat->column_labels && column < heat->columns; column++) {
        double x = grid->left + ((double)column + 0.5) * grid->cell_width;
        if (!slanted) {
            svg_put_text(out, NULL, SVG_ANCHOR_MIDDLE, x, bottom + 16, heat->column_labels[column]);
            continue;
        }
        char across[32], down[32];
        svg_fixed(x + 4, 1, across);
        svg_fixed(bottom + 14, 1, down);
        html_printf(out, "<text text-anchor=\"end\" transform=\"translate(%s %s) rotate(-38)\">", across, down);
        html_text(out, heat->column_labels[column]);
        html_raw(out, "</text>");
    }
}

void svg_heat(struct html *out, const struct svg_heat *heat) {
    const struct svg_frame *frame = &heat->frame;
    struct svg_layout layout = {.width = svg_side(frame->width, 640)};
    struct heat_grid grid = {.max = heat->max};
    double row_labels = 0, column_labels = 0;
    for (size_t i = 0; heat->row_labels && i < heat->rows; i++)
        row_labels = fmax(row_labels, svg_text_units(heat->row_labels[i], SVG_TEXT_SIZE));
    for (size_t i = 0; heat->column_labels && i < heat->columns; i++)
        column_labels = fmax(column_labels, svg_text_units(heat->column_labels[i], SVG_TEXT_SIZE));
    for (size_t i = 0; !(heat->max > 0) && heat->values && i < heat->rows * heat->columns; i++)
        if (isfinite(heat->values[i])) grid.max = fmax(grid.max, heat->values[i]);
    grid.left = fmin(row_labels + 12, layout.width / 3);
    grid.top = svg_title_bottom(frame) + (frame->y.label ? 26 : 8);
    grid.cell_width = (layout.width - grid.left - 4) / (double)(heat->columns ? heat->columns : 1);
    grid.cell_height = fmin(fmax(grid.cell_width * 0.62, 14), 40);
    bool slanted = column_labels > grid.cell_width - 4;
    layout.bottom = grid.top + (double)heat->rows * grid.cell_height;
    double below = heat->column_labels ? (slanted ? 14 + column_labels * 0.62 : 22) : 4;
    layout.height = layout.bottom + below + (frame->x.label ? 20 : 2);
    svg_open(out, frame, &layout);
    if (frame->y.label) svg_put_text(out, "kp-soft", SVG_ANCHOR_START, 2, grid.top - 10, frame->y.label);
    for (size_t row = 0; heat->values && row < heat->rows; row++)
        for (size_t column = 0; column < heat->columns; column++) put_cell(out, heat, &grid, row, column);
    put_heat_labels(out, heat, &grid, slanted);
    if (frame->x.label)
        svg_put_text(out, "kp-soft", SVG_ANCHOR_END, layout.width - 4, layout.bottom + below + 12, frame->x.label);
    svg_close(out);
}
