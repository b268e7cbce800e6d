/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment file when nothing is wrong, and when its author means ill: layout, round trip, headers, versions, hostile
 * numbers under correct hashes. Damage by accident is tests/crash/test_segment_damage.c's. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/amend.h"
#include "support/version1.h"

#include "base/pool.h"

static kith_error error;

static ki_segment *open_ok(const char *path) {
    ki_segment *segment = NULL;
    if (ki_segment_open(path, NULL, &segment, &error) != KITH_OK) fail_msg("%s", error.text);
    return segment;
}

/* Opening fails with this status, and the sentence has these words. */
static void open_fails(const char *path, kith_status status, const char *words) {
    ki_segment *segment = (ki_segment *)&error;
    error.status = KITH_OK;
    const kith_status got = ki_segment_open(path, NULL, &segment, &error);
    if (got != status || error.status != status)
        fail_msg("status %d, expected %d: %s", (int)got, (int)status, error.text);
    assert_ptr_equal(segment, &error); /* out-parameters stay untouched */
    if (!strstr(error.text, words)) fail_msg("'%s' lacks '%s'", error.text, words);
    if (strncmp(error.text, path, strlen(path)) != 0) fail_msg("'%s' does not name the file", error.text);
}

/* Part `id` has the bytes that test_fill makes of this seed, lies where a reader may rely on it, and ends with
 * zeros. */
static void check_section(const ki_segment *segment, uint32_t id, uint64_t bytes, uint64_t seed) {
    const ki_part_view section = ki_segment_part(segment, id);
    const uintptr_t align = bytes < 65536 ? 256 : 4096;
    unsigned char *expected = malloc(bytes + 1);
    assert_non_null(section.data);
    assert_int_equal(section.bytes, bytes);
    assert_int_equal((uintptr_t)section.data % align, 0);
    test_fill(expected, bytes, seed);
    assert_memory_equal(section.data, expected, bytes);
    const unsigned char *end = (const unsigned char *)section.data + bytes;
    while ((uintptr_t)end % 256) assert_int_equal(*end++, 0);
    volatile unsigned char sum = 0; /* 4096 readable bytes follow */
    for (int i = 0; i < 4096; i++) sum = (unsigned char)(sum + end[i]);
    free(expected);
}

/* A part of a test file of either version. */
static uint32_t part_of(int version, size_t i) {
    return version == 1 ? ki_part_of_version1((uint32_t)i + 1) : test_part(i);
}

static void check_round_trip(int version, const char *path, const uint64_t *bytes, size_t sections) {
    kith_index_info info = KITH_INDEX_INFO_INIT;
    const ki_segment_head head = test_head();
    struct stat status;
    ki_segment *segment = open_ok(path);
    assert_string_equal(ki_segment_path(segment), path);
    assert_memory_equal(ki_segment_get_head(segment), &head, sizeof(head));
    for (size_t i = 0; i < sections; i++) check_section(segment, part_of(version, i), bytes[i], i);
    assert_null(ki_segment_part(segment, 99).data);
    assert_null(ki_segment_part(segment, KI_PART(99, 1)).data);
    ki_segment_info(segment, &info);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(info.file_bytes, (uint64_t)status.st_size);
    assert_int_equal(info.sections, sections);
    assert_int_equal(ki_segment_parts(segment), sections);
    assert_int_equal(info.format_version, version);
    assert_int_equal(info.feature_compat, 5);
    assert_string_equal(info.section[2].name, version == 1 ? "codes/codes" : "lists/bounds");
    assert_int_equal(info.section[2].bytes, 4097);
    assert_int_equal(info.section[2].count, 4097 / 4);
    assert_int_equal(info.rows, 77);
    assert_true(info.has_names && info.has_originals && !info.integer_codes);
    assert_int_not_equal(info.file_hash, 0);
    assert_int_equal(ki_segment_damaged(segment), 0);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
}

static void round_trip(void **state) {
    static const uint64_t bytes[] = {1, 4096, 4097, 65536, 65537, 300001, 0, 17};
    const size_t sections = sizeof(bytes) / sizeof(*bytes);
    (void)state;
    test_make(test_path("round.kith"), bytes, sections);
    check_round_trip(2, test_path("round.kith"), bytes, sections);
    version1_make(test_path("round.kith"), bytes, sections);
    check_round_trip(1, test_path("round.kith"), bytes, sections);
    ki_segment_close(NULL);
    ki_segment_abandon(NULL);
}

/* The same content in pieces of any size and order gives the same file, byte for byte. */
static void pieces_do_not_matter(void **state) {
    static const uint64_t bytes[] = {200000, 70000};
    static const uint64_t steps[] = {1000, 65536, 65537, 200000, 4096};
    unsigned char *data[2];
    (void)state;
    test_make(test_path("whole.kith"), bytes, 2);
    test_bytes whole = test_read(test_path("whole.kith"));
    for (int i = 0; i < 2; i++) {
        data[i] = malloc(bytes[i]);
        test_fill(data[i], bytes[i], (uint64_t)i);
    }
    for (size_t s = 0; s < sizeof(steps) / sizeof(*steps); s++) {
        const ki_part_plan plan[] = {{test_part(0), bytes[0], bytes[0] / 4}, {test_part(1), bytes[1], bytes[1] / 4}};
        const ki_segment_head head = test_head();
        ki_segment_writer *writer = NULL;
        assert_int_equal(ki_segment_create(test_path("pieces.kith"), plan, 2, &writer, &error), KITH_OK);
        /* First wrong content everywhere: hashes taken then must not survive. */
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(ki_segment_put(writer, test_part(i), 0, data[0], bytes[i], &error), KITH_OK);
        for (size_t i = 2; i-- > 0;)
            for (uint64_t end = bytes[i]; end > 0;) {
                const uint64_t step = end < steps[s] ? end : steps[s];
                end -= step;
                assert_int_equal(ki_segment_put(writer, test_part(i), end, data[i] + end, step, &error), KITH_OK);
            }
        assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
        test_bytes pieces = test_read(test_path("pieces.kith"));
        assert_int_equal(pieces.bytes, whole.bytes);
        assert_memory_equal(pieces.data, whole.data, whole.bytes);
        free(pieces.data);
    }
    free(whole.data);
    free(data[0]);
    free(data[1]);
}

