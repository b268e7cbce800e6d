/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: what a collection holds at one version. A reader pins the current one and sees that, whatever is written
 * meanwhile; the writer edits a copy and publishes it.
 *
 * N1. A snapshot never changes. It holds references to its segments, heads and bits; the last reader to let go ends it.
 * N2. A key lives in at most one place of a snapshot.
 * N3. An edit takes all the memory that it needs before the catalog commits: ki_edit_publish cannot fail. Rows that it
 *     appended to the head are cut off again when it is abandoned.
 * N4. One edit at a time, by who holds kith_collection.writing. Pinning takes `publishing` for the time of a pointer
 *     and a count, nothing else does more under it. */
#ifndef KI_STATE_SNAPSHOT_H
#define KI_STATE_SNAPSHOT_H

#include "head/head.h"
#include "segment/sealed.h"

typedef struct ki_generations ki_generations; /* generations.h */

typedef struct ki_snapshot_sealed {
    ki_sealed *sealed;
    ki_bits *alive;      /* by row of the table */
    ki_bits **positions; /* one a slot: by position of its index, NULL where there is no index */
} ki_snapshot_sealed;

typedef struct ki_snapshot_head {
    ki_head *head;
    size_t count;  /* published rows */
    ki_bits *live; /* by serial, `count` rows */
} ki_snapshot_head;

typedef struct ki_snapshot {
    _Atomic uint64_t references;
    uint64_t version;        /* the collection's at this state */
    uint64_t generation;     /* counts the segments that came and went */
    uint64_t publication;    /* counts the states of this kith_collection: no two of them have one in common */
    uint64_t items;          /* live */
    uint64_t next_expiry_ms; /* at or before the first expiry of a live item; 0: none */
    const ki_schema *schema; /* declared fields: lives as long as the collection */
    const ki_generations *generations; /* likewise */
    size_t specs;                      /* slots */
    size_t sealed_count, head_count;
    ki_snapshot_sealed *sealed; /* by number */
    ki_snapshot_head *head;     /* frozen ones, oldest first; the last one is the head that grows */
} ki_snapshot;

struct kith_collection;

/* The current state, held; let go of it by ki_snapshot_release. */
ki_snapshot *ki_snapshot_pin(struct kith_collection *collection);
void ki_snapshot_release(ki_snapshot *snapshot); /* NULL is fine */

/* Let go of what one segment's place in a snapshot holds. */
void ki_snapshot_release_sealed(ki_snapshot_sealed *sealed, size_t specs);

/* Where a live key is. */
typedef struct ki_place {
    size_t sealed, head; /* one of them SIZE_MAX */
    uint32_t row;        /* of the table, or serial */
} ki_place;
int ki_snapshot_find(const ki_snapshot *snapshot, uint64_t key, ki_place *place);
int ki_snapshot_find_sealed(const ki_snapshot *snapshot, uint64_t key, ki_place *place); /* in segments alone */
/* The stored vector of a place as floats (bits as bytes); KITH_E_NOTFOUND: the item lacks it. */
kith_status ki_snapshot_vector(const ki_snapshot *snapshot, const ki_place *place, size_t spec, void *vector,
                               kith_error *error);

/* ---- Editing ----------------------------------------------------------------------------------------------------- */

typedef struct ki_edit ki_edit;

/* A copy of the current state; where there is none yet, an empty one without fields. There is always a head that grows,
 * of as many rows as options.head_bytes has room for. */
kith_status ki_edit_begin(struct kith_collection *collection, ki_edit **edit, kith_error *error);
/* The state as edited so far: for lookups of the writer. */
const ki_snapshot *ki_edit_state(const ki_edit *edit);
/* Where a live key is in the edited state (fast for the writer's own head). */
int ki_edit_find(const ki_edit *edit, uint64_t key, ki_place *place);
/* A key lives no longer; *was: it did. */
kith_status ki_edit_kill(ki_edit *edit, uint64_t key, int *was, kith_error *error);
/* Append a live row; the older one of its key, if any, lives no longer. A full head is followed by a new one. */
kith_status ki_edit_append(ki_edit *edit, const ki_head_row *row, int *replaced, kith_error *error);
/* The caller knows better when the first live item expires (it asked the catalog): 0: none does. Appended rows that
 * expire earlier count by themselves. */
void ki_edit_set_next_expiry(ki_edit *edit, uint64_t next_expiry_ms);
/* Let a new head begin; what the old one holds is frozen. Fine when it is empty: nothing happens. */
kith_status ki_edit_freeze(ki_edit *edit, kith_error *error);
/* Sealing and merging: take segments and frozen heads out (they are held by older snapshots as long as those live), put
 * one in, which the state holds from then on. `alive`: taken over, also on failure. Whether a segment that was taken
 * out is retired is the caller's to say, once this is published. KITH_E_ARG: it is not there, or is the head that
 * grows. */
kith_status ki_edit_remove_sealed(ki_edit *edit, uint64_t number, kith_error *error);
kith_status ki_edit_remove_head(ki_edit *edit, const ki_head *head, kith_error *error);
kith_status ki_edit_add_sealed(ki_edit *edit, ki_sealed *sealed, ki_bits *alive, kith_error *error);
/* Rows of a segment live no longer in it, since another segment that this edit puts in has them. rows: bits by row;
 * positions: by position of the index of each of its slots, NULL where there is no index. */
kith_status ki_edit_take_rows(ki_edit *edit, uint64_t number, const ki_bits *rows, ki_bits *const *positions,
                              kith_error *error);
/* Let a segment of the edit that nobody has searched yet copy its graphs, as far as kith_collection_open_options'
 * resident_bytes leave room beside the state's other segments. */
void ki_edit_copy_hot(ki_edit *edit, ki_sealed *sealed);
/* What the edit does may have changed any item: it reads a state anew. */
void ki_edit_touch_all(ki_edit *edit);
/* Other declared fields from now on: rows are appended with the values of these. What the head holds is frozen. */
kith_status ki_edit_schema(ki_edit *edit, const ki_schema *schema, kith_error *error);
/* Another table of generations from now on. Where it has other slots, what the head holds is frozen. */
kith_status ki_edit_generations(ki_edit *edit, const ki_generations *generations, kith_error *error);
void ki_edit_publish(ki_edit *edit, uint64_t version);
void ki_edit_abandon(ki_edit *edit); /* NULL is fine */

#endif
