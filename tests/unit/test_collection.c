/* SPDX-License-Identifier: Apache-2.0
 *
 * A collection as a caller sees it: made, opened, written, read, closed and opened again.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/shop.h"

/* ---- Making and opening ------------------------------------------------------------------------------------------ */

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

/* ---- Writing and reading ----------------------------------------------------------------------------------------- */

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
