/* SPDX-License-Identifier: Apache-2.0
 *
 * From a job's rows to files: a table, and an index of each named vector that any row has, by kith_build(). Vectors are
 * copied as they are stored, bit for bit; only positions and keys of one name at a time are in memory.
 *
 * Declared values come from a head that has the same fields, from the tables of old segments, or, where those lack a
 * field that was declared later, from payloads: the head's own, or the catalog's. Those may be newer than the row: then
 * the row is dead by the time when this is published. */
#include "base/checked.h"
#include "base/status.h"
#include "upkeep/calibrate.h"
#include "upkeep/helper.h"
#include "upkeep/seal.h"
#include "view/query.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    /* Where kith_build() would still make one list: lists make exact searches of 11,000 x 384 clustered floats three to
     * four times faster (280 to 70 us), and cost the build half as much again. Fewer rows gain nothing. */
    LISTS_FROM = 10000,
    LISTS_OF_BUILD = 16384,
    /* Where searches ask for lists, in haste too: 4,000 x 384 are scanned in 35 us, searched by lists in 12. */
    LISTS_ASKED_FROM = 512,
    ROWS_A_LOOK = 4096, /* rows of a table between two looks whether to stop */
    AHEAD = 8           /* rows fetched before they are copied, as in index/vectors.c */
};
/* Working memory: a collection shares its machine with searches. A graph takes about the second a row, and where it
 * would take more than the last, which is kith_build()'s own, segments have none. Guesses. */
static const uint64_t BUILD_BYTES = UINT64_C(256) << 20, BUILD_ROW_BYTES = 1024, BUILD_BYTES_MOST = UINT64_C(1) << 30;

/* ---- Being watched ----------------------------------------------------------------------------------------------- */

/* Rows done so far, which never go back: each part counts alike. */
static void note(ki_job *job, uint64_t done, uint64_t total) {
    const double within = total ? (double)done / (double)total : 0;
    const double share = ((double)job->part + within) / (double)(job->parts ? job->parts : 1);
    const uint64_t rows = (uint64_t)(share * (double)job->rows);
    if (rows > atomic_load(&job->watch->done)) atomic_store(&job->watch->done, rows);
}

int ki_job_watched(void *context, const kith_progress *progress) {
    ki_job *job = context;
    if (!job->watch) return 0;
    note(job, progress->done, progress->total);
    return job->watch->progress ? job->watch->progress(job->watch->progress_context, progress) : 0;
}

/* Tell how far it is; KITH_E_CANCELLED. */
static kith_status tell(ki_job *job, uint64_t done, uint64_t total, kith_error *error) {
    const kith_progress progress = {
        .struct_size = sizeof(progress), .stage = job->stage, .unit = "rows", .done = done, .total = total};
    return ki_job_watched(job, &progress) ? ki_fail(error, KITH_E_CANCELLED, "%s was cancelled", job->stage) : KITH_OK;
}

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

/* The rows that have one named vector. */
struct vectors {
    const ki_job *job;
    size_t spec, row_bytes; /* spec: slot */
    uint64_t count;
    uint64_t *key;
    struct place {
        uint32_t origin, at; /* position in its index, or serial */
    } * place;
};

/* *has: the row has the vector. */
static kith_status place_of(const ki_job *job, size_t spec, const ki_job_row *row, struct place *place, int *has,
                            kith_error *error) {
    const ki_origin *origin = &job->origin[row->origin];
    *place = (struct place){row->origin, row->row};
    if (origin->head) {
        *has = ki_head_vector(origin->head, spec, row->row) != NULL;
        return KITH_OK;
    }
    *has = ki_sealed_row_position(origin->sealed, spec, row->row, &place->at);
    const kith_index *index = origin->sealed->index[spec];
    if (!*has || index->view.labels[place->at] == row->key) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: its ids are not in the order that it says they are",
                   ki_segment_path(index->segment));
}

