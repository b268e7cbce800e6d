/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed segments by themselves: the bytes that the catalog keeps of them, opening what those name, positions,
 * scratches, and when files go.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faulty_malloc.h"
#include "support/sealing.h"

#include <roaring/roaring.h>

/* ---- Bodies ------------------------------------------------------------------------------------------------------ */

static ki_body some_body(uint64_t rows, size_t count) {
    ki_body body = {.rows = rows, .version = 77, .specs = count, .table = {4096, 12345, "table.0.kith"}};
    for (size_t s = 0; s < count; s++)
        if (s % 3 != 1) {
            body.index[s] = (ki_body_file){1000 + s, s * s + 1, ""};
            snprintf(body.index[s].name, KI_BODY_NAME_BYTES, "vectors.%zu.kith", s);
        }
    return body;
}

/* Rows that die: one of `of`, in a part of the rows. */
static ki_bits *some_alive(uint64_t rows, uint64_t of, ki_rng *rng) {
    ki_bits *alive = ki_bits_create(rows, 1);
    assert_non_null(alive);
    const uint64_t from = ki_rng_below(rng, rows), to = from + 1 + ki_rng_below(rng, rows - from);
    for (uint64_t row = from; row < to; row++)
        if (!of || ki_rng_below(rng, of) == 0) ki_bits_clear(alive, row);
    return alive;
}

static void check_same(const ki_body *a, const ki_body *b) {
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->specs, b->specs);
    assert_memory_equal(&a->table, &b->table, sizeof(a->table));
    assert_memory_equal(a->index, b->index, a->specs * sizeof(a->index[0]));
}

static kith_status decode(const void *bytes, size_t count, ki_body *body, ki_bits **alive) {
    const kith_status status = ki_body_files(bytes, count, 9, body, &error);
    if (status != KITH_OK || body->rows > 1 << 22) return status == KITH_OK ? KITH_E_LIMIT : status;
    return ki_body_decode(bytes, count, 9, body, alive, &error);
}

/* What another library reads in the dead rows. */
static void check_roaring(const unsigned char *bytes, size_t count, const ki_bits *alive) {
    roaring_bitmap_t *dead = roaring_bitmap_portable_deserialize_safe((const char *)bytes, count);
    assert_non_null(dead);
    assert_int_equal(roaring_bitmap_portable_size_in_bytes(dead), count);
    assert_int_equal(roaring_bitmap_get_cardinality(dead), alive->rows - alive->set);
    for (uint64_t row = 0; row < alive->rows; row++)
        if (roaring_bitmap_contains(dead, (uint32_t)row) != !ki_bits_get(alive, row)) fail_msg("row %d", (int)row);
    roaring_bitmap_free(dead);
}

static void round_trip(uint64_t rows, size_t count, uint64_t of, ki_rng *rng) {
    const ki_body body = some_body(rows, count);
    ki_body read = {0};
    ki_bits *alive = of == UINT64_MAX ? ki_bits_create(rows, 1) : some_alive(rows, of, rng), *again = NULL;
    void *bytes = NULL;
    size_t size = 0;
    OK(ki_body_encode(&body, alive, &bytes, &size, &error));
    OK(decode(bytes, size, &read, &again));
    check_same(&body, &read);
    assert_int_equal(again->set, alive->set);
    assert_memory_equal(again->word, alive->word, (rows / 64 + 1) * sizeof(uint64_t));
    const size_t files = 32 + 64 * (1 + count);
    check_roaring((const unsigned char *)bytes + files, size - files, alive);
    ki_bits_release(alive);
    ki_bits_release(again);
    free(bytes);
}

static void test_bodies(void **state) {
    (void)state;
    ki_rng rng = {1};
    static const uint64_t rows[] = {1, 63, 64, 65, 1000, 65535, 65536, 65537, 131072, 200001};
    static const uint64_t of[] = {UINT64_MAX, 0, 2, 15, 16, 17, 1000};
    for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++)
        for (size_t o = 0; o < sizeof(of) / sizeof(*of); o++) round_trip(rows[r], (r + o) % 5, of[o], &rng);
    round_trip(100, KITH_VECTORS_MAX, 3, &rng);
}

