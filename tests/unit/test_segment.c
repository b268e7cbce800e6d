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

#include "support/segment_file.h"

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

static void check_section(const ki_segment *segment, uint32_t kind, uint64_t bytes, uint64_t seed) {
    const ki_section section = ki_segment_section(segment, kind);
    unsigned char *expected = malloc(bytes + 1);
    assert_non_null(section.data);
    assert_int_equal(section.bytes, bytes);
    assert_int_equal((uintptr_t)section.data % 4096, 0);
    test_fill(expected, bytes, seed);
    assert_memory_equal(section.data, expected, bytes);
    const unsigned char *end = (const unsigned char *)section.data + bytes;
    while ((uintptr_t)end % 4096) assert_int_equal(*end++, 0);
    volatile unsigned char sum = 0; /* 4096 readable bytes follow */
    for (int i = 0; i < 4096; i++) sum = (unsigned char)(sum + end[i]);
    free(expected);
}

static void round_trip(void **state) {
    static const uint64_t bytes[] = {1, 4096, 4097, 65536, 65537, 300001, 0, 17};
    const size_t sections = sizeof(bytes) / sizeof(*bytes);
    const char *path = test_path("round.kith");
    kith_index_info info = KITH_INDEX_INFO_INIT;
    const ki_segment_head head = test_head();
    struct stat status;
    (void)state;
    test_make(path, bytes, sections);
    ki_segment *segment = open_ok(path);
    assert_string_equal(ki_segment_path(segment), path);
    assert_memory_equal(ki_segment_get_head(segment), &head, sizeof(head));
    for (size_t i = 0; i < sections; i++) check_section(segment, (uint32_t)i + 1, bytes[i], i);
    assert_null(ki_segment_section(segment, 99).data);
    ki_segment_info(segment, &info);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(info.file_bytes, (uint64_t)status.st_size);
    assert_int_equal(info.sections, sections);
    assert_int_equal(info.format_version, 1);
    assert_int_equal(info.feature_compat, 5);
    assert_string_equal(info.section[2].name, "codes");
    assert_int_equal(info.section[2].bytes, 4097);
    assert_int_equal(info.section[2].count, 4097 / 4);
    assert_int_equal(info.rows, 77);
    assert_true(info.has_names && info.has_originals && !info.integer_codes);
    assert_int_not_equal(info.file_hash, 0);
    assert_int_equal(ki_segment_damaged(segment), 0);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
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
        const ki_section_plan plan[] = {{1, bytes[0], bytes[0] / 4}, {2, bytes[1], bytes[1] / 4}};
        const ki_segment_head head = test_head();
        ki_segment_writer *writer = NULL;
        assert_int_equal(ki_segment_create(test_path("pieces.kith"), plan, 2, &writer, &error), KITH_OK);
        /* First wrong content everywhere: hashes taken then must not survive. */
        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(ki_segment_put(writer, i + 1, 0, data[0], bytes[i], &error), KITH_OK);
        for (uint32_t i = 2; i-- > 0;)
            for (uint64_t end = bytes[i]; end > 0;) {
                const uint64_t step = end < steps[s] ? end : steps[s];
                end -= step;
                assert_int_equal(ki_segment_put(writer, i + 1, end, data[i] + end, step, &error), KITH_OK);
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
    const ki_section_plan plan[] = {{KI_SECTION_IDS, 300, 1}, {KI_SECTION_ORIGINALS, 400000, 1}};
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
        assert_int_equal(ki_segment_put(writer, KI_SECTION_ORIGINALS, 0, data, 400000, &error), KITH_OK);
        if (drafted) {
            for (uint64_t end = 400000; end; end -= end < 70001 ? end : 70001) {
                const uint64_t step = end < 70001 ? end : 70001;
                assert_int_equal(
                    ki_segment_draft(writer, KI_SECTION_ORIGINALS, end - step, draft + end - step, step, &error),
                    KITH_OK);
            }
            assert_int_equal(ki_segment_get(writer, KI_SECTION_ORIGINALS, 0, back, 400000, &error), KITH_OK);
            assert_memory_equal(back, draft, 400000);
            assert_int_equal(ki_segment_get(writer, KI_SECTION_ORIGINALS, 399990, back, 11, &error), KITH_E_ARG);
            assert_int_equal(ki_segment_draft(writer, KI_SECTION_IDS, 300, back, 1, &error), KITH_E_ARG);
            assert_int_equal(ki_segment_get(writer, KI_SECTION_META, 0, back, 0, &error), KITH_E_ARG);
            assert_int_equal(ki_segment_draft(writer, KI_SECTION_ORIGINALS, 5, draft, 0, &error), KITH_OK);
        }
        for (uint64_t at = 0; at < 400000; at += 30000) {
            const uint64_t step = 400000 - at < 30000 ? 400000 - at : 30000;
            assert_int_equal(ki_segment_put(writer, KI_SECTION_ORIGINALS, at, data + at, step, &error), KITH_OK);
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
    const ki_section_plan plan[] = {{KI_SECTION_CODES, 100000, 1}};
    const ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    uint64_t file_bytes = 0;
    char meta[] = "{\"kith\": 1}";
    unsigned char *large = malloc(150000);
    (void)state;
    test_fill(large, 150000, 4);
    assert_int_equal(ki_segment_create(path, plan, 1, &writer, &error), KITH_OK);
    assert_int_equal(ki_segment_put(writer, KI_SECTION_CODES, 70000, "xyz", 3, &error), KITH_OK);
    assert_int_equal(ki_segment_append(writer, KI_SECTION_IDS, large, 150000, 3, &error), KITH_OK);
    assert_int_equal(ki_segment_append(writer, KI_SECTION_META, meta, sizeof(meta) - 1, 1, &error), KITH_OK);
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, &file_bytes, &error), KITH_OK);
    ki_segment *segment = open_ok(path);
    const unsigned char *codes = ki_segment_section(segment, KI_SECTION_CODES).data;
    for (int i = 0; i < 100000; i++)
        if (i < 70000 || i > 70002) assert_int_equal(codes[i], 0);
    assert_memory_equal(codes + 70000, "xyz", 3);
    assert_memory_equal(ki_segment_section(segment, KI_SECTION_META).data, meta, sizeof(meta) - 1);
    check_section(segment, KI_SECTION_IDS, 150000, 4);
    kith_index_info info = KITH_INDEX_INFO_INIT;
    ki_segment_info(segment, &info);
    assert_int_equal(info.file_bytes, file_bytes);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
    free(large);
}

