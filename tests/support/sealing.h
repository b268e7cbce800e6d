/* SPDX-License-Identifier: Apache-2.0
 *
 * Collections for tests of sealing and merging: items whose vectors, payloads and texts follow from their id and a
 * stamp, and a check of all that a state holds, wherever it lies, to the bit. Include after cmocka.h, in one source of
 * a program.
 *
 * Three named vectors of different types; each item lacks some. Two declared fields, and a third for later. */
#ifndef TESTS_SUPPORT_SEALING_H
#define TESTS_SUPPORT_SEALING_H

#include "base/rng.h"
#include "upkeep/seal.h"
#include "support/data.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { SPECS = 3, IDS = 400, ROW_MAX = 64 };

static const kith_vector_spec specs[SPECS] = {
    {"", 8, KITH_F32, KITH_L2SQ}, {"half", 16, KITH_F16, KITH_COSINE}, {"bits", 64, KITH_B1, KITH_HAMMING}};
static const kith_field fields[] = {{"color", KITH_FIELD_TAG, 0}, {"price", KITH_FIELD_INT, 0}};
static const kith_field later_field = {"size", KITH_FIELD_INT, 0};

/* What an item of the test should be; stamp 0: not there. */
static uint64_t stamps[IDS];
static int with_texts;
static uint64_t head_bytes = 1 << 20; /* a head holds more than most tests write */
static const char *segment_field;     /* NULL: none */
static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        const kith_status status_of_call = (call);                                                                     \
        if (status_of_call != KITH_OK) fail_msg("%s: %s", #call, error.text);                                          \
    } while (0)

/* ---- What items are ---------------------------------------------------------------------------------------------- */

static inline int has_vector(uint64_t id, uint64_t stamp, size_t spec) {
    ki_rng rng = {id * 31 + stamp * 7 + spec};
    return spec == 1 && id % 3 == 0 ? 0 : ki_rng_below(&rng, 5) != 0;
}

static inline void vector_of(uint64_t id, uint64_t stamp, size_t spec, unsigned char row[ROW_MAX]) {
    ki_rng rng = {id * 1000003 + stamp * 97 + spec};
    float floats[64];
    for (size_t d = 0; d < specs[spec].dim && d < 64; d++) floats[d] = (float)ki_rng_unit(&rng) - 0.4f;
    if (specs[spec].dtype != KITH_B1)
        data_convert(floats, specs[spec].dtype, specs[spec].dim, row);
    else
        for (size_t b = 0; b < specs[spec].dim / 8; b++) row[b] = (unsigned char)ki_rng_below(&rng, 256);
}

static inline void payload_of(uint64_t id, uint64_t stamp, char *text, size_t bytes) {
    snprintf(text, bytes, "{\"color\": \"c%llu\", \"price\": %llu, \"size\": %llu}", (unsigned long long)(stamp % 5),
             (unsigned long long)(id * 1000 + stamp), (unsigned long long)(stamp % 11));
}

/* ---- Making and writing ------------------------------------------------------------------------------------------ */

/* maintained: with what kith_collection_compact() needs; else nothing happens but what a test calls. */
static inline kith_collection *open_as(const char *name, int maintained, int background) {
    kith_collection *collection = NULL;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.no_background = !background;
    options.threads = 1;
    options.durability = KITH_DURABILITY_RELAXED;
    options.head_bytes = head_bytes;
    OK(kith_collection_open(data_path(name), &options, &collection, &error));
    if (!maintained) ki_maintain_stop(collection);
    return collection;
}

static inline kith_collection *open_it(const char *name) {
    return open_as(name, 0, 0);
}

static inline kith_collection *make_it(const char *name, int texts) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    options.id_kind = texts ? KITH_ID_STRING : KITH_ID_U64;
    options.vectors = specs;
    options.vector_count = SPECS;
    options.fields = fields;
    options.field_count = 2;
    options.segment_field = segment_field;
    OK(kith_collection_create(data_path(name), &options, &error));
    memset(stamps, 0, sizeof(stamps));
    with_texts = texts;
    return open_it(name);
}

