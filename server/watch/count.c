/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting calls and batches (count.h). */
#include "watch/count.h"

#include <stdlib.h>
#include <string.h>

/* As OpenMetrics writes numbers, so that series have the same name in both formats. */
const char *const ks_bucket_bounds[KS_BUCKETS - 1] = {"5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025",
                                                      "0.005", "0.01",   "0.025",   "0.05",   "0.1",   "0.25",
                                                      "0.5",   "1.0",    "2.5",     "5.0",    "10.0"};
static const uint64_t bucket_ns[KS_BUCKETS - 1] = {50000,     100000,     250000,     500000,     1000000,    2500000,
                                                   5000000,   10000000,   25000000,   50000000,   100000000,  250000000,
                                                   500000000, 1000000000, 2500000000, 5000000000, 10000000000};

unsigned ks_bucket_of(uint64_t ns) {
    unsigned bucket = 0;
    while (bucket < KS_BUCKETS - 1 && ns > bucket_ns[bucket]) bucket++;
    return bucket;
}

/* Below eight microseconds one bucket a microsecond; from there on eight a doubling, so a quantile is within 6 %. */
unsigned ks_fine_of(uint64_t ns) {
    uint64_t us = ns / 1000;
    unsigned shift = 0;
    while (us >= 16) {
        us >>= 1;
        shift++;
    }
    const unsigned bucket = us < 8 ? (unsigned)us : shift * 8 + (unsigned)us;
    return bucket < KS_FINE ? bucket : KS_FINE - 1;
}

double ks_fine_ns(unsigned bucket) {
    if (bucket < 8) return ((double)bucket + 0.5) * 1e3;
    const unsigned shift = (bucket - 8) / 8;
    return ((double)((bucket - 8) % 8 + 8) + 0.5) * (double)(UINT64_C(1) << shift) * 1e3;
}

void ks_counts_init(ks_counts *counts) {
    memset(counts, 0, sizeof(*counts));
    ks_names_init(&counts->ops, KS_OPS_MAX);
    ks_names_init(&counts->collections, KS_COLLECTIONS_MAX);
}

void ks_counts_destroy(ks_counts *counts) {
    for (unsigned i = 0; i < KS_SHARDS; i++) free(atomic_load(&counts->shards[i]));
    ks_names_destroy(&counts->ops);
    ks_names_destroy(&counts->collections);
}

ks_shard *ks_counts_shard(ks_counts *counts, unsigned loop) {
    _Atomic(ks_shard *) *place = &counts->shards[loop % KS_SHARDS];
    ks_shard *shard = atomic_load_explicit(place, memory_order_acquire);
    if (shard) return shard;
    ks_shard *fresh = calloc(1, sizeof(*fresh));
    if (fresh && atomic_compare_exchange_strong(place, &shard, fresh)) return fresh;
    free(fresh);
    return shard;
}

