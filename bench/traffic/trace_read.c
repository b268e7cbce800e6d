/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a trace and believes none of it: the header against its checksum, the size of the file and the ranges of the
 * options; each record against what came before it; the whole against the header's counts and checksum.
 *
 * Deleted items are kept, not live ones, so a header that claims a thousand million items costs nothing. */
#include "trace.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "tally.h"

enum { GROUP = 4096 };

struct traffic_reader {
    struct traffic_options options;
    struct traffic_counts claimed, seen;
    uint64_t hash;
    char *path;
    int fd;
    uint64_t next_item;
    struct traffic_tally gone;
    uint32_t generation;
    XXH3_state_t *state;
    uint8_t buffer[GROUP * TRACE_RECORD_BYTES];
};

/* ---- Header ------------------------------------------------------------------------------------------------------ */

static kith_status read_options(struct traffic_reader *reader, const uint8_t *header, kith_error *error) {
    const size_t count = traffic_option_count();
    if (ki_load_u32(header + TRACE_AT_OPTIONS) != count)
        return ki_fail(error, KITH_E_FORMAT, "%s: byte %d: holds %u options, expected %zu", reader->path,
                       TRACE_AT_OPTIONS, ki_load_u32(header + TRACE_AT_OPTIONS), count);
    for (size_t i = 0; i < count; i++)
        memcpy((char *)&reader->options + traffic_option_table[i].offset, header + TRACE_AT_VALUES + 8 * i, 8);
    kith_error why;
    if (traffic_options_check(&reader->options, &why) != KITH_OK)
        return ki_fail(error, KITH_E_FORMAT, "%s: options: %.300s", reader->path, why.text);
    return KITH_OK;
}

static void read_counts(struct traffic_reader *reader, const uint8_t *header) {
    struct traffic_counts *counts = &reader->claimed;
    counts->events = ki_load_u64(header + TRACE_AT_EVENTS);
    counts->last_us = ki_load_u64(header + TRACE_AT_LAST);
    counts->sessions = ki_load_u64(header + TRACE_AT_SESSIONS);
    counts->item_rows = ki_load_u64(header + TRACE_AT_ITEM_ROWS);
    counts->query_rows = ki_load_u64(header + TRACE_AT_QUERY_ROWS);
    counts->live_items = ki_load_u64(header + TRACE_AT_LIVE);
    for (size_t kind = 1; kind < TRAFFIC_KINDS; kind++)
        counts->kinds[kind] = ki_load_u64(header + TRACE_AT_KINDS + 8 * (kind - 1));
    reader->hash = ki_load_u64(header + TRACE_AT_HASH);
}

static kith_status check_frame(const struct traffic_reader *reader, const uint8_t *header, kith_error *error) {
    if (memcmp(header, TRACE_MAGIC, 8) != 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: byte 0: not a traffic trace", reader->path);
    if (ki_load_u32(header + TRACE_AT_VERSION) != TRACE_VERSION)
        return ki_fail(error, KITH_E_VERSION, "%s: has version %u, this program reads version %d", reader->path,
                       ki_load_u32(header + TRACE_AT_VERSION), TRACE_VERSION);
    if (XXH3_64bits(header, TRACE_AT_HEADER_HASH) != ki_load_u64(header + TRACE_AT_HEADER_HASH))
        return ki_fail(error, KITH_E_FORMAT, "%s: the header does not fit its checksum", reader->path);
    if (ki_load_u32(header + TRACE_AT_HEADER_BYTES) != TRACE_HEADER_BYTES ||
        ki_load_u32(header + TRACE_AT_RECORD_BYTES) != TRACE_RECORD_BYTES)
        return ki_fail(error, KITH_E_FORMAT, "%s: byte %d: sizes of header and record are not %d and %d", reader->path,
                       TRACE_AT_HEADER_BYTES, TRACE_HEADER_BYTES, TRACE_RECORD_BYTES);
    return KITH_OK;
}

static kith_status read_header(struct traffic_reader *reader, uint64_t file_bytes, kith_error *error) {
    uint8_t header[TRACE_HEADER_BYTES];
    uint64_t bytes;
    if (file_bytes < TRACE_HEADER_BYTES)
        return ki_fail(error, KITH_E_FORMAT, "%s: ends at byte %llu, within the header", reader->path,
                       (unsigned long long)file_bytes);
    kith_status status = ki_read_at(reader->fd, reader->path, header, sizeof(header), 0, error);
    if (status == KITH_OK) status = check_frame(reader, header, error);
    if (status == KITH_OK) status = read_options(reader, header, error);
    if (status != KITH_OK) return status;
    read_counts(reader, header);
    if (!ki_mul(reader->claimed.events, TRACE_RECORD_BYTES, &bytes) || !ki_add(bytes, TRACE_HEADER_BYTES, &bytes) ||
        bytes != file_bytes)
        return ki_fail(error, KITH_E_FORMAT, "%s: has %llu bytes, which are not %llu events", reader->path,
                       (unsigned long long)file_bytes, (unsigned long long)reader->claimed.events);
    return KITH_OK;
}

kith_status traffic_reader_open(const char *path, struct traffic_reader **out, kith_error *error) {
    uint64_t bytes = 0;
    struct traffic_reader *reader = calloc(1, sizeof(*reader));
    if (!reader) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    reader->fd = -1;
    reader->state = XXH3_createState();
    reader->path = malloc(strlen(path) + 1);
    if (reader->path) memcpy(reader->path, path, strlen(path) + 1);
    kith_status status = reader->state && reader->path ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) status = ki_open_read(path, &reader->fd, &bytes, error);
    if (status == KITH_OK) status = read_header(reader, bytes, error);
    if (status != KITH_OK) {
        traffic_reader_close(reader);
        return status;
    }
    XXH3_64bits_reset(reader->state);
    reader->next_item = reader->seen.item_rows = reader->seen.live_items = reader->options.items;
    *out = reader;
    return KITH_OK;
}

