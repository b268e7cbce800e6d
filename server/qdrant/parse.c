/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts that many bodies have: ids, filters, vectors, and what is to come with points. */
#include "qdrant/inner.h"

#include <inttypes.h>
#include <string.h>

const json_t *ks_qd_get(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

const json_t *ks_qd_elements(ks_call *call, const json_t *value, const char *what) {
    const json_t *list = value ? ks_array(call, value) : NULL;
    if (!list) ks_call_fail(call, 400, "Format error in JSON body: %s must be an array", what);
    return list;
}

int ks_qd_only(ks_call *call, const json_t *object, const char *const *names) {
    const char *name;
    json_t *value;
    if (!json_is_object(object)) {
        ks_call_fail(call, 400, "Format error in JSON body: an object is expected");
        return -1;
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        size_t i = 0;
        while (names[i] && strcmp(names[i], name) != 0) i++;
        if (names[i] || json_is_null(value)) continue;
        if (strcmp(name, "shard_key") == 0)
            ks_qd_not_offered(call, "custom sharding: leave shard_key out");
        else
            ks_call_fail(call, 400, "Format error in JSON body: unknown field `%.60s`", name);
        return -1;
    }
    return 0;
}

/* ---- Ids */

int ks_qd_id_list_begin(const ks_qd_place *place, ks_qd_id_list *list, size_t count, size_t text_bytes) {
    const size_t each = KS_QD_UUID_BYTES;
    *list = (ks_qd_id_list){.room = count};
    if (count > place->app->limits.points_max) {
        ks_call_fail(place->call, 413, "there are %zu points, and a call may have %zu", count,
                     place->app->limits.points_max);
        return -1;
    }
    list->bytes_room = count * each + text_bytes;
    const int texts = place->shop->id_kind == KITH_ID_STRING;
    if (texts) {
        list->ends = ks_call_alloc(place->call, (count + 1) * sizeof *list->ends);
        list->bytes = ks_call_alloc(place->call, list->bytes_room + 1);
    } else {
        list->numbers = ks_call_alloc(place->call, (count + 1) * sizeof *list->numbers);
    }
    if (texts ? list->ends && list->bytes : !!list->numbers) return 0;
    ks_call_no_memory(place->call);
    return -1;
}

int ks_qd_id_list_add(const ks_qd_place *place, ks_qd_id_list *list, const json_t *value) {
    ks_qd_id id;
    const char *why = NULL;
    const size_t used = list->count && list->ends ? list->ends[list->count - 1] : 0;
    if (ks_qd_id_of(value, &id, &why) == 0) {
        if (list->ends && id.bytes <= list->bytes_room - used) {
            memcpy(list->bytes + used, id.text, id.bytes);
            list->ends[list->count++] = used + id.bytes;
            return 0;
        }
        if (list->numbers && id.is_number) {
            list->numbers[list->count++] = id.number;
            return 0;
        }
        why = "the ids of this collection are integers";
    }
    ks_call_fail(place->call, 400, "Format error in JSON body: point %zu: %s", list->count, why);
    return -1;
}

kith_ids ks_qd_id_list_ids(const ks_qd_id_list *list) {
    return (kith_ids){.count = list->count, .ids = list->numbers, .id_bytes = list->bytes, .id_ends = list->ends};
}

int ks_qd_ids(const ks_qd_place *place, const json_t *array, kith_ids *ids) {
    const json_t *values = ks_qd_elements(place->call, array, "ids");
    if (!values) return -1;
    size_t text_bytes = 0;
    const size_t count = json_array_size(values);
    for (size_t i = 0; i < count; i++) text_bytes += json_string_length(json_array_get(values, i));
    ks_qd_id_list list;
    if (ks_qd_id_list_begin(place, &list, count, text_bytes) < 0) return -1;
    for (size_t i = 0; i < count; i++) {
        if (ks_qd_id_list_add(place, &list, json_array_get(values, i)) < 0) return -1;
    }
    *ids = ks_qd_id_list_ids(&list);
    return 0;
}

/* ---- Filters */

static void put_ids(ks_json *json, const kith_ids *ids) {
    ks_json_object(json, NULL);
    ks_json_array(json, "has_id");
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->ids) {
            ks_json_uint(json, NULL, ids->ids[i]);
        } else {
            const uint64_t begin = i ? ids->id_ends[i - 1] : 0;
            ks_json_bytes(json, NULL, ids->id_bytes + begin, (size_t)(ids->id_ends[i] - begin));
        }
    }
    ks_json_array_end(json);
    ks_json_object_end(json);
}

static void put_segment(ks_json *json, const ks_qd_place *place) {
    ks_json_object(json, NULL);
    ks_json_text(json, "key", place->shop->segment_field);
    ks_json_object(json, "match");
    ks_json_text(json, "value", place->segment);
    ks_json_object_end(json);
    ks_json_object_end(json);
}

/* The filter as kith's, at the end of a text. 0, or -1: failed. */
static int translate(const ks_qd_place *place, const json_t *filter, ks_json *json) {
    const ks_qd_filter_rules rules = {
        .call = place->call, .id_kind = place->shop->id_kind, .depth_max = place->app->limits.filter_depth};
    kith_error error = {0};
    ks_text own = {0};
    const kith_status status = ks_qd_filter(filter, &rules, &own, &error);
    if (status == KITH_OK) ks_json_verbatim(json, NULL, own.bytes, own.used);
    ks_text_free(&own);
    if (status == KITH_OK) return 0;
    if (status == KITH_E_NOMEM)
        ks_call_no_memory(place->call);
    else
        ks_call_fail(place->call, 400, "Wrong input: %s", error.text);
    return -1;
}

