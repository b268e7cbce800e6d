/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: transactions, with and without a tail. See tail.h. */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "catalog/sqlite.h"

#include <string.h>
#include <xxhash.h>

enum {
    RECORD_HEAD = 24,
    CHANGE_HEAD = 56,
    RECORD_MAX = 64 << 10, /* what is larger is not worth writing twice */
    TAIL_MAX = 1 << 20,
    PENDING_MAX = 500
};
static const uint64_t PENDING_NS = 20000000; /* what other processes wait for while commits go on */
static const int64_t MARK_KIND = -2;
static const ki_bytes MARK_NAME = {"tail", 4};

static int code_of_close(sqlite3_file *file) {
    return file->pMethods ? file->pMethods->xClose(file) : SQLITE_OK;
}

/* ---- Records ---------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const ki_tail *tail, const unsigned char *record, size_t bytes) {
    return XXH3_64bits_withSeed(record + 8, bytes - 8, tail->salt);
}

/* The change at `from`, which advances; 0: these are no changes. */
static int parse(const unsigned char **from, const unsigned char *end, ki_change *change) {
    const unsigned char *at = *from;
    if (end - at < CHANGE_HEAD) return 0;
    const uint64_t room = (uint64_t)(end - at) - CHANGE_HEAD, what = ki_load_u64(at), name = ki_load_u64(at + 40),
                   body = ki_load_u64(at + 48);
    if (what < KI_CHANGE_PUT_ITEM || what > KI_CHANGE_REMOVE_NAMED || name > room || body > room - name) return 0;
    *change = (ki_change){.what = (ki_change_kind)what,
                          .table = ki_load_u64(at + 8),
                          .a = ki_load_u64(at + 16),
                          .b = ki_load_u64(at + 24),
                          .c = ki_load_u64(at + 32),
                          .name = {at + CHANGE_HEAD, (size_t)name},
                          .body = {at + CHANGE_HEAD + name, (size_t)body}};
    *from = at + CHANGE_HEAD + name + body;
    return 1;
}

/* Read the record at `at` into tail->record, *bytes of it; 0 bytes: there is no valid one (A1). */
static kith_status read_record(ki_sqlite *sqlite, uint64_t at, uint64_t sequence, size_t *bytes, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    *bytes = 0;
    if (!ki_array_reserve(&tail->record, &tail->capacity, RECORD_MAX, 1))
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for its tail", sqlite->path);
    unsigned char *record = tail->record;
    int code = tail->file->pMethods->xRead(tail->file, record, RECORD_HEAD, (sqlite3_int64)at);
    if (code == SQLITE_IOERR_SHORT_READ) return KITH_OK;
    const uint64_t body = code == SQLITE_OK ? ki_load_u64(record + 16) : 0;
    if (code == SQLITE_OK && (ki_load_u64(record + 8) != sequence || !body || body > RECORD_MAX - RECORD_HEAD))
        return KITH_OK;
    if (code == SQLITE_OK)
        code =
            tail->file->pMethods->xRead(tail->file, record + RECORD_HEAD, (int)body, (sqlite3_int64)(at + RECORD_HEAD));
    if (code == SQLITE_IOERR_SHORT_READ) return KITH_OK;
    if (code != SQLITE_OK) return ki_sqlite_fail(sqlite->writer, code, "read its tail", error);
    const size_t all = RECORD_HEAD + (size_t)body;
    if (sum_of(tail, record, all) == ki_load_u64(record)) *bytes = all;
    return KITH_OK;
}

/* Make the changes of a transaction again that are in `record`. */
static kith_status apply_all(ki_sqlite *sqlite, const unsigned char *record, size_t bytes, kith_error *error) {
    const unsigned char *from = record + RECORD_HEAD, *end = record + bytes;
    kith_status status = KITH_OK;
    while (status == KITH_OK && from < end) {
        ki_change change;
        if (!parse(&from, end, &change)) return ki_fail(error, KITH_E_CORRUPT, "%s: its tail is damaged", sqlite->path);
        status = ki_sqlite_apply(sqlite, &change, error);
    }
    return status;
}

