/* SPDX-License-Identifier: Apache-2.0
 *
 * What callers send to find a call again: the W3C's traceparent [Trace Context, level 1] and a request's id. */
#ifndef KITH_SERVER_WATCH_TRACE_H
#define KITH_SERVER_WATCH_TRACE_H

typedef struct ks_trace {
    char trace[33], parent[17]; /* lower-case hex */
    unsigned sampled;           /* whether the caller records it */
} ks_trace;

/* header: the value of "traceparent", or NULL. 1; 0: there is none, or it is none that the standard allows. */
int ks_trace_parse(const char *header, ks_trace *trace);
/* Whether an id of a request may stand in a log: 1..128 letters, digits and "._-:+/=@". */
int ks_trace_is_id(const char *id);

#endif
