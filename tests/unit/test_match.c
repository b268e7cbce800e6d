/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rows a filter lets through: what is kept between questions must be what a fresh look would give, in every state
 * that a collection passes through; as rows, as serials and as positions, few and many. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "match/match.h"
#include "upkeep/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 4, SPECS = 2, IDS = 200, BATCH = 1000 };

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        const kith_status status_of_call = (call);                                                                     \
        if (status_of_call != KITH_OK) fail_msg("%s: %s", #call, error.text);                                          \
    } while (0)

static kith_collection *make(void) {
    static const kith_vector_spec specs[SPECS] = {{"", DIM, KITH_F32, KITH_L2SQ}, {"b", DIM, KITH_F32, KITH_IP}};
    static const kith_field fields[] = {{"price", KITH_FIELD_INT, 0}, {"tenant", KITH_FIELD_TAG, 0}};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    made.vectors = specs;
    made.vector_count = SPECS;
    made.fields = fields;
    made.field_count = 2;
    made.segment_field = "tenant";
    options.no_background = 1;
    options.threads = 1;
    OK(kith_collection_open_memory(&made, &options, &collection, &error));
    return collection;
}

/* Items first, first + step, ...; what they hold follows from the seed. The second vector is missing now and then. */
static void write_items(kith_collection *collection, uint64_t first, uint64_t step, size_t count, uint64_t seed) {
    static float rows[BATCH * DIM];
    static uint64_t ids[BATCH], ends[BATCH];
    static uint8_t present[BATCH];
    static char payloads[BATCH * 80];
    size_t used = 0;
    ki_rng rng = {seed};
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i * step;
        present[i] = ki_rng_below(&rng, 8) != 0;
        for (size_t d = 0; d < DIM; d++) rows[i * DIM + d] = (float)ki_rng_unit(&rng);
        used += (size_t)snprintf(
            payloads + used, sizeof(payloads) - used, "{\"price\": %u, \"tenant\": \"t%u\", \"free\": %u}",
            (unsigned)ki_rng_below(&rng, 100), (unsigned)ki_rng_below(&rng, 6), (unsigned)ki_rng_below(&rng, 10));
        ends[i] = used;
    }
    const kith_item_vectors vectors[SPECS] = {{"", rows, KITH_F32, 0, DIM, 0, NULL},
                                              {"b", rows, KITH_F32, 0, DIM, 0, present}};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = count, .ids = ids};
    items.vectors = vectors;
    items.vector_count = SPECS;
    items.payload_bytes = payloads;
    items.payload_ends = ends;
    OK(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
}

static void remove_item(kith_collection *collection, uint64_t id) {
    const kith_ids ids = {.count = 1, .ids = &id};
    OK(kith_collection_delete(collection, &ids, NULL, NULL, &error));
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

/* Positions as one byte each. */
static unsigned char *spread(const ki_match_positions *positions, uint64_t rows) {
    unsigned char *set = calloc(rows + 1, 1);
    uint64_t count = 0;
    assert_non_null(set);
    for (uint64_t i = 0; positions->few && i < positions->count; i++) {
        assert_true(positions->few[i] < rows);
        set[positions->few[i]] = 1;
    }
    for (uint64_t p = 0; !positions->few && p < rows; p++) set[p] = !positions->bits || ki_bits_get(positions->bits, p);
    for (uint64_t p = 0; p < rows; p++) count += set[p];
    assert_int_equal(count, positions->count);
    if (positions->few && positions->bits) assert_int_equal(positions->bits->set, count);
    return set;
}

static void same_positions(ki_match *a, ki_match *b, const ki_snapshot *snapshot, size_t sealed) {
    for (size_t s = 0; s < SPECS; s++) {
        const kith_index *index = snapshot->sealed[sealed].sealed->index[s];
        ki_match_positions of_a, of_b;
        if (!index) continue;
        OK(ki_match_positions_of(a, sealed, s, &of_a, &error));
        unsigned char *set_a = spread(&of_a, index->view.rows);
        OK(ki_match_positions_of(b, sealed, s, &of_b, &error));
        unsigned char *set_b = spread(&of_b, index->view.rows);
        assert_memory_equal(set_a, set_b, index->view.rows);
        free(set_a);
        free(set_b);
    }
}

static void same_bits(const ki_bits *a, const ki_bits *b, uint64_t rows) {
    if (a == b) return;
    for (uint64_t r = 0; r < rows; r++) assert_int_equal(ki_bits_get(a, r), ki_bits_get(b, r));
}

static void same_match(ki_match *a, ki_match *b, const ki_snapshot *snapshot, int listed) {
    assert_int_equal(ki_match_count(a), ki_match_count(b));
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        same_positions(a, b, snapshot, i);
        if (!listed) same_bits(ki_match_rows(a, i), ki_match_rows(b, i), snapshot->sealed[i].alive->rows);
    }
    for (size_t i = 0; i < snapshot->head_count; i++)
        same_bits(ki_match_serials(a, i), ki_match_serials(b, i), snapshot->head[i].count);
}

