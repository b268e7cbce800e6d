/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "io/labels.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "base/utf8.h"
#include "io/input.h"
#include "io/npy.h"
#include "io/number.h"

#include <string.h>
#include <unistd.h>

void ki_labels_clear(ki_labels *labels) {
    labels->number_count = labels->end_count = labels->used_bytes = 0;
}

void ki_labels_free(ki_labels *labels) {
    free(labels->numbers);
    free(labels->bytes);
    free(labels->ends);
    *labels = (ki_labels){0};
}

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for ids and names");
}

kith_status ki_labels_add_number(ki_labels *labels, uint64_t number, kith_error *error) {
    void *array = labels->numbers;
    if (!ki_array_reserve(&array, &labels->number_capacity, labels->number_count + 1, sizeof(*labels->numbers)))
        return no_memory(error);
    labels->numbers = array;
    labels->numbers[labels->number_count++] = number;
    return KITH_OK;
}

kith_status ki_labels_add_text(ki_labels *labels, ki_place place, const char *what, const char *text, size_t bytes,
                               kith_error *error) {
    if (bytes > KITH_STRING_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: line %llu: the %s has %zu bytes, %u are the most", place.path,
                       (unsigned long long)place.line, what, bytes, KITH_STRING_MAX);
    if (!ki_utf8_valid(text, bytes))
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: the %s is not valid UTF-8 text", place.path,
                       (unsigned long long)place.line, what);
    void *array = labels->bytes;
    if (!ki_array_reserve(&array, &labels->byte_capacity, labels->used_bytes + bytes + 1, 1)) return no_memory(error);
    labels->bytes = array;
    array = labels->ends;
    if (!ki_array_reserve(&array, &labels->end_capacity, labels->end_count + 1, sizeof(*labels->ends)))
        return no_memory(error);
    labels->ends = array;
    if (bytes) memcpy(labels->bytes + labels->used_bytes, text, bytes);
    labels->used_bytes += bytes;
    labels->ends[labels->end_count++] = (uint32_t)labels->used_bytes;
    return KITH_OK;
}

/* `text` is an excerpt. */
static kith_status no_id(ki_place place, const char *text, kith_error *error) {
    if (*text == '-')
        return ki_fail(error, KITH_E_DATA, "%s: line %llu: id %s is negative; ids are whole numbers from 0, or strings",
                       place.path, (unsigned long long)place.line, text);
    return ki_fail(
        error, KITH_E_DATA,
        "%s: line %llu: id %s is not between 0 and 18446744073709551614 (in a csv, ids in quotes are strings)",
        place.path, (unsigned long long)place.line, text);
}

static kith_status empty_id(ki_place place, kith_error *error) {
    return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: the id is empty", place.path, (unsigned long long)place.line);
}

kith_status ki_labels_add_id(ki_labels *labels, kith_id_kind kind, ki_place place, const char *text, size_t bytes,
                             kith_error *error) {
    uint64_t number;
    char excerpt[48];
    if (bytes == 0) return empty_id(place, error);
    if (kind == KITH_ID_STRING) return ki_labels_add_text(labels, place, "id", text, bytes, error);
    switch (ki_parse_id(text, bytes, &number)) {
    case KI_ID_NUMBER:
        return ki_labels_add_number(labels, number, error);
    case KI_ID_WORD:
        return ki_fail(error, KITH_E_FORMAT, "%s: line %llu: '%s' is no number, as the other ids are", place.path,
                       (unsigned long long)place.line, ki_excerpt(text, bytes, excerpt));
    default:
        return no_id(place, ki_excerpt(text, bytes, excerpt), error);
    }
}

kith_status ki_labels_survey(ki_id_survey *survey, ki_place place, const char *text, size_t bytes, bool word,
                             kith_error *error) {
    uint64_t number;
    if (bytes == 0) return empty_id(place, error);
    const ki_id_text seen = word ? KI_ID_WORD : ki_parse_id(text, bytes, &number);
    if (seen == KI_ID_WORD) {
        survey->words = true;
    } else if (seen != KI_ID_NUMBER && !survey->bad_line) {
        survey->bad_line = place.line;
        ki_excerpt(text, bytes, survey->bad);
    }
    return KITH_OK;
}

kith_status ki_labels_kind(const ki_id_survey *survey, const char *path, kith_id_kind *kind, kith_error *error) {
    if (survey->bad_line && !survey->words) return no_id((ki_place){path, survey->bad_line}, survey->bad, error);
    *kind = survey->words ? KITH_ID_STRING : KITH_ID_U64;
    return KITH_OK;
}

static kith_status count_rows(ki_side *side, uint64_t *rows, kith_error *error) {
    char *text;
    size_t bytes;
    ki_id_survey survey = {0};
    *rows = 0;
    for (;;) {
        kith_status status = ki_lines_next(&side->lines, &text, &bytes, error);
        if (status == KITH_OK && !text) break;
        if (status == KITH_OK && side->ids) {
            const ki_place place = {side->path, side->lines.number};
            status = ki_labels_survey(&survey, place, text, bytes, false, error);
        }
        if (status != KITH_OK) return status;
        (*rows)++;
    }
    return ki_labels_kind(&survey, side->path, &side->kind, error);
}

