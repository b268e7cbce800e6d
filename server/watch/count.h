/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted while calls are answered.
 *
 * 1. Counting takes no lock and calls the system for nothing. Each loop counts in a shard of its own, so that cores do
 *    not wait for each other; workers that answer its searches count there too, therefore all is atomic (relaxed: a
 *    reader may see one counter of a call before another).
 * 2. Labels are bounded: KS_OPS_MAX ops, KS_COLLECTIONS_MAX collections, and what lies beyond is "other". A collection
 *    has its own label once it lies on the shelf or a call about it succeeded; names in calls that failed are not
 *    taken, so that nobody fills the table with names that there are not.
 * 3. Counters only grow. What happened lately is the difference of two looks at them (recent.h). */
#ifndef KITH_SERVER_WATCH_COUNT_H
#define KITH_SERVER_WATCH_COUNT_H

#include "run/run.h"
#include "watch/names.h"
#include "watch/scrape.h"

enum {
    KS_SHARDS = 64,
    KS_OPS_MAX = 128,
    KS_COLLECTIONS_MAX = 200,
    KS_SERIES = 4096, /* of op, collection and status, a shard */
    KS_BUCKETS = 18,  /* of durations: 50 us to 10 s, and above */
    KS_SIZES = 12,    /* of batches: 1, 2, 4, ... 1,024, and above */
    KS_FINE = 240     /* of quantiles: eight a doubling, from a microsecond on */
};

extern const char *const ks_bucket_bounds[KS_BUCKETS - 1];
unsigned ks_bucket_of(uint64_t ns);
unsigned ks_fine_of(uint64_t ns);
double ks_fine_ns(unsigned bucket); /* the middle of it */

typedef struct ks_duration {
    _Atomic uint64_t buckets[KS_BUCKETS], sum_ns;
} ks_duration;

typedef enum ks_spent {
    KS_SPENT_WAIT, /* for a turn; one a search. The others are one a batch */
    KS_SPENT_SEARCH,
    KS_SPENT_FILTER, /* of the search: and the following three */
    KS_SPENT_SEGMENTS,
    KS_SPENT_HEAD,
    KS_SPENT_READ,
    KS_SPENT
} ks_spent;

/* How searches were answered: as kith_plan, and what no plan says. */
enum { KS_PLAN_CACHED = KITH_PLAN_DEVICE + 1, KS_PLAN_EXACT, KS_PLAN_APPROXIMATE, KS_PLANS };

typedef struct ks_series {
    _Atomic uint64_t key, count; /* key 0: free */
} ks_series;

typedef struct ks_shard {
    ks_series series[KS_SERIES];
    _Atomic uint64_t series_used;
    ks_duration ops[KS_OPS_MAX + 1], stages[KS_SPENT];
    _Atomic uint64_t sizes[KS_SIZES];
    _Atomic uint64_t plans[KS_PLANS];
    _Atomic uint64_t fine[KS_FINE]; /* of calls that searched */
    _Atomic uint64_t calls, errors, queries, batches, received_bytes, sent_bytes;
    _Atomic uint64_t dice; /* recall.c's */
} ks_shard;

typedef struct ks_counts {
    ks_names ops, collections;
    _Atomic(ks_shard *) shards[KS_SHARDS]; /* each made at its first use, and there until destroy */
} ks_counts;

/* A call that is over. */
typedef struct ks_counted {
    const char *op, *collection; /* NULL: none */
    int status;
    uint64_t total_ns;
    size_t queries, received_bytes, sent_bytes;
} ks_counted;

void ks_counts_init(ks_counts *counts);
void ks_counts_destroy(ks_counts *counts);
ks_shard *ks_counts_shard(ks_counts *counts, unsigned loop); /* NULL without memory */
void ks_counts_call(ks_counts *counts, unsigned loop, const ks_counted *call);
void ks_counts_batch(ks_counts *counts, ks_search *const *searches, const ks_found *found, size_t count);

/* Sums over the shards. */
typedef struct ks_sums {
    uint64_t calls, errors, queries, batches, received_bytes, sent_bytes;
    uint64_t fine[KS_FINE];
} ks_sums;
void ks_counts_sum(ks_counts *counts, ks_sums *sums);
/* The families of what is counted. */
void ks_counts_write(ks_counts *counts, ks_scrape *scrape);

#endif
