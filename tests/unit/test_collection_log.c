/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of the log: what is written is read again; what is damaged, cut or made up is refused. Settings likewise.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "log/log.h"
#include "state/made.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static kith_error error;
static ki_vector vectors[] = {{.name = "", .dim = 3, .row_bytes = 12, .dtype = KITH_F32, .metric = KITH_L2SQ},
                              {.name = "b", .dim = 8, .row_bytes = 1, .dtype = KITH_B1, .metric = KITH_HAMMING}};
static const ki_made string_ids = {.id_kind = KITH_ID_STRING, .vector_count = 2, .vector = vectors};
static const ki_made number_ids = {.id_kind = KITH_ID_U64, .vector_count = 1, .vector = vectors};
static ki_generations *strings, *numbers; /* of these */

static const float row[3] = {1, -2, 3.5f};
static const unsigned char bits = 0x81;

static void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

/* An item with all, one with little, and one that is removed. */
static ki_log_body make(const ki_generations *generations) {
    ki_log_body body = {.generations = generations};
    const int texts = generations->made->id_kind == KITH_ID_STRING;
    ki_log_operation all = {.kind = KI_LOG_PUT, .key = 7, .expires_ms = 99, .payload = {"{\"a\":1}", 7}};
    ki_log_operation little = {.kind = KI_LOG_PUT, .key = 8}, gone = {.kind = KI_LOG_REMOVE, .key = 9};
    if (texts) all.text = (ki_bytes){"seven", 5}, little.text = (ki_bytes){"8", 1}, all.vector[1] = &bits;
    all.vector[0] = row;
    must(ki_log_begin(&body, 12, &error));
    must(ki_log_add(&body, &all, &error));
    must(ki_log_add(&body, &little, &error));
    must(ki_log_add(&body, &gone, &error));
    must(ki_log_end(&body, 20, &error));
    return body;
}

struct seen {
    size_t count;
    int compare, texts;
};

static kith_status see(void *context, const ki_log_head *head, const ki_log_operation *operation, kith_error *e) {
    struct seen *seen = context;
    (void)e;
    if (seen->compare) assert_int_equal(head->operations, 3);
    const size_t n = seen->count++;
    if (!seen->compare) return KITH_OK;
    assert_int_equal(operation->key, 7 + n);
    assert_int_equal(operation->kind, n == 2 ? KI_LOG_REMOVE : KI_LOG_PUT);
    if (n != 0) return KITH_OK;
    assert_int_equal(operation->expires_ms, 99);
    assert_int_equal(operation->text.bytes, seen->texts ? 5 : 0);
    assert_memory_equal(operation->payload.data, "{\"a\":1}", 7);
    assert_memory_equal(operation->vector[0], row, sizeof(row));
    if (seen->texts) assert_memory_equal(operation->vector[1], &bits, 1);
    return KITH_OK;
}

static void test_read_as_written(void **state) {
    const ki_generations *kinds[] = {strings, numbers};
    (void)state;
    for (int k = 0; k < 2; k++) {
        ki_log_body body = make(kinds[k]);
        struct seen seen = {.compare = 1, .texts = k == 0};
        ki_log_head head;
        must(ki_log_read(kinds[k], "shop", 12, (ki_bytes){body.data, body.bytes}, &head, see, &seen, &error));
        assert_int_equal(seen.count, 3);
        assert_int_equal(head.version, 12);
        assert_int_equal(head.next_key, 20);
        ki_log_free(&body);
    }
}

static kith_status read_copy(const ki_generations *generations, const unsigned char *bytes, size_t count) {
    unsigned char *copy = malloc(count ? count : 1); /* exactly as long: sanitizers see a byte too many */
    struct seen seen = {0};
    ki_log_head head;
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    const kith_status status = ki_log_read(generations, "shop", 12, (ki_bytes){copy, count}, &head, see, &seen, &error);
    free(copy);
    return status;
}

