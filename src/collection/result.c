/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/result.h"

#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"

#include <string.h>

enum { WITH_ALL = KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS };

kith_status kith_result_create(kith_result **out, kith_error *error) {
    if (!out) return ki_fail(error, KITH_E_ARG, "kith_result_create: result is NULL");
    kith_result *result = ki_alloc_array_zeroed(1, sizeof(*result));
    if (!result) return ki_fail(error, KITH_E_NOMEM, "out of memory for a result");
    *out = result;
    return KITH_OK;
}

void kith_result_destroy(kith_result *result) {
    if (!result) return;
    ki_area *const all[] = {&result->ends,         &result->ids,       &result->distance,
                            &result->text_bytes,   &result->text_ends, &result->payload_bytes,
                            &result->payload_ends, &result->versions,  &result->expires};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]->data);
    for (size_t i = 0; i < result->vector_room; i++) {
        free(result->vectors[i].name.data);
        free(result->vectors[i].rows.data);
        free(result->vectors[i].present.data);
    }
    free(result->vectors);
    ki_found_free(&result->found);
    if (result->work) result->end_work(result->work);
    free(result);
}

/* ---- Putting it together ----------------------------------------------------------------------------------------- */

static kith_status no_memory(kith_result *result, kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a result of %zu items", result->count + 1);
}

void ki_result_forget(kith_result *result) {
    result->queries = result->count = 0;
    result->text_used = result->payload_used = 0;
}

/* Room for the vectors of each name; areas of earlier collections are taken over. */
static int reserve_vectors(kith_result *result, size_t count) {
    if (result->vector_room >= count) return 1;
    ki_result_vectors *grown = ki_alloc_array_zeroed(count, sizeof(*grown));
    if (!grown) return 0;
    if (result->vector_room) memcpy(grown, result->vectors, result->vector_room * sizeof(*grown));
    free(result->vectors);
    result->vectors = grown;
    result->vector_room = count;
    return 1;
}

static int begin_vectors(kith_result *result, const ki_generations *generations, const ki_generation *generation) {
    const size_t count = generations->made->vector_count;
    if (!reserve_vectors(result, count)) return 0;
    for (size_t i = 0; i < count; i++) {
        const ki_vector *from = &generations->vector[generation->slot[i]];
        ki_result_vectors *to = &result->vectors[i];
        const size_t name_bytes = strlen(from->name) + 1;
        if (!ki_area_take(&to->name, name_bytes, 1) || !ki_area_grow(&to->rows, 1, 1) ||
            !ki_area_grow(&to->present, 1, 1))
            return 0;
        memcpy(to->name.data, from->name, name_bytes);
        to->slot = generation->slot[i];
        to->spec = generations->spec[to->slot];
        to->spec.name = to->name.data;
        to->row_bytes = from->dtype == KITH_B1 ? from->row_bytes : from->dim * sizeof(float);
        result->vector_count = i + 1;
    }
    return 1;
}

kith_status ki_result_begin(kith_result *result, const ki_generations *generations, const ki_generation *generation,
                            unsigned with, int distances, kith_error *error) {
    if (with & ~(unsigned)WITH_ALL)
        return ki_fail(error, KITH_E_ARG, "`with` is %#x, which asks for more than kith %s knows (%#x)", with,
                       kith_version(), (unsigned)WITH_ALL);
    ki_result_forget(result);
    result->with = with;
    result->distances = distances;
    result->texts = generations->made->id_kind == KITH_ID_STRING;
    result->vector_count = 0;
    /* Arrays that were asked for are there, though nothing was found. */
    ki_area *const least[] = {&result->ends,      &result->ids,           &result->distance,
                              &result->text_ends, &result->payload_bytes, &result->payload_ends,
                              &result->versions,  &result->expires,       &result->text_bytes};
    for (size_t i = 0; i < sizeof(least) / sizeof(*least); i++)
        if (!ki_area_grow(least[i], 1, sizeof(uint64_t))) return no_memory(result, error);
    if ((with & KITH_WITH_VECTORS) && !begin_vectors(result, generations, generation)) return no_memory(result, error);
    return KITH_OK;
}

