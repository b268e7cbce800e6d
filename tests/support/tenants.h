/* SPDX-License-Identifier: Apache-2.0
 *
 * Collections of sealing.h whose items have tenants, for tests of large tenants' own segments: an item's tenant is its
 * color, c0 to c4. Include after cmocka.h, in one source of a program. */
#ifndef TESTS_SUPPORT_TENANTS_H
#define TESTS_SUPPORT_TENANTS_H

#include "match/match.h"
#include "state/tenants.h"
#include "support/sealing.h"

enum { OWN_FROM = 20, MANY = 1000 };

/* ---- Making and looking ------------------------------------------------------------------------------------------ */

static inline kith_collection *make_shared(const char *name, ki_rng *rng, int texts, int segments) {
    segment_field = "color";
    kith_collection *collection = make_it(name, texts);
    collection->own_from = OWN_FROM;
    for (int i = 0; i < segments; i++) {
        write_some(collection, rng, 250);
        OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    }
    return collection;
}

static inline kith_collection *open_again(kith_collection *collection, const char *name) {
    collection = reopen(collection, name);
    collection->own_from = OWN_FROM;
    return collection;
}

static inline uint64_t items_of(unsigned tenant) {
    uint64_t count = 0;
    for (uint64_t id = 0; id < IDS; id++) count += stamps[id] && stamps[id] % 5 == tenant;
    return count;
}

/* Segments of any one tenant, and of the first word's. */
static inline size_t own_segments(kith_collection *collection) {
    size_t count = 0;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    for (size_t i = 0; i < snapshot->sealed_count; i++) count += ki_split_group(collection, snapshot, i) != 0;
    ki_snapshot_release(snapshot);
    return count;
}

/* Whether a tenant's searches, by the segment or by a filter, see no other rows in each place that has some of it. */
static inline void check_alone(kith_collection *collection, const char *tenant, const char *filter) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    ki_match *match = NULL;
    size_t places = 0;
    OK(ki_match_create(collection, snapshot, filter, tenant, &match, &error));
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        ki_match_positions positions;
        OK(ki_match_positions_of(match, i, 0, &positions, &error));
        if (!positions.count) continue;
        const ki_bits *live = snapshot->sealed[i].positions[0];
        assert_int_equal(positions.count, live->set);
        assert_null(positions.few);
        assert_ptr_equal(positions.bits, live->set < live->rows ? live : NULL);
        places++;
    }
    assert_true(places > 0);
    ki_match_destroy(match);
    ki_snapshot_release(snapshot);
}

/* An exact search of a tenant for all that it has: exactly its items that have the vector, and how many segments were
 * looked at. */
static inline size_t check_search(kith_collection *collection, unsigned tenant) {
    static unsigned char seen[IDS];
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    const float query[8] = {0.1f, 0.2f};
    char name[16];
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = query;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = 8;
    const kith_leg leg = {.vector = "", .queries = &queries};
    kith_ask ask = KITH_ASK_INIT;
    snprintf(name, sizeof(name), "c%u", tenant);
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.k = IDS;
    ask.segment = name;
    ask.report = &report;
    OK(kith_result_create(&result, &error));
    OK(kith_collection_search(collection, &ask, result, &error));
    OK(kith_result_hits(result, &hits));
    memset(seen, 0, sizeof(seen));
    for (uint64_t i = 0; i < hits.ends[0]; i++) {
        char text[4] = {0};
        if (with_texts) memcpy(text, hits.id_bytes + hits.id_ends[i] - 3, 3); /* "item 042" */
        const uint64_t id = with_texts ? strtoull(text, NULL, 10) : hits.ids[i];
        assert_true(id < IDS && !seen[id]++);
        assert_int_equal(stamps[id] % 5, tenant);
        if (i) assert_true(hits.distances[i] >= hits.distances[i - 1]);
    }
    for (uint64_t id = 0; id < IDS; id++)
        if (stamps[id] && stamps[id] % 5 == tenant && has_vector(id, stamps[id], 0)) assert_true(seen[id]);
    kith_result_destroy(result);
    return report.segments;
}

static inline void check_searches(kith_collection *collection) {
    check_all(collection);
    for (unsigned tenant = 0; tenant < 5; tenant++) (void)check_search(collection, tenant);
}

static inline size_t merge_once(kith_collection *collection, ki_merge_when when) {
    size_t merged = 0;
    OK(ki_merge(collection, when, NULL, &merged, &error));
    return merged;
}

#endif
