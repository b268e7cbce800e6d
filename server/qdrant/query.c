/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing queries: of /points/query and its batches and groups, and of the older /points/search and /points/recommend.
 * What is not offered is refused by its name. */
#include "qdrant/query.h"

#include <string.h>

/* ---- Legs */

/* What all kinds of queries and prefetches have. */
static int leg_parts(ks_qd_leg *leg, const json_t *body, uint64_t k) {
    const ks_qd_place *place = &leg->query->all->place;
    const json_t *params = ks_qd_get(body, "params"), *threshold = ks_qd_get(body, "score_threshold");
    int exact = 0;
    leg->filter = ks_qd_get(body, "filter");
    if (params && !json_is_object(params)) {
        ks_call_fail(place->call, 400, "Format error in JSON body: params must be an object");
        return -1;
    }
    if (params && ks_member_bool(place->call, params, "exact", &exact) < 0) return -1;
    if (ks_member_real(place->call, body, "score_threshold", -1e300, 1e300, &leg->threshold) < 0) return -1;
    leg->has_threshold = threshold != NULL;
    leg->search.ask.k = (size_t)k;
    leg->search.ask.target_recall = exact ? 0 : place->app->limits.target_recall;
    leg->search.ask.with = leg->query->with.flags | KITH_WITH_VERSION;
    leg->search.ask.segment = place->segment;
    return 0;
}

static void leg_begin(ks_qd_leg *leg, ks_qd_query *query) {
    leg->query = query;
    leg->search.ask = (kith_ask)KITH_ASK_INIT;
    leg->queries = (kith_queries)KITH_QUERIES_INIT;
}

/* Which vector, by its name. */
static int leg_using(ks_qd_leg *leg, const json_t *body, const char *member) {
    const char *name = NULL;
    const ks_qd_place *place = &leg->query->all->place;
    return ks_member_text(place->call, body, member, &name) < 0 || ks_qd_vector(place, name, &leg->spec) < 0 ? -1 : 0;
}

static void leg_floats(ks_qd_leg *leg, const float *floats) {
    leg->queries.data = floats;
    leg->queries.dtype = KITH_F32;
    leg->queries.count = 1;
    leg->queries.dim = leg->spec.dim;
}

static int is_id(const json_t *value) {
    uint64_t number;
    return ks_uint(value, &number) || (json_is_string(value) && !ks_is_numbers(value));
}

/* The nearest ones to a vector, or to a point. */
static int nearest(ks_qd_leg *leg, const json_t *value) {
    if (is_id(value)) return ks_qd_examples_of(leg, value, NULL);
    const float *floats = ks_qd_floats(leg->query->all->place.call, value, &leg->spec);
    if (!floats) return -1;
    leg_floats(leg, floats);
    return 0;
}

static int mmr(ks_qd_leg *leg, const json_t *value) {
    static const char *const known[] = {"diversity", "candidates_limit", NULL};
    ks_call *call = leg->query->all->place.call;
    double diversity = 0.5;
    if (ks_qd_only(call, value, known) < 0 || ks_member_real(call, value, "diversity", 0, 1, &diversity) < 0) return -1;
    leg->search.ask.diversity = diversity;
    return 0;
}

static int recommend(ks_qd_leg *leg, const json_t *value) {
    static const char *const known[] = {"positive", "negative", "strategy", NULL};
    ks_call *call = leg->query->all->place.call;
    const char *strategy = "average_vector";
    if (ks_qd_only(call, value, known) < 0 || ks_member_text(call, value, "strategy", &strategy) < 0) return -1;
    if (strcmp(strategy, "average_vector") != 0) {
        ks_call_fail(call, 400, "Wrong input: kith does not offer the strategy `%.60s`: average_vector is", strategy);
        return -1;
    }
    return ks_qd_examples_of(leg, ks_qd_get(value, "positive"), ks_qd_get(value, "negative"));
}

