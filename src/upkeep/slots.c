/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots that no generation has any more (generations.h): what holds their vectors lets go of them, and then they are
 * free for other ones.
 *
 * Nothing is written to a slot that is leaving, and no job that begins later makes an index of it. So when the heads
 * that there are have been sealed, only older segments and pieces of the log can hold its vectors. Segments are put
 * again without the index; the log is looked at, and where a piece of it was not dropped in time the slots wait. A
 * crash at any time leaves them leaving, with all that is needed to read what is there. */
#include "base/status.h"
#include "log/log.h"
#include "upkeep/maintain.h"
#include "write/generation.h"

/* ---- Segments ---------------------------------------------------------------------------------------------------- */

static int has_index(const ki_sealed *sealed, uint64_t slots) {
    for (size_t s = 0; s < sealed->specs; s++)
        if (sealed->index[s] && (slots >> s & 1)) return 1;
    return 0;
}

static kith_status put_again(ki_job *job, uint64_t slots, kith_error *error) {
    const kith_status status = ki_job_open_again(job, slots, error);
    return status == KITH_OK ? ki_job_replace(job, NULL, KI_RETIRED_INDEXES, slots, error) : status;
}

/* Put the first segment that has an index in one of the slots again without it. *done: there was none. */
static kith_status strip(kith_collection *collection, uint64_t slots, ki_watch *watch, int *done, kith_error *error) {
    ki_job job;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_sealed *has = NULL;
    for (size_t i = 0; i < snapshot->sealed_count && !has; i++)
        if (has_index(snapshot->sealed[i].sealed, slots)) has = snapshot->sealed[i].sealed;
    ki_job_begin(collection, snapshot, "dropping vectors", watch, &job);
    kith_status status = has ? ki_job_add(&job, NULL, has, NULL, error) : KITH_OK;
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && has)
        status = collection->in_memory ? ki_job_make_anew(&job, error) : put_again(&job, slots, error);
    if (status == KITH_OK) *done = !has;
    ki_job_end(&job);
    return status;
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

/* What was leaving when the work began, and up to which version there may be vectors of it in the log. */
struct leaving {
    const kith_collection *collection;
    const ki_generations *generations;
    uint64_t slots, version;
    int found;
};

/* A ki_log_fn. */
static kith_status note_vectors(void *context, const ki_log_head *head, const ki_log_operation *operation,
                                kith_error *error) {
    struct leaving *leaving = context;
    (void)head;
    (void)error;
    for (size_t s = 0; s < leaving->generations->slots; s++)
        leaving->found |= operation->vector[s] && (leaving->slots >> s & 1);
    return KITH_OK;
}

#define ENOUGH KITH_E_CANCELLED /* ends a scan; never seen outside */

static kith_status look_at_body(void *context, uint64_t sequence, ki_bytes body, kith_error *error) {
    struct leaving *leaving = context;
    ki_log_head head;
    if (sequence > leaving->version) return ENOUGH;
    return ki_log_read(leaving->generations, leaving->collection->path, sequence, body, &head, note_vectors, leaving,
                       error);
}

/* Pieces of the log are dropped after their rows are in a segment: that may have failed. */
static kith_status check_log(struct leaving *leaving, kith_error *error) {
    const kith_collection *collection = leaving->collection;
    const kith_status status = ki_catalog_scan_log(collection->catalog, 0, look_at_body, leaving, error);
    if (status != KITH_OK && status != ENOUGH) return status;
    if (!leaving->found) return KITH_OK;
    return ki_fail(error, KITH_E_BUSY, "%s: the log holds vectors of a dropped generation still", collection->path);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status free_slots(kith_collection *collection, uint64_t slots, kith_error *error) {
    ki_generations *next = NULL;
    pthread_mutex_lock(&collection->writing);
    kith_status status = ki_generation_change(collection, &next, error);
    if (status == KITH_OK) {
        ki_generations_free_slots(next, slots);
        status = ki_generation_publish(collection, next, error);
    }
    pthread_mutex_unlock(&collection->writing);
    return status;
}

kith_status ki_slots_clear(ki_maintainer *maintainer, ki_watch *watch, kith_error *error) {
    kith_collection *collection = maintainer->collection;
    int done = 0;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    struct leaving leaving = {.collection = collection,
                              .generations = snapshot->generations, /* which live as long as the collection */
                              .slots = ki_generations_leaving(snapshot->generations),
                              .version = snapshot->version};
    ki_snapshot_release(snapshot);
    if (!leaving.slots) return KITH_OK;
    kith_status status = ki_maintain_seal(maintainer, KI_SEAL_ALL, watch, error);
    while (status == KITH_OK && !done) status = strip(collection, leaving.slots, watch, &done, error);
    if (status == KITH_OK) status = check_log(&leaving, error);
    return status == KITH_OK ? free_slots(collection, leaving.slots, error) : status;
}
