/* SPDX-License-Identifier: Apache-2.0
 *
 * What kith.h promises of all its functions alike, asked of each: a NULL that it does not allow is KITH_E_ARG, leaves
 * out-parameters as they were and needs no `error`; after KITH_OK `error` is as it was; structs of any size are taken,
 * filled or refused as "Growth" says. tests/e2e/test_contract.py sees to it that no function and no struct is missing
 * here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/grow.h"
#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1500, DIM = 8, K = 3, QUERIES = 2, ROOM = 64, MARK = 0x5A };

/* Inputs, made once. */
static kith_index *numbered, *named; /* with lists; with string ids and names */
static kith_scratch *scratch;
static kith_reader *reader, *rows_reader, *skipping;
static kith_id_reader *id_reader;
static kith_filter *filter;
static float rows[ROWS][DIM];
static uint64_t some_ids[ROOM];

/* All out-parameters. */
static struct outputs {
    kith_pool *pool;
    kith_reader *reader;
    kith_id_reader *id_reader;
    kith_writer *writer;
    kith_index *index;
    kith_filter *filter;
    kith_scratch *scratch;
    kith_rows rows;
    kith_ranges ranges;
    kith_reader_info reader_info;
    kith_index_info index_info;
    kith_section section;
    kith_cpu cpu;
    kith_device device;
    kith_build_report built;
    kith_join_report joined;
    const char *text;
    kith_collection *collection;
    kith_result *result;
    kith_hits hits;
    kith_write_report written;
    kith_load_report loaded;
    kith_collection_info collection_info;
    kith_profile_report profile;
    kith_rebuild_report rebuilt;
    kith_generation_info generation;
    kith_generation_report checked;
    kith_flip_report flipped;
    uint32_t number;
    kith_vector_spec spec;
    kith_field field;
    uint8_t exists[ROOM];
    size_t bytes, unknown;
    uint64_t id, row, ids[ROOM];
    float distance, distances[ROOM], vectors[ROOM];
} out;

/* ---- Every function once ----------------------------------------------------------------------------------------- */

/* Pointer number n of a call, or NULL if that is the one to leave out; 0: none is. */
#define P(n, pointer) (missing == (n) ? NULL : (pointer))

static kith_status read_source(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                               kith_error *error) {
    static char text[ROOM * 4];
    static uint32_t ends[ROOM];
    (void)context;
    (void)error;
    memcpy(data, rows[first], count * sizeof(rows[0]));
    for (size_t i = 0; i < count; i++) {
        snprintf(text + 3 * i, 4, "n%02u", (unsigned)(first + i) % 100);
        ends[i] = (uint32_t)(3 * i + 3);
    }
    labels->id_bytes = labels->name_bytes = text;
    labels->id_ends = labels->name_ends = ends;
    return KITH_OK;
}

static kith_source a_source(void) {
    kith_source source = KITH_SOURCE_INIT;
    source.dtype = KITH_F32;
    source.id_kind = KITH_ID_STRING;
    source.has_names = 1;
    source.dim = DIM;
    source.rows = 20;
    source.read = read_source;
    return source;
}

static kith_queries some_queries(void) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = rows;
    queries.dtype = KITH_F32;
    queries.count = QUERIES;
    queries.dim = DIM;
    return queries;
}

static kith_status call_distance(unsigned missing, kith_error *error) {
    (void)error;
    return kith_distance(KITH_L2SQ, KITH_F32, DIM, P(1, rows[0]), P(2, rows[1]), P(3, &out.distance));
}

static kith_status call_cpu_info(unsigned missing, kith_error *error) {
    return kith_cpu_info(P(1, &out.cpu), error);
}

/* A machine without devices has none to tell of: what the library would fill is then filled here. */
static kith_status device_or_none(kith_device *device, kith_error *error) {
    const kith_device none = KITH_DEVICE_INIT;
    kith_error why = {0};
    const kith_status status = kith_device_get(0, device, &why);
    if (status != KITH_E_UNSUPPORTED && status != KITH_E_NOTFOUND) {
        if (status != KITH_OK && error) *error = why;
        return status;
    }
    ki_grown_write(KI_GROWN_DEVICE, &none, device);
    return KITH_OK;
}

static kith_status call_device_get(unsigned missing, kith_error *error) {
    return device_or_none(P(1, &out.device), error);
}

static kith_status call_pool_create(unsigned missing, kith_error *error) {
    return kith_pool_create(1, P(1, &out.pool), error);
}

static kith_status call_reader_open(unsigned missing, kith_error *error) {
    return kith_reader_open(P(1, data_path("rows.fvecs")), NULL, P(2, &out.reader), error);
}

static kith_status call_reader_from_memory(unsigned missing, kith_error *error) {
    return kith_reader_from_memory(P(1, rows), KITH_F32, ROWS, DIM, 0, NULL, P(2, &out.reader), error);
}

