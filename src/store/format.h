/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a segment file, version 1, as docs/format.md draws them:
 *
 *   0                      header, copy A         4096 bytes, holds the section table
 *   4096                   sections               each 4096-aligned, directly behind the one before, zero-padded
 *   block_table_offset     block table            one XXH3-64 per block, zero-padded to 4096 and at least 4096 bytes
 *   file_bytes - 4096      header, copy B         the same 4096 bytes
 *
 * The section table lies inside the header, not behind the sections: so it exists twice, one read opens a file, and a
 * file that was cut short still knows which of its sections are gone.
 *
 * F1. Blocks restart at every section: a section's padded bytes are cut into blocks of 64 KiB, the last one shorter.
 *     So a damaged block names one section, and every byte between the headers belongs to one block or to the table.
 * F2. header_hash covers the whole header before it, file_hash and block_table_hash included; block_table_hash covers
 *     all block hashes: the header vouches for every byte of the file, and file_hash identifies its content.
 * F3. The places of magic, format_version and header_hash, and the rule of header_hash, are the same in every version,
 *     so that a newer file is told from a damaged one.
 * F4. All hashed ranges are longer than 240 bytes: an independent reader needs only XXH3's long form.
 *
 * Store only. Pure data and functions of it: any thread. */
#ifndef KI_STORE_FORMAT_H
#define KI_STORE_FORMAT_H

#include "store/segment.h"

#include <assert.h>

enum { KI_FORMAT_VERSION = 1, KI_HEADER_BYTES = 4096, KI_SECTION_ALIGN = 4096, KI_BLOCK_BYTES = 65536 };

/* Smallest file: two headers and a block table. */
#define KI_FILE_BYTES_MIN          UINT64_C(12288)
#define KI_FILE_BYTES_MAX          ((uint64_t)INT64_MAX)
/* Incompatible features that this version understands. */
#define KI_FEATURES_INCOMPAT_KNOWN KI_SEGMENT_LISTS

/* As PNG's: a byte with the top bit set, CR LF, control-Z, and a lone LF show what a text-mode copy did. */
#define KI_MAGIC "\x89KIT\r\n\x1a\n"
enum { KI_MAGIC_BYTES = 8 };

typedef struct ki_section_entry {
    uint32_t kind;
    uint32_t flags; /* none defined: 0 */
    uint64_t offset, bytes, count;
    uint8_t reserved[32];
} ki_section_entry;

typedef struct ki_header {
    uint8_t magic[KI_MAGIC_BYTES];
    uint32_t format_version;
    uint32_t header_bytes;
    uint64_t feature_compat, feature_incompat;
    uint64_t file_bytes;
    uint64_t rows;
    uint32_t dim, dtype, metric, id_kind;
    uint32_t lists, level1_dim;
    uint32_t flags;
    uint32_t section_count;
    uint64_t block_table_offset, block_count;
    uint32_t block_bytes, section_entry_bytes;
    double code_error, level1_error;
    double parameter[16];
    uint64_t block_table_hash; /* of the padded table */
    uint8_t reserved_a[768];
    ki_section_entry section[KITH_SECTIONS_MAX];
    uint8_t reserved_b[1008];
    uint64_t file_hash;   /* of the header's first 4080 bytes */
    uint64_t header_hash; /* of the header's first 4088 bytes */
} ki_header;

static_assert(sizeof(ki_section_entry) == 64, "a section entry is 64 bytes");
static_assert(offsetof(ki_header, feature_compat) == 16, "format.md");
static_assert(offsetof(ki_header, rows) == 40, "format.md");
static_assert(offsetof(ki_header, flags) == 72, "format.md");
static_assert(offsetof(ki_header, block_table_offset) == 80, "format.md");
static_assert(offsetof(ki_header, code_error) == 104, "format.md");
static_assert(offsetof(ki_header, block_table_hash) == 248, "format.md");
static_assert(offsetof(ki_header, section) == 1024, "format.md");
static_assert(offsetof(ki_header, file_hash) == 4080, "format.md");
static_assert(offsetof(ki_header, header_hash) == 4088, "format.md");
static_assert(sizeof(ki_header) == KI_HEADER_BYTES, "a header is one page");

/* Sections and their blocks, from a plan or from a checked header. */
typedef struct ki_layout {
    uint32_t sections;
    ki_section_entry section[KITH_SECTIONS_MAX];
    uint64_t first_block[KITH_SECTIONS_MAX + 1]; /* [sections]: blocks of the file */
    uint64_t data_end;                           /* where the block table begins */
} ki_layout;

typedef struct ki_block {
    uint32_t section; /* number in the layout */
    uint64_t offset, bytes;
} ki_block;

void ki_layout_init(ki_layout *layout);
/* Put a section behind the others. KITH_E_LIMIT: too many sections or bytes; KITH_E_ARG: kind 0 or taken. */
kith_status ki_layout_add(ki_layout *layout, const char *path, uint32_t kind, uint64_t bytes, uint64_t count,
                          kith_error *error);
/* Number of the section of a kind, -1 if there is none. */
int ki_layout_find(const ki_layout *layout, uint32_t kind);
/* Where block `number` (< first_block[sections]) lies. */
ki_block ki_layout_block(const ki_layout *layout, uint64_t number);

uint64_t ki_block_table_bytes(uint64_t blocks);

/* Fill file_hash and header_hash. */
void ki_header_seal(ki_header *header);

/* S1 for one header: everything that can be said without looking at blocks. On success fills *layout. file_bytes is the
 * real size. The header's hash must have been checked before. */
kith_status ki_header_check(const ki_header *header, const char *path, uint64_t file_bytes, ki_layout *layout,
                            kith_error *error);

#endif
