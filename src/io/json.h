/* SPDX-License-Identifier: Apache-2.0
 *
 * A strict reader of JSON text that allocates nothing: callers step through a value and take what they know. And how
 * the writers escape a string.
 *
 * Why not the JSON library that the rest uses: it holds integers as signed 64-bit numbers, while ids go to 2^64-2; and
 * when memory is refused while it gathers a word, it drops a byte and goes on, so that an id could silently change.
 *
 * J1. RFC 8259's grammar, and besides NaN, Infinity and -Infinity where a number is read, as Python writes them.
 * J2. Strings are decoded in place, as no decoded string is longer than its text. They are valid UTF-8 without NUL.
 * J3. Values that are skipped are checked too; nesting is bounded by KI_JSON_DEPTH.
 * J4. After the first failure `expected` says what was expected at `at`, and nothing more may be taken.
 *
 * One owner at a time. */
#ifndef KI_IO_JSON_H
#define KI_IO_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum { KI_JSON_DEPTH = 64 };

typedef struct ki_json {
    char *begin, *at, *end; /* a NUL stands at end */
    const char *expected;   /* static; NULL: no failure */
    bool overflow;          /* the failure is a number beyond 32-bit floats */
} ki_json;

void ki_json_begin(ki_json *json, char *text, size_t bytes);
/* The next byte that is not white space, '\0' at the end. */
char ki_json_peek(ki_json *json);
/* Step over `c` if it comes next. */
bool ki_json_take(ki_json *json, char c);
/* Step over `c`, or fail expecting `what`. */
bool ki_json_need(ki_json *json, char c, const char *what);
bool ki_json_fail(ki_json *json, const char *expected); /* false */
bool ki_json_string(ki_json *json, char **text, size_t *bytes);
bool ki_json_float(ki_json *json, float *value);
/* The text of an integer without fraction or exponent. */
bool ki_json_integer(ki_json *json, char **text, size_t *bytes);
/* Any value. */
bool ki_json_skip(ki_json *json);
/* Only white space may follow. */
bool ki_json_end(ki_json *json);

/* A byte of UTF-8 text as a JSON string has it, between its quotes: how many bytes of `escaped`. */
enum { KI_JSON_ESCAPED = 6 };
size_t ki_json_escape(char byte, char escaped[KI_JSON_ESCAPED]);

#endif
