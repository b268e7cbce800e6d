/* SPDX-License-Identifier: Apache-2.0
 *
 * Collections of calls, under the rights of their keys; their vectors; and rows of numbers for these. */
#include <math.h>
#include <string.h>

#include "native/inner.h"

struct loan {
    ks_shelf *shelf;
    ks_shop *shop;
};

static void give_back(void *context) {
    const struct loan *loan = context;
    ks_shelf_return(loan->shelf, loan->shop);
}

/* Whether the key may have this collection; else the call has failed, and the collection went back. */
static int check_segment(ks_call *call, ks_shop *shop) {
    if (!call->key->segment || shop->segment_field[0]) return 1;
    ks_call_fail(call, 403, "this key is bound to a segment, and the collection \"%s\" has no segment field",
                 shop->name);
    return 0;
}

ks_shop *ks_v1_borrow(ks_call *call) {
    ks_app *app = ks_app_of(call);
    const char *name = call->parts[0];
    ks_shop *shop = NULL;
    kith_error error = {0};
    kith_status status = KITH_E_NOTFOUND;
    if (ks_key_may_name(call->key, name)) status = ks_shelf_borrow(app->shelf, name, &shop, &error);
    if (status == KITH_E_NOTFOUND)
        ks_call_fail(call, 404, "there is no collection called \"%s\" here", name);
    else if (status != KITH_OK)
        ks_call_fail_status(call, status, &error);
    if (status != KITH_OK) return NULL;
    call->collection = ks_call_copy(call, shop->name, strlen(shop->name));
    if (!call->collection) ks_call_no_memory(call);
    if (call->collection && check_segment(call, shop)) return shop;
    ks_shelf_return(app->shelf, shop);
    return NULL;
}

ks_shop *ks_v1_shop(ks_call *call) {
    struct loan *loan = ks_call_alloc(call, sizeof *loan);
    if (!loan) {
        ks_call_no_memory(call);
        return NULL;
    }
    loan->shelf = ks_app_of(call)->shelf;
    loan->shop = ks_v1_borrow(call);
    if (!loan->shop) return NULL;
    if (ks_call_defer(call, give_back, loan) == 0) return loan->shop;
    ks_call_no_memory(call);
    return NULL;
}

ks_shop *ks_v1_whole_shop(ks_call *call) {
    ks_shop *shop = ks_v1_shop(call);
    if (!shop || !call->key->segment) return shop;
    ks_call_fail(call, 403, "this key is bound to a segment, and what is asked for is of the whole collection");
    return NULL;
}

int ks_v1_may_change(ks_call *call) {
    if (!ks_app_of(call)->read_only) return 0;
    ks_call_fail(call, 403, "this server only reads: it was started with --read-only");
    return -1;
}

struct task {
    ks_v1_work_fn *work;
    ks_shop *shop;
};

static void do_task(ks_call *call, void *context) {
    const struct task *task = context;
    task->work(call, task->shop);
}

void ks_v1_work(ks_call *call, unsigned how, ks_v1_work_fn *work) {
    struct task *task = ks_call_alloc(call, sizeof *task);
    if (!task)
        ks_call_no_memory(call);
    else if (!(how & KS_V1_CHANGES) || ks_v1_may_change(call) == 0)
        task->shop = how & KS_V1_WHOLE ? ks_v1_whole_shop(call) : ks_v1_shop(call);
    if (!task || !task->shop) {
        ks_call_done(call);
        return;
    }
    task->work = work;
    if (how & KS_V1_CHANGES)
        ks_run_write(ks_app_of(call)->run, call, do_task, task);
    else
        ks_run_work(ks_app_of(call)->run, call, do_task, task);
}

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

static kith_status spec_at(const ks_shop *shop, uint32_t generation, size_t at, kith_vector_spec *spec,
                           kith_error *error) {
    return generation ? kith_collection_generation_vector(shop->collection, generation, at, spec, error)
                      : kith_collection_vector(shop->collection, at, spec);
}

int ks_v1_spec(ks_call *call, const ks_shop *shop, uint32_t generation, const char *name, kith_vector_spec *spec) {
    kith_error error = {0};
    kith_status status = KITH_OK;
    const char *wanted = name ? name : "";
    for (size_t i = 0; i < shop->vector_count && status == KITH_OK; i++) {
        status = spec_at(shop, generation, i, spec, &error);
        if (status == KITH_OK && (strcmp(spec->name, wanted) == 0 || (!name && shop->vector_count == 1))) return 0;
    }
    if (status != KITH_OK && generation)
        ks_call_fail_status(call, status, &error);
    else if (name)
        ks_call_fail(call, 404, "the collection \"%s\" has no vector called \"%s\"", shop->name, name);
    else
        ks_call_fail(call, 400, "the collection \"%s\" has several vectors: say which one", shop->name);
    return -1;
}

size_t ks_v1_row_bytes(const kith_vector_spec *spec) {
    return spec->dtype == KITH_B1 ? spec->dim / 8 : spec->dim * sizeof(float);
}

int ks_v1_row(ks_call *call, const kith_vector_spec *spec, const json_t *numbers, const char *what, void *row) {
    size_t count = 0;
    const int bits = spec->dtype == KITH_B1;
    const size_t wanted = bits ? spec->dim / 8 : spec->dim;
    if (!ks_is_numbers(numbers)) {
        ks_call_fail(call, 400, "%s must be an array of %zu numbers", what, wanted);
        return -1;
    }
    const float *floats = ks_floats(call, numbers, &count);
    if (!floats) return -1;
    if (count != wanted) {
        ks_call_fail(call, 400, "%s has %zu numbers, and the vector \"%s\" has %zu%s", what, count, spec->name, wanted,
                     bits ? " bytes" : "");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (isfinite(floats[i]) && (!bits || (floats[i] >= 0 && floats[i] <= 255 && !(floorf(floats[i]) < floats[i]))))
            continue;
        ks_call_fail(call, 400, "%s: number %zu is no %s", what, i + 1, bits ? "byte of 0..255" : "32-bit float");
        return -1;
    }
    if (!bits)
        memcpy(row, floats, count * sizeof *floats);
    else
        for (size_t i = 0; i < count; i++) ((unsigned char *)row)[i] = (unsigned char)floats[i];
    return 0;
}
