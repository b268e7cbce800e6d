/* SPDX-License-Identifier: Apache-2.0
 *
 * Grey pictures as PNG inside a page. */
#ifndef KITH_CLI_PICTURE_H
#define KITH_CLI_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "plot/html.h"

/* Append "data:image/png;base64,..." of width x height grey bytes, row by row. Failure shows in html_ok(). */
void png_data_uri(struct html *out, const uint8_t *grey, size_t width, size_t height);

#endif
