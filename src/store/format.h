/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a segment file, version 2, as docs/format.md draws them:
 *
 *   0                      header, copy A         4096 bytes
 *   4096                   section table, copy A  8192 bytes: a family, a place and the hash of a head for each section
 *   12288                  sections               each 4096-aligned, directly behind the one before, zero-padded: a
 *                                                 head that lists the parts, and the parts, aligned to 256 or 4096
 *   block_table_offset     block table            one XXH3-64 per block, zero-padded to 4096 and at least 4096 bytes
 *   file_bytes - 12288     section table, copy B
 *   file_bytes - 4096      header, copy B         the same 4096 bytes
 *
 * The section table lies beside the header, not behind the sections: so it exists twice, opening reads few places, and
 * a file that was cut short still knows which of its sections are gone. Its size is fixed, so that sections can be
 * appended while a file is written.
 *
 * In version 1 each part was a section, and the table of at most 32 lay inside the header. Such files are read as if
 * they were of version 2: ki_part_of_version1() says which part a section is. Only version 2 is written.
 *
 * F1. Blocks restart at every part: a part's bytes, with its padding, are cut into blocks of 64 KiB, the last one
 *     shorter. So a damaged block names one part, and every byte between the tables belongs to one block or to the
 *     table of blocks.
 * F2. header_hash covers the whole header before it, file_hash, section_table_hash and block_table_hash included; the
 *     section table covers the heads, block_table_hash all block hashes: the header vouches for every byte of the file,
 *     and file_hash identifies its content.
 * F3. The places of magic, format_version and header_hash, and the rule of header_hash, are the same in every version,
 *     so that a newer file is told from a damaged one.
 * F4. All hashed ranges are longer than 240 bytes: an independent reader needs only XXH3's long form.
 *
 * Store only. Pure data and functions of it: any thread. */
#ifndef KI_STORE_FORMAT_H
#define KI_STORE_FORMAT_H

#include "store/layout.h"

#include <assert.h>

enum {
    KI_FORMAT_VERSION = 2,
    KI_HEADER_BYTES = 4096,
    KI_SECTION_TABLE_BYTES = 8192,
    KI_SECTIONS_MAX_VERSION1 = 32,
    KI_SECTION_HEAD_VERSION = 1
};

/* Smallest file, of version 1: two headers and a block table. */
#define KI_FILE_BYTES_MIN          UINT64_C(12288)
#define KI_FILE_BYTES_MAX          ((uint64_t)INT64_MAX)
/* Incompatible features that this version understands. */
#define KI_FEATURES_INCOMPAT_KNOWN (KI_SEGMENT_LISTS | KI_SEGMENT_TABLE | KI_SEGMENT_FLAT_CODE)

/* As PNG's: a byte with the top bit set, CR LF, control-Z, and a lone LF show what a text-mode copy did. */
#define KI_MAGIC "\x89KIT\r\n\x1a\n"
enum { KI_MAGIC_BYTES = 8 };

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
    uint64_t block_table_hash;   /* of the padded table */
    uint64_t section_table_hash; /* of the whole table; version 1: 0, and so is the next one */
    uint32_t section_table_bytes;
    uint8_t reserved[3812]; /* version 1: its sections, see below */
    uint64_t file_hash;     /* of the header's first 4080 bytes */
    uint64_t header_hash;   /* of the header's first 4088 bytes */
} ki_header;

/* What a section begins with: this, an entry for each part by ascending number, and zeros up to a multiple of 256. */
typedef struct ki_section_head {
    uint8_t magic[4];
    uint32_t family;
    uint32_t version;
    uint32_t parts;
    uint8_t reserved[48];
} ki_section_head;
#define KI_SECTION_MAGIC "KISH"

typedef struct ki_part_entry {
    uint32_t number;
    uint32_t reserved;
    uint64_t offset; /* from the section's start */
    uint64_t bytes, count;
} ki_part_entry;

/* A section of version 1, in the header from byte 1024 on. */
typedef struct ki_section_entry_version1 {
    uint32_t kind;
    uint32_t flags;
    uint64_t offset, bytes, count;
    uint8_t reserved[32];
} ki_section_entry_version1;
enum { KI_SECTION_TABLE_VERSION1 = 1024 };

static_assert(sizeof(ki_section_entry) == 32, "a section entry is 32 bytes");
static_assert(sizeof(ki_section_entry) * KI_SECTIONS_MAX == KI_SECTION_TABLE_BYTES, "the table has room for all");
static_assert(sizeof(ki_section_head) == 64, "format.md");
static_assert(sizeof(ki_part_entry) == 32, "format.md");
static_assert(sizeof(ki_section_entry_version1) == 64, "format.md");
static_assert(offsetof(ki_header, feature_compat) == 16, "format.md");
static_assert(offsetof(ki_header, rows) == 40, "format.md");
static_assert(offsetof(ki_header, flags) == 72, "format.md");
static_assert(offsetof(ki_header, block_table_offset) == 80, "format.md");
static_assert(offsetof(ki_header, code_error) == 104, "format.md");
static_assert(offsetof(ki_header, block_table_hash) == 248, "format.md");
static_assert(offsetof(ki_header, section_table_hash) == 256, "format.md");
static_assert(offsetof(ki_header, file_hash) == 4080, "format.md");
static_assert(offsetof(ki_header, header_hash) == 4088, "format.md");
static_assert(sizeof(ki_header) == KI_HEADER_BYTES, "a header is one page");

/* The part that a section of version 1 is; 0: none that is known. */
uint32_t ki_part_of_version1(uint32_t kind);

uint64_t ki_block_table_bytes(uint64_t blocks);
/* Bytes of the section table, each copy: 0 in version 1, which has it in the header. */
uint64_t ki_section_table_bytes(uint32_t format_version);

/* Fill file_hash and header_hash. */
void ki_header_seal(ki_header *header);

/* The head of a section of the layout: head_bytes bytes. */
void ki_section_head_fill(const ki_layout *layout, uint32_t section, unsigned char *bytes);

/* Where a file's bytes come from. */
typedef struct ki_file_source {
    const char *path;
    uint64_t bytes; /* the real size */
    kith_status (*read)(void *context, void *data, uint64_t bytes, uint64_t offset, kith_error *error);
    void *context;
} ki_file_source;

/* S1 for a believed header: everything that can be said without looking at blocks. Reads the section table, of which
 * one good copy is enough, and the sections' heads. On success fills *layout, which is the caller's to free; otherwise
 * it is empty. The header's hash must have been checked before. */
kith_status ki_format_read(const ki_header *header, const ki_file_source *file, ki_layout *layout, kith_error *error);

#endif
