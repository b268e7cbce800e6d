/* SPDX-License-Identifier: Apache-2.0 */
#include "search/rounds.h"

#include "base/checked.h"
#include "search/exact.h"
#include "search/plans.h"
#include "search/poor.h"

#include <stdlib.h>

enum { FINISH_QUERIES = 64, SCAN_PIECES = 16, SEED_PROBES = 8 };

/* One round at work. */
struct round {
    ki_job *job;
    ki_ivf *ivf;
    size_t first, count, pieces;
    const float *queries;
    size_t stride;
    float *converted; /* where to put rows that are not floats already; NULL: none are */
};

static void choose_piece(void *context, size_t piece, unsigned number) {
    struct round *r = context;
    ki_job *job = r->job;
    const size_t step = ki_ivf_step(r->ivf), begin = piece * step, count = ki_min_size(step, r->count - begin);
    const size_t dim = job->index->view.dim;
    const int stop = atomic_load(&job->stop);
    if (stop && stop != KITH_E_DATA) return;
    const int fine = r->converted
                         ? ki_job_load(job, r->first + begin, count, r->converted + begin * dim)
                         : ki_job_check(job, r->first + begin, count, r->queries + begin * r->stride, r->stride);
    if (!fine || stop) return;
    const kith_status status = ki_ivf_choose(r->ivf, number, begin, count, &job->scratch->workers[number].counts);
    if (status != KITH_OK) ki_job_stop(job, status);
}

static void scan_piece(void *context, size_t piece, unsigned number) {
    struct round *r = context;
    const size_t lists = ki_ivf_lists(r->ivf);
    if (atomic_load(&r->job->stop)) return;
    ki_ivf_scan(r->ivf, number, lists * piece / r->pieces, lists * (piece + 1) / r->pieces,
                &r->job->scratch->workers[number].counts);
}

/* Whether an exact scan follows, and the ivf plan only finds its thresholds. */
static int seeds_only(const ki_job *job) {
    return job->row->exact || job->levels;
}

static void finish_piece(void *context, size_t piece, unsigned number) {
    struct round *r = context;
    ki_job *job = r->job;
    const size_t begin = piece * FINISH_QUERIES, end = ki_min_size(r->count, begin + FINISH_QUERIES);
    if (ki_limits_reached(&job->ivf.limits, number)) return;
    for (size_t i = begin; i < end; i++) {
        size_t count;
        const size_t next = i + 1 < end ? i + 1 : SIZE_MAX;
        const ki_hit *hits = ki_ivf_finish(r->ivf, number, i, next, &count, &job->scratch->workers[number].counts);
        ki_poor_seed(job, i, hits, count);
        if (!seeds_only(job)) ki_job_write(job, r->first + i, hits, ki_ivf_is_thin(r->ivf, i) ? 0 : count);
    }
}

static kith_status run_round(struct round *r) {
    ki_job *job = r->job;
    kith_scratch *scratch = job->scratch;
    const size_t dim = job->index->view.dim;
    r->stride = dim;
    r->queries = ki_job_floats(job, r->first, &r->stride);
    if (!r->queries) {
        if (!ki_area_grow(&scratch->floats, (uint64_t)r->count * dim, sizeof(float))) return KITH_E_NOMEM;
        r->queries = r->converted = scratch->floats.data;
    }
    if (!ki_area_grow(&scratch->shared, r->count, sizeof(_Atomic float))) return KITH_E_NOMEM;
    const kith_status status = ki_ivf_begin(r->ivf, &job->ivf, r->queries, r->stride, r->count);
    if (status != KITH_OK) return status;
    const size_t step = ki_ivf_step(r->ivf);
    ki_pool_run(scratch->pool, (r->count + step - 1) / step, choose_piece, r);
    if (atomic_load(&job->stop)) return (kith_status)atomic_load(&job->stop);
    ki_ivf_group(r->ivf);
    if (job->on_device && !seeds_only(job)) {
        const kith_status scanned = ki_ivf_scan_on_device(r->ivf, &scratch->workers[0].counts);
        if (scanned != KITH_OK) return scanned;
    }
    r->pieces = scratch->threads == 1 ? 1 : SCAN_PIECES * scratch->threads;
    ki_pool_run(scratch->pool, r->pieces, scan_piece, r);
    ki_pool_run(scratch->pool, (r->count + FINISH_QUERIES - 1) / FINISH_QUERIES, finish_piece, r);
    return (kith_status)atomic_load(&job->stop);
}

