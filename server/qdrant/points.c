/* SPDX-License-Identifier: Apache-2.0
 *
 * Points of a body, as kith takes them: a row of floats an item and a name, and payloads back to back.
 *
 * Rows of points that lack a vector are room too, so a call that has few of large ones for many points is refused
 * beyond what one write may have. */
#include "qdrant/inner.h"

#include <string.h>

typedef struct building {
    const ks_qd_place *place;
    ks_qd_points *points;
    kith_vector_spec *specs; /* of points->vectors, which are as many as the collection has names */
    float **rows;
    uint8_t **present;
    size_t bytes;    /* of all rows */
    ks_text payload; /* that goes with the call */
} building;

static void free_text(void *context) {
    ks_text_free(context);
}

/* Room for the vectors of a name, when the first point has one. 0, or -1: failed. */
static int make_rows(building *b, size_t name) {
    ks_call *call = b->place->call;
    const size_t count = b->points->ids.count, row = b->specs[name].dim * sizeof(float);
    if (b->rows[name]) return 0;
    if (count > (KITH_WRITE_BYTES_MAX - b->bytes) / row) {
        ks_call_fail(call, 413, "%zu points with vectors of %zu dimensions are too much for one call: send fewer",
                     count, b->specs[name].dim);
        return -1;
    }
    b->bytes += count * row;
    b->rows[name] = ks_call_alloc(call, count * row);
    b->present[name] = ks_call_alloc(call, count);
    if (b->rows[name] && b->present[name]) return 0;
    ks_call_no_memory(call);
    return -1;
}

static int put_vector(building *b, size_t point, const char *name, const json_t *value) {
    ks_call *call = b->place->call;
    size_t number = 0;
    const size_t names = b->place->shop->vector_count;
    while (number < names && strcmp(b->specs[number].name, name) != 0) number++;
    if (number == names) {
        const int sparse = json_is_object(value) && ks_qd_get(value, "indices");
        ks_call_fail(call, 400, "Wrong input: Not existing vector name error: %s%s", name,
                     sparse ? " (kith does not offer sparse vectors)" : "");
        return -1;
    }
    const float *floats = ks_qd_floats(call, value, &b->specs[number]);
    if (!floats || make_rows(b, number) < 0) return -1;
    memcpy(b->rows[number] + point * b->specs[number].dim, floats, b->specs[number].dim * sizeof *floats);
    b->present[number][point] = 1;
    return 0;
}

/* A vector, or an object of named ones. */
static int put_vectors(building *b, size_t point, const json_t *value) {
    if (!value) return 0;
    if (!json_is_object(value)) return put_vector(b, point, "", value);
    const char *name;
    json_t *vector;
    json_object_foreach((json_t *)(uintptr_t)value, name, vector) {
        if (!json_is_null(vector) && put_vector(b, point, name, vector) < 0) return -1;
    }
    return 0;
}

static int put_payload(building *b, size_t point, const json_t *value) {
    if (value && !json_is_object(value)) {
        ks_call_fail(b->place->call, 400, "Format error in JSON body: the payload of point %zu must be an object",
                     point);
        return -1;
    }
    if (value) {
        ks_json json = KS_JSON(&b->payload);
        ks_json_value(&json, NULL, value);
    }
    b->points->payload_ends[point] = b->payload.used;
    return 0;
}

/* Room for what all points have, once their ids are known. */
static int begin(building *b) {
    ks_call *call = b->place->call;
    const size_t names = b->place->shop->vector_count;
    b->specs = ks_call_alloc(call, names * sizeof *b->specs);
    b->rows = ks_call_alloc(call, names * sizeof *b->rows);
    b->present = ks_call_alloc(call, names * sizeof *b->present);
    b->points->vectors = ks_call_alloc(call, names * sizeof *b->points->vectors);
    b->points->payload_ends = ks_call_alloc(call, (b->points->ids.count + 1) * sizeof *b->points->payload_ends);
    if (!b->specs || !b->rows || !b->present || !b->points->vectors || !b->points->payload_ends) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0; i < names; i++) {
        kith_error error = {0};
        const kith_status status = kith_collection_vector(b->place->shop->collection, i, &b->specs[i]);
        if (status == KITH_OK) continue;
        ks_call_fail_status(call, status, &error);
        return -1;
    }
    return 0;
}

