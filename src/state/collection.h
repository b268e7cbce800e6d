/* SPDX-License-Identifier: Apache-2.0
 *
 * A collection: what the rooms share that make it. Told from the outside in kith.h. From the ground up:
 *
 *   head        rows in memory, and sets of rows (bits)
 *   segment     sealed segments, what the catalog says of them, and the folder that all lies in (home)
 *   state       this struct; made: the settings and numbers; generations: which models' vectors there are; snapshot,
 *               snapshot_edit: states, and how the writer makes the next one; pages, touched: what writes changed
 *               since, for answers that are kept; hot: profiles in memory;
 *               tenants: who is asked for how often
 *   match       which rows of a state a filter lets through
 *   log         what a write did as bytes; apply: doing it, by the writer, by readers and at opening; load: from the
 *               catalog to a state; follow: what others wrote, and what is over
 *   write       request: what callers ask for, checked; resolve, commit: from there to a published snapshot
 *   upkeep      from heads to segments, from segments to fewer, and the thread that decides when
 *   load        much at once: a segment that is built beside
 *   collection  the verbs of kith.h: made, opened, written, read, searched, kept
 *
 * C1. Order of locks: writing > catalog > publishing > a segment's own. Searches take none but `publishing` (for a
 *     pointer) and a segment's (for a free scratch).
 * C2. What is acknowledged was committed by the catalog before its snapshot is published, and is published before it is
 *     acknowledged.
 * C3. The log in the catalog holds, in the order of versions, every write that is in no live segment; live segments and
 *     their dead rows, replayed with the log, give the current state. Replaying what is in effect already changes
 *     nothing: a row that lives in a segment is newer than what the log has up to the version of the segment's dead
 *     rows. What was loaded is a version without a log.
 * C4. `writing` is never held while files are built or read: sealing and merging take it to begin and to publish. */
#ifndef KI_STATE_COLLECTION_H
#define KI_STATE_COLLECTION_H

#include "base/pool.h"
#include "catalog/catalog.h"
#include "state/snapshot.h"

/* A named vector, resolved. */
typedef struct ki_vector {
    char *name; /* owned; "" for the unnamed one */
    size_t dim, row_bytes;
    kith_dtype dtype;
    kith_metric metric;
} ki_vector;

/* How the collection was made: constant. In the catalog as the setting "made" (JSON, with a version of its own). */
typedef struct ki_made {
    kith_id_kind id_kind;
    size_t vector_count; /* names */
    ki_vector *vector;   /* as generation 1 has them: ki_generations tells what they are now */
    char *segment_field; /* "" without */
    char *model;         /* of generation 1 */
} ki_made;

typedef struct ki_commit_queue ki_commit_queue; /* write/commit.c */
typedef struct ki_maintainer ki_maintainer;     /* upkeep/maintain.h */
typedef struct ki_match_cache ki_match_cache;   /* match/matching.c */
typedef struct ki_pages ki_pages;               /* pages.h */
typedef struct ki_hot ki_hot;                   /* hot.h */
typedef struct ki_tenants ki_tenants;           /* tenants.h */

/* Kinds of the catalog's records. */
enum { KI_RECORD_PROFILE = 1 };

struct kith_collection {
    char *path; /* folder; for memory alone its temporary folder */
    char *segments_path;
    int in_memory, lock_fd; /* -1: not for writing */
    kith_collection_open_options options;
    kith_pool *pool;
    int owns_pool;
    ki_made made;
    ki_catalog *catalog;

    pthread_mutex_t writing; /* one edit at a time; guards what follows */
    uint64_t version;        /* last committed */
    uint64_t next_key;       /* for the next new string id */
    uint64_t next_segment;   /* number of the next segment's folder; written with the next change of the catalog */
    uint64_t edition;        /* counts changes of segments, settings and the log's beginning (made.h M3) */
    kith_status poisoned;    /* KITH_OK, or why writes are refused (faults of a commit) */
    char poison[KITH_ERROR_TEXT_BYTES];
    int loading; /* a load is running (load/load.h) */
    ki_commit_queue *queue;

    pthread_mutex_t publishing; /* guards the pointer */
    ki_snapshot *current;
    pthread_cond_t published; /* with publishing: a newer version is there */

    ki_schema **schemas; /* all that ever were: snapshots point to them. Guarded by writing */
    size_t schema_count;
    ki_generations **generations; /* likewise; the first one has generation 1 alone */
    size_t generation_count;

    uint64_t (*now_ms)(void);  /* the clock of expiry: ki_wall_ms, but in tests */
    ki_maintainer *maintainer; /* NULL: read only */
    /* What rooms below it ask of the maintainer: ki_maintain_wake, ki_maintain_info (upkeep/upkeep.h). Constant. */
    void (*wake)(kith_collection *collection);
    void (*tell)(kith_collection *collection, kith_collection_info *info);
    ki_match_cache *matches;
    ki_tenants *tenants;
    uint64_t own_from; /* rows from which on a tenant may have segments of its own: KI_OWN_FROM, but in tests */
    ki_pages *pages;   /* NULL: no answers are kept */
    ki_hot *hot;       /* NULL: no profiles are */
    uint64_t stamp;    /* read only: of the catalog when the current snapshot was made; guarded by writing */
    /* Queries with a target recall: so far, and when heads were sealed last. What seals weigh lists by (seal.h). */
    _Atomic uint64_t approximate, approximate_sealed;
};

/* KITH_E_ARG unless the collection takes writes: it is read only. */
kith_status ki_collection_takes_writes(const kith_collection *collection, kith_error *error);
/* Under `writing`. The same, and KITH_E_IO with the old text when an earlier commit failed. */
kith_status ki_collection_writable(const kith_collection *collection, kith_error *error);
/* Where its segments lie, and what a table of generations says of their indexes. Both are borrowed. */
ki_sealed_where ki_collection_where(const kith_collection *collection, const ki_generations *generations);
/* The current table of generations: it lives as long as the collection. */
const ki_generations *ki_collection_generations(const kith_collection *collection);

#endif
