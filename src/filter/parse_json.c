/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON form, which is Qdrant's:
 *
 *   filter     = { "must": conditions, "should": conditions, "must_not": conditions }
 *   conditions = one condition, or an array of them; null and [] ask for nothing
 *   condition  = filter
 *              | { "key": field, "match": { "value": value } or { "any": [...] } or { "except": [...] } or { "prefix":
 *              text } } | { "key": field, "range": { "gt", "gte", "lt", "lte": number, time or null } }
 *              | { "is_empty": { "key": field } } | { "is_null": { "key": field } } | { "has_id": [...] }
 *
 * "prefix" is ours. What Qdrant has besides is refused by its name.
 *
 * An object is walked once, and where its members' values stand is kept; they are read when it is known what it is. So
 * each level of nesting steps over the text once more, of which there are at most KI_DOC_DEPTH. */
#include "base/status.h"
#include "filter/doc.h"
#include "filter/tree.h"

#include <string.h>

typedef struct reader {
    ki_maker *maker;
    const char *text;
} reader;

enum {
    MUST,
    SHOULD,
    MUST_NOT,
    KEY,
    MATCH,
    RANGE,
    IS_EMPTY,
    IS_NULL,
    HAS_ID,
    OF_CONDITION,
    VALUE = 0,
    ANY,
    EXCEPT,
    PREFIX,
    OF_MATCH,
    GT = 0,
    GTE,
    LT,
    LTE,
    OF_RANGE,
    NAMES_MAX = OF_CONDITION
};

/* What an object may have, and what Qdrant has there and we do not. */
typedef struct names {
    const char *what;
    unsigned known;                  /* how many of `name` are ours */
    const char *name[NAMES_MAX + 9]; /* ended by NULL */
} names;

static const names of_condition = {"a condition",
                                   OF_CONDITION,
                                   {"must", "should", "must_not", "key", "match", "range", "is_empty", "is_null",
                                    "has_id", "min_should", "geo_bounding_box", "geo_radius", "geo_polygon",
                                    "values_count", "nested", "has_vector"}};
static const names of_match = {
    "\"match\"", OF_MATCH, {"value", "any", "except", "prefix", "text", "text_any", "phrase"}};
static const names of_range = {"\"range\"", OF_RANGE, {"gt", "gte", "lt", "lte"}};
static const names of_key = {"\"is_empty\" and \"is_null\"", 1, {"key"}};

/* Where the members of an object are. */
typedef struct members {
    ki_doc at[NAMES_MAX];
    bool there[NAMES_MAX];
    const char *begin; /* of the object */
} members;

static const ki_filter_node *broken(const reader *from, const ki_doc *doc) {
    return ki_parse_failed(from->maker, KITH_E_ARG, from->text, doc->at, "expected %s", doc->expected);
}

static const ki_filter_node *wrong(const reader *from, const char *at, const char *what) {
    return ki_parse_failed(from->maker, KITH_E_ARG, from->text, at, "%s", what);
}

static bool not_offered(const reader *from, const names *known, ki_doc_text key) {
    unsigned number = known->known;
    while (known->name[number] && ki_doc_compare(key, known->name[number], strlen(known->name[number])) != 0) number++;
    if (known->name[number])
        ki_parse_failed(from->maker, KITH_E_UNSUPPORTED, from->text, key.at, "\"%s\" is not offered",
                        known->name[number]);
    else
        ki_parse_failed(from->maker, KITH_E_ARG, from->text, key.at, "%s has no \"%.*s\"", known->what,
                        (int)(key.bytes > 40 ? 0 : key.bytes), key.at);
    return false;
}

/* Walk an object. Members that are null are not there. */
static bool walk(const reader *from, ki_doc *doc, const names *known, members *found) {
    ki_doc_text key;
    memset(found->there, 0, sizeof found->there);
    ki_doc_peek(doc);
    found->begin = doc->at;
    if (!ki_doc_open(doc, '{')) return broken(from, doc) != NULL;
    for (bool more = false; ki_doc_member(doc, &more, &key);) {
        unsigned number = 0;
        while (number < known->known && ki_doc_compare(key, known->name[number], strlen(known->name[number])) != 0)
            number++;
        if (number == known->known) return not_offered(from, known, key);
        found->there[number] = ki_doc_peek(doc) != 'n';
        found->at[number] = *doc;
        if (!ki_doc_skip(doc)) break;
    }
    return !doc->expected || broken(from, doc) != NULL;
}

/* A text, decoded in the tree's memory with a NUL behind it. */
static bool take_text(const reader *from, ki_doc *doc, const char **text, size_t *bytes) {
    ki_doc_text raw;
    if (!ki_doc_string(doc, &raw)) return broken(from, doc) != NULL;
    char *copy = ki_make_room(from->maker, raw.bytes + 1);
    if (!copy) return false;
    *bytes = raw.bytes == 0 ? 0 : ki_doc_decode(raw, copy);
    copy[*bytes] = '\0';
    *text = copy;
    return true;
}

