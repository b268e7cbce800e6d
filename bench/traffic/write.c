/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/status.h"
#include "events.h"

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* "<folder>/<what>.npy", or of a later generation "<folder>/<what>.g<n>.npy". NULL when memory is refused. */
static char *file_name(const struct traffic_write *write, const char *what, uint32_t generation) {
    char *path = NULL;
    const char *folder = write->names.vectors;
    const int made = generation ? asprintf(&path, "%s/%s.g%u.npy", folder, what, generation)
                                : asprintf(&path, "%s/%s.npy", folder, what);
    return made < 0 ? NULL : path;
}

/* The paths must outlive the files that are open under them, for messages: ki_outfile keeps its own copy. */
static kith_status open_npy(const struct traffic_write *write, struct traffic_npy *npy, const char *what,
                            uint32_t generation, size_t dim, kith_error *error) {
    char *path = file_name(write, what, generation);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    const kith_status status = traffic_npy_open(npy, path, dim, error);
    free(path);
    return status;
}

/* ---- Vectors of many --------------------------------------------------------------------------------------------- */

static kith_status write_users(const struct traffic_write *write, uint32_t generation, uint64_t time_us,
                               kith_error *error) {
    struct traffic_npy npy = {.dim = 0};
    kith_status status = open_npy(write, &npy, "users", generation, (size_t)write->options.dim, error);
    for (uint64_t user = 0; user < write->options.users && status == KITH_OK; user++) {
        float *row = traffic_npy_row(&npy, error);
        if (!row) {
            status = error ? error->status : KITH_E_IO;
        } else {
            traffic_space_user(write->space, (uint32_t)user, time_us, row);
        }
    }
    if (status == KITH_OK) status = traffic_npy_commit(&npy, error);
    traffic_npy_discard(&npy);
    return status;
}

static kith_status write_item(struct traffic_write *write, struct traffic_npy *npy, const struct traffic_event *event,
                              kith_error *error) {
    float *row = traffic_npy_row(npy, error);
    if (!row) return error ? error->status : KITH_E_IO;
    traffic_space_item(write->space, event, row);
    return KITH_OK;
}

static kith_status write_initial_items(struct traffic_write *write, kith_error *error) {
    kith_status status = KITH_OK;
    for (uint64_t i = 0; i < write->options.items && status == KITH_OK; i++) {
        const struct traffic_event event = traffic_space_initial(write->space, (uint32_t)i);
        status = write_item(write, &write->items, &event, error);
    }
    return status;
}

/* All live items embedded anew, with a second file that says which items the rows are. */
static kith_status write_generation(struct traffic_write *write, const struct traffic *traffic, uint32_t generation,
                                    kith_error *error) {
    const struct traffic_catalog *catalog = traffic_get_catalog(traffic);
    struct traffic_npy vectors = {.dim = 0}, ids = {.dim = 0};
    kith_status status = open_npy(write, &vectors, "items", generation, (size_t)write->options.dim, error);
    if (status == KITH_OK) status = open_npy(write, &ids, "ids", generation, 0, error);
    for (uint32_t slot = 0; slot < catalog->live && status == KITH_OK; slot++) {
        const struct traffic_slot *item = traffic_catalog_slot(catalog, slot);
        const struct traffic_event event = {
            .item = item->item, .row = item->row, .topic = (uint16_t)(item->list % write->options.topics)};
        uint32_t *id = traffic_npy_row(&ids, error);
        status = id ? write_item(write, &vectors, &event, error) : error ? error->status : KITH_E_IO;
        if (id) *id = item->item;
    }
    if (status == KITH_OK) status = traffic_npy_commit(&vectors, error);
    if (status == KITH_OK) status = traffic_npy_commit(&ids, error);
    traffic_npy_discard(&vectors);
    traffic_npy_discard(&ids);
    return status;
}

