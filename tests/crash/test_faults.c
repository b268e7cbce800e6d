/* SPDX-License-Identifier: Apache-2.0
 *
 * When the system refuses: memory at each allocation and file operations at each call, once and for good; full disks;
 * and builds that are killed. Always an error or the right result, the old file whole, nothing leaked, and nothing left
 * behind that looks like an index. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/faulty_io.h"
#include "support/faulty_malloc.h"

#include "base/file.h"
#include "base/rng.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

/* Sanitizers allocate behind strdup() and the like by themselves, and watch over leaks at the end. */
#ifdef FAULTY_SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { ROWS = 200, DIM = 64, QUERIES = 5, K = 7 };

static size_t lists = 1; /* of every index here; with more than one also a second code */
static kith_error error;
static data_set old_set, new_set; /* of the same shape */
static uint64_t right_ids[QUERIES * K];
static float *right_queries;

struct bytes {
    unsigned char *data;
    size_t bytes;
};

static struct bytes old_file, new_file;

static struct bytes slurp(const char *path) {
    struct bytes file = {NULL, 0};
    FILE *from = fopen(path, "rb");
    if (!from) return file;
    file.data = malloc(1 << 20);
    assert_non_null(file.data);
    file.bytes = fread(file.data, 1, 1 << 20, from);
    assert_true(file.bytes < 1 << 20);
    fclose(from);
    return file;
}

static int same_file(const char *path, const struct bytes *expected) {
    struct bytes file = slurp(path);
    const int same = file.data && file.bytes == expected->bytes && memcmp(file.data, expected->data, file.bytes) == 0;
    free(file.data);
    return same;
}

static void spill(const char *path, const struct bytes *file) {
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(file->data, 1, file->bytes, to), file->bytes);
    assert_int_equal(fclose(to), 0);
}

/* Files in a folder. Those that are not called `name` must be hidden temporary ones; they are removed. */
static size_t other_files(const char *folder_path, const char *name) {
    DIR *folder = opendir(folder_path);
    size_t count = 0;
    char path[1024];
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strcmp(entry->d_name, name) == 0)
            continue;
        if (strncmp(entry->d_name, ".kith-", 6) != 0 || !strstr(entry->d_name, ".tmp"))
            fail_msg("a file called %s was left", entry->d_name);
        snprintf(path, sizeof(path), "%s/%s", folder_path, entry->d_name);
        unlink(path);
        count++;
    }
    closedir(folder);
    return count;
}

static const char *folder_path, *index_path; /* the folder holds this index and nothing else */

static kith_status build_set(const data_set *set, const char *path, unsigned threads) {
    kith_reader *reader = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = set->metric;
    options.threads = threads;
    options.first_level = KITH_FIRST_LEVEL_ON;
    options.memory_bytes = 16u << 20;
    options.lists = lists;
    options.code = lists > 1 ? "rabitq:2" : NULL;
    options.no_calibration = 1; /* its times are never the same */
    kith_status status =
        kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, set->ids, &reader, &error);
    if (status == KITH_OK) status = kith_build(reader, path, &options, NULL, &error);
    kith_reader_close(reader);
    return status;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

/* One piece of work; KITH_OK only with the right result. */
typedef kith_status (*work_fn)(void);

static kith_status work_build(void) {
    return build_set(&new_set, index_path, 1);
}

static kith_status work_build_threads(void) {
    return build_set(&new_set, index_path, 3);
}

static const char *text_path;

static kith_status work_build_text(void) {
    kith_reader *reader = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.threads = 1;
    options.lists = lists;
    options.no_calibration = 1;
    kith_status status = kith_reader_open(text_path, NULL, &reader, &error);
    if (status == KITH_OK) status = kith_build(reader, index_path, &options, NULL, &error);
    kith_reader_close(reader);
    return status;
}

