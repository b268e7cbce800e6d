/* SPDX-License-Identifier: Apache-2.0
 *
 * A query as JSON. Vectors are "vector" (one), "vectors" (several), or "legs" of such whose ranks are fused; a profile
 * has interests of its own and takes one vector as the context. */
#include <math.h>
#include <string.h>

#include "native/ask.h"

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

int ks_v1_ask_generation(ks_call *call, const ks_v1_asking *asking, uint32_t *generation) {
    kith_error error = {0};
    *generation = asking->search.ask.generation;
    if (*generation || !asking->search.ask.user) return 0;
    const kith_status status =
        kith_collection_generation_of(asking->search.shop->collection, asking->search.ask.user, generation, &error);
    if (status == KITH_OK) return 0;
    ks_call_fail_status(call, status, &error);
    return -1;
}

/* Four sums beside each other: one would wait for each addition. */
static double norm_of(const float *row, size_t dim) {
    double sums[4] = {0};
    size_t i = 0;
    for (; i + 4 <= dim; i += 4)
        for (size_t s = 0; s < 4; s++) sums[s] += (double)row[i + s] * (double)row[i + s];
    for (; i < dim; i++) sums[0] += (double)row[i] * (double)row[i];
    return sqrt(sums[0] + sums[1] + sums[2] + sums[3]);
}

int ks_v1_ask_rows(ks_call *call, const kith_vector_spec *spec, const kith_queries *queries, const char *what) {
    if (spec->dtype == KITH_B1) return 0;
    const float *row = queries->data;
    for (size_t q = 0; q < queries->count; q++, row += queries->dim) {
        const double norm = norm_of(row, queries->dim);
        if (norm <= KITH_NORM_MAX && (spec->metric != KITH_COSINE || norm >= KITH_COSINE_NORM_MIN)) continue;
        if (!isfinite(norm))
            ks_call_fail(call, 400, "%s: query %zu has a number that is no finite 32-bit float", what, q + 1);
        else
            ks_call_fail(call, 400, "%s: query %zu has the length %g, %s", what, q + 1, norm,
                         norm > KITH_NORM_MAX ? "and 2^62 is the largest" : "and under cosine needs a direction");
        return -1;
    }
    return 0;
}

/* Where the rows come from: an array of numbers, or one of such arrays. */
static int set_queries(ks_call *call, const kith_vector_spec *spec, const json_t *one, const json_t *several,
                       kith_queries *queries) {
    const size_t count = one ? 1 : json_array_size(several), row_bytes = ks_v1_row_bytes(spec);
    const size_t max = ks_app_of(call)->limits.queries_max;
    if (count < 1 || count > max) {
        ks_call_fail(call, count ? 413 : 400, "\"vectors\" has %zu queries, and a call takes 1..%zu", count, max);
        return -1;
    }
    unsigned char *rows = ks_call_alloc(call, count * row_bytes);
    if (!rows) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        char what[48] = "\"vector\"";
        if (!one) snprintf(what, sizeof what, "\"vectors\", number %zu,", i + 1);
        if (ks_v1_row(call, spec, one ? one : json_array_get(several, i), what, rows + i * row_bytes) != 0) return -1;
    }
    *queries = (kith_queries)KITH_QUERIES_INIT;
    queries->data = rows;
    queries->dtype = spec->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries->count = count;
    queries->dim = spec->dim;
    return ks_v1_ask_rows(call, spec, queries, one ? "\"vector\"" : "\"vectors\"");
}

/* "vector": {"name": [...]} names it, too. */
static int unwrap(ks_call *call, const json_t **one, const char **using) {
    if (!json_is_object(*one)) return 0;
    void *first = json_object_iter((json_t *)(uintptr_t)*one);
    if (json_object_size(*one) != 1 || *using) {
        ks_call_fail(call, 400, "\"vector\" as an object must have one member, which is named like the vector%s",
                     *using ? ", and no \"using\" beside it" : "");
        return -1;
    }
    *using = json_object_iter_key(first);
    *one = json_object_iter_value(first);
    return 0;
}

/* "vectors": an array of arrays; one of numbers alone is a mistake. */
static int several_of(ks_call *call, const json_t *from, const json_t **several) {
    const json_t *value = json_object_get(from, "vectors");
    if (!value || json_is_null(value)) return 0;
    if (!json_is_array(value)) {
        ks_call_fail(call, 400, "\"vectors\" must be an array of arrays of numbers");
        return -1;
    }
    *several = value;
    return 0;
}

