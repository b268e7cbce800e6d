/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rows of a state a filter lets through. */
#ifndef KI_MATCH_MATCH_H
#define KI_MATCH_MATCH_H

#include "state/collection.h"

/* What is kept of filters from search to search: their parsed forms and the rows that they let through, by content. A
 * collection without one (NULL) works everything out each time. */
ki_match_cache *ki_match_cache_create(void); /* NULL: out of memory */
void ki_match_cache_destroy(ki_match_cache *cache);
uint64_t ki_match_cache_bytes(ki_match_cache *cache);

/* Studies of filters that wait: whether there are some, and making one. limits: what ends it before its time. */
int ki_match_study_wanted(ki_match_cache *cache);
kith_status ki_match_study(kith_collection *collection, const ki_limits *limits, kith_error *error);

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
/* Those of sealed segments that tenants share. */
uint64_t ki_match_shared(const ki_match *match);
/* Live rows of a sealed segment that match: bits by row (NULL: all alive ones of the snapshot). Borrowed. Not for
 * matches with a segment, whose rows may be a list. */
const ki_bits *ki_match_rows(const ki_match *match, size_t sealed);
/* The same as positions of one index, also with a segment. Borrowed until the next such call. */
typedef struct ki_match_positions {
    const ki_bits *bits; /* NULL: all positions, or those of `few` */
    const uint32_t *few; /* the positions in any order, where they are few; NULL: see bits */
    uint64_t count;
    ki_filter_counts *counts; /* beside bits of a filter that is kept */
} ki_match_positions;

/* What a search without a filter is told. */
static inline ki_match_positions ki_match_everything(const ki_bits *live) {
    return (ki_match_positions){live->set < live->rows ? live : NULL, NULL, live->set, NULL};
}

kith_status ki_match_positions_of(ki_match *match, size_t sealed, size_t spec, ki_match_positions *positions,
                                  kith_error *error);
/* What searches find out about the filter in one index, held; NULL: nothing is kept of it. */
ki_filter_notes *ki_match_notes(const ki_match *match, size_t sealed, size_t spec);
/* A search with them ended: if it wanted a study that somebody else is to make, that waits from now on. */
void ki_match_searched(const ki_match *match, size_t sealed, size_t spec, ki_filter_notes *notes);
/* Live rows of a head that match, by serial (NULL: all live ones of the snapshot). Borrowed. */
const ki_bits *ki_match_serials(const ki_match *match, size_t head);

#endif
