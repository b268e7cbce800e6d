/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper in memory: one tree a table, and two that find items by id and by expiry. A state is the roots of all.
 *
 * M1. `committed` is a state that never changes; `publishing` guards the pointers. A reading holds the state that was
 *     committed when it was started. The changer's own state is the one that it changes, and outside of transactions
 *     the committed one.
 * M2. Keys are bytes that ascend as their numbers do: eight bytes, the highest first.
 * M3. A value of items: version, expiry, bytes of the id, each eight bytes; id; payload. */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "catalog/keeper.h"
#include "catalog/tree.h"

#include <string.h>

enum { ITEMS, TEXTS, EXPIRIES, LOG, SEGMENTS, RECORDS, TABLES };
enum { NUMBER_BYTES = 8, ITEM_HEAD_BYTES = 24 };

typedef struct tables {
    ki_tree *root[TABLES];
} tables;

typedef struct memory_keeper memory_keeper;

typedef struct memory_reading {
    ki_reading reading; /* the first member: a reading is cast to this */
    memory_keeper *memory;
    tables state;
} memory_reading;

struct memory_keeper {
    ki_tree_heap heap;
    memory_reading own;
    pthread_mutex_t publishing; /* guards what follows */
    tables committed;
    uint64_t commits;
};

/* ---- States ------------------------------------------------------------------------------------------------------ */

static tables hold(const tables *from) {
    tables held;
    for (int i = 0; i < TABLES; i++) held.root[i] = ki_tree_hold(from->root[i]);
    return held;
}

static void release(memory_keeper *memory, tables *from) {
    for (int i = 0; i < TABLES; i++) ki_tree_release(&memory->heap, from->root[i]);
    *from = (tables){{NULL}};
}

static tables hold_committed(memory_keeper *memory) {
    pthread_mutex_lock(&memory->publishing);
    const tables held = hold(&memory->committed);
    pthread_mutex_unlock(&memory->publishing);
    return held;
}

static kith_status begin(void *self, kith_error *error) {
    (void)self;
    (void)error;
    return KITH_OK;
}

static kith_status commit(void *self, int *unknown, kith_error *error) {
    memory_keeper *memory = self;
    (void)unknown;
    (void)error;
    pthread_mutex_lock(&memory->publishing);
    tables old = memory->committed;
    memory->committed = hold(&memory->own.state);
    memory->commits++;
    pthread_mutex_unlock(&memory->publishing);
    release(memory, &old);
    return KITH_OK;
}

static void rollback(void *self) {
    memory_keeper *memory = self;
    tables undone = memory->own.state;
    memory->own.state = hold_committed(memory);
    release(memory, &undone);
}

/* ---- Keys and values --------------------------------------------------------------------------------------------- */

static void write_number(unsigned char *to, uint64_t number) {
    for (int i = 0; i < NUMBER_BYTES; i++) to[i] = (unsigned char)(number >> (56 - 8 * i));
}

static uint64_t read_number(const void *from) {
    const unsigned char *bytes = from;
    uint64_t number = 0;
    for (int i = 0; i < NUMBER_BYTES; i++) number = number << 8 | bytes[i];
    return number;
}

typedef struct number_key {
    unsigned char bytes[NUMBER_BYTES];
} number_key;

static ki_bytes key_of(uint64_t number, number_key *room) {
    write_number(room->bytes, number);
    return (ki_bytes){room->bytes, NUMBER_BYTES};
}

typedef struct expiry_key {
    unsigned char bytes[2 * NUMBER_BYTES];
} expiry_key;

static ki_bytes expiry_of(const ki_catalog_item *item, expiry_key *room) {
    write_number(room->bytes, item->expires_ms);
    write_number(room->bytes + NUMBER_BYTES, item->key);
    return (ki_bytes){room->bytes, sizeof room->bytes};
}

typedef struct name_key {
    unsigned char bytes[NUMBER_BYTES + KITH_STRING_MAX];
} name_key;

/* Names of readers may be longer than any stored one: they are cut behind the longest, and found nowhere. */
static ki_bytes name_of(int64_t kind, ki_bytes name, name_key *room) {
    const size_t bytes = ki_min_size(name.bytes, KITH_STRING_MAX);
    write_number(room->bytes, (uint64_t)kind);
    if (bytes) memcpy(room->bytes + NUMBER_BYTES, name.data, bytes);
    return (ki_bytes){room->bytes, NUMBER_BYTES + bytes};
}

