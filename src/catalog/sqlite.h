/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file (inner): what the sqlite*.c files share.
 *
 * S1. One connection writes, and belongs to the thread that holds the catalog's lock. Each reading is a connection of
 *     its own. A further one, guarded by `watching`, tells stamps: SQLite's data_version compares only within a
 *     connection. So SQLite's own mutexes are off.
 * S2. A prepared statement is in its slot while it rests. Whoever uses it takes it out, so that a read inside of the
 *     same scan finds the slot empty and prepares another one.
 * S3. Keys and numbers are stored as the i64 that has the same place in the order: the top bit is turned over (G4).
 * S4. SQLite alone opens the file, its log and its index: closing a descriptor of ours would drop its POSIX locks.
 * S5. The file is as this version makes it, or refused: its application id, version and the text of its tables are
 *     compared when it is opened. What is in the tables is not trusted: see the checksums. */
#ifndef KI_CATALOG_SQLITE_H
#define KI_CATALOG_SQLITE_H

#include "catalog/keeper.h"
#include "catalog/tail.h"

#include <sqlite3.h>

/* For locks that other processes hold for moments: a recovery, the end of a checkpoint. */
enum { KI_SQLITE_WAIT_MS = 5000 };

typedef enum ki_sql {
    KI_SQL_BEGIN,
    KI_SQL_BEGIN_READ,
    KI_SQL_COMMIT,
    KI_SQL_ROLLBACK,
    KI_SQL_PUT_ITEM,
    KI_SQL_REMOVE_ITEM,
    KI_SQL_APPEND_LOG,
    KI_SQL_PUT_SEGMENT,
    KI_SQL_REMOVE_LOG,
    KI_SQL_REMOVE_SEGMENT,
    KI_SQL_PUT_RECORD,
    KI_SQL_REMOVE_RECORD,
    KI_SQL_GET_ITEM,
    KI_SQL_FIND_TEXT,
    KI_SQL_SCAN_ITEMS,
    KI_SQL_SCAN_EXPIRED,
    KI_SQL_NEXT_EXPIRY,
    KI_SQL_SCAN_LOG,
    KI_SQL_SCAN_SEGMENTS,
    KI_SQL_GET_RECORD,
    KI_SQL_SCAN_RECORDS,
    KI_SQL_SCAN_ALL_RECORDS,
    KI_SQL_DATA_VERSION,
    KI_SQL_COUNT
} ki_sql;

typedef struct ki_sqlite ki_sqlite;

typedef struct ki_connection {
    ki_reading reading; /* the first member: a reading is cast to its connection */
    const ki_sqlite *sqlite;
    sqlite3 *db;
    sqlite3_stmt *rest[KI_SQL_COUNT]; /* S2 */
    int several;                      /* a transaction for several reads is open */
} ki_connection;

struct ki_sqlite {
    char *path; /* as SQLite takes it */
    char *vfs;  /* NULL: the usual one */
    int read_only;
    int immutable;         /* nobody can have a log or an index beside it: it is read as it lies */
    ki_connection *writer; /* NULL: read only */
    pthread_mutex_t watching;
    ki_connection *watch; /* made when it is needed */
    _Atomic uint64_t writer_bytes, commits;
    ki_tail tail;
};

static inline int64_t ki_signed(uint64_t key) {
    return (int64_t)(key ^ UINT64_C(0x8000000000000000));
}
static inline uint64_t ki_unsigned(int64_t stored) {
    return (uint64_t)stored ^ UINT64_C(0x8000000000000000);
}

/* sqlite.c */
kith_status ki_connection_open(const ki_sqlite *sqlite, int flags, ki_connection **connection, kith_error *error);
void ki_connection_close(ki_connection *connection); /* NULL is fine */
/* "<path>: cannot <doing>: <SQLite's reason>", and the status for SQLite's code. */
kith_status ki_sqlite_fail(const ki_connection *connection, int code, const char *doing, kith_error *error);
/* A statement that is nobody else's until it is given back. */
kith_status ki_sql_take(ki_connection *connection, ki_sql which, sqlite3_stmt **statement, kith_error *error);
void ki_sql_give(ki_connection *connection, ki_sql which, sqlite3_stmt *statement);
/* One without values and rows. */
kith_status ki_sql_run(ki_connection *connection, ki_sql which, const char *doing, kith_error *error);
/* End the transaction that is open, if one is; else get ready for it. */
kith_status ki_sql_undo(ki_connection *connection, kith_error *error);
kith_status ki_sql_exec(ki_connection *connection, const char *sql, const char *doing, kith_error *error);
/* The first number of the first row. */
kith_status ki_sql_number(ki_connection *connection, const char *sql, int64_t *number, const char *doing,
                          kith_error *error);
kith_status ki_sqlite_watch(ki_sqlite *sqlite, kith_error *error); /* under `watching` */
uint64_t ki_connection_memory(const ki_connection *connection);

