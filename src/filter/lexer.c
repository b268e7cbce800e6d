/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/lexer.h"

#include "filter/doc.h"
#include "filter/time.h"

#include <string.h>
#include <strings.h>

static bool fail(ki_lexer *lexer, const char *at, const char *what) {
    ki_parse_failed(lexer->maker, KITH_E_ARG, lexer->begin, at, "%s", what);
    return false;
}

static bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

static bool in_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-' ||
           (c & 0x80);
}

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* A name in backquotes; two of them stand for one. */
static bool lex_name(ki_lexer *lexer) {
    ki_token *token = &lexer->token;
    char *to = ki_make_room(lexer->maker, (size_t)(lexer->end - lexer->at));
    if (!to) return false;
    token->kind = KI_TOKEN_NAME;
    token->text = to;
    for (const char *at = lexer->at + 1; at < lexer->end; at++) {
        if (*at == '`' && (at + 1 >= lexer->end || at[1] != '`')) {
            token->bytes = (size_t)(to - token->text);
            token->end = at + 1;
            return true;
        }
        at += *at == '`';
        *to++ = *at;
    }
    return fail(lexer, token->begin, "this backquote has no other one that ends the name");
}

/* A text in quotes, with JSON's escapes and \'; its own quote may be doubled. */
static bool lex_text(ki_lexer *lexer, char quote) {
    ki_token *token = &lexer->token;
    const char *at = lexer->at + 1;
    while (at < lexer->end && (*at != quote || (at + 1 < lexer->end && at[1] == quote)))
        at += *at == quote || (*at == '\\' && at + 1 < lexer->end) ? 2 : 1;
    char *to = ki_make_room(lexer->maker, (size_t)(at - lexer->at));
    if (!to) return false;
    if (at >= lexer->end) return fail(lexer, token->begin, "this quote has no other one that ends the text");
    token->kind = KI_TOKEN_TEXT;
    token->text = to;
    token->end = at + 1;
    for (const char *from = lexer->at + 1; from < at;) {
        const char c = *from++;
        if (c == '\\' && *from != '\'') {
            const char *escape = from;
            const size_t bytes = ki_unescape(&escape, at, to);
            if (bytes == 0)
                return fail(lexer, from - 1,
                            "a backslash is followed by one of \" ' \\ / b f n r t, or u and four digits");
            to += bytes;
            from = escape;
        } else {
            *to++ = c == '\\' || c == quote ? *from++ : c;
        }
    }
    token->bytes = (size_t)(to - token->text);
    return true;
}

static bool lex_time(ki_lexer *lexer) {
    ki_token *token = &lexer->token;
    const char *at = lexer->at;
    while (at < lexer->end && (in_word(*at) || *at == ':' || *at == '+')) at++;
    int64_t ms;
    token->kind = KI_TOKEN_TIME;
    token->end = at;
    token->bytes = (size_t)(at - token->begin);
    return ki_time_parse(token->begin, token->bytes, &ms) ||
           fail(lexer, token->begin, "this is no time: they look like 2026-01-31 or 2026-01-31T12:30:00Z");
}

static bool lex_number(ki_lexer *lexer) {
    ki_token *token = &lexer->token;
    token->kind = KI_TOKEN_NUMBER;
    const char *end = ki_decimal_scan(lexer->at, lexer->end);
    if (!end || (end < lexer->end && in_word(*end)))
        return fail(lexer, token->begin, "this is no number: they look like 7, -0.5 or 1e6; other texts need quotes");
    token->end = end;
    token->bytes = (size_t)(token->end - token->begin);
    return ki_decimal_parse(token->begin, token->bytes, &token->number) ||
           fail(lexer, token->begin, "this number is beyond the range of doubles");
}

static bool begins_time(const char *at, const char *end) {
    return end - at >= 8 && is_digit(at[0]) && is_digit(at[1]) && is_digit(at[2]) && is_digit(at[3]) && at[4] == '-' &&
           is_digit(at[5]);
}

static bool lex_sign(ki_lexer *lexer) {
    static const char *const signs[] = {"==", "!=", "<>", "<=", ">=", "(", ")", ",", "=", "<", ">", "~"};
    ki_token *token = &lexer->token;
    token->kind = KI_TOKEN_SIGN;
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        const size_t bytes = strlen(signs[i]);
        if ((size_t)(lexer->end - lexer->at) < bytes || memcmp(signs[i], lexer->at, bytes) != 0) continue;
        token->bytes = bytes;
        token->end = lexer->at + bytes;
        return true;
    }
    return fail(lexer, lexer->at, "no word of a filter begins with this character");
}

bool ki_lexer_next(ki_lexer *lexer) {
    if (ki_make_failed(lexer->maker)) return false;
    lexer->at = skip_blanks(lexer->at, lexer->end);
    const char *at = lexer->at;
    ki_token *token = &lexer->token;
    *token = (ki_token){.kind = KI_TOKEN_END, .begin = at, .end = at, .text = at};
    if (at == lexer->end) return true;
    bool lexed = true;
    if (*at == '`') {
        lexed = lex_name(lexer);
    } else if (*at == '"' || *at == '\'') {
        lexed = lex_text(lexer, *at);
    } else if (begins_time(at, lexer->end)) {
        lexed = lex_time(lexer);
    } else if (is_digit(*at) || *at == '-') {
        lexed = lex_number(lexer);
    } else if (in_word(*at)) {
        while (at < lexer->end && in_word(*at)) at++;
        token->kind = KI_TOKEN_WORD;
        token->end = at;
        token->bytes = (size_t)(at - token->begin);
    } else {
        lexed = lex_sign(lexer);
    }
    lexer->at = token->end;
    return lexed;
}

bool ki_lexer_is(const ki_lexer *lexer, const char *word) {
    const ki_token *token = &lexer->token;
    return (token->kind == KI_TOKEN_WORD || token->kind == KI_TOKEN_SIGN) && token->bytes == strlen(word) &&
           strncasecmp(token->begin, word, token->bytes) == 0;
}

bool ki_lexer_take(ki_lexer *lexer, const char *word) {
    return ki_lexer_is(lexer, word) && ki_lexer_next(lexer);
}
