/* SPDX-License-Identifier: Apache-2.0
 *
 * When calls came, from a file. A trace is drawn in bench/traffic/README.md: a header of 512 bytes, then 32 bytes an
 * event, of which the time (microseconds, at 0) and the kind (at 28) matter here. */
#define _GNU_SOURCE
#include "error/error.h"
#include "fleet/arrivals.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_BYTES = 512,
    RECORD_BYTES = 32,
    AT_VERSION = 8,
    AT_EVENTS = 24,
    AT_KIND = 28,
    VERSION = 1,
    QUERY_VECTOR = 1,
    QUERY_USER = 2,
    LINE_BYTES = 256
};
static const char magic[] = "\x93KTRAFFC";
#define TIMES_MAX   100000u
#define SECONDS_MAX (3650.0 * 86400)
#define CALLS_MAX   1e9 /* of a line */

struct ks_arrivals {
    FILE *file;
    char *path;
    int trace;
    unsigned times;
    uint64_t events, read; /* of a trace */
    uint64_t line;         /* of a text */
    int begun, over;
    double first_s;
    double from_s, to_s;       /* the part that is being dealt out, */
    uint64_t left;             /* so many calls of it still, */
    double at_s;               /* from here on */
    double next_s, next_calls; /* what was read ahead */
    uint64_t random;
};

static uint64_t load(const unsigned char *bytes, unsigned count) {
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

/* Whether it is a trace: sets the number of events, which the records that follow must bear out. */
static kith_status look(ks_arrivals *arrivals, kith_error *error) {
    unsigned char header[HEADER_BYTES];
    const size_t got = fread(header, 1, sizeof(header), arrivals->file);
    if (got < 8 || memcmp(header, magic, 8) != 0) {
        rewind(arrivals->file);
        return KITH_OK;
    }
    if (got < sizeof(header))
        return ks_error(error, KITH_E_FORMAT, "%s ends at byte %zu, within the header of a trace.", arrivals->path,
                        got);
    if (load(header + AT_VERSION, 4) != VERSION)
        return ks_error(error, KITH_E_VERSION, "%s is a trace of version %llu, and this program reads version %d.",
                        arrivals->path, (unsigned long long)load(header + AT_VERSION, 4), VERSION);
    arrivals->trace = 1;
    arrivals->events = load(header + AT_EVENTS, 8);
    return KITH_OK;
}

kith_status ks_arrivals_open(const char *path, unsigned times, ks_arrivals **out, kith_error *error) {
    if (times < 1 || times > TIMES_MAX)
        return ks_error(error, KITH_E_ARG, "One call may stand for 1 to %u, not %u.", TIMES_MAX, times);
    ks_arrivals *arrivals = calloc(1, sizeof(*arrivals));
    if (!arrivals) return ks_error(error, KITH_E_NOMEM, "There is no memory for reading %s.", path);
    kith_status status = KITH_OK;
    arrivals->times = times;
    arrivals->path = strdup(path);
    arrivals->file = arrivals->path ? fopen(path, "rbe") : NULL;
    if (!arrivals->path) {
        status = ks_error(error, KITH_E_NOMEM, "There is no memory for reading %s.", path);
    } else if (!arrivals->file) {
        const int why = errno;
        status = ks_error(error, why == ENOENT ? KITH_E_NOTFOUND : KITH_E_IO, "%s cannot be opened: %s.", path,
                          strerror(why));
    }
    if (status == KITH_OK) status = look(arrivals, error);
    if (status != KITH_OK) {
        ks_arrivals_close(arrivals);
        return status;
    }
    *out = arrivals;
    return KITH_OK;
}

void ks_arrivals_rewind(ks_arrivals *arrivals) {
    rewind(arrivals->file);
    if (arrivals->trace) (void)!fseek(arrivals->file, HEADER_BYTES, SEEK_SET);
    arrivals->read = arrivals->line = arrivals->left = arrivals->random = 0;
    arrivals->begun = arrivals->over = 0;
}

void ks_arrivals_close(ks_arrivals *arrivals) {
    if (!arrivals) return;
    if (arrivals->file) fclose(arrivals->file);
    free(arrivals->path);
    free(arrivals);
}

/* ---- What the file says next: 1, 0 at the end, -1 */

static int bad(const ks_arrivals *arrivals, kith_error *error, const char *what) {
    ks_error(error, KITH_E_FORMAT, "%s: %s %llu %s.", arrivals->path, arrivals->trace ? "event" : "line",
             (unsigned long long)(arrivals->trace ? arrivals->read : arrivals->line), what);
    return -1;
}

static int read_trace(ks_arrivals *arrivals, double *time_s, double *calls, kith_error *error) {
    unsigned char record[RECORD_BYTES];
    for (;;) {
        if (arrivals->read == arrivals->events) return 0;
        if (fread(record, 1, sizeof(record), arrivals->file) != sizeof(record))
            return bad(arrivals, error, "is missing: the file ends before the events that its header tells of");
        arrivals->read++;
        if (record[AT_KIND] != QUERY_VECTOR && record[AT_KIND] != QUERY_USER) continue;
        *time_s = (double)load(record, 8) / 1e6;
        *calls = 1;
        return 1;
    }
}

static int read_text(ks_arrivals *arrivals, double *time_s, double *calls, kith_error *error) {
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), arrivals->file)) {
        char *end, *rest;
        arrivals->line++;
        if (!strchr(line, '\n') && !feof(arrivals->file)) return bad(arrivals, error, "is too long");
        const size_t blank = strspn(line, " \t\r\n");
        /* A heading may stand at the top, remarks anywhere. */
        if (!line[blank] || line[blank] == '#' || (arrivals->line == 1 && strpbrk(line, "abcdghijklmopqrstuvwxyz")))
            continue;
        *time_s = strtod(line, &end);
        rest = end + strspn(end, " \t,;");
        *calls = strtod(rest, &end);
        if (end == rest || end[strspn(end, " \t\r\n")]) return bad(arrivals, error, "is not \"seconds,calls\"");
        if (!(*calls >= 0 && *calls <= CALLS_MAX)) return bad(arrivals, error, "has calls beyond 0 to 1e9");
        return 1;
    }
    if (ferror(arrivals->file)) return bad(arrivals, error, "cannot be read");
    return 0;
}

