/* SPDX-License-Identifier: Apache-2.0
 *
 * Facets: how many points have each value of a key. Payloads of all points that are meant are read. */
#include "qdrant/inner.h"

#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 100000, PAGE = 1000 };

/* Counts by value: by its JSON, so that 1 and "1" are two. */
typedef struct counting {
    const ks_qd_place *place;
    const char *key;
    json_t *counts, *last;
    json_int_t points; /* looked at so far */
} counting;

static int count_value(counting *c, const json_t *value) {
    char *name;
    if (!json_is_string(value) && !json_is_integer(value) && !json_is_boolean(value)) return 0;
    if (!(name = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY))) return -1;
    const json_int_t before = json_integer_value(json_object_get(c->counts, name));
    const int again = json_integer_value(json_object_get(c->last, name)) == c->points;
    int status = again ? 0 : json_object_set_new(c->counts, name, json_integer(before + 1));
    if (!again && status == 0) status = json_object_set_new(c->last, name, json_integer(c->points));
    free(name);
    return status;
}

/* A point counts once for each of its values: `last` has the number of the point that counted for a value last, so that
 * a payload with very many values takes no longer than it must. */
static int count_point(counting *c, const json_t *payload) {
    const json_t *value = ks_qd_at_key(payload, c->key);
    int status = 0;
    c->points++;
    if (!json_is_array(value)) return value ? count_value(c, value) : 0;
    for (size_t i = 0; i < json_array_size(value) && status == 0; i++)
        status = count_value(c, json_array_get(value, i));
    return status;
}

static int count_page(counting *c, const kith_hits *hits) {
    for (size_t i = 0; i < hits->count; i++) {
        int status;
        json_t *payload = ks_qd_payload(hits, i, &status);
        if (status == 0) status = count_point(c, payload);
        json_decref(payload);
        if (status < 0) {
            ks_call_fail(c->place->call, 500, "there is no memory for the facet, or a payload cannot be read");
            return -1;
        }
    }
    if (json_object_size(c->counts) <= VALUES_MAX) return 0;
    ks_call_fail(c->place->call, 413, "`%.100s` has more than %d values, which are too many for a facet", c->key,
                 VALUES_MAX);
    return -1;
}

static int count_all(counting *c, const char *where) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_hits hits = KITH_HITS_INIT;
    kith_result *result = ks_qd_result(c->place->call);
    scroll.filter = where;
    scroll.limit = PAGE;
    scroll.with = KITH_WITH_PAYLOAD;
    if (!result) return -1;
    do {
        kith_error error = {0};
        const kith_status status = kith_collection_scroll(c->place->shop->collection, &scroll, result, &error);
        if (status != KITH_OK) {
            ks_call_fail_status(c->place->call, status, &error);
            return -1;
        }
        kith_result_hits(result, &hits);
        if (count_page(c, &hits) < 0) return -1;
        if (hits.count > 0) scroll.after = hits.ids[hits.count - 1];
        scroll.from_start = 0;
        if (ks_call_gone(c->place->call)) return -1;
    } while (hits.count == PAGE);
    return 0;
}

typedef struct facet {
    const char *value;
    json_int_t count;
} facet;

/* Most points first, ties by value. */
static int by_count(const void *a, const void *b) {
    const facet *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return strcmp(x->value, y->value);
}

static void put_counts(counting *c, uint64_t limit) {
    ks_call *call = c->place->call;
    const size_t count = json_object_size(c->counts);
    facet *facets = ks_call_alloc(call, (count + 1) * sizeof *facets);
    size_t at = 0;
    const char *name;
    json_t *value;
    if (!facets) {
        ks_call_no_memory(call);
        return;
    }
    json_object_foreach(c->counts, name, value) {
        facets[at++] = (facet){name, json_integer_value(value)};
    }
    qsort(facets, count, sizeof *facets, by_count);
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    ks_json_array(&json, "hits");
    for (size_t i = 0; i < count && i < limit; i++) {
        ks_json_object(&json, NULL);
        ks_json_verbatim(&json, "value", facets[i].value, strlen(facets[i].value));
        ks_json_uint(&json, "count", (uint64_t)facets[i].count);
        ks_json_object_end(&json);
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

void ks_qd_facet(ks_call *call, void *context) {
    static const char *const known[] = {"key", "limit", "filter", "exact", NULL};
    ks_qd_place place;
    kith_error error = {0};
    const char *key = NULL, *where;
    uint64_t limit = 10;
    (void)context;
    if (ks_qd_enter(call, &place) < 0) return;
    const json_t *body = ks_body(call, "a JSON object with a key");
    if (!body || ks_qd_only(call, body, known) < 0 || ks_member_text(call, body, "key", &key) < 0) return;
    if (ks_member_uint(call, body, "limit", VALUES_MAX, &limit) < 0) return;
    size_t bytes = key ? strlen(key) : 0;
    if (!key || ks_qd_key(&key, &bytes, &error) != KITH_OK || !(key = ks_call_copy(call, key, bytes))) {
        ks_call_fail(call, 400, "Wrong input: %s", key ? error.text : "a facet must have a key");
        return;
    }
    if (ks_qd_where(&place, ks_qd_get(body, "filter"), NULL, 1, &where) < 0) return;
    counting c = {.place = &place, .key = key, .counts = json_object(), .last = json_object()};
    if (!c.counts || !c.last)
        ks_call_no_memory(call);
    else if (count_all(&c, where) == 0)
        put_counts(&c, limit);
    json_decref(c.counts);
    json_decref(c.last);
}
