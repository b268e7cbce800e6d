/* SPDX-License-Identifier: Apache-2.0
 *
 * What a build learns before it begins: the recipe from a small sample, lists and the second code from a larger one. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "build/build.h"
#include "kernel/distance.h"
#include "quant/int8.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ROWS = 4096, SAMPLE_STRIPS = 64 };

/* Rows as floats; cosine: of unit length. */
static void sample_rows(const ki_build *b, const kith_rows *rows, size_t first, size_t count, float *to) {
    const size_t dim = b->source.dim;
    const uint8_t *from = (const uint8_t *)rows->data + first * kith_row_bytes(b->source.dtype, dim);
    ki_distance()->to_f32[b->source.dtype](from, count * dim, to);
    for (size_t i = 0; i < count; i++) {
        float *row = to + i * dim;
        double norm2;
        const ki_row_fault fault = ki_row_check(b->recipe.metric, KITH_F32, row, dim, &norm2);
        const float factor = b->recipe.metric == KITH_COSINE ? ki_inverse_norm(norm2) : 1;
        /* A bad row is refused later, by its number; here it only must not spoil the sample. */
        for (size_t j = 0; j < dim; j++) row[j] = fault == KI_ROW_FINE ? row[j] * factor : 0;
    }
}

static kith_status read_sample(ki_build *b, float *sample, size_t wanted, size_t *count) {
    const uint64_t rows = b->source.rows;
    const int text = b->source.format == KITH_CSV || b->source.format == KITH_JSONL;
    const size_t strip = rows <= wanted ? wanted : text ? 1 : wanted / SAMPLE_STRIPS ? wanted / SAMPLE_STRIPS : 1;
    const uint64_t strips = (wanted + strip - 1) / strip;
    *count = 0;
    for (uint64_t s = 0; s < strips && *count < wanted; s++) {
        const uint64_t at = rows <= wanted ? *count : s * (rows - strip) / (strips > 1 ? strips - 1 : 1);
        size_t left = ki_min_size(strip, wanted - *count);
        kith_status status;
        if (text && rows > wanted) { /* going forward only: seeking would parse from the start each time */
            kith_rows skipped;
            for (; b->next_row < at; b->next_row += skipped.count) {
                status = kith_reader_next(b->reader, ki_min_u64(at - b->next_row, 4096), &skipped, b->error);
                if (status != KITH_OK) return status;
                if (skipped.count == 0) return KITH_OK;
            }
        } else if ((status = kith_reader_seek(b->reader, at, b->error)) != KITH_OK) {
            return status;
        }
        while (left) {
            kith_rows got;
            status = kith_reader_next(b->reader, left, &got, b->error);
            if (status != KITH_OK) return status;
            if (got.count == 0) break;
            sample_rows(b, &got, 0, got.count, sample + *count * b->source.dim);
            *count += got.count;
            b->next_row += got.count;
            left -= got.count;
        }
    }
    return KITH_OK;
}

/* `wanted` rows from all over the input, fewer if memory or the input has fewer. *sample is malloced. */
static kith_status take_sample(ki_build *b, uint64_t wanted, float **sample, size_t *count) {
    const size_t dim = b->source.dim;
    const uint64_t fit = b->options.memory_bytes / 4 / (dim * sizeof(float));
    const size_t most = (size_t)ki_min_u64(ki_min_u64(wanted, fit ? fit : 1), b->source.rows);
    float *rows = ki_alloc_array((uint64_t)most * dim, sizeof(float));
    if (!rows) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for a sample of %zu rows", most);
    b->next_row = 0;
    kith_status status = kith_reader_seek(b->reader, 0, b->error);
    if (status == KITH_OK) status = read_sample(b, rows, most, count);
    if (status == KITH_OK && *count == 0)
        status = ki_fail(b->error, KITH_E_FORMAT, "%s: ended before its first row", ki_build_path(b));
    if (status == KITH_OK)
        *sample = rows;
    else
        free(rows);
    return status;
}

