/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile bodies. What is taken must be what jansson makes of it where jansson takes it too, whole arrays of numbers must
 * be strtof's, and what is written of it must be taken again; errors never show what stands for numbers. */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/json/json.h"
#include "support/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right) {
    if (!right) abort();
}

static void visit(ks_call *call, const json_t *value) {
    size_t count = 0;
    uint64_t whole;
    ks_uint(value, &whole);
    if (ks_is_numbers(value)) {
        const float *floats = ks_floats(call, value, &count);
        check(floats != NULL);
        size_t whole_count;
        ks_uints(call, value, "numbers", &whole_count);
    }
    const json_t *array = ks_array(call, value);
    if (array && count) check(json_array_size(array) == count);
    if (array && !ks_is_numbers(value))
        for (size_t i = 0; i < json_array_size(array); i++) visit(call, json_array_get(array, i));
    const char *key;
    json_t *member;
    if (json_is_object(value)) json_object_foreach((json_t *)(uintptr_t)value, key, member) visit(call, member);
}

static void write_again(ks_call *call, const json_t *tree, const char *text, size_t size) {
    size_t bytes = 0;
    kith_error error = {0};
    const char *again = ks_dump(call, tree, &bytes);
    check(again != NULL);
    check(ks_parse(call, again, bytes, &error) != NULL);
    json_t *right = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    json_t *ours = json_loadb(again, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    check(!right || json_equal(right, ours));
    json_decref(right);
    json_decref(ours);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A copy of just its length and the zero behind a body. */
    char *text = malloc(size + 1);
    check(text != NULL);
    if (size) memcpy(text, data, size);
    text[size] = 0;
    ks_call call;
    struct ks_wire wire;
    calls_begin(&call, &wire, text, size);
    kith_error error = {0};
    const json_t *tree = ks_parse(&call, text, size, &error);
    if (tree) {
        visit(&call, tree);
        write_again(&call, tree, text, size);
    } else {
        check(error.text[0] && !strstr(error.text, "u0000n") && !strstr(error.text, "u0000u"));
    }
    calls_end(&call);
    free(text);
    return 0;
}
