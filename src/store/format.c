/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what a file says of its own shape. Every number is checked before it is used, also when its hash holds:
 * hashes are no secret. Sections are laid out anew from the sizes of their parts; each must lie where that puts it. */
#include "store/format.h"

#include "base/checked.h"
#include "base/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

uint64_t ki_block_table_bytes(uint64_t blocks) {
    return blocks ? ki_round_up(blocks * sizeof(uint64_t), KI_SECTION_ALIGN) : KI_SECTION_ALIGN;
}

uint64_t ki_section_table_bytes(uint32_t format_version) {
    return format_version == 1 ? 0 : KI_SECTION_TABLE_BYTES;
}

void ki_header_seal(ki_header *header) {
    header->file_hash = XXH3_64bits(header, offsetof(ki_header, file_hash));
    header->header_hash = XXH3_64bits(header, offsetof(ki_header, header_hash));
}

void ki_section_head_fill(const ki_layout *layout, uint32_t section, unsigned char *bytes) {
    const ki_section_entry *entry = &layout->section[section];
    ki_section_head head = {.family = entry->family, .version = KI_SECTION_HEAD_VERSION};
    unsigned char *to = bytes + sizeof(head);
    memset(bytes, 0, entry->head_bytes);
    for (size_t i = 0; i < layout->parts; i++) {
        const ki_part *part = &layout->part[i];
        if (part->section != section || KI_PART_NUMBER(part->id) == 0) continue;
        const ki_part_entry line = {KI_PART_NUMBER(part->id), 0, part->offset - entry->offset, part->bytes,
                                    part->count};
        memcpy(to, &line, sizeof(line));
        to += sizeof(line);
        head.parts++;
    }
    memcpy(head.magic, KI_SECTION_MAGIC, sizeof(head.magic));
    memcpy(bytes, &head, sizeof(head));
}

/* ---- Sections of both versions ----------------------------------------------------------------------------------- */

/* A section that is said to lie here, named by `place`: inside what the header says the file has, directly behind the
 * one before, and in what the file really has. */
static kith_status check_place(const ki_header *header, const ki_file_source *file, const ki_layout *layout,
                               const char *place, uint64_t offset, uint64_t bytes, kith_error *error) {
    uint64_t end;
    if (!ki_add(offset, bytes, &end) || end > header->file_bytes)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: %s (%" PRIu64 " bytes at byte %" PRIu64 ") reaches past a file of %" PRIu64 " bytes",
                       file->path, place, bytes, offset, header->file_bytes);
    if (offset != layout->data_end)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: %s begins at byte %" PRIu64 ", but the one before it ends at byte %" PRIu64, file->path,
                       place, offset, layout->data_end);
    if (end > file->bytes)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: cut short: %s reaches byte %" PRIu64 " of a file of %" PRIu64 " bytes", file->path, place,
                       end, file->bytes);
    return KITH_OK;
}

static kith_status too_many(const ki_header *header, const char *path, int most, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: header: %" PRIu32 " sections, at most %d are possible", path,
                   header->section_count, most);
}

