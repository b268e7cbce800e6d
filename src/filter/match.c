/* SPDX-License-Identifier: Apache-2.0
 *
 * A filter held against one row: by its declared values, and by its payload. A field that is not declared is taken as
 * JSON has it:
 *
 * F1. Of an array each element is looked at, and one that matches suffices; arrays within arrays and objects match
 *     nothing.
 * F2. Texts equal texts, numbers numbers, truth values truth values. A text in the filter that is a time also equals
 *     each other text of that time, and ranges of times look at texts.
 * F3. What is null, absent, or an array of nothing else does not exist. */
#include "filter/filter.h"

#include "filter/tree.h"
#include "filter/value.h"

#include <string.h>

typedef struct row {
    const ki_schema *schema;
    const ki_values *values;      /* by these */
    const ki_doc_object *payload; /* else this, or NULL: none */
    uint64_t id;
    const char *text;
    size_t text_bytes;
} row;

static bool text_begins(const char *text, size_t bytes, const ki_operand *prefix) {
    return bytes >= prefix->text_bytes &&
           (prefix->text_bytes == 0 || memcmp(text, prefix->text, prefix->text_bytes) == 0);
}

/* ---- Declared values --------------------------------------------------------------------------------------------- */

static bool match_strings(const ki_filter_node *node, const ki_values *values, const ki_value *value) {
    for (uint32_t i = value->as.at; i < value->as.at + value->count; i++) {
        const char *text = values->string[i];
        const size_t bytes = values->string_bytes[i];
        if (node->op == KI_FILTER_EQ ? ki_filter_holds_text(node, text, bytes)
                                     : text_begins(text, bytes, node->operand))
            return true;
    }
    return false;
}

static bool match_number(const ki_filter_node *node, kith_field_type type, int64_t i, double f) {
    if (node->op == KI_FILTER_EQ)
        return type == KITH_FIELD_FLOAT ? ki_filter_holds_f64(node, f) : ki_filter_holds_i64(node, type, i);
    if (node->op != KI_FILTER_RANGE) return false;
    return type == KITH_FIELD_FLOAT ? ki_filter_within_f64(node, f) : ki_filter_within_i64(node, i);
}

static bool is_string_type(kith_field_type type) {
    return type == KITH_FIELD_TAG || type == KITH_FIELD_TAGS;
}

static bool match_value(const ki_filter_node *node, const row *at) {
    const ki_field *field = ki_schema_find(at->schema, node->name, node->name_bytes);
    if (!field) return false;
    const ki_value *value = &at->values->value[field - at->schema->fields];
    if (value->count == 0 || node->op == KI_FILTER_EXISTS) return value->count > 0;
    if (is_string_type(field->type)) return match_strings(node, at->values, value);
    return match_number(node, field->type, field->type == KITH_FIELD_FLOAT ? 0 : value->as.i,
                        field->type == KITH_FIELD_FLOAT ? value->as.f : 0);
}

/* ---- Payloads -----------------------------------------------------------------------------------------------------
 * */

/* A string as it stands in JSON is one of the operands. */
static bool holds_raw(const ki_filter_node *node, ki_doc_text text) {
    if (!text.escaped) return ki_filter_holds_text(node, text.at, text.bytes);
    for (size_t i = 0; i < node->count; i++)
        if (ki_doc_compare(text, node->operand[i].text, node->operand[i].text_bytes) == 0) return true;
    return false;
}

static bool match_word(const ki_filter_node *node, const ki_doc_value *value) {
    char buffer[KI_DECIMAL_TEXT];
    ki_doc_text word;
    if (!ki_value_word(value, buffer, &word)) return false;
    if (node->op == KI_FILTER_PREFIX) return ki_doc_begins(word, node->operand->text, node->operand->text_bytes);
    return node->op == KI_FILTER_EQ && holds_raw(node, word);
}

/* A declared field: what its value would be. Of tags all elements must be good (schema.h). */
static bool match_words(const ki_filter_node *node, kith_field_type type, const ki_doc_value *value) {
    char buffer[KI_DECIMAL_TEXT];
    ki_doc_text word;
    if (type != KITH_FIELD_TAGS || value->kind != KI_DOC_ARRAY)
        return node->op == KI_FILTER_EXISTS ? ki_value_word(value, buffer, &word) : match_word(node, value);
    ki_doc array = value->inside;
    bool matches = false;
    for (bool more = false; ki_doc_element(&array, &more);) {
        ki_doc_value element;
        if (!ki_doc_value_of(&array, &element) || !ki_value_word(&element, buffer, &word)) return false;
        matches = matches || node->op == KI_FILTER_EXISTS || match_word(node, &element);
    }
    return matches;
}

static bool match_declared(const ki_filter_node *node, kith_field_type type, const ki_doc_value *value) {
    int64_t i = 0;
    double f = 0;
    if (is_string_type(type)) return match_words(node, type, value);
    if (!(type == KITH_FIELD_FLOAT ? ki_value_f64(value, &f) : ki_value_i64(type, value, &i))) return false;
    return node->op == KI_FILTER_EXISTS || match_number(node, type, i, f);
}

