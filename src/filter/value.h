/* SPDX-License-Identifier: Apache-2.0
 *
 * What a JSON value is as the value of a declared field: one place, for the values of rows and for filters that read
 * payloads, so that both agree. */
#ifndef KI_FILTER_VALUE_H
#define KI_FILTER_VALUE_H

#include "filter/doc.h"
#include "filter/schema.h"

/* As an int, bool (0 or 1) or time (milliseconds). False: of another type. */
bool ki_value_i64(kith_field_type type, const ki_doc_value *value, int64_t *i);
bool ki_value_f64(const ki_doc_value *value, double *f);
/* As the string of a tag. Texts of numbers are in `buffer`, or where they stand. */
bool ki_value_word(const ki_doc_value *value, char buffer[KI_DECIMAL_TEXT], ki_doc_text *word);
/* A text that is a time. */
bool ki_value_time(ki_doc_text text, int64_t *ms);

#endif
