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
#include "search/job.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "cpu/cpu.h"
#include "kernel/distance.h"

#include <math.h>
#include <string.h>

/* Hits of one piece that must outlive its lane's next group. */
struct kept {
    ki_area hits; /* ki_hit */
    ki_area ends; /* size_t, one a query */
    size_t used;
};

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
    free(scratch->floats.data);
    free(scratch->poor.data);
    ki_ivf_destroy(scratch->ivf);
    free(scratch);
}

static int take_kept(kith_scratch *scratch, size_t pieces) {
    if (!ki_area_grow(&scratch->kept, pieces, sizeof(struct kept))) return 0;
    struct kept *kept = scratch->kept.data;
    for (; scratch->kept_count < pieces; scratch->kept_count++) kept[scratch->kept_count] = (struct kept){0};
    for (size_t i = 0; i < pieces; i++) kept[i].used = 0;
    return 1;
}

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

static void note_bad_query(ki_job *job, size_t query, ki_row_fault fault) {
    const uint64_t bad = (uint64_t)query * KI_FAULTS + fault;
    uint64_t lowest = atomic_load(&job->bad);
    while (bad < lowest && !atomic_compare_exchange_weak(&job->bad, &lowest, bad)) {
    }
    ki_job_stop(job, KITH_E_DATA);
}

static size_t query_number(const ki_job *job, size_t i) {
    return job->which ? job->which[i] : i;
}

int ki_job_check(ki_job *job, size_t first, size_t count, const float *rows, size_t stride) {
    const ki_view *view = &job->index->view;
    for (size_t i = 0; i < count; i++) {
        double norm2;
        const ki_row_fault fault = ki_row_check(view->metric, KITH_F32, rows + i * stride, view->dim, &norm2);
        if (fault == KI_ROW_FINE) continue;
        note_bad_query(job, query_number(job, first + i), fault);
        return 0;
    }
    return 1;
}

int ki_job_load(ki_job *job, size_t first, size_t count, void *to) {
    const ki_view *view = &job->index->view;
    const size_t row = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    uint8_t *out = to;
    for (size_t i = 0; i < count; i++, out += row) {
        const uint8_t *from = (const uint8_t *)job->queries->data + query_number(job, first + i) * job->stride;
        if (view->dtype == KITH_B1)
            memcpy(out, from, row);
        else
            ki_distance()->to_f32[job->queries->dtype](from, view->dim, (float *)(void *)out);
    }
    return view->dtype == KITH_B1 || ki_job_check(job, first, count, to, view->dim);
}

static int keep_hits(struct kept *kept, const ki_lane *lane, size_t count) {
    if (!ki_area_grow(&kept->ends, count, sizeof(size_t))) return 0;
    for (size_t i = 0; i < count; i++) {
        size_t hits;
        const ki_hit *from = ki_lane_hits(lane, i, &hits);
        if (!ki_area_grow(&kept->hits, (uint64_t)kept->used + hits, sizeof(ki_hit))) return 0;
        if (hits) memcpy((ki_hit *)kept->hits.data + kept->used, from, hits * sizeof(ki_hit));
        kept->used += hits;
        ((size_t *)kept->ends.data)[i] = kept->used;
    }
    return 1;
}

void ki_job_write(ki_job *job, size_t i, const ki_hit *hits, size_t count) {
    const size_t query = query_number(job, i);
    uint64_t *ids = job->ids + query * job->k;
    float *distances = job->distances + query * job->k;
    for (size_t h = 0; h < job->k; h++) {
        ids[h] = h < count ? hits[h].label : KITH_ID_NONE;
        distances[h] = h < count ? hits[h].distance : INFINITY;
    }
    if (job->poor && count < ki_min_u64(job->k, job->allowed))
        job->poor[atomic_fetch_add(&job->poor_count, 1)] = (uint32_t)i;
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
    if (stop && (stop != KITH_E_DATA || query_number(job, first) > atomic_load(&job->bad) / KI_FAULTS)) return;
    if (!ki_area_grow(&worker->queries, count * row, 1)) {
        atomic_store(&job->stop, KITH_E_NOMEM);
        return;
    }
    if (!ki_job_load(job, first, count, worker->queries.data) || stop) return;
    const kith_status status =
        ki_flat_run(&job->search, worker->lane, worker->queries.data, count, blocks * range / job->ranges,
                    blocks * (range + 1) / job->ranges, shared_thresholds(job, first), number, &worker->counts);
    if (status != KITH_OK) {
        ki_job_stop(job, status);
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
        ki_job_write(job, first + i, from, hits);
    }
}

