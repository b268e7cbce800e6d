/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: opening, connections, statements, and SQLite's codes as ours.
 *
 * The tables: `log` and `segments` hold bodies under a number, `records` under kind and name (settings are those of
 * kind -1). Sums stand before bodies, so that looking at one does not walk through the other's pages. */
#define _GNU_SOURCE
#include "catalog/sqlite.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x6b697468, /* "kith" */
    USER_VERSION = 1,
    PAGE_BYTES = 4096,
    /* The log goes into the file when it has this size: seldom enough that the pages of dropped log entries are used
     * anew before they ever go there. */
    LOG_PAGES = (32 << 20) / PAGE_BYTES,
    WRITER_CACHE_KIB = 16 << 10,
    READER_CACHE_KIB = 2 << 10
};

static const char *const SCHEMA[] = {
    "CREATE TABLE items(key INTEGER PRIMARY KEY, version INTEGER NOT NULL, expires INTEGER NOT NULL, "
    "sum INTEGER NOT NULL, text BLOB, payload BLOB)",
    "CREATE UNIQUE INDEX items_text ON items(text) WHERE text IS NOT NULL",
    "CREATE INDEX items_expires ON items(expires) WHERE expires > 0",
    "CREATE TABLE log(number INTEGER PRIMARY KEY, sum INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE segments(number INTEGER PRIMARY KEY, sum INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE records(kind INTEGER NOT NULL, name BLOB NOT NULL, sum INTEGER NOT NULL, body BLOB NOT NULL, "
    "PRIMARY KEY(kind, name)) WITHOUT ROWID",
};
enum { SCHEMA_COUNT = sizeof SCHEMA / sizeof *SCHEMA };

