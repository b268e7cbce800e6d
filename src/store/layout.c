/* SPDX-License-Identifier: Apache-2.0 */
#include "store/layout.h"

#include "base/checked.h"
#include "base/status.h"
#include "store/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void ki_layout_init(ki_layout *layout, uint32_t version) {
    memset(layout, 0, sizeof(*layout));
    layout->version = version;
    layout->data_end = KI_HEADER_BYTES + (version == 1 ? 0 : KI_SECTION_TABLE_BYTES);
}

void ki_layout_free(ki_layout *layout) {
    free(layout->part);
    layout->part = NULL;
    layout->parts = layout->capacity = 0;
}

const ki_part *ki_layout_find(const ki_layout *layout, uint32_t id) {
    for (size_t i = 0; i < layout->parts; i++)
        if (layout->part[i].id == id) return &layout->part[i];
    return NULL;
}

uint64_t ki_layout_end(const ki_layout *layout, size_t part) {
    return part + 1 < layout->parts ? layout->part[part + 1].offset : layout->data_end;
}

static uint64_t blocks_of(uint64_t bytes) {
    return bytes / KI_BLOCK_BYTES + (bytes % KI_BLOCK_BYTES != 0);
}

ki_block ki_layout_block(const ki_layout *layout, uint64_t number) {
    size_t low = 0, high = layout->parts;
    while (high - low > 1) { /* the last part that begins no later: those without blocks begin with the next one */
        const size_t middle = low + (high - low) / 2;
        if (layout->part[middle].first_block <= number)
            low = middle;
        else
            high = middle;
    }
    const uint64_t offset = layout->part[low].offset + (number - layout->part[low].first_block) * KI_BLOCK_BYTES;
    return (ki_block){low, offset, ki_min_u64(KI_BLOCK_BYTES, ki_layout_end(layout, low) - offset)};
}

uint64_t ki_section_head_bytes(size_t parts) {
    return ki_round_up(sizeof(ki_section_head) + parts * sizeof(ki_part_entry), KI_SECTION_HEAD_ALIGN);
}

/* Put a part behind the last one; data_end is where that one's bytes end. */
static kith_status push(ki_layout *layout, const char *path, const ki_part_plan *plan, uint64_t align,
                        kith_error *error) {
    void *part = layout->part;
    /* Half the largest size leaves room for the tables without further checks. */
    if (plan->bytes > KI_FILE_BYTES_MAX / 2 - layout->data_end)
        return ki_fail(error, KITH_E_LIMIT, "%s: %s of %" PRIu64 " bytes is too large for a file", path,
                       ki_part_place(plan->kind), plan->bytes);
    if (!ki_array_reserve(&part, &layout->capacity, layout->parts + 1, sizeof(ki_part)))
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for %zu parts", path, layout->parts + 1);
    layout->part = part;
    const uint64_t offset = ki_round_up(layout->data_end, align);
    uint64_t first_block = 0;
    if (layout->parts) {
        const ki_part *last = &layout->part[layout->parts - 1];
        first_block = last->first_block + blocks_of(offset - last->offset);
    }
    layout->part[layout->parts++] =
        (ki_part){plan->kind, layout->sections, offset, plan->bytes, plan->count, first_block};
    layout->data_end = offset + plan->bytes;
    return KITH_OK;
}

static void close_section(ki_layout *layout, uint64_t begin) {
    const ki_part *last = &layout->part[layout->parts - 1];
    layout->section[layout->sections].bytes = layout->data_end - begin;
    layout->data_end = ki_round_up(layout->data_end, KI_SECTION_ALIGN);
    layout->blocks = last->first_block + blocks_of(layout->data_end - last->offset);
    layout->sections++;
}

static kith_status check_plan(const ki_layout *layout, const char *path, const ki_part_plan *plan, size_t parts,
                              kith_error *error) {
    const uint32_t family = parts ? KI_PART_FAMILY(plan[0].kind) : 0;
    if (!family) return ki_fail(error, KITH_E_ARG, "%s: there is a section of no part or no family", path);
    for (uint32_t i = 0; i < layout->sections; i++)
        if (layout->section[i].family == family)
            return ki_fail(error, KITH_E_ARG, "%s: section '%s' is there twice", path, ki_family_name(family));
    for (size_t i = 0; i < parts; i++)
        if (KI_PART_FAMILY(plan[i].kind) != family || KI_PART_NUMBER(plan[i].kind) == 0 ||
            (i && plan[i].kind <= plan[i - 1].kind))
            return ki_fail(error, KITH_E_ARG, "%s: the parts of section '%s' do not ascend", path,
                           ki_family_name(family));
    if (layout->sections == KI_SECTIONS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: more than %d sections", path, KI_SECTIONS_MAX);
    if (parts >= KI_PARTS_MAX - layout->parts || ki_section_head_bytes(parts) > KI_SECTION_HEAD_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: section '%s': %zu parts are too many", path, ki_family_name(family),
                       parts);
    return KITH_OK;
}

kith_status ki_layout_add(ki_layout *layout, const char *path, const ki_part_plan *plan, size_t parts,
                          kith_error *error) {
    kith_status status = check_plan(layout, path, plan, parts, error);
    if (status != KITH_OK) return status;
    const uint64_t begin = layout->data_end;
    const size_t parts_before = layout->parts;
    const uint32_t family = KI_PART_FAMILY(plan[0].kind);
    const ki_part_plan head = {KI_PART(family, 0), ki_section_head_bytes(parts), parts};
    layout->section[layout->sections] =
        (ki_section_entry){.family = family, .head_bytes = (uint32_t)head.bytes, .offset = begin};
    status = push(layout, path, &head, KI_SECTION_ALIGN, error);
    for (size_t i = 0; status == KITH_OK && i < parts; i++)
        status = push(layout, path, &plan[i], plan[i].bytes < KI_BLOCK_BYTES ? KI_PART_ALIGN : KI_SECTION_ALIGN, error);
    if (status == KITH_OK) {
        close_section(layout, begin);
        return status;
    }
    layout->section[layout->sections] = (ki_section_entry){0}; /* the table is written as it lies */
    layout->parts = parts_before;
    layout->data_end = begin;
    return status;
}

kith_status ki_layout_add_version1(ki_layout *layout, const char *path, const ki_part_plan *plan, kith_error *error) {
    const uint64_t begin = layout->data_end;
    layout->section[layout->sections] = (ki_section_entry){.family = KI_PART_FAMILY(plan->kind), .offset = begin};
    const kith_status status = push(layout, path, plan, KI_SECTION_ALIGN, error);
    if (status == KITH_OK) close_section(layout, begin);
    return status;
}