/* ---- The request ------------------------------------------------------------------------------------------------- */

static kith_status check_request(const kith_index *index, const kith_queries *queries,
                                 const kith_search_options *options, const kith_scratch *scratch, kith_error *error) {
    if (!index || !queries || !scratch) return ki_fail(error, KITH_E_ARG, "search: index, queries or scratch is NULL");
    if (queries->struct_size != sizeof(*queries) || (options && options->struct_size != sizeof(*options)))
        return ki_fail(error, KITH_E_ARG, "search: a struct was not made by its KITH_..._INIT");
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
    if (options && options->filter && options->filter->index != index)
        return ki_fail(error, KITH_E_ARG, "search: the filter belongs to another index");
    return KITH_OK;
}

/* The exact plan by what a vector costs in each. Where bounds let most vectors through, as the build found out, nothing
 * beats scoring them as they come. */
static kith_plan exact_plan(const kith_index *index, const kith_queries *queries, const kith_filter *filter) {
    const ki_view *view = &index->view;
    const size_t count = queries->count;
    if (!view->full.blocks) return filter && view->originals ? KITH_PLAN_GATHER : KITH_PLAN_PLAIN;
    const double scan_ns = ki_scan_ns(view->dim, view->survivors, count);
    const double plain_ns = view->originals ? ki_plain_ns(view->dim, view->row_bytes, count) : INFINITY;
    const double least_ns = scan_ns < plain_ns ? scan_ns : plain_ns;
    const double gather_ns = ki_gather_ns(view->dim, count) * (filter ? (double)filter->count : 0);
    if (filter && view->originals && gather_ns < least_ns * (double)view->rows) return KITH_PLAN_GATHER;
    if (view->survivors > 0 && plain_ns < scan_ns) return KITH_PLAN_PLAIN;
    return view->level1.blocks ? KITH_PLAN_LEVELS : KITH_PLAN_SCAN;
}

/* Why a plan that was asked for cannot run, or NULL. */
static const char *plan_obstacle(const kith_index *index, kith_plan plan, const kith_search_options *options,
                                 size_t k) {
    const ki_view *view = &index->view;
    switch (plan) {
    case KITH_PLAN_GATHER:
        if (!options->filter) return "there is no filter";
        return view->originals ? NULL : "the index was built without originals";
    case KITH_PLAN_PLAIN:
        return view->originals ? NULL : "the index was built without originals";
    case KITH_PLAN_SCAN:
        return view->full.blocks ? NULL : "bit vectors have no codes";
    case KITH_PLAN_LEVELS:
        return view->level1.blocks ? NULL : "the index has no first level";
    case KITH_PLAN_IVF:
        if (k == 0) return "a range search has no lists to stop at";
        if (options->code == KITH_SCAN_SECOND && view->second.spec.kind == KI_SECOND_NONE)
            return "the index has no second code";
        if (options->code == KITH_SCAN_FIRST && !view->level1.blocks) return "the index has no first level";
        return view->lists.count > 1 ? NULL : "the index has one list";
    default:
        return NULL;
    }
}

