/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/leg.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "quant/row_check.h"
#include "search/plans.h"

#include <math.h>
#include <string.h>

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

ki_search_work *ki_search_work_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_search_work));
}

void ki_search_work_destroy(void *memory) {
    ki_search_work *work = memory;
    if (!work) return;
    ki_area *const all[] = {&work->queries,     &work->sources, &work->ids,    &work->distances,  &work->head_hits,
                            &work->head_counts, &work->legs,    &work->hits,   &work->hit_counts, &work->ranks,
                            &work->fused,       &work->key,     &work->spread, &work->spread_rows};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]->data);
    for (size_t i = 0; i < work->workers; i++) {
        ki_desk_destroy(work->worker[i].desk);
        free(work->worker[i].area.data);
        ki_hnsw_searcher_destroy(work->worker[i].walker);
    }
    free(work->worker);
    ki_match_destroy(work->match);
    free(work);
}

/* A desk for each of so many workers. */
static int take_workers(ki_search_work *work, size_t wanted) {
    if (work->workers >= wanted) return 1;
    ki_head_worker *worker = ki_alloc_array_zeroed(wanted, sizeof(*worker));
    if (!worker) return 0;
    if (work->workers) memcpy(worker, work->worker, work->workers * sizeof(*worker));
    free(work->worker);
    work->worker = worker;
    while (work->workers < wanted && (worker[work->workers].desk = ki_desk_create())) work->workers++;
    return work->workers == wanted;
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

static kith_status refuse(size_t query, ki_row_fault fault, kith_error *error) {
    static const char *const why[] = {"", "holds a NaN or an infinity", "is longer than 2^62, the largest norm",
                                      "is a zero vector (norm below 2^-40), which has no cosine"};
    return ki_fail(error, KITH_E_DATA, "query %zu %s", query, why[fault]);
}

kith_status ki_leg_load(const ki_leg_search *leg, const kith_queries *queries, size_t first, size_t count,
                        ki_search_work *work, kith_error *error) {
    const ki_vector *vector = &leg->snapshot->generations->vector[leg->spec];
    const int bits = vector->dtype == KITH_B1;
    const size_t row = kith_row_bytes(queries->dtype, queries->dim), wide = bits ? row : vector->dim * sizeof(float);
    const size_t stride = queries->stride_bytes ? queries->stride_bytes : row;
    char *to = ki_area_take(&work->queries, count, wide);
    if (!to) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", count);
    for (size_t i = 0; i < count; i++, to += wide) {
        const char *from = (const char *)queries->data + (first + i) * stride;
        double norm2;
        if (bits || queries->dtype == KITH_F32)
            memcpy(to, from, row);
        else
            ki_distance()->to_f32[queries->dtype](from, vector->dim, (float *)(void *)to);
        if (bits) continue;
        const ki_row_fault fault = ki_row_check(vector->metric, KITH_F32, to, vector->dim, &norm2);
        if (fault != KI_ROW_FINE) return refuse(first + i, fault, error);
    }
    return KITH_OK;
}

/* ---- Places ------------------------------------------------------------------------------------------------------ */

/* One place's answers: count rows of k. */
typedef struct source {
    uint32_t place;
    const uint64_t *ids; /* segments: ends in KITH_ID_NONE where they are fewer than k */
    const float *distances;
    const ki_hit *hits; /* heads */
    const size_t *hit_count;
    size_t at; /* merging: the next of this query */
} source;

struct run {
    const ki_leg_search *leg;
    ki_search_work *work;
    size_t count, wide; /* queries, and bytes of one */
    size_t sources;
    kith_error *error;
};

/* Whether its plans are weighed: for others there is nothing to learn. */
static int is_planned(const ki_leg_search *leg, const kith_index *index) {
    const ki_ask_terms *terms = leg->terms;
    return terms->plan == KITH_PLAN_AUTO && terms->target_recall > 0 && terms->target_recall < 1 &&
           index->calibration.count;
}

/* What may be found in a segment, as the filter of a search; count 0: nothing. Its notes are held. */
static kith_status filter_of(const struct run *run, size_t place, kith_filter *filter, int *filtered) {
    const ki_leg_search *leg = run->leg;
    const ki_snapshot_sealed *at = &leg->snapshot->sealed[place];
    const ki_bits *live = at->positions[leg->spec];
    ki_match_positions positions = ki_match_everything(live);
    if (leg->match) {
        const kith_status status = ki_match_positions_of(leg->match, place, leg->spec, &positions, run->error);
        if (status != KITH_OK) return status;
    }
    *filter = (kith_filter){.index = at->sealed->index[leg->spec], .count = positions.count, .few = positions.few};
    *filtered = positions.bits || positions.few;
    if (!positions.bits) return KITH_OK;
    filter->words = positions.bits->words;
    filter->allowed = (uint64_t *)(uintptr_t)positions.bits->word; /* searches only read it */
    filter->counts = positions.counts;
    if (positions.counts && is_planned(leg, filter->index))
        filter->notes = ki_match_notes(leg->match, place, leg->spec);
    filter->later = leg->collection->maintainer && !leg->collection->options.no_background;
    return KITH_OK;
}

/* The asked plan where the segment has it. */
static kith_plan plan_of(const struct run *run, const kith_index *index, const kith_filter *filter, int filtered) {
    const ki_plan_row *row = ki_plan_find(run->leg->terms->plan);
    const ki_plan_case at = {.view = &index->view,
                             .queries = run->count,
                             .k = run->leg->k,
                             .filtered = filtered,
                             .few = filtered && filter->few && !filter->allowed,
                             .allowed = filtered ? filter->count : index->view.rows};
    return row && !row->obstacle(&at) ? row->plan : KITH_PLAN_AUTO;
}

static kith_status options_of(const struct run *run, const kith_index *index, const kith_filter *filter, int filtered,
                              kith_search_options *options) {
    const ki_ask_terms *terms = run->leg->terms;
    *options = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    options->filter = filtered ? filter : NULL;
    options->plan = terms->plan == KITH_PLAN_AUTO ? KITH_PLAN_AUTO : plan_of(run, index, filter, filtered);
    options->target_recall = terms->target_recall;
    options->cancelled = terms->cancelled;
    options->cancelled_context = terms->cancelled_context;
    if (!terms->deadline_ns) return KITH_OK;
    const uint64_t now = ki_now_ns();
    if (now >= terms->deadline_ns) return ki_fail(run->error, KITH_E_DEADLINE, "the search's time was up");
    options->timeout_ns = terms->deadline_ns - now;
    return KITH_OK;
}

static uint64_t looked_at(const kith_explain *e) {
    return e->scanned_rows + e->reranked + e->visited;
}

/* Add what one segment did. The plan told is that of the segment where most rows were looked at. */
static void tell_segment(kith_explain *sum, const kith_explain *e) {
    const kith_explain before = *sum;
    if (!sum->plan_name || looked_at(e) > looked_at(sum)) *sum = *e;
    sum->exact = e->exact && (before.exact || (!before.plan_name && !before.visited)); /* heads were walked to */
    sum->threads = e->threads > before.threads ? e->threads : before.threads;
    sum->rows = before.rows + e->rows;
    sum->allowed = before.allowed + e->allowed;
    sum->scanned_bytes = before.scanned_bytes + e->scanned_bytes;
    sum->scanned_rows = before.scanned_rows + e->scanned_rows;
    sum->probed_lists = before.probed_lists + e->probed_lists;
    sum->unusual = before.unusual + e->unusual;
    sum->level1_survivors = before.level1_survivors + e->level1_survivors;
    sum->candidates = before.candidates + e->candidates;
    sum->reranked = before.reranked + e->reranked;
    sum->visited = before.visited + e->visited;
    sum->total_ns = before.total_ns + e->total_ns;
    for (int s = 0; s < KITH_STAGES; s++) sum->stage_ns[s] = before.stage_ns[s] + e->stage_ns[s];
}

static kith_status search_segment(struct run *run, size_t place, const kith_filter *filter, int filtered, uint64_t *ids,
                                  float *distances) {
    const ki_leg_search *leg = run->leg;
    ki_sealed *sealed = leg->snapshot->sealed[place].sealed;
    const kith_index *index = sealed->index[leg->spec];
    const kith_queries queries = {.struct_size = sizeof(queries),
                                  .data = run->work->queries.data,
                                  .dtype = index->view.dtype == KITH_B1 ? KITH_B1 : KITH_F32,
                                  .count = run->count,
                                  .dim = index->view.dim};
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options;
    kith_scratch *scratch;
    kith_status status = options_of(run, index, filter, filtered, &options);
    if (status != KITH_OK) return status;
    if (leg->report) options.explain = &explain;
    status = ki_sealed_take(sealed, leg->spec, leg->terms->pool, &scratch, run->error);
    if (status != KITH_OK) return status;
    status = kith_search(index, &queries, leg->k, &options, scratch, ids, distances, run->error);
    ki_sealed_give(sealed, leg->spec, leg->terms->pool, scratch);
    if (status == KITH_OK && leg->report) tell_segment(leg->explain, &explain);
    return status;
}

static kith_status search_segments(struct run *run, source *sources) {
    const ki_leg_search *leg = run->leg;
    const uint64_t start = leg->report ? ki_now_ns() : 0;
    const uint64_t each = (uint64_t)run->count * leg->k;
    for (size_t place = 0; place < leg->snapshot->sealed_count; place++) {
        kith_filter filter;
        int filtered;
        if (!leg->snapshot->sealed[place].sealed->index[leg->spec]) continue;
        kith_status status = filter_of(run, place, &filter, &filtered);
        if (status != KITH_OK) return status;
        if (!filter.count) {
            ki_filter_notes_release(filter.notes);
            continue;
        }
        uint64_t *ids = (uint64_t *)run->work->ids.data + each * run->sources;
        float *distances = (float *)run->work->distances.data + each * run->sources;
        status = search_segment(run, place, &filter, filtered, ids, distances);
        if (filter.notes) ki_match_searched(leg->match, place, leg->spec, filter.notes);
        ki_filter_notes_release(filter.notes);
        if (status != KITH_OK) return status;
        sources[run->sources++] = (source){.place = (uint32_t)place, .ids = ids, .distances = distances};
    }
    if (!leg->report) return KITH_OK;
    if (run->sources > leg->report->segments) leg->report->segments = run->sources;
    leg->report->segments_ns += ki_now_ns() - start;
    return KITH_OK;
}

/* ---- Heads ------------------------------------------------------------------------------------------------------- */

enum { HEAD_QUERIES = 64 }; /* of one piece */

struct head_run {
    struct run *run;
    const ki_snapshot_head *at;
    const ki_bits *live;
    ki_hit *hits;
    size_t *hit_count;
    atomic_int stop;
    kith_error error; /* of the piece that stopped it */
};

static void head_piece(void *context, size_t piece, unsigned worker) {
    struct head_run *h = context;
    const struct run *run = h->run;
    const ki_leg_search *leg = run->leg;
    ki_head_worker *own = &run->work->worker[worker];
    const double target = leg->terms->plan == KITH_PLAN_AUTO ? leg->terms->target_recall : 0;
    const size_t first = piece * HEAD_QUERIES;
    if (atomic_load(&h->stop)) return;
    if (target > 0 && target < 1 && !own->walker) own->walker = ki_hnsw_searcher_create();
    const ki_limits limits = {.deadline_ns = leg->terms->deadline_ns,
                              .stop = &h->stop,
                              .cancelled = worker == 0 ? leg->terms->cancelled : NULL,
                              .cancelled_context = leg->terms->cancelled_context};
    const ki_head_search search = {.head = h->at->head,
                                   .spec = leg->spec,
                                   .count = h->at->count,
                                   .live = h->live,
                                   .queries = (const char *)run->work->queries.data + first * run->wide,
                                   .query_count = ki_min_size(HEAD_QUERIES, run->count - first),
                                   .k = leg->k,
                                   .limits = limits,
                                   .desk = own->desk,
                                   .area = &own->area,
                                   .counts = &own->counts,
                                   .target_recall = target,
                                   .walker = own->walker};
    const kith_status status = ki_head_run(&search, h->hits + first * leg->k, h->hit_count + first, NULL);
    int none = 0;
    if (status != KITH_OK) (void)atomic_compare_exchange_strong(&h->stop, &none, (int)status);
}

static kith_status fail_head(kith_status status, kith_error *error) {
    if (status == KITH_E_DEADLINE) return ki_fail(error, status, "the search's time was up");
    if (status == KITH_E_CANCELLED) return ki_fail(error, status, "the search was cancelled");
    return ki_fail(error, status, "out of memory for the search");
}

static void tell_heads(const struct run *run, const ki_leg_search *leg, size_t heads, uint64_t head_rows,
                       uint64_t start) {
    kith_ask_report *report = leg->report;
    kith_explain *explain = leg->explain;
    for (size_t w = 0; w < run->work->workers; w++) {
        const ki_counts *counts = &run->work->worker[w].counts;
        explain->scanned_bytes += counts->scanned_bytes;
        explain->scanned_rows += counts->scanned_rows;
        explain->level1_survivors += counts->level1_survivors;
        explain->candidates += counts->candidates;
        explain->reranked += counts->reranked;
        explain->visited += counts->visited;
        if (counts->visited) explain->exact = 0;
        for (int i = 0; i < KITH_STAGES; i++) explain->stage_ns[i] += counts->stage_ns[i];
    }
    if (heads > report->heads) report->heads = heads;
    if (head_rows > report->head_rows) report->head_rows = head_rows;
    report->head_ns += ki_now_ns() - start;
}

/* The live rows of a head that may be found; their number. */
static uint64_t live_of(const struct run *run, size_t number, const ki_bits **live) {
    const ki_bits *matching = run->leg->match ? ki_match_serials(run->leg->match, number) : NULL;
    *live = matching ? matching : run->leg->snapshot->head[number].live;
    return (*live)->set;
}

static kith_status search_heads(struct run *run, source *sources) {
    const ki_leg_search *leg = run->leg;
    const uint64_t start = leg->report ? ki_now_ns() : 0;
    size_t heads = 0;
    uint64_t head_rows = 0;
    for (size_t w = 0; w < run->work->workers; w++) run->work->worker[w].counts = (ki_counts){0};
    for (size_t i = 0; i < leg->snapshot->head_count; i++) {
        struct head_run h = {.run = run, .at = &leg->snapshot->head[i]};
        const uint64_t rows = live_of(run, i, &h.live);
        if (!rows || !ki_head_takes(h.at->head, leg->spec, &leg->snapshot->generations->spec[leg->spec])) continue;
        h.hits = (ki_hit *)run->work->head_hits.data + i * run->count * leg->k;
        h.hit_count = (size_t *)run->work->head_counts.data + i * run->count;
        atomic_init(&h.stop, 0);
        ki_pool_run(leg->terms->pool, (run->count + HEAD_QUERIES - 1) / HEAD_QUERIES, head_piece, &h);
        if (atomic_load(&h.stop)) return fail_head((kith_status)atomic_load(&h.stop), run->error);
        sources[run->sources++] =
            (source){.place = (uint32_t)(leg->snapshot->sealed_count + i), .hits = h.hits, .hit_count = h.hit_count};
        heads++;
        head_rows += rows;
    }
    if (leg->report) tell_heads(run, leg, heads, head_rows, start);
    return KITH_OK;
}

/* ---- Merging ----------------------------------------------------------------------------------------------------- */

/* The next hit of a source for one query; false: it has no more. */
static int next_of(const source *from, size_t query, size_t k, ki_leg_hit *hit) {
    if (from->at == k) return 0;
    if (from->hits) {
        if (from->at >= from->hit_count[query]) return 0;
        const ki_hit *at = &from->hits[query * k + from->at];
        *hit = (ki_leg_hit){at->label, at->distance, from->place, at->position};
        return 1;
    }
    *hit = (ki_leg_hit){from->ids[query * k + from->at], from->distances[query * k + from->at], from->place, 0};
    return hit->key != KITH_ID_NONE;
}

static size_t merge_query(source *sources, size_t count, size_t query, size_t k, ki_leg_hit *hits) {
    for (size_t s = 0; s < count; s++) sources[s].at = 0;
    for (size_t found = 0; found < k; found++) {
        size_t best = count;
        for (size_t s = 0; s < count; s++) {
            ki_leg_hit hit;
            if (!next_of(&sources[s], query, k, &hit)) continue;
            if (best < count && (hit.distance > hits[found].distance ||
                                 (hit.distance == hits[found].distance && hit.key > hits[found].key)))
                continue;
            hits[found] = hit;
            best = s;
        }
        if (best == count) return found;
        sources[best].at++;
    }
    return k;
}

kith_status ki_leg_run(const ki_leg_search *leg, size_t count, ki_search_work *work, ki_leg_hit *hits,
                       size_t *hit_count, kith_error *error) {
    const ki_snapshot *snapshot = leg->snapshot;
    const ki_vector *vector = &leg->snapshot->generations->vector[leg->spec];
    const size_t places = snapshot->sealed_count + snapshot->head_count, workers = ki_pool_threads(leg->terms->pool);
    const uint64_t each = (uint64_t)count * leg->k;
    struct run run = {.leg = leg, .work = work, .count = count, .error = error};
    run.wide = vector->dtype == KITH_B1 ? vector->row_bytes : vector->dim * sizeof(float);
    source *sources = ki_area_take(&work->sources, places, sizeof(*sources));
    if (!sources || !ki_area_take(&work->ids, snapshot->sealed_count * each, sizeof(uint64_t)) ||
        !ki_area_take(&work->distances, snapshot->sealed_count * each, sizeof(float)) ||
        !ki_area_take(&work->head_hits, snapshot->head_count * each, sizeof(ki_hit)) ||
        !ki_area_take(&work->head_counts, (uint64_t)snapshot->head_count * count, sizeof(size_t)) ||
        !take_workers(work, workers))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a search of %zu queries", count);
    kith_status status = search_segments(&run, sources);
    if (status == KITH_OK) status = search_heads(&run, sources);
    for (size_t q = 0; q < count && status == KITH_OK; q++)
        hit_count[q] = merge_query(sources, run.sources, q, leg->k, hits + q * leg->k);
    return status;
}

kith_status ki_leg_place(const ki_snapshot *snapshot, const ki_leg_hit *hit, int row, ki_place *place,
                         kith_error *error) {
    *place = (ki_place){SIZE_MAX, SIZE_MAX, hit->row};
    if (hit->place >= snapshot->sealed_count) {
        place->head = hit->place - snapshot->sealed_count;
        return KITH_OK;
    }
    place->sealed = hit->place;
    if (!row) return KITH_OK;
    const ki_sealed *sealed = snapshot->sealed[hit->place].sealed;
    if (ki_table_find(sealed->table, hit->key, &place->row)) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: the table lacks key %llu, which an index has", sealed->folder,
                   (unsigned long long)hit->key);
}
