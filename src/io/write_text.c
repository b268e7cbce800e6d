/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing .csv, .tsv and .jsonl. Floats get the fewest digits that read back as the same float, in any locale. csv has
 * a header when there are ids or names, or when its first row would be taken for one, and else only numbers. String ids
 * that look like numbers are quoted, which makes them strings for the reader. */
#include "io/writer.h"

#include "base/status.h"
#include "base/utf8.h"
#include "io/json.h"
#include "io/number.h"
#include "io/reader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static kith_status put_text(kith_writer *writer, const char *text, kith_error *error) {
    return ki_writer_put(writer, text, strlen(text), error);
}

static kith_status put_number(kith_writer *writer, uint64_t number, kith_error *error) {
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return put_text(writer, text, error);
}

static kith_status put_float(kith_writer *writer, const unsigned char *row, size_t column, kith_error *error) {
    char text[KI_FLOAT_TEXT];
    const float value = ki_dtype_float(writer->dtype, row, column);
    return ki_writer_put(writer, text, ki_print_float(value, text), error);
}

/* Labels that the readers would refuse are refused here. */
static kith_status check_label(const kith_writer *writer, const char *what, const char *text, size_t bytes,
                               kith_error *error) {
    const unsigned long long row = writer->written;
    if (bytes > KITH_STRING_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: row %llu: the %s has %zu bytes, %u are the most", writer->path, row,
                       what, bytes, KITH_STRING_MAX);
    if (!ki_utf8_valid(text, bytes))
        return ki_fail(error, KITH_E_DATA, "%s: row %llu: the %s is not valid UTF-8 text", writer->path, row, what);
    if (bytes == 0 && strcmp(what, "id") == 0)
        return ki_fail(error, KITH_E_DATA, "%s: row %llu: the id is empty", writer->path, row);
    return KITH_OK;
}

static kith_status csv_check(kith_writer *writer, kith_error *error) {
    (void)error;
    writer->separator = ki_suffix_is(writer->path, ".tsv") ? '\t' : ',';
    return KITH_OK;
}

static bool is_labelled(const kith_writer *writer) {
    return writer->id_kind != KITH_ID_ROW || writer->has_names;
}

static kith_status put_csv_header(kith_writer *writer, kith_error *error) {
    const char separator[] = {writer->separator, '\0'};
    kith_status status = KITH_OK;
    if (writer->id_kind != KITH_ID_ROW) status = put_text(writer, "id", error);
    if (status == KITH_OK && writer->has_names) {
        if (writer->id_kind != KITH_ID_ROW) status = put_text(writer, separator, error);
        if (status == KITH_OK) status = put_text(writer, "name", error);
    }
    for (size_t i = 0; i < writer->dim && status == KITH_OK; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%sv%zu", i || is_labelled(writer) ? separator : "", i);
        status = put_text(writer, text, error);
    }
    return status == KITH_OK ? put_text(writer, "\n", error) : status;
}

static kith_status csv_begin(kith_writer *writer, kith_error *error) {
    return is_labelled(writer) ? put_csv_header(writer, error) : KITH_OK;
}

/* 0, 1, 2, ...: the reader takes such a first line for the header of a data frame. */
static bool counts(const kith_writer *writer, const unsigned char *row) {
    size_t i = 0;
    while (i < writer->dim && ki_dtype_float(writer->dtype, row, i) == (float)i) i++;
    return i == writer->dim;
}

/* Is this string id made of digits alone, or of a minus sign and digits? */
static bool looks_like_number(const char *text, size_t bytes) {
    uint64_t number;
    return ki_parse_id(text, bytes, &number) != KI_ID_WORD;
}

/* Quoted where a reader could take it for something else. */
static kith_status put_csv_label(kith_writer *writer, const char *what, const char *text, size_t bytes,
                                 kith_error *error) {
    bool quote = bytes == 0 || text[0] == ' ' || text[bytes - 1] == ' ' ||
                 (strcmp(what, "id") == 0 && looks_like_number(text, bytes));
    kith_status status = check_label(writer, what, text, bytes, error);
    for (size_t i = 0; i < bytes && status == KITH_OK; i++) {
        if (text[i] == '\n' || text[i] == '\r')
            return ki_fail(error, KITH_E_UNSUPPORTED, "%s: row %llu: the %s holds a line break; use .jsonl",
                           writer->path, (unsigned long long)writer->written, what);
        quote |= strchr("\",;\t", text[i]) != NULL;
    }
    if (status == KITH_OK && quote) status = put_text(writer, "\"", error);
    for (size_t i = 0; i < bytes && status == KITH_OK; i++) {
        if (text[i] == '"') status = put_text(writer, "\"", error);
        if (status == KITH_OK) status = ki_writer_put(writer, text + i, 1, error);
    }
    if (status == KITH_OK && quote) status = put_text(writer, "\"", error);
    return status == KITH_OK ? ki_writer_put(writer, &writer->separator, 1, error) : status;
}

