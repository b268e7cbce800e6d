/* SPDX-License-Identifier: Apache-2.0
 *
 * Random filters held against random payloads. Each filter is written for people and as JSON, which must give one tree;
 * its canonical text must give that tree again. Each row must match by its values, by its payload, and by a plain
 * evaluator over another library's reading of the payload, which all must agree.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/rng.h"
#include "filter/filter.h"

enum { DECLARED = 8, FIELDS = 12, CHILDREN_MAX = 4, OPERANDS_MAX = 12, WORD_MAX = 64, TEXT_MAX = 1 << 16 };

static const kith_field fields[FIELDS] = {
    {"color", KITH_FIELD_TAG, 0},
    {"tags", KITH_FIELD_TAGS, 0},
    {"n", KITH_FIELD_INT, 0},
    {"price", KITH_FIELD_FLOAT, 0},
    {"sold", KITH_FIELD_BOOL, 0},
    {"at", KITH_FIELD_TIME, 0},
    {"a.b", KITH_FIELD_INT, 0},
    {"a.c.d", KITH_FIELD_TAG, 0},
    /* Not declared. */
    {"free", 0, 0},
    {"a.free", 0, 0},
    {"and", 0, 0},
    {"tick`s", 0, 0},
};

static ki_schema *schema;

/* ---- Values ------------------------------------------------------------------------------------------------------ */

enum kind { TEXT, INT, FLOAT, BOOL };

struct operand {
    enum kind kind;
    const char *text;
    int64_t i; /* INT, BOOL */
    double f;
    int is_time;
    int64_t ms;
};

static const struct {
    const char *text;
    int64_t ms; /* INT64_MIN: no time */
} texts[] = {{"", INT64_MIN},
             {"red", INT64_MIN},
             {"re", INT64_MIN},
             {"r\xc3\xa9"
              "d",
              INT64_MIN},
             {"it's \"so\"", INT64_MIN},
             {"c\\d*", INT64_MIN},
             {"*", INT64_MIN},
             {"line\nline", INT64_MIN},
             {"1", INT64_MIN},
             {"0.5", INT64_MIN},
             {"true", INT64_MIN},
             {"2026-01-01", INT64_C(1767225600000)},
             {"2026-01-01T00:00:00Z", INT64_C(1767225600000)},
             {"2026-01-01T01:30:00.25+01:30", INT64_C(1767225600250)},
             {"1969-12-31 23:59:59", INT64_C(-1000)},
             {"2026-02-30", INT64_MIN}};
static const int64_t ints[] = {
    0, 1, -1, 3, 7, INT64_C(1767225600000), INT64_MAX, INT64_MIN, (INT64_C(1) << 53) + 1, INT64_C(1) << 53};
static const double floats[] = {0.5, -0.25, 1e22, -1e300, 2.5, 9.25e18, 1e-7};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct operand random_operand(ki_rng *rng, kith_field_type type) {
    static const enum kind kinds[][4] = {[0] = {TEXT, INT, FLOAT, BOOL},
                                         [KITH_FIELD_TAG] = {TEXT, TEXT, INT, BOOL},
                                         [KITH_FIELD_TAGS] = {TEXT, TEXT, FLOAT, BOOL},
                                         [KITH_FIELD_INT] = {INT, INT, INT, FLOAT},
                                         [KITH_FIELD_FLOAT] = {INT, FLOAT, FLOAT, FLOAT},
                                         [KITH_FIELD_BOOL] = {BOOL, BOOL, BOOL, BOOL},
                                         [KITH_FIELD_TIME] = {TEXT, TEXT, INT, FLOAT}};
    struct operand made = {.kind = kinds[type][ki_rng_below(rng, 4)]};
    if (made.kind == INT) made.i = ints[ki_rng_below(rng, COUNT(ints))];
    if (made.kind == FLOAT) made.f = floats[ki_rng_below(rng, COUNT(floats))];
    if (made.kind == BOOL) made.i = (int64_t)ki_rng_below(rng, 2);
    while (made.kind == TEXT) {
        const size_t number = ki_rng_below(rng, COUNT(texts));
        made.text = texts[number].text;
        made.ms = texts[number].ms;
        made.is_time = made.ms != INT64_MIN;
        if (type != KITH_FIELD_TIME || made.is_time) break;
    }
    return made;
}