static kith_status search_index(kith_index *index, kith_scratch *scratch, const kith_filter *filter, kith_plan plan) {
    uint64_t ids[QUERIES * K];
    float distances[QUERIES * K];
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = right_queries;
    queries.dtype = KITH_F32;
    queries.count = QUERIES;
    queries.dim = DIM;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = plan;
    options.filter = filter;
    const kith_status status = kith_search(index, &queries, K, &options, scratch, ids, distances, &error);
    if (status != KITH_OK || filter) return status;
    kith_ranges ranges;
    const kith_status range = kith_search_range(index, &queries, distances[K - 1], &options, scratch, &ranges, &error);
    if (range == KITH_OK && (ranges.offsets[1] < K || memcmp(ranges.ids, ids, K * sizeof(*ids)) != 0)) abort();
    if (memcmp(ids, right_ids, sizeof(ids)) != 0) abort();
    return range;
}

static kith_status work_search(void) {
    kith_index *index = NULL;
    kith_scratch *scratch = NULL;
    kith_filter *filter = NULL, *rest = NULL;
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.verify = 1;
    kith_status status = kith_index_open(index_path, &options, &index, &error);
    if (status == KITH_OK) status = kith_scratch_create(index, NULL, &scratch, &error);
    if (status == KITH_OK) status = kith_filter_create(index, right_ids, 9, NULL, &filter, &error);
    if (status == KITH_OK) status = kith_filter_create_except(NULL, filter, &rest, &error);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_GATHER && status == KITH_OK; plan++) {
        status = search_index(index, scratch, plan == KITH_PLAN_GATHER ? filter : NULL, (kith_plan)plan);
        if (status == KITH_E_NOMEM && !atomic_load(&faulty_for_good) &&
            search_index(index, scratch, plan == KITH_PLAN_GATHER ? filter : NULL, (kith_plan)plan) != KITH_OK)
            abort(); /* a scratch that was refused memory is as good as before */
    }
    kith_filter_destroy(rest);
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
    kith_index_close(index);
    return status;
}

static kith_status work_verify(void) {
    return kith_index_verify(index_path, NULL, NULL, NULL, &error);
}

/* Refuse each allocation of the work in turn. builds: the index file must be the old or, after success, a new one. */
static void refuse_memory(work_fn work, const struct bytes *built, int leaks_tell) {
    long refused = 0;
    for (int for_good = 0; for_good < 2; for_good++)
        for (long number = 0, asked = 0; asked >= number; number++) /* until a number is not reached */ {
            spill(index_path, built ? &old_file : &new_file);
            error = (kith_error){KITH_OK, ""};
            faulty_malloc_start(number, for_good);
            const kith_status status = work();
            asked = faulty_malloc_stop();
            if (leaks_tell && !SANITIZED && atomic_load(&faulty_live) != 0)
                fail_msg("allocation %ld refused: %ld leaked", number, atomic_load(&faulty_live));
            if (status != KITH_OK && status != KITH_E_NOMEM) fail_msg("allocation %ld: %s", number, error.text);
            if (status != KITH_OK && (error.status != status || !error.text[0])) fail_msg("no sentence");
            refused += status != KITH_OK;
            const struct bytes *expected = !built ? &new_file : status == KITH_OK ? built : &old_file;
            if (!same_file(index_path, expected)) fail_msg("allocation %ld: the file is another one", number);
            assert_int_equal(other_files(folder_path, "x.kith"), 0);
            assert_true(number < 5000);
        }
    assert_true(refused > 2);
    print_message("%ld allocations refused\n", refused);
}

static void test_memory_refused_while_building(void **state) {
    (void)state;
    refuse_memory(work_build, &new_file, 1);
}

static void test_memory_refused_while_building_by_threads(void **state) {
    (void)state;
    if (SANITIZED) skip();                           /* they do not survive a refusal while they make a thread */
    refuse_memory(work_build_threads, &new_file, 0); /* the C library keeps what it allocates for threads */
}

