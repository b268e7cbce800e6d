/* SPDX-License-Identifier: Apache-2.0 */
#include "write/request.h"

#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "base/utf8.h"
#include "log/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { ITEM_BYTES = 64 }; /* about: of an operation besides what it holds */

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

ki_bytes ki_ids_text(const kith_ids *ids, size_t item) {
    if (!ids->id_ends) return (ki_bytes){0};
    const uint64_t begin = item ? ids->id_ends[item - 1] : 0;
    return (ki_bytes){ids->id_bytes + begin, (size_t)(ids->id_ends[item] - begin)};
}

/* As much of a string id as fits, without half a character. */
const char *ki_item_text(const kith_ids *ids, size_t item, char text[KI_ITEM_TEXT]) {
    if (!ids->id_ends) {
        snprintf(text, KI_ITEM_TEXT, "item %zu (id %llu)", item, (unsigned long long)ids->ids[item]);
        return text;
    }
    const ki_bytes id = ki_ids_text(ids, item);
    size_t bytes = ki_min_size(id.bytes, 64);
    const char *from = id.data;
    while (bytes && bytes < id.bytes && (from[bytes] & 0xC0) == 0x80) bytes--;
    snprintf(text, KI_ITEM_TEXT, "item %zu (id \"%.*s%s\")", item, (int)bytes, from, bytes < id.bytes ? "..." : "");
    return text;
}

static kith_status check_numbers(const kith_ids *ids, kith_error *error) {
    if (!ids->ids) return ki_fail(error, KITH_E_ARG, "ids.ids is NULL, but the collection's ids are numbers");
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] == KITH_ID_NONE)
            return ki_fail(error, KITH_E_DATA, "item %zu: 2^64-1 is reserved, and no id", i);
    return KITH_OK;
}

static kith_status check_texts(const kith_ids *ids, kith_error *error) {
    if (!ids->id_bytes || !ids->id_ends)
        return ki_fail(error, KITH_E_ARG, "ids.id_bytes or id_ends is NULL, but the collection's ids are strings");
    uint64_t begin = 0;
    for (size_t i = 0; i < ids->count; begin = ids->id_ends[i], i++) {
        const uint64_t end = ids->id_ends[i];
        if (end < begin) return ki_fail(error, KITH_E_ARG, "ids.id_ends: item %zu ends before it begins", i);
        if (end == begin) return ki_fail(error, KITH_E_DATA, "item %zu: its id is empty", i);
        if (end - begin > KITH_STRING_MAX)
            return ki_fail(error, KITH_E_LIMIT, "item %zu: its id is of %llu bytes: at most %u are possible", i,
                           (unsigned long long)(end - begin), KITH_STRING_MAX);
        if (!ki_utf8_valid(ids->id_bytes + begin, (size_t)(end - begin)))
            return ki_fail(error, KITH_E_DATA, "item %zu: its id is no UTF-8 without NUL", i);
    }
    return KITH_OK;
}

kith_status ki_ids_check(const ki_made *made, const kith_ids *ids, kith_error *error) {
    const int strings = made->id_kind == KITH_ID_STRING;
    if (strings ? ids->ids != NULL : ids->id_bytes || ids->id_ends)
        return ki_fail(error, KITH_E_ARG, "the collection's ids are %s, and others were given",
                       strings ? "strings" : "numbers");
    if (ids->count > KITH_ITEMS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%zu items: one call takes at most %llu", ids->count,
                       (unsigned long long)KITH_ITEMS_MAX);
    if (ids->count == 0) return KITH_OK;
    return strings ? check_texts(ids, error) : check_numbers(ids, error);
}

static uint64_t hash_of(const kith_ids *ids, size_t item) {
    if (!ids->id_ends) return XXH3_64bits(&ids->ids[item], sizeof(uint64_t));
    const ki_bytes text = ki_ids_text(ids, item);
    return XXH3_64bits(text.data, text.bytes);
}

static int same_id(const kith_ids *ids, size_t a, size_t b) {
    if (!ids->id_ends) return ids->ids[a] == ids->ids[b];
    const ki_bytes x = ki_ids_text(ids, a), y = ki_ids_text(ids, b);
    return x.bytes == y.bytes && memcmp(x.data, y.data, x.bytes) == 0;
}

/* Numbers that ascend, as most do that come in great numbers, need no table. */
static int ascending(const kith_ids *ids) {
    if (ids->id_ends) return ids->count < 2;
    for (size_t i = 1; i < ids->count; i++)
        if (ids->ids[i] <= ids->ids[i - 1]) return 0;
    return 1;
}

