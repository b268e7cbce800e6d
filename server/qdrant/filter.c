/* SPDX-License-Identifier: Apache-2.0
 *
 * Qdrant's filters in kith's JSON form, which is theirs but for these:
 *
 * 1. min_should is spelled out: of n conditions at least m hold when all of some m of them do. So it is offered while
 *    there are at most CHOICES_MAX such choices.
 * 2. except also wants the field to be there, as in Qdrant.
 * 3. is_empty and is_null in a condition on a key are conditions of their own.
 * 4. has_id has ids as the collection does (qdrant/id.h).
 *
 * What cannot be said is refused by its name. */
#include "error/error.h"
#include "qdrant/filter.h"
#include "qdrant/id.h"

#include <stdio.h>
#include <string.h>

enum {
    TEXT_MAX = 4 << 20, /* as kith takes at most: choices within choices multiply */
    CHOICES_MAX = 256,
    DEPTH_OF_LEVEL = 12 /* of JSON that a level may open at most */
};

typedef struct filtering {
    const ks_qd_filter_rules *rules;
    ks_json json;
    unsigned depth;
    kith_error *error;
} filtering;

static kith_status condition(filtering *f, const json_t *value);

/* Members that are null are as if they were not there. */
static const json_t *member(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

/* The first member that is not in the list (ends in NULL); NULL: all are. */
static const char *stranger(const json_t *object, const char *const *known) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0) i++;
        if (!known[i] && !json_is_null(value)) return name;
    }
    return NULL;
}

kith_status ks_qd_key(const char **key, size_t *bytes, kith_error *error) {
    if (*bytes > 2 && memcmp(*key + *bytes - 2, "[]", 2) == 0) *bytes -= 2;
    if (*bytes > 2 && (*key)[0] == '"' && memchr(*key + 1, '"', *bytes - 1) == *key + *bytes - 1) {
        *key += 1;
        *bytes -= 2;
    }
    if (*bytes == 0) return ks_error(error, KITH_E_ARG, "the key of a payload is empty");
    if (memchr(*key, '[', *bytes) || memchr(*key, '"', *bytes))
        return ks_error(
            error, KITH_E_UNSUPPORTED,
            "the key `%.100s`: paths through arrays, as a[].b, and quotes within a path are not offered by kith", *key);
    return KITH_OK;
}

static kith_status put_key(filtering *f, const json_t *key) {
    if (!json_is_string(key)) return ks_error(f->error, KITH_E_ARG, "a condition's key must be a text");
    const char *text = json_string_value(key);
    size_t bytes = json_string_length(key);
    const kith_status status = ks_qd_key(&text, &bytes, f->error);
    if (status == KITH_OK) ks_json_bytes(&f->json, "key", text, bytes);
    return status;
}

/* {"is_empty": {"key": ...}}; negated: within a must_not. */
static kith_status put_empty(filtering *f, const json_t *key, int negated) {
    ks_json_object(&f->json, NULL);
    if (negated) {
        ks_json_array(&f->json, "must_not");
        ks_json_object(&f->json, NULL);
    }
    ks_json_object(&f->json, "is_empty");
    const kith_status status = put_key(f, key);
    ks_json_object_end(&f->json);
    if (negated) {
        ks_json_object_end(&f->json);
        ks_json_array_end(&f->json);
    }
    ks_json_object_end(&f->json);
    return status;
}

static kith_status put_match(filtering *f, const json_t *key, const json_t *match) {
    static const char *const kinds[] = {"value", "any", "except", "prefix", NULL};
    const char *name = json_is_object(match) ? stranger(match, kinds) : NULL;
    if (name)
        return ks_error(f->error, KITH_E_UNSUPPORTED,
                        "a match by `%.60s` is not offered by kith: value, any, except and prefix are", name);
    size_t kind = 0;
    while (kinds[kind] && !member(match, kinds[kind])) kind++;
    if (!json_is_object(match) || !kinds[kind])
        return ks_error(f->error, KITH_E_ARG, "a match must be an object with a value, any, except or prefix");
    const int except = strcmp(kinds[kind], "except") == 0;
    if (except) {
        ks_json_object(&f->json, NULL);
        ks_json_array(&f->json, "must");
    }
    ks_json_object(&f->json, NULL);
    kith_status status = put_key(f, key);
    ks_json_object(&f->json, "match");
    ks_json_value(&f->json, kinds[kind], member(match, kinds[kind]));
    ks_json_object_end(&f->json);
    ks_json_object_end(&f->json);
    if (except) {
        if (status == KITH_OK) status = put_empty(f, key, 1);
        ks_json_array_end(&f->json);
        ks_json_object_end(&f->json);
    }
    return status;
}

