/* SPDX-License-Identifier: Apache-2.0
 *
 * A condition held against one value. Operands are sorted, so a long list is searched by halves. */
#include "filter/filter.h"

#include "filter/number.h"
#include "filter/tree.h"

#include <math.h>
#include <string.h>

int ki_filter_holds_operand(const ki_filter_node *node, const ki_operand *key) {
    size_t low = 0, high = node->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = ki_operand_order_value(&node->operand[middle], key);
        if (order == 0) return 1;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

int ki_filter_holds_i64(const ki_filter_node *node, kith_field_type type, int64_t value) {
    const ki_operand key = {
        .kind = type == KITH_FIELD_BOOL ? KI_OPERAND_BOOL : KI_OPERAND_INT, .i = value, .id = KITH_ID_NONE};
    if (ki_filter_holds_operand(node, &key)) return 1;
    /* Texts come first. */
    for (size_t i = 0; type == KITH_FIELD_TIME && i < node->count && node->operand[i].kind == KI_OPERAND_TEXT; i++)
        if (node->operand[i].is_time && node->operand[i].i == value) return 1;
    return 0;
}

int ki_filter_holds_f64(const ki_filter_node *node, double value) {
    ki_operand key = {.kind = KI_OPERAND_FLOAT, .f = value, .id = KITH_ID_NONE};
    if (value >= -0x1p63 && value < 0x1p63 && value == rint(value)) {
        key.kind = KI_OPERAND_INT;
        key.i = (int64_t)value;
    }
    return ki_filter_holds_operand(node, &key);
}

int ki_filter_holds_text(const ki_filter_node *node, const char *text, size_t bytes) {
    if (bytes > UINT32_MAX) return 0;
    const ki_operand key = {.kind = KI_OPERAND_TEXT, .text = text, .text_bytes = (uint32_t)bytes, .id = KITH_ID_NONE};
    if (ki_filter_holds_operand(node, &key)) return 1;
    /* Numbers and truth values, by their texts, come last. */
    for (size_t i = node->count; i > 0 && node->operand[i - 1].kind != KI_OPERAND_TEXT; i--) {
        const ki_operand *operand = &node->operand[i - 1];
        if (operand->text_bytes == bytes && memcmp(operand->text, text, bytes) == 0) return 1;
    }
    return 0;
}

/* As i or f is to the operand; times are ints. */
static int order_i64(int64_t i, const ki_operand *operand) {
    if (operand->kind == KI_OPERAND_FLOAT) return ki_compare_int_float(i, operand->f);
    return (i > operand->i) - (i < operand->i);
}

static int order_f64(double f, const ki_operand *operand) {
    if (operand->kind != KI_OPERAND_FLOAT) return -ki_compare_int_float(operand->i, f);
    return (f > operand->f) - (f < operand->f);
}

static int within(const ki_filter_node *node, int low, int high) {
    return (!node->has_low || low > 0 || (low == 0 && !node->low_open)) &&
           (!node->has_high || high < 0 || (high == 0 && !node->high_open));
}

int ki_filter_within_i64(const ki_filter_node *node, int64_t value) {
    return within(node, node->has_low ? order_i64(value, &node->low) : 0,
                  node->has_high ? order_i64(value, &node->high) : 0);
}

int ki_filter_within_f64(const ki_filter_node *node, double value) {
    return within(node, node->has_low ? order_f64(value, &node->low) : 0,
                  node->has_high ? order_f64(value, &node->high) : 0);
}

int ki_filter_holds_id(const ki_filter_node *node, uint64_t id, const char *text, size_t text_bytes) {
    if (!text) {
        const ki_operand key = {.kind = KI_OPERAND_INT, .id = id};
        return ki_filter_holds_operand(node, &key);
    }
    const ki_operand key = ki_operand_id(text, text_bytes);
    return ki_filter_holds_operand(node, &key);
}
