/* SPDX-License-Identifier: Apache-2.0
 *
 * See condition.h. Values are such that every field holds its declared type, so that it does not matter which of them
 * are declared. */
#include "support/condition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const kith_field condition_fields[CONDITION_FIELDS] = {
    {"color", KITH_FIELD_TAG, 0},      {"tags", KITH_FIELD_TAGS, 0}, {"price", KITH_FIELD_FLOAT, 0},
    {"count", KITH_FIELD_INT, 0},      {"sold", KITH_FIELD_BOOL, 0}, {"shop.city", KITH_FIELD_TAG, 0},
    {"shop.floor", KITH_FIELD_INT, 0},
};

enum { WORDS = 6 };
static const char *const words[WORDS] = {"red", "blue", "green", "reed \"x\"", "r\xc3\xb6t", "blue-ish"};

enum kind { AND, OR, NOT, WORD, PREFIX, NUMBER, RANGE, TRUTH, EXISTS, HAS_ID };
enum { CHILDREN = 3, OPERANDS = 3 };

struct condition {
    enum kind kind;
    const char *field;
    size_t count;
    condition *child[CHILDREN];
    const char *word[OPERANDS];
    double number[OPERANDS];
    uint64_t id[OPERANDS];
    int has_low, has_high, low_open, high_open, truth;
    double low, high;
};

/* ---- Payloads ---------------------------------------------------------------------------------------------------- */

static int often(ki_rng *rng) {
    return ki_rng_below(rng, 5) != 0;
}

static const char *some_word(ki_rng *rng) {
    return words[ki_rng_below(rng, WORDS)];
}

static int64_t some_count(ki_rng *rng) {
    static const int64_t far[] = {INT64_MIN, INT64_MAX, -1, INT64_C(1) << 40};
    return ki_rng_below(rng, 10) ? (int64_t)ki_rng_below(rng, 12) : far[ki_rng_below(rng, 4)];
}