static ki_catalog_item item_of(const ki_tree_entry *entry) {
    const unsigned char *value = ki_tree_value(entry).data;
    const size_t text = (size_t)ki_load_u64(value + 16), bytes = ki_tree_value(entry).bytes;
    return (ki_catalog_item){.key = read_number(ki_tree_key(entry).data),
                             .version = ki_load_u64(value),
                             .expires_ms = ki_load_u64(value + 8),
                             .text = {value + ITEM_HEAD_BYTES, text},
                             .payload = {value + ITEM_HEAD_BYTES + text, bytes - ITEM_HEAD_BYTES - text}};
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the catalog");
}

static int forget_item(memory_keeper *memory, uint64_t key) {
    tables *now = &memory->own.state;
    number_key number;
    expiry_key expiry;
    const ki_tree_entry *entry = ki_tree_find(now->root[ITEMS], key_of(key, &number));
    if (!entry) return 1;
    const ki_catalog_item old = item_of(entry);
    if (old.text.bytes && !ki_tree_remove(&memory->heap, &now->root[TEXTS], old.text)) return 0;
    if (old.expires_ms && !ki_tree_remove(&memory->heap, &now->root[EXPIRIES], expiry_of(&old, &expiry))) return 0;
    return ki_tree_remove(&memory->heap, &now->root[ITEMS], key_of(key, &number));
}

static kith_status put_item(void *self, const ki_catalog_item *item, kith_error *error) {
    memory_keeper *memory = self;
    tables *now = &memory->own.state;
    number_key number;
    expiry_key expiry;
    unsigned char head[ITEM_HEAD_BYTES];
    const ki_tree_entry *named = item->text.bytes ? ki_tree_find(now->root[TEXTS], item->text) : NULL;
    if (named && read_number(ki_tree_value(named).data) != item->key)
        return ki_fail(error, KITH_E_ARG, "the id of item %llu is that of another item", (unsigned long long)item->key);
    ki_store_u64(head, item->version);
    ki_store_u64(head + 8, item->expires_ms);
    ki_store_u64(head + 16, item->text.bytes);
    const ki_bytes key = key_of(item->key, &number), none = {NULL, 0};
    const ki_bytes parts[] = {{head, sizeof head}, item->text, item->payload};
    int done = forget_item(memory, item->key);
    if (done && item->text.bytes) done = ki_tree_put(&memory->heap, &now->root[TEXTS], item->text, &key, 1);
    if (done && item->expires_ms)
        done = ki_tree_put(&memory->heap, &now->root[EXPIRIES], expiry_of(item, &expiry), &none, 1);
    if (done) done = ki_tree_put(&memory->heap, &now->root[ITEMS], key, parts, 3);
    return done ? KITH_OK : no_memory(error);
}

static kith_status remove_item(void *self, uint64_t key, kith_error *error) {
    return forget_item(self, key) ? KITH_OK : no_memory(error);
}

static int table_of(ki_numbered table) {
    return table == KI_LOG ? LOG : SEGMENTS;
}

static kith_status put_numbered(void *self, ki_numbered table, uint64_t number, ki_bytes body, kith_error *error) {
    memory_keeper *memory = self;
    ki_tree **root = &memory->own.state.root[table_of(table)];
    number_key room;
    const ki_bytes key = key_of(number, &room);
    if (table == KI_LOG && ki_tree_find(*root, key))
        return ki_fail(error, KITH_E_ARG, "the log has a number %llu already", (unsigned long long)number);
    return ki_tree_put(&memory->heap, root, key, &body, 1) ? KITH_OK : no_memory(error);
}

static kith_status remove_numbered(void *self, ki_numbered table, uint64_t first, uint64_t last, kith_error *error) {
    memory_keeper *memory = self;
    ki_tree **root = &memory->own.state.root[table_of(table)];
    number_key room;
    for (;;) {
        ki_tree_walk walk;
        ki_tree_walk_from(&walk, *root, key_of(first, &room));
        const ki_tree_entry *entry = ki_tree_next(&walk);
        const uint64_t number = entry ? read_number(ki_tree_key(entry).data) : 0;
        if (!entry || number > last) return KITH_OK;
        if (!ki_tree_remove(&memory->heap, root, key_of(number, &room))) return no_memory(error);
    }
}

