/* SPDX-License-Identifier: Apache-2.0
 *
 * Catalogs in files: opened again, followed by another process, damaged, foreign, on a full disk, without memory,
 * copied and tidied while they are written. What memory does as well: test_catalog.c.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/catalog.h"
#include "support/faulty_malloc.h"
#include "support/faulty_vfs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const ki_catalog_options NEW = {.create = 1}, FAULTY_NEW = {.create = 1, .vfs = "faulty"}, PLAIN = {.create = 0},
                                READ = {.read_only = 1};

static ki_catalog *reopened(ki_catalog *catalog, const char *path, ki_catalog_options options) {
    ki_catalog_close(catalog);
    return open_file(path, options);
}

/* Something in each table. */
static void fill_all(ki_catalog *catalog) {
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 5, 1, "five", "payload of five");
    ki_catalog_item item = item_of(6, 1, "six", "payload of six");
    item.expires_ms = 1000;
    OK(ki_catalog_put_item(catalog, &item, &error));
    OK(ki_catalog_append_log(catalog, 3, bytes_of("body of log 3"), &error));
    OK(ki_catalog_put_segment(catalog, 4, bytes_of("body of segment 4"), &error));
    OK(ki_catalog_put_setting(catalog, "made", bytes_of("body of setting"), &error));
    OK(ki_catalog_put_record(catalog, 9, bytes_of("who"), bytes_of("body of record"), &error));
    OK(ki_catalog_commit(catalog, &error));
}

static kith_status expect_text(void *context, uint64_t number, ki_bytes body, kith_error *unused) {
    (void)unused;
    (void)number;
    const char *text = context;
    return body.bytes == strlen(text) && memcmp(body.data, text, body.bytes) == 0 ? KITH_OK : KITH_E_DATA;
}

/* KITH_OK: all of fill_all is there as it was. Any error: said by a read. KITH_E_DATA: something else is there. */
static kith_status look_at_all(ki_catalog *catalog) {
    static const struct {
        uint64_t key;
        const char *text, *payload;
        uint64_t expires;
    } items[] = {{5, "five", "payload of five", 0}, {6, "six", "payload of six", 1000}};
    ki_found found = {0};
    kith_status status = KITH_OK;
    for (int i = 0; i < 2 && status == KITH_OK; i++) {
        uint64_t key = 0, next = 0;
        status = ki_catalog_get_item(catalog, items[i].key, &found, &error);
        if (status != KITH_OK) break;
        if (found.item.expires_ms != items[i].expires || found.item.version != 1) status = KITH_E_DATA;
        if (expect_text((void *)(uintptr_t)items[i].payload, 0, found.item.payload, NULL) != KITH_OK)
            status = KITH_E_DATA;
        if (status == KITH_OK) status = ki_catalog_find_text(catalog, bytes_of(items[i].text), &key, &error);
        if (status == KITH_OK && key != items[i].key) status = KITH_E_DATA;
        if (status == KITH_OK) status = ki_catalog_next_expiry(catalog, &next, &error);
        if (status == KITH_OK && next != 1000) status = KITH_E_DATA;
    }
    if (status == KITH_OK) status = ki_catalog_scan_log(catalog, 0, expect_text, "body of log 3", &error);
    if (status == KITH_OK) status = ki_catalog_scan_segments(catalog, expect_text, "body of segment 4", &error);
    if (status == KITH_OK) status = ki_catalog_get_setting(catalog, "made", &found, &error);
    if (status == KITH_OK) status = expect_text("body of setting", 0, found.body, NULL);
    if (status == KITH_OK) status = ki_catalog_get_record(catalog, 9, bytes_of("who"), &found, &error);
    if (status == KITH_OK) status = expect_text("body of record", 0, found.body, NULL);
    ki_found_free(&found);
    return status;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static void test_opened_again(void **state) {
    ki_catalog *catalog = open_file(data_path("again"), NEW), *other = NULL;
    uint64_t disk = 0;
    (void)state;
    fill_all(catalog);
    for (int round = 0; round < 3; round++) {
        catalog = reopened(catalog, data_path("again"), round == 1 ? READ : PLAIN);
        OK(look_at_all(catalog));
        OK(ki_catalog_check(catalog, NULL, NULL, &error));
        ki_catalog_sizes(catalog, &disk, NULL);
        assert_true(disk > 4096);
        if (round == 1) FAILS(KITH_E_ARG, "reading only", ki_catalog_begin(catalog, &error));
        if (round == 1) OK(ki_catalog_tidy(catalog, &error));
    }
    FAILS(KITH_E_BUSY, "already", ki_catalog_open_sqlite(data_path("again"), &NEW, &other, &error));
    ki_catalog_close(catalog);
    FAILS(KITH_E_BUSY, "already", ki_catalog_open_sqlite(data_path("again"), &NEW, &other, &error));
    FAILS(KITH_E_NOTFOUND, "nowhere", ki_catalog_open_sqlite(data_path("nowhere"), &PLAIN, &other, &error));
    FAILS(KITH_E_NOTFOUND, "nowhere", ki_catalog_open_sqlite(data_path("nowhere"), &READ, &other, &error));
    FAILS(KITH_E_IO, "cannot open", ki_catalog_open_sqlite(data_path("no/folder"), &NEW, &other, &error));
    const ki_catalog_options both = {.create = 1, .read_only = 1}, strange = {.vfs = "nobody's"};
    FAILS(KITH_E_ARG, "reading only", ki_catalog_open_sqlite(data_path("x"), &both, &other, &error));
    FAILS(KITH_E_ARG, "nobody's", ki_catalog_open_sqlite(data_path("x"), &strange, &other, &error));
    FAILS(KITH_E_ARG, "NULL", ki_catalog_open_sqlite(NULL, &NEW, &other, &error));
    FAILS(KITH_E_ARG, "NULL", ki_catalog_open_sqlite("", &NEW, &other, &error));
    assert_null(other);
}

/* Names that SQLite gives a meaning to. */
static void test_odd_names(void **state) {
    static const char *const names[] = {":memory:", "file:odd?mode=memory", "with%41?and#", "ümläut"};
    char before[4096];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(data_path(".")), 0);
    for (size_t i = 0; i < 4; i++) {
        ki_catalog *catalog = open_file(names[i], NEW);
        struct stat status;
        fill_all(catalog);
        assert_int_equal(stat(names[i], &status), 0);
        catalog = reopened(catalog, names[i], READ);
        OK(look_at_all(catalog));
        OK(ki_catalog_copy(catalog, "copy of it", &error));
        ki_catalog_close(catalog);
        assert_int_equal(unlink("copy of it"), 0);
    }
    assert_int_equal(chdir(before), 0);
}

