/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_tune and the calibration at the end of a build: an index is measured, and the result kept in it. */
#include "tune/tune.h"

#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "search/search.h"
#include "tune/inner.h"

static void free_tuning(ki_tuning *t) {
    kith_scratch_destroy(t->wide);
    kith_scratch_destroy(t->narrow);
    free(t->queries);
    free(t->self);
    free(t->truth);
    free(t->rank);
    free(t->nearer_rank);
    free(t->second_list_of);
    free(t->ids);
    free(t->distances);
    free(t->held);
    free(t->folds);
    free(t->unheld.allowed);
    ki_calibration_free(&t->out);
}

/* Measure, and encode what was measured: *bytes is the caller's to free. */
static kith_status tune(ki_tuning *t, kith_reader *reader, const kith_tune_options *options, unsigned char **bytes,
                        kith_error *error) {
    t->seed = t->out.seed = options->seed;
    t->pool = options->pool;
    t->out.near_duplicates = t->index->calibration.near_duplicates; /* stands where stored rows are not looked at */
    t->threads = (double)ki_pool_threads(options->pool);
    t->progress = options->progress;
    t->progress_context = options->progress_context;
    kith_status status = kith_scratch_create(t->index, options->pool, &t->wide, error);
    if (status == KITH_OK) status = kith_scratch_create(t->index, NULL, &t->narrow, error);
    if (status == KITH_OK && t->memory_bytes) { /* queries and answers take some, and each scratch its rounds */
        const size_t round_bytes = (size_t)ki_min_u64(t->memory_bytes / 8, (uint64_t)32 << 20);
        ki_search_set_round(t->wide, round_bytes);
        ki_search_set_round(t->narrow, round_bytes);
    }
    if (status == KITH_OK) status = ki_tune_take(t, reader, options->queries, error);
    if (status == KITH_OK && t->index->view.second_lists.level.blocks)
        ki_tune_second_lists(&t->index->view, t->second_list_of);
    if (status == KITH_OK) status = ki_tune_truth(t, error);
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

int ki_tune_worth(const kith_index *index) {
    return index->view.lists.count > 1 || ki_tune_effort_plans(index);
}

static kith_status check_index(const kith_index *index, kith_error *error) {
    const char *path = ki_segment_path(index->segment);
    if (!ki_tune_worth(index))
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: has one list and no other index: every search is exact, there is nothing to tune", path);
    if (!index->view.originals)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: was built without originals: recall cannot be measured", path);
    return KITH_OK;
}

/* What a build may add to itself: two seconds and some, or a tenth of what it took. */
static uint64_t budget_of_build(uint64_t rows, uint64_t build_ns) {
    static const uint64_t budget_most = UINT64_C(2000000000);
    return budget_for(rows, build_ns / 10 > budget_most ? build_ns / 10 : budget_most);
}

kith_status ki_tune_index(const kith_index *index, const kith_tune_options *options, uint64_t budget_ns,
                          uint64_t memory_bytes, unsigned char **bytes, size_t *count, kith_error *error) {
    ki_tuning t = {.index = index, .memory_bytes = memory_bytes};
    unsigned char *made = NULL;
    kith_status status = check_index(index, error);
    if (status != KITH_OK) return status;
    t.budget_ns = budget_ns ? budget_ns : budget_of_build(index->view.rows, 0);
    status = tune(&t, NULL, options, &made, error);
    if (status == KITH_OK) {
        *bytes = made;
        *count = ki_calibration_bytes(t.out.count);
    }
    free_tuning(&t);
    return status;
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
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    ki_segment *segment = NULL;
    kith_index *index = NULL;
    unsigned char *bytes = NULL;
    size_t count = 0;
    if (!(head->flags & KI_SEGMENT_ORIGINALS) || !head->rows) return KITH_OK;
    open.no_sigbus_handler = options->no_sigbus_handler;
    kith_status status = ki_segment_preview(writer, head, &open, &segment, error);
    if (status == KITH_OK) status = ki_index_of_segment(segment, &index, error);
    if (status == KITH_OK && ki_tune_worth(index))
        status = ki_tune_index(index, options, budget_of_build(index->view.rows, build_ns), memory_bytes, &bytes,
                               &count, error);
    kith_index_close(index);
    if (status == KITH_OK && bytes)
        status = ki_segment_append(
            writer, &(ki_part_data){{KI_PART_CALIBRATION, count, ki_calibration_settings(count)}, bytes}, 1, error);
    free(bytes);
    return status;
}
