/* SPDX-License-Identifier: Apache-2.0
 *
 * Immutable values by byte strings, in memory, within a budget: what is asked for often stays, and what is asked for
 * once does not push it out.
 *
 * The policy is W-TinyLFU [Einziger, Friedman, Manes 2017]. New entries begin in a window of 1 % of the budget, by
 * recency. What leaves the window is a candidate for the rest, a segmented LRU of probation and protection (80 %):
 * it is taken in where there is room, or where it was asked for more often lately than all entries together that
 * would have to go for it. How often a key was asked for is estimated by a count-min sketch of 4-bit counters,
 * halved now and then, which knows keys that are not in the cache, too.
 *
 * H1. The keys are compared in full: a hash alone decides nothing.
 * H2. The entries in the cache, its tables and its sketch together never exceed the budget, if that is 4 KiB or
 *     more. An entry that was evicted while somebody held it lives on outside, until it is let go of.
 * H3. Entries of one key have one value: who puts a key that is there already changes nothing.
 * H4. Shards by hash, with a mutex each, that is held for a look-up or an eviction, never for copying or freeing.
 *
 * Any thread. */
#ifndef KI_CACHE_CACHE_H
#define KI_CACHE_CACHE_H

#include <stddef.h>
#include <stdint.h>

typedef struct ki_cache ki_cache;
typedef struct ki_cache_entry ki_cache_entry;

/* NULL: no memory. Too small a budget is fine: nothing is kept. */
ki_cache *ki_cache_create(uint64_t budget);
void ki_cache_destroy(ki_cache *cache); /* NULL is fine; entries that are held live on */

/* The entry of a key, held, or NULL. A question that is counted. */
ki_cache_entry *ki_cache_get(ki_cache *cache, const void *key, size_t key_bytes);
const void *ki_cache_value(const ki_cache_entry *entry, size_t *bytes); /* aligned to 8 bytes */
void ki_cache_release(ki_cache_entry *entry);                           /* NULL is fine */

/* Whether an entry of that size may be kept at all: making one that may not is in vain. */
int ki_cache_takes(const ki_cache *cache, size_t key_bytes, uint64_t value_bytes);
/* An entry in the making, held; its value is for the caller to fill in before it is put. NULL: no memory. */
ki_cache_entry *ki_cache_entry_create(const void *key, size_t key_bytes, uint64_t value_bytes, void **value);
/* Takes over the caller's hold. */
void ki_cache_put(ki_cache *cache, ki_cache_entry *entry);

/* Take the entry of a key out, if there is one. How often it was asked for stays known. */
void ki_cache_drop(ki_cache *cache, const void *key, size_t key_bytes);

typedef struct ki_cache_counts {
    uint64_t hits, misses;
    uint64_t evictions; /* entries that left by themselves, with those that were not taken in behind the window */
    uint64_t entries, bytes;
} ki_cache_counts;
ki_cache_counts ki_cache_count(ki_cache *cache);

#endif