/* Each byte changed, each length: refused, or read as something else that is in its bounds. */
static void test_damaged_bodies(void **state) {
    (void)state;
    ki_rng rng = {2};
    const ki_body body = some_body(70000, 2);
    ki_bits *alive = ki_bits_create(70000, 1), *again = NULL;
    for (uint64_t row = 0; row < 6000; row++) ki_bits_clear(alive, row);
    for (uint64_t row = 65536; row < 70000; row += 100) ki_bits_clear(alive, row);
    unsigned char *bytes = NULL;
    size_t size = 0, refused = 0;
    void *data = NULL;
    ki_body read;
    OK(ki_body_encode(&body, alive, &data, &size, &error));
    bytes = data;
    for (size_t length = 0; length < size; length++) {
        unsigned char *cut = malloc(length + 1); /* its very end, for the sanitizer */
        memcpy(cut, bytes, length);
        assert_int_equal(decode(cut, length, &read, &again), KITH_E_CORRUPT);
        assert_non_null(strstr(error.text, "segment 9"));
        free(cut);
        length += length > 300 ? 37 : 0;
    }
    for (int round = 0; round < 20000; round++) {
        const size_t at = ki_rng_below(&rng, round % 2 ? 260 : size);
        const unsigned char before = bytes[at];
        bytes[at] ^= (unsigned char)(1 + ki_rng_below(&rng, 255));
        const kith_status status = decode(bytes, size, &read, &again);
        bytes[at] = before;
        if (status != KITH_OK) {
            assert_true(status == KITH_E_CORRUPT || (status == KITH_E_VERSION && at >= 4 && at < 8) ||
                        (status == KITH_E_LIMIT && at >= 8 && at < 16));
            refused++;
            continue;
        }
        assert_true(read.rows <= KITH_ROWS_MAX && read.specs <= KITH_VECTORS_MAX && again->rows == read.rows);
        for (size_t i = 0; i < KI_BODY_NAME_BYTES; i++) assert_true(read.table.name[i] != '/');
        ki_bits_release(again);
    }
    assert_true(refused > 5000);
    free(bytes);
    ki_bits_release(alive);
}

/* Names that lead elsewhere. */
static void test_names(void **state) {
    (void)state;
    static const char *const bad[] = {"../x", "a/b", ".", "..", ".hidden", "UP", "a b", "", "a\\b", "\x80"};
    ki_bits *alive = ki_bits_create(10, 1), *again = NULL;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ki_body body = some_body(10, 1), read;
        void *bytes = NULL;
        size_t size;
        memset(body.table.name, 0, KI_BODY_NAME_BYTES);
        strcpy(body.table.name, bad[i]);
        OK(ki_body_encode(&body, alive, &bytes, &size, &error));
        assert_int_equal(decode(bytes, size, &read, &again), KITH_E_CORRUPT);
        free(bytes);
    }
    ki_bits_release(alive);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

struct opened {
    kith_collection *collection;
    ki_snapshot *snapshot;
    ki_sealed_where where;
    void *body;
    size_t bytes;
};

/* A collection with one segment, and the body of that. */
static struct opened one_segment(const char *name, int texts) {
    ki_rng rng = {3};
    struct opened o = {.collection = make_it(name, texts)};
    write_some(o.collection, &rng, 300);
    OK(ki_seal(o.collection, KI_SEAL_ALL, NULL, NULL, &error));
    write_some(o.collection, &rng, 100);
    o.snapshot = ki_snapshot_pin(o.collection);
    o.where = (ki_sealed_where){o.collection->segments_path, o.collection->generations[0]->spec, SPECS, 0, 0};
    OK(ki_sealed_encode(o.snapshot->sealed[0].sealed, o.snapshot->sealed[0].alive, 5, &o.body, &o.bytes, &error));
    return o;
}

static void end(struct opened *o) {
    free(o->body);
    ki_snapshot_release(o->snapshot);
    kith_collection_close(o->collection);
}

static void test_open(void **state) {
    (void)state;
    struct opened o = one_segment("open", 0);
    const ki_sealed *first = o.snapshot->sealed[0].sealed;
    ki_sealed *sealed = NULL;
    ki_bits *alive = NULL;
    OK(ki_sealed_open(&o.where, first->number, o.body, o.bytes, &sealed, &alive, &error));
    assert_int_equal(alive->set, o.snapshot->sealed[0].alive->set);
    assert_true(alive->set < alive->rows);
    assert_int_equal(sealed->saved_dead, alive->rows - alive->set);
    assert_int_equal(sealed->disk_bytes, first->disk_bytes);
    assert_string_equal(sealed->table_name, "table.0.kith");
    OK(ki_sealed_check(sealed, NULL, NULL, NULL, &error));
    ki_sealed_hold(sealed);
    ki_sealed_release(sealed);
    ki_sealed_release(sealed);
    assert_int_equal(entries(first->folder), 4); /* it was not retired */
    ki_bits_release(alive);
    ki_sealed_release(NULL);
    end(&o);
}

static void refused(struct opened *o, const char *what) {
    ki_sealed *sealed = NULL;
    ki_bits *alive = NULL;
    const kith_status status =
        ki_sealed_open(&o->where, o->snapshot->sealed[0].sealed->number, o->body, o->bytes, &sealed, &alive, &error);
    if (status != KITH_E_CORRUPT || error.status != KITH_E_CORRUPT || !strstr(error.text, what))
        fail_msg("status %d, \"%s\" lacks \"%s\"", (int)status, error.text, what);
}

