/* SPDX-License-Identifier: Apache-2.0
 *
 * A query as a body of floats, n x dim of them in little-endian order (bits: n x dim / 8 bytes), and arguments. */
#include <math.h>
#include <string.h>

#include "native/ask.h"

/* The body where it lies, or a copy that floats may be read from. */
static const void *rows_of(ks_call *call) {
    if ((uintptr_t)call->body % _Alignof(float) == 0) return call->body;
    void *copy = ks_call_copy(call, call->body, call->body_bytes);
    if (!copy) ks_call_no_memory(call);
    return copy;
}

/* Say which number it was, where it was one that a row was refused for. */
static void name_number(ks_call *call, const kith_queries *queries) {
    const float *numbers = queries->data;
    size_t i = 0;
    while (i < queries->count * queries->dim && isfinite(numbers[i])) i++;
    if (i < queries->count * queries->dim)
        ks_call_fail(call, 400, "the body: query %zu: number %zu is not finite", i / queries->dim + 1,
                     i % queries->dim + 1);
}

static int set_queries(ks_call *call, ks_v1_asking *asking, uint32_t generation) {
    kith_vector_spec spec;
    const size_t max = ks_app_of(call)->limits.queries_max;
    if (ks_v1_spec(call, asking->search.shop, generation, ks_call_argument(call, "using"), &spec) != 0) return -1;
    const size_t row_bytes = ks_v1_row_bytes(&spec), count = call->body_bytes / row_bytes;
    if (count < 1 || call->body_bytes % row_bytes != 0) {
        ks_call_fail(call, 400, "the body has %zu bytes, and a query of the vector \"%s\" has %zu", call->body_bytes,
                     spec.name, row_bytes);
        return -1;
    }
    if (count > max) {
        ks_call_fail(call, 413, "the body has %zu queries, and a call takes at most %zu", count, max);
        return -1;
    }
    kith_queries *queries = &asking->queries[0];
    *queries = (kith_queries)KITH_QUERIES_INIT;
    queries->data = rows_of(call);
    queries->dtype = spec.dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries->count = count;
    queries->dim = spec.dim;
    if (!queries->data) return -1;
    asking->legs[0] = (kith_leg){.vector = spec.name, .queries = queries};
    asking->search.ask.leg_count = 1;
    if (ks_v1_ask_rows(call, &spec, queries, "the body") == 0) return 0;
    name_number(call, queries);
    return -1;
}

static int read_numbers(ks_call *call, ks_v1_asking *asking) {
    kith_ask *ask = &asking->search.ask;
    uint64_t k = ask->k, generation = 0, timeout_ms = 0, budget_ms = 0;
    int exact = 0;
    if (ks_v1_argument_uint(call, "k", UINT64_MAX, &k) < 0 ||
        ks_v1_argument_real(call, "target", 0, 1, &ask->target_recall) < 0 ||
        ks_v1_argument_bool(call, "exact", &exact) < 0 ||
        ks_v1_argument_uint(call, "generation", UINT32_MAX, &generation) < 0 ||
        ks_v1_argument_uint(call, "min_version", UINT64_MAX, &ask->min_version) < 0 ||
        ks_v1_argument_uint(call, "timeout_ms", 86400000, &timeout_ms) < 0 ||
        ks_v1_argument_uint(call, "budget_ms", KS_V1_BUDGET_MS_MAX, &budget_ms) < 0 ||
        ks_v1_argument_real(call, "diversity", 0, 1, &ask->diversity) < 0 ||
        ks_v1_argument_real(call, "blend", 0, 1, &ask->blend) < 0 ||
        ks_v1_argument_bool(call, "leave_out_seen", &ask->leave_out_seen) < 0 ||
        ks_v1_argument_bool(call, "explain", &asking->explains) < 0)
        return -1;
    ask->k = k > SIZE_MAX ? SIZE_MAX : (size_t)k;
    ask->generation = (uint32_t)generation;
    if (exact) ask->target_recall = 0;
    ks_v1_ask_times(call, timeout_ms, budget_ms, asking);
    return 0;
}

int ks_v1_ask_arguments(ks_call *call, ks_v1_asking *asking) {
    kith_ask *ask = &asking->search.ask;
    uint32_t generation;
    ask->filter = ks_call_argument(call, "filter");
    ask->segment = ks_call_argument(call, "segment");
    ask->model = ks_call_argument(call, "model");
    if (ks_call_argument(call, "profile")) ask->profile = ks_call_argument(call, "profile");
    ask->user = ks_call_argument(call, "user");
    if (ask->filter && ks_v1_filter_depth(call, ask->filter) != 0) return -1;
    if (read_numbers(call, asking) != 0 || ks_v1_with_argument(call, &ask->with) < 0 ||
        ks_v1_ask_priority(call, ks_call_argument(call, "priority"), asking) != 0 ||
        ks_v1_ask_generation(call, asking, &generation) != 0)
        return -1;
    if ((call->body_bytes || !ask->profile) && set_queries(call, asking, generation) != 0) return -1;
    return ks_v1_ask_check(call, asking);
}