/* What was put as a draft first, anywhere, does not show in the file. */
static void drafts_do_not_show(void **state) {
    const ki_part_plan plan[] = {{KI_PART_IDS, 300, 1}, {KI_PART_ORIGINALS, 400000, 1}};
    const ki_segment_head head = test_head();
    unsigned char *data = malloc(400000), *draft = malloc(400000), *back = malloc(400000);
    test_bytes file[2];
    (void)state;
    assert_true(data && draft && back);
    test_fill(data, 400000, 1);
    test_fill(draft, 400000, 2);
    for (int drafted = 0; drafted < 2; drafted++) {
        ki_segment_writer *writer = NULL;
        const char *path = test_path("draft.kith");
        assert_int_equal(ki_segment_create(path, plan, 2, &writer, &error), KITH_OK);
        /* Hashes of this must not survive the draft that comes after it. */
        assert_int_equal(ki_segment_put(writer, KI_PART_ORIGINALS, 0, data, 400000, &error), KITH_OK);
        if (drafted) {
            for (uint64_t end = 400000; end; end -= end < 70001 ? end : 70001) {
                const uint64_t step = end < 70001 ? end : 70001;
                assert_int_equal(
                    ki_segment_draft(writer, KI_PART_ORIGINALS, end - step, draft + end - step, step, &error), KITH_OK);
            }
            assert_int_equal(ki_segment_get(writer, KI_PART_ORIGINALS, 0, back, 400000, &error), KITH_OK);
            assert_memory_equal(back, draft, 400000);
            assert_int_equal(ki_segment_get(writer, KI_PART_ORIGINALS, 399990, back, 11, &error), KITH_E_ARG);
            assert_int_equal(ki_segment_draft(writer, KI_PART_IDS, 300, back, 1, &error), KITH_E_ARG);
            assert_int_equal(ki_segment_get(writer, KI_PART_META, 0, back, 0, &error), KITH_E_ARG);
            assert_int_equal(ki_segment_draft(writer, KI_PART_ORIGINALS, 5, draft, 0, &error), KITH_OK);
        }
        for (uint64_t at = 0; at < 400000; at += 30000) {
            const uint64_t step = 400000 - at < 30000 ? 400000 - at : 30000;
            assert_int_equal(ki_segment_put(writer, KI_PART_ORIGINALS, at, data + at, step, &error), KITH_OK);
        }
        assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
        file[drafted] = test_read(path);
    }
    assert_int_equal(file[0].bytes, file[1].bytes);
    assert_memory_equal(file[0].data, file[1].data, file[0].bytes);
    free(file[0].data);
    free(file[1].data);
    free(data);
    free(draft);
    free(back);
}

static void unwritten_is_zero_and_append(void **state) {
    const char *path = test_path("append.kith");
    const ki_part_plan plan[] = {{KI_PART_CODES, 100000, 1}};
    const ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    uint64_t file_bytes = 0;
    char meta[] = "{\"kith\": 1}";
    unsigned char *large = malloc(150000);
    (void)state;
    test_fill(large, 150000, 4);
    assert_int_equal(ki_segment_create(path, plan, 1, &writer, &error), KITH_OK);
    assert_int_equal(ki_segment_put(writer, KI_PART_CODES, 70000, "xyz", 3, &error), KITH_OK);
    const ki_part_data ids[] = {{{KI_PART_IDS, 150000, 3}, large}, {{KI_PART_ID_ORDER, 5, 3}, large}};
    assert_int_equal(ki_segment_append(writer, ids, 2, &error), KITH_OK);
    assert_int_equal(ki_segment_append(writer, &(ki_part_data){{KI_PART_META, sizeof(meta) - 1, 1}, meta}, 1, &error),
                     KITH_OK);
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, &file_bytes, &error), KITH_OK);
    ki_segment *segment = open_ok(path);
    const unsigned char *codes = ki_segment_part(segment, KI_PART_CODES).data;
    for (int i = 0; i < 100000; i++)
        if (i < 70000 || i > 70002) assert_int_equal(codes[i], 0);
    assert_memory_equal(codes + 70000, "xyz", 3);
    assert_memory_equal(ki_segment_part(segment, KI_PART_META).data, meta, sizeof(meta) - 1);
    check_section(segment, KI_PART_IDS, 150000, 4);
    assert_memory_equal(ki_segment_part(segment, KI_PART_ID_ORDER).data, large, 5);
    kith_index_info info = KITH_INDEX_INFO_INIT;
    ki_segment_info(segment, &info);
    assert_int_equal(info.file_bytes, file_bytes);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
    free(large);
}

/* A plan that cannot be laid out. */
static void plan_fails(const ki_part_plan *plan, size_t parts, kith_status status) {
    ki_segment_writer *writer = NULL;
    assert_int_equal(ki_segment_create(test_path("a.kith"), plan, parts, &writer, &error), status);
    assert_null(writer);
    assert_int_not_equal(access(test_path("a.kith"), F_OK), 0);
}

