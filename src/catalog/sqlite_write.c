/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: changes. By the thread that has the catalog's lock, on the writing connection. */
#include "base/status.h"
#include "catalog/sqlite.h"

kith_status ki_sqlite_begin(void *self, kith_error *error) {
    return ki_tail_begin(self, error);
}

void ki_sqlite_rollback(void *self) {
    ki_tail_rollback(self);
}

kith_status ki_sqlite_commit(void *self, int *unknown, kith_error *error) {
    ki_sqlite *sqlite = self;
    const kith_status status = ki_tail_commit(sqlite, unknown, error);
    if (status == KITH_OK) atomic_fetch_add_explicit(&sqlite->commits, 1, memory_order_relaxed);
    atomic_store_explicit(&sqlite->writer_bytes, ki_connection_memory(sqlite->writer), memory_order_relaxed);
    return status;
}

/* Bytes live until the statement is given back. SQLite takes NULL for no value at all, which an empty body is not. */
static int bind_bytes(sqlite3_stmt *statement, int place, ki_bytes bytes) {
    return sqlite3_bind_blob64(statement, place, bytes.bytes ? bytes.data : "", bytes.bytes, SQLITE_STATIC);
}

static int bind_optional(sqlite3_stmt *statement, int place, ki_bytes bytes) {
    return bytes.bytes ? bind_bytes(statement, place, bytes) : sqlite3_bind_null(statement, place);
}

static int step(sqlite3_stmt *statement, int code) {
    if (code != SQLITE_OK) return code;
    code = sqlite3_step(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static kith_status put_item(ki_connection *writer, const ki_catalog_item *item, kith_error *error) {
    sqlite3_stmt *put = NULL;
    kith_status status = ki_sql_take(writer, KI_SQL_PUT_ITEM, &put, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(put, 1, ki_signed(item->key));
    if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 2, (int64_t)item->version);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 3, (int64_t)item->expires_ms);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 4, (int64_t)ki_item_sum(item));
    if (code == SQLITE_OK) code = bind_optional(put, 5, item->text);
    if (code == SQLITE_OK) code = bind_optional(put, 6, item->payload);
    code = step(put, code);
    if ((code & 0xff) == SQLITE_CONSTRAINT)
        status =
            ki_fail(error, KITH_E_ARG, "the id of item %llu is that of another item", (unsigned long long)item->key);
    else if (code != SQLITE_OK)
        status = ki_sqlite_fail(writer, code, "put an item", error);
    ki_sql_give(writer, KI_SQL_PUT_ITEM, put);
    return status;
}

static kith_status remove_item(ki_connection *writer, uint64_t key, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(writer, KI_SQL_REMOVE_ITEM, &statement, error);
    if (status != KITH_OK) return status;
    const int code = step(statement, sqlite3_bind_int64(statement, 1, ki_signed(key)));
    if (code != SQLITE_OK) status = ki_sqlite_fail(writer, code, "remove an item", error);
    ki_sql_give(writer, KI_SQL_REMOVE_ITEM, statement);
    return status;
}

static kith_status put_numbered(ki_connection *writer, ki_numbered table, uint64_t number, ki_bytes body,
                                kith_error *error) {
    const ki_sql which = table == KI_LOG ? KI_SQL_APPEND_LOG : KI_SQL_PUT_SEGMENT;
    sqlite3_stmt *put = NULL;
    kith_status status = ki_sql_take(writer, which, &put, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(put, 1, ki_signed(number));
    if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 2, (int64_t)ki_numbered_sum(table, number, body));
    if (code == SQLITE_OK) code = bind_bytes(put, 3, body);
    code = step(put, code);
    if ((code & 0xff) == SQLITE_CONSTRAINT)
        status = ki_fail(error, KITH_E_ARG, "the log has a number %llu already", (unsigned long long)number);
    else if (code != SQLITE_OK)
        status = ki_sqlite_fail(writer, code, table == KI_LOG ? "append to the log" : "put a segment", error);
    ki_sql_give(writer, which, put);
    return status;
}

static kith_status remove_numbered(ki_connection *writer, ki_numbered table, uint64_t first, uint64_t last,
                                   kith_error *error) {
    const ki_sql which = table == KI_LOG ? KI_SQL_REMOVE_LOG : KI_SQL_REMOVE_SEGMENT;
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(writer, which, &statement, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(statement, 1, ki_signed(first));
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 2, ki_signed(last));
    code = step(statement, code);
    if (code != SQLITE_OK)
        status = ki_sqlite_fail(writer, code, table == KI_LOG ? "cut the log" : "remove a segment", error);
    ki_sql_give(writer, which, statement);
    return status;
}

