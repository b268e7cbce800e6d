/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes: modes, conditions, what is refused and how that is said, several threads at once.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/shop.h"

#include "write/commit.h"

#include <math.h>
#include <pthread.h>

static kith_collection *memory_of(kith_id_kind kind) {
    const kith_collection_options made = options_of(kind);
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.no_background = 1, options.threads = 1;
    must(kith_collection_open_memory(&made, &options, &collection, &error));
    return collection;
}

/* Several items at once, and what of them is wanted back. */
struct several {
    kith_items items;
    kith_item_vectors vectors[2];
    float rows[4][DIM], small[4][2];
    uint8_t present[4], small_present[4];
    uint64_t ids[4], payload_ends[4], expires[4], if_version[4];
};

static void begin(struct several *s, size_t count) {
    memset(s, 0, sizeof(*s));
    s->items = (kith_items)KITH_ITEMS_INIT;
    for (size_t i = 0; i < count; i++) {
        s->ids[i] = 10 + i;
        s->present[i] = s->small_present[i] = 1;
        for (size_t d = 0; d < DIM; d++) s->rows[i][d] = (float)(10 * i + d);
        s->small[i][0] = 1, s->small[i][1] = (float)i;
        s->if_version[i] = KITH_VERSION_ANY;
    }
    s->vectors[0] =
        (kith_item_vectors){.name = NULL, .data = s->rows, .dtype = KITH_F32, .dim = DIM, .present = s->present};
    s->vectors[1] = (kith_item_vectors){
        .name = "small", .data = s->small, .dtype = KITH_F32, .dim = 2, .present = s->small_present};
    s->items.ids = (kith_ids){.count = count, .ids = s->ids};
    s->items.vectors = s->vectors;
    s->items.vector_count = 2;
}

static kith_status write_all(kith_collection *collection, struct several *s, kith_write_mode mode,
                             kith_write_report *report) {
    return kith_collection_write(collection, &s->items, mode, report, &error);
}

/* ---- Modes ------------------------------------------------------------------------------------------------------- */

static void test_insert_and_upsert(void **state) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    struct several s;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    begin(&s, 3);
    must(write_all(collection, &s, KITH_INSERT, &report));
    assert_int_equal(report.inserted, 3);
    refused(write_all(collection, &s, KITH_INSERT, &report), KITH_E_DATA, "item 0 (id 10): is there already");
    s.ids[0] = 20, s.ids[1] = 21; /* the third is there: all or none */
    refused(write_all(collection, &s, KITH_INSERT, &report), KITH_E_DATA, "item 2 (id 12)");
    assert_int_equal(count_of(collection), 3);
    s.ids[2] = 21; /* twice: the last one stays */
    must(write_all(collection, &s, KITH_UPSERT, &report));
    assert_int_equal(report.version, 2);
    assert_int_equal(report.inserted, 2);
    assert_int_equal(count_of(collection), 5);
    kith_result *result = NULL;
    const uint8_t *present;
    must(kith_result_create(&result, &error));
    must(kith_collection_get(collection, &(kith_ids){.count = 1, .ids = &s.ids[1]}, KITH_WITH_VECTORS, result, &error));
    assert_memory_equal(kith_result_vectors(result, "", &present), s.rows[2], sizeof(s.rows[2]));
    kith_result_destroy(result);
    kith_collection_close(collection);
}

static void test_update_keeps_what_is_not_given(void **state) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    const char first[] = "{\"price\":1.50,\"n\":12345678901234567890}";
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    refused(put(collection, 5, 1, NULL, KITH_UPDATE, NULL), KITH_E_NOTFOUND, "item 0 (id 5): is not there");
    must(put(collection, 5, 0.1f, first, KITH_UPSERT, NULL));
    for (int compacted = 0; compacted < 2; compacted++) { /* from the head, then from a segment */
        must(put(collection, 5, 0.3f, NULL, KITH_UPDATE, &report));
        assert_int_equal(report.replaced, 1);
        expect(collection, 5, 0.3f, first, report.version);
        const uint64_t id = 5, end = 13;
        kith_items items = KITH_ITEMS_INIT; /* payload alone: the vector keeps its bits */
        items.ids = (kith_ids){.count = 1, .ids = &id};
        items.payload_bytes = "{\"price\":2.5}", items.payload_ends = &end;
        must(kith_collection_write(collection, &items, KITH_UPDATE, &report, &error));
        expect(collection, 5, 0.3f, "{\"price\":2.5}", report.version);
        must(put(collection, 5, 0.1f, first, KITH_UPDATE, NULL));
        must(kith_collection_compact(collection, NULL, NULL, &error));
    }
    kith_collection_close(collection);
}

