/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of collections share: a small shop with two named vectors and two declared fields, and items written and
 * looked at one by one. Include after cmocka.h, in one source of a program. */
#ifndef TESTS_SUPPORT_SHOP_H
#define TESTS_SUPPORT_SHOP_H

#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 4 };

static kith_error error;

static inline void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

static inline void refused(kith_status status, kith_status expected, const char *part) {
    if (status != expected) fail_msg("status %d, not %d: %s", (int)status, (int)expected, error.text);
    if (!strstr(error.text, part)) fail_msg("'%s' does not say '%s'", error.text, part);
    memset(&error, 0, sizeof(error));
}

static const kith_vector_spec two_vectors[] = {{.name = "", .dim = DIM, .dtype = KITH_F32, .metric = KITH_L2SQ},
                                               {.name = "small", .dim = 2, .dtype = KITH_F16, .metric = KITH_COSINE}};

static inline kith_collection_options options_of(kith_id_kind kind) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    static const kith_field fields[] = {{.name = "color", .type = KITH_FIELD_TAG},
                                        {.name = "price", .type = KITH_FIELD_FLOAT}};
    options.id_kind = kind;
    options.vectors = two_vectors, options.vector_count = 2;
    options.fields = fields, options.field_count = 2;
    options.segment_field = "color";
    options.model = "m1";
    return options;
}

static inline const char *fresh(void) {
    static unsigned counter;
    static char name[32];
    snprintf(name, sizeof(name), "shop%u", counter++);
    return data_path(name);
}

static inline kith_collection *open_at(const char *path, int read_only) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.read_only = read_only;
    options.no_background = 1;
    options.threads = 1;
    must(kith_collection_open(path, &options, &collection, &error));
    return collection;
}

static inline kith_collection *make_at(const char *path, kith_id_kind kind) {
    const kith_collection_options options = options_of(kind);
    must(kith_collection_create(path, &options, &error));
    return open_at(path, 0);
}

/* One item by number, with a vector of equal elements; payload may be NULL. */
static inline kith_status put(kith_collection *collection, uint64_t id, float value, const char *payload,
                              kith_write_mode mode, kith_write_report *report) {
    const float row[DIM] = {value, value, value, value};
    const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
    const uint64_t end = payload ? strlen(payload) : 0;
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.vectors = &vectors, items.vector_count = 1;
    items.payload_bytes = payload, items.payload_ends = payload ? &end : NULL;
    return kith_collection_write(collection, &items, mode, report, &error);
}

static inline int there(kith_collection *collection, uint64_t id) {
    uint8_t exists = 9;
    must(kith_collection_exists(collection, &(kith_ids){.count = 1, .ids = &id}, &exists, &error));
    return exists;
}

static inline uint64_t count_of(kith_collection *collection) {
    uint64_t count = 0;
    must(kith_collection_count(collection, NULL, &count, &error));
    return count;
}

/* The payload, version and unnamed vector of one item. */
static inline void expect(kith_collection *collection, uint64_t id, float value, const char *payload,
                          uint64_t version) {
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    const uint8_t *present;
    must(kith_result_create(&result, &error));
    must(kith_collection_get(collection, &(kith_ids){.count = 1, .ids = &id},
                             KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS, result, &error));
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, 1);
    assert_int_equal(hits.ids[0], id);
    assert_int_equal(hits.versions[0], version);
    assert_int_equal(hits.payload_ends[0], strlen(payload));
    assert_memory_equal(hits.payload_bytes, payload, strlen(payload));
    const float *rows = kith_result_vectors(result, "", &present);
    assert_non_null(rows);
    assert_int_equal(present[0], 1);
    for (int i = 0; i < DIM; i++) assert_true(rows[i] == value);
    kith_result_destroy(result);
}

#endif
