/* SPDX-License-Identifier: Apache-2.0
 *
 * The collection that a call names, and whether its key may. */
#include "qdrant/inner.h"

#include <string.h>

typedef struct borrowed {
    ks_shelf *shelf;
    ks_shop *shop;
} borrowed;

static void give_back(void *context) {
    borrowed *b = context;
    ks_shelf_return(b->shelf, b->shop);
}

int ks_qd_may_name(ks_call *call, const char *collection) {
    if (ks_key_may_name(call->key, collection)) return 1;
    ks_call_fail(call, 403, "Forbidden: this key may not use the collection `%s`", collection);
    return 0;
}

int ks_qd_may_all(ks_call *call) {
    if (!call->key->segment) return 1;
    ks_call_fail(call, 403, "Forbidden: this key is bound to a segment, and this concerns all of them");
    return 0;
}

int ks_qd_may_write(ks_call *call) {
    if (!ks_app_of(call)->read_only) return 1;
    ks_call_fail(call, 403, "Forbidden: this server only reads");
    return 0;
}

int ks_qd_enter(ks_call *call, ks_qd_place *place) {
    ks_app *app = ks_app_of(call);
    const char *name = call->parts[0];
    kith_error error = {0};
    *place = (ks_qd_place){.call = call, .app = app, .segment = call->key->segment};
    if (!ks_qd_may_name(call, name)) return -1;
    borrowed *b = ks_call_alloc(call, sizeof *b);
    if (!b) {
        ks_call_no_memory(call);
        return -1;
    }
    const kith_status status = ks_shelf_borrow(app->shelf, name, &place->shop, &error);
    if (status == KITH_E_NOTFOUND)
        ks_call_fail(call, 404, "Not found: Collection `%s` doesn't exist!", name);
    else if (status != KITH_OK)
        ks_call_fail_status(call, status, &error);
    if (status != KITH_OK) return -1;
    *b = (borrowed){app->shelf, place->shop};
    if (ks_call_defer(call, give_back, b) < 0) {
        ks_call_no_memory(call);
        return -1;
    }
    call->collection = place->shop->name;
    /* An alias may lead to what the key must not see. */
    if (strcmp(place->shop->name, name) != 0 && !ks_qd_may_name(call, place->shop->name)) return -1;
    if (place->segment && !place->shop->segment_field[0]) {
        ks_call_fail(call, 403, "Forbidden: this key is bound to a segment, and the collection `%s` has none", name);
        return -1;
    }
    return 0;
}

int ks_qd_vector(const ks_qd_place *place, const char *name, kith_vector_spec *spec) {
    if (!name) name = "";
    for (size_t i = 0; i < place->shop->vector_count; i++) {
        if (kith_collection_vector(place->shop->collection, i, spec) == KITH_OK && strcmp(spec->name, name) == 0)
            return 0;
    }
    ks_call_fail(place->call, 400, "Wrong input: Not existing vector name error: %s", name);
    return -1;
}

static void free_result(void *context) {
    kith_result_destroy(context);
}

kith_result *ks_qd_result(ks_call *call) {
    kith_result *result = NULL;
    kith_error error = {0};
    const kith_status status = kith_result_create(&result, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return NULL;
    }
    if (ks_call_defer(call, free_result, result) == 0) return result;
    ks_call_no_memory(call);
    return NULL;
}