static void write_bytes(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void change_with_sqlite(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    char *text = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) fail_msg("%s: %s", sql, text);
    sqlite3_close(db);
}

static void test_foreign_files(void **state) {
    static const struct {
        const char *sql, *words;
        kith_status status;
    } changes[] = {
        {"PRAGMA user_version = 2", "newer kith", KITH_E_VERSION},
        {"PRAGMA user_version = 0", "no catalog", KITH_E_CORRUPT},
        {"PRAGMA application_id = 7", "no catalog", KITH_E_CORRUPT},
        {"DROP TABLE log", "tables", KITH_E_CORRUPT},
        {"ALTER TABLE log ADD COLUMN more", "tables", KITH_E_CORRUPT},
        {"CREATE TABLE more(x)", "tables", KITH_E_CORRUPT},
        {"CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END", "tables", KITH_E_CORRUPT},
    };
    char text[9000];
    ki_catalog *catalog = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (int read_only = 0; read_only < 2; read_only++) {
            ki_catalog_close(open_file(data_path("changed"), NEW));
            change_with_sqlite(data_path("changed"), changes[i].sql);
            FAILS(changes[i].status, changes[i].words,
                  ki_catalog_open_sqlite(data_path("changed"), read_only ? &READ : &PLAIN, &catalog, &error));
            FAILS(changes[i].status, changes[i].words,
                  ki_catalog_open_sqlite(data_path("changed"), &NEW, &catalog, &error));
            unlink(data_path("changed"));
        }
    memset(text, 'x', sizeof text);
    for (size_t bytes = 900; bytes < sizeof text; bytes += 900) {
        write_bytes(data_path("text"), text, bytes);
        FAILS(KITH_E_CORRUPT, "text", ki_catalog_open_sqlite(data_path("text"), &PLAIN, &catalog, &error));
        FAILS(KITH_E_CORRUPT, "text", ki_catalog_open_sqlite(data_path("text"), &READ, &catalog, &error));
        FAILS(KITH_E_CORRUPT, "text", ki_catalog_open_sqlite(data_path("text"), &NEW, &catalog, &error));
    }
    /* An interrupted creation leaves such a file. */
    write_bytes(data_path("text"), "", 0);
    FAILS(KITH_E_NOTFOUND, "no such", ki_catalog_open_sqlite(data_path("text"), &PLAIN, &catalog, &error));
    ki_catalog_close(open_file(data_path("text"), NEW));
    ki_catalog_close(open_file(data_path("text"), READ));
    assert_null(catalog);
}

