/* SPDX-License-Identifier: Apache-2.0
 *
 * Which collections there are, and what one is like. */
#include "qdrant/settings.h"

#include <string.h>

void ks_qd_collections(ks_call *call, void *context) {
    ks_app *app = ks_app_of(call);
    ks_json json = ks_qd_reply(call);
    (void)context;
    ks_json_object(&json, "result");
    ks_json_array(&json, "collections");
    for (size_t i = 0;; i++) {
        ks_shop *shop = ks_shelf_at(app->shelf, i);
        if (!shop) break;
        if (ks_key_may_name(call->key, shop->name)) {
            ks_json_object(&json, NULL);
            ks_json_text(&json, "name", shop->name);
            ks_json_object_end(&json);
        }
        ks_shelf_return(app->shelf, shop);
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

void ks_qd_collection_exists(ks_call *call, void *context) {
    ks_shop *shop = NULL;
    kith_error error = {0};
    ks_app *app = ks_app_of(call);
    (void)context;
    if (!ks_qd_may_name(call, call->parts[0])) return;
    const kith_status status = ks_shelf_borrow(app->shelf, call->parts[0], &shop, &error);
    if (status != KITH_OK && status != KITH_E_NOTFOUND) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    const int there = status == KITH_OK && ks_key_may_name(call->key, shop->name);
    ks_shelf_return(app->shelf, shop);
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    ks_json_bool(&json, "exists", there);
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

/* ---- One collection */

typedef struct showing {
    ks_qd_place place;
    kith_collection_info info;
    json_t *settings;
    ks_json json;
} showing;

static void put_number(showing *s, const json_t *part, const char *name, uint64_t otherwise) {
    const json_t *value = ks_qd_get(part, name);
    if (value)
        ks_json_value(&s->json, name, value);
    else
        ks_json_uint(&s->json, name, otherwise);
}

/* Members of a part that nothing stands in for when they were not said. */
static void put_said(showing *s, const json_t *part, const char *const *names) {
    for (size_t i = 0; names[i]; i++) {
        const json_t *value = ks_qd_get(part, names[i]);
        if (value) ks_json_value(&s->json, names[i], value);
    }
}

static const char *distance_name(kith_metric metric) {
    return metric == KITH_COSINE ? "Cosine" : metric == KITH_L2SQ ? "Euclid" : "Dot";
}

static void put_vector(showing *s, const kith_vector_spec *spec, const char *name) {
    static const char *const said[] = {"hnsw_config", "quantization_config", "on_disk", "memory", NULL};
    const json_t *kept = json_object_get(json_object_get(s->settings, "vectors"), spec->name);
    ks_json_object(&s->json, name);
    ks_json_uint(&s->json, "size", spec->dim);
    ks_json_text(&s->json, "distance", distance_name(spec->metric));
    put_said(s, kept, said);
    if (spec->dtype == KITH_F16) ks_json_text(&s->json, "datatype", "float16");
    if (spec->dtype == KITH_U8) ks_json_text(&s->json, "datatype", "uint8");
    ks_json_object_end(&s->json);
}

static void put_params(showing *s) {
    static const char *const said[] = {"read_fan_out_factor", "read_fan_out_delay_ms", "payload", "id_tracker", NULL};
    kith_vector_spec spec = {0};
    const ks_shop *shop = s->place.shop;
    const int plain =
        shop->vector_count == 1 && kith_collection_vector(shop->collection, 0, &spec) == KITH_OK && !spec.name[0];
    ks_json_object(&s->json, "params");
    if (plain) {
        put_vector(s, &spec, "vectors");
    } else {
        ks_json_object(&s->json, "vectors");
        for (size_t i = 0; i < shop->vector_count; i++) {
            if (kith_collection_vector(shop->collection, i, &spec) == KITH_OK) put_vector(s, &spec, spec.name);
        }
        ks_json_object_end(&s->json);
    }
    put_number(s, s->settings, "shard_number", 1);
    put_number(s, s->settings, "replication_factor", 1);
    put_number(s, s->settings, "write_consistency_factor", 1);
    ks_json_bool(&s->json, "on_disk_payload", !json_is_false(json_object_get(s->settings, "on_disk_payload")));
    put_said(s, s->settings, said);
    ks_json_object_end(&s->json);
}

/* Qdrant's defaults, or what was said: kith has its own ways. */
static void put_config(showing *s) {
    static const char *const of_hnsw[] = {"on_disk", "memory", "payload_m", "inline_storage", NULL};
    static const char *const of_optimizer[] = {"max_segment_size", "memmap_threshold", "max_optimization_threads",
                                               "prevent_unoptimized", NULL};
    static const char *const of_wal[] = {"wal_retain_closed", NULL};
    static const char *const others[] = {"quantization_config", "metadata", NULL};
    const json_t *hnsw = ks_qd_get(s->settings, "hnsw_config"), *wal = ks_qd_get(s->settings, "wal_config");
    const json_t *optimizer = ks_qd_get(s->settings, "optimizers_config");
    ks_json_object(&s->json, "config");
    put_params(s);
    ks_json_object(&s->json, "hnsw_config");
    put_number(s, hnsw, "m", 16);
    put_number(s, hnsw, "ef_construct", 100);
    put_number(s, hnsw, "full_scan_threshold", 10000);
    put_number(s, hnsw, "max_indexing_threads", 0);
    put_said(s, hnsw, of_hnsw);
    ks_json_object_end(&s->json);
    ks_json_object(&s->json, "optimizer_config");
    if (!ks_qd_get(optimizer, "deleted_threshold")) ks_json_real(&s->json, "deleted_threshold", 0.2);
    if (ks_qd_get(optimizer, "deleted_threshold")) put_number(s, optimizer, "deleted_threshold", 0);
    put_number(s, optimizer, "vacuum_min_vector_number", 1000);
    put_number(s, optimizer, "default_segment_number", 0);
    put_number(s, optimizer, "indexing_threshold", 10000);
    put_number(s, optimizer, "flush_interval_sec", 5);
    put_said(s, optimizer, of_optimizer);
    ks_json_object_end(&s->json);
    ks_json_object(&s->json, "wal_config");
    put_number(s, wal, "wal_capacity_mb", 32);
    put_number(s, wal, "wal_segments_ahead", 0);
    put_said(s, wal, of_wal);
    ks_json_object_end(&s->json);
    put_said(s, s->settings, others);
    ks_json_object_end(&s->json);
}

static const char *type_name(kith_field_type type) {
    switch (type) {
    case KITH_FIELD_INT:
        return "integer";
    case KITH_FIELD_FLOAT:
        return "float";
    case KITH_FIELD_BOOL:
        return "bool";
    case KITH_FIELD_TIME:
        return "datetime";
    case KITH_FIELD_TAG:
    case KITH_FIELD_TAGS:
    default:
        return "keyword";
    }
}

/* How many points have a field; 0, or -1: failed. */
static int count_with(const ks_qd_place *place, const char *field, uint64_t *count) {
    ks_text text = {0};
    ks_json json = KS_JSON(&text);
    kith_error error = {0};
    ks_json_object(&json, NULL);
    ks_json_object(&json, "must_not");
    ks_json_object(&json, "is_empty");
    ks_json_text(&json, "key", field);
    ks_json_object_end(&json);
    ks_json_object_end(&json);
    ks_json_object_end(&json);
    ks_text_add(&text, "", 1);
    const kith_status status =
        text.failed ? KITH_E_NOMEM : kith_collection_count(place->shop->collection, text.bytes, count, &error);
    ks_text_free(&text);
    if (status == KITH_OK) return 0;
    ks_call_fail_status(place->call, status, &error);
    return -1;
}

static int put_schema(showing *s) {
    const json_t *indexes = json_object_get(s->settings, "indexes");
    kith_field field;
    ks_json_object(&s->json, "payload_schema");
    for (size_t i = 0; kith_collection_field(s->place.shop->collection, i, &field) == KITH_OK; i++) {
        const json_t *said = json_object_get(indexes, field.name);
        uint64_t points = 0;
        if (json_is_false(said)) continue;
        if (count_with(&s->place, field.name, &points) < 0) return -1;
        ks_json_object(&s->json, field.name);
        ks_json_text(&s->json, "data_type", json_is_string(said) ? json_string_value(said) : type_name(field.type));
        ks_json_uint(&s->json, "points", points);
        ks_json_object_end(&s->json);
    }
    ks_json_object_end(&s->json);
    return 0;
}

/* What was asked for and is not there. */
static void put_warnings(showing *s) {
    const json_t *sparse = ks_qd_get(s->settings, "sparse_vectors");
    ks_json_array(&s->json, "warnings");
    if (json_object_size(sparse) > 0) {
        ks_json_object(&s->json, NULL);
        ks_json_text(&s->json, "message",
                     "kith does not offer sparse vectors: those that were announced are not there, and writing or "
                     "searching them is refused");
        ks_json_object_end(&s->json);
    }
    if (s->info.trouble && s->info.trouble[0]) {
        ks_json_object(&s->json, NULL);
        ks_json_text(&s->json, "message", s->info.trouble);
        ks_json_object_end(&s->json);
    }
    ks_json_array_end(&s->json);
}

static void show(showing *s) {
    uint64_t points = s->info.items;
    const char *where = NULL;
    kith_error error = {0};
    if (s->place.segment && (ks_qd_where(&s->place, NULL, NULL, 1, &where) < 0 ||
                             kith_collection_count(s->place.shop->collection, where, &points, &error) != KITH_OK)) {
        ks_call_fail(s->place.call, 500, "the points of the key's segment could not be counted");
        return;
    }
    s->json = ks_qd_reply(s->place.call);
    ks_json_object(&s->json, "result");
    ks_json_text(&s->json, "status", s->info.trouble && s->info.trouble[0] ? "red" : "green");
    ks_json_text(&s->json, "optimizer_status", "ok");
    put_warnings(s);
    ks_json_uint(&s->json, "points_count", points);
    ks_json_uint(&s->json, "indexed_vectors_count", points);
    ks_json_uint(&s->json, "segments_count", s->info.segments + 1);
    put_config(s);
    if (put_schema(s) < 0) return;
    ks_json_object_end(&s->json);
    ks_qd_reply_end(s->place.call, &s->json);
}

void ks_qd_collection_get(ks_call *call, void *context) {
    showing s = {.info = KITH_COLLECTION_INFO_INIT};
    (void)context;
    if (ks_qd_enter(call, &s.place) < 0) return;
    s.settings = ks_qd_settings_read(&s.place);
    if (!s.settings) return;
    if (kith_collection_get_info(s.place.shop->collection, &s.info) == KITH_OK)
        show(&s);
    else
        ks_call_fail(call, 500, "the collection could not be looked at");
    json_decref(s.settings);
}