static void test_memory_refused_while_building_from_text(void **state) {
    (void)state;
    spill(index_path, &old_file);
    assert_int_equal(work_build_text(), KITH_OK);
    struct bytes built = slurp(index_path);
    refuse_memory(work_build_text, &built, 1);
    free(built.data);
}

static void test_memory_refused_while_searching(void **state) {
    (void)state;
    spill(index_path, &new_file);
    assert_int_equal(work_search(), KITH_OK);
    refuse_memory(work_search, NULL, 1);
}

static void test_memory_refused_while_verifying(void **state) {
    (void)state;
    refuse_memory(work_verify, NULL, 1);
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static const struct {
    int number;
    const char *name;
    int for_good;
} io_faults[] = {{EIO, "EIO", 0},           {EIO, "EIO", 1},     {ENOSPC, "ENOSPC", 0},
                 {ENOSPC, "ENOSPC", 1},     {EINTR, "EINTR", 0}, {FAULTY_SHORT, "short", 0},
                 {FAULTY_SHORT, "short", 1}};
enum { IO_FAULTS = sizeof(io_faults) / sizeof(*io_faults) };

static void test_calls_fail_while_building(void **state) {
    long refused = 0;
    (void)state;
    for (size_t f = 0; f < IO_FAULTS; f++)
        for (long number = 0, asked = 0; asked >= number; number++) /* until a number is not reached */ {
            spill(index_path, &old_file);
            error = (kith_error){KITH_OK, ""};
            faulty_malloc_start(-1, 0);
            faulty_io_start(number, io_faults[f].for_good, io_faults[f].number);
            const kith_status status = work_build();
            asked = faulty_io_stop();
            faulty_malloc_stop();
            const char *call = atomic_load(&faulty_io_refused);
            if (!SANITIZED && atomic_load(&faulty_live) != 0)
                fail_msg("%s at call %ld (%s): leaked", io_faults[f].name, number, call);
            if (status != KITH_OK && !call) fail_msg("call %ld %s: %s", number, io_faults[f].name, error.text);
            if (status != KITH_OK && !strstr(error.text, index_path)) fail_msg("'%s' names no file", error.text);
            if (status != KITH_OK && io_faults[f].number == ENOSPC) assert_int_equal(status, KITH_E_NOSPACE);
            if (status != KITH_OK && io_faults[f].number != ENOSPC) assert_int_equal(status, KITH_E_IO);
            refused += status != KITH_OK;
            /* The folder's sync comes after the rename: then the new file is there, whole, but may not survive a power
             * cut, which is what the error says. */
            const int late = call && strcmp(call, "fsync") == 0;
            if (!same_file(index_path, status == KITH_OK || late ? &new_file : &old_file))
                fail_msg("%s at call %ld (%s): the file is another one", io_faults[f].name, number, call);
            assert_int_equal(other_files(folder_path, "x.kith"), 0);
            assert_true(number < 5000);
        }
    assert_true(refused > 50);
    print_message("%ld calls failed\n", refused);
}

/* Rows that do not fit in the working memory: drafts of them are written and read back, in the file and beside it. */
static void test_calls_fail_while_drafting(void **state) {
    enum { WIDE_ROWS = 140, WIDE = 16384, STEP = 17 };
    static const size_t faults[] = {0, 3, 5}; /* of io_faults */
    (void)state;
    const char *source = data_path("wide.fvecs");
    FILE *file = fopen(source, "wb");
    float *row = malloc(WIDE * sizeof(*row));
    assert_true(file && row);
    for (int32_t i = 0, dim = WIDE; i < WIDE_ROWS; i++) {
        for (int j = 0; j < WIDE; j++) row[j] = (float)(i % 5 * 100 + (i * 7 + j) % 13) + 0.5f;
        assert_int_equal(fwrite(&dim, sizeof(dim), 1, file), 1);
        assert_int_equal(fwrite(row, sizeof(*row), WIDE, file), WIDE);
    }
    assert_int_equal(fclose(file), 0);
    free(row);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.threads = 2;
    options.memory_bytes = 16u << 20;
    options.lists = 5;
    options.no_calibration = 1;
    long refused = 0;
    for (int originals = 0; originals < 2; originals++)
        for (size_t f = 0; f < 3; f++)
            for (long number = 0, asked = 1; asked >= number - STEP + 1; number += STEP) {
                kith_reader *reader = NULL;
                spill(index_path, &old_file);
                assert_int_equal(kith_reader_open(source, NULL, &reader, &error), KITH_OK);
                options.originals = (kith_originals)originals;
                faulty_io_start(number, io_faults[faults[f]].for_good, io_faults[faults[f]].number);
                const kith_status status = kith_build(reader, index_path, &options, NULL, &error);
                asked = faulty_io_stop();
                kith_reader_close(reader);
                const char *call = atomic_load(&faulty_io_refused);
                if (status != KITH_OK && !call) fail_msg("call %ld: %s", number, error.text);
                if (status == KITH_OK) assert_int_equal(kith_index_verify(index_path, NULL, NULL, NULL, &error), 0);
                if (status != KITH_OK && strcmp(call, "fsync") != 0) assert_true(same_file(index_path, &old_file));
                refused += status != KITH_OK;
                assert_int_equal(other_files(folder_path, "x.kith"), 0);
                assert_true(number < 5000);
            }
    assert_true(refused > 20);
    print_message("%ld calls failed\n", refused);
}

static void test_calls_fail_while_searching(void **state) {
    long refused = 0;
    (void)state;
    for (size_t f = 0; f < IO_FAULTS; f++)
        for (long number = 0, asked = 0; asked >= number; number++) /* until a number is not reached */ {
            spill(index_path, &new_file);
            faulty_malloc_start(-1, 0);
            faulty_io_start(number, io_faults[f].for_good, io_faults[f].number);
            const kith_status status = work_search();
            asked = faulty_io_stop();
            faulty_malloc_stop();
            if (!SANITIZED) assert_int_equal(atomic_load(&faulty_live), 0);
            if (status != KITH_OK && !atomic_load(&faulty_io_refused)) fail_msg("call %ld: %s", number, error.text);
            refused += status != KITH_OK;
            assert_true(number < 1000);
        }
    assert_true(refused > 10);
    print_message("%ld calls failed\n", refused);
}

static void test_calls_fail_while_reading_text(void **state) {
    long refused = 0;
    (void)state;
    spill(index_path, &old_file);
    assert_int_equal(work_build_text(), KITH_OK);
    struct bytes built = slurp(index_path);
    for (size_t f = 0; f < IO_FAULTS; f++)
        for (long number = 0, asked = 0; asked >= number; number++) /* until a number is not reached */ {
            spill(index_path, &old_file);
            faulty_io_start(number, io_faults[f].for_good, io_faults[f].number);
            const kith_status status = work_build_text();
            asked = faulty_io_stop();
            const char *call = atomic_load(&faulty_io_refused);
            if (status != KITH_OK && !call) fail_msg("call %ld %s: %s", number, io_faults[f].name, error.text);
            const int late = call && strcmp(call, "fsync") == 0;
            if (!same_file(index_path, status == KITH_OK || late ? &built : &old_file))
                fail_msg("%s at call %ld (%s): the file is another one", io_faults[f].name, number, call);
            refused += status != KITH_OK;
            assert_int_equal(other_files(folder_path, "x.kith"), 0);
            assert_true(number < 5000);
        }
    free(built.data);
    assert_true(refused > 10);
    print_message("%ld calls failed\n", refused);
}

/* ---- Full disks -------------------------------------------------------------------------------------------------- */

/* In a child, whose limits do not matter to the other tests: 0 when all is as it should be. */
static int run_child(int (*run)(void)) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(run());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int build_beyond_the_largest_file(void) {
    const struct rlimit limit = {30000, 30000};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    if (work_build() != KITH_E_NOSPACE) return 2;
    return strstr(error.text, index_path) ? 0 : 3;
}

static void test_file_size_limit(void **state) {
    (void)state;
    spill(index_path, &old_file);
    assert_int_equal(run_child(build_beyond_the_largest_file), 0);
    assert_true(same_file(index_path, &old_file));
    assert_int_equal(other_files(folder_path, "x.kith"), 0);
}

/* A disk of 1 MiB that an index does not fit, though a smaller one did. */
static int build_on_a_full_disk(const char *mount_point) {
    char path[500], filler[500];
    data_set large = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 4000, DIM, 1, 0);
    snprintf(path, sizeof(path), "%s/x.kith", mount_point);
    snprintf(filler, sizeof(filler), "%s/filler", mount_point);
    int result = 0;
    if (build_set(&old_set, path, 2) != KITH_OK) result = 1;
    if (!result && build_set(&large, path, 2) != KITH_E_NOSPACE) result = 2;
    if (!result && !same_file(path, &old_file)) result = 3;
    if (!result && other_files(mount_point, "x.kith") != 0) result = 4;
    /* Not one byte is left, and then there is room again. */
    FILE *file = fopen(filler, "wb");
    for (int i = 0; file && i < 2000; i++) fwrite(old_file.data, 1, 1000, file);
    if (file) fclose(file);
    if (!result && build_set(&new_set, path, 1) != KITH_E_NOSPACE) result = 5;
    if (!result && !same_file(path, &old_file)) result = 6;
    if (!result && kith_index_verify(path, NULL, NULL, NULL, &error) != KITH_OK) result = 7;
    unlink(filler);
    if (!result && build_set(&new_set, path, 1) != KITH_OK) result = 8;
    if (!result && !same_file(path, &new_file)) result = 9;
    data_free(&large);
    return result;
}

