/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that take the place of others: mode, owner and group are kept (an index of mode 0600 once became 0644 by
 * kith_tune), symbolic links are followed and stay links, and a file that took the name meanwhile is left alone (tuning
 * once put the measurements of one index into another). And an index that is written over while it is open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static kith_error error;
static char *index_path, *other_path;

static struct stat status_of(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0) fail_msg("%s: cannot stat", path);
    return status;
}

static void build(const char *path, uint64_t seed) {
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 1500, 16, seed, 0);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = 20;
    options.no_calibration = 1;
    data_build(&set, path, &options);
    data_free(&set);
}

static int set_up(void **state) {
    if (data_folder_make(state) != 0) return -1;
    index_path = strdup(data_path("items.kith"));
    other_path = strdup(data_path("other.kith"));
    return index_path && other_path ? 0 : -1;
}

static int tear_down(void **state) {
    free(index_path);
    free(other_path);
    return data_folder_remove(state);
}

static void check_calibrated(const char *path, int expected) {
    kith_index *index = data_open(path);
    assert_int_equal(kith_index_tuned(index, NULL) > 0, expected);
    assert_int_equal(kith_index_check(index, NULL, NULL, NULL, &error), KITH_OK);
    kith_index_close(index);
}

static void write_text(const char *path) {
    const float row[2] = {1, 2};
    kith_writer *writer = NULL;
    const kith_rows rows = {.count = 1, .data = row};
    assert_int_equal(kith_writer_open(path, KITH_CSV, KITH_F32, 2, 1, KITH_ID_ROW, 0, &writer, &error), KITH_OK);
    assert_int_equal(kith_writer_write(writer, &rows, &error), KITH_OK);
    assert_int_equal(kith_writer_finish(writer, &error), KITH_OK);
}

static void test_mode_is_kept(void **state) {
    static const mode_t modes[] = {0600, 0640, 0444, 0664};
    const char *text = data_path("rows.csv");
    (void)state;
    build(index_path, 1);
    write_text(text);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        assert_int_equal(chmod(index_path, modes[i]), 0);
        assert_int_equal(chmod(text, modes[i]), 0);
        assert_int_equal(kith_tune(index_path, NULL, NULL, &error), KITH_OK);
        assert_int_equal(status_of(index_path).st_mode & 0777, modes[i]);
        build(index_path, 2);
        write_text(text);
        assert_int_equal(status_of(index_path).st_mode & 0777, modes[i]);
        assert_int_equal(status_of(text).st_mode & 0777, modes[i]);
    }
}

static void test_new_files_obey_the_mask(void **state) {
    const char *path = data_path("new.csv");
    (void)state;
    const mode_t before = umask(027);
    write_text(path);
    umask(before);
    assert_int_equal(status_of(path).st_mode & 0777, 0640);
}

static void test_owner_is_kept(void **state) {
    (void)state;
    build(index_path, 1);
    if (chown(index_path, 12345, 23456) != 0) {
        print_message("owners cannot be changed by this user\n");
        skip();
    }
    assert_int_equal(chmod(index_path, 0640), 0);
    assert_int_equal(kith_tune(index_path, NULL, NULL, &error), KITH_OK);
    const struct stat status = status_of(index_path);
    assert_int_equal(status.st_uid, 12345);
    assert_int_equal(status.st_gid, 23456);
    assert_int_equal(status.st_mode & 0777, 0640);
    unlink(index_path);
}

static void test_links_stay_links(void **state) {
    char *folder = strdup(data_path("v1")), *real = strdup(data_path("v1/real.kith"));
    char *link = strdup(data_path("current.kith")), *chain = strdup(data_path("v1/chain.kith"));
    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(symlink("v1/real.kith", link), 0); /* leads nowhere yet */
    assert_int_equal(symlink("../current.kith", chain), 0);
    build(link, 1);
    check_calibrated(real, 0);
    const ino_t first = status_of(real).st_ino;
    assert_int_equal(kith_tune(chain, NULL, NULL, &error), KITH_OK);
    check_calibrated(real, 1);
    assert_true(S_ISLNK(status_of(link).st_mode) && S_ISLNK(status_of(chain).st_mode));
    assert_true(S_ISREG(status_of(real).st_mode) && status_of(real).st_ino != first);
    free(folder);
    free(real);
    free(link);
    free(chain);
}

static void test_links_in_a_circle(void **state) {
    const char *a = data_path("a.csv"), *b = data_path("b.csv");
    kith_writer *writer = NULL;
    (void)state;
    assert_int_equal(symlink("b.csv", a), 0);
    assert_int_equal(symlink("a.csv", b), 0);
    assert_int_equal(kith_writer_open(a, KITH_CSV, KITH_F32, 2, 1, KITH_ID_ROW, 0, &writer, &error), KITH_E_IO);
    assert_non_null(strstr(error.text, "a.csv"));
}

