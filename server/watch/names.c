/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded set of names: a table with open addressing that is at most a quarter full. */
#define _GNU_SOURCE
#include "watch/names.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void ks_names_init(ks_names *names, unsigned max) {
    memset(names, 0, sizeof(*names));
    names->max = max < KS_NAMES_MAX ? max : KS_NAMES_MAX;
    pthread_mutex_init(&names->adding, NULL);
}

void ks_names_destroy(ks_names *names) {
    for (unsigned i = 0; i < KS_NAMES_MAX; i++) free(names->name[i]);
    pthread_mutex_destroy(&names->adding);
}

/* The slot that has the name, or the free one where it would be. */
static unsigned slot_of(const ks_names *names, const char *name, int *number) {
    unsigned slot = (unsigned)XXH3_64bits(name, strlen(name)) % KS_NAMES_SLOTS;
    for (;; slot = (slot + 1) % KS_NAMES_SLOTS) {
        *number = (int)atomic_load_explicit(&names->slots[slot], memory_order_acquire) - 1;
        if (*number < 0 || strcmp(names->name[*number], name) == 0) return slot;
    }
}

int ks_names_find(const ks_names *names, const char *name) {
    int number;
    slot_of(names, name, &number);
    return number;
}

int ks_names_add(ks_names *names, const char *name) {
    int number = ks_names_find(names, name);
    if (number >= 0) return number;
    pthread_mutex_lock(&names->adding);
    const unsigned slot = slot_of(names, name, &number);
    const unsigned count = atomic_load_explicit(&names->count, memory_order_relaxed);
    if (number < 0 && count < names->max && (names->name[count] = strdup(name))) {
        number = (int)count;
        atomic_store_explicit(&names->slots[slot], count + 1, memory_order_release);
        atomic_store_explicit(&names->count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&names->adding);
    return number;
}

const char *ks_names_at(const ks_names *names, unsigned number) {
    return names->name[number];
}

unsigned ks_names_count(const ks_names *names) {
    return atomic_load_explicit(&names->count, memory_order_acquire);
}
