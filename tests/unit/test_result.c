/* SPDX-License-Identifier: Apache-2.0
 *
 * Results: what is there and what is NULL, memory that is kept from read to read and from collection to collection,
 * and memory that is refused at any moment of a search: the search fails, nothing is half there, and the next one
 * answers.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "match/match.h"
#include "upkeep/seal.h"
#include "support/faulty_malloc.h"

#include <stdio.h>
#include <string.h>

enum { DIM = 8, ITEMS = 60 };

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        const kith_status status_of_call = (call);                                                                     \
        if (status_of_call != KITH_OK) fail_msg("%s: %s", #call, error.text);                                          \
    } while (0)

static void write_items(kith_collection *collection, int texts, uint64_t first) {
    float rows[ITEMS * DIM];
    uint64_t ids[ITEMS], ends[ITEMS], text_ends[ITEMS];
    char payloads[ITEMS * 40], names[ITEMS * 16];
    size_t used = 0, named = 0;
    ki_rng rng = {first};
    for (size_t i = 0; i < ITEMS; i++) {
        ids[i] = first + i;
        for (size_t d = 0; d < DIM; d++) rows[i * DIM + d] = (float)ki_rng_unit(&rng);
        if (i % 4) used += (size_t)snprintf(payloads + used, sizeof(payloads) - used, "{\"tag\": \"t%zu\"}", i % 3);
        ends[i] = used;
        named += (size_t)snprintf(names + named, sizeof(names) - named, "name %zu", (size_t)ids[i]);
        text_ends[i] = named;
    }
    const kith_item_vectors vectors = {"v", rows, KITH_F32, 0, DIM, 0, NULL};
    kith_items items = KITH_ITEMS_INIT;
    items.ids.count = ITEMS;
    items.ids.ids = texts ? NULL : ids;
    items.ids.id_bytes = texts ? names : NULL;
    items.ids.id_ends = texts ? text_ends : NULL;
    items.vectors = &vectors;
    items.vector_count = 1;
    items.payload_bytes = payloads;
    items.payload_ends = ends;
    OK(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
}

static kith_collection *make(int texts) {
    static const kith_vector_spec spec = {"v", DIM, KITH_F32, KITH_L2SQ};
    static const kith_field field = {"tag", KITH_FIELD_TAG, 0};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    made.id_kind = texts ? KITH_ID_STRING : KITH_ID_U64;
    made.vectors = &spec;
    made.vector_count = 1;
    made.fields = &field;
    made.field_count = 1;
    made.segment_field = "tag";
    options.no_background = 1;
    options.threads = 1;
    OK(kith_collection_open_memory(&made, &options, &collection, &error));
    write_items(collection, texts, 0);
    OK(ki_seal(collection, KI_SEAL_ALL, NULL, NULL, &error));
    write_items(collection, texts, ITEMS / 2);
    return collection;
}

static float query[2 * DIM] = {0.5f, 0.25f, 0.75f};

static kith_status search(kith_collection *collection, kith_result *result, const char *filter, const char *segment,
                          unsigned with) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = query;
    queries.dtype = KITH_F32;
    queries.count = 2;
    queries.dim = DIM;
    const kith_leg leg = {"v", &queries, 0};
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.filter = filter;
    ask.segment = segment;
    ask.with = with;
    return kith_collection_search(collection, &ask, result, &error);
}

static void test_what_is_there(void **state) {
    (void)state;
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    const uint8_t *present = NULL;
    OK(kith_result_create(&result, &error));
    assert_int_equal(kith_result_hits(result, &hits), KITH_OK); /* of nothing */
    assert_int_equal(hits.queries, 0);
    assert_int_equal(hits.count, 0);
    for (int texts = 0; texts < 2; texts++) { /* the second one takes over the first one's memory */
        kith_collection *collection = make(texts);
        OK(search(collection, result, NULL, NULL, 0));
        kith_result_hits(result, &hits);
        assert_int_equal(hits.count, 20);
        assert_int_equal(hits.ends[0], 10);
        assert_non_null(hits.distances);
        assert_int_equal(hits.id_bytes != NULL, texts);
        assert_int_equal(hits.id_ends != NULL, texts);
        assert_null(hits.payload_bytes);
        assert_null(hits.payload_ends);
        assert_null(hits.versions);
        assert_null(hits.expires_ms);
        assert_null(kith_result_vectors(result, "v", &present));
        OK(search(collection, result, "tag = \"none\"", NULL,
                  KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS));
        kith_result_hits(result, &hits);
        assert_int_equal(hits.count, 0); /* and yet all that was asked for is there */
        assert_int_equal(hits.ends[1], 0);
        assert_non_null(hits.ids);
        assert_non_null(hits.payload_bytes);
        assert_non_null(hits.payload_ends);
        assert_non_null(hits.versions);
        assert_non_null(hits.expires_ms);
        assert_non_null(kith_result_vectors(result, "v", &present));
        assert_null(kith_result_vectors(result, "w", &present));
        assert_null(kith_result_vectors(result, NULL, &present));
        kith_collection_close(collection);
    }
    assert_non_null(kith_result_vectors(result, "v", NULL)); /* also when the collection is closed */
    kith_result_destroy(result);
}