static void test_damage_is_found(void **state) {
    ki_log_body body = make(strings);
    (void)state;
    for (size_t bytes = 0; bytes < body.bytes; bytes++)
        assert_int_equal(read_copy(strings, body.data, bytes), KITH_E_CORRUPT);
    for (size_t at = 0; at < body.bytes; at++)
        for (int bit = 0; bit < 8; bit++) {
            body.data[at] ^= (unsigned char)(1 << bit);
            const kith_status status = read_copy(strings, body.data, body.bytes);
            if (status != (at < 4 && (bit || at) ? KITH_E_VERSION : KITH_E_CORRUPT))
                fail_msg("byte %zu, bit %d: status %d", at, bit, (int)status);
            body.data[at] ^= (unsigned char)(1 << bit);
        }
    must(read_copy(strings, body.data, body.bytes));
    ki_log_free(&body);
}

/* Numbers of a hostile catalog, whose checksum is right. */
static void test_hostile_numbers_are_refused(void **state) {
    static const struct {
        size_t at, bytes;
        uint64_t value;
        const char *part;
    } lies[] = {{4, 4, 4, "cut off"},
                {4, 4, 2, "more follows"},
                {4, 4, UINT32_MAX, "too many"},
                {8, 8, 13, "another version"},
                {24, 4, 3, "other vectors"},
                {32, 4, 3, "not known"},
                {36, 4, 0, "wrong length"},
                {36, 4, 4097, "wrong length"},
                {36, 4, 200, "cut off"},
                {40, 8, UINT64_MAX, "cannot"},
                {56, 8, 4, "vector"},
                {24, 4, 1, "not known"},
                {64, 4, UINT32_MAX, "too long"},
                {64, 4, 4096, "cut off"},
                {64, 4, 1 << 24, "cut off"},
                {72, 1, 0xff, "no UTF-8"}};
    ki_log_body body = make(strings);
    unsigned char *bytes = malloc(body.bytes);
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        memcpy(bytes, body.data, body.bytes);
        memcpy(bytes + lies[i].at, &lies[i].value, lies[i].bytes);
        ki_store_u64(bytes + body.bytes - 8, XXH3_64bits(bytes, body.bytes - 8));
        assert_int_equal(read_copy(strings, bytes, body.bytes), KITH_E_CORRUPT);
        if (!strstr(error.text, lies[i].part)) fail_msg("%zu: '%s' lacks '%s'", i, error.text, lies[i].part);
    }
    free(bytes);
    ki_log_free(&body);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static kith_status decode_made(const char *text) {
    ki_made made = {0};
    const kith_status status = ki_made_decode((ki_bytes){text, strlen(text)}, "shop", &made, &error);
    ki_made_free(&made);
    return status;
}

