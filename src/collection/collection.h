/* SPDX-License-Identifier: Apache-2.0
 *
 * A collection: what the files of this room share. Told from the outside in kith.h.
 *
 *   made                the settings: how it was made, declared fields, numbers
 *   create, open, follow    making it; opening and closing; readers that follow, expiry
 *   home, lock          its folder; one writer at a time
 *   request, convert, payload   what callers ask for, checked; vectors in the stored type; payloads merged
 *   commit, resolve     group commit: from checked requests to the catalog and a published snapshot
 *   log, apply          what a write did as bytes; doing it, by the writer, by readers and at opening
 *   snapshot, edit      states, and how the writer makes the next one
 *   head, bits, sealed  what states are made of
 *   items, info         get, exists, count, scroll; what it is
 *   search, match, fuse searching a state; which rows a filter lets through; ranks of several legs
 *   profile, recommend  profiles, kept in the catalog; searching by one, and results that differ
 *   seal, merge, maintain   from heads to segments, from segments to fewer, and the thread that decides when
 *   load                much at once: a segment that is built beside
 *   keep, repair        snapshot, restore, verify, repair, compact
 *   result              what reads give
 *   pages, touched      answers that are kept; what writes changed since
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
#ifndef KI_COLLECTION_COLLECTION_H
#define KI_COLLECTION_COLLECTION_H

#include "base/pool.h"
#include "catalog/catalog.h"
#include "collection/snapshot.h"

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
    size_t vector_count;
    ki_vector *vector;
    kith_vector_spec *spec; /* the same, as heads and callers take them */
    char *segment_field;    /* "" without */
    char *model;
} ki_made;

typedef struct ki_commit_queue ki_commit_queue; /* commit.c */
typedef struct ki_maintainer ki_maintainer;     /* maintain.c */
typedef struct ki_match_cache ki_match_cache;   /* match.c */
typedef struct ki_pages ki_pages;               /* pages.c */

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
    int loading; /* a load is running (load.h) */
    ki_commit_queue *queue;

    pthread_mutex_t publishing; /* guards the pointer */
    ki_snapshot *current;
    pthread_cond_t published; /* with publishing: a newer version is there */

    ki_schema **schemas; /* all that ever were: snapshots point to them. Guarded by writing */
    size_t schema_count;

    uint64_t (*now_ms)(void);  /* the clock of expiry: ki_wall_ms, but in tests */
    ki_maintainer *maintainer; /* NULL: read only */
    ki_match_cache *matches;
    ki_pages *pages; /* NULL: no answers are kept */
    uint64_t stamp;  /* read only: of the catalog when the current snapshot was made; guarded by writing */
};

/* ---- open.c ------------------------------------------------------------------------------------------------------ */

/* KITH_E_ARG unless the collection takes writes: it is read only. */
kith_status ki_collection_takes_writes(const kith_collection *collection, kith_error *error);
/* Under `writing`. The same, and KITH_E_IO with the old text when an earlier commit failed. */
kith_status ki_collection_writable(const kith_collection *collection, kith_error *error);
/* The number of a named vector, name NULL: "". KITH_E_NOTFOUND names those that are there. */
kith_status ki_collection_vector_number(const kith_collection *collection, const char *name, size_t *number,
                                        kith_error *error);
/* Read only: take over what another process has committed meanwhile. Else nothing. */
kith_status ki_collection_refresh(kith_collection *collection, kith_error *error);
/* Wait until the current version is at least this one. KITH_E_DEADLINE; KITH_E_CANCELLED when `cancelled` (or NULL),
 * which is asked now and then, says so. */
kith_status ki_collection_wait(kith_collection *collection, uint64_t version, uint64_t timeout_ns,
                               int (*cancelled)(void *), void *context, kith_error *error);
/* Items whose time is up live no longer (in memory at once; the maintainer removes them from the catalog). Before every
 * read; costs a look at the clock. */
kith_status ki_collection_expire(kith_collection *collection, kith_error *error);

/* ---- commit.c ---------------------------------------------------------------------------------------------------- */

/* Under `writing`: a change of the catalog's segments and settings that makes no version, with the edit that goes with
 * it. `put` is called between begin and commit. The edit is published, or abandoned on failure. */
typedef kith_status (*ki_commit_fn)(kith_collection *collection, void *context, kith_error *error);
kith_status ki_commit_edit(kith_collection *collection, ki_edit *edit, ki_commit_fn put, void *context,
                           kith_error *error);
