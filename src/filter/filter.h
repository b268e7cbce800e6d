/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter language: texts for people and JSON for programs, one syntax tree for both.
 *
 *   people   color = "red" and price < 20 and not sold
 *            size in ("s", "m") or brand != "x"; tags has "new"; released >= "2026-01-01"; note exists; name ~ "ca*"
 *   JSON     {"must": [...], "should": [...], "must_not": [...]} with the conditions
 *            {"key": "color", "match": {"value": "red"}} | {"match": {"any": [...]}} | {"match": {"except": [...]}}
 *            | {"key": "price", "range": {"gt", "gte", "lt", "lte"}} | {"is_empty": {"key": ...}}
 *            | {"has_id": [...]} | a filter again
 *
 * docs/filters.md is the reference of both. A missing field makes every comparison with it false (and its negation
 * true). Depth and size are bounded: KI_FILTER_NODES_MAX, KI_FILTER_DEPTH_MAX, so that no text costs more than its due.
 *
 * A tree is constant once parsed: any thread. */
#ifndef KI_FILTER_FILTER_H
#define KI_FILTER_FILTER_H

#include "filter/schema.h"

enum { KI_FILTER_NODES_MAX = 65536, KI_FILTER_DEPTH_MAX = 64, KI_FILTER_BYTES_MAX = 1 << 22 };

typedef enum ki_filter_op {
    KI_FILTER_ALL,   /* everything; only as the root */
    KI_FILTER_AND,   /* of two children or more */
    KI_FILTER_OR,    /* of two or more; as the root also of none: nothing */
    KI_FILTER_NOT,   /* of its one child, which is no NOT */
    KI_FILTER_EQ,    /* field holds one of the operands: =, in, has; != is NOT EQ. At least one operand */
    KI_FILTER_RANGE, /* low <= or < field <= or < high; numbers, times */
    KI_FILTER_EXISTS,
    KI_FILTER_PREFIX, /* a string of the field begins with operand[0] */
    KI_FILTER_IDS     /* the item's id is one of the operands */
} ki_filter_op;

/* A value that a field is compared with. Every kind has a text: strings of tags are compared with that, whatever the
 * kind, so that `code = 7` finds the tag "7". */
typedef struct ki_operand {
    enum { KI_OPERAND_TEXT, KI_OPERAND_INT, KI_OPERAND_FLOAT, KI_OPERAND_BOOL } kind;
    uint32_t text_bytes;
    const char *text; /* in the tree's memory, not NUL-terminated; of numbers as schema.h says */
    int64_t i;        /* INT, BOOL, and a TEXT that is a time, when is_time */
    double f;         /* FLOAT: not whole, or beyond i64, so it equals no i64. INT: the nearest to i */
    uint64_t id;      /* IDS: the number; KITH_ID_NONE: a text that is none */
    int is_time;
} ki_operand;

typedef struct ki_filter_node ki_filter_node;
struct ki_filter_node {
    ki_filter_op op;
    const char *name; /* of the field, NUL-terminated; NULL of AND, OR, NOT, ALL, IDS */
    uint32_t name_bytes;
    size_t count; /* children or operands */
    const ki_filter_node *const *child;
    const ki_operand *operand;                  /* EQ, IDS: sorted by ki_operand_order() and distinct */
    int has_low, has_high, low_open, high_open; /* RANGE: at least one end */
    ki_operand low, high;                       /* INT, FLOAT, or TEXT with is_time */
};

typedef struct ki_filter {
    const ki_filter_node *root;
    uint64_t hash;         /* of the canonical form: equal filters written differently are mostly equal here */
    const char *canonical; /* the people's form, parsed to the same tree */
    void *memory;
} ki_filter;

/* Parse text of either form (what begins with '{' is JSON; blank: everything). KITH_E_ARG names the line, the column
 * and what was expected; KITH_E_UNSUPPORTED names what of Qdrant's form is not offered; KITH_E_LIMIT; KITH_E_NOMEM. */
kith_status ki_filter_parse(const char *text, size_t bytes, ki_filter **filter, kith_error *error);
void ki_filter_free(ki_filter *filter);

/* The order of operands: by kind, then by value (texts by bytes, ids of numbers by number), then by text. */
int ki_operand_order(const ki_operand *a, const ki_operand *b);
/* Whether an int, bool or time, a float, or a string of a tag is one of the operands of an EQ that was checked. */
int ki_filter_holds_i64(const ki_filter_node *node, kith_field_type type, int64_t value);
int ki_filter_holds_f64(const ki_filter_node *node, double value);
int ki_filter_holds_text(const ki_filter_node *node, const char *text, size_t bytes);
/* Whether it lies in the range of a RANGE, exactly also beyond 2^53; an i64 may be an int or a time. */
int ki_filter_within_i64(const ki_filter_node *node, int64_t value);
int ki_filter_within_f64(const ki_filter_node *node, double value);
/* Whether an item's id is one of the operands of IDS: the number, or, text not NULL, the string. */
int ki_filter_holds_id(const ki_filter_node *node, uint64_t id, const char *text, size_t text_bytes);

/* Hold the declared fields' types against what the tree compares them with: KITH_E_ARG ("price is a float, and \"red\"
 * is text"). *undeclared: the name of a field that is not declared, or NULL; in the tree's memory. */
kith_status ki_filter_check(const ki_filter *filter, const ki_schema *schema, const char **undeclared,
                            kith_error *error);

/* Whether one row matches, by its declared values. The tree must have passed ki_filter_check() without undeclared
 * fields. id, or text of string ids. */
int ki_filter_matches(const ki_filter *filter, const ki_schema *schema, const ki_values *values, uint64_t id,
                      const char *text, size_t text_bytes);

/* Whether one row matches, by its payload: declared fields as their values would be, any other as JSON has it. What is
 * no payload has no field. */
int ki_filter_matches_payload(const ki_filter *filter, const ki_schema *schema, const char *payload, size_t bytes,
                              uint64_t id, const char *text, size_t text_bytes);

#endif
