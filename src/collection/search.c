/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_collection_search: a request is checked, a state is taken and held, its generation says in which slots the
 * asked vectors lie, each leg is searched in rounds that bound
 * memory (leg.h), several are fused (fuse.h), and what was found goes into the result with what was asked for beside
 * it. By a profile: its interests are the legs (recommend.h). Where the same was asked of the same before, the answer
 * may be kept (page.h). */
#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/status.h"
#include "collection/fuse.h"
#include "collection/page.h"
#include "collection/recommend.h"
#include "collection/result.h"
#include "log/follow.h"
#include "match/match.h"
#include "search/plans.h"
#include "state/tenants.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEGS_MAX = KITH_VECTORS_MAX, DEFAULT_WAIT_SECONDS = 10 };
static const uint64_t ROUND_BYTES = (uint64_t)64 << 20; /* hits of one round, about */

typedef ki_asked_leg leg;

struct search {
    kith_collection *collection;
    kith_ask ask;
    kith_ask_report told, *report; /* NULL: nobody wants to know */
    kith_explain explain;
    ki_search_work *work;
    leg *legs;
    size_t leg_count;
    size_t queries, base, depth; /* base: hits of each leg and query; depth: with those that are left out */
    ki_recommend by;             /* a profile */
    ki_ask_terms terms;
    ki_page_search page;
    int pageable; /* its answer may be kept, or have been */
    int wake;     /* background work may have something to do */
    ki_snapshot *snapshot;
    const ki_generation *generation; /* that is asked */
    ki_match *match;
    kith_result *result;
    kith_error *error;
};

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

static kith_status check_ask(const struct search *s) {
    const kith_ask *ask = &s->ask;
    const size_t legs = ask->legs ? ask->leg_count : 0;
    if (ask->profile ? legs > 1 : legs == 0 || legs > LEGS_MAX)
        return ki_fail(s->error, KITH_E_ARG, "search: %zu legs, %s are possible", legs,
                       ask->profile ? "with a profile 0 or 1" : "1 to 64");
    if (ask->k == 0 || ask->k > KITH_K_MAX)
        return ki_fail(s->error, KITH_E_ARG, "search: k is %zu, 1 to %u are possible", ask->k, KITH_K_MAX);
    if (!(ask->target_recall >= 0 && ask->target_recall <= 1))
        return ki_fail(s->error, KITH_E_ARG, "search: target_recall is %g, 0 to 1 are possible", ask->target_recall);
    const ki_plan_row *row = ki_plan_find(ask->plan);
    if (ask->plan != KITH_PLAN_AUTO && (!row || !row->exact))
        return ki_fail(s->error, KITH_E_ARG,
                       "search: plan %s cannot be asked of a collection, only auto and exact ones: less than exact "
                       "answers come by target_recall",
                       kith_plan_name(ask->plan));
    if (!(ask->blend >= 0 && ask->blend <= 1) || !(ask->diversity >= 0 && ask->diversity <= 1))
        return ki_fail(s->error, KITH_E_ARG, "search: blend is %g and diversity %g, 0 to 1 are possible", ask->blend,
                       ask->diversity);
    if (!ask->profile && (ask->blend > 0 || ask->leave_out_seen))
        return ki_fail(s->error, KITH_E_ARG, "search: %s needs a profile",
                       ask->leave_out_seen ? "leave_out_seen" : "blend");
    return KITH_OK;
}

/* Which generation of the state is asked. */
static kith_status choose_generation(struct search *s) {
    const kith_ask *ask = &s->ask;
    const ki_generations *generations = s->snapshot->generations;
    kith_status status = KITH_OK;
    if (ask->generation)
        status = ki_generations_get(generations, ask->generation, &s->generation, s->error);
    else
        s->generation = ki_generations_of(generations, ask->user);
    if (status != KITH_OK) return status;
    s->told.generation = s->generation->number;
    if (ask->model && strcmp(ask->model, s->generation->model) != 0)
        return ki_fail(s->error, KITH_E_ARG,
                       "search: the queries are of the model \"%.150s\", the vectors of generation %u are of \"%s\"",
                       ask->model, (unsigned)s->generation->number, s->generation->model);
    return KITH_OK;
}

