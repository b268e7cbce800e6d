/* SPDX-License-Identifier: Apache-2.0
 *
 * Points by their ids, page by page, and how many there are.
 *
 * Pages. Points come in the order of their ids; in a collection of texts, of their first insertion. The offset of the
 * next page is the id of its first point, as in Qdrant: that point must be there when it is asked for. */
#include "qdrant/inner.h"

#include <string.h>

/* Write points of a result into an array that is open. 0, or -1: failed. */
static int put_points(const ks_qd_place *place, ks_json *json, const ks_qd_with *with, const kith_result *result,
                      const kith_hits *hits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        ks_json_object(json, NULL);
        if (ks_qd_point(json, place, with, result, hits, i, &why) < 0) {
            ks_call_fail(place->call, 400, "Wrong input: %s", why);
            return -1;
        }
        ks_json_object_end(json);
    }
    return 0;
}

/* ---- By id */

/* Read points; a key that is bound to a segment sees those of its segment only. 0, or -1: failed. */
static int read_by_id(const ks_qd_place *place, const kith_ids *ids, unsigned flags, kith_result *result) {
    kith_error error = {0};
    kith_status status;
    if (place->segment && ids->count > 0) {
        kith_scroll scroll = KITH_SCROLL_INIT;
        if (ids->count > KITH_K_MAX) {
            ks_call_fail(place->call, 413, "more than %u points at once", KITH_K_MAX);
            return -1;
        }
        scroll.limit = ids->count;
        scroll.with = flags;
        if (ks_qd_where(place, NULL, ids, 1, &scroll.filter) < 0) return -1;
        status = kith_collection_scroll(place->shop->collection, &scroll, result, &error);
    } else {
        status = kith_collection_get(place->shop->collection, ids, flags, result, &error);
    }
    if (status == KITH_OK) return 0;
    ks_call_fail_status(place->call, status, &error);
    return -1;
}

void ks_qd_retrieve(ks_call *call, void *context) {
    ks_qd_place place;
    ks_qd_with with;
    kith_ids ids;
    (void)context;
    if (ks_qd_enter(call, &place) < 0) return;
    static const char *const known[] = {"ids", "with_payload", "with_vector", NULL};
    const json_t *body = ks_body(call, "a JSON object with ids");
    if (!body || ks_qd_only(call, body, known) < 0 || ks_qd_with_of(&place, body, 1, &with) < 0) return;
    if (ks_qd_ids(&place, json_object_get(body, "ids"), &ids) < 0) return;
    kith_result *result = ks_qd_result(call);
    kith_hits hits = KITH_HITS_INIT;
    if (!result || read_by_id(&place, &ids, with.flags, result) < 0) return;
    kith_result_hits(result, &hits);
    ks_json json = ks_qd_reply(call);
    ks_json_array(&json, "result");
    if (put_points(&place, &json, &with, result, &hits, hits.count) < 0) return;
    ks_json_array_end(&json);
    ks_qd_reply_end(call, &json);
}