static kith_status put_range(filtering *f, const json_t *key, const json_t *range) {
    ks_json_object(&f->json, NULL);
    const kith_status status = put_key(f, key);
    ks_json_value(&f->json, "range", range);
    ks_json_object_end(&f->json);
    return status;
}

static kith_status on_key(filtering *f, const json_t *value) {
    static const char *const known[] = {"key", "match", "range", "is_empty", "is_null", NULL};
    const char *name = stranger(value, known);
    if (name) return ks_error(f->error, KITH_E_UNSUPPORTED, "a condition with `%.60s` is not offered by kith", name);
    const json_t *key = member(value, "key"), *match = member(value, "match"), *range = member(value, "range"),
                 *empty = member(value, "is_empty"), *null = member(value, "is_null");
    if (!!match + !!range + !!empty + !!null != 1)
        return ks_error(f->error, KITH_E_ARG, "a condition on a key has one of match, range, is_empty and is_null");
    if (match) return put_match(f, key, match);
    if (range) return put_range(f, key, range);
    if (!json_is_boolean(empty ? empty : null))
        return ks_error(f->error, KITH_E_ARG, "is_empty and is_null beside a key must be true or false");
    return put_empty(f, key, json_is_false(empty ? empty : null));
}

static kith_status put_ids(filtering *f, const json_t *ids) {
    const json_t *list = ks_array(f->rules->call, ids);
    if (!list) return ks_error(f->error, KITH_E_ARG, "has_id must be an array of ids");
    kith_status status = KITH_OK;
    ks_json_object(&f->json, NULL);
    ks_json_array(&f->json, "has_id");
    for (size_t i = 0; i < json_array_size(list) && status == KITH_OK; i++) {
        ks_qd_id id;
        const char *why;
        if (ks_qd_id_of(json_array_get(list, i), &id, &why) < 0)
            status = ks_error(f->error, KITH_E_ARG, "has_id, number %zu: %s", i, why);
        else if (f->rules->id_kind == KITH_ID_STRING)
            ks_json_bytes(&f->json, NULL, id.text, id.bytes);
        else if (!id.is_number)
            status = ks_error(f->error, KITH_E_ARG, "has_id, number %zu: the ids of this collection are integers", i);
        else
            ks_json_uint(&f->json, NULL, id.number);
    }
    ks_json_array_end(&f->json);
    ks_json_object_end(&f->json);
    return status;
}

/* An array of conditions, or one. */
static kith_status put_clause(filtering *f, const char *name, const json_t *value) {
    kith_status status = KITH_OK;
    if (!value) return KITH_OK;
    ks_json_array(&f->json, name);
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && status == KITH_OK; i++)
            status = condition(f, json_array_get(value, i));
    } else {
        status = condition(f, value);
    }
    ks_json_array_end(&f->json);
    return status;
}

/* How many ways there are to choose `count` of `of`, as far as CHOICES_MAX + 1. */
static size_t choices(size_t of, size_t count) {
    size_t ways = 1;
    for (size_t i = 1; i <= count && ways <= CHOICES_MAX; i++) ways = ways * (of - count + i) / i;
    return ways;
}

/* Each choice of `count` of the conditions as a must, in a should. */
static kith_status put_choices(filtering *f, const json_t *conditions, size_t count) {
    const size_t of = json_array_size(conditions);
    size_t chosen[CHOICES_MAX + 1];
    kith_status status = KITH_OK;
    for (size_t i = 0; i < count; i++) chosen[i] = i;
    for (int more = 1; more && status == KITH_OK;) {
        ks_json_object(&f->json, NULL);
        ks_json_array(&f->json, "must");
        for (size_t i = 0; i < count && status == KITH_OK; i++)
            status = condition(f, json_array_get(conditions, chosen[i]));
        ks_json_array_end(&f->json);
        ks_json_object_end(&f->json);
        size_t last = count;
        while (last > 0 && chosen[last - 1] == of - count + last - 1) last--;
        more = last > 0;
        if (more) chosen[last - 1]++;
        for (size_t i = last; more && i < count; i++) chosen[i] = chosen[i - 1] + 1;
    }
    return status;
}

