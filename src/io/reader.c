/* SPDX-License-Identifier: Apache-2.0
 *
 * The public front of reading: options, format detection, the window of rows, and batches. */
#define _GNU_SOURCE
#include "io/reader.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/grow.h"
#include "base/status.h"
#include "io/input.h"
#include "io/npy.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const ki_reader_format *const formats[] = {
    [KITH_NPY] = &ki_reader_npy, [KITH_VECS] = &ki_reader_vecs,   [KITH_BIN] = &ki_reader_bin,
    [KITH_CSV] = &ki_reader_csv, [KITH_JSONL] = &ki_reader_jsonl,
};

const char *ki_format_name(kith_format format) {
    static const char *const names[] = {"unknown", "npy", "vecs", "bin", "csv", "jsonl"};
    return (size_t)format < sizeof(names) / sizeof(*names) ? names[format] : names[0];
}

/* Do the first `bytes` of the path end in this suffix? */
static bool ends_in(const char *path, size_t bytes, const char *suffix) {
    const size_t suffix_bytes = strlen(suffix);
    return bytes >= suffix_bytes && strncasecmp(path + bytes - suffix_bytes, suffix, suffix_bytes) == 0;
}

bool ki_suffix_is_gz(const char *path) {
    return ends_in(path, strlen(path), ".gz");
}

bool ki_suffix_is(const char *path, const char *suffix) {
    return ends_in(path, strlen(path) - (ki_suffix_is_gz(path) ? 3 : 0), suffix);
}

kith_format ki_format_of_suffix(const char *path) {
    static const struct {
        const char *suffix;
        kith_format format;
    } suffixes[] = {
        {".npy", KITH_NPY},  {".fvecs", KITH_VECS}, {".bvecs", KITH_VECS},  {".ivecs", KITH_VECS},
        {".fbin", KITH_BIN}, {".u8bin", KITH_BIN},  {".i8bin", KITH_BIN},   {".ibin", KITH_BIN},
        {".csv", KITH_CSV},  {".tsv", KITH_CSV},    {".jsonl", KITH_JSONL}, {".ndjson", KITH_JSONL},
    };
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
        if (ki_suffix_is(path, suffixes[i].suffix)) return suffixes[i].format;
    return KITH_FORMAT_AUTO;
}

/* From the first bytes: .npy has a magic number, JSON lines begin with a brace, and other text is taken for csv. */
static kith_status detect(kith_reader *reader, const unsigned char *head, size_t bytes, kith_error *error) {
    size_t first = bytes >= 3 && memcmp(head, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (first < bytes && strchr(" \t\r\n", head[first]) && head[first]) first++;
    bool text = first < bytes;
    for (size_t i = 0; i < bytes; i++)
        if (head[i] < 0x20 && !(head[i] == '\t' || head[i] == '\r' || head[i] == '\n')) text = false;
    if (bytes >= 6 && memcmp(head, KI_NPY_MAGIC, 6) == 0) {
        reader->format = KITH_NPY;
        return KITH_OK;
    }
    const kith_status status = ki_input_is_text(reader->path, head, bytes, error);
    if (status != KITH_OK) return status;
    if (text)
        reader->format = head[first] == '{' ? KITH_JSONL : KITH_CSV;
    else
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: cannot tell its format; known suffixes are .npy .fvecs .bvecs .ivecs .fbin .u8bin .i8bin "
                       ".ibin .csv .tsv .jsonl .ndjson",
                       reader->path);
    return KITH_OK;
}

