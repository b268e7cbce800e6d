/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing. What a crash left behind is put right in between: the log is replayed, and folders of segments
 * that the catalog does not name are removed. */
#define _GNU_SOURCE
#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/status.h"
#include "collection/create.h"
#include "load/load.h"
#include "segment/home.h"
#include "collection/lock.h"
#include "log/follow.h"
#include "log/load.h"
#include "match/match.h"
#include "segment/home.h"
#include "state/generations.h"
#include "state/hot.h"
#include "state/pages.h"
#include "state/tenants.h"
#include "upkeep/upkeep.h"
#include "write/commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Closing, also of what is half open -------------------------------------------------------------------------- */

static void free_tables(kith_collection *collection) {
    for (size_t g = 0; g < collection->generation_count; g++) free(collection->generations[g]);
    free(collection->generations);
    for (size_t s = 0; s < collection->schema_count; s++) ki_schema_destroy(collection->schemas[s]);
    free(collection->schemas);
}

void kith_collection_close(kith_collection *collection) {
    if (!collection) return;
    ki_maintain_stop(collection);
    if (collection->matches) ki_match_cache_destroy(collection->matches);
    ki_tenants_destroy(collection->tenants);
    ki_snapshot_release(collection->current);
    ki_pages_destroy(collection->pages);
    ki_hot_destroy(collection->hot);
    ki_catalog_close(collection->catalog);
    if (collection->in_memory && collection->path) (void)ki_home_remove(collection->path, NULL);
    ki_lock_release(collection->lock_fd);
    ki_commit_queue_destroy(collection->queue);
    free_tables(collection);
    if (collection->owns_pool) kith_pool_destroy(collection->pool);
    ki_made_free(&collection->made);
    pthread_cond_destroy(&collection->published);
    pthread_mutex_destroy(&collection->publishing);
    pthread_mutex_destroy(&collection->writing);
    free(collection->segments_path);
    free(collection->path);
    free(collection);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

/* A collection that nothing was read of yet. */
static kith_status begin(const char *path, const kith_collection_open_options *given, kith_collection **out,
                         kith_error *error) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    const kith_status status = ki_grown_read(KI_GROWN_COLLECTION_OPEN_OPTIONS, given, &options, error);
    if (status != KITH_OK) return status;
    if (options.durability != KITH_DURABILITY_FULL && options.durability != KITH_DURABILITY_RELAXED)
        return ki_fail(error, KITH_E_ARG, "durability is %d, which is none", (int)options.durability);
    kith_collection *made = ki_alloc_array_zeroed(1, sizeof(*made));
    if (!made) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->published, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&made->publishing, NULL);
    pthread_mutex_init(&made->writing, NULL);
    made->lock_fd = -1;
    made->options = options;
    made->pool = options.pool;
    made->now_ms = ki_wall_ms;
    made->own_from = KI_OWN_FROM;
    made->wake = ki_maintain_wake;
    made->tell = ki_maintain_info;
    made->path = strdup(path);
    made->segments_path = ki_home_path(path, KI_HOME_SEGMENTS);
    made->queue = ki_commit_queue_create();
    made->matches = ki_match_cache_create();
    made->tenants = ki_tenants_create();
    *out = made;
    return made->path && made->segments_path && made->queue && made->matches && made->tenants
               ? KITH_OK
               : ki_fail(error, KITH_E_NOMEM, "out of memory");
}

static kith_status take_pool(kith_collection *collection, kith_error *error) {
    if (collection->pool) return KITH_OK;
    const kith_status status = kith_pool_create(collection->options.threads, &collection->pool, error);
    collection->owns_pool = status == KITH_OK;
    return status;
}

/* The catalog first: without one there is no collection, and no lock is to be left behind. */
static kith_status open_catalog(kith_collection *collection, kith_error *error) {
    const ki_catalog_options options = {.read_only = collection->options.read_only,
                                        .durability = collection->options.durability,
                                        .gather = 1}; /* the maintainer syncs */
    kith_error own = {0};
    char *path = ki_home_path(collection->path, KI_HOME_CATALOG);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_status status = ki_home_find(path) ? KITH_OK : KITH_E_NOTFOUND;
    if (status == KITH_OK && !collection->options.read_only)
        status = ki_lock_take(collection->path, &collection->lock_fd, &own);
    if (status == KITH_OK) status = ki_catalog_open_sqlite(path, &options, &collection->catalog, &own);
    free(path);
    if (status == KITH_E_NOTFOUND)
        return ki_fail(error, status, "%s: there is no collection (no file %s)", collection->path, KI_HOME_CATALOG);
    return status == KITH_OK ? status : ki_fail(error, status, "%s", own.text);
}

static kith_status read_made(kith_collection *collection, kith_error *error) {
    ki_found found = {0};
    kith_status status = ki_catalog_get_setting(collection->catalog, KI_SETTING_MADE, &found, error);
    if (status == KITH_OK) status = ki_made_decode(found.body, collection->path, &collection->made, error);
    ki_found_free(&found);
    if (status != KITH_E_NOTFOUND) return status;
    return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog lacks the setting \"%s\"", collection->path,
                   KI_SETTING_MADE);
}

