/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters of calls, and filters under a key with a segment.
 *
 * A filter that is text is put into brackets before the segment's condition follows. What is no filter by itself may be
 * one within brackets (`true) or (true`), and would reach beyond the segment: so it is read alone first, by a scroll
 * that begins behind the last id and looks at nothing. */
#include <string.h>

#include "native/inner.h"

static const char blank[] = " \t\r\n";

static size_t depth_of(const json_t *value) {
    size_t deepest = 0;
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            const size_t depth = depth_of(json_array_get(value, i));
            if (depth > deepest) deepest = depth;
        }
        return deepest; /* a clause's conditions: the object that they stand in counts */
    }
    if (!json_is_object(value)) return 0;
    json_t *object = (json_t *)(uintptr_t)value; /* iterating changes nothing */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const size_t depth = depth_of(json_object_iter_value(at));
        if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
}

static int too_deep(ks_call *call) {
    ks_call_fail(call, 400, "the filter is nested more than %u deep", ks_app_of(call)->limits.filter_depth);
    return -1;
}

/* From a quote to the one that ends it. */
static const char *skip_quoted(const char *at) {
    const char quote = *at++;
    while (*at && *at != quote) at += *at == '\\' && at[1] ? 2 : 1;
    return *at ? at + 1 : at;
}

int ks_v1_filter_depth(ks_call *call, const char *filter) {
    const unsigned max = ks_app_of(call)->limits.filter_depth;
    unsigned depth = 0;
    for (const char *at = filter; *at;) {
        if (*at == '"' || *at == '\'' || *at == '`') {
            at = skip_quoted(at);
            continue;
        }
        if ((*at == '(' || *at == '{') && ++depth > max) return too_deep(call);
        if ((*at == ')' || *at == '}') && depth > 0) depth--;
        at++;
    }
    return 0;
}

int ks_v1_filter(ks_call *call, const json_t *body, const char **filter) {
    const json_t *value = json_object_get(body, "filter");
    if (!value || json_is_null(value)) return 0;
    if (json_is_object(value)) {
        if (depth_of(value) > ks_app_of(call)->limits.filter_depth) return too_deep(call);
        const char *text = ks_dump(call, value, NULL);
        if (!text) return -1;
        *filter = text;
        return 0;
    }
    if (!json_is_string(value) || ks_is_numbers(value)) {
        ks_call_fail(call, 400, "\"filter\" must be a string in the filter language, or an object");
        return -1;
    }
    *filter = json_string_value(value);
    return ks_v1_filter_depth(call, *filter);
}

/* Whether it is a filter by itself. */
static int check_alone(ks_call *call, const ks_shop *shop, const char *filter) {
    kith_error error = {0};
    kith_result *result = NULL;
    kith_scroll scroll = KITH_SCROLL_INIT;
    scroll.filter = filter;
    scroll.from_start = 0;
    scroll.after = KITH_ID_NONE - 1;
    scroll.limit = 1;
    kith_status status = kith_result_create(&result, &error);
    if (status == KITH_OK) status = kith_collection_scroll(shop->collection, &scroll, result, &error);
    kith_result_destroy(result);
    if (status == KITH_OK) return 0;
    ks_call_fail_status(call, status, &error);
    return -1;
}

/* {"key": field, "match": {"value": segment}} */
static void add_condition(ks_json *json, const char *field, const char *segment) {
    ks_json_object(json, NULL);
    ks_json_text(json, "key", field);
    ks_json_object(json, "match");
    ks_json_text(json, "value", segment);
    ks_json_object_end(json);
    ks_json_object_end(json);
}

/* (filter) and `field` = "segment" */
static void add_text(ks_text *text, const char *filter, const char *field, const char *segment) {
    ks_text_format(text, "(%s\n) and `", filter);
    for (const char *at = field; *at; at++) ks_text_add(text, *at == '`' ? "``" : at, *at == '`' ? 2 : 1);
    ks_text_add_line(text, "` = ");
    ks_json json = KS_JSON(text);
    ks_json_text(&json, NULL, segment);
}

static void add_bound(ks_text *text, const char *filter, const char *field, const char *segment) {
    const char *begin = filter ? filter + strspn(filter, blank) : "";
    if (*begin && *begin != '{') {
        add_text(text, begin, field, segment);
        return;
    }
    ks_json json = KS_JSON(text);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "must");
    if (*begin) ks_json_verbatim(&json, NULL, begin, strlen(begin));
    add_condition(&json, field, segment);
    ks_json_array_end(&json);
    ks_json_object_end(&json);
}

int ks_v1_bind(ks_call *call, const ks_shop *shop, const char *filter, const char **bound) {
    const char *segment = call->key->segment;
    *bound = filter;
    if (!segment) return 0;
    if (filter && check_alone(call, shop, filter) != 0) return -1;
    ks_text text = {0};
    add_bound(&text, filter, shop->segment_field, segment);
    *bound = text.failed ? NULL : ks_call_copy(call, text.bytes, text.used);
    ks_text_free(&text);
    if (*bound) return 0;
    ks_call_no_memory(call);
    return -1;
}