/* Settle the format, and refuse by name what is something else. Rows without a magic number may begin with anything. */
static kith_status settle_format(kith_reader *reader, kith_error *error) {
    unsigned char head[512];
    const size_t bytes = (size_t)ki_min_u64(sizeof(head), reader->file_bytes);
    if (reader->format == KITH_VECS || reader->format == KITH_BIN) return KITH_OK;
    kith_status status = ki_read_at(reader->fd, reader->path, head, bytes, 0, error);
    if (status != KITH_OK) return status;
    if (reader->format == KITH_FORMAT_AUTO) return detect(reader, head, bytes, error);
    if (reader->format != KITH_NPY) return ki_input_is_text(reader->path, head, bytes, error);
    if (bytes >= 6 && memcmp(head, KI_NPY_MAGIC, 6) == 0) return KITH_OK;
    return ki_input_is_known(reader->path, head, bytes, error);
}

/* Only text has columns and keys. */
static kith_status check_columns(const kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    if (reader->format == KITH_CSV || reader->format == KITH_JSONL) return KITH_OK;
    const char *asked = options->id_column     ? options->id_column
                        : options->name_column ? options->name_column
                                               : options->vector_key;
    if (!asked) return KITH_OK;
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: has no column '%s': only csv and jsonl have columns and keys",
                   reader->path, asked);
}

kith_status ki_reader_set_shape(kith_reader *reader, uint64_t rows, uint64_t columns, kith_dtype dtype, bool bits,
                                kith_error *error) {
    const uint64_t most = bits ? KITH_DIM_MAX / 8 : KITH_DIM_MAX;
    if (columns == 0) return ki_fail(error, KITH_E_FORMAT, "%s: its rows have no elements", reader->path);
    if (columns > most)
        return ki_fail(error, KITH_E_LIMIT, "%s: rows have %llu %s, %llu are the most", reader->path,
                       (unsigned long long)columns, bits ? "bytes of bits" : "elements", (unsigned long long)most);
    if (rows > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: has %llu rows, %llu are the most", reader->path,
                       (unsigned long long)rows, (unsigned long long)KITH_ROWS_MAX);
    reader->file_rows = rows;
    reader->dim = (size_t)columns * (bits ? 8 : 1);
    reader->dtype = bits ? KITH_B1 : dtype;
    reader->row_bytes = kith_row_bytes(reader->dtype, reader->dim);
    return KITH_OK;
}

/* Ids and names beside the vectors take the place of the file's own. */
static kith_status open_sides(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    kith_status status = KITH_OK;
    if (options->ids_path) {
        status = ki_side_open(&reader->id_file, options->ids_path, true, reader->file_rows, reader->path, error);
        reader->id_kind = reader->id_file.kind;
    }
    if (status == KITH_OK && options->names_path) {
        status = ki_side_open(&reader->name_file, options->names_path, false, reader->file_rows, reader->path, error);
        reader->has_names = true;
    }
    return status;
}

static kith_status set_window(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    if (options->first_row > reader->file_rows)
        return ki_fail(error, KITH_E_ARG, "%s: has %llu rows, the first asked for is row %llu", reader->path,
                       (unsigned long long)reader->file_rows, (unsigned long long)options->first_row);
    reader->first_row = options->first_row;
    reader->rows = reader->file_rows - options->first_row;
    if (options->max_rows) reader->rows = ki_min_u64(reader->rows, options->max_rows);
    return KITH_OK;
}

static kith_status leave_out(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    const kith_status status = ki_skip_find(reader, options, error);
    reader->row_ids = reader->skip.count && reader->id_kind == KITH_ID_ROW;
    if (reader->row_ids) reader->id_kind = KITH_ID_U64;
    return status;
}