/* Do again what the records say, up to and with `last` or as far as they are valid, in the transaction that is open. */
static kith_status replay(ki_sqlite *sqlite, uint64_t last, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    uint64_t sequence = tail->applied, at = 0;
    size_t bytes = 1;
    kith_status status = KITH_OK;
    while (status == KITH_OK && sequence < last) {
        status = read_record(sqlite, at, sequence + 1, &bytes, error);
        if (status != KITH_OK || !bytes) break;
        status = apply_all(sqlite, tail->record, bytes, error);
        sequence++;
        at += bytes;
    }
    if (status != KITH_OK) return status;
    if (last != UINT64_MAX && sequence != last)
        return ki_fail(error, KITH_E_CORRUPT, "%s: its tail is damaged at byte %llu", sqlite->path,
                       (unsigned long long)at);
    tail->sequence = sequence;
    tail->end = at;
    return KITH_OK;
}

/* ---- SQLite's transaction --------------------------------------------------------------------------------------- */

static kith_status write_mark(ki_sqlite *sqlite, uint64_t sequence, kith_error *error) {
    unsigned char mark[16];
    ki_store_u64(mark, sequence);
    ki_store_u64(mark + 8, sqlite->tail.salt);
    const ki_change change = {
        .what = KI_CHANGE_PUT_NAMED, .a = (uint64_t)MARK_KIND, .name = MARK_NAME, .body = {mark, sizeof mark}};
    return ki_sqlite_apply(sqlite, &change, error);
}

/* Commit what the transaction has, as far as `sequence`. On failure it is gone, but for what the tail has of it. */
static kith_status commit_all(ki_sqlite *sqlite, uint64_t sequence, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    kith_status status = tail->file ? write_mark(sqlite, sequence, error) : KITH_OK;
    if (status == KITH_OK) status = ki_sql_run(sqlite->writer, KI_SQL_COMMIT, "commit", error);
    if (status != KITH_OK) {
        (void)ki_sql_undo(sqlite->writer, NULL);
        tail->lost = tail->sequence > tail->applied;
        return status;
    }
    tail->applied = tail->sequence = sequence;
    tail->end = 0;
    tail->lost = 0;
    atomic_store(&tail->pending, 0);
    return KITH_OK;
}

/* SQLite undoes a transaction whose read failed (for want of memory, say), without being asked. */
static int was_undone(const ki_sqlite *sqlite) {
    return sqlite3_get_autocommit(sqlite->writer->db) != 0;
}

/* SQLite's transaction is open, and has all that the tail has. */
static kith_status be_open(ki_sqlite *sqlite, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    kith_status status = KITH_OK;
    if (atomic_load(&tail->pending) && was_undone(sqlite)) tail->lost = 1;
    if (tail->lost || !atomic_load(&tail->pending)) {
        status = ki_sql_undo(sqlite->writer, error);
        if (status == KITH_OK) status = ki_sql_run(sqlite->writer, KI_SQL_BEGIN, "begin a transaction", error);
    }
    if (status == KITH_OK && tail->lost) {
        status = replay(sqlite, tail->sequence, error);
        if (status == KITH_OK)
            tail->lost = 0;
        else
            (void)ki_sql_undo(sqlite->writer, NULL);
    }
    return status;
}

uint64_t ki_sqlite_pending(void *self) {
    return atomic_load(&((ki_sqlite *)self)->tail.pending);
}

kith_status ki_sqlite_settle(void *self, kith_error *error) {
    ki_sqlite *sqlite = self;
    if (was_undone(sqlite)) sqlite->tail.broken = 1;
    return ki_sqlite_pending(self) && (sqlite->tail.lost || was_undone(sqlite)) ? be_open(sqlite, error) : KITH_OK;
}

kith_status ki_sqlite_publish(void *self, kith_error *error) {
    ki_sqlite *sqlite = self;
    if (!ki_sqlite_pending(self)) return KITH_OK;
    const kith_status status = be_open(sqlite, error);
    return status == KITH_OK ? commit_all(sqlite, sqlite->tail.sequence, error) : status;
}

/* A transaction that is too large for the tail will take a while, in which nobody should wait for what was committed
 * before it: that is committed first, and then the transaction begins anew, with the changes that it has made. */
