/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: stamps, syncing, copies, checks, sizes. */
#define _GNU_SOURCE
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "catalog/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Stamps and syncing ------------------------------------------------------------------------------------------ */

/* Beside a file that is read as it lies no log may appear: somebody has begun to write it. */
static kith_status check_untouched(const ki_sqlite *sqlite, kith_error *error) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(sqlite->vfs);
    char *log = sqlite3_mprintf("%s-wal", sqlite->path);
    int there = 0;
    const int asked = vfs && log && vfs->xAccess(vfs, log, SQLITE_ACCESS_EXISTS, &there) == SQLITE_OK;
    sqlite3_free(log);
    if (!asked) return ki_fail(error, KITH_E_IO, "%s: cannot look for its write-ahead log", sqlite->path);
    return there ? ki_fail(error, KITH_E_BUSY, "%s: is being written since: open it again", sqlite->path) : KITH_OK;
}

kith_status ki_sqlite_data_version(ki_connection *watch, uint64_t *stamp, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(watch, KI_SQL_DATA_VERSION, &statement, error);
    if (status != KITH_OK) return status;
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *stamp = (uint64_t)sqlite3_column_int64(statement, 0);
    else
        status = ki_sqlite_fail(watch, code, "look for changes", error);
    ki_sql_give(watch, KI_SQL_DATA_VERSION, statement);
    return status;
}

kith_status ki_sqlite_stamp(void *self, uint64_t *stamp, kith_error *error) {
    ki_sqlite *sqlite = self;
    pthread_mutex_lock(&sqlite->watching);
    kith_status status = ki_sqlite_watch(sqlite, error);
    if (status == KITH_OK && sqlite->immutable) status = check_untouched(sqlite, error);
    if (status == KITH_OK) status = ki_sqlite_data_version(sqlite->watch, stamp, error);
    /* SQLite's number changes with what the tail gave it, too, and with what others committed. */
    if (status == KITH_OK) *stamp = (*stamp << 32) + atomic_load_explicit(&sqlite->commits, memory_order_relaxed);
    pthread_mutex_unlock(&sqlite->watching);
    return status;
}

sqlite3_file *ki_sqlite_file(const ki_connection *connection, int which) {
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(connection->db, "main", which, &file) != SQLITE_OK) return NULL;
    return file && file->pMethods ? file : NULL;
}

kith_status ki_sqlite_sync(void *self, kith_error *error) {
    ki_sqlite *sqlite = self;
    uint64_t stamp;
    pthread_mutex_lock(&sqlite->watching);
    kith_status status = ki_sqlite_watch(sqlite, error);
    if (status == KITH_OK) status = ki_sqlite_data_version(sqlite->watch, &stamp, error); /* opens the log */
    if (status == KITH_OK) {
        sqlite3_file *log = ki_sqlite_file(sqlite->watch, SQLITE_FCNTL_JOURNAL_POINTER);
        const int code = log ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : SQLITE_OK;
        if (code != SQLITE_OK) status = ki_sqlite_fail(sqlite->watch, code, "sync the write-ahead log", error);
    }
    pthread_mutex_unlock(&sqlite->watching);
    return status;
}

/* Read and write again all bytes of the log, in pieces of at most 64 KiB: SQLite itself writes no longer ones, and its
 * usual file system drops the upper bits of lengths. */
static int write_again(sqlite3_file *log) {
    enum { PIECE = 1 << 16 };
    sqlite3_int64 bytes = 0;
    char *piece = NULL;
    int code = log->pMethods->xFileSize(log, &bytes);
    if (code != SQLITE_OK || bytes <= 0) return code;
    piece = ki_alloc_array(PIECE, 1);
    if (!piece) return SQLITE_NOMEM;
    for (sqlite3_int64 at = 0; at < bytes && code == SQLITE_OK; at += PIECE) {
        const int part = (int)ki_min_u64(PIECE, (uint64_t)(bytes - at));
        code = log->pMethods->xRead(log, piece, part, at);
        if (code == SQLITE_OK) code = log->pMethods->xWrite(log, piece, part, at);
    }
    free(piece);
    return code == SQLITE_OK ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : code;
}

