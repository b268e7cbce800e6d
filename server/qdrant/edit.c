/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing points that are there: they are read, changed, and written on the condition that nobody else has changed
 * them. Where somebody has, the page is read and changed again; all changes give the same when they are done twice. */
#include "qdrant/inner.h"

#include <string.h>

enum { TRIES = 8 };

typedef struct editing {
    ks_qd_edit *edit;
    kith_result *result;
    kith_hits hits;
    kith_scroll scroll; /* of a filter */
    kith_ids ids;       /* of points */
    int by_filter;
} editing;

static int fail(const editing *e, kith_status status, const kith_error *error) {
    ks_call *call = e->edit->place->call;
    if (status == KITH_E_DATA || status == KITH_E_ARG)
        ks_call_fail(call, 400, "Wrong input: %s", error->text);
    else if (status == KITH_E_NOTFOUND)
        ks_call_fail(call, 404, "Not found: %s", error->text);
    else
        ks_call_fail_status(call, status, error);
    return -1;
}

/* Points that were named must all be there. */
static int all_there(editing *e) {
    if (e->by_filter || e->hits.count >= e->ids.count) return 0;
    ks_call_fail(e->edit->place->call, 404, "Not found: No point with one of the %zu ids found: %zu are there",
                 e->ids.count, e->hits.count);
    return -1;
}

static int read_page(editing *e) {
    kith_error error = {0};
    kith_status status;
    kith_collection *collection = e->edit->place->shop->collection;
    if (e->by_filter || e->edit->place->segment)
        status = kith_collection_scroll(collection, &e->scroll, e->result, &error);
    else
        status = kith_collection_get(collection, &e->ids, e->edit->with | KITH_WITH_VERSION, e->result, &error);
    if (status != KITH_OK) return fail(e, status, &error);
    e->hits = (kith_hits)KITH_HITS_INIT;
    kith_result_hits(e->result, &e->hits);
    return all_there(e);
}

/* 1: written; 0: somebody else has changed some of them; -1: failed. */
static int write_page(editing *e) {
    kith_items items = KITH_ITEMS_INIT;
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_error error = {0};
    const kith_hits *hits = &e->hits;
    items.ids = (kith_ids){.count = hits->count,
                           .ids = hits->id_bytes ? NULL : hits->ids,
                           .id_bytes = hits->id_bytes,
                           .id_ends = hits->id_ends};
    items.if_version = hits->versions;
    ks_text_clear(&e->edit->text);
    if (e->edit->change(e->edit, e->result, hits, &items) < 0) return -1;
    const kith_status status =
        kith_collection_write(e->edit->place->shop->collection, &items, e->edit->mode, &report, &error);
    if (status == KITH_E_NOTFOUND) return 0;
    if (status != KITH_OK) return fail(e, status, &error);
    e->edit->version = report.version;
    return report.unmet == 0;
}

/* Whether there may be more: 1, 0, or -1: failed. */
static int edit_page(editing *e) {
    for (int i = 0; i < TRIES; i++) {
        if (read_page(e) < 0) return -1;
        if (e->hits.count == 0) return 0;
        const uint64_t last = e->hits.ids[e->hits.count - 1];
        const int more = e->by_filter && e->hits.count == e->scroll.limit;
        const int written = write_page(e);
        if (written < 0) return -1;
        if (!written) continue;
        e->scroll.from_start = 0;
        e->scroll.after = last;
        return more;
    }
    ks_call_fail(e->edit->place->call, 409, "other writes changed the same points again and again: try again");
    return -1;
}

/* What the body means: points, or a filter. */
static int begin(editing *e) {
    const ks_qd_place *place = e->edit->place;
    const json_t *points = ks_qd_get(e->edit->body, "points"), *filter = ks_qd_get(e->edit->body, "filter");
    if (!points && !filter) {
        ks_call_fail(place->call, 400, "Format error in JSON body: points or a filter must say which points are meant");
        return -1;
    }
    e->by_filter = points == NULL;
    if (points && ks_qd_ids(place, points, &e->ids) < 0) return -1;
    if (e->ids.count > KITH_K_MAX) {
        ks_call_fail(place->call, 413, "%u points may be named at once, and there are %zu", KITH_K_MAX, e->ids.count);
        return -1;
    }
    e->scroll = (kith_scroll)KITH_SCROLL_INIT;
    e->scroll.limit = points ? KITH_K_MAX : 1000;
    e->scroll.with = e->edit->with | KITH_WITH_VERSION;
    if (ks_qd_where(place, filter, points ? &e->ids : NULL, 1, &e->scroll.filter) < 0) return -1;
    e->result = ks_qd_result(place->call);
    e->edit->ends = ks_call_alloc(place->call, (KITH_K_MAX + 1) * sizeof *e->edit->ends);
    if (e->result && e->edit->ends) return 0;
    ks_call_no_memory(place->call);
    return -1;
}

int ks_qd_edit_points(ks_qd_edit *edit) {
    editing e = {.edit = edit, .hits = KITH_HITS_INIT};
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    int more = begin(&e);
    if (more == 0) {
        if (kith_collection_get_info(edit->place->shop->collection, &info) == KITH_OK) edit->version = info.version;
        do more = edit_page(&e);
        while (more > 0);
    }
    ks_text_free(&edit->text);
    return more;
}