/* " of generation 2", where there are several; for messages. */
enum { OF_TEXT = 32 };
static const char *of_generation(const struct search *s, char text[OF_TEXT]) {
    text[0] = 0;
    if (s->snapshot->generations->count > 1)
        snprintf(text, OF_TEXT, " of generation %u", (unsigned)s->generation->number);
    return text;
}

static kith_status check_queries(const struct search *s, const kith_queries *queries, const ki_vector *vector,
                                 size_t number) {
    kith_error *error = s->error;
    char of[OF_TEXT];
    const size_t row = kith_row_bytes(queries->dtype, queries->dim);
    if (queries->count == 0) return KITH_OK;
    if (queries->count > KITH_QUERIES_MAX)
        return ki_fail(error, KITH_E_ARG, "search: %zu queries in one call, at most %llu are taken", queries->count,
                       (unsigned long long)KITH_QUERIES_MAX);
    if (!queries->data) return ki_fail(error, KITH_E_ARG, "search: the data of leg %zu's queries is NULL", number);
    if (queries->dim != vector->dim)
        return ki_fail(error, KITH_E_ARG, "search: queries have %zu dimensions, vector \"%s\"%s has %zu", queries->dim,
                       vector->name, of_generation(s, of), vector->dim);
    if (!row || (queries->dtype == KITH_B1) != (vector->dtype == KITH_B1))
        return ki_fail(error, KITH_E_ARG, "search: %s queries do not fit vector \"%s\"%s of %s",
                       kith_dtype_name(queries->dtype), vector->name, of_generation(s, of),
                       kith_dtype_name(vector->dtype));
    if (queries->stride_bytes && queries->stride_bytes < row && queries->count > 1)
        return ki_fail(error, KITH_E_ARG, "search: a stride of %zu bytes is less than a row of %zu",
                       queries->stride_bytes, row);
    return KITH_OK;
}

static kith_status resolve_leg(struct search *s, size_t number) {
    const kith_leg *from = &s->ask.legs[number];
    leg *to = &s->legs[number];
    *to = (leg){.queries = KITH_QUERIES_INIT, .weight = from->weight != 0 ? from->weight : 1};
    if (!from->queries) return ki_fail(s->error, KITH_E_ARG, "search: leg %zu has no queries", number);
    if (!(to->weight > 0) || !isfinite(to->weight))
        return ki_fail(s->error, KITH_E_ARG, "search: the weight of leg %zu is %g, which is no positive number", number,
                       from->weight);
    kith_status status = ki_grown_read(KI_GROWN_QUERIES, from->queries, &to->queries, s->error);
    const ki_generations *generations = s->snapshot->generations;
    if (status == KITH_OK) status = ki_generations_slot(generations, s->generation, from->vector, &to->spec, s->error);
    if (status == KITH_OK) status = check_queries(s, &to->queries, &generations->vector[to->spec], number);
    if (status == KITH_OK && to->queries.count != s->legs[0].queries.count)
        return ki_fail(s->error, KITH_E_ARG, "search: leg %zu has %zu queries, leg 0 has %zu", number,
                       to->queries.count, s->legs[0].queries.count);
    return status;
}

static ki_search_work *work_of(kith_result *result) {
    if (!result->work) {
        result->work = ki_search_work_create();
        result->end_work = ki_search_work_destroy;
    }
    return result->work;
}

