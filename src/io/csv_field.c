/* SPDX-License-Identifier: Apache-2.0 */
#include "io/csv.h"

#include "base/status.h"
#include "io/number.h"

#include <string.h>

static bool is_space(const ki_csv_cursor *c, char letter) {
    return letter == ' ' || (letter == '\t' && c->separator != '\t');
}

static void skip_spaces(ki_csv_cursor *c) {
    while (c->at < c->end && is_space(c, *c->at)) c->at++;
}

/* Step over a separator, or to NULL at the end of the line; false if something else is there. */
static bool step(ki_csv_cursor *c) {
    const char *before = c->at;
    skip_spaces(c);
    if (c->at == c->end) {
        c->at = NULL;
        return true;
    }
    if (c->separator == ' ') return c->at > before;
    if (*c->at != c->separator) return false;
    c->at++;
    return true;
}

/* A quoted field, whose doubled quotes are undone in place if `undo`; false if the quote is not closed. */
static bool next_quoted(ki_csv_cursor *c, ki_csv_field *f, bool undo) {
    char *to = ++c->at;
    *f = (ki_csv_field){.text = to, .quoted = true};
    for (; c->at < c->end; c->at++) {
        if (*c->at == '"' && (c->at + 1 == c->end || c->at[1] != '"')) break;
        const char letter = *c->at;
        c->at += letter == '"';
        if (undo) *to++ = letter;
    }
    if (c->at == c->end) return false;
    f->bytes = undo ? (size_t)(to - f->text) : (size_t)(c->at - f->text);
    c->at++;
    return step(c);
}

/* A list may hold spaces where spaces separate. */
static char *field_end(const ki_csv_cursor *c) {
    char *at = c->at;
    if (c->separator != ' ') {
        at = memchr(c->at, c->separator, (size_t)(c->end - c->at));
        return at ? at : c->end;
    }
    while (at < c->end && !is_space(c, *at)) at++;
    return at;
}

bool ki_csv_next(ki_csv_cursor *c, ki_csv_field *f, bool undo) {
    skip_spaces(c);
    if (c->at < c->end && *c->at == '"') return next_quoted(c, f, undo);
    char *end = field_end(c);
    *f = (ki_csv_field){.text = c->at, .bytes = (size_t)(end - c->at)};
    while (f->bytes && is_space(c, f->text[f->bytes - 1])) f->bytes--;
    c->at = end;
    return step(c);
}

bool ki_csv_number(ki_csv_cursor *c, float *value) {
    const char *next;
    skip_spaces(c);
    const bool quoted = c->at < c->end && *c->at == '"';
    if (quoted) c->at++;
    if (ki_parse_float(c->at, c->end, false, value, &next) != KI_NUMBER_OK) return false;
    c->at += next - c->at;
    if (quoted && (c->at == c->end || *c->at++ != '"')) return false;
    return step(c);
}

bool ki_csv_is_number(const ki_csv_field *f) {
    float value;
    const char *next = NULL;
    const char *end = f->text + f->bytes;
    return ki_parse_float(f->text, end, false, &value, &next) != KI_NUMBER_NONE && next == end;
}

bool ki_csv_is_list(const ki_csv_field *f) {
    return f->bytes >= 2 && f->text[0] == '[' && f->text[f->bytes - 1] == ']';
}

static const char *skip_white(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    return at;
}

const char *ki_csv_list(const ki_csv_field *f, float *to, size_t room, size_t *count, const char **at) {
    const char *end = f->text + f->bytes - 1, *next;
    *count = 0;
    *at = f->text;
    if (!ki_csv_is_list(f)) return "a list of numbers in square brackets";
    for (*at = skip_white(f->text + 1, end); *at < end; *at = next) {
        float value;
        if (end - *at >= 3 && memcmp(*at, "...", 3) == 0) return "all of the list, which was shortened when printed,";
        const ki_number read = ki_parse_float(*at, end, false, &value, &next);
        if (read == KI_NUMBER_OVERFLOW) return "a number that a 32-bit float can hold";
        if (read != KI_NUMBER_OK) return "a number";
        if (*count < room) to[*count] = value;
        ++*count;
        const char *behind = skip_white(next, end);
        if (behind == end) break;
        if (*behind == ',') {
            next = skip_white(behind + 1, end);
            *at = next;
            if (next == end) return "a number";
        } else {
            *at = next;
            if (behind == next) return "a comma or a space";
            next = behind;
        }
    }
    return NULL;
}

kith_status ki_csv_quote_error(const ki_lines *lines, size_t column, kith_error *error) {
    return ki_fail(error, KITH_E_FORMAT,
                   "%s: line %llu: the quotes of field %zu are not closed or not followed by a separator (line breaks "
                   "inside quotes are not supported)",
                   lines->path, (unsigned long long)lines->number, column + 1);
}
