/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_search and kith_search_range: a request is checked, a plan chosen, and the work cut into pieces for the pool.
 *
 * Many queries: a piece is a group of queries over all blocks, and writes its own rows of the output. Few queries: a
 * piece is a range of blocks for all queries, the ranges tell each other their thresholds, and their hits are merged at
 * the end. Either way a worker uses its own lane.
 *
 * Q1. Queries are converted and checked inside the pieces; the lowest offending query is the one reported.
 * Q2. All memory belongs to the scratch and only grows: a search like an earlier one allocates nothing. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/status.h"
#include "cpu/cpu.h"
#include "engine/index.h"
#include "index/flat_build.h"
#include "kernel/distance.h"

#include <math.h>
#include <string.h>

/* Growing memory. */
struct area {
    void *data;
    size_t capacity;
};

/* What one worker owns. */
struct worker {
    ki_lane *lane;
    struct area queries; /* floats of a group, or bits */
    ki_flat_counts counts;
};

/* Hits of one piece that must outlive its lane's next group. */
struct kept {
    struct area hits; /* ki_hit */
    struct area ends; /* size_t, one a query */
    size_t used;
};

struct kith_scratch {
    const kith_index *index;
    kith_pool *pool;
    unsigned threads;
    struct worker *workers;
    struct area kept; /* struct kept, one a piece; those in use before keep their memory */
    size_t kept_count;
    struct area shared;                          /* _Atomic float, one a query */
    struct area offsets, ids, distances, merged; /* range results */
};

struct job {
    const kith_index *index;
    kith_scratch *scratch;
    const kith_queries *queries;
    size_t k, group, groups, ranges, stride;
    ki_flat_search search;
    uint64_t *ids;
    float *distances;
    int keep; /* hits go to kept, not to ids and distances */
    atomic_int stop;
    atomic_uint_fast64_t bad; /* the lowest refused query, and why: query * FAULTS + fault */
};

static int area_take(struct area *area, uint64_t count, size_t size) {
    return ki_array_reserve(&area->data, &area->capacity, count, size);
}

/* ---- Scratch ----------------------------------------------------------------------------------------------------- */

kith_status kith_scratch_create(const kith_index *index, kith_pool *pool, kith_scratch **out, kith_error *error) {
    if (!index || !out) return ki_fail(error, KITH_E_ARG, "kith_scratch_create: index or scratch is NULL");
    kith_scratch *scratch = ki_alloc_array_zeroed(1, sizeof(*scratch));
    if (!scratch) return ki_fail(error, KITH_E_NOMEM, "out of memory for a scratch");
    scratch->index = index;
    scratch->pool = pool;
    scratch->threads = ki_pool_threads(pool);
    scratch->workers = ki_alloc_array_zeroed(scratch->threads, sizeof(*scratch->workers));
    int ready = scratch->workers != NULL;
    for (unsigned i = 0; i < scratch->threads && ready; i++)
        ready = (scratch->workers[i].lane = ki_lane_create()) != NULL;
    if (!ready) {
        kith_scratch_destroy(scratch);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a scratch");
    }
    *out = scratch;
    return KITH_OK;
}

void kith_scratch_destroy(kith_scratch *scratch) {
    if (!scratch) return;
    for (unsigned i = 0; i < scratch->threads && scratch->workers; i++) {
        ki_lane_destroy(scratch->workers[i].lane);
        free(scratch->workers[i].queries.data);
    }
    struct kept *kept = scratch->kept.data;
    for (size_t i = 0; i < scratch->kept_count; i++) {
        free(kept[i].hits.data);
        free(kept[i].ends.data);
    }
    free(kept);
    free(scratch->workers);
    free(scratch->shared.data);
    free(scratch->offsets.data);
    free(scratch->ids.data);
    free(scratch->distances.data);
    free(scratch->merged.data);
    free(scratch);
}

static int take_kept(kith_scratch *scratch, size_t pieces) {
    if (!area_take(&scratch->kept, pieces, sizeof(struct kept))) return 0;
    struct kept *kept = scratch->kept.data;
    for (; scratch->kept_count < pieces; scratch->kept_count++) kept[scratch->kept_count] = (struct kept){0};
    for (size_t i = 0; i < pieces; i++) kept[i].used = 0;
    return 1;
}

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

enum { FAULTS = 4 };

