/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a state: settings, segments and log that belong together, in one read of the catalog.
 *
 * R1. Segments with their dead rows, then the log: bodies apply themselves (apply.h), and what is in effect already
 *     changes nothing.
 * R2. A reader's catalog may move on while it reads: a file of a segment that was merged away meanwhile is gone. Then
 *     the catalog's stamp has changed, and it begins anew. */
#include "log/load.h"

#include "base/checked.h"
#include "base/status.h"
#include "log/apply.h"
#include "log/follow.h"
#include "log/measured.h"
#include "state/generations.h"

#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 100 };

kith_status ki_state_keep_schema(kith_collection *collection, ki_schema *schema, kith_error *error) {
    void *schemas = collection->schemas;
    size_t capacity = collection->schema_count;
    if (!ki_array_reserve(&schemas, &capacity, collection->schema_count + 1, sizeof(*collection->schemas)))
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    collection->schemas = schemas;
    collection->schemas[collection->schema_count++] = schema;
    return KITH_OK;
}

kith_status ki_state_keep_generations(kith_collection *collection, ki_generations *generations, kith_error *error) {
    void *all = collection->generations;
    size_t capacity = collection->generation_count;
    if (!ki_array_reserve(&all, &capacity, collection->generation_count + 1, sizeof(*collection->generations)))
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    collection->generations = all;
    collection->generations[collection->generation_count++] = generations;
    return KITH_OK;
}

/* A setting that every collection has. */
static kith_status get(kith_collection *collection, const char *name, ki_found *found, kith_error *error) {
    const kith_status status = ki_catalog_get_setting(collection->catalog, name, found, error);
    if (status != KITH_E_NOTFOUND) return status;
    return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog lacks the setting \"%s\"", collection->path, name);
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

struct replay {
    ki_apply apply;
    uint64_t version, next_key;
};

static kith_status replay_body(void *context, uint64_t sequence, ki_bytes body, kith_error *error) {
    struct replay *replay = context;
    kith_collection *collection = replay->apply.collection;
    ki_log_head head;
    const ki_generations *generations = ki_edit_state(replay->apply.edit)->generations;
    const kith_status status =
        ki_log_read(generations, collection->path, sequence, body, &head, ki_apply_operation, &replay->apply, error);
    if (status != KITH_OK) return status;
    if (head.version > replay->version) replay->version = head.version;
    if (head.next_key > replay->next_key) replay->next_key = head.next_key;
    return KITH_OK;
}

/* Publish the edit with the log beyond `after` applied; the edit is ended in either case. */
static kith_status replay_log(kith_collection *collection, ki_edit *edit, const ki_state *state, uint64_t after,
                              kith_error *error) {
    struct replay replay = {
        .apply = {.collection = collection, .edit = edit, .schema = ki_edit_state(edit)->schema, .check = 1},
        .version = state->version > after ? state->version : after,
        .next_key = state->next_key};
    uint64_t next_expiry_ms = 0;
    kith_status status = ki_catalog_scan_log(collection->catalog, after, replay_body, &replay, error);
    ki_values_free(&replay.apply.values);
    /* Segments do not tell when their items end. */
    if (status == KITH_OK) status = ki_catalog_next_expiry(collection->catalog, &next_expiry_ms, error);
    if (status != KITH_OK) {
        ki_edit_abandon(edit);
        return status;
    }
    collection->version = replay.version;
    if (replay.next_key > collection->next_key) collection->next_key = replay.next_key;
    collection->next_segment = state->next_segment;
    collection->edition = state->edition;
    ki_edit_set_next_expiry(edit, next_expiry_ms);
    ki_edit_publish(edit, replay.version);
    return KITH_OK;
}

/* ---- Fields and segments ----------------------------------------------------------------------------------------- */

static kith_status read_fields(kith_collection *collection, ki_edit *edit, ki_found *found, kith_error *error) {
    ki_schema *schema = NULL;
    kith_status status = get(collection, KI_SETTING_FIELDS, found, error);
    if (status == KITH_OK) status = ki_fields_decode(found->body, collection->path, &schema, error);
    const ki_schema *now = ki_edit_state(edit)->schema;
    if (status == KITH_OK && now && now->count == schema->count) { /* fields never go and never change */
        ki_schema_destroy(schema);
        return KITH_OK;
    }
    if (status == KITH_OK) status = ki_state_keep_schema(collection, schema, error);
    if (status == KITH_OK) return ki_edit_schema(edit, schema, error);
    ki_schema_destroy(schema);
    return status;
}

/* Before segments and log, whose vectors lie in the table's slots. */
static kith_status read_generations(kith_collection *collection, ki_edit *edit, kith_error *error) {
    ki_generations *read = NULL;
    kith_status status = ki_generations_read(collection->catalog, collection->path, &collection->made, &read, error);
    if (status == KITH_OK && read->edition == ki_edit_state(edit)->generations->edition) {
        free(read);
        return KITH_OK;
    }
    if (status == KITH_OK) status = ki_state_keep_generations(collection, read, error);
    if (status == KITH_OK) return ki_edit_generations(edit, read, error);
    free(read);
    return status;
}

struct segments {
    kith_collection *collection;
    ki_edit *edit;
};

/* Indexes never change, but one may go (slots.c). */
static int same_indexes(const ki_sealed *sealed, const ki_body *body) {
    for (size_t s = 0; s < KITH_VECTORS_MAX; s++)
        if ((sealed->index[s] != NULL) != (s < body->specs && body->index[s].name[0])) return 0;
    return 1;
}