static void test_merge(void **state) {
    (void)state;
    static const struct {
        const char *old, *patch, *merged;
    } cases[] = {
        {"{\"a\":1,\"b\":2}", "{\"a\":3}", "{\"a\":3,\"b\":2}"},
        {"{\"a\":1,\"b\":2}", "{\"a\":null,\"c\":[1, 2]}", "{\"b\":2,\"c\":[1, 2]}"},
        {"{\"a\":{\"x\":1.10,\"y\":2}}", "{\"a\":{\"y\":null,\"z\":{\"n\":null,\"m\":0}}}",
         "{\"a\":{\"x\":1.10,\"z\":{\"m\":0}}}"},
        {"{\"a\":\"text\"}", "{\"a\":{\"b\":{}}}", "{\"a\":{\"b\":{}}}"},
        {"{\"a\":{}}", "{\"a\":\"}\\\"{\"}", "{\"a\":\"}\\\"{\"}"},
        {"{ \"\\u0061\" : 1 , \"b\" : [ {} , \"]\" ] }", "{\"a\":2}", "{\"\\u0061\":2,\"b\":[ {} , \"]\" ]}"},
        {"", "{\"a\":1}", "{\"a\":1}"},
        {"{}", "{}", "{}"},
        {"{\"a\":1}", "", "{\"a\":1}"},
    };
    kith_collection *collection = memory_of(KITH_ID_U64);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        kith_write_report report = KITH_WRITE_REPORT_INIT;
        must(put(collection, i, 7, cases[i].old, KITH_UPSERT, NULL));
        must(put(collection, i, 8, cases[i].patch, KITH_MERGE, &report));
        expect(collection, i, 8, cases[i].merged, report.version);
    }
    must(put(collection, 50, 1, "{\"price\":1}", KITH_UPSERT, NULL));
    refused(put(collection, 50, 1, "{\"price\":\"much\"}", KITH_MERGE, NULL), KITH_E_DATA, "item 0 (id 50): ");
    refused(put(collection, 51, 1, "{}", KITH_MERGE, NULL), KITH_E_NOTFOUND, "is not there");
    kith_collection_close(collection);
}

static void test_conditions(void **state) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    struct several s;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    begin(&s, 3);
    must(write_all(collection, &s, KITH_UPSERT, &report)); /* version 1 */
    s.items.if_version = s.if_version;
    s.if_version[0] = 0, s.if_version[1] = 1, s.if_version[2] = 2;
    must(write_all(collection, &s, KITH_UPSERT, &report));
    assert_int_equal(report.version, 2);
    assert_int_equal(report.replaced, 1);
    assert_int_equal(report.unmet, 2);
    must(write_all(collection, &s, KITH_UPSERT, &report)); /* nothing is met: nothing is written */
    assert_int_equal(report.version, 2);
    assert_int_equal(report.unmet, 3);
    s.ids[0] = 70; /* not there: version 0 */
    must(write_all(collection, &s, KITH_INSERT, &report));
    assert_int_equal(report.inserted, 1);
    s.if_version[0] = 3, s.if_version[1] = 1, s.if_version[2] = KITH_VERSION_ANY;
    must(kith_collection_delete(collection, &s.items.ids, s.if_version, &report, &error));
    assert_int_equal(report.removed, 2);
    assert_int_equal(report.unmet, 1);
    assert_int_equal(report.version, 4);
    must(kith_collection_delete(collection, &s.items.ids, NULL, &report, &error));
    assert_int_equal(report.removed, 1);
    must(kith_collection_delete(collection, &s.items.ids, NULL, &report, &error));
    assert_int_equal(report.removed, 0);
    assert_int_equal(report.version, 5);
    kith_collection_close(collection);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void test_vectors_are_checked(void **state) {
    struct several s;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    begin(&s, 3);
    s.rows[1][2] = NAN;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_DATA,
            "item 1 (id 11): vector \"\" holds a NaN or an infinity");
    begin(&s, 3);
    s.small[2][0] = s.small[2][1] = 0;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_DATA,
            "item 2 (id 12): vector \"small\" is a zero vector");
    begin(&s, 3);
    s.small[0][0] = 70000; /* beyond f16 */
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_DATA, "too large for f16");
    begin(&s, 3);
    s.rows[0][0] = 3e38f;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_DATA, "longer than 2^62");
    begin(&s, 3);
    s.present[1] = 0, s.rows[1][0] = NAN; /* it lacks it: nobody looks */
    must(write_all(collection, &s, KITH_UPSERT, NULL));
    begin(&s, 3);
    s.vectors[1].name = "large";
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_NOTFOUND, "there is \"\", \"small\"");
    s.vectors[1].name = "";
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "given twice");
    begin(&s, 3);
    s.vectors[0].dim = 3;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "has 4 elements, and 3 were given");
    s.vectors[0].dim = 8, s.vectors[0].dtype = KITH_B1;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "of numbers");
    begin(&s, 3);
    s.vectors[0].stride_bytes = 15;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "stride_bytes is 15");
    begin(&s, 3);
    s.vectors[0].data = NULL;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "data is NULL");
    assert_int_equal(count_of(collection), 3);
    kith_collection_close(collection);
}