/* From the last item to the first, so that the last of equal ids finds its place free (Q1). */
static kith_status mark_superseded(ki_request *request, kith_error *error) {
    const kith_ids *ids = &request->ids;
    if (ascending(ids)) return KITH_OK;
    size_t slots = 16;
    while (slots < ids->count * 2) slots *= 2;
    uint32_t *slot = ki_alloc_array_zeroed(slots, sizeof(*slot)); /* an item's number + 1 */
    uint8_t *superseded = ki_alloc_array_zeroed(ids->count, 1);
    if (!slot || !superseded) {
        free(slot);
        free(superseded);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu ids", ids->count);
    }
    for (size_t i = ids->count; i-- > 0;) {
        size_t at = hash_of(ids, i) & (slots - 1);
        while (slot[at] && !same_id(ids, slot[at] - 1, i)) at = (at + 1) & (slots - 1);
        if (slot[at])
            superseded[i] = 1;
        else
            slot[at] = (uint32_t)i + 1;
    }
    free(slot);
    request->superseded = superseded;
    return KITH_OK;
}

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

const void *ki_request_vector(const ki_request *request, size_t vector, size_t item) {
    const ki_request_vectors *v = &request->vector[vector];
    return v->rows && (!v->present || v->present[item]) ? v->rows + item * v->stride : NULL;
}

static kith_status check_shape(const ki_vector *vector, const kith_item_vectors *given, size_t count,
                               kith_error *error) {
    const int bits = vector->dtype == KITH_B1;
    const size_t row_bytes = kith_row_bytes(given->dtype, given->dim);
    if (!row_bytes || bits != (given->dtype == KITH_B1))
        return ki_fail(error, KITH_E_ARG, "vector \"%s\" is of %s: rows of %s x %zu do not go in", vector->name,
                       bits ? "bits" : "numbers", kith_dtype_name(given->dtype), given->dim);
    if (given->dim != vector->dim)
        return ki_fail(error, KITH_E_ARG, "vector \"%s\" has %zu elements, and %zu were given", vector->name,
                       vector->dim, given->dim);
    if (given->stride_bytes && given->stride_bytes < row_bytes)
        return ki_fail(error, KITH_E_ARG, "vector \"%s\": stride_bytes is %zu, but a row has %zu", vector->name,
                       given->stride_bytes, row_bytes);
    uint64_t all;
    if (!ki_mul(given->stride_bytes ? given->stride_bytes : row_bytes, count, &all) || all > PTRDIFF_MAX)
        return ki_fail(error, KITH_E_LIMIT, "vector \"%s\": %zu rows are too many", vector->name, count);
    return !given->data && count ? ki_fail(error, KITH_E_ARG, "vector \"%s\": data is NULL", vector->name) : KITH_OK;
}

static kith_status take_rows(const ki_vector *vector, const kith_item_vectors *given, ki_request *request,
                             ki_request_vectors *to, kith_error *error) {
    const int as_it_is = given->dtype == vector->dtype;
    const size_t stride = given->stride_bytes ? given->stride_bytes : kith_row_bytes(given->dtype, given->dim);
    float *floats = ki_alloc_array(vector->dim, sizeof(float));
    unsigned char *rows = as_it_is ? NULL : ki_alloc_array(request->count, vector->row_bytes);
    kith_status status = floats && (rows || as_it_is)
                             ? KITH_OK
                             : ki_fail(error, KITH_E_NOMEM, "out of memory for %zu vectors", request->count);
    to->owned = rows;
    for (size_t i = 0; i < request->count && status == KITH_OK; i++) {
        char item[KI_ITEM_TEXT];
        kith_error own = {0};
        if (given->present && !given->present[i]) continue;
        request->bytes += vector->row_bytes;
        status = ki_convert_row(vector, given->dtype, (const unsigned char *)given->data + i * stride,
                                rows ? rows + i * vector->row_bytes : NULL, floats, "", &own);
        if (status != KITH_OK) status = ki_fail(error, status, "%s%s", ki_item_text(&request->ids, i, item), own.text);
    }
    to->rows = as_it_is ? given->data : rows;
    to->stride = as_it_is ? stride : vector->row_bytes;
    to->present = given->present;
    free(floats);
    return status;
}

/* The vectors of one name in one generation. */
static kith_status take_given(const kith_item_vectors *given, ki_request *request, kith_error *error) {
    const ki_generations *generations = request->generations;
    const ki_generation *generation = NULL;
    size_t slot = 0;
    kith_error own = {0};
    kith_status status = ki_generations_get(generations, given->generation, &generation, error);
    if (status == KITH_OK) status = ki_generations_slot(generations, generation, given->name, &slot, error);
    if (status != KITH_OK) return status;
    const ki_vector *vector = &generations->vector[slot];
    if (request->vector[slot].rows)
        return ki_fail(error, KITH_E_ARG, "vector \"%s\" is given twice%s", vector->name,
                       generations->count > 1 ? ", perhaps by two generations that share it" : "");
    status = check_shape(vector, given, request->count, &own);
    if (status != KITH_OK)
        return generations->count > 1
                   ? ki_fail(error, status, "%.400s (of generation %u)", own.text, (unsigned)generation->number)
                   : ki_fail(error, status, "%s", own.text);
    return request->count ? take_rows(vector, given, request, &request->vector[slot], error) : KITH_OK;
}