static int end(building *b) {
    ks_qd_points *points = b->points;
    for (size_t i = 0; i < b->place->shop->vector_count; i++) {
        if (!b->rows[i]) continue;
        points->vectors[points->vector_count++] = (kith_item_vectors){.name = b->specs[i].name,
                                                                      .data = b->rows[i],
                                                                      .dtype = KITH_F32,
                                                                      .dim = b->specs[i].dim,
                                                                      .present = b->present[i]};
    }
    if (b->payload.failed) {
        ks_text_free(&b->payload);
        ks_call_no_memory(b->place->call);
        return -1;
    }
    points->payload_bytes = b->payload.bytes;
    ks_text *kept = ks_call_alloc(b->place->call, sizeof *kept);
    if (kept) *kept = b->payload;
    if (!kept) ks_text_free(&b->payload);
    if (kept && ks_call_defer(b->place->call, free_text, kept) == 0) return 0;
    ks_call_no_memory(b->place->call);
    return -1;
}

/* ---- The two forms */

static int take_list(building *b, const json_t *list, int with_payload) {
    static const char *const whole[] = {"id", "vector", "payload", NULL}, *const vectors[] = {"id", "vector", NULL};
    const ks_qd_place *place = b->place;
    const size_t count = json_array_size(list);
    ks_qd_id_list ids;
    size_t text_bytes = 0;
    for (size_t i = 0; i < count; i++) text_bytes += json_string_length(json_object_get(json_array_get(list, i), "id"));
    if (ks_qd_id_list_begin(place, &ids, count, text_bytes) < 0) return -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *point = json_array_get(list, i);
        if (ks_qd_only(place->call, point, with_payload ? whole : vectors) < 0 ||
            ks_qd_id_list_add(place, &ids, json_object_get(point, "id")) < 0)
            return -1;
    }
    b->points->ids = ks_qd_id_list_ids(&ids);
    if (begin(b) < 0) return -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *point = json_array_get(list, i);
        if (put_vectors(b, i, ks_qd_get(point, "vector")) < 0 ||
            put_payload(b, i, with_payload ? ks_qd_get(point, "payload") : NULL) < 0)
            return -1;
    }
    return 0;
}

/* A column of a batch must be as long as its ids. */
static const json_t *column(building *b, const json_t *value, const char *what) {
    const json_t *list = ks_qd_elements(b->place->call, value, what);
    if (list && json_array_size(list) != b->points->ids.count) {
        ks_call_fail(b->place->call, 400, "Wrong input: the batch has %zu ids, and %zu of %s", b->points->ids.count,
                     json_array_size(list), what);
        return NULL;
    }
    return list;
}

static int take_vector_column(building *b, const char *name, const json_t *value) {
    const json_t *list = column(b, value, "vectors");
    if (!list) return -1;
    for (size_t i = 0; i < b->points->ids.count; i++) {
        const json_t *vector = json_array_get(list, i);
        if (!json_is_null(vector) && put_vector(b, i, name, vector) < 0) return -1;
    }
    return 0;
}

static int take_batch(building *b, const json_t *batch) {
    static const char *const known[] = {"ids", "vectors", "payloads", NULL};
    const json_t *vectors = ks_qd_get(batch, "vectors"), *payloads = ks_qd_get(batch, "payloads");
    if (ks_qd_only(b->place->call, batch, known) < 0) return -1;
    if (ks_qd_ids(b->place, ks_qd_get(batch, "ids"), &b->points->ids) < 0 || begin(b) < 0) return -1;
    if (json_is_object(vectors)) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)vectors, name, value) {
            if (take_vector_column(b, name, value) < 0) return -1;
        }
    } else if (vectors && take_vector_column(b, "", vectors) < 0) {
        return -1;
    }
    if (payloads && !(payloads = column(b, payloads, "payloads"))) return -1;
    for (size_t i = 0; i < b->points->ids.count; i++) {
        const json_t *payload = json_array_get(payloads, i);
        if (put_payload(b, i, json_is_null(payload) ? NULL : payload) < 0) return -1;
    }
    return 0;
}

int ks_qd_points_of(const ks_qd_place *place, const json_t *body, int with_payload, ks_qd_points *points) {
    building b = {.place = place, .points = points};
    const json_t *list = ks_qd_get(body, "points"), *batch = ks_qd_get(body, "batch");
    *points = (ks_qd_points){0};
    int status;
    if (batch && with_payload) {
        status = take_batch(&b, batch);
    } else {
        list = ks_qd_elements(place->call, list, "points");
        status = list ? take_list(&b, list, with_payload) : -1;
    }
    if (status == 0) return end(&b);
    ks_text_free(&b.payload);
    return -1;
}
