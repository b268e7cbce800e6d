/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a collection, row by row: what is put in comes out, the newest row of a key is found by the writer and by
 * readers of any count, what is cut off leaves no trace, and a refused allocation leaves the head as it was. Searches
 * are property/test_head. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "head/head.h"
#include "support/faulty_malloc.h"

enum { DIM = 4, BITS = 16 };

static const kith_vector_spec specs[3] = {{"half", DIM, KITH_F16, KITH_COSINE},
                                          {"bits", BITS, KITH_B1, KITH_HAMMING},
                                          {NULL, DIM, KITH_DTYPE_NONE, KITH_METRIC_NONE}};

static ki_field fields[3] = {
    {"color", 5, KITH_FIELD_TAG, 1}, {"tags", 4, KITH_FIELD_TAGS, 2}, {"price", 5, KITH_FIELD_INT, 3}};
static const ki_schema schema = {.count = 3, .fields = fields};

static ki_head *make(size_t capacity) {
    ki_head *head = NULL;
    assert_int_equal(ki_head_create(specs, 3, &schema, capacity, &head, NULL), KITH_OK);
    return head;
}

/* ---- What a row holds -------------------------------------------------------------------------------------------- */

static void test_what_is_put_in_comes_out(void **state) {
    (void)state;
    ki_head *head = make(10);
    const uint16_t half[DIM] = {0x3c00, 0x4000, 0xbc00, 0x3800}; /* 1, 2, -1, 0.5 */
    const uint8_t bits[BITS / 8] = {0xa5, 0x01};
    const void *const vectors[3] = {half, bits, NULL};
    ki_value value[3] = {{.count = 1, .as.at = 0}, {.count = 2, .as.at = 1}, {.count = 1, .as.i = -7}};
    const char *string[3] = {"red", "new", "sale"};
    uint32_t string_bytes[3] = {3, 3, 4};
    const ki_values values = {3, value, 3, string, string_bytes, NULL};
    const ki_head_row row = {.key = 42,
                             .version = 7,
                             .expires_ms = 99,
                             .text = "the id",
                             .text_bytes = 6,
                             .payload = "{\"color\":\"red\"}",
                             .payload_bytes = 15,
                             .values = &values,
                             .vectors = vectors};
    const void *const none[3] = {NULL, NULL, NULL};
    const ki_head_row bare = {.key = 43, .version = 8, .vectors = none};
    assert_int_equal(ki_head_append(head, &row, NULL), KITH_OK);
    assert_int_equal(ki_head_append(head, &bare, NULL), KITH_OK);
    assert_int_equal(ki_head_count(head), 2);
    assert_ptr_equal(ki_head_schema(head), &schema);
    memset(value, 0, sizeof(value)); /* all was copied */
    string[0] = "blue";

    const ki_head_view view = ki_head_row_at(head, 0);
    assert_int_equal(view.key, 42);
    assert_int_equal(view.version, 7);
    assert_int_equal(view.expires_ms, 99);
    assert_int_equal(view.text_bytes, 6);
    assert_memory_equal(view.text, "the id", 6);
    assert_int_equal(view.payload_bytes, 15);
    assert_memory_equal(view.payload, "{\"color\":\"red\"}", 15);
    ki_values got;
    assert_int_equal(ki_head_values(head, 0, &got), 1);
    assert_int_equal(got.count, 3);
    assert_int_equal(got.strings, 3);
    assert_int_equal(got.value[1].count, 2);
    assert_int_equal(got.value[2].as.i, -7);
    assert_memory_equal(got.string[got.value[0].as.at], "red", 3);
    assert_memory_equal(got.string[got.value[1].as.at + 1], "sale", 4);
    assert_int_equal(got.string_bytes[2], 4);

    float floats[DIM];
    const float expected[DIM] = {1, 2, -1, 0.5f};
    assert_memory_equal(ki_head_vector(head, 0, 0), half, sizeof(half));
    assert_int_equal(ki_head_read_vector(head, 0, 0, floats), 1);
    assert_memory_equal(floats, expected, sizeof(expected));
    uint8_t read[BITS / 8];
    assert_int_equal(ki_head_read_vector(head, 1, 0, read), 1);
    assert_memory_equal(read, bits, sizeof(bits));
    assert_null(ki_head_vector(head, 2, 0));
    assert_int_equal(ki_head_read_vector(head, 2, 0, floats), 0);

    assert_int_equal(ki_head_key(head, 1), 43);
    assert_int_equal(ki_head_row_at(head, 1).payload_bytes, 0);
    assert_int_equal(ki_head_values(head, 1, &got), 1);
    assert_int_equal(got.count, 3);
    assert_int_equal(got.value[0].count, 0);
    assert_null(ki_head_vector(head, 0, 1));
    ki_head_release(head);
}

