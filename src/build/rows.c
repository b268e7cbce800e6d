/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows on their way through workers: taken from the reader under a lock (reading is serial: it is a copy), coded, and
 * written to their place in the planned sections. Without lists that is all: rows, and so places, are known
 * beforehand. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "build/build.h"
#include "kernel/distance.h"

#include <string.h>

const char *ki_build_path(const ki_build *b) {
    return kith_reader_path(b->reader);
}

/* ---- Failures and progress --------------------------------------------------------------------------------------- */

void ki_build_fail(ki_build *b, kith_status status, uint64_t row, ki_row_fault fault, const kith_error *failure) {
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

kith_status ki_build_explain(const ki_build *b, ki_row_fault fault, uint64_t row, kith_error *error) {
    const unsigned long long number = (unsigned long long)row;
    switch (fault) {
    case KI_ROW_NOT_FINITE:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu holds a NaN or an infinity", ki_build_path(b), number);
    case KI_ROW_TOO_LONG:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu is longer than 2^62, the largest norm", ki_build_path(b),
                       number);
    case KI_ROW_ZERO:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu is a zero vector (norm below 2^-40), which has no cosine",
                       ki_build_path(b), number);
    case KI_ROW_NOT_WHOLE:
    case KI_ROW_OUTSIDE:
        return ki_fail(error, KITH_E_DATA, "%s: row %llu is not of the whole numbers that were expected",
                       ki_build_path(b), number);
    default:
        return ki_fail(error, KITH_E_NOMEM, "out of memory while coding row %llu", number);
    }
}

void ki_build_tell(ki_build *b, const char *stage, uint64_t done, uint64_t total) {
    const kith_progress progress = {sizeof(progress), stage, "vectors", done, total};
    kith_error error = {0};
    if (b->options.progress && b->options.progress(b->options.progress_context, &progress) && !atomic_load(&b->stop))
        ki_build_fail(b, ki_fail(&error, KITH_E_CANCELLED, "the build was cancelled"), done, KI_ROW_FINE, &error);
}

/* ---- Rows in and out --------------------------------------------------------------------------------------------- */

/* Bring source rows into the stored type; the offending row is *bad. */
static kith_status store_rows(ki_build *b, const kith_rows *got, uint8_t *to, float *floats, kith_error *error) {
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
            return ki_fail(error, KITH_E_DATA, "%s: row %llu has a value that is too large for %s", ki_build_path(b),
                           (unsigned long long)(got->first + i), kith_dtype_name(b->recipe.dtype));
    }
    return KITH_OK;
}

kith_status ki_build_take(ki_build *b, uint8_t *to, size_t wanted, int label, float *floats, uint64_t *first,
                          size_t *count, kith_error *error) {
    const uint64_t start = ki_now_ns();
    kith_status status = KITH_OK;
    pthread_mutex_lock(&b->reading);
    *first = b->next_row;
    *count = 0;
    wanted = (size_t)ki_min_u64(wanted, b->source.rows - b->next_row);
    if (b->lists.kept) to = b->lists.kept + b->next_row * b->recipe.row_bytes;
    while (*count < wanted && status == KITH_OK && !atomic_load(&b->stop)) {
        kith_rows got;
        status = kith_reader_next(b->reader, wanted - *count, &got, error);
        if (status == KITH_OK && got.count == 0)
            status = ki_fail(error, KITH_E_FORMAT, "%s: ended after row %llu of %llu", ki_build_path(b),
                             (unsigned long long)(*first + *count), (unsigned long long)b->source.rows);
        if (status == KITH_OK && label) status = ki_id_table_add(&b->labels, &got, ki_build_path(b), error);
        if (status == KITH_OK && to) status = store_rows(b, &got, to + *count * b->recipe.row_bytes, floats, error);
        *count += status == KITH_OK ? got.count : 0;
    }
    b->next_row += *count;
    pthread_mutex_unlock(&b->reading);
    atomic_fetch_add(&b->read_ns, ki_now_ns() - start);
    return status;
}