/* F2, of a text. */
static bool text_equals(const ki_filter_node *node, ki_doc_text text) {
    int64_t ms = 0;
    const bool is_time = ki_value_time(text, &ms);
    if (!is_time && !text.escaped) {
        /* Only texts: numbers have texts too, and are none. */
        const ki_operand key = {.kind = KI_OPERAND_TEXT, .text = text.at, .text_bytes = (uint32_t)text.bytes};
        return ki_filter_holds_operand(node, &key);
    }
    for (size_t i = 0; i < node->count && node->operand[i].kind == KI_OPERAND_TEXT; i++) {
        const ki_operand *operand = &node->operand[i];
        if (is_time && operand->is_time && operand->i == ms) return true;
        if (ki_doc_compare(text, operand->text, operand->text_bytes) == 0) return true;
    }
    return false;
}

static bool number_matches(const ki_filter_node *node, const ki_decimal *number) {
    if (node->op == KI_FILTER_EQ)
        return number->whole ? ki_filter_holds_i64(node, KITH_FIELD_INT, number->i)
                             : ki_filter_holds_f64(node, number->f);
    const ki_operand *end = node->has_low ? &node->low : &node->high;
    if (node->op != KI_FILTER_RANGE || end->kind == KI_OPERAND_TEXT) return false;
    return number->whole ? ki_filter_within_i64(node, number->i) : ki_filter_within_f64(node, number->f);
}

static bool match_scalar(const ki_filter_node *node, const ki_doc_value *value) {
    int64_t ms;
    if (node->op == KI_FILTER_EXISTS) return value->kind != KI_DOC_NULL;
    switch (value->kind) {
    case KI_DOC_TEXT:
        if (node->op == KI_FILTER_PREFIX)
            return ki_doc_begins(value->text, node->operand->text, node->operand->text_bytes);
        if (node->op == KI_FILTER_EQ) return text_equals(node, value->text);
        return (node->has_low ? &node->low : &node->high)->kind == KI_OPERAND_TEXT && ki_value_time(value->text, &ms) &&
               ki_filter_within_i64(node, ms);
    case KI_DOC_NUMBER:
        return number_matches(node, &value->number);
    case KI_DOC_BOOL:
        return node->op == KI_FILTER_EQ && ki_filter_holds_i64(node, KITH_FIELD_BOOL, value->truth);
    default:
        return false;
    }
}

static bool match_free(const ki_filter_node *node, const ki_doc_value *value) {
    if (value->kind != KI_DOC_ARRAY) return match_scalar(node, value);
    ki_doc array = value->inside;
    for (bool more = false; ki_doc_element(&array, &more);) {
        ki_doc_value element;
        if (!ki_doc_value_of(&array, &element)) return false;
        if (match_scalar(node, &element)) return true;
    }
    return false;
}

static bool match_payload(const ki_filter_node *node, const row *at) {
    ki_doc_value value;
    if (!at->payload) return false;
    ki_doc_find(at->payload, node->name, node->name_bytes, &value);
    if (value.kind == KI_DOC_NULL) return false;
    const ki_field *field = ki_schema_find(at->schema, node->name, node->name_bytes);
    return field ? match_declared(node, field->type, &value) : match_free(node, &value);
}

/* ---- The tree -----------------------------------------------------------------------------------------------------
 * */

static bool match_node(const ki_filter_node *node, const row *at) {
    switch (node->op) {
    case KI_FILTER_ALL:
        return true;
    case KI_FILTER_NOT:
        return !match_node(node->child[0], at);
    case KI_FILTER_AND:
        for (size_t i = 0; i < node->count; i++)
            if (!match_node(node->child[i], at)) return false;
        return true;
    case KI_FILTER_OR:
        for (size_t i = 0; i < node->count; i++)
            if (match_node(node->child[i], at)) return true;
        return false;
    case KI_FILTER_IDS:
        return ki_filter_holds_id(node, at->id, at->text, at->text_bytes);
    default:
        return at->values ? match_value(node, at) : match_payload(node, at);
    }
}

int ki_filter_matches(const ki_filter *filter, const ki_schema *schema, const ki_values *values, uint64_t id,
                      const char *text, size_t text_bytes) {
    const row at = {.schema = schema, .values = values, .id = id, .text = text, .text_bytes = text_bytes};
    return match_node(filter->root, &at);
}

int ki_filter_matches_payload(const ki_filter *filter, const ki_schema *schema, const char *payload, size_t bytes,
                              uint64_t id, const char *text, size_t text_bytes) {
    ki_doc_object object;
    const bool there = bytes > 0 && ki_doc_object_of(payload, bytes, &object);
    const row at = {
        .schema = schema, .payload = there ? &object : NULL, .id = id, .text = text, .text_bytes = text_bytes};
    return match_node(filter->root, &at);
}