/* Where nothing may be made beside it, a catalog that was closed is read as it lies, until somebody writes it. */
static void test_read_as_it_lies(void **state) {
    const ki_catalog_options faulty = {.read_only = 1, .vfs = "faulty"};
    const char *path = data_path("lies");
    ki_catalog *catalog = open_file(path, NEW), *reader = NULL;
    uint64_t stamp = 0;
    (void)state;
    fill_all(catalog);
    ki_catalog_close(catalog);
    atomic_store(&faulty_vfs_nothing_new, 1);
    atomic_store(&faulty_vfs_no_shared, 1);
    reader = open_file(path, faulty);
    OK(look_at_all(reader));
    OK(ki_catalog_check(reader, NULL, NULL, &error));
    OK(ki_catalog_stamp(reader, &stamp, &error));
    catalog = open_file(path, PLAIN);
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 1, 1, NULL, "x");
    OK(ki_catalog_commit(catalog, &error));
    FAILS(KITH_E_BUSY, "open it again", ki_catalog_stamp(reader, &stamp, &error));
    ki_catalog_close(reader);
    /* A log is there, and no way to share its index. */
    reader = NULL;
    FAILS(KITH_E_IO, "lies", ki_catalog_open_sqlite(path, &faulty, &reader, &error));
    assert_null(reader);
    atomic_store(&faulty_vfs_nothing_new, 0);
    atomic_store(&faulty_vfs_no_shared, 0);
    ki_catalog_close(catalog);
}

/* ---- Another process --------------------------------------------------------------------------------------------- */

/* Each time that the parent says so: is the stamp another one, and what is item 1? */
static void follow(const char *path, int from_parent, int to_parent) {
    ki_catalog *catalog = NULL;
    uint64_t before = 0, stamp;
    char letter;
    while (read(from_parent, &letter, 1) == 1) {
        kith_error text;
        ki_found found = {0};
        unsigned char answer[2] = {0, '-'};
        if (!catalog && ki_catalog_open_sqlite(path, &READ, &catalog, &text) != KITH_OK) _exit(2);
        if (ki_catalog_stamp(catalog, &stamp, &text) != KITH_OK) _exit(3);
        answer[0] = stamp != before;
        before = stamp;
        const kith_status status = ki_catalog_get_item(catalog, 1, &found, &text);
        if (status == KITH_OK) answer[1] = *(const unsigned char *)found.item.payload.data;
        if (status != KITH_OK && status != KITH_E_NOTFOUND) _exit(4);
        ki_found_free(&found);
        if (write(to_parent, answer, 2) != 2) _exit(5);
    }
    ki_catalog_close(catalog);
    _exit(0);
}

/* A child made before SQLite opened the file here: what it inherited of SQLite's locks it would take for its own. */
static void test_followed(void **state) {
    const char *path = data_path("followed");
    int there[2], back[2], status = 1;
    unsigned char answer[2];
    (void)state;
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        close(there[1]);
        follow(path, there[0], back[1]);
    }
    close(there[0]);
    ki_catalog *catalog = open_file(path, NEW);
    for (int i = 0; i < 10; i++) {
        const int writes = i % 3 == 1;
        const char payload[2] = {(char)('a' + i / 3), 0};
        if (writes) {
            OK(ki_catalog_begin(catalog, &error));
            put(catalog, 1, (uint64_t)i, NULL, payload);
            OK(ki_catalog_commit(catalog, &error));
        }
        assert_int_equal(write(there[1], "?", 1), 1);
        assert_int_equal(read(back[0], answer, 2), 2);
        assert_int_equal(answer[0], writes || i == 0);
        assert_int_equal(answer[1], i ? 'a' + (i - 1) / 3 : '-');
        if (i == 5) catalog = reopened(catalog, path, PLAIN);
    }
    close(there[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ki_catalog_close(catalog);
    close(back[0]);
    close(back[1]);
}

static void test_child_may_not(void **state) {
    ki_catalog *catalog = open_file(data_path("child"), NEW);
    int status = 1;
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        kith_error text;
        uint64_t stamp;
        int wrong = ki_catalog_begin(catalog, &text) != KITH_E_ARG;
        wrong |= ki_catalog_stamp(catalog, &stamp, &text) != KITH_E_ARG;
        wrong |= ki_catalog_next_expiry(catalog, &stamp, &text) != KITH_E_ARG;
        ki_catalog_read_end(catalog);
        ki_catalog_close(catalog);
        _exit(wrong);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fill_all(catalog);
    OK(look_at_all(catalog));
    ki_catalog_close(catalog);
}

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

static unsigned char *read_bytes(const char *path, size_t *count) {
    struct stat status;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(stat(path, &status), 0);
    *count = (size_t)status.st_size;
    unsigned char *bytes = malloc(*count);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *count, file), *count);
    fclose(file);
    return bytes;
}

/* G5: a body that is not what was written is never given out, and the sentence says which. */
static void test_flipped_bodies(void **state) {
    static const struct {
        const char *bytes, *words;
    } bodies[] = {{"payload of six", "item 6"},
                  {"body of log 3", "log entry 3"},
                  {"body of segment 4", "segment 4"},
                  {"body of setting", "setting 'made'"},
                  {"body of record", "record 'who' of kind 9"}};
    ki_catalog *catalog = open_file(data_path("whole"), NEW);
    size_t count;
    (void)state;
    fill_all(catalog);
    ki_catalog_close(catalog);
    unsigned char *bytes = read_bytes(data_path("whole"), &count);
    for (size_t i = 0; i < 5; i++) {
        unsigned char *body = memmem(bytes, count, bodies[i].bytes, strlen(bodies[i].bytes));
        assert_non_null(body);
        body[3] ^= 4;
        write_bytes(data_path("flipped"), bytes, count);
        body[3] ^= 4;
        catalog = open_file(data_path("flipped"), READ);
        FAILS(KITH_E_CORRUPT, bodies[i].words, look_at_all(catalog));
        FAILS(KITH_E_CORRUPT, bodies[i].words, ki_catalog_check(catalog, NULL, NULL, &error));
        ki_catalog_close(catalog);
    }
    free(bytes);
}

