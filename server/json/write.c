/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing JSON into a text that grows. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "json/json.h"
#include "json/number.h"

static int is_plain(unsigned char c) {
    return c >= 0x20 && c != '"' && c != '\\';
}

static void escape(ks_text *text, unsigned char c) {
    static const char *const short_form[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    if (c == '"' || c == '\\')
        ks_text_format(text, "\\%c", c);
    else if (c <= '\r' && short_form[c])
        ks_text_add(text, short_form[c], 2);
    else
        ks_text_format(text, "\\u%04x", c);
}

/* In quotes, with `before` and `behind` around them where they are not 0. Most texts need no escape, and room once. */
static void add_quoted(ks_text *text, char before, const char *bytes, size_t count, char behind) {
    char *to = count < SIZE_MAX / 2 ? ks_text_reserve(text, count + 4) : NULL;
    if (!to) {
        text->failed = 1;
        return;
    }
    const char *const start = to;
    size_t at = 0;
    if (before) *to++ = before;
    *to++ = '"';
    for (; at < count && is_plain((unsigned char)bytes[at]); at++) *to++ = bytes[at];
    if (at == count) {
        *to++ = '"';
        if (behind) *to++ = behind;
    }
    text->used += (size_t)(to - start);
    if (at == count) return;
    while (at < count) {
        size_t run = at;
        while (run < count && is_plain((unsigned char)bytes[run])) run++;
        ks_text_add(text, bytes + at, run - at);
        if (run < count) escape(text, (unsigned char)bytes[run++]);
        at = run;
    }
    ks_text_add(text, "\"", 1);
    if (behind) ks_text_add(text, &behind, 1);
}

/* What stands between: a comma, and the name. */
static void begin(ks_json *json, const char *name) {
    uint64_t *const filled = &json->filled[json->depth / 64];
    const uint64_t bit = UINT64_C(1) << json->depth % 64;
    const char comma = *filled & bit ? ',' : 0;
    *filled |= bit;
    if (name)
        add_quoted(json->text, comma, name, strlen(name), ':');
    else if (comma)
        ks_text_add(json->text, &comma, 1);
}

static void open(ks_json *json, const char *name, const char *bracket) {
    begin(json, name);
    ks_text_add(json->text, bracket, 1);
    json->depth++;
    assert(json->depth < KS_JSON_WRITTEN_MAX);
    json->filled[json->depth / 64] &= ~(UINT64_C(1) << json->depth % 64);
}

static void close(ks_json *json, const char *bracket) {
    assert(json->depth > 0);
    json->depth--;
    ks_text_add(json->text, bracket, 1);
}

void ks_json_object(ks_json *json, const char *name) {
    open(json, name, "{");
}

void ks_json_object_end(ks_json *json) {
    close(json, "}");
}

void ks_json_array(ks_json *json, const char *name) {
    open(json, name, "[");
}

void ks_json_array_end(ks_json *json) {
    close(json, "]");
}

void ks_json_bytes(ks_json *json, const char *name, const char *text, size_t bytes) {
    begin(json, name);
    add_quoted(json->text, 0, text, bytes, 0);
}

void ks_json_text(ks_json *json, const char *name, const char *text) {
    if (text)
        ks_json_bytes(json, name, text, strlen(text));
    else
        ks_json_null(json, name);
}

void ks_json_verbatim(ks_json *json, const char *name, const char *text, size_t bytes) {
    begin(json, name);
    ks_text_add(json->text, bytes ? text : "null", bytes ? bytes : 4);
}

void ks_json_uint(ks_json *json, const char *name, uint64_t number) {
    begin(json, name);
    char *to = ks_text_reserve(json->text, KS_NUMBER_TEXT);
    if (to) json->text->used += ks_number_print_uint(number, to);
}

void ks_json_int(ks_json *json, const char *name, int64_t number) {
    begin(json, name);
    if (number < 0) ks_text_add(json->text, "-", 1);
    char *to = ks_text_reserve(json->text, KS_NUMBER_TEXT);
    if (to) json->text->used += ks_number_print_uint(number < 0 ? 0 - (uint64_t)number : (uint64_t)number, to);
}

void ks_json_real(ks_json *json, const char *name, double number) {
    if (!isfinite(number)) {
        ks_json_null(json, name);
        return;
    }
    begin(json, name);
    char *to = ks_text_reserve(json->text, KS_NUMBER_TEXT);
    if (to) json->text->used += ks_number_print_real(number, to);
}

void ks_json_float(ks_json *json, const char *name, float number) {
    if (!isfinite(number)) {
        ks_json_null(json, name);
        return;
    }
    begin(json, name);
    char *to = ks_text_reserve(json->text, KS_NUMBER_TEXT);
    if (to) json->text->used += ks_number_print_float(number, to);
}

void ks_json_floats(ks_json *json, const char *name, const float *numbers, size_t count) {
    ks_json_array(json, name);
    for (size_t i = 0; i < count; i++) ks_json_float(json, NULL, numbers[i]);
    ks_json_array_end(json);
}

void ks_json_bool(ks_json *json, const char *name, int value) {
    begin(json, name);
    ks_text_add(json->text, value ? "true" : "false", value ? 4 : 5);
}

void ks_json_null(ks_json *json, const char *name) {
    ks_json_verbatim(json, name, NULL, 0);
}