static kith_status check_options(const kith_search_options *options, size_t k, kith_error *error) {
    if ((unsigned)options->plan > KITH_PLAN_IVF)
        return ki_fail(error, KITH_E_ARG, "search: plan %d is unknown", (int)options->plan);
    if ((unsigned)options->code > KITH_SCAN_FIRST)
        return ki_fail(error, KITH_E_ARG, "search: code %d is unknown", (int)options->code);
    if (!(options->target_recall >= 0 && options->target_recall <= 1))
        return ki_fail(error, KITH_E_ARG, "search: target_recall is %g, 0 to 1 are possible", options->target_recall);
    if (options->rerank && options->rerank < k)
        return ki_fail(error, KITH_E_ARG, "search: rerank is %zu, less than k, which is %zu", options->rerank, k);
    return KITH_OK;
}

/* Parameters of the plan ivf: those of the options before those of the planner. */
static void set_ivf(ki_job *job, const kith_search_options *options) {
    enum { NPROBE = 16, RERANK_MAX = 4 * KITH_K_MAX };
    const int planned = job->plan == KITH_PLAN_IVF && job->answer.chosen.plan == KITH_PLAN_IVF;
    const ki_choice *chosen = &job->answer.chosen;
    const int wished = options->plan == KITH_PLAN_IVF;
    const size_t rerank = wished && options->rerank ? options->rerank : planned ? chosen->rerank : 2 * job->k;
    const kith_scan_code code = planned ? chosen->code : options->code;
    job->ivf.nprobe = planned ? chosen->nprobe : options->nprobe ? options->nprobe : NPROBE;
    job->ivf.rerank = ki_min_size(rerank, RERANK_MAX);
    job->ivf.code = code == KITH_SCAN_SECOND || code == KITH_SCAN_FIRST ? code : KITH_SCAN_INT8;
    job->levels = job->plan == KITH_PLAN_IVF && code == KITH_SCAN_LEVELS;
    ki_careful careful = {0};
    if (planned) careful = (ki_careful){job->answer.careful_below, job->answer.careful_nprobe};
    if (!job->levels) job->ivf.careful = careful;
    if (!job->levels) return;
    job->search.careful = careful;
    job->search.nprobe = job->ivf.nprobe;
    job->search.plan = job->index->view.level1.blocks ? KITH_PLAN_LEVELS : KITH_PLAN_SCAN;
}

/* Leaves job->answer zero where the options say all. */
static void ask_planner(ki_job *job, const kith_search_options *options, kith_plan exact) {
    const ki_view *view = &job->index->view;
    const int must_be_ivf = options->plan == KITH_PLAN_IVF;
    if (must_be_ivf ? options->nprobe || !(options->target_recall > 0) : options->plan != KITH_PLAN_AUTO) return;
    const ki_question question = {.calibration = &job->index->calibration,
                                  .k = job->k,
                                  .count = job->queries->count,
                                  .lists = view->lists.count,
                                  .dim = view->dim,
                                  .rows = view->rows,
                                  .allowed = job->allowed,
                                  .target = options->target_recall,
                                  .exact = exact,
                                  .must_be_ivf = must_be_ivf,
                                  .code = options->code};
    ki_plan(&question, &job->answer);
}

static kith_status choose_plan(ki_job *job, const kith_search_options *options, kith_error *error) {
    static const kith_search_options defaults = KITH_SEARCH_OPTIONS_INIT;
    if (!options) options = &defaults;
    const kith_status status = check_options(options, job->k, error);
    if (status != KITH_OK) return status;
    const char *obstacle = plan_obstacle(job->index, options->plan, options, job->k);
    if (obstacle) return ki_fail(error, KITH_E_UNSUPPORTED, "search: the plan asked for cannot run: %s", obstacle);
    const kith_plan exact = exact_plan(job->index, job->queries, options->filter);
    ask_planner(job, options, exact);
    job->plan = options->plan == KITH_PLAN_AUTO ? job->answer.chosen.plan : options->plan;
    job->search.plan = job->plan == KITH_PLAN_IVF ? exact : job->plan;
    set_ivf(job, options);
    return KITH_OK;
}

