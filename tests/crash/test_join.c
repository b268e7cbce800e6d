/* SPDX-License-Identifier: Apache-2.0
 *
 * Joins when the system refuses or kills: file operations failing at each call, full disks, SIGKILL at any moment. The
 * output is always absent, the old one or the right one, and the same call makes good what was left. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faulty_io.h"
#include "support/join.h"

#include "base/rng.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { ROWS = 120, DIM = 8, K = 6, BATCH = 40 };

static data_set set;
static const char *index_path;

/* The four joins: self or not, arrays or text. */
struct work {
    int self;
    kith_join_format format;
    char out[600];
    struct output right;
};
static struct work works[4];
static float *queries;
static kith_join_report report;

static kith_status run(const struct work *work, const char *out, unsigned threads) {
    kith_index *index = NULL;
    kith_reader *reader = NULL;
    kith_join_options options = KITH_JOIN_OPTIONS_INIT;
    error = (kith_error){KITH_OK, ""};
    options.k = K;
    options.format = work->format;
    options.batch = BATCH;
    options.threads = threads;
    options.checkpoint_ns = 1;
    report = (kith_join_report)KITH_JOIN_REPORT_INIT;
    kith_status status = kith_index_open(index_path, NULL, &index, &error);
    if (status == KITH_OK && !work->self)
        status = kith_reader_from_memory(queries, KITH_F32, ROWS, DIM, 0, NULL, &reader, &error);
    if (status == KITH_OK) status = kith_join(index, reader, out, &options, &report, &error);
    kith_reader_close(reader);
    kith_index_close(index);
    return status;
}

static void check(const struct work *work, const char *out, const char *what) {
    struct output output = output_read(out, work->format);
    if (!output_same(&output, &work->right)) fail_msg("%s: another output", what);
    output_free(&output);
    assert_tidy(out);
    join_clean(out);
}

/* Each file under a final name must be whole. */
static void check_named(const struct work *work, const char *out) {
    struct output output = output_read(out, work->format);
    for (int i = 0; i < 2; i++) {
        const struct bytes *file = &output.file[i], *right = &work->right.file[i];
        if (file->data && (file->bytes != right->bytes || memcmp(file->data, right->data, right->bytes) != 0))
            fail_msg("a file that is not whole bears its final name");
    }
    output_free(&output);
}

/* ---- Calls that fail --------------------------------------------------------------------------------------------- */

static long halves; /* pairs of which one file had its name */

static void fail_calls(const struct work *work, int number, int for_good, long *refused) {
    for (long first = 0, asked = 0; asked >= first; first++) { /* until a call is not reached */
        faulty_io_start(first, for_good, number);
        const kith_status status = run(work, work->out, 1);
        asked = faulty_io_stop();
        const char *call = atomic_load(&faulty_io_refused);
        if (status != KITH_OK && !call) fail_msg("call %ld: %s", first, error.text);
        if (status != KITH_OK && !error.text[0]) fail_msg("call %ld (%s): no sentence", first, call);
        if (status != KITH_OK && number == ENOSPC && status != KITH_E_NOSPACE)
            fail_msg("call %ld (%s): status %d", first, call, (int)status);
        *refused += status != KITH_OK;
        check_named(work, work->out);
        const int half = exists(work->out, ".distances.npy") && !exists(work->out, ".ids.npy");
        if (status != KITH_OK && run(work, work->out, 1) != KITH_OK)
            fail_msg("call %ld (%s): %s", first, call, error.text);
        if (half) assert_int_equal(report.resumed, ROWS); /* as after a kill between the two renames */
        halves += half;
        check(work, work->out, call ? call : "no call");
        assert_true(first < 2000);
    }
}

static void test_calls_fail(void **state) {
    static const struct {
        int number, for_good;
    } faults[] = {{EIO, 0}, {EIO, 1}, {ENOSPC, 0}, {ENOSPC, 1}, {FAULTY_SHORT, 0}, {FAULTY_SHORT, 1}};
    long refused = 0;
    (void)state;
    for (size_t w = 0; w < 4; w++)
        for (size_t f = 0; f < sizeof(faults) / sizeof(*faults); f++)
            fail_calls(&works[w], faults[f].number, faults[f].for_good, &refused);
    print_message("%ld joins refused\n", refused);
    assert_true(refused > 300 && halves > 0);
}

/* ---- Full disks -------------------------------------------------------------------------------------------------- */

static int run_child(int (*child_run)(const struct work *), const struct work *work) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(child_run(work));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int join_beyond_the_largest_file(const struct work *work) {
    const struct rlimit limit = {3000, 3000};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    if (run(work, work->out, 1) != KITH_E_NOSPACE) return 2;
    return strstr(error.text, work->out) ? 0 : 3;
}