/* Another index takes the name while the first is measured. */
static int replace_once(void *context, const kith_progress *progress) {
    int *done = context;
    if (!*done && strcmp(progress->stage, "measuring") == 0) *done = rename(other_path, index_path) == 0;
    return 0;
}

static void test_tuned_file_was_replaced(void **state) {
    int done = 0;
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    (void)state;
    build(index_path, 1);
    build(other_path, 2);
    const struct stat other = status_of(other_path);
    options.progress = replace_once;
    options.progress_context = &done;
    assert_int_equal(kith_tune(index_path, NULL, &options, &error), KITH_E_BUSY);
    assert_true(done);
    assert_non_null(strstr(error.text, index_path));
    assert_int_equal(status_of(index_path).st_ino, other.st_ino);
    check_calibrated(index_path, 0);
    unlink(index_path);
    assert_int_equal(kith_tune(index_path, NULL, NULL, &error), KITH_E_NOTFOUND);
}

static kith_status search(const kith_index *index, kith_scratch *scratch) {
    static const float query[16];
    uint64_t ids[3];
    float distances[3];
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = query;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = 16;
    return kith_search(index, &queries, 3, NULL, scratch, ids, distances, &error);
}

static void copy_part(const char *from, const char *to, size_t bytes) {
    char *data = malloc(bytes);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "r+b");
    assert_true(data && in && out);
    assert_int_equal(fread(data, 1, bytes, in), bytes);
    assert_int_equal(fwrite(data, 1, bytes, out), bytes);
    fclose(in);
    fclose(out);
    free(data);
}

/* Copied over in place, as cp does after it has cut the file, and rsync --inplace without. */
static void test_written_over_while_open(void **state) {
    kith_index *index = NULL;
    kith_scratch *scratch = NULL;
    float vector[16];
    (void)state;
    build(index_path, 1);
    build(other_path, 2);
    index = data_open(index_path);
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(search(index, scratch), KITH_OK);
    assert_int_equal(kith_index_vector(index, 7, vector, &error), KITH_OK);
    copy_part(other_path, index_path, 8192);
    assert_int_equal(search(index, scratch), KITH_E_CORRUPT);
    assert_non_null(strstr(error.text, index_path));
    assert_int_equal(kith_index_vector(index, 7, vector, &error), KITH_E_CORRUPT);
    assert_int_equal(kith_index_check(index, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
}

/* What is open is checked, whatever the name stands for now. */
static void test_check_of_an_open_index(void **state) {
    (void)state;
    unlink(index_path);
    build(index_path, 1);
    kith_index *index = data_open(index_path);
    assert_int_equal(rename(index_path, other_path), 0);
    assert_int_equal(kith_index_check(index, NULL, NULL, NULL, &error), KITH_OK);
    assert_int_equal(kith_index_check(NULL, NULL, NULL, NULL, &error), KITH_E_ARG);
    kith_index_close(index);
}

static int has_handler(void) {
    struct sigaction action;
    return sigaction(SIGBUS, NULL, &action) != 0 || action.sa_handler != SIG_DFL;
}

/* In a process of its own, since the handler stays once it is there. */
static void without_handler(void) {
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 1500, 16, 3, 0);
    kith_build_options build_options = KITH_BUILD_OPTIONS_INIT;
    kith_tune_options tune_options = KITH_TUNE_OPTIONS_INIT;
    kith_open_options open_options = KITH_OPEN_OPTIONS_INIT;
    kith_index *index = NULL;
    build_options.lists = 20;
    build_options.no_sigbus_handler = tune_options.no_sigbus_handler = open_options.no_sigbus_handler = 1;
    open_options.verify = 1;
    data_build(&set, index_path, &build_options);
    if (has_handler()) _exit(2);
    if (kith_tune(index_path, NULL, &tune_options, &error) != KITH_OK || has_handler()) _exit(3);
    if (kith_index_open(index_path, &open_options, &index, &error) != KITH_OK || has_handler()) _exit(4);
    kith_index_close(index);
    if (kith_index_verify(index_path, NULL, NULL, NULL, &error) != KITH_OK || !has_handler()) _exit(5);
    _exit(0);
}

static void test_no_handler_where_none_is_wanted(void **state) {
    int status = 0;
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGBUS, SIG_DFL);
        without_handler();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_handler_where_none_is_wanted), /* first: before any other opens a file */
        cmocka_unit_test(test_mode_is_kept),
        cmocka_unit_test(test_new_files_obey_the_mask),
        cmocka_unit_test(test_owner_is_kept),
        cmocka_unit_test(test_links_stay_links),
        cmocka_unit_test(test_links_in_a_circle),
        cmocka_unit_test(test_tuned_file_was_replaced),
        cmocka_unit_test(test_written_over_while_open),
        cmocka_unit_test(test_check_of_an_open_index),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