static void writer_refuses(void **state) {
    enum { MANY = 2100 };
    static ki_part_plan plan[MANY];
    const ki_part_data twice = {{KI_PART(1, 2), 1, 1}, "a"}, none = {{KI_PART(0, 2), 1, 1}, "a"};
    ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    (void)state;
    for (uint32_t i = 0; i <= KI_SECTIONS_MAX; i++) plan[i] = (ki_part_plan){KI_PART(i + 1, 1), 10, 1};
    plan_fails(plan, KI_SECTIONS_MAX + 1, KITH_E_LIMIT);
    for (uint32_t i = 0; i < MANY; i++) plan[i] = (ki_part_plan){KI_PART(1, i + 1), 0, 1};
    plan_fails(plan, MANY, KITH_E_LIMIT); /* the head would be too long */
    plan[1].kind = plan[0].kind;
    plan_fails(plan, 2, KITH_E_ARG);
    plan[0].kind = KI_PART(1, 3); /* does not ascend */
    plan_fails(plan, 2, KITH_E_ARG);
    plan[0].kind = KI_PART(1, 0); /* the head's */
    plan_fails(plan, 1, KITH_E_ARG);
    plan[0].kind = 7; /* of no family */
    plan_fails(plan, 1, KITH_E_ARG);
    plan[0].kind = plan[2].kind = KI_PART(1, 1); /* a family in two places */
    plan[1].kind = KI_PART(2, 1);
    plan_fails(plan, 3, KITH_E_ARG);
    plan[0].bytes = UINT64_MAX - 100;
    plan_fails(plan, 1, KITH_E_LIMIT);
    plan[0].bytes = 10;
    assert_int_equal(ki_segment_create(test_path("none/a.kith"), plan, 1, &writer, &error), KITH_E_NOTFOUND);
    assert_null(writer);
    assert_int_equal(ki_segment_create(test_path("a.kith"), plan, 1, &writer, &error), KITH_OK);
    assert_int_equal(ki_segment_put(writer, KI_PART(1, 2), 0, "a", 1, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_put(writer, plan[0].kind, 10, "a", 1, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_put(writer, plan[0].kind, UINT64_MAX, "a", 2, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_append(writer, &twice, 1, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_append(writer, &none, 1, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_append(writer, &twice, 0, &error), KITH_E_ARG);
    head.feature_incompat = 8; /* not defined */
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_E_ARG);
    assert_int_not_equal(access(test_path("a.kith"), F_OK), 0);
}

/* A section that cannot be appended leaves no trace in the file. */
static void refused_append_does_not_show(void **state) {
    const char *path = test_path("refused.kith");
    const ki_segment_head head = test_head();
    const ki_part_plan plan = {KI_PART(1, 1), 5, 1};
    const ki_part_data refused[] = {{{KI_PART(2, 1), 100000, 1}, NULL}, {{KI_PART(2, 2), UINT64_MAX - 9, 1}, NULL}};
    const ki_part_data fine = {{KI_PART(2, 1), 3, 1}, "abc"};
    test_bytes file[2];
    (void)state;
    for (int refusing = 0; refusing < 2; refusing++) {
        ki_segment_writer *writer = NULL;
        assert_int_equal(ki_segment_create(path, &plan, 1, &writer, &error), KITH_OK);
        if (refusing) assert_int_equal(ki_segment_append(writer, refused, 2, &error), KITH_E_LIMIT);
        assert_int_equal(ki_segment_append(writer, &fine, 1, &error), KITH_OK);
        if (refusing) assert_int_equal(ki_segment_append(writer, refused, 2, &error), KITH_E_ARG);
        assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
        file[refusing] = test_read(path);
    }
    assert_int_equal(file[0].bytes, file[1].bytes);
    assert_memory_equal(file[0].data, file[1].data, file[0].bytes);
    free(file[0].data);
    free(file[1].data);
}

/* As many sections as there may be, and as many parts of one as its head has room for. */
static void most_sections(void **state) {
    enum { PARTS = 2046 };
    static ki_part_plan plan[PARTS];
    uint64_t bytes[3 * KI_SECTIONS_MAX];
    (void)state;
    for (uint64_t i = 0; i < 3 * KI_SECTIONS_MAX; i++) bytes[i] = i * 321 % 5000;
    test_make(test_path("many.kith"), bytes, 3 * KI_SECTIONS_MAX);
    ki_segment *segment = open_ok(test_path("many.kith"));
    for (size_t i = 0; i < 3 * KI_SECTIONS_MAX; i++) check_section(segment, test_part(i), bytes[i], i);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    assert_int_equal(ki_segment_parts(segment), 3 * KI_SECTIONS_MAX);
    assert_string_equal(ki_segment_part_info(segment, 9).name, "second_code/model");
    assert_int_equal(ki_segment_part_info(segment, 765).bytes, bytes[765]);
    /* S2: families and parts from the future are kept and ignored */
    assert_string_equal(ki_segment_part_info(segment, 765).name, "unknown");
    ki_segment_close(segment);

    const ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    for (uint32_t i = 0; i < PARTS; i++) plan[i] = (ki_part_plan){KI_PART(1, 2 * i + 1), i % 7, i};
    assert_int_equal(ki_segment_create(test_path("many.kith"), plan, PARTS, &writer, &error), KITH_OK);
    assert_int_equal(ki_segment_put(writer, plan[PARTS - 4].kind, 0, "abc", 3, &error), KITH_OK);
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
    segment = open_ok(test_path("many.kith"));
    assert_int_equal(ki_segment_parts(segment), PARTS);
    assert_memory_equal(ki_segment_part(segment, plan[PARTS - 4].kind).data, "abc", 3);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
}

/* And as many parts of a file: two sections as large as can be, and one of one part. */
static void most_parts(void **state) {
    enum { PARTS = 2046 };
    static ki_part_plan plan[2 * PARTS + 2];
    const char *path = test_path("parts.kith");
    const ki_segment_head head = test_head();
    const ki_part_data more = {{KI_PART(9, 1), 1, 1}, "a"};
    ki_segment_writer *writer = NULL;
    (void)state;
    for (uint32_t i = 0; i < 2 * PARTS; i++) plan[i] = (ki_part_plan){KI_PART(1 + i / PARTS, 1 + i % PARTS), 1, 1};
    plan[2 * PARTS] = (ki_part_plan){KI_PART(3, 1), 1, 1};
    plan[2 * PARTS + 1] = (ki_part_plan){KI_PART(3, 2), 1, 1};
    plan_fails(plan, 2 * PARTS + 2, KITH_E_LIMIT);
    assert_int_equal(ki_segment_create(path, plan, 2 * PARTS + 1, &writer, &error), KITH_OK);
    assert_int_equal(ki_segment_append(writer, &more, 1, &error), KITH_E_LIMIT);
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment *segment = open_ok(path);
    assert_int_equal(ki_segment_parts(segment), 2 * PARTS + 1);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
}

/* The same of version 1: 32, one of which it never defined. */
static void most_sections_of_version1(void **state) {
    uint64_t bytes[KI_SECTIONS_MAX_VERSION1];
    const size_t last = KI_SECTIONS_MAX_VERSION1 - 1;
    (void)state;
    for (uint64_t i = 0; i <= last; i++) bytes[i] = i * 321;
    version1_make(test_path("many.kith"), bytes, last + 1);
    ki_segment *segment = open_ok(test_path("many.kith"));
    for (size_t i = 0; i < last; i++) check_section(segment, ki_part_of_version1((uint32_t)i + 1), bytes[i], i);
    assert_int_equal(ki_part_of_version1((uint32_t)last + 1), 0);
    assert_string_equal(ki_segment_part_info(segment, last).name, "unknown");
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
}

static void no_section_at_all(void **state) {
    (void)state;
    for (int version = 1; version <= 2; version++) {
        (version == 1 ? version1_make : test_make)(test_path("none.kith"), NULL, 0);
        ki_segment *segment = open_ok(test_path("none.kith"));
        assert_int_equal(ki_segment_parts(segment), 0);
        assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
        ki_segment_close(segment);
    }
}

struct putters {
    ki_segment_writer *writer;
    const unsigned char *data;
    uint64_t bytes, step;
    _Atomic int failures;
};

static void put_piece(void *context, size_t piece, unsigned worker) {
    struct putters *putters = context;
    const uint64_t offset = piece * putters->step;
    const uint64_t left = putters->bytes - offset, step = left < putters->step ? left : putters->step;
    (void)worker;
    if (ki_segment_put(putters->writer, KI_PART_CODES, offset, putters->data + offset, step, NULL) != KITH_OK)
        putters->failures++;
}

static int count_calls(void *context, const kith_progress *progress) {
    assert_true(progress->done <= progress->total);
    assert_string_equal(progress->unit, "bytes");
    ++*(int *)context;
    return 0;
}

static int cancel(void *context, const kith_progress *progress) {
    return strcmp(progress->stage, context) == 0;
}

static void several_threads_and_cancelling(void **state) {
    const uint64_t bytes = 20000003;
    const ki_part_plan plan[] = {{KI_PART_CODES, bytes, 1}};
    const ki_segment_head head = test_head();
    const char *path = test_path("threads.kith");
    unsigned char *data = malloc(bytes);
    kith_pool *pool = NULL;
    int calls = 0;
    (void)state;
    assert_int_equal(kith_pool_create(4, &pool, &error), KITH_OK);
    test_fill(data, bytes, 0);
    char hashing[] = "hashing", verifying[] = "verifying";
    char *const stops[] = {hashing, verifying, NULL};
    for (int i = 0; i < 3; i++) {
        struct putters putters = {.data = data, .bytes = bytes, .step = 100000};
        assert_int_equal(ki_segment_create(path, plan, 1, &putters.writer, &error), KITH_OK);
        ki_pool_run(pool, (size_t)((bytes + putters.step - 1) / putters.step), put_piece, &putters);
        assert_int_equal(putters.failures, 0);
        const kith_status status = ki_segment_finish(putters.writer, &head, pool, stops[i] ? cancel : count_calls,
                                                     stops[i] ? (void *)stops[i] : (void *)&calls, NULL, &error);
        assert_int_equal(status, stops[i] ? KITH_E_CANCELLED : KITH_OK);
        assert_int_equal(access(path, F_OK), stops[i] ? -1 : 0);
    }
    assert_true(calls >= 2);
    ki_segment *segment = open_ok(path);
    check_section(segment, KI_PART_CODES, bytes, 0);
    assert_int_equal(ki_segment_verify(segment, pool, NULL, NULL, &error), KITH_OK);
    assert_int_equal(ki_segment_verify(segment, pool, cancel, verifying, &error), KITH_E_CANCELLED);
    ki_segment_close(segment);
    kith_pool_destroy(pool);
    free(data);
}

/* ---- Files that are no index, or somebody else's ----------------------------------------------------------------- */

static void not_an_index(void **state) {
    static const char text[] = "id,vector\n1,\"0.5\"\n";
    const char *path = test_path("not.kith");
    unsigned char *noise = malloc(20000);
    (void)state;
    open_fails(test_path("absent.kith"), KITH_E_NOTFOUND, "absent.kith");
    open_fails(test_folder, KITH_E_UNSUPPORTED, "regular file");
    test_write(path, "", 0);
    open_fails(path, KITH_E_CORRUPT, "the file is empty");
    test_write(path, text, sizeof(text) - 1);
    open_fails(path, KITH_E_CORRUPT, "it starts with \"id,vector\\x0a1,\\x22");
    test_write(path, "\x89", 1);
    open_fails(path, KITH_E_CORRUPT, "it starts with \"\\x89\"");
    test_fill(noise, 20000, 1);
    test_write(path, noise, 20000);
    open_fails(path, KITH_E_CORRUPT, "not a kith index");
    test_write(path, KI_MAGIC, 8);
    open_fails(path, KITH_E_CORRUPT, "cut short");
    free(noise);
}

static void text_mode_transfers(void **state) {
    static const char *const starts[] = {"\x89KIT\n\x1a\n", "\x89KIT\r\r\n\x1a\r\n", "\x89KIT\r\n\x1a\r\n",
                                         "\x09KIT\r\n\x1a\n"};
    unsigned char file[16384] = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        memset(file, 0, sizeof(file));
        memcpy(file, starts[i], strlen(starts[i]));
        test_write(test_path("text.kith"), file, sizeof(file));
        open_fails(test_path("text.kith"), KITH_E_CORRUPT, "binary mode");
    }
}

/* Version 2: section 'lists' of three parts, and section 'first_level' of two. Version 1: five sections. */
static const uint64_t small[] = {5000, 100, 70000, 300, 4097};
enum { SMALL = 5 };

static test_bytes small_file(const char *path) {
    test_make(path, small, SMALL);
    return test_read(path);
}

static void verify_fails(const ki_segment *segment, const char *words) {
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
    if (!strstr(error.text, words)) fail_msg("'%s' lacks '%s'", error.text, words);
    assert_int_equal(ki_segment_damaged(segment), 0);
}

static void check_header_copies(int version) {
    const char *path = test_path("copies.kith");
    (version == 1 ? version1_make : test_make)(path, small, SMALL);
    test_bytes file = test_read(path);
    file.data[45] ^= 1; /* copy A */
    test_write(path, file.data, file.bytes);
    ki_segment *segment = open_ok(path);
    assert_int_equal(ki_segment_get_head(segment)->rows, 77);
    check_section(segment, part_of(version, 2), small[2], 2);
    verify_fails(segment, "header copy A");
    ki_segment_close(segment);
    file.data[file.bytes - 1] ^= 1; /* copy B too */
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_CORRUPT, "header copy B");
    file.data[45] ^= 1; /* A is whole again */
    test_write(path, file.data, file.bytes);
    segment = open_ok(path);
    verify_fails(segment, "header copy B");
    ki_segment_close(segment);
    file.data[file.bytes - 1] ^= 1;
    test_header_a(file)->rows++; /* two believable copies that differ */
    ki_header_seal(test_header_a(file));
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_CORRUPT, "contradict");
    free(file.data);
}

static void header_copies(void **state) {
    (void)state;
    check_header_copies(1);
    check_header_copies(2);
}

/* One good copy of the section table is enough, whichever header copy is good. */
static void section_table_copies(void **state) {
    const char *path = test_path("tables.kith");
    test_bytes file = small_file(path);
    const size_t table_a = KI_HEADER_BYTES, table_b = file.bytes - KI_HEADER_BYTES - KI_SECTION_TABLE_BYTES;
    (void)state;
    for (int header = 0; header < 3; header++) { /* none of the header's copies is damaged, A, B */
        const size_t at = header == 1 ? 45 : file.bytes - 1;
        if (header) file.data[at] ^= 1;
        file.data[table_a + 40] ^= 4;
        test_write(path, file.data, file.bytes);
        ki_segment *segment = open_ok(path);
        check_section(segment, test_part(4), small[4], 4);
        verify_fails(segment, header == 0 ? "section table, copy A" : header == 1 ? "header copy A" : "header copy B");
        ki_segment_close(segment);
        file.data[table_b + 8191] ^= 4; /* both */
        test_write(path, file.data, file.bytes);
        open_fails(path, KITH_E_CORRUPT, "both copies of the section table");
        file.data[table_a + 40] ^= 4;
        test_write(path, file.data, file.bytes);
        segment = open_ok(path);
        verify_fails(segment, header == 0 ? "section table, copy B" : header == 1 ? "header copy A" : "header copy B");
        ki_segment_close(segment);
        file.data[table_b + 8191] ^= 4;
        if (header) file.data[at] ^= 1;
    }
    free(file.data);
}

static void versions_and_features(void **state) {
    const char *path = test_path("version.kith");
    test_bytes file = small_file(path);
    ki_header *header = test_header_a(file);
    (void)state;
    header->format_version = 3;
    header->header_bytes = 8192; /* whatever a newer version does: its number is looked at first */
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_VERSION, "format version 3");
    header->format_version = 2;
    header->header_bytes = 4096;
    header->feature_incompat = UINT64_C(1) << 40;
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_VERSION, "0x10000000000");
    header->feature_incompat = 0;
    header->feature_compat = UINT64_MAX;
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    ki_segment_close(open_ok(path));
    header->format_version = 0;
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_CORRUPT, "version 0");
    header->format_version = 1; /* entries are of another size */
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_CORRUPT, "version 1");
    free(file.data);
}

