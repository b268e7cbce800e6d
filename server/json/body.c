/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies as trees. A tree and what was taken out of it go with the call. */
#include <string.h>

#include "json/json.h"
#include "json/take.h"

static void forget(void *context) {
    json_decref(context);
}

/* Line and column, from 1; a column is a character. */
static void place(const char *text, size_t at, size_t *line, size_t *column) {
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n')
            ++*line, *column = 1;
        else if (((unsigned char)text[i] & 0xc0) != 0x80)
            ++*column;
    }
}

static void say(kith_error *error, const char *text, size_t at, const char *why, size_t bytes) {
    if (!error) return;
    size_t line, column;
    place(text, at, &line, &column);
    *error = (kith_error){.status = KITH_E_FORMAT};
    snprintf(error->text, sizeof error->text, "line %zu, column %zu: %.*s", line, column, (int)bytes, why);
}

static void say_no_memory(kith_error *error) {
    if (!error) return;
    *error = (kith_error){.status = KITH_E_NOMEM, .text = "there is no memory for this body"};
}

/* What jansson says, without what it quotes: that may be what stands for numbers. */
static void say_jansson(kith_error *error, const char *text, size_t bytes, const ks_text *out,
                        const json_error_t *found) {
    if (json_error_code(found) == json_error_out_of_memory ||
        !found->text[0]) { /* where it ran out it may say nothing */
        say_no_memory(error);
        return;
    }
    const char *quoted = strstr(found->text, " near ");
    size_t at = ks_taken_place(out, found->position > 0 ? (size_t)found->position : 0);
    if (at > bytes) at = bytes;
    say(error, text, at > 0 ? at - 1 : 0, found->text, quoted ? (size_t)(quoted - found->text) : strlen(found->text));
}

json_t *ks_parse_own(ks_call *call, const char *bytes, size_t count, kith_error *error) {
    ks_text out = {0};
    ks_fault fault = {0};
    json_t *tree = NULL;
    if (ks_take(call, bytes, count, 1, &out, &fault) != 0) {
        if (fault.why)
            say(error, bytes, fault.at, fault.why, strlen(fault.why));
        else
            say_no_memory(error);
    } else {
        json_error_t found;
        tree = json_loadb(out.bytes ? out.bytes : "", out.used,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &found);
        if (!tree) say_jansson(error, bytes, count, &out, &found);
    }
    ks_text_free(&out);
    return tree;
}

const json_t *ks_parse(ks_call *call, const char *bytes, size_t count, kith_error *error) {
    json_t *tree = ks_parse_own(call, bytes, count, error);
    if (!tree || ks_call_defer(call, forget, tree) == 0) return tree;
    say_no_memory(error);
    return NULL;
}

static const char *kind(const json_t *value) {
    if (ks_taken_of(value)) return ks_is_numbers(value) ? "an array" : "a number";
    return json_is_array(value)     ? "an array"
           : json_is_string(value)  ? "a string"
           : json_is_number(value)  ? "a number"
           : json_is_boolean(value) ? "true or false"
                                    : "null";
}

const json_t *ks_body(ks_call *call, const char *what) {
    if (call->body_bytes == 0) {
        ks_call_fail(call, 400, "the body is empty; it must be %s", what);
        return NULL;
    }
    kith_error error = {0};
    const json_t *tree = ks_parse(call, call->body, call->body_bytes, &error);
    if (!tree && error.status == KITH_E_NOMEM)
        ks_call_no_memory(call);
    else if (!tree)
        ks_call_fail(call, 400, "the body is not JSON that is taken: %s", error.text);
    else if (!json_is_object(tree))
        ks_call_fail(call, 400, "the body must be %s, and is %s", what, kind(tree));
    else
        return tree;
    return NULL;
}
