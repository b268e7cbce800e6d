/* SPDX-License-Identifier: Apache-2.0 */
#include "state/hot.h"

#include "base/checked.h"

#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

enum { STRIPES = 64 };

struct stripe {
    pthread_mutex_t mutex;
    uint64_t begun;   /* changes that ever began */
    unsigned pending; /* and have not ended */
};

struct ki_hot {
    ki_cache *cache;
    atomic_int stopped;
    _Atomic uint64_t serial, hits, misses;
    struct stripe stripe[STRIPES];
};

/* What an entry's value begins with; the record follows. */
struct head {
    uint64_t stamp, serial;
};

/* ---- The whole --------------------------------------------------------------------------------------------------- */

ki_hot *ki_hot_create(uint64_t budget) {
    ki_hot *hot = ki_alloc_array_zeroed(1, sizeof(*hot));
    if (!hot) return NULL;
    for (int s = 0; s < STRIPES; s++) pthread_mutex_init(&hot->stripe[s].mutex, NULL);
    hot->cache = ki_cache_create(budget);
    if (hot->cache) return hot;
    ki_hot_destroy(hot);
    return NULL;
}

void ki_hot_destroy(ki_hot *hot) {
    if (!hot) return;
    ki_cache_destroy(hot->cache);
    for (int s = 0; s < STRIPES; s++) pthread_mutex_destroy(&hot->stripe[s].mutex);
    free(hot);
}

void ki_hot_stop(ki_hot *hot) {
    if (hot) atomic_store(&hot->stopped, 1);
}

ki_hot_counts ki_hot_count(const ki_hot *hot) {
    if (!hot) return (ki_hot_counts){0};
    return (ki_hot_counts){.bytes = ki_cache_count(hot->cache).bytes,
                           .hits = atomic_load(&hot->hits),
                           .misses = atomic_load(&hot->misses)};
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static struct stripe *stripe_of(ki_hot *hot, const char *name) {
    return &hot->stripe[XXH3_64bits(name, strlen(name)) % STRIPES];
}

static uint64_t new_serial(ki_hot *hot) {
    return atomic_fetch_add(&hot->serial, 1) + 1;
}

static const struct head *head_of(const ki_cache_entry *entry) {
    size_t bytes;
    return ki_cache_value(entry, &bytes);
}

static ki_bytes body_of(const ki_cache_entry *entry) {
    size_t bytes;
    const struct head *head = ki_cache_value(entry, &bytes);
    return (ki_bytes){head + 1, bytes - sizeof(*head)};
}

/* Under the stripe's mutex. A failure is none: it is not kept. */
static void put(ki_hot *hot, const char *name, ki_bytes body, struct head head) {
    const size_t key = strlen(name);
    void *value;
    if (!ki_cache_takes(hot->cache, key, sizeof(head) + body.bytes)) return;
    ki_cache_entry *entry = ki_cache_entry_create(name, key, sizeof(head) + body.bytes, &value);
    if (!entry) return;
    memcpy(value, &head, sizeof(head));
    memcpy((char *)value + sizeof(head), body.data, body.bytes);
    ki_cache_drop(hot->cache, name, key);
    ki_cache_put(hot->cache, entry);
}

static void take_entry(ki_hot *hot, ki_hot_record *record) {
    record->body = body_of(record->entry);
    record->serial = head_of(record->entry)->serial;
    atomic_fetch_add(&hot->hits, 1);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static kith_status read_row(kith_collection *collection, const char *name, ki_hot_record *record, kith_error *error) {
    const kith_status status = ki_catalog_get_record(collection->catalog, KI_RECORD_PROFILE,
                                                     (ki_bytes){name, strlen(name)}, &record->found, error);
    if (status == KITH_OK) record->body = record->found.body;
    return status;
}

/* T2. */
static kith_status read_owned(kith_collection *collection, const char *name, ki_hot_record *record, kith_error *error) {
    ki_hot *hot = collection->hot;
    struct stripe *stripe = stripe_of(hot, name);
    pthread_mutex_lock(&stripe->mutex);
    const uint64_t begun = stripe->begun;
    const int quiet = !stripe->pending;
    pthread_mutex_unlock(&stripe->mutex);
    record->entry = ki_cache_get(hot->cache, name, strlen(name));
    if (record->entry) {
        take_entry(hot, record);
        return KITH_OK;
    }
    atomic_fetch_add(&hot->misses, 1);
    const kith_status status = read_row(collection, name, record, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&stripe->mutex);
    if (quiet && stripe->begun == begun) {
        record->serial = new_serial(hot);
        put(hot, name, record->body, (struct head){.serial = record->serial});
    }
    pthread_mutex_unlock(&stripe->mutex);
    return KITH_OK;
}

/* The serial of a record that was read again: the old one's, if it is the same. */
static uint64_t serial_of(ki_hot *hot, const ki_cache_entry *old, ki_bytes body) {
    const ki_bytes before = old ? body_of(old) : (ki_bytes){0};
    if (old && before.bytes == body.bytes && memcmp(before.data, body.data, body.bytes) == 0)
        return head_of(old)->serial;
    return new_serial(hot);
}

/* T3. */
static kith_status read_followed(kith_collection *collection, const char *name, ki_hot_record *record,
                                 kith_error *error) {
    ki_hot *hot = collection->hot;
    uint64_t stamp, after;
    kith_status status = ki_catalog_stamp(collection->catalog, &stamp, error);
    if (status != KITH_OK) return status;
    record->entry = ki_cache_get(hot->cache, name, strlen(name));
    if (record->entry && head_of(record->entry)->stamp == stamp) {
        take_entry(hot, record);
        return KITH_OK;
    }
    atomic_fetch_add(&hot->misses, 1);
    status = read_row(collection, name, record, error);
    if (status != KITH_OK || ki_catalog_stamp(collection->catalog, &after, NULL) != KITH_OK || after != stamp)
        return status;
    struct stripe *stripe = stripe_of(hot, name);
    record->serial = serial_of(hot, record->entry, record->body);
    pthread_mutex_lock(&stripe->mutex);
    put(hot, name, record->body, (struct head){.stamp = stamp, .serial = record->serial});
    pthread_mutex_unlock(&stripe->mutex);
    return KITH_OK;
}

kith_status ki_hot_read(kith_collection *collection, const char *name, ki_hot_record *record, kith_error *error) {
    *record = (ki_hot_record){0};
    if (!collection->hot || atomic_load(&collection->hot->stopped)) return read_row(collection, name, record, error);
    if (collection->options.read_only) return read_followed(collection, name, record, error);
    return read_owned(collection, name, record, error);
}

void ki_hot_record_free(ki_hot_record *record) {
    ki_cache_release(record->entry);
    ki_found_free(&record->found);
    *record = (ki_hot_record){0};
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

void ki_hot_begin(ki_hot *hot, const char *name) {
    if (!hot) return;
    struct stripe *stripe = stripe_of(hot, name);
    pthread_mutex_lock(&stripe->mutex);
    stripe->begun++;
    stripe->pending++;
    ki_cache_drop(hot->cache, name, strlen(name));
    pthread_mutex_unlock(&stripe->mutex);
}

void ki_hot_end(ki_hot *hot, const char *name, ki_bytes body) {
    if (!hot) return;
    struct stripe *stripe = stripe_of(hot, name);
    pthread_mutex_lock(&stripe->mutex);
    stripe->pending--;
    if (body.bytes && !atomic_load(&hot->stopped)) put(hot, name, body, (struct head){.serial = new_serial(hot)});
    pthread_mutex_unlock(&stripe->mutex);
}
