/* SPDX-License-Identifier: Apache-2.0 */
#include "store/format.h"

#include "base/checked.h"
#include "base/status.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

const char *ki_section_name(uint32_t kind) {
    static const char *const name[] = {
        [KI_SECTION_LISTS] = "lists",
        [KI_SECTION_CENTROIDS] = "centroids",
        [KI_SECTION_CODES] = "codes",
        [KI_SECTION_FACTORS] = "factors",
        [KI_SECTION_LEVEL1_BASIS] = "level1_basis",
        [KI_SECTION_LEVEL1_CODES] = "level1_codes",
        [KI_SECTION_LEVEL1_FACTORS] = "level1_factors",
        [KI_SECTION_ORIGINALS] = "originals",
        [KI_SECTION_INVERSE_NORMS] = "inverse_norms",
        [KI_SECTION_IDS] = "ids",
        [KI_SECTION_ID_ORDER] = "id_order",
        [KI_SECTION_STRING_ENDS] = "string_ends",
        [KI_SECTION_STRING_BYTES] = "string_bytes",
        [KI_SECTION_STRING_ORDER] = "string_order",
        [KI_SECTION_NAME_ENDS] = "name_ends",
        [KI_SECTION_NAME_BYTES] = "name_bytes",
        [KI_SECTION_META] = "meta",
        [KI_SECTION_COARSE_CODES] = "coarse_codes",
        [KI_SECTION_COARSE_FACTORS] = "coarse_factors",
        [KI_SECTION_LIST_BOUNDS] = "list_bounds",
        [KI_SECTION_SUPERS] = "supers",
        [KI_SECTION_SECOND_MODEL] = "second_model",
        [KI_SECTION_SECOND_CODES] = "second_codes",
        [KI_SECTION_SECOND_FACTORS] = "second_factors",
        [KI_SECTION_CALIBRATION] = "calibration",
        [KI_SECTION_SPILL_LISTS] = "spill_lists",
        [KI_SECTION_SPILL_ENTRIES] = "spill_entries",
        [KI_SECTION_SPILL_CODES] = "spill_codes",
        [KI_SECTION_SPILL_FACTORS] = "spill_factors",
        [KI_SECTION_COARSE_FIRST_CODES] = "coarse_first_codes",
        [KI_SECTION_COARSE_FIRST_FACTORS] = "coarse_first_factors",
        [KI_SECTION_NORMS2] = "norms2",
    };
    return kind < sizeof(name) / sizeof(*name) && name[kind] ? name[kind] : "unknown";
}

void ki_layout_init(ki_layout *layout) {
    memset(layout, 0, sizeof(*layout));
    layout->data_end = KI_HEADER_BYTES;
}

int ki_layout_find(const ki_layout *layout, uint32_t kind) {
    for (uint32_t i = 0; i < layout->sections; i++)
        if (layout->section[i].kind == kind) return (int)i;
    return -1;
}