static struct operand random_bound(ki_rng *rng, kith_field_type type) {
    for (;;) {
        const struct operand made = random_operand(rng, type);
        if (made.kind == INT || made.kind == FLOAT || made.is_time) return made;
    }
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

enum op { AND, OR, NOT, EQ, RANGE, EXISTS, PREFIX, IDS, LEAVES = EQ };

struct expression {
    enum op op;
    size_t field, count;
    struct expression *child[CHILDREN_MAX];
    struct operand operand[OPERANDS_MAX];
    int has_low, has_high, low_open, high_open;
};

static kith_field_type type_of(size_t field) {
    return field < DECLARED ? fields[field].type : 0;
}

static int is_string(kith_field_type type) {
    return type == KITH_FIELD_TAG || type == KITH_FIELD_TAGS;
}

static void random_leaf(ki_rng *rng, struct expression *made, size_t field_count) {
    made->field = ki_rng_below(rng, field_count);
    const kith_field_type type = type_of(made->field);
    if (made->op == PREFIX && type != 0 && !is_string(type)) made->op = EXISTS;
    if (made->op == RANGE && (is_string(type) || type == KITH_FIELD_BOOL)) made->op = EQ;
    made->count = made->op == PREFIX ? 1 : ki_rng_below(rng, ki_rng_below(rng, 4) ? 4 : OPERANDS_MAX);
    for (size_t i = 0; i < made->count; i++) {
        made->operand[i] = random_operand(rng, made->op == PREFIX ? KITH_FIELD_TAG : type);
        if (made->op == PREFIX && made->operand[i].kind != TEXT) made->operand[i].text = "r";
        if (made->op == IDS && ki_rng_below(rng, 2))
            made->operand[i] = (struct operand){.kind = INT, .i = (int64_t)ki_rng_below(rng, 10)};
        else if (made->op == IDS)
            made->operand[i] = (struct operand){.kind = TEXT, .text = texts[ki_rng_below(rng, COUNT(texts))].text};
    }
    if (made->op != RANGE) return;
    made->has_low = (int)ki_rng_below(rng, 2);
    made->has_high = !made->has_low || ki_rng_below(rng, 2);
    made->low_open = (int)ki_rng_below(rng, 2);
    made->high_open = (int)ki_rng_below(rng, 2);
    do {
        made->operand[0] = random_bound(rng, type);
        made->operand[1] = random_bound(rng, type);
    } while ((made->operand[0].kind == TEXT) != (made->operand[1].kind == TEXT));
}

static struct expression *random_expression(ki_rng *rng, unsigned depth, size_t field_count) {
    struct expression *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->op = depth == 0 || ki_rng_below(rng, 3) == 0 ? LEAVES + (enum op)ki_rng_below(rng, 5)
                                                       : (enum op)ki_rng_below(rng, LEAVES);
    if (made->op >= LEAVES) {
        random_leaf(rng, made, field_count);
        return made;
    }
    made->count = made->op == NOT ? 1 : ki_rng_below(rng, CHILDREN_MAX + 1);
    for (size_t i = 0; i < made->count; i++) made->child[i] = random_expression(rng, depth - 1, field_count);
    return made;
}

static void free_expression(struct expression *expression) {
    for (size_t i = 0; expression->op < LEAVES && i < expression->count; i++) free_expression(expression->child[i]);
    free(expression);
}

/* ---- Writing them ------------------------------------------------------------------------------------------------ */

static char *written;
static size_t written_bytes;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    written_bytes += (size_t)vsnprintf(written + written_bytes, TEXT_MAX - written_bytes, format, arguments);
    va_end(arguments);
    assert_true(written_bytes < TEXT_MAX);
}

static void say_text(const char *text) {
    json_t *string = json_string(text);
    char *quoted = json_dumps(string, JSON_ENCODE_ANY);
    say("%s", quoted);
    free(quoted);
    json_decref(string);
}

