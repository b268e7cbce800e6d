/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing points on conditions: only those that are there, or are not, or match a filter; and only those of a key's
 * segment. Items' versions make sure that what was looked at is what is written over: when one has changed meanwhile,
 * all of it is done again, and what was written already is written once more. */
#include "qdrant/inner.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 8 };

#define NEVER_MET (KITH_VERSION_ANY - 1) /* a version that no item has: it stays as it is */

typedef struct storing {
    const ks_qd_place *place;
    const ks_qd_points *points;
    const ks_qd_conditions *conditions;
    kith_write_mode mode;
    kith_result *result;
    uint64_t *versions; /* one a point: what is wanted of the item that is there */
    uint64_t *numbers;  /* one a point: what stands for it, KITH_ID_NONE when it is not there */
    size_t left_out;    /* points that are not to be written */
} storing;

static int fail(const storing *s, kith_status status, const kith_error *error) {
    ks_call_fail_status(s->place->call, status, error);
    return -1;
}

/* Whether a hit is the point at a place. */
static int is_it(const kith_ids *ids, size_t point, const kith_hits *hits, size_t hit) {
    if (ids->ids) return ids->ids[point] == hits->ids[hit];
    const uint64_t begin = point ? ids->id_ends[point - 1] : 0, bytes = ids->id_ends[point] - begin;
    const uint64_t at = hit ? hits->id_ends[hit - 1] : 0;
    return hits->id_ends[hit] - at == bytes && memcmp(hits->id_bytes + at, ids->id_bytes + begin, (size_t)bytes) == 0;
}

/* What is there now. */
static int look(storing *s) {
    kith_hits hits = KITH_HITS_INIT;
    kith_error error = {0};
    const kith_ids *ids = &s->points->ids;
    const kith_status status =
        kith_collection_get(s->place->shop->collection, ids, KITH_WITH_VERSION, s->result, &error);
    if (status != KITH_OK) return fail(s, status, &error);
    kith_result_hits(s->result, &hits);
    for (size_t point = 0, hit = 0; point < ids->count; point++) {
        const int there = hit < hits.count && is_it(ids, point, &hits, hit);
        s->versions[point] = there ? hits.versions[hit] : 0;
        s->numbers[point] = there ? hits.ids[hit] : KITH_ID_NONE;
        hit += (size_t)there;
    }
    return 0;
}

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Which of those that are there match a filter: *hits are ascending. */
static int matching(storing *s, const json_t *filter, kith_hits *hits) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_error error = {0};
    scroll.limit = KITH_K_MAX;
    if (ks_qd_where(s->place, filter, &s->points->ids, 1, &scroll.filter) < 0) return -1;
    const kith_status status = kith_collection_scroll(s->place->shop->collection, &scroll, s->result, &error);
    if (status != KITH_OK) return fail(s, status, &error);
    *hits = (kith_hits)KITH_HITS_INIT;
    kith_result_hits(s->result, hits);
    return 0;
}

static int is_among(const kith_hits *hits, uint64_t number) {
    return hits->count > 0 && bsearch(&number, hits->ids, hits->count, sizeof *hits->ids, compare) != NULL;
}

/* Nothing of another segment may be written over. */
static int stay_in_segment(storing *s) {
    kith_hits hits;
    if (!s->place->segment) return 0;
    if (matching(s, NULL, &hits) < 0) return -1;
    for (size_t i = 0; i < s->points->ids.count; i++) {
        if (s->numbers[i] == KITH_ID_NONE || is_among(&hits, s->numbers[i])) continue;
        ks_call_fail(s->place->call, 403, "Forbidden: point %zu is there already, and is not of this key's segment", i);
        return -1;
    }
    return 0;
}

/* What each item must be like to be written. */
static int decide(storing *s) {
    kith_hits hits = KITH_HITS_INIT;
    if (s->conditions->filter && matching(s, s->conditions->filter, &hits) < 0) return -1;
    s->left_out = 0;
    for (size_t i = 0; i < s->points->ids.count; i++) {
        const int there = s->numbers[i] != KITH_ID_NONE;
        const int out = there ? s->conditions->only_absent || (s->conditions->filter && !is_among(&hits, s->numbers[i]))
                              : s->conditions->only_present;
        if (!out) continue;
        s->versions[i] = NEVER_MET;
        s->left_out++;
    }
    return 0;
}

