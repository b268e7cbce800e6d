/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/tree.h"

#include "base/checked.h"
#include "base/status.h"
#include "filter/doc.h"
#include "filter/time.h"

#include <stdalign.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCK_BYTES = 4096, NAME_MAX_BYTES = 255 };

/* Memory of a tree: blocks, the newest first. */
typedef struct block {
    struct block *next;
    size_t used, bytes;
    alignas(max_align_t) char data[];
} block;

void ki_blocks_free(void *blocks) {
    for (block *at = blocks; at;) {
        block *next = at->next;
        free(at);
        at = next;
    }
}

bool ki_make_failed(const ki_maker *maker) {
    return maker->status != KITH_OK;
}

bool ki_make_refused(ki_maker *maker) {
    if (maker->status == KITH_OK) maker->status = ki_fail(maker->error, KITH_E_NOMEM, "no memory for the filter");
    return false;
}

void *ki_make_room(ki_maker *maker, size_t bytes) {
    block *top = maker->blocks;
    const size_t step = alignof(max_align_t), needed = (bytes + step - 1) / step * step;
    if (!top || top->bytes - top->used < needed) {
        const size_t doubled = top ? 2 * top->bytes : BLOCK_BYTES;
        const size_t size = needed > doubled ? needed : ki_min_size(doubled, KI_FILTER_BYTES_MAX);
        block *more = malloc(sizeof *more + (size > needed ? size : needed));
        if (!more) {
            ki_make_refused(maker);
            return NULL;
        }
        *more = (block){.next = top, .bytes = size > needed ? size : needed};
        maker->blocks = top = more;
    }
    void *room = top->data + top->used;
    top->used += needed;
    return room;
}

void ki_maker_end(ki_maker *maker) {
    free(maker->nodes);
    free(maker->operands);
    if (maker->status != KITH_OK) ki_blocks_free(maker->blocks);
}

bool ki_push_node(ki_maker *maker, const ki_filter_node *node) {
    if (!node || ki_make_failed(maker)) return false;
    if (!ki_array_reserve((void **)&maker->nodes, &maker->node_capacity, maker->node_count + 1, sizeof *maker->nodes))
        return ki_make_refused(maker);
    maker->nodes[maker->node_count++] = node;
    return true;
}

bool ki_push_operand(ki_maker *maker, const ki_operand *operand) {
    if (ki_make_failed(maker)) return false;
    if (!ki_array_reserve((void **)&maker->operands, &maker->operand_capacity, maker->operand_count + 1,
                          sizeof *maker->operands))
        return ki_make_refused(maker);
    maker->operands[maker->operand_count++] = *operand;
    return true;
}

ki_operand ki_operand_text(const char *text, size_t bytes) {
    ki_operand operand = {.kind = KI_OPERAND_TEXT, .text = text, .text_bytes = (uint32_t)bytes, .id = KITH_ID_NONE};
    operand.is_time = ki_time_parse(text, bytes, &operand.i);
    if (!operand.is_time) operand.i = 0;
    return operand;
}

ki_operand ki_operand_bool(bool value) {
    return (ki_operand){.kind = KI_OPERAND_BOOL,
                        .text = value ? "true" : "false",
                        .text_bytes = value ? 4 : 5,
                        .i = value,
                        .id = KITH_ID_NONE};
}

bool ki_operand_number(ki_maker *maker, const ki_decimal *number, const char *digits, size_t bytes,
                       ki_operand *operand) {
    char printed[KI_DECIMAL_TEXT];
    if (!number->large) {
        bytes = ki_decimal_print(number, printed);
        digits = printed;
    }
    char *text = ki_make_room(maker, bytes);
    if (!text) return false;
    memcpy(text, digits, bytes);
    *operand = (ki_operand){.kind = number->whole ? KI_OPERAND_INT : KI_OPERAND_FLOAT,
                            .text = text,
                            .text_bytes = (uint32_t)bytes,
                            .i = number->whole ? number->i : 0,
                            .f = number->f,
                            .id = KITH_ID_NONE};
    return true;
}