static void test_mistakes(void **state) {
    (void)state;
    kith_hits hits = KITH_HITS_INIT, no_size = {0};
    kith_result *result = NULL;
    assert_int_equal(kith_result_create(NULL, &error), KITH_E_ARG);
    OK(kith_result_create(&result, &error));
    assert_int_equal(kith_result_hits(NULL, &hits), KITH_E_ARG);
    assert_int_equal(kith_result_hits(result, NULL), KITH_E_ARG);
    assert_int_equal(kith_result_hits(result, &no_size), KITH_E_ARG);
    assert_null(kith_result_vectors(NULL, "v", NULL));
    kith_result_destroy(result);
    kith_result_destroy(NULL);
}

static const struct question {
    const char *filter, *segment;
} questions[] = {
    {NULL, NULL}, {"tag = \"t1\"", NULL}, {NULL, "t2"}, {"tag exists and not tag = \"t1\"", "t2"}, {"other = 3", NULL}};

/* What a search asks of the allocator when it is like an earlier one: nothing where all lies in the head. */
static void test_warm(void **state) {
    (void)state;
    static const kith_vector_spec spec = {"v", DIM, KITH_F32, KITH_COSINE};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection *collection = NULL;
    kith_result *result = NULL;
    made.vectors = &spec;
    made.vector_count = 1;
    OK(kith_collection_open_memory(&made, NULL, &collection, &error));
    OK(kith_result_create(&result, &error));
    write_items(collection, 0, 0);
    query[DIM] = 1;
    const unsigned with = KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS;
    for (int i = 0; i < 3; i++) OK(search(collection, result, NULL, NULL, with));
    faulty_malloc_start(-1, 0);
    const kith_status status = search(collection, result, NULL, NULL, with);
    const long asked = faulty_malloc_stop();
    assert_int_equal(status, KITH_OK);
    assert_int_equal(asked, 0);
    kith_result_destroy(result);
    kith_collection_close(collection);
}

/* Refuse the nth allocation of a search, once or for good. */
static void test_no_memory(void **state) {
    (void)state;
    kith_collection *collection = make(1);
    for (size_t q = 0; q < sizeof(questions) / sizeof(*questions); q++)
        for (int for_good = 0; for_good < 2; for_good++) {
            long asked = 1;
            for (long number = 0; number < asked; number++) {
                kith_result *result = NULL;
                kith_hits hits = KITH_HITS_INIT;
                OK(kith_result_create(&result, &error));
                ki_match_cache *cache = collection->matches;
                collection->matches = ki_match_cache_create();
                error = (kith_error){0};
                faulty_malloc_start(number, for_good);
                const kith_status status =
                    search(collection, result, questions[q].filter, questions[q].segment, KITH_WITH_VECTORS);
                asked = faulty_malloc_stop();
                kith_result_hits(result, &hits);
                if (status != KITH_OK) {
                    assert_int_equal(status, KITH_E_NOMEM);
                    assert_true(error.text[0] != 0);
                    assert_int_equal(hits.count, 0);
                    assert_int_equal(hits.queries, 0);
                }
                OK(search(collection, result, questions[q].filter, questions[q].segment, KITH_WITH_VECTORS));
                kith_result_hits(result, &hits);
                assert_int_equal(hits.queries, 2);
                ki_match_cache_destroy(collection->matches);
                collection->matches = cache;
                kith_result_destroy(result);
            }
        }
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_there), cmocka_unit_test(test_mistakes),
                                       cmocka_unit_test(test_warm), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