char *condition_payload(ki_rng *rng) {
    json_t *payload = json_object();
    if (often(rng)) json_object_set_new(payload, "color", json_string(some_word(rng)));
    if (often(rng)) {
        json_t *tags = json_array();
        for (uint64_t i = ki_rng_below(rng, 4); i; i--) json_array_append_new(tags, json_string(some_word(rng)));
        json_object_set_new(payload, "tags", tags);
    }
    if (often(rng)) json_object_set_new(payload, "price", json_real((double)ki_rng_below(rng, 40) * 0.5 - 5));
    if (often(rng)) json_object_set_new(payload, "count", json_integer(some_count(rng)));
    if (often(rng)) json_object_set_new(payload, "sold", json_boolean(ki_rng_below(rng, 2)));
    if (often(rng)) {
        json_t *shop = json_object();
        if (often(rng)) json_object_set_new(shop, "city", json_string(some_word(rng)));
        if (often(rng)) json_object_set_new(shop, "floor", json_integer((int)ki_rng_below(rng, 5)));
        json_object_set_new(payload, "shop", shop);
    }
    if (!often(rng)) json_object_set_new(payload, "color", json_null());
    json_object_set_new(payload, "note", json_integer((json_int_t)ki_rng_below(rng, 1000)));
    char *text = json_dumps(payload, JSON_COMPACT);
    json_decref(payload);
    return text;
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

static void make_leaf(condition *to, ki_rng *rng, const uint64_t *ids, size_t id_count) {
    const kith_field *field = &condition_fields[ki_rng_below(rng, CONDITION_FIELDS)];
    to->field = field->name;
    if (id_count && ki_rng_below(rng, 8) == 0) {
        to->kind = HAS_ID;
        to->count = 1 + ki_rng_below(rng, OPERANDS);
        for (size_t i = 0; i < to->count; i++) to->id[i] = ids[ki_rng_below(rng, id_count)];
    } else if (ki_rng_below(rng, 8) == 0) {
        to->kind = EXISTS;
    } else if (field->type == KITH_FIELD_BOOL) {
        to->kind = TRUTH;
        to->truth = (int)ki_rng_below(rng, 2);
    } else if (field->type == KITH_FIELD_TAG || field->type == KITH_FIELD_TAGS) {
        to->kind = field->type == KITH_FIELD_TAG && ki_rng_below(rng, 5) == 0 ? PREFIX : WORD;
        to->count = to->kind == PREFIX ? 1 : 1 + ki_rng_below(rng, OPERANDS);
        for (size_t i = 0; i < to->count; i++) to->word[i] = some_word(rng);
        if (to->kind == PREFIX) to->word[0] = ki_rng_below(rng, 2) ? "re" : "blue";
    } else if (ki_rng_below(rng, 3) == 0) {
        to->kind = NUMBER;
        to->count = 1 + ki_rng_below(rng, OPERANDS);
        for (size_t i = 0; i < to->count; i++) to->number[i] = (double)ki_rng_below(rng, 12);
    } else {
        to->kind = RANGE;
        to->has_low = ki_rng_below(rng, 3) != 0;
        to->has_high = !to->has_low || ki_rng_below(rng, 3) == 0;
        to->low_open = (int)ki_rng_below(rng, 2), to->high_open = (int)ki_rng_below(rng, 2);
        to->low = (double)ki_rng_below(rng, 10) - 2;
        to->high = to->low + (double)ki_rng_below(rng, 8);
    }
}

condition *condition_make(ki_rng *rng, size_t size, const uint64_t *ids, size_t id_count) {
    condition *to = calloc(1, sizeof(*to));
    if (!to) abort();
    if (size <= 1) {
        make_leaf(to, rng, ids, id_count);
        return to;
    }
    to->kind = (enum kind)ki_rng_below(rng, 3);
    to->count = to->kind == NOT ? 1 : 2 + ki_rng_below(rng, CHILDREN - 1);
    for (size_t i = 0; i < to->count; i++) to->child[i] = condition_make(rng, (size - 1) / to->count, ids, id_count);
    return to;
}

void condition_free(condition *c) {
    if (!c) return;
    for (size_t i = 0; i < CHILDREN; i++) condition_free(c->child[i]);
    free(c);
}

/* ---- As text ----------------------------------------------------------------------------------------------------- */

struct text {
    char *data;
    size_t bytes;
};

static void append(struct text *text, const char *more) {
    const size_t bytes = strlen(more);
    text->data = realloc(text->data, text->bytes + bytes + 1);
    if (!text->data) abort();
    memcpy(text->data + text->bytes, more, bytes + 1);
    text->bytes += bytes;
}

static void append_quoted(struct text *text, const char *word) {
    json_t *string = json_string(word);
    char *quoted = json_dumps(string, JSON_ENCODE_ANY);
    append(text, quoted);
    free(quoted);
    json_decref(string);
}

static void append_number(struct text *text, double number) {
    char digits[40];
    snprintf(digits, sizeof(digits), "%.17g", number);
    append(text, digits);
}

static int append_node(struct text *text, const condition *from);

static int append_children(struct text *text, const condition *from, const char *between) {
    for (size_t i = 0; i < from->count; i++) {
        if (i) append(text, between);
        append(text, "(");
        if (!append_node(text, from->child[i])) return 0;
        append(text, ")");
    }
    return 1;
}

static void append_range(struct text *text, const condition *from) {
    if (from->has_low) {
        append(text, from->field);
        append(text, from->low_open ? " > " : " >= ");
        append_number(text, from->low);
    }
    if (from->has_low && from->has_high) append(text, " and ");
    if (from->has_high) {
        append(text, from->field);
        append(text, from->high_open ? " < " : " <= ");
        append_number(text, from->high);
    }
}

static void append_operands(struct text *text, const condition *from) {
    append(text, from->field);
    append(text, from->count == 1 ? " = " : " in (");
    for (size_t i = 0; i < from->count; i++) {
        if (i) append(text, ", ");
        if (from->kind == WORD)
            append_quoted(text, from->word[i]);
        else
            append_number(text, from->number[i]);
    }
    if (from->count > 1) append(text, ")");
}

static int append_node(struct text *text, const condition *from) {
    switch (from->kind) {
    case AND:
        return append_children(text, from, " and ");
    case OR:
        return append_children(text, from, " or ");
    case NOT:
        append(text, "not ");
        return append_children(text, from, "");
    case WORD:
    case NUMBER:
        append_operands(text, from);
        return 1;
    case PREFIX:
        append(text, from->field);
        append(text, " ~ \"");
        append(text, from->word[0]);
        append(text, "*\"");
        return 1;
    case RANGE:
        append_range(text, from);
        return 1;
    case TRUTH:
        append(text, from->truth ? "" : "not ");
        append(text, from->field);
        /* Without the field both are false, so "not sold" is not what is meant by {"value": false}. */
        if (!from->truth) {
            append(text, " and ");
            append(text, from->field);
            append(text, " exists");
        }
        return 1;
    case EXISTS:
        append(text, from->field);
        append(text, " exists");
        return 1;
    case HAS_ID:
        break;
    }
    return 0;
}

char *condition_text(const condition *c) {
    struct text text = {NULL, 0};
    append(&text, "");
    if (append_node(&text, c)) return text.data;
    free(text.data);
    return NULL;
}

static json_t *keyed(const condition *from, const char *name, json_t *value) {
    return json_pack("{s:s, s:o}", "key", from->field, name, value);
}

static json_t *node_json(const condition *from) {
    json_t *list = json_array(), *range;
    for (size_t i = 0; i < from->count; i++) {
        if (from->kind <= NOT)
            json_array_append_new(list, node_json(from->child[i]));
        else if (from->kind == WORD || from->kind == PREFIX)
            json_array_append_new(list, json_string(from->word[i]));
        else if (from->kind == NUMBER)
            json_array_append_new(list, json_real(from->number[i]));
        else
            json_array_append_new(list, json_integer((json_int_t)from->id[i]));
    }
    switch (from->kind) {
    case AND:
        return json_pack("{s:o}", "must", list);
    case OR:
        return json_pack("{s:o}", "should", list);
    case NOT:
        return json_pack("{s:o}", "must_not", list);
    case HAS_ID:
        return json_pack("{s:o}", "has_id", list);
    case WORD:
    case NUMBER:
        if (from->count > 1) return keyed(from, "match", json_pack("{s:o}", "any", list));
        range = keyed(from, "match", json_pack("{s:O}", "value", json_array_get(list, 0)));
        json_decref(list);
        return range;
    case PREFIX:
        json_decref(list);
        return NULL;
    case RANGE:
        json_decref(list);
        range = json_object();
        if (from->has_low) json_object_set_new(range, from->low_open ? "gt" : "gte", json_real(from->low));
        if (from->has_high) json_object_set_new(range, from->high_open ? "lt" : "lte", json_real(from->high));
        return keyed(from, "range", range);
    case TRUTH:
        json_decref(list);
        return keyed(from, "match", json_pack("{s:b}", "value", from->truth));
    case EXISTS:
        json_decref(list);
        return json_pack("{s:[{s:{s:s}}]}", "must_not", "is_empty", "key", from->field);
    }
    return NULL;
}

static int has_prefix(const condition *from) {
    if (from->kind == PREFIX) return 1;
    for (size_t i = 0; from->kind <= NOT && i < from->count; i++)
        if (has_prefix(from->child[i])) return 1;
    return 0;
}

/* The JSON form has no prefixes. A single condition is put into a list: the outermost is a filter. */
char *condition_json(const condition *from) {
    if (has_prefix(from)) return NULL;
    json_t *json = node_json(from);
    if (from->kind > NOT) json = json_pack("{s:[o]}", "must", json);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

/* ---- Evaluating -------------------------------------------------------------------------------------------------- */

/* The value of a field: by its name, or by the path that its dots make; NULL: it is missing. */
static const json_t *value_of(const json_t *payload, const char *field) {
    const json_t *value = payload ? json_object_get(payload, field) : NULL;
    char name[64];
    if (!value && payload && strchr(field, '.')) {
        const char *dot = strchr(field, '.');
        snprintf(name, sizeof(name), "%.*s", (int)(dot - field), field);
        value = json_object_get(json_object_get(payload, name), dot + 1);
    }
    return value && !json_is_null(value) ? value : NULL;
}

static int has_word(const condition *c, const json_t *value) {
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            if (has_word(c, json_array_get(value, i))) return 1;
        return 0;
    }
    for (size_t i = 0; json_is_string(value) && i < c->count; i++)
        if (strcmp(json_string_value(value), c->word[i]) == 0) return 1;
    return 0;
}

static int has_number(const condition *c, const json_t *value) {
    for (size_t i = 0; json_is_number(value) && i < c->count; i++)
        if (json_number_value(value) == c->number[i]) return 1;
    return 0;
}

static int in_range(const condition *c, const json_t *value) {
    const double number = json_number_value(value); /* bounds are small, so rounding does not matter */
    if (!json_is_number(value)) return 0;
    if (c->has_low && (c->low_open ? number <= c->low : number < c->low)) return 0;
    return !c->has_high || (c->high_open ? number < c->high : number <= c->high);
}

static int exists(const json_t *value) {
    return value && !(json_is_array(value) && json_array_size(value) == 0);
}

int condition_holds(const condition *c, const json_t *payload, uint64_t id) {
    const json_t *value = c->kind >= WORD && c->kind != HAS_ID ? value_of(payload, c->field) : NULL;
    switch (c->kind) {
    case AND:
        for (size_t i = 0; i < c->count; i++)
            if (!condition_holds(c->child[i], payload, id)) return 0;
        return 1;
    case OR:
        for (size_t i = 0; i < c->count; i++)
            if (condition_holds(c->child[i], payload, id)) return 1;
        return 0;
    case NOT:
        return !condition_holds(c->child[0], payload, id);
    case WORD:
        return value && has_word(c, value);
    case PREFIX:
        return value && strncmp(json_string_value(value), c->word[0], strlen(c->word[0])) == 0;
    case NUMBER:
        return value && has_number(c, value);
    case RANGE:
        return value && in_range(c, value);
    case TRUTH:
        return value && json_is_true(value) == c->truth;
    case EXISTS:
        return exists(value);
    case HAS_ID:
        for (size_t i = 0; i < c->count; i++)
            if (c->id[i] == id) return 1;
        return 0;
    }
    return 0;
}
