/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment in other files: its rows are the same, and so is its number. One file of its folder is new (the table of
 * fields.c) or named no more (the indexes of slots.c), or none, when it was measured (calibrate.c). Who reads what was
 * there before goes on; files that are named no more go with the last one who does. */
#include "base/status.h"
#include "log/measured.h"
#include "upkeep/seal.h"
#include "write/bodies.h"
#include "write/commit.h"

#include <stdio.h>
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
    const ki_sealed_where where = ki_collection_where(job->collection, job->generations);
    keep_names(job, job->origin[0].sealed, without);
    const kith_status status = ki_sealed_open_made(&where, job->number, &job->made, &job->sealed, error);
    return status == KITH_OK ? ki_measured_copy(job->origin[0].sealed, job->sealed, error) : status;
}

/* ---- Its place --------------------------------------------------------------------------------------------------- */

struct change {
    const ki_job *job;
    ki_job_put_fn more;
    ki_bodies bodies;
};

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const struct change *change = context;
    const kith_status status = ki_bodies_put(&change->bodies, collection->catalog, error);
    return status == KITH_OK && change->more ? change->more(collection, change->job, error) : status;
}

/* `writing` is held. */
static kith_status publish(ki_job *job, ki_job_put_fn more, kith_error *error) {
    ki_edit *edit = NULL;
    const ki_origin *origin = &job->origin[0];
    struct change change = {.job = job, .more = more};
    kith_status status = ki_edit_begin(job->collection, &edit, error);
    ki_bits *alive = status == KITH_OK ? ki_job_alive(ki_edit_state(edit), origin) : NULL;
    if (status == KITH_OK && !alive)
        status = ki_fail(error, KITH_E_BUSY, "a segment went while it was at %s", job->stage);
    if (status == KITH_OK) {
        ki_bits_hold(alive);
        status = ki_edit_remove_sealed(edit, origin->sealed->number, error);
        if (status == KITH_OK)
            status = ki_edit_add_sealed(edit, job->sealed, alive, error);
        else
            ki_bits_release(alive);
        if (status == KITH_OK) ki_edit_copy_hot(edit, job->sealed);
    }
    if (status == KITH_OK)
        status = ki_bodies_encode(ki_edit_state(edit), job->sealed, 0, job->collection->version, &change.bodies, error);
    if (status == KITH_OK)
        status = ki_commit_edit(job->collection, edit, put, &change, error);
    else
        ki_edit_abandon(edit);
    if (status == KITH_OK) ki_bodies_settle(&change.bodies);
    ki_bodies_free(&change.bodies);
    return status;
}

kith_status ki_job_replace(ki_job *job, ki_job_put_fn more, int retired, uint64_t without, kith_error *error) {
    kith_collection *collection = job->collection;
    ki_sealed *old = job->origin[0].sealed;
    pthread_mutex_lock(&collection->writing);
    const kith_status status = publish(job, more, error);
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
