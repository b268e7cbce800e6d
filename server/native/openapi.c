/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /v1/openapi.json: openapi.json as it lies beside this file; cmake/embed.cmake makes the array. */
#include "native/inner.h"

extern const unsigned char ks_openapi[];
extern const size_t ks_openapi_bytes;

void ks_v1_openapi(ks_call *call) {
    call->reply.cache_control = "public, max-age=3600";
    ks_text_add(&call->reply.body, ks_openapi, ks_openapi_bytes);
    ks_v1_written(call);
    ks_call_done(call);
}
