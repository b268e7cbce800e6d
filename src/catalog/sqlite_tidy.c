/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: giving space back. Dropped entries of the log leave free pages behind, as many as writers ever
 * had to wait for sealing with, and the write-ahead log is as long as it ever was. SQLite keeps a map of who points to
 * each page (auto_vacuum = INCREMENTAL), so pages from the file's end can be moved to free ones, some at a time.
 *
 * Writing the file anew (VACUUM) would take as long as everything in it, while writers wait. */
#include "base/clock.h"
#include "base/status.h"
#include "catalog/sqlite.h"

enum {
    LEAST_FREE_PAGES = 256, /* 1 MiB: less is soon used again */
    FREE_PART = 8,
    LEAST_LOG_BYTES = 4 << 20,
    PAGES_AT_ONCE = 16,
    INCREMENTAL = 2, /* of PRAGMA auto_vacuum */
    /* Moved pages are in the log: after so many it goes into the file, or the next commit would have to do it. */
    MOVE_AFTER = 2048
};
static const uint64_t STEP_NS = 2000000; /* writers wait meanwhile */

/* What there is to give back. */
struct look {
    int free_pages, log;
};

static kith_status look_at(ki_sqlite *sqlite, struct look *look, kith_error *error) {
    int64_t pages = 0, unused = 0, how = 0;
    uint64_t stamp;
    sqlite3_int64 bytes = 0;
    pthread_mutex_lock(&sqlite->watching);
    kith_status status = ki_sqlite_watch(sqlite, error);
    if (status == KITH_OK) status = ki_sqlite_data_version(sqlite->watch, &stamp, error); /* opens the log */
    if (status == KITH_OK)
        status = ki_sql_number(sqlite->watch, "PRAGMA page_count", &pages, "tidy the catalog", error);
    if (status == KITH_OK)
        status = ki_sql_number(sqlite->watch, "PRAGMA freelist_count", &unused, "tidy the catalog", error);
    if (status == KITH_OK) status = ki_sql_number(sqlite->watch, "PRAGMA auto_vacuum", &how, "tidy the catalog", error);
    sqlite3_file *log = status == KITH_OK ? ki_sqlite_file(sqlite->watch, SQLITE_FCNTL_JOURNAL_POINTER) : NULL;
    if (log && log->pMethods->xFileSize(log, &bytes) != SQLITE_OK) bytes = 0;
    pthread_mutex_unlock(&sqlite->watching);
    look->free_pages = how == INCREMENTAL && unused >= LEAST_FREE_PAGES && unused > pages / FREE_PART;
    look->log = bytes > LEAST_LOG_BYTES;
    return status;
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

/* Move the log into the file while others write: on a connection of its own. */
static kith_status move_log(ki_sqlite *sqlite, kith_error *error) {
    ki_connection *mover = NULL;
    kith_status status = ki_connection_open(sqlite, SQLITE_OPEN_READWRITE, &mover, error);
    if (status != KITH_OK) return status;
    const int code = sqlite3_wal_checkpoint_v2(mover->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY)
        status = ki_sqlite_fail(mover, code, "move the write-ahead log into the catalog", error);
    ki_connection_close(mover);
    if (status == KITH_OK) sqlite->may_move = MOVE_AFTER;
    return status;
}

/* Under the catalog's lock. What readers are in the way of stays for another time: nobody is waited for. */
static kith_status cut_log(ki_sqlite *sqlite, ki_tidied *tidied, kith_error *error) {
    ki_connection *writer = sqlite->writer;
    kith_status status = KITH_OK;
    sqlite3_busy_timeout(writer->db, 0);
    const int code = sqlite3_wal_checkpoint_v2(writer->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
        *tidied = KI_TIDY_LATER;
    else if (code != SQLITE_OK)
        status = ki_sqlite_fail(writer, code, "cut the write-ahead log", error);
    sqlite3_busy_timeout(writer->db, KI_SQLITE_WAIT_MS);
    return status;
}

/* ---- Pages ------------------------------------------------------------------------------------------------------- */

/* *gone: so many pages. */
static kith_status free_pages(ki_sqlite *sqlite, int64_t *gone, kith_error *error) {
    char sql[60];
    int64_t first = 0, before = 0, after = 0;
    const uint64_t start = ki_now_ns();
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA incremental_vacuum(%d)", PAGES_AT_ONCE);
    kith_status status = ki_sql_number(sqlite->writer, "PRAGMA page_count", &first, "tidy the catalog", error);
    after = first;
    do {
        before = after;
        if (status == KITH_OK) status = ki_sql_exec(sqlite->writer, sql, "give back free pages", error);
        if (status == KITH_OK)
            status = ki_sql_number(sqlite->writer, "PRAGMA page_count", &after, "tidy the catalog", error);
    } while (status == KITH_OK && after < before && ki_now_ns() - start < STEP_NS);
    *gone = first - after;
    return status;
}

/* Under the catalog's lock: a transaction of its own, which changes nothing that anybody reads. */
static kith_status free_some(ki_sqlite *sqlite, ki_catalog *catalog, ki_tidied *tidied, kith_error *error) {
    kith_error reason = {0};
    int64_t gone = 0;
    kith_status status = ki_sql_undo(sqlite->writer, error);
    if (status == KITH_OK) status = ki_sql_run(sqlite->writer, KI_SQL_BEGIN, "begin to tidy the catalog", error);
    if (status != KITH_OK) return status;
    status = free_pages(sqlite, &gone, error);
    sqlite->may_move -= gone;
    if (!gone) *tidied = KI_TIDY_DONE;
    if (status != KITH_OK) {
        (void)ki_sql_undo(sqlite->writer, NULL);
        return status;
    }
    status = ki_sql_run(sqlite->writer, KI_SQL_COMMIT, "commit what was tidied", &reason);
    if (status == KITH_OK) return KITH_OK;
    (void)ki_sql_undo(sqlite->writer, NULL);
    if (status != KITH_E_NOSPACE && status != KITH_E_BUSY && status != KITH_E_NOMEM) /* as after any commit (G1) */
        ki_catalog_poison(catalog, status, &reason);
    return ki_fail(error, status, "%s", reason.text);
}

kith_status ki_sqlite_tidy(void *self, ki_catalog *catalog, ki_tidied *tidied, kith_error *error) {
    ki_sqlite *sqlite = self;
    struct look look = {0};
    kith_status status = look_at(sqlite, &look, error);
    *tidied = look.free_pages ? KI_TIDY_MORE : KI_TIDY_DONE;
    if (status != KITH_OK || (!look.free_pages && !look.log)) return status;
    if (!look.free_pages || sqlite->may_move <= 0) status = move_log(sqlite, error);
    if (status == KITH_OK) status = ki_catalog_lock(catalog, error);
    if (status != KITH_OK) return status;
    const int poisoned = catalog->poisoned != KITH_OK;
    if (poisoned) *tidied = KI_TIDY_DONE;
    if (!poisoned) status = ki_sqlite_publish(self, error);
    if (!poisoned && status == KITH_OK)
        status = look.free_pages ? free_some(sqlite, catalog, tidied, error) : cut_log(sqlite, tidied, error);
    ki_catalog_unlock(catalog);
    if (*tidied != KI_TIDY_MORE) sqlite->may_move = 0; /* commits meanwhile make the log longer */
    return status;
}