/* A flip anywhere: it is told, or it is in a place that means nothing. */
static void test_flipped_anywhere(void **state) {
    ki_catalog *catalog;
    size_t count, told = 0, tried = 0;
    (void)state;
    unsigned char *bytes = read_bytes(data_path("whole"), &count);
    for (size_t place = 0; place < count; place += place < 200 ? 1 : 41) {
        bytes[place] ^= 0x11;
        write_bytes(data_path("flipped"), bytes, count);
        bytes[place] ^= 0x11;
        tried++;
        error = (kith_error){KITH_OK, ""};
        kith_status status = ki_catalog_open_sqlite(data_path("flipped"), &READ, &catalog, &error);
        if (status == KITH_OK) {
            status = ki_catalog_check(catalog, NULL, NULL, &error);
            const kith_status found = look_at_all(catalog);
            if (status == KITH_OK && found != KITH_OK) fail_msg("byte %zu: checked, but %s", place, error.text);
            if (found == KITH_E_DATA) fail_msg("byte %zu: another item was given out", place);
            ki_catalog_close(catalog);
        }
        told += status != KITH_OK;
        unlink(data_path("flipped-wal"));
        unlink(data_path("flipped-shm"));
    }
    assert_true(told > 30 && told < tried);
    for (size_t length = 0; length < count; length += 511) {
        write_bytes(data_path("flipped"), bytes, length);
        error = (kith_error){KITH_OK, ""};
        kith_status status = ki_catalog_open_sqlite(data_path("flipped"), &READ, &catalog, &error);
        if (status == KITH_OK) {
            status = ki_catalog_check(catalog, NULL, NULL, &error);
            ki_catalog_close(catalog);
        }
        if (status == KITH_OK) fail_msg("cut to %zu bytes, and nobody noticed", length);
    }
    free(bytes);
}

/* ---- Faults of the disk ------------------------------------------------------------------------------------------ */

static kith_status put_much(ki_catalog *catalog, uint64_t number) {
    static char body[300000];
    kith_status status = ki_catalog_begin(catalog, &error);
    if (status != KITH_OK) return status;
    const ki_catalog_item item = item_of(number, number, NULL, "x");
    status = ki_catalog_put_item(catalog, &item, &error);
    if (status == KITH_OK) status = ki_catalog_append_log(catalog, number, (ki_bytes){body, sizeof body}, &error);
    if (status == KITH_OK) return ki_catalog_commit(catalog, &error);
    ki_catalog_rollback(catalog);
    return status;
}

/* G2: refused while there is no room, reads go on, and writes when there is room again. */
static void test_disk_full(void **state) {
    ki_catalog *catalog = open_file(data_path("full"), FAULTY_NEW);
    uint64_t number = 1, refused = 0;
    (void)state;
    OK(put_much(catalog, number++));
    for (long room = 0; room < 400000; room += 23456) {
        atomic_store(&faulty_vfs_room, room);
        const kith_status status = put_much(catalog, number);
        if (status == KITH_OK) {
            number++;
        } else {
            refused++;
            if (status != KITH_E_NOSPACE) fail_msg("%d: %s", (int)status, error.text);
            assert_int_equal(count_log(catalog), number - 1);
            assert_string_equal(payload_of(catalog, number), "-");
        }
        atomic_store(&faulty_vfs_room, -1);
        OK(put_much(catalog, number++));
    }
    assert_true(refused > 5);
    assert_int_equal(count_log(catalog), number - 1);
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    catalog = reopened(catalog, data_path("full"), PLAIN);
    assert_int_equal(count_log(catalog), number - 1);
    ki_catalog_close(catalog);
}

