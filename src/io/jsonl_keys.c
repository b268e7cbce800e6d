/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "io/jsonl.h"

#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const vector_words[] = {"vector", "embedding", "embeddings", "values", "emb", "vec", "features"};
enum { VECTOR_WORDS = sizeof(vector_words) / sizeof(*vector_words) };

/* A word that may be written in upper or lower case. */
typedef struct spelled {
    const char *word;
    bool exact;
    unsigned others;
    char other[8]; /* one of the others */
} spelled;

typedef struct seen_keys {
    unsigned vectors; /* bit i: vector_words[i] */
    spelled id, name;
    bool mongo;           /* "_id" */
    const char *asked[2]; /* the caller's keys of ids and names, or NULL */
    bool asked_there[2];
    char all[128]; /* what keys there are, for messages */
} seen_keys;

static void see_word(spelled *word, const char *key, size_t bytes) {
    if (bytes != strlen(word->word) || strncasecmp(key, word->word, bytes) != 0) return;
    if (memcmp(key, word->word, bytes) == 0) {
        word->exact = true;
        return;
    }
    word->others++;
    memcpy(word->other, key, bytes);
    word->other[bytes] = '\0';
}

static void see_key(seen_keys *seen, const char *key, size_t bytes) {
    char excerpt[48];
    const size_t used = strlen(seen->all);
    snprintf(seen->all + used, sizeof(seen->all) - used, "%s\"%s\"", used ? ", " : "", ki_excerpt(key, bytes, excerpt));
    for (unsigned i = 0; i < VECTOR_WORDS; i++)
        if (bytes == strlen(vector_words[i]) && memcmp(key, vector_words[i], bytes) == 0) seen->vectors |= 1u << i;
    see_word(&seen->id, key, bytes);
    see_word(&seen->name, key, bytes);
    for (int i = 0; i < 2; i++)
        if (seen->asked[i] && bytes == strlen(seen->asked[i]) && memcmp(key, seen->asked[i], bytes) == 0)
            seen->asked_there[i] = true;
    seen->mongo = seen->mongo || (bytes == 3 && memcmp(key, "_id", 3) == 0);
}

static bool see_all(ki_json *json, seen_keys *seen) {
    char *key;
    size_t bytes;
    if (!ki_json_need(json, '{', "an object ('{')")) return false;
    if (ki_json_take(json, '}')) return true;
    do {
        if (!ki_json_string(json, &key, &bytes) || !ki_json_need(json, ':', "':'")) return false;
        see_key(seen, key, bytes);
        if (!ki_json_skip(json)) return false;
    } while (ki_json_take(json, ','));
    return ki_json_need(json, '}', "',' or '}'");
}

kith_status ki_jsonl_error(const ki_lines *lines, const ki_json *json, kith_error *error) {
    return ki_fail(error, json->overflow ? KITH_E_DATA : KITH_E_FORMAT, "%s: line %llu, byte %zu: %s was expected",
                   lines->path, (unsigned long long)lines->number, (size_t)(json->at - json->begin) + 1,
                   json->expected);
}

/* K1 */
static kith_status vector_key(const char *asked, const seen_keys *seen, const ki_lines *lines, const char **key,
                              kith_error *error) {
    *key = asked ? asked : vector_words[0];
    if (asked || seen->vectors & 1u) return KITH_OK;
    if (!seen->vectors)
        return ki_fail(error, KITH_E_FORMAT,
                       "%s: line %llu: has no \"vector\" among its keys %s (another key of the vector is the reader's "
                       "option vector_key, the command's --vector-key)",
                       lines->path, (unsigned long long)lines->number, seen->all);
    const unsigned one = (unsigned)__builtin_ctz(seen->vectors);
    *key = vector_words[one];
    if (seen->vectors == 1u << one) return KITH_OK;
    return ki_fail(error, KITH_E_FORMAT,
                   "%s: line %llu: each of \"%s\" and \"%s\" may be the vector; say which is (the reader's option "
                   "vector_key, the command's --vector-key)",
                   lines->path, (unsigned long long)lines->number, vector_words[one],
                   vector_words[__builtin_ctz(seen->vectors & ~(1u << one))]);
}

/* K2 */
static kith_status label_key(const char *asked, const spelled *word, const char *otherwise, const ki_lines *lines,
                             const char **key, kith_error *error) {
    *key = asked ? asked : word->exact || !word->others ? word->word : word->other;
    if (asked || word->exact) return KITH_OK;
    if (word->others > 1)
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: has several keys called \"%s\"; say which is meant",
                       lines->path, (unsigned long long)lines->number, word->word);
    if (!word->others && otherwise) *key = otherwise;
    return KITH_OK;
}

/* An asked-for key must be there. */
static kith_status check_asked(const seen_keys *seen, const ki_lines *lines, kith_error *error) {
    for (int i = 0; i < 2; i++)
        if (seen->asked[i] && !seen->asked_there[i])
            return ki_fail(error, KITH_E_NOTFOUND, "%s: line %llu: there is no key \"%s\" among %s", lines->path,
                           (unsigned long long)lines->number, seen->asked[i], seen->all);
    return KITH_OK;
}

kith_status ki_jsonl_keys_find(ki_jsonl_keys *keys, const kith_reader_options *options, const ki_lines *lines,
                               const char *line, size_t bytes, kith_error *error) {
    seen_keys seen = {
        .id = {.word = "id"}, .name = {.word = "name"}, .asked = {options->id_column, options->name_column}};
    const char *vector = NULL, *id = NULL, *name = NULL;
    ki_json json;
    char *copy = malloc(bytes + 1); /* strings are decoded in place */
    kith_status status = copy ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "%s: out of memory", lines->path);
    if (status == KITH_OK) {
        memcpy(copy, line, bytes);
        copy[bytes] = '\0';
        ki_json_begin(&json, copy, bytes);
        if (!see_all(&json, &seen)) status = ki_jsonl_error(lines, &json, error);
    }
    if (status == KITH_OK) status = check_asked(&seen, lines, error);
    if (status == KITH_OK) status = vector_key(options->vector_key, &seen, lines, &vector, error);
    if (status == KITH_OK)
        status = label_key(options->id_column, &seen.id, seen.mongo ? "_id" : NULL, lines, &id, error);
    if (status == KITH_OK) status = label_key(options->name_column, &seen.name, NULL, lines, &name, error);
    free(copy);
    if (status != KITH_OK) return status;
    *keys = (ki_jsonl_keys){strdup(vector), strdup(id), strdup(name)};
    return keys->vector && keys->id && keys->name ? KITH_OK
                                                  : ki_fail(error, KITH_E_NOMEM, "%s: out of memory", lines->path);
}

void ki_jsonl_keys_free(ki_jsonl_keys *keys) {
    free(keys->vector);
    free(keys->id);
    free(keys->name);
}
