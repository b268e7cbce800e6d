/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a file's sections, parts and blocks lie. All of it follows from the sizes of the parts: a writer lays a plan
 * out, and a reader lays out anew what a file says of itself and compares, so that no number of a file is believed.
 *
 * L1. Parts lie in ascending order without overlaps; a part's range ends where the next one's begins (the last one's
 *     where the block table begins), so that every byte between the tables belongs to exactly one part.
 * L2. Blocks restart at every part, and a section's head is a part: a damaged block names one part.
 *
 * Store only. One owner. */
#ifndef KI_STORE_LAYOUT_H
#define KI_STORE_LAYOUT_H

#include "store/segment.h"

enum {
    KI_SECTIONS_MAX = 256,
    KI_PARTS_MAX = 4096, /* of a file, heads included: so that a hostile one costs no time or memory to speak of */
    KI_SECTION_ALIGN = 4096,
    KI_PART_ALIGN = 256, /* of parts below a block: so even the smallest block is one of XXH3's long inputs (F4) */
    KI_BLOCK_BYTES = 65536,
    KI_SECTION_HEAD_ALIGN = 256,
    KI_SECTION_HEAD_MAX = 65536
};

typedef struct ki_part {
    uint32_t id;      /* KI_PART(family, 0): the section's head; 0: of version 1, unknown */
    uint32_t section; /* number in the layout */
    uint64_t offset, bytes, count;
    uint64_t first_block;
} ki_part;

/* A section in memory, and in a file's table. */
typedef struct ki_section_entry {
    uint32_t family;
    uint32_t head_bytes; /* version 1: 0 */
    uint64_t offset, bytes;
    uint64_t head_hash; /* of those head_bytes, which the section begins with */
} ki_section_entry;

typedef struct ki_layout {
    uint32_t version; /* of the format */
    uint32_t sections;
    ki_section_entry section[KI_SECTIONS_MAX];
    size_t parts, capacity;
    ki_part *part; /* owned */
    uint64_t blocks;
    uint64_t data_end; /* where the block table begins */
} ki_layout;

typedef struct ki_block {
    size_t part; /* number in the layout */
    uint64_t offset, bytes;
} ki_block;

/* An empty layout of a file of this version; ki_layout_free() ends it. */
void ki_layout_init(ki_layout *layout, uint32_t version);
void ki_layout_free(ki_layout *layout);

/* Put a section, the parts of one family, behind the others. KITH_E_LIMIT: too many sections, parts or bytes;
 * KITH_E_ARG: no family, one that is there already, or parts that do not ascend; KITH_E_NOMEM. The layout is then as it
 * was. */
kith_status ki_layout_add(ki_layout *layout, const char *path, const ki_part_plan *plan, size_t parts,
                          kith_error *error);
/* The same for a section of version 1, which is one part. */
kith_status ki_layout_add_version1(ki_layout *layout, const char *path, const ki_part_plan *plan, kith_error *error);

/* NULL if there is none. */
const ki_part *ki_layout_find(const ki_layout *layout, uint32_t id);
/* Where a part's range ends: L1. */
uint64_t ki_layout_end(const ki_layout *layout, size_t part);
/* Where block `number` (< blocks) lies. */
ki_block ki_layout_block(const ki_layout *layout, uint64_t number);

uint64_t ki_section_head_bytes(size_t parts);

#endif