static void say_operand(const struct operand *operand) {
    if (operand->kind == TEXT) say_text(operand->text);
    if (operand->kind == INT) say("%lld", (long long)operand->i);
    if (operand->kind == FLOAT) say("%.17g", operand->f);
    if (operand->kind == BOOL) say("%s", operand->i ? "true" : "false");
}

static void say_list(const struct expression *expression, const char *open, const char *close) {
    say("%s", open);
    for (size_t i = 0; i < expression->count; i++) {
        if (i > 0) say(", ");
        say_operand(&expression->operand[i]);
    }
    say("%s", close);
}

static void say_name(ki_rng *rng, size_t field) {
    const char *name = fields[field].name;
    if (strcmp(name, "tick`s") == 0)
        say("`tick``s`");
    else
        say(strcmp(name, "and") == 0 || ki_rng_below(rng, 4) == 0 ? "`%s`" : "%s", name);
}

/* `ca*` with what stands for itself behind a backslash. */
static void say_pattern(const char *prefix) {
    char pattern[64];
    size_t used = 0;
    for (; *prefix; prefix++) {
        if (*prefix == '*' || *prefix == '\\') pattern[used++] = '\\';
        pattern[used++] = *prefix;
    }
    pattern[used++] = '*';
    pattern[used] = '\0';
    say_text(pattern);
}

static void say_leaf(ki_rng *rng, const struct expression *at) {
    if (at->op == RANGE && at->has_low && at->has_high) {
        say_operand(&at->operand[0]);
        say(at->low_open ? " < " : "<=");
    }
    if (at->op == IDS)
        say("id");
    else
        say_name(rng, at->field);
    if (at->op == EXISTS) say(" exists");
    if (at->op == PREFIX) {
        say(" ~ ");
        say_pattern(at->operand[0].text);
    }
    if (at->op == RANGE && at->has_low && !at->has_high) {
        say(at->low_open ? "> " : " >=");
        say_operand(&at->operand[0]);
    }
    if (at->op == RANGE && at->has_high) {
        say(at->high_open ? " < " : "<=");
        say_operand(&at->operand[1]);
    }
    if ((at->op == EQ || at->op == IDS) && at->count == 1 && ki_rng_below(rng, 2)) {
        say(ki_rng_below(rng, 2) ? "=" : " == ");
        say_operand(&at->operand[0]);
    } else if (at->op == EQ || at->op == IDS) {
        say(at->op == EQ && ki_rng_below(rng, 2) ? " has any" : " in");
        say_list(at, "(", ")");
    }
}

static void say_people(ki_rng *rng, const struct expression *at) {
    if (at->op >= LEAVES) {
        say_leaf(rng, at);
        return;
    }
    if (at->count == 0) say(at->op == AND ? "true" : "false");
    if (at->op == NOT) say("not ");
    for (size_t i = 0; i < at->count; i++) {
        if (i > 0) say(at->op == AND ? " and " : "\nOr ");
        const enum op inner = at->child[i]->op;
        const int brackets =
            (at->op == AND && inner == OR) || (at->op == NOT && inner < NOT) || ki_rng_below(rng, 4) == 0;
        if (brackets) say("(");
        say_people(rng, at->child[i]);
        if (brackets) say(")");
    }
}

static void say_json_leaf(const struct expression *at) {
    if (at->op == IDS) {
        say("{\"has_id\": ");
        say_list(at, "[", "]}");
        return;
    }
    if (at->op == EXISTS) say("{\"must_not\": {\"is_empty\": ");
    say("{\"key\": ");
    say_text(fields[at->field].name);
    if (at->op == EQ && at->count == 1) {
        say(", \"match\": {\"value\": ");
        say_operand(&at->operand[0]);
        say("}");
    } else if (at->op == EQ) {
        say(", \"match\": {\"any\": ");
        say_list(at, "[", "]}");
    } else if (at->op == PREFIX) {
        say(", \"match\": {\"prefix\": ");
        say_text(at->operand[0].text);
        say("}");
    } else if (at->op == RANGE) {
        say(", \"range\": {\"%s\": ", at->low_open ? "gt" : "gte");
        at->has_low ? say_operand(&at->operand[0]) : say("null");
        say(", \"%s\": ", at->high_open ? "lt" : "lte");
        at->has_high ? say_operand(&at->operand[1]) : say("null");
        say("}");
    }
    say(at->op == EXISTS ? "}}}" : "}");
}

