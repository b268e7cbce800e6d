/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalog over a disk that crashes, fills and fails (support/disk.h), at every single operation of a workload:
 *
 *   - a crash at operation N, for all N: every acknowledged transaction is there, of the others each is there as a
 *     whole or not at all, and none without those before it; with relaxed durability the last ones may be missing
 *   - a second crash while that is put right
 *   - syncs, writes and reads that fail, once and for good: no acknowledgement, and after a failed commit no further
 *     change until the catalog is opened again
 *   - a full disk: refused, and when there is room it goes on
 *
 * Each transaction writes its number as a setting, so that a catalog says which it holds; what it must hold then is
 * known from a model in memory. The counts that are printed stand in docs/reliability.md.
 *
 * KITH_STRESS=n: n times as many seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog/catalog.h"
#include "support/disk.h"

#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { TRANSACTIONS = 10, KEYS = 40, NAMES = 6, RECORD_KINDS = 2, ENTRIES_MAX = 4096 };

static const char path[] = "/catalog.sqlite";
static kith_error error;
static unsigned long long states, lost, seeds = 2;

/* ---- The model --------------------------------------------------------------------------------------------------- */

enum table { SETTING, ITEM, LOG, SEGMENT, RECORD };

/* One row of any table: what it is called, and a hash of what it holds. */
struct entry {
    enum table table;
    uint64_t number; /* key, sequence, segment; kind of a record */
    char name[24];
    uint64_t hash;
};

struct model {
    size_t count;
    struct entry entry[ENTRIES_MAX];
};

static void model_remove(struct model *model, enum table table, uint64_t number, const char *name) {
    for (size_t i = 0; i < model->count; i++) {
        const struct entry *entry = &model->entry[i];
        if (entry->table == table && entry->number == number && strcmp(entry->name, name) == 0)
            model->entry[i--] = model->entry[--model->count];
    }
}

static void model_put(struct model *model, enum table table, uint64_t number, const char *name, uint64_t hash) {
    model_remove(model, table, number, name);
    assert_true(model->count < ENTRIES_MAX);
    struct entry *entry = &model->entry[model->count++];
    memset(entry, 0, sizeof(*entry));
    entry->table = table;
    entry->number = number;
    entry->hash = hash;
    snprintf(entry->name, sizeof(entry->name), "%s", name);
}

/* The same for all orders of the rows. */
static uint64_t model_digest(const struct model *model) {
    uint64_t sum = model->count;
    for (size_t i = 0; i < model->count; i++) sum += XXH3_64bits(&model->entry[i], sizeof(model->entry[i]));
    return sum;
}

static uint64_t hash_bytes(ki_bytes bytes) {
    return bytes.bytes ? XXH3_64bits(bytes.data, bytes.bytes) : 0;
}

static uint64_t hash_item(const ki_catalog_item *item) {
    const uint64_t parts[] = {item->version, item->expires_ms, hash_bytes(item->text), hash_bytes(item->payload)};
    return XXH3_64bits(parts, sizeof(parts));
}

/* ---- The workload ------------------------------------------------------------------------------------------------ */

static unsigned char noise[20000];

static ki_bytes some_bytes(ki_rng *rng, size_t most) {
    const size_t bytes = ki_rng_below(rng, 5) ? ki_rng_below(rng, most / 16 + 1) : ki_rng_below(rng, most + 1);
    return (ki_bytes){noise + ki_rng_below(rng, sizeof(noise) - bytes), bytes};
}

/* Keys of all heights: those beyond 2^63 are negative to SQLite. */
static uint64_t some_key(ki_rng *rng) {
    return ki_rng_below(rng, KEYS) * (UINT64_MAX / KEYS);
}

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        const kith_status status_ = (call);                                                                            \
        if (status_ != KITH_OK) return status_;                                                                        \
    } while (0)

