/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted, as metrics: the shards added up. */
#include "watch/count.h"

#include <stdlib.h>
#include <string.h>

static const char *const stage_names[KS_SPENT] = {
    [KS_SPENT_WAIT] = "wait",         [KS_SPENT_SEARCH] = "search", [KS_SPENT_FILTER] = "filter",
    [KS_SPENT_SEGMENTS] = "segments", [KS_SPENT_HEAD] = "head",     [KS_SPENT_READ] = "read"};
static const char *const size_bounds[KS_SIZES - 1] = {"1.0",  "2.0",   "4.0",   "8.0",   "16.0",  "32.0",
                                                      "64.0", "128.0", "256.0", "512.0", "1024.0"};

static uint64_t now_of(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

typedef struct ks_pair {
    uint64_t key, count;
} ks_pair;

static int by_key(const void *a, const void *b) {
    const uint64_t x = ((const ks_pair *)a)->key, y = ((const ks_pair *)b)->key;
    return x < y ? -1 : x > y;
}

/* All series of all shards, sorted, those of the same labels added up. NULL without memory, or when there are none. */
static ks_pair *gather_series(ks_counts *counts, size_t *count) {
    size_t room = 0, used = 0, kept = 0;
    for (unsigned i = 0; i < KS_SHARDS; i++)
        if (atomic_load(&counts->shards[i])) room += KS_SERIES;
    ks_pair *pairs = room ? malloc(room * sizeof(*pairs)) : NULL;
    for (unsigned i = 0; pairs && i < KS_SHARDS; i++) {
        const ks_shard *shard = atomic_load(&counts->shards[i]);
        /* A shard that came since has no room here: it is seen next time. */
        for (size_t s = 0; shard && s < KS_SERIES && used < room; s++)
            if (now_of(&shard->series[s].key))
                pairs[used++] = (ks_pair){now_of(&shard->series[s].key), now_of(&shard->series[s].count)};
    }
    if (used) qsort(pairs, used, sizeof(*pairs), by_key);
    for (size_t i = 0; i < used; i++) {
        if (kept && pairs[kept - 1].key == pairs[i].key) {
            pairs[kept - 1].count += pairs[i].count;
        } else {
            pairs[kept++] = pairs[i];
        }
    }
    *count = kept;
    return pairs;
}

static const char *op_name(const ks_counts *counts, unsigned op) {
    return op < KS_OPS_MAX ? ks_names_at(&counts->ops, op) : "other";
}

static const char *collection_name(const ks_counts *counts, unsigned collection) {
    if (collection < KS_COLLECTIONS_MAX) return ks_names_at(&counts->collections, collection);
    return collection == KS_COLLECTIONS_MAX ? "other" : "";
}

static void write_requests(ks_counts *counts, ks_scrape *scrape) {
    size_t count = 0;
    ks_pair *pairs = gather_series(counts, &count);
    ks_scrape_family(scrape, "kith_requests", KS_COUNTER, NULL, "Calls that were answered.");
    for (size_t i = 0; i < count; i++) {
        char status[8];
        const unsigned code = (unsigned)(pairs[i].key & 0xffff);
        status[0] = (char)('0' + code / 100), status[1] = (char)('0' + code / 10 % 10);
        status[2] = (char)('0' + code % 10), status[3] = 0;
        const ks_label labels[] = {{"op", op_name(counts, (unsigned)(pairs[i].key >> 32) - 1)},
                                   {"collection", collection_name(counts, (unsigned)(pairs[i].key >> 16 & 0xffff))},
                                   {"status", status}};
        ks_scrape_uint(scrape, labels, 3, pairs[i].count);
    }
    free(pairs);
}

/* ---- Durations --------------------------------------------------------------------------------------------------- */

/* Of the same place in all shards. */
static void write_duration(ks_counts *counts, ks_scrape *scrape, const ks_label *label, size_t offset) {
    uint64_t buckets[KS_BUCKETS] = {0}, sum_ns = 0, any = 0;
    for (unsigned i = 0; i < KS_SHARDS; i++) {
        const char *shard = (const char *)atomic_load_explicit(&counts->shards[i], memory_order_acquire);
        if (!shard) continue;
        const ks_duration *duration = (const ks_duration *)(const void *)(shard + offset);
        for (unsigned b = 0; b < KS_BUCKETS; b++) any += now_of(&duration->buckets[b]);
        for (unsigned b = 0; b < KS_BUCKETS; b++) buckets[b] += now_of(&duration->buckets[b]);
        sum_ns += now_of(&duration->sum_ns);
    }
    if (!any) return;
    ks_scrape_buckets(scrape, label,
                      &(ks_scrape_histogram){ks_bucket_bounds, buckets, KS_BUCKETS, (double)sum_ns / 1e9});
}

static void write_durations(ks_counts *counts, ks_scrape *scrape) {
    ks_scrape_family(scrape, "kith_request_duration_seconds", KS_HISTOGRAM, "seconds",
                     "From a call's arrival until its reply was given to the network.");
    for (unsigned op = 0; op <= KS_OPS_MAX; op++) {
        if (op < KS_OPS_MAX && op >= ks_names_count(&counts->ops)) continue;
        const ks_label label = {"op", op_name(counts, op)};
        write_duration(counts, scrape, &label, offsetof(ks_shard, ops) + op * sizeof(ks_duration));
    }
    ks_scrape_family(scrape, "kith_search_stage_duration_seconds", KS_HISTOGRAM, "seconds",
                     "Stages of searches: wait (one a search) until its turn; search (one a batch) and of it filter, "
                     "segments, head and read, where they took part.");
    for (unsigned stage = 0; stage < KS_SPENT; stage++) {
        const ks_label label = {"stage", stage_names[stage]};
        write_duration(counts, scrape, &label, offsetof(ks_shard, stages) + stage * sizeof(ks_duration));
    }
}

/* ---- Batches ----------------------------------------------------------------------------------------------------- */

static const char *plan_name(unsigned plan) {
    return plan == KS_PLAN_CACHED        ? "cached"
           : plan == KS_PLAN_EXACT       ? "exact"
           : plan == KS_PLAN_APPROXIMATE ? "approximate"
                                         : kith_plan_name((kith_plan)plan);
}

static void write_batches(ks_counts *counts, ks_scrape *scrape, const ks_sums *sums) {
    uint64_t plans[KS_PLANS] = {0}, sizes[KS_SIZES] = {0};
    for (unsigned i = 0; i < KS_SHARDS; i++) {
        const ks_shard *shard = atomic_load_explicit(&counts->shards[i], memory_order_acquire);
        for (unsigned p = 0; shard && p < KS_PLANS; p++) plans[p] += now_of(&shard->plans[p]);
        for (unsigned s = 0; shard && s < KS_SIZES; s++) sizes[s] += now_of(&shard->sizes[s]);
    }
    ks_scrape_family(scrape, "kith_search_plans", KS_COUNTER, NULL,
                     "Queries by how they were answered: a plan's name where it is known, else cached, exact or "
                     "approximate.");
    for (unsigned p = KITH_PLAN_PLAIN; p < KS_PLANS; p++)
        if (plans[p]) ks_scrape_uint(scrape, &(ks_label){"plan", plan_name(p)}, 1, plans[p]);
    ks_scrape_family(scrape, "kith_batch_size", KS_HISTOGRAM, NULL, "Queries that were answered together.");
    ks_scrape_buckets(scrape, NULL, &(ks_scrape_histogram){size_bounds, sizes, KS_SIZES, (double)sums->queries});
    ks_scrape_family(scrape, "kith_queries", KS_COUNTER, NULL, "Queries that were answered.");
    ks_scrape_uint(scrape, NULL, 0, sums->queries);
}

void ks_counts_write(ks_counts *counts, ks_scrape *scrape) {
    ks_sums sums;
    ks_counts_sum(counts, &sums);
    write_requests(counts, scrape);
    write_durations(counts, scrape);
    write_batches(counts, scrape, &sums);
    ks_scrape_family(scrape, "kith_request_bytes", KS_COUNTER, "bytes", "Bodies of calls.");
    ks_scrape_uint(scrape, NULL, 0, sums.received_bytes);
    ks_scrape_family(scrape, "kith_response_bytes", KS_COUNTER, "bytes", "Bodies of replies, as they were sent.");
    ks_scrape_uint(scrape, NULL, 0, sums.sent_bytes);
}
