/* SPDX-License-Identifier: Apache-2.0 */
#include "write/commit.h"

#include "base/checked.h"
#include "base/status.h"
#include "log/convert.h"
#include "match/match.h"

#include <stdlib.h>
#include <string.h>

/* An item of a request, and what is known of the one that bears its id. */
struct item {
    size_t number;
    uint64_t key;
    ki_bytes text;
    int is_new; /* its string id has no key yet */
    int lives;
    ki_place place;             /* where, if it lives */
    const ki_catalog_item *old; /* what the catalog has of it, where that was asked for */
};

void ki_resolve_free(ki_batch *batch) {
    for (size_t v = 0; v < KITH_VECTORS_MAX; v++) free(batch->rows[v]);
    free(batch->floats);
    free(batch->merged.data);
    ki_log_free(&batch->body);
    ki_found_free(&batch->found);
    ki_values_free(&batch->values);
    ki_values_free(&batch->apply.values);
}

static kith_status find(ki_batch *batch, const ki_request *request, size_t number, struct item *item,
                        kith_error *error) {
    *item = (struct item){.number = number, .text = ki_ids_text(&request->ids, number)};
    if (batch->collection->made.id_kind == KITH_ID_U64) {
        item->key = request->ids.ids[number];
    } else {
        const kith_status status = ki_catalog_find_text(batch->collection->catalog, item->text, &item->key, error);
        item->is_new = status == KITH_E_NOTFOUND;
        if (status != KITH_OK && !item->is_new) return status;
    }
    item->lives = !item->is_new && ki_edit_find(batch->edit, item->key, &item->place);
    return KITH_OK;
}

/* What the catalog has of a live item. */
static kith_status look_up(ki_batch *batch, struct item *item, kith_error *error) {
    const kith_status status = ki_catalog_get_item(batch->collection->catalog, item->key, &batch->found, error);
    if (status == KITH_E_NOTFOUND)
        return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog lacks the item of key %llu, which has a row",
                       batch->collection->path, (unsigned long long)item->key);
    if (status == KITH_OK) item->old = &batch->found.item;
    return status;
}

/* *met: whether the item is to be written; a mode that it cannot have fails. */
static kith_status meets(ki_batch *batch, ki_request *request, struct item *item, int *met, kith_error *error) {
    const uint64_t wanted = request->if_version ? request->if_version[item->number] : KITH_VERSION_ANY;
    const int updates = request->verb == KI_VERB_WRITE && request->mode >= KITH_UPDATE;
    char text[KI_ITEM_TEXT];
    kith_status status = KITH_OK;
    *met = 1;
    if (item->lives && (wanted != KITH_VERSION_ANY || updates)) status = look_up(batch, item, error);
    if (status != KITH_OK) return status;
    if (wanted != KITH_VERSION_ANY && wanted != (item->lives ? item->old->version : 0)) {
        request->report.unmet++;
        *met = 0;
        return KITH_OK;
    }
    if (request->verb != KI_VERB_WRITE) return KITH_OK;
    if (request->mode == KITH_INSERT && item->lives)
        return ki_fail(error, KITH_E_DATA, "%s: is there already", ki_item_text(&request->ids, item->number, text));
    if (updates && !item->lives)
        return ki_fail(error, KITH_E_NOTFOUND, "%s: is not there", ki_item_text(&request->ids, item->number, text));
    return KITH_OK;
}

/* ---- What an update keeps ---------------------------------------------------------------------------------------- */

