/* SPDX-License-Identifier: Apache-2.0
 *
 * Compacting, on the caller's thread: what the maintainer does little by little, at once and to the end. Background
 * work is sent away meanwhile. */
#include "base/status.h"
#include "log/follow.h"
#include "upkeep/maintain.h"
#include "write/commit.h"

/* Items whose time is up go first, some thousands at a time. */
static kith_status expire(kith_collection *collection, kith_error *error) {
    uint64_t removed = 0;
    kith_status status = ki_collection_expire(collection, error);
    do {
        removed = 0;
        if (status == KITH_OK) status = ki_commit_expired(collection, &removed, error);
    } while (status == KITH_OK && removed);
    return status;
}

static kith_status compact(ki_maintainer *maintainer, ki_watch *watch, kith_error *error) {
    kith_collection *collection = maintainer->collection;
    int done = 0;
    kith_status status = ki_maintain_seal(maintainer, KI_SEAL_ALL, watch, error);
    ki_maintain_name(maintainer, KI_CLAIM_REST, "merging");
    if (status == KITH_OK) status = ki_merge_all(collection, watch, error);
    ki_maintain_name(maintainer, KI_CLAIM_REST, "indexing fields");
    while (status == KITH_OK && !done) status = ki_fields_index(collection, watch, &done, error);
    ki_maintain_name(maintainer, KI_CLAIM_REST, "dropping vectors");
    if (status == KITH_OK) status = ki_slots_clear(maintainer, watch, error);
    return status == KITH_OK ? ki_catalog_tidy(collection->catalog, error) : status;
}

kith_status kith_collection_compact(kith_collection *collection, kith_progress_fn progress, void *progress_context,
                                    kith_error *error) {
    if (!collection) return ki_fail(error, KITH_E_ARG, "kith_collection_compact: collection is NULL");
    pthread_mutex_lock(&collection->writing);
    kith_status status = ki_collection_writable(collection, error);
    pthread_mutex_unlock(&collection->writing);
    if (status == KITH_OK) status = expire(collection, error);
    if (status != KITH_OK) return status;
    ki_maintainer *maintainer = collection->maintainer;
    ki_watch watch = {.progress = progress, .progress_context = progress_context, .threads = maintainer->threads};
    if (!ki_maintain_claim(maintainer, KI_CLAIM_REST, &watch, "sealing"))
        return ki_fail(error, KITH_E_CANCELLED, "compacting was cancelled while it waited for its turn");
    status = compact(maintainer, &watch, error);
    ki_maintain_dig(maintainer, 0);
    ki_maintain_release(maintainer, KI_CLAIM_REST);
    return status;
}