static void say_json(const struct expression *at) {
    if (at->op >= LEAVES) {
        say_json_leaf(at);
        return;
    }
    if (at->op == OR && at->count == 0) { /* an empty "should" asks for nothing */
        say("{\"has_id\": []}");
        return;
    }
    say("{\"%s\": [", at->op == AND ? "must" : at->op == OR ? "should" : "must_not");
    for (size_t i = 0; i < at->count; i++) {
        if (i > 0) say(", ");
        say_json(at->child[i]);
    }
    say("]}");
}

/* ---- Payloads ---------------------------------------------------------------------------------------------------- */

static void say_random_value(ki_rng *rng, kith_field_type type, unsigned depth) {
    const uint64_t kind = ki_rng_below(rng, 12);
    if (kind == 0) {
        say("null");
    } else if (kind == 1 && depth > 0) {
        say("{\"x\": ");
        say_random_value(rng, type, depth - 1);
        say("}");
    } else if (depth > 0 && (kind == 2 || type == KITH_FIELD_TAGS)) {
        say("[");
        for (uint64_t i = 0, count = ki_rng_below(rng, 5); i < count; i++) {
            if (i > 0) say(" , ");
            say_random_value(rng, type, depth - 1);
        }
        say("]");
    } else {
        const struct operand value = random_operand(rng, kind < 5 ? 0 : type);
        if (value.kind == INT && ki_rng_below(rng, 4) == 0 && llabs((long long)(value.i / 2)) < 1000)
            say("%lld.0", (long long)value.i);
        else
            say_operand(&value);
    }
}

static void say_payload(ki_rng *rng) {
    say("{");
    int more = 0;
    for (size_t i = 0; i < FIELDS; i++) {
        for (uint64_t times = ki_rng_below(rng, 8) == 0 ? 2 : ki_rng_below(rng, 4) > 0; times > 0; times--) {
            if (strncmp(fields[i].name, "a.", 2) == 0 && ki_rng_below(rng, 6)) continue;
            if (more++) say(", ");
            say_text(fields[i].name);
            say(": ");
            say_random_value(rng, type_of(i), 2);
        }
    }
    for (uint64_t times = ki_rng_below(rng, 3); times > 0; times--) {
        say("%s\"\\u0061\": {\"b\": ", more++ ? "," : "");
        say_random_value(rng, KITH_FIELD_INT, 1);
        if (ki_rng_below(rng, 2)) {
            say(", \"c\": {\"d\": ");
            say_random_value(rng, KITH_FIELD_TAG, 1);
            say(", \"e.d\": 1}, \"c.d\": \"red\"");
        }
        if (ki_rng_below(rng, 3) == 0) say(", \"c\": 7");
        say(", \"free\":");
        say_random_value(rng, 0, 2);
        say("}");
    }
    say("}");
}

/* ---- The plain evaluator ----------------------------------------------------------------------------------------- */

static json_t *find(json_t *payload, const char *name) {
    json_t *there = json_object_get(payload, name);
    if (there || !strchr(name, '.')) return there;
    char path[64];
    snprintf(path, sizeof path, "%s", name);
    char *rest = path;
    for (const char *step; payload && (step = strsep(&rest, "."));) payload = json_object_get(payload, step);
    return payload;
}

static int as_time(const json_t *value, int64_t *ms) {
    for (size_t i = 0; i < COUNT(texts); i++)
        if (strcmp(json_string_value(value), texts[i].text) == 0) {
            *ms = texts[i].ms;
            return *ms != INT64_MIN;
        }
    return 0;
}

/* The number as a long double, which holds all of i64 and of double. */
static long double number_of(const json_t *value) {
    return json_is_integer(value) ? (long double)json_integer_value(value) : (long double)json_real_value(value);
}

