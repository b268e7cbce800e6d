/* SPDX-License-Identifier: Apache-2.0
 *
 * Amending a segment file: all sections of the old file and one new one become a new file, which takes the old one's
 * name as every other does (S3), unless another file took that name meanwhile. The old file is checked against its checksums first, so that damage is reported and
 * never sealed anew; who has it mapped keeps it. */
#include "store/format.h"
#include "store/segment_map.h"

#include "base/status.h"

static kith_status copy_sections(const ki_segment *old, uint32_t kind, ki_segment_writer *writer, kith_error *error) {
    for (uint32_t i = 0; i < old->layout.sections; i++) {
        const ki_section_entry *entry = &old->layout.section[i];
        if (entry->kind == kind) continue;
        const kith_status status =
            ki_segment_put(writer, entry->kind, 0, old->map + entry->offset, entry->bytes, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* A writer of the old file's sections but one. */
static kith_status start(const ki_segment *old, uint32_t kind, ki_segment_writer **writer, kith_error *error) {
    ki_section_plan plan[KITH_SECTIONS_MAX];
    size_t sections = 0;
    for (uint32_t i = 0; i < old->layout.sections; i++) {
        const ki_section_entry *entry = &old->layout.section[i];
        if (entry->kind != kind) plan[sections++] = (ki_section_plan){entry->kind, entry->bytes, entry->count};
    }
    const kith_status status = ki_segment_create(old->path, plan, sections, writer, error);
    if (status == KITH_OK) ki_segment_expect(*writer, &old->identity);
    return status;
}

kith_status ki_segment_amend(const ki_segment *old, uint32_t kind, const void *data, uint64_t bytes, uint64_t count,
                             kith_pool *pool, kith_progress_fn progress, void *progress_context, kith_error *error) {
    ki_segment_writer *writer = NULL;
    kith_status status = ki_segment_verify(old, pool, progress, progress_context, error);
    if (status == KITH_OK) status = start(old, kind, &writer, error);
    if (status == KITH_OK) status = copy_sections(old, kind, writer, error);
    if (status == KITH_OK) status = ki_segment_append(writer, kind, data, bytes, count, error);
    if (status == KITH_OK && ki_segment_damaged(old))
        status = ki_fail(error, KITH_E_CORRUPT, "%s: was changed while it was copied", old->path);
    if (status == KITH_OK) {
        status = ki_segment_finish(writer, ki_segment_get_head(old), pool, progress, progress_context, NULL, error);
        writer = NULL;
    }
    ki_segment_abandon(writer);
    return status;
}
