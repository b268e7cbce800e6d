/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_tune: queries and their exact answers, what queries look like, and where the result is kept. */
#include "quant/row_check.h"
#include "search/scratch.h"
#include "tune/tune.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/rng.h"
#include "base/status.h"
#include "ivf/ivf.h"
#include "kernel/distance.h"

#include <string.h>

enum { CHUNK = 64, STATISTIC_PIECE = 48 };

kith_status ki_tune_tell(const ki_tuning *t, const char *stage, const char *unit, uint64_t done, uint64_t total,
                         kith_error *error) {
    const kith_progress progress = {sizeof(progress), stage, unit, done, total};
    if (!t->progress || !t->progress(t->progress_context, &progress)) return KITH_OK;
    return ki_fail(error, KITH_E_CANCELLED, "tuning was cancelled");
}

kith_status ki_tune_search(const ki_tuning *t, kith_scratch *scratch, size_t first, size_t count, size_t k,
                           const kith_search_options *options, kith_error *error) {
    const size_t dim = t->index->view.dim, room = t->k[t->ks - 1] + 1;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = t->queries + first * dim;
    queries.dtype = KITH_F32;
    queries.count = count;
    queries.dim = dim;
    return kith_search(t->index, &queries, k, options, scratch, t->ids + first * room, t->distances + first * room,
                       error);
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

/* Row `number` of `count` that lie evenly among `rows`, each somewhere in its stretch. */
static uint64_t pick(ki_rng *rng, uint64_t number, uint64_t count, uint64_t rows) {
    const uint64_t first = (uint64_t)((unsigned __int128)rows * number / count);
    const uint64_t end = (uint64_t)((unsigned __int128)rows * (number + 1) / count);
    return first + ki_rng_below(rng, end - first);
}

/* Random order, so that any first part is a sample too. */
static void shuffle(ki_tuning *t, ki_rng *rng) {
    const size_t dim = t->index->view.dim;
    for (size_t i = t->count; i > 1; i--) {
        const size_t j = (size_t)ki_rng_below(rng, i);
        float *a = t->queries + (i - 1) * dim, *b = t->queries + j * dim;
        for (size_t d = 0; d < dim && a != b; d++) {
            const float kept = a[d];
            a[d] = b[d];
            b[d] = kept;
        }
        if (!t->self) continue;
        const uint64_t kept = t->self[i - 1];
        t->self[i - 1] = t->self[j];
        t->self[j] = kept;
    }
}

static void take_stored(ki_tuning *t) {
    const ki_view *view = &t->index->view;
    ki_rng rng = {t->seed};
    for (size_t i = 0; i < t->count; i++) {
        const uint64_t position = pick(&rng, i, t->count, view->rows);
        ki_distance()->to_f32[view->dtype](view->originals + position * view->row_bytes, view->dim,
                                           t->queries + i * view->dim);
        t->self[i] = view->labels[position];
    }
    shuffle(t, &rng);
}

static kith_status take_row(ki_tuning *t, const char *path, kith_dtype dtype, const void *row, uint64_t number,
                            size_t query, kith_error *error) {
    const ki_view *view = &t->index->view;
    double norm2;
    float *to = t->queries + query * view->dim;
    ki_distance()->to_f32[dtype](row, view->dim, to);
    if (ki_row_check(view->metric, KITH_F32, to, view->dim, &norm2) == KI_ROW_FINE) return KITH_OK;
    return ki_fail(error, KITH_E_DATA, "%s: row %llu is no query: it holds a NaN or an infinity, or its length is %s",
                   path, (unsigned long long)number, view->metric == KITH_COSINE ? "0 or beyond 2^62" : "beyond 2^62");
}

static kith_status take_held_out(ki_tuning *t, kith_reader *reader, const kith_reader_info *info, kith_error *error) {
    const char *path = kith_reader_path(reader);
    const size_t row_bytes = kith_row_bytes(info->dtype, info->dim);
    ki_rng rng = {t->seed};
    size_t taken = 0;
    uint64_t wanted = pick(&rng, 0, t->count, info->rows);
    kith_status status = kith_reader_seek(reader, 0, error);
    while (status == KITH_OK && taken < t->count) {
        kith_rows rows;
        status = kith_reader_next(reader, 4096, &rows, error);
        if (status != KITH_OK) break;
        if (rows.count == 0)
            return ki_fail(error, KITH_E_FORMAT, "%s: ends before row %llu", path, (unsigned long long)wanted);
        while (status == KITH_OK && taken < t->count && wanted < rows.first + rows.count) {
            const char *row = (const char *)rows.data + (size_t)(wanted - rows.first) * row_bytes;
            status = take_row(t, path, info->dtype, row, wanted, taken, error);
            if (++taken < t->count) wanted = pick(&rng, taken, t->count, info->rows);
        }
    }
    if (status == KITH_OK) shuffle(t, &rng);
    return status;
}

static kith_status check_reader(const ki_tuning *t, const kith_reader *reader, const kith_reader_info *info,
                                kith_error *error) {
    const ki_view *view = &t->index->view;
    const char *path = kith_reader_path(reader);
    if (info->dim != view->dim)
        return ki_fail(error, KITH_E_ARG, "%s: queries have %zu dimensions, the index has %zu", path, info->dim,
                       view->dim);
    if (info->dtype == KITH_B1) return ki_fail(error, KITH_E_ARG, "%s: holds bits, the index numbers", path);
    if (info->rows < KI_TUNE_QUERIES_LEAST)
        return ki_fail(error, KITH_E_DATA, "%s: has %llu queries, at least %d are needed to measure recall", path,
                       (unsigned long long)info->rows, KI_TUNE_QUERIES_LEAST);
    return KITH_OK;
}

/* Memory for at most `wanted` queries; the number of neighbours and the batch sizes. */
static kith_status plan_queries(ki_tuning *t, uint64_t available, size_t wanted, int held_out, kith_error *error) {
    enum { QUERY_BYTES = 256 << 20 };
    static const size_t ks[KI_TUNE_KS] = {1, 10, 100}, batches[KI_TUNE_BATCHES - 1] = {1, 16, 256};
    const ki_view *view = &t->index->view;
    t->count = (size_t)ki_min_u64(wanted ? wanted : KI_TUNE_QUERIES, available);
    t->count = ki_min_size(t->count, QUERY_BYTES / (view->dim * sizeof(float)));
    for (int i = 0; i < KI_TUNE_KS; i++)
        if (i == 0 || ks[i] <= view->rows / 10) t->k[t->ks++] = ks[i];
    for (int i = 0; i < KI_TUNE_BATCHES - 1; i++)
        if (i == 0 || batches[i] < t->count) t->batch[t->batches++] = batches[i];
    if (t->count > t->batch[t->batches - 1]) t->batch[t->batches++] = t->count;
    const size_t most = t->k[t->ks - 1];
    t->queries = ki_alloc_array(t->count, view->dim * sizeof(float));
    t->self = held_out ? NULL : ki_alloc_array(t->count, sizeof(*t->self));
    t->truth = ki_alloc_array(t->count, most * sizeof(float));
    t->rank = ki_alloc_array(t->count, most * sizeof(uint32_t));
    if (view->spill.level.blocks) {
        t->spilled_rank = ki_alloc_array(t->count, most * sizeof(uint32_t));
        t->second_of = ki_alloc_array(view->rows, sizeof(uint32_t));
        if (!t->spilled_rank || !t->second_of)
            return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", t->count);
        ki_tune_second_lists(view, t->second_of);
    }
    t->ids = ki_alloc_array(t->count, (most + 1) * sizeof(uint64_t));
    t->distances = ki_alloc_array(t->count, (most + 1) * sizeof(float));
    if (t->queries && (held_out || t->self) && t->truth && t->rank && t->ids && t->distances) return KITH_OK;
    return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", t->count);
}

static kith_status take_queries(ki_tuning *t, kith_reader *reader, size_t wanted, kith_error *error) {
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_status status = KITH_OK;
    uint64_t available = t->index->view.rows;
    if (reader) {
        kith_reader_get_info(reader, &info);
        status = check_reader(t, reader, &info, error);
        available = info.rows;
    }
    if (status == KITH_OK) status = plan_queries(t, available, wanted, reader != NULL, error);
    if (status != KITH_OK) return status;
    t->out.held_out = reader != NULL;
    if (reader) return take_held_out(t, reader, &info, error);
    take_stored(t);
    return KITH_OK;
}

/* ---- Exact answers ----------------------------------------------------------------------------------------------- */

/* Results first..first+count less the query itself. Ids stay in t->ids, closed up. */
static kith_status keep_truth(ki_tuning *t, size_t first, size_t count, kith_error *error) {
    const size_t most = t->k[t->ks - 1], found = most + (t->self != NULL);
    uint64_t *right = t->ids + first * (most + 1);
    for (size_t i = 0; i < count; i++) {
        const uint64_t *ids = t->ids + first * (most + 1) + i * found;
        const float *distances = t->distances + first * (most + 1) + i * found;
        float *truth = t->truth + (first + i) * most;
        size_t kept = 0;
        for (size_t j = 0; j < found && kept < most; j++) {
            if (t->self && ids[j] == t->self[first + i]) continue;
            right[i * most + kept] = ids[j];
            truth[kept++] = distances[j];
        }
    }
    return ki_tune_rank(t, first, count, right, error);
}

/* Of as many queries as two fifths of the budget allow. */
static kith_status find_truth(ki_tuning *t, kith_error *error) {
    const size_t found = t->k[t->ks - 1] + (t->self != NULL), all = t->count;
    const double budget_ns = (double)t->budget_ns * 0.4 * t->threads;
    const uint64_t start = ki_process_ns();
    size_t done = 0;
    while (done < all && (done < KI_TUNE_QUERIES_LEAST || (double)(ki_process_ns() - start) < budget_ns)) {
        const size_t step = ki_min_size(CHUNK, all - done);
        kith_status status = ki_tune_search(t, t->wide, done, step, found, NULL, error);
        if (status == KITH_OK) status = keep_truth(t, done, step, error);
        if (status != KITH_OK) return status;
        done += step;
        status = ki_tune_tell(t, "exact answers", "queries", done, all, error);
        if (status != KITH_OK) return status;
    }
    t->count = done;
    while (t->batches > 1 && t->batch[t->batches - 1] > done) t->batches--;
    t->exact_ns = (double)(ki_process_ns() - start) / (double)done;
    return KITH_OK;
}

/* ---- What queries look like -------------------------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static kith_status choose_all(const ki_tuning *t, ki_ivf *ivf, float *statistic) {
    atomic_int stop;
    ki_counts counts = {0};
    const size_t dim = t->index->view.dim;
    atomic_init(&stop, 0);
    const ki_ivf_search search = {.view = &t->index->view, .k = 1, .nprobe = 1, .rerank = 1, .limits = {.stop = &stop}};
    const size_t most = ki_ivf_round(ivf, &search);
    kith_status status = KITH_OK;
    for (size_t first = 0; first < t->count && status == KITH_OK; first += most) {
        const size_t count = ki_min_size(most, t->count - first);
        status = ki_ivf_begin(ivf, &search, t->queries + first * dim, dim, count);
        if (status == KITH_OK) status = ki_ivf_choose(ivf, 0, 0, count, &counts);
        for (size_t i = 0; i < count && status == KITH_OK; i++) statistic[first + i] = ki_ivf_chosen_statistic(ivf, i);
    }
    return status;
}

/* One query of two hundred is less near to the lists than unusual_below. */
static kith_status describe(ki_tuning *t, kith_error *error) {
    enum { ONE_OF = 200 };
    float *statistic = ki_alloc_array(t->count, sizeof(*statistic));
    ki_ivf *ivf = ki_ivf_create(1);
    kith_status status = statistic && ivf ? choose_all(t, ivf, statistic) : KITH_E_NOMEM;
    if (status == KITH_OK) {
        qsort(statistic, t->count, sizeof(*statistic), compare_floats);
        t->out.unusual_below = statistic[t->count / ONE_OF];
        t->out.median = statistic[t->count / 2];
    }
    ki_ivf_destroy(ivf);
    free(statistic);
    if (status == KITH_OK) return status;
    return ki_fail(error, status, status == KITH_E_NOMEM ? "out of memory for tuning" : "%s: damaged centroids",
                   ki_segment_path(t->index->segment));
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static void free_tuning(ki_tuning *t) {
    kith_scratch_destroy(t->wide);
    kith_scratch_destroy(t->narrow);
    free(t->queries);
    free(t->self);
    free(t->truth);
    free(t->rank);
    free(t->spilled_rank);
    free(t->second_of);
    free(t->ids);
    free(t->distances);
    ki_calibration_free(&t->out);
}

/* Measure, and encode what was measured: *bytes is the caller's to free. */
static kith_status tune(ki_tuning *t, kith_reader *reader, const kith_tune_options *options, unsigned char **bytes,
                        kith_error *error) {
    t->seed = t->out.seed = options->seed;
    t->pool = options->pool;
    t->threads = (double)ki_pool_threads(options->pool);
    t->progress = options->progress;
    t->progress_context = options->progress_context;
    kith_status status = kith_scratch_create(t->index, options->pool, &t->wide, error);
    if (status == KITH_OK) status = kith_scratch_create(t->index, NULL, &t->narrow, error);
    if (status == KITH_OK && t->memory_bytes) /* queries and answers take some, and each scratch its rounds */
        t->wide->round_bytes = t->narrow->round_bytes = (size_t)ki_min_u64(t->memory_bytes / 8, (uint64_t)32 << 20);
    if (status == KITH_OK) status = take_queries(t, reader, options->queries, error);
    if (status == KITH_OK) status = find_truth(t, error);
    if (status == KITH_OK) status = describe(t, error);
    if (status == KITH_OK) status = ki_tune_measure(t, error);
    if (status != KITH_OK) return status;
    t->out.queries = (uint32_t)t->count;
    *bytes = ki_alloc_array(ki_calibration_bytes(t->out.count), 1);
    if (!*bytes) return ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    ki_calibration_encode(&t->out, *bytes);
    return KITH_OK;
}

/* Two seconds for a hundred thousand rows; small indexes need less. */
static uint64_t budget_for(uint64_t rows, uint64_t most) {
    enum { LEAST_NS = 200000000, ROW_NS = 18000 };
    return LEAST_NS + ki_min_u64(rows * ROW_NS, most);
}

static kith_status check_index(const kith_index *index, kith_error *error) {
    const char *path = ki_segment_path(index->segment);
    if (index->view.lists.count == 1)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: has one list: every search is exact, there is nothing to tune",
                       path);
    if (!index->view.originals)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: was built without originals: recall cannot be measured", path);
    return KITH_OK;
}

kith_status kith_tune(const char *path, kith_reader *queries, const kith_tune_options *given, kith_error *error) {
    static const uint64_t budget_most = UINT64_C(20000000000);
    if (!path || !*path) return ki_fail(error, KITH_E_ARG, "kith_tune: path is missing");
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    kith_index *index = NULL;
    ki_tuning t = {0};
    unsigned char *bytes = NULL;
    size_t settings = 0;
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    kith_status status = ki_grown_read(KI_GROWN_TUNE_OPTIONS, given, &options, error);
    open.no_sigbus_handler = options.no_sigbus_handler;
    if (status == KITH_OK) status = kith_index_open(path, &open, &index, error);
    if (status != KITH_OK) return status;
    status = check_index(index, error);
    if (status == KITH_OK) {
        t.index = index;
        t.budget_ns = budget_for(index->view.rows, budget_most);
        status = tune(&t, queries, &options, &bytes, error);
        settings = t.out.count;
        free_tuning(&t);
    }
    if (status == KITH_OK)
        status = ki_segment_amend(index->segment, KI_PART_CALIBRATION, bytes, ki_calibration_bytes(settings), settings,
                                  options.pool, options.progress, options.progress_context, error);
    kith_index_close(index);
    free(bytes);
    return status;
}

kith_status ki_tune_build(ki_segment_writer *writer, const ki_segment_head *head, const kith_tune_options *options,
                          uint64_t build_ns, uint64_t memory_bytes, kith_error *error) {
    static const uint64_t budget_most = UINT64_C(2000000000);
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    ki_segment *segment = NULL;
    kith_index *index = NULL;
    ki_tuning t = {0};
    unsigned char *bytes = NULL;
    if (head->lists == 1 || !(head->flags & KI_SEGMENT_ORIGINALS)) return KITH_OK;
    open.no_sigbus_handler = options->no_sigbus_handler;
    kith_status status = ki_segment_preview(writer, head, &open, &segment, error);
    if (status == KITH_OK) status = ki_index_of_segment(segment, &index, error);
    if (status != KITH_OK) return status;
    t.index = index;
    t.memory_bytes = memory_bytes;
    t.budget_ns = budget_for(index->view.rows, build_ns / 10 > budget_most ? build_ns / 10 : budget_most);
    status = tune(&t, NULL, options, &bytes, error);
    kith_index_close(index);
    if (status == KITH_OK)
        status = ki_segment_append(
            writer, &(ki_part_data){{KI_PART_CALIBRATION, ki_calibration_bytes(t.out.count), t.out.count}, bytes}, 1,
            error);
    free(bytes);
    free_tuning(&t);
    return status;
}