static kith_status keep_vector(ki_batch *batch, const struct item *item, size_t v, ki_log_operation *operation,
                               kith_error *error) {
    const ki_vector *vector = &batch->body.generations->vector[v];
    if (!batch->rows[v]) batch->rows[v] = ki_alloc_array(1, vector->row_bytes);
    if (!batch->floats) batch->floats = ki_alloc_array(KITH_DIM_MAX, sizeof(float));
    if (!batch->rows[v] || !batch->floats) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    const kith_status status = ki_snapshot_vector(ki_edit_state(batch->edit), &item->place, v, batch->floats, error);
    if (status == KITH_E_NOTFOUND) return KITH_OK; /* it lacks this one */
    if (status != KITH_OK) return status;
    ki_convert_back(vector, batch->floats, batch->rows[v]);
    operation->vector[v] = batch->rows[v];
    return KITH_OK;
}

/* The given payload, what was there, or one merged into the other. */
static kith_status choose_payload(ki_batch *batch, const ki_request *request, const struct item *item,
                                  ki_log_operation *operation, kith_error *error) {
    const ki_bytes given = ki_request_payload(request, item->number);
    char text[KI_ITEM_TEXT];
    kith_error own = {0};
    operation->payload = given.bytes || !item->old ? given : item->old->payload;
    if (given.bytes && request->mode == KITH_MERGE) {
        const ki_bytes old = item->old->payload;
        const kith_status merged = ki_payload_merge(old.data, old.bytes, given.data, given.bytes, &batch->merged, &own);
        if (merged != KITH_OK)
            return ki_fail(error, merged, "%s: %s", ki_item_text(&request->ids, item->number, text), own.text);
        operation->payload = (ki_bytes){batch->merged.data, batch->merged.bytes};
    }
    /* Checked before, unless it has changed, or the fields have. */
    const ki_schema *schema = batch->apply.schema;
    if (!given.bytes || (request->mode != KITH_MERGE && request->schema == schema)) return KITH_OK;
    const kith_status status =
        ki_values_of(schema, operation->payload.data, operation->payload.bytes, 1, &batch->values, &own);
    return status == KITH_OK
               ? status
               : ki_fail(error, status, "%s: %s", ki_item_text(&request->ids, item->number, text), own.text);
}

static kith_status put(ki_batch *batch, ki_request *request, const struct item *item, kith_error *error) {
    const int updates = request->mode >= KITH_UPDATE;
    ki_log_operation operation = {.kind = KI_LOG_PUT, .key = item->key, .text = item->text};
    if (request->expires_ms)
        operation.expires_ms = request->expires_ms[item->number];
    else if (updates)
        operation.expires_ms = item->old->expires_ms;
    kith_status status =
        choose_payload(batch, request, updates ? item : &(struct item){.number = item->number}, &operation, error);
    for (size_t v = 0; v < batch->body.generations->slots && status == KITH_OK; v++) {
        if (!ki_generations_uses(batch->body.generations, v)) continue; /* it is leaving */
        operation.vector[v] = ki_request_vector(request, v, item->number);
        if (!operation.vector[v] && updates) status = keep_vector(batch, item, v, &operation, error);
    }
    return status == KITH_OK ? ki_log_add(&batch->body, &operation, error) : status;
}

static kith_status resolve_item(ki_batch *batch, ki_request *request, size_t number, uint64_t *next_key,
                                kith_error *error) {
    struct item item;
    int met;
    kith_status status = find(batch, request, number, &item, error);
    if (status == KITH_OK) status = meets(batch, request, &item, &met, error);
    if (status != KITH_OK || !met) return status;
    if (request->verb == KI_VERB_REMOVE) {
        if (!item.lives) return KITH_OK;
        request->report.removed++;
        return ki_log_add(&batch->body, &(ki_log_operation){.kind = KI_LOG_REMOVE, .key = item.key}, error);
    }
    if (item.is_new) item.key = (*next_key)++;
    if (item.lives)
        request->report.replaced++;
    else
        request->report.inserted++;
    return put(batch, request, &item, error);
}

/* ---- Removing what matches, or what is over ---------------------------------------------------------------------- */