/* The profile's interests become the legs; a leg that was given is the context. */
static kith_status aim(struct search *s) {
    const float *context = NULL;
    const int given = s->ask.legs && s->ask.leg_count;
    size_t slot = 0;
    kith_status status = ki_recommend_begin(&s->by, s->collection, s->snapshot, s->generation, &s->ask, s->error);
    if (status == KITH_OK) slot = s->generation->slot[s->by.profile.vector];
    if (status == KITH_OK && given) status = resolve_leg(s, 0);
    if (status == KITH_OK && given && s->legs[0].spec != slot)
        status = ki_fail(s->error, KITH_E_ARG, "search: the context is of another vector than the profile \"%s\"",
                         s->ask.profile);
    if (status == KITH_OK && given && s->legs[0].queries.count != 1)
        status = ki_fail(s->error, KITH_E_ARG, "search: %zu queries as the context of a profile, 1 is possible",
                         s->legs[0].queries.count);
    if (status == KITH_OK && given) {
        const ki_leg_search search = {.collection = s->collection, .snapshot = s->snapshot, .spec = slot};
        status = ki_leg_load(&search, &s->legs[0].queries, 0, 1, s->work, s->error);
        context = s->work->queries.data;
    }
    const double blend = s->ask.blend > 0 ? s->ask.blend : 0.5;
    if (status == KITH_OK) status = ki_recommend_aim(&s->by, context, blend, s->ask.profile, s->error);
    s->leg_count = s->by.legs;
    for (size_t i = 0; i < s->leg_count && status == KITH_OK; i++) {
        s->legs[i] = (leg){.queries = KITH_QUERIES_INIT, .spec = slot, .weight = s->by.weight[i]};
        s->legs[i].queries.data = s->by.queries + i * s->by.profile.dim;
        s->legs[i].queries.dtype = KITH_F32;
        s->legs[i].queries.count = 1;
        s->legs[i].queries.dim = s->by.profile.dim;
    }
    return status;
}

/* How many hits are looked at. */
static void set_depth(struct search *s) {
    const size_t seen = s->by.seen_count;
    s->queries = s->legs[0].queries.count;
    s->base = s->leg_count > 1 || s->ask.diversity > 0 ? ki_fuse_depth(s->ask.k) : s->ask.k;
    s->depth = ki_min_size(s->base + ki_min_size(seen, s->base), KITH_K_MAX);
}

/* The caller's structs, checked as far as that goes without a state; nothing is done yet. */
static kith_status read_ask(struct search *s, const kith_ask *ask) {
    kith_status status = ki_grown_read(KI_GROWN_ASK, ask, &s->ask, s->error);
    if (status == KITH_OK) status = ki_grown_check(KI_GROWN_ASK_REPORT, s->ask.report, s->error);
    if (status == KITH_OK) status = ki_grown_check(KI_GROWN_EXPLAIN, s->ask.explain, s->error);
    return status == KITH_OK ? check_ask(s) : status;
}

/* With the state held: legs that fit it. */
static kith_status resolve(struct search *s) {
    kith_status status = choose_generation(s);
    if (status != KITH_OK) return status;
    s->leg_count = s->ask.profile ? KITH_INTERESTS_MAX : s->ask.leg_count;
    s->work = work_of(s->result);
    s->legs = s->work ? ki_area_take(&s->work->legs, s->leg_count, sizeof(leg)) : NULL;
    if (!s->legs) return ki_fail(s->error, KITH_E_NOMEM, "out of memory for a search");
    if (s->ask.profile) status = aim(s);
    for (size_t i = 0; !s->ask.profile && i < s->leg_count && status == KITH_OK; i++) status = resolve_leg(s, i);
    if (status != KITH_OK) return status;
    const ki_vector *vector = &s->snapshot->generations->vector[s->legs[0].spec];
    if (s->ask.diversity > 0 && vector->dtype == KITH_B1)
        return ki_fail(s->error, KITH_E_ARG, "search: vector \"%s\" is of bits: diversity needs numbers", vector->name);
    set_depth(s);
    s->page.legs = s->legs;
    s->page.leg_count = s->leg_count;
    s->page.profile = s->by.serial;
    s->page.memory = &s->work->key;
    s->pageable = ki_page_may_be(&s->page);
    s->report = s->ask.report || s->ask.explain || s->pageable ? &s->told : NULL;
    return KITH_OK;
}

static void set_terms(struct search *s, uint64_t start) {
    s->terms = (ki_ask_terms){.target_recall = s->ask.target_recall,
                              .plan = s->ask.plan,
                              .cancelled = s->ask.cancelled,
                              .cancelled_context = s->ask.cancelled_context,
                              .pool = s->queries < KI_POOL_QUERIES ? NULL : s->collection->pool};
    if (s->ask.timeout_ns && !ki_add(start, s->ask.timeout_ns, &s->terms.deadline_ns))
        s->terms.deadline_ns = UINT64_MAX;
}

