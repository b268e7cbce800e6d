/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that grows in memory, on its way into an HTML page or an SVG picture.
 *
 * I1. Failure is sticky: once memory is refused, or the size would pass HTML_BYTES_MAX, further writes do nothing and
 *     html_ok() is false. Callers write everything and ask once, at the end.
 * I2. Text from outside enters through html_text() only; html_raw() and html_printf() take markup the program wrote.
 * I3. html_text() gives well-formed XML for every byte string: bytes that are not UTF-8, and control characters that
 *     XML does not allow, become U+FFFD.
 *
 * One owner at a time. */
#ifndef KITH_CLI_HTML_H
#define KITH_CLI_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define HTML_BYTES_MAX ((size_t)64 << 20)

struct html {
    char *text; /* ends in NUL once anything was written; NULL before */
    size_t bytes, capacity;
    bool failed;
};

#define HTML_INIT                                                                                                      \
    { .text = NULL }

/* Markup as it is. */
void html_raw(struct html *html, const char *markup);
void html_printf(struct html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text, with & < > " ' escaped: fit for content and for attribute values. NULL counts as "". */
void html_text(struct html *html, const char *text);
/* Text inside a JavaScript or JSON string literal within <script>: also "</" and line separators are escaped. */
void html_script_text(struct html *html, const char *text);
void html_base64(struct html *html, const void *data, size_t bytes);

bool html_ok(const struct html *html);
/* All of it; false when a write failed (errno says why) or html_ok() is false. */
bool html_write(const struct html *html, FILE *stream);
void html_free(struct html *html); /* also after failure; ready for use again */

#endif
