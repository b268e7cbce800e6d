/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring segments: one at a time, the largest first. */
#include "upkeep/calibrate.h"

#include "base/pool.h"
#include "base/status.h"
#include "log/measured.h"
#include "tune/tune.h"

#include <stdlib.h>

static const uint64_t MEMORY_BYTES = UINT64_C(128) << 20; /* a guess */
/* In haste: a tenth of a second for 10,000 rows, about what making their lists takes. */
enum { HASTY_QUERIES = 256, HASTY_NS = 20000000, HASTY_ROW_NS = 4000 };

static int lacks(const ki_sealed *sealed, size_t spec) {
    return ki_measured_may(sealed, spec) && sealed->index[spec]->view.rows >= KI_CALIBRATED_FROM &&
           !sealed->tuned[spec].known;
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

/* Of job->sealed. queries and budget_ns 0: as many and as long as at the end of a build. */
static kith_status measure_index(ki_job *job, size_t spec, kith_pool *pool, size_t queries, uint64_t budget_ns,
                                 kith_error *error) {
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    unsigned char *bytes = NULL;
    size_t count = 0;
    options.pool = pool;
    options.queries = queries;
    options.progress = ki_job_watched;
    options.progress_context = job;
    kith_status status =
        ki_tune_index(job->sealed->index[spec], &options, budget_ns, MEMORY_BYTES, &bytes, &count, error);
    if (status == KITH_OK) status = ki_measured_take(job->sealed, spec, bytes, count, error);
    free(bytes);
    return status;
}

static kith_status measure(ki_job *job, kith_error *error) {
    const ki_sealed *old = job->origin[0].sealed;
    kith_pool *pool = NULL;
    kith_status status = kith_pool_create(job->watch ? job->watch->threads : 1, &pool, error);
    if (status == KITH_OK) status = ki_job_open_again(job, 0, error);
    for (size_t s = 0; s < old->specs && status == KITH_OK; s++, job->part++)
        if (lacks(old, s)) status = measure_index(job, s, pool, 0, 0, error);
    kith_pool_destroy(pool);
    return status;
}

kith_status ki_calibrate_hastily(ki_job *job, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t s = 0; s < job->sealed->specs && status == KITH_OK; s++) {
        const kith_index *index = job->sealed->index[s];
        if (index && index->view.lists.count > 1 && ki_measured_may(job->sealed, s) && !job->sealed->tuned[s].known)
            status = measure_index(job, s, NULL, HASTY_QUERIES, HASTY_NS + index->view.rows * HASTY_ROW_NS, error);
    }
    return status;
}

static kith_status put(kith_collection *collection, const ki_job *job, kith_error *error) {
    return ki_measured_put(collection, job->sealed, error);
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
        if (status == KITH_OK) status = ki_job_replace(&job, put, KI_RETIRED_NOT, 0, error);
    }
    if (status == KITH_OK) *done = !lacking;
    ki_job_end(&job);
    return status;
}