typedef struct attack {
    size_t offset, bytes;
    uint64_t value;
    const char *words;
    kith_status status; /* 0: KITH_E_CORRUPT */
} attack;

/* Numbers of a good file set to bad values under correct hashes: refused, with the place named. */
static void try_attacks(int version, size_t sections, const attack *attacks, size_t count) {
    const char *path = test_path("hostile.kith");
    (version == 1 ? version1_make : test_make)(path, small, sections);
    test_bytes file = test_read(path);
    unsigned char *good = malloc(file.bytes);
    assert_non_null(good);
    memcpy(good, file.data, file.bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(file.data, good, file.bytes);
        memcpy(file.data + attacks[i].offset, &attacks[i].value, attacks[i].bytes);
        test_reseal(file);
        test_write(path, file.data, file.bytes);
        open_fails(path, attacks[i].status ? attacks[i].status : KITH_E_CORRUPT, attacks[i].words);
    }
    free(good);
    free(file.data);
}

static void hostile_headers_of_version1(void **state) {
    static const attack attacks[] = {
        {12, 4, 0, "header", 0},
        {32, 8, 0, "section 'lists', part 'table'", 0},
        {32, 8, UINT64_MAX, "header: says", 0},
        {76, 4, 33, "33 sections", 0},
        {76, 4, UINT32_MAX, "4294967295 sections", 0},
        {76, 4, 2, "block table", 0},
        {76, 4, 4, "begins at byte 0", 0},
        {80, 8, 4096, "block table", 0},
        {80, 8, UINT64_MAX, "block table", 0},
        {88, 8, UINT64_MAX / 8, "block table", 0},
        {88, 8, 0, "block table", 0},
        {96, 4, 0, "block table", 0},
        {100, 4, 32, "section entries", 0},
        {1024 + 0, 4, 0, "kind 0", 0},
        {1024 + 64, 4, 1, "repeats section 'lists', part 'table'", 0},
        {1024 + 8, 8, 0, "section 'lists', part 'table' begins at byte 0", 0},
        {1024 + 8, 8, 5000, "section 'lists', part 'table'", 0},
        {1024 + 8, 8, UINT64_MAX - 100, "section 'lists', part 'table'", 0},
        {1024 + 16, 8, UINT64_MAX, "section 'lists', part 'table'", 0},
        {1024 + 16, 8, 9000, "section 'lists', part 'centroids'", 0},
        {1024 + 16, 8, 100, "section 'lists', part 'centroids'", 0},
        {1024 + 64 + 8, 8, 4096, "section 'lists', part 'centroids'", 0},
        {1024 + 128 + 8, 8, 20480, "section 'codes', part 'codes'", 0},
        {1024 + 128 + 16, 8, UINT64_MAX - 16384, "section 'codes', part 'codes'", 0},
        {1024 + 128 + 16, 8, 80000, "block table", 0},
        {1024 + 128 + 16, 8, 200000, "section 'codes', part 'codes'", 0},
    };
    (void)state;
    try_attacks(1, 3, attacks, sizeof(attacks) / sizeof(*attacks));
}

