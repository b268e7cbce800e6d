/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing: the rows of frozen heads become a segment. All heads that are frozen by then become one, so that sealing
 * that falls behind writers makes larger segments instead of more. Removing makes no rows, but it makes the log longer:
 * so sealing saves what has died, too, with heads or without. */
#include "base/status.h"
#include "upkeep/seal.h"

/* Lists and measuring cost some 20 us a row of 384 floats, and spare a query some 6 ns a row: 3,000 queries pay for them,
 * however many rows there are. A quarter of these that came make it likely that as many follow. */
enum { ASKED_LEAST = 800 };

static kith_status freeze(kith_collection *collection, ki_seal_what what, kith_error *error) {
    ki_edit *edit = NULL;
    if (what == KI_SEAL_FROZEN) return KITH_OK;
    pthread_mutex_lock(&collection->writing);
    kith_status status = ki_edit_begin(collection, &edit, error);
    if (status == KITH_OK && (what == KI_SEAL_ALL || ki_edit_state(edit)->head_count == 1))
        status = ki_edit_freeze(edit, error);
    if (status == KITH_OK)
        ki_edit_publish(edit, collection->version);
    else
        ki_edit_abandon(edit);
    pthread_mutex_unlock(&collection->writing);
    return status;
}

int ki_seal_asked(kith_collection *collection) {
    const uint64_t before = atomic_load(&collection->approximate_sealed);
    return atomic_load(&collection->approximate) - before >= ASKED_LEAST;
}

uint64_t ki_seal_unsaved(const ki_snapshot *snapshot) {
    uint64_t deaths = 0;
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        const ki_snapshot_sealed *in = &snapshot->sealed[i];
        const uint64_t dead = in->alive->rows - in->alive->set, saved = in->sealed->saved_dead;
        deaths += dead > saved ? dead - saved : 0; /* a snapshot may be older than what was saved */
    }
    return deaths;
}

static kith_status add_heads(ki_job *job, const ki_snapshot *snapshot, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t h = 0; h + 1 < snapshot->head_count && status == KITH_OK; h++)
        status = ki_job_add(job, snapshot->head[h].head, NULL, snapshot->head[h].live, error);
    return status;
}

kith_status ki_seal(kith_collection *collection, ki_seal_what what, ki_watch *watch, uint64_t *rows,
                    kith_error *error) {
    ki_job job;
    kith_status status = freeze(collection, what, error);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_job_begin(collection, snapshot, "sealing", watch, &job);
    job.hasty = 1;
    const uint64_t asked = atomic_load(&collection->approximate), unsaved = ki_seal_unsaved(snapshot);
    status = add_heads(&job, snapshot, error);
    job.listed = job.origins == 1 && ki_seal_asked(collection); /* several: sealing falls behind writers */
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && job.origins) {
        status = ki_job_gather(&job, error);
        if (status == KITH_OK) status = ki_job_build(&job, error);
    }
    /* Also a log that a crash left longer than it must be is cut, when all is to be sealed. */
    if (status == KITH_OK && (job.origins || unsaved || what == KI_SEAL_ALL)) status = ki_job_publish(&job, error);
    if (status == KITH_OK && job.origins) atomic_store(&collection->approximate_sealed, asked);
    if (status == KITH_OK && rows) *rows = job.rows;
    ki_job_end(&job);
    return status;
}