static void test_file_size_limit(void **state) {
    (void)state;
    for (size_t w = 0; w < 4; w++) {
        assert_int_equal(run_child(join_beyond_the_largest_file, &works[w]), 0);
        check_named(&works[w], works[w].out);
        assert_int_equal(run(&works[w], works[w].out, 1), KITH_OK);
        check(&works[w], works[w].out, "after a limit on file sizes");
    }
}

static void fill(const char *path, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < bytes; i++) fputc('x', file);
    fclose(file);
}

static void test_full_disk(void **state) {
    const char *mount_point = data_path("disk");
    char out[600], filler[600];
    (void)state;
    assert_int_equal(mkdir(mount_point, 0700), 0);
    if (mount("kith", mount_point, "tmpfs", 0, "size=256k") != 0) {
        print_message("cannot mount a small disk here: skipped\n");
        skip();
    }
    snprintf(out, sizeof(out), "%s/out", mount_point);
    snprintf(filler, sizeof(filler), "%s/filler", mount_point);
    for (size_t w = 0; w < 4; w++)
        for (size_t room = 2; room < 40; room += 6) {
            fill(filler, 262144 - room * 1024);
            const kith_status status = run(&works[w], out, 1);
            if (status != KITH_OK && status != KITH_E_NOSPACE) fail_msg("%s", error.text);
            if (room == 2) assert_int_equal(status, KITH_E_NOSPACE);
            check_named(&works[w], out);
            unlink(filler);
            if (status != KITH_OK && run(&works[w], out, 1) != KITH_OK) fail_msg("%s", error.text);
            check(&works[w], out, "after a full disk");
        }
    umount2(mount_point, MNT_DETACH);
}

/* ---- Kill -9 ----------------------------------------------------------------------------------------------------- */

static void join_for_ever(const struct work *work) {
    for (;;)
        if (run(work, work->out, 2) != KITH_OK) _exit(1);
}

static uint64_t time_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void test_kill(void **state) {
    enum { ROUNDS = 240 };
    ki_rng rng = {42};
    unsigned absent = 0, half = 0, whole = 0, states = 0, resumed = 0;
    (void)state;
    const uint64_t start = time_ns();
    for (int i = 0; i < 8; i++) assert_int_equal(run(&works[i % 4], works[i % 4].out, 2), KITH_OK);
    const uint64_t join_ns = (time_ns() - start) / 8;
    for (int i = 0; i < 4; i++) join_clean(works[i].out);
    /* On a machine that has become slow a join may not get far in that time: then it is given more. */
    for (int round = 0; round < ROUNDS || (round < 10 * ROUNDS && (!states || !resumed)); round++) {
        const struct work *work = &works[round % 4];
        fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) join_for_ever(work);
        const uint64_t wait_ns = ki_rng_below(&rng, (uint64_t)(1 + round / ROUNDS) * 2 * join_ns);
        const struct timespec pause = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* otherwise a join failed by itself */
        check_named(work, work->out);
        const int arrays = work->format == KITH_JOIN_NPY;
        const int ids = exists(work->out, arrays ? ".ids.npy" : ""), distances = exists(work->out, ".distances.npy");
        absent += !ids && !distances;
        half += arrays && ids != distances;
        whole += ids && (distances || !arrays);
        states += exists(work->out, ".join") != 0;
        if (run(work, work->out, 1) != KITH_OK) fail_msg("round %d: %s", round, error.text);
        resumed += report.resumed > 0;
        if (*report.restarted) fail_msg("round %d: %s", round, report.restarted);
        check(work, work->out, "after a kill");
    }
    print_message("%d kills: no output %u, one of a pair %u, all %u; states left %u, gone on with %u\n", ROUNDS, absent,
                  half, whole, states, resumed);
    assert_true(states > 0 && resumed > 0);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
    static char path[600];
    if (data_folder_make(state) != 0) return -1;
    set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 1, 1);
    snprintf(path, sizeof(path), "%s", data_path("items.kith"));
    index_path = path;
    data_build(&set, path, NULL);
    queries = data_queries(&set, DATA_CLUSTERED, KITH_F32, ROWS, 3);
    for (int i = 0; i < 4; i++) {
        struct work *work = &works[i];
        work->self = i & 1;
        work->format = i & 2 ? KITH_JOIN_NDJSON : KITH_JOIN_NPY;
        snprintf(work->out, sizeof(work->out), "%s%d", data_path("out"), i);
        if (run(work, work->out, 1) != KITH_OK) return -1;
        work->right = output_read(work->out, work->format);
        join_clean(work->out);
    }
    return 0;
}

static int tear_down(void **state) {
    for (int i = 0; i < 4; i++) output_free(&works[i].right);
    data_free(&set);
    free(queries);
    return data_folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_fail),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_kill),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
