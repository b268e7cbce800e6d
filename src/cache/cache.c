/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/cache.h"

#include "base/checked.h"
#include "cache/sketch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

/* BYTES_A_PAGE: about what an entry takes; so many counters and buckets there are (a guess, which costs a little
 * memory or a little precision). OVERHEAD: of the allocator, about. VICTIMS_MOST: a large candidate looks at no
 * more. */
enum {
    SHARDS_MOST = 16,
    SHARD_BYTES_LEAST = 1 << 20,
    BYTES_A_PAGE = 1024,
    COUNTERS_LEAST = 64,
    OVERHEAD = 64,
    VICTIMS_MOST = 64
};

enum place { WINDOW, PROBATION, PROTECTED, PLACES, NOWHERE = PLACES };

struct ki_cache_entry {
    _Atomic uint64_t references; /* one of them the cache's, while it is there */
    uint64_t hash;
    size_t key_bytes, value_at, value_bytes;
    uint64_t bytes; /* as they count */
    enum place place;
    ki_cache_entry *next;          /* of one bucket; also of those that are to be let go of */
    ki_cache_entry *newer, *older; /* of one list */
    unsigned char data[];          /* the key; the value, aligned */
};

struct list {
    ki_cache_entry *newest, *oldest;
    uint64_t bytes;
};

struct shard {
    pthread_mutex_t mutex; /* guards all below */
    uint64_t room;         /* for entries */
    uint64_t window_room, protected_room;
    uint64_t buckets; /* a power of two */
    ki_cache_entry **bucket;
    struct list list[PLACES];
    ki_sketch sketch;
    uint64_t hits, misses, evictions, entries;
};

struct ki_cache {
    uint64_t fixed_bytes, shard_room; /* what the tables take; the room of each shard */
    size_t shard_count;               /* a power of two */
    struct shard *shard;
};

/* ---- Making and ending ------------------------------------------------------------------------------------------- */

static uint64_t fixed_of(uint64_t counters) {
    return sizeof(struct shard) + counters * sizeof(ki_cache_entry *) + ki_sketch_bytes(counters);
}

static int create_shard(struct shard *shard, uint64_t counters, uint64_t room) {
    pthread_mutex_init(&shard->mutex, NULL);
    shard->room = room;
    shard->window_room = room / 100;
    shard->protected_room = (room - shard->window_room) / 10 * 8;
    shard->buckets = counters;
    shard->bucket = ki_alloc_array_zeroed(counters, sizeof(ki_cache_entry *));
    return shard->bucket && ki_sketch_create(&shard->sketch, counters);
}

ki_cache *ki_cache_create(uint64_t budget) {
    size_t shards = 1;
    uint64_t counters = COUNTERS_LEAST;
    while (shards < SHARDS_MOST && budget / shards > SHARD_BYTES_LEAST) shards *= 2;
    const uint64_t share = budget / shards;
    while (counters < share / BYTES_A_PAGE / 2) counters *= 2;
    const uint64_t fixed = fixed_of(counters) + sizeof(ki_cache);
    ki_cache *cache = ki_alloc_array_zeroed(1, sizeof(*cache));
    if (!cache) return NULL;
    cache->shard = ki_alloc_array_zeroed(shards, sizeof(*cache->shard));
    cache->shard_room = share > fixed ? share - fixed : 0;
    cache->fixed_bytes = fixed * shards;
    int fine = cache->shard != NULL;
    while (fine && cache->shard_count < shards)
        fine = create_shard(&cache->shard[cache->shard_count++], counters, cache->shard_room);
    if (fine) return cache;
    ki_cache_destroy(cache);
    return NULL;
}