static void test_limits(void **state) {
    (void)state;
    ki_head *head = NULL;
    kith_error error;
    assert_int_equal(ki_head_create(specs, 3, NULL, 0, &head, &error), KITH_E_ARG);
    assert_int_equal(ki_head_create(specs, 3, NULL, (size_t)KI_HEAD_CAPACITY_MAX + 1, &head, &error), KITH_E_ARG);
    assert_null(head);
    head = make(2);
    const void *const none[3] = {NULL, NULL, NULL};
    const ki_head_row row = {.key = 1, .vectors = none};
    assert_int_equal(ki_head_append(head, &row, &error), KITH_OK);
    assert_int_equal(ki_head_append(head, &row, &error), KITH_OK);
    assert_int_equal(ki_head_append(head, &row, &error), KITH_E_LIMIT);
    assert_non_null(strstr(error.text, "full"));
    assert_int_equal(ki_head_count(head), 2);
    assert_int_equal(ki_head_capacity(head), 2);
    ki_head *same = ki_head_hold(head);
    ki_head_release(head);
    assert_int_equal(ki_head_key(same, 1), 1);
    ki_head_release(same);
    ki_head_release(NULL);
}

/* ---- Keys, against a list of them -------------------------------------------------------------------------------- */

enum { ROWS = 3000 };

static uint64_t listed[ROWS];

static void append_key(ki_head *head, uint64_t key) {
    char payload[200];
    const float vector[DIM] = {(float)key, 1, 2, 3};
    const void *const vectors[3] = {NULL, NULL, vector};
    const size_t bytes = key % sizeof(payload);
    memset(payload, (int)('a' + key % 26), bytes);
    const ki_head_row row = {.key = key, .payload = payload, .payload_bytes = bytes, .vectors = vectors};
    listed[ki_head_count(head)] = key;
    assert_int_equal(ki_head_append(head, &row, NULL), KITH_OK);
}

/* The newest of a key among the first rows of the list. */
static int newest(size_t count, uint64_t key, uint32_t *serial) {
    while (count-- > 0)
        if (listed[count] == key) {
            *serial = (uint32_t)count;
            return 1;
        }
    return 0;
}

static void check_key(const ki_head *head, size_t count, uint64_t key) {
    uint32_t expected = 0, found = 0;
    const int there = newest(count, key, &expected);
    assert_int_equal(ki_head_find(head, count, key, &found), there);
    if (there) assert_int_equal(found, expected);
    if (count < ki_head_count(head)) return;
    found = 0;
    assert_int_equal(ki_head_find_writer(head, key, &found), there);
    if (there) assert_int_equal(found, expected);
}

static void check_row(const ki_head *head, uint32_t serial) {
    const uint64_t key = listed[serial];
    const ki_head_view view = ki_head_row_at(head, serial);
    assert_int_equal(view.key, key);
    assert_int_equal(view.payload_bytes, key % 200);
    for (size_t i = 0; i < view.payload_bytes; i++) assert_int_equal(view.payload[i], 'a' + key % 26);
    assert_true(((const float *)ki_head_vector(head, 2, serial))[0] == (float)key);
}

