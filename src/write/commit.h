/* SPDX-License-Identifier: Apache-2.0
 *
 * Group commit: callers queue their checked requests; one of them, the leader, takes what waits and makes one change of
 * the catalog and one published snapshot of it all. The others sleep until their outcome is there.
 *
 *   resolve   a request -> the body of its log: keys, conditions, what an update keeps. Nothing is changed: a request
 *             that fails its own conditions fails alone
 *   apply     a body -> the edit, and the catalog's items (log/apply.h). Opening and following do the same
 *   commit    the catalog's transaction; then the snapshot is published; then callers hear of it (collection.h C2)
 *
 * X1. A request is one version, and one body in the log of that number. Requests that change nothing make none.
 * X2. version and next_key of the collection change after the catalog's commit only.
 * X3. A commit that failed for another reason than space or time poisons: what the disk holds is unknown.
 *
 * resolve and apply: under `writing`. */
#ifndef KI_WRITE_COMMIT_H
#define KI_WRITE_COMMIT_H

#include "log/apply.h"
#include "write/payload.h"
#include "write/request.h"

/* One change of the catalog, in the making. */
typedef struct ki_batch {
    kith_collection *collection;
    ki_edit *edit;
    uint64_t version, next_key; /* as they will be */
    ki_log_body body;           /* of the request at hand */
    ki_apply apply;
    ki_found found;
    ki_text merged;
    void *rows[KITH_VECTORS_MAX]; /* an item's vectors that an update keeps, in the stored type */
    float *floats;
    ki_values values;
} ki_batch;

/* Fill batch->body and the request's report. body.operations 0: it changes nothing. */
kith_status ki_resolve(ki_batch *batch, ki_request *request, uint64_t *next_key, kith_error *error);
void ki_resolve_free(ki_batch *batch);

/* Wait until a request is committed, or has failed: its status, error and report are set. KITH_E_BUSY without a text,
 * with request->stale: nothing was done, and it is to be made anew. */
kith_status ki_commit(kith_collection *collection, ki_request *request, kith_error *error);

ki_commit_queue *ki_commit_queue_create(void); /* NULL: no memory */
void ki_commit_queue_destroy(ki_commit_queue *queue);

/* ---- Changes that are no writes of callers ----------------------------------------------------------------------- */

/* Under `writing`: a change of the catalog's segments and settings that makes no version, with the edit that goes with
 * it. `put` is called between begin and commit. The edit is published, or abandoned on failure. */
typedef kith_status (*ki_commit_fn)(kith_collection *collection, void *context, kith_error *error);
kith_status ki_commit_edit(kith_collection *collection, ki_edit *edit, ki_commit_fn put, void *context,
                           kith_error *error);
/* Under `writing`: a change of the catalog's records alone, which no state knows of. */
kith_status ki_commit_records(kith_collection *collection, ki_commit_fn put, void *context, kith_error *error);
/* The largest version all of whose rows are in segments or in frozen heads before `head`: what of the log may go once
 * they are sealed. Only a `put` of ki_commit_edit may drop it (made.h M2). */
uint64_t ki_commit_version_before(kith_collection *collection, const ki_head *head);
/* For the maintainer, without locks: remove items whose time is up from the catalog, as a write; *removed of them, at
 * most some thousands. */
kith_status ki_commit_expired(kith_collection *collection, uint64_t *removed, kith_error *error);

#endif
