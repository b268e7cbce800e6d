/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of collections, and of their folders. */
#define _GNU_SOURCE
#include "shelf/inner.h"

#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 sequence at `at`; 0 when it is none, overlong, a surrogate, or a control character. */
static size_t sequence(const unsigned char *at) {
    const unsigned first = at[0];
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4) return 0;
    unsigned code = first & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0; /* so the ending zero is never passed */
        code = code << 6 | (at[i] & 0x3fu);
    }
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
    return code < 0xa0 ? 0 : bytes;
}

int ks_name_valid(const char *name) {
    if (!name) return 0;
    const size_t bytes = strnlen(name, KS_NAME_MAX + 1);
    if (!bytes || bytes > KS_NAME_MAX || strpbrk(name, "/\\")) return 0;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return 0;
    for (size_t at = 0; at < bytes;) {
        const size_t step = sequence((const unsigned char *)name + at);
        if (!step) return 0;
        at += step;
    }
    return 1;
}

static int is_plain(const char *name) {
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789",
                      rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    return *name && strchr(first, *name) && name[strspn(name, rest)] == 0;
}

void ks_name_folder(const char *name, char folder[KS_FOLDER_MAX + 1]) {
    if (is_plain(name)) {
        snprintf(folder, KS_FOLDER_MAX + 1, "%s", name);
        return;
    }
    char *to = folder;
    *to++ = '=';
    for (; *name; name++, to += 2) snprintf(to, 3, "%02x", (unsigned)(unsigned char)*name);
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A folder that somebody made by `kith create` is taken under the name that it has, if only no name is meant by "=". */
int ks_name_of_folder(const char *folder, char name[KS_NAME_MAX + 1]) {
    if (*folder == '.') return 0;
    if (*folder != '=') {
        if (!ks_name_valid(folder)) return 0;
        memcpy(name, folder, strlen(folder) + 1);
        return 1;
    }
    const size_t digits = strlen(++folder);
    if (digits % 2 || digits / 2 > KS_NAME_MAX) return 0;
    for (size_t i = 0; i < digits / 2; i++) {
        const int high = digit(folder[2 * i]), low = digit(folder[2 * i + 1]);
        if (high < 0 || low < 0) return 0;
        name[i] = (char)(high * 16 + low);
    }
    name[digits / 2] = 0;
    return strlen(name) == digits / 2 && ks_name_valid(name);
}