const struct traffic_options *traffic_reader_options(const struct traffic_reader *reader) {
    return &reader->options;
}

const struct traffic_counts *traffic_reader_counts(const struct traffic_reader *reader) {
    return &reader->claimed;
}

void traffic_reader_close(struct traffic_reader *reader) {
    if (!reader) return;
    if (reader->fd >= 0) close(reader->fd);
    XXH3_freeState(reader->state);
    traffic_tally_free(&reader->gone);
    free(reader->path);
    free(reader);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static const char *check_item(const struct traffic_reader *reader, uint32_t item) {
    if (item >= reader->next_item) return "names an item that was never inserted";
    return traffic_tally_count(&reader->gone, item) ? "names an item that was deleted" : NULL;
}

static const char *check_user(const struct traffic_reader *reader, const struct traffic_event *event) {
    const struct traffic_options *options = &reader->options;
    if (event->user >= options->users) return "names a user beyond the last";
    if (event->session > reader->seen.sessions) return "names a session before the ones that begin earlier";
    return NULL;
}

static const char *check_query(const struct traffic_reader *reader, const struct traffic_event *event) {
    const bool vector = event->kind == TRAFFIC_QUERY_VECTOR;
    if (event->flags & ~(unsigned)(TRAFFIC_FILTER_SEGMENT | TRAFFIC_FILTER_TOPIC)) return "has flags of other kinds";
    if (event->row != (vector ? reader->seen.query_rows : TRAFFIC_NONE)) return "has the wrong row";
    /* A query may start from an item that is gone by now. */
    if (event->item != TRAFFIC_NONE && (!vector || event->item >= reader->next_item)) return "names an unknown item";
    return check_user(reader, event);
}

static const char *check_feedback(const struct traffic_reader *reader, const struct traffic_event *event) {
    if (event->flags) return "has flags of other kinds";
    if (event->row != TRAFFIC_NONE) return "has a row";
    const char *wrong = check_user(reader, event);
    if (!wrong && event->session == reader->seen.sessions) return "begins a session, which only a query does";
    return wrong ? wrong : check_item(reader, event->item);
}

static const char *check_change(const struct traffic_reader *reader, const struct traffic_event *event) {
    const unsigned flags = event->kind == TRAFFIC_UPDATE ? 0 : TRAFFIC_NIGHTLY;
    if (event->flags & ~flags) return "has flags of other kinds";
    if (event->user != TRAFFIC_NONE || event->session != TRAFFIC_NONE) return "has a user or session";
    if (event->row != (event->kind == TRAFFIC_DELETE ? TRAFFIC_NONE : reader->seen.item_rows))
        return "has the wrong row";
    if (event->kind == TRAFFIC_INSERT) return event->item == reader->next_item ? NULL : "does not insert the next item";
    return check_item(reader, event->item);
}

static const char *check_flip(const struct traffic_reader *reader, const struct traffic_event *event) {
    const bool bare = event->user == TRAFFIC_NONE && event->session == TRAFFIC_NONE && event->item == TRAFFIC_NONE &&
                      event->segment == TRAFFIC_NONE && !event->flags && !event->topic;
    if (!bare) return "is a flip with fields of other kinds";
    return event->row == reader->generation + 1 ? NULL : "does not flip to the next generation";
}

/* NULL, or what is wrong with the event. */
static const char *check(const struct traffic_reader *reader, const struct traffic_event *event) {
    if (event->time_us < reader->seen.last_us) return "is earlier than the one before";
    if ((double)event->time_us > reader->options.days * (double)TRAFFIC_DAY_US) return "is later than the last day";
    if (event->kind == TRAFFIC_FLIP) return check_flip(reader, event);
    if (event->segment >= reader->options.segments) return "names a segment beyond the last";
    if (event->topic >= reader->options.topics) return "names a topic beyond the last";
    switch (event->kind) {
    case TRAFFIC_QUERY_VECTOR:
    case TRAFFIC_QUERY_USER:
        return check_query(reader, event);
    case TRAFFIC_VIEW:
    case TRAFFIC_LIKE:
        return check_feedback(reader, event);
    case TRAFFIC_INSERT:
    case TRAFFIC_UPDATE:
    case TRAFFIC_DELETE:
        return check_change(reader, event);
    default:
        return "is of no known kind";
    }
}

/* False when memory is refused. */
static bool take(struct traffic_reader *reader, const struct traffic_event *event) {
    struct traffic_counts *seen = &reader->seen;
    if (event->kind == TRAFFIC_DELETE) {
        if (!traffic_tally_add(&reader->gone, event->item)) return false;
        seen->live_items--;
    } else if (event->kind == TRAFFIC_INSERT) {
        reader->next_item++;
        seen->live_items++;
    } else if (event->kind == TRAFFIC_FLIP) {
        reader->generation++;
    }
    if (event->kind == TRAFFIC_INSERT || event->kind == TRAFFIC_UPDATE) seen->item_rows++;
    if (event->kind == TRAFFIC_QUERY_VECTOR) seen->query_rows++;
    if (event->session != TRAFFIC_NONE && event->session == seen->sessions) seen->sessions++;
    seen->events++;
    seen->kinds[event->kind]++;
    seen->last_us = event->time_us;
    return true;
}

static kith_status check_end(struct traffic_reader *reader, kith_error *error) {
    if (XXH3_64bits_digest(reader->state) != reader->hash)
        return ki_fail(error, KITH_E_FORMAT, "%s: the events do not fit their checksum", reader->path);
    if (memcmp(&reader->seen, &reader->claimed, sizeof(reader->seen)) != 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: the header's counts are not those of the events", reader->path);
    return KITH_OK;
}

static kith_status take_group(struct traffic_reader *reader, struct traffic_event *events, size_t count,
                              kith_error *error) {
    for (size_t i = 0; i < count; i++) {
        traffic_record_decode(reader->buffer + i * TRACE_RECORD_BYTES, &events[i]);
        const char *wrong = check(reader, &events[i]);
        if (wrong)
            return ki_fail(error, KITH_E_FORMAT, "%s: event %llu (%s) %s", reader->path,
                           (unsigned long long)reader->seen.events, traffic_kind_name(events[i].kind), wrong);
        if (!take(reader, &events[i])) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    return KITH_OK;
}

kith_status traffic_reader_next(struct traffic_reader *reader, struct traffic_event *events, size_t room, size_t *got,
                                kith_error *error) {
    const uint64_t left = reader->claimed.events - reader->seen.events;
    const size_t wanted = (size_t)ki_min_u64(left, room);
    for (size_t done = 0; done < wanted;) {
        const size_t count = ki_min_size(wanted - done, GROUP), bytes = count * TRACE_RECORD_BYTES;
        const uint64_t at = TRACE_HEADER_BYTES + reader->seen.events * TRACE_RECORD_BYTES;
        kith_status status = ki_read_at(reader->fd, reader->path, reader->buffer, bytes, at, error);
        if (status == KITH_OK) status = take_group(reader, events + done, count, error);
        if (status != KITH_OK) return status;
        XXH3_64bits_update(reader->state, reader->buffer, bytes);
        done += count;
    }
    if (wanted == left) {
        const kith_status status = check_end(reader, error);
        if (status != KITH_OK) return status;
    }
    *got = wanted;
    return KITH_OK;
}