static kith_status open_file(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    reader->format = options->format;
    if (reader->format == KITH_FORMAT_AUTO) reader->format = ki_format_of_suffix(reader->path);
    const bool plain = (reader->format == KITH_VECS || reader->format == KITH_BIN) && !ki_suffix_is_gz(reader->path);
    kith_status status = ki_input_open(reader->path, !plain, &reader->fd, &reader->file_bytes, error);
    if (status != KITH_OK) return status;
    (void)posix_fadvise(reader->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint: its failure changes nothing */
    reader->round = options->round != 0;
    status = settle_format(reader, error);
    if (status == KITH_OK) status = check_columns(reader, options, error);
    if (status != KITH_OK) return status;
    reader->functions = formats[reader->format];
    status = reader->functions->open(reader, options, error);
    if (status == KITH_OK) status = open_sides(reader, options, error);
    if (status == KITH_OK) status = set_window(reader, options, error);
    if (status == KITH_OK && options->skip_bad) status = leave_out(reader, options, error);
    return status;
}

static kith_status check_options(const kith_reader_options *given, kith_reader_options *options, kith_error *error) {
    *options = (kith_reader_options)KITH_READER_OPTIONS_INIT;
    const kith_status status = ki_grown_read(KI_GROWN_READER_OPTIONS, given, options, error);
    if (status != KITH_OK) return status;
    if ((unsigned)options->format > KITH_JSONL)
        return ki_fail(error, KITH_E_ARG, "reader options: there is no format %d", (int)options->format);
    if ((unsigned)options->header > KITH_HEADER_NO)
        return ki_fail(error, KITH_E_ARG, "reader options: there is no header %d", (int)options->header);
    if (options->dtype != KITH_DTYPE_NONE && options->dtype != KITH_B1)
        return ki_fail(error, KITH_E_ARG,
                       "reader options: dtype may only be b1; other files say themselves what they hold");
    return KITH_OK;
}

kith_reader *ki_reader_new(const char *path) {
    kith_reader *reader = calloc(1, sizeof(*reader));
    if (!reader) return NULL;
    reader->fd = -1;
    reader->id_file = reader->name_file = (ki_side)KI_SIDE_NONE;
    reader->path = strdup(path);
    if (reader->path) return reader;
    free(reader);
    return NULL;
}

kith_status kith_reader_open(const char *path, const kith_reader_options *given, kith_reader **reader,
                             kith_error *error) {
    kith_reader_options options;
    if (!path || !reader) return ki_fail(error, KITH_E_ARG, "kith_reader_open: path and reader must not be NULL");
    kith_status status = check_options(given, &options, error);
    if (status != KITH_OK) return status;
    kith_reader *opened = ki_reader_new(path);
    if (!opened) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    status = open_file(opened, &options, error);
    if (status == KITH_OK)
        *reader = opened;
    else
        kith_reader_close(opened);
    return status;
}

static size_t element_alignment(kith_dtype dtype) {
    return dtype == KITH_F32 ? 4 : dtype == KITH_B1 ? 1 : kith_row_bytes(dtype, 8) / 8;
}

kith_status kith_reader_from_memory(const void *rows, kith_dtype dtype, uint64_t count, size_t dim, size_t stride_bytes,
                                    const uint64_t *ids, kith_reader **reader, kith_error *error) {
    const size_t row_bytes = kith_row_bytes(dtype, dim), stride = stride_bytes ? stride_bytes : row_bytes;
    uint64_t bytes;
    if (!reader || (!rows && count))
        return ki_fail(error, KITH_E_ARG, "kith_reader_from_memory: rows and reader must not be NULL");
    if (row_bytes == 0)
        return ki_fail(error, KITH_E_ARG, "kith_reader_from_memory: no rows of %zu elements of type %s", dim,
                       kith_dtype_name(dtype));
    if (count > KITH_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "kith_reader_from_memory: %llu rows, %llu are the most",
                       (unsigned long long)count, (unsigned long long)KITH_ROWS_MAX);
    if (stride < row_bytes || !ki_mul(count, stride, &bytes) || bytes > SIZE_MAX)
        return ki_fail(error, KITH_E_ARG,
                       "kith_reader_from_memory: a stride of %zu bytes does not fit rows of %zu bytes", stride,
                       row_bytes);
    kith_reader *made = ki_reader_new("(memory)");
    if (!made) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    made->dtype = dtype;
    made->dim = dim;
    made->row_bytes = row_bytes;
    made->file_bytes = count * row_bytes;
    made->file_rows = made->rows = count;
    made->memory = rows;
    made->memory_stride = stride;
    made->memory_ids = ids;
    made->id_kind = ids ? KITH_ID_U64 : KITH_ID_ROW;
    *reader = made;
    return KITH_OK;
}

kith_status kith_reader_get_info(const kith_reader *reader, kith_reader_info *info) {
    if (!reader || !info || ki_grown_check(KI_GROWN_READER_INFO, info, NULL) != KITH_OK) return KITH_E_ARG;
    const kith_reader_info full = {
        .struct_size = sizeof(full),
        .format = reader->format,
        .dtype = reader->dtype,
        .id_kind = reader->id_kind,
        .has_names = reader->has_names,
        .dim = reader->dim,
        .rows = reader->rows,
        .file_bytes = reader->file_bytes,
        .columns = reader->columns ? reader->columns : "",
        .guessed_header = reader->guessed_header,
        .skipped = reader->skip.count,
        .row_ids = reader->row_ids,
    };
    ki_grown_write(KI_GROWN_READER_INFO, &full, info);
    return KITH_OK;
}

kith_status kith_reader_skipped(const kith_reader *reader, uint64_t place, uint64_t *row, const char **why,
                                kith_error *error) {
    if (!reader || !row || !why || place >= reader->skip.count)
        return ki_fail(error, KITH_E_ARG, "kith_reader_skipped: no pointer may be NULL, and place must be below %llu",
                       reader ? (unsigned long long)reader->skip.count : 0ull);
    *row = reader->first_row + reader->skip.rows[place];
    *why = place < KI_SKIP_WHYS ? reader->skip.why[place] : "";
    return KITH_OK;
}

const char *kith_reader_path(const kith_reader *reader) {
    return reader ? reader->path : "";
}

static kith_status reserve_data(kith_reader *reader, size_t bytes, kith_error *error) {
    if (bytes <= reader->data_capacity) return KITH_OK;
    free(reader->data);
    reader->data_capacity = 0;
    reader->data = ki_alloc_array(bytes, 1);
    if (!reader->data)
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for %zu bytes of rows", reader->path, bytes);
    reader->data_capacity = bytes;
    return KITH_OK;
}

/* Packed and aligned rows are lent as they lie; others are gathered. */
static kith_status read_memory(kith_reader *reader, size_t count, const void **data, kith_error *error) {
    const unsigned char *from = reader->memory + reader->next * reader->memory_stride;
    if (reader->memory_stride == reader->row_bytes && (uintptr_t)from % element_alignment(reader->dtype) == 0) {
        *data = from;
        return KITH_OK;
    }
    const kith_status status = reserve_data(reader, count * reader->row_bytes, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < count; i++)
        memcpy(reader->data + i * reader->row_bytes, from + i * reader->memory_stride, reader->row_bytes);
    *data = reader->data;
    return KITH_OK;
}

kith_status ki_reader_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error) {
    ki_labels_clear(&reader->ids);
    ki_labels_clear(&reader->names);
    const kith_status status = reserve_data(reader, count * reader->row_bytes, error);
    return status == KITH_OK ? reader->functions->read(reader, row, count, error) : status;
}