static kith_status remove_key(ki_batch *batch, ki_request *request, uint64_t key, kith_error *error) {
    if (batch->body.operations == KITH_ITEMS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "more than %llu items match: remove them in several steps",
                       (unsigned long long)KITH_ITEMS_MAX);
    request->report.removed++;
    return ki_log_add(&batch->body, &(ki_log_operation){.kind = KI_LOG_REMOVE, .key = key}, error);
}

/* The keys of the bits that are set. */
static kith_status remove_rows(ki_batch *batch, ki_request *request, const ki_bits *bits, const uint64_t *keys,
                               const ki_head *head, kith_error *error) {
    kith_status status = KITH_OK;
    for (uint64_t w = 0; w * 64 < bits->rows && status == KITH_OK; w++)
        for (uint64_t word = bits->word[w]; word && status == KITH_OK; word &= word - 1) {
            const uint64_t row = w * 64 + (unsigned)__builtin_ctzll(word);
            if (row < bits->rows)
                status = remove_key(batch, request, keys ? keys[row] : ki_head_key(head, (uint32_t)row), error);
        }
    return status;
}

/* Alone in its batch: the current snapshot is what the edit began with. */
static kith_status resolve_where(ki_batch *batch, ki_request *request, kith_error *error) {
    ki_snapshot *snapshot = ki_snapshot_pin(batch->collection);
    ki_match *match = NULL;
    kith_status status = ki_match_create(batch->collection, snapshot, request->filter, NULL, &match, error);
    for (size_t s = 0; s < snapshot->sealed_count && status == KITH_OK; s++) {
        const ki_bits *bits = ki_match_rows(match, s);
        status = remove_rows(batch, request, bits ? bits : snapshot->sealed[s].alive,
                             ki_table_keys(snapshot->sealed[s].sealed->table), NULL, error);
    }
    for (size_t h = 0; h < snapshot->head_count && status == KITH_OK; h++) {
        const ki_bits *bits = ki_match_serials(match, h);
        status = remove_rows(batch, request, bits ? bits : snapshot->head[h].live, NULL, snapshot->head[h].head, error);
    }
    ki_match_destroy(match);
    ki_snapshot_release(snapshot);
    return status;
}

/* What ends a scan that has enough; never seen outside. */
#define ENOUGH KITH_E_CANCELLED
enum { EXPIRED_MAX = 10000 };

struct expired {
    ki_batch *batch;
    ki_request *request;
};

static kith_status remove_expired(void *context, const ki_catalog_item *item, kith_error *error) {
    struct expired *expired = context;
    if (expired->batch->body.operations == EXPIRED_MAX) return ENOUGH;
    return remove_key(expired->batch, expired->request, item->key, error);
}

static kith_status resolve_expired(ki_batch *batch, ki_request *request, kith_error *error) {
    struct expired expired = {batch, request};
    const kith_status status = ki_catalog_scan_expired(batch->collection->catalog, batch->collection->now_ms(),
                                                       remove_expired, &expired, error);
    return status == ENOUGH ? KITH_OK : status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

kith_status ki_resolve(ki_batch *batch, ki_request *request, uint64_t *next_key, kith_error *error) {
    const kith_write_report none = KITH_WRITE_REPORT_INIT;
    request->report = none;
    request->stale = request->generations && request->generations != batch->body.generations;
    if (request->stale) return KITH_E_BUSY;
    *next_key = batch->next_key;
    kith_status status = ki_log_begin(&batch->body, batch->version + 1, error);
    if (request->verb == KI_VERB_REMOVE_WHERE && status == KITH_OK) status = resolve_where(batch, request, error);
    if (request->verb == KI_VERB_REMOVE_EXPIRED && status == KITH_OK) status = resolve_expired(batch, request, error);
    for (size_t i = 0; i < request->count && status == KITH_OK; i++)
        if (!request->superseded || !request->superseded[i]) status = resolve_item(batch, request, i, next_key, error);
    if (status == KITH_OK) status = ki_log_end(&batch->body, *next_key, error);
    return status;
}
