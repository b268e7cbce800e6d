/* SPDX-License-Identifier: Apache-2.0
 *
 * What an answer takes, as far as it is known: an exponentially weighted mean of nanoseconds a query, for each kind of
 * search and each order of magnitude of a batch.
 *
 * 1. A query of a larger batch never costs more than one of a smaller batch: what is learnt of one size is an upper
 *    bound of the larger ones and a lower bound of the smaller ones. So a size that was measured once, in a bad moment,
 *    is tried again, and one that is not measured any more does not stay behind when a collection grows.
 * 2. Kinds are hashes. Two that meet spoil each other's estimates, and nothing else. */
#ifndef KITH_SERVER_RUN_LEARN_H
#define KITH_SERVER_RUN_LEARN_H

#include <pthread.h>
#include <stddef.h>

enum { KS_SIZES = 12, KS_KINDS = 1024 }; /* sizes 1, 2, 3-4, 5-8, ..., 1,025 and more */

typedef struct ks_learnt_kind {
    unsigned kind;
    int used;
    unsigned told[KS_SIZES], batches;
    double each_ns[KS_SIZES]; /* of a query */
    double best_ns[KS_SIZES]; /* when nothing held it up: sizes are compared by it, as means differ by chance */
    double lately_ns;         /* of a query by the clock, whatever size its batch had */
} ks_learnt_kind;

typedef struct ks_learnt {
    pthread_mutex_t lock;
    ks_learnt_kind kinds[KS_KINDS];
} ks_learnt;

void ks_learnt_init(ks_learnt *learnt);
/* A batch cost ns, and took wall_ns by the clock. */
void ks_learnt_tell(ks_learnt *learnt, unsigned kind, size_t queries, double ns, double wall_ns);
/* Of so many queries at once; negative: nothing is known of the kind. */
double ks_learnt_expect(ks_learnt *learnt, unsigned kind, size_t queries);
/* Of one query as the kind was answered lately; negative: nothing is known. */
double ks_learnt_lately(ks_learnt *learnt, unsigned kind);
/* As many queries as are expected to be answered within that time, 1..max; nothing known: 1. */
size_t ks_learnt_fit(ks_learnt *learnt, unsigned kind, double ns, size_t max);
/* Whether a query is known to cost about as much in batches of so many as in larger ones, so that larger ones gain
 * nobody anything: a walk over a graph does, a scan does not. */
int ks_learnt_flat(ks_learnt *learnt, unsigned kind, size_t queries);

#endif