static int is_i64(long double number) {
    return number == floorl(number) && number >= -0x1p63L && number < 0x1p63L;
}

static long double operand_number(const struct operand *operand) {
    return operand->kind == INT     ? (long double)operand->i
           : operand->kind == FLOAT ? (long double)operand->f
                                    : (long double)operand->ms;
}

static void number_text(long double number, char text[WORD_MAX]) {
    if (is_i64(number)) {
        snprintf(text, WORD_MAX, "%lld", (long long)number);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, WORD_MAX, "%.*g", digits, (double)number);
        if (strtod(text, NULL) == (double)number) return;
    }
}

/* The string of a tag. */
static int word_of(const json_t *value, char text[WORD_MAX]) {
    if (json_is_string(value))
        snprintf(text, WORD_MAX, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        snprintf(text, WORD_MAX, "%s", json_is_true(value) ? "true" : "false");
    else if (json_is_number(value))
        number_text(number_of(value), text);
    return json_is_string(value) || json_is_boolean(value) || json_is_number(value);
}

static int in_range(const struct expression *at, long double value) {
    const long double low = operand_number(&at->operand[0]), high = operand_number(&at->operand[1]);
    return (!at->has_low || (at->low_open ? value > low : value >= low)) &&
           (!at->has_high || (at->high_open ? value < high : value <= high));
}

static int word_matches(const struct expression *at, const char *word) {
    if (at->op == EXISTS) return 1;
    if (at->op == PREFIX) return strncmp(word, at->operand[0].text, strlen(at->operand[0].text)) == 0;
    for (size_t i = 0; i < at->count; i++) {
        char text[WORD_MAX];
        const struct operand *operand = &at->operand[i];
        if (operand->kind == TEXT || operand->kind == BOOL)
            snprintf(text, sizeof text, "%s", operand->kind == TEXT ? operand->text : operand->i ? "true" : "false");
        else
            number_text(operand_number(operand), text);
        if (strcmp(text, word) == 0) return 1;
    }
    return 0;
}

static int number_in(const struct expression *at, long double value, int also_times) {
    if (at->op == EXISTS) return 1;
    if (at->op == RANGE) return in_range(at, value);
    for (size_t i = 0; i < at->count; i++) {
        const struct operand *operand = &at->operand[i];
        if (operand->kind != BOOL && (operand->kind != TEXT || (also_times && operand->is_time)) &&
            operand_number(operand) == value)
            return 1;
    }
    return 0;
}

static int bool_in(const struct expression *at, int value) {
    for (size_t i = 0; at->op == EQ && i < at->count; i++)
        if (at->operand[i].kind == BOOL && at->operand[i].i == value) return 1;
    return at->op == EXISTS;
}

static int declared_matches(const struct expression *at, kith_field_type type, const json_t *value) {
    char word[WORD_MAX];
    int64_t ms;
    int any = 0;
    switch (type) {
    case KITH_FIELD_TAGS:
        if (!json_is_array(value)) break;
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (!word_of(json_array_get(value, i), word)) return 0;
            any |= word_matches(at, word);
        }
        return any;
    case KITH_FIELD_INT:
        return json_is_number(value) && is_i64(number_of(value)) && number_in(at, number_of(value), 0);
    case KITH_FIELD_FLOAT:
        return json_is_number(value) && number_in(at, (long double)(double)number_of(value), 0);
    case KITH_FIELD_BOOL:
        return json_is_boolean(value) && bool_in(at, json_is_true(value));
    case KITH_FIELD_TIME:
        if (json_is_string(value)) return as_time(value, &ms) && number_in(at, (long double)ms, 1);
        return json_is_number(value) && is_i64(number_of(value)) && number_in(at, number_of(value), 1);
    case KITH_FIELD_TAG:
        break;
    }
    return word_of(value, word) && word_matches(at, word);
}

