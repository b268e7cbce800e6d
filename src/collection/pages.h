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
 * P6. After a commit with unknown outcome nothing is kept or taken any longer.
 * P7. A key names slots (generations.h). What one holds does not depend on which generation is current, so a flip
 *     leaves pages valid; a slot that becomes free or another generation's changes all.
 *
 * Stripes: under `writing`. Pages: any thread. */
#ifndef KI_COLLECTION_PAGES_H
#define KI_COLLECTION_PAGES_H

#include "base/area.h"
#include "cache/cache.h"
#include "collection/collection.h"

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
void ki_pages_stop(ki_pages *pages);                             /* P6; NULL is fine */

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

/* ---- pages.c: for searches --------------------------------------------------------------------------------------- */

/* A leg, resolved and checked. */
typedef struct ki_asked_leg {
    kith_queries queries;
    size_t spec; /* slot: it names the generation too (P7) */
    double weight;
} ki_asked_leg;

struct kith_result;

typedef struct ki_page_search {
    kith_collection *collection;
    const kith_ask *ask; /* checked */
    const ki_asked_leg *legs;
    ki_area *memory; /* for the key */
    size_t key_bytes;
    uint64_t edits; /* that were begun or ended before the snapshot was taken */
} ki_page_search;

/* Before the snapshot is taken (P5); then, with the legs. 0: this search is not kept, and the calls below are not for
 * it. */
void ki_page_begin(ki_page_search *search);
int ki_page_may_be(ki_page_search *search);
/* With the snapshot held, and the result begun: whether there is a page. If so it is in the result, and what is to be
 * told of it in the report. */
int ki_page_find(ki_page_search *search, const ki_snapshot *snapshot, struct kith_result *result,
                 kith_ask_report *report, kith_explain *explain);
/* What was found is worth keeping. A failure is none: it is not kept. */
void ki_page_keep(const ki_page_search *search, const struct kith_result *result, const kith_ask_report *report,
                  const kith_explain *explain);

#endif
