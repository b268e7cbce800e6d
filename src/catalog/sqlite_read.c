/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in a file: reads, and the checksums that every row is held against (G5). A sum covers where a row belongs
 * too, so that a row whose key was damaged is found as well. */
#include "base/bytes.h"
#include "base/status.h"
#include "catalog/sqlite.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* ---- Checksums --------------------------------------------------------------------------------------------------- */

static uint64_t sum_on(uint64_t sum, ki_bytes bytes) {
    return XXH3_64bits_withSeed(bytes.bytes ? bytes.data : "", bytes.bytes, sum);
}

uint64_t ki_item_sum(const ki_catalog_item *item) {
    unsigned char head[32];
    ki_store_u64(head, item->key);
    ki_store_u64(head + 8, item->version);
    ki_store_u64(head + 16, item->expires_ms);
    ki_store_u64(head + 24, item->text.bytes);
    return sum_on(sum_on(XXH3_64bits(head, sizeof head), item->text), item->payload);
}

uint64_t ki_numbered_sum(ki_numbered table, uint64_t number, ki_bytes body) {
    unsigned char head[16];
    ki_store_u64(head, (uint64_t)table);
    ki_store_u64(head + 8, number);
    return sum_on(XXH3_64bits(head, sizeof head), body);
}

uint64_t ki_named_sum(int64_t kind, ki_bytes name, ki_bytes body) {
    unsigned char head[16];
    ki_store_u64(head, (uint64_t)kind);
    ki_store_u64(head + 8, name.bytes);
    return sum_on(sum_on(XXH3_64bits(head, sizeof head), name), body);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* Bytes of a column, which live until the next step. */
static ki_bytes column_bytes(sqlite3_stmt *row, int column) {
    const void *data = sqlite3_column_blob(row, column);
    const int bytes = sqlite3_column_bytes(row, column);
    return (ki_bytes){data, data && bytes > 0 ? (size_t)bytes : 0};
}

static kith_status damaged(const ki_connection *connection, const char *what, kith_error *error) {
    if ((sqlite3_errcode(connection->db) & 0xff) == SQLITE_NOMEM)
        return ki_sqlite_fail(connection, SQLITE_NOMEM, "read a row", error);
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s does not match its checksum", connection->sqlite->path, what);
}

/* Columns: key, version, expires, sum, text, payload. */
static kith_status read_item(const ki_connection *connection, sqlite3_stmt *row, ki_catalog_item *item,
                             kith_error *error) {
    *item = (ki_catalog_item){.key = ki_unsigned(sqlite3_column_int64(row, 0)),
                              .version = (uint64_t)sqlite3_column_int64(row, 1),
                              .expires_ms = (uint64_t)sqlite3_column_int64(row, 2),
                              .text = column_bytes(row, 4),
                              .payload = column_bytes(row, 5)};
    if (ki_item_sum(item) == (uint64_t)sqlite3_column_int64(row, 3)) return KITH_OK;
    char what[64];
    snprintf(what, sizeof what, "item %llu", (unsigned long long)item->key);
    return damaged(connection, what, error);
}

/* Columns: number, sum, body. */
static kith_status read_numbered(const ki_connection *connection, sqlite3_stmt *row, ki_numbered table,
                                 uint64_t *number, ki_bytes *body, kith_error *error) {
    *number = ki_unsigned(sqlite3_column_int64(row, 0));
    *body = column_bytes(row, 2);
    if (ki_numbered_sum(table, *number, *body) == (uint64_t)sqlite3_column_int64(row, 1)) return KITH_OK;
    char what[64];
    snprintf(what, sizeof what, "%s %llu", table == KI_LOG ? "log entry" : "segment", (unsigned long long)*number);
    return damaged(connection, what, error);
}

/* Columns: kind, name, sum, body. */
static kith_status read_named(const ki_connection *connection, sqlite3_stmt *row, ki_bytes *name, ki_bytes *body,
                              kith_error *error) {
    const int64_t kind = sqlite3_column_int64(row, 0);
    *name = column_bytes(row, 1);
    *body = column_bytes(row, 3);
    if (ki_named_sum(kind, *name, *body) == (uint64_t)sqlite3_column_int64(row, 2)) return KITH_OK;
    char what[128];
    const int shown = name->bytes < 64 ? (int)name->bytes : 64;
    if (kind == KI_KIND_SETTING)
        snprintf(what, sizeof what, "setting '%.*s'", shown, name->bytes ? (const char *)name->data : "");
    else
        snprintf(what, sizeof what, "record '%.*s' of kind %lld", shown, name->bytes ? (const char *)name->data : "",
                 (long long)kind);
    return damaged(connection, what, error);
}

/* ---- One state for several reads --------------------------------------------------------------------------------- */

/* SQLite picks the state at the first read, not at BEGIN: where it matters one is made, of the file's head only. */
kith_status ki_sqlite_reading_start(ki_reading *reading, ki_reading_kind kind, kith_error *error) {
    ki_connection *connection = (ki_connection *)reading;
    sqlite3_stmt *statement = NULL;
    const int several = kind == KI_READ_SEVERAL || kind == KI_READ_FEW;
    if (!several && sqlite3_get_autocommit(connection->db)) return KITH_OK;
    kith_status status = ki_sql_undo(connection, error);
    if (status != KITH_OK || !several) return status;
    status = ki_sql_run(connection, KI_SQL_BEGIN_READ, "begin to read", error);
    if (status != KITH_OK) return status;
    connection->several = 1;
    if (kind == KI_READ_FEW) return KITH_OK;
    status = ki_sql_take(connection, KI_SQL_DATA_VERSION, &statement, error);
    if (status == KITH_OK) {
        const int code = sqlite3_step(statement);
        if (code != SQLITE_ROW) status = ki_sqlite_fail(connection, code, "begin to read", error);
        ki_sql_give(connection, KI_SQL_DATA_VERSION, statement);
    }
    if (status != KITH_OK) ki_sqlite_reading_stop(reading);
    return status;
}

void ki_sqlite_reading_stop(ki_reading *reading) {
    ki_connection *connection = (ki_connection *)reading;
    if (connection->several) (void)ki_sql_undo(connection, NULL);
    connection->several = 0;
    atomic_store_explicit(&reading->memory_bytes, ki_connection_memory(connection), memory_order_relaxed);
}

/* ---- Single rows ------------------------------------------------------------------------------------------------- */

static const void *keep(char **place, ki_bytes bytes) {
    char *kept = *place;
    if (bytes.bytes) memcpy(kept, bytes.data, bytes.bytes);
    *place += bytes.bytes;
    return kept;
}

static kith_status no_room(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a row of the catalog");
}

/* Whether there is a row. KITH_E_NOTFOUND: none, and that is no error. */
static kith_status step_row(const ki_connection *connection, sqlite3_stmt *statement, int code, const char *doing,
                            kith_error *error) {
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code == SQLITE_ROW) return KITH_OK;
    return code == SQLITE_DONE ? KITH_E_NOTFOUND : ki_sqlite_fail(connection, code, doing, error);
}

