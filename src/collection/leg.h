/* SPDX-License-Identifier: Apache-2.0
 *
 * One leg of a search: one named vector, sought in all segments and heads of a snapshot, and the places' answers
 * merged.
 *
 * E1. Places answer for themselves, each with its min(k, matches) best; what is merged is the min(k, matches) best of
 *     all. Exact places make an exact leg, to the bit: distances are the defining kernel's wherever a vector lies.
 * E2. Memory belongs to the ki_search_work and only grows: a search like an earlier one allocates nothing.
 * E3. Few queries are searched on the calling thread alone: waking others costs more than it saves. */
#ifndef KI_COLLECTION_LEG_H
#define KI_COLLECTION_LEG_H

#include "base/area.h"
#include "match/match.h"
#include "state/collection.h"
#include "state/generations.h"

enum { KI_POOL_QUERIES = 16 }; /* so many queries in one call are worth a pool */

/* What one worker owns for searches of heads. */
typedef struct ki_head_worker {
    ki_desk *desk;
    ki_area area;
    ki_hnsw_searcher *walker; /* made at need; NULL: heads are scanned */
    ki_counts counts;
} ki_head_worker;

/* Memory of searches, kept in a result. */
typedef struct ki_search_work {
    ki_head_worker *worker; /* made at need */
    size_t workers;
    ki_area queries, sources, ids, distances, head_hits, head_counts; /* of one leg at work */
    ki_area legs, hits, hit_counts;                                   /* of all: search.c */
    ki_area ranks, fused, key;
    ki_area spread, spread_rows; /* of candidates among which is chosen */
    ki_match *match;             /* kept from ask to ask */
} ki_search_work;

ki_search_work *ki_search_work_create(void); /* NULL: out of memory */
void ki_search_work_destroy(void *work);

/* What is asked of every place, and what ends it early. */
typedef struct ki_ask_terms {
    double target_recall;
    kith_plan plan; /* AUTO, or an exact one, which places that lack it answer without */
    uint64_t deadline_ns;
    int (*cancelled)(void *);
    void *cancelled_context;
    kith_pool *pool; /* NULL: the calling thread alone */
} ki_ask_terms;

/* A hit and where it lives. place: below the snapshot's sealed_count a segment, else a head. row: of heads the serial.
 * */
typedef struct ki_leg_hit {
    uint64_t key;
    float distance;
    uint32_t place, row;
} ki_leg_hit;

/* Where a hit lives. row: whether the row of a sealed one is looked up. KITH_E_CORRUPT. */
kith_status ki_leg_place(const ki_snapshot *snapshot, const ki_leg_hit *hit, int row, ki_place *place,
                         kith_error *error);

typedef struct ki_leg_search {
    kith_collection *collection;
    const ki_snapshot *snapshot;
    ki_match *match; /* NULL: all that lives */
    size_t spec;     /* slot */
    size_t k;
    const ki_ask_terms *terms;
    kith_ask_report *report; /* NULL, or where counts are added */
    kith_explain *explain;   /* beside a report: sums over segments */
} ki_leg_search;

/* Make queries first..first+count of the leg ready in work->queries: packed floats, or bits. KITH_E_DATA names one that
 * no search takes. */
kith_status ki_leg_load(const ki_leg_search *leg, const kith_queries *queries, size_t first, size_t count,
                        ki_search_work *work, kith_error *error);

/* Search the queries that were loaded: query q's hits are hits[q * k] on, hit_count[q] of them, ascending by (distance,
 * key). Errors as of kith_search(). */
kith_status ki_leg_run(const ki_leg_search *leg, size_t count, ki_search_work *work, ki_leg_hit *hits,
                       size_t *hit_count, kith_error *error);

#endif
