/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking numbers out of a text before jansson reads it: arrays of numbers only, and whole numbers that fit a u64 but
 * not jansson's i64 (ids). In their place stands a string that no sender's text can have, as it begins with a NUL, and
 * "\u0000" is refused in what is sent. It has the address of a ks_taken, which says what stood there.
 *
 * All such arrays are taken out, the short ones too: who forgets that they may be (looks at jansson's type) finds out
 * at once, not when somebody sends a longer one. */
#ifndef KITH_SERVER_JSON_TAKE_H
#define KITH_SERVER_JSON_TAKE_H

#include <jansson.h>

#include "http/call.h"

typedef struct ks_taken {
    const char *text; /* as it was sent */
    size_t bytes;
    const float *floats; /* NULL: it is one whole number */
    size_t count;
} ks_taken;

enum {
    KS_TAKEN_BYTES = 6 + 17 + 2, /* of the string as it stands in the text */
    KS_JSON_VALUES_MAX = 1 << 22 /* of one text: what jansson makes of them takes some hundred bytes each */
};

/* What stood where this value is now; NULL: nothing was taken out there. */
const ks_taken *ks_taken_of(const json_t *value);

/* What is wrong with a text, and where. */
typedef struct ks_fault {
    const char *why; /* static */
    size_t at;       /* byte */
} ks_fault;

/* `out` becomes the text without them; what was taken lies in the call's memory, and so must the text. 0; -1: without
 * memory (why is NULL), or with a fault: a NUL, too deep, too many values. Other faults are left for jansson to find.
 * arrays 0: arrays stay. */
int ks_take(ks_call *call, const char *text, size_t bytes, int arrays, ks_text *out, ks_fault *fault);

/* Where a byte of `out` stood in the text. */
size_t ks_taken_place(const ks_text *out, size_t at);

#endif
