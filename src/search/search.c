/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_search and kith_search_range: a request is checked, a plan is chosen, its row runs it, and what it did is
 * told. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/status.h"
#include "search/choose.h"
#include "search/device.h"
#include "search/exact.h"
#include "search/explain.h"
#include "search/search.h"
#include "search/study.h"

#include <math.h>

/* Make the caller's structs today's, and point to those. */
static kith_status read_request(const kith_queries **queries, kith_queries *q, const kith_search_options **options,
                                kith_search_options *o, kith_error *error) {
    *q = (kith_queries)KITH_QUERIES_INIT;
    *o = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    kith_status status = ki_grown_read(KI_GROWN_QUERIES, *queries, q, error);
    if (status == KITH_OK) status = ki_grown_read(KI_GROWN_SEARCH_OPTIONS, *options, o, error);
    if (status == KITH_OK) status = ki_grown_check(KI_GROWN_EXPLAIN, o->explain, error);
    if (*queries) *queries = q;
    *options = o;
    return status;
}

static kith_status check_request(const kith_index *index, const kith_queries *queries,
                                 const kith_search_options *options, const kith_scratch *scratch, kith_error *error) {
    if (!index || !queries || !scratch) return ki_fail(error, KITH_E_ARG, "search: index, queries or scratch is NULL");
    if (scratch->index != index) return ki_fail(error, KITH_E_ARG, "search: the scratch belongs to another index");
    const ki_view *view = &index->view;
    const size_t row = kith_row_bytes(queries->dtype, queries->dim);
    if (queries->count == 0) return KITH_OK;
    if (queries->count > KITH_QUERIES_MAX)
        return ki_fail(error, KITH_E_ARG, "search: %zu queries in one call, at most %llu are taken", queries->count,
                       (unsigned long long)KITH_QUERIES_MAX);
    if (!queries->data) return ki_fail(error, KITH_E_ARG, "search: the queries' data is NULL");
    if (queries->dim != view->dim)
        return ki_fail(error, KITH_E_ARG, "search: queries have %zu dimensions, the index has %zu", queries->dim,
                       view->dim);
    if (!row || (queries->dtype == KITH_B1) != (view->dtype == KITH_B1))
        return ki_fail(error, KITH_E_ARG, "search: %s queries do not fit an index of %s vectors",
                       kith_dtype_name(queries->dtype), kith_dtype_name(view->dtype));
    if (queries->stride_bytes && queries->stride_bytes < row && queries->count > 1)
        return ki_fail(error, KITH_E_ARG, "search: a stride of %zu bytes is less than a row of %zu",
                       queries->stride_bytes, row);
    if (options->filter && options->filter->index != index)
        return ki_fail(error, KITH_E_ARG, "search: the filter belongs to another index");
    return KITH_OK;
}

static ki_limits limits_of(ki_job *job, const kith_search_options *options) {
    ki_limits limits = {.stop = &job->stop};
    if (options->timeout_ns && !ki_add(ki_now_ns(), options->timeout_ns, &limits.deadline_ns))
        limits.deadline_ns = UINT64_MAX;
    limits.cancelled = options->cancelled;
    limits.cancelled_context = options->cancelled_context;
    return limits;
}

static kith_status start_job(ki_job *job, const kith_search_options *options, kith_error *error) {
    const ki_view *view = ki_index_hot_view(job->index);
    job->stride = job->queries->stride_bytes ? job->queries->stride_bytes
                                             : kith_row_bytes(job->queries->dtype, job->queries->dim);
    atomic_init(&job->stop, 0);
    atomic_init(&job->bad, UINT64_MAX);
    const ki_limits limits = limits_of(job, options);
    atomic_init(&job->fault.told, 0);
    job->search = (ki_flat_search){.view = view, .k = job->k, .limits = limits, .fault = &job->fault};
    job->ivf = (ki_ivf_search){
        .view = view, .k = job->k, .round_bytes = job->scratch->round_bytes, .limits = limits, .fault = &job->fault};
    job->allowed = view->rows;
    job->filter = options->filter;
    job->search.allowed = job->ivf.allowed = options->filter ? options->filter->allowed : NULL;
    if (options->filter) {
        job->allowed = options->filter->count;
        job->search.few = options->filter->few;
        job->search.few_count = options->filter->few ? (size_t)options->filter->count : 0;
    }
    return ki_choose(job, options, error);
}