/* ---- The state --------------------------------------------------------------------------------------------------- */

static kith_status take_state(struct search *s) {
    kith_collection *collection = s->collection;
    s->page = (ki_page_search){.collection = collection, .ask = &s->ask};
    ki_page_begin(&s->page);
    kith_status status = ki_collection_refresh(collection, s->error);
    if (status == KITH_OK && s->ask.min_version)
        status = ki_collection_wait(collection, s->ask.min_version,
                                    s->ask.timeout_ns ? s->ask.timeout_ns
                                                      : (uint64_t)DEFAULT_WAIT_SECONDS * 1000 * 1000 * 1000,
                                    s->ask.cancelled, s->ask.cancelled_context, s->error);
    if (status == KITH_OK) status = ki_collection_expire(collection, s->error);
    if (status != KITH_OK) return status;
    s->snapshot = ki_snapshot_pin(collection);
    return KITH_OK;
}

static kith_status match_state(struct search *s) {
    kith_collection *collection = s->collection;
    if (!s->ask.filter && !s->ask.segment) return KITH_OK;
    const uint64_t start = ki_now_ns();
    atomic_int stop;
    atomic_init(&stop, 0);
    const ki_limits limits = {s->terms.deadline_ns, &stop, s->terms.cancelled, s->terms.cancelled_context};
    const kith_status status =
        ki_match_renew(&s->work->match, collection, s->snapshot, s->ask.filter, s->ask.segment, &limits, s->error);
    if (status == KITH_OK) s->match = s->work->match;
    if (status == KITH_OK && s->report) s->told.filter_ns = ki_now_ns() - start;
    return status;
}

