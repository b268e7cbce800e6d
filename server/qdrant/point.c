/* SPDX-License-Identifier: Apache-2.0
 *
 * Points as Qdrant writes them: id, version, payload as far as it was asked for, vector. */
#include "qdrant/inner.h"

#include <string.h>

/* ---- Parts of payloads */

/* The element of an object that the beginning of a path names: a member that is called like all of it, or the one
 * before its first dot. *rest: what follows, "" at the end. */
static json_t *step(const json_t *object, const char *path, const char **rest) {
    const char *dot = strchr(path, '.');
    json_t *whole = json_object_get(object, path);
    *rest = "";
    if (whole || !dot || dot - path >= 256) return whole;
    char name[256];
    memcpy(name, path, (size_t)(dot - path));
    name[dot - path] = '\0';
    *rest = dot + 1;
    return json_object_get(object, name);
}

json_t *ks_qd_at_key(const json_t *payload, const char *key) {
    json_t *value = NULL;
    const json_t *object = payload;
    for (const char *path = key; *path && json_is_object(object); object = value) {
        const char *rest;
        value = step(object, path, &rest);
        if (!value || !*rest) return value;
        path = rest;
    }
    return NULL;
}

/* Put the value at a path of `from` at the same place of `to`. */
static int take_path(json_t *to, const json_t *from, const char *path) {
    const char *rest;
    json_t *value = step(from, path, &rest);
    if (!value) return 0;
    if (!*rest) return json_object_set(to, path, value);
    if (!json_is_object(value)) return 0;
    char name[256];
    const size_t bytes = (size_t)(rest - 1 - path);
    memcpy(name, path, bytes);
    name[bytes] = '\0';
    json_t *inner = json_object_get(to, name);
    if (!json_is_object(inner)) {
        inner = json_object();
        if (json_object_set_new(to, name, inner) < 0) return -1;
    }
    return take_path(inner, value, rest);
}

/* Take the value at a path away. */
static void drop_path(json_t *from, const char *path) {
    const char *rest;
    json_t *value = step(from, path, &rest);
    if (!value) return;
    if (!*rest)
        json_object_del(from, path);
    else if (json_is_object(value))
        drop_path(value, rest);
}

json_t *ks_qd_chosen(const json_t *payload, const ks_qd_with *with) {
    json_t *chosen = with->include ? json_object() : json_deep_copy(payload);
    const json_t *keys = with->include ? with->include : with->exclude;
    for (size_t i = 0; chosen && i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        if (!with->include) {
            drop_path(chosen, key);
        } else if (take_path(chosen, payload, key) < 0) {
            json_decref(chosen);
            chosen = NULL;
        }
    }
    return chosen;
}

/* Without JSON_ALLOW_NUL, whatever a payload has: our writer takes a text that begins with one for something of its own
 * (json/json.h). */
static json_t *read_tree(const char *bytes, size_t count) {
    json_t *tree = json_loadb(bytes, count, 0, NULL);
    return tree ? tree : json_loadb(bytes, count, JSON_DECODE_INT_AS_REAL, NULL);
}

json_t *ks_qd_payload(const kith_hits *hits, size_t number, int *status) {
    const uint64_t begin = number ? hits->payload_ends[number - 1] : 0;
    const size_t bytes = (size_t)(hits->payload_ends[number] - begin);
    json_t *tree = bytes ? read_tree(hits->payload_bytes + begin, bytes) : NULL;
    *status = bytes && !tree ? -1 : 0;
    return tree;
}

static int put_payload(ks_json *json, const ks_qd_with *with, const char *bytes, size_t count) {
    if (count == 0) {
        ks_json_verbatim(json, "payload", "{}", 2);
        return 0;
    }
    if (!with->include && !with->exclude) {
        ks_json_verbatim(json, "payload", bytes, count);
        return 0;
    }
    json_t *payload = read_tree(bytes, count), *chosen = payload ? ks_qd_chosen(payload, with) : NULL;
    if (chosen) ks_json_value(json, "payload", chosen);
    json_decref(payload);
    const int put = chosen != NULL;
    json_decref(chosen);
    return put ? 0 : -1;
}

/* ---- Vectors */

static int is_wanted(const ks_qd_with *with, const char *name) {
    if (!with->vectors) return 1;
    for (size_t i = 0; i < json_array_size(with->vectors); i++) {
        if (strcmp(json_string_value(json_array_get(with->vectors, i)), name) == 0) return 1;
    }
    return 0;
}

static int put_vectors(ks_json *json, const ks_qd_place *place, const ks_qd_with *with, const kith_result *result,
                       size_t number, const char **why) {
    kith_vector_spec spec;
    const size_t count = place->shop->vector_count;
    const int plain =
        count == 1 && kith_collection_vector(place->shop->collection, 0, &spec) == KITH_OK && !spec.name[0];
    if (!plain) ks_json_object(json, "vector");
    for (size_t i = 0; i < count; i++) {
        const uint8_t *present = NULL;
        if (kith_collection_vector(place->shop->collection, i, &spec) != KITH_OK || !is_wanted(with, spec.name))
            continue;
        const float *rows = kith_result_vectors(result, spec.name, &present);
        kith_vector_spec read;
        if (!rows || !present[number] || kith_result_vector_spec(result, spec.name, &read) != KITH_OK) continue;
        if (read.dtype == KITH_B1) {
            *why = "vectors of bits are not offered by Qdrant's API";
            return -1;
        }
        ks_json_floats(json, plain ? "vector" : spec.name, rows + number * read.dim, read.dim);
    }
    if (!plain) ks_json_object_end(json);
    return 0;
}

/* ---- A point */

void ks_qd_hit_id(ks_json *json, const char *name, const kith_hits *hits, size_t number) {
    if (hits->id_bytes) {
        const uint64_t begin = number ? hits->id_ends[number - 1] : 0;
        ks_qd_id_write(json, name, hits->id_bytes + begin, (size_t)(hits->id_ends[number] - begin));
    } else {
        ks_json_uint(json, name, hits->ids[number]);
    }
}

int ks_qd_point(ks_json *json, const ks_qd_place *place, const ks_qd_with *with, const kith_result *result,
                const kith_hits *hits, size_t number, const char **why) {
    ks_qd_hit_id(json, "id", hits, number);
    if (hits->versions) ks_json_uint(json, "version", hits->versions[number]);
    *why = "a payload could not be read";
    if (with->flags & KITH_WITH_PAYLOAD) {
        const uint64_t begin = number && hits->payload_ends ? hits->payload_ends[number - 1] : 0;
        const size_t bytes = hits->payload_ends ? (size_t)(hits->payload_ends[number] - begin) : 0;
        if (put_payload(json, with, bytes ? hits->payload_bytes + begin : NULL, bytes) < 0) return -1;
    }
    return with->flags & KITH_WITH_VECTORS ? put_vectors(json, place, with, result, number, why) : 0;
}
