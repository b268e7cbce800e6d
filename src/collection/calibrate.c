/* SPDX-License-Identifier: Apache-2.0
 *
 * Calibrations as records, and measuring them. */
#include "collection/calibrate.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/pool.h"
#include "base/status.h"
#include "tune/tune.h"

#include <string.h>

enum {
    NAME_BYTES = 12,
    HEAD_BYTES = 8,
    VERSION = 1,
    HASH_BYTES = 8, /* the last ones of an encoded calibration */
};
static const uint64_t MEMORY_BYTES = UINT64_C(128) << 20; /* a guess */

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static ki_bytes name_of(const ki_sealed *sealed, size_t spec, unsigned char to[NAME_BYTES]) {
    ki_store_u64(to, sealed->number);
    ki_store_u32(to + 8, (uint32_t)spec);
    return (ki_bytes){to, NAME_BYTES};
}

static uint64_t hash_of(const unsigned char *calibration, size_t bytes) {
    return ki_load_u64(calibration + bytes - HASH_BYTES);
}

/* Only indexes with lists have any. */
static int may_have(const ki_sealed *sealed, size_t spec) {
    const kith_index *index = sealed->index[spec];
    return index && index->view.lists.count > 1 && index->view.originals;
}

/* *found: what the catalog has of an index, bytes 0: nothing that can be read. */
static kith_status get(kith_collection *collection, const ki_sealed *sealed, size_t spec, ki_found *found,
                       kith_error *error) {
    unsigned char name[NAME_BYTES];
    kith_status status = KITH_E_NOTFOUND;
    if (may_have(sealed, spec))
        status = ki_catalog_get_record(collection->catalog, KI_RECORD_CALIBRATION, name_of(sealed, spec, name), found,
                                       error);
    const unsigned char *body = found->body.data;
    if (status == KITH_OK && found->body.bytes >= HEAD_BYTES + ki_calibration_bytes(0) && ki_load_u32(body) == VERSION)
        return KITH_OK;
    found->body = (ki_bytes){0};
    return status == KITH_E_NOTFOUND ? KITH_OK : status;
}

/* Give an index these bytes, if they are such as it can use (Q3). */
static kith_status take(ki_sealed *sealed, size_t spec, const unsigned char *bytes, size_t count, kith_error *error) {
    const ki_calibration_state state = ki_index_take_calibration(sealed->index[spec], bytes, count);
    if (state == KI_CALIBRATION_NO_MEMORY) return ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
    if (state == KI_CALIBRATION_GOOD) sealed->tuned[spec] = (ki_sealed_tuned){1, hash_of(bytes, count)};
    return KITH_OK;
}

kith_status ki_calibration_read(kith_collection *collection, ki_sealed *sealed, kith_error *error) {
    ki_found found = {0};
    kith_status status = KITH_OK;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++) {
        status = get(collection, sealed, s, &found, error);
        const unsigned char *body = found.body.data;
        if (status == KITH_OK && body)
            status = take(sealed, s, body + HEAD_BYTES, found.body.bytes - HEAD_BYTES, error);
    }
    ki_found_free(&found);
    return status;
}

kith_status ki_calibration_same(kith_collection *collection, const ki_sealed *sealed, int *same, kith_error *error) {
    ki_found found = {0};
    kith_status status = KITH_OK;
    *same = 1;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK && *same; s++) {
        status = get(collection, sealed, s, &found, error);
        const unsigned char *body = found.body.data;
        const uint64_t hash = body ? hash_of(body, found.body.bytes) : 0;
        *same = hash == sealed->tuned[s].hash || (hash && !may_have(sealed, s));
    }
    ki_found_free(&found);
    return status;
}

static unsigned char *encode(const ki_calibration *calibration, size_t head, size_t *count) {
    *count = ki_calibration_bytes(calibration->count);
    unsigned char *bytes = ki_alloc_array(head + *count, 1);
    if (bytes) ki_calibration_encode(calibration, bytes + head);
    return bytes;
}

kith_status ki_calibration_copy(const ki_sealed *old, ki_sealed *sealed, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t s = 0; s < old->specs && status == KITH_OK; s++) {
        size_t count;
        if (!old->tuned[s].hash) continue;
        unsigned char *bytes = encode(&old->index[s]->calibration, 0, &count);
        status = bytes ? take(sealed, s, bytes, count, error)
                       : ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
        free(bytes);
    }
    return status;
}

