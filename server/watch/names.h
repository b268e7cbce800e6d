/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded set of names, each with a number that it keeps: what metrics have as labels. However many names come from
 * outside, those beyond the bound are not taken.
 *
 * 1. Finding takes no lock: a slot that is filled is never changed again until destroy.
 * 2. Adding takes one, and is rare: once a name. */
#ifndef KITH_SERVER_WATCH_NAMES_H
#define KITH_SERVER_WATCH_NAMES_H

#include <pthread.h>
#include <stdatomic.h>

enum { KS_NAMES_MAX = 256, KS_NAMES_SLOTS = 1024 };

typedef struct ks_names {
    unsigned max; /* at most KS_NAMES_MAX */
    pthread_mutex_t adding;
    _Atomic unsigned count; /* with release, behind the name: who reads it sees those before */
    char *name[KS_NAMES_MAX];
    _Atomic unsigned slots[KS_NAMES_SLOTS]; /* number + 1; 0: free */
} ks_names;

void ks_names_init(ks_names *names, unsigned max);
void ks_names_destroy(ks_names *names);
/* The number of a name; -1: it is not there. */
int ks_names_find(const ks_names *names, const char *name);
/* The same, and it is there from now on; -1: there is no room. */
int ks_names_add(ks_names *names, const char *name);
/* The name of a number below `count`. */
const char *ks_names_at(const ks_names *names, unsigned number);
unsigned ks_names_count(const ks_names *names);

#endif