static void note_bad_query(struct job *job, size_t query, ki_row_fault fault) {
    const uint64_t bad = (uint64_t)query * FAULTS + fault;
    uint64_t lowest = atomic_load(&job->bad);
    while (bad < lowest && !atomic_compare_exchange_weak(&job->bad, &lowest, bad)) {
    }
    int none = 0;
    atomic_compare_exchange_strong(&job->stop, &none, KITH_E_DATA);
}

/* The group's queries as the lane wants them; NULL when memory is refused or a query is (then stop is set). */
static const void *load_queries(struct job *job, struct worker *worker, size_t first, size_t count) {
    const ki_flat *flat = &job->index->flat;
    const kith_queries *queries = job->queries;
    const size_t row = flat->dtype == KITH_B1 ? flat->row_bytes : flat->dim * sizeof(float);
    const uint8_t *from = (const uint8_t *)queries->data + first * job->stride;
    if (!area_take(&worker->queries, count * row, 1)) {
        atomic_store(&job->stop, KITH_E_NOMEM);
        return NULL;
    }
    uint8_t *to = worker->queries.data;
    for (size_t i = 0; i < count; i++, from += job->stride, to += row) {
        if (flat->dtype == KITH_B1) {
            memcpy(to, from, row);
            continue;
        }
        double norm2;
        float *floats = (float *)(void *)to;
        ki_distance()->to_f32[queries->dtype](from, flat->dim, floats);
        const ki_row_fault fault = ki_row_check(flat->metric, KITH_F32, floats, flat->dim, &norm2);
        if (fault != KI_ROW_FINE) {
            note_bad_query(job, first + i, fault);
            return NULL;
        }
    }
    return worker->queries.data;
}

static int keep_hits(struct kept *kept, const ki_lane *lane, size_t count) {
    if (!area_take(&kept->ends, count, sizeof(size_t))) return 0;
    for (size_t i = 0; i < count; i++) {
        size_t hits;
        const ki_hit *from = ki_lane_hits(lane, i, &hits);
        if (!area_take(&kept->hits, (uint64_t)kept->used + hits, sizeof(ki_hit))) return 0;
        if (hits) memcpy((ki_hit *)kept->hits.data + kept->used, from, hits * sizeof(ki_hit));
        kept->used += hits;
        ((size_t *)kept->ends.data)[i] = kept->used;
    }
    return 1;
}

static void write_row(const struct job *job, size_t query, const ki_hit *hits, size_t count) {
    uint64_t *ids = job->ids + query * job->k;
    float *distances = job->distances + query * job->k;
    for (size_t i = 0; i < job->k; i++) {
        ids[i] = i < count ? hits[i].label : KITH_ID_NONE;
        distances[i] = i < count ? hits[i].distance : INFINITY;
    }
}

static void run_piece(void *context, size_t piece, unsigned number) {
    struct job *job = context;
    struct worker *worker = &job->scratch->workers[number];
    const size_t group = piece / job->ranges, range = piece % job->ranges, blocks = job->index->flat.blocks;
    const size_t all_blocks = blocks ? blocks : (size_t)((job->index->flat.rows + KI_BLOCK - 1) / KI_BLOCK);
    const size_t first = group * job->group, count = ki_min_size(job->group, job->queries->count - first);
    /* After a refused query the pieces before it are still checked: one of them may hold a lower one. */
    const int stop = atomic_load(&job->stop);
    if (stop && (stop != KITH_E_DATA || first > atomic_load(&job->bad) / FAULTS)) return;
    const void *queries = load_queries(job, worker, first, count);
    if (!queries || stop) return;
    _Atomic float *shared = job->ranges > 1 ? job->scratch->shared.data : NULL;
    const kith_status status = ki_flat_run(&job->search, worker->lane, queries, count, all_blocks * range / job->ranges,
                                           all_blocks * (range + 1) / job->ranges, shared, number, &worker->counts);
    if (status != KITH_OK) {
        int none = 0;
        atomic_compare_exchange_strong(&job->stop, &none, (int)status);
        return;
    }
    if (job->keep) {
        if (!keep_hits((struct kept *)job->scratch->kept.data + piece, worker->lane, count))
            atomic_store(&job->stop, KITH_E_NOMEM);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t hits;
        const ki_hit *from = ki_lane_hits(worker->lane, i, &hits);
        write_row(job, first + i, from, hits);
    }
}

