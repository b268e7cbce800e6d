/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of the log, put together field by field.
 *
 * 1. A line is at most KS_LINE_BYTES and goes out in one write, so lines of several threads do not mix.
 * 2. Nobody waits for who reads the log: a line that a full pipe does not take is lost, and counted; the next one that
 *    is taken says how many.
 * 3. What comes from outside is escaped: a line stays a line, and JSON stays JSON. A text that is too long ends in
 *    "..." */
#ifndef KITH_SERVER_WATCH_LOG_H
#define KITH_SERVER_WATCH_LOG_H

#include <stdatomic.h>

#include "watch/watch.h"

enum { KS_LINE_BYTES = 4096 };

typedef struct ks_log_to {
    int fd, json;
    ks_log_level level;
    _Atomic uint64_t lost; /* since the last line that was taken */
} ks_log_to;

typedef struct ks_line {
    ks_log_to *to;
    size_t used;
    char bytes[KS_LINE_BYTES];
} ks_line;

/* Whether lines of a level are wanted at all. */
int ks_line_wanted(const ks_log_to *to, ks_log_level level);
/* message: a sentence, or NULL. */
void ks_line_begin(ks_line *line, ks_log_to *to, ks_log_level level, const char *event, const char *message);
void ks_line_text(ks_line *line, const char *name, const char *text); /* NULL: the field is left out */
void ks_line_uint(ks_line *line, const char *name, uint64_t number);
void ks_line_real(ks_line *line, const char *name, double number); /* three places behind the point */
void ks_line_end(ks_line *line);

/* A call that is over: at debug, or at warning when it took a second and more. */
void ks_log_call(ks_log_to *to, const ks_call *call, uint64_t total_ns, size_t sent_bytes);

#endif
