/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes that grow: bodies of replies, pages, lines of a log. Running out of memory is remembered, so that a writer
 * checks once, at the end. */
#ifndef KITH_SERVER_HTTP_TEXT_H
#define KITH_SERVER_HTTP_TEXT_H

#include <stddef.h>

enum { KS_TEXT_MAX = 512 << 20 }; /* bytes; for more there is no memory */

typedef struct ks_text {
    char *bytes; /* not ended by a zero */
    size_t used, room;
    int failed; /* there was no memory for some of it */
} ks_text;

void ks_text_add(ks_text *text, const void *bytes, size_t count);
void ks_text_add_line(ks_text *text, const char *line); /* a C string, without a line's end */
void ks_text_format(ks_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `count` more bytes, to be written before *used grows; NULL without memory. */
char *ks_text_reserve(ks_text *text, size_t count);
void ks_text_clear(ks_text *text); /* keeps the memory */
void ks_text_free(ks_text *text);  /* fine on a zeroed one */

#endif