/* ---- The request ------------------------------------------------------------------------------------------------- */

static kith_status check_request(const kith_index *index, const kith_queries *queries,
                                 const kith_search_options *options, const kith_scratch *scratch, kith_error *error) {
    if (!index || !queries || !scratch) return ki_fail(error, KITH_E_ARG, "search: index, queries or scratch is NULL");
    if (queries->struct_size != sizeof(*queries) || (options && options->struct_size != sizeof(*options)))
        return ki_fail(error, KITH_E_ARG, "search: a struct was not made by its KITH_..._INIT");
    if (scratch->index != index) return ki_fail(error, KITH_E_ARG, "search: the scratch belongs to another index");
    const ki_flat *flat = &index->flat;
    const size_t row = kith_row_bytes(queries->dtype, queries->dim);
    if (queries->count == 0) return KITH_OK;
    if (queries->count > KITH_QUERIES_MAX)
        return ki_fail(error, KITH_E_ARG, "search: %zu queries in one call, at most %llu are taken", queries->count,
                       (unsigned long long)KITH_QUERIES_MAX);
    if (!queries->data) return ki_fail(error, KITH_E_ARG, "search: the queries' data is NULL");
    if (queries->dim != flat->dim)
        return ki_fail(error, KITH_E_ARG, "search: queries have %zu dimensions, the index has %zu", queries->dim,
                       flat->dim);
    if (!row || (queries->dtype == KITH_B1) != (flat->dtype == KITH_B1))
        return ki_fail(error, KITH_E_ARG, "search: %s queries do not fit an index of %s vectors",
                       kith_dtype_name(queries->dtype), kith_dtype_name(flat->dtype));
    if (queries->stride_bytes && queries->stride_bytes < row && queries->count > 1)
        return ki_fail(error, KITH_E_ARG, "search: a stride of %zu bytes is less than a row of %zu",
                       queries->stride_bytes, row);
    if (options && options->filter && options->filter->index != index)
        return ki_fail(error, KITH_E_ARG, "search: the filter belongs to another index");
    return KITH_OK;
}

/* AUTO by what a vector costs in each plan: a gathered one about 100 ns, a scanned one about 7 ns alone and under 1 ns
 * in a batch (measured at d=384). */
static kith_status choose_plan(const kith_index *index, const kith_queries *queries, const kith_search_options *options,
                               kith_plan *plan, kith_error *error) {
    const ki_flat *flat = &index->flat;
    const kith_filter *filter = options ? options->filter : NULL;
    const kith_plan wish = options ? options->plan : KITH_PLAN_AUTO;
    const int coded = flat->full.blocks != 0, leveled = flat->level1.blocks != 0;
    const char *why = NULL;
    switch (wish) {
    case KITH_PLAN_AUTO: {
        const uint64_t ratio = queries->count < 12 ? 15 : 150;
        if (filter && flat->originals && (!coded || filter->count < flat->rows / ratio))
            *plan = KITH_PLAN_GATHER;
        else
            *plan = leveled ? KITH_PLAN_LEVELS : coded ? KITH_PLAN_SCAN : KITH_PLAN_PLAIN;
        return KITH_OK;
    }
    case KITH_PLAN_PLAIN:
    case KITH_PLAN_GATHER:
        if (!flat->originals) why = "the index was built without originals";
        if (wish == KITH_PLAN_GATHER && !filter) why = "there is no filter";
        break;
    case KITH_PLAN_SCAN:
        if (!coded) why = "bit vectors have no codes";
        break;
    case KITH_PLAN_LEVELS:
        if (!leveled) why = "the index has no first level";
        break;
    default:
        return ki_fail(error, KITH_E_ARG, "search: plan %d is unknown", (int)wish);
    }
    if (why) return ki_fail(error, KITH_E_UNSUPPORTED, "search: the plan asked for cannot run: %s", why);
    *plan = wish;
    return KITH_OK;
}

static const char *plan_name(kith_plan plan) {
    static const char *const names[] = {"auto", "plain", "scan", "levels", "gather"};
    return names[plan];
}