/* A query that a leg can answer: a vector, a point, nearest, recommend. */
static int leg_query(ks_qd_leg *leg, const json_t *value) {
    static const char *const of_nearest[] = {"nearest", "mmr", NULL}, *const of_recommend[] = {"recommend", NULL};
    ks_call *call = leg->query->all->place.call;
    if (!json_is_object(value) || ks_qd_get(value, "indices")) return nearest(leg, value);
    if (ks_qd_get(value, "recommend"))
        return ks_qd_only(call, value, of_recommend) < 0 ? -1 : recommend(leg, ks_qd_get(value, "recommend"));
    if (ks_qd_get(value, "nearest")) {
        if (ks_qd_only(call, value, of_nearest) < 0 || nearest(leg, ks_qd_get(value, "nearest")) < 0) return -1;
        return ks_qd_get(value, "mmr") ? mmr(leg, ks_qd_get(value, "mmr")) : 0;
    }
    const char *name = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)value));
    ks_call_fail(call, 400,
                 "Wrong input: kith does not offer the query `%.60s`: nearest, recommend, fusion and rrf are",
                 name ? name : "{}");
    return -1;
}

int ks_qd_leg_where(ks_qd_leg *leg, const kith_ids *without) {
    const ks_qd_query *query = leg->query;
    /* What a query wants of its points, it wants of its prefetches' too. */
    const json_t *own = leg == &query->last ? NULL : query->last.filter;
    const ks_qd_meant meant = {.filters = {leg->filter, own}, .without = without};
    return ks_qd_where_of(&query->all->place, &meant, &leg->where);
}

/* ---- Prefetches */

static int parse_prefetch(ks_qd_leg *leg, const json_t *body) {
    static const char *const known[] = {"prefetch", "query",           "using", "filter",
                                        "params",   "score_threshold", "limit", NULL};
    const ks_qd_place *place = &leg->query->all->place;
    uint64_t limit = 10;
    if (ks_qd_only(place->call, body, known) < 0) return -1;
    const json_t *query = ks_qd_get(body, "query"), *inner = ks_qd_get(body, "prefetch");
    if (inner && json_array_size(inner) != 0) {
        ks_qd_not_offered(place->call, "a prefetch within a prefetch");
        return -1;
    }
    if (!query) {
        ks_qd_not_offered(place->call, "a prefetch without a query");
        return -1;
    }
    if (ks_member_uint(place->call, body, "limit", place->app->limits.k_max, &limit) < 0) return -1;
    if (leg_using(leg, body, "using") < 0 || leg_parts(leg, body, limit ? limit : 1) < 0) return -1;
    if (leg_query(leg, query) < 0) return -1;
    return leg->examples ? 0 : ks_qd_leg_where(leg, NULL);
}

static int parse_prefetches(ks_qd_query *query, const json_t *value) {
    ks_call *call = query->all->place.call;
    const json_t *list = json_is_object(value) ? NULL : ks_qd_elements(call, value, "prefetch");
    if (!list && !json_is_object(value)) return -1;
    query->leg_count = list ? json_array_size(list) : 1;
    if (query->leg_count > KITH_VECTORS_MAX) {
        ks_call_fail(call, 400, "Wrong input: there are %zu prefetches, and a query may have %u", query->leg_count,
                     KITH_VECTORS_MAX);
        return -1;
    }
    query->legs = ks_call_alloc(call, query->leg_count * sizeof *query->legs);
    if (!query->legs) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0; i < query->leg_count; i++) {
        leg_begin(&query->legs[i], query);
        if (parse_prefetch(&query->legs[i], list ? json_array_get(list, i) : value) < 0) return -1;
    }
    return 0;
}

/* ---- Queries */

static int fusion(ks_qd_query *query, const json_t *name) {
    const char *text = json_is_string(name) ? json_string_value(name) : "";
    query->kind = strcmp(text, "dbsf") == 0 ? KS_QD_DBSF : KS_QD_RRF;
    if (query->kind == KS_QD_DBSF || strcmp(text, "rrf") == 0) return 0;
    ks_call_fail(query->all->place.call, 400, "Format error in JSON body: fusion must be rrf or dbsf");
    return -1;
}

