/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_build: rows stream from a reader through coding into a segment.
 *
 * A sample gives the recipe (centre, first level). Then workers each take the next run of rows under a lock (reading is
 * serial: it is a copy), code it, and write it to its place in the planned sections; rows, and so places, are known
 * beforehand. Ids and names are kept in memory and written at the end.
 *
 * E1. If values that a sample took for whole numbers turn out not to be, the build starts over without that assumption.
 * E2. Only the calling thread calls the progress function, while it works as worker 0 or waits. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/status.h"
#include "engine/id_table.h"
#include "index/flat_build.h"
#include "kernel/distance.h"
#include "kernel/tile.h"
#include "quant/int8.h"
#include "store/segment.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SAMPLE_ROWS = 4096, SAMPLE_STRIPS = 64, RUN_ROWS = 4096, RUN_ROWS_LEAST = 16 };

struct build {
    kith_reader *reader;
    kith_reader_info source;
    kith_build_options options;
    kith_pool *pool;
    kith_build_report report;
    kith_error *error;
    ki_recipe recipe;
    ki_segment_writer *writer;
    ki_id_table labels;
    size_t run_rows, workers;
    /* shared by workers */
    pthread_mutex_t reading; /* guards reader, next_row, labels while appending */
    uint64_t next_row;
    pthread_mutex_t failing; /* guards the five below */
    kith_status status;
    uint64_t failed_row; /* of the failure kept: runs are taken in order, so it is the lowest of all */
    kith_error failure;
    ki_row_fault fault;
    double error_sum[2];
    atomic_uint_fast64_t rows_done, read_ns, code_ns, write_ns;
    atomic_int stop;
};

static const char *path_of(const struct build *b) {
    return kith_reader_path(b->reader);
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */

static kith_status check_types(struct build *b) {
    const kith_dtype from = b->source.dtype;
    kith_dtype to = b->options.dtype == KITH_DTYPE_NONE ? from : b->options.dtype;
    kith_metric metric = b->options.metric;
    if (metric == KITH_METRIC_NONE) metric = to == KITH_B1 ? KITH_HAMMING : KITH_L2SQ;
    const int bits = metric == KITH_HAMMING || metric == KITH_JACCARD;
    if (!kith_row_bytes(to, b->source.dim))
        return ki_fail(b->error, KITH_E_ARG, "%s: rows of %zu elements cannot be stored as %s", path_of(b),
                       b->source.dim, kith_dtype_name(to));
    if ((unsigned)metric > KITH_JACCARD) return ki_fail(b->error, KITH_E_ARG, "metric %d is unknown", (int)metric);
    if (bits != (to == KITH_B1))
        return ki_fail(b->error, KITH_E_ARG, "metric %s needs %s vectors, %s holds %s: %s", kith_metric_name(metric),
                       bits ? "b1" : "number", path_of(b), kith_dtype_name(to),
                       bits ? "read the rows as packed bits (dtype b1)" : "use hamming or jaccard");
    if (to != from && (from == KITH_B1 || to == KITH_I8 || to == KITH_U8 || to == KITH_B1 ||
                       (from == KITH_F16 && to == KITH_BF16) || (from == KITH_BF16 && to == KITH_F16)))
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "%s: %s rows cannot be stored as %s (f32, f16 and bf16 can be made)", path_of(b),
                       kith_dtype_name(from), kith_dtype_name(to));
    if ((unsigned)b->options.originals > KITH_ORIGINALS_NONE)
        return ki_fail(b->error, KITH_E_ARG, "originals %d is unknown", (int)b->options.originals);
    if ((unsigned)b->options.first_level > KITH_FIRST_LEVEL_ON)
        return ki_fail(b->error, KITH_E_ARG, "first_level %d is unknown", (int)b->options.first_level);
    if (b->options.originals == KITH_ORIGINALS_NONE && to == KITH_B1)
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "bit vectors have no codes: they cannot be built without originals");
    b->recipe.dtype = to;
    b->recipe.metric = metric;
    return KITH_OK;
}

