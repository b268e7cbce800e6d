/* SPDX-License-Identifier: Apache-2.0
 *
 * Every call of OpenCL fails, once and for good: who demanded the device is told, who left it to kith gets the answer
 * of the processor, and what was opened is closed. Skipped where there is no device. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SKIPPED = 77, ROWS = 3000, DIM = 24, QUERIES = 6, K = 5 };

/* Leak sanitizers: what PoCL keeps of works that were given up is its own; faulty_opencl_live counts what is ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libpocl\n";
}

static kith_error error;
static atomic_long *calls, *live;
static long *first;
static int *forever, *code;

static float queries_memory[QUERIES * DIM];
static uint64_t right_ids[QUERIES * K], ids[QUERIES * K];
static float right_distances[QUERIES * K], distances[QUERIES * K];

/* Open and search; how far that came in *explain. */
static kith_status open_and_search(kith_device_use device, uint64_t bytes, kith_plan plan, kith_explain *explain) {
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_index *index = NULL;
    kith_scratch *scratch = NULL;
    open.device = device;
    open.device_bytes = bytes;
    options.plan = plan;
    options.nprobe = plan == KITH_PLAN_IVF ? 40 : 0; /* all lists */
    options.rerank = plan == KITH_PLAN_IVF ? ROWS : 0;
    options.code = plan == KITH_PLAN_IVF ? KITH_SCAN_INT8 : KITH_SCAN_AUTO;
    options.explain = explain;
    queries.data = queries_memory;
    queries.dtype = KITH_F32;
    queries.count = QUERIES;
    queries.dim = DIM;
    memset(ids, 0, sizeof(ids));
    memset(&error, 0, sizeof(error));
    kith_status status = kith_index_open(data_path("faults.kith"), &open, &index, &error);
    if (status == KITH_OK) status = kith_scratch_create(index, NULL, &scratch, &error);
    for (int again = 0; again < 2 && status == KITH_OK; again++)
        status = kith_search(index, &queries, K, &options, scratch, ids, distances, &error);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    if (atomic_load(live)) fail_msg("%ld objects are left", atomic_load(live));
    return status;
}

static void expect_right(long call, const char *what) {
    if (memcmp(ids, right_ids, sizeof(ids)) || memcmp(distances, right_distances, sizeof(distances)))
        fail_msg("call %ld fails, %s: another answer", call, what);
}

/* Fail one call in six of a run after the other, from a given one on: opening takes a compiler's time. */
static void fail_each(long from, uint64_t bytes, kith_plan plan, int for_good, int with) {
    kith_explain explain = KITH_EXPLAIN_INIT;
    long told = 0;
    *first = -1;
    atomic_store(calls, 0);
    assert_int_equal(open_and_search(KITH_DEVICE_OPENCL, bytes, plan, &explain), KITH_OK);
    long count = atomic_load(calls);
    for (long call = from; call < count; call += 6) {
        *forever = for_good;
        *code = with;
        *first = call;
        atomic_store(calls, 0);
        kith_status status = open_and_search(KITH_DEVICE_OPENCL, bytes, plan, &explain);
        if (atomic_load(calls) > count) count = atomic_load(calls);
        if (status == KITH_OK) {
            expect_right(call, "demanded");
        } else {
            told++;
            if (status != KITH_E_NOMEM && status != KITH_E_IO && status != KITH_E_UNSUPPORTED)
                fail_msg("call %ld fails: status %d: %s", call, (int)status, error.text);
            if (strncmp(error.text, "device: ", 8) != 0) fail_msg("call %ld fails: \"%s\"", call, error.text);
        }
        atomic_store(calls, 0);
        status = open_and_search(KITH_DEVICE_AUTO, bytes, plan == KITH_PLAN_IVF ? plan : KITH_PLAN_AUTO, &explain);
        if (status != KITH_OK) fail_msg("call %ld fails, auto: %s", call, error.text);
        expect_right(call, "auto");
    }
    *first = -1;
    assert_true(told > count / 24);
    assert_true(count > 50);
}

