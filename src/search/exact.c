/* SPDX-License-Identifier: Apache-2.0 */
#include "search/exact.h"

#include "base/checked.h"
#include "kernel/tile.h"

#include <math.h>
#include <string.h>

static int keep_hits(ki_kept *kept, const ki_desk *desk, size_t count) {
    if (!ki_area_grow(&kept->ends, count, sizeof(size_t))) return 0;
    for (size_t i = 0; i < count; i++) {
        size_t hits;
        const ki_hit *from = ki_desk_hits(desk, i, &hits);
        if (!ki_area_grow(&kept->hits, (uint64_t)kept->used + hits, sizeof(ki_hit))) return 0;
        if (hits) memcpy((ki_hit *)kept->hits.data + kept->used, from, hits * sizeof(ki_hit));
        kept->used += hits;
        ((size_t *)kept->ends.data)[i] = kept->used;
    }
    return 1;
}

/* Thresholds of the queries from `first` on, where ranges tell each other or an ivf round found some beforehand. */
static _Atomic float *shared_thresholds(const ki_job *job, size_t first) {
    if (job->ranges == 1 && !job->seeded) return NULL;
    return (_Atomic float *)job->scratch->shared.data + (first - job->first);
}

static void run_piece(void *context, size_t piece, unsigned number) {
    ki_job *job = context;
    ki_worker *worker = &job->scratch->workers[number];
    const ki_view *view = &job->index->view;
    const size_t group = piece / job->ranges, range = piece % job->ranges;
    const size_t blocks = view->blocks ? view->blocks : (size_t)((view->rows + KI_BLOCK - 1) / KI_BLOCK);
    const size_t first = job->first + group * job->group, end = job->first + job->count;
    const size_t count = ki_min_size(job->group, end - first);
    const size_t row = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    /* After a refused query the pieces before it are still checked: one of them may hold a lower one. */
    const int stop = atomic_load(&job->stop);
    if (stop && (stop != KITH_E_DATA || ki_job_query(job, first) > atomic_load(&job->bad) / KI_FAULTS)) return;
    if (!ki_area_grow(&worker->queries, count * row, 1)) {
        ki_job_stop(job, KITH_E_NOMEM);
        return;
    }
    if (!ki_job_load(job, first, count, worker->queries.data) || stop) return;
    const kith_status status =
        ki_flat_run(&job->search, worker->desk, worker->queries.data, count, blocks * range / job->ranges,
                    blocks * (range + 1) / job->ranges, shared_thresholds(job, first), number, &worker->counts);
    if (status != KITH_OK) {
        ki_job_stop(job, status);
        return;
    }
    if (job->keep) {
        if (!keep_hits((ki_kept *)job->scratch->kept.data + piece, worker->desk, count)) ki_job_stop(job, KITH_E_NOMEM);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t hits;
        const ki_hit *from = ki_desk_hits(worker->desk, i, &hits);
        ki_job_write(job, first + i, from, hits);
    }
}

static size_t pieces_for(ki_job *job) {
    const size_t count = job->count, threads = job->scratch->threads, width = ki_tile()->width;
    const size_t blocks = (size_t)((job->index->view.rows + KI_BLOCK - 1) / KI_BLOCK);
    const size_t most = ki_flat_group(&job->index->view, job->k);
    job->ranges = 1;
    if (threads > 1 && count < threads * width && blocks >= 64 * threads && count <= most && !job->search.few &&
        job->search.plan != KITH_PLAN_DEVICE) {
        job->group = count;
        job->groups = 1;
        job->ranges = threads;
        return threads;
    }
    size_t groups = (count + most - 1) / most;
    if (threads > 1) groups = (size_t)ki_round_up(groups, threads);
    const size_t even = (count + groups - 1) / groups;
    job->group =
        most < width ? ki_min_size(even, most) : ki_min_size((size_t)ki_round_up(even, width), most / width * width);
    job->groups = (count + job->group - 1) / job->group;
    return job->groups;
}

size_t ki_exact_gather(const ki_job *job, size_t query) {
    kith_scratch *scratch = job->scratch;
    const size_t group = query / job->group, inside = query % job->group;
    size_t used = 0;
    for (size_t range = 0; range < job->ranges; range++) {
        const ki_kept *kept = (ki_kept *)scratch->kept.data + group * job->ranges + range;
        const size_t *ends = kept->ends.data, first = inside ? ends[inside - 1] : 0, count = ends[inside] - first;
        if (!ki_area_grow(&scratch->merged, (uint64_t)used + count, sizeof(ki_hit))) return SIZE_MAX;
        if (count)
            memcpy((ki_hit *)scratch->merged.data + used, (ki_hit *)kept->hits.data + first, count * sizeof(ki_hit));
        used += count;
    }
    if (job->ranges > 1) {
        if (job->k && used > job->k) {
            ki_hits_select(scratch->merged.data, used, job->k);
            used = job->k;
        }
        ki_hits_sort(scratch->merged.data, used);
    }
    return used;
}

kith_status ki_exact_run(ki_job *job, size_t first, size_t count) {
    kith_scratch *scratch = job->scratch;
    job->first = first;
    job->count = count;
    const size_t pieces = pieces_for(job);
    job->keep = job->k == 0 || job->ranges > 1;
    if (job->keep && !ki_scratch_keep(scratch, pieces)) return KITH_E_NOMEM;
    if (job->ranges > 1 && !job->seeded) {
        if (!ki_area_grow(&scratch->shared, count, sizeof(_Atomic float))) return KITH_E_NOMEM;
        for (size_t i = 0; i < count; i++) atomic_init((_Atomic float *)scratch->shared.data + i, -INFINITY);
    }
    ki_pool_run(scratch->pool, pieces, run_piece, job);
    if (atomic_load(&job->stop)) return (kith_status)atomic_load(&job->stop);
    for (size_t i = 0; i < count && job->keep && job->k; i++) {
        const size_t hits = ki_exact_gather(job, i);
        if (hits == SIZE_MAX) return KITH_E_NOMEM;
        ki_job_write(job, first + i, scratch->merged.data, hits);
    }
    return KITH_OK;
}