static kith_status flip(struct traffic_write *write, const struct traffic *traffic, const struct traffic_event *event,
                        kith_error *error) {
    traffic_space_set_generation(write->space, event->row);
    const kith_status status = write_generation(write, traffic, event->row, error);
    return status == KITH_OK ? write_users(write, event->row, event->time_us, error) : status;
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static kith_status write_vector(struct traffic_write *write, const struct traffic *traffic,
                                const struct traffic_event *event, kith_error *error) {
    if (event->kind == TRAFFIC_INSERT || event->kind == TRAFFIC_UPDATE)
        return write_item(write, &write->items, event, error);
    if (event->kind == TRAFFIC_FLIP) return flip(write, traffic, event, error);
    if (event->kind != TRAFFIC_QUERY_VECTOR) return KITH_OK;
    float *row = traffic_npy_row(&write->queries, error);
    if (!row) return error ? error->status : KITH_E_IO;
    traffic_space_query(write->space, event, row);
    return KITH_OK;
}

static kith_status write_line(struct traffic_write *write, const struct traffic_event *event, kith_error *error) {
    uint8_t *room = traffic_output_room(&write->ndjson, TRAFFIC_LINE_BYTES, error);
    if (!room) return error ? error->status : KITH_E_IO;
    write->ndjson.used += traffic_line(&write->options, event, (char *)room);
    return KITH_OK;
}

kith_status traffic_write_events(struct traffic_write *write, const struct traffic *traffic,
                                 const struct traffic_event *events, size_t count, kith_error *error) {
    kith_status status = write->trace ? traffic_trace_write(write->trace, events, count, error) : KITH_OK;
    for (size_t i = 0; i < count && write->has_ndjson && status == KITH_OK; i++)
        status = write_line(write, &events[i], error);
    for (size_t i = 0; i < count && write->space && status == KITH_OK; i++)
        status = write_vector(write, traffic, &events[i], error);
    return status;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static kith_status open_vectors(struct traffic_write *write, kith_error *error) {
    const size_t dim = (size_t)write->options.dim;
    if (mkdir(write->names.vectors, 0777) != 0 && errno != EEXIST)
        return ki_fail_errno(error, errno, "%s: cannot make the folder", write->names.vectors);
    kith_status status = traffic_space_create(&write->options, &write->space, error);
    if (status == KITH_OK) status = open_npy(write, &write->items, "items", 0, dim, error);
    if (status == KITH_OK) status = open_npy(write, &write->queries, "queries", 0, dim, error);
    if (status == KITH_OK) status = write_initial_items(write, error);
    return status == KITH_OK ? write_users(write, 0, 0, error) : status;
}

kith_status traffic_write_open(struct traffic_write *write, const struct traffic_write_names *names,
                               const struct traffic_options *options, kith_error *error) {
    *write = (struct traffic_write){.options = *options, .names = *names};
    kith_status status = KITH_OK;
    if (names->trace) status = traffic_trace_create(names->trace, options, &write->trace, error);
    if (status == KITH_OK && names->ndjson) status = traffic_output_open(&write->ndjson, names->ndjson, false, error);
    write->has_ndjson = status == KITH_OK && names->ndjson;
    if (status == KITH_OK && names->vectors) status = open_vectors(write, error);
    if (status != KITH_OK) traffic_write_discard(write);
    return status;
}

kith_status traffic_write_commit(struct traffic_write *write, const struct traffic_counts *counts, kith_error *error) {
    kith_status status = KITH_OK;
    if (write->space) status = traffic_npy_commit(&write->items, error);
    if (status == KITH_OK && write->space) status = traffic_npy_commit(&write->queries, error);
    if (status == KITH_OK && write->has_ndjson) status = traffic_output_commit(&write->ndjson, error);
    if (status == KITH_OK && write->trace) {
        status = traffic_trace_commit(write->trace, counts, error);
        write->trace = NULL;
    }
    traffic_write_discard(write);
    return status;
}

void traffic_write_discard(struct traffic_write *write) {
    traffic_trace_discard(write->trace);
    write->trace = NULL;
    traffic_output_discard(&write->ndjson);
    traffic_npy_discard(&write->items);
    traffic_npy_discard(&write->queries);
    traffic_space_destroy(write->space);
    write->space = NULL;
}