static kith_status read_version1(const ki_header *header, const ki_file_source *file, ki_layout *layout,
                                 kith_error *error) {
    const ki_section_entry_version1 *table = (const void *)((const unsigned char *)header + KI_SECTION_TABLE_VERSION1);
    if (header->section_count > KI_SECTIONS_MAX_VERSION1)
        return too_many(header, file->path, KI_SECTIONS_MAX_VERSION1, error);
    for (uint32_t i = 0; i < header->section_count; i++) {
        const ki_part_plan plan = {ki_part_of_version1(table[i].kind), table[i].bytes, table[i].count};
        const char *place = ki_part_place(plan.kind);
        kith_status status = check_place(header, file, layout, place, table[i].offset, table[i].bytes, error);
        uint32_t same = 0;
        while (table[same].kind != table[i].kind) same++;
        if (status == KITH_OK && (same < i || table[i].kind == 0))
            status = ki_fail(error, KITH_E_CORRUPT, "%s: section table: entry %" PRIu32 " repeats %s or has kind 0",
                             file->path, i, place);
        if (status == KITH_OK) status = ki_layout_add_version1(layout, file->path, &plan, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* ---- Sections with heads ----------------------------------------------------------------------------------------- */

/* The first copy of the table whose hash holds. */
static kith_status read_table(const ki_header *header, const ki_file_source *file, ki_section_entry *table,
                              kith_error *error) {
    const uint64_t bytes = KI_SECTION_TABLE_BYTES, least = 2 * (KI_HEADER_BYTES + bytes) + KI_SECTION_ALIGN;
    if (header->section_count > KI_SECTIONS_MAX) return too_many(header, file->path, KI_SECTIONS_MAX, error);
    if (header->section_table_bytes != bytes || header->file_bytes < least || header->file_bytes > KI_FILE_BYTES_MAX)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: header: a section table of %" PRIu32 " bytes in a file of %" PRIu64 ", expected %" PRIu64
                       " in at least %" PRIu64,
                       file->path, header->section_table_bytes, header->file_bytes, bytes, least);
    const uint64_t copies[] = {KI_HEADER_BYTES, header->file_bytes - KI_HEADER_BYTES - bytes};
    for (size_t i = 0; i < 2; i++) {
        if (copies[i] + bytes > file->bytes) continue;
        const kith_status status = file->read(file->context, table, bytes, copies[i], error);
        if (status != KITH_OK) return status;
        if (XXH3_64bits(table, (size_t)bytes) == header->section_table_hash) return KITH_OK;
    }
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s", file->path,
                   file->bytes < header->file_bytes ? "cut short: there is no whole section table"
                                                    : "both copies of the section table are damaged");
}

static kith_status bad_head(const char *path, const ki_section_entry *entry, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: section '%s', part 'head': %s", path, ki_family_name(entry->family),
                   what);
}

/* A head whose hash holds becomes a plan of `*parts` parts. */
static kith_status read_plan(const char *path, const ki_section_entry *entry, const unsigned char *bytes,
                             ki_part_plan *plan, size_t *parts, kith_error *error) {
    ki_section_head head;
    memcpy(&head, bytes, sizeof(head));
    if (memcmp(head.magic, KI_SECTION_MAGIC, sizeof(head.magic)) != 0 || head.family != entry->family)
        return bad_head(path, entry, "is not the head of this section", error);
    if (head.version > KI_SECTION_HEAD_VERSION)
        return ki_fail(error, KITH_E_VERSION,
                       "%s: section '%s', part 'head': has version %" PRIu32 ", this kith (%s) reads version %d: use a "
                       "newer kith",
                       path, ki_family_name(entry->family), head.version, kith_version(), KI_SECTION_HEAD_VERSION);
    if (head.version != KI_SECTION_HEAD_VERSION) return bad_head(path, entry, "has version 0", error);
    if (head.parts == 0 || head.parts > KI_PARTS_MAX || ki_section_head_bytes(head.parts) != entry->head_bytes)
        return bad_head(path, entry, "has another size than its parts make", error);
    for (uint32_t i = 0; i < head.parts; i++) {
        ki_part_entry part;
        memcpy(&part, bytes + sizeof(head) + i * sizeof(part), sizeof(part));
        if (part.number == 0 || part.number > KI_PART_NUMBER(UINT32_MAX) ||
            (i && part.number <= KI_PART_NUMBER(plan[i - 1].kind)))
            return bad_head(path, entry, "its parts do not ascend", error);
        plan[i] = (ki_part_plan){KI_PART(entry->family, part.number), part.bytes, part.count};
    }
    *parts = head.parts;
    return KITH_OK;
}