static kith_status open_npy(ki_side *side, uint64_t file_bytes, uint64_t *rows, kith_error *error) {
    ki_npy_header header;
    const kith_status status = ki_npy_read_header(side->fd, side->path, file_bytes, &header, error);
    if (status != KITH_OK) return status;
    if (header.dims != 1 && !(header.dims == 2 && header.shape[1] == 1))
        return ki_fail(error, KITH_E_FORMAT, "%s: has %u dimensions, ids need one", side->path, header.dims);
    if (header.element != KI_ELEMENT_U8 && header.element != KI_ELEMENT_I8)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: has elements of type %s, ids need u8 or i8 (8-byte integers)",
                       side->path, ki_element_name(header.element));
    side->npy = true;
    side->npy_signed = header.element == KI_ELEMENT_I8;
    side->npy_offset = header.data_offset;
    side->kind = KITH_ID_U64;
    *rows = header.shape[0];
    return KITH_OK;
}

kith_status ki_side_begin(ki_side *side, const char *path, bool ids, uint64_t *npy_rows, kith_error *error) {
    uint64_t file_bytes;
    unsigned char head[512] = {0};
    *side = (ki_side)KI_SIDE_NONE;
    side->ids = ids;
    side->path = strdup(path);
    if (!side->path) return no_memory(error);
    kith_status status = ki_input_open(path, true, &side->fd, &file_bytes, error);
    const size_t head_bytes = status == KITH_OK ? (size_t)ki_min_u64(sizeof(head), file_bytes) : 0;
    if (status == KITH_OK) status = ki_read_at(side->fd, path, head, head_bytes, 0, error);
    if (status != KITH_OK) return status;
    if (ids && memcmp(head, KI_NPY_MAGIC, 6) == 0) return open_npy(side, file_bytes, npy_rows, error);
    status = ki_input_is_text(path, head, head_bytes, error);
    ki_lines_open(&side->lines, side->path, side->fd, file_bytes);
    side->row = UINT64_MAX;
    return status;
}

kith_status ki_side_open(ki_side *side, const char *path, bool ids, uint64_t rows, const char *beside,
                         kith_error *error) {
    uint64_t found = 0;
    kith_status status = ki_side_begin(side, path, ids, &found, error);
    if (status == KITH_OK && !side->npy) status = count_rows(side, &found, error);
    if (status == KITH_OK && found != rows)
        return ki_fail(error, KITH_E_FORMAT, "%s: has %llu %s, but %s has %llu rows", path, (unsigned long long)found,
                       ids ? "ids" : "names", beside, (unsigned long long)rows);
    return status;
}

static kith_status read_npy(ki_side *side, uint64_t row, size_t count, ki_labels *labels, kith_error *error) {
    unsigned char batch[4096];
    const size_t batch_rows = sizeof(batch) / 8;
    for (size_t done = 0; done < count;) {
        const size_t step = ki_min_size(batch_rows, count - done);
        kith_status status =
            ki_read_at(side->fd, side->path, batch, step * 8, side->npy_offset + (row + done) * 8, error);
        for (size_t i = 0; i < step && status == KITH_OK; i++) {
            const uint64_t id = ki_load_u64(batch + i * 8);
            if (side->npy_signed && id >> 63)
                return ki_fail(error, KITH_E_DATA, "%s: row %llu: id %lld is negative", side->path,
                               (unsigned long long)(row + done + i), (long long)id);
            status = ki_labels_add_number(labels, id, error);
        }
        if (status != KITH_OK) return status;
        done += step;
    }
    return KITH_OK;
}

/* The next line of a side file; its end is an error here, as its lines were counted. */
static kith_status next_line(ki_side *side, char **text, size_t *bytes, kith_error *error) {
    const kith_status status = ki_lines_next(&side->lines, text, bytes, error);
    if (status == KITH_OK && !*text)
        return ki_fail(error, KITH_E_FORMAT, "%s: the file changed while it was being read", side->path);
    return status;
}

kith_status ki_side_read(ki_side *side, uint64_t row, size_t count, ki_labels *labels, kith_error *error) {
    char *text;
    size_t bytes;
    uint64_t at = side->row;
    kith_status status = KITH_OK;
    if (side->npy) return read_npy(side, row, count, labels, error);
    if (at > row) {
        ki_lines_rewind(&side->lines);
        at = 0;
    }
    side->row = UINT64_MAX; /* after a failure the next call begins anew */
    for (; at < row && status == KITH_OK; at++) status = next_line(side, &text, &bytes, error);
    for (; at < row + count && status == KITH_OK; at++) {
        status = next_line(side, &text, &bytes, error);
        const ki_place place = {side->path, side->lines.number};
        if (status == KITH_OK && side->ids)
            status = ki_labels_add_id(labels, side->kind, place, text, bytes, error);
        else if (status == KITH_OK)
            status = ki_labels_add_text(labels, place, "name", text, bytes, error);
    }
    if (status == KITH_OK) side->row = at;
    return status;
}

void ki_side_close(ki_side *side) {
    ki_lines_close(&side->lines);
    if (side->fd >= 0) close(side->fd);
    free(side->path);
    *side = (ki_side)KI_SIDE_NONE;
}
