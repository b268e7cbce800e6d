/* SPDX-License-Identifier: Apache-2.0
 *
 * The public front of writing, and the buffer below all formats. */
#define _GNU_SOURCE
#include "io/writer.h"

#include "base/checked.h"
#include "base/status.h"
#include "io/number.h"
#include "io/reader.h"

#include <string.h>

enum { BUFFER_BYTES = 1 << 20 };

static const ki_writer_format *const formats[] = {
    [KITH_NPY] = &ki_writer_npy, [KITH_VECS] = &ki_writer_vecs,   [KITH_BIN] = &ki_writer_bin,
    [KITH_CSV] = &ki_writer_csv, [KITH_JSONL] = &ki_writer_jsonl,
};

static kith_status flush(kith_writer *writer, kith_error *error) {
    const kith_status status = ki_outfile_write_at(&writer->file, writer->buffer, writer->used, writer->offset, error);
    if (status != KITH_OK) return status;
    writer->offset += writer->used;
    writer->used = 0;
    return KITH_OK;
}

kith_status ki_writer_put(kith_writer *writer, const void *data, size_t bytes, kith_error *error) {
    const unsigned char *from = data;
    while (bytes) {
        const size_t step = ki_min_size(bytes, BUFFER_BYTES - writer->used);
        memcpy(writer->buffer + writer->used, from, step);
        writer->used += step;
        from += step;
        bytes -= step;
        if (writer->used < BUFFER_BYTES) continue;
        const kith_status status = flush(writer, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

const char *ki_writer_label(const char *bytes, const uint32_t *ends, size_t row, size_t *label_bytes) {
    const uint32_t begin = row ? ends[row - 1] : 0;
    *label_bytes = ends[row] - begin;
    return bytes + begin;
}

size_t ki_writer_columns(const kith_writer *writer) {
    return writer->dtype == KITH_B1 ? writer->dim / 8 : writer->dim;
}

/* A float that is to be an i4. */
static kith_status put_integer(kith_writer *writer, float value, size_t column, kith_error *error) {
    if (!(value >= -0x1p31f && value < 0x1p31f) || (float)(int32_t)value != value)
        return ki_fail(error, KITH_E_DATA, "%s: row %llu, column %zu: %.9g is no 32-bit whole number", writer->path,
                       (unsigned long long)writer->written, column, (double)value);
    const int32_t whole = (int32_t)value;
    return ki_writer_put(writer, &whole, sizeof(whole), error);
}

kith_status ki_writer_put_elements(kith_writer *writer, const unsigned char *row, kith_error *error) {
    const bool widened = writer->dtype == KITH_BF16, integers = writer->element == KI_ELEMENT_I4;
    if (!widened && !integers) return ki_writer_put(writer, row, writer->row_bytes, error);
    kith_status status = KITH_OK;
    for (size_t i = 0; i < writer->dim && status == KITH_OK; i++) {
        const float value = ki_dtype_float(writer->dtype, row, i);
        status = integers ? put_integer(writer, value, i, error) : ki_writer_put(writer, &value, sizeof(value), error);
    }
    return status;
}

static kith_status check_labels(const kith_writer *writer, kith_format format, kith_error *error) {
    const bool text = format == KITH_CSV || format == KITH_JSONL;
    if (text && writer->dtype == KITH_B1)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: packed bits (b1) are not written as text; use .npy",
                       writer->path);
    if (text || (writer->id_kind != KITH_ID_STRING && !writer->has_names)) return KITH_OK;
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: the format %s cannot hold %s; use .csv or .jsonl", writer->path,
                   ki_format_name(format), writer->has_names ? "names" : "string ids");
}

static kith_status open_writer(kith_writer *writer, kith_format format, kith_error *error) {
    kith_status status = check_labels(writer, format, error);
    writer->functions = formats[format];
    if (status == KITH_OK) status = writer->functions->check(writer, error);
    if (status != KITH_OK) return status;
    writer->buffer = ki_alloc_array(BUFFER_BYTES, 1);
    if (!writer->buffer || !ki_numbers_ready()) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", writer->path);
    status = ki_outfile_create(writer->path, &writer->file, error);
    return status == KITH_OK ? writer->functions->begin(writer, error) : status;
}

kith_status kith_writer_open(const char *path, kith_format format, kith_dtype dtype, size_t dim, uint64_t rows,
                             kith_id_kind id_kind, int has_names, kith_writer **writer, kith_error *error) {
    if (!path || !writer || (unsigned)format > KITH_JSONL || (unsigned)id_kind > KITH_ID_STRING)
        return ki_fail(error, KITH_E_ARG,
                       "kith_writer_open: path and writer must not be NULL, format and id_kind known");
    if (kith_row_bytes(dtype, dim) == 0)
        return ki_fail(error, KITH_E_ARG, "%s: no rows of %zu elements of type %s", path, dim, kith_dtype_name(dtype));
    if (rows > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: %llu rows, %llu are the most", path, (unsigned long long)rows,
                       (unsigned long long)KITH_ROWS_MAX);
    if (ki_suffix_is_gz(path))
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: files compressed with gzip are read, not written", path);
    if (format == KITH_FORMAT_AUTO) format = ki_format_of_suffix(path);
    if (format == KITH_FORMAT_AUTO)
        return ki_fail(
            error, KITH_E_UNSUPPORTED,
            "%s: the suffix must name a format: .npy .fvecs .bvecs .ivecs .fbin .u8bin .i8bin .ibin .csv .tsv "
            ".jsonl .ndjson",
            path);
    kith_writer *made = calloc(1, sizeof(*made));
    if (made) *made = (kith_writer){.file = KI_OUTFILE_NONE, .path = strdup(path)};
    if (!made || !made->path) {
        free(made);
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    }
    made->dtype = dtype;
    made->dim = dim;
    made->row_bytes = kith_row_bytes(dtype, dim);
    made->rows = rows;
    made->id_kind = id_kind;
    made->has_names = has_names != 0;
    const kith_status status = open_writer(made, format, error);
    if (status == KITH_OK)
        *writer = made;
    else
        kith_writer_abandon(made);
    return status;
}

static kith_status check_rows(const kith_writer *writer, const kith_rows *rows, kith_error *error) {
    if (writer->failed) return ki_fail(error, KITH_E_ARG, "%s: an earlier write failed", writer->path);
    if (rows->count == 0) return KITH_OK;
    if (!rows->data) return ki_fail(error, KITH_E_ARG, "%s: rows without data", writer->path);
    if (rows->count > writer->rows - writer->written)
        return ki_fail(error, KITH_E_ARG, "%s: more than the %llu rows that were announced", writer->path,
                       (unsigned long long)writer->rows);
    if ((writer->id_kind == KITH_ID_U64 && !rows->ids) ||
        (writer->id_kind == KITH_ID_STRING && !(rows->id_bytes && rows->id_ends)))
        return ki_fail(error, KITH_E_ARG, "%s: rows without the ids that were announced", writer->path);
    if (writer->has_names && !(rows->name_bytes && rows->name_ends))
        return ki_fail(error, KITH_E_ARG, "%s: rows without the names that were announced", writer->path);
    return KITH_OK;
}

kith_status kith_writer_write(kith_writer *writer, const kith_rows *rows, kith_error *error) {
    if (!writer || !rows) return ki_fail(error, KITH_E_ARG, "kith_writer_write: writer and rows must not be NULL");
    kith_status status = check_rows(writer, rows, error);
    for (size_t i = 0; i < rows->count && status == KITH_OK; i++) {
        status = writer->functions->write(writer, rows, i, error);
        writer->written += status == KITH_OK;
    }
    writer->failed |= status != KITH_OK;
    return status;
}

kith_status kith_writer_finish(kith_writer *writer, kith_error *error) {
    if (!writer) return ki_fail(error, KITH_E_ARG, "kith_writer_finish: writer must not be NULL");
    kith_status status = KITH_OK;
    if (writer->failed)
        status = ki_fail(error, KITH_E_ARG, "%s: an earlier write failed", writer->path);
    else if (writer->written != writer->rows)
        status = ki_fail(error, KITH_E_ARG, "%s: %llu rows were written, %llu were announced", writer->path,
                         (unsigned long long)writer->written, (unsigned long long)writer->rows);
    if (status == KITH_OK) status = flush(writer, error);
    if (status == KITH_OK) status = ki_outfile_commit(&writer->file, error);
    kith_writer_abandon(writer);
    return status;
}

void kith_writer_abandon(kith_writer *writer) {
    if (!writer) return;
    ki_outfile_discard(&writer->file);
    free(writer->buffer);
    free(writer->path);
    free(writer);
}
