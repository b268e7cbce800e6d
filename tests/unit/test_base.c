/* SPDX-License-Identifier: Apache-2.0
 *
 * src/base, piece by piece: statuses and their sentences, checked sizes, bytes, 16-bit floats, sorting by counts, the
 * random source, types and their names, and files written whole or not at all. The pool has its own test. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/counting_sort.h"
#include "base/file.h"
#include "base/grow.h"
#include "base/half.h"
#include "base/rng.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kith_error error;

static void test_status_texts(void **state) {
    (void)state;
    for (int i = 0; i <= KITH_E_UNSUPPORTED; i++) {
        const char *text = kith_status_text((kith_status)i);
        assert_true(text && *text && strcmp(text, "unknown status") != 0);
        for (int j = 0; j < i; j++) assert_string_not_equal(text, kith_status_text((kith_status)j));
    }
    assert_string_equal(kith_status_text(KITH_OK), "ok");
    assert_string_equal(kith_status_text((kith_status)15), "unknown status");
    assert_string_equal(kith_status_text((kith_status)-1), "unknown status");
    char version[32];
    snprintf(version, sizeof(version), "%d.%d.%d", KITH_VERSION_MAJOR, KITH_VERSION_MINOR, KITH_VERSION_PATCH);
    assert_string_equal(kith_version(), version);
}

static void test_failing_with_a_sentence(void **state) {
    (void)state;
    assert_int_equal(ki_fail(&error, KITH_E_DATA, "%s: row %d", "file", 7), KITH_E_DATA);
    assert_int_equal(error.status, KITH_E_DATA);
    assert_string_equal(error.text, "file: row 7");
    assert_int_equal(ki_fail(NULL, KITH_E_BUSY, "unheard"), KITH_E_BUSY);
    char longest[2 * KITH_ERROR_TEXT_BYTES];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    ki_fail(&error, KITH_E_ARG, "%s", longest);
    assert_int_equal(strlen(error.text), KITH_ERROR_TEXT_BYTES - 1);
    ki_fail_errno(&error, EIO, "%s", longest);
    assert_int_equal(strlen(error.text), KITH_ERROR_TEXT_BYTES - 1);
    static const struct {
        int number;
        kith_status status;
    } cases[] = {{ENOSPC, KITH_E_NOSPACE},  {EDQUOT, KITH_E_NOSPACE},   {EFBIG, KITH_E_NOSPACE},
                 {ENOENT, KITH_E_NOTFOUND}, {ENOTDIR, KITH_E_NOTFOUND}, {ENOMEM, KITH_E_NOMEM},
                 {EIO, KITH_E_IO},          {EACCES, KITH_E_IO}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char expected[200];
        snprintf(expected, sizeof(expected), "cannot: %s", strerror(cases[i].number));
        assert_int_equal(ki_fail_errno(&error, cases[i].number, "cannot"), cases[i].status);
        assert_string_equal(error.text, expected);
        assert_int_equal(ki_fail_errno(NULL, cases[i].number, "cannot"), cases[i].status);
    }
}

static void test_checked_sizes(void **state) {
    uint64_t result;
    (void)state;
    assert_true(ki_mul(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &result));
    assert_false(ki_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &result));
    assert_true(ki_mul(UINT64_MAX, 0, &result) && result == 0);
    assert_true(ki_add(UINT64_MAX - 1, 1, &result) && result == UINT64_MAX);
    assert_false(ki_add(UINT64_MAX, 1, &result));
    assert_int_equal(ki_round_up(0, 64), 0);
    assert_int_equal(ki_round_up(1, 64), 64);
    assert_int_equal(ki_round_up(64, 64), 64);
    assert_null(ki_alloc_array(UINT64_MAX, 2));
    assert_null(ki_alloc_array((uint64_t)PTRDIFF_MAX, 1));
    assert_null(ki_alloc_array_zeroed(UINT64_MAX, UINT64_MAX));
    for (uint64_t bytes = 0; bytes < 200; bytes += 7) {
        unsigned char *memory = ki_alloc_array_zeroed(bytes, 1);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 64, 0);
        for (uint64_t i = 0; i < bytes; i++) assert_int_equal(memory[i], 0);
        free(memory);
    }
}

static void test_growing_arrays(void **state) {
    void *array = NULL;
    size_t capacity = 0;
    unsigned grown = 0;
    (void)state;
    for (size_t i = 0; i < 10000; i++) {
        const size_t before = capacity;
        assert_true(ki_array_reserve(&array, &capacity, i + 1, sizeof(size_t)));
        assert_true(capacity >= i + 1);
        grown += capacity != before;
        ((size_t *)array)[i] = i;
    }
    for (size_t i = 0; i < 10000; i++) assert_int_equal(((size_t *)array)[i], i);
    assert_true(grown < 20); /* doubling */
    void *const same = array;
    const size_t same_capacity = capacity;
    assert_false(ki_array_reserve(&array, &capacity, UINT64_MAX, sizeof(size_t)));
    assert_false(ki_array_reserve(&array, &capacity, UINT64_MAX / 16, sizeof(size_t)));
    assert_ptr_equal(array, same);
    assert_int_equal(capacity, same_capacity);
    assert_true(ki_array_reserve(&array, &capacity, 0, sizeof(size_t)));
    free(array);
}