/* The next rows, at most *most of them, and how many they are. */
static kith_status read_file(kith_reader *reader, size_t *most, kith_error *error) {
    const uint64_t place = ki_skip_row(&reader->skip, reader->next, most), row = reader->first_row + place;
    const size_t count = *most;
    kith_status status = ki_reader_read(reader, row, count, error);
    for (size_t i = 0; reader->row_ids && i < count && status == KITH_OK; i++)
        status = ki_labels_add_number(&reader->ids, place + i, error);
    if (status == KITH_OK && reader->id_file.path)
        status = ki_side_read(&reader->id_file, row, count, &reader->ids, error);
    if (status == KITH_OK && reader->name_file.path)
        status = ki_side_read(&reader->name_file, row, count, &reader->names, error);
    return status;
}

static void lend_labels(const kith_reader *reader, kith_rows *batch) {
    if (reader->functions == &ki_reader_source) {
        ki_source_labels(reader, batch);
        return;
    }
    if (reader->id_kind == KITH_ID_U64) batch->ids = reader->ids.numbers;
    if (reader->id_kind == KITH_ID_STRING) {
        batch->id_bytes = reader->ids.bytes;
        batch->id_ends = reader->ids.ends;
    }
    if (reader->has_names) {
        batch->name_bytes = reader->names.bytes;
        batch->name_ends = reader->names.ends;
    }
}