static kith_status find_vectors(const ki_job *job, size_t spec, struct vectors *v, kith_error *error) {
    *v = (struct vectors){.job = job, .spec = spec, .row_bytes = job->generations->vector[spec].row_bytes};
    v->key = ki_alloc_array(job->rows, sizeof(*v->key));
    v->place = ki_alloc_array(job->rows, sizeof(*v->place));
    if (!v->key || !v->place) return ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
    for (uint64_t r = 0; r < job->rows; r++) {
        int has = 0;
        const kith_status status = place_of(job, spec, &job->row[r], &v->place[v->count], &has, error);
        if (status != KITH_OK) return status;
        if (has) v->key[v->count++] = job->row[r].key;
    }
    return KITH_OK;
}

static void fetch(const struct vectors *v, uint64_t at) {
    const ki_origin *origin = &v->job->origin[v->place[at].origin];
    if (origin->sealed) ki_query_prefetch(&origin->sealed->index[v->spec]->view, v->place[at].at);
}

static const void *vector_at(const struct vectors *v, uint64_t at) {
    const struct place place = v->place[at];
    const ki_origin *origin = &v->job->origin[place.origin];
    if (origin->head) return ki_head_vector(origin->head, v->spec, place.at);
    const ki_view *view = &origin->sealed->index[v->spec]->view;
    return view->originals + (size_t)place.at * view->row_bytes;
}

/* What a lost page read as zeros must not become the new segment. */
static kith_status check_damage(const struct vectors *v, kith_error *error) {
    for (size_t o = 0; o < v->job->origins; o++) {
        const ki_sealed *sealed = v->job->origin[o].sealed;
        if (!sealed || !sealed->index[v->spec] || !ki_segment_damaged(sealed->index[v->spec]->segment)) continue;
        return ki_fail(error, KITH_E_CORRUPT, "%s: the file was truncated or lost pages while it was open",
                       ki_segment_path(sealed->index[v->spec]->segment));
    }
    return KITH_OK;
}

static kith_status read_vectors(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                                kith_error *error) {
    const struct vectors *v = context;
    unsigned char *to = data;
    for (size_t i = 0; i < count && i < AHEAD; i++) fetch(v, first + i);
    for (size_t i = 0; i < count; i++, to += v->row_bytes) {
        if (i + AHEAD < count) fetch(v, first + i + AHEAD);
        memcpy(to, vector_at(v, first + i), v->row_bytes);
    }
    labels->ids = v->key + first;
    return check_damage(v, error);
}

/* How many lists an index has that is made in haste, or is small; 1: none were asked for. */
static size_t few_lists(const ki_job *job, const struct vectors *v) {
    return job->listed && v->count >= LISTS_ASKED_FROM ? 2 * (size_t)sqrt((double)v->count) : 1;
}

/* Made in haste: one list, or a few that were asked for, no first level, and no graph. So few rows that it would be no
 * other index are not told apart. */
static int is_flat(const ki_job *job, const struct vectors *v) {
    return job->hasty && job->generations->vector[v->spec].dtype != KITH_B1 &&
           (v->count >= LISTS_FROM || few_lists(job, v) > 1);
}

/* Whether the build measures plans: see calibrate.h. In memory alone, where that cannot be done later, too. */
static int is_measured(const ki_job *job, const struct vectors *v) {
    int known = job->collection->in_memory;
    for (size_t o = 0; o < job->origins && !known; o++)
        known = job->origin[o].sealed && job->origin[o].sealed->tuned[v->spec].known;
    return known && !job->hasty && v->count >= KI_CALIBRATED_FROM;
}

kith_build_options ki_job_options(const kith_collection *collection, const ki_vector *vector, uint64_t rows) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = vector->metric;
    options.dtype = vector->dtype;
    const uint64_t wanted = ki_min_u64(rows * BUILD_ROW_BYTES, BUILD_BYTES_MOST);
    options.memory_bytes = wanted > BUILD_BYTES ? wanted : BUILD_BYTES;
    options.no_calibration = rows < KI_CALIBRATED_FROM;
    options.no_sigbus_handler = collection->options.no_sigbus_handler;
    if (vector->dtype != KITH_B1 && rows >= LISTS_FROM && rows < LISTS_OF_BUILD)
        options.lists = 2 * (size_t)sqrt((double)rows);
    return options;
}