static kith_status put_min_should(filtering *f, const json_t *value) {
    if (!value) return KITH_OK;
    const json_t *conditions = member(value, "conditions"), *least = member(value, "min_count");
    if (!json_is_object(value) || !json_is_array(conditions) || !json_is_integer(least) ||
        json_integer_value(least) < 0)
        return ks_error(f->error, KITH_E_ARG, "min_should must have an array of conditions and a min_count");
    const size_t of = json_array_size(conditions);
    if ((uint64_t)json_integer_value(least) > of) { /* is never true: not of everything */
        ks_json_array(&f->json, "must_not");
        ks_json_object(&f->json, NULL);
        ks_json_object_end(&f->json);
        ks_json_array_end(&f->json);
        return KITH_OK;
    }
    const size_t count = (size_t)json_integer_value(least);
    if (count > CHOICES_MAX || choices(of, count) > CHOICES_MAX)
        return ks_error(
            f->error, KITH_E_UNSUPPORTED,
            "min_should with %zu of %zu conditions is not offered by kith: there are more than %d ways to choose",
            count, of, CHOICES_MAX);
    ks_json_array(&f->json, "should");
    const kith_status status = count == 0 ? KITH_OK : put_choices(f, conditions, count);
    ks_json_array_end(&f->json);
    return status;
}

static kith_status put_clauses(filtering *f, const json_t *filter) {
    static const char *const known[] = {"must", "should", "must_not", "min_should", NULL};
    const char *name = stranger(filter, known);
    if (name) return ks_error(f->error, KITH_E_UNSUPPORTED, "a filter with `%.60s` is not offered by kith", name);
    if (f->depth >= f->rules->depth_max || f->json.depth > KS_JSON_DEPTH_MAX - DEPTH_OF_LEVEL)
        return ks_error(f->error, KITH_E_LIMIT, "the filter is deeper than %u levels, or than its conditions may be",
                        f->rules->depth_max);
    const json_t *min_should = member(filter, "min_should");
    f->depth++;
    ks_json_object(&f->json, NULL);
    kith_status status = put_clause(f, "must", member(filter, "must"));
    if (status == KITH_OK) status = put_clause(f, "should", member(filter, "should"));
    if (status == KITH_OK) status = put_clause(f, "must_not", member(filter, "must_not"));
    ks_json_object_end(&f->json);
    if (status == KITH_OK && min_should) {
        ks_json_object(&f->json, NULL);
        status = put_min_should(f, min_should);
        ks_json_object_end(&f->json);
    }
    f->depth--;
    return status;
}

/* A filter; with min_should it is two, which must both hold. */
static kith_status put_filter(filtering *f, const json_t *filter) {
    const int both = member(filter, "min_should") != NULL;
    if (both) {
        ks_json_object(&f->json, NULL);
        ks_json_array(&f->json, "must");
    }
    const kith_status status = put_clauses(f, filter);
    if (both) {
        ks_json_array_end(&f->json);
        ks_json_object_end(&f->json);
    }
    return status;
}

static kith_status condition(filtering *f, const json_t *value) {
    if (!json_is_object(value)) return ks_error(f->error, KITH_E_ARG, "a condition of a filter must be an object");
    if (f->json.text->used > TEXT_MAX)
        return ks_error(f->error, KITH_E_LIMIT, "the filter is larger than %d bytes, with min_should spelled out",
                        TEXT_MAX);
    if (member(value, "key")) return on_key(f, value);
    const json_t *empty = member(value, "is_empty"), *null = member(value, "is_null");
    const json_t *either = empty ? empty : null;
    if (json_is_object(either)) return put_empty(f, member(either, "key"), 0);
    if (member(value, "has_id")) return put_ids(f, member(value, "has_id"));
    return put_filter(f, value);
}

kith_status ks_qd_filter(const json_t *filter, const ks_qd_filter_rules *rules, ks_text *to, kith_error *error) {
    filtering f = {.rules = rules, .json = KS_JSON(to), .error = error};
    if (!json_is_object(filter)) return ks_error(error, KITH_E_ARG, "a filter must be an object");
    const kith_status status = put_filter(&f, filter);
    if (status == KITH_OK && to->failed) return ks_error(error, KITH_E_NOMEM, "no memory for the filter");
    return status;
}
