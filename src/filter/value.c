/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/value.h"

#include "filter/time.h"

/* Longer than any time with all its digits that matter, and each letter escaped. */
enum { TIME_BYTES_MAX = 256 };

bool ki_value_time(ki_doc_text text, int64_t *ms) {
    char decoded[TIME_BYTES_MAX];
    if (!text.escaped) return ki_time_parse(text.at, text.bytes, ms);
    if (text.bytes > sizeof decoded) return false;
    const size_t bytes = ki_doc_decode(text, decoded);
    return ki_time_parse(decoded, bytes, ms);
}

bool ki_value_i64(kith_field_type type, const ki_doc_value *value, int64_t *i) {
    if (type == KITH_FIELD_BOOL) {
        *i = value->truth;
        return value->kind == KI_DOC_BOOL;
    }
    if (type == KITH_FIELD_TIME && value->kind == KI_DOC_TEXT) return ki_value_time(value->text, i);
    *i = value->number.i;
    return value->kind == KI_DOC_NUMBER && value->number.whole;
}

bool ki_value_f64(const ki_doc_value *value, double *f) {
    *f = value->number.f;
    return value->kind == KI_DOC_NUMBER;
}

bool ki_value_word(const ki_doc_value *value, char buffer[KI_DECIMAL_TEXT], ki_doc_text *word) {
    if (value->kind == KI_DOC_TEXT) {
        *word = value->text;
        return true;
    }
    *word = (ki_doc_text){.at = value->raw, .bytes = value->raw_bytes};
    if (value->kind == KI_DOC_BOOL || (value->kind == KI_DOC_NUMBER && value->number.large)) return true;
    if (value->kind != KI_DOC_NUMBER) return false;
    word->at = buffer;
    word->bytes = ki_decimal_print(&value->number, buffer);
    return true;
}
