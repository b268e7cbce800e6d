/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing and merging, inside: a *job* makes one new segment of rows that live in heads or segments (its *origins*),
 * and puts it in their place; or of some rows of
 * segments, which stay without them.
 *
 * R1. What a job reads it holds: heads, segments and bits stay as they are, whatever is published meanwhile.
 * R2. A job that fails or is cancelled leaves the state as it was, and no files. Only when a commit failed so that
 *     nobody knows what the disk holds do they stay: the next opening finds out who names them.
 * R3. Rows of origins that die while files are built are dead in the new segment: most of these deaths are carried over
 *     before `writing` is taken, and the last ones under it.
 * R4. One job that seals and one other at a time in a collection: maintain.c sees to that.
 * R5. Of segments that stay, the rows that are taken die there with the change that puts the new segment in, in memory
 *     and in the catalog. */
#ifndef KI_UPKEEP_SEAL_H
#define KI_UPKEEP_SEAL_H

#include "state/generations.h"
#include "upkeep/upkeep.h"

/* How a job is watched, and stopped. */
typedef struct ki_watch {
    kith_progress_fn progress; /* NULL: none; non-zero cancels */
    void *progress_context;
    unsigned threads;
    /* Files are built by a thread of low priority and those that it makes. That takes no lock of the collection but the
     * catalog's, so that nobody waits for a lock whose holder gets no time. Meanwhile the caller does something
     * else. */
    int polite;
    void (*meanwhile)(void *context); /* may be NULL */
    void *meanwhile_context;
    atomic_uint_fast64_t done, total; /* rows, for ki_maintain_info; written by the job */
} ki_watch;

typedef struct ki_origin {
    ki_head *head; /* one of the two, held */
    ki_sealed *sealed;
    ki_bits *alive; /* held: its rows that lived when the job looked last */
    /* Of a segment that stays and gives some of its rows: these, held, and beside them, one a slot, the same as
     * positions of its indexes (NULL: none). NULL: it goes as a whole. */
    ki_bits *taken, **positions;
} ki_origin;

typedef struct ki_job_row {
    uint64_t key;
    uint32_t origin, row; /* of its table, or serial */
} ki_job_row;

typedef struct ki_job {
    kith_collection *collection;
    const ki_schema *schema;           /* whose columns the table will have */
    const ki_generations *generations; /* whose slots that are used get indexes */
    const char *stage;                 /* "sealing", "merging", "indexing fields", "calibrating": static */
    ki_watch *watch;
    size_t origins;
    ki_origin *origin;
    uint64_t rows;
    ki_job_row *row;    /* by ascending key */
    size_t part, parts; /* of what is written: the table, and an index a vector */
    uint64_t number;
    int has_folder; /* one was made for the number */
    int hasty;      /* somebody waits: indexes are made that cost little, and searches of them a little more */
    int listed;     /* though hasty or small, indexes get lists and are measured: searches ask for that */
    int own;        /* the rows are one large tenant's, and the files are named so */
    ki_body made;   /* names of the files */
    ki_sealed *sealed;
    ki_bits *alive; /* of its rows; nobody else's until it is published */
} ki_job;

/* ---- job.c: what goes in ----------------------------------------------------------------------------------------- */

/* A job without origins yet, with the fields of the snapshot. Fine to end as it is. */
void ki_job_begin(kith_collection *collection, const ki_snapshot *snapshot, const char *stage, ki_watch *watch,
                  ki_job *job);
/* NULL alive: all rows, dead ones too. */
kith_status ki_job_add(ki_job *job, ki_head *head, ki_sealed *sealed, ki_bits *alive, kith_error *error);
/* Some rows of a segment, which stays without them. */
kith_status ki_job_take(ki_job *job, ki_sealed *sealed, ki_bits *rows, kith_error *error);
/* The origins' live rows in the order of their keys. */
kith_status ki_job_gather(ki_job *job, kith_error *error);
/* Lets go of everything; a segment that was made and not published goes with its files. */
void ki_job_end(ki_job *job);

/* ---- job_build.c: what comes out --------------------------------------------------------------------------------- */

/* How an index of so many rows of a vector is built, threads and progress aside. */
kith_build_options ki_job_options(const kith_collection *collection, const ki_vector *vector, uint64_t rows);
/* The table of all rows in a file of the folder of segment job->number. */
kith_status ki_job_write_table(ki_job *job, const char *name, kith_error *error);
/* Do something of a job as its watch says: politely, or at once. */
typedef kith_status (*ki_job_fn)(ki_job *job, kith_error *error);
kith_status ki_job_politely(ki_job *job, ki_job_fn fn, kith_error *error);
/* A folder with the files of all rows, opened: job->sealed and alive. Nothing where there are no rows. */
kith_status ki_job_build(ki_job *job, kith_error *error);

/* The callback of whatever a job does that takes a while; `job` is its context. */
int ki_job_watched(void *job, const kith_progress *progress);

/* ---- job_replace.c: a segment in its own place ------------------------------------------------------------------- */