kith_status kith_reader_next(kith_reader *reader, size_t max_rows, kith_rows *rows, kith_error *error) {
    if (!reader || !rows || max_rows == 0)
        return ki_fail(error, KITH_E_ARG, "kith_reader_next: reader and rows must not be NULL, max_rows not 0");
    size_t count = (size_t)ki_min_u64(max_rows, reader->rows - reader->next);
    const void *data = NULL;
    if (count && !reader->memory)
        count = ki_min_size(count,
                            KI_READER_BATCH_BYTES > reader->row_bytes ? KI_READER_BATCH_BYTES / reader->row_bytes : 1);
    if (reader->id_kind == KITH_ID_STRING || reader->has_names) count = ki_min_size(count, KI_LABELS_MAX);
    if (count) {
        const kith_status status =
            reader->memory ? read_memory(reader, count, &data, error) : read_file(reader, &count, error);
        if (status != KITH_OK) return status;
        if (!reader->memory) data = reader->data;
    }
    kith_rows batch = {.first = reader->next, .count = count, .data = data};
    if (count && reader->memory_ids) batch.ids = reader->memory_ids + reader->next;
    if (count && !reader->memory) lend_labels(reader, &batch);
    reader->next += count;
    *rows = batch;
    return KITH_OK;
}

kith_status kith_reader_seek(kith_reader *reader, uint64_t row, kith_error *error) {
    if (!reader) return ki_fail(error, KITH_E_ARG, "kith_reader_seek: reader must not be NULL");
    if (row > reader->rows)
        return ki_fail(error, KITH_E_ARG, "%s: cannot go to row %llu of %llu", reader->path, (unsigned long long)row,
                       (unsigned long long)reader->rows);
    reader->next = row;
    return KITH_OK;
}

void kith_reader_close(kith_reader *reader) {
    if (!reader) return;
    if (reader->functions) reader->functions->close(reader);
    ki_side_close(&reader->id_file);
    ki_side_close(&reader->name_file);
    ki_labels_free(&reader->ids);
    ki_labels_free(&reader->names);
    free(reader->columns);
    ki_skip_free(&reader->skip);
    free(reader->data);
    if (reader->fd >= 0) close(reader->fd);
    free(reader->path);
    free(reader);
}

kith_status ki_text_goto(ki_text *text, uint64_t row, kith_error *error) {
    uint64_t at = text->row;
    char *line;
    size_t bytes;
    kith_status status = KITH_OK;
    if (at > row) {
        ki_lines_rewind(&text->lines);
        if (text->header) status = ki_lines_next_filled(&text->lines, &line, &bytes, error);
        at = 0;
    }
    text->row = UINT64_MAX; /* after a failure the next call begins anew */
    for (; at < row && status == KITH_OK; at++) status = ki_lines_next_filled(&text->lines, &line, &bytes, error);
    if (status == KITH_OK) text->row = row;
    return status;
}

kith_status ki_text_row(ki_text *text, char **line, size_t *bytes, kith_error *error) {
    const kith_status status = ki_lines_next_filled(&text->lines, line, bytes, error);
    if (status == KITH_OK && *line) {
        text->row++;
        return KITH_OK;
    }
    text->row = UINT64_MAX;
    if (status != KITH_OK) return status;
    return ki_fail(error, KITH_E_FORMAT, "%s: ends at line %llu: the file changed while it was being read",
                   text->lines.path, (unsigned long long)text->lines.number);
}