static kith_status put_named(void *self, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error) {
    memory_keeper *memory = self;
    name_key room;
    ki_tree **root = &memory->own.state.root[RECORDS];
    return ki_tree_put(&memory->heap, root, name_of(kind, name, &room), &body, 1) ? KITH_OK : no_memory(error);
}

static kith_status remove_named(void *self, int64_t kind, ki_bytes name, kith_error *error) {
    memory_keeper *memory = self;
    name_key room;
    ki_tree **root = &memory->own.state.root[RECORDS];
    return ki_tree_remove(&memory->heap, root, name_of(kind, name, &room)) ? KITH_OK : no_memory(error);
}

/* ---- Readings ---------------------------------------------------------------------------------------------------- */

static ki_reading *own(void *self) {
    return &((memory_keeper *)self)->own.reading;
}

static kith_status reading_create(void *self, ki_reading **reading, kith_error *error) {
    memory_reading *made = ki_alloc_array_zeroed(1, sizeof *made);
    if (!made) return no_memory(error);
    made->memory = self;
    *reading = &made->reading;
    return KITH_OK;
}

static void reading_destroy(ki_reading *reading) {
    free(reading);
}

static kith_status reading_start(ki_reading *reading, ki_reading_kind kind, kith_error *error) {
    memory_reading *mine = (memory_reading *)reading;
    (void)kind;
    (void)error;
    mine->state = hold_committed(mine->memory);
    return KITH_OK;
}

static void reading_stop(ki_reading *reading) {
    memory_reading *mine = (memory_reading *)reading;
    release(mine->memory, &mine->state);
}

static ki_tree *root_of(ki_reading *reading, int table) {
    return ((memory_reading *)reading)->state.root[table];
}

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

static kith_status get_item(ki_reading *reading, uint64_t key, ki_found *found, kith_error *error) {
    number_key number;
    const ki_tree_entry *entry = ki_tree_find(root_of(reading, ITEMS), key_of(key, &number));
    if (!entry) return KITH_E_NOTFOUND;
    ki_catalog_item item = item_of(entry);
    char *room = ki_found_room(found, (uint64_t)item.text.bytes + item.payload.bytes + 1);
    if (!room) return no_memory(error);
    memcpy(room, item.text.data, item.text.bytes + item.payload.bytes);
    item.text.data = room;
    item.payload.data = room + item.text.bytes;
    found->item = item;
    found->body = item.payload;
    return KITH_OK;
}

static kith_status find_text(ki_reading *reading, ki_bytes text, uint64_t *key, kith_error *error) {
    const ki_tree_entry *entry = ki_tree_find(root_of(reading, TEXTS), text);
    (void)error;
    if (!entry) return KITH_E_NOTFOUND;
    *key = read_number(ki_tree_value(entry).data);
    return KITH_OK;
}

static kith_status get_named(ki_reading *reading, int64_t kind, ki_bytes name, ki_found *found, kith_error *error) {
    name_key key;
    if (name.bytes > KITH_STRING_MAX) return KITH_E_NOTFOUND;
    const ki_tree_entry *entry = ki_tree_find(root_of(reading, RECORDS), name_of(kind, name, &key));
    if (!entry) return KITH_E_NOTFOUND;
    const ki_bytes body = ki_tree_value(entry);
    char *room = ki_found_room(found, (uint64_t)body.bytes + 1);
    if (!room) return no_memory(error);
    memcpy(room, body.data, body.bytes);
    found->item = (ki_catalog_item){0};
    found->body = (ki_bytes){room, body.bytes};
    return KITH_OK;
}

static kith_status scan_items(ki_reading *reading, uint64_t first, ki_catalog_item_fn fn, void *context,
                              kith_error *error) {
    ki_tree_walk walk;
    number_key number;
    kith_status status = KITH_OK;
    ki_tree_walk_from(&walk, root_of(reading, ITEMS), key_of(first, &number));
    for (const ki_tree_entry *entry; status == KITH_OK && (entry = ki_tree_next(&walk));) {
        const ki_catalog_item item = item_of(entry);
        status = fn(context, &item, error);
    }
    return status;
}