static kith_status change_item(ki_catalog *catalog, struct model *model, uint64_t number, ki_rng *rng) {
    char text[40];
    ki_catalog_item item = {.key = some_key(rng), .version = number};
    if (ki_rng_below(rng, 4) == 0) {
        model_remove(model, ITEM, item.key, "");
        return ki_catalog_remove_item(catalog, item.key, &error);
    }
    item.expires_ms = ki_rng_below(rng, 2) ? 1 + ki_rng_below(rng, 1000) : 0;
    item.payload = some_bytes(rng, 9000);
    item.text = (ki_bytes){text, (size_t)snprintf(text, sizeof(text), "item %" PRIu64, item.key)};
    model_put(model, ITEM, item.key, "", hash_item(&item));
    return ki_catalog_put_item(catalog, &item, &error);
}

static kith_status change_log(ki_catalog *catalog, struct model *model, uint64_t number, ki_rng *rng) {
    if (ki_rng_below(rng, 6) == 0) {
        const uint64_t last = ki_rng_below(rng, number + 1);
        for (uint64_t i = 0; i <= last; i++) model_remove(model, LOG, i, "");
        return ki_catalog_drop_log(catalog, last, &error);
    }
    const ki_bytes body = some_bytes(rng, 16000);
    model_put(model, LOG, number, "", hash_bytes(body));
    return ki_catalog_append_log(catalog, number, body, &error);
}

static kith_status change_segment(ki_catalog *catalog, struct model *model, ki_rng *rng) {
    const uint64_t number = 1 + ki_rng_below(rng, 8);
    if (ki_rng_below(rng, 3) == 0) {
        model_remove(model, SEGMENT, number, "");
        return ki_catalog_remove_segment(catalog, number, &error);
    }
    const ki_bytes body = some_bytes(rng, 3000);
    model_put(model, SEGMENT, number, "", hash_bytes(body));
    return ki_catalog_put_segment(catalog, number, body, &error);
}

static kith_status change_record(ki_catalog *catalog, struct model *model, ki_rng *rng) {
    const uint32_t kind = 1 + (uint32_t)ki_rng_below(rng, RECORD_KINDS);
    char text[24];
    const int length = snprintf(text, sizeof(text), "user %d", (int)ki_rng_below(rng, 10));
    const ki_bytes name = {text, (size_t)length};
    if (ki_rng_below(rng, 4) == 0) {
        model_remove(model, RECORD, kind, text);
        return ki_catalog_remove_record(catalog, kind, name, &error);
    }
    const ki_bytes body = some_bytes(rng, 2000);
    model_put(model, RECORD, kind, text, hash_bytes(body));
    return ki_catalog_put_record(catalog, kind, name, body, &error);
}

static kith_status change_setting(ki_catalog *catalog, struct model *model, const char *name, ki_bytes value) {
    model_put(model, SETTING, 0, name, hash_bytes(value));
    return ki_catalog_put_setting(catalog, name, value, &error);
}

/* What transaction `number` changes, the same each time; model: becomes what must be there then. */
static kith_status changes(ki_catalog *catalog, struct model *model, uint64_t number) {
    ki_rng rng = {number * 977};
    const size_t count = 1 + ki_rng_below(&rng, 12);
    TRY(change_setting(catalog, model, "done", (ki_bytes){&number, sizeof(number)}));
    TRY(change_log(catalog, model, number, &rng));
    for (size_t i = 0; i < count; i++) {
        const uint64_t which = ki_rng_below(&rng, 10);
        char name[24];
        snprintf(name, sizeof(name), "setting %d", (int)ki_rng_below(&rng, NAMES));
        if (which < 6)
            TRY(change_item(catalog, model, number, &rng));
        else if (which < 7)
            TRY(change_segment(catalog, model, &rng));
        else if (which < 9)
            TRY(change_record(catalog, model, &rng));
        else
            TRY(change_setting(catalog, model, name, some_bytes(&rng, 500)));
    }
    return KITH_OK;
}

static struct model scratch_model;

