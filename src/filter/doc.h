/* SPDX-License-Identifier: Apache-2.0
 *
 * A strict reader of JSON texts that allocates nothing and changes nothing: callers step through a value and take what
 * they know. Payloads are read with it at every write, and filters in their JSON form.
 *
 * Why not the JSON library that the rest uses: payloads hold integers to 2^64, which it refuses; where it is refused
 * memory it drops bytes of a word and goes on; a filter's error could not say where; and a tree of values that is
 * thrown away at once costs several times what it costs to step over the text.
 *
 * Y1. RFC 8259's grammar, in valid UTF-8; strings hold no lone surrogates. Nesting is bounded by KI_DOC_DEPTH.
 * Y2. A string is given as it stands between its quotes, once checked; whoever compares or copies it decodes it.
 * Y3. After the first failure `expected` says what was expected at `at`, and nothing more may be taken.
 *
 * A ki_doc is a position: a copy of it can be read again. One owner at a time. */
#ifndef KI_FILTER_DOC_H
#define KI_FILTER_DOC_H

#include "filter/number.h"

enum { KI_DOC_DEPTH = 64 };

typedef struct ki_doc {
    const char *begin, *at, *end;
    const char *expected; /* static; NULL: no failure */
    unsigned depth;       /* objects and arrays that are open */
} ki_doc;

/* A string between its quotes. */
typedef struct ki_doc_text {
    const char *at;
    size_t bytes;
    bool escaped; /* it has backslashes */
} ki_doc_text;

ki_doc ki_doc_begin(const char *text, size_t bytes);
bool ki_doc_fail(ki_doc *doc, const char *expected); /* false */
/* The next byte that is not white space, '\0' at the end. */
char ki_doc_peek_beyond(ki_doc *doc);
static inline char ki_doc_peek(ki_doc *doc) {
    return doc->at < doc->end && (unsigned char)*doc->at > ' ' ? *doc->at : ki_doc_peek_beyond(doc);
}
/* Step over `c` if it comes next. */
bool ki_doc_take(ki_doc *doc, char c);
bool ki_doc_string(ki_doc *doc, ki_doc_text *text);
bool ki_doc_number(ki_doc *doc, ki_decimal *number, const char **text, size_t *bytes);
/* true or false. */
bool ki_doc_bool(ki_doc *doc, bool *value);
/* Any value, checked. */
bool ki_doc_skip(ki_doc *doc);
/* The bracket that opens an object or an array. */
bool ki_doc_open(ki_doc *doc, char bracket);
/* Only white space may follow. */
bool ki_doc_end(ki_doc *doc);

/* Walk an object or an array that was opened: whether another member comes; its value is next. *more begins
 * as false. At the end, and at a failure, false: ask doc->expected. */
bool ki_doc_member(ki_doc *doc, bool *more, ki_doc_text *key);
bool ki_doc_element(ki_doc *doc, bool *more);

typedef struct ki_doc_value {
    enum {
        KI_DOC_NULL, /* also what is not there */
        KI_DOC_TEXT,
        KI_DOC_NUMBER,
        KI_DOC_BOOL,
        KI_DOC_ARRAY,
        KI_DOC_OBJECT
    } kind;
    bool truth;
    ki_doc_text text;
    ki_decimal number;
    ki_doc inside; /* of an array or object, opened */
    const char *raw;
    size_t raw_bytes;
} ki_doc_value;

/* Any value, checked and told apart. */
bool ki_doc_value_of(ki_doc *doc, ki_doc_value *value);
/* The members of an object, so that several fields are found in one walk over its text. Beyond KI_DOC_MEMBERS they are
 * walked over again for each field. */
enum { KI_DOC_MEMBERS = 64 };
typedef struct ki_doc_object {
    ki_doc inside; /* opened */
    bool whole;    /* all members are here */
    size_t count;
    ki_doc_text key[KI_DOC_MEMBERS];
    const char *value[KI_DOC_MEMBERS];
} ki_doc_object;

/* False: the text does not begin with an object. */
bool ki_doc_object_of(const char *text, size_t bytes, ki_doc_object *object);
/* The value of a field: that of the key `name`, or, where there is none and the name has dots, of what that path
 * through objects leads to; null where there is neither. Of equal keys the last counts. */
void ki_doc_find(const ki_doc_object *object, const char *name, size_t bytes, ki_doc_value *value);

/* Write a checked string decoded: at most text.bytes bytes; how many. */
size_t ki_doc_decode(ki_doc_text text, char *to);
/* Less than, equal to or greater than 0 as the string is to `bytes` bytes at `other`. */
int ki_doc_compare(ki_doc_text text, const char *other, size_t bytes);
/* Whether the string begins so. */
bool ki_doc_begins(ki_doc_text text, const char *prefix, size_t bytes);

/* One escape of JSON behind its backslash, decoded to UTF-8: bytes written, and *at moves behind it. 0: there is none.
 * */
size_t ki_unescape(const char **at, const char *end, char to[4]);

#endif
