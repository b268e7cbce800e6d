/* SPDX-License-Identifier: Apache-2.0
 *
 * Running queries: legs are queued, or searched one by one by a worker; who ends the last of them goes on. */
#include "qdrant/query.h"

#include <stdlib.h>
#include <string.h>

static void leg_over(ks_qd_leg *leg);

/* The first failure is the reply. Returns whether this is it. */
static int first_failure(ks_qd_call *all) {
    return atomic_exchange(&all->failed, 1) == 0;
}

static void fail_text(ks_qd_call *all, int status, const char *why) {
    if (first_failure(all)) ks_call_fail(all->place.call, status, "Service internal error: %s", why);
}

static void fail_found(ks_qd_call *all, const ks_found *found) {
    ks_call *call = all->place.call;
    if (!first_failure(all)) return;
    if (found->refused) {
        ks_call_fail(call, 503, "%s",
                     found->error && found->error->text[0] ? found->error->text : "the server is busy");
        call->reply.retry_after_s = 1;
    } else if (found->status == KITH_E_ARG || found->status == KITH_E_DATA || found->status == KITH_E_UNSUPPORTED) {
        ks_call_fail(call, 400, "Wrong input: %s", found->error->text);
    } else {
        ks_call_fail_status(call, found->status, found->error);
    }
}

/* ---- The reply */

/* A point with its score. */
static void put_entry(ks_json *json, ks_text *scratch, const ks_qd_list *list, const ks_qd_entry *entry, double score) {
    ks_json own = KS_JSON(scratch);
    ks_text_clear(scratch);
    ks_json_object(&own, NULL);
    ks_json_real(&own, "score", score);
    ks_json_object_end(&own);
    if (scratch->used > 0) scratch->used--;
    ks_text_add(scratch, ",", 1);
    ks_text_add(scratch, list->text.bytes + entry->at + 1, entry->bytes - 1);
    ks_json_verbatim(json, NULL, scratch->bytes, scratch->used);
}

static const ks_qd_leg *legs_of(const ks_qd_query *query, size_t *count) {
    const int many = query->kind == KS_QD_RRF || query->kind == KS_QD_DBSF;
    *count = many ? query->leg_count : 1;
    return many ? query->legs : &query->last;
}

static void put_query(ks_json *json, const char *name, const ks_qd_query *query, ks_text *scratch) {
    size_t leg_count;
    const ks_qd_leg *legs = legs_of(query, &leg_count);
    const size_t count = query->fused ? query->fused_count : legs->list.count;
    ks_json_array(json, name);
    for (size_t i = (size_t)query->offset; i < count && i < query->limit + query->offset; i++) {
        const ks_qd_ranked *ranked = query->fused ? &query->fused[i] : NULL;
        const ks_qd_list *list = ranked ? &legs[ranked->list].list : &legs->list;
        const ks_qd_entry *entry = &list->entries[ranked ? ranked->place : i];
        put_entry(json, scratch, list, entry, ranked ? ranked->score : entry->score);
    }
    ks_json_array_end(json);
}

static void put_all(ks_qd_call *all, ks_json *json, ks_text *scratch) {
    const ks_qd_group *group = all->queries[0].group;
    if (all->form == KS_QD_PLAIN) {
        put_query(json, "result", &all->queries[0], scratch);
        return;
    }
    if (all->form == KS_QD_POINTS || all->form == KS_QD_GROUPS) {
        ks_json_object(json, "result");
        if (all->form == KS_QD_POINTS)
            put_query(json, "points", &all->queries[0], scratch);
        else
            ks_json_verbatim(json, "groups", group->text.bytes, group->text.used);
        ks_json_object_end(json);
        return;
    }
    ks_json_array(json, "result");
    for (size_t i = 0; i < all->count; i++) {
        const int points = all->form == KS_QD_POINTS_LIST;
        if (points) ks_json_object(json, NULL);
        put_query(json, points ? "points" : NULL, &all->queries[i], scratch);
        if (points) ks_json_object_end(json);
    }
    ks_json_array_end(json);
}

static void count_time(ks_call *call, const ks_qd_leg *leg) {
    if (leg->waited_ns > call->waited_ns) call->waited_ns = leg->waited_ns;
    if (leg->searched_ns > call->searched_ns) call->searched_ns = leg->searched_ns;
}

/* All queries are over: the call is this thread's. */
static void all_over(ks_qd_call *all) {
    ks_call *call = all->place.call;
    for (size_t i = 0; i < all->count; i++) {
        const ks_qd_query *query = &all->queries[i];
        for (size_t l = 0; l < query->leg_count; l++) count_time(call, &query->legs[l]);
        count_time(call, &query->last);
    }
    if (!atomic_load(&all->failed)) {
        ks_text scratch = {0};
        ks_json json = ks_qd_reply(call);
        put_all(all, &json, &scratch);
        ks_qd_reply_end(call, &json);
        if (scratch.failed) ks_call_no_memory(call);
        ks_text_free(&scratch);
    }
    if (!all->by_worker) ks_call_done(call);
}

