/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: words for people, or JSON objects, a line each. */
#define _GNU_SOURCE
#include "watch/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Kept free behind what is written: for the end of a field and of the line. */
enum { END_BYTES = 16, TEXT_MAX = 1500 };

static const char *const level_names[] = {
    [KS_LOG_ERROR] = "error", [KS_LOG_WARNING] = "warning", [KS_LOG_INFO] = "info", [KS_LOG_DEBUG] = "debug"};

int ks_line_wanted(const ks_log_to *to, ks_log_level level) {
    return level <= to->level;
}

/* ---- Text ---------------------------------------------------------------------------------------------------------*/

static size_t room_of(const ks_line *line) {
    return line->used + END_BYTES < KS_LINE_BYTES ? KS_LINE_BYTES - END_BYTES - line->used : 0;
}

static void add(ks_line *line, const char *bytes, size_t count) {
    if (count > KS_LINE_BYTES - line->used) return;
    memcpy(line->bytes + line->used, bytes, count);
    line->used += count;
}

/* Bytes of the UTF-8 character that begins here, 0 when there is none. */
static size_t character(const unsigned char *text) {
    const unsigned char first = text[0];
    if (first < 0x80) return 1;
    const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4) return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    /* Too long a form, half of a pair, beyond the last one. */
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f)) return 0;
    if ((first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f)) return 0;
    return bytes;
}

/* With what JSON and a line ask for: control characters and what is not UTF-8 as \u00xx. */
static void add_escaped(ks_line *line, const char *text) {
    size_t taken = 0;
    while (*text) {
        const size_t bytes = character((const unsigned char *)text);
        char escaped[8];
        size_t count = bytes;
        const char *from = text;
        if (*text == '"' || *text == '\\') {
            escaped[0] = '\\', escaped[1] = *text;
            from = escaped, count = 2;
        } else if (bytes == 0 || (unsigned char)*text < 0x20 || *text == 0x7f) {
            count = (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)(unsigned char)*text);
            from = escaped;
        }
        if (taken + count > TEXT_MAX || count > room_of(line)) {
            add(line, "...", 3);
            return;
        }
        add(line, from, count);
        taken += count;
        text += bytes ? bytes : 1;
    }
}

/* Whether a value can stand in a line for people as it is. */
static int is_plain(const char *text) {
    if (!*text) return 0;
    for (; *text; text++)
        if (*text == '"' || *text == '\\' || *text == '=' || (unsigned char)*text <= 0x20 ||
            (unsigned char)*text >= 0x7f)
            return 0;
    return 1;
}

/* ---- Fields -------------------------------------------------------------------------------------------------------*/

/* Names are ours: there is room for them, and nothing to escape. 0: the line is full, the field is left out. */
static int begin_field(ks_line *line, const char *name) {
    char head[64];
    const int count =
        snprintf(head, sizeof(head),
                 line->to->json ? "%s\"%s\":" : "%s%s=", line->to->json ? (line->used > 1 ? "," : "") : " ", name);
    if (count < 0 || (size_t)count + 32 > room_of(line)) return 0;
    add(line, head, (size_t)count);
    return 1;
}

void ks_line_text(ks_line *line, const char *name, const char *text) {
    if (!text || !begin_field(line, name)) return;
    const int quoted = line->to->json || !is_plain(text);
    if (quoted) add(line, "\"", 1);
    add_escaped(line, text);
    if (quoted) add(line, "\"", 1);
}

void ks_line_uint(ks_line *line, const char *name, uint64_t number) {
    char text[24];
    const int count = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    if (begin_field(line, name)) add(line, text, (size_t)count);
}

void ks_line_real(ks_line *line, const char *name, double number) {
    char text[32];
    const int count = snprintf(text, sizeof(text), "%.3f", number);
    if (count > 0 && (size_t)count < sizeof(text) && begin_field(line, name)) add(line, text, (size_t)count);
}

void ks_line_begin(ks_line *line, ks_log_to *to, ks_log_level level, const char *event, const char *message) {
    struct timespec now;
    struct tm parts;
    char time[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    const size_t seconds = strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(time + seconds, sizeof(time) - seconds, ".%03uZ", (unsigned)(now.tv_nsec / 1000000) % 1000);
    line->to = to;
    line->used = 0;
    if (to->json) {
        add(line, "{", 1);
        ks_line_text(line, "time", time);
        ks_line_text(line, "level", level_names[level]);
        ks_line_text(line, "event", event);
        ks_line_text(line, "message", message);
        return;
    }
    add(line, time, strlen(time));
    add(line, " ", 1);
    add(line, level_names[level], strlen(level_names[level]));
    add(line, " ", 1);
    add_escaped(line, event);
    if (!message) return;
    add(line, ": ", 2);
    add_escaped(line, message);
}

static int put(int fd, const char *bytes, size_t count) {
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    /* A pipe that polls writable takes PIPE_BUF bytes, which is what a line has at most. */
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)) return 0;
    return write(fd, bytes, count) == (ssize_t)count;
}

/* Say that lines were lost, before one that is taken. */
static void tell_lost(ks_log_to *to) {
    const uint64_t lost = atomic_exchange(&to->lost, 0);
    ks_line line;
    if (!lost) return;
    ks_line_begin(&line, to, KS_LOG_WARNING, "log", "lines were lost, because whoever reads the log did not keep up");
    ks_line_uint(&line, "lines", lost);
    add(&line, to->json ? "}\n" : "\n", to->json ? 2 : 1);
    if (!put(to->fd, line.bytes, line.used)) atomic_fetch_add(&to->lost, lost);
}

void ks_line_end(ks_line *line) {
    add(line, line->to->json ? "}\n" : "\n", line->to->json ? 2 : 1);
    tell_lost(line->to);
    if (!put(line->to->fd, line->bytes, line->used)) atomic_fetch_add(&line->to->lost, 1);
}