static void writer_refuses(void **state) {
    ki_section_plan plan[KITH_SECTIONS_MAX + 1];
    ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    (void)state;
    for (uint32_t i = 0; i <= KITH_SECTIONS_MAX; i++) plan[i] = (ki_section_plan){i + 1, 10, 1};
    assert_int_equal(ki_segment_create(test_path("a.kith"), plan, KITH_SECTIONS_MAX + 1, &writer, &error),
                     KITH_E_LIMIT);
    plan[1].kind = 1;
    assert_int_equal(ki_segment_create(test_path("a.kith"), plan, 2, &writer, &error), KITH_E_ARG);
    plan[0] = (ki_section_plan){1, UINT64_MAX - 100, 1};
    assert_int_equal(ki_segment_create(test_path("a.kith"), plan, 1, &writer, &error), KITH_E_LIMIT);
    plan[0] = (ki_section_plan){1, 10, 1};
    assert_int_equal(ki_segment_create(test_path("none/a.kith"), plan, 1, &writer, &error), KITH_E_NOTFOUND);
    assert_null(writer);
    assert_int_equal(ki_segment_create(test_path("a.kith"), plan, 1, &writer, &error), KITH_OK);
    assert_int_equal(ki_segment_put(writer, 2, 0, "a", 1, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_put(writer, 1, 10, "a", 1, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_put(writer, 1, UINT64_MAX, "a", 2, &error), KITH_E_ARG);
    assert_int_equal(ki_segment_append(writer, 1, "a", 1, 1, &error), KITH_E_ARG);
    head.feature_incompat = 2; /* not defined */
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_E_ARG);
    assert_int_not_equal(access(test_path("a.kith"), F_OK), 0);
}

static void most_sections(void **state) {
    uint64_t bytes[KITH_SECTIONS_MAX];
    (void)state;
    for (uint64_t i = 0; i < KITH_SECTIONS_MAX; i++) bytes[i] = i * 321;
    test_make(test_path("many.kith"), bytes, KITH_SECTIONS_MAX);
    ki_segment *segment = open_ok(test_path("many.kith"));
    for (uint32_t i = 0; i < KITH_SECTIONS_MAX; i++) check_section(segment, i + 1, bytes[i], i);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    kith_index_info info = KITH_INDEX_INFO_INIT;
    ki_segment_info(segment, &info);
    assert_string_equal(info.section[31].name, "unknown"); /* S2: kinds from the future are kept and ignored */
    ki_segment_close(segment);
}

static void no_section_at_all(void **state) {
    (void)state;
    test_make(test_path("none.kith"), NULL, 0);
    ki_segment *segment = open_ok(test_path("none.kith"));
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
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
    if (ki_segment_put(putters->writer, 3, offset, putters->data + offset, step, NULL) != KITH_OK) putters->failures++;
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
    const ki_section_plan plan[] = {{3, bytes, 1}};
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
    check_section(segment, 3, bytes, 0);
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

static const uint64_t small[] = {5000, 100, 70000};

static test_bytes small_file(const char *path) {
    test_make(path, small, 3);
    return test_read(path);
}

static void header_copies(void **state) {
    const char *path = test_path("copies.kith");
    test_bytes file = small_file(path);
    (void)state;
    file.data[45] ^= 1; /* copy A */
    test_write(path, file.data, file.bytes);
    ki_segment *segment = open_ok(path);
    assert_int_equal(ki_segment_get_head(segment)->rows, 77);
    check_section(segment, 3, small[2], 2);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "header copy A"));
    assert_int_equal(ki_segment_damaged(segment), 0);
    ki_segment_close(segment);
    file.data[file.bytes - 1] ^= 1; /* copy B too */
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_CORRUPT, "header copy B");
    file.data[45] ^= 1; /* A is whole again */
    test_write(path, file.data, file.bytes);
    segment = open_ok(path);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, "header copy B"));
    assert_int_equal(ki_segment_damaged(segment), 0);
    ki_segment_close(segment);
    file.data[file.bytes - 1] ^= 1;
    test_header_a(file)->rows++; /* two believable copies that differ */
    ki_header_seal(test_header_a(file));
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_CORRUPT, "contradict");
    free(file.data);
}

