/* SPDX-License-Identifier: Apache-2.0
 *
 * Personalised traffic as a service sees it: users with tastes come in sessions, ask, look and like, while items are
 * added, changed and removed. README.md has the model, its formulas and the sources; this header is the library:
 * a generator of events, the vectors that belong to them, and the writer and reader of trace files.
 *
 * I1. Events are a function of the options alone: of the machine, of the library of mathematics and of how many are
 *     read at a time they do not depend.
 * I2. Vectors are a function of the options, the generation and one event (or one user, or one live item), so whoever
 *     has a trace can make the vectors again.
 * I3. Memory grows with live items and with sessions under way, never with the number of events.
 *
 * Nothing here is shared between threads: one owner a handle. Functions that can fail return kith_status and fill
 * *error (may be NULL); out-parameters are untouched on failure. */
#ifndef KITH_TRAFFIC_H
#define KITH_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kith.h"

#define TRAFFIC_NONE         UINT32_MAX /* a field of an event that says nothing */
#define TRAFFIC_ITEMS_MAX    (UINT64_C(1) << 30)
#define TRAFFIC_LISTS_MAX    (UINT64_C(1) << 22) /* topics x segments */
#define TRAFFIC_DAY_US       UINT64_C(86400000000)
#define TRAFFIC_TASTE_TOPICS 3

/* ---- Options ----------------------------------------------------------------------------------------------------- */

enum traffic_shape { TRAFFIC_GEOMETRIC = 0, TRAFFIC_LOGNORMAL = 1 };

/* traffic_option_table says of each what it means, its range and its default. Shares and probabilities lie in 0..1. */
struct traffic_options {
    uint64_t seed, users, items, dim, topics, segments, k, events;
    double days, rate, day_swing;
    double user_zipf, item_zipf, topic_zipf, segment_zipf;
    uint64_t session_shape;
    double session_length, session_sigma, gap, gap_sigma;
    double query_share, user_query_share, like_share, segment_filter, topic_filter;
    double explore, topic_switch, taste_days, focus, context, noise, spread;
    double insert_share, update_share, delete_share, trend;
    double churn, churn_hour;
    uint64_t flip_days;
    double reembed;
};

struct traffic_option {
    const char *name; /* as on the command line, without "--" */
    size_t offset;    /* in struct traffic_options, of a uint64_t or a double */
    bool real;
    double min, max, standard;
    const char *help;
};

/* In the order of the trace header; its last entry has the name NULL. */
extern const struct traffic_option traffic_option_table[];
size_t traffic_option_count(void);

void traffic_options_default(struct traffic_options *options);
double traffic_option_get(const struct traffic_options *options, const struct traffic_option *option);
/* KITH_E_ARG names the option, what was given and what is allowed. */
kith_status traffic_option_parse(struct traffic_options *options, const struct traffic_option *option, const char *text,
                                 kith_error *error);
kith_status traffic_options_check(const struct traffic_options *options, kith_error *error);

/* ---- Events ------------------------------------------------------------------------------------------------------ */

enum traffic_kind {
    TRAFFIC_QUERY_VECTOR = 1, /* row: of the queries' vectors; item: the one last seen in the session, perhaps gone */
    TRAFFIC_QUERY_USER = 2,   /* by the user's id, answered from a profile */
    TRAFFIC_VIEW = 3,
    TRAFFIC_LIKE = 4,   /* of the item viewed just before in the session */
    TRAFFIC_INSERT = 5, /* row: of the items' vectors */
    TRAFFIC_UPDATE = 6, /* the same item with the new vector `row` */
    TRAFFIC_DELETE = 7,
    TRAFFIC_FLIP = 8, /* row: the number of the new generation; all vectors are embedded anew */
    TRAFFIC_KINDS = 9
};

enum traffic_flag {
    TRAFFIC_FILTER_SEGMENT = 1, /* a query wants items of `segment` only */
    TRAFFIC_FILTER_TOPIC = 2,   /* a query wants items of `topic` only */
    TRAFFIC_NIGHTLY = 4         /* an insert or delete of the nightly churn */
};