/* sqlite_read.c: checksums, of rows as they are written and read. */
uint64_t ki_item_sum(const ki_catalog_item *item);
uint64_t ki_numbered_sum(ki_numbered table, uint64_t number, ki_bytes body);
uint64_t ki_named_sum(int64_t kind, ki_bytes name, ki_bytes body);

/* sqlite_tail.c */
/* Do again what a killed process left in the tail; keep one from now on if `relaxed`. */
kith_status ki_tail_open(ki_sqlite *sqlite, int relaxed, kith_error *error);
/* Commit what is pending, and remove the file if there is nothing in it that SQLite has not. */
void ki_tail_close(ki_sqlite *sqlite);
/* Remember a change that SQLite's transaction has made. */
kith_status ki_tail_note(ki_sqlite *sqlite, const ki_change *change, kith_error *error);
/* Whether changes would still belong to the transaction that was begun. */
kith_status ki_tail_still_open(const ki_sqlite *sqlite, kith_error *error);
kith_status ki_tail_begin(ki_sqlite *sqlite, kith_error *error);
kith_status ki_tail_commit(ki_sqlite *sqlite, int *unknown, kith_error *error);
void ki_tail_rollback(ki_sqlite *sqlite);

/* sqlite_write.c: a change as it stands in the tail. */
kith_status ki_sqlite_apply(ki_sqlite *sqlite, const ki_change *change, kith_error *error);

/* The functions of the keeper, by file. */
uint64_t ki_sqlite_pending(void *self);
kith_status ki_sqlite_settle(void *self, kith_error *error);
kith_status ki_sqlite_publish(void *self, kith_error *error);
kith_status ki_sqlite_begin(void *self, kith_error *error);
kith_status ki_sqlite_commit(void *self, int *unknown, kith_error *error);
void ki_sqlite_rollback(void *self);
kith_status ki_sqlite_put_item(void *self, const ki_catalog_item *item, kith_error *error);
kith_status ki_sqlite_remove_item(void *self, uint64_t key, kith_error *error);
kith_status ki_sqlite_put_numbered(void *self, ki_numbered table, uint64_t number, ki_bytes body, kith_error *error);
kith_status ki_sqlite_remove_numbered(void *self, ki_numbered table, uint64_t first, uint64_t last, kith_error *error);
kith_status ki_sqlite_put_named(void *self, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error);
kith_status ki_sqlite_remove_named(void *self, int64_t kind, ki_bytes name, kith_error *error);

kith_status ki_sqlite_reading_start(ki_reading *reading, ki_reading_kind kind, kith_error *error);
void ki_sqlite_reading_stop(ki_reading *reading);
kith_status ki_sqlite_get_item(ki_reading *reading, uint64_t key, ki_found *found, kith_error *error);
kith_status ki_sqlite_find_text(ki_reading *reading, ki_bytes text, uint64_t *key, kith_error *error);
kith_status ki_sqlite_get_named(ki_reading *reading, int64_t kind, ki_bytes name, ki_found *found, kith_error *error);
kith_status ki_sqlite_scan_items(ki_reading *reading, uint64_t first, ki_catalog_item_fn fn, void *context,
                                 kith_error *error);
kith_status ki_sqlite_scan_expired(ki_reading *reading, uint64_t now_ms, ki_catalog_item_fn fn, void *context,
                                   kith_error *error);
kith_status ki_sqlite_next_expiry(ki_reading *reading, uint64_t *expires_ms, kith_error *error);
kith_status ki_sqlite_scan_numbered(ki_reading *reading, ki_numbered table, uint64_t first, ki_catalog_body_fn fn,
                                    void *context, kith_error *error);
kith_status ki_sqlite_scan_named(ki_reading *reading, int64_t kind, ki_catalog_record_fn fn, void *context,
                                 kith_error *error);
/* All records, settings among them. */
kith_status ki_sqlite_scan_all_named(ki_reading *reading, ki_catalog_record_fn fn, void *context, kith_error *error);

kith_status ki_sqlite_stamp(void *self, uint64_t *stamp, kith_error *error);
kith_status ki_sqlite_sync(void *self, kith_error *error);
/* When a sync failed, the kernel forgets that what it was for is not on the disk, and shows it all the same: SQLite,
 * which finds such a log after its writer's death, takes it for whole and builds on it, and a crash then leaves a hole
 * in the middle. So a log that a former writer left is brought to the disk again before anything is made of it. */
kith_status ki_sqlite_renew_log(ki_connection *writer, kith_error *error);
kith_status ki_sqlite_copy(void *self, ki_reading *reading, const char *path, kith_error *error);
kith_status ki_sqlite_check(ki_reading *reading, kith_progress_fn progress, void *progress_context, kith_error *error);
kith_status ki_sqlite_tidy(void *self, ki_catalog *catalog, kith_error *error);
void ki_sqlite_sizes(void *self, uint64_t *disk_bytes, uint64_t *memory_bytes);

#endif