static void test_ids_and_payloads_are_checked(void **state) {
    struct several s;
    const char good[] = "{\"price\":1}";
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    begin(&s, 2);
    s.ids[1] = KITH_ID_NONE;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_DATA, "item 1: 2^64-1 is reserved");
    begin(&s, 2);
    refused(write_all(collection, &s, (kith_write_mode)4, NULL), KITH_E_ARG, "mode is 4");
    s.items.ids.id_bytes = "ab";
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "the collection's ids are numbers");
    begin(&s, 2);
    s.items.ids.ids = NULL;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "ids.ids is NULL");
    begin(&s, 2);
    s.items.ids.count = KITH_ITEMS_MAX + 1;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_LIMIT, "at most 1048576");
    static const struct {
        const char *payload, *part;
    } wrong[] = {{"[1]", ""}, {"{\"price\":\"red\"}", "price"}, {"{\"a\":", ""}, {"{} x", ""}, {"7", ""}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        refused(put(collection, 3, 1, wrong[i].payload, KITH_UPSERT, NULL), KITH_E_DATA, "item 0 (id 3): ");
        const kith_status status = put(collection, 3, 1, wrong[i].payload, KITH_UPSERT, NULL);
        refused(status, KITH_E_DATA, wrong[i].part);
    }
    begin(&s, 2);
    s.items.payload_bytes = good;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "payload_ends");
    s.items.payload_ends = s.payload_ends;
    s.payload_ends[0] = 11, s.payload_ends[1] = 10;
    refused(write_all(collection, &s, KITH_UPSERT, NULL), KITH_E_ARG, "item 1 ends before it begins");
    s.payload_ends[1] = 11; /* the second has none */
    memset(s.rows[0], 0, sizeof(s.rows[0]));
    must(write_all(collection, &s, KITH_UPSERT, NULL));
    expect(collection, 10, 0, good, 1);
    kith_collection_close(collection);
}

static void test_stored_types(void **state) {
    static const kith_vector_spec specs[] = {{.name = "i8", .dim = 2, .dtype = KITH_I8},
                                             {.name = "u8", .dim = 2, .dtype = KITH_U8},
                                             {.name = "bf16", .dim = 2, .dtype = KITH_BF16},
                                             {.name = "b1", .dim = 16, .dtype = KITH_B1}};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    const float good[2] = {-128, 127}, small[2] = {0, 255}, wrong[2] = {1, 0.5f}, pi[2] = {3.14159265f, -0.0f};
    const unsigned char bits[2] = {0xA5, 1};
    uint64_t id = 1;
    (void)state;
    made.vectors = specs, made.vector_count = 4;
    options.no_background = 1, options.threads = 1;
    must(kith_collection_open_memory(&made, &options, &collection, &error));
    kith_item_vectors vectors[4] = {{.name = "i8", .data = good, .dtype = KITH_F32, .dim = 2},
                                    {.name = "u8", .data = small, .dtype = KITH_F32, .dim = 2},
                                    {.name = "bf16", .data = pi, .dtype = KITH_F32, .dim = 2},
                                    {.name = "b1", .data = bits, .dtype = KITH_B1, .dim = 16}};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.vectors = vectors, items.vector_count = 4;
    must(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error));
    vectors[0].data = wrong;
    refused(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error), KITH_E_DATA,
            "element 1 of vector \"i8\" is 0.5, which i8 cannot hold");
    vectors[0].data = small;
    refused(kith_collection_write(collection, &items, KITH_UPSERT, NULL, &error), KITH_E_DATA, "is 255, which i8");
    kith_result *result = NULL;
    const uint8_t *present;
    must(kith_result_create(&result, &error));
    for (int round = 0; round < 3; round++) { /* as written; after an update of nothing; from a segment */
        if (round == 1) {
            items.vector_count = 0;
            must(kith_collection_write(collection, &items, KITH_UPDATE, NULL, &error));
        }
        if (round == 2) must(kith_collection_compact(collection, NULL, NULL, &error));
        must(kith_collection_get(collection, &items.ids, KITH_WITH_VECTORS, result, &error));
        assert_memory_equal(kith_result_vectors(result, "i8", &present), good, sizeof(good));
        assert_memory_equal(kith_result_vectors(result, "u8", &present), small, sizeof(small));
        assert_memory_equal(kith_result_vectors(result, "b1", &present), bits, sizeof(bits));
        const float *rounded = kith_result_vectors(result, "bf16", &present);
        assert_true(rounded[0] == 3.140625f && rounded[1] == 0 && signbit(rounded[1]));
    }
    kith_result_destroy(result);
    kith_collection_close(collection);
}

