/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking vectors away from points: an item is written anew with what it has besides. */
#include "qdrant/inner.h"

#include <string.h>

static int is_named(const json_t *names, const char *name) {
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *text = json_string_value(json_array_get(names, i));
        if (text && strcmp(text, name) == 0) return 1;
    }
    return 0;
}

static int change(ks_qd_edit *edit, const kith_result *result, const kith_hits *hits, kith_items *items) {
    const ks_qd_place *place = edit->place;
    kith_item_vectors *vectors = ks_call_alloc(place->call, place->shop->vector_count * sizeof *vectors);
    if (!vectors) {
        ks_call_no_memory(place->call);
        return -1;
    }
    for (size_t i = 0; i < place->shop->vector_count; i++) {
        kith_vector_spec spec, read;
        const uint8_t *present;
        if (kith_collection_vector(place->shop->collection, i, &spec) != KITH_OK) continue;
        const void *rows = kith_result_vectors(result, spec.name, &present);
        if (!rows || is_named(edit->context, spec.name) || kith_result_vector_spec(result, spec.name, &read) != KITH_OK)
            continue;
        vectors[items->vector_count++] = (kith_item_vectors){.name = spec.name,
                                                             .data = rows,
                                                             .dtype = read.dtype == KITH_B1 ? KITH_B1 : KITH_F32,
                                                             .dim = read.dim,
                                                             .present = present};
    }
    items->vectors = vectors;
    items->payload_bytes = hits->payload_bytes;
    items->payload_ends = hits->payload_ends;
    items->expires_ms = hits->expires_ms;
    return 0;
}

int ks_qd_do_delete_vectors(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    static const char *const known[] = {"points", "filter", "vector", NULL};
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (ks_qd_only(place->call, body, known) < 0) return -1;
    const json_t *names = ks_qd_elements(place->call, ks_qd_get(body, "vector"), "vector");
    if (!names) return -1;
    for (size_t i = 0; i < json_array_size(names); i++) {
        kith_vector_spec spec;
        if (ks_qd_vector(place, json_string_value(json_array_get(names, i)), &spec) < 0) return -1;
    }
    if (kith_collection_get_info(place->shop->collection, &info) != KITH_OK || info.generations > 1) {
        ks_qd_not_offered(place->call, "to take vectors away while the collection has several generations");
        return -1;
    }
    ks_qd_edit edit = {.place = place,
                       .body = body,
                       .with = KITH_WITH_PAYLOAD | KITH_WITH_VECTORS,
                       .mode = KITH_UPSERT,
                       .change = change,
                       .context = names};
    const int status = ks_qd_edit_points(&edit);
    *version = edit.version;
    return status;
}

void ks_qd_delete_vectors(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_delete_vectors);
}
