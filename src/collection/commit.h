/* SPDX-License-Identifier: Apache-2.0
 *
 * Group commit: callers queue their checked requests; one of them, the leader, takes what waits and makes one change of
 * the catalog and one published snapshot of it all. The others sleep until their outcome is there.
 *
 *   resolve   a request -> the body of its log: keys, conditions, what an update keeps. Nothing is changed: a request
 *             that fails its own conditions fails alone
 *   apply     a body -> the edit, and the catalog's items. Opening and following do the same with the log's bodies
 *   commit    the catalog's transaction; then the snapshot is published; then callers hear of it (collection.h C2)
 *
 * X1. A request is one version, and one body in the log of that number. Requests that change nothing make none.
 * X2. version and next_key of the collection change after the catalog's commit only.
 * X3. A commit that failed for another reason than space or time poisons: what the disk holds is unknown.
 *
 * resolve and apply: under `writing`. */
#ifndef KI_COLLECTION_COMMIT_H
#define KI_COLLECTION_COMMIT_H

#include "collection/log.h"
#include "collection/payload.h"
#include "collection/request.h"

/* Doing what bodies say. */
typedef struct ki_apply {
    kith_collection *collection;
    ki_edit *edit;
    const ki_schema *schema;
    int to_catalog; /* write the items too: not when the catalog has them already */
    int check; /* bodies that come from the catalog: look at the vectors, and pass over what a segment has replaced */
    ki_values values;
} ki_apply; /* ends with ki_values_free(&values) */

/* A ki_log_fn; context: a ki_apply. */
kith_status ki_apply_operation(void *context, const ki_log_head *head, const ki_log_operation *operation,
                               kith_error *error);

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

/* Wait until a request is committed, or has failed: its status, error and report are set. */
kith_status ki_commit(kith_collection *collection, ki_request *request, kith_error *error);

ki_commit_queue *ki_commit_queue_create(void); /* NULL: no memory */
void ki_commit_queue_destroy(ki_commit_queue *queue);

#endif