static int put_number(ki_area *area, size_t at, uint64_t value) {
    uint64_t *numbers = ki_area_grow(area, (uint64_t)at + 1, sizeof(*numbers));
    if (numbers) numbers[at] = value;
    return numbers != NULL;
}

/* Append bytes, whose end becomes number `at`. */
static int put_bytes(ki_area *area, uint64_t *used, ki_area *ends, size_t at, const char *bytes, size_t count) {
    char *all = ki_area_grow(area, *used + count, 1);
    if (!all || !put_number(ends, at, *used + count)) return 0;
    if (count) memcpy(all + *used, bytes, count);
    *used += count;
    return 1;
}

/* The string id. Where the place is a sealed one, in the table's memory. */
static ki_bytes text_of(const ki_snapshot *snapshot, const ki_place *place) {
    ki_bytes text = {0};
    if (place->head != SIZE_MAX) {
        const ki_head_view row = ki_head_row_at(snapshot->head[place->head].head, place->row);
        return (ki_bytes){row.text, row.text_bytes};
    }
    text.data = ki_table_text(snapshot->sealed[place->sealed].sealed->table, place->row, &text.bytes);
    return text;
}

/* Payload, version and expiry; they live until the next call. */
static kith_status read_item(kith_result *result, kith_collection *collection, const ki_snapshot *snapshot,
                             uint64_t key, const ki_place *place, ki_catalog_item *item, kith_error *error) {
    if (place->head != SIZE_MAX) {
        const ki_head_view row = ki_head_row_at(snapshot->head[place->head].head, place->row);
        *item = (ki_catalog_item){.key = key,
                                  .version = row.version,
                                  .expires_ms = row.expires_ms,
                                  .payload = {row.payload, row.payload_bytes}};
        return KITH_OK;
    }
    const kith_status status = ki_catalog_get_item(collection->catalog, key, &result->found, error);
    if (status == KITH_OK) *item = result->found.item;
    return status == KITH_E_NOTFOUND ? KITH_OK : status;
}

static kith_status put_item(kith_result *result, kith_collection *collection, const ki_snapshot *snapshot, uint64_t key,
                            const ki_place *place, kith_error *error) {
    ki_catalog_item item = {0};
    const kith_status status = read_item(result, collection, snapshot, key, place, &item, error);
    if (status != KITH_OK) return status;
    if ((result->with & KITH_WITH_PAYLOAD) &&
        !put_bytes(&result->payload_bytes, &result->payload_used, &result->payload_ends, result->count,
                   item.payload.data, item.payload.bytes))
        return no_memory(result, error);
    if ((result->with & KITH_WITH_VERSION) && (!put_number(&result->versions, result->count, item.version) ||
                                               !put_number(&result->expires, result->count, item.expires_ms)))
        return no_memory(result, error);
    return KITH_OK;
}

static kith_status put_vectors(kith_result *result, const ki_snapshot *snapshot, const ki_place *place,
                               kith_error *error) {
    for (size_t i = 0; i < result->vector_count; i++) {
        ki_result_vectors *vectors = &result->vectors[i];
        char *rows = ki_area_grow(&vectors->rows, (uint64_t)result->count + 1, vectors->row_bytes);
        uint8_t *present = ki_area_grow(&vectors->present, (uint64_t)result->count + 1, 1);
        if (!rows || !present) return no_memory(result, error);
        char *row = rows + result->count * vectors->row_bytes;
        const kith_status status = ki_snapshot_vector(snapshot, place, vectors->slot, row, NULL);
        present[result->count] = status == KITH_OK;
        if (status == KITH_E_NOTFOUND)
            memset(row, 0, vectors->row_bytes);
        else if (status != KITH_OK)
            return ki_snapshot_vector(snapshot, place, vectors->slot, row, error);
    }
    return KITH_OK;
}