static kith_status call_reader_from_source(unsigned missing, kith_error *error) {
    const kith_source source = a_source();
    return kith_reader_from_source(P(1, &source), P(2, &out.reader), error);
}

static kith_status call_reader_get_info(unsigned missing, kith_error *error) {
    (void)error;
    return kith_reader_get_info(P(1, reader), P(2, &out.reader_info));
}

static kith_status call_reader_next(unsigned missing, kith_error *error) {
    return kith_reader_next(P(1, reader), 5, P(2, &out.rows), error);
}

static kith_status call_reader_seek(unsigned missing, kith_error *error) {
    return kith_reader_seek(P(1, reader), 0, error);
}

static kith_status call_reader_skipped(unsigned missing, kith_error *error) {
    return kith_reader_skipped(P(1, skipping), 0, P(2, &out.row), P(3, &out.text), error);
}

static kith_status call_id_reader_open(unsigned missing, kith_error *error) {
    return kith_id_reader_open(P(1, data_path("ids.txt")), KITH_ID_U64, P(2, &out.id_reader), error);
}

static kith_status call_id_reader_next(unsigned missing, kith_error *error) {
    return kith_id_reader_next(P(1, id_reader), 5, P(2, &out.rows), error);
}

static kith_status call_writer_open(unsigned missing, kith_error *error) {
    return kith_writer_open(P(1, data_path("new.fvecs")), KITH_FORMAT_AUTO, KITH_F32, DIM, 1, KITH_ID_ROW, 0,
                            P(2, &out.writer), error);
}

/* A writer of one row, and what is written. */
static kith_status with_writer(unsigned missing, int finish, kith_error *error) {
    const kith_rows one = {.count = 1, .data = rows};
    kith_writer *writer = NULL;
    kith_error own = {0};
    if (kith_writer_open(data_path("new.fvecs"), KITH_FORMAT_AUTO, KITH_F32, DIM, 1, KITH_ID_ROW, 0, &writer, &own) !=
        KITH_OK)
        fail_msg("%s", own.text);
    kith_status status = kith_writer_write(finish ? writer : P(1, writer), finish ? &one : P(2, &one), error);
    if (finish && !missing) return kith_writer_finish(writer, error);
    if (finish) status = kith_writer_finish(NULL, error);
    kith_writer_abandon(writer);
    return status;
}

static kith_status call_writer_write(unsigned missing, kith_error *error) {
    return with_writer(missing, 0, error);
}

static kith_status call_writer_finish(unsigned missing, kith_error *error) {
    return with_writer(missing, 1, error);
}

static kith_status call_build(unsigned missing, kith_error *error) {
    return kith_build(P(1, reader), P(2, data_path("new.kith")), NULL, &out.built, error);
}

static kith_status call_index_open(unsigned missing, kith_error *error) {
    return kith_index_open(P(1, data_path("numbered.kith")), NULL, P(2, &out.index), error);
}

static kith_status call_index_get_info(unsigned missing, kith_error *error) {
    (void)error;
    return kith_index_get_info(P(1, numbered), P(2, &out.index_info));
}

static kith_status call_index_section(unsigned missing, kith_error *error) {
    (void)error;
    return kith_index_section(P(1, numbered), 0, P(2, &out.section));
}

static kith_status call_index_check(unsigned missing, kith_error *error) {
    return kith_index_check(P(1, numbered), NULL, NULL, NULL, error);
}

static kith_status call_index_verify(unsigned missing, kith_error *error) {
    return kith_index_verify(P(1, data_path("numbered.kith")), NULL, NULL, NULL, error);
}

static kith_status call_index_ids(unsigned missing, kith_error *error) {
    return kith_index_ids(P(1, numbered), 0, ROOM, P(2, out.ids), error);
}

static kith_status call_index_vector(unsigned missing, kith_error *error) {
    return kith_index_vector(P(1, numbered), some_ids[0], P(2, out.vectors), error);
}

static kith_status call_index_vectors(unsigned missing, kith_error *error) {
    return kith_index_vectors(P(1, numbered), P(2, some_ids), ROOM / DIM, P(3, out.vectors), error);
}

static kith_status call_index_name(unsigned missing, kith_error *error) {
    (void)error;
    return kith_index_name(P(1, named), 0, P(2, &out.text), P(3, &out.bytes));
}

static kith_status call_index_string_id(unsigned missing, kith_error *error) {
    (void)error;
    return kith_index_string_id(P(1, named), 0, P(2, &out.text), P(3, &out.bytes));
}

static kith_status call_index_lookup(unsigned missing, kith_error *error) {
    (void)error;
    return kith_index_lookup(P(1, named), P(2, "n07"), 3, P(3, &out.id));
}

