/* SPDX-License-Identifier: Apache-2.0
 *
 * What the log says of calls. Of the request it says method and path; what stands behind the "?", headers and bodies
 * hold vectors, filters and keys, and are never written. */
#include "watch/log.h"

#include "watch/trace.h"

enum { SLOW_NS = 1000000000 };

static const char *method_name(ks_method method) {
    static const char *const names[] = {"?", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return (unsigned)method < sizeof(names) / sizeof(*names) ? names[method] : "?";
}

void ks_log_call(ks_log_to *to, const ks_call *call, uint64_t total_ns, size_t sent_bytes) {
    const int slow = total_ns >= SLOW_NS;
    const ks_log_level level = slow ? KS_LOG_WARNING : KS_LOG_DEBUG;
    if (!ks_line_wanted(to, level)) return;
    const char *id = ks_call_header(call, "X-Request-Id");
    ks_trace trace;
    ks_line line;
    ks_line_begin(&line, to, level, slow ? "slow" : "call", NULL);
    ks_line_text(&line, "method", method_name(call->method));
    ks_line_text(&line, "path", call->path ? call->path : "?");
    ks_line_uint(&line, "status", (uint64_t)(call->reply.status ? call->reply.status : 200));
    ks_line_real(&line, "ms", (double)total_ns / 1e6);
    if (call->searched_ns) {
        ks_line_uint(&line, "queries", call->queries);
        ks_line_real(&line, "waited_ms", (double)call->waited_ns / 1e6);
        ks_line_real(&line, "searched_ms", (double)call->searched_ns / 1e6);
    }
    ks_line_uint(&line, "received_bytes", call->body_bytes);
    ks_line_uint(&line, "sent_bytes", sent_bytes);
    ks_line_text(&line, "op", call->route ? call->route->op : NULL);
    ks_line_text(&line, "key", call->key ? call->key->name : NULL);
    if (ks_trace_is_id(id)) ks_line_text(&line, "request_id", id);
    if (ks_trace_parse(ks_call_header(call, "traceparent"), &trace)) {
        ks_line_text(&line, "trace_id", trace.trace);
        ks_line_text(&line, "parent_id", trace.parent);
    }
    ks_line_end(&line);
}
