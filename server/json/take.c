/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking numbers out of a text: one pass, which knows strings with their escapes, brackets and numbers, and copies what
 * it leaves. Invariants:
 *
 * 1. Outside of what it takes out, it copies every byte. So jansson sees, and judges, all that it did not understand.
 * 2. It takes out only what is JSON: an array of numbers by JSON's grammar, whole to its bracket.
 * 3. No byte is looked at more than twice: an array that has something else in it is left, and its numbers are passed
 *    over one by one; they hold no bracket that could begin another one. */
#include "json/take.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "json/number.h"

static const char mark[] = "\\u0000";

typedef struct scan {
    ks_call *call;
    const char *text, *at, *end;
    const char *left; /* copied up to here */
    ks_text *out;
    ks_fault *fault;
    float *floats; /* of the array that is looked at */
    size_t room;
    size_t depth, values;
    int arrays;
} scan;

static int faulty(scan *s, const char *at, const char *why) {
    s->fault->why = why;
    s->fault->at = (size_t)(at - s->text);
    return -1;
}

static int no_memory(scan *s) {
    s->fault->why = NULL;
    return -1;
}

static int is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

/* From behind a quote to behind the one that ends the string. */
static int skip_string(scan *s) {
    for (; s->at < s->end && *s->at != '"'; s->at++) {
        if (*s->at != '\\') continue;
        if (s->end - s->at >= 6 && memcmp(s->at, mark, 6) == 0)
            return faulty(s, s->at, "a text with the character U+0000");
        if (++s->at == s->end) return 0;
    }
    s->at += s->at < s->end;
    return 0;
}

static int grow(scan *s) {
    const size_t room = s->room ? 2 * s->room : 1024;
    float *floats = realloc(s->floats, room * sizeof *floats);
    if (!floats) return no_memory(s);
    s->floats = floats;
    s->room = room;
    return 0;
}

/* The numbers of the array that begins at `at`: 1, and its end; 0 when there is something else, or nothing. */
static int read_array(scan *s, const char *at, const char **after, size_t *count) {
    const char *to = skip_space(at + 1, s->end);
    for (*count = 0;; to = skip_space(to + 1, s->end)) {
        if (*count == s->room && grow(s) != 0) return -1;
        if (!ks_number_float(to, s->end, &s->floats[*count], &to)) return 0;
        ++*count;
        to = skip_space(to, s->end);
        if (to < s->end && *to == ']') break;
        if (to == s->end || *to != ',') return 0;
    }
    *after = to + 1;
    return 1;
}

/* Leave a string in the place of s->at..after. */
static int take(scan *s, const char *after, const float *floats, size_t count) {
    ks_taken *taken = ks_call_alloc(s->call, sizeof *taken);
    if (!taken) return no_memory(s);
    *taken = (ks_taken){s->at, (size_t)(after - s->at), floats, count};
    ks_text_add(s->out, s->left, (size_t)(s->at - s->left));
    ks_text_format(s->out, "\"%s%c%016jx\"", mark, floats ? 'n' : 'u', (uintmax_t)(uintptr_t)taken);
    s->at = s->left = after;
    return 0;
}

static int take_array(scan *s) {
    const char *after;
    size_t count;
    const int found = read_array(s, s->at, &after, &count);
    if (found <= 0) return found;
    s->values += count / 64; /* they take little */
    float *floats = ks_call_alloc(s->call, count * sizeof *floats);
    if (!floats) return no_memory(s);
    memcpy(floats, s->floats, count * sizeof *floats);
    return take(s, after, floats, count) == 0 ? 1 : -1;
}

/* A number outside of arrays of them, or a word. */
static int pass_word(scan *s) {
    const char *end = s->at;
    while (end < s->end && ((*end >= '0' && *end <= '9') || *end == '.' || *end == '-' || *end == '+' ||
                            (*end >= 'a' && *end <= 'z') || (*end >= 'A' && *end <= 'Z')))
        end++;
    uint64_t number;
    if (ks_number_uint(s->at, (size_t)(end - s->at), &number) && number > INT64_MAX) return take(s, end, NULL, 0);
    s->at = end > s->at ? end : s->at + 1;
    return 0;
}

static int open_bracket(scan *s) {
    if (s->arrays && *s->at == '[') {
        const int taken = take_array(s);
        if (taken != 0) return taken > 0 ? 0 : -1;
    }
    if (++s->depth > KS_JSON_DEPTH_MAX) return faulty(s, s->at, "brackets in more than 64 others");
    s->at++;
    return 0;
}

static int step(scan *s) {
    switch (*s->at) {
    case '"':
        s->at++;
        return skip_string(s);
    case '[':
    case '{':
        s->values++;
        return open_bracket(s);
    case ']':
    case '}':
        s->depth -= s->depth > 0;
        s->at++;
        return 0;
    case ',':
        s->values++;
        s->at++;
        return 0;
    case ' ':
    case '\t':
    case '\n':
    case '\r':
    case ':':
        s->at++;
        return 0;
    default:
        return pass_word(s);
    }
}

int ks_take(ks_call *call, const char *text, size_t bytes, int arrays, ks_text *out, ks_fault *fault) {
    scan s = {.call = call,
              .text = text,
              .at = text,
              .end = text + bytes,
              .left = text,
              .out = out,
              .fault = fault,
              .arrays = arrays};
    int failed = 0;
    while (s.at < s.end && !failed) {
        failed = step(&s);
        if (!failed && s.values > KS_JSON_VALUES_MAX) failed = faulty(&s, s.at, "more than 4194304 values");
    }
    if (!failed) ks_text_add(out, s.left, (size_t)(s.end - s.left));
    if (!failed && out->failed) failed = no_memory(&s);
    free(s.floats);
    return failed;
}

static const ks_taken *address(const char *hex) {
    uintptr_t sum = 0;
    for (int i = 0; i < 16; i++) {
        const char c = hex[i];
        sum = sum << 4 | (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    const void *taken = (const void *)sum;
    return taken;
}

const ks_taken *ks_taken_of(const json_t *value) {
    if (!json_is_string(value) || json_string_length(value) != 18) return NULL;
    const char *text = json_string_value(value);
    return text[0] == 0 ? address(text + 2) : NULL;
}

size_t ks_taken_place(const ks_text *out, size_t at) {
    size_t longer = 0, shorter = 0; /* than the text */
    for (size_t i = 0; i + KS_TAKEN_BYTES <= out->used && i + KS_TAKEN_BYTES <= at;) {
        const char *found = memchr(out->bytes + i, '"', out->used - i);
        if (!found || (size_t)(found - out->bytes) + KS_TAKEN_BYTES > at) break;
        i = (size_t)(found - out->bytes) + 1;
        if (memcmp(found + 1, mark, 6) != 0) continue;
        longer += KS_TAKEN_BYTES;
        shorter += address(found + 8)->bytes;
        i += KS_TAKEN_BYTES - 1;
    }
    return at + shorter - longer;
}
