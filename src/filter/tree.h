/* SPDX-License-Identifier: Apache-2.0
 *
 * How both parsers make a tree. Whatever is made is in normal form at once:
 *
 * R1. AND and OR have no child of their own kind, no ALL and no nothing, at least two children, sorted and distinct; a
 *     NOT has no NOT. ALL and nothing (an OR of none) are only ever the root.
 * R2. Operands are sorted and distinct; an EQ without any is nothing.
 * R3. Numbers are as number.h says, ids that are plain decimals are INT.
 *
 * The parsers push children and operands on the maker's stacks, and join what lies there above a mark. A function that
 * gives a node gives NULL after a failure, whose status and text are in the maker; NULL as a child is passed on, so
 * that callers need not look after every step. */
#ifndef KI_FILTER_TREE_H
#define KI_FILTER_TREE_H

#include "filter/filter.h"
#include "filter/number.h"

typedef struct ki_maker {
    kith_status status; /* of the first failure */
    kith_error *error;
    void *blocks; /* memory of the tree, a list */
    const ki_filter_node **nodes;
    size_t node_count, node_capacity;
    ki_operand *operands;
    size_t operand_count, operand_capacity;
    size_t made; /* nodes in all */
} ki_maker;

/* Memory of the tree, aligned for anything. NULL: refused. */
void *ki_make_room(ki_maker *maker, size_t bytes);
/* Free the stacks, and of a failure the tree's memory too. */
void ki_maker_end(ki_maker *maker);
void ki_blocks_free(void *blocks);

bool ki_make_failed(const ki_maker *maker);
/* Out of memory; false. */
bool ki_make_refused(ki_maker *maker);
/* Push what comes next. False after a failure. */
bool ki_push_node(ki_maker *maker, const ki_filter_node *node);
bool ki_push_operand(ki_maker *maker, const ki_operand *operand);

/* Operands. Texts lie in the tree's memory already. */
ki_operand ki_operand_text(const char *text, size_t bytes);
ki_operand ki_operand_bool(bool value);
/* digits: as it was written, needed of large ones. */
bool ki_operand_number(ki_maker *maker, const ki_decimal *number, const char *digits, size_t bytes,
                       ki_operand *operand);
/* Of an id: a plain decimal below 2^64-1 is the number, all else the string. */
ki_operand ki_operand_id(const char *text, size_t bytes);

/* As ki_operand_order(), but the texts of numbers do not matter. */
int ki_operand_order_value(const ki_operand *a, const ki_operand *b);
/* Whether an operand equal to `key` in that sense is there. */
int ki_filter_holds_operand(const ki_filter_node *node, const ki_operand *key);

/* name: in the tree's memory, with its NUL. */
typedef struct ki_field_name {
    const char *at;
    size_t bytes;
} ki_field_name;
bool ki_field_name_fits(const char *name, size_t bytes);

const ki_filter_node *ki_make_all(ki_maker *maker);
const ki_filter_node *ki_make_nothing(ki_maker *maker);
const ki_filter_node *ki_make_not(ki_maker *maker, const ki_filter_node *child);
/* AND or OR of the nodes above the mark, which are taken off. */
const ki_filter_node *ki_make_joined(ki_maker *maker, ki_filter_op op, size_t mark);
/* EQ, or IDS (name ignored), of the operands above the mark, which are taken off. */
const ki_filter_node *ki_make_equal(ki_maker *maker, ki_filter_op op, ki_field_name name, size_t mark);
const ki_filter_node *ki_make_exists(ki_maker *maker, ki_field_name name);
const ki_filter_node *ki_make_prefix(ki_maker *maker, ki_field_name name, const char *text, size_t bytes);
/* Whether the ends are of two kinds: a number and a time. */
bool ki_range_is_mixed(const ki_filter_node *range);
/* range: low, high and their flags, not mixed; the rest is filled in. */
const ki_filter_node *ki_make_range(ki_maker *maker, ki_field_name name, const ki_filter_node *range);

/* The whole: canonical text, hash, and the bounds of depth. */
kith_status ki_make_filter(ki_maker *maker, const ki_filter_node *root, ki_filter **filter);
/* The canonical text, in the tree's memory and NUL-terminated. NULL: refused, or beyond KI_FILTER_BYTES_MAX. */
const char *ki_canonical(ki_maker *maker, const ki_filter_node *root, size_t *bytes);
/* Whether a bare word may be a field's name in the people's form. */
bool ki_word_is_name(const char *word, size_t bytes);

/* The two parsers: the root, or NULL. */
const ki_filter_node *ki_parse_text(ki_maker *maker, const char *text, size_t bytes);
const ki_filter_node *ki_parse_json(ki_maker *maker, const char *text, size_t bytes);
/* Fail with the line and column of `at`. NULL. */
const ki_filter_node *ki_parse_failed(ki_maker *maker, kith_status status, const char *text, const char *at,
                                      const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