static void query_over(ks_qd_query *query) {
    ks_qd_call *all = query->all;
    if (atomic_fetch_sub(&all->pending, 1) == 1) all_over(all);
}

/* ---- Searching */

/* What a queued search tells when it is over. */
static void finish(ks_search *search, const ks_found *found) {
    ks_qd_leg *leg = search->context;
    ks_qd_query *query = leg->query;
    ks_qd_call *all = query->all;
    leg->waited_ns = found->waited_ns;
    leg->searched_ns = found->searched_ns;
    if (found->status != KITH_OK || found->refused) {
        fail_found(all, found);
    } else if (!atomic_load(&all->failed)) {
        const kith_hits *hits = found->hits;
        const size_t first = found->first ? (size_t)hits->ends[found->first - 1] : 0;
        const char *why = NULL;
        const int status = query->group ? ks_qd_group_take(leg, found->result, hits, &why)
                                        : ks_qd_list_take(&leg->list, leg, found->result, hits, first,
                                                          (size_t)hits->ends[found->first], &why);
        if (status < 0) fail_text(all, 500, why);
        leg->deeper = query->group && status == 0; /* deeper */
    }
    leg_over(leg);
}

/* As the processor would do it, by this worker. */
static void search_now(ks_search *search) {
    kith_error error = {0};
    kith_hits hits = KITH_HITS_INIT;
    ks_found found = {.error = &error, .hits = &hits, .count = 1, .batch = 1};
    kith_result *result = NULL;
    const uint64_t now = ks_now_ns();
    search->ask.timeout_ns = search->call->deadline_ns > now ? search->call->deadline_ns - now : 1;
    found.status = kith_result_create(&result, &error);
    if (found.status == KITH_OK)
        found.status = kith_collection_search(search->shop->collection, &search->ask, result, &error);
    if (found.status == KITH_OK) kith_result_hits(result, &hits);
    found.result = result;
    found.searched_ns = ks_now_ns() - now;
    search->finish(search, &found);
    kith_result_destroy(result);
}

static void begin_leg(ks_qd_leg *leg) {
    ks_qd_call *all = leg->query->all;
    ks_search *search = &leg->search;
    kith_error error = {0};
    leg->leg = (kith_leg){.vector = leg->spec.name, .queries = &leg->queries};
    search->call = all->place.call;
    search->ask.legs = &leg->leg;
    search->ask.leg_count = 1;
    search->ask.filter = leg->where;
    search->only = all->count == 1 && !leg->query->legs;
    search->finish = finish;
    search->context = leg;
    leg->deeper = 0;
    if (all->by_worker) {
        search->shop = all->place.shop;
        search_now(search);
        return;
    }
    const kith_status status = ks_shelf_borrow(all->place.app->shelf, all->place.shop->name, &search->shop, &error);
    if (status == KITH_OK) {
        ks_run_search(all->place.app->run, search);
        return;
    }
    if (first_failure(all)) ks_call_fail_status(all->place.call, status, &error);
    leg_over(leg);
}

/* ---- From legs to queries */

/* What the legs found is the only thing that `last` may find. 0, or -1: no memory. */
static int among_found(ks_qd_query *query) {
    ks_text *text = &query->among;
    ks_json json = KS_JSON(text);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "must");
    if (query->last.where) ks_json_verbatim(&json, NULL, query->last.where, strlen(query->last.where));
    ks_json_object(&json, NULL);
    ks_json_array(&json, "has_id");
    for (size_t i = 0; i < query->leg_count; i++) {
        const ks_qd_list *list = &query->legs[i].list;
        for (size_t e = 0; e < list->count; e++)
            ks_json_verbatim(&json, NULL, list->text.bytes + list->entries[e].id_at, list->entries[e].id_bytes);
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_text_add(text, "", 1);
    query->last.where = text->bytes;
    query->last.search.ask.target_recall = 0;
    return text->failed ? -1 : 0;
}

static double score_of(const ks_qd_query *query, size_t leg, size_t place) {
    if (query->kind == KS_QD_RRF) {
        const double weight = query->weights ? json_number_value(json_array_get(query->weights, leg)) : 1;
        return ks_qd_reciprocal(place, weight, query->rrf_k);
    }
    const double score = query->legs[leg].list.entries[place].score;
    return query->legs[leg].spec.metric == KITH_L2SQ ? -score : score;
}