static int write_items(storing *s, const uint64_t *versions, kith_write_report *report) {
    kith_items items = KITH_ITEMS_INIT;
    kith_error error = {0};
    items.ids = s->points->ids;
    items.vectors = s->points->vectors;
    items.vector_count = s->points->vector_count;
    if (s->points->payload_bytes) {
        items.payload_bytes = s->points->payload_bytes;
        items.payload_ends = s->points->payload_ends;
    }
    items.if_version = versions;
    const kith_status status = kith_collection_write(s->place->shop->collection, &items, s->mode, report, &error);
    if (status == KITH_OK) return 0;
    if (status == KITH_E_DATA || status == KITH_E_ARG || status == KITH_E_LIMIT) {
        ks_call_fail(s->place->call, status == KITH_E_LIMIT ? 413 : 400, "Wrong input: %s", error.text);
        return -1;
    }
    if (status == KITH_E_NOTFOUND) {
        ks_call_fail(s->place->call, 404, "Not found: %s", error.text);
        return -1;
    }
    return fail(s, status, &error);
}

int ks_qd_payload_fits(const ks_qd_place *place, const char *payload, size_t bytes) {
    if (!place->segment) return 1;
    const uint64_t end = bytes;
    const kith_hits one = {.payload_bytes = payload, .payload_ends = &end};
    int status;
    json_t *tree = ks_qd_payload(&one, 0, &status);
    const json_t *value = ks_qd_at_key(tree, place->shop->segment_field);
    const int fits = json_is_string(value) && strcmp(json_string_value(value), place->segment) == 0;
    json_decref(tree);
    if (!fits)
        ks_call_fail(place->call, 403, "Forbidden: `%s` of each payload must be this key's segment",
                     place->shop->segment_field);
    return fits;
}

static int payloads_fit(const ks_qd_place *place, const ks_qd_points *points) {
    for (size_t i = 0; place->segment && i < points->ids.count; i++) {
        const uint64_t begin = i ? points->payload_ends[i - 1] : 0;
        if (!ks_qd_payload_fits(place, points->payload_bytes + begin, (size_t)(points->payload_ends[i] - begin)))
            return 0;
    }
    return 1;
}

int ks_qd_store(const ks_qd_place *place, const ks_qd_points *points, kith_write_mode mode,
                const ks_qd_conditions *conditions, uint64_t *version) {
    storing s = {.place = place, .points = points, .conditions = conditions, .mode = mode};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    const int free_of = !place->segment && !conditions->filter && !conditions->only_absent && !conditions->only_present;
    const size_t count = points->ids.count;
    if (mode == KITH_UPSERT && !payloads_fit(place, points)) return -1;
    if (free_of) {
        if (write_items(&s, NULL, &report) < 0) return -1;
        *version = report.version;
        return 0;
    }
    if (count > KITH_K_MAX) {
        ks_call_fail(place->call, 413, "a conditional write may have %u points, and this one has %zu", KITH_K_MAX,
                     count);
        return -1;
    }
    s.result = ks_qd_result(place->call);
    s.versions = ks_call_alloc(place->call, (count + 1) * sizeof *s.versions);
    s.numbers = ks_call_alloc(place->call, (count + 1) * sizeof *s.numbers);
    if (!s.result || !s.versions || !s.numbers) {
        ks_call_no_memory(place->call);
        return -1;
    }
    for (int i = 0; i < TRIES; i++) {
        if (look(&s) < 0 || stay_in_segment(&s) < 0 || decide(&s) < 0) return -1;
        if (write_items(&s, s.versions, &report) < 0) return -1;
        *version = report.version;
        if (report.unmet <= s.left_out) return 0;
    }
    ks_call_fail(place->call, 409, "other writes changed the same points again and again: try again");
    return -1;
}