static kith_status transaction(ki_catalog *catalog, uint64_t number) {
    TRY(ki_catalog_begin(catalog, &error));
    const kith_status status = changes(catalog, &scratch_model, number);
    if (status != KITH_OK) {
        ki_catalog_rollback(catalog);
        return status;
    }
    return ki_catalog_commit(catalog, &error);
}

/* ---- Reading a catalog back -------------------------------------------------------------------------------------- */

struct reading {
    ki_catalog *catalog;
    struct model model;
    uint64_t last, kind;
    int first;
};

static void ascends(struct reading *reading, uint64_t number) {
    if (!reading->first) assert_true(number > reading->last);
    reading->first = 0;
    reading->last = number;
}

static kith_status read_item(void *context, const ki_catalog_item *item, kith_error *to) {
    struct reading *reading = context;
    uint64_t key = 0;
    ascends(reading, item->key);
    model_put(&reading->model, ITEM, item->key, "", hash_item(item));
    TRY(ki_catalog_find_text(reading->catalog, item->text, &key, to));
    assert_int_equal(key, item->key);
    return KITH_OK;
}

static kith_status read_log(void *context, uint64_t number, ki_bytes body, kith_error *to) {
    struct reading *reading = context;
    (void)to;
    ascends(reading, number);
    model_put(&reading->model, LOG, number, "", hash_bytes(body));
    return KITH_OK;
}

static kith_status read_segment(void *context, uint64_t number, ki_bytes body, kith_error *to) {
    struct reading *reading = context;
    (void)to;
    ascends(reading, number);
    model_put(&reading->model, SEGMENT, number, "", hash_bytes(body));
    return KITH_OK;
}

static kith_status read_record(void *context, ki_bytes name, ki_bytes body, kith_error *to) {
    struct reading *reading = context;
    char text[24];
    (void)to;
    assert_true(name.bytes < sizeof(text));
    memcpy(text, name.data, name.bytes);
    text[name.bytes] = 0;
    model_put(&reading->model, RECORD, reading->kind, text, hash_bytes(body));
    return KITH_OK;
}

static kith_status read_settings(struct reading *reading, uint64_t *done) {
    ki_found found = {0};
    kith_status status = KITH_OK;
    *done = 0;
    for (int i = -1; i < NAMES && status == KITH_OK; i++) {
        char name[24];
        if (i < 0)
            snprintf(name, sizeof(name), "done");
        else
            snprintf(name, sizeof(name), "setting %d", i);
        status = ki_catalog_get_setting(reading->catalog, name, &found, &error);
        if (status == KITH_OK) {
            model_put(&reading->model, SETTING, 0, name, hash_bytes(found.body));
            if (i < 0) {
                assert_int_equal(found.body.bytes, sizeof(*done));
                memcpy(done, found.body.data, sizeof(*done));
            }
        } else if (status == KITH_E_NOTFOUND) {
            status = KITH_OK;
        }
    }
    ki_found_free(&found);
    return status;
}

static struct reading reading;

/* All that a catalog holds: which transaction was its last, and a digest. */
static kith_status read_all(ki_catalog *catalog, uint64_t *done, uint64_t *digest) {
    reading = (struct reading){.catalog = catalog, .first = 1};
    TRY(read_settings(&reading, done));
    TRY(ki_catalog_scan_items(catalog, 0, read_item, &reading, &error));
    reading.first = 1;
    TRY(ki_catalog_scan_log(catalog, 0, read_log, &reading, &error));
    reading.first = 1;
    TRY(ki_catalog_scan_segments(catalog, read_segment, &reading, &error));
    for (reading.kind = 1; reading.kind <= RECORD_KINDS; reading.kind++)
        TRY(ki_catalog_scan_records(catalog, (uint32_t)reading.kind, read_record, &reading, &error));
    *digest = model_digest(&reading.model);
    return KITH_OK;
}

/* ---- What must be there ------------------------------------------------------------------------------------------ */

/* What a catalog must hold after each transaction; [0]: empty. */
static uint64_t digests[TRANSACTIONS + 1];