/* One ranking of the legs' lists. 0, or -1: no memory. */
static int fuse(ks_qd_query *query) {
    size_t count = 0, at = 0;
    for (size_t i = 0; i < query->leg_count; i++) count += query->legs[i].list.count;
    query->fused = calloc(count + 1, sizeof *query->fused);
    if (!query->fused) return -1;
    for (size_t i = 0; i < query->leg_count; i++) {
        const ks_qd_list *list = &query->legs[i].list;
        for (size_t p = 0; p < list->count; p++)
            query->fused[at + p] = (ks_qd_ranked){list->entries[p].number, score_of(query, i, p), i, p};
        if (query->kind == KS_QD_DBSF) ks_qd_normalise(query->fused + at, list->count);
        at += list->count;
    }
    query->fused_count = ks_qd_fuse(query->fused, count);
    while (query->has_threshold && query->fused_count > 0 &&
           query->fused[query->fused_count - 1].score < query->threshold)
        query->fused_count--;
    return 0;
}

/* A leg is over; the last one of a query decides what comes next. */
static void leg_over(ks_qd_leg *leg) {
    ks_qd_query *query = leg->query;
    ks_qd_call *all = query->all;
    if (atomic_fetch_sub(&query->pending, 1) != 1) return;
    if (!atomic_load(&all->failed)) {
        const int again = leg->deeper || (query->kind == KS_QD_AGAIN && leg != &query->last);
        const int failed = again ? !leg->deeper && among_found(query) < 0
                                 : (query->kind == KS_QD_RRF || query->kind == KS_QD_DBSF) && fuse(query) < 0;
        if (failed) {
            fail_text(all, 500, "there is no memory for the query");
        } else if (again) {
            atomic_store(&query->pending, 1);
            begin_leg(&query->last);
            return;
        }
    }
    query_over(query);
}

/* Points in the order of their ids, by this worker. */
static void list_now(ks_qd_query *query) {
    ks_qd_call *all = query->all;
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_error error = {0};
    kith_hits hits = KITH_HITS_INIT;
    const char *why = NULL;
    scroll.limit = (size_t)(query->limit + query->offset);
    scroll.with = query->last.search.ask.with;
    kith_result *result = ks_qd_result(all->place.call);
    if (!result || ks_qd_where(&all->place, query->last.filter, NULL, 1, &scroll.filter) < 0) {
        atomic_store(&all->failed, 1);
    } else {
        const kith_status status = kith_collection_scroll(all->place.shop->collection, &scroll, result, &error);
        if (status == KITH_OK) {
            kith_result_hits(result, &hits);
            if (ks_qd_list_take(&query->last.list, &query->last, result, &hits, 0, hits.count, &why) < 0)
                fail_text(all, 500, why);
        } else if (first_failure(all)) {
            ks_call_fail_status(all->place.call, status, &error);
        }
    }
    query_over(query);
}

static void begin_query(ks_qd_query *query) {
    const int by_legs = query->legs != NULL;
    if (query->kind == KS_QD_ALL) {
        list_now(query);
        return;
    }
    atomic_store(&query->pending, by_legs ? query->leg_count : 1);
    for (size_t i = 0; by_legs && i < query->leg_count; i++) begin_leg(&query->legs[i]);
    if (!by_legs) begin_leg(&query->last);
}

/* The call is kept until all are begun, as each may be over at once. */
static void begin_all(ks_qd_call *all) {
    atomic_store(&all->pending, all->count + 1);
    for (size_t i = 0; i < all->count; i++) begin_query(&all->queries[i]);
    if (atomic_fetch_sub(&all->pending, 1) == 1) all_over(all);
}

/* Points stand for vectors: read these first. */
static void run_by_worker(ks_call *call, void *context) {
    ks_qd_call *all = context;
    (void)call;
    for (size_t i = 0; i < all->count; i++) {
        ks_qd_query *query = &all->queries[i];
        for (size_t l = 0; l < query->leg_count; l++) {
            if (ks_qd_examples_read(&query->legs[l]) < 0) return;
        }
        if (ks_qd_examples_read(&query->last) < 0) return;
        if (query->group) {
            const uint64_t k = query->limit * query->group->size;
            query->last.search.ask.k = k < 64 ? 64 : k < KITH_K_MAX ? (size_t)k : KITH_K_MAX;
        }
    }
    begin_all(all);
}

void ks_qd_run(ks_qd_call *all) {
    ks_call *call = all->place.call;
    if (all->by_worker)
        ks_run_work(all->place.app->run, call, run_by_worker, all);
    else
        begin_all(all);
}

static void free_list(ks_qd_list *list) {
    ks_text_free(&list->text);
    free(list->entries);
}

void ks_qd_queries_free(void *context) {
    ks_qd_call *all = context;
    for (size_t i = 0; all->queries && i < all->count; i++) {
        ks_qd_query *query = &all->queries[i];
        for (size_t l = 0; query->legs && l < query->leg_count; l++) free_list(&query->legs[l].list);
        free_list(&query->last.list);
        ks_text_free(&query->among);
        if (query->group) ks_text_free(&query->group->text);
        free(query->fused);
    }
}