static void test_keys_and_cuts(void **state) {
    (void)state;
    static const uint64_t keys_of[] = {3, 50, 100000};
    ki_rng rng = {1};
    for (size_t t = 0; t < 3; t++) {
        ki_head *head = make(ROWS);
        while (ki_head_count(head) < ROWS) {
            const size_t room = ROWS - ki_head_count(head), more = ki_rng_below(&rng, room < 400 ? room + 1 : 400);
            for (size_t i = 0; i < more; i++) append_key(head, ki_rng_below(&rng, keys_of[t]));
            const size_t count = ki_head_count(head);
            for (size_t i = 0; i < 50; i++) {
                check_key(head, count, ki_rng_below(&rng, keys_of[t]));
                check_key(head, ki_rng_below(&rng, count + 1), ki_rng_below(&rng, keys_of[t]));
                if (count) check_key(head, count, listed[ki_rng_below(&rng, count)]);
                if (count) check_row(head, (uint32_t)ki_rng_below(&rng, count));
            }
            if (count < ROWS) ki_head_cut(head, count - ki_rng_below(&rng, count < 150 ? count + 1 : 150));
        }
        ki_head_cut(head, 0);
        assert_int_equal(ki_head_count(head), 0);
        for (uint64_t key = 0; key < 100; key++) check_key(head, 0, key);
        append_key(head, 5);
        check_key(head, 1, 5);
        ki_head_release(head);
    }
}

static void test_memory_is_counted_and_given_back(void **state) {
    (void)state;
    ki_head *head = make(ROWS);
    const uint64_t empty = ki_head_memory_bytes(head);
    for (uint64_t key = 0; key < 1000; key++) append_key(head, key);
    const uint64_t full = ki_head_memory_bytes(head);
    assert_true(full > empty + 1000 * 100);
    ki_head_cut(head, 1);
    assert_true(ki_head_memory_bytes(head) < empty + (64 << 10) + 32768);
    static char large[300000];
    const void *const none[3] = {NULL, NULL, NULL};
    const ki_head_row row = {.key = 1, .payload = large, .payload_bytes = sizeof(large), .vectors = none};
    assert_int_equal(ki_head_append(head, &row, NULL), KITH_OK);
    assert_int_equal(ki_head_row_at(head, 1).payload_bytes, sizeof(large));
    assert_true(ki_head_memory_bytes(head) > empty + sizeof(large));
    ki_head_release(head);
}

/* ---- Readers beside the writer ----------------------------------------------------------------------------------- */

static _Atomic size_t published;
static ki_head *shared_head;

static void *look_up(void *context) {
    size_t count = 0;
    uintptr_t wrong = 0;
    ki_rng rng = {(uint64_t)(uintptr_t)context};
    while (count < ROWS) {
        count = atomic_load_explicit(&published, memory_order_acquire);
        if (!count) continue;
        uint32_t serial = 0;
        const uint64_t key = ki_head_key(shared_head, (uint32_t)ki_rng_below(&rng, count));
        wrong += !ki_head_find(shared_head, count, key, &serial) || serial >= count ||
                 ki_head_key(shared_head, serial) != key;
        wrong += ki_head_find(shared_head, count, key + 1000000, &serial) != 0;
    }
    return (void *)wrong;
}

static void test_readers_beside_the_writer(void **state) {
    (void)state;
    ki_rng rng = {5};
    pthread_t reader;
    void *wrong;
    shared_head = make(ROWS);
    assert_int_equal(pthread_create(&reader, NULL, look_up, &rng), 0);
    while (ki_head_count(shared_head) < ROWS) {
        const size_t room = ROWS - ki_head_count(shared_head);
        for (size_t i = 0; i < 5 && i < room; i++) append_key(shared_head, ki_rng_below(&rng, 2000));
        ki_head_cut(shared_head, atomic_load(&published));
        for (size_t i = 0; i < 7 && i < room; i++) append_key(shared_head, ki_rng_below(&rng, 1000));
        atomic_store_explicit(&published, ki_head_count(shared_head), memory_order_release);
    }
    pthread_join(reader, &wrong);
    assert_null(wrong);
    ki_head_release(shared_head);
}

/* ---- Refused memory ---------------------------------------------------------------------------------------------- */

