/* SPDX-License-Identifier: Apache-2.0
 *
 * Deleting points, and several operations in one call. */
#include "qdrant/inner.h"

#include <string.h>

int ks_qd_do_delete(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    static const char *const known[] = {"points", "filter", NULL};
    const json_t *points = ks_qd_get(body, "points"), *filter = ks_qd_get(body, "filter");
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_error error = {0};
    kith_ids ids = {0};
    const char *where = NULL;
    kith_status status;
    if (ks_qd_only(place->call, body, known) < 0) return -1;
    if (!points && !filter) {
        ks_call_fail(place->call, 400, "Format error in JSON body: points or a filter must say which points are meant");
        return -1;
    }
    if (points && ks_qd_ids(place, points, &ids) < 0) return -1;
    if (points && !place->segment) {
        status = kith_collection_delete(place->shop->collection, &ids, NULL, &report, &error);
    } else {
        if (ks_qd_where(place, filter, points ? &ids : NULL, 1, &where) < 0) return -1;
        status = kith_collection_delete_where(place->shop->collection, where, &report, &error);
    }
    *version = report.version;
    if (status == KITH_OK) return 0;
    ks_call_fail_status(place->call, status, &error);
    return -1;
}

void ks_qd_delete(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_delete);
}

/* ---- Several operations */

static const struct {
    const char *name;
    ks_qd_operation *operation;
} operations[] = {
    {"upsert", ks_qd_do_upsert},
    {"delete", ks_qd_do_delete},
    {"set_payload", ks_qd_do_set_payload},
    {"overwrite_payload", ks_qd_do_overwrite_payload},
    {"delete_payload", ks_qd_do_delete_payload},
    {"clear_payload", ks_qd_do_clear_payload},
    {"update_vectors", ks_qd_do_update_vectors},
    {"delete_vectors", ks_qd_do_delete_vectors},
};

static int operate(const ks_qd_place *place, const json_t *value, uint64_t *version) {
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const json_t *body = json_is_object(value) ? ks_qd_get(value, operations[i].name) : NULL;
        if (body) return operations[i].operation(place, body, version);
    }
    ks_call_fail(place->call, 400,
                 "Format error in JSON body: an operation must be an object with one of upsert, "
                 "delete, set_payload, overwrite_payload, delete_payload, clear_payload, "
                 "update_vectors and delete_vectors");
    return -1;
}

void ks_qd_batch_update(ks_call *call, void *context) {
    ks_qd_place place;
    (void)context;
    if (!ks_qd_may_write(call) || ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object with operations");
    const json_t *list = body ? ks_qd_elements(call, ks_qd_get(body, "operations"), "operations") : NULL;
    if (!list) return;
    const size_t count = json_array_size(list);
    uint64_t *versions = ks_call_alloc(call, (count + 1) * sizeof *versions);
    if (!versions) {
        ks_call_no_memory(call);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (operate(&place, json_array_get(list, i), &versions[i]) < 0) return;
    }
    ks_json json = ks_qd_reply(call);
    ks_json_array(&json, "result");
    for (size_t i = 0; i < count; i++) {
        ks_json_object(&json, NULL);
        ks_json_uint(&json, "operation_id", versions[i]);
        ks_json_text(&json, "status", "completed");
        ks_json_object_end(&json);
    }
    ks_json_array_end(&json);
    ks_qd_reply_end(call, &json);
}
