/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_collection_load: what was asked for is checked, then its stages follow each other (load.h). */
#include "load/load.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/status.h"
#include "segment/home.h"
#include "state/generations.h"
#include "upkeep/maintain.h"

#include <stdio.h>
#include <string.h>

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

kith_status ki_load_tell(const ki_load *load, const char *stage, uint64_t done, kith_error *error) {
    const kith_progress progress = {
        .struct_size = sizeof(progress), .stage = stage, .unit = "items", .done = done, .total = load->rows};
    if (!load->options.progress || !load->options.progress(load->options.progress_context, &progress)) return KITH_OK;
    return ki_fail(error, KITH_E_CANCELLED, "loading was cancelled");
}

const char *ki_load_row_text(const ki_load *load, uint64_t row, char text[KI_LOAD_ROW_TEXT]) {
    const int used = snprintf(text, KI_LOAD_ROW_TEXT, "%.100s: row %llu", kith_reader_path(load->source[0].reader),
                              (unsigned long long)row);
    const uint64_t begin = load->text && row ? load->text_end[row - 1] : 0;
    if (used < 0) return "";
    char *to = text + used;
    const size_t room = KI_LOAD_ROW_TEXT - (size_t)used;
    if (load->text)
        snprintf(to, room, " (id \"%.*s\")", (int)ki_min_u64(load->text_end[row] - begin, 64), load->text + begin);
    else if (load->key && load->collection->made.id_kind == KITH_ID_U64)
        snprintf(to, room, " (id %llu)", (unsigned long long)load->key[row]);
    return text;
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

static kith_status take_source(ki_load *load, const kith_load_vectors *given, kith_error *error) {
    ki_load_source *source = &load->source[load->sources];
    *source = (ki_load_source){.reader = given->reader, .info = KITH_READER_INFO_INIT};
    if (!given->reader) return ki_fail(error, KITH_E_ARG, "vectors[%zu].reader is NULL", load->sources);
    const ki_generations *generations = load->generations;
    kith_status status =
        ki_generations_slot(generations, ki_generations_current(generations), given->name, &source->spec, error);
    if (status != KITH_OK) return status;
    kith_reader_get_info(given->reader, &source->info);
    const ki_vector *vector = &generations->vector[source->spec];
    const kith_reader_info *info = &source->info;
    const char *path = kith_reader_path(given->reader);
    for (size_t s = 0; s < load->sources; s++)
        if (load->source[s].spec == source->spec)
            return ki_fail(error, KITH_E_ARG, "vector \"%s\" is given twice", vector->name);
    if ((info->dtype == KITH_B1) != (vector->dtype == KITH_B1))
        return ki_fail(error, KITH_E_ARG, "%s: has rows of %s, and vector \"%s\" of the collection is of %s", path,
                       kith_dtype_name(info->dtype), vector->name, vector->dtype == KITH_B1 ? "bits" : "numbers");
    if (info->dim != vector->dim)
        return ki_fail(error, KITH_E_ARG,
                       "%s: has vectors of %zu elements, and vector \"%s\" of the collection has %zu", path, info->dim,
                       vector->name, vector->dim);
    if (load->sources && info->rows != load->rows)
        return ki_fail(error, KITH_E_ARG, "%s: has %llu rows, and %s has %llu", path, (unsigned long long)info->rows,
                       kith_reader_path(load->source[0].reader), (unsigned long long)load->rows);
    load->rows = info->rows;
    load->sources++;
    return KITH_OK;
}

/* Numbers where the rows have no ids are those of the rows. */
static kith_status check_ids(const ki_load *load, kith_error *error) {
    const kith_id_kind of_rows = load->source[0].info.id_kind, wanted = load->collection->made.id_kind;
    const char *path = kith_reader_path(load->source[0].reader);
    if (load->rows > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: has %llu rows, and a segment holds at most %llu", path,
                       (unsigned long long)load->rows, (unsigned long long)KITH_ROWS_MAX);
    if ((of_rows == KITH_ID_STRING) == (wanted == KITH_ID_STRING)) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "%s: its ids are %s, and those of the collection are %s", path,
                   of_rows == KITH_ID_STRING ? "strings"
                   : of_rows == KITH_ID_ROW  ? "the numbers of its rows"
                                             : "numbers",
                   wanted == KITH_ID_STRING ? "strings" : "numbers");
}

static kith_status check_options(const kith_load_options *options, kith_error *error) {
    if (options->mode != KITH_UPSERT && options->mode != KITH_INSERT)
        return ki_fail(error, KITH_E_ARG, "mode is %d: a load inserts or upserts", (int)options->mode);
    if (options->payloads_path && options->payloads)
        return ki_fail(error, KITH_E_ARG, "payloads come from a file or from a function, not from both");
    if (options->expires_ms > INT64_MAX) return ki_fail(error, KITH_E_LIMIT, "the items expire too far away");
    return KITH_OK;
}

