/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment file: a header, typed byte sections, checksums. This layer keeps bytes and proves them unchanged; what a
 * section means is known to src/index. docs/format.md draws the bytes; src/store/format.h declares them.
 *
 * S1. A file is valid if and only if both header copies are the same and their hash holds (it covers the section
 *     table), sections lie in ascending, 4096-aligned ranges, each directly behind the one before, the sizes make
 *     exactly this file, and every block of at most 64 KiB has its XXH3. Opening checks all but the blocks, makes do
 *     with one good header copy, and is O(1); verify checks every byte.
 * S2. Unknown incompatible feature bit: refused (KITH_E_VERSION). Unknown compatible bit or section kind: ignored.
 * S3. The file gets its name only after it was written, synced, read back and compared with its checksums.
 * S4. A page lost under the map (truncation) reads as zeros and sets the segment's `damaged` flag: the process lives.
 *     Whoever read sections and then sees ki_segment_damaged() == 0 has read what was written.
 *
 * Readers: any thread. A writer: one owner, but ki_segment_put of disjoint ranges from several threads. */
#ifndef KI_STORE_SEGMENT_H
#define KI_STORE_SEGMENT_H

#include "base/pool.h"
#include "kith.h"

/* Section kinds: numbers are the format's, never reused. */
typedef enum ki_section_kind {
    KI_SECTION_LISTS = 1,        /* list table */
    KI_SECTION_CENTROIDS = 2,    /* lists x dim floats */
    KI_SECTION_CODES = 3,        /* int8 tiles */
    KI_SECTION_FACTORS = 4,      /* per vector scale, bias, norm, error */
    KI_SECTION_LEVEL1_BASIS = 5, /* centre and directions of the first level */
    KI_SECTION_LEVEL1_CODES = 6,
    KI_SECTION_LEVEL1_FACTORS = 7,
    KI_SECTION_ORIGINALS = 8,     /* rows as given, in the segment's order */
    KI_SECTION_INVERSE_NORMS = 9, /* cosine: float a vector; files of version 1, where NORMS2 is now */
    KI_SECTION_IDS = 10,          /* u64 a vector, in the segment's order */
    KI_SECTION_ID_ORDER = 11,     /* u32 positions by ascending id */
    KI_SECTION_STRING_ENDS = 12,  /* string ids by row number: u64 ends */
    KI_SECTION_STRING_BYTES = 13,
    KI_SECTION_STRING_ORDER = 14, /* u32 row numbers by ascending string */
    KI_SECTION_NAME_ENDS = 15,    /* names by position: u64 ends */
    KI_SECTION_NAME_BYTES = 16,
    KI_SECTION_META = 17,           /* a small JSON object: who built it and how */
    KI_SECTION_COARSE_CODES = 18,   /* int8 tiles of the centroids */
    KI_SECTION_COARSE_FACTORS = 19, /* beside them */
    KI_SECTION_LIST_BOUNDS = 20,    /* float a list: at least its longest residual */
    KI_SECTION_SUPERS = 21,         /* lists of lists: u32 ends, then centroids */
    KI_SECTION_SECOND_MODEL = 22,   /* what the second code was trained to */
    KI_SECTION_SECOND_CODES = 23,
    KI_SECTION_SECOND_FACTORS = 24,
    KI_SECTION_CALIBRATION = 25,   /* measured recall and cost of plans */
    KI_SECTION_SPILL_LISTS = 26,   /* second lists: u32 a list, how many vectors it has */
    KI_SECTION_SPILL_ENTRIES = 27, /* by list: u32 position and u32 first list of each */
    KI_SECTION_SPILL_CODES = 28,   /* tiles, of the first level where there is one */
    KI_SECTION_SPILL_FACTORS = 29,
    KI_SECTION_COARSE_FIRST_CODES = 30, /* tiles of the centroids in the first level */
    KI_SECTION_COARSE_FIRST_FACTORS = 31,
    KI_SECTION_NORMS2 = 32 /* cosine, with originals: float a vector, |x|^2 */
} ki_section_kind;

/* "codes", "originals", ...; "unknown" for others. */
const char *ki_section_name(uint32_t kind);

/* The part of the header that callers fill and read. */
typedef struct ki_segment_head {
    uint64_t rows;
    uint32_t dim, dtype, metric, id_kind;
    uint32_t lists, level1_dim;
    uint32_t flags; /* KI_SEGMENT_... */
    uint64_t feature_compat, feature_incompat;
    double code_error, level1_error; /* for kith info */
    double parameter[16];            /* index layer's constants (global scales, slack); zeros when unused */
} ki_segment_head;

enum { KI_SEGMENT_ORIGINALS = 1u, KI_SEGMENT_NAMES = 2u, KI_SEGMENT_INTEGER_CODES = 4u };

/* Bits of feature_incompat. */
#define KI_SEGMENT_LISTS UINT64_C(1) /* vectors lie in several lists */

