/* SPDX-License-Identifier: Apache-2.0
 *
 * traceparent: "00-<32 hex digits: the trace>-<16: the caller's span>-<2: flags>". Later versions may have more behind
 * that, which begins with "-"; version ff is none. Neither id may be all zeros. */
#define _GNU_SOURCE
#include "watch/trace.h"

#include <string.h>

/* Copy `count` lower-case hex digits. Whether they are such, and not all zeros unless that is allowed. */
static int take_hex(const char *from, size_t count, int zeros, char *to) {
    size_t nonzero = 0;
    for (size_t i = 0; i < count; i++) {
        if (!((from[i] >= '0' && from[i] <= '9') || (from[i] >= 'a' && from[i] <= 'f'))) return 0;
        nonzero += from[i] != '0';
        to[i] = from[i];
    }
    to[count] = 0;
    return zeros || nonzero > 0;
}

int ks_trace_parse(const char *header, ks_trace *trace) {
    ks_trace read = {0};
    char version[3], flags[3];
    if (!header || strnlen(header, 55) < 55) return 0;
    if (!take_hex(header, 2, 1, version) || strcmp(version, "ff") == 0) return 0;
    if (header[55] && (strcmp(version, "00") == 0 || header[55] != '-')) return 0;
    if (header[2] != '-' || header[35] != '-' || header[52] != '-') return 0;
    if (!take_hex(header + 3, 32, 0, read.trace) || !take_hex(header + 36, 16, 0, read.parent)) return 0;
    if (!take_hex(header + 53, 2, 1, flags)) return 0;
    const int low = flags[1] <= '9' ? flags[1] - '0' : flags[1] - 'a' + 10;
    read.sampled = (unsigned)low & 1;
    *trace = read;
    return 1;
}

int ks_trace_is_id(const char *id) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:+/=@";
    const size_t length = id ? strspn(id, allowed) : 0;
    return length > 0 && length <= 128 && !id[length];
}
