/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of the people's form. Letter case does not matter in the language's own words. */
#ifndef KI_FILTER_LEXER_H
#define KI_FILTER_LEXER_H

#include "filter/tree.h"

typedef enum ki_token_kind {
    KI_TOKEN_END,
    KI_TOKEN_WORD, /* bare: a field's name, or one of the language */
    KI_TOKEN_NAME, /* a field's name in backquotes */
    KI_TOKEN_TEXT, /* in quotes */
    KI_TOKEN_NUMBER,
    KI_TOKEN_TIME, /* a bare date or time */
    KI_TOKEN_SIGN  /* ( ) , = != < <= > >= ~ */
} ki_token_kind;

typedef struct ki_token {
    ki_token_kind kind;
    const char *begin, *end; /* in the filter's text */
    const char *text;        /* NAME, TEXT: decoded, in the tree's memory; else begin */
    size_t bytes;
    ki_decimal number;
} ki_token;

typedef struct ki_lexer {
    ki_maker *maker;
    const char *begin, *at, *end;
    ki_token token; /* the one that comes next */
    unsigned depth;
} ki_lexer;

/* Go to the next token. False after a failure. */
bool ki_lexer_next(ki_lexer *lexer);
/* Whether the next token is that sign, or that word of the language. */
bool ki_lexer_is(const ki_lexer *lexer, const char *word);
/* Step over it if it is. *taken; false after a failure. */
bool ki_lexer_take(ki_lexer *lexer, const char *word);

#endif
