/* SPDX-License-Identifier: Apache-2.0
 *
 * Files are written where /proc is not there: in a chroot, in a container without one. Guards against a finished file
 * that can get no name, because it had none and only /proc could have given it one. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- System calls of a process that has no /proc ----------------------------------------------------------------- */

static int proc_is_gone;

static int is_gone(const char *path) {
    errno = ENOENT;
    return proc_is_gone && strncmp(path, "/proc/", 6) == 0;
}

int stat(const char *path, struct stat *status) {
    return is_gone(path) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, 0);
}

int open(const char *path, int flags, ...) {
    unsigned mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, unsigned);
        va_end(arguments);
    }
    return is_gone(path) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    return is_gone(from) ? -1 : (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static kith_error error;

/* Files of the tests' folder; `hidden`: of them those that begin with a point. */
static size_t count_files(size_t *hidden) {
    DIR *folder = opendir(data_path("."));
    size_t count = 0;
    assert_non_null(folder);
    *hidden = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            count++;
            *hidden += entry->d_name[0] == '.';
        }
    closedir(folder);
    return count;
}

static int holds(const char *path, const char *text) {
    char got[100] = "";
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const int same = fgets(got, sizeof got, file) && strcmp(got, text) == 0;
    fclose(file);
    return same;
}

static void test_written_and_discarded(void **state) {
    ki_outfile file;
    size_t hidden;
    (void)state;
    proc_is_gone = 1;
    for (int round = 0; round < 2; round++) {
        if (ki_outfile_create(data_path("x"), &file, &error) != KITH_OK) fail_msg("%s", error.text);
        assert_int_equal(count_files(&hidden), 1 + (size_t)round);
        assert_int_equal(hidden, 1);
        assert_int_equal(ki_outfile_write_at(&file, round ? "2nd" : "1st", 3, 0, &error), KITH_OK);
        if (ki_outfile_commit(&file, &error) != KITH_OK) fail_msg("%s", error.text);
        assert_true(holds(data_path("x"), round ? "2nd" : "1st"));
        assert_int_equal(count_files(&hidden), 1);
    }
    assert_int_equal(ki_outfile_create(data_path("x"), &file, &error), KITH_OK);
    ki_outfile_discard(&file);
    assert_int_equal(count_files(&hidden), 1);
    assert_true(holds(data_path("x"), "2nd"));
    proc_is_gone = 0;
}

/* /proc goes away while a file is written: the kernel may link it by its descriptor, and where it will not the old file
 * is whole. */
static void test_gone_before_the_end(void **state) {
    ki_outfile file;
    size_t hidden;
    (void)state;
    assert_int_equal(ki_outfile_create(data_path("x"), &file, &error), KITH_OK);
    assert_int_equal(ki_outfile_write_at(&file, "3rd", 3, 0, &error), KITH_OK);
    proc_is_gone = 1;
    const kith_status status = ki_outfile_commit(&file, &error);
    proc_is_gone = 0;
    if (status != KITH_OK) assert_non_null(strstr(error.text, "x: cannot link the finished file"));
    assert_true(holds(data_path("x"), status == KITH_OK ? "3rd" : "2nd"));
    assert_int_equal(count_files(&hidden), 1);
    unlink(data_path("x"));
}

/* Build an index with lists and a calibration, which looks at the file before it has its name; 0 when it is right. */
static int build_and_look(void) {
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 3000, 16, 1, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index *index = NULL;
    size_t hidden;
    int result = 0;
    options.lists = 8;
    data_build(&set, data_path("x.kith"), &options);
    index = data_open(data_path("x.kith"));
    kith_index_get_info(index, &info);
    if (info.rows != 3000 || info.lists != 8) result = 1;
    if (kith_index_verify(data_path("x.kith"), NULL, NULL, NULL, &error) != KITH_OK) result = 2;
    kith_index_close(index);
    unlink(data_path("x.kith"));
    data_free(&set);
    return count_files(&hidden) ? 3 : result;
}

static void test_whole_build(void **state) {
    (void)state;
    proc_is_gone = 1;
    const int result = build_and_look();
    proc_is_gone = 0;
    assert_int_equal(result, 0);
}

/* The same with nothing made up: an empty folder is mounted over /proc for a child. */
static void test_really_without_proc(void **state) {
    enum { NOT_POSSIBLE = 77 };
    int status;
    (void)state;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(NOT_POSSIBLE);
        if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("none", "/proc", "tmpfs", 0, "size=4k") != 0 || access("/proc/self", F_OK) == 0)
            _exit(NOT_POSSIBLE);
        _exit(build_and_look());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_POSSIBLE) {
        print_message("nothing can be mounted over /proc here: skipped\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_and_discarded),
        cmocka_unit_test(test_gone_before_the_end),
        cmocka_unit_test(test_whole_build),
        cmocka_unit_test(test_really_without_proc),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