static int set_up(void **state) {
    (void)state;
    static struct model model;
    ki_catalog *memory = NULL;
    const char *stress = getenv("KITH_STRESS");
    if (stress && atoi(stress) > 0) seeds *= (unsigned long long)atoi(stress);
    ki_rng rng = {1};
    for (size_t i = 0; i < sizeof(noise); i++) noise[i] = (unsigned char)ki_rng_next(&rng);
    if (ki_catalog_open_memory(&memory, &error) != KITH_OK) return -1;
    digests[0] = model_digest(&model);
    for (uint64_t i = 1; i <= TRANSACTIONS; i++) {
        if (ki_catalog_begin(memory, &error) != KITH_OK || changes(memory, &model, i) != KITH_OK ||
            ki_catalog_commit(memory, &error) != KITH_OK)
            return -1;
        digests[i] = model_digest(&model);
        uint64_t done = 0, digest = 0;
        if (read_all(memory, &done, &digest) != KITH_OK || done != i || digest != digests[i]) {
            print_error("the catalog in memory holds something else after transaction %" PRIu64 "\n", i);
            return -1;
        }
    }
    ki_catalog_close(memory);
    return 0;
}

/* ---- Runs on a disk ---------------------------------------------------------------------------------------------- */

struct run {
    struct disk *disk;
    kith_durability durability;
    int killed; /* the process, not the machine: what was acknowledged is there however it is durable */
    uint64_t acknowledged, begun; /* transactions */
    kith_status status;           /* of the first that failed */
};

static ki_catalog_options options_of(const struct run *run, int create) {
    return (ki_catalog_options){.create = create, .durability = run->durability, .gather = 1, .vfs = "test"};
}

static kith_status open_catalog(const struct run *run, int create, ki_catalog **catalog) {
    const ki_catalog_options options = options_of(run, create);
    *catalog = NULL;
    return ki_catalog_open_sqlite(path, &options, catalog, &error);
}

/* Transactions from the one behind `done` on, until one fails; the log is moved into the file now and then. */
static void work(struct run *run, ki_catalog *catalog, uint64_t done) {
    run->status = KITH_OK;
    for (uint64_t i = done + 1; i <= TRANSACTIONS; i++) {
        run->begun = i;
        run->status = transaction(catalog, i);
        if (run->status != KITH_OK) return;
        run->acknowledged = i;
        if (i % 4 == 0) (void)ki_catalog_tidy(catalog, &error);
    }
}

/* A catalog that was made before anything goes wrong, and transactions until something does. The disk's fault counts
 * from behind the making. */
static struct run begin(struct disk *disk, kith_durability durability, disk_fault fault, int operations, uint64_t at,
                        int for_good) {
    struct run run = {.disk = disk, .durability = durability};
    ki_catalog *catalog = NULL;
    assert_int_equal(open_catalog(&run, 1, &catalog), KITH_OK);
    disk_set_fault(disk, fault, operations, at, for_good);
    work(&run, catalog, 0);
    ki_catalog_close(catalog);
    return run;
}

/* Open again what lies on the disk, which must hold what was acknowledged and may hold what was begun. With relaxed
 * durability, after a crash of the machine: any number of the first transactions. Returns how many. */