/* Whether thresholds from the nearest lists pay before an exact scan: they hold k results, and the scan is long. */
static int wants_seeds(const ki_job *job) {
    const ki_view *view = &job->index->view;
    const kith_plan plan = job->search.plan;
    return (plan == KITH_PLAN_SCAN || plan == KITH_PLAN_LEVELS) && job->k && view->originals &&
           view->lists.count >= 4 * SEED_PROBES && job->k <= view->rows / view->lists.count * SEED_PROBES / 2;
}

/* One round from query `first` on. */
static kith_status serve_round(ki_job *job, size_t first, size_t count, int ivf) {
    kith_scratch *scratch = job->scratch;
    kith_status status = KITH_OK;
    job->poor = NULL;
    if (!job->row->exact && !ki_poor_begin(job, count)) return KITH_E_NOMEM;
    if (ivf) {
        struct round round = {.job = job, .ivf = scratch->ivf, .first = first, .count = count};
        status = run_round(&round);
    }
    if (status == KITH_OK && seeds_only(job)) {
        job->seeded = ivf;
        status = ki_exact_run(job, first, count);
        job->seeded = 0;
    }
    return status == KITH_OK ? ki_poor_search(job, first) : status;
}

/* The whole request in rounds of about equal size. */
static kith_status serve(ki_job *job, int ivf) {
    const size_t all = job->queries->count, most = ki_ivf_round(job->scratch->ivf, &job->ivf);
    const size_t rounds = (all + most - 1) / most, even = (all + rounds - 1) / rounds;
    kith_status status = KITH_OK;
    for (size_t first = 0; first < all && status == KITH_OK; first += even)
        status = serve_round(job, first, ki_min_size(even, all - first), ivf);
    return status;
}

static int take_ivf(kith_scratch *scratch) {
    if (!scratch->ivf) scratch->ivf = ki_ivf_create(scratch->threads);
    return scratch->ivf != NULL;
}

static void seed_from(ki_job *job, size_t nprobe) {
    job->ivf.nprobe = nprobe;
    job->ivf.rerank = job->k;
    job->ivf.first_lists_only = job->levels;
}

static void count_in_lists(const ki_lists *lists, const uint64_t *allowed, uint32_t *counts) {
    for (size_t l = 0; l < lists->count; l++) {
        const uint32_t end = lists->first_row[l + 1];
        counts[l] = 0;
        for (uint32_t at = lists->first_row[l]; at < end; at += at % 64 ? 64 - at % 64 : 64) {
            uint64_t word = allowed[at / 64] >> at % 64;
            if (end - at < 64 - at % 64) word &= (UINT64_C(1) << (end - at)) - 1;
            counts[l] += (uint32_t)__builtin_popcountll(word);
            if (end - at <= 64 - at % 64) break;
        }
    }
}

/* Those of a filter that keeps them; NULL: out of memory. */
static const uint32_t *kept_counts(ki_filter_counts *of, const ki_lists *lists, const uint64_t *allowed) {
    uint32_t *kept = atomic_load(&of->lists);
    if (kept) return kept;
    uint32_t *counts = ki_alloc_array(lists->count, sizeof(*counts));
    if (!counts) return NULL;
    count_in_lists(lists, allowed, counts);
    if (atomic_compare_exchange_strong(&of->lists, &kept, counts)) return counts;
    free(counts);
    return kept;
}

/* Allowed vectors of each list. */
static int count_allowed(ki_job *job) {
    const ki_lists *lists = &job->index->view.lists;
    if (job->filter && job->filter->counts) {
        job->ivf.share.list_counts = kept_counts(job->filter->counts, lists, job->search.allowed);
    } else {
        uint32_t *counts = ki_area_take(&job->scratch->list_counts, lists->count, sizeof(*counts));
        if (counts) count_in_lists(lists, job->search.allowed, counts);
        job->ivf.share.list_counts = counts;
    }
    return job->ivf.share.list_counts != NULL;
}

kith_status ki_rounds_seed(ki_job *job) {
    if (!wants_seeds(job)) return ki_exact_run(job, 0, job->queries->count);
    if (!take_ivf(job->scratch)) return KITH_E_NOMEM;
    if (job->search.allowed && !count_allowed(job)) return KITH_E_NOMEM;
    job->ivf.code = KITH_SCAN_INT8;
    seed_from(job, SEED_PROBES);
    return serve(job, 1);
}

kith_status ki_rounds_answer(ki_job *job) {
    if (!take_ivf(job->scratch)) return KITH_E_NOMEM;
    if (job->ivf.share.presumed > 0 && !count_allowed(job)) return KITH_E_NOMEM;
    const int ivf = !job->levels || wants_seeds(job);
    if (job->levels) seed_from(job, ki_min_size(SEED_PROBES, job->search.nprobe));
    return serve(job, ivf);
}