static void test_settings_are_checked(void **state) {
    static const char *const wrong[] = {
        "",
        "{",
        "[]",
        "{\"version\":0}",
        "{\"version\":1}",
        "{\"version\":1,\"ids\":\"u32\",\"vectors\":[],\"segment_field\":\"\",\"model\":\"\"}",
        "{\"version\":1,\"ids\":\"u64\",\"vectors\":[],\"segment_field\":\"\",\"model\":\"\"}",
        "{\"version\":1,\"ids\":\"u64\",\"vectors\":[{\"name\":\"\",\"dim\":-4,\"dtype\":\"f32\",\"metric\":\"l2\"}],"
        "\"segment_field\":\"\",\"model\":\"\"}",
        "{\"version\":1,\"ids\":\"u64\",\"vectors\":[{\"name\":\"\",\"dim\":4,\"dtype\":\"f32\"}],"
        "\"segment_field\":\"\",\"model\":\"\"}",
        "{\"version\":1,\"ids\":\"u64\",\"vectors\":[{\"name\":\"\",\"dim\":4,\"dtype\":\"f32\",\"metric\":\"hamming\"}"
        "],"
        "\"segment_field\":\"\",\"model\":\"\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        if (decode_made(wrong[i]) != KITH_E_CORRUPT) fail_msg("'%s' was taken", wrong[i]);
    assert_int_equal(decode_made("{\"version\":2}"), KITH_E_VERSION);
    ki_schema *schema = NULL;
    const char fields[] = "{\"version\":1,\"fields\":[{\"name\":\"a\",\"type\":\"colour\"}]}";
    assert_int_equal(ki_fields_decode((ki_bytes){fields, strlen(fields)}, "shop", &schema, &error), KITH_E_CORRUPT);
    assert_null(schema);
    unsigned char bytes[KI_STATE_BYTES];
    ki_state some = {.version = 5, .next_key = 6, .next_segment = 7, .edition = 8}, back;
    ki_state_encode(&some, bytes);
    must(ki_state_decode((ki_bytes){bytes, sizeof(bytes)}, "shop", &back, &error));
    assert_memory_equal(&back, &some, sizeof(back));
    for (size_t count = 0; count < sizeof(bytes); count++)
        assert_int_equal(ki_state_decode((ki_bytes){bytes, count}, "shop", &back, &error), KITH_E_CORRUPT);
    bytes[0] = 2;
    assert_int_equal(ki_state_decode((ki_bytes){bytes, sizeof(bytes)}, "shop", &back, &error), KITH_E_VERSION);
}

static void test_made_comes_back(void **state) {
    static const kith_vector_spec specs[] = {{.name = "text \"\xc3\xa4\"", .dim = 16, .dtype = KITH_B1},
                                             {.name = NULL, .dim = 4, .dtype = KITH_BF16, .metric = KITH_IP}};
    static const kith_field fields[] = {{.name = "a.b", .type = KITH_FIELD_TAG},
                                        {.name = "t", .type = KITH_FIELD_TIME}};
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    ki_made made = {0}, back = {0};
    ki_schema *schema = NULL, *schema_back = NULL;
    char *text = NULL;
    (void)state;
    options.id_kind = KITH_ID_STRING, options.model = "m";
    options.vectors = specs, options.vector_count = 2, options.fields = fields, options.field_count = 2;
    options.segment_field = "a.b";
    must(ki_made_create(&options, &made, &schema, &error));
    must(ki_made_encode(&made, &text, &error));
    must(ki_made_decode((ki_bytes){text, strlen(text)}, "shop", &back, &error));
    free(text);
    assert_int_equal(back.id_kind, KITH_ID_STRING);
    assert_int_equal(back.vector_count, 2);
    assert_string_equal(back.vector[0].name, specs[0].name);
    assert_int_equal(back.vector[0].metric, KITH_HAMMING);
    assert_string_equal(back.vector[1].name, "");
    assert_int_equal(back.vector[1].row_bytes, 8);
    assert_string_equal(back.segment_field, "a.b");
    assert_string_equal(back.model, "m");
    must(ki_fields_encode(schema, &text, &error));
    must(ki_fields_decode((ki_bytes){text, strlen(text)}, "shop", &schema_back, &error));
    free(text);
    assert_int_equal(schema_back->count, 2);
    assert_string_equal(schema_back->fields[1].name, "t");
    assert_int_equal(schema_back->fields[1].type, KITH_FIELD_TIME);
    assert_int_equal(schema_back->fields[1].id, schema->fields[1].id);
    ki_schema_destroy(schema);
    ki_schema_destroy(schema_back);
    ki_made_free(&made);
    ki_made_free(&back);
}

/* ---- Generations ------------------------------------------------------------------------------------------------- */

/* Two names; generation 2 has its own "", 3 both, 2 is dropped and its slot free. */
static ki_generations *some_generations(const ki_made *made) {
    kith_vector_spec both[] = {{.name = "", .dim = 6}, {.name = "b", .dim = 16, .dtype = KITH_B1}};
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    ki_generations *g = ki_generations_first(made), *next;
    assert_non_null(g);
    options.vectors = both, options.model = "m \xc3\xa4";
    for (size_t count = 1; count <= 2; count++) {
        next = ki_generations_next(g);
        free(g);
        g = next;
        options.vector_count = count;
        must(ki_generations_begin(g, &options, 77, &error));
    }
    ki_generations_flip(g, ki_generations_find(g, 3));
    g->generation[0].share = 0.1;
    ki_generations_drop(g, 2);
    ki_generations_free_slots(g, ki_generations_leaving(g));
    return g;
}

static void test_generations_come_back(void **state) {
    ki_generations *g = some_generations(&string_ids), *back = NULL;
    char *text = NULL;
    (void)state;
    must(ki_generations_encode(g, &text, &error));
    must(ki_generations_decode((ki_bytes){text, strlen(text)}, "shop", &string_ids, &back, &error));
    assert_int_equal(back->slots, 5);
    assert_int_equal(back->used, 0x1b);
    assert_int_equal(back->tenant[2], 0);
    assert_int_equal(back->count, 2);
    assert_int_equal(back->current, 3);
    assert_int_equal(back->previous, 1);
    assert_int_equal(back->next, 4);
    assert_int_equal(back->edition, g->edition);
    assert_true(back->generation[0].share == 0.1);
    assert_string_equal(back->generation[1].model, "m \xc3\xa4");
    assert_int_equal(back->generation[1].created_ms, 77);
    assert_int_equal(back->generation[1].slot[0], 3);
    assert_int_equal(back->spec[4].dim, 16);
    assert_int_equal(back->spec[4].metric, KITH_HAMMING);
    assert_int_equal(ki_generations_state(back, &back->generation[0]), KITH_GENERATION_PREVIOUS);
    free(text);
    free(g);
    free(back);
}

static kith_status read_generations(const char *text) {
    ki_generations *g = NULL;
    const kith_status status = ki_generations_decode((ki_bytes){text, strlen(text)}, "shop", &string_ids, &g, &error);
    free(g);
    return status;
}

/* What cannot have been written is damage, whatever of it was changed. */
static void test_generations_are_checked(void **state) {
    static const struct {
        const char *from, *to;
    } lies[] = {
        {"\"current\":3", "\"current\":2"},
        {"\"current\":3", "\"current\":0"},
        {"\"current\":3", "\"current\":1"},
        {"\"previous\":1", "\"previous\":3"},
        {"\"previous\":1", "\"previous\":9"},
        {"\"next\":4", "\"next\":3"},
        {"\"edition\":", "\"edition\":-"},
        {"\"share\":0.1", "\"share\":1.5"},
        {"\"share\":0.0", "\"share\":0.2"},
        {"\"number\":3", "\"number\":1"},
        {"\"slots\":[0,1]", "\"slots\":[0,0]"},
        {"\"slots\":[0,1]", "\"slots\":[0]"},
        {"\"slots\":[0,1]", "\"slots\":[2,1]"},
        {"\"slots\":[0,1]", "\"slots\":[64,1]"},
        {"\"slots\":[0,1]", "\"slots\":[3,1]"},
        {"\"slots\":[3,4]", "\"slots\":[3,\"4\"]"},
        {"\"dim\":6", "\"dim\":0"},
        {"\"dim\":16", "\"dim\":15"},
        {"\"name\":\"b\"", "\"name\":\"c\""},
        {"\"metric\":\"hamming\"", "\"metric\":\"l2\""},
        {"\"dtype\":\"f32\"", "\"dtype\":7"},
        {"\"model\":\"\"", "\"model\":\"\\n\""},
        {"\"slots\":[{", "\"slot\":[{"},
        {"\"generation\":3", "\"generation\":4"},
        {"\"generations\":", "\"others\":"},
        {"\"version\":1", "\"version\":0"},
    };
    ki_generations *g = some_generations(&string_ids);
    char *text = NULL, changed[4096];
    (void)state;
    must(ki_generations_encode(g, &text, &error));
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        const char *at = strstr(text, lies[i].from);
        if (!at) fail_msg("'%s' lacks '%s'", text, lies[i].from);
        snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, lies[i].to, at + strlen(lies[i].from));
        if (read_generations(changed) != KITH_E_CORRUPT) fail_msg("%zu: '%s' is taken", i, changed);
    }
    snprintf(changed, sizeof(changed), "%s", text);
    memcpy(strstr(changed, "\"version\":1"), "\"version\":2", 11);
    assert_int_equal(read_generations(changed), KITH_E_VERSION);
    for (size_t bytes = 0; bytes < strlen(text); bytes++) {
        snprintf(changed, sizeof(changed), "%.*s", (int)bytes, text);
        assert_int_equal(read_generations(changed), KITH_E_CORRUPT);
    }
    free(text);
    free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_as_written),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_hostile_numbers_are_refused),
        cmocka_unit_test(test_settings_are_checked),
        cmocka_unit_test(test_made_comes_back),
        cmocka_unit_test(test_generations_come_back),
        cmocka_unit_test(test_generations_are_checked),
    };
    strings = ki_generations_first(&string_ids);
    numbers = ki_generations_first(&number_ids);
    if (!strings || !numbers) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(strings);
    free(numbers);
    return failed;
}
