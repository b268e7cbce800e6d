/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "state/tenants.h"

#include "base/checked.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

enum { TENANTS_MAX = 64 };

typedef struct entry {
    char *name;
    uint64_t hash, queries;
    uint64_t all; /* of everything, when it was noted first */
} entry;

struct ki_tenants {
    _Atomic uint64_t all;
    pthread_mutex_t mutex; /* guards what follows */
    size_t count;
    entry entry[TENANTS_MAX];
};

ki_tenants *ki_tenants_create(void) {
    ki_tenants *tenants = ki_alloc_array_zeroed(1, sizeof(*tenants));
    if (tenants) pthread_mutex_init(&tenants->mutex, NULL);
    return tenants;
}

void ki_tenants_destroy(ki_tenants *tenants) {
    if (!tenants) return;
    for (size_t i = 0; i < tenants->count; i++) free(tenants->entry[i].name);
    pthread_mutex_destroy(&tenants->mutex);
    free(tenants);
}

void ki_tenants_note_all(ki_tenants *tenants, uint64_t queries) {
    atomic_fetch_add_explicit(&tenants->all, queries, memory_order_relaxed);
}

/* Its entry, or one that holds nothing yet. */
static entry *find(ki_tenants *tenants, const char *name, uint64_t hash) {
    entry *least = &tenants->entry[0];
    for (size_t i = 0; i < tenants->count; i++) {
        entry *at = &tenants->entry[i];
        if (at->hash == hash && strcmp(at->name, name) == 0) return at;
        if (at->queries < least->queries) least = at;
    }
    if (tenants->count < TENANTS_MAX) return &tenants->entry[tenants->count++];
    free(least->name);
    *least = (entry){0};
    return least;
}

/* false: no memory, and what it would have been is taken out. */
static int name_it(ki_tenants *tenants, entry *at, const char *name, uint64_t hash) {
    if (at->name) return 1;
    *at = (entry){.name = strdup(name), .hash = hash, .all = atomic_load(&tenants->all)};
    if (at->name) return 1;
    *at = tenants->entry[--tenants->count];
    tenants->entry[tenants->count] = (entry){0};
    return 0;
}

int ki_tenants_note(ki_tenants *tenants, const char *name, uint64_t queries) {
    const uint64_t hash = XXH3_64bits(name, strlen(name));
    int look = 0;
    pthread_mutex_lock(&tenants->mutex);
    entry *at = find(tenants, name, hash);
    if (name_it(tenants, at, name, hash)) {
        look = at->queries / KI_OWN_FROM != (at->queries + queries) / KI_OWN_FROM;
        at->queries += queries;
    }
    pthread_mutex_unlock(&tenants->mutex);
    return look;
}

char *ki_tenants_get(ki_tenants *tenants, size_t number, uint64_t *surplus) {
    char *name = NULL;
    *surplus = 0;
    pthread_mutex_lock(&tenants->mutex);
    if (number < tenants->count) {
        const entry *at = &tenants->entry[number];
        const uint64_t all = atomic_load(&tenants->all) - at->all;
        name = strdup(at->name);
        *surplus = at->queries > all ? at->queries - all : 0;
    }
    pthread_mutex_unlock(&tenants->mutex);
    return name;
}

void ki_tenants_spend(ki_tenants *tenants, const char *name) {
    const uint64_t hash = XXH3_64bits(name, strlen(name));
    pthread_mutex_lock(&tenants->mutex);
    for (size_t i = 0; i < tenants->count; i++) {
        entry *at = &tenants->entry[i];
        if (at->hash != hash || strcmp(at->name, name) != 0) continue;
        at->queries = 0;
        at->all = atomic_load(&tenants->all);
    }
    pthread_mutex_unlock(&tenants->mutex);
}
