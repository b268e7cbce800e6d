/* SPDX-License-Identifier: Apache-2.0
 *
 * The declared values of a payload, in one walk over its text. Strings are gathered as they come and put in order at
 * the end, when the memory that they lie in moves no more.
 *
 * V1. Of equal keys the last counts. A key with dots at the top is nearer than the path of that name.
 * V2. Keys within objects that have dots are no part of any path. So each path is spelled by one list of keys only. */
#include "filter/schema.h"

#include "base/checked.h"
#include "base/status.h"
#include "filter/value.h"

#include <string.h>

enum { NAME_MAX_BYTES = 255, EXCERPT_BYTES = 40 };

typedef struct piece {
    size_t at; /* in text */
    size_t bytes;
} piece;

typedef struct word {
    const char *at;
    size_t bytes;
} word;

/* What a walk knows of a field. */
typedef struct found {
    size_t first, count; /* pieces */
    bool literal;        /* V1: found by the key itself */
} found;

typedef struct gathered {
    char *text;
    size_t text_bytes, text_capacity;
    piece *pieces;
    size_t piece_count, piece_capacity;
    word *words;
    size_t word_capacity;
    found *found;
    size_t found_capacity, value_capacity, string_capacity, bytes_capacity;
} gathered;

typedef struct walk {
    const ki_schema *schema;
    ki_values *values;
    gathered *store;
    int strict;
    kith_error *error;
} walk;

void ki_values_free(ki_values *values) {
    if (!values) return;
    gathered *store = values->memory;
    if (store) {
        free(store->text);
        free(store->pieces);
        free(store->words);
        free(store->found);
    }
    free(store);
    free(values->value);
    free(values->string);
    free(values->string_bytes);
    *values = (ki_values){0};
}

static kith_status refused(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "no memory for the declared values of a payload");
}

/* All absent. */
static kith_status begin(const ki_schema *schema, ki_values *values, kith_error *error) {
    const size_t count = schema ? schema->count : 0;
    if (!values->memory) values->memory = calloc(1, sizeof(gathered));
    gathered *store = values->memory;
    if (!store) return refused(error);
    if (!ki_array_reserve((void **)&values->value, &store->value_capacity, count, sizeof *values->value) ||
        !ki_array_reserve((void **)&store->found, &store->found_capacity, count, sizeof *store->found))
        return refused(error);
    if (count > 0) {
        memset(values->value, 0, count * sizeof *values->value);
        memset(store->found, 0, count * sizeof *store->found);
    }
    store->text_bytes = store->piece_count = 0;
    values->count = count;
    values->strings = 0;
    return KITH_OK;
}

static kith_status add_word(gathered *store, const ki_doc_value *value, bool *fits, kith_error *error) {
    char buffer[KI_DECIMAL_TEXT];
    ki_doc_text text;
    *fits = ki_value_word(value, buffer, &text);
    if (!*fits) return KITH_OK;
    if (!ki_array_reserve((void **)&store->text, &store->text_capacity, store->text_bytes + text.bytes, 1) ||
        !ki_array_reserve((void **)&store->pieces, &store->piece_capacity, store->piece_count + 1, sizeof(piece)))
        return refused(error);
    const size_t bytes = text.bytes == 0 ? 0 : ki_doc_decode(text, store->text + store->text_bytes);
    store->pieces[store->piece_count++] = (piece){store->text_bytes, bytes};
    store->text_bytes += bytes;
    return KITH_OK;
}

