/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot profiles: records of profiles that are asked for often, in memory, so that a search by one, or an event, reads no
 * row of the catalog. By name, as bytes, within a budget (cache/cache.h).
 *
 * T1. An entry is the record as the catalog has it. The writer takes it out before a commit that changes the record
 *     (ki_hot_begin), and puts the new one in behind it (ki_hot_end), before the change is acknowledged.
 * T2. What was read from the catalog is put in only if no change of its stripe was under way before it was read, and
 *     none has begun since: the stripe's mutex is held while that is looked at and it is put, and while a change begins.
 * T3. A collection that is open for reading only knows of changes by the catalog's stamp: an entry is good while that
 *     is what it was when the record was read.
 * T4. Each content has a serial number that no other content of any profile has in the life of this collection; what
 *     is read again and is the same to the byte keeps its own. Pages take it for what the profile is (pages.h).
 * T5. After a commit with unknown outcome nothing is kept or taken any longer.
 *
 * Any thread, with or without `writing`. Order of locks: a stripe's mutex after `writing`, before those of a cache. */
#ifndef KI_STATE_HOT_H
#define KI_STATE_HOT_H

#include "cache/cache.h"
#include "state/collection.h"

ki_hot *ki_hot_create(uint64_t budget); /* NULL: out of memory */
void ki_hot_destroy(ki_hot *hot);       /* NULL is fine here and below */
void ki_hot_stop(ki_hot *hot);          /* T5 */

typedef struct ki_hot_counts {
    uint64_t bytes;
    uint64_t hits, misses; /* reads that needed no row, and others */
} ki_hot_counts;
ki_hot_counts ki_hot_count(const ki_hot *hot);

/* A record that was read; {0} is none. */
typedef struct ki_hot_record {
    ki_bytes body;
    uint64_t serial; /* 0: it is not known whether it is like another one */
    ki_cache_entry *entry;
    ki_found found;
} ki_hot_record;
void ki_hot_record_free(ki_hot_record *record);

/* KITH_E_NOTFOUND without a text; otherwise as ki_catalog_get_record(). */
kith_status ki_hot_read(kith_collection *collection, const char *name, ki_hot_record *record, kith_error *error);

/* Under `writing`: a commit that changes this record is about to begin; it has ended. body: what it is now; bytes 0: it
 * is gone, or the commit failed, or it is not worth keeping. */
void ki_hot_begin(ki_hot *hot, const char *name);
void ki_hot_end(ki_hot *hot, const char *name, ki_bytes body);

#endif
