/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "state/made.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

int ki_name_valid(const char *name, size_t bytes) {
    if (bytes > KI_NAME_MAX || !ki_utf8_valid(name, bytes)) return 0;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F) return 0;
    return 1;
}

/* ---- From options ------------------------------------------------------------------------------------------------ */

void ki_made_free(ki_made *made) {
    for (size_t v = 0; made->vector && v < made->vector_count; v++) free(made->vector[v].name);
    free(made->vector);
    free(made->segment_field);
    free(made->model);
    *made = (ki_made){0};
}

static int metric_fits(kith_metric metric, kith_dtype dtype) {
    const int bits = metric == KITH_HAMMING || metric == KITH_JACCARD;
    return dtype == KITH_B1 ? bits : metric == KITH_L2SQ || metric == KITH_IP || metric == KITH_COSINE;
}

kith_status ki_vector_shape(const char *name, const kith_vector_spec *given, ki_vector *to, kith_error *error) {
    const kith_dtype dtype = given->dtype == KITH_DTYPE_NONE ? KITH_F32 : given->dtype;
    const kith_metric by_default = dtype == KITH_B1 ? KITH_HAMMING : KITH_L2SQ;
    const kith_metric metric = given->metric == KITH_METRIC_NONE ? by_default : given->metric;
    const size_t row_bytes = kith_row_bytes(dtype, given->dim);
    if (!row_bytes)
        return ki_fail(
            error, KITH_E_ARG,
            "vector \"%s\": there is no type %s of %zu elements: 1 to %u are possible, of bits multiples of 8", name,
            kith_dtype_name(dtype), given->dim, KITH_DIM_MAX);
    if (!metric_fits(metric, dtype))
        return ki_fail(error, KITH_E_ARG, "vector \"%s\": %s vectors have no metric %s", name, kith_dtype_name(dtype),
                       kith_metric_name(metric));
    to->dim = given->dim, to->row_bytes = row_bytes, to->dtype = dtype, to->metric = metric;
    return KITH_OK;
}

/* One vector, its defaults filled in. */
static kith_status take_vector(ki_made *made, size_t v, const kith_vector_spec *given, kith_error *error) {
    const char *name = given->name ? given->name : "";
    ki_vector *to = &made->vector[v];
    if (!ki_name_valid(name, strlen(name)))
        return ki_fail(error, KITH_E_ARG,
                       "vector %zu: its name must be UTF-8 of at most %d bytes without control characters", v,
                       KI_NAME_MAX);
    for (size_t i = 0; i < v; i++)
        if (!strcmp(made->vector[i].name, name))
            return ki_fail(error, KITH_E_ARG, "vectors %zu and %zu have the same name \"%s\"", i, v, name);
    const kith_status status = ki_vector_shape(name, given, to, error);
    if (status != KITH_OK) return status;
    to->name = strdup(name);
    if (!to->name) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    return KITH_OK;
}

static kith_status take_vectors(ki_made *made, const kith_collection_options *options, kith_error *error) {
    if (!options->vectors || options->vector_count == 0)
        return ki_fail(error, KITH_E_ARG, "a collection needs at least one vector");
    if (options->vector_count > KITH_VECTORS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%zu vectors: a collection has at most %u", options->vector_count,
                       KITH_VECTORS_MAX);
    made->vector = ki_alloc_array_zeroed(options->vector_count, sizeof(*made->vector));
    if (!made->vector) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_status status = KITH_OK;
    for (size_t v = 0; v < options->vector_count && status == KITH_OK; v++) {
        made->vector_count = v + 1;
        status = take_vector(made, v, &options->vectors[v], error);
    }
    return status;
}

static kith_status take_segment_field(ki_made *made, const char *given, const ki_schema *schema, kith_error *error) {
    const char *name = given ? given : "";
    if (*name) {
        const ki_field *field = ki_schema_find(schema, name, strlen(name));
        if (!field) return ki_fail(error, KITH_E_ARG, "the segment field \"%s\" is not declared", name);
        if (field->type != KITH_FIELD_TAG)
            return ki_fail(error, KITH_E_ARG, "the segment field \"%s\" is declared as %s, not as tag", name,
                           kith_field_type_name(field->type));
    }
    made->segment_field = strdup(name);
    return made->segment_field ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
}

