/* SPDX-License-Identifier: Apache-2.0
 *
 * Live recall: a share of the searches is asked again, exactly, by a thread that runs when nothing else does.
 *
 * 1. Which ones is up to chance, query by query, whatever their number, order or times are.
 * 2. Who answers searches never waits for this: where the queue is full, or held, the sample is dropped, and counted.
 * 3. One check at a time, by a thread at idle priority, which rests so long between two that it takes KS_RECALL_TIME of
 *    a processor at most. So one that takes a second happens twice a minute, and the window fills slowly; that is
 *    meant: what is served comes first.
 * 4. The thread borrows a collection while it checks, and only then. */
#ifndef KITH_SERVER_WATCH_RECALL_H
#define KITH_SERVER_WATCH_RECALL_H

#include <pthread.h>
#include <stdatomic.h>

#include "watch/count.h"
#include "watch/interval.h"
#include "watch/log.h"
#include "watch/sample.h"

enum { KS_RECALL_QUEUE = 64, KS_RECALL_SHOPS = KS_COLLECTIONS_MAX };
#define KS_RECALL_TIME 0.05

typedef enum ks_sampled {
    KS_SAMPLED_CHECKED,
    KS_SAMPLED_STALE,   /* what it was about has changed too much, or is gone */
    KS_SAMPLED_FAILED,  /* it could not be asked again */
    KS_SAMPLED_DROPPED, /* the queue was full */
    KS_SAMPLED_UNFIT,   /* of several vectors, of a profile: not asked again */
    KS_SAMPLED
} ks_sampled;
extern const char *const ks_sampled_names[KS_SAMPLED];

/* What is known of a collection. */
typedef struct ks_recall_shop {
    unsigned shop;
    uint64_t turn; /* when it was checked last, in checks */
    ks_window window;
} ks_recall_shop;

typedef struct ks_recaller {
    ks_shelf *shelf;
    ks_log_to *log;
    uint64_t seed;
    double share;
    _Atomic uint64_t outcomes[KS_SAMPLED];
    _Atomic int stopping;
    int started;
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    ks_sample *queue[KS_RECALL_QUEUE];
    size_t first, queued;
    ks_recall_shop *shops[KS_RECALL_SHOPS];
    uint64_t turns;
    /* The thread's own. */
    kith_result *truth, *now;
} ks_recaller;

/* share 0: nothing is sampled, and there is no thread. */
kith_status ks_recaller_start(ks_recaller *recaller, ks_shelf *shelf, ks_log_to *log, double share, kith_error *error);
void ks_recaller_stop(ks_recaller *recaller);
/* Of a batch that was answered: take samples. */
void ks_recaller_batch(ks_recaller *recaller, ks_counts *counts, ks_search *const *searches, const ks_found *found,
                       size_t count);
/* Whether a search of so many queries is one that is copied. */
int ks_recaller_chooses(const ks_recaller *recaller, ks_shard *shard, size_t queries);
/* What the thread does with a sample. */
void ks_recaller_check(ks_recaller *recaller, const ks_sample *sample);
/* 0: nothing is known of this collection. */
int ks_recaller_tell(ks_recaller *recaller, unsigned shop, ks_recall *recall);

#endif
