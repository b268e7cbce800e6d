/* SPDX-License-Identifier: Apache-2.0
 *
 * Qdrant's envelope around results and errors. */
#include "qdrant/inner.h"

static void put_time(const ks_call *call, ks_json *json) {
    ks_json_real(json, "time", (double)(ks_now_ns() - call->arrived_ns) / 1e9);
}

void ks_qd_fail(ks_call *call, int status, const char *sentence) {
    ks_text_clear(&call->reply.body);
    call->reply.status = status;
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_object(&json, "status");
    ks_json_text(&json, "error", sentence);
    ks_json_object_end(&json);
    put_time(call, &json);
    ks_json_object_end(&json);
}

ks_json ks_qd_reply(ks_call *call) {
    ks_text_clear(&call->reply.body);
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    return json;
}

void ks_qd_reply_end(ks_call *call, ks_json *json) {
    ks_json_text(json, "status", "ok");
    put_time(call, json);
    ks_json_object_end(json);
    if (call->reply.body.failed)
        ks_call_no_memory(call);
    else
        call->reply.status = 200;
}

void ks_qd_true(ks_call *call) {
    ks_json json = ks_qd_reply(call);
    ks_json_bool(&json, "result", 1);
    ks_qd_reply_end(call, &json);
}

void ks_qd_updated(ks_call *call, uint64_t version) {
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    ks_json_uint(&json, "operation_id", version);
    ks_json_text(&json, "status", "completed");
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
}

void ks_qd_not_offered(ks_call *call, const char *what) {
    ks_call_fail(call, 501, "kith does not offer %s", what);
}