kith_status ki_model_check(const char *model, kith_error *error) {
    if (ki_name_valid(model, strlen(model))) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "the model must be UTF-8 of at most %d bytes without control characters",
                   KI_NAME_MAX);
}

static kith_status take_model(ki_made *made, const char *given, kith_error *error) {
    const char *model = given ? given : "";
    const kith_status status = ki_model_check(model, error);
    if (status != KITH_OK) return status;
    made->model = strdup(model);
    return made->model ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
}

kith_status ki_made_create(const kith_collection_options *options, ki_made *out, ki_schema **out_schema,
                           kith_error *error) {
    ki_made made = {.id_kind = options->id_kind};
    ki_schema *schema = NULL;
    kith_status status = KITH_OK;
    if (options->id_kind != KITH_ID_U64 && options->id_kind != KITH_ID_STRING)
        status = ki_fail(error, KITH_E_ARG, "id_kind is %d: a collection's ids are KITH_ID_U64 or KITH_ID_STRING",
                         (int)options->id_kind);
    if (status == KITH_OK && options->field_count && !options->fields)
        status = ki_fail(error, KITH_E_ARG, "%zu fields, but fields is NULL", options->field_count);
    if (status == KITH_OK) status = take_vectors(&made, options, error);
    if (status == KITH_OK) status = ki_schema_create(options->fields, options->field_count, 0, &schema, error);
    if (status == KITH_OK) status = take_segment_field(&made, options->segment_field, schema, error);
    if (status == KITH_OK) status = take_model(&made, options->model, error);
    if (status != KITH_OK) {
        ki_schema_destroy(schema);
        ki_made_free(&made);
        return status;
    }
    *out = made;
    *out_schema = schema;
    return KITH_OK;
}

/* ---- As JSON ----------------------------------------------------------------------------------------------------- */

kith_status ki_setting_dump(json_t *value, char **text, kith_error *error) {
    char *dumped = value ? json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(value);
    if (!dumped) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    *text = dumped;
    return KITH_OK;
}

json_t *ki_setting_vector(const ki_vector *vector) {
    return json_pack("{s:s, s:I, s:s, s:s}", "name", vector->name, "dim", (json_int_t)vector->dim, "dtype",
                     kith_dtype_name(vector->dtype), "metric", kith_metric_name(vector->metric));
}

