/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of a tree: numbers that were taken out, and values as text again. */
#include <math.h>
#include <string.h>

#include "json/json.h"
#include "json/number.h"
#include "json/take.h"

int ks_is_numbers(const json_t *value) {
    const ks_taken *taken = ks_taken_of(value);
    return taken ? taken->floats != NULL : json_is_array(value) && json_array_size(value) == 0;
}

const float *ks_floats(ks_call *call, const json_t *value, size_t *count) {
    static const float none[1];
    const ks_taken *taken = ks_taken_of(value);
    if (!taken || !taken->floats) {
        if (!json_is_array(value) || json_array_size(value) > 0)
            ks_call_fail(call, 400, "an array of numbers was expected, and something else is there");
        *count = 0;
        return json_is_array(value) && json_array_size(value) == 0 ? none : NULL;
    }
    *count = taken->count;
    return taken->floats;
}

int ks_uint(const json_t *value, uint64_t *out) {
    const ks_taken *taken = ks_taken_of(value);
    if (taken) return !taken->floats && ks_number_uint(taken->text, taken->bytes, out);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return 0;
    *out = (uint64_t)json_integer_value(value);
    return 1;
}

static const char *word_end(const char *at, const char *end) {
    while (at < end && !strchr(",] \t\n\r", *at)) at++;
    return at;
}

/* Each number of a text like "[1, 2]". The place of the first one that is no u64, or `count`. */
static size_t read_uints(const ks_taken *taken, uint64_t *numbers) {
    const char *at = taken->text + 1, *end = taken->text + taken->bytes;
    for (size_t i = 0; i < taken->count; i++) {
        while (strchr(", \t\n\r", *at)) at++;
        const char *after = word_end(at, end);
        if (!ks_number_uint(at, (size_t)(after - at), &numbers[i])) return i;
        at = after;
    }
    return taken->count;
}

const uint64_t *ks_uints(ks_call *call, const json_t *value, const char *name, size_t *count) {
    static const uint64_t none[1];
    const ks_taken *taken = ks_taken_of(value);
    if (json_is_array(value) && json_array_size(value) == 0) {
        *count = 0;
        return none;
    }
    if (!taken || !taken->floats) {
        ks_call_fail(call, 400, "\"%s\" must be an array of whole numbers", name);
        return NULL;
    }
    uint64_t *numbers = ks_call_alloc(call, taken->count * sizeof *numbers);
    if (!numbers) {
        ks_call_no_memory(call);
        return NULL;
    }
    const size_t good = read_uints(taken, numbers);
    if (good < taken->count) {
        ks_call_fail(call, 400,
                     "\"%s\" must have whole numbers of 0..18446744073709551615 only, and number %zu is none", name,
                     good + 1);
        return NULL;
    }
    *count = taken->count;
    return numbers;
}

static void forget(void *context) {
    json_decref(context);
}

const json_t *ks_array(ks_call *call, const json_t *value) {
    const ks_taken *taken = ks_taken_of(value);
    if (json_is_array(value)) return value;
    if (!taken || !taken->floats) return NULL;
    ks_text out = {0};
    ks_fault fault = {0};
    json_error_t found;
    json_t *tree = NULL;
    if (ks_take(call, taken->text, taken->bytes, 0, &out, &fault) == 0) {
        tree = json_loadb(out.bytes, out.used, JSON_ALLOW_NUL, &found);
        if (!tree && json_error_code(&found) != json_error_out_of_memory) {
            ks_text_free(&out);
            ks_call_fail(call, 400, "an array has a number that is too large");
            return NULL;
        }
    } else if (fault.why) {
        ks_call_fail(call, 400, "an array has %s", fault.why);
        ks_text_free(&out);
        return NULL;
    }
    ks_text_free(&out);
    if (tree && ks_call_defer(call, forget, tree) != 0) tree = NULL;
    if (!tree) ks_call_no_memory(call);
    return tree;
}

/* ---- As text again ----------------------------------------------------------------------------------------------- */

/* With a point or an exponent, so that it is read as one that has them. */
static void add_real(ks_json *json, const char *name, double number) {
    char text[KS_NUMBER_TEXT + 2];
    size_t bytes = ks_number_print_real(number, text);
    if (!memchr(text, '.', bytes) && !memchr(text, 'e', bytes)) {
        memcpy(text + bytes, ".0", 2);
        bytes += 2;
    }
    ks_json_verbatim(json, name, text, bytes);
}

static void add_array(ks_json *json, const char *name, const json_t *value) {
    ks_json_array(json, name);
    for (size_t i = 0; i < json_array_size(value); i++) ks_json_value(json, NULL, json_array_get(value, i));
    ks_json_array_end(json);
}

static void add_object(ks_json *json, const char *name, const json_t *value) {
    ks_json_object(json, name);
    json_t *object = (json_t *)(uintptr_t)value; /* iterating changes nothing */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        ks_json_value(json, json_object_iter_key(at), json_object_iter_value(at));
    ks_json_object_end(json);
}

void ks_json_value(ks_json *json, const char *name, const json_t *value) {
    const ks_taken *taken = ks_taken_of(value);
    if (taken) {
        ks_json_verbatim(json, name, taken->text, taken->bytes);
        return;
    }
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        add_object(json, name, value);
        break;
    case JSON_ARRAY:
        add_array(json, name, value);
        break;
    case JSON_STRING:
        ks_json_bytes(json, name, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        ks_json_int(json, name, json_integer_value(value));
        break;
    case JSON_REAL:
        add_real(json, name, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        ks_json_bool(json, name, json_is_true(value));
        break;
    case JSON_NULL:
    default:
        ks_json_null(json, name);
    }
}

const char *ks_dump(ks_call *call, const json_t *value, size_t *bytes) {
    ks_text text = {0};
    ks_json json = KS_JSON(&text);
    ks_json_value(&json, NULL, value);
    const char *copy = text.failed ? NULL : ks_call_copy(call, text.bytes, text.used);
    if (copy && bytes) *bytes = text.used;
    if (!copy) ks_call_no_memory(call);
    ks_text_free(&text);
    return copy;
}
