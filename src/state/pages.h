/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers that are kept (*pages*), and what is known of changes, so that a kept answer is what a fresh one would be.
 *
 * A page's key holds all that its answer depends on: the question in full (bytes of the queries, k, filter, ...),
 * and a *tag* that stands for the content of what was searched.
 *
 *   without a segment   the tag is the publication of the snapshot, which no other state of this collection has (N1)
 *   with one            the last publication that changed an item of the segment's *stripe*: of a table of 2^16 numbers
 *                       the one at the hash of the segment's name. Writes to others leave a segment's pages valid
 *
 * P1. A row that an edit kills or appends notes the stripe of its own segment value, the old row and the new one: an
 *     item that moves changes both. What cannot be told, and a state that is read anew, changes all.
 * P2. The noted stripes get the number of the publication *before* that is published, and only then. So whoever
 *     holds publication p sees every number of a change up to p (the mutex of publishing orders them). A number
 *     above p is of a change that p lacks: then nothing is kept or taken. A number v up to p says that between v and
 *     p nothing of the stripe changed: all states from v on until the stripe changes again agree on it, and v is
 *     theirs alone.
 * P3. The tag is read with the snapshot held, after the state was refreshed and what is over was let go: as late as
 *     a fresh search would take its state.
 * P4. Sealing and merging change no item, and exact answers do not depend on where rows are. Approximate ones do,
 *     and how a filter is answered may: their keys have the generation of the segments, too.
 * P5. Payloads and versions of sealed items are read from the catalog, which is ahead of the snapshot for the time
 *     of a commit, and behind again where that fails. What was read from it is kept only if no edit was open from
 *     before the snapshot was taken until all was read. (Of another process's commits it sees whole ones only; a
 *     reader refreshes before it looks for a page, and finds new tags then.)
 * P6. A profile's interests are legs, and in the key as such, bent by a context or not; what it has seen is there as
 *     its serial number, by which contents of profiles differ. One without a number, which is not kept itself, has no
 *     pages.
 * P7. After a commit with unknown outcome nothing is kept or taken any longer.
 * P8. A key names slots (generations.h). What one holds does not depend on which generation is current, so a flip
 *     leaves pages valid; a slot that becomes free or another generation's changes all.
 *
 * The pages themselves, their keys and what is in them: collection/page.h.
 *
 * Stripes: under `writing`. Pages: any thread. */
#ifndef KI_STATE_PAGES_H
#define KI_STATE_PAGES_H

#include "base/area.h"
#include "cache/cache.h"
#include "state/collection.h"

#include <stdatomic.h>

enum { KI_STRIPES = 1 << 16 };

/* What was changed when, by stripe; of the edit at work: which. */
typedef struct ki_touched {
    _Atomic uint64_t *changed; /* NULL: there is no segment field */
    _Atomic uint64_t all;      /* the last publication that may have changed anything */
    _Atomic uint64_t edits;    /* odd while there is an edit */
    uint64_t *noted;           /* bits by stripe */
    int noted_any, noted_all;
    ki_values values; /* of a row that is killed */
} ki_touched;

struct ki_pages {
    ki_cache *cache;
    atomic_int stopped;
    ki_touched touched;
};

ki_pages *ki_pages_create(uint64_t budget, const ki_made *made); /* NULL: out of memory */
void ki_pages_destroy(ki_pages *pages);                          /* NULL is fine */
void ki_pages_stop(ki_pages *pages);                             /* P7; NULL is fine */

/* ---- touched.c: for edits. pages NULL is fine everywhere --------------------------------------------------------- */

void ki_touched_begin(ki_pages *pages);
/* The row at a place is about to live no longer. */
void ki_touched_place(kith_collection *collection, const ki_snapshot *state, const ki_place *place);
/* A row with these values lives. NULL: it has none. */
void ki_touched_values(kith_collection *collection, const ki_schema *schema, const ki_values *values);
void ki_touched_all(ki_pages *pages);
/* What was noted is about to be published under this number. */
void ki_touched_publish(ki_pages *pages, uint64_t publication);
void ki_touched_end(ki_pages *pages); /* published, or not */

/* For searches: the tag of a segment (NULL: of everything) in a snapshot that is held. 0: it has none (P2). */
int ki_touched_tag(ki_pages *pages, const ki_snapshot *snapshot, const char *segment, uint64_t *tag);

#endif