static kith_status check_sizes(struct build *b) {
    if (b->source.rows == 0) return ki_fail(b->error, KITH_E_DATA, "%s: has no rows to index", path_of(b));
    if (b->source.rows > KITH_ROWS_MAX)
        return ki_fail(b->error, KITH_E_LIMIT, "%s: has %llu rows, one index holds at most %llu", path_of(b),
                       (unsigned long long)b->source.rows, (unsigned long long)KITH_ROWS_MAX);
    const uint64_t memory = b->options.memory_bytes ? b->options.memory_bytes : (uint64_t)1 << 30;
    if (memory < (uint64_t)16 << 20)
        return ki_fail(b->error, KITH_E_ARG, "%llu bytes of working memory asked for, at least 16 MiB are needed",
                       (unsigned long long)memory);
    b->options.memory_bytes = memory;
    return KITH_OK;
}

/* ---- The sample -------------------------------------------------------------------------------------------------- */

/* Rows as floats; cosine: of unit length. */
static void sample_rows(const struct build *b, const kith_rows *rows, size_t first, size_t count, float *to) {
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

static kith_status read_sample(struct build *b, float *sample, size_t wanted, size_t *count) {
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

static int all_whole(const float *sample, size_t values) {
    return ki_int8_is_whole(sample, values, 0, 255) || ki_int8_is_whole(sample, values, -128, 127);
}

static kith_status make_recipe(struct build *b, int may_be_whole) {
    const uint64_t start = ki_now_ns();
    const size_t dim = b->source.dim;
    const kith_metric metric = b->recipe.metric;
    const kith_dtype dtype = b->recipe.dtype;
    if (dtype == KITH_B1) {
        b->recipe = (ki_recipe){.metric = metric, .dtype = dtype, .dim = dim, .row_bytes = kith_row_bytes(dtype, dim)};
        return KITH_OK;
    }
    const uint64_t fit = b->options.memory_bytes / 4 / (dim * sizeof(float));
    const size_t wanted = (size_t)ki_min_u64(ki_min_u64(SAMPLE_ROWS, fit ? fit : 1), b->source.rows);
    float *sample = ki_alloc_array((uint64_t)wanted * dim, sizeof(float));
    if (!sample) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for a sample of %zu rows", wanted);
    size_t count = 0;
    b->next_row = 0;
    kith_status status = kith_reader_seek(b->reader, 0, b->error);
    if (status == KITH_OK) status = read_sample(b, sample, wanted, &count);
    if (status == KITH_OK && count == 0)
        status = ki_fail(b->error, KITH_E_FORMAT, "%s: ended before its first row", path_of(b));
    if (status == KITH_OK) {
        const int whole = may_be_whole && metric != KITH_COSINE && dtype != KITH_BF16 && all_whole(sample, count * dim);
        status = ki_recipe_make(sample, count, b->source.rows, metric, dtype, dim, whole, b->options.first_level,
                                b->options.seed, &b->recipe);
        if (status != KITH_OK) ki_fail(b->error, status, "out of memory while learning from the sample");
    }
    free(sample);
    b->report.train_ns += ki_now_ns() - start;
    return status;
}

/* ---- Sections ---------------------------------------------------------------------------------------------------- */

static kith_status create_segment(struct build *b, const char *path) {
    const ki_recipe *r = &b->recipe;
    const uint64_t rows = b->source.rows, blocks = (rows + KI_BLOCK - 1) / KI_BLOCK;
    ki_section_plan plan[16];
    size_t n = 0;
    plan[n++] = (ki_section_plan){KI_SECTION_LISTS, 16, 1};
    if (r->dtype != KITH_B1) {
        plan[n++] = (ki_section_plan){KI_SECTION_CENTROIDS, r->dim * sizeof(float), 1};
        if (r->level1_columns) {
            plan[n++] = (ki_section_plan){KI_SECTION_LEVEL1_BASIS, r->dim * (r->level1_columns + 1) * sizeof(float),
                                          r->level1_columns};
            plan[n++] = (ki_section_plan){KI_SECTION_LEVEL1_CODES, blocks * ki_recipe_block_bytes(r, 1), rows};
            plan[n++] = (ki_section_plan){KI_SECTION_LEVEL1_FACTORS, blocks * KI_FACTORS * sizeof(float), rows};
        }
        plan[n++] = (ki_section_plan){KI_SECTION_CODES, blocks * ki_recipe_block_bytes(r, 0), rows};
        plan[n++] = (ki_section_plan){KI_SECTION_FACTORS, blocks * KI_FACTORS * sizeof(float), rows};
    }
    if (r->metric == KITH_COSINE) plan[n++] = (ki_section_plan){KI_SECTION_INVERSE_NORMS, rows * sizeof(float), rows};
    plan[n++] = (ki_section_plan){KI_SECTION_IDS, rows * sizeof(uint64_t), rows};
    plan[n++] = (ki_section_plan){KI_SECTION_ID_ORDER, rows * sizeof(uint32_t), rows};
    if (b->options.originals == KITH_ORIGINALS_KEEP)
        plan[n++] = (ki_section_plan){KI_SECTION_ORIGINALS, rows * r->row_bytes, rows};
    return ki_segment_create(path, plan, n, &b->writer, b->error);
}

static kith_status put_recipe(struct build *b) {
    const ki_recipe *r = &b->recipe;
    const uint64_t list[2] = {0, b->source.rows};
    kith_status status = ki_segment_put(b->writer, KI_SECTION_LISTS, 0, list, sizeof(list), b->error);
    if (status != KITH_OK || r->dtype == KITH_B1) return status;
    const uint64_t row = r->dim * sizeof(float);
    status = ki_segment_put(b->writer, KI_SECTION_CENTROIDS, 0, r->centre, row, b->error);
    if (status != KITH_OK || !r->level1_columns) return status;
    status = ki_segment_put(b->writer, KI_SECTION_LEVEL1_BASIS, 0, r->level1_centre, row, b->error);
    if (status != KITH_OK) return status;
    return ki_segment_put(b->writer, KI_SECTION_LEVEL1_BASIS, row, r->basis, row * r->level1_columns, b->error);
}

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

/* Workers that hold earlier rows finish them, so the failure with the lowest row is kept, whoever comes first. */
static void fail_build(struct build *b, kith_status status, uint64_t row, ki_row_fault fault,
                       const kith_error *failure) {
    pthread_mutex_lock(&b->failing);
    if (b->status == KITH_OK || row < b->failed_row) {
        b->failed_row = row;
        b->status = status;
        b->fault = fault;
        b->failure = *failure;
    }
    pthread_mutex_unlock(&b->failing);
    atomic_store(&b->stop, 1);
}

/* Bring source rows into the stored type; the offending row is *bad. */
static kith_status store_rows(struct build *b, const kith_rows *got, uint8_t *to, float *floats, kith_error *error) {
    const size_t dim = b->source.dim, from_bytes = kith_row_bytes(b->source.dtype, dim);
    const ki_distance_kernels *kernels = ki_distance();
    if (b->recipe.dtype == b->source.dtype) {
        memcpy(to, got->data, got->count * from_bytes);
        return KITH_OK;
    }
    for (size_t i = 0; i < got->count; i++) {
        const uint8_t *row = (const uint8_t *)got->data + i * from_bytes;
        uint8_t *out = to + i * b->recipe.row_bytes;
        double norm2;
        if (b->recipe.dtype == KITH_F32) {
            kernels->to_f32[b->source.dtype](row, dim, (float *)(void *)out);
            continue;
        }
        kernels->to_f32[b->source.dtype](row, dim, floats);
        kernels->from_f32[b->recipe.dtype](floats, dim, out);
        if (ki_row_check(b->recipe.metric, b->recipe.dtype, out, dim, &norm2) == KI_ROW_NOT_FINITE &&
            ki_row_check(b->recipe.metric, KITH_F32, floats, dim, &norm2) != KI_ROW_NOT_FINITE)
            return ki_fail(error, KITH_E_DATA, "%s: row %llu has a value that is too large for %s", path_of(b),
                           (unsigned long long)(got->first + i), kith_dtype_name(b->recipe.dtype));
    }
    return KITH_OK;
}

static kith_status take_run(struct build *b, ki_run *run, uint64_t *first, float *floats, kith_error *error) {
    const uint64_t start = ki_now_ns();
    kith_status status = KITH_OK;
    pthread_mutex_lock(&b->reading);
    *first = b->next_row;
    run->count = 0;
    const size_t wanted = (size_t)ki_min_u64(b->run_rows, b->source.rows - b->next_row);
    while (run->count < wanted && status == KITH_OK && !atomic_load(&b->stop)) {
        kith_rows got;
        status = kith_reader_next(b->reader, wanted - run->count, &got, error);
        if (status == KITH_OK && got.count == 0)
            status = ki_fail(error, KITH_E_FORMAT, "%s: ended after row %llu of %llu", path_of(b),
                             (unsigned long long)(*first + run->count), (unsigned long long)b->source.rows);
        if (status == KITH_OK) status = ki_id_table_add(&b->labels, &got, path_of(b), error);
        if (status == KITH_OK)
            status = store_rows(b, &got, run->rows + run->count * b->recipe.row_bytes, floats, error);
        run->count += status == KITH_OK ? got.count : 0;
    }
    b->next_row += run->count;
    pthread_mutex_unlock(&b->reading);
    atomic_fetch_add(&b->read_ns, ki_now_ns() - start);
    return status;
}

static kith_status put_run(struct build *b, ki_run *run, uint64_t first, kith_error *error) {
    const ki_recipe *r = &b->recipe;
    const uint64_t start = ki_now_ns(), block = first / KI_BLOCK;
    const uint64_t blocks = (run->count + KI_BLOCK - 1) / KI_BLOCK, factor_bytes = KI_FACTORS * sizeof(float);
    kith_status status = KITH_OK;
    const uint32_t code_kind[2] = {KI_SECTION_CODES, KI_SECTION_LEVEL1_CODES};
    const uint32_t factor_kind[2] = {KI_SECTION_FACTORS, KI_SECTION_LEVEL1_FACTORS};
    const int levels = r->dtype == KITH_B1 ? 0 : r->level1_columns ? 2 : 1;
    for (int l = 0; l < levels && status == KITH_OK; l++) {
        const uint64_t bytes = ki_recipe_block_bytes(r, l);
        status = ki_segment_put(b->writer, code_kind[l], block * bytes, run->codes[l], blocks * bytes, error);
        if (status == KITH_OK)
            status = ki_segment_put(b->writer, factor_kind[l], block * factor_bytes, run->factors[l],
                                    blocks * factor_bytes, error);
    }
    if (status == KITH_OK && r->metric == KITH_COSINE)
        status = ki_segment_put(b->writer, KI_SECTION_INVERSE_NORMS, first * sizeof(float), run->inverse_norms,
                                run->count * sizeof(float), error);
    if (status == KITH_OK && b->options.originals == KITH_ORIGINALS_KEEP)
        status = ki_segment_put(b->writer, KI_SECTION_ORIGINALS, first * r->row_bytes, run->originals,
                                run->count * r->row_bytes, error);
    ki_id_table_place(&b->labels, first, run->order, run->count);
    atomic_fetch_add(&b->write_ns, ki_now_ns() - start);
    return status;
}

static kith_status explain_fault(const struct build *b, ki_row_fault fault, uint64_t row, kith_error *error) {
    const unsigned long long number = (unsigned long long)row;
    switch (fault) {
    case KI_ROW_NOT_FINITE:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu holds a NaN or an infinity", path_of(b), number);
    case KI_ROW_TOO_LONG:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu is longer than 2^62, the largest norm", path_of(b), number);
    case KI_ROW_ZERO:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu is a zero vector (norm below 2^-40), which has no cosine",
                       path_of(b), number);
    case KI_ROW_NOT_WHOLE:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu is not whole", path_of(b), number);
    default:
        return ki_fail(error, KITH_E_NOMEM, "out of memory while coding row %llu", number);
    }
}

/* After a failure *row is where it happened. */
static kith_status work_run(struct build *b, ki_run *run, float *floats, uint64_t *row, ki_row_fault *fault,
                            kith_error *error) {
    uint64_t first;
    size_t bad = 0;
    kith_status status = take_run(b, run, &first, floats, error);
    *row = first + run->count;
    if (status != KITH_OK || run->count == 0) return status;
    const uint64_t start = ki_now_ns();
    *fault = ki_run_code(&b->recipe, run, &bad);
    atomic_fetch_add(&b->code_ns, ki_now_ns() - start);
    *row = first + bad;
    if (*fault != KI_ROW_FINE) return explain_fault(b, *fault, *row, error);
    status = put_run(b, run, first, error);
    atomic_fetch_add(&b->rows_done, run->count);
    return status;
}

static void tell(struct build *b, const char *stage, uint64_t done, uint64_t total) {
    const kith_progress progress = {sizeof(progress), stage, "vectors", done, total};
    kith_error error = {0};
    if (b->options.progress && b->options.progress(b->options.progress_context, &progress) && !atomic_load(&b->stop))
        fail_build(b, ki_fail(&error, KITH_E_CANCELLED, "the build was cancelled"), done, KI_ROW_FINE, &error);
}

static void worker(void *context, size_t piece, unsigned number) {
    struct build *b = context;
    ki_run run = {0};
    kith_error error = {0};
    kith_status status = KITH_OK;
    ki_row_fault fault = KI_ROW_FINE;
    uint64_t row = 0;
    (void)piece;
    float *floats = ki_alloc_array(b->source.dim, sizeof(float));
    if (!floats || !ki_run_create(&b->recipe, b->run_rows, &run))
        status = ki_fail(&error, KITH_E_NOMEM, "out of memory for runs of %zu rows", b->run_rows);
    while (status == KITH_OK && !atomic_load(&b->stop)) {
        status = work_run(b, &run, floats, &row, &fault, &error);
        if (run.count == 0) break;
        if (number == 0) tell(b, "building", atomic_load(&b->rows_done), b->source.rows);
    }
    if (status != KITH_OK) fail_build(b, status, row, fault, &error);
    pthread_mutex_lock(&b->failing);
    for (int l = 0; l < 2; l++) b->error_sum[l] += run.error_sum[l];
    pthread_mutex_unlock(&b->failing);
    ki_run_free(&run);
    free(floats);
}

static kith_status run_workers(struct build *b) {
    const uint64_t each = ki_run_bytes_per_row(&b->recipe), memory = b->options.memory_bytes / 2;
    b->workers = ki_pool_threads(b->pool);
    while (b->workers > 1 && memory / b->workers / each < RUN_ROWS_LEAST) b->workers--;
    const uint64_t fit = memory / b->workers / each / KI_BLOCK * KI_BLOCK;
    b->run_rows = (size_t)ki_min_u64(fit < RUN_ROWS_LEAST ? RUN_ROWS_LEAST : fit, RUN_ROWS);
    b->next_row = 0;
    b->status = KITH_OK;
    b->fault = KI_ROW_FINE;
    b->error_sum[0] = b->error_sum[1] = 0;
    atomic_store(&b->stop, 0);
    atomic_store(&b->rows_done, 0);
    kith_status status = kith_reader_seek(b->reader, 0, b->error);
    if (status != KITH_OK) return status;
    ki_pool_run(b->pool, b->workers, worker, b);
    if (b->status != KITH_OK && b->error) *b->error = b->failure;
    return b->status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status finish(struct build *b) {
    const ki_recipe *r = &b->recipe;
    char meta[512];
    const int bytes = snprintf(
        meta, sizeof(meta), "{\"writer\":\"kith %s\",\"dtype\":\"%s\",\"metric\":\"%s\",\"seed\":%llu}", kith_version(),
        kith_dtype_name(r->dtype), kith_metric_name(r->metric), (unsigned long long)b->options.seed);
    kith_status status = ki_id_table_write(&b->labels, b->writer, path_of(b), b->error);
    if (status == KITH_OK)
        status = ki_segment_append(b->writer, KI_SECTION_META, meta, (uint64_t)bytes, (uint64_t)bytes, b->error);
    if (status != KITH_OK) return status;
    const double rows = (double)b->source.rows;
    ki_segment_head head = {.rows = b->source.rows,
                            .dim = (uint32_t)r->dim,
                            .dtype = (uint32_t)r->dtype,
                            .metric = (uint32_t)r->metric,
                            .id_kind = (uint32_t)b->source.id_kind,
                            .lists = 1,
                            .level1_dim = (uint32_t)r->level1_columns,
                            .code_error = b->error_sum[0] / rows,
                            .level1_error = b->error_sum[1] / rows};
    if (b->options.originals == KITH_ORIGINALS_KEEP) head.flags |= KI_SEGMENT_ORIGINALS;
    if (b->source.has_names) head.flags |= KI_SEGMENT_NAMES;
    if (r->whole) head.flags |= KI_SEGMENT_INTEGER_CODES;
    head.parameter[0] = r->omega;
    const uint64_t start = ki_now_ns();
    ki_segment_writer *writer = b->writer;
    b->writer = NULL; /* finish frees it in any case */
    status = ki_segment_finish(writer, &head, b->pool, b->options.progress, b->options.progress_context,
                               &b->report.file_bytes, b->error);
    b->report.verify_ns = ki_now_ns() - start;
    return status;
}

static kith_status attempt(struct build *b, const char *path, int may_be_whole) {
    kith_status status = make_recipe(b, may_be_whole);
    if (status == KITH_OK) status = ki_id_table_start(&b->labels, &b->source, b->error);
    if (status == KITH_OK) status = create_segment(b, path);
    if (status == KITH_OK) status = put_recipe(b);
    if (status == KITH_OK) status = run_workers(b);
    if (status == KITH_OK) status = finish(b);
    ki_segment_abandon(b->writer);
    b->writer = NULL;
    ki_id_table_free(&b->labels);
    return status;
}

kith_status kith_build(kith_reader *reader, const char *path, const kith_build_options *options,
                       kith_build_report *report, kith_error *error) {
    if (!reader || !path || !*path) return ki_fail(error, KITH_E_ARG, "kith_build: reader or path is missing");
    if (options && options->struct_size != sizeof(*options))
        return ki_fail(error, KITH_E_ARG, "kith_build: options were not made by KITH_BUILD_OPTIONS_INIT");
    struct build b = {.reader = reader, .error = error, .source = KITH_READER_INFO_INIT};
    const uint64_t start = ki_now_ns();
    kith_pool *own = NULL;
    b.options = options ? *options : (kith_build_options)KITH_BUILD_OPTIONS_INIT;
    kith_reader_get_info(reader, &b.source);
    kith_status status = check_types(&b);
    if (status == KITH_OK) status = check_sizes(&b);
    if (status == KITH_OK && !b.options.pool) status = kith_pool_create(b.options.threads, &own, error);
    if (status != KITH_OK) return status;
    b.pool = b.options.pool ? b.options.pool : own;
    pthread_mutex_init(&b.reading, NULL);
    pthread_mutex_init(&b.failing, NULL);
    status = attempt(&b, path, 1);
    if (b.fault == KI_ROW_NOT_WHOLE) { /* E1 */
        const kith_metric metric = b.recipe.metric;
        const kith_dtype dtype = b.recipe.dtype;
        ki_recipe_free(&b.recipe);
        b.recipe.metric = metric;
        b.recipe.dtype = dtype;
        status = attempt(&b, path, 0);
    }
    if (status == KITH_OK && report) {
        b.report.struct_size = sizeof(b.report);
        b.report.rows = b.source.rows;
        b.report.dim = b.source.dim;
        b.report.input_bytes = b.source.file_bytes;
        b.report.first_level_dim = b.recipe.level1_columns;
        b.report.integer_codes = b.recipe.whole;
        b.report.read_ns = atomic_load(&b.read_ns);
        b.report.code_ns = atomic_load(&b.code_ns);
        b.report.write_ns = atomic_load(&b.write_ns);
        b.report.total_ns = ki_now_ns() - start;
        *report = b.report;
    }
    ki_recipe_free(&b.recipe);
    pthread_mutex_destroy(&b.reading);
    pthread_mutex_destroy(&b.failing);
    kith_pool_destroy(own);
    return status;
}
