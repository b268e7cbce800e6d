/* SPDX-License-Identifier: Apache-2.0
 *
 * Aliases of collections. */
#include "qdrant/inner.h"

#include <string.h>

/* Those of a collection; NULL: all. */
static void put_aliases(ks_call *call, const char *of) {
    char alias[KS_NAME_MAX + 1], collection[KS_NAME_MAX + 1];
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    ks_json_array(&json, "aliases");
    for (size_t i = 0; ks_shelf_alias_at(ks_app_of(call)->shelf, i, alias, collection); i++) {
        if ((of && strcmp(of, collection) != 0) || !ks_key_may_name(call->key, collection)) continue;
        ks_json_object(&json, NULL);
        ks_json_text(&json, "alias_name", alias);
        ks_json_text(&json, "collection_name", collection);
        ks_json_object_end(&json);
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

void ks_qd_aliases(ks_call *call, void *context) {
    (void)context;
    put_aliases(call, NULL);
}

void ks_qd_collection_aliases(ks_call *call, void *context) {
    ks_qd_place place;
    (void)context;
    if (ks_qd_enter(call, &place) == 0) put_aliases(call, place.shop->name);
}

typedef struct changes {
    ks_call *call;
    ks_alias *list;
    size_t count;
} changes;

static int add(changes *c, const char *alias, const char *collection) {
    if (!alias || (collection && !ks_qd_may_name(c->call, collection))) {
        if (!alias) ks_call_fail(c->call, 400, "Format error in JSON body: an alias's name is missing");
        return -1;
    }
    c->list[c->count++] = (ks_alias){alias, collection};
    return 0;
}

/* What an alias leads to, after the changes so far; NULL: nothing. */
static const char *led_to(const changes *c, const char *alias) {
    char name[KS_NAME_MAX + 1], collection[KS_NAME_MAX + 1];
    for (size_t i = c->count; i > 0; i--) {
        if (strcmp(c->list[i - 1].alias, alias) == 0) return c->list[i - 1].collection;
    }
    for (size_t i = 0; ks_shelf_alias_at(ks_app_of(c->call)->shelf, i, name, collection); i++) {
        if (strcmp(name, alias) == 0) return ks_call_copy(c->call, collection, strlen(collection));
    }
    return NULL;
}

static int take_rename(changes *c, const json_t *body) {
    const char *old = NULL, *new = NULL;
    if (ks_member_text(c->call, body, "old_alias_name", &old) < 0 ||
        ks_member_text(c->call, body, "new_alias_name", &new) < 0)
        return -1;
    const char *collection = old ? led_to(c, old) : NULL;
    if (!collection) {
        ks_call_fail(c->call, 404, "Not found: Alias %s does not exists!", old ? old : "");
        return -1;
    }
    return !ks_qd_may_name(c->call, collection) || add(c, old, NULL) < 0 ? -1 : add(c, new, collection);
}

static int take_action(changes *c, const json_t *action) {
    const json_t *create = NULL, *drop = NULL, *rename = NULL;
    const char *alias = NULL, *collection = NULL;
    if (!json_is_object(action) || ks_member_object(c->call, action, "create_alias", &create) < 0 ||
        ks_member_object(c->call, action, "delete_alias", &drop) < 0 ||
        ks_member_object(c->call, action, "rename_alias", &rename) < 0 || !!create + !!drop + !!rename != 1) {
        ks_call_fail(c->call, 400,
                     "Format error in JSON body: an action is an object with one of create_alias, "
                     "delete_alias and rename_alias");
        return -1;
    }
    if (rename) return take_rename(c, rename);
    if (ks_member_text(c->call, create ? create : drop, "alias_name", &alias) < 0) return -1;
    if (drop) {
        const char *leads_to = alias ? led_to(c, alias) : NULL;
        if (alias && !leads_to) return 0; /* as Qdrant: there is nothing to do */
        return leads_to && !ks_qd_may_name(c->call, leads_to) ? -1 : add(c, alias, NULL);
    }
    if (ks_member_text(c->call, create, "collection_name", &collection) < 0) return -1;
    if (collection) return add(c, alias, collection);
    ks_call_fail(c->call, 400, "Format error in JSON body: missing field `collection_name`");
    return -1;
}

void ks_qd_change_aliases(ks_call *call, void *context) {
    changes c = {.call = call};
    kith_error error = {0};
    (void)context;
    if (!ks_qd_may_write(call) || !ks_qd_may_all(call)) return;
    const json_t *body = ks_body(call, "a JSON object with actions");
    const json_t *list = body ? ks_qd_elements(call, ks_qd_get(body, "actions"), "actions") : NULL;
    if (!list) return;
    c.list = ks_call_alloc(call, (2 * json_array_size(list) + 1) * sizeof *c.list);
    if (!c.list) {
        ks_call_no_memory(call);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (take_action(&c, json_array_get(list, i)) < 0) return;
    }
    const kith_status status = c.count ? ks_shelf_alias(ks_app_of(call)->shelf, c.list, c.count, &error) : KITH_OK;
    if (status == KITH_OK)
        ks_qd_true(call);
    else if (status == KITH_E_NOTFOUND)
        ks_call_fail(call, 404, "Not found: %s", error.text);
    else
        ks_call_fail_status(call, status, &error);
}