/* Section 'lists' begins at byte 12288: its parts at 256, 5376 and 8192. Section 'first_level' at 94208: 256 and
 * 768. */
static void hostile_headers(void **state) {
    enum { TABLE = 4096, LISTS = 12288, PARTS = LISTS + 64, LEVEL = 94208 };
    static const attack attacks[] = {
        {12, 4, 0, "header", 0},
        {32, 8, 0, "header: a section table", 0},
        {32, 8, UINT64_MAX, "header: a section table", 0},
        {32, 8, 90000, "section 'lists' (78192 bytes at byte 12288)", 0},
        {32, 8, UINT64_C(1) << 60, "header: says", 0},
        {76, 4, 257, "257 sections", 0},
        {76, 4, UINT32_MAX, "4294967295 sections", 0},
        {76, 4, 1, "block table", 0},
        {76, 4, 3, "section table: entry 2 has family 0", 0},
        {80, 8, 12288, "block table", 0},
        {80, 8, UINT64_MAX, "block table", 0},
        {88, 8, UINT64_MAX / 8, "block table", 0},
        {88, 8, 0, "block table", 0},
        {96, 4, 0, "block table", 0},
        {100, 4, 64, "section entries", 0},
        {264, 4, 0, "section table of 0 bytes", 0},
        {264, 4, UINT32_MAX, "section table of 4294967295 bytes", 0},
        /* The section table. */
        {TABLE, 4, 0, "family 0", 0},
        {TABLE, 4, 65536, "family 65536", 0},
        {TABLE, 4, 3, "section 'codes', part 'head': is not the head of this section", 0},
        {TABLE + 32, 4, 1, "section 'lists', part 'head': is not the head of this section", 0},
        {TABLE + 4, 4, 0, "section 'lists', part 'head': has no possible size", 0},
        {TABLE + 4, 4, 255, "has no possible size", 0},
        {TABLE + 4, 4, 65792, "has no possible size", 0},
        {TABLE + 4, 4, UINT32_MAX, "has no possible size", 0},
        {TABLE + 4, 4, 512, "section 'lists', part 'head': has another size than its parts make", 0},
        {TABLE + 8, 8, 0, "section 'lists' begins at byte 0", 0},
        {TABLE + 8, 8, 16384, "section 'lists' begins at byte 16384", 0},
        {TABLE + 8, 8, UINT64_MAX - 100, "section 'lists' (", 0},
        {TABLE + 16, 8, 0, "has no possible size", 0},
        {TABLE + 16, 8, UINT64_MAX, "section 'lists' (", 0},
        {TABLE + 16, 8, 78193, "section 'lists' has 78193 bytes, but its parts make 78192", 0},
        {TABLE + 32 + 8, 8, 12288, "section 'first_level' begins at byte 12288", 0},
        {TABLE + 32 + 16, 8, 4864, "section 'first_level' has 4864 bytes", 0},
        /* The head of section 'lists', and its parts. */
        {LISTS, 4, 0, "is not the head of this section", 0},
        {LISTS + 4, 4, 2, "is not the head of this section", 0},
        {LISTS + 8, 4, 0, "has version 0", 0},
        {LISTS + 8, 4, 2, "section 'lists', part 'head': has version 2", KITH_E_VERSION},
        {LISTS + 12, 4, 0, "has another size than its parts make", 0},
        {LISTS + 12, 4, 2, "section 'lists' has 78192 bytes, but its parts make 5476", 0},
        {LISTS + 12, 4, 4, "its parts do not ascend", 0}, /* the fourth is number 0 */
        {LISTS + 12, 4, 7, "has another size than its parts make", 0},
        {LISTS + 12, 4, UINT32_MAX, "has another size than its parts make", 0},
        {LISTS + 12, 4, UINT32_C(1) << 27, "has another size than its parts make", 0},
        {PARTS, 4, 0, "its parts do not ascend", 0},
        {PARTS, 4, 2, "its parts do not ascend", 0},
        {PARTS + 64, 4, 65536, "its parts do not ascend", 0},
        {PARTS + 8, 8, 0, "section 'lists', part 'table' begins at byte 0", 0},
        {PARTS + 8, 8, 512, "section 'lists', part 'table' begins at byte 512", 0},
        {PARTS + 8, 8, UINT64_MAX - 255, "section 'lists', part 'table' begins", 0},
        {PARTS + 16, 8, 6000, "section 'lists', part 'centroids' begins at byte 5376", 0}, /* would overlap */
        {PARTS + 16, 8, UINT64_MAX, "section 'lists', part 'table' of 18446744073709551615 bytes", 0},
        {PARTS + 16, 8, UINT64_C(1) << 61, "section 'lists', part 'table' begins at byte 256 of its section", 0},
        {PARTS + 32 + 8, 8, 256, "section 'lists', part 'centroids' begins at byte 256", 0},
        {PARTS + 64 + 8, 8, 5632, "section 'lists', part 'bounds' begins at byte 5632", 0},
        {PARTS + 64 + 16, 8, 60000, "section 'lists', part 'bounds' begins", 0}, /* a small one is not aligned so */
        {PARTS + 64 + 16, 8, 78193, "section 'lists' has 78192 bytes", 0},
        {PARTS + 64 + 16, 8, UINT64_MAX - 8191, "section 'lists', part 'bounds' of", 0},
        {LEVEL + 64 + 32 + 16, 8, 4098, "section 'first_level' has 4865 bytes, but its parts make 4866", 0},
    };
    (void)state;
    try_attacks(2, SMALL, attacks, sizeof(attacks) / sizeof(*attacks));
}