static bool plain_decimal(const char *text, size_t bytes, uint64_t *value) {
    if (bytes == 0 || bytes > 20 || (bytes > 1 && text[0] == '0')) return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned digit = (unsigned char)(text[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(sum, 10u, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return false;
    }
    *value = sum;
    return sum != KITH_ID_NONE;
}

ki_operand ki_operand_id(const char *text, size_t bytes) {
    ki_operand operand = {.kind = KI_OPERAND_TEXT, .text = text, .text_bytes = (uint32_t)bytes, .id = KITH_ID_NONE};
    uint64_t id;
    if (plain_decimal(text, bytes, &id)) {
        operand.kind = KI_OPERAND_INT;
        operand.id = id;
    }
    return operand;
}

static int text_order(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    const size_t both = ki_min_size(a_bytes, b_bytes);
    const int order = both ? memcmp(a, b, both) : 0;
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

int ki_operand_order_value(const ki_operand *a, const ki_operand *b) {
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    if (a->kind == KI_OPERAND_TEXT) return text_order(a->text, a->text_bytes, b->text, b->text_bytes);
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    if (a->kind == KI_OPERAND_FLOAT) return (a->f > b->f) - (a->f < b->f);
    return (a->i > b->i) - (a->i < b->i);
}

int ki_operand_order(const ki_operand *a, const ki_operand *b) {
    const int order = ki_operand_order_value(a, b);
    return order || a->kind == KI_OPERAND_TEXT ? order : text_order(a->text, a->text_bytes, b->text, b->text_bytes);
}

static int operand_order(const void *a, const void *b) {
    return ki_operand_order(a, b);
}

static int range_order(const ki_filter_node *a, const ki_filter_node *b) {
    if (a->has_low != b->has_low) return a->has_low - b->has_low;
    if (a->has_high != b->has_high) return a->has_high - b->has_high;
    if (a->low_open != b->low_open) return a->low_open - b->low_open;
    if (a->high_open != b->high_open) return a->high_open - b->high_open;
    const int order = a->has_low ? ki_operand_order(&a->low, &b->low) : 0;
    return order || !a->has_high ? order : ki_operand_order(&a->high, &b->high);
}

/* Recursion is bounded by the parsers' depth. */
static int node_order(const ki_filter_node *a, const ki_filter_node *b) {
    if (a == b) return 0;
    if (a->op != b->op) return a->op < b->op ? -1 : 1;
    int order = a->name ? text_order(a->name, a->name_bytes, b->name, b->name_bytes) : 0;
    if (order == 0 && a->op == KI_FILTER_RANGE) order = range_order(a, b);
    for (size_t i = 0; order == 0 && i < a->count && i < b->count; i++)
        order = a->child ? node_order(a->child[i], b->child[i]) : ki_operand_order(&a->operand[i], &b->operand[i]);
    return order ? order : (a->count > b->count) - (a->count < b->count);
}

static int child_order(const void *a, const void *b) {
    return node_order(*(const ki_filter_node *const *)a, *(const ki_filter_node *const *)b);
}

static ki_filter_node *make(ki_maker *maker, ki_filter_op op) {
    if (ki_make_failed(maker)) return NULL;
    if (++maker->made > KI_FILTER_NODES_MAX) {
        maker->status =
            ki_fail(maker->error, KITH_E_LIMIT, "the filter has more than %d conditions", KI_FILTER_NODES_MAX);
        return NULL;
    }
    ki_filter_node *node = ki_make_room(maker, sizeof *node);
    if (node) *node = (ki_filter_node){.op = op};
    return node;
}

static ki_filter_node *make_named(ki_maker *maker, ki_filter_op op, ki_field_name name) {
    ki_filter_node *node = make(maker, op);
    if (!node) return NULL;
    node->name = name.at;
    node->name_bytes = (uint32_t)name.bytes;
    return node;
}

bool ki_field_name_fits(const char *name, size_t bytes) {
    if (bytes == 0 || bytes > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F) return false;
    return true;
}

const ki_filter_node *ki_make_all(ki_maker *maker) {
    return make(maker, KI_FILTER_ALL);
}

const ki_filter_node *ki_make_nothing(ki_maker *maker) {
    return make(maker, KI_FILTER_OR);
}

static bool is_nothing(const ki_filter_node *node) {
    return node->op == KI_FILTER_OR && node->count == 0;
}

const ki_filter_node *ki_make_not(ki_maker *maker, const ki_filter_node *child) {
    if (!child) return NULL;
    if (child->op == KI_FILTER_NOT) return child->child[0];
    if (child->op == KI_FILTER_ALL) return ki_make_nothing(maker);
    if (is_nothing(child)) return ki_make_all(maker);
    ki_filter_node *node = make(maker, KI_FILTER_NOT);
    const ki_filter_node **only = ki_make_room(maker, sizeof *only);
    if (!node || !only) return NULL;
    *only = child;
    node->child = only;
    node->count = 1;
    return node;
}

/* Put the children of the joined node in the tree's memory, those of its own kind spread out. */
static const ki_filter_node **gather(ki_maker *maker, ki_filter_op op, size_t mark, size_t *count) {
    size_t room = 0;
    *count = 0;
    for (size_t i = mark; i < maker->node_count; i++) {
        const ki_filter_node *node = maker->nodes[i];
        room += node->op == op ? node->count : 1;
    }
    const ki_filter_node **children = ki_make_room(maker, room * sizeof *children);
    for (size_t i = mark; children && i < maker->node_count; i++) {
        const ki_filter_node *node = maker->nodes[i];
        if (node->op != op) {
            children[(*count)++] = node;
            continue;
        }
        if (node->count > 0) memcpy(&children[*count], node->child, node->count * sizeof *children);
        *count += node->count;
    }
    return children;
}

const ki_filter_node *ki_make_joined(ki_maker *maker, ki_filter_op op, size_t mark) {
    if (ki_make_failed(maker)) return NULL;
    size_t count;
    const ki_filter_node **children = gather(maker, op, mark, &count);
    maker->node_count = mark;
    if (!children) return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const ki_filter_node *node = children[i];
        const bool all = node->op == KI_FILTER_ALL, nothing = is_nothing(node);
        if (op == KI_FILTER_AND ? nothing : all) return node; /* it decides */
        if (!all && !nothing) children[kept++] = node;
    }
    if (kept > 1) qsort(children, kept, sizeof *children, child_order);
    count = kept;
    kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || node_order(children[i], children[kept - 1]) != 0) children[kept++] = children[i];
    if (kept == 0) return op == KI_FILTER_AND ? ki_make_all(maker) : ki_make_nothing(maker);
    if (kept == 1) return children[0];
    ki_filter_node *node = make(maker, op);
    if (!node) return NULL;
    node->child = children;
    node->count = kept;
    return node;
}

const ki_filter_node *ki_make_equal(ki_maker *maker, ki_filter_op op, ki_field_name name, size_t mark) {
    if (ki_make_failed(maker)) return NULL;
    const size_t count = maker->operand_count - mark;
    maker->operand_count = mark;
    if (count == 0) return ki_make_nothing(maker);
    ki_operand *sorted = &maker->operands[mark];
    qsort(sorted, count, sizeof *sorted, operand_order);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || ki_operand_order(&sorted[i], &sorted[kept - 1]) != 0) sorted[kept++] = sorted[i];
    ki_operand *operands = ki_make_room(maker, kept * sizeof *operands);
    ki_filter_node *node = op == KI_FILTER_IDS ? make(maker, op) : make_named(maker, op, name);
    if (!operands || !node) return NULL;
    memcpy(operands, sorted, kept * sizeof *operands);
    node->operand = operands;
    node->count = kept;
    return node;
}

