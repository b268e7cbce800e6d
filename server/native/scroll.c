/* SPDX-License-Identifier: Apache-2.0
 *
 * Scrolling: a page, or all of it as a line an item. The lines are read page by page while they are sent, by a worker,
 * as a filter that lets little through may take long to find a page. What is written meanwhile behind the place that
 * was reached is seen, once. Ids only ascend, so nothing comes twice. */
#include <stdlib.h>
#include <string.h>

#include "native/inner.h"

/* Items of a page that is sent as lines: fewer where they are large, so that a slow reader holds little memory. */
enum { PAGE_FIRST = 16, PAGE_MAX = 128, PAGE_SMALL_BYTES = 32 * 1024, PAGE_LARGE_BYTES = 256 * 1024 };

static void add_point(ks_json *json, const ks_v1_items *items, size_t at) {
    ks_json_object(json, NULL);
    ks_v1_item(items, at, json);
    ks_json_object_end(json);
}

/* ---- A page ------------------------------------------------------------------------------------------------------ */

static void write_page(ks_call *call, const ks_shop *shop, const kith_scroll *scroll, const kith_result *result) {
    kith_hits hits = KITH_HITS_INIT;
    ks_v1_items *items = ks_call_alloc(call, sizeof *items);
    if (!items || kith_result_hits(result, &hits) != KITH_OK) {
        ks_call_no_memory(call);
        return;
    }
    ks_v1_items_of(items, shop, result, &hits, scroll->with);
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "points");
    for (size_t i = 0; i < hits.count; i++) add_point(&json, items, i);
    ks_json_array_end(&json);
    if (hits.count == scroll->limit)
        ks_json_uint(&json, "next", hits.ids[hits.count - 1]);
    else
        ks_json_null(&json, "next");
    ks_json_object_end(&json);
    ks_v1_written(call);
}