/* ---- String ids -------------------------------------------------------------------------------------------------- */

static kith_status put_text(kith_collection *collection, const char *text, kith_write_mode mode) {
    const float row[DIM] = {1, 2, 3, 4};
    const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
    const uint64_t end = strlen(text);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .id_bytes = text, .id_ends = &end};
    items.vectors = &vectors, items.vector_count = 1;
    return kith_collection_write(collection, &items, mode, NULL, &error);
}

static uint64_t number_of(kith_collection *collection, const char *text) {
    const uint64_t end = strlen(text);
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    must(kith_result_create(&result, &error));
    must(
        kith_collection_get(collection, &(kith_ids){.count = 1, .id_bytes = text, .id_ends = &end}, 0, result, &error));
    must(kith_result_hits(result, &hits));
    const uint64_t number = hits.count ? hits.ids[0] : KITH_ID_NONE;
    if (hits.count) assert_memory_equal(hits.id_bytes, text, strlen(text));
    kith_result_destroy(result);
    return number;
}

static void test_string_ids(void **state) {
    char longest[KITH_STRING_MAX + 2];
    const uint64_t end = 1;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_STRING);
    must(put_text(collection, "b", KITH_UPSERT));
    must(put_text(collection, "a", KITH_UPSERT));
    assert_int_equal(number_of(collection, "b"), 0);
    assert_int_equal(number_of(collection, "a"), 1);
    must(put_text(collection, "b", KITH_UPSERT));
    assert_int_equal(number_of(collection, "b"), 0); /* it keeps its number */
    refused(put_text(collection, "b", KITH_INSERT), KITH_E_DATA, "item 0 (id \"b\"): is there already");
    must(kith_collection_delete(collection, &(kith_ids){.count = 1, .id_bytes = "b", .id_ends = &end}, NULL, NULL,
                                &error));
    assert_int_equal(number_of(collection, "b"), KITH_ID_NONE);
    must(put_text(collection, "b", KITH_INSERT));
    assert_int_equal(number_of(collection, "b"), 2); /* and loses it when it goes */
    refused(put_text(collection, "", KITH_UPSERT), KITH_E_DATA, "its id is empty");
    refused(put_text(collection, "\xc3", KITH_UPSERT), KITH_E_DATA, "no UTF-8");
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    refused(put_text(collection, longest, KITH_UPSERT), KITH_E_LIMIT, "at most 4096");
    must(put_text(collection, longest + 1, KITH_UPSERT));
    refused(put_text(collection, longest + 1, KITH_INSERT), KITH_E_DATA, "xxx...\"): is there already");
    const uint64_t number = 1;
    refused(kith_collection_delete(collection, &(kith_ids){.count = 1, .ids = &number}, NULL, NULL, &error), KITH_E_ARG,
            "ids are strings");
    kith_collection_close(collection);
}

/* Of a new text that is there twice in one write the last item stays, under one number. */
static void test_string_ids_twice_in_one_write(void **state) {
    const float rows[3][DIM] = {{1}, {2}, {3}};
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = DIM};
    const uint64_t ends[3] = {1, 2, 3};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_items items = KITH_ITEMS_INIT;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_STRING);
    items.ids = (kith_ids){.count = 3, .id_bytes = "xyx", .id_ends = ends};
    items.vectors = &vectors, items.vector_count = 1;
    must(kith_collection_write(collection, &items, KITH_INSERT, &report, &error));
    assert_int_equal(report.inserted, 2);
    assert_int_equal(count_of(collection), 2);
    assert_int_equal(number_of(collection, "y"), 0);
    assert_int_equal(number_of(collection, "x"), 1);
    kith_collection_close(collection);
}

