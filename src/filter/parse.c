/* SPDX-License-Identifier: Apache-2.0
 *
 * The people's form, by recursive descent:
 *
 *   filter     = [ or ]                                   nothing written: everything
 *   or         = and { "or" and }
 *   and        = not { "and" not }
 *   not        = "not" not | "(" or ")" | condition
 *   condition  = "true" | "false"
 *              | value ("<" | "<=") field [ ("<" | "<=") value ]
 *              | "id" ( ("=" | "!=") value | ["not"] "in" list )
 *              | field [ ("=" | "!=" | "<" | "<=" | ">" | ">=") value | "~" text
 *                      | ["not"] "in" list | ["not"] "between" value "and" value
 *                      | "has" ( value | "any" list | "all" list ) | "exists" | "missing" ]
 *   list       = "(" [ value { "," value } ] ")"
 *
 * Brackets and `not` count as levels, of which there are at most KI_FILTER_DEPTH_MAX: each has a level of the tree
 * when it is printed, so the canonical text of every tree that was accepted is accepted too. */
#include "filter/filter.h"

#include "base/status.h"
#include "base/utf8.h"
#include "filter/doc.h"
#include "filter/lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { EXCERPT_BYTES = 40 };

const ki_filter_node *ki_parse_failed(ki_maker *maker, kith_status status, const char *text, const char *at,
                                      const char *format, ...) {
    if (ki_make_failed(maker)) return NULL;
    size_t line = 1, column = 1;
    for (const char *c = text; c < at; c++) {
        column = *c == '\n' ? 1 : column + (((unsigned char)*c & 0xC0) != 0x80);
        line += *c == '\n';
    }
    char what[KITH_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    maker->status = ki_fail(maker->error, status, "filter, line %zu, column %zu: %s", line, column, what);
    return NULL;
}

static const ki_filter_node *expected(ki_lexer *lexer, const char *what) {
    const ki_token *token = &lexer->token;
    if (ki_make_failed(lexer->maker)) return NULL; /* the token may be half a one */
    if (token->kind == KI_TOKEN_END)
        return ki_parse_failed(lexer->maker, KITH_E_ARG, lexer->begin, token->begin,
                               "expected %s, and the filter ends there", what);
    size_t bytes = (size_t)(token->end - token->begin);
    if (bytes > EXCERPT_BYTES)
        for (bytes = EXCERPT_BYTES; ((unsigned char)token->begin[bytes] & 0xC0) == 0x80;) bytes--;
    return ki_parse_failed(lexer->maker, KITH_E_ARG, lexer->begin, token->begin, "expected %s, and there is %.*s", what,
                           (int)bytes, token->begin);
}

/* A copy in the tree's memory, with a NUL behind it. */
static const char *keep(ki_maker *maker, const char *text, size_t bytes) {
    char *copy = ki_make_room(maker, bytes + 1);
    if (!copy) return NULL;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

/* The value that comes next, which is stepped over. */
static bool value(ki_lexer *lexer, ki_operand *operand) {
    const ki_token *token = &lexer->token;
    const char *text;
    switch (token->kind) {
    case KI_TOKEN_TEXT:
        *operand = ki_operand_text(token->text, token->bytes);
        break;
    case KI_TOKEN_TIME:
        if (!(text = keep(lexer->maker, token->text, token->bytes))) return false;
        *operand = ki_operand_text(text, token->bytes);
        break;
    case KI_TOKEN_NUMBER:
        if (!ki_operand_number(lexer->maker, &token->number, token->begin, token->bytes, operand)) return false;
        break;
    default:
        if (!ki_lexer_is(lexer, "true") && !ki_lexer_is(lexer, "false")) {
            expected(lexer, token->kind == KI_TOKEN_WORD ? "a value (a text needs quotes)" : "a value");
            return false;
        }
        *operand = ki_operand_bool(ki_lexer_is(lexer, "true"));
    }
    return ki_lexer_next(lexer);
}

/* A value of a range. */
static bool bound(ki_lexer *lexer, ki_operand *operand) {
    const ki_token before = lexer->token;
    if (!value(lexer, operand)) return false;
    if (operand->kind == KI_OPERAND_INT || operand->kind == KI_OPERAND_FLOAT || operand->is_time) return true;
    lexer->token = before;
    expected(lexer, "a number or a time");
    return false;
}

/* An id: a whole number, or a text. */
static bool id_value(ki_lexer *lexer, ki_operand *operand) {
    const ki_token token = lexer->token;
    const bool number = token.kind == KI_TOKEN_NUMBER && (token.number.whole || token.number.large);
    if (!number && token.kind != KI_TOKEN_TEXT) {
        expected(lexer, "an id: a whole number or a text in quotes");
        return false;
    }
    ki_operand written;
    if (!value(lexer, &written)) return false;
    *operand = ki_operand_id(written.text, written.text_bytes);
    if (number && operand->kind == KI_OPERAND_TEXT) {
        lexer->token = token;
        expected(lexer, "an id: numbers of items go from 0 to 18446744073709551614");
        return false;
    }
    return true;
}

/* Push the values of a list. */
static bool list(ki_lexer *lexer, bool (*take)(ki_lexer *, ki_operand *)) {
    if (!ki_lexer_take(lexer, "(")) return expected(lexer, "a list in brackets") != NULL;
    if (ki_lexer_take(lexer, ")")) return true;
    do {
        ki_operand operand;
        if (!take(lexer, &operand) || !ki_push_operand(lexer->maker, &operand)) return false;
    } while (ki_lexer_take(lexer, ","));
    return ki_lexer_take(lexer, ")") || expected(lexer, "a comma or )") != NULL;
}

/* EQ or IDS of one value, or of a list. */
static const ki_filter_node *equal(ki_lexer *lexer, ki_filter_op op, ki_field_name name, bool many) {
    bool (*take)(ki_lexer *, ki_operand *) = op == KI_FILTER_IDS ? id_value : value;
    const size_t mark = lexer->maker->operand_count;
    ki_operand operand;
    if (many ? !list(lexer, take) : !take(lexer, &operand) || !ki_push_operand(lexer->maker, &operand)) return NULL;
    return ki_make_equal(lexer->maker, op, name, mark);
}

static const ki_filter_node *negated(ki_lexer *lexer, const ki_filter_node *node) {
    return ki_make_not(lexer->maker, node);
}

static bool take_equal(ki_lexer *lexer) {
    return ki_lexer_take(lexer, "=") || ki_lexer_take(lexer, "==");
}

static bool take_unequal(ki_lexer *lexer) {
    return ki_lexer_take(lexer, "!=") || ki_lexer_take(lexer, "<>");
}

static const ki_filter_node *has_all(ki_lexer *lexer, ki_field_name name) {
    ki_maker *maker = lexer->maker;
    const size_t mark = maker->operand_count, nodes = maker->node_count;
    if (!list(lexer, value)) return NULL;
    /* The topmost operand becomes a condition of its own, and is taken off. */
    while (maker->operand_count > mark)
        if (!ki_push_node(maker, ki_make_equal(maker, KI_FILTER_EQ, name, maker->operand_count - 1))) return NULL;
    return ki_make_joined(maker, KI_FILTER_AND, nodes);
}

static const ki_filter_node *has(ki_lexer *lexer, ki_field_name name) {
    if (ki_lexer_take(lexer, "all")) return has_all(lexer, name);
    return equal(lexer, KI_FILTER_EQ, name, ki_lexer_take(lexer, "any"));
}

/* The second end of a range, whose first is there. */
static bool other_bound(ki_lexer *lexer, ki_filter_node *range) {
    const ki_token before = lexer->token;
    range->has_high = 1;
    if (!bound(lexer, &range->high)) return false;
    if (!ki_range_is_mixed(range)) return true;
    lexer->token = before;
    return expected(lexer, "two numbers or two times as the ends") != NULL;
}

static const ki_filter_node *between(ki_lexer *lexer, ki_field_name name) {
    ki_filter_node range = {.has_low = 1};
    if (!bound(lexer, &range.low)) return NULL;
    if (!ki_lexer_take(lexer, "and")) return expected(lexer, "`and` with the other end");
    return other_bound(lexer, &range) ? ki_make_range(lexer->maker, name, &range) : NULL;
}

/* `ca*`: a star at the end, stars and backslashes before it behind a backslash. */
static const ki_filter_node *prefix(ki_lexer *lexer, ki_field_name name) {
    const ki_token token = lexer->token;
    if (token.kind != KI_TOKEN_TEXT) return expected(lexer, "a text in quotes that ends in *");
    char *text = ki_make_room(lexer->maker, token.bytes);
    if (!text) return NULL;
    size_t used = 0, at = 0;
    for (; at < token.bytes && token.text[at] != '*'; at++) {
        const char next = at + 1 < token.bytes ? token.text[at + 1] : '\0';
        at += token.text[at] == '\\' && (next == '*' || next == '\\');
        text[used++] = token.text[at];
    }
    if (at + 1 != token.bytes) return expected(lexer, "a text with a * at its end and nowhere else (\\\\* is a star)");
    return ki_lexer_next(lexer) ? ki_make_prefix(lexer->maker, name, text, used) : NULL;
}

/* One of < <= > >=, if it comes. */
static bool take_order(ki_lexer *lexer, bool *less, bool *open) {
    *less = ki_lexer_is(lexer, "<") || ki_lexer_is(lexer, "<=");
    *open = ki_lexer_is(lexer, "<") || ki_lexer_is(lexer, ">");
    return (*less || ki_lexer_is(lexer, ">") || ki_lexer_is(lexer, ">=")) && ki_lexer_next(lexer);
}

static const ki_filter_node *compared(ki_lexer *lexer, ki_field_name name, bool less, bool open) {
    ki_filter_node range = {.has_low = !less, .has_high = less, .low_open = open, .high_open = open};
    return bound(lexer, less ? &range.high : &range.low) ? ki_make_range(lexer->maker, name, &range) : NULL;
}

static bool field_name(ki_lexer *lexer, ki_field_name *name) {
    const ki_token *token = &lexer->token;
    const bool bare = token->kind == KI_TOKEN_WORD && ki_word_is_name(token->begin, token->bytes);
    if (!bare && token->kind != KI_TOKEN_NAME) return expected(lexer, "the name of a field") != NULL;
    if (!ki_field_name_fits(token->text, token->bytes))
        return expected(lexer, "a name of 1 to 255 bytes without control characters") != NULL;
    name->bytes = token->bytes;
    name->at = keep(lexer->maker, token->text, token->bytes);
    return name->at && ki_lexer_next(lexer);
}

/* 3 < price <= 7 */
static const ki_filter_node *value_first(ki_lexer *lexer) {
    ki_filter_node range = {.has_low = 1};
    ki_field_name name;
    bool less, open;
    if (!bound(lexer, &range.low)) return NULL;
    const ki_token sign = lexer->token;
    if (!take_order(lexer, &less, &open) || !less) {
        lexer->token = sign;
        return expected(lexer, "< or <= (with = and > the field stands on the left)");
    }
    range.low_open = open;
    if (!field_name(lexer, &name)) return NULL;
    const ki_token other = lexer->token;
    if (take_order(lexer, &less, &open)) {
        if (!less) {
            lexer->token = other;
            return expected(lexer, "< or <=, as before the field");
        }
        range.high_open = open;
        if (!other_bound(lexer, &range)) return NULL;
    }
    return ki_make_range(lexer->maker, name, &range);
}

static const ki_filter_node *of_ids(ki_lexer *lexer) {
    const ki_field_name none = {NULL, 0};
    if (take_equal(lexer)) return equal(lexer, KI_FILTER_IDS, none, false);
    if (take_unequal(lexer)) return negated(lexer, equal(lexer, KI_FILTER_IDS, none, false));
    if (ki_lexer_take(lexer, "in")) return equal(lexer, KI_FILTER_IDS, none, true);
    if (ki_lexer_take(lexer, "not") && ki_lexer_take(lexer, "in"))
        return negated(lexer, equal(lexer, KI_FILTER_IDS, none, true));
    return expected(lexer, "=, != or `in` behind `id` (the payload's field of that name is written in backquotes)");
}

static const ki_filter_node *of_field(ki_lexer *lexer) {
    ki_field_name name;
    bool less, open;
    if (!field_name(lexer, &name)) return NULL;
    if (take_equal(lexer)) return equal(lexer, KI_FILTER_EQ, name, false);
    if (take_unequal(lexer)) return negated(lexer, equal(lexer, KI_FILTER_EQ, name, false));
    if (take_order(lexer, &less, &open)) return compared(lexer, name, less, open);
    if (ki_lexer_take(lexer, "~")) return prefix(lexer, name);
    if (ki_lexer_take(lexer, "in")) return equal(lexer, KI_FILTER_EQ, name, true);
    if (ki_lexer_take(lexer, "between")) return between(lexer, name);
    if (ki_lexer_take(lexer, "has")) return has(lexer, name);
    if (ki_lexer_take(lexer, "exists")) return ki_make_exists(lexer->maker, name);
    if (ki_lexer_take(lexer, "missing")) return negated(lexer, ki_make_exists(lexer->maker, name));
    if (ki_lexer_take(lexer, "not")) {
        if (ki_lexer_take(lexer, "in")) return negated(lexer, equal(lexer, KI_FILTER_EQ, name, true));
        if (ki_lexer_take(lexer, "between")) return negated(lexer, between(lexer, name));
        return expected(lexer, "`in` or `between` behind `not`");
    }
    const ki_operand yes = ki_operand_bool(true);
    if (!ki_push_operand(lexer->maker, &yes)) return NULL;
    return ki_make_equal(lexer->maker, KI_FILTER_EQ, name, lexer->maker->operand_count - 1);
}

static const ki_filter_node *any_of(ki_lexer *lexer);

static const ki_filter_node *condition(ki_lexer *lexer) {
    const ki_token_kind kind = lexer->token.kind;
    if (kind == KI_TOKEN_NUMBER || kind == KI_TOKEN_TEXT || kind == KI_TOKEN_TIME) return value_first(lexer);
    if (ki_lexer_take(lexer, "true")) return ki_make_all(lexer->maker);
    if (ki_lexer_take(lexer, "false")) return ki_make_nothing(lexer->maker);
    if (ki_lexer_take(lexer, "id")) return of_ids(lexer);
    if (kind == KI_TOKEN_WORD || kind == KI_TOKEN_NAME) return of_field(lexer);
    return expected(lexer, "a condition, as color = \"red\"");
}

static const ki_filter_node *negation(ki_lexer *lexer) {
    const char *at = lexer->token.begin;
    const bool is_not = ki_lexer_take(lexer, "not"), bracket = !is_not && ki_lexer_take(lexer, "(");
    if (!is_not && !bracket) return condition(lexer);
    if (++lexer->depth > KI_FILTER_DEPTH_MAX)
        return ki_parse_failed(lexer->maker, KITH_E_LIMIT, lexer->begin, at,
                               "more than %d levels of brackets and `not`", KI_FILTER_DEPTH_MAX);
    const ki_filter_node *node = is_not ? negated(lexer, negation(lexer)) : any_of(lexer);
    lexer->depth--;
    if (node && bracket && !ki_lexer_take(lexer, ")")) return expected(lexer, "`and`, `or` or )");
    return ki_make_failed(lexer->maker) ? NULL : node;
}

static const ki_filter_node *all_of(ki_lexer *lexer) {
    const size_t mark = lexer->maker->node_count;
    do
        if (!ki_push_node(lexer->maker, negation(lexer))) return NULL;
    while (ki_lexer_take(lexer, "and"));
    return ki_make_joined(lexer->maker, KI_FILTER_AND, mark);
}

static const ki_filter_node *any_of(ki_lexer *lexer) {
    const size_t mark = lexer->maker->node_count;
    do
        if (!ki_push_node(lexer->maker, all_of(lexer))) return NULL;
    while (ki_lexer_take(lexer, "or"));
    return ki_make_joined(lexer->maker, KI_FILTER_OR, mark);
}

const ki_filter_node *ki_parse_text(ki_maker *maker, const char *text, size_t bytes) {
    ki_lexer lexer = {.maker = maker, .begin = text, .at = text, .end = text + bytes};
    if (!ki_lexer_next(&lexer)) return NULL;
    if (lexer.token.kind == KI_TOKEN_END) return ki_make_all(maker);
    const ki_filter_node *root = any_of(&lexer);
    if (!root) return NULL;
    return lexer.token.kind == KI_TOKEN_END ? root : expected(&lexer, "`and`, `or` or the end");
}

kith_status ki_filter_parse(const char *text, size_t bytes, ki_filter **filter, kith_error *error) {
    ki_maker maker = {.error = error};
    if (bytes > KI_FILTER_BYTES_MAX)
        return ki_fail(error, KITH_E_LIMIT, "the filter has %zu bytes, and %d are the most", bytes,
                       KI_FILTER_BYTES_MAX);
    const char *at = text, *end = text + bytes;
    for (size_t step; at < end; at += step)
        if ((step = ki_utf8_step(at, end)) == 0) break;
    const ki_filter_node *root = NULL;
    if (at < end) {
        ki_parse_failed(&maker, KITH_E_ARG, text, at, "this is no valid UTF-8");
    } else {
        for (at = text; at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r');) at++;
        root = at < end && *at == '{' ? ki_parse_json(&maker, text, bytes) : ki_parse_text(&maker, text, bytes);
    }
    const kith_status status = ki_make_filter(&maker, root, filter);
    ki_maker_end(&maker);
    return status;
}
