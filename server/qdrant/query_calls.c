/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls that search: they are parsed by the loop. */
#include "qdrant/query.h"

#include <stdlib.h>

typedef int parse_query(ks_qd_call *all, const json_t *body, ks_qd_query *query);

/* A limit of time of the client's (seconds) shortens the server's. */
static int take_timeout(ks_call *call) {
    const char *text = ks_call_argument(call, "timeout");
    if (!text) return 0;
    char *end;
    const unsigned long seconds = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || seconds == 0) {
        ks_call_fail(call, 400, "Wrong input: timeout must be a whole number of seconds of at least 1");
        return -1;
    }
    const uint64_t limit = call->arrived_ns + (uint64_t)(seconds < 86400 ? seconds : 86400) * UINT64_C(1000000000);
    if (limit < call->deadline_ns) call->deadline_ns = limit;
    return 0;
}

/* How many points a query may find, when more than their ids is read of them. */
static size_t weight(const ks_qd_query *query) {
    size_t found = (size_t)(query->limit + query->offset);
    if (!(query->with.flags & (KITH_WITH_PAYLOAD | KITH_WITH_VECTORS))) return 0;
    for (size_t i = 0; query->legs && i < query->leg_count; i++) found += query->legs[i].search.ask.k;
    return found;
}

static int check_weight(const ks_qd_call *all) {
    const size_t most = all->place.app->limits.points_max;
    size_t found = 0;
    for (size_t i = 0; i < all->count; i++) found += weight(&all->queries[i]);
    if (found <= most) return 0;
    ks_call_fail(all->place.call, 413,
                 "the queries may find %zu points, whose payloads or vectors are asked for: %zu may be", found, most);
    return -1;
}

/* Parse `list`, or `body` alone where it is NULL. */
static int parse_all(ks_qd_call *all, const json_t *body, const json_t *list, parse_query *parse) {
    ks_call *call = all->place.call;
    all->count = list ? json_array_size(list) : 1;
    if (all->count > all->place.app->limits.queries_max) {
        ks_call_fail(call, 400, "Wrong input: there are %zu queries, and a call may have %zu", all->count,
                     all->place.app->limits.queries_max);
        return -1;
    }
    all->queries = ks_call_alloc(call, (all->count + 1) * sizeof *all->queries);
    if (!all->queries || ks_call_defer(call, ks_qd_queries_free, all) < 0) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0; i < all->count; i++) {
        if (parse(all, list ? json_array_get(list, i) : body, &all->queries[i]) < 0) return -1;
        call->queries += all->queries[i].legs ? all->queries[i].leg_count : 1;
        if (call->queries <= all->place.app->limits.queries_max) continue;
        ks_call_fail(call, 400, "Wrong input: with their prefetches there are more than %zu queries",
                     all->place.app->limits.queries_max);
        return -1;
    }
    return check_weight(all);
}

static void handle(ks_call *call, const char *member, ks_qd_form form, parse_query *parse) {
    ks_qd_call *all = ks_call_alloc(call, sizeof *all);
    const json_t *body = NULL, *list = NULL;
    if (!all) ks_call_no_memory(call);
    if (all && ks_qd_enter(call, &all->place) == 0 && take_timeout(call) == 0) {
        all->form = form;
        body = ks_body(call, member ? "a JSON object with an array of queries" : "a JSON object with a query");
        if (body && member) list = ks_qd_elements(call, ks_qd_get(body, member), member);
    }
    if (!body || (member && !list) || parse_all(all, body, list, parse) < 0)
        ks_call_done(call);
    else
        ks_qd_run(all);
}

void ks_qd_query_points(ks_call *call) {
    handle(call, NULL, KS_QD_POINTS, ks_qd_parse_query);
}

void ks_qd_query_batch(ks_call *call) {
    handle(call, "searches", KS_QD_POINTS_LIST, ks_qd_parse_query);
}

void ks_qd_query_groups(ks_call *call) {
    handle(call, NULL, KS_QD_GROUPS, ks_qd_parse_group);
}

void ks_qd_search_points(ks_call *call) {
    handle(call, NULL, KS_QD_PLAIN, ks_qd_parse_search);
}

void ks_qd_search_batch(ks_call *call) {
    handle(call, "searches", KS_QD_PLAIN_LIST, ks_qd_parse_search);
}

void ks_qd_recommend_points(ks_call *call) {
    handle(call, NULL, KS_QD_PLAIN, ks_qd_parse_recommend);
}

void ks_qd_recommend_batch(ks_call *call) {
    handle(call, "searches", KS_QD_PLAIN_LIST, ks_qd_parse_recommend);
}