/* A head that was damaged is noticed by opening already, and is named. */
static void damaged_heads(void **state) {
    const char *path = test_path("heads.kith");
    test_bytes file = small_file(path);
    (void)state;
    for (size_t at = 0; at < 256; at += 3) {
        file.data[12288 + at] ^= 1;
        test_write(path, file.data, file.bytes);
        open_fails(path, KITH_E_CORRUPT, "section 'lists', part 'head' is damaged");
        file.data[12288 + at] ^= 1;
    }
    free(file.data);
}

/* Where a random number is put: the header, the section table, or a head. */
static size_t random_place(int version, ki_rng *rng) {
    if (ki_rng_below(rng, 2)) return 12 + 4 * ki_rng_below(rng, 64);
    if (version == 1) return 1024 + 4 * ki_rng_below(rng, 100);
    const size_t begin[] = {4096, 12288, 94208};
    return begin[ki_rng_below(rng, 3)] + 4 * ki_rng_below(rng, 50);
}

/* Read every byte that an open segment gives away. */
static void read_all(const ki_segment *segment) {
    volatile unsigned char sum = 0;
    for (uint32_t i = 0; i < 200; i++) {
        const ki_part_view section = ki_segment_part(segment, KI_PART(i / 10, i % 10));
        for (uint64_t at = 0; at < section.bytes; at++)
            sum = (unsigned char)(sum + ((const unsigned char *)section.data)[at]);
    }
    for (size_t i = 0; i < ki_segment_parts(segment); i++)
        sum = (unsigned char)(sum + *ki_segment_part_info(segment, i).name);
}