/* G1: a sync that failed is not asked again. */
static void test_sync_fails(void **state) {
    const char *path = data_path("sync");
    ki_catalog *catalog = open_file(path, FAULTY_NEW);
    (void)state;
    OK(put_much(catalog, 1));
    atomic_store(&faulty_vfs_sync_fails, 1);
    FAILS(KITH_E_IO, "commit", put_much(catalog, 2));
    atomic_store(&faulty_vfs_sync_fails, 0);
    FAILS(KITH_E_IO, "opened again", put_much(catalog, 3));
    assert_int_equal(count_log(catalog), 1);
    OK(look_at_all(catalog) == KITH_E_NOTFOUND ? KITH_OK : KITH_E_DATA);
    catalog = reopened(catalog, path,
                       (ki_catalog_options){.durability = KITH_DURABILITY_RELAXED, .gather = 1, .vfs = "faulty"});
    OK(put_much(catalog, 4));
    atomic_store(&faulty_vfs_sync_fails, 1);
    OK(put_much(catalog, 5)); /* relaxed: nobody syncs */
    FAILS(KITH_E_IO, "sync", ki_catalog_sync(catalog, &error));
    atomic_store(&faulty_vfs_sync_fails, 0);
    FAILS(KITH_E_IO, "opened again", put_much(catalog, 6));
    catalog = reopened(catalog, path, PLAIN);
    OK(put_much(catalog, 7));
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    ki_catalog_close(catalog);
}

/* Each commit is synced before it returns, or none. */
static void test_durability(void **state) {
    ki_catalog *catalog = open_file(data_path("durable"), FAULTY_NEW);
    (void)state;
    for (uint64_t i = 1; i < 5; i++) {
        const long before = atomic_load(&faulty_vfs_syncs);
        OK(put_much(catalog, i));
        assert_true(atomic_load(&faulty_vfs_syncs) > before);
    }
    catalog = reopened(catalog, data_path("durable"),
                       (ki_catalog_options){.durability = KITH_DURABILITY_RELAXED, .gather = 1, .vfs = "faulty"});
    OK(put_much(catalog, 5));
    const long before = atomic_load(&faulty_vfs_syncs);
    OK(put_much(catalog, 6));
    assert_int_equal(atomic_load(&faulty_vfs_syncs), before);
    OK(ki_catalog_sync(catalog, &error));
    assert_int_equal(atomic_load(&faulty_vfs_syncs), before + 1);
    ki_catalog_close(catalog);
}

static void test_reads_fail(void **state) {
    ki_catalog *catalog = open_file(data_path("unread"), FAULTY_NEW);
    (void)state;
    for (uint64_t i = 1; i < 20; i++) OK(put_much(catalog, i));
    assert_int_equal(count_log(catalog), 19);
    atomic_store(&faulty_vfs_reads_fail, 1);
    seen all = {.count = 0};
    FAILS(KITH_E_IO, "scan the log", ki_catalog_scan_log(catalog, 0, see_body, &all, &error));
    atomic_store(&faulty_vfs_reads_fail, 0);
    assert_int_equal(count_log(catalog), 19);
    ki_catalog_close(catalog);
}

/* ---- Tails ------------------------------------------------------------------------------------------------------- */

static const ki_catalog_options TAIL_NEW = {.create = 1,
                                            .durability = KITH_DURABILITY_RELAXED,
                                            .gather = 1,
                                            .vfs = "faulty"},
                                TAIL = {.durability = KITH_DURABILITY_RELAXED, .gather = 1, .vfs = "faulty"};

static void commit_small(ki_catalog *catalog, uint64_t number) {
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, number % 7, number, NULL, "x");
    OK(ki_catalog_append_log(catalog, number, bytes_of("log"), &error));
    OK(ki_catalog_commit(catalog, &error));
}

/* Files as a killed process leaves them: commits 1..5, of which SQLite has none. */
static void leave_tail(const char *name, const char *copy) {
    static const char *const tails[] = {"", "-wal", "-tail"};
    ki_catalog *catalog = open_file(data_path(name), TAIL_NEW);
    for (uint64_t i = 1; i <= 5; i++) commit_small(catalog, i);
    for (int i = 0; i < 3; i++) {
        char from[60], to[60];
        size_t bytes = 0;
        snprintf(from, sizeof from, "%s%s", name, tails[i]);
        snprintf(to, sizeof to, "%s%s", copy, tails[i]);
        unsigned char *content = read_bytes(data_path(from), &bytes);
        write_bytes(data_path(to), content, bytes);
        free(content);
    }
    ki_catalog_close(catalog);
    assert_int_not_equal(access(data_path("gone-tail"), F_OK), 0);
}

static size_t log_after_opening(const char *name, ki_catalog_options options) {
    static uint64_t next = 100;
    ki_catalog *catalog = open_file(data_path(name), options);
    const size_t count = count_log(catalog);
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    if (!options.read_only) commit_small(catalog, next++);
    ki_catalog_close(catalog);
    return count;
}

/* A1, A2: a tail that a killed process left is done again, however it is opened; a damaged one up to the damage; one of
 * another catalog, or of before, not at all. */