static uint64_t check(struct run *run, int go_on) {
    ki_catalog *catalog = NULL;
    uint64_t done = 0, digest = 0;
    states++;
    if (open_catalog(run, 0, &catalog) != KITH_OK) fail_msg("%s", error.text);
    if (read_all(catalog, &done, &digest) != KITH_OK) fail_msg("%s", error.text);
    if (done < run->acknowledged) lost++;
    if (run->durability == KITH_DURABILITY_FULL || run->killed) assert_true(done >= run->acknowledged);
    assert_true(done <= run->begun);
    assert_int_equal(digest, digests[done]);
    if (ki_catalog_check(catalog, NULL, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    if (go_on) {
        work(run, catalog, done);
        assert_int_equal(run->status, KITH_OK);
        assert_int_equal(read_all(catalog, &done, &digest), KITH_OK);
        assert_int_equal(digest, digests[TRANSACTIONS]);
    }
    ki_catalog_close(catalog);
    return done;
}

/* ---- Crashes ----------------------------------------------------------------------------------------------------- */

/* One line for docs/reliability.md. */
static void report(const char *what) {
    print_message("%s: %llu states, %llu with acknowledged transactions lost\n", what, states, lost);
    states = lost = 0;
}

static void crash_everywhere(kith_durability durability, int powersafe) {
    for (uint64_t at = 1;; at++) {
        struct disk *disk = disk_create("test", powersafe);
        const struct run run = begin(disk, durability, DISK_CRASH, DISK_CHANGES, at, 0);
        const int crashed = disk_faults(disk) > 0;
        disk_image *image = disk_save(disk);
        for (uint64_t seed = 0; seed < seeds; seed++) {
            struct run again = run;
            disk_load(disk, image);
            disk_restart(disk, at * seeds + seed);
            check(&again, seed == 0);
        }
        disk_image_free(image);
        disk_destroy(disk);
        if (!crashed) {
            assert_int_equal(run.acknowledged, TRANSACTIONS);
            assert_true(at > TRANSACTIONS);
            return;
        }
    }
}

static void test_crash_at_every_operation(void **state) {
    (void)state;
    crash_everywhere(KITH_DURABILITY_FULL, 1);
    assert_int_equal(lost, 0);
    report("crash at every operation, full durability");
}

static void test_crash_where_sectors_are_not_safe(void **state) {
    (void)state;
    crash_everywhere(KITH_DURABILITY_FULL, 0);
    assert_int_equal(lost, 0);
    report("crash at every operation, sectors torn to garbage, full durability");
}

/* Also shows that the disk does forget. */
static void test_crash_with_relaxed_durability(void **state) {
    (void)state;
    crash_everywhere(KITH_DURABILITY_RELAXED, 1);
    assert_true(lost > 0);
    report("crash at every operation, relaxed durability (the last ones may be lost, none in the middle)");
}

/* The process is killed at each operation, and the machine lives on: nothing is lost however durable it is. */
static void test_kill_at_every_operation(void **state) {
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++)
        for (uint64_t at = 1, killed = 1; killed; at++) {
            struct disk *disk = disk_create("test", 1);
            struct run run =
                begin(disk, relaxed ? KITH_DURABILITY_RELAXED : KITH_DURABILITY_FULL, DISK_CRASH, DISK_CHANGES, at, 0);
            killed = disk_faults(disk);
            disk_revive(disk);
            run.killed = 1;
            run.acknowledged = check(&run, 0);
            check(&run, 1);
            disk_destroy(disk);
        }
    assert_int_equal(lost, 0);
    report("the process is killed at every operation, full and relaxed durability");
}

/* The machine crashes again while the catalog is opened and its next transactions are written. */
static void crash_twice(kith_durability durability) {
    uint64_t at = 1;
    for (int crashed = 1; crashed; at += 7) {
        struct disk *disk = disk_create("test", 1);
        const struct run run = begin(disk, durability, DISK_CRASH, DISK_CHANGES, at, 0);
        crashed = disk_faults(disk) > 0;
        disk_image *image = disk_save(disk);
        for (uint64_t second = 1;; second += 1 + second / 4) {
            struct run again = run;
            ki_catalog *catalog = NULL;
            uint64_t done = 0, digest;
            disk_load(disk, image);
            disk_restart(disk, at + second);
            disk_set_fault(disk, DISK_CRASH, DISK_CHANGES, second, 0);
            if (open_catalog(&again, 0, &catalog) == KITH_OK && read_all(catalog, &done, &digest) == KITH_OK) {
                assert_true(done <= run.begun && (durability == KITH_DURABILITY_RELAXED || done >= run.acknowledged));
                assert_int_equal(digest, digests[done]);
                if (done > again.acknowledged) again.acknowledged = done;
                work(&again, catalog, done);
            }
            ki_catalog_close(catalog);
            const int twice = disk_faults(disk) > 0;
            if (again.begun < run.begun) again.begun = run.begun;
            disk_restart(disk, at * 31 + second);
            check(&again, 0);
            if (!twice) break;
        }
        disk_image_free(image);
        disk_destroy(disk);
    }
}

static void test_crash_during_recovery(void **state) {
    (void)state;
    crash_twice(KITH_DURABILITY_FULL);
    assert_int_equal(lost, 0);
    report("a second crash during recovery, full durability");
    crash_twice(KITH_DURABILITY_RELAXED);
    report("a second crash during recovery, relaxed durability");
}

/* ---- Calls that fail --------------------------------------------------------------------------------------------- */

/* After a failed commit nothing more is taken, whatever is tried. */
static void check_refuses(ki_catalog *catalog) {
    assert_int_equal(ki_catalog_begin(catalog, &error), KITH_E_IO);
    assert_true(error.text[0] != 0);
    assert_int_not_equal(ki_catalog_put_setting(catalog, "done", (ki_bytes){"x", 1}, &error), KITH_OK);
    assert_int_not_equal(ki_catalog_commit(catalog, &error), KITH_OK);
}

/* A sync fails, once or for good: what it was for is not acknowledged. */
static void fail_syncs(int for_good, int crash, uint64_t *failures) {
    for (uint64_t at = 1;; at++) {
        struct disk *disk = disk_create("test", 1);
        struct run run = {.disk = disk};
        ki_catalog *catalog = NULL;
        assert_int_equal(open_catalog(&run, 1, &catalog), KITH_OK);
        disk_set_fault(disk, DISK_ERROR, DISK_SYNC, at, for_good);
        work(&run, catalog, 0);
        const int met = disk_faults(disk) > 0;
        if (run.status != KITH_OK) {
            ++*failures;
            assert_int_equal(run.status, KITH_E_IO);
            check_refuses(catalog);
        }
        ki_catalog_close(catalog);
        disk_set_fault(disk, DISK_NO_FAULT, DISK_CHANGES, 0, 0);
        if (crash) disk_restart(disk, at);
        const uint64_t done = check(&run, 0);
        /* What is there now is promised: it must be there after the next crash, and so must what comes then. */
        if (open_catalog(&run, 0, &catalog) != KITH_OK) fail_msg("%s", error.text);
        run.acknowledged = done;
        work(&run, catalog, done);
        assert_int_equal(run.status, KITH_OK);
        ki_catalog_close(catalog);
        disk_restart(disk, at * 7);
        check(&run, 0);
        disk_destroy(disk);
        if (!met) return;
    }
}

static void test_failing_syncs(void **state) {
    uint64_t failures = 0;
    (void)state;
    for (int for_good = 0; for_good < 2; for_good++)
        for (int crash = 0; crash < 2; crash++) fail_syncs(for_good, crash, &failures);
    assert_true(failures > TRANSACTIONS);
    assert_int_equal(lost, 0);
    report("a sync fails, once and for good");
}

/* A sync fails, the process is killed before it can put anything right, and the machine lives on: what is not on the
 * disk can be read all the same (D3), so that whoever opens the catalog next must not take it for safe. */
static void test_failing_sync_and_kill(void **state) {
    (void)state;
    for (uint64_t at = 1, met = 1; met; at++) {
        struct disk *disk = disk_create("test", 1);
        struct run run = {.disk = disk};
        ki_catalog *catalog = NULL;
        assert_int_equal(open_catalog(&run, 1, &catalog), KITH_OK);
        disk_set_fault(disk, DISK_ERROR, DISK_SYNC, at, 0);
        work(&run, catalog, 0);
        met = disk_faults(disk);
        disk_set_fault(disk, DISK_CRASH, DISK_CHANGES, 1, 1);
        ki_catalog_close(catalog);
        disk_revive(disk);
        run.acknowledged = check(&run, 0);
        disk_image *image = disk_save(disk);
        for (uint64_t seed = 0; seed < seeds; seed++) {
            struct run again = run;
            disk_load(disk, image);
            if (open_catalog(&again, 0, &catalog) != KITH_OK) fail_msg("%s", error.text);
            work(&again, catalog, run.acknowledged);
            assert_int_equal(again.status, KITH_OK);
            disk_set_fault(disk, DISK_CRASH, DISK_CHANGES, 1, 1);
            ki_catalog_close(catalog);
            disk_restart(disk, seed);
            check(&again, 0);
        }
        disk_image_free(image);
        disk_destroy(disk);
    }
    assert_int_equal(lost, 0);
    report("a sync fails, then the process is killed, then the machine crashes");
}

/* Any operation fails: an error, or it did not matter; never a wrong answer, nothing acknowledged is lost. */
static void fail_operations(kith_durability durability, disk_fault fault, int operations, int for_good) {
    for (uint64_t at = 1;; at++) {
        struct disk *disk = disk_create("test", 1);
        struct run run = {.disk = disk, .durability = durability};
        ki_catalog *catalog = NULL;
        uint64_t done = 0, digest = 0;
        assert_int_equal(open_catalog(&run, 1, &catalog), KITH_OK);
        disk_set_fault(disk, fault, operations, at, for_good);
        work(&run, catalog, 0);
        if (run.status != KITH_OK) assert_true(run.status == KITH_E_IO || run.status == KITH_E_NOSPACE);
        if (read_all(catalog, &done, &digest) == KITH_OK) {
            assert_true(done >= run.acknowledged && done <= run.begun);
            assert_int_equal(digest, digests[done]);
        }
        const int met = disk_faults(disk) > 0;
        ki_catalog_close(catalog);
        run.killed = at % 2 == 0;
        if (run.killed)
            disk_revive(disk);
        else
            disk_restart(disk, at);
        check(&run, at % 8 == 0);
        disk_destroy(disk);
        if (!met) return;
    }
}

static void test_failing_operations(void **state) {
    static const int changes = DISK_WRITE | DISK_TRUNCATE | DISK_REMOVE | DISK_MAKE;
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        const kith_durability durability = relaxed ? KITH_DURABILITY_RELAXED : KITH_DURABILITY_FULL;
        for (int for_good = 0; for_good < 2; for_good++) {
            fail_operations(durability, DISK_ERROR, changes, for_good);
            fail_operations(durability, DISK_ERROR, DISK_READ, for_good);
            fail_operations(durability, DISK_SHORT, DISK_WRITE, for_good);
        }
        if (!relaxed) assert_int_equal(lost, 0);
        report(relaxed ? "a write, read, truncation or removal fails, once and for good, relaxed durability"
                       : "a write, read, truncation or removal fails, once and for good, full durability");
    }
}