static int all_whole(const float *sample, size_t values) {
    return ki_int8_is_whole(sample, values, 0, 255) || ki_int8_is_whole(sample, values, -128, 127);
}

kith_status ki_build_recipe(ki_build *b, ki_whole may_be) {
    const uint64_t start = ki_now_ns();
    const size_t dim = b->source.dim;
    const kith_metric metric = b->recipe.metric;
    const kith_dtype dtype = b->recipe.dtype;
    if (dtype == KITH_B1) {
        b->recipe = (ki_recipe){.metric = metric, .dtype = dtype, .dim = dim, .row_bytes = kith_row_bytes(dtype, dim)};
        return KITH_OK;
    }
    float *sample = NULL;
    size_t count = 0;
    kith_status status = take_sample(b, SAMPLE_ROWS, &sample, &count);
    if (status == KITH_OK) {
        const int whole = metric != KITH_COSINE && dtype != KITH_BF16 && all_whole(sample, count * dim);
        status = ki_recipe_make(sample, count, b->source.rows, metric, dtype, dim, whole ? may_be : KI_WHOLE_NOT,
                                b->options.first_level, b->options.seed, &b->recipe);
        if (status != KITH_OK) ki_fail(b->error, status, "out of memory while learning from the sample");
        if (status == KITH_OK) ki_build_choose_bits(b, sample, count);
    }
    free(sample);
    b->report.train_ns += ki_now_ns() - start;
    return status;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static kith_status train_failed(ki_build *b, kith_status status) {
    return ki_fail(b->error, status, "%s",
                   status == KITH_E_CANCELLED ? "the build was cancelled" : "out of memory while clustering");
}

/* Take each row's nearest centroid off it. */
static int to_residuals(const ki_kmeans *kmeans, float *rows, size_t count) {
    enum { STEP = 256 };
    uint32_t choices[STEP][KI_CHOICES];
    ki_assign_scratch *scratch = ki_assign_scratch_create(kmeans);
    if (!scratch) return 0;
    for (size_t first = 0; first < count; first += STEP) {
        const size_t step = ki_min_size(STEP, count - first);
        float *row = rows + first * kmeans->dim;
        ki_kmeans_assign(kmeans, scratch, row, step, choices);
        for (size_t i = 0; i < step; i++)
            for (size_t j = 0; j < kmeans->dim; j++)
                row[i * kmeans->dim + j] -= kmeans->centroids[choices[i][0] * kmeans->dim + j];
    }
    ki_assign_scratch_destroy(scratch);
    return 1;
}

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* How far apart rows and centroids ordinarily are: the median over lists of the squared distance of one sample row.
 * Over rows it would be that of the one list that many equal rows, or many short ones, make. */
static int measure_residuals(ki_build_lists *lists, const float *sample, size_t count) {
    enum { ROWS = 1024 };
    const ki_kmeans *kmeans = &lists->kmeans;
    const size_t dim = kmeans->dim, taken = ki_min_size(count, ROWS);
    uint32_t choices[1][KI_CHOICES];
    float squares[ROWS];
    size_t known = 0;
    ki_assign_scratch *scratch = ki_assign_scratch_create(kmeans);
    uint8_t *seen = ki_alloc_array_zeroed(kmeans->lists, 1);
    const int ready = scratch && seen;
    for (size_t i = 0; i < taken && ready; i++) {
        const float *row = sample + (size_t)((uint64_t)i * count / taken) * dim;
        ki_kmeans_assign(kmeans, scratch, row, 1, choices);
        const size_t list = choices[0][0];
        if (seen[list]) continue;
        seen[list] = 1;
        squares[known++] = ki_distance()->l2sq[KITH_F32](row, kmeans->centroids + list * dim, dim);
    }
    if (ready) {
        qsort(squares, known, sizeof(*squares), compare_floats);
        lists->residual2 = squares[known / 2];
    }
    ki_assign_scratch_destroy(scratch);
    free(seen);
    return ready;
}

/* The model of the second code, from residuals. */
static kith_status learn_second(ki_build *b, const ki_second_spec *spec, const float *residuals, size_t count) {
    ki_build_lists *lists = &b->lists;
    const size_t dim = b->source.dim;
    const kith_status status =
        ki_second_train(spec, residuals, count, dim, b->options.seed, b->pool, b->options.progress,
                        b->options.progress_context, &lists->model, &lists->model_bytes);
    if (status != KITH_OK) return train_failed(b, status);
    if (!ki_second_view(lists->model, lists->model_bytes, dim, &lists->second))
        return ki_fail(b->error, KITH_E_UNSUPPORTED, "the code '%s' cannot be trained for these vectors",
                       b->options.code);
    b->recipe.second = &lists->second;
    return KITH_OK;
}

/* The second code, from a part of the sample, which it spoils. */
static kith_status train_second(ki_build *b, float *sample, size_t count) {
    ki_build_lists *lists = &b->lists;
    const size_t dim = b->source.dim;
    ki_second_spec spec;
    const kith_status status = ki_second_parse(b->options.code, dim, &spec, b->error);
    if (status != KITH_OK) return status;
    const size_t taken = ki_min_size(ki_second_sample(&spec), count);
    for (size_t i = 0; i < taken; i++)
        memmove(sample + i * dim, sample + (size_t)((uint64_t)i * count / taken) * dim, dim * sizeof(float));
    if (!to_residuals(&lists->kmeans, sample, taken)) return train_failed(b, KITH_E_NOMEM);
    return learn_second(b, &spec, sample, taken);
}

kith_status ki_build_train_flat_code(ki_build *b) {
    const size_t dim = b->source.dim;
    const uint64_t start = ki_now_ns();
    ki_second_spec spec;
    float *sample = NULL;
    size_t count = 0;
    kith_status status = ki_second_parse(b->options.code, dim, &spec, b->error);
    if (status == KITH_OK)
        status = take_sample(b, ki_round_up(ki_second_sample(&spec), SAMPLE_STRIPS), &sample, &count);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dim; j++) sample[i * dim + j] -= b->recipe.centre[j];
    status = learn_second(b, &spec, sample, count);
    free(sample);
    b->report.train_ns += ki_now_ns() - start;
    return status;
}

