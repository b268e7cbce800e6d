/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a load's segment: the table, made of payloads as they are checked, in the order of keys; and an index of
 * each named vector by kith_build(), whose rows come from the caller's reader in its order. */
#include "base/checked.h"
#include "base/status.h"
#include "load/load.h"
#include "log/convert.h"
#include "upkeep/seal.h"
#include "write/request.h"

#include <stdio.h>
#include <string.h>

/* ---- The table --------------------------------------------------------------------------------------------------- */

/* What is declared of the payload of a row. */
static kith_status values_of(const ki_load *load, uint64_t row, ki_values *values, kith_error *error) {
    const uint64_t begin = load->end && row ? load->end[row - 1] : 0, bytes = load->end ? load->end[row] - begin : 0;
    char text[KI_LOAD_ROW_TEXT];
    kith_error own = {0};
    const kith_status status = ki_values_of(load->schema, load->payload + begin, (size_t)bytes, 1, values, &own);
    if (status == KITH_OK) return status;
    if (load->options.payloads_path)
        return ki_fail(error, status, "%.100s: line %llu: %s: %s", load->options.payloads_path,
                       (unsigned long long)row + 1, ki_load_row_text(load, row, text), own.text);
    return ki_fail(error, status, "%s: %s", ki_load_row_text(load, row, text), own.text);
}

static kith_status add_rows(ki_load *load, ki_table_writer *writer, kith_error *error) {
    ki_values values = {0};
    kith_status status = KITH_OK;
    for (uint64_t i = 0; i < load->rows && status == KITH_OK; i++) {
        const uint64_t row = load->order[i], begin = load->text && row ? load->text_end[row - 1] : 0;
        status = values_of(load, row, &values, error);
        if (status == KITH_OK)
            status = ki_table_add(writer, load->key[row], load->text ? load->text + begin : NULL,
                                  load->text ? (size_t)(load->text_end[row] - begin) : 0, &values, error);
        if (status == KITH_OK && i % 4096 == 0) status = ki_load_tell(load, "checking items", i, error);
    }
    ki_values_free(&values);
    return status;
}

kith_status ki_load_write_table(ki_load *load, kith_error *error) {
    ki_table_writer *writer = NULL;
    char path[KITH_STRING_MAX];
    ki_snapshot *snapshot = ki_snapshot_pin(load->collection);
    load->schema = snapshot->schema; /* lives as long as the collection */
    ki_snapshot_release(snapshot);
    snprintf(load->made.table.name, KI_BODY_NAME_BYTES, "table.0.kith");
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", load->files, load->made.table.name) >= sizeof(path))
        return ki_fail(error, KITH_E_ARG, "%s: the path is too long", load->files);
    kith_status status =
        ki_table_create(path, load->rows, load->collection->made.id_kind, load->schema, &writer, error);
    if (status != KITH_OK) return status;
    status = add_rows(load, writer, error);
    if (status != KITH_OK) {
        ki_table_abandon(writer);
        return status;
    }
    return ki_table_finish(writer, &load->made.table.bytes, &load->made.table.hash, error);
}

/* ---- Indexes ----------------------------------------------------------------------------------------------------- */

/* Rows of the caller's reader on their way into an index: in the stored type, with keys as ids. */
struct rows {
    const ki_load *load;
    const ki_load_source *source;
    const ki_vector *vector;
    float *floats;
};

static kith_status take_rows(const struct rows *r, const kith_rows *rows, uint64_t first, unsigned char *to,
                             kith_error *error) {
    const kith_dtype from = r->source->info.dtype;
    const size_t row_bytes = kith_row_bytes(from, r->vector->dim);
    kith_status status = KITH_OK;
    if (from == r->vector->dtype) { /* kith_build() looks at them */
        memcpy(to, rows->data, rows->count * row_bytes);
        return KITH_OK;
    }
    for (size_t i = 0; i < rows->count && status == KITH_OK; i++) {
        char item[KI_LOAD_ROW_TEXT];
        kith_error own = {0};
        status = ki_convert_row(r->vector, from, (const unsigned char *)rows->data + i * row_bytes,
                                to + i * r->vector->row_bytes, r->floats, "", &own);
        if (status != KITH_OK)
            status = ki_fail(error, status, "%s%s", ki_load_row_text(r->load, first + i, item), own.text);
    }
    return status;
}

static kith_status read_rows(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                             kith_error *error) {
    const struct rows *r = context;
    kith_reader *reader = r->source->reader;
    unsigned char *to = data;
    kith_status status = kith_reader_seek(reader, first, error);
    for (size_t done = 0; done < count && status == KITH_OK;) {
        kith_rows rows = {0};
        status = kith_reader_next(reader, count - done, &rows, error);
        if (status == KITH_OK && (!rows.count || rows.count > count - done))
            status = ki_fail(error, KITH_E_FORMAT, "%s: has other rows than it had", kith_reader_path(reader));
        if (status == KITH_OK) status = take_rows(r, &rows, first + done, to + done * r->vector->row_bytes, error);
        done += rows.count;
    }
    labels->ids = r->load->key + first;
    return status;
}

static kith_build_options options_of(const ki_load *load, size_t spec) {
    const kith_collection *collection = load->collection;
    kith_build_options options = ki_job_options(collection, &load->generations->vector[spec], load->rows);
    /* Otherwise the maintainer measures it, when nobody waits. */
    options.no_calibration |=
        load->options.no_calibration || (!collection->options.no_background && !collection->in_memory);
    options.threads = load->options.threads;
    options.memory_bytes = load->options.memory_bytes;
    options.progress = load->options.progress;
    options.progress_context = load->options.progress_context;
    return options;
}

static kith_status build(const ki_load *load, struct rows *rows, const char *path, kith_error *error) {
    const kith_build_options options = options_of(load, rows->source->spec);
    kith_reader *reader = NULL;
    kith_source source = KITH_SOURCE_INIT;
    source.name = kith_reader_path(rows->source->reader);
    source.dtype = rows->vector->dtype;
    source.id_kind = KITH_ID_U64;
    source.dim = rows->vector->dim;
    source.rows = load->rows;
    source.read = read_rows;
    source.context = rows;
    kith_status status = kith_reader_from_source(&source, &reader, error);
    if (status == KITH_OK) status = kith_build(reader, path, &options, NULL, error);
    kith_reader_close(reader);
    return status;
}

kith_status ki_load_build_index(ki_load *load, const ki_load_source *source, kith_error *error) {
    struct rows rows = {.load = load, .source = source, .vector = &load->generations->vector[source->spec]};
    ki_body_file *file = &load->made.index[source->spec];
    char path[KITH_STRING_MAX];
    if (file->name[0]) return KITH_OK;
    if ((size_t)snprintf(path, sizeof(path), "%s/vectors.%zu.kith", load->files, source->spec) >= sizeof(path))
        return ki_fail(error, KITH_E_ARG, "%s: the path is too long", load->files);
    rows.floats = ki_alloc_array(rows.vector->dim, sizeof(float));
    if (!rows.floats) return ki_fail(error, KITH_E_NOMEM, "out of memory for a load");
    const kith_status status = build(load, &rows, path, error);
    if (status == KITH_OK) snprintf(file->name, KI_BODY_NAME_BYTES, "vectors.%zu.kith", source->spec);
    free(rows.floats);
    return status;
}