static kith_status scan_expired(ki_reading *reading, uint64_t now_ms, ki_catalog_item_fn fn, void *context,
                                kith_error *error) {
    ki_tree_walk walk;
    number_key number;
    kith_status status = KITH_OK;
    ki_tree_walk_from(&walk, root_of(reading, EXPIRIES), (ki_bytes){NULL, 0});
    for (const ki_tree_entry *expiry; status == KITH_OK && (expiry = ki_tree_next(&walk));) {
        const unsigned char *key = ki_tree_key(expiry).data;
        if (read_number(key) > now_ms) break;
        const ki_bytes item_key = key_of(read_number(key + NUMBER_BYTES), &number);
        ki_catalog_item item = item_of(ki_tree_find(root_of(reading, ITEMS), item_key));
        item.payload = (ki_bytes){NULL, 0};
        status = fn(context, &item, error);
    }
    return status;
}

static kith_status next_expiry(ki_reading *reading, uint64_t *expires_ms, kith_error *error) {
    ki_tree_walk walk;
    (void)error;
    ki_tree_walk_from(&walk, root_of(reading, EXPIRIES), (ki_bytes){NULL, 0});
    const ki_tree_entry *expiry = ki_tree_next(&walk);
    *expires_ms = expiry ? read_number(ki_tree_key(expiry).data) : 0;
    return KITH_OK;
}

static kith_status scan_numbered(ki_reading *reading, ki_numbered table, uint64_t first, ki_catalog_body_fn fn,
                                 void *context, kith_error *error) {
    ki_tree_walk walk;
    number_key number;
    kith_status status = KITH_OK;
    ki_tree_walk_from(&walk, root_of(reading, table_of(table)), key_of(first, &number));
    for (const ki_tree_entry *entry; status == KITH_OK && (entry = ki_tree_next(&walk));)
        status = fn(context, read_number(ki_tree_key(entry).data), ki_tree_value(entry), error);
    return status;
}

static kith_status scan_named(ki_reading *reading, int64_t kind, ki_catalog_record_fn fn, void *context,
                              kith_error *error) {
    ki_tree_walk walk;
    number_key number;
    kith_status status = KITH_OK;
    ki_tree_walk_from(&walk, root_of(reading, RECORDS), key_of((uint64_t)kind, &number));
    for (const ki_tree_entry *entry; status == KITH_OK && (entry = ki_tree_next(&walk));) {
        const ki_bytes key = ki_tree_key(entry);
        const unsigned char *bytes = key.data;
        if (read_number(bytes) != (uint64_t)kind) break;
        status = fn(context, (ki_bytes){bytes + NUMBER_BYTES, key.bytes - NUMBER_BYTES}, ki_tree_value(entry), error);
    }
    return status;
}

/* ---- Keeping ----------------------------------------------------------------------------------------------------- */

static kith_status stamp(void *self, uint64_t *stamp, kith_error *error) {
    memory_keeper *memory = self;
    (void)error;
    pthread_mutex_lock(&memory->publishing);
    *stamp = memory->commits;
    pthread_mutex_unlock(&memory->publishing);
    return KITH_OK;
}

static uint64_t nothing_pending(void *self) {
    (void)self;
    return 0;
}

static kith_status sync_nothing(void *self, kith_error *error) {
    (void)self;
    (void)error;
    return KITH_OK;
}

static kith_status copy_item(void *context, const ki_catalog_item *item, kith_error *error) {
    return ki_catalog_put_item(context, item, error);
}

static kith_status copy_log(void *context, uint64_t number, ki_bytes body, kith_error *error) {
    return ki_catalog_append_log(context, number, body, error);
}

static kith_status copy_segment(void *context, uint64_t number, ki_bytes body, kith_error *error) {
    return ki_catalog_put_segment(context, number, body, error);
}

