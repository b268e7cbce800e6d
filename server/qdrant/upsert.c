/* SPDX-License-Identifier: Apache-2.0
 *
 * Points that are put, and new vectors of points that are there. */
#include "qdrant/inner.h"

#include <string.h>

static int conditions_of(ks_call *call, const json_t *body, ks_qd_conditions *conditions) {
    const char *mode = "upsert";
    *conditions = (ks_qd_conditions){.filter = ks_qd_get(body, "update_filter")};
    if (ks_member_text(call, body, "update_mode", &mode) < 0) return -1;
    conditions->only_absent = strcmp(mode, "insert_only") == 0;
    conditions->only_present = strcmp(mode, "update_only") == 0;
    if (conditions->only_absent || conditions->only_present || strcmp(mode, "upsert") == 0) return 0;
    ks_call_fail(call, 400, "Format error in JSON body: update_mode must be upsert, insert_only or update_only");
    return -1;
}

int ks_qd_do_upsert(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    static const char *const known[] = {"points", "batch", "update_filter", "update_mode", NULL};
    ks_qd_conditions conditions;
    ks_qd_points points;
    if (ks_qd_only(place->call, body, known) < 0 || conditions_of(place->call, body, &conditions) < 0) return -1;
    if (ks_qd_points_of(place, body, 1, &points) < 0) return -1;
    return ks_qd_store(place, &points, KITH_UPSERT, &conditions, version);
}

int ks_qd_do_update_vectors(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    static const char *const known[] = {"points", "update_filter", NULL};
    ks_qd_conditions conditions;
    ks_qd_points points;
    if (ks_qd_only(place->call, body, known) < 0 || conditions_of(place->call, body, &conditions) < 0) return -1;
    if (ks_qd_points_of(place, body, 0, &points) < 0) return -1;
    return ks_qd_store(place, &points, KITH_UPDATE, &conditions, version);
}

void ks_qd_operate(ks_call *call, ks_qd_operation *operation) {
    ks_qd_place place;
    uint64_t version = 0;
    if (!ks_qd_may_write(call) || ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object");
    if (body && operation(&place, body, &version) == 0) ks_qd_updated(call, version);
}

void ks_qd_upsert(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_upsert);
}

void ks_qd_update_vectors(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_update_vectors);
}