/* Read ahead: where the next part begins is where this one ends. */
static int read_next(ks_arrivals *arrivals, kith_error *error) {
    double time_s = 0, calls = 0;
    const int got =
        arrivals->trace ? read_trace(arrivals, &time_s, &calls, error) : read_text(arrivals, &time_s, &calls, error);
    if (got != 1) return got;
    if (!arrivals->begun) arrivals->first_s = time_s;
    time_s -= arrivals->first_s;
    if (arrivals->begun && time_s < arrivals->next_s) return bad(arrivals, error, "is earlier than the one before");
    if (!(time_s >= 0 && time_s <= SECONDS_MAX)) return bad(arrivals, error, "is more than ten years after the first");
    arrivals->begun = 1;
    arrivals->next_s = time_s;
    arrivals->next_calls = calls;
    return 1;
}

/* A minute of a trace, whose first call was read ahead. */
static int next_minute(ks_arrivals *arrivals, kith_error *error) {
    int got = 1;
    double calls = 0;
    arrivals->from_s = floor(arrivals->next_s / 60) * 60;
    arrivals->to_s = arrivals->from_s + 60;
    while (got == 1 && arrivals->next_s < arrivals->to_s) {
        calls++;
        got = read_next(arrivals, error);
    }
    arrivals->over = !got;
    arrivals->left = (uint64_t)calls * arrivals->times;
    return got < 0 ? got : 1;
}

/* Make the next part the one that is dealt out. The last one lasts as long as the one before it. */
static int next_part(ks_arrivals *arrivals, kith_error *error) {
    if (arrivals->over) return 0;
    if (!arrivals->begun) {
        const int got = read_next(arrivals, error);
        if (got != 1) return got;
        arrivals->from_s = arrivals->to_s = 0;
    }
    if (arrivals->trace && arrivals->times > 1) {
        const int got = next_minute(arrivals, error);
        arrivals->at_s = arrivals->from_s;
        return got;
    }
    const double from = arrivals->next_s, calls = arrivals->next_calls, lasted = arrivals->to_s - arrivals->from_s;
    const int got = read_next(arrivals, error);
    if (got < 0) return got;
    arrivals->over = !got;
    arrivals->from_s = arrivals->at_s = from;
    arrivals->to_s = got ? arrivals->next_s : from + (lasted > 0 ? lasted : 1);
    arrivals->left = (uint64_t)llround(calls * arrivals->times);
    return 1;
}

/* SplitMix64 (Steele, Lea, Flood 2014); 0 < result <= 1. */
static double draw(ks_arrivals *arrivals) {
    uint64_t z = arrivals->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)(((z ^ z >> 31) >> 11) + 1) * 0x1p-53;
}

int ks_arrivals_next(ks_arrivals *arrivals, double *time_s, kith_error *error) {
    while (!arrivals->left) {
        const int got = next_part(arrivals, error);
        if (got != 1) return got;
    }
    if (arrivals->trace && arrivals->times == 1) {
        *time_s = arrivals->from_s; /* as it was */
    } else {
        /* The least of so many times that are uniform over what is left of the part. */
        const double share = 1 - pow(draw(arrivals), 1 / (double)arrivals->left);
        *time_s = arrivals->at_s += (arrivals->to_s - arrivals->at_s) * share;
    }
    arrivals->left--;
    return 1;
}
