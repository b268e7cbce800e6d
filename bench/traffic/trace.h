/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a trace file, all numbers little-endian; README.md draws them. A header of 512 bytes, then one record of
 * 32 bytes an event, and nothing behind the last.
 *
 * A trace is valid if and only if every field is in the range that trace_read.c checks, the counts of the header are
 * those of the records, and both checksums (XXH3, 64 bits) fit. */
#ifndef KITH_TRAFFIC_TRACE_H
#define KITH_TRAFFIC_TRACE_H

#include "traffic.h"

#define TRACE_MAGIC "\x93KTRAFFC"

enum {
    TRACE_VERSION = 1,
    TRACE_HEADER_BYTES = 512,
    TRACE_RECORD_BYTES = 32,
    TRACE_OPTIONS_MAX = 43,
    /* places in the header */
    TRACE_AT_VERSION = 8,
    TRACE_AT_HEADER_BYTES = 12,
    TRACE_AT_RECORD_BYTES = 16,
    TRACE_AT_OPTIONS = 20, /* how many */
    TRACE_AT_EVENTS = 24,  /* records */
    TRACE_AT_HASH = 32,    /* of all records */
    TRACE_AT_LAST = 40,    /* time of the last event */
    TRACE_AT_SESSIONS = 48,
    TRACE_AT_ITEM_ROWS = 56,
    TRACE_AT_QUERY_ROWS = 64,
    TRACE_AT_LIVE = 72,
    TRACE_AT_KINDS = 80,       /* eight counts, of kinds 1 to 8; then zeros */
    TRACE_AT_VALUES = 160,     /* the options: u64 or f64 each; then zeros */
    TRACE_AT_HEADER_HASH = 504 /* of the 504 bytes before */
};

void traffic_record_encode(const struct traffic_event *event, uint8_t record[TRACE_RECORD_BYTES]);
void traffic_record_decode(const uint8_t record[TRACE_RECORD_BYTES], struct traffic_event *event);
void traffic_header_encode(const struct traffic_options *options, const struct traffic_counts *counts, uint64_t hash,
                           uint8_t header[TRACE_HEADER_BYTES]);

#endif
