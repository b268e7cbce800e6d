/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots and edits, against a plain list of what lives: whatever is appended, replaced, killed, frozen, sealed and
 * taken out, each published state holds each live key once, and older states that are held stay what they were. What is
 * abandoned, or fails for want of memory, changes nothing. Segments are real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/rng.h"
#include "state/generations.h"
#include "state/collection.h"
#include "support/data.h"
#include "support/faulty_malloc.h"

enum { DIM = 8, BITS = 16, KEYS = 500, HEAD_ROWS = 100 };

static const kith_vector_spec specs[2] = {{"", DIM, KITH_F32, KITH_L2SQ}, {"bits", BITS, KITH_B1, KITH_HAMMING}};
static const ki_schema no_fields = {.count = 0};

/* What should be there: by key. */
typedef struct item {
    int lives;
    uint64_t version;
} item;

struct subject {
    kith_collection collection;
    ki_vector vectors[2];
    kith_vector_spec spec[2];
    ki_generations *generations;
    char folder[512];
    item items[KEYS];
    uint64_t version, segments;
    ki_rng rng;
};

static void start(struct subject *s, uint64_t seed) {
    *s = (struct subject){.rng = {seed}};
    memcpy(s->spec, specs, sizeof(specs));
    s->vectors[0] = (ki_vector){(char *)"", DIM, DIM * sizeof(float), KITH_F32, KITH_L2SQ};
    s->vectors[1] = (ki_vector){(char *)"bits", BITS, BITS / 8, KITH_B1, KITH_HAMMING};
    s->collection.made = (ki_made){.vector_count = 2, .vector = s->vectors};
    s->generations = ki_generations_first(&s->collection.made);
    assert_non_null(s->generations);
    s->collection.generations = &s->generations;
    s->collection.generation_count = 1;
    s->collection.options.head_bytes = HEAD_ROWS * (DIM * sizeof(float) + BITS / 8 + 64);
    assert_int_equal(pthread_mutex_init(&s->collection.publishing, NULL), 0);
    assert_int_equal(pthread_cond_init(&s->collection.published, NULL), 0);
    snprintf(s->folder, sizeof(s->folder), "%s-%llu", data_path("segments"), (unsigned long long)seed);
    assert_int_equal(mkdir(s->folder, 0700), 0);
}

static ki_edit *begin(struct subject *s) {
    ki_edit *edit = NULL;
    assert_int_equal(ki_edit_begin(&s->collection, &edit, NULL), KITH_OK);
    return edit;
}

static void finish(struct subject *s) {
    ki_snapshot_release(s->collection.current);
    free(s->generations);
    pthread_cond_destroy(&s->collection.published);
    pthread_mutex_destroy(&s->collection.publishing);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

static void fill_vector(uint64_t key, uint64_t version, float *vector) {
    for (size_t j = 0; j < DIM; j++) vector[j] = (float)((key * 31 + version * 17 + j * j) % 1009);
}

/* Every third key has no bits. */
static int has_bits(uint64_t key) {
    return key % 3 != 0;
}

static kith_status append(ki_edit *edit, uint64_t key, uint64_t version, uint64_t expires_ms, int *replaced) {
    float vector[DIM];
    const uint16_t bits = (uint16_t)(key ^ version);
    fill_vector(key, version, vector);
    const void *const vectors[2] = {vector, has_bits(key) ? &bits : NULL};
    const ki_head_row row = {.key = key, .version = version, .expires_ms = expires_ms, .vectors = vectors};
    return ki_edit_append(edit, &row, replaced, NULL);
}

static void check_vectors(const ki_snapshot *snapshot, const ki_place *place, uint64_t key, uint64_t version) {
    float expected[DIM], vector[DIM];
    uint16_t bits;
    fill_vector(key, version, expected);
    assert_int_equal(ki_snapshot_vector(snapshot, place, 0, vector, NULL), KITH_OK);
    assert_memory_equal(vector, expected, sizeof(vector));
    const kith_status status = ki_snapshot_vector(snapshot, place, 1, &bits, NULL);
    assert_int_equal(status, has_bits(key) ? KITH_OK : KITH_E_NOTFOUND);
    if (status == KITH_OK) assert_int_equal(bits, (uint16_t)(key ^ version));
}

/* How many places of a snapshot hold a key alive (N2). */
static size_t places_of(const ki_snapshot *snapshot, uint64_t key) {
    size_t places = 0;
    for (size_t i = 0; i < snapshot->head_count; i++)
        for (uint32_t row = 0; row < snapshot->head[i].count; row++)
            places += ki_head_key(snapshot->head[i].head, row) == key && ki_bits_get(snapshot->head[i].live, row);
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        uint32_t row;
        places +=
            ki_table_find(snapshot->sealed[i].sealed->table, key, &row) && ki_bits_get(snapshot->sealed[i].alive, row);
    }
    return places;
}

