/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lines.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <string.h>

enum { FIRST_CAPACITY = 256 << 10, EXCERPT_MAX = 40 };

void ki_lines_open(ki_lines *lines, const char *path, int fd, uint64_t file_bytes) {
    *lines = (ki_lines){.path = path, .fd = fd, .file_bytes = file_bytes};
}

void ki_lines_close(ki_lines *lines) {
    free(lines->buffer);
    *lines = (ki_lines)KI_LINES_NONE;
}

void ki_lines_rewind(ki_lines *lines) {
    lines->offset = lines->number = 0;
    lines->begin = lines->filled = 0;
}

/* Room behind what is buffered: moves it to the front first, then grows. One byte stays free for the NUL. */
static kith_status make_room(ki_lines *lines, kith_error *error) {
    if (lines->buffer && lines->begin) {
        memmove(lines->buffer, lines->buffer + lines->begin, lines->filled - lines->begin);
        lines->filled -= lines->begin;
        lines->begin = 0;
    }
    if (lines->capacity && lines->filled < lines->capacity - 1) return KITH_OK;
    if (lines->filled > KI_LINE_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: line %llu is longer than %zu bytes", lines->path,
                       (unsigned long long)lines->number + 1, KI_LINE_MAX);
    const size_t wanted = lines->capacity ? lines->capacity * 2 : FIRST_CAPACITY;
    char *grown = realloc(lines->buffer, wanted);
    if (!grown) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a line", lines->path);
    lines->buffer = grown;
    lines->capacity = wanted;
    return KITH_OK;
}

static kith_status fill(ki_lines *lines, kith_error *error) {
    kith_status status = make_room(lines, error);
    if (status != KITH_OK) return status;
    const size_t step = (size_t)ki_min_u64(lines->file_bytes - lines->offset, lines->capacity - 1 - lines->filled);
    status = ki_read_at(lines->fd, lines->path, lines->buffer + lines->filled, step, lines->offset, error);
    if (status != KITH_OK) return status;
    const bool mark = lines->offset == 0 && step >= 3 && memcmp(lines->buffer, "\xEF\xBB\xBF", 3) == 0;
    lines->offset += step;
    lines->filled += step;
    if (mark) lines->begin = 3;
    return KITH_OK;
}

kith_status ki_lines_next(ki_lines *lines, char **text, size_t *bytes, kith_error *error) {
    size_t looked = 0; /* bytes from begin that hold no LF */
    char *line = NULL, *end = NULL;
    for (;;) {
        line = lines->buffer ? lines->buffer + lines->begin : NULL;
        const size_t held = lines->filled - lines->begin;
        if (held > looked && (end = memchr(line + looked, '\n', held - looked))) break;
        looked = held;
        if (lines->offset == lines->file_bytes) break;
        const kith_status status = fill(lines, error);
        if (status != KITH_OK) return status;
    }
    if (!end && looked == 0) {
        *text = NULL;
        *bytes = 0;
        return KITH_OK;
    }
    size_t length = end ? (size_t)(end - line) : looked;
    lines->begin += length + (end != NULL);
    lines->number++;
    if (length > KI_LINE_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: line %llu is longer than %zu bytes", lines->path,
                       (unsigned long long)lines->number, KI_LINE_MAX);
    if (length && line[length - 1] == '\r') length--;
    line[length] = '\0';
    *text = line;
    *bytes = length;
    return KITH_OK;
}

static bool blank(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (text[i] != ' ' && text[i] != '\t') return false;
    return true;
}

kith_status ki_lines_next_filled(ki_lines *lines, char **text, size_t *bytes, kith_error *error) {
    kith_status status;
    do status = ki_lines_next(lines, text, bytes, error);
    while (status == KITH_OK && *text && blank(*text, *bytes));
    return status;
}

const char *ki_excerpt(const char *text, size_t bytes, char excerpt[48]) {
    size_t used = bytes <= EXCERPT_MAX ? bytes : EXCERPT_MAX;
    while (bytes > EXCERPT_MAX && used && ((unsigned char)text[used] & 0xC0) == 0x80) used--;
    for (size_t i = 0; i < used; i++) {
        const unsigned char c = (unsigned char)text[i];
        excerpt[i] = c < 0x20 || c == 0x7F ? '?' : (char)c;
    }
    memcpy(excerpt + used, bytes > EXCERPT_MAX ? "..." : "", bytes > EXCERPT_MAX ? 4 : 1);
    return excerpt;
}