static int text_matches(const struct expression *at, const json_t *value) {
    const char *text = json_string_value(value);
    int64_t ms = 0;
    const int is_time = as_time(value, &ms);
    if (at->op == PREFIX) return strncmp(text, at->operand[0].text, strlen(at->operand[0].text)) == 0;
    if (at->op == RANGE) return is_time && at->operand[0].kind == TEXT && in_range(at, (long double)ms);
    for (size_t i = 0; i < at->count; i++) {
        const struct operand *operand = &at->operand[i];
        if (operand->kind != TEXT) continue;
        if (strcmp(text, operand->text) == 0 || (is_time && operand->is_time && operand->ms == ms)) return 1;
    }
    return 0;
}

static int scalar_matches(const struct expression *at, const json_t *value) {
    if (at->op == EXISTS) return !json_is_null(value);
    if (json_is_string(value)) return text_matches(at, value);
    if (json_is_boolean(value)) return bool_in(at, json_is_true(value));
    if (!json_is_number(value) || at->op == PREFIX) return 0;
    return !(at->op == RANGE && at->operand[0].kind == TEXT) && number_in(at, number_of(value), 0);
}

static int free_matches(const struct expression *at, const json_t *value) {
    if (!json_is_array(value)) return scalar_matches(at, value);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (scalar_matches(at, json_array_get(value, i))) return 1;
    return 0;
}

static int ids_match(const struct expression *at, uint64_t id, const char *text) {
    for (size_t i = 0; i < at->count; i++) {
        char wanted[64], given[64];
        snprintf(given, sizeof given, "%llu", (unsigned long long)id);
        snprintf(wanted, sizeof wanted, "%lld", (long long)at->operand[i].i);
        if (strcmp(at->operand[i].kind == TEXT ? at->operand[i].text : wanted, text ? text : given) == 0) return 1;
    }
    return 0;
}

static int evaluate(const struct expression *at, json_t *payload, uint64_t id, const char *text) {
    int any = 0, all = 1;
    if (at->op == IDS) return ids_match(at, id, text);
    if (at->op >= LEAVES) {
        const json_t *value = find(payload, fields[at->field].name);
        if (!value || json_is_null(value)) return 0;
        const kith_field_type type = type_of(at->field);
        return type ? declared_matches(at, type, value) : free_matches(at, value);
    }
    for (size_t i = 0; i < at->count; i++) {
        const int matches = evaluate(at->child[i], payload, id, text);
        any |= matches;
        all &= matches;
    }
    return at->op == AND ? all : at->op == OR ? any : !all;
}

/* ---- The tests --------------------------------------------------------------------------------------------------- */

static ki_filter *parse(const char *text) {
    kith_error error = {0};
    ki_filter *filter = NULL;
    if (ki_filter_parse(text, strlen(text), &filter, &error) != KITH_OK) fail_msg("%s\n%s", text, error.text);
    return filter;
}

static int same_operands(const ki_operand *a, const ki_operand *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ki_operand_order(&a[i], &b[i]) != 0 || a[i].is_time != b[i].is_time || a[i].i != b[i].i) return 0;
    return 1;
}

static int same_tree(const ki_filter_node *a, const ki_filter_node *b) {
    if (a->op != b->op || a->count != b->count || !a->name != !b->name || a->name_bytes != b->name_bytes) return 0;
    if (a->name && strcmp(a->name, b->name) != 0) return 0;
    if (a->has_low != b->has_low || a->has_high != b->has_high || a->low_open != b->low_open ||
        a->high_open != b->high_open)
        return 0;
    if (a->op == KI_FILTER_RANGE &&
        ((a->has_low && !same_operands(&a->low, &b->low, 1)) || (a->has_high && !same_operands(&a->high, &b->high, 1))))
        return 0;
    if (a->operand) return same_operands(a->operand, b->operand, a->count);
    for (size_t i = 0; i < a->count; i++)
        if (!same_tree(a->child[i], b->child[i])) return 0;
    return 1;
}

