/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that a run writes, fed with events: trace, NDJSON, vectors. */
#ifndef KITH_TRAFFIC_WRITE_H
#define KITH_TRAFFIC_WRITE_H

#include "npy.h"
#include "traffic.h"

struct traffic_write_names {
    const char *trace;   /* NULL: none */
    const char *ndjson;  /* NULL: none; "-": standard output */
    const char *vectors; /* the folder of the .npy files, made if need be; NULL: none */
};

struct traffic_write {
    struct traffic_options options;
    struct traffic_write_names names;
    struct traffic_trace_writer *trace;
    struct traffic_output ndjson;
    bool has_ndjson;
    struct traffic_space *space; /* NULL: no vectors */
    struct traffic_npy items, queries;
};

/* Opens the files, and writes the vectors of initial items and users. */
kith_status traffic_write_open(struct traffic_write *write, const struct traffic_write_names *names,
                               const struct traffic_options *options, kith_error *error);
/* Events as they were read from `traffic`; a flip must be the last one, so that the live items are those of its moment.
 * traffic may be NULL where no vectors are asked for. */
kith_status traffic_write_events(struct traffic_write *write, const struct traffic *traffic,
                                 const struct traffic_event *events, size_t count, kith_error *error);
kith_status traffic_write_commit(struct traffic_write *write, const struct traffic_counts *counts, kith_error *error);
void traffic_write_discard(struct traffic_write *write); /* fine after commit */

/* One event as a line of JSON with its newline; returns its bytes, at most TRAFFIC_LINE_BYTES. */
enum { TRAFFIC_LINE_BYTES = 256 };
size_t traffic_line(const struct traffic_options *options, const struct traffic_event *event, char *line);

#endif