static void test_other_files(void **state) {
    (void)state;
    struct opened o = one_segment("other", 0);
    const ki_sealed *first = o.snapshot->sealed[0].sealed;
    unsigned char *body = o.body;
    char path[500], aside[500];

    body[32 + 8] ^= 1; /* hash of the table */
    refused(&o, "table.0.kith");
    body[32 + 8] ^= 1;
    body[32] ^= 1; /* its size */
    refused(&o, "bytes");
    body[32] ^= 1;
    body[32 + 64 + 8] ^= 1; /* hash of the first index */
    refused(&o, "vectors.0.kith");
    body[32 + 64 + 8] ^= 1;

    snprintf(path, sizeof(path), "%s/vectors.2.kith", first->folder);
    snprintf(aside, sizeof(aside), "%s/aside", first->folder);
    assert_int_equal(rename(path, aside), 0);
    refused(&o, "vectors.2.kith");
    assert_int_equal(rename(aside, path), 0);

    kith_vector_spec other[SPECS];
    memcpy(other, o.where.specs, sizeof(other));
    other[0].dim = 9;
    o.where.specs = other;
    refused(&o, "9 x f32");
    o.where.spec_count = 2;
    refused(&o, "3 named vectors");
    end(&o);
}

static void test_open_memory(void **state) {
    (void)state;
    struct opened o = one_segment("refused", 1);
    long number = 0;
    for (;; number++) {
        ki_sealed *sealed = NULL;
        ki_bits *alive = NULL;
        faulty_malloc_start(number, 0);
        const kith_status status =
            ki_sealed_open(&o.where, o.snapshot->sealed[0].sealed->number, o.body, o.bytes, &sealed, &alive, &error);
        const long asked = faulty_malloc_stop();
        ki_bits_release(alive);
        ki_sealed_release(sealed);
        if (status == KITH_OK && asked <= number) break;
        if (status != KITH_OK) assert_int_equal(status, KITH_E_NOMEM);
    }
    assert_true(number > 10);
    end(&o);
}

/* ---- Scratches --------------------------------------------------------------------------------------------------- */

static void test_scratches(void **state) {
    (void)state;
    struct opened o = one_segment("scratches", 0);
    ki_sealed *sealed = o.snapshot->sealed[0].sealed;
    kith_scratch *a = NULL, *b = NULL, *c = NULL, *many[100];
    kith_pool *pool = NULL;
    OK(kith_pool_create(2, &pool, &error));
    OK(ki_sealed_take(sealed, 0, NULL, &a, &error));
    OK(ki_sealed_take(sealed, 0, NULL, &b, &error));
    assert_ptr_not_equal(a, b);
    ki_sealed_give(sealed, 0, NULL, a);
    OK(ki_sealed_take(sealed, 1, NULL, &c, &error)); /* of another index */
    assert_ptr_not_equal(a, c);
    ki_sealed_give(sealed, 1, NULL, c);
    OK(ki_sealed_take(sealed, 0, pool, &c, &error)); /* with another pool */
    assert_ptr_not_equal(a, c);
    ki_sealed_give(sealed, 0, pool, c);
    OK(ki_sealed_take(sealed, 0, NULL, &c, &error));
    assert_ptr_equal(a, c);
    ki_sealed_give(sealed, 0, NULL, b);
    ki_sealed_give(sealed, 0, NULL, c);
    for (int i = 0; i < 100; i++) OK(ki_sealed_take(sealed, 2, NULL, &many[i], &error));
    for (int i = 0; i < 100; i++) ki_sealed_give(sealed, 2, NULL, many[i]);
    assert_true(sealed->free_count < 100); /* not all are kept */
    end(&o);
    kith_pool_destroy(pool);
}

/* ---- Folders ----------------------------------------------------------------------------------------------------- */

static void touch(const char *folder, const char *name) {
    char path[500];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void test_folders(void **state) {
    (void)state;
    struct opened o = one_segment("folders", 0);
    const ki_sealed *first = o.snapshot->sealed[0].sealed;
    touch(first->folder, "table.9.kith");
    touch(first->folder, ".kith-1.tmp");
    assert_int_equal(entries(first->folder), 6);
    ki_sealed_sweep(first);
    assert_int_equal(entries(first->folder), 4);
    check_all(o.collection);

    char *folder = ki_sealed_folder(o.where.folder, 4000000000);
    assert_non_null(strstr(folder, "/4000000000"));
    OK(ki_sealed_make_folder(o.where.folder, 4000000000, &error));
    touch(folder, "left");
    OK(ki_sealed_make_folder(o.where.folder, 4000000000, &error)); /* an earlier attempt's */
    assert_int_equal(entries(folder), 0);
    touch(folder, "left");
    ki_sealed_remove_folder(o.where.folder, 4000000000);
    assert_int_equal(entries(o.where.folder), 1);
    free(folder);
    end(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),    cmocka_unit_test(test_damaged_bodies), cmocka_unit_test(test_names),
        cmocka_unit_test(test_open),      cmocka_unit_test(test_other_files),    cmocka_unit_test(test_open_memory),
        cmocka_unit_test(test_scratches), cmocka_unit_test(test_folders),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