/* The last section of the layout, which was made from the sizes of its parts, lies as its head and the table say. */
static kith_status compare_section(const char *path, const ki_section_entry *entry, const unsigned char *bytes,
                                   size_t parts, const ki_layout *layout, kith_error *error) {
    const ki_part *part = &layout->part[layout->parts - parts];
    for (size_t i = 0; i < parts; i++) {
        ki_part_entry said;
        memcpy(&said, bytes + sizeof(ki_section_head) + i * sizeof(said), sizeof(said));
        if (said.offset != part[i].offset - entry->offset)
            return ki_fail(error, KITH_E_CORRUPT,
                           "%s: %s begins at byte %" PRIu64 " of its section, but its place there is byte %" PRIu64,
                           path, ki_part_place(part[i].id), said.offset, part[i].offset - entry->offset);
    }
    if (layout->section[layout->sections - 1].bytes != entry->bytes)
        return ki_fail(error, KITH_E_CORRUPT, "%s: section '%s' has %" PRIu64 " bytes, but its parts make %" PRIu64,
                       path, ki_family_name(entry->family), entry->bytes, layout->section[layout->sections - 1].bytes);
    return KITH_OK;
}

static kith_status read_section(const ki_file_source *file, const ki_section_entry *entry, unsigned char *bytes,
                                ki_part_plan *plan, ki_layout *layout, kith_error *error) {
    size_t parts = 0;
    kith_status status = file->read(file->context, bytes, entry->head_bytes, entry->offset, error);
    if (status != KITH_OK) return status;
    if (XXH3_64bits(bytes, entry->head_bytes) != entry->head_hash)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: section '%s', part 'head' is damaged: it does not match its checksum", file->path,
                       ki_family_name(entry->family));
    status = read_plan(file->path, entry, bytes, plan, &parts, error);
    if (status == KITH_OK) status = ki_layout_add(layout, file->path, plan, parts, error);
    if (status == KITH_E_LIMIT || status == KITH_E_ARG) { /* the file is to blame, no caller */
        if (error) error->status = KITH_E_CORRUPT;
        return KITH_E_CORRUPT;
    }
    if (status == KITH_OK) status = compare_section(file->path, entry, bytes, parts, layout, error);
    if (status == KITH_OK) layout->section[layout->sections - 1].head_hash = entry->head_hash;
    return status;
}

/* What reading sections needs beside the layout, on the heap: a table, a head, and the plan that it makes. */
typedef struct reading {
    ki_section_entry table[KI_SECTIONS_MAX];
    unsigned char head[KI_SECTION_HEAD_MAX];
    ki_part_plan plan[KI_SECTION_HEAD_MAX / sizeof(ki_part_entry)];
} reading;

static kith_status read_version2(const ki_header *header, const ki_file_source *file, ki_layout *layout,
                                 kith_error *error) {
    reading *r = ki_alloc_array(1, sizeof(*r));
    if (!r) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for its sections", file->path);
    kith_status status = read_table(header, file, r->table, error);
    for (uint32_t i = 0; status == KITH_OK && i < header->section_count; i++) {
        const ki_section_entry *entry = &r->table[i];
        char place[80];
        snprintf(place, sizeof(place), "section '%s'", ki_family_name(entry->family));
        if (entry->family == 0 || entry->family > KI_PART_NUMBER(UINT32_MAX))
            status = ki_fail(error, KITH_E_CORRUPT, "%s: section table: entry %" PRIu32 " has family %" PRIu32,
                             file->path, i, entry->family);
        if (status == KITH_OK) status = check_place(header, file, layout, place, entry->offset, entry->bytes, error);
        if (status == KITH_OK && (entry->head_bytes < KI_SECTION_HEAD_ALIGN || entry->head_bytes > entry->bytes ||
                                  entry->head_bytes > KI_SECTION_HEAD_MAX))
            status = bad_head(file->path, entry, "has no possible size", error);
        if (status == KITH_OK) status = read_section(file, entry, r->head, r->plan, layout, error);
    }
    free(r);
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status check_versions(const ki_header *header, const char *path, kith_error *error) {
    const uint64_t unknown = header->feature_incompat & ~KI_FEATURES_INCOMPAT_KNOWN;
    const size_t entry_bytes =
        header->format_version == 1 ? sizeof(ki_section_entry_version1) : sizeof(ki_section_entry);
    if (header->format_version > KI_FORMAT_VERSION)
        return ki_fail(error, KITH_E_VERSION,
                       "%s: has format version %" PRIu32 ", this kith (%s) reads up to version %d: use a newer kith",
                       path, header->format_version, kith_version(), KI_FORMAT_VERSION);
    if (unknown)
        return ki_fail(error, KITH_E_VERSION,
                       "%s: needs features 0x%" PRIx64 " that this kith (%s) does not have: use a newer kith", path,
                       unknown, kith_version());
    if (header->format_version == 0 || header->header_bytes != KI_HEADER_BYTES ||
        header->section_entry_bytes != entry_bytes)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: header: version %" PRIu32 " with a header of %" PRIu32 " and section entries of %" PRIu32
                       " bytes, expected 1 or %d, %d and %zu",
                       path, header->format_version, header->header_bytes, header->section_entry_bytes,
                       KI_FORMAT_VERSION, KI_HEADER_BYTES, entry_bytes);
    return KITH_OK;
}