/* README.md has a table of the fields that each kind fills; the others are TRAFFIC_NONE (topic: 0). */
struct traffic_event {
    uint64_t time_us; /* since midnight before the first event; never goes back */
    uint32_t user, session, item, row, segment;
    uint8_t kind, flags;
    uint16_t topic;
};

/* "query_vector", ..., "flip"; static; "?" for other numbers. */
const char *traffic_kind_name(unsigned kind);

struct traffic_counts {
    uint64_t events, kinds[TRAFFIC_KINDS], sessions;
    uint64_t item_rows, query_rows; /* rows of the items' vectors (the first options.items lie before all events) */
    uint64_t live_items;            /* at the end */
    uint64_t last_us;
};

/* ---- Generator --------------------------------------------------------------------------------------------------- */

struct traffic;

/* KITH_E_ARG, KITH_E_NOMEM. */
kith_status traffic_create(const struct traffic_options *options, struct traffic **traffic, kith_error *error);
/* The next events, *got of them. 0 only at the end; a read also ends behind a flip, so that the state of that moment
 * can be looked at. KITH_E_NOMEM, KITH_E_LIMIT (ids beyond 32 bits); after a failure the generator can only be
 * destroyed. */
kith_status traffic_read(struct traffic *traffic, struct traffic_event *events, size_t room, size_t *got,
                         kith_error *error);
/* Of what was read so far. */
const struct traffic_counts *traffic_get_counts(const struct traffic *traffic);
void traffic_destroy(struct traffic *traffic);

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

struct traffic_space;

/* Generation 0. KITH_E_NOMEM. */
kith_status traffic_space_create(const struct traffic_options *options, struct traffic_space **space,
                                 kith_error *error);
void traffic_space_set_generation(struct traffic_space *space, uint32_t generation);
/* dim floats of length 1 each. The event is an insert or update. */
void traffic_space_item(const struct traffic_space *space, const struct traffic_event *event, float *vector);
/* The event is a query; works for both kinds of query. */
void traffic_space_query(const struct traffic_space *space, const struct traffic_event *event, float *vector);
/* A user's lasting taste at a moment: what a profile would start from. */
void traffic_space_user(const struct traffic_space *space, uint32_t user, uint64_t time_us, float *vector);
/* The insert that made an item of the initial ones, 0..options.items-1, which no trace contains. */
struct traffic_event traffic_space_initial(const struct traffic_space *space, uint32_t item);
void traffic_space_destroy(struct traffic_space *space);

/* ---- Trace files ------------------------------------------------------------------------------------------------- */

struct traffic_trace_writer;

/* The file appears under its name at commit, whole. KITH_E_IO, KITH_E_NOSPACE, KITH_E_NOMEM; KITH_E_ARG if the name
 * belongs to what is not a regular file. */
kith_status traffic_trace_create(const char *path, const struct traffic_options *options,
                                 struct traffic_trace_writer **writer, kith_error *error);
kith_status traffic_trace_write(struct traffic_trace_writer *writer, const struct traffic_event *events, size_t count,
                                kith_error *error);
/* Destroys the writer whatever comes of it. */
kith_status traffic_trace_commit(struct traffic_trace_writer *writer, const struct traffic_counts *counts,
                                 kith_error *error);
void traffic_trace_discard(struct traffic_trace_writer *writer); /* NULL is fine */

struct traffic_reader;

/* KITH_E_FORMAT names file, byte or record and what is wrong there; KITH_E_VERSION, KITH_E_NOTFOUND, KITH_E_IO,
 * KITH_E_NOMEM. Takes memory for what the file can hold, whatever its header claims. */
kith_status traffic_reader_open(const char *path, struct traffic_reader **reader, kith_error *error);
const struct traffic_options *traffic_reader_options(const struct traffic_reader *reader);
/* Counts of the whole trace, as its header says; the end of reading proves them. */
const struct traffic_counts *traffic_reader_counts(const struct traffic_reader *reader);
/* The next events, every one checked: fields in range, times and rows ascending, items that live. *got is 0 at the
 * end, where checksum and counts were found right. Errors as for opening. */
kith_status traffic_reader_next(struct traffic_reader *reader, struct traffic_event *events, size_t room, size_t *got,
                                kith_error *error);
void traffic_reader_close(struct traffic_reader *reader); /* NULL is fine */

#endif