static size_t pieces_for(struct job *job) {
    const size_t count = job->queries->count, threads = job->scratch->threads, width = ki_tile()->width;
    const size_t blocks = (size_t)((job->index->flat.rows + KI_BLOCK - 1) / KI_BLOCK);
    const size_t most = ki_flat_group(&job->index->flat, job->k);
    job->ranges = 1;
    if (threads > 1 && count < threads * width && blocks >= 64 * threads && count <= most) {
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

static kith_status fail_search(const struct job *job, kith_status status, kith_error *error) {
    static const char *const why[] = {"", "holds a NaN or an infinity", "is longer than 2^62, the largest norm",
                                      "is a zero vector (norm below 2^-40), which has no cosine"};
    switch (status) {
    case KITH_E_DATA:
        return ki_fail(error, status, "query %llu %s", (unsigned long long)(atomic_load(&job->bad) / FAULTS),
                       why[atomic_load(&job->bad) % FAULTS]);
    case KITH_E_DEADLINE:
        return ki_fail(error, status, "the search's time was up");
    case KITH_E_CANCELLED:
        return ki_fail(error, status, "the search was cancelled");
    case KITH_E_CORRUPT:
        if (!ki_segment_damaged(job->index->segment))
            return ki_fail(error, status,
                           "%s: section 'centroids' or 'level1_basis' holds what no vectors could have made",
                           ki_segment_path(job->index->segment));
        return ki_fail(error, status, "%s: the file was truncated or lost pages while it was open",
                       ki_segment_path(job->index->segment));
    default:
        return ki_fail(error, status, "out of memory for the search");
    }
}

static kith_status run_job(struct job *job, const kith_search_options *options, kith_error *error) {
    kith_scratch *scratch = job->scratch;
    const size_t pieces = pieces_for(job);
    job->keep = job->k == 0 || job->ranges > 1;
    if (job->keep && !take_kept(scratch, pieces)) return fail_search(job, KITH_E_NOMEM, error);
    if (job->ranges > 1) {
        if (!area_take(&scratch->shared, job->queries->count, sizeof(_Atomic float)))
            return fail_search(job, KITH_E_NOMEM, error);
        for (size_t i = 0; i < job->queries->count; i++)
            atomic_init((_Atomic float *)scratch->shared.data + i, -INFINITY);
    }
    for (unsigned i = 0; i < scratch->threads; i++) scratch->workers[i].counts = (ki_flat_counts){0};
    if (options && options->timeout_ns && !ki_add(ki_now_ns(), options->timeout_ns, &job->search.deadline_ns))
        job->search.deadline_ns = UINT64_MAX;
    ki_pool_run(scratch->pool, pieces, run_piece, job);
    kith_status status = (kith_status)atomic_load(&job->stop);
    if (status == KITH_OK && ki_segment_damaged(job->index->segment)) status = KITH_E_CORRUPT;
    return status == KITH_OK ? KITH_OK : fail_search(job, status, error);
}

static void explain(const struct job *job, uint64_t start, kith_explain *out) {
    const kith_scratch *scratch = job->scratch;
    kith_explain e = KITH_EXPLAIN_INIT;
    e.plan = job->search.plan;
    e.plan_name = plan_name(e.plan);
    e.tier = ki_cpu_tier(ki_cpu_features());
    e.exact = job->index->flat.originals != NULL;
    e.threads = scratch->threads;
    e.queries = job->queries->count;
    e.rows = e.allowed = job->index->flat.rows;
    for (unsigned i = 0; i < scratch->threads; i++) {
        const ki_flat_counts *counts = &scratch->workers[i].counts;
        e.scanned_bytes += counts->scanned_bytes;
        e.level1_survivors += counts->level1_survivors;
        e.candidates += counts->candidates;
        e.reranked += counts->reranked;
        for (int s = 0; s < KITH_STAGES; s++) e.stage_ns[s] += counts->stage_ns[s];
    }
    e.total_ns = ki_now_ns() - start;
    *out = e;
}

static kith_status start_job(struct job *job, const kith_search_options *options, kith_error *error) {
    kith_plan plan = KITH_PLAN_AUTO;
    const kith_status status = choose_plan(job->index, job->queries, options, &plan, error);
    if (status != KITH_OK) return status;
    job->stride = job->queries->stride_bytes ? job->queries->stride_bytes
                                             : kith_row_bytes(job->queries->dtype, job->queries->dim);
    atomic_init(&job->stop, 0);
    atomic_init(&job->bad, UINT64_MAX);
    job->search = (ki_flat_search){.flat = &job->index->flat, .plan = plan, .k = job->k, .stop = &job->stop};
    if (options) {
        job->search.allowed = options->filter ? options->filter->allowed : NULL;
        job->search.cancelled = options->cancelled;
        job->search.cancelled_context = options->cancelled_context;
    }
    return KITH_OK;
}

static void finish_explain(const struct job *job, const kith_search_options *options, uint64_t start) {
    if (!options || !options->explain || options->explain->struct_size != sizeof(kith_explain)) return;
    explain(job, start, options->explain);
    if (options->filter) options->explain->allowed = options->filter->count;
}

/* Hits of one query in all ranges of its group, gathered into scratch->merged; the count, or SIZE_MAX on no memory. */
static size_t gather_hits(const struct job *job, size_t query) {
    kith_scratch *scratch = job->scratch;
    const size_t group = query / job->group, inside = query % job->group;
    size_t used = 0;
    for (size_t range = 0; range < job->ranges; range++) {
        const struct kept *kept = (struct kept *)scratch->kept.data + group * job->ranges + range;
        const size_t *ends = kept->ends.data, first = inside ? ends[inside - 1] : 0, count = ends[inside] - first;
        if (!area_take(&scratch->merged, (uint64_t)used + count, sizeof(ki_hit))) return SIZE_MAX;
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

kith_status kith_search(const kith_index *index, const kith_queries *queries, size_t k,
                        const kith_search_options *options, kith_scratch *scratch, uint64_t *ids, float *distances,
                        kith_error *error) {
    const uint64_t start = ki_now_ns();
    kith_status status = check_request(index, queries, options, scratch, error);
    if (status != KITH_OK) return status;
    if (k == 0 || k > KITH_K_MAX)
        return ki_fail(error, KITH_E_ARG, "search: k is %zu, 1 to %u are possible", k, KITH_K_MAX);
    if (queries->count && (!ids || !distances)) return ki_fail(error, KITH_E_ARG, "search: ids or distances is NULL");
    struct job job = {
        .index = index, .scratch = scratch, .queries = queries, .k = k, .ids = ids, .distances = distances};
    status = start_job(&job, options, error);
    if (status == KITH_OK && queries->count) status = run_job(&job, options, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < queries->count && job.keep; i++) {
        const size_t hits = gather_hits(&job, i);
        if (hits == SIZE_MAX) return fail_search(&job, KITH_E_NOMEM, error);
        write_row(&job, i, scratch->merged.data, hits);
    }
    finish_explain(&job, options, start);
    return KITH_OK;
}

kith_status kith_search_range(const kith_index *index, const kith_queries *queries, float radius,
                              const kith_search_options *options, kith_scratch *scratch, kith_ranges *ranges,
                              kith_error *error) {
    const uint64_t start = ki_now_ns();
    kith_status status = check_request(index, queries, options, scratch, error);
    if (status != KITH_OK) return status;
    if (isnan(radius)) return ki_fail(error, KITH_E_ARG, "search: the radius is not a number");
    if (!ranges) return ki_fail(error, KITH_E_ARG, "search: ranges is NULL");
    struct job job = {.index = index, .scratch = scratch, .queries = queries};
    status = start_job(&job, options, error);
    job.search.radius = radius;
    if (status == KITH_OK && queries->count) status = run_job(&job, options, error);
    if (status != KITH_OK) return status;
    const size_t n = queries->count;
    if (!area_take(&scratch->offsets, (uint64_t)n + 1, sizeof(uint64_t))) return fail_search(&job, KITH_E_NOMEM, error);
    uint64_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t hits = gather_hits(&job, i);
        if (hits == SIZE_MAX || !area_take(&scratch->ids, used + hits, sizeof(uint64_t)) ||
            !area_take(&scratch->distances, used + hits, sizeof(float)))
            return fail_search(&job, KITH_E_NOMEM, error);
        ((uint64_t *)scratch->offsets.data)[i] = used;
        for (size_t h = 0; h < hits; h++, used++) {
            ((uint64_t *)scratch->ids.data)[used] = ((ki_hit *)scratch->merged.data)[h].label;
            ((float *)scratch->distances.data)[used] = ((ki_hit *)scratch->merged.data)[h].distance;
        }
    }
    ((uint64_t *)scratch->offsets.data)[n] = used;
    *ranges = (kith_ranges){n, scratch->offsets.data, scratch->ids.data, scratch->distances.data};
    finish_explain(&job, options, start);
    return KITH_OK;
}