/* One leg, of the body itself or of a member of "legs". 1; 0 when it has no vector. */
static int add_leg(ks_call *call, ks_v1_asking *asking, const json_t *from, uint32_t generation) {
    const json_t *one = json_object_get(from, "vector"), *several = NULL;
    const char *using = NULL;
    if (json_is_null(one)) one = NULL;
    if (ks_member_text(call, from, "using", &using) < 0 || several_of(call, from, &several) != 0) return -1;
    if (!one && !several) return 0;
    if (one && several) {
        ks_call_fail(call, 400, "\"vector\" and \"vectors\" are both there, and one of them is meant");
        return -1;
    }
    kith_vector_spec spec;
    const size_t at = asking->search.ask.leg_count;
    if (one && unwrap(call, &one, &using) != 0) return -1;
    if (ks_v1_spec(call, asking->search.shop, generation, using, &spec) != 0) return -1;
    if (set_queries(call, &spec, one, several, &asking->queries[at]) != 0) return -1;
    asking->legs[at] = (kith_leg){.vector = spec.name, .queries = &asking->queries[at]};
    asking->search.ask.leg_count++;
    return 1;
}

static int add_named_leg(ks_call *call, ks_v1_asking *asking, const json_t *from, uint32_t generation) {
    static const char *const known[] = {"using", "vector", "vectors", "weight", NULL};
    const size_t at = asking->search.ask.leg_count;
    double weight = 1;
    if (!json_is_object(from) || ks_members_only(call, from, known) != 0) {
        if (!json_is_object(from))
            ks_call_fail(call, 400, "\"legs\" must have objects only, and number %zu is none", at + 1);
        return -1;
    }
    if (ks_member_real(call, from, "weight", 0, 1e6, &weight) < 0) return -1;
    const int added = add_leg(call, asking, from, generation);
    if (added == 0) ks_call_fail(call, 400, "\"legs\", number %zu, has no \"vector\"", at + 1);
    if (added <= 0) return -1;
    asking->legs[at].weight = weight;
    if (asking->queries[at].count == asking->queries[0].count) return 0;
    ks_call_fail(call, 400, "\"legs\", number %zu, has %zu queries, and the first one has %zu", at + 1,
                 asking->queries[at].count, asking->queries[0].count);
    return -1;
}

static int add_legs(ks_call *call, ks_v1_asking *asking, const json_t *body, uint32_t generation) {
    const json_t *legs = NULL;
    const int there = ks_member_array(call, body, "legs", &legs);
    if (there < 0) return -1;
    if (!there) return add_leg(call, asking, body, generation) < 0 ? -1 : 0;
    if (json_array_size(legs) < 1 || json_array_size(legs) > KS_V1_LEGS_MAX) {
        ks_call_fail(call, 400, "\"legs\" has %zu of them, and 1..%d are taken", json_array_size(legs), KS_V1_LEGS_MAX);
        return -1;
    }
    static const char *const beside[] = {"vector", "vectors", "using"};
    for (size_t i = 0; i < 3; i++) {
        if (!json_object_get(body, beside[i])) continue;
        ks_call_fail(call, 400, "\"legs\" and \"%s\" are both there, and one of them is meant", beside[i]);
        return -1;
    }
    for (size_t i = 0; i < json_array_size(legs); i++)
        if (add_named_leg(call, asking, json_array_get(legs, i), generation) != 0) return -1;
    return 0;
}

/* ---- The rest ---------------------------------------------------------------------------------------------------- */

int ks_v1_ask_priority(ks_call *call, const char *word, ks_v1_asking *asking) {
    asking->search.priority = word && strcmp(word, "batch") == 0 ? KS_BATCH : KS_INTERACTIVE;
    if (!word || asking->search.priority == KS_BATCH || strcmp(word, "interactive") == 0) return 0;
    ks_call_fail(call, 400, "\"priority\" must be \"interactive\" or \"batch\"");
    return -1;
}

void ks_v1_ask_times(ks_call *call, uint64_t timeout_ms, uint64_t budget_ms, ks_v1_asking *asking) {
    const uint64_t deadline_ns = call->arrived_ns + timeout_ms * 1000000;
    if (timeout_ms && deadline_ns < call->deadline_ns) call->deadline_ns = deadline_ns;
    asking->search.budget_ns = budget_ms * 1000000;
}

static int read_times(ks_call *call, const json_t *body, ks_v1_asking *asking) {
    uint64_t timeout_ms = 0, budget_ms = 0;
    const char *priority = NULL;
    if (ks_member_uint(call, body, "timeout_ms", 86400000, &timeout_ms) < 0 ||
        ks_member_uint(call, body, "budget_ms", KS_V1_BUDGET_MS_MAX, &budget_ms) < 0 ||
        ks_member_text(call, body, "priority", &priority) < 0)
        return -1;
    ks_v1_ask_times(call, timeout_ms, budget_ms, asking);
    return ks_v1_ask_priority(call, priority, asking);
}

