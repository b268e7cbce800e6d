/* SPDX-License-Identifier: Apache-2.0
 *
 * A sealed segment of a collection: a folder `segments/<number>` with a table of its rows and, for each slot
 * (generations.h) that any row has a vector in, an index file whose ids are the rows' keys.
 *
 * L1. Files are immutable and were synced and read back before the catalog named them. A later declaration writes
 *     another table beside the old one; the index of a slot that no generation has any more may go.
 * L2. Rows are numbered by ascending key (table/table.h); an index has its own positions. Which rows live is no
 *     property of the segment but of a snapshot.
 * L3. Who holds a reference may read. When the last one lets go of a segment that was retired, its files are removed.
 *
 * Constant once open, but for the free scratches and saved_dead: any thread. */
#ifndef KI_SEGMENT_SEALED_H
#define KI_SEGMENT_SEALED_H

#include "head/bits.h"
#include "index/index.h"
#include "segment/body.h"
#include "table/table.h"

#include <pthread.h>

typedef struct ki_sealed_scratch ki_sealed_scratch; /* inner: a kith_scratch that is free for now */

/* What goes with the last reference: nothing, the table (another one has taken its place in the folder), the indexes
 * of `retired_slots`, all files. */
enum { KI_RETIRED_NOT, KI_RETIRED_TABLE, KI_RETIRED_INDEXES, KI_RETIRED_ALL };

/* What is known of an index's plans, beside its file (calibrate.h). */
typedef struct ki_sealed_tuned {
    int known;     /* 0: nothing */
    uint64_t hash; /* of what the catalog has, 0: the file has it */
} ki_sealed_tuned;

typedef struct ki_sealed {
    _Atomic uint64_t references;
    atomic_int retired;     /* KI_RETIRED_..., by the writer once no catalog names it */
    uint64_t retired_slots; /* bits; set before `retired` is */
    uint64_t number;
    char *folder;
    ki_table *table;
    char table_name[KI_BODY_NAME_BYTES]; /* of its file in the folder */
    size_t specs;                        /* slots that there were when it was made */
    kith_index *index[KITH_VECTORS_MAX]; /* by slot; NULL: no row has it */
    ki_sealed_tuned *tuned;              /* one a slot; constant once others have the segment */
    int flat;                            /* made in haste: an index has one list where it may have more (job_build.c) */
    int own;                             /* made of one large tenant's rows (upkeep/split.c) */
    uint64_t disk_bytes;
    /* Of the body that the catalog has: how many dead rows, at which version. Changed under kith_collection.writing. */
    _Atomic uint64_t saved_dead;
    uint64_t saved_version;
    pthread_mutex_t mutex; /* guards what follows */
    ki_sealed_scratch *free;
    ki_sealed_scratch *hulls; /* of scratches that are in use */
    size_t free_count;
} ki_sealed;

/* Names of indexes that were made in haste begin so. */
#define KI_FLAT_PREFIX "flat."
/* Of indexes that hold a large tenant's rows alone. */
#define KI_OWN_PREFIX  "own."

/* Where segments lie and what their indexes hold. */
typedef struct ki_sealed_where {
    const char *folder;            /* of all segments */
    const kith_vector_spec *specs; /* of slots; a segment may be of fewer */
    size_t spec_count;
    int no_sigbus_handler; /* as in kith_open_options */
    int reserved;
} ki_sealed_where;

/* What the catalog keeps of a segment, as bytes with a version of their own (body.h): files and their sizes and hashes,
 * rows, and the dead rows at a version of the collection. The caller frees *body. Takes microseconds for a million
 * rows. */
kith_status ki_sealed_encode(const ki_sealed *sealed, const ki_bits *alive, uint64_t version, void **body,
                             size_t *bytes, kith_error *error);
/* Open what the catalog names; *alive: the rows that live. KITH_E_CORRUPT names the file and what differs, also one
 * that is not there: for a reader, whose catalog may have moved on meanwhile. KITH_E_VERSION. */
kith_status ki_sealed_open(const ki_sealed_where *where, uint64_t number, const void *body, size_t bytes,
                           ki_sealed **sealed, ki_bits **alive, kith_error *error);
/* Open files that were just made, by their names in *made; sizes and hashes are taken as they are. */
kith_status ki_sealed_open_made(const ki_sealed_where *where, uint64_t number, const ki_body *made, ki_sealed **sealed,
                                kith_error *error);
ki_sealed *ki_sealed_hold(ki_sealed *sealed);
void ki_sealed_release(ki_sealed *sealed); /* NULL is fine */

/* "<folder>/<number>" and "<folder>/<number>/<name>", the caller's to free; NULL: no memory. */
char *ki_sealed_folder(const char *folder, uint64_t number);
char *ki_sealed_file(const char *folder, uint64_t number, const char *name);
/* Make the folder of a new segment, for good; what an earlier process left there goes. */
kith_status ki_sealed_make_folder(const char *folder, uint64_t number, kith_error *error);
/* Remove a folder that no catalog names, with all that is in it, as far as that can be; or, by its path, only one file
 * of it (NULL: all). */
void ki_sealed_remove_folder(const char *folder, uint64_t number);
void ki_sealed_remove_files(const char *path, const char *only);
/* Remove files of its folder that are not its own: left by a process that died. Nobody else may use the folder. */
void ki_sealed_sweep(const ki_sealed *sealed);

/* What copies of its graphs and codes take that were begun, whole (whole 0: what was copied so far). */
uint64_t ki_sealed_hot_bytes(const ki_sealed *sealed, int whole);
/* Begin to copy its graphs, and their indexes' codes, before anybody searches it: what of that takes no more than this. An
 * index without a graph is small or will be merged soon, and stays a map. */
void ki_sealed_copy_hot(ki_sealed *sealed, uint64_t room);

/* The rows that live as the positions of one index: bits for searches. NULL: no memory. */
ki_bits *ki_sealed_positions(const ki_sealed *sealed, size_t spec, const ki_bits *alive);
/* The position of a key in one index; 0: it is not there. */
int ki_sealed_position(const ki_sealed *sealed, size_t spec, uint64_t key, uint32_t *position);
/* The same of a row of the table: at once where every row has a vector. */
int ki_sealed_row_position(const ki_sealed *sealed, size_t spec, uint64_t row, uint32_t *position);

/* A scratch for searches of one index, made where none is free; pool NULL: the calling thread alone. Give it back. */
kith_status ki_sealed_take(ki_sealed *sealed, size_t spec, kith_pool *pool, kith_scratch **scratch, kith_error *error);
void ki_sealed_give(ki_sealed *sealed, size_t spec, kith_pool *pool, kith_scratch *scratch);

/* Every byte of its files, and that they agree: each id of an index is the key of a row. KITH_E_CORRUPT names the first
 * fault. */
kith_status ki_sealed_check(const ki_sealed *sealed, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                            kith_error *error);

#endif