static kith_status outgrow(ki_sqlite *sqlite, const ki_change *last, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    tail->too_large = 1;
    if (!atomic_load(&tail->pending)) return KITH_OK;
    void *record = tail->record; /* replaying needs another one */
    const size_t bytes = tail->bytes;
    tail->record = NULL;
    tail->capacity = 0;
    tail->lost = 1;
    kith_status status = ki_sqlite_publish(sqlite, error);
    if (status == KITH_OK) status = be_open(sqlite, error);
    if (status == KITH_OK && bytes) status = apply_all(sqlite, record, bytes, error);
    if (status == KITH_OK) status = ki_sqlite_apply(sqlite, last, error);
    free(record);
    return status;
}

kith_status ki_tail_note(ki_sqlite *sqlite, const ki_change *change, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    if (!tail->file || tail->too_large) return KITH_OK;
    const uint64_t at = tail->bytes ? tail->bytes : RECORD_HEAD;
    const uint64_t end = at + CHANGE_HEAD + change->name.bytes + change->body.bytes;
    if (end > RECORD_MAX) return outgrow(sqlite, change, error);
    if (!ki_array_reserve(&tail->record, &tail->capacity, end, 1))
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for a commit", sqlite->path);
    unsigned char *to = (unsigned char *)tail->record + at;
    const uint64_t head[] = {(uint64_t)change->what, change->table,     change->a, change->b, change->c,
                             change->name.bytes,     change->body.bytes};
    for (size_t i = 0; i < 7; i++) ki_store_u64(to + 8 * i, head[i]);
    if (change->name.bytes) memcpy(to + CHANGE_HEAD, change->name.data, change->name.bytes);
    if (change->body.bytes) memcpy(to + CHANGE_HEAD + change->name.bytes, change->body.data, change->body.bytes);
    tail->bytes = (size_t)end;
    return KITH_OK;
}

kith_status ki_tail_begin(ki_sqlite *sqlite, kith_error *error) {
    sqlite->tail.bytes = 0;
    sqlite->tail.too_large = 0;
    sqlite->tail.broken = 0;
    return be_open(sqlite, error);
}

/* Changes are undone with all that SQLite's transaction has: the tail brings back what was there before. Should there
 * be no memory for that now, the next one to begin or to read tries again. */
void ki_tail_rollback(ki_sqlite *sqlite) {
    ki_tail *tail = &sqlite->tail;
    (void)ki_sql_undo(sqlite->writer, NULL);
    tail->lost = atomic_load(&tail->pending) > 0;
    if (tail->lost) (void)be_open(sqlite, NULL);
}

/* One record behind the others. */
static kith_status append(ki_sqlite *sqlite, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    unsigned char *record = tail->record;
    ki_store_u64(record + 8, tail->sequence + 1);
    ki_store_u64(record + 16, tail->bytes - RECORD_HEAD);
    ki_store_u64(record, sum_of(tail, record, tail->bytes));
    const int code = tail->file->pMethods->xWrite(tail->file, record, (int)tail->bytes, (sqlite3_int64)tail->end);
    if (code != SQLITE_OK) return ki_sqlite_fail(sqlite->writer, code, "commit to its tail", error);
    if (!tail->end) tail->since_ns = ki_now_ns();
    tail->sequence++;
    tail->end += tail->bytes;
    atomic_store(&tail->pending, tail->sequence - tail->applied);
    return KITH_OK;
}

kith_status ki_tail_still_open(const ki_sqlite *sqlite, kith_error *error) {
    if (!sqlite->tail.broken && !was_undone(sqlite)) return KITH_OK;
    return ki_fail(error, KITH_E_NOMEM, "%s: SQLite has undone the transaction, because a read of it failed",
                   sqlite->path);
}