static void versions_and_features(void **state) {
    const char *path = test_path("version.kith");
    test_bytes file = small_file(path);
    ki_header *header = test_header_a(file);
    (void)state;
    header->format_version = 2;
    header->header_bytes = 8192; /* whatever a newer version does: its number is looked at first */
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    open_fails(path, KITH_E_VERSION, "format version 2");
    header->format_version = 1;
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
    free(file.data);
}

/* Numbers of the header set to bad values under correct hashes: refused, with the place named. */
static void hostile_headers(void **state) {
    static const struct {
        size_t offset, bytes;
        uint64_t value;
        const char *words;
    } attack[] = {
        {12, 4, 0, "header"},
        {32, 8, 0, "section 'lists'"},
        {32, 8, UINT64_MAX, "header: says"},
        {76, 4, 33, "33 sections"},
        {76, 4, UINT32_MAX, "4294967295 sections"},
        {76, 4, 2, "block table"},
        {76, 4, 4, "begins at byte 0"},
        {80, 8, 4096, "block table"},
        {80, 8, UINT64_MAX, "block table"},
        {88, 8, UINT64_MAX / 8, "block table"},
        {88, 8, 0, "block table"},
        {96, 4, 0, "block table"},
        {100, 4, 32, "section entries"},
        {1024 + 0, 4, 0, "kind 0"},
        {1024 + 0, 4, 2, "section 'centroids'"},
        {1024 + 8, 8, 0, "section 'lists' begins at byte 0"},
        {1024 + 8, 8, 5000, "section 'lists'"},
        {1024 + 8, 8, UINT64_MAX - 100, "section 'lists'"},
        {1024 + 16, 8, UINT64_MAX, "section 'lists'"},
        {1024 + 16, 8, 9000, "section 'centroids'"},
        {1024 + 16, 8, 100, "section 'centroids'"},
        {1024 + 64 + 8, 8, 4096, "section 'centroids'"},
        {1024 + 128 + 8, 8, 20480, "section 'codes'"},
        {1024 + 128 + 16, 8, UINT64_MAX - 16384, "section 'codes'"},
        {1024 + 128 + 16, 8, 80000, "block table"},
        {1024 + 128 + 16, 8, 200000, "section 'codes'"},
    };
    const char *path = test_path("hostile.kith");
    test_bytes file = small_file(path);
    unsigned char *good = malloc(file.bytes);
    (void)state;
    memcpy(good, file.data, file.bytes);
    for (size_t i = 0; i < sizeof(attack) / sizeof(*attack); i++) {
        memcpy(file.data, good, file.bytes);
        memcpy(file.data + attack[i].offset, &attack[i].value, attack[i].bytes);
        test_reseal(file);
        test_write(path, file.data, file.bytes);
        open_fails(path, KITH_E_CORRUPT, attack[i].words);
    }
    free(good);
    free(file.data);
}

