/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing: the rows of frozen heads become a segment. All heads that are frozen by then become one, so that sealing
 * that falls behind writers makes larger segments instead of more. */
#include "base/status.h"
#include "upkeep/seal.h"

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
    status = add_heads(&job, snapshot, error);
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && job.origins) {
        status = ki_job_gather(&job, error);
        if (status == KITH_OK) status = ki_job_build(&job, error);
        if (status == KITH_OK) status = ki_job_publish(&job, error);
    }
    if (status == KITH_OK && rows) *rows = job.rows;
    ki_job_end(&job);
    return status;
}
