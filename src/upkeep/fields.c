/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields that were declared after a segment was made: it gets another table beside the old one, whose rows are the
 * same, and keeps its indexes. Who reads the old table goes on; its file goes with the last one who does. In memory
 * alone, where indexes are files without names, the whole segment is made anew. */
#include "base/status.h"
#include "upkeep/seal.h"
#include "write/commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ki_fields_lacking(const ki_sealed *sealed, const ki_schema *schema) {
    for (size_t f = 0; schema && f < schema->count; f++)
        if (!ki_table_has(sealed->table, &schema->fields[f])) return 1;
    return 0;
}

/* ---- Another table ----------------------------------------------------------------------------------------------- */

/* "table.<n>.kith" follows "table.<n-1>.kith": a name that nobody reads. */
static void next_name(const ki_sealed *sealed, char name[KI_BODY_NAME_BYTES]) {
    const char *digits = strchr(sealed->table_name, '.');
    const unsigned long number = digits ? strtoul(digits + 1, NULL, 10) : 0;
    snprintf(name, KI_BODY_NAME_BYTES, "table.%lu.kith", number + 1);
}

/* ---- The verb ---------------------------------------------------------------------------------------------------- */

static kith_status write_table(ki_job *job, kith_error *error) {
    char name[KI_BODY_NAME_BYTES];
    next_name(job->origin[0].sealed, name);
    return ki_job_write_table(job, name, error);
}

static kith_status index_fields(ki_job *job, kith_error *error) {
    const ki_sealed *old = job->origin[0].sealed;
    job->number = old->number;
    job->parts = 1;
    kith_status status = ki_job_gather(job, error);
    if (status == KITH_OK) status = ki_job_politely(job, write_table, error);
    if (status != KITH_OK) return status;
    ki_job_keep_indexes(job, 0);
    status = ki_job_reopen(job, error);
    if (status != KITH_OK) {
        ki_sealed_remove_files(old->folder, job->made.table.name);
        return status;
    }
    return ki_job_replace(job, KI_RETIRED_TABLE, 0, error);
}

kith_status ki_fields_index(kith_collection *collection, ki_watch *watch, int *done, kith_error *error) {
    ki_job job;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_sealed *lacking = NULL;
    for (size_t i = 0; i < snapshot->sealed_count && !lacking; i++)
        if (ki_fields_lacking(snapshot->sealed[i].sealed, snapshot->schema)) lacking = snapshot->sealed[i].sealed;
    ki_job_begin(collection, snapshot, "indexing fields", watch, &job);
    kith_status status = lacking ? ki_job_add(&job, NULL, lacking, NULL, error) : KITH_OK;
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && lacking)
        status = collection->in_memory ? ki_job_make_anew(&job, error) : index_fields(&job, error);
    if (status == KITH_OK) *done = !lacking;
    ki_job_end(&job);
    return status;
}