static kith_status check(ki_load *load, const kith_load_vectors *vectors, size_t count, kith_error *error) {
    kith_status status = check_options(&load->options, error);
    if (status == KITH_OK && count > KITH_VECTORS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%zu named vectors: %u are the most", count, KITH_VECTORS_MAX);
    for (size_t v = 0; v < count && status == KITH_OK; v++) status = take_source(load, &vectors[v], error);
    return status == KITH_OK ? check_ids(load, error) : status;
}

/* ---- The stages -------------------------------------------------------------------------------------------------- */

/* What is built is taken over; the rest is built, and kept piece by piece. */
static kith_status build(ki_load *load, kith_error *error) {
    kith_status status = ki_load_stage(load, error);
    if (status != KITH_OK) return status;
    if (!load->built) status = ki_load_write_items(load, error);
    if (status == KITH_OK) status = ki_load_map_items(load, load->built, error);
    if (status == KITH_OK) status = ki_load_sort(load, error);
    if (status == KITH_OK && load->options.mode == KITH_INSERT) status = ki_load_refuse_known(load, error);
    if (status == KITH_OK && !load->built) {
        status = ki_load_write_table(load, error);
        if (status == KITH_OK) status = ki_load_keep(load, error);
    }
    for (size_t s = 0; s < load->sources && status == KITH_OK; s++) {
        status = ki_load_build_index(load, &load->source[s], error);
        if (status == KITH_OK) status = ki_load_keep(load, error);
    }
    return status;
}

static kith_status open_made(ki_load *load, kith_error *error) {
    const kith_collection *c = load->collection;
    const ki_sealed_where where = ki_collection_where(load->collection, load->generations);
    const kith_status status = ki_sealed_open_made(&where, load->number, &load->made, &load->sealed, error);
    /* In memory alone nobody opens them again: they live as long as they are mapped. */
    if (status == KITH_OK && c->in_memory) ki_sealed_remove_files(load->sealed->folder, NULL);
    return status;
}

/* Whether what is built may be of use to a later load: where nothing was wrong with the rows. */
static int may_resume(const ki_load *load, kith_status status) {
    const int stopped = status == KITH_E_CANCELLED || status == KITH_E_NOSPACE || status == KITH_E_IO ||
                        status == KITH_E_NOMEM || status == KITH_E_BUSY;
    return stopped && load->built && !load->collection->in_memory;
}

static kith_status run(ki_load *load, kith_error *error) {
    int known = 1;
    kith_status status = build(load, error);
    if (status == KITH_OK) status = ki_load_place(load, error);
    if (status == KITH_OK) status = open_made(load, error);
    if (status == KITH_OK) status = ki_load_commit(load, &known, error);
    ki_sealed_release(load->sealed);
    ki_load_unmap_items(load);
    if (!known) return status;
    if (status != KITH_OK) ki_load_displace(load);
    if (!may_resume(load, status) && load->folder && status != KITH_E_ARG) ki_load_clear(load);
    return status;
}

static void end(ki_load *load) {
    free(load->order);
    free(load->text);
    free(load->text_end);
    free(load->folder);
    free(load->files);
    free(load->items_path);
    free(load->manifest_path);
    free(load);
}

/* ---- The verb ---------------------------------------------------------------------------------------------------- */

/* One load at a time. */
static kith_status begin(kith_collection *collection, kith_error *error) {
    pthread_mutex_lock(&collection->writing);
    kith_status status = ki_collection_writable(collection, error);
    if (status == KITH_OK && collection->loading)
        status = ki_fail(error, KITH_E_BUSY, "%s: another load is running", collection->path);
    if (status == KITH_OK) collection->loading = 1;
    pthread_mutex_unlock(&collection->writing);
    return status;
}

static kith_status load_rows(ki_load *load, kith_error *error) {
    kith_collection *collection = load->collection;
    kith_status status = begin(collection, error);
    if (status != KITH_OK) return status;
    load->report.version = collection->version;
    if (load->rows) status = run(load, error);
    pthread_mutex_lock(&collection->writing);
    collection->loading = 0;
    pthread_mutex_unlock(&collection->writing);
    if (status == KITH_OK) ki_maintain_wake(collection);
    return status;
}

kith_status kith_collection_load(kith_collection *collection, const kith_load_vectors *vectors, size_t vector_count,
                                 const kith_load_options *options, kith_load_report *report, kith_error *error) {
    const uint64_t start_ns = ki_now_ns();
    if (!collection || !vectors || !vector_count)
        return ki_fail(error, KITH_E_ARG, "kith_collection_load: collection or vectors is NULL");
    kith_status status = ki_grown_check(KI_GROWN_LOAD_REPORT, report, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    ki_load *load = ki_alloc_array_zeroed(1, sizeof(*load));
    if (!load) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    load->collection = collection;
    load->generations = ki_collection_generations(collection);
    load->options = (kith_load_options)KITH_LOAD_OPTIONS_INIT;
    load->report = (kith_load_report)KITH_LOAD_REPORT_INIT;
    load->map_slot = -1;
    status = ki_grown_read(KI_GROWN_LOAD_OPTIONS, options, &load->options, error);
    if (status == KITH_OK) status = check(load, vectors, vector_count, error);
    if (status == KITH_OK) status = load_rows(load, error);
    load->report.total_ns = ki_now_ns() - start_ns;
    if (status == KITH_OK) ki_grown_write(KI_GROWN_LOAD_REPORT, &load->report, report);
    end(load);
    return status;
}
