/* SPDX-License-Identifier: Apache-2.0
 *
 * Items as JSON, and the ends of calls. */
#include <string.h>

#include "native/inner.h"

void ks_v1_items_of(ks_v1_items *items, const ks_shop *shop, const kith_result *result, const kith_hits *hits,
                    unsigned with) {
    items->shop = shop;
    items->result = result;
    items->hits = hits;
    items->with = with;
    items->names = 0;
    for (size_t i = 0; with & KITH_WITH_VECTORS && i < shop->vector_count; i++) {
        kith_vector_spec spec;
        if (kith_collection_vector(shop->collection, i, &spec) == KITH_OK &&
            kith_result_vector_spec(result, spec.name, &items->specs[items->names]) == KITH_OK)
            items->names++;
    }
}

void ks_v1_id(const ks_shop *shop, const kith_hits *hits, size_t at, ks_json *json, const char *name) {
    if (shop->id_kind != KITH_ID_STRING) {
        ks_json_uint(json, name, hits->ids[at]);
        return;
    }
    const uint64_t begin = at ? hits->id_ends[at - 1] : 0;
    ks_json_bytes(json, name, hits->id_bytes + begin, (size_t)(hits->id_ends[at] - begin));
}

/* The vector of a name; null where the item lacks it. */
static void add_vector(const ks_v1_items *items, size_t number, size_t at, ks_json *json, const char *name) {
    const kith_vector_spec *spec = &items->specs[number];
    const uint8_t *present = NULL;
    const char *rows = kith_result_vectors(items->result, spec->name, &present);
    if (!rows || (present && !present[at])) {
        ks_json_null(json, name);
        return;
    }
    const char *row = rows + at * ks_v1_row_bytes(spec);
    if (spec->dtype != KITH_B1) {
        ks_json_floats(json, name, (const float *)(const void *)row, spec->dim);
        return;
    }
    ks_json_array(json, name);
    for (size_t i = 0; i < spec->dim / 8; i++) ks_json_uint(json, NULL, (unsigned char)row[i]);
    ks_json_array_end(json);
}

static void add_vectors(const ks_v1_items *items, size_t at, ks_json *json) {
    if (items->shop->vector_count == 1 && items->names == 1) {
        add_vector(items, 0, at, json, "vector");
        return;
    }
    ks_json_object(json, "vector");
    for (size_t i = 0; i < items->names; i++) add_vector(items, i, at, json, items->specs[i].name);
    ks_json_object_end(json);
}

void ks_v1_item(const ks_v1_items *items, size_t at, ks_json *json) {
    const kith_hits *hits = items->hits;
    ks_v1_id(items->shop, hits, at, json, "id");
    if (hits->distances) {
        const float distance = hits->distances[at];
        ks_json_float(json, "distance", distance < 0 || distance > 0 ? distance : 0); /* no minus zero */
    }
    if (hits->payload_bytes) {
        const uint64_t begin = at ? hits->payload_ends[at - 1] : 0;
        ks_json_verbatim(json, "payload", hits->payload_bytes + begin, (size_t)(hits->payload_ends[at] - begin));
    }
    if (hits->versions) ks_json_uint(json, "version", hits->versions[at]);
    if (hits->expires_ms && hits->expires_ms[at]) ks_json_uint(json, "expires_ms", hits->expires_ms[at]);
    if (items->with & KITH_WITH_VECTORS) add_vectors(items, at, json);
}

void ks_v1_written(ks_call *call) {
    if (call->reply.body.failed) ks_call_no_memory(call);
}

void ks_v1_report(ks_call *call, const kith_write_report *report) {
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "version", report->version);
    ks_json_uint(&json, "inserted", report->inserted);
    ks_json_uint(&json, "replaced", report->replaced);
    ks_json_uint(&json, "removed", report->removed);
    ks_json_uint(&json, "unmet", report->unmet);
    ks_json_object_end(&json);
    ks_v1_written(call);
}
