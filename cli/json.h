/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes JSON to a stream. Commas and quotes are placed by the writer; nesting is checked by assertion. Numbers that
 * JSON cannot say (NaN, infinity) become null. Strings that are not UTF-8 get U+FFFD for each bad byte. */
#ifndef KITH_CLI_JSON_H
#define KITH_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

struct json {
    FILE *stream;
    bool indent; /* one member a line; false: one line a document */
    int depth;
    bool filled[JSON_DEPTH_MAX];
};

#define JSON_LINES(stream_)                                                                                            \
    { .stream = (stream_) }
#define JSON_PRETTY(stream_)                                                                                           \
    { .stream = (stream_), .indent = true }

/* name: NULL inside arrays and at the top. A newline follows the end of a document. */
void emit_object(struct json *json, const char *name);
void emit_object_end(struct json *json);
void emit_array(struct json *json, const char *name);
void emit_array_end(struct json *json);
void emit_text(struct json *json, const char *name, const char *text);
void emit_bytes(struct json *json, const char *name, const char *text, size_t bytes);
/* A value that is JSON already. */
void emit_verbatim(struct json *json, const char *name, const char *text, size_t bytes);
void emit_uint(struct json *json, const char *name, uint64_t number);
void emit_real(struct json *json, const char *name, double number); /* 17 digits at most, fewer where they suffice */
void emit_float(struct json *json, const char *name, float number); /* shortest text that reads back as this float */
void emit_bool(struct json *json, const char *name, bool value);
void emit_null(struct json *json, const char *name);

#endif
