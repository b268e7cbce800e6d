/* SPDX-License-Identifier: Apache-2.0
 *
 * Quotas of control groups in made-up trees, and KITH_THREADS. Guards against: a quota that is not seen (two threads on
 * half a core), one of a group further out, rounding down to no core at all, a misspelt KITH_THREADS that passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/cores.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Write a file of the made-up tree, and the folders to it. */
static void put(const char *name, const char *text) {
    char path[600];
    snprintf(path, sizeof path, "%s", data_path(name));
    for (char *slash = strchr(path + strlen(data_path("")), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Cores of a process that is a member of the groups of `memberships`, in the tree called `tree`. */
static unsigned cores(const char *tree, const char *memberships) {
    put("memberships", memberships);
    return ki_quota_cores(data_path("memberships"), data_path(tree));
}

static void test_version_2(void **state) {
    (void)state;
    put("two/cpu.max", "max 100000\n");
    put("two/half/cpu.max", "50000 100000\n");
    put("two/one/cpu.max", "100000 100000\n");
    put("two/more/cpu.max", "100001 100000\n");
    put("two/slice/cpu.max", "350000 100000\n");
    put("two/slice/free/cpu.max", "max 100000\n");
    put("two/slice/tight/cpu.max", "20000 10000\n");
    put("two/slice/wide/cpu.max", "900000 100000\n");
    put("two/slice/off/tasks", "");
    assert_int_equal(cores("two", "0::/\n"), UINT_MAX);
    assert_int_equal(cores("two", "0::/half\n"), 1);
    assert_int_equal(cores("two", "0::/one\n"), 1);
    assert_int_equal(cores("two", "0::/more\n"), 2);
    assert_int_equal(cores("two", "0::/slice/free\n"), 4);  /* of the group around it */
    assert_int_equal(cores("two", "0::/slice/tight\n"), 2); /* its own */
    assert_int_equal(cores("two", "0::/slice/wide\n"), 4);
    assert_int_equal(cores("two", "0::/slice/off/deep\n"), 4); /* no such controller, no such folder */
    assert_int_equal(cores("two", "0::/half"), 1);             /* no line's end */
}

/* A container that sees its own group as the root, but the host's path. */
static void test_container(void **state) {
    (void)state;
    put("inside/cpu.max", "150000 100000\n");
    put("cpu.max", "100000 100000\n"); /* outside of the mount */
    assert_int_equal(cores("inside", "0::/kubepods/pod1/c2\n"), 2);
    assert_int_equal(cores("inside", "0::/../other\n"), 2);
    assert_int_equal(cores("inside", "0::/..\n"), 2);
    put("inside1/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
    put("inside1/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cores("inside1", "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n"), 3);
}

static void test_version_1(void **state) {
    (void)state;
    put("one/cpu/cpu.cfs_quota_us", "-1\n");
    put("one/cpu/cpu.cfs_period_us", "100000\n");
    put("one/cpu/a/cpu.cfs_quota_us", "400000\n");
    put("one/cpu/a/cpu.cfs_period_us", "100000\n");
    put("one/cpu/a/b/cpu.cfs_quota_us", "1000\n");
    put("one/cpu/a/b/cpu.cfs_period_us", "100000\n");
    put("one/cpuset/a/cpu.cfs_quota_us", "1\n"); /* of no meaning there */
    put("one/cpuset/a/cpu.cfs_period_us", "1\n");
    put("one/unified/x/cpu.max", "200000 100000\n");
    assert_int_equal(cores("one", "1:cpu:/\n0::/\n"), UINT_MAX);
    assert_int_equal(cores("one", "2:cpuset:/a\n1:cpu:/a\n0::/\n"), 4);
    assert_int_equal(cores("one", "1:cpu:/a/b\n"), 1);
    assert_int_equal(cores("one", "1:cpu,cpuacct:/a\n"), 4); /* mounted by one of the names */
    assert_int_equal(cores("one", "1:cpuacct,cpu:/a\n"), 4);
    assert_int_equal(cores("one", "1:cpu:/a\n0::/x\n"), 2); /* both versions: the least of them */
    assert_int_equal(cores("one", "2:cpuset:/a\n"), UINT_MAX);
}

static void test_what_makes_no_sense_is_no_quota(void **state) {
    static const char *const quotas[] = {"",         "\n",     "max", "0 100000", "-5 100000",
                                         "100000 0", "100000", "x y", "1e9 z"};
    char longest[9000], line[20000];
    (void)state;
    for (size_t i = 0; i < sizeof quotas / sizeof *quotas; i++) {
        put("odd/cpu.max", quotas[i]);
        assert_int_equal(cores("odd", "0::/\n"), UINT_MAX);
    }
    put("odd/cpu.max", "99999999999999999 1\n");
    assert_int_equal(cores("odd", "0::/\n"), UINT_MAX);
    put("odd/cpu.max", "200000 100000\n");
    static const char *const lines[] = {"", "\n", "0", "0:\n", "::::::", "0::\n", "0:: \n", "name\n0:cpu\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const unsigned got = cores("odd", lines[i]);
        assert_true(got == UINT_MAX || got == 2);
    }
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    snprintf(line, sizeof line, "7:%s:/\n0::/%s\n0::/\n", longest, longest);
    assert_int_equal(cores("odd", line), 2);
    assert_int_equal(ki_quota_cores(data_path("none"), data_path("odd")), UINT_MAX);
    assert_int_equal(cores("nowhere", "0::/a\n"), UINT_MAX);
}

/* ---- KITH_THREADS ------------------------------------------------------------------------------------------------ */

static void test_threads_by_environment(void **state) {
    static const struct {
        const char *setting;
        unsigned threads;
    } good[] = {{"1", 1}, {"3", 3}, {"256", 256}, {"007", 7}};
    static const char *const bad[] = {"0",  "257", "-1", "two", " 2", "2 ", "+2", "2.0", "0x2", "99999999999999999999",
                                      "2,3"};
    kith_error error = {0};
    kith_pool *pool = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        kith_cpu cpu = KITH_CPU_INIT;
        setenv("KITH_THREADS", good[i].setting, 1);
        if (kith_pool_create(0, &pool, &error) != KITH_OK) fail_msg("%s", error.text);
        assert_int_equal(kith_pool_threads(pool), good[i].threads);
        kith_pool_destroy(pool);
        assert_int_equal(kith_cpu_info(&cpu, &error), KITH_OK);
        assert_int_equal(cpu.threads, good[i].threads);
        assert_int_equal(cpu.cores, ki_cores());
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kith_cpu cpu = KITH_CPU_INIT;
        setenv("KITH_THREADS", bad[i], 1);
        pool = (kith_pool *)&error;
        assert_int_equal(kith_pool_create(0, &pool, &error), KITH_E_ARG);
        assert_ptr_equal(pool, &error);
        assert_non_null(strstr(error.text, "KITH_THREADS"));
        assert_non_null(strstr(error.text, bad[i]));
        assert_non_null(strstr(error.text, "from 1 to 256"));
        assert_int_equal(kith_cpu_info(&cpu, &error), KITH_E_ARG);
        assert_null(cpu.tier);
        assert_int_equal(kith_pool_create(2, &pool, &error), KITH_OK); /* not asked */
        kith_pool_destroy(pool);
    }
    setenv("KITH_THREADS", "", 1); /* as when it is unset */
    assert_int_equal(kith_pool_create(0, &pool, &error), KITH_OK);
    const unsigned most = kith_pool_threads(pool);
    assert_int_equal(most, ki_cores() < KITH_THREADS_MAX ? ki_cores() : KITH_THREADS_MAX);
    kith_pool_destroy(pool);
    unsetenv("KITH_THREADS");
}

/* Options' threads 0 are the same 0. */
static void test_threads_of_a_build(void **state) {
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 100, 8, 1, 0);
    kith_error error = {0};
    kith_reader *reader = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_index *index = NULL;
    (void)state;
    assert_int_equal(kith_reader_from_memory(set.bytes, set.dtype, set.rows, set.dim, 0, NULL, &reader, &error),
                     KITH_OK);
    setenv("KITH_THREADS", "many", 1);
    assert_int_equal(kith_build(reader, data_path("x.kith"), &options, NULL, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "KITH_THREADS is \"many\""));
    options.threads = 1;
    if (kith_build(reader, data_path("x.kith"), &options, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_int_equal(kith_index_open(data_path("x.kith"), NULL, &index, &error), KITH_E_ARG);
    unsetenv("KITH_THREADS");
    assert_int_equal(kith_index_open(data_path("x.kith"), NULL, &index, &error), KITH_OK);
    kith_index_close(index);
    kith_reader_close(reader);
    data_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_container),
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_what_makes_no_sense_is_no_quota),
        cmocka_unit_test(test_threads_by_environment),
        cmocka_unit_test(test_threads_of_a_build),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