static kith_status csv_write(kith_writer *writer, const kith_rows *rows, size_t row, kith_error *error) {
    const unsigned char *data = (const unsigned char *)rows->data + row * writer->row_bytes;
    kith_status status = KITH_OK;
    size_t bytes;
    if (writer->written == 0 && !is_labelled(writer) && counts(writer, data)) status = put_csv_header(writer, error);
    if (writer->id_kind == KITH_ID_U64) {
        status = put_number(writer, rows->ids[row], error);
        if (status == KITH_OK) status = ki_writer_put(writer, &writer->separator, 1, error);
    } else if (writer->id_kind == KITH_ID_STRING) {
        const char *text = ki_writer_label(rows->id_bytes, rows->id_ends, row, &bytes);
        status = put_csv_label(writer, "id", text, bytes, error);
    }
    if (status == KITH_OK && writer->has_names) {
        const char *text = ki_writer_label(rows->name_bytes, rows->name_ends, row, &bytes);
        status = put_csv_label(writer, "name", text, bytes, error);
    }
    for (size_t i = 0; i < writer->dim && status == KITH_OK; i++) {
        if (i) status = ki_writer_put(writer, &writer->separator, 1, error);
        if (status == KITH_OK) status = put_float(writer, data, i, error);
    }
    return status == KITH_OK ? put_text(writer, "\n", error) : status;
}

static kith_status jsonl_check(kith_writer *writer, kith_error *error) {
    (void)writer;
    (void)error;
    return KITH_OK;
}

static kith_status jsonl_begin(kith_writer *writer, kith_error *error) {
    (void)writer;
    (void)error;
    return KITH_OK;
}

static kith_status put_json_string(kith_writer *writer, const char *what, const char *text, size_t bytes,
                                   kith_error *error) {
    kith_status status = check_label(writer, what, text, bytes, error);
    if (status == KITH_OK) status = put_text(writer, "\"", error);
    for (size_t i = 0; i < bytes && status == KITH_OK; i++) {
        char escaped[KI_JSON_ESCAPED];
        const size_t length = ki_json_escape(text[i], escaped);
        status = ki_writer_put(writer, escaped, length, error);
    }
    return status == KITH_OK ? put_text(writer, "\"", error) : status;
}

static kith_status put_json_labels(kith_writer *writer, const kith_rows *rows, size_t row, kith_error *error) {
    kith_status status = KITH_OK;
    size_t bytes;
    if (writer->id_kind != KITH_ID_ROW) status = put_text(writer, "\"id\": ", error);
    if (status == KITH_OK && writer->id_kind == KITH_ID_U64) status = put_number(writer, rows->ids[row], error);
    if (status == KITH_OK && writer->id_kind == KITH_ID_STRING) {
        const char *text = ki_writer_label(rows->id_bytes, rows->id_ends, row, &bytes);
        status = put_json_string(writer, "id", text, bytes, error);
    }
    if (status == KITH_OK && writer->id_kind != KITH_ID_ROW) status = put_text(writer, ", ", error);
    if (status != KITH_OK || !writer->has_names) return status;
    const char *text = ki_writer_label(rows->name_bytes, rows->name_ends, row, &bytes);
    status = put_text(writer, "\"name\": ", error);
    if (status == KITH_OK) status = put_json_string(writer, "name", text, bytes, error);
    return status == KITH_OK ? put_text(writer, ", ", error) : status;
}

static kith_status jsonl_write(kith_writer *writer, const kith_rows *rows, size_t row, kith_error *error) {
    const unsigned char *data = (const unsigned char *)rows->data + row * writer->row_bytes;
    kith_status status = put_text(writer, "{", error);
    if (status == KITH_OK) status = put_json_labels(writer, rows, row, error);
    if (status == KITH_OK) status = put_text(writer, "\"vector\": [", error);
    for (size_t i = 0; i < writer->dim && status == KITH_OK; i++) {
        if (!isfinite(ki_dtype_float(writer->dtype, data, i)))
            return ki_fail(error, KITH_E_DATA, "%s: row %llu, column %zu: JSON has no NaN or infinity", writer->path,
                           (unsigned long long)writer->written, i);
        if (i) status = put_text(writer, ", ", error);
        if (status == KITH_OK) status = put_float(writer, data, i, error);
    }
    return status == KITH_OK ? put_text(writer, "]}\n", error) : status;
}

const ki_writer_format ki_writer_csv = {csv_check, csv_begin, csv_write};
const ki_writer_format ki_writer_jsonl = {jsonl_check, jsonl_begin, jsonl_write};