/* Positions of an index live where the rows do. */
static void check_positions(const ki_snapshot_sealed *in) {
    const uint64_t *keys = ki_table_keys(in->sealed->table);
    for (size_t spec = 0; spec < 2; spec++) {
        uint64_t set = 0;
        assert_int_equal(in->positions[spec] != NULL, in->sealed->index[spec] != NULL);
        for (uint32_t row = 0; in->positions[spec] && row < in->alive->rows; row++) {
            uint32_t position;
            if (!ki_sealed_position(in->sealed, spec, keys[row], &position)) continue;
            assert_int_equal(ki_bits_get(in->positions[spec], position), ki_bits_get(in->alive, row));
            set += (uint64_t)ki_bits_get(in->alive, row);
        }
        if (in->positions[spec]) assert_int_equal(in->positions[spec]->set, set);
    }
}

static void check_snapshot(const ki_snapshot *snapshot, const item *items) {
    uint64_t live = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        ki_place place;
        assert_int_equal(places_of(snapshot, key), items[key].lives);
        assert_int_equal(ki_snapshot_find(snapshot, key, &place), items[key].lives);
        if (!items[key].lives) continue;
        live++;
        assert_true((place.sealed == SIZE_MAX) != (place.head == SIZE_MAX));
        check_vectors(snapshot, &place, key, items[key].version);
    }
    assert_int_equal(snapshot->items, live);
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        check_positions(&snapshot->sealed[i]);
        if (i) assert_true(snapshot->sealed[i - 1].sealed->number < snapshot->sealed[i].sealed->number);
    }
    assert_true(snapshot->head_count >= 1);
    for (size_t i = 0; i < snapshot->head_count; i++) {
        assert_int_equal(snapshot->head[i].live->rows, snapshot->head[i].count);
        assert_true(snapshot->head[i].count <= HEAD_ROWS);
    }
}

static void check_current(struct subject *s) {
    ki_snapshot *snapshot = ki_snapshot_pin(&s->collection);
    assert_int_equal(snapshot->version, s->version);
    check_snapshot(snapshot, s->items);
    ki_snapshot_release(snapshot);
}

/* ---- What a writer does ------------------------------------------------------------------------------------------ */

static void publish(struct subject *s, ki_edit *edit) {
    ki_edit_publish(edit, ++s->version);
}

/* Some random writes, into `items` as well. */
static void write_some(struct subject *s, ki_edit *edit, item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t key = ki_rng_below(&s->rng, KEYS);
        int was = -1;
        ki_place place;
        assert_int_equal(ki_edit_find(edit, key, &place), items[key].lives);
        if (ki_rng_below(&s->rng, 4) == 0) {
            assert_int_equal(ki_edit_kill(edit, key, &was, NULL), KITH_OK);
            assert_int_equal(was, items[key].lives);
            items[key].lives = 0;
        } else {
            assert_int_equal(append(edit, key, s->version + 1, 0, &was), KITH_OK);
            assert_int_equal(was, items[key].lives);
            items[key] = (item){1, s->version + 1};
        }
        assert_int_equal(ki_edit_find(edit, key, &place), items[key].lives);
    }
}

static void write_and_publish(struct subject *s, size_t count) {
    ki_edit *edit = begin(s);
    write_some(s, edit, s->items, count);
    publish(s, edit);
}

static void write_in_vain(struct subject *s, size_t count) {
    item items[KEYS];
    memcpy(items, s->items, sizeof(items));
    ki_edit *edit = begin(s);
    write_some(s, edit, items, count);
    if (count % 2) assert_int_equal(ki_edit_freeze(edit, NULL), KITH_OK);
    ki_edit_abandon(edit);
}