/* ---- Filters, fields, expiry ------------------------------------------------------------------------------------- */

static void test_delete_where(void **state) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    char payload[64];
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    for (uint64_t i = 0; i < 40; i++) {
        snprintf(payload, sizeof(payload), "{\"color\":\"%s\",\"price\":%d}", i % 2 ? "red" : "blue", (int)i);
        must(put(collection, i, (float)i, payload, KITH_UPSERT, NULL));
        if (i == 25) must(kith_collection_compact(collection, NULL, NULL, &error));
    }
    must(kith_collection_delete_where(collection, "color = \"red\" and price >= 11", &report, &error));
    assert_int_equal(report.removed, 15);
    assert_int_equal(report.version, 41);
    assert_int_equal(count_of(collection), 25);
    assert_int_equal(there(collection, 9), 1);
    assert_int_equal(there(collection, 11), 0);
    assert_int_equal(there(collection, 39), 0);
    must(kith_collection_delete_where(collection, "color = \"red\" and price >= 11", &report, &error));
    assert_int_equal(report.removed, 0);
    assert_int_equal(report.version, 41);
    refused(kith_collection_delete_where(collection, "price = \"red\"", &report, &error), KITH_E_ARG, "price");
    kith_collection_close(collection);
}

static void test_declare(void **state) {
    const kith_field stock = {.name = "stock", .type = KITH_FIELD_INT}, wrong = {"stock", KITH_FIELD_TAG, 0};
    uint64_t count = 0;
    kith_field field;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    must(put(collection, 1, 1, "{\"stock\":3}", KITH_UPSERT, NULL));
    must(put(collection, 2, 1, "{\"stock\":\"many\"}", KITH_UPSERT, NULL));
    must(kith_collection_declare(collection, &stock, &error));
    must(kith_collection_declare(collection, &stock, &error)); /* fine */
    refused(kith_collection_declare(collection, &wrong, &error), KITH_E_ARG, "stock");
    must(kith_collection_field(collection, 2, &field));
    assert_string_equal(field.name, "stock");
    refused(put(collection, 3, 1, "{\"stock\":\"many\"}", KITH_UPSERT, NULL), KITH_E_DATA, "stock");
    must(put(collection, 4, 1, "{\"stock\":5}", KITH_UPSERT, NULL));
    must(kith_collection_count(collection, "stock > 2", &count, &error));
    assert_int_equal(count, 2);
    must(put(collection, 2, 2, NULL, KITH_UPDATE, NULL)); /* what was there before stays as it is */
    kith_collection_close(collection);
}

static uint64_t the_time = 1000;
static uint64_t now_of_test(void) {
    return the_time;
}

static void test_expiry(void **state) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    struct several s;
    (void)state;
    kith_collection *collection = memory_of(KITH_ID_U64);
    collection->now_ms = now_of_test;
    begin(&s, 4);
    s.expires[0] = 2000, s.expires[1] = 3000, s.expires[2] = 0, s.expires[3] = 500; /* one is over already */
    s.items.expires_ms = s.expires;
    must(write_all(collection, &s, KITH_UPSERT, NULL));
    assert_int_equal(count_of(collection), 3);
    the_time = 1999;
    assert_int_equal(there(collection, 10), 1);
    the_time = 2000;
    assert_int_equal(there(collection, 10), 0);
    assert_int_equal(there(collection, 11), 1);
    begin(&s, 4);
    refused(write_all(collection, &s, KITH_INSERT, &report), KITH_E_DATA, "item 1 (id 11): is there already");
    s.ids[1] = 10, s.ids[0] = 90;
    s.items.ids.count = 2;
    must(write_all(collection, &s, KITH_INSERT, &report)); /* what is over can be inserted again */
    assert_int_equal(report.inserted, 2);
    must(put(collection, 11, 1, NULL, KITH_UPDATE, NULL)); /* keeps its time */
    the_time = 5000;
    assert_int_equal(count_of(collection), 3);
    uint64_t removed = 0;
    must(ki_commit_expired(collection, &removed, &error));
    assert_int_equal(removed, 2);
    must(ki_commit_expired(collection, &removed, &error));
    assert_int_equal(removed, 0);
    assert_int_equal(count_of(collection), 3);
    kith_collection_close(collection);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

