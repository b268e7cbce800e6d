/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: changes. By the thread that has the catalog's lock, on the writing connection. */
#include "base/status.h"
#include "catalog/sqlite.h"

kith_status ki_sqlite_begin(void *self, kith_error *error) {
    ki_connection *writer = ((ki_sqlite *)self)->writer;
    kith_status status = ki_sql_undo(writer, error);
    return status == KITH_OK ? ki_sql_run(writer, KI_SQL_BEGIN, "begin a transaction", error) : status;
}

void ki_sqlite_rollback(void *self) {
    (void)ki_sql_undo(((ki_sqlite *)self)->writer, NULL);
}

kith_status ki_sqlite_commit(void *self, int *unknown, kith_error *error) {
    ki_sqlite *sqlite = self;
    const kith_status status = ki_sql_run(sqlite->writer, KI_SQL_COMMIT, "commit", error);
    if (status != KITH_OK) {
        ki_sqlite_rollback(self);
        *unknown = status != KITH_E_NOSPACE && status != KITH_E_BUSY && status != KITH_E_NOMEM;
    }
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

kith_status ki_sqlite_put_item(void *self, const ki_catalog_item *item, kith_error *error) {
    ki_connection *writer = ((ki_sqlite *)self)->writer;
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

kith_status ki_sqlite_remove_item(void *self, uint64_t key, kith_error *error) {
    ki_connection *writer = ((ki_sqlite *)self)->writer;
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(writer, KI_SQL_REMOVE_ITEM, &statement, error);
    if (status != KITH_OK) return status;
    const int code = step(statement, sqlite3_bind_int64(statement, 1, ki_signed(key)));
    if (code != SQLITE_OK) status = ki_sqlite_fail(writer, code, "remove an item", error);
    ki_sql_give(writer, KI_SQL_REMOVE_ITEM, statement);
    return status;
}

kith_status ki_sqlite_put_numbered(void *self, ki_numbered table, uint64_t number, ki_bytes body, kith_error *error) {
    const ki_sql which = table == KI_LOG ? KI_SQL_APPEND_LOG : KI_SQL_PUT_SEGMENT;
    ki_connection *writer = ((ki_sqlite *)self)->writer;
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

kith_status ki_sqlite_remove_numbered(void *self, ki_numbered table, uint64_t first, uint64_t last, kith_error *error) {
    const ki_sql which = table == KI_LOG ? KI_SQL_REMOVE_LOG : KI_SQL_REMOVE_SEGMENT;
    ki_connection *writer = ((ki_sqlite *)self)->writer;
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

kith_status ki_sqlite_put_named(void *self, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error) {
    ki_connection *writer = ((ki_sqlite *)self)->writer;
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

kith_status ki_sqlite_remove_named(void *self, int64_t kind, ki_bytes name, kith_error *error) {
    ki_connection *writer = ((ki_sqlite *)self)->writer;
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