kith_status ki_sqlite_renew_log(ki_connection *writer, kith_error *error) {
    sqlite3_file *log = ki_sqlite_file(writer, SQLITE_FCNTL_JOURNAL_POINTER); /* opened by the first read */
    if (!log) return KITH_OK;
    sqlite3_busy_timeout(writer->db, 0);
    int code = sqlite3_exec(writer->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    sqlite3_busy_timeout(writer->db, KI_SQLITE_WAIT_MS);
    if ((code & 0xff) == SQLITE_BUSY) return KITH_OK; /* somebody writes, who has done this */
    if (code == SQLITE_OK) {
        code = write_again(log);
        (void)sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? KITH_OK
                             : ki_sqlite_fail(writer, code, "write the log of the catalog to the disk again", error);
}

void ki_sqlite_sizes(void *self, uint64_t *disk_bytes, uint64_t *memory_bytes) {
    static const int which[] = {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER};
    ki_sqlite *sqlite = self;
    uint64_t stamp;
    *disk_bytes = 0;
    *memory_bytes = atomic_load_explicit(&sqlite->writer_bytes, memory_order_relaxed);
    pthread_mutex_lock(&sqlite->watching);
    if (ki_sqlite_watch(sqlite, NULL) == KITH_OK) {
        (void)ki_sqlite_data_version(sqlite->watch, &stamp, NULL); /* opens the log */
        for (int i = 0; i < 2; i++) {
            sqlite3_file *file = ki_sqlite_file(sqlite->watch, which[i]);
            sqlite3_int64 bytes = 0;
            if (file && file->pMethods->xFileSize(file, &bytes) == SQLITE_OK && bytes > 0)
                *disk_bytes += (uint64_t)bytes;
        }
        *memory_bytes += ki_connection_memory(sqlite->watch);
    }
    pthread_mutex_unlock(&sqlite->watching);
}

/* ---- Copying ----------------------------------------------------------------------------------------------------- */

/* Page by page, of the state that the reading holds: commits meanwhile do not touch it. */
static kith_status copy_pages(ki_connection *from, ki_connection *to, kith_error *error) {
    enum { STEP_PAGES = 1024 };
    sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
    if (!backup) return ki_sqlite_fail(to, sqlite3_extended_errcode(to->db), "begin a copy", error);
    int code;
    do code = sqlite3_backup_step(backup, STEP_PAGES);
    while (code == SQLITE_OK);
    const int finished = sqlite3_backup_finish(backup);
    if (code == SQLITE_DONE) code = finished;
    return code == SQLITE_OK ? KITH_OK : ki_sqlite_fail(to, code, "copy the catalog", error);
}

static kith_status copy_to(const ki_sqlite *sqlite, ki_connection *from, char *path, kith_error *error) {
    const ki_sqlite target = {.path = path, .vfs = sqlite->vfs};
    ki_connection *to = NULL;
    kith_status status = ki_connection_open(&target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &to, error);
    /* Nothing is there that a journal could bring back; the end of it is one sync. */
    if (status == KITH_OK)
        status = ki_sql_exec(to, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL", "begin a copy", error);
    if (status == KITH_OK) status = copy_pages(from, to, error);
    ki_connection_close(to);
    return status;
}

kith_status ki_sqlite_copy(void *self, ki_reading *reading, const char *path, kith_error *error) {
    const ki_sqlite *sqlite = self;
    char *plain = sqlite3_mprintf("%s%s", *path == '/' ? "" : "./", path);
    char *temp = plain ? sqlite3_mprintf("%s.kith-%d.tmp", plain, (int)getpid()) : NULL;
    kith_status status = KITH_OK;
    if (!temp)
        status = ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a copy", path);
    else if (access(path, F_OK) == 0)
        status = ki_fail(error, KITH_E_BUSY, "%s: is there already", path);
    else
        status = copy_to(sqlite, (ki_connection *)reading, temp, error);
    if (status == KITH_OK && link(temp, path) != 0)
        status = errno == EEXIST ? ki_fail(error, KITH_E_BUSY, "%s: is there already", path)
                                 : ki_fail_errno(error, errno, "%s: cannot name the copy", path);
    /* The folder is synced with this: the copy's name as well as that the other one is gone. */
    if (temp) {
        const kith_status removed = ki_remove(temp, status == KITH_OK ? error : NULL);
        if (status == KITH_OK) status = removed;
    }
    sqlite3_free(temp);
    sqlite3_free(plain);
    return status;
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

typedef struct checking {
    kith_progress_fn progress;
    void *context;
    kith_progress state;
    int cancelled;
    uint64_t since; /* rows since it was told */
} checking;

static int tell(void *context) {
    checking *check = context;
    if (check->progress && !check->cancelled) check->cancelled = check->progress(check->context, &check->state) != 0;
    return check->cancelled;
}

static kith_status count(checking *check, uint64_t bytes, kith_error *error) {
    enum { ROWS = 1000 };
    check->state.done = ki_min_u64(check->state.done + bytes, check->state.total);
    if (++check->since >= ROWS || bytes >= (1 << 20)) {
        check->since = 0;
        if (tell(check)) return ki_fail(error, KITH_E_CANCELLED, "the check of the catalog was cancelled");
    }
    return KITH_OK;
}

static kith_status check_item(void *context, const ki_catalog_item *item, kith_error *error) {
    return count(context, (uint64_t)item->text.bytes + item->payload.bytes + 32, error);
}

static kith_status check_body(void *context, uint64_t number, ki_bytes body, kith_error *error) {
    (void)number;
    return count(context, (uint64_t)body.bytes + 16, error);
}

static kith_status check_record(void *context, ki_bytes name, ki_bytes body, kith_error *error) {
    return count(context, (uint64_t)name.bytes + body.bytes + 16, error);
}

/* SQLite's own: pages, their order, and that indexes and tables agree. */
static kith_status check_pages(ki_connection *connection, checking *check, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    sqlite3_progress_handler(connection->db, 100000, tell, check);
    int code = sqlite3_prepare_v2(connection->db, "PRAGMA integrity_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    kith_status status = KITH_OK;
    if (check->cancelled)
        status = ki_fail(error, KITH_E_CANCELLED, "the check of the catalog was cancelled");
    else if (code != SQLITE_ROW)
        status = ki_sqlite_fail(connection, code, "check the pages of the catalog", error);
    else if (!text || strcmp(text, "ok") != 0)
        status = ki_fail(error, KITH_E_CORRUPT, "%s: is damaged: %s", connection->sqlite->path,
                         text ? text : "no memory for SQLite's words");
    sqlite3_finalize(statement);
    sqlite3_progress_handler(connection->db, 0, NULL, NULL);
    return status;
}

/* The two numbers of the file's head that say who may write and read it, and that SQLite does not mind when it reads.
 * Beside a log the head may lie there, and what the file has of it may be torn. */
static kith_status check_formats(const ki_connection *connection, kith_error *error) {
    enum { AT = 18 };
    sqlite3_file *file = ki_sqlite_file(connection, SQLITE_FCNTL_FILE_POINTER);
    sqlite3_file *log = ki_sqlite_file(connection, SQLITE_FCNTL_JOURNAL_POINTER);
    sqlite3_int64 logged = 0;
    unsigned char format[2] = {0, 0};
    if (!file || (log && (log->pMethods->xFileSize(log, &logged) != SQLITE_OK || logged > 0))) return KITH_OK;
    const int code = file->pMethods->xRead(file, format, sizeof format, AT);
    if (code != SQLITE_OK) return ki_sqlite_fail(connection, code, "read the head of the catalog", error);
    if (format[0] == format[1] && (format[0] == 1 || format[0] == 2)) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: is damaged: its head has the formats %u and %u",
                   connection->sqlite->path, format[0], format[1]);
}

kith_status ki_sqlite_check(ki_reading *reading, kith_progress_fn progress, void *progress_context, kith_error *error) {
    ki_connection *connection = (ki_connection *)reading;
    checking check = {.progress = progress, .context = progress_context};
    int64_t pages = 0, page_bytes = 0;
    kith_status status = ki_sql_number(connection, "PRAGMA page_count", &pages, "check the catalog", error);
    if (status == KITH_OK)
        status = ki_sql_number(connection, "PRAGMA page_size", &page_bytes, "check the catalog", error);
    if (status != KITH_OK) return status;
    check.state = (kith_progress){
        .stage = "checking the catalog", .unit = "bytes", .total = (uint64_t)pages * (uint64_t)page_bytes};
    status = check_formats(connection, error);
    if (status == KITH_OK) status = check_pages(connection, &check, error);
    if (status == KITH_OK) status = ki_sqlite_scan_items(reading, 0, check_item, &check, error);
    for (int table = 0; table < KI_NUMBERED_TABLES && status == KITH_OK; table++)
        status = ki_sqlite_scan_numbered(reading, (ki_numbered)table, 0, check_body, &check, error);
    if (status == KITH_OK) status = ki_sqlite_scan_all_named(reading, check_record, &check, error);
    if (status != KITH_OK) return status;
    check.state.done = check.state.total;
    return tell(&check) ? ki_fail(error, KITH_E_CANCELLED, "the check of the catalog was cancelled") : KITH_OK;
}