static void test_refused_memory_when_made(void **state) {
    (void)state;
    kith_status status = KITH_E_NOMEM;
    long number = 0;
    for (; status != KITH_OK; number++) {
        ki_head *head = NULL;
        kith_error error = {0};
        faulty_malloc_start(number, 0);
        status = ki_head_create(specs, 3, &schema, 100, &head, &error);
        faulty_malloc_stop();
        if (status == KITH_OK) {
            ki_head_release(head);
            break;
        }
        assert_int_equal(status, KITH_E_NOMEM);
        assert_int_equal(atomic_load(&faulty_live), 0);
        assert_non_null(strstr(error.text, "out of memory"));
        assert_null(head);
    }
    assert_true(number >= 8);
}

static void test_refused_memory_when_appended(void **state) {
    (void)state;
    ki_head *head = make(ROWS);
    ki_rng rng = {3};
    size_t refused = 0;
    while (ki_head_count(head) < 1000) {
        const uint64_t key = ki_rng_below(&rng, 700);
        const size_t count = ki_head_count(head);
        static char large[70000];
        const void *const none[3] = {NULL, NULL, NULL};
        const ki_head_row row = {.key = key, .payload = large, .payload_bytes = count % 3 ? 0 : 70000, .vectors = none};
        faulty_malloc_start((long)ki_rng_below(&rng, 3), 0);
        const kith_status status = ki_head_append(head, &row, NULL);
        faulty_malloc_stop();
        if (status == KITH_OK) {
            listed[count] = key;
        } else {
            assert_int_equal(status, KITH_E_NOMEM);
            refused++;
        }
        assert_int_equal(ki_head_count(head), count + (status == KITH_OK));
        check_key(head, ki_head_count(head), key);
    }
    assert_true(refused > 100);
    ki_head_release(head);
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

static void check_bits(const ki_bits *bits, uint64_t rows, uint64_t (*value)(uint64_t row)) {
    uint64_t set = 0;
    assert_int_equal(bits->rows, rows);
    assert_true(bits->words >= rows / 64 + 2);
    for (uint64_t row = 0; row < 64 * bits->words; row++) {
        const uint64_t expected = row < rows ? value(row) : 0;
        assert_int_equal(ki_bits_get(bits, row), expected);
        set += expected;
    }
    assert_int_equal(bits->set, set);
}

static uint64_t zero(uint64_t row) {
    (void)row;
    return 0;
}
static uint64_t one(uint64_t row) {
    (void)row;
    return 1;
}
static uint64_t third(uint64_t row) {
    return row % 3 == 0;
}
static uint64_t third_or_new(uint64_t row) {
    return row >= 130 || row % 3 == 0;
}

static void test_bits(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0, 1, 63, 64, 65, 127, 128, 1000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        ki_bits *none = ki_bits_create(sizes[i], 0), *all = ki_bits_create(sizes[i], 1);
        check_bits(none, sizes[i], zero);
        check_bits(all, sizes[i], one);
        ki_bits *longer = ki_bits_longer(none, sizes[i] + 70);
        assert_int_equal(longer->set, 70);
        ki_bits_release(none);
        ki_bits_release(all);
        ki_bits_release(longer);
    }
    ki_bits *bits = ki_bits_create(130, 0);
    for (uint64_t row = 0; row < 130; row += 3) {
        ki_bits_put(bits, row);
        ki_bits_put(bits, row);
    }
    assert_int_equal(ki_bits_clear(bits, 1), 0);
    ki_bits *copy = ki_bits_copy(bits), *roomy = ki_bits_copy_with_room(bits, 1000);
    assert_int_equal(ki_bits_clear(bits, 3), 1);
    assert_int_equal(bits->set, copy->set - 1);
    check_bits(copy, 130, third);
    check_bits(roomy, 130, third);
    ki_bits *longer = ki_bits_longer(copy, 300);
    check_bits(longer, 300, third_or_new);
    assert_ptr_equal(ki_bits_hold(copy), copy);
    ki_bits_release(copy);
    check_bits(copy, 130, third);
    ki_bits_release(copy);
    ki_bits_release(bits);
    ki_bits_release(roomy);
    ki_bits_release(longer);
    ki_bits_release(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_in_comes_out),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_keys_and_cuts),
        cmocka_unit_test(test_memory_is_counted_and_given_back),
        cmocka_unit_test(test_readers_beside_the_writer),
        cmocka_unit_test(test_refused_memory_when_made),
        cmocka_unit_test(test_refused_memory_when_appended),
        cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
