/* SPDX-License-Identifier: Apache-2.0
 *
 * Growing text with escaping; see html.h for its invariants. */
#include "plot/html.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and a NUL; false after failure (I1). */
static bool reserve(struct html *html, size_t more) {
    if (html->failed) return false;
    if (more > HTML_BYTES_MAX - html->bytes) {
        html->failed = true;
        return false;
    }
    size_t needed = html->bytes + more + 1;
    if (needed <= html->capacity) return true;
    size_t capacity = html->capacity ? html->capacity : 4096;
    while (capacity < needed) capacity *= 2;
    char *text = realloc(html->text, capacity);
    if (!text) {
        html->failed = true;
        return false;
    }
    html->text = text;
    html->capacity = capacity;
    return true;
}

static void append(struct html *html, const char *bytes, size_t count) {
    if (!reserve(html, count)) return;
    memcpy(html->text + html->bytes, bytes, count);
    html->bytes += count;
    html->text[html->bytes] = '\0';
}

void html_raw(struct html *html, const char *markup) {
    append(html, markup, strlen(markup));
}

void html_printf(struct html *html, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int count = vsnprintf(NULL, 0, format, arguments);
    if (count < 0) html->failed = true;
    if (count >= 0 && reserve(html, (size_t)count)) {
        vsnprintf(html->text + html->bytes, (size_t)count + 1, format, again);
        html->bytes += (size_t)count;
    }
    va_end(again);
    va_end(arguments);
}

/* Length of the UTF-8 character at `s` that XML allows, or 0. Reads no further than the first byte that is wrong, so it
 * stops at the NUL. */
static size_t character_bytes(const unsigned char *s) {
    if (s[0] < 0x80) return s[0] >= 0x20 || s[0] == '\t' || s[0] == '\n' || s[0] == '\r';
    size_t bytes = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    uint32_t code = s[0] & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (s[i] & 0x3fu);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[bytes] || code > 0x10ffff) return 0;
    if ((code >= 0xd800 && code <= 0xdfff) || code == 0xfffe || code == 0xffff) return 0;
    return bytes;
}

static const char *entity(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_text(struct html *html, const char *text) {
    const unsigned char *s = (const unsigned char *)(text ? text : "");
    while (*s) {
        const char *escaped = entity((char)*s);
        size_t bytes = character_bytes(s);
        if (escaped) {
            html_raw(html, escaped);
        } else if (bytes) {
            append(html, (const char *)s, bytes);
        } else {
            html_raw(html, "\xef\xbf\xbd");
        }
        s += bytes ? bytes : 1;
    }
}

/* Markup characters and quotes become \u escapes, so that no literal can end its string or the <script>; U+2028 and
 * U+2029 end a line in older engines. */
void html_script_text(struct html *html, const char *text) {
    const unsigned char *s = (const unsigned char *)(text ? text : "");
    while (*s) {
        size_t bytes = character_bytes(s);
        bool line_separator = bytes == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9);
        if (line_separator) {
            html_raw(html, s[2] == 0xa8 ? "\\u2028" : "\\u2029");
        } else if (*s < 0x20 || strchr("\"'\\<>&`", *s)) {
            html_printf(html, "\\u%04x", *s);
        } else if (bytes) {
            append(html, (const char *)s, bytes);
        } else {
            html_raw(html, "\xef\xbf\xbd");
        }
        s += bytes ? bytes : 1;
    }
}

void html_base64(struct html *html, const void *data, size_t bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = data;
    if (bytes > HTML_BYTES_MAX / 2) {
        html->failed = true;
        return;
    }
    if (!reserve(html, (bytes + 2) / 3 * 4)) return;
    char *to = html->text + html->bytes;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        unsigned group =
            (unsigned)s[i] << 16 | (left > 1 ? (unsigned)s[i + 1] << 8 : 0) | (left > 2 ? (unsigned)s[i + 2] : 0);
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[group & 63] : '=';
    }
    *to = '\0';
    html->bytes = (size_t)(to - html->text);
}

bool html_ok(const struct html *html) {
    return !html->failed;
}

bool html_write(const struct html *html, FILE *stream) {
    if (!html_ok(html)) return false;
    return html->bytes == 0 || fwrite(html->text, 1, html->bytes, stream) == html->bytes;
}

void html_free(struct html *html) {
    free(html->text);
    *html = (struct html)HTML_INIT;
}