static bool take_name(const reader *from, ki_doc *doc, ki_field_name *name) {
    ki_doc_peek(doc);
    const char *at = doc->at;
    if (!take_text(from, doc, &name->at, &name->bytes)) return false;
    if (!ki_field_name_fits(name->at, name->bytes))
        return wrong(from, at, "expected a name of 1 to 255 bytes without control characters") != NULL;
    if (memchr(name->at, '[', name->bytes)) {
        ki_parse_failed(from->maker, KITH_E_UNSUPPORTED, from->text, at,
                        "paths through arrays, as a[].b, are not offered");
        return false;
    }
    return true;
}

static bool take_value(const reader *from, ki_doc *doc, ki_operand *operand) {
    const char c = ki_doc_peek(doc);
    const char *text;
    size_t bytes;
    ki_decimal number;
    bool truth;
    if (c == '"') {
        if (!take_text(from, doc, &text, &bytes)) return false;
        *operand = ki_operand_text(text, bytes);
        return true;
    }
    if (c == 't' || c == 'f') {
        if (!ki_doc_bool(doc, &truth)) return broken(from, doc) != NULL;
        *operand = ki_operand_bool(truth);
        return true;
    }
    if (c != '-' && (c < '0' || c > '9'))
        return wrong(from, doc->at,
                     c == 'n' ? "expected a value; what is null or absent is found by \"is_empty\""
                              : "expected a text, a number, true or false") != NULL;
    if (!ki_doc_number(doc, &number, &text, &bytes)) return broken(from, doc) != NULL;
    return ki_operand_number(from->maker, &number, text, bytes, operand);
}

static bool take_bound(const reader *from, ki_doc *doc, ki_operand *operand) {
    ki_doc_peek(doc);
    const char *at = doc->at;
    if (!take_value(from, doc, operand)) return false;
    return operand->kind == KI_OPERAND_INT || operand->kind == KI_OPERAND_FLOAT || operand->is_time ||
           wrong(from, at, "expected a number or a time") != NULL;
}

static bool take_id(const reader *from, ki_doc *doc, ki_operand *operand) {
    ki_doc_peek(doc);
    const char *at = doc->at;
    ki_operand written;
    if (!take_value(from, doc, &written)) return false;
    *operand = ki_operand_id(written.text, written.text_bytes);
    return (written.kind == KI_OPERAND_TEXT) || (written.kind != KI_OPERAND_BOOL && operand->kind == KI_OPERAND_INT) ||
           wrong(from, at, "expected an id: a number from 0 to 18446744073709551614, or a text") != NULL;
}

/* Push the values of an array. */
static bool take_list(const reader *from, ki_doc *doc, bool (*take)(const reader *, ki_doc *, ki_operand *)) {
    if (!ki_doc_open(doc, '[')) return broken(from, doc) != NULL;
    for (bool more = false; ki_doc_element(doc, &more);) {
        ki_operand operand;
        if (!take(from, doc, &operand) || !ki_push_operand(from->maker, &operand)) return false;
    }
    return !doc->expected || broken(from, doc) != NULL;
}

static unsigned count_there(const members *found, unsigned first, unsigned end) {
    unsigned count = 0;
    for (unsigned i = first; i < end; i++) count += found->there[i];
    return count;
}

static const ki_filter_node *take_match(const reader *from, ki_doc *doc, ki_field_name name) {
    ki_maker *maker = from->maker;
    members found;
    if (!walk(from, doc, &of_match, &found)) return NULL;
    if (count_there(&found, 0, OF_MATCH) != 1)
        return wrong(from, found.begin, "\"match\" wants one of \"value\", \"any\", \"except\" and \"prefix\"");
    const size_t mark = maker->operand_count;
    ki_operand operand;
    const char *text;
    size_t bytes;
    if (found.there[PREFIX])
        return take_text(from, &found.at[PREFIX], &text, &bytes) ? ki_make_prefix(maker, name, text, bytes) : NULL;
    if (found.there[VALUE]) {
        if (!take_value(from, &found.at[VALUE], &operand) || !ki_push_operand(maker, &operand)) return NULL;
    } else if (!take_list(from, &found.at[found.there[ANY] ? ANY : EXCEPT], take_value)) {
        return NULL;
    }
    const ki_filter_node *node = ki_make_equal(maker, KI_FILTER_EQ, name, mark);
    return found.there[EXCEPT] ? ki_make_not(maker, node) : node;
}