/* The normal form that src/filter/tree.h promises. */
static void check_normal(const ki_filter_node *node, int root) {
    const int joined = node->op == KI_FILTER_AND || node->op == KI_FILTER_OR;
    if (node->op == KI_FILTER_ALL || (joined && node->count == 0)) assert_true(root);
    if (joined) assert_int_not_equal(node->count, 1);
    if (node->op == KI_FILTER_EQ || node->op == KI_FILTER_IDS) {
        assert_true(node->count > 0);
        for (size_t i = 1; i < node->count; i++)
            assert_true(ki_operand_order(&node->operand[i - 1], &node->operand[i]) < 0);
    }
    for (size_t i = 0; node->child && i < node->count; i++) {
        assert_true(joined || node->op == KI_FILTER_NOT);
        assert_int_not_equal(node->child[i]->op, node->op);
        check_normal(node->child[i], 0);
    }
}

/* The tree of both forms and of the canonical text. */
static ki_filter *parse_forms(ki_rng *rng, const struct expression *expression) {
    written_bytes = 0;
    say_people(rng, expression);
    ki_filter *people = parse(written);
    written_bytes = 0;
    say_json(expression);
    ki_filter *json = parse(written);
    if (strcmp(people->canonical, json->canonical) != 0)
        fail_msg("%s\n%s\n%s", people->canonical, json->canonical, written);
    assert_true(same_tree(people->root, json->root));
    assert_true(people->hash == json->hash);
    check_normal(people->root, 1);
    ki_filter *again = parse(people->canonical);
    assert_string_equal(again->canonical, people->canonical);
    assert_true(same_tree(people->root, again->root));
    ki_filter_free(again);
    ki_filter_free(json);
    return people;
}

static void check_row(const ki_filter *filter, const struct expression *expression, const char *payload, int by_values,
                      ki_values *values) {
    kith_error error = {0};
    json_t *read = json_loads(payload, 0, NULL);
    assert_non_null(read);
    if (ki_values_of(schema, payload, strlen(payload), 0, values, &error) != KITH_OK)
        fail_msg("%s\n%s", payload, error.text);
    const char *const ids[] = {NULL, "red", "7", "07"};
    for (size_t i = 0; i < COUNT(ids); i++) {
        const size_t bytes = ids[i] ? strlen(ids[i]) : 0;
        const int right = evaluate(expression, read, 7, ids[i]);
        if (ki_filter_matches_payload(filter, schema, payload, strlen(payload), 7, ids[i], bytes) != right)
            fail_msg("by payload, not %d: %s\n%s", right, filter->canonical, payload);
        if (by_values && ki_filter_matches(filter, schema, values, 7, ids[i], bytes) != right)
            fail_msg("by values, not %d: %s\n%s", right, filter->canonical, payload);
    }
    json_decref(read);
}

static void check_filters(uint64_t seed, size_t field_count, unsigned depth, size_t filters, size_t rows) {
    ki_rng rng = {seed};
    ki_values values = {0};
    for (size_t f = 0; f < filters; f++) {
        struct expression *expression = random_expression(&rng, depth, field_count);
        ki_filter *filter = parse_forms(&rng, expression);
        const char *undeclared = NULL;
        kith_error error = {0};
        if (ki_filter_check(filter, schema, &undeclared, &error) != KITH_OK) fail_msg("%s", error.text);
        for (size_t r = 0; r < rows; r++) {
            written_bytes = 0;
            say_payload(&rng);
            check_row(filter, expression, written, !undeclared, &values);
        }
        ki_filter_free(filter);
        free_expression(expression);
    }
    ki_values_free(&values);
}

static void test_conditions(void **state) {
    (void)state;
    check_filters(1, FIELDS, 0, 1500, 12);
}

static void test_declared(void **state) {
    (void)state;
    check_filters(2, DECLARED, 4, 1000, 6);
}

static void test_all(void **state) {
    (void)state;
    check_filters(3, FIELDS, 5, 1000, 6);
}

static int set_up(void **state) {
    (void)state;
    written = malloc(TEXT_MAX);
    kith_error error = {0};
    return !written || ki_schema_create(fields, DECLARED, 1, &schema, &error) != KITH_OK;
}

static int tear_down(void **state) {
    (void)state;
    ki_schema_destroy(schema);
    free(written);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conditions), cmocka_unit_test(test_declared),
                                       cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
