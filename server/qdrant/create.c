/* SPDX-License-Identifier: Apache-2.0
 *
 * Making, changing and dropping collections.
 *
 * What kith decides by itself (the index and its parameters, quantisation, where vectors lie, shards, replicas) is
 * taken and told again, without effect. What would change answers is refused: other distances, multivectors, and strict
 * mode. Sparse vectors may be announced, as some clients always do, and come back as a warning; none can be written. */
#include "qdrant/settings.h"

#include <string.h>

typedef struct making {
    ks_call *call;
    kith_vector_spec *specs;
    size_t count;
} making;

static int take_distance(ks_call *call, const json_t *value, kith_metric *metric) {
    static const struct {
        const char *name;
        kith_metric metric;
    } known[] = {{"Cosine", KITH_COSINE}, {"Dot", KITH_IP}, {"Euclid", KITH_L2SQ}};
    const char *name = json_is_string(value) ? json_string_value(value) : "";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i].name) != 0) continue;
        *metric = known[i].metric;
        return 0;
    }
    ks_call_fail(call, 400, "Wrong input: kith does not offer the distance `%.40s`: Cosine, Dot and Euclid are", name);
    return -1;
}

static int take_datatype(ks_call *call, const json_t *value, kith_dtype *dtype) {
    static const struct {
        const char *name;
        kith_dtype dtype;
    } known[] = {{"float32", KITH_F32}, {"float16", KITH_F16}, {"uint8", KITH_U8}};
    const char *name = value ? json_string_value(value) : "float32";
    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i].name) != 0) continue;
        *dtype = known[i].dtype;
        return 0;
    }
    ks_call_fail(call, 400, "Wrong input: kith does not offer the datatype `%.40s`: float32, float16 and uint8 are",
                 name ? name : "");
    return -1;
}

static int take_vector(making *m, const char *name, const json_t *value) {
    static const char *const known[] = {"size",    "distance", "hnsw_config",        "quantization_config",
                                        "on_disk", "datatype", "multivector_config", "memory",
                                        NULL};
    kith_vector_spec *spec = &m->specs[m->count];
    uint64_t size = 0;
    if (ks_qd_only(m->call, value, known) < 0) return -1;
    if (ks_qd_get(value, "multivector_config")) {
        ks_call_fail(m->call, 400, "Wrong input: kith does not offer multivectors (`%s`)", name);
        return -1;
    }
    if (ks_member_uint(m->call, value, "size", KITH_DIM_MAX, &size) < 0) return -1;
    if (size == 0) {
        ks_call_fail(m->call, 400, "Wrong input: the vector `%s` must have a size of 1 to %u", name, KITH_DIM_MAX);
        return -1;
    }
    spec->name = name;
    spec->dim = (size_t)size;
    if (take_distance(m->call, ks_qd_get(value, "distance"), &spec->metric) < 0 ||
        take_datatype(m->call, ks_qd_get(value, "datatype"), &spec->dtype) < 0)
        return -1;
    m->count++;
    return 0;
}

/* One vector without a name, or an object of named ones. */
static int take_vectors(making *m, const json_t *vectors) {
    const char *name;
    json_t *value;
    const size_t count = json_is_object(vectors) ? json_object_size(vectors) : 0;
    if (count == 0 || (count > KITH_VECTORS_MAX && !ks_qd_get(vectors, "size"))) {
        ks_call_fail(m->call, 400,
                     "Wrong input: a collection must have 1 to %u dense vectors: kith does not offer "
                     "collections of payloads or sparse vectors alone",
                     KITH_VECTORS_MAX);
        return -1;
    }
    m->specs = ks_call_alloc(m->call, count * sizeof *m->specs);
    if (!m->specs) {
        ks_call_no_memory(m->call);
        return -1;
    }
    if (json_is_integer(ks_qd_get(vectors, "size"))) return take_vector(m, "", vectors);
    json_object_foreach((json_t *)(uintptr_t)vectors, name, value) {
        if (take_vector(m, name, value) < 0) return -1;
    }
    return 0;
}

static int check_body(ks_call *call, const json_t *body) {
    static const char *const known[] = {"vectors",
                                        "shard_number",
                                        "sharding_method",
                                        "payload",
                                        "replication_factor",
                                        "write_consistency_factor",
                                        "id_tracker",
                                        "on_disk_payload",
                                        "hnsw_config",
                                        "wal_config",
                                        "optimizers_config",
                                        "quantization_config",
                                        "sparse_vectors",
                                        "strict_mode_config",
                                        "metadata",
                                        NULL};
    if (ks_qd_only(call, body, known) < 0) return -1;
    const json_t *strict = ks_qd_get(body, "strict_mode_config"), *method = ks_qd_get(body, "sharding_method");
    if (strict && json_is_true(json_object_get(strict, "enabled"))) {
        ks_qd_not_offered(call, "strict mode: the server's own limits hold");
        return -1;
    }
    if (method && json_is_string(method) && strcmp(json_string_value(method), "auto") != 0) {
        ks_qd_not_offered(call, "custom sharding");
        return -1;
    }
    return 0;
}

/* What is told again, of a body that made the collection. */
static json_t *settings_of(const json_t *body) {
    const json_t *vectors = ks_qd_get(body, "vectors");
    json_t *settings = ks_qd_settings_copy(body);
    if (settings && json_is_integer(ks_qd_get(vectors, "size"))) {
        json_t *unnamed = json_pack("{s:O}", "", json_object_get(settings, "vectors"));
        if (!unnamed || json_object_set_new(settings, "vectors", unnamed) < 0) {
            json_decref(settings);
            settings = NULL;
        }
    }
    return settings;
}

