/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment in other files: its rows are the same, and so is its number. One file of its folder is new (the table of
 * fields.c) or named no more (the indexes of slots.c), or none, when it was measured
 * (calibrate.c). Who reads what was there before goes on; files that are named no
 * more go with the last one who does. */
#include "base/status.h"
#include "log/measured.h"
#include "upkeep/seal.h"
#include "write/commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names of the old files go into the new body, but for a table that was written, and for indexes of some slots. */
static void keep_names(ki_job *job, const ki_sealed *old, uint64_t without) {
    job->number = old->number;
    job->made.rows = ki_table_rows(old->table);
    job->made.specs = old->specs;
    if (!job->made.table.name[0]) memcpy(job->made.table.name, old->table_name, KI_BODY_NAME_BYTES);
    for (size_t s = 0; s < old->specs; s++) {
        if (!old->index[s] || (without >> s & 1)) continue;
        const char *slash = strrchr(ki_segment_path(old->index[s]->segment), '/');
        if (slash) snprintf(job->made.index[s].name, KI_BODY_NAME_BYTES, "%s", slash + 1);
    }
}

kith_status ki_job_open_again(ki_job *job, uint64_t without, kith_error *error) {
    const kith_collection *c = job->collection;
    const ki_sealed_where where = {.folder = c->segments_path,
                                   .specs = job->generations->spec,
                                   .spec_count = job->generations->slots,
                                   .no_sigbus_handler = c->options.no_sigbus_handler};
    keep_names(job, job->origin[0].sealed, without);
    const kith_status status = ki_sealed_open_made(&where, job->number, &job->made, &job->sealed, error);
    return status == KITH_OK ? ki_measured_copy(job->origin[0].sealed, job->sealed, error) : status;
}

/* ---- Its place --------------------------------------------------------------------------------------------------- */

struct change {
    const ki_job *job;
    ki_job_put_fn more;
    void *data;
    size_t bytes;
};

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const struct change *change = context;
    const kith_status status = ki_catalog_put_segment(collection->catalog, change->job->number,
                                                      (ki_bytes){change->data, change->bytes}, error);
    return status == KITH_OK && change->more ? change->more(collection, change->job, error) : status;
}

static ki_bits *alive_of(const ki_snapshot *state, const ki_sealed *sealed) {
    for (size_t i = 0; i < state->sealed_count; i++)
        if (state->sealed[i].sealed == sealed) return state->sealed[i].alive;
    return NULL;
}

/* `writing` is held. */
static kith_status publish(ki_job *job, const ki_sealed *old, ki_job_put_fn more, kith_error *error) {
    ki_edit *edit = NULL;
    struct change change = {.job = job, .more = more};
    uint64_t dead = 0;
    const uint64_t version = job->collection->version;
    kith_status status = ki_edit_begin(job->collection, &edit, error);
    ki_bits *alive = status == KITH_OK ? alive_of(ki_edit_state(edit), old) : NULL;
    if (status == KITH_OK && !alive)
        status = ki_fail(error, KITH_E_BUSY, "a segment went while it was at %s", job->stage);
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

kith_status ki_job_replace(ki_job *job, ki_job_put_fn more, int retired, uint64_t without, kith_error *error) {
    kith_collection *collection = job->collection;
    ki_sealed *old = job->origin[0].sealed;
    pthread_mutex_lock(&collection->writing);
    const kith_status status = publish(job, old, more, error);
    const int known = status == KITH_OK || collection->poisoned == KITH_OK;
    pthread_mutex_unlock(&collection->writing);
    if (status == KITH_OK) {
        old->retired_slots = without;
        if (ki_job_may_remove(collection)) atomic_store(&old->retired, retired);
        job->origin[0].sealed = NULL;
        ki_maintain_bury(collection, old);
    } else if (known && retired == KI_RETIRED_TABLE) {
        atomic_store(&job->sealed->retired, retired); /* only what is new of it */
    }
    return status;
}

kith_status ki_job_make_anew(ki_job *job, kith_error *error) {
    kith_status status = ki_job_gather(job, error);
    if (status == KITH_OK) status = ki_job_build(job, error);
    return status == KITH_OK ? ki_job_publish(job, error) : status;
}