static int rrf(ks_qd_query *query, const json_t *value) {
    static const char *const known[] = {"k", "weights", NULL};
    ks_call *call = query->all->place.call;
    query->kind = KS_QD_RRF;
    if (ks_qd_only(call, value, known) < 0 || ks_member_real(call, value, "k", 1, 1e9, &query->rrf_k) < 0) return -1;
    if (!ks_qd_get(value, "weights")) return 0;
    query->weights = ks_qd_elements(call, ks_qd_get(value, "weights"), "weights");
    if (!query->weights) return -1;
    if (json_array_size(query->weights) == query->leg_count) return 0;
    ks_call_fail(call, 400, "Wrong input: there are %zu weights for %zu prefetches", json_array_size(query->weights),
                 query->leg_count);
    return -1;
}

/* With prefetches: fusion of them, or a search of what they find. */
static int over_prefetches(ks_qd_query *query, const json_t *body, const json_t *value) {
    ks_call *call = query->all->place.call;
    if (json_is_object(value) && ks_qd_get(value, "fusion")) return fusion(query, ks_qd_get(value, "fusion"));
    if (json_is_object(value) && ks_qd_get(value, "rrf")) return rrf(query, ks_qd_get(value, "rrf"));
    if (!value) {
        ks_call_fail(call, 400, "Wrong input: a query with prefetches must say what becomes of them");
        return -1;
    }
    query->kind = KS_QD_AGAIN;
    if (leg_using(&query->last, body, "using") < 0 || leg_query(&query->last, value) < 0) return -1;
    return query->last.examples ? 0 : ks_qd_leg_where(&query->last, NULL);
}

static int alone(ks_qd_query *query, const json_t *body, const json_t *value) {
    if (json_is_object(value) && (ks_qd_get(value, "fusion") || ks_qd_get(value, "rrf"))) {
        ks_call_fail(query->all->place.call, 400, "Wrong input: a fusion must have prefetches");
        return -1;
    }
    if (!value) {
        query->kind = KS_QD_ALL;
        query->all->by_worker = 1;
        return 0;
    }
    query->kind = KS_QD_NEAREST;
    if (leg_using(&query->last, body, "using") < 0 || leg_query(&query->last, value) < 0) return -1;
    return query->last.examples ? 0 : ks_qd_leg_where(&query->last, NULL);
}

/* Limit, offset, what comes along, threshold. */
static int query_parts(ks_qd_call *all, const json_t *body, ks_qd_query *query) {
    const ks_qd_place *place = &all->place;
    const uint64_t most = place->app->limits.k_max;
    query->all = all;
    query->limit = 10;
    query->rrf_k = 2;
    leg_begin(&query->last, query);
    if (ks_member_uint(place->call, body, "limit", most, &query->limit) < 0 ||
        ks_member_uint(place->call, body, "offset", most, &query->offset) < 0)
        return -1;
    if (query->limit == 0 || query->limit + query->offset > most) {
        ks_call_fail(place->call, 400, "Wrong input: limit must be at least 1, and with offset at most %zu",
                     (size_t)most);
        return -1;
    }
    if (ks_qd_with_of(place, body, 0, &query->with) < 0) return -1;
    if (leg_parts(&query->last, body, query->limit + query->offset) < 0) return -1;
    query->has_threshold = query->last.has_threshold;
    query->threshold = query->last.threshold;
    return 0;
}

int ks_qd_parse_query(ks_qd_call *all, const json_t *body, ks_qd_query *query) {
    static const char *const known[] = {"prefetch",     "query",           "using", "filter",
                                        "params",       "score_threshold", "limit", "with_vector",
                                        "with_payload", "offset",          NULL};
    static const char *const of_groups[] = {"prefetch",     "query",           "using",      "filter",
                                            "params",       "score_threshold", "limit",      "with_vector",
                                            "with_payload", "group_by",        "group_size", NULL};
    if (ks_qd_only(all->place.call, body, query->group ? of_groups : known) < 0) return -1;
    if (query_parts(all, body, query) < 0) return -1;
    const json_t *prefetch = ks_qd_get(body, "prefetch"), *value = ks_qd_get(body, "query");
    if (prefetch && json_is_array(prefetch) && json_array_size(prefetch) == 0) prefetch = NULL;
    if (prefetch && parse_prefetches(query, prefetch) < 0) return -1;
    return prefetch ? over_prefetches(query, body, value) : alone(query, body, value);
}