kith_status ki_sqlite_get_item(ki_reading *reading, uint64_t key, ki_found *found, kith_error *error) {
    ki_connection *connection = (ki_connection *)reading;
    sqlite3_stmt *get = NULL;
    ki_catalog_item item;
    kith_status status = ki_sql_take(connection, KI_SQL_GET_ITEM, &get, error);
    if (status != KITH_OK) return status;
    status = step_row(connection, get, sqlite3_bind_int64(get, 1, ki_signed(key)), "read an item", error);
    if (status == KITH_OK) status = read_item(connection, get, &item, error);
    if (status == KITH_OK) {
        char *room = ki_found_room(found, (uint64_t)item.text.bytes + item.payload.bytes + 1);
        if (room) {
            item.text.data = keep(&room, item.text);
            item.payload.data = keep(&room, item.payload);
            found->item = item;
            found->body = item.payload;
        } else {
            status = no_room(error);
        }
    }
    ki_sql_give(connection, KI_SQL_GET_ITEM, get);
    return status;
}

/* The index tells the key; the row confirms it, so that a damaged index makes no wrong answer. */
kith_status ki_sqlite_find_text(ki_reading *reading, ki_bytes text, uint64_t *key, kith_error *error) {
    ki_connection *connection = (ki_connection *)reading;
    sqlite3_stmt *find = NULL;
    ki_catalog_item item;
    kith_status status = ki_sql_take(connection, KI_SQL_FIND_TEXT, &find, error);
    if (status != KITH_OK) return status;
    const int code = sqlite3_bind_blob64(find, 1, text.data, text.bytes, SQLITE_STATIC);
    status = step_row(connection, find, code, "look up an id", error);
    if (status == KITH_OK) status = read_item(connection, find, &item, error);
    if (status == KITH_OK) {
        if (item.text.bytes == text.bytes && memcmp(item.text.data, text.data, text.bytes) == 0)
            *key = item.key;
        else
            status = ki_fail(error, KITH_E_CORRUPT, "%s: the index of ids does not match item %llu",
                             connection->sqlite->path, (unsigned long long)item.key);
    }
    ki_sql_give(connection, KI_SQL_FIND_TEXT, find);
    return status;
}