static const char *const SQL[KI_SQL_COUNT] = {
    [KI_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [KI_SQL_BEGIN_READ] = "BEGIN",
    [KI_SQL_COMMIT] = "COMMIT",
    [KI_SQL_ROLLBACK] = "ROLLBACK",
    [KI_SQL_PUT_ITEM] = "INSERT INTO items(key, version, expires, sum, text, payload) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
                        "ON CONFLICT(key) DO UPDATE SET version = ?2, expires = ?3, sum = ?4, text = ?5, payload = ?6",
    [KI_SQL_REMOVE_ITEM] = "DELETE FROM items WHERE key = ?1",
    [KI_SQL_APPEND_LOG] = "INSERT INTO log(number, sum, body) VALUES(?1, ?2, ?3)",
    [KI_SQL_PUT_SEGMENT] = "INSERT INTO segments(number, sum, body) VALUES(?1, ?2, ?3) "
                           "ON CONFLICT(number) DO UPDATE SET sum = ?2, body = ?3",
    [KI_SQL_REMOVE_LOG] = "DELETE FROM log WHERE number BETWEEN ?1 AND ?2",
    [KI_SQL_REMOVE_SEGMENT] = "DELETE FROM segments WHERE number BETWEEN ?1 AND ?2",
    [KI_SQL_PUT_RECORD] = "INSERT INTO records(kind, name, sum, body) VALUES(?1, ?2, ?3, ?4) "
                          "ON CONFLICT(kind, name) DO UPDATE SET sum = ?3, body = ?4",
    [KI_SQL_REMOVE_RECORD] = "DELETE FROM records WHERE kind = ?1 AND name = ?2",
    [KI_SQL_GET_ITEM] = "SELECT key, version, expires, sum, text, payload FROM items WHERE key = ?1",
    [KI_SQL_FIND_TEXT] = "SELECT key, version, expires, sum, text, payload FROM items WHERE text = ?1",
    [KI_SQL_SCAN_ITEMS] = "SELECT key, version, expires, sum, text, payload FROM items WHERE key >= ?1 ORDER BY key",
    [KI_SQL_SCAN_EXPIRED] = "SELECT key, version, expires, sum, text, payload FROM items "
                            "WHERE expires > 0 AND expires <= ?1 ORDER BY expires, key",
    [KI_SQL_NEXT_EXPIRY] = "SELECT expires FROM items WHERE expires > 0 ORDER BY expires LIMIT 1",
    [KI_SQL_SCAN_LOG] = "SELECT number, sum, body FROM log WHERE number >= ?1 ORDER BY number",
    [KI_SQL_SCAN_SEGMENTS] = "SELECT number, sum, body FROM segments WHERE number >= ?1 ORDER BY number",
    [KI_SQL_GET_RECORD] = "SELECT kind, name, sum, body FROM records WHERE kind = ?1 AND name = ?2",
    [KI_SQL_SCAN_RECORDS] = "SELECT kind, name, sum, body FROM records WHERE kind = ?1 ORDER BY name",
    [KI_SQL_SCAN_ALL_RECORDS] = "SELECT kind, name, sum, body FROM records ORDER BY kind, name",
    [KI_SQL_DATA_VERSION] = "PRAGMA data_version",
};

/* ---- Codes ------------------------------------------------------------------------------------------------------- */

static kith_status status_of_io(int code, int number) {
    if (code == SQLITE_IOERR_NOMEM || code == SQLITE_IOERR_SHMMAP) return number == ENOMEM ? KITH_E_NOMEM : KITH_E_IO;
    /* A full disk that shows only when it is synced leaves behind what nobody knows: that is KITH_E_IO. */
    const int writing = code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMSIZE || code == SQLITE_IOERR_TRUNCATE;
    const int full = number == ENOSPC || number == EDQUOT || number == EFBIG;
    return writing && full ? KITH_E_NOSPACE : KITH_E_IO;
}

static kith_status status_of(int code, int number) {
    switch (code & 0xff) {
    case SQLITE_FULL:
        return KITH_E_NOSPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return KITH_E_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return KITH_E_CORRUPT;
    case SQLITE_NOMEM:
        return KITH_E_NOMEM;
    case SQLITE_TOOBIG:
        return KITH_E_LIMIT;
    case SQLITE_INTERRUPT:
        return KITH_E_CANCELLED;
    case SQLITE_IOERR:
        return code == SQLITE_IOERR_NOMEM ? KITH_E_NOMEM : status_of_io(code, number);
    default:
        return KITH_E_IO;
    }
}

kith_status ki_sqlite_fail(const ki_connection *connection, int code, const char *doing, kith_error *error) {
    const int number = connection->db ? sqlite3_system_errno(connection->db) : 0;
    /* The connection's own text says more, if it is about this code. */
    const int same = connection->db && (sqlite3_errcode(connection->db) & 0xff) == (code & 0xff);
    const char *reason = same ? sqlite3_errmsg(connection->db) : sqlite3_errstr(code);
    const int io = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
    if (io && number)
        return ki_fail(error, status_of(code, number), "%s: cannot %s: %s (SQLite's code %d): %s",
                       connection->sqlite->path, doing, reason, code, strerror(number));
    return ki_fail(error, status_of(code, number), "%s: cannot %s: %s (SQLite's code %d)", connection->sqlite->path,
                   doing, reason, code);
}

/* ---- Statements -------------------------------------------------------------------------------------------------- */

kith_status ki_sql_take(ki_connection *connection, ki_sql which, sqlite3_stmt **statement, kith_error *error) {
    *statement = connection->rest[which];
    connection->rest[which] = NULL;
    if (*statement) return KITH_OK;
    const int code = sqlite3_prepare_v3(connection->db, SQL[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    return code == SQLITE_OK ? KITH_OK : ki_sqlite_fail(connection, code, "prepare a statement", error);
}

void ki_sql_give(ki_connection *connection, ki_sql which, sqlite3_stmt *statement) {
    if (connection->rest[which]) {
        sqlite3_finalize(statement);
        return;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    connection->rest[which] = statement;
}

kith_status ki_sql_run(ki_connection *connection, ki_sql which, const char *doing, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(connection, which, &statement, error);
    if (status != KITH_OK) return status;
    const int code = sqlite3_step(statement);
    if (code != SQLITE_DONE) status = ki_sqlite_fail(connection, code, doing, error);
    ki_sql_give(connection, which, statement);
    return status;
}

/* SQLite undoes a transaction itself after some errors, and not after others. The statement is made when there is
 * nothing to undo yet, because later there may be no memory for it. */
kith_status ki_sql_undo(ki_connection *connection, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    if (!sqlite3_get_autocommit(connection->db)) return ki_sql_run(connection, KI_SQL_ROLLBACK, "roll back", error);
    const kith_status status = ki_sql_take(connection, KI_SQL_ROLLBACK, &statement, error);
    if (status == KITH_OK) ki_sql_give(connection, KI_SQL_ROLLBACK, statement);
    return status;
}

kith_status ki_sql_exec(ki_connection *connection, const char *sql, const char *doing, kith_error *error) {
    const int code = sqlite3_exec(connection->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? KITH_OK : ki_sqlite_fail(connection, code, doing, error);
}

kith_status ki_sql_number(ki_connection *connection, const char *sql, int64_t *number, const char *doing,
                          kith_error *error) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code == SQLITE_ROW) *number = sqlite3_column_int64(statement, 0);
    const kith_status status = code == SQLITE_ROW ? KITH_OK : ki_sqlite_fail(connection, code, doing, error);
    sqlite3_finalize(statement);
    return status;
}

/* ---- Connections ------------------------------------------------------------------------------------------------- */

/* A path as a URI that says that the file never changes. */
static char *immutable_uri(const char *path) {
    static const char hex[] = "0123456789abcdef", begin[] = "file:", end[] = "?immutable=1";
    uint64_t bytes;
    if (!ki_mul(strlen(path), 3, &bytes)) return NULL;
    char *uri = ki_alloc_array(bytes + sizeof begin + sizeof end, 1), *to = uri;
    if (!uri) return NULL;
    to = stpcpy(to, begin);
    for (const char *from = path; *from; from++) {
        const unsigned char byte = (unsigned char)*from;
        if (byte != '%' && byte != '?' && byte != '#') {
            *to++ = *from;
            continue;
        }
        *to++ = '%';
        *to++ = hex[byte >> 4];
        *to++ = hex[byte & 15];
    }
    stpcpy(to, end);
    return uri;
}

/* Nothing that a damaged or foreign file says is to run or to reach beyond it. */
static void distrust(sqlite3 *db) {
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
}

kith_status ki_connection_open(const ki_sqlite *sqlite, int flags, ki_connection **connection, kith_error *error) {
    ki_connection *made = ki_alloc_array_zeroed(1, sizeof *made);
    char *uri = sqlite->immutable ? immutable_uri(sqlite->path) : NULL, pragmas[200];
    kith_status status = KITH_OK;
    if (!made || (sqlite->immutable && !uri)) {
        status = ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a connection", sqlite->path);
        goto out;
    }
    made->sqlite = sqlite;
    const int uri_flag = uri ? SQLITE_OPEN_URI : 0;
    const int code = sqlite3_open_v2(uri ? uri : sqlite->path, &made->db,
                                     flags | uri_flag | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, sqlite->vfs);
    if (code != SQLITE_OK) {
        status = ki_sqlite_fail(made, code, "open the catalog", error);
        goto out;
    }
    distrust(made->db);
    sqlite3_busy_timeout(made->db, KI_SQLITE_WAIT_MS);
    snprintf(pragmas, sizeof pragmas,
             "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA cache_size = -%d",
             flags & SQLITE_OPEN_READWRITE ? WRITER_CACHE_KIB : READER_CACHE_KIB);
    status = ki_sql_exec(made, pragmas, "open the catalog", error);
out:
    free(uri);
    if (status == KITH_OK)
        *connection = made;
    else
        ki_connection_close(made);
    return status;
}

void ki_connection_close(ki_connection *connection) {
    if (!connection) return;
    for (int i = 0; i < KI_SQL_COUNT; i++) sqlite3_finalize(connection->rest[i]);
    sqlite3_close(connection->db);
    free(connection);
}

uint64_t ki_connection_memory(const ki_connection *connection) {
    int now = 0, most = 0;
    if (sqlite3_db_status(connection->db, SQLITE_DBSTATUS_CACHE_USED, &now, &most, 0) != SQLITE_OK || now < 0) return 0;
    return (uint64_t)now;
}

static kith_status reading_create(void *self, ki_reading **reading, kith_error *error) {
    ki_connection *connection = NULL;
    const kith_status status = ki_connection_open(self, SQLITE_OPEN_READONLY, &connection, error);
    if (status == KITH_OK) *reading = &connection->reading;
    return status;
}

static void reading_destroy(ki_reading *reading) {
    ki_connection_close((ki_connection *)reading);
}

static ki_reading *own(void *self) {
    ki_connection *writer = ((ki_sqlite *)self)->writer;
    return writer ? &writer->reading : NULL;
}

kith_status ki_sqlite_watch(ki_sqlite *sqlite, kith_error *error) {
    return sqlite->watch ? KITH_OK : ki_connection_open(sqlite, SQLITE_OPEN_READONLY, &sqlite->watch, error);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

/* What the tables of the file are, against what they are to be (S5). *objects: how many there are. */
static kith_status check_schema(ki_connection *connection, int *objects, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    int known = 0, code = sqlite3_prepare_v2(connection->db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL", -1,
                                             &statement, NULL);
    *objects = 0;
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
        const char *sql = (const char *)sqlite3_column_text(statement, 0);
        ++*objects;
        for (int i = 0; sql && i < SCHEMA_COUNT; i++) known += strcmp(sql, SCHEMA[i]) == 0;
    }
    kith_status status = KITH_OK;
    if (code != SQLITE_DONE)
        status = ki_sqlite_fail(connection, code, "read the tables of the catalog", error);
    else if (*objects && (known != SCHEMA_COUNT || *objects != SCHEMA_COUNT))
        status =
            ki_fail(error, KITH_E_CORRUPT, "%s: has not the tables of a catalog of kith", connection->sqlite->path);
    sqlite3_finalize(statement);
    return status;
}

/* *empty: a file that nothing was ever written to, as an interrupted creation leaves it. */
static kith_status identify(ki_connection *connection, int *empty, kith_error *error) {
    const char *path = connection->sqlite->path;
    int64_t application = 0, version = 0;
    int objects = 0;
    kith_status status = ki_sql_number(connection, "PRAGMA application_id", &application, "read the catalog", error);
    if (status == KITH_OK)
        status = ki_sql_number(connection, "PRAGMA user_version", &version, "read the catalog", error);
    if (status != KITH_OK) return status;
    if (application == APPLICATION_ID && version > USER_VERSION)
        return ki_fail(error, KITH_E_VERSION, "%s: is a catalog of version %lld, which needs a newer kith", path,
                       (long long)version);
    if (application == 0 && version == 0) {
        status = ki_sql_number(connection, "SELECT count(*) FROM sqlite_schema", &version, "read the catalog", error);
        *empty = status == KITH_OK && version == 0;
        if (status != KITH_OK || *empty) return status;
    }
    if (application != APPLICATION_ID || version != USER_VERSION)
        return ki_fail(error, KITH_E_CORRUPT, "%s: is a file of SQLite, but no catalog of kith", path);
    status = check_schema(connection, &objects, error);
    if (status == KITH_OK && !objects)
        status = ki_fail(error, KITH_E_CORRUPT, "%s: has not the tables of a catalog of kith", path);
    return status;
}

static kith_status check_made(ki_connection *connection, kith_error *error) {
    int empty = 0;
    const kith_status status = identify(connection, &empty, error);
    if (status == KITH_OK && empty)
        return ki_fail(error, KITH_E_CORRUPT, "%s: is empty, and no catalog of kith", connection->sqlite->path);
    return status;
}

/* One transaction, so that the file is a catalog or an empty one. Who else makes it at the same time is there first or
 * waits. */
static kith_status create(ki_connection *writer, kith_error *error) {
    char sql[200];
    int empty = 0;
    snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL",
             PAGE_BYTES);
    kith_status status = identify(writer, &empty, error);
    if (status == KITH_OK && empty) status = ki_sql_exec(writer, sql, "make the catalog", error);
    if (status == KITH_OK) status = ki_sql_exec(writer, SQL[KI_SQL_BEGIN], "make the catalog", error);
    if (status == KITH_OK) status = identify(writer, &empty, error);
    if (status == KITH_OK && !empty)
        status = ki_fail(error, KITH_E_BUSY, "%s: there is a catalog already", writer->sqlite->path);
    for (int i = 0; i < SCHEMA_COUNT && status == KITH_OK; i++)
        status = ki_sql_exec(writer, SCHEMA[i], "make the catalog", error);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", APPLICATION_ID,
             USER_VERSION);
    return status == KITH_OK ? ki_sql_exec(writer, sql, "make the catalog", error) : status;
}

/* A log that nobody syncs at each commit, or one that is. SQLite says what it did, not whether it could. */
static kith_status prepare_writer(ki_connection *writer, kith_durability durability, kith_error *error) {
    char sql[200];
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(writer->db, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    const char *mode = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    const int is_wal = mode && strcmp(mode, "wal") == 0;
    kith_status status = KITH_OK;
    if (code != SQLITE_ROW)
        status = ki_sqlite_fail(writer, code, "open the catalog", error);
    else if (!is_wal)
        status = ki_fail(error, KITH_E_UNSUPPORTED, "%s: this file system cannot keep a write-ahead log of SQLite",
                         writer->sqlite->path);
    sqlite3_finalize(statement);
    if (status != KITH_OK) return status;
    snprintf(sql, sizeof sql,
             "PRAGMA secure_delete = OFF; PRAGMA synchronous = %s; PRAGMA wal_autocheckpoint = %d; "
             "PRAGMA journal_size_limit = %d",
             durability == KITH_DURABILITY_RELAXED ? "NORMAL" : "FULL", LOG_PAGES, 2 * LOG_PAGES * PAGE_BYTES);
    return ki_sql_exec(writer, sql, "open the catalog", error);
}

static kith_status open_writer(ki_sqlite *sqlite, const ki_catalog_options *options, kith_error *error) {
    const int flags = SQLITE_OPEN_READWRITE | (options->create ? SQLITE_OPEN_CREATE : 0);
    kith_status status = ki_connection_open(sqlite, flags, &sqlite->writer, error);
    if (status != KITH_OK) return status;
    if (sqlite3_db_readonly(sqlite->writer->db, "main") == 1)
        return ki_fail(error, KITH_E_IO, "%s: cannot be written: open it for reading only", sqlite->path);
    status = options->create ? create(sqlite->writer, error) : check_made(sqlite->writer, error);
    if (status == KITH_OK && !options->create) status = ki_sqlite_renew_log(sqlite->writer, error);
    if (status == KITH_OK) status = prepare_writer(sqlite->writer, options->durability, error);
    const int gather = options->durability == KITH_DURABILITY_RELAXED && options->gather;
    return status == KITH_OK ? ki_tail_open(sqlite, gather, error) : status;
}

/* 1, 0, or -1 without memory. */
static int exists(const ki_sqlite *sqlite, const char *tail) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(sqlite->vfs);
    char *path = sqlite3_mprintf("%s%s", sqlite->path, tail);
    int result = 0;
    const int access = vfs && path ? vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &result) : SQLITE_NOMEM;
    sqlite3_free(path);
    return access == SQLITE_OK ? result : access == SQLITE_NOMEM || access == SQLITE_IOERR_NOMEM ? -1 : 0;
}

