/* SPDX-License-Identifier: Apache-2.0
 *
 * A call's request, as a backend is to see it: its line, what of its head means something there, how long it may take.
 * The texts of a call hold no control characters, so none of them can end a line; a path with a space would end the
 * path, and is refused before it comes here. */
#include <string.h>

#include "fleet/inner.h"

static const char *name_of(ks_method method) {
    switch (method) {
    case KS_POST:
        return "POST";
    case KS_PUT:
        return "PUT";
    case KS_PATCH:
        return "PATCH";
    case KS_DELETE:
        return "DELETE";
    case KS_OPTIONS:
        return "OPTIONS";
    case KS_GET:
    default:
        return "GET";
    }
}

void ks_request_write(ks_text *text, const ks_call *call, const char *host, uint64_t left_ms) {
    static const char *const passed[] = {"Content-Type", "Accept",        "Authorization", "api-key",
                                         "X-API-Key",    "If-None-Match", "If-Match",      "User-Agent",
                                         "traceparent",  "tracestate",    "baggage",       "X-Request-Id"};
    ks_text_clear(text);
    ks_text_format(text, "%s %s%s%s HTTP/1.1\r\nHost: %s\r\nKith-Timeout-Ms: %llu\r\n", name_of(call->method),
                   call->path, call->query ? "?" : "", call->query ? call->query : "", host,
                   (unsigned long long)left_ms);
    for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++) {
        const char *value = ks_call_header(call, passed[i]);
        if (value) ks_text_format(text, "%s: %s\r\n", passed[i], value);
    }
    if (call->body_bytes || (call->method != KS_GET && call->method != KS_DELETE && call->method != KS_OPTIONS))
        ks_text_format(text, "Content-Length: %zu\r\n", call->body_bytes);
    ks_text_add(text, "\r\n", 2);
}