static void tell_state(struct search *s) {
    if (!s->report) return;
    s->told.version = s->snapshot->version;
    s->told.items = s->told.matched = s->snapshot->items;
    s->told.exact = 1;
    s->told.filter_how = "";
    if (s->match) {
        s->told.matched = ki_match_count(s->match);
        s->told.read_payloads = ki_match_read_payloads(s->match);
        s->told.filter_how = s->told.read_payloads ? "payloads" : "indexed";
    }
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------ */

/* Queries of one round. */
static size_t round_of(const struct search *s) {
    const uint64_t places = s->snapshot->sealed_count + s->snapshot->head_count + s->leg_count;
    const uint64_t fit = ROUND_BYTES / (places * s->depth * sizeof(ki_leg_hit));
    return ki_min_size(s->queries, fit < KI_POOL_QUERIES ? KI_POOL_QUERIES : (size_t)fit);
}

static kith_status search_legs(struct search *s, size_t first, size_t count) {
    const uint64_t each = (uint64_t)count * s->depth;
    ki_leg_hit *hits = ki_area_take(&s->work->hits, each * s->leg_count, sizeof(*hits));
    size_t *hit_count = ki_area_take(&s->work->hit_counts, (uint64_t)count * s->leg_count, sizeof(size_t));
    if (!hits || !hit_count) return ki_fail(s->error, KITH_E_NOMEM, "out of memory for a search of %zu queries", count);
    for (size_t i = 0; i < s->leg_count; i++) {
        const ki_leg_search search = {.collection = s->collection,
                                      .snapshot = s->snapshot,
                                      .match = s->match,
                                      .spec = s->legs[i].spec,
                                      .k = s->depth,
                                      .terms = &s->terms,
                                      .report = s->report,
                                      .explain = &s->explain};
        kith_status status = ki_leg_load(&search, &s->legs[i].queries, first, count, s->work, s->error);
        if (status == KITH_OK)
            status = ki_leg_run(&search, count, s->work, hits + i * each, hit_count + i * count, s->error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* Take what the profile has seen from the hits of all legs, of one query. *lacks: some leg has fewer than `base` now,
 * and would have more if it went deeper. */
static kith_status leave_out(struct search *s, int *lacks) {
    ki_leg_hit *hits = s->work->hits.data;
    size_t *hit_count = s->work->hit_counts.data;
    *lacks = 0;
    for (size_t i = 0; i < s->leg_count; i++) {
        const int full = hit_count[i] == s->depth;
        const size_t kept = ki_recommend_leave_out(&s->by, hits + i * s->depth, hit_count[i]);
        *lacks |= full && kept < s->base && s->depth < KITH_K_MAX;
        if (full && kept < s->ask.k && s->depth == KITH_K_MAX)
            return ki_fail(s->error, KITH_E_LIMIT,
                           "search: only %zu of the %u nearest items are not seen yet, and no search looks at more",
                           kept, KITH_K_MAX);
        hit_count[i] = ki_min_size(kept, s->base);
    }
    return KITH_OK;
}

/* Those who have seen much have seen what is near: the search goes deeper until there is enough. */
static kith_status search_round(struct search *s, size_t first, size_t count) {
    int lacks = 0;
    do {
        if (lacks) s->depth = ki_min_size(s->depth * 4, KITH_K_MAX);
        kith_status status = search_legs(s, first, count);
        if (status == KITH_OK && s->by.seen_count) status = leave_out(s, &lacks);
        if (status != KITH_OK) return status;
    } while (lacks);
    return KITH_OK;
}

/* The hits of one query of a round: those of the only leg, or of all fused. NULL: no memory. */
static const ki_leg_hit *ranked(struct search *s, size_t query, size_t count, size_t *found) {
    const ki_leg_hit *hits = s->work->hits.data;
    const size_t *hit_count = s->work->hit_counts.data, legs = s->leg_count;
    const size_t wanted = s->ask.diversity > 0 ? s->base : s->ask.k;
    *found = hit_count[query];
    if (legs == 1) return hits + query * s->depth;
    ki_ranking rankings[LEGS_MAX];
    for (size_t i = 0; i < legs; i++)
        rankings[i] =
            (ki_ranking){hits + (i * count + query) * s->depth, hit_count[i * count + query], s->legs[i].weight};
    ki_leg_hit *fused = ki_area_take(&s->work->fused, wanted, sizeof(*fused));
    const double constant = s->ask.profile ? KI_FUSE_SHARES : KI_FUSE_RANKS;
    *found = fused ? ki_fuse(rankings, legs, constant, wanted, &s->work->ranks, fused) : SIZE_MAX;
    return *found == SIZE_MAX ? NULL : fused;
}

/* The same; where they shall differ, those that were chosen among them. */
static kith_status hits_of(struct search *s, size_t query, size_t count, const ki_leg_hit **hits, size_t *found) {
    *hits = ranked(s, query, count, found);
    if (!*hits) return ki_fail(s->error, KITH_E_NOMEM, "out of memory for %zu legs", s->leg_count);
    if (!(s->ask.diversity > 0) || *found == 0) return KITH_OK;
    const ki_leg_search where = {
        .collection = s->collection, .snapshot = s->snapshot, .spec = s->legs[0].spec, .k = s->ask.k};
    return ki_recommend_spread(&where, s->ask.diversity, *hits, *found, s->work, hits, found, s->error);
}

static kith_status put_hits(struct search *s, const ki_leg_hit *hits, size_t count) {
    const int rows = s->result->texts || (s->ask.with & KITH_WITH_VECTORS);
    uint64_t sealed = 0;
    for (size_t i = 0; i < count; i++) sealed += hits[i].place < s->snapshot->sealed_count;
    kith_status status = ki_result_open(s->result, s->collection, sealed, s->error);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        ki_place place;
        status = ki_leg_place(s->snapshot, &hits[i], rows, &place, s->error);
        if (status == KITH_OK)
            status =
                ki_result_put(s->result, s->collection, s->snapshot, hits[i].key, &place, hits[i].distance, s->error);
    }
    ki_result_shut(s->result, s->collection);
    return status == KITH_OK ? ki_result_end_query(s->result, s->error) : status;
}

static kith_status run_rounds(struct search *s) {
    const size_t most = s->queries ? round_of(s) : 0;
    for (size_t first = 0; first < s->queries; first += most) {
        const size_t count = ki_min_size(most, s->queries - first);
        kith_status status = search_round(s, first, count);
        const uint64_t start = s->report ? ki_now_ns() : 0;
        for (size_t q = 0; q < count && status == KITH_OK; q++) {
            size_t found;
            const ki_leg_hit *hits;
            status = hits_of(s, q, count, &hits, &found);
            if (status == KITH_OK) status = put_hits(s, hits, found);
        }
        if (status != KITH_OK) return status;
        if (s->report) s->told.read_ns += ki_now_ns() - start;
    }
    return KITH_OK;
}

/* Searches of large tenants pay for graphs of their own, and those of everything are why others do without. */
static void note_tenant(struct search *s) {
    kith_collection *collection = s->collection;
    if (!collection->made.segment_field[0] || collection->options.read_only) return;
    if (!s->ask.segment)
        ki_tenants_note_all(collection->tenants, s->queries);
    else if (ki_match_shared(s->match) >= collection->own_from)
        s->wake |= ki_tenants_note(collection->tenants, s->ask.segment, s->queries);
}

/* Search the state: there is no kept answer. */
static kith_status search_state(struct search *s) {
    kith_status status = match_state(s);
    if (status != KITH_OK) return status;
    tell_state(s);
    status = run_rounds(s);
    if (status == KITH_OK) note_tenant(s);
    if (s->ask.target_recall > 0 && s->ask.target_recall < 1)
        atomic_fetch_add_explicit(&s->collection->approximate, s->queries, memory_order_relaxed);
    s->wake |= s->match && ki_match_study_wanted(s->collection->matches);
    return status;
}

/* The report's sums are over rounds and legs; what is of the state is not. */
static void tell(struct search *s, uint64_t start) {
    if (!s->report) return;
    kith_explain *search = &s->explain;
    if (!search->plan_name) { /* no segment was looked at */
        search->plan = search->visited ? KITH_PLAN_HNSW : KITH_PLAN_PLAIN;
        search->plan_name = kith_plan_name(search->plan);
        search->tier = "";
        search->exact = !search->visited;
        search->threads = ki_pool_threads(s->terms.pool);
    }
    search->queries = s->queries;
    s->told.exact = search->exact;
    s->told.total_ns = ki_now_ns() - start;
    ki_grown_write(KI_GROWN_ASK_REPORT, &s->told, s->ask.report);
    ki_grown_write(KI_GROWN_EXPLAIN, search, s->ask.explain);
}

/* As it was kept, or searched. */
static kith_status answer(struct search *s, int *kept) {
    kith_status status = ki_result_begin(s->result, s->snapshot->generations, s->generation, s->ask.with, 1, s->error);
    *kept = status == KITH_OK && s->pageable && ki_page_find(&s->page, s->snapshot, s->result, &s->told, &s->explain);
    if (status == KITH_OK && !*kept) status = search_state(s);
    if (status != KITH_OK) ki_result_forget(s->result);
    ki_match_empty(s->match);
    return status;
}

kith_status kith_collection_search(kith_collection *collection, const kith_ask *ask, kith_result *result,
                                   kith_error *error) {
    if (!collection || !ask || !result)
        return ki_fail(error, KITH_E_ARG, "kith_collection_search: collection, ask or result is NULL");
    const uint64_t start = ki_now_ns();
    int kept = 0;
    struct search s = {.collection = collection,
                       .ask = KITH_ASK_INIT,
                       .told = KITH_ASK_REPORT_INIT,
                       .explain = KITH_EXPLAIN_INIT,
                       .result = result,
                       .error = error};
    kith_status status = read_ask(&s, ask);
    if (status == KITH_OK) status = take_state(&s);
    if (status == KITH_OK) status = resolve(&s);
    if (status == KITH_OK) {
        set_terms(&s, start);
        status = answer(&s, &kept);
    }
    ki_snapshot_release(s.snapshot);
    ki_recommend_end(&s.by);
    if (s.wake && !collection->options.no_background) collection->wake(collection);
    if (status != KITH_OK) return status;
    tell(&s, start);
    if (s.pageable && !kept) ki_page_keep(&s.page, result, &s.told, &s.explain);
    return KITH_OK;
}