kith_status ki_made_encode(const ki_made *made, char **text, kith_error *error) {
    json_t *vectors = json_array();
    for (size_t v = 0; v < made->vector_count; v++) {
        if (json_array_append_new(vectors, ki_setting_vector(&made->vector[v])) == 0) continue;
        json_decref(vectors);
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    return ki_setting_dump(json_pack("{s:i, s:s, s:o, s:s, s:s}", "version", KI_SETTING_FORMAT, "ids",
                                     made->id_kind == KITH_ID_STRING ? "string" : "u64", "vectors", vectors,
                                     "segment_field", made->segment_field, "model", made->model),
                           text, error);
}

kith_status ki_fields_encode(const ki_schema *schema, char **text, kith_error *error) {
    json_t *fields = json_array();
    for (size_t f = 0; f < schema->count; f++) {
        json_t *one = json_pack("{s:s, s:s}", "name", schema->fields[f].name, "type",
                                kith_field_type_name(schema->fields[f].type));
        if (json_array_append_new(fields, one) == 0) continue;
        json_decref(fields);
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    return ki_setting_dump(json_pack("{s:i, s:o}", "version", KI_SETTING_FORMAT, "fields", fields), text, error);
}

/* ---- And back ---------------------------------------------------------------------------------------------------- */

kith_status ki_setting_damaged(const char *path, const char *setting, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog's setting \"%s\" is damaged: %s", path, setting, what);
}

kith_status ki_setting_load(ki_bytes body, const char *path, const char *setting, json_t **out, kith_error *error) {
    json_error_t failure;
    json_t *root = json_loadb(body.data, body.bytes, JSON_REJECT_DUPLICATES, &failure);
    if (!root)
        return json_error_code(&failure) == json_error_out_of_memory
                   ? ki_fail(error, KITH_E_NOMEM, "out of memory")
                   : ki_setting_damaged(path, setting, failure.text, error);
    const json_int_t version = json_integer_value(json_object_get(root, "version"));
    kith_status status = KITH_OK;
    if (version < KI_SETTING_FORMAT)
        status = ki_setting_damaged(path, setting, "it has no version", error);
    else if (version > KI_SETTING_FORMAT)
        status = ki_fail(error, KITH_E_VERSION, "%s: the catalog's setting \"%s\" is of version %lld: kith %s knows %d",
                         path, setting, (long long)version, kith_version(), KI_SETTING_FORMAT);
    if (status == KITH_OK)
        *out = root;
    else
        json_decref(root);
    return status;
}

const char *ki_setting_text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* What the checks of options refuse cannot have been written by us. */
static kith_status as_damage(kith_status status, const char *path, const char *setting, const kith_error *inner,
                             kith_error *error) {
    if (status == KITH_OK) return KITH_OK;
    if (status == KITH_E_NOMEM) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    return ki_setting_damaged(path, setting, inner->text, error);
}

kith_vector_spec ki_setting_spec(const json_t *one) {
    const char *dtype = ki_setting_text(one, "dtype"), *metric = ki_setting_text(one, "metric");
    const json_int_t dim = json_integer_value(json_object_get(one, "dim"));
    const kith_vector_spec spec = {.name = ki_setting_text(one, "name"),
                                   .dim = dim < 0 ? 0 : (size_t)dim,
                                   .dtype = dtype ? kith_dtype_parse(dtype) : KITH_DTYPE_NONE,
                                   .metric = metric ? kith_metric_parse(metric) : KITH_METRIC_NONE};
    return spec.dtype && spec.metric ? spec : (kith_vector_spec){0};
}

/* Specs that borrow the names of `root`; the caller frees them. */
static kith_vector_spec *specs_of(const json_t *vectors, size_t count) {
    kith_vector_spec *specs = ki_alloc_array_zeroed(count, sizeof(*specs));
    for (size_t v = 0; specs && v < count; v++) specs[v] = ki_setting_spec(json_array_get(vectors, v));
    return specs;
}

static int specs_whole(const kith_vector_spec *specs, size_t count) {
    for (size_t v = 0; v < count; v++)
        if (!specs[v].name) return 0;
    return 1;
}

/* The segment field is not held against the fields, which are another setting: a field never goes. */
static kith_status made_of(const json_t *root, const char *path, ki_made *made, kith_error *error) {
    const char *ids = ki_setting_text(root, "ids"), *field = ki_setting_text(root, "segment_field"),
               *model = ki_setting_text(root, "model");
    const json_t *vectors = json_object_get(root, "vectors");
    const size_t count = json_array_size(vectors);
    if (!ids || !field || !model || (strcmp(ids, "u64") != 0 && strcmp(ids, "string") != 0) ||
        !ki_name_valid(field, strlen(field)) || count == 0 || count > KITH_VECTORS_MAX)
        return ki_setting_damaged(path, KI_SETTING_MADE, "something is missing", error);
    kith_error inner = {0};
    kith_vector_spec *specs = specs_of(vectors, count);
    if (!specs) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    options.vectors = specs, options.vector_count = count;
    made->id_kind = strcmp(ids, "string") == 0 ? KITH_ID_STRING : KITH_ID_U64;
    kith_status status = KITH_OK;
    if (!specs_whole(specs, count)) status = ki_fail(&inner, KITH_E_CORRUPT, "a vector is not whole");
    if (status == KITH_OK) status = take_vectors(made, &options, &inner);
    if (status == KITH_OK) status = take_model(made, model, &inner);
    if (status == KITH_OK && !(made->segment_field = strdup(field)))
        status = ki_fail(&inner, KITH_E_NOMEM, "out of memory");
    free(specs);
    return as_damage(status, path, KI_SETTING_MADE, &inner, error);
}

kith_status ki_made_decode(ki_bytes body, const char *path, ki_made *made, kith_error *error) {
    json_t *root = NULL;
    ki_made read = {0};
    kith_status status = ki_setting_load(body, path, KI_SETTING_MADE, &root, error);
    if (status != KITH_OK) return status;
    status = made_of(root, path, &read, error);
    json_decref(root);
    if (status == KITH_OK)
        *made = read;
    else
        ki_made_free(&read);
    return status;
}

kith_status ki_fields_decode(ki_bytes body, const char *path, ki_schema **schema, kith_error *error) {
    json_t *root = NULL;
    kith_error inner = {0};
    kith_status status = ki_setting_load(body, path, KI_SETTING_FIELDS, &root, error);
    if (status != KITH_OK) return status;
    const json_t *list = json_object_get(root, "fields");
    const size_t count = json_array_size(list);
    kith_field *fields = NULL;
    if (!json_is_array(list) || count > KITH_FIELDS_MAX) {
        status = ki_setting_damaged(path, KI_SETTING_FIELDS, "it has no fields", error);
        goto out;
    }
    fields = ki_alloc_array_zeroed(count, sizeof(*fields));
    if (!fields) status = ki_fail(error, KITH_E_NOMEM, "out of memory");
    for (size_t f = 0; f < count && status == KITH_OK; f++) {
        const char *type = ki_setting_text(json_array_get(list, f), "type");
        fields[f].name = ki_setting_text(json_array_get(list, f), "name");
        if (!fields[f].name || !type || !kith_field_type_parse(type, &fields[f].type))
            status = ki_setting_damaged(path, KI_SETTING_FIELDS, "a field is not whole", error);
    }
    if (status == KITH_OK)
        status = as_damage(ki_schema_create(fields, count, 0, schema, &inner), path, KI_SETTING_FIELDS, &inner, error);
out:
    free(fields);
    json_decref(root);
    return status;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

void ki_state_encode(const ki_state *state, unsigned char bytes[KI_STATE_BYTES]) {
    memset(bytes, 0, KI_STATE_BYTES);
    ki_store_u32(bytes, KI_SETTING_FORMAT);
    ki_store_u64(bytes + 8, state->version);
    ki_store_u64(bytes + 16, state->next_key);
    ki_store_u64(bytes + 24, state->next_segment);
    ki_store_u64(bytes + 32, state->edition);
}

kith_status ki_state_decode(ki_bytes body, const char *path, ki_state *state, kith_error *error) {
    const unsigned char *bytes = body.data;
    if (body.bytes < 4 || ki_load_u32(bytes) < KI_SETTING_FORMAT)
        return ki_setting_damaged(path, KI_SETTING_STATE, "it is cut off", error);
    if (ki_load_u32(bytes) > KI_SETTING_FORMAT)
        return ki_fail(error, KITH_E_VERSION, "%s: the catalog's setting \"%s\" is of version %u: kith %s knows %d",
                       path, KI_SETTING_STATE, (unsigned)ki_load_u32(bytes), kith_version(), KI_SETTING_FORMAT);
    if (body.bytes != KI_STATE_BYTES) return ki_setting_damaged(path, KI_SETTING_STATE, "its length is wrong", error);
    *state =
        (ki_state){ki_load_u64(bytes + 8), ki_load_u64(bytes + 16), ki_load_u64(bytes + 24), ki_load_u64(bytes + 32)};
    if (state->version > UINT64_MAX / 2 || state->next_segment > UINT64_MAX / 2 || state->edition > UINT64_MAX / 2)
        return ki_setting_damaged(path, KI_SETTING_STATE, "a number is beyond any sense", error);
    return KITH_OK;
}
