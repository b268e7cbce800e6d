/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing payloads: set (members of it, or of an object within it), overwrite, delete keys, clear. */
#include "qdrant/inner.h"

#include <string.h>

typedef struct changing {
    const json_t *payload; /* set, overwrite */
    const json_t *keys;    /* delete */
    const char *key;       /* set within that object; NULL: the payload itself */
    int keep;              /* what is not said stays */
} changing;

/* The object at a path, made where there is none. */
static json_t *object_at(json_t *payload, const char *path) {
    while (payload && path && *path) {
        const char *dot = strchr(path, '.');
        const size_t bytes = dot ? (size_t)(dot - path) : strlen(path);
        json_t *inner = json_object_getn(payload, path, bytes);
        if (!json_is_object(inner)) {
            inner = json_object();
            if (json_object_setn_new(payload, path, bytes, inner) < 0) return NULL;
        }
        payload = inner;
        path = dot ? dot + 1 : NULL;
    }
    return payload;
}

/* The payload as it becomes; NULL: no memory. */
static json_t *changed(const changing *what, json_t *payload) {
    if (what->keys) {
        const ks_qd_with without = {.exclude = what->keys};
        json_t *left = ks_qd_chosen(payload, &without);
        json_decref(payload);
        return left;
    }
    json_t *target = object_at(payload, what->key);
    if (target && what->payload && json_object_update(target, (json_t *)(uintptr_t)what->payload) == 0) return payload;
    if (target && !what->payload) return payload;
    json_decref(payload);
    return NULL;
}

static json_t *read_payload(const kith_hits *hits, size_t number) {
    const uint64_t begin = number ? hits->payload_ends[number - 1] : 0;
    const size_t bytes = (size_t)(hits->payload_ends[number] - begin);
    return bytes ? json_loadb(hits->payload_bytes + begin, bytes, 0, NULL) : json_object();
}

static int change(ks_qd_edit *edit, const kith_result *result, const kith_hits *hits, kith_items *items) {
    const changing *what = edit->context;
    (void)result;
    for (size_t i = 0; i < hits->count; i++) {
        const size_t before = edit->text.used;
        json_t *old = what->keep ? read_payload(hits, i) : json_object();
        json_t *made = old ? changed(what, old) : NULL;
        if (!made) {
            ks_call_fail(edit->place->call, 400,
                         "Wrong input: kith does not offer to change a payload that has a whole number beyond 2^63-1 "
                         "or a U+0000: upsert the point");
            return -1;
        }
        ks_json json = KS_JSON(&edit->text);
        ks_json_value(&json, NULL, made);
        json_decref(made);
        edit->ends[i] = edit->text.used;
        if (edit->text.failed) {
            ks_call_no_memory(edit->place->call);
            return -1;
        }
        if (!ks_qd_payload_fits(edit->place, edit->text.bytes + before, edit->text.used - before)) return -1;
    }
    items->payload_bytes = edit->text.bytes;
    items->payload_ends = edit->ends;
    return 0;
}

static int run(const ks_qd_place *place, const json_t *body, const changing *what, uint64_t *version) {
    ks_qd_edit edit = {.place = place,
                       .body = body,
                       .with = what->keep ? KITH_WITH_PAYLOAD : 0,
                       .mode = KITH_UPDATE,
                       .change = change,
                       .context = what};
    const int status = ks_qd_edit_points(&edit);
    *version = edit.version;
    return status;
}

static int set(const ks_qd_place *place, const json_t *body, int keep, uint64_t *version) {
    static const char *const known[] = {"payload", "points", "filter", "key", NULL};
    changing what = {.keep = keep};
    const char *key = NULL;
    if (ks_qd_only(place->call, body, known) < 0) return -1;
    if (ks_member_object(place->call, body, "payload", &what.payload) < 0) return -1;
    if (!what.payload) {
        ks_call_fail(place->call, 400, "Format error in JSON body: missing field `payload`");
        return -1;
    }
    if (ks_member_text(place->call, body, "key", &key) < 0) return -1;
    if (key) {
        kith_error error = {0};
        size_t bytes = strlen(key);
        if (ks_qd_key(&key, &bytes, &error) != KITH_OK || !(key = ks_call_copy(place->call, key, bytes))) {
            ks_call_fail(place->call, 400, "Wrong input: %s", error.text);
            return -1;
        }
        what.key = key;
        what.keep = 1;
    }
    return run(place, body, &what, version);
}

int ks_qd_do_set_payload(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    return set(place, body, 1, version);
}

int ks_qd_do_overwrite_payload(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    return set(place, body, 0, version);
}

int ks_qd_do_delete_payload(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    static const char *const known[] = {"keys", "points", "filter", NULL};
    const json_t *keys = NULL;
    if (ks_qd_only(place->call, body, known) < 0 ||
        !(keys = ks_qd_elements(place->call, ks_qd_get(body, "keys"), "keys")))
        return -1;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        if (json_is_string(json_array_get(keys, i))) continue;
        ks_call_fail(place->call, 400, "Format error in JSON body: keys must be an array of texts");
        return -1;
    }
    const changing what = {.keys = keys, .keep = 1};
    return run(place, body, &what, version);
}

int ks_qd_do_clear_payload(const ks_qd_place *place, const json_t *body, uint64_t *version) {
    static const char *const known[] = {"points", "filter", NULL};
    const changing what = {.keep = 0};
    return ks_qd_only(place->call, body, known) < 0 ? -1 : run(place, body, &what, version);
}

void ks_qd_set_payload(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_set_payload);
}

void ks_qd_overwrite_payload(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_overwrite_payload);
}

void ks_qd_delete_payload(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_delete_payload);
}

void ks_qd_clear_payload(ks_call *call, void *context) {
    (void)context;
    ks_qd_operate(call, ks_qd_do_clear_payload);
}
