/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "write/commit.h"

#include "base/checked.h"
#include "base/status.h"
#include "log/follow.h"
#include "state/hot.h"
#include "state/made.h"
#include "state/pages.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Requests of one transaction: enough to share a synchronisation, few enough to bound what a failure undoes. */
static const uint64_t BATCH_BYTES = UINT64_C(32) << 20;
enum { FROZEN_MAX = 4 }; /* heads that wait to be sealed before writers do */

struct ki_commit_queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* somebody is done, or nobody leads any longer */
    ki_request *first, **end;
    int leading;
};

ki_commit_queue *ki_commit_queue_create(void) {
    ki_commit_queue *queue = ki_alloc_array_zeroed(1, sizeof(*queue));
    if (!queue) return NULL;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->changed, NULL);
    queue->end = &queue->first;
    return queue;
}

void ki_commit_queue_destroy(ki_commit_queue *queue) {
    if (!queue) return;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

/* ---- The catalog's side ------------------------------------------------------------------------------------------ */

/* The numbers that must never go back; between begin and commit. */
static kith_status put_state(kith_collection *collection, uint64_t edition, kith_error *error) {
    unsigned char bytes[KI_STATE_BYTES];
    const ki_state state = {.version = collection->version,
                            .next_key = collection->next_key,
                            .next_segment = collection->next_segment,
                            .edition = edition};
    ki_state_encode(&state, bytes);
    return ki_catalog_put_setting(collection->catalog, KI_SETTING_STATE, (ki_bytes){bytes, sizeof(bytes)}, error);
}

static void poison(kith_collection *collection, kith_status status, const kith_error *why) {
    if (status == KITH_OK || status == KITH_E_NOSPACE || status == KITH_E_BUSY) return;
    collection->poisoned = KITH_E_IO;
    ki_pages_stop(collection->pages); /* what reads of the catalog give from now on is unknown */
    ki_hot_stop(collection->hot);
    memcpy(collection->poison, why->text, sizeof(collection->poison));
}

/* Commit what was put; after a failure nothing was. */
static kith_status end_change(kith_collection *collection, kith_status status, kith_error *error) {
    kith_error own = {0};
    if (status != KITH_OK) {
        ki_catalog_rollback(collection->catalog);
        return status;
    }
    status = ki_catalog_commit(collection->catalog, &own);
    poison(collection, status, &own);
    return status == KITH_OK ? status : ki_fail(error, status, "%s", own.text);
}

kith_status ki_commit_edit(kith_collection *collection, ki_edit *edit, ki_commit_fn put, void *context,
                           kith_error *error) {
    const uint64_t edition = collection->edition + 1;
    kith_status status = ki_collection_writable(collection, error);
    if (status == KITH_OK) status = ki_catalog_begin(collection->catalog, error);
    if (status == KITH_OK) {
        status = put_state(collection, edition, error);
        if (status == KITH_OK) status = put(collection, context, error);
        status = end_change(collection, status, error);
    }
    if (status != KITH_OK) {
        ki_edit_abandon(edit);
        return status;
    }
    collection->edition = edition;
    ki_edit_publish(edit, collection->version);
    return KITH_OK;
}

kith_status ki_commit_records(kith_collection *collection, ki_commit_fn put, void *context, kith_error *error) {
    kith_status status = ki_collection_writable(collection, error);
    if (status == KITH_OK) status = ki_catalog_begin(collection->catalog, error);
    if (status != KITH_OK) return status;
    return end_change(collection, put(collection, context, error), error);
}

/* Versions ascend with the serials: the first row of the first head that stays is of the first version that is needed,
 * and rows of it may lie in the head before, too. */
uint64_t ki_commit_version_before(kith_collection *collection, const ki_head *head) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    uint64_t version = snapshot->version;
    for (size_t h = snapshot->head_count; h-- > 0;) {
        const ki_snapshot_head *in = &snapshot->head[h];
        if (in->count) version = ki_head_row_at(in->head, 0).version - 1;
        if (in->head == head) break;
    }
    ki_snapshot_release(snapshot);
    return version;
}

/* ---- A batch ----------------------------------------------------------------------------------------------------- */

/* Take what waits, up to BATCH_BYTES; what looks at the whole state goes alone. Under the queue's mutex. */
static ki_request *take_batch(ki_commit_queue *queue) {
    ki_request *batch = queue->first, *last = batch;
    uint64_t bytes = batch->bytes;
    while (batch->verb != KI_VERB_REMOVE_WHERE && last->next && last->next->verb != KI_VERB_REMOVE_WHERE &&
           bytes + last->next->bytes <= BATCH_BYTES) {
        last = last->next;
        bytes += last->bytes;
    }
    queue->first = last->next;
    if (!queue->first) queue->end = &queue->first;
    last->next = NULL;
    return batch;
}

/* One request: resolved, applied, put into the log. *own: it failed by itself, and nothing of it was done. */
static kith_status do_request(ki_batch *batch, ki_request *request, int *own, kith_error *error) {
    ki_log_head head;
    uint64_t next_key;
    kith_status status = ki_resolve(batch, request, &next_key, error);
    *own = status != KITH_OK;
    request->report.version = batch->version;
    if (status != KITH_OK || batch->body.operations == 0) return status;
    const ki_bytes body = {batch->body.data, batch->body.bytes};
    kith_collection *collection = batch->collection;
    status = ki_log_read(batch->body.generations, collection->path, batch->version + 1, body, &head, ki_apply_operation,
                         &batch->apply, error);
    if (status == KITH_OK) status = ki_catalog_append_log(collection->catalog, head.version, body, error);
    if (status != KITH_OK) return status;
    request->report.version = batch->version = head.version;
    batch->next_key = next_key;
    return KITH_OK;
}