const ki_filter_node *ki_make_exists(ki_maker *maker, ki_field_name name) {
    return make_named(maker, KI_FILTER_EXISTS, name);
}

const ki_filter_node *ki_make_prefix(ki_maker *maker, ki_field_name name, const char *text, size_t bytes) {
    ki_filter_node *node = make_named(maker, KI_FILTER_PREFIX, name);
    ki_operand *operand = ki_make_room(maker, sizeof *operand);
    if (!node || !operand) return NULL;
    *operand = ki_operand_text(text, bytes);
    node->operand = operand;
    node->count = 1;
    return node;
}

bool ki_range_is_mixed(const ki_filter_node *range) {
    return range->has_low && range->has_high &&
           (range->low.kind == KI_OPERAND_TEXT) != (range->high.kind == KI_OPERAND_TEXT);
}

const ki_filter_node *ki_make_range(ki_maker *maker, ki_field_name name, const ki_filter_node *range) {
    ki_filter_node *node = make_named(maker, KI_FILTER_RANGE, name);
    if (!node) return NULL;
    node->has_low = range->has_low;
    node->has_high = range->has_high;
    node->low_open = range->has_low && range->low_open;
    node->high_open = range->has_high && range->high_open;
    if (range->has_low) node->low = range->low;
    if (range->has_high) node->high = range->high;
    return node;
}

static unsigned depth_of(const ki_filter_node *node) {
    unsigned most = 0;
    for (size_t i = 0; node->child && i < node->count; i++) {
        const unsigned depth = depth_of(node->child[i]);
        if (depth > most) most = depth;
    }
    return most + 1;
}

kith_status ki_make_filter(ki_maker *maker, const ki_filter_node *root, ki_filter **made) {
    if (!root || ki_make_failed(maker)) return maker->status;
    if (depth_of(root) > KI_FILTER_DEPTH_MAX) {
        maker->status =
            ki_fail(maker->error, KITH_E_LIMIT, "the filter is nested more than %d levels deep", KI_FILTER_DEPTH_MAX);
        return maker->status;
    }
    size_t bytes;
    const char *canonical = ki_canonical(maker, root, &bytes);
    ki_filter *filter = canonical ? malloc(sizeof *filter) : NULL;
    if (!filter) {
        ki_make_refused(maker);
        return maker->status;
    }
    *filter = (ki_filter){root, XXH3_64bits(canonical, bytes), canonical, maker->blocks};
    *made = filter;
    return KITH_OK;
}

void ki_filter_free(ki_filter *filter) {
    if (!filter) return;
    ki_blocks_free(filter->memory);
    free(filter);
}