/* The same for a change that is a version of its own, and bears no log: collection->version + 1. */
kith_status ki_commit_version(kith_collection *collection, ki_edit *edit, ki_commit_fn put, void *context,
                              kith_error *error);
/* Under `writing`: `count` keys for string ids that nobody else will get, whatever happens; *first of them. */
kith_status ki_commit_keys(kith_collection *collection, uint64_t count, uint64_t *first, kith_error *error);
/* Under `writing`: a change of the catalog's records alone, which no state knows of. */
kith_status ki_commit_records(kith_collection *collection, ki_commit_fn put, void *context, kith_error *error);
/* The largest version all of whose rows are in segments or in frozen heads before `head`: what of the log may go once
 * they are sealed. Only a `put` of ki_commit_edit may drop it (made.h M2). */
uint64_t ki_commit_version_before(kith_collection *collection, const ki_head *head);
/* For the maintainer, without locks: remove items whose time is up from the catalog, as a write; *removed of them, at
 * most some thousands. */
kith_status ki_commit_expired(kith_collection *collection, uint64_t *removed, kith_error *error);

/* ---- match.c: which rows of a state a filter lets through -------------------------------------------------------- */

/* What is kept of filters from search to search: their parsed forms and the rows that they let through, by content. A
 * collection without one (NULL) works everything out each time. */
ki_match_cache *ki_match_cache_create(void); /* NULL: out of memory */
void ki_match_cache_destroy(ki_match_cache *cache);
uint64_t ki_match_cache_bytes(ki_match_cache *cache);

typedef struct ki_match ki_match;

/* What ask.filter and ask.segment let through of a snapshot, which the caller holds as long as the match is used.
 * filter NULL and segment NULL: everything that lives. Fields that are not declared, or not indexed yet, are read from
 * the catalog's payloads, which may be newer than the snapshot where something was written meanwhile.
 *
 * KITH_E_ARG (the filter), KITH_E_NOTFOUND (segment without a segment field), KITH_E_LIMIT, KITH_E_NOMEM, and what the
 * catalog and tables fail with. */
kith_status ki_match_create(kith_collection *collection, ki_snapshot *snapshot, const char *filter, const char *segment,
                            ki_match **match, kith_error *error);
void ki_match_destroy(ki_match *match); /* NULL is fine */
/* The same in memory that is kept: *match NULL makes it, and it holds nothing after a failure and after
 * ki_match_empty(). limits: what ends reading payloads before its time, or NULL. */
kith_status ki_match_renew(ki_match **match, kith_collection *collection, ki_snapshot *snapshot, const char *filter,
                           const char *segment, const ki_limits *limits, kith_error *error);
void ki_match_empty(ki_match *match); /* NULL is fine */

uint64_t ki_match_count(const ki_match *match);
int ki_match_read_payloads(const ki_match *match);
/* Live rows of a sealed segment that match: bits by row (NULL: all alive ones of the snapshot). Borrowed. Not for
 * matches with a segment, whose rows may be a list. */
const ki_bits *ki_match_rows(const ki_match *match, size_t sealed);
/* The same as positions of one index, also with a segment. Borrowed until the next such call. */
typedef struct ki_match_positions {
    const ki_bits *bits; /* NULL: all positions, or those of `few` */
    const uint32_t *few; /* the positions in any order, where they are few; NULL: see bits */
    uint64_t count;
} ki_match_positions;
kith_status ki_match_positions_of(ki_match *match, size_t sealed, size_t spec, ki_match_positions *positions,
                                  kith_error *error);
/* Live rows of a head that match, by serial (NULL: all live ones of the snapshot). Borrowed. */
const ki_bits *ki_match_serials(const ki_match *match, size_t head);

/* ---- maintain.c -------------------------------------------------------------------------------------------------- */

/* Begin background work, if the options allow it; what it knows of itself is there in any case. */
kith_status ki_maintain_start(kith_collection *collection, kith_error *error);
void ki_maintain_stop(kith_collection *collection); /* also where none was started */
/* Something was published, or the head is large: look whether there is work. Any thread that holds no lock of the
 * collection. Cheap; but with no_background heads that are full are sealed here, by the caller, and a failure is
 * trouble of ki_maintain_info. */
void ki_maintain_wake(kith_collection *collection);
/* Fills in working, work, work_done, work_total and trouble. */
void ki_maintain_info(kith_collection *collection, kith_collection_info *info);
/* Index declared fields now, on the calling thread, which holds no lock: for declarations with no_background. */
kith_status ki_maintain_fields(kith_collection *collection, kith_error *error);

#endif
