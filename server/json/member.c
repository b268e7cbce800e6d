/* SPDX-License-Identifier: Apache-2.0
 *
 * Members of a body's objects, with the words for those that are something else. */
#include <string.h>

#include "json/json.h"
#include "json/take.h"

/* The member; NULL when it is not there, or null. */
static const json_t *find(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

int ks_member_text(ks_call *call, const json_t *object, const char *name, const char **out) {
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_string(value) || ks_taken_of(value)) {
        ks_call_fail(call, 400, "\"%s\" must be a string", name);
        return -1;
    }
    *out = json_string_value(value);
    return 1;
}

int ks_member_uint(ks_call *call, const json_t *object, const char *name, uint64_t max, uint64_t *out) {
    const json_t *value = find(object, name);
    uint64_t number;
    if (!value) return 0;
    if (!ks_uint(value, &number) || number > max) {
        ks_call_fail(call, 400, "\"%s\" must be a whole number of 0..%llu", name, (unsigned long long)max);
        return -1;
    }
    *out = number;
    return 1;
}

int ks_member_real(ks_call *call, const json_t *object, const char *name, double min, double max, double *out) {
    const json_t *value = find(object, name);
    uint64_t whole = 0;
    if (!value) return 0;
    const int is_whole = ks_uint(value, &whole);
    const double number = is_whole ? (double)whole : json_number_value(value);
    if ((!is_whole && !json_is_number(value)) || !(number >= min && number <= max)) {
        ks_call_fail(call, 400, "\"%s\" must be a number of %g..%g", name, min, max);
        return -1;
    }
    *out = number;
    return 1;
}

int ks_member_bool(ks_call *call, const json_t *object, const char *name, int *out) {
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_boolean(value)) {
        ks_call_fail(call, 400, "\"%s\" must be true or false", name);
        return -1;
    }
    *out = json_is_true(value);
    return 1;
}

int ks_member_array(ks_call *call, const json_t *object, const char *name, const json_t **out) {
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_array(value) && !ks_is_numbers(value)) {
        ks_call_fail(call, 400, "\"%s\" must be an array", name);
        return -1;
    }
    const json_t *array = ks_array(call, value);
    if (!array) return -1;
    *out = array;
    return 1;
}

int ks_member_object(ks_call *call, const json_t *object, const char *name, const json_t **out) {
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_object(value)) {
        ks_call_fail(call, 400, "\"%s\" must be an object", name);
        return -1;
    }
    *out = value;
    return 1;
}

/* "a, b and c" */
static void list(ks_text *text, const char *const *names) {
    for (size_t i = 0; names[i]; i++) {
        if (i > 0) ks_text_add_line(text, names[i + 1] ? ", " : " and ");
        ks_text_format(text, "\"%s\"", names[i]);
    }
}

int ks_members_only(ks_call *call, const json_t *object, const char *const *names) {
    json_t *all = (json_t *)(uintptr_t)object; /* iterating changes nothing */
    for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
        size_t i = 0;
        while (names[i] && strcmp(names[i], json_object_iter_key(at)) != 0) i++;
        if (names[i]) continue;
        ks_text text = {0};
        list(&text, names);
        ks_call_fail(call, 400, "there is no member \"%.64s\" here; known are %.*s", json_object_iter_key(at),
                     text.failed ? 0 : (int)text.used, text.failed ? "" : text.bytes);
        ks_text_free(&text);
        return -1;
    }
    return 0;
}
