/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes PNG to memory by libpng's simplified interface, which reports errors by return values instead of longjmp. */
#include <png.h>
#include <stdlib.h>

#include "demo/picture.h"

#define SIDE_MAX 16384u

void png_data_uri(struct html *out, const uint8_t *grey, size_t width, size_t height) {
    if (width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX) {
        out->failed = true;
        return;
    }
    png_image image = {.version = PNG_IMAGE_VERSION};
    image.width = (png_uint_32)width;
    image.height = (png_uint_32)height;
    image.format = PNG_FORMAT_GRAY;
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
    void *file = malloc(bytes);
    if (file && png_image_write_to_memory(&image, file, &bytes, 0, grey, 0, NULL)) {
        html_raw(out, "data:image/png;base64,");
        html_base64(out, file, bytes);
    } else {
        out->failed = true;
    }
    free(file);
}