kith_status ki_build_train_lists(ki_build *b, size_t wanted) {
    ki_build_lists *lists = &b->lists;
    const size_t dim = b->source.dim;
    const uint64_t start = ki_now_ns();
    enum { STRIPS = SAMPLE_STRIPS };
    uint64_t rows = ki_kmeans_sample(wanted);
    if (rows < b->source.rows) rows = ki_round_up(rows, STRIPS); /* whole strips never overlap */
    float *sample = NULL;
    size_t count = 0;
    ki_build_tell(b, "reading", 0, b->source.rows);
    if (atomic_load(&b->stop)) return train_failed(b, KITH_E_CANCELLED);
    kith_status status = take_sample(b, rows, &sample, &count);
    if (status != KITH_OK) return status;
    status = ki_kmeans_train(sample, count, dim, b->recipe.level1_centre, wanted, b->options.seed, b->pool,
                             b->options.progress, b->options.progress_context, &lists->kmeans);
    if (status != KITH_OK) {
        train_failed(b, status);
    } else if (lists->kmeans.lists > 1) {
        lists->count = lists->kmeans.lists;
        b->recipe.lists = lists->count;
        b->recipe.centroids = lists->kmeans.centroids;
        if (!measure_residuals(lists, sample, count)) status = train_failed(b, KITH_E_NOMEM);
        if (status == KITH_OK && b->options.code) status = train_second(b, sample, count);
    } else if (b->options.code) {
        status = ki_fail(b->error, KITH_E_UNSUPPORTED, "%s: its rows make one list, a second code needs two",
                         ki_build_path(b));
    }
    free(sample);
    b->report.train_ns += ki_now_ns() - start;
    return status;
}