/* ---- Sealing ----------------------------------------------------------------------------------------------------- */

/* A segment of the keys, which ascend, with the versions that they have. */
static ki_sealed *make_segment(struct subject *s, const uint64_t *keys, size_t count) {
    const ki_sealed_where where = {.folder = s->folder, .specs = s->spec, .spec_count = 2};
    ki_body body = {.rows = count, .specs = 2, .table.name = "table", .index = {{.name = "a"}, {.name = ""}}};
    data_set set[2] = {{KITH_F32, KITH_L2SQ, count, DIM, DIM * sizeof(float), NULL, NULL},
                       {KITH_B1, KITH_HAMMING, 0, BITS, BITS / 8, NULL, NULL}};
    const uint64_t number = s->segments++;
    ki_table_writer *writer = NULL;
    ki_sealed *sealed = NULL;
    kith_error error = {KITH_OK, ""};
    assert_int_equal(ki_sealed_make_folder(s->folder, number, NULL), KITH_OK);
    char *path = ki_sealed_file(s->folder, number, "table");
    if (ki_table_create(path, count, KITH_ID_U64, &no_fields, &writer, &error) != KITH_OK) fail_msg("%s", error.text);
    for (size_t b = 0; b < 2; b++) {
        set[b].bytes = malloc((count + 1) * set[b].row_bytes);
        set[b].ids = malloc((count + 1) * sizeof(uint64_t));
        assert_true(set[b].bytes && set[b].ids);
    }
    for (size_t i = 0; i < count; i++) {
        const uint16_t bits = (uint16_t)(keys[i] ^ s->items[keys[i]].version);
        const ki_values none = {0};
        if (ki_table_add(writer, keys[i], NULL, 0, &none, &error) != KITH_OK) fail_msg("%s", error.text);
        fill_vector(keys[i], s->items[keys[i]].version, (float *)(void *)set[0].bytes + i * DIM);
        set[0].ids[i] = keys[i];
        if (!has_bits(keys[i])) continue;
        memcpy(set[1].bytes + set[1].rows * sizeof(bits), &bits, sizeof(bits));
        set[1].ids[set[1].rows++] = keys[i];
    }
    if (ki_table_finish(writer, &body.table.bytes, &body.table.hash, &error) != KITH_OK) fail_msg("%s", error.text);
    free(path);
    for (size_t b = 0; b < 2; b++) {
        char *file = ki_sealed_file(s->folder, number, b ? "b" : "a");
        if (set[b].rows) data_build(&set[b], file, NULL);
        if (b && set[b].rows) strcpy(body.index[b].name, "b");
        free(file);
        data_free(&set[b]);
    }
    if (ki_sealed_open_made(&where, number, &body, &sealed, &error) != KITH_OK) fail_msg("%s", error.text);
    return sealed;
}

/* The live keys of the frozen heads of a snapshot, ascending. */
static size_t frozen_keys(const ki_snapshot *snapshot, uint64_t *keys) {
    size_t count = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        ki_place place;
        if (ki_snapshot_find(snapshot, key, &place) && place.head < snapshot->head_count - 1) keys[count++] = key;
    }
    return count;
}

static void seal(struct subject *s) {
    uint64_t keys[KEYS];
    ki_edit *edit = begin(s);
    assert_int_equal(ki_edit_freeze(edit, NULL), KITH_OK);
    publish(s, edit);
    ki_snapshot *snapshot = ki_snapshot_pin(&s->collection);
    const size_t count = frozen_keys(snapshot, keys);
    if (count) {
        ki_sealed *sealed = make_segment(s, keys, count);
        const uint64_t generation = snapshot->generation;
        edit = begin(s);
        assert_int_equal(ki_edit_add_sealed(edit, sealed, ki_bits_create(count, 1), NULL), KITH_OK);
        for (size_t i = 0; i + 1 < snapshot->head_count; i++)
            assert_int_equal(ki_edit_remove_head(edit, snapshot->head[i].head, NULL), KITH_OK);
        assert_true(ki_edit_state(edit)->generation > generation);
        assert_int_equal(ki_edit_state(edit)->head_count, 1);
        publish(s, edit);
        ki_sealed_release(sealed);
    }
    ki_snapshot_release(snapshot);
}

