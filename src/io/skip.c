/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "io/skip.h"

#include "base/checked.h"
#include "base/status.h"
#include "io/reader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kith_status add(kith_reader *reader, uint64_t row, const char *why, kith_error *error) {
    ki_skip *skip = &reader->skip;
    void *array = skip->rows;
    if (!ki_array_reserve(&array, &skip->capacity, skip->count + 1, sizeof(*skip->rows)))
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for the rows that are left out", reader->path);
    skip->rows = array;
    if (skip->count < KI_SKIP_WHYS && !(skip->why[skip->count] = strdup(why)))
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
    skip->rows[skip->count++] = row;
    return KITH_OK;
}

/* What is wrong with the values of a row, or NULL; *place is where. The sum is in double, as the builder's is. */
static const char *fault(const kith_reader *reader, const void *row, bool zero, size_t *place) {
    double sum = 0;
    for (*place = 0; *place < reader->dim; ++*place) {
        const double value = ki_dtype_float(reader->dtype, row, *place);
        if (!isfinite(value)) return isnan(value) ? "is NaN" : "is infinite";
        sum += value * value;
    }
    if (sum > KITH_NORM_MAX * KITH_NORM_MAX) return "the vector is too long";
    return zero && sum < KITH_COSINE_NORM_MIN * KITH_COSINE_NORM_MIN ? "the vector is zero, which has no cosine" : NULL;
}

static kith_status check_values(kith_reader *reader, uint64_t row, size_t count, bool zero, kith_error *error) {
    kith_status status = KITH_OK;
    if (reader->dtype == KITH_B1) return KITH_OK;
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        kith_error why = {0};
        char element[40] = "";
        size_t place;
        const char *words = fault(reader, reader->data + i * reader->row_bytes, zero, &place);
        if (!words) continue;
        if (place < reader->dim) snprintf(element, sizeof(element), "element %zu ", place);
        /* Text is looked at row by row, so that the line is the row's. */
        (void)ki_fail(&why, KITH_E_DATA, "%s: %s %llu: %s%s", reader->path, reader->text ? "line" : "row",
                      reader->text ? (unsigned long long)reader->text->lines.number
                                   : (unsigned long long)(reader->first_row + row + i),
                      element, words);
        status = add(reader, row + i, why.text, error);
    }
    return status;
}

/* Read rows row..row+count of the window and look at them; one by one where one of them cannot be read. */
static kith_status look_at(kith_reader *reader, uint64_t row, size_t count, bool zero, kith_error *error) {
    kith_error why = {0};
    kith_status status = ki_reader_read(reader, reader->first_row + row, count, &why);
    if (status == KITH_OK) return check_values(reader, row, count, zero, error);
    if (status != KITH_E_FORMAT && status != KITH_E_DATA && status != KITH_E_LIMIT)
        return ki_fail(error, status, "%s", why.text);
    if (count == 1) return add(reader, row, why.text, error);
    status = KITH_OK;
    for (size_t i = 0; i < count && status == KITH_OK; i++) status = look_at(reader, row + i, 1, zero, error);
    return status;
}

kith_status ki_skip_find(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    const size_t most = reader->text ? 1 : KI_READER_BATCH_BYTES / reader->row_bytes + 1;
    const bool zero = options->skip_zero != 0;
    for (uint64_t row = 0; row < reader->rows;) {
        const size_t count = (size_t)ki_min_u64(most, reader->rows - row);
        const kith_status status = look_at(reader, row, count, zero, error);
        if (status != KITH_OK) return status;
        row += count;
    }
    reader->rows -= reader->skip.count;
    return KITH_OK;
}

uint64_t ki_skip_row(const ki_skip *skip, uint64_t row, size_t *count) {
    size_t low = 0, high = skip->count; /* how many bad rows come before: rows[i] - i good ones come before rows[i] */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (skip->rows[middle] - middle <= row)
            low = middle + 1;
        else
            high = middle;
    }
    const uint64_t place = row + low;
    if (low < skip->count) *count = (size_t)ki_min_u64(*count, skip->rows[low] - place);
    return place;
}

void ki_skip_free(ki_skip *skip) {
    free(skip->rows);
    for (size_t i = 0; i < KI_SKIP_WHYS; i++) free(skip->why[i]);
    *skip = (ki_skip){0};
}