static void add(_Atomic uint64_t *counter, uint64_t count) {
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

static void add_duration(ks_duration *duration, uint64_t ns) {
    add(&duration->buckets[ks_bucket_of(ns)], 1);
    add(&duration->sum_ns, ns);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

/* Of a series: op, collection and status, never 0. KS_OPS_MAX and KS_COLLECTIONS_MAX are "other", one more: none. */
static uint64_t key_of(unsigned op, unsigned collection, unsigned status) {
    return (uint64_t)(op + 1) << 32 | (uint64_t)collection << 16 | status;
}

/* Count in the series of a key. Whether there was room for it: a quarter of the slots is kept for those of "other". */
static int add_series(ks_shard *shard, uint64_t key, uint64_t limit) {
    size_t slot = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) % KS_SERIES;
    for (size_t tried = 0; tried < KS_SERIES; tried++, slot = (slot + 1) % KS_SERIES) {
        ks_series *series = &shard->series[slot];
        uint64_t there = atomic_load_explicit(&series->key, memory_order_relaxed);
        if (!there) {
            if (atomic_load_explicit(&shard->series_used, memory_order_relaxed) >= limit) return 0;
            if (atomic_compare_exchange_strong(&series->key, &there, key)) {
                add(&shard->series_used, 1);
                there = key;
            }
        }
        if (there == key) {
            add(&series->count, 1);
            return 1;
        }
    }
    return 0;
}

static unsigned collection_of(ks_counts *counts, const ks_counted *call) {
    if (!call->collection) return KS_COLLECTIONS_MAX + 1;
    int number = ks_names_find(&counts->collections, call->collection);
    if (number < 0 && call->status < 400) number = ks_names_add(&counts->collections, call->collection);
    return number < 0 ? KS_COLLECTIONS_MAX : (unsigned)number;
}

void ks_counts_call(ks_counts *counts, unsigned loop, const ks_counted *call) {
    ks_shard *shard = ks_counts_shard(counts, loop);
    if (!shard) return;
    const int named = ks_names_add(&counts->ops, call->op ? call->op : "none");
    const unsigned op = named < 0 ? KS_OPS_MAX : (unsigned)named;
    const unsigned status = call->status > 0 && call->status < 1000 ? (unsigned)call->status : 0;
    if (!add_series(shard, key_of(op, collection_of(counts, call), status), KS_SERIES / 4 * 3) &&
        !add_series(shard, key_of(op, KS_COLLECTIONS_MAX, status), KS_SERIES))
        (void)add_series(shard, key_of(KS_OPS_MAX, KS_COLLECTIONS_MAX, status), KS_SERIES);
    add_duration(&shard->ops[op], call->total_ns);
    add(&shard->calls, 1);
    add(&shard->errors, status >= 500);
    add(&shard->received_bytes, call->received_bytes);
    add(&shard->sent_bytes, call->sent_bytes);
    if (call->queries) add(&shard->fine[ks_fine_of(call->total_ns)], 1);
}

/* ---- Batches ----------------------------------------------------------------------------------------------------- */

static unsigned plan_of(const ks_found *found) {
    if (found->report->cached) return KS_PLAN_CACHED;
    if (found->explain && found->explain->plan > KITH_PLAN_AUTO && (unsigned)found->explain->plan < KS_PLAN_CACHED)
        return found->explain->plan;
    return found->report->exact ? KS_PLAN_EXACT : KS_PLAN_APPROXIMATE;
}

static void add_stage(ks_shard *shard, ks_spent stage, uint64_t ns) {
    if (ns) add_duration(&shard->stages[stage], ns);
}

void ks_counts_batch(ks_counts *counts, ks_search *const *searches, const ks_found *found, size_t count) {
    ks_shard *shard = count ? ks_counts_shard(counts, searches[0]->call->loop) : NULL;
    if (!shard) return;
    uint64_t queries = 0;
    for (size_t i = 0; i < count; i++) {
        queries += found[i].count;
        add_duration(&shard->stages[KS_SPENT_WAIT], found[i].waited_ns);
    }
    if (found[0].status != KITH_OK || !found[0].report) return;
    unsigned size = 0;
    while (size < KS_SIZES - 1 && queries > UINT64_C(1) << size) size++;
    add(&shard->sizes[size], 1);
    add(&shard->batches, 1);
    add(&shard->queries, queries);
    add(&shard->plans[plan_of(found)], queries);
    const kith_ask_report *report = found[0].report;
    add_stage(shard, KS_SPENT_SEARCH, found[0].searched_ns);
    add_stage(shard, KS_SPENT_FILTER, report->filter_ns);
    add_stage(shard, KS_SPENT_SEGMENTS, report->segments_ns);
    add_stage(shard, KS_SPENT_HEAD, report->head_ns);
    add_stage(shard, KS_SPENT_READ, report->read_ns);
}

void ks_counts_sum(ks_counts *counts, ks_sums *sums) {
    memset(sums, 0, sizeof(*sums));
    for (unsigned i = 0; i < KS_SHARDS; i++) {
        ks_shard *shard = atomic_load_explicit(&counts->shards[i], memory_order_acquire);
        if (!shard) continue;
        sums->calls += atomic_load_explicit(&shard->calls, memory_order_relaxed);
        sums->errors += atomic_load_explicit(&shard->errors, memory_order_relaxed);
        sums->queries += atomic_load_explicit(&shard->queries, memory_order_relaxed);
        sums->batches += atomic_load_explicit(&shard->batches, memory_order_relaxed);
        sums->received_bytes += atomic_load_explicit(&shard->received_bytes, memory_order_relaxed);
        sums->sent_bytes += atomic_load_explicit(&shard->sent_bytes, memory_order_relaxed);
        for (unsigned b = 0; b < KS_FINE; b++)
            sums->fine[b] += atomic_load_explicit(&shard->fine[b], memory_order_relaxed);
    }
}