/* Write one item a call; stamp 0: remove it. */
static inline void write_one(kith_collection *collection, uint64_t id, uint64_t stamp) {
    static unsigned char rows[SPECS][ROW_MAX];
    uint8_t present[SPECS];
    kith_item_vectors vectors[SPECS];
    char text[32], payload[128];
    const uint64_t text_end = (uint64_t)snprintf(text, sizeof(text), "item %03llu", (unsigned long long)id);
    const kith_ids ids = {1, with_texts ? NULL : &id, with_texts ? text : NULL, with_texts ? &text_end : NULL};
    stamps[id] = stamp;
    if (!stamp) {
        OK(kith_collection_delete(collection, &ids, NULL, NULL, &error));
        return;
    }
    for (size_t s = 0; s < SPECS; s++) {
        vector_of(id, stamp, s, rows[s]);
        present[s] = (uint8_t)has_vector(id, stamp, s);
        vectors[s] = (kith_item_vectors){.name = specs[s].name,
                                         .data = rows[s],
                                         .dtype = specs[s].dtype,
                                         .dim = specs[s].dim,
                                         .present = &present[s]};
    }
    payload_of(id, stamp, payload, sizeof(payload));
    const uint64_t payload_end = strlen(payload);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = ids;
    items.vectors = vectors;
    items.vector_count = SPECS;
    items.payload_bytes = payload;
    items.payload_ends = &payload_end;
    OK(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
}

/* Random writes among all ids; one of four removes. */
static inline void write_some(kith_collection *collection, ki_rng *rng, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t id = ki_rng_below(rng, IDS);
        write_one(collection, id, ki_rng_below(rng, 4) ? 1 + ki_rng_below(rng, 1000) : 0);
    }
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

static inline void check_vector(const ki_snapshot *snapshot, const ki_place *place, uint64_t id, uint64_t key,
                                size_t spec) {
    const void *stored = NULL;
    unsigned char row[ROW_MAX];
    if (place->head != SIZE_MAX) {
        stored = ki_head_vector(snapshot->head[place->head].head, spec, place->row);
    } else {
        const ki_snapshot_sealed *in = &snapshot->sealed[place->sealed];
        uint32_t position, of_row;
        if (ki_sealed_position(in->sealed, spec, key, &position)) {
            const ki_view *view = &in->sealed->index[spec]->view;
            stored = view->originals + position * view->row_bytes;
            assert_true(ki_bits_get(in->positions[spec], position));
            assert_true(ki_sealed_row_position(in->sealed, spec, place->row, &of_row));
            assert_int_equal(of_row, position);
        }
    }
    assert_int_equal(stored != NULL, has_vector(id, stamps[id], spec));
    if (!stored) return;
    vector_of(id, stamps[id], spec, row);
    assert_memory_equal(stored, row, kith_row_bytes(specs[spec].dtype, specs[spec].dim));
}

/* Declared values of a sealed row; the third field where the table has it. */
static inline void check_values(const ki_snapshot *snapshot, const ki_place *place, uint64_t id) {
    ki_values values = {0};
    char color[16];
    const ki_sealed *sealed = snapshot->sealed[place->sealed].sealed;
    OK(ki_table_values(sealed->table, snapshot->schema, place->row, &values));
    const uint32_t bytes = (uint32_t)snprintf(color, sizeof(color), "c%u", (unsigned)(stamps[id] % 5));
    assert_int_equal(values.value[0].count, 1);
    assert_int_equal(values.string_bytes[values.value[0].as.at], bytes);
    assert_memory_equal(values.string[values.value[0].as.at], color, bytes);
    assert_int_equal(values.value[1].as.i, id * 1000 + stamps[id]);
    if (snapshot->schema->count > 2 && !ki_fields_lacking(sealed, snapshot->schema)) {
        assert_int_equal(values.value[2].count, 1);
        assert_int_equal(values.value[2].as.i, stamps[id] % 11);
    }
    ki_values_free(&values);
}

static inline int key_of(kith_collection *collection, uint64_t id, uint64_t *key) {
    char text[32];
    *key = id;
    if (!with_texts) return 1;
    const int bytes = snprintf(text, sizeof(text), "item %03llu", (unsigned long long)id);
    return ki_catalog_find_text(collection->catalog, (ki_bytes){text, (size_t)bytes}, key, &error) == KITH_OK;
}

static inline void check_item(kith_collection *collection, const ki_snapshot *snapshot, uint64_t id) {
    uint64_t key;
    ki_place place;
    char text[32];
    const int there = key_of(collection, id, &key) && ki_snapshot_find(snapshot, key, &place);
    assert_int_equal(there, stamps[id] != 0);
    if (!there) return;
    for (size_t s = 0; s < SPECS; s++) check_vector(snapshot, &place, id, key, s);
    if (place.sealed == SIZE_MAX) return;
    check_values(snapshot, &place, id);
    if (!with_texts) return;
    size_t bytes;
    snprintf(text, sizeof(text), "item %03llu", (unsigned long long)id);
    const char *stored = ki_table_text(snapshot->sealed[place.sealed].sealed->table, place.row, &bytes);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(stored, text, bytes);
}

/* All that the current state holds, and that its counts agree. */
static inline void check_all(kith_collection *collection) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    uint64_t items = 0, set = 0;
    for (uint64_t id = 0; id < IDS; id++) {
        check_item(collection, snapshot, id);
        items += stamps[id] != 0;
    }
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        const ki_snapshot_sealed *in = &snapshot->sealed[i];
        set += in->alive->set;
        for (size_t s = 0; s < SPECS; s++) {
            if (!in->sealed->index[s]) continue;
            ki_bits *fresh = ki_sealed_positions(in->sealed, s, in->alive);
            assert_int_equal(fresh->set, in->positions[s]->set);
            assert_memory_equal(fresh->word, in->positions[s]->word, (fresh->rows / 64 + 1) * sizeof(uint64_t));
            ki_bits_release(fresh);
        }
    }
    for (size_t i = 0; i < snapshot->head_count; i++) set += snapshot->head[i].live->set;
    assert_int_equal(snapshot->items, items);
    assert_int_equal(set, items);
    ki_snapshot_release(snapshot);
}

static inline kith_collection *reopen(kith_collection *collection, const char *name) {
    kith_collection_close(collection);
    collection = open_it(name);
    check_all(collection);
    return collection;
}

/* Entries of a folder of the test, beside "." and "..". */
static inline size_t entries(const char *path) {
    DIR *folder = opendir(path);
    size_t count = 0;
    assert_non_null(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count - 2;
}

static inline size_t segments_of(kith_collection *collection) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const size_t count = snapshot->sealed_count;
    ki_snapshot_release(snapshot);
    return count;
}

static inline size_t heads_of(kith_collection *collection) {
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const size_t count = snapshot->head_count;
    ki_snapshot_release(snapshot);
    return count;
}

#endif
