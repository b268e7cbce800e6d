/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/filter.h"

#include "base/status.h"

enum { EXCERPT_BYTES = 40 };

static int takes_value(kith_field_type type, const ki_operand *operand) {
    const int number = operand->kind == KI_OPERAND_INT || operand->kind == KI_OPERAND_FLOAT;
    switch (type) {
    case KITH_FIELD_TAG:
    case KITH_FIELD_TAGS:
        return 1;
    case KITH_FIELD_INT:
    case KITH_FIELD_FLOAT:
        return number;
    case KITH_FIELD_BOOL:
        return operand->kind == KI_OPERAND_BOOL;
    case KITH_FIELD_TIME:
        return number || operand->is_time;
    }
    return 0;
}

static const char *kind_of(const ki_operand *operand) {
    return operand->kind == KI_OPERAND_TEXT ? "text" : operand->kind == KI_OPERAND_BOOL ? "a truth value" : "a number";
}

static const char *article(kith_field_type type) {
    return type == KITH_FIELD_INT ? "an" : "a";
}

static kith_status check_value(const ki_field *field, const ki_operand *operand, kith_error *error) {
    if (takes_value(field->type, operand)) return KITH_OK;
    const char *quote = operand->kind == KI_OPERAND_TEXT ? "\"" : "";
    int bytes = operand->text_bytes > EXCERPT_BYTES ? EXCERPT_BYTES : (int)operand->text_bytes;
    while (bytes > 0 && (uint32_t)bytes < operand->text_bytes && ((unsigned char)operand->text[bytes] & 0xC0) == 0x80)
        bytes--;
    return ki_fail(error, KITH_E_ARG, "the field \"%s\" is %s %s, and %s%.*s%s%s is %s%s", field->name,
                   article(field->type), kith_field_type_name(field->type), quote, bytes, operand->text,
                   (uint32_t)bytes < operand->text_bytes ? "..." : "", quote, kind_of(operand),
                   field->type == KITH_FIELD_TIME && operand->kind == KI_OPERAND_TEXT ? " that is no time" : "");
}

static kith_status check_field(const ki_filter_node *node, const ki_field *field, kith_error *error) {
    const int tag = field->type == KITH_FIELD_TAG || field->type == KITH_FIELD_TAGS;
    kith_status status = KITH_OK;
    if (node->op == KI_FILTER_PREFIX && !tag)
        return ki_fail(error, KITH_E_ARG, "the field \"%s\" is %s %s, and only tags have beginnings that ~ compares",
                       field->name, article(field->type), kith_field_type_name(field->type));
    if (node->op == KI_FILTER_RANGE) {
        if (tag || field->type == KITH_FIELD_BOOL)
            return ki_fail(error, KITH_E_ARG, "the field \"%s\" is a %s, and only int, float and time have ranges",
                           field->name, kith_field_type_name(field->type));
        if (node->has_low) status = check_value(field, &node->low, error);
        if (node->has_high && status == KITH_OK) status = check_value(field, &node->high, error);
    }
    for (size_t i = 0; node->op == KI_FILTER_EQ && i < node->count && status == KITH_OK; i++)
        status = check_value(field, &node->operand[i], error);
    return status;
}

static kith_status check_node(const ki_filter_node *node, const ki_schema *schema, const char **undeclared,
                              kith_error *error) {
    if (node->name) {
        const ki_field *field = ki_schema_find(schema, node->name, node->name_bytes);
        if (field) return check_field(node, field, error);
        if (!*undeclared) *undeclared = node->name;
        return KITH_OK;
    }
    kith_status status = KITH_OK;
    for (size_t i = 0; node->child && i < node->count && status == KITH_OK; i++)
        status = check_node(node->child[i], schema, undeclared, error);
    return status;
}

kith_status ki_filter_check(const ki_filter *filter, const ki_schema *schema, const char **undeclared,
                            kith_error *error) {
    const char *first = NULL;
    const kith_status status = check_node(filter->root, schema, &first, error);
    if (status == KITH_OK && undeclared) *undeclared = first;
    return status;
}