static const char *plan_name(kith_plan plan) {
    static const char *const names[] = {"auto", "plain", "scan", "levels", "gather", "ivf"};
    return names[plan];
}

static size_t pieces_for(ki_job *job) {
    const size_t count = job->count, threads = job->scratch->threads, width = ki_tile()->width;
    const size_t blocks = (size_t)((job->index->view.rows + KI_BLOCK - 1) / KI_BLOCK);
    const size_t most = ki_flat_group(&job->index->view, job->k);
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

static kith_status fail_search(const ki_job *job, kith_status status, kith_error *error) {
    static const char *const why[] = {"", "holds a NaN or an infinity", "is longer than 2^62, the largest norm",
                                      "is a zero vector (norm below 2^-40), which has no cosine"};
    switch (status) {
    case KITH_E_DATA:
        return ki_fail(error, status, "query %llu %s", (unsigned long long)(atomic_load(&job->bad) / KI_FAULTS),
                       why[atomic_load(&job->bad) % KI_FAULTS]);
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

/* Hits of one query in all ranges of its group, gathered into scratch->merged; the count, or SIZE_MAX on no memory. */
static size_t gather_hits(const ki_job *job, size_t query) {
    kith_scratch *scratch = job->scratch;
    const size_t group = query / job->group, inside = query % job->group;
    size_t used = 0;
    for (size_t range = 0; range < job->ranges; range++) {
        const struct kept *kept = (struct kept *)scratch->kept.data + group * job->ranges + range;
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

kith_status ki_job_exact(ki_job *job, size_t first, size_t count) {
    kith_scratch *scratch = job->scratch;
    job->first = first;
    job->count = count;
    const size_t pieces = pieces_for(job);
    job->keep = job->k == 0 || job->ranges > 1;
    if (job->keep && !take_kept(scratch, pieces)) return KITH_E_NOMEM;
    if (job->ranges > 1 && !job->seeded) {
        if (!ki_area_grow(&scratch->shared, count, sizeof(_Atomic float))) return KITH_E_NOMEM;
        for (size_t i = 0; i < count; i++) atomic_init((_Atomic float *)scratch->shared.data + i, -INFINITY);
    }
    ki_pool_run(scratch->pool, pieces, run_piece, job);
    if (atomic_load(&job->stop)) return (kith_status)atomic_load(&job->stop);
    for (size_t i = 0; i < count && job->keep && job->k; i++) {
        const size_t hits = gather_hits(job, i);
        if (hits == SIZE_MAX) return KITH_E_NOMEM;
        ki_job_write(job, first + i, scratch->merged.data, hits);
    }
    return KITH_OK;
}

static kith_status run_job(ki_job *job, kith_error *error) {
    for (unsigned i = 0; i < job->scratch->threads; i++) job->scratch->workers[i].counts = (ki_counts){0};
    kith_status status = ki_job_run(job);
    if (status == KITH_OK && ki_segment_damaged(job->index->segment)) status = KITH_E_CORRUPT;
    return status == KITH_OK ? KITH_OK : fail_search(job, status, error);
}

static void explain(const ki_job *job, uint64_t start, kith_explain *out) {
    const kith_scratch *scratch = job->scratch;
    kith_explain e = KITH_EXPLAIN_INIT;
    e.plan = job->plan;
    e.plan_name = plan_name(e.plan);
    e.tier = ki_cpu_tier(ki_cpu_features());
    e.exact = job->index->view.originals != NULL && job->plan != KITH_PLAN_IVF;
    if (job->plan == KITH_PLAN_IVF) {
        e.nprobe = ki_min_size(job->levels ? job->search.nprobe : job->ivf.nprobe, job->index->view.lists.count);
        e.rerank = job->levels ? 0 : job->ivf.rerank;
        e.code = job->levels ? KITH_SCAN_LEVELS : job->ivf.code;
    }
    for (size_t i = 0; i < job->answer.considered_count; i++) {
        const ki_choice *choice = &job->answer.considered[i];
        e.considered[i].plan = choice->plan;
        e.considered[i].code = choice->code;
        e.considered[i].nprobe = choice->nprobe;
        e.considered[i].rerank = choice->rerank;
        e.considered[i].query_ns = choice->query_ns;
        e.considered[i].recall = choice->recall;
        e.considered[i].why = choice->why;
    }
    e.considered_count = job->answer.considered_count;
    e.threads = scratch->threads;
    e.queries = job->queries->count;
    e.rows = job->index->view.rows;
    e.allowed = job->allowed;
    for (unsigned i = 0; i < scratch->threads; i++) {
        const ki_counts *counts = &scratch->workers[i].counts;
        e.scanned_bytes += counts->scanned_bytes;
        e.scanned_rows += counts->scanned_rows;
        e.probed_lists += counts->probed_lists;
        e.unusual += counts->unusual;
        e.level1_survivors += counts->level1_survivors;
        e.candidates += counts->candidates;
        e.reranked += counts->reranked;
        for (int s = 0; s < KITH_STAGES; s++) e.stage_ns[s] += counts->stage_ns[s];
    }
    e.total_ns = ki_now_ns() - start;
    *out = e;
}

static ki_limits limits_of(ki_job *job, const kith_search_options *options) {
    ki_limits limits = {.stop = &job->stop};
    if (!options) return limits;
    if (options->timeout_ns && !ki_add(ki_now_ns(), options->timeout_ns, &limits.deadline_ns))
        limits.deadline_ns = UINT64_MAX;
    limits.cancelled = options->cancelled;
    limits.cancelled_context = options->cancelled_context;
    return limits;
}

static kith_status start_job(ki_job *job, const kith_search_options *options, kith_error *error) {
    const ki_view *view = &job->index->view;
    job->stride = job->queries->stride_bytes ? job->queries->stride_bytes
                                             : kith_row_bytes(job->queries->dtype, job->queries->dim);
    atomic_init(&job->stop, 0);
    atomic_init(&job->bad, UINT64_MAX);
    const ki_limits limits = limits_of(job, options);
    job->search = (ki_flat_search){.view = view, .k = job->k, .limits = limits};
    job->ivf = (ki_ivf_search){.view = view, .k = job->k, .round_bytes = job->scratch->round_bytes, .limits = limits};
    job->allowed = view->rows;
    if (options) {
        job->search.allowed = job->ivf.allowed = options->filter ? options->filter->allowed : NULL;
        if (options->filter) job->allowed = options->filter->count;
    }
    return choose_plan(job, options, error);
}

static void finish_explain(const ki_job *job, const kith_search_options *options, uint64_t start) {
    if (!options || !options->explain || options->explain->struct_size != sizeof(kith_explain)) return;
    explain(job, start, options->explain);
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
    ki_job job = {.index = index, .scratch = scratch, .queries = queries, .k = k, .ids = ids, .distances = distances};
    status = start_job(&job, options, error);
    if (status == KITH_OK && queries->count) status = run_job(&job, error);
    if (status != KITH_OK) return status;
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
    ki_job job = {.index = index, .scratch = scratch, .queries = queries};
    status = start_job(&job, options, error);
    job.search.radius = radius;
    if (status == KITH_OK && queries->count) status = run_job(&job, error);
    if (status != KITH_OK) return status;
    const size_t n = queries->count;
    if (!ki_area_grow(&scratch->offsets, (uint64_t)n + 1, sizeof(uint64_t)))
        return fail_search(&job, KITH_E_NOMEM, error);
    uint64_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t hits = gather_hits(&job, i);
        if (hits == SIZE_MAX || !ki_area_grow(&scratch->ids, used + hits, sizeof(uint64_t)) ||
            !ki_area_grow(&scratch->distances, used + hits, sizeof(float)))
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
