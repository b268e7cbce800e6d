/* SPDX-License-Identifier: Apache-2.0 */
#include "query_text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *skip_separators(const char *text) {
    while (isspace((unsigned char)*text) || *text == ',' || *text == '[' || *text == ']') text++;
    return text;
}

static int parse_element(const char *text, size_t bytes, bool bits, size_t at, void *row) {
    char word[64];
    double real;
    uint64_t byte;
    if (bits) {
        if (!parse_number(text, bytes, &byte) || byte > 255)
            return fail(EXIT_USAGE, "--query: element %zu is \"%.*s\", but a byte from 0 to 255 was expected", at,
                        (int)bytes, text);
        ((unsigned char *)row)[at] = (unsigned char)byte;
        return EXIT_OK;
    }
    snprintf(word, sizeof(word), "%.*s", (int)bytes, text);
    if (bytes >= sizeof(word) || !parse_real(word, &real))
        return fail(EXIT_USAGE, "--query: element %zu is \"%.*s\", but a number was expected", at, (int)bytes, text);
    if (!(fabs(real) < 0x1.ffffffp127)) /* would round to infinity */
        return fail(EXIT_USAGE, "--query: element %zu is %.*s, which is beyond 32-bit floats", at, (int)bytes, text);
    ((float *)row)[at] = (float)real;
    return EXIT_OK;
}

int query_parse(const char *text, const char *where, bool bits, size_t dim, void *row) {
    const size_t expected = bits ? dim / 8 : dim;
    size_t count = 0;
    for (text = skip_separators(text); *text; text = skip_separators(text)) {
        const size_t bytes = strcspn(text, ",[] \t\r\n\v\f");
        if (count < expected) {
            const int failed = parse_element(text, bytes > 200 ? 200 : bytes, bits, count, row);
            if (failed) return failed;
        }
        count++;
        text += bytes;
    }
    if (count == expected) return EXIT_OK;
    return fail(EXIT_USAGE, "--query has %zu %s, but %s needs %zu", count, bits ? "bytes" : "numbers", where, expected);
}