/* A segment that the current state has open, if its files are those that the catalog names now. */
static ki_sealed *find_open(const kith_collection *collection, uint64_t number, const ki_body *body) {
    const ki_snapshot *current = collection->current;
    for (size_t s = 0; current && s < current->sealed_count; s++) {
        ki_sealed *sealed = current->sealed[s].sealed;
        if (sealed->number == number && ki_table_rows(sealed->table) == body->rows &&
            ki_table_hash(sealed->table) == body->table.hash && strcmp(sealed->table_name, body->table.name) == 0 &&
            same_indexes(sealed, body))
            return sealed;
    }
    return NULL;
}

/* Its dead rows may be others. *found: it was open, and is in the edit now. */
static kith_status reuse_segment(const struct segments *segments, uint64_t number, ki_bytes bytes, int *found,
                                 kith_error *error) {
    ki_body body;
    ki_bits *alive = NULL;
    *found = 0;
    if (!segments->collection->current) return KITH_OK;
    const kith_status status = ki_body_decode(bytes.data, bytes.bytes, number, &body, &alive, error);
    if (status != KITH_OK) return status;
    ki_sealed *sealed = find_open(segments->collection, number, &body);
    const kith_status asked = sealed ? ki_measured_same(segments->collection, sealed, found, error) : KITH_OK;
    if (asked != KITH_OK) {
        ki_bits_release(alive);
        return asked;
    }
    if (*found) sealed->saved_version = body.version;
    if (*found) return ki_edit_add_sealed(segments->edit, sealed, alive, error); /* which takes them over */
    ki_bits_release(alive);
    return KITH_OK;
}

static kith_status add_segment(void *context, uint64_t number, ki_bytes body, kith_error *error) {
    struct segments *segments = context;
    const kith_collection *collection = segments->collection;
    const ki_generations *generations = ki_edit_state(segments->edit)->generations;
    const ki_sealed_where where = ki_collection_where(collection, generations);
    ki_sealed *sealed = NULL;
    ki_bits *alive = NULL;
    int found;
    kith_status status = reuse_segment(segments, number, body, &found, error);
    if (status != KITH_OK || found) return status;
    status = ki_sealed_open(&where, number, body.data, body.bytes, &sealed, &alive, error);
    if (status != KITH_OK) return status;
    status = ki_measured_read(segments->collection, sealed, error);
    if (status != KITH_OK) {
        ki_bits_release(alive);
        ki_sealed_release(sealed);
        return status;
    }
    status = ki_edit_add_sealed(segments->edit, sealed, alive, error);
    if (status == KITH_OK) ki_edit_copy_hot(segments->edit, sealed);
    ki_sealed_release(sealed);
    return status;
}

/* Take all segments and heads out: what the catalog has is read anew. */
static kith_status clear(ki_edit *edit, kith_error *error) {
    const ki_snapshot *state = ki_edit_state(edit);
    kith_status status = ki_edit_freeze(edit, error);
    ki_edit_touch_all(edit);
    while (status == KITH_OK && state->sealed_count)
        status = ki_edit_remove_sealed(edit, state->sealed[0].sealed->number, error);
    while (status == KITH_OK && state->head_count > 1) status = ki_edit_remove_head(edit, state->head[0].head, error);
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status rebuild(kith_collection *collection, ki_edit *edit, ki_found *found, kith_error *error) {
    struct segments segments = {collection, edit};
    kith_status status = clear(edit, error);
    if (status == KITH_OK) status = read_fields(collection, edit, found, error);
    if (status == KITH_OK) status = read_generations(collection, edit, error);
    return status == KITH_OK ? ki_catalog_scan_segments(collection->catalog, add_segment, &segments, error) : status;
}

/* Between the catalog's read_begin and read_end. */
static kith_status load_once(kith_collection *collection, kith_error *error) {
    ki_found found = {0};
    ki_edit *edit = NULL;
    ki_state state;
    kith_status status = get(collection, KI_SETTING_STATE, &found, error);
    if (status == KITH_OK) status = ki_state_decode(found.body, collection->path, &state, error);
    if (status == KITH_OK) status = ki_edit_begin(collection, &edit, error);
    const int anew = !collection->current || (status == KITH_OK && state.edition != collection->edition);
    if (status == KITH_OK && anew) status = rebuild(collection, edit, &found, error);
    ki_found_free(&found);
    if (status == KITH_OK) return replay_log(collection, edit, &state, anew ? 0 : collection->version, error);
    ki_edit_abandon(edit);
    return status;
}

kith_status ki_state_load(kith_collection *collection, kith_error *error) {
    kith_error own = {0};
    uint64_t stamp = 0, now = 0;
    kith_status status = KITH_OK;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        status = ki_catalog_stamp(collection->catalog, &stamp, &own);
        if (status == KITH_OK) status = ki_catalog_read_begin(collection->catalog, &own);
        if (status != KITH_OK) break;
        status = load_once(collection, &own);
        if (status == KITH_OK && collection->options.read_only) status = ki_state_expire(collection, &own);
        ki_catalog_read_end(collection->catalog);
        if (status == KITH_OK) collection->stamp = stamp;
        if (status != KITH_E_CORRUPT || !collection->options.read_only) break;
        if (ki_catalog_stamp(collection->catalog, &now, NULL) != KITH_OK || now == stamp) break;
    }
    return status == KITH_OK ? status : ki_fail(error, status, "%s", own.text);
}