void ki_cache_destroy(ki_cache *cache) {
    if (!cache) return;
    for (size_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shard[i];
        for (int place = 0; place < PLACES; place++)
            for (ki_cache_entry *entry = shard->list[place].newest, *older; entry; entry = older) {
                older = entry->older;
                ki_cache_release(entry);
            }
        free(shard->bucket);
        ki_sketch_free(&shard->sketch);
        pthread_mutex_destroy(&shard->mutex);
    }
    free(cache->shard);
    free(cache);
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

/* What an entry takes; 0: more than there can be. */
static uint64_t bytes_of(size_t key_bytes, uint64_t value_bytes) {
    uint64_t bytes;
    if (!ki_add(key_bytes, sizeof(ki_cache_entry) + OVERHEAD + 8, &bytes) || !ki_add(bytes, value_bytes, &bytes))
        return 0;
    return bytes;
}

int ki_cache_takes(const ki_cache *cache, size_t key_bytes, uint64_t value_bytes) {
    const uint64_t bytes = bytes_of(key_bytes, value_bytes);
    return bytes && bytes <= cache->shard_room / 8;
}

ki_cache_entry *ki_cache_entry_create(const void *key, size_t key_bytes, uint64_t value_bytes, void **value) {
    const uint64_t bytes = bytes_of(key_bytes, value_bytes);
    ki_cache_entry *entry = bytes ? ki_alloc_array(bytes - OVERHEAD, 1) : NULL;
    if (!entry) return NULL;
    *entry = (ki_cache_entry){.hash = XXH3_64bits(key, key_bytes),
                              .key_bytes = key_bytes,
                              .value_at = (size_t)ki_round_up(key_bytes, 8),
                              .value_bytes = (size_t)value_bytes,
                              .bytes = bytes,
                              .place = NOWHERE};
    atomic_init(&entry->references, 1);
    memcpy(entry->data, key, key_bytes);
    *value = entry->data + entry->value_at;
    return entry;
}

const void *ki_cache_value(const ki_cache_entry *entry, size_t *bytes) {
    *bytes = entry->value_bytes;
    return entry->data + entry->value_at;
}

void ki_cache_release(ki_cache_entry *entry) {
    if (entry && atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1) free(entry);
}

/* ---- Lists and buckets: under the shard's mutex ------------------------------------------------------------------ */

static void push(struct shard *shard, ki_cache_entry *entry, enum place place) {
    struct list *list = &shard->list[place];
    entry->place = place;
    entry->newer = NULL;
    entry->older = list->newest;
    if (list->newest)
        list->newest->newer = entry;
    else
        list->oldest = entry;
    list->newest = entry;
    list->bytes += entry->bytes;
}

static void take_out(struct shard *shard, ki_cache_entry *entry) {
    struct list *list = &shard->list[entry->place];
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        list->newest = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        list->oldest = entry->newer;
    list->bytes -= entry->bytes;
    entry->place = NOWHERE;
}

static ki_cache_entry **find(const struct shard *shard, const void *key, size_t key_bytes, uint64_t hash) {
    ki_cache_entry **link = &shard->bucket[hash & (shard->buckets - 1)];
    while (*link && ((*link)->hash != hash || (*link)->key_bytes != key_bytes ||
                     (key_bytes && memcmp((*link)->data, key, key_bytes) != 0)))
        link = &(*link)->next;
    return link;
}

/* Out of the cache, onto the list of those that are to be let go of once the mutex is free. */
static void evict(struct shard *shard, ki_cache_entry *entry, ki_cache_entry **gone) {
    take_out(shard, entry);
    *find(shard, entry->data, entry->key_bytes, entry->hash) = entry->next;
    shard->entries--;
    shard->evictions++;
    entry->next = *gone;
    *gone = entry;
}

/* ---- The policy: likewise ---------------------------------------------------------------------------------------- */

/* One that was asked for again. */
static void touch(struct shard *shard, ki_cache_entry *entry) {
    const enum place to = entry->place == WINDOW ? WINDOW : PROTECTED;
    take_out(shard, entry);
    push(shard, entry, to);
    while (shard->list[PROTECTED].bytes > shard->protected_room) {
        ki_cache_entry *last = shard->list[PROTECTED].oldest;
        take_out(shard, last);
        push(shard, last, PROBATION);
    }
}

/* The next one to go from the main part: the one less lately asked for than `after`, or the first. */
static ki_cache_entry *next_victim(const struct shard *shard, const ki_cache_entry *after) {
    if (after && after->newer) return after->newer;
    if (after && after->place == PROTECTED) return NULL;
    if (!after && shard->list[PROBATION].oldest) return shard->list[PROBATION].oldest;
    return shard->list[PROTECTED].oldest;
}

/* Whether a candidate was asked for more often than all that must go for it, by so many bytes. */
static int is_worth(const struct shard *shard, const ki_cache_entry *candidate, uint64_t bytes) {
    const unsigned count = ki_sketch_count(&shard->sketch, candidate->hash);
    uint64_t freed = 0;
    unsigned others = 0;
    const ki_cache_entry *victim = NULL;
    for (int i = 0; freed < bytes; i++) {
        victim = next_victim(shard, victim);
        if (!victim || i == VICTIMS_MOST) return 0;
        others += ki_sketch_count(&shard->sketch, victim->hash);
        if (count <= others) return 0;
        freed += victim->bytes;
    }
    return 1;
}

/* One that left the window goes into the main part, or altogether. */
static void settle(struct shard *shard, ki_cache_entry *candidate, ki_cache_entry **gone) {
    const uint64_t room = shard->room - shard->window_room;
    const uint64_t used = shard->list[PROBATION].bytes + shard->list[PROTECTED].bytes;
    if (used + candidate->bytes > room && !is_worth(shard, candidate, used + candidate->bytes - room)) {
        evict(shard, candidate, gone);
        return;
    }
    while (shard->list[PROBATION].bytes + shard->list[PROTECTED].bytes + candidate->bytes > room)
        evict(shard, next_victim(shard, NULL), gone);
    take_out(shard, candidate);
    push(shard, candidate, PROBATION);
}

/* ---- Getting and putting ----------------------------------------------------------------------------------------- */

static struct shard *shard_of(const ki_cache *cache, uint64_t hash) {
    return &cache->shard[(hash >> 48) & (cache->shard_count - 1)];
}

ki_cache_entry *ki_cache_get(ki_cache *cache, const void *key, size_t key_bytes) {
    const uint64_t hash = XXH3_64bits(key, key_bytes);
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->mutex);
    ki_sketch_note(&shard->sketch, hash);
    ki_cache_entry *entry = *find(shard, key, key_bytes, hash);
    if (entry) {
        atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
        touch(shard, entry);
        shard->hits++;
    } else {
        shard->misses++;
    }
    pthread_mutex_unlock(&shard->mutex);
    return entry;
}