typedef struct ki_section_plan {
    uint32_t kind;
    uint64_t bytes; /* exact size */
    uint64_t count; /* elements, for people */
} ki_section_plan;

typedef struct ki_segment_writer ki_segment_writer;

/* Lay the planned sections out in the order given and reserve their place. */
kith_status ki_segment_create(const char *path, const ki_section_plan *plan, size_t sections,
                              ki_segment_writer **writer, kith_error *error);
/* Write part of a planned section; what is never written reads as zeros. */
kith_status ki_segment_put(ki_segment_writer *writer, uint32_t kind, uint64_t offset, const void *data, uint64_t bytes,
                           kith_error *error);
/* Write what will be put again before the end: a draft, that is read back with ki_segment_get. It is kept from the disk
 * where memory allows. */
kith_status ki_segment_draft(ki_segment_writer *writer, uint32_t kind, uint64_t offset, const void *data,
                             uint64_t bytes, kith_error *error);
kith_status ki_segment_get(ki_segment_writer *writer, uint32_t kind, uint64_t offset, void *data, uint64_t bytes,
                           kith_error *error);
/* Append a whole section behind the planned ones. Not beside puts of other threads. */
kith_status ki_segment_append(ki_segment_writer *writer, uint32_t kind, const void *data, uint64_t bytes,
                              uint64_t count, kith_error *error);
/* Let finish replace this file and no other: KITH_E_BUSY if the name was given to another one. */
struct ki_file_identity;
void ki_segment_expect(ki_segment_writer *writer, const struct ki_file_identity *identity);
/* Write checksums, table and headers, sync, read back, rename. Frees the writer, also on failure. file_bytes may be
 * NULL. Progress stages: "hashing", "verifying". */
kith_status ki_segment_finish(ki_segment_writer *writer, const ki_segment_head *head, kith_pool *pool,
                              kith_progress_fn progress, void *progress_context, uint64_t *file_bytes,
                              kith_error *error);
void ki_segment_abandon(ki_segment_writer *writer); /* NULL is fine */

typedef struct ki_segment ki_segment;

/* Open the file, which has no name yet: for a look at what will be finished. Blocks and checksums are not complete. It
 * must be closed again before the writer goes on, with more puts or appends. */
kith_status ki_segment_preview(ki_segment_writer *writer, const ki_segment_head *head, const kith_open_options *options,
                               ki_segment **segment, kith_error *error);

/* Replace the file of an open segment by one with the same sections and this one, in place of what it had of that kind.
 * The old file's checksums are compared first: KITH_E_CORRUPT. KITH_E_BUSY: another file took its name meanwhile, and
 * keeps it. The open segment stays what it was. Progress and errors as ki_segment_finish(). */
kith_status ki_segment_amend(const ki_segment *old, uint32_t kind, const void *data, uint64_t bytes, uint64_t count,
                             kith_pool *pool, kith_progress_fn progress, void *progress_context, kith_error *error);

typedef struct ki_section {
    const void *data;
    uint64_t bytes, count;
} ki_section;

/* options: as large as this version's, or NULL for defaults; no_sigbus_handler and populate are honoured here (verify
 * is the business of src/index). Errors as kith_index_open(), and KITH_E_LIMIT when 4,096 segments are open. */
kith_status ki_segment_open(const char *path, const kith_open_options *options, ki_segment **segment,
                            kith_error *error);
/* The same of an open file, which stays the caller's; path: for messages, and for an amendment. */
kith_status ki_segment_open_file(int fd, uint64_t file_bytes, const char *path, const kith_open_options *options,
                                 ki_segment **segment, kith_error *error);
void ki_segment_close(ki_segment *segment); /* NULL is fine */
const ki_segment_head *ki_segment_get_head(const ki_segment *segment);
const char *ki_segment_path(const ki_segment *segment);
/* {NULL, 0, 0} when absent. Data is 4096-aligned; a section is followed by zeros up to the next multiple of 4096, and
 * at least 4096 readable bytes of the file follow every section (the trailing tables), so that tile kernels may read
 * one tile past the end of codes. */
ki_section ki_segment_section(const ki_segment *segment, uint32_t kind);
/* Fills what the header knows of info, which must be as large as this version's, but struct_size. */
void ki_segment_info(const ki_segment *segment, kith_index_info *info);
/* Sections of the file, and one of them: number below that. */
size_t ki_segment_sections(const ki_segment *segment);
void ki_segment_describe(const ki_segment *segment, size_t number, kith_section *section);
/* Non-zero once the file under the map was cut, by a page or a byte (S4), or its header overwritten. Cheap: no
 * system call. Ask after reading. */
int ki_segment_damaged(const ki_segment *segment);
/* Every byte against its checksum; names file and section. Not its meaning: that is the index layer's check. */
kith_status ki_segment_verify(const ki_segment *segment, kith_pool *pool, kith_progress_fn progress,
                              void *progress_context, kith_error *error);

#endif