kith_status ki_calibration_remove(kith_collection *collection, const ki_sealed *sealed, kith_error *error) {
    unsigned char name[NAME_BYTES];
    kith_status status = KITH_OK;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++)
        if (may_have(sealed, s))
            status =
                ki_catalog_remove_record(collection->catalog, KI_RECORD_CALIBRATION, name_of(sealed, s, name), error);
    return status;
}

/* ---- Measured ---------------------------------------------------------------------------------------------------- */

static int lacks(const ki_sealed *sealed, size_t spec) {
    return may_have(sealed, spec) && sealed->index[spec]->view.rows >= KI_CALIBRATED_FROM && !sealed->tuned[spec].known;
}

/* The largest segment that lacks one; NULL: none does. In memory alone files cannot be opened once more: there builds
 * measure. */
static ki_sealed *next(const kith_collection *collection, const ki_snapshot *snapshot) {
    ki_sealed *found = NULL;
    for (size_t i = 0; i < snapshot->sealed_count && !collection->in_memory; i++) {
        ki_sealed *sealed = snapshot->sealed[i].sealed;
        for (size_t s = 0; s < sealed->specs; s++)
            if (lacks(sealed, s) && (!found || ki_table_rows(sealed->table) > ki_table_rows(found->table)))
                found = sealed;
    }
    return found;
}

int ki_calibrate_wanted(const kith_collection *collection, const ki_snapshot *snapshot) {
    return next(collection, snapshot) != NULL;
}

static kith_status measure_index(ki_job *job, size_t spec, kith_pool *pool, kith_error *error) {
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    unsigned char *bytes = NULL;
    size_t count = 0;
    options.pool = pool;
    options.progress = ki_job_watched;
    options.progress_context = job;
    kith_status status =
        ki_tune_index(job->origin[0].sealed->index[spec], &options, 0, MEMORY_BYTES, &bytes, &count, error);
    if (status == KITH_OK) status = take(job->sealed, spec, bytes, count, error);
    free(bytes);
    return status;
}

static kith_status measure(ki_job *job, kith_error *error) {
    const ki_sealed *old = job->origin[0].sealed;
    kith_pool *pool = NULL;
    kith_status status = kith_pool_create(job->watch ? job->watch->threads : 1, &pool, error);
    if (status == KITH_OK) status = ki_job_open_again(job, error);
    for (size_t s = 0; s < old->specs && status == KITH_OK; s++, job->part++)
        if (lacks(old, s)) status = measure_index(job, s, pool, error);
    kith_pool_destroy(pool);
    return status;
}

/* What was measured, as records. */
static kith_status put(kith_collection *collection, const ki_job *job, kith_error *error) {
    const ki_sealed *sealed = job->sealed;
    unsigned char name[NAME_BYTES];
    kith_status status = KITH_OK;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++) {
        size_t count;
        if (!sealed->tuned[s].hash) continue;
        unsigned char *body = encode(&sealed->index[s]->calibration, HEAD_BYTES, &count);
        if (!body) return ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
        ki_store_u32(body, VERSION);
        ki_store_u32(body + 4, 0);
        status = ki_catalog_put_record(collection->catalog, KI_RECORD_CALIBRATION, name_of(sealed, s, name),
                                       (ki_bytes){body, HEAD_BYTES + count}, error);
        free(body);
    }
    return status;
}

/* One that could not be measured, since the same bytes were not good for it, would be tried for ever. */
static kith_status check(const ki_job *job, kith_error *error) {
    for (size_t s = 0; s < job->sealed->specs; s++)
        if (lacks(job->sealed, s))
            return ki_fail(error, KITH_E_CORRUPT, "%s: what was measured does not fit the index", job->sealed->folder);
    return KITH_OK;
}

kith_status ki_calibrate(kith_collection *collection, ki_watch *watch, int *done, kith_error *error) {
    ki_job job;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_sealed *lacking = next(collection, snapshot);
    ki_job_begin(collection, snapshot, "calibrating", watch, &job);
    kith_status status = lacking ? ki_job_add(&job, NULL, lacking, NULL, error) : KITH_OK;
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && lacking) {
        job.rows = ki_table_rows(lacking->table);
        job.parts = lacking->specs;
        if (watch) {
            atomic_store(&watch->done, 0);
            atomic_store(&watch->total, job.rows);
        }
        status = ki_job_politely(&job, measure, error);
        if (status == KITH_OK) status = check(&job, error);
        if (status == KITH_OK) status = ki_job_replace(&job, put, KI_RETIRED_NOT, error);
    }
    if (status == KITH_OK) *done = !lacking;
    ki_job_end(&job);
    return status;
}