void ki_cache_put(ki_cache *cache, ki_cache_entry *entry) {
    struct shard *shard = shard_of(cache, entry->hash);
    ki_cache_entry *gone = NULL;
    if (!ki_cache_takes(cache, entry->key_bytes, entry->value_bytes)) {
        ki_cache_release(entry);
        return;
    }
    pthread_mutex_lock(&shard->mutex);
    ki_cache_entry **link = find(shard, entry->data, entry->key_bytes, entry->hash);
    if (*link) {
        entry->next = NULL;
        gone = entry;
    } else {
        entry->next = NULL;
        *link = entry;
        shard->entries++;
        push(shard, entry, WINDOW);
        while (shard->list[WINDOW].bytes > shard->window_room) settle(shard, shard->list[WINDOW].oldest, &gone);
    }
    pthread_mutex_unlock(&shard->mutex);
    for (ki_cache_entry *next; gone; gone = next) {
        next = gone->next;
        ki_cache_release(gone);
    }
}

void ki_cache_drop(ki_cache *cache, const void *key, size_t key_bytes) {
    const uint64_t hash = XXH3_64bits(key, key_bytes);
    struct shard *shard = shard_of(cache, hash);
    ki_cache_entry *gone = NULL;
    pthread_mutex_lock(&shard->mutex);
    ki_cache_entry *entry = *find(shard, key, key_bytes, hash);
    if (entry) {
        evict(shard, entry, &gone);
        shard->evictions--;
    }
    pthread_mutex_unlock(&shard->mutex);
    ki_cache_release(gone);
}

ki_cache_counts ki_cache_count(ki_cache *cache) {
    ki_cache_counts counts = {.bytes = cache->fixed_bytes};
    for (size_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shard[i];
        pthread_mutex_lock(&shard->mutex);
        counts.hits += shard->hits;
        counts.misses += shard->misses;
        counts.evictions += shard->evictions;
        counts.entries += shard->entries;
        for (int place = 0; place < PLACES; place++) counts.bytes += shard->list[place].bytes;
        pthread_mutex_unlock(&shard->mutex);
    }
    return counts;
}
