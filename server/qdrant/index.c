/* SPDX-License-Identifier: Apache-2.0
 *
 * Indexes of payload fields, which kith calls declared fields.
 *
 * A declared field has a type, and payloads whose value is of another one are refused from then on, which Qdrant takes.
 * A field cannot be undeclared: deleting an index takes it from what is told, and filters on it stay fast. */
#include "qdrant/settings.h"

#include <string.h>

static const struct {
    const char *name;
    kith_field_type type;
} types[] = {
    {"keyword", KITH_FIELD_TAGS}, {"uuid", KITH_FIELD_TAGS}, {"integer", KITH_FIELD_INT},
    {"float", KITH_FIELD_FLOAT},  {"bool", KITH_FIELD_BOOL}, {"datetime", KITH_FIELD_TIME},
};

/* The type's name: "keyword", or {"type": "keyword", ...}. What an index is like inside is kith's own affair. */
static const char *schema_of(ks_call *call, const json_t *schema, kith_field_type *type) {
    const json_t *value = json_is_object(schema) ? ks_qd_get(schema, "type") : schema;
    const char *name = json_is_string(value) ? json_string_value(value) : "";
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        *type = types[i].type;
        return types[i].name;
    }
    ks_call_fail(
        call, 400,
        "Wrong input: kith does not offer the index `%.40s`: keyword, uuid, integer, float, bool and datetime are",
        name);
    return NULL;
}

/* The type that a field is declared with already; 0: none. */
static kith_field_type declared(const ks_qd_place *place, const char *name) {
    kith_field field;
    for (size_t i = 0; kith_collection_field(place->shop->collection, i, &field) == KITH_OK; i++) {
        if (strcmp(field.name, name) == 0) return field.type;
    }
    return (kith_field_type)0;
}

/* Note what a field's index is told to be. */
static int note(const ks_qd_place *place, const char *field, json_t *said) {
    json_t *settings = ks_qd_settings_read(place), *indexes = NULL;
    int status = -1;
    if (settings) indexes = ks_qd_settings_part(settings, "indexes");
    if (indexes && json_object_set(indexes, field, said) == 0)
        status = ks_qd_settings_write(place, settings);
    else if (settings)
        ks_call_no_memory(place->call);
    json_decref(said);
    json_decref(settings);
    return status;
}

static void reply(const ks_qd_place *place) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    const kith_status status = kith_collection_get_info(place->shop->collection, &info);
    ks_qd_updated(place->call, status == KITH_OK ? info.version : 0);
}

/* The name of a field as kith has it, or NULL: failed. */
static const char *field_of(ks_call *call, const char *key) {
    kith_error error = {0};
    size_t bytes = strlen(key);
    if (ks_qd_key(&key, &bytes, &error) != KITH_OK) {
        ks_call_fail(call, 400, "Wrong input: %s", error.text);
        return NULL;
    }
    const char *copy = ks_call_copy(call, key, bytes);
    if (!copy) ks_call_no_memory(call);
    return copy;
}

void ks_qd_index_create(ks_call *call, void *context) {
    static const char *const known[] = {"field_name", "field_schema", "field_type", NULL};
    ks_qd_place place;
    const char *name = NULL, *word;
    kith_field field = {0};
    kith_error error = {0};
    (void)context;
    if (!ks_qd_may_write(call) || !ks_qd_may_all(call) || ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object with field_name and field_schema");
    if (!body || ks_qd_only(call, body, known) < 0 || ks_member_text(call, body, "field_name", &name) < 0) return;
    const json_t *schema = ks_qd_get(body, "field_schema");
    if (!schema) schema = ks_qd_get(body, "field_type");
    if (!name || !schema) {
        ks_call_fail(call, 400, "Format error in JSON body: an index must have a field_name and a field_schema");
        return;
    }
    if (!(word = schema_of(call, schema, &field.type)) || !(field.name = field_of(call, name))) return;
    const kith_field_type old = declared(&place, field.name);
    if (old == KITH_FIELD_TAG && field.type == KITH_FIELD_TAGS) field.type = old;
    const kith_status status = kith_collection_declare(place.shop->collection, &field, &error);
    if (status == KITH_E_ARG || status == KITH_E_DATA)
        ks_call_fail(call, 400, "Wrong input: %s", error.text);
    else if (status != KITH_OK)
        ks_call_fail_status(call, status, &error);
    else if (note(&place, field.name, json_string(word)) == 0)
        reply(&place);
}

void ks_qd_index_drop(ks_call *call, void *context) {
    ks_qd_place place;
    const char *name;
    (void)context;
    if (!ks_qd_may_write(call) || !ks_qd_may_all(call) || ks_qd_enter(call, &place) < 0) return;
    if (!(name = field_of(call, call->parts[1]))) return;
    if (!declared(&place, name) || note(&place, name, json_false()) == 0) reply(&place);
}