kith_status ki_sqlite_get_named(ki_reading *reading, int64_t kind, ki_bytes name, ki_found *found, kith_error *error) {
    ki_connection *connection = (ki_connection *)reading;
    sqlite3_stmt *get = NULL;
    ki_bytes stored, body;
    kith_status status = ki_sql_take(connection, KI_SQL_GET_RECORD, &get, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(get, 1, kind);
    if (code == SQLITE_OK) code = sqlite3_bind_blob64(get, 2, name.bytes ? name.data : "", name.bytes, SQLITE_STATIC);
    status = step_row(connection, get, code, "read a record", error);
    if (status == KITH_OK) status = read_named(connection, get, &stored, &body, error);
    if (status == KITH_OK) {
        char *room = ki_found_room(found, (uint64_t)body.bytes + 1);
        if (room) {
            found->item = (ki_catalog_item){0};
            found->body = (ki_bytes){keep(&room, body), body.bytes};
        } else {
            status = no_room(error);
        }
    }
    ki_sql_give(connection, KI_SQL_GET_RECORD, get);
    return status;
}

kith_status ki_sqlite_next_expiry(ki_reading *reading, uint64_t *expires_ms, kith_error *error) {
    ki_connection *connection = (ki_connection *)reading;
    sqlite3_stmt *statement = NULL;
    kith_status status = ki_sql_take(connection, KI_SQL_NEXT_EXPIRY, &statement, error);
    if (status != KITH_OK) return status;
    status = step_row(connection, statement, SQLITE_OK, "look up the next expiry", error);
    if (status == KITH_OK) *expires_ms = (uint64_t)sqlite3_column_int64(statement, 0);
    if (status == KITH_E_NOTFOUND) {
        *expires_ms = 0;
        status = KITH_OK;
    }
    ki_sql_give(connection, KI_SQL_NEXT_EXPIRY, statement);
    return status;
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

static kith_status items(ki_connection *connection, ki_sql which, int64_t bound, int with_payload,
                         ki_catalog_item_fn fn, void *context, kith_error *error) {
    sqlite3_stmt *scan = NULL;
    ki_catalog_item item;
    kith_status status = ki_sql_take(connection, which, &scan, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(scan, 1, bound);
    if (code == SQLITE_OK) code = sqlite3_step(scan);
    while (status == KITH_OK && code == SQLITE_ROW) {
        status = read_item(connection, scan, &item, error);
        if (!with_payload) item.payload = (ki_bytes){0};
        if (status == KITH_OK) status = fn(context, &item, error);
        if (status == KITH_OK) code = sqlite3_step(scan);
    }
    if (status == KITH_OK && code != SQLITE_DONE) status = ki_sqlite_fail(connection, code, "scan items", error);
    ki_sql_give(connection, which, scan);
    return status;
}

kith_status ki_sqlite_scan_items(ki_reading *reading, uint64_t first, ki_catalog_item_fn fn, void *context,
                                 kith_error *error) {
    return items((ki_connection *)reading, KI_SQL_SCAN_ITEMS, ki_signed(first), 1, fn, context, error);
}

kith_status ki_sqlite_scan_expired(ki_reading *reading, uint64_t now_ms, ki_catalog_item_fn fn, void *context,
                                   kith_error *error) {
    return items((ki_connection *)reading, KI_SQL_SCAN_EXPIRED, (int64_t)now_ms, 0, fn, context, error);
}

kith_status ki_sqlite_scan_numbered(ki_reading *reading, ki_numbered table, uint64_t first, ki_catalog_body_fn fn,
                                    void *context, kith_error *error) {
    const ki_sql which = table == KI_LOG ? KI_SQL_SCAN_LOG : KI_SQL_SCAN_SEGMENTS;
    ki_connection *connection = (ki_connection *)reading;
    sqlite3_stmt *scan = NULL;
    uint64_t number;
    ki_bytes body;
    kith_status status = ki_sql_take(connection, which, &scan, error);
    if (status != KITH_OK) return status;
    int code = sqlite3_bind_int64(scan, 1, ki_signed(first));
    if (code == SQLITE_OK) code = sqlite3_step(scan);
    while (status == KITH_OK && code == SQLITE_ROW) {
        status = read_numbered(connection, scan, table, &number, &body, error);
        if (status == KITH_OK) status = fn(context, number, body, error);
        if (status == KITH_OK) code = sqlite3_step(scan);
    }
    if (status == KITH_OK && code != SQLITE_DONE)
        status = ki_sqlite_fail(connection, code, table == KI_LOG ? "scan the log" : "scan the segments", error);
    ki_sql_give(connection, which, scan);
    return status;
}

static kith_status records(ki_connection *connection, ki_sql which, int64_t kind, ki_catalog_record_fn fn,
                           void *context, kith_error *error) {
    sqlite3_stmt *scan = NULL;
    ki_bytes name, body;
    kith_status status = ki_sql_take(connection, which, &scan, error);
    if (status != KITH_OK) return status;
    int code = which == KI_SQL_SCAN_RECORDS ? sqlite3_bind_int64(scan, 1, kind) : SQLITE_OK;
    if (code == SQLITE_OK) code = sqlite3_step(scan);
    while (status == KITH_OK && code == SQLITE_ROW) {
        status = read_named(connection, scan, &name, &body, error);
        if (status == KITH_OK) status = fn(context, name, body, error);
        if (status == KITH_OK) code = sqlite3_step(scan);
    }
    if (status == KITH_OK && code != SQLITE_DONE) status = ki_sqlite_fail(connection, code, "scan records", error);
    ki_sql_give(connection, which, scan);
    return status;
}

kith_status ki_sqlite_scan_named(ki_reading *reading, int64_t kind, ki_catalog_record_fn fn, void *context,
                                 kith_error *error) {
    return records((ki_connection *)reading, KI_SQL_SCAN_RECORDS, kind, fn, context, error);
}

kith_status ki_sqlite_scan_all_named(ki_reading *reading, ki_catalog_record_fn fn, void *context, kith_error *error) {
    return records((ki_connection *)reading, KI_SQL_SCAN_ALL_RECORDS, 0, fn, context, error);
}