static void test_full_disk(void **state) {
    const char *mount_point = data_path("disk");
    (void)state;
    assert_int_equal(mkdir(mount_point, 0700), 0);
    if (mount("kith", mount_point, "tmpfs", 0, "size=1m") != 0) {
        print_message("cannot mount a small disk here: skipped\n");
        skip();
    }
    const int result = build_on_a_full_disk(mount_point);
    umount2(mount_point, MNT_DETACH);
    assert_int_equal(result, 0);
}

/* ---- Kill -9 ----------------------------------------------------------------------------------------------------- */

/* Until it is killed. */
static void build_for_ever(void) {
    for (;;) {
        if (build_set(&new_set, index_path, 2) != KITH_OK) _exit(1);
        if (build_set(&old_set, index_path, 1) != KITH_OK) _exit(2);
    }
}

static void test_kill(void **state) {
    enum { ROUNDS = 200 };
    ki_rng rng = {42};
    unsigned absent = 0, old = 0, new = 0, temporary = 0;
    (void)state;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int i = 0; i < 10; i++) assert_int_equal(build_set(&new_set, index_path, 2), KITH_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    const uint64_t build_ns =
        (uint64_t)((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec) / 10;
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 2)
            unlink(index_path);
        else
            spill(index_path, &old_file);
        fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) build_for_ever();
        const uint64_t wait_ns = ki_rng_below(&rng, (round % 8 ? 3 : 12) * build_ns);
        const struct timespec pause = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* otherwise a build failed by itself */
        temporary += other_files(folder_path, "x.kith") != 0;
        if (access(index_path, F_OK) != 0 && round % 2) {
            absent++;
            continue;
        }
        const int is_old = same_file(index_path, &old_file), is_new = same_file(index_path, &new_file);
        if (!is_old && !is_new) fail_msg("round %d: the file is neither the old nor the new one", round);
        old += is_old != 0;
        new += is_new != 0;
        if (kith_index_verify(index_path, NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    }
    print_message("%d kills: absent %u, old %u, new %u; temporary files left %u\n", ROUNDS, absent, old, new,
                  temporary);
    assert_int_equal(absent + old + new, ROUNDS);
}