/* ---- A full disk ------------------------------------------------------------------------------------------------- */

/* No room at one write: the transaction is refused or was not in need of it; the next one succeeds on the same
 * handle. */
static void fill(kith_durability durability) {
    uint64_t refusals = 0;
    for (uint64_t at = 1, met = 1; met; at++) {
        struct disk *disk = disk_create("test", 1);
        struct run run = {.disk = disk, .durability = durability};
        ki_catalog *catalog = NULL;
        uint64_t done = 0, digest = 0;
        assert_int_equal(open_catalog(&run, 1, &catalog), KITH_OK);
        disk_set_fault(disk, DISK_FULL, DISK_WRITE, at, 1);
        work(&run, catalog, 0);
        met = disk_faults(disk);
        if (run.status != KITH_OK) {
            refusals++;
            assert_int_equal(run.status, KITH_E_NOSPACE);
            const kith_status status = read_all(catalog, &done, &digest);
            /* What was gathered is seen when SQLite has it, which needs room too. */
            if (status != KITH_OK) {
                assert_int_equal(durability, KITH_DURABILITY_RELAXED);
                assert_int_equal(status, KITH_E_NOSPACE);
            } else {
                assert_int_equal(done, run.acknowledged);
                assert_int_equal(digest, digests[done]);
            }
            assert_int_equal(transaction(catalog, run.acknowledged + 1), KITH_E_NOSPACE);
        }
        disk_set_fault(disk, DISK_NO_FAULT, DISK_WRITE, 0, 0);
        work(&run, catalog, run.acknowledged);
        assert_int_equal(run.status, KITH_OK);
        ki_catalog_close(catalog);
        disk_restart(disk, at);
        assert_int_equal(check(&run, 0), TRANSACTIONS);
        disk_destroy(disk);
    }
    assert_true(refusals > 0);
}