static kith_build_options options_of(ki_job *job, const struct vectors *v) {
    const ki_vector *vector = &job->generations->vector[v->spec];
    kith_build_options options = ki_job_options(job->collection, vector, v->count);
    options.no_calibration = !is_measured(job, v);
    options.threads = job->watch ? job->watch->threads : 1;
    options.progress = ki_job_watched;
    options.progress_context = job;
    const size_t lists = few_lists(job, v);
    if ((job->hasty || lists > 1) && vector->dtype != KITH_B1) {
        options.lists = lists;
        options.index = options.lists > 1 ? KITH_INDEX_IVF : KITH_INDEX_FLAT;
        options.no_spill = 1;
        options.first_level = KITH_FIRST_LEVEL_NONE;
    }
    return options;
}

static kith_status build_index(ki_job *job, struct vectors *v, kith_error *error) {
    const ki_vector *vector = &job->generations->vector[v->spec];
    const kith_build_options options = options_of(job, v);
    char name[KITH_STRING_MAX];
    kith_reader *reader = NULL;
    snprintf(name, sizeof(name), "%s: vector \"%s\"", job->stage, vector->name);
    kith_source source = KITH_SOURCE_INIT;
    source.name = name;
    source.dtype = vector->dtype;
    source.id_kind = KITH_ID_U64;
    source.dim = vector->dim;
    source.rows = v->count;
    source.read = read_vectors;
    source.context = v;
    char *path = ki_sealed_file(job->collection->segments_path, job->number, job->made.index[v->spec].name);
    kith_status status = path ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
    if (status == KITH_OK) status = kith_reader_from_source(&source, &reader, error);
    if (status == KITH_OK) status = kith_build(reader, path, &options, NULL, error);
    kith_reader_close(reader);
    free(path);
    return status;
}