static void test_tails_left_behind(void **state) {
    size_t bytes = 0, fewer = 5;
    (void)state;
    leave_tail("tail", "left");
    unsigned char *tail = read_bytes(data_path("left-tail"), &bytes);
    assert_int_equal(bytes % 5, 0); /* five records of one size */
    assert_int_equal(log_after_opening("left", READ), 0);
    assert_int_equal(log_after_opening("left", (ki_catalog_options){.vfs = "faulty"}), 5);
    assert_int_not_equal(access(data_path("left-tail"), F_OK), 0);
    write_bytes(data_path("left-tail"), tail, bytes); /* again, when SQLite has it */
    assert_int_equal(log_after_opening("left", TAIL), 6);
    free(tail);

    for (size_t place = 0; place < 5; place++) {
        char from[20], to[20];
        snprintf(from, sizeof from, "from%zu", place);
        snprintf(to, sizeof to, "to%zu", place);
        leave_tail(from, to);
        snprintf(from, sizeof from, "to%zu-tail", place);
        tail = read_bytes(data_path(from), &bytes);
        tail[place * (bytes / 5) + place * 17] ^= 1;
        write_bytes(data_path(from), tail, place % 2 ? bytes : bytes - place);
        free(tail);
        fewer = log_after_opening(to, TAIL);
        assert_int_equal(fewer, place);
    }

    leave_tail("mine", "my");
    leave_tail("yours", "your");
    tail = read_bytes(data_path("your-tail"), &bytes);
    write_bytes(data_path("my-tail"), tail, bytes);
    free(tail);
    assert_int_equal(log_after_opening("my", TAIL), 0);
}

/* What fails or is undone takes nothing along that was committed before it. */
static void test_tail_and_faults(void **state) {
    ki_catalog *catalog = open_file(data_path("faults"), TAIL_NEW);
    uint64_t number = 1, refused = 0;
    int there = 0;
    (void)state;
    for (int round = 0; round < 40; round++) {
        const uint64_t before = number;
        while (number < before + 5) commit_small(catalog, number++);
        OK(ki_catalog_begin(catalog, &error));
        put(catalog, 1000, number, "gone", "undone");
        if (round % 3 == 0)
            FAILS(KITH_E_ARG, "number", ki_catalog_append_log(catalog, number - 1, bytes_of(""), &error));
        if (round % 3 == 1) OK(ki_catalog_append_log(catalog, number, bytes_of("undone"), &error));
        ki_catalog_rollback(catalog);
        assert_string_equal(payload_of(catalog, 1000), "-");
        atomic_store(&faulty_vfs_room, 100 + 13 * round);
        for (int i = 0; i < 4; i++) {
            const ki_catalog_item small = item_of(7, number, NULL, "x");
            OK(ki_catalog_begin(catalog, &error));
            OK(ki_catalog_put_item(catalog, &small, &error));
            OK(ki_catalog_append_log(catalog, number, bytes_of("log"), &error));
            const kith_status status = ki_catalog_commit(catalog, &error);
            if (status != KITH_OK && status != KITH_E_NOSPACE) fail_msg("%d: %s", (int)status, error.text);
            number += status == KITH_OK;
            refused += status != KITH_OK;
        }
        there |= number > before + 5;
        assert_string_equal(payload_of(catalog, 7), there ? "x" : "-");
        atomic_store(&faulty_vfs_room, -1);
        seen all = {.count = 0};
        OK(ki_catalog_scan_log(catalog, number > 200 ? number - 200 : 0, see_body, &all, &error));
        assert_true(all.number[all.count - 1] == number - 1);
    }
    assert_true(refused > 20);
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    catalog = reopened(catalog, data_path("faults"), PLAIN);
    OK(put_much(catalog, number));
    ki_catalog_close(catalog);
}

/* A large transaction behind small ones: these are shown while it goes on. */
static void *count_elsewhere(void *context) {
    return (void *)(uintptr_t)count_log(context);
}

static void test_tail_and_large(void **state) {
    static char body[100000];
    ki_catalog *catalog = open_file(data_path("large"), TAIL_NEW);
    pthread_t thread;
    void *count = NULL;
    (void)state;
    for (uint64_t i = 1; i <= 5; i++) commit_small(catalog, i);
    OK(ki_catalog_begin(catalog, &error));
    put(catalog, 50, 1, "fifty", "of the large one");
    OK(ki_catalog_append_log(catalog, 6, (ki_bytes){body, sizeof body}, &error));
    OK(ki_catalog_append_log(catalog, 7, (ki_bytes){body, sizeof body}, &error));
    assert_int_equal(pthread_create(&thread, NULL, count_elsewhere, catalog), 0);
    assert_int_equal(pthread_join(thread, &count), 0);
    assert_int_equal((uintptr_t)count, 5);
    assert_int_equal(count_log(catalog), 7);
    OK(ki_catalog_commit(catalog, &error));
    commit_small(catalog, 8);
    assert_int_equal(count_log(catalog), 8);
    assert_string_equal(payload_of(catalog, 50), "of the large one");
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    ki_catalog_close(catalog);
}

/* ---- Memory that is refused -------------------------------------------------------------------------------------- */

enum { STARVE_FILE, STARVE_TAIL, STARVE_MEMORY, STARVED };