/* A build killed at the wrong moment leaves a hidden file behind, and a later process may bear the same number: the
 * rest of the name must differ too. */
static void test_temporary_names_differ(void **state) {
    char name[2][600] = {"", ""};
    (void)state;
    for (int i = 0; i < 2; i++) {
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            ki_outfile file;
            if (ki_outfile_create(index_path, &file, &error) != KITH_OK) _exit(1);
            const char *rest = strchr(strstr(file.temp, ".kith-") + 6, '-');
            _exit(write(ends[1], rest, strlen(rest)) <= 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_true(read(ends[0], name[i], sizeof(name[i]) - 1) > 0);
        close(ends[0]);
        close(ends[1]);
    }
    assert_string_not_equal(name[0], name[1]);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
    static char folder[512], index[600], text[512];
    if (data_folder_make(state) != 0) return -1;
    old_set = data_make(DATA_NORMAL, KITH_F32, KITH_COSINE, ROWS, DIM, 1, 1);
    new_set = data_make(DATA_CLUSTERED, KITH_F32, KITH_COSINE, ROWS, DIM, 2, 1);
    snprintf(folder, sizeof(folder), "%s", data_path("own"));
    if (mkdir(folder, 0700) != 0) return -1;
    snprintf(index, sizeof(index), "%s/x.kith", folder);
    folder_path = folder;
    index_path = index;
    if (build_set(&old_set, index, 1) != KITH_OK) return -1;
    old_file = slurp(index);
    if (build_set(&new_set, index, 1) != KITH_OK) return -1;
    new_file = slurp(index);
    right_queries = data_queries(&new_set, DATA_CLUSTERED, KITH_F32, QUERIES, 3);
    data_hit hits[ROWS];
    for (size_t i = 0; i < QUERIES; i++) {
        data_reference(&new_set, right_queries + i * DIM, NULL, hits);
        for (size_t j = 0; j < K; j++) right_ids[i * K + j] = hits[j].id;
    }
    snprintf(text, sizeof(text), "%s", data_path("rows.jsonl"));
    text_path = text;
    FILE *file = fopen(text, "wb");
    if (!file) return -1;
    for (int i = 0; i < 40; i++)
        fprintf(file, "{\"id\":\"item %d\",\"vector\":[%d,%d,0.5],\"name\":\"name of %d\"}\n", i, i, i * i, i);
    return fclose(file);
}

static int tear_down(void **state) {
    data_free(&old_set);
    data_free(&new_set);
    free(old_file.data);
    free(new_file.data);
    free(right_queries);
    return data_folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_refused_while_building),
        cmocka_unit_test(test_memory_refused_while_building_by_threads),
        cmocka_unit_test(test_memory_refused_while_building_from_text),
        cmocka_unit_test(test_memory_refused_while_searching),
        cmocka_unit_test(test_memory_refused_while_verifying),
        cmocka_unit_test(test_calls_fail_while_building),
        cmocka_unit_test(test_calls_fail_while_searching),
        cmocka_unit_test(test_calls_fail_while_reading_text),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_temporary_names_differ),
    };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_memory_refused_while_building),
        cmocka_unit_test(test_memory_refused_while_building_by_threads),
        cmocka_unit_test(test_memory_refused_while_building_from_text),
        cmocka_unit_test(test_memory_refused_while_searching),
        cmocka_unit_test(test_memory_refused_while_verifying),
        cmocka_unit_test(test_calls_fail_while_building),
        cmocka_unit_test(test_calls_fail_while_drafting),
        cmocka_unit_test(test_calls_fail_while_searching),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_kill),
    };
    int failed = cmocka_run_group_tests_name("one list", tests, set_up, tear_down);
    lists = 12;
    failed += cmocka_run_group_tests_name("lists", more, set_up, tear_down);
    return failed;
}