/* All parts, as one object. 0, or -1: failed. */
static int put_parts(const ks_qd_place *place, const ks_qd_meant *meant, ks_json *json) {
    ks_json_object(json, NULL);
    ks_json_array(json, "must");
    if (meant->in_segment && place->segment) put_segment(json, place);
    if (meant->among) put_ids(json, meant->among);
    for (int i = 0; i < 2; i++) {
        if (meant->filters[i] && translate(place, meant->filters[i], json) < 0) return -1;
    }
    ks_json_array_end(json);
    if (meant->without) {
        ks_json_array(json, "must_not");
        put_ids(json, meant->without);
        ks_json_array_end(json);
    }
    ks_json_object_end(json);
    return 0;
}

int ks_qd_where_of(const ks_qd_place *place, const ks_qd_meant *meant, const char **text) {
    ks_text whole = {0};
    *text = NULL;
    if (!meant->filters[0] && !meant->filters[1] && !meant->among && !meant->without &&
        !(meant->in_segment && place->segment))
        return 0;
    ks_json json = KS_JSON(&whole);
    int status = put_parts(place, meant, &json);
    if (status == 0) {
        if (!whole.failed) *text = ks_call_copy(place->call, whole.bytes, whole.used);
        if (!*text) ks_call_no_memory(place->call);
        status = *text ? 0 : -1;
    }
    ks_text_free(&whole);
    return status;
}

int ks_qd_where(const ks_qd_place *place, const json_t *filter, const kith_ids *among, int in_segment,
                const char **text) {
    const ks_qd_meant meant = {.filters = {filter}, .among = among, .in_segment = in_segment};
    return ks_qd_where_of(place, &meant, text);
}

/* ---- Vectors */

const float *ks_qd_floats(ks_call *call, const json_t *value, const kith_vector_spec *spec) {
    size_t count;
    if (json_is_object(value)) {
        const int sparse = ks_qd_get(value, "indices") != NULL;
        ks_call_fail(call, 400, "Wrong input: kith does not offer %s, for the vector `%s`: it has dense vectors",
                     sparse ? "sparse vectors" : "inference on the server", spec->name);
        return NULL;
    }
    if (!ks_is_numbers(value)) {
        const int many = json_is_array(value) && json_array_size(value) > 0 &&
                         (json_is_array(json_array_get(value, 0)) || ks_is_numbers(json_array_get(value, 0)));
        ks_call_fail(call, 400, "Wrong input: %s",
                     many ? "kith does not offer multivectors: a vector is an array of numbers"
                          : "a vector must be an array of numbers");
        return NULL;
    }
    const float *floats = ks_floats(call, value, &count);
    if (!floats) return NULL;
    if (count != spec->dim) {
        ks_call_fail(call, 400, "Wrong input: Vector dimension error: expected dim: %zu, got %zu", spec->dim, count);
        return NULL;
    }
    return floats;
}

/* ---- What comes along */

/* Keys of with_payload must be texts. */
static int check_texts(ks_call *call, const json_t *list, const char *what) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!json_is_string(json_array_get(list, i))) {
            ks_call_fail(call, 400, "Format error in JSON body: %s must be an array of texts", what);
            return -1;
        }
    }
    return 0;
}

static int payload_of(const ks_qd_place *place, const json_t *value, ks_qd_with *with) {
    const json_t *list = value;
    if (json_is_false(value)) return 0;
    with->flags |= KITH_WITH_PAYLOAD;
    if (json_is_true(value)) return 0;
    if (json_is_object(value)) {
        const json_t *include = ks_qd_get(value, "include"), *exclude = ks_qd_get(value, "exclude");
        list = include ? include : exclude;
        if (!include) with->exclude = list;
    }
    if (!json_is_array(list)) {
        ks_call_fail(place->call, 400,
                     "Format error in JSON body: with_payload must be true, false, an array of keys, "
                     "or an object with include or exclude");
        return -1;
    }
    if (!with->exclude) with->include = list;
    return check_texts(place->call, list, "with_payload");
}

int ks_qd_with_of(const ks_qd_place *place, const json_t *body, int payload_by_default, ks_qd_with *with) {
    const json_t *payload = ks_qd_get(body, "with_payload"), *vector = ks_qd_get(body, "with_vector");
    *with = (ks_qd_with){0};
    if (!payload && payload_by_default) with->flags |= KITH_WITH_PAYLOAD;
    if (payload && payload_of(place, payload, with) < 0) return -1;
    if (!vector || json_is_false(vector)) return 0;
    with->flags |= KITH_WITH_VECTORS;
    if (json_is_true(vector)) return 0;
    if (!json_is_array(vector)) {
        ks_call_fail(place->call, 400,
                     "Format error in JSON body: with_vector must be true, false or an array of names");
        return -1;
    }
    with->vectors = vector;
    if (check_texts(place->call, vector, "with_vector") < 0) return -1;
    for (size_t i = 0; i < json_array_size(vector); i++) {
        kith_vector_spec spec;
        if (ks_qd_vector(place, json_string_value(json_array_get(vector, i)), &spec) < 0) return -1;
    }
    return 0;
}