static kith_status take_vectors(const ki_generations *generations, const kith_items *items, ki_request *request,
                                kith_error *error) {
    kith_status status = KITH_OK;
    if (!items->vector_count) return KITH_OK;
    if (!items->vectors) return ki_fail(error, KITH_E_ARG, "%zu vectors, but vectors is NULL", items->vector_count);
    request->generations = generations;
    for (size_t v = 0; v < items->vector_count && status == KITH_OK; v++)
        status = take_given(&items->vectors[v], request, error);
    return status;
}

/* ---- Payloads ---------------------------------------------------------------------------------------------------- */

ki_bytes ki_request_payload(const ki_request *request, size_t item) {
    if (!request->payload_bytes) return (ki_bytes){0};
    const uint64_t begin = item ? request->payload_ends[item - 1] : 0;
    return (ki_bytes){request->payload_bytes + begin, (size_t)(request->payload_ends[item] - begin)};
}

/* A merge may hold null in place of a value, and is checked as it comes out. */
static kith_status check_payload(ki_request *request, size_t item, ki_values *values, kith_error *error) {
    char text[KI_ITEM_TEXT];
    kith_error own = {0};
    const ki_bytes payload = ki_request_payload(request, item);
    if (payload.bytes > KITH_PAYLOAD_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: its payload is of %zu bytes: at most %u are possible",
                       ki_item_text(&request->ids, item, text), payload.bytes, KITH_PAYLOAD_MAX);
    request->bytes += payload.bytes;
    if (payload.bytes == 0) return KITH_OK;
    const kith_status status = ki_values_of(request->schema, payload.data, payload.bytes, 1, values, &own);
    return status == KITH_OK ? status
                             : ki_fail(error, status, "%s: %s", ki_item_text(&request->ids, item, text), own.text);
}

static kith_status take_payloads(const kith_items *items, ki_request *request, kith_error *error) {
    ki_values values = {0};
    kith_status status = KITH_OK;
    uint64_t begin = 0;
    if (!items->payload_bytes) return KITH_OK;
    if (!items->payload_ends)
        return ki_fail(error, KITH_E_ARG, "payload_bytes without payload_ends: where do they end?");
    for (size_t i = 0; i < request->count; begin = items->payload_ends[i], i++)
        if (items->payload_ends[i] < begin)
            return ki_fail(error, KITH_E_ARG, "payload_ends: item %zu ends before it begins", i);
    request->payload_bytes = items->payload_bytes;
    request->payload_ends = items->payload_ends;
    for (size_t i = 0; i < request->count && status == KITH_OK; i++) status = check_payload(request, i, &values, error);
    ki_values_free(&values);
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

void ki_request_free(ki_request *request) {
    for (size_t v = 0; v < KITH_VECTORS_MAX; v++) free(request->vector[v].owned);
    free(request->superseded);
}

static void begin(ki_request *request, ki_verb verb) {
    memset(request, 0, sizeof(*request));
    request->verb = verb;
    request->report = (kith_write_report)KITH_WRITE_REPORT_INIT;
}

static kith_status take_ids(const kith_collection *collection, const kith_ids *ids, ki_request *request,
                            kith_error *error) {
    const kith_status status = ki_ids_check(&collection->made, ids, error);
    if (status != KITH_OK) return status;
    request->ids = *ids;
    request->count = ids->count;
    request->bytes = ids->count * ITEM_BYTES + (ids->count && ids->id_ends ? ids->id_ends[ids->count - 1] : 0);
    return mark_superseded(request, error);
}

kith_status ki_request_write(kith_collection *collection, const kith_items *given, kith_write_mode mode,
                             ki_request *request, kith_error *error) {
    kith_items items = KITH_ITEMS_INIT;
    begin(request, KI_VERB_WRITE);
    kith_status status = ki_grown_read(KI_GROWN_ITEMS, given, &items, error);
    if (status == KITH_OK && (unsigned)mode > KITH_MERGE)
        status = ki_fail(error, KITH_E_ARG, "mode is %d, which is none", (int)mode);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const ki_generations *generations = snapshot->generations; /* which live as long as the collection */
    request->schema = snapshot->schema;
    ki_snapshot_release(snapshot);
    request->mode = mode;
    request->if_version = items.if_version;
    request->expires_ms = items.expires_ms;
    status = take_ids(collection, &items.ids, request, error);
    if (status == KITH_OK) status = take_vectors(generations, &items, request, error);
    if (status == KITH_OK) status = take_payloads(&items, request, error);
    return status;
}

kith_status ki_request_remove(kith_collection *collection, const kith_ids *ids, const uint64_t *if_version,
                              ki_request *request, kith_error *error) {
    begin(request, KI_VERB_REMOVE);
    request->if_version = if_version;
    return take_ids(collection, ids, request, error);
}
