/* SPDX-License-Identifier: Apache-2.0 */
#include "io/json.h"
#include "base/utf8.h"

#include "io/number.h"

#include <stdint.h>
#include <string.h>

void ki_json_begin(ki_json *json, char *text, size_t bytes) {
    *json = (ki_json){.begin = text, .at = text, .end = text + bytes};
}

bool ki_json_fail(ki_json *json, const char *expected) {
    if (!json->expected) json->expected = expected;
    return false;
}

char ki_json_peek(ki_json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
        json->at++;
    return json->at < json->end ? *json->at : '\0';
}

bool ki_json_take(ki_json *json, char c) {
    if (ki_json_peek(json) != c || json->at == json->end) return false;
    json->at++;
    return true;
}

bool ki_json_need(ki_json *json, char c, const char *what) {
    return ki_json_take(json, c) || ki_json_fail(json, what);
}

bool ki_json_end(ki_json *json) {
    ki_json_peek(json);
    return json->at == json->end || ki_json_fail(json, "the end of the line");
}

static bool four_hex(ki_json *json, uint32_t *value) {
    if (json->end - json->at < 4) return ki_json_fail(json, "four hexadecimal digits");
    *value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = *json->at;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) return ki_json_fail(json, "four hexadecimal digits");
        *value = *value << 4 | (uint32_t)digit;
        json->at++;
    }
    return true;
}

/* Behind "\u": one or, for a surrogate pair, two groups of digits. */
static bool unicode_escape(ki_json *json, char **to) {
    uint32_t point, low;
    if (!four_hex(json, &point)) return false;
    if (point >= 0xDC00 && point <= 0xDFFF) return ki_json_fail(json, "no second half of a surrogate pair alone");
    if (point >= 0xD800 && point <= 0xDBFF) {
        if (json->end - json->at < 6 || json->at[0] != '\\' || json->at[1] != 'u')
            return ki_json_fail(json, "the second half of a surrogate pair");
        json->at += 2;
        if (!four_hex(json, &low)) return false;
        if (low < 0xDC00 || low > 0xDFFF) return ki_json_fail(json, "the second half of a surrogate pair");
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    if (point == 0) return ki_json_fail(json, "a character other than NUL");
    *to += ki_utf8_put(point, *to);
    return true;
}

static bool escape(ki_json *json, char **to) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char c = json->at < json->end ? *json->at : '\0';
    if (c == 'u') {
        json->at++;
        return unicode_escape(json, to);
    }
    const char *letter = c ? strchr(letters, c) : NULL;
    if (!letter) return ki_json_fail(json, "one of \" \\ / b f n r t u after a backslash");
    *(*to)++ = meanings[letter - letters];
    json->at++;
    return true;
}

bool ki_json_string(ki_json *json, char **text, size_t *bytes) {
    if (!ki_json_need(json, '"', "a string")) return false;
    char *begin = json->at, *to = begin;
    for (;;) {
        if (json->at == json->end) return ki_json_fail(json, "the end of a string");
        const char c = *json->at;
        if ((unsigned char)c < 0x20) return ki_json_fail(json, "no control character inside a string");
        json->at++;
        if (c == '"') break;
        if (c != '\\')
            *to++ = c;
        else if (!escape(json, &to))
            return false;
    }
    if (!ki_utf8_valid(begin, (size_t)(to - begin))) return ki_json_fail(json, "valid UTF-8 in the string before");
    *text = begin;
    *bytes = (size_t)(to - begin);
    return true;
}

bool ki_json_float(ki_json *json, float *value) {
    const char *next;
    ki_json_peek(json);
    switch (ki_parse_float(json->at, json->end, true, value, &next)) {
    case KI_NUMBER_OK:
        json->at += next - json->at;
        return true;
    case KI_NUMBER_OVERFLOW:
        json->overflow = true;
        return ki_json_fail(json, "a number that a 32-bit float can hold");
    default:
        return ki_json_fail(json, "a number");
    }
}

bool ki_json_integer(ki_json *json, char **text, size_t *bytes) {
    ki_json_peek(json);
    char *begin = json->at, *at = begin;
    if (at < json->end && *at == '-') at++;
    char *digits = at;
    while (at < json->end && *at >= '0' && *at <= '9') at++;
    if (at == digits || (at - digits > 1 && *digits == '0') ||
        (at < json->end && (*at == '.' || *at == 'e' || *at == 'E')))
        return ki_json_fail(json, "a whole number");
    json->at = at;
    *text = begin;
    *bytes = (size_t)(at - begin);
    return true;
}

static bool skip_number(ki_json *json) {
    float value;
    const char *next;
    const ki_number found = ki_parse_float(json->at, json->end, true, &value, &next);
    if (found == KI_NUMBER_NONE) return ki_json_fail(json, "a value");
    json->at += next - json->at;
    return true;
}

static bool skip_word(ki_json *json, const char *word) {
    const size_t bytes = strlen(word);
    if ((size_t)(json->end - json->at) < bytes || memcmp(json->at, word, bytes) != 0)
        return ki_json_fail(json, "a value");
    json->at += bytes;
    return true;
}

static bool skip_scalar(ki_json *json) {
    char *text;
    size_t bytes;
    switch (ki_json_peek(json)) {
    case '"':
        return ki_json_string(json, &text, &bytes);
    case 't':
        return skip_word(json, "true");
    case 'f':
        return skip_word(json, "false");
    case 'n':
        return skip_word(json, "null");
    default:
        return skip_number(json);
    }
}

/* The key of an object's next entry and its colon. */
static bool skip_key(ki_json *json) {
    char *text;
    size_t bytes;
    return ki_json_string(json, &text, &bytes) && ki_json_need(json, ':', "':'");
}

/* Iterative, so that nesting costs no stack: `open` remembers the bracket of each level. */
bool ki_json_skip(ki_json *json) {
    char open[KI_JSON_DEPTH];
    size_t depth = 0;
    for (;;) {
        const char c = ki_json_peek(json);
        if (c == '{' || c == '[') {
            if (depth == KI_JSON_DEPTH) return ki_json_fail(json, "fewer than 64 nested brackets");
            json->at++;
            open[depth++] = c;
            if (!ki_json_take(json, c == '{' ? '}' : ']')) {
                if (c == '{' && !skip_key(json)) return false;
                continue;
            }
            depth--;
        } else if (!skip_scalar(json)) {
            return false;
        }
        /* A value has ended: close what ends with it, or go on to the next one of its level. */
        while (depth && ki_json_take(json, open[depth - 1] == '{' ? '}' : ']')) depth--;
        if (depth == 0) return true;
        if (!ki_json_need(json, ',', open[depth - 1] == '{' ? "',' or '}'" : "',' or ']'")) return false;
        if (open[depth - 1] == '{' && !skip_key(json)) return false;
    }
}

size_t ki_json_escape(char byte, char escaped[KI_JSON_ESCAPED]) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char c = (unsigned char)byte;
    const char hex[KI_JSON_ESCAPED] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    if (c < 0x20) {
        memcpy(escaped, hex, sizeof(hex));
        return sizeof(hex);
    }
    const size_t slash = c == '"' || c == '\\';
    escaped[0] = '\\';
    escaped[slash] = byte;
    return slash + 1;
}