/* The strings of a tag, or of tags. */
static kith_status add_words(walk *at, size_t number, const ki_doc_value *value, bool *fits) {
    gathered *store = at->store;
    found *field = &store->found[number];
    field->first = store->piece_count;
    kith_status status = KITH_OK;
    if (at->schema->fields[number].type == KITH_FIELD_TAGS && value->kind == KI_DOC_ARRAY) {
        ki_doc array = value->inside;
        *fits = true;
        for (bool more = false; status == KITH_OK && *fits && ki_doc_element(&array, &more);) {
            ki_doc_value element;
            *fits = ki_doc_value_of(&array, &element);
            if (*fits) status = add_word(store, &element, fits, at->error);
        }
    } else {
        status = add_word(store, value, fits, at->error);
    }
    field->count = *fits ? store->piece_count - field->first : 0;
    at->values->value[number].count = (uint32_t)field->count;
    return status;
}

static kith_status wrong_type(const walk *at, const ki_field *field, const ki_doc_value *value) {
    size_t bytes = ki_min_size(value->raw_bytes, EXCERPT_BYTES);
    while (bytes < value->raw_bytes && bytes > 0 && ((unsigned char)value->raw[bytes] & 0xC0) == 0x80) bytes--;
    return ki_fail(at->error, KITH_E_DATA, "the field \"%s\" is declared as %s, and the payload has %.*s%s",
                   field->name, kith_field_type_name(field->type), (int)bytes, value->raw,
                   bytes < value->raw_bytes ? "..." : "");
}

static kith_status set_field(walk *at, const ki_field *field, const ki_doc_value *value, bool literal) {
    const size_t number = (size_t)(field - at->schema->fields);
    ki_value *to = &at->values->value[number];
    found *known = &at->store->found[number];
    if (known->literal && !literal) return KITH_OK;
    *known = (found){.literal = literal};
    *to = (ki_value){0};
    if (value->kind == KI_DOC_NULL) return KITH_OK;
    bool fits = false;
    kith_status status = KITH_OK;
    if (field->type == KITH_FIELD_TAG || field->type == KITH_FIELD_TAGS)
        status = add_words(at, number, value, &fits);
    else if (field->type == KITH_FIELD_FLOAT)
        to->count = fits = ki_value_f64(value, &to->as.f);
    else
        to->count = fits = ki_value_i64(field->type, value, &to->as.i);
    if (status != KITH_OK || fits) return status;
    return at->strict ? wrong_type(at, field, value) : KITH_OK;
}

/* Whether any declared field lies below this path; all that do become absent, as what was said of them before this key
 * no longer counts. */
static bool leads_on(walk *at, const char *path, size_t bytes) {
    bool leads = false;
    for (size_t i = 0; i < at->schema->count; i++) {
        const ki_field *field = &at->schema->fields[i];
        if (field->name_bytes <= bytes || field->name[bytes] != '.' || memcmp(field->name, path, bytes) != 0) continue;
        leads = true;
        if (at->store->found[i].literal) continue;
        at->store->found[i] = (found){0};
        at->values->value[i] = (ki_value){0};
    }
    return leads;
}

/* The members of an opened object behind the first `prefix` bytes of path. The text has been checked, but for the top.
 * */
static kith_status walk_object(walk *at, ki_doc *object, char path[NAME_MAX_BYTES + 1], size_t prefix) {
    const bool top = prefix == 0;
    kith_status status = KITH_OK;
    ki_doc_text key;
    for (bool more = false; status == KITH_OK && ki_doc_member(object, &more, &key);) {
        ki_doc_value value;
        if (!ki_doc_value_of(object, &value)) break;
        if (key.bytes > 6 * (NAME_MAX_BYTES - prefix)) continue; /* no name, even if each byte is an escape */
        char decoded[6 * NAME_MAX_BYTES];
        const size_t bytes = ki_doc_decode(key, decoded);
        if (bytes > NAME_MAX_BYTES - prefix) continue;
        memcpy(path + prefix, decoded, bytes);
        const size_t whole = prefix + bytes;
        const bool has_dot = memchr(path + prefix, '.', bytes) != NULL;
        if (has_dot && !top) continue; /* V2 */
        const ki_field *field = ki_schema_find(at->schema, path, whole);
        if (field) status = set_field(at, field, &value, top);
        if (status != KITH_OK || has_dot || !at->schema || at->schema->dotted == 0 || !leads_on(at, path, whole))
            continue;
        if (value.kind != KI_DOC_OBJECT || whole == NAME_MAX_BYTES) continue;
        path[whole] = '.';
        status = walk_object(at, &value.inside, path, whole + 1);
    }
    return status;
}

