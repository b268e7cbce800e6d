/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile paths and arguments: what stands before the first "?" is a path, what follows it are arguments. Whatever a
 * handler is given must be UTF-8 without control characters, and no piece of a part "." or "..". */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/http/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right) {
    if (!right) abort();
}

static void check_part(const char *part) {
    check(ks_is_text(part, strlen(part)));
    for (const char *at = part;; at++) {
        const size_t length = strcspn(at, "/\\");
        check(!(length == 1 && at[0] == '.') && !(length == 2 && at[0] == '.' && at[1] == '.'));
        at += length;
        if (!*at) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *segments[KS_SEGMENTS_MAX];
    size_t count = 0;
    struct ks_wire *wire = calloc(1, sizeof(*wire));
    char *text = malloc(size + 1);
    if (!wire || !text) abort();
    memcpy(text, data, size);
    text[size] = 0;
    char *query = strchr(text, '?');
    if (query) *query++ = 0;
    wire->at = wire->first;
    wire->end = wire->first + sizeof(wire->first);
    wire->call.wire = wire;
    wire->call.path = text;
    if (ks_split(&wire->call, segments, &count) == 200)
        for (size_t i = 0; i < count; i++) check_part(segments[i]);
    if (query && ks_arguments_read(wire, query) == 200)
        for (size_t i = 0; i < wire->argument_count; i++) {
            const ks_argument *argument = &wire->arguments[i];
            check(ks_is_text(argument->name, strlen(argument->name)));
            check(ks_is_text(argument->value, strlen(argument->value)));
        }
    while (wire->chunks) {
        ks_chunk *next = wire->chunks->next;
        free(wire->chunks);
        wire->chunks = next;
    }
    free(text);
    free(wire);
    return 0;
}
