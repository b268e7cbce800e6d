/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/doc.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/utf8.h"

#include <string.h>

ki_doc ki_doc_begin(const char *text, size_t bytes) {
    return (ki_doc){.begin = text, .at = text, .end = text + bytes};
}

bool ki_doc_fail(ki_doc *doc, const char *expected) {
    if (!doc->expected) doc->expected = expected;
    return false;
}

char ki_doc_peek_beyond(ki_doc *doc) {
    while (doc->at < doc->end && (*doc->at == ' ' || *doc->at == '\t' || *doc->at == '\n' || *doc->at == '\r'))
        doc->at++;
    return doc->at < doc->end ? *doc->at : '\0';
}

bool ki_doc_take(ki_doc *doc, char c) {
    if (ki_doc_peek(doc) != c || doc->at == doc->end) return false;
    doc->at++;
    return true;
}

static bool hex4(const char *at, const char *end, uint32_t *value) {
    if (end - at < 4) return false;
    *value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* The four digits behind "\u", and of a surrogate the other one. */
static size_t unescape_point(const char **at, const char *end, char to[4]) {
    uint32_t point, low;
    if (!hex4(*at, end, &point)) return 0;
    *at += 4;
    if (point >= 0xDC00 && point <= 0xDFFF) return 0;
    if (point >= 0xD800 && point <= 0xDBFF) {
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' || !hex4(*at + 2, end, &low) || low < 0xDC00 ||
            low > 0xDFFF)
            return 0;
        *at += 6;
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    return ki_utf8_put(point, to);
}

size_t ki_unescape(const char **at, const char *end, char to[4]) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (*at >= end) return 0;
    const char letter = *(*at)++;
    if (letter == 'u') return unescape_point(at, end, to);
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (!found) return 0;
    to[0] = meant[found - letters];
    return 1;
}

/* Eight bytes at a time, over what stands for itself in a string: all but quotes, backslashes, control characters, and
 * what is not ASCII. The tests look for a byte of 0, and for one below 32, by the borrow that it causes. */
