/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes into a job: origins, and their live rows in the order of keys. Rows take sixteen bytes each while a job
 * lasts; what they hold stays where it is until it is copied. One thread. */
#include "base/checked.h"
#include "base/status.h"
#include "upkeep/seal.h"

#include <string.h>

void ki_job_begin(kith_collection *collection, const ki_snapshot *snapshot, const char *stage, ki_watch *watch,
                  ki_job *job) {
    *job = (ki_job){.collection = collection,
                    .schema = snapshot->schema,
                    .generations = snapshot->generations,
                    .stage = stage,
                    .watch = watch};
}

kith_status ki_job_add(ki_job *job, ki_head *head, ki_sealed *sealed, ki_bits *alive, kith_error *error) {
    ki_origin *grown = ki_alloc_array(job->origins + 1, sizeof(*grown));
    ki_bits *bits = alive ? ki_bits_hold(alive) : ki_bits_create(ki_table_rows(sealed->table), 1);
    if (!grown || !bits) {
        free(grown);
        ki_bits_release(bits);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
    }
    if (job->origins) memcpy(grown, job->origin, job->origins * sizeof(*grown));
    grown[job->origins++] = (ki_origin){
        .head = head ? ki_head_hold(head) : NULL, .sealed = sealed ? ki_sealed_hold(sealed) : NULL, .alive = bits};
    free(job->origin);
    job->origin = grown;
    return KITH_OK;
}

kith_status ki_job_take(ki_job *job, ki_sealed *sealed, ki_bits *rows, kith_error *error) {
    kith_status status = ki_job_add(job, NULL, sealed, rows, error);
    if (status != KITH_OK) return status;
    ki_origin *origin = &job->origin[job->origins - 1];
    origin->taken = ki_bits_hold(rows);
    origin->positions = ki_alloc_array_zeroed(sealed->specs, sizeof(*origin->positions));
    int done = origin->positions != NULL;
    for (size_t s = 0; s < sealed->specs && done; s++)
        if (sealed->index[s]) done = (origin->positions[s] = ki_sealed_positions(sealed, s, rows)) != NULL;
    return done ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
}

static void take_rows(const ki_origin *origin, uint32_t number, ki_job_row **to) {
    const uint64_t *keys = origin->sealed ? ki_table_keys(origin->sealed->table) : NULL;
    for (uint64_t w = 0; w * 64 < origin->alive->rows; w++)
        for (uint64_t word = origin->alive->word[w]; word; word &= word - 1) {
            const uint32_t row = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(word));
            *(*to)++ = (ki_job_row){keys ? keys[row] : ki_head_key(origin->head, row), number, row};
        }
}

static int by_key(const void *a, const void *b) {
    const uint64_t x = ((const ki_job_row *)a)->key, y = ((const ki_job_row *)b)->key;
    return (x > y) - (x < y);
}

kith_status ki_job_gather(ki_job *job, kith_error *error) {
    uint64_t rows = 0;
    for (size_t o = 0; o < job->origins; o++) rows += job->origin[o].alive->set;
    if (rows > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: %llu rows, and a segment holds at most %llu", job->stage,
                       (unsigned long long)rows, (unsigned long long)KITH_ROWS_MAX);
    job->row = ki_alloc_array(rows, sizeof(*job->row));
    if (!job->row) return ki_fail(error, KITH_E_NOMEM, "out of memory for %s", job->stage);
    ki_job_row *to = job->row;
    for (size_t o = 0; o < job->origins; o++) take_rows(&job->origin[o], (uint32_t)o, &to);
    job->rows = rows;
    if (job->origins > 1 || job->origin[0].head) qsort(job->row, rows, sizeof(*job->row), by_key);
    if (job->watch) {
        atomic_store(&job->watch->done, 0);
        atomic_store(&job->watch->total, rows);
    }
    return KITH_OK;
}

static void end_origin(ki_origin *origin) {
    for (size_t s = 0; origin->positions && s < origin->sealed->specs; s++) ki_bits_release(origin->positions[s]);
    free(origin->positions);
    ki_bits_release(origin->taken);
    ki_bits_release(origin->alive);
    ki_head_release(origin->head);
    ki_sealed_release(origin->sealed);
}

void ki_job_end(ki_job *job) {
    for (size_t o = 0; o < job->origins; o++) end_origin(&job->origin[o]);
    ki_sealed_release(job->sealed);
    ki_bits_release(job->alive);
    if (job->has_folder) ki_sealed_remove_folder(job->collection->segments_path, job->number);
    free(job->origin);
    free(job->row);
    *job = (ki_job){0};
}
