/* SPDX-License-Identifier: Apache-2.0
 *
 * Every byte of an open segment against its checksum. The bytes are read through the map, that is where searches read
 * them; pages lost meanwhile read as zeros (S4) and are found like any other damage.
 *
 * Order: header copies, section tables, block table, blocks. The table must be trusted before blocks are compared with
 * it, or one flipped bit of the table would be blamed on a section. */
#include "store/blocks.h"
#include "store/segment_map.h"

#include "base/bytes.h"
#include "base/status.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

static kith_status check_copy(const ki_segment *segment, const char *name, uint64_t offset, kith_error *error) {
    if (memcmp(segment->map + offset, &segment->header, sizeof(segment->header)) == 0) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s (4096 bytes at byte %" PRIu64 ") is damaged", segment->path, name,
                   offset);
}

/* The heads are parts like others: their blocks are compared, and opening compared them with the table. */
static kith_status check_tables(const ki_segment *segment, kith_error *error) {
    const uint64_t bytes = ki_section_table_bytes(segment->header.format_version);
    const uint64_t copies[] = {KI_HEADER_BYTES, segment->header.file_bytes - KI_HEADER_BYTES - bytes};
    for (int i = 0; i < 2 && bytes; i++)
        if (XXH3_64bits(segment->map + copies[i], (size_t)bytes) != segment->header.section_table_hash)
            return ki_fail(error, KITH_E_CORRUPT,
                           "%s: section table, copy %c, is damaged: bytes %" PRIu64 " to %" PRIu64
                           " do not match their checksum",
                           segment->path, 'A' + i, copies[i], copies[i] + bytes - 1);
    return KITH_OK;
}

static kith_status check_block(void *context, uint64_t number, const ki_block *block, unsigned worker,
                               kith_error *error) {
    const ki_segment *segment = context;
    const unsigned char *data = segment->map + block->offset;
    const uint64_t expected = ki_load_u64(segment->map + segment->layout.data_end + number * sizeof(uint64_t));
    (void)worker;
    if (XXH3_64bits(data, (size_t)block->bytes) == expected) return KITH_OK;
    char place[KI_PLACE_BYTES];
    ki_block_place(&segment->layout, block, data, place, sizeof(place));
    return ki_fail(error, KITH_E_CORRUPT,
                   "%s: %s is damaged: bytes %" PRIu64 " to %" PRIu64 " do not match their checksum", segment->path,
                   place, block->offset, block->offset + block->bytes - 1);
}

kith_status ki_segment_verify(const ki_segment *segment, kith_pool *pool, kith_progress_fn progress,
                              void *progress_context, kith_error *error) {
    const ki_header *header = &segment->header;
    const uint64_t table = header->block_table_offset, copy_b = header->file_bytes - KI_HEADER_BYTES;
    const uint64_t table_bytes = ki_block_table_bytes(segment->layout.blocks);
    const ki_block_pass pass = {.layout = &segment->layout,
                                .pool = pool,
                                .stage = "verifying",
                                .progress = progress,
                                .progress_context = progress_context,
                                .fn = check_block,
                                .context = (void *)(uintptr_t)segment};
    kith_status status = check_copy(segment, "header copy A", 0, error);
    if (status == KITH_OK) status = check_copy(segment, "header copy B", copy_b, error);
    if (status == KITH_OK) status = check_tables(segment, error);
    if (status != KITH_OK) return status;
    if (XXH3_64bits(segment->map + table, (size_t)table_bytes) != header->block_table_hash)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: block table is damaged: bytes %" PRIu64 " to %" PRIu64 " do not match their checksum",
                       segment->path, table, table + table_bytes - 1);
    return ki_blocks_run(&pass, error);
}

void ki_segment_find_damage(const ki_segment *segment, uint32_t kind, ki_damage_fn fn, void *context) {
    const ki_header *header = &segment->header;
    const ki_part *part = ki_layout_find(&segment->layout, kind);
    if (!part) return;
    const unsigned char *table = segment->map + header->block_table_offset;
    if (XXH3_64bits(table, (size_t)ki_block_table_bytes(segment->layout.blocks)) != header->block_table_hash) {
        fn(context, 0, part->bytes);
        return;
    }
    for (uint64_t number = part->first_block; number < segment->layout.blocks; number++) {
        const ki_block block = ki_layout_block(&segment->layout, number);
        if (block.offset >= part->offset + part->bytes) return;
        const uint64_t expected = ki_load_u64(segment->map + segment->layout.data_end + number * sizeof(uint64_t));
        if (XXH3_64bits(segment->map + block.offset, (size_t)block.bytes) != expected)
            fn(context, block.offset - part->offset, block.bytes);
    }
}
