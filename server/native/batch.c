/* SPDX-License-Identifier: Apache-2.0
 *
 * Points of bodies, gathered: columns of vectors by name and generation, payloads as text back to back. */
#include <stdlib.h>
#include <string.h>

#include "native/batch.h"

static void forget(void *context) {
    ks_v1_batch *batch = context;
    ks_text *const texts[] = {&batch->ids,  &batch->id_bytes, &batch->payloads,
                              &batch->ends, &batch->expires,  &batch->versions};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) ks_text_free(texts[i]);
    for (size_t i = 0; i < batch->columns; i++) {
        ks_text_free(&batch->column[i].rows);
        ks_text_free(&batch->column[i].present);
    }
}

ks_v1_batch *ks_v1_batch_make(ks_call *call, ks_shop *shop, kith_write_mode mode) {
    ks_v1_batch *batch = ks_call_alloc(call, sizeof *batch);
    if (batch) {
        batch->call = call;
        batch->shop = shop;
        batch->mode = mode;
        if (ks_call_defer(call, forget, batch) == 0) return batch;
    }
    ks_call_no_memory(call);
    return NULL;
}

void ks_v1_batch_clear(ks_v1_batch *batch) {
    ks_text *const texts[] = {&batch->ids,  &batch->id_bytes, &batch->payloads,
                              &batch->ends, &batch->expires,  &batch->versions};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) ks_text_clear(texts[i]);
    for (size_t i = 0; i < batch->columns; i++) {
        ks_text_clear(&batch->column[i].rows);
        ks_text_clear(&batch->column[i].present);
    }
    batch->count = 0;
    batch->has_payload = batch->has_expires = batch->has_versions = 0;
}

static void add_u64(ks_text *text, uint64_t number) {
    ks_text_add(text, &number, sizeof number);
}

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

static ks_v1_column *column_of(ks_v1_batch *batch, uint32_t generation, const char *name) {
    kith_vector_spec spec;
    if (ks_v1_spec(batch->call, batch->shop, generation, name, &spec) != 0) return NULL;
    for (size_t i = 0; i < batch->columns; i++)
        if (batch->column[i].generation == generation && strcmp(batch->column[i].spec.name, spec.name) == 0)
            return &batch->column[i];
    if (batch->columns == KITH_VECTORS_MAX) {
        ks_call_fail(batch->call, 400, "these points have vectors of more than %u names and generations",
                     KITH_VECTORS_MAX);
        return NULL;
    }
    batch->column[batch->columns] = (ks_v1_column){.spec = spec, .generation = generation};
    return &batch->column[batch->columns++];
}

/* Zeros for the items that lack it, up to item `count`. */
static void pad(ks_v1_column *column, size_t count) {
    const size_t row_bytes = ks_v1_row_bytes(&column->spec), have = column->present.used;
    const size_t bytes = (count - have) * row_bytes;
    char *rows = bytes ? ks_text_reserve(&column->rows, bytes) : NULL;
    char *present = bytes ? ks_text_reserve(&column->present, count - have) : NULL;
    if (!rows || !present) return;
    memset(rows, 0, bytes);
    memset(present, 0, count - have);
    column->rows.used += bytes;
    column->present.used += count - have;
}

static int add_vector(ks_v1_batch *batch, uint32_t generation, const char *name, const json_t *numbers,
                      const char *where) {
    char what[160];
    ks_v1_column *column = column_of(batch, generation, name);
    if (!column) return -1;
    snprintf(what, sizeof what, "%s: the vector%s%.64s", where, name ? " " : "", name ? name : "");
    pad(column, batch->count);
    char *row = ks_text_reserve(&column->rows, ks_v1_row_bytes(&column->spec));
    if (!row) {
        ks_call_no_memory(batch->call);
        return -1;
    }
    if (ks_v1_row(batch->call, &column->spec, numbers, what, row) != 0) return -1;
    column->rows.used += ks_v1_row_bytes(&column->spec);
    ks_text_add(&column->present, "\1", 1);
    return 0;
}

/* An array: the unnamed vector, or the only one; or an object of such by their names. */
static int add_named(ks_v1_batch *batch, uint32_t generation, const json_t *vector, const char *where) {
    if (!vector || json_is_null(vector)) return 0;
    if (!json_is_object(vector)) return add_vector(batch, generation, NULL, vector, where);
    json_t *named = (json_t *)(uintptr_t)vector; /* iterating changes nothing */
    for (void *at = json_object_iter(named); at; at = json_object_iter_next(named, at)) {
        if (json_is_null(json_object_iter_value(at))) continue;
        if (add_vector(batch, generation, json_object_iter_key(at), json_object_iter_value(at), where) != 0) return -1;
    }
    return 0;
}

