/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept about collections. */
#include "qdrant/settings.h"

#include <stdlib.h>
#include <string.h>

json_t *ks_qd_settings_read(const ks_qd_place *place) {
    char *text = NULL;
    size_t bytes = 0;
    kith_error error = {0};
    const kith_status status = ks_shelf_kept(place->app->shelf, place->shop, "qdrant", &text, &bytes, &error);
    if (status != KITH_OK && status != KITH_E_NOTFOUND) {
        ks_call_fail_status(place->call, status, &error);
        return NULL;
    }
    json_t *settings = text ? json_loadb(text, bytes, 0, NULL) : json_object();
    free(text);
    if (!json_is_object(settings)) {
        json_decref(settings);
        settings = json_object();
    }
    if (!settings) ks_call_no_memory(place->call);
    return settings;
}

int ks_qd_settings_write(const ks_qd_place *place, const json_t *settings) {
    kith_error error = {0};
    char *text = json_dumps(settings, JSON_COMPACT);
    kith_status status = KITH_E_NOMEM;
    if (text) status = ks_shelf_keep(place->app->shelf, place->shop, "qdrant", text, strlen(text), &error);
    free(text);
    if (status == KITH_OK) return 0;
    if (text)
        ks_call_fail_status(place->call, status, &error);
    else
        ks_call_no_memory(place->call);
    return -1;
}

json_t *ks_qd_settings_part(json_t *settings, const char *name) {
    json_t *part = json_object_get(settings, name);
    if (json_is_object(part)) return part;
    return json_object_set_new(settings, name, json_object()) == 0 ? json_object_get(settings, name) : NULL;
}

json_t *ks_qd_settings_copy(const json_t *value) {
    ks_text text = {0};
    ks_json json = KS_JSON(&text);
    ks_json_value(&json, NULL, value);
    json_t *copy = text.failed ? NULL : json_loadb(text.bytes, text.used, JSON_DECODE_ANY, NULL);
    ks_text_free(&text);
    return copy;
}