/* Open the only origin once more, as job->sealed: with the table job->made.table, if that was written, without the
 * indexes of some slots (bits), and the rest as it was. */
kith_status ki_job_open_again(ki_job *job, uint64_t without, kith_error *error);
/* Put it in the place of the origin, in memory and in the catalog. more (may be NULL): what else is to be changed,
 * called between begin and commit. retired: what goes with the origin when nobody reads it any more: nothing
 * (KI_RETIRED_NOT), its table, or the indexes of the slots `without`. On failure a new table goes instead. */
typedef kith_status (*ki_job_put_fn)(kith_collection *collection, const ki_job *job, kith_error *error);
kith_status ki_job_replace(ki_job *job, ki_job_put_fn more, int retired, uint64_t without, kith_error *error);
/* In memory alone, where indexes are files without names: build it as a new segment. */
kith_status ki_job_make_anew(ki_job *job, kith_error *error);

/* ---- job_publish.c: how it takes its place ----------------------------------------------------------------------- */

/* What lives of an origin in a state, which holds it; NULL: it is not there any more. */
ki_bits *ki_job_alive(const ki_snapshot *state, const ki_origin *origin);
/* Take the number of a new segment's folder. */
uint64_t ki_job_take_number(kith_collection *collection);
/* Put the new segment in the place of the origins, in memory and in the catalog, and end the origins. */
kith_status ki_job_publish(ki_job *job, kith_error *error);
/* Whether files may go that the catalog names no more: with relaxed durability a crash of the machine might bring its
 * word of before back, so it is synced first. Where that fails they stay, and the next opening removes them. */
int ki_job_may_remove(kith_collection *collection);

/* ---- seal.c, merge.c, split.c, fields.c -------------------------------------------------------------------------- */

/* Which heads are sealed: those that are frozen; the growing one too; the growing one if none is frozen. */
typedef enum ki_seal_what { KI_SEAL_FROZEN, KI_SEAL_ALL, KI_SEAL_SOME } ki_seal_what;
/* Whether so many queries with a target recall came since heads were sealed last that lists have paid: of that time a
 * quarter, as for links of heads. */
int ki_seal_asked(kith_collection *collection);
/* Rows of segments that died, as far as only the log knows. */
uint64_t ki_seal_unsaved(const ki_snapshot *snapshot);
/* Seal heads into one segment, and save what has died: the log is cut to what is in no segment. *rows (may be NULL):
 * that were sealed. Fine when there is nothing to seal. */
kith_status ki_seal(kith_collection *collection, ki_seal_what what, ki_watch *watch, uint64_t *rows, kith_error *error);

/* What the choice of segments to merge goes by. */
typedef struct ki_merge_size {
    uint64_t rows, dead;
    int flat;     /* made in haste */
    int measured; /* what its plans find and cost is known: what takes its place must not be made in haste */
} ki_merge_size;
/* Mark those of `count` segments that should become one, and return how many: 0, none; 1, one is worth writing again
 * without its dead rows, or with lists. A pure function. */
typedef enum ki_merge_when {
    KI_MERGE_BUSY, /* somebody writes */
    KI_MERGE_IDLE, /* nobody does, and time is cheap */
    KI_MERGE_HASTE /* somebody writes, and only what costs little is to be done now */
} ki_merge_when;
size_t ki_merge_choose(const ki_merge_size *size, size_t count, ki_merge_when when, unsigned char *chosen);
int ki_merge_wanted(const kith_collection *collection, const ki_snapshot *snapshot, ki_merge_when when);
/* Do it in the current state; *merged: how many segments became one. */
kith_status ki_merge(kith_collection *collection, ki_merge_when when, ki_watch *watch, size_t *merged,
                     kith_error *error);
/* Large tenants that asked for it get segments of their own; then all segments that tenants share become one without
 * dead rows, if they are not, and likewise those of each tenant that has its own. */
kith_status ki_merge_all(kith_collection *collection, ki_watch *watch, kith_error *error);

/* A large tenant whose searches have paid for it gives the rows that it shares segments for: they become one of its
 * own. *split: from how many segments they came, 0: there was nobody. */
kith_status ki_split(kith_collection *collection, ki_watch *watch, size_t *split, kith_error *error);
int ki_split_wanted(const kith_collection *collection, const ki_snapshot *snapshot);
/* Which segments may become one: 0, those that tenants share; else those of one tenant, which is large still. */
uint64_t ki_split_group(const kith_collection *collection, const ki_snapshot *snapshot, size_t sealed);

/* Whether a segment's table lacks a declared field. */
int ki_fields_lacking(const ki_sealed *sealed, const ki_schema *schema);
/* Give the first segment that lacks a declared field another table. *done: there was none. */
kith_status ki_fields_index(kith_collection *collection, ki_watch *watch, int *done, kith_error *error);

/* ---- maintain.c -------------------------------------------------------------------------------------------------- */

/* Segments that were retired are let go of by the maintainer when no reader has them any more, so that no search waits
 * for files to be unmapped and removed. Takes over the reference. */
void ki_maintain_bury(kith_collection *collection, ki_sealed *sealed);

#endif