static kith_status use_all(int keeper, ki_catalog **catalog) {
    const ki_catalog_item items[] = {item_of(5, 1, "five", "payload of five"), item_of(6, 1, "six", "payload of six")};
    const ki_catalog_options *options = keeper == STARVE_TAIL ? &TAIL_NEW : &FAULTY_NEW;
    kith_status status = keeper == STARVE_MEMORY
                             ? ki_catalog_open_memory(catalog, &error)
                             : ki_catalog_open_sqlite(data_path("starved"), options, catalog, &error);
    if (status == KITH_OK) status = ki_catalog_begin(*catalog, &error);
    if (status != KITH_OK) return status;
    for (int i = 0; i < 2 && status == KITH_OK; i++) {
        ki_catalog_item item = items[i];
        item.expires_ms = i ? 1000 : 0;
        status = ki_catalog_put_item(*catalog, &item, &error);
    }
    if (status == KITH_OK) status = ki_catalog_append_log(*catalog, 3, bytes_of("body of log 3"), &error);
    if (status == KITH_OK) status = ki_catalog_put_segment(*catalog, 4, bytes_of("body of segment 4"), &error);
    if (status == KITH_OK) status = ki_catalog_put_setting(*catalog, "made", bytes_of("body of setting"), &error);
    if (status == KITH_OK)
        status = ki_catalog_put_record(*catalog, 9, bytes_of("who"), bytes_of("body of record"), &error);
    if (status == KITH_OK) status = ki_catalog_remove_item(*catalog, 7, &error);
    if (status == KITH_OK) status = ki_catalog_drop_log(*catalog, 2, &error);
    if (status == KITH_OK) return ki_catalog_commit(*catalog, &error);
    ki_catalog_rollback(*catalog);
    return status;
}

/* The first allocation that is refused, from each place on, once and for good. */
static void starve(int keeper, int for_good) {
    long step = 1;
    for (long number = 0;; number += step) {
        ki_catalog *catalog = NULL;
        faulty_malloc_start(number, for_good);
        kith_status status = use_all(keeper, &catalog);
        const kith_status read = status == KITH_OK ? look_at_all(catalog) : status;
        const long count = faulty_malloc_stop();
        if (read != KITH_OK && read != KITH_E_NOMEM) fail_msg("allocation %ld: %d, %s", number, (int)read, error.text);
        if (catalog && status == KITH_OK) OK(look_at_all(catalog));
        if (catalog && status != KITH_OK) {
            assert_int_equal(count_items(catalog), 0);
            fill_all(catalog);
            OK(look_at_all(catalog));
        }
        ki_catalog_close(catalog);
        unlink(data_path("starved"));
        unlink(data_path("starved-wal"));
        unlink(data_path("starved-shm"));
        unlink(data_path("starved-journal"));
        unlink(data_path("starved-tail"));
        if (count <= number) break;
        if (number > 300) step = 13;
    }
}

static void test_no_memory(void **state) {
    (void)state;
    for (int i = 0; i < 2 * STARVED; i++) starve(i / 2, i % 2);
}

/* ---- Copies and tidying ------------------------------------------------------------------------------------------ */

static atomic_int stop;

static void *write_on(void *context) {
    ki_catalog *catalog = context;
    static char body[100000];
    kith_error text;
    for (uint64_t number = 1; !atomic_load(&stop); number++) {
        if (ki_catalog_begin(catalog, &text) != KITH_OK) return "begin";
        for (uint64_t key = 0; key < 100; key++) {
            const ki_catalog_item item = {.key = key * 1000, .version = number, .payload = {body, 500}};
            if (ki_catalog_put_item(catalog, &item, &text) != KITH_OK) return "put";
        }
        if (ki_catalog_append_log(catalog, number, (ki_bytes){body, sizeof body}, &text) != KITH_OK) return "append";
        if (number > 3 && ki_catalog_drop_log(catalog, number - 3, &text) != KITH_OK) return "drop";
        if (ki_catalog_commit(catalog, &text) != KITH_OK) return "commit";
    }
    return NULL;
}

static kith_status same_version(void *context, const ki_catalog_item *item, kith_error *unused) {
    uint64_t *version = context;
    (void)unused;
    if (!*version) *version = item->version;
    return item->version == *version ? KITH_OK : KITH_E_DATA;
}

static int call_off(void *context, const kith_progress *progress) {
    assert_string_equal(progress->unit, "bytes");
    assert_true(progress->done <= progress->total);
    return ++*(int *)context > 0;
}