enum { WRITERS = 3, EACH = 60 };

struct writer {
    kith_collection *collection;
    uint64_t first;
    atomic_int *stop;
    kith_status status;
    char text[KITH_ERROR_TEXT_BYTES];
};

static void *run_writer(void *context) {
    struct writer *w = context;
    kith_error own = {0};
    uint64_t last = 0;
    for (uint64_t i = 0; i < EACH && w->status == KITH_OK; i++) {
        const float row[DIM] = {(float)i, 1, 2, 3};
        const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
        const uint64_t id = w->first + i;
        kith_write_report report = KITH_WRITE_REPORT_INIT;
        kith_items items = KITH_ITEMS_INIT;
        uint8_t exists = 0;
        items.ids = (kith_ids){.count = 1, .ids = &id};
        items.vectors = &vectors, items.vector_count = 1;
        w->status = kith_collection_write(w->collection, &items, KITH_INSERT, &report, &own);
        if (w->status == KITH_OK) w->status = kith_collection_exists(w->collection, &items.ids, &exists, &own);
        if (w->status == KITH_OK && (!exists || report.inserted != 1 || report.version <= last)) w->status = KITH_E_IO;
        last = report.version;
        items.ids.count = 1; /* fails alone: others of its batch do not hear of it */
        if (w->status == KITH_OK && i % 7 == 0 &&
            kith_collection_write(w->collection, &items, KITH_INSERT, NULL, NULL) != KITH_E_DATA)
            w->status = KITH_E_BUSY;
    }
    snprintf(w->text, sizeof(w->text), "%s", own.text);
    return NULL;
}

static void *run_searcher(void *context) {
    struct writer *w = context;
    kith_error own = {0};
    kith_result *result = NULL;
    uint64_t before = 0;
    w->status = kith_result_create(&result, &own);
    while (w->status == KITH_OK && !atomic_load(w->stop)) {
        const float query[DIM] = {1, 1, 2, 3};
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = query, queries.dtype = KITH_F32, queries.count = 1, queries.dim = DIM;
        const kith_leg leg = {.queries = &queries};
        kith_ask_report report = KITH_ASK_REPORT_INIT;
        kith_ask ask = KITH_ASK_INIT;
        ask.legs = &leg, ask.leg_count = 1, ask.report = &report;
        w->status = kith_collection_search(w->collection, &ask, result, &own);
        if (report.items < before) w->status = KITH_E_IO; /* nothing goes */
        before = report.items;
    }
    snprintf(w->text, sizeof(w->text), "%s", own.text);
    kith_result_destroy(result);
    return NULL;
}

static void test_several_threads_write_and_search(void **state) {
    pthread_t thread[WRITERS + 1];
    struct writer writer[WRITERS + 1] = {0};
    atomic_int stop = 0;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    (void)state;
    char path[512];
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *collection = make_at(path, KITH_ID_U64);
    for (size_t t = 0; t <= WRITERS; t++) {
        writer[t].collection = collection, writer[t].first = t * 1000, writer[t].stop = &stop;
        assert_int_equal(pthread_create(&thread[t], NULL, t < WRITERS ? run_writer : run_searcher, &writer[t]), 0);
    }
    for (size_t t = 0; t <= WRITERS; t++) {
        if (t == WRITERS) atomic_store(&stop, 1);
        assert_int_equal(pthread_join(thread[t], NULL), 0);
        if (writer[t].status != KITH_OK) fail_msg("thread %zu: %d %s", t, (int)writer[t].status, writer[t].text);
    }
    for (int round = 0; round < 2; round++) {
        must(kith_collection_get_info(collection, &info));
        assert_int_equal(info.items, WRITERS * EACH);
        assert_int_equal(info.version, WRITERS * EACH);
        kith_collection_close(collection);
        collection = open_at(path, round == 0);
    }
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_insert_and_upsert),
        cmocka_unit_test(test_update_keeps_what_is_not_given),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_vectors_are_checked),
        cmocka_unit_test(test_ids_and_payloads_are_checked),
        cmocka_unit_test(test_stored_types),
        cmocka_unit_test(test_string_ids),
        cmocka_unit_test(test_string_ids_twice_in_one_write),
        cmocka_unit_test(test_delete_where),
        cmocka_unit_test(test_declare),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_several_threads_write_and_search),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