int ks_qd_parse_search(ks_qd_call *all, const json_t *body, ks_qd_query *query) {
    static const char *const known[] = {"vector",       "filter",      "params",          "limit", "offset",
                                        "with_payload", "with_vector", "score_threshold", NULL};
    if (ks_qd_only(all->place.call, body, known) < 0 || query_parts(all, body, query) < 0) return -1;
    const json_t *vector = ks_qd_get(body, "vector");
    query->kind = KS_QD_NEAREST;
    if (json_is_object(vector)) { /* {"name": ..., "vector": ...} */
        if (leg_using(&query->last, vector, "name") < 0) return -1;
        vector = ks_qd_get(vector, "vector");
    } else if (ks_qd_vector(&all->place, NULL, &query->last.spec) < 0) {
        return -1;
    }
    const float *floats = ks_qd_floats(all->place.call, vector, &query->last.spec);
    if (!floats) return -1;
    leg_floats(&query->last, floats);
    return ks_qd_leg_where(&query->last, NULL);
}

int ks_qd_parse_recommend(ks_qd_call *all, const json_t *body, ks_qd_query *query) {
    static const char *const known[] = {"positive",     "negative",    "strategy",        "using",
                                        "filter",       "params",      "limit",           "offset",
                                        "with_payload", "with_vector", "score_threshold", NULL};
    const char *strategy = "average_vector";
    ks_call *call = all->place.call;
    if (ks_qd_only(call, body, known) < 0 || query_parts(all, body, query) < 0) return -1;
    query->kind = KS_QD_NEAREST;
    if (leg_using(&query->last, body, "using") < 0 || ks_member_text(call, body, "strategy", &strategy) < 0) return -1;
    if (strcmp(strategy, "average_vector") != 0) {
        ks_call_fail(call, 400, "Wrong input: kith does not offer the strategy `%.60s`: average_vector is", strategy);
        return -1;
    }
    if (ks_qd_examples_of(&query->last, ks_qd_get(body, "positive"), ks_qd_get(body, "negative")) < 0) return -1;
    return query->last.examples ? 0 : ks_qd_leg_where(&query->last, NULL);
}

int ks_qd_parse_group(ks_qd_call *all, const json_t *body, ks_qd_query *query) {
    ks_call *call = all->place.call;
    ks_qd_group *group = ks_call_alloc(call, sizeof *group);
    kith_error error = {0};
    if (!group) {
        ks_call_no_memory(call);
        return -1;
    }
    group->size = 3;
    query->group = group;
    if (ks_qd_parse_query(all, body, query) < 0) return -1;
    if (ks_member_text(call, body, "group_by", &group->by) < 0) return -1;
    if (ks_member_uint(call, body, "group_size", all->place.app->limits.k_max, &group->size) < 0) return -1;
    if (!group->by || group->size == 0) {
        ks_call_fail(call, 400, "Wrong input: groups need group_by, and a group_size of at least 1");
        return -1;
    }
    if (query->kind != KS_QD_NEAREST) {
        ks_qd_not_offered(call, "groups of other queries than nearest and recommend without prefetches");
        return -1;
    }
    size_t bytes = strlen(group->by);
    if (ks_qd_key(&group->by, &bytes, &error) != KITH_OK || !(group->by = ks_call_copy(call, group->by, bytes))) {
        ks_call_fail(call, 400, "Wrong input: %s", error.text);
        return -1;
    }
    query->last.search.ask.with |= KITH_WITH_PAYLOAD;
    all->by_worker = 1;
    return 0;
}
