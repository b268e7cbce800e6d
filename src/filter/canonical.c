/* SPDX-License-Identifier: Apache-2.0
 *
 * A tree as text for people, which is parsed to the same tree. As trees are in normal form, filters that differ only in
 * order, brackets and spelling have one text. */
#include "filter/tree.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>
#include <strings.h>

typedef struct printer {
    char *text;
    size_t bytes, capacity;
    bool refused, large;
} printer;

static void put(printer *to, const char *text, size_t bytes) {
    if (to->refused || to->large) return;
    to->large = to->bytes + bytes > KI_FILTER_BYTES_MAX;
    if (to->large) return;
    to->refused = !ki_array_reserve((void **)&to->text, &to->capacity, to->bytes + bytes + 1, 1);
    if (to->refused) return;
    if (bytes > 0) memcpy(to->text + to->bytes, text, bytes);
    to->bytes += bytes;
}

static void say(printer *to, const char *words) {
    put(to, words, strlen(words));
}

bool ki_word_is_name(const char *word, size_t bytes) {
    static const char *const taken[] = {"and",    "or",      "not",  "in",    "has", "any",    "all",
                                        "exists", "missing", "true", "false", "id",  "between"};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strlen(taken[i]) == bytes && strncasecmp(taken[i], word, bytes) == 0) return false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = word[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '.' || c == '-'))) return false;
    }
    return bytes > 0;
}

static void put_name(printer *to, const ki_filter_node *node) {
    if (ki_word_is_name(node->name, node->name_bytes)) {
        put(to, node->name, node->name_bytes);
        return;
    }
    say(to, "`");
    for (size_t i = 0; i < node->name_bytes; i++) {
        if (node->name[i] == '`') say(to, "`");
        put(to, &node->name[i], 1);
    }
    say(to, "`");
}

static void put_char(printer *to, char c) {
    static const char digits[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        const char escaped[] = {'\\', c};
        put(to, escaped, 2);
    } else if ((unsigned char)c < 0x20 || c == 0x7F) {
        const char escaped[] = {'\\', 'u', '0', '0', digits[(unsigned char)c >> 4], digits[c & 15]};
        put(to, escaped, sizeof escaped);
    } else {
        put(to, &c, 1);
    }
}

static void put_quoted(printer *to, const char *text, size_t bytes) {
    say(to, "\"");
    for (size_t i = 0; i < bytes; i++) put_char(to, text[i]);
    say(to, "\"");
}

static void put_operand(printer *to, const ki_operand *operand) {
    if (operand->kind == KI_OPERAND_TEXT)
        put_quoted(to, operand->text, operand->text_bytes);
    else
        put(to, operand->text, operand->text_bytes);
}

static void put_equal(printer *to, const ki_filter_node *node, bool negated) {
    if (node->op == KI_FILTER_IDS)
        say(to, "id");
    else
        put_name(to, node);
    if (node->count == 1) {
        say(to, negated ? " != " : " = ");
        put_operand(to, &node->operand[0]);
        return;
    }
    say(to, negated ? " not in (" : " in (");
    for (size_t i = 0; i < node->count; i++) {
        if (i > 0) say(to, ", ");
        put_operand(to, &node->operand[i]);
    }
    say(to, ")");
}

static void put_range(printer *to, const ki_filter_node *node) {
    if (node->has_low && node->has_high) {
        put_operand(to, &node->low);
        say(to, node->low_open ? " < " : " <= ");
    }
    put_name(to, node);
    if (node->has_low && !node->has_high) {
        say(to, node->low_open ? " > " : " >= ");
        put_operand(to, &node->low);
    }
    if (node->has_high) {
        say(to, node->high_open ? " < " : " <= ");
        put_operand(to, &node->high);
    }
}

/* The pattern: what stands for itself, and the star. */
static void put_prefix(printer *to, const ki_filter_node *node) {
    const ki_operand *prefix = &node->operand[0];
    put_name(to, node);
    say(to, " ~ \"");
    for (size_t i = 0; i < prefix->text_bytes; i++) {
        const char c = prefix->text[i];
        if (c == '*' || c == '\\') say(to, "\\\\");
        put_char(to, c);
    }
    say(to, "*\"");
}

static void put_node(printer *to, const ki_filter_node *node, ki_filter_op within);

static void put_not(printer *to, const ki_filter_node *child) {
    if (child->op == KI_FILTER_EQ || child->op == KI_FILTER_IDS) {
        put_equal(to, child, true);
    } else if (child->op == KI_FILTER_EXISTS) {
        put_name(to, child);
        say(to, " missing");
    } else {
        say(to, "not ");
        put_node(to, child, KI_FILTER_NOT);
    }
}

static void put_joined(printer *to, const ki_filter_node *node, ki_filter_op within) {
    const bool brackets = within == KI_FILTER_NOT || (within == KI_FILTER_AND && node->op == KI_FILTER_OR);
    if (brackets) say(to, "(");
    for (size_t i = 0; i < node->count; i++) {
        if (i > 0) say(to, node->op == KI_FILTER_AND ? " and " : " or ");
        put_node(to, node->child[i], node->op);
    }
    if (brackets) say(to, ")");
}

/* within: the kind of the parent; of the root OR, which needs no brackets. */
static void put_node(printer *to, const ki_filter_node *node, ki_filter_op within) {
    switch (node->op) {
    case KI_FILTER_ALL:
        say(to, "true");
        break;
    case KI_FILTER_AND:
    case KI_FILTER_OR:
        if (node->count == 0)
            say(to, "false");
        else
            put_joined(to, node, within);
        break;
    case KI_FILTER_NOT:
        put_not(to, node->child[0]);
        break;
    case KI_FILTER_EQ:
    case KI_FILTER_IDS:
        put_equal(to, node, false);
        break;
    case KI_FILTER_RANGE:
        put_range(to, node);
        break;
    case KI_FILTER_EXISTS:
        put_name(to, node);
        say(to, " exists");
        break;
    case KI_FILTER_PREFIX:
        put_prefix(to, node);
        break;
    }
}

const char *ki_canonical(ki_maker *maker, const ki_filter_node *root, size_t *bytes) {
    printer to = {0};
    put_node(&to, root, KI_FILTER_OR);
    char *text = NULL;
    if (to.large)
        maker->status = ki_fail(maker->error, KITH_E_LIMIT, "the filter, spelled out, is longer than %d bytes",
                                KI_FILTER_BYTES_MAX);
    else if (to.refused || !(text = ki_make_room(maker, to.bytes + 1)))
        ki_make_refused(maker);
    if (text) {
        memcpy(text, to.text, to.bytes);
        text[to.bytes] = '\0';
        *bytes = to.bytes;
    }
    free(to.text);
    return text;
}