void ks_qd_retrieve_one(ks_call *call, void *context) {
    ks_qd_place place;
    ks_qd_id id;
    const ks_qd_with with = {.flags = KITH_WITH_PAYLOAD | KITH_WITH_VECTORS};
    const char *why = NULL;
    (void)context;
    if (ks_qd_enter(call, &place) < 0) return;
    const int texts = place.shop->id_kind == KITH_ID_STRING;
    if (ks_qd_id_of_text(call->parts[1], &id, &why) < 0 || (!texts && !id.is_number)) {
        ks_call_fail(call, 400, "Wrong input: %s", why ? why : "the ids of this collection are integers");
        return;
    }
    const uint64_t end = id.bytes;
    const kith_ids ids = {.count = 1, .ids = texts ? NULL : &id.number, .id_bytes = id.text, .id_ends = &end};
    kith_result *result = ks_qd_result(call);
    kith_hits hits = KITH_HITS_INIT;
    if (!result || read_by_id(&place, &ids, with.flags, result) < 0) return;
    kith_result_hits(result, &hits);
    if (hits.count == 0) {
        ks_call_fail(call, 404, "Not found: Point with id %s does not exists!", call->parts[1]);
        return;
    }
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    if (ks_qd_point(&json, &place, &with, result, &hits, 0, &why) < 0) {
        ks_call_fail(call, 400, "Wrong input: %s", why);
        return;
    }
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

/* ---- Page by page */

typedef struct paging {
    const ks_qd_place *place;
    ks_qd_with with;
    kith_scroll scroll;
    uint64_t left; /* points that are still wanted */
    kith_result *result;
    ks_json *json;
} paging;

/* Begin at the point that an offset names. 0, or -1: failed. */
static int begin_at(paging *p, const json_t *offset) {
    ks_qd_id_list list;
    kith_hits hits = KITH_HITS_INIT;
    if (ks_qd_id_list_begin(p->place, &list, 1, json_string_length(offset)) < 0 ||
        ks_qd_id_list_add(p->place, &list, offset) < 0)
        return -1;
    const kith_ids ids = ks_qd_id_list_ids(&list);
    uint64_t number = ids.ids ? ids.ids[0] : 0;
    if (!ids.ids) {
        if (read_by_id(p->place, &ids, 0, p->result) < 0) return -1; /* one of another segment is not there */
        kith_result_hits(p->result, &hits);
        if (hits.count == 0) {
            ks_call_fail(p->place->call, 400, "Wrong input: the point that the offset names is not there any more");
            return -1;
        }
        number = hits.ids[0];
    }
    p->scroll.from_start = number == 0;
    p->scroll.after = number == 0 ? 0 : number - 1;
    return 0;
}

/* One page; one more item is read than is written, which is where the next page begins. Whether there is a next one:
 * 1 (of the same call), 2 (of another call: its first point is number *next of the result), 0; -1: failed. */
static int put_page(paging *p, size_t *next) {
    kith_hits hits = KITH_HITS_INIT;
    kith_error error = {0};
    p->scroll.limit = p->left < KITH_K_MAX ? (size_t)p->left + 1 : KITH_K_MAX;
    const kith_status status = kith_collection_scroll(p->place->shop->collection, &p->scroll, p->result, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(p->place->call, status, &error);
        return -1;
    }
    kith_result_hits(p->result, &hits);
    const size_t count = hits.count < p->left ? hits.count : (size_t)p->left;
    if (put_points(p->place, p->json, &p->with, p->result, &hits, count) < 0) return -1;
    p->left -= count;
    *next = count;
    if (hits.count < p->scroll.limit) return 0;
    if (count < hits.count) return 2;
    p->scroll.after = hits.ids[hits.count - 1];
    p->scroll.from_start = 0;
    return 1;
}

static int begin_scroll(paging *p, const json_t *body) {
    static const char *const known[] = {"offset", "limit", "filter", "with_payload", "with_vector", "order_by", NULL};
    const ks_qd_place *place = p->place;
    ks_call *call = place->call;
    p->left = 10;
    if (ks_qd_only(call, body, known) < 0) return -1;
    if (ks_qd_get(body, "order_by")) {
        ks_qd_not_offered(call, "order_by: points are scrolled in the order of their ids");
        return -1;
    }
    if (ks_member_uint(call, body, "limit", place->app->limits.points_max, &p->left) < 0) return -1;
    if (p->left == 0) {
        ks_call_fail(call, 400, "Wrong input: the limit of a scroll must be at least 1");
        return -1;
    }
    if (ks_qd_with_of(place, body, 1, &p->with) < 0) return -1;
    if (ks_qd_where(place, ks_qd_get(body, "filter"), NULL, 1, &p->scroll.filter) < 0) return -1;
    p->scroll.with = p->with.flags;
    p->result = ks_qd_result(call);
    if (!p->result) return -1;
    const json_t *offset = ks_qd_get(body, "offset");
    return offset ? begin_at(p, offset) : 0;
}

void ks_qd_scroll(ks_call *call, void *context) {
    ks_qd_place place;
    (void)context;
    if (ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object with a limit");
    paging p = {.place = &place, .scroll = KITH_SCROLL_INIT};
    if (!body || begin_scroll(&p, body) < 0) return;
    ks_json json = ks_qd_reply(call);
    size_t next = 0;
    int more;
    p.json = &json;
    ks_json_object(&json, "result");
    ks_json_array(&json, "points");
    do more = put_page(&p, &next);
    while (more == 1);
    if (more < 0) return;
    ks_json_array_end(&json);
    kith_hits hits = KITH_HITS_INIT;
    kith_result_hits(p.result, &hits);
    if (more == 2)
        ks_qd_hit_id(&json, "next_page_offset", &hits, next);
    else
        ks_json_null(&json, "next_page_offset");
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

/* ---- How many */

void ks_qd_count(ks_call *call, void *context) {
    static const char *const known[] = {"filter", "exact", NULL};
    ks_qd_place place;
    const char *filter;
    uint64_t count;
    kith_error error = {0};
    (void)context;
    if (ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object, perhaps with a filter");
    if (!body || ks_qd_only(call, body, known) < 0) return;
    if (ks_qd_where(&place, ks_qd_get(body, "filter"), NULL, 1, &filter) < 0) return;
    const kith_status status = kith_collection_count(place.shop->collection, filter, &count, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    ks_json_uint(&json, "count", count);
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}