static int exists(ks_call *call, const char *name) {
    ks_shop *shop = NULL;
    ks_app *app = ks_app_of(call);
    kith_error error = {0};
    if (ks_shelf_borrow(app->shelf, name, &shop, &error) != KITH_OK) return 0;
    ks_shelf_return(app->shelf, shop);
    return 1;
}

/* Whether collections may be made and dropped here, and by this key. */
static int may_manage(ks_call *call) {
    if (!ks_qd_may_write(call) || !ks_qd_may_name(call, call->parts[0]) || !ks_qd_may_all(call)) return 0;
    if (!ks_shelf_is_one(ks_app_of(call)->shelf)) return 1;
    ks_call_fail(call, 403, "Forbidden: this server has the folder of one collection, so none is made or dropped");
    return 0;
}

void ks_qd_collection_create(ks_call *call, void *context) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    kith_error error = {0};
    ks_qd_place place;
    making m = {.call = call};
    (void)context;
    if (!may_manage(call)) return;
    const json_t *body = ks_body(call, "a JSON object with vectors");
    if (!body || check_body(call, body) < 0 || take_vectors(&m, ks_qd_get(body, "vectors")) < 0) return;
    options.id_kind = KITH_ID_STRING;
    options.vectors = m.specs;
    options.vector_count = m.count;
    if (exists(call, call->parts[0])) {
        ks_call_fail(call, 409, "Wrong input: Collection `%s` already exists!", call->parts[0]);
        return;
    }
    const kith_status status = ks_shelf_create(ks_app_of(call)->shelf, call->parts[0], &options, &error);
    if (status == KITH_E_BUSY)
        ks_call_fail(call, 409, "Wrong input: Collection `%s` already exists!", call->parts[0]);
    else if (status == KITH_E_ARG)
        ks_call_fail(call, 400, "Wrong input: %s", error.text);
    else if (status != KITH_OK)
        ks_call_fail_status(call, status, &error);
    if (status != KITH_OK || ks_qd_enter(call, &place) < 0) return;
    json_t *settings = settings_of(body);
    if (!settings)
        ks_call_no_memory(call);
    else if (ks_qd_settings_write(&place, settings) == 0)
        ks_qd_true(call);
    json_decref(settings);
}

void ks_qd_collection_drop(ks_call *call, void *context) {
    kith_error error = {0};
    (void)context;
    if (!may_manage(call)) return;
    const int there = exists(call, call->parts[0]);
    const kith_status status = there ? ks_shelf_drop(ks_app_of(call)->shelf, call->parts[0], &error) : KITH_E_NOTFOUND;
    if (status != KITH_OK && status != KITH_E_NOTFOUND) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_json json = ks_qd_reply(call); /* as Qdrant: false when there was none */
    ks_json_bool(&json, "result", status == KITH_OK);
    ks_qd_reply_end(call, &json);
}

/* ---- Changing what is told again */

/* Members of a diff replace those of a part; null ones stay. */
static int merge(json_t *settings, const char *name, const json_t *diff) {
    const char *member;
    json_t *value, *part = ks_qd_settings_part(settings, name), *copy = part ? ks_qd_settings_copy(diff) : NULL;
    int status = copy ? 0 : -1;
    json_object_foreach(copy, member, value) {
        if (status == 0 && !json_is_null(value)) status = json_object_set(part, member, value);
    }
    json_decref(copy);
    return status;
}

static int change(json_t *settings, const json_t *body) {
    static const char *const parts[] = {"hnsw_config", "optimizers_config", "metadata", NULL};
    int status = 0;
    for (size_t i = 0; parts[i]; i++) {
        const json_t *diff = ks_qd_get(body, parts[i]);
        if (diff && status == 0) status = merge(settings, parts[i], diff);
    }
    const json_t *params = ks_qd_get(body, "params"), *quantization = ks_qd_get(body, "quantization_config");
    if (params && status == 0) {
        json_t *copy = ks_qd_settings_copy(params);
        status = copy ? json_object_update(settings, copy) : -1;
        json_decref(copy);
    }
    if (json_is_object(quantization) && status == 0)
        status = json_object_set_new(settings, "quantization_config", ks_qd_settings_copy(quantization));
    else if (quantization && status == 0) /* "Disabled" */
        json_object_del(settings, "quantization_config");
    const char *name;
    json_t *value, *vectors = ks_qd_settings_part(settings, "vectors");
    json_object_foreach((json_t *)(uintptr_t)ks_qd_get(body, "vectors"), name, value) {
        if (status == 0) status = vectors ? merge(vectors, name, value) : -1;
    }
    return status;
}

void ks_qd_collection_update(ks_call *call, void *context) {
    static const char *const known[] = {
        "vectors",        "optimizers_config",  "params",   "hnsw_config", "quantization_config",
        "sparse_vectors", "strict_mode_config", "metadata", NULL};
    ks_qd_place place;
    (void)context;
    if (!ks_qd_may_write(call) || !ks_qd_may_all(call) || ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object");
    if (!body || ks_qd_only(call, body, known) < 0) return;
    if (ks_qd_get(body, "strict_mode_config") || ks_qd_get(body, "sparse_vectors")) {
        ks_qd_not_offered(call, "strict mode and sparse vectors");
        return;
    }
    json_t *settings = ks_qd_settings_read(&place);
    if (!settings) return;
    if (change(settings, body) < 0)
        ks_call_fail(call, 400, "Wrong input: the settings could not be changed");
    else if (ks_qd_settings_write(&place, settings) == 0)
        ks_qd_true(call);
    json_decref(settings);
}