/* Every question, asked with what is kept, twice, and without; the kept match is used again and again. */
static void check_kept(kith_collection *collection, ki_match **kept) {
    static const char *const filters[] = {NULL,
                                          "price < 50",
                                          "price < 50 and free = 3",
                                          "price = 7",
                                          "free != 2",
                                          "not price >= 20",
                                          "price exists",
                                          "nothing exists",
                                          "has_id",
                                          "price in (1, 2, 3)",
                                          "tenant = \"t2\""};
    static const char *const segments[] = {NULL, "t1", "t5", "none"};
    ki_match_cache *cache = collection->matches;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    for (size_t f = 0; f < sizeof(filters) / sizeof(*filters); f++)
        for (size_t s = 0; s < sizeof(segments) / sizeof(*segments); s++) {
            ki_match *fresh = NULL;
            collection->matches = NULL;
            const kith_status status = ki_match_create(collection, snapshot, filters[f], segments[s], &fresh, &error);
            collection->matches = cache;
            for (int again = 0; again < 2; again++) {
                assert_int_equal(ki_match_renew(kept, collection, snapshot, filters[f], segments[s], NULL, &error),
                                 status);
                if (status == KITH_OK) same_match(fresh, *kept, snapshot, segments[s] != NULL);
                ki_match_empty(*kept);
            }
            ki_match_destroy(fresh);
        }
    ki_snapshot_release(snapshot);
}

static void test_kept_is_fresh(void **state) {
    (void)state;
    kith_collection *collection = make();
    ki_match *kept = NULL;
    ki_rng rng = {42};
    for (uint64_t step = 0; step < 40; step++) {
        const uint64_t what = ki_rng_below(&rng, 10);
        if (what < 5)
            write_items(collection, ki_rng_below(&rng, IDS), 1 + ki_rng_below(&rng, 3),
                        1 + (size_t)ki_rng_below(&rng, 30), step);
        else if (what < 8)
            remove_item(collection, ki_rng_below(&rng, IDS));
        else if (what == 8)
            OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
        else if (step % 3 == 0)
            OK(kith_collection_compact(collection, NULL, NULL, &error));
        if (step == 25) { /* a field that was not declared is from now on */
            const kith_field field = {"free", KITH_FIELD_INT, 0};
            OK(kith_collection_declare(collection, &field, &error));
        }
        check_kept(collection, &kept);
    }
    assert_true(ki_match_cache_bytes(collection->matches) > 0);
    ki_match_destroy(kept);
    kith_collection_close(collection);
}

/* More rows than a list takes: bits, with lists beside them and alone. */
static void test_many(void **state) {
    (void)state;
    kith_collection *collection = make();
    ki_match *kept = NULL;
    for (uint64_t first = 0; first < 12000; first += BATCH) write_items(collection, first, 1, BATCH, first);
    check_kept(collection, &kept);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    check_kept(collection, &kept);
    for (uint64_t id = 0; id < 12000; id += 500) remove_item(collection, id);
    check_kept(collection, &kept);
    ki_match_destroy(kept);
    kith_collection_close(collection);
}

/* Answers over such bits and lists are a plain scan's. */
static void test_many_searched(void **state) {
    (void)state;
    static const char *const filters[] = {"price < 80", "price < 40", "price < 3", "free != 2"};
    kith_collection *collection = make();
    kith_result *result[2] = {NULL, NULL};
    kith_hits hits[2] = {KITH_HITS_INIT, KITH_HITS_INIT};
    float rows[20 * DIM];
    ki_rng rng = {3};
    for (size_t i = 0; i < 20 * DIM; i++) rows[i] = (float)ki_rng_unit(&rng);
    for (int i = 0; i < 2; i++) OK(kith_result_create(&result[i], &error));
    for (uint64_t first = 0; first < 12000; first += BATCH) write_items(collection, first, 1, BATCH, first);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    write_items(collection, 11500, 1, BATCH, 1);
    for (size_t f = 0; f < 4; f++)
        for (size_t count = 1; count <= 20; count += 19) {
            kith_queries queries = KITH_QUERIES_INIT;
            queries.data = rows;
            queries.dtype = KITH_F32;
            queries.count = count;
            queries.dim = DIM;
            const kith_leg leg = {"b", &queries, 0};
            kith_ask ask = KITH_ASK_INIT;
            ask.legs = &leg;
            ask.leg_count = 1;
            ask.filter = filters[f];
            OK(kith_collection_search(collection, &ask, result[0], &error));
            ask.plan = KITH_PLAN_PLAIN;
            OK(kith_collection_search(collection, &ask, result[1], &error));
            for (int i = 0; i < 2; i++) kith_result_hits(result[i], &hits[i]);
            assert_int_equal(hits[0].count, 10 * count);
            assert_int_equal(hits[1].count, 10 * count);
            assert_memory_equal(hits[0].ids, hits[1].ids, 10 * count * sizeof(uint64_t));
            assert_memory_equal(hits[0].distances, hits[1].distances, 10 * count * sizeof(float));
        }
    for (int i = 0; i < 2; i++) kith_result_destroy(result[i]);
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_is_fresh), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_many_searched)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