static kith_status call_filter_create(unsigned missing, kith_error *error) {
    return kith_filter_create(P(1, numbered), P(2, some_ids), ROOM, &out.unknown, P(3, &out.filter), error);
}

static kith_status call_filter_create_except(unsigned missing, kith_error *error) {
    return kith_filter_create_except(NULL, P(1, filter), P(2, &out.filter), error);
}

static kith_status call_scratch_create(unsigned missing, kith_error *error) {
    return kith_scratch_create(P(1, numbered), NULL, P(2, &out.scratch), error);
}

static kith_status call_search(unsigned missing, kith_error *error) {
    const kith_queries queries = some_queries();
    return kith_search(P(1, numbered), P(2, &queries), K, NULL, P(3, scratch), P(4, out.ids), P(5, out.distances),
                       error);
}

static kith_status call_search_range(unsigned missing, kith_error *error) {
    const kith_queries queries = some_queries();
    return kith_search_range(P(1, numbered), P(2, &queries), 1, NULL, P(3, scratch), P(4, &out.ranges), error);
}

static kith_status call_join(unsigned missing, kith_error *error) {
    return kith_join(P(1, numbered), reader, P(2, data_path("joined")), NULL, &out.joined, error);
}

static kith_status call_tune(unsigned missing, kith_error *error) {
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    options.queries = 100;
    return kith_tune(P(1, data_path("tuned.kith")), NULL, &options, error);
}

#include "support/contract_collection.h"