kith_status ki_result_open(kith_result *result, kith_collection *collection, uint64_t sealed, kith_error *error) {
    if (sealed < 2 || !(result->with & (KITH_WITH_PAYLOAD | KITH_WITH_VERSION))) return KITH_OK;
    const kith_status status = ki_catalog_read_rows(collection->catalog, sealed, error);
    result->reading = status == KITH_OK;
    return status;
}

void ki_result_shut(kith_result *result, kith_collection *collection) {
    if (result->reading) ki_catalog_read_end(collection->catalog);
    result->reading = 0;
}

kith_status ki_result_put(kith_result *result, kith_collection *collection, const ki_snapshot *snapshot, uint64_t key,
                          const ki_place *place, float distance, kith_error *error) {
    float *distances = ki_area_grow(&result->distance, (uint64_t)result->count + 1, sizeof(*distances));
    if (!distances || !put_number(&result->ids, result->count, key)) return no_memory(result, error);
    distances[result->count] = distance;
    if (result->texts) {
        const ki_bytes text = text_of(snapshot, place);
        if (!put_bytes(&result->text_bytes, &result->text_used, &result->text_ends, result->count, text.data,
                       text.bytes))
            return no_memory(result, error);
    }
    kith_status status = KITH_OK;
    if (result->with & (KITH_WITH_PAYLOAD | KITH_WITH_VERSION))
        status = put_item(result, collection, snapshot, key, place, error);
    if (status == KITH_OK) status = put_vectors(result, snapshot, place, error);
    result->count += status == KITH_OK;
    return status;
}

kith_status ki_result_end_query(kith_result *result, kith_error *error) {
    if (!put_number(&result->ends, result->queries, result->count)) return no_memory(result, error);
    result->queries++;
    return KITH_OK;
}

/* ---- What callers see -------------------------------------------------------------------------------------------- */

kith_status kith_result_hits(const kith_result *result, kith_hits *hits) {
    if (!result || !hits) return KITH_E_ARG;
    const kith_status status = ki_grown_check(KI_GROWN_HITS, hits, NULL);
    if (status != KITH_OK) return status;
    kith_hits today = KITH_HITS_INIT;
    today.queries = result->queries;
    today.count = result->count;
    today.ends = result->ends.data;
    today.ids = result->ids.data;
    if (result->distances) today.distances = result->distance.data;
    if (result->texts) {
        today.id_bytes = result->text_bytes.data;
        today.id_ends = result->text_ends.data;
    }
    if (result->with & KITH_WITH_PAYLOAD) {
        today.payload_bytes = result->payload_bytes.data;
        today.payload_ends = result->payload_ends.data;
    }
    if (result->with & KITH_WITH_VERSION) {
        today.versions = result->versions.data;
        today.expires_ms = result->expires.data;
    }
    ki_grown_write(KI_GROWN_HITS, &today, hits);
    return KITH_OK;
}

/* NULL: nothing of that name was read. */
static const ki_result_vectors *find_vectors(const kith_result *result, const char *name) {
    for (size_t i = 0; i < result->vector_count; i++)
        if (strcmp(result->vectors[i].name.data, name ? name : "") == 0) return &result->vectors[i];
    return NULL;
}

const void *kith_result_vectors(const kith_result *result, const char *name, const uint8_t **present) {
    const ki_result_vectors *found = result ? find_vectors(result, name) : NULL;
    if (!found) return NULL;
    if (present) *present = found->present.data;
    return found->rows.data;
}

kith_status kith_result_vector_spec(const kith_result *result, const char *name, kith_vector_spec *spec) {
    if (!result || !spec) return KITH_E_ARG;
    const ki_result_vectors *found = find_vectors(result, name);
    if (!found) return KITH_E_NOTFOUND;
    *spec = found->spec;
    return KITH_OK;
}