static void send_page(ks_call *call, const ks_shop *shop, const kith_scroll *scroll) {
    kith_error error = {0};
    kith_result *result = NULL;
    kith_status status = kith_result_create(&result, &error);
    if (status == KITH_OK) status = kith_collection_scroll(shop->collection, scroll, result, &error);
    if (status == KITH_OK)
        write_page(call, shop, scroll, result);
    else
        ks_call_fail_status(call, status, &error);
    kith_result_destroy(result);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

struct lines {
    ks_shop *shop;
    kith_scroll scroll;
    kith_result *result;
    ks_text text; /* what of the page was not sent yet begins at `sent` */
    size_t sent;
    uint64_t left; /* of the limit */
    size_t page;
    int ended, failed;
    ks_call *call;
    ks_more more;
    ks_v1_items items;
};

static void free_lines(void *context) {
    struct lines *lines = context;
    kith_result_destroy(lines->result);
    ks_text_free(&lines->text);
}

/* The next page as text; -1: it cannot be read. */
static int next_page(struct lines *lines) {
    kith_hits hits = KITH_HITS_INIT;
    ks_text_clear(&lines->text);
    lines->sent = 0;
    lines->scroll.limit = lines->left < lines->page ? (size_t)lines->left : lines->page;
    if (kith_collection_scroll(lines->shop->collection, &lines->scroll, lines->result, NULL) != KITH_OK ||
        kith_result_hits(lines->result, &hits) != KITH_OK)
        return -1;
    ks_v1_items_of(&lines->items, lines->shop, lines->result, &hits, lines->scroll.with);
    for (size_t i = 0; i < hits.count; i++) {
        ks_json json = KS_JSON(&lines->text);
        add_point(&json, &lines->items, i);
        ks_text_add(&lines->text, "\n", 1);
    }
    if (lines->text.used > PAGE_LARGE_BYTES && lines->page > 1) lines->page /= 2;
    if (lines->text.used < PAGE_SMALL_BYTES && lines->page < PAGE_MAX) lines->page *= 2;
    lines->left -= hits.count;
    lines->ended = hits.count < lines->scroll.limit || lines->left == 0;
    if (hits.count) lines->scroll.after = hits.ids[hits.count - 1];
    lines->scroll.from_start = 0;
    return lines->text.failed ? -1 : 0;
}

static void make_page(ks_call *call, void *context) {
    struct lines *lines = context;
    lines->failed = ks_call_gone(call) || next_page(lines) != 0;
}

static ptrdiff_t send_lines(void *context, char *to, size_t room) {
    struct lines *lines = context;
    if (lines->failed) return -1;
    if (lines->sent == lines->text.used) {
        if (lines->ended) return 0;
        return ks_run_more(ks_app_of(lines->call)->run, lines->call, &lines->more) == 0 ? KS_STREAM_LATER : -1;
    }
    size_t bytes = lines->text.used - lines->sent;
    if (bytes > room) bytes = room;
    if (bytes) memcpy(to, lines->text.bytes + lines->sent, bytes);
    lines->sent += bytes;
    return (ptrdiff_t)bytes;
}

/* The first page is read at once, so that a wrong filter is an error and not a connection that breaks off. */
static void begin_lines(ks_call *call, ks_shop *shop, const kith_scroll *scroll, uint64_t limit) {
    struct lines *lines = ks_call_alloc(call, sizeof *lines);
    kith_error error = {0};
    if (!lines || kith_result_create(&lines->result, &error) != KITH_OK) {
        ks_call_no_memory(call);
        return;
    }
    lines->shop = shop;
    lines->call = call;
    lines->more = (ks_more){make_page, lines, NULL};
    lines->scroll = *scroll;
    lines->scroll.limit = 1;
    lines->left = limit;
    lines->page = PAGE_FIRST;
    const kith_status status = kith_collection_scroll(shop->collection, &lines->scroll, lines->result, &error);
    if (status != KITH_OK || next_page(lines) != 0) {
        if (status != KITH_OK)
            ks_call_fail_status(call, status, &error);
        else
            ks_call_no_memory(call);
        free_lines(lines);
        return;
    }
    call->reply.type = "application/x-ndjson";
    call->reply.stream = send_lines;
    call->reply.free_stream = free_lines;
    call->reply.stream_context = lines;
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

static int read_body(ks_call *call, kith_scroll *scroll, uint64_t *limit) {
    static const char *const known[] = {"filter", "limit", "after", "with", "generation", NULL};
    uint64_t generation = 0;
    if (!call->body_bytes) return 0;
    const json_t *body = ks_body(call, "an object, or empty");
    if (!body || ks_members_only(call, body, known) != 0 || ks_v1_filter(call, body, &scroll->filter) != 0 ||
        ks_member_uint(call, body, "limit", UINT64_MAX, limit) < 0 || ks_v1_with(call, body, &scroll->with) < 0 ||
        ks_member_uint(call, body, "generation", UINT32_MAX, &generation) < 0)
        return -1;
    const int after = ks_member_uint(call, body, "after", UINT64_MAX - 1, &scroll->after);
    if (after < 0) return -1;
    scroll->from_start = !after;
    scroll->generation = (uint32_t)generation;
    return 0;
}

static void scroll_points(ks_call *call, ks_shop *shop) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    const int as_lines = ks_call_accepts(call, "application/x-ndjson");
    uint64_t limit = as_lines ? UINT64_MAX : 100;
    scroll.with = KITH_WITH_PAYLOAD;
    if (read_body(call, &scroll, &limit) != 0) return;
    if (limit < 1 || (!as_lines && limit > KITH_K_MAX)) {
        ks_call_fail(call, 400,
                     "\"limit\" must be a whole number of 1..%u; lines (Accept: application/x-ndjson) have none",
                     KITH_K_MAX);
        return;
    }
    if (ks_v1_bind(call, shop, scroll.filter, &scroll.filter) != 0) return;
    if (as_lines) {
        begin_lines(call, shop, &scroll, limit);
        return;
    }
    scroll.limit = (size_t)limit;
    send_page(call, shop, &scroll);
}

void ks_v1_points_scroll(ks_call *call) {
    ks_v1_work(call, 0, scroll_points);
}