/* ---- What a crash left in segments/ ------------------------------------------------------------------------------ */

/* Remove what is not a segment of the current state: half built, or merged away and not removed in time. What cannot be
 * removed does no harm, and is tried again at the next opening. */
static kith_status remove_orphan(void *context, const char *name, kith_error *error) {
    kith_collection *collection = context;
    const ki_snapshot *current = collection->current;
    for (size_t s = 0; s < current->sealed_count; s++) {
        const char *folder = strrchr(current->sealed[s].sealed->folder, '/');
        if (strcmp(folder ? folder + 1 : current->sealed[s].sealed->folder, name) == 0) {
            ki_sealed_sweep(current->sealed[s].sealed);
            return KITH_OK;
        }
    }
    char *path = ki_home_path(collection->segments_path, name);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    (void)ki_home_remove(path, NULL);
    free(path);
    return KITH_OK;
}

/* The segments' folder may be gone with all that was in it: then the catalog names none, or could not be read. */
static kith_status put_right(kith_collection *collection, kith_error *error) {
    if (!ki_home_find(collection->segments_path)) return ki_home_make(collection->segments_path, error);
    ki_load_put_back(collection);
    return ki_home_each(collection->segments_path, remove_orphan, collection, error);
}

/* ---- The verbs --------------------------------------------------------------------------------------------------- */

/* An eighth of what may be kept is for profiles: they are small beside answers with payloads. */
static kith_status make_caches(kith_collection *collection, kith_error *error) {
    const uint64_t all = collection->options.cache_bytes, profiles = all / 8;
    if (!all) return KITH_OK;
    collection->pages = ki_pages_create(all - profiles, &collection->made);
    collection->hot = ki_hot_create(profiles);
    if (collection->pages && collection->hot) return KITH_OK;
    return ki_fail(error, KITH_E_NOMEM, "out of memory for kept answers");
}

/* What the first edit begins with; what the catalog has comes with its state. */
static kith_status keep_first(kith_collection *collection, kith_error *error) {
    ki_generations *first = ki_generations_first(&collection->made);
    if (!first) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    const kith_status status = ki_state_keep_generations(collection, first, error);
    if (status != KITH_OK) free(first);
    return status;
}

static kith_status start(kith_collection *collection, kith_error *error) {
    kith_status status = make_caches(collection, error);
    if (status == KITH_OK) status = take_pool(collection, error);
    if (status == KITH_OK) status = keep_first(collection, error);
    if (status == KITH_OK) status = ki_state_load(collection, error);
    if (status == KITH_OK) status = ki_collection_expire(collection, error);
    if (status != KITH_OK || collection->options.read_only) return status;
    status = put_right(collection, error);
    return status == KITH_OK ? ki_maintain_start(collection, error) : status;
}

kith_status kith_collection_open(const char *path, const kith_collection_open_options *options,
                                 kith_collection **collection, kith_error *error) {
    kith_collection *opened = NULL;
    if (!path || !collection) return ki_fail(error, KITH_E_ARG, "kith_collection_open: an argument is NULL");
    kith_status status = begin(path, options, &opened, error);
    if (status == KITH_OK) status = open_catalog(opened, error);
    if (status == KITH_OK) status = read_made(opened, error);
    if (status == KITH_OK) status = start(opened, error);
    if (status == KITH_OK)
        *collection = opened;
    else
        kith_collection_close(opened);
    return status;
}

/* The temporary folder takes segments while they are built. */
static kith_status make_memory(const kith_collection_options *given, kith_collection *collection, kith_error *error) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    ki_schema *schema = NULL;
    kith_status status = ki_grown_read(KI_GROWN_COLLECTION_OPTIONS, given, &options, error);
    if (status == KITH_OK) status = ki_made_create(&options, &collection->made, &schema, error);
    if (status == KITH_OK) status = ki_catalog_open_memory(&collection->catalog, error);
    if (status == KITH_OK) status = ki_create_settings(collection->catalog, &collection->made, schema, error);
    ki_schema_destroy(schema);
    return status;
}

kith_status kith_collection_open_memory(const kith_collection_options *made,
                                        const kith_collection_open_options *options, kith_collection **collection,
                                        kith_error *error) {
    kith_collection *opened = NULL;
    char *folder = NULL;
    if (!made || !collection) return ki_fail(error, KITH_E_ARG, "kith_collection_open_memory: an argument is NULL");
    kith_status status = ki_home_temporary(&folder, error);
    if (status != KITH_OK) return status;
    status = begin(folder, options, &opened, error);
    if (opened) opened->in_memory = 1;
    if (status == KITH_OK && opened->options.read_only)
        status = ki_fail(error, KITH_E_ARG, "a collection in memory alone would stay empty if it was read only");
    if (status == KITH_OK) status = make_memory(made, opened, error);
    if (status == KITH_OK) status = start(opened, error);
    if (!opened) (void)ki_home_remove(folder, NULL);
    free(folder);
    if (status == KITH_OK)
        *collection = opened;
    else
        kith_collection_close(opened);
    return status;
}