/* Random numbers anywhere in sealed tables: opened or refused, and if opened harmless to read and verify. */
static void hostile_at_random(void **state) {
    static const uint64_t extremes[] = {0,     1,          4095,      4096,       8192,
                                        65536, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 4095};
    const char *path = test_path("random.kith");
    ki_rng rng = {7};
    (void)state;
    for (int version = 1; version <= 2; version++) {
        (version == 1 ? version1_make : test_make)(path, small, SMALL);
        test_bytes file = test_read(path);
        unsigned char *good = malloc(file.bytes);
        unsigned opened = 0;
        assert_non_null(good);
        memcpy(good, file.data, file.bytes);
        for (int round = 0; round < 3000; round++) {
            memcpy(file.data, good, file.bytes);
            for (uint64_t changes = 1 + ki_rng_below(&rng, 3); changes > 0; changes--) {
                const size_t place = random_place(version, &rng);
                const uint64_t value = ki_rng_below(&rng, 2) ? extremes[ki_rng_below(&rng, 10)] : ki_rng_next(&rng);
                memcpy(file.data + place, &value, ki_rng_below(&rng, 2) ? 4 : 8);
            }
            test_reseal(file);
            test_write(path, file.data, file.bytes);
            ki_segment *segment = NULL;
            if (ki_segment_open(path, NULL, &segment, &error) != KITH_OK) continue;
            opened++;
            (void)!ki_segment_verify(segment, NULL, NULL, NULL, &error);
            read_all(segment);
            ki_segment_close(segment);
        }
        assert_true(opened > 100 && opened < 2900);
        free(good);
        free(file.data);
    }
}