/* Random numbers anywhere in a sealed header: opened or refused, and if opened harmless to read and verify. */
static void hostile_at_random(void **state) {
    static const uint64_t extremes[] = {0,     1,          4095,      4096,       8192,
                                        65536, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 4095};
    const char *path = test_path("random.kith");
    test_bytes file = small_file(path);
    unsigned char *good = malloc(file.bytes);
    ki_rng rng = {7};
    (void)state;
    memcpy(good, file.data, file.bytes);
    for (int round = 0; round < 3000; round++) {
        memcpy(file.data, good, file.bytes);
        for (uint64_t changes = 1 + ki_rng_below(&rng, 3); changes > 0; changes--) {
            const size_t place =
                ki_rng_below(&rng, 2) ? 12 + 4 * ki_rng_below(&rng, 60) : 1024 + 4 * ki_rng_below(&rng, 64);
            const uint64_t value = ki_rng_below(&rng, 2) ? extremes[ki_rng_below(&rng, 10)] : ki_rng_next(&rng);
            memcpy(file.data + place, &value, ki_rng_below(&rng, 2) ? 4 : 8);
        }
        test_reseal(file);
        test_write(path, file.data, file.bytes);
        ki_segment *segment = NULL;
        if (ki_segment_open(path, NULL, &segment, &error) != KITH_OK) continue;
        (void)!ki_segment_verify(segment, NULL, NULL, NULL, &error);
        for (uint32_t kind = 0; kind < 40; kind++) {
            const ki_section section = ki_segment_section(segment, kind);
            volatile unsigned char sum = 0;
            for (uint64_t i = 0; i < section.bytes; i++)
                sum = (unsigned char)(sum + ((const unsigned char *)section.data)[i]);
        }
        ki_segment_close(segment);
    }
    free(good);
    free(file.data);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(ki_section_name(KI_SECTION_LISTS), "lists");
    assert_string_equal(ki_section_name(KI_SECTION_META), "meta");
    assert_string_equal(ki_section_name(0), "unknown");
    assert_string_equal(ki_section_name(KI_SECTION_CALIBRATION), "calibration");
    assert_string_equal(ki_section_name(KI_SECTION_SPILL_FACTORS), "spill_factors");
    assert_string_equal(ki_section_name(KI_SECTION_COARSE_FIRST_FACTORS + 1), "unknown");
    assert_string_equal(ki_section_name(UINT32_MAX), "unknown");
    for (uint32_t kind = KI_SECTION_LISTS; kind <= KI_SECTION_COARSE_FIRST_FACTORS; kind++)
        assert_string_not_equal(ki_section_name(kind), "unknown");
}

static void options_are_honoured(void **state) {
    const kith_open_options options = {.struct_size = sizeof(options), .no_sigbus_handler = 1, .populate = 1};
    ki_segment *segment = NULL;
    (void)state;
    test_make(test_path("options.kith"), small, 3);
    assert_int_equal(ki_segment_open(test_path("options.kith"), &options, &segment, &error), KITH_OK);
    check_section(segment, 3, small[2], 2);
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
        cmocka_unit_test(most_sections),
        cmocka_unit_test(no_section_at_all),
        cmocka_unit_test(several_threads_and_cancelling),
        cmocka_unit_test(not_an_index),
        cmocka_unit_test(text_mode_transfers),
        cmocka_unit_test(header_copies),
        cmocka_unit_test(versions_and_features),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(hostile_at_random),
        cmocka_unit_test(names),
        cmocka_unit_test(options_are_honoured),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
