/* SPDX-License-Identifier: Apache-2.0
 *
 * What a confined process can still do, and what not: each in a child, since it lasts.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../server/serve/confine.h"

enum { FINE = 0, LACKING = 77 };

static char folder[64], inside[96], linked[112], outside[96], key[112];

static int writes(const char *path) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

static int reads(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

static void *write_in_thread(void *result) {
    *(int *)result = writes(outside);
    return NULL;
}

/* The number of the first line that is not as it should be. */
static int confined_files(void) {
    char lacks[128] = "", served[80], deep[112];
    int of_thread = 0;
    pthread_t thread;
    snprintf(served, sizeof(served), "%s/served", folder);
    snprintf(deep, sizeof(deep), "%s/deep", served);
    const ks_confines confines = {served, {key}};
    /* Elsewhere than where temporary files go. */
    setenv("TMPDIR", served, 1);
    if (!ks_confine_files(&confines, lacks, sizeof(lacks))) {
        fprintf(stderr, "%s\n", lacks);
        return LACKING;
    }
    if (writes(inside) != 0) return __LINE__;
    if (mkdir(deep, 0700) != 0) return __LINE__;
    if (link(inside, linked) != 0) return __LINE__; /* into another folder, as snapshots do */
    if (truncate(inside, 0) != 0) return __LINE__;
    if (unlink(linked) != 0 || rmdir(deep) != 0) return __LINE__;
    if (reads(key) != 0) return __LINE__;
    if (writes(key) != EACCES) return __LINE__;
    if (reads("/etc/passwd") != 0) return __LINE__;
    if (writes(outside) != EACCES) return __LINE__;
    if (reads(folder) != EACCES) return __LINE__;
    if (reads("/root") != EACCES || reads("/home") != EACCES) return __LINE__;
    if (pthread_create(&thread, NULL, write_in_thread, &of_thread) != 0) return __LINE__;
    pthread_join(thread, NULL);
    return of_thread == EACCES ? FINE : __LINE__;
}

static int confined_calls(void) {
    char lacks[128] = "";
    char *arguments[] = {(char *)(uintptr_t) "/bin/true", NULL};
    pthread_t thread;
    int of_thread = 0;
    if (!ks_confine_calls(lacks, sizeof(lacks))) {
        fprintf(stderr, "%s\n", lacks);
        return LACKING;
    }
    if (execv("/bin/true", arguments) != -1 || errno != EPERM) return __LINE__;
    if (unshare(CLONE_NEWUSER) != -1 || errno != EPERM) return __LINE__;
    if (setuid(1) != -1 || errno != EPERM) return __LINE__;
    if (writes(inside) != 0) return __LINE__;
    if (pthread_create(&thread, NULL, write_in_thread, &of_thread) != 0) return __LINE__;
    pthread_join(thread, NULL);
    return of_thread == 0 ? FINE : __LINE__;
}

static void in_child(int (*what)(void)) {
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(what() & 0xff);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == LACKING) skip();
    if (WEXITSTATUS(status) != FINE) fail_msg("line %d (modulo 256)", WEXITSTATUS(status));
}

static void keeps_to_its_files(void **state) {
    (void)state;
    in_child(confined_files);
}

static void keeps_to_its_calls(void **state) {
    (void)state;
    in_child(confined_calls);
}

static int open_folder(void **state) {
    char name[96];
    (void)state;
    /* Not beneath /tmp, which stays open to temporary files. */
    snprintf(folder, sizeof(folder), "/dev/shm/kith-confine-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(name, sizeof(name), "%s/served", folder);
    if (mkdir(name, 0700) != 0) return -1;
    snprintf(name, sizeof(name), "%s/keys", folder);
    if (mkdir(name, 0700) != 0) return -1;
    snprintf(inside, sizeof(inside), "%s/served/file", folder);
    snprintf(linked, sizeof(linked), "%s/served/deep/file", folder);
    snprintf(outside, sizeof(outside), "%s/outside", folder);
    snprintf(key, sizeof(key), "%s/keys/keys.json", folder);
    return writes(key);
}

static int close_folder(void **state) {
    char name[96];
    (void)state;
    unlink(inside);
    unlink(outside);
    unlink(key);
    snprintf(name, sizeof(name), "%s/served", folder);
    rmdir(name);
    snprintf(name, sizeof(name), "%s/keys", folder);
    rmdir(name);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_to_its_files), cmocka_unit_test(keeps_to_its_calls)};
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