static void names(void **state) {
    (void)state;
    assert_string_equal(ki_part_name(KI_PART_SUPERS), "lists/supers");
    assert_string_equal(ki_part_place(KI_PART_SUPERS), "section 'lists', part 'supers'");
    assert_string_equal(ki_part_name(KI_PART(KI_FAMILY_LISTS, 0)), "lists/head");
    assert_string_equal(ki_part_name(KI_PART_CALIBRATION), "calibration/settings");
    assert_string_equal(ki_part_name(0), "unknown");
    assert_string_equal(ki_part_name(UINT32_MAX), "unknown");
    assert_string_equal(ki_part_place(UINT32_MAX), "an unknown section");
    assert_string_equal(ki_family_name(KI_FAMILY_CALIBRATION), "calibration");
    assert_string_equal(ki_part_place(KI_PART_COLUMN_DATA), "section 'columns', part 'data'");
    assert_string_equal(ki_family_name(KI_FAMILY_COLUMNS), "columns");
    assert_string_equal(ki_family_name(KI_FAMILY_GRAPH), "graph");
    assert_string_equal(ki_family_name(KI_FAMILY_LSH + 1), "unknown");
    assert_string_equal(ki_family_name(UINT32_MAX), "unknown");
    for (uint32_t kind = 1; kind <= 31; kind++) { /* all that version 1 defined, each another part */
        const uint32_t id = ki_part_of_version1(kind);
        assert_string_not_equal(ki_part_name(id), "unknown");
        assert_string_not_equal(ki_family_name(KI_PART_FAMILY(id)), "unknown");
        for (uint32_t other = 1; other < kind; other++) assert_int_not_equal(ki_part_of_version1(other), id);
    }
    assert_int_equal(ki_part_of_version1(0), 0);
    assert_int_equal(ki_part_of_version1(32), 0);
    assert_int_equal(ki_part_of_version1(UINT32_MAX), 0);
}

/* Replacing a part: the others are kept, also of families that are not known; version 1 becomes version 2. */
static void amended(void **state) {
    static const uint64_t bytes[] = {5000, 100, 70000, 300, 4097, 0, 17};
    const char *path = test_path("amended.kith");
    (void)state;
    for (int version = 1; version <= 2; version++)
        for (int round = 0; round < 2; round++) { /* new, and in place of the first */
            kith_index_info info = KITH_INDEX_INFO_INIT;
            char text[] = "what was measured";
            text[0] = (char)('a' + round);
            if (round == 0) (version == 1 ? version1_make : test_make)(path, bytes, 7);
            assert_int_equal(amend_file(path, KI_PART_CALIBRATION, text, sizeof(text), 3, &error), KITH_OK);
            ki_segment *segment = open_ok(path);
            for (size_t i = 0; i < 7; i++) check_section(segment, part_of(version, i), bytes[i], i);
            assert_memory_equal(ki_segment_part(segment, KI_PART_CALIBRATION).data, text, sizeof(text));
            ki_segment_info(segment, &info);
            assert_int_equal(info.format_version, 2);
            assert_int_equal(info.sections, 8);
            assert_int_equal(info.section[7].count, 3);
            assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
            ki_segment_close(segment);
        }
}

static void unknown_is_kept(void **state) {
    const uint32_t unknown[] = {KI_PART(KI_FAMILY_LISTS, 200), KI_PART(500, 3), KI_PART(65535, 65535)};
    const char *path = test_path("unknown.kith");
    const ki_segment_head head = test_head();
    ki_part_plan plan[3];
    ki_segment_writer *writer = NULL;
    (void)state;
    for (size_t i = 0; i < 3; i++) plan[i] = (ki_part_plan){unknown[i], 5, 2};
    assert_int_equal(ki_segment_create(path, plan, 3, &writer, &error), KITH_OK);
    for (size_t i = 0; i < 3; i++) assert_int_equal(ki_segment_put(writer, unknown[i], 0, "later", 5, &error), KITH_OK);
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
    assert_int_equal(amend_file(path, KI_PART_SUPERS, "new", 3, 1, &error), KITH_OK);
    ki_segment *segment = open_ok(path);
    assert_int_equal(ki_segment_parts(segment), 4);
    for (size_t i = 0; i < 3; i++) assert_memory_equal(ki_segment_part(segment, unknown[i]).data, "later", 5);
    assert_memory_equal(ki_segment_part(segment, KI_PART_SUPERS).data, "new", 3);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
}

static void options_are_honoured(void **state) {
    const kith_open_options options = {.struct_size = sizeof(options), .no_sigbus_handler = 1, .populate = 1};
    ki_segment *segment = NULL;
    (void)state;
    test_make(test_path("options.kith"), small, SMALL);
    assert_int_equal(ki_segment_open(test_path("options.kith"), &options, &segment, &error), KITH_OK);
    check_section(segment, test_part(2), small[2], 2);
    assert_int_equal(ki_segment_damaged(segment), 0);
    ki_segment_close(segment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(drafts_do_not_show),
        cmocka_unit_test(unwritten_is_zero_and_append),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(refused_append_does_not_show),
        cmocka_unit_test(most_sections),
        cmocka_unit_test(most_parts),
        cmocka_unit_test(most_sections_of_version1),
        cmocka_unit_test(no_section_at_all),
        cmocka_unit_test(several_threads_and_cancelling),
        cmocka_unit_test(not_an_index),
        cmocka_unit_test(text_mode_transfers),
        cmocka_unit_test(header_copies),
        cmocka_unit_test(section_table_copies),
        cmocka_unit_test(versions_and_features),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(hostile_headers_of_version1),
        cmocka_unit_test(damaged_heads),
        cmocka_unit_test(hostile_at_random),
        cmocka_unit_test(names),
        cmocka_unit_test(amended),
        cmocka_unit_test(unknown_is_kept),
        cmocka_unit_test(options_are_honoured),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