static kith_status check_block_table(const ki_header *header, const char *path, const ki_layout *layout,
                                     kith_error *error) {
    const uint64_t file_bytes = layout->data_end + ki_block_table_bytes(layout->blocks) +
                                ki_section_table_bytes(header->format_version) + KI_HEADER_BYTES;
    if (header->block_bytes != KI_BLOCK_BYTES || header->block_count != layout->blocks)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: block table: %" PRIu64 " blocks of %" PRIu32 " bytes, expected %" PRIu64 " of %d", path,
                       header->block_count, header->block_bytes, layout->blocks, KI_BLOCK_BYTES);
    if (header->block_table_offset != layout->data_end)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: block table: begins at byte %" PRIu64 ", but the sections end at byte %" PRIu64, path,
                       header->block_table_offset, layout->data_end);
    if (header->file_bytes != file_bytes)
        return ki_fail(error, KITH_E_CORRUPT, "%s: header: says %" PRIu64 " bytes, but its sections make %" PRIu64,
                       path, header->file_bytes, file_bytes);
    return KITH_OK;
}

/* The file has another size than the header says, but all its sections: name what is missing. */
static kith_status wrong_size(const ki_header *header, const ki_file_source *file, kith_error *error) {
    const uint64_t copy_b = header->file_bytes - KI_HEADER_BYTES;
    const uint64_t table_b = copy_b - ki_section_table_bytes(header->format_version);
    const struct {
        uint64_t end;
        const char *what;
    } tail[] = {
        {table_b, "the block table"}, {copy_b, "section table, copy B,"}, {header->file_bytes, "header copy B"}};
    size_t i = 0;
    if (file->bytes > header->file_bytes)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: %" PRIu64 " foreign bytes follow the end of header copy B at byte %" PRIu64, file->path,
                       file->bytes - header->file_bytes, header->file_bytes);
    while (tail[i].end <= file->bytes) i++;
    return ki_fail(error, KITH_E_CORRUPT, "%s: cut short: %s reaches byte %" PRIu64 " of a file of %" PRIu64 " bytes",
                   file->path, tail[i].what, tail[i].end, file->bytes);
}

kith_status ki_format_read(const ki_header *header, const ki_file_source *file, ki_layout *layout, kith_error *error) {
    ki_layout_init(layout, header->format_version);
    kith_status status = check_versions(header, file->path, error);
    if (status == KITH_OK)
        status = header->format_version == 1 ? read_version1(header, file, layout, error)
                                             : read_version2(header, file, layout, error);
    if (status == KITH_OK) status = check_block_table(header, file->path, layout, error);
    if (status == KITH_OK && header->file_bytes != file->bytes) status = wrong_size(header, file, error);
    if (status != KITH_OK) ki_layout_free(layout);
    return status;
}