kith_status ki_build_put_run(ki_build *b, const ki_run *run, uint64_t block, uint64_t position, kith_error *error) {
    const ki_recipe *r = &b->recipe;
    const uint64_t start = ki_now_ns(), factor_bytes = KI_FACTORS * sizeof(float);
    const int kept = b->options.originals == KITH_ORIGINALS_KEEP;
    const struct {
        uint32_t kind;
        const void *data;
        uint64_t at, count, bytes;
    } parts[] = {
        {KI_PART_CODES, run->codes[0], block, run->blocks, ki_recipe_block_bytes(r, 0)},
        {KI_PART_FACTORS, run->factors[0], block, run->blocks, r->dtype == KITH_B1 ? 0 : factor_bytes},
        {KI_PART_LEVEL1_CODES, run->codes[1], block, run->blocks, ki_recipe_block_bytes(r, 1)},
        {KI_PART_LEVEL1_FACTORS, run->factors[1], block, run->blocks, r->level1_columns ? factor_bytes : 0},
        {KI_PART_SECOND_CODES, run->second_codes, block, run->blocks, r->second ? r->second->block_bytes : 0},
        {KI_PART_SECOND_FACTORS, run->second_factors, block, run->blocks, r->second ? factor_bytes : 0},
        {KI_PART_NORMS2, run->norms2, position, run->count, kept && r->metric == KITH_COSINE ? sizeof(float) : 0},
        {KI_PART_ORIGINALS, run->originals, position, run->count, kept ? r->row_bytes : 0},
    };
    kith_status status = KITH_OK;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && status == KITH_OK; i++)
        if (parts[i].bytes)
            status = ki_segment_put(b->writer, parts[i].kind, parts[i].at * parts[i].bytes, parts[i].data,
                                    parts[i].count * parts[i].bytes, error);
    atomic_fetch_add(&b->write_ns, ki_now_ns() - start);
    return status;
}

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

void ki_build_plan_runs(ki_build *b, uint64_t each) {
    const uint64_t memory = b->options.memory_bytes / 2;
    b->workers = ki_pool_threads(b->pool);
    while (b->workers > 1 && memory / b->workers / each < KI_BUILD_RUN_LEAST) b->workers--;
    const uint64_t fit = memory / b->workers / each / KI_BLOCK * KI_BLOCK;
    b->run_rows = (size_t)ki_min_u64(fit < KI_BUILD_RUN_LEAST ? KI_BUILD_RUN_LEAST : fit, KI_BUILD_RUN_ROWS);
}

kith_status ki_build_run_workers(ki_build *b, ki_pool_fn worker, int rewind) {
    b->next_row = 0;
    b->status = KITH_OK;
    b->fault = KI_ROW_FINE;
    atomic_store(&b->stop, 0);
    atomic_store(&b->rows_done, 0);
    const kith_status status = rewind ? kith_reader_seek(b->reader, 0, b->error) : KITH_OK;
    if (status != KITH_OK) return status;
    ki_pool_run(b->pool, b->workers, worker, b);
    if (b->status != KITH_OK && b->error) *b->error = b->failure;
    return b->status;
}

void ki_build_add_errors(ki_build *b, const ki_run *run) {
    pthread_mutex_lock(&b->failing);
    for (int l = 0; l < 3; l++) b->error_sum[l] += run->error_sum[l];
    pthread_mutex_unlock(&b->failing);
}

/* ---- One list ---------------------------------------------------------------------------------------------------- */

/* After a failure *row is where it happened. */
static kith_status work_run(ki_build *b, ki_run *run, float *floats, uint64_t *row, ki_row_fault *fault,
                            kith_error *error) {
    uint64_t first;
    size_t bad = 0;
    kith_status status = ki_build_take(b, run->rows, b->run_rows, 1, floats, &first, &run->count, error);
    *row = first + run->count;
    if (status != KITH_OK || run->count == 0) return status;
    const uint64_t start = ki_now_ns();
    run->piece_count = 1;
    run->pieces[0] = (ki_run_piece){.count = (uint32_t)run->count};
    *fault = ki_run_code(&b->recipe, run, &bad);
    atomic_fetch_add(&b->code_ns, ki_now_ns() - start);
    *row = first + bad;
    if (*fault != KI_ROW_FINE) return ki_build_explain(b, *fault, *row, error);
    status = ki_build_put_run(b, run, first / KI_BLOCK, first, error);
    ki_id_table_place(&b->labels, first, run->order, run->count);
    atomic_fetch_add(&b->rows_done, run->count);
    return status;
}

static void work(void *context, size_t piece, unsigned number) {
    ki_build *b = context;
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
        if (number == 0) ki_build_tell(b, "building", atomic_load(&b->rows_done), b->source.rows);
    }
    if (status != KITH_OK) ki_build_fail(b, status, row, fault, &error);
    ki_build_add_errors(b, &run);
    ki_run_free(&run);
    free(floats);
}

kith_status ki_build_one_list(ki_build *b) {
    ki_build_plan_runs(b, ki_run_bytes_per_row(&b->recipe));
    return ki_build_run_workers(b, work, 1);
}
