/* SPDX-License-Identifier: Apache-2.0
 *
 * Amending a segment file: all parts of the old file and one new one become a new file, which takes the old one's name
 * as every other does (S3), unless another file took it meanwhile. The old file is checked against its checksums first,
 * so that damage is reported and never sealed anew; who has it mapped keeps it.
 *
 * A file of version 1 becomes one of today's: there is one way of writing. Its parts are brought into the order of
 * their numbers, which is that of families; what version 1 did not define has no number, and is left out. */
#include "store/format.h"
#include "store/segment_map.h"

#include "base/checked.h"
#include "base/status.h"

#include <stdlib.h>

static int compare_kinds(const void *a, const void *b) {
    const uint32_t x = ((const ki_part_data *)a)->plan.kind, y = ((const ki_part_data *)b)->plan.kind;
    return x < y ? -1 : x > y;
}

/* The parts of the new file, in place of `parts` of the old one and the new part; sorted. */
static size_t collect(const ki_segment *old, const ki_part_data *fresh, ki_part_data *parts) {
    size_t count = 0;
    for (size_t i = 0; i < old->layout.parts; i++) {
        const ki_part *part = &old->layout.part[i];
        if (KI_PART_NUMBER(part->id) == 0 || part->id == fresh->plan.kind) continue;
        parts[count++] = (ki_part_data){{part->id, part->bytes, part->count}, old->map + part->offset};
    }
    parts[count++] = *fresh;
    qsort(parts, count, sizeof(*parts), compare_kinds);
    return count;
}

/* A writer that has all parts. */
static kith_status copy(const ki_segment *old, const ki_part_data *parts, size_t count, ki_part_plan *plan,
                        ki_segment_writer **writer, kith_error *error) {
    for (size_t i = 0; i < count; i++) plan[i] = parts[i].plan;
    kith_status status = ki_segment_create(old->path, plan, count, writer, error);
    if (status == KITH_OK) ki_segment_expect(*writer, &old->identity);
    for (size_t i = 0; i < count && status == KITH_OK; i++)
        status = ki_segment_put(*writer, plan[i].kind, 0, parts[i].data, plan[i].bytes, error);
    return status;
}

static kith_status amend(const ki_segment *old, const ki_part_data *fresh, ki_segment_writer **writer,
                         kith_error *error) {
    const size_t most = old->layout.parts + 1;
    ki_part_data *parts = ki_alloc_array(most, sizeof(*parts));
    ki_part_plan *plan = ki_alloc_array(most, sizeof(*plan));
    const kith_status status = parts && plan
                                   ? copy(old, parts, collect(old, fresh, parts), plan, writer, error)
                                   : ki_fail(error, KITH_E_NOMEM, "%s: out of memory for %zu parts", old->path, most);
    free(plan);
    free(parts);
    return status;
}

kith_status ki_segment_amend(const ki_segment *old, uint32_t kind, const void *data, uint64_t bytes, uint64_t count,
                             kith_pool *pool, kith_progress_fn progress, void *progress_context, kith_error *error) {
    const ki_part_data fresh = {{kind, bytes, count}, data};
    ki_segment_writer *writer = NULL;
    kith_status status = ki_segment_verify(old, pool, progress, progress_context, error);
    if (status == KITH_OK) status = amend(old, &fresh, &writer, error);
    if (status == KITH_OK && ki_segment_damaged(old))
        status = ki_fail(error, KITH_E_CORRUPT, "%s: was changed while it was copied", old->path);
    if (status == KITH_OK) {
        status = ki_segment_finish(writer, ki_segment_get_head(old), pool, progress, progress_context, NULL, error);
        writer = NULL;
    }
    ki_segment_abandon(writer);
    return status;
}
