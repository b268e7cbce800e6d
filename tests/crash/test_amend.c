/* SPDX-License-Identifier: Apache-2.0
 *
 * Replacing the calibration of an index file when the system refuses memory or file operations, when the disk is full,
 * and when the process is killed: the file is the old one or the new one, whole, and nothing is left behind. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/amend.h"
#include "support/data.h"
#include "support/faulty_io.h"
#include "support/faulty_malloc.h"

#include "store/segment.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#ifdef FAULTY_SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { FILE_MOST = 1 << 20, SECTION_BYTES = 100000 };

static kith_error error;
static const char *path;
static unsigned char old_file[FILE_MOST], now_file[FILE_MOST], section[SECTION_BYTES];
static size_t old_bytes;

static size_t slurp(unsigned char *to) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t bytes = fread(to, 1, FILE_MOST, file);
    assert_true(bytes < FILE_MOST);
    fclose(file);
    return bytes;
}

static int is_old(void) {
    return slurp(now_file) == old_bytes && memcmp(old_file, now_file, old_bytes) == 0;
}

static void restore(void) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(old_file, 1, old_bytes, file), old_bytes);
    assert_int_equal(fclose(file), 0);
}

/* Whole, and with the section as it was put. */
static void check_new(void) {
    ki_segment *segment = NULL;
    assert_int_equal(ki_segment_open(path, NULL, &segment, &error), KITH_OK);
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    const ki_part_view found = ki_segment_part(segment, KI_PART_CALIBRATION);
    assert_int_equal(found.bytes, SECTION_BYTES);
    assert_memory_equal(found.data, section, SECTION_BYTES);
    ki_segment_close(segment);
}

/* Files beside the index: hidden temporary ones, which are removed. */
static size_t others(void) {
    char folder_path[512], name[1024];
    size_t count = 0;
    snprintf(folder_path, sizeof(folder_path), "%s", path);
    *strrchr(folder_path, '/') = 0;
    DIR *folder = opendir(folder_path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strncmp(entry->d_name, ".kith-", 6) != 0) continue;
        snprintf(name, sizeof(name), "%s/%s", folder_path, entry->d_name);
        unlink(name);
        count++;
    }
    closedir(folder);
    return count;
}

static kith_status amend(void) {
    return amend_file(path, KI_PART_CALIBRATION, section, SECTION_BYTES, 1, &error);
}

static int set_up(void **state) {
    if (data_folder_make(state) != 0) return -1;
    path = strdup(data_path("amended.kith"));
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 600, 16, 5, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = 12;
    options.no_calibration = 1;
    data_build(&set, path, &options);
    data_free(&set);
    old_bytes = slurp(old_file);
    for (size_t i = 0; i < SECTION_BYTES; i++) section[i] = (unsigned char)(i * 7 + i / 250);
    return 0;
}

static void test_replaced(void **state) {
    (void)state;
    restore();
    kith_index *before = data_open(path);
    assert_int_equal(amend(), KITH_OK);
    check_new();
    section[5]++; /* again: in place of the first */
    assert_int_equal(amend(), KITH_OK);
    check_new();
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index_get_info(before, &info); /* an open index keeps the file it opened */
    assert_int_equal(info.file_bytes, old_bytes);
    kith_index_close(before);
    assert_int_equal(others(), 0);
}

static void test_damage_is_not_sealed(void **state) {
    (void)state;
    for (size_t at = 4096; at < old_bytes - 4096; at += 4099) {
        restore();
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        assert_int_not_equal(fputc(old_file[at] ^ 0x10, file), EOF);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(amend(), KITH_E_CORRUPT);
        assert_int_equal(slurp(now_file), old_bytes);
        assert_int_equal(others(), 0);
    }
}

static void test_calls_fail(void **state) {
    static const struct {
        int number, for_good;
    } faults[] = {{EIO, 0}, {EIO, 1}, {ENOSPC, 0}, {ENOSPC, 1}, {EINTR, 0}, {FAULTY_SHORT, 0}, {FAULTY_SHORT, 1}};
    long refused = 0;
    (void)state;
    for (size_t f = 0; f < sizeof(faults) / sizeof(*faults); f++)
        for (long number = 0, asked = 0; asked >= number; number++) /* until a number is not reached */ {
            restore();
            error = (kith_error){KITH_OK, ""};
            faulty_io_start(number, faults[f].for_good, faults[f].number);
            const kith_status status = amend();
            asked = faulty_io_stop();
            const char *call = atomic_load(&faulty_io_refused);
            if (status == KITH_OK || (call && strcmp(call, "fsync") == 0)) {
                check_new();
            } else {
                if (!call) fail_msg("call %ld: %s", number, error.text);
                if (!strstr(error.text, path)) fail_msg("'%s' names no file", error.text);
                assert_int_equal(status, faults[f].number == ENOSPC ? KITH_E_NOSPACE : KITH_E_IO);
                assert_true(is_old());
            }
            refused += status != KITH_OK;
            assert_int_equal(others(), 0);
            assert_true(number < 5000);
        }
    assert_true(refused > 20);
    print_message("%ld calls failed\n", refused);
}

static kith_status tune(void) {
    return kith_tune(path, NULL, NULL, &error);
}

static void check_tuned(void) {
    assert_int_equal(kith_index_verify(path, NULL, NULL, NULL, &error), KITH_OK);
    kith_index *index = data_open(path);
    assert_true(kith_index_tuned(index, NULL) > 0);
    kith_index_close(index);
}

/* Each allocation refused; tuning takes its time, so that of its many only some are. */
static void refuse(kith_status (*work)(void), void (*whole)(void), long step) {
    long refused = 0;
    for (int for_good = 0; for_good < 2; for_good++)
        for (long number = 0, asked = 0; asked > number - step; number += step) {
            restore();
            error = (kith_error){KITH_OK, ""};
            faulty_malloc_start(number, for_good);
            const kith_status status = work();
            asked = faulty_malloc_stop();
            if (!SANITIZED && atomic_load(&faulty_live) != 0)
                fail_msg("allocation %ld refused: %ld leaked", number, atomic_load(&faulty_live));
            if (status != KITH_OK && status != KITH_E_NOMEM) fail_msg("allocation %ld: %s", number, error.text);
            if (status != KITH_OK) assert_true(is_old());
            if (status == KITH_OK) whole();
            refused += status != KITH_OK;
            assert_int_equal(others(), 0);
            assert_true(number < 5000);
        }
    assert_true(refused > 2);
    print_message("%ld allocations refused\n", refused);
}

static void test_memory_refused(void **state) {
    (void)state;
    refuse(amend, check_new, 1);
    refuse(tune, check_tuned, 5);
}

/* Killed at some moment of tuning: the old file or a new one. */
static void test_killed(void **state) {
    enum { KILLS = 30 };
    unsigned fresh = 0;
    (void)state;
    for (int i = 0; i < KILLS; i++) {
        restore();
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (;;)
                if (tune() != KITH_OK) _exit(1);
        }
        nanosleep(&(struct timespec){0, (i + 1) * 15000000L}, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        if (is_old()) continue;
        check_tuned();
        fresh++;
    }
    others(); /* a killed process may leave a hidden file */
    print_message("%u of %d times the new file was there\n", fresh, (int)KILLS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaced), cmocka_unit_test(test_damage_is_not_sealed),
                                       cmocka_unit_test(test_calls_fail), cmocka_unit_test(test_memory_refused),
                                       cmocka_unit_test(test_killed)};
    return cmocka_run_group_tests(tests, set_up, data_folder_remove);
}