static kith_status write_vectors(ki_job *job, size_t spec, kith_error *error) {
    struct vectors v;
    kith_status status = find_vectors(job, spec, &v, error);
    if (status == KITH_OK && v.count) {
        const char *prefix = is_flat(job, &v) ? KI_FLAT_PREFIX : job->own ? KI_OWN_PREFIX : "vectors.";
        snprintf(job->made.index[spec].name, KI_BODY_NAME_BYTES, "%s%zu.kith", prefix, spec);
        status = build_index(job, &v, error);
    }
    free(v.key);
    free(v.place);
    job->part++;
    return status;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

/* Where values are put together, kept from row to row. */
struct values {
    ki_values borrowed, own;
    ki_found item;
};

static kith_status values_of_payload(const ki_job *job, ki_bytes payload, struct values *values, kith_error *error) {
    return ki_values_of(job->schema, payload.data, payload.bytes, 0, &values->own, error);
}

static kith_status values_of_catalog(const ki_job *job, uint64_t key, struct values *values, kith_error *error) {
    ki_bytes payload = {0};
    const kith_status status = ki_catalog_get_item(job->collection->catalog, key, &values->item, error);
    if (status == KITH_OK) payload = values->item.item.payload;
    if (status != KITH_OK && status != KITH_E_NOTFOUND) return status;
    return values_of_payload(job, payload, values, error);
}

/* *to: the declared values of a row. */
static kith_status values_of_row(const ki_job *job, const ki_job_row *row, struct values *values, const ki_values **to,
                                 kith_error *error) {
    const ki_origin *origin = &job->origin[row->origin];
    *to = &values->own;
    if (!job->schema || !job->schema->count) {
        *to = &values->borrowed;
        return KITH_OK;
    }
    if (origin->head && ki_head_schema(origin->head) == job->schema) {
        *to = &values->borrowed;
        ki_head_values(origin->head, row->row, &values->borrowed);
        return KITH_OK;
    }
    if (origin->head) {
        const ki_head_view view = ki_head_row_at(origin->head, row->row);
        return values_of_payload(job, (ki_bytes){view.payload, view.payload_bytes}, values, error);
    }
    if (ki_fields_lacking(origin->sealed, job->schema)) return values_of_catalog(job, row->key, values, error);
    const kith_status status = ki_table_values(origin->sealed->table, job->schema, row->row, &values->own);
    return status == KITH_OK ? status : ki_fail(error, status, "out of memory for %s", job->stage);
}

static kith_status add_row(const ki_job *job, ki_table_writer *writer, const ki_job_row *row, struct values *values,
                           kith_error *error) {
    const ki_origin *origin = &job->origin[row->origin];
    const ki_values *of_row = NULL;
    const char *text = NULL;
    size_t bytes = 0;
    if (origin->head) {
        const ki_head_view view = ki_head_row_at(origin->head, row->row);
        text = view.text;
        bytes = view.text_bytes;
    } else {
        text = ki_table_text(origin->sealed->table, row->row, &bytes);
    }
    const kith_status status = values_of_row(job, row, values, &of_row, error);
    return status == KITH_OK ? ki_table_add(writer, row->key, text, bytes, of_row, error) : status;
}

kith_status ki_job_write_table(ki_job *job, const char *name, kith_error *error) {
    ki_table_writer *writer = NULL;
    struct values values = {0};
    uint64_t bytes, hash;
    snprintf(job->made.table.name, KI_BODY_NAME_BYTES, "%s", name);
    char *path = ki_sealed_file(job->collection->segments_path, job->number, name);
    kith_status status = path ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
    if (status == KITH_OK)
        status = ki_table_create(path, job->rows, job->collection->made.id_kind, job->schema, &writer, error);
    for (uint64_t r = 0; r < job->rows && status == KITH_OK; r++) {
        if (r % ROWS_A_LOOK == 0) status = tell(job, r, job->rows, error);
        if (status == KITH_OK) status = add_row(job, writer, &job->row[r], &values, error);
    }
    if (status == KITH_OK) {
        status = ki_table_finish(writer, &bytes, &hash, error);
        writer = NULL;
    }
    ki_table_abandon(writer);
    ki_values_free(&values.own);
    ki_found_free(&values.item);
    free(path);
    job->part++;
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status open_made(ki_job *job, kith_error *error) {
    const kith_collection *c = job->collection;
    const ki_sealed_where where = ki_collection_where(job->collection, job->generations);
    job->alive = ki_bits_create(job->rows, 1);
    if (!job->alive) return ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
    const kith_status status = ki_sealed_open_made(&where, job->number, &job->made, &job->sealed, error);
    /* In memory alone nobody opens them again: they live as long as they are mapped. */
    if (status == KITH_OK && c->in_memory) ki_sealed_remove_files(job->sealed->folder, NULL);
    return status == KITH_OK && job->listed ? ki_calibrate_hastily(job, error) : status;
}

static kith_status write_files(ki_job *job, kith_error *error) {
    const kith_collection *c = job->collection;
    kith_status status = ki_sealed_make_folder(c->segments_path, job->number, error);
    job->has_folder = status == KITH_OK;
    if (status == KITH_OK) status = ki_job_write_table(job, "table.0.kith", error);
    for (size_t s = 0; s < job->generations->slots && status == KITH_OK; s++)
        if (ki_generations_uses(job->generations, s)) status = write_vectors(job, s, error);
    return status == KITH_OK ? open_made(job, error) : status;
}

struct work {
    ki_job *job;
    ki_job_fn fn;
    kith_error *error;
    kith_status status;
};

static void do_work(void *context) {
    struct work *work = context;
    work->status = work->fn(work->job, work->error);
}

kith_status ki_job_politely(ki_job *job, ki_job_fn fn, kith_error *error) {
    struct work work = {.job = job, .fn = fn, .error = error};
    if (!job->watch || !job->watch->polite) return fn(job, error);
    ki_help(do_work, &work, KI_NICE, job->watch->meanwhile, job->watch->meanwhile_context);
    return work.status;
}

kith_status ki_job_build(ki_job *job, kith_error *error) {
    if (!job->rows) return KITH_OK;
    job->parts = 1 + (size_t)__builtin_popcountll(job->generations->used);
    job->made.rows = job->rows;
    job->made.specs = job->generations->slots;
    job->number = ki_job_take_number(job->collection);
    return ki_job_politely(job, write_files, error);
}
