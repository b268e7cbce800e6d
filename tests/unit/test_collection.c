/* SPDX-License-Identifier: Apache-2.0
 *
 * A collection as a caller sees it: made, opened, written, read, closed and opened again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 4 };

static kith_error error;

static void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

static void refused(kith_status status, kith_status expected, const char *part) {
    if (status != expected) fail_msg("status %d, not %d: %s", (int)status, (int)expected, error.text);
    if (!strstr(error.text, part)) fail_msg("'%s' does not say '%s'", error.text, part);
    memset(&error, 0, sizeof(error));
}

static const kith_vector_spec two_vectors[] = {{.name = "", .dim = DIM, .dtype = KITH_F32, .metric = KITH_L2SQ},
                                               {.name = "small", .dim = 2, .dtype = KITH_F16, .metric = KITH_COSINE}};

static kith_collection_options options_of(kith_id_kind kind) {
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

static const char *fresh(void) {
    static unsigned counter;
    static char name[32];
    snprintf(name, sizeof(name), "shop%u", counter++);
    return data_path(name);
}

static kith_collection *open_at(const char *path, int read_only) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.read_only = read_only;
    options.no_background = 1;
    options.threads = 1;
    must(kith_collection_open(path, &options, &collection, &error));
    return collection;
}

static kith_collection *make_at(const char *path, kith_id_kind kind) {
    const kith_collection_options options = options_of(kind);
    must(kith_collection_create(path, &options, &error));
    return open_at(path, 0);
}

/* One item by number, with a vector of equal elements; payload may be NULL. */
static kith_status put(kith_collection *collection, uint64_t id, float value, const char *payload,
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

static int there(kith_collection *collection, uint64_t id) {
    uint8_t exists = 9;
    must(kith_collection_exists(collection, &(kith_ids){.count = 1, .ids = &id}, &exists, &error));
    return exists;
}

static uint64_t count_of(kith_collection *collection) {
    uint64_t count = 0;
    must(kith_collection_count(collection, NULL, &count, &error));
    return count;
}

/* The payload, version and unnamed vector of one item. */
static void expect(kith_collection *collection, uint64_t id, float value, const char *payload, uint64_t version) {
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

/* ---- Making and opening -------------------------------------------------------------------------------------------- */

static void test_made_and_opened(void **state) {
    char path[512];
    (void)state;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *collection = make_at(path, KITH_ID_U64);
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(collection, &info));
    assert_int_equal(info.id_kind, KITH_ID_U64);
    assert_int_equal(info.items, 0);
    assert_int_equal(info.version, 0);
    assert_int_equal(info.vectors, 2);
    assert_int_equal(info.fields, 2);
    assert_string_equal(info.segment_field, "color");
    assert_string_equal(info.model, "m1");
    kith_vector_spec spec;
    must(kith_collection_vector(collection, 1, &spec));
    assert_string_equal(spec.name, "small");
    assert_int_equal(spec.dtype, KITH_F16);
    assert_int_equal(spec.metric, KITH_COSINE);
    assert_int_equal(kith_collection_vector(collection, 2, &spec), KITH_E_NOTFOUND);
    kith_field field;
    must(kith_collection_field(collection, 1, &field));
    assert_string_equal(field.name, "price");
    assert_int_equal(field.type, KITH_FIELD_FLOAT);
    assert_int_equal(kith_collection_field(collection, 2, &field), KITH_E_NOTFOUND);
    kith_collection_close(collection);

    const kith_collection_options options = options_of(KITH_ID_U64);
    refused(kith_collection_create(path, &options, &error), KITH_E_BUSY, "not empty");
    refused(kith_collection_open(data_path("nowhere"), NULL, &collection, &error), KITH_E_NOTFOUND,
            "there is no collection");
}

static void test_second_writer_is_told_who_holds_it(void **state) {
    char path[512], holder[64];
    kith_collection *second = NULL;
    (void)state;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *collection = make_at(path, KITH_ID_U64);
    snprintf(holder, sizeof(holder), "held by process %ld on host ", (long)getpid());
    refused(kith_collection_open(path, NULL, &second, &error), KITH_E_BUSY, holder);
    kith_collection *reader = open_at(path, 1);
    refused(put(reader, 1, 1, NULL, KITH_UPSERT, NULL), KITH_E_ARG, "reading only");
    kith_collection_close(reader);
    kith_collection_close(collection);
    kith_collection_close(open_at(path, 0));
}

static void test_options_are_checked(void **state) {
    (void)state;
    kith_collection_options options = options_of(KITH_ID_U64);
    options.segment_field = "price";
    refused(kith_collection_create(fresh(), &options, &error), KITH_E_ARG, "declared as float, not as tag");
    options.segment_field = "none";
    refused(kith_collection_create(fresh(), &options, &error), KITH_E_ARG, "not declared");
    options = options_of(KITH_ID_ROW);
    refused(kith_collection_create(fresh(), &options, &error), KITH_E_ARG, "id_kind");
    options = options_of(KITH_ID_U64);
    options.vector_count = 0;
    refused(kith_collection_create(fresh(), &options, &error), KITH_E_ARG, "at least one vector");
    const struct {
        kith_vector_spec spec;
        const char *part;
    } wrong[] = {
        {{.name = "a", .dim = 0}, "no type f32 of 0 elements"},
        {{.name = "a", .dim = 12, .dtype = KITH_B1}, "of 12 elements"},
        {{.name = "a", .dim = 16, .dtype = KITH_B1, .metric = KITH_L2SQ}, "b1 vectors have no metric l2"},
        {{.name = "a", .dim = 16, .metric = KITH_JACCARD}, "f32 vectors have no metric jaccard"},
        {{.name = "a\n", .dim = 16}, "control characters"},
        {{.name = "\xff", .dim = 16}, "UTF-8"},
    };
    options.vector_count = 1;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        options.vectors = &wrong[i].spec;
        refused(kith_collection_create(fresh(), &options, &error), KITH_E_ARG, wrong[i].part);
    }
    const kith_vector_spec twice[] = {{.dim = 4}, {.name = "", .dim = 5}};
    options.vectors = twice, options.vector_count = 2;
    refused(kith_collection_create(fresh(), &options, &error), KITH_E_ARG, "same name");
}

/* ---- Writing and reading ------------------------------------------------------------------------------------------- */

static void test_written_is_there_also_after_opening(void **state) {
    char path[512];
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    (void)state;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *collection = make_at(path, KITH_ID_U64);
    must(put(collection, 7, 1.5f, "{\"color\":\"red\"}", KITH_UPSERT, &report));
    assert_int_equal(report.version, 1);
    assert_int_equal(report.inserted, 1);
    must(put(collection, 9, 2, "{}", KITH_UPSERT, NULL));
    must(put(collection, 7, 3, "{\"color\":\"blue\"}", KITH_UPSERT, &report));
    assert_int_equal(report.version, 3);
    assert_int_equal(report.replaced, 1);
    const uint64_t nine = 9;
    must(kith_collection_delete(collection, &(kith_ids){.count = 1, .ids = &nine}, NULL, &report, &error));
    assert_int_equal(report.version, 4);
    assert_int_equal(report.removed, 1);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(there(collection, 7), 1);
        assert_int_equal(there(collection, 9), 0);
        assert_int_equal(count_of(collection), 1);
        expect(collection, 7, 3, "{\"color\":\"blue\"}", 3);
        kith_collection_close(collection);
        collection = open_at(path, round == 1);
    }
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_opened),
        cmocka_unit_test(test_second_writer_is_told_who_holds_it),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_written_is_there_also_after_opening),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