/* Take the first segment out: what lives there dies. */
static void drop(struct subject *s) {
    ki_edit *edit = begin(s);
    const ki_snapshot *state = ki_edit_state(edit);
    assert_int_equal(ki_edit_remove_sealed(edit, 999, NULL), KITH_E_ARG);
    if (state->sealed_count) {
        const ki_snapshot_sealed in = state->sealed[0];
        const uint64_t *keys = ki_table_keys(in.sealed->table);
        for (uint64_t row = 0; row < in.alive->rows; row++)
            if (ki_bits_get(in.alive, row)) s->items[keys[row]].lives = 0;
        assert_int_equal(ki_edit_remove_sealed(edit, in.sealed->number, NULL), KITH_OK);
    }
    publish(s, edit);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void test_states_against_a_list(void **state) {
    (void)state;
    static struct subject s;
    static item older_items[KEYS];
    start(&s, 1);
    publish(&s, begin(&s));
    check_current(&s);
    ki_snapshot *older = NULL;
    for (size_t round = 0; round < 60; round++) {
        if (round % 7 == 2) {
            if (older) check_snapshot(older, older_items);
            ki_snapshot_release(older);
            older = ki_snapshot_pin(&s.collection);
            memcpy(older_items, s.items, sizeof(older_items));
        }
        write_and_publish(&s, ki_rng_below(&s.rng, round % 5 == 0 ? 250 : 30));
        write_in_vain(&s, ki_rng_below(&s.rng, 200));
        if (round % 8 == 5) seal(&s);
        if (round % 30 == 29) drop(&s);
        if (round % 3 == 0) check_current(&s);
    }
    check_current(&s);
    check_snapshot(older, older_items);
    assert_true(s.collection.current->sealed_count > 2);
    ki_snapshot_release(older);
    finish(&s);
}

/* A segment of keys alone. */
static void add_keys(struct subject *s, ki_edit *edit, const uint64_t *keys, size_t count) {
    const ki_sealed_where where = {.folder = s->folder, .specs = s->spec, .spec_count = 2};
    const uint64_t number = s->segments++;
    ki_body body = {.rows = count, .specs = 2, .table.name = "table"};
    ki_table_writer *writer = NULL;
    ki_sealed *sealed = NULL;
    const ki_values none = {0};
    assert_int_equal(ki_sealed_make_folder(s->folder, number, NULL), KITH_OK);
    char *path = ki_sealed_file(s->folder, number, "table");
    assert_int_equal(ki_table_create(path, count, KITH_ID_U64, &no_fields, &writer, NULL), KITH_OK);
    free(path);
    for (size_t i = 0; i < count; i++) assert_int_equal(ki_table_add(writer, keys[i], NULL, 0, &none, NULL), KITH_OK);
    assert_int_equal(ki_table_finish(writer, &body.table.bytes, &body.table.hash, NULL), KITH_OK);
    assert_int_equal(ki_sealed_open_made(&where, number, &body, &sealed, NULL), KITH_OK);
    assert_int_equal(ki_edit_add_sealed(edit, sealed, ki_bits_create(count, 1), NULL), KITH_OK);
    ki_sealed_release(sealed);
}

static void check_lookup(const ki_edit *edit, const uint64_t *keys, size_t count, uint64_t key) {
    ki_place place;
    size_t row = 0;
    while (row < count && keys[row] != key) row++;
    assert_int_equal(ki_edit_find(edit, key, &place), row < count);
    if (row < count) assert_int_equal(place.row, row);
}

/* Keys that a guess of where they are gets wrong: all are found, and none that are not there. */
static void test_keys_of_any_spread(void **state) {
    enum { COUNT = 600 };
    (void)state;
    static struct subject s;
    uint64_t keys[COUNT];
    ki_rng rng = {8};
    start(&s, 7);
    for (unsigned spread = 0; spread < 6; spread++) {
        const size_t count = spread == 5 ? 1 : COUNT;
        uint64_t key = spread;
        for (size_t i = 0; i < count; i++) {
            if (spread == 0) key += 1;                                          /* running numbers */
            if (spread == 1) key += 1 + ki_rng_next(&rng) / (COUNT + 1);        /* hashes */
            if (spread == 2) key += i < COUNT / 2 ? 2 : UINT64_MAX / COUNT - 2; /* half and half */
            if (spread == 3) key += 1 + (UINT64_C(1) << (i / 10));              /* ever farther */
            if (spread == 4) key = i == COUNT - 1 ? UINT64_MAX - 1 : key + 3;   /* one far away */
            keys[i] = key;
        }
        ki_edit *edit = begin(&s);
        add_keys(&s, edit, keys, count);
        for (size_t i = 0; i < count; i++)
            for (uint64_t beside = 0; beside < 3; beside++) check_lookup(edit, keys, count, keys[i] + beside - 1);
        check_lookup(edit, keys, count, 0);
        check_lookup(edit, keys, count, UINT64_MAX);
        ki_edit_abandon(edit);
    }
    finish(&s);
}

static void test_what_cannot_be_taken_out(void **state) {
    (void)state;
    static struct subject s;
    start(&s, 2);
    ki_edit *edit = begin(&s);
    int replaced;
    assert_int_equal(append(edit, 1, 1, 0, &replaced), KITH_OK);
    const ki_head *growing = ki_edit_state(edit)->head[0].head;
    assert_int_equal(ki_edit_remove_head(edit, growing, NULL), KITH_E_ARG);
    assert_int_equal(ki_edit_freeze(edit, NULL), KITH_OK);
    assert_int_equal(ki_edit_state(edit)->head_count, 2);
    assert_int_equal(ki_edit_freeze(edit, NULL), KITH_OK); /* it is empty */
    assert_int_equal(ki_edit_state(edit)->head_count, 2);
    assert_int_equal(ki_edit_remove_head(edit, growing, NULL), KITH_OK);
    assert_int_equal(ki_edit_state(edit)->items, 0);
    ki_edit_abandon(edit);
    ki_edit_abandon(NULL);
    assert_null(s.collection.current);
    finish(&s);
}

static void test_schemas(void **state) {
    (void)state;
    static struct subject s;
    static const ki_schema first = {.count = 0}, second = {.count = 0};
    start(&s, 3);
    ki_edit *edit = begin(&s);
    int replaced;
    assert_int_equal(ki_edit_schema(edit, &first, NULL), KITH_OK);
    assert_int_equal(ki_edit_state(edit)->head_count, 1); /* an empty head is not kept */
    assert_ptr_equal(ki_head_schema(ki_edit_state(edit)->head[0].head), &first);
    assert_int_equal(append(edit, 1, 1, 0, &replaced), KITH_OK);
    publish(&s, edit);
    edit = begin(&s);
    assert_int_equal(ki_edit_schema(edit, &second, NULL), KITH_OK);
    assert_int_equal(append(edit, 2, 2, 0, &replaced), KITH_OK);
    const ki_snapshot *now = ki_edit_state(edit);
    assert_int_equal(now->head_count, 2);
    assert_ptr_equal(now->schema, &second);
    assert_ptr_equal(ki_head_schema(now->head[0].head), &first);
    assert_ptr_equal(ki_head_schema(now->head[1].head), &second);
    ki_edit_abandon(edit);
    assert_ptr_equal(s.collection.current->schema, &first);
    finish(&s);
}

static void test_next_expiry(void **state) {
    (void)state;
    static struct subject s;
    start(&s, 4);
    ki_edit *edit = begin(&s);
    int replaced;
    assert_int_equal(append(edit, 1, 1, 0, &replaced), KITH_OK);
    assert_int_equal(ki_edit_state(edit)->next_expiry_ms, 0);
    assert_int_equal(append(edit, 2, 1, 700, &replaced), KITH_OK);
    assert_int_equal(append(edit, 3, 1, 500, &replaced), KITH_OK);
    assert_int_equal(append(edit, 4, 1, 600, &replaced), KITH_OK);
    assert_int_equal(ki_edit_state(edit)->next_expiry_ms, 500);
    publish(&s, edit);
    assert_int_equal(s.collection.current->next_expiry_ms, 500);
    edit = begin(&s);
    ki_edit_set_next_expiry(edit, 0);
    assert_int_equal(append(edit, 5, 2, 900, &replaced), KITH_OK);
    assert_int_equal(ki_edit_state(edit)->next_expiry_ms, 900);
    publish(&s, edit);
    assert_int_equal(s.collection.current->next_expiry_ms, 900);
    finish(&s);
}

/* Who waits for a version is woken. */
static void *wait_for_it(void *context) {
    struct subject *s = context;
    pthread_mutex_lock(&s->collection.publishing);
    while (s->collection.current->version < 3) pthread_cond_wait(&s->collection.published, &s->collection.publishing);
    pthread_mutex_unlock(&s->collection.publishing);
    ki_snapshot *snapshot = ki_snapshot_pin(&s->collection);
    ki_place place;
    const uintptr_t right = snapshot->version >= 3 && ki_snapshot_find(snapshot, 7, &place);
    ki_snapshot_release(snapshot);
    return (void *)right;
}

static void test_publishing_wakes(void **state) {
    (void)state;
    static struct subject s;
    pthread_t waiter;
    void *right;
    int replaced;
    start(&s, 5);
    publish(&s, begin(&s));
    assert_int_equal(pthread_create(&waiter, NULL, wait_for_it, &s), 0);
    publish(&s, begin(&s));
    ki_edit *edit = begin(&s);
    assert_int_equal(append(edit, 7, 3, 0, &replaced), KITH_OK);
    publish(&s, edit);
    pthread_join(waiter, &right);
    assert_non_null(right);
    finish(&s);
}

/* ---- Refused memory ---------------------------------------------------------------------------------------------- */

/* One edit of all kinds, in which the allocation of a number is refused; whether it succeeded. */
static int edit_refused(struct subject *s, item *items, ki_sealed *sealed, long number) {
    ki_edit *edit = NULL;
    kith_error error = {KITH_OK, ""};
    ki_bits *alive = ki_bits_create(sealed->index[0]->view.rows, 1);
    kith_status status = KITH_OK;
    int was, added = 0;
    assert_non_null(alive);
    faulty_malloc_start(number, 0);
    status = ki_edit_begin(&s->collection, &edit, &error);
    for (uint64_t key = 0; key < KEYS && status == KITH_OK; key += 3) {
        status = key % 2 ? ki_edit_kill(edit, key, &was, &error) : append(edit, key, 77, 0, &was);
        if (status == KITH_OK) items[key] = key % 2 ? (item){0} : (item){1, 77};
    }
    if (status == KITH_OK) status = ki_edit_freeze(edit, &error);
    if (status == KITH_OK) {
        added = 1;
        status = ki_edit_add_sealed(edit, sealed, alive, &error);
    }
    faulty_malloc_stop();
    if (!added) ki_bits_release(alive);
    if (status != KITH_OK) {
        assert_int_equal(status, KITH_E_NOMEM);
        if (edit) check_snapshot(ki_edit_state(edit), items); /* what failed changed nothing of the edit */
        ki_edit_abandon(edit);
        return 0;
    }
    ki_edit_abandon(edit);
    return 1;
}

static void test_refused_memory(void **state) {
    (void)state;
    static struct subject s;
    static item items[KEYS];
    start(&s, 6);
    publish(&s, begin(&s));
    for (size_t i = 0; i < 4; i++) write_and_publish(&s, 60);
    seal(&s);
    for (size_t i = 0; i < 3; i++) write_and_publish(&s, 60);
    const uint64_t keys[] = {KEYS - 1};
    s.items[KEYS - 1] = (item){0, 5};
    ki_sealed *sealed = make_segment(&s, keys, 1);
    ki_edit *edit = begin(&s);
    int was;
    assert_int_equal(ki_edit_kill(edit, KEYS - 1, &was, NULL), KITH_OK);
    publish(&s, edit);
    long number = 0;
    for (int done = 0; !done; number++) {
        memcpy(items, s.items, sizeof(items));
        done = edit_refused(&s, items, sealed, number);
        check_current(&s);
    }
    assert_true(number > 20);
    ki_sealed_release(sealed);
    finish(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_against_a_list),
        cmocka_unit_test(test_keys_of_any_spread),
        cmocka_unit_test(test_what_cannot_be_taken_out),
        cmocka_unit_test(test_schemas),
        cmocka_unit_test(test_next_expiry),
        cmocka_unit_test(test_publishing_wakes),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