#define CALL(name, pointers)                                                                                           \
    { "kith_" #name, call_##name, pointers }

static const struct call {
    const char *name;
    kith_status (*call)(unsigned missing, kith_error *error);
    unsigned pointers;
} calls[] = {
    CALL(distance, 3),
    CALL(cpu_info, 1),
    CALL(device_get, 1),
    CALL(pool_create, 1),
    CALL(reader_open, 2),
    CALL(reader_from_memory, 2),
    CALL(reader_from_source, 2),
    CALL(reader_get_info, 2),
    CALL(reader_next, 2),
    CALL(reader_seek, 1),
    CALL(reader_skipped, 3),
    CALL(id_reader_open, 2),
    CALL(id_reader_next, 2),
    CALL(writer_open, 2),
    CALL(writer_write, 2),
    CALL(writer_finish, 1),
    CALL(build, 2),
    CALL(index_open, 2),
    CALL(index_get_info, 2),
    CALL(index_section, 2),
    CALL(index_check, 1),
    CALL(index_verify, 1),
    CALL(index_ids, 2),
    CALL(index_vector, 2),
    CALL(index_vectors, 3),
    CALL(index_name, 3),
    CALL(index_string_id, 3),
    CALL(index_lookup, 3),
    CALL(filter_create, 3),
    CALL(filter_create_except, 2),
    CALL(scratch_create, 2),
    CALL(search, 5),
    CALL(search_range, 4),
    CALL(join, 2),
    CALL(tune, 1),
    CALL(collection_create, 2),
    CALL(collection_open, 2),
    CALL(collection_open_memory, 2),
    CALL(collection_write, 2),
    CALL(collection_load, 2),
    CALL(collection_delete, 2),
    CALL(collection_delete_where, 2),
    CALL(collection_declare, 2),
    CALL(result_create, 1),
    CALL(result_hits, 2),
    CALL(collection_get, 3),
    CALL(collection_exists, 3),
    CALL(collection_count, 2),
    CALL(collection_scroll, 2),
    CALL(collection_search, 3),
    CALL(collection_get_info, 2),
    CALL(collection_vector, 2),
    CALL(collection_field, 2),
    CALL(collection_compact, 1),
    CALL(collection_snapshot, 2),
    CALL(collection_restore, 2),
    CALL(collection_verify, 1),
    CALL(collection_repair, 1),
    CALL(collection_profile_event, 4),
    CALL(collection_profile_get, 3),
    CALL(collection_profile_rebuild, 1),
    CALL(collection_profile_delete, 2),
    CALL(result_vector_spec, 2),
    CALL(collection_generation_get, 3),
    CALL(collection_generation_begin, 3),
    CALL(collection_generation, 2),
    CALL(collection_generation_vector, 2),
    CALL(collection_generation_check, 2),
    CALL(collection_flip, 1),
    CALL(collection_generation_canary, 1),
    CALL(collection_generation_of, 3),
    CALL(collection_generation_drop, 1),
};
#define CALLS (sizeof(calls) / sizeof(*calls))

static void mark_outputs(void) {
    memset(&out, MARK, sizeof(out));
    out.reader_info.struct_size = sizeof(out.reader_info);
    out.index_info.struct_size = sizeof(out.index_info);
    out.section.struct_size = sizeof(out.section);
    out.cpu.struct_size = sizeof(out.cpu);
    out.device.struct_size = sizeof(out.device);
    out.built.struct_size = sizeof(out.built);
    out.joined.struct_size = sizeof(out.joined);
    out.hits.struct_size = sizeof(out.hits);
    out.written.struct_size = sizeof(out.written);
    out.loaded.struct_size = sizeof(out.loaded);
    out.collection_info.struct_size = sizeof(out.collection_info);
    out.profile.struct_size = sizeof(out.profile);
    out.rebuilt.struct_size = sizeof(out.rebuilt);
    out.generation.struct_size = sizeof(out.generation);
    out.checked.struct_size = sizeof(out.checked);
    out.flipped.struct_size = sizeof(out.flipped);
}

/* Free the handles that a good call made: those that are no longer marked. */
static void end_outputs(void) {
    void *mark;
    memset(&mark, MARK, sizeof(mark));
    if ((void *)out.pool != mark) kith_pool_destroy(out.pool);
    if ((void *)out.reader != mark) kith_reader_close(out.reader);
    if ((void *)out.id_reader != mark) kith_id_reader_close(out.id_reader);
    if ((void *)out.writer != mark) kith_writer_abandon(out.writer);
    if ((void *)out.index != mark) kith_index_close(out.index);
    if ((void *)out.filter != mark) kith_filter_destroy(out.filter);
    if ((void *)out.scratch != mark) kith_scratch_destroy(out.scratch);
    if ((void *)out.collection != mark) kith_collection_close(out.collection);
    if ((void *)out.result != mark) kith_result_destroy(out.result);
}

static void test_null_is_refused(void **state) {
    static struct outputs before;
    (void)state;
    for (size_t c = 0; c < CALLS; c++)
        for (unsigned missing = 1; missing <= calls[c].pointers; missing++) {
            kith_error error = {0};
            mark_outputs();
            memcpy(&before, &out, sizeof(out));
            const kith_status status = calls[c].call(missing, &error);
            if (status != KITH_E_ARG) fail_msg("%s: NULL %u gave status %d", calls[c].name, missing, (int)status);
            if (memcmp(&before, &out, sizeof(out))) fail_msg("%s: NULL %u: touched an output", calls[c].name, missing);
            if (error.status != KITH_OK && (error.status != KITH_E_ARG || !*error.text))
                fail_msg("%s: NULL %u: the error says %d", calls[c].name, missing, (int)error.status);
            assert_int_equal(calls[c].call(missing, NULL), KITH_E_ARG);
        }
}

static void test_error_is_untouched_on_success(void **state) {
    (void)state;
    for (size_t c = 0; c < CALLS; c++) {
        kith_error error, before;
        memset(&error, MARK, sizeof(error));
        before = error;
        mark_outputs();
        const kith_status status = calls[c].call(0, &error);
        if (status != KITH_OK) fail_msg("%s: %.400s", calls[c].name, error.text);
        if (memcmp(&error, &before, sizeof(error))) fail_msg("%s: wrote to error after KITH_OK", calls[c].name);
        end_outputs();
        assert_int_equal(calls[c].call(0, NULL), KITH_OK);
        end_outputs();
    }
}

/* Work that goes on after something failed inside. */
static void test_error_is_untouched_after_a_detour(void **state) {
    enum { MANY = 20000 };
    kith_error error, before;
    kith_reader *nearly = NULL;
    float(*whole)[DIM] = calloc(MANY, sizeof(*whole));
    (void)state;
    assert_non_null(whole);
    memset(&error, MARK, sizeof(error));
    before = error;
    for (size_t i = 0; i < MANY; i++)
        for (size_t j = 0; j < DIM; j++) whole[i][j] = (float)((i * 7 + j * 13 + i * i % 11) % 200);
    whole[MANY / 2 + 77][3] = 0.5f; /* which no sample sees: the build starts over */
    assert_int_equal(kith_reader_from_memory(whole, KITH_F32, MANY, DIM, 0, NULL, &nearly, &error), KITH_OK);
    assert_int_equal(kith_build(nearly, data_path("nearly.kith"), NULL, NULL, &error), KITH_OK);
    kith_reader_close(nearly);
    free(whole);

    FILE *file = fopen(data_path("nearly.kith"), "r+b"); /* header copy A is lost: B serves */
    assert_non_null(file);
    assert_int_equal(fputs("nonsense", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    kith_index *index = NULL;
    assert_int_equal(kith_index_open(data_path("nearly.kith"), NULL, &index, &error), KITH_OK);
    kith_index_close(index);

    file = fopen(data_path("state.join"), "wb"); /* of an earlier join, and damaged: it begins anew */
    assert_non_null(file);
    assert_int_equal(fputs("nonsense", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    kith_join_report report = KITH_JOIN_REPORT_INIT;
    assert_int_equal(kith_join(numbered, reader, data_path("state"), NULL, &report, &error), KITH_OK);
    assert_string_not_equal(report.restarted, "");
    assert_memory_equal(&error, &before, sizeof(error));
}

static void test_ends_take_null(void **state) {
    (void)state;
    kith_pool_destroy(NULL);
    kith_reader_close(NULL);
    kith_id_reader_close(NULL);
    kith_writer_abandon(NULL);
    kith_index_close(NULL);
    kith_filter_destroy(NULL);
    kith_scratch_destroy(NULL);
    kith_collection_close(NULL);
    kith_result_destroy(NULL);
    assert_int_equal(kith_pool_threads(NULL), 0);
    assert_int_equal(kith_filter_count(NULL), 0);
    assert_int_equal(kith_index_tuned(NULL, NULL), 0);
    assert_int_equal(kith_index_tuned(numbered, NULL), 0);
    assert_int_equal(kith_index_sections(NULL), 0);
    assert_string_equal(kith_reader_path(NULL), "");
    assert_int_equal(kith_dtype_parse(NULL), KITH_DTYPE_NONE);
    assert_int_equal(kith_metric_parse(NULL), KITH_METRIC_NONE);
}

/* ---- Every struct, in every size --------------------------------------------------------------------------------- */

static kith_status give_cpu(void *given, kith_error *error) {
    return kith_cpu_info(given, error);
}

static kith_status give_device(void *given, kith_error *error) {
    return device_or_none(given, error);
}

static kith_status give_reader_options(void *given, kith_error *error) {
    kith_reader *opened = NULL;
    const kith_status status = kith_reader_open(data_path("rows.fvecs"), given, &opened, error);
    kith_reader_close(opened);
    return status;
}

static kith_status give_reader_info(void *given, kith_error *error) {
    (void)error;
    return kith_reader_get_info(reader, given);
}

static kith_status give_source(void *given, kith_error *error) {
    kith_reader *made = NULL;
    const kith_status status = kith_reader_from_source(given, &made, error);
    kith_reader_close(made);
    return status;
}

static kith_status give_build_options(void *given, kith_error *error) {
    return kith_build(rows_reader, data_path("new.kith"), given, NULL, error);
}

static kith_status give_build_report(void *given, kith_error *error) {
    return kith_build(rows_reader, data_path("new.kith"), NULL, given, error);
}

static kith_status give_open_options(void *given, kith_error *error) {
    kith_index *index = NULL;
    const kith_status status = kith_index_open(data_path("named.kith"), given, &index, error);
    kith_index_close(index);
    return status;
}

static kith_status give_index_info(void *given, kith_error *error) {
    (void)error;
    return kith_index_get_info(numbered, given);
}

static kith_status give_section(void *given, kith_error *error) {
    (void)error;
    return kith_index_section(numbered, 1, given);
}

static kith_status search_with(const kith_queries *queries, const kith_search_options *options, kith_error *error) {
    kith_ranges ranges;
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    const kith_status range = kith_search_range(numbered, queries, 1, options, scratch, &ranges, NULL);
    const kith_status status = kith_search(numbered, queries, K, options, scratch, ids, distances, error);
    assert_int_equal(range, status);
    return status;
}

static kith_status give_explain(void *given, kith_error *error) {
    const kith_queries queries = some_queries();
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.explain = given;
    return search_with(&queries, &options, error);
}

static kith_status give_queries(void *given, kith_error *error) {
    return search_with(given, NULL, error);
}

static kith_status give_search_options(void *given, kith_error *error) {
    const kith_queries queries = some_queries();
    return search_with(&queries, given, error);
}

static kith_status give_join_options(void *given, kith_error *error) {
    return kith_join(numbered, rows_reader, data_path("joined"), given, NULL, error);
}

static kith_status give_join_report(void *given, kith_error *error) {
    return kith_join(numbered, rows_reader, data_path("joined"), NULL, given, error);
}

static kith_status give_tune_options(void *given, kith_error *error) {
    return kith_tune(data_path("tuned.kith"), NULL, given, error);
}

/* What to begin with, beside the _INIT values. */
static void prepare(void *given, const char *name) {
    if (strcmp(name, "kith_source") == 0) {
        const kith_source source = a_source();
        memcpy(given, &source, sizeof(source));
    }
    if (strcmp(name, "kith_queries") == 0) {
        const kith_queries queries = some_queries();
        memcpy(given, &queries, sizeof(queries));
    }
    prepare_for_shop(given, name);
    if (strcmp(name, "kith_tune_options") == 0) ((kith_tune_options *)given)->queries = 100;
}

#define END_OF(type, member)     (offsetof(type, member) + sizeof(((type *)0)->member))
#define GIVE(type, last, filled) GIVE_(kith_##type, give_##type, last, filled)
#define GIVE_(type, give, last, filled)                                                                                \
    { #type, give, END_OF(type, last), sizeof(type), filled }

static const struct given {
    const char *name;
    kith_status (*give)(void *given, kith_error *error);
    size_t first, today; /* bytes of the first release, without padding, and of today */
    int filled;          /* by the library */
} structs[] = {
    GIVE(cpu, l3_bytes, 1),
    GIVE(device, reserved, 1),
    GIVE(reader_options, max_rows, 0),
    GIVE(reader_info, file_bytes, 1),
    GIVE(source, context, 0),
    GIVE(build_options, progress_context, 0),
    GIVE(build_report, verify_ns, 1),
    GIVE(open_options, populate, 0),
    GIVE(index_info, section, 1),
    GIVE(section, count, 1),
    GIVE(explain, stage_ns, 1),
    GIVE(queries, stride_bytes, 0),
    GIVE(search_options, code, 0),
    GIVE(join_options, progress_context, 0),
    GIVE(join_report, output_bytes, 1),
    GIVE(tune_options, progress_context, 0),
    GIVE(collection_options, model, 0),
    GIVE(collection_open_options, resident_bytes, 0),
    GIVE(items, if_version, 0),
    GIVE(write_report, unmet, 1),
    GIVE(load_options, no_calibration, 0),
    GIVE(load_report, commit_ns, 1),
    GIVE(scroll, reserved, 0),
    GIVE(hits, expires_ms, 1),
    GIVE(ask, user, 0),
    GIVE(ask_report, generation, 1),
    GIVE(profile_options, threshold, 0),
    GIVE(profile_report, threshold, 1),
    GIVE(rebuild_report, skipped, 1),
    GIVE(collection_info, own_segments, 1),
    GIVE(repair_report, segments, 1),
    GIVE(generation_options, vector_count, 0),
    GIVE(generation_info, created_ms, 1),
    GIVE(generation_check_options, progress_context, 0),
    GIVE(generation_report, overlap, 1),
    GIVE(flip_options, check, 0),
    GIVE(flip_report, pause_ns, 1),
};
#define STRUCTS (sizeof(structs) / sizeof(*structs))

/* Hand over a struct that says `says`, in exactly `bytes` bytes of memory; `last`: the last byte of what today's lacks.
 * Compared with `expected`; a struct that was filled is looked at. */
static void give(const struct given *g, size_t says, size_t bytes, unsigned char last, kith_status expected) {
    kith_error error = {0};
    const int long_one = says > g->today && says == bytes;
    unsigned char *memory = malloc(bytes), *full = calloc(1, g->today > bytes ? g->today : bytes);
    assert_true(memory && full);
    if (g->filled)
        memset(full + sizeof(size_t), MARK, bytes - sizeof(size_t));
    else if (strcmp(g->name, "kith_join_options") == 0)
        memcpy(full, &(kith_join_options)KITH_JOIN_OPTIONS_INIT, g->today);
    prepare(full, g->name);
    memcpy(full, &says, sizeof(says));
    memcpy(memory, full, bytes);
    if (long_one) memory[bytes - 1] = last;
    const kith_status status = g->give(memory, &error);
    if (status != expected)
        fail_msg("%s of %zu bytes: status %d, not %d: %s", g->name, says, (int)status, (int)expected, error.text);
    if (status != KITH_OK && *error.text && !strstr(error.text, g->name))
        fail_msg("%s of %zu bytes: '%s' does not name it", g->name, says, error.text);
    assert_memory_equal(memory, &says, sizeof(says));
    if (status != KITH_OK || !g->filled) {
        if (long_one) full[bytes - 1] = last;
        assert_memory_equal(memory, full, bytes);
    } else if (long_one) {
        for (size_t i = g->today; i < bytes; i++) assert_int_equal(memory[i], 0);
    }
    free(full);
    free(memory);
}

static void test_sizes(void **state) {
    (void)state;
    for (size_t s = 0; s < STRUCTS; s++) {
        const struct given *g = &structs[s];
        const size_t wrong[] = {0, 1, sizeof(size_t), g->first - 1, ((size_t)1 << 16) + 1, SIZE_MAX};
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) give(g, wrong[i], g->today, 0, KITH_E_ARG);
        for (size_t bytes = g->first; bytes <= g->today; bytes++) give(g, bytes, bytes, 0, KITH_OK);
        give(g, g->today + 40, g->today + 40, 0, KITH_OK);
        give(g, g->today + 40, g->today + 40, 1, g->filled ? KITH_OK : KITH_E_ARG);
        give(g, g->today + 1, g->today + 1, 1, g->filled ? KITH_OK : KITH_E_ARG);
    }
}

static void test_a_filled_struct_ends_where_it_says(void **state) {
    (void)state;
    for (size_t s = 0; s < STRUCTS; s++) {
        const struct given *g = &structs[s];
        if (!g->filled) continue;
        unsigned char memory[sizeof(kith_index_info) + ROOM];
        assert_true(g->today + ROOM <= sizeof(memory));
        memset(memory, MARK, sizeof(memory));
        memcpy(memory, &g->first, sizeof(g->first));
        assert_int_equal(g->give(memory, NULL), KITH_OK);
        for (size_t i = g->first; i < g->today + ROOM; i++) assert_int_equal(memory[i], MARK);
    }
}

/* ---- Sections and vectors ---------------------------------------------------------------------------------------- */

static void test_sections(void **state) {
    kith_index_info info = KITH_INDEX_INFO_INIT;
    uint64_t end = 0;
    (void)state;
    assert_int_equal(kith_index_get_info(numbered, &info), KITH_OK);
    const size_t count = kith_index_sections(numbered);
    assert_true(count > 5 && info.sections == (count < KITH_SECTIONS_MAX ? count : KITH_SECTIONS_MAX));
    for (size_t i = 0; i < count; i++) {
        kith_section section = KITH_SECTION_INIT;
        assert_int_equal(kith_index_section(numbered, i, &section), KITH_OK);
        assert_true(section.offset >= end && section.offset + section.bytes <= info.file_bytes);
        end = section.offset + section.bytes;
        if (i >= info.sections) continue;
        assert_string_equal(section.name, info.section[i].name);
        assert_int_equal(section.offset, info.section[i].offset);
        assert_int_equal(section.bytes, info.section[i].bytes);
        assert_int_equal(section.count, info.section[i].count);
    }
    kith_section untouched = {.struct_size = sizeof(untouched), .count = 77};
    assert_int_equal(kith_index_section(numbered, count, &untouched), KITH_E_NOTFOUND);
    assert_int_equal(kith_index_section(numbered, SIZE_MAX, &untouched), KITH_E_NOTFOUND);
    assert_int_equal(untouched.count, 77);
}

/* Many at once are what one by one gives: any order, repeated, more than are looked up together. */
static void check_vectors(const data_set *set, const char *path) {
    const size_t bytes = set->dtype == KITH_B1 ? set->row_bytes : set->dim * sizeof(float), count = 3 * set->rows + 5;
    kith_index *index = data_open(path);
    kith_error error = {0};
    uint64_t *ids = malloc(count * sizeof(*ids));
    unsigned char *many = malloc(count * bytes), *one = malloc(bytes);
    assert_true(ids && many && one);
    for (size_t i = 0; i < count; i++) ids[i] = data_id(set, i * i * 31 % set->rows);
    if (kith_index_vectors(index, ids, count, many, &error) != KITH_OK) fail_msg("%s", error.text);
    for (size_t i = 0; i < count; i++) {
        const void *row = data_row(set, i * i * 31 % set->rows);
        if (set->dtype == KITH_B1)
            memcpy(one, row, bytes);
        else
            data_floats(set->dtype, row, set->dim, (float *)(void *)one);
        if (memcmp(one, many + i * bytes, bytes)) fail_msg("%s: vector %zu is not that of its id", path, i);
        assert_int_equal(kith_index_vector(index, ids[i], one, &error), KITH_OK);
        assert_memory_equal(one, many + i * bytes, bytes);
    }
    char place[32];
    for (size_t i = 0; i < count; i += count / 7) {
        const uint64_t kept = ids[i];
        ids[i] = i % 2 ? KITH_ID_NONE : UINT64_C(0x7ffffffffffffff);
        assert_int_equal(kith_index_vectors(index, ids, count, many, &error), KITH_E_NOTFOUND);
        snprintf(place, sizeof(place), "ids[%zu]", i);
        if (!strstr(error.text, place)) fail_msg("'%s' lacks '%s'", error.text, place);
        ids[i] = kept;
    }
    assert_int_equal(kith_index_vectors(index, ids, 0, NULL, &error), KITH_OK);
    assert_int_equal(kith_index_vectors(index, NULL, 0, NULL, &error), KITH_OK);
    free(one);
    free(many);
    free(ids);
    kith_index_close(index);
}

static void test_vectors(void **state) {
    static const kith_dtype dtypes[] = {KITH_F32, KITH_F16, KITH_BF16, KITH_I8, KITH_U8, KITH_B1};
    (void)state;
    for (size_t d = 0; d < sizeof(dtypes) / sizeof(*dtypes); d++)
        for (size_t turn = 0; turn < 4; turn++) {
            const size_t n = turn % 2 ? 500 : 1 + 40 * turn, dim = dtypes[d] == KITH_B1 ? 24 : 7;
            data_set set = data_make(DATA_WHOLE, dtypes[d], dtypes[d] == KITH_B1 ? KITH_HAMMING : KITH_L2SQ, n, dim,
                                     d * 4 + turn, turn >= 2);
            kith_build_options options = KITH_BUILD_OPTIONS_INIT;
            options.lists = dtypes[d] != KITH_B1 && turn == 3 ? 9 : 1;
            options.no_calibration = 1;
            data_build(&set, data_path("vectors.kith"), &options);
            check_vectors(&set, data_path("vectors.kith"));
            data_free(&set);
        }
    kith_error error = {0};
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.originals = KITH_ORIGINALS_NONE;
    assert_int_equal(kith_build(rows_reader, data_path("without.kith"), &options, NULL, &error), KITH_OK);
    kith_index *index = data_open(data_path("without.kith"));
    assert_int_equal(kith_index_vectors(index, some_ids, 1, out.vectors, &error), KITH_E_UNSUPPORTED);
    kith_index_close(index);
}

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static kith_status write_rows(const char *path, kith_error *error) {
    const kith_rows all = {.count = ROWS, .data = rows};
    kith_writer *writer = NULL;
    kith_status status = kith_writer_open(path, KITH_FORMAT_AUTO, KITH_F32, DIM, ROWS, KITH_ID_ROW, 0, &writer, error);
    if (status == KITH_OK) status = kith_writer_write(writer, &all, error);
    if (status == KITH_OK) return kith_writer_finish(writer, error);
    kith_writer_abandon(writer);
    return status;
}

/* A reader that leaves a row out, and one of ids. */
static kith_status make_readers(kith_error *error) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    FILE *text = fopen(data_path("skipped.csv"), "w"), *ids = fopen(data_path("ids.txt"), "w");
    assert_true(text && ids);
    fputs("1,2\n3,nan\n5,6\n", text);
    fputs("0\n5\n", ids);
    fclose(text);
    fclose(ids);
    options.skip_bad = 1;
    const kith_status status = kith_reader_open(data_path("skipped.csv"), &options, &skipping, error);
    if (status != KITH_OK) return status;
    return kith_id_reader_open(data_path("ids.txt"), KITH_ID_U64, &id_reader, error);
}

static kith_status make(kith_error *error) {
    const kith_source source = a_source();
    kith_reader *strings = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = 12;
    options.no_calibration = 1;
    kith_status status = write_rows(data_path("rows.fvecs"), error);
    if (status == KITH_OK) status = kith_reader_open(data_path("rows.fvecs"), NULL, &reader, error);
    if (status == KITH_OK) status = kith_reader_from_memory(rows, KITH_F32, ROWS, DIM, 0, NULL, &rows_reader, error);
    if (status == KITH_OK) status = kith_build(reader, data_path("numbered.kith"), &options, NULL, error);
    if (status == KITH_OK) status = kith_build(reader, data_path("tuned.kith"), &options, NULL, error);
    if (status == KITH_OK) status = kith_reader_from_source(&source, &strings, error);
    if (status == KITH_OK) status = kith_build(strings, data_path("named.kith"), NULL, NULL, error);
    if (status == KITH_OK) status = kith_index_open(data_path("numbered.kith"), NULL, &numbered, error);
    if (status == KITH_OK) status = kith_index_open(data_path("named.kith"), NULL, &named, error);
    if (status == KITH_OK) status = kith_scratch_create(numbered, NULL, &scratch, error);
    if (status == KITH_OK) status = kith_filter_create(numbered, some_ids, ROOM, NULL, &filter, error);
    kith_reader_close(strings);
    if (status == KITH_OK) status = make_shop(error);
    return status == KITH_OK ? make_readers(error) : status;
}

static int set_up(void **state) {
    kith_error error = {0};
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 9, 0);
    memcpy(rows, set.bytes, sizeof(rows));
    data_free(&set);
    for (size_t i = 0; i < ROOM; i++) some_ids[i] = i * 5;
    if (data_folder_make(state) != 0) return -1;
    if (make(&error) == KITH_OK) return 0;
    print_error("%s\n", error.text);
    return -1;
}

static int tear_down(void **state) {
    kith_scratch_destroy(scratch);
    kith_index_close(named);
    kith_index_close(numbered);
    kith_reader_close(rows_reader);
    kith_reader_close(reader);
    kith_reader_close(skipping);
    kith_id_reader_close(id_reader);
    kith_filter_destroy(filter);
    kith_result_destroy(found);
    kith_collection_close(shop);
    return data_folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_is_refused),
        cmocka_unit_test(test_error_is_untouched_on_success),
        cmocka_unit_test(test_error_is_untouched_after_a_detour),
        cmocka_unit_test(test_ends_take_null),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_a_filled_struct_ends_where_it_says),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
