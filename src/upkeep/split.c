/* SPDX-License-Identifier: Apache-2.0
 *
 * Large tenants get segments of their own. A tenant (a value of the segment field) is a filter of the segments that it
 * shares with others; its rows as an index of their own are searched as if there was nobody else: by their own lists
 * and graph, whose plans were measured on them, and with no row that is passed by.
 *
 * Its rows of all shared segments become one new segment, and live no longer in those, which stay as they are (R5 of
 * seal.h); what is dead there goes with later merges. So a tenant that grew large among ten million others is written
 * once, and they are not. From then on its segments are merged with each other alone (merge.c); what is written to it
 * later is shared at first, and follows when there is enough of it and enough asked for again.
 *
 * S1. Who is split off was asked for: state/tenants.h. A collection whose searches are of everything has no such
 *     segments, each of which would cost these a walk.
 * S2. That a segment is one tenant's is said by its files' names and shown by its table. One that has lost so many rows
 *     that half of what makes it large is not left counts as shared, and goes the way of those. */
#include "base/checked.h"
#include "base/status.h"
#include "state/tenants.h"
#include "upkeep/seal.h"

#include <string.h>
#include <xxhash.h>

/* One does not come and go with every row. */
static uint64_t kept_from(const kith_collection *collection) {
    return collection->own_from / 2;
}

/* The tenant whose rows are moved, and which these are. */
struct moved {
    char *tenant;
    uint64_t count;
    ki_bits **rows; /* by segment of the snapshot; NULL: none */
};

static const ki_field *segment_field(const kith_collection *collection, const ki_snapshot *snapshot) {
    const char *name = collection->made.segment_field;
    return name[0] ? ki_schema_find(snapshot->schema, name, strlen(name)) : NULL;
}

uint64_t ki_split_group(const kith_collection *collection, const ki_snapshot *snapshot, size_t sealed) {
    const ki_snapshot_sealed *in = &snapshot->sealed[sealed];
    const ki_field *field = segment_field(collection, snapshot);
    const char *tenant;
    size_t bytes;
    if (!in->sealed->own || in->alive->set < kept_from(collection) || !field) return 0;
    return ki_table_only_word(in->sealed->table, field, &tenant, &bytes) ? XXH3_64bits(tenant, bytes) | 1 : 0;
}

/* ---- Whose rows -------------------------------------------------------------------------------------------------- */

static void end(struct moved *moved, size_t count) {
    for (size_t i = 0; i < count && moved->rows; i++) ki_bits_release(moved->rows[i]);
    free(moved->rows);
    free(moved->tenant);
    *moved = (struct moved){0};
}

/* The tenant's living rows of one segment; *rows NULL: it has none. */
static kith_status rows_of(const ki_snapshot_sealed *in, const ki_field *field, const char *tenant, ki_bits **rows,
                           kith_error *error) {
    const size_t bytes = strlen(tenant);
    const uint32_t *list;
    if (!ki_table_word(in->sealed->table, field, tenant, bytes, &list)) return KITH_OK;
    ki_bits *all = ki_bits_create(in->alive->rows, 0), *living = NULL;
    kith_status status = all ? ki_table_word_rows(in->sealed->table, field, tenant, bytes, all->word, error) : KITH_OK;
    if (status == KITH_OK && (!all || !(living = ki_bits_both(all, in->alive))))
        status = ki_fail(error, KITH_E_NOMEM, "out of memory for splitting");
    ki_bits_release(all);
    if (living && living->set)
        *rows = living;
    else
        ki_bits_release(living);
    return status;
}

static kith_status find_rows(const kith_collection *collection, const ki_snapshot *snapshot, struct moved *moved,
                             kith_error *error) {
    const ki_field *field = segment_field(collection, snapshot);
    kith_status status = KITH_OK;
    moved->rows = ki_alloc_array_zeroed(snapshot->sealed_count, sizeof(*moved->rows));
    if (!moved->rows) return ki_fail(error, KITH_E_NOMEM, "out of memory for splitting");
    for (size_t i = 0; i < snapshot->sealed_count && status == KITH_OK; i++) {
        if (ki_split_group(collection, snapshot, i)) continue;
        status = rows_of(&snapshot->sealed[i], field, moved->tenant, &moved->rows[i], error);
        if (moved->rows[i]) moved->count += moved->rows[i]->set;
    }
    return status;
}

/* Rows beside those of others, dead ones too: quickly. */
static uint64_t most_rows(const kith_collection *collection, const ki_snapshot *snapshot, const char *tenant) {
    const ki_field *field = segment_field(collection, snapshot);
    const uint32_t *list;
    uint64_t sum = 0;
    for (size_t i = 0; i < snapshot->sealed_count; i++)
        if (!ki_split_group(collection, snapshot, i))
            sum += ki_table_word(snapshot->sealed[i].sealed->table, field, tenant, strlen(tenant), &list);
    return sum;
}

static int has_paid(const kith_collection *collection, uint64_t rows, uint64_t surplus) {
    return rows >= collection->own_from && rows <= KITH_ROWS_MAX && surplus >= rows;
}

/* The first tenant whose searches have paid; moved->tenant NULL: there is none. */
static kith_status find(const kith_collection *collection, const ki_snapshot *snapshot, struct moved *moved,
                        kith_error *error) {
    kith_status status = KITH_OK;
    uint64_t surplus;
    *moved = (struct moved){0};
    if (!segment_field(collection, snapshot)) return KITH_OK;
    for (size_t t = 0; status == KITH_OK && (moved->tenant = ki_tenants_get(collection->tenants, t, &surplus)); t++) {
        if (surplus >= collection->own_from && most_rows(collection, snapshot, moved->tenant) >= collection->own_from)
            status = find_rows(collection, snapshot, moved, error);
        if (status == KITH_OK && has_paid(collection, moved->count, surplus)) return KITH_OK;
        end(moved, snapshot->sealed_count);
    }
    return status;
}

int ki_split_wanted(const kith_collection *collection, const ki_snapshot *snapshot) {
    struct moved moved;
    const kith_status status = find(collection, snapshot, &moved, NULL);
    const int wanted = status != KITH_OK || moved.tenant; /* a failure is seen and told when it is done */
    end(&moved, snapshot->sealed_count);
    return wanted;
}

/* ---- Doing it ---------------------------------------------------------------------------------------------------- */

static kith_status take_all(ki_job *job, const ki_snapshot *snapshot, const struct moved *moved, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t i = 0; i < snapshot->sealed_count && status == KITH_OK; i++)
        if (moved->rows[i]) status = ki_job_take(job, snapshot->sealed[i].sealed, moved->rows[i], error);
    return status;
}

kith_status ki_split(kith_collection *collection, ki_watch *watch, size_t *split, kith_error *error) {
    ki_job job;
    struct moved moved;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const size_t count = snapshot->sealed_count;
    size_t origins = 0;
    ki_job_begin(collection, snapshot, "merging", watch, &job);
    kith_status status = find(collection, snapshot, &moved, error);
    if (moved.tenant) status = take_all(&job, snapshot, &moved, error);
    ki_snapshot_release(snapshot);
    if (status == KITH_OK && moved.tenant) {
        origins = job.origins;
        job.own = 1;
        status = ki_job_gather(&job, error);
        if (status == KITH_OK) status = ki_job_build(&job, error);
        if (status == KITH_OK) status = ki_job_publish(&job, error);
        if (status == KITH_OK) ki_tenants_spend(collection->tenants, moved.tenant);
    }
    if (status == KITH_OK) *split = origins;
    ki_job_end(&job);
    end(&moved, count);
    return status;
}