static int read_profile(ks_call *call, const json_t *body, kith_ask *ask) {
    return ks_member_text(call, body, "profile", &ask->profile) < 0 ||
                   ks_member_text(call, body, "user", &ask->user) < 0 ||
                   ks_member_real(call, body, "blend", 0, 1, &ask->blend) < 0 ||
                   ks_member_real(call, body, "diversity", 0, 1, &ask->diversity) < 0 ||
                   ks_member_bool(call, body, "leave_out_seen", &ask->leave_out_seen) < 0
               ? -1
               : 0;
}

static int read_numbers(ks_call *call, const json_t *body, ks_v1_asking *asking) {
    kith_ask *ask = &asking->search.ask;
    uint64_t k = ask->k, generation = 0;
    int exact = 0;
    if (ks_member_uint(call, body, "k", UINT64_MAX, &k) < 0 ||
        ks_member_real(call, body, "target", 0, 1, &ask->target_recall) < 0 ||
        ks_member_bool(call, body, "exact", &exact) < 0 ||
        ks_member_uint(call, body, "generation", UINT32_MAX, &generation) < 0 ||
        ks_member_uint(call, body, "min_version", UINT64_MAX, &ask->min_version) < 0 ||
        ks_member_bool(call, body, "explain", &asking->explains) < 0)
        return -1;
    ask->k = k > SIZE_MAX ? SIZE_MAX : (size_t)k;
    ask->generation = (uint32_t)generation;
    if (exact) ask->target_recall = 0;
    return 0;
}

int ks_v1_ask_check(ks_call *call, ks_v1_asking *asking) {
    kith_ask *ask = &asking->search.ask;
    const ks_limits *limits = &ks_app_of(call)->limits;
    const char *bound = call->key->segment;
    if (ask->k < 1 || ask->k > limits->k_max) {
        ks_call_fail(call, 400, "\"k\" is %zu, and must be 1..%zu here", ask->k, limits->k_max);
        return -1;
    }
    if (ask->segment && !asking->search.shop->segment_field[0]) {
        ks_call_fail(call, 400, "the collection \"%s\" has no segment field", asking->search.shop->name);
        return -1;
    }
    if (bound && ask->segment && strcmp(bound, ask->segment) != 0) {
        ks_call_fail(call, 403, "this key is bound to another segment than \"%.64s\"", ask->segment);
        return -1;
    }
    if (bound && ask->profile) {
        ks_call_fail(call, 403, "this key is bound to a segment, and profiles are of the whole collection");
        return -1;
    }
    if (bound) ask->segment = bound;
    if (!ask->leg_count && !ask->profile) {
        ks_call_fail(call, 400, "a query needs a \"vector\", \"vectors\", \"legs\" or a \"profile\"");
        return -1;
    }
    const size_t queries = ask->leg_count ? asking->queries[0].count : 1;
    if (ask->with && queries * ask->k > limits->points_max) { /* both are bounded: no overflow */
        ks_call_fail(call, 413, "%zu queries of %zu items each, \"with\" more than ids, are more than %zu items",
                     queries, ask->k, limits->points_max);
        return -1;
    }
    if (asking->explains) ask->explain = &asking->explain;
    call->queries = ask->leg_count ? asking->queries[0].count : 1;
    return 0;
}

/* Arguments that would be passed over. */
static int check_arguments(ks_call *call, const char *const *known) {
    for (size_t i = 0; known[i]; i++) {
        if (!ks_call_argument(call, known[i])) continue;
        ks_call_fail(call, 400, "\"%s\" stands in the URL, and of a query in JSON it is a member of the body",
                     known[i]);
        return -1;
    }
    return 0;
}

int ks_v1_ask_body(ks_call *call, ks_v1_asking *asking) {
    static const char *const known[] = {"vector",    "vectors",    "legs",    "profile",        "using", "k",
                                        "filter",    "segment",    "target",  "exact",          "with",  "timeout_ms",
                                        "budget_ms", "priority",   "model",   "min_version",    "user",  "blend",
                                        "diversity", "generation", "explain", "leave_out_seen", NULL};
    kith_ask *ask = &asking->search.ask;
    uint32_t generation;
    const json_t *body = ks_body(call, "an object with a \"vector\"");
    if (!body || ks_members_only(call, body, known) != 0 || check_arguments(call, known) != 0) return -1;
    if (read_numbers(call, body, asking) != 0 || read_profile(call, body, ask) != 0 ||
        read_times(call, body, asking) != 0 || ks_v1_with(call, body, &ask->with) < 0 ||
        ks_v1_filter(call, body, &ask->filter) != 0 || ks_member_text(call, body, "segment", &ask->segment) < 0 ||
        ks_member_text(call, body, "model", &ask->model) < 0 || ks_v1_ask_generation(call, asking, &generation) != 0 ||
        add_legs(call, asking, body, generation) != 0)
        return -1;
    return ks_v1_ask_check(call, asking);
}
