/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment file: a header, sections of typed byte parts, checksums. This layer keeps bytes and proves them
 * unchanged; what a part means is known to src/index. docs/format.md draws the bytes; src/store/format.h declares them.
 *
 * S1. A file is valid if and only if both copies of header and section table are the same and their hashes hold (they
 *     cover the sections' heads), sections and parts lie in ascending, aligned ranges, each directly behind the one
 *     before, the sizes make exactly this file, and every block of at most 64 KiB has its XXH3. Opening checks all but
 *     the blocks, makes do with one good copy of header and table, and is O(1); verify checks every byte.
 * S2. Unknown incompatible feature bit: refused (KITH_E_VERSION). Unknown compatible bit, family or part: ignored.
 * S3. The file gets its name only after it was written, synced, read back and compared with its checksums.
 * S4. A page lost under the map (truncation) reads as zeros and sets the segment's `damaged` flag: the process lives.
 *     Whoever read sections and then sees ki_segment_damaged() == 0 has read what was written.
 *
 * Readers: any thread. A writer: one owner, but ki_segment_put of disjoint ranges from several threads. */
#ifndef KI_STORE_SEGMENT_H
#define KI_STORE_SEGMENT_H

#include "base/pool.h"
#include "kith.h"

/* A part is a run of bytes of one meaning; a section holds the parts of one family, under a head of its own that says
 * where each lies. Numbers are the format's, never reused; a new meaning gets a new number. */
#define KI_PART(family, number) ((uint32_t)(family) << 16 | (uint32_t)(number))
#define KI_PART_FAMILY(id)      ((uint32_t)(id) >> 16)
#define KI_PART_NUMBER(id)      ((uint32_t)(id)&0xffff)

typedef enum ki_family {
    KI_FAMILY_LISTS = 1,
    KI_FAMILY_FIRST_LEVEL = 2,
    KI_FAMILY_CODES = 3,
    KI_FAMILY_SECOND_CODE = 4,
    KI_FAMILY_SECOND_LISTS = 5,
    KI_FAMILY_IDS = 6,
    KI_FAMILY_ORIGINALS = 7,
    KI_FAMILY_STRINGS = 8,
    KI_FAMILY_NAMES = 9,
    KI_FAMILY_META = 10,
    KI_FAMILY_CALIBRATION = 11,
    KI_FAMILY_ROWS = 12,
    KI_FAMILY_COLUMNS = 13,
    KI_FAMILY_GRAPH = 14,
    KI_FAMILY_HNSW = 15,
    KI_FAMILY_LSH = 16
} ki_family;

/* A file's parts lie in ascending order, as they are planned. */
typedef enum ki_part_id {
    KI_PART_LISTS = KI_PART(KI_FAMILY_LISTS, 1),              /* list table */
    KI_PART_CENTROIDS = KI_PART(KI_FAMILY_LISTS, 2),          /* lists x dim floats */
    KI_PART_LIST_BOUNDS = KI_PART(KI_FAMILY_LISTS, 3),        /* float a list: at least its longest residual */
    KI_PART_COARSE_CODES = KI_PART(KI_FAMILY_LISTS, 4),       /* int8 tiles of the centroids */
    KI_PART_COARSE_FACTORS = KI_PART(KI_FAMILY_LISTS, 5),     /* beside them */
    KI_PART_COARSE_FIRST_CODES = KI_PART(KI_FAMILY_LISTS, 6), /* tiles of the centroids in the first level */
    KI_PART_COARSE_FIRST_FACTORS = KI_PART(KI_FAMILY_LISTS, 7),
    KI_PART_SUPERS = KI_PART(KI_FAMILY_LISTS, 8),             /* lists of lists: u32 ends, then centroids */
    KI_PART_LEVEL1_BASIS = KI_PART(KI_FAMILY_FIRST_LEVEL, 1), /* centre and directions of the first level */
    KI_PART_LEVEL1_CODES = KI_PART(KI_FAMILY_FIRST_LEVEL, 2),
    KI_PART_LEVEL1_FACTORS = KI_PART(KI_FAMILY_FIRST_LEVEL, 3),
    KI_PART_CODES = KI_PART(KI_FAMILY_CODES, 1),              /* int8 tiles */
    KI_PART_FACTORS = KI_PART(KI_FAMILY_CODES, 2),            /* per vector scale, bias, norm, error */
    KI_PART_SECOND_MODEL = KI_PART(KI_FAMILY_SECOND_CODE, 1), /* what the second code was trained to */
    KI_PART_SECOND_CODES = KI_PART(KI_FAMILY_SECOND_CODE, 2),
    KI_PART_SECOND_FACTORS = KI_PART(KI_FAMILY_SECOND_CODE, 3),
    KI_PART_SECOND_LIST_COUNTS = KI_PART(KI_FAMILY_SECOND_LISTS, 1), /* u32 a list, how many vectors it has as second */
    KI_PART_SECOND_LIST_ENTRIES = KI_PART(KI_FAMILY_SECOND_LISTS, 2), /* by list: u32 position and u32 first list */
    KI_PART_SECOND_LIST_CODES = KI_PART(KI_FAMILY_SECOND_LISTS, 3),   /* tiles, of the first level where there is one */
    KI_PART_SECOND_LIST_FACTORS = KI_PART(KI_FAMILY_SECOND_LISTS, 4),
    KI_PART_IDS = KI_PART(KI_FAMILY_IDS, 1),                 /* u64 a vector, in the segment's order */
    KI_PART_ID_ORDER = KI_PART(KI_FAMILY_IDS, 2),            /* u32 positions by ascending id */
    KI_PART_ORIGINALS = KI_PART(KI_FAMILY_ORIGINALS, 1),     /* rows as given, in the segment's order */
    KI_PART_INVERSE_NORMS = KI_PART(KI_FAMILY_ORIGINALS, 2), /* cosine: float a vector; in files of version 1 */
    KI_PART_NORMS2 = KI_PART(KI_FAMILY_ORIGINALS, 3),        /* cosine: float a vector, |x|^2 */
    KI_PART_STRING_ENDS = KI_PART(KI_FAMILY_STRINGS, 1),     /* string ids by row number: u64 ends */
    KI_PART_STRING_BYTES = KI_PART(KI_FAMILY_STRINGS, 2),
    KI_PART_STRING_ORDER = KI_PART(KI_FAMILY_STRINGS, 3), /* u32 row numbers by ascending string */
    KI_PART_NAME_ENDS = KI_PART(KI_FAMILY_NAMES, 1),      /* names by position: u64 ends */
    KI_PART_NAME_BYTES = KI_PART(KI_FAMILY_NAMES, 2),
    KI_PART_META = KI_PART(KI_FAMILY_META, 1),               /* a small JSON object: who built it and how */
    KI_PART_CALIBRATION = KI_PART(KI_FAMILY_CALIBRATION, 1), /* measured recall and cost of plans */
    KI_PART_KEYS = KI_PART(KI_FAMILY_ROWS, 1),               /* of tables: u64 a row, ascending */
    KI_PART_TEXT_ENDS = KI_PART(KI_FAMILY_ROWS, 2),          /* string ids by row: u64 ends */
    KI_PART_TEXT_BYTES = KI_PART(KI_FAMILY_ROWS, 3),
    KI_PART_TEXT_ORDER = KI_PART(KI_FAMILY_ROWS, 4),     /* u32 rows by ascending string */
    KI_PART_DIRECTORY = KI_PART(KI_FAMILY_COLUMNS, 1),   /* the columns: fields, types, counts and places */
    KI_PART_COLUMN_DATA = KI_PART(KI_FAMILY_COLUMNS, 2), /* their bytes, column by column */
    KI_PART_GRAPH_MODEL = KI_PART(KI_FAMILY_GRAPH, 1),   /* what all rows share: graph/row.h */
    KI_PART_GRAPH_ROWS = KI_PART(KI_FAMILY_GRAPH, 2),    /* a row a vector: itself, its neighbours and their codes */
    KI_PART_HNSW_MODEL = KI_PART(KI_FAMILY_HNSW, 1),     /* what all layers share, and the upper ones: view/hnsw.h */
    KI_PART_HNSW_LINKS = KI_PART(KI_FAMILY_HNSW, 2),
    KI_PART_LSH_MODEL = KI_PART(KI_FAMILY_LSH, 1), /* the hash functions */
    KI_PART_LSH_TABLES = KI_PART(KI_FAMILY_LSH, 2) /* positions by bucket */
} ki_part_id;

/* All static. "lists", ...; "lists/supers", ...; "section 'lists', part 'supers'", ... Others are "unknown",
 * "unknown" and "an unknown section". */
const char *ki_family_name(uint32_t family);
const char *ki_part_name(uint32_t id);
const char *ki_part_place(uint32_t id);

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
#define KI_SEGMENT_LISTS     UINT64_C(1) /* vectors lie in several lists */
#define KI_SEGMENT_TABLE     UINT64_C(2) /* no index: rows and columns without vectors (src/table) */
#define KI_SEGMENT_FLAT_CODE UINT64_C(4) /* a second code, though all vectors make one list */

typedef struct ki_part_plan {
    uint32_t kind;
    uint64_t bytes; /* exact size */
    uint64_t count; /* elements, for people */
} ki_part_plan;

/* A planned part whose bytes are there. */
typedef struct ki_part_data {
    ki_part_plan plan;
    const void *data;
} ki_part_data;

typedef struct ki_segment_writer ki_segment_writer;

/* Lay the planned parts out in the order given and reserve their place: those of a family stand together, by ascending
 * number. KITH_E_ARG: they don't, or are planned twice; KITH_E_LIMIT: they are too many or too large. */
kith_status ki_segment_create(const char *path, const ki_part_plan *plan, size_t parts, ki_segment_writer **writer,
                              kith_error *error);
/* Write some bytes of a planned part; what is never written reads as zeros. */
kith_status ki_segment_put(ki_segment_writer *writer, uint32_t kind, uint64_t offset, const void *data, uint64_t bytes,
                           kith_error *error);
/* Write what will be put again before the end: a draft, that is read back with ki_segment_get. It is kept from the disk
 * where memory allows. */
kith_status ki_segment_draft(ki_segment_writer *writer, uint32_t kind, uint64_t offset, const void *data,
                             uint64_t bytes, kith_error *error);
kith_status ki_segment_get(ki_segment_writer *writer, uint32_t kind, uint64_t offset, void *data, uint64_t bytes,
                           kith_error *error);
/* Append a section, all parts of a family, behind the planned ones. Not beside puts of other threads. */
kith_status ki_segment_append(ki_segment_writer *writer, const ki_part_data *part, size_t parts, kith_error *error);
/* Let finish replace this file and no other: KITH_E_BUSY if the name was given to another one. */
struct ki_file_identity;
void ki_segment_expect(ki_segment_writer *writer, const struct ki_file_identity *identity);
/* Write checksums, table and headers, sync, read back, rename. Frees the writer, also on failure. file_bytes may be
 * NULL. Progress stages: "hashing", "verifying". */
kith_status ki_segment_finish(ki_segment_writer *writer, const ki_segment_head *head, kith_pool *pool,
                              kith_progress_fn progress, void *progress_context, uint64_t *file_bytes,
                              kith_error *error);
void ki_segment_abandon(ki_segment_writer *writer); /* NULL is fine */
/* Where finish shall put the hash of the file's content, once it has its name. */
void ki_segment_want_hash(ki_segment_writer *writer, uint64_t *hash);

typedef struct ki_segment ki_segment;

/* Open the file, which has no name yet: for a look at what will be finished. Blocks and checksums are not complete. It
 * must be closed again before the writer goes on, with more puts or appends. */
kith_status ki_segment_preview(ki_segment_writer *writer, const ki_segment_head *head, const kith_open_options *options,
                               ki_segment **segment, kith_error *error);

/* Replace the file of an open segment by one with the same parts and this one, in place of what it had of that kind.
 * The new file is of today's version; parts that version 1 did not define are left out of it if the old one was of that
 * version. The old file's checksums are compared first: KITH_E_CORRUPT. KITH_E_BUSY: another file took its name
 * meanwhile, and keeps it. The open segment stays what it was. Progress and errors as ki_segment_finish(). */
kith_status ki_segment_amend(const ki_segment *old, uint32_t kind, const void *data, uint64_t bytes, uint64_t count,
                             kith_pool *pool, kith_progress_fn progress, void *progress_context, kith_error *error);

typedef struct ki_part_view {
    const void *data;
    uint64_t bytes, count;
} ki_part_view;

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
/* {NULL, 0, 0} when absent. The same for files of every version. Data is 256-aligned (4096-aligned from 64 KiB on); a
 * part is followed by zeros up to the next multiple of 256, and at least 4096 readable bytes of the file follow every
 * part (the trailing tables), so that tile kernels may read one tile past the end of codes. */
ki_part_view ki_segment_part(const ki_segment *segment, uint32_t kind);
/* All parts of the file as they lie, unknown ones included. */
size_t ki_segment_parts(const ki_segment *segment);
kith_section_info ki_segment_part_info(const ki_segment *segment, size_t number);
/* Fills all fields of info, which must be as large as this version's, but struct_size; as many parts as it has room
 * for. */
void ki_segment_info(const ki_segment *segment, kith_index_info *info);
/* Non-zero once the file under the map was cut, by a page or a byte (S4), or its header overwritten. Cheap: no
 * system call. Ask after reading. */
int ki_segment_damaged(const ki_segment *segment);
/* The hash of the file's content, and its size. */
uint64_t ki_segment_hash(const ki_segment *segment);
uint64_t ki_segment_file_bytes(const ki_segment *segment);
/* Every byte against its checksum; names file, section and part. Not its meaning: that is the index layer's check. */
kith_status ki_segment_verify(const ki_segment *segment, kith_pool *pool, kith_progress_fn progress,
                              void *progress_context, kith_error *error);

/* Hand on every range of a part that does not match its checksum, in ascending order: for who wants to save the rest.
 * All of the part, where the checksums themselves are damaged. Bytes of a part are counted from its beginning. */
typedef void (*ki_damage_fn)(void *context, uint64_t offset, uint64_t bytes);
void ki_segment_find_damage(const ki_segment *segment, uint32_t kind, ki_damage_fn fn, void *context);

#endif
