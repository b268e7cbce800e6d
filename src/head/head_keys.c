/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of a head: a hash table from a key to its first row, and from each row to the next one of its key. The
 * writer changes it, readers look through it without a lock.
 *
 * K1. What a reader needs was there when its count was published, and stays: the first row of a key, in its slot, and
 *     the chain of the key's rows up to the count. Everything beyond, which may come and go under its eyes, is told by
 *     a row number that the count does not reach, and is passed over.
 * K2. A slot on the way to a key was taken by keys that came before it. Cutting undoes rows from the last one back, so
 *     it never empties a slot on the way to a key that stays.
 * K3. A table that grew too small is kept until the head goes, for readers that are in it; all of them together are no
 *     larger than the last one. */
#include "base/checked.h"
#include "head/head_state.h"

enum { SLOTS_FIRST = 256 };

struct ki_head_table {
    ki_head_table *older;
    size_t slots; /* a power of 2, twice as many as keys or more */
    _Atomic uint32_t slot[];
};

static ki_head_table *create_table(size_t slots, ki_head_table *older) {
    const size_t bytes = sizeof(ki_head_table) + slots * sizeof(uint32_t);
    ki_head_table *table = ki_alloc_array(bytes, 1);
    if (!table) return NULL;
    table->older = older;
    table->slots = slots;
    for (size_t i = 0; i < slots; i++) atomic_init(&table->slot[i], 0);
    return table;
}

int ki_head_keys_create(size_t capacity, ki_head_keys *keys) {
    keys->key = ki_alloc_array(capacity, sizeof(*keys->key));
    keys->newer = ki_alloc_array(capacity, sizeof(*keys->newer));
    keys->newest = ki_alloc_array(capacity, sizeof(*keys->newest));
    keys->previous = ki_alloc_array(capacity, sizeof(*keys->previous));
    ki_head_table *table = create_table(SLOTS_FIRST, NULL);
    atomic_init(&keys->table, table);
    return keys->key && keys->newer && keys->newest && keys->previous && table;
}

void ki_head_keys_destroy(ki_head_keys *keys) {
    for (ki_head_table *table = atomic_load_explicit(&keys->table, memory_order_relaxed), *older; table;
         table = older) {
        older = table->older;
        free(table);
    }
    free(keys->key);
    free((void *)keys->newer);
    free(keys->newest);
    free(keys->previous);
}

uint64_t ki_head_keys_bytes(const ki_head_keys *keys, size_t rows) {
    const ki_head_table *table = atomic_load_explicit(&keys->table, memory_order_acquire);
    return rows * (sizeof(*keys->key) + 3 * sizeof(uint32_t)) + 2 * table->slots * sizeof(uint32_t);
}

static size_t slot_of(const ki_head_table *table, uint64_t key) {
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (table->slots - 1);
}

static uint32_t load(const _Atomic uint32_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}

static void store(_Atomic uint32_t *at, uint32_t value) {
    atomic_store_explicit(at, value, memory_order_relaxed);
}

/* The slot of a key, or the empty one where it belongs; among the first `count` rows. */
static size_t find_slot(const ki_head_keys *keys, const ki_head_table *table, size_t count, uint64_t key) {
    size_t at = slot_of(table, key);
    for (uint32_t row; (row = load(&table->slot[at])) != 0; at = (at + 1) & (table->slots - 1))
        if (row - 1 < count && keys->key[row - 1] == key) break;
    return at;
}

static ki_head_table *current(const ki_head_keys *keys) {
    return atomic_load_explicit(&keys->table, memory_order_relaxed);
}

int ki_head_keys_reserve(ki_head_keys *keys, size_t count) {
    ki_head_table *old = current(keys);
    if (2 * (keys->distinct + 1) <= old->slots) return 1;
    ki_head_table *table = create_table(2 * old->slots, old);
    if (!table) return 0;
    for (size_t row = 0; row < count; row++) /* in the order in which they came: K2 */
        if (keys->previous[row] == UINT32_MAX)
            store(&table->slot[find_slot(keys, table, row, keys->key[row])], (uint32_t)row + 1);
    atomic_store_explicit(&keys->table, table, memory_order_release);
    return 1;
}

void ki_head_keys_append(ki_head_keys *keys, uint32_t serial, uint64_t key) {
    ki_head_table *table = current(keys);
    const size_t slot = find_slot(keys, table, serial, key);
    const uint32_t first = load(&table->slot[slot]);
    keys->key[serial] = key;
    store(&keys->newer[serial], 0);
    if (!first) {
        keys->previous[serial] = UINT32_MAX;
        keys->newest[serial] = serial;
        keys->distinct++;
        store(&table->slot[slot], serial + 1);
        return;
    }
    keys->previous[serial] = keys->newest[first - 1];
    store(&keys->newer[keys->previous[serial]], serial);
    keys->newest[first - 1] = serial;
}

void ki_head_keys_cut(ki_head_keys *keys, uint32_t serial) {
    ki_head_table *table = current(keys);
    const size_t slot = find_slot(keys, table, (size_t)serial + 1, keys->key[serial]);
    const uint32_t previous = keys->previous[serial];
    if (previous == UINT32_MAX) {
        store(&table->slot[slot], 0);
        keys->distinct--;
    } else {
        keys->newest[load(&table->slot[slot]) - 1] = previous;
        store(&keys->newer[previous], 0);
    }
}

int ki_head_keys_newest(const ki_head_keys *keys, size_t count, uint64_t key, uint32_t *serial) {
    const ki_head_table *table = current(keys);
    const uint32_t first = load(&table->slot[find_slot(keys, table, count, key)]);
    if (first) *serial = keys->newest[first - 1];
    return first != 0;
}

int ki_head_keys_find(const ki_head_keys *keys, size_t count, uint64_t key, uint32_t *serial) {
    const ki_head_table *table = atomic_load_explicit(&keys->table, memory_order_acquire);
    const uint32_t first = load(&table->slot[find_slot(keys, table, count, key)]);
    if (!first || first > count) return 0; /* a slot that was found empty may be taken by now */
    uint32_t row = first - 1, newer;
    while ((newer = load(&keys->newer[row])) != 0 && newer < count) row = newer;
    *serial = row;
    return 1;
}
