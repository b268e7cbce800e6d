/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles made anew of the events that they remember: because their items have other vectors now.
 *
 * A1. Names are taken from the catalog first; profiles are then made some at a time, each part under `writing` and in
 *     one change of the catalog, so that writes and events go on between. Who was forgotten meanwhile is passed over;
 *     who came meanwhile was made of today's vectors. */
#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "collection/profile.h"
#include "log/follow.h"
#include "state/hot.h"
#include "write/commit.h"

#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 64 };

/* ---- One --------------------------------------------------------------------------------------------------------- */

struct reading {
    const ki_snapshot *snapshot;
    size_t slot;
};

static kith_status vector_of(void *context, uint64_t key, float *vector, kith_error *error) {
    const struct reading *reading = context;
    ki_place place;
    if (!ki_snapshot_find(reading->snapshot, key, &place)) return KITH_E_NOTFOUND;
    return ki_snapshot_vector(reading->snapshot, &place, reading->slot, vector, error);
}

kith_status ki_profile_again_in(const ki_snapshot *snapshot, const ki_generation *generation, ki_profile *profile,
                                uint64_t *skipped, kith_error *error) {
    const ki_generations *generations = snapshot->generations;
    const size_t slot = generation->slot[profile->vector];
    const ki_vector *of = &generations->vector[slot];
    struct reading reading = {snapshot, slot};
    if (of->dtype == KITH_B1)
        return ki_fail(error, KITH_E_ARG, "vector \"%s\" is of bits: profiles are of numbers", of->name);
    const ki_profile_space space = {profile->vector, generations->tenant[slot], (uint32_t)of->dim, of->metric};
    return ki_profile_again(profile, &space, vector_of, &reading, skipped, error);
}

/* ---- Some -------------------------------------------------------------------------------------------------------- */

/* One that is ready to be written. */
struct made {
    const char *name;
    void *data;
    size_t bytes;
};

struct work {
    kith_collection *collection;
    char **names;
    size_t name_count, name_capacity;
    struct made made[AT_ONCE];
    size_t made_count;
    kith_rebuild_report report;
};

static kith_status make_one(struct work *work, const ki_snapshot *snapshot, const char *name, kith_error *error) {
    struct made *made = &work->made[work->made_count];
    ki_profile profile;
    uint64_t skipped = 0;
    kith_status status = ki_profile_read(work->collection, name, &profile, NULL, error);
    if (status != KITH_OK) return status;
    *made = (struct made){.name = name};
    status = ki_profile_again_in(snapshot, ki_generations_current(snapshot->generations), &profile, &skipped, error);
    if (status == KITH_OK) status = ki_profile_encode(&profile, &made->data, &made->bytes, error);
    if (status == KITH_OK) {
        work->made_count++;
        work->report.profiles++;
        work->report.events += profile.log_count;
        work->report.skipped += skipped;
    }
    ki_profile_free(&profile);
    return status;
}

static kith_status put_made(kith_collection *collection, void *context, kith_error *error) {
    const struct work *work = context;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < work->made_count && status == KITH_OK; i++) {
        const struct made *made = &work->made[i];
        status =
            ki_catalog_put_record(collection->catalog, KI_RECORD_PROFILE, (ki_bytes){made->name, strlen(made->name)},
                                  (ki_bytes){made->data, made->bytes}, error);
    }
    return status;
}

/* Those that are made, into the catalog. They are not kept hot: nobody asked for them. */
static kith_status write_made(struct work *work, kith_error *error) {
    ki_hot *hot = work->collection->hot;
    for (size_t i = 0; i < work->made_count; i++) ki_hot_begin(hot, work->made[i].name);
    const kith_status status = ki_commit_records(work->collection, put_made, work, error);
    for (size_t i = 0; i < work->made_count; i++) ki_hot_end(hot, work->made[i].name, (ki_bytes){0});
    return status;
}

/* A1. alone: one profile was asked for by its name, and must be there. */
static kith_status make_some(struct work *work, char *const *names, size_t count, int alone, kith_error *error) {
    const kith_rebuild_report before = work->report;
    kith_status status = KITH_OK;
    pthread_mutex_lock(&work->collection->writing);
    ki_snapshot *snapshot = ki_snapshot_pin(work->collection);
    work->made_count = 0;
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        kith_error own = {0};
        status = make_one(work, snapshot, names[i], &own);
        if (status == KITH_E_NOTFOUND && !alone)
            status = KITH_OK;
        else if (status != KITH_OK)
            (void)ki_fail(error, status, "%s", own.text);
    }
    if (status == KITH_OK && work->made_count) status = write_made(work, error);
    ki_snapshot_release(snapshot);
    pthread_mutex_unlock(&work->collection->writing);
    for (size_t i = 0; i < work->made_count; i++) free(work->made[i].data);
    if (status != KITH_OK) work->report = before;
    return status;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

static kith_status note_name(void *context, ki_bytes name, ki_bytes body, kith_error *error) {
    struct work *work = context;
    void *names = work->names;
    char *copy = ki_alloc_array(name.bytes + 1, 1);
    (void)body;
    if (!copy || !ki_array_reserve(&names, &work->name_capacity, work->name_count + 1, sizeof(*work->names))) {
        free(copy);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for the names of %zu profiles", work->name_count);
    }
    memcpy(copy, name.data, name.bytes);
    copy[name.bytes] = 0;
    work->names = names;
    work->names[work->name_count++] = copy;
    return KITH_OK;
}

static int is_cancelled(kith_progress_fn progress, void *context, uint64_t done, uint64_t total) {
    const kith_progress state = {
        .struct_size = sizeof(state), .stage = "rebuilding", .unit = "profiles", .done = done, .total = total};
    return progress && progress(context, &state);
}

static kith_status make_all(struct work *work, kith_progress_fn progress, void *context, kith_error *error) {
    kith_status status = ki_catalog_scan_records(work->collection->catalog, KI_RECORD_PROFILE, note_name, work, error);
    for (size_t done = 0; done < work->name_count && status == KITH_OK;) {
        if (is_cancelled(progress, context, done, work->name_count))
            return ki_fail(error, KITH_E_CANCELLED, "rebuilding profiles was cancelled after %zu of %zu", done,
                           work->name_count);
        const size_t count = ki_min_size(AT_ONCE, work->name_count - done);
        status = make_some(work, work->names + done, count, 0, error);
        done += count;
    }
    return status;
}

kith_status kith_collection_profile_rebuild(kith_collection *collection, const char *profile, kith_progress_fn progress,
                                            void *progress_context, kith_rebuild_report *report, kith_error *error) {
    if (!collection) return ki_fail(error, KITH_E_ARG, "kith_collection_profile_rebuild: collection is NULL");
    kith_status status = ki_grown_check(KI_GROWN_REBUILD_REPORT, report, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status == KITH_OK) status = ki_collection_expire(collection, error);
    if (status != KITH_OK) return status;
    struct work *work = ki_alloc_array_zeroed(1, sizeof(*work));
    if (!work) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    work->collection = collection;
    work->report = (kith_rebuild_report)KITH_REBUILD_REPORT_INIT;
    char *name = (char *)(uintptr_t)profile; /* it is read only */
    status = profile ? make_some(work, &name, 1, 1, error) : make_all(work, progress, progress_context, error);
    if (status == KITH_OK) ki_grown_write(KI_GROWN_REBUILD_REPORT, &work->report, report);
    for (size_t i = 0; i < work->name_count; i++) free(work->names[i]);
    free(work->names);
    free(work);
    return status;
}