/* Readers of a log need an index in shared memory beside it, which SQLite makes where it may. Where it may not, a file
 * without a log can be read as it lies. */
static kith_status open_reader(ki_sqlite *sqlite, kith_error *error) {
    kith_status status = ki_connection_open(sqlite, SQLITE_OPEN_READONLY, &sqlite->watch, error);
    if (status == KITH_OK) status = check_made(sqlite->watch, error);
    if (status != KITH_E_IO) return status;
    if (exists(sqlite, "-wal")) return status;
    ki_connection_close(sqlite->watch);
    sqlite->watch = NULL;
    sqlite->immutable = 1;
    status = ki_connection_open(sqlite, SQLITE_OPEN_READONLY, &sqlite->watch, error);
    return status == KITH_OK ? check_made(sqlite->watch, error) : status;
}

static void close_file(void *self) {
    ki_sqlite *sqlite = self;
    ki_tail_close(sqlite);
    ki_connection_close(sqlite->watch);
    ki_connection_close(sqlite->writer); /* the last one: it moves the log into the file */
    pthread_mutex_destroy(&sqlite->watching);
    free(sqlite->path);
    free(sqlite->vfs);
    free(sqlite);
}

static const ki_keeper SQLITE_KEEPER = {
    .close = close_file,
    .begin = ki_sqlite_begin,
    .commit = ki_sqlite_commit,
    .rollback = ki_sqlite_rollback,
    .put_item = ki_sqlite_put_item,
    .remove_item = ki_sqlite_remove_item,
    .put_numbered = ki_sqlite_put_numbered,
    .remove_numbered = ki_sqlite_remove_numbered,
    .put_named = ki_sqlite_put_named,
    .remove_named = ki_sqlite_remove_named,
    .pending = ki_sqlite_pending,
    .settle = ki_sqlite_settle,
    .publish = ki_sqlite_publish,
    .own = own,
    .reading_create = reading_create,
    .reading_destroy = reading_destroy,
    .reading_start = ki_sqlite_reading_start,
    .reading_stop = ki_sqlite_reading_stop,
    .get_item = ki_sqlite_get_item,
    .find_text = ki_sqlite_find_text,
    .get_named = ki_sqlite_get_named,
    .scan_items = ki_sqlite_scan_items,
    .scan_expired = ki_sqlite_scan_expired,
    .next_expiry = ki_sqlite_next_expiry,
    .scan_numbered = ki_sqlite_scan_numbered,
    .scan_named = ki_sqlite_scan_named,
    .stamp = ki_sqlite_stamp,
    .sync = ki_sqlite_sync,
    .copy = ki_sqlite_copy,
    .check = ki_sqlite_check,
    .tidy = ki_sqlite_tidy,
    .sizes = ki_sqlite_sizes,
};

