/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows that a function of the caller's makes: arrays of other programs, converted strip by strip.
 *
 * What comes from the function is data, not trust: string ends must ascend and strings be what files may hold. The
 * vectors' values are checked where all vectors' are, by whoever uses the rows. */
#include "base/grow.h"
#include "base/status.h"
#include "base/utf8.h"
#include "io/reader.h"

#include <stdlib.h>
#include <string.h>

struct source {
    kith_source given;
    kith_rows labels; /* lent by the last read */
};

static kith_status check_strings(const kith_reader *reader, const char *what, uint64_t first, size_t count,
                                 const char *bytes, const uint32_t *ends, bool may_be_empty, kith_error *error) {
    if (!bytes || !ends) return ki_fail(error, KITH_E_ARG, "%s: the source gave no %ss", reader->path, what);
    uint32_t start = 0;
    for (size_t i = 0; i < count; start = ends[i++]) {
        const unsigned long long row = first + i;
        if (ends[i] < start)
            return ki_fail(error, KITH_E_ARG, "%s: row %llu: the %s ends before it starts", reader->path, row, what);
        const size_t length = ends[i] - start;
        if (length > KITH_STRING_MAX)
            return ki_fail(error, KITH_E_DATA, "%s: row %llu: the %s has %zu bytes, %u are the most", reader->path, row,
                           what, length, KITH_STRING_MAX);
        if (length == 0 && !may_be_empty)
            return ki_fail(error, KITH_E_DATA, "%s: row %llu: the %s is empty", reader->path, row, what);
        if (!ki_utf8_valid(bytes + start, length))
            return ki_fail(error, KITH_E_DATA, "%s: row %llu: the %s is not valid UTF-8 text", reader->path, row, what);
    }
    return KITH_OK;
}

static kith_status source_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error) {
    struct source *source = reader->state;
    kith_rows labels = {0};
    kith_status status = source->given.read(source->given.context, row, count, reader->data, &labels, error);
    if (status == KITH_OK && reader->id_kind == KITH_ID_U64 && !labels.ids)
        status = ki_fail(error, KITH_E_ARG, "%s: the source gave no ids", reader->path);
    if (status == KITH_OK && reader->id_kind == KITH_ID_STRING)
        status = check_strings(reader, "id", row, count, labels.id_bytes, labels.id_ends, false, error);
    if (status == KITH_OK && reader->has_names)
        status = check_strings(reader, "name", row, count, labels.name_bytes, labels.name_ends, true, error);
    source->labels = labels;
    return status;
}

void ki_source_labels(const kith_reader *reader, kith_rows *batch) {
    const struct source *source = reader->state;
    if (reader->id_kind == KITH_ID_U64) batch->ids = source->labels.ids;
    if (reader->id_kind == KITH_ID_STRING) {
        batch->id_bytes = source->labels.id_bytes;
        batch->id_ends = source->labels.id_ends;
    }
    if (reader->has_names) {
        batch->name_bytes = source->labels.name_bytes;
        batch->name_ends = source->labels.name_ends;
    }
}

static void source_close(kith_reader *reader) {
    free(reader->state);
}

const ki_reader_format ki_reader_source = {.open = NULL, .read = source_read, .close = source_close};

static kith_status check_source(const kith_source *source, kith_error *error) {
    if (!source->read) return ki_fail(error, KITH_E_ARG, "kith_reader_from_source: the source has no function to read");
    if ((unsigned)source->id_kind > KITH_ID_STRING)
        return ki_fail(error, KITH_E_ARG, "kith_reader_from_source: there is no kind %d of ids", (int)source->id_kind);
    if (!kith_row_bytes(source->dtype, source->dim))
        return ki_fail(error, source->dim > KITH_DIM_MAX ? KITH_E_LIMIT : KITH_E_ARG,
                       "kith_reader_from_source: no rows of %zu elements of type %s", source->dim,
                       kith_dtype_name(source->dtype));
    if (source->rows > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "kith_reader_from_source: %llu rows, %llu are the most",
                       (unsigned long long)source->rows, (unsigned long long)KITH_ROWS_MAX);
    return KITH_OK;
}

kith_status kith_reader_from_source(const kith_source *given, kith_reader **reader, kith_error *error) {
    if (!given || !reader) return ki_fail(error, KITH_E_ARG, "kith_reader_from_source: source or reader is NULL");
    kith_source today = KITH_SOURCE_INIT;
    kith_status status = ki_grown_read(KI_GROWN_SOURCE, given, &today, error);
    if (status == KITH_OK) status = check_source(&today, error);
    if (status != KITH_OK) return status;
    kith_reader *made = ki_reader_new(today.name ? today.name : "(source)");
    struct source *source = calloc(1, sizeof(*source));
    if (!made || !source) {
        free(source);
        kith_reader_close(made);
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    source->given = today;
    made->functions = &ki_reader_source;
    made->state = source;
    made->dtype = today.dtype;
    made->id_kind = today.id_kind;
    made->has_names = today.has_names != 0;
    made->dim = today.dim;
    made->row_bytes = kith_row_bytes(today.dtype, today.dim);
    made->file_rows = made->rows = today.rows;
    made->file_bytes = today.rows * made->row_bytes;
    *reader = made;
    return KITH_OK;
}
