/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths and what follows their "?": decoded, checked, split.
 *
 * A part of a path may have a "/" or a "\" in it when it was sent as an escape (an id that is a URL). No piece of it
 * between such ones is "." or "..", so whoever makes a file name of a part by mistake does not leave its folder
 * upward. */
#include <string.h>

#include "http/wire.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Bytes of the UTF-8 sequence that begins here; 0: it is none. Neither overlong ones nor surrogates are any. */
static size_t sequence(const unsigned char *s, size_t count) {
    if (s[0] < 0x80) return 1;
    const size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || length > count) return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return length;
}

int ks_is_text(const char *bytes, size_t count) {
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < count;) {
        const size_t length = sequence(s + i, count - i);
        if (!length || s[i] < 0x20 || s[i] == 0x7f) return 0;
        i += length;
    }
    return 1;
}

ptrdiff_t ks_decode(const char *from, size_t count, int plus, char *to) {
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        char c = from[i];
        if (c == '%') {
            const int high = i + 2 < count ? hex(from[i + 1]) : -1, low = i + 2 < count ? hex(from[i + 2]) : -1;
            if (high < 0 || low < 0) return -1;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        to[used++] = c;
    }
    to[used] = 0;
    return ks_is_text(to, used) ? (ptrdiff_t)used : -1;
}

static int climbs(const char *part) {
    for (;;) {
        const size_t length = strcspn(part, "/\\");
        if ((length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.')) return 1;
        if (!part[length]) return 0;
        part += length + 1;
    }
}

int ks_split(ks_call *call, const char *segments[KS_SEGMENTS_MAX], size_t *count) {
    const char *path = call->path;
    if (path[0] != '/' || !ks_is_text(path, strlen(path))) return 400;
    /* A decoded part takes no more bytes than it was sent in, and its zero has the place of the slash before it. */
    char *to = ks_call_alloc(call, strlen(path) + 1);
    if (!to) return 503;
    *count = 0;
    while (*path) {
        path++;
        const size_t length = strcspn(path, "/");
        const ptrdiff_t used = ks_decode(path, length, 0, to);
        if (used < 0 || climbs(to)) return 400;
        if (*count == KS_SEGMENTS_MAX) return 404;
        segments[(*count)++] = to;
        to += used + 1;
        path += length;
    }
    return 200;
}

int ks_arguments_read(struct ks_wire *wire, const char *query) {
    const size_t length = strlen(query);
    char *to = ks_call_alloc(&wire->call, length + 2);
    wire->arguments = ks_call_alloc(&wire->call, KS_ARGUMENTS_MAX * sizeof(*wire->arguments));
    if (!to || !wire->arguments) return 503;
    for (const char *at = query; *at;) {
        const size_t size = strcspn(at, "&"), name = strcspn(at, "=&");
        if (size) {
            if (wire->argument_count == KS_ARGUMENTS_MAX) return 400;
            ks_argument *argument = &wire->arguments[wire->argument_count++];
            ptrdiff_t used = ks_decode(at, name, 1, to);
            if (used < 0) return 400;
            argument->name = to;
            to += used + 1;
            argument->value = to - 1; /* "" */
            if (name < size) {
                used = ks_decode(at + name + 1, size - name - 1, 1, to);
                if (used < 0) return 400;
                argument->value = to;
                to += used + 1;
            }
        }
        at += size + (at[size] == '&');
    }
    return 200;
}