static kith_status put_named(ki_connection *writer, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error) {
    sqlite3_stmt *put = NULL;
    kith_status status = ki_sql_take(writer, KI_SQL_PUT_RECORD, &put, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(put, 1, kind);
    if (code == SQLITE_OK) code = bind_bytes(put, 2, name);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(put, 3, (int64_t)ki_named_sum(kind, name, body));
    if (code == SQLITE_OK) code = bind_bytes(put, 4, body);
    code = step(put, code);
    if (code != SQLITE_OK) status = ki_sqlite_fail(writer, code, "put a record", error);
    ki_sql_give(writer, KI_SQL_PUT_RECORD, put);
    return status;
}

static kith_status remove_named(ki_connection *writer, int64_t kind, ki_bytes name, kith_error *error) {
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(writer, KI_SQL_REMOVE_RECORD, &statement, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(statement, 1, kind);
    if (code == SQLITE_OK) code = bind_bytes(statement, 2, name);
    code = step(statement, code);
    if (code != SQLITE_OK) status = ki_sqlite_fail(writer, code, "remove a record", error);
    ki_sql_give(writer, KI_SQL_REMOVE_RECORD, statement);
    return status;
}

/* ---- Changes as values ------------------------------------------------------------------------------------------ */

kith_status ki_sqlite_apply(ki_sqlite *sqlite, const ki_change *change, kith_error *error) {
    ki_connection *writer = sqlite->writer;
    const ki_numbered table = change->table == KI_LOG ? KI_LOG : KI_SEGMENTS;
    switch (change->what) {
    case KI_CHANGE_PUT_ITEM: {
        const ki_catalog_item item = {.key = change->a,
                                      .version = change->b,
                                      .expires_ms = change->c,
                                      .text = change->name,
                                      .payload = change->body};
        return put_item(writer, &item, error);
    }
    case KI_CHANGE_REMOVE_ITEM:
        return remove_item(writer, change->a, error);
    case KI_CHANGE_PUT_NUMBERED:
        return put_numbered(writer, table, change->a, change->body, error);
    case KI_CHANGE_REMOVE_NUMBERED:
        return remove_numbered(writer, table, change->a, change->b, error);
    case KI_CHANGE_PUT_NAMED:
        return put_named(writer, (int64_t)change->a, change->name, change->body, error);
    case KI_CHANGE_REMOVE_NAMED:
        return remove_named(writer, (int64_t)change->a, change->name, error);
    }
    return ki_fail(error, KITH_E_CORRUPT, "%s: the tail has a change of an unknown kind", sqlite->path);
}

static kith_status make(void *self, const ki_change *change, kith_error *error) {
    kith_status status = ki_tail_still_open(self, error);
    if (status == KITH_OK) status = ki_sqlite_apply(self, change, error);
    return status == KITH_OK ? ki_tail_note(self, change, error) : status;
}

kith_status ki_sqlite_put_item(void *self, const ki_catalog_item *item, kith_error *error) {
    const ki_change change = {.what = KI_CHANGE_PUT_ITEM,
                              .a = item->key,
                              .b = item->version,
                              .c = item->expires_ms,
                              .name = item->text,
                              .body = item->payload};
    return make(self, &change, error);
}

kith_status ki_sqlite_remove_item(void *self, uint64_t key, kith_error *error) {
    return make(self, &(ki_change){.what = KI_CHANGE_REMOVE_ITEM, .a = key}, error);
}

kith_status ki_sqlite_put_numbered(void *self, ki_numbered table, uint64_t number, ki_bytes body, kith_error *error) {
    const ki_change change = {.what = KI_CHANGE_PUT_NUMBERED, .table = (uint64_t)table, .a = number, .body = body};
    return make(self, &change, error);
}

kith_status ki_sqlite_remove_numbered(void *self, ki_numbered table, uint64_t first, uint64_t last, kith_error *error) {
    const ki_change change = {.what = KI_CHANGE_REMOVE_NUMBERED, .table = (uint64_t)table, .a = first, .b = last};
    return make(self, &change, error);
}

kith_status ki_sqlite_put_named(void *self, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error) {
    const ki_change change = {.what = KI_CHANGE_PUT_NAMED, .a = (uint64_t)kind, .name = name, .body = body};
    return make(self, &change, error);
}

kith_status ki_sqlite_remove_named(void *self, int64_t kind, ki_bytes name, kith_error *error) {
    return make(self, &(ki_change){.what = KI_CHANGE_REMOVE_NAMED, .a = (uint64_t)kind, .name = name}, error);
}
