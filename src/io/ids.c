/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of ids in a file: one a line, or an .npy of 8-byte integers. What the ids are is known beforehand, from the
 * index that they belong to: in an index of strings 7 is a string too. */
#include "base/checked.h"
#include "base/status.h"
#include "io/labels.h"
#include "io/number.h"

#include <stdlib.h>

struct kith_id_reader {
    ki_side side;
    ki_labels labels;
    bool strings;
    uint64_t npy_rows, done; /* of an .npy */
};

kith_status kith_id_reader_open(const char *path, kith_id_kind kind, kith_id_reader **reader, kith_error *error) {
    if (!path || !reader || (unsigned)kind > KITH_ID_STRING)
        return ki_fail(error, KITH_E_ARG, "kith_id_reader_open: path and reader must not be NULL, kind known");
    kith_id_reader *made = calloc(1, sizeof(*made));
    if (!made) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    made->strings = kind == KITH_ID_STRING;
    kith_status status = ki_side_begin(&made->side, path, true, &made->npy_rows, error);
    if (status == KITH_OK && made->side.npy && made->strings)
        status = ki_fail(error, KITH_E_UNSUPPORTED, "%s: is an array of numbers, but the ids are strings", path);
    if (status == KITH_OK)
        *reader = made;
    else
        kith_id_reader_close(made);
    return status;
}

static kith_status read_line(kith_id_reader *reader, bool *end, kith_error *error) {
    char *text, excerpt[48];
    size_t bytes;
    uint64_t number;
    const kith_status status = ki_lines_next_filled(&reader->side.lines, &text, &bytes, error);
    const ki_place place = {reader->side.path, reader->side.lines.number};
    *end = status == KITH_OK && !text;
    if (status != KITH_OK || *end) return status;
    if (reader->strings) return ki_labels_add_text(&reader->labels, place, "id", text, bytes, error);
    if (ki_parse_id(text, bytes, &number) == KI_ID_NUMBER) return ki_labels_add_number(&reader->labels, number, error);
    return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: '%s' is no id, a whole number was expected", place.path,
                   (unsigned long long)place.line, ki_excerpt(text, bytes, excerpt));
}

static kith_status read_some(kith_id_reader *reader, size_t most, size_t *count, kith_error *error) {
    kith_status status = KITH_OK;
    bool end = false;
    if (reader->side.npy) {
        *count = (size_t)ki_min_u64(most, reader->npy_rows - reader->done);
        status = ki_side_read(&reader->side, reader->done, *count, &reader->labels, error);
        if (status == KITH_OK) reader->done += *count;
        return status;
    }
    for (*count = 0; *count < most && !end && status == KITH_OK; *count += status == KITH_OK && !end)
        status = read_line(reader, &end, error);
    return status;
}

kith_status kith_id_reader_next(kith_id_reader *reader, size_t max_ids, kith_rows *rows, kith_error *error) {
    if (!reader || !rows || max_ids == 0)
        return ki_fail(error, KITH_E_ARG, "kith_id_reader_next: reader and rows must not be NULL, max_ids not 0");
    kith_rows batch = {0};
    ki_labels_clear(&reader->labels);
    const kith_status status = read_some(reader, ki_min_size(max_ids, KI_LABELS_MAX), &batch.count, error);
    if (status != KITH_OK) return status;
    if (!reader->strings) batch.ids = reader->labels.numbers;
    if (reader->strings) batch.id_bytes = reader->labels.bytes;
    if (reader->strings) batch.id_ends = reader->labels.ends;
    *rows = batch;
    return KITH_OK;
}

void kith_id_reader_close(kith_id_reader *reader) {
    if (!reader) return;
    ki_side_close(&reader->side);
    ki_labels_free(&reader->labels);
    free(reader);
}
