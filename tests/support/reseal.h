/* SPDX-License-Identifier: Apache-2.0
 *
 * Index files in memory whose bytes were changed: their shape, and all checksums made right again, as an author of a
 * malicious file would. What the changed numbers no longer describe is left to the reader's checks. */
#ifndef KI_TESTS_RESEAL_H
#define KI_TESTS_RESEAL_H

#include "base/status.h"
#include "store/format.h"

#include <string.h>
#include <xxhash.h>

typedef struct reseal_bytes {
    unsigned char *data;
    size_t bytes;
} reseal_bytes;

static inline kith_status reseal_read(void *context, void *data, uint64_t bytes, uint64_t offset, kith_error *error) {
    const reseal_bytes *file = context;
    if (offset > file->bytes || bytes > file->bytes - offset)
        return ki_fail(error, KITH_E_CORRUPT, "file: there are not so many bytes");
    memcpy(data, file->data + offset, (size_t)bytes);
    return KITH_OK;
}

/* The layout of the file by its header copy A: to be freed by ki_layout_free(). Otherwise it is empty. */
static inline kith_status reseal_layout(unsigned char *data, size_t bytes, ki_layout *layout) {
    reseal_bytes file = {data, bytes};
    const ki_file_source source = {"file", bytes, reseal_read, &file};
    return ki_format_read((const ki_header *)(void *)data, &source, layout, NULL);
}

/* The hashes of heads, by the first section table, and of that table, whose copy is made again. */
static inline void reseal_tables(unsigned char *data, size_t bytes) {
    ki_header *header = (ki_header *)(void *)data;
    ki_section_entry *table = (ki_section_entry *)(void *)(data + KI_HEADER_BYTES);
    if (header->format_version == 1 || bytes < 2 * (KI_HEADER_BYTES + KI_SECTION_TABLE_BYTES)) return;
    for (uint32_t i = 0; i < header->section_count && i < KI_SECTIONS_MAX; i++)
        if (table[i].offset <= bytes && table[i].head_bytes <= bytes - table[i].offset)
            table[i].head_hash = XXH3_64bits(data + table[i].offset, table[i].head_bytes);
    header->section_table_hash = XXH3_64bits(table, KI_SECTION_TABLE_BYTES);
    memcpy(data + bytes - KI_HEADER_BYTES - KI_SECTION_TABLE_BYTES, table, KI_SECTION_TABLE_BYTES);
}

/* The hashes of blocks, where the header's numbers make sense. */
static inline void reseal_blocks(unsigned char *data, const ki_layout *layout) {
    ki_header *header = (ki_header *)(void *)data;
    uint64_t *table = (uint64_t *)(void *)(data + layout->data_end);
    for (uint64_t i = 0; i < layout->blocks; i++) {
        const ki_block block = ki_layout_block(layout, i);
        table[i] = XXH3_64bits(data + block.offset, (size_t)block.bytes);
    }
    header->block_table_hash = XXH3_64bits(table, (size_t)ki_block_table_bytes(layout->blocks));
}

static inline void reseal_header(unsigned char *data, size_t bytes) {
    ki_header_seal((ki_header *)(void *)data);
    memcpy(data + bytes - KI_HEADER_BYTES, data, KI_HEADER_BYTES);
}

/* All of it; bytes: at least KI_FILE_BYTES_MIN. */
static inline void reseal(unsigned char *data, size_t bytes) {
    ki_layout layout;
    reseal_tables(data, bytes);
    if (reseal_layout(data, bytes, &layout) == KITH_OK) {
        reseal_blocks(data, &layout);
        ki_layout_free(&layout);
    }
    reseal_header(data, bytes);
}

#endif