static void test_full_disk(void **state) {
    (void)state;
    fill(KITH_DURABILITY_FULL);
    fill(KITH_DURABILITY_RELAXED);
    report("a full disk, full and relaxed durability");
}

/* A disk of so many bytes, for many: the same, and it never holds more. */
static void test_small_disks(void **state) {
    (void)state;
    uint64_t refusals = 0, full = 1;
    for (uint64_t room = 4096; full; room += 12 * 1024) {
        struct disk *disk = disk_create("test", 1);
        struct run run = {.disk = disk};
        ki_catalog *catalog = NULL;
        assert_int_equal(open_catalog(&run, 1, &catalog), KITH_OK);
        disk_set_capacity(disk, disk_bytes(disk) + room);
        work(&run, catalog, 0);
        full = run.status != KITH_OK;
        if (full) {
            refusals++;
            assert_int_equal(run.status, KITH_E_NOSPACE);
        }
        disk_set_capacity(disk, 0);
        work(&run, catalog, run.acknowledged);
        assert_int_equal(run.status, KITH_OK);
        ki_catalog_close(catalog);
        disk_restart(disk, room);
        assert_int_equal(check(&run, 0), TRANSACTIONS);
        disk_destroy(disk);
    }
    assert_true(refusals > 3);
    report("disks of few bytes");
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

/* A crash while the catalog is made: it is there and empty, or nothing is, or what is there is refused and not taken
 * for one (the folder that it lies in gets its name last of all). */
static void test_crash_while_it_is_made(void **state) {
    (void)state;
    for (uint64_t at = 1, crashed = 1; crashed; at++) {
        struct disk *disk = disk_create("test", 1);
        struct run run = {.disk = disk};
        ki_catalog *catalog = NULL;
        disk_set_fault(disk, DISK_CRASH, DISK_CHANGES, at, 0);
        const kith_status made = open_catalog(&run, 1, &catalog);
        ki_catalog_close(catalog);
        crashed = disk_faults(disk) > 0;
        for (uint64_t seed = 0; seed < 1; seed++) {
            disk_restart(disk, at);
            states++;
            const kith_status status = open_catalog(&run, 0, &catalog);
            if (status == KITH_OK) {
                uint64_t done = 0, digest = 0;
                assert_int_equal(read_all(catalog, &done, &digest), KITH_OK);
                assert_int_equal(digest, digests[0]);
            } else {
                assert_true(status == KITH_E_NOTFOUND || status == KITH_E_CORRUPT);
                assert_true(made != KITH_OK || crashed);
            }
            ki_catalog_close(catalog);
        }
        disk_destroy(disk);
    }
    report("a crash while it is made");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_at_every_operation),
        cmocka_unit_test(test_crash_where_sectors_are_not_safe),
        cmocka_unit_test(test_crash_with_relaxed_durability),
        cmocka_unit_test(test_kill_at_every_operation),
        cmocka_unit_test(test_crash_during_recovery),
        cmocka_unit_test(test_failing_syncs),
        cmocka_unit_test(test_failing_sync_and_kill),
        cmocka_unit_test(test_failing_operations),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_small_disks),
        cmocka_unit_test(test_crash_while_it_is_made),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