static void test_bytes_of_any_alignment(void **state) {
    unsigned char bytes[16] = {0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    (void)state;
    assert_int_equal(ki_load_u16(bytes + 1), 0x0201);
    assert_int_equal(ki_load_u32(bytes + 1), 0x04030201);
    assert_int_equal(ki_load_u64(bytes + 1), UINT64_C(0x0807060504030201));
    ki_store_u32(bytes + 3, 0xdeadbeef);
    assert_int_equal(ki_load_u32(bytes + 3), 0xdeadbeef);
    assert_int_equal(bytes[3], 0xef);
    ki_store_u64(bytes + 5, UINT64_C(0x1122334455667788));
    assert_int_equal(bytes[12], 0x11);
    ki_store_f32(bytes + 1, -1.5f);
    assert_true(ki_load_f32(bytes + 1) == -1.5f);
    ki_store_f64(bytes + 1, 0x1p-1000);
    assert_true(ki_load_f64(bytes + 1) == 0x1p-1000);
}

/* All of them there and back; between two neighbours the nearer is taken, and half-way the even one. */
static void test_half_floats(void **state) {
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        const float f16 = ki_f16_to_f32((uint16_t)half), bf16 = ki_bf16_to_f32((uint16_t)half);
        assert_int_equal(ki_f32_to_f16(f16), isnan(f16) ? half | 0x0200 : half);
        assert_int_equal(ki_f32_to_bf16(bf16), isnan(bf16) ? half | 0x0040 : half);
        if ((half & 0x7fff) < 0x7bff) {
            const float middle = f16 / 2 + ki_f16_to_f32((uint16_t)(half + 1)) / 2;
            assert_int_equal(ki_f32_to_f16(middle), half + (half & 1));
            assert_int_equal(ki_f32_to_f16(nextafterf(middle, f16)), half);
            assert_int_equal(ki_f32_to_f16(nextafterf(middle, signbit(f16) ? -INFINITY : INFINITY)), half + 1);
        }
    }
    assert_true(ki_f16_to_f32(0x3c00) == 1 && ki_f16_to_f32(0xc000) == -2 && ki_f16_to_f32(1) == 0x1p-24f);
    assert_int_equal(ki_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(ki_f32_to_f16(-65520.0f), 0xfc00);
    assert_int_equal(ki_f32_to_bf16(3.4e38f), 0x7f80);
}

static void test_sorting_by_counts(void **state) {
    (void)state;
    enum { GROUPS = 5, ITEMS = 9 };
    static const uint32_t group[ITEMS] = {3, 0, 4, 3, 0, 3, 1, 4, 0}, starts[GROUPS + 1] = {0, 3, 4, 4, 7, 9};
    static const uint32_t expected[ITEMS] = {1, 4, 8, 6, 0, 3, 5, 2, 7};
    uint32_t first[GROUPS + 2], sorted[ITEMS];
    memset(first, 0xff, sizeof(first));
    for (int again = 0; again < 2; again++) {
        ki_sort_begin(first, GROUPS);
        for (uint32_t i = 0; i < ITEMS; i++) ki_sort_count(first, group[i]);
        ki_sort_starts(first, GROUPS);
        for (uint32_t i = 0; i < ITEMS; i++) sorted[ki_sort_place(first, group[i])] = i;
        assert_memory_equal(sorted, expected, sizeof(expected));
        assert_memory_equal(first, starts, sizeof(starts));
    }
}

static void test_random_source(void **state) {
    /* SplitMix64's published first numbers for seed 1234567. */
    static const uint64_t published[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                         UINT64_C(9817491932198370423)};
    ki_rng rng = {1234567};
    (void)state;
    for (size_t i = 0; i < 3; i++) assert_int_equal(ki_rng_next(&rng), published[i]);
    unsigned seen[10] = {0};
    double sum = 0, square = 0;
    for (int i = 0; i < 20000; i++) {
        seen[ki_rng_below(&rng, 10)]++;
        const double unit = ki_rng_unit(&rng), normal = ki_rng_normal(&rng);
        assert_true(unit >= 0 && unit < 1);
        sum += normal;
        square += normal * normal;
        assert_int_equal(ki_rng_below(&rng, 1), 0);
    }
    for (int i = 0; i < 10; i++) assert_in_range(seen[i], 1800, 2200);
    assert_true(fabs(sum / 20000) < 0.03 && fabs(square / 20000 - 1) < 0.05);
}

static void test_clock(void **state) {
    uint64_t before = ki_now_ns();
    (void)state;
    for (int i = 0; i < 1000; i++) {
        const uint64_t now = ki_now_ns();
        assert_true(now >= before);
        before = now;
    }
}

static void test_types_and_names(void **state) {
    (void)state;
    for (int i = KITH_F32; i <= KITH_B1; i++) assert_int_equal(kith_dtype_parse(kith_dtype_name((kith_dtype)i)), i);
    for (int i = KITH_L2SQ; i <= KITH_JACCARD; i++)
        assert_int_equal(kith_metric_parse(kith_metric_name((kith_metric)i)), i);
    assert_string_equal(kith_dtype_name((kith_dtype)99), "?");
    assert_string_equal(kith_dtype_name((kith_dtype)-1), "?");
    assert_string_equal(kith_metric_name((kith_metric)99), "?");
    assert_string_equal(kith_metric_name((kith_metric)-1), "?");
    assert_int_equal(kith_dtype_parse("float32"), KITH_F32);
    assert_int_equal(kith_metric_parse("dot"), KITH_IP);
    assert_int_equal(kith_metric_parse("euclidean"), KITH_L2SQ);
    assert_int_equal(kith_metric_parse("L2"), KITH_L2SQ);
    assert_int_equal(kith_metric_parse("Inner Product"), KITH_IP);
    assert_int_equal(kith_metric_parse("inner-product"), KITH_IP);
    assert_int_equal(kith_metric_parse("DotProduct"), KITH_IP);
    assert_int_equal(kith_metric_parse("COSINE_Similarity"), KITH_COSINE);
    assert_int_equal(kith_metric_parse("l2_"), KITH_L2SQ);
    assert_int_equal(kith_metric_parse("l"), KITH_METRIC_NONE);
    assert_int_equal(kith_metric_parse("l22"), KITH_METRIC_NONE);
    assert_int_equal(kith_metric_parse("_"), KITH_METRIC_NONE);
    assert_int_equal(kith_metric_parse(NULL), KITH_METRIC_NONE);
    assert_int_equal(kith_dtype_parse("Float32"), KITH_F32);
    assert_int_equal(kith_dtype_parse("BF16"), KITH_BF16);
    assert_int_equal(kith_dtype_parse("f33"), KITH_DTYPE_NONE);
    assert_int_equal(kith_dtype_parse(""), KITH_DTYPE_NONE);
    assert_int_equal(kith_dtype_parse("?"), KITH_DTYPE_NONE);
    assert_int_equal(kith_metric_parse("l3"), KITH_METRIC_NONE);
    assert_int_equal(kith_metric_parse(""), KITH_METRIC_NONE);
    static const size_t element_bits[] = {0, 32, 16, 16, 8, 8, 1};
    for (int i = KITH_F32; i <= KITH_B1; i++) {
        assert_int_equal(kith_row_bytes((kith_dtype)i, 64), 8 * element_bits[i]);
        assert_int_equal(kith_row_bytes((kith_dtype)i, KITH_DIM_MAX), KITH_DIM_MAX / 8 * element_bits[i]);
        assert_int_equal(kith_row_bytes((kith_dtype)i, KITH_DIM_MAX + 8), 0);
        assert_int_equal(kith_row_bytes((kith_dtype)i, SIZE_MAX), 0);
        assert_int_equal(kith_row_bytes((kith_dtype)i, 0), 0);
        assert_int_equal(kith_row_bytes((kith_dtype)i, 7), i == KITH_B1 ? 0 : 7 * element_bits[i] / 8);
    }
    assert_int_equal(kith_row_bytes((kith_dtype)0, 8), 0);
    assert_int_equal(kith_row_bytes((kith_dtype)7, 8), 0);
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static int exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

static void write_file(const char *path, const char *text) {
    ki_outfile file;
    if (ki_outfile_create(path, &file, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_int_equal(ki_outfile_write_at(&file, text, strlen(text), 0, &error), KITH_OK);
    if (ki_outfile_commit(&file, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_int_equal(file.fd, -1);
}

static void expect_text(const char *path, const char *text) {
    int fd;
    uint64_t bytes;
    char data[100];
    assert_int_equal(ki_open_read(path, &fd, &bytes, &error), KITH_OK);
    assert_int_equal(bytes, strlen(text));
    assert_int_equal(ki_read_at(fd, path, data, bytes, 0, &error), KITH_OK);
    assert_memory_equal(data, text, bytes);
    assert_int_equal(ki_read_at(fd, path, data, 5, bytes - 2, &error), KITH_E_FORMAT);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "3 more expected"));
    close(fd);
}

static void test_files_appear_whole(void **state) {
    const char *path = data_path("out");
    ki_outfile file;
    char back[6];
    (void)state;
    assert_int_equal(ki_outfile_create(path, &file, &error), KITH_OK);
    assert_int_equal(ki_outfile_write_at(&file, "world", 5, 6, &error), KITH_OK);
    assert_int_equal(ki_outfile_write_at(&file, "hello ", 6, 0, &error), KITH_OK);
    assert_int_equal(ki_outfile_read_at(&file, back, 6, 3, &error), KITH_OK);
    assert_memory_equal(back, "lo wor", 6);
    assert_false(exists(path));
    assert_int_equal(ki_outfile_commit(&file, &error), KITH_OK);
    expect_text(path, "hello world");
    ki_outfile_discard(&file); /* fine after commit */
    write_file(path, "newer");
    expect_text(path, "newer");
    assert_int_equal(ki_outfile_create(path, &file, &error), KITH_OK);
    assert_int_equal(ki_outfile_write_at(&file, "never", 5, 0, &error), KITH_OK);
    ki_outfile_discard(&file);
    ki_outfile_discard(&file);
    expect_text(path, "newer");
    ki_outfile none = KI_OUTFILE_NONE;
    ki_outfile_discard(&none);
}

static void test_names_of_files(void **state) {
    char before[400], folder[400];
    (void)state;
    assert_non_null(getcwd(before, sizeof(before)));
    snprintf(folder, sizeof(folder), "%s", data_path("."));
    assert_int_equal(chdir(folder), 0);
    write_file("bare", "no folder in the name"); /* beside which the temporary file must lie, too */
    expect_text(data_path("bare"), "no folder in the name");
    const mode_t mask = umask(027);
    write_file("masked", "x");
    umask(mask);
    struct stat status;
    assert_int_equal(stat("masked", &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(chdir(before), 0);
}

static void test_what_is_no_file(void **state) {
    ki_outfile file = KI_OUTFILE_NONE;
    int fd = -7;
    uint64_t bytes = 7;
    (void)state;
    assert_int_equal(ki_outfile_create(data_path("."), &file, &error), KITH_E_ARG);
    assert_int_equal(ki_outfile_create(data_path("none/x"), &file, &error), KITH_E_NOTFOUND);
    assert_non_null(strstr(error.text, "none/x"));
    assert_int_equal(mkfifo(data_path("fifo"), 0600), 0);
    assert_int_equal(ki_outfile_create(data_path("fifo"), &file, &error), KITH_E_ARG);
    assert_int_equal(ki_open_read(data_path("fifo"), &fd, &bytes, &error), KITH_E_UNSUPPORTED); /* and does not wait */
    assert_int_equal(ki_open_read(data_path("."), &fd, &bytes, &error), KITH_E_UNSUPPORTED);
    assert_int_equal(ki_open_read(data_path("none"), &fd, &bytes, &error), KITH_E_NOTFOUND);
    assert_int_equal(ki_open_read("/dev/null", &fd, &bytes, &error), KITH_E_UNSUPPORTED);
    assert_int_equal(file.fd, -1);
    assert_int_equal(fd, -7);
    assert_int_equal(bytes, 7);
}

/* The member `reserved` came after the first release. */
static void test_structs_that_grow(void **state) {
    struct newer {
        kith_search_options options;
        uint64_t wish;
    } newer = {KITH_SEARCH_OPTIONS_INIT, 0};
    kith_search_options given = KITH_SEARCH_OPTIONS_INIT, today = KITH_SEARCH_OPTIONS_INIT;
    (void)state;
    today.reserved = 77; /* as if _INIT said so */
    given.nprobe = 5;
    given.reserved = 88;
    given.struct_size = offsetof(kith_search_options, reserved);
    assert_int_equal(ki_grown_read(KI_GROWN_SEARCH_OPTIONS, &given, &today, &error), KITH_OK);
    assert_int_equal(today.nprobe, 5);
    assert_int_equal(today.reserved, 77);
    assert_int_equal(today.struct_size, sizeof(today));
    given.struct_size = sizeof(given);
    assert_int_equal(ki_grown_read(KI_GROWN_SEARCH_OPTIONS, &given, &today, &error), KITH_OK);
    assert_int_equal(today.reserved, 88);

    newer.options.struct_size = sizeof(newer);
    newer.options.nprobe = 6;
    assert_int_equal(ki_grown_read(KI_GROWN_SEARCH_OPTIONS, &newer, &today, &error), KITH_OK);
    assert_int_equal(today.nprobe, 6);
    assert_int_equal(today.struct_size, sizeof(today));
    newer.options.nprobe = 7;
    newer.wish = 1;
    assert_int_equal(ki_grown_read(KI_GROWN_SEARCH_OPTIONS, &newer, &today, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "kith_search_options"));
    assert_int_equal(today.nprobe, 6);

    assert_int_equal(ki_grown_read(KI_GROWN_SEARCH_OPTIONS, NULL, &today, &error), KITH_OK);
    assert_int_equal(ki_grown_check(KI_GROWN_SEARCH_OPTIONS, NULL, &error), KITH_OK);
    ki_grown_write(KI_GROWN_SEARCH_OPTIONS, &today, &newer);
    assert_int_equal(newer.options.struct_size, sizeof(newer));
    assert_int_equal(newer.options.nprobe, 6);
    assert_int_equal(newer.wish, 0);
    ki_grown_write(KI_GROWN_SEARCH_OPTIONS, &today, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_texts),
        cmocka_unit_test(test_failing_with_a_sentence),
        cmocka_unit_test(test_checked_sizes),
        cmocka_unit_test(test_growing_arrays),
        cmocka_unit_test(test_bytes_of_any_alignment),
        cmocka_unit_test(test_half_floats),
        cmocka_unit_test(test_sorting_by_counts),
        cmocka_unit_test(test_random_source),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_types_and_names),
        cmocka_unit_test(test_structs_that_grow),
        cmocka_unit_test(test_files_appear_whole),
        cmocka_unit_test(test_names_of_files),
        cmocka_unit_test(test_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
