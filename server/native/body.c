/* SPDX-License-Identifier: Apache-2.0
 *
 * What bodies and URLs of several routes have: numbers, "with", ids. */
#include <stdlib.h>
#include <string.h>

#include "native/inner.h"

static int with_word(ks_call *call, const char *word, size_t bytes, unsigned *with) {
    static const struct {
        const char *word;
        unsigned with;
    } words[] = {{"payload", KITH_WITH_PAYLOAD}, {"version", KITH_WITH_VERSION}, {"vector", KITH_WITH_VECTORS}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i].word) != bytes || memcmp(words[i].word, word, bytes) != 0) continue;
        *with |= words[i].with;
        return 0;
    }
    ks_call_fail(call, 400, "\"with\" takes \"payload\", \"version\" and \"vector\", and not \"%.*s\"",
                 (int)(bytes > 64 ? 64 : bytes), word);
    return -1;
}

int ks_v1_with(ks_call *call, const json_t *body, unsigned *with) {
    const json_t *list = NULL;
    const int there = ks_member_array(call, body, "with", &list);
    if (there <= 0) return there;
    *with = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *word = json_array_get(list, i);
        if (with_word(call, json_is_string(word) ? json_string_value(word) : "?", json_string_length(word), with) != 0)
            return -1;
    }
    return 1;
}

int ks_v1_with_argument(ks_call *call, unsigned *with) {
    const char *at = ks_call_argument(call, "with");
    if (!at) return 0;
    *with = 0;
    while (*at) {
        const size_t bytes = strcspn(at, ",");
        if (with_word(call, at, bytes, with) != 0) return -1;
        at += bytes + (at[bytes] == ',');
    }
    return 1;
}

int ks_v1_argument_uint(ks_call *call, const char *name, uint64_t max, uint64_t *out) {
    const char *text = ks_call_argument(call, name);
    if (!text) return 0;
    char *end = NULL;
    const unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    /* 20 digits and more may have wrapped; 2^64 - 1 itself is no argument of ours. */
    if (!end || *end || number == UINT64_MAX || number > max) {
        ks_call_fail(call, 400, "the argument \"%s\" must be a whole number of 0..%llu", name, (unsigned long long)max);
        return -1;
    }
    *out = number;
    return 1;
}

int ks_v1_argument_real(ks_call *call, const char *name, double min, double max, double *out) {
    const char *text = ks_call_argument(call, name);
    if (!text) return 0;
    char *end = NULL;
    const double number = strspn(text, "0123456789.eE+-") == strlen(text) ? strtod(text, &end) : 0;
    if (!end || end == text || *end || !(number >= min && number <= max)) {
        ks_call_fail(call, 400, "the argument \"%s\" must be a number of %g..%g", name, min, max);
        return -1;
    }
    *out = number;
    return 1;
}

int ks_v1_argument_bool(ks_call *call, const char *name, int *out) {
    const char *text = ks_call_argument(call, name);
    if (!text) return 0;
    const int yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0) {
        ks_call_fail(call, 400, "the argument \"%s\" must be true or false", name);
        return -1;
    }
    *out = yes;
    return 1;
}

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

static int number_ids(ks_call *call, const json_t *value, const char *name, kith_ids *ids) {
    const uint64_t *numbers = ks_uints(call, value, name, &ids->count);
    if (!numbers) return -1;
    for (size_t i = 0; i < ids->count; i++) {
        if (numbers[i] != KITH_ID_NONE) continue;
        ks_call_fail(call, 400, "\"%s\": 18446744073709551615 is never an id", name);
        return -1;
    }
    ids->ids = numbers;
    return 0;
}

static int string_ids(ks_call *call, const json_t *array, const char *name, kith_ids *ids) {
    ids->count = json_array_size(array);
    size_t bytes = 0;
    for (size_t i = 0; i < ids->count; i++) {
        const json_t *id = json_array_get(array, i);
        const size_t length = json_string_length(id);
        if (!json_is_string(id) || length < 1 || length > KITH_STRING_MAX) {
            ks_call_fail(call, 400, "\"%s\" must have strings of 1..%u bytes only, and number %zu is none", name,
                         KITH_STRING_MAX, i + 1);
            return -1;
        }
        bytes += length;
    }
    char *all = ks_call_alloc(call, bytes + 1);
    uint64_t *ends = ks_call_alloc(call, (ids->count + 1) * sizeof *ends);
    if (!all || !ends) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0, at = 0; i < ids->count; i++) {
        const json_t *id = json_array_get(array, i);
        memcpy(all + at, json_string_value(id), json_string_length(id));
        ends[i] = at += json_string_length(id);
    }
    ids->id_bytes = all;
    ids->id_ends = ends;
    return 0;
}

int ks_v1_ids(ks_call *call, const ks_shop *shop, const json_t *value, const char *name, kith_ids *ids) {
    const size_t max = ks_app_of(call)->limits.points_max;
    *ids = (kith_ids){0};
    if (shop->id_kind != KITH_ID_STRING) {
        if (number_ids(call, value, name, ids) != 0) return -1;
    } else if (ks_is_numbers(value) && !json_is_array(value)) {
        ks_call_fail(call, 400, "\"%s\" has numbers, and the ids of \"%s\" are strings", name, shop->name);
        return -1;
    } else if (!json_is_array(value)) {
        ks_call_fail(call, 400, "\"%s\" must be an array of strings", name);
        return -1;
    } else if (string_ids(call, value, name, ids) != 0) {
        return -1;
    }
    if (ids->count <= max) return 0;
    ks_call_fail(call, 413, "\"%s\" has %zu ids, and a call takes at most %zu", name, ids->count, max);
    return -1;
}

int ks_v1_path_id(ks_call *call, const ks_shop *shop, const char *text, kith_ids *ids) {
    const size_t bytes = strlen(text);
    uint64_t *word = ks_call_alloc(call, sizeof *word);
    if (!word) {
        ks_call_no_memory(call);
        return -1;
    }
    *ids = (kith_ids){.count = 1};
    if (shop->id_kind == KITH_ID_STRING && bytes <= KITH_STRING_MAX) {
        *word = bytes;
        ids->id_bytes = text;
        ids->id_ends = word;
        return 0;
    }
    char *end = NULL;
    *word = *text >= '0' && *text <= '9' && bytes <= 20 ? strtoull(text, &end, 10) : 0;
    if (shop->id_kind == KITH_ID_STRING || !end || *end || *word == KITH_ID_NONE) {
        ks_call_fail(call, 400, "the path ends in no id of \"%s\": these are %s", shop->name,
                     shop->id_kind == KITH_ID_STRING ? "strings of at most 4,096 bytes" : "whole numbers");
        return -1;
    }
    ids->ids = word;
    return 0;
}
