/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile paths and arguments: what stands before the first "?" is a path. Parts that are taken are text, none of them
 * climbs, and encoding one anew and decoding it gives it again; arguments likewise. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/http/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right) {
    if (!right) abort();
}

/* A wire as far as decoding needs one. */
static struct ks_wire *begin(void) {
    struct ks_wire *wire = calloc(1, sizeof(*wire));
    check(wire != NULL);
    wire->at = wire->first;
    wire->end = wire->first + sizeof(wire->first);
    wire->call.wire = wire;
    return wire;
}

static void end(struct ks_wire *wire) {
    while (wire->chunks) {
        ks_chunk *next = wire->chunks->next;
        free(wire->chunks);
        wire->chunks = next;
    }
    free(wire);
}

static void decode_again(const char *part, int plus) {
    static const char digits[] = "0123456789abcdef";
    const size_t bytes = strlen(part);
    char *sent = malloc(3 * bytes + 1), *back = malloc(3 * bytes + 1);
    check(sent && back && ks_is_text(part, bytes));
    for (size_t i = 0; i < bytes; i++) {
        sent[3 * i] = '%';
        sent[3 * i + 1] = digits[(unsigned char)part[i] >> 4];
        sent[3 * i + 2] = digits[(unsigned char)part[i] & 15];
    }
    check(ks_decode(sent, 3 * bytes, plus, back) == (ptrdiff_t)bytes && strcmp(back, part) == 0);
    free(back);
    free(sent);
}

/* As the system would walk it. */
static void check_piece(const char *part) {
    for (const char *at = part;; at++) {
        const size_t length = strcspn(at, "/\\");
        check(!(length == 1 && at[0] == '.') && !(length == 2 && at[0] == '.' && at[1] == '.'));
        at += length;
        if (!*at) return;
    }
}

static void split(char *path) {
    struct ks_wire *wire = begin();
    const char *segments[KS_SEGMENTS_MAX];
    size_t count = 0;
    wire->call.path = path;
    if (ks_split(&wire->call, segments, &count) == 200) {
        check(path[0] == '/' && count <= KS_SEGMENTS_MAX);
        for (size_t i = 0; i < count; i++) {
            decode_again(segments[i], 0);
            check_piece(segments[i]);
        }
    }
    end(wire);
}

static void read_arguments(const char *query) {
    struct ks_wire *wire = begin();
    if (ks_arguments_read(wire, query) == 200) {
        check(wire->argument_count <= KS_ARGUMENTS_MAX);
        for (size_t i = 0; i < wire->argument_count; i++) {
            decode_again(wire->arguments[i].name, 1);
            decode_again(wire->arguments[i].value, 1);
        }
    }
    end(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    check(text != NULL);
    if (size) memcpy(text, data, size);
    text[size] = 0;
    char *query = strchr(text, '?');
    if (query) *query++ = 0;
    /* Copies of just their lengths, so that a byte beyond is seen. */
    char *path = strdup(text), *arguments = query ? strdup(query) : NULL;
    check(path != NULL);
    split(path);
    if (arguments) read_arguments(arguments);
    free(arguments);
    free(path);
    free(text);
    return 0;
}
