/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of a collection, and whether it is whole: kith_collection_snapshot, restore and verify.
 *
 * A copy begins with the catalog's: what that names is what is copied. Files of segments never change, so hard links
 * do. A merge may remove a segment between the two; then the copy begins anew. */
#define _GNU_SOURCE
#include "state/collection.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "log/follow.h"
#include "segment/body.h"
#include "segment/home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A merge takes longer than a copy by links, so that a second attempt is rare and a fifth one a fault. */
enum { ATTEMPTS = 5, COPY_BYTES = 1 << 20 };

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static kith_status copy_bytes(int fd, const char *from, uint64_t bytes, ki_outfile *file, kith_error *error) {
    unsigned char *buffer = ki_alloc_array(COPY_BYTES, 1);
    kith_status status = buffer ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    for (uint64_t at = 0; at < bytes && status == KITH_OK;) {
        const uint64_t part = ki_min_u64(bytes - at, COPY_BYTES);
        status = ki_read_at(fd, from, buffer, part, at, error);
        if (status == KITH_OK) status = ki_outfile_write_at(file, buffer, part, at, error);
        at += part;
    }
    free(buffer);
    return status;
}

static kith_status copy_file(const char *from, const char *to, kith_error *error) {
    int fd = -1;
    uint64_t bytes = 0;
    ki_outfile file = KI_OUTFILE_NONE;
    kith_status status = ki_open_read(from, &fd, &bytes, error);
    if (status != KITH_OK) return status;
    status = ki_outfile_create(to, &file, error);
    if (status == KITH_OK) status = copy_bytes(fd, from, bytes, &file, error);
    if (status == KITH_OK) status = ki_outfile_commit(&file, error);
    ki_outfile_discard(&file);
    close(fd);
    return status;
}

/* A link, or where there can be none a copy. */
static kith_status link_file(const char *from, const char *to, kith_error *error) {
    if (link(from, to) == 0) return KITH_OK;
    if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP || errno == EACCES)
        return copy_file(from, to, error);
    return ki_fail_errno(error, errno, "%s: cannot be linked to %s", from, to);
}

/* ---- One attempt ------------------------------------------------------------------------------------------------- */

struct copying {
    const kith_collection *collection;
    const char *segments; /* where they go */
};

static kith_status copy_segment_file(const struct copying *copying, uint64_t number, const ki_body_file *file,
                                     kith_error *error) {
    if (!file->name[0]) return KITH_OK;
    char *from = ki_sealed_file(copying->collection->segments_path, number, file->name);
    char *to = ki_sealed_file(copying->segments, number, file->name);
    const kith_status status = from && to ? link_file(from, to, error) : ki_fail(error, KITH_E_NOMEM, "out of memory");
    free(from);
    free(to);
    return status;
}

/* A ki_catalog_body_fn. */
static kith_status copy_segment(void *context, uint64_t number, ki_bytes bytes, kith_error *error) {
    const struct copying *copying = context;
    ki_body body;
    ki_bits *alive = NULL;
    kith_status status = ki_body_decode(bytes.data, bytes.bytes, number, &body, &alive, error);
    ki_bits_release(alive);
    if (status == KITH_OK) status = ki_sealed_make_folder(copying->segments, number, error);
    if (status == KITH_OK) status = copy_segment_file(copying, number, &body.table, error);
    for (size_t s = 0; s < body.specs && status == KITH_OK; s++)
        status = copy_segment_file(copying, number, &body.index[s], error);
    char *folder = status == KITH_OK ? ki_sealed_folder(copying->segments, number) : NULL;
    if (status == KITH_OK)
        status = folder ? ki_home_sync(folder, error) : ki_fail(error, KITH_E_NOMEM, "out of memory");
    free(folder);
    return status;
}

/* The copied catalog says which segments there are. */
static kith_status copy_segments(const char *catalog_path, struct copying *copying, kith_error *error) {
    ki_catalog *catalog = NULL;
    const ki_catalog_options options = {0};
    kith_status status = ki_home_make(copying->segments, error);
    if (status == KITH_OK) status = ki_catalog_open_sqlite(catalog_path, &options, &catalog, error);
    if (status == KITH_OK) status = ki_catalog_scan_segments(catalog, copy_segment, copying, error);
    ki_catalog_close(catalog);
    return status == KITH_OK ? ki_home_sync(copying->segments, error) : status;
}

static kith_status copy_once(kith_collection *collection, const char *temp, kith_error *error) {
    char *catalog = ki_home_path(temp, KI_HOME_CATALOG), *segments = ki_home_path(temp, KI_HOME_SEGMENTS);
    struct copying copying = {collection, segments};
    kith_status status =
        catalog && segments ? ki_home_remove(catalog, error) : ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) status = ki_home_remove(segments, error);
    if (status == KITH_OK) status = ki_catalog_copy(collection->catalog, catalog, error);
    if (status == KITH_OK) status = copy_segments(catalog, &copying, error);
    free(catalog);
    free(segments);
    return status;
}