static void fail_request(ki_request *request, kith_status status, const kith_error *why) {
    request->status = status;
    request->error = *why;
    request->error.status = status;
}

/* All requests of the batch: what fails by itself is passed over, anything else ends it. */
static kith_status do_requests(ki_batch *batch, ki_request *first, kith_error *error) {
    for (ki_request *request = first; request; request = request->next) {
        kith_error why = {0};
        int own = 0;
        const kith_status status = do_request(batch, request, &own, &why);
        if (status == KITH_OK) continue;
        if (!own || status == KITH_E_IO || status == KITH_E_CORRUPT) return ki_fail(error, status, "%s", why.text);
        fail_request(request, status, &why);
    }
    return KITH_OK;
}

/* Under `writing`, between begin and end of the catalog's change. */
static kith_status change(ki_batch *batch, ki_request *first, kith_error *error) {
    kith_collection *collection = batch->collection;
    kith_status status = do_requests(batch, first, error);
    if (status == KITH_OK && batch->version == collection->version) {
        ki_catalog_rollback(collection->catalog); /* there is nothing to commit */
        return KITH_OK;
    }
    status = end_change(collection, status, error);
    if (status != KITH_OK) return status;
    collection->version = batch->version;
    collection->next_key = batch->next_key;
    ki_edit_publish(batch->edit, batch->version);
    batch->edit = NULL;
    return KITH_OK;
}

static kith_status run_batch(kith_collection *collection, ki_request *first, kith_error *error) {
    ki_batch batch = {.collection = collection, .version = collection->version, .next_key = collection->next_key};
    kith_status status = ki_collection_writable(collection, error);
    if (status == KITH_OK) status = ki_edit_begin(collection, &batch.edit, error);
    if (status == KITH_OK) status = ki_catalog_begin(collection->catalog, error);
    if (status == KITH_OK) {
        batch.body.generations = ki_edit_state(batch.edit)->generations;
        batch.apply = (ki_apply){
            .collection = collection, .edit = batch.edit, .schema = ki_edit_state(batch.edit)->schema, .to_catalog = 1};
        status = change(&batch, first, error);
    }
    ki_edit_abandon(batch.edit);
    ki_resolve_free(&batch);
    return status;
}

/* ---- The queue --------------------------------------------------------------------------------------------------- */

/* Writers are slowed down to what sealing keeps up with, so that memory is bounded. Woken by each published snapshot;
 * the time is for trouble, which publishes nothing. */
static kith_status make_room(kith_collection *collection, kith_error *error) {
    kith_status status = KITH_OK;
    pthread_mutex_lock(&collection->publishing);
    while (collection->current->head_count > FROZEN_MAX + 1 && status == KITH_OK) {
        pthread_mutex_unlock(&collection->publishing);
        collection->wake(collection);
        kith_collection_info info = KITH_COLLECTION_INFO_INIT;
        collection->tell(collection, &info);
        if (info.trouble && *info.trouble)
            status =
                ki_fail(error, KITH_E_BUSY, "too many rows wait to be sealed, and sealing fails: %s", info.trouble);
        pthread_mutex_lock(&collection->publishing);
        if (status == KITH_OK && collection->current->head_count > FROZEN_MAX + 1) {
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += 1;
            pthread_cond_timedwait(&collection->published, &collection->publishing, &until);
        }
    }
    pthread_mutex_unlock(&collection->publishing);
    return status;
}

/* The leader commits a batch, without the queue's mutex. */
static void lead(kith_collection *collection, ki_request *batch) {
    kith_error why = {0};
    kith_status status = ki_collection_expire(collection, &why);
    if (status == KITH_OK) {
        pthread_mutex_lock(&collection->writing);
        status = run_batch(collection, batch, &why);
        pthread_mutex_unlock(&collection->writing);
    }
    for (ki_request *request = batch; status != KITH_OK && request; request = request->next)
        if (request->status == KITH_OK) fail_request(request, status, &why);
}

kith_status ki_commit(kith_collection *collection, ki_request *request, kith_error *error) {
    ki_commit_queue *queue = collection->queue;
    /* What is over is removed by who seals: that one must not wait for itself. */
    const kith_status room = request->verb == KI_VERB_REMOVE_EXPIRED ? KITH_OK : make_room(collection, error);
    int led = 0;
    if (room != KITH_OK) return room;
    pthread_mutex_lock(&queue->mutex);
    request->done = request->stale = 0;
    request->next = NULL;
    *queue->end = request;
    queue->end = &request->next;
    while (!request->done) {
        if (queue->leading) {
            pthread_cond_wait(&queue->changed, &queue->mutex);
            continue;
        }
        queue->leading = led = 1;
        ki_request *batch = take_batch(queue);
        pthread_mutex_unlock(&queue->mutex);
        lead(collection, batch);
        pthread_mutex_lock(&queue->mutex);
        for (ki_request *next; batch; batch = next) {
            next = batch->next; /* its owner may return as soon as it is done */
            batch->done = 1;
        }
        queue->leading = 0;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    if (led) collection->wake(collection); /* may seal here: others have their answers */
    if (request->stale) return request->status;
    if (request->status != KITH_OK) return ki_fail(error, request->status, "%s", request->error.text);
    return KITH_OK;
}

kith_status ki_commit_expired(kith_collection *collection, uint64_t *removed, kith_error *error) {
    ki_request request = {.verb = KI_VERB_REMOVE_EXPIRED};
    const kith_status status = ki_commit(collection, &request, error);
    if (status == KITH_OK) *removed = request.report.removed;
    return status;
}