kith_status ki_tail_commit(ki_sqlite *sqlite, int *unknown, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    kith_status status = ki_tail_still_open(sqlite, error);
    if (status != KITH_OK) {
        ki_tail_rollback(sqlite);
    } else if (tail->file && !tail->too_large) {
        if (tail->bytes) status = append(sqlite, error);
        if (status != KITH_OK || !atomic_load(&tail->pending)) {
            ki_tail_rollback(sqlite); /* also of nothing */
        } else if (tail->end >= TAIL_MAX || atomic_load(&tail->pending) >= PENDING_MAX ||
                   (tail->end && ki_now_ns() - tail->since_ns >= PENDING_NS)) {
            /* The commit is in the tail: should this fail, the next begin does it again, and says why if it cannot. */
            (void)commit_all(sqlite, tail->sequence, NULL);
        }
    } else {
        status = commit_all(sqlite, tail->sequence + (tail->file != NULL), error);
    }
    *unknown = status != KITH_OK && status != KITH_E_NOSPACE && status != KITH_E_BUSY && status != KITH_E_NOMEM;
    return status;
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

static kith_status open_file(ki_sqlite *sqlite, int flags, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    sqlite3_vfs *vfs = sqlite3_vfs_find(sqlite->vfs);
    sqlite3_file *file = vfs ? ki_alloc_array_zeroed(1, (uint64_t)vfs->szOsFile) : NULL;
    if (!file) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for its tail", sqlite->path);
    const int code = vfs->xOpen(vfs, tail->path, file, flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_SUPER_JOURNAL, NULL);
    if (code == SQLITE_OK) {
        tail->file = file;
        return KITH_OK;
    }
    (void)code_of_close(file);
    free(file);
    return ki_sqlite_fail(sqlite->writer, code, "open its tail", error);
}

/* The file goes once SQLite has on the disk what it says; until then its records are as good as new. */
static void forget_file(ki_sqlite *sqlite, int remove) {
    ki_tail *tail = &sqlite->tail;
    sqlite3_vfs *vfs = sqlite3_vfs_find(sqlite->vfs);
    if (tail->file) (void)code_of_close(tail->file);
    free(tail->file);
    tail->file = NULL;
    if (remove && vfs) (void)vfs->xDelete(vfs, tail->path, 0);
}

static kith_status read_mark(ki_sqlite *sqlite, kith_error *error) {
    ki_found found = {0};
    kith_status status = ki_sqlite_get_named(&sqlite->writer->reading, MARK_KIND, MARK_NAME, &found, error);
    if (status == KITH_OK && found.body.bytes == 16) {
        const unsigned char *mark = found.body.data;
        sqlite->tail.applied = sqlite->tail.sequence = ki_load_u64(mark);
        sqlite->tail.salt = ki_load_u64(mark + 8);
    }
    ki_found_free(&found);
    return status == KITH_E_NOTFOUND ? KITH_OK : status;
}

/* Another salt than any before, so that no record of before can be taken for one of now. */
static uint64_t new_salt(const ki_sqlite *sqlite) {
    uint64_t seed[4] = {ki_now_ns(), (uint64_t)(uintptr_t)sqlite, sqlite->tail.salt, sqlite->tail.sequence};
    sqlite3_randomness(sizeof seed[3], &seed[3]);
    return XXH3_64bits(seed, sizeof seed) | 1;
}

kith_status ki_tail_open(ki_sqlite *sqlite, int relaxed, kith_error *error) {
    ki_tail *tail = &sqlite->tail;
    const size_t bytes = strlen(sqlite->path);
    int there = 0;
    sqlite3_vfs *vfs = sqlite3_vfs_find(sqlite->vfs);
    tail->path = ki_alloc_array((uint64_t)bytes + 6, 1);
    if (!tail->path || !vfs) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for its tail", sqlite->path);
    memcpy(tail->path, sqlite->path, bytes);
    memcpy(tail->path + bytes, "-tail", 6);
    if (vfs->xAccess(vfs, tail->path, SQLITE_ACCESS_EXISTS, &there) != SQLITE_OK)
        return ki_fail(error, KITH_E_IO, "%s: cannot look for its tail", sqlite->path);
    if (!there && !relaxed) return KITH_OK;
    kith_status status = open_file(sqlite, SQLITE_OPEN_CREATE, error);
    if (status == KITH_OK) status = read_mark(sqlite, error);
    if (status == KITH_OK) status = ki_sql_undo(sqlite->writer, error);
    if (status == KITH_OK) status = ki_sql_run(sqlite->writer, KI_SQL_BEGIN, "begin a transaction", error);
    if (status == KITH_OK && there) status = replay(sqlite, UINT64_MAX, error);
    if (status == KITH_OK) {
        tail->salt = new_salt(sqlite);
        status = commit_all(sqlite, tail->sequence, error);
    }
    if (status != KITH_OK || !relaxed) forget_file(sqlite, status == KITH_OK);
    return status;
}

void ki_tail_close(ki_sqlite *sqlite) {
    ki_tail *tail = &sqlite->tail;
    const int whole = tail->file && ki_sqlite_publish(sqlite, NULL) == KITH_OK;
    if (tail->file) forget_file(sqlite, whole);
    free(tail->record);
    free(tail->path);
}