static const ki_filter_node *take_range(const reader *from, ki_doc *doc, ki_field_name name) {
    members found;
    if (!walk(from, doc, &of_range, &found)) return NULL;
    if (count_there(&found, GT, GTE + 1) > 1 || count_there(&found, LT, LTE + 1) > 1)
        return wrong(from, found.begin, "\"range\" takes either \"gt\" or \"gte\", and either \"lt\" or \"lte\"");
    ki_filter_node range = {.has_low = found.there[GT] || found.there[GTE],
                            .has_high = found.there[LT] || found.there[LTE],
                            .low_open = found.there[GT],
                            .high_open = found.there[LT]};
    if (!range.has_low && !range.has_high)
        return wrong(from, found.begin, "\"range\" wants one of \"gt\", \"gte\", \"lt\" and \"lte\"");
    if (range.has_low && !take_bound(from, &found.at[range.low_open ? GT : GTE], &range.low)) return NULL;
    if (range.has_high && !take_bound(from, &found.at[range.high_open ? LT : LTE], &range.high)) return NULL;
    if (ki_range_is_mixed(&range)) return wrong(from, found.begin, "\"range\" takes two numbers or two times");
    return ki_make_range(from->maker, name, &range);
}

static const ki_filter_node *take_keyed(const reader *from, members *found) {
    ki_field_name name;
    if (!found->there[KEY] || count_there(found, MATCH, RANGE + 1) != 1)
        return wrong(from, found->begin, "a condition on a \"key\" wants either \"match\" or \"range\" beside it");
    if (!take_name(from, &found->at[KEY], &name)) return NULL;
    return found->there[MATCH] ? take_match(from, &found->at[MATCH], name) : take_range(from, &found->at[RANGE], name);
}

static const ki_filter_node *take_empty(const reader *from, ki_doc *doc) {
    members found;
    ki_field_name name;
    if (!walk(from, doc, &of_key, &found)) return NULL;
    if (!found.there[0]) return wrong(from, found.begin, "expected an object with a \"key\"");
    if (!take_name(from, &found.at[0], &name)) return NULL;
    return ki_make_not(from->maker, ki_make_exists(from->maker, name));
}

static const ki_filter_node *take_condition(const reader *from, ki_doc *doc);

/* AND or OR of one condition or an array of them; `negated`: each of them. Without any: everything. */
static const ki_filter_node *take_clause(const reader *from, ki_doc *doc, ki_filter_op op, bool negated) {
    ki_maker *maker = from->maker;
    const size_t mark = maker->node_count;
    const bool many = ki_doc_peek(doc) == '[';
    if (many && !ki_doc_open(doc, '[')) return broken(from, doc);
    for (bool more = false; !many || ki_doc_element(doc, &more);) {
        const ki_filter_node *node = take_condition(from, doc);
        if (negated) node = ki_make_not(maker, node);
        if (!ki_push_node(maker, node)) return NULL;
        if (!many) break;
    }
    if (doc->expected) return broken(from, doc);
    return maker->node_count == mark ? ki_make_all(maker) : ki_make_joined(maker, op, mark);
}

static const ki_filter_node *take_clauses(const reader *from, members *found) {
    ki_maker *maker = from->maker;
    const size_t mark = maker->node_count;
    for (unsigned i = MUST; i <= MUST_NOT; i++) {
        if (!found->there[i]) continue;
        const ki_filter_op op = i == SHOULD ? KI_FILTER_OR : KI_FILTER_AND;
        if (!ki_push_node(maker, take_clause(from, &found->at[i], op, i == MUST_NOT))) return NULL;
    }
    return ki_make_joined(maker, KI_FILTER_AND, mark);
}

/* Recursion ends with the depth of the text. */
static const ki_filter_node *take_condition(const reader *from, ki_doc *doc) {
    ki_maker *maker = from->maker;
    const ki_field_name none = {NULL, 0};
    const size_t mark = maker->operand_count;
    members found;
    if (!walk(from, doc, &of_condition, &found)) return NULL;
    const bool clauses = count_there(&found, MUST, MUST_NOT + 1) > 0, keyed = count_there(&found, KEY, RANGE + 1) > 0;
    if (clauses + keyed + count_there(&found, IS_EMPTY, OF_CONDITION) > 1)
        return wrong(from, found.begin,
                     "this object is several conditions at once: they belong into objects of their own in \"must\"");
    if (keyed) return take_keyed(from, &found);
    if (found.there[IS_EMPTY]) return take_empty(from, &found.at[IS_EMPTY]);
    if (found.there[IS_NULL]) return take_empty(from, &found.at[IS_NULL]);
    if (!found.there[HAS_ID]) return take_clauses(from, &found);
    return take_list(from, &found.at[HAS_ID], take_id) ? ki_make_equal(maker, KI_FILTER_IDS, none, mark) : NULL;
}

const ki_filter_node *ki_parse_json(ki_maker *maker, const char *text, size_t bytes) {
    const reader from = {maker, text};
    ki_doc doc = ki_doc_begin(text, bytes);
    const ki_filter_node *root = take_condition(&from, &doc);
    if (root && !ki_doc_end(&doc)) return broken(&from, &doc);
    return root;
}
