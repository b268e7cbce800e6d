/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/collections/{}/warm?user=U: what U will ask in a moment is asked now, so that the profile and the answer are
 * kept in memory. The other arguments are those of the query (k, target, filter, ...): an answer is kept for what is
 * asked in just the same way. */
#include "native/ask.h"

static void finish(ks_search *search, const ks_found *found) {
    ks_call *call = search->call;
    call->waited_ns = found->waited_ns;
    call->searched_ns = found->searched_ns;
    if (found->refused) {
        ks_call_fail(call, 503, "the server is busy: warm later");
    } else if (found->status != KITH_OK) {
        ks_call_fail_status(call, found->status, found->error);
    } else {
        ks_json json = KS_JSON(&call->reply.body);
        ks_json_object(&json, NULL);
        ks_json_bool(&json, "warmed", 1);
        ks_json_bool(&json, "cached", found->report->cached);
        ks_json_uint(&json, "generation", found->report->generation);
        ks_json_uint(&json, "version", found->report->version);
        ks_json_object_end(&json);
        ks_v1_written(call);
    }
    ks_call_done(call);
}

static int read_user(ks_call *call, ks_v1_asking *asking) {
    asking->search.ask.profile = ks_call_argument(call, "user");
    if (asking->search.ask.profile) return ks_v1_ask_arguments(call, asking);
    ks_call_fail(call, 400, "the argument \"user\" says for whom");
    return -1;
}

void ks_v1_warm(ks_call *call) {
    ks_v1_ask(call, read_user, finish);
}