static void test_copied_while_written(void **state) {
    ki_catalog *catalog = open_file(data_path("busy"), (ki_catalog_options){.create = 1, .vfs = "faulty"});
    pthread_t thread;
    void *went_wrong = NULL;
    uint64_t stamp = 0, before;
    (void)state;
    OK(ki_catalog_stamp(catalog, &before, &error));
    atomic_store(&stop, 0);
    assert_int_equal(pthread_create(&thread, NULL, write_on, catalog), 0);
    do OK(ki_catalog_stamp(catalog, &stamp, &error));
    while (stamp == before);
    for (int i = 0; i < 5; i++) {
        uint64_t version = 0;
        seen log = {.count = 0};
        OK(ki_catalog_copy(catalog, data_path("copied"), &error));
        OK(ki_catalog_tidy(catalog, &error));
        ki_catalog *copy = open_file(data_path("copied"), i % 2 ? READ : PLAIN);
        OK(ki_catalog_check(copy, NULL, NULL, &error));
        OK(ki_catalog_scan_items(copy, 0, same_version, &version, &error));
        OK(ki_catalog_scan_log(copy, 0, see_body, &log, &error));
        assert_true(version > 0 && log.number[log.count - 1] == version);
        ki_catalog_close(copy);
        unlink(data_path("copied"));
        unlink(data_path("copied-wal"));
        unlink(data_path("copied-shm"));
    }
    atomic_store(&stop, 1);
    pthread_join(thread, &went_wrong);
    if (went_wrong) fail_msg("%s failed", (char *)went_wrong);
    int calls = 0;
    FAILS(KITH_E_CANCELLED, "cancelled", ki_catalog_check(catalog, call_off, &calls, &error));
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    FAILS(KITH_E_IO, "", ki_catalog_copy(catalog, data_path("no/such/folder"), &error));
    ki_catalog_close(catalog);
}

/* What was written and removed again is given back to the disk, but for less than 1 MiB of free pages: how many a step
 * leaves depends on how far it came in its time. */
static void test_gives_space_back(void **state) {
    ki_catalog *catalog = open_file(data_path("tidy"), FAULTY_NEW);
    uint64_t full = 0, tidied = 0;
    (void)state;
    for (uint64_t i = 1; i < 120; i++) OK(put_much(catalog, i));
    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_drop_log(catalog, 118, &error));
    OK(ki_catalog_commit(catalog, &error));
    ki_catalog_sizes(catalog, &full, NULL);
    OK(ki_catalog_tidy(catalog, &error));
    ki_catalog_sizes(catalog, &tidied, NULL);
    assert_true(full > 30000000 && tidied < (1 << 20) + 700000);
    assert_int_equal(count_log(catalog), 1);
    assert_int_equal(count_items(catalog), 119);
    OK(put_much(catalog, 120));
    ki_catalog_close(catalog);
}

/* Step by step, with changes in between; who reads keeps its state, and the log as long as it is needed for that. */
static void test_tidied_in_steps(void **state) {
    ki_catalog *catalog = open_file(data_path("steps"), FAULTY_NEW);
    ki_catalog *reader = open_file(data_path("steps"), READ);
    ki_tidied tidied = KI_TIDY_MORE;
    uint64_t full = 0, tidy = 0;
    int steps = 0;
    (void)state;
    for (uint64_t i = 1; i < 120; i++) OK(put_much(catalog, i));
    OK(ki_catalog_read_begin(reader, &error));
    assert_int_equal(count_log(reader), 119);
    OK(ki_catalog_begin(catalog, &error));
    OK(ki_catalog_drop_log(catalog, 118, &error));
    OK(ki_catalog_commit(catalog, &error));
    ki_catalog_sizes(catalog, &full, NULL);
    for (uint64_t i = 200; tidied == KI_TIDY_MORE; i++, steps++) {
        OK(ki_catalog_tidy_step(catalog, &tidied, &error));
        if (steps < 3) OK(put_much(catalog, i));
    }
    assert_int_equal(tidied, KI_TIDY_LATER);
    assert_true(steps > 3);
    assert_int_equal(count_log(reader), 119);
    ki_catalog_read_end(reader);
    do OK(ki_catalog_tidy_step(catalog, &tidied, &error));
    while (tidied == KI_TIDY_MORE);
    assert_int_equal(tidied, KI_TIDY_DONE);
    ki_catalog_sizes(catalog, &tidy, NULL);
    assert_true(full > 30000000 && tidy < 3000000);
    assert_int_equal(count_log(reader), 4);
    OK(ki_catalog_check(catalog, NULL, NULL, &error));
    ki_catalog_close(reader);
    ki_catalog_close(catalog);
}

static int prepare(void **state) {
    faulty_vfs_install();
    return data_folder_make(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_followed), /* first: see there */
        cmocka_unit_test(test_tidied_in_steps),
        cmocka_unit_test(test_opened_again),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_read_as_it_lies),
        cmocka_unit_test(test_child_may_not),
        cmocka_unit_test(test_flipped_bodies),
        cmocka_unit_test(test_flipped_anywhere),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_durability),
        cmocka_unit_test(test_reads_fail),
        cmocka_unit_test(test_tails_left_behind),
        cmocka_unit_test(test_tail_and_faults),
        cmocka_unit_test(test_tail_and_large),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_copied_while_written),
        cmocka_unit_test(test_gives_space_back),
    };
    return cmocka_run_group_tests(tests, prepare, data_folder_remove);
}