static kith_status run_job(ki_job *job, kith_error *error) {
    for (unsigned i = 0; i < job->scratch->threads; i++) job->scratch->workers[i].counts = (ki_counts){0};
    kith_status status = job->row->run(job);
    if (status == KITH_OK && ki_segment_damaged(job->index->segment)) status = KITH_E_CORRUPT;
    if (status == KITH_OK || ki_search_device_fail(job, status, error)) return status;
    return ki_job_fail(job, status, error);
}

static void explain(const ki_job *job, const kith_search_options *options, uint64_t start) {
    kith_explain today;
    if (!options->explain) return;
    ki_explain(job, start, &today);
    ki_grown_write(KI_GROWN_EXPLAIN, &today, options->explain);
}

kith_status kith_search(const kith_index *index, const kith_queries *queries, size_t k,
                        const kith_search_options *options, kith_scratch *scratch, uint64_t *ids, float *distances,
                        kith_error *error) {
    const uint64_t start = ki_now_ns();
    kith_queries q;
    kith_search_options o;
    kith_status status = read_request(&queries, &q, &options, &o, error);
    if (status == KITH_OK) status = check_request(index, queries, options, scratch, error);
    if (status != KITH_OK) return status;
    if (k == 0 || k > KITH_K_MAX)
        return ki_fail(error, KITH_E_ARG, "search: k is %zu, 1 to %u are possible", k, KITH_K_MAX);
    if (queries->count && (!ids || !distances)) return ki_fail(error, KITH_E_ARG, "search: ids or distances is NULL");
    ki_job job = {.index = index, .scratch = scratch, .queries = queries, .k = k, .ids = ids, .distances = distances};
    status = start_job(&job, options, error);
    if (status == KITH_OK && queries->count) status = run_job(&job, error);
    if (status != KITH_OK) return status;
    ki_study_count(&job, ki_now_ns() - start);
    explain(&job, options, start);
    return KITH_OK;
}

kith_status ki_search_as(const ki_search_case *search, const ki_answer *answer, kith_error *error) {
    ki_job job = {.index = search->index,
                  .scratch = search->scratch,
                  .queries = &search->queries,
                  .k = search->k,
                  .ids = search->ids,
                  .distances = search->distances,
                  .given = answer};
    const kith_status status = start_job(&job, search->options, error);
    return status == KITH_OK ? run_job(&job, error) : status;
}

/* Results of all queries, one after the other; false: out of memory. */
static int gather_ranges(const ki_job *job, kith_ranges *ranges) {
    kith_scratch *scratch = job->scratch;
    const size_t n = job->queries->count;
    if (!ki_area_grow(&scratch->offsets, (uint64_t)n + 1, sizeof(uint64_t))) return 0;
    uint64_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t hits = ki_exact_gather(job, i);
        if (hits == SIZE_MAX || !ki_area_grow(&scratch->ids, used + hits, sizeof(uint64_t)) ||
            !ki_area_grow(&scratch->distances, used + hits, sizeof(float)))
            return 0;
        ((uint64_t *)scratch->offsets.data)[i] = used;
        for (size_t h = 0; h < hits; h++, used++) {
            ((uint64_t *)scratch->ids.data)[used] = ((ki_hit *)scratch->merged.data)[h].label;
            ((float *)scratch->distances.data)[used] = ((ki_hit *)scratch->merged.data)[h].distance;
        }
    }
    ((uint64_t *)scratch->offsets.data)[n] = used;
    *ranges = (kith_ranges){n, scratch->offsets.data, scratch->ids.data, scratch->distances.data};
    return 1;
}

kith_status kith_search_range(const kith_index *index, const kith_queries *queries, float radius,
                              const kith_search_options *options, kith_scratch *scratch, kith_ranges *ranges,
                              kith_error *error) {
    const uint64_t start = ki_now_ns();
    kith_queries q;
    kith_search_options o;
    kith_status status = read_request(&queries, &q, &options, &o, error);
    if (status == KITH_OK) status = check_request(index, queries, options, scratch, error);
    if (status != KITH_OK) return status;
    if (isnan(radius)) return ki_fail(error, KITH_E_ARG, "search: the radius is not a number");
    if (!ranges) return ki_fail(error, KITH_E_ARG, "search: ranges is NULL");
    ki_job job = {.index = index, .scratch = scratch, .queries = queries};
    status = start_job(&job, options, error);
    job.search.radius = radius;
    if (status == KITH_OK && queries->count) status = run_job(&job, error);
    if (status != KITH_OK) return status;
    if (!gather_ranges(&job, ranges)) return ki_job_fail(&job, KITH_E_NOMEM, error);
    explain(&job, options, start);
    return KITH_OK;
}
