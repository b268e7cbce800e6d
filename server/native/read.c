/* SPDX-License-Identifier: Apache-2.0
 *
 * Points by their ids, whether they are there, and how many a filter matches. */
#include <stdlib.h>
#include <string.h>

#include "native/look.h"

struct writing {
    ks_shop *shop;
    unsigned with;
    ks_json json;
    size_t written, chunks; /* chunks: that `items` was made for */
    ks_v1_items items;
};

static void write_point(void *context, const ks_v1_found *found) {
    struct writing *writing = context;
    if (found->place < 0) return;
    if (writing->chunks != found->chunk + 1)
        ks_v1_items_of(&writing->items, writing->shop, found->result, found->hits, writing->with);
    writing->chunks = found->chunk + 1;
    ks_json_object(&writing->json, NULL);
    ks_v1_item(&writing->items, (size_t)found->place, &writing->json);
    ks_json_object_end(&writing->json);
    writing->written++;
}

/* ---- One --------------------------------------------------------------------------------------------------------- */

static void get_one(ks_call *call, ks_shop *shop) {
    struct writing *writing = ks_call_alloc(call, sizeof *writing);
    unsigned with = KITH_WITH_PAYLOAD;
    uint64_t generation = 0;
    kith_ids ids;
    if (!writing) {
        ks_call_no_memory(call);
        return;
    }
    if (ks_v1_path_id(call, shop, call->parts[1], &ids) != 0 || ks_v1_with_argument(call, &with) < 0 ||
        ks_v1_argument_uint(call, "generation", UINT32_MAX, &generation) < 0)
        return;
    *writing = (struct writing){.shop = shop, .with = with, .json = KS_JSON(&call->reply.body)};
    if (ks_v1_look(call, shop, &ids, with, (uint32_t)generation, write_point, writing) != 0) return;
    if (!writing->written)
        ks_call_fail(call, 404, "there is no point \"%s\" in \"%s\"", call->parts[1], shop->name);
    else
        ks_v1_written(call);
}

void ks_v1_point_get(ks_call *call) {
    ks_v1_work(call, 0, get_one);
}

/* ---- Several ----------------------------------------------------------------------------------------------------- */

static void get_several(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"ids", "with", "generation", NULL};
    struct writing *writing = ks_call_alloc(call, sizeof *writing);
    unsigned with = KITH_WITH_PAYLOAD;
    uint64_t generation = 0;
    kith_ids ids;
    if (!writing) {
        ks_call_no_memory(call);
        return;
    }
    const json_t *body = ks_body(call, "an object with \"ids\"");
    if (!body || ks_members_only(call, body, known) != 0 ||
        ks_v1_ids(call, shop, json_object_get(body, "ids"), "ids", &ids) != 0 || ks_v1_with(call, body, &with) < 0 ||
        ks_member_uint(call, body, "generation", UINT32_MAX, &generation) < 0)
        return;
    *writing = (struct writing){.shop = shop, .with = with, .json = KS_JSON(&call->reply.body)};
    ks_json_object(&writing->json, NULL);
    ks_json_array(&writing->json, "points");
    if (ks_v1_look(call, shop, &ids, with, (uint32_t)generation, write_point, writing) != 0) return;
    ks_json_array_end(&writing->json);
    ks_json_object_end(&writing->json);
    ks_v1_written(call);
}

void ks_v1_points_get(ks_call *call) {
    ks_v1_work(call, 0, get_several);
}

/* ---- Whether ----------------------------------------------------------------------------------------------------- */

static void mark(void *context, const ks_v1_found *found) {
    ((uint8_t *)context)[found->id] = found->place >= 0;
}

static int exists(ks_call *call, ks_shop *shop, const kith_ids *ids, uint8_t *there) {
    kith_error error = {0};
    if (call->key->segment) return ks_v1_look(call, shop, ids, 0, 0, mark, there);
    if (ids->count == 0) return 0;
    const kith_status status = kith_collection_exists(shop->collection, ids, there, &error);
    if (status == KITH_OK) return 0;
    ks_call_fail_status(call, status, &error);
    return -1;
}

static void which_exist(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"ids", NULL};
    kith_ids ids;
    const json_t *body = ks_body(call, "an object with \"ids\"");
    if (!body || ks_members_only(call, body, known) != 0 ||
        ks_v1_ids(call, shop, json_object_get(body, "ids"), "ids", &ids) != 0)
        return;
    uint8_t *there = ks_call_alloc(call, ids.count + 1);
    if (!there) {
        ks_call_no_memory(call);
        return;
    }
    if (exists(call, shop, &ids, there) != 0) return;
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "exists");
    for (size_t i = 0; i < ids.count; i++) ks_json_bool(&json, NULL, there[i]);
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_points_exists(ks_call *call) {
    ks_v1_work(call, 0, which_exist);
}

/* ---- How many ---------------------------------------------------------------------------------------------------- */

static void count(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"filter", NULL};
    const char *filter = NULL;
    uint64_t matches = 0;
    kith_error error = {0};
    const json_t *body = NULL;
    if (call->body_bytes) {
        body = ks_body(call, "an object with a \"filter\", or empty");
        if (!body || ks_members_only(call, body, known) != 0 || ks_v1_filter(call, body, &filter) != 0) return;
    }
    if (ks_v1_bind(call, shop, filter, &filter) != 0) return;
    const kith_status status = kith_collection_count(shop->collection, filter, &matches, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "count", matches);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_points_count(ks_call *call) {
    ks_v1_work(call, 0, count);
}