static int word_order(const void *a, const void *b) {
    const word *x = a, *y = b;
    const size_t both = ki_min_size(x->bytes, y->bytes);
    const int order = both ? memcmp(x->at, y->at, both) : 0;
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* A field's pieces, sorted and distinct, behind the strings that are there. */
static void put_strings(ki_values *values, const found *field, ki_value *value) {
    const gathered *store = values->memory;
    word *words = store->words;
    for (size_t i = 0; i < field->count; i++) {
        const piece *from = &store->pieces[field->first + i];
        words[i] = (word){store->text + from->at, from->bytes};
    }
    if (field->count > 1) qsort(words, field->count, sizeof *words, word_order);
    value->as.at = (uint32_t)values->strings;
    for (size_t i = 0; i < field->count; i++) {
        if (i > 0 && word_order(&words[i], &words[i - 1]) == 0) continue;
        values->string[values->strings] = words[i].at;
        values->string_bytes[values->strings++] = (uint32_t)words[i].bytes;
    }
    value->count = (uint32_t)values->strings - value->as.at;
}

static kith_status finish(walk *at) {
    gathered *store = at->store;
    ki_values *values = at->values;
    const size_t count = store->piece_count;
    if (count == 0) return KITH_OK;
    /* Decoded text may be nothing at all, and a string has a place even then. */
    if (!ki_array_reserve((void **)&store->text, &store->text_capacity, 1, 1) ||
        !ki_array_reserve((void **)&store->words, &store->word_capacity, count, sizeof(word)) ||
        !ki_array_reserve((void **)&values->string, &store->string_capacity, count, sizeof *values->string) ||
        !ki_array_reserve((void **)&values->string_bytes, &store->bytes_capacity, count, sizeof *values->string_bytes))
        return refused(at->error);
    for (size_t i = 0; i < values->count; i++)
        if (store->found[i].count > 0) put_strings(values, &store->found[i], &values->value[i]);
    return KITH_OK;
}

int ki_values_reserve(const ki_schema *schema, size_t strings, ki_values *values) {
    if (begin(schema, values, NULL) != KITH_OK) return 0;
    gathered *store = values->memory;
    return ki_array_reserve((void **)&values->string, &store->string_capacity, strings, sizeof *values->string) &&
           ki_array_reserve((void **)&values->string_bytes, &store->bytes_capacity, strings,
                            sizeof *values->string_bytes);
}

kith_status ki_values_of(const ki_schema *schema, const char *payload, size_t bytes, int strict, ki_values *values,
                         kith_error *error) {
    kith_status status = begin(schema, values, error);
    if (status != KITH_OK || bytes == 0) return status;
    if (bytes > KITH_PAYLOAD_MAX)
        return ki_fail(error, KITH_E_LIMIT, "the payload has %zu bytes, and %u are the most", bytes, KITH_PAYLOAD_MAX);
    walk at = {schema, values, values->memory, strict, error};
    char path[NAME_MAX_BYTES + 1];
    ki_doc doc = ki_doc_begin(payload, bytes);
    if (ki_doc_open(&doc, '{')) status = walk_object(&at, &doc, path, 0);
    if (status == KITH_OK && !doc.expected) ki_doc_end(&doc);
    if (status == KITH_OK && doc.expected)
        status = ki_fail(error, KITH_E_DATA, "the payload is no JSON object: byte %zu: expected %s",
                         (size_t)(doc.at - doc.begin) + 1, doc.expected);
    if (status == KITH_OK) status = finish(&at);
    if (status != KITH_OK) begin(schema, values, NULL);
    return status;
}
