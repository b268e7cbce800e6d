/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields that were declared after a segment was made: it gets another table beside the old one, whose rows are the
 * same, and keeps its indexes. Who reads the old table goes on; its file goes with the last one who does. In memory
 * alone, where indexes are files without names, the whole segment is made anew. */
#include "base/status.h"
#include "collection/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ki_fields_lacking(const ki_sealed *sealed, const ki_schema *schema) {
    for (size_t f = 0; schema && f < schema->count; f++)
        if (!ki_table_has(sealed->table, &schema->fields[f])) return 1;
    return 0;
}

/* ---- Another table ----------------------------------------------------------------------------------------------- */

/* "table.<n>.kith" follows "table.<n-1>.kith": a name that nobody reads. */
static void next_name(const ki_sealed *sealed, char name[KI_BODY_NAME_BYTES]) {
    const char *digits = strchr(sealed->table_name, '.');
    const unsigned long number = digits ? strtoul(digits + 1, NULL, 10) : 0;
    snprintf(name, KI_BODY_NAME_BYTES, "table.%lu.kith", number + 1);
}

/* The names of the old indexes go into the new body. */
static void keep_indexes(ki_job *job, const ki_sealed *old) {
    job->made.rows = job->rows;
    job->made.specs = old->specs;
    for (size_t s = 0; s < old->specs; s++) {
        if (!old->index[s]) continue;
        const char *slash = strrchr(ki_segment_path(old->index[s]->segment), '/');
        if (slash) snprintf(job->made.index[s].name, KI_BODY_NAME_BYTES, "%s", slash + 1);
    }
}

static kith_status open_again(ki_job *job, kith_error *error) {
    const kith_collection *c = job->collection;
    const ki_sealed_where where = {.folder = c->segments_path,
                                   .specs = c->made.spec,
                                   .spec_count = c->made.vector_count,
                                   .no_sigbus_handler = c->options.no_sigbus_handler};
    return ki_sealed_open_made(&where, job->number, &job->made, &job->sealed, error);
}

/* ---- Its place --------------------------------------------------------------------------------------------------- */

struct change {
    const ki_job *job;
    void *data;
    size_t bytes;
};

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const struct change *change = context;
    return ki_catalog_put_segment(collection->catalog, change->job->number, (ki_bytes){change->data, change->bytes},
                                  error);
}

static ki_bits *alive_of(const ki_snapshot *state, const ki_sealed *sealed) {
    for (size_t i = 0; i < state->sealed_count; i++)
        if (state->sealed[i].sealed == sealed) return state->sealed[i].alive;
    return NULL;
}

/* `writing` is held. */
static kith_status publish(ki_job *job, const ki_sealed *old, kith_error *error) {
    ki_edit *edit = NULL;
    struct change change = {.job = job};
    uint64_t dead = 0;
    const uint64_t version = job->collection->version;
    kith_status status = ki_edit_begin(job->collection, &edit, error);
    ki_bits *alive = status == KITH_OK ? alive_of(ki_edit_state(edit), old) : NULL;
    if (status == KITH_OK && !alive)
        status = ki_fail(error, KITH_E_BUSY, "a segment went while its fields were indexed");
    if (status == KITH_OK) {
        dead = alive->rows - alive->set;
        ki_bits_hold(alive);
        status = ki_sealed_encode(job->sealed, alive, version, &change.data, &change.bytes, error);
        if (status == KITH_OK) status = ki_edit_remove_sealed(edit, old->number, error);
        if (status == KITH_OK)
            status = ki_edit_add_sealed(edit, job->sealed, alive, error);
        else
            ki_bits_release(alive);
    }
    if (status == KITH_OK)
        status = ki_commit_edit(job->collection, edit, put, &change, error);
    else
        ki_edit_abandon(edit);
    if (status == KITH_OK) {
        job->sealed->saved_dead = dead;
        job->sealed->saved_version = version;
    }
    free(change.data);
    return status;
}

static kith_status replace(ki_job *job, kith_error *error) {
    kith_collection *collection = job->collection;
    ki_sealed *old = job->origin[0].sealed;
    pthread_mutex_lock(&collection->writing);
    const kith_status status = publish(job, old, error);
    const int known = status == KITH_OK || collection->poisoned == KITH_OK;
    pthread_mutex_unlock(&collection->writing);
    if (status == KITH_OK) {
        if (ki_job_may_remove(collection)) atomic_store(&old->retired, KI_RETIRED_TABLE);
        job->origin[0].sealed = NULL;
        ki_maintain_bury(collection, old);
    } else if (known) {
        atomic_store(&job->sealed->retired, KI_RETIRED_TABLE); /* only what is new of it */
    }
    return status;
}

/* ---- The verb ---------------------------------------------------------------------------------------------------- */

static kith_status write_table(ki_job *job, kith_error *error) {
    char name[KI_BODY_NAME_BYTES];
    next_name(job->origin[0].sealed, name);
    return ki_job_write_table(job, name, error);
}

static kith_status index_fields(ki_job *job, kith_error *error) {
    const ki_sealed *old = job->origin[0].sealed;
    job->number = old->number;
    job->parts = 1;
    kith_status status = ki_job_gather(job, error);
    if (status == KITH_OK) status = ki_job_politely(job, write_table, error);
    if (status != KITH_OK) return status;
    keep_indexes(job, old);
    status = open_again(job, error);
    if (status != KITH_OK) {
        ki_sealed_remove_files(old->folder, job->made.table.name);
        return status;
    }
    return replace(job, error);
}

static kith_status make_anew(ki_job *job, kith_error *error) {
    kith_status status = ki_job_gather(job, error);
    if (status == KITH_OK) status = ki_job_build(job, error);
    return status == KITH_OK ? ki_job_publish(job, error) : status;
}

kith_status ki_fields_index(kith_collection *collection, ki_watch *watch, int *done, kith_error *error) {
    ki_job job;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_sealed *lacking = NULL;
    for (size_t i = 0; i < snapshot->sealed_count && !lacking; i++)
        if (ki_fields_lacking(snapshot->sealed[i].sealed, snapshot->schema)) lacking = snapshot->sealed[i].sealed;
    ki_job_begin(collection, snapshot, "indexing fields", watch, &job);
    kith_status status = lacking ? ki_job_add(&job, NULL, lacking, NULL, error) : KITH_OK;
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && lacking)
        status = collection->in_memory ? make_anew(&job, error) : index_fields(&job, error);
    if (status == KITH_OK) *done = !lacking;
    ki_job_end(&job);
    return status;
}