static void test_each_call_fails_once(void **state) {
    (void)state;
    fail_each(0, 0, KITH_PLAN_DEVICE, 0, -5 /* CL_OUT_OF_RESOURCES */);
    fail_each(1, 20000, KITH_PLAN_DEVICE, 0, -36 /* CL_INVALID_COMMAND_QUEUE */);
    fail_each(2, 0, KITH_PLAN_IVF, 0, -5);
}

static void test_from_each_call_on_all_fail(void **state) {
    (void)state;
    fail_each(3, 0, KITH_PLAN_DEVICE, 1, -36);
    fail_each(4, 20000, KITH_PLAN_DEVICE, 1, -4 /* CL_MEM_OBJECT_ALLOCATION_FAILURE */);
    fail_each(5, 0, KITH_PLAN_IVF, 1, -36);
}

/* ---- The cache of programs --------------------------------------------------------------------------------------- */

/* Do something to each entry of the cache; how many there are. */
static int each_entry(void (*change)(const char *path)) {
    char folder[4096], path[8192];
    int count = 0;
    snprintf(folder, sizeof(folder), "%s/kith", data_path("cache"));
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        change(path);
        count++;
    }
    if (entries) closedir(entries);
    return count;
}

static void leave(const char *path) {
    (void)path;
}

static void flip(const char *path) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, -100, SEEK_END);
    const int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 0x55, file);
    fclose(file);
}

static void cut(const char *path) {
    struct stat state;
    assert_int_equal(stat(path, &state), 0);
    assert_int_equal(truncate(path, state.st_size / 2), 0);
}

static void empty(const char *path) {
    assert_int_equal(truncate(path, 0), 0);
}

static void test_a_damaged_cache_is_no_cache(void **state) {
    static void (*const damages[])(const char *) = {leave, flip, leave, cut, empty, leave};
    kith_explain explain = KITH_EXPLAIN_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        assert_int_equal(open_and_search(KITH_DEVICE_OPENCL, 0, KITH_PLAN_DEVICE, &explain), KITH_OK);
        expect_right(-1, "damaged cache");
        assert_int_equal(each_entry(damages[i]), 2);
    }
}

/* ---- */

static int prepare(void **state) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    if (data_folder_make(state)) return -1;
    setenv("XDG_CACHE_HOME", data_path("cache"), 1);
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 3, 1);
    options.lists = 40;
    options.index = KITH_INDEX_IVF;
    options.no_calibration = 1;
    data_build(&set, data_path("faults.kith"), &options);
    void *memory = data_queries(&set, DATA_CLUSTERED, KITH_F32, QUERIES, 4);
    memcpy(queries_memory, memory, sizeof(queries_memory));
    free(memory);
    data_free(&set);
    if (open_and_search(KITH_DEVICE_CPU, 0, KITH_PLAN_PLAIN, &explain) != KITH_OK) return -1;
    memcpy(right_ids, ids, sizeof(ids));
    memcpy(right_distances, distances, sizeof(distances));
    return 0;
}

/* The loader that fails, before the library asks for one. */
static int open_loader(void) {
    const char *folder = getenv("KITH_DEVICE_PATH");
    char path[4096];
    snprintf(path, sizeof(path), "%s/tests/libfaulty_opencl.so", folder ? folder : "");
    void *loader = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!loader) return 0;
    setenv("KITH_OPENCL", path, 1);
    calls = dlsym(loader, "faulty_opencl_calls");
    live = dlsym(loader, "faulty_opencl_live");
    first = dlsym(loader, "faulty_opencl_first");
    forever = dlsym(loader, "faulty_opencl_forever");
    code = dlsym(loader, "faulty_opencl_code");
    return calls && live && first && forever && code;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_damaged_cache_is_no_cache),
        cmocka_unit_test(test_each_call_fails_once),
        cmocka_unit_test(test_from_each_call_on_all_fail),
    };
    kith_device device = KITH_DEVICE_INIT;
    if (!open_loader() || kith_device_get(0, &device, &error) != KITH_OK) {
        printf("skipped: there is no device\n");
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, prepare, data_folder_remove);
}
