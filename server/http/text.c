/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes that grow. */
#include "http/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *ks_text_reserve(ks_text *text, size_t count) {
    if (text->failed || count > KS_TEXT_MAX - text->used) {
        text->failed = 1;
        return NULL;
    }
    if (text->used + count > text->room || !text->bytes) {
        size_t room = text->room ? text->room : 512;
        while (room < text->used + count) room *= 2;
        char *bytes = realloc(text->bytes, room);
        if (!bytes) {
            text->failed = 1;
            return NULL;
        }
        text->bytes = bytes;
        text->room = room;
    }
    return text->bytes + text->used;
}

void ks_text_add(ks_text *text, const void *bytes, size_t count) {
    char *to = count ? ks_text_reserve(text, count) : NULL;
    if (!to) return;
    memcpy(to, bytes, count);
    text->used += count;
}

void ks_text_add_line(ks_text *text, const char *line) {
    ks_text_add(text, line, strlen(line));
}

void ks_text_format(ks_text *text, const char *format, ...) {
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    const int count = vsnprintf(NULL, 0, format, values);
    va_end(values);
    char *to = count >= 0 ? ks_text_reserve(text, (size_t)count + 1) : NULL;
    if (to) text->used += (size_t)vsnprintf(to, (size_t)count + 1, format, again);
    va_end(again);
}

void ks_text_clear(ks_text *text) {
    text->used = 0;
    text->failed = 0;
}

void ks_text_free(ks_text *text) {
    free(text->bytes);
    *text = (ks_text){0};
}