/* "generations": {"2": a vector as above}: beside those of the point's own generation, in the same write. */
static int add_others(ks_v1_batch *batch, const json_t *point, uint64_t own, const char *where) {
    const json_t *given = NULL;
    if (ks_member_object(batch->call, point, "generations", &given) < 0) return -1;
    json_t *others = (json_t *)(uintptr_t)given;
    for (void *at = given ? json_object_iter(others) : NULL; at; at = json_object_iter_next(others, at)) {
        const char *key = json_object_iter_key(at);
        char *end = NULL;
        const unsigned long long number = *key >= '1' && *key <= '9' && strlen(key) <= 10 ? strtoull(key, &end, 10) : 0;
        if (!number || *end || number > UINT32_MAX || number == own) {
            ks_call_fail(batch->call, 400,
                         "%s: \"generations\" has \"%.32s\", which is no number of another generation", where, key);
            return -1;
        }
        if (add_named(batch, (uint32_t)number, json_object_iter_value(at), where) != 0) return -1;
    }
    return 0;
}

static int add_vectors(ks_v1_batch *batch, const json_t *point, const char *where) {
    uint64_t generation = 0;
    if (ks_member_uint(batch->call, point, "generation", UINT32_MAX, &generation) < 0) return -1;
    if (add_named(batch, (uint32_t)generation, json_object_get(point, "vector"), where) != 0) return -1;
    return add_others(batch, point, generation, where);
}

/* ---- The rest of a point ----------------------------------------------------------------------------------------- */

static int add_id(ks_v1_batch *batch, const json_t *point, const char *where) {
    const json_t *id = json_object_get(point, "id");
    const int strings = batch->shop->id_kind == KITH_ID_STRING;
    uint64_t number = 0;
    if (strings && json_is_string(id) && !ks_uint(id, &number) && !ks_is_numbers(id) && json_string_length(id) >= 1 &&
        json_string_length(id) <= KITH_STRING_MAX) {
        ks_text_add(&batch->id_bytes, json_string_value(id), json_string_length(id));
        add_u64(&batch->ids, batch->id_bytes.used);
        return 0;
    }
    if (!strings && ks_uint(id, &number) && number != KITH_ID_NONE) {
        add_u64(&batch->ids, number);
        return 0;
    }
    ks_call_fail(batch->call, 400, "%s: \"id\" must be %s, as the ids of \"%s\" are", where,
                 strings ? "a string of 1..4096 bytes" : "a whole number of 0..18446744073709551614",
                 batch->shop->name);
    return -1;
}

/* What the filter language finds at the segment field: the key with that name, or the path through objects. */
static const json_t *segment_of(const json_t *payload, const char *field) {
    const json_t *value = json_object_get(payload, field);
    if (value) return value;
    char part[KITH_STRING_MAX + 1];
    for (const char *dot; (dot = strchr(field, '.')); field = dot + 1) {
        const size_t bytes = (size_t)(dot - field);
        if (bytes > KITH_STRING_MAX) return NULL;
        memcpy(part, field, bytes);
        part[bytes] = 0;
        payload = json_object_get(payload, part);
    }
    return json_object_get(payload, field);
}

static int add_payload(ks_v1_batch *batch, const json_t *point, const char *where) {
    const json_t *payload = NULL;
    const char *bound = batch->call->key->segment;
    if (ks_member_object(batch->call, point, "payload", &payload) < 0) return -1;
    const json_t *segment = bound && payload ? segment_of(payload, batch->shop->segment_field) : NULL;
    const int own = json_is_string(segment) && strcmp(json_string_value(segment), bound) == 0;
    if (bound && !own &&
        (segment || batch->mode == KITH_UPSERT || batch->mode == KITH_INSERT ||
         (payload && batch->mode == KITH_UPDATE))) {
        ks_call_fail(batch->call, 403, "%s: this key is bound to a segment, and \"%s\" of the payload must be it",
                     where, batch->shop->segment_field);
        return -1;
    }
    ks_json json = KS_JSON(&batch->payloads);
    if (payload) ks_json_value(&json, NULL, payload);
    batch->has_payload |= payload != NULL;
    add_u64(&batch->ends, batch->payloads.used);
    return 0;
}