kith_status kith_collection_snapshot(kith_collection *collection, const char *path, kith_error *error) {
    char *temp = NULL;
    if (!collection || !path) return ki_fail(error, KITH_E_ARG, "kith_collection_snapshot: collection or path is NULL");
    if (collection->in_memory)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: a collection in memory has no files to copy", path);
    kith_status status = ki_home_begin(path, &temp, error);
    if (status != KITH_OK) return status;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        kith_error own = {0};
        status = copy_once(collection, temp, &own);
        if (status != KITH_OK) (void)!ki_fail(error, status, "%s", own.text);
        if (status != KITH_E_NOTFOUND) break;
    }
    if (status == KITH_OK) status = ki_home_commit(temp, path, error);
    if (status != KITH_OK) (void)!ki_home_remove(temp, NULL);
    free(temp);
    return status;
}

kith_status kith_collection_restore(const char *from, const char *to, kith_progress_fn progress, void *progress_context,
                                    kith_error *error) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.read_only = 1;
    if (!from || !to) return ki_fail(error, KITH_E_ARG, "kith_collection_restore: from or to is NULL");
    kith_status status = kith_collection_verify(from, NULL, progress, progress_context, error);
    if (status == KITH_OK) status = kith_collection_open(from, &options, &collection, error);
    if (status == KITH_OK) status = kith_collection_snapshot(collection, to, error);
    kith_collection_close(collection);
    return status;
}

/* ---- Verifying --------------------------------------------------------------------------------------------------- */

/* Do items and rows agree? */
struct agreement {
    const kith_collection *collection;
    const ki_snapshot *snapshot;
    uint64_t now_ms, found, expired;
};

/* A ki_catalog_item_fn. */
static kith_status look_for(void *context, const ki_catalog_item *item, kith_error *error) {
    struct agreement *agreement = context;
    ki_place place;
    if (ki_snapshot_find(agreement->snapshot, item->key, &place)) {
        agreement->found++;
        return KITH_OK;
    }
    /* Its time is up: it lives no longer, and the writer has not come to remove it. */
    if (item->expires_ms && item->expires_ms <= agreement->now_ms) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: item %llu of the catalog has no row in any segment",
                   agreement->collection->path, (unsigned long long)item->key);
}

static kith_status agree_once(kith_collection *collection, uint64_t *stamp, kith_error *error) {
    kith_status status = ki_catalog_stamp(collection->catalog, stamp, error);
    if (status == KITH_OK) status = ki_collection_refresh(collection, error);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    struct agreement agreement = {.collection = collection, .snapshot = snapshot, .now_ms = collection->now_ms()};
    status = ki_catalog_scan_items(collection->catalog, 0, look_for, &agreement, error);
    if (status == KITH_OK && agreement.found != snapshot->items)
        status =
            ki_fail(error, KITH_E_CORRUPT, "%s: segments have %llu living rows, and the catalog has items for %llu",
                    collection->path, (unsigned long long)snapshot->items, (unsigned long long)agreement.found);
    ki_snapshot_release(snapshot);
    return status;
}

/* A writer may be at work: what it did between two looks is no fault. */
static kith_status agree(kith_collection *collection, kith_error *error) {
    kith_status status = KITH_OK;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t before = 0, after = 0;
        kith_error own = {0};
        status = agree_once(collection, &before, &own);
        if (status != KITH_OK) (void)!ki_fail(error, status, "%s", own.text);
        if (status != KITH_E_CORRUPT || ki_catalog_stamp(collection->catalog, &after, NULL) != KITH_OK ||
            after == before)
            break;
    }
    return status;
}

static kith_status check_segments(const ki_snapshot *snapshot, kith_pool *pool, kith_progress_fn progress,
                                  void *progress_context, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t i = 0; i < snapshot->sealed_count && status == KITH_OK; i++)
        status = ki_sealed_check(snapshot->sealed[i].sealed, pool, progress, progress_context, error);
    return status;
}

kith_status kith_collection_verify(const char *path, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                                   kith_error *error) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    if (!path) return ki_fail(error, KITH_E_ARG, "kith_collection_verify: path is NULL");
    options.read_only = 1;
    options.pool = pool;
    kith_status status = kith_collection_open(path, &options, &collection, error);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    status = ki_catalog_check(collection->catalog, progress, progress_context, error);
    if (status == KITH_OK) status = check_segments(snapshot, pool, progress, progress_context, error);
    if (status == KITH_OK) status = agree(collection, error);
    ki_snapshot_release(snapshot);
    kith_collection_close(collection);
    return status;
}
