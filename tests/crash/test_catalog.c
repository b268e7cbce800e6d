/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer of a catalog is killed at any time: what it was told to be committed is there after that, and nothing in
 * halves. No power is cut here; what a cut may leave of the log is told apart by SQLite's own tests, and by those of
 * collections on a disk in memory. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/catalog.h"

#include <signal.h>
#include <sys/wait.h>

enum { ROUNDS = 40, BATCH = 20, LOG_BYTES = 30000 };

/* Commit for ever: transaction n gives BATCH items the version n and appends log entry n; each tenth cuts the log. */
static void write_on(const char *path, uint64_t next, kith_durability durability, int acknowledge) {
    const ki_catalog_options options = {.durability = durability, .gather = 1};
    ki_catalog *catalog = NULL;
    unsigned char body[LOG_BYTES];
    kith_error text;
    if (ki_catalog_open_sqlite(path, &options, &catalog, &text) != KITH_OK) _exit(2);
    for (;; next++) {
        if (ki_catalog_begin(catalog, &text) != KITH_OK) _exit(3);
        for (uint64_t key = 0; key < BATCH; key++) {
            const ki_catalog_item item = item_of(key, next, NULL, "payload");
            if (ki_catalog_put_item(catalog, &item, &text) != KITH_OK) _exit(4);
        }
        fill(body, sizeof body, next);
        if (ki_catalog_append_log(catalog, next, (ki_bytes){body, sizeof body}, &text) != KITH_OK) _exit(5);
        if (next % 10 == 0 && ki_catalog_drop_log(catalog, next - 5, &text) != KITH_OK) _exit(6);
        if (ki_catalog_commit(catalog, &text) != KITH_OK) _exit(7);
        if (write(acknowledge, &next, sizeof next) != sizeof next) _exit(8);
    }
}

typedef struct log_state {
    uint64_t last;
    size_t count;
} log_state;

static kith_status check_entry(void *context, uint64_t number, ki_bytes body, kith_error *unused) {
    static unsigned char expected[LOG_BYTES];
    log_state *log = context;
    (void)unused;
    assert_int_equal(body.bytes, LOG_BYTES);
    fill(expected, LOG_BYTES, number);
    assert_memory_equal(body.data, expected, LOG_BYTES);
    if (log->count++) assert_true(number == log->last + 1);
    log->last = number;
    return KITH_OK;
}

static kith_status check_version(void *context, const ki_catalog_item *item, kith_error *unused) {
    (void)unused;
    assert_true(item->version == *(uint64_t *)context);
    return KITH_OK;
}

/* The last transaction that is there, whole. */
static uint64_t look(const char *path) {
    ki_catalog *catalog = open_file(path, (ki_catalog_options){.durability = KITH_DURABILITY_FULL});
    log_state log = {0};
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    OK(ki_catalog_scan_log(catalog, 0, check_entry, &log, &error));
    if (log.count) {
        assert_int_equal(count_items(catalog), BATCH);
        assert_true(log.count <= 15);
        OK(ki_catalog_scan_items(catalog, 0, check_version, &log.last, &error));
    }
    ki_catalog_close(catalog);
    return log.last;
}

static void kill_writers(kith_durability durability, const char *path) {
    uint64_t last = 0, random = 99;
    ki_catalog_close(open_file(path, (ki_catalog_options){.create = 1}));
    for (int round = 0; round < ROUNDS; round++) {
        int acknowledged[2];
        uint64_t told = last, number;
        assert_int_equal(pipe(acknowledged), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (!child) write_on(path, last + 1, durability, acknowledged[1]);
        close(acknowledged[1]);
        random = random * 6364136223846793005u + 1442695040888963407u;
        usleep((unsigned)(random >> 33) % 30000);
        int status = 0;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) fail_msg("the writer gave up: %d", WEXITSTATUS(status));
        while (read(acknowledged[0], &number, sizeof number) == sizeof number) told = number;
        close(acknowledged[0]);
        last = look(path);
        if (last < told)
            fail_msg("round %d: %llu of %llu are there", round, (unsigned long long)last, (unsigned long long)told);
        assert_true(last <= told + 1);
    }
    assert_true(last > 0);
}

static void test_killed_synced(void **state) {
    (void)state;
    kill_writers(KITH_DURABILITY_FULL, data_path("full"));
}

static void test_killed_relaxed(void **state) {
    (void)state;
    kill_writers(KITH_DURABILITY_RELAXED, data_path("relaxed"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_synced),
        cmocka_unit_test(test_killed_relaxed),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