/* SQLite takes "file:...", ":memory:" and "" for something else than a file's name. */
static char *plain_path(const char *path) {
    char *made = ki_alloc_array(strlen(path) + 3, 1);
    if (made) stpcpy(stpcpy(made, *path == '/' ? "" : "./"), path);
    return made;
}

static kith_status make(const char *path, const ki_catalog_options *options, ki_sqlite **out, kith_error *error) {
    ki_sqlite *sqlite = ki_alloc_array_zeroed(1, sizeof *sqlite);
    if (!sqlite) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a catalog", path);
    *sqlite = (ki_sqlite){.path = plain_path(path), .read_only = options->read_only};
    if (options->vfs) {
        sqlite->vfs = ki_alloc_array(strlen(options->vfs) + 1, 1);
        if (sqlite->vfs) stpcpy(sqlite->vfs, options->vfs);
    }
    if (sqlite->path && (sqlite->vfs || !options->vfs) && pthread_mutex_init(&sqlite->watching, NULL) == 0) {
        *out = sqlite;
        return KITH_OK;
    }
    free(sqlite->path);
    free(sqlite->vfs);
    free(sqlite);
    return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a catalog", path);
}

static kith_status check_options(const char *path, const ki_catalog_options *options, kith_error *error) {
    if (!path || !*path || !options) return ki_fail(error, KITH_E_ARG, "the path or the options of a catalog are NULL");
    if (options->create && options->read_only)
        return ki_fail(error, KITH_E_ARG, "%s: a catalog cannot be made for reading only", path);
    if (sqlite3_initialize() != SQLITE_OK)
        return ki_fail(error, KITH_E_NOMEM, "%s: SQLite has no memory to begin with", path);
    if (!sqlite3_vfs_find(options->vfs))
        return ki_fail(error, KITH_E_ARG, "SQLite knows no file system '%s'", options->vfs ? options->vfs : "");
    return KITH_OK;
}

kith_status ki_catalog_open_sqlite(const char *path, const ki_catalog_options *options, ki_catalog **catalog,
                                   kith_error *error) {
    ki_sqlite *sqlite = NULL;
    kith_status status = check_options(path, options, error);
    if (status == KITH_OK && !catalog) status = ki_fail(error, KITH_E_ARG, "the place for a catalog is NULL");
    if (status == KITH_OK) status = make(path, options, &sqlite, error);
    if (status != KITH_OK) return status;
    const int there = options->create ? 1 : exists(sqlite, "");
    if (there < 0)
        status = ki_fail(error, KITH_E_NOMEM, "out of memory");
    else if (!there)
        status = ki_fail(error, KITH_E_NOTFOUND, "%s: there is no such catalog", path);
    else
        status = options->read_only ? open_reader(sqlite, error) : open_writer(sqlite, options, error);
    /* That a new file is in its folder is made sure by the sync of its log, which SQLite makes at the first commit that
     * is synced. */
    if (status == KITH_OK) status = ki_catalog_make(&SQLITE_KEEPER, sqlite, options->read_only, catalog, error);
    if (status != KITH_OK) close_file(sqlite);
    return status;
}