static kith_status copy_records(ki_reading *reading, ki_catalog *to, kith_error *error) {
    ki_tree_walk walk;
    kith_status status = KITH_OK;
    ki_tree_walk_from(&walk, root_of(reading, RECORDS), (ki_bytes){NULL, 0});
    for (const ki_tree_entry *entry; status == KITH_OK && (entry = ki_tree_next(&walk));) {
        const unsigned char *key = ki_tree_key(entry).data;
        const ki_bytes name = {key + NUMBER_BYTES, ki_tree_key(entry).bytes - NUMBER_BYTES};
        status = to->keeper->put_named(to->self, (int64_t)read_number(key), name, ki_tree_value(entry), error);
    }
    return status;
}

/* As a file, in one transaction. */
static kith_status copy(void *self, ki_reading *reading, const char *path, kith_error *error) {
    const ki_catalog_options options = {.create = 1};
    ki_catalog *to = NULL;
    (void)self;
    kith_status status = ki_catalog_open_sqlite(path, &options, &to, error);
    if (status != KITH_OK) return status;
    status = ki_catalog_begin(to, error);
    if (status == KITH_OK) status = scan_items(reading, 0, copy_item, to, error);
    if (status == KITH_OK) status = scan_numbered(reading, KI_LOG, 0, copy_log, to, error);
    if (status == KITH_OK) status = scan_numbered(reading, KI_SEGMENTS, 0, copy_segment, to, error);
    if (status == KITH_OK) status = copy_records(reading, to, error);
    if (status == KITH_OK) status = ki_catalog_commit(to, error);
    ki_catalog_close(to);
    if (status != KITH_OK) (void)ki_remove(path, NULL);
    return status;
}

/* There are no pages, and memory needs no checksums. */
static kith_status check(ki_reading *reading, kith_progress_fn progress, void *progress_context, kith_error *error) {
    const kith_progress state = {.stage = "checking the catalog", .unit = "bytes"};
    (void)reading;
    if (progress && progress(progress_context, &state))
        return ki_fail(error, KITH_E_CANCELLED, "the check of the catalog was cancelled");
    return KITH_OK;
}

static kith_status tidy(void *self, ki_catalog *catalog, kith_error *error) {
    (void)self;
    (void)catalog;
    (void)error;
    return KITH_OK;
}

static void sizes(void *self, uint64_t *disk_bytes, uint64_t *memory_bytes) {
    *disk_bytes = 0;
    *memory_bytes = atomic_load_explicit(&((memory_keeper *)self)->heap.bytes, memory_order_relaxed);
}

static void close_memory(void *self) {
    memory_keeper *memory = self;
    release(memory, &memory->own.state);
    release(memory, &memory->committed);
    pthread_mutex_destroy(&memory->publishing);
    free(memory);
}

static const ki_keeper MEMORY_KEEPER = {
    .close = close_memory,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .put_item = put_item,
    .remove_item = remove_item,
    .put_numbered = put_numbered,
    .remove_numbered = remove_numbered,
    .put_named = put_named,
    .remove_named = remove_named,
    .pending = nothing_pending,
    .settle = sync_nothing,
    .publish = sync_nothing,
    .own = own,
    .reading_create = reading_create,
    .reading_destroy = reading_destroy,
    .reading_start = reading_start,
    .reading_stop = reading_stop,
    .get_item = get_item,
    .find_text = find_text,
    .get_named = get_named,
    .scan_items = scan_items,
    .scan_expired = scan_expired,
    .next_expiry = next_expiry,
    .scan_numbered = scan_numbered,
    .scan_named = scan_named,
    .stamp = stamp,
    .sync = sync_nothing,
    .copy = copy,
    .check = check,
    .tidy = tidy,
    .sizes = sizes,
};

kith_status ki_catalog_open_memory(ki_catalog **catalog, kith_error *error) {
    if (!catalog) return ki_fail(error, KITH_E_ARG, "the place for a catalog is NULL");
    memory_keeper *made = ki_alloc_array_zeroed(1, sizeof *made);
    if (!made) return no_memory(error);
    made->own.memory = made;
    if (pthread_mutex_init(&made->publishing, NULL) != 0) {
        free(made);
        return no_memory(error);
    }
    const kith_status status = ki_catalog_make(&MEMORY_KEEPER, made, 0, catalog, error);
    if (status != KITH_OK) close_memory(made);
    return status;
}