static int add_times(ks_v1_batch *batch, const json_t *point) {
    uint64_t expires_ms = 0, version = KITH_VERSION_ANY;
    const int expires = ks_member_uint(batch->call, point, "expires_ms", UINT64_MAX - 1, &expires_ms);
    const int versions = ks_member_uint(batch->call, point, "if_version", UINT64_MAX - 1, &version);
    if (expires < 0 || versions < 0) return -1;
    batch->has_expires |= expires;
    batch->has_versions |= versions;
    add_u64(&batch->expires, expires_ms);
    add_u64(&batch->versions, version);
    return 0;
}

int ks_v1_batch_add(ks_v1_batch *batch, const json_t *point, const char *where) {
    static const char *const known[] = {"id",         "vector",     "payload",     "expires_ms",
                                        "if_version", "generation", "generations", NULL};
    if (!json_is_object(point)) {
        ks_call_fail(batch->call, 400, "%s is no object with an \"id\"", where);
        return -1;
    }
    if (ks_members_only(batch->call, point, known) != 0 || add_id(batch, point, where) != 0 ||
        add_vectors(batch, point, where) != 0 || add_payload(batch, point, where) != 0 || add_times(batch, point) != 0)
        return -1;
    batch->count++;
    return 0;
}

/* ---- Whole ------------------------------------------------------------------------------------------------------- */

static const uint64_t *numbers(const ks_text *text) {
    return (const uint64_t *)(const void *)text->bytes;
}

int ks_v1_batch_items(ks_v1_batch *batch, kith_items *items, kith_item_vectors *vectors) {
    *items = (kith_items)KITH_ITEMS_INIT;
    const int strings = batch->shop->id_kind == KITH_ID_STRING;
    items->ids = (kith_ids){.count = batch->count, .ids = strings ? NULL : numbers(&batch->ids)};
    if (strings) items->ids.id_bytes = batch->id_bytes.bytes;
    if (strings) items->ids.id_ends = numbers(&batch->ids);
    if (batch->has_payload) items->payload_bytes = batch->payloads.bytes;
    if (batch->has_payload) items->payload_ends = numbers(&batch->ends);
    if (batch->has_expires) items->expires_ms = numbers(&batch->expires);
    if (batch->has_versions) items->if_version = numbers(&batch->versions);
    items->vectors = vectors;
    int failed = batch->ids.failed | batch->id_bytes.failed | batch->payloads.failed | batch->ends.failed |
                 batch->expires.failed | batch->versions.failed;
    for (size_t i = 0; i < batch->columns; i++) {
        ks_v1_column *column = &batch->column[i];
        if (column->present.used == 0 && !column->present.failed) continue; /* of an earlier batch */
        pad(column, batch->count);
        failed |= column->rows.failed | column->present.failed;
        vectors[items->vector_count++] = (kith_item_vectors){
            .name = column->spec.name,
            .data = column->rows.bytes,
            .dtype = column->spec.dtype == KITH_B1 ? KITH_B1 : KITH_F32,
            .generation = column->generation,
            .dim = column->spec.dim,
            .present = (const uint8_t *)column->present.bytes,
        };
    }
    return failed ? -1 : 0;
}

kith_status ks_v1_batch_write(ks_v1_batch *batch, kith_write_report *report) {
    kith_items items;
    kith_item_vectors vectors[KITH_VECTORS_MAX];
    kith_error error = {0};
    if (ks_v1_batch_items(batch, &items, vectors) != 0) {
        ks_call_no_memory(batch->call);
        return KITH_E_NOMEM;
    }
    if (batch->call->key->segment) return ks_v1_bound_write(batch, &items, report);
    const kith_status status = kith_collection_write(batch->shop->collection, &items, batch->mode, report, &error);
    if (status != KITH_OK) ks_call_fail_status(batch->call, status, &error);
    return status;
}

int ks_v1_mode(ks_call *call, const char *word, kith_write_mode *mode) {
    static const struct {
        const char *word;
        kith_write_mode mode;
    } modes[] = {{"upsert", KITH_UPSERT}, {"insert", KITH_INSERT}, {"update", KITH_UPDATE}, {"merge", KITH_MERGE}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].word, word) != 0) continue;
        *mode = modes[i].mode;
        return 0;
    }
    ks_call_fail(call, 400, "\"mode\" must be \"upsert\", \"insert\", \"update\" or \"merge\"");
    return -1;
}
