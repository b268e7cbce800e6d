/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/status.h"
#include "output.h"

struct traffic_trace_writer {
    struct traffic_options options;
    struct traffic_output output;
    XXH3_state_t *hash;
};

void traffic_record_encode(const struct traffic_event *event, uint8_t record[TRACE_RECORD_BYTES]) {
    ki_store_u64(record, event->time_us);
    ki_store_u32(record + 8, event->user);
    ki_store_u32(record + 12, event->session);
    ki_store_u32(record + 16, event->item);
    ki_store_u32(record + 20, event->row);
    ki_store_u32(record + 24, event->segment);
    ki_store_u32(record + 28, (uint32_t)event->kind | (uint32_t)event->flags << 8 | (uint32_t)event->topic << 16);
}

void traffic_record_decode(const uint8_t record[TRACE_RECORD_BYTES], struct traffic_event *event) {
    *event = (struct traffic_event){.time_us = ki_load_u64(record),
                                    .user = ki_load_u32(record + 8),
                                    .session = ki_load_u32(record + 12),
                                    .item = ki_load_u32(record + 16),
                                    .row = ki_load_u32(record + 20),
                                    .segment = ki_load_u32(record + 24),
                                    .kind = record[28],
                                    .flags = record[29],
                                    .topic = ki_load_u16(record + 30)};
}

void traffic_header_encode(const struct traffic_options *options, const struct traffic_counts *counts, uint64_t hash,
                           uint8_t header[TRACE_HEADER_BYTES]) {
    memset(header, 0, TRACE_HEADER_BYTES);
    memcpy(header, TRACE_MAGIC, 8);
    ki_store_u32(header + TRACE_AT_VERSION, TRACE_VERSION);
    ki_store_u32(header + TRACE_AT_HEADER_BYTES, TRACE_HEADER_BYTES);
    ki_store_u32(header + TRACE_AT_RECORD_BYTES, TRACE_RECORD_BYTES);
    ki_store_u32(header + TRACE_AT_OPTIONS, (uint32_t)traffic_option_count());
    ki_store_u64(header + TRACE_AT_EVENTS, counts->events);
    ki_store_u64(header + TRACE_AT_HASH, hash);
    ki_store_u64(header + TRACE_AT_LAST, counts->last_us);
    ki_store_u64(header + TRACE_AT_SESSIONS, counts->sessions);
    ki_store_u64(header + TRACE_AT_ITEM_ROWS, counts->item_rows);
    ki_store_u64(header + TRACE_AT_QUERY_ROWS, counts->query_rows);
    ki_store_u64(header + TRACE_AT_LIVE, counts->live_items);
    for (size_t kind = 1; kind < TRAFFIC_KINDS; kind++)
        ki_store_u64(header + TRACE_AT_KINDS + 8 * (kind - 1), counts->kinds[kind]);
    for (size_t i = 0; i < traffic_option_count(); i++)
        memcpy(header + TRACE_AT_VALUES + 8 * i, (const char *)options + traffic_option_table[i].offset, 8);
    ki_store_u64(header + TRACE_AT_HEADER_HASH, XXH3_64bits(header, TRACE_AT_HEADER_HASH));
}

kith_status traffic_trace_create(const char *path, const struct traffic_options *options,
                                 struct traffic_trace_writer **out, kith_error *error) {
    static const uint8_t no_header[TRACE_HEADER_BYTES];
    struct traffic_trace_writer *writer = calloc(1, sizeof(*writer));
    if (!writer) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    writer->options = *options;
    kith_status status = KITH_OK;
    if (!(writer->hash = XXH3_createState())) status = ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) status = traffic_output_open(&writer->output, path, true, error);
    if (status == KITH_OK) status = traffic_output_write(&writer->output, no_header, sizeof(no_header), error);
    if (status != KITH_OK) {
        traffic_trace_discard(writer);
        return status;
    }
    XXH3_64bits_reset(writer->hash);
    *out = writer;
    return KITH_OK;
}

kith_status traffic_trace_write(struct traffic_trace_writer *writer, const struct traffic_event *events, size_t count,
                                kith_error *error) {
    enum { GROUP = 1024 };
    for (size_t done = 0; done < count;) {
        const size_t group = count - done < GROUP ? count - done : GROUP;
        const size_t bytes = group * TRACE_RECORD_BYTES;
        uint8_t *room = traffic_output_room(&writer->output, bytes, error);
        if (!room) return error ? error->status : KITH_E_IO;
        for (size_t i = 0; i < group; i++) traffic_record_encode(&events[done + i], room + i * TRACE_RECORD_BYTES);
        XXH3_64bits_update(writer->hash, room, bytes);
        writer->output.used += bytes;
        done += group;
    }
    return KITH_OK;
}

kith_status traffic_trace_commit(struct traffic_trace_writer *writer, const struct traffic_counts *counts,
                                 kith_error *error) {
    uint8_t header[TRACE_HEADER_BYTES];
    traffic_header_encode(&writer->options, counts, XXH3_64bits_digest(writer->hash), header);
    kith_status status = traffic_output_patch(&writer->output, header, sizeof(header), 0, error);
    if (status == KITH_OK) status = traffic_output_commit(&writer->output, error);
    traffic_trace_discard(writer);
    return status;
}

void traffic_trace_discard(struct traffic_trace_writer *writer) {
    if (!writer) return;
    traffic_output_discard(&writer->output);
    XXH3_freeState(writer->hash);
    free(writer);
}
