/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void new_line(struct json *json) {
    putc('\n', json->stream);
    for (int i = 0; i < json->depth; i++) fputs("  ", json->stream);
}

/* Bytes of the well-formed UTF-8 character at text; 0 when it is malformed. */
static size_t character_bytes(const unsigned char *text, size_t bytes) {
    const unsigned char first = text[0];
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    if (length == 0 || length > bytes) return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    /* Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte. */
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) || (first == 0xf0 && text[1] < 0x90) ||
        (first == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static void quoted(FILE *stream, const char *text, size_t bytes) {
    putc('"', stream);
    while (bytes > 0) {
        const unsigned char first = (unsigned char)*text;
        size_t used = character_bytes((const unsigned char *)text, bytes);
        if (used == 0) {
            fputs("\xef\xbf\xbd", stream);
            used = 1;
        } else if (first == '"' || first == '\\') {
            putc('\\', stream);
            putc(first, stream);
        } else if (first == '\n') {
            fputs("\\n", stream);
        } else if (first == '\t') {
            fputs("\\t", stream);
        } else if (first < 0x20 || first == 0x7f) {
            fprintf(stream, "\\u%04x", first);
        } else {
            fwrite(text, 1, used, stream);
        }
        text += used;
        bytes -= used;
    }
    putc('"', stream);
}

static void member(struct json *json, const char *name) {
    if (json->depth > 0) {
        if (json->filled[json->depth]) putc(',', json->stream);
        json->filled[json->depth] = true;
        if (json->indent) new_line(json);
    }
    if (name) {
        quoted(json->stream, name, strlen(name));
        fputs(json->indent ? ": " : ":", json->stream);
    }
}

static void open_nest(struct json *json, const char *name, char bracket) {
    member(json, name);
    putc(bracket, json->stream);
    json->depth++;
    assert(json->depth < JSON_DEPTH_MAX);
    json->filled[json->depth] = false;
}

static void close_nest(struct json *json, char bracket) {
    assert(json->depth > 0);
    const bool filled = json->filled[json->depth];
    json->depth--;
    if (json->indent && filled) new_line(json);
    putc(bracket, json->stream);
    if (json->depth == 0) putc('\n', json->stream);
}

void emit_object(struct json *json, const char *name) {
    open_nest(json, name, '{');
}

void emit_object_end(struct json *json) {
    close_nest(json, '}');
}

void emit_array(struct json *json, const char *name) {
    open_nest(json, name, '[');
}

void emit_array_end(struct json *json) {
    close_nest(json, ']');
}

void emit_text(struct json *json, const char *name, const char *text) {
    emit_bytes(json, name, text, strlen(text));
}

void emit_bytes(struct json *json, const char *name, const char *text, size_t bytes) {
    member(json, name);
    quoted(json->stream, text, bytes);
}

void emit_verbatim(struct json *json, const char *name, const char *text, size_t bytes) {
    member(json, name);
    fwrite(text, 1, bytes, json->stream);
}

void emit_uint(struct json *json, const char *name, uint64_t number) {
    member(json, name);
    fprintf(json->stream, "%llu", (unsigned long long)number);
}

void emit_real(struct json *json, const char *name, double number) {
    char text[40] = "null";
    if (isfinite(number)) {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, number);
            if (!(strtod(text, NULL) < number) && !(strtod(text, NULL) > number)) break;
        }
    }
    member(json, name);
    fputs(text, json->stream);
}

void emit_float(struct json *json, const char *name, float number) {
    char text[40] = "null";
    if (isfinite(number)) {
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, (double)number);
            if (!(strtof(text, NULL) < number) && !(strtof(text, NULL) > number)) break;
        }
    }
    member(json, name);
    fputs(text, json->stream);
}

void emit_bool(struct json *json, const char *name, bool value) {
    member(json, name);
    fputs(value ? "true" : "false", json->stream);
}

void emit_null(struct json *json, const char *name) {
    member(json, name);
    fputs("null", json->stream);
}