kith_status ki_layout_add(ki_layout *layout, const char *path, uint32_t kind, uint64_t bytes, uint64_t count,
                          kith_error *error) {
    if (kind == 0 || ki_layout_find(layout, kind) >= 0)
        return ki_fail(error, KITH_E_ARG, "%s: section kind %" PRIu32 " (%s) is 0 or planned twice", path, kind,
                       ki_section_name(kind));
    if (layout->sections == KITH_SECTIONS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: more than %d sections", path, KITH_SECTIONS_MAX);
    /* Half the largest size leaves room for the block table without further checks. */
    if (bytes > KI_FILE_BYTES_MAX / 2 - layout->data_end)
        return ki_fail(error, KITH_E_LIMIT, "%s: section '%s' of %" PRIu64 " bytes is too large for a file", path,
                       ki_section_name(kind), bytes);
    const uint64_t padded = ki_round_up(bytes, KI_SECTION_ALIGN);
    const uint32_t i = layout->sections++;
    layout->section[i] = (ki_section_entry){.kind = kind, .offset = layout->data_end, .bytes = bytes, .count = count};
    layout->first_block[i + 1] = layout->first_block[i] + (padded + KI_BLOCK_BYTES - 1) / KI_BLOCK_BYTES;
    layout->data_end += padded;
    return KITH_OK;
}

ki_block ki_layout_block(const ki_layout *layout, uint64_t number) {
    uint32_t i = 0;
    while (layout->first_block[i + 1] <= number) i++;
    const uint64_t end = i + 1 < layout->sections ? layout->section[i + 1].offset : layout->data_end;
    const uint64_t offset = layout->section[i].offset + (number - layout->first_block[i]) * KI_BLOCK_BYTES;
    return (ki_block){.section = i, .offset = offset, .bytes = ki_min_u64(KI_BLOCK_BYTES, end - offset)};
}

uint64_t ki_block_table_bytes(uint64_t blocks) {
    return blocks ? ki_round_up(blocks * sizeof(uint64_t), KI_SECTION_ALIGN) : KI_SECTION_ALIGN;
}

void ki_header_seal(ki_header *header) {
    header->file_hash = XXH3_64bits(header, offsetof(ki_header, file_hash));
    header->header_hash = XXH3_64bits(header, offsetof(ki_header, header_hash));
}

/* Lays the header's sections out anew: since a version 1 file has no holes, each must lie where that puts it. */
static kith_status check_sections(const ki_header *header, const char *path, ki_layout *layout, kith_error *error) {
    if (header->section_count > KITH_SECTIONS_MAX)
        return ki_fail(error, KITH_E_CORRUPT, "%s: header: %" PRIu32 " sections, at most %d are possible", path,
                       header->section_count, KITH_SECTIONS_MAX);
    ki_layout_init(layout);
    for (uint32_t i = 0; i < header->section_count; i++) {
        const ki_section_entry *entry = &header->section[i];
        const char *name = ki_section_name(entry->kind);
        uint64_t end;
        if (!ki_add(entry->offset, entry->bytes, &end) || end > header->file_bytes)
            return ki_fail(error, KITH_E_CORRUPT,
                           "%s: section '%s' (%" PRIu64 " bytes at byte %" PRIu64 ") reaches past a file of %" PRIu64
                           " bytes",
                           path, name, entry->bytes, entry->offset, header->file_bytes);
        if (entry->offset != layout->data_end)
            return ki_fail(error, KITH_E_CORRUPT,
                           "%s: section '%s' begins at byte %" PRIu64 ", but the one before it ends at byte %" PRIu64,
                           path, name, entry->offset, layout->data_end);
        if (entry->kind == 0 || ki_layout_find(layout, entry->kind) >= 0)
            return ki_fail(error, KITH_E_CORRUPT,
                           "%s: section table: entry %" PRIu32 " repeats section '%s' or has kind 0", path, i, name);
        const kith_status status = ki_layout_add(layout, path, entry->kind, entry->bytes, entry->count, error);
        if (status != KITH_OK) return status;
        layout->section[i].flags = entry->flags;
    }
    return KITH_OK;
}

static kith_status check_block_table(const ki_header *header, const char *path, const ki_layout *layout,
                                     kith_error *error) {
    const uint64_t blocks = layout->first_block[layout->sections];
    const uint64_t file_bytes = layout->data_end + ki_block_table_bytes(blocks) + KI_HEADER_BYTES;
    if (header->block_bytes != KI_BLOCK_BYTES || header->block_count != blocks)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: block table: %" PRIu64 " blocks of %" PRIu32 " bytes, expected %" PRIu64 " of %d", path,
                       header->block_count, header->block_bytes, blocks, KI_BLOCK_BYTES);
    if (header->block_table_offset != layout->data_end)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: block table: begins at byte %" PRIu64 ", but the sections end at byte %" PRIu64, path,
                       header->block_table_offset, layout->data_end);
    if (header->file_bytes != file_bytes)
        return ki_fail(error, KITH_E_CORRUPT, "%s: header: says %" PRIu64 " bytes, but its sections make %" PRIu64,
                       path, header->file_bytes, file_bytes);
    return KITH_OK;
}

/* The file has another size than the header says: name what is missing. */
static kith_status wrong_size(const ki_header *header, const char *path, uint64_t file_bytes, const ki_layout *layout,
                              kith_error *error) {
    if (file_bytes > header->file_bytes)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: %" PRIu64 " foreign bytes follow the end of header copy B at byte %" PRIu64, path,
                       file_bytes - header->file_bytes, header->file_bytes);
    for (uint32_t i = 0; i < layout->sections; i++) {
        const uint64_t end = layout->section[i].offset + layout->section[i].bytes;
        if (end > file_bytes)
            return ki_fail(error, KITH_E_CORRUPT,
                           "%s: cut short: section '%s' reaches byte %" PRIu64 " of a file of %" PRIu64 " bytes", path,
                           ki_section_name(layout->section[i].kind), end, file_bytes);
    }
    const uint64_t copy_b = header->file_bytes - KI_HEADER_BYTES;
    return ki_fail(error, KITH_E_CORRUPT, "%s: cut short: %s reaches byte %" PRIu64 " of a file of %" PRIu64 " bytes",
                   path, copy_b > file_bytes ? "the block table" : "header copy B",
                   copy_b > file_bytes ? copy_b : header->file_bytes, file_bytes);
}

kith_status ki_header_check(const ki_header *header, const char *path, uint64_t file_bytes, ki_layout *layout,
                            kith_error *error) {
    const uint64_t unknown = header->feature_incompat & ~KI_FEATURES_INCOMPAT_KNOWN;
    if (header->format_version > KI_FORMAT_VERSION)
        return ki_fail(error, KITH_E_VERSION,
                       "%s: has format version %" PRIu32 ", this kith (%s) reads up to version %d: use a newer kith",
                       path, header->format_version, kith_version(), KI_FORMAT_VERSION);
    if (unknown)
        return ki_fail(error, KITH_E_VERSION,
                       "%s: needs features 0x%" PRIx64 " that this kith (%s) does not have: use a newer kith", path,
                       unknown, kith_version());
    if (header->format_version != KI_FORMAT_VERSION || header->header_bytes != KI_HEADER_BYTES ||
        header->section_entry_bytes != sizeof(ki_section_entry))
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: header: version %" PRIu32 " with a header of %" PRIu32 " and section entries of %" PRIu32
                       " bytes, expected %d, %d and %zu",
                       path, header->format_version, header->header_bytes, header->section_entry_bytes,
                       KI_FORMAT_VERSION, KI_HEADER_BYTES, sizeof(ki_section_entry));
    kith_status status = check_sections(header, path, layout, error);
    if (status == KITH_OK) status = check_block_table(header, path, layout, error);
    if (status == KITH_OK && header->file_bytes != file_bytes)
        status = wrong_size(header, path, file_bytes, layout, error);
    return status;
}