static const char *skip_plain(const char *at, const char *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    for (; end - at >= 8; at += 8) {
        const uint64_t bytes = ki_load_u64(at), quotes = bytes ^ (ones * '"'), slashes = bytes ^ (ones * '\\');
        const uint64_t special =
            bytes | ((bytes - ones * 0x20) & ~bytes) | ((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes);
        if (special & high) break;
    }
    return at;
}

bool ki_doc_string(ki_doc *doc, ki_doc_text *text) {
    if (!ki_doc_take(doc, '"')) return ki_doc_fail(doc, "a text in double quotes");
    *text = (ki_doc_text){.at = doc->at};
    doc->at = skip_plain(doc->at, doc->end);
    while (doc->at < doc->end) {
        const unsigned char c = (unsigned char)*doc->at;
        if (c == '"') {
            text->bytes = (size_t)(doc->at++ - text->at);
            return true;
        }
        if (c < 0x20) return ki_doc_fail(doc, "no control character within a text");
        if (c < 0x80 && c != '\\') {
            doc->at++;
        } else if (c == '\\') {
            const char *escape = doc->at + 1;
            char decoded[4];
            if (!ki_unescape(&escape, doc->end, decoded))
                return ki_doc_fail(doc, "an escape of JSON, as \\n or \\u00e9");
            doc->at = skip_plain(escape, doc->end);
            text->escaped = true;
        } else {
            const size_t step = ki_utf8_step(doc->at, doc->end);
            if (step == 0) return ki_doc_fail(doc, "valid UTF-8");
            doc->at = skip_plain(doc->at + step, doc->end);
        }
    }
    return ki_doc_fail(doc, "the quote that ends the text");
}

/* Words and numbers must not run into what follows. */
static bool ends_here(const ki_doc *doc, const char *at) {
    return at >= doc->end || !((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                               *at == '.' || *at == '_');
}

bool ki_doc_number(ki_doc *doc, ki_decimal *number, const char **text, size_t *bytes) {
    ki_doc_peek(doc);
    const char *end = ki_decimal_scan(doc->at, doc->end);
    if (!end || !ends_here(doc, end)) return ki_doc_fail(doc, "a number");
    *text = doc->at;
    *bytes = (size_t)(end - doc->at);
    if (!ki_decimal_parse(doc->at, *bytes, number)) return ki_doc_fail(doc, "a number within the range of doubles");
    doc->at = end;
    return true;
}

static bool take_word(ki_doc *doc, const char *word) {
    const size_t bytes = strlen(word);
    ki_doc_peek(doc);
    if ((size_t)(doc->end - doc->at) < bytes || memcmp(doc->at, word, bytes) != 0 || !ends_here(doc, doc->at + bytes))
        return false;
    doc->at += bytes;
    return true;
}

bool ki_doc_bool(ki_doc *doc, bool *value) {
    *value = take_word(doc, "true");
    return *value || take_word(doc, "false") || ki_doc_fail(doc, "true or false");
}

static bool skip_scalar(ki_doc *doc) {
    ki_doc_text text;
    ki_decimal number;
    const char *digits;
    size_t bytes;
    const char c = ki_doc_peek(doc);
    if (c == '"') return ki_doc_string(doc, &text);
    if (c == '-' || (c >= '0' && c <= '9')) return ki_doc_number(doc, &number, &digits, &bytes);
    return take_word(doc, "true") || take_word(doc, "false") || take_word(doc, "null") || ki_doc_fail(doc, "a value");
}

bool ki_doc_open(ki_doc *doc, char bracket) {
    if (!ki_doc_take(doc, bracket)) return ki_doc_fail(doc, bracket == '{' ? "an object" : "an array");
    if (doc->depth == KI_DOC_DEPTH) return ki_doc_fail(doc, "at most 64 levels of objects and arrays");
    doc->depth++;
    return true;
}

/* Without recursion: which of the open levels are objects is a bit each. */
bool ki_doc_skip(ki_doc *doc) {
    const unsigned before = doc->depth;
    uint64_t objects = 0;
    bool more[KI_DOC_DEPTH + 1];
    for (;;) {
        const char c = ki_doc_peek(doc);
        if (c == '{' || c == '[') {
            if (!ki_doc_open(doc, c)) return false;
            objects = objects << 1 | (c == '{');
            more[doc->depth] = false;
        } else if (!skip_scalar(doc)) {
            return false;
        }
        for (; doc->depth > before; objects >>= 1) {
            ki_doc_text key;
            bool *comes = &more[doc->depth];
            if (objects & 1 ? ki_doc_member(doc, comes, &key) : ki_doc_element(doc, comes)) break;
            if (doc->expected) return false;
        }
        if (doc->depth == before) return true;
    }
}

bool ki_doc_end(ki_doc *doc) {
    ki_doc_peek(doc);
    return doc->at == doc->end || ki_doc_fail(doc, "nothing more");
}

bool ki_doc_element(ki_doc *doc, bool *more) {
    if (ki_doc_take(doc, ']')) {
        doc->depth--;
        return false;
    }
    if (*more && !ki_doc_take(doc, ',')) return ki_doc_fail(doc, "a comma or ]");
    *more = true;
    return true;
}

bool ki_doc_member(ki_doc *doc, bool *more, ki_doc_text *key) {
    if (ki_doc_take(doc, '}')) {
        doc->depth--;
        return false;
    }
    if (*more && !ki_doc_take(doc, ',')) return ki_doc_fail(doc, "a comma or }");
    *more = true;
    if (ki_doc_peek(doc) != '"') return ki_doc_fail(doc, "a key in double quotes");
    if (!ki_doc_string(doc, key)) return false;
    return ki_doc_take(doc, ':') || ki_doc_fail(doc, "a colon");
}

bool ki_doc_value_of(ki_doc *doc, ki_doc_value *value) {
    const char c = ki_doc_peek(doc);
    const char *digits;
    size_t bytes;
    bool taken;
    *value = (ki_doc_value){.kind = KI_DOC_NULL, .raw = doc->at};
    if (c == '"') {
        value->kind = KI_DOC_TEXT;
        taken = ki_doc_string(doc, &value->text);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        value->kind = KI_DOC_NUMBER;
        taken = ki_doc_number(doc, &value->number, &digits, &bytes);
    } else if (c == 't' || c == 'f') {
        value->kind = KI_DOC_BOOL;
        taken = ki_doc_bool(doc, &value->truth);
    } else if (c == '{' || c == '[') {
        value->kind = c == '{' ? KI_DOC_OBJECT : KI_DOC_ARRAY;
        value->inside = *doc;
        ki_doc_open(&value->inside, c);
        taken = ki_doc_skip(doc);
    } else {
        taken = ki_doc_skip(doc);
    }
    value->raw_bytes = (size_t)(doc->at - value->raw);
    return taken;
}

bool ki_doc_object_of(const char *text, size_t bytes, ki_doc_object *object) {
    ki_doc doc = ki_doc_begin(text, bytes);
    ki_doc_text key;
    object->count = 0;
    object->whole = true;
    if (!ki_doc_open(&doc, '{')) return false;
    object->inside = doc;
    for (bool more = false; ki_doc_member(&doc, &more, &key);) {
        if (object->count == KI_DOC_MEMBERS) {
            object->whole = false;
        } else {
            object->key[object->count] = key;
            object->value[object->count++] = doc.at;
        }
        if (!ki_doc_skip(&doc)) return false;
    }
    return !doc.expected;
}

/* The value of the last member of that key of an opened object that was checked; whether there is one. */
static bool last_member(ki_doc object, const char *name, size_t bytes, ki_doc_value *value) {
    ki_doc_text key;
    ki_doc found = object;
    bool there = false;
    for (bool more = false; ki_doc_member(&object, &more, &key); ki_doc_skip(&object)) {
        if (ki_doc_compare(key, name, bytes) != 0) continue;
        there = true;
        found = object;
    }
    return there && ki_doc_value_of(&found, value);
}

static bool top_member(const ki_doc_object *object, const char *name, size_t bytes, ki_doc_value *value) {
    if (!object->whole) return last_member(object->inside, name, bytes, value);
    for (size_t i = object->count; i > 0; i--) {
        if (ki_doc_compare(object->key[i - 1], name, bytes) != 0) continue;
        ki_doc at = object->inside;
        at.at = object->value[i - 1];
        return ki_doc_value_of(&at, value);
    }
    return false;
}

void ki_doc_find(const ki_doc_object *object, const char *name, size_t bytes, ki_doc_value *value) {
    if (top_member(object, name, bytes, value)) return;
    const char *end = name + bytes, *dot = memchr(name, '.', bytes);
    bool there = dot && top_member(object, name, (size_t)(dot - name), value);
    while (there && dot) {
        const char *at = dot + 1;
        dot = memchr(at, '.', (size_t)(end - at));
        there = value->kind == KI_DOC_OBJECT && last_member(value->inside, at, (size_t)((dot ? dot : end) - at), value);
    }
    if (!there) *value = (ki_doc_value){.kind = KI_DOC_NULL};
}

size_t ki_doc_decode(ki_doc_text text, char *to) {
    const char *at = text.at, *end = at + text.bytes;
    char *begin = to;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        const size_t plain = (size_t)((escape ? escape : end) - at);
        memcpy(to, at, plain);
        to += plain;
        at += plain;
        if (escape) {
            char decoded[4];
            at++;
            const size_t bytes = ki_unescape(&at, end, decoded);
            memcpy(to, decoded, bytes);
            to += bytes;
        }
    }
    return (size_t)(to - begin);
}

/* Compare as far as `other` goes; *rest: whether the string goes on. */
static int compare_part(ki_doc_text text, const char *other, size_t bytes, bool *rest) {
    const char *at = text.at, *end = at + text.bytes, *other_end = other + bytes;
    *rest = false;
    while (at < end) {
        char decoded[4];
        const char *piece = decoded;
        size_t size;
        if (*at == '\\') {
            at++;
            size = ki_unescape(&at, end, decoded);
        } else {
            piece = at;
            const char *escape = memchr(at, '\\', (size_t)(end - at));
            size = (size_t)((escape ? escape : end) - at);
            at += size;
        }
        const size_t left = (size_t)(other_end - other), both = size < left ? size : left;
        const int order = both ? memcmp(piece, other, both) : 0;
        if (order) return order;
        other += both;
        if (size > left) {
            *rest = true;
            return 0;
        }
    }
    return other < other_end ? -1 : 0;
}

int ki_doc_compare(ki_doc_text text, const char *other, size_t bytes) {
    if (!text.escaped) {
        const size_t both = ki_min_size(text.bytes, bytes);
        const int order = both ? memcmp(text.at, other, both) : 0;
        return order ? order : (text.bytes > bytes) - (text.bytes < bytes);
    }
    bool rest;
    const int order = compare_part(text, other, bytes, &rest);
    return order ? order : rest;
}

bool ki_doc_begins(ki_doc_text text, const char *prefix, size_t bytes) {
    bool rest;
    return compare_part(text, prefix, bytes, &rest) == 0;
}
